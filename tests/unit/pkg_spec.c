// SPDX-License-Identifier: Apache-2.0
/* MatchSpecs: CEP 29 with CEPs 43, 44, 45 and 48, and what real packages hold. */
#include "lib/test.h"
#include "pkg/conda_spec.h"

static const struct spec *parse(struct arena *a, const char *text, enum spec_flags flags)
{
	struct err e = ERR_INIT;
	const struct spec *s = pkg_conda.spec_parse(a, str_c(text), flags, &e);
	CHECK_MSG(s, "'%s' was not read: %s", text, e.msg);
	return s;
}

static void check_canonical(const char *text, const char *want)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX), again = BUF_INIT(BUF_MAX);
	pkg_conda.spec_format(parse(&a, text, SPEC_REQUEST), &b);
	CHECK_STR(b.p, want);
	pkg_conda.spec_format(parse(&a, b.p, SPEC_REQUEST), &again);
	CHECK_STR(again.p, want);
}

static void check_refused(const char *text, enum spec_flags flags, size_t column, const char *why)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	char where[32];
	snprintf(where, sizeof(where), ": column %zu: ", column);
	CHECK_MSG(!pkg_conda.spec_parse(&a, str_c(text), flags, &e), "'%s' was read", text);
	CHECK_MSG(strstr(e.msg, why), "'%s': message '%s' lacks '%s'", text, e.msg, why);
	CHECK_MSG(strstr(e.msg, where), "'%s': message '%s' does not point at column %zu", text, e.msg, column);
	CHECK_MSG(strncmp(e.msg, "spec '", 6) == 0, "message '%s' does not quote the spec", e.msg);
}

static struct pkg_record record(const char *name, const char *version, const char *build)
{
	return (struct pkg_record){.name = str_c(name), .version = str_c(version), .build = str_c(build)};
}

static bool matches(const char *text, enum spec_flags flags, const char *version, const char *build)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	const struct spec *s = parse(&a, text, flags);
	struct pkg_record r = record("pkg", version, build);
	const struct version *v = pkg_conda.version_parse(&a, str_c(version), &e);
	bool whole = pkg_conda.spec_match(s, &r);
	/* the two halves that the solver asks for agree with the whole */
	bool halves = pkg_conda.spec_match_version(s, v, r.version) && pkg_conda.spec_match_rest(s, &r);
	CHECK_MSG(whole == (halves && spec_matches_name(s, r.name)), "'%s' on %s %s", text, version, build);
	if (pkg_conda.spec_is_version_only(s))
		CHECK(pkg_conda.spec_match_rest(s, &r));
	return whole;
}

static const char *const versions[] = {"0.9",	"1.7",	  "1.8rc1",	 "1.8",	 "1.8.0", "1.8+local", "1.8.0rc1",
				       "1.8.1", "1.8.1k", "1.8.1.post1", "1.80", "1.9",	  "2.0",       "1!1.8"};

/* Which of the versions above match, as a list. */
static void check_matches(const char *text, const char *want)
{
	char got[256] = "";
	size_t n = 0;
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++)
		if (matches(text, SPEC_REQUEST, versions[i], "py39_0"))
			n += (size_t)snprintf(got + n, sizeof(got) - n, "%s%s", n ? " " : "", versions[i]);
	CHECK_MSG(strcmp(got, want) == 0, "'%s' matches '%s', not '%s'", text, got, want);
}

#define FUZZY_1_8 "1.8 1.8.0 1.8+local 1.8.0rc1 1.8.1 1.8.1k 1.8.1.post1"
#define EVERY "0.9 1.7 1.8rc1 " FUZZY_1_8 " 1.80 1.9 2.0 1!1.8"

TEST(cep_29_fuzzy_block)
{
	static const char *const same[] = {"pkg=1.8",	  "pkg =1.8",		"pkg = 1.8",
					   "pkg 1.8.*",	  "pkg 1.8.* *",	"pkg=1.8.*",
					   "pkg=1.8.*=*", "pkg =1.8.* *",	"pkg ==1.8.* *",
					   "pkg =1.8 *",  "pkg[version=1.8.*]", "pkg[version=\"1.8.*\"]",
					   "pkg 1.8*",	  "pkg=1.8*",		"pkg =1.8 py39_0",
					   "pkg==1.8.*",  "pkg 1.8.**",		"pkg[version='=1.8']"};
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		check_matches(same[i], FUZZY_1_8);
}

TEST(cep_29_exact_block)
{
	static const char *const same[] = {"pkg 1.8",	  "pkg 1.8 *",	    "pkg==1.8",		"pkg=1.8=*",
					   "pkg==1.8=*",  "pkg ==1.8 *",    "pkg[version=1.8]", "pkg[version=\"1.8\"]",
					   "pkg == 1.8",  "pkg 1.8 py39_0", "pkg=1.8=py39_0",	"pkg==1.8=py39_0",
					   "pkg 1.8=py*", "pkg 1-8",	    "PKG 1.8.0.0",	" pkg  1.8 # why"};
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		check_matches(same[i], "1.8 1.8.0");
}

TEST(operators)
{
	check_matches("pkg", EVERY);
	check_matches("pkg *", EVERY);
	check_matches("pkg * *", EVERY);
	check_matches("pkg==*", EVERY);
	check_matches("pkg=*=py39_0", EVERY);
	check_matches("pkg>1.8", "1.8.1 1.8.1k 1.8.1.post1 1.80 1.9 2.0 1!1.8");
	check_matches("pkg >= 1.8", "1.8 1.8.0 1.8.1 1.8.1k 1.8.1.post1 1.80 1.9 2.0 1!1.8");
	check_matches("pkg<1.8", "0.9 1.7 1.8rc1 1.8+local 1.8.0rc1");
	check_matches("pkg<=1.8", "0.9 1.7 1.8rc1 1.8 1.8.0 1.8+local 1.8.0rc1");
	check_matches("pkg!=1.8", "0.9 1.7 1.8rc1 1.8+local 1.8.0rc1 1.8.1 1.8.1k 1.8.1.post1 1.80 1.9 2.0 1!1.8");
	check_matches("pkg!=1.8.*", "0.9 1.7 1.8rc1 1.80 1.9 2.0 1!1.8");
	check_matches("pkg !=1.8*", "0.9 1.7 1.8rc1 1.80 1.9 2.0 1!1.8");
	check_matches("pkg~=1.8.0", "1.8 1.8.0 1.8.1 1.8.1k 1.8.1.post1");
	check_matches("pkg~=1.8", "1.8 1.8.0 1.8.1 1.8.1k 1.8.1.post1 1.80 1.9");
	check_matches("pkg>=1.8.*", "1.8 1.8.0 1.8.1 1.8.1k 1.8.1.post1 1.80 1.9 2.0 1!1.8");
	check_matches("pkg 1.8+local", "1.8+local");
	check_matches("pkg >=1!0", "1!1.8");
	check_matches("pkg 1.8.0.*", "1.8 1.8.0 1.8+local");
	check_matches("pkg=1.8.1", "1.8.1 1.8.1.post1"); /* whole segments: not 1.8.1k */
	check_matches("pkg >=1.8.0a0,<1.8", "1.8+local 1.8.0rc1");
}

TEST(logic)
{
	check_matches("pkg 1.7|1.9", "1.7 1.9");
	check_matches("pkg 1.7 | 1.9", "1.7 1.9");
	check_matches("pkg=1.7|=1.9", "1.7 1.9");
	check_matches("pkg=1.7|1.9=py39_0", "1.7 1.9");
	check_matches("pkg >=1.9, <2", "1.80 1.9");
	check_matches("pkg >=1.9|<1.8,>=1.7.1", "1.8rc1 1.8+local 1.8.0rc1 1.80 1.9 2.0 1!1.8"); /* ',' binds first */
	check_matches("pkg (>=1,<1.8)|>=2", "1.7 1.8rc1 1.8+local 1.8.0rc1 2.0 1!1.8");
	check_matches("pkg >=1,( <1.8 | >=2 )", "1.7 1.8rc1 1.8+local 1.8.0rc1 2.0 1!1.8");
	check_matches("pkg >=1,(<1.8|>=2) py39_0", "1.7 1.8rc1 1.8+local 1.8.0rc1 2.0 1!1.8");
	check_matches("pkg[version='((1.7))|((1.9))']", "1.7 1.9");
}

TEST(text_matching)
{
	check_matches("pkg 1.*.1", "1.8.1");
	check_matches("pkg *rc1", "1.8rc1 1.8.0rc1");
	check_matches("pkg 1.*rc*", "1.8rc1 1.8.0rc1");
	check_matches("pkg !=*rc1,>=1.8rc0,<1.8.1", "1.8 1.8.0 1.8+local 1.8.1k");
	check_matches("pkg ^1\\.[79]$", "1.7 1.9");
	check_matches("pkg ^1\\.7$|^2\\..*$ py*", "1.7 2.0");
	check_matches("pkg[version='^1\\.(7|8)\\.?.*$',build='^PY3[89]_0$']", "1.7 1.8rc1 " FUZZY_1_8 " 1.80");
	check_matches("pk*", EVERY);
	check_matches("^(pkg|other)$ 1.7", "1.7");
	check_matches("p*h 1.7", "");
}

TEST(build_and_name)
{
	CHECK(matches("pkg 1.8 PY39_0", SPEC_REQUEST, "1.8", "py39_0"));
	CHECK(matches("pkg 1.8 *39*", SPEC_REQUEST, "1.8", "py39_0"));
	CHECK(!matches("pkg 1.8 py38*", SPEC_REQUEST, "1.8", "py39_0"));
	CHECK(!matches("pkg 1.8 py39_", SPEC_REQUEST, "1.8", "py39_0"));
	CHECK(matches("pkg * *_cpython", SPEC_REQUEST, "1.8", "h1_cpython"));
	CHECK(!matches("other", SPEC_REQUEST, "1.8", "py39_0"));
	CHECK(matches("pkg[name=other]", SPEC_REQUEST, "1.8", "py39_0")); /* the key is ignored */
	CHECK(matches("pkg 1.7 a[version=1.8,build=py39_0]", SPEC_REQUEST, "1.8", "py39_0"));
	CHECK(matches("pkg>=1.8=py39_0", SPEC_REQUEST, "1.9", "py39_0"));
	CHECK(!matches("pkg>=1.8=py38_0", SPEC_REQUEST, "1.9", "py39_0"));
}

TEST(canonical_form)
{
	check_canonical("foo 1.0 py27_0", "foo==1.0=py27_0");
	check_canonical("foo=1.0=py27_0", "foo==1.0=py27_0");
	check_canonical("conda-forge::foo[version=1.0.*]", "conda-forge::foo=1.0");
	check_canonical("conda-forge/linux-64::foo>=1.0", "conda-forge/linux-64::foo[version='>=1.0']");
	check_canonical("*/linux-64::foo>=1.0", "foo[subdir=linux-64,version='>=1.0']");
	check_canonical("FOO >= 1.0 , < 2 PY_*", "foo[version='>=1.0,<2',build=py_*]");
	check_canonical("foo * *", "foo");
	check_canonical("*", "*");
	check_canonical("foo 1.0 py*", "foo==1.0[build=py*]");
	check_canonical("foo =1.0 py_0", "foo=1.0[build=py_0]");
	check_canonical("foo[license='it\\'s',build_number=3]", "foo[build_number=3,license='it\\'s']");
	check_canonical("ch:ns:foo", "ch::foo");
	check_canonical("foo[build='^py3[89]$',version=1]", "foo==1[build='^py3[89]$']");
	check_canonical("foo[extras=[a, 'b'],flags=blas:*,when='x>=1 and y']",
			"foo[extras=[a,b],flags=[blas:*],when='x>=1 and y']");
	check_canonical("https://conda.example.org/conda-forge/linux-64/python-3.11.10-h1_0.conda",
			"https://conda.example.org/conda-forge/linux-64::python==3.11.10=h1_0");
	check_canonical("foo[channel='a b']", "foo[channel='a b']");
	check_canonical("\"c.:///linux-64::foo", "foo[channel='\"c.:',subdir=linux-64]");
	check_canonical("a/noarch//linux-64::foo", "a/linux-64::foo");
	check_canonical("foo[channel=a^b]", "foo[channel=a^b]"); /* before '::' it would begin a regular expression */
}

TEST(quotes_are_python_literals)
{
	auto_arena a = ARENA_INIT;
	CHECK(str_eq_c(parse(&a, "x[license='\\x41\\t\\\\\\q\\'\\u00e9\\101']", SPEC_REQUEST)->fields->text,
		       "A\t\\\\q'\xc3\xa9"
		       "A"));
	CHECK(str_eq_c(parse(&a, "x[license=r'a\\t']", SPEC_REQUEST)->fields->text, "a\\t"));
	CHECK(str_eq_c(parse(&a, "x[license='''a'b''']", SPEC_REQUEST)->fields->text, "a'b"));
	CHECK(str_eq_c(parse(&a, "x[license=\"a,b=[c] 'd'\"]", SPEC_REQUEST)->fields->text, "a,b=[c] 'd'"));
	CHECK(str_eq_c(parse(&a, "x[ build = \"0\"  license = MIT ]", SPEC_REQUEST)->fields->text, "MIT"));
	check_refused("x[license='a]", SPEC_REQUEST, 11, "quote without its end");
	check_refused("x[license='\\xZZ']", SPEC_REQUEST, 12, "malformed escape");
}

TEST(channel_and_subdir)
{
	auto_arena a = ARENA_INIT;
	struct pkg_record r = record("pkg", "1.8", "0");
	r.channel = STR("https://conda.example.org/conda-forge");
	r.subdir = STR("linux-64");
	static const char *const yes[] = {"conda-forge::pkg",
					  "https://conda.example.org/conda-forge::pkg",
					  "conda-forge/linux-64::pkg",
					  "pkg[channel=conda-forge]",
					  "pkg[subdir=linux-64]",
					  "pkg[subdir='linux-*']",
					  "*::pkg",
					  "pkg[channel='*forge']",
					  "conda-forge:ns:pkg",
					  ":ns:pkg",
					  "::pkg",
					  "*/linux-64::pkg",
					  "https://conda.example.org/conda-forge/linux-64::pkg=1.8",
					  "Conda-Forge::pkg"};
	static const char *const no[] = {
		"forge::pkg",	      "defaults::pkg", "conda-forge/noarch::pkg", "https://a.b/conda-forge::pkg",
		"pkg[subdir=noarch]", "*/noarch::pkg", "conda-forge/label/x::pkg"};
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		CHECK_MSG(pkg_conda.spec_match(parse(&a, yes[i], SPEC_REQUEST), &r), "'%s'", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		CHECK_MSG(!pkg_conda.spec_match(parse(&a, no[i], SPEC_REQUEST), &r), "'%s'", no[i]);
	const struct spec *s = parse(&a, "https://host:8080/t/x/linux-64::pkg 1.8", SPEC_REQUEST);
	CHECK(str_eq_c(spec_channel(s), "https://host:8080/t/x"));
	CHECK(str_eq_c(spec_subdir(s), "linux-64"));
	s = parse(&a, "conda-forge/label/dev::pkg", SPEC_REQUEST);
	CHECK(str_eq_c(spec_channel(s), "conda-forge/label/dev"));
	CHECK(!spec_subdir(s).p);
	CHECK(!pkg_conda.spec_is_version_only(s));
}

TEST(other_fields)
{
	auto_arena a = ARENA_INIT;
	struct pkg_record r = record("pkg", "1.8", "py39_3");
	r.build_number = 3;
	r.license = STR("Apache-2.0");
	r.license_family = STR("Apache");
	r.track_features = STR("a, b");
	r.noarch = STR("python");
	r.size = 1000;
	r.fn = STR("pkg-1.8-py39_3.conda");
	r.has_md5 = r.has_sha256 = true;
	memset(r.md5, 0x12, sizeof(r.md5));
	memset(r.sha256, 0xab, sizeof(r.sha256));
	r.extra_json = STR(
		"\"arch\":\"x86_64\", \"app\":{\"flags\":[\"no\"]},\"flags\":[\"cuda\", \"blas:mkl\"],\"indexed_timestamp\":17,"
		"\"t\":\"\\\"flags\\\":[]\"");
	static const char *const yes[] = {
		"pkg[build_number=3]",
		"pkg[build_number='>=3']",
		"pkg[build_number='!=4']",
		"pkg[build_number='<10']",
		"pkg[license=apache-2.0]",
		"pkg[license='*2.0']",
		"pkg[license_family=APACHE]",
		"pkg[track_features='b a']",
		"pkg[noarch=python]",
		"pkg[size='<=1000']",
		"pkg[fn=pkg-1.8-py39_3.conda]",
		"*[md5=12121212121212121212121212121212]",
		"*[md5='1212*']",
		"*[sha256=ABababababababababababababababababababababababababababababababab]",
		"pkg[arch=x86_64]",
		"pkg[indexed_timestamp='>3']",
		"pkg[flags=cuda]",
		"pkg[flags=[cuda, 'blas:*']]",
		"pkg[flags=\"blas:mkl\"]",
		"pkg[extras=[x]]",
		"pkg[url='https://x/y']",
	};
	static const char *const no[] = {
		"pkg[build_number=4]",
		"pkg[build_number='>3']",
		"pkg[license=MIT]",
		"pkg[track_features=a]",
		"pkg[features=x]",
		"pkg[noarch=generic]",
		"*[md5=02121212121212121212121212121212]",
		"pkg[arch=aarch64]",
		"pkg[platform=linux]",
		"pkg[flags=no]",
		"pkg[flags=[cuda,openmp]]",
		"pkg[fn='*.tar.bz2']",
		"pkg[timestamp='>0']",
		"pkg[size=100]",
		"pkg[python_site_packages_path=x]",
	};
	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++)
		CHECK_MSG(pkg_conda.spec_match(parse(&a, yes[i], SPEC_REQUEST), &r), "'%s'", yes[i]);
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++)
		CHECK_MSG(!pkg_conda.spec_match(parse(&a, no[i], SPEC_REQUEST), &r), "'%s'", no[i]);
	r.has_md5 = false;
	CHECK(!pkg_conda.spec_match(parse(&a, "*[md5='*']", SPEC_REQUEST), &r));
	r.extra_json = STR("\"flags\":[\"cu");
	CHECK(!pkg_conda.spec_match(parse(&a, "pkg[flags=cuda]", SPEC_REQUEST), &r));
	uint8_t digest[SHA256_SIZE];
	CHECK(spec_sha256(parse(&a, yes[13], SPEC_REQUEST), digest));
	CHECK(memcmp(digest, r.sha256, sizeof(digest)) == 0);
	CHECK(!spec_sha256(parse(&a, "pkg", SPEC_REQUEST), digest));
}

TEST(messages_for_people)
{
	check_refused("numpy => 1.2", SPEC_REQUEST, 7, "'=>' is not an operator; did you mean '>='");
	check_refused("numpy =<1.2", SPEC_REQUEST, 7, "did you mean '<='");
	check_refused("numpy <>1.2", SPEC_REQUEST, 7, "did you mean '!='");
	check_refused("numpy===1.2", SPEC_REQUEST, 6, "did you mean '=='");
	check_refused("numpy ~1.2", SPEC_REQUEST, 7, "did you mean '~='");
	check_refused("numpy !1.2", SPEC_REQUEST, 7, "did you mean '!='");
	check_refused("numpy ^1.2", SPEC_REQUEST, 7, "'^' is not an operator");
	check_refused("numpy &1.2", SPEC_REQUEST, 7, "'&' is neither an operator nor part of a version");
	check_refused("numpy >=1.8 <2", SPEC_REQUEST, 13, "joined with ','");
	check_refused("numpy >=1.8<2", SPEC_REQUEST, 12, "without ',' (and) or '|' (or) between them");
	check_refused("numpy >=", SPEC_REQUEST, 9, "expected a version after '>='");
	check_refused("numpy >=,<2", SPEC_REQUEST, 9, "expected a version");
	check_refused("numpy 1.8|", SPEC_REQUEST, 11, "expected a version");
	check_refused("numpy 1.8,", SPEC_REQUEST, 11, "expected a version");
	check_refused("numpy ,1.8", SPEC_REQUEST, 7, "expected a version");
	check_refused("numpy 1..8", SPEC_REQUEST, 9, "empty segment in '1..8'");
	check_refused("numpy 1.8..*", SPEC_REQUEST, 11, "empty segment");
	check_refused("numpy ~=1", SPEC_REQUEST, 9, "needs two segments");
	check_refused("numpy (1.8", SPEC_REQUEST, 11, "expected ')' for the '(' in column 7");
	check_refused("numpy 1.8)", SPEC_REQUEST, 10, "')' without '('");
	check_refused("numpy ()", SPEC_REQUEST, 8, "expected a version");
	check_refused("numpy 1.8 py39_0 extra", SPEC_REQUEST, 18, "more than name, version and build");
	check_refused("numpy=1.8=py39_0=extra", SPEC_REQUEST, 10, "more than name, version and build");
	check_refused("numpy=1.8=", SPEC_REQUEST, 10, "expected a build string");
	check_refused("numpy=1.8 py39_0", SPEC_REQUEST, 11, "both separate fields");
	check_refused("numpy[verson=1]", SPEC_REQUEST, 7, "unknown key 'verson'; did you mean 'version'");
	check_refused("numpy[zzzzzzzz=1]", SPEC_REQUEST, 7, "unknown key 'zzzzzzzz'; known are");
	check_refused("numpy[version]", SPEC_REQUEST, 7, "'version' has no value");
	check_refused("numpy[version=]", SPEC_REQUEST, 15, "expected a value");
	check_refused("numpy[version=\"\"]", SPEC_REQUEST, 15, "empty value");
	check_refused("numpy[version=>=1.8]", SPEC_REQUEST, 16, "must be quoted");
	check_refused("numpy[version=1.8,version=1.9]", SPEC_REQUEST, 19, "given twice");
	check_refused("numpy[version=1.8", SPEC_REQUEST, 6, "'[' without ']'");
	check_refused("numpy[version=1.8]]", SPEC_REQUEST, 19, "unexpected text");
	check_refused("numpy[version=1.8][build=0]", SPEC_REQUEST, 19, "unexpected text");
	check_refused("numpy[version=1.8,]", SPEC_REQUEST, 18, "without a key after it");
	check_refused("numpy[version='1.8'build=0]", SPEC_REQUEST, 20, "expected ',' or ']'");
	check_refused("numpy[md5=12]", SPEC_REQUEST, 11, "not 32 hex digits");
	check_refused("numpy[build_number=x]", SPEC_REQUEST, 20, "neither a number nor a comparison");
	check_refused("numpy[version=[1,2]]", SPEC_REQUEST, 15, "a list is no value");
	check_refused("numpy[build='^(a$']", SPEC_REQUEST, 18, "'(' without ')'");
	check_refused("conda-forge:numpy", SPEC_REQUEST, 12, "'::'");
	check_refused("https://x/numpy", SPEC_REQUEST, 6, "'::'");
	check_refused("conda-forge/numpy", SPEC_REQUEST, 12, "'channel::name'");
	check_refused("numpy@1.8", SPEC_REQUEST, 6, "'@' is not supported");
	check_refused("numpy(optional=True)", SPEC_REQUEST, 6, "not supported");
	check_refused("numpy[version=1](optional=True)", SPEC_REQUEST, 17, "not supported");
	check_refused("@mkl", SPEC_REQUEST, 1, "not supported");
	check_refused("numpy;1.8", SPEC_REQUEST, 6, "[when=");
	check_refused(">=1.8", SPEC_REQUEST, 1, "no package name");
	check_refused("[version=1.8]", SPEC_REQUEST, 1, "no package name");
	check_refused("", SPEC_REQUEST, 1, "empty spec");
	check_refused("  ", SPEC_REQUEST, 1, "empty spec");
	check_refused("num\x01py", SPEC_REQUEST, 4, "control character");
	check_refused("num\xc3\xa9", SPEC_REQUEST, 4, "a name has only");
}

TEST(hostile_sizes_are_bounded)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	buf_put_c(&b, "a ");
	for (int i = 0; i < 5000; i++)
		buf_put_c(&b, "(");
	CHECK(!pkg_conda.spec_parse(&a, buf_str(&b), SPEC_DEPENDENCY, &e));
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK(!pkg_conda.spec_parse(&a, str_head(buf_str(&b), 4000), SPEC_DEPENDENCY, &e));
	CHECK_INT(e.code, ERR_LIMIT);
	buf_clear(&b);
	buf_put_c(&b, "a 1");
	for (int i = 0; i < 1000; i++)
		buf_put_c(&b, "|1");
	CHECK(!pkg_conda.spec_parse(&a, buf_str(&b), SPEC_DEPENDENCY, &e));
	CHECK_INT(e.code, ERR_LIMIT);
	buf_clear(&b);
	buf_put_c(&b, "a[when='");
	for (int i = 0; i < 1000; i++)
		buf_put_c(&b, "(");
	buf_put_c(&b, "']");
	CHECK(!pkg_conda.spec_parse(&a, buf_str(&b), SPEC_REQUEST, &e));
	CHECK_INT(e.code, ERR_LIMIT);
}

TEST(conditions)
{
	auto_arena a = ARENA_INIT;
	const struct spec *s =
		parse(&a, "numpy>=2[when=\"python>=3.10 and (a or b[version='>1',license='x y'])\"]", SPEC_REQUEST);
	const struct spec_condition *c = spec_condition(s);
	CHECK(str_eq_c(spec_when(s), "python>=3.10 and (a or b[version='>1',license='x y'])") == true);
	CHECK_INT(c->op, SPEC_CONDITION_AND);
	CHECK(str_eq_c(spec_name(c->left->spec), "python"));
	CHECK_INT(c->right->op, SPEC_CONDITION_OR);
	CHECK(str_eq_c(spec_name(c->right->right->spec), "b"));
	c = spec_condition(parse(&a, "x[when='a or b and c']", SPEC_REQUEST));
	CHECK_INT(c->op, SPEC_CONDITION_OR);
	CHECK_INT(c->right->op, SPEC_CONDITION_AND);
	CHECK(!spec_condition(parse(&a, "x", SPEC_REQUEST)));
	c = spec_condition(parse(&a, "package[version=2,build_number=0,when=__unix]", SPEC_V3));
	CHECK(str_eq_c(spec_name(c->spec), "__unix"));
	check_refused("x[when='a and']", SPEC_REQUEST, 14, "expected a package");
	check_refused("x[when='a b']", SPEC_REQUEST, 11, "expected 'and' or 'or'");
	check_refused("x[when='(a']", SPEC_REQUEST, 11, "'(' without ')'");
	check_refused("x[when='a)']", SPEC_REQUEST, 10, "')' without '('");
	check_refused("x[when='a[when=b]']", SPEC_REQUEST, 8, "'when' inside a 'when'");
}

TEST(extras)
{
	auto_arena a = ARENA_INIT;
	const struct str *list;
	CHECK_INT(spec_extras(parse(&a, "x[extras=\"group-name\"]", SPEC_REQUEST), &list), 1);
	CHECK(str_eq_c(list[0], "group-name"));
	CHECK_INT(spec_extras(parse(&a, "x[extras=[ a , 'b.c' ]]", SPEC_REQUEST), &list), 2);
	CHECK(str_eq_c(list[1], "b.c"));
	CHECK_INT(spec_extras(parse(&a, "x", SPEC_REQUEST), &list), 0);
	check_refused("x[extras=Group]", SPEC_REQUEST, 10, "not the name of a group");
	check_refused("x[extras='a,b']", SPEC_REQUEST, 10, "several: [a, b]");
	check_refused("x[flags='a:b:c']", SPEC_REQUEST, 9, "not a flag");
	check_refused("x[flags=[a", SPEC_REQUEST, 9, "'[' without ']'");
	check_refused("numpy[test]", SPEC_REQUEST, 7, "extras [extras=[a, b]]");
}

TEST(version_3_dependencies)
{
	auto_arena a = ARENA_INIT;
	parse(&a, "pip", SPEC_V3 | SPEC_DEPENDENCY);
	parse(&a, "name[version=\"1.2.*\",build_number=0]", SPEC_V3);
	parse(&a, "x[build='a*',extras=[a],flags=[b]]", SPEC_V3);
	check_refused("pip[]", SPEC_V3, 4, "empty brackets");
	check_refused("pip >=1", SPEC_V3, 5, "in brackets");
	check_refused("pip>=1", SPEC_V3, 4, "in brackets");
	check_refused("c::pip", SPEC_V3, 1, "names no channel");
	check_refused("pip[md5=12345678901234567890123456789012]", SPEC_V3, 5, "may not stand");
	check_refused("pi*", SPEC_V3, 1, "names one package");
}

/* What old channels hold, with the meaning that conda and rattler give it. */
TEST(dependencies_are_read_tolerantly)
{
	enum spec_flags d = SPEC_DEPENDENCY;
	CHECK(matches("pkg >=1.8,<2.0a0", d, "1.9", "0"));
	CHECK(!matches("pkg >=1.8,<2.0a0", d, "2.0rc1", "0"));
	CHECK(matches("pkg 2.7.*|3.6.*", d, "3.6.1", "0"));
	CHECK(matches("pkg >=1.0.1.*", d, "1.0.1", "0"));
	CHECK(matches("pkg >2.10*", d, "2.10.3", "0"));
	CHECK(!matches("pkg >2.10.*", d, "2.10", "0"));
	CHECK(matches("pkg <=2.10.*", d, "2.10", "0"));
	CHECK(matches("pkg ~=1.8.*", d, "1.9", "0"));
	CHECK(matches("pkg =1.8*", d, "1.8.4", "0"));
	CHECK(matches("pkg 1.8.3 1", d, "1.8.3", "1"));
	CHECK(!matches("pkg 1.8.3 1", d, "1.8.3", "2"));
	CHECK(matches("pkg >=1.8,", d, "1.8", "0"));
	CHECK(matches("pkg >=1.8,,<2", d, "1.8", "0"));
	CHECK(matches("pkg * openblas", d, "1.8", "openblas"));
	CHECK(matches("pkg 1.8 openblas", d, "1.8", "openblas"));
	CHECK(matches("pkg[version=>=1.8,build=*]", d, "1.8", "openblas"));
	CHECK(matches("pkg[version=1.8,version=1.9]", d, "1.9", "0"));
	CHECK(matches("pkg[version=1.8,]", d, "1.8", "0"));
	CHECK(matches("pkg !=1.2.*,!=1.3", d, "1.8", "0"));
	CHECK(matches("pkg ~=1", d, "1.8", "0"));
	CHECK(!matches("pkg ==99999999999", d, "1.8", "0"));
	CHECK(matches("ns:pkg", d, "1.8", "0"));
	CHECK(!matches("pkg >=1.8 <2", d, "1.8", "0"));
	CHECK(matches("pkg 1.8|1.8.*", d, "1.8.2", "0"));
}

TEST(looser_reading_is_told)
{
	auto_arena a = ARENA_INIT;
	CHECK(spec_would_match_loosely(parse(&a, "openssl 1.1.1*", SPEC_REQUEST), STR("1.1.1k")));
	CHECK(spec_would_match_loosely(parse(&a, "openssl >=1,1.1.1*|3.*", SPEC_REQUEST), STR("1.1.1k")));
	CHECK(!spec_would_match_loosely(parse(&a, "openssl 1.1.1*", SPEC_REQUEST), STR("1.1.1")));
	CHECK(!spec_would_match_loosely(parse(&a, "openssl 1.1.1*", SPEC_REQUEST), STR("1.1.2k")));
	CHECK(!spec_would_match_loosely(parse(&a, "openssl", SPEC_REQUEST), STR("1.1.1k")));
	CHECK(!spec_would_match_loosely(parse(&a, "openssl >=3", SPEC_REQUEST), STR("1.1.1k")));
}

TEST(dependencies_are_read_loosely)
{
	enum spec_flags d = SPEC_DEPENDENCY;
	CHECK(matches("pkg 1.0.2*", d, "1.0.2l", "0"));
	CHECK(matches("pkg 1.0.2.*", d, "1.0.2l", "0"));
	CHECK(matches("pkg =1.0.2", d, "1.0.2", "0"));
	CHECK(matches("pkg 9*", d, "9b", "0"));
	CHECK(matches("pkg 1.1.1*", d, "1.1.1a.3", "0"));
	CHECK(matches("pkg ~=1.1.0", d, "1.1rc2.0", "0") == matches("pkg >=1.1.0,1.1.*", d, "1.1rc2.0", "0"));
	CHECK(!matches("pkg 1.0.2*", d, "1.0.20", "0"));
	CHECK(!matches("pkg 1.0.2*", d, "1.0.1l", "0"));
	CHECK(!matches("pkg 1.1.1*", d, "1.1c.1", "0")); /* only the last segment may go on */
	CHECK(!matches("pkg 1.1.1*", d, "1.1", "0"));
	CHECK(!matches("pkg !=1.0.2*", d, "1.0.2l", "0"));
	CHECK(!matches("pkg 1.0.2*", SPEC_REQUEST, "1.0.2l", "0"));
	CHECK(!matches("pkg[version='1.0.2*']", d | SPEC_V3, "1.0.2l", "0"));
}

/* -- regular expressions ------------------------------------------------------------------------------------------- */
static bool regex(const char *re, const char *text)
{
	auto_arena a = ARENA_INIT;
	const struct regex *r;
	size_t at;
	const char *fault = regex_compile(&a, str_c(re), &r, &at);
	CHECK_MSG(!fault, "'%s': %s", re, fault);
	return regex_search(r, str_c(text));
}

static const char *regex_fault(const char *re)
{
	auto_arena a = ARENA_INIT;
	const struct regex *r;
	size_t at;
	const char *fault = regex_compile(&a, str_c(re), &r, &at);
	return fault ? fault : "(none)";
}

TEST(regular_expressions)
{
	static const struct {
		const char *re, *yes, *no;
	} cases[] = {
		{"^abc$", "ABC", "abcd"},	  {"^a.c$", "axc", "ac"},
		{"^a*$", "aaaa", "aab"},	  {"^a+$", "aaa", ""},
		{"^ab?c$", "ac", "abbc"},	  {"^(ab|cd)+$", "abcdab", "abc"},
		{"^a|b$", "xxb", "xa"},		  {"^[a-c]+$", "abcC", "abd"},
		{"^[^a-c]+$", "xyz", "xBz"},	  {"^[]a]+$", "]a", "b"},
		{"^[a-]+$", "a-a", "b"},	  {"^\\d{2,3}$", "123", "1234"},
		{"^\\d{2,}$", "123456", "1"},	  {"^\\d{2}$", "12", "123"},
		{"^x{,2}$", "xx", "xxx"},	  {"^\\w+\\.\\w+$", "a_1.b", "a b"},
		{"^(?:a|b)*?c$", "ababc", "abd"}, {"^py3[89]_\\d+$", "py39_12", "py310_1"},
		{"^\\S+$", "ab", "a b"},	  {"^a\\b.*$", "a b", "ab"},
		{"^(a|)(b|c){2}$", "bc", "abcb"}, {"^((a{2}){2}){2}$", "aaaaaaaa", "aaaaaaa"},
		{"^a{x}$", "a{x}", "ax"},	  {"^(|a)+$", "aa", "b"},
		{"^\\x41\\t$", "a\t", "a"},	  {"^(a*)*$", "aaa", "b"},
		{"^a(b|c|d)e$", "ade", "ae"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		CHECK_MSG(regex(cases[i].re, cases[i].yes), "'%s' on '%s'", cases[i].re, cases[i].yes);
		CHECK_MSG(!regex(cases[i].re, cases[i].no), "'%s' on '%s'", cases[i].re, cases[i].no);
	}
}

TEST(regular_expressions_refused)
{
	CHECK(strstr(regex_fault("^(a$"), "'(' without ')'"));
	CHECK(strstr(regex_fault("^a)$"), "')' without '('"));
	CHECK(strstr(regex_fault("^[a$"), "'[' without ']'"));
	CHECK(strstr(regex_fault("^*$"), "(none)") == NULL);
	CHECK(strstr(regex_fault("^a**$"), "multiple repeat"));
	CHECK(strstr(regex_fault("^(a)\\1$"), "back-references"));
	CHECK(strstr(regex_fault("^(?=a)$"), "not supported"));
	CHECK(strstr(regex_fault("^(?P<x>a)$"), "not supported"));
	CHECK(strstr(regex_fault("^[z-a]$"), "backwards"));
	CHECK(strstr(regex_fault("^a{3,2}$"), "backwards"));
	CHECK(strstr(regex_fault("^a{999}$"), "too large"));
	CHECK(strstr(regex_fault("^((((a{9}){9}){9}){9})$"), "too large"));
	CHECK(strstr(regex_fault("^\\"), "trailing"));
	CHECK(strstr(regex_fault("^((((((((((((((((((((((((((((((((((a"), "too deeply"));
}

/* Expressions that make a backtracking matcher run for years. */
TEST(hostile_regular_expressions_are_linear)
{
	char text[3001];
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	alarm(20);
	CHECK(!regex("^(a+)+b$", text));
	CHECK(!regex("^(a|a)*b$", text));
	CHECK(!regex("^(a?){200}a{200}b$", text));
	CHECK(!regex("^(.*)(.*)(.*)(.*)(.*)[xyz]$", text));
	auto_arena a = ARENA_INIT;
	struct pattern p;
	size_t at;
	CHECK(!pattern_read(&a, STR("*a*a*a*a*a*a*a*a*a*a*a*b"), &p, &at));
	CHECK(!pattern_match(&p, str_of(text, 3000)));
}

/* -- real dependencies ---------------------------------------------------------------------------------------------- */
/* Calls use() for each string of each "depends" and "constrains" list in a JSON text. */
static void each_dependency(struct str t, void (*use)(struct str))
{
	static const struct str keys[] = {STR("\"depends\""), STR("\"constrains\"")};
	for (size_t k = 0; k < 2; k++) {
		struct str s = t;
		ptrdiff_t at;
		while ((at = str_search(s, keys[k])) >= 0) {
			struct str list, item;
			s = str_skip(s, (size_t)at + keys[k].n);
			if (!str_take_until(&s, '[', &list) || !str_take_until(&s, ']', &list))
				break;
			while (str_take_until(&list, '"', &item) && str_take_until(&list, '"', &item))
				use(item);
		}
	}
}

static unsigned dependencies;

static void check_dependency(struct str text)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	dependencies++;
	const struct spec *s = pkg_conda.spec_parse(&a, text, SPEC_DEPENDENCY, &e);
	CHECK_MSG(s, "%s", e.msg);
	CHECK_MSG(pkg_conda.spec_parse(&a, text, SPEC_REQUEST, &e), "%s", e.msg);
	auto_buf b = BUF_INIT(BUF_MAX), again = BUF_INIT(BUF_MAX);
	pkg_conda.spec_format(s, &b);
	s = pkg_conda.spec_parse(&a, buf_str(&b), SPEC_REQUEST, &e);
	CHECK_MSG(s, "canonical form of '%.*s': %s", STR_ARG(text), e.msg);
	pkg_conda.spec_format(s, &again);
	CHECK_STR(again.p, b.p);
}

TEST(every_real_dependency_is_read)
{
	static const char *const files[] = {"pair-2021-07-01/noarch-repodata.json",
					    "pair-2021-07-01/linux-aarch64-repodata.json",
					    "index/index.json",
					    "index/index2.json",
					    "index/index4.json",
					    "index/index5.json",
					    "index/main_noarch.json"};
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		char path[128];
		struct stat st;
		snprintf(path, sizeof(path), "data/conda/%s", files[i]);
		const char *name = test_shared(path);
		FILE *f = fopen(name, "re");
		CHECK(f && fstat(fileno(f), &st) == 0);
		char *text = malloc((size_t)st.st_size);
		CHECK(text && fread(text, 1, (size_t)st.st_size, f) == (size_t)st.st_size);
		fclose(f);
		each_dependency(str_of(text, (size_t)st.st_size), check_dependency);
		free(text);
	}
	CHECK(dependencies > 50000);
}
