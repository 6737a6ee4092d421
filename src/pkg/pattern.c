// SPDX-License-Identifier: Apache-2.0
#include "pkg/pattern.h"

static inline char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool glob_match(struct str pattern, struct str s)
{
	size_t p = 0, i = 0, star = SIZE_MAX, from = 0;
	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			from = i;
		} else if (p < pattern.n && lower(pattern.p[p]) == lower(s.p[i])) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++from;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

const char *pattern_read(struct arena *a, struct str text, struct pattern *ret, size_t *ret_at)
{
	*ret = (struct pattern){.kind = PATTERN_TEXT, .text = text};
	*ret_at = 0;
	if (text.n == 0)
		return "empty text to match";
	if (text.n >= 2 && text.p[0] == '^' && text.p[text.n - 1] == '$') {
		ret->kind = PATTERN_REGEX;
		return regex_compile(a, text, &ret->regex, ret_at);
	}
	if (memchr(text.p, '*', text.n)) {
		ret->kind = PATTERN_ANY;
		for (size_t i = 0; i < text.n; i++)
			if (text.p[i] != '*')
				ret->kind = PATTERN_GLOB;
	}
	return NULL;
}

bool pattern_match(const struct pattern *p, struct str s)
{
	switch (p->kind) {
	case PATTERN_ANY:
		return true;
	case PATTERN_TEXT:
		return p->text.n == s.n && str_casecmp(p->text, s) == 0;
	case PATTERN_GLOB:
		return glob_match(p->text, s);
	case PATTERN_REGEX:
		return regex_search(p->regex, s);
	}
	return false;
}
