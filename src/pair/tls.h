// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * tls (private to pair): TLS 1.3 between two hosts that know each other's certificate byte for byte (doc/decisions/0050-tls.md).
 *
 *	tls_identity_new(&arena, &id, e)                   a key, and a certificate that it signs itself
 *	tls_open(fd, &opts, until_ms, &t, e)               takes fd; handshake
 *	tls_send(t, …), tls_recv(t, …)                     as struct wire_io wants them
 *	tls_wants(t)                                       what to poll for before the next try
 *	tls_free(t)                                        says that this was the last, if that can be said at once
 *
 * Both sides show a certificate. Nothing of it counts but its SHA-256: no name, no authority, no dates. No tickets, no resumption, no
 * earlier version. libssl is opened at first use.
 *
 * ERR_VERIFY: the other side is not who it should be, or (with e->sys EKEYREJECTED) does not take this one for whom it knows. ERR_NETWORK: gone, or not done in
 * time. ERR_INPUT: what comes is no TLS 1.3.
 */
#include <sys/types.h>

#include "base/arena.h"
#include "base/digest.h"

struct tls_identity {
	struct str key, certificate; /* PEM */
};
int tls_identity_new(struct arena *a, struct tls_identity *ret, struct err *e);
/* ERR_INPUT where it is none, or the two do not belong together. */
int tls_identity_check(const struct tls_identity *id, struct err *e);
/* SHA-256 of the certificate as it goes over the line (DER), of the first in `pem`. */
int tls_fingerprint(struct str pem, const char *where, uint8_t ret[SHA256_SIZE], struct err *e);

struct tls_opts {
	bool server;
	struct tls_identity identity;
	const uint8_t *pin; /* the other side's fingerprint; NULL: there is none */
	bool any;	    /* anybody else may come as well: look at tls_is_pinned */
};
struct tls;
/* until_ms: monotonic. */
int tls_open(int fd, const struct tls_opts *o, int64_t until_ms, struct tls **ret, struct err *e);
void tls_free(struct tls *t);
DEFINE_AUTO(struct tls *, tls, tls_free);
int tls_fd(const struct tls *t);
bool tls_is_pinned(const struct tls *t);
const uint8_t *tls_peer_fingerprint(const struct tls *t);
int tls_peer_certificate(struct tls *t, struct arena *a, struct str *ret_pem, struct err *e);

ssize_t tls_send(struct tls *t, const char *p, size_t n, struct err *e);
ssize_t tls_recv(struct tls *t, char *p, size_t n, bool *ret_end, struct err *e);
short tls_wants(const struct tls *t); /* POLLIN, POLLOUT */
