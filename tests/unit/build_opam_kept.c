// SPDX-License-Identifier: Apache-2.0
/* The folder of built packages: what is put there comes out the same or not at all, whoever else puts, takes, removes and collects. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/build.h"
#include "build/opam_kept.h"
#include "lib/test.h"

static struct err e;
static const char key[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static const char about[] = "slipway-opam-built 1\npackage x 1.0\nprefix /p\n";
static const char list[] = "D\tbin\n"
			   "F 755 3 98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4\tbin/x\n"
			   "L x\tbin/y\n";

static char *kept_path(void)
{
	static char path[300];
	snprintf(path, sizeof(path), "%s/kept", test_tmp());
	return path;
}

static int open_prefix(const char *name)
{
	int dir = fs_open_dir_make(AT_FDCWD, test_tmp(), &e);
	int fd = fs_open_dir_make(dir, name, &e);
	close(dir);
	CHECK(fd >= 0);
	return fd;
}

static int laid_prefix(void)
{
	int fd = open_prefix("from");
	CHECK_INT(fs_mkdirs(fd, "bin", 0755, &e), 0);
	CHECK_INT(fs_replace(fd, "bin/x", "hi\n", 3, FS_REPLACE_EXEC, &e), 0);
	return fd;
}

static struct env_opam_tree tree(struct arena *a)
{
	struct env_opam_tree t;
	CHECK_MSG(env_opam_tree_parse(a, str_c(list), "list", &t, &e) == 0, "%s", e.msg);
	return t;
}

static int put(struct opam_kept *k, int from, bool replace)
{
	auto_arena a = ARENA_INIT;
	struct env_opam_tree t = tree(&a);
	return opam_kept_put(k, key, str_c(about), &t, from, replace, &e);
}

static int take(struct opam_kept *k, const char *where)
{
	auto_arena a = ARENA_INIT;
	struct env_opam_tree t;
	auto_fd to = open_prefix(where);
	int rc = opam_kept_take(k, key, to, &a, &t, &e);
	if (rc == 1) {
		auto_buf b = BUF_INIT(100);
		struct stat st;
		CHECK_INT(fs_read(to, "bin/x", &b, &e), 0);
		CHECK_STR(b.p, "hi\n");
		CHECK_INT(fstatat(to, "bin/x", &st, 0), 0);
		CHECK_INT(st.st_mode & 0777, 0755);
		CHECK_INT(fstatat(to, "bin/y", &st, AT_SYMLINK_NOFOLLOW), 0);
		CHECK_INT(st.st_nlink, 1);
	}
	return rc;
}

TEST(what_is_put_there_is_taken_from_there)
{
	struct opam_kept k;
	auto_fd from = laid_prefix();
	CHECK_INT(opam_kept_open(&k, kept_path(), &e), 0);
	CHECK_INT(take(&k, "none"), 0);
	CHECK_MSG(put(&k, from, false) == 1, "%s", e.msg);
	CHECK_INT(put(&k, from, false), 0);
	CHECK_INT(put(&k, from, true), 1);
	CHECK_INT(take(&k, "a"), 1);
	CHECK_INT(take(&k, "a"), 1); /* over what is there */
	opam_kept_close(&k);
}

TEST(what_is_not_what_it_was_is_not_kept)
{
	struct opam_kept k;
	auto_fd from = laid_prefix();
	CHECK_INT(fs_replace(from, "bin/x", "ho\n", 3, 0, &e), 0);
	CHECK_INT(opam_kept_open(&k, kept_path(), &e), 0);
	CHECK_INT(put(&k, from, false), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK(!opam_kept_has(&k, key));
	opam_kept_close(&k);
}

TEST(what_is_damaged_goes)
{
	static const char *const paths[] = {"files/bin/x", "list", "files"};
	struct opam_kept k;
	auto_fd from = laid_prefix();
	CHECK_INT(opam_kept_open(&k, kept_path(), &e), 0);
	for (size_t i = 0; i < 3; i++) {
		char path[300];
		CHECK_INT(put(&k, from, false), 1);
		snprintf(path, sizeof(path), "pkg/%s/%s", key, paths[i]);
		if (i == 2)
			CHECK_INT(fs_remove_tree(k.fd, path, &e), 0);
		else
			CHECK_INT(fs_replace(k.fd, path, "???", 3, 0, &e), 0);
		CHECK_INT(take(&k, "b"), 0);
		CHECK(!opam_kept_has(&k, key));
	}
	opam_kept_close(&k);
}

TEST(one_builds_at_a_time)
{
	struct opam_kept k;
	int first = -1, second = -1;
	CHECK_INT(opam_kept_open(&k, kept_path(), &e), 0);
	CHECK_INT(opam_kept_lock(&k, key, &first, &e), 1);
	CHECK_INT(opam_kept_lock(&k, key, &second, &e), 0);
	close(first);
	CHECK_INT(opam_kept_lock(&k, key, &second, &e), 1);
	close(second);
	opam_kept_close(&k);
}

/* Four processes put, replace, take and remove the same: each take is whole or nothing. */
static int one_of_many(int number)
{
	struct opam_kept k;
	char where[20];
	auto_fd from = open_prefix("from");
	snprintf(where, sizeof(where), "many-%d", number);
	if (opam_kept_open(&k, kept_path(), &e) < 0)
		return 1;
	for (int i = 0; i < 60; i++) {
		char path[100];
		snprintf(path, sizeof(path), "pkg/%s/files/bin/x", key);
		if (number == 0 && i % 5 == 0)
			(void)sys_unlinkat(k.fd, path, 0); /* damage */
		if (put(&k, from, i % 3 == 0) < 0 || take(&k, where) < 0) {
			fprintf(stderr, "%d: %s\n", number, e.msg);
			return 1;
		}
	}
	opam_kept_close(&k);
	return 0;
}

TEST(many_at_once)
{
	pid_t pids[4];
	close(laid_prefix());
	for (int i = 0; i < 4; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(one_of_many(i));
	}
	for (int i = 0; i < 4; i++) {
		int status = 0;
		waitpid(pids[i], &status, 0);
		CHECK_INT(status, 0);
	}
}

TEST(the_oldest_goes_first)
{
	struct opam_kept k;
	auto_arena a = ARENA_INIT;
	struct build_opam_kept *v;
	size_t n;
	auto_fd from = laid_prefix();
	char other[65], path[100];
	CHECK_INT(opam_kept_open(&k, kept_path(), &e), 0);
	CHECK_INT(put(&k, from, false), 1);
	memset(other, 'f', 64);
	other[64] = '\0';
	struct env_opam_tree t = tree(&a);
	CHECK_INT(opam_kept_put(&k, other, str_c(about), &t, from, false, &e), 1);
	snprintf(path, sizeof(path), "pkg/%s/key", other);
	const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	CHECK_INT(sys_utimensat(k.fd, path, old, 0), 0);
	CHECK_INT(build_opam_kept_list(kept_path(), &a, &v, &n, &e), 0);
	CHECK_INT(n, 2);
	CHECK_INT(v[0].used_ms, 1000000);
	CHECK_INT(v[0].bytes, 3);
	struct build_opam_kept_gc o = {.now_ms = 2000000, .older_than_ms = -1, .max_bytes = 3};
	CHECK_INT(build_opam_kept_gc(kept_path(), &o, &a, &v, &n, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	opam_kept_close(&k);
	CHECK_INT(build_opam_kept_gc(kept_path(), &o, &a, &v, &n, &e), 0);
	CHECK_INT(n, 1);
	CHECK_STR(v[0].key, other);
	CHECK_INT(build_opam_kept_list(kept_path(), &a, &v, &n, &e), 0);
	CHECK_INT(n, 1);
	CHECK_STR(v[0].key, key);
}

TEST(lists_that_are_none)
{
	static const char *const bad[] = {
		"D\t../x\n",
		"D\t/x\n",
		"D\ta\nD\ta\n",
		"D\tb\nD\ta\n",
		"D a\n",
		"F 755 3 98\tx\n",
		"F 7777 3 98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4\tx\n",
		"F 758 3 98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4\tx\n",
		"F 755 3 98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4 more\tx\n",
		"L \tx\n",
		"S 1\tx\n",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_arena a = ARENA_INIT;
		struct env_opam_tree t;
		e = ERR_INIT;
		CHECK_MSG(env_opam_tree_parse(&a, str_c(bad[i]), "list", &t, &e) < 0, "%s", bad[i]);
		CHECK_INT(e.code, ERR_INPUT);
	}
}
