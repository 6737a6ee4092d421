// SPDX-License-Identifier: Apache-2.0
/*
 * Versions of Python packages, as PEP 440 reads, orders and writes them. Numbers may have any length, so they stay digits.
 *
 * What sorts where, of one release: dev before pre before final before post; a dev of something before that; a local version
 * after the same without.
 */
#include "pkg/pkg.h"

enum { PEP440_MAX = 4096, PARTS_MAX = 1024 };

/* Digits without zeros in front; "" is 0. */
struct number {
	struct str digits;
};
struct local {
	bool numeric;
	struct str text;
};
struct pep440 {
	struct number epoch;
	const struct number *release;
	size_t release_n;
	char pre; /* 'a', 'b', 'r'; 0: none */
	bool post, dev;
	struct number pre_n, post_n, dev_n;
	const struct local *local;
	size_t local_n;
};

/* -- reading ------------------------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_separator(char c)
{
	return c == '-' || c == '_' || c == '.';
}

static bool take_number(struct str *s, struct number *ret)
{
	size_t n = 0, zeros = 0;
	while (n < s->n && is_digit(s->p[n]))
		n++;
	while (zeros < n && s->p[zeros] == '0')
		zeros++;
	ret->digits = str_of(s->p + zeros, n - zeros);
	*s = str_skip(*s, n);
	return n > 0;
}

/* [separator] word [separator] [number], where there is one of these words; the longest first. */
static bool take_word(struct str *s, const char *const *words, const char *meant, char *ret, struct number *n)
{
	struct str t = *s;
	if (t.n && is_separator(t.p[0]))
		t = str_skip(t, 1);
	for (size_t i = 0; words[i]; i++) {
		if (!str_take_str(&t, str_c(words[i])))
			continue;
		*ret = meant[i];
		if (t.n && is_separator(t.p[0]))
			t = str_skip(t, 1); /* even where no number comes: "1.0a-" is 1.0a0 */
		take_number(&t, n);
		*s = t;
		return true;
	}
	return false;
}

static bool take_release(struct arena *a, struct str *s, struct pep440 *v)
{
	struct number *part = arena_array(a, struct number, PARTS_MAX);
	do {
		struct str before = *s;
		if (v->release_n == PARTS_MAX)
			return false;
		if (!take_number(s, &part[v->release_n])) {
			/* the dot belongs to what follows: "1.dev0" */
			if (v->release_n == 0)
				return false;
			*s = str_of(before.p - 1, before.n + 1);
			break;
		}
		v->release_n++;
	} while (str_take_char(s, '.'));
	v->release = part;
	return true;
}

static bool take_local(struct arena *a, struct str *s, struct pep440 *v)
{
	struct local *part = arena_array(a, struct local, PARTS_MAX);
	do {
		size_t n = 0, digits = 0, zeros = 0;
		while (n < s->n && (is_digit(s->p[n]) || (s->p[n] >= 'a' && s->p[n] <= 'z'))) {
			digits += is_digit(s->p[n]);
			n++;
		}
		if (n == 0 || v->local_n == PARTS_MAX)
			return false;
		while (digits == n && zeros < n && s->p[zeros] == '0')
			zeros++;
		part[v->local_n++] = (struct local){digits == n, str_of(s->p + zeros, n - zeros)};
		*s = str_skip(*s, n);
		if (!s->n)
			break;
		if (!is_separator(s->p[0]))
			return false;
		*s = str_skip(*s, 1);
	} while (true);
	v->local = part;
	return true;
}

static bool take_version(struct arena *a, struct str *s, struct pep440 *v)
{
	static const char *const pre[] = {"alpha", "a", "beta", "b", "preview", "pre", "rc", "c", NULL};
	static const char *const post[] = {"post", "rev", "r", NULL};
	static const char *const dev[] = {"dev", NULL};
	char which = 0;
	str_take_char(s, 'v');
	struct str epoch = *s;
	if (take_number(&epoch, &v->epoch) && str_take_char(&epoch, '!'))
		*s = epoch;
	else
		v->epoch = (struct number){STR("")};
	if (!take_release(a, s, v))
		return false;
	take_word(s, pre, "aabbrrrr", &v->pre, &v->pre_n);
	struct str minus = *s;
	if (str_take_char(&minus, '-') && take_number(&minus, &v->post_n)) {
		v->post = true;
		*s = minus;
	} else {
		v->post = take_word(s, post, "ppp", &which, &v->post_n);
	}
	v->dev = take_word(s, dev, "d", &which, &v->dev_n);
	if (str_take_char(s, '+') && !take_local(a, s, v))
		return false;
	return s->n == 0;
}

const struct pep440 *pep440_parse(struct arena *a, struct str text, struct err *e)
{
	struct str s = str_trim(text);
	if (s.n > PEP440_MAX) {
		err_new(e, ERR_LIMIT, "a version of %zu characters", s.n);
		return NULL;
	}
	char *lower = arena_strdup(a, s);
	for (size_t i = 0; i < s.n; i++)
		if (lower[i] >= 'A' && lower[i] <= 'Z')
			lower[i] = (char)(lower[i] - 'A' + 'a');
	struct pep440 *v = arena_new(a, struct pep440);
	s = str_of(lower, s.n);
	if (take_version(a, &s, v))
		return v;
	err_new(e, ERR_INPUT, "'%.*s' is no version of a Python package (PEP 440)", STR_ARG(text));
	return NULL;
}

/* -- order --------------------------------------------------------------------------------------------------------- */

static int number_cmp(struct number a, struct number b)
{
	if (a.digits.n != b.digits.n)
		return a.digits.n < b.digits.n ? -1 : 1;
	return str_cmp(a.digits, b.digits);
}

static int release_cmp(const struct pep440 *a, const struct pep440 *b)
{
	static const struct number zero = {{"", 0}};
	size_t n = a->release_n > b->release_n ? a->release_n : b->release_n;
	for (size_t i = 0; i < n; i++) {
		int c = number_cmp(i < a->release_n ? a->release[i] : zero, i < b->release_n ? b->release[i] : zero);
		if (c)
			return c;
	}
	return 0;
}

/* A dev of the release itself is before every pre-release; what is none is after them. */
static int pre_rank(const struct pep440 *v)
{
	return v->pre ? v->pre : v->dev && !v->post ? 0 : 'z';
}

static int local_cmp(const struct pep440 *a, const struct pep440 *b)
{
	for (size_t i = 0; i < a->local_n && i < b->local_n; i++) {
		const struct local *x = &a->local[i], *y = &b->local[i];
		if (x->numeric != y->numeric)
			return x->numeric ? 1 : -1;
		int c = x->numeric ? number_cmp((struct number){x->text}, (struct number){y->text})
				   : str_cmp(x->text, y->text);
		if (c)
			return c;
	}
	return (a->local_n > b->local_n) - (a->local_n < b->local_n);
}

int pep440_cmp(const struct pep440 *a, const struct pep440 *b)
{
	int c = number_cmp(a->epoch, b->epoch);
	if (!c)
		c = release_cmp(a, b);
	if (!c)
		c = pre_rank(a) - pre_rank(b);
	if (!c)
		c = number_cmp(a->pre_n, b->pre_n);
	if (!c)
		c = a->post - b->post;
	if (!c)
		c = number_cmp(a->post_n, b->post_n);
	if (!c)
		c = b->dev - a->dev;
	if (!c)
		c = number_cmp(a->dev_n, b->dev_n);
	return c ? c : local_cmp(a, b);
}

bool pep440_is_pre(const struct pep440 *v)
{
	return v->pre || v->dev;
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

static void put_number(struct buf *b, const char *before, struct number n)
{
	buf_put_c(b, before);
	buf_put_str(b, n.digits.n ? n.digits : STR("0"));
}

void pep440_format(const struct pep440 *v, struct buf *b)
{
	if (v->epoch.digits.n) {
		put_number(b, "", v->epoch);
		buf_put_char(b, '!');
	}
	for (size_t i = 0; i < v->release_n; i++)
		put_number(b, i ? "." : "", v->release[i]);
	if (v->pre)
		put_number(b, v->pre == 'a' ? "a" : v->pre == 'b' ? "b" : "rc", v->pre_n);
	if (v->post)
		put_number(b, ".post", v->post_n);
	if (v->dev)
		put_number(b, ".dev", v->dev_n);
	for (size_t i = 0; i < v->local_n; i++) {
		buf_put_char(b, i ? '.' : '+');
		buf_put_str(b, v->local[i].numeric && !v->local[i].text.n ? STR("0") : v->local[i].text);
	}
}
