// SPDX-License-Identifier: Apache-2.0
/* tests/solve/NAME.test: each is solved and compared with what it expects (doc/formats/solve-test.md). */
#include <dirent.h>
#include <fcntl.h>

#include "base/stream.h"
#include "solve/solve.h"
#include "lib/test.h"

static void read_file(const char *path, struct buf *b)
{
	FILE *f = fopen(path, "re");
	char part[4096];
	size_t n;
	CHECK_MSG(f != NULL, "open '%s'", path);
	while ((n = fread(part, 1, sizeof(part), f)) > 0)
		buf_put(b, part, n);
	fclose(f);
}

static void check_packages(const char *name, const struct solve_result *res, const struct json *want)
{
	auto_buf got = BUF_INIT(BUF_MAX), expected = BUF_INIT(BUF_MAX);
	for (size_t i = 0; i < res->packages_n; i++) {
		const struct pkg_record *r = &res->packages[i].record;
		buf_printf(&got, "%.*s %.*s %.*s\n", STR_ARG(r->name), STR_ARG(r->version), STR_ARG(r->build));
	}
	for (uint32_t i = 0; i < want->n; i++)
		buf_printf(&expected, "%.*s\n", STR_ARG(want->item[i].string));
	CHECK_MSG(strcmp(got.p, expected.p) == 0, "%s: got\n%snot\n%s", name, got.p, expected.p);
}

static void check_text(const char *name, const char *text, const struct json *want)
{
	for (uint32_t i = 0; want && i < want->n; i++)
		CHECK_MSG(strstr(text, want->item[i].string.p), "%s: '%s' is not in\n%s", name, want->item[i].string.p,
			  text);
}

static void check(const char *name, const struct solve_replay *t, const struct solve_result *res, int rc)
{
	const struct json *e = solve_replay_expect(t), *solved = json_get(e, "solved"), *list = json_get(e, "packages");
	auto_buf text = BUF_INIT(BUF_MAX);
	unsigned lines = 0;
	CHECK_MSG(solved && solved->type == JSON_BOOL, "%s: expects nothing", name);
	solve_explain(res, &text);
	CHECK_MSG((rc == 0) == solved->boolean, "%s: %s\n%s", name, rc == 0 ? "solved" : "no solution", text.p);
	if (list)
		check_packages(name, res, list);
	check_text(name, text.p, json_get(e, "text"));
	for (const char *p = text.p; *p; p++)
		lines += *p == '\n';
	CHECK_MSG(lines <= 30, "%s: %u lines of explanation", name, lines);
	list = json_get(e, "suggestions");
	CHECK_MSG(!list || list->n == res->suggestions_n, "%s: %u suggestions\n%s", name, res->suggestions_n, text.p);
	check_text(name, text.p, list);
}

/* Solves the text; what it dumps is solved again and must come out the same. */
static void run_text(const char *name, struct str text, int dirfd, unsigned again)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(solve_replay) t = NULL;
	struct solve_result res;
	struct err e = ERR_INIT;
	CHECK_MSG(solve_replay_load(text, name, dirfd, &t, &e) == 0, "%s: %s", name, e.msg);
	int rc = solve(solve_replay_request(t), &a, &res, &e);
	CHECK_MSG(rc >= 0, "%s: %s", name, e.msg);
	if (again == 0)
		check(name, t, &res, rc);
	if (again < 2) {
		auto_buf out = BUF_INIT(BUF_MAX);
		CHECK_MSG(solve_dump(solve_replay_request(t), &res, rc, &out, &e) == 0, "%s: %s", name, e.msg);
		if (again == 1)
			CHECK_MSG(str_eq(text, buf_str(&out)), "%s: dumped again it differs:\n%s\n%s", name, text.p,
				  out.p);
		run_text(name, buf_str(&out), dirfd, again + 1);
	}
}

static int is_test(const struct dirent *d)
{
	size_t n = strlen(d->d_name);
	return n > 5 && strcmp(d->d_name + n - 5, ".test") == 0;
}

TEST(data_files)
{
	struct dirent **files;
	const char *folder = test_source("tests/solve");
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int n = scandir(folder, &files, is_test, alphasort);
	CHECK(dir >= 0 && n > 0);
	for (int i = 0; i < n; i++) {
		auto_buf text = BUF_INIT(1 << 20);
		char path[PATH_MAX];
		snprintf(path, sizeof(path), "%s/%s", folder, files[i]->d_name);
		read_file(path, &text);
		run_text(files[i]->d_name, buf_str(&text), dir, 0);
		free(files[i]);
	}
	free(files);
	printf("# %d files\n", n);
}

static void refuse(const char *text, const char *message)
{
	struct err e = ERR_INIT;
	auto_ptr(solve_replay) t = NULL;
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(solve_replay_load(str_c(text), "bad.test", dir, &t, &e), -1);
	CHECK_MSG(strstr(e.msg, message), "'%s' is not in '%s'", message, e.msg);
}

TEST(refuses_what_is_no_test)
{
	refuse("", "bad.test");
	refuse("[]", "not a solve test of format 1");
	refuse("{\"slipway_solve_test\":2}", "not a solve test of format 1");
	refuse("{\"slipway_solve_test\":1}", "no 'request'");
	refuse("{\"slipway_solve_test\":1,\"request\":{}}", "no 'channels'");
	refuse("{\"slipway_solve_test\":1,\"request\":{\"specs\":[1]},\"channels\":[]}", "expected a text");
	refuse("{\"slipway_solve_test\":1,\"request\":{\"priority\":\"x\"},\"channels\":[]}", "priority cannot be 'x'");
	refuse("{\"slipway_solve_test\":1,\"request\":{},\"channels\":[1]}", "a channel must be an object");
	refuse("{\"slipway_solve_test\":1,\"request\":{},\"channels\":[{\"url\":\"x\",\"subdir\":\"../x\"}]}",
	       "subdir");
}

/* -- conditions (CEP 43), which only records under "v3" have ------------------------------------------------------- */

static void solve_v3(const char *json, const char *spec, const char *want)
{
	auto_arena a = ARENA_INIT;
	struct channel_index ci = {.channel.url = STR("file:///c"), .subdir = STR("linux-64")};
	struct solve_request r = SOLVE_REQUEST_INIT;
	struct solve_result res;
	struct str specs[] = {str_c(spec), STR("python")};
	struct err e = ERR_INIT;
	char path[PATH_MAX], index[PATH_MAX];
	auto_buf got = BUF_INIT(BUF_MAX);
	snprintf(path, sizeof(path), "%s/repodata.json", test_tmp());
	snprintf(index, sizeof(index), "%s/index", test_tmp());
	FILE *f = fopen(path, "we");
	CHECK(f && fputs(json, f) >= 0 && fclose(f) == 0);
	auto_ptr(istream) in = istream_fd(open(path, O_RDONLY | O_CLOEXEC), path);
	auto_ptr(index_builder) b = index_builder_new(AT_FDCWD, index, STR("linux-64"), &e);
	CHECK_MSG(b && index_builder_json(b, in, NULL, &e) == 0 && index_builder_finish(b, &e) == 0, "%s", e.msg);
	CHECK_MSG(index_open(AT_FDCWD, index, &ci.index, &e) == 0, "%s", e.msg);
	ci.channel.shown = ci.channel.name = ci.channel.url;
	r.indexes = &ci;
	r.indexes_n = 1;
	r.specs = specs;
	r.specs_n = 2;
	int rc = solve(&r, &a, &res, &e);
	CHECK_MSG(rc >= 0, "%s", e.msg);
	for (size_t i = 0; i < res.packages_n; i++)
		buf_printf(&got, "%.*s ", STR_ARG(res.packages[i].record.name));
	CHECK_STR(got.p, want);
	index_free(ci.index);
}

#define V3(depends)                                                                                                     \
	"{\"info\":{\"subdir\":\"linux-64\"},\"packages\":{},\"packages.conda\":{},\"v3\":{\"conda\":{"                 \
	"\"x-1-0\":{\"name\":\"x\",\"version\":\"1\",\"build\":\"0\",\"build_number\":0,\"depends\":[" depends "]},"    \
	"\"python-3.9-0\":{\"name\":\"python\",\"version\":\"3.9\",\"build\":\"0\",\"build_number\":0,\"depends\":[]}," \
	"\"python-3.8-0\":{\"name\":\"python\",\"version\":\"3.8\",\"build\":\"0\",\"build_number\":0,\"depends\":[]}," \
	"\"y-1-0\":{\"name\":\"y\",\"version\":\"1\",\"build\":\"0\",\"build_number\":0,\"depends\":[]}}}}"

TEST(conditions)
{
	solve_v3(V3("\"y[when=\\\"python>=3.9\\\"]\""), "x", "python y x ");
	solve_v3(V3("\"y[when=\\\"python<3.9\\\"]\""), "x", "python x ");
	solve_v3(V3("\"gone[when=\\\"python>=3.9\\\"]\""), "x", "python x "); /* so python is 3.8 */
	solve_v3(V3("\"y[when=\\\"python>=3.9 and gone\\\"]\""), "x", "python x ");
	solve_v3(V3("\"y[when=\\\"gone or (python>=3 and x)\\\"]\""), "x", "python y x ");
}

/* Groups of optional dependencies (CEP 44): asked for by a person or a dependency, absent ones ignored. */
#define EXTRAS                                                                                                         \
	"], \"extra_depends\":{\"more\":[\"y\"],\"bad\":[\"gone\"],\"old\":[\"y[when=\\\"python<3.9\\\"]\"]},\"constrains\":["
TEST(extras)
{
	solve_v3(V3("" EXTRAS), "x", "python x ");
	solve_v3(V3("" EXTRAS), "x[extras=more]", "python y x ");
	solve_v3(V3("" EXTRAS), "x[extras=[more, absent]]", "python y x ");
	solve_v3(V3("" EXTRAS), "x[extras=bad]", "");
	solve_v3(V3("" EXTRAS), "x[extras=old]", "python x ");
}

/* A name of which no shard was asked for may be there or not: only offline does a solve meet it. */
TEST(a_name_that_was_never_asked_for)
{
	static const char shard[] = "\x81\xaepackages.conda\x81\xab"
				    "x-1-0.conda\x84\xa4name\xa1x\xa7version\xa1"
				    "1\xa5"
				    "build\xa1"
				    "0\xa7"
				    "depends\x90";
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(1 << 16);
	struct err e = ERR_INIT;
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct channel_index ci = {.channel = {.url = STR("https://h/c"), .shown = STR("https://h/c")},
				   .subdir = STR("noarch")};
	auto_ptr(index_builder) x = index_builder_new(dir, "x.idx", STR("noarch"), &e);
	CHECK_MSG(index_builder_shard(x, STR("x"), str_of(shard, sizeof(shard) - 1), &e) == 0, "%s", e.msg);
	CHECK_INT(index_builder_finish(x, &e), 0);
	CHECK_INT(index_open(dir, "x.idx", &ci.index, &e), 0);
	struct solve_request r = SOLVE_REQUEST_INIT;
	struct solve_result res;
	r.indexes = &ci;
	r.indexes_n = r.specs_n = 1;
	r.specs = (struct str[]){STR("x")};
	CHECK_INT(solve(&r, &a, &res, &e), 0);
	r.specs = (struct str[]){STR("y")};
	CHECK_INT(solve(&r, &a, &res, &e), 1);
	solve_explain(&res, &b);
	CHECK_MSG(strstr(b.p, "'https://h/c' has a package 'y' is not known here"), "%s", b.p);
	CHECK_MSG(strstr(b.p, "run it once with the network"), "%s", b.p);
	index_free(ci.index);
}

/* -- why ---------------------------------------------------------------------------------------------------------- */

static const struct str app_needs[] = {STR("lib >=1"), STR("tool")}, tool_needs[] = {STR("lib"), STR("app")};
static const struct pkg_record installed[] = {
	{.name = STR("app"), .version = STR("1.0"), .depends = app_needs, .depends_n = 2},
	{.name = STR("tool"), .version = STR("2.0"), .depends = tool_needs, .depends_n = 2},
	{.name = STR("lib"), .version = STR("3.0")},
};

static size_t why(const char *name, unsigned max, const char *const *want)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	const struct str specs[] = {STR("app=1"), STR("tool")}, *text;
	size_t n;
	int rc = solve_why(installed, 3, specs, 2, str_c(name), max, &a, &text, &n, &e);
	if (rc < 0)
		CHECK_INT(e.code, ERR_NOT_FOUND);
	for (size_t i = 0; want[i]; i++) {
		CHECK(i < n);
		CHECK_STR(text[i].p, want[i]);
	}
	return rc < 0 ? 0 : n;
}

TEST(why_tells_each_chain_shortest_first)
{
	static const char *const want[] = {"'app=1' was asked for: app 1.0 needs lib >=1: lib 3.0",
					   "'tool' was asked for: tool 2.0 needs lib: lib 3.0",
					   "'tool' was asked for: tool 2.0 needs app: app 1.0 needs lib >=1: lib 3.0",
					   "'app=1' was asked for: app 1.0 needs tool: tool 2.0 needs lib: lib 3.0",
					   NULL};
	CHECK_INT(why("lib", 0, want), 4);
	CHECK_INT(why("lib", 1, (const char *const[]){want[0], NULL}), 1);
	CHECK_INT(why("absent", 0, (const char *const[]){NULL}), 0);
	CHECK_INT(why("app", 1, (const char *const[]){"'app=1' was asked for: app 1.0", NULL}), 1);
}
