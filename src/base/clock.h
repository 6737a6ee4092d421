// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * clock: time as engines see it, so that tests can turn it. Engines take a `const struct clock *`.
 */
#include <stdint.h>

#include "base/buf.h"

struct clock {
	int64_t (*mono_ms)(const struct clock *c); /* monotonic, only differences mean something */
	int64_t (*wall_ms)(const struct clock *c); /* milliseconds since 1970 UTC */
};
extern const struct clock clock_system;
/* The system's, for what no test turns. */
int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void);

struct clock_fake {
	struct clock base;
	int64_t now_ms, wall_ms;
};
struct clock_fake clock_fake_at(int64_t mono_ms, int64_t wall_ms);

/* A moment as a calendar (Gregorian, UTC) has it. */
struct clock_date {
	int year, month, day, hour, minute, second; /* months and days from 1 */
};
/* False where there is no such moment in the years 0 to 9999: no 30 February, no 24:00. Second 60, which some minutes have, is the
 * first of the next one. */
bool clock_of_date(const struct clock_date *d, int64_t *ret_wall_ms);

/* 2026-11-21T04:41:44Z, and "2026-11-21 04:41:44" (UTC) for tables and conda's history. */
void clock_put_iso(struct buf *b, int64_t wall_ms);
void clock_put_table(struct buf *b, int64_t wall_ms);
/* "2025-05-06 18:08.06", as the logs of jobs and builds have it. */
void clock_put_log(struct buf *b, int64_t wall_ms);
/* "Fri Feb  8 09:26:26 UTC 2019", as date(1) writes it. */
void clock_put_date(struct buf *b, int64_t wall_ms);
