// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * reconcile (private to pair): what becomes of an operation on a member, from what the two hold. Pure: one table, no I/O, no clock.
 *
 * The invariant (tests/unit/pair_reconcile.c plays every order of steps, deaths and cuts): never has one member committed an operation
 * that the other one has aborted; and once the two reach each other and nobody works on it, an operation comes to one end on both.
 * It rests on four rules:
 *
 *	1. a member decides to commit (committing) only when the other one has promised to (prepared);
 *	2. who has promised does not go back by itself: it waits until it knows what the other one decided;
 *	3. who has decided stays `committing` until the other one has committed;
 *	4. a promise is taken back (withdraw), and what both hold is changed, only by whoever holds the environment on both.
 *
 * A member in any other state may go back alone at any time: the other one has not decided, and cannot any more.
 */
#include "base/err.h"
#include "base/str.h"
#include "upgrade/upgrade.h"

/* What a member's own operation is in (the states of upgrade/machine.h, under the same names), and as what the other one knows it. */
enum phase {
	PHASE_NONE,
	PHASE_ADDING,
	PHASE_ADDED,
	PHASE_ACTIVATING,
	PHASE_STANDBY_ACTIVATED,
	PHASE_ACTIVATED,
	PHASE_PREPARED,
	PHASE_COMMITTING,
	PHASE_ABORTING,
	PHASE_NEEDS_ABORT,
	PHASE_STATES,
	/* only of the other one: there is no such operation there any more */
	PHASE_COMMITTED = PHASE_STATES,
	PHASE_ABORTED,
	PHASE_UNKNOWN, /* there never was */
	PHASES
};
const char *phase_name(enum phase p);
int phase_parse(struct str name, enum phase *ret, struct err *e);
/* Runs, or may run, another version than the committed one. */
bool phase_has_begun(enum phase p);
/* May be left with nobody asking the other member: it has promised and decided nothing. */
bool phase_may_go_alone(enum phase p);

enum reconcile_act {
	RECONCILE_NOTHING,	/* at rest */
	RECONCILE_WAIT,		/* the other one must come first, or somebody works on it */
	RECONCILE_GO_BACK,	/* abort, on both where there is an operation */
	RECONCILE_WITHDRAW,	/* prepared → activated: nothing was decided */
	RECONCILE_COMMIT,	/* the decision stands: finish it here */
	RECONCILE_COMMIT_OTHER, /* the decision was made here: the other one first, then finish it here */
	RECONCILE_PERSON,	/* the two contradict each other: no order of steps leads there */
	RECONCILE_ACTS
};
struct reconcile_view {
	enum phase own, other; /* other: of the operation with own's id; not asked where it is not reachable */
	bool reachable;
	bool held; /* somebody else works on it, here or there */
	bool timer_rung;
	bool whole_or_not; /* a one-shot that nobody goes on with */
};
enum reconcile_act reconcile(const struct reconcile_view *v);

/* The orders that WITHDRAW, COMMIT and COMMIT_OTHER come to, each legal in the state that the one before it leads to; how many. What is
 * activated promises first, as the machine wants it. For every other act none: going back is its own sequence (back.c). */
struct reconcile_step {
	bool other; /* to the other one */
	enum upgrade_verb verb;
};
enum { RECONCILE_STEPS_MAX = 3 };
size_t reconcile_steps(enum reconcile_act act, enum phase own, enum phase other,
		       struct reconcile_step ret[RECONCILE_STEPS_MAX]);
