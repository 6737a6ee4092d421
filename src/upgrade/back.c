// SPDX-License-Identifier: Apache-2.0
/* Going back: to the generation that the operation came from, or on to nothing where there was none. */
#include "upgrade/run.h"

/* What only came with this operation: of an added version that never ran nothing is kept. What a rollback goes to was there. */
static int drop_added(struct run *r, struct err *e)
{
	struct err gone = ERR_INIT;
	if (!r->laid_out || !r->op.to || r->op.to == r->op.from)
		return 0;
	return env_remove_generation(r->o->hold, r->op.to, &gone) < 0 && gone.code != ERR_NOT_FOUND ? (*e = gone, -1)
												    : 0;
}

/* The timer is armed before the first change of an activation, and is what tells one. */
static bool was_activating(const struct run *r)
{
	return r->op.timer.length_ms > 0;
}

static int go_back(struct run *r, const char *why, struct err *e)
{
	struct env_opts o = run_switch_opts(r, false);
	bool switched = r->op.from && r->info.current != r->op.from;
	if (!was_activating(r))
		return drop_added(r, e) < 0 ? -1 : run_note_history(r, why, "done", r->op.from, r->op.from, e);
	if (switched && env_switch(r->o->hold, r->op.from, why, &o, e) < 0)
		return -1;
	if (r->op.from)
		r->info.current = r->op.from;
	if (!switched && run_note_history(r, why, "done", r->op.from, r->op.from, e) < 0)
		return -1;
	int wanted = checkpoint_wanted(r, e);
	if (wanted < 0 || (wanted && services_stop(r, r->op.to, e) < 0) || checkpoint_restore(r, e) < 0 ||
	    config_restore(r, e) < 0)
		return -1;
	if (!r->op.from && !r->info.current) /* there was none before, and this one never ran */
		return drop_added(r, e);
	if (services_move(r, r->op.to, r->op.from, e) < 0)
		return -1;
	return r->op.from ? 0 : env_remove(r->o->hold, &o, e);
}

int run_unsettled(const struct run *r, struct err *e)
{
	err_ctx(e, "the next command that changes '%.*s' finishes it", STR_ARG(r->o->env));
	e->code = ERR_UNCERTAIN;
	return -1;
}

int run_carry_abort(struct run *r, const char *why, struct err *e)
{
	struct env_operation_step s = run_begin_step(r, "install_abort");
	if (run_end_step(r, &s, run_read(r, e) < 0 ? -1 : go_back(r, why, e), e) < 0) {
		struct err second = ERR_INIT;
		(void)run_reach(r, OP_ABORT_STUCK, &second);
		err_ctx(e, "going back did not come to its end; 'slipway install abort issu -n %.*s' tries again",
			STR_ARG(r->o->env));
		e->code = ERR_UNCERTAIN;
		return -1;
	}
	if (checkpoint_forget(r, e) < 0 || run_end(r, e) < 0)
		return run_unsettled(r, e);
	return run_timer_changed(r, e);
}

int run_fail(struct run *r, enum op_event v, struct err *e)
{
	struct err second = ERR_INIT;
	if (r->plain) {
		(void)drop_added(r, &second); /* else the next command does */
		return -1;
	}
	if (run_reach(r, v, &second) < 0 || run_carry_abort(r, "abort", &second) < 0) {
		err_ctx(e, "%s", second.msg);
		e->code = ERR_UNCERTAIN;
		return -1;
	}
	if (was_activating(r)) {
		err_ctx(e, "back on generation %u", r->op.from);
		e->code = ERR_ROLLED_BACK;
	}
	return -1;
}
