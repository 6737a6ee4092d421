// SPDX-License-Identifier: Apache-2.0
/*
 * Versions of Debian packages, ordered as Policy 5.6.12 says: by epoch, then by upstream version, then by revision. The last two
 * are cut into runs without digits and numbers in turn. In the former letters come before all else, and '~' comes before
 * the end itself.
 */
#include "pkg/pkg.h"

enum { VERSION_MAX = 256 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Where the character at the front stands; a digit and the end end a run alike. */
static int rank(struct str s)
{
	if (s.n == 0 || is_digit(s.p[0]))
		return 0;
	if (s.p[0] == '~')
		return -1;
	return (unsigned char)s.p[0] + (is_letter(s.p[0]) ? 0 : 256);
}

static struct str without_zeros(struct str s)
{
	while (s.n > 0 && s.p[0] == '0')
		s = str_skip(s, 1);
	return s;
}

static size_t digits(struct str s)
{
	size_t n = 0;
	while (n < s.n && is_digit(s.p[n]))
		n++;
	return n;
}

/* Numbers at the front, of any length, eaten. */
static int compare_numbers(struct str *a, struct str *b)
{
	*a = without_zeros(*a);
	*b = without_zeros(*b);
	size_t x = digits(*a), y = digits(*b);
	int c = x != y ? (x > y) - (x < y) : str_cmp(str_head(*a, x), str_head(*b, y));
	*a = str_skip(*a, x);
	*b = str_skip(*b, y);
	return c;
}

static int compare_part(struct str a, struct str b)
{
	while (a.n > 0 || b.n > 0) {
		while ((a.n > 0 && !is_digit(a.p[0])) || (b.n > 0 && !is_digit(b.p[0]))) {
			int x = rank(a), y = rank(b);
			if (x != y)
				return x < y ? -1 : 1;
			a = str_skip(a, 1);
			b = str_skip(b, 1);
		}
		int c = compare_numbers(&a, &b);
		if (c != 0)
			return c < 0 ? -1 : 1;
	}
	return 0;
}

struct parts {
	struct str epoch, upstream, revision;
};

static struct parts split(struct str version)
{
	struct parts p = {.upstream = version};
	(void)str_take_until(&p.upstream, ':', &p.epoch);
	ptrdiff_t dash = str_rfind(p.upstream, '-');
	if (dash >= 0) {
		p.revision = str_skip(p.upstream, (size_t)dash + 1);
		p.upstream = str_head(p.upstream, (size_t)dash);
	}
	return p;
}

int pkg_deb_version_cmp(struct str a, struct str b)
{
	struct parts x = split(a), y = split(b);
	int c = compare_part(x.epoch, y.epoch);
	c = c ? c : compare_part(x.upstream, y.upstream);
	return c ? c : compare_part(x.revision, y.revision);
}

int pkg_deb_version_check(struct str version, struct err *e)
{
	struct parts p = split(version);
	bool good = version.n > 0 && version.n <= VERSION_MAX && p.upstream.n > 0;
	for (size_t i = 0; good && i < version.n; i++) {
		char c = version.p[i];
		good = is_digit(c) || is_letter(c) || (c && strchr(".+-~:", c));
	}
	if (good && p.epoch.p)
		good = p.epoch.n > 0 && digits(p.epoch) == p.epoch.n;
	good = good && is_digit(p.upstream.p[0]) && !(str_ends(version, STR("-")));
	return good ? 0
		    : err_new(e, ERR_INPUT, "'%.*s' is no version of a Debian package",
			      (int)(version.n < VERSION_MAX ? version.n : VERSION_MAX), version.p ? version.p : "");
}

/* opam cuts at the last '-', and compares both parts in the same order; there are no epochs. */
static struct str cut_revision(struct str *version)
{
	ptrdiff_t dash = str_rfind(*version, '-');
	struct str revision = dash < 0 ? STR_NONE : str_skip(*version, (size_t)dash + 1);
	*version = dash < 0 ? *version : str_head(*version, (size_t)dash);
	return revision;
}

int pkg_opam_version_cmp(struct str a, struct str b)
{
	struct str x = cut_revision(&a), y = cut_revision(&b);
	int c = compare_part(a, b);
	return c ? c : compare_part(x, y);
}
