// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * conda_version: a conda version (CEP 33) as a byte string that memcmp orders. Private to pkg/.
 *
 * The version is a list of segments (the epoch first), a segment a list of components that are numbers and words in turn,
 * starting with a number (0 where none is written). What is missing counts as the number 0, so trailing zeros of a segment
 * and trailing empty segments say nothing and are left out. Written as tokens, the order of the bytes is then the order of
 * the versions, if the shorter key is read as though VK_END went on for ever:
 *
 *	where a word may stand:     VK_DEV < VK_WORD letters VK_WORD_END < VK_END < VK_POST
 *	where a number may stand:   VK_ZERO_LOW < VK_END < VK_ZERO_HIGH < 1 … < larger numbers
 *
 * VK_END closes a segment, which is the same as a 0 there. A 0 that is followed by a word needs tokens of its own, because
 * what follows decides whether the whole is before or after the closed segment: below it for any word, above it for "post".
 * Numbers 1 … 200 take one byte, larger ones a byte that gives their length and then their bytes, highest first.
 *
 *	"1.26.4"     END | 1 END 26 END 4                      (epoch | main; the last END is left out)
 *	"1!2.0rc1"   1 | 2 END ZERO_LOW WORD 'r' 'c' WORD_END 1
 *
 * Two keys have a token boundary at the same places as long as their bytes are equal, so equal bytes are equal versions and
 * a key that starts another one, segment for segment, is a prefix of its bytes.
 */
#include "pkg/pkg.h"

enum {
	VERSION_TEXT_MAX = 256, /* CEP 26 allows 64; what is longer than this is refused, not cut */
	VERSION_KEY_MAX = 3 * VERSION_TEXT_MAX + 8,
};

enum version_last { VERSION_LAST_ZERO, VERSION_LAST_NUMBER, VERSION_LAST_WORD, VERSION_LAST_SPECIAL };

struct version {
	uint64_t head;	    /* the first 8 bytes of the main key, highest first, filled up with VK_END */
	uint16_t main_n, n; /* bytes of the main key, of both */
	uint8_t last;	    /* enum version_last: what the last component is, "dev" and "post" being special */
	uint8_t key[];	    /* main, then local */
};

/* Room for one version on the stack. */
union version_key {
	struct version v;
	uint8_t room[sizeof(struct version) + VERSION_KEY_MAX];
};

enum version_read {
	VERSION_PREFIX = 1 << 0, /* keep trailing zeros: the key is for version_starts */
	VERSION_STRICT = 1 << 1, /* CEP 33's bound of 2^31-1 for a number, and CEP 26's of 64 characters */
};
/* NULL where it was read; else what is wrong, and *ret_at says at which byte. */
const char *version_read(struct str text, unsigned flags, union version_key *ret, size_t *ret_at);
const struct version *version_keep(struct arena *a, const union version_key *k);

int version_compare(const struct version *a, const struct version *b);
/* Whether all segments of `prefix` (read with VERSION_PREFIX) equal the first ones of v (CEP 29, fuzzy equality). */
bool version_starts(const struct version *v, const struct version *prefix);
/* The looser reading of older clients: the last segment of the prefix need only begin that of v ("1.1.1*" and 1.1.1k). */
bool version_starts_loosely(const struct version *v, const struct version *prefix);
/* `~=`: the prefix without its last segment; the epoch alone where there is but one. */
struct str version_without_last_segment(struct str text);

const struct version *conda_version_parse(struct arena *a, struct str text, struct err *e);
