// SPDX-License-Identifier: Apache-2.0
/*
 * Channels of recipes, as `to:PATH.spr` names them: recipes (doc/formats/spr.md) in folders as their keeper likes, each with release
 * notes beside it (PATH.md), and takeout.json, which lists them with size and digest (doc/formats/takeout.md).
 *
 * A recipe never changes under its name, but for those that are called latest.spr: these are for who follows what is newest.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/vec.h"
#include "channel/kind.h"
#include "channel/staging.h"

enum { LIST_MAX = 64 << 20, RECIPE_MAX = 256 << 20, NOTES_MAX = 1 << 20, ENTRIES_MAX = 200000 };
#define LIST "takeout.json"

static bool is_latest(struct str path)
{
	ptrdiff_t slash = str_rfind(path, '/');
	struct str name = str_skip(path, (size_t)(slash + 1));
	return str_eq(name, STR("latest.spr")) || str_eq(name, STR("latest.md"));
}

static enum channel_file takeout_file(struct str path)
{
	if (str_eq(path, STR(LIST)))
		return CHANNEL_FILE_POINTER;
	if (path.p[0] == '.' || (!str_ends(path, STR(".spr")) && !str_ends(path, STR(".md"))))
		return CHANNEL_FILE_NONE;
	return is_latest(path) ? CHANNEL_FILE_NAMED : CHANNEL_FILE_PACKAGE;
}

static const char *takeout_type(struct str path)
{
	return str_ends(path, STR(".spr")) || str_ends(path, STR(".md")) ? "text/plain; charset=utf-8" : NULL;
}

/* -- the list ------------------------------------------------------------------------------------------------------- */

static int read_file(struct arena *a, const struct json *j, struct channel_takeout_file *ret, struct err *e)
{
	struct str sha;
	int64_t size;
	if (json_get_str(j, "path", &ret->path, e) < 0 || json_get_str(j, "sha256", &sha, e) < 0 ||
	    json_get_int(j, "size", &size, e) < 0)
		return -1;
	if (!channel_path_is_normal(ret->path) || takeout_file(ret->path) == CHANNEL_FILE_NONE ||
	    takeout_file(ret->path) == CHANNEL_FILE_POINTER)
		return err_new(e, ERR_INPUT, "%s: offset %zu: 'path' leads nowhere in such a channel", j->where,
			       j->offset);
	if (size < 0 || size > RECIPE_MAX || !str_unhex(sha, ret->sha256, SHA256_SIZE))
		return err_new(e, ERR_INPUT, "%s: offset %zu: 'size' or 'sha256' is none", j->where, j->offset);
	ret->path = arena_str(a, ret->path);
	ret->size = (uint64_t)size;
	return 0;
}

static int read_entry(struct arena *a, const struct json *j, struct channel_takeout *ret, struct err *e)
{
	const struct json *notes = NULL;
	if (j->type != JSON_OBJECT)
		return err_new(e, ERR_INPUT, "%s: offset %zu: a recipe is an object", j->where, j->offset);
	if (read_file(a, j, &ret->recipe, e) < 0 || json_opt_object(j, "notes", &notes, e) < 0 ||
	    (notes && read_file(a, notes, &ret->notes, e) < 0) || json_opt_str(j, "platform", &ret->platform, e) < 0 ||
	    json_opt_str(j, "os", &ret->os, e) < 0 || json_opt_str(j, "disabled", &ret->disabled, e) < 0 ||
	    json_opt_int(j, "released", &ret->released_ms, e) < 0)
		return -1;
	ret->platform = arena_str(a, ret->platform);
	ret->os = arena_str(a, ret->os);
	ret->disabled = arena_str(a, ret->disabled);
	return channel_os_check(ret->os, e) < 0 ? err_ctx(e, "%s: offset %zu: 'os'", j->where, j->offset) : 0;
}

int channel_takeout_read(struct arena *a, struct str text, const char *where, struct channel_takeout **ret,
			 size_t *ret_n, struct err *e)
{
	const struct json *list = NULL;
	int64_t version;
	if (text.n > LIST_MAX)
		return err_new(e, ERR_LIMIT, "%s: longer than %d MiB", where, LIST_MAX >> 20);
	const struct json *j = json_parse(a, arena_str(a, text), where, e);
	if (!j || json_get_int(j, "takeout", &version, e) < 0 || json_opt_array(j, "recipes", &list, e) < 0)
		return -1;
	if (version != 1)
		return err_new(e, ERR_UNSUPPORTED, "%s: version %lld of the format; this program knows 1", where,
			       (long long)version);
	*ret_n = list ? list->n : 0;
	if (*ret_n > ENTRIES_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d recipes", where, ENTRIES_MAX);
	*ret = arena_array(a, struct channel_takeout, *ret_n + 1);
	for (size_t i = 0; i < *ret_n; i++)
		if (read_entry(a, &list->item[i], &(*ret)[i], e) < 0)
			return -1;
	return 0;
}

static int read_list(int dir, struct arena *a, struct channel_takeout **ret, size_t *ret_n, struct err *e)
{
	auto_buf b = BUF_INIT(LIST_MAX);
	*ret_n = 0;
	int rc = staging_read(dir, LIST, &b, e);
	if (rc <= 0)
		return rc;
	return channel_takeout_read(a, buf_str(&b), LIST, ret, ret_n, e);
}

static void put_file(struct jw *w, const struct channel_takeout_file *f)
{
	jw_kv_str(w, "path", f->path);
	jw_kv_int(w, "size", (int64_t)f->size);
	jw_kv_hex(w, "sha256", f->sha256, SHA256_SIZE);
}

static void put_list(struct buf *b, const struct channel_takeout *v, size_t n)
{
	struct jw w = JW_INIT(b, 1);
	jw_object(&w);
	jw_kv_int(&w, "takeout", 1);
	jw_key(&w, "recipes");
	jw_array(&w);
	for (size_t i = 0; i < n; i++) {
		jw_object(&w);
		put_file(&w, &v[i].recipe);
		jw_kv_opt(&w, "platform", v[i].platform);
		jw_kv_opt(&w, "os", v[i].os);
		jw_kv_int(&w, "released", v[i].released_ms);
		if (v[i].notes.path.n) {
			jw_key(&w, "notes");
			jw_object(&w);
			put_file(&w, &v[i].notes);
			jw_object_end(&w);
		}
		jw_kv_opt(&w, "disabled", v[i].disabled);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

/* -- following ------------------------------------------------------------------------------------------------------ */

struct takeout_walk {
	struct channel_walk base;
	int dir;
	const struct channel_walk_opts *o;
	int stage;
};

static int walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e)
{
	int dir = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0);
	if (dir < 0)
		return err_sys(e, "open the channel's folder");
	struct takeout_walk *w = xcalloc(1, sizeof(*w));
	w->dir = dir;
	w->o = o;
	*ret = &w->base;
	return 0;
}

static int tell(const struct channel_takeout *t, const struct channel_takeout_file *f, channel_item_fn *fn, void *ctx,
		struct err *e)
{
	struct channel_item item = {
		.path = f->path,
		.size = f->size,
		.digest = {.kind = DIGEST_SHA256, .known = true},
		.what = takeout_file(f->path),
		.name = t->recipe.path,
		.platform = t->platform,
		.time_ms = t->released_ms,
		.withdrawn = t->disabled,
	};
	memcpy(item.digest.bytes, f->sha256, SHA256_SIZE);
	return fn(ctx, &item, e);
}

static bool is_wanted(const struct takeout_walk *w, const struct channel_takeout *t)
{
	return walk_wants_name(w->o, t->recipe.path) &&
	       (!t->platform.n || walk_wants(w->o->platforms, w->o->platforms_n, t->platform));
}

static int walk_next(struct channel_walk *base, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct takeout_walk *w = (struct takeout_walk *)base;
	struct channel_item list = {.path = STR(LIST), .what = CHANNEL_FILE_POINTER};
	auto_arena a = ARENA_INIT;
	struct channel_takeout *v = NULL;
	size_t n;
	if (w->stage == 2)
		return 0;
	if (w->stage++ == 0)
		return fn(ctx, &list, e) < 0 ? -1 : 1;
	if (!fs_exists(w->dir, LIST))
		return err_new(e, ERR_NOT_FOUND, "'" LIST "' could not be had");
	if (read_list(w->dir, &a, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (is_wanted(w, &v[i]) && (tell(&v[i], &v[i].recipe, fn, ctx, e) < 0 ||
					    (v[i].notes.path.n && tell(&v[i], &v[i].notes, fn, ctx, e) < 0)))
			return -1;
	return 1;
}

static int takeout_learn(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct channel_takeout *v = NULL;
	size_t n = 0;
	if (!str_eq(path, STR(LIST)))
		return 0;
	if (read_list(c->folder, &a, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (tell(&v[i], &v[i].recipe, fn, ctx, e) < 0 ||
		    (v[i].notes.path.n && tell(&v[i], &v[i].notes, fn, ctx, e) < 0))
			return -1;
	return 0;
}

static void walk_free(struct channel_walk *base)
{
	struct takeout_walk *w = (struct takeout_walk *)base;
	cleanup_fd(&w->dir);
	free(w);
}

/* -- publishing ----------------------------------------------------------------------------------------------------- */

struct publishing {
	struct staging t;
	const struct channel_make_opts *o;
	VEC(struct channel_takeout) list;
};

static void publishing_release(struct publishing *p)
{
	staging_release(&p->t);
	vec_release(&p->list);
}
#define auto_publishing cleanup_with(publishing_release) struct publishing

/* A recipe's first line that means something begins with `recipe`; its platform is the line `subdir`. */
static int look_at_recipe(struct arena *a, struct str text, const char *where, struct channel_takeout *ret,
			  struct err *e)
{
	struct str line, word;
	bool begun = false;
	while (str_take_line(&text, &line)) {
		line = str_trim(line);
		if (!line.n || line.p[0] == '#')
			continue;
		if (!str_take_word(&line, &word) || (!begun && !str_eq(word, STR("recipe"))))
			break;
		begun = true;
		if (str_eq(word, STR("subdir")))
			ret->platform = arena_str(a, str_trim(line));
		else if (str_eq(word, STR("os")))
			ret->os = str_c(arena_printf(a, "%.*s%s%.*s", STR_ARG(ret->os), ret->os.n ? "; " : "",
						     STR_ARG(str_trim(line))));
	}
	if (channel_os_check(ret->os, e) < 0)
		return err_ctx(e, "'%s'", where);
	return begun ? 0 : err_new(e, ERR_INPUT, "'%s' is no recipe: it begins with 'recipe N'", where);
}

/* Where it goes: the folder that was asked for, and its own name. */
static int place_of(struct publishing *p, const char *file, struct str *ret, struct err *e)
{
	struct str path = str_c(file), folder = p->o->suite;
	struct str name = str_skip(path, (size_t)(str_rfind(path, '/') + 1));
	while (str_ends(folder, STR("/")))
		folder.n--;
	*ret = folder.n ? str_c(arena_printf(&p->t.arena, "%.*s/%.*s", STR_ARG(folder), STR_ARG(name)))
			: arena_str(&p->t.arena, name);
	enum channel_file what = channel_path_is_normal(*ret) ? takeout_file(*ret) : CHANNEL_FILE_NONE;
	return what == CHANNEL_FILE_PACKAGE || what == CHANNEL_FILE_NAMED
		       ? 0
		       : err_new(e, ERR_INPUT, "'%.*s' is no path of a recipe (.spr) or of its release notes (.md)",
				 STR_ARG(*ret));
}

static struct channel_takeout *entry_of(struct publishing *p, struct str recipe)
{
	vec_foreach(t, &p->list)
		if (str_eq(t->recipe.path, recipe))
			return t;
	return NULL;
}

static int stage(struct publishing *p, const char *file, struct channel_takeout_file *f, struct err *e)
{
	char *path = arena_strdup(&p->t.arena, f->path);
	return staging_put_file(&p->t, path, file, f->sha256, p->o->replace || is_latest(f->path), e);
}

static int put_recipe(struct publishing *p, const char *file, struct str path, struct str text, struct err *e)
{
	struct channel_takeout new = {.recipe = {.path = path, .size = text.n},
				      .released_ms = p->o->now_ms ? p->o->now_ms : clock_wall_ms()};
	sha256(text.p, text.n, new.recipe.sha256);
	if (look_at_recipe(&p->t.arena, text, file, &new, e) < 0 || stage(p, file, &new.recipe, e) < 0)
		return -1;
	struct channel_takeout *old = entry_of(p, path);
	if (!old) {
		vec_push(&p->list, new);
		return 0;
	}
	new.notes = old->notes;
	new.disabled = old->disabled;
	if (memcmp(old->recipe.sha256, new.recipe.sha256, SHA256_SIZE) != 0)
		*old = new;
	return 0;
}

static int put_notes(struct publishing *p, const char *file, struct str path, struct str text, struct err *e)
{
	struct str recipe = str_c(arena_printf(&p->t.arena, "%.*s.spr", (int)(path.n - 3), path.p));
	struct channel_takeout *of = entry_of(p, recipe);
	struct channel_takeout_file notes = {.path = path, .size = text.n};
	if (!of)
		return err_new(e, ERR_NOT_FOUND,
			       "'%s' tells of '%.*s', which is not there; publish it first, or together", file,
			       STR_ARG(recipe));
	if (text.n > NOTES_MAX)
		return err_new(e, ERR_LIMIT, "'%s': release notes of more than %d MiB", file, NOTES_MAX >> 20);
	sha256(text.p, text.n, notes.sha256);
	of->notes = notes;
	return stage(p, file, &of->notes, e);
}

static int put_files(struct publishing *p, const char *const *files, size_t n, const char *ending, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		auto_buf b = BUF_INIT(RECIPE_MAX);
		struct str path;
		if (place_of(p, files[i], &path, e) < 0)
			return -1;
		if (!str_ends(path, str_c(ending)))
			continue;
		if (fs_read(AT_FDCWD, files[i], &b, e) < 0 ||
		    (str_ends(path, STR(".spr")) ? put_recipe : put_notes)(p, files[i], path, buf_str(&b), e) < 0)
			return -1;
	}
	return 0;
}

static int entry_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct channel_takeout *)a)->recipe.path,
		       ((const struct channel_takeout *)b)->recipe.path);
}

static int begin(struct publishing *p, const char *folder, const struct channel_make_opts *o, struct err *e)
{
	struct channel_takeout *v = NULL;
	size_t n;
	p->o = o;
	if (staging_open_for(&p->t, folder, o, e) < 0 || read_list(p->t.dir, &p->t.arena, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		vec_push(&p->list, v[i]);
	return 0;
}

static int end(struct publishing *p, struct err *e)
{
	auto_buf b = BUF_INIT(LIST_MAX);
	vec_sort(&p->list, entry_cmp);
	put_list(&b, p->list.v, p->list.n);
	if (b.overflow || p->list.n > ENTRIES_MAX)
		return err_new(e, ERR_LIMIT, "more recipes than a channel may have");
	return staging_put_text(&p->t, LIST, buf_str(&b), e) < 0 ? -1 : staging_commit(&p->t, e);
}

static int publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		   struct progress *progress, struct err *e)
{
	auto_publishing p = {.t = STAGING_INIT};
	(void)progress; /* recipes are small */
	if (begin(&p, folder, o, e) < 0 || put_files(&p, files, n, ".spr", e) < 0 ||
	    put_files(&p, files, n, ".md", e) < 0)
		return -1;
	return end(&p, e);
}

static int rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		   const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e)
{
	auto_publishing p = {.t = STAGING_INIT};
	struct channel_takeout *v = NULL;
	size_t n;
	(void)from;
	p.o = o;
	if (staging_open_for(&p.t, folder, o, e) < 0 || read_list(from_fd, &p.t.arena, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct channel_item item = {.path = v[i].recipe.path,
						  .name = v[i].recipe.path,
						  .what = takeout_file(v[i].recipe.path),
						  .size = v[i].recipe.size,
						  .platform = v[i].platform,
						  .time_ms = v[i].released_ms};
		int rc = keep(ctx, &item, e);
		if (rc < 0)
			return -1;
		if (rc > 0)
			vec_push(&p.list, v[i]);
	}
	return end(&p, e);
}

static int remove_some(const char *folder, const struct str *paths, size_t n, enum channel_removal how,
		       struct str reason, const struct channel_make_opts *o, struct err *e)
{
	auto_publishing p = {.t = STAGING_INIT};
	if (begin(&p, folder, o, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct channel_takeout *t = entry_of(&p, paths[i]);
		if (!t)
			return err_new(e, ERR_NOT_FOUND, "'%.*s' is no recipe of this channel", STR_ARG(paths[i]));
		if (how == CHANNEL_YANK) {
			t->disabled = reason.n ? reason : STR("withdrawn");
			continue;
		}
		staging_drop(&p.t, arena_strdup(&p.t.arena, t->recipe.path));
		if (t->notes.path.n)
			staging_drop(&p.t, arena_strdup(&p.t.arena, t->notes.path));
		*t = vec_pop(&p.list);
	}
	return end(&p, e);
}

const struct channel_kind kind_takeout = {
	.name = "takeout",
	.marks = LIST,
	.packages = ".spr",
	.file = takeout_file,
	.type = takeout_type,
	.walk_new = walk_new,
	.walk_next = walk_next,
	.walk_free = walk_free,
	.learn = takeout_learn,
	.publish = publish,
	.rewrite = rewrite,
	.remove = remove_some,
};
