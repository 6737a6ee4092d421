// SPDX-License-Identifier: Apache-2.0
/*
 * What is needed of an opam file: one pass over its tokens. Fields are "name: value", sections "name { … }" or "name "x" { … }";
 * values hold brackets, parentheses and braces of their own, which are counted and passed over. Nothing recurses.
 */
#include <stdlib.h>

#include "base/vec.h"
#include "channel/opam.h"

VEC_TYPE(source_vec, struct opam_source);

enum token { T_END, T_WORD, T_STRING, T_COLON, T_OPEN, T_CLOSE, T_BRACE, T_UNBRACE, T_OTHER };
struct lexer {
	struct arena *a;
	struct str text, left;
	const char *where;
	struct str value; /* of a word, or of a string with its escapes resolved */
	size_t at;	  /* where the token begins */
};

static int bad(const struct lexer *l, size_t at, const char *why, struct err *e)
{
	size_t line = 1;
	for (size_t i = 0; i < at; i++)
		line += l->text.p[i] == '\n';
	return err_new(e, ERR_INPUT, "%s:%zu: %s", l->where, line, why);
}

static size_t offset(const struct lexer *l)
{
	return l->text.n - l->left.n;
}

/* Comments nest; strings inside do not matter to what is looked for. */
static int skip_comment(struct lexer *l, struct err *e)
{
	size_t begin = offset(l), depth = 0;
	do {
		if (l->left.n < 2)
			return bad(l, begin, "a comment does not end", e);
		if (str_take_str(&l->left, STR("(*")))
			depth++;
		else if (str_take_str(&l->left, STR("*)")))
			depth--;
		else
			l->left = str_skip(l->left, 1);
	} while (depth > 0);
	return 0;
}

static char escaped(char c)
{
	return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : c;
}

static int take_string(struct lexer *l, struct err *e)
{
	size_t begin = offset(l), n = 0, escapes = 0;
	struct str quote = str_starts(l->left, STR("\"\"\"")) ? STR("\"\"\"") : STR("\"");
	l->left = str_skip(l->left, quote.n);
	struct str s = l->left;
	while (n < s.n && !str_starts(str_skip(s, n), quote)) {
		bool escape = s.p[n] == '\\';
		escapes += escape;
		n += escape ? 2 : 1;
	}
	if (n >= s.n)
		return bad(l, begin, "a string does not end", e);
	l->left = str_skip(s, n + quote.n);
	l->value = str_head(s, n);
	if (!escapes)
		return T_STRING;
	char *out = arena_alloc(l->a, n);
	size_t k = 0;
	for (size_t i = 0; i < n; i++)
		out[k++] = s.p[i] == '\\' ? escaped(s.p[++i]) : s.p[i];
	l->value = str_of(out, k);
	return T_STRING;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '+';
}

/* A token, or -1. */
static int next(struct lexer *l, struct err *e)
{
	static const char marks[] = ":[(])}{";
	static const enum token kinds[] = {T_COLON, T_OPEN, T_OPEN, T_CLOSE, T_CLOSE, T_UNBRACE, T_BRACE};
	for (;;) {
		struct str line;
		while (l->left.n && strchr(" \t\r\n", l->left.p[0]) && l->left.p[0])
			l->left = str_skip(l->left, 1);
		if (str_starts(l->left, STR("(*"))) {
			if (skip_comment(l, e) < 0)
				return -1;
		} else if (!l->left.n || l->left.p[0] != '#' || !str_take_line(&l->left, &line)) {
			break;
		}
	}
	l->at = offset(l);
	if (!l->left.n)
		return T_END;
	char c = l->left.p[0];
	if (c == '"')
		return take_string(l, e);
	size_t n = 0;
	while (n < l->left.n && is_word(l->left.p[n]))
		n++;
	if (n > 0) {
		l->value = str_head(l->left, n);
		l->left = str_skip(l->left, n);
		return T_WORD;
	}
	l->left = str_skip(l->left, 1);
	const char *mark = c ? strchr(marks, c) : NULL;
	return mark ? (int)kinds[mark - marks] : T_OTHER;
}

/* -- fields -------------------------------------------------------------------------------------------------------- */

struct reading {
	struct lexer l;
	struct opam_file *file;
	struct source_vec sources;
	bool in_source;	  /* inside url or extra-source */
	struct str field; /* whose value is being read, or STR_NONE */
	size_t value_at;  /* where that begins */
	size_t depth;	  /* of brackets and braces, but for the section's own */
};

static void add_checksum(struct opam_source *s, struct str text)
{
	static const struct {
		const char *prefix;
		enum digest_kind kind;
	} kinds[] = {{"md5=", DIGEST_MD5}, {"sha256=", DIGEST_SHA256}, {"sha512=", DIGEST_SHA512}, {"", DIGEST_MD5}};
	for (size_t i = 0; i < 4 && s->checksums < OPAM_CHECKSUMS_MAX; i++) {
		struct str hex = text;
		if (str_take_str(&hex, str_c(kinds[i].prefix)) &&
		    digest_parse(kinds[i].kind, hex, &s->checksum[s->checksums])) {
			s->checksums++;
			return;
		}
	}
}

static void take_value(struct reading *r, struct str value)
{
	if (r->in_source) {
		struct opam_source *s = vec_last(&r->sources);
		if (str_eq(r->field, STR("checksum")))
			add_checksum(s, value);
		else if ((str_eq(r->field, STR("src")) || str_eq(r->field, STR("archive")) ||
			  str_eq(r->field, STR("http"))) &&
			 !s->src.n)
			s->src = value;
		return;
	}
	if (str_eq(r->field, STR("name")))
		r->file->name = value;
	else if (str_eq(r->field, STR("version")))
		r->file->version = value;
	else if (str_eq(r->field, STR("archive-mirrors")) && str_eq(value, STR("cache")))
		r->file->has_mirrors = true;
}

static void end_field(struct reading *r, size_t at)
{
	static const char *const names[OPAM_FIELDS] = {"depends",	 "conflicts", "available",
						       "conflict-class", "flags",     "depopts"};
	if (!r->in_source && str_eq(r->field, STR("flags")))
		r->file->flags_end = at;
	for (size_t i = 0; !r->in_source && i < OPAM_FIELDS; i++)
		if (str_eq_c(r->field, names[i]))
			r->file->field[i] = str_trim(str_of(r->l.text.p + r->value_at, at - r->value_at));
	r->field = STR_NONE;
}

/* A word outside all brackets: a field's name, a section's, or a value. 1: taken. */
static int take_word(struct reading *r, struct err *e)
{
	struct lexer before = r->l;
	struct str word = r->l.value;
	size_t at = r->l.at;
	bool section = str_eq(word, STR("url")) || str_eq(word, STR("extra-source"));
	int t = next(&r->l, e);
	if (t == T_COLON) {
		end_field(r, at);
		r->field = word;
		r->value_at = offset(&r->l);
		if (!r->in_source && str_eq(word, STR("flags"))) {
			r->file->has_flags = true;
			r->file->flags_at = offset(&r->l);
		}
		return 1;
	}
	if (t == T_STRING && section)
		t = next(&r->l, e);
	if (t < 0)
		return -1;
	if (t == T_BRACE && section && !r->in_source) {
		end_field(r, at);
		if (r->sources.n == OPAM_SOURCES_MAX)
			return err_new(e, ERR_LIMIT, "%s: more than %d archives", r->l.where, OPAM_SOURCES_MAX);
		vec_add(&r->sources);
		r->in_source = true;
		return 1;
	}
	r->l = before;
	return 0;
}

static int take(struct reading *r, int t, struct err *e)
{
	if (t == T_WORD && r->depth == 0) {
		int rc = take_word(r, e);
		if (rc < 0)
			return -1;
	} else if (t == T_STRING) {
		/* in a filter or a formula it is no value */
		if (r->field.p)
			take_value(r, r->l.value);
	} else if (t == T_OPEN || t == T_BRACE) {
		r->depth++;
	} else if (t == T_CLOSE || t == T_UNBRACE) {
		if (r->depth == 0 && !(t == T_UNBRACE && r->in_source))
			return bad(&r->l, r->l.at, "a bracket closes what is not open", e);
		if (r->depth > 0) {
			r->depth--;
		} else {
			end_field(r, r->l.at);
			r->in_source = false;
		}
	}
	return 0;
}

int opam_file_read(struct arena *a, struct str text, const char *where, struct opam_file *ret, struct err *e)
{
	struct reading r = {.l = {.a = a, .text = text, .left = text, .where = where}, .file = ret};
	int t, rc = 0;
	*ret = (struct opam_file){0};
	if (text.n > OPAM_FILE_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d MiB", where, OPAM_FILE_MAX >> 20);
	while (rc == 0 && (t = next(&r.l, e)) != T_END)
		rc = t < 0 ? -1 : take(&r, t, e);
	if (rc == 0 && (r.depth > 0 || r.in_source))
		rc = bad(&r.l, text.n, "a bracket is not closed", e);
	if (rc == 0)
		end_field(&r, text.n);
	ret->source = vec_copy(&r.sources, a);
	ret->sources = r.sources.n;
	vec_release(&r.sources);
	return rc;
}

/* -- names --------------------------------------------------------------------------------------------------------- */

bool opam_name_is_good(struct str name)
{
	bool letter = false;
	for (size_t i = 0; i < name.n; i++) {
		if (!is_word(name.p[i]))
			return false;
		letter |= (name.p[i] | 32) >= 'a' && (name.p[i] | 32) <= 'z';
	}
	return letter && name.n <= 200 && name.p[0] != '-';
}

bool opam_version_is_good(struct str version)
{
	for (size_t i = 0; i < version.n; i++)
		if (!is_word(version.p[i]) && version.p[i] != '.' && version.p[i] != '~')
			return false;
	return version.n > 0 && version.n <= 200;
}

const struct digest_value *opam_best(const struct opam_source *s)
{
	static const enum digest_kind order[] = {DIGEST_SHA512, DIGEST_SHA256, DIGEST_MD5};
	for (size_t k = 0; k < 3; k++)
		for (size_t i = 0; i < s->checksums; i++)
			if (s->checksum[i].kind == order[k])
				return &s->checksum[i];
	return NULL;
}

struct str opam_cache_path(struct arena *a, const struct digest_value *d)
{
	char hex[2 * DIGEST_MAX + 1];
	hex_encode(d->bytes, digest_size(d->kind), hex);
	const char *kind = d->kind == DIGEST_MD5 ? "md5" : d->kind == DIGEST_SHA256 ? "sha256" : "sha512";
	return str_c(arena_printf(a, "cache/%s/%.2s/%s", kind, hex, hex));
}
