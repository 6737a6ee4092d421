// SPDX-License-Identifier: Apache-2.0
/* why -n ENV opam:NAME.VERSION: what keeps a version of an opam package out of an environment, or what would come with it. */
#include "base/json.h"
#include "base/map.h"
#include "cmd/env_opam_internal.h"

struct answer {
	struct str env, spec;
	bool possible;
	const struct str *lines; /* what is in the way, or what would change */
	size_t n;
};

static int print(struct cmd_context *c, const struct answer *x)
{
	auto_answer a = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	if (c->json) {
		struct jw *w = cmd_answer(&a);
		jw_kv_str(w, "spec", x->spec);
		jw_kv_bool(w, "possible", x->possible);
		jw_kv_list(w, x->possible ? "changes" : "why", x->lines, x->n);
		return cmd_answer_print(c, &a);
	}
	if (!x->possible)
		buf_printf(&b, "'%.*s' cannot be in '%.*s':\n", STR_ARG(x->spec), STR_ARG(x->env));
	else if (x->n)
		buf_printf(&b, "nothing is in its way; 'slipway env update -n %.*s \"%.*s\"' would change:\n",
			   STR_ARG(x->env), STR_ARG(x->spec));
	else
		buf_printf(&b, "'%.*s' is what is there\n", STR_ARG(x->spec));
	for (size_t i = 0; i < x->n; i++)
		buf_printf(&b, "  %.*s\n", STR_ARG(x->lines[i]));
	return cmd_print(c, &b);
}

static const struct pkg_record *installed(const struct env_spec_file *f, struct str name)
{
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (str_eq(str_skip(f->packages[i].record.name, 5), name))
			return &f->packages[i].record;
	return NULL;
}

/* "fmt 0.9.0 -> 0.8.0", "uutf 1.0.3 is new", "x 1 goes" */
static void add_changes(struct cmd_context *c, struct channel_needs *needs, const struct env_spec_file *before,
			const struct solve_needs_result *r, struct answer *x)
{
	struct str *v = arena_array(&c->arena, struct str, r->n + before->packages_n + 1);
	auto_map there = MAP_INIT;
	for (size_t i = 0; i < r->n; i++) {
		const struct channel_candidate *p = channel_needs_candidate(needs, r->package[i]);
		const struct pkg_record *was = installed(before, p->name);
		*map_put(&there, p->name) = 1;
		if (!was)
			v[x->n++] = str_c(
				arena_printf(&c->arena, "%.*s %.*s is new", STR_ARG(p->name), STR_ARG(p->version)));
		else if (!str_eq(was->version, p->version))
			v[x->n++] = str_c(arena_printf(&c->arena, "%.*s %.*s -> %.*s", STR_ARG(p->name),
						       STR_ARG(was->version), STR_ARG(p->version)));
	}
	for (uint32_t i = 0; i < before->packages_n; i++) {
		const struct pkg_record *p = &before->packages[i].record;
		if (!map_get(&there, str_skip(p->name, 5)))
			v[x->n++] = str_c(arena_printf(&c->arena, "%.*s %.*s goes", STR_ARG(str_skip(p->name, 5)),
						       STR_ARG(p->version)));
	}
	x->lines = v;
}

int cmd_env_opam_why_not(struct cmd_context *c, struct str env, const struct env_spec_file *lock, struct str spec,
			 struct err *e)
{
	const struct cmd_solve_options usual = {0};
	const struct env_spec_file none = {0};
	auto_ptr(cmd_env_opam) oe = NULL;
	auto_ptr(channel_needs) needs = NULL;
	struct env_spec_file before;
	struct solve_needs_result r;
	struct str wanted;
	env_opam_part(c, lock, &before);
	if (env_opam_begin(c, &usual, &none, &before, &oe, e) < 0 ||
	    build_opam_set_needs(oe->set, &before, &needs, e) < 0 || env_opam_check(c, needs, &spec, 1, e) < 0 ||
	    env_opam_name(c, spec, &wanted, e) < 0)
		return cmd_fail(c, e);
	struct str *asked = arena_array(&c->arena, struct str, before.specs_n + 1);
	struct solve_needs_request q = {.asked = asked, .criteria = SOLVE_NEWEST};
	for (uint32_t i = 0; i < before.specs_n; i++) {
		struct str name;
		if (env_opam_name(c, before.specs[i], &name, e) < 0)
			return cmd_fail(c, e);
		if (!str_eq(name, wanted))
			asked[q.asked_n++] = str_skip(before.specs[i], 5);
	}
	asked[q.asked_n++] = str_skip(spec, 5);
	int rc = solve_needs_by(needs, &q, &c->arena, &r, e);
	struct answer x = {.env = env, .spec = spec, .possible = rc == 0};
	if (rc < 0)
		return cmd_fail(c, e);
	if (rc == 0)
		add_changes(c, needs, &before, &r, &x);
	else {
		x.lines = r.why;
		x.n = r.why_n;
	}
	return print(c, &x);
}
