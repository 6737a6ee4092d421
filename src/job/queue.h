// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * queue (private to job): the rows of jobs.db and what happens to them, under one pool's rules (pool.h).
 *
 * A function that changes rows is one transaction; what is to be said about it is put into the logs after it has been committed, and those who wait
 * are woken (queue_tell). Nothing here waits.
 */
#include "base/clock.h"
#include "base/sql.h"
#include "job/job.h"
#include "job/pool.h"

enum {
	QUEUE_GRACE_MS = 10000,
	QUEUE_KEEP_DAYS = 30,
	QUEUE_KEEP_MAX = 10000,
	QUEUE_HINTS_MAX = 20000,
	QUEUE_BEATS_MISSED = 4,
	QUEUE_KEY_SIZE = 33, /* of a key as text, with its NUL */
};

struct job_queue {
	char *dir;
	int dir_fd;
	struct sql *db;
	const struct job_pool_config *pools; /* the opener's */
	size_t n_pools;
	const struct clock *clock;
	int here_fd; /* the lock of the worker that this process is for the job it submitted; -1 */
};
static inline int64_t queue_now(const struct job_queue *q)
{
	return q->clock->wall_ms(q->clock);
}
const struct job_pool_config *queue_pool(const struct job_queue *q, struct str name); /* NULL: not configured */
const struct job_backend *queue_backend(const struct job_queue *q, struct str pool);  /* NULL: embedded */

/* -- workers ------------------------------------------------------------------------------------------------------- */

struct queue_worker {
	struct str pool, name, host, store;
	uint32_t capacity;
	int64_t beat_ms; /* it writes to its file so often; 0: never */
	uint64_t only;	 /* a submitter that runs this one job; 0: any */
	int64_t run;	 /* set by queue_join: which start of that worker this is */
	int lock_fd;	 /* set by queue_join */
};
/* ERR_BUSY where one of that name is there. What an earlier one left is settled. */
int queue_join(struct job_queue *q, struct queue_worker *w, struct err *e);
int queue_leave(struct job_queue *q, struct queue_worker *w, struct err *e); /* closes lock_fd in any case */
void queue_beat(const struct queue_worker *w);
struct queue_flags {
	bool paused, draining;
};
int queue_flags(struct job_queue *q, const struct queue_worker *w, struct queue_flags *ret, struct err *e);

/* -- jobs ---------------------------------------------------------------------------------------------------------- */

struct queue_taken {
	struct job_info info;
	struct job_command cmd;
	char key[QUEUE_KEY_SIZE]; /* in the environment of all that runs for it */
};
void queue_make_key(char out[QUEUE_KEY_SIZE]); /* which nobody guesses, and nobody else has */
/* 1: `ret` is to be run by w, in state JOB_RUNNING; 0: none now, *ret_again_ms as pool_choice; w has room. */
int queue_take(struct job_queue *q, const struct queue_worker *w, struct arena *a, struct queue_taken *ret,
	       int64_t *ret_again_ms, struct err *e);
/* Ids of w's running jobs that are to be cancelled. */
int queue_cancelled(struct job_queue *q, const struct queue_worker *w, struct arena *a, uint64_t **ret, size_t *ret_n,
		    struct err *e);

enum queue_end_kind {
	QUEUE_EXIT,
	QUEUE_SIGNAL,
	QUEUE_CANCELLED,
	QUEUE_TIME,
	QUEUE_BROKEN,
	QUEUE_GIVEN_BACK,
	QUEUE_LOST
};
struct queue_end {
	enum queue_end_kind kind;
	int code;      /* exit code or signal */
	char why[160]; /* QUEUE_BROKEN */
};
/* The closing lines and the row. QUEUE_GIVEN_BACK: it is queued again, which is no loss; QUEUE_LOST is one. Nothing happens where that run of it, which
 * the key names, is over already. */
int queue_end(struct job_queue *q, uint64_t id, const char *key, const struct queue_end *end, struct err *e);
/* What dead workers left. 1: something is still ending, ask again soon. */
int queue_settle(struct job_queue *q, struct err *e);

/* job/N.end: how a run ended, written by its runner before it goes. */
int queue_end_write(int dir_fd, uint64_t id, const struct queue_end *end, struct err *e);
int queue_end_read(int dir_fd, uint64_t id, struct queue_end *ret, struct err *e); /* 1, 0: none */

/* -- pools (take.c) ------------------------------------------------------------------------------------------------ */

/* A pool as it is now, jobs in order; w (may be NULL) is among its workers: *ret_me. */
struct queue_view {
	struct pool pool;
	const struct pool_worker *me;
	uint32_t here_running; /* of submitters' own */
	uint32_t n_paused, n_active;
};
int queue_load(struct job_queue *q, struct str pool, const struct queue_worker *w, struct arena *a,
	       struct queue_view *ret, struct err *e);
int queue_client_starts(struct job_queue *q, struct str pool, struct str client, int64_t charge_ms, struct err *e);
int queue_client_corrects(struct job_queue *q, struct str pool, struct str client, int64_t by_ms, struct err *e);
int queue_measured(struct job_queue *q, struct str pool, struct str hint, bool warm, int64_t ms, struct err *e);
/* Marks the first of a pool's waiting jobs whose turn has just come; its log is to say so. 0: none. */
int queue_front(struct job_queue *q, struct str pool, uint64_t *ret_id, struct err *e);

/* -- logs and waking (log.c) --------------------------------------------------------------------------------------- */

int queue_log_open(struct job_queue *q, uint64_t id, struct err *e); /* to append to */
/* "TS: text\n", or "text\n" alone. What cannot be written is left out: a full disk stops no job. */
void queue_log_say(struct job_queue *q, uint64_t id, bool stamp, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
bool queue_log_ends_with(struct job_queue *q, uint64_t id, const char *text);
bool queue_is_locked(int dir_fd, const char *path); /* by another process: a worker's file, a running job's log */
int queue_lock(int fd, struct err *e);		    /* 1 held now, 0 somebody else's */
void queue_tell(struct job_queue *q);
/* An inotify descriptor that sees what queue_tell tells and workers that end, and a log where id is not 0; -1 where there is none: the caller
 * looks again every QUEUE_BLIND_MS. */
enum { QUEUE_BLIND_MS = 250, QUEUE_LOOK_MS = 5000 };
int queue_watch(struct job_queue *q, uint64_t id);
enum queue_watched {
	QUEUE_SAW_EVENT = 1 << 0, /* the queue changed */
	QUEUE_SAW_CLOSE =
		1 << 1, /* a worker or a runner ended, perhaps: its lock is free a moment later (QUEUE_SOON_MS) */
};
enum { QUEUE_SOON_MS = 25 };
/* Empties it. 0 where the log grew and that is all. */
enum queue_watched queue_watch_read(int fd);
