// SPDX-License-Identifier: Apache-2.0
#include "channel/channel.h"

#include <fcntl.h>

#include "base/fs.h"
#include "channel/index_format.h"
#include "channel/scan.h"
#include "lib/test.h"

static struct arena a;
static struct channel channel = {.url = {"https://h/c", 11}, .shown = {"https://h/c", 11}};

static int tmp_dir(void)
{
	static int fd = -1;
	if (fd < 0)
		fd = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

/* A stream that gives its bytes in pieces, so that records meet the end of the window everywhere. */
struct pieces {
	struct istream base;
	struct str left;
	size_t piece;
};

static ssize_t pieces_read(struct istream *s, void *p, size_t n, struct err *e)
{
	(void)e;
	struct pieces *x = (struct pieces *)s;
	size_t k = x->left.n < x->piece ? x->left.n : x->piece;
	k = k < n ? k : n;
	memcpy(p, x->left.p, k);
	x->left = str_skip(x->left, k);
	return (ssize_t)k;
}

static void pieces_free(struct istream *s)
{
	(void)s;
}

static struct istream *pieces_of(struct str text, size_t piece)
{
	static const struct istream_ops ops = {.read = pieces_read, .free = pieces_free};
	struct pieces *x = xcalloc(1, sizeof(*x));
	*x = (struct pieces){.base = {.ops = &ops, .name = "repodata.json"}, .left = text, .piece = piece};
	return &x->base;
}

static int make_text(struct str text, size_t piece, struct err *e)
{
	auto_ptr(index_builder) b = index_builder_new(tmp_dir(), "x.idx", STR("linux-64"), e);
	auto_ptr(istream) in = pieces_of(text, piece);
	if (!b || index_builder_json(b, in, NULL, e) < 0)
		return -1;
	return index_builder_finish(b, e);
}

static struct index *make(const char *text, size_t piece)
{
	struct err e = ERR_INIT;
	struct index *ix;
	if (make_text(str_c(text), piece, &e) < 0 || index_open(tmp_dir(), "x.idx", &ix, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
	return ix;
}

/* One record as text: everything that an index gives of it. */
static const char *shown(const struct index *ix, struct ix_pkg p)
{
	struct pkg_record r;
	struct err e = ERR_INIT;
	if (index_record(ix, p, &channel, &a, &r, &e) < 0)
		return NULL;
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_printf(&b, "%.*s %.*s %.*s %.*s %llu %.*s %llu %llu %.*s|%.*s|%.*s|%.*s|%.*s", STR_ARG(r.fn),
		   STR_ARG(r.name), STR_ARG(r.version), STR_ARG(r.build), (unsigned long long)r.build_number,
		   STR_ARG(r.subdir), (unsigned long long)r.size, (unsigned long long)r.timestamp_ms, STR_ARG(r.noarch),
		   STR_ARG(r.license), STR_ARG(r.track_features), STR_ARG(r.extra_json), STR_ARG(r.url));
	for (uint32_t i = 0; i < r.depends_n; i++)
		buf_printf(&b, " d:%.*s", STR_ARG(r.depends[i]));
	for (uint32_t i = 0; i < r.constrains_n; i++)
		buf_printf(&b, " c:%.*s", STR_ARG(r.constrains[i]));
	if (r.has_sha256)
		buf_put_hex(&b, r.sha256, SHA256_SIZE);
	if (r.has_md5)
		buf_put_hex(&b, r.md5, MD5_SIZE);
	return arena_strdup(&a, buf_str(&b));
}

static const char *dump(const struct index *ix)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	uint32_t names = index_name_count(ix);
	for (uint32_t n = 0; n < names; n++) {
		struct ix_pkg first;
		struct ix_name back;
		uint32_t count = index_packages(ix, (struct ix_name){n}, &first);
		struct str name = index_name(ix, (struct ix_name){n});
		buf_printf(&b, "%.*s %u %d\n", STR_ARG(name), count, index_find_name(ix, name, &back) && back.n == n);
		for (uint32_t i = 0; i < count; i++) {
			const char *one = shown(ix, (struct ix_pkg){first.n + i});
			buf_printf(&b, "  %s\n", one ? one : "?");
		}
	}
	return arena_strdup(&a, buf_str(&b));
}

static const char *fn_at(const struct index *ix, const char *name, uint32_t i)
{
	struct ix_name n;
	struct ix_pkg first;
	struct pkg_record r;
	struct err e = ERR_INIT;
	if (!index_find_name(ix, str_c(name), &n) || i >= index_packages(ix, n, &first))
		return "none";
	CHECK_INT(index_record(ix, (struct ix_pkg){first.n + i}, &channel, &a, &r, &e), 0);
	return arena_strdup(&a, r.fn);
}

#define SHA "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define SMALL                                                                                                                  \
	"{\"info\": {\"subdir\": \"linux-64\"},\n \"packages\": {\n"                                                           \
	"  \"x-1.0-0.tar.bz2\": {\"name\":\"x\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":0,"                       \
	"\"depends\":[\"Python >=3.8\",\"y\",\"*[sha256=00]\"],\"size\":12,\"md5\":\"00112233445566778899aabbccddeeff\"},\n"   \
	"  \"x-1.10-0.tar.bz2\": {\"name\":\"x\",\"version\":\"1.10\",\"build\":\"0\",\"build_number\":0,"                     \
	"\"depends\":[],\"license\":\"MIT\",\"subdir\":\"noarch\",\"noarch\":\"python\"}},\n"                                  \
	" \"packages.conda\": {\n"                                                                                             \
	"  \"x-1.0-0.conda\": {\"name\":\"x\",\"version\":\"1.0\",\"build\":\"0\",\"build_number\":0,\"subdir\":\"linux-64\"," \
	"\"depends\":[\"y\"],\"constrains\":[\"z <2\"],\"timestamp\":1600000000,\"sha256\":\"" SHA "\",\"size\":11,"           \
	"\"license\":\"caf\\u00e9\",\"purls\":[{\"a\":1.5e3}]}},\n"                                                            \
	" \"removed\": [\"old-1-0.conda\"], \"signatures\": {\"a\":{\"b\":[\"]}\\\"\"]}}, \"repodata_version\": 1}\n"

TEST(a_channel_is_read_the_same_in_any_pieces)
{
	struct index *ix = make(SMALL, 1 << 20);
	const char *whole = dump(ix);
	index_free(ix);
	for (size_t piece = 1; piece < 40; piece++) {
		ix = make(SMALL, piece);
		CHECK_STR(dump(ix), whole);
		index_free(ix);
	}
}

TEST(records_are_whole)
{
	auto_ptr(index) ix = make(SMALL, 7);
	struct ix_name n;
	struct ix_pkg first;
	CHECK(index_find_name(ix, STR("x"), &n));
	CHECK_INT(index_packages(ix, n, &first), 2);
	CHECK_STR(shown(ix, first), "x-1.10-0.tar.bz2 x 1.10 0 0 noarch 0 0 python|MIT|||"
				    "https://h/c/linux-64/x-1.10-0.tar.bz2");
	first.n++;
	CHECK_STR(shown(ix, first),
		  "x-1.0-0.conda x 1.0 0 0 linux-64 11 1600000000000 |caf\xc3\xa9||\"purls\":[{\"a\":1.5e3}]|"
		  "https://h/c/linux-64/x-1.0-0.conda d:y c:z <2" SHA);
	struct index_info info = index_info(ix);
	CHECK_INT(info.packages, 2);
	CHECK_INT(info.removed, 1);
	CHECK(index_is_removed(ix, STR("old-1-0.conda")));
	CHECK(!index_is_removed(ix, STR("x-1.0-0.conda")));
}

TEST(of_twins_only_the_conda_stays)
{
	static const char *const orders[] = {
		"{\"packages\":{\"x-1-0.tar.bz2\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"}},"
		"\"packages.conda\":{\"x-1-0.conda\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"}}}",
		"{\"packages.conda\":{\"x-1-0.conda\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"}},"
		"\"packages\":{\"x-1-0.tar.bz2\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"}}}",
		"{\"packages\":{\"odd.tar.bz2\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"}},"
		"\"packages.conda\":{\"odd.conda\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"}}}",
	};
	for (size_t i = 0; i < 3; i++) {
		auto_ptr(index) ix = make(orders[i], 1 << 20);
		CHECK_INT(index_info(ix).packages, 1);
		CHECK_STR(fn_at(ix, "x", 0), i < 2 ? "x-1-0.conda" : "odd.conda");
	}
}

static const char *ordered(const char *const *members, size_t n)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_c(&b, "{\"packages.conda\":{");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s\"f%zu.conda\":{\"name\":\"x\",%s}", i ? "," : "", i, members[i]);
	buf_put_c(&b, "}}");
	struct index *ix = make(b.p, 1 << 20);
	buf_clear(&b);
	for (uint32_t i = 0; i < n; i++)
		buf_printf(&b, "%.2s", fn_at(ix, "x", i));
	index_free(ix);
	return arena_strdup(&a, buf_str(&b));
}

TEST(packages_stand_best_first)
{
	const char *const versions[] = {"\"version\":\"1.0rc1\",\"build\":\"a\"",
					"\"version\":\"1.10\",\"build\":\"a\"", "\"version\":\"1.9\",\"build\":\"a\"",
					"\"version\":\"1!0.1\",\"build\":\"a\""};
	CHECK_STR(ordered(versions, 4), "f3f1f2f0");
	const char *const rest[] = {
		"\"version\":\"2\",\"build\":\"a\",\"build_number\":9,\"track_features\":\"mkl\"",
		"\"version\":\"1\",\"build\":\"b\",\"build_number\":1,\"timestamp\":1600000000000",
		"\"version\":\"1.0\",\"build\":\"a\",\"build_number\":1,\"timestamp\":1600000000001",
		"\"version\":\"1\",\"build\":\"c\",\"build_number\":2,\"track_features\":\"\"",
		"\"version\":\"1\",\"build\":\"a\",\"build_number\":1,\"timestamp\":1600000000000",
	};
	CHECK_STR(ordered(rest, 5), "f3f2f4f1f0");
}

TEST(files_are_found_by_name)
{
	auto_ptr(index)
		ix = make("{\"packages.conda\":{\"a-b-1-0.conda\":{\"name\":\"a-b\",\"version\":\"1\",\"build\":\"0\"},"
			  "\"Strange.conda\":{\"name\":\"a-b\",\"version\":\"1\",\"build\":\"0\"}}}",
			  1 << 20);
	struct ix_pkg p;
	struct pkg_record r;
	struct err e = ERR_INIT;
	CHECK(index_find_file(ix, STR("a-b-1-0.conda"), &p));
	CHECK(index_find_file(ix, STR("Strange.conda"), &p));
	CHECK_INT(index_record(ix, p, &channel, &a, &r, &e), 0);
	CHECK_STR(arena_strdup(&a, r.fn), "Strange.conda");
	CHECK(!index_find_file(ix, STR("a-b-1-0.tar.bz2"), &p));
	CHECK(!index_find_file(ix, STR("a-b-2-0.conda"), &p));
	CHECK(!index_find_file(ix, STR("nothing"), &p));
}

TEST(specs_know_their_names)
{
	auto_ptr(index) ix = make(SMALL, 1 << 20);
	struct ix_name n;
	for (uint32_t i = 0; i < index_spec_count(ix); i++) {
		struct str text = index_spec_text(ix, (struct ix_spec){i});
		struct str name = index_name(ix, index_spec_name(ix, (struct ix_spec){i}));
		const char *want = str_eq(text, STR("Python >=3.8")) ? "python"
				   : str_eq(text, STR("y"))	     ? "y"
				   : str_eq(text, STR("z <2"))	     ? "z"
								     : "";
		CHECK_STR(arena_strdup(&a, name), want);
	}
	CHECK(index_find_name(ix, STR("python"), &n));
	struct ix_pkg first;
	CHECK_INT(index_packages(ix, n, &first), 0);
	CHECK(!index_find_name(ix, STR("pytho"), &n));
}

TEST(base_url_and_relations)
{
	auto_ptr(index)
		ix = make("{\"packages\":{\"x-1-0.tar.bz2\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\"}},"
			  "\"info\":{\"base_url\":\"../files\",\"channel_relations\":{\"base\":\"../b\",\"x\":1,"
			  "\"overrides\":\"../..\"}},\"repodata_version\":2}",
			  3);
	struct index_info info = index_info(ix);
	CHECK_STR(arena_strdup(&a, info.base_url), "../files");
	CHECK_STR(arena_strdup(&a, info.relation_base), "../b");
	CHECK_STR(arena_strdup(&a, info.relation_overrides), "../..");
	CHECK(strstr(shown(ix, (struct ix_pkg){0}), "https://h/c/files/x-1-0.tar.bz2"));
}

TEST(v3_records)
{
	auto_ptr(index)
		ix = make("{\"v3\":{\"whl\":{\"w-1-0\":{}},\"conda\":{\"x-1-0\":{\"name\":\"x\",\"version\":\"1\","
			  "\"build\":\"0\",\"depends\":[\"y[when=\\\"z\\\"]\"],\"extra_depends\":{\"t\":[\"u\"]}}}}}",
			  5);
	CHECK_INT(index_info(ix).packages, 1);
	CHECK(index_pkg(ix, (struct ix_pkg){0}).is_v3);
	CHECK_STR(fn_at(ix, "x", 0), "x-1-0.conda");
	CHECK(strstr(shown(ix, (struct ix_pkg){0}), "\"extra_depends\":{\"t\":[\"u\"]}"));
	CHECK(strstr(shown(ix, (struct ix_pkg){0}), "d:y[when=\"z\"]"));
}

TEST(an_empty_file_is_an_empty_channel)
{
	for (int i = 0; i < 3; i++) {
		auto_ptr(index) ix = make(i == 0 ? "" : i == 1 ? " \n" : "{}", 1);
		CHECK_INT(index_info(ix).packages, 0);
		CHECK_STR(arena_strdup(&a, index_info(ix).subdir), "linux-64");
	}
}

TEST(bad_text_is_refused_with_its_place)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"<html>", "repodata.json: offset 0: this is no repodata"},
		{"{\"packages\":{", "offset 13: the file ends too early: it is truncated"},
		{"{\"packages\":[]}", "offset 12: expected '{'"},
		{"{\"repodata_version\":3}", "newer than this program"},
		{"{} x", "more text after the end"},
		{"{\"packages\":{},}", "expected a string"},
		{"{\"packages\" {}}", "expected ':'"},
		{"{\"packages\":{\"a.conda\" {}}}", "offset 23: expected ':'"},
		{"{\"packages\":{\"a.conda\":{\"name\":\"a\" \"x\":1}}}", "offset 35: expected ',' or '}'"},
		{"{\"packages\":{\"a.conda\":{\"name\" 1}}}", "expected ':'"},
		{"{\"packages\":{\"a.conda\":{\"name\":}}}", "expected a value"},
		{"{\"packages\":{\"a.conda\":{\"name\":[}", "truncated"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e = ERR_INIT;
		CHECK_MSG(make_text(str_c(cases[i].text), 3, &e) < 0, "accepted: %s", cases[i].text);
		CHECK_MSG(strstr(e.msg, cases[i].message), "%s\n#   gives '%s'\n#   not '%s'", cases[i].text, e.msg,
			  cases[i].message);
	}
}

/* One malformed record must not take a channel from everybody. */
TEST(a_bad_record_is_left_out)
{
	static const struct {
		const char *record, *first;
	} cases[] = {
		{"\"a.conda\":1", "'a.conda' ('record': not an object)"},
		{"\"a.conda\":[{\"name\":\"a\"}]", "not an object"},
		{"\"a.conda\":{}", "'a.conda' (empty package name)"},
		{"\"a.conda\":{\"name\":\"a\"}", "'a.conda' (record has no version)"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"\"}", "no version"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"1..2\"}", "version '1..2'"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"1/2\"}", "holds a character that it may not"},
		{"\"a.conda\":{\"name\":1}", "('name': expected a string)"},
		{"\"a.conda\":{\"name\":{\"x\":[1]}}", "('name': expected a string)"},
		{"\"a.conda\":{\"size\":-1}", "('size': expected a number"},
		{"\"a.conda\":{\"size\":99999999999999999999}", "('size': number too large)"},
		{"\"a.conda\":{\"build_number\":\"1\"}", "('build_number': expected a number"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"1\",\"build_number\":4294967296}", "too large"},
		{"\"a.conda\":{\"timestamp\":281474976710656}", "('timestamp': timestamp is too large)"},
		{"\"a.conda\":{\"md5\":\"xx\"}", "('md5': expected 32 hexadecimal digits)"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"1\",\"x\":tru}", "wrong"},
		{"\"../a.conda\":{\"name\":\"a\",\"version\":\"1\",\"build\":\"0\"}",
		 "is not the name of a package file"},
		{"\"a.conda\":{\"name\":\"a/b\",\"version\":\"1\"}", "only a-z, 0-9, '.', '_' and '-' are allowed"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"1\"}", "'a.conda' (empty build string)"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"1\",\"build\":\"0-1\"}", "build string '0-1': only"},
		{"\"a.conda\":{\"size\":9223372036854775808}", "('size': number too large)"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"1\",\"x\":[1e999]}", "a number is too large"},
		{"\"a.conda\":{\"name\":\"a\",\"depends\":[\"\xff\"]}", "invalid UTF-8"},
		{"\"a.conda\":{\"name\":\"a\",\"depends\":[1]}", "a dependency is not a string"},
		{"\"a.conda\":{\"name\":\"a\",\"depends\":[\"b\" \"c\"]}", "expected ','"},
		{"\"a.conda\":{\"name\":\"a\",\"depends\":{}}", "('depends': expected a list"},
		{"\"a.conda\":{\"name\":\"\\ud800\"}", "wrong escape"},
		{"\"a.conda\":{\"name\":\"a\",\"version\":\"1\",\"x\":\"\\ud800\"}", "wrong escape"},
	};
	static const char good[] =
		"\"b-1-0.conda\":{\"name\":\"b\",\"version\":\"1\",\"build\":\"0\",\"depends\":[\"a\"]}";
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (int where = 0; where < 4; where++) { /* alone, first, last, twice */
			const char *r = cases[i].record;
			const char *text = arena_printf(&a, "{\"packages.conda\":{%s%s%s%s%s},\"packages\":{}}", r,
							where ? "," : "", where ? good : "", where > 1 ? "," : "",
							where > 1 ? r : "");
			auto_ptr(index) ix = make(text, 3);
			struct index_info info = index_info(ix);
			CHECK_INT(info.packages, where ? 1 : 0);
			CHECK_INT(info.left_out, where > 1 ? 2 : 1);
			const char *first = arena_strdup(&a, info.left_out_first);
			CHECK_MSG(strstr(first, cases[i].first), "%s\n#   gives %s\n#   not %s", r, first,
				  cases[i].first);
		}
	auto_ptr(index) ix = make(SMALL, 64);
	CHECK_INT(index_info(ix).left_out, 0);
	CHECK_INT(index_info(ix).left_out_first.n, 0);
}

/* What an uploader can make as large or deep as she likes is no reason to refuse the others either. */
TEST(a_bad_record_may_be_large)
{
	struct buf name = BUF_INIT(1 << 20), deep = BUF_INIT(1 << 20), spec = BUF_INIT(4 << 20);
	for (int i = 0; i < 300; i++)
		buf_put_char(&name, 'n');
	for (int i = 0; i < 3 << 19; i++)
		buf_put_char(&spec, 's');
	for (int i = 0; i < 400; i++)
		buf_put_char(&deep, i < 200 ? '[' : ']');
	const char *text = arena_printf(&a,
					"{\"packages\":{\"a-1-0.conda\":{\"name\":\"%s\",\"version\":\"1\"},"
					"\"b-1-0.conda\":{\"name\":\"b\",\"version\":\"1%s\"},"
					"\"c-1-0.conda\":{\"name\":\"c\",\"version\":\"1\",\"depends\":[\"%s\"]},"
					"\"d-1-0.conda\":{\"name\":\"d\",\"version\":\"1\",\"x\":%s},"
					"\"%s.conda\":{\"name\":\"e\",\"version\":\"1\"},"
					"\"f-1-0.conda\":{\"name\":\"f\",\"version\":\"1\",\"build\":\"0\"}}}",
					name.p, name.p, spec.p, deep.p, name.p);
	auto_ptr(index) ix = make(text, 1 << 16);
	CHECK_INT(index_info(ix).packages, 1);
	CHECK_INT(index_info(ix).left_out, 5);
	CHECK(index_info(ix).left_out_first.n < 600);
	buf_release(&name);
	buf_release(&deep);
	buf_release(&spec);
}

/* A lock must be readable again, whatever a channel says. */
TEST(text_that_no_lock_can_hold_is_dropped)
{
	auto_ptr(index) ix = make("{\"packages\":{\"a-1-0.conda\":{\"name\":\"a\",\"version\":\"1\",\"build\":\"0\","
				  "\"license\":\"x\\u0000y\",\"noarch\":\"generic\"}}}",
				  64);
	struct pkg_record r;
	struct err e = ERR_INIT;
	CHECK_INT(index_record(ix, (struct ix_pkg){0}, &channel, &a, &r, &e), 0);
	CHECK_INT(r.license.n, 0);
	CHECK(str_eq(r.noarch, STR("generic")));
}

TEST(a_list_of_dependencies_has_a_bound)
{
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(
		&b,
		"{\"packages\":{\"a-1-0.conda\":{\"name\":\"a\",\"version\":\"1\",\"build\":\"0\",\"depends\":[\"b\"");
	for (int i = 0; i < PKG_DEPENDS_MAX; i++)
		buf_put_c(&b, ",\"b\"");
	buf_put_c(&b, "]}}}");
	auto_ptr(index) ix = make(b.p, 4096);
	CHECK_INT(index_info(ix).packages, 0);
	CHECK(strstr(arena_strdup(&a, index_info(ix).left_out_first), "more than 20000 dependencies"));
}

TEST(every_cut_is_noticed)
{
	struct str text = STR(SMALL);
	for (size_t n = 1; n < text.n - 2; n++) {
		struct err e = ERR_INIT;
		CHECK_MSG(make_text(str_head(text, n), 64, &e) < 0, "cut at %zu is accepted", n);
		CHECK(strstr(e.msg, "truncated"));
	}
}

TEST(a_failed_run_leaves_the_old_index)
{
	index_free(make(SMALL, 64));
	struct err e = ERR_INIT;
	struct index *ix;
	CHECK(make_text(STR("{\"packages\":"), 64, &e) < 0);
	CHECK_INT(index_open(tmp_dir(), "x.idx", &ix, &e), 0);
	CHECK_INT(index_info(ix).packages, 2);
	index_free(ix);
	struct fs_list list;
	CHECK_INT(fs_list(tmp_dir(), ".", 100, &list, &e), 0);
	CHECK_INT(list.n, 1); /* nothing is left behind */
	fs_list_release(&list);
}

TEST(records_go_in_and_come_out)
{
	struct err e = ERR_INIT;
	struct str depends[] = {STR("__glibc >=2.17"), STR("b")};
	struct pkg_record in = {.name = STR("v"),
				.version = STR("2"),
				.build = STR("0"),
				.build_number = 3,
				.subdir = STR("linux-64"),
				.noarch = STR("generic"),
				.license = STR("a \"b\""),
				.extra_json = STR("\"k\":[1]"),
				.depends = depends,
				.depends_n = 2};
	auto_ptr(index_builder) b = index_builder_new(tmp_dir(), "r.idx", STR("linux-64"), &e);
	CHECK_INT(index_builder_record(b, &in, &e), 0);
	CHECK_INT(index_builder_finish(b, &e), 0);
	auto_ptr(index) ix = NULL;
	CHECK_INT(index_open(tmp_dir(), "r.idx", &ix, &e), 0);
	CHECK_STR(shown(ix, (struct ix_pkg){0}), "v-2-0.conda v 2 0 3 linux-64 0 0 generic|a \"b\"||\"k\":[1]|"
						 "https://h/c/linux-64/v-2-0.conda d:__glibc >=2.17 d:b");
}

/* A real channel, for counts and speed of refills. */
TEST(the_real_noarch_channel)
{
	auto_buf text = BUF_INIT(64 << 20);
	struct err e = ERR_INIT;
	CHECK_INT(fs_read(AT_FDCWD, test_shared("data/conda/pair-2021-07-01/noarch-repodata.json"), &text, &e), 0);
	CHECK_INT(make_text(buf_str(&text), 4097, &e), 0);
	auto_ptr(index) ix = NULL;
	CHECK_INT(index_open(tmp_dir(), "x.idx", &ix, &e), 0);
	CHECK_INT(index_info(ix).packages, 4015);
	CHECK_INT(index_info(ix).versions, 1476);
	uint32_t with_packages = 0;
	for (uint32_t n = 0; n < index_name_count(ix); n++) {
		struct ix_pkg first;
		with_packages += index_packages(ix, (struct ix_name){n}, &first) > 0;
	}
	CHECK_INT(with_packages, 1344);
	CHECK_STR(fn_at(ix, "six", 0), "six-1.16.0-pyhd3eb1b0_0.conda");
}

/* -- damage ------------------------------------------------------------------------------------------------------ */

static void write_file(const char *name, const char *p, size_t n)
{
	struct err e = ERR_INIT;
	CHECK_INT(fs_replace(tmp_dir(), name, p, n, 0, &e), 0);
}

/* The content of a changed copy: NULL where the damage is noticed. */
static const char *damaged_dump(const char *p, size_t n)
{
	struct index *ix;
	struct err e = ERR_INIT;
	write_file("d.idx", p, n);
	if (index_open(tmp_dir(), "d.idx", &ix, &e) < 0) {
		CHECK_INT(e.code, ERR_VERIFY);
		return NULL;
	}
	const char *all = dump(ix);
	if (index_check(ix, &e) < 0) {
		CHECK_INT(e.code, ERR_VERIFY);
		all = NULL;
	}
	index_free(ix);
	return all;
}

TEST(any_changed_byte_is_noticed_or_has_no_meaning)
{
	struct index *ix = make(SMALL, 64);
	const char *whole = dump(ix);
	index_free(ix);
	auto_buf file = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	unsigned noticed = 0;
	CHECK_INT(fs_read(tmp_dir(), "x.idx", &file, &e), 0);
	CHECK_STR(damaged_dump(file.p, file.n), whole);
	for (size_t i = 0; i < file.n; i += 13) {
		file.p[i] ^= 0x41;
		const char *now = damaged_dump(file.p, file.n);
		if (!now)
			noticed++;
		else
			CHECK_STR(now, whole);
		file.p[i] ^= 0x41;
	}
	CHECK(noticed > 300);
}

TEST(a_cut_or_foreign_file_is_no_index)
{
	index_free(make(SMALL, 64));
	auto_buf file = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	CHECK_INT(fs_read(tmp_dir(), "x.idx", &file, &e), 0);
	for (size_t n = 0; n < file.n; n += 509)
		CHECK(!damaged_dump(file.p, n));
	memset(file.p, 0, 8);
	CHECK(!damaged_dump(file.p, file.n));
}

/* -- the scanner ------------------------------------------------------------------------------------------------- */

static const char *checked(const char *text)
{
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(&b, text);
	scan_pad(&b);
	return scan_check(buf_str(&b));
}

TEST(strict_json)
{
	static const char *const good[] = {"{}",
					   "[]",
					   "[1]",
					   "[-0.5e+10,0,10]",
					   "{\"a\":[{},[]],\"b\":null}",
					   "[true,false,null,\"\\n\\u0041\\ud83d\\ude00\"]",
					   " [ 1 , 2 ] "};
	static const char *const bad[] = {"",	      "[",	    "]",     "[1,]",	       "[,1]",
					  "{\"a\"}",  "{\"a\":}",   "{a:1}", "[01]",	       "[1.]",
					  "[+1]",     "[1e]",	    "[nul]", "[1 2]",	       "[\"\\x\"]",
					  "[\"\t\"]", "{\"a\":1,}", "[}",    "[\"\xc0\x80\"]", "[1]]",
					  "[\"a]"};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK_MSG(!checked(good[i]), "%s: %s", good[i], checked(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_MSG(checked(bad[i]), "accepted: %s", bad[i]);
	char deep[400];
	memset(deep, '[', 200);
	memset(deep + 200, ']', 199);
	deep[399] = '\0';
	CHECK_STR(checked(deep), "nested too deep");
}
