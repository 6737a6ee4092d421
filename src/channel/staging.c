// SPDX-License-Identifier: Apache-2.0
#include "channel/staging.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"

enum { LOCK_WAIT_MS = 60000 };
#define STAGE ".slipway.new"

int staging_open(struct staging *t, const char *folder, bool dry_run, struct err *e)
{
	t->folder = folder;
	t->dry_run = dry_run;
	if (dry_run && !fs_exists(AT_FDCWD, folder))
		return 0;
	t->dir = dry_run ? fs_open_dir(AT_FDCWD, folder, e) : fs_open_dir_make(AT_FDCWD, folder, e);
	if (t->dir < 0)
		return err_ctx(e, "channel folder '%s'", folder);
	if (dry_run)
		return 0;
	t->lock = fs_lock(t->dir, ".slipway.lock", LOCK_WAIT_MS, e);
	/* whoever was killed before left its own there */
	return t->lock < 0 || fs_remove_tree(t->dir, STAGE, e) < 0 ? err_ctx(e, "channel folder '%s'", folder) : 0;
}

int staging_open_for(struct staging *t, const char *folder, const struct channel_make_opts *o, struct err *e)
{
	t->make = o;
	return staging_open(t, folder, o->dry_run, e);
}

void staging_release(struct staging *t)
{
	struct err ignored = ERR_INIT;
	if (t->lock >= 0)
		(void)fs_remove_tree(t->dir, STAGE, &ignored);
	vec_release(&t->file);
	vec_release(&t->text);
	vec_release(&t->pointer);
	vec_release(&t->dropped);
	vec_release(&t->dropped_pointer);
	arena_release(&t->arena);
	cleanup_fd(&t->dir);
	cleanup_fd(&t->lock);
}

/* -- staging ------------------------------------------------------------------------------------------------------- */

/* The folder that a path lies in, "." at the top. */
static const char *folder_of(struct arena *a, const char *path)
{
	ptrdiff_t slash = str_rfind(str_c(path), '/');
	return slash < 0 ? "." : arena_strdup(a, str_head(str_c(path), (size_t)slash));
}

static size_t staged(const struct staging *t)
{
	return t->file.n + t->text.n + t->pointer.n;
}

static int make_folder(struct staging *t, const char *path, struct err *e)
{
	const char *folder = folder_of(&t->arena, path);
	return !fs_exists(t->dir, folder) ? fs_mkdirs(t->dir, folder, 0755, e) : 0;
}

/* An entry of the stage, whose path is told now or, NULL, later. */
static int add(struct staging *t, struct staged_file_vec *v, const char *path, struct staged_file *ret, struct err *e)
{
	if ((staged(t) == 0 && fs_mkdirs(t->dir, STAGE, 0755, e) < 0) || (path && make_folder(t, path, e) < 0))
		return -1;
	ret->path = path ? arena_strdup(&t->arena, str_c(path)) : NULL;
	ret->tmp = arena_printf(&t->arena, STAGE "/%c%zu", v == &t->file ? 'f' : v == &t->text ? 't' : 'p', v->n);
	return 0;
}

/* A new file in the stage, open; it will be at `path`. */
static int stage(struct staging *t, struct staged_file_vec *v, const char *path, struct err *e)
{
	struct staged_file s = {0};
	if (add(t, v, path, &s, e) < 0)
		return -1;
	int fd = sys_openat(t->dir, s.tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(e, "create '%s/%s'", t->folder, s.tmp);
	vec_push(v, s);
	return fd;
}

/* 1 where the path holds this very file already. */
static int is_in_place(int dir, const char *path, const uint8_t *sha, bool replace, struct err *e)
{
	uint8_t got[SHA256_SIZE];
	auto_fd fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, "open '%s'", path);
	if (sha256_fd(fd, got, e) < 0)
		return -1;
	if (memcmp(got, sha, SHA256_SIZE) == 0)
		return 1;
	if (replace)
		return 0;
	return err_new(e, ERR_EXISTS,
		       "'%s' is in the channel already with other content; raise its version, or use --replace", path);
}

static int copy_bytes(int from, int to, const char *what, struct err *e)
{
	if (sys_ficlone(to, from) == 0)
		return 0;
	auto_free char *piece = xmalloc(1 << 20);
	for (off_t at = 0;;) {
		ssize_t n = pread(from, piece, 1 << 20, at);
		if (n <= 0)
			return n < 0 ? err_sys(e, "read '%s'", what) : 0;
		if (fs_write_all(to, piece, (size_t)n, what, e) < 0)
			return -1;
		at += n;
	}
}

/* What was checked is what is copied: the digest is taken again from the copy. */
int staging_put_file(struct staging *t, const char *path, const char *from, const uint8_t sha256[SHA256_SIZE],
		     bool replace, struct err *e)
{
	uint8_t got[SHA256_SIZE];
	struct stat st;
	int there = t->dir < 0 ? 0 : is_in_place(t->dir, path, sha256, replace, e);
	if (there != 0 || t->dry_run)
		return there < 0 ? -1 : !there;
	auto_fd in = open(from, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (in < 0)
		return err_sys(e, "open '%s'", from);
	auto_fd out = stage(t, &t->file, path, e);
	if (out < 0 || copy_bytes(in, out, from, e) < 0 || sha256_fd(out, got, e) < 0)
		return -1;
	fs_write_behind(out);
	if (memcmp(got, sha256, SHA256_SIZE) != 0)
		return err_new(e, ERR_VERIFY, "'%s' changed while it was published", from);
	if (fstat(in, &st) < 0)
		return err_sys(e, "look at '%s'", from);
	const struct timespec times[2] = {st.st_atim, st.st_mtim};
	return sys_futimens(out, times) < 0 ? err_sys(e, "set the time of '%s'", path) : 1;
}

int staging_read(int dir, const char *path, struct buf *b, struct err *e)
{
	struct err cause = ERR_INIT;
	if (dir < 0)
		return 0;
	if (fs_read(dir, path, b, &cause) == 0)
		return 1;
	if (cause.code == ERR_NOT_FOUND)
		return 0;
	*e = cause;
	return -1;
}

/* HTTP and apt's file: method know a file's age in whole seconds: of two pointers made within one, or after the clock was set
 * back, the later must say so, or who has the first is told "not modified" until a third comes. The time is set in any case: how many calls
 * a publication makes is not to depend on the clock, which sweeps of faults count on. */
static int make_later(int fd, int dir, const char *path, struct err *e)
{
	struct stat before, now;
	if (fstatat(dir, path, &before, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (fstat(fd, &now) < 0)
		return err_sys(e, "look at '%s'", path);
	bool is_later = now.st_mtim.tv_sec > before.st_mtim.tv_sec;
	const struct timespec later = {.tv_sec = before.st_mtim.tv_sec + 1};
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, is_later ? now.st_mtim : later};
	return sys_futimens(fd, times) < 0 ? err_sys(e, "set the time of '%s'", path) : 0;
}

static int put_text(struct staging *t, struct staged_file_vec *v, const char *path, struct str text, struct err *e)
{
	auto_buf old = BUF_INIT(text.n);
	struct err ignored = ERR_INIT;
	if (staging_read(t->dir, path, &old, &ignored) > 0 && str_eq(buf_str(&old), text))
		return 0;
	if (t->dry_run)
		return 1;
	auto_fd out = stage(t, v, path, e);
	if (out < 0 || fs_write_all(out, text.p, text.n, path, e) < 0)
		return -1;
	return v == &t->pointer && make_later(out, t->dir, path, e) < 0 ? -1 : 1;
}

int staging_put_text(struct staging *t, const char *path, struct str text, struct err *e)
{
	return put_text(t, &t->text, path, text, e);
}

int staging_put_pointer(struct staging *t, const char *path, struct str text, struct err *e)
{
	return put_text(t, &t->pointer, path, text, e);
}

int staging_begin(struct staging *t, size_t *ret_n, struct err *e)
{
	*ret_n = t->text.n;
	return stage(t, &t->text, NULL, e);
}

int staging_name(struct staging *t, size_t n, const char *path, struct err *e)
{
	t->text.v[n].path = arena_strdup(&t->arena, str_c(path));
	return make_folder(t, path, e);
}

int staging_link(struct staging *t, const char *path, const char *of, struct err *e)
{
	struct staged_file s = {.of = arena_strdup(&t->arena, str_c(of))};
	if (add(t, &t->text, path, &s, e) < 0)
		return -1;
	vec_push(&t->text, s);
	return 0;
}

void staging_drop(struct staging *t, const char *path)
{
	vec_push(&t->dropped, ((struct staged_file){.path = arena_strdup(&t->arena, str_c(path))}));
}

void staging_drop_pointer(struct staging *t, const char *path)
{
	vec_push(&t->dropped_pointer, ((struct staged_file){.path = arena_strdup(&t->arena, str_c(path))}));
}

/* -- committing ---------------------------------------------------------------------------------------------------- */

static int sync_all(struct staging *t, struct err *e)
{
	return sys_syncfs(t->dir) < 0 ? err_sys(e, "sync '%s'", t->folder) : 0;
}

static int link_or_copy(struct staging *t, const struct staged_file *s, struct err *e)
{
	if (sys_linkat(t->dir, s->of, t->dir, s->tmp, 0) == 0)
		return 0;
	if (errno != EPERM && errno != EMLINK && errno != EOPNOTSUPP && errno != ENOSYS)
		return err_sys(e, "link '%s/%s'", t->folder, s->of);
	auto_fd in = openat(t->dir, s->of, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	auto_fd out = sys_openat(t->dir, s->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (in < 0 || out < 0)
		return err_sys(e, "copy '%s/%s'", t->folder, s->of);
	if (copy_bytes(in, out, s->of, e) < 0)
		return -1;
	return sys_fsync(out) < 0 ? err_sys(e, "sync '%s/%s'", t->folder, s->tmp) : 0;
}

static int place(struct staging *t, const struct staged_file_vec *v, struct err *e)
{
	vec_foreach(s, v)
		if (s->path && s->of && link_or_copy(t, s, e) < 0)
			return -1;
		else if (s->path && sys_renameat(t->dir, s->tmp, t->dir, s->path) < 0)
			return err_sys(e, "put '%s/%s' in place", t->folder, s->path);
	return 0;
}

static int remove_file(struct staging *t, const char *path, struct err *e)
{
	if (sys_unlinkat(t->dir, path, 0) < 0 && errno != ENOENT && errno != ENOTDIR)
		return err_sys(e, "remove '%s/%s'", t->folder, path);
	for (const char *up = folder_of(&t->arena, path); strcmp(up, ".") != 0; up = folder_of(&t->arena, up))
		if (sys_unlinkat(t->dir, up, AT_REMOVEDIR) < 0 && errno != ENOENT)
			break; /* not empty */
	return 0;
}

/* Where what was signed before still names it, it stays. */
static int drop(struct staging *t, struct err *e)
{
	const struct channel_make_opts *o = t->make;
	vec_foreach(s, &t->dropped_pointer)
		if (remove_file(t, s->path, e) < 0)
			return -1;
	int waits = t->dropped.n && o && o->seal ? o->seal(o->seal_ctx, t->folder, e) : 0;
	if (waits != 0)
		return waits < 0 ? -1 : 0;
	vec_foreach(s, &t->dropped)
		if (remove_file(t, s->path, e) < 0)
			return -1;
	return 0;
}

int staging_commit(struct staging *t, struct err *e)
{
	if (t->dir < 0 || t->dry_run)
		return 0;
	bool any = staged(t) > 0;
	if ((any && sync_all(t, e) < 0) || place(t, &t->file, e) < 0 || (t->file.n && sync_all(t, e) < 0) ||
	    place(t, &t->text, e) < 0 || (t->text.n && sync_all(t, e) < 0) || place(t, &t->pointer, e) < 0 ||
	    (t->pointer.n && sync_all(t, e) < 0))
		return -1;
	if (drop(t, e) < 0)
		return -1;
	vec_clear(&t->file);
	vec_clear(&t->text);
	vec_clear(&t->pointer);
	vec_clear(&t->dropped);
	vec_clear(&t->dropped_pointer);
	return any ? fs_remove_tree(t->dir, STAGE, e) : 0;
}
