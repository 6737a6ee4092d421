// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"
#include "pkg/pkg.h"

static struct arena arena;
static struct err e;

static const char *shown(const struct pkg_need *n)
{
	auto_buf b = BUF_INIT(1 << 16);
	pkg_need_format(n, &b);
	return arena_strdup(&arena, buf_str(&b));
}

static const char *deb(const char *text)
{
	const struct pkg_need *n;
	return pkg_deb_need_parse(&arena, str_c(text), &n, &e) < 0 ? NULL : shown(n);
}

static const char *rpm(const char *text)
{
	const struct pkg_need *n;
	return pkg_rpm_need_parse(&arena, str_c(text), &n, &e) < 0 ? NULL : shown(n);
}

static bool variable(void *ctx, struct str name, struct str *ret)
{
	(void)ctx;
	static const char *const known[][2] = {{"os", "linux"},
					       {"with-test", "false"},
					       {"build", "true"},
					       {"version", "2.1"},
					       {"opam-version", "2.1.2"}};
	for (size_t i = 0; i < 5; i++)
		if (str_eq_c(name, known[i][0])) {
			*ret = str_c(known[i][1]);
			return true;
		}
	return false;
}
static const struct pkg_opam_host host = {.variable = variable};

static const char *opam(const char *text)
{
	const struct pkg_need *n;
	return pkg_opam_need_parse(&arena, str_c(text), &host, false, &n, &e) < 0 ? NULL : shown(n);
}

static int filter(const char *text)
{
	return pkg_opam_filter(&arena, str_c(text), &host, &e);
}

TEST(relations_of_deb)
{
	CHECK_STR(deb("a"), "a");
	CHECK_STR(deb("a:any (>= 1.2-3~), b | c (<< 2) | d,"), "a (>= 1.2-3~) and b or c (< 2) or d");
	CHECK_STR(deb(" a(=1) [amd64] <!nocheck>\n , b=2 "), "a (= 1) and b (= 2)");
	CHECK_STR(deb("a (< 2), b (> 2)"), "a (<= 2) and b (>= 2)");
	CHECK_STR(deb(""), "");
	CHECK(!deb("a (>= 1"));
	CHECK(!deb("a (~ 1)"));
	CHECK(!deb("a | (>= 1)"));
}

TEST(dependencies_of_rpm)
{
	CHECK_STR(rpm("libc.so.6(GLIBC_2.4)(64bit)"), "libc.so.6(GLIBC_2.4)(64bit)");
	CHECK_STR(rpm("name >= 1:2.0-1"), "name (>= 1:2.0-1)");
	CHECK_STR(rpm("name>=1"), "name (>= 1)");
	CHECK_STR(rpm("font(:lang=en) = 1"), "font(:lang=en) (= 1)");
	CHECK_STR(rpm("/usr/bin/["), "/usr/bin/[");
	CHECK_STR(rpm("(a or (b and c(x) >= 2))"), "a or b and c(x) (>= 2)");
	CHECK_STR(rpm("(a if b < 3 else c)"), "a if b (< 3) else c");
	CHECK_STR(rpm("(a with b with c)"), "a with b with c");
	CHECK_STR(rpm("((a without b) or c)"), "a without b or c");
	CHECK_STR(rpm("(a unless b)"), "a unless b");
	CHECK(!rpm("(a or b"));
	CHECK(!rpm("(a or)"));
	CHECK(!rpm("a b"));
	CHECK(!rpm("name >="));
	char deep[400];
	memset(deep, '(', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	CHECK(!rpm(deep));
	CHECK_INT(e.code, ERR_LIMIT);
}

TEST(formulas_of_opam)
{
	CHECK_STR(opam("[\"a\" \"b\" {>= \"1\" & < \"2\"}]"), "a and b (>= 1 and < 2)");
	CHECK_STR(opam("\"a\" | \"b\" & \"c\""), "a or b and c");
	CHECK_STR(opam("[(\"a\" {= version} | \"b\") \"c\" {with-test}]"), "a (= 2.1) or b");
	CHECK_STR(opam("[\"a\" {os = \"win32\"} | \"b\" {build & >= \"1\"}]"), "b (>= 1)");
	CHECK_STR(opam("[\"a\" {with-test}]"), "");
	/* a filter that is true allows any version; one that nobody knows is not true */
	CHECK_STR(opam("[\"a\" {>= \"3\" & (os != \"cygwin\" | < \"5\") & < \"6\"}]"), "a (>= 3 and < 6)");
	CHECK_STR(opam("[\"a\" {>= \"3\" & (os = \"cygwin\" | < \"5\")}]"), "a (>= 3 and < 5)");
	CHECK_STR(opam("[\"a\" {os-version >= \"3\"} \"b\" {!with-test}]"), "b");
	CHECK_STR(opam("[\"a\" {!(< \"2\" | > \"3\")}]"), "a (>= 2 and <= 3)");
	CHECK_STR(opam("[ # why\n \"a\\\"b\" (* or *) \"\"\"c\"\"\" ]"), "a\"b and c");
	CHECK(!opam("[\"a\""));
	CHECK(!opam("[\"a\" {>= }]"));
	CHECK(!opam("[\"a\"] \"b\""));
	CHECK(!opam("[a]"));
	CHECK_INT(filter("os = \"linux\" & opam-version >= \"2.1\""), 1);
	CHECK_INT(filter("[ os != \"linux\" | !with-test ]"), 1);
	CHECK_INT(filter("unknown"), 0);
	CHECK_INT(filter("!unknown"), 0);
	CHECK_INT(filter("?unknown | !?os"), 0);
	CHECK_INT(filter("unknown | os = \"linux\""), 1);
	CHECK_INT(filter("false & unknown = \"x\""), 0);
	CHECK_INT(filter("(os = \"linux\""), -1);
}

TEST(what_a_person_asks_opam_for)
{
	static const struct {
		const char *text, *want;
	} v[] = {{"dune", "dune"},
		 {"dune.3.0", "dune (= 3.0)"},
		 {"dune >= 3.0", "dune (>= 3.0)"},
		 {"a<2~", "a (< 2~)"},
		 {"conf-x=1", "conf-x (= 1)"}};
	const struct pkg_need *n;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		CHECK_INT(pkg_opam_spec_parse(&arena, str_c(v[i].text), &n, &e), 0);
		CHECK_STR(shown(n), v[i].want);
	}
	CHECK_INT(pkg_opam_spec_parse(&arena, STR(">= 2"), &n, &e), -1);
	CHECK_INT(pkg_opam_spec_parse(&arena, STR("a >="), &n, &e), -1);
}

TEST(versions)
{
	CHECK(pkg_opam_version_cmp(STR("1.10"), STR("1.9")) > 0);
	CHECK(pkg_opam_version_cmp(STR("5.3.0~beta1"), STR("5.3.0")) < 0);
	CHECK(pkg_opam_version_cmp(STR("1.0-2"), STR("1.0-10")) < 0);
	CHECK(pkg_opam_version_cmp(STR("v0.16"), STR("1")) > 0);
	CHECK_INT(pkg_rpm_version_cmp(STR("1.0-3"), STR("1.0")), 0);
	CHECK(pkg_rpm_version_cmp(STR("1:1.0-3"), STR("2.0-1")) > 0);
	CHECK(pkg_rpm_version_cmp(STR("1.0-3"), STR("1.0-4")) < 0);
}
