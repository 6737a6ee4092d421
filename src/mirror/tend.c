// SPDX-License-Identifier: Apache-2.0
/* What the server does by itself: channels that follow others are brought up to date, each when it is due. */
#include <stdio.h>
#include <unistd.h>

#include "mirror/internal.h"

enum { LOOK_MS = 200, AGAIN_MIN_MS = 60000, AGAIN_MAX_MS = 3600000 };

struct tended {
	const struct mirror_channel *channel;
	int64_t due_ms; /* monotonic */
	int64_t again_ms;
};

static void note(struct progress *p, const struct mirror_channel *c, enum progress_kind kind, const char *text)
{
	char name[128];
	snprintf(name, sizeof(name), "%.*s", STR_ARG(c->name));
	progress_send(p, (struct progress_event){.kind = kind, .phase = "sync", .id = name, .text = text});
}

/* One that failed is tried again soon, then less and less often; one that another process syncs just now is none that failed. */
static void bring_up_to_date(struct mirror *m, struct tended *t, const atomic_bool *stop, struct progress *p)
{
	auto_arena a = ARENA_INIT;
	struct mirror_sync_result r = {0};
	struct err e = ERR_INIT;
	const struct mirror_sync_opts o = {.bulk_mbit_per_s = -1, .stop = stop};
	int rc = mirror_sync(m, t->channel, &o, &a, &r, &e);
	if (rc == 0 || e.code == ERR_BUSY) {
		t->again_ms = AGAIN_MIN_MS;
		t->due_ms = clock_mono_ms() + t->channel->refresh_ms;
	} else {
		t->due_ms = clock_mono_ms() + t->again_ms;
		t->again_ms = t->again_ms > AGAIN_MAX_MS / 2 ? AGAIN_MAX_MS : 2 * t->again_ms;
		if (!atomic_load(stop))
			note(p, t->channel, PROGRESS_FAILED, e.msg);
		return;
	}
	if (rc == 0 && r.switched) {
		auto_buf b = BUF_INIT(256);
		buf_printf(&b, "up to date: %llu packages, %llu fetched now", (unsigned long long)r.packages,
			   (unsigned long long)r.fetched);
		note(p, t->channel, PROGRESS_NOTE, b.p);
	}
}

int mirror_tend(struct mirror *m, const atomic_bool *stop, struct progress *progress, struct err *e)
{
	const struct mirror_config *config = mirror_config(m);
	auto_free struct tended *v = xcalloc(config->channels_n + 1, sizeof(*v));
	(void)e;
	for (size_t i = 0; i < config->channels_n; i++)
		v[i] = (struct tended){&config->channels[i], 0, AGAIN_MIN_MS};
	while (!atomic_load(stop)) {
		for (size_t i = 0; i < config->channels_n && !atomic_load(stop); i++)
			if (v[i].channel->type == MIRROR_FOLLOW && clock_mono_ms() >= v[i].due_ms)
				bring_up_to_date(m, &v[i], stop, progress);
		usleep(LOOK_MS * 1000);
	}
	return 0;
}
