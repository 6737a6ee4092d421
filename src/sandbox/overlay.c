// SPDX-License-Identifier: Apache-2.0
/*
 * Layers laid over each other. Each is given by a descriptor, or by the name which /proc gives to that: short, and without ':' and ','.
 *
 *	Linux 6.13	mapped copies by descriptor: they need not be mounted anywhere
 *	Linux 6.7	names, one at a time
 *	before		all names in one string of a page (some 200 layers); mapped copies have to be mounted somewhere before (5.19)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "sandbox/box.h"
#include "sandbox/kernel.h"

enum { DETACH = 2 /* MNT_DETACH */, OLD_DATA_BYTES = 4096 };

static bool is_old_forced;

void box_overlay_force_old(bool old)
{
	is_old_forced = old;
}

/* Open until the overlay is made: the kernel lets go of a copy that is closed before. */
struct layers {
	size_t n; /* lower ones */
	int lower[BOX_LOWER_MAX];
	int tree, upper, work; /* tree: of both */
};

static void layers_close(struct layers *l)
{
	for (size_t i = 0; i < l->n; i++)
		close(l->lower[i]);
	cleanup_fd(&l->tree);
	cleanup_fd(&l->upper);
	cleanup_fd(&l->work);
}

static int open_folder(const struct box *b, const char *path, int *ret, struct err *e)
{
	if (b->ids == BOX_IDS_MAPPED)
		return box_copy_tree(b, AT_FDCWD, path, 0, false, ret, e);
	*ret = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? err_sys(e, "open '%s'", path) : 0;
}

/* An overlay that is not synced leaves a mark that keeps its folder from use after a crash. What a crash leaves is thrown away by
 * layers, while one sandbox after another in the same upper is usual. */
static void unmark(int work_fd)
{
	if (sys_unlinkat(work_fd, "work/incompat/volatile/dirty", 0) < 0)
		return;
	sys_unlinkat(work_fd, "work/incompat/volatile", AT_REMOVEDIR);
	sys_unlinkat(work_fd, "work/incompat", AT_REMOVEDIR);
}

/* The folder above both: how much of either it takes. */
static size_t common_folder(const char *a, const char *b)
{
	size_t n = 0;
	for (size_t i = 0; a[i] && a[i] == b[i]; i++)
		if (a[i] == '/')
			n = i + 1;
	return n;
}

/* upper and work have to lie on one mount: a copy of the folder above both. */
static int open_upper(const struct box *b, const struct sandbox_root *r, struct layers *l, struct err *e)
{
	size_t n = common_folder(r->upper, r->work);
	char parent[4096];
	if (n >= sizeof(parent))
		return err_new(e, ERR_LIMIT, "path of '%.80s...' is too long", r->upper);
	snprintf(parent, sizeof(parent), "%.*s", n > 0 ? (int)n : 1, n > 0 ? r->upper : ".");
	int rc = open_folder(b, parent, &l->tree, e);
	if (rc < 0)
		return rc;
	l->upper = openat(l->tree, r->upper + n, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->upper < 0)
		return err_sys(e, "open '%s'", r->upper);
	l->work = openat(l->tree, r->work + n, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->work < 0)
		return err_sys(e, "open '%s'", r->work);
	unmark(l->work);
	return 0;
}

static int open_layers(const struct box *b, const struct sandbox_root *r, struct layers *l, struct err *e)
{
	for (; l->n < r->n_lower; l->n++) {
		int rc = open_folder(b, r->lower[l->n], &l->lower[l->n], e);
		if (rc < 0)
			return rc;
	}
	return r->upper ? open_upper(b, r, l, e) : 0;
}

static bool needs_userxattr(const struct box *b)
{
	return b->inner || b->ids == BOX_IDS_RANGE || b->ids == BOX_IDS_ONE;
}

/* ---- one at a time ---- */

static int give(const struct box *b, int fs, const char *key, int fd)
{
	char path[64];
	if (b->ids == BOX_IDS_MAPPED)
		return k_fs_fd(fs, key, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return k_fs_string(fs, key, path);
}

static int give_all(const struct box *b, const struct layers *l, int fs)
{
	for (size_t i = 0; i < l->n; i++)
		if (give(b, fs, "lowerdir+", l->lower[i]) < 0)
			return -1;
	if (l->upper >= 0 && (give(b, fs, "upperdir", l->upper) < 0 || give(b, fs, "workdir", l->work) < 0))
		return -1;
	return k_fs_string(fs, "redirect_dir", "nofollow") < 0 || k_fs_string(fs, "metacopy", "off") < 0 ||
			       k_fs_string(fs, "index", "off") < 0 ||
			       (needs_userxattr(b) && k_fs_flag(fs, "userxattr") < 0)
		       ? -1
		       : 0;
}

/* The kernel's own words about a file system it would not make; errno stays. */
static void kernel_says(int fs, char *buf, size_t n)
{
	int saved = errno;
	ssize_t got = read(fs, buf, n - 1);
	buf[got > 0 ? got : 0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	errno = saved;
}

static int make_new(const struct box *b, const struct layers *l, unsigned attr, struct err *e)
{
	char words[256];
	auto_fd fs = k_fsopen("overlay");
	if (fs < 0)
		return err_sys(e, "overlay; load it with 'modprobe overlay', or use another store of layers");
	if (give_all(b, l, fs) == 0) {
		if (l->upper >= 0)
			k_fs_flag(
				fs,
				"volatile"); /* no sync when it is unmounted: who wants layers on disk syncs them (Linux 5.10) */
		if (k_fs_create(fs) == 0) {
			int fd = k_fsmount(fs, attr);
			return fd < 0 ? err_sys(e, "mount the layers") : fd;
		}
	}
	kernel_says(fs, words, sizeof(words));
	return err_sys(e, "mount the layers%s%s", *words ? ": " : "", words);
}

/* ---- all in one string ---- */

/* Mounts the copies below stage, where nobody else looks. */
static int attach_all(const struct layers *l, int stage, struct err *e)
{
	for (size_t i = 0; i <= l->n; i++) {
		char name[16];
		int fd = i < l->n ? l->lower[i] : l->tree;
		snprintf(name, sizeof(name), "%zu", i);
		if (fd >= 0 && (sys_mkdirat(stage, name, 0700) < 0 || k_move_mount(fd, stage, name) < 0))
			return err_sys(e, "mount a layer");
	}
	return 0;
}

static bool put_all(const struct box *b, const struct layers *l, char data[OLD_DATA_BYTES])
{
	size_t n = 0;
	for (size_t i = 0; i < l->n && n < OLD_DATA_BYTES; i++)
		n += (size_t)snprintf(data + n, OLD_DATA_BYTES - n, "%s/proc/self/fd/%d",
				      i ? ":" : "lowerdir=", l->lower[i]);
	if (l->upper >= 0 && n < OLD_DATA_BYTES)
		n += (size_t)snprintf(data + n, OLD_DATA_BYTES - n,
				      ",upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,volatile", l->upper,
				      l->work);
	if (n < OLD_DATA_BYTES)
		n += (size_t)snprintf(data + n, OLD_DATA_BYTES - n, ",redirect_dir=nofollow,metacopy=off,index=off%s",
				      needs_userxattr(b) ? ",userxattr" : "");
	return n < OLD_DATA_BYTES;
}

/* A folder in memory over `at`, which exists, is where it is mounted for a moment: what is returned is a copy. */
static int make_old(const struct box *b, const struct layers *l, const char *at, unsigned attr, struct err *e)
{
	char data[OLD_DATA_BYTES], target[64];
	auto_fd fs = k_fsopen("tmpfs");
	if (fs < 0 || k_fs_create(fs) < 0)
		return err_sys(e, "make a tmpfs");
	auto_fd stage = k_fsmount(fs, 0);
	if (stage < 0 || k_move_mount(stage, AT_FDCWD, at) < 0 || sys_mkdirat(stage, "root", 0700) < 0)
		return err_sys(e, "mount a tmpfs");
	if (b->ids == BOX_IDS_MAPPED && attach_all(l, stage, e) < 0)
		return -1;
	if (!put_all(b, l, data))
		return err_new(e, ERR_LIMIT,
			       "%zu layers: more than this kernel can lay over each other (Linux 6.7 can)", l->n);
	snprintf(target, sizeof(target), "/proc/self/fd/%d/root", stage);
	if (k_mount("overlay", target, "overlay", 0, data) < 0)
		return err_sys(e, "mount the layers");
	auto_fd fd = k_open_tree(stage, "root", K_CLONE_TREE);
	struct k_mount_attr a = {.set = attr};
	if (fd < 0 || k_mount_setattr(fd, 0, &a) < 0 || k_umount(at, DETACH) < 0)
		return err_sys(e, "mount the layers");
	return steal_fd(&fd);
}

int box_overlay(const struct box *b, const struct sandbox_root *r, unsigned attr, struct err *e)
{
	struct err mine = ERR_INIT;
	cleanup_with(layers_close) struct layers l = {.tree = -1, .upper = -1, .work = -1};
	int rc = open_layers(b, r, &l, e);
	if (rc < 0)
		return rc;
	int fd = is_old_forced ? -1 : make_new(b, &l, attr, &mine);
	if (fd >= 0)
		return fd;
	if (!is_old_forced && mine.sys != EINVAL && mine.sys != EOPNOTSUPP && mine.sys != EBADF) {
		*e = mine;
		return -1;
	}
	struct err old = ERR_INIT;
	fd = make_old(b, &l, r->lower[0], attr, &old);
	if (fd >= 0)
		return fd;
	if (b->ids == BOX_IDS_MAPPED)
		return BOX_UNMAPPED;
	*e = is_old_forced || old.code == ERR_LIMIT ? old : mine;
	return -1;
}
