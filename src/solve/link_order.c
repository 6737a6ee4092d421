// SPDX-License-Identifier: Apache-2.0
/*
 * What a package needs is linked before it. Packages are visited by name, each after what it depends on. Dependencies go
 * in circles in practice (python needs pip, pip needs python): python does not wait for packages that need it, and of any
 * other circle the package met first, by name, waits for the rest.
 */
#include "solve/run.h"

struct node {
	uint32_t cand;
	uint32_t first, n; /* in edges */
	uint8_t state;	   /* 0 new, 1 being visited, 2 done */
};
struct graph {
	struct world *p;
	VEC(struct node) node;
	VEC(uint32_t) edge;
	struct map by_name; /* name id → node + 1 */
};

static int by_name(const void *a, const void *b, void *ctx)
{
	const struct world *p = ctx;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int c = str_cmp(p->name.v[p->cand.v[x].name].text, p->name.v[p->cand.v[y].name].text);
	return c ? c : (x > y) - (x < y);
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static uint32_t node_of(const struct graph *g, uint32_t name)
{
	const uint64_t *at = map_get_id(&g->by_name, name);
	return at && *at ? (uint32_t)*at - 1 : WORLD_NONE;
}

static void add_edge(struct graph *g, uint32_t n, uint32_t spec)
{
	uint32_t to = g->p->spec.v[spec].spec ? node_of(g, g->p->spec.v[spec].name) : WORLD_NONE;
	if (to != WORLD_NONE && to != n)
		vec_push(&g->edge, to);
}

/* Edges to the nodes that a node depends on, in the order of their names. */
static void add_edges(struct graph *g, uint32_t n, uint32_t python, bool noarch_python)
{
	const uint32_t *specs;
	uint32_t specs_n = world_depends(g->p, g->node.v[n].cand, &specs), first = (uint32_t)g->edge.n, kept = first;
	for (uint32_t i = 0; i < specs_n; i++)
		add_edge(g, n, specs[i]);
	const struct world_extra *x;
	specs_n = world_extras(g->p, g->node.v[n].cand, &x);
	for (uint32_t i = 0; i < specs_n; i++)
		add_edge(g, n, x[i].spec);
	if (noarch_python && python != WORLD_NONE && n != python)
		vec_push(&g->edge, python);
	if (g->edge.n > first)
		qsort(&g->edge.v[first], g->edge.n - first, sizeof(uint32_t), by_number);
	for (uint32_t i = first; i < g->edge.n; i++)
		if (kept == first || g->edge.v[i] != g->edge.v[kept - 1])
			g->edge.v[kept++] = g->edge.v[i];
	g->edge.n = kept;
	g->node.v[n].first = first;
	g->node.v[n].n = kept - first;
}

/* Marks everything that needs python, python apart. */
static void find_needing(const struct graph *g, uint32_t python, bool *needs)
{
	bool more = python != WORLD_NONE;
	while (more) {
		more = false;
		for (uint32_t n = 0; n < g->node.n; n++) {
			for (uint32_t i = 0; i < g->node.v[n].n && !needs[n] && n != python; i++) {
				uint32_t to = g->edge.v[g->node.v[n].first + i];
				needs[n] = to == python || needs[to];
				more |= needs[n];
			}
		}
	}
}

static void visit(struct graph *g, uint32_t start, uint32_t python, const bool *needs, uint32_t *out, uint32_t *out_n)
{
	struct frame {
		uint32_t node, at;
	};
	VEC(struct frame) stack = {0};
	if (g->node.v[start].state)
		return;
	g->node.v[start].state = 1;
	vec_push(&stack, ((struct frame){start, 0}));
	while (stack.n) {
		struct frame *f = vec_last(&stack);
		struct node *n = &g->node.v[f->node];
		if (f->at == n->n) {
			n->state = 2;
			out[(*out_n)++] = n->cand;
			(void)vec_pop(&stack);
			continue;
		}
		uint32_t to = g->edge.v[n->first + f->at++];
		if (g->node.v[to].state || (f->node == python && needs[to]))
			continue;
		g->node.v[to].state = 1;
		vec_push(&stack, ((struct frame){to, 0}));
	}
	vec_release(&stack);
}

void link_order(struct world *p, uint32_t *cand, uint32_t n, const bool *noarch_python)
{
	struct graph g = {.p = p};
	uint32_t python = WORLD_NONE, out_n = 0;
	auto_free bool *needs = xcalloc(n + 1u, 1);
	auto_free bool *noarch = xcalloc(n + 1u, 1);
	auto_free uint32_t *out = xcalloc(n + 1u, sizeof(*out));
	auto_map noarch_of = MAP_INIT;
	for (uint32_t i = 0; i < n; i++)
		*map_put_id(&noarch_of, cand[i]) = noarch_python[i];
	if (n > 1)
		qsort_r(cand, n, sizeof(*cand), by_name, p);
	for (uint32_t i = 0; i < n; i++) {
		vec_push(&g.node, ((struct node){.cand = cand[i]}));
		*map_put_id(&g.by_name, p->cand.v[cand[i]].name) = i + 1;
		noarch[i] = *map_get_id(&noarch_of, cand[i]) != 0;
		if (str_eq_c(p->name.v[p->cand.v[cand[i]].name].text, "python"))
			python = i;
	}
	for (uint32_t i = 0; i < n; i++)
		add_edges(&g, i, python, noarch[i]);
	find_needing(&g, python, needs);
	if (python != WORLD_NONE)
		visit(&g, python, python, needs, out,
		      &out_n); /* before those that wait for it, so that it opens no circle */
	for (uint32_t i = 0; i < n; i++)
		visit(&g, i, python, needs, out, &out_n);
	if (n)
		memcpy(cand, out, n * sizeof(*cand));
	vec_release(&g.node);
	vec_release(&g.edge);
	map_release(&g.by_name);
}
