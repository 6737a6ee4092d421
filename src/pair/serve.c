// SPDX-License-Identifier: Apache-2.0
/* What a process of the agent does with one connection. */
#include <stdatomic.h>

#include "pair/join.h"
#include "pair/session.h"

enum { HANDSHAKE_MS = LINK_CONNECT_MS };

static void note(const struct pair_opts *o, const char *text)
{
	const struct upgrade_event v = {.kind = UPGRADE_EVENT_NOTE, .text = text};
	if (o->local.event)
		o->local.event(o->local.ctx, &v);
}

bool pair_seat_take(struct pair_seat *s)
{
	int idle = PAIR_SEAT_IDLE;
	return atomic_compare_exchange_strong(&s->state, &idle, PAIR_SEAT_TAKEN);
}

int pair_serve(const struct pair_opts *o, int fd, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(link) l = NULL;
	struct str said;
	int rc = join_accept(o->local.root_fd, fd, HANDSHAKE_MS, &a, &l, &said, e);
	if (rc == 0)
		note(o, said.p);
	return rc <= 0 ? rc : session_run(l, o, e);
}
