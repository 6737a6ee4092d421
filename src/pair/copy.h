// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * copy (private to pair): archives from one member's store to the other's, over the link.
 *
 *	copy_send(l, &lock, store, on_event, ctx, &report, e)      on the side that has them
 *
 * and on the other side, for the questions that it asks:
 *
 *	copy_have(store, digests, n, &answer)         "have": what is there of each
 *	copy_take(&c, &m, e)                          "put": one piece of one of them
 *	copy_release(&c)
 *
 * Pieces are sent MESSAGE_WINDOW at a time without waiting for an answer, across archives: neither the time that an answer takes nor
 * many small archives slow it down. An archive whose copy was cut off is gone on with where it ended; it gets its name when its
 * SHA-256, taken while it came, is right. Each piece says how much is to come with it: what there is no room for is refused before any
 * of it is taken.
 */
#include "pair/link.h"
#include "store/store.h"

struct copy_report {
	uint32_t archives, lacking; /* sent; needed there, and not in the store that sends (gc removed them) */
	uint64_t bytes;
	struct str first_lacking; /* its file name */
};
int copy_send(struct link *l, const struct env_spec_file *lock, struct store *from, link_event_fn *on_event, void *ctx,
	      struct copy_report *ret, struct err *e);

struct copy {
	struct store *store; /* the caller's */
	/* where that is, and how much stays free there */
	int root_fd;
	const char *root_path;
	uint64_t reserve_bytes;
	uint8_t sha256[SHA256_SIZE];
	int fd; /* of the archive that comes just now, -1: none */
	uint64_t at;
	struct digest *digest;
};
/* n digests → n times 8 bytes, big endian: what is there, COPY_THERE where nothing is needed. */
#define COPY_THERE UINT64_MAX
int copy_have(struct store *s, struct str digests, struct buf *ret, struct err *e);
int copy_take(struct copy *c, const struct wire_message *m, struct err *e);
void copy_release(struct copy *c); /* the store stays the caller's */
