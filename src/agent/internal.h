// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * internal (private to agent):
 *
 *	agent.c    one agent a ROOT: lock, socket, signals, its beginning and its end
 *	serve.c    connections and what is asked over them
 *	watch.c    environments that somebody must look after: timers, processes that settle
 *	settle.c   what such a process does
 *	callers.c  connections of the other member of a pair: processes that serve them
 *	client.c   the other side of the socket
 *	order.c    the services of one environment, one after the other
 *	systemd.c  the same where systemd runs them, as units: units.c is what it writes and asks of systemctl
 */
#include "base/loop.h"
#include "base/vec.h"
#include "base/wire.h"
#include "agent/agent.h"

#define AGENT_SOCKET "agent.sock"
#define AGENT_LOCK "agent.lock"
enum { AGENT_PATH_SIZE = 64 };

struct connection;
struct request;
struct watched;
struct callers;
struct agent {
	const struct agent_opts *o;
	struct loop *loop;
	struct supervisor *supervisor;
	int socket_fd, lock_fd, run_fd;
	struct loop_watch *listening, *tick, *signals[3];
	struct connection *connections;
	size_t connections_n;
	struct request *requests; /* whose answer is not known yet, those of connections that are gone too */
	struct watched *watched;  /* sorted by name */
	size_t workers_n;
	struct callers *callers; /* of the pair */
	int64_t since_ms;
	size_t stopping_n; /* services, before the agent ends */
};

/* A child that nothing watches, ended and reaped. */
void agent_end_process(pid_t pid);
void agent_say(const struct agent_opts *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* /proc/self/fd/N/agent.sock: short enough for any ROOT. */
void agent_socket_path(int root_fd, char ret[AGENT_PATH_SIZE]);
/* The declaration of a service, read from its generation's prefix; *ret_prefix as upgrade names it. */
int agent_find_service(struct arena *a, const char *root_path, struct str env, uint32_t generation, struct str name,
		       const char **ret_prefix, const struct service_decl **ret, struct err *e);

/* -- serve.c -- */
int serve_open(struct agent *g, struct err *e);
void serve_shut(struct agent *g); /* nobody new */
void serve_close(struct agent *g);

/* -- watch.c -- */
/* Looks after every environment that has an operation, or services that should run. */
void watch_open(struct agent *g);
void watch_close(struct agent *g);
/* Something may have changed: timers are read again; `orphaned`: who worked on it is gone, it is settled. */
void watch_look(struct agent *g, struct str env, bool orphaned);
/* Whoever worked on any of them may be gone. */
void watch_look_all(struct agent *g);
void watch_put_status(const struct agent *g, struct jw *w);

/* -- callers.c -- */
int callers_open(struct agent *g, struct err *e);
void callers_close(struct agent *g);
/* The pair may have changed. -1: it should listen, and cannot (it is tried again). */
int callers_look(struct agent *g, struct err *e);
void callers_put_status(const struct agent *g, struct jw *w);

/* -- settle.c -- */
enum settle_result {
	SETTLE_DONE,
	SETTLE_BUSY,
	SETTLE_FAILED,
	SETTLE_WAITS, /* for the other member of the pair, which does not answer */
};
/* In a process of its own: brings an environment to rest, and starts its services where `start` says so. */
enum settle_result settle_env(const struct agent_opts *o, struct str env, bool by_timer, bool start, struct err *e);
