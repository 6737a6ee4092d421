// SPDX-License-Identifier: Apache-2.0
/*
 * The order of RPM versions, as rpm's manual tells it (rpm-version(7)): runs of digits and runs of letters are compared one
 * after the other, what is neither only separates them; a number is newer than letters, more is newer than less; '~' is
 * older than anything, the end too; '^' is newer than the end, and older than anything else.
 */
#include "pkg/pkg.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static struct str skip_separators(struct str s)
{
	size_t n = 0;
	while (n < s.n && !is_digit(s.p[n]) && !is_letter(s.p[n]) && s.p[n] != '~' && s.p[n] != '^')
		n++;
	return str_skip(s, n);
}

/* A run of characters of one class from the front of s. */
static struct str take_run(struct str *s, bool (*is)(char))
{
	size_t n = 0;
	while (n < s->n && is(s->p[n]))
		n++;
	struct str run = str_head(*s, n);
	*s = str_skip(*s, n);
	return run;
}

static int sign(int c)
{
	return (c > 0) - (c < 0);
}

static int number_cmp(struct str a, struct str b)
{
	while (str_take_char(&a, '0'))
		;
	while (str_take_char(&b, '0'))
		;
	return a.n != b.n ? (a.n > b.n ? 1 : -1) : sign(str_cmp(a, b));
}

/* Where one of them stands at '~' or '^': -1, 1, or 0 where both do. */
static int mark_cmp(char mark, struct str *a, struct str *b)
{
	bool x = str_take_char(a, mark), y = str_take_char(b, mark);
	if (x && y)
		return 0;
	if (mark == '~')
		return x ? -1 : 1;
	return x ? (b->n ? -1 : 1) : (a->n ? 1 : -1);
}

static bool stands_at(struct str s, char c)
{
	return s.n > 0 && s.p[0] == c;
}

int pkg_rpm_vercmp(struct str a, struct str b)
{
	while (a.n || b.n) {
		a = skip_separators(a);
		b = skip_separators(b);
		char mark = stands_at(a, '~') || stands_at(b, '~')   ? '~'
			    : stands_at(a, '^') || stands_at(b, '^') ? '^'
								     : '\0';
		int c;
		if (mark) {
			c = mark_cmp(mark, &a, &b);
			if (c)
				return c;
			continue;
		}
		if (!a.n || !b.n)
			break;
		bool number = is_digit(a.p[0]);
		struct str x = take_run(&a, number ? is_digit : is_letter),
			   y = take_run(&b, number ? is_digit : is_letter);
		if (!y.n)
			return number ? 1 : -1;
		c = number ? number_cmp(x, y) : sign(str_cmp(x, y));
		if (c)
			return c;
	}
	return a.n ? 1 : b.n ? -1 : 0;
}

struct pkg_rpm_evr pkg_rpm_evr_parse(struct str text)
{
	struct pkg_rpm_evr r = {.version = text};
	struct str rest = text, epoch;
	if (str_take_until(&rest, ':', &epoch)) {
		bool digits = true;
		for (size_t i = 0; i < epoch.n; i++)
			digits &= is_digit(epoch.p[i]);
		if (digits) {
			r.epoch = epoch;
			r.version = rest;
		}
	}
	ptrdiff_t dash = str_rfind(r.version, '-');
	if (dash >= 0) {
		r.release = str_skip(r.version, (size_t)dash + 1);
		r.version = str_head(r.version, (size_t)dash);
	}
	return r;
}

int pkg_rpm_evr_cmp(const struct pkg_rpm_evr *a, const struct pkg_rpm_evr *b)
{
	int c = number_cmp(a->epoch, b->epoch);
	if (!c)
		c = pkg_rpm_vercmp(a->version, b->version);
	return c ? c : pkg_rpm_vercmp(a->release, b->release);
}
