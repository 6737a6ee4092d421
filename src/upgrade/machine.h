// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * machine (private to upgrade): the states of an operation and every legal way between them. Pure: one table, no I/O, no clock.
 *
 *	none ──add──▶ adding ──▶ added ──activate──▶ activating ──▶ [standby-activated ──▶] activated ──commit──▶ committing ──▶ none
 *	                │          │                    │                  │                    │
 *	                └──────────┴───── abort, failure, timer ───────────┴────────────────────┴──▶ aborting ──▶ none
 *	                                                                                                │
 *	                                                                          needs-manual-abort ◀──┘ (abort goes on from there)
 *
 * A member of a pair goes by smaller steps, which the coordinator asks for one by one: it is armed (activating), then moved; the active one
 * is told in between that the standby has been (standby-activated). To commit, the standby promises (prepared), the active decides
 * (committing), and both finish:
 *
 *	added ──arm──▶ activating ──move──▶ activated ──prepare──▶ prepared ──finish──▶ committing ──▶ none
 *	                   │                 ▲  │  ▲                  │                    ▲ │
 *	                   └─▶ standby- ─────┘  │  └────withdraw──────┘                    │ └ finish
 *	                       activated        └──────────────────decide──────────────────┘
 *
 * States that end in -ing are intents: they are on disk before what they name is begun, so that whoever finds one knows what was
 * under way. machine_settles says what a crash in that state is settled to.
 */
#include "base/err.h"
#include "base/str.h"

enum op_state {
	OP_NONE,
	OP_ADDING,
	OP_ADDED,
	OP_ACTIVATING,
	OP_STANDBY_ACTIVATED, /* of a pair: the standby runs the new version, the active the old one */
	OP_ACTIVATED,
	OP_PREPARED, /* of a pair: this member has promised to commit, the decision is not known here yet */
	OP_COMMITTING,
	OP_ABORTING,
	OP_NEEDS_ABORT,
	OP_STATES
};
enum op_event {
	/* what a person asks for */
	OP_DO_ADD,
	OP_DO_ACTIVATE,
	OP_DO_COMMIT,
	OP_DO_ABORT,
	OP_DO_ROLLBACK,
	OP_DO_REMOVE, /* install remove inactive */
	OP_DO_STOP_TIMER,
	OP_DO_CLEAR,
	/* what the coordinator of a pair asks of a member */
	OP_DO_ARM,
	OP_DO_MOVE, /* activate, of one that is armed */
	OP_DO_STANDBY_DONE,
	OP_DO_PREPARE,
	OP_DO_DECIDE,
	OP_DO_FINISH, /* commit, of one that has promised or decided */
	OP_DO_WITHDRAW,
	/* what the machine's own work comes to */
	OP_ADD_DONE,
	OP_ACTIVATE_DONE,
	OP_COMMIT_DONE,
	OP_ABORT_DONE,
	OP_ABORT_STUCK, /* a member does not come back */
	OP_FAILURE,	/* a step failed, a health check failed */
	OP_TIMER_ENDED,
	OP_EVENTS
};

/* "standby-activated": in state.db and in JSON; "Standby activated": for people. */
const char *op_state_name(enum op_state s);
const char *op_state_title(enum op_state s);
int op_state_parse(struct str name, enum op_state *ret, struct err *e);
const char *op_event_name(enum op_event v);

/* 0 and the next state; or ERR_FAILED with the refusal: what was asked, in which state, why not, and the command that goes on, for `env`.
 * An event of the machine's own that does not fit its state is a bug: panic. */
int machine_next(enum op_state s, enum op_event v, struct str env, enum op_state *ret, struct err *e);
/* Whether a command would be refused, without the words. */
bool machine_allows(enum op_state s, enum op_event v);
/* What a state that was found after a crash (nobody works on it) is settled by: OP_FAILURE or OP_TIMER_ENDED (go back), OP_DO_COMMIT (go
 * on with the commit), OP_DO_ABORT (go on with the abort); OP_EVENTS where it is at rest and nothing is to be done. */
enum op_event machine_settles(enum op_state s);
