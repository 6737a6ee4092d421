// SPDX-License-Identifier: Apache-2.0
/* jobs.db: opening it, and who works. */
#include "job/queue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/sys.h"
#include "job/rows.h"

enum { BEAT_MAX = 64 };

/* Text N brings a database from version N to N + 1; those that were ever released are never edited. Times are milliseconds since
 * 1970 UTC, 0 where there is none. A command and an environment are words that each end with a NUL. */
static const char *const schema[] = {
	"CREATE TABLE pool (name TEXT PRIMARY KEY, virtual_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE client ("
	" pool TEXT NOT NULL, name TEXT NOT NULL, rate INTEGER NOT NULL, served_ms INTEGER NOT NULL,"
	" PRIMARY KEY (pool, name)) WITHOUT ROWID;"
	"CREATE TABLE hint ("
	" pool TEXT NOT NULL, name TEXT NOT NULL, store TEXT NOT NULL, used_ms INTEGER NOT NULL,"
	" PRIMARY KEY (pool, name, store)) WITHOUT ROWID;"
	"CREATE TABLE cost ("
	" pool TEXT NOT NULL, hint TEXT NOT NULL, cold_ms INTEGER NOT NULL, cold_n INTEGER NOT NULL,"
	" warm_ms INTEGER NOT NULL, warm_n INTEGER NOT NULL, used_ms INTEGER NOT NULL,"
	" PRIMARY KEY (pool, hint)) WITHOUT ROWID;"
	"CREATE TABLE worker ("
	" pool TEXT NOT NULL, name TEXT NOT NULL, host TEXT NOT NULL, store TEXT NOT NULL, capacity INTEGER NOT NULL,"
	" pid INTEGER NOT NULL, boot TEXT NOT NULL, run INTEGER NOT NULL, since_ms INTEGER NOT NULL,"
	" beat_ms INTEGER NOT NULL, only INTEGER NOT NULL, paused INTEGER NOT NULL, draining INTEGER NOT NULL,"
	" PRIMARY KEY (pool, name)) WITHOUT ROWID;"
	"CREATE TABLE job ("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, pool TEXT NOT NULL, client TEXT NOT NULL, hint TEXT NOT NULL,"
	" title TEXT NOT NULL, dir TEXT NOT NULL, argv BLOB NOT NULL, env BLOB NOT NULL, urgent INTEGER NOT NULL,"
	" here INTEGER NOT NULL, time_ms INTEGER NOT NULL, grace_ms INTEGER NOT NULL, state INTEGER NOT NULL,"
	" cancel INTEGER NOT NULL DEFAULT 0, warm INTEGER NOT NULL DEFAULT 0, worker TEXT NOT NULL DEFAULT '',"
	" host TEXT NOT NULL DEFAULT '', run INTEGER NOT NULL DEFAULT 0, key TEXT NOT NULL DEFAULT '',"
	" remote TEXT NOT NULL DEFAULT '', code INTEGER NOT NULL DEFAULT -1, signal INTEGER NOT NULL DEFAULT 0,"
	" losses INTEGER NOT NULL DEFAULT 0, why TEXT NOT NULL DEFAULT '', submitted_ms INTEGER NOT NULL,"
	" started_ms INTEGER NOT NULL DEFAULT 0, ended_ms INTEGER NOT NULL DEFAULT 0,"
	" estimate_ms INTEGER NOT NULL DEFAULT 0, passed_ms INTEGER NOT NULL DEFAULT 0,"
	" front_ms INTEGER NOT NULL DEFAULT 0);"
	"CREATE INDEX job_open ON job (pool, state) WHERE ended_ms = 0;",
};

int job_name_check(struct str name, const char *what, struct err *e)
{
	bool good = name.n > 0 && name.n <= JOB_NAME_MAX;
	for (size_t i = 0; good && i < name.n; i++) {
		char c = name.p[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		good = alnum || c == '_' || (i > 0 && (c == '.' || c == '-'));
	}
	return good ? 0
		    : err_new(e, ERR_USAGE, "'%.*s' is no name of a %s (letters, digits, '.', '_', '-'; at most %d)",
			      STR_ARG(name), what, JOB_NAME_MAX);
}

const struct job_pool_config *queue_pool(const struct job_queue *q, struct str name)
{
	for (size_t i = 0; i < q->n_pools; i++)
		if (str_eq(q->pools[i].name, name))
			return &q->pools[i];
	return NULL;
}

const struct job_backend *queue_backend(const struct job_queue *q, struct str pool)
{
	const struct job_pool_config *p = queue_pool(q, pool);
	return p ? p->backend : NULL;
}

int job_queue_open(const char *dir, const struct job_pool_config *pools, size_t n_pools, struct job_queue **ret,
		   struct err *e)
{
	static const char *const folders[] = {"log", "job", "worker"};
	auto_ptr(job_queue) q = xcalloc(1, sizeof(*q));
	auto_free char *path = xasprintf("%s/jobs.db", dir);
	q->dir = xstrdup(dir);
	q->clock = &clock_system;
	q->pools = pools;
	q->n_pools = n_pools;
	q->here_fd = -1;
	q->dir_fd = fs_open_dir_make(AT_FDCWD, dir, e);
	if (q->dir_fd < 0)
		return -1;
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		if (fs_mkdirs(q->dir_fd, folders[i], 0755, e) < 0)
			return err_ctx(e, "'%s'", dir);
	auto_fd event =
		sys_openat(q->dir_fd, "event", O_WRONLY | O_CREAT | O_CLOEXEC, 0644); /* for those who watch it */
	if (event < 0)
		return err_sys(e, "open '%s/event'", dir);
	/* environments of jobs are in it: not for everybody to read. SQLite's own files beside it get the same mode */
	auto_fd made = fs_exists(q->dir_fd, "jobs.db")
			       ? -1
			       : sys_openat(q->dir_fd, "jobs.db", O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	cleanup_fd(&made); /* what cannot be made is told by SQLite */
	if (sql_open(path, 0, &q->db, e) < 0 || sql_part(q->db, "job", schema, sizeof(schema) / sizeof(*schema), e) < 0)
		return -1;
	struct err later = ERR_INIT;
	(void)queue_settle(q, &later); /* whoever waits settles too; on a full disk the queue can at least be read */
	*ret = steal_ptr(&q);
	return 0;
}

void job_queue_close(struct job_queue *q)
{
	if (!q)
		return;
	sql_close(q->db);
	cleanup_fd(&q->here_fd);
	cleanup_fd(&q->dir_fd);
	free(q->dir);
	free(q);
}

/* -- workers ------------------------------------------------------------------------------------------------------- */

static void worker_path(struct buf *b, struct str pool, struct str name)
{
	buf_printf(b, "worker/%.*s@%.*s", STR_ARG(pool), STR_ARG(name));
}

static void put_boot(struct buf *b)
{
	struct err ignored = ERR_INIT;
	if (fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", b, &ignored) == 0 && b->n && b->p[b->n - 1] == '\n')
		buf_truncate(b, b->n - 1);
}

static int next_run(struct job_queue *q, const struct queue_worker *w, bool *ret_paused, int64_t *ret, struct err *e)
{
	auto_ptr(sql_query) q1 = NULL;
	if (sql_prepare(q->db, "SELECT run, paused FROM worker WHERE pool = ?1 AND name = ?2", &q1, e) < 0)
		return -1;
	sql_bind_str(q1, 1, w->pool);
	sql_bind_str(q1, 2, w->name);
	int rc = sql_step(q1, e);
	*ret = rc > 0 ? sql_int(q1, 0) + 1 : 1;
	*ret_paused = rc > 0 && sql_int(q1, 1);
	return rc < 0 ? -1 : 0;
}

static int write_worker(struct job_queue *q, struct queue_worker *w, struct err *e)
{
	auto_buf boot = BUF_INIT(100);
	bool paused = false;
	put_boot(&boot);
	if (next_run(q, w, &paused, &w->run, e) < 0)
		return -1;
	return sql_run(
		q->db, e,
		"INSERT OR REPLACE INTO worker (pool, name, host, store, capacity, pid, boot, run, since_ms, beat_ms, only,"
		" paused, draining) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0)",
		"ssssiisiiiii", w->pool, w->name, w->host, w->store, (int64_t)w->capacity, (int64_t)getpid(),
		buf_str(&boot), w->run, queue_now(q), w->beat_ms, (int64_t)w->only, (int64_t)paused);
}

int queue_lock_worker(struct job_queue *q, struct str pool, struct str name, struct err *e)
{
	auto_buf path = BUF_INIT(2 * JOB_NAME_MAX + 20);
	worker_path(&path, pool, name);
	auto_fd fd = sys_openat(q->dir_fd, path.p, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(e, "open '%s/%s'", q->dir, path.p);
	int rc = queue_lock(fd, e);
	if (rc == 0)
		return err_new(e, ERR_BUSY,
			       "a worker '%.*s' of pool '%.*s' runs already; choose another name with --name",
			       STR_ARG(name), STR_ARG(pool));
	return rc < 0 ? err_ctx(e, "'%s'", path.p) : steal_fd(&fd);
}

int queue_join(struct job_queue *q, struct queue_worker *w, struct err *e)
{
	if (job_name_check(w->pool, "pool", e) < 0 || job_name_check(w->name, "worker", e) < 0)
		return -1;
	auto_fd fd = w->lock_fd >= 0 ? steal_fd(&w->lock_fd) : queue_lock_worker(q, w->pool, w->name, e);
	if (fd < 0)
		return -1;
	if (sql_begin(q->db, e) < 0 || sql_end(q->db, write_worker(q, w, e), e) < 0)
		return err_ctx(e, "worker '%.*s'", STR_ARG(w->name));
	w->lock_fd = steal_fd(&fd);
	queue_beat(w);
	queue_tell(q);
	return 0;
}

int queue_leave(struct job_queue *q, struct queue_worker *w, struct err *e)
{
	int rc = sql_run(q->db, e,
			 w->only ? "DELETE FROM worker WHERE pool = ?1 AND name = ?2 AND run = ?3"
				 : "UPDATE worker SET pid = 0 WHERE pool = ?1 AND name = ?2 AND run = ?3",
			 "ssi", w->pool, w->name, w->run);
	if (w->only) {
		auto_buf path = BUF_INIT(2 * JOB_NAME_MAX + 20);
		worker_path(&path, w->pool, w->name);
		(void)sys_unlinkat(q->dir_fd, path.p, 0);
	}
	cleanup_fd(&w->lock_fd);
	queue_tell(q);
	return rc;
}

void queue_beat(const struct queue_worker *w)
{
	char text[BEAT_MAX];
	int n = snprintf(text, sizeof(text), "%020lld\n", (long long)clock_mono_ms());
	if (w->lock_fd >= 0 &&
	    pwrite(w->lock_fd, text, (size_t)n, 0) < 0) /* style: allow sys: a sign of life, no state */
		return;					/* seen as stuck, where that lasts */
}

int queue_flags(struct job_queue *q, const struct queue_worker *w, struct queue_flags *ret, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	if (sql_prepare(q->db, "SELECT paused, draining FROM worker WHERE pool = ?1 AND name = ?2", &query, e) < 0)
		return -1;
	sql_bind_str(query, 1, w->pool);
	sql_bind_str(query, 2, w->name);
	int rc = sql_step(query, e);
	if (rc > 0)
		*ret = (struct queue_flags){sql_int(query, 0), sql_int(query, 1)};
	return rc < 0 ? -1 : 0;
}

/* -- who is there --------------------------------------------------------------------------------------------------- */

/* A worker that lives but says nothing: its file holds when it last did. */
static bool is_stuck(struct job_queue *q, const char *path, int64_t beat_ms)
{
	struct err ignored = ERR_INIT;
	auto_buf b = BUF_INIT(BEAT_MAX);
	uint64_t at = 0;
	if (beat_ms <= 0 || fs_read(q->dir_fd, path, &b, &ignored) < 0 || !str_to_u64(str_trim(buf_str(&b)), &at))
		return false;
	return clock_mono_ms() - (int64_t)at > QUEUE_BEATS_MISSED * beat_ms;
}

enum job_worker_state worker_there(struct job_queue *q, struct str pool, struct str name, int64_t beat_ms)
{
	auto_buf path = BUF_INIT(2 * JOB_NAME_MAX + 20);
	worker_path(&path, pool, name);
	if (!queue_is_locked(q->dir_fd, path.p))
		return JOB_WORKER_GONE;
	return is_stuck(q, path.p, beat_ms) ? JOB_WORKER_STUCK : JOB_WORKER_READY;
}

static int read_workers(struct job_queue *q, sql_query *query, struct arena *a, struct job_worker **ret, size_t *ret_n,
			struct err *e)
{
	VEC(struct job_worker) v = {0};
	int rc;
	while ((rc = sql_step(query, e)) > 0) {
		struct job_worker *w = vec_add(&v);
		*w = (struct job_worker){.pool = sql_str(query, 0, a),
					 .name = sql_str(query, 1, a),
					 .host = sql_str(query, 2, a),
					 .store = sql_str(query, 3, a),
					 .capacity = (uint32_t)sql_int(query, 4),
					 .pid = sql_int(query, 5),
					 .since_ms = sql_int(query, 6),
					 .paused = sql_int(query, 7),
					 .running = (uint32_t)sql_int(query, 10)};
		w->state = worker_there(q, w->pool, w->name, sql_int(query, 9));
		if (w->state == JOB_WORKER_READY && sql_int(query, 8))
			w->state = JOB_WORKER_DRAINING;
		else if (w->state == JOB_WORKER_READY && w->paused)
			w->state = JOB_WORKER_PAUSED;
		if (w->state == JOB_WORKER_GONE)
			w->pid = 0;
	}
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	return rc;
}

int queue_workers(struct job_queue *q, struct str pool, struct arena *a, struct job_worker **ret, size_t *ret_n,
		  struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	if (sql_prepare(q->db,
			"SELECT pool, name, host, store, capacity, pid, since_ms, paused, draining, beat_ms,"
			" (SELECT count(*) FROM job WHERE job.ended_ms = 0 AND job.state = 2 AND job.pool = worker.pool"
			"  AND job.worker = worker.name AND job.run = worker.run)"
			" FROM worker WHERE only = 0 AND (?1 = '' OR pool = ?1) ORDER BY pool, name",
			&query, e) < 0)
		return -1;
	sql_bind_str(query, 1, pool);
	return read_workers(q, query, a, ret, ret_n, e);
}

int job_workers(struct job_queue *q, struct str pool, struct arena *a, struct job_worker **ret, size_t *ret_n,
		struct err *e)
{
	VEC(struct job_worker) v = {0};
	struct job_worker *some = NULL;
	size_t n = 0;
	int rc = queue_workers(q, pool, a, &some, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++)
		vec_push(&v, some[i]);
	for (size_t i = 0; rc == 0 && i < q->n_pools; i++) {
		const struct job_pool_config *p = &q->pools[i];
		if (!p->backend || (pool.n && !str_eq(p->name, pool)))
			continue;
		some = NULL;
		n = 0;
		rc = p->backend->workers(p, a, &some, &n, e);
		for (size_t k = 0; rc == 0 && k < n; k++)
			vec_push(&v, some[k]);
	}
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	return rc;
}

static int change_row(struct job_queue *q, const struct job_worker *w, enum job_worker_change what, struct err *e)
{
	static const char *const text[] = {
		[JOB_WORKER_PAUSE] = "UPDATE worker SET paused = 1 WHERE pool = ?1 AND name = ?2",
		[JOB_WORKER_RESUME] = "UPDATE worker SET paused = 0 WHERE pool = ?1 AND name = ?2",
		[JOB_WORKER_DRAIN] = "UPDATE worker SET draining = 1 WHERE pool = ?1 AND name = ?2",
		[JOB_WORKER_FORGET] = "DELETE FROM worker WHERE pool = ?1 AND name = ?2",
	};
	if (what == JOB_WORKER_FORGET && w->state != JOB_WORKER_GONE)
		return err_new(e, ERR_BUSY, "worker '%.*s' of pool '%.*s' is there; drain it first", STR_ARG(w->name),
			       STR_ARG(w->pool));
	if (what == JOB_WORKER_DRAIN && w->state == JOB_WORKER_GONE)
		return err_new(e, ERR_NOT_FOUND, "worker '%.*s' of pool '%.*s' does not run", STR_ARG(w->name),
			       STR_ARG(w->pool));
	if (sql_begin(q->db, e) < 0 || sql_end(q->db, sql_run(q->db, e, text[what], "ss", w->pool, w->name), e) < 0)
		return -1;
	if (what == JOB_WORKER_FORGET) {
		auto_buf path = BUF_INIT(2 * JOB_NAME_MAX + 20);
		worker_path(&path, w->pool, w->name);
		(void)sys_unlinkat(q->dir_fd, path.p, 0);
	}
	queue_tell(q);
	return 0;
}

int job_worker_change(struct job_queue *q, struct str pool, struct str name, enum job_worker_change what, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct job_worker *w, *found = NULL;
	size_t n, hits = 0;
	const struct job_pool_config *p = pool.n ? queue_pool(q, pool) : NULL;
	if (p && p->backend)
		return p->backend->change(p, name, what, e);
	if (queue_workers(q, pool, &a, &w, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (str_eq(w[i].name, name)) {
			found = &w[i];
			hits++;
		}
	if (hits > 1)
		return err_new(e, ERR_USAGE, "several pools have a worker '%.*s'; say which with --pool",
			       STR_ARG(name));
	if (!found)
		return err_new(e, ERR_NOT_FOUND, "no worker '%.*s'%s%.*s; 'slipway worker list' shows them",
			       STR_ARG(name), pool.n ? " in pool " : "", STR_ARG(pool));
	return change_row(q, found, what, e);
}

int job_hints_pruned(struct job_queue *q, struct str store, int64_t before_ms, struct err *e)
{
	return sql_begin(q->db, e) < 0 ? -1
				       : sql_end(q->db,
						 sql_run(q->db, e, "DELETE FROM hint WHERE store = ?1 AND used_ms < ?2",
							 "si", store, before_ms),
						 e);
}

/* -- words --------------------------------------------------------------------------------------------------------- */

const char *job_state_name(enum job_state s)
{
	static const char *const names[] = {
		[JOB_QUEUED] = "queued", [JOB_WAITING] = "waiting", [JOB_RUNNING] = "running",
		[JOB_PASSED] = "passed", [JOB_FAILED] = "failed",   [JOB_CANCELLED] = "cancelled",
		[JOB_LOST] = "lost",
	};
	return names[s];
}

const char *job_wait_name(enum job_wait w)
{
	static const char *const names[] = {
		[JOB_WAIT_NONE] = "",
		[JOB_WAIT_NO_WORKER] = "no worker",
		[JOB_WAIT_BUSY] = "all busy",
		[JOB_WAIT_PAUSED] = "paused",
	};
	return names[w];
}

const char *job_worker_state_name(enum job_worker_state s)
{
	static const char *const names[] = {
		[JOB_WORKER_GONE] = "gone",	    [JOB_WORKER_READY] = "ready", [JOB_WORKER_PAUSED] = "paused",
		[JOB_WORKER_DRAINING] = "draining", [JOB_WORKER_STUCK] = "stuck",
	};
	return names[s];
}

int job_exit_code(const struct job_info *j)
{
	if (j->state == JOB_PASSED)
		return 0;
	if (j->state == JOB_CANCELLED)
		return 130;
	if (j->state == JOB_FAILED && j->code > 0)
		return j->code;
	return j->state == JOB_FAILED && j->signal > 0 ? 128 + j->signal : 1;
}
