// SPDX-License-Identifier: Apache-2.0
/*
 * One archive into a root that is being made.
 *
 * It runs in a child whose "/" is that root, so nothing can lead out of it whatever the archive says, and what it can reach is its own. On top
 * of that each entry is made in a folder that was opened with RESOLVE_IN_ROOT. Inside, links of lower layers are followed as in any root
 * file system (lib → usr/lib): an archive may put a file behind one.
 *
 * `made` holds every path of this archive: what comes twice is refused, and an opaque folder (.wh..wh..opq) loses only what the layers
 * below it had, wherever in the archive its mark stands. Times of folders are set at the end, when nothing is made in them any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/zip.h"
#include "image/internal.h"

enum {
	PIECE = 1 << 17,
	FOLDER_MAX = 1 << 22,
	XATTR_VALUE_MAX = 64 << 10,
	XATTR_NAMES_MAX = 64 << 10,
	LARGE = 16 << 20
};
static const struct str whiteout = {".wh.", 4};

struct dir_time {
	struct str path;
	struct timespec mtime;
};
struct run {
	const struct unpack *u;
	struct unpack_result *ret;
	struct tar_reader *tar;
	int root;
	struct arena a;
	struct map made;
	VEC(struct dir_time) times;
	int parent; /* the folder of the last entry, and its path */
	struct buf parent_path;
	bool parent_known;
	char *piece;
};

static void run_release(struct run *r)
{
	tar_reader_free(r->tar);
	arena_release(&r->a);
	map_release(&r->made);
	vec_release(&r->times);
	cleanup_fd(&r->parent);
	buf_release(&r->parent_path);
	free(r->piece);
}

static int refuse(const struct run *r, const struct tar_entry *en, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "%s is refused: its entry '%s' %s", r->u->what, tar_shown(en->path).s, why);
}

static int failed(const struct run *r, const char *doing, struct str path, struct err *e)
{
	return err_sys(e, "unpack %s: %s '%s'", r->u->what, doing, tar_shown(path).s);
}

/* == where an entry goes =========================================================================================== */

/* "./a//b/." → "a/b"; "" is the root. False where it is absolute or has "..". */
static bool clean(struct run *r, struct str path, struct str *ret)
{
	if (path.n == 0 || path.p[0] == '/')
		return false;
	char *out = arena_alloc(&r->a, path.n + 1);
	size_t n = 0;
	while (path.n > 0) {
		struct str part;
		if (!str_take_until(&path, '/', &part)) {
			part = path;
			path = STR_NONE;
		}
		if (part.n == 0 || str_eq(part, STR(".")))
			continue;
		if (str_eq(part, STR("..")))
			return false;
		if (n)
			out[n++] = '/';
		memcpy(out + n, part.p, part.n);
		n += part.n;
	}
	out[n] = '\0';
	*ret = str_of(out, n);
	return true;
}

static int check_path(const struct run *r, const struct tar_entry *en, struct str path, struct err *e)
{
	uint32_t depth = 0;
	for (size_t i = 0; i < path.n; i++)
		depth += path.p[i] == '/';
	if (path.n > r->u->limits.path)
		return err_new(e, ERR_LIMIT, "%s is refused: the path of '%s' has more than %u bytes", r->u->what,
			       tar_shown(en->path).s, r->u->limits.path);
	if (depth >= r->u->limits.depth)
		return err_new(e, ERR_LIMIT, "%s is refused: '%s' lies deeper than %u folders", r->u->what,
			       tar_shown(en->path).s, r->u->limits.depth);
	return 0;
}

static struct str folder_of(struct str path, struct str *ret_name)
{
	ptrdiff_t slash = str_rfind(path, '/');
	*ret_name = str_skip(path, (size_t)(slash + 1));
	return str_head(path, slash < 0 ? 0 : (size_t)slash);
}

/* The folder of that path, links on the way followed inside the root. -1 with errno. */
static int open_inside(struct run *r, const char *path)
{
	if (!*path)
		path = ".";
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
			       .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	long fd = syscall(SYS_openat2, r->root, path, &how, sizeof(how));
	if (fd < 0 && (errno == ENOSYS || errno == EPERM)) /* an older kernel; "/" is the root anyway */
		return openat(r->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return (int)fd;
}

/* Folders that the archive does not name, but that its entries lie in. */
static int make_missing(struct run *r, struct str path, struct err *e)
{
	for (size_t i = 0; i <= path.n; i++) {
		if (i < path.n && path.p[i] != '/')
			continue;
		struct str name, part = arena_str(&r->a, str_head(path, i));
		auto_fd here = open_inside(r, part.p);
		if (here >= 0)
			continue;
		if (errno != ENOENT)
			return failed(r, "open folder", part, e);
		auto_fd up = open_inside(r, arena_strdup(&r->a, folder_of(part, &name)));
		if (up < 0 || sys_mkdirat(up, name.p, 0755) < 0 || sys_fchmodat(up, name.p, 0755) < 0)
			return failed(r, "make folder", part, e);
	}
	return 0;
}

/* r->parent is the folder that the entry of this path lies in. */
static int enter(struct run *r, const struct tar_entry *en, struct str path, struct str *ret_name, struct err *e)
{
	struct str folder = folder_of(path, ret_name);
	if (r->parent_known && str_eq(folder, buf_str(&r->parent_path)))
		return 0;
	for (size_t i = 0; i < path.n; i++) /* what this archive has something in is not taken away by it */
		if (path.p[i] == '/')
			*map_put(&r->made, str_head(path, i)) |= 1;
	cleanup_fd(&r->parent);
	r->parent_known = false;
	buf_clear(&r->parent_path);
	buf_put_str(&r->parent_path, folder);
	r->parent = open_inside(r, r->parent_path.p);
	if (r->parent < 0 && errno == ENOENT) {
		if (make_missing(r, folder, e) < 0)
			return -1;
		r->parent = open_inside(r, r->parent_path.p);
	}
	if (r->parent < 0)
		return errno == ENOTDIR || errno == ELOOP
			       ? refuse(r, en, "lies below a file, or behind a link that leads nowhere", e)
			       : failed(r, "open the folder of", path, e);
	r->parent_known = true;
	return 0;
}

/* What lies there goes, of whatever kind. */
static int take_away(struct run *r, struct str path, const char *name, struct err *e)
{
	r->parent_known = false; /* it may have been a link on the way to another folder */
	return fs_remove_tree(r->parent, name, e) < 0 ? err_ctx(e, "unpack %s: '%s'", r->u->what, tar_shown(path).s)
						      : 0;
}

/* == whiteouts ===================================================================================================== */

/* Everything in the folder that this archive did not make. */
static int empty_folder(struct run *r, int dirfd, struct str path, uint32_t depth, struct err *e)
{
	auto_fs_list names = {0};
	if (depth > r->u->limits.depth)
		return err_new(e, ERR_LIMIT, "%s is refused: '%s' lies deeper than %u folders", r->u->what,
			       tar_shown(path).s, r->u->limits.depth);
	if (fs_list(dirfd, ".", FOLDER_MAX, &names, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		struct str child = str_c(arena_printf(&r->a, "%s%s%s", path.p, path.n ? "/" : "", names.name[i]));
		struct stat st;
		if (!map_get(&r->made, child)) {
			if (fs_remove_tree(dirfd, names.name[i], e) < 0)
				return -1;
			continue;
		}
		if (fstatat(dirfd, names.name[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
			return failed(r, "stat", child, e);
		if (!S_ISDIR(st.st_mode))
			continue;
		auto_fd fd = openat(dirfd, names.name[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return failed(r, "open folder", child, e);
		if (empty_folder(r, fd, child, depth + 1, e) < 0)
			return -1;
	}
	return 0;
}

static int take_whiteout(struct run *r, const struct tar_entry *en, struct str path, struct str name, struct err *e)
{
	struct str gone = str_skip(name, whiteout.n), folder = folder_of(path, &(struct str){0});
	struct stat st;
	if (en->kind == TAR_DIR)
		return refuse(r, en, "is a whiteout that is a folder", e);
	if (str_eq(gone, STR(".wh..opq"))) {
		r->parent_known = false;
		return empty_folder(r, r->parent, arena_str(&r->a, folder), 0, e) < 0
			       ? err_ctx(e, "unpack %s", r->u->what)
			       : 0;
	}
	if (str_starts(gone, STR(".wh."))) /* what a file system of Docker's kept for itself */
		return 0;
	if (gone.n == 0 || str_eq(gone, STR(".")) || str_eq(gone, STR("..")))
		return refuse(r, en, "is a whiteout of nothing", e);
	struct str target =
		str_c(arena_printf(&r->a, "%.*s%s%s", (int)folder.n, folder.p, folder.n ? "/" : "", gone.p));
	if (!map_get(&r->made, target))
		return take_away(r, target, gone.p, e);
	/* of what this archive made as a folder, what was in it before goes */
	if (fstatat(r->parent, gone.p, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	auto_fd fd = openat(r->parent, gone.p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r->parent_known = false;
	return fd < 0 ? failed(r, "open folder", target, e) : empty_folder(r, fd, target, 0, e);
}

/* == owners, modes, times ========================================================================================== */

static int owner_failed(const struct run *r, const struct tar_entry *en, struct err *e)
{
	if (errno == EINVAL || errno == EPERM || errno == EOVERFLOW)
		return err_new(
			e, ERR_UNSUPPORTED,
			"%s: its entry '%s' belongs to %llu:%llu, and this user has no such ids; a larger range in /etc/subuid "
			"and /etc/subgid gives them, or import it as root",
			r->u->what, tar_shown(en->path).s, (unsigned long long)en->uid, (unsigned long long)en->gid);
	return failed(r, "give its owner to", en->path, e);
}

static int give_owner(const struct run *r, const struct tar_entry *en, const char *name, struct err *e)
{
	if (en->uid >= UINT32_MAX || en->gid >= UINT32_MAX)
		return refuse(r, en, "has an owner beyond 32 bits", e);
	return sys_fchownat(r->parent, name, (uid_t)en->uid, (gid_t)en->gid) < 0 ? owner_failed(r, en, e) : 0;
}

bool image_keeps_xattr(struct str name)
{
	return str_eq(name, STR("security.capability")) ||
	       (str_starts(name, STR("user.")) && !str_starts(name, STR("user.overlay.")));
}

static int give_xattrs(const struct run *r, const struct tar_entry *en, int fd, struct err *e)
{
	for (size_t i = 0; i < en->n_xattrs; i++) {
		const struct tar_xattr *x = &en->xattrs[i];
		if (!image_keeps_xattr(x->name))
			continue;
		if (x->value.n > XATTR_VALUE_MAX)
			return refuse(r, en, "has an extended attribute of more than 64 KiB", e);
		/* a file system without them, and capabilities that a user may not give, are no reason to refuse the image */
		if (sys_fsetxattr(fd, x->name.p, x->value.p, x->value.n) < 0 && errno != EOPNOTSUPP && errno != EPERM)
			return failed(r, "give an extended attribute to", en->path, e);
	}
	return 0;
}

static bool has_xattr(const struct tar_entry *en, struct str name)
{
	for (size_t i = 0; i < en->n_xattrs; i++)
		if (str_eq(en->xattrs[i].name, name))
			return true;
	return false;
}

/* Of a folder that a layer below has made: what is said of it now is all that holds. */
static int drop_xattrs(const struct run *r, const struct tar_entry *en, int fd, struct err *e)
{
	ssize_t n = flistxattr(fd, NULL, 0);
	if (n == 0 || (n < 0 && (errno == EOPNOTSUPP || errno == EPERM)))
		return 0;
	auto_free char *names = n < 0 || n > XATTR_NAMES_MAX ? NULL : xmalloc((size_t)n);
	if (!names || (n = flistxattr(fd, names, (size_t)n)) < 0)
		return failed(r, "list the extended attributes of", en->path, e);
	for (const char *at = names; at < names + n; at += strlen(at) + 1)
		if (image_keeps_xattr(str_c(at)) && !has_xattr(en, str_c(at)) && sys_fremovexattr(fd, at) < 0 &&
		    errno != ENODATA)
			return failed(r, "take an extended attribute from", en->path, e);
	return 0;
}

static struct timespec time_of(const struct tar_entry *en)
{
	return (struct timespec){.tv_sec = en->mtime_s, .tv_nsec = en->mtime_ns};
}

/* == kinds ========================================================================================================= */

static int over_bytes(const struct run *r, struct err *e)
{
	return err_new(e, ERR_LIMIT, "%s is refused: it holds more than %llu bytes", r->u->what,
		       (unsigned long long)r->u->limits.bytes);
}

static int put_content(struct run *r, const struct tar_entry *en, int fd, struct err *e)
{
	for (;;) {
		ssize_t n = tar_read(r->tar, r->piece, PIECE, e);
		if (n < 0)
			return -1;
		if (n == 0)
			return 0;
		if (fs_write_all(fd, r->piece, (size_t)n, en->path.p, e) < 0)
			return err_ctx(e, "unpack %s", r->u->what);
	}
}

static int put_file(struct run *r, const struct tar_entry *en, const char *name, struct err *e)
{
	if (en->size > r->u->limits.bytes - r->ret->bytes)
		return over_bytes(r, e);
	r->ret->bytes += en->size;
	if (en->size >= LARGE && fs_check_space(r->parent, en->size, e) < 0)
		return err_ctx(e, "unpack %s: '%s' of %llu bytes", r->u->what, tar_shown(en->path).s,
			       (unsigned long long)en->size);
	auto_fd fd = sys_openat(r->parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return failed(r, "create", en->path, e);
	struct timespec t[2] = {time_of(en), time_of(en)};
	/* the owner first: a change of it takes set-user-id bits and capabilities away */
	if (put_content(r, en, fd, e) < 0 || give_owner(r, en, name, e) < 0)
		return -1;
	if (sys_fchmod(fd, en->mode) < 0)
		return failed(r, "give its mode to", en->path, e);
	if (give_xattrs(r, en, fd, e) < 0)
		return -1;
	return sys_futimens(fd, t) < 0 ? failed(r, "give its time to", en->path, e) : 0;
}

static int put_dir(struct run *r, const struct tar_entry *en, struct str path, const char *name, bool there,
		   struct err *e)
{
	if (!there && sys_mkdirat(r->parent, name, 0700) < 0)
		return failed(r, "make folder", en->path, e);
	auto_fd fd = openat(r->parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(r, "open folder", en->path, e);
	if (give_owner(r, en, name, e) < 0)
		return -1;
	if (sys_fchmod(fd, en->mode) < 0)
		return failed(r, "give its mode to", en->path, e);
	vec_push(&r->times, ((struct dir_time){path, time_of(en)}));
	if (there && drop_xattrs(r, en, fd, e) < 0)
		return -1;
	return give_xattrs(r, en, fd, e);
}

static int put_link(struct run *r, const struct tar_entry *en, const char *name, struct err *e)
{
	struct timespec t[2] = {time_of(en), time_of(en)};
	if (en->target.n == 0 || en->target.n > r->u->limits.path)
		return refuse(r, en, "is a symbolic link with an empty or endless target", e);
	if (sys_symlinkat(en->target.p, r->parent, name) < 0)
		return failed(r, "make link", en->path, e);
	if (give_owner(r, en, name, e) < 0)
		return -1;
	return sys_utimensat(r->parent, name, t, AT_SYMLINK_NOFOLLOW) < 0 ? failed(r, "give its time to", en->path, e)
									  : 0;
}

static int put_hard_link(struct run *r, const struct tar_entry *en, struct str path, const char *name, struct err *e)
{
	struct str to, to_name;
	struct stat st;
	if (!clean(r, en->target, &to) || to.n == 0)
		return refuse(
			r, en,
			"is a hard link to a path that is absolute or leads out; make the archive again without it", e);
	if (str_eq(to, path))
		return refuse(r, en, "is a hard link to itself", e);
	auto_fd from = open_inside(r, arena_strdup(&r->a, folder_of(to, &to_name)));
	if (from < 0 || fstatat(from, to_name.p, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode))
		return refuse(r, en, "is a hard link to something that is no file so far", e);
	return sys_linkat(from, to_name.p, r->parent, name, 0) < 0 ? failed(r, "make hard link", en->path, e) : 0;
}

static int put_fifo(struct run *r, const struct tar_entry *en, const char *name, struct err *e)
{
	struct timespec t[2] = {time_of(en), time_of(en)};
	if (sys_mkfifoat(r->parent, name, 0600) < 0)
		return failed(r, "make pipe", en->path, e);
	if (give_owner(r, en, name, e) < 0)
		return -1;
	if (sys_fchmodat(r->parent, name, en->mode) < 0)
		return failed(r, "give its mode to", en->path, e);
	return sys_utimensat(r->parent, name, t, AT_SYMLINK_NOFOLLOW) < 0 ? failed(r, "give its time to", en->path, e)
									  : 0;
}

/* == entries ======================================================================================================= */

/* Makes room: what a lower layer has there goes, but a folder that stays one. */
static int make_room(struct run *r, const struct tar_entry *en, struct str path, const char *name, bool *ret_there,
		     struct err *e)
{
	struct stat st;
	uint64_t *seen = map_put(&r->made, path);
	*ret_there = false;
	if (*seen && en->kind != TAR_DIR)
		return refuse(r, en, "comes twice; make the archive again with each name once", e);
	*seen = 1;
	if (fstatat(r->parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : failed(r, "stat", path, e);
	*ret_there = S_ISDIR(st.st_mode) && en->kind == TAR_DIR;
	if (*ret_there)
		return 0;
	struct str again;
	return take_away(r, path, name, e) < 0 ? -1 : enter(r, en, path, &again, e);
}

static int put_root(struct run *r, const struct tar_entry *en, struct err *e)
{
	cleanup_fd(&r->parent);
	r->parent_known = false;
	r->parent = open_inside(r, "");
	if (r->parent < 0)
		return failed(r, "open folder", en->path, e);
	return put_dir(r, en, STR(""), ".", true, e);
}

static int put_entry(struct run *r, const struct tar_entry *en, struct err *e)
{
	struct str path, name;
	bool there;
	if (++r->ret->entries > r->u->limits.entries)
		return err_new(e, ERR_LIMIT, "%s is refused: it holds more than %llu entries", r->u->what,
			       (unsigned long long)r->u->limits.entries);
	if (!clean(r, en->path, &path))
		return refuse(
			r, en,
			"has a path that is absolute, empty or has '..' in it; make the archive again with paths below its "
			"root ('tar -C ROOT -c .')",
			e);
	if (path.n == 0)
		return en->kind == TAR_DIR ? put_root(r, en, e) : refuse(r, en, "is the root, and no folder", e);
	if (check_path(r, en, path, e) < 0)
		return -1;
	bool device = en->kind == TAR_CHAR || en->kind == TAR_BLOCK_DEVICE;
	if (device && !str_starts(path, STR("dev/")))
		return refuse(r, en, "is a device; make the archive again without it (below dev/ they are left out)",
			      e);
	if (device) { /* a sandbox has a /dev of its own */
		r->ret->devices++;
		return 0;
	}
	if (enter(r, en, path, &name, e) < 0)
		return -1;
	if (r->u->is_layer && str_starts(name, whiteout))
		return take_whiteout(r, en, path, name, e);
	if (make_room(r, en, path, name.p, &there, e) < 0)
		return -1;
	switch (en->kind) {
	case TAR_FILE:
		return put_file(r, en, name.p, e);
	case TAR_DIR:
		return put_dir(r, en, path, name.p, there, e);
	case TAR_SYMLINK:
		return put_link(r, en, name.p, e);
	case TAR_HARD_LINK:
		return put_hard_link(r, en, path, name.p, e);
	case TAR_FIFO:
		return put_fifo(r, en, name.p, e);
	case TAR_CHAR:
	case TAR_BLOCK_DEVICE:
		break;
	}
	return refuse(r, en, "is of a kind that is not known", e);
}

/* A folder may have been replaced by something else since. */
static int set_times(struct run *r, struct err *e)
{
	for (size_t i = r->times.n; i-- > 0;) {
		const struct dir_time *d = &r->times.v[i];
		struct timespec t[2] = {d->mtime, d->mtime};
		auto_fd fd = open_inside(r, d->path.p);
		if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
			continue;
		if (fd < 0 || sys_futimens(fd, t) < 0)
			return failed(r, "give its time to", d->path, e);
	}
	return 0;
}

int unpack_stream(const struct unpack *u, struct istream *s, int root_fd, struct unpack_result *ret, struct err *e)
{
	cleanup_with(run_release) struct run r = {.u = u, .ret = ret, .root = root_fd, .parent = -1};
	r.parent_path = BUF_INIT(1 << 20);
	r.piece = xmalloc(PIECE);
	r.tar = tar_reader_new(s, s->name);
	*ret = (struct unpack_result){0};
	umask(0);
	struct tar_entry en;
	int rc;
	while ((rc = tar_next(r.tar, &en, e)) > 0)
		if (put_entry(&r, &en, e) < 0)
			return -1;
	return rc < 0 || set_times(&r, e) < 0 || tar_drain(r.tar, e) < 0 ? -1 : 0;
}

/* == in a child ==================================================================================================== */

/* Everything is set up before the child is: no library is loaded from inside the root. */
struct inside {
	const struct unpack *u;
	struct istream *blob, *diff; /* digests; NULL: none */
	struct istream *tar;
	struct unpack_result *ret; /* shared */
};

static int verify(struct istream *s, const uint8_t *want, const char *what, const char *which, struct err *e)
{
	uint8_t sum[DIGEST_MAX];
	if (!s)
		return 0;
	istream_digest_final(s, sum);
	return memcmp(sum, want, SHA256_SIZE) == 0
		       ? 0
		       : err_new(e, ERR_VERIFY,
				 "%s is damaged: %s has another SHA-256 than its manifest says; fetch it again", what,
				 which);
}

static int unpack_inside(void *ctx, struct err *e)
{
	struct inside *in = ctx;
	auto_fd root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, "open the root of %s", in->u->what);
	if (unpack_stream(in->u, in->tar, root, in->ret, e) < 0)
		return -1;
	return verify(in->blob, in->u->blob, in->u->what, "the blob", e) < 0
		       ? -1
		       : verify(in->diff, in->u->diff, in->u->what, "what is in it", e);
}

int unpack_into(const struct sandbox_root *root, const struct unpack *u, struct unpack_result *ret, struct err *e)
{
	struct inside in = {.u = u};
	struct zip_range range = {.offset = u->part.offset, .size = u->part.size};
	auto_ptr(istream) s = istream_range(u->part.fd, range, u->what);
	if (u->blob)
		s = in.blob = istream_digest(steal_ptr(&s), DIGEST_SHA256);
	s = istream_unpack_any(steal_ptr(&s), e);
	if (!s)
		return -1;
	/* all that so many entries can need, headers included: what unpacks for ever ends here */
	s = istream_limit(steal_ptr(&s), u->limits.bytes + u->limits.entries * (8 * TAR_BLOCK));
	if (u->diff)
		s = in.diff = istream_digest(steal_ptr(&s), DIGEST_SHA256);
	in.tar = s;
	in.ret = mmap(NULL, sizeof(*in.ret), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (in.ret == MAP_FAILED)
		return err_sys(e, "map memory");
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	o.root = *root;
	int rc = sandbox_call(&o, &u->part.fd, 1, unpack_inside, &in, e);
	*ret = *in.ret;
	munmap(in.ret, sizeof(*in.ret));
	return rc;
}
