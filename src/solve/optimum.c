// SPDX-License-Identifier: Apache-2.0
#include "solve/optimum.h"

enum { NONE = UINT32_MAX };

/* -- suppositions ------------------------------------------------------------------------------------------------------ */

static struct optimum_soft *soft_of(struct optimum *o, uint32_t var)
{
	return var < o->soft_of.n && o->soft_of.v[var] ? &o->soft.v[o->soft_of.v[var] - 1] : NULL;
}

static void add_soft(struct optimum *o, const struct optimum_soft *soft)
{
	while (o->soft_of.n <= soft->var)
		vec_push(&o->soft_of, 0U);
	vec_push(&o->soft, *soft);
	o->soft_of.v[soft->var] = (uint32_t)o->soft.n;
	cdcl_suppose_not(o->s, soft->var);
}

/* The group's next step above a cost: no candidate of it costs more than that. */
static void add_step(struct optimum *o, uint32_t group, uint32_t above)
{
	const struct optimum_group g = o->group.v[group];
	VEC(uint32_t) v = {0};
	uint32_t least = NONE;
	for (uint32_t i = 0; i < g.n; i++) {
		uint32_t cost = o->cost(o->ctx, o->aim, g.first + i);
		if (cost <= above)
			continue;
		vec_push(&v, g.first + i);
		if (cost < least)
			least = cost;
	}
	if (v.n) {
		uint32_t var = cdcl_add_witness(o->s, v.v, (uint32_t)v.n);
		add_soft(o, &(struct optimum_soft){var, least - above, group, least, false});
	}
	vec_release(&v);
}

/* By this aim all is done that can be: what came up too late to be counted costs nothing in the best solutions. */
static void refuse_costly(struct optimum *o, unsigned aim, const struct optimum_group *g)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (o->cost(o->ctx, aim, g->first + i))
			cdcl_refuse(o->s, g->first + i);
}

void optimum_add(struct optimum *o, uint32_t first, uint32_t n)
{
	const struct optimum_group g = {first, n};
	vec_push(&o->group, g);
	if (!o->running)
		return;
	for (unsigned aim = 0; aim < o->aim; aim++)
		refuse_costly(o, aim, &g);
	if (o->aim < o->aims)
		add_step(o, (uint32_t)o->group.n - 1, 0);
}

/* -- cores -------------------------------------------------------------------------------------------------------------- */

/* One of v[0..n) at least is true; that it is more than one is supposed not to be, in n-1 parts. */
static void suppose_one(struct optimum *o, const uint32_t *v, size_t n, uint32_t weight)
{
	uint32_t behind = v[n - 1];
	for (size_t i = n - 1; i-- > 0;) {
		uint32_t both = cdcl_add_witness(o->s, NULL, 0);
		cdcl_imply_if(o->s, v[i], &behind, 1, both);
		add_soft(o, &(struct optimum_soft){both, weight, NONE, 0, false});
		if (i)
			behind = cdcl_add_witness(o->s, (uint32_t[]){v[i], behind}, 2);
	}
}

static void relax(struct optimum *o, const uint32_t *v, size_t n)
{
	uint32_t weight = NONE;
	for (size_t i = 0; i < n; i++)
		if (soft_of(o, v[i])->weight < weight)
			weight = soft_of(o, v[i])->weight;
	o->least[o->aim] += weight;
	for (size_t i = 0; i < n; i++) {
		struct optimum_soft *soft = soft_of(o, v[i]);
		soft->weight -= weight;
		if (!soft->weight)
			cdcl_suppose_no_more(o->s, v[i]);
		if (soft->group != NONE && !soft->stepped) {
			soft->stepped = true;
			add_step(o, soft->group, soft->above);
		}
	}
	suppose_one(o, v, n, weight);
}

/* What is true already in every solution costs what it costs. */
static void relax_fixed(struct optimum *o)
{
	for (size_t i = 0; i < o->soft.n; i++) {
		uint32_t var = o->soft.v[i].var;
		while (soft_of(o, var)->weight && cdcl_fixed(o->s, var) > 0)
			relax(o, &var, 1);
	}
}

/* -- the search ---------------------------------------------------------------------------------------------------------- */

/* The engine has a solution: is it the best so far? */
static void weigh(struct optimum *o)
{
	uint64_t cost[OPTIMUM_AIMS_MAX] = {0};
	vec_foreach(g, &o->group)
		for (uint32_t i = 0; i < g->n; i++)
			if (cdcl_is_true(o->s, g->first + i))
				for (unsigned aim = 0; aim < o->aims; aim++)
					cost[aim] += o->cost(o->ctx, aim, g->first + i);
	bool better = !o->has_best;
	for (unsigned aim = 0; aim < o->aims && !better && cost[aim] <= o->best[aim]; aim++)
		better = cost[aim] < o->best[aim];
	if (!better)
		return;
	memcpy(o->best, cost, sizeof(cost));
	o->has_best = true;
	o->found(o->ctx);
}

/* The suppositions that are left are what the best solutions have in common. */
static void settle(struct optimum *o)
{
	cdcl_back(o->s);
	vec_foreach(soft, &o->soft)
		if (soft->weight) {
			cdcl_suppose_no_more(o->s, soft->var);
			cdcl_refuse(o->s, soft->var);
		}
	vec_clear(&o->soft);
	if (o->soft_of.n)
		memset(o->soft_of.v, 0, o->soft_of.n * sizeof(*o->soft_of.v));
}

static int find_by_aim(struct optimum *o, uint64_t max_conflicts, struct err *e)
{
	cdcl_back(o->s);
	for (uint32_t i = 0; i < o->group.n; i++)
		add_step(o, i, 0);
	for (;;) {
		relax_fixed(o);
		int rc = cdcl_again(o->s, max_conflicts, e);
		if (rc < 0)
			return -1;
		if (rc == 1)
			panic("optimum: a solution was lost");
		if (rc == 0)
			return 0;
		const uint32_t *core;
		size_t n = cdcl_core(o->s, &core);
		auto_free uint32_t *v = xreallocarray(NULL, n, sizeof(*v));
		memcpy(v, core, n * sizeof(*v));
		cdcl_back(o->s);
		if (n > 1 && cdcl_narrow(o->s, v, &n, e) < 0)
			return -1;
		relax(o, v, n);
	}
}

int optimum_find(struct optimum *o, uint64_t max_conflicts, struct err *e)
{
	struct err why = ERR_INIT;
	int rc = 0;
	if (o->aims > OPTIMUM_AIMS_MAX)
		panic("optimum: more than %d aims", (int)OPTIMUM_AIMS_MAX);
	weigh(o);
	o->running = true;
	for (o->aim = 0; o->aim < o->aims && rc == 0; o->aim++) {
		rc = find_by_aim(o, max_conflicts, &why);
		if (rc == 0) {
			weigh(o);
			settle(o);
		}
	}
	if (rc == 0) {
		/* of the best, the one that is met first in the order of preference */
		cdcl_calm(o->s);
		rc = cdcl_again(o->s, max_conflicts, &why);
	}
	if (rc == 0)
		o->found(o->ctx);
	if (rc < 0 && why.code != ERR_LIMIT) {
		*e = why;
		return -1;
	}
	return rc < 0;
}

void optimum_release(struct optimum *o)
{
	vec_release(&o->group);
	vec_release(&o->soft);
	vec_release(&o->soft_of);
}
