// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

char buf_empty[1] = "";

void buf_release(struct buf *b)
{
	if (b->cap)
		free(b->p);
	*b = BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	if (b->cap)
		b->p[0] = '\0';
	b->overflow = false;
}

/* Makes the allocation hold n bytes and the NUL; n is within the maximum. */
static void grow(struct buf *b, size_t n)
{
	if (n < b->cap)
		return;
	if (n > PTRDIFF_MAX)
		panic("size overflow (buffer, %zu)", n);
	size_t cap = b->cap < 32 ? 32 : b->cap;
	while (cap <= n)
		cap += cap / 2;
	if (cap - 1 > b->max)
		cap = b->max + 1;
	b->p = xrealloc(b->cap ? b->p : NULL, cap);
	if (!b->cap)
		b->p[0] = '\0';
	b->cap = cap;
}

/* Room for `extra` more bytes, or overflow. */
static bool make_room(struct buf *b, size_t extra)
{
	if (b->overflow || b->n > b->max || extra > b->max - b->n) {
		b->overflow = true;
		return false;
	}
	grow(b, b->n + extra);
	return true;
}

void buf_reserve(struct buf *b, size_t extra)
{
	make_room(b, extra);
}

void buf_put(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || !make_room(b, n))
		return;
	memcpy(b->p + b->n, p, n);
	b->n += n;
	b->p[b->n] = '\0';
}

void buf_put_str(struct buf *b, struct str s)
{
	buf_put(b, s.p, s.n);
}

void buf_put_c(struct buf *b, const char *z)
{
	buf_put(b, z, strlen(z));
}

void buf_put_char(struct buf *b, char c)
{
	if (!make_room(b, 1))
		return;
	b->p[b->n++] = c;
	b->p[b->n] = '\0';
}

static void put_shown(struct buf *b, struct str s, bool lines)
{
	while (s.n) {
		uint32_t c;
		size_t n = utf8_take(s, &c);
		bool good = n > 0 && (!utf8_is_control(c) || (lines && (c == '\n' || c == '\t')));
		n += n == 0; /* a byte that is no UTF-8 */
		if (good)
			buf_put(b, s.p, n);
		for (size_t i = 0; !good && i < n; i++)
			buf_printf(b, "\\x%02x", (unsigned char)s.p[i]);
		s = str_skip(s, n);
	}
}

void buf_put_shown(struct buf *b, struct str s)
{
	put_shown(b, s, false);
}

void buf_put_shown_lines(struct buf *b, struct str s)
{
	put_shown(b, s, true);
}

void buf_put_hex(struct buf *b, const uint8_t *p, size_t n)
{
	size_t digits;
	if (__builtin_mul_overflow(n, 2, &digits))
		digits = SIZE_MAX;
	if (n == 0 || !make_room(b, digits))
		return;
	for (size_t i = 0; i < n; i++) {
		b->p[b->n++] = "0123456789abcdef"[p[i] >> 4];
		b->p[b->n++] = "0123456789abcdef"[p[i] & 15];
	}
	b->p[b->n] = '\0';
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	if (!make_room(b, 0))
		return;
	va_copy(again, ap);
	int n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, again);
	va_end(again);
	if (n < 0)
		panic("bad format '%s'", fmt);
	if ((size_t)n >= b->cap - b->n) {
		b->p[b->n] = '\0';
		if (!make_room(b, (size_t)n))
			return;
		vsnprintf(b->p + b->n, b->cap - b->n, fmt, ap);
	}
	b->n += (size_t)n;
}

void buf_truncate(struct buf *b, size_t n)
{
	if (n >= b->n)
		return;
	b->n = n;
	b->p[n] = '\0';
}

char *buf_steal(struct buf *b)
{
	char *p = b->cap ? b->p : xstrdup("");
	*b = BUF_INIT(b->max);
	return p;
}
