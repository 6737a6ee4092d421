// SPDX-License-Identifier: Apache-2.0
/* search: every package of the channels that a spec matches. why: what needs a package. */
#include <stdio.h>

#include "base/json.h"
#include "cmd/change.h"
#include "cmd/env_opam.h"

enum { MAX_CHAINS = 10, DEFAULT_SHOWN = 50 };

struct search_args {
	struct cmd_solve_options solve;
	const char *name;
	int64_t limit;
	struct cmd_list words;
};

struct hits {
	struct cmd_context *c;
	const struct spec *spec;
	VEC(struct pkg_record) found;
};

static int add_matches(struct hits *h, const struct channel_index *ix, struct ix_name name, struct err *e)
{
	struct ix_pkg first;
	uint32_t n = index_packages(ix->index, name, &first);
	for (uint32_t i = 0; i < n; i++) {
		struct pkg_record r;
		if (index_record(ix->index, (struct ix_pkg){first.n + i}, &ix->channel, &h->c->arena, &r, e) < 0)
			return -1;
		if (pkg_conda.spec_match(h->spec, &r))
			vec_push(&h->found, r);
	}
	return 0;
}

/* A spec with a plain name is looked up; a pattern goes over all names. */
static int search_index(struct hits *h, const struct channel_index *ix, struct err *e)
{
	struct ix_name name;
	struct str wanted = spec_name(h->spec);
	if (!ix->index)
		return 0;
	if (wanted.n)
		return index_find_name(ix->index, wanted, &name) ? add_matches(h, ix, name, e) : 0;
	uint32_t n = index_name_count(ix->index);
	for (uint32_t i = 0; i < n; i++)
		if (add_matches(h, ix, (struct ix_name){i}, e) < 0)
			return -1;
	return 0;
}

static void put_record(struct jw *w, const void *ctx, size_t i)
{
	const struct hits *h = ctx;
	pkg_record_write(w, &h->found.v[i]);
}

static void search_answer(struct cmd_context *c, const struct hits *h)
{
	auto_answer a = {0};
	jw_kv_objects(cmd_answer(&a), "packages", h->found.n, put_record, h);
	cmd_answer_print(c, &a);
}

static void search_table(struct cmd_context *c, const struct hits *h, size_t limit)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	static const char *const titles[] = {"Package", "Version", "Build", "Channel", "Size"};
	struct out_table t = {.titles = titles, .columns = 5, .right = 1 << 4, .whole = 1 | 1 << 1, .tail = 1 << 3};
	for (size_t i = 0; i < h->found.n && i < limit; i++) {
		const struct pkg_record *r = &h->found.v[i];
		auto_buf size = BUF_INIT(64);
		out_put_size(&size, r->size);
		out_table_cell(&t, "%.*s", STR_ARG(r->name));
		out_table_cell(&t, "%.*s", STR_ARG(r->version));
		out_table_cell(&t, "%.*s", STR_ARG(r->build));
		out_table_cell(&t, "%.*s/%.*s", STR_ARG(r->channel), STR_ARG(r->subdir));
		out_table_cell(&t, "%s", size.p);
	}
	if (h->found.n)
		out_table_print(&c->out, &t);
	if (h->found.n > limit)
		buf_printf(&b, "... and %zu more (--limit 0 shows all)\n", h->found.n - limit);
	cmd_print(c, &b);
}

static int search(struct cmd_context *c, const struct search_args *a, struct err *e)
{
	auto_opened opened = {0};
	if (a->words.n != 1) {
		err_new(e, ERR_USAGE, "search for what? as in: slipway search -c CHANNEL 'numpy>=2'");
		return cmd_fail(c, e);
	}
	struct str spec = str_c(a->words.v[0]);
	struct hits h = {.c = c, .spec = pkg_conda.spec_parse(&c->arena, spec, SPEC_REQUEST, e)};
	if (!h.spec) {
		e->code = ERR_USAGE;
		return cmd_fail(c, e);
	}
	struct cmd_solve_options how = a->solve;
	how.no_shards |=
		!spec_name(h.spec).n; /* shards are fetched by name: of a pattern only those of before would be found */
	if (cmd_open_channels(c, &how, NULL, 0, &spec, 1, &opened, e) < 0)
		return cmd_fail(c, e);
	for (size_t i = 0; i < opened.indexes_n; i++) {
		if (search_index(&h, &opened.indexes[i], e) == 0)
			continue;
		vec_release(&h.found);
		return cmd_fail(c, e);
	}
	size_t n = h.found.n;
	if (c->json)
		search_answer(c, &h);
	else
		search_table(c, &h, a->limit > 0 ? (size_t)a->limit : SIZE_MAX);
	vec_release(&h.found);
	if (!n)
		cmd_say(c, "nothing in the channels matches '%s'", a->words.v[0]);
	return n ? CMD_OK : CMD_FAILED;
}

int cmd_search(struct cmd_context *c, int argc, char **argv)
{
	struct search_args a = {.limit = DEFAULT_SHOWN};
	const struct cmd_option options[] = {
		CMD_SOLVE_OPTIONS(&a.solve),
		{0, "limit", CMD_NUMBER, &a.limit},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : search(c, &a, &e);
	vec_release(&a.words);
	vec_release(&a.solve.channels);
	return code;
}

/* -- why ---------------------------------------------------------------------------------------------------------- */

static int print_chains(struct cmd_context *c, const struct str *chains, size_t n)
{
	auto_answer a = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	if (c->json) {
		jw_kv_list(cmd_answer(&a), "chains", chains, n);
		return cmd_answer_print(c, &a);
	}
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%.*s\n", STR_ARG(chains[i]));
	return cmd_print(c, &b);
}

static int why(struct cmd_context *c, const struct search_args *a, struct err *e)
{
	struct env_spec_file f;
	const struct str *chains;
	size_t n;
	if (!a->name || a->words.n != 1) {
		err_new(e, ERR_USAGE, "why which package where? as in: slipway why -n tools libzlib");
		return cmd_fail(c, e);
	}
	if (cmd_need_state(c, true, e) < 0 || env_generation_lock(c->state, &c->arena, str_c(a->name), 0, &f, e) < 0)
		return cmd_fail(c, e);
	if (str_starts(str_c(a->words.v[0]), STR("opam:")) && strpbrk(a->words.v[0], ".<>=!"))
		return cmd_env_opam_why_not(c, str_c(a->name), &f, str_c(a->words.v[0]), e);
	struct pkg_record *records = arena_array(&c->arena, struct pkg_record, f.packages_n);
	for (uint32_t i = 0; i < f.packages_n; i++)
		records[i] = f.packages[i].record;
	if (solve_why(records, f.packages_n, f.specs, f.specs_n, str_c(a->words.v[0]),
		      a->limit > 0 ? (unsigned)a->limit : MAX_CHAINS, &c->arena, &chains, &n, e) < 0)
		return cmd_fail(c, e);
	return print_chains(c, chains, n);
}

int cmd_why(struct cmd_context *c, int argc, char **argv)
{
	struct search_args a = {0};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "limit", CMD_NUMBER, &a.limit},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : why(c, &a, &e);
	vec_release(&a.words);
	return code;
}
