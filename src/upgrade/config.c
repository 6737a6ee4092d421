// SPDX-License-Identifier: Apache-2.0
/*
 * Configuration files that a person may change. What was there before is kept in ROOT/checkpoint/<env>/<operation>/config.json, as
 * text, before anything is written.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "base/json.h"
#include "upgrade/run.h"

enum { MAX_CONFIG = 1 << 20, MAX_KEPT = 16 << 20 };

static const char *kept_in(const struct run *r, struct arena *a)
{
	return arena_printf(a, "checkpoint/%.*s/%.*s", STR_ARG(r->o->env), STR_ARG(r->op.id));
}

static const char *prefix_of(const struct run *r, struct arena *a, uint32_t generation)
{
	return arena_printf(a, "%s/env/%.*s/%u", r->o->root_path, STR_ARG(r->o->env), generation);
}

/* 1 and the text, or 0 where there is no such file. */
static int read_text(struct arena *a, const char *path, struct str *ret, struct err *e)
{
	auto_buf b = BUF_INIT(MAX_CONFIG);
	struct err gone = ERR_INIT;
	if (fs_read(AT_FDCWD, path, &b, &gone) < 0)
		return gone.code == ERR_NOT_FOUND ? 0 : (*e = gone, -1);
	*ret = arena_str(a, buf_str(&b));
	return 1;
}

/* What one file is to become. */
struct change {
	const char *path;	    /* the configuration file */
	struct str now, old, fresh; /* its text; the old and the new default */
	bool is_there, has_old, has_fresh;
	const char *write_to; /* NULL: nothing is written */
};

static int read_change(const struct run *r, struct arena *a, const struct config_decl *d, uint32_t from, uint32_t to,
		       struct change *ret, struct err *e)
{
	*ret = (struct change){.path = arena_strdup(a, d->path)};
	const char *fresh = arena_printf(a, "%s/%.*s", prefix_of(r, a, to), STR_ARG(d->default_file));
	const char *old = arena_printf(a, "%s/%.*s", prefix_of(r, a, from), STR_ARG(d->default_file));
	int there = read_text(a, ret->path, &ret->now, e),
	    has_fresh = there < 0 ? -1 : read_text(a, fresh, &ret->fresh, e);
	int has_old = has_fresh < 0 ? -1 : from ? read_text(a, old, &ret->old, e) : 0;
	if (has_old < 0)
		return -1;
	ret->is_there = there;
	ret->has_fresh = has_fresh;
	ret->has_old = has_old;
	if (!has_fresh || (there && str_eq(ret->now, ret->fresh)))
		return 0;
	if (!there || (has_old && str_eq(ret->now, ret->old)))
		ret->write_to = ret->path;
	else if (!has_old || !str_eq(ret->old, ret->fresh))
		ret->write_to = arena_printf(a, "%s.default", ret->path);
	return 0;
}

static int make_parent(struct arena *a, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	return slash > path ? fs_mkdirs(AT_FDCWD, arena_printf(a, "%.*s", (int)(slash - path), path), 0755, e) : 0;
}

typedef int change_fn(const struct run *r, struct arena *a, const struct config_decl *d, const struct change *c,
		      void *ctx, struct err *e);

static int each_change(const struct run *r, struct arena *a, uint32_t from, uint32_t to, change_fn *fn, void *ctx,
		       struct err *e)
{
	struct component *c;
	size_t n;
	if (component_read_all(a, prefix_of(r, a, to), &c, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		for (uint32_t k = 0; k < c[i].configs_n; k++) {
			struct change change;
			if (read_change(r, a, &c[i].configs[k], from, to, &change, e) < 0 ||
			    fn(r, a, &c[i].configs[k], &change, ctx, e) < 0)
				return err_ctx(e, "configuration of component '%.*s'", STR_ARG(c[i].name));
		}
	}
	return 0;
}

static int keep_one(const struct run *r, struct arena *a, const struct config_decl *d, const struct change *c,
		    void *ctx, struct err *e)
{
	struct jw *w = ctx;
	struct str before = STR_NONE;
	(void)r, (void)d;
	if (!c->write_to)
		return 0;
	int there = read_text(a, c->write_to, &before, e);
	if (there < 0)
		return -1;
	jw_object(w);
	jw_kv_c(w, "path", c->write_to);
	jw_kv_bool(w, "there", there);
	jw_kv_str(w, "before", before);
	jw_kv_str(w, "after", c->fresh);
	jw_object_end(w);
	return 0;
}

static int write_one(const struct run *r, struct arena *a, const struct config_decl *d, const struct change *c,
		     void *ctx, struct err *e)
{
	(void)d, (void)ctx;
	if (!c->write_to)
		return 0;
	if (make_parent(a, c->write_to, e) < 0 ||
	    fs_replace(AT_FDCWD, c->write_to, c->fresh.p, c->fresh.n, FS_REPLACE_SYNC, e) < 0)
		return -1;
	if (c->write_to != c->path)
		run_note(r, "'%s' was changed here and is kept; the new default is '%s'", c->path, c->write_to);
	else
		run_note(r, "'%s' %s", c->path, c->is_there ? "has the new default" : "is made from its default");
	return 0;
}

/* What is about to be written is kept as it was first. */
static int write_changes(const struct run *r, uint32_t from, uint32_t to, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(MAX_KEPT);
	struct jw w = JW_INIT(&b, 1);
	jw_array(&w);
	if (each_change(r, &a, from, to, keep_one, &w, e) < 0)
		return -1;
	jw_array_end(&w);
	if (b.n <= 2)
		return 0;
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "configuration files hold more than %d bytes", MAX_KEPT);
	auto_fd dir = fs_open_dir_make(r->o->root_fd, kept_in(r, &a), e);
	if (dir < 0 || fs_replace(dir, "config.json", b.p, b.n, FS_REPLACE_SYNC | FS_REPLACE_SECRET, e) < 0)
		return -1;
	return each_change(r, &a, from, to, write_one, NULL, e);
}

int config_update(const struct run *r, uint32_t from, uint32_t to, struct err *e)
{
	auto_buf old = BUF_INIT(BUF_MAX);
	if (write_changes(r, from, to, e) < 0 || config_deprecated(r, to, &old, e) < 0)
		return -1;
	if (old.n)
		run_note(r, "%s\nchange what is deprecated in that file, then 'slipway stop' and 'slipway start'",
			 old.p);
	return 0;
}

/* Only what is still as it was written here is put back: what a person changed meanwhile is theirs. */
static int restore_one(const struct run *r, struct arena *a, const struct json *j, struct err *e)
{
	struct str path, before, after, now = STR_NONE;
	bool was_there = false;
	if (json_get_str(j, "path", &path, e) < 0 || json_get_str(j, "before", &before, e) < 0 ||
	    json_get_str(j, "after", &after, e) < 0 || json_opt_bool(j, "there", &was_there, e) < 0)
		return -1;
	const char *file = arena_strdup(a, path);
	if (fs_replace_clean(AT_FDCWD, file, e) < 0)
		return -1;
	int there = read_text(a, file, &now, e);
	if (there <= 0)
		return there;
	if (!str_eq(now, after)) {
		if (!str_eq(now, before))
			run_note(r, "'%s' was changed since the activation and is kept", file);
		return 0;
	}
	if (was_there)
		return fs_replace(AT_FDCWD, file, before.p, before.n, FS_REPLACE_SYNC, e);
	const char *slash = strrchr(file, '/');
	return fs_remove_tree(AT_FDCWD, file, e) < 0
		       ? -1
		       : fs_sync_dir(AT_FDCWD, arena_printf(a, "%.*s", (int)(slash > file ? slash - file : 1), file),
				     e);
}

int config_restore(const struct run *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(MAX_KEPT);
	struct err gone = ERR_INIT;
	const char *file = arena_printf(&a, "%s/config.json", kept_in(r, &a));
	if (!r->op.id.n)
		return 0;
	if (fs_read(r->o->root_fd, file, &b, &gone) < 0)
		return gone.code == ERR_NOT_FOUND ? 0 : (*e = gone, -1);
	const struct json *j = json_parse(&a, buf_str(&b), file, e);
	if (!j)
		return -1;
	for (uint32_t i = 0; j->type == JSON_ARRAY && i < j->n; i++)
		if (restore_one(r, &a, &j->item[i], e) < 0)
			return -1;
	return 0;
}

/* -- deprecated parameters ---------------------------------------------------------------------------------------- */

static bool is_word_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
	       c == '.';
}

/* A parameter in use: the first word of a line that is no comment, in whatever syntax the file has. */
static bool uses(struct str text, struct str parameter)
{
	struct str line;
	while (str_take_line(&text, &line)) {
		line = str_trim(line);
		while (line.n && (line.p[0] == '"' || line.p[0] == '\''))
			line = str_skip(line, 1);
		if (str_starts(line, parameter) && (line.n == parameter.n || !is_word_byte(line.p[parameter.n])))
			return true;
	}
	return false;
}

static int list_deprecated(const struct run *r, struct arena *a, const struct config_decl *d, const struct change *c,
			   void *ctx, struct err *e)
{
	struct buf *b = ctx;
	(void)r, (void)a, (void)e;
	for (uint32_t i = 0; c->is_there && i < d->deprecated_n; i++)
		if (uses(c->now, d->deprecated[2 * i]))
			buf_printf(b, "%s'%s': '%.*s' is deprecated: %.*s", b->n ? "\n" : "", c->path,
				   STR_ARG(d->deprecated[2 * i]), STR_ARG(d->deprecated[2 * i + 1]));
	return 0;
}

int config_deprecated(const struct run *r, uint32_t to, struct buf *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	return to ? each_change(r, &a, 0, to, list_deprecated, ret, e) : 0;
}
