// SPDX-License-Identifier: Apache-2.0
#include "solve/order.h"

struct dep {
	uint32_t name, spec;
};
struct item {
	uint32_t cand, seq;
	struct dep *dep; /* by name */
	uint32_t dep_n;
};
struct ordering {
	struct world *p;
	uint32_t *shared; /* names, in alphabetical order */
	uint32_t shared_n;
	bool lowest;
};

static int by_name(const void *a, const void *b)
{
	const struct dep *x = a, *y = b;
	if (x->name != y->name)
		return x->name < y->name ? -1 : 1;
	return (x->spec > y->spec) - (x->spec < y->spec);
}

static void read_deps(struct world *p, struct item *it, struct arena *tmp)
{
	const uint32_t *specs;
	uint32_t n = world_depends(p, it->cand, &specs);
	it->dep = arena_array(tmp, struct dep, n + 1u);
	for (uint32_t i = 0; i < n; i++)
		if (p->spec.v[specs[i]].spec && !spec_when(p->spec.v[specs[i]].spec).n)
			it->dep[it->dep_n++] = (struct dep){p->spec.v[specs[i]].name, specs[i]};
	if (it->dep_n)
		qsort(it->dep, it->dep_n, sizeof(*it->dep), by_name);
}

/* The run of dependencies on one name. */
static uint32_t find_deps(const struct item *it, uint32_t name, const struct dep **ret)
{
	uint32_t lo = 0, hi = it->dep_n;
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;
		if (it->dep[mid].name < name)
			lo = mid + 1;
		else
			hi = mid;
	}
	uint32_t end = lo;
	while (end < it->dep_n && it->dep[end].name == name)
		end++;
	*ret = it->dep + lo;
	return end - lo;
}

static int by_text(const void *a, const void *b, void *ctx)
{
	const struct world *p = ctx;
	return str_cmp(p->name.v[*(const uint32_t *)a].text, p->name.v[*(const uint32_t *)b].text);
}

static bool deps_equal(const struct item *a, const struct item *b, uint32_t name)
{
	const struct dep *x, *y;
	uint32_t n = find_deps(a, name, &x);
	if (find_deps(b, name, &y) != n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		if (x[i].spec != y[i].spec)
			return false;
	return true;
}

/* Names that all depend on, without those where all ask for the same. */
static void find_shared(struct ordering *o, const struct item *items, uint32_t n, struct arena *tmp)
{
	const struct item *first = &items[0];
	o->shared = arena_array(tmp, uint32_t, first->dep_n + 1u);
	for (uint32_t d = 0; d < first->dep_n; d++) {
		uint32_t name = first->dep[d].name;
		const struct dep *ignored;
		bool all = true, equal = true;
		if (d && first->dep[d - 1].name == name)
			continue;
		for (uint32_t i = 1; i < n && all; i++) {
			all = find_deps(&items[i], name, &ignored) > 0;
			equal = equal && deps_equal(first, &items[i], name);
		}
		if (all && !equal)
			o->shared[o->shared_n++] = name;
	}
	if (o->shared_n)
		qsort_r(o->shared, o->shared_n, sizeof(*o->shared), by_text, o->p);
}

static int cmp_versions(struct world *p, uint32_t a, uint32_t b)
{
	const struct version *x = world_version_of(p, a), *y = world_version_of(p, b);
	if (a == b)
		return 0;
	return x && y ? p->scheme->version_cmp(x, y) : (x != NULL) - (y != NULL);
}

/* The highest version that a spec allows, WORLD_NONE where it allows none. */
static uint32_t best_of_spec(struct world *p, uint32_t spec, bool *tracks)
{
	if (!p->spec.v[spec].best_known) {
		const struct world_spec *s = world_members(p, spec);
		uint32_t best = WORLD_NONE;
		bool t = false;
		for (uint32_t i = 0; i < s->member_n; i++) {
			const struct world_candidate *c = &p->cand.v[s->member[i]];
			if (best == WORLD_NONE || (c->version != best && cmp_versions(p, c->version, best) > 0)) {
				best = c->version;
				t = c->track_features;
			}
		}
		struct world_spec *w = &p->spec.v[spec];
		w->best_known = true;
		w->best = best;
		w->best_tracks = t;
	}
	*tracks = p->spec.v[spec].best_tracks;
	return p->spec.v[spec].best;
}

/* The same for all that an item asks of one name: the lowest of the highest. */
static uint32_t best_of_name(struct world *p, const struct item *it, uint32_t name, bool *tracks)
{
	const struct dep *d;
	uint32_t n = find_deps(it, name, &d), best = WORLD_NONE;
	for (uint32_t i = 0; i < n; i++) {
		bool t;
		uint32_t v = best_of_spec(p, d[i].spec, &t);
		if (v == WORLD_NONE)
			continue;
		bool worse = best == WORLD_NONE || (t != *tracks ? t : cmp_versions(p, v, best) < 0);
		if (worse) {
			best = v;
			*tracks = t;
		}
	}
	return best;
}

static int cmp_items(const struct ordering *o, const struct item *a, const struct item *b)
{
	for (uint32_t i = 0; i < o->shared_n; i++) {
		bool at = false, bt = false;
		if (deps_equal(a, b, o->shared[i]))
			continue;
		uint32_t x = best_of_name(o->p, a, o->shared[i], &at), y = best_of_name(o->p, b, o->shared[i], &bt);
		if (x == WORLD_NONE && y == WORLD_NONE)
			continue;
		if (x == WORLD_NONE || y == WORLD_NONE)
			return x == WORLD_NONE ? 1 : -1;
		if (at != bt)
			return at ? 1 : -1;
		int c = cmp_versions(o->p, x, y);
		if (c)
			return o->lowest ? c : -c;
	}
	const struct world_candidate *x = &o->p->cand.v[a->cand], *y = &o->p->cand.v[b->cand];
	if (x->timestamp_ms != y->timestamp_ms)
		return x->timestamp_ms < y->timestamp_ms ? 1 : -1;
	return a->seq < b->seq ? -1 : 1;
}

static int cmp_for_sort(const void *a, const void *b, void *ctx)
{
	return cmp_items(ctx, a, b);
}

void order_candidates(struct world *p, uint32_t *cand, uint32_t n)
{
	auto_arena tmp = ARENA_INIT;
	struct ordering o = {.p = p, .lowest = p->r->strategy == SOLVE_LOWEST};
	struct item *items = arena_array(&tmp, struct item, n);
	for (uint32_t i = 0; i < n; i++) {
		items[i].cand = cand[i];
		items[i].seq = i;
		read_deps(p, &items[i], &tmp);
	}
	find_shared(&o, items, n, &tmp);
	qsort_r(items, n, sizeof(*items), cmp_for_sort, &o);
	for (uint32_t i = 0; i < n; i++)
		cand[i] = items[i].cand;
}
