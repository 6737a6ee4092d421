// SPDX-License-Identifier: Apache-2.0
/*
 * Members of a record that struct pkg_record has no field for, straight from its JSON text: a solve asks for `flags` of each
 * candidate, which must not cost a parse of the whole. The text was checked when the record was read; here it is only walked,
 * and whatever it holds the walk ends at its end.
 */
#include "pkg/conda_spec.h"

static void skip_space(struct str *s)
{
	while (s->n && (*s->p == ' ' || *s->p == '\n' || *s->p == '\t' || *s->p == '\r' || *s->p == ','))
		*s = str_skip(*s, 1);
}

/* A string at the front, without its quotes; escapes are left as they are. */
static bool take_string(struct str *s, struct str *ret)
{
	if (s->n == 0 || *s->p != '"')
		return false;
	for (size_t i = 1; i < s->n; i++) {
		if (s->p[i] == '\\') {
			i++;
		} else if (s->p[i] == '"') {
			*ret = str_of(s->p + 1, i - 1);
			*s = str_skip(*s, i + 1);
			return true;
		}
	}
	return false;
}

/* A value at the front, nested ones whole. */
static bool take_value(struct str *s, struct str *ret)
{
	const char *from = s->p;
	struct str skipped;
	size_t depth = 0;
	while (s->n) {
		char c = *s->p;
		if (c == '"') {
			if (!take_string(s, &skipped))
				return false;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			break;
		depth += c == '{' || c == '[';
		depth -= c == '}' || c == ']';
		*s = str_skip(*s, 1);
	}
	*ret = str_trim(str_of(from, (size_t)(s->p - from)));
	return depth == 0 && ret->n > 0;
}

bool extra_member(struct str members, const char *key, struct str *ret)
{
	struct str name, value;
	for (;;) {
		skip_space(&members);
		if (!take_string(&members, &name))
			return false;
		skip_space(&members);
		if (!str_take_char(&members, ':'))
			return false;
		skip_space(&members);
		if (!take_value(&members, &value))
			return false;
		if (str_eq_c(name, key)) {
			*ret = value;
			return true;
		}
	}
}

bool extra_string(struct str *value, struct str *ret)
{
	if (value->n && *value->p == '[')
		*value = str_skip(*value, 1);
	skip_space(value);
	return take_string(value, ret);
}
