// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

#include "base/err.h"

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;
	return c ? c : (a.n > b.n) - (a.n < b.n);
}

int str_casecmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	for (size_t i = 0; i < n; i++) {
		int c = (int)lower(a.p[i]) - (int)lower(b.p[i]);
		if (c)
			return c;
	}
	return (a.n > b.n) - (a.n < b.n);
}

struct str str_trim(struct str s)
{
	while (s.n && is_space(s.p[0]))
		s = str_skip(s, 1);
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

ptrdiff_t str_find(struct str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
	return at ? at - s.p : -1;
}

ptrdiff_t str_rfind(struct str s, char c)
{
	const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;
	return at ? at - s.p : -1;
}

ptrdiff_t str_search(struct str s, struct str what)
{
	if (what.n == 0)
		return 0;
	const char *at = s.n ? memmem(s.p, s.n, what.p, what.n) : NULL;
	return at ? at - s.p : -1;
}

char *str_dup(struct str s)
{
	char *z = xmalloc(s.n + 1);
	if (s.n)
		memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return z;
}

/* The text before the first '*' must begin s and the text after the last must end it; each piece between is looked for
 * once, leftmost: a later match can only leave less room for the rest. */
bool str_glob(struct str pattern, struct str s)
{
	ptrdiff_t star = str_find(pattern, '*');
	if (star < 0)
		return str_eq(pattern, s);
	struct str piece = str_head(pattern, (size_t)star);
	if (!str_take_str(&s, piece))
		return false;
	pattern = str_skip(pattern, (size_t)star + 1);
	while ((star = str_find(pattern, '*')) >= 0) {
		piece = str_head(pattern, (size_t)star);
		ptrdiff_t at = str_search(s, piece);
		if (at < 0)
			return false;
		s = str_skip(s, (size_t)at + piece.n);
		pattern = str_skip(pattern, (size_t)star + 1);
	}
	return str_ends(s, pattern);
}

bool str_glob_path(struct str pattern, struct str s)
{
	size_t slashes = 0; /* as many in both: so none is left for a '*' */
	for (size_t i = 0; i < pattern.n; i++)
		slashes += pattern.p[i] == '/';
	for (size_t i = 0; i < s.n; i++)
		slashes -= s.p[i] == '/';
	return slashes == 0 && str_glob(pattern, s);
}

unsigned str_distance(struct str a, struct str b)
{
	unsigned d[64][64];
	if (a.n > 63 || b.n > 63)
		return 64;
	for (size_t i = 0; i <= a.n; i++)
		d[i][0] = (unsigned)i;
	for (size_t k = 0; k <= b.n; k++)
		d[0][k] = (unsigned)k;
	for (size_t i = 1; i <= a.n; i++)
		for (size_t k = 1; k <= b.n; k++) {
			unsigned x = d[i - 1][k - 1] + ((a.p[i - 1] | 0x20) != (b.p[k - 1] | 0x20));
			unsigned y = 1 + (d[i - 1][k] < d[i][k - 1] ? d[i - 1][k] : d[i][k - 1]);
			d[i][k] = x < y ? x : y;
			if (i > 1 && k > 1 && a.p[i - 1] == b.p[k - 2] && a.p[i - 2] == b.p[k - 1] &&
			    d[i - 2][k - 2] + 1 < d[i][k])
				d[i][k] = d[i - 2][k - 2] + 1;
		}
	return d[a.n][b.n];
}

bool str_take_char(struct str *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = str_skip(*s, 1);
	return true;
}

bool str_take_str(struct str *s, struct str prefix)
{
	if (!str_starts(*s, prefix))
		return false;
	*s = str_skip(*s, prefix.n);
	return true;
}

bool str_take_until(struct str *s, char stop, struct str *ret)
{
	ptrdiff_t at = str_find(*s, stop);
	if (at < 0)
		return false;
	*ret = str_head(*s, (size_t)at);
	*s = str_skip(*s, (size_t)at + 1);
	return true;
}

bool str_take_line(struct str *s, struct str *ret)
{
	if (s->n == 0)
		return false;
	if (!str_take_until(s, '\n', ret)) {
		*ret = *s;
		*s = str_skip(*s, s->n);
	}
	if (ret->n && ret->p[ret->n - 1] == '\r')
		ret->n--;
	return true;
}

bool str_take_u64(struct str *s, uint64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;
	for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(s->p[i] - '0'), &v))
			return false;
	if (i == 0)
		return false;
	*s = str_skip(*s, i);
	*ret = v;
	return true;
}

bool str_take_word(struct str *s, struct str *ret)
{
	size_t from = 0;
	while (from < s->n && is_space(s->p[from]))
		from++;
	size_t to = from;
	while (to < s->n && !is_space(s->p[to]))
		to++;
	if (to == from)
		return false;
	*ret = str_of(s->p + from, to - from);
	*s = str_skip(*s, to);
	return true;
}

bool str_to_u64(struct str s, uint64_t *ret)
{
	uint64_t v;
	if (!str_take_u64(&s, &v) || s.n)
		return false;
	*ret = v;
	return true;
}

bool str_to_i64(struct str s, int64_t *ret)
{
	uint64_t v;
	bool negative = str_take_char(&s, '-');
	if (!str_to_u64(s, &v) || v > (uint64_t)INT64_MAX + (negative ? 1 : 0))
		return false;
	*ret = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* Value + 1 of each digit, 0 for what is none. A table: digests come by the ten thousand. */
static const uint8_t hex_digits[256] = {
	['0'] = 1,  ['1'] = 2,	['2'] = 3,  ['3'] = 4,	['4'] = 5,  ['5'] = 6,	['6'] = 7,  ['7'] = 8,
	['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
	['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

bool str_unhex(struct str s, uint8_t *out, size_t n)
{
	if (s.n % 2 || s.n / 2 != n)
		return false;
	for (size_t i = 0; i < n; i++) {
		unsigned high = hex_digits[(unsigned char)s.p[2 * i]], low = hex_digits[(unsigned char)s.p[2 * i + 1]];
		if (high == 0 || low == 0)
			return false;
		out[i] = (uint8_t)((high - 1) << 4 | (low - 1));
	}
	return true;
}

size_t utf8_take(struct str s, uint32_t *ret)
{
	const unsigned char *p = (const unsigned char *)s.p;
	if (s.n == 0)
		return 0;
	if (p[0] < 0x80) {
		*ret = p[0];
		return 1;
	}
	size_t n = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
	if (n == 0 || n > s.n)
		return 0;
	uint32_t c = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
		return 0;
	*ret = c;
	return n;
}

bool str_is_hex(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
			return false;
	return true;
}

bool utf8_is_control(uint32_t c)
{
	return c < ' ' || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

size_t utf8_put(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)((0xf00u >> n) | c);
	return n;
}
