// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * crypto: what of libcrypto TUF needs: public keys as metadata writes them, their signatures, and private keys in PEM.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

enum tuf_scheme {
	SCHEME_OTHER, /* never verifies */
	SCHEME_ED25519,
	SCHEME_ECDSA_P256,
	SCHEME_RSA_PSS,
	SCHEME_RSA_PKCS1,
};
/* By keytype and scheme together. */
enum tuf_scheme scheme_of(struct str keytype, struct str scheme);

enum { KEY_VALUE_SIZE = 32 };
struct public_key; /* loaded; knows its scheme */
/* `text` is keyval.public. NULL where it is none: a key that cannot be read counts for nothing, and is no error. */
struct public_key *public_key_load(enum tuf_scheme scheme, struct str text);
/* What makes it the key that it is, however it is written, whatever its id and scheme. */
void public_key_value(const struct public_key *k, uint8_t out[KEY_VALUE_SIZE]);
bool public_key_verifies(const struct public_key *k, struct str message, const uint8_t *sig, size_t sig_n);
void public_key_free(struct public_key *k);
DEFINE_AUTO(struct public_key *, public_key, public_key_free);

/* -- private keys (secret.c) --------------------------------------------------------------------------------------- */

struct secret_key;
/* SCHEME_ED25519 or SCHEME_ECDSA_P256. */
int secret_key_make(enum tuf_scheme scheme, struct secret_key **ret, struct err *e);
/* PKCS #8 in PEM; passphrase STR_NONE: not encrypted. */
bool secret_key_is_encrypted(struct str pem);
int secret_key_read(struct str pem, struct str passphrase, struct secret_key **ret, struct err *e);
int secret_key_put_pem(const struct secret_key *k, struct str passphrase, struct buf *b, struct err *e);
/* As keyval.public has it: hex for ed25519, PEM for P-256. */
int secret_key_put_public(const struct secret_key *k, struct buf *b, struct err *e);
/* Appends the signature in hex; RSA as `scheme` says. */
int secret_key_sign(const struct secret_key *k, enum tuf_scheme scheme, struct str message, struct buf *b,
		    struct err *e);
void secret_key_free(struct secret_key *k);
DEFINE_AUTO(struct secret_key *, secret_key, secret_key_free);
