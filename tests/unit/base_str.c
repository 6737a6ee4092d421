// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"
#include "base/buf.h"
#include "base/err.h"
#include "lib/test.h"

#define CHECK_VIEW(got, want) CHECK_MSG(str_eq_c((got), (want)), "'%.*s' is not '%s'", STR_ARG(got), (want))

TEST(compare)
{
	CHECK(str_cmp(STR("a"), STR("b")) < 0);
	CHECK(str_cmp(STR("a"), STR("ab")) < 0);
	CHECK(str_cmp(STR("b"), STR("ab")) > 0);
	CHECK(str_cmp(STR("\xff"), STR("a")) > 0);
	CHECK_INT(str_cmp(STR_NONE, STR("")), 0);
	CHECK_INT(str_casecmp(STR("NumPy"), STR("numpy")), 0);
	CHECK(str_casecmp(STR("A"), STR("b")) < 0);
	CHECK(str_casecmp(STR("_"), STR("A")) < 0); /* letters count as lower case */
	CHECK(str_eq(STR_NONE, STR("")));
	CHECK(!str_eq(STR("a\0b"), STR("a\0c")));
}

TEST(empty_views_without_pointer_are_harmless)
{
	struct str s = STR_NONE, w;
	CHECK(str_starts(s, STR("")) && str_ends(s, STR("")));
	CHECK(str_skip(s, 5).n == 0);
	CHECK(str_trim(s).n == 0);
	CHECK_INT(str_find(s, 'a'), -1);
	CHECK_INT(str_rfind(s, 'a'), -1);
	CHECK_INT(str_search(s, STR("")), 0);
	CHECK_INT(str_search(s, STR("a")), -1);
	CHECK(!str_take_char(&s, 'a') && !str_take_line(&s, &w) && !str_take_word(&s, &w));
	CHECK(str_glob(STR("*"), s) && str_glob(s, s));
	char *z = str_dup(s);
	CHECK_STR(z, "");
	free(z);
}

TEST(trim_find_search)
{
	CHECK_VIEW(str_trim(STR(" \t\n a b \r\v\f")), "a b");
	CHECK_VIEW(str_trim(STR(" \t ")), "");
	CHECK_INT(str_find(STR("abcabc"), 'b'), 1);
	CHECK_INT(str_rfind(STR("abcabc"), 'b'), 4);
	CHECK_INT(str_search(STR("abcabd"), STR("abd")), 3);
	CHECK_INT(str_search(STR("abc"), STR("abcd")), -1);
	CHECK_VIEW(str_skip(STR("abc"), 9), "");
	CHECK_VIEW(str_head(STR("abc"), 9), "abc");
}

TEST(glob)
{
	static const struct {
		const char *pattern, *s;
		bool match;
	} t[] = {
		{"abc", "abc", true},	  {"abc", "abcd", false},  {"", "", true},
		{"", "a", false},	  {"*", "", true},	   {"*", "abc", true},
		{"a*", "abc", true},	  {"a*", "ba", false},	   {"*c", "abc", true},
		{"*c", "abcd", false},	  {"a*c", "ac", true},	   {"a*c", "abcbc", true},
		{"ab*ba", "aba", false},  {"ab*ba", "abba", true}, {"*mpi*", "h5_mpi_1", true},
		{"*mpi*", "mp_i", false}, {"**a**", "bab", true},  {"a*b*c", "a-b-b-c", true},
		{"a*b*c", "acb", false},  {"?", "a", false},	   {"py3*_0", "py39h_0", true},
		{"*aab", "aaaab", true},  {"*a*a", "a", false},	   {"[a]", "[a]", true},
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		CHECK_MSG(str_glob(str_c(t[i].pattern), str_c(t[i].s)) == t[i].match, "'%s' on '%s'", t[i].pattern,
			  t[i].s);
}

TEST(glob_is_not_exponential)
{
	char pattern[2001], s[50001];
	for (size_t i = 0; i + 1 < sizeof(pattern); i += 2)
		memcpy(pattern + i, "*a", 3);
	memset(s, 'a', sizeof(s) - 1);
	s[sizeof(s) - 1] = '\0';
	CHECK(str_glob(str_c(pattern), str_c(s)));
	s[sizeof(s) - 2] = 'b';
	CHECK(!str_glob(str_c(pattern), str_c(s)));
}

TEST(take_eats_only_what_it_recognised)
{
	struct str s = STR("12 apples"), w;
	uint64_t n = 99;
	CHECK(!str_take_char(&s, 'x'));
	CHECK(str_take_u64(&s, &n));
	CHECK_INT(n, 12);
	CHECK(!str_take_u64(&s, &n));
	CHECK_INT(n, 12);
	CHECK(str_take_char(&s, ' '));
	CHECK(!str_take_str(&s, STR("apples!")));
	CHECK(!str_take_until(&s, '=', &w));
	CHECK(str_take_str(&s, STR("app")));
	CHECK(str_take_until(&s, 'e', &w));
	CHECK_VIEW(w, "l");
	CHECK_VIEW(s, "s");
}

TEST(take_lines)
{
	struct str s = STR("a\r\n\nb\rc\nlast"), l;
	CHECK(str_take_line(&s, &l));
	CHECK_VIEW(l, "a");
	CHECK(str_take_line(&s, &l));
	CHECK_VIEW(l, "");
	CHECK(str_take_line(&s, &l));
	CHECK_VIEW(l, "b\rc");
	CHECK(str_take_line(&s, &l));
	CHECK_VIEW(l, "last");
	CHECK(!str_take_line(&s, &l));
	s = STR("x\n");
	CHECK(str_take_line(&s, &l) && !str_take_line(&s, &l));
}

TEST(take_words)
{
	struct str s = STR("  numpy \t>=1.8\n"), w;
	CHECK(str_take_word(&s, &w));
	CHECK_VIEW(w, "numpy");
	CHECK(str_take_word(&s, &w));
	CHECK_VIEW(w, ">=1.8");
	CHECK(!str_take_word(&s, &w));
}

TEST(numbers)
{
	uint64_t u = 7;
	int64_t i = 7;
	CHECK(str_to_u64(STR("18446744073709551615"), &u) && u == UINT64_MAX);
	CHECK(!str_to_u64(STR("18446744073709551616"), &u) && u == UINT64_MAX);
	CHECK(!str_to_u64(STR("99999999999999999999"), &u));
	CHECK(!str_to_u64(STR(""), &u) && !str_to_u64(STR("1 "), &u) && !str_to_u64(STR("-1"), &u) &&
	      !str_to_u64(STR("+1"), &u) && !str_to_u64(STR("0x1"), &u));
	CHECK(str_to_i64(STR("-9223372036854775808"), &i) && i == INT64_MIN);
	CHECK(str_to_i64(STR("9223372036854775807"), &i) && i == INT64_MAX);
	CHECK(!str_to_i64(STR("9223372036854775808"), &i) && !str_to_i64(STR("-9223372036854775809"), &i));
	CHECK(!str_to_i64(STR("-"), &i) && !str_to_i64(STR("--1"), &i));
	CHECK_INT(i, INT64_MAX);
}

TEST(shown)
{
	auto_buf b = BUF_INIT(1000);
	struct str s = STR("a\x1b[2J\tb\n\xc3\xa4\xc2\x9b\xe2\x80\xae\xff");
	buf_put_shown(&b, s);
	CHECK_STR(b.p, "a\\x1b[2J\\x09b\\x0a\xc3\xa4\\xc2\\x9b\\xe2\\x80\\xae\\xff");
	buf_clear(&b);
	buf_put_shown_lines(&b, s);
	CHECK_STR(b.p, "a\\x1b[2J\tb\n\xc3\xa4\\xc2\\x9b\\xe2\\x80\\xae\\xff");
}

TEST(is_hex)
{
	CHECK(str_is_hex(STR("")) && str_is_hex(STR("0123456789abcdef")));
	CHECK(!str_is_hex(STR("A")) && !str_is_hex(STR("g")) && !str_is_hex(STR("0 ")) && !str_is_hex(STR("/")));
}

TEST(unhex)
{
	uint8_t out[3];
	CHECK(str_unhex(STR("00fFa5"), out, 3));
	CHECK(out[0] == 0 && out[1] == 0xff && out[2] == 0xa5);
	CHECK(!str_unhex(STR("00fFa"), out, 3));
	CHECK(!str_unhex(STR("00fFa5"), out, 2));
	CHECK(!str_unhex(STR("00fFag"), out, 3));
	CHECK(!str_unhex(STR("00fFa "), out, 3));
}

TEST(buf_starts_without_memory)
{
	auto_buf b = BUF_INIT(100);
	CHECK_STR(b.p, "");
	CHECK_INT(b.cap, 0);
	buf_clear(&b);
	buf_put(&b, NULL, 0);
	CHECK_INT(b.cap, 0);
	char *z = buf_steal(&b);
	CHECK_STR(z, "");
	free(z);
}

TEST(buf_appends)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_c(&b, "name=");
	buf_printf(&b, "%d/%s", 42, "x");
	buf_put_char(&b, ';');
	buf_put_str(&b, STR("view"));
	buf_put_hex(&b, (const uint8_t *)"\x00\xab", 2);
	CHECK_STR(b.p, "name=42/x;view00ab");
	CHECK_INT(b.n, strlen(b.p));
	buf_truncate(&b, 4);
	buf_truncate(&b, 10);
	CHECK_STR(b.p, "name");
	for (int i = 0; i < 10000; i++)
		buf_printf(&b, "%d,", i);
	CHECK(strcmp(b.p + b.n - 10, "9998,9999,") == 0);
	char *z = buf_steal(&b);
	CHECK(b.n == 0 && b.cap == 0 && strncmp(z, "name0,1,", 8) == 0);
	free(z);
	buf_put_c(&b, "again");
	CHECK_STR(b.p, "again");
}

TEST(buf_stops_at_its_maximum)
{
	auto_buf b = BUF_INIT(8);
	buf_put_c(&b, "12345678");
	CHECK(!b.overflow);
	buf_put_c(&b, "9");
	CHECK(b.overflow);
	CHECK_STR(b.p, "12345678");
	buf_clear(&b);
	CHECK(!b.overflow);
	buf_put_c(&b, "1234");
	buf_printf(&b, "%s", "56789");
	CHECK(b.overflow);
	CHECK_STR(b.p, "1234");
	buf_put_char(&b, '5'); /* no holes: nothing after what did not fit */
	CHECK_STR(b.p, "1234");
	buf_clear(&b);
	buf_put_hex(&b, (const uint8_t *)"12345", 5);
	CHECK(b.overflow && b.n == 0);
	buf_clear(&b);
	buf_reserve(&b, 8);
	CHECK(!b.overflow && b.cap >= 9);
	buf_reserve(&b, SIZE_MAX);
	CHECK(b.overflow);
}

TEST(buf_of_nothing)
{
	auto_buf b = BUF_INIT(0);
	buf_printf(&b, "%s", "");
	CHECK(!b.overflow);
	buf_put_char(&b, 'a');
	CHECK(b.overflow && b.n == 0);
}

TEST(glob_of_paths)
{
	CHECK(str_glob_path(STR("*/PKG-INFO"), STR("a-1/PKG-INFO")));
	CHECK(!str_glob_path(STR("*/PKG-INFO"), STR("a-1/b/PKG-INFO")));
	CHECK(!str_glob_path(STR("*/PKG-INFO"), STR("PKG-INFO")));
	CHECK(str_glob_path(STR("*"), STR("")));
	CHECK(str_glob_path(STR("a/*/c*"), STR("a/b/cd")));
	CHECK(!str_glob_path(STR("a/*"), STR("a/b/c")));
}
