// SPDX-License-Identifier: Apache-2.0
/*
 * Requests and settling, from a host that is a member: who the two are, the link where there is one, and both environments held in the
 * order of the members' numbers. What is done then is coordinate.c's.
 */
#include <stdio.h>

#include "pair/config.h"
#include "pair/coordinate.h"
#include "pair/link.h"

struct pairing {
	const struct pair_opts *o;
	struct arena arena;
	struct pair pair;
	struct pair_config config;
	struct member *m[PAIR_MEMBERS + 1];
	struct str why; /* the other one is not reached: the reason */
};

static void pairing_release(struct pairing *p)
{
	/* the other way round than they were held */
	for (uint32_t n = PAIR_MEMBERS; n >= 1; n--)
		member_free(steal_ptr(&p->m[n]));
	arena_release(&p->arena);
}
#define auto_pairing cleanup_with(pairing_release) struct pairing

static uint32_t other_of(const struct pairing *p)
{
	return 3 - p->pair.self;
}

static void lose_other(struct pairing *p, const struct err *why)
{
	p->why = member_why(&p->arena, other_of(p), why);
	member_free(steal_ptr(&p->m[other_of(p)]));
}

static int open_self(struct pairing *p, const struct pair_opts *o, struct err *e)
{
	p->o = o;
	int joined = pair_read(o->local.root_fd, &p->arena, &p->pair, e);
	if (joined < 0 || pair_config_read(o->local.root_fd, o->local.root_path, &p->arena, &p->config, e) < 0)
		return -1;
	if (!joined || !p->pair.joined)
		return err_new(e, ERR_USAGE, "this host is not joined with another one; 'slipway pair show' says more");
	return member_local(o, p->pair.self, &p->m[p->pair.self], e);
}

static void open_other(struct pairing *p)
{
	struct link *l;
	struct err why = ERR_INIT;
	if (link_connect(p->o->local.root_fd, &p->pair, LINK_CONNECT_MS, &l, &why) < 0) {
		lose_other(p, &why);
		return;
	}
	struct member *m = member_remote(l, other_of(p));
	m->who = p->o->local.env_opts.who;
	m->command = p->o->local.env_opts.command;
	p->m[other_of(p)] = m;
}

/* The link is made when it is needed: who waits here for somebody else's end is no idle guest there. */
static int hold_both(struct pairing *p, struct err *e)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct err why = ERR_INIT;
		if (n != p->pair.self)
			open_other(p);
		if (!p->m[n] || p->m[n]->ops->hold(p->m[n], p->o->local.env, p->o->wait_ms, &why) == 0)
			continue;
		if (n == p->pair.self || why.code != ERR_NETWORK) {
			*e = why; /* the other one's names it */
			return n == p->pair.self ? member_err(n, e) : -1;
		}
		lose_other(p, &why);
	}
	return 0;
}

static struct coordinator coordinator_of(struct pairing *p)
{
	struct coordinator k = {
		.self = p->pair.self,
		.env = p->o->local.env,
		.store = p->o->local.store,
		.traffic = &p->config.traffic,
		.clock = p->o->local.env_opts.clock,
		.role_wait_ms = p->o->wait_ms,
		.event = p->o->local.event,
		.ctx = p->o->local.ctx,
	};
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		k.m[n] = p->m[n];
		k.why[n] = p->why;
	}
	return k;
}

static int status_of(const struct pair_opts *o, struct arena *a, struct upgrade_status *ret, struct err *e)
{
	return upgrade_find_status(o->local.state, a, o->local.env, ret, e) < 0 ? -1 : 0;
}

static int settle_pair(struct pairing *p, struct err *e)
{
	struct upgrade_status s;
	struct coordinator k = coordinator_of(p);
	int rc = status_of(p->o, &p->arena, &s, e);
	if (rc == 0)
		rc = coordinate_settle(&k, (struct coordinate_one_shot){s.one_shot, s.will_commit}, e);
	coordinate_release(&k);
	return rc;
}

/* -- what is this host's alone --------------------------------------------------------------------------------------- */

/* Changes that env create, update, apply and remove make, and what a crash left beside an operation. */
static int settle_alone(const struct pair_opts *o, struct err *e)
{
	auto_pairing p = {.o = o};
	int joined = pair_read(o->local.root_fd, &p.arena, &p.pair, e);
	if (joined < 0 || member_local(o, joined ? p.pair.self : 1, &p.m[1], e) < 0)
		return -1;
	p.m[1]->event = o->local.event;
	p.m[1]->ctx = o->local.ctx;
	return p.m[1]->ops->hold(p.m[1], o->local.env, o->wait_ms, e) < 0 ? -1 : p.m[1]->ops->settle(p.m[1], e);
}

/* A member, by somebody who worked on this environment and died before it was put in again. */
static int is_drained(const struct pair_opts *o, struct arena *a, bool *ret, struct err *e)
{
	struct str env[PAIR_MEMBERS + 1];
	*ret = false;
	if (pair_drained(o->local.root_fd, a, env, e) < 0)
		return -1;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		*ret |= str_eq(env[n], o->local.env);
	return 0;
}

int pair_settle(const struct pair_opts *o, struct err *e)
{
	auto_pairing p = {0};
	struct upgrade_status s;
	bool drained = false;
	int alone = 0;
	if (status_of(o, &p.arena, &s, e) < 0 || is_drained(o, &p.arena, &drained, e) < 0)
		return -1;
	if (!s.in_progress || !s.paired) {
		alone = settle_alone(o, e);
		if (alone < 0 || s.in_progress || !drained)
			return alone;
	}
	int rc = open_self(&p, o, e) < 0 || hold_both(&p, e) < 0 ? -1 : settle_pair(&p, e);
	return rc < 0 ? -1 : rc | alone;
}

/* -- requests -------------------------------------------------------------------------------------------------------- */

struct broken { /* a request whose link broke in the middle */
	bool lost;
	char id[40]; /* of the operation */
};

/* Once over a new link, where that can be made at once. 0: what was asked for has come to its end after all. */
static int mend(const struct pair_opts *o, const struct broken *b, struct err *e)
{
	auto_pairing p = {0};
	struct err why = ERR_INIT;
	struct str outcome = STR_NONE;
	bool ignored;
	if (open_self(&p, o, &why) < 0 || hold_both(&p, &why) < 0 || !p.m[other_of(&p)] || settle_pair(&p, &why) < 0)
		return -1;
	struct member *self = p.m[p.pair.self];
	if (self->ops->outcome(self, &p.arena, o->local.env, str_c(b->id), &outcome, &ignored, &why) < 0)
		return -1;
	if (str_eq(outcome, STR("committed")))
		return 0;
	if (!str_eq(outcome, STR("aborted")))
		return -1;
	auto_free char *cause = xstrdup(e->msg);
	cause[strcspn(cause, "\n")] = '\0';
	return err_new(e, ERR_ROLLED_BACK, "%s; over a new link it was undone on both members", cause);
}

static int run_on_both(struct pairing *p, const struct upgrade_request *q, struct broken *ret, struct err *e)
{
	struct upgrade_status s;
	int settled = hold_both(p, e) < 0 ? -1 : settle_pair(p, e);
	if (settled < 0 || status_of(p->o, &p->arena, &s, e) < 0)
		return -1;
	if (s.in_progress && !s.paired)
		return err_new(
			e, ERR_FAILED,
			"'%.*s' is in the middle of an upgrade of this host alone, from before it was a member, in state "
			"'%.*s'; 'slipway pair leave', then '%.*s' goes on with it",
			STR_ARG(p->o->local.env), STR_ARG(s.state), STR_ARG(s.next));
	if (upgrade_may(&p->o->local, q, e) < 0) {
		if (settled && q->verb == UPGRADE_COMMIT &&
		    !s.in_progress) /* what it was to keep was undone just now */
			e->code = ERR_ROLLED_BACK;
		return -1;
	}
	bool answered = p->m[other_of(p)] != NULL;
	struct coordinator k = coordinator_of(p);
	int rc = coordinate_run(&k, q, e);
	ret->lost = answered && !coordinate_reaches(&k, other_of(p));
	snprintf(ret->id, sizeof(ret->id), "%s", k.id ? k.id : "");
	coordinate_release(&k);
	return rc;
}

int pair_run(const struct pair_opts *o, const struct upgrade_request *q, struct err *e)
{
	struct broken b = {0};
	int rc;
	{
		auto_pairing p = {0};
		rc = open_self(&p, o, e) < 0 ? -1 : run_on_both(&p, q, &b, e);
	}
	return rc < 0 && b.lost && b.id[0] && e->code == ERR_UNCERTAIN ? mend(o, &b, e) : rc;
}
