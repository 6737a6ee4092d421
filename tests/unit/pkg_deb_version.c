// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/proc.h"
#include "pkg/pkg.h"

static int cmp(const char *a, const char *b)
{
	int c = pkg_deb_version_cmp(str_c(a), str_c(b));
	CHECK_INT(pkg_deb_version_cmp(str_c(b), str_c(a)), -c);
	return c;
}

TEST(the_order_that_policy_tells)
{
	/* each is newer than the one before */
	static const char *const ascending[] = {"0~~",	     "0~~a",	   "0~",
						"0",	     "0.0-1",	   "1.0~beta1~svn1245",
						"1.0~beta1", "1.0",	   "1.0-1~bpo12+1",
						"1.0-1",     "1.0-1+b1",   "1.0-1.1",
						"1.0a-1",    "1.0+dfsg-1", "1.0.1-1",
						"1.2",	     "1.9",	   "1.10",
						"1.10b",     "2-0ubuntu1", "2-1",
						"10",	     "20240101",   "1:0.1",
						"1:1",	     "2:0",	   "11:0"};
	enum { N = sizeof(ascending) / sizeof(*ascending) };
	for (size_t i = 0; i < N; i++)
		for (size_t k = 0; k < N; k++)
			CHECK_MSG(cmp(ascending[i], ascending[k]) == (i > k) - (i < k), "%s and %s", ascending[i],
				  ascending[k]);
	CHECK_INT(cmp("1.0", "1.0-0"), 0);
	CHECK_INT(cmp("0:1", "1"), 0);
	CHECK_INT(cmp("1.002", "1.2"), 0);
	CHECK_INT(cmp("99999999999999999999999999", "99999999999999999999999998"), 1);
	CHECK_INT(cmp("", ""), 0);
}

TEST(what_is_a_version)
{
	struct err e = ERR_INIT;
	static const char *const good[] = {"1", "1:2.3-4", "1.0~rc1+dfsg-1~bpo1", "2024.01.01", "1:1:1-1"};
	static const char *const bad[] = {"", "-1", "a", "1/2", "1 2", ":1", "a:1", "1:", "1-", "1_2", "1:-1"};
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		CHECK_MSG(pkg_deb_version_check(str_c(good[i]), &e) == 0, "%s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_MSG(pkg_deb_version_check(str_c(bad[i]), &e) == -1, "%s", bad[i]);
}

/* Versions put together of the pieces that real ones are made of; dpkg is asked for each pair. */
static void make_version(struct buf *b, unsigned *seed)
{
	static const char *const pieces[] = {"0", "1",	"2",   "10", "09", "a",	 "b", "~", "~rc", "+",
					     ".", ".0", "+b1", "-",  "-1", "-0", "z", "Z", ".1",  "~~"};
	buf_clear(b);
	*seed = *seed * 1103515245 + 12345;
	if ((*seed >> 16) % 5 == 0)
		buf_printf(b, "%u:", (*seed >> 20) % 3);
	buf_printf(b, "%u", (*seed >> 24) % 3);
	for (unsigned n = (*seed >> 18) % 5; n > 0; n--) {
		*seed = *seed * 1103515245 + 12345;
		buf_put_c(b, pieces[(*seed >> 16) % (sizeof(pieces) / sizeof(*pieces))]);
	}
	buf_put_c(b, "0");
}

TEST(dpkg_says_the_same)
{
	struct err e = ERR_INIT;
	unsigned seed = 1;
	auto_buf script = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20), a = BUF_INIT(100), b = BUF_INIT(100);
	const char *const probe[] = {"dpkg", "--version", NULL};
	struct proc_opts o = {.argv = probe, .out = &out};
	if (proc_run(&o, &e) != 0)
		SKIP("there is no dpkg here");
	buf_clear(&out);
	for (int i = 0; i < 1000; i++) {
		make_version(&a, &seed);
		make_version(&b, &seed);
		int c = pkg_deb_version_cmp(buf_str(&a), buf_str(&b));
		buf_printf(&script, "dpkg --compare-versions '%s' %s '%s' || echo '%s %s'\n", a.p,
			   c < 0   ? "lt"
			   : c > 0 ? "gt"
				   : "eq",
			   b.p, a.p, b.p);
	}
	const char *const sh[] = {"sh", NULL};
	struct proc_opts run = {.argv = sh, .input = buf_str(&script), .out = &out, .errout = &out};
	CHECK_INT(proc_run(&run, &e), 0);
	CHECK_STR(out.p, "");
}
