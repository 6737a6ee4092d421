// SPDX-License-Identifier: Apache-2.0
/* The process that takes jobs and has them run. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/fs.h"
#include "base/loop.h"
#include "job/rows.h"
#include "job/runner.h"

enum { RETRY_MS = 1000, SPACE_TO_TAKE = 4 << 20, SAY_MAX = 1000 };

struct worker;
struct place {
	struct worker *w;
	struct runner runner;
	char key[QUEUE_KEY_SIZE];
	struct queue_end end; /* of one that has ended, and could not be written down yet */
	bool ended;
	struct loop_watch *child;
};
struct worker {
	struct job_queue *q;
	const struct job_worker_opts *o;
	struct queue_worker me;
	struct loop *loop;
	VEC(struct place *) places;
	struct loop_watch *again, *regular, *beat, *deadline, *watching;
	int watch_fd;
	bool paused, draining, at_once, troubled;
	struct err failure; /* that ends the loop */
};

static void look(struct worker *w);

__attribute__((format(printf, 2, 3))) static void say(struct worker *w, const char *fmt, ...)
{
	char line[SAY_MAX];
	va_list ap;
	if (!w->o->say)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	w->o->say(w->o->ctx, line);
}

/* -- when to look ---------------------------------------------------------------------------------------------------- */

static void on_again(void *ctx, enum loop_events events)
{
	struct worker *w = ctx;
	(void)events;
	w->again = NULL;
	look(w);
}

static void look_again(struct worker *w, int64_t in_ms)
{
	loop_remove(w->again);
	w->again = loop_timer(w->loop, loop_now_ms(w->loop) + in_ms, on_again, w);
}

/* Trouble that may pass (a full disk, a database that is held) is told once, and everything is tried again. */
static void trouble(struct worker *w, const struct err *e)
{
	if (!w->troubled)
		say(w, "%s; trying again", e->msg);
	w->troubled = true;
	look_again(w, RETRY_MS);
}

static void on_regular(void *ctx, enum loop_events events)
{
	struct worker *w = ctx;
	(void)events;
	w->regular = loop_timer(w->loop, loop_now_ms(w->loop) + (w->watch_fd < 0 ? QUEUE_BLIND_MS : QUEUE_LOOK_MS),
				on_regular, w);
	look(w);
}

static void on_beat(void *ctx, enum loop_events events)
{
	struct worker *w = ctx;
	(void)events;
	queue_beat(&w->me);
	w->beat = loop_timer(w->loop, loop_now_ms(w->loop) + w->me.beat_ms, on_beat, w);
}

static void on_event(void *ctx, enum loop_events events)
{
	struct worker *w = ctx;
	(void)events;
	if (queue_watch_read(w->watch_fd) & QUEUE_SAW_CLOSE)
		look_again(w, QUEUE_SOON_MS);
	look(w);
}

/* -- jobs ------------------------------------------------------------------------------------------------------------- */

static void remove_place(struct worker *w, struct place *p)
{
	for (size_t i = 0; i < w->places.n; i++)
		if (w->places.v[i] == p) {
			w->places.v[i] = w->places.v[--w->places.n];
			break;
		}
	free(p);
}

/* Writes down what has ended. False where that is not possible now. */
static bool write_ends(struct worker *w)
{
	for (size_t i = 0; i < w->places.n;) {
		struct place *p = w->places.v[i];
		struct err e = ERR_INIT;
		if (!p->ended) {
			i++;
			continue;
		}
		if (queue_end(w->q, p->runner.id, p->key, &p->end, &e) < 0) {
			trouble(w, &e);
			return false;
		}
		say(w, "job %llu has ended", (unsigned long long)p->runner.id);
		remove_place(w, p);
	}
	return true;
}

static void on_child(void *ctx, pid_t pid, int status)
{
	struct place *p = ctx;
	(void)pid;
	(void)status;
	p->child = NULL;
	p->end = runner_result(&p->runner);
	p->ended = true;
	look(p->w);
}

/* What cannot be started here is queued again, and nothing is taken for a moment: a full disk is no loss, anything else one. */
static int cannot_start(struct worker *w, struct place *p, struct err *e)
{
	p->ended = true;
	p->end = (struct queue_end){.kind = e->sys == ENOSPC || e->sys == EDQUOT ? QUEUE_GIVEN_BACK : QUEUE_LOST};
	snprintf(p->end.why, sizeof(p->end.why), "%.*s", (int)sizeof(p->end.why) - 1, e->msg);
	(void)write_ends(w);
	return -1;
}

static int start(struct worker *w, const struct queue_taken *t, struct err *e)
{
	struct runner_opts o = {.log_max_bytes = w->o->log_max_bytes, .setenv = w->o->setenv};
	struct place *p = xcalloc(1, sizeof(*p));
	p->w = w;
	p->runner.id = t->info.id;
	memcpy(p->key, t->key, sizeof(p->key));
	vec_push(&w->places, p);
	if (runner_start(w->q, t, &o, &p->runner, e) < 0)
		return cannot_start(w, p, e);
	say(w, "job %llu: %.*s", (unsigned long long)t->info.id, STR_ARG(t->info.title));
	if (loop_child(w->loop, p->runner.pid, on_child, p, &p->child, e) == 0)
		return 0;
	runner_kill(&p->runner);
	return cannot_start(w, p, e);
}

static int take_all(struct worker *w, struct err *e)
{
	while (!w->paused && !w->draining && w->places.n < w->me.capacity) {
		auto_arena a = ARENA_INIT;
		struct queue_taken t;
		int64_t again = -1;
		if (fs_check_space(w->q->dir_fd, SPACE_TO_TAKE, e) < 0)
			return err_ctx(e, "no job is taken");
		int rc = queue_take(w->q, &w->me, &a, &t, &again, e);
		if (rc < 0 || (rc > 0 && start(w, &t, e) < 0))
			return -1;
		if (rc == 0 && again >= 0)
			look_again(w, again + 1);
		if (rc == 0)
			return 0;
	}
	return 0;
}

static int tell_cancelled(struct worker *w, struct err *e)
{
	auto_arena a = ARENA_INIT;
	uint64_t *ids;
	size_t n;
	if (queue_cancelled(w->q, &w->me, &a, &ids, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		vec_foreach(p, &w->places)
			if ((*p)->runner.id == ids[i] && !(*p)->ended && !(*p)->runner.told)
				runner_tell(&(*p)->runner, RUNNER_CANCEL);
	return 0;
}

/* -- pausing, draining ------------------------------------------------------------------------------------------------ */

static void give_back_all(struct worker *w)
{
	vec_foreach(p, &w->places)
		if (!(*p)->ended && !(*p)->runner.told)
			runner_tell(&(*p)->runner, w->me.only ? RUNNER_CANCEL : RUNNER_GIVE_BACK);
}

static void on_deadline(void *ctx, enum loop_events events)
{
	struct worker *w = ctx;
	(void)events;
	w->deadline = NULL;
	say(w, "time is over: what runs is ended and queued again");
	w->at_once = true;
	give_back_all(w);
}

static void drain(struct worker *w, int64_t in_ms)
{
	if (!w->draining)
		say(w, "draining: %zu job%s left", w->places.n, w->places.n == 1 ? "" : "s");
	if (!w->draining && in_ms > 0)
		w->deadline = loop_timer(w->loop, loop_now_ms(w->loop) + in_ms, on_deadline, w);
	w->draining = true;
}

static void on_signal(void *ctx, int signo)
{
	struct worker *w = ctx;
	(void)signo;
	if (w->draining || w->me.only) {
		w->at_once = w->draining = true;
		give_back_all(w);
	} else {
		drain(w, w->o->drain_ms);
	}
	look(w);
}

static int read_flags(struct worker *w, struct err *e)
{
	struct queue_flags f = {0};
	if (queue_flags(w->q, &w->me, &f, e) < 0)
		return -1;
	if (f.paused != w->paused)
		say(w, f.paused ? "paused" : "takes jobs");
	w->paused = f.paused;
	if (f.draining)
		drain(w, 0);
	return 0;
}

/* A submitter's own: done when its job is, whoever ran it. */
static int is_done(struct worker *w, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct job_info j;
	if (w->places.n)
		return 0;
	if (w->draining || !w->me.only)
		return w->draining;
	if (job_get(w->q, w->me.only, &a, &j, e) < 0)
		return -1;
	return job_has_ended(j.state) || (j.state == JOB_RUNNING && !str_eq(j.worker, w->me.name));
}

static void look(struct worker *w)
{
	struct err e = ERR_INIT;
	if (!write_ends(w))
		return;
	int rc = queue_settle(w->q, &e);
	if (rc > 0)
		look_again(w, QUEUE_SOON_MS);
	if (rc < 0 || read_flags(w, &e) < 0 || tell_cancelled(w, &e) < 0 || take_all(w, &e) < 0) {
		trouble(w, &e);
		return;
	}
	rc = is_done(w, &e);
	if (rc < 0) {
		trouble(w, &e);
		return;
	}
	if (w->troubled)
		say(w, "all is well again");
	w->troubled = false;
	if (rc)
		loop_stop(w->loop);
}

/* -- the process ------------------------------------------------------------------------------------------------------ */

static int set_up(struct worker *w, struct err *e)
{
	struct loop_watch *ignored;
	if (loop_new(&clock_system, &w->loop, e) < 0 || loop_signal(w->loop, SIGTERM, on_signal, w, &ignored, e) < 0 ||
	    loop_signal(w->loop, SIGINT, on_signal, w, &ignored, e) < 0 ||
	    loop_signal(w->loop, SIGHUP, on_signal, w, &ignored, e) < 0)
		return -1;
	w->watch_fd = queue_watch(w->q, 0);
	if (w->watch_fd >= 0)
		w->watching = loop_fd(w->loop, w->watch_fd, LOOP_IN, on_event, w);
	on_regular(w, 0);
	if (w->me.beat_ms > 0)
		on_beat(w, 0);
	return 0;
}

static void release(struct worker *w)
{
	loop_free(w->loop);
	cleanup_fd(&w->watch_fd);
	vec_foreach(p, &w->places)
		free(*p);
	vec_release(&w->places);
}

static int run(struct job_queue *q, const struct job_worker_opts *o, struct queue_worker me, struct err *e)
{
	struct worker w = {.q = q, .o = o, .me = me, .watch_fd = -1};
	struct err second = ERR_INIT;
	if (queue_join(q, &w.me, e) < 0)
		return -1;
	(void)queue_clean(q, &second);
	second = ERR_INIT;
	int rc = set_up(&w, e);
	if (rc == 0)
		rc = loop_run(w.loop, e);
	release(&w);
	if (queue_leave(q, &w.me, &second) < 0 && rc == 0)
		*e = second;
	return rc < 0 || second.code ? -1 : 0;
}

int job_worker_run(struct job_queue *q, const struct job_worker_opts *o, struct err *e)
{
	struct queue_worker me = {.pool = o->pool,
				  .name = o->name,
				  .host = o->host,
				  .store = o->store,
				  .capacity = o->capacity,
				  .beat_ms = o->beat_ms,
				  .lock_fd = -1};
	if (o->capacity < 1 || o->capacity > JOB_CAPACITY_MAX)
		return err_new(e, ERR_USAGE, "a worker's capacity is 1 to %d", JOB_CAPACITY_MAX);
	if (queue_backend(q, o->pool))
		return err_new(e, ERR_USAGE, "pool '%.*s' is served by %s, not by workers of this machine",
			       STR_ARG(o->pool), queue_backend(q, o->pool)->name);
	return run(q, o, me, e);
}

/* -- a submitter's own ------------------------------------------------------------------------------------------------ */

static int reopen(struct job_queue *q, struct err *e)
{
	auto_free char *path = xasprintf("%s/jobs.db", q->dir);
	return sql_open(path, 0, &q->db, e);
}

_Noreturn static void be_worker(struct job_queue *q, uint64_t id, const struct job_worker_opts *o, pid_t parent)
{
	char name[32];
	struct err e = ERR_INIT;
	here_name(name, id);
	struct queue_worker me = {.pool = o->pool,
				  .name = str_c(name),
				  .host = o->host,
				  .store = o->store,
				  .capacity = 1,
				  .only = id,
				  .lock_fd = steal_fd(&q->here_fd)};
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	setsid(); /* Ctrl-C is the follower's: it cancels the job */
	if (getppid() != parent || reopen(q, &e) < 0)
		_exit(1);
	_exit(run(q, o, me, &e) < 0);
}

int job_run_here(struct job_queue *q, uint64_t id, const struct job_worker_opts *o, struct err *e)
{
	pid_t parent = getpid();
	/* SQLite's state is not to be shared by two processes: it has none while this one becomes two */
	sql_close(q->db);
	q->db = NULL;
	pid_t pid = fork();
	if (pid == 0)
		be_worker(q, id, o, parent);
	cleanup_fd(&q->here_fd);
	if (pid < 0) {
		err_sys(e, "start a process");
		struct err second = ERR_INIT;
		(void)reopen(q, &second);
		return -1;
	}
	return reopen(q, e);
}
