// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * digest: SHA-256 (everything), SHA-512, SHA-1 and MD5 (only to read what upstreams publish), streaming. libcrypto does the work.
 *
 *	struct digest *d = digest_new(DIGEST_SHA256);
 *	digest_update(d, p, n); ...
 *	uint8_t out[DIGEST_MAX]; size_t n = digest_final(d, out);    d may be reused after digest_reset
 *	digest_free(d);                                              or auto_ptr(digest)
 */
#include <stdbool.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

enum digest_kind { DIGEST_SHA256, DIGEST_MD5, DIGEST_SHA512, DIGEST_SHA1, DIGEST_KINDS };
enum { SHA256_SIZE = 32, MD5_SIZE = 16, SHA512_SIZE = 64, SHA1_SIZE = 20, DIGEST_MAX = 64, SHA256_HEX_SIZE = 65 };

struct digest;
struct digest *digest_new(enum digest_kind kind);
void digest_update(struct digest *d, const void *p, size_t n);
size_t digest_final(struct digest *d, uint8_t *out); /* as many bytes as digest_size says */
void digest_reset(struct digest *d);
void digest_free(struct digest *d);
DEFINE_AUTO(struct digest *, digest, digest_free);

void sha256(const void *p, size_t n, uint8_t out[SHA256_SIZE]);
/* Digest of a file from its start. */
int sha256_fd(int fd, uint8_t out[SHA256_SIZE], struct err *e);
/* A digest that somebody else told, of a file that is to be had. */
struct digest_value {
	enum digest_kind kind;
	bool known;
	uint8_t bytes[DIGEST_MAX]; /* as many as digest_size says, the rest zero */
};
size_t digest_size(enum digest_kind kind);
/* From hex of either case; false where it is not exactly that kind's. */
bool digest_parse(enum digest_kind kind, struct str hex, struct digest_value *ret);

/* Lower-case hex, NUL-terminated: out must hold 2*n+1 bytes. */
void hex_encode(const uint8_t *p, size_t n, char *out);
