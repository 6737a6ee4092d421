// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * trust (private to pair): what ROOT/pair/ says of the two members (doc/formats/pair.md).
 *
 *	trust_read(root_fd, &arena, &t, e)              1; 0: this host is no member
 *	trust_identity(root_fd, &arena, &id, e)         its key and certificate
 *
 * Whoever changes anything holds trust_lock, and reads again behind it. Each file is replaced whole; `self` is written last and removed
 * first: without it the others mean nothing, and are cleared away by whoever begins.
 */
#include "pair/invitation.h"
#include "pair/pair.h"
#include "pair/tls.h"

struct trust {
	struct pair pair;
	uint8_t own[SHA256_SIZE];
	uint8_t pin[SHA256_SIZE];	 /* the other one's certificate, where joined */
	uint8_t invited_by[SHA256_SIZE]; /* member 2: whose invitation it follows, joined or not yet */
};
int trust_read(int root_fd, struct arena *a, struct trust *ret, struct err *e);
int trust_identity(int root_fd, struct arena *a, struct tls_identity *ret, struct err *e);
int trust_check_host(const struct pair_host *h, struct err *e); /* name and address */

int trust_lock(int root_fd, struct err *e); /* a descriptor; waits for another command, but not long */
/* A new key, after everything that was there before is gone. */
int trust_begin(int root_fd, struct arena *a, struct tls_identity *ret, uint8_t ret_fingerprint[SHA256_SIZE],
		struct err *e);
int trust_write_self(int root_fd, uint32_t number, const struct pair_host *h, const uint8_t own[SHA256_SIZE],
		     const uint8_t invited_by[SHA256_SIZE], struct err *e);
int trust_write_peer(int root_fd, const struct pair_host *h, const uint8_t fingerprint[SHA256_SIZE],
		     struct str certificate, struct err *e);
int trust_forget(int root_fd, struct err *e);

/* What member 1 keeps of its invitation: never the secret itself. */
struct trust_open {
	uint8_t secret[SHA256_SIZE]; /* its SHA-256 */
	int64_t until_ms;	     /* wall */
	int64_t tries_left;
};
enum { TRUST_TRIES = 5 };
int trust_read_open(int root_fd, struct arena *a, struct trust_open *ret, struct err *e); /* 1; 0: there is none */
int trust_write_open(int root_fd, const struct trust_open *o, struct err *e);
