// SPDX-License-Identifier: Apache-2.0
/* The steps of one of two members, each as a coordinator gives it; what is settled alone; how an operation ended. */
#include "lib/host.h"

#define ID "0123456789abcdef0123456789abcdef"
#define OTHER_ID "fedcba9876543210fedcba9876543210"

static struct upgrade_request step(enum upgrade_verb verb)
{
	return (struct upgrade_request){.verb = verb, .issu = true, .operation_id = ID};
}

static const char *state_of(struct host *h)
{
	return status_of(h).state.p;
}

static const char *outcome_of(struct host *h, const char *id)
{
	struct str s = STR_NONE;
	CHECK_MSG(upgrade_outcome(h->w.st, &h->w.arena, STR("e"), str_c(id), &s, &h->w.err) == 0, "%s", h->w.err.msg);
	return s.p;
}

static int settle(struct host *h)
{
	buf_clear(&h->log);
	int rc = upgrade_settle(&h->opts, &h->w.err);
	CHECK_MSG(rc >= 0, "%s", h->w.err.msg);
	return rc;
}

static struct upgrade_request add_paired(struct host *h, const char *version)
{
	struct env_lock_package *p = arena_array(&h->w.arena, struct env_lock_package, 2);
	p[0] = web(h, version, "");
	p[1] = envs_simple(&h->w, "lib", "1");
	struct upgrade_request q = add_of(h, p, 2);
	q.paired = true;
	q.operation_id = ID;
	return q;
}

/* A host of its own, for tests with several. */
static struct host *fresh(struct host *h)
{
	static char name[16];
	static unsigned n;
	snprintf(name, sizeof(name), "root%u", ++n);
	h->w.name = name;
	return h;
}

/* Generation 2, web 1.1, added for both; then further, up to the state that is asked for. */
static void member_in(struct host *h, const char *state)
{
	static const struct {
		const char *state;
		enum upgrade_verb verb;
	} way[] = {{"activating", UPGRADE_ARM}, {"activated", UPGRADE_ACTIVATE}};
	first(fresh(h), "");
	must(h, add_paired(h, "1.1"));
	for (size_t i = 0; i < 2 && strcmp(state_of(h), state) != 0; i++) {
		if (strcmp(state, "standby-activated") == 0 && i == 1)
			must(h, step(UPGRADE_STANDBY_DONE));
		else
			must(h, step(way[i].verb));
	}
	if (strcmp(state, "prepared") == 0)
		must(h, step(UPGRADE_PREPARE));
	if (strcmp(state, "committing") == 0)
		must(h, step(UPGRADE_DECIDE));
	CHECK_STR(state_of(h), state);
}

TEST(the_way_of_the_standby)
{
	auto_host h = {0};
	first(&h, "");
	must(&h, add_paired(&h, "1.1"));
	CHECK_STR(outcome_of(&h, ID), "added");
	CHECK(status_of(&h).paired);
	CHECK_STR(status_of(&h).id.p, ID);
	CHECK_INT(status_of(&h).timer_left_ms, -1);
	struct upgrade_request arm = step(UPGRADE_ARM);
	arm.timer_ms = 600000;
	must(&h, arm);
	CHECK_STR(h.log.p, "timer;"); /* and nothing else */
	CHECK(info_of(&h).current == 1);
	CHECK(status_of(&h).timer_left_ms > 590000 && status_of(&h).timer_left_ms <= 600000);
	must(&h, step(UPGRADE_ACTIVATE));
	CHECK_STR(h.log.p, "hand-over web 2;");
	CHECK(info_of(&h).current == 2 && info_of(&h).committed == 1);
	must(&h, step(UPGRADE_PREPARE));
	CHECK_STR(h.log.p, "timer;");
	CHECK_STR(state_of(&h), "prepared");
	CHECK(status_of(&h).timer_left_ms == -1 && !status_of(&h).timer_stopped);
	must(&h, step(UPGRADE_COMMIT));
	CHECK(info_of(&h).committed == 2);
	CHECK(!status_of(&h).in_progress);
	CHECK_STR(outcome_of(&h, ID), "committed");
}

TEST(the_way_of_the_active)
{
	auto_host h = {0};
	first(&h, "");
	must(&h, add_paired(&h, "1.1"));
	must(&h, step(UPGRADE_ARM));
	must(&h, step(UPGRADE_STANDBY_DONE));
	CHECK_STR(h.log.p, "");
	CHECK_STR(state_of(&h), "standby-activated");
	CHECK(info_of(&h).current == 1);
	must(&h, step(UPGRADE_ACTIVATE));
	struct upgrade_status s = status_of(&h);
	CHECK_STR(s.transition.p, "Added -> Standby activated -> Activated");
	CHECK_INT(s.steps_n, 3);
	CHECK_STR(s.steps[1].name.p, "Activate location standby");
	CHECK_STR(s.steps[2].name.p, "Activate location active");
	must(&h, step(UPGRADE_DECIDE));
	CHECK_STR(state_of(&h), "committing");
	CHECK(info_of(&h).committed == 1); /* decided, and nothing else done */
	CHECK_INT(status_of(&h).timer_left_ms, -1);
	must(&h, step(UPGRADE_COMMIT));
	CHECK(info_of(&h).committed == 2);
	CHECK_STR(outcome_of(&h, ID), "committed");
}

TEST(nothing_was_decided)
{
	auto_host h = {0};
	struct env_operation op;
	member_in(&h, "prepared");
	CHECK_INT(env_operation_get(h.w.st, &h.w.arena, STR("e"), &op, &h.w.err), 1);
	op.timer.left_ms = 5000; /* it would have rung at once */
	CHECK_INT(env_operation_put(h.hold, &op, &h.w.err), 0);
	must(&h, step(UPGRADE_WITHDRAW));
	CHECK_STR(h.log.p, "timer;");
	CHECK_STR(state_of(&h), "activated");
	CHECK_STR(status_of(&h).transition.p, "Added -> Activated");
	CHECK(status_of(&h).timer_left_ms > 50000 && status_of(&h).timer_left_ms <= UPGRADE_TIMER_LEAST_MS);
	/* A person's stop stays one. */
	must(&h, step(UPGRADE_STOP_TIMER));
	must(&h, step(UPGRADE_PREPARE));
	CHECK(status_of(&h).timer_stopped);
	must(&h, step(UPGRADE_WITHDRAW));
	CHECK(status_of(&h).timer_stopped && status_of(&h).timer_left_ms == -1);
	must(&h, step(UPGRADE_ABORT));
	CHECK(info_of(&h).current == 1);
	CHECK_STR(h.log.p, "hand-over web 1;timer;");
	CHECK_STR(outcome_of(&h, ID), "aborted");
}

/* Each verb in each state does what the table says and leaves the state alone where it refuses; nothing panics for a wrong one. */
TEST(every_step_in_every_state)
{
	static const char *const states[] = {"added",	  "activating", "standby-activated",
					     "activated", "prepared",	"committing"};
	static const enum upgrade_verb verbs[] = {UPGRADE_ARM,	   UPGRADE_ACTIVATE, UPGRADE_STANDBY_DONE,
						  UPGRADE_PREPARE, UPGRADE_DECIDE,   UPGRADE_COMMIT,
						  UPGRADE_WITHDRAW};
	static const char *const leads_to[6][7] = {
		{"activating"},
		{NULL, "activated", "standby-activated"},
		{NULL, "activated"},
		{NULL, NULL, NULL, "prepared", "committing"},
		{[5] = "none", [6] = "activated"},
		{[5] = "none"},
	};
	for (size_t s = 0; s < 6; s++) {
		auto_host h = {0};
		member_in(&h, states[s]);
		for (size_t v = 0; v < 7; v++) {
			if (leads_to[s][v])
				continue;
			CHECK_INT(run(&h, step(verbs[v])), -1);
			CHECK_INT(h.w.err.code, ERR_FAILED);
			CHECK_STR(state_of(&h), states[s]);
		}
		for (size_t v = 0, used = 0; v < 7; v++) {
			auto_host another = {0};
			struct host *x = &h;
			if (!leads_to[s][v])
				continue;
			if (used++)
				member_in(x = &another, states[s]);
			must(x, step(verbs[v]));
			CHECK_STR(state_of(x), leads_to[s][v]);
		}
	}
}

TEST(abort_leads_back_from_every_state)
{
	static const char *const states[] = {"added", "activating", "standby-activated", "activated", "prepared"};
	for (size_t s = 0; s < 5; s++) {
		auto_host h = {0};
		struct upgrade_request q = step(UPGRADE_ABORT);
		q.by_timer = true; /* whoever says so: no state may take it amiss */
		member_in(&h, states[s]);
		must(&h, q);
		CHECK_STR(state_of(&h), "none");
		CHECK(info_of(&h).current == 1 && info_of(&h).committed == 1);
		CHECK_STR(outcome_of(&h, ID), "aborted");
		CHECK_INT(fs_exists(h.w.root_fd, "env/e/2"), strcmp(states[s], "added") != 0);
	}
	auto_host h = {0};
	member_in(&h, "committing"); /* decided: it cannot be taken back */
	must(&h, step(UPGRADE_ABORT));
	CHECK(info_of(&h).committed == 2);
	CHECK_STR(outcome_of(&h, ID), "committed");
}

/* Whoever holds it is gone. What this member alone decides goes back; the rest waits for the other one. */
TEST(what_is_settled_alone)
{
	static const struct {
		const char *state;
		bool back;
	} cases[] = {
		{"added", false},     {"activating", true}, {"standby-activated", true},
		{"activated", false}, {"prepared", false},  {"committing", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		auto_host h = {0};
		member_in(&h, cases[i].state);
		CHECK_INT(settle(&h), cases[i].back);
		CHECK_STR(state_of(&h), cases[i].back ? "none" : cases[i].state);
		CHECK_STR(outcome_of(&h, ID), cases[i].back ? "aborted" : cases[i].state);
	}
}

static void let_the_timer_end(struct host *h)
{
	struct env_operation op;
	CHECK_INT(env_operation_get(h->w.st, &h->w.arena, STR("e"), &op, &h->w.err), 1);
	op.timer.boot_deadline_ms = 1;
	CHECK_INT(env_operation_put(h->hold, &op, &h->w.err), 0);
}

TEST(the_timer_takes_back_what_is_undecided)
{
	auto_host h = {0};
	member_in(&h, "activated");
	let_the_timer_end(&h);
	CHECK_INT(settle(&h), 1);
	CHECK(info_of(&h).current == 1);
	CHECK_STR(outcome_of(&h, ID), "aborted");
	auto_host p = {0};
	member_in(&p, "prepared");
	let_the_timer_end(&p);
	CHECK_INT(settle(&p), 0);
	CHECK_STR(state_of(&p), "prepared");
}

/* A one-shot whose coordinator died: what only lies there goes, what runs is for both to take back. */
TEST(a_one_shot_of_a_pair)
{
	auto_host h = {0};
	first(&h, "");
	struct upgrade_request q = add_paired(&h, "1.1");
	q.then_activate = q.then_commit = true;
	must(&h, q);
	CHECK_STR(state_of(&h), "added"); /* the rest comes as steps */
	CHECK(status_of(&h).one_shot);
	CHECK_INT(settle(&h), 1);
	CHECK_STR(outcome_of(&h, ID), "aborted");
	q = add_paired(&h, "1.1");
	q.operation_id = OTHER_ID;
	q.then_activate = q.then_commit = true;
	must(&h, q);
	must(&h, (struct upgrade_request){.verb = UPGRADE_ARM});
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .operation_id = OTHER_ID});
	CHECK_INT(settle(&h), 0);
	CHECK_STR(outcome_of(&h, OTHER_ID), "activated");
}

/* Nobody has a say any more but the person at this host. */
TEST(who_has_left_the_pair_is_free)
{
	static const char *const states[] = {"added", "activated", "prepared", "committing"};
	for (size_t s = 0; s < 4; s++) {
		auto_host h = {0};
		member_in(&h, states[s]);
		if (s == 0) {
			must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
			CHECK_STR(state_of(&h), "activated");
			CHECK(info_of(&h).current == 2 && info_of(&h).committed == 1);
		}
		must(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT});
		CHECK_STR(state_of(&h), "none");
		CHECK(info_of(&h).current == 2 && info_of(&h).committed == 2);
		CHECK_STR(outcome_of(&h, ID), "committed");
	}
}

TEST(a_failed_activation_goes_back_by_itself)
{
	auto_host h = {0};
	member_in(&h, "activating");
	h.sick = "1.1";
	CHECK_INT(run(&h, step(UPGRADE_ACTIVATE)), -1);
	CHECK_INT(h.w.err.code, ERR_ROLLED_BACK);
	CHECK_STR(h.log.p, "hand-over web 2;hand-over web 1;timer;");
	CHECK_STR(state_of(&h), "none");
	CHECK_STR(outcome_of(&h, ID), "aborted");
}

TEST(ids)
{
	auto_host h = {0};
	static const char *const bad[] = {"", "1234", "0123456789ABCDEF0123456789ABCDEF", ID "0", NULL};
	first(&h, "");
	CHECK_STR(outcome_of(&h, ID), "unknown");
	CHECK_STR(outcome_of(&h, ""), "unknown");
	struct upgrade_request add = add_paired(&h, "1.1");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		add.operation_id = bad[i];
		CHECK_INT(run(&h, add), -1);
		CHECK_INT(h.w.err.code, ERR_INPUT);
	}
	add.operation_id = ID;
	must(&h, add);
	struct upgrade_request q = step(UPGRADE_ARM);
	q.operation_id = OTHER_ID; /* the coordinator is mistaken about what goes on here */
	CHECK_INT(run(&h, q), -1);
	CHECK_MSG(h.w.err.code == ERR_FAILED && strstr(h.w.err.msg, "another operation"), "%s", h.w.err.msg);
	q = step(UPGRADE_ABORT);
	q.operation_id = OTHER_ID;
	CHECK_INT(run(&h, q), -1);
	CHECK_STR(state_of(&h), "added");
	must(&h, step(UPGRADE_ABORT));
	CHECK_INT(run(&h, add_paired(&h, "1.1")), -1); /* an id is used once */
	CHECK_INT(h.w.err.code, ERR_EXISTS);
	CHECK_STR(outcome_of(&h, ID), "aborted");
	CHECK_STR(outcome_of(&h, OTHER_ID), "unknown");
	/* A host's own operation has no steps. */
	add = add_paired(&h, "1.1");
	add.paired = false;
	must(&h, add);
	q = (struct upgrade_request){.verb = UPGRADE_ARM};
	CHECK_INT(run(&h, q), -1);
	CHECK_MSG(strstr(h.w.err.msg, "this host's alone"), "%s", h.w.err.msg);
	CHECK(!status_of(&h).paired);
}

TEST(outcomes_of_a_host_of_its_own)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	const char *id = status_of(&h).id.p;
	CHECK_STR(outcome_of(&h, id), "added");
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	must(&h, (struct upgrade_request){
			 .verb = UPGRADE_REMOVE_INACTIVE}); /* says "remove inactive: done", and is no end */
	CHECK_STR(outcome_of(&h, id), "activated");
	must(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT});
	CHECK_STR(outcome_of(&h, id), "committed");
	/* A first version is committed from the start, and yet its commit is told. */
	auto_host n = {0};
	host_open(fresh(&n));
	host_hold(&n);
	p[0] = web(&n, "1.0", "");
	p[1] = envs_simple(&n.w, "lib", "1");
	must(&n, add_of(&n, p, 2));
	id = status_of(&n).id.p;
	must(&n, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	must(&n, (struct upgrade_request){.verb = UPGRADE_COMMIT});
	CHECK_STR(outcome_of(&n, id), "committed");
}

/* Asked of a member of a pair alone. */
TEST(a_member_must_come_back_after_a_boot)
{
	auto_host h = {0};
	first(&h, "");
	struct upgrade_request add = add_paired(&h, "1.1");
	h.opts.autostart_elsewhere = false;
	h.opts.host_root = h.w.root; /* a folder where nothing of the kind is */
	CHECK_INT(run(&h, add), -1);
	CHECK_MSG(h.w.err.code == ERR_FAILED &&
			  strstr(h.w.err.msg, "1 check failed, nothing changed\n  AutoBoot mode is enabled: "),
		  "%s", h.w.err.msg);
	CHECK_STR(state_of(&h), "none");
	add = add_paired(&h, "1.1");
	add.paired = false;
	must(&h, add);
}

/* What a rollback goes to was there before it, and stays when the way there is undone: even where another command undoes it. */
TEST(a_rollback_of_a_pair)
{
	auto_host h = {0};
	member_in(&h, "prepared");
	must(&h, step(UPGRADE_COMMIT));
	const struct upgrade_request back = {
		.verb = UPGRADE_ROLLBACK, .generation = 1, .paired = true, .operation_id = OTHER_ID};
	must(&h, back);
	CHECK_STR(h.log.p, "timer;");
	CHECK_STR(state_of(&h), "activating");
	CHECK(status_of(&h).paired);
	CHECK_INT(settle(&h), 1);
	CHECK_STR(outcome_of(&h, OTHER_ID), "aborted");
	CHECK(info_of(&h).current == 2 && fs_exists(h.w.root_fd, "env/e/1"));
	struct upgrade_request again = back;
	again.operation_id = "00000000000000000000000000000001";
	must(&h, again);
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .operation_id = again.operation_id});
	must(&h, (struct upgrade_request){.verb = UPGRADE_DECIDE});
	must(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT});
	CHECK(info_of(&h).current == 1 && info_of(&h).committed == 1);
}

/* As before its timer is armed: nothing tells an activation. Only that the operation did not lay `to` out saves it. */
TEST(an_interrupted_rollback_keeps_what_was_there)
{
	auto_host h = {0};
	struct env_operation op;
	member_in(&h, "prepared");
	must(&h, step(UPGRADE_COMMIT));
	must(&h, (struct upgrade_request){
			 .verb = UPGRADE_ROLLBACK, .generation = 1, .paired = true, .operation_id = OTHER_ID});
	CHECK_INT(env_operation_get(h.w.st, &h.w.arena, STR("e"), &op, &h.w.err), 1);
	op.timer = (struct env_timer){0};
	CHECK_INT(env_operation_put(h.hold, &op, &h.w.err), 0);
	CHECK_INT(settle(&h), 1);
	CHECK(fs_exists(h.w.root_fd, "env/e/1"));
	CHECK(info_of(&h).current == 2);
}
