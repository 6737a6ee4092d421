// SPDX-License-Identifier: Apache-2.0
/*
 * One store operation a run, for the sweep in store.sh:
 *
 *	fault_store ROOT fetch N     download package N (going on where a killed one was), unpack it, sync
 *	fault_store ROOT add N       the same from a local file
 *	fault_store ROOT gc N...     remove everything but the packages named
 *	fault_store ROOT damage N    truncate a file of package N's tree, past the fault seam
 *	fault_store ROOT repair      verify, and move away what is damaged
 *	fault_store ROOT check N...  nothing is damaged, and the packages named are unpacked
 *	fault_store ROOT clean       nothing lies in tmp/ or unsynced/
 *
 * Exits 0, or 1 with a message.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/sys.h"
#include "lib/archive.h"
#include "store/store.h"

static void make_package(const char *n, struct buf *out, uint8_t sha[SHA256_SIZE])
{
	auto_buf info = BUF_INIT(BUF_MAX);
	auto_buf pkg = BUF_INIT(BUF_MAX);
	char name[64];
	tar_file(&info, "info/index.json", 0644, "{}");
	tar_end(&info);
	snprintf(name, sizeof(name), "bin/%s", n);
	tar_file(&pkg, name, 0755, "run");
	tar_hard_link(&pkg, "bin/same", name);
	tar_link(&pkg, "lib/link", "../bin/same");
	tar_file(&pkg, "lib/deep/folder/file", 0644, "some text");
	tar_end(&pkg);
	conda_put(out, "x-1-0", buf_str(&info), buf_str(&pkg));
	sha256(out->p, out->n, sha);
}

static int unpack_and_sync(struct store *s, const uint8_t sha[SHA256_SIZE], struct err *e)
{
	if (store_unpack(s, sha, STORE_CONDA, NULL, e) < 0)
		return -1;
	return store_sync(s, e);
}

static int download(struct store *s, const struct buf *b, const uint8_t sha[SHA256_SIZE], struct err *e)
{
	auto_fd fd = -1;
	uint64_t have;
	if (store_partial_open(s, sha, &fd, &have, e) < 0)
		return -1;
	auto_buf there = BUF_INIT(BUF_MAX);
	buf_reserve(&there, have);
	if (have > b->n || pread(fd, there.p, have, 0) != (ssize_t)have || memcmp(there.p, b->p, have) != 0)
		return err_new(e, ERR_VERIFY, "the partial download holds other bytes");
	/* in pieces, so that a fault may lie between them */
	for (size_t at = have; at < b->n; at += 200) {
		size_t n = b->n - at < 200 ? b->n - at : 200;
		if (fs_write_all(fd, b->p + at, n, "download", e) < 0)
			return -1;
	}
	return store_partial_commit(s, sha, fd, e);
}

static int op_fetch(struct store *s, int root, int argc, char **argv, struct err *e)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	uint8_t sha[SHA256_SIZE];
	(void)root, (void)argc;
	make_package(argv[0], &b, sha);
	if (!store_has_blob(s, sha) && download(s, &b, sha, e) < 0)
		return -1;
	return unpack_and_sync(s, sha, e);
}

static int op_add(struct store *s, int root, int argc, char **argv, struct err *e)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	uint8_t sha[SHA256_SIZE];
	(void)argc;
	make_package(argv[0], &b, sha);
	auto_fd fd = openat(root, "local.conda", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, b.p, b.n) != (ssize_t)b.n)
		return err_sys(e, "make a local package");
	if (store_add_file(s, root, "local.conda", sha, NULL, e) < 0)
		return -1;
	return unpack_and_sync(s, sha, e);
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, SHA256_SIZE);
}

static int op_gc(struct store *s, int root, int argc, char **argv, struct err *e)
{
	uint8_t keep[8][SHA256_SIZE];
	struct store_usage freed;
	(void)root;
	for (int i = 0; i < argc && i < 8; i++) {
		auto_buf b = BUF_INIT(BUF_MAX);
		make_package(argv[i], &b, keep[i]);
	}
	qsort(keep, (size_t)argc, SHA256_SIZE, compare);
	struct store_gc_opts o = {.keep = (const uint8_t(*)[SHA256_SIZE])keep, .keep_n = (size_t)argc};
	return store_gc(s, &o, &freed, e);
}

static int op_damage(struct store *s, int root, int argc, char **argv, struct err *e)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_buf path = BUF_INIT(10000);
	uint8_t sha[SHA256_SIZE];
	(void)root, (void)argc;
	make_package(argv[0], &b, sha);
	if (store_tree_path(s, sha, &path, e) < 0)
		return -1;
	buf_put_c(&path, "/lib/deep/folder/file");
	return truncate(path.p, 2) < 0 ? err_sys(e, "damage '%s'", path.p) : 0;
}

static void show(void *ctx, const char *what, const char *why, bool mendable)
{
	(void)ctx, (void)mendable;
	printf("%s: %s\n", what, why);
}

static int op_repair(struct store *s, int root, int argc, char **argv, struct err *e)
{
	(void)root, (void)argc, (void)argv;
	return store_verify(s, true, NULL, show, NULL, e) < 0 ? -1 : 0;
}

/* The tree holds what the package holds: the listing alone would not show a file that was never written. */
static int is_whole(struct store *s, const char *n, struct err *e)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_buf text = BUF_INIT(100);
	uint8_t sha[SHA256_SIZE];
	struct stat st;
	char name[64];
	make_package(n, &b, sha);
	auto_fd tree = store_tree_open(s, sha, e);
	if (tree < 0 || fs_read(tree, "info/index.json", &text, e) < 0 ||
	    fs_read(tree, "lib/deep/folder/file", &text, e) < 0 || fs_read(tree, "lib/link", &text, e) < 0)
		return -1;
	snprintf(name, sizeof(name), "bin/%s", n);
	if (strcmp(text.p, "{}some textrun") != 0 || fstatat(tree, name, &st, 0) < 0 || st.st_nlink != 2 ||
	    (st.st_mode & 07777) != 0755 || st.st_mtime != 1000)
		return err_new(e, ERR_VERIFY, "package %s is not what it was", n);
	return 0;
}

static int op_check(struct store *s, int root, int argc, char **argv, struct err *e)
{
	(void)root;
	int64_t damaged = store_verify(s, false, NULL, show, NULL, e);
	if (damaged != 0)
		return damaged < 0 ? -1 : err_new(e, ERR_VERIFY, "damaged");
	for (int i = 0; i < argc; i++)
		if (is_whole(s, argv[i], e) < 0)
			return err_ctx(e, "package %s", argv[i]);
	return 0;
}

static int op_clean(struct store *s, int root, int argc, char **argv, struct err *e)
{
	static const char *const folders[] = {"store/tmp", "store/unsynced"};
	(void)s, (void)argc, (void)argv;
	for (int i = 0; i < 2; i++) {
		auto_fs_list l = {0};
		if (fs_list(root, folders[i], 1000, &l, e) < 0)
			return -1;
		if (l.n > 0)
			return err_new(e, ERR_FAILED, "'%s' is left in '%s'", l.name[0], folders[i]);
	}
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct store *s, int root, int argc, char **argv, struct err *e);
	int min_args;
} ops[] = {
	{"fetch", op_fetch, 1},	  {"add", op_add, 1},	  {"gc", op_gc, 0},	  {"damage", op_damage, 1},
	{"repair", op_repair, 0}, {"check", op_check, 0}, {"clean", op_clean, 0},
};

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	for (size_t i = 0; argc >= 3 && i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (strcmp(argv[2], ops[i].name) != 0 || argc - 3 < ops[i].min_args)
			continue;
		auto_ptr(store) s = NULL;
		auto_fd root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (store_open(root, 0, &s, &e) < 0 || ops[i].run(s, root, argc - 3, argv + 3, &e) < 0) {
			fprintf(stderr, "%s\n", e.msg);
			return 1;
		}
		return 0;
	}
	fprintf(stderr, "usage: fault_store ROOT fetch|add|gc|damage|repair|check|clean [N]...\n");
	return 2;
}
