// SPDX-License-Identifier: Apache-2.0
/* Files of a tree as targets. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
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
