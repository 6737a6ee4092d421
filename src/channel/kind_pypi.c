// SPDX-License-Identifier: Apache-2.0
/*
 * Channels of Python packages: simple/ (PEP 503 and 691), and packages/ with files and their .metadata (PEP 658).
 *
 * A page is a folder that a server answers with one of two files; which, is for the request's Accept to say.
 */
#include <stdlib.h>

#include "base/fs.h"
#include "base/vec.h"
#include "channel/kind.h"
#include "channel/pypi.h"

/* -- paths --------------------------------------------------------------------------------------------------------- */

static bool is_page(struct str name)
{
	return str_eq_c(name, PYPI_JSON) || str_eq_c(name, PYPI_HTML);
}

static enum channel_file pypi_file_of(struct str path)
{
	struct str project;
	if (str_take_str(&path, STR("packages/")))
		return str_ends(path, STR(".metadata")) ? CHANNEL_FILE_NAMED : CHANNEL_FILE_PACKAGE;
	if (!str_take_str(&path, STR("simple/")))
		return CHANNEL_FILE_NONE;
	if (str_take_until(&path, '/', &project) && !pypi_is_name(project))
		return CHANNEL_FILE_NONE;
	return is_page(path) ? CHANNEL_FILE_POINTER : CHANNEL_FILE_NONE;
}

static const char *pypi_type(struct str path)
{
	return str_ends(path, STR("/" PYPI_JSON)) ? "application/vnd.pypi.simple.v1+json"
	       : str_ends(path, STR(".metadata")) ? "text/plain; charset=utf-8"
						  : NULL;
}

/* -- what is accepted (RFC 9110, 12.5.1) --------------------------------------------------------------------------- */

/* "0.001" … "1" in thousandths; what is malformed counts as 1. */
static int quality(struct str s)
{
	int v = 0, unit = 1000;
	bool behind = false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.' && !behind)
			behind = true;
		else if (s.p[i] < '0' || s.p[i] > '9')
			return 1000;
		else if (behind)
			v += (s.p[i] - '0') * (unit /= 10);
		else
			v = (s.p[i] - '0') * 1000;
	}
	return v > 1000 ? 1000 : v;
}

struct preference {
	int quality, exact; /* exact: 3 the very type, 2 text/ * and the like, 1 any, 0 not accepted */
};

static struct str take_part(struct str *s, char stop)
{
	struct str part;
	if (!str_take_until(s, stop, &part)) {
		part = *s;
		*s = STR_NONE;
	}
	return str_trim(part);
}

/* The most exact range that holds the type counts. */
static struct preference prefers(struct str accept, const char *const *types)
{
	struct preference best = {0};
	while (accept.n) {
		struct str range = take_part(&accept, ','), type = take_part(&range, ';');
		struct preference p = {.quality = 1000};
		for (struct str q; range.n;) {
			q = take_part(&range, ';');
			if (str_take_str(&q, STR("q=")) || str_take_str(&q, STR("Q=")))
				p.quality = quality(str_trim(q));
		}
		for (size_t i = 0; types[i] && !p.exact; i++)
			if (str_casecmp(type, str_c(types[i])) == 0)
				p.exact = 3;
		/* what is sent is of the first type */
		if (!p.exact && str_ends(type, STR("/*")) && type.p[0] != '*' &&
		    str_casecmp(str_head(str_c(types[0]), type.n - 1), str_head(type, type.n - 1)) == 0)
			p.exact = 2;
		if (!p.exact && str_eq(type, STR("*/*")))
			p.exact = 1;
		if (p.exact && (p.exact > best.exact || (p.exact == best.exact && p.quality > best.quality)))
			best = p;
	}
	return best;
}

static int pypi_index_of(struct str folder, struct str accept, struct arena *a, struct str *ret)
{
	static const char *const json[] = {"application/vnd.pypi.simple.v1+json",
					   "application/vnd.pypi.simple.latest+json", NULL};
	static const char *const html[] = {"text/html", "application/vnd.pypi.simple.v1+html",
					   "application/vnd.pypi.simple.latest+html", NULL};
	struct str path = str_eq(folder, STR("simple")) ? folder : STR_NONE;
	if (str_take_str(&folder, STR("simple/"))) {
		struct str name = pypi_normal(a, folder);
		if (pypi_is_name(name))
			path = str_c(arena_printf(a, "simple/%.*s", STR_ARG(name)));
	}
	if (!path.n)
		return 0;
	struct preference j = prefers(accept, json), h = prefers(accept, html);
	if (!str_trim(accept).n)
		h.quality = 1000;
	if (j.quality == 0 && h.quality == 0)
		return 0;
	/* who asks for both alike by name gets JSON; who takes anything is a browser, or an old client */
	bool is_json = j.quality != h.quality ? j.quality > h.quality : j.exact > h.exact || j.exact == 3;
	*ret = str_c(arena_printf(a, "%.*s/%s", STR_ARG(path), is_json ? PYPI_JSON : PYPI_HTML));
	return 1;
}

/* -- walk ---------------------------------------------------------------------------------------------------------- */

#define ACCEPT "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

VEC_TYPE(name_vec, struct str);
struct walk {
	struct channel_walk base;
	int dir;
	struct arena arena;
	struct channel_walk_opts o; /* names in normal form */
	struct name_vec names;	    /* projects */
	bool listed;		    /* names come from the index: one that is gone meanwhile is no error */
	enum { W_BEGIN, W_INDEX, W_PAGES, W_END } stage;
};

static int walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e)
{
	(void)e;
	struct walk *w = xcalloc(1, sizeof(*w));
	struct str *names = arena_array(&w->arena, struct str, o->names_n + 1);
	w->dir = folder_fd;
	w->o = *o;
	w->o.names = names;
	w->listed = o->names_n == 0;
	for (size_t i = 0; i < o->names_n; i++) {
		names[i] = pypi_normal(&w->arena, o->names[i]);
		w->listed |= str_find(o->names[i], '*') >= 0;
	}
	*ret = &w->base;
	return 0;
}

static void walk_free(struct channel_walk *base)
{
	struct walk *w = (struct walk *)base;
	vec_release(&w->names);
	arena_release(&w->arena);
	free(w);
}

/* simple/NAME/, or simple/ itself. */
static int tell_page(struct walk *w, struct str name, channel_item_fn *fn, void *ctx, struct err *e)
{
	const char *slash = name.n ? "/" : "";
	struct channel_item item = {
		.path = str_c(arena_printf(&w->arena, "simple/%.*s%s" PYPI_JSON, STR_ARG(name), slash)),
		.url = str_c(arena_printf(&w->arena, "simple/%.*s%s", STR_ARG(name), slash)),
		.accept = ACCEPT,
		.what = CHANNEL_FILE_POINTER,
		.optional = name.n && w->listed,
		.name = name,
	};
	return fn(ctx, &item, e);
}

static int tell_pages(struct walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct pypi_index x = {w->o.names, w->o.names_n};
	if (w->listed) {
		int rc = pypi_index_load(w->dir, &w->arena, &x, e);
		if (rc <= 0)
			return rc < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "'simple/%s' is not there", PYPI_JSON);
	}
	for (size_t i = 0; i < x.n; i++) {
		if (!pypi_is_name(x.name[i]) && !w->listed)
			return err_new(e, ERR_USAGE, "'%.*s' is no name of a Python project", STR_ARG(x.name[i]));
		if (w->listed && !walk_wants_name(&w->o, x.name[i]))
			continue;
		vec_push(&w->names, x.name[i]);
		if (tell_page(w, x.name[i], fn, ctx, e) < 0)
			return -1;
	}
	return 0;
}

/* "manylinux_2_17_x86_64.manylinux2014_x86_64": one of them is enough. */
static bool wants_platform(const struct channel_walk_opts *o, struct str platform)
{
	if (o->platforms_n == 0 || !platform.n)
		return true;
	while (platform.n) {
		struct str tag = take_part(&platform, '.');
		if (str_eq(tag, STR("any")))
			return true;
		for (size_t i = 0; i < o->platforms_n; i++)
			if (str_glob(o->platforms[i], tag))
				return true;
	}
	return false;
}

static int page_tell(const struct channel_walk_opts *o, const struct pypi_page *p, channel_item_fn *fn, void *ctx,
		     bool *away, struct err *e)
{
	for (size_t i = 0; i < p->n; i++) {
		auto_arena a = ARENA_INIT;
		struct channel_item item, metadata;
		if (!wants_platform(o, p->file[i].platform) || !pypi_item(&a, p, &p->file[i], &item))
			continue;
		*away |= item.url.n > 0;
		if (pypi_metadata_item(&a, &p->file[i], &item, &metadata) && fn(ctx, &metadata, e) < 0)
			return -1;
		if (fn(ctx, &item, e) < 0)
			return -1;
	}
	return 0;
}

static int tell_files(struct walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	vec_foreach(name, &w->names) {
		auto_arena a = ARENA_INIT;
		struct pypi_page p;
		int rc = pypi_page_load(w->dir, &a, *name, &p, e);
		if (rc == 0 && w->listed)
			continue;
		if (rc == 0)
			return err_new(e, ERR_NOT_FOUND, "'simple/%.*s/%s' is not there", STR_ARG(*name), PYPI_JSON);
		/* of a page that was fetched there is one form, whichever the server chose */
		w->base.leads_away |= !fs_exists(w->dir, arena_printf(&a, "simple/%.*s/" PYPI_HTML, STR_ARG(*name)));
		if (rc < 0 || page_tell(&w->o, &p, fn, ctx, &w->base.leads_away, e) < 0)
			return -1;
	}
	return 0;
}

static int walk_next(struct channel_walk *base, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct walk *w = (struct walk *)base;
	switch (w->stage) {
	case W_BEGIN:
		w->stage = w->listed ? W_INDEX : W_PAGES;
		return (w->listed ? tell_page(w, STR_NONE, fn, ctx, e) : tell_pages(w, fn, ctx, e)) < 0 ? -1 : 1;
	case W_INDEX:
		w->stage = W_PAGES;
		return tell_pages(w, fn, ctx, e) < 0 ? -1 : 1;
	case W_PAGES:
		w->stage = W_END;
		return tell_files(w, fn, ctx, e) < 0 ? -1 : 1;
	case W_END:
		break;
	}
	return 0;
}

/* -- what a proxy serves ------------------------------------------------------------------------------------------- */

static bool pypi_address(struct str path, struct arena *a, struct channel_item *ret)
{
	if (pypi_file_of(path) != CHANNEL_FILE_POINTER)
		return false;
	*ret = (struct channel_item){.url = arena_str(a, str_head(path, (size_t)(str_rfind(path, '/') + 1))),
				     .accept = ACCEPT,
				     .what = CHANNEL_FILE_POINTER};
	return true;
}

static int localize(struct str path, struct str text, struct buf *out, channel_item_fn *fn, void *ctx, struct err *e)
{
	static const struct channel_walk_opts all = {0};
	auto_arena a = ARENA_INIT;
	struct str rest = str_skip(path, 7), name; /* simple/ */
	bool away = false, is_json = str_ends(path, STR("/" PYPI_JSON));
	auto_free char *where = str_dup(path);
	if (!str_take_until(&rest, '/', &name)) {
		struct pypi_index x;
		if (pypi_index_read(&a, text, where, &x, e) < 0)
			return -1;
		is_json ? pypi_index_json(&x, out) : pypi_index_html(&x, out);
	} else {
		struct pypi_page p;
		if (pypi_page_read(&a, name, text, where, &p, e) < 0 || page_tell(&all, &p, fn, ctx, &away, e) < 0)
			return -1;
		pypi_page_localize(&a, &p);
		is_json ? pypi_page_json(&p, out) : pypi_page_html(&p, out);
	}
	return out->overflow ? err_new(e, ERR_LIMIT, "%s: it would exceed %zu bytes", where, out->max) : 0;
}

/* Every page is made anew: its links lead to files here, whichever form and place they had. */
static int pypi_learn(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx, struct err *e)
{
	auto_buf text = BUF_INIT(PYPI_INDEX_MAX), out = BUF_INIT(PYPI_INDEX_MAX);
	auto_free char *name = str_dup(path);
	auto_free char *folder = str_dup(str_head(path, (size_t)(str_rfind(path, '/') + 1)));
	if (pypi_file_of(path) != CHANNEL_FILE_POINTER)
		return 0;
	return fs_read(c->folder, name, &text, e) < 0 || localize(path, buf_str(&text), &out, fn, ctx, e) < 0 ||
			       fs_mkdirs(c->made, folder, 0755, e) < 0 ||
			       fs_replace(c->made, name, out.p, out.n, 0, e) < 0
		       ? -1
		       : 1;
}

const struct channel_kind kind_pypi = {
	.name = "pypi",
	.marks = "simple/index.html simple/index.v1_json simple/*/index.html simple/*/index.v1_json",
	.packages = ".whl .tar.gz .zip",
	.file = pypi_file_of,
	.type = pypi_type,
	.index = pypi_index_of,
	.walk_new = walk_new,
	.walk_next = walk_next,
	.walk_free = walk_free,
	.address = pypi_address,
	.learn = pypi_learn,
	.publish = pypi_publish,
	.rewrite = pypi_rewrite,
	.remove = pypi_remove,
};
