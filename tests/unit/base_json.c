// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <locale.h>
#include <math.h>

#include "lib/test.h"

static const struct json *parse_at(struct arena *a, struct str text, const char *file, int line)
{
	struct err e = ERR_INIT;
	const struct json *j = json_parse(a, text, "t", &e);
	if (!j)
		test_fail(file, line, "'%.*s': %s", STR_ARG(text), e.msg);
	return j;
}
#define PARSE(a, z) parse_at((a), str_c(z), __FILE__, __LINE__)

static void check_rejected(struct str text, enum err_code code, const char *msg, int line)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	/* an exact heap copy: a read past the end is seen by the sanitizer */
	char *copy = memcpy(malloc(text.n + 1), text.p, text.n);
	const struct json *j = json_parse(&a, str_of(copy, text.n), "t", &e);
	free(copy);
	if (j)
		test_fail(__FILE__, line, "'%.*s' was accepted", STR_ARG(text));
	test_check_str(__FILE__, line, "message", e.msg, msg);
	test_check_int(__FILE__, line, "code", e.code, code);
}
#define REJECTED(z, msg) check_rejected(STR(z), ERR_INPUT, "t: " msg, __LINE__)

TEST(values)
{
	auto_arena a = ARENA_INIT;
	const struct json *j = PARSE(&a, " {\"a\" : [1, -2.5, true, false, null, \"x\"], \"b\":{} , \"c\":[]}\n");
	CHECK_INT(j->type, JSON_OBJECT);
	CHECK_INT(j->n, 3);
	CHECK_INT(j->offset, 1);
	const struct json *v = json_get(j, "a");
	CHECK(v && v->type == JSON_ARRAY && v->n == 6);
	CHECK(v->item[0].type == JSON_INT && v->item[0].integer == 1);
	CHECK(v->item[1].type == JSON_DOUBLE && fabs(v->item[1].number + 2.5) < 1e-12);
	CHECK(v->item[2].type == JSON_BOOL && v->item[2].boolean);
	CHECK(v->item[3].type == JSON_BOOL && !v->item[3].boolean);
	CHECK_INT(v->item[4].type, JSON_NULL);
	CHECK(v->item[5].type == JSON_STRING && str_eq_c(v->item[5].string, "x"));
	CHECK_INT(v->item[5].offset, 37);
	CHECK(json_get(j, "b")->type == JSON_OBJECT && json_get(j, "b")->n == 0);
	CHECK(json_get(j, "c")->type == JSON_ARRAY && json_get(j, "c")->n == 0);
	CHECK(json_get(j, "d") == NULL && json_get(v, "a") == NULL && json_get(NULL, "a") == NULL);
	CHECK_INT(PARSE(&a, "7")->integer, 7);
	CHECK_INT(PARSE(&a, "\xef\xbb\xbf[]")->type, JSON_ARRAY);
}

TEST(order_is_kept_and_the_last_key_counts)
{
	auto_arena a = ARENA_INIT;
	const struct json *j = PARSE(&a, "{\"z\":1,\"a\":2,\"z\":3}");
	CHECK_INT(j->n, 3);
	CHECK(str_eq_c(j->member[0].key, "z") && str_eq_c(j->member[1].key, "a"));
	CHECK_INT(json_get(j, "z")->integer, 3);
}

TEST(integers_are_exact)
{
	auto_arena a = ARENA_INIT;
	CHECK(PARSE(&a, "9223372036854775807")->integer == INT64_MAX);
	CHECK(PARSE(&a, "-9223372036854775808")->integer == INT64_MIN);
	CHECK_INT(PARSE(&a, "9007199254740993")->integer, 9007199254740993);
	CHECK_INT(PARSE(&a, "-0")->integer, 0);
	const struct json *j = PARSE(&a, "9223372036854775808");
	CHECK(j->type == JSON_DOUBLE && j->number > 9.2e18);
	CHECK_INT(PARSE(&a, "1.0")->type, JSON_DOUBLE);
	j = PARSE(&a, "-1.5E+2");
	CHECK(j->type == JSON_DOUBLE && fabs(j->number + 150) < 1e-9);
	CHECK_INT(PARSE(&a, "1e-400")->type, JSON_DOUBLE);
}

TEST(malformed_numbers)
{
	REJECTED("01", "offset 0: malformed number (line 1)");
	REJECTED("-", "offset 0: malformed number (line 1)");
	REJECTED("-a", "offset 0: malformed number (line 1)");
	REJECTED("1.", "offset 0: malformed number (line 1)");
	REJECTED("1.e3", "offset 0: malformed number (line 1)");
	REJECTED("1e", "offset 0: malformed number (line 1)");
	REJECTED("1e+", "offset 0: malformed number (line 1)");
	REJECTED(".5", "offset 0: expected a value (line 1)");
	REJECTED("+1", "offset 0: expected a value (line 1)");
	REJECTED("0x10", "offset 1: text after the end of the document (line 1)");
	REJECTED("NaN", "offset 0: expected a value (line 1)");
	REJECTED("1e999", "offset 0: a number is too large (line 1)");
	char big[2000];
	memset(big, '1', sizeof(big));
	check_rejected(str_of(big, sizeof(big)), ERR_INPUT,
		       "t: offset 0: a number has more than 1024 characters (line 1)", __LINE__);
}

TEST(strings)
{
	auto_arena a = ARENA_INIT;
	static const struct {
		const char *json;
		struct str want;
	} t[] = {
		{"\"\"", STR("")},
		{"\"1234567\"", STR("1234567")},
		{"\"12345678\"", STR("12345678")},
		{"\"123456789abcdef0\"", STR("123456789abcdef0")},
		{"\"a\\\"b\\\\c\\/d\\b\\f\\n\\r\\t\"", STR("a\"b\\c/d\b\f\n\r\t")},
		{"\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00!\"", STR("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!")},
		{"\"\\u0000x\"", STR("\0x")},
		{"\"\\ufffe\\ue000\\ud7ff\"", STR("\xef\xbf\xbe\xee\x80\x80\xed\x9f\xbf")},
		{"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", STR("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")},
		{"\"\x7f\"", STR("\x7f")},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		const struct json *j = PARSE(&a, t[i].json);
		CHECK_MSG(str_eq(j->string, t[i].want), "case %zu: '%.*s'", i, STR_ARG(j->string));
		CHECK_INT(j->string.p[j->string.n], 0);
	}
}

/* Every place in an eight-byte word, every byte. */
TEST(string_scanner_finds_every_special_byte)
{
	for (int c = 0; c < 256; c++)
		for (size_t at = 1; at <= 20; at++) {
			auto_arena a = ARENA_INIT;
			struct err e = ERR_INIT;
			char s[25];
			memset(s, 'x', sizeof(s));
			s[0] = s[24] = '"';
			s[at] = (char)c;
			bool good = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
			const struct json *j = json_parse(&a, str_of(s, sizeof(s)), "t", &e);
			CHECK_MSG((j != NULL) == good, "byte %d at %zu", c, at);
			CHECK(!j || (j->string.n == 23 && memcmp(j->string.p, s + 1, 23) == 0));
		}
}

TEST(malformed_strings)
{
	REJECTED("\"abc", "offset 4: the text ends too early (line 1)");
	REJECTED("\"", "offset 1: the text ends too early (line 1)");
	REJECTED("\"\\", "offset 1: bad escape in a string (line 1)");
	REJECTED("\"\\\"", "offset 3: the text ends too early (line 1)");
	REJECTED("\"\\x\"", "offset 1: bad escape in a string (line 1)");
	REJECTED("\"\\\0\"", "offset 1: bad escape in a string (line 1)");
	REJECTED("\"\\u12\"", "offset 1: bad escape in a string (line 1)");
	REJECTED("\"\\u12g4\"", "offset 1: bad escape in a string (line 1)");
	REJECTED("\"\\ud800\"", "offset 1: bad escape in a string (line 1)");
	REJECTED("\"\\udc00\\ud800\"", "offset 1: bad escape in a string (line 1)");
	REJECTED("\"\\ud800\\u0041\"", "offset 1: bad escape in a string (line 1)");
	REJECTED("\"a\nb\"", "offset 2: control character in a string (line 1)");
	REJECTED("\"\x80\"", "offset 1: bytes that are not UTF-8 in a string (line 1)");
	REJECTED("\"\xc0\xaf\"", "offset 1: bytes that are not UTF-8 in a string (line 1)");
	REJECTED("\"\xe0\x80\xaf\"", "offset 1: bytes that are not UTF-8 in a string (line 1)");
	REJECTED("\"\xed\xa0\x80\"", "offset 1: bytes that are not UTF-8 in a string (line 1)");
	REJECTED("\"\xf4\x90\x80\x80\"", "offset 1: bytes that are not UTF-8 in a string (line 1)");
	REJECTED("\"\xf5\x80\x80\x80\"", "offset 1: bytes that are not UTF-8 in a string (line 1)");
	REJECTED("\"\xe2\x82\"", "offset 1: bytes that are not UTF-8 in a string (line 1)");
	REJECTED("\"\xe2\x82", "offset 1: bytes that are not UTF-8 in a string (line 1)");
}

TEST(malformed_structure)
{
	REJECTED("", "offset 0: the text ends too early (line 1)");
	REJECTED(" \n ", "offset 3: the text ends too early (line 2)");
	REJECTED("[1,\n2,\n}", "offset 7: expected a value (line 3)");
	REJECTED("[1,]", "offset 3: expected a value (line 1)");
	REJECTED("[,1]", "offset 1: expected a value (line 1)");
	REJECTED("[1 2]", "offset 3: expected ',' or ']' (line 1)");
	REJECTED("[", "offset 1: the text ends too early (line 1)");
	REJECTED("[1", "offset 2: the text ends too early (line 1)");
	REJECTED("[1,", "offset 3: the text ends too early (line 1)");
	REJECTED("]", "offset 0: expected a value (line 1)");
	REJECTED("{", "offset 1: the text ends too early (line 1)");
	REJECTED("{\"a\"", "offset 4: the text ends too early (line 1)");
	REJECTED("{\"a\":", "offset 5: the text ends too early (line 1)");
	REJECTED("{\"a\":1", "offset 6: the text ends too early (line 1)");
	REJECTED("{\"a\":1,", "offset 7: the text ends too early (line 1)");
	REJECTED("{\"a\":1,}", "offset 7: expected a string as key (line 1)");
	REJECTED("{\"a\" 1}", "offset 5: expected ':' (line 1)");
	REJECTED("{\"a\":1 \"b\":2}", "offset 7: expected ',' or '}' (line 1)");
	REJECTED("{1:2}", "offset 1: expected a string as key (line 1)");
	REJECTED("{\"a\":1]", "offset 6: expected ',' or '}' (line 1)");
	REJECTED("tru", "offset 0: expected a value (line 1)");
	REJECTED("nul1", "offset 0: expected a value (line 1)");
	REJECTED("truex", "offset 4: text after the end of the document (line 1)");
	REJECTED("{} {}", "offset 3: text after the end of the document (line 1)");
	REJECTED("[]\0", "offset 2: text after the end of the document (line 1)");
	REJECTED("[1] // no", "offset 4: text after the end of the document (line 1)");
}

TEST(depth_is_bounded)
{
	auto_arena a = ARENA_INIT;
	char s[1000];
	memset(s, '[', 128);
	memset(s + 128, ']', 128);
	s[256] = '\0';
	CHECK_INT(PARSE(&a, s)->type, JSON_ARRAY);
	memset(s, '[', 129);
	check_rejected(str_of(s, 999), ERR_LIMIT, "t: offset 128: nested more than 128 deep (line 1)", __LINE__);
}

TEST(many_elements)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_array(&w);
	for (int i = 0; i < 100000; i++) {
		jw_object(&w);
		jw_kv_int(&w, "i", i);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	const struct json *j = PARSE(&a, b.p);
	CHECK_INT(j->n, 100000);
	for (uint32_t i = 0; i < j->n; i++)
		CHECK_INT(json_get(&j->item[i], "i")->integer, i);
}

TEST(typed_members)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	const struct json *v,
		*j = PARSE(&a, "{\"s\":\"x\",\"i\":5,\"b\":true,\"z\":null,\"a\":[1],\"o\":{},\"d\":1.5}");
	struct str s = STR("before");
	int64_t i = -1;
	bool b = false;
	CHECK_INT(json_get_str(j, "s", &s, &e), 0);
	CHECK(str_eq_c(s, "x"));
	CHECK_INT(json_get_int(j, "i", &i, &e), 0);
	CHECK_INT(i, 5);
	CHECK_INT(json_opt_str(j, "s", &s, &e), 1);
	CHECK_INT(json_opt_bool(j, "b", &b, &e), 1);
	CHECK(b);
	CHECK_INT(json_opt_str(j, "z", &s, &e), 0);
	CHECK_INT(json_opt_int(j, "none", &i, &e), 0);
	CHECK_INT(i, 5);
	CHECK(json_opt_array(j, "a", &v, &e) == 1 && v->n == 1);
	CHECK(json_opt_object(j, "o", &v, &e) == 1 && v->type == JSON_OBJECT);
	CHECK(json_opt_array(j, "none", &v, &e) == 0 && v == NULL);
	CHECK(json_opt_object(j, "z", &v, &e) == 0 && v == NULL);
	CHECK_STR(e.msg, "");
	CHECK_INT(json_get_str(j, "i", &s, &e), -1);
	CHECK_STR(e.msg, "t: offset 13: 'i' is not a string");
	CHECK_INT(json_get_str(j, "none", &s, &e), -1);
	CHECK_STR(e.msg, "t: offset 0: 'none' is missing");
	CHECK_INT(json_get_int(j, "z", &i, &e), -1);
	CHECK_STR(e.msg, "t: offset 0: 'z' is missing");
	CHECK_INT(json_opt_int(j, "d", &i, &e), -1);
	CHECK_STR(e.msg, "t: offset 52: 'd' is not a whole number");
	CHECK_INT(json_opt_bool(j, "s", &b, &e), -1);
	CHECK_INT(json_opt_array(j, "o", &v, &e), -1);
	CHECK_INT(json_opt_object(j, "a", &v, &e), -1);
	CHECK_INT(json_get_str(json_get(j, "a"), "x", &s, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(the_tree_outlives_text_and_name)
{
	auto_arena a = ARENA_INIT;
	char *text = strdup("{\"key\":\"value\"}"), *where = strdup("file");
	struct err e = ERR_INIT;
	const struct json *j = json_parse(&a, str_c(text), where, &e);
	free(text);
	free(where);
	CHECK(j && str_eq_c(json_get(j, "key")->string, "value"));
	CHECK_STR(json_get(j, "key")->where, "file");
}

TEST(writer_one_line)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_c(&w, "a", "x");
	jw_kv_c(&w, "n", NULL);
	jw_key(&w, "l");
	jw_array(&w);
	jw_int(&w, INT64_MIN);
	jw_bool(&w, true);
	jw_array(&w);
	jw_array_end(&w);
	jw_object(&w);
	jw_object_end(&w);
	jw_raw(&w, STR("1.50"));
	jw_array_end(&w);
	jw_kv_bool(&w, "b", false);
	jw_kv_str(&w, "s", STR("v"));
	jw_kv_opt(&w, "o", STR_NONE);
	jw_kv_opt(&w, "p", STR("v"));
	jw_kv_list(&w, "t", (struct str[]){STR("x"), STR("y")}, 2);
	jw_kv_hex(&w, "h", (const uint8_t *)"\x01\xff", 2);
	jw_object_end(&w);
	CHECK_STR(
		b.p,
		"{\"a\":\"x\",\"n\":null,\"l\":[-9223372036854775808,true,[],{},1.50],\"b\":false,\"s\":\"v\",\"p\":\"v\","
		"\"t\":[\"x\",\"y\"],\"h\":\"01ff\"}");
}

TEST(writer_indents)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct jw w = JW_INIT(&b, 2);
	jw_object(&w);
	jw_kv_int(&w, "a", 1);
	jw_key(&w, "l");
	jw_array(&w);
	jw_c(&w, "x");
	jw_object(&w);
	jw_object_end(&w);
	jw_array_end(&w);
	jw_object_end(&w);
	CHECK_STR(b.p, "{\n  \"a\": 1,\n  \"l\": [\n    \"x\",\n    {}\n  ]\n}");
}

TEST(writer_escapes)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_str(&w, STR("q\" b\\ \b\f\n\r\t \x01\x1f \0 \x7f \xc3\xa9 \xff \xe2\x82 long plain tail"));
	CHECK_STR(b.p, "\"q\\\" b\\\\ \\b\\f\\n\\r\\t \\u0001\\u001f \\u0000 \x7f \xc3\xa9 \xef\xbf\xbd "
		       "\xef\xbf\xbd\xef\xbf\xbd long plain tail\"");
}

TEST(writer_round_trip)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	const char *text = "{\"a\":[1,-2,0.1,1e+300,3.0,\"x\\n\\u0000\"],\"b\":{\"c\":null,\"d\":true}}";
	struct jw w = JW_INIT(&b, 0);
	jw_value(&w, PARSE(&a, text));
	CHECK_STR(b.p, text);
}

TEST(doubles_read_back_the_same)
{
	static const double v[] = {0.1, 1.0 / 3, 1e300, 5e-324, 123456789.0, -0.5, 1e15, 1e22, 9007199254740993.0};
	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		auto_arena a = ARENA_INIT;
		auto_buf b = BUF_INIT(100);
		struct jw w = JW_INIT(&b, 0);
		jw_double(&w, v[i]);
		const struct json *j = PARSE(&a, b.p);
		CHECK_INT(j->type, JSON_DOUBLE);
		CHECK(memcmp(&j->number, &v[i], sizeof(double)) == 0);
	}
	auto_buf b = BUF_INIT(100);
	struct jw w = JW_INIT(&b, 0);
	jw_double(&w, (double)INFINITY);
	CHECK_STR(b.p, "null");
}

TEST(utf8)
{
	char out[4];
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		uint32_t back;
		if (c >= 0xd800 && c <= 0xdfff)
			continue;
		size_t n = utf8_put(out, c);
		CHECK(utf8_take(str_of(out, n), &back) == n && back == c);
		CHECK(n == 1 || utf8_take(str_of(out, n - 1), &back) == 0);
	}
}

/* Two bytes of text become more than fifty of memory. */
TEST(bounds_the_number_of_values)
{
	enum { VALUES = 4 << 20 };
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(4 * (size_t)VALUES);
	struct err e = ERR_INIT;
	buf_put_char(&b, '[');
	for (int i = 0; i < VALUES; i++)
		buf_put_c(&b, "1,");
	buf_put_c(&b, "1]");
	CHECK(!json_parse(&a, buf_str(&b), "x", &e));
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_MSG(strstr(e.msg, "more values than are accepted"), "%s", e.msg);
}

TEST(what_is_absent_or_of_another_type_is_nothing)
{
	struct err e = ERR_INIT;
	struct arena a = ARENA_INIT;
	const struct json *j = json_parse(&a, STR("{\"n\":7,\"t\":\"x\",\"o\":null}"), "test", &e);
	CHECK(j);
	CHECK_INT(json_number(j, "n"), 7);
	CHECK_INT(json_number(j, "t"), 0);
	CHECK_INT(json_number(j, "none"), 0);
	CHECK(str_eq_c(json_text(j, "t"), "x"));
	CHECK(str_eq_c(json_text(j, "n"), ""));
	CHECK(str_eq_c(json_text(j, "o"), ""));
	CHECK(str_eq_c(json_text(j, "none"), ""));
	arena_release(&a);
}
