// SPDX-License-Identifier: Apache-2.0
/* Relations of Debian (Policy 7.1) and RPM (rpm-dependencies(7), boolean dependencies) as formulas. */
#include "pkg/pkg.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct pkg_need *need_new(struct arena *a, enum pkg_need_op op, const struct pkg_need *l,
				 const struct pkg_need *r)
{
	struct pkg_need *n = arena_new(a, struct pkg_need);
	*n = (struct pkg_need){.op = op, .left = l, .right = r};
	return n;
}

/* Either may be NULL, which says nothing. */
static const struct pkg_need *join(struct arena *a, enum pkg_need_op op, const struct pkg_need *l,
				   const struct pkg_need *r)
{
	return !l ? r : !r ? l : need_new(a, op, l, r);
}

bool pkg_range_has(const struct pkg_range *r, struct str version, pkg_version_cmp_fn *cmp)
{
	if (!r)
		return true;
	if (r->op == PKG_BOTH)
		return pkg_range_has(r->left, version, cmp) && pkg_range_has(r->right, version, cmp);
	if (r->op == PKG_EITHER)
		return pkg_range_has(r->left, version, cmp) || pkg_range_has(r->right, version, cmp);
	int c = cmp(version, r->version);
	switch (r->op) {
	case PKG_BELOW:
		return c < 0;
	case PKG_UP_TO:
		return c <= 0;
	case PKG_EXACTLY:
		return c == 0;
	case PKG_OTHER:
		return c != 0;
	case PKG_FROM:
		return c >= 0;
	case PKG_ABOVE:
		return c > 0;
	case PKG_BOTH:
	case PKG_EITHER:
		break;
	}
	return false;
}

int pkg_rpm_version_cmp(struct str x, struct str y)
{
	struct pkg_rpm_evr a = pkg_rpm_evr_parse(x), b = pkg_rpm_evr_parse(y);
	if (!a.release.n || !b.release.n)
		a.release = b.release = STR_NONE;
	return pkg_rpm_evr_cmp(&a, &b);
}

/* -- shown ---------------------------------------------------------------------------------------------------------- */

static void format_range(const struct pkg_range *r, struct buf *b, unsigned depth)
{
	static const char *const words[] = {"<", "<=", "=", "!=", ">=", ">", " and ", " or "};
	if (depth > PKG_NEED_DEPTH_MAX) {
		buf_put_c(b, "…");
	} else if (r->op < PKG_BOTH) {
		buf_printf(b, "%s %.*s", words[r->op], STR_ARG(r->version));
	} else {
		format_range(r->left, b, depth + 1);
		buf_put_c(b, words[r->op]);
		format_range(r->right, b, depth + 1);
	}
}

static void format_need(const struct pkg_need *n, struct buf *b, unsigned depth)
{
	static const char *const words[] = {"", " and ", " or ", " if ", " unless ", " with ", " without "};
	if (!n)
		return;
	if (depth > PKG_NEED_DEPTH_MAX || b->n > 400) {
		buf_put_c(b, "…");
		return;
	}
	if (n->op == PKG_NEED_NAME) {
		buf_put_str(b, n->name);
		if (n->range) {
			buf_put_c(b, " (");
			format_range(n->range, b, depth + 1);
			buf_put_c(b, ")");
		}
		return;
	}
	format_need(n->left, b, depth + 1);
	buf_put_c(b, words[n->op]);
	format_need(n->right, b, depth + 1);
	if (n->otherwise) {
		buf_put_c(b, " else ");
		format_need(n->otherwise, b, depth + 1);
	}
}

void pkg_need_format(const struct pkg_need *n, struct buf *b)
{
	format_need(n, b, 0);
}

/* -- deb ------------------------------------------------------------------------------------------------------------ */

/* Up to the next `stop`; what follows it stays. False at the end. */
static bool take_part(struct str *s, char stop, struct str *ret)
{
	if (str_trim(*s).n == 0)
		return false;
	if (!str_take_until(s, stop, ret)) {
		*ret = *s;
		*s = STR_NONE;
	}
	*ret = str_trim(*ret);
	return true;
}

struct operator
{
	const char *text;
	enum pkg_range_op op;
};
static const struct pkg_range *read_range(struct arena *a, const struct operator* ops, struct str s)
{
	for (; ops->text; ops++) {
		if (!str_take_str(&s, str_c(ops->text)))
			continue;
		struct pkg_range *r = arena_new(a, struct pkg_range);
		*r = (struct pkg_range){.op = ops->op, .version = str_trim(s)};
		return r->version.n ? r : NULL;
	}
	return NULL;
}

/* '<' and '>' are of old, and mean what they look like less than what they say (Policy 7.1). */
static const struct operator deb_operators[] = {{"<<", PKG_BELOW}, {"<=", PKG_UP_TO},  {">=", PKG_FROM},
						{">>", PKG_ABOVE}, {"=", PKG_EXACTLY}, {"<", PKG_UP_TO},
						{">", PKG_FROM},   {NULL, PKG_EXACTLY}};

static int deb_one(struct arena *a, struct str s, const struct pkg_need **ret, struct err *e)
{
	struct pkg_need *n = need_new(a, PKG_NEED_NAME, NULL, NULL);
	size_t k = 0;
	while (k < s.n && !is_blank(s.p[k]) && !memchr("([<=", s.p[k], 4))
		k++;
	n->name = str_head(s, k);
	struct str rest = str_trim(str_skip(s, k)), inner;
	ptrdiff_t colon = str_find(n->name, ':');
	if (colon >= 0) {
		n->arch = str_skip(n->name, (size_t)colon + 1);
		n->name = str_head(n->name, (size_t)colon);
	}
	if (!n->name.n)
		return err_new(e, ERR_INPUT, "'%.*s' names no package", STR_ARG(s));
	bool range = str_take_char(&rest, '(');
	if (range && !str_take_until(&rest, ')', &inner))
		return err_new(e, ERR_INPUT, "'%.*s': a parenthesis is not closed", STR_ARG(s));
	if (!range && rest.n && rest.p[0] == '=') {
		range = true;
		inner = rest;
	}
	if (range && !(n->range = read_range(a, deb_operators, str_trim(inner))))
		return err_new(e, ERR_INPUT, "'%.*s': no such relation; they are <<, <=, =, >=, >>", STR_ARG(s));
	*ret = n;
	return 0;
}

int pkg_deb_need_parse(struct arena *a, struct str text, const struct pkg_need **ret, struct err *e)
{
	struct str part, one;
	size_t n = 0;
	*ret = NULL;
	while (take_part(&text, ',', &part)) {
		const struct pkg_need *any = NULL, *is = NULL;
		while (take_part(&part, '|', &one)) {
			if (++n > PKG_NEED_NAMES_MAX)
				return err_new(e, ERR_LIMIT, "more than %d names in one relation", PKG_NEED_NAMES_MAX);
			if (deb_one(a, one, &is, e) < 0)
				return -1;
			any = join(a, PKG_NEED_OR, any, is);
		}
		*ret = join(a, PKG_NEED_AND, *ret, any);
	}
	return 0;
}

/* -- rpm ------------------------------------------------------------------------------------------------------------ */

struct rich {
	struct arena *a;
	struct str all, left;
	unsigned depth, names;
};

static void skip_blanks(struct rich *r)
{
	while (r->left.n && is_blank(r->left.p[0]))
		r->left = str_skip(r->left, 1);
}

/* A word ends at a blank, or where a parenthesis closes that it did not open. */
static struct str take_word(struct rich *r)
{
	size_t n = 0, open = 0;
	skip_blanks(r);
	for (; n < r->left.n && !is_blank(r->left.p[n]); n++) {
		if (r->left.p[n] == '(')
			open++;
		else if (r->left.p[n] == ')' && open-- == 0)
			break;
	}
	struct str word = str_head(r->left, n);
	r->left = str_skip(r->left, n);
	return word;
}

/* A word, or what of it stands before an operator: people write "name>=1". */
static struct str take_name(struct rich *r)
{
	struct str word = take_word(r);
	size_t open = 0;
	for (size_t i = 0; i < word.n && word.p[0] != '/'; i++) {
		open += word.p[i] == '(';
		open -= word.p[i] == ')';
		if (open || !memchr("<>=", word.p[i], 3))
			continue;
		r->left.n += (size_t)(r->left.p - (word.p + i));
		r->left.p = word.p + i;
		return str_head(word, i);
	}
	return word;
}

static struct str peek_word(const struct rich *r)
{
	struct rich copy = *r;
	return take_word(&copy);
}

static bool take_this(struct rich *r, const char *word)
{
	if (!str_eq_c(peek_word(r), word))
		return false;
	(void)take_word(r);
	return true;
}

static int bad(const struct rich *r, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%.*s': %s", STR_ARG(r->all), why);
}

static const struct operator rpm_operators[] = {{"<=", PKG_UP_TO},  {">=", PKG_FROM}, {"==", PKG_EXACTLY},
						{"=", PKG_EXACTLY}, {"<", PKG_BELOW}, {">", PKG_ABOVE},
						{NULL, PKG_EXACTLY}};

static int rich_name(struct rich *r, const struct pkg_need **ret, struct err *e)
{
	struct pkg_need *n = need_new(r->a, PKG_NEED_NAME, NULL, NULL);
	n->name = take_name(r);
	if (!n->name.n)
		return bad(r, "a name is missing", e);
	if (++r->names > PKG_NEED_NAMES_MAX)
		return err_new(e, ERR_LIMIT, "more than %d names in one dependency", PKG_NEED_NAMES_MAX);
	*ret = n;
	struct str word = peek_word(r);
	if (!word.n || !memchr("<>=", word.p[0], 3))
		return 0;
	(void)take_word(r);
	struct str version = str_skip(word, word.n > 1 && word.p[1] == '=' ? 2 : 1);
	if (!version.n) {
		version = take_word(r);
		word = str_of(word.p, (size_t)(version.p + version.n - word.p));
	}
	n->range = version.n ? read_range(r->a, rpm_operators, word) : NULL;
	return n->range ? 0 : bad(r, "a version is missing", e);
}

static int rich_formula(struct rich *r, const struct pkg_need **ret, struct err *e);

static int rich_operand(struct rich *r, const struct pkg_need **ret, struct err *e)
{
	skip_blanks(r);
	if (!str_take_char(&r->left, '('))
		return rich_name(r, ret, e);
	if (++r->depth > PKG_NEED_DEPTH_MAX)
		return err_new(e, ERR_LIMIT, "parentheses of more than %d levels", PKG_NEED_DEPTH_MAX);
	if (rich_formula(r, ret, e) < 0)
		return -1;
	r->depth--;
	skip_blanks(r);
	return str_take_char(&r->left, ')') ? 0 : bad(r, "a parenthesis is not closed", e);
}

/* and, or and with go on with more of the same; the others stand alone. */
static int rich_formula(struct rich *r, const struct pkg_need **ret, struct err *e)
{
	static const struct {
		const char *word;
		enum pkg_need_op op;
		bool chain, otherwise;
	} ops[] = {{"and", PKG_NEED_AND, true, false},	 {"or", PKG_NEED_OR, true, false},
		   {"with", PKG_NEED_WITH, true, false}, {"without", PKG_NEED_WITHOUT, false, false},
		   {"if", PKG_NEED_IF, false, true},	 {"unless", PKG_NEED_UNLESS, false, true}};
	const struct pkg_need *right;
	if (rich_operand(r, ret, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(ops) / sizeof(*ops); i++) {
		for (bool first = true; (first || ops[i].chain) && take_this(r, ops[i].word); first = false) {
			if (rich_operand(r, &right, e) < 0)
				return -1;
			struct pkg_need *n = need_new(r->a, ops[i].op, *ret, right);
			if (ops[i].otherwise && take_this(r, "else") && rich_operand(r, &n->otherwise, e) < 0)
				return -1;
			*ret = n;
		}
	}
	return 0;
}

int pkg_rpm_need_parse(struct arena *a, struct str text, const struct pkg_need **ret, struct err *e)
{
	struct rich r = {.a = a, .all = str_trim(text), .left = str_trim(text)};
	int rc = str_starts(r.left, STR("(")) ? rich_operand(&r, ret, e) : rich_name(&r, ret, e);
	if (rc < 0)
		return -1;
	skip_blanks(&r);
	return r.left.n ? bad(&r, "what is behind it has no meaning there", e) : 0;
}
