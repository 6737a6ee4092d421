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
				    .package = s->package,
				    .solved = true,
				    .name = c->name,
				    .version = c->version,
				    .before = channel_needs_candidate(needs, s->before)->version,
				    .why = words[s->cause],
				    .causes = causes,
				    .causes_n = s->causes_n,
				    .after = after,
				    .after_n = s->after_n};
}

/* What fits a word: the packages, and whether one can be had. */
struct fitting {
	struct channel_needs *needs;
	uint32_t best;
	size_t n;
	bool had;
};

static int fit(void *ctx, const struct channel_need *need, struct err *e)
{
	struct fitting *f = ctx;
	(void)e;
	for (size_t i = 0; i < need->one.n; i++) {
		if (!f->n++)
			f->best = need->one.v[i];
		f->had |= channel_needs_candidate(f->needs, need->one.v[i])->installed ||
			  channel_needs_is_available(f->needs, need->one.v[i]);
	}
	return 0;
}

struct str opam_plan_unknown(struct channel_needs *needs, struct str asked, struct str name, struct arena *a)
{
	struct fitting f = {.needs = needs};
	struct err e = ERR_INIT;
	if (channel_needs_ask(needs, name, fit, &f, &e) < 0)
		return str_c(arena_printf(a, "No package named %.*s found.", STR_ARG(name)));
	if (channel_needs_ask(needs, asked, fit, &f, &e) == 0)
		return STR_NONE;
	struct str version = str_skip(asked, asked.n > name.n ? name.n : asked.n);
	if (!str_take_str(&version, STR(".")))
		(void)str_take_str(&version, STR("="));
	return str_c(arena_printf(a, "Package %.*s has no version %.*s.", STR_ARG(name), STR_ARG(version)));
}

/* "p.7" as "p = 7", "p>=2" as "p >= 2". */
static const char *spaced(struct str asked, struct str name, struct arena *a)
{
	struct str rest = str_skip(asked, asked.n > name.n ? name.n : asked.n);
	size_t n = 0;
	if (!rest.n)
		return arena_strdup(a, name);
	if (str_take_str(&rest, STR(".")))
		return arena_printf(a, "%.*s = %.*s", STR_ARG(name), STR_ARG(rest));
	while (n < rest.n && strchr("<>=!", rest.p[n]))
		n++;
	return arena_printf(a, "%.*s %.*s %.*s", STR_ARG(name), (int)n, rest.p, STR_ARG(str_skip(rest, n)));
}

struct str opam_plan_unavailable(struct channel_needs *needs, struct str asked, struct str name, struct arena *a)
{
	struct fitting f = {.needs = needs};
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 16);
	if (channel_needs_ask(needs, name, fit, &f, &e) < 0)
		return str_c(arena_printf(a, "%s unknown package", spaced(asked, name, a)));
	f = (struct fitting){.needs = needs};
	if (channel_needs_ask(needs, asked, fit, &f, &e) < 0)
		return str_c(arena_printf(a, "%s no matching version", spaced(asked, name, a)));
	if (f.had)
		return STR_NONE;
	struct str pinned = channel_needs_unavailable(needs, f.best, &b);
	if (pinned.n)
		return str_c(arena_printf(a, "%s not available because the package is pinned to version %.*s",
					  spaced(asked, name, a), STR_ARG(pinned)));
	if (!b.n) /* no filter is in the way: nothing of it could be read */
		return str_c(arena_printf(a,
					  "%.*s cannot be had: its opam file is malformed, 'slipway opam solve --repo "
					  "REPOSITORY %.*s' tells where",
					  STR_ARG(asked), STR_ARG(asked)));
	return str_c(arena_printf(a, "%s unmet availability conditions%s'%.*s'", spaced(asked, name, a),
				  f.n > 1 ? ", e.g. " : ": ", (int)b.n, b.n ? b.p : ""));
}

/* What is in the way, in opam's words. */
static void say_why(const struct solve_needs_result *s, struct arena *a, const struct str **ret, size_t *ret_n)
{
	struct str *v = arena_array(a, struct str, s->conflicts_n + 1);
	bool invariant = false;
	for (size_t i = 0; i < s->conflicts_n; i++) {
		auto_buf b = BUF_INIT(1 << 20);
		solve_conflict_in_opam(&s->conflict[i], !invariant, &b);
		v[i] = arena_str(a, buf_str(&b));
		for (size_t k = 0; k < s->conflict[i].chains; k++)
			invariant |= s->conflict[i].kind != SOLVE_MISSING && s->conflict[i].chain[k].invariant;
	}
	*ret = v;
	*ret_n = s->conflicts_n;
}

int opam_plan(const struct opam_plan_request *r, struct arena *a, struct opam_action **ret, size_t *ret_n,
	      const struct str **ret_why, size_t *ret_why_n, struct err *e)
{
	const struct solve_needs_request request = {.asked = r->asked,
						    .asked_n = r->asked_n,
						    .invariant = r->invariant,
						    .invariant_n = r->invariant_n,
						    .best_effort = r->best_effort,
						    .criteria = r->upgrade && !r->depth_first ? SOLVE_UPGRADE_ALL
								: r->oldest		      ? SOLVE_OLDEST
								: r->depth_first	      ? SOLVE_0INSTALL
											      : SOLVE_NEWEST,
						    .update = !r->keep};
	struct solve_needs_result s;
	struct solve_steps steps;
	int rc = solve_needs_by(r->needs, &request, a, &s, e);
	if (rc > 0)
		say_why(&s, a, ret_why, ret_why_n);
	if (rc != 0)
		return rc;
	rc = solve_steps(r->needs, s.package, s.n, r->names, r->names_n, SOLVE_IN_ORDER, a, &steps, e);
	if (rc > 0) {
		*ret_why = steps.circle;
		*ret_why_n = steps.circles;
	}
	if (rc != 0)
		return rc < 0 ? -1 : 2;
	struct opam_action *v = arena_array(a, struct opam_action, steps.n);
	for (size_t i = 0; i < steps.n; i++)
		v[i] = action_of(r->needs, &steps.v[i], a);
	*ret = v;
	*ret_n = steps.n;
	return 0;
}
