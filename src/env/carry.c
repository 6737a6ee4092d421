// SPDX-License-Identifier: Apache-2.0
/*
 * The taking over of files that no package owns (a user's own scripts, what pip installed) into the next generation.
 *
 * The old generation is walked depth first, so the folders that a file needs are mostly those of the file before: they are
 * kept open in a chain, from the new generation downwards, each opened below the one above it and never through a
 * symbolic link. A folder is made when the first file of it comes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "env/layout.h"
#include "env/manifest.h"
#include "env/state.h"

enum { MAX_SCRIPT = 1 << 20, SMALL_FILE = 1 << 16 };

struct link_of_chain {
	int fd;
	size_t end; /* bytes of the chain's path up to here */
};
struct carry {
	struct manifest m;
	const char *old_prefix, *new_prefix;
	int old_fd, new_fd;
	mode_t umask;
	struct buf path; /* the folder at the end of the chain, relative to the generation */
	VEC(struct link_of_chain) chain;
	VEC(struct env_left) left;
	struct env_spec_file lock; /* of the old generation */
	struct arena *arena;
	char *block;
	uint64_t n;
	bool no_reflink;
};

static void carry_release(struct carry *c)
{
	vec_foreach(l, &c->chain)
		close(l->fd);
	vec_release(&c->chain);
	vec_release(&c->left);
	buf_release(&c->path);
	manifest_release(&c->m);
	free(c->block);
}

static int leave(struct carry *c, const char *rel, const char *why)
{
	*vec_add(&c->left) = (struct env_left){arena_str(c->arena, str_c(rel)), why};
	return 0;
}

/* -- folders ------------------------------------------------------------------------------------------------------- */

static int chain_fd(const struct carry *c)
{
	return c->chain.n ? c->chain.v[c->chain.n - 1].fd : c->new_fd;
}

/* Closes what does not lead to `dir`. */
static void chain_shorten(struct carry *c, struct str dir)
{
	while (c->chain.n) {
		const struct link_of_chain *last = &c->chain.v[c->chain.n - 1];
		struct str here = buf_str(&c->path);
		if (str_starts(dir, here) && (dir.n == here.n || dir.p[here.n] == '/'))
			return;
		close(last->fd);
		c->chain.n--;
		buf_truncate(&c->path, c->chain.n ? c->chain.v[c->chain.n - 1].end : 0);
	}
}

/* As private as it was; ours to fill in any case. */
static mode_t mode_of_folder(const struct carry *c)
{
	struct stat st;
	if (fstatat(c->old_fd, c->path.p, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0755;
	return (st.st_mode & 0777) | 0700;
}

/* One folder further; -1 with errno. c->path has its name already. */
static int chain_lengthen(struct carry *c, const char *name)
{
	enum { FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };
	int above = chain_fd(c), fd = openat(above, name, FLAGS);
	if (fd < 0 && errno == ENOENT) {
		if (sys_mkdirat(above, name, mode_of_folder(c)) < 0 && errno != EEXIST)
			return -1;
		fd = openat(above, name, FLAGS);
	}
	if (fd < 0)
		return -1;
	*vec_add(&c->chain) = (struct link_of_chain){fd, c->path.n};
	return 0;
}

/* The folder of `rel` in the new generation (not to be closed), made where it is missing. -1 with errno where something
 * else stands in the way. */
static int open_parent(struct carry *c, struct str rel)
{
	ptrdiff_t slash = str_rfind(rel, '/');
	struct str dir = str_head(rel, slash < 0 ? 0 : (size_t)slash);
	chain_shorten(c, dir);
	while (c->path.n < dir.n) {
		size_t was = c->path.n;
		struct str rest = str_skip(dir, was ? was + 1 : 0), part = rest;
		(void)str_take_until(&rest, '/', &part);
		if (was)
			buf_put_char(&c->path, '/');
		buf_put_str(&c->path, part);
		if (chain_lengthen(c, c->path.p + (was ? was + 1 : 0)) < 0) {
			buf_truncate(&c->path, was);
			return -1;
		}
	}
	return chain_fd(c);
}

/* -- links and files ----------------------------------------------------------------------------------------------- */

/* `text` with the old generation's path made the new one's. */
static void put_moved(const struct carry *c, struct str text, struct buf *to)
{
	struct str old = str_c(c->old_prefix);
	ptrdiff_t at;
	while ((at = str_search(text, old)) >= 0) {
		buf_put_str(to, str_head(text, (size_t)at));
		buf_put_c(to, c->new_prefix);
		text = str_skip(text, (size_t)at + old.n);
	}
	buf_put_str(to, text);
}

/* 1: there is something at that path already. */
static int copy_link(struct carry *c, int from_dir, const char *name, int to_dir, struct err *e)
{
	char target[4097];
	auto_buf moved = BUF_INIT(BUF_MAX);
	ssize_t n = readlinkat(from_dir, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(e, "read link '%s'", name);
	put_moved(c, str_of(target, (size_t)n), &moved);
	if (sys_symlinkat(moved.p, to_dir, name) < 0)
		return errno == EEXIST ? 1 : err_sys(e, "make link '%s'", name);
	return 0;
}

/* A call less than copy_file_range, which small files feel. */
static int copy_small(struct carry *c, int in, int out, struct err *e)
{
	for (;;) {
		ssize_t n = read(in, c->block, SMALL_FILE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_sys(e, "read") : 0;
		if (fs_write_all(out, c->block, (size_t)n, "copy", e) < 0)
			return -1;
		if (n < SMALL_FILE)
			return 0;
	}
}

static int copy_range(int in, int out, int64_t from, int64_t to, struct err *e)
{
	int64_t at = from;
	while (from < to) {
		ssize_t n = sys_copy_file_range(in, &from, out, &at, (size_t)(to - from));
		if (n < 0)
			return err_sys(e, "copy");
		if (n == 0)
			return 0; /* it has become shorter */
	}
	return 0;
}

/* The kernel would write the holes out: a file of a terabyte that takes a few blocks would fill the disk. */
static int copy_sparse(int in, int out, const struct stat *st, struct err *e)
{
	off_t at = 0, data, hole;
	if (sys_ftruncate(out, st->st_size) < 0)
		return err_sys(e, "copy");
	while ((data = lseek(in, at, SEEK_DATA)) >= 0) {
		hole = lseek(in, data, SEEK_HOLE);
		if (hole < 0)
			break;
		if (copy_range(in, out, data, hole, e) < 0)
			return -1;
		at = hole;
	}
	return errno == ENXIO ? 0 : err_sys(e, "copy"); /* no data behind the last hole */
}

static int copy_bytes(struct carry *c, int in, int out, const struct stat *st, struct err *e)
{
	if (st->st_size == 0)
		return 0;
	if (!c->no_reflink && sys_ficlone(out, in) == 0)
		return 0;
	c->no_reflink |= errno == EOPNOTSUPP || errno == ENOTTY;
	if (st->st_size < SMALL_FILE)
		return copy_small(c, in, out, e);
	if (st->st_blocks < st->st_size / 512)
		return copy_sparse(in, out, st, e);
	for (;;) {
		ssize_t n = sys_copy_file_range(in, NULL, out, NULL, 1 << 30);
		if (n < 0)
			return err_sys(e, "copy");
		if (n == 0)
			return 0;
	}
}

/* The first line, or the first two: a long path to Python stands in the second one of a /bin/sh script. */
static struct str head_lines(struct str text)
{
	struct str rest = text, line;
	for (int i = 0; i < 2; i++)
		(void)str_take_line(&rest, &line);
	return str_head(text, text.n - rest.n);
}

/* A script that names the old generation's interpreter: point it at the new one's. */
static int copy_script(struct carry *c, int in, int out, bool *ret_done, struct err *e)
{
	auto_buf text = BUF_INIT(MAX_SCRIPT);
	auto_buf moved = BUF_INIT(BUF_MAX);
	char name[32];
	*ret_done = false;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", in);
	if (fs_read(AT_FDCWD, name, &text, e) < 0)
		return -1;
	struct str s = buf_str(&text);
	if (!str_starts(s, STR("#!")) || str_search(head_lines(s), str_c(c->old_prefix)) < 0)
		return 0;
	put_moved(c, s, &moved);
	*ret_done = true;
	return fs_write_all(out, moved.p, moved.n, "script", e);
}

/* 1: there is something at that path already. */
static int copy_file(struct carry *c, int from_dir, const char *name, int to_dir, const struct stat *st, struct err *e)
{
	bool done = false;
	mode_t mode = st->st_mode & 0777;
	/* a pipe may have come in its place meanwhile, which nobody would ever write to */
	auto_fd in = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (in < 0)
		return err_sys(e, "open '%s'", name);
	auto_fd out = sys_openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (out < 0)
		return errno == EEXIST ? 1 : err_sys(e, "make '%s'", name);
	if ((mode & 0111) && st->st_size < MAX_SCRIPT && copy_script(c, in, out, &done, e) < 0)
		return -1;
	if (!done && copy_bytes(c, in, out, st, e) < 0)
		return -1;
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	/* a change of mode costs as much as the rest on some file systems: only where the umask has taken something away */
	if (((mode & c->umask) && sys_fchmod(out, mode) < 0) || sys_futimens(out, times) < 0)
		return err_sys(e, "set mode and time of '%s'", name);
	return 0;
}

/* -- all of it ----------------------------------------------------------------------------------------------------- */

/* The new recipe says whether there is one of that name. */
static bool is_of_recipe(const struct carry *c, struct str rel)
{
	if (!c->lock.components_n || !str_take_str(&rel, STR(COMPONENT_DIR "/")) || !str_ends(rel, STR(".yml")))
		return false;
	rel.n -= strlen(".yml");
	for (uint32_t i = 0; i < c->lock.components_n; i++)
		if (str_eq(c->lock.components[i].name, rel))
			return true;
	return false;
}

static int carry_entry(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct carry *c = ctx;
	if (S_ISDIR(st->st_mode) || manifest_is_noise(str_c(rel)) || manifest_find(&c->m, str_c(rel)) ||
	    is_of_recipe(c, str_c(rel)))
		return 0;
	if (!S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode)) /* they belong to what runs in the old generation */
		return leave(c, rel, "it is a socket, a pipe or a device");
	int parent = open_parent(c, str_c(rel));
	if (parent < 0)
		return errno == ELOOP || errno == ENOTDIR
			       ? leave(c, rel, "a package has something else than a folder where its folder was")
			       : err_sys(e, "make the folder of '%s'", rel);
	int rc = S_ISLNK(st->st_mode) ? copy_link(c, dirfd, name, parent, e) : copy_file(c, dirfd, name, parent, st, e);
	if (rc > 0)
		return leave(c, rel, "a package brings this path now");
	c->n += rc == 0;
	return rc < 0 ? err_ctx(e, "take over '%s'", rel) : 0;
}

/* Packages that another program installed are not part of what the environment is to have; told, not taken. */
static void leave_stranger(void *ctx, const struct manifest_record *r, bool there)
{
	if (there)
		(void)leave(ctx, r->file.p,
			    "another program installed this package; 'slipway env update' can, so that it stays");
}

static void hand_over(struct carry *c, struct carry_report *ret)
{
	*ret = (struct carry_report){c->n, vec_copy(&c->left, c->arena), c->left.n};
}

static int carry_all(struct env_hold *h, uint32_t from, uint32_t number, struct carry *c, struct err *e)
{
	char name[16];
	snprintf(name, sizeof(name), "%u", from);
	auto_fd old = fs_open_dir(h->dir_fd, name, e);
	if (old < 0 || manifest_read(old, &c->m, e) < 0 ||
	    env_generation_lock(h->st, &c->m.arena, str_c(h->name), from, &c->lock, e) < 0)
		return -1;
	manifest_strangers(&c->m, &c->lock, leave_stranger, c);
	c->old_fd = old;
	c->old_prefix = arena_printf(&c->m.arena, "%s/env/%s/%u/", h->st->root_path, h->name, from);
	c->new_prefix = arena_printf(&c->m.arena, "%s/env/%s/%u/", h->st->root_path, h->name, number);
	return fs_walk(old, ".", carry_entry, c, e);
}

int generation_carry(struct env_hold *h, uint32_t from, int new_fd, uint32_t number, struct arena *a,
		     struct carry_report *ret, struct err *e)
{
	*ret = (struct carry_report){0};
	if (!from)
		return 0;
	struct carry c = {
		.new_fd = new_fd,
		.umask = place_umask(),
		.path = BUF_INIT(BUF_MAX),
		.arena = a,
		.block = xmalloc(SMALL_FILE),
	};
	int rc = carry_all(h, from, number, &c, e);
	if (rc == 0)
		hand_over(&c, ret);
	carry_release(&c);
	return rc;
}
