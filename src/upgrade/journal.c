// SPDX-License-Identifier: Apache-2.0
/* What a request leaves on disk: its state before it is acted upon, its timer, its log, its lines of history. */
#include <sys/random.h>

#include "base/json.h"
#include "upgrade/run.h"

static int read_detail(struct run *r, struct err *e)
{
	const struct json *j = r->op.detail.n ? json_parse(&r->arena, r->op.detail, "state.db: operation", e) : NULL;
	r->transition = STR_NONE;
	if (!j)
		return r->op.detail.n ? -1 : 0;
	return json_opt_str(j, "transition", &r->transition, e) < 0 ||
			       json_opt_bool(j, "will_commit", &r->will_commit, e) < 0 ||
			       json_opt_bool(j, "paired", &r->paired, e) < 0 ||
			       json_opt_bool(j, "laid_out", &r->laid_out, e) < 0 ||
			       json_opt_bool(j, "timer_held", &r->timer_held, e) < 0
		       ? -1
		       : 0;
}

/* "Added -> Activated": what show issu state detail calls the state transition. */
static void write_detail(struct run *r)
{
	auto_buf b = BUF_INIT(4096);
	struct jw w = JW_INIT(&b, 0);
	struct str title = str_c(op_state_title(r->state));
	bool told = r->state == OP_ADDED || r->state == OP_STANDBY_ACTIVATED || r->state == OP_ACTIVATED;
	if (told && !str_ends(r->transition, title))
		r->transition = str_c(arena_printf(&r->arena, "%.*s%s%.*s", STR_ARG(r->transition),
						   r->transition.n ? " -> " : "", STR_ARG(title)));
	jw_object(&w);
	jw_kv_str(&w, "transition", r->transition);
	jw_kv_bool(&w, "will_commit", r->will_commit);
	jw_kv_bool(&w, "paired", r->paired);
	jw_kv_bool(&w, "laid_out", r->laid_out);
	jw_kv_bool(&w, "timer_held", r->timer_held);
	jw_object_end(&w);
	r->op.detail = arena_str(&r->arena, buf_str(&b));
}

int run_read(struct run *r, struct err *e)
{
	if (env_find(r->o->state, &r->arena, r->o->env, &r->info, e) < 0)
		return -1;
	int rc = env_operation_get(r->o->state, &r->arena, r->o->env, &r->op, e);
	r->state = OP_NONE;
	r->will_commit = r->paired = r->laid_out = r->timer_held = false;
	if (rc == 0)
		r->op = (struct env_operation){0};
	return rc <= 0 ? rc : read_detail(r, e) < 0 ? -1 : op_state_parse(r->op.state, &r->state, e);
}

int run_save(struct run *r, struct err *e)
{
	r->op.state = str_c(op_state_name(r->state));
	write_detail(r);
	return r->plain ? 0 : env_operation_put(r->o->hold, &r->op, e);
}

int run_reach(struct run *r, enum op_event v, struct err *e)
{
	enum op_state before = r->state;
	struct str transition = r->transition;
	if (machine_next(before, v, r->o->env, &r->state, e) < 0)
		return -1;
	if (run_save(r, e) < 0) {
		r->state = before;
		r->transition = transition;
		return -1;
	}
	r->begun = true;
	run_tell(r, UPGRADE_EVENT_STATE, r->state, true, op_state_title(r->state), NULL);
	return 0;
}

int run_reach_untimed(struct run *r, enum op_event v, struct err *e)
{
	struct env_timer before = r->op.timer;
	r->op.timer = (struct env_timer){0};
	if (run_reach(r, v, e) == 0)
		return 0;
	r->op.timer = before;
	return -1;
}

int run_end(struct run *r, struct err *e)
{
	r->state = OP_NONE;
	if (r->plain || !r->op.id.n)
		return 0;
	r->op.id = STR_NONE;
	return env_operation_end(r->o->hold, e);
}

struct env_operation_step run_begin_step(const struct run *r, const char *name)
{
	run_tell(r, UPGRADE_EVENT_BEGIN, 0, false, name, NULL);
	return (struct env_operation_step){.name = str_c(name), .started_ms = run_wall_ms(r)};
}

int run_end_step(const struct run *r, struct env_operation_step *s, int rc, struct err *e)
{
	struct err second = ERR_INIT;
	s->ended_ms = run_wall_ms(r);
	s->result = rc < 0 ? str_c(e->msg) : STR("passed");
	run_tell(r, UPGRADE_EVENT_FINISH, 0, true, s->name.p, rc < 0 ? e : NULL);
	if (!r->plain && env_operation_log(r->o->hold, r->op.id, s, &second) < 0 && rc == 0) {
		*e = second;
		return -1;
	}
	return rc;
}

/* A pair's is the same on both members. One that was heard of before would make it unknown how that one ended. */
static int take_id(struct run *r, struct err *e)
{
	static const char digits[] = "0123456789abcdef";
	struct str id = str_c(r->q->operation_id ? r->q->operation_id : ""), known;
	if (id.n != 32 || strspn(id.p, digits) != 32)
		return err_new(e, ERR_INPUT, "an operation of a pair is named by 32 hexadecimal digits, not by '%.*s'",
			       STR_ARG(str_head(id, 64)));
	if (upgrade_outcome(r->o->state, &r->arena, r->o->env, id, &known, e) < 0)
		return -1;
	if (!str_eq_c(known, "unknown"))
		return err_new(e, ERR_EXISTS, "operation %.*s is known here: %.*s", STR_ARG(id), STR_ARG(known));
	r->op.id = arena_str(&r->arena, id);
	r->paired = true;
	return 0;
}

int run_new_id(struct run *r, struct err *e)
{
	uint8_t bytes[16];
	auto_buf b = BUF_INIT(64);
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_sys(e, "make an operation's id");
	buf_put_hex(&b, bytes, sizeof(bytes));
	r->op.id = arena_str(&r->arena, buf_str(&b));
	return 0;
}

struct env_opts run_switch_opts(struct run *r, bool uncommitted)
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

int run_note_history(struct run *r, const char *operation, const char *result, uint32_t from, uint32_t to,
		     struct err *e)
{
	struct env_opts o = run_switch_opts(r, false);
	struct str line = STR_NONE, rest = str_c(result);
	(void)str_take_line(&rest, &line); /* checks list theirs below one another */
	const struct env_history_entry x = {
		.at_ms = run_wall_ms(r),
		.operation = str_c(operation),
		.command = str_c(o.command),
		.result = line,
		.from = from,
		.to = to,
		.who = str_c(o.who),
		.operation_id = r->op.id,
		.ended_ms = run_wall_ms(r),
	};
	return env_history_add(r->o->hold, &x, e);
}

int run_begin(struct run *r, struct err *e)
{
	const struct env_opts *o = &r->o->env_opts;
	if (r->q->paired ? take_id(r, e) < 0 : !r->plain && run_new_id(r, e) < 0)
		return -1;
	r->op.one_shot = r->q->then_activate || r->q->verb == UPGRADE_ROLLBACK;
	r->will_commit = r->q->then_commit || r->q->verb == UPGRADE_ROLLBACK;
	r->op.from = r->info.committed;
	r->op.to = r->q->verb == UPGRADE_ROLLBACK ? r->q->generation : 0;
	r->op.who = str_c(o->who);
	r->op.command = str_c(o->command);
	r->op.started_ms = run_wall_ms(r);
	return 0;
}

/* -- the timer ---------------------------------------------------------------------------------------------------- */

int run_timer_changed(const struct run *r, struct err *e)
{
	const struct upgrade_services *s = r->o->services;
	return r->plain || !s || !s->timer_changed ? 0 : s->timer_changed(s->ctx, r->o->env, e);
}

int run_arm_timer(struct run *r, struct err *e)
{
	struct timer_now now;
	int64_t length = r->q->timer_ms ? r->q->timer_ms : UPGRADE_TIMER_DEFAULT_MS;
	if (r->plain)
		return 0;
	if (timer_read(&now, e) < 0)
		return -1;
	r->op.timer = timer_arm(length, &now);
	if (r->q->verb != UPGRADE_ROLLBACK) /* that commits at once: it is for a crash */
		run_tell(r, UPGRADE_EVENT_TIMER, length, false, "auto abort timer", NULL);
	if (!r->o->services && !r->will_commit)
		run_note(
			r,
			"nothing rings this timer here: 'slipway agent' does; without it the next command that changes '%.*s' "
			"after the timer's end goes back",
			STR_ARG(r->o->env));
	return 0;
}

int run_hold_timer(struct run *r, struct err *e)
{
	struct timer_now now;
	if (timer_read(&now, e) < 0)
		return -1;
	int64_t left = timer_left_ms(&r->op.timer, &now);
	if (left < 0) /* a person has stopped it */
		return 0;
	r->op.timer.left_ms = left;
	r->op.timer.stopped = r->timer_held = true;
	return 0;
}

int run_let_timer_go_on(struct run *r, struct err *e)
{
	struct timer_now now;
	int64_t left = r->op.timer.left_ms;
	if (!r->timer_held)
		return 0;
	if (timer_read(&now, e) < 0)
		return -1;
	r->op.timer = timer_arm(left < UPGRADE_TIMER_LEAST_MS ? UPGRADE_TIMER_LEAST_MS : left, &now);
	r->timer_held = false;
	return 0;
}

int upgrade_timer_left(struct env_state *st, struct env_hold *h, struct str env, int64_t *ret_ms, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_operation op;
	struct timer_now now;
	int rc = env_operation_get(st, &a, env, &op, e);
	*ret_ms = -1;
	if (rc <= 0)
		return rc;
	if (timer_read(&now, e) < 0)
		return -1;
	if (h && timer_note(&op.timer, &now) && env_operation_put(h, &op, e) < 0)
		return -1;
	*ret_ms = timer_left_ms(&op.timer, &now);
	return *ret_ms >= 0;
}
