// SPDX-License-Identifier: Apache-2.0
/*
 * opam_index_bench ROOT REPOSITORY: brings the index of an opam repository (folder, tar) below ROOT up to date, opens it, and reads all of it;
 * says what each took of processor time. tests/bench/opam-index runs it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fs.h"
#include "channel/channel.h"

static double cpu_s(void)
{
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static long peak_kib(void)
{
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return r.ru_maxrss;
}

static void take_note(struct progress *p, const struct progress_event *ev)
{
	(void)p;
	if (ev->kind == PROGRESS_NOTE)
		printf("note: %s\n", ev->text);
}

static int count_need(void *ctx, const struct channel_need *need, struct err *e)
{
	(void)e;
	*(size_t *)ctx += need->one.n;
	return 0;
}

static int needs(struct opam_index *ix, struct err *e)
{
	const struct channel_needs_opts o = {.platform = STR("linux-x86_64")};
	auto_ptr(channel_needs) n = NULL;
	size_t told = 0;
	double t0 = cpu_s();
	if (channel_needs_open_opam(&ix, 1, &o, &n, e) < 0)
		return -1;
	double t1 = cpu_s();
	for (uint32_t i = 0; i < channel_needs_count(n); i += 10)
		if (channel_needs_tell(n, i, count_need, &told, e) < 0)
			return -1;
	printf("needs: open %.2f ms, what %u packages need %.1f ms\n", (t1 - t0) * 1e3, channel_needs_count(n) / 10,
	       (cpu_s() - t1) * 1e3);
	return 0;
}

static int read_all(const struct opam_index *ix, struct err *e)
{
	auto_arena a = ARENA_INIT;
	uint32_t n = opam_index_info(ix).packages;
	size_t formulas = 0, bytes = 0;
	double t0 = cpu_s();
	for (uint32_t i = 0; i < n; i++) {
		struct oi_pkg p = {i};
		for (int k = 0; k < OI_FORMULAS; k++)
			formulas += opam_index_formula(ix, p, (enum oi_formula)k, &a) != NULL;
		(void)opam_index_pkg(ix, p);
	}
	double t1 = cpu_s();
	for (uint32_t i = 0; i < n; i++) {
		auto_arena mine = ARENA_INIT;
		struct str text;
		if (opam_index_text(ix, (struct oi_pkg){i}, &mine, &text, e) < 0)
			return -1;
		bytes += text.n;
	}
	double t2 = cpu_s();
	printf("read all: %zu formulas %.1f ms, %zu bytes of texts %.1f ms\n", formulas, (t1 - t0) * 1e3, bytes,
	       (t2 - t1) * 1e3);
	return opam_index_check(ix, e);
}

static int one_text(struct channel_cache *c, const struct channel *ch, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(opam_index) ix = NULL;
	struct oi_name name;
	struct oi_pkg p;
	struct str text;
	double t0 = cpu_s();
	if (channel_opam_open(c, ch, CHANNEL_OFFLINE, &ix, e) < 0)
		return -1;
	double t1 = cpu_s();
	if (!opam_index_find_name(ix, STR("dune"), &name) || !opam_index_packages(ix, name, &p))
		return err_new(e, ERR_NOT_FOUND, "no dune in it");
	double t2 = cpu_s();
	if (opam_index_text(ix, p, &a, &text, e) < 0)
		return -1;
	double t3 = cpu_s();
	printf("open %.3f ms, find a name %.3f ms, one text %.3f ms\n", (t1 - t0) * 1e3, (t2 - t1) * 1e3,
	       (t3 - t2) * 1e3);
	return needs(ix, e) < 0 ? -1 : read_all(ix, e);
}

static int run(const char *root, const char *text, struct err *e)
{
	static struct progress progress = {take_note, NULL};
	auto_arena a = ARENA_INIT;
	auto_free char *cwd = getcwd(NULL, 0);
	struct channel_config config = {.cwd = str_c(cwd)};
	struct channel ch;
	auto_fd fd = fs_open_dir_make(AT_FDCWD, root, e);
	if (fd < 0 || channel_parse(&a, str_c(text), &config, &ch, e) < 0)
		return -1;
	struct channel_cache c = {.root_fd = fd, .clock = &clock_system, .progress = &progress};
	auto_ptr(opam_index) ix = NULL;
	double t0 = cpu_s();
	if (channel_opam_open(&c, &ch, 0, &ix, e) < 0)
		return -1;
	double t1 = cpu_s();
	struct opam_index_info info = opam_index_info(ix);
	printf("up to date: %.3f s, peak %ld KiB; %u names, %u packages, %u broken; index %llu bytes, texts %llu\n",
	       t1 - t0, peak_kib(), info.names, info.packages, info.broken, (unsigned long long)info.bytes,
	       (unsigned long long)info.texts_bytes);
	return one_text(&c, &ch, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	if (argc != 3) {
		fprintf(stderr, "usage: opam_index_bench ROOT REPOSITORY\n");
		return 2;
	}
	if (run(argv[1], argv[2], &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	return 0;
}
