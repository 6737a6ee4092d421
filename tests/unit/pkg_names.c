// SPDX-License-Identifier: Apache-2.0
/* Names, builds, subdirs and file names (CEP 26). */
#include "lib/test.h"
#include "pkg/pkg.h"

static bool ok(int (*check)(struct str, struct err *), const char *text)
{
	struct err e = ERR_INIT;
	int rc = check(str_c(text), &e);
	CHECK((rc == 0) == (e.msg[0] == '\0'));
	return rc == 0;
}

TEST(package_names)
{
	static const char *const good[] = {"a",	 "python", "_libgcc_mutex",    "__glibc", "r-base", "zope.interface",
					   "a-", "7zip",   "ld_impl_linux-64", "a.b-c_d"};
	static const char *const bad[] = {"",	  "_",	  "__",	 "-a",	".a", "Python",	 "a--b",
					  "a._b", "___a", "a b", "a/b", "a*", "\xc3\xa9"};
	char long_name[66];
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		CHECK_MSG(ok(pkg_name_check, good[i]), "'%s' was refused", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_MSG(!ok(pkg_name_check, bad[i]), "'%s' was taken", bad[i]);
	memset(long_name, 'a', sizeof(long_name));
	struct err e = ERR_INIT;
	CHECK_INT(pkg_name_check(str_of(long_name, 64), &e), 0);
	CHECK_INT(pkg_name_check(str_of(long_name, 65), &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

TEST(builds_and_subdirs)
{
	CHECK(ok(pkg_build_check, "py39h27cfd23_0"));
	CHECK(ok(pkg_build_check, "0"));
	CHECK(ok(pkg_build_check, "A.b+c_d"));
	CHECK(!ok(pkg_build_check, ""));
	CHECK(!ok(pkg_build_check, "py-39"));
	CHECK(!ok(pkg_build_check, "../x"));
	CHECK(ok(pkg_subdir_check, "noarch"));
	CHECK(ok(pkg_subdir_check, "linux-64"));
	CHECK(ok(pkg_subdir_check, "a-b"));
	CHECK(!ok(pkg_subdir_check, "linux"));
	CHECK(!ok(pkg_subdir_check, "linux-"));
	CHECK(!ok(pkg_subdir_check, "-64"));
	CHECK(!ok(pkg_subdir_check, "linux-64-x"));
	CHECK(!ok(pkg_subdir_check, "Linux-64"));
	CHECK(!ok(pkg_subdir_check, ".."));
	CHECK(pkg_subdir_known(STR("osx-arm64")));
	CHECK(!pkg_subdir_known(STR("label-x")));
}

static void check_split(const char *fn, const char *want)
{
	struct str n, v, b, x;
	char got[300];
	if (!pkg_filename_split(str_c(fn), &n, &v, &b, &x))
		snprintf(got, sizeof(got), "-");
	else
		snprintf(got, sizeof(got), "%.*s|%.*s|%.*s|%.*s", STR_ARG(n), STR_ARG(v), STR_ARG(b), STR_ARG(x));
	CHECK_STR(got, want);
}

TEST(file_names)
{
	check_split("python-3.9.5-h12debd9_4.conda", "python|3.9.5|h12debd9_4|conda");
	check_split("ld_impl_linux-64-2.36.1-hea4e1c9_2.tar.bz2", "ld_impl_linux-64|2.36.1|hea4e1c9_2|tar.bz2");
	check_split("a-1-0.conda", "a|1|0|conda");
	check_split("python-3.9.5-h12debd9_4.zip", "-");
	check_split("python-3.9.5.conda", "-");
	check_split("a--0.conda", "-");
	check_split("-1-0.conda", "-");
	check_split("a-1-.conda", "-");
	check_split(".conda", "-");
	check_split("x/a-1-0.conda", "-");
	check_split("", "-");
}
