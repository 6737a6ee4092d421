// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * link (private to pair): one authenticated connection between the members. Questions and answers as in base/wire.h (a JSON object, and
 * bytes), over TLS 1.3; whoever asks may be told events before the answer.
 *
 *	link_connect(root_fd, &pair, wait_ms, &l, e)        TCP, handshake, the other's certificate is the pinned one
 *	link_call(l, json, bytes, wait_ms, on_event, ctx, &arena, &m, e)
 *	link_free(l)
 *
 * and on the other side
 *
 *	link_accept(root_fd, &pair, fd, wait_ms, &l, e)
 *	while (link_take(l, wait_ms, &arena, &m, e) > 0) ... link_put(l, json, bytes, e)
 *
 * Blocking, each call with its own limit of time; a link belongs to one process and one thread. A message with "event" is no answer.
 * link_over makes one of a plain socket, for tests. From the first message on, a thread of the link's own says that it is alive whenever
 * nothing else was said for LINK_ALIVE_MS, whatever its owner is busy with; link_take and link_call do not show these.
 *
 * ERR_NETWORK: nobody there, cut off, no message within wait_ms, or nothing at all for LINK_SILENT_MS (whoever waits for what takes long
 * gives a long wait_ms; that the other side is gone shows all the same). ERR_VERIFY: not the certificate that is pinned.
 * ERR_UNSUPPORTED: no protocol that both speak. ERR_INPUT, ERR_LIMIT: it does not keep to the format.
 */
#include "base/wire.h"
#include "pair/pair.h"

enum {
	LINK_CONNECT_MS = 5000,
	LINK_ALIVE_MS = 2000,
	LINK_SILENT_MS = 10000,
	LINK_MESSAGE_MS = 30000, /* for a message that has begun to become whole */
};
/* The protocols that this slipway speaks; two members use the newest that both do. What an older one leaves unread is no new protocol.
 * Tests are built with others, too. */
#ifndef LINK_PROTOCOL_OLDEST
#define LINK_PROTOCOL_OLDEST 1
#define LINK_PROTOCOL_NEWEST 1
#endif

struct link;
typedef void link_event_fn(void *ctx, const struct json *event);
int link_connect(int root_fd, const struct pair *p, int64_t wait_ms, struct link **ret, struct err *e);
int link_accept(int root_fd, const struct pair *p, int fd, int64_t wait_ms, struct link **ret, struct err *e);
struct link *link_over(int fd); /* takes fd */
void link_free(struct link *l); /* the other side sees a proper end */
DEFINE_AUTO(struct link *, link, link_free);

int link_put(struct link *l, struct str json, struct str bytes, struct err *e);
/* 1 and the next message; 0: the other side ended the connection properly. */
int link_take(struct link *l, int64_t wait_ms, struct arena *a, struct wire_message *ret, struct err *e);
/* One question. An answer with "error" is that failure, with its code. */
int link_call(struct link *l, struct str json, struct str bytes, int64_t wait_ms, link_event_fn *event, void *ctx,
	      struct arena *a, struct wire_message *ret, struct err *e);

/* What the other side said of itself when the link was made; nothing with link_over. */
struct link_peer {
	struct str version;    /* of its slipway */
	int64_t protocol;      /* that both speak */
	int64_t wall_ms;       /* its clock then */
	int64_t round_trip_us; /* link_connect alone: of one question */
};
const struct link_peer *link_peer(const struct link *l);
