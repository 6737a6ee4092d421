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
