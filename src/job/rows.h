// SPDX-License-Identifier: Apache-2.0
#pragma once
/* rows (private to job): what the files that work on jobs.db share. */
#include "base/vec.h"
#include "job/queue.h"

/* GONE, STUCK or READY: what its file says. */
enum job_worker_state worker_there(struct job_queue *q, struct str pool, struct str name, int64_t beat_ms);
int queue_workers(struct job_queue *q, struct str pool, struct arena *a, struct job_worker **ret, size_t *ret_n,
		  struct err *e);

/* The columns that row_read reads, in its order. */
#define JOB_COLUMNS                                                                                                    \
	"id, pool, client, hint, title, dir, state, urgent, cancel, warm, worker, host, code, signal, losses, why, "   \
	"remote, submitted_ms, started_ms, ended_ms, estimate_ms, here"
struct job_info row_read(const struct job_queue *q, sql_query *query, struct arena *a);
/* Words that each end with a NUL: 'n' of them become a NULL-terminated list in a. */
const char *const *words_read(struct str packed, struct arena *a);
/* The rest of the rows of a query whose one column is a number. */
int ids_read(sql_query *query, struct arena *a, uint64_t **ret, size_t *ret_n, struct err *e);
int words_pack(struct buf *b, const char *const *words, const char *what, struct err *e);
int queue_read_command(struct job_queue *q, uint64_t id, struct arena *a, struct job_command *ret, struct err *e);
/* In a transaction: the client's clock, before its new job's row is there. */
int queue_client_comes(struct job_queue *q, struct str pool, struct str client, struct arena *a, struct err *e);
/* The name of the worker that a submitter is for its own job. */
void here_name(char out[32], uint64_t id);
int queue_lock_worker(struct job_queue *q, struct str pool, struct str name, struct err *e); /* fd; ERR_BUSY */
/* Removes job/N.end and, where it has ended, job/N and job/N.claim: they may not be there. */
void queue_forget_folder(struct job_queue *q, uint64_t id, bool ended);
/* Removes what is older than is kept, and what killed processes left of jobs that have ended. */
int queue_clean(struct job_queue *q, struct err *e);
/* A process by its number, held before it is looked at, so that the one that is looked at is the one that is killed, whoever has the number by
 * then. A descriptor; -1: there is none; KILL_BY_NUMBER: the kernel (before Linux 5.3) or a filter of system calls has no such. */
enum { KILL_BY_NUMBER = -2 };
int kill_hold(pid_t pid);
void kill_held(int held, pid_t pid);
/* Ends what carries a job's key in its environment and is still there. */
void kill_by_key(const char *key);
/* Asks a backend about the jobs of its pools that have not ended; nothing where there is none. */
int backend_refresh(struct job_queue *q, struct err *e);
/* Gives a queued job to its backend (hand_over.c), if nobody else does. log_fd: its log, locked by this process, which is closed; -1: not yet. 1: it could
 * not be handed over: that was its end, and *e says why. */
int backend_hand_over(struct job_queue *q, uint64_t id, int log_fd, struct err *e);
/* A backend's job as it ended; nothing where it has another remote by now. */
int backend_ended(struct job_queue *q, const struct job_info *j, struct err *e);
/* Words of how a job ended, without "Job failed: ". */
void end_put_why(struct buf *b, const struct job_info *j);

enum { ROW_PREPARING = 7 }; /* in `state`, beside enum job_state: its submitter still lays out what it needs */
