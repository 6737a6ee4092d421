// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "channel/pypi.h"
#include "channel/pypi_html.h"
#include "lib/archive.h"

static struct arena a;
static struct err e;

static const char *in_tmp(const char *name)
{
	return arena_printf(&a, "%s/%s", test_tmp(), name);
}

static void put(const char *name, struct str text)
{
	char *folder = arena_strdup(&a, str_c(in_tmp(name)));
	*strrchr(folder, '/') = '\0';
	CHECK_INT(fs_mkdirs(AT_FDCWD, folder, 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp(name), text.p, text.n, 0, &e), 0);
}

static const char *get(const char *name)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct err ignored = ERR_INIT;
	return fs_read(AT_FDCWD, in_tmp(name), &b, &ignored) < 0 ? NULL : arena_strdup(&a, buf_str(&b));
}

static bool holds(const char *name, const char *what)
{
	const char *text = get(name);
	return text && strstr(text, what);
}

static const struct channel_kind *pypi(void)
{
	return channel_kind(STR("pypi"));
}

/* -- names --------------------------------------------------------------------------------------------------------- */

TEST(names)
{
	CHECK_STR(pypi_normal(&a, STR("Foo.Bar")).p, "foo-bar");
	CHECK_STR(pypi_normal(&a, STR("foo-_.-bar")).p, "foo-bar");
	CHECK_STR(pypi_normal(&a, STR("F__o")).p, "f-o");
	CHECK(pypi_is_name(STR("foo-bar1")));
	CHECK(!pypi_is_name(STR("-foo")) && !pypi_is_name(STR("foo-")) && !pypi_is_name(STR("")));
	CHECK(!pypi_is_name(STR("..")) && !pypi_is_name(STR("a/b")) && !pypi_is_name(STR("Foo")));
	CHECK(!pypi_is_name(STR("a--b")));
}

static bool split(const char *fn, const char *project, struct pypi_filename *f)
{
	return pypi_filename_read(&a, str_c(fn), project ? str_c(project) : STR_NONE, f);
}

TEST(file_names)
{
	struct pypi_filename f;
	CHECK(split("Foo_Bar-1.0-py3-none-any.whl", "foo-bar", &f));
	CHECK_INT(f.form, PYPI_WHEEL);
	CHECK(str_eq(f.version, STR("1.0")) && str_eq(f.platform, STR("any")));
	CHECK(split("a-1.0+x.1-1b-cp311-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "a", &f));
	CHECK(str_eq(f.version, STR("1.0+x.1")) && str_starts(f.platform, STR("manylinux_2_17")));
	CHECK(!split("a-1.0-b-cp311-abi3-any.whl", "a", &f)); /* a build begins with a digit */
	CHECK(!split("a-1.0-py3-none-any.whl", "b", &f));
	CHECK(!split("a-1.0-py3-any.whl", "a", &f));
	CHECK(!split("a-1.0-1-x-py3-none-any.whl", "a", &f));
	CHECK(split("old-style-0.9-1.tar.gz", "old-style", &f));
	CHECK(str_eq(f.version, STR("0.9-1")));
	CHECK(split("old-style-0.9.tar.gz", NULL, &f));
	CHECK(str_eq(f.version, STR("0.9")) && str_eq(f.project, STR("old-style")));
	CHECK(split("x-1.zip", "x", &f) && f.form == PYPI_SDIST);
	CHECK(split("x-1-py3.8.egg", "x", &f) && f.form == PYPI_OTHER && str_eq(f.version, STR("1")));
	CHECK(split("x-1.win32-py2.7.exe", "x", &f) && !f.version.n);
	CHECK(!split("x-1.txt", "x", &f) && !split("x.tar.gz", "x", &f) && !split(".tar.gz", NULL, &f));
	CHECK(!split("../x-1.tar.gz", "x", &f) && !split(".x-1.tar.gz", "x", &f) && !split("x -1.tar.gz", "x", &f));
	CHECK(!split("x-.tar.gz", "x", &f) || f.version.n);
}

/* -- paths and pages ----------------------------------------------------------------------------------------------- */

TEST(files_of_an_index)
{
	const struct channel_kind *k = pypi();
	CHECK_INT(channel_kind_file(k, STR("simple/index.html")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("simple/foo-bar/index.v1_json")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("simple/Foo/index.html")), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("simple/foo")), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("simple/foo/x/index.html")), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("packages/a/b/c/x-1.whl")), CHANNEL_FILE_PACKAGE);
	CHECK_INT(channel_kind_file(k, STR("packages/x-1.whl.metadata")), CHANNEL_FILE_NAMED);
	CHECK_INT(channel_kind_file(k, STR("pypi/x/json")), CHANNEL_FILE_NONE);
	CHECK_STR(channel_kind_type(k, STR("simple/x/index.v1_json")), "application/vnd.pypi.simple.v1+json");
	CHECK_STR(channel_kind_type(k, STR("simple/x/index.html")), "text/html; charset=utf-8");
}

static const char *answer(const char *folder, const char *accept)
{
	struct str path;
	return channel_kind_index(pypi(), str_c(folder), accept ? str_c(accept) : STR_NONE, &a, &path) > 0
		       ? arena_strdup(&a, path)
		       : "";
}

TEST(which_file_answers_for_a_folder)
{
	CHECK_STR(answer("simple", NULL), "simple/index.html");
	CHECK_STR(answer("simple/Foo_Bar", NULL), "simple/foo-bar/index.html");
	CHECK_STR(answer("simple/x", "*/*"), "simple/x/index.html");
	CHECK_STR(answer("simple/x", "text/html"), "simple/x/index.html");
	CHECK_STR(answer("simple/x", "application/vnd.pypi.simple.v1+json"), "simple/x/index.v1_json");
	/* pip */
	CHECK_STR(answer("simple/x", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, "
				     "text/html; q=0.01"),
		  "simple/x/index.v1_json");
	/* uv */
	CHECK_STR(answer("simple/x", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, "
				     "text/html;q=0.01"),
		  "simple/x/index.v1_json");
	CHECK_STR(answer("simple/x", "text/html, application/vnd.pypi.simple.latest+json;q=0.9"),
		  "simple/x/index.html");
	CHECK_STR(answer("simple/x", "text/html,application/xhtml+xml,*/*;q=0.8"), "simple/x/index.html");
	CHECK_STR(answer("simple/x", "application/*"), "simple/x/index.v1_json");
	CHECK_STR(answer("simple/x", "text/html;q=0, */*"), "simple/x/index.v1_json");
	CHECK_STR(answer("simple/x", "image/png"), "");
	CHECK_STR(answer("simple/x", "application/vnd.pypi.simple.v1+json;q=0"), "");
	CHECK_STR(answer("packages/x", NULL), "");
	CHECK_STR(answer("simple/x/y", NULL), "");
	CHECK_STR(answer("simple/..", NULL), "");
}

static struct pypi_page page(const char *name, const char *text)
{
	struct pypi_page p;
	CHECK_MSG(pypi_page_read(&a, str_c(name), str_c(text), "page", &p, &e) == 0, "%s", e.msg);
	return p;
}

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

TEST(html_as_others_write_it)
{
	struct pypi_page p = page(
		"x",
		"<!DOCTYPE html><html><!-- <a href='x-9.tar.gz'> --><script>'<a href=\"x-8.tar.gz\">'</script>\n"
		"<META content=1.0 NAME=\"pypi:repository-version\"><body><h1>Links</H1>\n"
		"<A HREF=\"../../packages/x-1.0.tar.gz#sha256=" SHA "\" data-requires-python='&gt;=3.6,&#60;4'\n"
		"\tdata-yanked>x</A><br/><a\nhref=x-2.0.tar.gz rel=internal>x</a>"
		"<a data-yanked=\"because &quot;so&quot; &amp; so\" href='https://h/p/x-0.9%2Bl.tar.gz?k=1#md5=0123456789abcdef0123456789abcdef'>"
		"<a href=\"x-2.0.tar.gz#sha256=" SHA "\">twice</a>"
		"<a href=\"y-1.0.tar.gz\">another's</a><a name=x-4.tar.gz><a href=>"
		"<a href=\"x-3-py3-none-any.whl\" data-dist-info-metadata=\"sha256=" SHA "\" data-gpg-sig=true>");
	CHECK_INT(p.n, 4);
	CHECK_INT(p.left_out, 3);
	CHECK(str_eq(p.file[0].filename, STR("x-0.9+l.tar.gz")));
	CHECK(p.file[0].yanked && str_eq(p.file[0].yank_reason, STR("because \"so\" & so")));
	CHECK_INT(pypi_digest(p.file[0].hash, p.file[0].hash_n).kind, DIGEST_MD5);
	CHECK(p.file[1].yanked && !p.file[1].yank_reason.n);
	CHECK(str_eq(p.file[1].requires_python, STR(">=3.6,<4")));
	CHECK(str_eq(p.file[2].filename, STR("x-2.0.tar.gz")) && !p.file[2].hash_n && !p.file[2].yanked);
	CHECK(p.file[3].has_metadata && str_eq(p.file[3].metadata.hex, STR(SHA)));
	CHECK_INT(p.file[3].gpg_sig, PYPI_SIG_YES);
}

TEST(html_that_breaks_off)
{
	static const char *const bad[] = {"<a",
					  "<a href",
					  "<a href=",
					  "<a href='x-1.tar.gz",
					  "<!--",
					  "<script>a",
					  "<a href=&#",
					  "<a href=\"&#0;\">",
					  "<",
					  "<a/",
					  "</a",
					  "<a =",
					  "<a href=x\xff>",
					  "<a href='&#1114112;'>"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		page("x", bad[i]);
	CHECK_INT(page("x", "").n, 0);
}

TEST(versions_of_pages)
{
	struct pypi_page p;
	CHECK_INT(pypi_page_read(&a, STR("x"), STR("<meta name='pypi:repository-version' content='2.0'>"), "page", &p,
				 &e),
		  -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
	CHECK_INT(pypi_page_read(&a, STR("x"), STR("{\"meta\":{\"api-version\":\"2.0\"},\"files\":[]}"), "page", &p,
				 &e),
		  -1);
	CHECK_INT(e.code, ERR_UNSUPPORTED);
	CHECK_INT(pypi_page_read(&a, STR("x"), STR("{\"files\":7}"), "page", &p, &e), -1);
	CHECK_INT(pypi_page_read(&a, STR("x"), STR("{\"files\":["), "page", &p, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(page("x", "{\"meta\":{\"api-version\":\"1.4\"}}").minor, 4);
	CHECK_INT(
		page("x", "{\"files\":[null,7,{},{\"filename\":1,\"url\":\"u\"},{\"filename\":\"x-1.zip\"}]}").left_out,
		5);
}

static const char json_page[] =
	"{\"meta\":{\"api-version\":\"1.1\",\"_last-serial\":7},\"name\":\"x\",\"project-status\":{\"status\":\"archived\"},"
	"\"files\":["
	"{\"filename\":\"x-10.tar.gz\",\"url\":\"https://h/a/x-10.tar.gz\",\"hashes\":{\"blake2b\":\"" SHA
	"\",\"sha256\":\"" SHA "\"},\"size\":5,\"upload-time\":\"2026-11-21T04:41:44.123456Z\",\"yanked\":\"bad\","
	"\"requires-python\":null,\"new-key\":[1]},"
	"{\"filename\":\"x-9-py3-none-any.whl\",\"url\":\"../../packages/x/x-9-py3-none-any.whl\",\"hashes\":{\"sha256\":\"" SHA
	"\"},\"size\":6,\"core-metadata\":{\"sha256\":\"" SHA "\"},\"yanked\":false,\"requires-python\":\">=3\"}]}";

/* Both forms say the same, and so do they when they are written again. */
TEST(written_and_read_again)
{
	auto_buf json = BUF_INIT(BUF_MAX), html = BUF_INIT(BUF_MAX), again = BUF_INIT(BUF_MAX);
	struct pypi_page p = page("x", json_page);
	CHECK_INT(p.n, 2);
	CHECK(str_eq(p.file[0].version, STR("9")) && str_eq(p.file[1].version, STR("10")));
	pypi_page_json(&p, &json);
	pypi_page_html(&p, &html);
	CHECK(strstr(json.p, "\"new-key\":[1]") || strstr(json.p, "\"new-key\": [1]"));
	CHECK(strstr(json.p, "_last-serial") && strstr(json.p, "archived") && strstr(json.p, "blake2b"));
	CHECK(strstr(json.p, "1.1"));
	struct pypi_page j = page("x", json.p), h = page("x", html.p);
	pypi_page_json(&j, &again);
	CHECK_STR(again.p, json.p);
	buf_clear(&again);
	pypi_page_html(&j, &again);
	CHECK_STR(again.p, html.p);
	buf_clear(&again);
	pypi_page_html(&h, &again);
	/* sizes are told in JSON alone, so what was HTML cannot claim to be 1.1 */
	CHECK(strstr(again.p, "content=\"1.0\""));
	CHECK_STR(strstr(again.p, "<body>"), strstr(html.p, "<body>"));
}

TEST(where_files_go)
{
	static const struct {
		const char *url, *path, *at;
	} places[] = {
		{"../../packages/ab/cd/x-1.zip", "packages/ab/cd/x-1.zip", NULL},
		{"../../packages/%61b/x-1.zip", "packages/ab/x-1.zip", NULL},
		{"https://h/q/x-1.zip", "packages/x/x-1.zip", "https://h/q/x-1.zip"},
		{"/files/x-1.zip", "packages/x/x-1.zip", "/files/x-1.zip"},
		{"x-1.zip", "packages/x/x-1.zip", "simple/x/x-1.zip"},
		{"../../../elsewhere/x-1.zip", "packages/x/x-1.zip", "simple/x/../../../elsewhere/x-1.zip"},
		{"../../packages/../simple/x/x-1.zip", "packages/x/x-1.zip",
		 "simple/x/../../packages/../simple/x/x-1.zip"},
		{"../../packages/%2e%2e/x-1.zip", "packages/x/x-1.zip", "simple/x/../../packages/%2e%2e/x-1.zip"},
		{"../../packages/a%2f..%2fx-1.zip", "packages/x/x-1.zip", "simple/x/../../packages/a%2f..%2fx-1.zip"},
		{"../../packages/ab/y-1.zip", "packages/x/x-1.zip", "simple/x/../../packages/ab/y-1.zip"},
		{"../../packages/ab/x-1.zip/", "packages/x/x-1.zip", "simple/x/../../packages/ab/x-1.zip/"},
		{"ftp://h/x-1.zip", NULL, NULL},
		{"//h/x-1.zip", NULL, NULL},
		{"mailto:x-1.zip", NULL, NULL},
		{"https://h/a b/x-1.zip", NULL, NULL},
	};
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		struct pypi_page p = {.name = STR("x")};
		struct pypi_file f = {.filename = STR("x-1.zip"), .url = str_c(places[i].url)};
		struct str path, url;
		bool good = pypi_place(&a, &p, &f, &path, &url);
		CHECK_MSG(good == !!places[i].path, "%s", places[i].url);
		if (!good)
			continue;
		CHECK_STR(arena_strdup(&a, path), places[i].path);
		CHECK_STR(arena_strdup(&a, url), places[i].at ? places[i].at : "");
	}
}

/* -- walk ---------------------------------------------------------------------------------------------------------- */

static struct buf told = {buf_empty, 0, 0, BUF_MAX, false};

static int tell(void *ctx, const struct channel_item *i, struct err *err)
{
	(void)ctx, (void)err;
	buf_printf(&told, "%.*s", STR_ARG(i->path));
	if (i->url.n)
		buf_printf(&told, "<%.*s", STR_ARG(i->url));
	if (i->size)
		buf_printf(&told, " %llu", (unsigned long long)i->size);
	if (i->version.n)
		buf_printf(&told, " %.*s", STR_ARG(i->version));
	buf_printf(&told, "%s%s\n", i->digest.known ? " #" : "", i->optional ? " ?" : "");
	return 0;
}

static struct channel_walk *walk;
static int walked = -1; /* its folder */

static void begin(const struct channel_walk_opts *o)
{
	CHECK_INT(fs_mkdirs(AT_FDCWD, test_tmp(), 0755, &e), 0);
	cleanup_fd(&walked);
	walked = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	buf_release(&told);
	told = BUF_INIT(BUF_MAX);
	CHECK_INT(channel_walk_new(pypi(), walked, o, &walk, &e), 0);
}

static const char *stage(void)
{
	buf_clear(&told);
	int rc = channel_walk_next(walk, tell, NULL, &e);
	return rc < 0 ? e.msg : rc == 0 ? "end" : told.p;
}

TEST(walk_of_named_projects)
{
	struct str names[] = {STR("X")};
	begin(&(struct channel_walk_opts){.names = names, .names_n = 1});
	CHECK_STR(stage(), "simple/x/index.v1_json<simple/x/\n");
	put("simple/x/index.v1_json", str_c(json_page));
	CHECK_STR(stage(), "packages/x/x-9-py3-none-any.whl.metadata #\n"
			   "packages/x/x-9-py3-none-any.whl 6 9 #\n"
			   "packages/x/x-10.tar.gz<https://h/a/x-10.tar.gz 5 10 #\n");
	CHECK_STR(stage(), "end");
	CHECK(channel_walk_leads_away(walk));
	channel_walk_free(walk);
	struct str bad[] = {STR("../x")};
	begin(&(struct channel_walk_opts){.names = bad, .names_n = 1});
	CHECK(strstr(stage(), "is no name of a Python project"));
	channel_walk_free(walk);
	struct str missing[] = {STR("y")};
	begin(&(struct channel_walk_opts){.names = missing, .names_n = 1});
	stage();
	CHECK_STR(stage(), "'simple/y/index.v1_json' is not there");
	CHECK_INT(e.code, ERR_NOT_FOUND);
	channel_walk_free(walk);
}

TEST(walk_of_globs_and_platforms)
{
	struct str names[] = {STR("b*")}, platforms[] = {STR("manylinux*_x86_64")};
	begin(&(struct channel_walk_opts){.names = names, .names_n = 1, .platforms = platforms, .platforms_n = 1});
	CHECK_STR(stage(), "simple/index.v1_json<simple/\n");
	put("simple/index.v1_json",
	    STR("<a href='/simple/a/'>a</a><a href='bb/'>B B</a><a href='b_c'></a><a href='../../'>up</a>"));
	CHECK_STR(stage(), "simple/b-c/index.v1_json<simple/b-c/ ?\nsimple/bb/index.v1_json<simple/bb/ ?\n");
	put("simple/bb/index.v1_json",
	    STR("<a href=bb-1-cp3-cp3-win_amd64.whl><a href=bb-1-cp3-cp3-linux_x.manylinux1_x86_64.whl><a "
		"href=bb-1.tar.gz>"));
	CHECK_STR(stage(), "packages/bb/bb-1-cp3-cp3-linux_x.manylinux1_x86_64.whl<simple/bb/"
			   "bb-1-cp3-cp3-linux_x.manylinux1_x86_64.whl 1\n"
			   "packages/bb/bb-1.tar.gz<simple/bb/bb-1.tar.gz 1\n");
	CHECK_STR(stage(), "end");
	channel_walk_free(walk);
}

static int learn(const char *path)
{
	auto_fd came = fs_open_dir_make(AT_FDCWD, in_tmp("came"), &e);
	auto_fd made = fs_open_dir_make(AT_FDCWD, in_tmp("made"), &e);
	const struct channel_came c = {.folder = came, .made = made};
	buf_release(&told);
	told = BUF_INIT(BUF_MAX);
	return channel_kind_learn(pypi(), &c, str_c(path), tell, NULL, &e);
}

TEST(pages_for_a_proxy)
{
	put("came/simple/x/index.html", str_c(json_page));
	CHECK_INT(learn("simple/x/index.html"), 1);
	CHECK(holds("made/simple/x/index.html", "href=\"../../packages/x/x-10.tar.gz#sha256=" SHA "\""));
	CHECK(!holds("made/simple/x/index.html", "https:"));
	CHECK(strstr(told.p, "packages/x/x-10.tar.gz<https://h/a/x-10.tar.gz 5 10 #\n"));
	put("came/simple/index.v1_json", STR("<a href='https://h/simple/foo/'>"));
	CHECK_INT(learn("simple/index.v1_json"), 1);
	CHECK(holds("made/simple/index.v1_json", "\"foo\""));
	CHECK_INT(learn("packages/x"), 0);
	put("came/simple/x/index.v1_json", STR("{\"files\": 1"));
	CHECK_INT(learn("simple/x/index.v1_json"), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(pages_are_asked_for_by_folder)
{
	struct channel_item it;
	CHECK(channel_kind_address(pypi(), STR("simple/x/index.html"), &a, &it));
	CHECK(str_eq(it.url, STR("simple/x/")) && strstr(it.accept, "json"));
	CHECK(channel_kind_address(pypi(), STR("simple/index.v1_json"), &a, &it));
	CHECK(str_eq(it.url, STR("simple/")));
	CHECK(!channel_kind_address(pypi(), STR("packages/x/x-1.tar.gz"), &a, &it));
}

/* -- publishing ---------------------------------------------------------------------------------------------------- */

static const char *wheel(const char *fn, const char *metadata)
{
	auto_zip z = ZIP_WRITER_INIT;
	zip_put(&z, "x/__init__.py", STR("pass"));
	if (metadata)
		zip_put(&z, "x.dist-info/METADATA", str_c(metadata));
	zip_end(&z);
	put(fn, buf_str(&z.out));
	return in_tmp(fn);
}

static int publish(const char *file, bool replace)
{
	struct channel_make_opts o = {.now_ms = 1700000000000, .replace = replace};
	return channel_kind_publish(pypi(), in_tmp("c"), &file, 1, &o, NULL, &e);
}

#define ONE "Metadata-Version: 2.1\nName: X\nVersion: 1.0\nRequires-Python: >=3\n\nName: not this\n"

TEST(publish_and_again)
{
	const char *file = wheel("x-1.0-py3-none-any.whl", ONE);
	CHECK_MSG(publish(file, false) == 0, "%s", e.msg);
	CHECK_STR(get("c/packages/x/x-1.0-py3-none-any.whl.metadata"), ONE);
	CHECK(holds("c/simple/x/index.html", "data-requires-python=\"&gt;=3\""));
	CHECK(holds("c/simple/x/index.v1_json", "2023-11-14T22:13:20Z"));
	CHECK(holds("c/simple/index.html", "href=\"x/\""));
	const char *before = get("c/simple/x/index.v1_json");
	CHECK_INT(publish(file, false), 0);
	CHECK_STR(get("c/simple/x/index.v1_json"), before);
	wheel("x-1.0-py3-none-any.whl", ONE " ");
	CHECK_INT(publish(file, false), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK_STR(get("c/simple/x/index.v1_json"), before);
	CHECK_INT(publish(file, true), 0);
	CHECK_STR(get("c/packages/x/x-1.0-py3-none-any.whl.metadata"), ONE " ");
	CHECK_INT(publish(wheel("x-1.10-py3-none-any.whl", "Name: x\nVersion: 1.10\n"), false), 0);
	CHECK_INT(publish(wheel("x-1.9-py3-none-any.whl", "Name: x\nVersion: 1.9\n"), false), 0);
	struct pypi_page p = page("x", get("c/simple/x/index.v1_json")), h = page("x", get("c/simple/x/index.html"));
	CHECK_INT(p.n, 3);
	CHECK_INT(h.n, 3);
	CHECK(str_eq(p.file[1].version, STR("1.9")) && str_eq(h.file[2].version, STR("1.10")));
}

TEST(what_is_not_published)
{
	static const struct {
		const char *fn, *metadata, *says;
	} bad[] = {
		{"x-1.0-py3-none-any.whl", NULL, "holds no"},
		{"x-1.0-py3-none-any.whl", "Name: y\nVersion: 1.0\n", "is not of 'y'"},
		{"x-1.0-py3-none-any.whl", "Name: x\nVersion: 1.1\n", "says version '1.0', its metadata '1.1'"},
		{"x-1.0-py3-none-any.whl", "Name: x\nVersion: banana\n", "is no version"},
		{"x-1.0-py3-none-any.whl", "Name: x\n\nVersion: 1.0\n", "no version"},
		{"x-1.0-py3-none-any.whl", "Name: ../x\nVersion: 1.0\n", "is no name"},
		{"x-1.0-py3-none-any.whl", "Name: x\nVersion: 1.0\nRequires-Python: a\001b\n", "malformed"},
		{"x-1.0-py3-none-any.whl", "", "no project"},
		{"x.whl", ONE, "not named like"},
		{"x-1.0.exe", ONE, "not named like"},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK_MSG(publish(wheel(bad[i].fn, bad[i].metadata), false) < 0, "%zu", i);
		CHECK_MSG(strstr(e.msg, bad[i].says), "%s", e.msg);
		CHECK(!get("c/simple/index.html"));
	}
	put("x-1.0-py3-none-any.whl", STR("PK"));
	CHECK_INT(publish(in_tmp("x-1.0-py3-none-any.whl"), false), -1);
	CHECK_INT(publish(in_tmp("not-there-1.0.tar.gz"), false), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
}

static int keep_nine(void *ctx, const struct channel_item *i, struct err *err)
{
	(void)ctx, (void)err;
	return str_eq(i->version, STR("9"));
}

TEST(a_part_of_another)
{
	struct channel_make_opts o = {0};
	struct channel_walk_opts from = {0};
	put("up/simple/x/index.v1_json", str_c(json_page));
	put("up/simple/y/index.html", STR("<a href=y-1.zip>"));
	auto_fd up = open(in_tmp("up"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_MSG(channel_kind_rewrite(pypi(), up, &from, in_tmp("c"), &o, keep_nine, NULL, &e) == 0, "%s", e.msg);
	CHECK(holds("c/simple/x/index.html", "../../packages/x/x-9-py3-none-any.whl#sha256=" SHA));
	CHECK(!holds("c/simple/x/index.html", "x-10"));
	CHECK(holds("c/simple/x/index.v1_json", "archived"));
	CHECK(!get("c/simple/y/index.html"));
	CHECK(!holds("c/simple/index.v1_json", "\"y\""));
	/* what is not kept the next time goes */
	struct str names[] = {STR("y")};
	from = (struct channel_walk_opts){.names = names, .names_n = 1};
	CHECK_INT(channel_kind_rewrite(pypi(), up, &from, in_tmp("c"), &o, keep_nine, NULL, &e), 0);
	CHECK(!get("c/simple/x/index.html") && !get("c/simple/x/index.v1_json"));
	CHECK(!holds("c/simple/index.html", "href=\"x/\""));
}

TEST(yank_and_drop)
{
	struct channel_make_opts o = {0};
	struct str path[] = {STR("packages/x/x-1.0-py3-none-any.whl")}, none[] = {STR("packages/x/x-3.zip")};
	CHECK_INT(publish(wheel("x-1.0-py3-none-any.whl", ONE), false), 0);
	CHECK_INT(publish(wheel("x-2-py3-none-any.whl", "Name: x\nVersion: 2\n"), false), 0);
	CHECK_INT(channel_kind_remove(pypi(), in_tmp("c"), none, 1, CHANNEL_YANK, STR("no"), &o, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_MSG(channel_kind_remove(pypi(), in_tmp("c"), path, 1, CHANNEL_YANK, STR("it \"broke\""), &o, &e) == 0,
		  "%s", e.msg);
	CHECK(holds("c/simple/x/index.html", "data-yanked=\"it &quot;broke&quot;\""));
	CHECK(holds("c/simple/x/index.v1_json", "it \\\"broke\\\""));
	/* published again, it stays yanked */
	CHECK_INT(publish(in_tmp("x-1.0-py3-none-any.whl"), false), 0);
	CHECK(holds("c/simple/x/index.html", "data-yanked"));
	CHECK_INT(channel_kind_remove(pypi(), in_tmp("c"), path, 1, CHANNEL_DROP, STR_NONE, &o, &e), 0);
	CHECK(!holds("c/simple/x/index.html", "x-1.0"));
	CHECK(!get("c/packages/x/x-1.0-py3-none-any.whl") && !get("c/packages/x/x-1.0-py3-none-any.whl.metadata"));
	path[0] = STR("packages/x/x-2-py3-none-any.whl");
	CHECK_INT(channel_kind_remove(pypi(), in_tmp("c"), path, 1, CHANNEL_DROP, STR_NONE, &o, &e), 0);
	CHECK(!get("c/simple/x/index.html") && !holds("c/simple/index.html", "href=\"x/\""));
}
