// SPDX-License-Identifier: Apache-2.0
/*
 * What is to happen with a service, step by step. An operation (start, hand-over, stop) goes through the steps of supervisor.h; everything that
 * can happen (a process is ready, ends, is healthy, a time is over) comes in here and either leads to the next step or to
 * failed(), the one place that decides what to go back to.
 *
 * Hand-over by sockets:   READY (coming) → PRIVATE → it serves, the old one is told to stop → RELEASE → PROBES → done
 * Hand-over by restart:   the old one is told to stop → END → READY → PROBES → done
 * failed before the old one was told to stop: the new one is ended, the old one never noticed
 * failed afterwards:      the new one is told to stop; the old version is started on the same sockets: READY → PROBES → failed, but running
 */
#include "service/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"

enum {
	LOCK_WAIT_MS = 2000, /* children of one that was killed let go of it at once */
	LOG_LOOK_MS = 5000,
	RELEASE_FIRST_MS = 5,
	RELEASE_LAST_MS = 200,
	RESTART_DELAY_MAX_MS = 5 * 60 * 1000,
	RAN_WELL_MS = 60 * 1000,
	ENDS_STILL_STARTING = 3,
	LEAVING_MAX = 16,
};

static void failed(struct service *s, struct err *why);
static void go_on_after_end(struct service *s);
static void begin_step(struct service *s, enum step step);

/* == answers ====================================================================================================== */
static void on_calls(void *ctx, enum loop_events events)
{
	struct supervisor *sup = ctx;
	(void)events;
	sup->calls_timer = NULL;
	/* those that a callback causes wait for the next turn */
	struct call *c = sup->calls;
	sup->calls = NULL;
	sup->last_call = &sup->calls;
	while (c) {
		struct call *next = c->next;
		c->done(c->ctx, c->failure.code ? &c->failure : NULL);
		free(c);
		c = next;
	}
}

void service_answer(struct supervisor *sup, service_done_fn *done, void *ctx, const struct err *failure)
{
	if (!done)
		return;
	struct call *c = xcalloc(1, sizeof(*c));
	c->done = done;
	c->ctx = ctx;
	if (failure)
		c->failure = *failure;
	if (failure && !c->failure.code)
		c->failure.code = ERR_FAILED;
	*sup->last_call = c;
	sup->last_call = &c->next;
	if (!sup->calls_timer)
		sup->calls_timer = loop_timer(sup->loop, loop_now_ms(sup->loop), on_calls, sup);
}

int64_t supervisor_wall_ms(const struct supervisor *sup)
{
	const struct clock *c = loop_clock(sup->loop);
	return c->wall_ms(c);
}

/* == services ===================================================================================================== */
static const char *const state_names[] = {"stopped",	  "starting", "running", "unhealthy",
					  "handing over", "stopping", "failed"};

const char *service_state_name(enum service_state s)
{
	return state_names[s];
}

static void fill_status(const struct service *s, struct service_status *ret)
{
	const struct process *p = NULL;
	uint32_t leaving = 0;
	for (const struct process *q = s->processes; q; q = q->next) {
		if (q->role == ROLE_SERVING)
			p = q;
		leaving += q->role == ROLE_LEAVING;
	}
	*ret = (struct service_status){.env = str_c(s->env),
				       .name = str_c(s->name),
				       .generation = s->version ? s->version->generation : 0,
				       .state = s->state,
				       .pid = p ? p->pid : 0,
				       .since_ms = s->since_ms,
				       .restarts = s->restarts,
				       .why = s->why ? str_c(s->why) : STR_NONE,
				       .leaving = leaving};
}

void service_set_state(struct service *s, enum service_state state, const char *why)
{
	char *copy = why ? xstrdup(why) : NULL;
	if (s->state != state)
		s->since_ms = supervisor_wall_ms(s->sup);
	free(s->why); /* which `why` may have been */
	s->why = copy;
	s->state = state;
	log_say(s->log_fd, supervisor_wall_ms(s->sup), "%s%s%s", state_names[state], copy ? ": " : "",
		copy ? copy : "");
	if (s->sup->opts.event) {
		struct service_status st;
		fill_status(s, &st);
		s->sup->opts.event(s->sup->opts.ctx, &st);
	}
}

static void version_free(struct version *v)
{
	if (!v)
		return;
	struct arena a = v->arena; /* v lives in it */
	arena_release(&a);
}

static struct version *version_new(const struct service_ref *r, struct err *e)
{
	struct arena a = ARENA_INIT;
	struct version *v = arena_new(&a, struct version);
	v->prefix = arena_strdup(&a, str_c(r->prefix));
	v->generation = r->generation;
	if (decl_copy(&a, r->decl, &v->decl, e) < 0) {
		arena_release(&a);
		return NULL;
	}
	v->arena = a;
	return v;
}

struct service *service_find(struct supervisor *sup, struct str env, struct str name)
{
	for (struct service *s = sup->services; s; s = s->next)
		if (str_eq_c(env, s->env) && str_eq_c(name, s->name))
			return s;
	return NULL;
}

static int compare(const struct service *a, const struct service *b)
{
	int r = strcmp(a->env, b->env);
	return r ? r : strcmp(a->name, b->name);
}

struct service *service_new(struct supervisor *sup, struct str env, struct str name, struct err *e)
{
	if (!service_name_ok(env) || !service_name_ok(name)) {
		err_new(e, ERR_INPUT, "'%.*s' of '%.*s' is no name for a service", STR_ARG(str_head(name, 100)),
			STR_ARG(str_head(env, 100)));
		return NULL;
	}
	struct service *s = xcalloc(1, sizeof(*s));
	s->sup = sup;
	s->env = str_dup(env);
	s->name = str_dup(name);
	s->dir = xasprintf("%s/%s/%s", sup->run_path, s->env, s->name);
	s->log_fd = -1;
	s->env_dirfd = fs_open_dir_make(sup->run_dirfd, s->env, e);
	if (s->env_dirfd >= 0)
		s->log_fd = log_open(s->env_dirfd, s->name, e);
	struct service **at = &sup->services;
	while (*at && compare(*at, s) < 0)
		at = &(*at)->next;
	s->next = *at;
	*at = s;
	if (s->log_fd >= 0)
		return s;
	service_forget(s);
	return NULL;
}

static void clear_timers(struct service *s)
{
	loop_remove(s->deadline);
	loop_remove(s->settle);
	loop_remove(s->release);
	loop_remove(s->restart);
	s->deadline = s->settle = s->release = s->restart = NULL;
}

void service_forget(struct service *s)
{
	s->check_done = NULL;
	health_stop(s);
	clear_timers(s);
	while (s->processes)
		process_forget(s->processes);
	vec_foreach(h, &s->held) {
		cleanup_fd(&h->fd);
		free(h->address);
	}
	vec_release(&s->held);
	version_free(s->version);
	version_free(s->coming);
	version_free(s->previous);
	cleanup_fd(&s->env_dirfd);
	cleanup_fd(&s->log_fd);
	struct service **at = &s->sup->services;
	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	free(s->env);
	free(s->name);
	free(s->dir);
	free(s->why);
	free(s);
}

/* == sockets ====================================================================================================== */
static bool is_held(const struct service *s, struct str address)
{
	for (size_t i = 0; i < s->held.n; i++)
		if (str_eq_c(address, s->held.v[i].address))
			return true;
	return false;
}

static bool all_held(const struct service *s, const struct service_decl *d)
{
	for (uint32_t i = 0; i < d->sockets_n; i++)
		if (!d->sockets[i].is_private && !is_held(s, d->sockets[i].address))
			return false;
	return true;
}

static int hold_sockets(struct service *s, const struct service_decl *d, struct err *e)
{
	struct identity who;
	if (identity_find(d->user, &who, e) < 0)
		return -1;
	auto_fd dir = fs_open_dir_make(s->env_dirfd, s->name, e);
	if (dir < 0)
		return err_ctx(e, "runtime folder");
	for (uint32_t i = 0; i < d->sockets_n; i++) {
		struct address a;
		auto_free char *text = str_dup(d->sockets[i].address);
		if (d->sockets[i].is_private || is_held(s, d->sockets[i].address))
			continue;
		if (address_parse(d->sockets[i].address, s->dir, &a, e) < 0)
			return -1;
		int fd = socket_listen(&a, text, 0666, &who, e);
		if (fd < 0)
			return -1;
		*vec_add(&s->held) = (struct held){.address = steal_ptr(&text), .fd = fd};
	}
	return 0;
}

static bool declares(const struct version *v, const char *address)
{
	for (uint32_t i = 0; v && i < v->decl.sockets_n; i++)
		if (!v->decl.sockets[i].is_private && str_eq_c(v->decl.sockets[i].address, address))
			return true;
	return false;
}

/* Closes what none of the versions declares (any more). */
static void release_sockets(struct service *s, bool all)
{
	for (size_t i = 0; i < s->held.n;) {
		struct held *h = &s->held.v[i];
		struct address a;
		struct err e;
		if (!all && (declares(s->version, h->address) || declares(s->coming, h->address) ||
			     declares(s->previous, h->address))) {
			i++;
			continue;
		}
		if (address_parse(str_c(h->address), s->dir, &a, &e) == 0 && a.u.any.sa_family == AF_UNIX &&
		    socket_is(h->fd, &a))
			(void)sys_unlinkat(AT_FDCWD, a.u.un.sun_path, 0);
		cleanup_fd(&h->fd);
		free(h->address);
		*h = s->held.v[--s->held.n];
	}
}

/* == the ends of an operation ===================================================================================== */
static void clear_op(struct service *s)
{
	loop_remove(s->deadline);
	loop_remove(s->settle);
	loop_remove(s->release);
	s->deadline = s->settle = s->release = NULL;
	s->op = OP_NONE;
	s->step = STEP_IDLE;
	s->back = s->by_sockets = s->asked_private = false;
	s->failure = ERR_INIT;
	version_free(s->previous);
	version_free(s->coming);
	s->previous = s->coming = NULL;
}

static void answer(struct service *s, const struct err *failure)
{
	service_done_fn *done = s->done;
	s->done = NULL;
	if (failure)
		log_say(s->log_fd, supervisor_wall_ms(s->sup), "failed: %s", failure->msg);
	service_answer(s->sup, done, s->ctx, failure);
}

/* The version serves, is ready and healthy. */
static void succeeded(struct service *s)
{
	struct err failure = s->failure;
	bool back = s->back;
	clear_op(s);
	release_sockets(s, false);
	s->wanted = true;
	struct err e;
	(void)run_record(s, &e);
	service_set_state(s, SERVICE_RUNNING, NULL);
	health_watch(s, false);
	if (!back) {
		answer(s, NULL);
		return;
	}
	failure.code = ERR_ROLLED_BACK;
	answer(s, &failure);
}

static void stopped(struct service *s)
{
	clear_op(s);
	release_sockets(s, true);
	run_forget(s);
	service_set_state(s, SERVICE_STOPPED, NULL);
	answer(s, NULL);
	service_forget(s);
}

static void stop_all(struct service *s)
{
	struct process *next;
	health_stop(s);
	for (struct process *p = s->processes; p; p = next) {
		next = p->next;
		if (p->role != ROLE_LEAVING)
			process_stop(p);
	}
}

/* == restarts ===================================================================================================== */
static int launch(struct service *s, struct err *e)
{
	if (hold_sockets(s, &s->version->decl, e) < 0 || process_launch(s, s->version, ROLE_SERVING, e) < 0)
		return -1;
	begin_step(s, STEP_READY);
	return 0;
}

static unsigned count_leaving(const struct service *s)
{
	unsigned n = 0;
	for (const struct process *p = s->processes; p; p = p->next)
		n += p->role == ROLE_LEAVING;
	return n;
}

/* Failed starts that do not even leave must not pile up. */
static void bound_leaving(struct service *s)
{
	if (count_leaving(s) < LEAVING_MAX)
		return;
	for (struct process *p = s->processes; p; p = p->next)
		if (p->role == ROLE_LEAVING)
			process_kill(p);
}

static void on_restart(void *ctx, enum loop_events events)
{
	struct service *s = ctx;
	struct err e = ERR_INIT;
	(void)events;
	s->restart = NULL;
	s->restarts++;
	bound_leaving(s);
	if (s->state != SERVICE_STARTING)
		service_set_state(s, SERVICE_STARTING, s->why);
	if (launch(s, &e) < 0)
		failed(s, &e);
}

/* Twice the delay for each end in a row: something that cannot run is tried for ever, but seldom. */
static void restart_later(struct service *s, const char *why)
{
	int64_t delay = s->version->decl.restart_delay_ms;
	s->ends_in_row++;
	for (uint32_t i = 1; i < s->ends_in_row && delay < RESTART_DELAY_MAX_MS; i++)
		delay = delay > 0 ? delay * 2 : 100;
	if (delay > RESTART_DELAY_MAX_MS)
		delay = RESTART_DELAY_MAX_MS;
	auto_free char *text = xasprintf("%s; started again in %lld ms", why, (long long)delay);
	service_set_state(s, s->ends_in_row <= ENDS_STILL_STARTING ? SERVICE_STARTING : SERVICE_FAILED, text);
	loop_remove(s->restart);
	s->restart = loop_timer(s->sup->loop, loop_now_ms(s->sup->loop) + delay, on_restart, s);
}

static void give_up(struct service *s, enum service_state state, const char *why)
{
	struct err e;
	s->wanted = false;
	release_sockets(s, true);
	(void)run_record(s, &e);
	service_set_state(s, state, why);
}

void service_found_dead(struct service *s)
{
	if (!s->wanted || s->version->decl.restart == SERVICE_RESTART_NEVER)
		give_up(s, SERVICE_FAILED, "had ended when this supervisor began");
	else
		restart_later(s, "had ended when this supervisor began");
}

/* == failure ====================================================================================================== */
/* The new version never served alone: it goes, and the old one has not noticed. */
static void drop_coming(struct service *s, struct err *why)
{
	struct process *coming = process_with(s, ROLE_COMING), *old;
	uint32_t new_generation = s->coming->generation;
	struct err e;
	if (coming)
		process_stop(coming);
	clear_op(s);
	release_sockets(s, false);
	(void)run_record(s, &e);
	old = process_with(s, ROLE_SERVING);
	err_ctx(why, "service '%s' of generation %u", s->name, new_generation);
	if (!old) {
		restart_later(s, "ended during a hand-over that failed");
	} else {
		struct err text = *why;
		err_new(why, text.code ? text.code : ERR_FAILED, "%s; generation %u runs on", text.msg,
			s->version->generation);
		service_set_state(s, SERVICE_RUNNING, NULL);
		health_watch(s, false);
	}
	answer(s, why);
}

/* The old version has been told to stop: it is started again. By sockets at once, beside the new one, which drains; else when that has ended. */
static void go_back(struct service *s, const struct err *why)
{
	struct err e = ERR_INIT;
	uint32_t bad = s->version->generation;
	version_free(s->version);
	s->version = s->previous;
	s->previous = NULL;
	s->back = true;
	s->asked_private = false;
	stop_all(s);
	err_new(&s->failure, ERR_ROLLED_BACK, "service '%s' of generation %u: %s; generation %u was started again",
		s->name, bad, why->msg, s->version->generation);
	(void)run_record(s, &e);
	log_say(s->log_fd, supervisor_wall_ms(s->sup), "back to generation %u: %s", s->version->generation, why->msg);
	begin_step(s, STEP_END);
	if (s->by_sockets || !s->processes)
		go_on_after_end(s);
}

static void lost(struct service *s, const struct err *why)
{
	struct err e = ERR_INIT, text = s->failure;
	stop_all(s);
	err_new(&e, ERR_UNCERTAIN, "%s, and did not come back: %s", text.msg, why->msg);
	clear_op(s);
	if (s->version->decl.restart == SERVICE_RESTART_NEVER)
		give_up(s, SERVICE_FAILED, why->msg);
	else
		restart_later(s, why->msg);
	answer(s, &e);
}

static void failed(struct service *s, struct err *why)
{
	health_stop(s);
	loop_remove(s->settle);
	s->settle = NULL;
	if (s->op == OP_HAND_OVER && s->back) {
		lost(s, why);
	} else if (s->op == OP_HAND_OVER && s->coming) {
		drop_coming(s, why);
	} else if (s->op == OP_HAND_OVER && s->previous) {
		go_back(s, why);
	} else if (s->op != OP_NONE) { /* a start */
		stop_all(s);
		clear_op(s);
		err_ctx(why, "service '%s' of generation %u", s->name, s->version->generation);
		give_up(s, SERVICE_FAILED, why->msg);
		answer(s, why);
	} else { /* a restart */
		stop_all(s);
		clear_op(s);
		restart_later(s, why->msg);
	}
}

/* == steps ======================================================================================================== */
static void on_deadline(void *ctx, enum loop_events events)
{
	struct service *s = ctx;
	struct err e = ERR_INIT;
	const struct version *v = s->coming ? s->coming : s->version;
	long long ms = (long long)v->decl.start_timeout_ms;
	(void)events;
	s->deadline = NULL;
	if (s->step == STEP_READY)
		err_new(&e, ERR_FAILED,
			v->decl.ready == SERVICE_READY_NOTIFY ? "did not say READY=1 within %lld ms"
							      : "did not start within %lld ms",
			ms);
	else
		err_new(&e, ERR_FAILED, "is not healthy %lld ms after its start: %s", ms,
			s->last_health.code ? s->last_health.msg : "no check has been answered");
	if (s->op == OP_NONE && s->step != STEP_READY) {
		/* a restart: it runs, and may yet become healthy */
		clear_op(s);
		service_set_state(s, SERVICE_UNHEALTHY, e.msg);
		health_watch(s, false);
		return;
	}
	failed(s, &e);
}

static void set_deadline(struct service *s)
{
	const struct version *v = s->coming ? s->coming : s->version;
	loop_remove(s->deadline);
	s->deadline = loop_timer(s->sup->loop, loop_now_ms(s->sup->loop) + v->decl.start_timeout_ms, on_deadline, s);
}

static bool others_let_go(const struct service *s)
{
	for (const struct process *p = s->processes; p; p = p->next)
		if (p->role == ROLE_LEAVING && !process_let_go(p))
			return false;
	return true;
}

static void on_release_look(void *ctx, enum loop_events events)
{
	struct service *s = ctx;
	(void)events;
	s->release = NULL;
	if (others_let_go(s)) {
		begin_step(s, STEP_PROBES);
		return;
	}
	s->release = loop_timer(s->sup->loop, loop_now_ms(s->sup->loop) + s->release_wait_ms, on_release_look, s);
	if (s->release_wait_ms < RELEASE_LAST_MS)
		s->release_wait_ms *= 2;
}

/* The one that comes becomes the one that serves; the other is told to stop. */
static void take_over(struct service *s)
{
	struct process *old = process_with(s, ROLE_SERVING), *coming = process_with(s, ROLE_COMING);
	struct err e;
	s->previous = s->version;
	s->version = s->coming;
	s->coming = NULL;
	coming->role = ROLE_SERVING;
	log_say(s->log_fd, supervisor_wall_ms(s->sup), "generation %u serves", s->version->generation);
	if (old)
		process_stop(old); /* writes down both */
	else
		(void)run_record(s, &e);
	begin_step(s, STEP_RELEASE);
}

static void ask(struct service *s, enum probe_mask mask)
{
	const struct version *v = s->coming ? s->coming : s->version;
	struct process *p = process_with(s, s->coming ? ROLE_COMING : ROLE_SERVING);
	if (!p || !health_has(&v->decl, mask)) {
		service_healthy(s);
		return;
	}
	health_begin(s, p, v, mask, HEALTH_OF_START);
}

static void begin_step(struct service *s, enum step step)
{
	s->step = step;
	switch (step) {
	case STEP_READY:
		set_deadline(s);
		break;
	case STEP_PRIVATE:
		s->asked_private = true;
		ask(s, PROBES_PRIVATE);
		break;
	case STEP_RELEASE:
		loop_remove(s->deadline); /* from here on the old one's stop time counts */
		s->deadline = NULL;
		s->release_wait_ms = RELEASE_FIRST_MS;
		loop_remove(s->release);
		s->release = loop_timer(s->sup->loop, loop_now_ms(s->sup->loop), on_release_look, s);
		break;
	case STEP_PROBES:
		if (!s->deadline)
			set_deadline(s);
		ask(s, s->asked_private ? PROBES_SHARED : PROBES_ALL);
		break;
	case STEP_END:
	case STEP_STOP:
		clear_timers(s);
		break;
	case STEP_IDLE:
	default:
		break;
	}
}

static void go_on_after_end(struct service *s)
{
	struct err e = ERR_INIT;
	if (launch(s, &e) < 0)
		failed(s, &e);
}

void service_process_ready(struct service *s, struct process *p)
{
	if (s->step != STEP_READY || p->role != (s->coming ? ROLE_COMING : ROLE_SERVING))
		return;
	begin_step(s, s->coming ? STEP_PRIVATE : STEP_PROBES);
}

void service_healthy(struct service *s)
{
	if (s->step == STEP_PRIVATE)
		take_over(s);
	else if (s->step == STEP_PROBES)
		succeeded(s);
}

void service_unhealthy(struct service *s, struct err *e)
{
	if (s->op == OP_NONE) {
		clear_op(s);
		service_set_state(s, SERVICE_UNHEALTHY, e->msg);
		health_watch(s, false);
		return;
	}
	failed(s, e);
}

void service_process_failed(struct service *s, struct process *p, struct err *e)
{
	struct err ignored;
	bool young = p->role != ROLE_LEAVING;
	if (s->asked == p)
		health_stop(s);
	process_gone(p);
	(void)run_record(s, &ignored);
	if (young)
		failed(s, e);
}

static void served_until(struct service *s, int64_t ran_ms, int status)
{
	auto_buf text = BUF_INIT(200);
	const struct service_decl *d = &s->version->decl;
	status_put(&text, status);
	if (ran_ms >= RAN_WELL_MS)
		s->ends_in_row = 0;
	if (d->restart == SERVICE_RESTART_ALWAYS || (d->restart == SERVICE_RESTART_ON_FAILURE && status != 0))
		restart_later(s, text.p);
	else
		give_up(s, status == 0 ? SERVICE_STOPPED : SERVICE_FAILED, text.p);
}

void service_process_ended(struct service *s, enum role role, bool was_ready, int64_t ran_ms, int status)
{
	struct err e = ERR_INIT;
	auto_buf text = BUF_INIT(200);
	if (role == ROLE_LEAVING) {
		if (s->step == STEP_STOP && !s->processes)
			stopped(s);
		else if (s->step == STEP_END && !s->processes)
			go_on_after_end(s);
		return;
	}
	if (s->step == STEP_IDLE) {
		served_until(s, ran_ms, status);
		return;
	}
	if (s->coming &&
	    role == ROLE_SERVING) /* the old one: nothing to hand over from any more, but the new one goes on */
		return;
	status_put(&text, status);
	err_new(&e, ERR_FAILED, was_ready ? "%s before it was found healthy" : "%s before it was ready", text.p);
	failed(s, &e);
}

/* == operations =================================================================================================== */
static void refuse(struct supervisor *sup, service_done_fn *done, void *ctx, struct err *e)
{
	service_answer(sup, done, ctx, e);
}

static struct service *find_or_make(struct supervisor *sup, const struct service_ref *r, struct err *e)
{
	struct service *s = service_find(sup, r->env, r->decl->name);
	return s ? s : service_new(sup, r->env, r->decl->name, e);
}

/* Puts the version in place and starts it, with nothing before it. */
static void start_now(struct service *s, struct version *v, enum op op, service_done_fn *done, void *ctx)
{
	struct err e = ERR_INIT;
	clear_timers(s);
	s->op = op;
	s->done = done;
	s->ctx = ctx;
	s->wanted = true;
	s->ends_in_row = 0;
	version_free(s->version);
	s->version = v;
	release_sockets(s, false);
	service_set_state(s, SERVICE_STARTING, NULL);
	begin_step(s, STEP_END);
	if (!s->processes && launch(s, &e) < 0)
		failed(s, &e);
}

void service_start(struct supervisor *sup, const struct service_ref *r, service_done_fn *done, void *ctx)
{
	struct err e = ERR_INIT;
	struct service *s = find_or_make(sup, r, &e);
	if (!s) {
		refuse(sup, done, ctx, &e);
		return;
	}
	if (s->op != OP_NONE) {
		err_new(&e, ERR_BUSY, "service '%s' is %s", s->name, state_names[s->state]);
		refuse(sup, done, ctx, &e);
		return;
	}
	if (process_with(s, ROLE_SERVING) && s->version->generation == r->generation) {
		if (s->step == STEP_IDLE) {
			service_answer(sup, done, ctx, NULL);
			return;
		}
		s->op = OP_START; /* it is being started again just now */
		s->done = done;
		s->ctx = ctx;
		return;
	}
	if (process_with(s, ROLE_SERVING)) {
		err_new(&e, ERR_EXISTS, "service '%s' runs as of generation %u; hand it over", s->name,
			s->version->generation);
		refuse(sup, done, ctx, &e);
		return;
	}
	struct version *v = version_new(r, &e);
	if (!v) {
		if (!s->version)
			service_forget(s);
		refuse(sup, done, ctx, &e);
		return;
	}
	start_now(s, v, OP_START, done, ctx);
}

static void hand_over_by_sockets(struct service *s)
{
	struct err e = ERR_INIT;
	if (hold_sockets(s, &s->coming->decl, &e) < 0 || process_launch(s, s->coming, ROLE_COMING, &e) < 0) {
		failed(s, &e);
		return;
	}
	begin_step(s, STEP_READY);
}

static void hand_over_by_restart(struct service *s)
{
	struct err e;
	s->previous = s->version;
	s->version = s->coming;
	s->coming = NULL;
	begin_step(s, STEP_END);
	stop_all(s);
	(void)run_record(s, &e);
	if (!s->processes)
		go_on_after_end(s);
}

/* There is something to share, and we have it. */
static bool can_share(struct service *s, const struct service_decl *d)
{
	return process_with(s, ROLE_SERVING) && d->takeover == SERVICE_HAND_OVER_SOCKETS &&
	       all_held(s, &s->version->decl);
}

void service_hand_over(struct supervisor *sup, const struct service_ref *r, service_done_fn *done, void *ctx)
{
	struct err e = ERR_INIT;
	struct service *s = service_find(sup, r->env, r->decl->name);
	if (!s || !s->wanted || s->op != OP_NONE || s->version->generation == r->generation) {
		service_start(sup, r, done, ctx);
		return;
	}
	if (count_leaving(s) >= LEAVING_MAX) {
		err_new(&e, ERR_BUSY, "%d earlier versions of service '%s' have not yet answered all they were asked",
			LEAVING_MAX, s->name);
		refuse(sup, done, ctx, &e);
		return;
	}
	struct version *v = version_new(r, &e);
	if (!v) {
		refuse(sup, done, ctx, &e);
		return;
	}
	clear_timers(s);
	health_stop(s);
	s->op = OP_HAND_OVER;
	s->done = done;
	s->ctx = ctx;
	s->coming = v;
	s->step = STEP_IDLE;
	s->by_sockets = can_share(s, &v->decl);
	service_set_state(s, SERVICE_HANDING_OVER, NULL);
	if (s->by_sockets)
		hand_over_by_sockets(s);
	else
		hand_over_by_restart(s);
}

void service_stop(struct supervisor *sup, struct str env, struct str name, service_done_fn *done, void *ctx)
{
	struct err e = ERR_INIT;
	struct service *s = service_find(sup, env, name);
	if (!s) {
		service_answer(sup, done, ctx, NULL);
		return;
	}
	if (s->op == OP_STOP) {
		err_new(&e, ERR_BUSY, "service '%s' is being stopped already", s->name);
		refuse(sup, done, ctx, &e);
		return;
	}
	if (s->op != OP_NONE) {
		err_new(&e, ERR_FAILED, "service '%s' was stopped meanwhile", s->name);
		answer(s, &e);
	}
	clear_op(s);
	s->op = OP_STOP;
	s->done = done;
	s->ctx = ctx;
	s->wanted = false;
	begin_step(s, STEP_STOP);
	service_set_state(s, SERVICE_STOPPING, NULL);
	stop_all(s);
	if (!s->processes)
		stopped(s);
}

void service_check(struct supervisor *sup, struct str env, struct str name, service_done_fn *done, void *ctx)
{
	struct err e = ERR_INIT;
	struct service *s = service_find(sup, env, name);
	struct process *p = s ? process_with(s, ROLE_SERVING) : NULL;
	if (!p)
		err_new(&e, ERR_NOT_FOUND, "service '%.*s' does not run", STR_ARG(str_head(name, 100)));
	else if (s->op != OP_NONE || s->step != STEP_IDLE || s->check_done)
		err_new(&e, ERR_BUSY, "service '%s' is %s", s->name,
			s->check_done ? "being asked already" : state_names[s->state]);
	if (e.code) {
		refuse(sup, done, ctx, &e);
		return;
	}
	if (!health_has(&s->version->decl, PROBES_ALL)) {
		service_answer(sup, done, ctx, NULL);
		return;
	}
	uint32_t passes = s->passes, failures = s->failures;
	health_begin(s, p, s->version, PROBES_ALL, HEALTH_WATCH);
	s->passes = passes; /* what was known before counts on */
	s->failures = failures;
	s->check_done = done;
	s->check_ctx = ctx;
}

/* == the supervisor =============================================================================================== */
static void on_log_look(void *ctx, enum loop_events events)
{
	struct supervisor *sup = ctx;
	struct err e;
	(void)events;
	for (struct service *s = sup->services; s; s = s->next)
		(void)log_rotate(s->env_dirfd, s->name, s->log_fd,
				 &e); /* where that fails, it grows: the next look tries again */
	sup->log_timer = loop_timer(sup->loop, loop_now_ms(sup->loop) + LOG_LOOK_MS, on_log_look, sup);
}

int supervisor_new(const struct supervisor_opts *o, struct supervisor **ret, struct err *e)
{
	auto_ptr(supervisor) sup = xcalloc(1, sizeof(*sup));
	sup->opts = *o;
	sup->loop = o->loop;
	sup->run_path = xstrdup(o->run_path);
	sup->notify_fd = sup->lock_fd = -1;
	sup->last_call = &sup->calls;
	sup->run_dirfd = fcntl(o->run_dirfd, F_DUPFD_CLOEXEC, 3);
	if (sup->run_dirfd < 0)
		return err_sys(e, "open '%s'", o->run_path);
	sup->lock_fd = fs_lock(sup->run_dirfd, ".supervisor.lock", LOCK_WAIT_MS, e);
	if (sup->lock_fd < 0)
		return err_ctx(e, "another supervisor looks after the services of '%s'", o->run_path);
	if (notify_open(sup, e) < 0)
		return -1;
	sup->log_timer = loop_timer(sup->loop, loop_now_ms(sup->loop) + LOG_LOOK_MS, on_log_look, sup);
	*ret = steal_ptr(&sup);
	return 0;
}

void supervisor_free(struct supervisor *sup)
{
	if (!sup)
		return;
	while (sup->services)
		service_forget(sup->services);
	while (sup->calls) {
		struct call *c = sup->calls;
		sup->calls = c->next;
		free(c);
	}
	loop_remove(sup->notify);
	loop_remove(sup->calls_timer);
	loop_remove(sup->log_timer);
	cleanup_fd(&sup->notify_fd);
	cleanup_fd(&sup->lock_fd);
	cleanup_fd(&sup->run_dirfd);
	free(sup->run_path);
	free(sup->notify_path);
	free(sup);
}

int supervisor_status(struct supervisor *sup, struct arena *a, struct service_status **ret, size_t *ret_n,
		      struct err *e)
{
	size_t n = 0;
	(void)e;
	for (const struct service *s = sup->services; s; s = s->next)
		n++;
	struct service_status *list = arena_array(a, struct service_status, n);
	size_t at = 0;
	for (const struct service *s = sup->services; s; s = s->next, at++) {
		fill_status(s, &list[at]);
		list[at].env = arena_str(a, list[at].env);
		list[at].name = arena_str(a, list[at].name);
		list[at].why = list[at].why.n ? arena_str(a, list[at].why) : STR_NONE;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}
