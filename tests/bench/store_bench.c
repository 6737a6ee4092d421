// SPDX-License-Identifier: Apache-2.0
/*
 * What unpacking costs beside what it cannot do without, in milliseconds of processor time.
 *
 *	build/tests/store_bench FOLDER [FILE...]      FILEs: .conda or .tar.bz2; without them one of 5,000 made-up files
 *
 * A store is made in FOLDER, which decides about the file system, and removed. For each package:
 *
 *	decode     its streams decompressed, the result thrown away
 *	files      as many files of the same sizes made by a bare loop of openat, write and close
 *	unpack     store_unpack, which also parses, checks, hashes, sets modes and times
 *	ratio      unpack / (decode + files): 1 would be for nothing
 *	parallel   four copies unpacked by the pool: wall time of one alone times four, over that of all
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "base/fs.h"
#include "base/stream.h"
#include "base/vec.h"
#include "base/work.h"
#include "base/zip.h"
#include "lib/archive.h"
#include "store/store.h"

enum { COPIES = 4, MADE_UP_FILES = 5000, MADE_UP_SIZE = 20000 };

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "%s: %s\n", what, e->msg);
	exit(1);
}

static double clock_ms(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static uint64_t drain(struct istream *s)
{
	static char chunk[1 << 17];
	struct err e = ERR_INIT;
	uint64_t total = 0;
	ssize_t n;
	while ((n = istream_read(s, chunk, sizeof(chunk), &e)) > 0)
		total += (uint64_t)n;
	if (n < 0)
		die("decode", &e);
	istream_free(s);
	return total;
}

static double decode(int fd, enum store_format format)
{
	struct err e = ERR_INIT;
	struct stat st;
	struct zip_conda z;
	double begin = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
	if (format == STORE_TAR_BZ2) {
		if (fstat(fd, &st) < 0)
			exit(1);
		drain(istream_bz2(istream_range(fd, (struct zip_range){.size = (uint64_t)st.st_size}, "x")));
	} else {
		if (zip_conda_find(fd, "x", &z, &e) < 0)
			die("decode", &e);
		drain(istream_zstd(istream_range(fd, z.info, "x")));
		drain(istream_zstd(istream_range(fd, z.pkg, "x")));
	}
	return clock_ms(CLOCK_PROCESS_CPUTIME_ID) - begin;
}

struct files {
	int dir;
	VEC(uint64_t) sizes;
};

static int note_size(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)dirfd, (void)name, (void)rel, (void)e;
	struct files *f = ctx;
	if (S_ISREG(st->st_mode))
		vec_push(&f->sizes, (uint64_t)st->st_size);
	return 0;
}

/* A thousand files a folder, as packages have a few hundred. */
static double make_files(const struct files *f)
{
	static const char zero[1 << 17];
	double begin = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
	for (size_t i = 0; i < f->sizes.n; i++) {
		char name[64];
		snprintf(name, sizeof(name), "%zu", i / 1000);
		if (i % 1000 == 0)
			(void)!mkdirat(f->dir, name, 0755);
		snprintf(name, sizeof(name), "%zu/%zu", i / 1000, i);
		auto_fd fd = openat(f->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		for (uint64_t left = f->sizes.v[i]; left > 0;) {
			size_t n = left < sizeof(zero) ? (size_t)left : sizeof(zero);
			if (write(fd, zero, n) != (ssize_t)n)
				exit(1);
			left -= n;
		}
	}
	return clock_ms(CLOCK_PROCESS_CPUTIME_ID) - begin;
}

struct job {
	struct store *s;
	uint8_t sha[SHA256_SIZE];
	enum store_format format;
};

static int unpack(void *ctx, struct err *e)
{
	struct job *j = ctx;
	return store_unpack(j->s, j->sha, j->format, NULL, e);
}

/* Each copy in a store of its own, because one store unpacks a blob once. */
static double parallel(int dir, const struct job *one, double one_wall_ms)
{
	struct err e = ERR_INIT;
	struct job job[COPIES];
	struct store *s[COPIES];
	auto_ptr(work) w = work_new(0);
	for (int i = 0; i < COPIES; i++) {
		char name[16];
		snprintf(name, sizeof(name), "root%d", i);
		auto_fd root = fs_open_dir_make(dir, name, &e);
		auto_buf path = BUF_INIT(10000);
		if (root < 0 || store_open(root, 0, &s[i], &e) < 0 ||
		    store_blob_path(one->s, one->sha, &path, &e) < 0 ||
		    store_add_file(s[i], AT_FDCWD, path.p, one->sha, NULL, &e) < 0)
			die("copy", &e);
		job[i] = *one;
		job[i].s = s[i];
	}
	double begin = clock_ms(CLOCK_MONOTONIC);
	for (int i = 0; i < COPIES; i++)
		work_submit(w, unpack, &job[i]);
	if (work_wait(w, &e) < 0)
		die("unpack", &e);
	double wall = clock_ms(CLOCK_MONOTONIC) - begin;
	for (int i = 0; i < COPIES; i++)
		store_free(s[i]);
	return one_wall_ms * COPIES / wall;
}

static void measure(int dir, int filedir, const char *path, const char *name)
{
	struct err e = ERR_INIT;
	struct job j = {.format = store_format_of(str_c(name))};
	struct files f = {0};
	auto_fd root = fs_open_dir_make(dir, "root", &e);
	auto_fd scratch = fs_open_dir_make(dir, "files", &e);
	if (root < 0 || scratch < 0 || store_open(root, 0, &j.s, &e) < 0 ||
	    store_add_file(j.s, filedir, path, NULL, j.sha, &e) < 0)
		die(path, &e);
	auto_fd blob = store_blob_open(j.s, j.sha, &e);
	double decode_ms = decode(blob, j.format);
	double cpu = clock_ms(CLOCK_PROCESS_CPUTIME_ID), wall = clock_ms(CLOCK_MONOTONIC);
	if (unpack(&j, &e) < 0)
		die(path, &e);
	cpu = clock_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	wall = clock_ms(CLOCK_MONOTONIC) - wall;
	auto_fd tree = store_tree_open(j.s, j.sha, &e);
	f.dir = scratch;
	if (tree < 0 || fs_walk(tree, ".", note_size, &f, &e) < 0)
		die(path, &e);
	double files_ms = make_files(&f);
	const char *base = strrchr(name, '/');
	printf("%-40.40s %6zu files %8.1f decode %8.1f files %8.1f unpack %6.2f ratio %6.2f parallel\n",
	       base ? base + 1 : name, f.sizes.n, decode_ms, files_ms, cpu, cpu / (decode_ms + files_ms),
	       parallel(dir, &j, wall));
	vec_release(&f.sizes);
	store_free(j.s);
}

static void make_up(int dir)
{
	struct err e = ERR_INIT;
	auto_buf info = BUF_INIT(BUF_MAX);
	auto_buf pkg = BUF_INIT(BUF_MAX);
	auto_buf text = BUF_INIT(BUF_MAX);
	auto_buf out = BUF_INIT(BUF_MAX);
	tar_file(&info, "info/index.json", 0644, "{}");
	tar_end(&info);
	for (unsigned i = 0; i < MADE_UP_FILES; i++) {
		char name[64];
		buf_clear(&text);
		for (unsigned k = 0; text.n < MADE_UP_SIZE; k++)
			buf_printf(&text, "line %u of file %u: %u\n", k, i, (k * 7919 + i) * 2654435761U >> 12);
		snprintf(name, sizeof(name), "lib/python3.9/site-packages/p%u/f%u.py", i / 100, i);
		tar_file(&pkg, name, 0644, text.p);
	}
	tar_end(&pkg);
	conda_put(&out, "made-up-1-0", buf_str(&info), buf_str(&pkg));
	if (fs_replace(dir, "made-up.conda", out.p, out.n, 0, &e) < 0)
		die("made-up.conda", &e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	if (argc < 2) {
		fprintf(stderr, "usage: store_bench FOLDER [FILE...]\n");
		return 2;
	}
	char name[] = "store-bench";
	for (int i = 2; i < argc || i == 2; i++) {
		auto_fd where = fs_open_dir_make(AT_FDCWD, argv[1], &e);
		auto_fd dir = where < 0 ? -1 : fs_open_dir_make(where, name, &e);
		if (dir < 0)
			die(argv[1], &e);
		if (argc == 2) {
			make_up(dir);
			measure(dir, dir, "made-up.conda", "made-up.conda");
		} else {
			measure(dir, AT_FDCWD, argv[i], argv[i]);
		}
		if (fs_remove_tree(where, name, &e) < 0)
			die("remove", &e);
	}
	return 0;
}
