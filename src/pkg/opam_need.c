// SPDX-License-Identifier: Apache-2.0
/*
 * Formulas and filters of opam files (opam's manual, "Package formulas" and "Filters"), decided by the host's variables while they
 * are read: what remains is a formula over names and versions.
 *
 *	list    = alternatives...                 each element; depends wants all of them, conflicts any
 *	alternatives = both ("|" both)...
 *	both    = element ("&" element)...
 *	element = "name" [ "{" condition "}" ] | "(" list ")" | "[" list "]"
 *
 * A condition holds filters (with-test, os = "linux") and relations to versions (>= "1.2") side by side.
 */
#include "pkg/pkg.h"

enum { RANGES_MAX = 500 };
enum token { T_END, T_WORD, T_STRING, T_MARK, T_BAD };
struct parser {
	struct arena *a;
	const struct pkg_opam_host *host;
	struct str left, before;
	enum token token;
	struct str value;	       /* of a word, a string or a mark */
	unsigned depth, names, ranges; /* ranges: of one name */
	struct err *e;
};
/* What a filter comes to: true, false, or nobody knows; a text where it is a variable or a string. */
struct value {
	enum { IS_FALSE, IS_TRUE, IS_UNKNOWN, IS_TEXT } is;
	struct str text;
};
/* What a condition comes to. */
struct condition {
	bool dropped;
	const struct pkg_range *range; /* NULL: any */
};

static int bad(struct parser *p, const char *why)
{
	return err_new(p->e, ERR_INPUT, "%s at '%.20s'", why,
		       p->before.n ? arena_strdup(p->a, str_head(p->before, 20)) : "");
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '+' || c == ':';
}

static void skip_blanks(struct parser *p)
{
	struct str line;
	for (;;) {
		while (p->left.n && memchr(" \t\r\n", p->left.p[0], 4))
			p->left = str_skip(p->left, 1);
		if (p->left.n && p->left.p[0] == '#') {
			(void)str_take_line(&p->left, &line);
		} else if (str_starts(p->left, STR("(*"))) {
			ptrdiff_t end = str_search(p->left, STR("*)"));
			p->left = end < 0 ? STR_NONE : str_skip(p->left, (size_t)end + 2);
		} else {
			break;
		}
	}
}

static void take_string(struct parser *p)
{
	struct str quote = str_starts(p->left, STR("\"\"\"")) ? STR("\"\"\"") : STR("\"");
	p->left = str_skip(p->left, quote.n);
	size_t n = 0;
	while (n < p->left.n && !str_starts(str_skip(p->left, n), quote))
		n += p->left.p[n] == '\\' ? 2 : 1;
	char *out = arena_alloc(p->a, n + 1);
	n = 0;
	p->token = T_BAD;
	while (p->left.n && !str_starts(p->left, quote)) {
		if (p->left.p[0] == '\\')
			p->left = str_skip(p->left, 1);
		if (!p->left.n)
			return;
		out[n++] = p->left.p[0];
		p->left = str_skip(p->left, 1);
	}
	if (!str_take_str(&p->left, quote))
		return;
	p->token = T_STRING;
	p->value = str_of(out, n);
}

static void next(struct parser *p)
{
	static const char *const marks[] = {"!=", "<=", ">=", "=", "<", ">", "~", "&", "|", "!",
					    "?",  "(",	")",  "[", "]", "{", "}", ",", NULL};
	size_t n = 0;
	skip_blanks(p);
	p->before = p->left;
	p->token = p->left.n ? T_BAD : T_END;
	if (!p->left.n)
		return;
	if (p->left.p[0] == '"') {
		take_string(p);
		return;
	}
	while (n < p->left.n && is_word(p->left.p[n]))
		n++;
	for (size_t i = 0; n == 0 && marks[i]; i++)
		if (str_starts(p->left, str_c(marks[i])))
			n = strlen(marks[i]);
	if (n == 0)
		return;
	p->token = is_word(p->left.p[0]) ? T_WORD : T_MARK;
	p->value = str_head(p->left, n);
	p->left = str_skip(p->left, n);
}

static bool at_mark(const struct parser *p, const char *mark)
{
	return p->token == T_MARK && str_eq_c(p->value, mark);
}

static bool take_mark(struct parser *p, const char *mark)
{
	bool is = at_mark(p, mark);
	if (is)
		next(p);
	return is;
}

static bool take_relation(struct parser *p, enum pkg_range_op *ret)
{
	static const char *const words[] = {"<", "<=", "=", "!=", ">=", ">"};
	for (size_t i = 0; i < 6; i++)
		if (take_mark(p, words[i])) {
			*ret = (enum pkg_range_op)i;
			return true;
		}
	return false;
}

static int deeper(struct parser *p)
{
	return ++p->depth > PKG_NEED_DEPTH_MAX
		       ? err_new(p->e, ERR_LIMIT, "brackets of more than %d levels", PKG_NEED_DEPTH_MAX)
		       : 0;
}

/* -- filters -------------------------------------------------------------------------------------------------------- */

static struct value truth(bool is)
{
	return (struct value){.is = is ? IS_TRUE : IS_FALSE};
}

static struct value variable(struct parser *p, struct str name)
{
	struct value v = {.is = IS_UNKNOWN};
	struct str found;
	if (str_eq_c(name, "true") || str_eq_c(name, "false"))
		return truth(str_eq_c(name, "true"));
	/* "_:version" is the package's own */
	(void)str_take_str(&name, STR("_:"));
	if (p->host && p->host->variable(p->host->ctx, name, &found))
		v = (struct value){.is = IS_TEXT, .text = found};
	return v;
}

static struct value as_truth(struct value v)
{
	if (v.is != IS_TEXT)
		return v;
	return str_eq_c(v.text, "true")	   ? truth(true)
	       : str_eq_c(v.text, "false") ? truth(false)
					   : (struct value){.is = IS_UNKNOWN};
}

static struct str as_text(struct value v)
{
	return v.is == IS_TEXT ? v.text : v.is == IS_TRUE ? STR("true") : STR("false");
}

static int parse_or(struct parser *p, struct value *ret);

static int parse_simple(struct parser *p, struct value *ret)
{
	if (take_mark(p, "!")) {
		if (deeper(p) < 0 || parse_simple(p, ret) < 0)
			return -1;
		p->depth--;
		*ret = as_truth(*ret);
		if (ret->is != IS_UNKNOWN)
			*ret = truth(ret->is == IS_FALSE);
		return 0;
	}
	if (take_mark(p, "?")) {
		if (deeper(p) < 0 || parse_simple(p, ret) < 0)
			return -1;
		p->depth--;
		*ret = truth(ret->is != IS_UNKNOWN);
		return 0;
	}
	if (take_mark(p, "(")) {
		if (deeper(p) < 0 || parse_or(p, ret) < 0)
			return -1;
		p->depth--;
		return take_mark(p, ")") ? 0 : bad(p, "a parenthesis is not closed");
	}
	if (p->token == T_WORD)
		*ret = variable(p, p->value);
	else if (p->token == T_STRING)
		*ret = (struct value){.is = IS_TEXT, .text = p->value};
	else
		return bad(p, "a variable or a string is missing");
	next(p);
	return 0;
}

static int parse_relation(struct parser *p, struct value *ret)
{
	enum pkg_range_op op;
	struct value right;
	if (parse_simple(p, ret) < 0)
		return -1;
	if (!take_relation(p, &op))
		return 0;
	if (parse_simple(p, &right) < 0)
		return -1;
	if (ret->is == IS_UNKNOWN || right.is == IS_UNKNOWN) {
		ret->is = IS_UNKNOWN;
		return 0;
	}
	const struct pkg_range r = {.op = op, .version = as_text(right)};
	*ret = truth(pkg_range_has(&r, as_text(*ret), pkg_opam_version_cmp));
	return 0;
}

static struct value both(struct value x, struct value y)
{
	x = as_truth(x);
	y = as_truth(y);
	if (x.is == IS_FALSE || y.is == IS_FALSE)
		return truth(false);
	return x.is == IS_TRUE ? y : x;
}

static struct value either(struct value x, struct value y)
{
	x = as_truth(x);
	y = as_truth(y);
	if (x.is == IS_TRUE || y.is == IS_TRUE)
		return truth(true);
	return x.is == IS_FALSE ? y : x;
}

static int parse_and(struct parser *p, struct value *ret)
{
	struct value right;
	if (parse_relation(p, ret) < 0)
		return -1;
	while (take_mark(p, "&")) {
		if (parse_relation(p, &right) < 0)
			return -1;
		*ret = both(*ret, right);
	}
	return 0;
}

static int parse_or(struct parser *p, struct value *ret)
{
	struct value right;
	if (parse_and(p, ret) < 0)
		return -1;
	while (take_mark(p, "|")) {
		if (parse_and(p, &right) < 0)
			return -1;
		*ret = either(*ret, right);
	}
	return 0;
}

int pkg_opam_filter(struct arena *a, struct str text, const struct pkg_opam_host *h, struct err *e)
{
	struct parser p = {.a = a, .host = h, .left = text, .e = e};
	struct value all = truth(true), v;
	next(&p);
	bool list = take_mark(&p, "[");
	while (p.token != T_END && !(list && at_mark(&p, "]"))) {
		if (parse_or(&p, &v) < 0)
			return -1;
		all = both(all, v);
	}
	if (list && !take_mark(&p, "]"))
		return bad(&p, "a bracket is not closed");
	return p.token != T_END ? bad(&p, "what is behind it has no meaning there") : as_truth(all).is == IS_TRUE;
}

/* -- conditions of a name ------------------------------------------------------------------------------------------- */

static const struct pkg_range *range_join(struct parser *p, enum pkg_range_op op, const struct pkg_range *x,
					  const struct pkg_range *y)
{
	if (!x || !y)
		return x ? x : y;
	struct pkg_range *r = arena_new(p->a, struct pkg_range);
	*r = (struct pkg_range){.op = op, .left = x, .right = y};
	return r;
}

static int condition_or(struct parser *p, struct condition *ret);

/* Turns "!( >= x )" around. */
static const struct pkg_range *range_not(struct parser *p, const struct pkg_range *r)
{
	static const enum pkg_range_op other[] = {PKG_FROM,  PKG_ABOVE, PKG_OTHER,  PKG_EXACTLY,
						  PKG_BELOW, PKG_UP_TO, PKG_EITHER, PKG_BOTH};
	if (!r)
		return NULL;
	struct pkg_range *n = arena_new(p->a, struct pkg_range);
	*n = (struct pkg_range){.op = other[r->op], .version = r->version};
	n->left = range_not(p, r->left);
	n->right = range_not(p, r->right);
	return n;
}

static int condition_one(struct parser *p, struct condition *ret)
{
	enum pkg_range_op op;
	struct value v;
	*ret = (struct condition){0};
	if (take_relation(p, &op)) {
		if (++p->ranges > RANGES_MAX)
			return err_new(p->e, ERR_LIMIT, "more than %d relations to one name", RANGES_MAX);
		if (parse_simple(p, &v) < 0)
			return -1;
		struct pkg_range *r = arena_new(p->a, struct pkg_range);
		*r = (struct pkg_range){.op = op, .version = as_text(v)};
		ret->range = r;
		ret->dropped = v.is == IS_UNKNOWN;
		return 0;
	}
	if (at_mark(p, "(") || at_mark(p, "!")) {
		/* a filter, or relations in parentheses: only what stands inside tells */
		bool not = take_mark(p, "!"), open = take_mark(p, "(");
		if (deeper(p) < 0 || (open ? condition_or(p, ret) : condition_one(p, ret)) < 0)
			return -1;
		p->depth--;
		if (open && !take_mark(p, ")"))
			return bad(p, "a parenthesis is not closed");
		if (not &&ret->range)
			ret->range = range_not(p, ret->range);
		else if (not )
			ret->dropped = !ret->dropped;
		return 0;
	}
	if (parse_relation(p, &v) < 0)
		return -1;
	ret->dropped = as_truth(v).is != IS_TRUE;
	return 0;
}

static int condition_and(struct parser *p, struct condition *ret)
{
	struct condition right;
	if (condition_one(p, ret) < 0)
		return -1;
	while (take_mark(p, "&")) {
		if (condition_one(p, &right) < 0)
			return -1;
		ret->dropped |= right.dropped;
		ret->range = range_join(p, PKG_BOTH, ret->range, right.range);
	}
	return 0;
}

static int condition_or(struct parser *p, struct condition *ret)
{
	struct condition right;
	if (condition_and(p, ret) < 0)
		return -1;
	while (take_mark(p, "|")) {
		if (condition_and(p, &right) < 0)
			return -1;
		if (ret->dropped)
			*ret = right;
		else if (!right.dropped) /* a filter that is true allows any version */
			ret->range = ret->range && right.range ? range_join(p, PKG_EITHER, ret->range, right.range)
							       : NULL;
	}
	return 0;
}

/* -- formulas ------------------------------------------------------------------------------------------------------- */

static const struct pkg_need *need_join(struct parser *p, enum pkg_need_op op, const struct pkg_need *x,
					const struct pkg_need *y)
{
	if (!x || !y)
		return x ? x : y;
	struct pkg_need *n = arena_new(p->a, struct pkg_need);
	*n = (struct pkg_need){.op = op, .left = x, .right = y};
	return n;
}

static int formula_list(struct parser *p, const char *end, enum pkg_need_op op, const struct pkg_need **ret);

static int formula_element(struct parser *p, const struct pkg_need **ret)
{
	struct condition c = {0};
	*ret = NULL;
	if (at_mark(p, "(") || at_mark(p, "[")) {
		const char *end = take_mark(p, "(") ? ")" : "]";
		if (end[0] == ']')
			next(p);
		if (deeper(p) < 0 || formula_list(p, end, PKG_NEED_AND, ret) < 0)
			return -1;
		p->depth--;
		return take_mark(p, end) ? 0 : bad(p, "a bracket is not closed");
	}
	if (p->token != T_STRING || !p->value.n)
		return bad(p, "a package's name is missing");
	if (++p->names > PKG_NEED_NAMES_MAX)
		return err_new(p->e, ERR_LIMIT, "more than %d names in one formula", PKG_NEED_NAMES_MAX);
	struct pkg_need *n = arena_new(p->a, struct pkg_need);
	*n = (struct pkg_need){.op = PKG_NEED_NAME, .name = p->value};
	next(p);
	p->ranges = 0;
	if (take_mark(p, "{")) {
		while (!at_mark(p, "}")) {
			struct condition more;
			if (condition_or(p, &more) < 0)
				return -1;
			c.dropped |= more.dropped;
			c.range = range_join(p, PKG_BOTH, c.range, more.range);
		}
		next(p);
	}
	n->range = c.range;
	if (!c.dropped)
		*ret = n;
	return 0;
}

static int formula_both(struct parser *p, const struct pkg_need **ret)
{
	const struct pkg_need *right;
	if (formula_element(p, ret) < 0)
		return -1;
	while (take_mark(p, "&")) {
		if (formula_element(p, &right) < 0)
			return -1;
		*ret = need_join(p, PKG_NEED_AND, *ret, right);
	}
	return 0;
}

static int formula_list(struct parser *p, const char *end, enum pkg_need_op op, const struct pkg_need **ret)
{
	*ret = NULL;
	while (p->token != T_END && !(end && at_mark(p, end))) {
		const struct pkg_need *one, *right;
		if (formula_both(p, &one) < 0)
			return -1;
		while (take_mark(p, "|")) {
			if (formula_both(p, &right) < 0)
				return -1;
			one = need_join(p, PKG_NEED_OR, one, right);
		}
		*ret = need_join(p, op, *ret, one);
	}
	return 0;
}

int pkg_opam_need_parse(struct arena *a, struct str text, const struct pkg_opam_host *h, bool any,
			const struct pkg_need **ret, struct err *e)
{
	struct parser p = {.a = a, .host = h, .left = text, .e = e};
	enum pkg_need_op op = any ? PKG_NEED_OR : PKG_NEED_AND;
	next(&p);
	bool list = take_mark(&p, "[");
	if (formula_list(&p, list ? "]" : NULL, op, ret) < 0)
		return -1;
	if (list && !take_mark(&p, "]"))
		return bad(&p, "a bracket is not closed");
	return p.token == T_END ? 0 : bad(&p, "what is behind it has no meaning there");
}

int pkg_opam_spec_parse(struct arena *a, struct str text, const struct pkg_need **ret, struct err *e)
{
	static const char *const words[] = {"<=", ">=", "!=", "=", "<", ">", "."};
	static const enum pkg_range_op ops[] = {PKG_UP_TO, PKG_FROM,  PKG_OTHER,  PKG_EXACTLY,
						PKG_BELOW, PKG_ABOVE, PKG_EXACTLY};
	struct pkg_need *n = arena_new(a, struct pkg_need);
	size_t k = 0;
	text = str_trim(text);
	while (k < text.n && is_word(text.p[k]) && text.p[k] != ':')
		k++;
	*n = (struct pkg_need){.op = PKG_NEED_NAME, .name = str_head(text, k)};
	*ret = n;
	struct str rest = str_trim(str_skip(text, k));
	for (size_t i = 0; n->name.n && rest.n && i < 7; i++)
		if (str_take_str(&rest, str_c(words[i]))) {
			struct pkg_range *r = arena_new(a, struct pkg_range);
			*r = (struct pkg_range){.op = ops[i], .version = str_trim(rest)};
			n->range = r;
			rest = r->version.n ? STR_NONE : STR(".");
		}
	return n->name.n && !rest.n
		       ? 0
		       : err_new(e, ERR_INPUT, "'%.*s' is no package; as in: dune, dune.3.0, dune>=3.0", STR_ARG(text));
}

size_t pkg_opam_words(struct arena *a, struct str text, struct str *ret, size_t max)
{
	struct parser p = {.a = a, .left = text};
	size_t n = 0;
	for (next(&p); p.token != T_END && p.token != T_BAD && n < max; next(&p))
		if (p.token == T_WORD || p.token == T_STRING)
			ret[n++] = p.value;
	return n;
}
