// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * digest: SHA-256 (everything), MD5 (only to read what upstreams publish), streaming. libcrypto does the work.
 *
 *	struct digest *d = digest_new(DIGEST_SHA256);
 *	digest_update(d, p, n); ...
 *	uint8_t out[DIGEST_MAX]; size_t n = digest_final(d, out);    d may be reused after digest_reset
 *	digest_free(d);                                              or auto_ptr(digest)
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

enum digest_kind { DIGEST_SHA256, DIGEST_MD5 };
enum { SHA256_SIZE = 32, MD5_SIZE = 16, DIGEST_MAX = 32, SHA256_HEX_SIZE = 65 };

struct digest;
struct digest *digest_new(enum digest_kind kind);
void digest_update(struct digest *d, const void *p, size_t n);
size_t digest_final(struct digest *d, uint8_t out[DIGEST_MAX]);
void digest_reset(struct digest *d);
void digest_free(struct digest *d);
DEFINE_AUTO(struct digest *, digest, digest_free);

void sha256(const void *p, size_t n, uint8_t out[SHA256_SIZE]);
/* Digest of a file from its start. */
int sha256_fd(int fd, uint8_t out[SHA256_SIZE], struct err *e);
/* Lower-case hex, NUL-terminated: out must hold 2*n+1 bytes. */
void hex_encode(const uint8_t *p, size_t n, char *out);
