// SPDX-License-Identifier: Apache-2.0
/*
 * A pattern on the first line, text behind. Where both mean the same by an expression, ours and the C library's regular
 * expressions agree on what matches; a glob agrees with fnmatch.
 */
#include <fnmatch.h>
#include <regex.h>

#include "base/err.h"
#include "pkg/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { EXPRESSION_MAX = 60, TEXT_MAX = 100 };

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* "[abc]", "[^a-c]": behind it, or NULL where it is another kind. */
static const char *skip_class(const char *p)
{
	p += p[1] == '^' ? 2 : 1;
	if (*p == ']')
		return NULL;
	while (is_letter(*p)) {
		bool digit = *p <= '9';
		p++;
		if (*p != '-')
			continue;
		if (!is_letter(p[1]) || p[1] < p[-1] || (p[1] <= '9') != digit)
			return NULL;
		p += 2;
	}
	return *p == ']' ? p + 1 : NULL;
}

/* What POSIX and Python read alike. */
static bool is_common(const char *p)
{
	const char *begin = p;
	int depth = 0;
	bool atom = false; /* something that can be repeated stands before */
	while (*p) {
		if (*p == '[') {
			p = skip_class(p);
			if (!p)
				return false;
			atom = true;
			continue;
		}
		if (strchr("*+?", *p)) {
			if (!atom)
				return false;
			atom = false; /* a second one is lazy or possessive in Python */
		} else if (*p == '^' || *p == '$') {
			/* elsewhere the C library goes wrong: (a|^b)+ is said to match "ab" whole */
			if (depth || (*p == '^' ? p > begin && p[-1] != '|' : p[1] && p[1] != '|'))
				return false;
			atom = false;
		} else if (*p == '(' || *p == '|') {
			depth += *p == '(';
			atom = false;
		} else if (*p == ')' || *p == '.' || *p == '_' || *p == ' ' || is_letter(*p)) {
			depth -= *p == ')';
			atom = true;
		} else {
			return false;
		}
		p++;
	}
	return true;
}

static void check_regex(struct arena *a, const char *expression, const char *text)
{
	const struct regex *ours;
	size_t at;
	regex_t theirs;
	const char *fault = regex_compile(a, str_c(expression), &ours, &at);
	if (fault) {
		if (at > strlen(expression))
			panic("'%s': fault at %zu", expression, at);
		return;
	}
	bool match = regex_search(ours, str_c(text));
	if (!is_common(expression) || regcomp(&theirs, expression, REG_EXTENDED | REG_ICASE | REG_NOSUB) != 0)
		return;
	bool want = regexec(&theirs, text, 0, NULL, 0) == 0;
	regfree(&theirs);
	if (match != want)
		panic("'%s' %s '%s', but the C library says otherwise", expression,
		      match ? "matches" : "does not match", text);
}

static void check_glob(struct arena *a, const char *glob, const char *text)
{
	struct pattern p;
	size_t at;
	const char *fault = pattern_read(a, str_c(glob), &p, &at);
	if (fault || p.kind == PATTERN_REGEX || strpbrk(glob, "?[\\"))
		return;
	bool want = fnmatch(glob, text, FNM_CASEFOLD | FNM_NOESCAPE) == 0;
	if (pattern_match(&p, str_c(text)) != want)
		panic("glob '%s' and '%s'", glob, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_arena a = ARENA_INIT;
	struct str text = str_of((const char *)data, size), expression;
	if (!str_take_line(&text, &expression) || expression.n > EXPRESSION_MAX || text.n > TEXT_MAX)
		return 0;
	for (size_t i = 0; i < size; i++)
		if ((data[i] < ' ' && data[i] != '\n') || data[i] >= 0x7f)
			return 0;
	if (str_find(text, '\n') >= 0)
		return 0;
	const char *e = arena_strdup(&a, expression), *t = arena_strdup(&a, text);
	check_regex(&a, e, t);
	check_glob(&a, e, t);
	return 0;
}
