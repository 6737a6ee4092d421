// SPDX-License-Identifier: Apache-2.0
/* agent, start, stop, status: the daemon of the host, and the services that it runs. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "cmd/change.h"
#include "cmd/show_pair.h"
#include "version.h"

/* -- agent ----------------------------------------------------------------------------------------------------------- */

struct agent_args {
	bool foreground, print_unit, services;
	const char *name;
	struct cmd_list words;
};

static void say_line(void *ctx, const char *line)
{
	struct cmd_context *c = ctx;
	if (!c->quiet)
		cmd_warn(c, "agent: %s", line);
}

static int print_unit(struct cmd_context *c, struct err *e)
{
	auto_buf b = BUF_INIT(65536);
	auto_free char *program = realpath("/proc/self/exe", NULL);
	if (cmd_need_root(c, e) < 0)
		return -1;
	agent_put_unit(program ? program : "/usr/bin/slipway", c->root_path, &b);
	if (!c->json)
		return cmd_print(c, &b);
	auto_answer answer = {0};
	jw_kv_str(cmd_answer(&answer), "unit", buf_str(&b));
	return cmd_answer_print(c, &answer);
}

static int run_agent(struct cmd_context *c, struct err *e)
{
	const char *notify = getenv("NOTIFY_SOCKET");
	struct agent_opts o = {
		.version = SLIPWAY_VERSION,
		.command = c->command_line,
		.notify = notify ? arena_strdup(&c->arena, str_c(notify)) : NULL,
		.say = say_line,
		.ctx = c,
	};
	unsetenv("NOTIFY_SOCKET"); /* it is this process's alone */
	if (cmd_need_root(c, e) < 0)
		return -1;
	cmd_want_config(c);
	if (cmd_refuse_agent(c, e) < 0)
		return -1;
	o.reserve_bytes = c->config.reserve_bytes;
	o.autostart_elsewhere = c->config.autostart_ignored;
	o.root_fd = c->root_fd;
	o.root_path = c->root_path;
	return agent_run(&o, e);
}

static int stop_agent(struct cmd_context *c, bool services, struct err *e)
{
	auto_ptr(agent_client) client = NULL;
	if (cmd_need_root(c, e) < 0 || agent_connect(c->root_fd, c->root_path, &client, e) < 0 ||
	    agent_stop(client, services, e) < 0)
		return -1;
	cmd_changed(c);
	cmd_say(c, services ? "the agent and all services have ended"
			    : "the agent has ended; services run on, and the next 'slipway agent' takes them over");
	if (!c->json)
		return 0;
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "agent stop");
	jw_kv_bool(w, "services", services);
	return cmd_answer_print(c, &answer);
}

static int settle_one(struct cmd_context *c, struct str env, struct err *e)
{
	const struct upgrade_services *s;
	const struct agent_opts o = {.root_fd = c->root_fd,
				     .root_path = c->root_path,
				     .command = c->command_line,
				     .reserve_bytes = c->config.reserve_bytes,
				     .autostart_elsewhere = c->config.autostart_ignored,
				     .say = say_line,
				     .ctx = c};
	return cmd_need_services(c, env, &s, e) < 0 ? -1 : agent_settle(&o, s, env, e);
}

/* What a unit of systemd asks for. One that fails does not keep others from being settled. */
static int settle(struct cmd_context *c, const char *name, struct err *e)
{
	struct str *v;
	size_t n, failed = 0;
	if (cmd_need_root(c, e) < 0 || cmd_need_config(c, e) < 0 || cmd_need_state(c, false, e) < 0 ||
	    cmd_all_environments(c, &v, &n, e) < 0)
		return -1;
	struct str one = str_c(name ? name : "");
	if (name) {
		v = &one;
		n = 1;
	}
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		if (settle_one(c, v[i], &why) == 0)
			continue;
		cmd_warn(c, "%.*s: %s", STR_ARG(v[i]), why.msg);
		failed++;
	}
	if (failed)
		return err_new(e, ERR_FAILED, "%zu of %zu environments could not be brought to rest (see above)",
			       failed, n);
	cmd_say(c, "%zu environment%s at rest", n, n == 1 ? " is" : "s are");
	if (!c->json)
		return 0;
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "agent settle");
	jw_kv_int(w, "environments", (int64_t)n);
	return cmd_answer_print(c, &answer);
}

static int agent(struct cmd_context *c, const struct agent_args *a, struct err *e)
{
	bool one = a->words.n == 1, stop = one && strcmp(a->words.v[0], "stop") == 0;
	bool is_settle = one && strcmp(a->words.v[0], "settle") == 0;
	if (a->words.n && !stop && !is_settle)
		return err_new(
			e, ERR_USAGE,
			"'%s' is nothing that an agent does; as in: slipway agent, slipway agent stop, or slipway "
			"agent settle",
			a->words.v[0]);
	if (a->name && !is_settle)
		return err_new(e, ERR_USAGE, "-n goes with: slipway agent settle -n NAME");
	if (a->services && !stop)
		return err_new(e, ERR_USAGE, "--services goes with: slipway agent stop --services");
	if (is_settle)
		return settle(c, a->name, e);
	return stop ? stop_agent(c, a->services, e) : a->print_unit ? print_unit(c, e) : run_agent(c, e);
}

int cmd_agent(struct cmd_context *c, int argc, char **argv)
{
	struct agent_args a = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		{0, "foreground", CMD_FLAG, &a.foreground},
		{0, "print-unit", CMD_FLAG, &a.print_unit},
		{0, "services", CMD_FLAG, &a.services},
		{'n', "name", CMD_TEXT, &a.name},
		{0, NULL, CMD_FLAG, NULL},
	};
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : agent(c, &a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a.words);
	return code;
}

/* -- start, stop ------------------------------------------------------------------------------------------------------ */

static void on_service(void *ctx, struct str service)
{
	struct cmd_context *c = ctx;
	bool start = strcmp(c->cmd->noun, "start") == 0;
	cmd_say(c, "%s service '%.*s'",
		c->dry_run ? start ? "would start" : "would stop"
		: start	   ? "starting"
			   : "stopping",
		STR_ARG(service));
}

static int set_started_json(struct cmd_context *c, struct str env, bool start)
{
	auto_answer answer = {0};
	if (!c->json)
		return 0;
	struct jw *w = cmd_answer(&answer);
	jw_kv_str(w, "environment", env);
	jw_kv_c(w, "operation", start ? "start" : "stop");
	jw_kv_bool(w, "dry_run", c->dry_run);
	return cmd_answer_print(c, &answer);
}

static int start_none(void *ctx, const struct service_ref *r, struct err *e)
{
	(void)ctx, (void)r, (void)e;
	return 0;
}

static int stop_none(void *ctx, struct str env, struct str service, struct err *e)
{
	(void)ctx, (void)env, (void)service, (void)e;
	return 0;
}

static int none_run(void *ctx, struct arena *a, struct service_status **ret, size_t *ret_n, struct err *e)
{
	(void)ctx, (void)a, (void)e;
	*ret = NULL;
	*ret_n = 0;
	return 0;
}

/* What would be started or stopped: services that nobody runs do not. */
static int would_set_started(struct cmd_context *c, struct str env, bool start, struct err *e)
{
	const struct upgrade_services *now;
	struct upgrade_services s = {.status = none_run};
	struct err nobody = ERR_INIT;
	if (cmd_need_services(c, STR_NONE, &now, &nobody) == 0)
		s = *now;
	s.start = start_none;
	s.stop = stop_none;
	int rc = start ? agent_start_env(c->state, &s, c->root_path, env, on_service, c, e)
		       : agent_stop_env(c->state, &s, c->root_path, env, on_service, c, e);
	if (rc < 0)
		return -1;
	cmd_say(c, "'%.*s' would be %s", STR_ARG(env), start ? "started; after a boot, too" : "stopped");
	return set_started_json(c, env, start);
}

static int set_started(struct cmd_context *c, const char *name, int64_t wait_s, bool start, struct err *e)
{
	auto_ptr(env_hold) hold = NULL;
	const struct upgrade_services *s = NULL;
	struct env_info info;
	if (cmd_need_root(c, e) < 0)
		return -1;
	if (!c->dry_run && cmd_need_services(c, STR_NONE, &s, e) < 0)
		return err_ctx(e, "%s the services of '%s'", start ? "start" : "stop", name);
	if (cmd_hold(c, name, wait_s, &info, &hold, e) < 0)
		return -1;
	if (c->dry_run)
		return would_set_started(c, info.name, start, e);
	if (env_set_started(hold, start, e) < 0)
		return -1;
	cmd_changed(c);
	int rc = start ? agent_start_env(c->state, s, c->root_path, info.name, on_service, c, e)
		       : agent_stop_env(c->state, s, c->root_path, info.name, on_service, c, e);
	if (rc < 0)
		return -1;
	cmd_say(c, "'%s' is %s", name, start ? "started; it will be after a boot, too" : "stopped");
	return set_started_json(c, info.name, start);
}

static int start_or_stop(struct cmd_context *c, int argc, char **argv, bool start)
{
	const char *name = NULL;
	int64_t wait_s = CMD_DEFAULT_WAIT_S;
	struct cmd_list words = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &name},
		{0, "wait", CMD_NUMBER, &wait_s},
		{0, NULL, CMD_FLAG, NULL},
	};
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	if (rc == 0 && !c->help && words.n + (name != NULL) != 1)
		rc = err_new(&e, ERR_USAGE, "%s the services of which environment? as in: slipway %s NAME",
			     start ? "start" : "stop", start ? "start" : "stop");
	if (rc == 0 && !c->help)
		rc = set_started(c, name ? name : words.v[0], wait_s, start, &e);
	vec_release(&words);
	return rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : CMD_OK;
}

int cmd_start(struct cmd_context *c, int argc, char **argv)
{
	return start_or_stop(c, argc, argv, true);
}

int cmd_stop(struct cmd_context *c, int argc, char **argv)
{
	return start_or_stop(c, argc, argv, false);
}

/* -- status ----------------------------------------------------------------------------------------------------------- */

static void put_service(struct jw *w, const void *ctx, size_t i)
{
	const struct service_status *x = (const struct service_status *)ctx + i;
	jw_kv_str(w, "environment", x->env);
	jw_kv_str(w, "name", x->name);
	jw_kv_c(w, "state", service_state_name(x->state));
	jw_kv_int(w, "generation", x->generation);
	jw_kv_int(w, "pid", x->pid);
	jw_kv_int(w, "since_ms", x->since_ms);
	jw_kv_int(w, "restarts", x->restarts);
	jw_kv_opt(w, "why", x->why);
}

static void put_timer(struct jw *w, const void *ctx, size_t i)
{
	const struct agent_timer *x = (const struct agent_timer *)ctx + i;
	jw_kv_str(w, "environment", x->env);
	jw_kv_str(w, "state", x->state);
	jw_kv_int(w, "timer_left_ms", x->left_ms);
}

static void put_worker(struct jw *w, const void *ctx, size_t i)
{
	const struct agent_worker *x = (const struct agent_worker *)ctx + i;
	jw_kv_str(w, "environment", x->env);
	jw_kv_int(w, "pid", x->pid);
	jw_kv_int(w, "since_ms", x->since_ms);
	jw_kv_opt(w, "why", x->why);
}

static void status_json(struct jw *w, const char *by, const struct agent_status *s)
{
	jw_kv_bool(w, "agent", s->pid != 0);
	jw_kv_c(w, "services_by", by);
	jw_kv_opt(w, "version", s->version);
	jw_kv_int(w, "pid", s->pid);
	jw_kv_int(w, "since_ms", s->since_ms);
	jw_kv_objects(w, "services", s->services_n, put_service, s->services);
	jw_kv_objects(w, "operations", s->timers_n, put_timer, s->timers);
	jw_kv_objects(w, "workers", s->workers_n, put_worker, s->workers);
	if (s->pair.address.n || s->pair.why.n) {
		jw_key(w, "pair");
		jw_object(w);
		jw_kv_str(w, "address", s->pair.address);
		jw_kv_str(w, "why", s->pair.why);
		jw_kv_int(w, "connections", s->pair.connections);
		jw_object_end(w);
	}
}

static void put_left(struct buf *b, int64_t ms)
{
	int64_t s = ms / 1000;
	buf_printf(b, "%02lld:%02lld:%02lld", (long long)(s / 3600), (long long)(s / 60 % 60), (long long)(s % 60));
}

static void put_services(struct buf *b, const struct agent_status *s)
{
	buf_printf(b, "%-16s %-16s %-12s %10s %8s %8s  %s\n", "ENVIRONMENT", "SERVICE", "STATE", "GENERATION", "PID",
		   "RESTARTS", "SINCE");
	for (size_t i = 0; i < s->services_n; i++) {
		const struct service_status *x = &s->services[i];
		buf_printf(b, "%-16.*s %-16.*s %-12s %10u %8d %8u  ", STR_ARG(x->env), STR_ARG(x->name),
			   service_state_name(x->state), x->generation, (int)x->pid, x->restarts);
		clock_put_table(b, x->since_ms);
		if (x->why.n)
			buf_printf(b, "  %.*s", STR_ARG(x->why));
		buf_put_char(b, '\n');
	}
}

static void status_text(struct buf *b, const char *by, const struct agent_status *s)
{
	if (s->pid) {
		buf_printf(b, "agent %.*s, process %d, since ", STR_ARG(s->version), (int)s->pid);
		clock_put_table(b, s->since_ms);
		buf_put_char(b, '\n');
	} else {
		buf_printf(b, "no agent; %s runs the services and rings the timers\n", by);
	}
	if (s->services_n)
		put_services(b, s);
	else
		buf_put_c(b, "no services run\n");
	if (s->pair.address.n)
		buf_printf(b, "pair: listens on %.*s; %u connections\n", STR_ARG(s->pair.address), s->pair.connections);
	else if (s->pair.why.n)
		buf_printf(b, "pair: does not listen: %.*s\n", STR_ARG(s->pair.why));
	for (size_t i = 0; i < s->timers_n; i++) {
		const struct agent_timer *t = &s->timers[i];
		buf_printf(b, "operation of '%.*s': %.*s; auto-abort timer: ", STR_ARG(t->env), STR_ARG(t->state));
		if (t->left_ms < 0)
			buf_put_c(b, str_eq_c(t->state, "activated") ? "stopped"
								     : "inactive"); /* who stops it is a person */
		else
			put_left(b, t->left_ms);
		buf_put_char(b, '\n');
	}
	for (size_t i = 0; i < s->workers_n; i++) {
		const struct agent_worker *x = &s->workers[i];
		buf_printf(b, "'%.*s' is being settled since ", STR_ARG(x->env));
		clock_put_table(b, x->since_ms);
		if (x->pid)
			buf_printf(b, " by process %d", (int)x->pid);
		if (x->why.n)
			buf_printf(b, "; last: %.*s", STR_ARG(x->why));
		buf_put_char(b, '\n');
	}
}

/* Where no agent can be asked: what runs from whoever runs it, operations from the disk. */
static int read_status(struct cmd_context *c, const struct upgrade_services *by, struct agent_status *ret,
		       struct err *e)
{
	struct str *v;
	*ret = (struct agent_status){0};
	if (by->status(by->ctx, &c->arena, &ret->services, &ret->services_n, e) < 0 || cmd_need_state(c, true, e) < 0 ||
	    env_operation_list(c->state, &c->arena, &v, &ret->timers_n, e) < 0)
		return -1;
	ret->timers = arena_array(&c->arena, struct agent_timer, ret->timers_n);
	for (size_t i = 0; i < ret->timers_n; i++) {
		struct upgrade_status s;
		if (upgrade_status(c->state, &c->arena, v[i], &s, e) < 0)
			return -1;
		ret->timers[i] = (struct agent_timer){.env = v[i], .state = s.state, .left_ms = s.timer_left_ms};
	}
	return 0;
}

/* A member's own timer may be the later one of two. */
static int take_first_timers(struct cmd_context *c, struct agent_status *s, struct err *e)
{
	for (size_t i = 0; i < s->timers_n; i++) {
		struct pair_status p;
		struct upgrade_status u;
		if (s->timers[i].left_ms < 0)
			continue;
		if (cmd_need_state(c, true, e) < 0 || /* it may have ended meanwhile */
		    upgrade_find_status(c->state, &c->arena, s->timers[i].env, &u, e) < 0)
			return -1;
		int paired = u.paired ? cmd_pair_members(c, s->timers[i].env, &p, e) : 0;
		if (paired < 0)
			return -1;
		if (paired)
			s->timers[i].left_ms = cmd_first_timer(&p, u.id, s->timers[i].left_ms);
	}
	return 0;
}

static int status(struct cmd_context *c, struct err *e)
{
	const struct upgrade_services *by;
	auto_answer answer = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	struct agent_status s;
	if (cmd_need_root(c, e) < 0 || cmd_need_services(c, STR_NONE, &by, e) < 0 ||
	    (c->agent ? agent_status(c->agent, &c->arena, &s, e) : read_status(c, by, &s, e)) < 0 ||
	    take_first_timers(c, &s, e) < 0)
		return -1;
	if (c->json) {
		status_json(cmd_answer(&answer), by->name, &s);
		return cmd_answer_print(c, &answer);
	}
	status_text(&b, by->name, &s);
	return cmd_print(c, &b);
}

int cmd_status(struct cmd_context *c, int argc, char **argv)
{
	struct cmd_list words = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {{0, NULL, CMD_FLAG, NULL}};
	int rc = cmd_parse(c, options, false, argc, argv, &words, &e);
	if (rc == 0 && words.n)
		rc = err_new(&e, ERR_USAGE, "'%s' is one word too many; as in: slipway status", words.v[0]);
	vec_release(&words);
	if (rc == 0 && !c->help)
		rc = status(c, &e);
	return rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : CMD_OK;
}
