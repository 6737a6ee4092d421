// SPDX-License-Identifier: Apache-2.0
/*
 * The verbs. Each is: the table says whether it may be (machine_next), the state that names the work is written, the work is done,
 * the state that it leads to is written. Where work fails the table says what follows, and that is done here too.
 */
#include "upgrade/run.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/json.h"

/* -- telling ------------------------------------------------------------------------------------------------------ */

static int64_t wall_ms(const struct run *r)
{
	const struct clock *c = r->o->env_opts.clock ? r->o->env_opts.clock : &clock_system;
	return c->wall_ms(c);
}

static void tell(const struct run *r, enum upgrade_event_kind kind, int64_t number, bool done, const char *text,
		 const struct err *failure)
{
	const struct upgrade_event v = {
		.kind = kind,
		.number = number,
		.done = done,
		.text = text,
		.failure = failure,
		.at_ms = wall_ms(r),
	};
	if (r->o->event)
		r->o->event(r->o->ctx, &v);
}

void run_note(const struct run *r, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(4096);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	tell(r, UPGRADE_EVENT_NOTE, 0, false, b.p, NULL);
}

/* -- what is on disk ---------------------------------------------------------------------------------------------- */

static int read_detail(struct run *r, struct err *e)
{
	const struct json *j = r->op.detail.n ? json_parse(&r->arena, r->op.detail, "state.db: operation", e) : NULL;
	r->transition = STR_NONE;
	if (!j)
		return r->op.detail.n ? -1 : 0;
	return json_opt_str(j, "transition", &r->transition, e) < 0 ||
			       json_opt_bool(j, "will_commit", &r->will_commit, e) < 0
		       ? -1
		       : 0;
}

/* "Added -> Activated": what show issu state detail calls the state transition. */
static void write_detail(struct run *r)
{
	auto_buf b = BUF_INIT(4096);
	struct jw w = JW_INIT(&b, 0);
	if (r->state == OP_ADDED || r->state == OP_ACTIVATED)
		r->transition = str_c(arena_printf(&r->arena, "%.*s%s%s", STR_ARG(r->transition),
						   r->transition.n ? " -> " : "", op_state_title(r->state)));
	jw_object(&w);
	jw_kv_str(&w, "transition", r->transition);
	jw_kv_bool(&w, "will_commit", r->will_commit);
	jw_object_end(&w);
	r->op.detail = arena_str(&r->arena, buf_str(&b));
}

static int read_all(struct run *r, struct err *e)
{
	struct err gone = ERR_INIT;
	if (env_get(r->o->state, &r->arena, r->o->env, &r->info, &gone) < 0) {
		if (gone.code != ERR_NOT_FOUND) {
			*e = gone;
			return -1;
		}
		r->info = (struct env_info){0};
	}
	int rc = env_operation_get(r->o->state, &r->arena, r->o->env, &r->op, e);
	r->state = OP_NONE;
	r->will_commit = false;
	if (rc == 0)
		r->op = (struct env_operation){0};
	return rc <= 0 ? rc : read_detail(r, e) < 0 ? -1 : op_state_parse(r->op.state, &r->state, e);
}

static int save(struct run *r, struct err *e)
{
	r->op.state = str_c(op_state_name(r->state));
	return r->plain ? 0 : env_operation_put(r->o->hold, &r->op, e);
}

/* An event: the state that it leads to is written, or the state is what it was. */
static int reach(struct run *r, enum op_event v, struct err *e)
{
	enum op_state before = r->state;
	struct str transition = r->transition;
	if (machine_next(before, v, &r->state, e) < 0)
		return -1;
	write_detail(r);
	if (save(r, e) < 0) {
		r->state = before;
		r->transition = transition;
		return -1;
	}
	r->begun = true;
	tell(r, UPGRADE_EVENT_STATE, r->state, true, op_state_title(r->state), NULL);
	return 0;
}

static int end_operation(struct run *r, struct err *e)
{
	r->state = OP_NONE;
	if (r->plain || !r->op.id.n)
		return 0;
	r->op.id = STR_NONE;
	return env_operation_end(r->o->hold, e);
}

/* Names a piece of work in the log that stays with the history; the work itself is between the two. */
static struct env_operation_step begin_step(const struct run *r, const char *name)
{
	tell(r, UPGRADE_EVENT_BEGIN, 0, false, name, NULL);
	return (struct env_operation_step){.name = str_c(name), .started_ms = wall_ms(r)};
}

static int end_step(const struct run *r, struct env_operation_step *s, int rc, struct err *e)
{
	struct err second = ERR_INIT;
	s->ended_ms = wall_ms(r);
	s->result = rc < 0 ? str_c(e->msg) : STR("passed");
	tell(r, UPGRADE_EVENT_FINISH, 0, true, s->name.p, rc < 0 ? e : NULL);
	if (!r->plain && env_operation_log(r->o->hold, r->op.id, s, &second) < 0 && rc == 0) {
		*e = second;
		return -1;
	}
	return rc;
}

static int new_id(struct run *r, struct err *e)
{
	uint8_t bytes[16];
	auto_buf b = BUF_INIT(64);
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_sys(e, "make an operation's id");
	buf_put_hex(&b, bytes, sizeof(bytes));
	r->op.id = arena_str(&r->arena, buf_str(&b));
	return 0;
}

static struct env_opts switch_opts(struct run *r, bool uncommitted)
{
	struct env_opts o = r->o->env_opts;
	o.uncommitted = uncommitted;
	o.operation = NULL;
	o.operation_id = r->op.id.n ? r->op.id.p : NULL;
	if (r->settled_by) { /* not what the command that finds it was called for */
		o.who = r->settled_by;
		o.command = r->op.command.n ? arena_strdup(&r->arena, r->op.command) : o.command;
	}
	return o;
}

/* A line of history for what moves no link. */
static int note_history(struct run *r, const char *operation, const char *result, uint32_t from, uint32_t to,
			struct err *e)
{
	struct env_opts o = switch_opts(r, false);
	struct str line = STR_NONE, rest = str_c(result);
	(void)str_take_line(&rest, &line); /* checks list theirs below one another */
	const struct env_history_entry x = {
		.at_ms = wall_ms(r),
		.operation = str_c(operation),
		.command = str_c(o.command),
		.result = line,
		.from = from,
		.to = to,
		.who = str_c(o.who),
		.operation_id = r->op.id,
		.ended_ms = wall_ms(r),
	};
	return env_history_add(r->o->hold, &x, e);
}

static const char *operation_word(const struct run *r, const char *otherwise)
{
	return r->q->operation ? r->q->operation : otherwise;
}

static int begin_operation(struct run *r, struct err *e)
{
	const struct env_opts *o = &r->o->env_opts;
	if (!r->plain && new_id(r, e) < 0)
		return -1;
	r->op.one_shot = r->q->then_activate || r->q->verb == UPGRADE_ROLLBACK;
	r->will_commit = r->q->then_commit || r->q->verb == UPGRADE_ROLLBACK;
	r->op.from = r->info.committed;
	r->op.to = r->q->verb == UPGRADE_ROLLBACK ? r->q->generation : 0;
	r->op.who = str_c(o->who);
	r->op.command = str_c(o->command);
	r->op.started_ms = wall_ms(r);
	write_detail(r);
	return 0;
}

/* -- the timer ---------------------------------------------------------------------------------------------------- */

static int timer_changed(const struct run *r, struct err *e)
{
	const struct upgrade_services *s = r->o->services;
	return r->plain || !s || !s->timer_changed ? 0 : s->timer_changed(s->ctx, r->o->env, e);
}

static int arm_timer(struct run *r, struct err *e)
{
	struct timer_now now;
	int64_t length = r->q->timer_ms ? r->q->timer_ms : UPGRADE_TIMER_DEFAULT_MS;
	if (r->plain)
		return 0;
	if (timer_read(&now, e) < 0)
		return -1;
	r->op.timer = timer_arm(length, &now);
	tell(r, UPGRADE_EVENT_TIMER, length, false, "auto abort timer", NULL);
	return 0;
}

int64_t upgrade_timer_left_ms(struct env_state *st, struct env_hold *h, struct str env, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_operation op;
	struct timer_now now;
	int rc = env_operation_get(st, &a, env, &op, e);
	if (rc <= 0)
		return -1;
	if (timer_read(&now, e) < 0)
		return -1;
	if (h && timer_note(&op.timer, &now) && env_operation_put(h, &op, e) < 0)
		return -1;
	return timer_left_ms(&op.timer, &now);
}

/* -- going back --------------------------------------------------------------------------------------------------- */

/* What only came with this operation: of an added version that never ran nothing is kept. */
static int drop_added(struct run *r, struct err *e)
{
	struct err gone = ERR_INIT;
	if (!r->op.to || r->op.to == r->op.from || r->q->verb == UPGRADE_ROLLBACK) /* what one goes back to was there */
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
	struct env_opts o = switch_opts(r, false);
	bool switched = r->op.from && r->info.current != r->op.from;
	if (!was_activating(r))
		return drop_added(r, e) < 0 ? -1 : note_history(r, why, "done", r->op.from, r->op.from, e);
	if (switched && env_switch(r->o->hold, r->op.from, why, &o, e) < 0)
		return -1;
	if (r->op.from)
		r->info.current = r->op.from;
	if (!switched && note_history(r, why, "done", r->op.from, r->op.from, e) < 0)
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

static int is_unsettled(const struct run *r, struct err *e)
{
	err_ctx(e, "the next command that changes '%.*s' finishes it", STR_ARG(r->o->env));
	e->code = ERR_UNCERTAIN;
	return -1;
}

/* Carries an abort out whose state is on disk. Where it cannot be: a person must come. */
static int carry_abort(struct run *r, const char *why, struct err *e)
{
	struct env_operation_step s = begin_step(r, "install_abort");
	if (end_step(r, &s, read_all(r, e) < 0 ? -1 : go_back(r, why, e), e) < 0) {
		struct err second = ERR_INIT;
		(void)reach(r, OP_ABORT_STUCK, &second);
		err_ctx(e, "going back did not come to its end; 'slipway install abort issu -n %.*s' tries again",
			STR_ARG(r->o->env));
		e->code = ERR_UNCERTAIN;
		return -1;
	}
	if (checkpoint_forget(r, e) < 0 || end_operation(r, e) < 0)
		return is_unsettled(r, e);
	return timer_changed(r, e);
}

/* A step failed: back to the committed version; e stays what it was, with what became of it. */
static int fail(struct run *r, enum op_event v, struct err *e)
{
	struct err second = ERR_INIT;
	if (r->plain) {
		(void)drop_added(r, &second); /* else the next command does */
		return -1;
	}
	if (reach(r, v, &second) < 0 || carry_abort(r, "abort", &second) < 0) {
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

/* -- add, activate, commit ---------------------------------------------------------------------------------------- */

static int refuse_failed_checks(const struct run *r, bool activating, struct err *e)
{
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	auto_arena a = ARENA_INIT;
	struct upgrade_check *c;
	size_t n, failed = 0;
	if (upgrade_preflight(r->o, r->q, &a, &c, &n, e) < 0)
		return -1;
	if (activating)
		tell(r, UPGRADE_EVENT_STAGE, 0, false, "Initial System Level Sanity Check", NULL);
	for (size_t i = 0; i < n; i++) {
		tell(r, UPGRADE_EVENT_MEMBER, 0, !c[i].finding.n,
		     arena_printf(&a, "Verifying %.*s", STR_ARG(c[i].name)), NULL);
		if (!c[i].finding.n)
			continue;
		failed++;
		buf_printf(&b, "%s%.*s: %.*s; %.*s", b.n ? "\n  " : "", STR_ARG(c[i].name), STR_ARG(c[i].finding),
			   STR_ARG(c[i].cure));
	}
	if (failed)
		return err_new(e, ERR_FAILED, "%zu check%s failed, nothing changed\n  %s", failed,
			       failed == 1 ? "" : "s", b.p);
	if (activating)
		tell(r, UPGRADE_EVENT_FINISH, 0, true, "Initial System Level Sanity Check", NULL);
	return 0;
}

/* A plain change whose new version brings a component is none: its configuration and its state are looked after. */
static int look_again(struct run *r, struct err *e)
{
	int any = r->plain ? components_any(r, r->op.to, 0, e) : 0;
	if (any <= 0)
		return any;
	r->plain = false;
	return new_id(r, e);
}

static int lay_out(struct run *r, struct err *e)
{
	struct env_report report, *told = r->q->report;
	struct env_opts o = switch_opts(r, false);
	struct arena *a = told ? r->q->report_arena : &r->arena;
	o.operation = r->plain ? r->q->operation : NULL; /* its switch follows at once */
	if (env_lay_out(r->o->store, r->o->hold, r->q->plan, &o, a, told ? told : &report, e) < 0)
		return -1;
	r->op.to = told ? told->generation : report.generation;
	for (size_t i = 0; !told && i < report.notes_n; i++)
		run_note(r, "%.*s", STR_ARG(report.notes[i]));
	/* With its number: whoever finds the operation knows what to take away. */
	if (look_again(r, e) < 0 || save(r, e) < 0)
		return -1;
	o = switch_opts(r, false);
	return r->plain ? 0 : env_keep(r->o->hold, r->op.to, operation_word(r, "add"), &o, e);
}

static int add(struct run *r, struct err *e)
{
	enum op_state adding;
	if (machine_next(r->state, OP_DO_ADD, &adding, e) < 0 || begin_operation(r, e) < 0 ||
	    (!r->plain && refuse_failed_checks(r, false, e) < 0))
		return -1;
	r->begun = true;
	if ((r->q->prepare && r->q->prepare(r->q->prepare_ctx, e) < 0) || reach(r, OP_DO_ADD, e) < 0)
		return -1;
	struct env_operation_step s = begin_step(r, "Add");
	if (end_step(r, &s, lay_out(r, e), e) < 0 || reach(r, OP_ADD_DONE, e) < 0)
		return fail(r, OP_FAILURE, e);
	return 0;
}

static int carry_activate(struct run *r, struct err *e)
{
	struct env_opts o = switch_opts(r, !r->plain);
	if (!r->plain && (checkpoint_take(r, r->op.from, e) < 0 || config_update(r, r->op.from, r->op.to, e) < 0))
		return -1;
	if (env_switch(r->o->hold, r->op.to, operation_word(r, "activate"), &o, e) < 0)
		return -1;
	r->info.current = r->op.to;
	return r->plain ? 0 : services_move(r, r->op.from, r->op.to, e);
}

static int activate(struct run *r, struct err *e)
{
	enum op_event v = r->q->verb == UPGRADE_ROLLBACK ? OP_DO_ROLLBACK : OP_DO_ACTIVATE;
	enum op_state next;
	if (machine_next(r->state, v, &next, e) < 0 || (!r->plain && refuse_failed_checks(r, true, e) < 0) ||
	    arm_timer(r, e) < 0)
		return -1;
	if (reach(r, v, e) < 0) {
		r->op.timer = (struct env_timer){0};
		return -1;
	}
	if (timer_changed(r, e) < 0)
		return fail(r, OP_FAILURE, e);
	if (!r->plain)
		tell(r, UPGRADE_EVENT_STAGE, 1, false, "Installing software on Active", NULL);
	struct env_operation_step s = begin_step(r, "Activate");
	if (end_step(r, &s, carry_activate(r, e), e) < 0 || reach(r, OP_ACTIVATE_DONE, e) < 0)
		return fail(r, OP_FAILURE, e);
	return 0;
}

/* The intent is on disk: from here on it is only finished, never undone. */
static int carry_commit(struct run *r, struct err *e)
{
	struct env_opts o = switch_opts(r, false);
	if (r->plain) /* the switch has said so already */
		return end_operation(r, e);
	struct env_operation_step s = begin_step(r, "Commit");
	int rc = r->info.committed == r->info.current ? 0 : env_commit(r->o->hold, &o, e);
	if (end_step(r, &s, rc, e) < 0 || checkpoint_forget(r, e) < 0 || end_operation(r, e) < 0)
		return is_unsettled(r, e);
	return timer_changed(r, e);
}

static int commit(struct run *r, struct err *e)
{
	struct env_timer timer = r->op.timer;
	enum op_state next;
	if (machine_next(r->state, OP_DO_COMMIT, &next, e) < 0)
		return -1;
	r->op.timer = (struct env_timer){0};
	if (reach(r, OP_DO_COMMIT, e) == 0)
		return carry_commit(r, e);
	r->op.timer = timer;
	return -1;
}

/* The commit that was asked for in the same breath: without it the host goes back. */
static int commit_at_once(struct run *r, struct err *e)
{
	if (commit(r, e) == 0)
		return 0;
	return r->state == OP_ACTIVATED ? fail(r, OP_FAILURE, e) : -1;
}

/* -- the other verbs ---------------------------------------------------------------------------------------------- */

static int abort_operation(struct run *r, enum op_event v, struct err *e)
{
	if (r->state == OP_NONE) {
		run_note(r, "no install operation is in progress: nothing to %s", v == OP_DO_CLEAR ? "clear" : "abort");
		return 0;
	}
	if (reach(r, v, e) < 0)
		return -1;
	if (r->state == OP_COMMITTING)
		return carry_commit(r, e);
	return carry_abort(r, v == OP_TIMER_ENDED ? "auto-abort" : "abort", e);
}

/* With an operation under way it is an abort, and goes where that goes. */
static int refuse_other_rollback(const struct run *r, struct err *e)
{
	if (r->state == OP_NONE || !r->q->generation || r->q->generation == r->op.from)
		return 0;
	return err_new(e, ERR_FAILED,
		       "install rollback to %u is not possible in state '%s': abort or commit it first; "
		       "'slipway install abort issu' goes back to generation %u",
		       r->q->generation, op_state_name(r->state), r->op.from);
}

static int rollback(struct run *r, struct err *e)
{
	if (refuse_other_rollback(r, e) < 0)
		return -1;
	if (r->state != OP_NONE)
		return abort_operation(r, OP_DO_ROLLBACK, e);
	if (!r->q->generation || r->q->generation == r->info.current)
		return err_new(e, ERR_USAGE, "generation %u is the current one", r->q->generation);
	return begin_operation(r, e) < 0 || activate(r, e) < 0 || commit_at_once(r, e) < 0 ? -1 : 0;
}

static int stop_timer(struct run *r, struct err *e)
{
	if (machine_next(r->state, OP_DO_STOP_TIMER, &r->state, e) < 0)
		return -1;
	if (r->op.timer.stopped)
		return err_new(
			e, ERR_FAILED,
			"the auto-abort timer is stopped already; 'slipway install commit' keeps the new version");
	r->op.timer.stopped = true;
	if (save(r, e) < 0)
		return -1;
	r->begun = true;
	return note_history(r, "auto-abort-timer stop", "done", r->op.from, r->op.to, e) < 0 ? -1 : timer_changed(r, e);
}

static int remove_inactive(struct run *r, struct err *e)
{
	enum op_state next;
	uint32_t number = r->q->generation;
	if (machine_next(r->state, OP_DO_REMOVE, &next, e) < 0)
		return -1;
	/* What was added is inactive, and goes too. */
	bool goes_too = next == OP_ABORTING && (!number || number == r->op.to);
	if (goes_too && (reach(r, OP_DO_REMOVE, e) < 0 || carry_abort(r, "remove inactive", e) < 0))
		return -1;
	if (goes_too && number)
		return 0;
	r->begun = true;
	if (env_remove_generation(r->o->hold, number, e) == 0) {
		struct err ignored = ERR_INIT; /* what is gone is gone */
		(void)note_history(r, "remove inactive", "done", r->info.current, r->info.current, &ignored);
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
	return abort_operation(r, OP_DO_CLEAR, e);
}

/* What was added in the same breath goes where it cannot be activated. */
static int undo_add(struct run *r, struct err *e)
{
	struct err second = ERR_INIT;
	if (r->plain)
		return fail(r, OP_FAILURE, e);
	if (reach(r, OP_DO_ABORT, &second) < 0 || carry_abort(r, "abort", &second) < 0) {
		err_ctx(e, "%s", second.msg);
		e->code = ERR_UNCERTAIN;
	}
	return -1;
}

static int run_add(struct run *r, struct err *e)
{
	if (add(r, e) < 0)
		return -1;
	if (r->q->then_activate && activate(r, e) < 0)
		return r->state == OP_ADDED ? undo_add(r, e) : -1;
	return r->q->then_commit ? commit_at_once(r, e) : 0;
}

static int run_activate(struct run *r, struct err *e)
{
	return activate(r, e) < 0 || (r->q->then_commit && commit_at_once(r, e) < 0) ? -1 : 0;
}

static int run_abort(struct run *r, struct err *e)
{
	return abort_operation(r, r->q->by_timer ? OP_TIMER_ENDED : OP_DO_ABORT, e);
}

static const struct verb {
	const char *title, *word;
	enum op_event event;
	int (*run)(struct run *r, struct err *e);
} verbs[] = {
	[UPGRADE_ADD] = {"install_add", "add", OP_DO_ADD, run_add},
	[UPGRADE_ACTIVATE] = {"install_activate", "activate", OP_DO_ACTIVATE, run_activate},
	[UPGRADE_COMMIT] = {"install_commit", "commit", OP_DO_COMMIT, commit},
	[UPGRADE_ABORT] = {"install_abort", "abort", OP_DO_ABORT, run_abort},
	[UPGRADE_ROLLBACK] = {"install_rollback", "rollback", OP_DO_ROLLBACK, rollback},
	[UPGRADE_STOP_TIMER] = {"auto_abort_timer_stop", "auto-abort-timer stop", OP_DO_STOP_TIMER, stop_timer},
	[UPGRADE_REMOVE_INACTIVE] = {"install_remove", "remove inactive", OP_DO_REMOVE, remove_inactive},
	[UPGRADE_CLEAR] = {"clear_install_state", "clear install state", OP_DO_CLEAR, clear_state},
};

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
	if (!r->q->operation || r->state != OP_NONE || !(back || (r->q->verb == UPGRADE_ADD && r->q->then_commit)))
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
		(void)note_history(r, word, b.p, from, to, &ignored);
}

int upgrade_run(const struct upgrade_opts *o, const struct upgrade_request *q, struct err *e)
{
	struct run r = {.o = o, .q = q};
	int rc = read_all(&r, e);
	int plain = rc < 0 ? -1 : is_plain(&r, e);
	if (plain >= 0) {
		r.plain = plain;
		tell(&r, UPGRADE_EVENT_START, 0, false, title_of(q), NULL);
		rc = verbs[q->verb].run(&r, e);
		if (rc < 0 && !r.plain)
			note_failure(&r, e);
		tell(&r, UPGRADE_EVENT_END, 0, true, title_of(q), rc < 0 ? e : NULL);
	}
	arena_release(&r.arena);
	return plain < 0 ? -1 : rc;
}

int upgrade_may(const struct upgrade_opts *o, const struct upgrade_request *q, struct err *e)
{
	struct run r = {.o = o, .q = q};
	enum op_state next;
	int rc = read_all(&r, e);
	if (rc >= 0) {
		rc = refuse_other_rollback(&r, e) < 0 ? -1 : machine_next(r.state, verbs[q->verb].event, &next, e);
		if (rc < 0)
			note_failure(&r, e);
	}
	arena_release(&r.arena);
	return rc < 0 ? -1 : 0;
}

/* -- after a crash, and when the timer rings ------------------------------------------------------------------------ */

/* A one-shot that nobody is in the middle of any more goes back: it was to be whole, or not at all. */
static enum op_event settled_by(const struct run *r)
{
	if (r->op.one_shot && (r->state == OP_ADDED || (r->state == OP_ACTIVATED && r->will_commit)))
		return OP_DO_ABORT;
	return machine_settles(r->state);
}

static int settle(struct run *r, struct err *e)
{
	enum op_event v = settled_by(r);
	int64_t left = upgrade_timer_left_ms(r->o->state, r->o->hold, r->o->env, e);
	r->settled_by = "recovery";
	if (v == OP_EVENTS && left == 0 && r->state == OP_ACTIVATED) {
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
		return carry_commit(r, e) < 0 ? -1 : 1;
	return abort_operation(r, v, e) < 0 ? -1 : 1;
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
	int rc = read_all(&r, e);
	if (rc >= 0)
		rc = r.state == OP_NONE ? settle_rest(&r, e) : settle(&r, e);
	arena_release(&r.arena);
	return rc;
}
