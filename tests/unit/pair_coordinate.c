// SPDX-License-Identifier: Apache-2.0
/*
 * A request on two members that pretend: every call fails in turn, and the other member is lost, and the coordinator dies, before, in
 * the middle of and after every call of every verb, from either member. Then the link is back and the two are settled.
 */
#include "lib/test.h"

#include "pair/coordinate.h"
#include "pair/reconcile.h"

/* -- two members that pretend --------------------------------------------------------------------------------------- */

enum fault { NO_FAULT, FAIL, LOST_BEFORE, LOST_HALFWAY, LOST_AFTER, DEAD_BEFORE, DEAD_HALFWAY, DEAD_AFTER, FAULTS };
struct fake {
	struct member m;
	struct world *w;
	enum phase phase;
	enum phase outcome; /* of the operation `id`, once it is over */
	char id[33];
	unsigned current, committed; /* versions */
	bool timer, timer_ended, one_shot, sick, drained, removed;
	struct pair_role role;
};
struct world {
	struct fake f[PAIR_MEMBERS + 1];
	unsigned calls, at;
	enum fault fault;
	bool dead;
	uint32_t lost; /* a number */
	struct buf log, told;
	struct err err;
	unsigned sick_version;
	bool role_busy;
	bool role_damaged[PAIR_MEMBERS + 1]; /* until it is written */
	uint32_t active_when_held;	     /* moved meanwhile, for another environment */
	bool keeps_decision;		     /* an order to decide fails, and is on disk */
	bool leaves_files;		     /* one to remove, on member 1 */
};

enum gate { GO, REFUSE, HALF, GO_AND_LOSE, VANISH };

/* What becomes of this call. */
static enum gate gate(struct fake *f, struct err *e)
{
	struct world *w = f->w;
	bool now = w->calls++ == w->at;
	if (now && w->fault >= LOST_BEFORE && w->fault <= LOST_AFTER)
		w->lost = f->m.local ? 3 - f->m.number : f->m.number;
	if (now && w->fault >= DEAD_BEFORE)
		w->dead = true;
	if (!now && w->dead) {
		err_new(e, ERR_FAILED, "dead");
		return VANISH;
	}
	if (now && w->fault == FAIL) {
		err_new(e, ERR_FAILED, "call %u fails", w->at);
		return REFUSE;
	}
	if (now && w->fault >= DEAD_BEFORE)
		return w->fault == DEAD_BEFORE	  ? (err_new(e, ERR_FAILED, "dead"), VANISH)
		       : w->fault == DEAD_HALFWAY ? HALF
						  : GO;
	if (w->lost != f->m.number)
		return GO;
	err_new(e, ERR_NETWORK, "cut off");
	if (!now || w->fault == LOST_BEFORE)
		return VANISH;
	return w->fault == LOST_HALFWAY ? HALF : GO_AND_LOSE;
}

static const char *arena_text(struct arena *a, unsigned version)
{
	return version ? arena_printf(a, "web %u", version) : "";
}

static int fake_look(struct member *m, struct arena *a, struct str env, struct pair_member_status *ret, struct err *e)
{
	struct fake *f = (struct fake *)m;
	(void)env;
	switch (gate(f, e)) {
	case GO:
		break;
	case REFUSE:
	case HALF:
	case GO_AND_LOSE:
	case VANISH:
		return -1;
	}
	*ret = (struct pair_member_status){
		.number = m->number,
		.local = m->local,
		.reachable = true,
		.agent_version = STR("1.0"),
		.running_version = str_c(arena_text(a, f->current)),
		.state = str_c(phase_name(f->phase)),
		.operation_id = f->phase == PHASE_NONE ? STR_NONE : str_c(arena_strdup(a, str_c(f->id))),
		.current = f->current,
		.committed = f->committed,
		.managed = true,
		.autostart = true,
		.healthy = !f->sick,
		.unhealthy = f->sick ? STR("web: sick") : STR_NONE,
		.timer_left_ms = !f->timer	  ? -1
				 : f->timer_ended ? 0
						  : 1000,
	};
	return 0;
}

static int fake_outcome(struct member *m, struct arena *a, struct str env, struct str id, struct str *ret,
			bool *ret_held, struct err *e)
{
	struct fake *f = (struct fake *)m;
	(void)a, (void)env;
	*ret_held = true;
	if (gate(f, e) != GO)
		return -1;
	bool same = str_eq_c(id, f->id);
	*ret = str_c(phase_name(!same ? PHASE_UNKNOWN : f->phase == PHASE_NONE ? f->outcome : f->phase));
	return 0;
}

static int fake_hold(struct member *m, struct str env, int64_t wait_ms, struct err *e)
{
	(void)m, (void)env, (void)wait_ms, (void)e;
	return 0;
}

static void fake_release(struct member *m)
{
	(void)m;
}

static int fake_preflight(struct member *m, const struct upgrade_request *q, struct arena *a,
			  struct upgrade_check **ret, size_t *ret_n, struct err *e)
{
	static struct upgrade_check passed[] = {{.name = STR("managed environment")}, {.name = STR("space")}};
	(void)q, (void)a;
	if (gate((struct fake *)m, e) != GO)
		return -1;
	*ret = passed;
	*ret_n = 2;
	return 0;
}

static int fake_copy(struct member *m, const struct env_spec_file *lock, struct store *from, struct err *e)
{
	(void)lock, (void)from;
	CHECK(!m->local);
	return gate((struct fake *)m, e) == GO ? 0 : -1;
}

static void over(struct fake *f, enum phase outcome)
{
	f->phase = PHASE_NONE;
	f->outcome = outcome;
	f->timer = f->timer_ended = false;
	if (outcome == PHASE_ABORTED)
		f->current = f->committed;
	else
		f->committed = f->current;
}

static int refused(const struct fake *f, const struct upgrade_request *q, struct err *e)
{
	return err_new(e, ERR_FAILED, "verb %d is not possible in state '%s'", q->verb, phase_name(f->phase));
}

static bool is_in(enum phase p, uint32_t set)
{
	return set >> p & 1;
}

/* As section 7 of upgrade.h has it; the -ing states are on disk where it ends in the middle. */
static int carry_out(struct fake *f, const struct upgrade_request *q, bool half, bool fails, struct err *e)
{
	static const struct {
		uint32_t from;
		enum phase half, to;
	} steps[] = {
		[UPGRADE_ADD] = {1 << PHASE_NONE, PHASE_ADDING, PHASE_ADDED},
		[UPGRADE_ARM] = {1 << PHASE_ADDED, PHASE_ADDED, PHASE_ACTIVATING},
		[UPGRADE_STANDBY_DONE] = {1 << PHASE_ACTIVATING, PHASE_ACTIVATING, PHASE_STANDBY_ACTIVATED},
		[UPGRADE_ACTIVATE] = {1 << PHASE_ACTIVATING | 1 << PHASE_STANDBY_ACTIVATED, PHASE_ACTIVATING,
				      PHASE_ACTIVATED},
		[UPGRADE_PREPARE] = {1 << PHASE_ACTIVATED, PHASE_ACTIVATED, PHASE_PREPARED},
		[UPGRADE_WITHDRAW] = {1 << PHASE_PREPARED, PHASE_PREPARED, PHASE_ACTIVATED},
		[UPGRADE_DECIDE] = {1 << PHASE_ACTIVATED, PHASE_ACTIVATED, PHASE_COMMITTING},
		[UPGRADE_COMMIT] = {1 << PHASE_PREPARED | 1 << PHASE_COMMITTING, PHASE_COMMITTING, PHASE_NONE},
		[UPGRADE_ABORT] = {(1 << PHASE_STATES) - 1 - (1 << PHASE_COMMITTING), PHASE_ABORTING, PHASE_NONE},
		[UPGRADE_CLEAR] = {1 << PHASE_NONE | 1 << PHASE_ADDED | 1 << PHASE_ABORTING, PHASE_ABORTING,
				   PHASE_NONE},
		[UPGRADE_STOP_TIMER] = {1 << PHASE_ACTIVATED, PHASE_ACTIVATED, PHASE_ACTIVATED},
		[UPGRADE_REMOVE_INACTIVE] = {1 << PHASE_NONE, PHASE_NONE, PHASE_NONE},
	};
	enum phase before = f->phase;
	if (!is_in(f->phase, steps[q->verb].from))
		return refused(f, q, e);
	if (q->verb == UPGRADE_ADD) {
		CHECK(q->paired && q->operation_id);
		snprintf(f->id, sizeof(f->id), "%s", q->operation_id);
		f->one_shot = q->then_commit;
	} else if (q->operation_id && f->phase != PHASE_NONE) {
		CHECK_STR(q->operation_id, f->id);
	}
	if (fails) { /* what it began, it undoes */
		if (q->verb == UPGRADE_ADD || q->verb == UPGRADE_ACTIVATE)
			over(f, PHASE_ABORTED);
		return err_new(e, ERR_FAILED, "fails");
	}
	bool nothing = before == PHASE_NONE && q->verb != UPGRADE_ADD;
	f->phase = nothing ? PHASE_NONE : half ? steps[q->verb].half : steps[q->verb].to;
	if (q->verb == UPGRADE_ACTIVATE)
		f->current = f->committed + 1;
	if (q->verb == UPGRADE_ARM && !half)
		f->timer = true;
	if (q->verb == UPGRADE_STOP_TIMER && !half)
		f->timer = false;
	f->removed |= q->verb == UPGRADE_REMOVE_INACTIVE;
	if (f->phase == PHASE_NONE && !nothing)
		over(f, q->verb == UPGRADE_COMMIT ? PHASE_COMMITTED : PHASE_ABORTED);
	return 0;
}

static const char *verb_name(enum upgrade_verb v)
{
	switch (v) {
	case UPGRADE_ADD:
		return "add";
	case UPGRADE_ARM:
		return "arm";
	case UPGRADE_STANDBY_DONE:
		return "standby-done";
	case UPGRADE_ACTIVATE:
		return "activate";
	case UPGRADE_PREPARE:
		return "prepare";
	case UPGRADE_WITHDRAW:
		return "withdraw";
	case UPGRADE_DECIDE:
		return "decide";
	case UPGRADE_COMMIT:
		return "commit";
	case UPGRADE_ABORT:
		return "abort";
	case UPGRADE_CLEAR:
		return "clear";
	case UPGRADE_STOP_TIMER:
		return "stop-timer";
	case UPGRADE_REMOVE_INACTIVE:
		return "remove";
	case UPGRADE_ROLLBACK:
		break;
	}
	return "?";
}

static int fake_run(struct member *m, const struct upgrade_request *q, struct err *e)
{
	struct fake *f = (struct fake *)m;
	struct err ignored = ERR_INIT;
	enum gate g = gate(f, e);
	bool sick = q->verb == UPGRADE_ACTIVATE && f->w->sick_version == f->committed + 1 &&
		    (g == GO || g == GO_AND_LOSE);
	if (g != VANISH)
		buf_printf(&f->w->log, "%s %u;", verb_name(q->verb), m->number);
	switch (g) {
	case GO:
		if (carry_out(f, q, false, sick, e) < 0)
			return -1;
		if (q->verb == UPGRADE_REMOVE_INACTIVE && f->w->leaves_files && m->number == 1)
			return err_new(e, ERR_UNCERTAIN, "files are left");
		return q->verb == UPGRADE_DECIDE && f->w->keeps_decision ? err_new(e, ERR_FAILED, "decide fails") : 0;
	case REFUSE:
		return carry_out(f, q, false, true, &ignored), -1;
	case HALF:
		(void)carry_out(f, q, true, false, &ignored);
		err_new(e, f->w->dead ? ERR_FAILED : ERR_NETWORK, "cut off halfway");
		return -1;
	case GO_AND_LOSE:
		(void)carry_out(f, q, false, sick, &ignored);
		return -1;
	case VANISH:
		break;
	}
	return -1;
}

static int fake_settle(struct member *m, struct err *e)
{
	(void)m, (void)e;
	return 0;
}

static int fake_traffic(struct member *m, const struct traffic_step *s, int64_t wait_ms,
			enum traffic_step_kind *ret_undo, struct err *e)
{
	(void)s, (void)wait_ms;
	*ret_undo = TRAFFIC_NOTHING;
	return gate((struct fake *)m, e) == GO ? 0 : -1;
}

static int fake_hold_role(struct member *m, int64_t wait_ms, struct err *e)
{
	struct fake *f = (struct fake *)m;
	(void)wait_ms;
	if (gate(f, e) != GO)
		return -1;
	if (f->w->role_busy)
		return err_new(e, ERR_BUSY, "the traffic is being moved for another environment");
	if (f->w->active_when_held)
		f->role = (struct pair_role){.epoch = 2, .active = f->w->active_when_held};
	return 0;
}

static int fake_role_get(struct member *m, struct arena *a, struct pair_role *ret, struct err *e)
{
	(void)a;
	if (gate((struct fake *)m, e) != GO)
		return -1;
	if (((struct fake *)m)->w->role_damaged[m->number])
		return err_new(e, ERR_INPUT, "the role cannot be read");
	*ret = ((struct fake *)m)->role;
	return 0;
}

static int fake_role_set(struct member *m, const struct pair_role *r, struct err *e)
{
	struct fake *f = (struct fake *)m;
	f->w->role_damaged[m->number] = false;
	switch (gate(f, e)) {
	case GO:
		break;
	case GO_AND_LOSE:
		f->role = *r;
		return -1;
	case REFUSE:
	case HALF:
	case VANISH:
		return -1;
	}
	f->role = *r;
	f->role.reason = STR("x");
	buf_printf(&f->w->log, "role %u at %u;", r->active, m->number);
	return 0;
}

static const struct member_ops fake_ops = {
	.look = fake_look,
	.outcome = fake_outcome,
	.hold = fake_hold,
	.release = fake_release,
	.preflight = fake_preflight,
	.copy = fake_copy,
	.run = fake_run,
	.settle = fake_settle,
	.traffic = fake_traffic,
	.hold_role = fake_hold_role,
	.role_get = fake_role_get,
	.role_set = fake_role_set,
};

/* -- what is asked of them ------------------------------------------------------------------------------------------ */

static struct env_plan a_plan;
enum request {
	DO_ADD,
	DO_ACTIVATE,
	DO_COMMIT,
	DO_ABORT_ADDED,
	DO_ABORT,
	DO_ONE_SHOT,
	DO_ROLLBACK,
	DO_CLEAR,
	DO_STOP,
	DO_REMOVE,
	REQUESTS
};
static const struct {
	const char *name;
	enum phase before, after;
	struct upgrade_request q;
	bool keeps; /* the new version */
} requests[REQUESTS] = {
	[DO_ADD] = {"add", PHASE_NONE, PHASE_ADDED, {.verb = UPGRADE_ADD, .plan = &a_plan}, false},
	[DO_ACTIVATE] = {"activate", PHASE_ADDED, PHASE_ACTIVATED, {.verb = UPGRADE_ACTIVATE, .issu = true}, false},
	[DO_COMMIT] = {"commit", PHASE_ACTIVATED, PHASE_NONE, {.verb = UPGRADE_COMMIT}, true},
	[DO_ABORT_ADDED] = {"abort an add", PHASE_ADDED, PHASE_NONE, {.verb = UPGRADE_ABORT, .issu = true}, false},
	[DO_ABORT] = {"abort", PHASE_ACTIVATED, PHASE_NONE, {.verb = UPGRADE_ABORT, .issu = true}, false},
	[DO_ONE_SHOT] =
		{"one-shot",
		 PHASE_NONE,
		 PHASE_NONE,
		 {.verb = UPGRADE_ADD, .plan = &a_plan, .issu = true, .then_activate = true, .then_commit = true},
		 true},
	[DO_ROLLBACK] = {"rollback",
			 PHASE_NONE,
			 PHASE_NONE,
			 {.verb = UPGRADE_ROLLBACK, .plan = &a_plan, .generation = 1, .issu = true},
			 true},
	[DO_CLEAR] = {"clear", PHASE_ADDED, PHASE_NONE, {.verb = UPGRADE_CLEAR}, false},
	[DO_STOP] = {"stop the timer", PHASE_ACTIVATED, PHASE_ACTIVATED, {.verb = UPGRADE_STOP_TIMER}, false},
	[DO_REMOVE] = {"remove inactive", PHASE_NONE, PHASE_NONE, {.verb = UPGRADE_REMOVE_INACTIVE}, false},
};

static void on_event(void *ctx, const struct upgrade_event *v)
{
	static const char *const kinds[] = {"start", "stage", "begin", "member", "finish",
					    "state", "note",  "timer", "end"};
	struct world *w = ctx;
	if (v->kind == UPGRADE_EVENT_STATE)
		return;
	buf_printf(&w->told, "%s", kinds[v->kind]);
	if (v->kind == UPGRADE_EVENT_STAGE)
		buf_printf(&w->told, " %d", (int)v->number);
	if (v->member)
		buf_printf(&w->told, " [%u]", v->member);
	if (v->kind == UPGRADE_EVENT_MEMBER)
		buf_put_c(&w->told, v->done ? " done" : "");
	buf_printf(&w->told, ": %s%s\n", v->text, v->failure ? " FAILED" : "");
}

static void world_open(struct world *w, enum phase before, uint32_t active)
{
	*w = (struct world){.log = BUF_INIT(1 << 20), .told = BUF_INIT(1 << 20), .at = UINT32_MAX};
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct fake *f = &w->f[n];
		f->m = (struct member){.ops = &fake_ops, .number = n};
		f->w = w;
		f->phase = before;
		f->outcome = PHASE_UNKNOWN;
		snprintf(f->id, sizeof(f->id), "%032d", before == PHASE_NONE ? (int)n : 7);
		f->committed = 1;
		f->current = before == PHASE_ACTIVATED ? 2 : 1;
		f->timer = before == PHASE_ACTIVATED;
		f->role = (struct pair_role){.epoch = 1, .active = active};
	}
}

static void world_close(struct world *w)
{
	buf_release(&w->log);
	buf_release(&w->told);
}

static struct coordinator coordinator_of(struct world *w, uint32_t home, bool reaches_other)
{
	struct coordinator k = {
		.self = home,
		.env = STR("e"),
		.event = on_event,
		.ctx = w,
		.health_wait_ms = 1,
		.traffic_wait_ms = 1,
	};
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		w->f[n].m.local = n == home;
		k.m[n] = n == home || reaches_other ? &w->f[n].m : NULL;
	}
	k.why[3 - home] = STR("nobody answers at that address");
	w->err = ERR_INIT;
	return k;
}

static int ask(struct world *w, const struct upgrade_request *q, uint32_t home, bool reaches_other)
{
	struct coordinator k = coordinator_of(w, home, reaches_other);
	int rc = coordinate_run(&k, q, &w->err);
	coordinate_release(&k);
	return rc;
}

static int settle(struct world *w, uint32_t home, bool reaches_other)
{
	struct coordinator k = coordinator_of(w, home, reaches_other);
	bool one_shot = w->f[home].one_shot && w->f[home].phase != PHASE_NONE;
	int rc = coordinate_settle(&k, (struct coordinate_one_shot){one_shot, one_shot}, &w->err);
	coordinate_release(&k);
	return rc;
}

/* -- what must hold ------------------------------------------------------------------------------------------------- */

static const char *text(const struct world *w)
{
	static char out[512];
	int n = 0;
	for (uint32_t i = 1; i <= PAIR_MEMBERS; i++)
		n += snprintf(out + n, sizeof(out) - (size_t)n, "member %u: %s/%s, runs %u, committed %u; ", i,
			      phase_name(w->f[i].phase), phase_name(w->f[i].outcome), w->f[i].current,
			      w->f[i].committed);
	return out;
}

static void check_never_both(const struct world *w, const char *what)
{
	const struct fake *x = &w->f[1], *y = &w->f[2];
	bool same = strcmp(x->id, y->id) == 0;
	for (int i = 0; i < 2; i++) {
		CHECK_MSG(!same || x->outcome != PHASE_COMMITTED || y->outcome != PHASE_ABORTED,
			  "%s: one committed, one aborted: %s", what, text(w));
		const struct fake *z = x;
		x = y;
		y = z;
	}
}

static bool agree(const struct world *w)
{
	const struct fake *x = &w->f[1], *y = &w->f[2];
	return x->phase == y->phase && x->current == y->current && x->committed == y->committed;
}

static void sweep_one(enum request r, enum fault fault, unsigned at, uint32_t home, uint32_t active, bool alone_first,
		      bool timer_ends)
{
	struct world w;
	world_open(&w, requests[r].before, active);
	w.at = at;
	w.fault = fault;
	auto_free char *what = xasprintf("%s, fault %d at call %u, from member %u, member %u active", requests[r].name,
					 fault, at, home, active);
	int rc = ask(&w, &requests[r].q, home, true);
	check_never_both(&w, what);
	if (rc == 0)
		CHECK_MSG(w.dead || (w.f[home].phase == requests[r].after && (w.lost || agree(&w))), "%s: done? %s",
			  what, text(&w));
	if (rc < 0 && !w.dead && w.err.code != ERR_UNCERTAIN && r != DO_STOP && r != DO_REMOVE)
		CHECK_MSG(agree(&w), "%s: '%s', but %s", what, w.err.msg, text(&w));
	if (rc < 0 && !w.dead && w.err.code == ERR_UNCERTAIN)
		CHECK_MSG(strstr(w.err.msg, "member 1 ") && strstr(w.err.msg, "member 2 ") &&
				  strstr(w.err.msg, "'slipway "),
			  "%s: says too little: %s", what, w.err.msg);
	w.fault = NO_FAULT;
	w.dead = false;
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		w.f[n].timer_ended = timer_ends && w.f[n].timer;
	w.lost = 0;
	for (uint32_t n = 1; alone_first && n <= PAIR_MEMBERS; n++) {
		CHECK_MSG(settle(&w, n, false) >= 0, "%s: alone: %s", what, w.err.msg);
		check_never_both(&w, what);
		enum phase p = w.f[n].phase;
		CHECK_MSG(p == PHASE_NONE || p == PHASE_ADDED || p == PHASE_ACTIVATED || p == PHASE_PREPARED ||
				  p == PHASE_COMMITTING,
			  "%s: member %u alone: %s", what, n, text(&w));
	}
	/* the agents of both, in either order */
	for (uint32_t i = 0; i < PAIR_MEMBERS; i++)
		CHECK_MSG(settle(&w, i ? 3 - home : home, true) >= 0, "%s: %s", what, w.err.msg);
	check_never_both(&w, what);
	CHECK_MSG(agree(&w), "%s: two versions: %s\n%s", what, text(&w), w.told.p);
	enum phase p = w.f[1].phase;
	CHECK_MSG(p == PHASE_NONE || p == PHASE_ADDED || (p == PHASE_ACTIVATED && !timer_ends) ||
			  (p == PHASE_ACTIVATED && r == DO_STOP),
		  "%s: no rest: %s", what, text(&w));
	CHECK_MSG(p == PHASE_NONE || !w.f[1].one_shot, "%s: a one-shot rests: %s", what, text(&w));
	CHECK_INT(settle(&w, home, true), 0);
	CHECK_MSG(w.f[1].role.active == w.f[2].role.active && w.f[1].role.epoch == w.f[2].role.epoch, "%s: two actives",
		  what);
	world_close(&w);
}

static unsigned sweep(enum request r, uint32_t home, uint32_t active)
{
	struct world w;
	unsigned n = 0;
	world_open(&w, requests[r].before, active);
	CHECK_MSG(ask(&w, &requests[r].q, home, true) == 0, "%s: %s", requests[r].name, w.err.msg);
	CHECK_MSG(agree(&w) && w.f[1].phase == requests[r].after, "%s: %s", requests[r].name, text(&w));
	CHECK_INT(w.f[1].committed, requests[r].keeps ? 2 : 1);
	unsigned calls = w.calls;
	world_close(&w);
	for (enum fault fault = FAIL; fault < FAULTS; fault++)
		for (unsigned at = 0; at < calls; at++)
			for (int i = 0; i < 4; i++, n++)
				sweep_one(r, fault, at, home, active, i & 1, i & 2);
	return n;
}

TEST(every_call_of_every_verb_fails_is_lost_or_is_the_last)
{
	unsigned n = 0;
	for (enum request r = 0; r < REQUESTS; r++)
		for (uint32_t i = 0; i < 4; i++)
			n += sweep(r, 1 + (i & 1), 1 + (i >> 1));
	printf("# %u ways in which %d requests were hit\n", n, REQUESTS);
	CHECK(n > 5000);
}

/* -- the sequence --------------------------------------------------------------------------------------------------- */

TEST(activation_takes_the_standby_first)
{
	struct world w;
	world_open(&w, PHASE_ADDED, 1);
	CHECK_MSG(ask(&w, &requests[DO_ACTIVATE].q, 1, true) == 0, "%s", w.err.msg);
	CHECK_STR(w.log.p, "arm 1;arm 2;activate 2;standby-done 1;role 2 at 2;role 2 at 1;activate 1;");
	CHECK_STR(w.told.p, "start: install_activate\n"
			    "note: Going to start Activate ISSU install process\n"
			    "stage 0: Initial System Level Sanity Check\n"
			    "member done: Verifying install_issu supported\n"
			    "member done: Verifying standby is in Standby Hot state\n"
			    "member done: Verifying booted from the valid media\n"
			    "member done: Verifying AutoBoot mode is enabled\n"
			    "member done: Verifying space\n"
			    "finish: Initial System Level Sanity Check\n"
			    "stage 1: Installing software on Standby\n"
			    "begin: install_remote\n"
			    "member [2]: install_remote\n"
			    "timer: auto abort timer\n"
			    "member [2] done: install_remote\n"
			    "finish: install_remote\n"
			    "stage 2: Restarting Standby\n"
			    "begin: standby reload\n"
			    "note: no traffic drivers are configured in pair.yml: nothing is drained or moved\n"
			    "finish: standby reload\n"
			    "begin: wait for Standby to reach terminal redundancy state\n"
			    "finish: wait for Standby to reach terminal redundancy state\n"
			    "stage 3: Installing software on Active\n"
			    "begin: install_active\n"
			    "member [1]: install_active\n"
			    "member [1] done: install_active\n"
			    "finish: install_active\n"
			    "stage 4: Restarting Active (switchover to standby)\n"
			    "begin: active reload\n"
			    "finish: active reload\n"
			    "end: install_activate\n");
	CHECK_INT(w.f[1].role.active, 2);
	CHECK_INT(w.f[1].role.epoch, 2);
	CHECK_INT(w.f[2].role.switch_overs, 1);
	world_close(&w);
}

/* Two environments of one pair: the traffic is both's. */
TEST(while_traffic_moves_for_another_environment_nothing_begins)
{
	struct world w;
	static const enum request moving[] = {DO_ACTIVATE, DO_ABORT, DO_ONE_SHOT, DO_ROLLBACK};
	for (size_t i = 0; i < sizeof(moving) / sizeof(*moving); i++) {
		world_open(&w, requests[moving[i]].before, 1);
		w.role_busy = true;
		CHECK_INT(ask(&w, &requests[moving[i]].q, 2, true), -1);
		CHECK_MSG(w.err.code == ERR_BUSY && strstr(w.err.msg, "member 1: the traffic is being moved"), "%s: %s",
			  requests[moving[i]].name, w.err.msg);
		CHECK_STR(w.log.p, "");
		w.role_busy = false;
		CHECK_MSG(ask(&w, &requests[moving[i]].q, 2, true) == 0, "%s", w.err.msg);
		world_close(&w);
	}
	world_open(&w, PHASE_NONE, 1);
	w.role_busy = true; /* what moves no traffic goes on */
	CHECK_MSG(ask(&w, &requests[DO_ADD].q, 2, true) == 0, "%s", w.err.msg);
	world_close(&w);
}

TEST(who_is_active_is_read_when_nobody_else_can_move_it)
{
	struct world w;
	world_open(&w, PHASE_ADDED, 1);
	w.active_when_held = 2;
	CHECK_MSG(ask(&w, &requests[DO_ACTIVATE].q, 1, true) == 0, "%s", w.err.msg);
	CHECK_STR(w.log.p, "arm 2;arm 1;activate 1;standby-done 2;role 1 at 1;role 1 at 2;activate 2;");
	CHECK(w.f[1].role.epoch == 3 && w.f[2].role.epoch == 3);
	world_close(&w);
}

TEST(a_damaged_role_is_written_anew_from_the_other_one)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct world w;
		world_open(&w, PHASE_ACTIVATED, 2);
		w.role_damaged[n] = true;
		CHECK_MSG(ask(&w, &requests[DO_ABORT].q, 2, true) == 0, "%s", w.err.msg);
		CHECK(!w.role_damaged[n]);
		CHECK(w.f[1].role.epoch == w.f[2].role.epoch && w.f[1].role.active == w.f[2].role.active);
		world_close(&w);
	}
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct world w;
		world_open(&w, PHASE_ACTIVATED, 2);
		uint32_t right = w.f[n].role.active;
		w.f[n].role = (struct pair_role){.epoch = (uint64_t)1 << 52, .active = 3 - right};
		CHECK_MSG(ask(&w, &requests[DO_ABORT].q, 2, true) == 0, "%s", w.err.msg);
		CHECK(w.f[1].role.epoch == w.f[2].role.epoch && w.f[1].role.epoch < 100);
		world_close(&w);
	}
	struct world w;
	world_open(&w, PHASE_ACTIVATED, 2);
	w.role_damaged[1] = w.role_damaged[2] = true; /* nobody knows */
	CHECK_INT(ask(&w, &requests[DO_ABORT].q, 2, true), -1);
	CHECK_MSG(strstr(w.err.msg, "the role cannot be read"), "%s", w.err.msg);
	world_close(&w);
}

TEST(a_commit_is_promised_before_it_is_decided)
{
	struct world w;
	world_open(&w, PHASE_ACTIVATED, 2);
	CHECK_MSG(ask(&w, &requests[DO_COMMIT].q, 1, true) == 0, "%s", w.err.msg);
	CHECK_STR(w.log.p, "prepare 1;decide 2;commit 1;commit 2;");
	CHECK(strstr(w.told.p, "begin: install_commit_2\nmember [2]: install_commit_2\n"));
	CHECK(strstr(w.told.p, "stage 1: Dispatching the commit command to remote\nbegin: install_commit_remote\n"
			       "member [1]: install_commit_remote\n"));
	world_close(&w);
}

/* As if a disk had kept what it said it had not. */
TEST(what_was_decided_stands_though_the_order_failed)
{
	static const enum request commits[] = {DO_COMMIT, DO_ONE_SHOT};
	for (size_t i = 0; i < 2; i++) {
		struct world w;
		world_open(&w, requests[commits[i]].before, 2);
		w.keeps_decision = true;
		CHECK_MSG(ask(&w, &requests[commits[i]].q, 1, true) == 0, "%s", w.err.msg);
		CHECK(strstr(w.told.p, "decide fails; it is decided all the same"));
		CHECK_MSG(agree(&w) && w.f[1].outcome == PHASE_COMMITTED && w.f[2].outcome == PHASE_COMMITTED, "%s",
			  text(&w));
		world_close(&w);
	}
}

TEST(nobody_goes_back_once_one_has_decided)
{
	struct coordinate_back b = {.step = "install_abort"};
	struct world w;
	world_open(&w, PHASE_ACTIVATED, 1);
	w.f[1].phase = PHASE_COMMITTING;
	struct coordinator k = coordinator_of(&w, 1, true);
	CHECK_INT(coordinate_begin(&k, &w.err), 0);
	CHECK_INT(coordinate_go_back(&k, &b, &w.err), -1);
	CHECK_INT(w.err.code, ERR_UNCERTAIN);
	CHECK_MSG(strstr(w.err.msg, "member 1 has decided to commit"), "%s", w.err.msg);
	CHECK_INT(w.f[2].phase, PHASE_ACTIVATED);
	coordinate_release(&k);
	world_close(&w);
}

TEST(going_back_leaves_the_traffic_on_the_other_member)
{
	struct world w;
	world_open(&w, PHASE_ACTIVATED, 2);
	CHECK_MSG(ask(&w, &requests[DO_ABORT].q, 1, true) == 0, "%s", w.err.msg);
	CHECK_STR(w.log.p, "abort 1;role 1 at 1;role 1 at 2;abort 2;");
	world_close(&w);
}

TEST(a_version_that_is_sick_on_the_standby_never_gets_to_the_active)
{
	struct world w;
	world_open(&w, PHASE_ADDED, 1);
	w.sick_version = 2;
	CHECK_INT(ask(&w, &requests[DO_ACTIVATE].q, 1, true), -1);
	CHECK_INT(w.err.code, ERR_ROLLED_BACK);
	CHECK_MSG(agree(&w) && w.f[1].phase == PHASE_NONE && w.f[1].current == 1, "%s", text(&w));
	CHECK_STR(w.log.p,
		  "arm 1;arm 2;activate 2;role 1 at 1;role 1 at 2;abort 1;"); /* a failure of the standby, counted */
	world_close(&w);
}

/* -- the other member is gone --------------------------------------------------------------------------------------- */

TEST(alone_only_abort_is_possible)
{
	for (enum request r = 0; r < REQUESTS; r++) {
		struct world w;
		world_open(&w, requests[r].before, 1);
		CHECK_INT(ask(&w, &requests[r].q, 2, false), -1);
		bool aborts = r == DO_ABORT || r == DO_ABORT_ADDED;
		CHECK_INT(w.err.code, aborts ? ERR_UNCERTAIN : ERR_NETWORK);
		CHECK_MSG(strstr(w.err.msg, "nobody answers at that address"), "%s", w.err.msg);
		CHECK_INT(w.f[2].phase, aborts ? PHASE_NONE : requests[r].before);
		world_close(&w);
	}
}

TEST(who_has_promised_does_not_go_back_alone)
{
	struct world w;
	world_open(&w, PHASE_ACTIVATED, 1);
	w.f[2].phase = PHASE_PREPARED;
	w.f[1].phase = PHASE_COMMITTING;
	CHECK_INT(ask(&w, &requests[DO_ABORT].q, 2, false), -1);
	CHECK_INT(w.err.code, ERR_UNCERTAIN);
	CHECK_INT(w.f[2].phase, PHASE_PREPARED);
	CHECK_MSG(strstr(w.err.msg, "promised") && strstr(w.err.msg, "slipway pair leave"), "%s", w.err.msg);
	CHECK_INT(settle(&w, 2, false), 0);
	CHECK_MSG(strstr(w.told.p, "member 2 is in state 'prepared' and waits for member 1"), "%s", w.told.p);
	CHECK_INT(settle(&w, 2, true), 1);
	CHECK_MSG(agree(&w) && w.f[2].outcome == PHASE_COMMITTED, "%s", text(&w));
	world_close(&w);
}

/* No order of steps leads there. A decision stands all the same, and is finished by steps that the machine has. */
TEST(waiting_for_health_takes_no_more_memory_the_longer_it_lasts)
{
	struct world w;
	world_open(&w, PHASE_ACTIVATED, 1);
	struct coordinator k = coordinator_of(&w, 1, true);
	k.health_wait_ms = 900;
	CHECK_INT(coordinate_begin(&k, &w.err), 0);
	CHECK_INT(coordinate_look(&k, 2, &w.err), 0);
	size_t before = k.arena.total_bytes, looked = k.st_arena[2].total_bytes;
	unsigned calls = w.calls;
	w.f[2].sick = true;
	CHECK_INT(coordinate_wait_healthy(&k, 2, &w.err), -1);
	CHECK_MSG(strstr(w.err.msg, "member 2 does not get healthy: web: sick"), "%s", w.err.msg);
	CHECK(w.calls - calls >= 4);
	CHECK_INT(k.arena.total_bytes, before);
	CHECK_INT(k.st_arena[2].total_bytes, looked);
	coordinate_release(&k);
	world_close(&w);
}

TEST(what_is_activated_promises_before_it_commits)
{
	for (uint32_t home = 1; home <= PAIR_MEMBERS; home++) {
		struct world w;
		world_open(&w, PHASE_ACTIVATED, 1);
		w.f[1].phase = PHASE_COMMITTING;
		CHECK_MSG(settle(&w, home, true) == 1, "%s", w.err.msg);
		CHECK_MSG(agree(&w) && w.f[2].outcome == PHASE_COMMITTED, "%s", text(&w));
		CHECK_STR(w.log.p, "prepare 2;commit 2;commit 1;");
		world_close(&w);
	}
}

TEST(the_message_says_who_holds_what)
{
	struct world w;
	world_open(&w, PHASE_ADDED, 1);
	w.fault = LOST_AFTER;
	w.at = UINT32_MAX;
	struct world clean;
	world_open(&clean, PHASE_ADDED, 1);
	CHECK_INT(ask(&clean, &requests[DO_ACTIVATE].q, 1, true), 0);
	world_close(&clean);
	for (w.at = 0; !strstr(w.log.p ? w.log.p : "", "activate 2"); w.at++) {
		unsigned at = w.at;
		world_close(&w);
		world_open(&w, PHASE_ADDED, 1);
		w.fault = LOST_AFTER;
		w.at = at;
		ask(&w, &requests[DO_ACTIVATE].q, 1, true);
	}
	CHECK_INT(w.err.code, ERR_UNCERTAIN);
	CHECK_MSG(strstr(w.err.msg, "member 1 runs 'web 1' (generation 1, state 'none')"), "%s", w.err.msg);
	CHECK_MSG(strstr(w.err.msg, "member 2 does not answer"), "%s", w.err.msg);
	CHECK_MSG(strstr(w.err.msg, "'slipway install abort issu -n e' brings both to one version"), "%s", w.err.msg);
	world_close(&w);
}

TEST(the_same_command_does_what_is_left_on_one_member)
{
	static const struct {
		enum request r;
		const char *mends;
	} cases[] = {{DO_STOP, "'slipway install auto-abort-timer stop -n e' does what is left of it"},
		     {DO_REMOVE, "'slipway install remove inactive -n e' does what is left of it"},
		     {DO_CLEAR, "'slipway clear install state -n e' does what is left of it"}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool uncertain = false, over = false;
		for (unsigned at = 0; !over; at++) {
			struct world w;
			const struct upgrade_request *q = &requests[cases[i].r].q;
			world_open(&w, requests[cases[i].r].before, 1);
			w.fault = FAIL;
			w.at = at;
			int rc = ask(&w, q, 1, true);
			over = w.calls <= at;
			w.fault = NO_FAULT;
			if (rc < 0 && w.err.code == ERR_UNCERTAIN) {
				uncertain = true;
				CHECK_MSG(strstr(w.err.msg, cases[i].mends), "%s", w.err.msg);
			}
			if (rc < 0 && cases[i].r != DO_CLEAR)
				CHECK_MSG(ask(&w, q, 1, true) == 0, "again: %s", w.err.msg);
			else if (rc < 0)
				CHECK(settle(&w, 1, true) >= 0);
			if (rc < 0)
				CHECK_MSG(agree(&w) && w.f[1].timer == w.f[2].timer && w.f[1].removed == w.f[2].removed,
					  "at %u: %s", at, text(&w));
			world_close(&w);
		}
		CHECK_MSG(uncertain, "%s", cases[i].mends);
	}
}

TEST(files_that_are_left_on_one_member_do_not_keep_the_other_from_removing)
{
	struct world w;
	world_open(&w, PHASE_NONE, 1);
	w.leaves_files = true;
	CHECK_INT(ask(&w, &requests[DO_REMOVE].q, 1, true), -1);
	CHECK_INT(w.err.code, ERR_UNCERTAIN);
	CHECK(w.f[1].removed && w.f[2].removed);
	CHECK_MSG(strstr(w.err.msg, "member 2 runs 'web 1'"), "%s", w.err.msg);
	CHECK_MSG(strstr(w.err.msg, "'slipway install remove inactive -n e'"), "%s", w.err.msg);
	world_close(&w);
}

TEST(all_findings_at_once)
{
	struct world w;
	world_open(&w, PHASE_ADDED, 1);
	w.f[1].sick = w.f[2].sick = true;
	w.f[2].current = 3;
	CHECK_INT(ask(&w, &requests[DO_ACTIVATE].q, 1, true), -1);
	CHECK_INT(w.err.code, ERR_FAILED);
	CHECK_MSG(strstr(w.err.msg, "3 checks failed, nothing changed"), "%s", w.err.msg);
	CHECK_MSG(strstr(w.err.msg, "member 1: standby is in Standby Hot state: not healthy: web: sick"), "%s",
		  w.err.msg);
	CHECK_MSG(strstr(w.err.msg, "it runs 'web 3', the active member 'web 1'"), "%s", w.err.msg);
	CHECK_STR(w.log.p ? w.log.p : "", "");
	world_close(&w);
}

/* -- a member that was taken out of the traffic ---------------------------------------------------------------------- */

/* `ready` has nothing to do there, so that nothing is asked of this host. */
static const struct traffic_driver an_address = {.kind = TRAFFIC_KEEPALIVED};
static const struct traffic_config moved = {.driver = &an_address, .n = 1};

static bool is_drained(const struct world *w, uint32_t n)
{
	return w->f[1].role.drained[n].n || w->f[2].role.drained[n].n;
}

static void settle_drained(struct world *w, bool reaches_other)
{
	struct coordinator k = coordinator_of(w, 1, reaches_other);
	k.traffic = &moved;
	CHECK_INT(coordinate_settle(&k, (struct coordinate_one_shot){0}, &w->err), 0);
	coordinate_release(&k);
}

TEST(who_was_left_drained_is_put_in_again)
{
	static const enum phase rests[] = {PHASE_NONE, PHASE_ADDED, PHASE_ACTIVATED};
	for (size_t i = 0; i < 3 * 4; i++) {
		struct world w;
		world_open(&w, rests[i / 4], 1);
		w.f[1].role.drained[i % 2 + 1] = STR("e"); /* the other one did not hear of it */
		w.f[i % 4 / 2 + 1].role.drained[i % 2 + 1] = STR("e");
		settle_drained(&w, true);
		CHECK_MSG(!is_drained(&w, 1) && !is_drained(&w, 2), "%zu: %s", i, w.told.p);
		CHECK(strstr(w.told.p, "was taken out of the traffic, and nobody put it in again"));
		world_close(&w);
	}
}

TEST(who_cannot_answer_or_is_anothers_stays_drained)
{
	struct world w;
	world_open(&w, PHASE_NONE, 1);
	w.f[1].role.drained[1] = STR("e");
	w.f[1].role.drained[2] = STR("other");
	w.f[1].sick = true;
	settle_drained(&w, true);
	CHECK(is_drained(&w, 1) && is_drained(&w, 2));
	CHECK(strstr(w.told.p, "it is not healthy: web: sick; it is put in when it is"));
	w.f[1].sick = false;
	settle_drained(&w, true);
	CHECK(!is_drained(&w, 1) && str_eq(w.f[1].role.drained[2], STR("other")));
	w.f[1].role.drained[2] = STR("e");
	settle_drained(&w, false);
	CHECK(is_drained(&w, 2)); /* nobody answers there */
	world_close(&w);
}
