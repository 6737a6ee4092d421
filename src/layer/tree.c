// SPDX-License-Identifier: Apache-2.0
/* Whole trees: copied, measured. Symbolic links are never followed; nobody else works in the trees meanwhile. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "layer/internal.h"

enum { TREE_DEPTH_MAX = 256, XATTR_NAMES_MAX = 64 << 10, XATTR_VALUE_MAX = 64 << 10 };

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}
#define auto_dir cleanup_with(close_dir) DIR

/* A folder of its own descriptor: reading one does not move the other. */
static DIR *open_dir(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		close(fd);
	return d;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* measuring */

static uint64_t share_of(const struct stat *st, bool each_name)
{
	uint64_t bytes = (uint64_t)st->st_blocks * 512;
	return each_name || S_ISDIR(st->st_mode) || st->st_nlink < 2 ? bytes : bytes / st->st_nlink;
}

static int add_folder(int parent, const char *name, unsigned depth, bool each_name, uint64_t *sum, struct err *e)
{
	auto_dir *dir = open_dir(parent, name);
	if (!dir)
		return err_sys(e, "open folder '%s'", name);
	for (;;) {
		struct stat st;
		errno = 0;
		const struct dirent *d = readdir(dir);
		if (!d)
			return errno ? err_sys(e, "read folder '%s'", name) : 0;
		if (is_dot(d->d_name))
			continue;
		if (fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, "stat '%s'", d->d_name);
		*sum += share_of(&st, each_name);
		if (S_ISDIR(st.st_mode) && depth < TREE_DEPTH_MAX &&
		    add_folder(dirfd(dir), d->d_name, depth + 1, each_name, sum, e) < 0)
			return -1;
	}
}

int tree_bytes(int dirfd, const char *path, bool each_name, uint64_t *ret, struct err *e)
{
	struct stat st;
	uint64_t sum = 0;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat '%s'", path);
	sum = share_of(&st, each_name);
	if (S_ISDIR(st.st_mode) && add_folder(dirfd, path, 0, each_name, &sum, e) < 0)
		return err_ctx(e, "measure '%s'", path);
	*ret = sum;
	return 0;
}

/* copying */

struct copy {
	int top;	  /* of the copy */
	struct map links; /* inode of the original → offset in `names` of the copy's path */
	struct buf names, rel;
	bool no_reflink;
};

/* What this user may not set and what belongs to this very machine is left out. */
static bool may_lack(const char *name, int errnum)
{
	if (errnum == ENOTSUP)
		return true;
	return (errnum == EPERM || errnum == EACCES) &&
	       (strncmp(name, "trusted.", 8) == 0 || strcmp(name, "security.selinux") == 0);
}

/* What overlayfs notes on a folder or file of its own is not the tree's. */
static bool is_of_overlay(const char *name)
{
	return strncmp(name, "trusted.overlay.", 16) == 0 || strncmp(name, "user.overlay.", 13) == 0;
}

/* Of files and folders; other things have none that a step could set. */
static int copy_xattrs(int fromfd, int tofd, const char *name, const char *to_name, struct err *e)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	auto_fd from = openat(fromfd, name, flags);
	if (from < 0)
		return err_sys(e, "open '%s'", name);
	ssize_t n = flistxattr(from, NULL, 0);
	if (n <= 0)
		return n == 0 || errno == ENOTSUP ? 0 : err_sys(e, "read extended attributes of '%s'", name);
	auto_fd to = openat(tofd, to_name, flags);
	if (to < 0)
		return err_sys(e, "open '%s'", to_name);
	auto_free char *names = xcalloc(1, XATTR_NAMES_MAX + 1);
	auto_free char *value = xmalloc(XATTR_VALUE_MAX);
	n = flistxattr(from, names, XATTR_NAMES_MAX);
	if (n < 0)
		return err_sys(e, "read extended attributes of '%s'", name);
	for (const char *at = names; at < names + n; at += strlen(at) + 1) {
		if (is_of_overlay(at))
			continue;
		ssize_t size = fgetxattr(from, at, value, XATTR_VALUE_MAX);
		if (size < 0)
			return err_sys(e, "read extended attribute '%s' of '%s'", at, name);
		if (sys_fsetxattr(to, at, value, (size_t)size) < 0 && !may_lack(at, errno))
			return err_sys(e, "set extended attribute '%s' of '%s'", at, name);
	}
	return 0;
}

/* Owner first: a change of owner takes set-id bits and capabilities away. */
static int copy_meta(int fromfd, int tofd, const char *name, const char *to_name, const struct stat *st, struct err *e)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	struct stat made;
	if (fstatat(tofd, to_name, &made, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat '%s'", to_name);
	if ((made.st_uid != st->st_uid || made.st_gid != st->st_gid) &&
	    sys_fchownat(tofd, to_name, st->st_uid, st->st_gid) < 0)
		return err_sys(e, "set the owner of '%s'", name);
	if (!S_ISLNK(st->st_mode) && ((made.st_mode ^ st->st_mode) & 07777 || st->st_mode & 07000) &&
	    sys_fchmodat(tofd, to_name, st->st_mode & 07777) < 0)
		return err_sys(e, "set the mode of '%s'", name);
	if ((S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) && copy_xattrs(fromfd, tofd, name, to_name, e) < 0)
		return -1;
	if (sys_utimensat(tofd, to_name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "set the times of '%s'", name);
	return 0;
}

/* Data alone: holes stay holes. */
static int copy_data(struct copy *c, int from, int to, const struct stat *st, const char *name, struct err *e)
{
	if (st->st_size == 0)
		return 0;
	if (!c->no_reflink) {
		if (sys_ficlone(to, from) == 0)
			return 0;
		if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOTTY && errno != EXDEV && errno != ENOSYS)
			return err_sys(e, "copy '%s'", name);
		c->no_reflink = true;
	}
	return fs_copy_bytes(to, from, (uint64_t)st->st_size, name, e);
}

static int copy_file(struct copy *c, int fromfd, int tofd, const char *name, struct err *e)
{
	struct stat st;
	auto_fd from = openat(fromfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return err_sys(e, "open '%s'", name);
	auto_fd to = sys_openat(tofd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(e, "create '%s'", name);
	return copy_data(c, from, to, &st, name, e);
}

static int copy_link(int fromfd, int tofd, const char *name, struct err *e)
{
	char target[PATH_IN_DIR_MAX * 16];
	ssize_t n = readlinkat(fromfd, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(e, "read link '%s'", name);
	target[n] = '\0';
	return sys_symlinkat(target, tofd, name) < 0 ? err_sys(e, "make link '%s'", name) : 0;
}

static int copy_folder(struct copy *c, int fromfd, int tofd, const char *name, const char *to_name, unsigned depth,
		       struct err *e);

/* 1 it is a further name of a file that was copied. */
static int copy_as_name(struct copy *c, int tofd, const char *name, const struct stat *st, struct err *e)
{
	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return 0;
	uint64_t *at = map_put_id(&c->links, st->st_ino);
	if (*at == 0) {
		*at = c->names.n + 1;
		buf_put(&c->names, c->rel.p, c->rel.n + 1);
		return 0;
	}
	if (sys_linkat(c->top, c->names.p + *at - 1, tofd, name, 0) < 0)
		return err_sys(e, "link '%s'", name);
	return 1;
}

static int copy_entry(struct copy *c, int fromfd, int tofd, const char *name, unsigned depth, struct err *e)
{
	struct stat st;
	if (fstatat(fromfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat '%s'", name);
	int r = copy_as_name(c, tofd, name, &st, e);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (S_ISDIR(st.st_mode))
		return copy_folder(c, fromfd, tofd, name, name, depth + 1, e);
	if (S_ISREG(st.st_mode))
		r = copy_file(c, fromfd, tofd, name, e);
	else if (S_ISLNK(st.st_mode))
		r = copy_link(fromfd, tofd, name, e);
	else if (sys_mknodat(tofd, name, st.st_mode & (S_IFMT | 0700), st.st_rdev) < 0)
		r = err_sys(e, "make device, pipe or socket '%s'", name);
	return r < 0 ? -1 : copy_meta(fromfd, tofd, name, name, &st, e);
}

static int copy_entries(struct copy *c, DIR *from, int tofd, unsigned depth, struct err *e)
{
	for (;;) {
		errno = 0;
		const struct dirent *d = readdir(from);
		if (!d)
			return errno ? err_sys(e, "read folder") : 0;
		if (is_dot(d->d_name))
			continue;
		size_t rel = c->rel.n;
		if (rel)
			buf_put_char(&c->rel, '/');
		buf_put_c(&c->rel, d->d_name);
		if (copy_entry(c, dirfd(from), tofd, d->d_name, depth, e) < 0)
			return -1;
		buf_truncate(&c->rel, rel);
	}
}

static int copy_folder(struct copy *c, int fromfd, int tofd, const char *name, const char *to_name, unsigned depth,
		       struct err *e)
{
	struct stat st;
	if (depth > TREE_DEPTH_MAX)
		return err_new(e, ERR_LIMIT, "folder '%s' lies deeper than %d folders", c->rel.p, TREE_DEPTH_MAX);
	auto_dir *from = open_dir(fromfd, name);
	if (!from || fstat(dirfd(from), &st) < 0)
		return err_sys(e, "open folder '%s'", name);
	if (sys_mkdirat(tofd, to_name, 0700) < 0)
		return err_sys(e, "make folder '%s'", to_name);
	auto_fd to = openat(tofd, to_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return err_sys(e, "open folder '%s'", to_name);
	if (depth == 0)
		c->top = to;
	if (copy_entries(c, from, to, depth, e) < 0)
		return -1;
	return copy_meta(fromfd, tofd, name, to_name, &st, e);
}

int tree_copy(int dirfd, const char *from, const char *to, struct err *e)
{
	struct copy c = {.top = -1, .names = BUF_INIT(BUF_MAX), .rel = BUF_INIT(BUF_MAX)};
	ptrdiff_t slash = str_rfind(str_c(to), '/');
	auto_free char *to_parent = str_dup(str_of(to, slash < 0 ? 0 : (size_t)slash));
	auto_free char *from_parent = str_dup(str_head(str_c(from), (size_t)(str_rfind(str_c(from), '/') + 1)));
	auto_fd in = openat(dirfd, *from_parent ? from_parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_fd out = openat(dirfd, *to_parent ? to_parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = in < 0 || out < 0 ? err_sys(e, "open folder") : 0;
	if (r == 0)
		r = copy_folder(&c, in, out, from + str_rfind(str_c(from), '/') + 1, to + slash + 1, 0, e);
	if (r < 0)
		err_ctx(e, "copy '%s': '%s'", from, c.rel.p);
	map_release(&c.links);
	buf_release(&c.names);
	buf_release(&c.rel);
	return r;
}

int tree_copy_meta(int dirfd, const char *from, const char *to, struct err *e)
{
	struct stat st;
	if (fstatat(dirfd, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat '%s'", from);
	return copy_meta(dirfd, dirfd, from, to, &st, e);
}
