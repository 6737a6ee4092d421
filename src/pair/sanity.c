// SPDX-License-Identifier: Apache-2.0
/* Stage 0: everything that is checked before anything changes, on both members, all findings at once. */
#include <stdio.h>

#include "base/vec.h"
#include "pair/coordinate.h"

VEC_TYPE(check_vec, struct upgrade_check);

struct sanity {
	struct coordinator *k;
	const struct upgrade_request *q;
	struct check_vec found; /* findings alone */
	VEC(struct str) names;	/* of the members' own checks, each once */
	bool silent;		/* findings alone are told */
};

static void found(struct sanity *s, uint32_t member, const char *name, const char *finding, const char *cure)
{
	vec_push(&s->found, ((struct upgrade_check){str_c(name), str_c(finding), str_c(cure), member}));
}

static void verified(struct sanity *s, const char *name)
{
	bool passed = true;
	vec_foreach(f, &s->found)
		passed &= !str_eq_c(f->name, name);
	if (!s->silent || !passed)
		coordinate_tell(s->k, UPGRADE_EVENT_MEMBER, 0, 0, passed,
				arena_printf(&s->k->arena, "Verifying %s", name), NULL);
}

/* -- each check ----------------------------------------------------------------------------------------------------- */

#define SUPPORTED "install_issu supported"
#define HOT "standby is in Standby Hot state"
#define MEDIA "booted from the valid media"
#define AUTOBOOT "AutoBoot mode is enabled"

/* "1.4.2" → "1": what may differ behind it speaks the same protocol. */
static struct str major_of(struct str version)
{
	size_t n = 0;
	while (n < version.n && version.p[n] != '.')
		n++;
	return str_head(version, n);
}

static void check_supported(struct sanity *s)
{
	struct coordinator *k = s->k;
	const struct pair_member_status *x = &k->st[1], *y = &k->st[2];
	int64_t skew_ms = x->wall_ms - y->wall_ms;
	if (!str_eq(x->state, y->state) || !str_eq(x->operation_id, y->operation_id))
		found(s, 0, SUPPORTED,
		      arena_printf(&k->arena, "member 1 is in state '%.*s' and member 2 in '%.*s'%s", STR_ARG(x->state),
				   STR_ARG(y->state),
				   str_eq(x->state, y->state) ? ", each with an operation of its own" : ""),
		      arena_printf(&k->arena, "'slipway install abort issu -n %.*s' first", STR_ARG(k->env)));
	if (x->agent_version.n && y->agent_version.n && !str_eq(major_of(x->agent_version), major_of(y->agent_version)))
		found(s, 0, SUPPORTED,
		      arena_printf(&k->arena, "the agents are of versions %.*s and %.*s", STR_ARG(x->agent_version),
				   STR_ARG(y->agent_version)),
		      "bring the older one to the newer one's version");
	if (skew_ms > COORDINATE_SKEW_MAX_MS || skew_ms < -COORDINATE_SKEW_MAX_MS)
		found(s, 0, SUPPORTED,
		      arena_printf(&k->arena, "the clocks of the members are %lld s apart",
				   (long long)(skew_ms < 0 ? -skew_ms : skew_ms) / 1000),
		      "set them by one time server");
	verified(s, SUPPORTED);
}

static void check_hot(struct sanity *s)
{
	struct coordinator *k = s->k;
	uint32_t standby = coordinate_standby(k);
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (!k->st[n].healthy)
			found(s, n, HOT, arena_printf(&k->arena, "not healthy: %.*s", STR_ARG(k->st[n].unhealthy)),
			      arena_printf(&k->arena, "'slipway status' on member %u says more", n));
	if (!str_eq(k->st[1].running_version, k->st[2].running_version))
		found(s, standby, HOT,
		      arena_printf(&k->arena, "it runs '%.*s', the active member '%.*s'",
				   STR_ARG(k->st[standby].running_version),
				   STR_ARG(k->st[k->role.active].running_version)),
		      arena_printf(&k->arena, "'slipway env export -n %.*s' on member %u, 'slipway apply' on member %u",
				   STR_ARG(k->env), k->role.active, standby));
	verified(s, HOT);
}

/* What the document calls a member's own check; NULL: nothing. */
static const char *name_here(struct str name)
{
	return str_eq(name, STR("managed environment")) ? MEDIA : str_eq(name, STR("autostart")) ? AUTOBOOT : NULL;
}

/* Those that each member makes for itself. */
static int ask_member(struct sanity *s, uint32_t n, struct err *e)
{
	struct coordinator *k = s->k;
	struct upgrade_check *c;
	size_t count;
	if (k->m[n]->ops->preflight(k->m[n], s->q, &k->arena, &c, &count, e) < 0)
		return err_ctx(e, "member %u", n);
	for (size_t i = 0; i < count; i++) {
		const char *ours = name_here(c[i].name);
		bool known = ours != NULL;
		vec_foreach(name, &s->names)
			known |= str_eq(*name, c[i].name);
		if (!known)
			vec_push(&s->names, c[i].name);
		if (c[i].finding.n)
			vec_push(&s->found,
				 ((struct upgrade_check){ours ? str_c(ours) : c[i].name, c[i].finding, c[i].cure, n}));
	}
	return 0;
}

/* `asked`: the members have said so with what they found. */
static void check_autoboot(struct sanity *s, bool asked)
{
	struct coordinator *k = s->k;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (!asked && !k->st[n].autostart)
			found(s, n, AUTOBOOT, "nothing starts the agent and its services when the host boots",
			      "'systemctl enable slipway-agent' there, or what starts programs on that host");
	verified(s, AUTOBOOT);
}

/* -- all of them ------------------------------------------------------------------------------------------------------ */

static int refuse(struct sanity *s, struct err *e)
{
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	vec_foreach(f, &s->found) {
		buf_put_c(&b, "\n  ");
		if (f->member)
			buf_printf(&b, "member %u: ", f->member);
		buf_printf(&b, "%.*s: %.*s; %.*s", STR_ARG(f->name), STR_ARG(f->finding), STR_ARG(f->cure));
	}
	return s->found.n ? err_new(e, ERR_FAILED, "%zu check%s failed, nothing changed%s", s->found.n,
				    s->found.n == 1 ? "" : "s", b.p)
			  : 0;
}

static int check_all(struct sanity *s, struct err *e)
{
	struct coordinator *k = s->k;
	bool in_service = s->q->issu || s->q->verb == UPGRADE_COMMIT;
	bool ask = s->q->verb == UPGRADE_ADD || s->q->verb == UPGRADE_ACTIVATE;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		if (coordinate_look(k, n, e) < 0)
			return err_ctx(e, "nothing changed");
	check_supported(s);
	if (in_service && s->q->verb != UPGRADE_ADD)
		check_hot(s);
	for (uint32_t n = 1; ask && n <= PAIR_MEMBERS; n++)
		if (ask_member(s, n, e) < 0)
			return -1;
	verified(s, MEDIA);
	check_autoboot(s, ask);
	vec_foreach(name, &s->names)
		verified(s, arena_strdup(&k->arena, *name));
	return refuse(s, e);
}

int coordinate_sanity(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	struct sanity s = {.k = k, .q = q, .silent = q->verb == UPGRADE_ADD};
	if (!s.silent)
		coordinate_tell(k, UPGRADE_EVENT_STAGE, 0, 0, false, "Initial System Level Sanity Check", NULL);
	int rc = check_all(&s, e);
	if (!s.silent && rc == 0)
		coordinate_tell(k, UPGRADE_EVENT_FINISH, 0, 0, true, "Initial System Level Sanity Check", NULL);
	vec_release(&s.found);
	vec_release(&s.names);
	return rc;
}
