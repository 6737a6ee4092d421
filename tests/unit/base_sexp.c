// SPDX-License-Identifier: Apache-2.0
#include "base/sexp.h"

#include "lib/test.h"

static const struct sexp *parse_at(struct arena *a, struct str text, int line)
{
	struct err e = ERR_INIT;
	const struct sexp *s = sexp_parse(a, text, "f", &e);
	if (!s)
		test_fail(__FILE__, line, "%s", e.msg);
	return s;
}
#define PARSE(a, z) parse_at((a), STR(z), __LINE__)

static void check_atom(struct str text, struct str want, int line)
{
	auto_arena a = ARENA_INIT;
	const struct sexp *s = parse_at(&a, text, line);
	if (s->is_list || !str_eq(s->atom, want))
		test_fail(__FILE__, line, "'%.*s' is read as '%.*s'", STR_ARG(text), STR_ARG(s->atom));
}
#define ATOM(z, want) check_atom(STR(z), STR(want), __LINE__)

/* Reads, and writes in machine form. */
static void check_mach(struct str text, const char *want, int line)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	sexp_put_mach(&b, parse_at(&a, text, line));
	test_check_str(__FILE__, line, "machine form", b.p, want);
}
#define MACH(z, want) check_mach(STR(z), want, __LINE__)

static void check_rejected(struct str text, enum err_code code, const char *msg, int line)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	if (sexp_parse(&a, text, "f", &e))
		test_fail(__FILE__, line, "'%.*s' was accepted", STR_ARG(text));
	test_check_str(__FILE__, line, "message", e.msg, msg);
	test_check_int(__FILE__, line, "code", e.code, code);
}
#define REJECTED(z, msg) check_rejected(STR(z), ERR_INPUT, "f:" msg, __LINE__)

TEST(tree_and_places)
{
	auto_arena a = ARENA_INIT;
	const struct sexp *s = PARSE(&a, "((from base)\n (run (shell \"\xc3\xbc x\") y))\n");
	CHECK(s->is_list && s->n == 2 && s->line == 1 && s->column == 1);
	const struct sexp *run = &s->item[1];
	CHECK(run->is_list && run->n == 3 && run->line == 2 && run->column == 2);
	CHECK(sexp_is(&run->item[0], "run") && run->item[0].column == 3);
	CHECK_INT(run->item[1].item[1].column, 14);
	CHECK_INT(run->item[2].column, 21); /* characters, not bytes */
	CHECK(PARSE(&a, "()")->is_list && PARSE(&a, "()")->n == 0);
}

TEST(atoms)
{
	ATOM("abc", "abc");
	ATOM(" \t\n\r\n\fabc;comment", "abc");
	ATOM("a'b\\n#x|y/..:@=", "a'b\\n#x|y/..:@=");
	ATOM("#", "#");
	ATOM("|", "|");
	ATOM("\"\"", "");
	ATOM("\"a b\"", "a b");
	ATOM("\"\\n\\t\\r\\b\\\\\\\"\\'\"", "\n\t\r\b\\\"'");
	ATOM("\"\\065\\x42\\x6a\\255\"", "ABj\xff");
	ATOM("\"\\000\"", "\0");
	ATOM("\"\\q\\ \\(\"", "\\q\\ \\(");
	ATOM("\"\\\xc3\xbc\"", "\\\xc3\xbc");
	ATOM("\"a \\\n  \tb\\\r\n   \\n c\"", "a b\n c");
	ATOM("\"two\nlines\"", "two\nlines");
	ATOM("\xef\xbb\xbf"
	     "abc",
	     "abc");
}

TEST(comments)
{
	MACH("(a ; b) c\n d)", "(a d)");
	MACH("(a #| b #| ) |# \"|#\" |# c)", "(a c)");
	MACH("(a #;b c)", "(a c)");
	MACH("(a #; (b (c)) d)", "(a d)");
	MACH("(a #;#; b c d)", "(a d)");
	MACH("#; x (y)", "(y)");
	MACH("(a #; #| b |# c d)", "(a d)");
	MACH("(a#;b\n)", "(a#)");
	MACH("(\"x\"y\"z\")", "(x y z)");
}

TEST(machine_form)
{
	MACH("(a  b (c d) \"e\" \"f g\" h ())", "(a b(c d)e\"f g\"h())");
	MACH("(\"a b\" \"c;\" d)", "(\"a b\"\"c;\"d)");
	MACH("(\"\" \"\\\\\" \"#|\" \"|#\" \"#\" \"a|b#\")", "(\"\"\"\\\\\"\"#|\"\"|#\"# a|b#)");
	MACH("\"\\n\\t\\b\\r\\127\\128\\001 \\\"\"", "\"\\n\\t\\b\\r\\127\\128\\001 \\\"\"");
	MACH("\"\xc3\xbc\"", "\"\\195\\188\"");
}

TEST(malformed)
{
	REJECTED("", "1:1: nothing is written here");
	REJECTED(" ; x\n", "2:1: nothing is written here");
	REJECTED("(a\n (b)", "1:1: this '(' has no ')': 1 is missing at the end of the file");
	REJECTED("((a (", "1:5: this '(' has no ')': 3 are missing at the end of the file");
	REJECTED("(a))", "1:4: a ')' without its '('; take it away, or look for one too many before it");
	REJECTED("(a) b", "1:5: the text goes on after its one expression; is there a ')' too many before?");
	REJECTED("(a \"b", "1:4: this string has no end; a quote is missing");
	REJECTED("(a \"b\\", "1:4: this string has no end; a quote is missing");
	REJECTED("\"\\25\"", "1:2: '\\2' wants three decimal digits; a backslash itself is '\\\\'");
	REJECTED("\"\\256\"", "1:2: '\\256' is no byte: the largest is '\\255'");
	REJECTED("\"\\xg0\"", "1:2: '\\x' wants two hexadecimal digits; a backslash itself is '\\\\'");
	REJECTED("a#|b", "1:2: '#|' within a word; put the word in quotes, or a space before the comment");
	REJECTED("|#", "1:1: '|#' ends a comment that nothing began");
	REJECTED("(a #| b", "1:4: this block comment has no end; write '|#' after it");
	REJECTED("(a #| \"b |#", "1:4: this block comment holds a quote without its end");
	REJECTED("(a #;)", "1:6: nothing is left for '#;' to take away");
	REJECTED("a #;", "1:5: nothing is left for '#;' to take away");
	REJECTED("a\rb", "1:2: a carriage return without a line feed; save the file with Unix line ends");
	REJECTED("(\n\"a\r\nb\")",
		 "2:3: a carriage return in a quoted string; save the file with Unix line ends, or write "
		 "'\\r' where one is meant");
	REJECTED("(a\n \0)", "2:2: a NUL byte; this is no text file");
	REJECTED("(\xc3\xbc \xff)",
		 "1:4: byte 0xff is not UTF-8; save the file as UTF-8, or write the byte as \\255 in a "
		 "quoted string");
}

TEST(limits)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	struct err e = ERR_INIT;
	for (int i = 0; i < SEXP_DEPTH_MAX; i++)
		buf_put_char(&b, '(');
	for (int i = 0; i < SEXP_DEPTH_MAX; i++)
		buf_put_char(&b, ')');
	CHECK(sexp_parse(&a, buf_str(&b), "f", &e));
	buf_clear(&b);
	for (int i = 0; i < 1000000; i++)
		buf_put_char(&b, '(');
	CHECK(!sexp_parse(&a, buf_str(&b), "f", &e) && e.code == ERR_LIMIT);
	CHECK_STR(e.msg, "f:1:65: more than 64 lists in each other");
	buf_clear(&b);
	buf_put_char(&b, '(');
	for (int i = 0; i < SEXP_NODES_MAX + 1; i++)
		buf_put_c(&b, "a ");
	CHECK(!sexp_parse(&a, buf_str(&b), "f", &e) && e.code == ERR_LIMIT);
	buf_clear(&b);
	for (int i = 0; i <= SEXP_TEXT_MAX; i++)
		buf_put_char(&b, ' ');
	CHECK(!sexp_parse(&a, buf_str(&b), "f", &e) && e.code == ERR_LIMIT);
	CHECK_STR(e.msg, "f: more than 4 MiB");
}
