// SPDX-License-Identifier: Apache-2.0
/*
 * Tokens of opam files. Of all that could begin at a place the longest counts, as in opam's own lexer; what is different from most languages:
 *
 *	a-b 4x1	identifiers may begin with digits, wherever there is a letter in them; '-' is one of theirs
 *	a+b:c		packages and a variable are one identifier; so "field:value" without a blank is no field
 *	1_000 -3	numbers
 *	(* (* *) *)	comments nest and know no strings
 */
#include "pkg/opam.h"

enum class {
	C_BAD,
	C_BLANK,
	C_ALPHA,
	C_DIGIT,
	C_ICHAR /* '_' and '-' */
};
static const uint8_t classes[256] = {
	[' '] = C_BLANK,	 ['\t'] = C_BLANK,	  ['\n'] = C_BLANK, ['a' ... 'z'] = C_ALPHA,
	['A' ... 'Z'] = C_ALPHA, ['0' ... '9'] = C_DIGIT, ['_'] = C_ICHAR,  ['-'] = C_ICHAR,
};

static uint8_t class(char c)
{
	return classes[(unsigned char)c];
}

bool opam_is_ichar(char c)
{
	return class(c) >= C_ALPHA;
}

void opam_lexer_init(struct opam_lexer *l, struct arena *a, struct str text, uint32_t at)
{
	*l = (struct opam_lexer){.a = a, .base = text.p, .p = text.p + at, .end = text.p + text.n};
}

static const char *skip_comment(const char *p, const char *end)
{
	size_t depth = 1;
	p += 2;
	while (end - p >= 2) {
		if (p[0] == '*' && p[1] == ')') {
			p += 2;
			if (--depth == 0)
				return p;
		} else if (p[0] == '(' && p[1] == '*') {
			p += 2;
			depth++;
		} else {
			p++;
		}
	}
	return NULL;
}

const char *opam_skip_layout(const char *base, const char *p, const char *end, uint32_t *why_at)
{
	while (p < end) {
		if (class(*p) == C_BLANK) {
			p++;
		} else if (*p == '#') {
			const char *line = memchr(p, '\n', (size_t)(end - p));
			p = line ? line + 1 : end;
		} else if (*p == '\r' && end - p >= 2 && p[1] == '\n') {
			p += 2;
		} else if (*p == '(' && end - p >= 2 && p[1] == '*') {
			*why_at = (uint32_t)(p - base);
			p = skip_comment(p, end);
			if (!p)
				return NULL;
		} else {
			break;
		}
	}
	return p;
}

static void bad(struct opam_lexer *l, const char *at, const char *why)
{
	l->token = OPAM_T_BAD;
	l->why = why;
	l->why_at = (uint32_t)(at - l->base);
	l->p = l->end;
}

/* -- strings -------------------------------------------------------------------------------------------------------- */

static int digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : 16;
}

/* What stands behind a backslash at p: how long it is, 0: no such escape; *ret the byte, or -1 for none at all. */
static size_t escape(const char *p, const char *end, int *ret)
{
	static const char from[] = "\\\"' nrbt", to[] = "\\\"' \n\r\b\t";
	size_t n = (size_t)(end - p), k = 1;
	const char *known = n && p[0] ? strchr(from, p[0]) : NULL;
	if (known) {
		*ret = to[known - from];
		return 1;
	}
	if (n && (p[0] == '\n' || (p[0] == '\r' && n > 1 && p[1] == '\n'))) {
		*ret = -1;
		k += p[0] == '\r';
		while (k < n && (p[k] == ' ' || p[k] == '\t'))
			k++;
		return k;
	}
	if (n >= 3 && digit(p[0]) < 10 && digit(p[1]) < 10 && digit(p[2]) < 10) {
		*ret = 100 * digit(p[0]) + 10 * digit(p[1]) + digit(p[2]);
		return *ret <= 255 ? 3 : 0;
	}
	if (n >= 3 && p[0] == 'x' && digit(p[1]) < 16 && digit(p[2]) < 16) {
		*ret = 16 * digit(p[1]) + digit(p[2]);
		return 3;
	}
	return 0;
}

/* The string's bytes, which end before `end`. */
static void unescape(struct opam_lexer *l, const char *p, const char *end)
{
	char *out = arena_alloc(l->a, (size_t)(end - p) + 1);
	size_t n = 0;
	while (p < end) {
		int c;
		if (*p == '\\') {
			size_t k = escape(p + 1, end, &c);
			if (k == 0) {
				bad(l, p,
				    "no such escape in a string; they are \\\\ \\\" \\n \\t \\r \\b, \\NNN and \\xNN");
				return;
			}
			p += 1 + k;
			if (c >= 0)
				out[n++] = (char)c;
		} else if (*p == '\r' && end - p > 1 && p[1] == '\n') {
			p++;
		} else {
			out[n++] = *p++;
		}
	}
	l->text = str_of(out, n);
}

static void take_string(struct opam_lexer *l)
{
	const char *begin = l->p, *end = l->end, *p;
	size_t quote = end - begin >= 3 && begin[1] == '"' && begin[2] == '"' ? 3 : 1;
	const char *from = begin + quote;
	l->token = OPAM_T_STRING;
	for (p = from; (p = memchr(p, '"', (size_t)(end - p))); p++)
		if (quote == 1 || (end - p >= 3 && p[1] == '"' && p[2] == '"'))
			break;
	bool plain = p && !memchr(from, '\\', (size_t)(p - from));
	if (!plain) {
		for (p = from; p < end; p++) {
			if (*p == '\\')
				p++;
			else if (*p == '"' && (quote == 1 || (end - p >= 3 && p[1] == '"' && p[2] == '"')))
				break;
		}
		if (p >= end) {
			bad(l, begin, "a string does not end");
			return;
		}
	}
	l->p = p + quote;
	if (plain && !memchr(from, '\r', (size_t)(p - from)))
		l->text = str_of(from, (size_t)(p - from));
	else
		unescape(l, from, p);
}

/* -- words ---------------------------------------------------------------------------------------------------------- */

/* An identifier's part: characters of identifiers, among them a letter. How long; 0: there is none. */
static size_t take_id(const char *p, const char *end)
{
	const char *begin = p;
	bool letter = false;
	while (p < end && opam_is_ichar(*p))
		letter |= class(*p++) == C_ALPHA;
	return letter ? (size_t)(p - begin) : 0;
}

static size_t take_part(const char *p, const char *end)
{
	size_t n = take_id(p, end);
	return n ? n : p < end && *p == '_';
}

static size_t take_ident(const char *p, const char *end)
{
	size_t n = take_part(p, end), k;
	if (!n)
		return 0;
	while (p + n < end && p[n] == '+' && (k = take_part(p + n + 1, end)))
		n += 1 + k;
	if (p + n < end && p[n] == ':' && (k = take_id(p + n + 1, end)))
		n += 1 + k;
	return n;
}

static size_t take_int(const char *p, const char *end)
{
	size_t n = p < end && *p == '-', begin = n;
	while (p + n < end && (class(p[n]) == C_DIGIT || p[n] == '_'))
		n++;
	return n > begin ? n : 0;
}

static void int_token(struct opam_lexer *l, size_t n)
{
	bool minus = l->p[0] == '-';
	uint64_t v = 0;
	l->token = OPAM_T_INT;
	if (l->p[minus] == '_') {
		bad(l, l->p, "no number begins like that");
		return;
	}
	for (size_t i = minus; i < n; i++) {
		if (l->p[i] == '_')
			continue;
		v = v * 10 + (uint64_t)(l->p[i] - '0');
		if (v > INT64_MAX / 20) {
			bad(l, l->p, "the number is too large");
			return;
		}
	}
	l->number = minus ? -(int64_t)v : (int64_t)v;
	l->p += n;
}

static void word_token(struct opam_lexer *l)
{
	size_t ident = take_ident(l->p, l->end), number = take_int(l->p, l->end);
	if (number >= ident && number) {
		int_token(l, number);
		return;
	}
	if (!ident) {
		bad(l, l->p, "a word without a letter has no meaning");
		return;
	}
	l->text = str_of(l->p, ident);
	l->p += ident;
	l->token = OPAM_T_IDENT;
	if (str_eq(l->text, STR("true")) || str_eq(l->text, STR("false"))) {
		l->token = OPAM_T_BOOL;
		l->number = l->text.n == 4;
	}
}

/* -- marks ---------------------------------------------------------------------------------------------------------- */

static const struct mark {
	const char *text;
	uint8_t token, op;
} marks[] = {
	/* of two that begin alike the longer one first */
	{"=+=", OPAM_T_ENVOP, PKG_OPAM_REPLACE},
	{"=+", OPAM_T_ENVOP, PKG_OPAM_APPEND},
	{"=:=", OPAM_T_BAD, 0},
	{"=:", OPAM_T_ENVOP, PKG_OPAM_APPEND_COLON},
	{"=", OPAM_T_RELOP, PKG_OPAM_EQUAL},
	{"!=", OPAM_T_RELOP, PKG_OPAM_OTHER},
	{"!", OPAM_T_PFXOP, PKG_OPAM_NOT},
	{">=", OPAM_T_RELOP, PKG_OPAM_FROM},
	{">", OPAM_T_RELOP, PKG_OPAM_ABOVE},
	{"<=", OPAM_T_RELOP, PKG_OPAM_UP_TO},
	{"<", OPAM_T_RELOP, PKG_OPAM_BELOW},
	{"~", OPAM_T_RELOP, PKG_OPAM_SIMILAR},
	{"&", OPAM_T_LOGOP, PKG_OPAM_AND},
	{"|", OPAM_T_LOGOP, PKG_OPAM_OR},
	{"?", OPAM_T_PFXOP, PKG_OPAM_DEFINED},
	{"+=", OPAM_T_ENVOP, PKG_OPAM_PREPEND},
	{":=", OPAM_T_ENVOP, PKG_OPAM_PREPEND_COLON},
};

const char *opam_op_text(enum pkg_opam_op op)
{
	if (op == PKG_OPAM_SET)
		return "=";
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++)
		if (marks[i].token != OPAM_T_BAD && marks[i].op == op)
			return marks[i].text;
	return "";
}

static void mark_token(struct opam_lexer *l)
{
	struct str left = str_of(l->p, (size_t)(l->end - l->p));
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		const char *m = marks[i].text;
		if (m[0] != left.p[0] || !str_starts(left, str_c(m)))
			continue;
		if (marks[i].token == OPAM_T_BAD)
			break;
		l->token = marks[i].token;
		l->op = marks[i].op;
		l->p += strlen(m);
		return;
	}
	bad(l, l->p, "a character that has no meaning there");
}

void opam_next(struct opam_lexer *l)
{
	static const uint8_t single[128] = {
		['{'] = OPAM_T_OPEN_BRACE,    ['}'] = OPAM_T_CLOSE_BRACE, ['['] = OPAM_T_OPEN_BRACKET,
		[']'] = OPAM_T_CLOSE_BRACKET, ['('] = OPAM_T_OPEN_PAREN,  [')'] = OPAM_T_CLOSE_PAREN,
	};
	const char *p = opam_skip_layout(l->base, l->p, l->end, &l->why_at);
	if (!p) {
		bad(l, l->base + l->why_at, "a comment does not end");
		l->from = l->to = l->why_at;
		return;
	}
	l->p = p;
	l->from = (uint32_t)(p - l->base);
	if (p == l->end) {
		l->token = OPAM_T_END;
	} else if (class(*p) >= C_ALPHA) {
		word_token(l);
	} else if (*p == '"') {
		take_string(l);
	} else if ((unsigned char)*p < 128 && single[(unsigned char)*p]) {
		l->token = single[(unsigned char)*p];
		l->p++;
	} else if (*p == ':' && !(l->end - p >= 2 && p[1] == '=')) {
		l->token = OPAM_T_COLON;
		l->p++;
	} else {
		mark_token(l);
	}
	l->to = (uint32_t)(l->p - l->base);
}
