// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * scan: the scanner of repodata.json. Private to channel/.
 *
 * It works on a window of bytes whose end is followed by SCAN_PAD quote characters, so that its loops need no bound of
 * their own. A function that meets the end of the window answers false with rc SCAN_MORE: the caller brings in more
 * bytes and begins the same record again, which costs nothing because records are small beside the window.
 *
 * scan_value skips loosely (strings and bracket depth only). What is kept is checked strictly when it is seen for the
 * first time (scan_check); what is seen again is byte for byte the same.
 */
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { SCAN_PAD = 64, SCAN_DEPTH_MAX = 128 };
enum scan_rc { SCAN_OK, SCAN_MORE, SCAN_BAD };

struct scan {
	const char *p, *end;
	enum scan_rc rc;
	const char *what; /* SCAN_BAD: what was expected at p */
	bool escaped;	  /* set when a string with a backslash passes; the caller resets it */
};

static inline bool scan_more(struct scan *s)
{
	s->rc = SCAN_MORE;
	return false;
}

static inline bool scan_bad(struct scan *s, const char *what)
{
	s->rc = s->p >= s->end ? SCAN_MORE : SCAN_BAD;
	s->what = what;
	return false;
}

static inline void scan_space(struct scan *s)
{
	while (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t')
		s->p++;
}

/* The next byte after white space; the pad's quote at the end of the window. */
static inline char scan_peek(struct scan *s)
{
	scan_space(s);
	return *s->p;
}

static inline bool scan_char(struct scan *s, char c, const char *what)
{
	if (scan_peek(s) != c || s->p >= s->end)
		return scan_bad(s, what);
	s->p++;
	return true;
}

/* From behind an opening quote to the closing one. */
static inline const char *scan_quote(const char *p, bool *escaped)
{
#ifdef __SSE2__
	const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
	for (;;) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
		unsigned m =
			(unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)));
		if (m == 0) {
			p += 16;
			continue;
		}
		p += __builtin_ctz(m);
		if (*p == '"')
			return p;
		*escaped = true;
		p += 2;
	}
#else
	for (;;) {
		while (*p != '"' && *p != '\\')
			p++;
		if (*p == '"')
			return p;
		*escaped = true;
		p += 2;
	}
#endif
}

/* A string's bytes between its quotes, escapes as they are. */
static inline bool scan_string(struct scan *s, struct str *ret)
{
	if (scan_peek(s) != '"')
		return scan_bad(s, "expected a string");
	const char *from = s->p + 1, *to;
	if (from >= s->end)
		return scan_more(s);
	to = scan_quote(from, &s->escaped);
	if (to >= s->end)
		return scan_more(s);
	*ret = str_of(from, (size_t)(to - from));
	s->p = to + 1;
	return true;
}

/* Skips one value; *ret is its text. */
bool scan_value(struct scan *s, struct str *ret);
/* A number from 0 to INT64_MAX; a fraction is cut off. null gives *has = false. */
bool scan_number(struct scan *s, uint64_t *ret, bool *has);
/* n bytes of hexadecimal digits between quotes; null and "" give *has = false. */
bool scan_hex(struct scan *s, uint8_t *out, size_t n, bool *has);
/* Text between quotes with its escapes resolved, appended to b; false on a wrong escape. */
bool scan_unescape(struct str raw, struct buf *b);
/* Whole, strict RFC 8259 value with valid UTF-8 and depth ≤ SCAN_DEPTH_MAX; NULL where it is good. The text must be
 * followed by SCAN_PAD readable bytes (a buf with scan_pad). */
const char *scan_check(struct str text);
void scan_pad(struct buf *b);
bool scan_utf8(struct str s);
/* Appends s between quotes with what must be escaped escaped. */
void scan_put_string(struct buf *b, struct str s);
