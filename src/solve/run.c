// SPDX-License-Identifier: Apache-2.0
#include "solve/run.h"

#include "solve/order.h"

enum { TERMS_MAX = 64, TERM_SIZE = 16 };

static void map_variable(struct run *r, uint32_t var, uint32_t n, uint32_t cand, uint32_t spec)
{
	size_t end = (size_t)var + n;
	vec_reserve(&r->cand_of, end);
	vec_reserve(&r->spec_of, end);
	for (size_t i = r->cand_of.n; i < end; i++) {
		r->cand_of.v[i] = WORLD_NONE;
		r->spec_of.v[i] = WORLD_NONE;
	}
	r->cand_of.n = r->spec_of.n = end;
	for (uint32_t i = 0; i < n; i++) {
		r->cand_of.v[var + i] = cand == WORLD_NONE ? WORLD_NONE : cand + i;
		r->spec_of.v[var + i] = spec;
	}
}

/* The engine's variable of the first candidate of a name. */
static uint32_t name_variable(struct run *r, uint32_t name)
{
	const struct world_name *n = world_load(r->p, name);
	if (n->var == WORLD_NONE) {
		uint32_t var = cdcl_add_group(r->s, n->n);
		r->p->name.v[name].var = var;
		map_variable(r, var, n->n, n->first, WORLD_NONE);
		return var;
	}
	return n->var;
}

/* The members of a spec as variables, for the engine. Valid until the next call. */
static uint32_t *member_variables(struct run *r, uint32_t spec, uint32_t *n)
{
	const struct world_spec *s = world_members(r->p, spec);
	uint32_t *v = xreallocarray(NULL, s->member_n + 1u, sizeof(*v));
	*n = s->member_n;
	if (s->member_n) {
		uint32_t name = s->name, var = name_variable(r, name), first = r->p->name.v[name].first;
		for (uint32_t i = 0; i < *n; i++)
			v[i] = var + (s->member[i] - first);
	}
	return v;
}

static uint32_t choice_of(struct run *r, uint32_t spec)
{
	if (r->p->spec.v[spec].choice != WORLD_NONE)
		return r->p->spec.v[spec].choice;
	uint32_t n;
	auto_free uint32_t *v = member_variables(r, spec, &n);
	uint32_t gate = cdcl_add_choice(r->s, v, n);
	map_variable(r, gate, 1, WORLD_NONE, spec);
	r->p->spec.v[spec].choice = gate;
	return gate;
}

/* "None but these": a ban of the name's other candidates. */
static uint32_t ban_of(struct run *r, uint32_t spec)
{
	if (r->p->spec.v[spec].ban != WORLD_NONE)
		return r->p->spec.v[spec].ban;
	const struct world_spec *s = world_members(r->p, spec);
	uint32_t name = s->name, var = name_variable(r, name), n = 0, k = 0;
	const struct world_name *of = &r->p->name.v[name];
	auto_free uint32_t *v = xreallocarray(NULL, of->n + 1u, sizeof(*v));
	for (uint32_t i = 0; i < of->n; i++) {
		if (k < s->member_n && s->member[k] == of->first + i)
			k++;
		else
			v[n++] = var + i;
	}
	uint32_t gate = cdcl_add_ban(r->s, v, n);
	map_variable(r, gate, 1, WORLD_NONE, spec);
	r->p->spec.v[spec].ban = gate;
	return gate;
}

/* A condition as a disjunction of conjunctions of specs. */
struct terms {
	struct {
		uint32_t spec[TERM_SIZE], n;
	} term[TERMS_MAX];
	uint32_t n;
};

static bool expand_condition(struct run *r, const struct spec_condition *c, struct terms *t, unsigned depth)
{
	if (!c || depth > TERM_SIZE)
		return false;
	if (c->op == SPEC_CONDITION_SPEC) {
		t->n = 1;
		t->term[0].n = 1;
		t->term[0].spec[0] = world_spec_of_text(r->p, spec_text(c->spec), SPEC_DEPENDENCY);
		return r->p->spec.v[t->term[0].spec[0]].spec != NULL;
	}
	auto_free struct terms *a = xcalloc(2, sizeof(*a));
	struct terms *b = a + 1;
	if (!expand_condition(r, c->left, a, depth + 1) || !expand_condition(r, c->right, b, depth + 1))
		return false;
	if (c->op == SPEC_CONDITION_OR) {
		if (a->n + b->n > TERMS_MAX)
			return false;
		*t = *a;
		memcpy(&t->term[a->n], b->term, b->n * sizeof(b->term[0]));
		t->n = a->n + b->n;
		return true;
	}
	if (a->n * b->n > TERMS_MAX)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		for (uint32_t k = 0; k < b->n; k++) {
			if (a->term[i].n + b->term[k].n > TERM_SIZE)
				return false;
			t->term[t->n] = a->term[i];
			memcpy(&t->term[t->n].spec[a->term[i].n], b->term[k].spec, b->term[k].n * sizeof(uint32_t));
			t->term[t->n++].n += b->term[k].n;
		}
	return true;
}

/* The variable of a name's optional group. */
static uint32_t extra_of(struct run *r, uint32_t name, struct str group)
{
	vec_foreach(x, &r->extra)
		if (x->name == name && str_eq(x->group, group))
			return x->var;
	uint32_t var = cdcl_add_witness(r->s, NULL, 0);
	map_variable(r, var, 1, WORLD_NONE, WORLD_NONE);
	vec_push(&r->extra, ((struct run_extra){name, var, group}));
	return var;
}

/* var implies gate under the spec's condition, if it has one, and where `extra` (WORLD_NONE: always) is true. */
static void imply_if(struct run *r, uint32_t var, uint32_t spec, uint32_t extra, uint32_t gate)
{
	auto_free struct terms *t = xcalloc(1, sizeof(*t));
	const struct spec *s = r->p->spec.v[spec].spec;
	if (!spec_when(s).n)
		t->n = 1; /* one term, always true */
	else if (!expand_condition(r, spec_condition(s), t, 0)) {
		cdcl_refuse(r->s, var); /* too deep, or not a condition: as a spec that cannot be read */
		return;
	}
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t witness[TERM_SIZE + 1], n = t->term[i].n;
		for (uint32_t k = 0; k < n; k++) {
			uint32_t members;
			auto_free uint32_t *v = member_variables(r, t->term[i].spec[k], &members);
			witness[k] = cdcl_add_witness(r->s, v, members);
			map_variable(r, witness[k], 1, WORLD_NONE, t->term[i].spec[k]);
		}
		if (extra != WORLD_NONE)
			witness[n++] = extra;
		cdcl_imply_if(r->s, var, witness, n, gate);
	}
}

static void imply(struct run *r, uint32_t var, uint32_t spec)
{
	const struct spec *s = r->p->spec.v[spec].spec;
	const struct str *group;
	if (!s) {
		cdcl_refuse(r->s, var);
		return;
	}
	if (spec_when(s).n)
		imply_if(r, var, spec, WORLD_NONE, choice_of(r, spec));
	else
		cdcl_imply(r->s, var, choice_of(r, spec));
	uint32_t n = spec_extras(s, &group);
	for (uint32_t i = 0; i < n; i++)
		imply_if(r, var, spec, WORLD_NONE, extra_of(r, r->p->spec.v[spec].name, group[i]));
}

static void imply_extras(struct run *r, uint32_t var, uint32_t cand)
{
	const struct world_extra *x;
	uint32_t n = world_extras(r->p, cand, &x);
	for (uint32_t i = 0; i < n; i++)
		if (r->p->spec.v[x[i].spec].spec)
			imply_if(r, var, x[i].spec, extra_of(r, r->p->cand.v[cand].name, x[i].group),
				 choice_of(r, x[i].spec));
		else
			cdcl_refuse(r->s, var);
}

static void expand_root(struct run *r)
{
	struct world *p = r->p;
	for (size_t i = 0; i < p->r->virtuals_n; i++) {
		uint32_t name = world_name(p, p->r->virtuals[i].name), var = name_variable(r, name);
		const struct world_name *n = &p->name.v[name];
		for (uint32_t c = 0; c < n->n; c++) {
			const struct world_candidate *k = &p->cand.v[n->first + c];
			if (k->index != WORLD_VIRTUAL || k->pkg != i)
				continue;
			uint32_t gate = cdcl_add_choice(r->s, (uint32_t[]){var + c}, 1);
			map_variable(r, gate, 1, WORLD_NONE, WORLD_NONE);
			cdcl_imply(r->s, r->root, gate);
		}
	}
	for (uint32_t i = 0; i < r->want_n; i++)
		imply(r, r->root, r->want[i]);
	for (uint32_t i = 0; i < p->constraints; i++)
		cdcl_imply(r->s, r->root, ban_of(r, p->requests + i));
}

static int expand(void *ctx, uint32_t var, struct err *e)
{
	struct run *r = ctx;
	const uint32_t *specs;
	(void)e;
	if (var == r->root) {
		expand_root(r);
		return 0;
	}
	uint32_t cand = r->cand_of.v[var];
	uint32_t n = world_depends(r->p, cand, &specs);
	for (uint32_t i = 0; i < n; i++)
		imply(r, var, specs[i]);
	imply_extras(r, var, cand);
	n = world_constrains(r->p, cand, &specs);
	for (uint32_t i = 0; i < n; i++) {
		const struct spec *s = r->p->spec.v[specs[i]].spec;
		if (s)
			cdcl_imply(r->s, var, ban_of(r, specs[i]));
		else
			cdcl_refuse(r->s, var);
	}
	return 0;
}

static uint32_t order(void *ctx, uint32_t *vars, uint32_t n)
{
	struct run *r = ctx;
	struct world *p = r->p;
	uint32_t k = 1, first = r->cand_of.v[vars[0]], rank = p->cand.v[first].rank;
	while (k < n && p->cand.v[r->cand_of.v[vars[k]]].rank == rank)
		k++;
	if (k == 1)
		return 1;
	uint32_t shift = vars[0] - first; /* one name: its variables and candidates run side by side */
	for (uint32_t i = 0; i < k; i++)
		vars[i] -= shift;
	order_candidates(p, vars, k);
	for (uint32_t i = 0; i < k; i++)
		vars[i] += shift;
	return k;
}

/* The chosen candidate of a name, or WORLD_NONE. */
static uint32_t chosen_of(const struct run *r, uint32_t name)
{
	const struct world_name *n = &r->p->name.v[name];
	for (uint32_t i = 0; n->var != WORLD_NONE && i < n->n; i++)
		if (cdcl_is_true(r->s, n->var + i))
			return n->first + i;
	return WORLD_NONE;
}

/* Whether a dependency counts in this solution. */
static bool counts(struct run *r, uint32_t spec)
{
	const struct spec *s = r->p->spec.v[spec].spec;
	return s && (!spec_when(s).n || cdcl_is_true(r->s, r->p->spec.v[spec].choice));
}

VEC_TYPE(specs, uint32_t);

static void collect_extras(struct run *r, uint32_t cand, struct specs *todo)
{
	const struct world_extra *x;
	uint32_t n = world_extras(r->p, cand, &x);
	for (uint32_t i = 0; i < n; i++)
		if (cdcl_is_true(r->s, extra_of(r, r->p->cand.v[cand].name, x[i].group)) && counts(r, x[i].spec))
			vec_push(todo, x[i].spec);
}

/* Only what the specs lead to is installed, though the search may have made more true on its way. */
static void collect(struct run *r)
{
	struct world *p = r->p;
	struct specs todo = {0};
	auto_free bool *seen = xcalloc(p->cand.n + 1, 1);
	for (uint32_t i = 0; i < r->want_n; i++)
		if (counts(r, r->want[i]))
			vec_push(&todo, r->want[i]);
	while (todo.n) {
		uint32_t spec = vec_pop(&todo), cand = chosen_of(r, p->spec.v[spec].name);
		const uint32_t *specs;
		if (cand == WORLD_NONE || seen[cand])
			continue;
		seen[cand] = true;
		if (p->cand.v[cand].index != WORLD_VIRTUAL)
			vec_push(&r->chosen, cand);
		uint32_t n = world_depends(p, cand, &specs);
		for (uint32_t i = 0; i < n; i++)
			if (counts(r, specs[i]))
				vec_push(&todo, specs[i]);
		collect_extras(r, cand, &todo);
	}
	vec_release(&todo);
}

int run_solve(struct run *r, struct world *p, const uint32_t *want, uint32_t want_n, bool proof, uint64_t max_conflicts,
	      struct err *e)
{
	*r = (struct run){.p = p, .want = want, .want_n = want_n};
	struct cdcl_ops ops = {.ctx = r, .expand = expand, .order = order};
	vec_foreach(n, &p->name)
		n->var = WORLD_NONE;
	vec_foreach(s, &p->spec)
		s->choice = s->ban = WORLD_NONE;
	r->s = cdcl_new(&ops);
	if (proof)
		cdcl_record_proof(r->s);
	r->root = cdcl_add_group(r->s, 1);
	map_variable(r, r->root, 1, WORLD_NONE, WORLD_NONE);
	int rc = cdcl_solve(r->s, r->root, max_conflicts, e);
	if (rc == 0)
		collect(r);
	return rc;
}

void run_release(struct run *r)
{
	cdcl_free(r->s);
	vec_release(&r->cand_of);
	vec_release(&r->spec_of);
	vec_release(&r->extra);
	vec_release(&r->chosen);
	r->s = NULL;
}
