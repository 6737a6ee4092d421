// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * err: how every function of Slipway says what went wrong.
 *
 * A function that can fail takes `struct err *e` last and returns 0, or -1 with *e filled (positive values where it has
 * more than one good result). On success *e is untouched, so calls may be chained with ||. The outermost caller owns
 * the struct; it has a fixed size and no heap, so an ignored error leaks nothing.
 *
 * The message reads "outer: inner: cause", complete enough to be shown as it is: lower case, names in single quotes, no
 * full stop. Where a person can do something about it, the cause says what ("...; run 'slipway store verify'").
 *
 *	auto_fd fd = sys_openat(dir, name, O_RDONLY | O_CLOEXEC, 0);
 *	if (fd < 0)
 *		return err_sys(e, "open '%s'", name);               // "open 'x': No such file or directory", ERR_NOT_FOUND
 *	if (parse(fd, e) < 0)
 *		return err_ctx(e, "read index '%s'", name);         // "read index 'x': <cause>", code kept
 *	return err_new(e, ERR_INPUT, "line %d: expected ':'", n);   // a cause of our own
 *
 * All three return -1. A message longer than the buffer is cut at its end, never overflows.
 */
#include <stddef.h>

/* What a program may act on; the command line maps these to exit codes. */
enum err_code {
	ERR_NONE = 0,
	ERR_FAILED,	 /* anything without a better word */
	ERR_USAGE,	 /* the caller's words are wrong: exit 2 */
	ERR_INPUT,	 /* outside data is malformed, truncated or hostile */
	ERR_LIMIT,	 /* outside data exceeds a bound; nothing was allocated for it */
	ERR_NOT_FOUND,	 /* the named thing is not there */
	ERR_EXISTS,	 /* the named thing is there already */
	ERR_BUSY,	 /* another process holds it */
	ERR_NETWORK,	 /* a peer could not be reached or broke off: trying again may help */
	ERR_VERIFY,	 /* a digest, size or signature does not match */
	ERR_NO_SOLUTION, /* the solver proved that there is none: exit 3 */
	ERR_UNCERTAIN,	 /* the change may or may not be on disk: needs a person, exit 5 */
	ERR_ROLLED_BACK, /* failed after a change that was undone: exit 4 */
	ERR_UNSUPPORTED, /* known, but not for this version, host or format */
};

enum { ERR_MSG_SIZE = 2048 };

struct err {
	enum err_code code;
	int sys; /* errno of the cause, 0 where there is none */
	char msg[ERR_MSG_SIZE];
};

#define ERR_INIT ((struct err){0})

/* A new cause. */
int err_new(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A failed system call: reads errno, appends its text, chooses the code (ENOENT → NOT_FOUND, EEXIST → EXISTS,
 * EWOULDBLOCK → BUSY, otherwise FAILED). */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* As err_sys for calls that return their error number. */
int err_errno(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "fmt: " before the message that is there already; the code stays. */
int err_ctx(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Lower-case word of a code, for --json: "not-found". */
const char *err_code_name(enum err_code code);

/* Ends the process with "slipway: internal error: ..." and abort(): for what cannot happen and for exhausted memory. */
_Noreturn void panic(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* malloc family that cannot return NULL: memory exhaustion panics, which is safe because every state change on disk is
 * crash-safe. Sizes that come from outside must be bounded by the caller before they get here. n*size is checked. */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
