// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * member (private to pair): one of the two, as the coordinator sees it: this host, or the other one over the link.
 *
 *	local.c        this host: upgrade_run with its own state.db
 *	remote.c       the other one: the same calls as messages
 *	session.c      the far end of remote.c, which calls local.c there
 *	coordinate.c   a request on two members, stage by stage
 *	reconcile.c    what becomes of an operation, from what the two hold; pure
 *	role.c         who carries the traffic, on disk on both
 *
 * Calls return when the member is there, or say why not. After ERR_NETWORK nothing is known of what the member did: look at it again
 * over a new link.
 */
#include "base/yaml.h"
#include "pair/pair.h"
#include "pair/traffic.h"

struct member;
struct member_ops {
	/* Nothing need be held. */
	int (*look)(struct member *m, struct arena *a, struct str env, struct pair_member_status *ret, struct err *e);
	/* How an operation ended that this member knows or once knew: its state's name while it goes on, else "committed",
	 * "aborted", or "unknown". *ret_held: somebody works on it. */
	int (*outcome)(struct member *m, struct arena *a, struct str env, struct str id, struct str *ret,
		       bool *ret_held, struct err *e);
	int (*hold)(struct member *m, struct str env, int64_t wait_ms, struct err *e);
	void (*release)(struct member *m);
	/* The rest is of the environment that is held. */
	int (*preflight)(struct member *m, const struct upgrade_request *q, struct arena *a, struct upgrade_check **ret,
			 size_t *ret_n, struct err *e);
	/* Brings every archive that the recipe needs to the member's store; progress as UPGRADE_EVENT_NOTE. `from`: the store
	 * that has them. */
	int (*copy)(struct member *m, const struct env_spec_file *lock, struct store *from, struct err *e);
	/* One step of the machine: upgrade_run there. q->plan of an ADD goes as its recipe. Events come as they happen. */
	int (*run)(struct member *m, const struct upgrade_request *q, struct err *e);
	/* Brings to rest what that member was in the middle of by itself: upgrade_settle there. */
	int (*settle)(struct member *m, struct err *e);
	int (*traffic)(struct member *m, const struct traffic_step *s, int64_t wait_ms,
		       enum traffic_step_kind *ret_undo, struct err *e);
	/* Nobody moves the traffic for another environment until release (role.h). Held already: 0. */
	int (*hold_role)(struct member *m, int64_t wait_ms, struct err *e);
	int (*role_get)(struct member *m, struct arena *a, struct pair_role *ret, struct err *e);
	int (*role_set)(struct member *m, const struct pair_role *r, struct err *e);
	void (*free)(struct member *m);
	/* A stage of the operation, for the log that stays with the history. NULL: it is not kept. */
	int (*log)(struct member *m, struct str id, const struct env_operation_step *s, struct err *e);
};
struct member {
	const struct member_ops *ops;
	uint32_t number;
	bool local;
	upgrade_event_fn *event; /* may be NULL; member is filled in */
	void *ctx;
	const char *who,
		*command; /* whose request it is, for histories; set before hold. NULL: as the member itself says */
};
void member_free(struct member *m);
/* Puts "member 2: " before a message that does not begin with the member's name already. -1. */
int member_err(uint32_t number, struct err *e);
/* Why it does not answer, to stand behind its name: "member 2: no room" is "no room", "member 2 ('two') at …" is "'two' at …". */
struct str member_why(struct arena *a, uint32_t number, const struct err *e);
DEFINE_AUTO(struct member *, member, member_free);

int member_local(const struct pair_opts *o, uint32_t number, struct member **ret, struct err *e);
struct link;
struct member *member_remote(struct link *l, uint32_t number); /* takes the link */
