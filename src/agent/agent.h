// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * agent: the daemon of a host. It runs the services of all environments of a ROOT, rings the auto-abort timers, and brings to rest
 * what a command left half done whose terminal died, or the agent itself.
 *
 *	agent_run(&opts, e)                     returns when somebody ended it: services run on, the next agent takes them over
 *
 * Commands talk to it through ROOT/agent.sock (doc/formats/agent.md):
 *
 *	struct agent_client *c;
 *	if (agent_connect(root_fd, root_path, &c, e) < 0) ...   ERR_NOT_FOUND: none runs here
 *	agent_working(c, env, e)                the environment is about to be changed: where this process dies, the agent settles it
 *	struct upgrade_services s = agent_services(c);
 *	agent_client_free(c)
 *
 * One loop answers everybody. What takes long or may block (settling, starting what should run) is done by processes of the agent's
 * own, a few at a time, which are clients of it like any other; they die with it, and what they were in the middle of is on disk.
 *
 * The agent is not trusted with words: a request names an environment, a generation and a service, and the agent reads itself, from
 * the generation's own prefix, what the service is. Only root and the user that the agent runs as may ask at all.
 *
 * Clients: calls wait until the service is where it should be. Where the agent ends meanwhile they wait for the next one, at most
 * AGENT_BACK_MS, and ask it again.
 */
#include "upgrade/upgrade.h"

enum { AGENT_BACK_MS = 15000, AGENT_CONNECTIONS_MAX = 64, AGENT_WORKERS_MAX = 4 };

/* == 1. the agent ================================================================================================= */
struct agent_opts {
	int root_fd;
	const char *root_path;
	const char *version;
	const char *command;	/* for histories */
	uint64_t reserve_bytes; /* as in upgrade.h */
	bool autostart_elsewhere;
	const char *notify; /* NOTIFY_SOCKET, or NULL: who started it is told when it is ready (sd_notify(3)) */
	/* One line of what happens. Also called in worker processes. */
	void (*say)(void *ctx, const char *line);
	void *ctx;
};
/* ERR_BUSY where an agent runs already, which it names. SIGTERM and SIGINT end it; SIGHUP does nothing. */
int agent_run(const struct agent_opts *o, struct err *e);
/* The text of a unit that runs it under systemd; its end leaves the services running. */
void agent_put_unit(const char *program, const char *root_path, struct buf *b);

/* == 2. whoever talks to it ======================================================================================= */
struct agent_client;
int agent_connect(int root_fd, const char *root_path, struct agent_client **ret, struct err *e);
void agent_client_free(struct agent_client *c);
DEFINE_AUTO(struct agent_client *, agent_client, agent_client_free);
int agent_working(struct agent_client *c, struct str env, struct err *e);
/* "agent"; as long as the client is there. */
struct upgrade_services agent_services(struct agent_client *c);
/* Ends the agent; with_services: every service first. */
int agent_stop(struct agent_client *c, bool with_services, struct err *e);
/* This host has become a member of a pair, or is none any more. -1: it should listen for the other one and cannot: why; it tries again. */
int agent_pair_changed(struct agent_client *c, struct err *e);

struct agent_timer {
	struct str env, state;
	int64_t left_ms; /* -1: none runs */
};
struct agent_worker {
	struct str env, why; /* why: what it last failed of, empty while nothing did */
	pid_t pid;	     /* 0: it waits to be tried again */
	int64_t since_ms;    /* wall */
};
struct agent_pair {
	struct str address, why; /* address: it listens there; why: it should, and does not */
	uint32_t connections;
};
struct agent_status {
	struct str version;
	pid_t pid;
	int64_t since_ms; /* wall */
	struct service_status *services;
	size_t services_n;
	struct agent_timer *timers; /* environments with an operation */
	size_t timers_n;
	struct agent_worker *workers;
	size_t workers_n;
	struct agent_pair pair; /* both empty: this host is in none */
};
int agent_status(struct agent_client *c, struct arena *a, struct agent_status *ret, struct err *e);

/* == 3. the services of one environment =========================================================================== */
/* Starts what the current generation declares and does not run, in its order; the environment is held. What fails does not keep
 * others from being started; the first failure is returned. told() gets each name before it is started; it may be NULL. */
typedef void agent_told_fn(void *ctx, struct str service);
int agent_start_env(struct env_state *st, const struct upgrade_services *s, const char *root_path, struct str env,
		    agent_told_fn *told, void *ctx, struct err *e);
/* Stops whatever runs of it, what was started last first. */
int agent_stop_env(struct env_state *st, const struct upgrade_services *s, const char *root_path, struct str env,
		   agent_told_fn *told, void *ctx, struct err *e);

/* == 4. a host that systemd runs, and no agent ==================================================================== */
/*
 * The same calls as an agent's, carried out by units (service.h, 4) in /etc/systemd/system, or for the manager of a user in
 * ~/.config/systemd/user, enabled, so that they are there after a boot. What differs, because nobody is there between two commands:
 *
 *	hand-over	each version is a unit of its own, on the sockets that systemd holds; it returns when the old one has ended. A socket
 *			whose address changes under its name, or whose name changes, cannot be open twice: the old version ends first
 *			then, and requests to the other sockets wait for the new one. Whoever dies in the middle leaves both units: `status`
 *			tells a hand-over, and a hand-over to either ends it. A boot starts the old one until the new one serves alone.
 *	health		is asked for in a start, a hand-over and a check, not in between
 *	the timer	is a transient timer unit that runs `slipway agent settle -n ENV`; what is on disk decides. After a boot
 *			slipway-settle-HASH.service, enabled, brings to rest what was under way, and makes the timers again.
 *
 * A unit of the same name that was written for another ROOT or service is left alone: ERR_EXISTS. Units of an earlier slipway
 * (NAME.service, with all its sockets) are taken over by the next hand-over as any older version.
 */
struct systemd;
struct systemd_opts {
	int root_fd;
	const char *root_path;
	const char *program; /* slipway itself: what units run */
	bool of_user;
};
bool systemd_booted(void); /* sd_booted(3) */
int systemd_open(const struct systemd_opts *o, struct systemd **ret, struct err *e);
void systemd_free(struct systemd *s);
DEFINE_AUTO(struct systemd *, systemd, systemd_free);
struct upgrade_services systemd_services(struct systemd *s); /* "systemd"; as long as it is there */
/* Two cannot run the same services: ERR_EXISTS where units of this ROOT are there. */
int systemd_refuse_agent(struct systemd *s, struct err *e);
/* 1: an agent that has ended, or died, left services of this environment running: only an agent may take them over. */
int agent_left_services(int root_fd, struct str env, struct err *e);

/* Brings an environment to rest with nobody else there: what was left half done, a timer that ended, services that should run; and
 * puts the timer that still runs before `s` again. ERR_BUSY: a command holds it. */
int agent_settle(const struct agent_opts *o, const struct upgrade_services *s, struct str env, struct err *e);
