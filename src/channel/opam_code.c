// SPDX-License-Identifier: Apache-2.0
/*
 * Formulas and filters as bytes, in prefix order. A byte holds what it is (low half) and a relation or mark (high half); then a LEB128
 * number: of a text its string, of what has parts how many. Chains that lean to the left (a & b & c) are one node of several parts.
 *
 * A byte can be told from a text's or a count's without a tree, so that ids can be changed in one pass (oif_code_move).
 */
#include "channel/intern.h"
#include "channel/opam_index.h"

enum { /* behind enum pkg_opam_expr_kind */
       CODE_ARG = PKG_OPAM_E_PACKAGE + 1,
       CODE_LINE,
       CODE_LINES,
       CODE_NONE,
       CODE_KINDS
};
_Static_assert(CODE_KINDS <= 16, "half a byte");
enum { HAS_TEXT = 1, HAS_COUNT = 2, MARK_VARIABLE = 1 };
/* Of a tree that is read, which others walk down: as high as one of pkg_opam_formula_of can be. */
enum { CODE_HEIGHT_MAX = PKG_NEED_NAMES_MAX + 2 * PKG_OPAM_HEIGHT_MAX };

/* What stands behind the byte of each kind. */
static const uint8_t behind[16] = {
	[PKG_OPAM_E_STRING] = HAS_TEXT, [PKG_OPAM_E_VARIABLE] = HAS_TEXT, [PKG_OPAM_E_PACKAGE] = HAS_TEXT,
	[CODE_ARG] = HAS_TEXT,		[PKG_OPAM_E_AND] = HAS_COUNT,	  [PKG_OPAM_E_OR] = HAS_COUNT,
	[CODE_LINE] = HAS_COUNT,	[CODE_LINES] = HAS_COUNT,
};

/* -- writing -------------------------------------------------------------------------------------------------------- */

static void put_number(struct buf *b, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		buf_put_char(b, (char)(n | 0x80));
	buf_put_char(b, (char)n);
}

static void put_kind(const struct oif_coder *c, unsigned kind, unsigned mark)
{
	buf_put_char(c->to, (char)(kind | mark << 4));
}

static int put_text(const struct oif_coder *c, unsigned kind, unsigned mark, struct str text, struct err *e)
{
	uint32_t id;
	if (c->string(c->ctx, text, &id, e) < 0)
		return -1;
	put_kind(c, kind, mark);
	put_number(c->to, id);
	return 0;
}

static int code_expr(const struct oif_coder *c, const struct pkg_opam_expr *x, unsigned depth, struct err *e);

/* a & b & c, read as (a & b) & c. */
static int code_chain(const struct oif_coder *c, const struct pkg_opam_expr *x, unsigned depth, struct err *e)
{
	VEC(const struct pkg_opam_expr *) part = {0};
	const struct pkg_opam_expr *first = x;
	int rc = 0;
	for (; first && first->kind == x->kind; first = first->left)
		vec_push(&part, first->right);
	put_kind(c, x->kind, 0);
	put_number(c->to, part.n + 1);
	rc = code_expr(c, first, depth, e);
	while (rc == 0 && part.n)
		rc = code_expr(c, vec_pop(&part), depth, e);
	vec_release(&part);
	return rc;
}

static int code_expr(const struct oif_coder *c, const struct pkg_opam_expr *x, unsigned depth, struct err *e)
{
	if (depth >= PKG_OPAM_HEIGHT_MAX || c->to->n > OPAM_CODE_MAX)
		return err_new(e, ERR_LIMIT, "a formula that is too large");
	if (!x) {
		put_kind(c, CODE_NONE, 0);
		return 0;
	}
	switch ((enum pkg_opam_expr_kind)x->kind) {
	case PKG_OPAM_E_TRUE:
	case PKG_OPAM_E_FALSE:
		put_kind(c, x->kind, 0);
		return 0;
	case PKG_OPAM_E_STRING:
	case PKG_OPAM_E_VARIABLE:
		return put_text(c, x->kind, 0, x->text, e);
	case PKG_OPAM_E_PACKAGE:
		return put_text(c, x->kind, 0, x->text, e) < 0 ? -1 : code_expr(c, x->left, depth + 1, e);
	case PKG_OPAM_E_AND:
	case PKG_OPAM_E_OR:
		return code_chain(c, x, depth + 1, e);
	case PKG_OPAM_E_NOT:
	case PKG_OPAM_E_DEFINED:
		put_kind(c, x->kind, 0);
		return code_expr(c, x->left, depth + 1, e);
	case PKG_OPAM_E_VERSION:
		put_kind(c, x->kind, x->relation);
		return code_expr(c, x->left, depth + 1, e);
	case PKG_OPAM_E_RELATION:
		put_kind(c, x->kind, x->relation);
		return code_expr(c, x->left, depth + 1, e) < 0 ? -1 : code_expr(c, x->right, depth + 1, e);
	}
	return err_new(e, ERR_UNSUPPORTED, "a formula of an unknown kind");
}

int oif_code_expr(const struct oif_coder *c, const struct pkg_opam_expr *x, struct err *e)
{
	return x ? code_expr(c, x, 0, e) : 0;
}

int oif_code_lines(const struct oif_coder *c, struct pkg_opam_lines l, struct err *e)
{
	if (!l.n)
		return 0;
	put_kind(c, CODE_LINES, 0);
	put_number(c->to, l.n);
	for (size_t i = 0; i < l.n; i++) {
		put_kind(c, CODE_LINE, 0);
		put_number(c->to, l.v[i].n);
		for (size_t k = 0; k < l.v[i].n; k++) {
			const struct pkg_opam_arg *arg = &l.v[i].arg[k];
			if (put_text(c, CODE_ARG, arg->is_variable ? MARK_VARIABLE : 0, arg->text, e) < 0 ||
			    code_expr(c, arg->filter, 1, e) < 0)
				return -1;
		}
		if (code_expr(c, l.v[i].filter, 1, e) < 0)
			return -1;
	}
	return 0;
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

struct decoder {
	const struct opam_index *ix;
	struct str left;
	struct arena *a;
	bool filter; /* or what stands in a package's braces; else a formula, which is of and, or and packages alone */
};

static bool take_number(struct str *s, uint32_t *ret)
{
	uint64_t n = 0;
	for (unsigned shift = 0; s->n && shift < 35; shift += 7) {
		unsigned char byte = (unsigned char)s->p[0];
		*s = str_skip(*s, 1);
		n |= (uint64_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		*ret = (uint32_t)n;
		return n <= UINT32_MAX;
	}
	return false;
}

static bool take_kind(struct str *s, unsigned *kind, unsigned *mark, uint32_t *number)
{
	if (!s->n)
		return false;
	*kind = (unsigned char)s->p[0] & 15;
	*mark = (unsigned char)s->p[0] >> 4;
	*number = 0;
	*s = str_skip(*s, 1);
	return *kind < CODE_KINDS && (!behind[*kind] || take_number(s, number));
}

bool oif_code_names(struct str code, const uint32_t *id, size_t n)
{
	unsigned kind, mark;
	uint32_t number;
	while (code.n && take_kind(&code, &kind, &mark, &number))
		for (size_t i = 0; kind == PKG_OPAM_E_PACKAGE && i < n; i++)
			if (id[i] == number)
				return true;
	return false;
}

size_t oif_string_ids(const struct opam_index *ix, const struct map *keys, uint32_t *ret, size_t max)
{
	uint64_t bytes = ix->h->section[OIF_STRINGS].n, at = 1;
	const char *p = oif_at(ix, OIF_STRINGS, 0, bytes);
	size_t n = 0;
	struct str s;
	for (; p && at < bytes && n < max && pool_read(p + at, bytes - at, &s); at = (uint64_t)(s.p + s.n - p))
		if (map_get(keys, s))
			ret[n++] = (uint32_t)at;
	return n;
}

int oif_code_move(const struct oif_coder *c, const struct opam_index *from, struct str code, struct err *e)
{
	unsigned kind, mark;
	uint32_t number;
	while (code.n) {
		if (!take_kind(&code, &kind, &mark, &number)) {
			oif_damaged(from);
			return opam_index_check(from, e);
		}
		if (behind[kind] == HAS_TEXT) {
			if (put_text(c, kind, mark, oif_string(from, number), e) < 0)
				return -1;
			continue;
		}
		put_kind(c, kind, mark);
		if (behind[kind])
			put_number(c->to, number);
	}
	return 0;
}

static bool decode(struct decoder *d, unsigned depth, const struct pkg_opam_expr **ret);

static bool decode_chain(struct decoder *d, unsigned kind, uint32_t n, unsigned depth, const struct pkg_opam_expr **ret)
{
	const struct pkg_opam_expr *x, *right;
	if (n < 2 || n > CODE_HEIGHT_MAX || !decode(d, depth + n - 1, &x) || !x)
		return false;
	for (uint32_t i = 1; i < n; i++) {
		struct pkg_opam_expr *both = arena_new(d->a, struct pkg_opam_expr);
		if (!decode(d, depth + n - i, &right) || !right)
			return false;
		*both = (struct pkg_opam_expr){.kind = (uint8_t)kind, .left = x, .right = right};
		x = both;
	}
	*ret = x;
	return true;
}

static bool decode(struct decoder *d, unsigned depth, const struct pkg_opam_expr **ret)
{
	unsigned kind, mark;
	uint32_t number;
	*ret = NULL;
	if (depth > CODE_HEIGHT_MAX || !take_kind(&d->left, &kind, &mark, &number))
		return false;
	if (kind == CODE_NONE)
		return true;
	if (kind > PKG_OPAM_E_PACKAGE || mark > PKG_ABOVE)
		return false;
	if (d->filter ? kind == PKG_OPAM_E_PACKAGE : kind != PKG_OPAM_E_PACKAGE && behind[kind] != HAS_COUNT)
		return false;
	if (behind[kind] == HAS_COUNT)
		return decode_chain(d, kind, number, depth, ret);
	struct pkg_opam_expr *x = arena_new(d->a, struct pkg_opam_expr);
	*x = (struct pkg_opam_expr){.kind = (uint8_t)kind, .relation = (uint8_t)mark};
	if (behind[kind])
		x->text = oif_string(d->ix, number);
	*ret = x;
	switch (kind) {
	case PKG_OPAM_E_NOT:
	case PKG_OPAM_E_DEFINED:
	case PKG_OPAM_E_VERSION:
		return decode(d, depth + 1, &x->left) && x->left;
	case PKG_OPAM_E_PACKAGE:
		d->filter = true;
		if (!decode(d, depth + 1, &x->left))
			return false;
		d->filter = false;
		return true;
	case PKG_OPAM_E_RELATION:
		return decode(d, depth + 1, &x->left) && decode(d, depth + 1, &x->right) && x->left && x->right;
	default:
		return true;
	}
}

static const struct oif_package *package_at(const struct opam_index *ix, struct oi_pkg p)
{
	return oif_at(ix, OIF_PACKAGES, p.n, 1);
}

const struct pkg_opam_expr *opam_index_formula(const struct opam_index *ix, struct oi_pkg p, enum oi_formula which,
					       struct arena *a)
{
	const struct oif_package *at = package_at(ix, p);
	const struct pkg_opam_expr *ret = NULL;
	struct decoder d = {.ix = ix, .left = at ? oif_code(ix, at->formula[which]) : STR(""), .a = a};
	d.filter = which == OI_AVAILABLE;
	if (!d.left.n)
		return NULL;
	if (decode(&d, 0, &ret) && !d.left.n)
		return ret;
	oif_damaged(ix);
	return NULL;
}

static bool decode_line(struct decoder *d, struct pkg_opam_line *ret)
{
	unsigned kind, mark;
	uint32_t n;
	if (!take_kind(&d->left, &kind, &mark, &n) || kind != CODE_LINE || n > d->left.n)
		return false;
	struct pkg_opam_arg *v = arena_array(d->a, struct pkg_opam_arg, n + 1);
	ret->arg = v;
	for (uint32_t number; ret->n < n; ret->n++) {
		if (!take_kind(&d->left, &kind, &mark, &number) || kind != CODE_ARG || !decode(d, 1, &v[ret->n].filter))
			return false;
		v[ret->n].text = oif_string(d->ix, number);
		v[ret->n].is_variable = mark == MARK_VARIABLE;
	}
	return decode(d, 1, &ret->filter);
}

struct pkg_opam_lines opam_index_depexts(const struct opam_index *ix, struct oi_pkg p, struct arena *a)
{
	const struct oif_package *at = package_at(ix, p);
	struct decoder d = {.ix = ix, .left = at ? oif_code(ix, at->depexts) : STR(""), .a = a, .filter = true};
	struct pkg_opam_lines ret = {0};
	unsigned kind, mark;
	uint32_t n, done = 0;
	if (!d.left.n)
		return ret;
	bool good = take_kind(&d.left, &kind, &mark, &n) && kind == CODE_LINES && n <= d.left.n;
	struct pkg_opam_line *v = good ? arena_array(a, struct pkg_opam_line, n + 1) : NULL;
	while (good && done < n)
		good = decode_line(&d, &v[done++]);
	if (good && !d.left.n)
		return (struct pkg_opam_lines){v, n};
	oif_damaged(ix);
	return ret;
}
