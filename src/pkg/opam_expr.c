// SPDX-License-Identifier: Apache-2.0
/* Filters and formulas out of the values of opam files (opam's manual, "Package formulas", "Filters", "Filtered package formulas"). */
#include "pkg/opam.h"

struct reading {
	struct arena *a;
	const struct pkg_opam_doc *d;
	struct err *e;
	bool any; /* the elements of a list are alternatives */
	unsigned names;
};
typedef const struct pkg_opam_expr expr;
typedef const struct pkg_opam_value value;

static void *bad(const struct reading *r, value *v, const char *why)
{
	(void)pkg_opam_fault(r->d, v->from, why, r->e);
	return NULL;
}

static struct pkg_opam_expr *node(const struct reading *r, enum pkg_opam_expr_kind kind, value *v, expr *left,
				  expr *right)
{
	struct pkg_opam_expr *x = arena_new(r->a, struct pkg_opam_expr);
	*x = (struct pkg_opam_expr){
		.kind = (uint8_t)kind, .at = v->from, .text = v->text, .left = left, .right = right};
	return x;
}

static uint8_t relation_of(value *v)
{
	return v->op == PKG_OPAM_SIMILAR ? PKG_FROM : v->op;
}

/* -- filters -------------------------------------------------------------------------------------------------------- */

static expr *filter_of(const struct reading *r, value *v);

static expr *filter_atom(const struct reading *r, value *v)
{
	struct pkg_opam_expr *x;
	if (v->kind == PKG_OPAM_BOOL)
		return node(r, v->number ? PKG_OPAM_E_TRUE : PKG_OPAM_E_FALSE, v, NULL, NULL);
	x = node(r, v->kind == PKG_OPAM_IDENT ? PKG_OPAM_E_VARIABLE : PKG_OPAM_E_STRING, v, NULL, NULL);
	if (v->kind == PKG_OPAM_INT)
		x->text = str_c(arena_printf(r->a, "%lld", (long long)v->number));
	return x;
}

static expr *filter_of(const struct reading *r, value *v)
{
	expr *left, *right = NULL;
	enum pkg_opam_expr_kind kind;
	if (v->kind <= PKG_OPAM_IDENT)
		return filter_atom(r, v);
	if (v->kind == PKG_OPAM_GROUP && v->first && !v->first->next)
		return filter_of(r, v->first);
	if (v->kind == PKG_OPAM_PFXOP)
		kind = v->op == PKG_OPAM_NOT ? PKG_OPAM_E_NOT : PKG_OPAM_E_DEFINED;
	else if (v->kind == PKG_OPAM_RELOP)
		kind = PKG_OPAM_E_RELATION;
	else if (v->kind == PKG_OPAM_LOGOP)
		kind = v->op == PKG_OPAM_AND ? PKG_OPAM_E_AND : PKG_OPAM_E_OR;
	else
		return bad(r, v, "a filter is missing");
	if (!(left = filter_of(r, v->left)) || (v->right && !(right = filter_of(r, v->right))))
		return NULL;
	struct pkg_opam_expr *x = node(r, kind, v, left, right);
	x->relation = kind == PKG_OPAM_E_RELATION ? relation_of(v) : 0;
	return x;
}

int pkg_opam_filter_of(struct arena *a, const struct pkg_opam_doc *d, const struct pkg_opam_value *v,
		       const struct pkg_opam_expr **ret, struct err *e)
{
	const struct reading r = {.a = a, .d = d, .e = e};
	*ret = NULL;
	v = pkg_opam_first(v);
	if (!v)
		return 0;
	if (v->next)
		return bad(&r, v->next, "a second filter; join them with '&' or '|'"), -1;
	return (*ret = filter_of(&r, v)) ? 0 : -1;
}

/* -- conditions of a name ------------------------------------------------------------------------------------------- */

static expr *conditions_of(const struct reading *r, value *first, bool not );

/* `not`: what is meant is the opposite, which goes down to the relations and filters. */
static expr *condition_of(const struct reading *r, value *v, bool not )
{
	static const uint8_t opposite[] = {PKG_FROM, PKG_ABOVE, PKG_OTHER, PKG_EXACTLY, PKG_BELOW, PKG_UP_TO};
	expr *left, *right;
	if (v->kind == PKG_OPAM_PREFIX_RELOP) {
		if (v->left->kind != PKG_OPAM_STRING && v->left->kind != PKG_OPAM_IDENT)
			return bad(r, v->left, "a version is missing");
		struct pkg_opam_expr *x = node(r, PKG_OPAM_E_VERSION, v, filter_atom(r, v->left), NULL);
		x->relation = not ? opposite[relation_of(v)] : relation_of(v);
		return x;
	}
	if (v->kind == PKG_OPAM_GROUP)
		return v->first ? conditions_of(r, v->first, not ) : bad(r, v, "a condition is missing");
	if (v->kind == PKG_OPAM_PFXOP && v->op == PKG_OPAM_NOT)
		return condition_of(r, v->left, !not );
	if (v->kind == PKG_OPAM_LOGOP) {
		if (!(left = condition_of(r, v->left, not )) || !(right = condition_of(r, v->right, not )))
			return NULL;
		return node(r, (v->op == PKG_OPAM_AND) != not ? PKG_OPAM_E_AND : PKG_OPAM_E_OR, v, left, right);
	}
	left = filter_of(r, v);
	return left && not ? node(r, PKG_OPAM_E_NOT, v, left, NULL) : left;
}

/* Side by side all of them are meant. */
static expr *conditions_of(const struct reading *r, value *first, bool not )
{
	expr *all = NULL;
	for (value *v = first; v; v = v->next) {
		expr *x = condition_of(r, v, not );
		if (!x)
			return NULL;
		all = all ? node(r, not ? PKG_OPAM_E_OR : PKG_OPAM_E_AND, v, all, x) : x;
	}
	return all;
}

/* -- formulas ------------------------------------------------------------------------------------------------------- */

bool pkg_opam_name_is_good(struct str name)
{
	bool letter = false;
	for (size_t i = 0; i < name.n; i++) {
		if (!opam_is_ichar(name.p[i]) && name.p[i] != '+')
			return false;
		letter |= (name.p[i] | 32) >= 'a' && (name.p[i] | 32) <= 'z';
	}
	return letter && name.n <= 200 && name.p[0] != '-';
}

bool pkg_opam_version_is_good(struct str version)
{
	for (size_t i = 0; i < version.n; i++)
		if (!opam_is_ichar(version.p[i]) && !strchr("+.~", version.p[i]))
			return false;
	return version.n > 0 && version.n <= 200 && !memchr(version.p, '\0', version.n);
}

bool pkg_opam_env_name_is_good(struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];
		bool letter = ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_';
		if (!letter && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return name.n > 0 && name.n <= 4096;
}

bool pkg_is_opam(struct str name, struct str *ret)
{
	if (!str_take_str(&name, STR("opam:")) || !pkg_opam_name_is_good(name))
		return false;
	if (ret)
		*ret = name;
	return true;
}

static expr *package_of(struct reading *r, value *v)
{
	value *name = v->kind == PKG_OPAM_OPTION ? v->left : v;
	expr *condition = NULL;
	if (name->kind != PKG_OPAM_STRING)
		return bad(r, name, "the name of a package is missing, in quotes");
	if (!pkg_opam_name_is_good(name->text))
		return bad(r, name, "that is no name of a package");
	if (++r->names > PKG_NEED_NAMES_MAX)
		return bad(r, name, "too many names in one formula");
	if (v->kind == PKG_OPAM_OPTION && v->first && !(condition = conditions_of(r, v->first, false)))
		return NULL;
	return node(r, PKG_OPAM_E_PACKAGE, name, condition, NULL);
}

static expr *formula_list(struct reading *r, value *first);

static expr *formula_one(struct reading *r, value *v)
{
	expr *left, *right;
	if (v->kind == PKG_OPAM_GROUP)
		return v->first ? formula_list(r, v->first) : bad(r, v, "a formula is missing");
	if (v->kind != PKG_OPAM_LOGOP)
		return package_of(r, v);
	if (!(left = formula_one(r, v->left)) || !(right = formula_one(r, v->right)))
		return NULL;
	return node(r, v->op == PKG_OPAM_AND ? PKG_OPAM_E_AND : PKG_OPAM_E_OR, v, left, right);
}

static expr *formula_list(struct reading *r, value *first)
{
	expr *all = NULL;
	size_t n = 0;
	for (value *v = first; v; v = v->next) {
		expr *x = formula_one(r, v);
		if (!x)
			return NULL;
		if (++n > PKG_OPAM_HEIGHT_MAX)
			return bad(r, v, "too many elements in one formula");
		all = all ? node(r, r->any ? PKG_OPAM_E_OR : PKG_OPAM_E_AND, v, all, x) : x;
	}
	return all;
}

int pkg_opam_formula_of(struct arena *a, const struct pkg_opam_doc *d, const struct pkg_opam_value *v, bool any,
			const struct pkg_opam_expr **ret, struct err *e)
{
	struct reading r = {.a = a, .d = d, .e = e, .any = any};
	*ret = NULL;
	v = pkg_opam_first(v);
	return !v || (*ret = formula_list(&r, v)) ? 0 : -1;
}

/* -- showing -------------------------------------------------------------------------------------------------------- */

static const char *relation_text(const struct pkg_opam_expr *x)
{
	static const char *const texts[] = {"<", "<=", "=", "!=", ">=", ">"};
	return x->relation < 6 ? texts[x->relation] : "";
}

static void put_quoted(struct str s, struct buf *b)
{
	buf_put_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_put_char(b, '\\');
		buf_put_char(b, s.p[i]);
	}
	buf_put_char(b, '"');
}

/* How tightly it holds together: what is looser than its surroundings gets parentheses. */
static int tightness(const struct pkg_opam_expr *x)
{
	return x->kind == PKG_OPAM_E_OR ? 0 : x->kind == PKG_OPAM_E_AND ? 1 : x->kind == PKG_OPAM_E_RELATION ? 2 : 3;
}

static void format(const struct pkg_opam_expr *x, int around, struct buf *b)
{
	int own = tightness(x);
	if (own < around)
		buf_put_char(b, '(');
	if (x->kind == PKG_OPAM_E_TRUE || x->kind == PKG_OPAM_E_FALSE) {
		buf_put_c(b, x->kind == PKG_OPAM_E_TRUE ? "true" : "false");
	} else if (x->kind == PKG_OPAM_E_STRING) {
		put_quoted(x->text, b);
	} else if (x->kind == PKG_OPAM_E_VARIABLE) {
		buf_put_str(b, x->text);
	} else if (x->kind == PKG_OPAM_E_NOT || x->kind == PKG_OPAM_E_DEFINED) {
		buf_put_char(b, x->kind == PKG_OPAM_E_NOT ? '!' : '?');
		format(x->left, 3, b);
	} else if (x->kind == PKG_OPAM_E_VERSION) {
		buf_printf(b, "%s ", relation_text(x));
		format(x->left, 3, b);
	} else if (x->kind == PKG_OPAM_E_PACKAGE) {
		put_quoted(x->text, b);
		if (x->left) {
			buf_put_c(b, " {");
			format(x->left, 0, b);
			buf_put_char(b, '}');
		}
	} else {
		format(x->left, own == 2 ? 3 : own, b);
		buf_printf(b, " %s ", own == 2 ? relation_text(x) : own == 1 ? "&" : "|");
		format(x->right, own + 1, b);
	}
	if (own < around)
		buf_put_char(b, ')');
}

void pkg_opam_expr_format(const struct pkg_opam_expr *x, struct buf *b)
{
	if (x)
		format(x, 0, b);
}
