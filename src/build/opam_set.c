// SPDX-License-Identifier: Apache-2.0
/* Opam packages of an environment: which, and in what order they are built (build/build.h). What each is made of: opam_set_record.c. */
#include "build/opam_set.h"

#include <stdlib.h>

VEC_TYPE(str_vec, struct str);

void build_opam_set_free(struct build_opam_set *s)
{
	if (!s)
		return;
	build_workshop_free(s->workshop);
	channel_needs_free(s->needs);
	vec_release(&s->chosen);
	map_release(&s->by_name);
	free(s);
}

int build_opam_set_needs(struct build_opam_set *s, const struct env_spec_file *before, struct channel_needs **ret,
			 struct err *e)
{
	struct pkg_opam_host h = build_workshop_host(s->workshop);
	struct pkg_opam_strs variables = env_opam_host_variables(&h, s->a);
	struct str_vec installed = {0};
	for (uint32_t i = 0; before && i < before->packages_n; i++) {
		const struct pkg_record *r = &before->packages[i].record;
		vec_push(&installed,
			 str_c(arena_printf(s->a, "%.*s.%.*s", STR_ARG(str_skip(r->name, 5)), STR_ARG(r->version))));
	}
	const struct channel_needs_opts o = {.variables = variables.v,
					     .variables_n = variables.n,
					     .installed = installed.v,
					     .installed_n = installed.n};
	int rc = channel_needs_open_opam(s->repos.index, s->repos.n, &o, ret, e);
	vec_release(&installed);
	return rc;
}

int build_opam_set_open(int root_fd, const char *root_path, struct store *store, const struct build_opam_repos *repos,
			struct arena *a, struct build_opam_set **ret, struct err *e)
{
	auto_ptr(build_opam_set) s = xcalloc(1, sizeof(*s));
	s->a = a;
	s->store = store;
	s->repos = *repos;
	if (build_workshop_open(root_fd, root_path, &s->workshop, e) < 0 ||
	    build_opam_set_needs(s, NULL, &s->needs, e) < 0)
		return -1;
	*ret = steal_ptr(&s);
	return 0;
}

struct pkg_opam_host build_opam_set_host(struct build_opam_set *s)
{
	return build_workshop_host(s->workshop);
}

void build_opam_set_add(struct build_opam_set *s, struct str name, struct str version, const struct pkg_record *before)
{
	vec_push(&s->chosen, ((struct opam_chosen){.name = name, .version = version, .before = before}));
	*map_put(&s->by_name, name) = s->chosen.n;
}

/* == what they need ====================================================================================================== */

/* Which of the repositories' packages they are. */
static void number(struct build_opam_set *s)
{
	uint32_t n = channel_needs_count(s->needs);
	for (uint32_t i = 0; i < n; i++) {
		const struct channel_candidate *c = channel_needs_candidate(s->needs, i);
		const uint64_t *at = map_get(&s->by_name, c->name);
		if (at && *at && str_eq(s->chosen.v[*at - 1].version, c->version)) {
			s->chosen.v[*at - 1].id = i;
			s->chosen.v[*at - 1].known = true;
		}
	}
}

struct str opam_name_in_depends(struct str text)
{
	size_t n = 0;
	text = str_starts(text, STR("opam:")) ? str_skip(text, 5) : text;
	while (n < text.n && !strchr(" (<>=!", text.p[n]))
		n++;
	return str_head(text, n);
}

struct opam_chosen *opam_chosen_named(struct build_opam_set *s, struct str name)
{
	const uint64_t *at = map_get(&s->by_name, name);
	return at && *at ? &s->chosen.v[*at - 1] : NULL;
}

/* What was built with something that no repository has any more stays as it is, too: it cannot be built again. */
static void spread_gone(struct build_opam_set *s)
{
	for (bool more = true; more;) {
		more = false;
		vec_foreach(x, &s->chosen) {
			for (uint32_t i = 0; x->known && x->before && i < x->before->depends_n; i++) {
				const struct opam_chosen *used =
					opam_chosen_named(s, opam_name_in_depends(x->before->depends[i]));
				more |= used && !used->known;
				x->known = x->known && !(used && !used->known);
			}
		}
	}
}

struct telling {
	struct build_opam_set *s;
	struct str_vec depends;
	struct opam_chosen *self;
};

static struct opam_chosen *chosen_in(struct build_opam_set *s, const struct channel_set *of)
{
	for (size_t i = 0; i < of->n; i++) {
		struct opam_chosen *x = opam_chosen_named(s, channel_needs_candidate(s->needs, of->v[i])->name);
		if (x && x->known && x->id == of->v[i])
			return x;
	}
	return NULL;
}

/* "opam:ocaml (>= 4.08 & < 5)" of the formula for whoever asks why. */
static int tell_need(void *ctx, const struct channel_need *need, struct err *e)
{
	struct telling *t = ctx;
	auto_buf b = BUF_INIT(1 << 16);
	(void)e;
	for (size_t i = 0; i < need->given_n; i++)
		if (!chosen_in(t->s, &need->given[i]))
			return 0;
	struct opam_chosen *used = need->kind == CHANNEL_NEED ? chosen_in(t->s, &need->one) : NULL;
	if (!used || used == t->self)
		return 0;
	if (need->formula)
		pkg_need_format(need->formula, &b);
	bool is_it = str_starts(buf_str(&b), used->name);
	vec_push(&t->depends, str_c(is_it ? arena_printf(t->s->a, "opam:%s", b.p)
					  : arena_printf(t->s->a, "opam:%.*s", STR_ARG(used->name))));
	return 0;
}

static int read_depends(struct build_opam_set *s, struct err *e)
{
	vec_foreach(x, &s->chosen) {
		struct telling t = {.s = s, .self = x};
		if (!x->known) {
			x->depends = x->before ? x->before->depends : NULL;
			x->depends_n = x->before ? x->before->depends_n : 0;
			continue;
		}
		int rc = channel_needs_tell(s->needs, x->id, tell_need, &t, e);
		x->depends = vec_copy(&t.depends, s->a);
		x->depends_n = t.depends.n;
		vec_release(&t.depends);
		if (rc < 0)
			return -1;
	}
	return 0;
}

static void reach(struct build_opam_set *s, struct str name)
{
	VEC(struct opam_chosen *) open = {0};
	struct opam_chosen *x = opam_chosen_named(s, name);
	for (vec_push(&open, x); open.n;) {
		x = vec_pop(&open);
		if (!x || x->reached)
			continue;
		x->reached = true;
		for (size_t i = 0; i < x->depends_n; i++)
			vec_push(&open, opam_chosen_named(s, opam_name_in_depends(x->depends[i])));
	}
	vec_release(&open);
}

/* What nobody needs any more goes. */
static void drop_unreached(struct build_opam_set *s, const struct str *names, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++)
		reach(s, names[i]);
	map_release(&s->by_name);
	s->by_name = (struct map)MAP_INIT;
	vec_foreach(x, &s->chosen)
		if (x->reached) {
			s->chosen.v[kept] = *x;
			*map_put(&s->by_name, x->name) = ++kept;
		}
	s->chosen.n = kept;
}

/* == in the order of work ============================================================================================== */

/* In the order of work, each with the numbers of what it is built on. Those of no repository come first: they are not built. */
static int put_in_order(struct build_opam_set *s, struct err *e)
{
	struct arena *a = s->a;
	size_t n = s->chosen.n, ids_n = 0, at = 0;
	uint32_t *ids = arena_array(a, uint32_t, n + 1);
	struct solve_steps steps;
	s->v = arena_array(a, struct build_made, n + 1);
	s->of = arena_array(a, const struct opam_chosen *, n + 1);
	vec_foreach(x, &s->chosen)
		if (x->known)
			ids[ids_n++] = x->id;
		else
			s->of[at++] = x;
	size_t first = at;
	int rc = solve_steps(s->needs, ids, ids_n, NULL, 0, SOLVE_IN_ORDER, a, &steps, e);
	if (rc != 0)
		return rc < 0 ? -1
			      : err_new(e, ERR_NO_SOLUTION,
					"opam packages that need each other to be built cannot be built: %.*s",
					STR_ARG(steps.circle[0]));
	for (size_t i = 0; i < steps.n; i++) {
		struct str name = channel_needs_candidate(s->needs, steps.v[i].package)->name;
		size_t *needs = arena_array(a, size_t, steps.v[i].after_n + 1);
		s->of[at] = opam_chosen_named(s, name);
		for (size_t k = 0; k < steps.v[i].after_n; k++)
			needs[k] = first + steps.v[i].after[k];
		s->v[at].package.needs = needs;
		s->v[at++].package.n_needs = steps.v[i].after_n;
	}
	s->n = at;
	return 0;
}

const struct build_made *build_opam_set_made(const struct build_opam_set *s, size_t *ret_n)
{
	*ret_n = s->n;
	return s->v;
}

int build_opam_set_settle(struct build_opam_set *s, const struct str *names, size_t n, struct err *e)
{
	number(s);
	spread_gone(s);
	if (read_depends(s, e) < 0)
		return -1;
	if (names)
		drop_unreached(s, names, n);
	return put_in_order(s, e) < 0 || opam_set_describe(s, e) < 0 ? -1 : 0;
}

int build_opam_set_make(struct build_opam_set *s, const struct build_opam_opts *o, int64_t wait_ms,
			struct build_opam_result *ret, struct err *e)
{
	return build_workshop_make(s->workshop, s->store, o, wait_ms, s->v, s->n, s->a, ret, e);
}
