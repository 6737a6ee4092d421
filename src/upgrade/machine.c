// SPDX-License-Identifier: Apache-2.0
#include "upgrade/machine.h"

#include "base/buf.h"

static const char *const state_names[OP_STATES] = {
	[OP_NONE] = "none",
	[OP_ADDING] = "adding",
	[OP_ADDED] = "added",
	[OP_ACTIVATING] = "activating",
	[OP_STANDBY_ACTIVATED] = "standby-activated",
	[OP_ACTIVATED] = "activated",
	[OP_PREPARED] = "prepared",
	[OP_COMMITTING] = "committing",
	[OP_ABORTING] = "aborting",
	[OP_NEEDS_ABORT] = "needs-manual-abort",
};
static const char *const state_titles[OP_STATES] = {
	[OP_NONE] = "None",
	[OP_ADDING] = "Adding",
	[OP_ADDED] = "Added",
	[OP_ACTIVATING] = "Activating",
	[OP_STANDBY_ACTIVATED] = "Standby activated",
	[OP_ACTIVATED] = "Activated",
	[OP_PREPARED] = "Prepared to commit",
	[OP_COMMITTING] = "Committing",
	[OP_ABORTING] = "Aborting",
	[OP_NEEDS_ABORT] = "Needs manual abort",
};
static const char *const event_names[OP_EVENTS] = {
	[OP_DO_ADD] = "add",
	[OP_DO_ACTIVATE] = "activate",
	[OP_DO_COMMIT] = "commit",
	[OP_DO_ABORT] = "abort",
	[OP_DO_ROLLBACK] = "rollback",
	[OP_DO_REMOVE] = "remove inactive",
	[OP_DO_STOP_TIMER] = "auto-abort-timer stop",
	[OP_DO_CLEAR] = "clear install state",
	[OP_DO_ARM] = "arm",
	[OP_DO_MOVE] = "activate",
	[OP_DO_STANDBY_DONE] = "standby done",
	[OP_DO_PREPARE] = "prepare",
	[OP_DO_DECIDE] = "decide",
	[OP_DO_FINISH] = "commit",
	[OP_DO_WITHDRAW] = "withdraw",
	[OP_ADD_DONE] = "add done",
	[OP_ACTIVATE_DONE] = "activate done",
	[OP_COMMIT_DONE] = "commit done",
	[OP_ABORT_DONE] = "abort done",
	[OP_ABORT_STUCK] = "abort stuck",
	[OP_FAILURE] = "failure",
	[OP_TIMER_ENDED] = "timer ended",
};

/* A cell without `legal` refuses; `why` says the reason, `then` the command that goes on. Steps of a pair that are not legal have none:
 * nobody types them. */
struct cell {
	bool legal;
	enum op_state next;
	const char *why, *then;
};
#define GO(state)                                                                                                      \
	{                                                                                                              \
		.legal = true, .next = (state)                                                                         \
	}
#define NO(reason, command)                                                                                            \
	{                                                                                                              \
		.why = (reason), .then = (command)                                                                     \
	}

#define ABORT_FIRST "slipway install abort issu"
#define LOOK "slipway show install summary"
#define ACTIVATE "slipway install activate issu"
#define ACTIVATE_OR_ABORT "slipway install activate issu' or abort"
#define COMMIT_OR_ABORT "slipway install commit' or abort"

static const struct cell table[OP_STATES][OP_EVENTS] =
	{
		[OP_NONE] =
			{
				[OP_DO_ADD] = GO(OP_ADDING),
				[OP_DO_ACTIVATE] = NO("nothing has been added", "slipway install add RECIPE"),
				[OP_DO_COMMIT] = NO("nothing is uncommitted", "slipway install add RECIPE"),
				[OP_DO_ABORT] = GO(OP_NONE), /* already where abort leads */
				[OP_DO_ROLLBACK] = GO(OP_ACTIVATING),
				[OP_DO_REMOVE] = GO(OP_NONE),
				[OP_DO_STOP_TIMER] = NO("no timer is running", LOOK),
				[OP_DO_CLEAR] = GO(OP_NONE),
			},
		[OP_ADDING] =
			{
				[OP_DO_ADD] = NO("an add has not come to its end", ABORT_FIRST),
				[OP_DO_ACTIVATE] = NO("an add has not come to its end", ABORT_FIRST),
				[OP_DO_COMMIT] = NO("an add has not come to its end", ABORT_FIRST),
				[OP_DO_ABORT] = GO(OP_ABORTING),
				[OP_DO_ROLLBACK] = NO("an add has not come to its end", ABORT_FIRST),
				[OP_DO_REMOVE] = NO("an add has not come to its end", ABORT_FIRST),
				[OP_DO_STOP_TIMER] = NO("no timer is running", LOOK),
				[OP_DO_CLEAR] = GO(OP_ABORTING),
				[OP_ADD_DONE] = GO(OP_ADDED),
				[OP_FAILURE] = GO(OP_ABORTING),
			},
		[OP_ADDED] =
			{
				[OP_DO_ADD] = NO("a version has been added already", ACTIVATE_OR_ABORT),
				[OP_DO_ACTIVATE] = GO(OP_ACTIVATING),
				[OP_DO_COMMIT] = NO("what was added is not active yet", ACTIVATE),
				[OP_DO_ABORT] = GO(OP_ABORTING),
				[OP_DO_ROLLBACK] = NO("a version has been added", ABORT_FIRST),
				[OP_DO_REMOVE] = GO(OP_ABORTING), /* what was added is inactive */
				[OP_DO_STOP_TIMER] = NO("the timer starts with activate", ACTIVATE),
				[OP_DO_CLEAR] = GO(OP_ABORTING),
				[OP_DO_ARM] = GO(OP_ACTIVATING),
			},
		[OP_ACTIVATING] =
			{
				[OP_DO_ADD] = NO("an activation is under way", ABORT_FIRST),
				[OP_DO_ACTIVATE] = NO("an activation is under way", ABORT_FIRST),
				[OP_DO_COMMIT] = NO("the activation has not come to its end", ABORT_FIRST),
				[OP_DO_ABORT] = GO(OP_ABORTING),
				[OP_DO_ROLLBACK] = NO("an activation is under way", ABORT_FIRST),
				[OP_DO_REMOVE] = NO("an activation is under way", ABORT_FIRST),
				[OP_DO_STOP_TIMER] = NO("the activation has not come to its end", ABORT_FIRST),
				[OP_DO_CLEAR] = NO("the running version may not be the committed one", ABORT_FIRST),
				[OP_DO_MOVE] = GO(OP_ACTIVATING),
				[OP_DO_STANDBY_DONE] = GO(OP_STANDBY_ACTIVATED),
				[OP_ACTIVATE_DONE] = GO(OP_ACTIVATED),
				[OP_FAILURE] = GO(OP_ABORTING),
				[OP_TIMER_ENDED] = GO(OP_ABORTING),
			},
		[OP_STANDBY_ACTIVATED] =
			{
				[OP_DO_ADD] =
					NO("an activation is under way: the standby runs the new version", ABORT_FIRST),
				[OP_DO_ACTIVATE] =
					NO("an activation is under way: the standby runs the new version", ABORT_FIRST),
				[OP_DO_COMMIT] = NO("the active member runs the old version still", ABORT_FIRST),
				[OP_DO_ABORT] = GO(OP_ABORTING),
				[OP_DO_ROLLBACK] =
					NO("an activation is under way: the standby runs the new version", ABORT_FIRST),
				[OP_DO_REMOVE] = NO("an activation is under way", ABORT_FIRST),
				[OP_DO_STOP_TIMER] = NO("the activation has not come to its end", ABORT_FIRST),
				[OP_DO_CLEAR] = NO("the standby runs the new version", ABORT_FIRST),
				[OP_DO_MOVE] = GO(OP_STANDBY_ACTIVATED),
				[OP_ACTIVATE_DONE] = GO(OP_ACTIVATED),
				[OP_FAILURE] = GO(OP_ABORTING),
				[OP_TIMER_ENDED] = GO(OP_ABORTING),
			},
		[OP_ACTIVATED] =
			{
				[OP_DO_ADD] = NO("the running version is not committed", COMMIT_OR_ABORT),
				[OP_DO_ACTIVATE] = NO("the new version is active already", COMMIT_OR_ABORT),
				[OP_DO_COMMIT] = GO(OP_COMMITTING),
				[OP_DO_ABORT] = GO(OP_ABORTING),
				[OP_DO_ROLLBACK] = GO(OP_ABORTING),
				[OP_DO_REMOVE] = GO(OP_ACTIVATED),
				[OP_DO_STOP_TIMER] = GO(OP_ACTIVATED),
				[OP_DO_CLEAR] = NO("the running version is not committed", COMMIT_OR_ABORT),
				[OP_DO_PREPARE] = GO(OP_PREPARED),
				[OP_DO_DECIDE] = GO(OP_COMMITTING),
				[OP_FAILURE] = GO(OP_ABORTING),
				[OP_TIMER_ENDED] = GO(OP_ABORTING),
			},
		[OP_PREPARED] =
			{
				[OP_DO_ADD] = NO("a commit is under way on both members", "slipway install commit"),
				[OP_DO_ACTIVATE] =
					NO("a commit is under way on both members", "slipway install commit"),
				[OP_DO_COMMIT] = GO(OP_COMMITTING),
				[OP_DO_ABORT] = GO(OP_ABORTING),
				[OP_DO_ROLLBACK] =
					NO("a commit is under way on both members", "slipway install commit"),
				[OP_DO_REMOVE] = NO("a commit is under way on both members", "slipway install commit"),
				[OP_DO_STOP_TIMER] =
					NO("no timer is running: a commit is under way", "slipway install commit"),
				[OP_DO_CLEAR] = NO("a commit is under way on both members", "slipway install commit"),
				[OP_DO_FINISH] = GO(OP_COMMITTING),
				[OP_DO_WITHDRAW] = GO(OP_ACTIVATED),
				[OP_FAILURE] = GO(OP_ABORTING),
			},
		[OP_COMMITTING] =
			{
				[OP_DO_ADD] = NO("a commit has not come to its end", "slipway install commit"),
				[OP_DO_ACTIVATE] = NO("a commit has not come to its end", "slipway install commit"),
				[OP_DO_COMMIT] = GO(OP_COMMITTING),
				[OP_DO_ABORT] = GO(OP_COMMITTING), /* it is decided: what is left is finished, then one can go back */
				[OP_DO_ROLLBACK] = NO("a commit has not come to its end", "slipway install commit"),
				[OP_DO_REMOVE] = NO("a commit has not come to its end", "slipway install commit"),
				[OP_DO_STOP_TIMER] =
					NO("no timer is running: a commit is under way", "slipway install commit"),
				[OP_DO_CLEAR] = GO(OP_COMMITTING),
				[OP_DO_FINISH] = GO(OP_COMMITTING),
				[OP_COMMIT_DONE] = GO(OP_NONE),
			},
		[OP_ABORTING] =
			{
				[OP_DO_ADD] = NO("an abort has not come to its end", ABORT_FIRST),
				[OP_DO_ACTIVATE] = NO("an abort has not come to its end", ABORT_FIRST),
				[OP_DO_COMMIT] = NO("an abort has not come to its end", ABORT_FIRST),
				[OP_DO_ABORT] = GO(OP_ABORTING),
				[OP_DO_ROLLBACK] = NO("an abort has not come to its end", ABORT_FIRST),
				[OP_DO_REMOVE] = NO("an abort has not come to its end", ABORT_FIRST),
				[OP_DO_STOP_TIMER] = NO("no timer is running: an abort is under way", ABORT_FIRST),
				[OP_DO_CLEAR] = GO(OP_ABORTING),
				[OP_ABORT_DONE] = GO(OP_NONE),
				[OP_ABORT_STUCK] = GO(OP_NEEDS_ABORT),
				[OP_FAILURE] = GO(OP_NEEDS_ABORT),
			},
		[OP_NEEDS_ABORT] =
			{
				[OP_DO_ADD] = NO("an abort did not come to its end", ABORT_FIRST),
				[OP_DO_ACTIVATE] = NO("an abort did not come to its end", ABORT_FIRST),
				[OP_DO_COMMIT] = NO("an abort did not come to its end", ABORT_FIRST),
				[OP_DO_ABORT] = GO(OP_ABORTING),
				[OP_DO_ROLLBACK] = NO("an abort did not come to its end", ABORT_FIRST),
				[OP_DO_REMOVE] = NO("an abort did not come to its end", ABORT_FIRST),
				[OP_DO_STOP_TIMER] = NO("no timer is running", ABORT_FIRST),
				[OP_DO_CLEAR] = GO(OP_ABORTING),
			},
};

const char *op_state_name(enum op_state s)
{
	return state_names[s];
}

const char *op_state_title(enum op_state s)
{
	return state_titles[s];
}

const char *op_event_name(enum op_event v)
{
	return event_names[v];
}

int op_state_parse(struct str name, enum op_state *ret, struct err *e)
{
	for (int i = 0; i < OP_STATES; i++) {
		if (!str_eq_c(name, state_names[i]))
			continue;
		*ret = (enum op_state)i;
		return 0;
	}
	return err_new(e, ERR_UNSUPPORTED,
		       "state.db has an operation in state '%.*s', which this slipway does not know", STR_ARG(name));
}

bool machine_allows(enum op_state s, enum op_event v)
{
	return table[s][v].legal;
}

/* The command that goes on, as it can be typed. */
static void put_then(struct buf *b, const char *then, struct str env)
{
	bool or_abort = strcmp(then, COMMIT_OR_ABORT) == 0 || strcmp(then, ACTIVATE_OR_ABORT) == 0;
	buf_printf(b, "'%.*s -n %.*s' ", (int)strcspn(then, "'"), then, STR_ARG(env));
	if (or_abort)
		buf_printf(b, "%s, '%s -n %.*s' goes back",
			   strcmp(then, COMMIT_OR_ABORT) == 0 ? "keeps the new version" : "goes on with it",
			   ABORT_FIRST, STR_ARG(env));
	else
		buf_put_c(b, strcmp(then, ABORT_FIRST) == 0 ? "goes back to the committed version"
			     : strcmp(then, LOOK) == 0	    ? "shows what there is"
							    : "goes on");
}

int machine_next(enum op_state s, enum op_event v, struct str env, enum op_state *ret, struct err *e)
{
	const struct cell *c = &table[s][v];
	const char *noun = v == OP_DO_CLEAR ? "" : "install "; /* as it is typed */
	auto_buf then = BUF_INIT(ERR_MSG_SIZE);
	if (c->legal) {
		*ret = c->next;
		return 0;
	}
	if (v > OP_DO_WITHDRAW)
		panic("'%s' in state '%s'", event_names[v], state_names[s]);
	if (!c->why)
		return err_new(e, ERR_FAILED,
			       "%s%s is not possible in state '%s': it is no step of a pair from there; '%s -n %.*s' "
			       "tells what is",
			       noun, event_names[v], state_names[s], LOOK, STR_ARG(env));
	put_then(&then, c->then, env);
	return err_new(e, ERR_FAILED, "%s%s is not possible in state '%s': %s; %s", noun, event_names[v],
		       state_names[s], c->why, then.p);
}

enum op_event machine_settles(enum op_state s)
{
	switch (s) {
	case OP_ADDING:
	case OP_ACTIVATING:
	case OP_STANDBY_ACTIVATED:
		return OP_FAILURE;
	case OP_COMMITTING:
		return OP_DO_COMMIT;
	case OP_ABORTING:
		return OP_DO_ABORT;
	case OP_NONE:
	case OP_ADDED:
	case OP_ACTIVATED:
	case OP_PREPARED: /* its peer knows */
	case OP_NEEDS_ABORT:
	case OP_STATES:
		break;
	}
	return OP_EVENTS;
}
