// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pattern: the string matching of CEP 29, without regard to ASCII case. Private to pkg/.
 *
 *	^…$   a regular expression, searched for
 *	a*b   a glob: '*' is any run of bytes; anchored at both ends
 *	abc   that text
 *
 * The regular expressions are those that can be matched in linear time: literals, '.', classes, groups, '|', '*', '+',
 * '?', {m,n}, '^', '$', '\b' and the usual escapes. Look-around and back-references are refused. They are compiled to at most
 * PATTERN_STEPS_MAX steps of a nondeterministic automaton whose states are all followed at once, so matching costs at most
 * steps × bytes whatever the expression is.
 */
#include "base/arena.h"
#include "base/str.h"

enum { PATTERN_STEPS_MAX = 1024, PATTERN_GROUPS_MAX = 32 };

enum pattern_kind { PATTERN_ANY, PATTERN_TEXT, PATTERN_GLOB, PATTERN_REGEX };

struct regex;
struct pattern {
	enum pattern_kind kind;
	struct str text; /* as it was written */
	const struct regex *regex;
};

/* NULL where it was read; else what is wrong, and *ret_at says at which byte. `text` must live as long as the pattern. */
const char *pattern_read(struct arena *a, struct str text, struct pattern *ret, size_t *ret_at);
bool pattern_match(const struct pattern *p, struct str s);

const char *regex_compile(struct arena *a, struct str text, const struct regex **ret, size_t *ret_at);
bool regex_search(const struct regex *r, struct str s);
