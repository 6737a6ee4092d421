// SPDX-License-Identifier: Apache-2.0
/*
 * A host for tests of upgrades: a real root with environment "e", and services that only pretend.
 *
 *	auto_host h = {0};
 *	first(&h, "");                      generation 1 of web 1.0 and lib 1, committed, its service running; "e" is held
 *	must(&h, add_of(&h, packages, n));  a request; h.log.p says what the services were asked to do meanwhile
 */
#pragma once

#include "lib/envs.h"

#include "upgrade/upgrade.h"

/* What the services of the host are asked to do, as text; and which of them fails. */
struct host {
	struct envs w;
	struct buf log;
	const char *sick; /* a version whose health check fails: the text of its share/web */
	struct {
		struct str env, name;
		uint32_t generation;
	} running[4];
	size_t running_n;
	struct upgrade_services services;
	struct upgrade_opts opts;
	struct env_hold *hold;
};

static void set_running(struct host *h, struct str env, struct str name, uint32_t generation)
{
	for (size_t i = 0; i < h->running_n; i++) {
		if (str_eq(h->running[i].name, name)) {
			h->running[i].generation = generation;
			return;
		}
	}
	h->running[h->running_n].env = arena_str(&h->w.arena, env);
	h->running[h->running_n].name = arena_str(&h->w.arena, name);
	h->running[h->running_n++].generation = generation;
}

static int fake_start(void *ctx, const struct service_ref *r, struct err *e)
{
	struct host *h = ctx;
	(void)e;
	buf_printf(&h->log, "start %.*s %u;", STR_ARG(r->decl->name), r->generation);
	set_running(h, r->env, r->decl->name, r->generation);
	return 0;
}

static int fake_hand_over(void *ctx, const struct service_ref *r, struct err *e)
{
	struct host *h = ctx;
	(void)e;
	buf_printf(&h->log, "hand-over %.*s %u;", STR_ARG(r->decl->name), r->generation);
	set_running(h, r->env, r->decl->name, r->generation);
	return 0;
}

static int fake_stop(void *ctx, struct str env, struct str service, struct err *e)
{
	struct host *h = ctx;
	(void)env, (void)e;
	buf_printf(&h->log, "stop %.*s;", STR_ARG(service));
	for (size_t i = 0; i < h->running_n; i++)
		if (str_eq(h->running[i].name, service))
			h->running[i] = h->running[--h->running_n];
	return 0;
}

static int fake_check(void *ctx, struct str env, struct str service, struct err *e)
{
	struct host *h = ctx;
	for (size_t i = 0; i < h->running_n; i++) {
		if (!str_eq(h->running[i].name, service))
			continue;
		const char *path =
			arena_printf(&h->w.arena, "%.*s/%u/share/web", STR_ARG(env), h->running[i].generation);
		const char *version = envs_slurp(&h->w, path);
		if (h->sick && version && strcmp(version, h->sick) == 0)
			return err_new(e, ERR_FAILED, "GET /health answers 500");
	}
	return 0;
}

static int fake_status(void *ctx, struct arena *a, struct service_status **ret, size_t *ret_n, struct err *e)
{
	struct host *h = ctx;
	(void)e;
	*ret = arena_array(a, struct service_status, h->running_n);
	*ret_n = h->running_n;
	for (size_t i = 0; i < h->running_n; i++)
		(*ret)[i] = (struct service_status){
			.env = h->running[i].env,
			.name = h->running[i].name,
			.generation = h->running[i].generation,
			.state = SERVICE_RUNNING,
		};
	return 0;
}

static int fake_timer(void *ctx, struct str env, struct err *e)
{
	struct host *h = ctx;
	(void)env, (void)e;
	buf_put_c(&h->log, "timer;");
	return 0;
}

static void host_close(struct host *h)
{
	env_release(steal_ptr(&h->hold));
	buf_release(&h->log);
	envs_close(&h->w);
}
#define auto_host cleanup_with(host_close) struct host

/* The opts hold addresses of *h: it stays where it is. */
__attribute__((unused)) static void host_hold(struct host *h)
{
	h->hold = envs_hold(&h->w, "e");
	h->opts.state = h->w.st;
	h->opts.hold = h->hold;
}

__attribute__((unused)) static void host_release(struct host *h)
{
	env_release(steal_ptr(&h->hold));
	h->opts.hold = NULL;
}

__attribute__((unused)) static void host_open(struct host *h)
{
	h->log = BUF_INIT(1 << 20);
	envs_open(&h->w);
	h->services = (struct upgrade_services){
		.name = "test",
		.start = fake_start,
		.hand_over = fake_hand_over,
		.stop = fake_stop,
		.check = fake_check,
		.status = fake_status,
		.timer_changed = fake_timer,
		.ctx = h,
	};
	h->opts = (struct upgrade_opts){
		.state = h->w.st,
		.env = STR("e"),
		.store = h->w.store,
		.services = &h->services,
		.env_opts = h->w.opts,
		.root_fd = h->w.root_fd,
		.root_path = h->w.root,
		.reserve_bytes = 1,
		.autostart_elsewhere = true,
	};
	h->opts.env_opts.who = "ann";
}

__attribute__((unused)) static struct env_lock_package web(struct host *h, const char *version, const char *more)
{
	const struct envs_file files[] = {
		{"share/web", version, false, false},
		{"share/slipway/component/web.yml",
		 arena_printf(&h->w.arena, "services:\n  web:\n    command: [bin/web]\n%s", more), false, false},
	};
	return envs_package(&h->w, "web", version, files, 2);
}

__attribute__((unused)) static struct env_plan *plan_of(struct host *h, const struct env_lock_package *p, uint32_t n)
{
	struct envs *w = &h->w;
	struct env_spec_file *target = arena_new(&w->arena, struct env_spec_file),
			     *before = arena_new(&w->arena, struct env_spec_file);
	struct env_plan *plan = arena_new(&w->arena, struct env_plan);
	struct env_info info;
	struct err gone = ERR_INIT;
	*target = (struct env_spec_file){.name = STR("e"), .packages = p, .packages_n = n, .is_lock = true};
	bool there = env_get(w->st, &w->arena, STR("e"), &info, &gone) == 0;
	CHECK_MSG(!there || env_generation_lock(w->st, &w->arena, STR("e"), 0, before, &w->err) == 0, "%s", w->err.msg);
	CHECK_MSG(env_plan(target, there ? before : NULL, w->store, &w->arena, plan, &w->err) == 0 &&
			  env_prepare(w->store, NULL, plan, &w->opts, &w->arena, &w->err) == 0,
		  "%s", w->err.msg);
	return plan;
}

__attribute__((unused)) static int run(struct host *h, struct upgrade_request q)
{
	buf_clear(&h->log);
	h->w.err = ERR_INIT;
	return upgrade_run(&h->opts, &q, &h->w.err);
}

__attribute__((unused)) static void must(struct host *h, struct upgrade_request q)
{
	CHECK_MSG(run(h, q) == 0, "%s", h->w.err.msg);
}

/* Generation 1 of web 1.0 and lib 1, committed, its service running. */
__attribute__((unused)) static void first(struct host *h, const char *more)
{
	static struct env_lock_package p[2];
	host_open(h);
	p[0] = web(h, "1.0", more);
	p[1] = envs_simple(&h->w, "lib", "1");
	host_hold(h);
	must(h, (struct upgrade_request){.verb = UPGRADE_ADD,
					 .then_activate = true,
					 .then_commit = true,
					 .operation = "create",
					 .plan = plan_of(h, p, 2)});
	CHECK_INT(env_set_started(h->hold, true, &h->w.err), 0);
	set_running(h, STR("e"), STR("web"), 1);
}

__attribute__((unused)) static struct upgrade_request add_of(struct host *h, const struct env_lock_package *p,
							     uint32_t n)
{
	return (struct upgrade_request){.verb = UPGRADE_ADD, .plan = plan_of(h, p, n)};
}

__attribute__((unused)) static struct env_info info_of(struct host *h)
{
	struct env_info i;
	CHECK_MSG(env_get(h->w.st, &h->w.arena, STR("e"), &i, &h->w.err) == 0, "%s", h->w.err.msg);
	return i;
}

__attribute__((unused)) static struct upgrade_status status_of(struct host *h)
{
	struct upgrade_status s;
	CHECK_MSG(upgrade_status(h->w.st, &h->w.arena, STR("e"), &s, &h->w.err) == 0, "%s", h->w.err.msg);
	return s;
}
