// SPDX-License-Identifier: Apache-2.0
/*
 * One pass over the text with the open lists on a stack of our own, so that depth costs no stack of the process.
 */
#include "base/sexp.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/vec.h"

/* An open list; the first one is the text itself. */
struct frame {
	size_t start;  /* its items in reader.items */
	uint32_t skip; /* how many "#;" wait for an expression */
	struct sexp at;
};
struct reader {
	struct arena *a;
	struct str text;
	const char *where;
	size_t i;
	uint32_t line, column;
	uint32_t nodes;
	VEC(struct sexp) items;
	VEC(struct frame) frames;
	struct buf atom;
	struct err *e;
};

static void reader_release(struct reader *r)
{
	vec_release(&r->items);
	vec_release(&r->frames);
	buf_release(&r->atom);
}

/* -- errors -------------------------------------------------------------------------------------------------------- */

int sexp_error(const struct sexp *at, const char *where, struct err *e, const char *fmt, ...)
{
	char msg[1024];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return err_new(e, ERR_INPUT, "%s:%u:%u: %s", where, (unsigned)at->line, (unsigned)at->column, msg);
}

static struct sexp here(const struct reader *r)
{
	return (struct sexp){.line = r->line, .column = r->column};
}

/* -- the text, byte by byte ---------------------------------------------------------------------------------------- */

static bool at_end(const struct reader *r)
{
	return r->i >= r->text.n;
}

static char peek(const struct reader *r, size_t ahead)
{
	return r->i + ahead < r->text.n ? r->text.p[r->i + ahead] : '\0';
}

static void next(struct reader *r)
{
	unsigned char c = (unsigned char)r->text.p[r->i++];
	if (c == '\n') {
		r->line++;
		r->column = 1;
	} else if ((c & 0xc0) != 0x80) {
		r->column++;
	}
}

static void next_n(struct reader *r, size_t n)
{
	while (n--)
		next(r);
}

static bool next_is(const struct reader *r, const char *two)
{
	return peek(r, 0) == two[0] && peek(r, 1) == two[1] && r->i + 1 < r->text.n;
}

/* Once before anything else: text is UTF-8 without NUL. */
static int check_bytes(struct reader *r)
{
	struct reader w = {.text = r->text, .line = 1, .column = 1};
	while (!at_end(&w)) {
		uint32_t c;
		size_t n = utf8_take(str_skip(w.text, w.i), &c);
		struct sexp at = here(&w);
		if (n == 0)
			return sexp_error(
				&at, r->where, r->e,
				"byte 0x%02x is not UTF-8; save the file as UTF-8, or write the byte as \\%03u in a "
				"quoted string",
				(unsigned char)w.text.p[w.i], (unsigned char)w.text.p[w.i]);
		if (c == 0)
			return sexp_error(&at, r->where, r->e, "a NUL byte; this is no text file");
		next_n(&w, n);
	}
	return 0;
}

/* -- comments ------------------------------------------------------------------------------------------------------ */

static int skip_quoted(struct reader *r, const struct sexp *open)
{
	next(r);
	while (!at_end(r) && peek(r, 0) != '"')
		next_n(r, peek(r, 0) == '\\' && r->i + 1 < r->text.n ? 2 : 1);
	if (at_end(r))
		return sexp_error(open, r->where, r->e, "this block comment holds a quote without its end");
	next(r);
	return 0;
}

/* Quotes in it are read as such: a "|#" between them does not end it. */
static int skip_block_comment(struct reader *r)
{
	struct sexp open = here(r);
	size_t depth = 0;
	while (!at_end(r)) {
		if (next_is(r, "#|")) {
			depth++;
			next_n(r, 2);
		} else if (next_is(r, "|#")) {
			next_n(r, 2);
			if (--depth == 0)
				return 0;
		} else if (peek(r, 0) == '"') {
			if (skip_quoted(r, &open) < 0)
				return -1;
		} else {
			next(r);
		}
	}
	return sexp_error(&open, r->where, r->e, "this block comment has no end; write '|#' after it");
}

/* -- atoms --------------------------------------------------------------------------------------------------------- */

static bool ends_atom(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == '(' || c == ')' || c == '"' ||
	       c == ';';
}

static int read_bare(struct reader *r)
{
	struct sexp at = here(r);
	size_t start = r->i;
	while (!at_end(r) && !ends_atom(peek(r, 0))) {
		if (next_is(r, "#|") || next_is(r, "|#")) {
			at = here(r);
			return sexp_error(&at, r->where, r->e,
					  "'%.2s' within a word; put the word in quotes, or a space before the comment",
					  r->text.p + r->i);
		}
		next(r);
	}
	buf_put(&r->atom, r->text.p + start, r->i - start);
	return 0;
}

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int read_decimal(struct reader *r, const struct sexp *at)
{
	char x = peek(r, 0), y = peek(r, 1), z = peek(r, 2);
	if (!is_digit(y) || !is_digit(z))
		return sexp_error(at, r->where, r->e, "'\\%c' wants three decimal digits; a backslash itself is '\\\\'",
				  x);
	int value = (x - '0') * 100 + (y - '0') * 10 + (z - '0');
	if (value > 255)
		return sexp_error(at, r->where, r->e, "'\\%c%c%c' is no byte: the largest is '\\255'", x, y, z);
	buf_put_char(&r->atom, (char)value);
	next_n(r, 3);
	return 0;
}

static int read_hex(struct reader *r, const struct sexp *at)
{
	int x = hex_of(peek(r, 1)), y = hex_of(peek(r, 2));
	if (x < 0 || y < 0)
		return sexp_error(at, r->where, r->e,
				  "'\\x' wants two hexadecimal digits; a backslash itself is '\\\\'");
	buf_put_char(&r->atom, (char)(x * 16 + y));
	next_n(r, 3);
	return 0;
}

static void skip_blanks(struct reader *r)
{
	while (peek(r, 0) == ' ' || peek(r, 0) == '\t')
		next(r);
}

/* After a backslash. */
static int read_escape(struct reader *r, const struct sexp *at)
{
	static const char from[] = "ntrb\\\"'", to[] = "\n\t\r\b\\\"'";
	char c = peek(r, 0);
	if (is_digit(c))
		return read_decimal(r, at);
	if (c == 'x')
		return read_hex(r, at);
	if (c == '\n' || next_is(r, "\r\n")) {
		next_n(r, c == '\n' ? 1 : 2);
		skip_blanks(r);
		return 0;
	}
	const char *known = at_end(r) ? NULL : memchr(from, c, sizeof(from) - 1);
	if (!known) {
		buf_put_char(&r->atom, '\\'); /* what follows is read as it is */
		return 0;
	}
	buf_put_char(&r->atom, to[known - from]);
	next(r);
	return 0;
}

static int read_quoted(struct reader *r)
{
	struct sexp open = here(r);
	next(r);
	while (!at_end(r) && peek(r, 0) != '"') {
		struct sexp at = here(r);
		char c = peek(r, 0);
		if (c == '\r')
			return sexp_error(
				&at, r->where, r->e,
				"a carriage return in a quoted string; save the file with Unix line ends, or write "
				"'\\r' where one is meant");
		next(r);
		if (c != '\\')
			buf_put_char(&r->atom, c);
		else if (read_escape(r, &at) < 0)
			return -1;
	}
	if (at_end(r))
		return sexp_error(&open, r->where, r->e, "this string has no end; a quote is missing");
	next(r);
	return 0;
}

/* -- expressions --------------------------------------------------------------------------------------------------- */

/* A whole expression, into the list that is open. */
static int add(struct reader *r, const struct sexp *s)
{
	if (++r->nodes > SEXP_NODES_MAX)
		return err_new(r->e, ERR_LIMIT, "%s:%u:%u: more than %d words and lists", r->where, (unsigned)s->line,
			       (unsigned)s->column, SEXP_NODES_MAX);
	struct frame *f = vec_last(&r->frames);
	if (f->skip)
		f->skip--;
	else
		vec_push(&r->items, *s);
	return 0;
}

static int read_atom(struct reader *r)
{
	struct sexp s = here(r);
	buf_clear(&r->atom);
	if ((peek(r, 0) == '"' ? read_quoted(r) : read_bare(r)) < 0)
		return -1;
	s.atom = arena_str(r->a, buf_str(&r->atom));
	return add(r, &s);
}

static int open_list(struct reader *r)
{
	struct sexp at = here(r);
	if (r->frames.n > SEXP_DEPTH_MAX)
		return err_new(r->e, ERR_LIMIT, "%s:%u:%u: more than %d lists in each other", r->where,
			       (unsigned)at.line, (unsigned)at.column, SEXP_DEPTH_MAX);
	next(r);
	at.is_list = true;
	*vec_add(&r->frames) = (struct frame){.start = r->items.n, .at = at};
	return 0;
}

static int check_no_skip(struct reader *r, const struct frame *f)
{
	struct sexp at = here(r);
	if (f->skip)
		return sexp_error(&at, r->where, r->e, "nothing is left for '#;' to take away");
	return 0;
}

static int close_list(struct reader *r)
{
	struct sexp at = here(r);
	if (r->frames.n < 2)
		return sexp_error(&at, r->where, r->e,
				  "a ')' without its '('; take it away, or look for one too many before it");
	struct frame f = vec_pop(&r->frames);
	if (check_no_skip(r, &f) < 0)
		return -1;
	next(r);
	struct sexp s = f.at;
	s.n = (uint32_t)(r->items.n - f.start);
	if (s.n)
		s.item = arena_copy(r->a, r->items.v + f.start, s.n, sizeof(struct sexp));
	r->items.n = f.start;
	return add(r, &s);
}

static int read_one(struct reader *r)
{
	char c = peek(r, 0);
	struct sexp at = here(r);
	if (c == ' ' || c == '\t' || c == '\n' || c == '\f') {
		next(r);
	} else if (c == '\r') {
		if (peek(r, 1) != '\n')
			return sexp_error(&at, r->where, r->e,
					  "a carriage return without a line feed; save the file with Unix line ends");
		next_n(r, 2);
	} else if (c == ';') {
		while (!at_end(r) && peek(r, 0) != '\n')
			next(r);
	} else if (next_is(r, "#|")) {
		return skip_block_comment(r);
	} else if (next_is(r, "|#")) {
		return sexp_error(&at, r->where, r->e, "'|#' ends a comment that nothing began");
	} else if (next_is(r, "#;")) {
		next_n(r, 2);
		vec_last(&r->frames)->skip++;
	} else if (c == '(') {
		return open_list(r);
	} else if (c == ')') {
		return close_list(r);
	} else {
		return read_atom(r);
	}
	return 0;
}

static int read_all(struct reader *r)
{
	if (r->text.n > SEXP_TEXT_MAX)
		return err_new(r->e, ERR_LIMIT, "%s: more than %d MiB", r->where, SEXP_TEXT_MAX >> 20);
	if (check_bytes(r) < 0)
		return -1;
	vec_add(&r->frames);
	while (!at_end(r))
		if (read_one(r) < 0)
			return -1;
	if (r->frames.n > 1)
		return sexp_error(&vec_last(&r->frames)->at, r->where, r->e,
				  "this '(' has no ')': %zu %s missing at the end of the file", r->frames.n - 1,
				  r->frames.n == 2 ? "is" : "are");
	if (check_no_skip(r, &r->frames.v[0]) < 0)
		return -1;
	struct sexp at = here(r);
	if (r->items.n == 0)
		return sexp_error(&at, r->where, r->e, "nothing is written here");
	if (r->items.n > 1)
		return sexp_error(&r->items.v[1], r->where, r->e,
				  "the text goes on after its one expression; is there a ')' too many before?");
	return 0;
}

const struct sexp *sexp_parse(struct arena *a, struct str text, const char *where, struct err *e)
{
	cleanup_with(reader_release) struct reader r = {
		.a = a, .text = text, .where = where, .line = 1, .column = 1, .atom = BUF_INIT(SEXP_TEXT_MAX), .e = e};
	str_take_str(&r.text, STR("\xef\xbb\xbf")); /* some editors' mark of UTF-8 */
	if (read_all(&r) < 0)
		return NULL;
	return arena_copy(a, r.items.v, 1, sizeof(struct sexp));
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

bool sexp_needs_quotes(struct str atom)
{
	for (size_t i = 0; i < atom.n; i++) {
		unsigned char c = (unsigned char)atom.p[i];
		if (c <= ' ' || c >= 0x7f || c == '"' || c == '(' || c == ')' || c == ';' || c == '\\')
			return true;
		if (i && ((c == '#' && atom.p[i - 1] == '|') || (c == '|' && atom.p[i - 1] == '#')))
			return true;
	}
	return atom.n == 0;
}

void sexp_put_escaped(struct buf *b, struct str bytes)
{
	static const char from[] = "\"\\\n\t\r\b", to[] = "\"\\ntrb";
	for (size_t i = 0; i < bytes.n; i++) {
		char c = bytes.p[i];
		const char *known = memchr(from, c, sizeof(from) - 1);
		if (known) {
			buf_put_char(b, '\\');
			buf_put_char(b, to[known - from]);
		} else if (c >= ' ' && c <= '~') {
			buf_put_char(b, c);
		} else {
			buf_printf(b, "\\%03u", (unsigned char)c);
		}
	}
}

void sexp_put_atom(struct buf *b, struct str atom, bool *bare)
{
	if (sexp_needs_quotes(atom)) {
		buf_put_char(b, '"');
		sexp_put_escaped(b, atom);
		buf_put_char(b, '"');
		*bare = false;
		return;
	}
	if (*bare)
		buf_put_char(b, ' ');
	buf_put_str(b, atom);
	*bare = true;
}

static void put_mach(struct buf *b, const struct sexp *s, bool *bare)
{
	if (!s->is_list) {
		sexp_put_atom(b, s->atom, bare);
		return;
	}
	buf_put_char(b, '(');
	*bare = false;
	for (uint32_t i = 0; i < s->n; i++)
		put_mach(b, &s->item[i], bare);
	buf_put_char(b, ')');
	*bare = false;
}

void sexp_put_mach(struct buf *b, const struct sexp *s)
{
	bool bare = false;
	put_mach(b, s, &bare);
}
