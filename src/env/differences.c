// SPDX-License-Identifier: Apache-2.0
/* What a generation holds beside, or instead of, what its conda-meta/ records say. */
#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "env/manifest.h"
#include "env/state.h"

struct difference {
	struct str path, package;
	const char *what, *detail;
};
struct compare {
	struct manifest *m;
	bool deep;
	VEC(struct difference) found;
};

static void add_difference(struct compare *c, struct str path, struct str package, const char *what, const char *detail)
{
	*vec_add(&c->found) = (struct difference){arena_str(&c->m->arena, path), package, what, detail};
}

/* What rattler and pixi record as the digest of a symbolic link: that of its text. */
static bool link_text_is(int dirfd, const char *name, const struct owned *f)
{
	uint8_t sha[SHA256_SIZE];
	char target[4096];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target));
	if (n < 0)
		return false;
	sha256(target, (size_t)n, sha);
	return memcmp(sha, f->sha256, SHA256_SIZE) == 0;
}

/* 1: other content than was laid out; of a symbolic link: behind it. */
static int content_differs(int dirfd, const char *name, const struct owned *f, struct err *e)
{
	uint8_t sha[SHA256_SIZE];
	struct stat st;
	if (f->softlink && link_text_is(dirfd, name, f))
		return 0;
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (f->softlink ? 0 : O_NOFOLLOW));
	if (fd < 0)
		return f->softlink ? 1 : err_sys(e, "open '%s'", name);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", name);
	if (!S_ISREG(st.st_mode))
		return 1;
	if (sha256_fd(fd, sha, e) < 0)
		return -1;
	return memcmp(sha, f->sha256, SHA256_SIZE) != 0;
}

static const char *kind_name(mode_t mode)
{
	return S_ISREG(mode) ? "file" : S_ISLNK(mode) ? "link" : S_ISDIR(mode) ? "folder" : "pipe, socket or device";
}

/* Fills in how the entry differs: nothing where it does not. -1 where that cannot be told. */
static int describe(struct compare *c, int dirfd, const char *name, const struct owned *f, const struct stat *st,
		    struct buf *how, struct err *e)
{
	mode_t kind = f->softlink ? S_IFLNK : f->folder ? S_IFDIR : S_IFREG, mode = st->st_mode & 07777;
	int content = 0;
	if ((st->st_mode & S_IFMT) != kind) {
		buf_printf(how, "a %s, was a %s", kind_name(st->st_mode), kind_name(kind));
		return 0;
	}
	if (kind == S_IFREG && f->has_size && f->size != (uint64_t)st->st_size)
		buf_printf(how, "%lld bytes, was %llu", (long long)st->st_size, (unsigned long long)f->size);
	else if (c->deep && kind != S_IFDIR && f->has_sha256)
		content = content_differs(dirfd, name, f, e);
	if (content < 0)
		return -1;
	if (content > 0)
		buf_put_c(how, f->softlink ? "leads to other content" : "content");
	mode_t was = f->exec ? 0755 : 0644;
	if (kind == S_IFREG && f->has_mode && mode != was)
		buf_printf(how, "%smode %04o, was %04o", how->n ? "; " : "", (unsigned)mode, (unsigned)was);
	return 0;
}

static int compare_entry(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct compare *c = ctx;
	struct str path = str_c(rel);
	auto_buf how = BUF_INIT(256);
	struct owned *f = manifest_find(c->m, path);
	if (!f) {
		if (!S_ISDIR(st->st_mode) && !manifest_is_noise(path))
			add_difference(c, path, STR_NONE, "added", "");
		return 0;
	}
	f->seen = true;
	if (describe(c, dirfd, name, f, st, &how, e) < 0)
		return -1;
	if (how.n)
		add_difference(c, path, f->package, "changed", arena_strdup(&c->m->arena, buf_str(&how)));
	return 0;
}

static void add_stranger(void *ctx, const struct manifest_record *r, bool there)
{
	add_difference(ctx, r->file, r->package, there ? "added" : "missing", "");
}

static int by_path(const void *x, const void *y)
{
	const struct difference *a = x, *b = y;
	return str_cmp(a->path, b->path);
}

int64_t env_differences(struct env_state *st, struct str name, uint32_t generation, bool deep, env_difference_fn *found,
			void *ctx, struct err *e)
{
	auto_manifest m = {0};
	struct compare c = {.m = &m, .deep = deep};
	struct env_info info;
	struct env_spec_file lock;
	if (env_get(st, &m.arena, name, &info, e) < 0 ||
	    env_generation_lock(st, &m.arena, name, generation, &lock, e) < 0)
		return -1;
	unsigned number = generation ? generation : info.current;
	const char *path = arena_printf(&m.arena, "%.*s/%u", STR_ARG(name), number);
	auto_fd dir = fs_open_dir(st->env_fd, path, e);
	if (dir < 0 || manifest_read(dir, &m, e) < 0 || fs_walk(dir, ".", compare_entry, &c, e) < 0) {
		vec_release(&c.found);
		return err_ctx(e, "generation %u of '%.*s'", number, STR_ARG(name));
	}
	manifest_strangers(&m, &lock, add_stranger, &c);
	vec_foreach(f, &m.files) {
		if (manifest_find(&m, f->path) == f && !f->seen)
			add_difference(&c, f->path, f->package, "missing", "");
	}
	vec_sort(&c.found, by_path);
	vec_foreach(d, &c.found) {
		auto_free char *at = str_dup(d->path);
		if (found)
			found(ctx, at, d->what, d->detail, d->package);
	}
	int64_t n = (int64_t)c.found.n;
	vec_release(&c.found);
	return n;
}

int env_owner(struct env_state *st, struct arena *a, struct str env, uint32_t generation, struct str path,
	      struct str *ret, struct err *e)
{
	auto_manifest m = {0};
	struct env_info info;
	if (env_get(st, a, env, &info, e) < 0)
		return -1;
	auto_free char *dir = xasprintf("env/%.*s/%u", STR_ARG(env), generation ? generation : info.current);
	auto_fd fd = fs_open_dir(st->root_fd, dir, e);
	if (fd < 0 || manifest_read(fd, &m, e) < 0)
		return err_ctx(e, "'%s'", dir);
	const struct owned *f = manifest_find(&m, path);
	*ret = f ? arena_str(a, f->package) : STR_NONE;
	return 0;
}
