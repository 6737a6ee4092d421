// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * job: a queue of jobs in pools, and the workers that run them. A job is a command, a folder, an environment and a log; what it does is
 * its caller's business.
 *
 *	struct job_queue *q;
 *	job_queue_open(dir, pools, n_pools, &q, e)                 DIR = ROOT/build; makes DIR/jobs.db
 *	struct job_spec s = {.pool = STR("OCluster"), .client = STR("alice"), .argv = argv, .dir = "/home/alice/src", .hint = …};
 *	job_submit(q, &s, &id, e)                                  its log begins: s.header, "TS: Waiting for resource in pool OCluster"
 *	job_follow(q, id, &o, &info, e)                            the log from its first byte, until the job has ended
 *	job_queue_close(q);
 *
 * On disk, all below DIR (doc/formats/job.md):
 *
 *	jobs.db            jobs, workers, clients, hints, costs (SQLite, in write-ahead mode; transactions are short)
 *	log/N              what job N printed, and what was said about it; followers read it while it grows
 *	job/N/             what job N needs of its own (a copy of its context), gone when it has ended
 *	worker/POOL@NAME   held locked by the worker as long as it lives
 *	event              every change of the queue writes to it: who waits for a change watches it (inotify)
 *
 * Processes. There is no daemon: submitters, workers and followers are processes of one machine that meet in DIR. A worker asks for
 * a job when it has room (pool.h decides which), runs it in a runner of its own, and says how it ended. Whoever opens the queue, or
 * waits in it, sees which workers are gone (their lock is free, or theirs was another boot) and settles what they left: a job that a
 * worker was running is queued once more, at its old place, and its log says so; the second loss is its end (JOB_LOST).
 * No job runs twice at once: before it is queued again, what was left of it is dead.
 *
 * Backends. A pool is served by the workers above ("embedded"), or by another scheduler behind `struct job_backend` (job_backends):
 * the rows, logs, ids and all functions here are the same. Times are milliseconds since 1970 UTC, durations milliseconds.
 *
 * Rules of order: doc/decisions/0073-jobs.md. They are ocluster's (clients with a rate, fair start, urgent first, affinity of cache
 * hints), with what its users complain of mended.
 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

struct job_queue;
struct job_backend;

enum {
	JOB_NAME_MAX = 64,	      /* of a pool, worker, client: letters, digits, '.', '_', '-' */
	JOB_HINT_MAX = 1024,	      /* bytes of a cache hint */
	JOB_COMMAND_MAX = 128 * 1024, /* bytes of a command, and of an environment */
	JOB_HEADER_MAX = 1024 * 1024, /* bytes of a header */
	JOB_RATE_MAX = 1000 * 1000,   /* thousandths */
	JOB_CAPACITY_MAX = 1024,      /* of a worker */
};

/* -- pools ------------------------------------------------------------------------------------------------------- */

struct job_setting {
	struct str name, value;
};
/* As the configuration names it ('pools' in config.yml). A pool that it does not name is embedded, and has no capacity but its workers'. */
struct job_pool_config {
	struct str name;
	uint32_t capacity; /* of `here`: how many submitters may run their own job at once */
	bool here;	   /* 'auto: true': a submitter that follows runs its job itself where there is room */
	const struct job_backend *backend;  /* NULL: embedded */
	const struct job_setting *settings; /* what the backend alone understands: partition, account, … */
	size_t n_settings;
};
int job_name_check(struct str name, const char *what, struct err *e); /* ERR_USAGE */

/* -- jobs -------------------------------------------------------------------------------------------------------- */

enum job_state {
	JOB_QUEUED,  /* others are before it */
	JOB_WAITING, /* it is its turn; enum job_wait says what is missing */
	JOB_RUNNING, /* on `worker` */
	JOB_PASSED,  /* from here on: ended */
	JOB_FAILED,  /* `code`, or `signal`, or neither: `why` */
	JOB_CANCELLED,
	JOB_LOST, /* two workers went away under it */
};
enum job_wait { JOB_WAIT_NONE, JOB_WAIT_NO_WORKER, JOB_WAIT_BUSY, JOB_WAIT_PAUSED };
const char *job_state_name(enum job_state s); /* "waiting" */
const char *job_wait_name(enum job_wait w);   /* "no worker", "all busy", "paused"; "" */
static inline bool job_has_ended(enum job_state s)
{
	return s >= JOB_PASSED;
}

struct job_spec {
	struct str pool, client, hint; /* hint may be empty: the job is as well anywhere */
	struct str title;	       /* a line for lists; empty: the command */
	const char *const *argv;       /* argv[0] is looked up in the PATH of envp */
	const char *const *envp;       /* the whole environment */
	const char *dir;	       /* absolute; NULL: any, it has none of its own */
	struct str header;	       /* the log begins with it */
	bool urgent;
	int64_t time_ms;  /* it is ended when it has run so long; 0: no limit */
	int64_t grace_ms; /* between SIGTERM and SIGKILL; 0: 10 s */
	bool here;	  /* the submitter will run it itself (job_run_here) */
	/* Called when the job has its number and folder (DIR/job/N, made when it is asked for), before anybody can take it: what it
	 * needs is put there, argv and dir may still be set. NULL: nothing. */
	int (*prepare)(void *ctx, uint64_t id, const char *folder, struct job_spec *s, struct err *e);
	void *ctx;
};
struct job_info {
	uint64_t id;
	struct str pool, client, hint, title, dir;
	enum job_state state;
	enum job_wait wait;
	uint32_t before; /* jobs of the pool that come before it, while it waits */
	bool urgent, cancelling;
	bool warm;		 /* it was taken where its hint was known */
	struct str worker, host; /* that runs or ran it; "" */
	int code, signal;	 /* as far as it ended so; else -1 and 0 */
	uint32_t losses;
	struct str why;	   /* one line: what became of it, beyond code and signal */
	struct str remote; /* the backend's own name of it; "" */
	struct str log;	   /* absolute path of log/N */
	struct str near;   /* for a backend's submit: the worker where its hint was built last; "" */
	int64_t submitted_ms, started_ms, ended_ms; /* 0: not yet */
	int64_t estimate_ms;			    /* how long it was expected to run */
};
/* What a run needs beyond that: for backends. All NUL-terminated, in the arena asked for. */
struct job_command {
	const char *const *argv, *const *envp;
	const char *dir;
	const char *log; /* absolute path of log/N */
	int64_t time_ms, grace_ms;
	/* for backends: of this hand-over of it, and a link that only the first can make who wants to run it */
	const char *key, *claim;
};

int job_queue_open(const char *dir, const struct job_pool_config *pools, size_t n_pools, struct job_queue **ret,
		   struct err *e);
void job_queue_close(struct job_queue *q);
DEFINE_AUTO(struct job_queue *, job_queue, job_queue_close);

int job_spec_check(const struct job_spec *s, struct err *e); /* names, lengths: ERR_USAGE, ERR_LIMIT */
int job_submit(struct job_queue *q, const struct job_spec *s, uint64_t *ret_id, struct err *e);
int job_get(struct job_queue *q, uint64_t id, struct arena *a, struct job_info *ret, struct err *e); /* ERR_NOT_FOUND */
struct job_filter {
	struct str pool, client; /* empty: any */
	bool ended;		 /* those too */
	size_t max;		 /* the latest so many; 0: all */
};
/* In the order in which they will start, then by number. */
int job_list(struct job_queue *q, const struct job_filter *f, struct arena *a, struct job_info **ret, size_t *ret_n,
	     struct err *e);
/* 0: asked for, or already ended (`ret_was` tells which state it had). A queued job ends at once, a running one when its processes have. */
int job_cancel(struct job_queue *q, uint64_t id, struct str by, enum job_state *ret_was, struct err *e);

/* What share of a pool a client has where several want it: 1000, as everybody at first, or more, or less. */
int job_client_rate(struct job_queue *q, struct str pool, struct str client, uint32_t rate, struct err *e);

struct job_follow_opts {
	int (*write)(void *ctx, struct str bytes, struct err *e); /* -1 ends it */
	void *ctx;
	uint64_t from;						/* byte of the log to begin at */
	bool wait;						/* until the job has ended; else what is there */
	int cancel_fd;						/* readable: stop following, ERR_BUSY; -1: none */
	void (*on_wait)(void *ctx, const struct job_info *now); /* when what it waits for changes; NULL */
};
int job_follow(struct job_queue *q, uint64_t id, const struct job_follow_opts *o, struct arena *a, struct job_info *ret,
	       struct err *e);
/* The exit code that tells of it: 0, its own code, 128 + signal, 130 cancelled, 1 otherwise. */
int job_exit_code(const struct job_info *j);

/* -- workers ----------------------------------------------------------------------------------------------------- */

enum job_worker_state { JOB_WORKER_GONE, JOB_WORKER_READY, JOB_WORKER_PAUSED, JOB_WORKER_DRAINING, JOB_WORKER_STUCK };
const char *job_worker_state_name(enum job_worker_state s);
struct job_worker {
	struct str pool, name, host;
	struct str store; /* whose caches it uses: workers with the same one are equally good for a hint */
	enum job_worker_state state;
	bool paused; /* by a person; holds for the next start too */
	uint32_t capacity, running;
	int64_t pid; /* 0: gone, or the backend's */
	int64_t since_ms;
};
int job_workers(struct job_queue *q, struct str pool, struct arena *a, struct job_worker **ret, size_t *ret_n,
		struct err *e);
enum job_worker_change { JOB_WORKER_PAUSE, JOB_WORKER_RESUME, JOB_WORKER_DRAIN, JOB_WORKER_FORGET };
/* pool may be empty where one worker alone has that name. ERR_NOT_FOUND; ERR_BUSY: FORGET of one that is there. */
int job_worker_change(struct job_queue *q, struct str pool, struct str name, enum job_worker_change what,
		      struct err *e);
/* Hints last used before that moment are no longer cached in `store`: whoever removes caches says so. */
int job_hints_pruned(struct job_queue *q, struct str store, int64_t before_ms, struct err *e);

struct job_worker_opts {
	struct str pool, name, host, store;
	uint32_t capacity;
	int64_t drain_ms; /* after SIGTERM jobs may go on so long; then they are ended, and queued again */
	int64_t beat_ms; /* it shows that it lives so often; four times as long without is stuck, and it is ended; 0: never */
	int64_t log_max_bytes;	   /* of a job: what is beyond is left out, and told; 0: 64 MiB */
	const char *const *setenv; /* "NAME=value": in the environment of every job, in place of its own */
	void (*say)(void *ctx, const char *line); /* what it does, for its operator; NULL */
	void *ctx;
};
/* Takes and runs jobs until it is drained: SIGTERM, SIGINT (twice: at once), job_worker_change. ERR_BUSY: one of that name runs. */
int job_worker_run(struct job_queue *q, const struct job_worker_opts *o, struct err *e);
/* Runs a job submitted with `here` in a child of this process, when the pool has room; the caller follows it meanwhile. */
int job_run_here(struct job_queue *q, uint64_t id, const struct job_worker_opts *o, struct err *e);

/* -- backends ---------------------------------------------------------------------------------------------------- */

/*
 * A scheduler of another kind. Every function gets the pool's configuration. jobs.db holds the row (with `remote`), log/N the log; the backend
 * is asked what became of a job when somebody lists, shows or follows it, at most every poll_ms.
 */
struct job_backend {
	const char *name; /* "slurm" */
	int64_t poll_ms;  /* of a follower */
	/* Hands over a job whose row and log are there; *ret_remote (in a) is what it is called there. A failure is the job's end.
	 * ERR_UNCERTAIN: it may be there or not; `find` will tell. There it is known by cmd->key, too, and before its command runs it makes the
	 * symbolic link cmd->claim to its own name there, or sees that it has made it already; else it runs nothing.
	 * Its output goes to cmd->log, behind what is there. The lines "TS: Got resource from pool" and "Building on" are the backend's to
	 * write (clock_put_log); the closing ones ("Job succeeded") are written here. */
	int (*submit)(const struct job_pool_config *pool, const struct job_info *job, const struct job_command *cmd,
		      struct arena *a, struct str *ret_remote, struct err *e);
	/* 1: a job with cmd->key is or was there: *ret_remote; 0: none is known. Asked where a hand-over was cut short. */
	int (*find)(const struct job_pool_config *pool, const struct job_info *job, const struct job_command *cmd,
		    struct arena *a, struct str *ret_remote, struct err *e);
	/* What became of n jobs that had not ended: sets state (wait), worker, host, code, signal, why, started_ms, ended_ms of each. What went away without
	 * a result is state JOB_LOST: it is submitted once more where losses is 0. A scheduler that queues lost jobs again by itself (Slurm)
	 * sets losses, too. */
	int (*poll)(const struct job_pool_config *pool, struct job_info *job, size_t n, struct arena *a, struct err *e);
	int (*cancel)(const struct job_pool_config *pool, const struct job_info *job, struct err *e);
	int (*workers)(const struct job_pool_config *pool, struct arena *a, struct job_worker **ret, size_t *ret_n,
		       struct err *e);
	int (*change)(const struct job_pool_config *pool, struct str worker, enum job_worker_change what,
		      struct err *e);
};
extern const struct job_backend job_slurm;
/* By the word in the configuration; NULL: none. "embedded" is no row: its backend is NULL in a pool. */
const struct job_backend *job_backend_find(struct str name);
struct str job_pool_setting(const struct job_pool_config *p, const char *name); /* empty: not set */
