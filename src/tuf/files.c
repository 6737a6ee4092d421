// SPDX-License-Identifier: Apache-2.0
/* Files of a tree as targets. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "base/vec.h"
#include "tuf/tuf.h"

enum { CHUNK = 1 << 17 };

struct scan {
	struct arena *a;
	bool (*want)(void *ctx, const char *path);
	void *ctx;
	VEC(struct tuf_file) files;
};

static int take(void *ctx, int dir_fd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct scan *s = ctx;
	if (!S_ISREG(st->st_mode) || rel[0] == '.' || strstr(rel, "/.") || (s->want && !s->want(s->ctx, rel)))
		return 0;
	auto_fd fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct tuf_file f = {.path = arena_str(s->a, str_c(rel))};
	struct stat now;
	if (fd < 0 || fstat(fd, &now) < 0)
		return err_sys(e, "open '%s'", rel);
	if (sha256_fd(fd, f.sha256, e) < 0)
		return err_ctx(e, "'%s'", rel);
	f.length = (uint64_t)now.st_size;
	vec_push(&s->files, f);
	return 0;
}

int tuf_files_of(int tree_fd, bool (*want)(void *ctx, const char *path), void *ctx, struct arena *a,
		 struct tuf_file **ret, size_t *ret_n, struct err *e)
{
	struct scan s = {.a = a, .want = want, .ctx = ctx};
	int rc = fs_walk(tree_fd, ".", take, &s, e);
	*ret = vec_copy(&s.files, a);
	*ret_n = s.files.n;
	vec_release(&s.files);
	return rc;
}

static int copy(int from_fd, const char *from, int to_fd, const char *to, struct err *e)
{
	auto_fd in = openat(from_fd, from, O_RDONLY | O_CLOEXEC);
	auto_free char *tmp = xasprintf("%s.%ld.tmp", to, (long)getpid());
	auto_free char *chunk = xmalloc(CHUNK);
	ssize_t n;
	if (in < 0)
		return err_sys(e, "open '%s'", from);
	auto_fd out = sys_openat(to_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (out < 0)
		return err_sys(e, "create '%s'", tmp);
	while ((n = read(in, chunk, CHUNK)) > 0)
		if (fs_write_all(out, chunk, (size_t)n, tmp, e) < 0)
			return -1;
	if (n < 0 || sys_fsync(out) < 0 || sys_renameat(to_fd, tmp, to_fd, to) < 0)
		return err_sys(e, "copy '%s'", from);
	return 0;
}

static int place(int tree_fd, const struct tuf_file *f, int to_fd, struct err *e)
{
	char hex[SHA256_HEX_SIZE];
	ptrdiff_t slash = str_rfind(f->path, '/');
	struct str dir = str_head(f->path, slash < 0 ? 0 : (size_t)slash),
		   name = str_skip(f->path, (size_t)(slash + 1));
	auto_free char *from = str_dup(f->path), *parent = dir.n ? str_dup(dir) : xstrdup(".");
	if (!fs_path_is_inside(f->path))
		return err_new(e, ERR_USAGE, "target '%s' would lie outside of its folder", from);
	hex_encode(f->sha256, sizeof(f->sha256), hex);
	auto_free char *to = xasprintf("%s/%s.%.*s", parent, hex, STR_ARG(name));
	if (fs_exists(to_fd, to))
		return 0;
	if (fs_mkdirs(to_fd, parent, 0755, e) < 0)
		return -1;
	if (sys_linkat(tree_fd, from, to_fd, to, 0) == 0 || errno == EEXIST)
		return 0;
	if (errno != EXDEV && errno != EPERM && errno != EMLINK)
		return err_sys(e, "link '%s'", from);
	return copy(tree_fd, from, to_fd, to, e);
}

int tuf_files_place(int tree_fd, const struct tuf_file *v, size_t n, int to_fd, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (place(tree_fd, &v[i], to_fd, e) < 0)
			return -1;
	return n && sys_syncfs(to_fd) < 0 ? err_sys(e, "sync the targets") : 0;
}

/* -- taken while others change the tree ----------------------------------------------------------------------------------- */

struct taking {
	struct scan scan; /* a, want, files */
	const struct tuf_file *before;
	struct map by_path; /* of before: index + 1 */
	int to_fd;
	char *tmp;
	bool placed;
};

char *tuf_file_name(const struct tuf_file *f)
{
	char hex[SHA256_HEX_SIZE];
	ptrdiff_t slash = str_rfind(f->path, '/');
	struct str name = str_skip(f->path, (size_t)(slash + 1));
	hex_encode(f->sha256, sizeof(f->sha256), hex);
	return slash < 0 ? xasprintf("%s.%.*s", hex, STR_ARG(name))
			 : xasprintf("%.*s/%s.%.*s", (int)slash, f->path.p, hex, STR_ARG(name));
}

/* The file that was listed before, if this is still it. */
static const struct tuf_file *still(const struct taking *t, const char *rel, const struct stat *st)
{
	const uint64_t *at = map_get(&t->by_path, str_c(rel));
	struct stat there;
	if (!at)
		return NULL;
	const struct tuf_file *f = &t->before[*at - 1];
	auto_free char *name = tuf_file_name(f);
	return fstatat(t->to_fd, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_dev == st->st_dev &&
			       there.st_ino == st->st_ino && (uint64_t)there.st_size == f->length
		       ? f
		       : NULL;
}

/* Another name of it, which nobody replaces. 1; 0: the file went meanwhile. */
static int hold_file(struct taking *t, int dir_fd, const char *name, struct err *e)
{
	if (sys_unlinkat(t->to_fd, t->tmp, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s'", t->tmp);
	if (sys_linkat(dir_fd, name, t->to_fd, t->tmp, 0) == 0)
		return 1;
	if (errno == ENOENT)
		return 0;
	if (errno != EXDEV && errno != EPERM && errno != EMLINK && errno != EOPNOTSUPP)
		return err_sys(e, "link '%s'", name);
	return copy(dir_fd, name, t->to_fd, t->tmp, e) < 0 ? -1 : 1;
}

static int digest_held(const struct taking *t, struct tuf_file *f, struct err *e)
{
	struct stat st;
	auto_fd fd = openat(t->to_fd, t->tmp, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", t->tmp);
	f->length = (uint64_t)st.st_size;
	return sha256_fd(fd, f->sha256, e);
}

static int put_held(struct taking *t, const struct tuf_file *f, struct err *e)
{
	auto_free char *to = tuf_file_name(f);
	char *slash = strrchr(to, '/');
	if (slash) {
		auto_free char *parent = str_dup(str_of(to, (size_t)(slash - to)));
		if (fs_mkdirs(t->to_fd, parent, 0755, e) < 0)
			return -1;
	}
	if (sys_renameat(t->to_fd, t->tmp, t->to_fd, to) < 0)
		return err_sys(e, "put '%s' in place", to);
	/* where both were names of one file, renaming did nothing */
	if (sys_unlinkat(t->to_fd, t->tmp, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s'", t->tmp);
	t->placed = true;
	return 0;
}

static int take_and_place(void *ctx, int dir_fd, const char *name, const char *rel, const struct stat *st,
			  struct err *e)
{
	struct taking *t = ctx;
	struct scan *s = &t->scan;
	if (!S_ISREG(st->st_mode) || rel[0] == '.' || strstr(rel, "/.") || (s->want && !s->want(s->ctx, rel)))
		return 0;
	const struct tuf_file *same = still(t, rel, st);
	if (same) {
		vec_push(&s->files, *same);
		return 0;
	}
	struct tuf_file f = {.path = arena_str(s->a, str_c(rel))};
	int rc = hold_file(t, dir_fd, name, e);
	if (rc <= 0)
		return rc;
	if (digest_held(t, &f, e) < 0 || put_held(t, &f, e) < 0)
		return err_ctx(e, "'%s'", rel);
	vec_push(&s->files, f);
	return 0;
}

int tuf_files_take(int tree_fd, bool (*want)(void *ctx, const char *path), void *ctx, const struct tuf_file *before,
		   size_t before_n, int to_fd, struct arena *a, struct tuf_file **ret, size_t *ret_n, struct err *e)
{
	struct taking t = {.scan = {.a = a, .want = want, .ctx = ctx}, .before = before, .to_fd = to_fd};
	auto_free char *tmp = xasprintf(".%ld.new", (long)getpid());
	t.tmp = tmp;
	for (size_t i = 0; i < before_n; i++)
		*map_put(&t.by_path, before[i].path) = i + 1;
	int rc = fs_walk(tree_fd, ".", take_and_place, &t, e);
	if (rc < 0)
		(void)sys_unlinkat(to_fd, tmp, 0);
	*ret = vec_copy(&t.scan.files, a);
	*ret_n = t.scan.files.n;
	vec_release(&t.scan.files);
	map_release(&t.by_path);
	if (rc == 0 && t.placed && sys_syncfs(to_fd) < 0)
		return err_sys(e, "sync the targets");
	return rc;
}

struct tidying {
	struct map keep;
	int64_t before_s;
};

static int tidy_one(void *ctx, int dir_fd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct tidying *t = ctx;
	(void)e;
	/* its last change: that the tree has it no more, or that it was put here */
	if (S_ISREG(st->st_mode) && !map_get(&t->keep, str_c(rel)) && st->st_ctim.tv_sec < t->before_s)
		(void)sys_unlinkat(dir_fd, name, 0);
	return 0;
}

void tuf_files_tidy(int to_fd, const struct tuf_file *v, size_t n, int64_t older_s)
{
	auto_arena a = ARENA_INIT;
	struct err ignored = ERR_INIT;
	struct tidying t = {.before_s = clock_wall_ms() / 1000 - older_s};
	for (size_t i = 0; i < n; i++) {
		auto_free char *name = tuf_file_name(&v[i]);
		*map_put(&t.keep, arena_str(&a, str_c(name))) = 1;
	}
	(void)fs_walk(to_fd, ".", tidy_one, &t, &ignored);
	map_release(&t.keep);
}
