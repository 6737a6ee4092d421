// SPDX-License-Identifier: Apache-2.0
/* What upstreams do not have, remembered for a while: time, number, and forgetting. */
#include "lib/test.h"

#include "mirror/denials.h"

static struct denials d;
static struct err e;

static void deny(const char *path, enum err_code code, int64_t until_ms)
{
	struct err why = ERR_INIT;
	err_new(&why, code, "no %s", path);
	denials_put(&d, str_c(path), &why, until_ms);
}

static bool is_denied(const char *path, int64_t now_ms)
{
	return denials_get(&d, str_c(path), now_ms, &e);
}

TEST(for_a_time)
{
	deny("a", ERR_NOT_FOUND, 100);
	CHECK(is_denied("a", 99));
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_STR(e.msg, "no a");
	CHECK(!is_denied("a", 100));
	CHECK(!is_denied("b", 0));
	deny("a", ERR_NOT_FOUND, 200);
	CHECK(is_denied("a", 150));
	CHECK_INT(d.n, 1);
	deny("a", ERR_NETWORK, 300);
	CHECK(is_denied("a", 250));
	CHECK_INT(e.code, ERR_NETWORK);
}

TEST(forgotten_at_once)
{
	denials_clear(&d);
	CHECK(!is_denied("a", 0));
	deny("a", ERR_NOT_FOUND, 100);
	CHECK(is_denied("a", 0));
}

TEST(no_more_than_so_many)
{
	char path[32];
	for (int i = 0; i < 3 * DENIALS_MAX; i++) {
		snprintf(path, sizeof(path), "p%d", i);
		deny(path, ERR_NOT_FOUND, 100);
		CHECK(d.n <= DENIALS_MAX);
	}
	CHECK(is_denied(path, 0));
	CHECK(!is_denied("p0", 0));
	/* one that is denied again and again, each time another way */
	for (int i = 0; i < 3 * DENIALS_MAX; i++) {
		deny("x", i % 2 ? ERR_NOT_FOUND : ERR_NETWORK, 100);
		CHECK(d.n <= DENIALS_MAX);
	}
	denials_release(&d);
}
