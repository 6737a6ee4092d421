// SPDX-License-Identifier: Apache-2.0
/* After a crash, and when the timer rings. */
#include "upgrade/run.h"

/* A one-shot that nobody is in the middle of any more goes back: it was to be whole, or not at all. */
static enum op_event settled_by(const struct run *r)
{
	bool to_the_end = r->state == OP_ACTIVATED && r->will_commit && !r->paired;
	if (r->op.one_shot && (r->state == OP_ADDED || to_the_end))
		return OP_DO_ABORT;
	if (r->paired && r->state == OP_COMMITTING) /* the other one first */
		return OP_EVENTS;
	return machine_settles(r->state);
}

static int settle(struct run *r, struct err *e)
{
	enum op_event v = settled_by(r);
	int64_t left_ms = -1;
	/* only where it decides: what goes back does not wait for a disk that takes no note of the time */
	if (v == OP_EVENTS && upgrade_timer_left(r->o->state, r->o->hold, r->o->env, &left_ms, e) < 0)
		return -1;
	r->settled_by = "recovery";
	if (v == OP_EVENTS && left_ms == 0 && r->state == OP_ACTIVATED) {
		v = OP_TIMER_ENDED;
		r->settled_by = "timer";
	}
	if (v == OP_EVENTS)
		return 0;
	if (v == OP_TIMER_ENDED)
		run_note(r, "the auto-abort timer has ended: back to generation %u", r->op.from);
	else
		run_note(r, "'%.*s' was interrupted in state '%s': %s", STR_ARG(r->op.command), op_state_name(r->state),
			 v == OP_DO_COMMIT ? "it is finished" : "it is undone");
	if (v == OP_DO_COMMIT)
		return run_carry_commit(r, e) < 0 ? -1 : 1;
	return run_abort_operation(r, v, e) < 0 ? -1 : 1;
}

/* Without an operation what runs is committed, and there are no checkpoints. */
static int settle_rest(struct run *r, struct err *e)
{
	struct env_opts o = r->o->env_opts;
	o.who = "recovery";
	if (checkpoint_sweep(r, e) < 0)
		return -1;
	if (r->info.current == r->info.committed || !r->info.committed)
		return 0;
	run_note(r, "generation %u is not committed and no operation is in progress: back to generation %u",
		 r->info.current, r->info.committed);
	return env_switch(r->o->hold, r->info.committed, "abort", &o, e) < 0 ? -1 : 1;
}

int upgrade_settle(const struct upgrade_opts *o, struct err *e)
{
	static const struct upgrade_request nothing = {.verb = UPGRADE_ABORT};
	struct run r = {.o = o, .q = &nothing};
	int rc = run_read(&r, e);
	if (rc >= 0)
		rc = r.state == OP_NONE ? settle_rest(&r, e) : settle(&r, e);
	arena_release(&r.arena);
	return rc;
}
