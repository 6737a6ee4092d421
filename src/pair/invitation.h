// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * invitation (private to pair): the line that a person carries from member 1 to member 2.
 *
 *	pair1/10.0.0.1:8479/<88 letters and digits>
 *
 * 55 bytes in base 32 (RFC 4648, small letters): the fingerprint of member 1's certificate, the secret, and the first four bytes of the
 * SHA-256 of all before them, so that a slip of the hand is told from a wrong host. Pure.
 */
#include "base/arena.h"
#include "base/digest.h"

enum { INVITATION_SECRET = 19, INVITATION_TEXT_MAX = 256 };

struct invitation {
	struct str address; /* endpoint.h, in its one way of writing it */
	uint8_t fingerprint[SHA256_SIZE];
	uint8_t secret[INVITATION_SECRET];
};
struct str invitation_text(struct arena *a, const struct invitation *i);
/* White space around it and capital letters are taken. ERR_USAGE, told for people; the text is in no message. */
int invitation_parse(struct arena *a, struct str text, struct invitation *ret, struct err *e);
