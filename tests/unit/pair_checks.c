// SPDX-License-Identifier: Apache-2.0
/* What is found of two members by what they say of themselves. */
#include "lib/test.h"

#include "pair/pair.h"

static struct arena arena;

static struct pair_status healthy(void)
{
	struct pair_status s = {.role = {.active = 2}};
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		s.member[n] = (struct pair_member_status){
			.number = n,
			.reachable = true,
			.agent_version = n == 1 ? STR("1.2.0") : STR("1.3"),
			.running_version = STR("web 1.0"),
			.state = STR("none"),
			.managed = true,
			.autostart = true,
			.healthy = true,
			.wall_ms = 1000000 + n * 9000,
		};
	return s;
}

/* The only finding, under that name, of that member. */
static void finds(const struct pair_status *s, const char *name, uint32_t member, const char *finding, const char *cure)
{
	struct upgrade_check *c;
	size_t n, at = SIZE_MAX;
	CHECK_INT(pair_checks(s, STR("e"), &arena, &c, &n), 1);
	CHECK_INT(n, 4); /* the others have passed */
	for (size_t i = 0; i < n; i++)
		at = c[i].finding.n ? i : at;
	CHECK(at != SIZE_MAX);
	CHECK_STR(c[at].name.p, name);
	CHECK_INT(c[at].member, member);
	CHECK_STR(c[at].finding.p, finding);
	CHECK_MSG(strstr(c[at].cure.p, cure), "%s", c[at].cure.p);
}

TEST(nothing_to_find)
{
	struct pair_status s = healthy();
	struct upgrade_check *c;
	size_t n;
	CHECK_INT(pair_checks(&s, STR("e"), &arena, &c, &n), 0);
	CHECK_INT(n, 4);
	CHECK_STR(c[0].name.p, "install_issu supported");
	CHECK_STR(c[1].name.p, "standby is in Standby Hot state");
	CHECK_STR(c[2].name.p, "booted from the valid media");
	CHECK_STR(c[3].name.p, "AutoBoot mode is enabled");
}

TEST(each_finding)
{
	struct pair_status s = healthy();
	s.member[2].wall_ms = s.member[1].wall_ms - 10001;
	finds(&s, PAIR_CHECK_SUPPORTED, 0, "the clocks of the members are 10 s apart", "time server");
	s = healthy();
	s.member[2].wall_ms = s.member[1].wall_ms + 3600000;
	finds(&s, PAIR_CHECK_SUPPORTED, 0, "the clocks of the members are 3600 s apart", "time server");
	s = healthy();
	s.member[1].agent_version = STR("2.0");
	finds(&s, PAIR_CHECK_SUPPORTED, 0, "the agents are of versions 2.0 and 1.3", "the older one");
	s = healthy();
	s.member[1].state = STR("added");
	finds(&s, PAIR_CHECK_SUPPORTED, 0, "member 1 is in state 'added' and member 2 in 'none'",
	      "'slipway install abort issu -n e'");
	s = healthy();
	s.member[1].operation_id = STR("a");
	finds(&s, PAIR_CHECK_SUPPORTED, 0,
	      "member 1 is in state 'none' and member 2 in 'none', each with an operation of its own", "abort");
	s = healthy();
	s.member[2].healthy = false;
	s.member[2].unhealthy = STR("service 'web' is failed");
	finds(&s, PAIR_CHECK_HOT, 2, "not healthy: service 'web' is failed", "'slipway status' on member 2");
	s = healthy();
	s.member[1].running_version = STR("web 0.9");
	finds(&s, PAIR_CHECK_HOT, 1, "it runs 'web 0.9', the active member 'web 1.0'", "-n e' on member 2, ");
	s = healthy();
	s.member[1].recipe = STR("aa");
	s.member[2].recipe = STR("ab");
	finds(&s, PAIR_CHECK_HOT, 1, "it runs 'web 1.0' with other packages, the active member 'web 1.0'", "-n e' on");
	s = healthy();
	s.member[1].idle = true;
	s.member[1].current = 1;
	finds(&s, PAIR_CHECK_HOT, 1, "its services are not started", "'slipway start e' there");
	s = healthy();
	s.member[2].idle = true;
	s.member[2].current = 1;
	finds(&s, PAIR_CHECK_HOT, 2, "it is active, and its services are not started", "'slipway start e' there");
	s = healthy();
	s.member[1].managed = false;
	finds(&s, PAIR_CHECK_MEDIA, 1, "files of the environment were changed by hand", "lays it out anew");
	s = healthy();
	s.member[2].autostart = false;
	finds(&s, PAIR_CHECK_AUTOBOOT, 2, "nothing starts the agent and its services when the host boots",
	      "'autostart: ignore'");
	s.member[2].not_started = STR("nothing starts the agent");
	s.member[2].autostart_cure = STR("write a script");
	finds(&s, PAIR_CHECK_AUTOBOOT, 2, "nothing starts the agent", "write a script");
}

/* By the user's choice, or a first version: nothing is to be taken over. */
TEST(neither_is_started)
{
	struct pair_status s = healthy();
	struct upgrade_check *c;
	size_t n;
	s.member[1].idle = s.member[2].idle = true;
	s.member[1].current = s.member[2].current = 1;
	CHECK_INT(pair_checks(&s, STR("e"), &arena, &c, &n), 0);
	s.member[1].current = s.member[2].current = 0;
	CHECK_INT(pair_checks(&s, STR("e"), &arena, &c, &n), 0);
	s.member[1].idle = false; /* one of them has no version at all */
	CHECK_INT(pair_checks(&s, STR("e"), &arena, &c, &n), 0);
}

/* Nothing else is known of it: nothing else is found. */
TEST(a_member_that_does_not_answer)
{
	struct pair_status s = healthy();
	s.member[1] = (struct pair_member_status){.number = 1, .why = STR("connection refused")};
	finds(&s, PAIR_CHECK_SUPPORTED, 1, "it does not answer: connection refused", "'slipway agent'");
}

TEST(all_at_once)
{
	struct pair_status s = healthy();
	struct upgrade_check *c;
	size_t n;
	s.member[1].healthy = s.member[2].healthy = false;
	s.member[1].autostart = s.member[2].autostart = false;
	s.member[2].state = STR("activated");
	CHECK_INT(pair_checks(&s, STR("e"), &arena, &c, &n), 5);
	CHECK_INT(n, 6); /* and the one that has passed */
}
