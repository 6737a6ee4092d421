// SPDX-License-Identifier: Apache-2.0
/*
 * Each layer a subvolume of btrfs, a snapshot of its parent's.
 *
 * The ioctls themselves (linux/btrfs.h): they are four. A snapshot waits for a commit of the file system, which is most of what a step costs
 * here. What a layer takes beyond its parent is the sum of the extents newer than the snapshot: the search of the kernel goes only where the
 * tree has changed. It does not see what has yet to be written out, so that it is made once more after a sync. It is root's alone; for others
 * the whole tree is measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

#include "base/fs.h"
#include "base/sys.h"
#include "layer/internal.h"

enum { SEARCH_SIZE = 64 << 10 };

/* "tmp/x/fs" as a folder's descriptor and a name. */
static int open_parent(struct layers *l, const char *path, const char **ret_name, struct err *e)
{
	ptrdiff_t slash = str_rfind(str_c(path), '/');
	struct place folder = place_of("%.*s", (int)slash, path);
	*ret_name = path + slash + 1;
	return fs_open_dir(l->dir, folder.s, e);
}

static int make_subvolume(struct layers *l, const char *path, struct err *e)
{
	const char *name;
	struct btrfs_ioctl_vol_args_v2 args = {0};
	auto_fd folder = open_parent(l, path, &name, e);
	if (folder < 0)
		return -1;
	snprintf(args.name, sizeof(args.name), "%s", name);
	if (sys_mark("subvolume") < 0 || ioctl(folder, BTRFS_IOC_SUBVOL_CREATE_V2, &args) < 0)
		return err_sys(e, "make subvolume '%s/%s'", l->path, path);
	if (sys_fchmodat(folder, name, 0755) < 0)
		return err_sys(e, "set the mode of '%s/%s'", l->path, path);
	return 0;
}

static int make_snapshot(struct layers *l, const char *from, const char *to, struct err *e)
{
	const char *name;
	auto_fd source = fs_open_dir(l->dir, from, e);
	auto_fd folder = source < 0 ? -1 : open_parent(l, to, &name, e);
	if (folder < 0)
		return -1;
	struct btrfs_ioctl_vol_args_v2 args = {.fd = source};
	snprintf(args.name, sizeof(args.name), "%s", name);
	if (sys_mark("snapshot") < 0 || ioctl(folder, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
		return err_sys(e, "make snapshot '%s/%s'", l->path, to);
	return 0;
}

/* A subvolume at path; where it is none, or this user may not, a tree like any other. */
static int remove_subvolume(struct layers *l, const char *path, struct err *e)
{
	const char *name;
	struct err missing = ERR_INIT;
	struct btrfs_ioctl_vol_args args = {0};
	auto_fd folder = open_parent(l, path, &name, &missing);
	if (folder < 0)
		return missing.code == ERR_NOT_FOUND ? 0 : (*e = missing, -1);
	snprintf(args.name, sizeof(args.name), "%s", name);
	if (sys_mark("remove subvolume") == 0 && ioctl(folder, BTRFS_IOC_SNAP_DESTROY, &args) == 0)
		return 0;
	return errno == ENOENT ? 0 : inside_remove(l, path, e);
}

static int btrfs_root(struct layers *l, const char *path, struct arena *a, struct sandbox_root *ret, struct err *e)
{
	(void)e;
	*ret = (struct sandbox_root){.dir = arena_printf(a, "%s/%s/fs", l->path, path), .readonly = true};
	return 0;
}

static int btrfs_begin(struct layers *l, const char *path, const char *parent, struct arena *a,
		       struct sandbox_root *ret, struct err *e)
{
	struct place to = place_of("%s/fs", path);
	if (parent) {
		struct place from = place_of("%s/fs", parent);
		if (make_snapshot(l, from.s, to.s, e) < 0)
			return -1;
	} else if (make_subvolume(l, to.s, e) < 0) {
		return -1;
	}
	if (btrfs_root(l, path, a, ret, e) < 0)
		return -1;
	ret->readonly = false;
	return 0;
}

/* Bytes of the extents in one answer to a search, and where the next one begins. */
static uint64_t sum_extents(const struct btrfs_ioctl_search_args_v2 *args, struct btrfs_ioctl_search_key *key)
{
	uint64_t sum = 0;
	const char *at = (const char *)args->buf;
	for (uint32_t i = 0; i < args->key.nr_items; i++) {
		struct btrfs_ioctl_search_header h;
		struct btrfs_file_extent_item x;
		memcpy(&h, at, sizeof(h));
		at += sizeof(h);
		key->min_objectid = h.objectid;
		key->min_type = h.type;
		key->min_offset = h.offset;
		size_t inline_at = offsetof(struct btrfs_file_extent_item, disk_bytenr);
		if (h.type == BTRFS_EXTENT_DATA_KEY && h.len >= inline_at) {
			memset(&x, 0, sizeof(x));
			memcpy(&x, at, h.len < sizeof(x) ? h.len : sizeof(x));
			if (x.generation >= key->min_transid)
				sum += x.type == BTRFS_FILE_EXTENT_INLINE ? h.len - inline_at : x.disk_num_bytes;
		}
		at += h.len;
	}
	return sum;
}

/* 1 the sum of what is newer than `since`, 0 this user may not ask. */
static int new_bytes(int fd, uint64_t since, uint64_t *ret, struct err *e)
{
	auto_free struct btrfs_ioctl_search_args_v2 *args = xcalloc(1, sizeof(*args) + SEARCH_SIZE);
	struct btrfs_ioctl_search_key key = {
		.max_objectid = UINT64_MAX,
		.max_type = BTRFS_EXTENT_DATA_KEY,
		.max_offset = UINT64_MAX,
		.min_transid = since,
		.max_transid = UINT64_MAX,
	};
	*ret = 0;
	for (;;) {
		args->key = key;
		args->key.nr_items = UINT32_MAX;
		args->buf_size = SEARCH_SIZE;
		if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, args) < 0)
			return errno == EPERM ? 0 : err_sys(e, "search a subvolume");
		if (args->key.nr_items == 0)
			return 1;
		*ret += sum_extents(args, &key);
		if (key.min_offset < UINT64_MAX)
			key.min_offset++;
		else if (key.min_type < UINT8_MAX)
			key.min_type++, key.min_offset = 0;
		else
			key.min_objectid++, key.min_type = 0, key.min_offset = 0;
	}
}

/* What was there when a snapshot was made was written out in that transaction at the latest. */
static bool is_snapshot(const struct btrfs_ioctl_get_subvol_info_args *info)
{
	for (size_t i = 0; i < sizeof(info->parent_uuid); i++)
		if (info->parent_uuid[i])
			return true;
	return false;
}

static int btrfs_measure(struct layers *l, const char *path, uint64_t *ret_bytes, struct err *e)
{
	struct place fs = place_of("%s/fs", path);
	struct btrfs_ioctl_get_subvol_info_args info = {0};
	auto_fd fd = fs_open_dir(l->dir, fs.s, e);
	if (fd < 0)
		return -1;
	if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) >= 0) { /* some kernels answer 1 */
		int r = new_bytes(fd, is_snapshot(&info) ? info.otransid + 1 : info.otransid, ret_bytes, e);
		if (r != 0)
			return r < 0 ? -1 : 0;
	}
	return inside_bytes(l, fs.s, false, ret_bytes, e);
}

static int btrfs_remove(struct layers *l, const char *path, struct err *e)
{
	struct place fs = place_of("%s/fs", path);
	if (remove_subvolume(l, fs.s, e) < 0)
		return -1;
	return inside_remove(l, path, e);
}

static int btrfs_probe(struct layers *l, const char *path, struct buf *why, struct err *e)
{
	struct statfs st;
	struct err not_here = ERR_INIT;
	struct place first = place_of("%s/first", path), second = place_of("%s/second", path);
	if (fstatfs(l->dir, &st) < 0)
		return err_sys(e, "ask for the kind of file system of '%s'", l->path);
	if (st.f_type != BTRFS_SUPER_MAGIC) {
		buf_put_c(why, "btrfs: it is another file system; ");
		return 0;
	}
	if (make_subvolume(l, first.s, &not_here) == 0 && make_snapshot(l, first.s, second.s, &not_here) == 0 &&
	    remove_subvolume(l, second.s, &not_here) == 0 && remove_subvolume(l, first.s, &not_here) == 0)
		return 1;
	buf_printf(why, "btrfs: %s; ", not_here.msg);
	return 0;
}

const struct backend backend_btrfs = {
	.kind = LAYER_BTRFS,
	.name = "btrfs",
	.probe = btrfs_probe,
	.begin = btrfs_begin,
	.finish = btrfs_measure,
	.measure = btrfs_measure,
	.root = btrfs_root,
	.remove = btrfs_remove,
};
