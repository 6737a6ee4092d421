// SPDX-License-Identifier: Apache-2.0
/*
 * index_bench REPODATA.json[.zst] OUT.idx [SUBDIR]: makes the index and says what it took; opens it and finds a name.
 * For the figures of doc/formats/index.md: tests on repodata of make-large.py's size.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "channel/channel.h"

static double cpu_s(void)
{
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
	       (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static double wall_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int make(const char *from, const char *to, struct str subdir, struct err *e)
{
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", from);
	double before = cpu_s();
	auto_ptr(istream) in = istream_fd(fd, from);
	if (str_ends(str_c(from), STR(".zst")))
		in = istream_zstd(in);
	auto_ptr(index_builder) b = index_builder_new(AT_FDCWD, to, subdir, e);
	if (!b || index_builder_json(b, in, NULL, e) < 0)
		return -1;
	double read = cpu_s();
	if (index_builder_finish(b, e) < 0)
		return -1;
	double all = cpu_s();
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	printf("read %.3f s (%.2f GB/s), finish %.3f s, together %.3f s of processor time, peak memory %ld KiB\n",
	       read - before, (double)st.st_size / 1e9 / (read - before), all - read, all - before, r.ru_maxrss);
	return 0;
}

static int look(const char *path, struct err *e)
{
	auto_ptr(index) ix = NULL;
	struct ix_name n;
	struct ix_pkg first;
	double t0 = wall_us();
	if (index_open(AT_FDCWD, path, &ix, e) < 0)
		return -1;
	double t1 = wall_us();
	uint32_t count = index_find_name(ix, STR("python"), &n) ? index_packages(ix, n, &first) : 0;
	double t2 = wall_us();
	struct index_info info = index_info(ix);
	printf("open %.1f us, find 'python' (%u packages) %.1f us; %u packages, %u names, %u specs, %u lists, %u versions\n",
	       t1 - t0, count, t2 - t1, info.packages, info.names, info.specs, info.lists, info.versions);
	return index_check(ix, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	if (argc < 3) {
		fprintf(stderr, "usage: index_bench REPODATA.json[.zst] OUT.idx [SUBDIR]\n");
		return 2;
	}
	if (make(argv[1], argv[2], str_c(argc > 3 ? argv[3] : "linux-64"), &e) < 0 || look(argv[2], &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	return 0;
}
