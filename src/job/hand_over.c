// SPDX-License-Identifier: Apache-2.0
/*
 * A job is given to a backend, once.
 *
 * Between the moment at which the backend has it and the one at which the row says under which name, whoever does this may be killed, or the disk be
 * full. So each hand-over has a key:
 *
 *  1. The job's log is locked: one process at a time, and a dead one holds nothing.
 *  2. The key is written to the row, and the folder of claims is there (job/N.claim).
 *  3. The backend gets the job under that key. Before the job's command runs, it makes the link job/N.claim/KEY to its own name of it, or runs
 *     nothing.
 *  4. That name is written to the row, as `remote`.
 *
 * A row with a key, without a remote and with a free log is one that somebody left between 2 and 4. Whoever looks at the pool next asks the backend
 * for the key; where it knows nothing, the claim is made in its place: then nothing that comes late runs, and the job is handed over anew. Where there is
 * a claim, it tells the name.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/sys.h"
#include "job/rows.h"

enum { REMOTE_MAX = 255 };
static const char nobody[] = "-"; /* what a claim of ours is a link to */

struct handing {
	struct job_queue *q;
	const struct job_pool_config *pool;
	struct arena *a;
	struct job_info j;
	struct job_command cmd;
};

/* The worker where a hint was built last. */
static int read_near(struct handing *h, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	h->j.near = STR("");
	if (!h->j.hint.n)
		return 0;
	if (sql_prepare(h->q->db, "SELECT store FROM hint WHERE pool = ?1 AND name = ?2 ORDER BY used_ms DESC LIMIT 1",
			&query, e) < 0)
		return -1;
	sql_bind_str(query, 1, h->j.pool);
	sql_bind_str(query, 2, h->j.hint);
	int rc = sql_step(query, e);
	if (rc > 0)
		h->j.near = sql_str(query, 0, h->a);
	return rc < 0 ? -1 : 0;
}

/* 1: its number is written down, or, where the job was cancelled meanwhile, it is cancelled over there; 0: nobody wants it any more. */
static int adopt(struct handing *h, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	struct err second = ERR_INIT;
	bool cancelled = true;
	if (sql_begin(h->q->db, e) < 0)
		return -1;
	int rc = sql_run(h->q->db, e, "UPDATE job SET remote = ?2 WHERE id = ?1 AND ended_ms = 0", "is",
			 (int64_t)h->j.id, h->j.remote);
	if (rc == 0)
		rc = sql_prepare(h->q->db, "SELECT cancel FROM job WHERE id = ?1 AND ended_ms = 0", &query, e);
	if (rc == 0) {
		sql_bind_int(query, 1, (int64_t)h->j.id);
		rc = sql_step(query, e);
		cancelled = rc <= 0 || sql_int(query, 0);
		sql_reset(query);
	}
	if (sql_end(h->q->db, rc, e) < 0)
		return -1;
	if (cancelled) /* nobody else would ask for it over there */
		(void)h->pool->backend->cancel(h->pool, &h->j, &second);
	queue_tell(h->q);
	return rc;
}

/* 0: it is ours: nothing under that key will run; 1: j.remote has it. */
static int claim(struct handing *h, struct err *e)
{
	char to[REMOTE_MAX + 1];
	if (sys_symlinkat(nobody, AT_FDCWD, h->cmd.claim) == 0 || errno == ENOENT) /* without the folder nobody can */
		return 0;
	if (errno != EEXIST)
		return err_sys(e, "make '%s'", h->cmd.claim);
	ssize_t n = readlinkat(AT_FDCWD, h->cmd.claim, to, sizeof(to));
	if (n < 0)
		return err_sys(e, "read '%s'", h->cmd.claim);
	h->j.remote = arena_str(h->a, str_of(to, (size_t)n));
	return !str_eq_c(h->j.remote, nobody);
}

/* What an earlier hand-over came to. 1: j.remote has it; 0: nothing, and nothing will. */
static int find(struct handing *h, struct err *e)
{
	int rc = h->pool->backend->find(h->pool, &h->j, &h->cmd, h->a, &h->j.remote, e);
	return rc ? rc : claim(h, e);
}

/* 1; 0: it was cancelled meanwhile. */
static int new_key(struct handing *h, struct err *e)
{
	char key[QUEUE_KEY_SIZE], folder[40];
	snprintf(folder, sizeof(folder), "job/%llu.claim", (unsigned long long)h->j.id);
	if (fs_mkdirs(h->q->dir_fd, folder, 0755, e) < 0)
		return -1;
	queue_make_key(key);
	if (sql_begin(h->q->db, e) < 0)
		return -1;
	int rc = sql_run(h->q->db, e,
			 "UPDATE job SET key = ?2 WHERE id = ?1 AND ended_ms = 0 AND cancel = 0 AND remote = ''", "is",
			 (int64_t)h->j.id, str_c(key));
	bool changed = rc == 0 && sql_changed(h->q->db) > 0;
	if (sql_end(h->q->db, rc, e) < 0)
		return -1;
	return changed ? queue_read_command(h->q, h->j.id, h->a, &h->cmd, e) < 0 ? -1 : 1 : 0;
}

static int end_as(struct handing *h, enum job_state state, struct str why, struct err *e)
{
	h->j.state = state;
	h->j.why = why;
	return backend_ended(h->q, &h->j, e);
}

static int submit(struct handing *h, struct err *e)
{
	struct err second = ERR_INIT;
	int rc = new_key(h, e);
	if (rc == 0)
		return 0;
	if (rc > 0)
		rc = h->pool->backend->submit(h->pool, &h->j, &h->cmd, h->a, &h->j.remote, e);
	if (rc == 0) {
		(void)adopt(h, &second); /* a number that cannot be written down is found by its key */
		return 0;
	}
	if (e->code == ERR_UNCERTAIN) { /* that is found out by its key */
		*e = ERR_INIT;
		return 0;
	}
	(void)end_as(h, JOB_FAILED, str_c(e->msg), &second);
	return 1;
}

/* With its log locked. 1: it could not be handed over, and that was its end. */
static int hand_over(struct job_queue *q, uint64_t id, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct handing h = {.q = q, .a = &a};
	int rc = 0;
	if (job_get(q, id, &a, &h.j, e) < 0 || queue_read_command(q, id, &a, &h.cmd, e) < 0 || read_near(&h, e) < 0)
		return -1;
	h.pool = queue_pool(q, h.j.pool);
	if (job_has_ended(h.j.state) || h.j.remote.n) /* cancelled before it was handed over; done by another process */
		return 0;
	if (h.cmd.key[0])
		rc = find(&h, e);
	if (rc)
		return rc < 0 || adopt(&h, e) < 0 ? -1 : 0;
	return h.j.cancelling ? end_as(&h, JOB_CANCELLED, h.j.why, e) : submit(&h, e);
}

int backend_hand_over(struct job_queue *q, uint64_t id, int log_fd, struct err *e)
{
	auto_fd log = log_fd >= 0 ? log_fd : queue_log_open(q, id, e);
	if (log < 0)
		return -1;
	int rc = log_fd >= 0 ? 1 : queue_lock(log, e);
	return rc > 0 ? hand_over(q, id, e) : rc;
}
