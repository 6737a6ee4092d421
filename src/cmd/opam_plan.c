// SPDX-License-Identifier: Apache-2.0
/* A solution as actions of opam, by the names that things have. */
#include "cmd/opam_plan.h"

#include "solve/solve.h"

static enum opam_action_kind kind_of(enum solve_step_kind k)
{
	switch (k) {
	case SOLVE_REMOVE:
		return OPAM_REMOVE;
	case SOLVE_DOWNGRADE:
		return OPAM_DOWNGRADE;
	case SOLVE_RECOMPILE:
		return OPAM_RECOMPILE;
	case SOLVE_UPGRADE:
		return OPAM_UPGRADE;
	case SOLVE_INSTALL:
		break;
	}
	return OPAM_INSTALL;
}

static struct opam_action action_of(const struct channel_needs *needs, const struct solve_step *s, struct arena *a)
{
	static const char *const words[] = {
		"", "", "required by ", "uses ", "conflicts with ", "upstream or system changes"};
	const struct channel_candidate *c = channel_needs_candidate(needs, s->package);
	struct str *causes = arena_array(a, struct str, s->causes_n);
	size_t *after = arena_array(a, size_t, s->after_n);
	for (size_t i = 0; i < s->causes_n; i++)
		causes[i] = channel_needs_candidate(needs, s->causes[i])->name;
	for (size_t i = 0; i < s->after_n; i++)
		after[i] = s->after[i];
	return (struct opam_action){.kind = kind_of(s->kind),
				    .name = c->name,
				    .version = c->version,
				    .before = channel_needs_candidate(needs, s->before)->version,
				    .why = words[s->cause],
				    .causes = causes,
				    .causes_n = s->causes_n,
				    .after = after,
				    .after_n = s->after_n};
}

int opam_plan(const struct opam_plan_request *r, struct arena *a, struct opam_action **ret, size_t *ret_n,
	      const struct str **ret_why, size_t *ret_why_n, struct err *e)
{
	const struct solve_needs_request request = {.asked = r->asked,
						    .asked_n = r->asked_n,
						    .criteria = r->oldest	 ? SOLVE_OLDEST
								: r->depth_first ? SOLVE_0INSTALL
										 : SOLVE_NEWEST,
						    .update = !r->keep};
	struct solve_needs_result s;
	struct solve_steps steps;
	int rc = solve_needs_by(r->needs, &request, a, &s, e);
	if (rc > 0) {
		*ret_why = s.why;
		*ret_why_n = s.why_n;
	}
	if (rc != 0)
		return rc;
	if (solve_steps(r->needs, s.package, s.n, r->names, r->asked_n, SOLVE_IN_ORDER, a, &steps, e) < 0)
		return -1;
	struct opam_action *v = arena_array(a, struct opam_action, steps.n);
	for (size_t i = 0; i < steps.n; i++)
		v[i] = action_of(r->needs, &steps.v[i], a);
	*ret = v;
	*ret_n = steps.n;
	return 0;
}
