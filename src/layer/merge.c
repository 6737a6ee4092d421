// SPDX-License-Identifier: Apache-2.0
/*
 * The folders of an overlay made into one.
 *
 * Top to bottom: of each name the topmost counts. A character device 0:0 hides what is below it; a folder goes on in the folders of that
 * name below, down to the first that is opaque, or to where the name is something else. Files become further names of the same
 * inode: none of these trees is ever written to again, because an overlay copies before it writes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/map.h"
#include "base/sys.h"
#include "base/vec.h"
#include "layer/internal.h"

enum { MERGE_DEPTH_MAX = 200 };
VEC_TYPE(folders, const char *);
struct merge {
	int dirfd;
	bool below; /* something lies below */
};

static void folders_release(struct folders *f)
{
	vec_release(f);
}
#define auto_folders cleanup_with(folders_release) struct folders

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static DIR *open_dir(int dirfd, const char *path)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		close(fd);
	return d;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static bool has_mark(int dirfd, const char *path, const char *what)
{
	static const char *const of[] = {"trusted", "user"};
	char name[64], value[8];
	auto_fd fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	for (size_t i = 0; fd >= 0 && i < 2; i++) {
		snprintf(name, sizeof(name), "%s.overlay.%s", of[i], what);
		ssize_t size = fgetxattr(fd, name, value, sizeof(value));
		if (strcmp(what, "opaque") == 0 ? size == 1 && value[0] == 'y' : size >= 0 || errno == ERANGE)
			return true;
	}
	return false;
}

static int merge(const struct merge *m, const struct folders *in, const char *to, unsigned depth, struct err *e);

/* Of those marks the one that this user's overlays look at is the one that he may set. */
static int set_opaque(const struct merge *m, const char *path, struct err *e)
{
	auto_fd fd = openat(m->dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open folder '%s'", path);
	if (sys_fsetxattr(fd, "trusted.overlay.opaque", "y", 1) == 0 ||
	    (errno == EPERM && sys_fsetxattr(fd, "user.overlay.opaque", "y", 1) == 0))
		return 0;
	return err_sys(e, "make folder '%s' opaque", path);
}

/* The folders that show as one: that in in->v[first], and those below it. *ret_ends: what is below all of them does not show in it. */
static int find_parts(const struct merge *m, const struct folders *in, size_t first, const char *name, struct arena *a,
		      struct folders *ret, bool *ret_ends, struct err *e)
{
	for (size_t i = first; i < in->n; i++) {
		struct stat st;
		const char *path = arena_printf(a, "%s/%s", in->v[i], name);
		if (fstatat(m->dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno == ENOENT)
				continue;
			return err_sys(e, "stat '%s'", path);
		}
		if (S_ISDIR(st.st_mode)) {
			vec_push(ret, path);
			if (has_mark(m->dirfd, path, "redirect"))
				return err_new(e, ERR_UNSUPPORTED, "'%s' goes on in a folder of another name", path);
		}
		*ret_ends = !S_ISDIR(st.st_mode) || has_mark(m->dirfd, path, "opaque");
		if (*ret_ends)
			return 0;
	}
	return 0;
}

static int merge_folder(const struct merge *m, const struct folders *in, size_t first, const char *name, const char *to,
			unsigned depth, struct arena *a, struct err *e)
{
	auto_folders parts = {0};
	bool ends = false;
	if (find_parts(m, in, first, name, a, &parts, &ends, e) < 0 || merge(m, &parts, to, depth + 1, e) < 0)
		return -1;
	return ends && m->below ? set_opaque(m, to, e) : 0;
}

static int merge_entry(const struct merge *m, const struct folders *in, size_t first, const char *name, const char *to,
		       unsigned depth, struct err *e)
{
	struct stat st;
	auto_arena a = ARENA_INIT;
	const char *from = arena_printf(&a, "%s/%s", in->v[first], name);
	const char *made = arena_printf(&a, "%s/%s", to, name);
	if (fstatat(m->dirfd, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat '%s'", from);
	if (is_whiteout(&st) && !m->below)
		return 0;
	if (S_ISDIR(st.st_mode))
		return merge_folder(m, in, first, name, made, depth, &a, e);
	return sys_linkat(m->dirfd, from, m->dirfd, made, 0) < 0 ? err_sys(e, "link '%s'", made) : 0;
}

/* Into the folder `to`, which is there. */
static int merge_entries(const struct merge *m, const struct folders *in, const char *to, unsigned depth, struct err *e)
{
	auto_map seen = MAP_INIT;
	auto_arena a = ARENA_INIT;
	for (size_t i = 0; i < in->n; i++) {
		cleanup_with(close_dir) DIR *dir = open_dir(m->dirfd, in->v[i]);
		if (!dir)
			return err_sys(e, "open folder '%s'", in->v[i]);
		for (;;) {
			errno = 0;
			const struct dirent *d = readdir(dir);
			if (!d && errno)
				return err_sys(e, "read folder '%s'", in->v[i]);
			if (!d)
				break;
			if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 ||
			    map_get(&seen, str_c(d->d_name)))
				continue;
			*map_put(&seen, arena_str(&a, str_c(d->d_name))) = 1;
			if (merge_entry(m, in, i, d->d_name, to, depth, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int merge(const struct merge *m, const struct folders *in, const char *to, unsigned depth, struct err *e)
{
	if (depth > MERGE_DEPTH_MAX)
		return err_new(e, ERR_UNSUPPORTED, "folder '%s' lies deeper than %d folders", to, MERGE_DEPTH_MAX);
	if (sys_mkdirat(m->dirfd, to, 0700) < 0)
		return err_sys(e, "make folder '%s'", to);
	if (merge_entries(m, in, to, depth, e) < 0)
		return -1;
	return tree_copy_meta(m->dirfd, in->v[0], to, e);
}

int merge_folders(int dirfd, const char *const *lower, size_t n, bool below, const char *to, struct err *e)
{
	const struct merge m = {dirfd, below};
	auto_folders in = {0};
	for (size_t i = 0; i < n; i++)
		vec_push(&in, lower[i]);
	return merge(&m, &in, to, 0, e);
}
