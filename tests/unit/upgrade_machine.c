// SPDX-License-Identifier: Apache-2.0
/* The states of an upgrade and its timer. */
#include "lib/test.h"

#include "upgrade/machine.h"
#include "upgrade/timer.h"

static const enum op_event commands[] = {OP_DO_ADD,	 OP_DO_ACTIVATE, OP_DO_COMMIT,	   OP_DO_ABORT,
					 OP_DO_ROLLBACK, OP_DO_REMOVE,	 OP_DO_STOP_TIMER, OP_DO_CLEAR};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

/* All that a member of a pair may be told, and where it leads: in every other state each of them is refused. */
static const struct {
	enum op_event v;
	enum op_state from, to;
} member_steps[] = {
	{OP_DO_ARM, OP_ADDED, OP_ACTIVATING},
	{OP_DO_MOVE, OP_ACTIVATING, OP_ACTIVATING},
	{OP_DO_MOVE, OP_STANDBY_ACTIVATED, OP_STANDBY_ACTIVATED},
	{OP_DO_STANDBY_DONE, OP_ACTIVATING, OP_STANDBY_ACTIVATED},
	{OP_DO_PREPARE, OP_ACTIVATED, OP_PREPARED},
	{OP_DO_DECIDE, OP_ACTIVATED, OP_COMMITTING},
	{OP_DO_FINISH, OP_PREPARED, OP_COMMITTING},
	{OP_DO_FINISH, OP_COMMITTING, OP_COMMITTING},
	{OP_DO_WITHDRAW, OP_PREPARED, OP_ACTIVATED},
};
enum { STEPS = sizeof(member_steps) / sizeof(*member_steps) };

static enum op_state go(enum op_state s, enum op_event v)
{
	struct err e = ERR_INIT;
	enum op_state next = OP_STATES;
	CHECK_MSG(machine_next(s, v, STR("web"), &next, &e) == 0, "%s", e.msg);
	return next;
}

TEST(three_steps)
{
	enum op_state s = go(OP_NONE, OP_DO_ADD);
	CHECK_INT(s, OP_ADDING);
	s = go(s, OP_ADD_DONE);
	CHECK_INT(s, OP_ADDED);
	s = go(s, OP_DO_ACTIVATE);
	s = go(s, OP_DO_STANDBY_DONE);
	CHECK_INT(s, OP_STANDBY_ACTIVATED);
	s = go(s, OP_ACTIVATE_DONE);
	CHECK_INT(s, OP_ACTIVATED);
	s = go(s, OP_DO_PREPARE);
	s = go(s, OP_DO_COMMIT);
	CHECK_INT(s, OP_COMMITTING);
	CHECK_INT(go(s, OP_COMMIT_DONE), OP_NONE);
}

/* The dead ends of the seed document: no state may be without a way to the end. */
TEST(abort_is_legal_in_every_state)
{
	for (int s = 0; s < OP_STATES; s++)
		CHECK_MSG(machine_allows((enum op_state)s, OP_DO_ABORT), "not in '%s'",
			  op_state_name((enum op_state)s));
	CHECK_INT(go(OP_ADDED, OP_DO_ABORT), OP_ABORTING);
	CHECK_INT(go(OP_NEEDS_ABORT, OP_DO_ABORT), OP_ABORTING);
	CHECK_INT(go(OP_ABORTING, OP_ABORT_STUCK), OP_NEEDS_ABORT);
	CHECK_INT(go(OP_ABORTING, OP_ABORT_DONE), OP_NONE);
}

TEST(a_refusal_says_state_reason_and_command)
{
	for (int s = 0; s < OP_STATES; s++) {
		for (size_t i = 0; i < COMMANDS; i++) {
			struct err e = ERR_INIT;
			enum op_state next = OP_STATES;
			int rc = machine_next((enum op_state)s, commands[i], STR("web"), &next, &e);
			CHECK_INT(rc == 0, machine_allows((enum op_state)s, commands[i]));
			if (rc == 0) {
				CHECK(next < OP_STATES);
				continue;
			}
			CHECK_MSG(strstr(e.msg, op_event_name(commands[i])) &&
					  strstr(e.msg, op_state_name((enum op_state)s)) && strstr(e.msg, "'slipway "),
				  "%s", e.msg);
		}
	}
}

TEST(a_member_goes_by_its_steps_and_no_others)
{
	for (int v = OP_DO_ARM; v <= OP_DO_WITHDRAW; v++) {
		for (int s = 0; s < OP_STATES; s++) {
			enum op_state expected = OP_STATES, next = OP_STATES;
			struct err e = ERR_INIT;
			for (int i = 0; i < STEPS; i++)
				if (member_steps[i].v == (enum op_event)v && member_steps[i].from == (enum op_state)s)
					expected = member_steps[i].to;
			int rc = machine_next((enum op_state)s, (enum op_event)v, STR("web"), &next, &e);
			CHECK_MSG(rc == (expected == OP_STATES ? -1 : 0) && next == expected, "'%s' in '%s'",
				  op_event_name((enum op_event)v), op_state_name((enum op_state)s));
			CHECK_INT(machine_allows((enum op_state)s, (enum op_event)v), rc == 0);
			CHECK_MSG(rc == 0 || (e.code == ERR_FAILED && strstr(e.msg, op_state_name((enum op_state)s)) &&
					      strstr(e.msg, op_event_name((enum op_event)v))),
				  "%s", e.msg);
		}
	}
}

/* Neither an abort alone nor a timer may take back what the other member may have decided already. */
TEST(a_promise_is_not_taken_back_by_itself)
{
	CHECK(!machine_allows(OP_PREPARED, OP_TIMER_ENDED));
	CHECK(!machine_allows(OP_COMMITTING, OP_TIMER_ENDED));
	CHECK_INT(machine_settles(OP_PREPARED), OP_EVENTS);
	CHECK_INT(go(OP_COMMITTING, OP_DO_ABORT), OP_COMMITTING);
}

TEST(a_refusal_reads_well)
{
	struct err e = ERR_INIT;
	enum op_state next;
	CHECK_INT(machine_next(OP_ACTIVATED, OP_DO_ADD, STR("web"), &next, &e), -1);
	CHECK_STR(
		e.msg,
		"install add is not possible in state 'activated': the running version is not committed; 'slipway install "
		"commit -n web' keeps the new version, 'slipway install abort issu -n web' goes back");
	CHECK_INT(machine_next(OP_NONE, OP_DO_ACTIVATE, STR("web"), &next, &e), -1);
	CHECK_STR(
		e.msg,
		"install activate is not possible in state 'none': nothing has been added; 'slipway install add RECIPE -n web' goes on");
	CHECK_INT(machine_next(OP_ACTIVATED, OP_DO_CLEAR, STR("web"), &next, &e), -1);
	CHECK(str_starts(str_c(e.msg), STR("clear install state is not possible in state 'activated'")));
}

/* From every state that a crash can leave, settling and one abort or commit lead to rest. */
TEST(every_state_settles)
{
	for (int i = 0; i < OP_STATES; i++) {
		enum op_state s = (enum op_state)i;
		for (int steps = 0; s != OP_NONE; steps++) {
			CHECK_MSG(steps < 4, "'%s' does not settle", op_state_name((enum op_state)i));
			enum op_event v = machine_settles(s);
			s = go(s, v == OP_EVENTS ? OP_DO_ABORT : v);
			s = go(s, s == OP_COMMITTING ? OP_COMMIT_DONE : OP_ABORT_DONE);
		}
	}
}

TEST(names_go_both_ways)
{
	struct err e = ERR_INIT;
	enum op_state back;
	for (int s = 0; s < OP_STATES; s++) {
		CHECK_INT(op_state_parse(str_c(op_state_name((enum op_state)s)), &back, &e), 0);
		CHECK_INT(back, s);
		CHECK(*op_state_title((enum op_state)s));
	}
	CHECK_INT(op_state_parse(STR("flying"), &back, &e), -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
}

/* == the timer ==================================================================================================== */
static const struct timer_now start = {.boot_id = "boot-1", .boot_ms = 1000, .wall_ms = 5000000};

static struct timer_now later(int64_t ms)
{
	struct timer_now n = start;
	n.boot_ms += ms;
	n.wall_ms += ms;
	return n;
}

TEST(a_timer_runs_down)
{
	struct env_timer t = timer_arm(7200000, &start);
	struct timer_now n = later(1000);
	CHECK_INT(timer_left_ms(&t, &start), 7200000);
	CHECK_INT(timer_left_ms(&t, &n), 7199000);
	n = later(7200000);
	CHECK_INT(timer_left_ms(&t, &n), 0);
	n = later(99999999);
	CHECK_INT(timer_left_ms(&t, &n), 0);
	t.stopped = true;
	CHECK_INT(timer_left_ms(&t, &n), -1);
	CHECK_INT(timer_left_ms(&(struct env_timer){0}, &n), -1);
}

TEST(the_wall_clock_means_nothing_within_a_boot)
{
	struct env_timer t = timer_arm(60000, &start);
	struct timer_now n = later(10000);
	n.wall_ms += 86400000;
	CHECK_INT(timer_left_ms(&t, &n), 50000);
	n.wall_ms -= 5 * (int64_t)86400000;
	CHECK_INT(timer_left_ms(&t, &n), 50000);
}

TEST(a_reboot_gives_no_time_back)
{
	struct env_timer t = timer_arm(60000, &start);
	struct timer_now n = later(40000);
	CHECK(timer_note(&t, &n));
	n = later(45000);
	CHECK(!timer_note(&t, &n)); /* not worth a write */
	snprintf(n.boot_id, sizeof(n.boot_id), "boot-2");
	n.boot_ms = 10;
	CHECK_INT(timer_left_ms(&t, &n), 15000);
	n.wall_ms = 0; /* no clock that keeps time: at most what was left when it was noted */
	CHECK_INT(timer_left_ms(&t, &n), 20000);
	CHECK(timer_note(&t, &n));
	n.boot_ms += 5000;
	n.wall_ms += 5000;
	CHECK_INT(timer_left_ms(&t, &n), 15000);
	n.wall_ms += 999999999; /* the clock is set at last */
	CHECK_INT(timer_left_ms(&t, &n), 15000);
}

TEST(the_hosts_clocks_can_be_read)
{
	struct err e = ERR_INIT;
	struct timer_now a, b;
	CHECK_MSG(timer_read(&a, &e) == 0 && timer_read(&b, &e) == 0, "%s", e.msg);
	CHECK_INT(strlen(a.boot_id), 36);
	CHECK_STR(a.boot_id, b.boot_id);
	CHECK(a.boot_ms > 0 && b.boot_ms >= a.boot_ms && a.wall_ms > 0);
}
