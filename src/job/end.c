// SPDX-License-Identifier: Apache-2.0
/* How jobs end: by themselves, cancelled, or with their worker. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "base/sys.h"
#include "job/rows.h"

/* -- one end ------------------------------------------------------------------------------------------------------- */

struct ending {
	struct job_info j; /* as it was */
	int64_t state;	   /* as in the row */
	struct str key;
	bool here;
};

static int read_ending(struct job_queue *q, uint64_t id, struct arena *a, struct ending *ret, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	if (sql_prepare(q->db, "SELECT " JOB_COLUMNS ", key FROM job WHERE id = ?1", &query, e) < 0)
		return -1;
	sql_bind_int(query, 1, (int64_t)id);
	int rc = sql_step(query, e);
	if (rc <= 0)
		return rc;
	ret->j = row_read(q, query, a);
	ret->state = sql_int(query, 6);
	ret->here = sql_int(query, 21);
	ret->key = sql_str(query, 22, a);
	return 1;
}

static void apply_end(struct job_info *j, const struct queue_end *end, struct arena *a)
{
	j->code = -1;
	switch (end->kind) {
	case QUEUE_EXIT:
		j->state = end->code == 0 ? JOB_PASSED : JOB_FAILED;
		j->code = end->code;
		break;
	case QUEUE_SIGNAL:
		j->state = JOB_FAILED;
		j->signal = end->code;
		break;
	case QUEUE_TIME:
		j->state = JOB_FAILED;
		j->why = str_c(arena_printf(a, "it ran longer than %d s", end->code));
		break;
	case QUEUE_CANCELLED:
		j->state = JOB_CANCELLED;
		break;
	case QUEUE_LOST:
	case QUEUE_BROKEN:
	case QUEUE_GIVEN_BACK:
		j->state = JOB_FAILED;
		j->why = arena_str(a, str_c(end->why));
		break;
	}
}

static void put_closing(struct buf *b, const struct job_info *j)
{
	if (j->state == JOB_PASSED) {
		buf_put_c(b, "Job succeeded");
		return;
	}
	buf_printf(b, "Job %s", job_state_name(j->state));
	if (j->state == JOB_FAILED || j->why.n) {
		buf_put_c(b, ": ");
		end_put_why(b, j);
	}
}

/* The worker's line, and the one of whoever submitted it. Not twice, where the one who wrote them could not commit. */
static int write_closing(struct job_queue *q, const struct job_info *j, struct err *e)
{
	auto_buf line = BUF_INIT(2000), lines = BUF_INIT(8000);
	put_closing(&line, j);
	auto_free char *tail = xasprintf(": %s\n", line.p);
	if (queue_log_ends_with(q, j->id, tail))
		return 0;
	if (!queue_log_ends_with(q, j->id, "\n"))
		buf_put_char(&lines, '\n');
	if (j->started_ms)
		buf_printf(&lines, "%s\n", line.p);
	clock_put_log(&lines, j->ended_ms);
	buf_put_c(&lines, tail);
	auto_fd fd = queue_log_open(q, j->id, e);
	return fd < 0 ? -1 : fs_write_all(fd, lines.p, lines.n, "the job's log", e);
}

static int write_row(struct job_queue *q, const struct job_info *j, struct err *e)
{
	return sql_run(
		q->db, e,
		"UPDATE job SET state = ?2, code = ?3, signal = ?4, why = ?5, ended_ms = ?6, losses = ?7, env = '',"
		" worker = ?8, host = ?9 WHERE id = ?1",
		"iiiisiiss", (int64_t)j->id, (int64_t)j->state, (int64_t)j->code, (int64_t)j->signal, j->why,
		j->ended_ms, (int64_t)j->losses, j->worker, j->host);
}

/* Clocks and costs, by what it took. */
static int account(struct job_queue *q, const struct job_info *was, const struct job_info *now, struct err *e)
{
	int64_t took = now->ended_ms - was->started_ms;
	if (was->state != JOB_RUNNING || !was->started_ms || queue_backend(q, was->pool))
		return 0;
	if (queue_client_corrects(q, was->pool, was->client, took - was->estimate_ms, e) < 0)
		return -1;
	return now->state == JOB_PASSED || (now->state == JOB_FAILED && now->code >= 0)
		       ? queue_measured(q, was->pool, was->hint, was->warm, took, e)
		       : 0;
}

static int requeue(struct job_queue *q, const struct job_info *j, struct err *e)
{
	if (queue_client_corrects(q, j->pool, j->client, -j->estimate_ms, e) < 0)
		return -1;
	return sql_run(
		q->db, e,
		"UPDATE job SET state = 0, worker = '', host = '', run = 0, key = '', started_ms = 0, passed_ms = 0,"
		" losses = ?2, front_ms = 0 WHERE id = ?1",
		"ii", (int64_t)j->id, (int64_t)j->losses);
}

static int finish_row(struct job_queue *q, const struct job_info *was, struct job_info *now, struct err *e)
{
	now->ended_ms = queue_now(q);
	return write_closing(q, now, e) < 0 || account(q, was, now, e) < 0 ? -1 : write_row(q, now, e);
}

static int end_in_transaction(struct job_queue *q, uint64_t id, const char *key, const struct queue_end *end,
			      struct arena *a, struct ending *ret, struct err *e)
{
	int rc = read_ending(q, id, a, ret, e);
	if (rc <= 0 || ret->j.state != JOB_RUNNING || !str_eq_c(ret->key, key))
		return rc < 0 ? -1 : 0;
	struct job_info now = ret->j;
	if (end->kind == QUEUE_LOST) /* its runner was killed: nobody ended the rest of it */
		kill_by_key(ret->key.p);
	if (end->kind == QUEUE_GIVEN_BACK && !ret->j.cancelling && !ret->here)
		return requeue(q, &now, e) < 0 ? -1 : 1;
	if (end->kind == QUEUE_LOST && !ret->j.cancelling && !ret->here && now.losses++ == 0)
		return requeue(q, &now, e) < 0 ? -1 : 1;
	struct queue_end really = *end;
	if (end->kind == QUEUE_GIVEN_BACK || (end->kind == QUEUE_LOST && ret->j.cancelling))
		really.kind = QUEUE_CANCELLED;
	apply_end(&now, &really, a);
	if (really.kind == QUEUE_LOST)
		now.state = JOB_LOST;
	return finish_row(q, &ret->j, &now, e) < 0 ? -1 : 2;
}

static void say_front(struct job_queue *q, uint64_t front)
{
	if (front)
		queue_log_say(q, front, true, "Waiting for worker…");
}

int queue_end(struct job_queue *q, uint64_t id, const char *key, const struct queue_end *end, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct ending was = {0};
	uint64_t front = 0;
	if (sql_begin(q->db, e) < 0)
		return -1;
	int rc = end_in_transaction(q, id, key, end, &a, &was, e);
	if (rc == 1 && queue_front(q, was.j.pool, &front, e) < 0)
		rc = -1;
	if (rc == 1) /* before the next run of it can write another one */
		queue_forget_folder(q, id, false);
	if (sql_end(q->db, rc, e) < 0)
		return -1;
	if (rc == 1) {
		queue_log_say(q, id, true,
			      end->kind == QUEUE_LOST
				      ? "Worker %.*s lost it; waiting for resource in pool %.*s once more"
				      : "Worker %.*s gives it back; waiting for resource in pool %.*s",
			      STR_ARG(was.j.worker), STR_ARG(was.j.pool));
		say_front(q, front);
	}
	if (rc == 2)
		queue_forget_folder(q, id, true);
	queue_tell(q);
	return 0;
}

/* -- cancelling ---------------------------------------------------------------------------------------------------- */

static int cancel_in_transaction(struct job_queue *q, uint64_t id, struct str by, struct arena *a, struct ending *ret,
				 struct err *e)
{
	int rc = read_ending(q, id, a, ret, e);
	if (rc <= 0)
		return rc < 0 ? -1
			      : err_new(e, ERR_NOT_FOUND, "no job %llu; 'slipway jobs' lists them",
					(unsigned long long)id);
	if (job_has_ended(ret->j.state))
		return 0;
	struct job_info now = ret->j;
	if (by.n)
		now.why = str_c(arena_printf(a, "by %.*s", STR_ARG(by)));
	/* what was never handed over ends here: who does that sees it */
	bool far = queue_backend(q, ret->j.pool) && (ret->j.remote.n || ret->key.n);
	if (ret->j.state == JOB_RUNNING || far)
		return sql_run(q->db, e, "UPDATE job SET cancel = 1, why = ?2 WHERE id = ?1", "is", (int64_t)id,
			       now.why) < 0
			       ? -1
			       : 1;
	now.state = JOB_CANCELLED;
	return finish_row(q, &ret->j, &now, e) < 0 ? -1 : 2;
}

int job_cancel(struct job_queue *q, uint64_t id, struct str by, enum job_state *ret_was, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct ending was = {0};
	uint64_t front = 0;
	if (sql_begin(q->db, e) < 0)
		return -1;
	int rc = cancel_in_transaction(q, id, by, &a, &was, e);
	if (rc == 2 && queue_front(q, was.j.pool, &front, e) < 0)
		rc = -1;
	if (sql_end(q->db, rc, e) < 0)
		return -1;
	*ret_was = was.j.state;
	if (rc == 2)
		queue_forget_folder(q, id, true);
	say_front(q, front);
	queue_tell(q);
	const struct job_backend *b = queue_backend(q, was.j.pool);
	if (rc != 1 || !b)
		return 0;
	if (was.j.remote.n)
		return b->cancel(queue_pool(q, was.j.pool), &was.j, e);
	/* whoever hands it over tells the backend; nobody may be left who does */
	return backend_hand_over(q, id, -1, e) < 0 ? -1 : 0;
}

int queue_cancelled(struct job_queue *q, const struct queue_worker *w, struct arena *a, uint64_t **ret, size_t *ret_n,
		    struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	if (sql_prepare(
		    q->db,
		    "SELECT id FROM job WHERE pool = ?1 AND ended_ms = 0 AND state = 2 AND cancel = 1 AND worker = ?2"
		    " AND run = ?3",
		    &query, e) < 0)
		return -1;
	sql_bind_str(query, 1, w->pool);
	sql_bind_str(query, 2, w->name);
	sql_bind_int(query, 3, w->run);
	return ids_read(query, a, ret, ret_n, e);
}

/* -- settling ------------------------------------------------------------------------------------------------------ */

struct orphan {
	uint64_t id;
	int64_t state, run, worker_run, beat_ms, pid;
	struct str pool, worker, key, boot;
	bool here;
};

static int read_open(struct job_queue *q, struct arena *a, struct orphan **ret, size_t *ret_n, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	VEC(struct orphan) v = {0};
	if (sql_prepare(
		    q->db,
		    "SELECT job.id, state, job.run, coalesce(worker.run, 0), coalesce(beat_ms, 0), coalesce(pid, 0), job.pool,"
		    " job.worker, key, coalesce(boot, ''), here FROM job LEFT JOIN worker ON worker.pool = job.pool"
		    " AND worker.name = job.worker WHERE ended_ms = 0 AND remote = ''"
		    " AND (state = 2 OR state = 7 OR (state = 0 AND here = 1)) ORDER BY job.id",
		    &query, e) < 0)
		return -1;
	int rc;
	while ((rc = sql_step(query, e)) > 0)
		vec_push(&v, ((struct orphan){
				     .id = (uint64_t)sql_int(query, 0),
				     .state = sql_int(query, 1),
				     .run = sql_int(query, 2),
				     .worker_run = sql_int(query, 3),
				     .beat_ms = sql_int(query, 4),
				     .pid = sql_int(query, 5),
				     .pool = sql_str(query, 6, a),
				     .worker = sql_str(query, 7, a),
				     .key = sql_str(query, 8, a),
				     .boot = sql_str(query, 9, a),
				     .here = sql_int(query, 10),
			     }));
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	return rc;
}

static bool is_of_this_boot(struct str boot)
{
	struct err ignored = ERR_INIT;
	auto_buf b = BUF_INIT(100);
	return fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &b, &ignored) == 0 &&
	       str_eq(str_trim(buf_str(&b)), boot);
}

/* It holds its lock and says nothing: it is ended, and what it ran is queued again by whoever sees the lock free. */
static void end_stuck(struct job_queue *q, const struct orphan *o)
{
	if (o->pid <= 1 || o->pid > INT_MAX || o->pid == getpid() || !is_of_this_boot(o->boot))
		return;
	auto_fd held = kill_hold((pid_t)o->pid);
	if (worker_there(q, o->pool, o->worker, o->beat_ms) == JOB_WORKER_STUCK)
		kill_held(held, (pid_t)o->pid);
}

static bool is_log_locked(struct job_queue *q, uint64_t id)
{
	char path[40];
	snprintf(path, sizeof(path), "log/%llu", (unsigned long long)id);
	return queue_is_locked(q->dir_fd, path);
}

/* -1, 0: all is well, 1: still ending, 2: nobody has it any more. */
static int is_orphan(struct job_queue *q, const struct orphan *o)
{
	char here[32];
	if (o->state == ROW_PREPARING)
		return is_log_locked(q, o->id) ? 0 : 2;
	here_name(here, o->id);
	if (o->state == JOB_QUEUED)
		return worker_there(q, o->pool, str_c(here), 0) == JOB_WORKER_GONE ? 2 : 0;
	if (o->run == o->worker_run) {
		enum job_worker_state s = worker_there(q, o->pool, o->worker, o->beat_ms);
		if (s == JOB_WORKER_STUCK)
			end_stuck(q, o);
		if (s != JOB_WORKER_GONE)
			return s == JOB_WORKER_STUCK;
	}
	return is_log_locked(q, o->id) ? 1 : 2;
}

/* In a transaction; what became of it. */
enum settled { SETTLED_NOT, SETTLED_AGAIN, SETTLED_ENDED };
static int settle_row(struct job_queue *q, const struct orphan *o, const struct queue_end *end, struct arena *a,
		      struct err *e)
{
	struct ending was = {0};
	int rc = read_ending(q, o->id, a, &was, e);
	if (rc <= 0 || job_has_ended(was.j.state) || was.state != o->state ||
	    (o->state == JOB_RUNNING && !str_eq(was.key, o->key)))
		return rc < 0 ? -1 : SETTLED_NOT; /* another process came first */
	struct job_info now = was.j;
	bool ended = end && end->kind != QUEUE_GIVEN_BACK;
	if (ended) {
		apply_end(&now, end, a);
	} else if (now.cancelling) {
		now.state = JOB_CANCELLED;
	} else if (o->state != JOB_RUNNING || o->here) {
		now.state = JOB_CANCELLED;
		now.why = STR("its submitter went away");
	} else if (!end && now.losses++ > 0) {
		now.state = JOB_LOST;
		now.why = str_c(arena_printf(a, "worker %.*s went away, the second one", STR_ARG(o->worker)));
	} else {
		return requeue(q, &now, e) < 0 ? -1 : SETTLED_AGAIN;
	}
	return finish_row(q, &was.j, &now, e) < 0 ? -1 : SETTLED_ENDED;
}

static int settle_one(struct job_queue *q, const struct orphan *o, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct queue_end end;
	uint64_t front = 0;
	auto_free char *key = str_dup(o->key);
	if (o->state == JOB_RUNNING)
		kill_by_key(key);
	int has_end = o->state == JOB_RUNNING ? queue_end_read(q->dir_fd, o->id, &end, e) : 0;
	if (has_end < 0 || sql_begin(q->db, e) < 0)
		return -1;
	int rc = settle_row(q, o, has_end ? &end : NULL, &a, e);
	if (rc > 0 && queue_front(q, o->pool, &front, e) < 0)
		rc = -1;
	if (rc == SETTLED_AGAIN) /* before the next run of it can write another one */
		queue_forget_folder(q, o->id, false);
	if (sql_end(q->db, rc, e) < 0)
		return -1;
	if (rc == SETTLED_NOT)
		return 0;
	if (rc == SETTLED_AGAIN)
		queue_log_say(q, o->id, true, "Worker %.*s went away; waiting for resource in pool %.*s once more",
			      STR_ARG(o->worker), STR_ARG(o->pool));
	if (rc == SETTLED_ENDED)
		queue_forget_folder(q, o->id, true);
	say_front(q, front);
	queue_tell(q);
	return 0;
}

int queue_settle(struct job_queue *q, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct orphan *v;
	size_t n;
	int later = 0;
	if (read_open(q, &a, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		int rc = is_orphan(q, &v[i]);
		later |= rc == 1;
		if (rc == 2 && settle_one(q, &v[i], e) < 0)
			return err_ctx(e, "settle job %llu", (unsigned long long)v[i].id);
	}
	return later;
}

int backend_ended(struct job_queue *q, const struct job_info *j, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct ending was = {0};
	struct job_info now = *j;
	if (sql_begin(q->db, e) < 0)
		return -1;
	int rc = read_ending(q, j->id, &a, &was, e);
	if (rc > 0 && !job_has_ended(was.j.state) && str_eq(was.j.remote, j->remote)) {
		if (now.state != JOB_PASSED && was.j.cancelling)
			now.state = JOB_CANCELLED;
		if (now.state == JOB_CANCELLED && was.j.why.n)
			now.why = was.j.why;
		int64_t at = now.ended_ms;
		rc = finish_row(q, &was.j, &now, e);
		if (rc == 0 && at)
			rc = sql_run(q->db, e, "UPDATE job SET ended_ms = ?2, started_ms = ?3 WHERE id = ?1", "iii",
				     (int64_t)j->id, at, now.started_ms);
	}
	if (sql_end(q->db, rc, e) < 0)
		return -1;
	queue_forget_folder(q, j->id, true);
	queue_tell(q);
	return 0;
}
