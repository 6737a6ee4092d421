// SPDX-License-Identifier: Apache-2.0
#pragma once
/* opam: tokens of opam files, and what the files opam_*.c share. Private to pkg/. */
#include "pkg/pkg.h"

enum opam_token {
	OPAM_T_END,
	OPAM_T_BAD, /* why, why_at */
	OPAM_T_COLON,
	OPAM_T_OPEN_BRACE,
	OPAM_T_CLOSE_BRACE,
	OPAM_T_OPEN_BRACKET,
	OPAM_T_CLOSE_BRACKET,
	OPAM_T_OPEN_PAREN,
	OPAM_T_CLOSE_PAREN,
	OPAM_T_BOOL,   /* number */
	OPAM_T_INT,    /* number */
	OPAM_T_STRING, /* text */
	OPAM_T_IDENT,  /* text */
	OPAM_T_RELOP,  /* op */
	OPAM_T_LOGOP,  /* op */
	OPAM_T_PFXOP,  /* op */
	OPAM_T_ENVOP   /* op; "=" is a RELOP */
};
struct opam_lexer {
	struct arena *a; /* for strings with escapes */
	const char *base, *p, *end;
	enum opam_token token;
	uint8_t op;
	uint32_t from, to; /* of the token */
	struct str text;
	int64_t number;
	const char *why;
	uint32_t why_at;
};
void opam_lexer_init(struct opam_lexer *l, struct arena *a, struct str text, uint32_t at);
void opam_next(struct opam_lexer *l);
/* The end of blanks and comments that begin at p; NULL with *why_at of a comment that does not end. */
const char *opam_skip_layout(const char *base, const char *p, const char *end, uint32_t *why_at);
/* A letter, a digit, '_' or '-'. */
bool opam_is_ichar(char c);

/* "&", "+=" … */
const char *opam_op_text(enum pkg_opam_op op);
/* "x: []" */
bool opam_says_nothing(const struct pkg_opam_item *i);
/* Notes a fault, but no more than PKG_OPAM_FAULTS_MAX. */
void opam_note(struct pkg_opam_doc *d, uint32_t at, const char *why);
