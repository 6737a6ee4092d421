// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * The parts of the supervisor: supervisor.c decides (operations and their steps), process.c makes and ends processes, health.c asks them,
 * run.c writes down what runs and finds it again.
 */
#include "base/vec.h"
#include "service/internal.h"

enum role { ROLE_SERVING, ROLE_COMING, ROLE_LEAVING };

struct process {
	struct service *service;
	struct process *next;
	struct arena arena; /* its sockets' names and addresses */
	enum role role;
	pid_t pid;
	int pidfd, gate_fd; /* gate: until it has become its program */
	uint64_t start_ticks;
	uint32_t generation;
	uint32_t launch; /* a number of its own: its private sockets are NAME.LAUNCH */
	struct service_socket *sockets;
	uint32_t sockets_n; /* its descriptors from 3 on */
	int stop_signal;
	int64_t stop_timeout_ms, started_ms;
	bool ready, signalled;
	struct loop_watch *end, *gate, *kill_timer;
};

/* A generation's idea of a service, copied. */
struct version {
	struct arena arena;
	const char *prefix;
	uint32_t generation;
	struct service_decl decl;
};

struct held {
	char *address;
	int fd;
};

enum op { OP_NONE, OP_START, OP_HAND_OVER, OP_STOP };
/*
 * READY: the youngest process is to say that it is ready. PRIVATE: probes that only it can answer, while the old one serves. RELEASE: the old one
 * was told to stop and lets go of the sockets. PROBES: all probes that were not asked yet. END: nothing may run any more, then the
 * version is started. STOP: nothing may run any more.
 */
enum step { STEP_IDLE, STEP_READY, STEP_PRIVATE, STEP_RELEASE, STEP_PROBES, STEP_END, STEP_STOP };

enum probe_mask { PROBES_PRIVATE = 1 << 0, PROBES_SHARED = 1 << 1, PROBES_ALL = PROBES_PRIVATE | PROBES_SHARED };
enum purpose { HEALTH_NONE, HEALTH_OF_START, HEALTH_WATCH, HEALTH_CHECK };

struct service {
	struct supervisor *sup;
	struct service *next; /* sorted by environment and name */
	char *env, *name;
	char *dir; /* its runtime folder */
	int env_dirfd, log_fd;

	struct version *version;  /* what serves, or is to */
	struct version *coming;	  /* during a hand-over, until it serves */
	struct version *previous; /* during a hand-over, from then on: what to go back to */
	struct process *processes;
	VEC(struct held) held;
	uint32_t launches;
	bool wanted; /* to be started again when it is found dead */

	enum op op;
	enum step step;
	bool by_sockets;    /* the hand-over: both run at once */
	bool asked_private; /* ... and its private probes have passed */
	bool back;	    /* ... it failed: the previous version is started again */
	struct err failure; /* ... for this reason */
	service_done_fn *done;
	void *ctx;
	struct loop_watch *deadline, *settle, *release, *restart;
	int64_t release_wait_ms;

	enum service_state state;
	int64_t since_ms;
	uint32_t restarts, ends_in_row;
	char *why;

	enum purpose purpose;
	enum probe_mask mask;
	struct process *asked;
	const struct service_decl *asked_decl;
	uint32_t asked_generation;
	const char *asked_prefix;
	uint32_t probe_at, passes, failures;
	struct probe_run *probe;
	struct loop_watch *health_timer;
	struct err last_health; /* code ERR_NONE: none failed */
	service_done_fn *check_done;
	void *check_ctx;
};

struct call { /* an answer on its way */
	struct call *next;
	service_done_fn *done;
	void *ctx;
	struct err failure;
};

struct supervisor {
	struct supervisor_opts opts;
	struct loop *loop;
	char *run_path, *notify_path;
	int run_dirfd, lock_fd, notify_fd;
	struct loop_watch *notify, *calls_timer, *log_timer;
	struct service *services;
	struct call *calls, **last_call;
};

/* supervisor.c */
struct service *service_new(struct supervisor *sup, struct str env, struct str name, struct err *e);
struct service *service_find(struct supervisor *sup, struct str env, struct str name);
void service_forget(struct service *s); /* frees it; what runs, runs on */
void service_set_state(struct service *s, enum service_state state, const char *why);
int64_t supervisor_wall_ms(const struct supervisor *sup);
void service_answer(struct supervisor *sup, service_done_fn *done, void *ctx, const struct err *failure);
void service_process_ended(struct service *s, enum role role, bool was_ready, int64_t ran_ms, int status);
void service_process_ready(struct service *s, struct process *p);
void service_process_failed(struct service *s, struct process *p, struct err *e); /* could not become its program */
void service_healthy(struct service *s);
void service_unhealthy(struct service *s, struct err *e);
void service_found_dead(struct service *s);

/* process.c */
struct process *process_with(struct service *s, enum role role); /* the youngest; NULL: none */
struct process *process_add(struct service *s, enum role role, pid_t pid, int pidfd, uint64_t start_ticks);
int process_launch(struct service *s, const struct version *v, enum role role, struct err *e);
int process_watch(struct process *p, struct err *e);
void process_stop(struct process *p);	      /* it leaves: its signal, and SIGKILL when its time is over */
void process_await_end(struct process *p);    /* the second half of that */
void process_kill(struct process *p);	      /* it and its group, at once */
void process_forget(struct process *p);	      /* frees it; it runs on */
void process_gone(struct process *p);	      /* the same for one that has ended: its private sockets go, too */
bool process_let_go(const struct process *p); /* it holds none of the service's shared sockets any more */
char *process_socket_path(const struct process *p, struct str name); /* of a private one; the caller frees it */
int notify_open(struct supervisor *sup, struct err *e);

/* health.c */
void health_begin(struct service *s, struct process *p, const struct version *v, enum probe_mask mask,
		  enum purpose purpose);
void health_watch(struct service *s, bool at_once); /* every interval, of what serves */
void health_stop(struct service *s);
bool health_has(const struct service_decl *d, enum probe_mask mask);

/* run.c */
int run_record(struct service *s, struct err *e); /* what is in memory, on disk */
void run_forget(struct service *s);
