// SPDX-License-Identifier: Apache-2.0
/*
 * A tree as tar: entries in byte order of their names, folders before what is in them, files with several names as hard links behind the
 * first. Where nothing changes meanwhile, the same tree gives the same bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fs.h"
#include "image/internal.h"

enum {
	DEPTH_MAX = 256,
	FOLDER_MAX = 1 << 22,
	PIECE = 1 << 17,
	XATTR_NAMES_MAX = 64 << 10,
	XATTR_VALUE_MAX = 64 << 10,
	LINK_MAX = 4096
};

struct packing {
	const struct pack_tree *o;
	struct tar_writer *w;
	dev_t device;
	uid_t uid; /* of this user, where it is root's */
	struct arena a;
	struct map links; /* "dev:inode" of files with several names → number + 1 in paths */
	VEC(struct str) paths;
	struct buf path;
	char *piece;
};

static void packing_release(struct packing *p)
{
	arena_release(&p->a);
	map_release(&p->links);
	vec_release(&p->paths);
	buf_release(&p->path);
	free(p->piece);
}

static int failed(const struct packing *p, const char *doing, struct err *e)
{
	if (errno == EACCES && p->o->one_owner) /* another user than root reads a folder of the host */
		return err_new(
			e, ERR_FAILED,
			"%s '%s/%s': this user may not; as root, 'tar -C %s -c . >FILE' makes a tar of all of it, which "
			"any user can import",
			doing, p->o->what, tar_shown(buf_str(&p->path)).s, p->o->what);
	return err_sys(e, "%s '%s/%s'", doing, p->o->what, tar_shown(buf_str(&p->path)).s);
}

static int change_seen(const struct packing *p, struct err *e)
{
	return err_new(e, ERR_BUSY, "'%s/%s' changed while it was read; do it again when nobody writes there",
		       p->o->what, tar_shown(buf_str(&p->path)).s);
}

static struct tar_entry entry_of(const struct packing *p, const struct stat *st)
{
	struct tar_entry en = {.mode = st->st_mode & 07777, .uid = st->st_uid, .gid = st->st_gid};
	if (p->o->one_owner && st->st_uid == p->uid)
		en.uid = en.gid = 0;
	en.mtime_s = st->st_mtim.tv_sec;
	if (p->o->epoch_s >= 0 && en.mtime_s > p->o->epoch_s)
		en.mtime_s = p->o->epoch_s;
	en.path = buf_str(&p->path);
	return en;
}

/* == extended attributes =========================================================================================== */

static int compare_xattrs(const void *a, const void *b)
{
	return str_cmp(((const struct tar_xattr *)a)->name, ((const struct tar_xattr *)b)->name);
}

/* Of a file or folder that is open; the list and what is in it live in `a`. */
static int xattrs_of(struct packing *p, int fd, struct arena *a, struct tar_entry *en, struct err *e)
{
	ssize_t n = flistxattr(fd, NULL, 0);
	if (n == 0 || (n < 0 && (errno == EOPNOTSUPP || errno == EPERM)))
		return 0;
	if (n < 0 || n > XATTR_NAMES_MAX)
		return failed(p, "list the extended attributes of", e);
	char *names = arena_alloc(a, (size_t)n), *value = arena_alloc(a, XATTR_VALUE_MAX);
	n = flistxattr(fd, names, (size_t)n);
	if (n < 0)
		return failed(p, "list the extended attributes of", e);
	struct tar_xattr *v = arena_array(a, struct tar_xattr, TAR_XATTRS_MAX);
	size_t count = 0;
	for (const char *at = names; at < names + n; at += strlen(at) + 1) {
		if (!image_keeps_xattr(str_c(at)) || count == TAR_XATTRS_MAX)
			continue;
		ssize_t size = fgetxattr(fd, at, value, XATTR_VALUE_MAX);
		if (size < 0)
			return failed(p, "read an extended attribute of", e);
		v[count++] = (struct tar_xattr){str_c(at), arena_str(a, str_of(value, (size_t)size))};
	}
	qsort(v, count, sizeof(*v), compare_xattrs);
	en->xattrs = v;
	en->n_xattrs = count;
	return 0;
}

/* == kinds ========================================================================================================= */

static int put_content(struct packing *p, int fd, uint64_t size, struct err *e)
{
	while (size > 0) {
		ssize_t n = read(fd, p->piece, size < PIECE ? (size_t)size : PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return failed(p, "read", e);
		if (n == 0)
			return change_seen(p, e);
		if (tar_write(p->w, p->piece, (size_t)n, e) < 0)
			return -1;
		size -= (uint64_t)n;
	}
	return read(fd, p->piece, 1) == 0 ? 0 : change_seen(p, e);
}

static int pack_file(struct packing *p, int dirfd, const char *name, const struct stat *st, struct err *e)
{
	struct tar_entry en = entry_of(p, st);
	auto_arena a = ARENA_INIT;
	struct stat now;
	if (st->st_nlink > 1) {
		struct str key = str_c(arena_printf(&p->a, "%llu:%llu", (unsigned long long)st->st_dev,
						    (unsigned long long)st->st_ino));
		uint64_t *first = map_put(&p->links, key);
		if (*first) {
			en.kind = TAR_HARD_LINK;
			en.target = p->paths.v[*first - 1];
			return tar_put(p->w, &en, e);
		}
		vec_push(&p->paths, arena_str(&p->a, en.path));
		*first = p->paths.n;
	}
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return failed(p, "open", e);
	if (fstat(fd, &now) < 0 || !S_ISREG(now.st_mode))
		return change_seen(p, e);
	en.size = (uint64_t)now.st_size;
	if (xattrs_of(p, fd, &a, &en, e) < 0 || tar_put(p->w, &en, e) < 0)
		return -1;
	return put_content(p, fd, en.size, e);
}

static int pack_other(struct packing *p, int dirfd, const char *name, const struct stat *st, struct err *e)
{
	struct tar_entry en = entry_of(p, st);
	char target[LINK_MAX + 1];
	switch (st->st_mode & S_IFMT) {
	case S_IFLNK: {
		ssize_t n = readlinkat(dirfd, name, target, LINK_MAX);
		if (n <= 0)
			return failed(p, "read link", e);
		target[n] = '\0';
		en.kind = TAR_SYMLINK;
		en.mode = 0777;
		en.target = str_of(target, (size_t)n);
		break;
	}
	case S_IFIFO:
		en.kind = TAR_FIFO;
		break;
	case S_IFCHR:
	case S_IFBLK:
		en.kind = S_ISCHR(st->st_mode) ? TAR_CHAR : TAR_BLOCK_DEVICE;
		en.major = major(st->st_rdev);
		en.minor = minor(st->st_rdev);
		break;
	default:
		return 0; /* a socket: nothing without its process */
	}
	return tar_put(p->w, &en, e);
}

/* == folders ======================================================================================================= */

static int pack_folder(struct packing *p, int fd, unsigned depth, struct err *e);

static int pack_dir(struct packing *p, int dirfd, const char *name, const struct stat *st, unsigned depth,
		    struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return failed(p, "open folder", e);
	size_t n = p->path.n;
	buf_put_char(&p->path, '/');
	struct tar_entry en = entry_of(p, st);
	en.kind = TAR_DIR;
	if (xattrs_of(p, fd, &a, &en, e) < 0 || tar_put(p->w, &en, e) < 0)
		return -1;
	buf_truncate(&p->path, n);
	if (p->o->one_device && st->st_dev != p->device)
		return 0;
	return pack_folder(p, fd, depth + 1, e);
}

static int pack_entry(struct packing *p, int fd, const char *name, unsigned depth, struct err *e)
{
	struct stat st;
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return failed(p, "stat", e);
	if (S_ISDIR(st.st_mode))
		return pack_dir(p, fd, name, &st, depth, e);
	return S_ISREG(st.st_mode) ? pack_file(p, fd, name, &st, e) : pack_other(p, fd, name, &st, e);
}

static int pack_folder(struct packing *p, int fd, unsigned depth, struct err *e)
{
	auto_fs_list names = {0};
	if (depth > DEPTH_MAX)
		return err_new(e, ERR_LIMIT, "'%s/%s' lies deeper than %d folders", p->o->what,
			       tar_shown(buf_str(&p->path)).s, DEPTH_MAX);
	if (fs_list(fd, ".", FOLDER_MAX, &names, e) < 0)
		return err_ctx(e, "'%s/%s'", p->o->what, tar_shown(buf_str(&p->path)).s);
	for (size_t i = 0; i < names.n; i++) {
		size_t n = p->path.n;
		if (n)
			buf_put_char(&p->path, '/');
		buf_put_c(&p->path, names.name[i]);
		if (p->path.overflow)
			return err_new(e, ERR_LIMIT, "a path in '%s' is longer than 64 KiB", p->o->what);
		if (pack_entry(p, fd, names.name[i], depth, e) < 0)
			return -1;
		buf_truncate(&p->path, n);
	}
	return 0;
}

int pack_tree(int root_fd, const struct pack_tree *o, struct tar_writer *w, struct err *e)
{
	cleanup_with(packing_release) struct packing p = {.o = o, .w = w, .uid = geteuid()};
	struct stat st;
	p.path = BUF_INIT(64 << 10);
	p.piece = xmalloc(PIECE);
	if (fstat(root_fd, &st) < 0)
		return err_sys(e, "stat '%s'", o->what);
	p.device = st.st_dev;
	struct tar_entry root = entry_of(&p, &st);
	root.kind = TAR_DIR;
	root.path = STR("./");
	return tar_put(w, &root, e) < 0 ? -1 : pack_folder(&p, root_fd, 0, e);
}
