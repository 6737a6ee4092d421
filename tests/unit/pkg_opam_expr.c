// SPDX-License-Identifier: Apache-2.0
/* Filters, formulas, texts with variables, and the fields of a package with their types. */
#include "lib/test.h"

#include "pkg/pkg.h"

static struct arena a;
static struct err e;

static bool variable(void *ctx, struct str name, struct str *ret)
{
	static const char *const known[][2] = {
		{"os", "linux"},	 {"with-test", "false"},    {"build", "true"},	  {"version", "2.1"},
		{"x:installed", "true"}, {"y:installed", "false"},  {"jobs", "4"},	  {"me:lib", "/l/me"},
		{"quote", "a\"b\\c"},	 {"x+z:installed", "true"}, {"nested", "%{os}%"}, {"empty", ""}};
	(void)ctx;
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (str_eq_c(name, known[i][0])) {
			*ret = str_c(known[i][1]);
			return true;
		}
	return false;
}

static bool list(void *ctx, struct str name, const struct str **ret, size_t *ret_n)
{
	static const struct str many[] = {{"-O2", 3}, {"-g", 2}};
	(void)ctx;
	*ret = many;
	*ret_n = 2;
	return str_eq(name, STR("flags"));
}

static const struct pkg_opam_host host = {.variable = variable, .self = {"me", 2}, .list = list};

static struct pkg_opam_doc doc_of(const char *text)
{
	struct pkg_opam_doc d;
	CHECK_MSG(pkg_opam_read(&a, str_c(text), "f", &d, &e) == 0, "%s", e.msg);
	return d;
}

static const struct pkg_opam_expr *filter_of(const char *text)
{
	const struct pkg_opam_doc d = doc_of(arena_printf(&a, "v: %s", text));
	const struct pkg_opam_expr *x;
	return pkg_opam_filter_of(&a, &d, pkg_opam_get(&d, "v"), &x, &e) < 0 ? NULL : x;
}

static const char *says(const char *text)
{
	const struct pkg_opam_expr *x = filter_of(text);
	CHECK_MSG(x, "%s", e.msg);
	struct pkg_opam_result r = pkg_opam_eval(&a, x, &host);
	return r.is == PKG_OPAM_IS_FALSE       ? "false"
	       : r.is == PKG_OPAM_IS_TRUE      ? "true"
	       : r.is == PKG_OPAM_IS_UNDEFINED ? "undefined"
					       : arena_strdup(&a, r.text);
}

/* -- filters ------------------------------------------------------------------------------------------------------- */

TEST(what_is_undefined_is_handed_on_but_where_it_does_not_matter)
{
	static const char *const v[][2] = {
		{"unknown", "undefined"},
		{"!unknown", "undefined"},
		{"unknown = \"x\"", "undefined"},
		{"\"x\" != unknown", "undefined"},
		{"unknown & false", "false"},
		{"false & unknown", "false"},
		{"unknown & true", "undefined"},
		{"unknown | true", "true"},
		{"true | unknown", "true"},
		{"unknown | false", "undefined"},
		{"!(unknown & false)", "true"},
		{"?unknown", "false"},
		{"?os", "true"},
		{"?(unknown | true)", "true"},
		{"!(?unknown & unknown != \"x\")", "true"},
		{"os & true", "undefined"}, /* a text that is no truth */
		{"!os", "undefined"},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
		CHECK_MSG(strcmp(says(v[i][0]), v[i][1]) == 0, "%s: %s", v[i][0], says(v[i][0]));
}

TEST(comparisons_are_those_of_versions)
{
	CHECK_STR(says("\"10\" > \"9\""), "true");
	CHECK_STR(says("10 > 9"), "true");
	CHECK_STR(says("\"1.0\" = \"1.00-0\""), "true");
	CHECK_STR(says("\"1~a\" < 1"), "true");
	CHECK_STR(says("version >= \"2.0\" & version < \"2.2\""), "true");
	CHECK_STR(says("with-test = \"false\""), "true");
	CHECK_STR(says("with-test = false"), "true");
	CHECK_STR(says("\"%{os}%-x\" = \"linux-x\""), "true");
	CHECK_STR(says("nested"), "linux");
	CHECK_STR(says("os ~ \"linux\""), "true");
}

TEST(variables_of_packages)
{
	CHECK_STR(says("x:installed"), "true");
	CHECK_STR(says("_:lib"), "/l/me");
	CHECK_STR(says("x+y:installed"), "false");
	CHECK_STR(says("x+x:installed"), "true");
	CHECK_STR(says("x+q:installed"), "undefined");
	CHECK_STR(says("q+y:installed"), "false");
	CHECK_STR(says("x:enable"), "enable");
	CHECK_STR(says("y:enable"), "disable");
	CHECK_STR(says("enable"), "undefined");
	CHECK(pkg_opam_variable(&a, STR("x:installed?yes:no"), &host).is == PKG_OPAM_IS_TEXT);
	CHECK(pkg_opam_variable(&a, STR("os"), NULL).is == PKG_OPAM_IS_UNDEFINED);
	CHECK(!pkg_opam_holds(&a, filter_of("unknown"), &host));
	CHECK(pkg_opam_holds(&a, NULL, &host));
}

TEST(what_is_no_filter)
{
	static const char *const v[][2] = {
		{"[os os]", "f:1:8: a second filter"},	  {"(os os)", "f:1:4: a filter is missing"},
		{"[[os]]", "f:1:5: a filter is missing"}, {"os & >= \"1\"", "f:1:9: a filter is missing"},
		{"()", "f:1:4: a filter is missing"},	  {"os {x}", "f:1:4: a filter is missing"},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		CHECK(!filter_of(v[i][0]));
		CHECK_MSG(strncmp(e.msg, v[i][1], strlen(v[i][1])) == 0, "%s: %s", v[i][0], e.msg);
	}
}

/* -- formulas ------------------------------------------------------------------------------------------------------ */

static const struct pkg_opam_expr *formula_of(const char *text, bool any)
{
	const struct pkg_opam_doc d = doc_of(arena_printf(&a, "v: %s", text));
	const struct pkg_opam_expr *x;
	return pkg_opam_formula_of(&a, &d, pkg_opam_get(&d, "v"), any, &x, &e) < 0 ? NULL : x;
}

static const char *need(const char *text)
{
	const struct pkg_opam_expr *x = formula_of(text, false);
	const struct pkg_need *n;
	auto_buf b = BUF_INIT(BUF_MAX);
	CHECK_MSG(x, "%s", e.msg);
	CHECK_INT(pkg_opam_need_of(&a, x, &host, &n, &e), 0);
	pkg_need_format(n, &b);
	return arena_strdup(&a, buf_str(&b));
}

TEST(formulas_with_their_filters_decided)
{
	static const char *const v[][2] = {
		{"[\"a\" \"b\" {>= \"1\" & < \"2\"}]", "a and b (>= 1 and < 2)"},
		{"\"a\" | \"b\" & \"c\"", "a or b and c"},
		{"[(\"a\" {= version} | \"b\") \"c\" {with-test}]", "a (= 2.1) or b"},
		{"[\"a\" {os = \"win32\"} | \"b\" {build & >= \"1\"}]", "b (>= 1)"},
		{"[\"a\" {with-test}]", ""},
		{"[\"a\" {unknown} \"b\" {!unknown} \"c\" {?unknown | >= \"2\"}]", "c (>= 2)"},
		{"[\"a\" {>= \"3\" & (os != \"cygwin\" | < \"5\")}]", "a (>= 3)"},
		{"[\"a\" {>= \"3\" (os = \"cygwin\" | < \"5\")}]", "a (>= 3 and < 5)"},
		{"[\"a\" {!(< \"2\" | > \"3\")}]", "a (>= 2 and <= 3)"},
		{"[\"a\" {!(with-test & < \"2\")}]", "a"},
		{"[\"a\" {!(build & < \"2\")}]", "a (>= 2)"},
		{"[\"a\" {(< \"1\") | (= \"dev\")}]", "a (< 1 or = dev)"},
		/* a version that nobody knows is any */
		{"[\"a\" {= unknown} \"b\" {>= \"1\" & < unknown}]", "a and b (>= 1)"},
		{"\"a\" {= \"%{version}%.1\"}", "a (= 2.1.1)"},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
		CHECK_STR(need(v[i][0]), v[i][1]);
}

TEST(conflicts_mean_any_of_a_list)
{
	const struct pkg_opam_expr *x = formula_of("[\"a\" \"b\" {< \"1\"}]", true);
	CHECK_INT(x->kind, PKG_OPAM_E_OR);
	CHECK(str_eq(x->right->text, STR("b")) && x->right->left->kind == PKG_OPAM_E_VERSION);
	CHECK(!formula_of("[]", true));
}

TEST(what_is_no_formula)
{
	static const char *const v[][2] = {
		{"[a]", "f:1:5: the name of a package"},       {"[\"a b\"]", "f:1:5: that is no name"},
		{"[\"a\" {>= 1}]", "f:1:13: a version"},       {"[\"a\" ()]", "f:1:9: a formula is missing"},
		{"[[\"a\"]]", "f:1:5: the name of a package"}, {"!\"a\"", "f:1:4: the name of a package"},
		{"\"a\" {(x y) & [1]}", "f:1:17: a filter"},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		CHECK(!formula_of(v[i][0], false));
		CHECK_MSG(strncmp(e.msg, v[i][1], strlen(v[i][1])) == 0, "%s: %s", v[i][0], e.msg);
	}
}

TEST(shown_as_opam_does)
{
	static const char *const v[] = {
		"os = \"linux\" & !(a | b) & ?c",
		"(a | b) & (c | d & e) | !f",
		"(a & b) = \"x\" | \"q\\\"\" != n:v",
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		auto_buf b = BUF_INIT(BUF_MAX);
		const char *text = i == 2 ? "a = \"x\" | \"q\\\"\" != n:v" : v[i];
		pkg_opam_expr_format(filter_of(text), &b);
		CHECK_STR(b.p, text);
	}
	auto_buf b = BUF_INIT(BUF_MAX);
	pkg_opam_expr_format(formula_of("[\"a\" {>= \"1\" & (x | !(< v))} (\"b\" | \"c\")]", false), &b);
	CHECK_STR(b.p, "\"a\" {>= \"1\" & (x | >= v)} & (\"b\" | \"c\")");
}

/* -- texts --------------------------------------------------------------------------------------------------------- */

static const char *expanded(const char *text)
{
	return arena_strdup(&a, pkg_opam_expand(&a, str_c(text), &host));
}

TEST(texts_with_variables)
{
	static const char *const v[][2] = {
		{"plain 100", "plain 100"},
		{"-j%{jobs}%x%{os}%", "-j4xlinux"},
		{"%%{os}%% 5%", "%{os}% 5%"},
		{"[%{unknown}%]", "[]"},
		{"%{x:installed?with:without}%-x", "with-x"},
		{"%{y:installed?with:without}%-x", "without-x"},
		{"%{q:installed?with:without}%", "without"},
		{"%{x:enable}%-%{y:enable}%", "enable-disable"},
		{"%{?x+z:installed:}%", "true"},
		{"%{os and }more\n%{os}%", "%{os and }more\nlinux"},
		{"%{os", "%{os"},
		{"%{nested}%", "%{os}%"},
		{"%{_:lib}%", "/l/me"},
		{"%{}%", ""},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
		CHECK_STR(expanded(v[i][0]), v[i][1]);
}

TEST(files_with_variables)
{
	CHECK_STR(arena_strdup(&a, pkg_opam_subst(&a, STR("q=%{quote}%\nx"), &host)), "q=a\"b\\c\nx\n");
	CHECK_STR(arena_strdup(&a, pkg_opam_subst(&a, STR("q: \"%{quote}%\" # %{os}%\n"), &host)),
		  "q: \"a\\\"b\\\\c\" # linux\n");
	CHECK_STR(arena_strdup(&a, pkg_opam_subst(&a, STR("q: \"\"\"\"%{quote}%\\\"\"\"\""), &host)),
		  "q: \"\"\"\"a\\\"b\\\\c\\\"\"\"\"");
}

/* -- packages ------------------------------------------------------------------------------------------------------ */

static const char *argv_of(const struct pkg_opam_line *l)
{
	const struct str *v;
	size_t n = pkg_opam_argv(&a, l, &host, &v);
	auto_buf b = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.*s", i ? "|" : "", STR_ARG(v[i]));
	return arena_strdup(&a, buf_str(&b));
}

#define MD5 "0123456789abcdef0123456789abcdef"
#define SHA MD5 MD5

TEST(a_whole_package)
{
	struct pkg_opam_doc d = doc_of(
		"opam-version: \"2.0\"\nname: \"x\"\nversion: \"1\"\nsynopsis: \"s\"\nauthors: [\"a\" \"b\"]\nlicense: \"MIT\"\n"
		"tags: [\"flags:verbose\" \"t\"]\nflags: [conf avoid-version new-one]\nconflict-class: \"core\"\n"
		"depends: [\"a\" \"b\"] depopts: \"c\" conflicts: [\"d\" \"e\"] available: os = \"linux\"\n"
		"build: [[\"./c\" \"--x\" {x:installed} \"--y\" {y:installed} flags jobs unknown] [make] {with-test} [\"e\" {with-test}]]\n"
		"install: [make \"%{os}%\"]\nremove: \"rm\"\nrun-test: [\"t\"] {build}\n"
		"depexts: [[\"libx-dev\" \"y\"] {os = \"linux\"} [\"z\"] {os = \"macos\"}]\n"
		"messages: \"m\" {unknown} post-messages: [\"p\" {success} \"q\"]\npatches: [\"a.patch\" \"b.patch\" {os = \"x\"}]\n"
		"substs: [\"f\"]\nsetenv: [[A = \"1\"] [B += \"2\"]]\nbuild-env: C =: \"3\"\n"
		"pin-depends: [\"q.1.2\" \"git+https://h/q\"]\nextra-files: [[\"a\" \"md5=" MD5 "\"] [\"b\" \"" SHA
		"\"]]\n"
		"url {\n src: \"https://h/x\"\n checksum: [\"sha256=" SHA "\" \"" MD5
		"\"]\n mirrors: \"https://m/x\"\n}\n"
		"extra-source \"p\" { src: \"https://h/p\" checksum: \"sha512=" SHA SHA "\" }\nx-own: [1 [2]]\n");
	struct pkg_opam p;
	CHECK_MSG(pkg_opam_package(&a, &d, &p, &e) == 0, "%s", e.msg);
	CHECK(str_eq(p.name, STR("x")) && str_eq(p.version, STR("1")) && !p.description.p);
	CHECK_INT(p.authors.n, 2);
	CHECK_INT(p.license.n, 1);
	CHECK_INT(p.flags, PKG_OPAM_VERBOSE | PKG_OPAM_CONF | PKG_OPAM_AVOID_VERSION);
	CHECK(p.depends->kind == PKG_OPAM_E_AND && p.conflicts->kind == PKG_OPAM_E_OR);
	CHECK(pkg_opam_holds(&a, p.available, &host));
	CHECK_INT(p.build.n, 3);
	CHECK_STR(argv_of(&p.build.v[0]), "./c|--x|-O2|-g|4|");
	CHECK_STR(argv_of(&p.build.v[1]), "");
	CHECK_STR(argv_of(&p.build.v[2]), "");
	CHECK_INT(p.install.n, 1);
	CHECK_STR(argv_of(&p.install.v[0]), "|linux");
	CHECK_STR(argv_of(&p.remove.v[0]), "rm");
	CHECK_STR(argv_of(&p.run_test.v[0]), "t");
	CHECK_INT(p.depexts.n, 2);
	CHECK_STR(argv_of(&p.depexts.v[0]), "libx-dev|y");
	CHECK_STR(argv_of(&p.depexts.v[1]), "");
	CHECK_INT(p.messages.n + p.post_messages.n + p.patches.n + p.substs.n, 6);
	CHECK_STR(argv_of(&p.patches.v[1]), "");
	CHECK_INT(p.setenvs, 2);
	CHECK_INT(p.setenv[1].op, PKG_OPAM_PREPEND);
	CHECK_INT(p.build_env[0].op, PKG_OPAM_APPEND_COLON);
	CHECK(p.pins == 1 && str_eq(p.pin[0].version, STR("1.2")));
	CHECK(p.extra_files == 2 && p.extra_file[1].checksum.kind == DIGEST_SHA256);
	CHECK_INT(p.sources, 2);
	CHECK(!p.source[0].file.p && p.source[0].checksums == 2 && p.source[0].mirrors.n == 1);
	CHECK(str_eq(p.source[1].file, STR("p")) && p.source[1].checksum[0].kind == DIGEST_SHA512);
	CHECK_INT(pkg_opam_get(p.file, "x-own")->kind, PKG_OPAM_LIST);
}

TEST(what_is_wrong_with_a_package_is_told_and_the_rest_is_there)
{
	struct pkg_opam_doc d =
		doc_of("opam-version: \"2.0\"\ndepends: [\"a\" & x]\nflags: \"conf\"\nsynopsis: [\"s\"]\n"
		       "build: [[1]]\nurl \"x\" { src: \"u\" }\nurl { src: 1 checksum: \"md5=1\" }\nurl { }\n"
		       "license: \"MIT\"\nlicense: \"ISC\"\nwhat: 1\nsetenv: [A ~ \"x\"]\n"
		       "pin-depends: [\"a\" \"u\"]\nextra-files: [\"a\"]\nown { }\navailable: [os os]\n");
	static const char *const want[] = {
		"2:17: field 'depends': the name of a package is missing, in quotes",
		"3:8: field 'flags': a flag is missing",
		"4:11: field 'synopsis': a string is missing",
	};
	struct pkg_opam p;
	CHECK_INT(pkg_opam_package(&a, &d, &p, &e), -1);
	CHECK(strstr(e.msg, "f:2:"));
	CHECK(d.faults >= 14 && d.faults <= PKG_OPAM_FAULTS_MAX);
	for (size_t i = 1; i < 3; i++) {
		(void)pkg_opam_fault(&d, d.fault[i].at, d.fault[i].why, &e);
		CHECK_MSG(strstr(e.msg, want[i]), "%s", e.msg);
	}
	CHECK(str_eq(p.license.v[0], STR("MIT")));
	struct pkg_opam_doc none = doc_of("name: \"x\"\n");
	CHECK_INT(pkg_opam_package(&a, &none, &p, &e), -1);
	CHECK(strstr(e.msg, "'opam-version' is missing") && str_eq(p.name, STR("x")));
}

TEST(names_and_versions)
{
	CHECK(pkg_opam_name_is_good(STR("conf-g++")) && pkg_opam_name_is_good(STR("0a")));
	CHECK(!pkg_opam_name_is_good(STR("")) && !pkg_opam_name_is_good(STR("1-2")) &&
	      !pkg_opam_name_is_good(STR("a.b")));
	CHECK(pkg_opam_version_is_good(STR("1.0~rc1+x-2_b")));
	CHECK(!pkg_opam_version_is_good(STR("")) && !pkg_opam_version_is_good(STR("1/2")) &&
	      !pkg_opam_version_is_good(str_of("1\0", 2)));
}

/* Of the orders that opam's own comparison gives. */
TEST(order_of_versions)
{
	static const struct {
		const char *a, *b;
		int want;
	} v[] = {
		{"1.10", "1.9", 1},	  {"5.3.0~beta1", "5.3.0", -1},
		{"1.0-2", "1.0-10", -1},  {"v0.16", "1", 1},
		{"1.0", "1.00", 0},	  {"1.0", "1.0-0", 0},
		{"1.0-1", "1.0.0", -1},	  {"1.0-", "1.0", 0},
		{"2.0-1.0", "2.0-1", 1},  {"1-2-3", "1-2.1", 1},
		{"1.a", "1.+", -1},	  {"1.0-~", "1.0", -1},
		{"1-0.1~x", "1-0.1", -1}, {"0.18.0", "1.2.0-0.20.0", -1},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		int c = pkg_opam_version_cmp(str_c(v[i].a), str_c(v[i].b));
		CHECK_MSG((c > 0) - (c < 0) == v[i].want, "%s and %s: %d", v[i].a, v[i].b, c);
		c = pkg_opam_version_cmp(str_c(v[i].b), str_c(v[i].a));
		CHECK_INT((c > 0) - (c < 0), -v[i].want);
	}
}
