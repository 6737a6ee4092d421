// SPDX-License-Identifier: Apache-2.0
/*
 * What a step changed, in a folder of its own: the upper of an overlayfs over those of all its parents. The sandbox mounts it; here are
 * only the folders, and for each layer the list of those below it (`lower`), so that a chain of any length is one file to read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/vec.h"
#include "layer/internal.h"

enum { PACK_AT = 12, LOWER_MAX = 490 };
unsigned overlay_fold_at = 32;

VEC_TYPE(paths, const char *);

static void paths_release(struct paths *p)
{
	vec_release(p);
}
#define auto_paths cleanup_with(paths_release) struct paths

/* The folders below the entry at path, topmost first, as lines; none where there is no list. */
static int read_lower(struct layers *l, const char *path, struct buf *ret, struct err *e)
{
	struct place list = place_of("%s/lower", path);
	struct err missing = ERR_INIT;
	if (fs_read(l->dir, list.s, ret, &missing) == 0 || missing.code == ERR_NOT_FOUND)
		return 0;
	*e = missing;
	return -1;
}

static int add_lines(struct layers *l, struct str lines, struct arena *a, struct paths *ret, struct err *e)
{
	struct str line;
	while (str_take_line(&lines, &line)) {
		if (!fs_path_is_inside(line))
			return err_new(e, ERR_INPUT, "a list of lower layers in '%s' is damaged", l->path);
		vec_push(ret, arena_printf(a, "%s/%.*s", l->path, STR_ARG(line)));
	}
	return 0;
}

static int overlay_root(struct layers *l, const char *path, struct arena *a, struct sandbox_root *ret, struct err *e)
{
	auto_buf lines = BUF_INIT(LOWER_FILE_MAX);
	auto_paths lower = {0};
	vec_push(&lower, arena_printf(a, "%s/%s/fs", l->path, path));
	if (read_lower(l, path, &lines, e) < 0 || add_lines(l, buf_str(&lines), a, &lower, e) < 0)
		return -1;
	if (lower.n == 1) {
		*ret = (struct sandbox_root){.dir = lower.v[0], .readonly = true};
		return 0;
	}
	*ret = (struct sandbox_root){.lower = vec_copy(&lower, a), .n_lower = lower.n, .readonly = true};
	return 0;
}

static int make_folder(struct layers *l, const struct place *at, struct err *e)
{
	if (sys_mkdirat(l->dir, at->s, 0755) < 0 || sys_fchmodat(l->dir, at->s, 0755) < 0)
		return err_sys(e, "make folder '%s/%s'", l->path, at->s);
	return 0;
}

static int write_lower(struct layers *l, const char *path, const struct buf *lines, struct err *e)
{
	struct place list = place_of("%s/lower", path);
	auto_fd fd = sys_openat(l->dir, list.s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(e, "create '%s/%s'", l->path, list.s);
	return fs_write_all(fd, lines->p, lines->n, list.s, e);
}

/* The newest layers of a long chain, from the parent down to the last that were made one: their folders become one here, below this layer. `all`
 * is the list, in which base/ then takes their place. Where that goes wrong the chain stays as long as it is. */
static int fold(struct layers *l, const char *path, struct paths *all, struct arena *a, struct err *e)
{
	struct place base = place_of("%s/base", path);
	struct layer_id id;
	struct err kept = ERR_INIT;
	size_t n = 0;
	while (n < all->n && n < overlay_fold_at && !str_ends(str_c(all->v[n]), STR("/base")))
		n++;
	if (n < overlay_fold_at || !str_starts(str_c(path), STR("tmp/")) || !layer_id_parse(str_c(path + 4), &id))
		return 0;
	if (inside_merge(l, all->v, n, n < all->n, base.s, &kept) < 0)
		return inside_remove(l, base.s, e);
	all->v[0] = arena_printf(a, "layer/%s/base", id.hex);
	memmove(all->v + 1, all->v + n, (all->n - n) * sizeof(*all->v));
	all->n -= n - 1;
	return 1;
}

/* The list of what lies below, as it will be when the layer has its name. */
static int list_below(struct layers *l, const char *path, const char *parent, struct arena *a, struct paths *ret,
		      bool *ret_folded, struct err *e)
{
	auto_buf lines = BUF_INIT(LOWER_FILE_MAX);
	struct str line;
	buf_printf(&lines, "%s/fs\n", parent);
	if (read_lower(l, parent, &lines, e) < 0)
		return -1;
	for (struct str s = buf_str(&lines); str_take_line(&s, &line);)
		vec_push(ret, arena_strdup(a, line));
	int r = fold(l, path, ret, a, e);
	if (r < 0)
		return -1;
	*ret_folded = r > 0;
	if (ret->n > LOWER_MAX)
		return err_new(e, ERR_LIMIT, "more than %d layers on each other: let a step do more", LOWER_MAX);
	buf_clear(&lines);
	vec_foreach(p, ret)
		buf_printf(&lines, "%s\n", *p);
	return write_lower(l, path, &lines, e);
}

/* An upper shows its own owner, mode and attributes as the root's: they begin as the parent's. */
static int begin_on(struct layers *l, const char *path, const char *parent, struct arena *a, struct sandbox_root *ret,
		    struct err *e)
{
	auto_paths lower = {0};
	bool folded;
	struct place fs = place_of("%s/fs", path), below = place_of("%s/fs", parent), work = place_of("%s/work", path);
	if (list_below(l, path, parent, a, &lower, &folded, e) < 0 || make_folder(l, &work, e) < 0 ||
	    inside_copy_meta(l, below.s, fs.s, e) < 0)
		return -1;
	if (folded)
		lower.v[0] = arena_printf(a, "%s/base", path); /* until it has its name */
	vec_foreach(p, &lower) {
		if (!fs_path_is_inside(str_c(*p)))
			return err_new(e, ERR_INPUT, "the list of what is below '%s/%s' is damaged", l->path, parent);
		*p = arena_printf(a, "%s/%s", l->path, *p);
	}
	*ret = (struct sandbox_root){
		.lower = vec_copy(&lower, a),
		.n_lower = lower.n,
		.upper = arena_printf(a, "%s/%s", l->path, fs.s),
		.work = arena_printf(a, "%s/%s", l->path, work.s),
	};
	return 0;
}

static int overlay_begin(struct layers *l, const char *path, const char *parent, struct arena *a,
			 struct sandbox_root *ret, struct err *e)
{
	struct place fs = place_of("%s/fs", path);
	if (make_folder(l, &fs, e) < 0)
		return -1;
	if (parent)
		return begin_on(l, path, parent, a, ret, e);
	*ret = (struct sandbox_root){.dir = arena_printf(a, "%s/%s", l->path, fs.s)};
	return 0;
}

static int overlay_finish(struct layers *l, const char *path, uint64_t *ret_bytes, struct err *e)
{
	struct place fs = place_of("%s/fs", path), work = place_of("%s/work", path);
	if (inside_remove(l, work.s, e) < 0)
		return -1;
	return inside_bytes(l, fs.s, false, ret_bytes, e);
}

/* The two that are exchanged show different things on top of `lower`: where it cannot go after that, all of this is of no use. */
static int use_packed(struct layers *l, const char *path, uint64_t *bytes, struct err *e)
{
	struct place fs = place_of("%s/fs", path), packed = place_of("%s/packed", path),
		     list = place_of("%s/lower", path);
	if (sys_renameat2(l->dir, packed.s, l->dir, fs.s, RENAME_EXCHANGE) < 0 || sys_unlinkat(l->dir, list.s, 0) < 0)
		return err_sys(e, "put '%s/%s' in place", l->path, fs.s);
	return inside_remove(l, packed.s, e) < 0 ? -1 : inside_bytes(l, fs.s, true, bytes, e);
}

static int overlay_pack(struct layers *l, const char *path, uint64_t *bytes, struct err *e)
{
	auto_buf lines = BUF_INIT(LOWER_FILE_MAX);
	auto_paths folders = {0};
	auto_arena a = ARENA_INIT;
	struct err kept = ERR_INIT;
	struct str line;
	struct place fs = place_of("%s/fs", path), packed = place_of("%s/packed", path);
	if (read_lower(l, path, &lines, e) < 0)
		return -1;
	vec_push(&folders, fs.s);
	for (struct str s = buf_str(&lines); str_take_line(&s, &line);)
		vec_push(&folders, arena_strdup(&a, line));
	if (folders.n < PACK_AT)
		return 0;
	if (inside_merge(l, folders.v, folders.n, false, packed.s, &kept) < 0)
		return inside_remove(l, packed.s, e); /* it stays in pieces: a matter of speed */
	return use_packed(l, path, bytes, e);
}

static int overlay_remove(struct layers *l, const char *path, struct err *e)
{
	return inside_remove(l, path, e);
}

/* does it work here */

static int use_it(void *ctx, struct err *e)
{
	(void)ctx;
	return sys_unlinkat(AT_FDCWD, "/file", 0) < 0 ? err_sys(e, "remove a file of the lower folder") : 0;
}

/* The mount that a step's sandbox makes, and a file of the lower folder removed in it. */
static int try_mount(const char *const folder[3], struct err *e)
{
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	o.root = (struct sandbox_root){.lower = folder, .n_lower = 1, .upper = folder[1], .work = folder[2]};
	return sandbox_call(&o, NULL, 0, use_it, NULL, e);
}

static int overlay_probe(struct layers *l, const char *path, struct buf *why, struct err *e)
{
	static const char *const name[] = {"lower", "upper", "work"};
	const char *folder[3];
	struct err not_here = ERR_INIT;
	auto_arena a = ARENA_INIT;
	for (size_t i = 0; i < 3; i++) {
		struct place at = place_of("%s/%s", path, name[i]);
		if (make_folder(l, &at, e) < 0)
			return -1;
		folder[i] = arena_printf(&a, "%s/%s", l->path, at.s);
	}
	struct place file = place_of("%s/lower/file", path);
	auto_fd fd = sys_openat(l->dir, file.s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(e, "create '%s/%s'", l->path, file.s);
	if (try_mount(folder, &not_here) == 0)
		return 1;
	buf_printf(why, "overlay: %s; ", not_here.msg);
	return 0;
}

const struct backend backend_overlay = {
	.kind = LAYER_OVERLAY,
	.name = "overlay",
	.probe = overlay_probe,
	.begin = overlay_begin,
	.finish = overlay_finish,
	.root = overlay_root,
	.pack = overlay_pack,
	.remove = overlay_remove,
};
