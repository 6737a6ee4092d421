// SPDX-License-Identifier: Apache-2.0
/* Which upstream is asked next, with a clock that the test turns. */
#include "lib/test.h"

#include "mirror/upstream.h"

static struct clock_fake now;

static struct upstreams three(void)
{
	static const struct mirror_upstream v[] = {{.id = STR("a"), .url = STR("https://a"), .priority = 30},
						   {.id = STR("b"), .url = STR("https://b"), .priority = 20},
						   {.id = STR("c"), .url = STR("https://c"), .priority = 20}};
	static const struct mirror_channel ch = {.upstreams = v, .upstreams_n = 3};
	struct upstreams u;
	struct err e = ERR_INIT;
	now = clock_fake_at(0, 1700000000000);
	CHECK(upstreams_init(&u, &ch, &now.base, &e) == 0);
	return u;
}

TEST(the_one_with_the_highest_priority_then_the_faster)
{
	struct upstreams u = three();
	CHECK_INT(upstreams_choose(&u, 0, -1), 0);
	CHECK_INT(upstreams_choose(&u, 1, -1), 1);
	upstreams_good(&u, 1, 1000000, 1000);
	upstreams_good(&u, 2, 3000000, 1000);
	CHECK_INT(upstreams_choose(&u, 1, -1), 2);
	CHECK_INT(upstreams_choose(&u, 1 | 4, -1), 1);
	CHECK_INT(upstreams_choose(&u, 7, -1), -1);
	CHECK_INT(upstreams_choose(&u, 0, 2), 2);
	CHECK_INT(upstreams_choose(&u, 4, 2), 0);
}

TEST(one_that_fails_is_left_and_probed_later)
{
	struct upstreams u = three();
	upstreams_bad(&u, 0, "no answer");
	CHECK_INT(upstreams_health(&u, 0), MIRROR_LEFT);
	CHECK_INT(upstreams_choose(&u, 0, -1), 1);
	CHECK_INT(upstreams_choose(&u, 0, 0), 1);
	now.wall_ms += 3000; /* at least three quarters of 5 s */
	CHECK_INT(upstreams_health(&u, 0), MIRROR_LEFT);
	now.wall_ms += 4000; /* at most five quarters */
	CHECK_INT(upstreams_health(&u, 0), MIRROR_PROBED);
	CHECK_INT(upstreams_choose(&u, 0, -1), 0); /* one request finds out */
	CHECK_INT(upstreams_choose(&u, 0, -1), 1); /* the others do not wait for it */
	upstreams_good(&u, 0, 100, 1);
	CHECK_INT(upstreams_health(&u, 0), MIRROR_WELL);
	CHECK_INT(upstreams_choose(&u, 0, -1), 0);
}

TEST(each_failure_leaves_it_for_longer_up_to_ten_minutes)
{
	struct upstreams u = three();
	int64_t before = 0;
	for (int i = 0; i < 12; i++) {
		upstreams_bad(&u, 0, "no answer");
		int64_t left = u.s[0].again_ms - now.wall_ms;
		CHECK(left >= 3750 && left <= 750000);
		if (i > 0 && i < 6)
			CHECK_MSG(left > before, "%lld after %lld", (long long)left, (long long)before);
		before = left;
		upstreams_bad(&u, 0, "one of several under way");
		CHECK_INT(u.s[0].failures, i + 1);
		now.wall_ms = u.s[0].again_ms + 1;
		CHECK_INT(upstreams_health(&u, 0), MIRROR_PROBED);
	}
	/* a clock that is set back does not leave it for years */
	upstreams_bad(&u, 0, "no answer");
	now.wall_ms -= INT64_C(365) * 86400000;
	CHECK_INT(upstreams_health(&u, 0), MIRROR_PROBED);
}

TEST(where_all_are_left_one_is_asked_all_the_same)
{
	struct upstreams u = three();
	upstreams_bad(&u, 1, "no answer");
	now.wall_ms += 1000;
	upstreams_bad(&u, 0, "no answer");
	upstreams_bad(&u, 2, "no answer");
	u.s[1].again_ms = now.wall_ms + 10;
	CHECK_INT(upstreams_choose(&u, 0, -1), 1);
}

TEST(a_slow_one_is_left_until_it_is_measured_to_be_well)
{
	struct upstreams u = three();
	upstreams_good(&u, 1, 8000000, 1000);
	upstreams_good(&u, 0, 900000, 1000);
	CHECK_INT(upstreams_health(&u, 0), MIRROR_LEFT);
	CHECK(strstr(u.s[0].error, "slow"));
	CHECK_INT(upstreams_choose(&u, 0, -1), 1);
	now.wall_ms += 60000;
	CHECK_INT(upstreams_choose(&u, 0, -1), 0);
	upstreams_good(&u, 0, 100, 1); /* too little to tell */
	CHECK(upstreams_health(&u, 0) != MIRROR_WELL);
	upstreams_good(&u, 0, 7000000, 1000);
	CHECK_INT(upstreams_health(&u, 0), MIRROR_WELL);
	CHECK_INT(upstreams_choose(&u, 0, -1), 0);
}
