// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * sexp: S-expressions as OCaml's sexplib reads and writes them: an expression is an atom, or a list in parentheses.
 *
 *	const struct sexp *s = sexp_parse(&a, text, "job.spec", e);    one expression; NULL and *e where it is none
 *	if (s->is_list && s->n == 2 && sexp_is(&s->item[0], "from")) ...
 *	return sexp_error(&s->item[1], "job.spec", e, "…");             "job.spec:3:7: …"
 *
 * What is read. Between expressions: blanks, line ends (LF or CR LF), comments from ';' to the end of the line, block
 * comments "#|…|#" that nest, and "#;", which takes away the expression after it. An atom without quotes is what stands
 * between blanks, parentheses, quotes and ';' (no "#|" or "|#" in it). In quotes: \n \t \r \b \\ \" \', \ddd (decimal),
 * \xhh, a line's end after a backslash is dropped with the blanks after it, any other backslash stands for itself.
 *
 * Refused beside what sexplib refuses, because nobody means it: a NUL byte, a byte that is not UTF-8 and a carriage return
 * between quotes; all three can be written as escapes.
 *
 * Positions are 1-based, columns count characters. Everything lives in the arena.
 * Limits: SEXP_TEXT_MAX bytes, SEXP_NODES_MAX atoms and lists, SEXP_DEPTH_MAX lists in each other (ERR_LIMIT).
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum { SEXP_TEXT_MAX = 4 << 20, SEXP_NODES_MAX = 200000, SEXP_DEPTH_MAX = 64 };

struct sexp {
	struct str atom; /* of an atom: its bytes, NUL-terminated */
	bool is_list;
	uint32_t n; /* of a list */
	uint32_t line, column;
	const struct sexp *item;
};
const struct sexp *sexp_parse(struct arena *a, struct str text, const char *where, struct err *e);

static inline bool sexp_is(const struct sexp *s, const char *atom)
{
	return !s->is_list && str_eq_c(s->atom, atom);
}
/* "where:line:column: …", ERR_INPUT; returns -1. */
int sexp_error(const struct sexp *at, const char *where, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Machine form: no byte more than is needed to read it back (sexplib's to_string_mach). */
void sexp_put_mach(struct buf *b, const struct sexp *s);
/* For who writes lists himself: an atom after one without quotes gets a space. `bare` holds between calls whether the last thing
 * written was such an atom; a parenthesis makes it false. */
void sexp_put_atom(struct buf *b, struct str atom, bool *bare);
/* Whether an atom needs quotes; what stands between them, of one line or more. */
bool sexp_needs_quotes(struct str atom);
void sexp_put_escaped(struct buf *b, struct str bytes);
