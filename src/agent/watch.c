// SPDX-License-Identifier: Apache-2.0
/*
 * Environments that somebody must look after: those with an operation, and those whose services should be started.
 *
 * What is on disk decides; it is read again whenever a client says so, when a client is gone, when a timer ends, and every TICK_MS. Nothing
 * that may block is done here: a process of its own settles (settle.c). It fails where it finds that it cannot, and is tried
 * again, later each time, for as long as there is something to do.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "agent/internal.h"
#include "pair/pair.h"

enum {
	TICK_MS = 30000,
	BUSY_AGAIN_MS = 500,
	FIRST_AGAIN_MS = 1000,
	LAST_AGAIN_MS = 5 * 60 * 1000,
	LAST_WAIT_MS = 30 * 1000, /* for the other member of a pair */
	LATE_MS = 5 * 60 * 1000,  /* a process that takes longer is told of */
	WHY_SIZE = 1024,
};

/* Shared with the process while it runs. */
struct report {
	char why[WHY_SIZE];
};

struct watched {
	struct agent *agent;
	struct watched *next;
	char *env;
	char state[32]; /* empty: no operation */
	bool drained;	/* a member of the pair was taken out of the traffic for it, and not put in again */
	bool start;	/* its services are to be started */
	bool due, by_timer;
	int64_t left_ms, left_at_ms; /* as it was read then; -1: no timer */
	struct loop_watch *timer;    /* the auto-abort timer's end */
	struct loop_watch *retry;    /* it failed, or the environment was held by another */
	struct loop_watch *child;
	struct report *report;
	pid_t pid;
	int64_t since_ms;
	unsigned failures;
	char why[WHY_SIZE];
};

static void run_due(struct agent *g);

static int64_t now_ms(const struct agent *g)
{
	return loop_now_ms(g->loop);
}

/* -- processes ------------------------------------------------------------------------------------------------------ */

static void on_timer(void *ctx, enum loop_events events)
{
	struct watched *w = ctx;
	(void)events;
	w->timer = NULL;
	watch_look(w->agent, str_c(w->env), true);
}

static void on_retry(void *ctx, enum loop_events events)
{
	struct watched *w = ctx;
	(void)events;
	w->retry = NULL;
	watch_look(w->agent, str_c(w->env), true);
}

static void retry_in(struct watched *w, int64_t ms)
{
	loop_remove(w->retry);
	w->retry = loop_timer(w->agent->loop, now_ms(w->agent) + ms, on_retry, w);
}

static void clear_timers(struct watched *w)
{
	loop_remove(w->timer);
	loop_remove(w->retry);
	w->timer = w->retry = NULL;
}

static int64_t pause_ms(const struct watched *w)
{
	int64_t ms = FIRST_AGAIN_MS;
	for (unsigned i = 1; i < w->failures && ms < LAST_AGAIN_MS; i++)
		ms *= 2;
	return ms < LAST_AGAIN_MS ? ms : LAST_AGAIN_MS;
}

static void end_child(struct watched *w)
{
	w->child = NULL;
	w->pid = 0;
	w->agent->workers_n--;
	if (w->report)
		munmap(w->report, sizeof(*w->report));
	w->report = NULL;
}

static void on_child(void *ctx, pid_t pid, int status)
{
	struct watched *w = ctx;
	struct agent *g = w->agent;
	int result = WIFEXITED(status) ? WEXITSTATUS(status) : SETTLE_FAILED;
	(void)pid;
	if (WIFSIGNALED(status))
		snprintf(w->why, sizeof(w->why), "the process was ended by signal %d", WTERMSIG(status));
	else
		snprintf(w->why, sizeof(w->why), "%.*s", WHY_SIZE - 1, w->report->why);
	end_child(w);
	if (result == SETTLE_DONE) {
		w->why[0] = '\0';
		w->failures = 0;
		w->start = false;
		watch_look(g, str_c(w->env), false);
	} else {
		w->failures += result != SETTLE_BUSY;
		int64_t ms = result == SETTLE_BUSY ? BUSY_AGAIN_MS : pause_ms(w);
		if (result == SETTLE_WAITS && ms > LAST_WAIT_MS)
			ms = LAST_WAIT_MS;
		if (result == SETTLE_FAILED)
			agent_say(g->o, "%s: %s; tried again in %lld s", w->env, w->why, (long long)ms / 1000);
		retry_in(w, ms);
	}
	run_due(g);
}

__attribute__((noreturn)) static void be_child(const struct watched *w, pid_t parent)
{
	const struct agent_opts *o = w->agent->o;
	struct err e = ERR_INIT;
	sigset_t none;
	/* ends with the agent: what it is in the middle of is on disk, and the next agent settles it */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(SETTLE_FAILED);
	if (o->root_fd > 3)
		(void)close_range(3, (unsigned)o->root_fd - 1, 0);
	(void)close_range((unsigned)o->root_fd + 1, ~0U, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	enum settle_result r = settle_env(o, str_c(w->env), w->by_timer, w->start, &e);
	snprintf(w->report->why, sizeof(w->report->why), "%.*s", WHY_SIZE - 1, e.msg);
	_exit(r);
}

static int start_child(struct watched *w, struct err *e)
{
	pid_t self = getpid();
	void *shared = mmap(NULL, sizeof(*w->report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return err_sys(e, "start a process");
	w->report = shared;
	w->since_ms = clock_wall_ms();
	w->pid = fork();
	if (w->pid == 0)
		be_child(w, self);
	w->agent->workers_n++;
	if (w->pid < 0 || loop_child(w->agent->loop, w->pid, on_child, w, &w->child, e) < 0) {
		if (w->pid < 0)
			err_sys(e, "start a process");
		else
			agent_end_process(w->pid);
		end_child(w);
		return -1;
	}
	return 0;
}

static void run_one(struct watched *w)
{
	struct err e = ERR_INIT;
	w->due = false;
	clear_timers(w);
	if (start_child(w, &e) == 0)
		return;
	snprintf(w->why, sizeof(w->why), "%.*s", WHY_SIZE - 1, e.msg);
	agent_say(w->agent->o, "%s: %s", w->env, w->why);
	w->failures++;
	retry_in(w, pause_ms(w));
}

static void run_due(struct agent *g)
{
	for (struct watched *w = g->watched; w && g->workers_n < AGENT_WORKERS_MAX; w = w->next)
		if (w->due && !w->pid)
			run_one(w);
}

/* -- what is on disk -------------------------------------------------------------------------------------------------- */

static struct watched *find(struct agent *g, struct str env)
{
	struct watched **at = &g->watched;
	while (*at && str_cmp(str_c((*at)->env), env) < 0)
		at = &(*at)->next;
	if (*at && str_eq_c(env, (*at)->env))
		return *at;
	struct watched *w = xcalloc(1, sizeof(*w));
	w->agent = g;
	w->env = str_dup(env);
	w->left_ms = -1;
	w->next = *at;
	*at = w;
	return w;
}

static void forget(struct watched *w)
{
	struct watched **at = &w->agent->watched;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	clear_timers(w);
	loop_remove(w->child);
	if (w->report)
		munmap(w->report, sizeof(*w->report));
	free(w->env);
	free(w);
}

/* What cannot be read of the pair keeps nobody from looking after this host's own. */
static void read_drained(struct agent *g, struct arena *a, struct str ret[PAIR_MEMBERS + 1])
{
	struct err ignored = ERR_INIT;
	if (pair_drained(g->o->root_fd, a, ret, &ignored) < 0)
		for (uint32_t n = 0; n <= PAIR_MEMBERS; n++)
			ret[n] = STR_NONE;
}

static int read_operation(struct watched *w, struct env_state *st, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_operation op;
	struct str drained[PAIR_MEMBERS + 1];
	read_drained(w->agent, &a, drained);
	w->drained = str_eq_c(drained[1], w->env) || str_eq_c(drained[2], w->env);
	int rc = env_operation_get(st, &a, str_c(w->env), &op, e);
	if (rc < 0)
		return -1;
	w->left_ms = -1;
	w->left_at_ms = now_ms(w->agent);
	snprintf(w->state, sizeof(w->state), "%.*s", rc ? (int)(op.state.n < 31 ? op.state.n : 31) : 0,
		 rc ? op.state.p : "");
	if (rc == 0)
		return 0;
	return upgrade_timer_left(st, NULL, str_c(w->env), &w->left_ms, e) < 0 ? -1 : 0;
}

static void look(struct watched *w, struct env_state *st, bool orphaned)
{
	struct err e = ERR_INIT;
	if (read_operation(w, st, &e) < 0) {
		agent_say(w->agent->o, "%s: %s", w->env, e.msg);
		w->failures++;
		retry_in(w, pause_ms(w));
		return;
	}
	w->by_timer = w->left_ms == 0;
	w->due |= !w->retry && (w->start || (w->state[0] && (orphaned || w->by_timer)) || (w->drained && orphaned));
	loop_remove(w->timer);
	w->timer = NULL;
	if (w->left_ms > 0)
		w->timer = loop_timer(w->agent->loop, now_ms(w->agent) + w->left_ms, on_timer, w);
	else if (!w->state[0] && !w->drained && !w->pid && !w->due && !w->retry)
		forget(w);
}

static int open_state(struct agent *g, struct env_state **ret, struct err *e)
{
	return env_state_open(g->o->root_fd, g->o->root_path, ENV_STATE_RO, ret, e);
}

void watch_look(struct agent *g, struct str env, bool orphaned)
{
	auto_ptr(env_state) st = NULL;
	struct err e = ERR_INIT;
	struct watched *w = find(g, env);
	if (open_state(g, &st, &e) < 0) {
		agent_say(g->o, "%.*s: %s", STR_ARG(env), e.msg);
		w->failures++;
		retry_in(w, pause_ms(w));
		return;
	}
	look(w, st, orphaned);
	run_due(g);
}

static int look_at_all(struct agent *g, bool start, struct err *e)
{
	auto_ptr(env_state) st = NULL;
	auto_arena a = ARENA_INIT;
	struct env_info *infos = NULL;
	struct str *with, drained[PAIR_MEMBERS + 1];
	size_t n = 0, with_n;
	if (open_state(g, &st, e) < 0 || (start && env_list(st, &a, &infos, &n, e) < 0) ||
	    env_operation_list(st, &a, &with, &with_n, e) < 0)
		return -1;
	for (size_t i = 0; i < with_n; i++)
		look(find(g, with[i]), st, true);
	read_drained(g, &a, drained);
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++)
		if (drained[i].n)
			look(find(g, drained[i]), st, true);
	for (size_t i = 0; i < n; i++) {
		if (!infos[i].started)
			continue;
		struct watched *w = find(g, infos[i].name);
		w->start = true;
		look(w, st, true);
	}
	return 0;
}

void watch_look_all(struct agent *g)
{
	struct err e = ERR_INIT;
	if (look_at_all(g, false, &e) < 0)
		agent_say(g->o, "%s", e.msg);
	run_due(g);
}

static void on_tick(void *ctx, enum loop_events events)
{
	struct agent *g = ctx;
	(void)events;
	g->tick = loop_timer(g->loop, now_ms(g) + TICK_MS, on_tick, g);
	watch_look_all(g);
	for (const struct watched *w = g->watched; w; w = w->next)
		if (w->pid && clock_wall_ms() - w->since_ms > LATE_MS)
			agent_say(g->o, "%s: process %d still has not come to its end", w->env, (int)w->pid);
}

void watch_open(struct agent *g)
{
	struct err e = ERR_INIT;
	g->tick = loop_timer(g->loop, now_ms(g) + TICK_MS, on_tick, g);
	if (look_at_all(g, true, &e) < 0)
		agent_say(g->o, "%s", e.msg);
	run_due(g);
}

void watch_close(struct agent *g)
{
	loop_remove(g->tick);
	g->tick = NULL;
	for (const struct watched *w = g->watched; w; w = w->next)
		if (w->pid)
			kill(w->pid, SIGKILL);
	while (g->watched)
		forget(g->watched);
}

void watch_put_status(const struct agent *g, struct jw *w)
{
	jw_key(w, "timers");
	jw_array(w);
	for (const struct watched *x = g->watched; x; x = x->next) {
		if (!x->state[0])
			continue;
		int64_t left = x->left_ms < 0 ? -1 : x->left_ms - (now_ms(g) - x->left_at_ms);
		jw_object(w);
		jw_kv_c(w, "env", x->env);
		jw_kv_c(w, "state", x->state);
		jw_kv_int(w, "left_ms", x->left_ms < 0 ? -1 : left < 0 ? 0 : left);
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_key(w, "workers");
	jw_array(w);
	for (const struct watched *x = g->watched; x; x = x->next) {
		if (!x->pid && !x->why[0])
			continue;
		jw_object(w);
		jw_kv_c(w, "env", x->env);
		jw_kv_int(w, "pid", x->pid);
		jw_kv_int(w, "since_ms", x->since_ms);
		jw_kv_opt(w, "why", str_c(x->why));
		jw_object_end(w);
	}
	jw_array_end(w);
}
