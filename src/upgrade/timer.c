// SPDX-License-Identifier: Apache-2.0
#include "upgrade/timer.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"

enum { NOTE_EVERY_MS = 30000 };

int timer_read(struct timer_now *ret, struct err *e)
{
	auto_buf id = BUF_INIT(64);
	struct timespec ts;
	if (fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", &id, e) < 0)
		return err_ctx(e, "the id of this boot");
	if (clock_gettime(CLOCK_BOOTTIME, &ts) < 0)
		return err_sys(e, "read the clock");
	struct str text = str_trim(buf_str(&id));
	snprintf(ret->boot_id, sizeof(ret->boot_id), "%.*s", STR_ARG(text));
	ret->boot_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	ret->wall_ms = clock_wall_ms();
	return 0;
}

struct env_timer timer_arm(int64_t length_ms, const struct timer_now *now)
{
	struct env_timer t = {
		.length_ms = length_ms,
		.left_ms = length_ms,
		.boot_deadline_ms = now->boot_ms + length_ms,
		.wall_deadline_ms = now->wall_ms + length_ms,
	};
	memcpy(t.boot_id, now->boot_id, sizeof(t.boot_id));
	return t;
}

int64_t timer_left_ms(const struct env_timer *t, const struct timer_now *now)
{
	if (!t->length_ms || t->stopped)
		return -1;
	bool same_boot = strcmp(t->boot_id, now->boot_id) == 0;
	int64_t left = same_boot ? t->boot_deadline_ms - now->boot_ms : t->wall_deadline_ms - now->wall_ms;
	int64_t most = same_boot ? t->length_ms : t->left_ms;
	return left < 0 ? 0 : left > most ? most : left;
}

bool timer_note(struct env_timer *t, const struct timer_now *now)
{
	int64_t left = timer_left_ms(t, now);
	if (left < 0)
		return false;
	bool new_boot = strcmp(t->boot_id, now->boot_id) != 0;
	if (!new_boot && t->left_ms - left < NOTE_EVERY_MS)
		return false;
	t->left_ms = left;
	t->wall_deadline_ms = now->wall_ms + left;
	if (new_boot) {
		memcpy(t->boot_id, now->boot_id, sizeof(t->boot_id));
		t->boot_deadline_ms = now->boot_ms + left;
	}
	return true;
}
