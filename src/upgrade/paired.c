// SPDX-License-Identifier: Apache-2.0
/*
 * The steps of one of two members: one legal transition each, on disk when it returns. Who asks is in another process, often on another
 * host, and may have seen the state a while ago: nothing here trusts that the step fits.
 */
#include "upgrade/run.h"

static bool is_step(enum upgrade_verb v)
{
	return v == UPGRADE_ARM || v == UPGRADE_STANDBY_DONE || v == UPGRADE_PREPARE || v == UPGRADE_DECIDE ||
	       v == UPGRADE_WITHDRAW;
}

int paired_admit(const struct run *r, struct err *e)
{
	bool begins = r->state == OP_NONE && (r->q->verb == UPGRADE_ADD || r->q->verb == UPGRADE_ROLLBACK);
	const char *id = r->q->operation_id;
	if (id && !begins && r->op.id.n && !str_eq_c(r->op.id, id))
		return err_new(
			e, ERR_FAILED,
			"another operation is in progress here, in state '%s'; 'slipway show issu state detail -n %.*s' "
			"tells which",
			op_state_name(r->state), STR_ARG(r->o->env));
	if (r->state != OP_NONE && !r->paired && is_step(r->q->verb))
		return err_new(
			e, ERR_FAILED,
			"the operation that is in progress here is this host's alone; 'slipway install commit -n %.*s' "
			"or 'slipway install abort issu -n %.*s' ends it",
			STR_ARG(r->o->env), STR_ARG(r->o->env));
	return 0;
}

/* Whoever rings the timer looks at the disk: late news of a timer that rings no more do no harm. */
static int tell_timer(struct run *r)
{
	struct err ignored = ERR_INIT;
	if (run_timer_changed(r, &ignored) < 0)
		run_note(r, "%s", ignored.msg);
	return 0;
}

int paired_arm(struct run *r, enum op_event v, struct err *e)
{
	enum op_state next;
	struct env_timer before = r->op.timer;
	if (machine_next(r->state, v, r->o->env, &next, e) < 0 || run_check(r, false, true, e) < 0 ||
	    run_arm_timer(r, e) < 0)
		return -1;
	if (run_reach(r, v, e) < 0) {
		r->op.timer = before;
		return -1;
	}
	return run_timer_changed(r, e) < 0 ? run_fail(r, OP_FAILURE, e) : 0;
}

int paired_activate(struct run *r, struct err *e)
{
	enum op_state next;
	if (machine_next(r->state, OP_DO_MOVE, r->o->env, &next, e) < 0)
		return -1;
	r->begun = true;
	struct env_operation_step s = run_begin_step(r, r->state == OP_STANDBY_ACTIVATED ? "Activate location active"
											 : "Activate location standby");
	if (run_end_step(r, &s, run_carry_activate(r, e), e) < 0 || run_reach(r, OP_ACTIVATE_DONE, e) < 0)
		return run_fail(r, OP_FAILURE, e);
	return 0;
}

/* The log of the active member has both. */
int paired_standby_done(struct run *r, struct err *e)
{
	const struct env_operation_step s = {
		.name = STR("Activate location standby"),
		.result = STR("passed"),
		.started_ms = run_wall_ms(r),
		.ended_ms = run_wall_ms(r),
	};
	struct err ignored = ERR_INIT;
	if (run_reach(r, OP_DO_STANDBY_DONE, e) < 0)
		return -1;
	(void)env_operation_log(r->o->hold, r->op.id, &s, &ignored);
	return 0;
}

int paired_prepare(struct run *r, struct err *e)
{
	struct env_timer before = r->op.timer;
	enum op_state next;
	if (machine_next(r->state, OP_DO_PREPARE, r->o->env, &next, e) < 0 || run_hold_timer(r, e) < 0)
		return -1;
	if (run_reach(r, OP_DO_PREPARE, e) == 0)
		return tell_timer(r);
	r->op.timer = before;
	r->timer_held = false;
	return -1;
}

int paired_decide(struct run *r, struct err *e)
{
	return run_reach_untimed(r, OP_DO_DECIDE, e) < 0 ? -1 : tell_timer(r);
}

int paired_withdraw(struct run *r, struct err *e)
{
	struct env_timer before = r->op.timer;
	bool held = r->timer_held;
	enum op_state next;
	if (machine_next(r->state, OP_DO_WITHDRAW, r->o->env, &next, e) < 0 || run_let_timer_go_on(r, e) < 0)
		return -1;
	if (run_reach(r, OP_DO_WITHDRAW, e) == 0)
		return run_timer_changed(r, e);
	r->op.timer = before;
	r->timer_held = held;
	return -1;
}
