// SPDX-License-Identifier: Apache-2.0
/*
 * Packages of hosts (deb, rpm, opam) given to the engine: a group of candidates for each name, a choice for each need, a ban for each
 * conflict. A wish is a choice with one candidate more, the last: to do without.
 */
#include <stdlib.h>

#include "base/map.h"
#include "base/vec.h"
#include "pkg/pkg.h"
#include "solve/aims.h"
#include "solve/cdcl.h"
#include "solve/optimum.h"
#include "solve/why_not.h"

enum { CONFLICTS_MAX = 100000, IMPROVE_MAX = 5000, WHY_MAX = 12, WITNESS_MAX = 16 };
/* What a variable is of, where it is of no package: nothing; to do without something that is installed, or that is asked for if it can be had. */
enum { NONE = UINT32_MAX, REMOVED = UINT32_MAX - 1, UNMET = UINT32_MAX - 2 };

/* What a choice or a ban came from, for messages. */
struct origin {
	uint32_t var, package; /* package NONE: it was asked for */
	const struct pkg_need *formula;
	const uint32_t *v; /* its candidates; where steps are noted */
	size_t n;
	bool ban, invariant;
};
/* The choices that a variable implies, in the order in which they were told: in `gate`. */
struct gates {
	uint32_t at, n;
};
struct step {
	uint32_t var, gates; /* of its gates so many are done */
};
struct solving {
	struct channel_needs *needs;
	const struct solve_needs_request *r;
	struct cdcl *s;
	struct arena *a;
	uint32_t root;
	uint32_t *var_of;	  /* by package; NONE: its group is not in yet */
	VEC(uint32_t) package_of; /* by variable; NONE: none */
	VEC(struct origin) origin;
	VEC(uint32_t) scratch;
	uint32_t telling, var; /* whose needs are being told, and its variable */
	uint32_t without;      /* what it means to do without what is being wished for: REMOVED, UNMET, NONE */
	bool noting;	       /* each step, to tell why not */
	bool invariant;	       /* what must hold is being told */
	bool avoiding;	       /* what is to be avoided is refused */
	size_t refused;
	struct map asked; /* names */
	struct solve_aims aims;
	struct aim_costs costs;
	struct optimum optimum;
	struct solve_needs_result *result;
	VEC(struct gates) gates; /* by variable */
	VEC(uint32_t) gate;
	VEC(uint32_t) told; /* gates of what is being told */
	VEC(struct step) walk;
	VEC(uint8_t) walked; /* by variable */
};

static void solving_release(struct solving *x)
{
	cdcl_free(x->s);
	free(x->var_of);
	vec_release(&x->package_of);
	vec_release(&x->origin);
	vec_release(&x->scratch);
	vec_release(&x->gates);
	vec_release(&x->gate);
	vec_release(&x->told);
	map_release(&x->asked);
	vec_release(&x->walk);
	vec_release(&x->walked);
	aim_costs_release(&x->costs);
	optimum_release(&x->optimum);
}

static void note(struct solving *x, uint32_t var, uint32_t package)
{
	while (x->package_of.n <= var)
		vec_push(&x->package_of, (uint32_t)NONE);
	x->package_of.v[var] = package;
}

static uint32_t cost(void *ctx, unsigned aim, uint32_t var)
{
	const struct solving *x = ctx;
	const struct solve_aim a = x->aims.v[aim];
	uint32_t package = x->package_of.v[var];
	if (package == REMOVED)
		return a.what == SOLVE_AIM_REMOVED || a.what == SOLVE_AIM_CHANGED;
	if (package == UNMET)
		return a.what == SOLVE_AIM_UNMET;
	return package == NONE ? 0 : aim_cost(&x->costs, a, package);
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
		for (uint32_t i = 0; x->avoiding && i < c->n; i++) {
			const struct channel_candidate *one = channel_needs_candidate(x->needs, c->first + i);
			if (one->avoided && !one->installed) {
				cdcl_refuse(x->s, var + i);
				x->refused++;
			}
		}
		if (x->aims.n) {
			aim_costs_weigh(&x->costs, c->first, map_get(&x->asked, c->name) != NULL);
			optimum_add(&x->optimum, var, c->n);
		}
	}
	return x->var_of[package];
}

static void reverse(uint32_t *v, size_t n)
{
	for (size_t i = 0; i < n / 2; i++) {
		uint32_t t = v[i];
		v[i] = v[n - 1 - i];
		v[n - 1 - i] = t;
	}
}

/* Packages of one group in the order in which they are to be tried, as the criteria have it. */
static void prefer(const struct solving *x, uint32_t *v, size_t n)
{
	if (x->r->criteria == SOLVE_OLDEST) {
		size_t normal = 0;
		while (normal < n && !channel_needs_candidate(x->needs, v[normal])->avoided)
			normal++;
		reverse(v, normal);
		reverse(v + normal, n - normal);
	}
	if (x->r->criteria == SOLVE_FIRST || x->r->criteria == SOLVE_OLDEST || x->r->criteria == SOLVE_UPGRADE_ALL ||
	    (x->r->criteria == SOLVE_0INSTALL && x->r->update))
		return;
	for (size_t i = 1; i < n; i++)
		if (channel_needs_candidate(x->needs, v[i])->installed) {
			uint32_t t = v[i];
			memmove(v + 1, v, i * sizeof(*v));
			v[0] = t;
			return;
		}
}

/* A set's variables in the scratch. */
static void variables(struct solving *x, struct channel_set set)
{
	uint32_t *v = xreallocarray(NULL, set.n + 1, sizeof(*v));
	vec_clear(&x->scratch);
	if (set.n)
		memcpy(v, set.v, set.n * sizeof(*v));
	for (size_t i = 0, n; i < set.n; i += n) {
		uint32_t first = channel_needs_candidate(x->needs, v[i])->first;
		for (n = 1; i + n < set.n && channel_needs_candidate(x->needs, v[i + n])->first == first;)
			n++;
		prefer(x, v + i, n);
		for (size_t k = 0; k < n; k++)
			vec_push(&x->scratch, variable(x, v[i + k]));
	}
	free(v);
}

static bool goes_deep(const struct solving *x)
{
	return x->r->criteria == SOLVE_0INSTALL || x->r->criteria == SOLVE_OLDEST;
}

static void note_gate(struct solving *x, uint32_t var, uint32_t gate)
{
	while (x->gates.n <= var)
		vec_push(&x->gates, ((struct gates){0}));
	struct gates *g = &x->gates.v[var];
	if (g->n == 0)
		g->at = (uint32_t)x->gate.n;
	g->n++;
	vec_push(&x->gate, gate);
}

static uint32_t group_of(const struct solving *x, uint32_t var)
{
	uint32_t package = x->package_of.v[var];
	return package >= UNMET ? NONE : channel_needs_candidate(x->needs, package)->first;
}

/* The scratch holds packages of several names: a candidate for each run of one name in place of them, which implies the choice
 * among these. So what is written first is tried first, whatever else is there already. */
static void split(struct solving *x)
{
	VEC(uint32_t) alternatives = {0};
	for (size_t i = 0, n; i < x->scratch.n; i += n) {
		for (n = 1; i + n < x->scratch.n && group_of(x, x->scratch.v[i + n]) == group_of(x, x->scratch.v[i]);)
			n++;
		vec_push(&alternatives, (uint32_t)i);
	}
	uint32_t count = (uint32_t)alternatives.n;
	if (count > 1) {
		uint32_t first = cdcl_add_group(x->s, count);
		for (uint32_t i = 0; i < count; i++) {
			uint32_t at = alternatives.v[i],
				 end = i + 1 < count ? alternatives.v[i + 1] : (uint32_t)x->scratch.n;
			note(x, first + i, NONE);
			uint32_t gate = cdcl_add_choice(x->s, x->scratch.v + at, end - at);
			note(x, gate, NONE);
			cdcl_imply(x->s, first + i, gate);
			note_gate(x, first + i, gate);
		}
		vec_clear(&x->scratch);
		for (uint32_t i = 0; i < count; i++)
			vec_push(&x->scratch, first + i);
	}
	vec_release(&alternatives);
}

static void say_origin(struct solving *x, uint32_t var, const struct channel_need *need)
{
	/* formulas of what the needs read for the moment live in their memory */
	const uint32_t *v = x->noting && need->one.n ? arena_copy(x->a, need->one.v, need->one.n, sizeof(*v)) : NULL;
	vec_push(&x->origin, ((struct origin){var, x->telling, need->formula, v, need->one.n, need->kind == CHANNEL_BAN,
					      x->invariant}));
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
		note(x, without, x->without);
		if (x->aims.n)
			optimum_add(&x->optimum, without, 1);
		vec_push(&x->scratch, without);
	} else if (need->kind == CHANNEL_NEED && goes_deep(x))
		split(x);
	uint32_t n = (uint32_t)x->scratch.n;
	uint32_t gate = need->kind == CHANNEL_BAN ? cdcl_add_ban(x->s, x->scratch.v, n)
						  : cdcl_add_choice(x->s, x->scratch.v, n);
	note(x, gate, NONE);
	say_origin(x, gate, need);
	if (need->kind != CHANNEL_BAN && !need->given_n && goes_deep(x))
		vec_push(&x->told, gate);
	if (need->given_n)
		cdcl_imply_if(x->s, x->var, witness, (uint32_t)need->given_n, gate);
	else
		cdcl_imply(x->s, x->var, gate);
	return 0;
}

/* What is installed is wished for, at any version. What was asked for is told of already, but where it may fail. */
static int wish_installed(struct solving *x, struct err *e)
{
	auto_arena a = ARENA_INIT;
	uint32_t count = channel_needs_count(x->needs);
	VEC(uint32_t) v = {0};
	for (uint32_t i = 0; i < count; i++) {
		const struct channel_candidate *c = channel_needs_candidate(x->needs, i);
		if (!c->installed || (!x->r->best_effort && map_get(&x->asked, c->name)))
			continue;
		vec_push(&v, c->first);
	}
	x->without = REMOVED;
	int rc = 0;
	for (size_t i = 0; i < v.n && rc == 0; i++) {
		const struct channel_candidate *c = channel_needs_candidate(x->needs, v.v[i]);
		uint32_t *all = arena_array(&a, uint32_t, c->n + 1);
		for (uint32_t k = 0; k < c->n; k++)
			all[k] = c->first + k;
		const struct channel_need wish = {.kind = CHANNEL_WISH, .one = {all, c->n}};
		rc = take(x, &wish, e);
	}
	x->without = NONE;
	vec_release(&v);
	return rc;
}

static int note_asked(void *ctx, const struct channel_need *need, struct err *e)
{
	struct solving *x = ctx;
	(void)e;
	if (need->one.n)
		*map_put(&x->asked, channel_needs_candidate(x->needs, need->one.v[0])->name) = 1;
	return 0;
}

/* What was asked for, where it may fail: one choice with "to do without" as its last candidate. */
static int take_wish(void *ctx, const struct channel_need *need, struct err *e)
{
	struct channel_need wish = *need;
	if (wish.kind == CHANNEL_NEED)
		wish.kind = CHANNEL_WISH;
	return take(ctx, &wish, e);
}

/* What was asked to go: none of these. */
static int take_ban(void *ctx, const struct channel_need *need, struct err *e)
{
	struct channel_need ban = *need;
	ban.kind = CHANNEL_BAN;
	return take(ctx, &ban, e);
}

static int ask_each(struct solving *x, const struct str *v, size_t n, channel_need_fn *fn, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (channel_needs_ask(x->needs, v[i], fn, x, e) < 0)
			return -1;
	return 0;
}

static int ask_all(struct solving *x, struct err *e)
{
	const struct solve_needs_request *r = x->r;
	x->without = UNMET;
	int rc = ask_each(x, r->asked, r->asked_n, r->best_effort ? take_wish : take, e);
	x->without = NONE;
	return rc < 0 ? -1 : ask_each(x, r->removed, r->removed_n, take_ban, e);
}

static int expand_root(struct solving *x, struct err *e)
{
	const struct solve_needs_request *r = x->r;
	bool keeps = x->aims.n || r->criteria == SOLVE_0INSTALL;
	if (ask_each(x, r->asked, r->asked_n, note_asked, e) < 0 ||
	    ask_each(x, r->removed, r->removed_n, note_asked, e) < 0)
		return -1;
	if (r->criteria == SOLVE_0INSTALL && wish_installed(x, e) < 0)
		return -1;
	x->invariant = true;
	int rc = ask_each(x, r->invariant, r->invariant_n, take, e);
	x->invariant = false;
	if (rc < 0 || ask_all(x, e) < 0)
		return -1;
	return keeps && r->criteria != SOLVE_0INSTALL ? wish_installed(x, e) : 0;
}

static int expand(void *ctx, uint32_t var, struct err *e)
{
	struct solving *x = ctx;
	uint32_t package = x->package_of.v[var];
	x->var = var;
	x->telling = var == x->root ? NONE : package;
	vec_clear(&x->told);
	if (var != x->root && package >= UNMET)
		return 0; /* to do without, or an alternative */
	int rc = var == x->root ? expand_root(x, e) : channel_needs_tell(x->needs, package, take, x, e);
	vec_foreach(gate, &x->told)
		note_gate(x, var, *gate);
	return rc;
}

/* 0install's order: the first choice that is open on a walk from the root, depth first, through what is chosen already. */
static uint32_t next_open(void *ctx)
{
	struct solving *x = ctx;
	vec_clear(&x->walk);
	vec_clear(&x->walked);
	vec_reserve(&x->walked, x->package_of.n + 1);
	x->walked.n = x->package_of.n;
	memset(x->walked.v, 0, x->walked.n);
	vec_push(&x->walk, ((struct step){x->root, 0}));
	while (x->walk.n) {
		size_t top = x->walk.n - 1;
		uint32_t var = x->walk.v[top].var;
		const struct gates g = var < x->gates.n ? x->gates.v[var] : (struct gates){0};
		if (x->walk.v[top].gates == g.n) {
			x->walk.n--;
			continue;
		}
		uint32_t gate = x->gate.v[g.at + x->walk.v[top].gates++], chosen = cdcl_chosen(x->s, gate);
		if (chosen == NONE)
			return gate;
		if (chosen >= x->walked.n || x->walked.v[chosen])
			continue;
		x->walked.v[chosen] = 1;
		vec_push(&x->walk, ((struct step){chosen, 0}));
	}
	return NONE;
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

/* By criteria it is told in chains (why_not.h). */
static void explain_chains(struct solving *x, struct solve_needs_result *ret)
{
	const struct cdcl_why *why;
	size_t n = cdcl_proof(x->s, &why), edges = 0;
	auto_free struct why_edge *edge = xreallocarray(NULL, n + 1, sizeof(*edge));
	auto_free uint8_t *told = xcalloc(x->package_of.n + 1, 1);
	auto_free uint32_t *place = xcalloc(x->package_of.n + 1, sizeof(*place));
	for (size_t i = 0; i < x->origin.n; i++)
		place[x->origin.v[i].var] = (uint32_t)i + 1;
	for (size_t i = 0; i < n; i++) {
		uint32_t gate = why[i].kind == CDCL_IMPLIES ? why[i].b : why[i].a;
		if ((why[i].kind != CDCL_IMPLIES && why[i].kind != CDCL_CHOICE && why[i].kind != CDCL_BANS) ||
		    gate >= x->package_of.n || !place[gate] || told[gate])
			continue;
		const struct origin *o = &x->origin.v[place[gate] - 1];
		told[gate] = 1;
		edge[edges++] = (struct why_edge){o->package != NONE ? o->package
						  : o->invariant     ? WHY_INVARIANT
								     : WHY_ASKED,
						  o->ban, o->formula, o->v, o->n};
	}
	why_not(x->needs, edge, edges, x->a, ret);
}

/* -- solving -------------------------------------------------------------------------------------------------------- */

static void collect(struct solving *x, struct solve_needs_result *ret)
{
	uint32_t count = channel_needs_count(x->needs);
	uint32_t *v = arena_array(x->a, uint32_t, x->package_of.n + 1);
	ret->n = 0;
	for (uint32_t i = 0; i < count; i++)
		if (x->var_of[i] != NONE && cdcl_is_true(x->s, x->var_of[i]))
			v[ret->n++] = i;
	ret->package = v;
}

static void keep_found(void *ctx)
{
	struct solving *x = ctx;
	collect(x, x->result);
}

/* What is asked of the criteria, most important first. */
static int read_aims(struct solving *x, struct err *e)
{
	const struct solve_needs_request *r = x->r;
	const char *text = solve_aims_usual(r->criteria);
	struct solve_aims *aims = &x->aims;
	if (r->aims)
		*aims = *r->aims;
	else if (text && solve_aims_parse(str_c(text), aims, e) < 0)
		return -1;
	if (r->best_effort && aims->n == SOLVE_AIMS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d criteria", (int)SOLVE_AIMS_MAX);
	if (r->best_effort) {
		memmove(aims->v + 1, aims->v, aims->n * sizeof(*aims->v));
		aims->v[0] = (struct solve_aim){SOLVE_AIM_UNMET, SOLVE_OVER_SOLUTION};
		aims->n++;
	}
	return 0;
}

static int run(struct solving *x, bool proof, struct err *e)
{
	const struct cdcl_ops ops = {.ctx = x, .expand = expand, .next = goes_deep(x) ? next_open : NULL};
	uint32_t count = channel_needs_count(x->needs);
	x->without = NONE;
	if (read_aims(x, e) < 0)
		return -1;
	x->var_of = xreallocarray(NULL, (size_t)count + 1, sizeof(*x->var_of));
	memset(x->var_of, 0xff, ((size_t)count + 1) * sizeof(*x->var_of));
	x->s = cdcl_new(&ops);
	if (x->aims.n) {
		aim_costs_init(&x->costs, x->needs);
		x->optimum = (struct optimum){
			.s = x->s, .aims = (unsigned)x->aims.n, .cost = cost, .found = keep_found, .ctx = x};
	}
	if (proof)
		cdcl_record_proof(x->s);
	x->root = cdcl_add_group(x->s, 1);
	note(x, x->root, NONE);
	return cdcl_solve(x->s, x->root, x->r->max_conflicts ? x->r->max_conflicts : CONFLICTS_MAX, e);
}

static int finish(struct solving *x, struct solve_needs_result *ret, struct err *e)
{
	collect(x, ret);
	int rc = x->aims.n ? optimum_find(&x->optimum, cdcl_stats(x->s).conflicts + IMPROVE_MAX, e) : 0;
	ret->unproved = rc > 0;
	ret->conflicts = cdcl_stats(x->s).conflicts;
	ret->variables = cdcl_stats(x->s).variables;
	return rc < 0 ? -1 : 0;
}

static int solve_by(struct channel_needs *needs, const struct solve_needs_request *r, struct arena *a,
		    struct solve_needs_result *ret, struct err *e)
{
	*ret = (struct solve_needs_result){0};
	/* without what is to be avoided; with it; and once more with notes of each step, where there is something to tell */
	for (int turn = r->criteria == SOLVE_FIRST ? 0 : 1; turn < 3; turn++) {
		cleanup_with(solving_release) struct solving x = {.needs = needs,
								  .a = a,
								  .r = r,
								  .result = ret,
								  .avoiding = turn == 0,
								  .noting = turn == 2,
								  .asked = MAP_INIT};
		int rc = run(&x, turn == 2, e);
		if (rc < 0)
			return -1;
		ret->conflicts = cdcl_stats(x.s).conflicts;
		ret->variables = cdcl_stats(x.s).variables;
		if (rc == 0)
			return finish(&x, ret, e);
		if (turn == 0 && !x.refused)
			turn++;
		if (turn == 2 && r->criteria == SOLVE_FIRST)
			explain(&x, ret);
		else if (turn == 2)
			explain_chains(&x, ret);
	}
	return 1;
}

/* Whether a solution has what was asked for. */
struct having {
	const uint8_t *has; /* by package */
	bool all;
};

static int test_having(void *ctx, const struct channel_need *need, struct err *e)
{
	struct having *h = ctx;
	bool any = need->kind != CHANNEL_NEED;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++)
		any |= h->has[need->one.v[i]];
	h->all &= any;
	return 0;
}

/*
 * 0install and the oldest weigh nothing: so it is found first how much of what was asked for can be had together, and that is then asked for.
 */
static int solve_possible(struct channel_needs *needs, const struct solve_needs_request *r, struct arena *a,
			  struct solve_needs_result *ret, struct err *e)
{
	static const struct solve_aims none = {0};
	struct solve_needs_request most = *r, those = *r;
	struct solve_needs_result first;
	most.criteria = SOLVE_NEWEST;
	most.aims = &none;
	int rc = solve_by(needs, &most, a, &first, e);
	if (rc != 0) {
		*ret = first;
		return rc;
	}
	auto_free uint8_t *has = xcalloc((size_t)channel_needs_count(needs) + 1, 1);
	struct str *asked = arena_array(a, struct str, r->asked_n + 1);
	for (size_t i = 0; i < first.n; i++)
		has[first.package[i]] = 1;
	those.asked = asked;
	those.asked_n = 0;
	those.best_effort = false;
	for (size_t i = 0; i < r->asked_n; i++) {
		struct having h = {has, true};
		if (channel_needs_ask(needs, r->asked[i], test_having, &h, e) < 0)
			return -1;
		if (h.all)
			asked[those.asked_n++] = r->asked[i];
	}
	rc = solve_by(needs, &those, a, ret, e);
	ret->unproved |= first.unproved;
	return rc;
}

int solve_needs_by(struct channel_needs *needs, const struct solve_needs_request *r, struct arena *a,
		   struct solve_needs_result *ret, struct err *e)
{
	bool weighs = r->criteria != SOLVE_0INSTALL && r->criteria != SOLVE_OLDEST && r->criteria != SOLVE_FIRST;
	return r->best_effort && !weighs ? solve_possible(needs, r, a, ret, e) : solve_by(needs, r, a, ret, e);
}

int solve_needs(struct channel_needs *needs, const struct str *asked, size_t n, uint64_t max_conflicts, struct arena *a,
		struct solve_needs_result *ret, struct err *e)
{
	const struct solve_needs_request r = {.asked = asked, .asked_n = n, .max_conflicts = max_conflicts};
	return solve_needs_by(needs, &r, a, ret, e);
}
