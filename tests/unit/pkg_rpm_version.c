// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <stdio.h>

#include "base/proc.h"
#include "pkg/pkg.h"

static void check(const char *a, const char *b, int want)
{
	CHECK_MSG(pkg_rpm_vercmp(str_c(a), str_c(b)) == want, "%s %s: not %d", a, b, want);
	CHECK_MSG(pkg_rpm_vercmp(str_c(b), str_c(a)) == -want, "%s %s: not %d", b, a, -want);
}

TEST(order_of_versions)
{
	check("1.0", "1.0", 0);
	check("1.0", "2.0", -1);
	check("2.0.1", "2.0.1a", -1);
	check("5.5p1", "5.5p10", -1);
	check("10xyz", "10.1xyz", -1);
	check("xyz10", "xyz10.1", -1);
	check("xyz.4", "8", -1);
	check("1.0010", "1.9", 1);
	check("1.05", "1.5", 0);
	check("4.999.9", "5.0", -1);
	check("20101122", "20101121", 1);
	check("2_0", "2.0", 0);
	check("a+", "a_", 0);
	check("1.", "1", 0);
	check("99999999999999999999999", "100000000000000000000000", -1);
	check("", "1", -1);
}

TEST(tilde_and_caret)
{
	check("1.0~rc1", "1.0", -1);
	check("1.0~rc1", "1.0~rc2", -1);
	check("1.0~rc1~git123", "1.0~rc1", -1);
	check("1.0^", "1.0", 1);
	check("1.0^git1", "1.0", 1);
	check("1.0^git1", "1.0.1", -1);
	check("1.0^20160101", "1.0^20160101^git1", -1);
	check("1.0~rc1^git1", "1.0~rc1", 1);
	check("1.0^git1~pre", "1.0^git1", -1);
	check("~", "", -1);
	check("^", "", 1);
}

static int evr(const char *a, const char *b)
{
	struct pkg_rpm_evr x = pkg_rpm_evr_parse(str_c(a)), y = pkg_rpm_evr_parse(str_c(b));
	return pkg_rpm_evr_cmp(&x, &y);
}

TEST(epochs_and_releases)
{
	struct pkg_rpm_evr r = pkg_rpm_evr_parse(STR("2:1.0-3.el7"));
	CHECK(str_eq(r.epoch, STR("2")) && str_eq(r.version, STR("1.0")) && str_eq(r.release, STR("3.el7")));
	CHECK_INT(evr("1:1.0-1", "2.0-1"), 1);
	CHECK_INT(evr("0:1.0-1", "1.0-1"), 0);
	CHECK_INT(evr(":1.0-1", "1.0-1"), 0);
	CHECK_INT(evr("1.0-1.el7", "1.0-1.el8"), -1);
	CHECK_INT(evr("10:1-1", "9:1-1"), 1);
}

static uint64_t seed = 42;

static unsigned draw(unsigned n)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return (unsigned)(seed >> 33) % n;
}

/* Texts alike enough that they are not told apart by their first letter. */
static void draw_text(char text[12])
{
	static const char chars[] = "0019a.bZ~^_+";
	unsigned n = 1 + draw(9);
	for (unsigned i = 0; i < n; i++)
		text[i] = chars[draw(sizeof(chars) - 1)];
	text[n] = '\0';
}

TEST(order_is_that_of_rpm)
{
	enum { PAIRS = 1000 };
	static char text[PAIRS][2][12];
	static int said[PAIRS];
	struct err e = ERR_INIT;
	auto_buf script = BUF_INIT(BUF_MAX), out = BUF_INIT(BUF_MAX);
	if (system("command -v rpm >/dev/null") != 0)
		SKIP("rpm is not here");
	buf_put_c(&script, "%{lua:");
	for (size_t i = 0; i < PAIRS; i++) {
		draw_text(text[i][0]);
		draw_text(text[i][1]);
		said[i] = pkg_rpm_vercmp(str_c(text[i][0]), str_c(text[i][1]));
		buf_printf(&script, "print(rpm.vercmp('%s','%s')..' ') ", text[i][0], text[i][1]);
	}
	buf_put_c(&script, "}");
	const char *argv[] = {"rpm", "--eval", script.p, NULL};
	CHECK_MSG(proc_run(&(struct proc_opts){.argv = argv, .out = &out}, &e) == 0, "%s", e.msg);
	struct str rest = buf_str(&out), word;
	for (size_t i = 0; i < PAIRS; i++) {
		int64_t theirs;
		CHECK(str_take_word(&rest, &word) && str_to_i64(word, &theirs));
		CHECK_MSG(theirs == said[i], "'%s' '%s': %d, rpm says %d", text[i][0], text[i][1], said[i],
			  (int)theirs);
	}
}
