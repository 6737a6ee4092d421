// SPDX-License-Identifier: Apache-2.0
/* Layers: found, made, held, synced. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "layer/internal.h"

struct layer_work {
	struct layers *l;
	struct layer_info info; /* id, parent, depth */
	struct place tmp;
	struct arena a;
	struct sandbox_root root;
	int lock, parent_hold, log;
};

static struct place place_tmp(const struct layer_id *id)
{
	return place_of("tmp/%s", id->hex);
}

int layer_find(struct layers *l, const struct layer_id *id, struct arena *a, struct layer_info *ret, struct err *e)
{
	struct place at = place_layer(id);
	int r = about_read(l, &at, true, a, ret, e);
	if (r > 0)
		ret->id = *id;
	return r;
}

/* It may get its name between the two places that are looked at. */
int layer_open_log(struct layers *l, const struct layer_id *id, struct err *e)
{
	const struct place in[] = {place_layer(id), place_tmp(id), place_layer(id)};
	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		struct place log = place_of("%s/log", in[i].s);
		int fd = openat(l->dir, log.s, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd >= 0 || errno != ENOENT)
			return fd < 0 ? err_sys(e, "open '%s/%s'", l->path, log.s) : fd;
	}
	return err_new(e, ERR_NOT_FOUND, "there is no layer '%s' in '%s'", id->hex, l->path);
}

/* making */

static void work_free(struct layer_work *w)
{
	cleanup_fd(&w->log);
	cleanup_fd(&w->lock);
	cleanup_fd(&w->parent_hold);
	arena_release(&w->a);
	free(w);
}
DEFINE_AUTO(struct layer_work *, work_memory, work_free);

static int hold_parent(struct layer_work *w, struct err *e)
{
	struct layer_info info;
	struct place at = place_layer(&w->info.parent);
	w->parent_hold = entry_hold(w->l, &at, e);
	if (w->parent_hold < 0)
		return -1;
	int r = about_read(w->l, &at, true, &w->a, &info, e);
	if (r == 0)
		return err_new(e, ERR_NOT_FOUND, "there is no layer '%s' in '%s'", w->info.parent.hex, w->l->path);
	if (r > 0 && info.depth >= LAYER_DEPTH_MAX)
		return err_new(e, ERR_LIMIT, "more than %d layers on each other: let a step do more", LAYER_DEPTH_MAX);
	w->info.depth = info.depth + 1;
	return r < 0 ? -1 : 0;
}

static int make_tree(struct layer_work *w, struct err *e)
{
	struct place at = place_layer(&w->info.id), log = place_of("%s/log", w->tmp.s);
	struct place parent = place_layer(&w->info.parent);
	if (fs_exists(w->l->dir, at.s))
		return err_new(e, ERR_EXISTS, "layer '%s' is there already", w->info.id.hex);
	w->log = openat(w->l->dir, log.s, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
	if (w->log < 0)
		return err_sys(e, "open '%s/%s'", w->l->path, log.s);
	return w->l->ops->begin(w->l, w->tmp.s, *w->info.parent.hex ? parent.s : NULL, &w->a, &w->root, e);
}

int layer_begin(struct layers *l, const struct layer_id *id, const struct layer_id *parent, struct layer_work **ret,
		struct err *e)
{
	auto_ptr(work_memory) w = xcalloc(1, sizeof(*w));
	*w = (struct layer_work){.l = l, .tmp = place_tmp(id), .lock = -1, .parent_hold = -1, .log = -1};
	w->info.id = *id;
	if (parent)
		w->info.parent = *parent;
	tmp_clear(l);
	if ((parent && hold_parent(w, e) < 0) || entry_make(l, &w->tmp, &w->lock, e) < 0)
		return err_ctx(e, "begin layer '%s'", id->hex);
	struct place named = place_layer(id);
	bool is_there = faccessat(l->dir, named.s, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (is_there || make_tree(w, e) < 0) {
		entry_abandon(l, &w->tmp, w->lock);
		return is_there ? err_new(e, ERR_EXISTS, "layer '%s' is there already", id->hex)
				: err_ctx(e, "begin layer '%s'", id->hex);
	}
	*ret = steal_ptr(&w);
	return 0;
}

const struct sandbox_root *layer_work_root(const struct layer_work *w)
{
	return &w->root;
}

int layer_work_log_fd(const struct layer_work *w)
{
	return w->log;
}

static int commit(struct layer_work *w, struct str about, struct err *e)
{
	struct place to = place_layer(&w->info.id);
	w->info.about = about;
	w->info.created_ms = clock_wall_ms();
	if (w->l->ops->finish(w->l, w->tmp.s, &w->info.bytes, e) < 0 || about_write(w->l, &w->tmp, &w->info, e) < 0)
		return -1;
	int r = house_hold(w->l, false, e);
	if (r == 0)
		r = entry_name(w->l, &w->tmp, w->lock, &to, w->info.id.hex, e);
	house_open(w->l);
	return r == 0 ? err_new(e, ERR_EXISTS, "layer '%s' is there already", w->info.id.hex) : r;
}

int layer_work_commit(struct layer_work *w, struct str about, struct err *e)
{
	auto_ptr(work_memory) done = w;
	if (commit(w, about, e) > 0)
		return 0;
	entry_abandon(w->l, &w->tmp, w->lock);
	return err_ctx(e, "keep layer '%s'", w->info.id.hex);
}

void layer_work_abort(struct layer_work *w)
{
	auto_ptr(work_memory) done = w;
	if (w)
		entry_abandon(w->l, &w->tmp, w->lock);
}

/* 1 somebody holds it as its maker, 0 nobody does. */
static int is_made(struct layers *l, const struct layer_id *id, struct err *e)
{
	struct place tmp = place_tmp(id), log = place_of("%s/log", tmp.s);
	auto_fd fd = openat(l->dir, log.s, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open '%s/%s'", l->path, log.s);
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK || errno == EINTR ? 1 : err_sys(e, "lock '%s/%s'", l->path, log.s);
}

int layer_wait(struct layers *l, const struct layer_id *id, int64_t wait_ms, struct err *e)
{
	enum { PAUSE_MAX_MS = 20 };
	int64_t until = clock_mono_ms() + wait_ms, pause_ms = 1;
	for (;;) {
		int r = is_made(l, id, e);
		int64_t left = until - clock_mono_ms();
		if (r <= 0 || left <= 0)
			return r < 0 ? -1 : r == 0;
		if (pause_ms > left)
			pause_ms = left;
		(void)poll(NULL, 0, (int)pause_ms);
		pause_ms = pause_ms < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
}

int layer_keep(struct layers *l, const struct layer_id *id, struct err *e)
{
	struct place at = place_layer(id);
	int hold = entry_hold(l, &at, e);
	return hold < 0 ? err_ctx(e, "use layer '%s'", id->hex) : hold;
}

int layer_hold(struct layers *l, const struct layer_id *id, struct arena *a, struct sandbox_root *ret, int *ret_hold_fd,
	       struct err *e)
{
	struct place at = place_layer(id);
	auto_fd hold = entry_hold(l, &at, e);
	if (hold < 0 || l->ops->root(l, at.s, a, ret, e) < 0)
		return err_ctx(e, "use layer '%s'", id->hex);
	*ret_hold_fd = steal_fd(&hold);
	return 0;
}

/* syncing */

/* What a mark names is whole, and will be on disk with everything that is. */
static bool has_its_name(struct layers *l, struct str mark, struct place *ret)
{
	struct layer_id id;
	ptrdiff_t dot = str_rfind(mark, '.');
	if (layer_id_parse(mark, &id))
		*ret = place_layer(&id);
	else if (dot > 0)
		*ret = place_of("cache/%.*s/%.*s", (int)dot, mark.p, (int)(mark.n - (size_t)dot - 1), mark.p + dot + 1);
	else
		return false;
	return fs_exists(l->dir, ret->s);
}

/* Tells what a layer takes on disk, where that shows only now. A hint: what goes wrong changes nothing. */
static void measure_again(struct layers *l, const char *mark_name)
{
	struct str boot, mark;
	struct place at;
	struct layer_info info;
	struct err ignored = ERR_INIT;
	auto_arena a = ARENA_INIT;
	uint64_t bytes;
	if (!l->ops->measure || !mark_parse(str_c(mark_name), &boot, &mark) || !has_its_name(l, mark, &at))
		return;
	auto_fd hold = entry_hold(l, &at, &ignored);
	if (hold < 0 || about_read(l, &at, false, &a, &info, &ignored) <= 0 ||
	    l->ops->measure(l, at.s, &bytes, &ignored) < 0 || bytes <= info.bytes)
		return;
	info.bytes = bytes;
	(void)about_replace(l, &at, &info, &ignored);
}

/* The marks of this boot, with the house held: none is there whose maker has yet to name what it tells of, so that those without it are of what
 * was removed. Another process may be taking its marks away. */
static int marks_read(struct layers *l, struct fs_list *ret, struct err *e)
{
	struct str boot, mark;
	struct place named;
	if (fs_list(l->dir, "unsynced", FOLDER_MAX, ret, e) < 0)
		return -1;
	for (size_t i = 0; i < ret->n; i++) {
		struct place at = place_of("unsynced/%.255s", ret->name[i]);
		bool ours = mark_parse(str_c(ret->name[i]), &boot, &mark) && str_eq_c(boot, l->boot);
		if (ours && !has_its_name(l, mark, &named) && sys_unlinkat(l->dir, at.s, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s/%s'", l->path, at.s);
		if (!ours || !fs_exists(l->dir, at.s))
			ret->name[i][0] = '\0';
	}
	return 0;
}

static int sync_marked(struct layers *l, struct err *e)
{
	auto_fs_list marks = {0};
	int r = house_hold(l, true, e) < 0 ? -1 : marks_read(l, &marks, e);
	house_open(l);
	if (r < 0 || !marks.n)
		return r;
	if (sys_syncfs(l->dir) < 0)
		return err_sys(e, "'%s'", l->path);
	for (size_t i = 0; i < marks.n; i++) {
		struct place at = place_of("unsynced/%.255s", marks.name[i]);
		measure_again(l, marks.name[i]);
		if (*marks.name[i] && sys_unlinkat(l->dir, at.s, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s/%s'", l->path, at.s);
	}
	return fs_sync_dir(l->dir, "unsynced",
			   e); /* else the next boot may still see them, and remove what is on disk */
}

int layers_sync(struct layers *l, struct err *e)
{
	if (sync_marked(l, e) < 0)
		return err_ctx(e, "sync layers");
	l->made = false;
	return 0;
}
