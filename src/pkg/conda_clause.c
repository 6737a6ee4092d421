// SPDX-License-Identifier: Apache-2.0
/*
 * The version part of a MatchSpec: ">=1.8,<2|3.*" and its like.
 *
 *	or     = and ('|' and)*
 *	and    = term (',' term)*
 *	term   = '(' or ')' | clause
 *	clause = [operator] literal | regular expression
 */
#include "pkg/conda_spec.h"

static bool is_operator(char c)
{
	return c == '=' || c == '<' || c == '>' || c == '!' || c == '~';
}

static int too_many(struct spec_reader *r, const char *at)
{
	spec_bad(r, at, "more than %d clauses", SPEC_CLAUSES_MAX);
	r->e->code = ERR_LIMIT;
	return -1;
}

/* -- operators ---------------------------------------------------------------------------------------------------- */
/* What people write and what they mean. */
static const struct {
	const char *written, *meant;
} slips[] = {
	{"=>", ">="}, {"=<", "<="}, {"<>", "!="}, {"===", "=="}, {"=~", "~="}, {"=!", "!="},
	{"~>", "~="}, {">>", ">"},  {"<<", "<"},  {"!==", "!="}, {"~", "~="},  {"!", "!="},
};

static int bad_operator(struct spec_reader *r, struct str run)
{
	for (size_t i = 0; i < sizeof(slips) / sizeof(*slips); i++)
		if (str_eq_c(run, slips[i].written))
			return spec_bad(r, run.p, "'%s' is not an operator; did you mean '%s'", slips[i].written,
					slips[i].meant);
	return spec_bad(r, run.p, "'%.*s' is not an operator; there are ==, !=, <, <=, >, >=, = and ~=", STR_ARG(run));
}

/* The operator at the front: VX_ANY for none, VX_STARTS for '='. */
static int read_operator(struct spec_reader *r, struct scan *s, enum vexpr_op *ret)
{
	static const struct {
		char text[3];
		enum vexpr_op op;
	} operators[] = {
		{"==", VX_EQ}, {"!=", VX_NE}, {"<=", VX_LE},	     {">=", VX_GE},
		{"<", VX_LT},  {">", VX_GT},  {"~=", VX_COMPATIBLE}, {"=", VX_STARTS},
	};
	struct str run = str_of(s->p, 0);
	while (s->p < s->end && is_operator(*s->p)) {
		s->p++;
		run.n++;
	}
	*ret = VX_ANY;
	if (run.n == 0)
		return 0;
	for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++)
		if (str_eq_c(run, operators[i].text)) {
			*ret = operators[i].op;
			return 0;
		}
	return bad_operator(r, run);
}

/* -- clauses ------------------------------------------------------------------------------------------------------ */
static const struct version *read_literal(struct spec_reader *r, struct str text, bool prefix)
{
	union version_key k;
	size_t at;
	const char *fault = version_read(text, prefix ? VERSION_PREFIX : 0, &k, &at);
	if (!fault)
		return version_keep(r->a, &k);
	const char *place = text.p + (at < text.n ? at : text.n);
	if (at < text.n && strchr("^&@$%;:#", text.p[at]))
		spec_bad(r, place, "'%c' is neither an operator nor part of a version", text.p[at]);
	else
		spec_bad(r, place, "%s in '%.*s'", fault, STR_ARG(text));
	return NULL;
}

static int read_pattern(struct spec_reader *r, struct str text, struct vexpr *x)
{
	struct pattern *p = arena_new(r->a, struct pattern);
	size_t at;
	const char *fault = pattern_read(r->a, text, p, &at);
	if (fault)
		return spec_bad(r, text.p + at, "%s '%.*s'", fault, STR_ARG(text));
	x->pattern = p;
	return 0;
}

/* A literal with '*' somewhere before its end: matched as text. */
static int read_glob(struct spec_reader *r, struct str text, struct vexpr *x)
{
	if (x->op == VX_ANY || x->op == VX_STARTS || x->op == VX_EQ)
		x->op = VX_TEXT;
	else if (x->op == VX_NE)
		x->op = VX_NOT_TEXT;
	else
		return spec_bad(r, text.p, "'*' inside '%.*s' goes with no operator but = and !=", STR_ARG(text));
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] == '.' && i + 1 < text.n && text.p[i + 1] == '.')
			return spec_bad(r, text.p + i, "empty segment in '%.*s'", STR_ARG(text));
	return read_pattern(r, text, x);
}

/* A literal with a '*' at its end, which is taken off already, by the operator before it. Only =, == and != have a meaning
 * with it; packages have it after the others too, and there it adds nothing (but "> 1.8*", all above the lowest 1.8…). */
static enum vexpr_op with_trailing_glob(enum vexpr_op op, bool dot)
{
	switch ((int)op) {
	case VX_ANY:
	case VX_EQ:
	case VX_STARTS:
		return VX_STARTS;
	case VX_NE:
		return VX_NOT_STARTS;
	case VX_GT:
		return dot ? VX_GT : VX_GE;
	default:
		return op;
	}
}

static int set_versions(struct spec_reader *r, struct str text, struct vexpr *x)
{
	x->literal = text;
	x->loose = !spec_strict(r) && !(r->flags & SPEC_V3);
	if (x->op == VX_STARTS || x->op == VX_NOT_STARTS)
		return (x->prefix = read_literal(r, text, true)) ? 0 : -1;
	if (!(x->version = read_literal(r, text, false)))
		return -1;
	if (x->op == VX_ANY)
		x->op = VX_EQ;
	if (x->op != VX_COMPATIBLE)
		return 0;
	struct str head = version_without_last_segment(text);
	bool lone = head.n == 0 || head.p[head.n - 1] == '!';
	if (lone && spec_strict(r))
		return spec_bad(r, text.p, "'~=%.*s' needs two segments at least; write '>=%.*s' or '~=%.*s.0'",
				STR_ARG(text), STR_ARG(text), STR_ARG(text));
	if (lone)
		x->op = VX_GE;
	else
		x->prefix = read_literal(r, head, true);
	return lone || x->prefix ? 0 : -1;
}

static int read_clause_text(struct spec_reader *r, struct str text, struct vexpr *x)
{
	size_t n = text.n;
	while (n > 0 && text.p[n - 1] == '*')
		n--;
	bool glob = n < text.n;
	struct str head = str_head(text, n);
	if (n == 0) { /* '*' alone */
		if (x->op == VX_ANY || x->op == VX_EQ || x->op == VX_STARTS || x->op == VX_GE) {
			x->op = VX_ANY;
			return 0;
		}
		return spec_bad(r, text.p, "'*' is every version; it goes with no such operator");
	}
	if (memchr(head.p, '*', head.n))
		return read_glob(r, text, x);
	bool dot = glob && head.p[n - 1] == '.';
	head.n -= dot;
	if (glob)
		x->op = with_trailing_glob(x->op, dot);
	return set_versions(r, head, x);
}

static int read_clause(struct spec_reader *r, struct scan *s, struct vexpr *x)
{
	if (scan_peek(s) == '^') {
		const char *end = memchr(s->p, '$', (size_t)(s->end - s->p));
		if (end) {
			struct str text = str_of(s->p, (size_t)(end + 1 - s->p));
			s->p = end + 1;
			x->op = VX_TEXT;
			return read_pattern(r, text, x);
		}
		return spec_bad(r, s->p, "'^' is not an operator; a regular expression ends in '$'");
	}
	const char *op_at = s->p;
	if (read_operator(r, s, &x->op) < 0)
		return -1;
	scan_peek(s);
	struct str text = str_of(s->p, 0);
	while (s->p < s->end && !spec_is_space(*s->p) && !strchr(",|()", *s->p) && *s->p != '\0' &&
	       !(is_operator(*s->p) && *s->p != '!'))
		s->p++;
	text.n = (size_t)(s->p - text.p);
	if (text.n == 0 && op_at == text.p)
		return spec_bad(r, text.p, "expected a version");
	if (text.n == 0)
		return spec_bad(r, text.p, "expected a version after '%.*s'", (int)(text.p - op_at), op_at);
	return read_clause_text(r, text, x);
}

/* -- expressions -------------------------------------------------------------------------------------------------- */
static struct vexpr *read_or(struct spec_reader *r, struct scan *s);

static struct vexpr *read_term(struct spec_reader *r, struct scan *s)
{
	if (scan_peek(s) == '(') {
		const char *open = s->p++;
		if (++r->depth > SPEC_DEPTH_MAX) {
			spec_bad(r, open, "parentheses nested more than %d deep", SPEC_DEPTH_MAX);
			r->e->code = ERR_LIMIT;
			return NULL;
		}
		struct vexpr *x = read_or(r, s);
		r->depth--;
		if (x && scan_peek(s) != ')') {
			spec_bad(r, s->p, "expected ')' for the '(' in column %zu", (size_t)(open - r->text.p) + 1);
			return NULL;
		}
		s->p += x != NULL;
		return x;
	}
	if (++r->clauses > SPEC_CLAUSES_MAX) {
		too_many(r, s->p);
		return NULL;
	}
	struct vexpr *x = arena_new(r->a, struct vexpr);
	return read_clause(r, s, x) < 0 ? NULL : x;
}

/* A list of what `read` gives, separated by `separator`; a list of one is that one. */
static struct vexpr *read_list(struct spec_reader *r, struct scan *s, char separator, enum vexpr_op op,
			       struct vexpr *(*read)(struct spec_reader *, struct scan *))
{
	struct vexpr *first = read(r, s), *last = first;
	struct vexpr *list = NULL;
	while (last && scan_peek(s) == separator) {
		s->p++;
		char next = scan_peek(s);
		/* old packages end a list, or double a separator, by accident */
		if (!spec_strict(r) && separator == ',' && (next == '\0' || next == ',' || next == '|' || next == ')'))
			continue;
		if (!list) {
			list = arena_new(r->a, struct vexpr);
			*list = (struct vexpr){.op = op, .first = first};
		}
		last->next = read(r, s);
		last = last->next;
	}
	return last ? (list ? list : first) : NULL;
}

static struct vexpr *read_and(struct spec_reader *r, struct scan *s)
{
	return read_list(r, s, ',', VX_AND, read_term);
}

static struct vexpr *read_or(struct spec_reader *r, struct scan *s)
{
	return read_list(r, s, '|', VX_OR, read_and);
}

int spec_read_version(struct spec_reader *r, struct str text, const struct vexpr **ret)
{
	struct scan s = {text.p, text.p + text.n};
	if (scan_peek(&s) == '\0')
		return spec_bad(r, text.p, "expected a version");
	const struct vexpr *x = read_or(r, &s);
	if (!x)
		return -1;
	char c = scan_peek(&s);
	if (s.p < s.end && is_operator(c))
		return spec_bad(r, s.p, "two conditions without ',' (and) or '|' (or) between them");
	if (s.p < s.end && c == ')')
		return spec_bad(r, s.p, "')' without '('");
	if (s.p < s.end)
		return spec_bad(r, s.p, "unexpected '%c'", c >= ' ' && c < 0x7f ? c : '?');
	*ret = x->op == VX_ANY ? NULL : x;
	return 0;
}

/* -- matching ----------------------------------------------------------------------------------------------------- */
static bool match_list(const struct vexpr *x, const struct version *v, struct str text)
{
	bool want = x->op == VX_OR;
	for (const struct vexpr *c = x->first; c; c = c->next)
		if (vexpr_match(c, v, text) == want)
			return want;
	return !want;
}

static bool starts(const struct vexpr *x, const struct version *v)
{
	return x->loose ? version_starts_loosely(v, x->prefix) : version_starts(v, x->prefix);
}

bool vexpr_match(const struct vexpr *x, const struct version *v, struct str text)
{
	switch (x->op) {
	case VX_ANY:
		return true;
	case VX_EQ:
		return version_compare(v, x->version) == 0;
	case VX_NE:
		return version_compare(v, x->version) != 0;
	case VX_LT:
		return version_compare(v, x->version) < 0;
	case VX_LE:
		return version_compare(v, x->version) <= 0;
	case VX_GT:
		return version_compare(v, x->version) > 0;
	case VX_GE:
		return version_compare(v, x->version) >= 0;
	case VX_STARTS:
		return starts(x, v);
	case VX_NOT_STARTS:
		return !starts(x, v);
	case VX_COMPATIBLE:
		return version_compare(v, x->version) >= 0 && starts(x, v);
	case VX_TEXT:
		return pattern_match(x->pattern, text);
	case VX_NOT_TEXT:
		return !pattern_match(x->pattern, text);
	case VX_AND:
	case VX_OR:
		return match_list(x, v, text);
	}
	return false;
}
