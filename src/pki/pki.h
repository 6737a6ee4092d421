// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pki: keys, certificates and an authority of one's own (X.509 as RFC 5280 profiles it), by libcrypto, which is opened at first use. Pure
 * but for random numbers: no clock (milliseconds since 1970 UTC are handed in as now_ms), and no files but through pki_key_save and
 * pki_key_load. Why it is our own authority: doc/decisions/0062-pki.md; for auditors: doc/private-authority.md.
 *
 * The authority, once:
 *
 *	pki_key_new(PKI_EC_P256, &key, e)
 *	pki_authority_new(key, &(struct pki_authority_opts){.name = "your-mirror", .names = &names}, now_ms, &ca, e)
 *	pki_key_save(dir_fd, "ca.key", key, e)                 mode 0600, whole or not at all
 *	pki_cert_pem(ca, &arena)                               what everybody may have
 *
 * What it signs:
 *
 *	pki_sign_server(ca, ca_key, server_key, &names, days, now_ms, &cert, e)
 *	pki_request_read(text, &request, e)                    from a stranger: bounded, and signed with the key that it shows
 *	pki_sign_client(ca, ca_key, request, name, days, now_ms, &cert, e)
 *	pki_crl_new(ca, ca_key, &opts, now_ms, &arena, &pem, e)
 *
 * Who looks at them:
 *
 *	pki_verify(cert, &(struct pki_verify){.anchors = bundle, .purpose = PKI_SERVER, .host = "mirror.customer.com"}, now_ms, e)
 *
 * ERR_VERIFY then names certificate, issuer and host, says what is wrong, and what to do.
 *
 * A client asks on its own host: pki_key_new, pki_request_new. Of a request nothing is taken but the public key and the name that it
 * proposes; extensions that it asks for are not looked at.
 *
 * Limits: PEM text of one thing 16 KiB, of a bundle 128 KiB and 8 certificates, of a list of revoked ones 16 MiB. Keys: EC P-256 and
 * P-384 by name, Ed25519, RSA of 3072 to 4096 bits. Signatures with SHA-2 or Ed25519; nothing with SHA-1 or MD5. Anything else is
 * ERR_LIMIT or ERR_INPUT. Keys are written in PKCS #8 without a pass phrase, as whoever runs unattended needs them.
 *
 * Every certificate begins a day before now_ms, so that a host whose clock is a little behind can use it at once.
 */
#include "base/arena.h"
#include "base/digest.h"

enum { PKI_PEM_MAX = 16 << 10, PKI_BUNDLE_MAX = 128 << 10, PKI_BUNDLE_CERTS = 8, PKI_CRL_MAX = 16 << 20 };
enum { PKI_SERIAL_SIZE = 16, PKI_SERIAL_HEX_SIZE = 2 * PKI_SERIAL_SIZE + 1, PKI_NAMES_MAX = 32 };
/* What an authority gives out, and how long. */
enum { PKI_AUTHORITY_DAYS = 3650, PKI_SERVER_DAYS = 365, PKI_CLIENT_DAYS = 90, PKI_EARLY_DAYS = 1 };

/* -- keys -------------------------------------------------------------------------------------------------------- */
enum pki_kind { PKI_EC_P256, PKI_ED25519, PKI_RSA_3072 }; /* RSA where a client knows nothing newer */
struct pki_key;
int pki_key_new(enum pki_kind kind, struct pki_key **ret, struct err *e);
/* `where` names the text in messages. ERR_INPUT: none, one with a pass phrase, or of a kind that is not taken. */
int pki_key_read(struct str pem, const char *where, struct pki_key **ret, struct err *e);
int pki_key_pem(const struct pki_key *k, struct arena *a, struct str *ret, struct err *e);
/* As files of mode 0600, replaced by rename and synced. Load refuses (ERR_VERIFY) one that others may read. */
int pki_key_save(int dir_fd, const char *path, const struct pki_key *k, struct err *e);
int pki_key_load(int dir_fd, const char *path, struct pki_key **ret, struct err *e);
/* SHA-256 of the public key (SubjectPublicKeyInfo): what stays the same when a certificate is renewed. */
void pki_key_digest(const struct pki_key *k, uint8_t ret[SHA256_SIZE]);
void pki_key_free(struct pki_key *k);
DEFINE_AUTO(struct pki_key *, pki_key, pki_key_free);

/* -- names ------------------------------------------------------------------------------------------------------- */
/* What a server is called: DNS names (letters, digits, '-', '.', no wildcards) and addresses, each as a person writes it. */
struct pki_names {
	const struct str *v;
	size_t n;
};
/* ERR_USAGE with what is wrong. */
int pki_host_check(struct str host, bool *ret_is_address, struct err *e);
/* Of a client: letters, digits, '.', '-', '_', the first a letter or digit, at most 64 bytes. */
int pki_name_check(struct str name, struct err *e);

/* -- certificates ------------------------------------------------------------------------------------------------ */
struct pki_cert;
/* The first in the text. */
int pki_cert_read(struct str pem, const char *where, struct pki_cert **ret, struct err *e);
int pki_cert_read_der(struct str der, const char *where, struct pki_cert **ret, struct err *e);
struct str pki_cert_pem(const struct pki_cert *c, struct arena *a);
/* SHA-256 of the certificate as it goes over the line (DER). */
void pki_cert_fingerprint(const struct pki_cert *c, uint8_t ret[SHA256_SIZE]);
/* The same as people compare it, "3F:A0:…", and as other programs pin it. */
struct str pki_fingerprint_text(struct arena *a, const uint8_t fingerprint[SHA256_SIZE]);
bool pki_cert_is_of(const struct pki_cert *c, const struct pki_key *k);
void pki_cert_free(struct pki_cert *c);
DEFINE_AUTO(struct pki_cert *, pki_cert, pki_cert_free);

struct pki_cert_info {
	struct str subject, issuer; /* common names; where there is none, the whole name in one line */
	struct str serial;	    /* lower-case hexadecimal */
	int64_t not_before_ms, not_after_ms;
	uint8_t fingerprint[SHA256_SIZE], key[SHA256_SIZE];
	bool authority;
	const struct str *names; /* DNS names and addresses that it is for */
	size_t names_n;
};
int pki_cert_info(const struct pki_cert *c, struct arena *a, struct pki_cert_info *ret, struct err *e);
/* 2/3 of its life are over: time for another one. True too where it has not begun: then its clock or ours was wrong. */
bool pki_is_due(int64_t not_before_ms, int64_t not_after_ms, int64_t now_ms);

/* -- requests (PKCS #10) ----------------------------------------------------------------------------------------- */
struct pki_request;
int pki_request_new(const struct pki_key *k, struct str name, struct arena *a, struct str *ret_pem, struct err *e);
/* ERR_INPUT, ERR_LIMIT: not to be signed, and why, in words that a stranger may be told. */
int pki_request_read(struct str pem, struct pki_request **ret, struct err *e);
/* What it proposes to be called; empty where that is nothing that pki_name_check takes. */
struct str pki_request_name(const struct pki_request *r);
void pki_request_key_digest(const struct pki_request *r, uint8_t ret[SHA256_SIZE]);
void pki_request_free(struct pki_request *r);
DEFINE_AUTO(struct pki_request *, pki_request, pki_request_free);

/* -- an authority of one's own ----------------------------------------------------------------------------------- */
struct pki_authority_opts {
	struct str name; /* "your-mirror": the certificate says "your-mirror authority 2026-11-21 3fa04c" */
	const struct pki_names *names; /* NULL: no name constraints; else it can speak for these, what lies under
					  these DNS names, and its clients, and for nobody else */
	unsigned days;		       /* 0: PKI_AUTHORITY_DAYS */
};
int pki_authority_new(const struct pki_key *k, const struct pki_authority_opts *o, int64_t now_ms,
		      struct pki_cert **ret, struct err *e);
/* days 0: the defaults above. Never beyond the end of the authority itself; ERR_VERIFY where that is over, or where it may
 * not speak for these names. */
int pki_sign_server(const struct pki_cert *ca, const struct pki_key *ca_key, const struct pki_key *server,
		    const struct pki_names *names, unsigned days, int64_t now_ms, struct pki_cert **ret, struct err *e);
int pki_sign_client(const struct pki_cert *ca, const struct pki_key *ca_key, const struct pki_request *r,
		    struct str name, unsigned days, int64_t now_ms, struct pki_cert **ret, struct err *e);

struct pki_revoked {
	struct str serial; /* hexadecimal, as in struct pki_cert_info */
	int64_t at_ms;
};
struct pki_crl_opts {
	const struct pki_revoked *v;
	size_t n;
	uint64_t number; /* greater each time */
	int64_t next_ms; /* until when it may be used */
};
int pki_crl_new(const struct pki_cert *ca, const struct pki_key *ca_key, const struct pki_crl_opts *o, int64_t now_ms,
		struct arena *a, struct str *ret_pem, struct err *e);
struct pki_crl_info {
	const struct pki_revoked *v; /* sorted by serial */
	size_t n;
	uint64_t number;
	int64_t made_ms, next_ms;
};
/* Signed by `ca`, or ERR_VERIFY. Whether it is too old is the caller's to say. */
int pki_crl_read(struct str pem, const struct pki_cert *ca, struct arena *a, struct pki_crl_info *ret, struct err *e);

/* -- looking at what somebody shows ------------------------------------------------------------------------------ */
enum pki_purpose { PKI_SERVER, PKI_CLIENT };
struct pki_verify {
	struct str anchors; /* PEM: the authorities that are trusted */
	struct str crl;	    /* PEM, a list of each authority that may have signed it; empty: nothing is revoked */
	enum pki_purpose purpose;
	const char *host; /* name or address that was asked for; NULL: not looked at */
};
int pki_verify(const struct pki_cert *c, const struct pki_verify *v, int64_t now_ms, struct err *e);

/* -- a change of authorities ------------------------------------------------------------------------------------- */
/*
 * A bundle is PEM text that every other program takes as it is: the authorities that are trusted, the one in use first. Before a new authority
 * signs anything the old one announces it: a line before the new certificate holds the old one's signature on it,
 *
 *	announced-by: <SHA-256 of the old certificate> <signature, hexadecimal>
 *
 * so that who trusts the old one may trust the new one without asking a person, and whoever only holds a server cannot slip in an
 * authority. Both stand in the bundle while both are valid.
 *
 *	pki_bundle_begin(ca, &arena)                                     of one authority
 *	pki_bundle_announce(bundle, old, old_key, next, &arena, &b, e)   of the old and the new one
 *	pki_bundle_merge(mine, theirs, now_ms, &arena, &b, e)            what I trust after I was shown theirs
 */
struct str pki_bundle_begin(const struct pki_cert *ca, struct arena *a);
int pki_bundle_announce(struct str bundle, const struct pki_cert *by, const struct pki_key *by_key,
			const struct pki_cert *next, struct arena *a, struct str *ret, struct err *e);
/* Of theirs: what mine has, or what one that is trusted announced; mine that theirs lacks stays. What has expired goes, but where
 * nothing would be left. The order is theirs, then mine. */
int pki_bundle_merge(struct str mine, struct str theirs, int64_t now_ms, struct arena *a, struct str *ret,
		     struct err *e);
/* The certificates of a bundle; each is the caller's. ERR_INPUT where one is no authority. */
int pki_bundle_read(struct str bundle, struct pki_cert *ret[PKI_BUNDLE_CERTS], size_t *ret_n, struct err *e);
/* The certificate whose fingerprint begins with these bytes, as a bundle of it and of what it announced: from what a stranger
 * shows to who has nothing but a code. ERR_VERIFY where there is none. */
int pki_bundle_pick(struct str bundle, const uint8_t *prefix, size_t prefix_n, int64_t now_ms, struct arena *a,
		    struct str *ret, struct err *e);
