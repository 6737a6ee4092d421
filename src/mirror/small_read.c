// SPDX-License-Identifier: Apache-2.0
/* The file with the lists of specs. */
#include <fcntl.h>

#include "base/fs.h"
#include "mirror/small.h"

enum { FILE_MAX = 16 << 20, LINES_MAX = 10000, SPECS_MAX = 5000 };

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* What binds a word to the one before it, and to the one behind. */
static bool binds(struct str s)
{
	return s.n && memchr("<>=|!~", s.p[0], 6);
}

static size_t word_length(struct str s)
{
	size_t n = 0, open = 0;
	for (; n < s.n && (open || (!is_blank(s.p[n]) && s.p[n] != ',')); n++) {
		open += s.p[n] == '(';
		open -= open && s.p[n] == ')';
	}
	return n;
}

/* "a >= 1 b" is two: an operator binds what stands on both sides, and so does what deb has in parentheses. */
static bool take_spec(struct str *rest, bool parens, struct str *ret)
{
	while (rest->n && (is_blank(rest->p[0]) || rest->p[0] == ','))
		*rest = str_skip(*rest, 1);
	struct str begin = *rest;
	bool bound = true;
	while (rest->n && rest->p[0] != ',') {
		struct str word = str_head(*rest, word_length(*rest));
		if (!bound && !binds(word) && !(parens && word.p[0] == '('))
			break;
		bool operator= binds(word);
		for (size_t i = 0; operator&& i<word.n; i++)
			operator= memchr("<>=|!~", word.p[i], 6) != NULL;
		bound = operator;
		*rest = str_skip(*rest, word.n);
		*ret = str_of(begin.p, (size_t)(rest->p - begin.p));
		while (rest->n && is_blank(rest->p[0]))
			*rest = str_skip(*rest, 1);
	}
	return rest->p != begin.p;
}

static int read_line(struct str text, size_t number, bool parens, struct arena *a, struct mirror_small_line *ret,
		     struct err *e)
{
	VEC(struct str) specs = {0};
	struct str rest = text, spec;
	while (specs.n <= SPECS_MAX && take_spec(&rest, parens, &spec))
		vec_push(&specs, spec);
	*ret = (struct mirror_small_line){.text = text, .asked = vec_copy(&specs, a), .n = specs.n, .number = number};
	vec_release(&specs);
	return ret->n <= SPECS_MAX ? 0 : err_new(e, ERR_LIMIT, "more than %d specs in a line", SPECS_MAX);
}

int mirror_small_read(const char *file, const struct channel_kind *k, struct arena *a, struct mirror_small_line **ret,
		      size_t *ret_n, struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX);
	VEC(struct mirror_small_line) lines = {0};
	struct str rest, text;
	bool parens = strcmp(channel_kind_name(k), "deb") == 0;
	int rc = fs_read_any(AT_FDCWD, file, &b, e);
	rest = arena_str(a, buf_str(&b));
	for (size_t number = 1; rc == 0 && str_take_line(&rest, &text); number++) {
		struct str before;
		if (str_take_until(&text, '#', &before))
			text = before;
		text = str_trim(text);
		struct mirror_small_line l = {0};
		if (!text.n)
			continue;
		rc = lines.n >= LINES_MAX ? err_new(e, ERR_LIMIT, "more than %d lines", LINES_MAX)
					  : read_line(text, number, parens, a, &l, e);
		if (rc < 0)
			err_ctx(e, "%s:%zu", file, number);
		if (l.n)
			vec_push(&lines, l);
	}
	*ret = vec_copy(&lines, a);
	*ret_n = lines.n;
	vec_release(&lines);
	if (rc == 0 && !*ret_n)
		rc = err_new(e, ERR_INPUT, "%s: no line with packages, such as: %s", file,
			     parens ? "nginx (>= 1.22)" : "nginx >= 1.22");
	return rc;
}
