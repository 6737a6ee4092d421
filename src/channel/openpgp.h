// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * openpgp: signatures that apt, dnf and zypper know. Private to channel/; made by the gpg program, checked by gpgv
 * (doc/decisions/0063-openpgp.md).
 *
 *	auto_ptr(openpgp) g = NULL;
 *	openpgp_open(signer->home, &g, e)			one of all processes at a time, waits up to a minute
 *	openpgp_sign(g, signer->key, OPENPGP_CLEAR, text, &b, e)
 *
 * A home folder belongs to the operator and is nowhere below what is served. gpg's agent runs from the first signature until
 * openpgp_close, unless it ran before. The key has no passphrase, or the operator's own agent knows it.
 */
#include "channel/channel.h"

struct openpgp;
int openpgp_open(const char *home, struct openpgp **ret, struct err *e);
void openpgp_close(struct openpgp *g);
DEFINE_AUTO(struct openpgp *, openpgp, openpgp_close);

enum openpgp_form {
	OPENPGP_CLEAR,	  /* the text and its signature in one (InRelease) */
	OPENPGP_DETACHED, /* the armored signature alone (Release.gpg, repomd.xml.asc) */
};
/* `key`: fingerprint. Appends to ret. */
int openpgp_sign(struct openpgp *g, const char *key, enum openpgp_form form, struct str text, struct buf *ret,
		 struct err *e);

/*
 * One good signature by a key of the keyring (a file, armored or not, of any number of keys) is enough, none may be bad; SHA-1
 * and older are no signatures. Keys and signatures that have expired do not count. ERR_VERIFY tells what is wrong.
 * openpgp_check_clear appends what was signed, and only that; without a keyring (NULL) it is taken without a check.
 */
int openpgp_check_clear(const char *keyring, struct str text, const char *what, struct buf *ret, struct err *e);
int openpgp_check_detached(const char *keyring, struct str text, struct str signature, const char *what, struct err *e);
