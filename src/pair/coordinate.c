// SPDX-License-Identifier: Apache-2.0
/* The requests, each as its stages: which orders the two members get, in which sequence, and what follows where one fails. */
#include "pair/coordinate.h"

#include <stdio.h>
#include <sys/random.h>

#include "pair/reconcile.h"

static int64_t now_ms(const struct coordinator *k)
{
	const struct clock *c = k->clock ? k->clock : &clock_system;
	return c->wall_ms(c);
}

static void begin_part(struct coordinator *k, const char *name)
{
	k->part_started_ms = now_ms(k);
	coordinate_tell(k, UPGRADE_EVENT_BEGIN, 0, 0, false, name, NULL);
}

static int end_part(struct coordinator *k, const char *name, int rc, const struct err *e)
{
	coordinate_tell(k, UPGRADE_EVENT_FINISH, 0, 0, true, name, rc < 0 ? e : NULL);
	const struct env_operation_step s = {
		.name = str_c(arena_printf(&k->arena, "STAGE %d: %s", (int)k->stage, name)),
		.result = rc < 0 ? str_c(e->msg) : STR("passed"),
		.started_ms = k->part_started_ms,
		.ended_ms = now_ms(k),
	};
	if (k->id && k->stage >= 0)
		coordinate_log(k, &s);
	return rc;
}

static void begin_on(struct coordinator *k, uint32_t n, const char *name)
{
	coordinate_tell(k, UPGRADE_EVENT_MEMBER, n, 0, false, name, NULL);
}

static int end_on(struct coordinator *k, uint32_t n, const char *name, int rc, const struct err *e)
{
	coordinate_tell(k, UPGRADE_EVENT_MEMBER, n, 0, true, name, rc < 0 ? e : NULL);
	return rc;
}

static void stage(struct coordinator *k, int64_t number, const char *title)
{
	k->stage = number;
	coordinate_tell(k, UPGRADE_EVENT_STAGE, 0, number, false, title, NULL);
}

/* A step on one member as a part of its own. */
static int part_on(struct coordinator *k, uint32_t n, const char *name,
		   int (*work)(struct coordinator *, uint32_t, struct err *), struct err *e)
{
	begin_part(k, name);
	begin_on(k, n, name);
	int rc = work(k, n, e);
	end_on(k, n, name, rc, e);
	return end_part(k, name, rc, e);
}

/* Something has changed: e becomes what is left of it. */
static int failed(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	static const char name[] = "install_abort";
	const struct coordinate_back b = {.keep_state = q->keep_state, .step = name};
	struct err second = ERR_INIT;
	k->stage = -1;
	begin_part(k, name);
	int rc = coordinate_go_back(k, &b, &second);
	end_part(k, name, rc, &second);
	if (rc == 0) {
		err_ctx(e, "undone on both members");
		e->code = ERR_ROLLED_BACK;
		return -1;
	}
	auto_free char *cause = xstrdup(e->msg);
	err_new(e, second.code, "%s; %s", cause, second.msg);
	return -1;
}

/* -- add ------------------------------------------------------------------------------------------------------------ */

static int new_id(struct coordinator *k, struct err *e)
{
	uint8_t bytes[16];
	auto_buf b = BUF_INIT(64);
	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_sys(e, "make an operation's id");
	buf_put_hex(&b, bytes, sizeof(bytes));
	k->id = arena_strdup(&k->arena, buf_str(&b));
	return 0;
}

static int copy_to_other(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	static const char name[] = "initial file syncing";
	uint32_t other = 3 - k->self;
	begin_part(k, name);
	coordinate_tell(k, UPGRADE_EVENT_NOTE, k->self, 0, false,
			arena_printf(&k->arena, "Copying %u package(s) from member %u to member %u",
				     q->plan->target.packages_n, k->self, other),
			NULL);
	int rc = k->m[other]->ops->copy(k->m[other], &q->plan->target, k->store, e);
	if (rc < 0 && e->code == ERR_NETWORK)
		coordinate_lose(k, other, e);
	if (rc < 0) {
		coordinate_unname(other, e);
		return end_part(k, name, err_ctx(e, "copy to member %u", other), e);
	}
	coordinate_tell(k, UPGRADE_EVENT_NOTE, other, 0, false,
			arena_printf(&k->arena, "Finished copying to member %u", other), NULL);
	return end_part(k, name, 0, e);
}

static int add_on(struct coordinator *k, const struct upgrade_request *q, uint32_t n, struct err *e)
{
	struct upgrade_request r = *q;
	r.verb = UPGRADE_ADD;
	r.prepare = NULL; /* it is in both stores */
	r.paired = true;
	r.operation_id = k->id;
	if (n != k->self)
		r.report = NULL;
	begin_on(k, n, "Add");
	return end_on(k, n, "Add", coordinate_order(k, n, &r, e), e);
}

static int add_on_both(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	auto_buf passed = BUF_INIT(64), not_passed = BUF_INIT(64);
	begin_part(k, "Add");
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct err why = ERR_INIT;
		int rc = add_on(k, q, n, &why);
		struct buf *b = rc < 0 ? &not_passed : &passed;
		buf_printf(b, "%s%u", b->n ? " " : "", n);
		if (rc < 0 && !e->code)
			*e = why;
	}
	if (passed.n && not_passed.n)
		err_ctx(e, "Add: Passed on [%s]. Failed on [%s]", passed.p, not_passed.p);
	return end_part(k, "Add", not_passed.n ? -1 : 0, e);
}

static int add(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	if (coordinate_sanity(k, q, e) < 0 || (q->prepare && q->prepare(q->prepare_ctx, e) < 0) ||
	    copy_to_other(k, q, e) < 0 || new_id(k, e) < 0)
		return -1;
	if (add_on_both(k, q, e) == 0)
		return 0;
	failed(k, q, e);
	if (e->code == ERR_ROLLED_BACK)
		e->code = ERR_FAILED; /* nothing that ran has changed */
	return -1;
}

/* -- activate ------------------------------------------------------------------------------------------------------- */

/* Both, before anything changes on either. Who is active when it is over rings first, the other one only where that one did not. */
static int arm(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	int64_t length_ms = q->timer_ms ? q->timer_ms : UPGRADE_TIMER_DEFAULT_MS;
	struct upgrade_request r = {.verb = UPGRADE_ARM, .issu = q->issu, .operation_id = k->id};
	r.timer_ms = length_ms + COORDINATE_LATER_MS;
	if (coordinate_order(k, k->role.active, &r, e) < 0)
		return -1;
	r.timer_ms = length_ms;
	if (coordinate_order(k, coordinate_standby(k), &r, e) < 0)
		return -1;
	if (!k->rolls_back)
		coordinate_tell(k, UPGRADE_EVENT_TIMER, 0, length_ms, false, "auto abort timer", NULL);
	return 0;
}

static int install_remote(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	uint32_t n = coordinate_standby(k);
	stage(k, 1, "Installing software on Standby");
	begin_part(k, "install_remote");
	begin_on(k, n, "install_remote");
	int rc = arm(k, q, e);
	end_on(k, n, "install_remote", rc, e);
	return end_part(k, "install_remote", rc, e);
}

static int restart(struct coordinator *k, uint32_t n, struct err *e)
{
	return coordinate_step(k, n, UPGRADE_ACTIVATE, e);
}

static int restart_standby(struct coordinator *k, struct err *e)
{
	uint32_t n = coordinate_standby(k);
	stage(k, 2, "Restarting Standby");
	begin_part(k, "standby reload");
	int rc = coordinate_traffic(k, TRAFFIC_DRAIN, n, e) < 0 ? -1 : restart(k, n, e);
	if (end_part(k, "standby reload", rc, e) < 0)
		return -1;
	begin_part(k, "wait for Standby to reach terminal redundancy state");
	rc = coordinate_wait_healthy(k, n, e) < 0 ? -1 : coordinate_traffic(k, TRAFFIC_READY, n, e);
	return end_part(k, "wait for Standby to reach terminal redundancy state", rc, e);
}

static int install_active(struct coordinator *k, uint32_t n, struct err *e)
{
	return coordinate_step(k, n, UPGRADE_STANDBY_DONE, e);
}

static int restart_active(struct coordinator *k, uint32_t was_active, struct err *e)
{
	uint32_t to = 3 - was_active;
	stage(k, 4, "Restarting Active (switchover to standby)");
	begin_part(k, "active reload");
	int rc = coordinate_traffic(k, TRAFFIC_ACTIVE, to, e) < 0 ||
				 (k->moves_traffic && coordinate_switch_over(k, to, "install activate", e) < 0) ||
				 /* where both answer, being active alone says nothing of the other one */
				 coordinate_traffic(k, TRAFFIC_DRAIN, was_active, e) < 0 ||
				 restart(k, was_active, e) < 0 || coordinate_wait_healthy(k, was_active, e) < 0 ||
				 coordinate_traffic(k, TRAFFIC_READY, was_active, e) < 0
			 ? -1
			 : 0;
	return end_part(k, "active reload", rc, e);
}

static int stages(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	uint32_t active = k->role.active;
	if (install_remote(k, q, e) < 0)
		return -1;
	if (restart_standby(k, e) < 0) {
		coordinate_standby_failed(k);
		return -1;
	}
	stage(k, 3, "Installing software on Active");
	return part_on(k, active, "install_active", install_active, e) < 0 || restart_active(k, active, e) < 0 ? -1 : 0;
}

static int activate(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	if (coordinate_sanity(k, q, e) < 0)
		return -1;
	k->id = arena_strdup(&k->arena, k->st[1].operation_id);
	bool idle = k->st[1].idle && k->st[2].idle;
	if (q->issu && idle)
		coordinate_note(k, "nothing of '%.*s' runs on either member yet: no traffic is moved", STR_ARG(k->env));
	k->moves_traffic = q->issu && !idle;
	int rc = stages(k, q, e) < 0 ? failed(k, q, e) : 0;
	k->moves_traffic = false;
	return rc;
}

/* -- commit --------------------------------------------------------------------------------------------------------- */

/* What an order to decide that failed has left: the disk may have it all the same. 1: it is decided, and that stands; 0: it is not. */
static int is_decided(struct coordinator *k, uint32_t active, struct err *e)
{
	enum phase p;
	if (coordinate_look(k, active, e) < 0 || phase_parse(k->st[active].state, &p, e) < 0)
		return -1;
	return p == PHASE_COMMITTING;
}

static int decide(struct coordinator *k, uint32_t active, struct err *e)
{
	struct err second = ERR_INIT;
	uint32_t standby = 3 - active;
	if (coordinate_step(k, standby, UPGRADE_PREPARE, e) < 0)
		return coordinate_reaches(k, standby) ? -1 : coordinate_uncertain(k, e);
	if (coordinate_step(k, active, UPGRADE_DECIDE, e) == 0)
		return 0;
	int decided = is_decided(k, active, &second);
	if (decided < 0 || (!decided && coordinate_step(k, standby, UPGRADE_WITHDRAW, &second) < 0))
		return coordinate_uncertain(k, e);
	if (!decided)
		return err_ctx(e, "nothing is committed");
	coordinate_note(k, "%s; it is decided all the same", e->msg);
	*e = ERR_INIT;
	return 0;
}

static int commit_remote(struct coordinator *k, uint32_t standby, struct err *e)
{
	return coordinate_step(k, standby, UPGRADE_COMMIT, e);
}

static int commit(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	struct upgrade_request r = *q;
	uint32_t active = k->role.active, standby = coordinate_standby(k);
	r.verb = UPGRADE_COMMIT;
	k->stage = 0;
	if (coordinate_sanity(k, &r, e) < 0)
		return -1;
	k->id = arena_strdup(&k->arena, k->st[1].operation_id);
	if (part_on(k, active, arena_printf(&k->arena, "install_commit_%u", active), decide, e) < 0)
		return -1;
	stage(k, 1, "Dispatching the commit command to remote");
	if (part_on(k, standby, "install_commit_remote", commit_remote, e) < 0 ||
	    coordinate_step(k, active, UPGRADE_COMMIT, e) < 0) {
		err_ctx(e, "the commit is decided and not finished");
		return coordinate_uncertain(k, e);
	}
	return 0;
}

/* The commit that was asked for in the same breath: without it both go back. */
static int commit_at_once(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	if (commit(k, q, e) == 0)
		return 0;
	return e->code == ERR_UNCERTAIN ? -1 : failed(k, q, e);
}

static int run_add(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	struct upgrade_request r = *q;
	if (add(k, q, e) < 0)
		return -1;
	if (!q->then_activate)
		return 0;
	coordinate_note(k, "Going to start Oneshot ISSU install process");
	r.verb = UPGRADE_ACTIVATE;
	if (activate(k, &r, e) < 0) {
		if (e->code == ERR_ROLLED_BACK || e->code == ERR_UNCERTAIN) /* it is undone, or cannot be */
			return -1;
		failed(k, q, e);
		e->code = e->code == ERR_ROLLED_BACK ? ERR_FAILED : e->code;
		return -1;
	}
	return q->then_commit ? commit_at_once(k, q, e) : 0;
}

static int run_activate(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	coordinate_note(k, "Going to start Activate ISSU install process");
	return activate(k, q, e) < 0 || (q->then_commit && commit_at_once(k, q, e) < 0) ? -1 : 0;
}

static int run_commit(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	coordinate_note(k, "Going to start Commit ISSU install process");
	return commit(k, q, e);
}

/* -- abort, clear --------------------------------------------------------------------------------------------------- */

static bool is_at_rest(struct coordinator *k)
{
	bool rest = true;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct err ignored = ERR_INIT;
		if (coordinate_look(k, n, &ignored) == 0)
			rest &= str_eq(k->st[n].state, STR("none"));
	}
	return rest;
}

/* An operation that is over on one member is brought to its end on the other by the agent there, which asks what became of it. */
static int tell_nothing(struct coordinator *k)
{
	uint32_t other = 3 - k->self;
	if (coordinate_reaches(k, other))
		coordinate_note(k, "no install operation is in progress on either member: nothing to abort");
	else
		coordinate_note(
			k,
			"no install operation is in progress on member %u: nothing to abort; member %u could not be "
			"asked (%.*s): if it is in the middle of one, it goes back when it reaches this one",
			k->self, other, STR_ARG(k->why[other]));
	return 0;
}

static int run_abort(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	static const char name[] = "install_abort";
	const struct coordinate_back b = {.keep_state = q->keep_state, .by_timer = q->by_timer, .step = name};
	if (is_at_rest(k))
		return tell_nothing(k);
	coordinate_note(k, "Going to start Abort ISSU install process");
	begin_part(k, name);
	int rc = coordinate_go_back(k, &b, e);
	return end_part(k, name, rc, e);
}

/* When the same command was given before and failed on the other one. */
static bool is_done_on(struct coordinator *k, uint32_t n, const struct upgrade_request *q)
{
	struct err ignored = ERR_INIT;
	return q->verb == UPGRADE_STOP_TIMER && coordinate_look(k, n, &ignored) == 0 &&
	       str_eq(k->st[n].state, STR("activated")) && k->st[n].timer_left_ms < 0;
}

/* The same order for both; a failure on one is told with what the two are left with, and the command that goes on. */
static int on_both(struct coordinator *k, const struct upgrade_request *q, const char *name, const char *again,
		   struct err *e)
{
	bool any = false, done[PAIR_MEMBERS + 1] = {false};
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		done[n] = is_done_on(k, n, q);
	begin_part(k, name);
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct upgrade_request r = *q;
		struct err why = ERR_INIT;
		if (done[n] && !done[3 - n])
			continue;
		begin_on(k, n, name);
		int rc = coordinate_order(k, n, &r, &why);
		end_on(k, n, name, rc, &why);
		any |= rc == 0;
		if (rc == 0)
			continue;
		*e = e->code ? *e : why;
		if (!any && why.code != ERR_UNCERTAIN && coordinate_reaches(k, n)) /* nothing has been done yet */
			return end_part(k, name, -1, e);
	}
	k->again = again;
	end_part(k, name, e->code ? -1 : 0, e);
	return e->code ? coordinate_uncertain(k, e) : 0;
}

static int run_clear(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	return on_both(k, q, "clear_install_state", "clear install state", e);
}

static int run_stop_timer(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	bool both = true;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		both = is_done_on(k, n, q) && both;
	if (both) {
		coordinate_note(
			k,
			"the auto-abort timer is stopped already on both members; 'slipway install commit -n %.*s' keeps "
			"the new version",
			STR_ARG(k->env));
		return 0;
	}
	return on_both(k, q, "auto_abort_timer_stop", "install auto-abort-timer stop", e);
}

static int run_remove(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	if (!q->generation)
		return on_both(k, q, "install_remove", "install remove inactive", e);
	coordinate_note(k, "generation %u is one of member %u alone: each member numbers its own", q->generation,
			k->self);
	return coordinate_order(k, k->self, q, e) < 0 || coordinate_settle(k, (struct coordinate_one_shot){0}, e) < 0
		       ? -1
		       : 0;
}

/* With nothing under way it is a version like any other, by its recipe. */
static int run_rollback(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	struct upgrade_request r = *q;
	if (!is_at_rest(k))
		return run_abort(k, q, e);
	if (!q->plan)
		return err_new(e, ERR_USAGE, "rollback to generation %u: its recipe is needed", q->generation);
	k->rolls_back = true;
	r.verb = UPGRADE_ADD;
	r.then_activate = r.then_commit = true;
	r.operation = "rollback"; /* so that the next one knows what this generation stands for */
	return run_add(k, &r, e);
}

/* -- which ---------------------------------------------------------------------------------------------------------- */

static const struct verb {
	const char *title;
	bool alone; /* also on one member that no other answers */
	int (*run)(struct coordinator *k, const struct upgrade_request *q, struct err *e);
} verbs[] = {
	[UPGRADE_ADD] = {"install_add", false, run_add},
	[UPGRADE_ACTIVATE] = {"install_activate", false, run_activate},
	[UPGRADE_COMMIT] = {"install_commit", false, run_commit},
	[UPGRADE_ABORT] = {"install_abort", true, run_abort},
	[UPGRADE_ROLLBACK] = {"install_rollback", false, run_rollback},
	[UPGRADE_STOP_TIMER] = {"auto_abort_timer_stop", false, run_stop_timer},
	[UPGRADE_REMOVE_INACTIVE] = {"install_remove", false, run_remove},
	[UPGRADE_CLEAR] = {"clear_install_state", false, run_clear},
};

static const char *title_of(const struct upgrade_request *q)
{
	if (q->verb == UPGRADE_ADD && q->then_activate)
		return q->then_commit ? "install_add_activate_commit" : "install_add_activate";
	return verbs[q->verb].title;
}

static int refuse_alone(const struct coordinator *k, const struct verb *v, struct err *e)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS && !v->alone; n++)
		if (!coordinate_reaches(k, n))
			return err_new(
				e, ERR_NETWORK,
				"member %u does not answer: %.*s; nothing changed; only 'slipway install abort issu "
				"-n %.*s' is possible without it",
				n, STR_ARG(k->why[n]), STR_ARG(k->env));
	return 0;
}

/* Before anything else is done: what was added in the same breath is not undone because somebody else moves it just now. */
static bool will_move_traffic(const struct upgrade_request *q)
{
	return q->issu && (q->verb == UPGRADE_ACTIVATE || q->verb == UPGRADE_ROLLBACK ||
			   (q->verb == UPGRADE_ADD && q->then_activate));
}

int coordinate_run(struct coordinator *k, const struct upgrade_request *q, struct err *e)
{
	if (q->verb >= sizeof(verbs) / sizeof(*verbs))
		return err_new(e, ERR_USAGE, "this is an order to one member, and no request to a pair");
	const struct verb *v = &verbs[q->verb];
	k->stage = -1;
	coordinate_tell(k, UPGRADE_EVENT_START, 0, 0, false, title_of(q), NULL);
	int rc = coordinate_begin(k, e) < 0 || refuse_alone(k, v, e) < 0 ||
				 (will_move_traffic(q) && coordinate_hold_roles(k, k->role_wait_ms, e) < 0)
			 ? -1
			 : v->run(k, q, e);
	coordinate_tell(k, UPGRADE_EVENT_END, 0, 0, true, title_of(q), rc < 0 ? e : NULL);
	return rc;
}
