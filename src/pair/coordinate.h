// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * coordinate (private to pair): a request on two members, stage by stage, over whatever they are (member.h).
 *
 *	struct coordinator k = {.m = {NULL, one, two}, .self = 1, .env = env, …};      both held, in the order of their numbers
 *	coordinate_settle(&k, e)                what was left in the middle first
 *	coordinate_run(&k, &q, e)
 *	coordinate_release(&k)
 *
 * It keeps nothing that is not on the members' disks. A member that does not answer any more (ERR_NETWORK) is given no further order:
 * what it did last is not known, and the other one goes back alone where it may (reconcile.h). Each order is one step of the machine
 * (upgrade.h, section 7); doc/formats/pair.md has the whole sequence.
 */
#include "pair/member.h"

struct coordinator {
	struct member *m[PAIR_MEMBERS + 1]; /* by number; NULL: not reachable, with the reason in why[] */
	struct str why[PAIR_MEMBERS + 1];
	uint32_t self; /* the local one */
	struct str env;
	struct store *store;		      /* where the archives of an ADD are */
	const struct traffic_config *traffic; /* NULL: none */
	const struct clock *clock;	      /* NULL: the system's */
	upgrade_event_fn *event;	      /* may be NULL */
	void *ctx;
	int64_t health_wait_ms, traffic_wait_ms; /* 0: COORDINATE_WAIT_MS */
	int64_t role_wait_ms;			 /* for whoever moves the traffic for another environment */
	/* its own */
	struct arena arena;
	struct pair_role role;
	struct pair_member_status st[PAIR_MEMBERS + 1]; /* as they were last looked at; in st_arena */
	struct arena st_arena[PAIR_MEMBERS + 1];
	bool looked[PAIR_MEMBERS + 1], lost[PAIR_MEMBERS + 1];
	bool said_no_traffic, moves_traffic;
	bool rolls_back; /* to a version like any other: committed at once */
	bool holds_roles;
	const char *id;			/* of the operation */
	int64_t stage, part_started_ms; /* of the part under way; stage -1: it has none, and is not logged */
	const char *again; /* the command that finishes what is done on one of them; NULL: as their states say */
};
enum { COORDINATE_WAIT_MS = 60 * 1000, COORDINATE_LATER_MS = 30 * 1000 };

void coordinate_release(struct coordinator *k);
/* As pair_run. */
int coordinate_run(struct coordinator *k, const struct upgrade_request *q, struct err *e);
/* As pair_settle. */
struct coordinate_one_shot { /* what the operation here was to come to in one go */
	bool activate, commit;
};
int coordinate_settle(struct coordinator *k, struct coordinate_one_shot s, struct err *e);

/* -- what its parts share --------------------------------------------------------------------------------------------- */

/* orders.c: one order to one member, and what is known of it */
void coordinate_tell(struct coordinator *k, enum upgrade_event_kind kind, uint32_t member, int64_t number, bool done,
		     const char *text, const struct err *failure);
void coordinate_note(struct coordinator *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes the "member 2: " off that a message begins with, where it is named otherwise. */
void coordinate_unname(uint32_t n, struct err *e);
/* It broke off, as e says: it is given no further order. */
void coordinate_lose(struct coordinator *k, uint32_t n, const struct err *e);
bool coordinate_reaches(const struct coordinator *k, uint32_t n);
uint32_t coordinate_standby(const struct coordinator *k);
/* Takes over what members tell, asks them for their roles. */
int coordinate_begin(struct coordinator *k, struct err *e);
/* Fills in st[n]; what it was last where the member does not answer any more. */
int coordinate_look(struct coordinator *k, uint32_t n, struct err *e);
int coordinate_order(struct coordinator *k, uint32_t n, const struct upgrade_request *q, struct err *e);
/* In the logs of both, as far as they can be reached: what cannot be kept hinders nothing. */
void coordinate_log(struct coordinator *k, const struct env_operation_step *s);
int coordinate_step(struct coordinator *k, uint32_t n, enum upgrade_verb verb, struct err *e);
int coordinate_wait_healthy(struct coordinator *k, uint32_t n, struct err *e);
int coordinate_traffic(struct coordinator *k, enum traffic_verb verb, uint32_t n, struct err *e);
/* Before the first step of traffic: nobody else moves it until the end, and the roles are those that stand then. ERR_BUSY. */
int coordinate_hold_roles(struct coordinator *k, int64_t wait_ms, struct err *e);
/* It was, for this environment, and was not put in again. */
bool coordinate_is_drained(const struct coordinator *k, uint32_t n);
/* Who carries the traffic from now on. */
int coordinate_switch_over(struct coordinator *k, uint32_t to, const char *reason, struct err *e);
/* Counts, on both, that the standby did not come up as it was to. */
void coordinate_standby_failed(struct coordinator *k);
/* "member 1 runs 'web 1.0' (generation 3, state 'none'); member 2 does not answer: …": appended to e, which becomes ERR_UNCERTAIN. */
int coordinate_uncertain(struct coordinator *k, struct err *e);

/* back.c: both members back on what is committed; 0, or -1 where that is not so on one of them (ERR_UNCERTAIN) */
struct coordinate_back {
	bool keep_state, by_timer;
	const char *step; /* what it is called where members are told of; NULL: it is not told */
};
int coordinate_go_back(struct coordinator *k, const struct coordinate_back *b, struct err *e);

/* sanity.c: everything that is checked before anything changes, on both at once; ERR_FAILED with all findings */
int coordinate_sanity(struct coordinator *k, const struct upgrade_request *q, struct err *e);
