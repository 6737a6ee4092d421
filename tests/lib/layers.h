// SPDX-License-Identifier: Apache-2.0
/* Layers for tests: places to keep them in, one a backend; what a step does, without a sandbox; what a tree holds, as text. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>

#include "base/buf.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/vec.h"
#include "layer/layer.h"
#include "lib/test.h"

enum where { ON_OVERLAY, ON_COPY, ON_BTRFS, ON_XFS, WHERES };

/* Root may mount; another user is root in a user namespace of his own, with one id. */
__attribute__((unused)) static void test_own_mounts(void)
{
	static bool done;
	if (done)
		return;
	done = true;
	if (geteuid() != 0)
		SKIP("kernel: another user's overlays are tested through the sandbox (run as root)");
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		SKIP("kernel: no mount namespaces here: %s", strerror(errno));
}

/* A small file system of a kind, in a file, mounted for this test alone. */
__attribute__((unused)) static const char *test_disk(const char *mkfs, const char *size, const char *options)
{
	static char at[200];
	char cmd[4000];
	snprintf(at, sizeof(at), "%s/disk", test_tmp());
	snprintf(
		cmd, sizeof(cmd),
		"PATH=$PATH:/usr/sbin:/sbin; command -v %.20s >/dev/null || exit 3; mkdir -p %s && truncate -s %s %s.img && "
		"%s %s.img >/dev/null 2>&1 && mount -o loop%s %s.img %s 2>/dev/null",
		mkfs, at, size, at, mkfs, at, options, at, at);
	test_own_mounts();
	if (system(cmd) != 0)
		SKIP("file system: '%s' and a loop device cannot be had", mkfs);
	return at;
}

__attribute__((unused)) static struct layers *test_layers(enum where where)
{
	static const enum layer_backend kind[] = {LAYER_OVERLAY, LAYER_COPY, LAYER_BTRFS, LAYER_COPY};
	char dir[300];
	struct layers *l;
	struct err e = ERR_INIT;
	const char *at = where == ON_BTRFS ? test_disk("mkfs.btrfs", "300M", "")
			 : where == ON_XFS ? test_disk("mkfs.xfs", "400M", "")
					   : test_tmp();
	test_own_mounts();
	snprintf(dir, sizeof(dir), "%s/layers", at);
	if (layers_open(dir, kind[where], &l, &e) < 0 && e.code == ERR_UNSUPPORTED)
		SKIP("file system: %s", e.msg);
	CHECK_MSG(e.code == ERR_NONE, "%s", e.msg);
	return l;
}

/* Of the same folder, as another process would. */
__attribute__((unused)) static struct layers *test_again(struct layers *l)
{
	struct layers *again;
	struct err e = ERR_INIT;
	CHECK_MSG(layers_open(layers_path(l), LAYER_AUTO, &again, &e) == 0, "%s", e.msg);
	return again;
}

__attribute__((unused)) static struct layer_id test_id(unsigned n)
{
	struct layer_id id;
	snprintf(id.hex, sizeof(id.hex), "%064x", n);
	return id;
}

/* An overlay is mounted on a folder of this test's; a tree is that itself. */
__attribute__((unused)) static const char *test_mount(const struct sandbox_root *r, int *ret_fs)
{
	static char at[200];
	if (r->dir)
		return r->dir;
	snprintf(at, sizeof(at), "%s/merged", test_tmp());
	CHECK(mkdir(at, 0755) == 0 || errno == EEXIST);
	int fs = fsopen("overlay", FSOPEN_CLOEXEC);
	CHECK(fs >= 0);
	for (size_t i = 0; i < r->n_lower; i++)
		CHECK_MSG(fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+", r->lower[i], 0) == 0, "lower %zu", i);
	if (r->upper) {
		auto_free char *before = xasprintf("%s/work/incompat/volatile", r->work);
		auto_free char *dirty = xasprintf("%s/dirty", before);
		if (unlink(dirty) == 0) /* of the mount before this one */
			CHECK(rmdir(before) == 0);
		CHECK(fsconfig(fs, FSCONFIG_SET_STRING, "upperdir", r->upper, 0) == 0);
		CHECK(fsconfig(fs, FSCONFIG_SET_STRING, "workdir", r->work, 0) == 0);
		CHECK(fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0) == 0);
	}
	CHECK_MSG(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0, "overlay: %s", strerror(errno));
	int mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
	CHECK(mnt >= 0 && move_mount(mnt, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) == 0);
	close(mnt);
	close(fs);
	*ret_fs = 1;
	return at;
}

typedef void test_step(void);
/* Does a step with the tree as "/", in a child. */
__attribute__((unused)) static void test_in(const struct sandbox_root *r, test_step *step)
{
	int status, mounted = 0;
	const char *at = test_mount(r, &mounted);
	pid_t child = fork();
	if (child == 0) {
		umask(022);
		if (chroot(at) < 0 || chdir("/") < 0)
			test_fail(__FILE__, __LINE__, "chroot '%s': %s", at, strerror(errno));
		step();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	if (mounted)
		CHECK(umount(at) == 0);
	CHECK_MSG(status == 0, "the step failed");
}

/* What a tree holds, sorted: a line each, beginning with its path. Times are told where they are old, thus set by somebody. */
struct test_listing {
	struct buf b;
	VEC(struct {
		dev_t dev;
		ino_t ino;
		unsigned n;
	})
	links;
};

__attribute__((unused)) static unsigned test_link_number(struct test_listing *t, const struct stat *st)
{
	vec_foreach(k, &t->links)
		if (k->ino == st->st_ino && k->dev == st->st_dev)
			return k->n;
	vec_reserve(&t->links, t->links.n + 1);
	t->links.v[t->links.n].ino = st->st_ino;
	t->links.v[t->links.n].dev = st->st_dev;
	t->links.v[t->links.n].n = (unsigned)t->links.n;
	return (unsigned)t->links.n++;
}

__attribute__((unused)) static void test_list_xattrs(struct buf *b, const char *path)
{
	char names[4096], value[4096];
	ssize_t n = llistxattr(path, names, sizeof(names));
	for (const char *at = names; n > 0 && at < names + n; at += strlen(at) + 1) {
		if (strstr(at, ".overlay."))
			continue;
		ssize_t size = lgetxattr(path, at, value, sizeof(value));
		CHECK(size >= 0);
		buf_printf(b, " %s=", at);
		buf_put_hex(b, (const uint8_t *)value, (size_t)size);
	}
}

__attribute__((unused)) static int test_list_one(void *ctx, int dirfd, const char *name, const char *rel,
						 const struct stat *st, struct err *e)
{
	struct test_listing *t = ctx;
	struct buf *b = &t->b;
	char path[8192], target[8192];
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
	buf_put_c(b, rel);
	buf_printf(b, " %o %u:%u", st->st_mode, st->st_uid, st->st_gid);
	if (st->st_mtime < 1000000000)
		buf_printf(b, " t=%lld.%09ld", (long long)st->st_mtime, st->st_mtim.tv_nsec);
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(dirfd, name, target, sizeof(target));
		buf_printf(b, " -> %.*s", (int)n, target);
	} else if (S_ISREG(st->st_mode)) {
		uint8_t sha[SHA256_SIZE];
		auto_fd fd = openat(dirfd, name, O_RDONLY);
		CHECK_MSG(fd >= 0 && sha256_fd(fd, sha, e) == 0, "'%s' cannot be read: %s", rel, strerror(errno));
		buf_printf(b, " size=%lld%s ", (long long)st->st_size,
			   st->st_blocks * 512 < st->st_size / 2 ? " sparse" : "");
		buf_put_hex(b, sha, 8);
		buf_printf(b, " #%u", test_link_number(t, st));
	} else if (!S_ISDIR(st->st_mode)) {
		buf_printf(b, " dev=%u:%u", major(st->st_rdev), minor(st->st_rdev));
	}
	test_list_xattrs(b, path);
	buf_put_c(b, "\n");
	return 0;
}

__attribute__((unused)) static char *test_list(const struct sandbox_root *r)
{
	struct stat st;
	int mounted = 0;
	struct err e = ERR_INIT;
	struct test_listing t = {.b = BUF_INIT(BUF_MAX)};
	const char *at = test_mount(r, &mounted);
	CHECK(stat(at, &st) == 0);
	buf_printf(&t.b, "/ %o %u:%u", st.st_mode, st.st_uid, st.st_gid);
	if (st.st_mtime < 1000000000)
		buf_printf(&t.b, " t=%lld", (long long)st.st_mtime);
	test_list_xattrs(&t.b, at);
	buf_put_c(&t.b, "\n");
	CHECK_MSG(fs_walk(AT_FDCWD, at, test_list_one, &t, &e) == 0, "%s", e.msg);
	if (mounted)
		CHECK(umount(at) == 0);
	vec_release(&t.links);
	return buf_steal(&t.b);
}

/* The listing of a layer. */
__attribute__((unused)) static char *test_list_layer(struct layers *l, const struct layer_id *id)
{
	struct sandbox_root r;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	int hold = -1;
	CHECK_MSG(layer_hold(l, id, &a, &r, &hold, &e) == 0, "%s", e.msg);
	CHECK(r.readonly && !r.upper);
	char *s = test_list(&r);
	close(hold);
	return s;
}

/* Layer n on top of `parent` (0: nothing), made by a step. */
__attribute__((unused)) static void test_make(struct layers *l, unsigned n, unsigned parent, test_step *step)
{
	struct layer_id id = test_id(n), below = test_id(parent);
	struct layer_work *w;
	struct err e = ERR_INIT;
	CHECK_MSG(layer_begin(l, &id, parent ? &below : NULL, &w, &e) == 0, "%s", e.msg);
	if (step)
		test_in(layer_work_root(w), step);
	CHECK_MSG(layer_work_commit(w, STR("made by a test"), &e) == 0, "%s", e.msg);
}

__attribute__((unused)) static bool test_is_there(struct layers *l, unsigned n)
{
	struct layer_id id = test_id(n);
	struct layer_info info;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	int r = layer_find(l, &id, &a, &info, &e);
	CHECK_MSG(r >= 0, "%s", e.msg);
	return r;
}

/* How many names a folder of DIR holds. */
__attribute__((unused)) static size_t test_count(struct layers *l, const char *folder)
{
	auto_fs_list list = {0};
	struct err e = ERR_INIT;
	CHECK_MSG(fs_list(layers_dirfd(l), folder, 100000, &list, &e) == 0, "%s", e.msg);
	return list.n;
}
