// SPDX-License-Identifier: Apache-2.0
/*
 * What a process of the agent does for one environment: brings to rest what was left half done, rings its timer, notes on disk what is
 * left of it, starts the services that should run. It holds the environment as any command does.
 */
#include "agent/internal.h"

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

/* An abort that could not be carried to its end when it was tried last. */
static int abort_again(const struct upgrade_opts *o, struct arena *a, struct err *e)
{
	const struct upgrade_request q = {.verb = UPGRADE_ABORT, .issu = true};
	struct upgrade_status s;
	if (upgrade_status(o->state, a, o->env, &s, e) < 0)
		return -1;
	return str_eq(s.state, STR("needs-manual-abort")) ? upgrade_run(o, &q, e) : 0;
}

static int start_services(const struct upgrade_opts *o, struct arena *a, struct settling *s, struct err *e)
{
	struct env_info info;
	struct err gone = ERR_INIT;
	if (env_get(o->state, a, o->env, &info, &gone) < 0)
		return gone.code == ERR_NOT_FOUND ? 0 : (*e = gone, -1);
	return info.started ? agent_start_env(o->state, o->services, o->root_path, o->env, on_start, s, e) : 0;
}

enum settle_result settle_env(const struct agent_opts *o, struct str env, bool by_timer, bool start, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(agent_client) client = NULL;
	auto_ptr(env_state) st = NULL;
	auto_ptr(env_hold) hold = NULL;
	struct settling s = {o, env};
	if (agent_connect(o->root_fd, o->root_path, &client, e) < 0 ||
	    env_state_open(o->root_fd, o->root_path, 0, &st, e) < 0)
		return SETTLE_FAILED;
	struct upgrade_services services = agent_services(client);
	if (env_hold(st, env, HOLD_WAIT_MS, &hold, e) < 0)
		return e->code == ERR_BUSY ? SETTLE_BUSY : SETTLE_FAILED;
	const struct upgrade_opts u = {
		.state = st,
		.hold = hold,
		.env = env,
		.services = &services,
		.env_opts = {.command = o->command, .who = by_timer ? "timer" : "agent", .clock = &clock_system},
		.root_fd = o->root_fd,
		.root_path = o->root_path,
		.reserve_bytes = o->reserve_bytes,
		.autostart_elsewhere = o->autostart_elsewhere,
		.event = on_event,
		.ctx = &s,
	};
	if (upgrade_settle(&u, e) < 0 || abort_again(&u, &a, e) < 0 || (start && start_services(&u, &a, &s, e) < 0))
		return SETTLE_FAILED;
	return SETTLE_DONE;
}
