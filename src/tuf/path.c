// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>

#include "tuf/meta.h"

/* At a '[': reads the set and tells whether c is in it. 0 where it is no set (then '[' is a '['), else its length. */
static size_t take_set(struct str p, char c, bool *ret_in)
{
	size_t i = 1;
	bool negated = i < p.n && p.p[i] == '!', in = false;
	i += negated;
	for (size_t first = i; i < p.n && (p.p[i] != ']' || i == first); i++) {
		unsigned char lo = (unsigned char)p.p[i], hi = lo;
		if (i + 2 < p.n && p.p[i + 1] == '-' && p.p[i + 2] != ']') {
			hi = (unsigned char)p.p[i + 2];
			i += 2;
		}
		in |= lo <= (unsigned char)c && (unsigned char)c <= hi;
	}
	if (i >= p.n || memchr(p.p, '/', i)) /* a component ends there */
		return 0;
	*ret_in = in != negated && c != '/';
	return i + 1;
}

/* How much of the pattern takes c: 0 nothing does. */
static size_t takes(struct str p, char c)
{
	bool in = false;
	size_t n;
	if (!p.n)
		return 0;
	if (p.p[0] == '?')
		return c != '/';
	if (p.p[0] == '[' && (n = take_set(p, c, &in)))
		return in ? n : 0;
	return p.p[0] == c;
}

/* Where it goes wrong, the last '*' takes one byte more: at most pattern × path steps. */
bool path_matches(struct str pattern, struct str path)
{
	struct str star = STR_NONE, from = STR_NONE;
	while (path.n) {
		size_t n;
		if (pattern.n && pattern.p[0] == '*') {
			pattern = str_skip(pattern, 1);
			star = pattern, from = path;
		} else if ((n = takes(pattern, path.p[0]))) {
			pattern = str_skip(pattern, n);
			path = str_skip(path, 1);
		} else if (star.p && from.n && from.p[0] != '/') {
			from = str_skip(from, 1);
			pattern = star, path = from;
		} else {
			return false;
		}
	}
	while (pattern.n && pattern.p[0] == '*')
		pattern = str_skip(pattern, 1);
	return pattern.n == 0;
}

void put_quoted(struct buf *b, struct str s, bool keep_slash)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		bool plain = (c < 0x80 && isalnum(c)) || (c && strchr("_.-~", c)) || (c == '/' && keep_slash);
		if (plain)
			buf_put_char(b, (char)c);
		else
			buf_printf(b, "%%%02X", c);
	}
}
