// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * timer (private to upgrade): how long an uncommitted version may run before the host goes back by itself. Pure: time is handed in.
 *
 * What is on disk (struct env_timer in env.h) is a deadline on the clock that counts from the boot (CLOCK_BOOTTIME, which also runs while the
 * host sleeps) with that boot's id, so that a step of the wall clock changes nothing; and the same on the wall clock, which is only
 * asked when the host has been booted since. There, what was left when it was last noted bounds it from above: a host that comes
 * up with its clock in the past gets no more time than it had.
 */
#include "env/env.h"

struct timer_now {
	char boot_id[37]; /* /proc/sys/kernel/random/boot_id */
	int64_t boot_ms;  /* CLOCK_BOOTTIME */
	int64_t wall_ms;
};
/* Reads the host's clocks. */
int timer_read(struct timer_now *ret, struct err *e);

struct env_timer timer_arm(int64_t length_ms, const struct timer_now *now);
/* Milliseconds left, 0 when it has ended; -1 where none runs. */
int64_t timer_left_ms(const struct env_timer *t, const struct timer_now *now);
/* Notes what is left; on a new boot the deadline is put on that boot's clock. True where the timer must be written to disk for it. */
bool timer_note(struct env_timer *t, const struct timer_now *now);
