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
	if (rc == 0)
		r->op = (struct env_operation){0};
	return rc <= 0 ? rc : op_state_parse(r->op.state, &r->state, e);
}

static int save(struct run *r, struct err *e)
{
	r->op.state = str_c(op_state_name(r->state));
	return r->plain ? 0 : env_operation_put(r->o->hold, &r->op, e);
}

/* "Added -> Activated": what show issu state detail calls the state transition. */
static void add_transition(struct run *r)
{
	auto_buf b = BUF_INIT(4096);
	struct err ignored = ERR_INIT;
	struct str so_far = STR_NONE;
	const struct json *j = r->op.detail.n ? json_parse(&r->arena, r->op.detail, "operation", &ignored) : NULL;
	if (j)
		(void)json_opt_str(j, "transition", &so_far, &ignored);
	const char *text =
		arena_printf(&r->arena, "%.*s%s%s", STR_ARG(so_far), so_far.n ? " -> " : "", op_state_title(r->state));
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_c(&w, "transition", text);
	jw_object_end(&w);
	r->op.detail = arena_str(&r->arena, buf_str(&b));
}

/* An event of the machine's own: the state that it leads to is written. */
static int reach(struct run *r, enum op_event v, struct err *e)
{
	if (machine_next(r->state, v, &r->state, e) < 0)
		return -1;
	if (r->state == OP_ADDED || r->state == OP_ACTIVATED)
		add_transition(r);
	tell(r, UPGRADE_EVENT_STATE, r->state, true, op_state_title(r->state), NULL);
	return save(r, e);
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

static struct env_opts switch_opts(const struct run *r, bool uncommitted)
{
	struct env_opts o = r->o->env_opts;
	o.uncommitted = uncommitted;
	o.operation_id = r->op.id.n ? r->op.id.p : NULL;
	return o;
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
	r->op.one_shot = r->q->then_activate;
	r->op.from = r->info.committed;
	r->op.to = r->q->verb == UPGRADE_ROLLBACK ? r->q->generation : 0;
	r->op.who = str_c(o->who);
	r->op.command = str_c(o->command);
	r->op.started_ms = wall_ms(r);
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
	if (!r->op.to || r->op.to == r->op.from)
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
	if (!was_activating(r))
		return drop_added(r, e);
	if (r->op.from && r->info.current != r->op.from && env_switch(r->o->hold, r->op.from, why, &o, e) < 0)
		return -1;
	int wanted = checkpoint_wanted(r, e);
	if (wanted < 0 || (wanted && services_stop(r, r->op.to, e) < 0) || checkpoint_restore(r, e) < 0 ||
	    config_restore(r, e) < 0 || services_move(r, r->op.to, r->op.from, e) < 0)
		return -1;
	return r->op.from || !r->info.current ? 0 : env_remove(r->o->hold, &o, e); /* there was none before */
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
		return -1;
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

static int refuse_failed_checks(const struct run *r, struct err *e)
{
	auto_buf b = BUF_INIT(ERR_MSG_SIZE);
	auto_arena a = ARENA_INIT;
	struct upgrade_check *c;
	size_t n, failed = 0;
	if (upgrade_preflight(r->o, r->q, &a, &c, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		tell(r, UPGRADE_EVENT_MEMBER, 0, !c[i].finding.n,
		     arena_printf(&a, "Verifying %.*s", STR_ARG(c[i].name)), NULL);
		if (!c[i].finding.n)
			continue;
		failed++;
		buf_printf(&b, "%s%.*s: %.*s; %.*s", b.n ? "\n  " : "", STR_ARG(c[i].name), STR_ARG(c[i].finding),
			   STR_ARG(c[i].cure));
	}
	return failed ? err_new(e, ERR_FAILED, "%zu check%s failed, nothing changed\n  %s", failed,
				failed == 1 ? "" : "s", b.p)
		      : 0;
}

static int lay_out(struct run *r, struct err *e)
{
	struct env_report report;
	struct env_opts o = switch_opts(r, false);
	if (env_lay_out(r->o->store, r->o->hold, r->q->plan, &o, &r->arena, &report, e) < 0)
		return -1;
	r->op.to = report.generation;
	for (size_t i = 0; i < report.notes_n; i++)
		run_note(r, "%.*s", STR_ARG(report.notes[i]));
	if (save(r, e) < 0) /* with its number: whoever finds the operation knows what to take away */
		return -1;
	return r->plain ? 0 : env_keep(r->o->hold, report.generation, operation_word(r, "add"), &o, e);
}

static int add(struct run *r, struct err *e)
{
	if (machine_next(r->state, OP_DO_ADD, &r->state, e) < 0 || begin_operation(r, e) < 0 ||
	    refuse_failed_checks(r, e) < 0 || save(r, e) < 0)
		return -1;
	struct env_operation_step s = begin_step(r, "Add");
	if (end_step(r, &s, lay_out(r, e), e) < 0)
		return fail(r, OP_FAILURE, e);
	return reach(r, OP_ADD_DONE, e);
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
	bool added_now = r->q->verb == UPGRADE_ADD;
	enum op_event v = r->q->verb == UPGRADE_ROLLBACK ? OP_DO_ROLLBACK : OP_DO_ACTIVATE;
	if (!added_now && refuse_failed_checks(r, e) < 0)
		return -1;
	if (machine_next(r->state, v, &r->state, e) < 0 || arm_timer(r, e) < 0 || save(r, e) < 0 ||
	    timer_changed(r, e) < 0)
		return -1;
	struct env_operation_step s = begin_step(r, "Activate");
	if (end_step(r, &s, carry_activate(r, e), e) < 0)
		return fail(r, OP_FAILURE, e);
	return reach(r, OP_ACTIVATE_DONE, e);
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
		return -1;
	return timer_changed(r, e);
}

static int commit(struct run *r, struct err *e)
{
	if (machine_next(r->state, OP_DO_COMMIT, &r->state, e) < 0)
		return -1;
	r->op.timer = (struct env_timer){0};
	return save(r, e) < 0 ? -1 : carry_commit(r, e);
}

/* -- the other verbs ---------------------------------------------------------------------------------------------- */

static int abort_operation(struct run *r, enum op_event v, struct err *e)
{
	if (r->state == OP_NONE) {
		run_note(r, "no install operation is in progress: nothing to abort");
		return 0;
	}
	if (machine_next(r->state, v, &r->state, e) < 0)
		return -1;
	if (r->state == OP_COMMITTING)
		return carry_commit(r, e);
	return save(r, e) < 0 ? -1 : carry_abort(r, v == OP_TIMER_ENDED ? "auto-abort" : "abort", e);
}

/* Without a number: the one that ran before the current one. */
static int rollback(struct run *r, struct err *e)
{
	if (r->state != OP_NONE) {
		if (r->q->generation && r->q->generation != r->op.from)
			return err_new(
				e, ERR_FAILED,
				"install rollback to %u is not possible in state '%s': abort or commit it first; "
				"'slipway install abort issu' goes back to generation %u",
				r->q->generation, op_state_name(r->state), r->op.from);
		return abort_operation(r, OP_DO_ROLLBACK, e);
	}
	if (r->q->generation == r->info.current)
		return err_new(e, ERR_USAGE, "generation %u is the current one", r->q->generation);
	return begin_operation(r, e) < 0 || activate(r, e) < 0 || commit(r, e) < 0 ? -1 : 0;
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
	return save(r, e) < 0 ? -1 : timer_changed(r, e);
}

static int remove_inactive(struct run *r, struct err *e)
{
	if (machine_next(r->state, OP_DO_REMOVE, &r->state, e) < 0)
		return -1;
	if (r->state == OP_ABORTING) /* what was added is inactive */
		return save(r, e) < 0 ? -1 : carry_abort(r, "remove", e);
	return env_remove_generation(r->o->hold, r->q->generation, e);
}

static int clear_state(struct run *r, struct err *e)
{
	if (r->state == OP_NONE)
		return 0;
	return abort_operation(r, OP_DO_CLEAR, e);
}

static int run_add(struct run *r, struct err *e)
{
	if (add(r, e) < 0 || (r->q->then_activate && activate(r, e) < 0))
		return -1;
	return r->q->then_commit ? commit(r, e) : 0;
}

static int run_activate(struct run *r, struct err *e)
{
	return activate(r, e) < 0 || (r->q->then_commit && commit(r, e) < 0) ? -1 : 0;
}

static int run_abort(struct run *r, struct err *e)
{
	return abort_operation(r, r->q->by_timer ? OP_TIMER_ENDED : OP_DO_ABORT, e);
}

static const struct verb {
	const char *title;
	int (*run)(struct run *r, struct err *e);
} verbs[] = {
	[UPGRADE_ADD] = {"install_add", run_add},
	[UPGRADE_ACTIVATE] = {"install_activate", run_activate},
	[UPGRADE_COMMIT] = {"install_commit", commit},
	[UPGRADE_ABORT] = {"install_abort", run_abort},
	[UPGRADE_ROLLBACK] = {"install_rollback", rollback},
	[UPGRADE_STOP_TIMER] = {"auto_abort_timer_stop", stop_timer},
	[UPGRADE_REMOVE_INACTIVE] = {"install_remove", remove_inactive},
	[UPGRADE_CLEAR] = {"clear_install_state", clear_state},
};

static const char *title_of(const struct upgrade_request *q)
{
	if (q->verb == UPGRADE_ADD && q->then_activate)
		return q->then_commit ? "install_add_activate_commit" : "install_add_activate";
	return verbs[q->verb].title;
}

/* A one-shot change where no service runs has nothing that a crash could leave half done but the switch, which has its own journal. */
static int is_plain(const struct run *r, struct err *e)
{
	if (r->q->verb != UPGRADE_ADD || !r->q->then_commit || r->op.id.n)
		return 0;
	int any = services_any(r, r->info.current, 0, e);
	return any < 0 ? -1 : !any;
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
		tell(&r, UPGRADE_EVENT_END, 0, true, title_of(q), rc < 0 ? e : NULL);
	}
	arena_release(&r.arena);
	return plain < 0 ? -1 : rc;
}

/* -- after a crash, and when the timer rings ------------------------------------------------------------------------ */

static int settle(struct run *r, struct err *e)
{
	enum op_event v = machine_settles(r->state);
	int64_t left = upgrade_timer_left_ms(r->o->state, r->o->hold, r->o->env, e);
	if (v == OP_EVENTS && left == 0 && r->state == OP_ACTIVATED)
		v = OP_TIMER_ENDED;
	if (v == OP_EVENTS)
		return 0;
	run_note(r, "an operation was left in state '%s'", op_state_name(r->state));
	if (v == OP_DO_COMMIT)
		return carry_commit(r, e) < 0 ? -1 : 1;
	return abort_operation(r, v, e) < 0 ? -1 : 1;
}

int upgrade_settle(const struct upgrade_opts *o, struct err *e)
{
	static const struct upgrade_request nothing = {.verb = UPGRADE_ABORT};
	struct run r = {.o = o, .q = &nothing};
	int rc = read_all(&r, e);
	if (rc >= 0)
		rc = r.state == OP_NONE ? 0 : settle(&r, e);
	arena_release(&r.arena);
	return rc;
}
