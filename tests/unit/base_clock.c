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

TEST(moments_of_dates)
{
	static const struct {
		struct clock_date d;
		int64_t ms;
	} good[] = {
		{{1970, 1, 1, 0, 0, 0}, 0},
		{{1969, 12, 31, 23, 59, 59}, -1000},
		{{2000, 2, 29, 12, 19, 59}, 951826799000},
		{{2026, 11, 21, 4, 41, 44}, 1795236104000},
		{{2016, 12, 31, 23, 59, 60}, 1483228800000},
		{{0, 1, 1, 0, 0, 0}, -62167219200000},
		{{0, 3, 1, 0, 0, 0}, -62162035200000},
		{{9999, 12, 31, 23, 59, 59}, 253402300799000},
	};
	static const struct clock_date bad[] = {
		{2026, 2, 29, 0, 0, 0}, {1900, 2, 29, 0, 0, 0}, {2026, 4, 31, 0, 0, 0},	  {2026, 0, 1, 0, 0, 0},
		{2026, 13, 1, 0, 0, 0}, {2026, 1, 0, 0, 0, 0},	{2026, 1, 1, 24, 0, 0},	  {2026, 1, 1, 0, 60, 0},
		{2026, 1, 1, 0, 0, 61}, {10000, 1, 1, 0, 0, 0}, {-1, 12, 31, 23, 59, 59},
	};
	int64_t ms;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		CHECK_MSG(clock_of_date(&good[i].d, &ms) && ms == good[i].ms, "%zu: %lld", i, (long long)ms);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_MSG(!clock_of_date(&bad[i], &ms), "%zu", i);
}

TEST(what_is_written_reads_the_same)
{
	for (int64_t s = -62167219200; s < 253402300800; s += 40000003) { /* some 6,000 moments, of each day and hour */
		auto_buf b = BUF_INIT(100);
		struct clock_date d;
		int64_t ms = 0;
		clock_put_iso(&b, s * 1000);
		CHECK_INT(sscanf(b.p, "%d-%d-%dT%d:%d:%dZ", &d.year, &d.month, &d.day, &d.hour, &d.minute, &d.second),
			  6);
		CHECK(clock_of_date(&d, &ms) && ms == s * 1000);
	}
}

TEST(extreme_times_do_not_crash)
{
	auto_buf b = BUF_INIT(100);
	clock_put_iso(&b, INT64_MAX);
	clock_put_iso(&b, INT64_MIN);
	CHECK(!b.overflow && b.n > 40);
}

TEST(as_logs_have_it)
{
	auto_buf b = BUF_INIT(100);
	clock_put_log(&b, 1746554886000);
	CHECK_STR(b.p, "2025-05-06 18:08.06");
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
