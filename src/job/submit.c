// SPDX-License-Identifier: Apache-2.0
/* Jobs from their submission to their end. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "base/fs.h"
#include "base/sys.h"
#include "job/rows.h"

enum { FOLDERS_MAX = 1000000 };

/* -- submitting ---------------------------------------------------------------------------------------------------- */

void here_name(char out[32], uint64_t id)
{
	snprintf(out, 32, "here-%llu", (unsigned long long)id);
}

int job_spec_check(const struct job_spec *s, struct err *e)
{
	if (job_name_check(s->pool, "pool", e) < 0 || job_name_check(s->client, "client", e) < 0)
		return -1;
	if (s->hint.n > JOB_HINT_MAX || (s->hint.n && memchr(s->hint.p, '\n', s->hint.n)))
		return err_new(e, ERR_USAGE, "a cache hint is one line of at most %d bytes", JOB_HINT_MAX);
	if (s->header.n > JOB_HEADER_MAX)
		return err_new(e, ERR_LIMIT, "the header is longer than %d bytes", JOB_HEADER_MAX);
	return 0;
}

static void put_title(struct buf *b, const struct job_spec *s)
{
	if (s->title.n) {
		buf_put_str(b, str_head(s->title, 200));
		return;
	}
	for (size_t i = 0; s->argv && s->argv[i] && b->n < 200; i++)
		buf_printf(b, "%s%s", i ? " " : "", s->argv[i]);
	if (b->n > 200)
		buf_truncate(b, 200);
}

static int insert_row(struct job_queue *q, const struct job_spec *s, int64_t state, uint64_t *ret_id, struct err *e)
{
	auto_buf argv = BUF_INIT(JOB_COMMAND_MAX), envp = BUF_INIT(JOB_COMMAND_MAX), title = BUF_INIT(8192);
	auto_arena a = ARENA_INIT;
	put_title(&title, s);
	if (words_pack(&argv, s->argv, "the command", e) < 0 || words_pack(&envp, s->envp, "the environment", e) < 0 ||
	    queue_client_comes(q, s->pool, s->client, &a, e) < 0)
		return -1;
	if (sql_run(q->db, e,
		    "INSERT INTO job (pool, client, hint, title, dir, argv, env, urgent, here, time_ms, grace_ms, state,"
		    " submitted_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
		    "sssssssiiiiii", s->pool, s->client, s->hint, buf_str(&title), str_c(s->dir ? s->dir : ""),
		    buf_str(&argv), buf_str(&envp), (int64_t)s->urgent, (int64_t)s->here, s->time_ms,
		    s->grace_ms > 0 ? s->grace_ms : QUEUE_GRACE_MS, state, queue_now(q)) < 0)
		return -1;
	*ret_id = (uint64_t)sql_last_id(q->db);
	return 0;
}

/* The log, locked by this process: as long as it prepares the job. */
static int make_log(struct job_queue *q, uint64_t id, struct err *e)
{
	auto_fd fd = queue_log_open(q, id, e);
	if (fd < 0)
		return -1;
	if (sys_ftruncate(fd, 0) < 0) /* of one whose row was never committed */
		return err_sys(e, "empty '%s/log/%llu'", q->dir, (unsigned long long)id);
	int rc = queue_lock(fd, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_BUSY, "log %llu is in use", (unsigned long long)id);
	return steal_fd(&fd);
}

static int write_header(struct job_queue *q, const struct job_spec *s, int log_fd, bool front, struct err *e)
{
	auto_buf b = BUF_INIT(JOB_HEADER_MAX + 1000);
	buf_put_str(&b, s->header);
	clock_put_log(&b, queue_now(q));
	buf_printf(&b, ": Waiting for resource in pool %.*s\n", STR_ARG(s->pool));
	if (front) {
		clock_put_log(&b, queue_now(q));
		buf_put_c(&b, ": Waiting for worker…\n");
	}
	return fs_write_all(log_fd, b.p, b.n, "log", e);
}

/* The job may be taken from now on. In a transaction. */
static int release_row(struct job_queue *q, const struct job_spec *s, uint64_t id, int *log_fd, struct err *e)
{
	auto_buf argv = BUF_INIT(JOB_COMMAND_MAX), envp = BUF_INIT(JOB_COMMAND_MAX);
	uint64_t front = 0;
	if (words_pack(&argv, s->argv, "the command", e) < 0 || words_pack(&envp, s->envp, "the environment", e) < 0 ||
	    sql_run(q->db, e, "UPDATE job SET state = 0, argv = ?2, env = ?3, dir = ?4 WHERE id = ?1 AND ended_ms = 0",
		    "isss", (int64_t)id, buf_str(&argv), buf_str(&envp), str_c(s->dir ? s->dir : "")) < 0)
		return -1;
	if (!queue_backend(q, s->pool) && queue_front(q, s->pool, &front, e) < 0)
		return -1;
	if (s->here) {
		char name[32];
		here_name(name, id);
		q->here_fd = queue_lock_worker(q, s->pool, str_c(name), e);
		if (q->here_fd < 0)
			return -1;
	}
	if (write_header(q, s, *log_fd, front == id, e) < 0)
		return -1;
	if (!queue_backend(q, s->pool))
		cleanup_fd(log_fd); /* who takes the job, as soon as this is committed, locks its log */
	if (front && front != id)
		queue_log_say(q, front, true, "Waiting for worker…");
	return 0;
}

static int make_row(struct job_queue *q, struct job_spec *s, uint64_t *ret_id, int *ret_log, struct err *e)
{
	if (insert_row(q, s, s->prepare ? ROW_PREPARING : JOB_QUEUED, ret_id, e) < 0)
		return -1;
	*ret_log = make_log(q, *ret_id, e);
	if (*ret_log < 0)
		return -1;
	return s->prepare ? 0 : release_row(q, s, *ret_id, ret_log, e);
}

static int prepare(struct job_queue *q, struct job_spec *s, uint64_t id, struct err *e)
{
	char path[40];
	snprintf(path, sizeof(path), "job/%llu", (unsigned long long)id);
	auto_free char *folder = xasprintf("%s/%s", q->dir, path);
	if (fs_remove_tree(q->dir_fd, path, e) < 0 || fs_mkdirs(q->dir_fd, path, 0755, e) < 0)
		return -1;
	return s->prepare(s->ctx, id, folder, s, e);
}

/* Old jobs and their logs. */
static int prune(struct job_queue *q, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(sql_query) query = NULL;
	uint64_t *ids;
	size_t n;
	if (sql_prepare(
		    q->db,
		    "SELECT id FROM job WHERE ended_ms > 0 AND (ended_ms < ?1 OR id <= (SELECT max(id) FROM job) - ?2)"
		    " ORDER BY id LIMIT 100",
		    &query, e) < 0)
		return -1;
	sql_bind_int(query, 1, queue_now(q) - (int64_t)QUEUE_KEEP_DAYS * 24 * 3600 * 1000);
	sql_bind_int(query, 2, QUEUE_KEEP_MAX);
	int rc = ids_read(query, &a, &ids, &n, e);
	sql_reset(query);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		char path[40];
		snprintf(path, sizeof(path), "log/%llu", (unsigned long long)ids[i]);
		if (sys_unlinkat(q->dir_fd, path, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s/%s'", q->dir, path);
		queue_forget_folder(q, ids[i], true);
		rc = sql_run(q->db, e, "DELETE FROM job WHERE id = ?1", "i", (int64_t)ids[i]);
	}
	return rc;
}

static int has_ended(struct job_queue *q, uint64_t id, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	if (sql_prepare(q->db, "SELECT 1 FROM job WHERE id = ?1 AND ended_ms = 0", &query, e) < 0)
		return -1;
	sql_bind_int(query, 1, (int64_t)id);
	int rc = sql_step(query, e);
	return rc < 0 ? -1 : !rc;
}

/* What those left who were killed between an end and its tidying up: job/N, job/N.end, job/.N.end.… */
static int clean_folders(struct job_queue *q, struct err *e)
{
	auto_fs_list list = {0};
	if (fs_list(q->dir_fd, "job", FOLDERS_MAX, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		struct str name = str_c(list.name[i]);
		uint64_t id;
		str_take_char(&name, '.');
		int rc = str_take_u64(&name, &id) && id <= INT64_MAX ? has_ended(q, id, e) : 0;
		if (rc < 0)
			return -1;
		if (rc > 0)
			queue_forget_folder(q, id, true);
	}
	return 0;
}

int queue_clean(struct job_queue *q, struct err *e)
{
	return clean_folders(q, e) < 0 ? -1 : prune(q, e);
}

int job_submit(struct job_queue *q, const struct job_spec *given, uint64_t *ret_id, struct err *e)
{
	struct job_spec s = *given;
	auto_fd log = -1;
	struct err ignored = ERR_INIT;
	if (job_spec_check(&s, e) < 0)
		return -1;
	(void)queue_clean(q, &ignored);
	if (sql_begin(q->db, e) < 0 || sql_end(q->db, make_row(q, &s, ret_id, &log, e), e) < 0)
		return err_ctx(e, "submit a job");
	if (s.prepare) {
		int rc = prepare(q, &s, *ret_id, e);
		if (rc == 0)
			rc = sql_begin(q->db, e) < 0 ? -1 : sql_end(q->db, release_row(q, &s, *ret_id, &log, e), e);
		if (rc < 0) { /* as if it had never been, but for its number */
			char path[40];
			snprintf(path, sizeof(path), "log/%llu", (unsigned long long)*ret_id);
			if (sql_run(q->db, &ignored, "DELETE FROM job WHERE id = ?1", "i", (int64_t)*ret_id) == 0)
				sys_unlinkat(q->dir_fd, path, 0);
			queue_forget_folder(q, *ret_id, true);
			return -1;
		}
	}
	queue_tell(q);
	return queue_backend(q, s.pool) && backend_hand_over(q, *ret_id, steal_fd(&log), e) != 0 ? -1 : 0;
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

/* What a queued job waits for. */
static int fill_wait(struct job_queue *q, const struct queue_view *v, struct job_info *j)
{
	for (size_t i = 0; i < v->pool.n_jobs; i++)
		if (v->pool.jobs[i].id == j->id)
			j->before = (uint32_t)i;
	if (j->before)
		return 0;
	const struct job_pool_config *config = queue_pool(q, j->pool);
	j->state = JOB_WAITING;
	j->wait = v->n_active || (config && config->here && config->capacity) ? JOB_WAIT_BUSY
		  : v->n_paused						      ? JOB_WAIT_PAUSED
									      : JOB_WAIT_NO_WORKER;
	return 0;
}

int job_get(struct job_queue *q, uint64_t id, struct arena *a, struct job_info *ret, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	struct queue_view v;
	if (sql_prepare(q->db, "SELECT " JOB_COLUMNS " FROM job WHERE id = ?1", &query, e) < 0)
		return -1;
	sql_bind_int(query, 1, (int64_t)id);
	int rc = sql_step(query, e);
	if (rc <= 0)
		return rc < 0 ? -1
			      : err_new(e, ERR_NOT_FOUND, "no job %llu; 'slipway jobs' lists them",
					(unsigned long long)id);
	*ret = row_read(q, query, a);
	if (ret->state != JOB_QUEUED || queue_backend(q, ret->pool) || sql_int(query, 6) == ROW_PREPARING)
		return 0;
	return queue_load(q, ret->pool, NULL, a, &v, e) < 0 ? -1 : fill_wait(q, &v, ret);
}

struct listed {
	VEC(struct job_info) v;
};

/* Running ones first, then those that wait as they will start, then what has ended, latest last... all by number where that says no more. */
static int rank(const struct job_info *j)
{
	return job_has_ended(j->state) ? 2 : j->state == JOB_RUNNING ? 0 : 1;
}

static int cmp_listed(const void *a, const void *b)
{
	const struct job_info *x = a, *y = b;
	if (rank(x) != rank(y))
		return rank(x) - rank(y);
	int pool = rank(x) == 1 ? str_cmp(x->pool, y->pool) : 0;
	if (pool)
		return pool;
	if (rank(x) == 1 && x->before != y->before)
		return x->before < y->before ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int fill_waits(struct job_queue *q, struct job_info *v, size_t n, struct arena *a, struct err *e)
{
	struct queue_view view;
	struct str of = STR_NONE;
	for (size_t i = 0; i < n; i++) {
		if (v[i].state != JOB_QUEUED || queue_backend(q, v[i].pool))
			continue;
		if (!str_eq(of, v[i].pool) && queue_load(q, v[i].pool, NULL, a, &view, e) < 0)
			return -1;
		of = v[i].pool;
		fill_wait(q, &view, &v[i]);
	}
	return 0;
}

int job_list(struct job_queue *q, const struct job_filter *f, struct arena *a, struct job_info **ret, size_t *ret_n,
	     struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	VEC(struct job_info) v = {0};
	if (backend_refresh(q, e) < 0)
		return -1;
	if (sql_prepare(q->db,
			"SELECT " JOB_COLUMNS " FROM job WHERE (?1 = '' OR pool = ?1) AND (?2 = '' OR client = ?2)"
			" AND (?3 OR ended_ms = 0) ORDER BY id DESC LIMIT ?4",
			&query, e) < 0)
		return -1;
	sql_bind_str(query, 1, f->pool);
	sql_bind_str(query, 2, f->client);
	sql_bind_int(query, 3, f->ended);
	sql_bind_int(query, 4, f->max ? (int64_t)f->max : -1);
	int rc;
	while ((rc = sql_step(query, e)) > 0)
		vec_push(&v, row_read(q, query, a));
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	if (rc < 0 || fill_waits(q, *ret, *ret_n, a, e) < 0)
		return -1;
	if (*ret_n > 1)
		qsort(*ret, *ret_n, sizeof(**ret), cmp_listed);
	return 0;
}
