// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * str: a view of bytes that somebody else owns, passed by value, and the parsers that eat from its front.
 *
 * A view need not be NUL-terminated and may hold any byte. It is valid as long as what it points into.
 * Every str_take_* consumes what it recognised and returns true, or leaves the view as it was and returns false.
 *
 *	struct str s = str_c("12 apples"), word;
 *	uint64_t n;
 *	if (!str_take_u64(&s, &n) || !str_take_char(&s, ' ') || !str_take_until(&s, '\n', &word)) ...
 *
 * Print one with "%.*s" and STR_ARG(s).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
#define STR_ARG(s) (int)((s).n > 4096 ? 4096 : (s).n), (s).p ? (s).p : ""

static inline struct str str_of(const char *p, size_t n)
{
	return (struct str){p, n};
}
static inline struct str str_c(const char *z)
{
	return (struct str){z, z ? strlen(z) : 0};
}
static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_eq_c(struct str a, const char *z)
{
	return str_eq(a, str_c(z));
}
static inline bool str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}
static inline bool str_ends(struct str s, struct str suffix)
{
	return s.n >= suffix.n && (suffix.n == 0 || memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n) == 0);
}
static inline struct str str_skip(struct str s, size_t n)
{
	if (n > s.n)
		n = s.n;
	return (struct str){n ? s.p + n : s.p, s.n - n};
}
static inline struct str str_head(struct str s, size_t n)
{
	return (struct str){s.p, n < s.n ? n : s.n};
}

int str_cmp(struct str a, struct str b);	     /* bytewise, shorter first: <0, 0, >0 */
int str_casecmp(struct str a, struct str b);	     /* the same, ASCII letters as lower case */
struct str str_trim(struct str s);		     /* without ASCII white space at both ends */
ptrdiff_t str_find(struct str s, char c);	     /* offset of the first c, or -1 */
ptrdiff_t str_rfind(struct str s, char c);	     /* offset of the last c, or -1 */
ptrdiff_t str_search(struct str s, struct str what); /* offset of the first `what`, or -1 */
char *str_dup(struct str s);			     /* a NUL-terminated heap copy; the caller frees it */
/* Shell-style match where '*' is any run of bytes; nothing else is special. Linear in time for each '*'. */
bool str_glob(struct str pattern, struct str s);
/* The same for paths, where '*' does not span '/'. */
bool str_glob_path(struct str pattern, struct str s);

/* How many letters to change, add, take away or swap until a is b, ASCII letters alike in either case: for "did you mean". 64
 * where one has more than 63 bytes. */
unsigned str_distance(struct str a, struct str b);

bool str_take_char(struct str *s, char c);
bool str_take_str(struct str *s, struct str prefix);
/* Up to, not including, `stop`; the stop byte is eaten. False where there is none. */
bool str_take_until(struct str *s, char stop, struct str *ret);
/* A whole line without its "\n" or "\r\n"; the last line may lack them. False at the end of the input. */
bool str_take_line(struct str *s, struct str *ret);
/* Decimal digits; false on none and on overflow. */
bool str_take_u64(struct str *s, uint64_t *ret);
/* The next run of bytes that are not ASCII white space, leading white space skipped. */
bool str_take_word(struct str *s, struct str *ret);

/* The whole of s as a number; false on an empty view, other bytes, overflow. */
bool str_to_u64(struct str s, uint64_t *ret);
bool str_to_i64(struct str s, int64_t *ret);
/* Lower- or upper-case hex of exactly 2*n digits into out[n]. */
bool str_unhex(struct str s, uint8_t *out, size_t n);
/* Of lower-case hex digits alone; an empty one is. */
bool str_is_hex(struct str s);

/* The UTF-8 character at the front of s: its length in bytes, or 0 where there is none (empty, overlong, a surrogate,
 * beyond U+10FFFF, cut off). */
size_t utf8_take(struct str s, uint32_t *ret);
/* What a terminal takes for more than a character: controls, those beyond ASCII too, and what turns the direction of writing. */
bool utf8_is_control(uint32_t c);
/* Writes one character that is not a surrogate; returns its length, 1 to 4. */
size_t utf8_put(char *out, uint32_t c);
