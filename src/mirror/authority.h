// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * authority (private to mirror): DIR/pki.
 *
 *	authority-N.key, authority-N.crt    each authority that there was; keys stay as long as they sign lists of revoked ones
 *	current                             N of the one that signs
 *	ca.pem                              the bundle that everybody gets (pki.h)
 *	server.key, server.pem              the mirror's own
 *	crl.pem                             one list of each authority, for nginx; clients.c writes it
 *
 * Files are written whole, in an order in which whoever begins again goes on where it was left.
 */
#include "pki/pki.h"

enum { AUTHORITY_NUMBERS = PKI_BUNDLE_CERTS * 64 };

struct authority {
	int dir_fd; /* DIR/pki */
	unsigned number;
	struct pki_key *key;
	struct pki_cert *cert;
	char fingerprint[SHA256_HEX_SIZE];
	char *bundle;
};
#define AUTHORITY_INIT ((struct authority){.dir_fd = -1})
/* ERR_NOT_FOUND where there is none yet. */
int authority_open(int mirror_fd, struct authority *ret, struct err *e);
void authority_release(struct authority *a);
#define auto_authority cleanup_with(authority_release) struct authority
/* The authority of that number. 1; 0: there is none. */
int authority_other(const struct authority *a, unsigned number, struct pki_cert **ret_cert, struct pki_key **ret_key,
		    struct err *e);
