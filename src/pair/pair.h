// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pair: two hosts that know and trust each other, and upgrade an environment in service, one after the other.
 *
 *	pair_init(root_fd, &who, &a, &invitation, e)        on member 1: key, certificate, an invitation that works once
 *	pair_join(root_fd, &who, invitation, e)             on member 2: each has the other's certificate now
 *	pair_read(root_fd, root_path, &a, &p, e)            1: this host is a member; 0: it is not
 *	pair_run(&opts, &q, e)                              an upgrade_request, on both members, from either of them
 *	pair_settle(&opts, e)                               what a crash, a timer or a cut link left is brought to rest
 *	pair_serve(&opts, fd, e)                            the other member's connection, in a process of its own
 *
 * Each member keeps its own state.db and runs the machine of states (upgrade.h) on its own environment; an operation has one id on
 * both. Whoever carries out a request (the coordinator) is a command, or a process of the agent, on either member: it holds the
 * environment on member 1, then on member 2, and gives each its orders over one link (doc/formats/pair.md). It keeps nothing that is
 * not on the members' disks: when it dies, or the link does, each member can tell from its own state and the other one's what
 * becomes of the operation; alone, its timer takes it back to the committed version. A commit is in two phases: the one that has
 * promised waits for the other's decision.
 *
 * The link is TLS 1.3 with both certificates pinned: no authority, no names. Nothing is asked of the other member that it would not
 * refuse a stranger on its own: orders name environments and generations and bring recipes, which are read as any recipe is.
 *
 * ERR_NETWORK: the other member does not answer; ERR_ROLLED_BACK, ERR_FAILED as upgrade_run; ERR_UNCERTAIN: the members hold
 * different versions, or one is not known: the message says which member holds what, and the command that mends it.
 */
#include "upgrade/upgrade.h"

enum { PAIR_MEMBERS = 2, PAIR_DEFAULT_PORT = 8479, PAIR_INVITATION_MS = 10 * 60 * 1000 };

/* == 1. trust ===================================================================================================== */
struct pair_host {
	struct str name;    /* for people: the host's name where nothing else is given */
	struct str address; /* HOST:PORT or [IPv6]:PORT that its agent listens on; the other member connects there */
	struct str fingerprint; /* SHA-256 of its certificate, hexadecimal */
};
struct pair {
	uint32_t self;				 /* 1 or 2 */
	struct pair_host host[PAIR_MEMBERS + 1]; /* by number; the other one's name is empty until it has joined */
	bool joined;
};
/* What a person carries from the first member to the second: its address, the fingerprint of its certificate, and a secret that
 * is good once, for PAIR_INVITATION_MS. */
struct pair_invitation {
	struct str text;
	int64_t until_ms; /* wall */
};
/* What a person left out of name and address: the host's own name, its address towards member 1 (or anywhere) and the default port. For
 * whoever joins, with the invitation; else STR_NONE. ERR_USAGE. */
int pair_host_complete(struct arena *a, struct str invitation, struct pair_host *h, struct err *e);
/* `host` gives name and address. Its agent must run to be joined. ERR_EXISTS where this host is a member already that somebody has joined;
 * before that, init makes another invitation in the place of the one before it. */
int pair_init(int root_fd, const struct pair_host *host, struct arena *a, struct pair_invitation *ret, struct err *e);
/* May be run again with the same invitation, and must be after ERR_UNCERTAIN: member 1 may have taken this host in. ERR_VERIFY: it did not. */
int pair_join(int root_fd, const struct pair_host *host, struct str invitation, struct err *e);
/* Where `joined` is false, there is no other one yet: on member 1 nobody has used the invitation, on member 2 joining was not brought to
 * its end. */
int pair_read(int root_fd, struct arena *a, struct pair *ret, struct err *e);
/* Forgets the other member and this one's key. What the other one knows stays. */
int pair_leave(int root_fd, struct err *e);

/* The link, tried now. 1: up; 0: not, and why. */
struct pair_link {
	bool up;
	struct str why, version; /* of the other one's slipway */
	int64_t round_trip_us;	 /* of a question */
	int64_t skew_ms;	 /* its clock before this one's */
};
int pair_probe(int root_fd, const struct pair *p, struct arena *a, struct pair_link *ret);

/* == 2. who carries the traffic ==================================================================================== */
struct pair_role {
	uint64_t epoch;	 /* rises with each switch-over; the higher one is right */
	uint32_t active; /* 1 or 2 */
	int64_t since_ms;
	struct str reason; /* of the last switch-over: "install activate"; empty: there was none */
	uint64_t switch_overs, standby_failures;
	/* By number: the environment for which a member was taken out of the traffic, and not put in again yet. On disk before the
	 * first, removed after the second; who finds it while nobody works on that environment does the second. */
	struct str drained[PAIR_MEMBERS + 1];
};
/* Their names alone, as this member knows them; for a host of no pair all are empty. */
int pair_drained(int root_fd, struct arena *a, struct str ret[PAIR_MEMBERS + 1], struct err *e);

/* == 3. requests ================================================================================================== */
struct pair_opts {
	struct upgrade_opts local; /* as for this host alone; hold NULL: pair_run takes it, in the order of the members */
	int64_t wait_ms;	   /* for whoever holds the environment, here or there */
	struct pair_seat *seat;	   /* pair_serve; may be NULL */
	int64_t idle_ms;	   /* pair_serve; 0: PAIR_IDLE_MS */
};
/* Told through local.event, with members and stages. On one member that no peer answers, abort alone is possible. */
int pair_run(const struct pair_opts *o, const struct upgrade_request *q, struct err *e);
/* Before anything else is done with an environment whose operation is a pair's, and by the agent when the link is up again. 1: something
 * was settled; 0: there was nothing to do, or the other member must come first (told as a note). */
int pair_settle(const struct pair_opts *o, struct err *e);

/* == 4. what it is like =========================================================================================== */
struct pair_member_status {
	uint32_t number;
	bool local, reachable;
	struct str why;					  /* not reachable: the reason */
	struct str agent_version, running_version, state; /* of the operation: "none", "activated" */
	struct str operation_id;
	struct str
		recipe; /* hexadecimal: the same where the running version consists of the same (env_lock_digest); empty: nothing runs */
	uint32_t current, committed;
	bool managed, autostart; /* files as laid out; agent and services start at boot */
	/* They do not: what was found, what to do. Empty where it does not say. */
	struct str not_started, autostart_cure;
	bool healthy;	      /* every service that should run does, and is healthy */
	struct str unhealthy; /* the first that is not, and why */
	bool idle;	      /* nothing of it is to run: it has no version, or services that were not started */
	uint32_t leaving;     /* processes of its services that were told to stop and have not ended */
	uint64_t free_bytes, total_bytes, free_inodes;
	struct str root; /* the path there; empty where it does not say */
	int64_t wall_ms, uptime_ms, timer_left_ms;
	struct str traffic; /* "carries", "standby", …: doc/formats/pair.md; empty: no driver says */
};
struct pair_status {
	struct pair pair;
	struct pair_role role;
	struct pair_member_status member[PAIR_MEMBERS + 1]; /* by number */
	bool hot;	 /* the standby is reachable, healthy, runs what the active runs, and is in the same state */
	struct str cold; /* not hot: why */
};
/* `env` may be empty: the hosts alone. Nothing need be held. An unreachable member is no failure. */
/* Empty where two members run the same, or one of them nothing that could be compared; else what the first runs, for people. */
struct str pair_runs_other(struct arena *a, const struct pair_member_status *m, const struct pair_member_status *than);
int pair_status(const struct pair_opts *o, struct arena *a, struct str env, struct pair_status *ret, struct err *e);

/* What an upgrade of both needs, by what the members say of themselves; pure. The names are the document's. All checks, the failing ones
 * with finding and cure, a name once for each finding; returns how many failed. Of a member that does not answer only that is told. */
#define PAIR_CHECK_SUPPORTED                                                                                           \
	"install_issu supported" /* reached, in one state, agents that understand each other, clocks */
#define PAIR_CHECK_HOT "standby is in Standby Hot state" /* both healthy, of one version, started or neither is */
#define PAIR_CHECK_MEDIA UPGRADE_CHECK_MEDIA
#define PAIR_CHECK_AUTOBOOT UPGRADE_CHECK_AUTOBOOT
enum { PAIR_SKEW_MAX_MS = 10 * 1000 };
size_t pair_checks(const struct pair_status *s, struct str env, struct arena *a, struct upgrade_check **ret,
		   size_t *ret_n);
/* Which of them a request needs. The standby is to be hot for what moves traffic to it and for a commit; one that is to be committed at once
 * needs before it begins what it does not bring about itself: that both or neither are started. */
bool pair_check_counts(const struct pair_status *s, const struct upgrade_check *c, const struct upgrade_request *q);

/* == 5. the agent's part =========================================================================================== */
/* The address to listen on; 1, or 0 where this host is no member. */
int pair_listen_address(int root_fd, struct arena *a, struct str *ret, struct err *e);
/* A socket that listens there; non-blocking. */
int pair_listen(struct str address, int *ret_fd, struct err *e);
/* One accepted connection, until it ends: handshake, then orders or a join. Takes fd. ERR_VERIFY: it was a stranger. A member that asks
 * nothing and holds nothing for PAIR_IDLE_MS is hung up on. */
int pair_serve(const struct pair_opts *o, int fd, struct err *e);

/* Whoever serves several connections (PAIR_LINKS_MAX), each in a process of its own, sees here, in memory that they share, who is the other
 * member and who has been idle for how long. Idle is who asks nothing and holds nothing: nothing is in the middle of anything there. */
enum { PAIR_LINKS_MAX = 8, PAIR_IDLE_MS = 60 * 1000 };
enum pair_seat_state {
	PAIR_SEAT_NEW, /* it is not known yet who that is */
	PAIR_SEAT_AT_WORK,
	PAIR_SEAT_IDLE,
	PAIR_SEAT_TAKEN, /* pair_seat_take */
};
struct pair_seat {
	_Atomic int state;
	_Atomic int64_t since_ms; /* idle: on CLOCK_MONOTONIC */
	_Atomic bool failed;	  /* an order was not carried out to its end: something may be left in the middle */
	int wake_fd;		  /* an eventfd, which is told when the other member is there; -1: none */
};
/* True: it was idle, and takes no order any more; its process can be killed. */
bool pair_seat_take(struct pair_seat *s);
