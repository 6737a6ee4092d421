// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * join (private to pair): how a stranger becomes the other member, at member 1. pair_join (pair.h) is the other end.
 *
 *	join_accept(root_fd, fd, wait_ms, &arena, &l, &note, e)
 *		1: *l is the other member's link, as of link_accept
 *		0: somebody joined, or did so again; *note says who
 *		-1: refused, and why; the other side was told as much as it may know
 *
 * A stranger gets as far as a question where an invitation is open, and no further than their answer.
 */
#include "pair/handshake.h"

int join_accept(int root_fd, int fd, int64_t wait_ms, struct arena *a, struct link **ret, struct str *ret_note,
		struct err *e);

/* The question, as it comes from outside. */
struct join_request {
	struct pair_host host; /* name and address are good */
	uint8_t secret[INVITATION_SECRET];
};
int join_parse(const struct json *j, struct join_request *ret, struct err *e);
