// SPDX-License-Identifier: Apache-2.0
/*
 * What layers cost, without what runs in them:
 *
 *	layer_bench DIR overlay|btrfs|copy [FILES]
 *
 * makes a base of FILES files (default 10000, in folders of 100), then prints for each operation the median and the least of some runs,
 * in microseconds of the clock: a step on the base that writes one file, a hit, a chain of 100, a cache of FILES files taken and given back.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "layer/layer.h"

enum { RUNS = 41 };

static struct err e;

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(int rc)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "layer_bench: %s\n", e.msg);
	exit(1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static void print(const char *what, double *us, int n)
{
	qsort(us, (size_t)n, sizeof(*us), compare);
	printf("%-40s median %9.1f   least %9.1f us\n", what, us[n / 2], us[0]);
}

static struct layer_id id_of(unsigned n)
{
	struct layer_id id;
	snprintf(id.hex, sizeof(id.hex), "%064x", n);
	return id;
}

static void put(const char *dir, const char *name, size_t size)
{
	auto_free char *path = xasprintf("%s/%s", dir, name);
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	char bytes[4096];
	memset(bytes, 'x', sizeof(bytes));
	for (; fd >= 0 && size > 0; size -= size < sizeof(bytes) ? size : sizeof(bytes))
		if (write(fd, bytes, size < sizeof(bytes) ? size : sizeof(bytes)) < 0)
			break;
	if (fd < 0 || size > 0) {
		perror(path);
		exit(1);
	}
}

static const char *writable(const struct sandbox_root *r)
{
	return r->dir ? r->dir : r->upper;
}

static void fill(const char *dir, unsigned files)
{
	for (unsigned i = 0; i < files; i++) {
		char name[64];
		auto_free char *folder = xasprintf("%s/%u", dir, i / 100);
		if (i % 100 == 0)
			must(fs_mkdirs(AT_FDCWD, folder, 0755, &e));
		snprintf(name, sizeof(name), "%u/%u", i / 100, i);
		put(dir, name, 3000);
	}
}

static void bench_steps(struct layers *l, unsigned base, unsigned first, const char *what)
{
	double begin[RUNS], commit[RUNS], all[RUNS];
	struct layer_id parent = id_of(base);
	for (unsigned i = 0; i < RUNS; i++) {
		struct layer_work *w;
		struct layer_id id = id_of(first + i);
		double t0 = now_us();
		must(layer_begin(l, &id, &parent, &w, &e));
		double t1 = now_us();
		put(writable(layer_work_root(w)), "made", 100);
		double t2 = now_us();
		must(layer_work_commit(w, STR("words"), &e));
		double t3 = now_us();
		begin[i] = t1 - t0, commit[i] = t3 - t2, all[i] = t1 - t0 + t3 - t2;
	}
	printf("%s\n", what);
	print("  begin", begin, RUNS);
	print("  commit", commit, RUNS);
	print("  both", all, RUNS);
}

static void bench_find(struct layers *l, unsigned id)
{
	double us[RUNS];
	struct layer_id at = id_of(id);
	for (unsigned i = 0; i < RUNS; i++) {
		auto_arena a = ARENA_INIT;
		struct layer_info info;
		double t0 = now_us();
		must(layer_find(l, &at, &a, &info, &e) - 1);
		us[i] = now_us() - t0;
	}
	print("find", us, RUNS);
}

static void bench_chain(struct layers *l, unsigned first)
{
	for (unsigned i = 0; i < 100; i++) {
		struct layer_work *w;
		struct layer_id id = id_of(first + i), parent = id_of(i ? first + i - 1 : 1);
		must(layer_begin(l, &id, &parent, &w, &e));
		must(layer_work_commit(w, STR("words"), &e));
	}
	bench_steps(l, first + 99, first + 100, "a step on 100 others");
}

static void bench_cache(struct layers *l, unsigned files)
{
	double take[RUNS], back[RUNS];
	for (unsigned i = 0; i <= RUNS; i++) {
		struct layer_cache *c;
		struct sandbox_mount m;
		double t0 = now_us();
		must(layer_cache_take(l, STR("bench"), 0, 0, &c, &e));
		double t1 = now_us();
		layer_cache_mount(c, &m);
		const char *dir = m.source ? m.source : m.root->upper;
		if (i == 0)
			fill(dir, files);
		put(dir, "made", 100);
		double t2 = now_us();
		must(layer_cache_give_back(c, &e));
		double t3 = now_us();
		if (i > 0)
			take[i - 1] = t1 - t0, back[i - 1] = t3 - t2;
	}
	printf("a cache of %u files\n", files);
	print("  take", take, RUNS);
	print("  give back", back, RUNS);
	printf("  give back, the slowest %37.1f us\n", back[RUNS - 1]);
}

int main(int argc, char **argv)
{
	enum layer_backend want = LAYER_AUTO;
	struct layers *l;
	struct layer_work *w;
	struct layer_gc gc;
	auto_arena a = ARENA_INIT;
	unsigned files = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 10000;
	if (argc < 3 || !layer_backend_parse(str_c(argv[2]), &want)) {
		fprintf(stderr, "layer_bench DIR overlay|btrfs|copy [FILES]\n");
		return 2;
	}
	must(layers_open(argv[1], want, &l, &e));
	struct layer_id base = id_of(1);
	must(layer_begin(l, &base, NULL, &w, &e));
	fill(writable(layer_work_root(w)), files);
	must(layer_work_commit(w, STR("words"), &e));
	must(layers_sync(l, &e));
	printf("base of %u files, %s\n", files, argv[2]);
	bench_find(l, 1);
	bench_steps(l, 1, 100, "a step on the base");
	if (want != LAYER_COPY)
		bench_chain(l, 1000);
	bench_cache(l, files);
	double t0 = now_us();
	must(layers_sync(l, &e));
	printf("sync %55.1f us\n", now_us() - t0);
	const struct layer_gc_opts o = {.older_than_ms = -1, .max_bytes = 0, .caches = true};
	t0 = now_us();
	must(layers_gc(l, &o, &a, &gc, &e));
	printf("gc of %zu %50.1f us\n", gc.n, now_us() - t0);
	layers_close(l);
	return 0;
}
