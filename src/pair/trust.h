// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * trust (private to pair): what ROOT/pair/ says of the two members (doc/formats/pair.md).
 *
 *	trust_read(root_fd, &arena, &t, e)              1; 0: this host is no member
 *	trust_identity(root_fd, &arena, &id, e)         its key and certificate
 */
#include "pair/pair.h"
#include "pair/tls.h"

struct trust {
	struct pair pair;
	uint8_t pin[SHA256_SIZE];	 /* the other one's certificate, where joined */
	uint8_t invited_by[SHA256_SIZE]; /* member 2: whose invitation it follows, joined or not yet */
};
int trust_read(int root_fd, struct arena *a, struct trust *ret, struct err *e);
int trust_identity(int root_fd, struct arena *a, struct tls_identity *ret, struct err *e);
