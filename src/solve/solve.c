// SPDX-License-Identifier: Apache-2.0
#include "solve/solve.h"

#include "solve/explain.h"
#include "solve/run.h"

enum { CONFLICTS_MAX = 500000 };

static int check_indexes(const struct solve_request *r, struct err *e)
{
	for (size_t i = 0; i < r->indexes_n; i++) {
		const struct channel_index *ci = &r->indexes[i];
		if (ci->index && index_check(ci->index, e) < 0)
			return err_ctx(e, "index of '%.*s/%.*s'", STR_ARG(ci->channel.shown), STR_ARG(ci->subdir));
	}
	return 0;
}

static void set_stats(const struct run *run, struct solve_result *res)
{
	struct cdcl_stats st = cdcl_stats(run->s);
	res->stats.names = run->p->name.n;
	res->stats.candidates = run->p->cand.n;
	res->stats.clauses = st.clauses;
	res->stats.decisions = st.decisions;
	res->stats.conflicts = st.conflicts;
	res->stats.learnt = st.learnt;
}

static int fill_packages(struct run *run, struct arena *a, struct solve_result *res, struct err *e)
{
	struct world *p = run->p;
	uint32_t n = (uint32_t)run->chosen.n;
	auto_free bool *noarch = xcalloc(n + 1u, 1);
	for (uint32_t i = 0; i < n; i++) {
		const struct world_candidate *c = &p->cand.v[run->chosen.v[i]];
		if (c->index == WORLD_INSTALLED)
			noarch[i] = str_eq_c(p->r->installed[c->pkg].noarch, "python");
		else
			noarch[i] = index_pkg(p->r->indexes[c->index].index, (struct ix_pkg){c->pkg}).noarch_python;
	}
	link_order(p, run->chosen.v, n, noarch);
	res->packages = arena_array(a, struct solve_package, n + 1u);
	res->packages_n = n;
	for (uint32_t i = 0; i < n; i++) {
		struct solve_package *k = &res->packages[i];
		const struct world_candidate *c = &p->cand.v[run->chosen.v[i]];
		k->index = c->index == WORLD_INSTALLED ? UINT32_MAX : c->index;
		k->pkg.n = c->index == WORLD_INSTALLED ? 0 : c->pkg;
		if (world_record(p, run->chosen.v[i], a, &k->record, e) < 0)
			return err_ctx(e, "package '%.*s'", STR_ARG(p->name.v[c->name].text));
		for (uint32_t s = 0; s < p->requests && !k->requested; s++)
			if (p->spec.v[s].name == c->name) {
				k->requested = true;
				k->requested_by = p->r->specs[s];
			}
	}
	return 0;
}

int solve(const struct solve_request *r, struct arena *a, struct solve_result *ret, struct err *e)
{
	struct world p;
	struct run run = {0};
	auto_arena tmp = ARENA_INIT;
	*ret = (struct solve_result){0};
	int rc = world_init(&p, r, &tmp, e);
	if (rc == 0) {
		auto_free uint32_t *want = xcalloc(p.requests + 1u, sizeof(*want));
		for (uint32_t i = 0; i < p.requests; i++)
			want[i] = i;
		rc = run_solve(&run, &p, want, p.requests, false, r->max_conflicts ? r->max_conflicts : CONFLICTS_MAX,
			       e);
		set_stats(&run, ret);
		if (rc == 0 && fill_packages(&run, a, ret, e) < 0)
			rc = -1;
		run_release(&run);
		if (rc == 1 && explain(&p, want, p.requests, a, ret, e) < 0)
			rc = -1;
		if (rc >= 0 && check_indexes(r, e) < 0)
			rc = -1;
	}
	world_release(&p);
	return rc;
}
