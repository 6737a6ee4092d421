// SPDX-License-Identifier: Apache-2.0
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/vec.h"

enum {
	REMOVE_DEPTH = 32,    /* folders open at once while a tree is removed */
	WALK_DEPTH_MAX = 256, /* folders open at once while a tree is walked */
	WALK_FOLDER_MAX = 1 << 22,
	LOCK_NOTE_MAX = 128,
};

/* reading and writing */

static int read_open(int fd, const char *path, struct buf *b, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat '%s'", path);
	size_t room = b->max - b->n;
	if (st.st_size > 0 && (uint64_t)st.st_size > room)
		return err_new(e, ERR_LIMIT, "'%s' is too large: %lld bytes, at most %zu are read", path,
			       (long long)st.st_size, room);
	/* room for one byte more: the end is seen without moving everything */
	size_t chunk = st.st_size > 0 ? (size_t)st.st_size + 1 : 4096;
	for (;;) {
		size_t want = chunk < b->max - b->n ? chunk : b->max - b->n;
		char probe, *to = &probe;
		if (want > 0) {
			buf_reserve(b, want);
			to = b->p + b->n;
		}
		ssize_t r = read(fd, to, want > 0 ? want : 1);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, "read '%s'", path);
		if (r == 0)
			return 0;
		if (want == 0)
			return err_new(e, ERR_LIMIT, "'%s' is too large: at most %zu bytes are read", path, room);
		b->n += (size_t)r;
		b->p[b->n] = '\0';
		size_t spare = b->cap - b->n - 1;
		chunk = spare > 0 ? spare : 1 << 16;
	}
}

/* Not to wait for a pipe's other end, nor to set off a device: what it is shows when it is open. */
int fs_read(int dirfd, const char *path, struct buf *b, struct err *e)
{
	auto_fd fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? err_sys(e, "open '%s'", path) : fs_read_file(fd, path, b, e);
}

int fs_read_file(int fd, const char *path, struct buf *b, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
		return err_new(e, ERR_INPUT, "'%s' is %s, not a file", path,
			       S_ISDIR(st.st_mode) ? "a folder" : "a pipe, a socket or a device");
	return read_open(fd, path, b, e);
}

int fs_read_any(int dirfd, const char *path, struct buf *b, struct err *e)
{
	auto_fd fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "open '%s'", path) : read_open(fd, path, b, e);
}

void fs_write_behind(int fd)
{
	(void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE); /* a failure is the following sync's */
}

int fs_write_all(int fd, const void *p, size_t n, const char *what, struct err *e)
{
	const char *at = p;
	while (n > 0) {
		ssize_t r = sys_write(fd, at, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, "write '%s'", what);
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

/* The folder a path lies in, as a heap string ("." where the path has no slash). */
static char *parent_of(const char *path)
{
	ptrdiff_t slash = str_rfind(str_c(path), '/');
	if (slash < 0)
		return xstrdup(".");
	return str_dup(str_of(path, slash == 0 ? 1 : (size_t)slash));
}

/* "a/b" → "a/.b.PID.N.tmp": beside it, so that rename stays inside one file system. */
static char *temporary_beside(const char *path)
{
	static atomic_uint counter;
	size_t dir = (size_t)(str_rfind(str_c(path), '/') + 1);
	return xasprintf("%.*s.%.200s.%ld.%u.tmp", (int)dir, path, path + dir, (long)getpid(),
			 atomic_fetch_add(&counter, 1));
}

static int open_temporary(int dirfd, const char *path, mode_t mode, char **ret_name, struct err *e)
{
	for (int tries = 0;; tries++) {
		auto_free char *name = temporary_beside(path);
		int fd = sys_openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
		if (fd < 0 && errno == EEXIST && tries < 100)
			continue; /* left behind by a dead process that had our number */
		if (fd < 0)
			return err_sys(e, "create '%s'", name);
		*ret_name = steal_ptr(&name);
		return fd;
	}
}

static int put_in_place(int dirfd, const char *temporary, const char *path, bool excl, struct err *e)
{
	int r;
	if (!excl) {
		r = sys_renameat(dirfd, temporary, dirfd, path);
	} else {
		r = sys_renameat2(dirfd, temporary, dirfd, path, RENAME_NOREPLACE);
		if (r < 0 && (errno == EINVAL || errno == ENOSYS)) {
			r = sys_linkat(dirfd, temporary, dirfd, path, 0);
			if (r == 0 && sys_unlinkat(dirfd, temporary, 0) < 0)
				return err_sys(e, "remove '%s'", temporary);
		}
	}
	return r < 0 ? err_sys(e, "put '%s' in place", path) : 0;
}

int fs_replace(int dirfd, const char *path, const void *p, size_t n, enum fs_replace_flags flags, struct err *e)
{
	auto_free char *temporary = NULL;
	mode_t mode = flags & FS_REPLACE_SECRET ? 0600 : flags & FS_REPLACE_EXEC ? 0755 : 0644;
	auto_fd fd = open_temporary(dirfd, path, mode, &temporary, e);
	if (fd < 0)
		return err_ctx(e, "write '%s'", path);
	int r = fs_write_all(fd, p, n, path, e);
	if (r == 0 && flags & FS_REPLACE_SYNC && sys_fsync(fd) < 0)
		r = err_sys(e, "sync '%s'", path);
	if (r == 0)
		r = put_in_place(dirfd, temporary, path, flags & FS_REPLACE_EXCL, e);
	if (r < 0) {
		(void)sys_unlinkat(dirfd, temporary, 0);
		return -1;
	}
	auto_free char *parent = parent_of(path);
	if (flags & FS_REPLACE_SYNC && fs_sync_dir(dirfd, parent, e) < 0) {
		e->code = ERR_UNCERTAIN;
		return err_ctx(e, "'%s' is replaced, but perhaps not on disk", path);
	}
	return 0;
}

/* What lies between is "PID.N". */
static bool is_temporary_of(struct str name, struct str prefix)
{
	uint64_t n;
	return str_take_str(&name, prefix) && str_take_u64(&name, &n) && str_take_char(&name, '.') &&
	       str_take_u64(&name, &n) && str_eq(name, STR(".tmp"));
}

/* ".NAME.PID.N.tmp", whatever NAME is. */
static bool is_temporary(struct str name)
{
	struct str left = name, number;
	uint64_t n;
	bool good = str_starts(name, STR(".")) && str_ends(name, STR(".tmp"));
	left.n -= good ? 4 : 0;
	for (int i = 0; i < 2 && good; i++) {
		ptrdiff_t dot = str_rfind(left, '.');
		good = dot > 0;
		number = good ? str_skip(left, (size_t)dot + 1) : STR_NONE;
		left = good ? str_head(left, (size_t)dot) : left;
		good = good && str_to_u64(number, &n);
	}
	return good && left.n > 1;
}

/* Those of the file of that prefix; of all where it has none. */
static int remove_temporaries(int dirfd, const char *parent, struct str prefix, struct err *e)
{
	auto_fs_list l = {0};
	struct err gone = ERR_INIT;
	auto_fd dir = fs_open_dir(dirfd, parent, &gone);
	if (dir < 0)
		return gone.code == ERR_NOT_FOUND ? 0 : (*e = gone, -1);
	if (fs_list(dir, ".", WALK_FOLDER_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++) {
		struct str name = str_c(l.name[i]);
		if ((prefix.n ? is_temporary_of(name, prefix) : is_temporary(name)) &&
		    sys_unlinkat(dir, l.name[i], 0) < 0)
			return err_sys(e, "remove '%s/%s'", parent, l.name[i]);
	}
	return 0;
}

int fs_replace_clean(int dirfd, const char *path, struct err *e)
{
	auto_free char *parent = parent_of(path);
	auto_free char *prefix = xasprintf(".%.200s.", path + str_rfind(str_c(path), '/') + 1);
	return remove_temporaries(dirfd, parent, str_c(prefix), e);
}

int fs_replace_clean_all(int dirfd, const char *folder, struct err *e)
{
	return remove_temporaries(dirfd, folder, STR_NONE, e);
}

/* folders */

static int make_dir(int dirfd, const char *path, mode_t mode, struct err *e)
{
	struct stat st;
	if (sys_mkdirat(dirfd, path, mode) == 0)
		return 0;
	if (errno == EEXIST && fstatat(dirfd, path, &st, 0) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		errno = ENOTDIR;
	}
	return err_sys(e, "make folder '%s'", path);
}

int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *e)
{
	struct stat st;
	if (fstatat(dirfd, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
		return 0;
	auto_free char *part = xstrdup(path);
	for (char *at = part; *at; at++) {
		if (*at != '/' || at == part || at[-1] == '/')
			continue;
		*at = '\0';
		int r = make_dir(dirfd, part, mode, e);
		*at = '/';
		if (r < 0)
			return -1;
	}
	return make_dir(dirfd, path, mode, e);
}

int fs_open_dir(int dirfd, const char *path, struct err *e)
{
	int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "open folder '%s'", path) : fd;
}

int fs_open_dir_make(int dirfd, const char *path, struct err *e)
{
	if (fs_mkdirs(dirfd, path, 0755, e) < 0)
		return -1;
	return fs_open_dir(dirfd, path, e);
}

int fs_sync_dir(int dirfd, const char *path, struct err *e)
{
	auto_fd fd = fs_open_dir(dirfd, path, e);
	if (fd < 0)
		return -1;
	return sys_fsync(fd) < 0 ? err_sys(e, "sync folder '%s'", path) : 0;
}

/*
 * Removing a tree. Folders are opened one below the other, never through a symbolic link. A folder that lies deeper
 * than REMOVE_DEPTH is moved up to the top of the tree and comes up again in a later pass over the top: a tree of any
 * depth is removed with a bounded number of open folders, in linear time.
 */
struct removal {
	int top;	   /* fd of the tree's top folder */
	const char *path;  /* as the caller named it, for messages */
	uint64_t moved;	   /* names given to folders moved up */
	uint64_t progress; /* entries removed or moved up so far */
};

static int open_for_removal(struct removal *rm, int dirfd, const char *name, struct err *e)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dirfd, name, flags);
	if (fd >= 0 || errno != EACCES)
		return fd < 0 ? err_sys(e, "remove '%s': open folder '%s'", rm->path, name) : fd;
	auto_fd handle = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", handle);
	if (handle < 0 || sys_fchmodat(AT_FDCWD, link, 0700) < 0 || (fd = openat(dirfd, name, flags)) < 0)
		return err_sys(e, "remove '%s': get access to folder '%s'", rm->path, name);
	return fd;
}

static int unlink_in(struct removal *rm, int fd, const char *name, int flags, struct err *e)
{
	int r = sys_unlinkat(fd, name, flags);
	if (r < 0 && errno == EACCES && sys_fchmod(fd, 0700) == 0)
		r = sys_unlinkat(fd, name, flags);
	if (r == 0)
		rm->progress++;
	if (r == 0 || errno == ENOENT)
		return 0;
	if (flags == 0 && errno == EISDIR)
		return 1;
	if (flags == AT_REMOVEDIR && (errno == ENOTEMPTY || errno == EEXIST))
		return 1;
	return err_sys(e, "remove '%s': remove '%s'", rm->path, name);
}

static int move_up(struct removal *rm, int fd, const char *name, struct err *e)
{
	for (;;) {
		char to[64];
		snprintf(to, sizeof(to), ".removed.%llu", (unsigned long long)rm->moved++);
		int r = sys_renameat(fd, name, rm->top, to);
		if (r < 0 && errno == EACCES) {
			/* moving a folder rewrites its "..", which needs its own write permission */
			auto_fd inner = open_for_removal(rm, fd, name, e);
			if (inner < 0)
				return -1;
			if (sys_fchmod(inner, 0700) == 0 && sys_fchmod(fd, 0700) == 0)
				r = sys_renameat(fd, name, rm->top, to);
		}
		if (r == 0) {
			rm->progress++;
			return 0;
		}
		if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
			return err_sys(e, "remove '%s': move deep folder '%s' up", rm->path, name);
	}
}

static int remove_dir(struct removal *rm, int dirfd, const char *name, unsigned depth, struct err *e);

static int remove_entry(struct removal *rm, int fd, const struct dirent *d, unsigned depth, struct err *e)
{
	if (d->d_type != DT_DIR) {
		int r = unlink_in(rm, fd, d->d_name, 0, e);
		if (r <= 0)
			return r;
	}
	return depth < REMOVE_DEPTH ? remove_dir(rm, fd, d->d_name, depth + 1, e) : move_up(rm, fd, d->d_name, e);
}

static void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* One pass over what a folder holds. */
static int remove_entries(struct removal *rm, DIR *dir, unsigned depth, struct err *e)
{
	for (;;) {
		errno = 0;
		const struct dirent *d = readdir(dir);
		if (!d)
			return errno ? err_sys(e, "remove '%s': read folder", rm->path) : 0;
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (remove_entry(rm, dirfd(dir), d, depth, e) < 0)
			return -1;
	}
}

static int remove_dir(struct removal *rm, int dirfd, const char *name, unsigned depth, struct err *e)
{
	int fd = open_for_removal(rm, dirfd, name, e);
	if (fd < 0)
		return -1;
	if (depth == 0)
		rm->top = fd;
	cleanup_with(close_dir) DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_sys(e, "remove '%s'", rm->path);
	}
	for (;;) {
		uint64_t before = rm->progress;
		if (remove_entries(rm, dir, depth, e) < 0)
			return -1;
		int r = unlink_in(rm, dirfd, name, AT_REMOVEDIR, e);
		if (r <= 0)
			return r;
		if (rm->progress == before)
			return err_new(e, ERR_FAILED, "remove '%s': folder '%s' does not become empty", rm->path, name);
		rewinddir(dir);
	}
}

int fs_remove_tree(int dirfd, const char *path, struct err *e)
{
	if (sys_unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
		return 0;
	struct stat st;
	int unlink_errno = errno;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return err_errno(e, unlink_errno, "remove '%s'", path);
	if (unlink_errno != EISDIR && unlink_errno != EPERM)
		return err_errno(e, unlink_errno, "remove '%s'", path);
	struct removal rm = {.top = -1, .path = path};
	return remove_dir(&rm, dirfd, path, 0, e);
}

/* listing and walking */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int fs_list(int dirfd, const char *path, size_t max, struct fs_list *ret, struct err *e)
{
	int fd = fs_open_dir(dirfd, path, e);
	if (fd < 0)
		return -1;
	cleanup_with(close_dir) DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return err_sys(e, "open folder '%s'", path);
	}
	VEC(char *) names = {0};
	auto_fs_list list = {0};
	for (;;) {
		errno = 0;
		const struct dirent *d = readdir(dir);
		if (!d && errno)
			return err_sys(e, "read folder '%s'", path);
		if (!d)
			break;
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (names.n == max)
			return err_new(e, ERR_LIMIT, "folder '%s' holds more than %zu entries", path, max);
		vec_push(&names, xstrdup(d->d_name));
		list = (struct fs_list){names.v, names.n}; /* freed from here on whatever happens */
	}
	vec_sort(&names, compare_names);
	*ret = list;
	list = (struct fs_list){0};
	return 0;
}

void fs_list_release(struct fs_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->name[i]);
	free(l->name);
	*l = (struct fs_list){0};
}

struct walk {
	fs_walk_fn *fn;
	void *ctx;
	struct buf rel;
};

static int walk_dir(struct walk *w, int dirfd, const char *name, unsigned depth, struct err *e);

static int walk_entry(struct walk *w, int fd, const char *name, unsigned depth, struct err *e)
{
	struct stat st;
	size_t rel_n = w->rel.n;
	if (rel_n > 0)
		buf_put_c(&w->rel, "/");
	buf_put_c(&w->rel, name);
	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "stat '%s'", w->rel.p);
	if (w->fn(w->ctx, fd, name, w->rel.p, &st, e) < 0)
		return -1;
	if (S_ISDIR(st.st_mode) && walk_dir(w, fd, name, depth + 1, e) < 0)
		return -1;
	buf_truncate(&w->rel, rel_n);
	return 0;
}

static int walk_dir(struct walk *w, int dirfd, const char *name, unsigned depth, struct err *e)
{
	if (depth > WALK_DEPTH_MAX)
		return err_new(e, ERR_LIMIT, "folder '%s' lies deeper than %d folders", w->rel.p, WALK_DEPTH_MAX);
	/* the start may be reached through a link; nothing below it may */
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth > 0 ? O_NOFOLLOW : 0));
	if (fd < 0)
		return err_sys(e, "open folder '%s'", depth > 0 ? w->rel.p : name);
	auto_fs_list list = {0};
	if (fs_list(fd, ".", WALK_FOLDER_MAX, &list, e) < 0)
		return err_ctx(e, "folder '%s'", depth > 0 ? w->rel.p : name);
	for (size_t i = 0; i < list.n; i++)
		if (walk_entry(w, fd, list.name[i], depth, e) < 0)
			return -1;
	return 0;
}

int fs_walk(int dirfd, const char *path, fs_walk_fn *fn, void *ctx, struct err *e)
{
	struct walk w = {.fn = fn, .ctx = ctx, .rel = BUF_INIT(BUF_MAX)};
	int r = walk_dir(&w, dirfd, path, 0, e);
	buf_release(&w.rel);
	return r;
}

/* names */

bool fs_exists(int dirfd, const char *path)
{
	struct stat st;
	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

bool fs_path_is_inside(struct str path)
{
	if (path.n == 0 || path.n > 4096)
		return false;
	size_t start = 0;
	for (size_t i = 0; i <= path.n; i++) {
		if (i < path.n && path.p[i] != '/') {
			unsigned char c = (unsigned char)path.p[i];
			if (c < 0x20 || c == 0x7f)
				return false;
			continue;
		}
		struct str part = str_of(path.p + start, i - start);
		if (part.n == 0 || str_eq(part, STR(".")) || str_eq(part, STR("..")))
			return false;
		start = i + 1;
	}
	return true;
}

/* locks */

/* "PID COMMAND": the command is the program's name and the plain words after it ("slipway env create"). Options and
 * anything that might be a URL with a password in it stay out, because others may read the file. */
static void lock_note(struct buf *b)
{
	char cmdline[1024];
	auto_fd fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, cmdline, sizeof(cmdline));
	buf_printf(b, "%ld", (long)getpid());
	struct str left = str_of(cmdline, n < 0 ? 0 : (size_t)n), word;
	for (int i = 0; i < 3 && str_take_until(&left, '\0', &word); i++) {
		if (i == 0)
			word = str_skip(word, (size_t)(str_rfind(word, '/') + 1));
		bool plain = word.n > 0 && word.n <= 32 && word.p[0] != '-';
		for (size_t k = 0; plain && k < word.n; k++) {
			char c = word.p[k];
			plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
				c == '-' || c == '_';
		}
		if (!plain)
			break;
		buf_put_c(b, " ");
		buf_put_str(b, word);
	}
	buf_put_c(b, "\n");
}

/* The note serves messages only: a full disk must not keep anybody from locking. */
static void write_lock_note(int fd)
{
	auto_buf b = BUF_INIT(LOCK_NOTE_MAX);
	lock_note(&b);
	if (sys_ftruncate(fd, 0) == 0)
		(void)!sys_pwrite(fd, b.p, b.n, 0);
}

static int lock_busy(int fd, const char *path, struct err *e)
{
	char note[LOCK_NOTE_MAX + 1];
	ssize_t n = pread(fd, note, LOCK_NOTE_MAX, 0);
	struct str s = str_of(note, n < 0 ? 0 : (size_t)n), line, pid;
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)note[i] < ' ' && note[i] != '\n')
			note[i] = '?';
	if (!str_take_line(&s, &line) || !str_take_word(&line, &pid))
		return err_new(e, ERR_BUSY, "'%s' is locked by another process; try again when it is done", path);
	line = str_trim(line);
	return err_new(e, ERR_BUSY, "'%s' is locked by process %.*s%s%.*s%s; try again when it is done", path,
		       STR_ARG(pid), line.n ? " (" : "", STR_ARG(line), line.n ? ")" : "");
}

int fs_flock(int fd, int how)
{
	int r;
	do
		r = flock(fd, how);
	while (r < 0 && errno == EINTR);
	return r;
}

bool fs_is_still(int dirfd, const char *path, int fd)
{
	struct stat held, named;
	return fstat(fd, &held) == 0 && fstatat(dirfd, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* 1 locked, 0 held by somebody, -1 error. A file that was removed or replaced while we waited is not the lock any more:
 * 2 then. */
static int try_lock(int dirfd, const char *path, int fd, struct err *e)
{
	struct stat held, named;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK || errno == EINTR)
			return 0;
		return err_sys(e, "lock '%s'", path);
	}
	if (fstat(fd, &held) == 0 && fstatat(dirfd, path, &named, 0) == 0 && held.st_dev == named.st_dev &&
	    held.st_ino == named.st_ino)
		return 1;
	return 2;
}

int fs_lock(int dirfd, const char *path, int64_t wait_ms, struct err *e)
{
	int64_t start = clock_mono_ms(), pause_ms = 1;
	auto_fd fd = -1;
	for (;;) {
		if (fd < 0)
			fd = sys_openat(dirfd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return err_sys(e, "open lock '%s'", path);
		int r = try_lock(dirfd, path, fd, e);
		if (r < 0)
			return -1;
		if (r == 1) {
			write_lock_note(fd);
			return steal_fd(&fd);
		}
		if (r == 2) {
			cleanup_fd(&fd);
			continue;
		}
		int64_t left = wait_ms - (clock_mono_ms() - start);
		if (left <= 0)
			return lock_busy(fd, path, e);
		int64_t ms = pause_ms < left ? pause_ms : left;
		nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
		pause_ms = pause_ms < 32 ? pause_ms * 2 : 50;
	}
}

int fs_check_space(int fd, uint64_t leave_bytes, struct err *e)
{
	struct statvfs v;
	if (fstatvfs(fd, &v) < 0)
		return err_sys(e, "look at the free space");
	uint64_t available = (uint64_t)v.f_bavail * v.f_frsize;
	if (available > leave_bytes)
		return 0;
	err_new(e, ERR_FAILED, "no space: %.1f MB are free, and %.1f MB of them are to be left",
		(double)available / 1e6, (double)leave_bytes / 1e6);
	e->sys = ENOSPC;
	return -1;
}
