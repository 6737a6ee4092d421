// SPDX-License-Identifier: Apache-2.0
/* Files of opam's format: read, printed back, laid out, changed; malformed ones told with their place, the rest of them usable. */
#include "lib/test.h"

#include <fcntl.h>

#include "base/stream.h"
#include "base/tar.h"
#include "pkg/pkg.h"

static struct arena a;
static struct err e;

static struct pkg_opam_doc doc_of(struct str text)
{
	struct pkg_opam_doc d;
	CHECK_MSG(pkg_opam_read(&a, text, "f", &d, &e) == 0, "%s", e.msg);
	return d;
}

static struct pkg_opam_doc read_c(const char *text)
{
	return doc_of(str_c(text));
}

static const char *back(const struct pkg_opam_doc *d)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	pkg_opam_print(d, &b);
	return arena_strdup(&a, buf_str(&b));
}

static const char *normal(const struct pkg_opam_doc *d)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	pkg_opam_print_normal(d->first, &b);
	return arena_strdup(&a, buf_str(&b));
}

static const char *value(const char *text)
{
	const struct pkg_opam_doc d = read_c(arena_printf(&a, "v: %s", text));
	auto_buf b = BUF_INIT(BUF_MAX);
	pkg_opam_print_value(pkg_opam_get(&d, "v"), &b);
	return arena_strdup(&a, buf_str(&b));
}

static struct str string(const char *text)
{
	const struct pkg_opam_doc d = read_c(arena_printf(&a, "v: %s", text));
	return pkg_opam_text(pkg_opam_get(&d, "v"));
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

TEST(values_and_where_they_stand)
{
	const struct pkg_opam_doc d = read_c("a: true # c\nb: -1_000\n  c:[\"x\" {os = \"y\"} (n:v & !m)]\n");
	const struct pkg_opam_value *v = pkg_opam_get(&d, "a");
	size_t line, column;
	CHECK_INT(v->kind, PKG_OPAM_BOOL);
	CHECK_INT(v->number, 1);
	v = pkg_opam_get(&d, "b");
	CHECK_INT(v->kind, PKG_OPAM_INT);
	CHECK_INT(v->number, -1000);
	v = pkg_opam_first(pkg_opam_get(&d, "c"));
	CHECK_INT(v->kind, PKG_OPAM_OPTION);
	CHECK(str_eq(pkg_opam_text(v->left), STR("x")));
	CHECK_INT(v->first->kind, PKG_OPAM_RELOP);
	CHECK_INT(v->first->op, PKG_OPAM_EQUAL);
	pkg_opam_place(&d, v->first->op_at, &line, &column);
	CHECK_INT(line, 3);
	CHECK_INT(column, 14);
	v = v->next;
	CHECK_INT(v->kind, PKG_OPAM_GROUP);
	CHECK_INT(v->first->kind, PKG_OPAM_LOGOP);
	CHECK(str_eq(v->first->left->text, STR("n:v")));
	CHECK_INT(v->first->right->kind, PKG_OPAM_PFXOP);
	pkg_opam_place(&d, v->first->right->left->from, &line, &column);
	CHECK_INT(line, 3);
	CHECK_INT(column, 29);
	CHECK(!pkg_opam_get(&d, "d") && !pkg_opam_first(NULL) && !pkg_opam_text(NULL).p);
}

TEST(words_end_where_opams_lexer_ends_them)
{
	static const char *const same[] = {"a+b:c", "_:name", "_+a:installed", "4x1-2", "truex", "-1", "--a"};
	for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++)
		CHECK_STR(value(same[i]), same[i]);
	/* a number, since it has no letter; so the next one begins behind it */
	const struct pkg_opam_doc d = read_c("v: [1-2 \"a\"b]");
	const struct pkg_opam_value *v = pkg_opam_first(pkg_opam_get(&d, "v"));
	CHECK_INT(v->number, 1);
	CHECK_INT(v->next->number, -2);
	CHECK_INT(v->next->next->next->kind, PKG_OPAM_IDENT);
}

TEST(strings_and_their_escapes)
{
	static const struct {
		const char *text, *want;
	} v[] = {
		{"\"\"", ""},
		{"\"a\\\"b\\\\c\\'\\ d\"", "a\"b\\c' d"},
		{"\"\\n\\t\\r\\b\"", "\n\t\r\b"},
		{"\"\\065\\x42\\x4a\\x4A\"", "ABJJ"},
		{"\"a\\\n \t  b\"", "ab"},
		{"\"a\\\r\n  b\"", "ab"},
		{"\"a\r\nb\"", "a\nb"},
		{"\"\"\"a\"b\"\"c\\\"\"\"\"", "a\"b\"\"c\""},
		{"\"\"\"\\\nx\n\"\"\"", "x\n"},
		{"\"(* # *)\"", "(* # *)"},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
		CHECK_STR(arena_strdup(&a, string(v[i].text)), v[i].want);
}

TEST(operators_bind_as_in_opams_grammar)
{
	CHECK_STR(value("a | b & !c = d {e} & f"), "a | b & !c = d {e} & f");
	const struct pkg_opam_doc d = read_c("v: a | b & !c {e} & f = g");
	const struct pkg_opam_value *v = pkg_opam_get(&d, "v");
	CHECK_INT(v->op, PKG_OPAM_OR);
	CHECK_INT(v->right->op, PKG_OPAM_AND);
	CHECK_INT(v->right->right->kind, PKG_OPAM_RELOP);
	CHECK_INT(v->right->left->op, PKG_OPAM_AND);
	CHECK_INT(v->right->left->right->kind, PKG_OPAM_PFXOP);
	CHECK_INT(v->right->left->right->left->kind, PKG_OPAM_OPTION);
	CHECK_INT(v->height, 5);
	/* two values, the second of which is a relation without its left side */
	const struct pkg_opam_doc two = read_c("v: [a = b = c]");
	v = pkg_opam_first(pkg_opam_get(&two, "v"));
	CHECK_INT(v->kind, PKG_OPAM_RELOP);
	CHECK_INT(v->next->kind, PKG_OPAM_PREFIX_RELOP);
}

TEST(sections_with_and_without_titles)
{
	const struct pkg_opam_doc d =
		read_c("url { src: \"u\" }\nextra-source \"p\" { src: \"v\" }\nextra-source \"q\" {\n}\n");
	const struct pkg_opam_item *s = pkg_opam_section(&d, "extra-source", NULL);
	CHECK(!pkg_opam_section(&d, "url", NULL)->title.p);
	CHECK(str_eq(s->title, STR("p")));
	CHECK(str_eq(pkg_opam_text(pkg_opam_get_in(s, "src")), STR("v")));
	CHECK(!pkg_opam_get(&d, "src"));
	s = pkg_opam_section(&d, "extra-source", s);
	CHECK(str_eq(s->title, STR("q")) && !s->first);
	CHECK(!pkg_opam_section(&d, "extra-source", s));
}

/* -- faults -------------------------------------------------------------------------------------------------------- */

TEST(faults_are_told_with_line_and_column)
{
	static const struct {
		const char *text, *says;
	} v[] = {
		{"a: \"b", "f:1:4: a string does not end"},
		{"a: \"\"\"b\"\"", "f:1:4: a string does not end"},
		{"a: 1\n  (* x (* *)", "f:2:3: a comment does not end"},
		{"a: [\n 1 {\n", "f:2:4: a bracket is not closed"},
		{"a: [ 1 }", "f:1:8: a value or ']' is missing"},
		{"a: ( 1", "f:1:4: a bracket is not closed"},
		{"a: x {1 ]", "f:1:9: a value or '}' is missing"},
		{"a:", "f:1:3: the file ends too early"},
		{"a: = [", "f:1:6: a word, a number or a string is missing"},
		{"a: 1 & | 2", "f:1:8: a word, a number or a string is missing"},
		{"a 1", "f:1:3: ':' is missing behind the name of a field"},
		{"a \"x\": 1", "f:1:6: '{' is missing"},
		{"url {\n src: 1\n", "f:1:5: a section is not closed"},
		{"url {\n 1 }", "f:2:2: the name of a field or '}' is missing"},
		{"1: 2", "f:1:1: the name of a field is missing"},
		{"a: \"\\q\"", "f:1:5: no such escape"},
		{"a: \"\\256\"", "f:1:5: no such escape"},
		{"a: \"\\x4\"", "f:1:5: no such escape"},
		{"a: 99999999999999999999", "f:1:4: the number is too large"},
		{"a: b\nc: $", "f:2:4: a character that has no meaning there"},
		{"a: b =:= \"c\"", "f:1:6: a character that has no meaning there"},
		{"a: 1 \r b: 2", "f:1:6: a character that has no meaning there"},
		{"a: 1\nopam-version: \"2.1\"", "f:2:1: 'opam-version' must be the first field"},
		{"opam-version: \"2.1\"\nopam-version: \"2.1\"", "f:2:1: 'opam-version' is there twice"},
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		struct pkg_opam_doc d;
		CHECK_INT(pkg_opam_read(&a, str_c(v[i].text), "f", &d, &e), -1);
		CHECK_INT(e.code, ERR_INPUT);
		CHECK_MSG(strncmp(e.msg, v[i].says, strlen(v[i].says)) == 0, "%s: %s", v[i].text, e.msg);
		CHECK_STR(back(&d), v[i].text);
	}
	(void)read_c("a: 1\nopam-version: \"2.0\"\n");
}

TEST(behind_a_fault_the_rest_is_read)
{
	struct pkg_opam_doc d;
	struct str text =
		STR("opam-version: \"2.0\"\ndepends: [ \"a\" { ]\n  \"b\"\nbuild: [make]\nurl {\n  src: \"s\"\n  "
		    "checksum: [ }\n}\nsynopsis: \"no end\nlicense: \"MIT\nauthors: \"x\"\n");
	CHECK_INT(pkg_opam_read(&a, text, "f", &d, &e), -1);
	CHECK_INT(d.faults, 3);
	CHECK(!pkg_opam_get(&d, "depends") && pkg_opam_get(&d, "build"));
	CHECK(str_eq(pkg_opam_text(pkg_opam_get_in(pkg_opam_section(&d, "url", NULL), "src")), STR("s")));
	CHECK(str_eq(pkg_opam_text(pkg_opam_get(&d, "authors")), STR("x")));
	for (size_t i = 1; i < d.faults; i++)
		CHECK(d.fault[i - 1].at < d.fault[i].at);
}

static const char *repeated(const char *text, size_t n, const char *end)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_c(&b, "a: ");
	for (size_t i = 0; i < n; i++)
		buf_put_c(&b, text);
	buf_put_c(&b, end);
	return arena_strdup(&a, buf_str(&b));
}

TEST(depth_height_and_size_are_bounded)
{
	struct pkg_opam_doc d;
	(void)read_c(repeated("!", PKG_OPAM_DEPTH_MAX, "a"));
	(void)read_c(repeated("a & ", PKG_OPAM_HEIGHT_MAX, "a"));
	CHECK_INT(pkg_opam_read(&a, str_c(repeated("[", 100000, "")), "f", &d, &e), -1);
	CHECK(strstr(e.msg, "64 levels"));
	CHECK_INT(pkg_opam_read(&a, str_c(repeated("! ", 100000, "")), "f", &d, &e), -1);
	CHECK(strstr(e.msg, "64 levels"));
	CHECK_INT(pkg_opam_read(&a, str_c(repeated("a & ", 100000, "a")), "f", &d, &e), -1);
	CHECK(strstr(e.msg, "too large"));
	CHECK_INT(pkg_opam_read(&a, str_c(repeated("{a} ", 100000, "a")), "f", &d, &e), -1);
	CHECK_INT(pkg_opam_read(&a, str_c(repeated("\na {", 100000, "a")), "f", &d, &e), -1);
	/* each line would begin a comment that runs to the end: reading stops after a few */
	CHECK_INT(pkg_opam_read(&a, str_c(repeated("\na: (*", 300000, "a")), "f", &d, &e), -1);
	CHECK_INT(d.faults, PKG_OPAM_FAULTS_MAX);
	CHECK_INT(pkg_opam_read(&a, str_of(repeated(" ", PKG_OPAM_FILE_MAX, ""), PKG_OPAM_FILE_MAX + 1), "f", &d, &e),
		  -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK(!d.first);
}

/* -- printing ------------------------------------------------------------------------------------------------------ */

TEST(printed_back_byte_for_byte)
{
	static const char *const v[] = {
		"",
		"# only a comment",
		"(* x (* \n *) *)\r\n a:b c : [ 1 ( 2 ) # x\n] \t\n",
		"a: \"x\" {>= \"1\" & !b | ?c} {d}\nb \"t\\\"\" {c:=\"x\" d:1}#end",
		"s: [A += \"1\" B =+ \"2\" C =+= \"3\" D := \"4\" E =: \"5\" F = \"6\" ~ \"x\"]\n",
		"t: \"\"\"\\\n  a\r\n\"\"\"",
	};
	for (size_t i = 1; i < sizeof(v) / sizeof(*v); i++) {
		struct pkg_opam_doc d;
		(void)pkg_opam_read(&a, str_c(v[i]), "f", &d, &e);
		CHECK_STR(back(&d), v[i]);
	}
}

TEST(laid_out_as_opam_does)
{
	const struct pkg_opam_doc d = read_c(
		"a:\"x\" b:[ \"1\" ] c: [ \"one\" {x} \"two\" ]\n(* gone *) e: [] f:[[]]\n"
		"d: aaaaaaaaaaaaaaaaaaaaaaaaaaaa = \"bbbbbbbbbbbbbbbbbbbbbb\" & ccccccccccccccccccccccc != \"dddd\"\n"
		"t: \"line\nline \\\"\" u: \"\\nx\" w: \" y\nz\"\n"
		"s \"n\" { a: 1 }\nr { }\n");
	CHECK_STR(
		normal(&d),
		"a: \"x\"\nb: [\"1\"]\nc: [\n  \"one\" {x}\n  \"two\"\n]\n"
		"d:\n  aaaaaaaaaaaaaaaaaaaaaaaaaaaa = \"bbbbbbbbbbbbbbbbbbbbbb\" &\n  ccccccccccccccccccccccc != \"dddd\"\n"
		"t: \"\"\"\\\nline\nline \\\"\"\"\"\nu: \"\"\"\nx\"\"\"\nw: \"\"\"\\\n\\ y\nz\"\"\"\n"
		"s \"n\" {\n  a: 1\n}\nr {\n  \n}\n");
	const struct pkg_opam_doc again = read_c(normal(&d));
	CHECK(pkg_opam_same(d.first, again.first));
	const struct pkg_opam_doc other = read_c("a:\"x\" b:[ \"2\" ]");
	CHECK(!pkg_opam_same(d.first, other.first));
	CHECK_STR(value("! = \"x\""), "! = \"x\"");
	CHECK_STR(value("!= \"x\""), "!= \"x\"");
}

/* As opam 2.1.2 wrote them: its root's config, repos-config, a switch's switch-state and switch-config, and what a package installed. */
TEST(files_of_a_root_are_laid_out_as_they_were)
{
	static const char *const v[] = {
		("opam-version: \"2.0\"\nopam-root-version: \"2.1\"\nrepositories: \"default\"\ninstalled-switches: \"s\"\nswitch: \"s\"\n"
		 "download-jobs: 3\neval-variables: [\n  [\n    sys-ocaml-version\n    [\"ocamlc\" \"-vnum\"]\n"
		 "    \"OCaml version present on your system independently of opam, if any\"\n  ]\n]\n"
		 "default-compiler: [\"ocaml-system\" \"ocaml-base-compiler\"]\ndefault-invariant: [\n  \"ocaml\" {>= \"4.05.0\"}\n]\n"
		 "depext: true\ndepext-run-installs: true\ndepext-cannot-install: false\n"),
		("opam-version: \"2.0\"\nrepositories: \"default\" {\"file:///r/repo\"}\n"),
		("opam-version: \"2.0\"\nroots: [\"a.1\"]\ninstalled: [\"a.1\"]\n"),
		("opam-version: \"2.0\"\nsynopsis: \"s\"\nopam-root: \"/r\"\npaths {\n  \n}\nvariables {\n  user: \"root\"\n  group: "
		 "\"root\"\n}\n"),
		("opam-version: \"2.0\"\nadded: \"lib/x\" {\"F:S0T1795325974.96\"}\n"),
	};
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		const struct pkg_opam_doc d = read_c(v[i]);
		CHECK_STR(back(&d), v[i]);
		CHECK_STR(normal(&d), v[i]);
	}
}

/* -- changing ------------------------------------------------------------------------------------------------------ */

static const char *edited(const char *text, const char *field, const char *v)
{
	const struct pkg_opam_doc d = read_c(text);
	auto_buf b = BUF_INIT(BUF_MAX);
	struct pkg_opam_value *x = v ? pkg_opam_make(&a, PKG_OPAM_STRING, str_c(v)) : NULL;
	pkg_opam_edit(&d, field, x, &b);
	(void)doc_of(buf_str(&b));
	return arena_strdup(&a, buf_str(&b));
}

TEST(one_field_is_changed_and_all_else_stays)
{
	CHECK_STR(edited("a : 1 # one\n b: 2", "a", "x"), "a: \"x\" # one\n b: 2");
	CHECK_STR(edited("a: 1\n(* c *)\nurl {\n}\n", "b", "x"), "a: 1\nb: \"x\"\n(* c *)\nurl {\n}\n");
	CHECK_STR(edited("url { b: 1 }", "b", "x"), "b: \"x\"\nurl { b: 1 }");
	CHECK_STR(edited("", "b", "x"), "b: \"x\"\n");
	CHECK_STR(edited("a: 1\n  b: 2 \nc: 3", "b", NULL), "a: 1\nc: 3");
	CHECK_STR(edited("a: 1 b: 2 c: 3", "b", NULL), "a: 1  c: 3");
	CHECK_STR(edited("a: 1", "b", NULL), "a: 1");
}

TEST(trees_are_made)
{
	struct pkg_opam_value *x = pkg_opam_make(&a, PKG_OPAM_STRING, STR("x.1"));
	struct pkg_opam_value *y = pkg_opam_make(&a, PKG_OPAM_IDENT, STR("y"));
	const struct pkg_opam_value *both[] = {x, y};
	struct pkg_opam_item *f = pkg_opam_make_field(&a, "installed", pkg_opam_make_list(&a, PKG_OPAM_LIST, both, 2));
	f->next = pkg_opam_make_section(&a, "s", STR("t"), pkg_opam_make_field(&a, "k", x));
	auto_buf b = BUF_INIT(BUF_MAX);
	pkg_opam_print_normal(f, &b);
	CHECK_STR(b.p, "installed: [\"x.1\" y]\ns \"t\" {\n  k: \"x.1\"\n}\n");
	const struct pkg_opam_doc d = doc_of(buf_str(&b));
	CHECK(pkg_opam_same(f, d.first));
}

/* -- all files of two real repositories --------------------------------------------------------------------------- */

static void check_file(struct str path, struct str text)
{
	auto_arena arena = ARENA_INIT;
	auto_buf same = BUF_INIT(BUF_MAX), laid = BUF_INIT(BUF_MAX);
	struct pkg_opam_doc d, again;
	CHECK_MSG(pkg_opam_read(&arena, text, path.p, &d, &e) == 0, "%s", e.msg);
	pkg_opam_print(&d, &same);
	CHECK_MSG(str_eq(buf_str(&same), text), "%s: it is printed otherwise", path.p);
	pkg_opam_print_normal(d.first, &laid);
	CHECK_MSG(pkg_opam_read(&arena, buf_str(&laid), "laid out", &again, &e) == 0, "%s: %s", path.p, e.msg);
	CHECK_MSG(pkg_opam_same(d.first, again.first), "%s: laid out it says something else", path.p);
}

static size_t check_tar(const char *path)
{
	auto_fd fd = open(test_shared(path), O_RDONLY | O_CLOEXEC);
	auto_buf text = BUF_INIT(PKG_OPAM_FILE_MAX);
	struct tar_entry en;
	size_t files = 0;
	int rc;
	CHECK(fd >= 0);
	auto_ptr(istream) s = istream_unpack(istream_fd(fd, path), str_c(path));
	auto_ptr(tar_reader) r = tar_reader_new(s, path);
	while ((rc = tar_next(r, &en, &e)) > 0) {
		if (en.kind != TAR_FILE || !str_ends(en.path, STR("/opam")))
			continue;
		buf_clear(&text);
		buf_reserve(&text, en.size);
		CHECK(!text.overflow);
		ssize_t n;
		while ((n = tar_read(r, text.p + text.n, en.size - text.n, &e)) > 0)
			text.n += (size_t)n;
		CHECK_INT(text.n, en.size);
		check_file(en.path, buf_str(&text));
		files++;
	}
	CHECK_INT(rc, 0);
	return files;
}

TEST(every_file_of_two_repositories_comes_back)
{
	CHECK_INT(check_tar("data/opam/opam-files-2026.tar.zst"), 18793);
	CHECK_INT(check_tar("data/opam/opam-files-2025-05-06.tar.zst"), 22996);
}
