// SPDX-License-Identifier: Apache-2.0
#include "channel/scan.h"

#include "base/json.h"

enum { NUMBER_PLAIN = 5 }; /* no number of fewer characters is too large: 1e999 */

static bool skip_nested(struct scan *s)
{
	unsigned depth = 0;
	do {
		if (s->p >= s->end)
			return scan_more(s);
		struct str skipped;
		switch (*s->p) {
		case '"':
			if (!scan_string(s, &skipped))
				return false;
			continue;
		case '[':
		case '{':
			depth++;
			break;
		case ']':
		case '}':
			depth--;
			break;
		default:
			break;
		}
		s->p++;
	} while (depth > 0);
	return true;
}

bool scan_value(struct scan *s, struct str *ret)
{
	char c = scan_peek(s);
	const char *from = s->p;
	if (s->p >= s->end)
		return scan_more(s);
	if (c == '"') {
		struct str inner;
		if (!scan_string(s, &inner))
			return false;
	} else if (c == '[' || c == '{') {
		if (!skip_nested(s))
			return false;
	} else {
		while ((*s->p >= '0' && *s->p <= '9') || (*s->p >= 'a' && *s->p <= 'z') || *s->p == '-' ||
		       *s->p == '+' || *s->p == '.' || *s->p == 'E')
			s->p++;
		if (s->p == from)
			return scan_bad(s, "expected a value");
		if (s->p >= s->end)
			return scan_more(s);
	}
	*ret = str_of(from, (size_t)(s->p - from));
	return true;
}

static bool take_null(struct scan *s)
{
	if (*s->p != 'n')
		return false;
	struct str text;
	return scan_value(s, &text) && (str_eq(text, STR("null")) || (s->p = text.p, scan_bad(s, "expected null")));
}

bool scan_number(struct scan *s, uint64_t *ret, bool *has)
{
	*has = false;
	if (scan_peek(s) == 'n')
		return take_null(s);
	const char *from = s->p;
	uint64_t v = 0;
	for (; *s->p >= '0' && *s->p <= '9'; s->p++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (unsigned)(*s->p - '0'), &v) ||
		    v > INT64_MAX)
			return scan_bad(s, "number too large");
	if (s->p == from)
		return scan_bad(s, "expected a number that is not negative");
	if (*s->p == '.')
		for (s->p++; *s->p >= '0' && *s->p <= '9';)
			s->p++;
	if (*s->p == 'e' || *s->p == 'E')
		return scan_bad(s, "expected a number without exponent");
	if (s->p >= s->end)
		return scan_more(s);
	*ret = v;
	*has = true;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#ifdef __SSE2__
/* 16 digits to 8 bytes; false where one is none. */
static bool hex16(const char *p, uint8_t *out)
{
	__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i lower = _mm_or_si128(v, _mm_set1_epi8(0x20));
	__m128i is_digit =
		_mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8('0' - 1)), _mm_cmplt_epi8(v, _mm_set1_epi8('9' + 1)));
	__m128i is_alpha = _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)),
					 _mm_cmplt_epi8(lower, _mm_set1_epi8('f' + 1)));
	if (_mm_movemask_epi8(_mm_or_si128(is_digit, is_alpha)) != 0xffff)
		return false;
	__m128i nibble = _mm_or_si128(_mm_and_si128(is_digit, _mm_sub_epi8(v, _mm_set1_epi8('0'))),
				      _mm_and_si128(is_alpha, _mm_sub_epi8(lower, _mm_set1_epi8('a' - 10))));
	/* in each 16-bit lane the low byte is the first digit */
	__m128i pair = _mm_or_si128(_mm_slli_epi16(nibble, 4), _mm_srli_epi16(nibble, 8));
	__m128i bytes = _mm_and_si128(pair, _mm_set1_epi16(0xff));
	_mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(bytes, bytes));
	return true;
}
#else
static bool hex16(const char *p, uint8_t *out)
{
	for (size_t i = 0; i < 8; i++) {
		int hi = hex_digit(p[2 * i]), lo = hex_digit(p[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}
#endif

bool scan_hex(struct scan *s, uint8_t *out, size_t n, bool *has)
{
	*has = false;
	if (scan_peek(s) == 'n')
		return take_null(s);
	struct str text;
	const char *from = s->p;
	if (!scan_string(s, &text))
		return false;
	if (text.n == 0)
		return true;
	bool good = text.n == 2 * n;
	for (size_t i = 0; good && i < n; i += 8)
		good = hex16(text.p + 2 * i, out + i);
	if (!good) {
		s->p = from;
		return scan_bad(s, n == 32 ? "expected 64 hexadecimal digits" : "expected 32 hexadecimal digits");
	}
	*has = true;
	return true;
}

static void put_utf8(struct buf *b, uint32_t c)
{
	char u[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	if (n == 1) {
		u[0] = (char)c;
	} else {
		for (size_t i = n; i-- > 1; c >>= 6)
			u[i] = (char)(0x80 | (c & 0x3f));
		u[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
	}
	buf_put(b, u, n);
}

static bool take_hex4(struct str *s, uint32_t *ret)
{
	if (s->n < 4)
		return false;
	uint32_t v = 0;
	for (size_t i = 0; i < 4; i++) {
		int d = hex_digit(s->p[i]);
		if (d < 0)
			return false;
		v = v << 4 | (uint32_t)d;
	}
	*s = str_skip(*s, 4);
	*ret = v;
	return true;
}

/* \uXXXX, and a pair of them beyond the basic plane. */
static bool unescape_unicode(struct str *s, struct buf *b)
{
	uint32_t c, low;
	if (!take_hex4(s, &c) || (c >= 0xdc00 && c < 0xe000))
		return false;
	if (c >= 0xd800 && c < 0xdc00) {
		if (!str_take_str(s, STR("\\u")) || !take_hex4(s, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	put_utf8(b, c);
	return true;
}

bool scan_unescape(struct str raw, struct buf *b)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	while (raw.n > 0) {
		ptrdiff_t at = str_find(raw, '\\');
		if (at < 0) {
			buf_put_str(b, raw);
			return true;
		}
		buf_put(b, raw.p, (size_t)at);
		raw = str_skip(raw, (size_t)at + 1);
		if (raw.n == 0)
			return false;
		char c = raw.p[0];
		raw = str_skip(raw, 1);
		const char *known = c ? strchr(from, c) : NULL;
		if (known)
			buf_put_char(b, to[known - from]);
		else if (c != 'u' || !unescape_unicode(&raw, b))
			return false;
	}
	return true;
}

/* The length of the UTF-8 sequence at p, 0 where it is none (overlong, surrogate, beyond U+10FFFF, cut). */
static size_t utf8_length(const unsigned char *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

bool scan_utf8(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	for (size_t i = 0, len; i < s.n; i += len)
		if ((len = utf8_length(p + i, s.n - i)) == 0)
			return false;
	return true;
}

void scan_pad(struct buf *b)
{
	buf_reserve(b, SCAN_PAD);
	memset(b->p + b->n, '"', SCAN_PAD);
}

static const char *check_string(struct scan *s)
{
	struct str text;
	s->escaped = false;
	if (!scan_string(s, &text))
		return "unfinished string";
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < 0x20)
			return "control character in a string";
	if (!scan_utf8(text))
		return "invalid UTF-8";
	if (s->escaped) {
		auto_buf b = BUF_INIT(BUF_MAX);
		if (!scan_unescape(text, &b))
			return "wrong escape in a string";
	}
	return NULL;
}

static bool check_digits(struct str *s)
{
	size_t n = 0;
	while (n < s->n && s->p[n] >= '0' && s->p[n] <= '9')
		n++;
	*s = str_skip(*s, n);
	return n > 0;
}

static const char *check_scalar(struct scan *s)
{
	struct str t;
	if (*s->p == '"')
		return check_string(s);
	if (!scan_value(s, &t) && s->p < s->end)
		return "expected a value";
	if (s->rc == SCAN_MORE)
		return "unfinished value";
	if (str_eq(t, STR("true")) || str_eq(t, STR("false")) || str_eq(t, STR("null")))
		return NULL;
	struct str whole = t;
	double ignored;
	str_take_char(&t, '-');
	if (t.n > 1 && t.p[0] == '0' && t.p[1] >= '0' && t.p[1] <= '9')
		return "wrong number";
	if (!check_digits(&t) || (str_take_char(&t, '.') && !check_digits(&t)))
		return "wrong number";
	if (str_take_char(&t, 'e') || str_take_char(&t, 'E')) {
		if (!str_take_char(&t, '-'))
			str_take_char(&t, '+');
		if (!check_digits(&t))
			return "wrong number";
	}
	if (t.n > 0)
		return "wrong value";
	/* what a lock keeps of it, base/json must read */
	return whole.n < NUMBER_PLAIN ? NULL : json_double(whole, &ignored);
}

/* A key and its colon. */
static const char *check_key(struct scan *s)
{
	if (scan_peek(s) != '"' || s->p >= s->end)
		return "expected a key";
	const char *bad = check_string(s);
	return bad ? bad : scan_char(s, ':', "expected ':'") ? NULL : "expected ':'";
}

const char *scan_check(struct str text)
{
	struct scan s = {.p = text.p, .end = text.p + text.n};
	char close[SCAN_DEPTH_MAX];
	unsigned depth = 0;
	const char *bad;
	do {
		char c = scan_peek(&s);
		if (s.p >= s.end)
			return "unfinished value";
		if (c == '{' || c == '[') {
			if (depth == SCAN_DEPTH_MAX)
				return "nested too deep";
			close[depth++] = c == '{' ? '}' : ']';
			s.p++;
			if (scan_peek(&s) != close[depth - 1]) {
				if (c == '{' && (bad = check_key(&s)))
					return bad;
				continue;
			}
		} else if ((bad = check_scalar(&s))) {
			return bad;
		}
		/* a value is complete: close what ends here, or go on behind a comma */
		while (depth > 0 && scan_peek(&s) == close[depth - 1] && s.p < s.end) {
			s.p++;
			depth--;
		}
		if (depth == 0)
			break;
		if (!scan_char(&s, ',', ""))
			return "expected ',' or a closing bracket";
		if (close[depth - 1] == '}' && (bad = check_key(&s)))
			return bad;
	} while (true);
	scan_space(&s);
	return s.p == s.end ? NULL : "text after the value";
}

void scan_put_string(struct buf *b, struct str s)
{
	buf_put_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '"' || c == '\\') {
			buf_put_char(b, '\\');
			buf_put_char(b, c);
		} else if ((unsigned char)c < 0x20) {
			buf_printf(b, "\\u%04x", c);
		} else {
			buf_put_char(b, c);
		}
	}
	buf_put_char(b, '"');
}
