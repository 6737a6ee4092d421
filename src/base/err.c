// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Names come from outside: what could steer a terminal is shown as '?'. Line ends and tabs stay. */
static void defuse(char *s)
{
	for (unsigned char *p = (unsigned char *)s; *p; p++) {
		bool c0 = (*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f;
		bool c1 = *p == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f;
		if (c1)
			*p++ = '?';
		if (c0 || c1)
			*p = '?';
	}
}

/* A cut must not leave half a UTF-8 character at the end. */
static void trim_partial_char(char *s, size_t n)
{
	size_t tail = 0;
	while (tail < 3 && tail < n && ((unsigned char)s[n - 1 - tail] & 0xc0) == 0x80)
		tail++;
	if (tail == n)
		return;
	unsigned char lead = (unsigned char)s[n - 1 - tail];
	size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
	if (tail < want)
		s[n - 1 - tail] = '\0';
}

/* Formats into out[ERR_MSG_SIZE]; returns the length stored. */
__attribute__((format(printf, 2, 0))) static size_t format(char *out, const char *fmt, va_list ap)
{
	int n = vsnprintf(out, ERR_MSG_SIZE, fmt, ap);
	if (n < 0)
		out[0] = '\0';
	else if (n >= ERR_MSG_SIZE)
		trim_partial_char(out, ERR_MSG_SIZE - 1);
	defuse(out);
	return strlen(out);
}

/* Adds text after the n bytes of msg, cut at the buffer's end. */
static void append(char *msg, size_t n, const char *text)
{
	size_t add = strlen(text), room = ERR_MSG_SIZE - 1 - n;
	memmove(msg + n, text, add < room ? add : room);
	n += add < room ? add : room;
	msg[n] = '\0';
	if (add > room)
		trim_partial_char(msg, n);
}

int err_new(struct err *e, enum err_code code, const char *fmt, ...)
{
	char msg[ERR_MSG_SIZE]; /* the arguments may point into e->msg */
	va_list ap;
	va_start(ap, fmt);
	size_t n = format(msg, fmt, ap);
	va_end(ap);
	e->code = code;
	e->sys = 0;
	memcpy(e->msg, msg, n + 1);
	return -1;
}

static enum err_code code_of_errno(int errnum)
{
	if (errnum == ENOENT)
		return ERR_NOT_FOUND;
	if (errnum == EEXIST)
		return ERR_EXISTS;
	return errnum == EWOULDBLOCK ? ERR_BUSY : ERR_FAILED;
}

__attribute__((format(printf, 3, 0))) static int system_error(struct err *e, int errnum, const char *fmt, va_list ap)
{
	char msg[ERR_MSG_SIZE], text[128];
	size_t n = format(msg, fmt, ap);
	append(msg, n, ": ");
	append(msg, strlen(msg), strerror_r(errnum, text, sizeof(text)));
	e->code = code_of_errno(errnum);
	e->sys = errnum;
	memcpy(e->msg, msg, strlen(msg) + 1);
	return -1;
}

int err_sys(struct err *e, const char *fmt, ...)
{
	int errnum = errno;
	va_list ap;
	va_start(ap, fmt);
	system_error(e, errnum, fmt, ap);
	va_end(ap);
	errno = errnum;
	return -1;
}

int err_errno(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	system_error(e, errnum, fmt, ap);
	va_end(ap);
	return -1;
}

int err_ctx(struct err *e, const char *fmt, ...)
{
	char msg[ERR_MSG_SIZE];
	va_list ap;
	va_start(ap, fmt);
	size_t n = format(msg, fmt, ap);
	va_end(ap);
	if (e->msg[0]) {
		append(msg, n, ": ");
		append(msg, strlen(msg), e->msg);
	}
	if (e->code == ERR_NONE)
		e->code = ERR_FAILED;
	memcpy(e->msg, msg, strlen(msg) + 1);
	return -1;
}

const char *err_code_name(enum err_code code)
{
	static const char *const name[] = {
		[ERR_NONE] = "none",
		[ERR_FAILED] = "failed",
		[ERR_USAGE] = "usage",
		[ERR_INPUT] = "input",
		[ERR_LIMIT] = "limit",
		[ERR_NOT_FOUND] = "not-found",
		[ERR_EXISTS] = "exists",
		[ERR_BUSY] = "busy",
		[ERR_NETWORK] = "network",
		[ERR_VERIFY] = "verify",
		[ERR_NO_SOLUTION] = "no-solution",
		[ERR_UNCERTAIN] = "uncertain",
		[ERR_ROLLED_BACK] = "rolled-back",
		[ERR_UNSUPPORTED] = "unsupported",
	};
	return (size_t)code < sizeof(name) / sizeof(name[0]) ? name[code] : "failed";
}

void panic(const char *fmt, ...)
{
	char msg[ERR_MSG_SIZE]; /* no heap: it may be exhausted */
	va_list ap;
	va_start(ap, fmt);
	format(msg, fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "slipway: internal error: %s\n", msg);
	abort();
}

static void *check(void *p, size_t size)
{
	if (!p && size)
		panic("out of memory (%zu bytes)", size);
	return p;
}

static size_t product(size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes))
		panic("size overflow (%zu x %zu)", n, size);
	return bytes;
}

void *xmalloc(size_t size)
{
	return check(malloc(size ? size : 1), size);
}

void *xcalloc(size_t n, size_t size)
{
	size_t bytes = product(n, size);
	return check(calloc(1, bytes ? bytes : 1), bytes);
}

void *xrealloc(void *p, size_t size)
{
	return check(realloc(p, size ? size : 1), size);
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	return xrealloc(p, product(n, size));
}

char *xstrdup(const char *s)
{
	size_t n = strlen(s) + 1;
	return memcpy(xmalloc(n), s, n);
}

char *xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		panic("out of memory or bad format '%s'", fmt);
	return s;
}
