// SPDX-License-Identifier: Apache-2.0
/*
 * Packages of hosts (deb, rpm, opam) given to the engine: a group of candidates for each name, a choice for each need, a ban for each
 * conflict. A wish is a choice with one candidate more, the last: to do without.
 */
#include <stdlib.h>

#include "base/vec.h"
#include "pkg/pkg.h"
#include "solve/cdcl.h"
#include "solve/solve.h"

enum { CONFLICTS_MAX = 100000, WHY_MAX = 12, NONE = UINT32_MAX, WITNESS_MAX = 16 };

/* What a choice or a ban came from, for messages. */
struct origin {
	uint32_t var, package; /* package NONE: it was asked for */
	const struct pkg_need *formula;
	size_t n; /* of its candidates */
	bool ban;
};
struct solving {
	struct channel_needs *needs;
	struct cdcl *s;
	struct arena *a;
	uint32_t root;
	uint32_t *var_of;	  /* by package; NONE: its group is not in yet */
	VEC(uint32_t) package_of; /* by variable; NONE: none */
	VEC(struct origin) origin;
	VEC(uint32_t) scratch;
	uint32_t telling, var; /* whose needs are being told, and its variable */
	bool avoiding;	       /* what is to be avoided is refused */
	size_t refused;
	const struct str *asked;
	size_t asked_n;
};

static void solving_release(struct solving *x)
{
	cdcl_free(x->s);
	free(x->var_of);
	vec_release(&x->package_of);
	vec_release(&x->origin);
	vec_release(&x->scratch);
}

static void note(struct solving *x, uint32_t var, uint32_t package)
{
	while (x->package_of.n <= var)
		vec_push(&x->package_of, (uint32_t)NONE);
	x->package_of.v[var] = package;
}

static uint32_t variable(struct solving *x, uint32_t package)
{
	if (x->var_of[package] == NONE) {
		const struct channel_candidate *c = channel_needs_candidate(x->needs, package);
		uint32_t var = cdcl_add_group(x->s, c->n);
		for (uint32_t i = 0; i < c->n; i++) {
			x->var_of[c->first + i] = var + i;
			note(x, var + i, c->first + i);
		}
		for (uint32_t i = 0; x->avoiding && i < c->n; i++)
			if (channel_needs_candidate(x->needs, c->first + i)->avoided) {
				cdcl_refuse(x->s, var + i);
				x->refused++;
			}
	}
	return x->var_of[package];
}

/* A set's variables in the scratch. */
static void variables(struct solving *x, struct channel_set set)
{
	vec_clear(&x->scratch);
	for (size_t i = 0; i < set.n; i++)
		vec_push(&x->scratch, variable(x, set.v[i]));
}

static void say_origin(struct solving *x, uint32_t var, const struct channel_need *need)
{
	/* formulas of what the needs read for the moment live in their memory */
	vec_push(&x->origin, ((struct origin){var, x->telling, need->formula, need->one.n, need->kind == CHANNEL_BAN}));
}

static int take(void *ctx, const struct channel_need *need, struct err *e)
{
	struct solving *x = ctx;
	uint32_t witness[WITNESS_MAX];
	(void)e;
	if (need->kind == CHANNEL_WISH && need->one.n == 0)
		return 0;
	for (size_t i = 0; i < need->given_n; i++) {
		if (i == WITNESS_MAX)
			return 0;
		variables(x, need->given[i]);
		witness[i] = cdcl_add_witness(x->s, x->scratch.v, (uint32_t)x->scratch.n);
		note(x, witness[i], NONE);
	}
	variables(x, need->one);
	if (need->kind == CHANNEL_WISH) {
		uint32_t without = cdcl_add_group(x->s, 1);
		note(x, without, NONE);
		vec_push(&x->scratch, without);
	}
	uint32_t n = (uint32_t)x->scratch.n;
	uint32_t gate = need->kind == CHANNEL_BAN ? cdcl_add_ban(x->s, x->scratch.v, n)
						  : cdcl_add_choice(x->s, x->scratch.v, n);
	note(x, gate, NONE);
	say_origin(x, gate, need);
	if (need->given_n)
		cdcl_imply_if(x->s, x->var, witness, (uint32_t)need->given_n, gate);
	else
		cdcl_imply(x->s, x->var, gate);
	return 0;
}

static int expand(void *ctx, uint32_t var, struct err *e)
{
	struct solving *x = ctx;
	x->var = var;
	x->telling = NONE;
	if (var == x->root) {
		for (size_t i = 0; i < x->asked_n; i++)
			if (channel_needs_ask(x->needs, x->asked[i], take, x, e) < 0)
				return -1;
		return 0;
	}
	uint32_t package = x->package_of.v[var];
	if (package == NONE)
		return 0; /* to do without */
	x->telling = package;
	return channel_needs_tell(x->needs, package, take, x, e);
}

/* -- why not -------------------------------------------------------------------------------------------------------- */

static void put_package(struct solving *x, uint32_t package, struct buf *b)
{
	const struct channel_candidate *c = channel_needs_candidate(x->needs, package);
	buf_printf(b, "%.*s %.*s", STR_ARG(c->name), STR_ARG(c->version));
}

static const struct origin *origin_of(const struct solving *x, uint32_t var)
{
	vec_foreach(o, &x->origin)
		if (o->var == var)
			return o;
	return NULL;
}

static void say_why(struct solving *x, const struct cdcl_why *w, struct buf *b)
{
	const struct origin *o = NULL;
	if (w->kind == CDCL_IMPLIES)
		o = origin_of(x, w->b);
	else if (w->kind == CDCL_CHOICE && (!(o = origin_of(x, w->a)) || o->n))
		o = NULL;
	else if (w->kind == CDCL_BANS)
		o = origin_of(x, w->a);
	if (!o)
		return;
	if (o->package == NONE)
		buf_put_c(b, "asked for:");
	else
		put_package(x, o->package, b);
	buf_put_c(b, o->ban ? " cannot be with " : o->package == NONE ? " " : " needs ");
	if (o->formula)
		pkg_need_format(o->formula, b);
	else
		buf_put_c(b, "what cannot be read");
	if (!o->ban && !o->n)
		buf_put_c(b, ", which is not there");
}

static void explain(struct solving *x, struct solve_needs_result *ret)
{
	const struct cdcl_why *why;
	size_t n = cdcl_proof(x->s, &why);
	struct str *v = arena_array(x->a, struct str, WHY_MAX);
	for (size_t i = n; i-- > 0 && ret->why_n < WHY_MAX;) {
		auto_buf b = BUF_INIT(2000);
		bool known = false;
		say_why(x, &why[i], &b);
		for (size_t k = 0; k < ret->why_n; k++)
			known |= str_eq(v[k], buf_str(&b));
		if (b.n && !known)
			v[ret->why_n++] = arena_str(x->a, buf_str(&b));
	}
	ret->why = v;
}

/* -- solving -------------------------------------------------------------------------------------------------------- */

static void collect(struct solving *x, struct solve_needs_result *ret)
{
	uint32_t count = channel_needs_count(x->needs);
	uint32_t *v = arena_array(x->a, uint32_t, x->package_of.n + 1);
	for (uint32_t i = 0; i < count; i++)
		if (x->var_of[i] != NONE && cdcl_is_true(x->s, x->var_of[i]))
			v[ret->n++] = i;
	ret->package = v;
}

static int run(struct solving *x, bool proof, uint64_t max_conflicts, struct err *e)
{
	const struct cdcl_ops ops = {.ctx = x, .expand = expand};
	uint32_t count = channel_needs_count(x->needs);
	x->var_of = xreallocarray(NULL, (size_t)count + 1, sizeof(*x->var_of));
	memset(x->var_of, 0xff, ((size_t)count + 1) * sizeof(*x->var_of));
	x->s = cdcl_new(&ops);
	if (proof)
		cdcl_record_proof(x->s);
	x->root = cdcl_add_group(x->s, 1);
	note(x, x->root, NONE);
	return cdcl_solve(x->s, x->root, max_conflicts ? max_conflicts : CONFLICTS_MAX, e);
}

int solve_needs(struct channel_needs *needs, const struct str *asked, size_t n, uint64_t max_conflicts, struct arena *a,
		struct solve_needs_result *ret, struct err *e)
{
	*ret = (struct solve_needs_result){0};
	/* without what is to be avoided; with it; and once more with notes of each step, where there is something to tell */
	for (int turn = 0; turn < 3; turn++) {
		cleanup_with(solving_release) struct solving x = {
			.needs = needs, .a = a, .asked = asked, .asked_n = n, .avoiding = turn == 0};
		int rc = run(&x, turn == 2, max_conflicts, e);
		if (rc < 0)
			return -1;
		ret->conflicts = cdcl_stats(x.s).conflicts;
		ret->variables = cdcl_stats(x.s).variables;
		if (rc == 0) {
			collect(&x, ret);
			return 0;
		}
		if (turn == 0 && !x.refused)
			turn++;
		if (turn == 2)
			explain(&x, ret);
	}
	return 1;
}
