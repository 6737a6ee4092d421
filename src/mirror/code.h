// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * code (private to mirror): the text of a one-time code. Pure.
 *
 *	4h7k2m-9wq3rt-…    8 groups of 6 letters and digits, 30 bytes in Crockford's base 32:
 *
 *	13  the first bytes of the SHA-256 of the authority's certificate: whom the client is to believe
 *	 3  the number of the code: what wrong tries are counted against
 *	12  the secret
 *	 2  the first bytes of the SHA-256 of all before: a slip of the hand costs no try
 */
#include "base/arena.h"
#include "base/err.h"

enum { CODE_PIN = 13, CODE_SECRET = 12, CODE_TEXT_MAX = 256 };
struct code {
	uint8_t pin[CODE_PIN];
	uint32_t number; /* 24 bits */
	uint8_t secret[CODE_SECRET];
};
struct str code_text(struct arena *a, const struct code *c);
/* Capital letters, white space, more and fewer dashes, o for 0, i and l for 1 are taken. ERR_USAGE; the text is in no message. */
int code_parse(struct str text, struct code *ret, struct err *e);
/* Takes as long whatever the two are. */
bool same_bytes(const uint8_t *a, const uint8_t *b, size_t n);
