// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * traffic (private to pair): the parts that move traffic between the two members of a pair, each behind a small driver: HAProxy
 * (its runtime socket), keepalived (the priority of a VRRP instance, by a track file), and commands for anything else.
 *
 *	traffic_read(&arena, yaml_get(doc, "traffic"), &cfg, e);                doc/formats/pair.md
 *	struct traffic_opts o = {.config = &cfg, .self = 1, .on_member = ask_peer, .ctx = link};
 *	traffic_plan(&arena, &cfg, TRAFFIC_DRAIN, 2, &steps, &n);               what would be done, line by line (--dry-run)
 *	traffic_run(&o, TRAFFIC_DRAIN, 2, deadline_ms, e);                      does it, in that order
 *
 * The verbs. Each returns when it is so, not when it was asked for, and within its deadline:
 *	drain	no new request comes to the member, and none is in flight there. Refused where nobody else would answer.
 *	ready	the member takes requests again (or is fit to), and whoever checks its health agrees.
 *	active	the member carries the traffic. What it leaves behind is drained.
 *
 * What `active` means. HAProxy, share both: the member's server is ready and up; so may the other's be, it answers as well. HAProxy,
 * share active: the member's server is ready and up, the other's is drained: between the two, both answer, so that nobody waits.
 * keepalived: the address is on the member's interface and on no other. Commands: what `activate` makes of it.
 *
 * A verb that fails undoes what it has done, last thing first; where that fails too, the message says what is left and how to mend it.
 * A step names the member on which it must be carried out (a track file and an address are that host's own): those of the other
 * member go through on_member, whose far end calls traffic_step_at and traffic_do with the same configuration.
 */
#include "base/clock.h"
#include "base/yaml.h"

enum { TRAFFIC_DRIVERS_MAX = 16, TRAFFIC_MEMBERS = 2, TRAFFIC_STEPS_MAX = 128 };

/* == 1. configuration ============================================================================================= */
enum traffic_driver_kind { TRAFFIC_HAPROXY, TRAFFIC_KEEPALIVED, TRAFFIC_COMMAND };
enum traffic_verb { TRAFFIC_DRAIN, TRAFFIC_READY, TRAFFIC_ACTIVE, TRAFFIC_VERBS };
struct traffic_driver {
	enum traffic_driver_kind kind;
	/* HAProxy */
	struct str socket, backend, server[TRAFFIC_MEMBERS + 1]; /* by member, from 1 */
	bool share_active;
	/* keepalived */
	struct str track_file, address, interface;
	int32_t weight_active, weight_standby;
	/* command: [TRAFFIC_VERBS] is `state`; argv NULL-terminated, NULL: nothing to do */
	const char *const *argv[TRAFFIC_VERBS + 1];
};
struct traffic_config {
	const struct traffic_driver *driver;
	uint32_t n;
};
/* The value of `traffic:`; messages begin with file:line. Absent (NULL): no drivers. */
int traffic_read(struct arena *a, const struct yaml *list, struct traffic_config *ret, struct err *e);

/* == 2. plan ====================================================================================================== */
enum traffic_step_kind {
	TRAFFIC_NOTHING,
	TRAFFIC_CHECK_OTHER, /* another member's server takes requests */
	TRAFFIC_SET_READY,
	TRAFFIC_SET_DRAIN,
	TRAFFIC_SET_MAINT, /* only to undo */
	TRAFFIC_WAIT_UP,   /* ready, and healthy for whoever checks */
	TRAFFIC_WAIT_FIT,  /* the same, though drained */
	TRAFFIC_WAIT_POOL, /* no connection kept from before it was drained: one that is closed just then loses a request */
	TRAFFIC_WAIT_IDLE, /* nothing in flight */
	TRAFFIC_WEIGHT_ACTIVE,
	TRAFFIC_WEIGHT_STANDBY,
	TRAFFIC_WAIT_ADDRESS,
	TRAFFIC_WAIT_NO_ADDRESS,
	TRAFFIC_RUN_DRAIN,
	TRAFFIC_RUN_READY,
	TRAFFIC_RUN_ACTIVE,
};
struct traffic_step {
	enum traffic_step_kind kind;
	uint32_t driver; /* index in the configuration */
	uint32_t member; /* whom it is about */
	uint32_t on;	 /* where it is carried out; 0: on either */
	struct str text; /* "haproxy 'web': set server web/web1 state drain" */
};
void traffic_plan(struct arena *a, const struct traffic_config *c, enum traffic_verb verb, uint32_t member,
		  struct traffic_step **ret, size_t *ret_n);
/* A step as it came over the link. False where the configuration has no such step. */
bool traffic_step_at(struct arena *a, const struct traffic_config *c, enum traffic_step_kind kind, uint32_t driver,
		     uint32_t member, struct traffic_step *ret);

/* == 3. doing it ================================================================================================== */
struct traffic_opts {
	const struct traffic_config *config;
	uint32_t self;		   /* 1 or 2: which member this host is; 0: none of them */
	const struct clock *clock; /* NULL: the system's */
	/* Carries a step out on another member. NULL: such a step fails. */
	int (*on_member)(void *ctx, const struct traffic_step *s, int64_t deadline_ms, struct err *e);
	/* Told before each step, undoing ones too; may be NULL. */
	void (*event)(void *ctx, const struct traffic_step *s, bool undo);
	void *ctx;
	bool idle; /* nothing is to answer there: what it should be is set, and not waited for */
};
/* deadline_ms is on the clock. ERR_FAILED and others: undone; ERR_UNCERTAIN: not undone, the message says what is left. */
int traffic_run(const struct traffic_opts *o, enum traffic_verb verb, uint32_t member, int64_t deadline_ms,
		struct err *e);
/* One step, on this host. *ret_undo: the kind that takes it back, TRAFFIC_NOTHING where there is nothing to take back. */
int traffic_do(const struct traffic_opts *o, const struct traffic_step *s, int64_t deadline_ms,
	       enum traffic_step_kind *ret_undo, struct err *e);

/* == 4. what it is like now ======================================================================================= */
enum traffic_state {
	TRAFFIC_IS_UNKNOWN,  /* cannot be seen from this host: ask the member itself */
	TRAFFIC_IS_DOWN,     /* could not answer */
	TRAFFIC_IS_DRAINED,  /* gets no requests, and would not get any */
	TRAFFIC_IS_DRAINING, /* gets no new ones */
	TRAFFIC_IS_STANDBY,  /* gets none, fit to take over */
	TRAFFIC_CARRIES,
};
const char *traffic_state_name(enum traffic_state s);
/* What is nearest to carrying of all drivers' answers, but down where one says so and none says that it carries. */
int traffic_state(const struct traffic_opts *o, uint32_t member, int64_t deadline_ms, enum traffic_state *ret,
		  struct err *e);
