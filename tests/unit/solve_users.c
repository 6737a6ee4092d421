// SPDX-License-Identifier: Apache-2.0
// What needs a package, and can be installed with it. The expectations are what opam 2.1.2 lists (--depends-on, --coinstallable-with).
#include <fcntl.h>

#include "base/fs.h"
#include "lib/test.h"
#include "solve/solve.h"

static struct err e;

static void put(const char *name, const char *version, const char *lines)
{
	auto_arena a = ARENA_INIT;
	const char *dir = arena_printf(&a, "%s/packages/%s/%s.%s", test_tmp(), name, name, version);
	auto_buf b = BUF_INIT(4096);
	buf_printf(&b, "opam-version: \"2.0\"\n%s\n", lines);
	CHECK_INT(fs_mkdirs(AT_FDCWD, dir, 0755, &e), 0);
	CHECK_INT(fs_replace(AT_FDCWD, arena_printf(&a, "%s/opam", dir), b.p, b.n, 0, &e), 0);
}

static void make_repository(void)
{
	put("lib", "1", "");
	put("lib", "2", "");
	put("base", "1", "");
	put("near", "1", "depends: [\"lib\"]");
	put("near", "2", "depends: [\"lib\" {>= \"2\"}]");
	put("old", "1", "depends: [\"lib\" {< \"2\"}]");
	put("either", "1", "depends: [\"base\" | \"lib\"]");
	put("optional", "1", "depopts: [\"lib\"]");
	put("tests", "1", "depends: [\"lib\" {with-test}]");
	put("builds", "1", "depends: [\"lib\" {build}]");
	put("later", "1", "depends: [\"lib\" {post}]");
	put("docs", "1", "depends: [\"lib\" {with-doc}]");
	put("far", "1", "depends: [\"near\"]");
	put("farther", "1", "depends: [\"far\"]");
	put("far-optional", "1", "depopts: [\"near\"]");
	put("far-tests", "1", "depends: [\"near\" {with-test}]");
	put("of-optional", "1", "depends: [\"optional\"]");
	put("enemy", "1", "depends: [\"near\"]\nconflicts: [\"lib\" {>= \"2\"}]");
	put("elsewhere", "1", "depends: [\"lib\"]\navailable: os = \"win32\"");
	put("stranger", "1", "depends: [\"base\"]");
}

static const char *users(struct arena *a, const char *version, const struct str *with, size_t n)
{
	auto_fd fd = fs_open_dir(AT_FDCWD, test_tmp(), &e);
	struct str pinned = str_c(arena_printf(a, "lib.%s", version));
	struct solve_users_request r = {.folder_fd = fd,
					.name = STR("lib"),
					.version = str_c(version),
					.with = with,
					.with_n = n,
					.opts = {.pinned = &pinned, .pinned_n = 1}};
	struct solve_user *v;
	size_t count;
	auto_buf b = BUF_INIT(1 << 16);
	CHECK_MSG(solve_users(&r, a, &v, &count, &e) == 0, "%s", e.msg);
	for (size_t i = 0; i < count; i++)
		buf_printf(&b, "%s%.*s.%.*s%s", i ? " " : "", STR_ARG(v[i].name), STR_ARG(v[i].version),
			   v[i].direct ? "" : "*");
	return arena_strdup(a, buf_str(&b));
}

TEST(users_of_a_version)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	CHECK_STR(users(&a, "2", NULL, 0), "builds.1 either.1 far.1* farther.1* near.1 near.2 optional.1 tests.1");
	CHECK_STR(users(&a, "1", NULL, 0),
		  "builds.1 either.1 enemy.1* far.1* farther.1* near.1 old.1 optional.1 tests.1");
}

TEST(users_beside_others)
{
	auto_arena a = ARENA_INIT;
	struct str with = STR("near.2");
	make_repository();
	CHECK_STR(users(&a, "2", &with, 1), "builds.1 either.1 far.1* farther.1* near.2 optional.1 tests.1");
}

TEST(users_of_what_is_not_there)
{
	auto_arena a = ARENA_INIT;
	make_repository();
	auto_fd fd = fs_open_dir(AT_FDCWD, test_tmp(), &e);
	struct solve_users_request r = {.folder_fd = fd, .name = STR("lib"), .version = STR("3")};
	struct solve_user *v;
	size_t n;
	CHECK_INT(solve_users(&r, &a, &v, &n, &e), -1);
	CHECK(e.code == ERR_NOT_FOUND);
}
