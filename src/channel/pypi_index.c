// SPDX-License-Identifier: Apache-2.0
/* The list of all projects of an index: simple/. */
#include <stdlib.h>

#include "base/map.h"
#include "base/vec.h"
#include "channel/pypi.h"
#include "channel/pypi_html.h"
#include "channel/staging.h"

enum { PROJECTS_MAX = 4 << 20 };
VEC_TYPE(name_vec, struct str);

struct reading {
	struct arena *a;
	struct map seen;
	struct name_vec names;
};

static void add_name(struct reading *r, struct str text)
{
	struct str name = pypi_normal(r->a, text);
	if (!pypi_is_name(name) || map_get(&r->seen, name))
		return;
	*map_put(&r->seen, name) = 1;
	vec_push(&r->names, name);
}

static int read_html(struct reading *r, struct str text, const char *where, struct err *e)
{
	struct html h = {.text = text, .arena = r->a};
	struct html_tag t;
	struct str href;
	while (html_next(&h, &t)) {
		if (!str_eq(t.name, STR("a")) || !html_attribute(&t, "href", &href))
			continue;
		if (r->names.n >= PROJECTS_MAX)
			return err_new(e, ERR_LIMIT, "%s: more than %d projects", where, PROJECTS_MAX);
		str_take_str(&href, STR("./"));
		/* the folder that the anchor leads to is the name, whatever is written on it */
		struct str folder = str_ends(href, STR("/")) ? str_head(href, href.n - 1) : href;
		add_name(r, str_skip(folder, (size_t)(str_rfind(folder, '/') + 1)));
	}
	return 0;
}

static int read_json(struct reading *r, struct str text, const char *where, struct err *e)
{
	auto_arena tree = ARENA_INIT;
	const struct json *top = json_parse(&tree, text, where, e), *list;
	if (!top || json_opt_array(top, "projects", &list, e) < 0)
		return -1;
	if (list && list->n > PROJECTS_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d projects", where, PROJECTS_MAX);
	for (uint32_t i = 0; list && i < list->n; i++) {
		const struct json *name = json_get(&list->item[i], "name");
		if (name && name->type == JSON_STRING)
			add_name(r, name->string);
	}
	return 0;
}

static int name_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

int pypi_index_read(struct arena *a, struct str text, const char *where, struct pypi_index *ret, struct err *e)
{
	struct reading r = {.a = a};
	if (text.n > PYPI_INDEX_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d MiB", where, PYPI_INDEX_MAX >> 20);
	int rc = str_starts(str_trim(text), STR("{")) ? read_json(&r, text, where, e) : read_html(&r, text, where, e);
	vec_sort(&r.names, name_cmp);
	*ret = (struct pypi_index){vec_copy(&r.names, a), r.names.n};
	vec_release(&r.names);
	map_release(&r.seen);
	return rc;
}

int pypi_index_load(int dir, struct arena *a, struct pypi_index *ret, struct err *e)
{
	static const char *const forms[] = {"simple/" PYPI_JSON, "simple/" PYPI_HTML};
	*ret = (struct pypi_index){0};
	for (size_t i = 0; i < 2; i++) {
		auto_buf b = BUF_INIT(PYPI_INDEX_MAX);
		int rc = staging_read(dir, forms[i], &b, e);
		if (rc != 0)
			return rc < 0 || pypi_index_read(a, buf_str(&b), forms[i], ret, e) < 0 ? -1 : 1;
	}
	return 0;
}

void pypi_index_json(const struct pypi_index *x, struct buf *b)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	jw_key(&w, "meta");
	jw_object(&w);
	jw_kv_c(&w, "api-version", "1.1");
	jw_object_end(&w);
	jw_key(&w, "projects");
	jw_array(&w);
	for (size_t i = 0; i < x->n; i++) {
		jw_object(&w);
		jw_kv_str(&w, "name", x->name[i]);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

void pypi_index_html(const struct pypi_index *x, struct buf *b)
{
	buf_put_c(b, "<!DOCTYPE html>\n<html>\n  <head>\n    <meta charset=\"utf-8\">\n"
		     "    <meta name=\"pypi:repository-version\" content=\"1.1\">\n"
		     "    <title>Simple index</title>\n  </head>\n  <body>\n");
	for (size_t i = 0; i < x->n; i++)
		buf_printf(b, "    <a href=\"%.*s/\">%.*s</a><br>\n", STR_ARG(x->name[i]), STR_ARG(x->name[i]));
	buf_put_c(b, "  </body>\n</html>\n");
}
