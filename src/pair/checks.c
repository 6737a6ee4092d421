// SPDX-License-Identifier: Apache-2.0
/* What is checked of two members by what they say of themselves; pure. */
#include "base/vec.h"
#include "pair/pair.h"

VEC_TYPE(check_vec, struct upgrade_check);

struct checking {
	const struct pair_status *s;
	struct str env;
	struct arena *a;
	struct check_vec found;
	size_t failed;
};

static void found(struct checking *c, uint32_t member, const char *name, const char *finding, const char *cure)
{
	vec_push(&c->found,
		 ((struct upgrade_check){
			 .name = str_c(name), .finding = str_c(finding), .cure = str_c(cure), .member = member}));
	c->failed++;
}

/* Where nothing was found under a name, it has passed. */
static void end(struct checking *c, const char *name, size_t failed_before)
{
	if (c->failed == failed_before)
		vec_push(&c->found, ((struct upgrade_check){.name = str_c(name)}));
}

/* "1.4.2" → "1": what may differ behind it speaks the same protocol. */
static struct str major_of(struct str version)
{
	size_t n = 0;
	while (n < version.n && version.p[n] != '.')
		n++;
	return str_head(version, n);
}

/* True where both can be compared. */
static bool both_answer(struct checking *c)
{
	bool both = true;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		const struct pair_member_status *m = &c->s->member[n];
		if (m->reachable)
			continue;
		both = false;
		found(c, n, PAIR_CHECK_SUPPORTED, arena_printf(c->a, "it does not answer: %.*s", STR_ARG(m->why)),
		      "start 'slipway agent' there, and mend the link; 'slipway pair show' tries it");
	}
	return both;
}

static void check_supported(struct checking *c)
{
	const struct pair_member_status *x = &c->s->member[1], *y = &c->s->member[2];
	size_t before = c->failed;
	if (both_answer(c)) {
		int64_t skew_ms = x->wall_ms < y->wall_ms ? y->wall_ms - x->wall_ms : x->wall_ms - y->wall_ms;
		bool same = str_eq(x->state, y->state);
		if (!same || !str_eq(x->operation_id, y->operation_id))
			found(c, 0, PAIR_CHECK_SUPPORTED,
			      arena_printf(c->a, "member 1 is in state '%.*s' and member 2 in '%.*s'%s",
					   STR_ARG(x->state), STR_ARG(y->state),
					   same ? ", each with an operation of its own" : ""),
			      arena_printf(c->a, "'slipway install abort issu -n %.*s' first", STR_ARG(c->env)));
		if (x->agent_version.n && y->agent_version.n &&
		    !str_eq(major_of(x->agent_version), major_of(y->agent_version)))
			found(c, 0, PAIR_CHECK_SUPPORTED,
			      arena_printf(c->a, "the agents are of versions %.*s and %.*s", STR_ARG(x->agent_version),
					   STR_ARG(y->agent_version)),
			      "bring the older one to the newer one's version");
		if (skew_ms > PAIR_SKEW_MAX_MS)
			found(c, 0, PAIR_CHECK_SUPPORTED,
			      arena_printf(c->a, "the clocks of the members are %lld s apart",
					   (long long)skew_ms / 1000),
			      "set them by one time server");
	}
	end(c, PAIR_CHECK_SUPPORTED, before);
}

static bool one_is_stopped(const struct pair_status *s)
{
	const struct pair_member_status *x = &s->member[1], *y = &s->member[2];
	return x->reachable && y->reachable && x->idle != y->idle && (x->idle ? x : y)->current;
}

/* One that answers nothing takes nothing over. Where neither does, there is no traffic to move. */
static void check_started(struct checking *c)
{
	const struct pair_member_status *m = c->s->member;
	uint32_t idle = m[1].idle ? 1 : 2;
	if (one_is_stopped(c->s))
		found(c, idle, PAIR_CHECK_HOT,
		      idle == c->s->role.active ? "it is active, and its services are not started"
						: "its services are not started",
		      arena_printf(c->a, "'slipway start %.*s' there", STR_ARG(c->env)));
}

static void check_hot(struct checking *c)
{
	uint32_t active = c->s->role.active, standby = 3 - active;
	const struct pair_member_status *a = &c->s->member[active], *s = &c->s->member[standby];
	size_t before = c->failed;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (c->s->member[n].reachable && !c->s->member[n].healthy)
			found(c, n, PAIR_CHECK_HOT,
			      arena_printf(c->a, "not healthy: %.*s", STR_ARG(c->s->member[n].unhealthy)),
			      arena_printf(c->a, "'slipway status' on member %u says more", n));
	check_started(c);
	struct str other = a->reachable && s->reachable ? pair_runs_other(c->a, s, a) : STR_NONE;
	if (other.n)
		found(c, standby, PAIR_CHECK_HOT,
		      arena_printf(c->a, "it runs %.*s, the active member '%.*s'", STR_ARG(other),
				   STR_ARG(a->running_version)),
		      arena_printf(c->a, "'slipway env export -n %.*s' on member %u, 'slipway apply' on member %u",
				   STR_ARG(c->env), active, standby));
	end(c, PAIR_CHECK_HOT, before);
}

static void check_media(struct checking *c)
{
	size_t before = c->failed;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (c->s->member[n].reachable && !c->s->member[n].managed)
			found(c, n, PAIR_CHECK_MEDIA, "files of the environment were changed by hand",
			      arena_printf(
				      c->a,
				      "'slipway env export -n %.*s | slipway apply - -n %.*s' there lays it out anew",
				      STR_ARG(c->env), STR_ARG(c->env)));
	end(c, PAIR_CHECK_MEDIA, before);
}

static const char *text_or(struct checking *c, struct str said, const char *other)
{
	return said.n ? arena_strdup(c->a, said) : other;
}

static void check_autoboot(struct checking *c)
{
	size_t before = c->failed;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		const struct pair_member_status *m = &c->s->member[n];
		if (m->reachable && !m->autostart)
			found(c, n, PAIR_CHECK_AUTOBOOT,
			      text_or(c, m->not_started,
				      "nothing starts the agent and its services when the host boots"),
			      text_or(c, m->autostart_cure,
				      "'slipway agent --print-unit' there makes a unit for systemd; where something else "
				      "starts it, say 'autostart: ignore' in config.yml there"));
	}
	end(c, PAIR_CHECK_AUTOBOOT, before);
}

size_t pair_checks(const struct pair_status *s, struct str env, struct arena *a, struct upgrade_check **ret,
		   size_t *ret_n)
{
	struct checking c = {.s = s, .env = env, .a = a};
	check_supported(&c);
	check_hot(&c);
	check_media(&c);
	check_autoboot(&c);
	*ret = vec_copy(&c.found, a);
	*ret_n = c.found.n;
	vec_release(&c.found);
	return c.failed;
}

bool pair_check_counts(const struct pair_status *s, const struct upgrade_check *c, const struct upgrade_request *q)
{
	bool only_adds = q->verb == UPGRADE_ADD && !q->then_activate;
	if (!str_eq(c->name, STR(PAIR_CHECK_HOT)) || q->verb == UPGRADE_COMMIT)
		return true;
	return !only_adds && (q->issu || (q->then_commit && one_is_stopped(s)));
}
