// SPDX-License-Identifier: Apache-2.0
/*
 * The condition of CEP 43: MatchSpecs joined by `and`, `or` and parentheses, `and` first as in Python.
 *
 * A spec in it is `name`, `name>=1.8` without spaces, or has all else in brackets; so it ends at a space or ')' outside brackets
 * and quotes.
 */
#include "pkg/conda_spec.h"

/* The next word: up to a space or parenthesis outside brackets and quotes. Not consumed. */
static struct str word(struct scan *s)
{
	int brackets = 0;
	scan_peek(s);
	const char *p = s->p, *after;
	for (; p < s->end; p++) {
		if (brackets && (*p == '\'' || *p == '"') && (after = spec_skip_quoted(p, s->end)))
			p = after - 1;
		else if (*p == '[')
			brackets++;
		else if (*p == ']')
			brackets -= brackets > 0;
		else if (!brackets && (spec_is_space(*p) || *p == '(' || *p == ')'))
			break;
	}
	return str_of(s->p, (size_t)(p - s->p));
}

static bool take_word(struct scan *s, const char *what)
{
	struct str w = word(s);
	if (!str_eq_c(w, what))
		return false;
	s->p += w.n;
	return true;
}

static const struct spec_condition *read_or(struct spec_reader *r, struct scan *s);

static const struct spec_condition *read_term(struct spec_reader *r, struct scan *s)
{
	if (scan_peek(s) == '(') {
		const char *open = s->p++;
		if (++r->depth > SPEC_DEPTH_MAX) {
			spec_bad(r, open, "parentheses nested more than %d deep", SPEC_DEPTH_MAX);
			r->e->code = ERR_LIMIT;
			return NULL;
		}
		const struct spec_condition *c = read_or(r, s);
		r->depth--;
		if (c && scan_peek(s) != ')') {
			spec_bad(r, s->p, "'(' without ')' in the condition");
			return NULL;
		}
		s->p += c != NULL;
		return c;
	}
	struct str w = word(s);
	if (w.n == 0 || str_eq_c(w, "and") || str_eq_c(w, "or")) {
		spec_bad(r, s->p, "expected a package in the condition");
		return NULL;
	}
	if (++r->clauses > SPEC_CLAUSES_MAX) {
		spec_bad(r, s->p, "more than %d terms", SPEC_CLAUSES_MAX);
		return NULL;
	}
	struct spec_condition *c = arena_new(r->a, struct spec_condition);
	s->p += w.n;
	if (spec_read_at_depth(r, w, &c->spec) < 0) {
		err_ctx(r->e, "spec '%.*s': in its condition", (int)(r->text.n > 120 ? 120 : r->text.n), r->text.p);
		return NULL;
	}
	return c;
}

static const struct spec_condition *join(struct spec_reader *r, enum spec_condition_op op,
					 const struct spec_condition *left, const struct spec_condition *right)
{
	struct spec_condition *c = arena_new(r->a, struct spec_condition);
	*c = (struct spec_condition){.op = op, .left = left, .right = right};
	return right ? c : NULL;
}

static const struct spec_condition *read_and(struct spec_reader *r, struct scan *s)
{
	const struct spec_condition *c = read_term(r, s);
	while (c && take_word(s, "and"))
		c = join(r, SPEC_CONDITION_AND, c, read_term(r, s));
	return c;
}

static const struct spec_condition *read_or(struct spec_reader *r, struct scan *s)
{
	const struct spec_condition *c = read_and(r, s);
	while (c && take_word(s, "or"))
		c = join(r, SPEC_CONDITION_OR, c, read_and(r, s));
	return c;
}

int spec_read_condition(struct spec_reader *r, struct str text, const struct spec_condition **ret)
{
	struct scan s = {text.p, text.p + text.n};
	*ret = read_or(r, &s);
	if (!*ret)
		return -1;
	if (scan_peek(&s) == ')')
		return spec_bad(r, s.p, "')' without '(' in the condition");
	return s.p < s.end ? spec_bad(r, s.p, "expected 'and' or 'or' in the condition") : 0;
}
