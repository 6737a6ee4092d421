// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * wire: messages over a stream socket, for processes of ours that talk to each other.
 *
 * A message is a JSON object and, where it needs them, bytes: 4 bytes length of the JSON, 4 bytes length of the bytes (both big-endian),
 * then the two. At most WIRE_JSON_MAX and WIRE_BYTES_MAX; what announces more is refused before anything is allocated for it, and memory
 * grows with what has come, not with what was announced.
 *
 *	struct wire *w = wire_new(fd);                          takes the descriptor; non-blocking from here on
 *	wire_put(w, json, bytes, e);                            queued; ERR_LIMIT where the other side takes nothing
 *	wire_pump(w, e);                                        writes and reads what can be: 0; -1: broken, or the other side is gone
 *	while (wire_take(w, &arena, &m, e) > 0) ...             whole messages, in their order: 1, 0, -1 where they are none
 *	wire_wants(w)                                           LOOP_IN, and LOOP_OUT while something is queued
 *
 * wire_call does all of this for one question and its answer, and waits for it. wire_new_over carries the same messages over something
 * else than a socket (TLS), which its owner waits for.
 *
 * ERR_NETWORK: the other side is gone or silent. ERR_INPUT, ERR_LIMIT: it does not keep to this; nothing more is read from it.
 */
#include <sys/types.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "base/loop.h"

enum { WIRE_HEAD = 8, WIRE_JSON_MAX = 1 << 20, WIRE_BYTES_MAX = 1 << 20, WIRE_QUEUE_MAX = 4 << 20 };

struct wire;
struct wire_message {
	const struct json *json; /* an object */
	struct str bytes;
};
/* How bytes go and come. Both return at once: how many, 0 where none can now, -1 where it is broken; recv tells by *ret_end (and 0)
 * that the other side has said its last. */
struct wire_io {
	ssize_t (*send)(void *ctx, const char *p, size_t n, struct err *e);
	ssize_t (*recv)(void *ctx, char *p, size_t n, bool *ret_end, struct err *e);
};
struct wire *wire_new(int fd);
struct wire *wire_new_over(const struct wire_io *io, void *ctx); /* wire_fd is -1; what carries it stays its owner's */
void wire_free(struct wire *w);					 /* closes the descriptor */
DEFINE_AUTO(struct wire *, wire, wire_free);

int wire_fd(const struct wire *w);
/* For whom less is enough: from here on more than this is refused. Both at most as above. */
void wire_limit(struct wire *w, size_t json_max, size_t bytes_max);
int wire_put(struct wire *w, struct str json, struct str bytes, struct err *e);
/* What came before the other side went away can still be taken after the -1. Reads no more than one message ahead. */
int wire_pump(struct wire *w, struct err *e);
int wire_flush(struct wire *w, struct err *e); /* the writing alone */
int wire_take(struct wire *w, struct arena *a, struct wire_message *ret, struct err *e);
enum loop_events wire_wants(const struct wire *w);
bool wire_is_partial(const struct wire *w); /* a message has begun and is not whole */
bool wire_has_queue(const struct wire *w);

/* Over a socket: sends a question and waits at most wait_ms (real time) for the next message. */
int wire_call(struct wire *w, struct str json, struct str bytes, int64_t wait_ms, struct arena *a,
	      struct wire_message *ret, struct err *e);
