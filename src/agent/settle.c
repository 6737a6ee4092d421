// SPDX-License-Identifier: Apache-2.0
/*
 * What a process of the agent does for one environment: brings to rest what was left half done, rings its timer, notes on disk what is
 * left of it, starts the services that should run. It holds the environment as any command does; on a member of a pair, on both members.
 */
#include "agent/internal.h"
#include "pair/pair.h"

enum { HOLD_WAIT_MS = 2000 };

struct settling {
	const struct agent_opts *o;
	struct str env;
};

static void on_event(void *ctx, const struct upgrade_event *v)
{
	const struct settling *s = ctx;
	if (v->kind == UPGRADE_EVENT_NOTE || (v->kind == UPGRADE_EVENT_STATE && v->text))
		agent_say(s->o, "%.*s: %s", STR_ARG(s->env), v->text);
}

static void on_start(void *ctx, struct str service)
{
	const struct settling *s = ctx;
	agent_say(s->o, "%.*s: starting service '%.*s'", STR_ARG(s->env), STR_ARG(service));
}

/* An abort that could not be carried to its end when it was tried last. Of both members it is pair_settle's, which goes back on both. */
static int abort_again(const struct upgrade_opts *o, struct arena *a, bool member, struct err *e)
{
	const struct upgrade_request q = {.verb = UPGRADE_ABORT, .issu = true};
	struct upgrade_status s;
	if (upgrade_find_status(o->state, a, o->env, &s, e) < 0)
		return -1;
	return str_eq(s.state, STR("needs-manual-abort")) && !(member && s.paired) ? upgrade_run(o, &q, e) : 0;
}

static int start_services(const struct upgrade_opts *o, struct arena *a, struct settling *s, struct err *e)
{
	struct env_info info;
	if (env_find(o->state, a, o->env, &info, e) < 0)
		return -1;
	return info.started ? agent_start_env(o->state, o->services, o->root_path, o->env, on_start, s, e) : 0;
}

/* 1: both members did what there was to do, or this one waits for the other; 0: this host is no member of a pair. */
static int settle_pair(const struct agent_opts *o, const struct upgrade_opts *u, struct arena *a, struct err *e)
{
	struct pair p;
	const struct pair_opts both = {.local = *u, .wait_ms = HOLD_WAIT_MS};
	int joined = pair_read(o->root_fd, a, &p, e);
	if (joined <= 0 || !p.joined)
		return joined < 0 ? -1 : 0;
	int held = env_is_held(u->state, u->env, e); /* before the other member is bothered */
	if (held)
		return held < 0 ? -1 : err_new(e, ERR_BUSY, "'%.*s' is held by a command", STR_ARG(u->env));
	return pair_settle(&both, e) < 0 ? -1 : 1;
}

/* What only the other member can say, or a member that could not be put into the traffic again. */
static int waits_for_other(const struct upgrade_opts *u, struct arena *a, bool *ret, struct err *e)
{
	struct upgrade_status s;
	struct str drained[PAIR_MEMBERS + 1];
	if (upgrade_find_status(u->state, a, u->env, &s, e) < 0 || pair_drained(u->root_fd, a, drained, e) < 0)
		return -1;
	*ret = (s.paired && (str_eq(s.state, STR("prepared")) || str_eq(s.state, STR("committing")))) ||
	       str_eq(drained[1], u->env) || str_eq(drained[2], u->env);
	return 0;
}

static enum settle_result result_of(const struct err *e)
{
	return e->code == ERR_BUSY ? SETTLE_BUSY : SETTLE_FAILED;
}

/* What runs is started whatever the two members are left with. */
static enum settle_result not_settled(struct upgrade_opts *u, struct arena *a, struct settling *s, bool start,
				      const struct err *why)
{
	auto_ptr(env_hold) hold = NULL;
	struct err e = ERR_INIT;
	if (start && why->code != ERR_BUSY && env_hold(u->state, u->env, HOLD_WAIT_MS, &hold, &e) == 0) {
		u->hold = hold;
		if (start_services(u, a, s, &e) < 0)
			agent_say(s->o, "%.*s: %s", STR_ARG(s->env), e.msg);
	}
	return result_of(why);
}

/* `services` is the agent's, or whoever's is in its place. */
static enum settle_result settle_by(const struct agent_opts *o, const struct upgrade_services *services, struct str env,
				    bool by_timer, bool start, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(env_state) st = NULL;
	auto_ptr(env_hold) hold = NULL;
	struct settling s = {o, env};
	bool waits = false;
	if (env_state_open(o->root_fd, o->root_path, 0, &st, e) < 0)
		return SETTLE_FAILED;
	struct upgrade_opts u = {
		.state = st,
		.env = env,
		.services = services,
		.env_opts = {.command = o->command, .who = by_timer ? "timer" : "agent", .clock = &clock_system},
		.root_fd = o->root_fd,
		.root_path = o->root_path,
		.reserve_bytes = o->reserve_bytes,
		.autostart_elsewhere = o->autostart_elsewhere,
		.event = on_event,
		.ctx = &s,
	};
	int paired = settle_pair(o, &u, &a, e);
	if (paired < 0)
		return not_settled(&u, &a, &s, start, e);
	if (env_hold(st, env, HOLD_WAIT_MS, &hold, e) < 0)
		return result_of(e);
	u.hold = hold;
	if ((!paired && upgrade_settle(&u, e) < 0) || abort_again(&u, &a, paired, e) < 0 ||
	    (start && start_services(&u, &a, &s, e) < 0) || (paired && waits_for_other(&u, &a, &waits, e) < 0))
		return SETTLE_FAILED;
	return waits ? SETTLE_WAITS : SETTLE_DONE;
}

enum settle_result settle_env(const struct agent_opts *o, struct str env, bool by_timer, bool start, struct err *e)
{
	auto_ptr(agent_client) client = NULL;
	if (agent_connect(o->root_fd, o->root_path, &client, e) < 0)
		return SETTLE_FAILED;
	struct upgrade_services services = agent_services(client);
	return settle_by(o, &services, env, by_timer, start, e);
}

static int timer_has_ended(const struct agent_opts *o, struct str env, struct err *e)
{
	auto_ptr(env_state) st = NULL;
	int64_t left_ms;
	return env_state_open(o->root_fd, o->root_path, ENV_STATE_RO, &st, e) < 0 ||
			       upgrade_timer_left(st, NULL, env, &left_ms, e) < 0
		       ? -1
		       : left_ms == 0;
}

int agent_settle(const struct agent_opts *o, const struct upgrade_services *s, struct str env, struct err *e)
{
	struct err why = ERR_INIT;
	int by_timer = timer_has_ended(o, env, e);
	if (by_timer < 0)
		return -1;
	enum settle_result r = settle_by(o, s, env, by_timer > 0, true, e);
	bool failed = r != SETTLE_DONE && r != SETTLE_WAITS;
	return s->timer_changed(s->ctx, env, failed ? &why : e) < 0 || failed ? -1 : 0;
}
