// SPDX-License-Identifier: Apache-2.0
#include "base/yaml.h"

#include "lib/test.h"

static const struct yaml *parse_at(struct arena *a, const char *text, int line)
{
	struct err e = ERR_INIT;
	const struct yaml *y = yaml_parse(a, str_c(text), "f.yml", &e);
	if (!y)
		test_fail(__FILE__, line, "%s", e.msg);
	return y;
}
#define PARSE(a, z) parse_at((a), (z), __LINE__)

static void check_rejected(struct str text, enum err_code code, const char *msg, int line)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	if (yaml_parse(&a, text, "f.yml", &e))
		test_fail(__FILE__, line, "'%.*s' was accepted", STR_ARG(text));
	test_check_str(__FILE__, line, "message", e.msg, msg);
	test_check_int(__FILE__, line, "code", e.code, code);
}
#define REJECTED(z, code, msg) check_rejected(STR(z), code, "f.yml:" msg, __LINE__)

TEST(environment)
{
	auto_arena a = ARENA_INIT;
	const struct yaml *y = PARSE(&a, "name: tools\n"
					 "channels:\n"
					 "  - conda-forge\n"
					 "dependencies:\n"
					 "  - python=3.10\n"
					 "  - \"numpy >=1.8\"\n"
					 "  - pip:\n"
					 "      - x==1 # comment\n"
					 "version: 1.10\n");
	CHECK_INT(y->type, YAML_MAP);
	CHECK_INT(y->n, 4);
	CHECK(str_eq_c(yaml_get(y, "name")->scalar, "tools"));
	const struct yaml *d = yaml_get(y, "dependencies");
	CHECK(d->type == YAML_LIST && d->n == 3);
	CHECK_INT(d->line, 5);
	CHECK(str_eq_c(d->item[0].scalar, "python=3.10") && d->item[0].plain && d->item[0].line == 5);
	CHECK(str_eq_c(d->item[1].scalar, "numpy >=1.8") && !d->item[1].plain);
	CHECK_INT(d->item[2].type, YAML_MAP);
	CHECK(str_eq_c(d->item[2].pair[0].value.item[0].scalar, "x==1"));
	CHECK(str_eq_c(yaml_get(y, "version")->scalar, "1.10"));
	CHECK_INT(y->pair[3].line, 9);
	CHECK(yaml_get(y, "none") == NULL && yaml_get(d, "x") == NULL && yaml_get(NULL, "x") == NULL);
}

TEST(nulls)
{
	auto_arena a = ARENA_INIT;
	const struct yaml *y = PARSE(&a, "a:\nb: ~\nc: null\nd: 'null'\ne: \"\"\nf: no\ng: []\nh: !!str\n");
	static const bool want[] = {true, true, true, false, false, false, false, false};
	for (uint32_t i = 0; i < y->n; i++)
		CHECK_MSG(yaml_is_null(&y->pair[i].value) == want[i], "%s", y->pair[i].key.p);
	CHECK(yaml_is_null(PARSE(&a, "")) && yaml_is_null(PARSE(&a, "# only a comment\n")) &&
	      yaml_is_null(PARSE(&a, "---\n")));
}

TEST(text_and_checks_of_ones_own)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	const struct yaml *y = PARSE(&a, "a: x\nb:\n  - 1\nc:\n");
	struct str s;
	CHECK(yaml_str(yaml_get(y, "a"), "a", &s, &e) == 0 && str_eq_c(s, "x"));
	CHECK_INT(yaml_str(yaml_get(y, "b"), "b", &s, &e), -1);
	CHECK_STR(e.msg, "f.yml:3: 'b' must be text");
	CHECK_INT(yaml_str(yaml_get(y, "c"), "c", &s, &e), -1);
	CHECK_INT(yaml_error(yaml_get(y, "a"), &e, "%s is not %d", "x", 7), -1);
	CHECK_STR(e.msg, "f.yml:1: x is not 7");
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(styles)
{
	auto_arena a = ARENA_INIT;
	const struct yaml *y = PARSE(
		&a, "\xef\xbb\xbf%YAML 1.1\n---\na: |\n  x\n  y\nb: >-\n  x\n  y\nc: {d: [1, 2], e: 'it''s'}\n...\n");
	CHECK(str_eq_c(yaml_get(y, "a")->scalar, "x\ny\n") && !yaml_get(y, "a")->plain);
	CHECK(str_eq_c(yaml_get(y, "b")->scalar, "x y"));
	CHECK_INT(yaml_get(yaml_get(y, "c"), "d")->n, 2);
	CHECK(str_eq_c(yaml_get(yaml_get(y, "c"), "e")->scalar, "it's"));
	CHECK(str_eq_c(PARSE(&a, "just text")->scalar, "just text"));
}

TEST(refused)
{
	REJECTED("a: &x 1\nb: *x\n", ERR_UNSUPPORTED, "1: anchors ('&x') are not supported; write the value out");
	REJECTED("a: &x [1]\n", ERR_UNSUPPORTED, "1: anchors ('&x') are not supported; write the value out");
	REJECTED("a: 1\nb: *x\n", ERR_UNSUPPORTED, "2: aliases ('*x') are not supported; write the value out");
	REJECTED("*x : 1\n", ERR_INPUT, "1: a key must be plain text");
	REJECTED("a: !!python/object:os.system x\n", ERR_UNSUPPORTED,
		 "1: tag 'tag:yaml.org,2002:python/object:os.system' is not supported; remove it");
	REJECTED("a: !own {x: 1}\n", ERR_UNSUPPORTED, "1: tag '!own' is not supported; remove it");
	REJECTED("a: 1\nb: 2\na: 3\n", ERR_INPUT, "3: key 'a' comes twice, first at line 1");
	REJECTED("a: 1\n---\nb: 2\n", ERR_INPUT, "2: a second document begins; only one is allowed");
	REJECTED("%TAG ! tag:x,2000:\n---\na\n", ERR_UNSUPPORTED, "1: '%TAG' is not supported; remove it");
	REJECTED("a\n...\n%TAG ! tag:x,2000:\n", ERR_UNSUPPORTED, "3: '%TAG' is not supported; remove it");
	REJECTED("[a]: 1\n", ERR_INPUT, "1: a key must be plain text");
}

TEST(malformed)
{
	REJECTED("a: [1,\nb: 2\n", ERR_INPUT,
		 "3: did not find expected ',' or ']', while parsing a flow sequence that begins at line 1");
	REJECTED(
		"a: 1\n\tb: 2\n", ERR_INPUT,
		"2: found a tab character that violates indentation, while scanning a plain scalar that begins at line 1");
	REJECTED("a: 'x\n", ERR_INPUT,
		 "2: found unexpected end of stream, while scanning a quoted scalar that begins at line 1");
	REJECTED("a: \xff\n", ERR_INPUT, " offset 3: invalid leading UTF-8 octet");
	REJECTED("a: \x01\n", ERR_INPUT, " offset 3: control characters are not allowed");
	REJECTED("a: b: c\n", ERR_INPUT, "1: mapping values are not allowed in this context");
}

TEST(bounds)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	for (int i = 0; i < 32; i++)
		buf_put_char(&b, '[');
	for (int i = 0; i < 32; i++)
		buf_put_char(&b, ']');
	PARSE(&a, b.p);
	buf_clear(&b);
	for (int i = 0; i < 500; i++)
		buf_put_char(&b, '[');
	check_rejected(buf_str(&b), ERR_LIMIT, "f.yml:1: nested more than 32 deep", __LINE__);
	buf_clear(&b);
	for (int i = 0; i < 99999; i++)
		buf_put_c(&b, "- a\n");
	CHECK_INT(PARSE(&a, b.p)->n, 99999);
	buf_put_c(&b, "- a\n");
	check_rejected(buf_str(&b), ERR_LIMIT, "f.yml:100000: more than 100000 values", __LINE__);
	while (b.n <= 1 << 20)
		buf_put_c(&b, "# more\n");
	check_rejected(buf_str(&b), ERR_LIMIT, "f.yml: larger than 1 MiB", __LINE__);
}

TEST(no_quadratic_time)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_arena a = ARENA_INIT;
	for (int i = 0; i < 45000; i++)
		buf_printf(&b, "k%d: {a}\n", i % 2 ? i : -i); /* about 90,000 nodes and keys */
	struct err e = ERR_INIT;
	CHECK(yaml_parse(&a, buf_str(&b), "f.yml", &e) == NULL && e.code == ERR_LIMIT);
}

TEST(scalars_read_back_the_same)
{
	static const struct {
		struct str s;
		const char *want;
	} t[] = {
		{STR("python"), "python"},
		{STR("python=3.10"), "python=3.10"},
		{STR("numpy >=1.20,<2"), "'numpy >=1.20,<2'"},
		{STR("conda-forge::h5py"), "conda-forge::h5py"},
		{STR("https://example.org/c"), "https://example.org/c"},
		{STR("/srv/channel"), "/srv/channel"},
		{STR("1.10"), "'1.10'"},
		{STR("1e5"), "'1e5'"},
		{STR("0x1F"), "'0x1F'"},
		{STR("2026-11-21"), "'2026-11-21'"},
		{STR("12:30:45"), "'12:30:45'"},
		{STR("7zip"), "7zip"},
		{STR(".5"), "'.5'"},
		{STR("-1"), "'-1'"},
		{STR("no"), "'no'"},
		{STR("True"), "'True'"},
		{STR("~"), "'~'"},
		{STR(""), "''"},
		{STR(" a"), "' a'"},
		{STR("a "), "'a '"},
		{STR("a: b"), "'a: b'"},
		{STR("a:"), "'a:'"},
		{STR("a #b"), "'a #b'"},
		{STR("[a]"), "'[a]'"},
		{STR("it's"), "'it''s'"},
		{STR("*"), "'*'"},
		{STR("a\nb"), "\"a\\nb\""},
		{STR("a\t\"\\\x01"), "\"a\\t\\\"\\\\\\u0001\""},
		{STR("caf\xc3\xa9"), "\"caf\xc3\xa9\""},
		{STR("\xe2\x80\xa8\xef\xbb\xbf\xc2\x85"), "\"\\u2028\\ufeff\\u0085\""},
		{STR("\xf0\x9f\x98\x80"), "\"\xf0\x9f\x98\x80\""},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		auto_arena a = ARENA_INIT;
		auto_buf b = BUF_INIT(BUF_MAX);
		yaml_put_scalar(&b, t[i].s);
		CHECK_STR(b.p, t[i].want);
		auto_buf doc = BUF_INIT(BUF_MAX);
		buf_printf(&doc, "k: %s\nl: [%s, %s]\n%s: 1\n", b.p, b.p, b.p, b.p);
		const struct yaml *y = PARSE(&a, doc.p);
		CHECK_MSG(str_eq(yaml_get(y, "k")->scalar, t[i].s), "%s", b.p);
		CHECK_INT(yaml_get(y, "l")->n, 2);
		CHECK_MSG(str_eq(yaml_get(y, "l")->item[1].scalar, t[i].s), "%s", b.p);
		CHECK_MSG(str_eq(y->pair[2].key, t[i].s), "%s", b.p);
		CHECK(!yaml_is_null(yaml_get(y, "k")));
	}
}

TEST(the_tree_outlives_text_and_name)
{
	auto_arena a = ARENA_INIT;
	char *text = strdup("k: v\n"), *where = strdup("file");
	struct err e = ERR_INIT;
	const struct yaml *y = yaml_parse(&a, str_c(text), where, &e);
	free(text);
	free(where);
	CHECK(y && str_eq_c(yaml_get(y, "k")->scalar, "v"));
	CHECK_STR(y->where, "file");
}
