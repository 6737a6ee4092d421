// SPDX-License-Identifier: Apache-2.0
/* build gc, build cache: what builds left, and no longer need. */
#include "base/fs.h"
#include "build/build.h"
#include "cmd/change.h"
#include "cmd/job.h"
#include "cmd/layers.h"
#include "git/git.h"
#include "image/image.h"

enum { SHOWN_ID = 12, DEFAULT_DAYS = 30 };
static const int64_t day_ms = (int64_t)24 * 3600 * 1000;

struct gc_args {
	const char *store, *older_than, *max_size, *keep_free;
	bool caches;
	struct cmd_list words;
};

static int opts_of(struct cmd_context *c, const struct gc_args *a, struct layer_gc_opts *o, struct err *e)
{
	*o = (struct layer_gc_opts){
		.now_ms = clock_wall_ms(),
		.older_than_ms = a->max_size || a->keep_free ? -1 : DEFAULT_DAYS * day_ms,
		.max_bytes = UINT64_MAX,
		.caches = a->caches,
		.dry_run = c->dry_run,
	};
	if (a->words.n)
		return err_new(e, ERR_USAGE, "unexpected word '%s'", a->words.v[0]);
	if (a->older_than && cmd_read_age("--older-than", a->older_than, &o->older_than_ms, e) < 0)
		return -1;
	if (cmd_read_size("--max-size", a->max_size, &o->max_bytes, e) < 0)
		return -1;
	return cmd_read_size("--keep-free", a->keep_free, &o->keep_free_bytes, e);
}

/* What else than layers and caches of steps is asked for by layers_gc. */
struct around {
	const char *git_dir;
	struct git_cache_info *git;
	size_t n_git, n_images;
	VEC(struct git_scratch) away; /* copies of repositories that go when others need not wait any more */
};

static void around_release(struct around *r)
{
	vec_foreach(s, &r->away)
		git_scratch_release(s);
	vec_release(&r->away);
}
#define auto_around cleanup_with(around_release) struct around

static int names_of_images(void *ctx, struct layers *l, struct arena *a, const struct layer_id **ret, size_t *ret_n,
			   struct err *e)
{
	struct around *r = ctx;
	if (image_layers(l, a, ret, ret_n, e) < 0)
		return -1;
	r->n_images = *ret_n;
	return 0;
}

/* The one of that URL, or folder. */
static const struct git_cache_info *find_copy(const struct git_cache_info *v, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i].url, name) || str_eq(v[i].name, name))
			return &v[i];
	return NULL;
}

static int take_copy(void *ctx, struct str name, bool dry_run, struct err *e)
{
	struct around *r = ctx;
	struct git_scratch s = GIT_SCRATCH_INIT;
	const struct git_cache_info *copy = find_copy(r->git, r->n_git, name);
	if (dry_run)
		return git_cache_is_free(r->git_dir, copy->name, e);
	int got = git_cache_take_away(r->git_dir, copy->name, &s, e);
	if (got > 0)
		vec_push(&r->away, s);
	return got;
}

static int git_copies(struct arena *a, struct layers *l, const char **ret_dir, struct git_cache_info **ret, size_t *n,
		      struct err *e)
{
	*ret_dir = arena_printf(a, "%s/git", layers_path(l));
	return git_caches(*ret_dir, a, ret, n, e);
}

static int gc(struct layers *l, struct layer_gc_opts *o, struct around *r, struct arena *a, struct layer_gc *ret,
	      struct err *e)
{
	o->names = names_of_images;
	o->take_other = take_copy;
	o->ctx = r;
	if (o->caches && git_copies(a, l, &r->git_dir, &r->git, &r->n_git, e) < 0)
		return -1;
	struct layer_gc_other *others = arena_array(a, struct layer_gc_other, r->n_git + 1);
	for (size_t i = 0; i < r->n_git; i++)
		others[i] = (struct layer_gc_other){r->git[i].url, r->git[i].used_ms, r->git[i].bytes};
	o->others = others;
	o->n_others = r->n_git;
	if (layers_gc(l, o, a, ret, e) < 0)
		return -1;
	if (!o->dry_run)
		build_forget(l);
	return 0;
}

static void put_item(struct jw *w, const void *ctx, size_t i)
{
	const struct layer_gc_item *item = &((const struct layer_gc *)ctx)->v[i];
	if (item->cache.n)
		jw_kv_str(w, "cache", item->cache);
	else if (item->other.n)
		jw_kv_str(w, "git", item->other);
	else
		jw_kv_c(w, "layer", item->id.hex);
	jw_kv_int(w, "used_ms", item->used_ms);
	jw_kv_int(w, "bytes", (int64_t)item->bytes);
	jw_kv_c(w, "why", layer_gc_why_name(item->why));
}

static int answer_gc(struct cmd_context *c, const struct layer_gc *r)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "gc");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_objects(w, "removed", r->n, put_item, r);
	jw_kv_int(w, "freed_bytes", (int64_t)r->freed_bytes);
	jw_kv_int(w, "kept_bytes", (int64_t)r->kept_bytes);
	jw_kv_int(w, "kept", (int64_t)r->kept);
	return cmd_answer_print(c, &a);
}

static int print_gc(struct cmd_context *c, const struct layer_gc_opts *o, size_t n_images, const struct layer_gc *r)
{
	static const char *const titles[] = {"What", "Used (UTC)", "Size", "Why"};
	struct out_table t = {.titles = titles, .columns = 4, .right = 1 << 2, .whole = 1 << 0};
	auto_buf freed = BUF_INIT(64), kept = BUF_INIT(64);
	for (size_t i = 0; i < r->n; i++) {
		const struct layer_gc_item *item = &r->v[i];
		auto_buf used = BUF_INIT(64), size = BUF_INIT(64);
		clock_put_table(&used, item->used_ms);
		out_put_size(&size, item->bytes);
		if (item->cache.n)
			out_table_cell(&t, "cache %.*s", STR_ARG(item->cache));
		else if (item->other.n)
			out_table_cell(&t, "git %.*s", STR_ARG(item->other));
		else
			out_table_cell(&t, "%.*s", SHOWN_ID, item->id.hex);
		out_table_cell(&t, "%s", used.p);
		out_table_cell(&t, "%s", size.p);
		out_table_cell(&t, "%s", layer_gc_why_name(item->why));
	}
	if (r->n)
		out_table_print(&c->out, &t);
	out_put_size(&freed, r->freed_bytes);
	out_put_size(&kept, r->kept_bytes);
	cmd_say(c, "%s %s; %zu stay%s, %s", c->dry_run ? "would free" : "freed", freed.p, r->kept,
		r->kept == 1 ? "s" : "", kept.p);
	if (r->kept_bytes > o->max_bytes)
		cmd_say(c, "%zu base image%s, what stands in use%s stay: 'slipway image remove NAME'%s", n_images,
			n_images == 1 ? "" : "s", o->caches ? "" : " and caches",
			o->caches ? "" : ", 'slipway build gc --caches'");
	return CMD_OK;
}

/* Jobs whose hint was last built before the youngest of what went may miss something of it. Files are stamped with the time of the kernel's
 * last tick, jobs with that of the clock. */
static void tell_queue(struct cmd_context *c, const struct layer_gc *r)
{
	enum { TICK_MS = 10 };
	int64_t last = 0;
	for (size_t i = 0; i < r->n; i++)
		if (r->v[i].used_ms > last)
			last = r->v[i].used_ms;
	if (r->n)
		cmd_hints_pruned(c, last + TICK_MS + 1);
}

int cmd_build_gc(struct cmd_context *c, int argc, char **argv)
{
	struct gc_args a = {0};
	struct layer_gc_opts o;
	auto_around around = {0};
	struct layer_gc r;
	auto_ptr(layers) l = NULL;
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		{0, "older-than", CMD_TEXT, &a.older_than}, {0, "max-size", CMD_TEXT, &a.max_size},
		{0, "keep-free", CMD_TEXT, &a.keep_free},   {0, "caches", CMD_FLAG, &a.caches},
		{0, "store", CMD_TEXT, &a.store},	    {0, NULL, CMD_FLAG, NULL},
	};
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	if (rc == 0 && !c->help)
		rc = opts_of(c, &a, &o, &e);
	vec_release(&a.words);
	if (rc < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	if (!c->dry_run)
		cmd_if_interrupted(c, "what is gone is gone; the same command goes on");
	if (cmd_need_layers(c, a.store, &l, &e) < 0 || gc(l, &o, &around, &c->arena, &r, &e) < 0)
		return cmd_fail(c, &e);
	if (!c->dry_run)
		cmd_changed(c);
	if (!c->dry_run && !a.store)
		tell_queue(c, &r);
	return c->json ? answer_gc(c, &r) : print_gc(c, &o, around.n_images, &r);
}

void cmd_build_make_room(struct cmd_context *c, struct layers *l)
{
	struct err e = ERR_INIT;
	struct layer_gc r;
	auto_around around = {0};
	struct layer_gc_opts o = {.older_than_ms = -1, .max_bytes = UINT64_MAX, .caches = true};
	auto_buf freed = BUF_INIT(64);
	if (!c->dry_run && cmd_need_config(c, &e) == 0)
		o.keep_free_bytes = c->config.build.keep_free_bytes;
	if (!o.keep_free_bytes || fs_check_space(layers_dirfd(l), o.keep_free_bytes, &e) == 0)
		return;
	e = ERR_INIT;
	if (gc(l, &o, &around, &c->arena, &r, &e) < 0) {
		cmd_warn(c, "no room could be made: %s", e.msg);
		return;
	}
	out_put_size(&freed, r.freed_bytes);
	if (r.n)
		cmd_say(c, "freed %s of what was unused longest (keep_free in config.yml)", freed.p);
}

/* -- cache ------------------------------------------------------------------------------------------------------------- */

struct caches {
	struct layer_cache_info *step;
	struct git_cache_info *git;
	const char *git_dir;
	size_t n_step, n_git;
};

static int read_caches(struct cmd_context *c, struct layers *l, struct caches *ret, struct err *e)
{
	if (layer_caches(l, &c->arena, &ret->step, &ret->n_step, e) < 0)
		return -1;
	return git_copies(&c->arena, l, &ret->git_dir, &ret->git, &ret->n_git, e);
}

static void put_cache(struct jw *w, const void *ctx, size_t i)
{
	const struct layer_cache_info *v = ctx;
	jw_kv_str(w, "name", v[i].name);
	jw_kv_int(w, "used_ms", v[i].used_ms);
	jw_kv_int(w, "bytes", (int64_t)v[i].bytes);
}

static void put_copy(struct jw *w, const void *ctx, size_t i)
{
	const struct git_cache_info *v = ctx;
	jw_kv_str(w, "url", v[i].url);
	jw_kv_int(w, "used_ms", v[i].used_ms);
	jw_kv_int(w, "bytes", (int64_t)v[i].bytes);
}

static void cache_row(struct out_table *t, const char *kind, struct str name, int64_t used_ms, uint64_t bytes)
{
	auto_buf used = BUF_INIT(64), size = BUF_INIT(64);
	clock_put_table(&used, used_ms);
	out_put_size(&size, bytes);
	out_table_cell(t, "%.*s", STR_ARG(name));
	out_table_cell(t, "%s", kind);
	out_table_cell(t, "%s", used.p);
	out_table_cell(t, "%s", size.p);
}

static int list_caches(struct cmd_context *c, struct layers *l, struct err *e)
{
	static const char *const titles[] = {"Name", "Of", "Used (UTC)", "Size"};
	struct out_table t = {.titles = titles, .columns = 4, .right = 1 << 3, .whole = 1 << 0};
	auto_answer a = {0};
	struct caches v = {0};
	if (read_caches(c, l, &v, e) < 0)
		return cmd_fail(c, e);
	if (c->json) {
		struct jw *w = cmd_answer(&a);
		jw_kv_objects(w, "caches", v.n_step, put_cache, v.step);
		jw_kv_objects(w, "git", v.n_git, put_copy, v.git);
		return cmd_answer_print(c, &a);
	}
	for (size_t i = 0; i < v.n_step; i++)
		cache_row(&t, "steps", v.step[i].name, v.step[i].used_ms, v.step[i].bytes);
	for (size_t i = 0; i < v.n_git; i++)
		cache_row(&t, "git", v.git[i].url, v.git[i].used_ms, v.git[i].bytes);
	if (v.n_step + v.n_git)
		out_table_print(&c->out, &t);
	else
		cmd_say(c, "no step has a cache here, and no repository");
	return CMD_OK;
}

static int remove_copy(const struct caches *v, const struct git_cache_info *copy, struct err *e)
{
	struct git_scratch s = GIT_SCRATCH_INIT;
	int got = git_cache_take_away(v->git_dir, copy->name, &s, e);
	git_scratch_release(&s);
	if (got == 0)
		return err_new(e, ERR_BUSY, "remove the copy of '%.*s': a build uses it; try again when that is done",
			       STR_ARG(copy->url));
	return got < 0 ? -1 : 0;
}

static int remove_cache(struct cmd_context *c, struct layers *l, const char *name, struct err *e)
{
	auto_answer a = {0};
	struct caches v = {0};
	size_t i = 0;
	if (read_caches(c, l, &v, e) < 0)
		return cmd_fail(c, e);
	while (i < v.n_step && !str_eq_c(v.step[i].name, name))
		i++;
	const struct git_cache_info *copy = i < v.n_step ? NULL : find_copy(v.git, v.n_git, str_c(name));
	if (i == v.n_step && !copy) {
		err_new(e, ERR_NOT_FOUND, "there is no cache '%s'; 'slipway build cache list' shows them", name);
		return cmd_fail(c, e);
	}
	if (!c->dry_run && (copy ? remove_copy(&v, copy, e) : layer_cache_remove(l, v.step[i].name, e)) < 0)
		return cmd_fail(c, e);
	if (!c->dry_run)
		cmd_changed(c);
	auto_buf size = BUF_INIT(64);
	out_put_size(&size, copy ? copy->bytes : v.step[i].bytes);
	cmd_say(c, "%s cache '%s', %s", c->dry_run ? "would remove" : "removed", name, size.p);
	if (!c->json)
		return CMD_OK;
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", "remove");
	jw_kv_bool(w, "dry_run", c->dry_run);
	if (copy)
		put_copy(w, copy, 0);
	else
		put_cache(w, v.step, i);
	return cmd_answer_print(c, &a);
}

int cmd_build_cache(struct cmd_context *c, int argc, char **argv)
{
	const char *store = NULL, *verb = "", *name = NULL;
	auto_ptr(layers) l = NULL;
	struct cmd_list words = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		{0, "store", CMD_TEXT, &store},
		{0, NULL, CMD_FLAG, NULL},
	};
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	if (words.n)
		verb = words.v[0];
	if (words.n == 2)
		name = words.v[1];
	bool removes = strcmp(verb, "remove") == 0;
	if (rc == 0 && !c->help && !(removes ? name != NULL : strcmp(verb, "list") == 0 && words.n == 1))
		rc = err_new(&e, ERR_USAGE,
			     "what of the caches? as in: slipway build cache list, slipway build cache remove NAME");
	vec_release(&words);
	if (rc < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	if (cmd_need_layers(c, store, &l, &e) < 0)
		return cmd_fail(c, &e);
	return removes ? remove_cache(c, l, name, &e) : list_caches(c, l, &e);
}
