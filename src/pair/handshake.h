// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * handshake (private to pair): the beginning of a link, in its parts, for whoever lets strangers in (join.c).
 *
 * Until it is known who is there, a message is small (16 KiB, no bytes), and everything has one limit of time.
 */
#include "pair/link.h"
#include "pair/tls.h"
#include "pair/trust.h"

struct link *link_over_tls(struct tls *t); /* takes it */
struct tls *link_tls(const struct link *l);
/* Which protocol, which version; from then on messages may be as large as any. */
int link_say_hello(struct link *l, int64_t wait_ms, struct err *e);
int link_answer_hello(struct link *l, const struct json *said, struct err *e);
/* An answer that is a failure. */
int link_refuse(struct link *l, const struct err *why);
