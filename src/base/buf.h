// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * buf: a growable byte buffer that is always NUL-terminated and knows its maximum.
 *
 *	struct buf b = BUF_INIT(1 << 20);          no allocation yet; b.p is a valid empty C string
 *	buf_put_c(&b, "name="); buf_printf(&b, "%d", n);
 *	if (b.overflow) return err_new(e, ERR_LIMIT, ...);
 *	...
 *	buf_release(&b);                           or declare it `auto_buf b = BUF_INIT(max);`
 *
 * What does not fit the maximum is not stored, nothing after it is, and `overflow` stays set: one check after a chain of
 * writes is enough. Buffers filled from outside get a maximum that fits their purpose; BUF_MAX is for our own output.
 */
#include <stdarg.h>

#include "base/cleanup.h"
#include "base/str.h"

struct buf {
	char *p;    /* never NULL */
	size_t n;   /* bytes used, without the NUL */
	size_t cap; /* bytes allocated; 0 while p is the shared empty string */
	size_t max; /* bytes that n may reach */
	bool overflow;
};

extern char buf_empty[1];
#define BUF_MAX ((size_t)1 << 40)
#define BUF_INIT(max_bytes) ((struct buf){buf_empty, 0, 0, (max_bytes), false})

void buf_release(struct buf *b); /* frees and makes it empty again */
void buf_clear(struct buf *b);	 /* empty, memory and maximum kept, overflow reset */
/* Room for `extra` more bytes and the NUL, to be written at b->p + b->n; where the maximum forbids it, overflow. */
void buf_reserve(struct buf *b, size_t extra);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_str(struct buf *b, struct str s);
void buf_put_c(struct buf *b, const char *z);
void buf_put_char(struct buf *b, char c);
/* One line that a terminal does nothing else with: controls, line ends too, and what is no UTF-8 as \xNN. */
void buf_put_shown(struct buf *b, struct str s);
/* The same of several lines: their ends and tabs stay. */
void buf_put_shown_lines(struct buf *b, struct str s);
void buf_put_hex(struct buf *b, const uint8_t *p, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void buf_truncate(struct buf *b, size_t n);
/* The content as a heap string the caller frees; the buffer is empty afterwards. */
char *buf_steal(struct buf *b);

static inline struct str buf_str(const struct buf *b)
{
	return str_of(b->p, b->n);
}
#define auto_buf cleanup_with(buf_release) struct buf
