// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "pkg/pkg.h"

static struct arena a;
static struct err e;

static const struct pep440 *parse(struct str text)
{
	const struct pep440 *v = pep440_parse(&a, text, &e);
	CHECK_MSG(v, "'%.*s': %s", STR_ARG(text), e.msg);
	return v;
}

static int cmp(const char *x, const char *y)
{
	return pep440_cmp(parse(str_c(x)), parse(str_c(y)));
}

/* In order; a blank joins equal ones. */
TEST(order)
{
	static const char *const sorted[] = {
		"0.dev0 0dev v0.0.0.DEV-0",
		"0a1.dev1",
		"0a1",
		"0 0.0 00.0",
		"1.dev456 1.0.0.dev456",
		"1.0a1 1.0.alpha1 1-a_1 1alpha-1",
		"1.0a2.dev456",
		"1.0a12.dev456",
		"1.0a12",
		"1.0b1.dev456",
		"1.0b2",
		"1.0b2.post345.dev456",
		"1.0b2.post345 1.0b2-345",
		"1.0rc1.dev456",
		"1.0rc1 1.0c1 1.0pre1 1.0-preview_1 v1.0RC1",
		"1.0 1",
		"1.0+abc.5",
		"1.0+abc.7 1.0+ABC-7 1.0+abc_07",
		"1.0+5",
		"1.0.post456.dev34",
		"1.0.post456 1-456 1.0.rev456 1.0-r456",
		"1.0.15",
		"1.1.dev1",
		"1.9",
		"1.10",
		"1.99999999999999999999999998",
		"1.99999999999999999999999999",
		"2012.4",
		"1!0 1!0.0",
		"1!1",
		"99999999999999999999!0",
	};
	enum { N = sizeof(sorted) / sizeof(*sorted) };
	for (size_t i = 0; i < N; i++)
		for (size_t k = 0; k < N; k++) {
			struct str x, y, xs = str_c(sorted[i]);
			while (str_take_word(&xs, &x))
				for (struct str ys = str_c(sorted[k]); str_take_word(&ys, &y);) {
					int c = pep440_cmp(parse(x), parse(y));
					CHECK_MSG((c > 0) == (i > k) && (c < 0) == (i < k), "%.*s %.*s: %d", STR_ARG(x),
						  STR_ARG(y), c);
				}
		}
}

static const char *format(const char *text)
{
	auto_buf b = BUF_INIT(10000);
	pep440_format(parse(str_c(text)), &b);
	return arena_strdup(&a, buf_str(&b));
}

TEST(normal_form)
{
	CHECK_STR(format(" v01.0RC_1\n"), "1.0rc1");
	CHECK_STR(format("1.0-5.DEV+Ubuntu_007"), "1.0.post5.dev0+ubuntu.7");
	CHECK_STR(format("0!1.0"), "1.0");
	CHECK_STR(format("1.0-a-.post-"), "1.0a0.post0");
	CHECK_STR(format("02!0.alpha"), "2!0a0");
	CHECK_STR(format("1+0.00"), "1+0.0");
	CHECK_INT(cmp("1+0", "1+00"), 0);
}

TEST(what_is_a_pre_release)
{
	CHECK(pep440_is_pre(parse(STR("1.0a1"))));
	CHECK(pep440_is_pre(parse(STR("1.0.dev0"))));
	CHECK(pep440_is_pre(parse(STR("1.0.post1.dev0"))));
	CHECK(!pep440_is_pre(parse(STR("1.0.post1"))));
	CHECK(!pep440_is_pre(parse(STR("1.0"))));
}

TEST(what_is_none)
{
	static const char *const bad[] = {"",	  " ",	   "v",	    "abc",    "1.",	  ".1",	  "1..2",
					  "1.0+", "1+a+b", "1+.a",  "1+a..b", "1!",	  "1.0-", "french toast",
					  "1 0",  "1.0ax", "1!2!3", "-1",     "1\xc3\xa4"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK_MSG(!pep440_parse(&a, str_c(bad[i]), &e), "'%s'", bad[i]);
		CHECK_INT(e.code, ERR_INPUT);
	}
	auto_buf b = BUF_INIT(BUF_MAX);
	for (int i = 0; i < 1500; i++)
		buf_put_c(&b, "1.");
	buf_put_c(&b, "1");
	CHECK(!pep440_parse(&a, buf_str(&b), &e));
	for (int i = 0; i < 1500; i++)
		buf_put_c(&b, "1");
	CHECK(!pep440_parse(&a, buf_str(&b), &e));
	CHECK_INT(e.code, ERR_LIMIT);
}

/* Versions in order, '<' after or '=' as the one before, with normal form and whether they are pre-releases; '!' before what is
 * none. tests/cli/pypi.sh makes thousands of them with Python's own library, in PEP440_FILE. */
static const char few[] = "<\tv1.0.dev2\t1.0.dev2\tp\n"
			  "<\t1.0-alpha\t1.0a0\tp\n"
			  "<\t1.0c3\t1.0rc3\tp\n"
			  "<\t1.0\t1.0\t-\n"
			  "=\t1.0.0\t1.0.0\t-\n"
			  "<\t1+ubuntu_1\t1+ubuntu.1\t-\n"
			  "<\t1.0-1\t1.0.post1\t-\n"
			  "<\t1!0.1\t1!0.1\t-\n"
			  "!\t1.0-x\n";

TEST(as_others_read_them)
{
	const char *path = getenv("PEP440_FILE");
	auto_buf b = BUF_INIT(BUF_MAX);
	const struct pep440 *before = NULL;
	struct str text, line, version, form;
	unsigned n = 0;
	if (path)
		CHECK_INT(fs_read(AT_FDCWD, path, &b, &e), 0);
	else
		buf_put_c(&b, few);
	for (text = buf_str(&b); str_take_line(&text, &line); n++) {
		char op = line.p[0];
		line = str_skip(line, 2);
		if (op == '!') {
			CHECK_MSG(!pep440_parse(&a, line, &e), "'%.*s'", STR_ARG(line));
			continue;
		}
		CHECK(str_take_until(&line, '\t', &version) && str_take_until(&line, '\t', &form));
		const struct pep440 *v = parse(version);
		if (before)
			CHECK_MSG((op == '=') == (pep440_cmp(before, v) == 0) && pep440_cmp(before, v) <= 0 &&
					  pep440_cmp(v, before) >= 0,
				  "%.*s", STR_ARG(version));
		CHECK_STR(format(arena_strdup(&a, version)), arena_strdup(&a, form));
		CHECK_INT(pep440_is_pre(v), line.p[0] == 'p');
		before = v;
	}
	CHECK(n > (path ? 1000 : 8));
}
