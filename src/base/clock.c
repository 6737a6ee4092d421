// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t); /* cannot fail for these two */
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_mono_ms(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
	return read_clock(CLOCK_REALTIME);
}

static int64_t system_mono(const struct clock *c)
{
	(void)c;
	return clock_mono_ms();
}

static int64_t system_wall(const struct clock *c)
{
	(void)c;
	return clock_wall_ms();
}

const struct clock clock_system = {system_mono, system_wall};

static int64_t fake_mono(const struct clock *c)
{
	return ((const struct clock_fake *)(const void *)c)->now_ms;
}

static int64_t fake_wall(const struct clock *c)
{
	return ((const struct clock_fake *)(const void *)c)->wall_ms;
}

struct clock_fake clock_fake_at(int64_t mono_ms, int64_t wall_ms)
{
	return (struct clock_fake){{fake_mono, fake_wall}, mono_ms, wall_ms};
}

static bool is_date(const struct clock_date *d)
{
	static const char days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = d->year % 4 == 0 && (d->year % 100 != 0 || d->year % 400 == 0);
	return d->year >= 0 && d->year <= 9999 && d->month >= 1 && d->month <= 12 && d->day >= 1 &&
	       d->day <= days[d->month - 1] && (leap || d->month != 2 || d->day < 29) && d->hour >= 0 &&
	       d->hour <= 23 && d->minute >= 0 && d->minute <= 59 && d->second >= 0 && d->second <= 60;
}

bool clock_of_date(const struct clock_date *d, int64_t *ret_wall_ms)
{
	if (!is_date(d))
		return false;
	/* years that begin in March: so the odd day comes last. Era: 400 of them; one more, so that nothing is below 0 */
	int64_t y = d->year - (d->month <= 2) + 400, month = d->month + (d->month > 2 ? -3 : 9);
	int64_t days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * month + 2) / 5 + d->day - 1 - 719468 - 146097;
	*ret_wall_ms = (((days * 24 + d->hour) * 60 + d->minute) * 60 + d->second) * 1000;
	return true;
}

static struct tm broken_down(int64_t wall_ms)
{
	time_t s = (time_t)(wall_ms / 1000 - (wall_ms % 1000 < 0));
	struct tm t;
	gmtime_r(&s, &t); /* every int64_t of milliseconds is a year that fits an int */
	return t;
}

static void put(struct buf *b, int64_t wall_ms, char between, const char *end)
{
	struct tm t = broken_down(wall_ms);
	buf_printf(b, "%04d-%02d-%02d%c%02d:%02d:%02d%s", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, between, t.tm_hour,
		   t.tm_min, t.tm_sec, end);
}

void clock_put_iso(struct buf *b, int64_t wall_ms)
{
	put(b, wall_ms, 'T', "Z");
}

void clock_put_table(struct buf *b, int64_t wall_ms)
{
	put(b, wall_ms, ' ', "");
}

void clock_put_log(struct buf *b, int64_t wall_ms)
{
	struct tm t = broken_down(wall_ms);
	buf_printf(b, "%04d-%02d-%02d %02d:%02d.%02d", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min,
		   t.tm_sec);
}

void clock_put_date(struct buf *b, int64_t wall_ms)
{
	static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct tm t = broken_down(wall_ms);
	buf_printf(b, "%.3s %.3s %2d %02d:%02d:%02d UTC %d", days + 3 * (size_t)t.tm_wday,
		   months + 3 * (size_t)t.tm_mon, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, t.tm_year + 1900);
}
