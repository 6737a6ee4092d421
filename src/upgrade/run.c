// SPDX-License-Identifier: Apache-2.0
/*
 * The verbs. Each is: the table says whether it may be (machine_next), the state that names the work is written, the work is done,
 * the state that it leads to is written. Where work fails the table says what follows, and that is done here too.
 */
#include "upgrade/run.h"

static const char *operation_word(const struct run *r, const char *otherwise)
{
	return r->q->operation ? r->q->operation : otherwise;
}

/* -- add, activate, commit ---------------------------------------------------------------------------------------- */

int run_check(const struct run *r, bool aloud, bool activating, struct err *e)
{
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	auto_arena a = ARENA_INIT;
	struct upgrade_check *c;
	size_t n, failed = 0;
	if (run_preflight(r->o, r->q, activating, &a, &c, &n, e) < 0)
		return -1;
	if (aloud && activating)
		run_tell(r, UPGRADE_EVENT_STAGE, 0, false, "Initial System Level Sanity Check", NULL);
	for (size_t i = 0; i < n; i++) {
		if (aloud)
			run_tell(r, UPGRADE_EVENT_MEMBER, 0, !c[i].finding.n || c[i].advice,
				 arena_printf(&a, "Verifying %.*s", STR_ARG(c[i].name)), NULL);
		if (c[i].advice && c[i].finding.n && aloud)
			run_note(r, "%.*s; %.*s", STR_ARG(c[i].finding), STR_ARG(c[i].cure));
		if (!c[i].finding.n || c[i].advice)
			continue;
		failed++;
		buf_printf(&b, "%s%.*s: %.*s; %.*s", b.n ? "\n  " : "", STR_ARG(c[i].name), STR_ARG(c[i].finding),
			   STR_ARG(c[i].cure));
	}
	if (failed)
		return err_new(e, ERR_FAILED, "%zu check%s failed, nothing changed\n  %s", failed,
			       failed == 1 ? "" : "s", b.p);
	if (aloud && activating)
		run_tell(r, UPGRADE_EVENT_FINISH, 0, true, "Initial System Level Sanity Check", NULL);
	return 0;
}

/* The state does not allow it: what stands against it besides is said in the same breath. -1. */
static int refuse(const struct run *r, struct err *e)
{
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	auto_arena a = ARENA_INIT;
	struct upgrade_check *c;
	struct err ignored = ERR_INIT;
	size_t n;
	bool begins = r->q->verb == UPGRADE_ADD || r->q->verb == UPGRADE_ACTIVATE;
	if (!begins || r->q->operation || r->q->operation_id ||
	    upgrade_preflight(r->o, r->q, &a, &c, &n, &ignored) <= 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (c[i].finding.n && !c[i].advice && !str_eq(c[i].name, STR(UPGRADE_CHECK_IDLE)))
			buf_printf(&b, "\n  %.*s: %.*s; %.*s", STR_ARG(c[i].name), STR_ARG(c[i].finding),
				   STR_ARG(c[i].cure));
	auto_free char *refusal = xstrdup(e->msg);
	return b.n ? err_new(e, e->code, "%s%s", refusal, b.p) : -1;
}

/* A plain change whose new version brings a component is none: its configuration and its state are looked after. */
static int look_again(struct run *r, struct err *e)
{
	int any = r->plain ? components_any(r, r->op.to, 0, e) : 0;
	if (any <= 0)
		return any;
	r->plain = false;
	return run_new_id(r, e);
}

static int lay_out(struct run *r, struct err *e)
{
	struct env_report report, *told = r->q->report;
	struct env_opts o = run_switch_opts(r, false);
	struct arena *a = told ? r->q->report_arena : &r->arena;
	o.operation = r->plain ? r->q->operation : NULL; /* its switch follows at once */
	if (env_lay_out(r->o->store, r->o->hold, r->q->plan, &o, a, told ? told : &report, e) < 0)
		return -1;
	r->op.to = told ? told->generation : report.generation;
	r->laid_out = true;
	for (size_t i = 0; !told && i < report.notes_n; i++)
		run_note(r, "%.*s", STR_ARG(report.notes[i]));
	/* With its number: whoever finds the operation knows what to take away. */
	if (look_again(r, e) < 0 || run_save(r, e) < 0)
		return -1;
	o = run_switch_opts(r, false);
	return r->plain ? 0 : env_keep(r->o->hold, r->op.to, r->paired ? operation_word(r, "add") : "add", &o, e);
}

static int add(struct run *r, struct err *e)
{
	enum op_state adding;
	if (machine_next(r->state, OP_DO_ADD, r->o->env, &adding, e) < 0)
		return refuse(r, e);
	if (run_begin(r, e) < 0 || (!r->plain && run_check(r, !r->paired, false, e) < 0))
		return -1;
	r->begun = true;
	if ((r->q->prepare && r->q->prepare(r->q->prepare_ctx, e) < 0) || run_reach(r, OP_DO_ADD, e) < 0)
		return -1;
	struct env_operation_step s = run_begin_step(r, "Add");
	if (run_end_step(r, &s, lay_out(r, e), e) < 0 || run_reach(r, OP_ADD_DONE, e) < 0)
		return run_fail(r, OP_FAILURE, e);
	return 0;
}

int run_carry_activate(struct run *r, struct err *e)
{
	struct env_opts o = run_switch_opts(r, !r->plain);
	if (!r->plain && (checkpoint_take(r, r->op.from, e) < 0 || config_update(r, r->op.from, r->op.to, e) < 0))
		return -1;
	/* What can still go wrong is not told as done. */
	const char *word = operation_word(r, "activate");
	if (env_switch(r->o->hold, r->op.to, r->plain ? word : "switch", &o, e) < 0)
		return -1;
	r->info.current = r->op.to;
	return r->plain ? 0
	       : services_move(r, r->op.from, r->op.to, e) < 0
		       ? -1
		       : run_note_history(r, word, "done", r->op.from, r->op.to, e);
}

static int activate(struct run *r, struct err *e)
{
	enum op_event v = r->q->verb == UPGRADE_ROLLBACK ? OP_DO_ROLLBACK : OP_DO_ACTIVATE;
	enum op_state next;
	if (machine_next(r->state, v, r->o->env, &next, e) < 0)
		return refuse(r, e);
	if ((!r->plain && run_check(r, true, true, e) < 0) || run_arm_timer(r, e) < 0)
		return -1;
	if (run_reach(r, v, e) < 0) {
		r->op.timer = (struct env_timer){0};
		return -1;
	}
	if (run_timer_changed(r, e) < 0)
		return run_fail(r, OP_FAILURE, e);
	if (!r->plain)
		run_tell(r, UPGRADE_EVENT_STAGE, 1, false, "Installing software on Active", NULL);
	struct env_operation_step s = run_begin_step(r, "Activate");
	if (run_end_step(r, &s, run_carry_activate(r, e), e) < 0 || run_reach(r, OP_ACTIVATE_DONE, e) < 0)
		return run_fail(r, OP_FAILURE, e);
	return 0;
}

/* The history tells that it was committed, also of a first version, which is from the start, and once only after a crash. */
static int put_commit(struct run *r, struct err *e)
{
	struct env_opts o = run_switch_opts(r, false);
	if (r->info.committed != r->info.current)
		return env_commit(r->o->hold, &o, e);
	int rc = run_is_committed(r, e);
	return rc == 0 ? run_note_history(r, "commit", "done", r->info.current, r->info.current, e) : rc < 0 ? -1 : 0;
}

int run_carry_commit(struct run *r, struct err *e)
{
	if (r->plain) /* the switch has said so already */
		return run_end(r, e);
	struct env_operation_step s = run_begin_step(r, "Commit");
	if (run_end_step(r, &s, put_commit(r, e), e) < 0 || checkpoint_forget(r, e) < 0 || run_end(r, e) < 0)
		return run_unsettled(r, e);
	return run_timer_changed(r, e);
}

/* As OP_DO_COMMIT of a person, or as OP_DO_FINISH of one of two members. */
static int commit(struct run *r, enum op_event v, struct err *e)
{
	return run_reach_untimed(r, v, e) < 0 ? -1 : run_carry_commit(r, e);
}

/* The commit that was asked for in the same breath: without it the host goes back. */
static int commit_at_once(struct run *r, struct err *e)
{
	if (commit(r, OP_DO_COMMIT, e) == 0)
		return 0;
	return r->state == OP_ACTIVATED ? run_fail(r, OP_FAILURE, e) : -1;
}

/* -- the other verbs ---------------------------------------------------------------------------------------------- */

/* On a disk that is full, say, where not even this can be noted. */
static int not_begun(const struct run *r, struct err *e)
{
	return err_ctx(
		e, "going back did not begin, and nothing changed; 'slipway install abort issu -n %.*s' tries again",
		STR_ARG(r->o->env));
}

int run_abort_operation(struct run *r, enum op_event v, struct err *e)
{
	bool goes_back = machine_allows(r->state, v) && r->state != OP_COMMITTING;
	if (r->state == OP_NONE) {
		run_note(r, "no install operation is in progress: nothing to %s", v == OP_DO_CLEAR ? "clear" : "abort");
		return 0;
	}
	if (run_reach(r, v, e) < 0)
		return goes_back ? not_begun(r, e) : -1;
	if (r->state == OP_COMMITTING) {
		run_note(r,
			 "the commit is decided: it is finished; 'slipway install rollback -n %.*s' goes back after it",
			 STR_ARG(r->o->env));
		return run_carry_commit(r, e);
	}
	return run_carry_abort(r, v == OP_TIMER_ENDED ? "auto-abort" : "abort", e);
}

/* With an operation under way it is an abort, and goes where that goes. */
static int refuse_other_rollback(const struct run *r, struct err *e)
{
	bool is_rollback = r->q->verb == UPGRADE_ROLLBACK;
	if (!is_rollback || r->state == OP_NONE || !r->q->generation || r->q->generation == r->op.from ||
	    !machine_allows(r->state, OP_DO_ROLLBACK)) /* which is refused with what is possible there */
		return 0;
	return err_new(e, ERR_FAILED,
		       "install rollback to %u is not possible in state '%s': abort or commit it first; "
		       "'slipway install abort issu -n %.*s' goes back to generation %u",
		       r->q->generation, op_state_name(r->state), STR_ARG(r->o->env), r->op.from);
}

static int rollback(struct run *r, struct err *e)
{
	if (refuse_other_rollback(r, e) < 0)
		return -1;
	if (r->state != OP_NONE)
		return run_abort_operation(r, OP_DO_ROLLBACK, e);
	if (!r->q->generation || r->q->generation == r->info.current)
		return err_new(e, ERR_USAGE, "generation %u is the current one", r->q->generation);
	if (run_begin(r, e) < 0)
		return -1;
	if (r->paired)
		return paired_arm(r, OP_DO_ROLLBACK, e);
	return activate(r, e) < 0 || commit_at_once(r, e) < 0 ? -1 : 0;
}

static int stop_timer(struct run *r, struct err *e)
{
	if (machine_next(r->state, OP_DO_STOP_TIMER, r->o->env, &r->state, e) < 0)
		return -1;
	if (r->op.timer.stopped) {
		run_note(
			r,
			"the auto-abort timer is stopped already; 'slipway install commit -n %.*s' keeps the new version",
			STR_ARG(r->o->env));
		return 0;
	}
	r->op.timer.stopped = true;
	if (run_save(r, e) < 0)
		return -1;
	r->begun = true;
	return run_note_history(r, "auto-abort-timer stop", "done", r->op.from, r->op.to, e) < 0
		       ? -1
		       : run_timer_changed(r, e);
}

static int remove_inactive(struct run *r, struct err *e)
{
	enum op_state next;
	uint32_t number = r->q->generation;
	if (machine_next(r->state, OP_DO_REMOVE, r->o->env, &next, e) < 0)
		return -1;
	/* What was added is inactive, and goes too. */
	bool goes_too = next == OP_ABORTING && (!number || number == r->op.to);
	if (goes_too && (run_reach(r, OP_DO_REMOVE, e) < 0 || run_carry_abort(r, "remove inactive", e) < 0))
		return -1;
	if (goes_too && number)
		return 0;
	r->begun = true;
	if (env_remove_generation(r->o->hold, number, e) == 0) {
		struct err ignored = ERR_INIT; /* what is gone is gone */
		(void)run_note_history(r, "remove inactive", "done", r->info.current, r->info.current, &ignored);
		return 0;
	}
	if (goes_too) {
		err_ctx(e, "what was added is removed, other inactive generations are not; the same command goes on");
		e->code = ERR_UNCERTAIN;
	}
	return -1;
}

static int clear_state(struct run *r, struct err *e)
{
	return run_abort_operation(r, OP_DO_CLEAR, e);
}

/* What was added in the same breath goes where it cannot be activated. */
static int undo_add(struct run *r, struct err *e)
{
	struct err second = ERR_INIT;
	if (r->plain)
		return run_fail(r, OP_FAILURE, e);
	if (run_reach(r, OP_DO_ABORT, &second) < 0 || run_carry_abort(r, "abort", &second) < 0) {
		err_ctx(e, "%s", second.msg);
		e->code = ERR_UNCERTAIN;
	}
	return -1;
}

static int run_add(struct run *r, struct err *e)
{
	if (add(r, e) < 0)
		return -1;
	if (r->paired) /* what is to follow comes as steps */
		return 0;
	if (r->q->then_activate && activate(r, e) < 0)
		return r->state == OP_ADDED ? undo_add(r, e) : -1;
	return r->q->then_commit ? commit_at_once(r, e) : 0;
}

/* What names the operation is a step; what does not comes from a person, on a host that has left its pair since. */
static bool is_step(const struct run *r)
{
	return r->paired && r->q->operation_id;
}

static int run_activate(struct run *r, struct err *e)
{
	if (is_step(r))
		return paired_activate(r, e);
	return activate(r, e) < 0 || (r->q->then_commit && commit_at_once(r, e) < 0) ? -1 : 0;
}

static int run_commit(struct run *r, struct err *e)
{
	return commit(r, is_step(r) ? OP_DO_FINISH : OP_DO_COMMIT, e);
}

static int run_abort(struct run *r, struct err *e)
{
	bool by_timer = r->q->by_timer && machine_allows(r->state, OP_TIMER_ENDED);
	return run_abort_operation(r, by_timer ? OP_TIMER_ENDED : OP_DO_ABORT, e);
}

static int run_arm(struct run *r, struct err *e)
{
	return paired_arm(r, OP_DO_ARM, e);
}

static const struct verb {
	const char *title, *word;
	enum op_event event;
	int (*run)(struct run *r, struct err *e);
} verbs[] = {
	[UPGRADE_ADD] = {"install_add", "add", OP_DO_ADD, run_add},
	[UPGRADE_ACTIVATE] = {"install_activate", "activate", OP_DO_ACTIVATE, run_activate},
	[UPGRADE_COMMIT] = {"install_commit", "commit", OP_DO_COMMIT, run_commit},
	[UPGRADE_ABORT] = {"install_abort", "abort", OP_DO_ABORT, run_abort},
	[UPGRADE_ROLLBACK] = {"install_rollback", "rollback", OP_DO_ROLLBACK, rollback},
	[UPGRADE_STOP_TIMER] = {"auto_abort_timer_stop", "auto-abort-timer stop", OP_DO_STOP_TIMER, stop_timer},
	[UPGRADE_REMOVE_INACTIVE] = {"install_remove", "remove inactive", OP_DO_REMOVE, remove_inactive},
	[UPGRADE_CLEAR] = {"clear_install_state", "clear install state", OP_DO_CLEAR, clear_state},
	[UPGRADE_ARM] = {"install_arm", "arm", OP_DO_ARM, run_arm},
	[UPGRADE_STANDBY_DONE] = {"install_standby_done", "standby done", OP_DO_STANDBY_DONE, paired_standby_done},
	[UPGRADE_PREPARE] = {"install_prepare", "prepare", OP_DO_PREPARE, paired_prepare},
	[UPGRADE_DECIDE] = {"install_decide", "decide", OP_DO_DECIDE, paired_decide},
	[UPGRADE_WITHDRAW] = {"install_withdraw", "withdraw", OP_DO_WITHDRAW, paired_withdraw},
};

enum op_event run_event(const struct upgrade_request *q, bool activating)
{
	return q->verb == UPGRADE_ADD && activating ? OP_DO_ACTIVATE : verbs[q->verb].event;
}

static const char *title_of(const struct upgrade_request *q)
{
	if (q->verb == UPGRADE_ADD && q->then_activate)
		return q->then_commit ? "install_add_activate_commit" : "install_add_activate";
	return verbs[q->verb].title;
}

/* A one-shot change where no component is has nothing that a crash could leave half done but the switch, which has its own journal.
 * Whether the new version brings one is seen when it is laid out. */
static int is_plain(const struct run *r, struct err *e)
{
	bool back = r->q->verb == UPGRADE_ROLLBACK;
	if (!r->q->operation || r->q->paired || r->state != OP_NONE ||
	    !(back || (r->q->verb == UPGRADE_ADD && r->q->then_commit)))
		return 0;
	int any = components_any(r, r->info.current, back ? r->q->generation : 0, e);
	return any < 0 ? -1 : !any;
}

/* What did not come to its end is never told as if it had. */
static void note_failure(struct run *r, const struct err *e)
{
	auto_buf b = BUF_INIT(ERR_MSG_SIZE + 16);
	struct err ignored = ERR_INIT;
	const char *word = operation_word(r, verbs[r->q->verb].word);
	uint32_t from = r->begun ? r->op.from : r->info.current, to = r->begun ? r->op.to : r->info.current;
	buf_printf(&b, "%s: %s", r->begun ? "failed" : "refused", e->msg);
	if (r->o->hold)
		(void)run_note_history(r, word, b.p, from, to, &ignored);
}

int upgrade_run(const struct upgrade_opts *o, const struct upgrade_request *q, struct err *e)
{
	struct run r = {.o = o, .q = q};
	int rc = run_read(&r, e);
	int plain = rc < 0 ? -1 : is_plain(&r, e);
	if (plain >= 0) {
		r.plain = plain;
		run_tell(&r, UPGRADE_EVENT_START, 0, false, title_of(q), NULL);
		rc = paired_admit(&r, e) < 0 ? -1 : verbs[q->verb].run(&r, e);
		if (rc < 0 && !r.plain)
			note_failure(&r, e);
		run_tell(&r, UPGRADE_EVENT_END, 0, true, title_of(q), rc < 0 ? e : NULL);
	}
	arena_release(&r.arena);
	return plain < 0 ? -1 : rc;
}

int upgrade_may(const struct upgrade_opts *o, const struct upgrade_request *q, struct err *e)
{
	struct run r = {.o = o, .q = q};
	enum op_state next;
	int rc = run_read(&r, e);
	if (rc >= 0) {
		rc = paired_admit(&r, e) < 0 || refuse_other_rollback(&r, e) < 0	 ? -1
		     : machine_next(r.state, verbs[q->verb].event, o->env, &next, e) < 0 ? refuse(&r, e)
											 : 0;
		if (rc < 0)
			note_failure(&r, e);
	}
	arena_release(&r.arena);
	return rc < 0 ? -1 : 0;
}
