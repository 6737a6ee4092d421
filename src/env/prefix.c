// SPDX-License-Identifier: Apache-2.0
/* The build-time placeholder becomes the environment's own prefix, in text and in binary content. */
#include "env/layout.h"

/* Hostile metadata may name a placeholder of one byte: what comes out stays within this of what went in. */
enum { GROWTH_MAX_BYTES = 64 << 20, FILL_BYTES = 512 };

static const char *find(const char *p, const char *end, struct str what)
{
	return p < end ? memmem(p, (size_t)(end - p), what.p, what.n) : NULL;
}

/* == first lines ================================================================================================== */
/* python, python3, python3.12, pythonw, pypy3: all read the trick below as a string. */
static bool is_python(struct str exe)
{
	if (!str_take_str(&exe, STR("python")) && !str_take_str(&exe, STR("pypy")))
		return false;
	str_take_char(&exe, 'w');
	for (size_t i = 0; i < exe.n; i++) {
		if ((exe.p[i] < '0' || exe.p[i] > '9') && exe.p[i] != '.')
			return false;
	}
	return true;
}

/* Within sh's double quotes; Python sees the same text inside a string that nobody reads. */
static void put_quoted(struct str s, struct buf *b)
{
	for (size_t i = 0; i < s.n; i++) {
		if (strchr("\"$`\\", s.p[i]) && s.p[i] != '\0')
			buf_put_char(b, '\\');
		buf_put_char(b, s.p[i]);
	}
}

void prefix_shebang(struct str interpreter, struct str args, struct buf *b)
{
	ptrdiff_t slash = str_rfind(interpreter, '/');
	struct str exe = str_skip(interpreter, (size_t)(slash + 1));
	args = str_trim(args);
	bool spaced = str_find(interpreter, ' ') >= 0 || str_find(interpreter, '\t') >= 0;
	if (!spaced && strlen("#!") + interpreter.n + (args.n > 0) + args.n <= SHEBANG_MAX) {
		buf_printf(b, "#!%.*s%s%.*s\n", STR_ARG(interpreter), args.n > 0 ? " " : "", STR_ARG(args));
	} else if (is_python(exe)) {
		/* sh runs the interpreter and never comes back; to Python the line is a string */
		buf_put_c(b, "#!/bin/sh\n'''exec' \"");
		put_quoted(interpreter, b);
		buf_printf(b, "\"%s%.*s \"$0\" \"$@\" #'''\n", args.n > 0 ? " " : "", STR_ARG(args));
	} else if (args.n > 0) {
		/* without -S env would look for a program whose name holds the arguments */
		buf_printf(b, "#!/usr/bin/env -S %.*s %.*s\n", STR_ARG(exe), STR_ARG(args));
	} else {
		buf_printf(b, "#!/usr/bin/env %.*s\n", STR_ARG(exe));
	}
}

static void put_replaced(struct str in, struct str placeholder, struct str prefix, struct buf *b)
{
	const char *at = in.p, *end = in.p + in.n, *hit;
	while ((hit = find(at, end, placeholder))) {
		buf_put(b, at, (size_t)(hit - at));
		buf_put_str(b, prefix);
		at = hit + placeholder.n;
	}
	buf_put(b, at, (size_t)(end - at));
}

/* Where the interpreter of a first line ends: at the first white space that the placeholder itself does not hold. */
static size_t interpreter_length(struct str line, struct str placeholder)
{
	size_t n = str_starts(line, placeholder) ? placeholder.n : 0;
	while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t' && line.p[n] != '\r')
		n++;
	return n;
}

/* Takes the first line from *in where it is a "#!" line that changes. */
static void replace_first_line(struct str *in, struct str placeholder, struct str prefix, struct buf *b)
{
	struct str rest = *in, line;
	if (!str_take_str(&rest, STR("#!")) || !str_take_line(&rest, &line) ||
	    !find(line.p, line.p + line.n, placeholder))
		return;
	line = str_trim(line);
	struct str old = str_head(line, interpreter_length(line, placeholder));
	auto_buf interpreter = BUF_INIT(1 << 20), args = BUF_INIT(1 << 20);
	put_replaced(old, placeholder, prefix, &interpreter);
	put_replaced(str_skip(line, old.n), placeholder, prefix, &args);
	if (interpreter.overflow || args.overflow || interpreter.n == 0 || interpreter.p[0] != '/')
		return; /* no line that a kernel reads: text like any other */
	prefix_shebang(buf_str(&interpreter), buf_str(&args), b);
	*in = rest;
}

/* == text ========================================================================================================= */
int prefix_text(struct str in, struct str placeholder, struct str prefix, prefix_sink_fn *sink, void *ctx,
		struct err *e)
{
	auto_buf first = BUF_INIT(4 << 20);
	uint64_t growth = 0;
	const char *hit;
	if (placeholder.n == 0)
		return sink(ctx, in.p, in.n, e);
	replace_first_line(&in, placeholder, prefix, &first);
	if (first.n > 0 && sink(ctx, first.p, first.n, e) < 0)
		return -1;
	const char *at = in.p, *end = in.p + in.n;
	while ((hit = find(at, end, placeholder))) {
		growth += prefix.n > placeholder.n ? prefix.n - placeholder.n : 0;
		if (growth > GROWTH_MAX_BYTES)
			return err_new(e, ERR_LIMIT, "replacing the placeholder '%.*s' adds more than %d MiB",
				       STR_ARG(placeholder), GROWTH_MAX_BYTES >> 20);
		if (sink(ctx, at, (size_t)(hit - at), e) < 0 || sink(ctx, prefix.p, prefix.n, e) < 0)
			return -1;
		at = hit + placeholder.n;
	}
	return at < end ? sink(ctx, at, (size_t)(end - at), e) : 0;
}

/* == binary ======================================================================================================= */
/* One string, from the placeholder's first occurrence to its NUL (or the end of the file): same length afterwards. */
static int replace_string(const char *at, const char *end, struct str placeholder, struct str prefix,
			  prefix_sink_fn *sink, void *ctx, struct err *e)
{
	static const char nul[FILL_BYTES];
	size_t fill = 0;
	const char *hit;
	while ((hit = find(at, end, placeholder))) {
		if (sink(ctx, at, (size_t)(hit - at), e) < 0 || sink(ctx, prefix.p, prefix.n, e) < 0)
			return -1;
		fill += placeholder.n - prefix.n;
		at = hit + placeholder.n;
	}
	if (sink(ctx, at, (size_t)(end - at), e) < 0)
		return -1;
	while (fill > 0) {
		size_t n = fill < sizeof(nul) ? fill : sizeof(nul);
		if (sink(ctx, nul, n, e) < 0)
			return -1;
		fill -= n;
	}
	return 0;
}

int prefix_binary(struct str in, struct str placeholder, struct str prefix, prefix_sink_fn *sink, void *ctx,
		  struct err *e)
{
	const char *at = in.p, *end = in.p + in.n, *hit;
	if (placeholder.n == 0)
		return sink(ctx, in.p, in.n, e);
	while ((hit = find(at, end, placeholder))) {
		if (prefix.n > placeholder.n)
			return err_new(e, ERR_INPUT,
				       "the prefix '%.*s' has %zu bytes, but at most %zu fit this binary file: use a "
				       "shorter root folder or environment name",
				       STR_ARG(prefix), prefix.n, placeholder.n);
		const char *stop = memchr(hit, '\0', (size_t)(end - hit));
		if (!stop)
			stop = end;
		if (sink(ctx, at, (size_t)(hit - at), e) < 0 ||
		    replace_string(hit, stop, placeholder, prefix, sink, ctx, e) < 0)
			return -1;
		at = stop;
	}
	return at < end ? sink(ctx, at, (size_t)(end - at), e) : 0;
}
