// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include "lib/test.h"

TEST(iso_and_table)
{
	static const struct {
		int64_t ms;
		const char *iso, *table;
	} t[] = {
		{0, "1970-01-01T00:00:00Z", "1970-01-01 00:00:00"},
		{999, "1970-01-01T00:00:00Z", "1970-01-01 00:00:00"},
		{-1, "1969-12-31T23:59:59Z", "1969-12-31 23:59:59"},
		{-1000, "1969-12-31T23:59:59Z", "1969-12-31 23:59:59"},
		{951826799000, "2000-02-29T12:19:59Z", "2000-02-29 12:19:59"},
		{1795236104123, "2026-11-21T04:41:44Z", "2026-11-21 04:41:44"},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		auto_buf b = BUF_INIT(100);
		clock_put_iso(&b, t[i].ms);
		CHECK_STR(b.p, t[i].iso);
		buf_clear(&b);
		clock_put_table(&b, t[i].ms);
		CHECK_STR(b.p, t[i].table);
	}
}

TEST(extreme_times_do_not_crash)
{
	auto_buf b = BUF_INIT(100);
	clock_put_iso(&b, INT64_MAX);
	clock_put_iso(&b, INT64_MIN);
	CHECK(!b.overflow && b.n > 40);
}

TEST(date)
{
	auto_buf b = BUF_INIT(100);
	clock_put_date(&b, 1549617986000);
	CHECK_STR(b.p, "Fri Feb  8 09:26:26 UTC 2019");
}

TEST(fake)
{
	struct clock_fake f = clock_fake_at(5, 1000);
	const struct clock *c = &f.base;
	CHECK_INT(c->mono_ms(c), 5);
	CHECK_INT(c->wall_ms(c), 1000);
	f.now_ms += 7, f.wall_ms += 1;
	CHECK_INT(c->mono_ms(c), 12);
	CHECK_INT(c->wall_ms(c), 1001);
}

TEST(system)
{
	const struct clock *c = &clock_system;
	int64_t a = c->mono_ms(c);
	usleep(3000);
	int64_t b = c->mono_ms(c);
	CHECK(b >= a + 2);
	CHECK(c->wall_ms(c) > 1700000000000);
}
