// SPDX-License-Identifier: Apache-2.0
/* Filters and formulas decided by a host's variables, and "%{variable}%" in texts (opam's manual, "Variables", "Filters"). */
#include "pkg/opam.h"

typedef struct pkg_opam_result result;

static result truth(bool is)
{
	return (result){.is = is ? PKG_OPAM_IS_TRUE : PKG_OPAM_IS_FALSE};
}

static const result undefined = {.is = PKG_OPAM_IS_UNDEFINED};

static result text_of(struct str s)
{
	return (result){.is = PKG_OPAM_IS_TEXT, .text = s};
}

/* A text that is no truth counts as undefined where a truth is wanted. */
static result as_truth(result r)
{
	if (r.is != PKG_OPAM_IS_TEXT)
		return r;
	return str_eq(r.text, STR("true")) ? truth(true) : str_eq(r.text, STR("false")) ? truth(false) : undefined;
}

static struct str as_text(result r)
{
	return r.is == PKG_OPAM_IS_TEXT ? r.text : r.is == PKG_OPAM_IS_TRUE ? STR("true") : STR("false");
}

/* -- variables ------------------------------------------------------------------------------------------------------ */

/* "packages:variable?if_true:if_false" apart. */
struct ident {
	struct str packages, variable, if_true, if_false;
	bool is_of_package, is_one, converts; /* is_one: of a package that has a '+' in its name */
};

static bool cut_last(struct str s, char c, struct str *before, struct str *behind)
{
	ptrdiff_t at = str_rfind(s, c);
	if (at < 0)
		return false;
	*before = str_head(s, (size_t)at);
	*behind = str_skip(s, (size_t)at + 1);
	return true;
}

static struct ident split(struct str s, bool in_text)
{
	struct ident i = {.variable = s};
	struct str left, last, front, value;
	if (!cut_last(s, ':', &left, &last))
		return i;
	if (!cut_last(left, '?', &front, &value)) {
		i = (struct ident){.packages = left, .variable = last, .is_of_package = true};
	} else if (!front.n && in_text) {
		/* "%{?a+b:variable:}%": a name with a '+' in it, as opam 2.2 reads it */
		i.variable = last;
		if (cut_last(value, ':', &i.packages, &i.variable))
			i.is_of_package = i.is_one = true;
		else
			i.variable = last;
	} else {
		i = (struct ident){.variable = front, .if_true = value, .if_false = last, .converts = true};
		if (cut_last(front, ':', &i.packages, &i.variable))
			i.is_of_package = true;
	}
	return i;
}

static struct str full_name(struct arena *a, struct str package, struct str variable, const struct pkg_opam_host *h)
{
	if (str_eq(package, STR("_")))
		package = h->self;
	if (!package.n)
		return variable;
	char *p = arena_alloc(a, package.n + variable.n + 1);
	memcpy(p, package.p, package.n);
	p[package.n] = ':';
	if (variable.n)
		memcpy(p + package.n + 1, variable.p, variable.n);
	return str_of(p, package.n + variable.n + 1);
}

static result ask(struct str name, const struct pkg_opam_host *h)
{
	struct str found;
	return h && h->variable && h->variable(h->ctx, name, &found) ? text_of(found) : undefined;
}

/* Of several packages: true where it is of all of them, false where it is of one not. */
static result of_packages(struct arena *a, const struct ident *i, const struct pkg_opam_host *h)
{
	static const struct pkg_opam_host nobody;
	struct str names = i->packages, name;
	result all = truth(true);
	h = h ? h : &nobody;
	if (i->is_one || str_find(names, '+') < 0)
		return ask(full_name(a, names, i->variable, h), h);
	while (names.n && all.is != PKG_OPAM_IS_FALSE) {
		if (!str_take_until(&names, '+', &name)) {
			name = names;
			names = STR_NONE;
		}
		result r = name.n ? as_truth(ask(full_name(a, name, i->variable, h), h)) : truth(true);
		if (r.is != PKG_OPAM_IS_TRUE)
			all = r;
	}
	return all;
}

static result resolve(struct arena *a, struct str ident, bool in_text, const struct pkg_opam_host *h)
{
	struct ident i = split(ident, in_text);
	if (i.is_of_package && !i.converts && str_eq(i.variable, STR("enable"))) {
		i.variable = STR("installed");
		i.converts = true;
		i.if_true = STR("enable");
		i.if_false = STR("disable");
	}
	result r = i.is_of_package ? of_packages(a, &i, h) : ask(i.variable, h);
	return i.converts ? text_of(as_truth(r).is == PKG_OPAM_IS_TRUE ? i.if_true : i.if_false) : r;
}

struct pkg_opam_result pkg_opam_variable(struct arena *a, struct str ident, const struct pkg_opam_host *h)
{
	return resolve(a, ident, false, h);
}

/* -- texts ---------------------------------------------------------------------------------------------------------- */

/* What stands in "%{…}%" at the front; it ends in the same line. */
static bool take_reference(struct str *s, struct str *ret)
{
	for (size_t i = 2; i + 1 < s->n && s->p[i] != '\n'; i++)
		if (s->p[i] == '}' && s->p[i + 1] == '%') {
			*ret = str_of(s->p + 2, i - 2);
			*s = str_skip(*s, i + 2);
			return true;
		}
	return false;
}

static void expand(struct arena *a, struct str s, const struct pkg_opam_host *h, bool escaped, struct buf *b)
{
	struct str name;
	while (s.n) {
		ptrdiff_t at = str_find(s, '%');
		buf_put_str(b, at < 0 ? s : str_head(s, (size_t)at));
		if (at < 0)
			return;
		s = str_skip(s, (size_t)at);
		if (str_take_str(&s, STR("%%"))) {
			buf_put_char(b, '%');
		} else if (str_starts(s, STR("%{")) && take_reference(&s, &name)) {
			result r = resolve(a, name, true, h);
			struct str v = r.is == PKG_OPAM_IS_UNDEFINED ? STR_NONE : as_text(r);
			for (size_t i = 0; i < v.n; i++) {
				if (escaped && (v.p[i] == '"' || v.p[i] == '\\'))
					buf_put_char(b, '\\');
				buf_put_char(b, v.p[i]);
			}
		} else if (str_starts(s, STR("%{"))) {
			/* one that does not end stays as it is, up to the end of the line */
			size_t n = 0;
			while (n < s.n && s.p[n] != '\n')
				n++;
			buf_put_str(b, str_head(s, n));
			s = str_skip(s, n);
		} else {
			buf_put_char(b, '%');
			s = str_skip(s, 1);
		}
	}
}

enum { EXPANDED_MAX = 16 << 20 };

struct str pkg_opam_expand(struct arena *a, struct str text, const struct pkg_opam_host *h)
{
	auto_buf b = BUF_INIT(EXPANDED_MAX);
	if (str_find(text, '%') < 0)
		return text;
	expand(a, text, h, false, &b);
	return arena_str(a, buf_str(&b));
}

/* Within quotes a text has its escapes, which '%' does not touch. */
static void expand_quoted(struct arena *a, struct str s, const struct pkg_opam_host *h, struct buf *b)
{
	while (s.n) {
		ptrdiff_t at = str_find(s, '"');
		expand(a, at < 0 ? s : str_head(s, (size_t)at), h, false, b);
		if (at < 0)
			return;
		s = str_skip(s, (size_t)at);
		struct str quote = str_starts(s, STR("\"\"\"")) ? STR("\"\"\"") : STR("\"");
		size_t n = quote.n;
		while (n < s.n && !str_starts(str_skip(s, n), quote))
			n += s.p[n] == '\\' ? 2 : 1;
		n = n < s.n ? n : s.n;
		buf_put_str(b, quote);
		expand(a, str_skip(str_head(s, n), quote.n), h, true, b);
		s = str_skip(s, n);
		if (str_take_str(&s, quote))
			buf_put_str(b, quote);
	}
}

struct str pkg_opam_subst(struct arena *a, struct str text, const struct pkg_opam_host *h)
{
	auto_buf b = BUF_INIT(EXPANDED_MAX);
	auto_arena tmp = ARENA_INIT;
	struct pkg_opam_doc d;
	struct err ignored = ERR_INIT;
	if (pkg_opam_read(&tmp, text, "", &d, &ignored) == 0 && d.first) {
		expand_quoted(a, text, h, &b);
	} else {
		expand(a, text, h, false, &b);
		if (b.n && b.p[b.n - 1] != '\n')
			buf_put_char(&b, '\n');
	}
	return arena_str(a, buf_str(&b));
}

/* -- filters -------------------------------------------------------------------------------------------------------- */

/* One side decides: false of an &, true of an |. */
static result join(result x, result y, enum pkg_opam_is absorbs)
{
	x = as_truth(x);
	y = as_truth(y);
	if (x.is == absorbs || y.is == absorbs)
		return (result){.is = absorbs};
	return x.is == PKG_OPAM_IS_UNDEFINED ? x : y;
}

static result compare(const struct pkg_opam_expr *x, result left, result right)
{
	const struct pkg_range r = {.op = x->relation, .version = as_text(right)};
	if (left.is == PKG_OPAM_IS_UNDEFINED || right.is == PKG_OPAM_IS_UNDEFINED)
		return undefined;
	return truth(pkg_range_has(&r, as_text(left), pkg_opam_version_cmp));
}

struct pkg_opam_result pkg_opam_eval(struct arena *a, const struct pkg_opam_expr *x, const struct pkg_opam_host *h)
{
	result r;
	if (!x)
		return truth(true);
	switch ((enum pkg_opam_expr_kind)x->kind) {
	case PKG_OPAM_E_TRUE:
	case PKG_OPAM_E_FALSE:
		return truth(x->kind == PKG_OPAM_E_TRUE);
	case PKG_OPAM_E_STRING:
		return text_of(pkg_opam_expand(a, x->text, h));
	case PKG_OPAM_E_VARIABLE:
		r = resolve(a, x->text, false, h);
		r.text = r.is == PKG_OPAM_IS_TEXT ? pkg_opam_expand(a, r.text, h) : r.text;
		return r;
	case PKG_OPAM_E_RELATION:
		return compare(x, pkg_opam_eval(a, x->left, h), pkg_opam_eval(a, x->right, h));
	case PKG_OPAM_E_AND:
		return join(pkg_opam_eval(a, x->left, h), pkg_opam_eval(a, x->right, h), PKG_OPAM_IS_FALSE);
	case PKG_OPAM_E_OR:
		return join(pkg_opam_eval(a, x->left, h), pkg_opam_eval(a, x->right, h), PKG_OPAM_IS_TRUE);
	case PKG_OPAM_E_NOT:
		r = as_truth(pkg_opam_eval(a, x->left, h));
		return r.is == PKG_OPAM_IS_UNDEFINED ? r : truth(r.is == PKG_OPAM_IS_FALSE);
	case PKG_OPAM_E_DEFINED:
		return truth(pkg_opam_eval(a, x->left, h).is != PKG_OPAM_IS_UNDEFINED);
	case PKG_OPAM_E_VERSION:
	case PKG_OPAM_E_PACKAGE:
		break;
	}
	return undefined;
}

bool pkg_opam_holds(struct arena *a, const struct pkg_opam_expr *x, const struct pkg_opam_host *h)
{
	return as_truth(pkg_opam_eval(a, x, h)).is == PKG_OPAM_IS_TRUE;
}

/* -- formulas ------------------------------------------------------------------------------------------------------- */

/* What a condition comes to: it holds, it does not, or for these versions (NULL: a version that nobody knows, which is passed over). */
struct condition {
	enum { NEVER, ALWAYS, VERSIONS } is;
	const struct pkg_range *range;
};

static struct condition condition(struct arena *a, const struct pkg_opam_expr *x, const struct pkg_opam_host *h)
{
	if (x->kind == PKG_OPAM_E_VERSION) {
		result r = pkg_opam_eval(a, x->left, h);
		struct pkg_range *range = r.is == PKG_OPAM_IS_UNDEFINED ? NULL : arena_new(a, struct pkg_range);
		if (range)
			*range = (struct pkg_range){.op = x->relation, .version = as_text(r)};
		return (struct condition){VERSIONS, range};
	}
	if (x->kind != PKG_OPAM_E_AND && x->kind != PKG_OPAM_E_OR)
		return (struct condition){pkg_opam_holds(a, x, h) ? ALWAYS : NEVER, NULL};
	struct condition left = condition(a, x->left, h), right = condition(a, x->right, h);
	bool and = x->kind == PKG_OPAM_E_AND;
	int absorbs = and? NEVER : ALWAYS;
	if ((int)left.is == absorbs || (int)right.is == absorbs)
		return (struct condition){.is = and? NEVER : ALWAYS};
	if (left.is != VERSIONS || right.is != VERSIONS)
		return left.is == VERSIONS ? left : right;
	if (!left.range || !right.range)
		return left.range ? left : right;
	struct pkg_range *both = arena_new(a, struct pkg_range);
	*both = (struct pkg_range){.op = and? PKG_BOTH : PKG_EITHER, .left = left.range, .right = right.range};
	return (struct condition){VERSIONS, both};
}

struct needing {
	struct arena *a;
	const struct pkg_opam_host *h;
	unsigned names;
};

static const struct pkg_need *need(struct needing *d, const struct pkg_opam_expr *x)
{
	struct pkg_need *n;
	if (x->kind == PKG_OPAM_E_PACKAGE) {
		struct condition c = {ALWAYS, NULL};
		if (x->left)
			c = condition(d->a, x->left, d->h);
		if (c.is == NEVER || d->names > PKG_NEED_NAMES_MAX)
			return NULL;
		d->names++;
		n = arena_new(d->a, struct pkg_need);
		*n = (struct pkg_need){.op = PKG_NEED_NAME, .name = x->text, .range = c.range};
		return n;
	}
	const struct pkg_need *left = need(d, x->left), *right = need(d, x->right);
	if (!left || !right)
		return left ? left : right;
	n = arena_new(d->a, struct pkg_need);
	*n = (struct pkg_need){
		.op = x->kind == PKG_OPAM_E_AND ? PKG_NEED_AND : PKG_NEED_OR, .left = left, .right = right};
	return n;
}

int pkg_opam_need_of(struct arena *a, const struct pkg_opam_expr *x, const struct pkg_opam_host *h,
		     const struct pkg_need **ret, struct err *e)
{
	struct needing d = {.a = a, .h = h};
	*ret = x ? need(&d, x) : NULL;
	return d.names <= PKG_NEED_NAMES_MAX
		       ? 0
		       : err_new(e, ERR_LIMIT, "more than %d names in one formula", PKG_NEED_NAMES_MAX);
}

/* -- commands ------------------------------------------------------------------------------------------------------- */

/* The words of one argument into v, where that is not NULL; how many. */
static size_t words_of(struct arena *a, const struct pkg_opam_arg *arg, const struct pkg_opam_host *h, struct str *v)
{
	const struct str *list;
	size_t n;
	if (!pkg_opam_holds(a, arg->filter, h))
		return 0;
	if (arg->is_variable && h && h->list && h->list(h->ctx, arg->text, &list, &n)) {
		if (v && n)
			memcpy(v, list, n * sizeof(*v));
		return n;
	}
	if (v && arg->is_variable) {
		result r = resolve(a, arg->text, false, h);
		*v = r.is == PKG_OPAM_IS_UNDEFINED ? STR("") : as_text(r);
	} else if (v) {
		*v = pkg_opam_expand(a, arg->text, h);
	}
	return 1;
}

size_t pkg_opam_argv(struct arena *a, const struct pkg_opam_line *l, const struct pkg_opam_host *h,
		     const struct str **ret)
{
	size_t n = 0, at = 0;
	*ret = NULL;
	if (!pkg_opam_holds(a, l->filter, h))
		return 0;
	for (size_t i = 0; i < l->n; i++)
		n += words_of(a, &l->arg[i], h, NULL);
	struct str *v = arena_array(a, struct str, n);
	for (size_t i = 0; i < l->n; i++)
		at += words_of(a, &l->arg[i], h, v + at);
	*ret = v;
	return at;
}

static int text_cmp(const void *x, const void *y)
{
	return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

size_t pkg_opam_system(struct arena *a, const struct pkg_opam_lines *l, const struct pkg_opam_host *h,
		       const struct str **ret)
{
	size_t n = 0, kept = 0;
	*ret = NULL;
	for (size_t i = 0; i < l->n; i++)
		n += l->v[i].n;
	if (n == 0)
		return 0;
	struct str *v = arena_array(a, struct str, n);
	n = 0;
	for (size_t i = 0; i < l->n; i++)
		if (pkg_opam_holds(a, l->v[i].filter, h))
			for (size_t k = 0; k < l->v[i].n; k++)
				if (!l->v[i].arg[k].is_variable && pkg_opam_holds(a, l->v[i].arg[k].filter, h))
					v[n++] = l->v[i].arg[k].text;
	qsort(v, n, sizeof(*v), text_cmp);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !str_eq(v[i], v[kept - 1]))
			v[kept++] = v[i];
	*ret = v;
	return kept;
}
