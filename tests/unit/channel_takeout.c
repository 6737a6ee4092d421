// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "lib/test.h"
#include "channel/channel.h"

static struct arena a;
static char folder[256];

static const char *write_file(const char *name, const char *text)
{
	struct err e = ERR_INIT;
	const char *path = arena_printf(&a, "%s/%s", test_tmp(), name);
	CHECK_INT(fs_replace(AT_FDCWD, path, text, strlen(text), 0, &e), 0);
	return path;
}

static const struct channel_kind *fresh(void)
{
	static int n;
	snprintf(folder, sizeof(folder), "%s/channel%d", test_tmp(), n++);
	return channel_kind(STR("takeout"));
}

static int publish(const char *where, const char *one, const char *two, struct err *e)
{
	const char *files[] = {one, two};
	const struct channel_make_opts o = {.suite = str_c(where), .now_ms = 5000};
	return channel_kind_publish(channel_kind(STR("takeout")), folder, files, two ? 2 : 1, &o, NULL, e);
}

static size_t list(struct channel_takeout **ret)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	size_t n = 0;
	CHECK_INT(fs_read(AT_FDCWD, arena_printf(&a, "%s/takeout.json", folder), &b, &e), 0);
	CHECK_INT(channel_takeout_read(&a, buf_str(&b), "takeout.json", ret, &n, &e), 0);
	return n;
}

static int collect(void *ctx, const struct channel_item *item, struct err *e)
{
	(void)e;
	buf_printf(ctx, "%.*s %d %llu\n", STR_ARG(item->path), (int)item->what, (unsigned long long)item->size);
	return 0;
}

static const char recipe[] = "# by hand\nrecipe 1\nname step\nsubdir linux-64\nspec web=1.0\n";

TEST(recipes_with_their_notes)
{
	struct err e = ERR_INIT;
	struct channel_takeout *v;
	fresh();
	/* notes first on the command line: they belong to the recipe all the same */
	CHECK_INT(publish("step/core", write_file("core-1.0.md", "# web 1.0\nNew.\n"),
			  write_file("core-1.0.spr", recipe), &e),
		  0);
	CHECK_INT(publish("updates/mirror/", write_file("latest.spr", "recipe 1\nspec mirror\n"), NULL, &e), 0);
	CHECK_INT(list(&v), 2);
	CHECK(str_eq(v[0].recipe.path, STR("step/core/core-1.0.spr")));
	CHECK(str_eq(v[0].notes.path, STR("step/core/core-1.0.md")));
	CHECK(str_eq(v[0].platform, STR("linux-64")));
	CHECK_INT(v[0].released_ms, 5000);
	CHECK_INT(v[1].notes.path.n, 0);
	CHECK(str_eq(v[1].recipe.path, STR("updates/mirror/latest.spr")));
}

TEST(a_recipe_does_not_change_under_its_name)
{
	struct err e = ERR_INIT;
	struct channel_takeout *v;
	fresh();
	CHECK_INT(publish("", write_file("x.spr", "recipe 1\nspec a\n"), write_file("latest.spr", "recipe 1\nspec a\n"),
			  &e),
		  0);
	CHECK_INT(publish("", write_file("x.spr", "recipe 1\nspec b\n"), NULL, &e), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	/* but the newest one does */
	CHECK_INT(publish("", write_file("latest.spr", "recipe 1\nspec b\n"), NULL, &e), 0);
	CHECK_INT(list(&v), 2);
	CHECK_INT(publish("", write_file("y.spr", "name: step\n"), NULL, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(publish("", write_file("z.md", "# z\n"), NULL, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(publish("../x", write_file("y.spr", "recipe 1\n"), NULL, &e), -1);
	CHECK_INT(list(&v), 2);
}

TEST(it_is_followed)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 16);
	struct channel_walk_opts o = {0};
	const struct channel_kind *k = fresh();
	CHECK_INT(publish("step", write_file("x.spr", recipe), write_file("x.md", "# web 1.0\n"), &e), 0);
	CHECK_INT(publish("", write_file("latest.spr", "recipe 1\n"), NULL, &e), 0);
	auto_fd dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(channel_kind_of(dir) == k);
	auto_ptr(channel_walk) w = NULL;
	CHECK_INT(channel_walk_new(k, dir, &o, &w, &e), 0);
	CHECK_INT(channel_walk_next(w, collect, &b, &e), 1);
	CHECK_STR(b.p, "takeout.json 1 0\n");
	CHECK_INT(channel_walk_next(w, collect, &b, &e), 1);
	CHECK_INT(channel_walk_next(w, collect, &b, &e), 0);
	CHECK_STR(b.p, "takeout.json 1 0\nlatest.spr 2 9\nstep/x.spr 3 58\nstep/x.md 3 10\n");
	/* another platform's recipes are not wanted */
	const struct str arm = STR("linux-aarch64");
	o = (struct channel_walk_opts){.platforms = &arm, .platforms_n = 1};
	auto_ptr(channel_walk) other = NULL;
	buf_clear(&b);
	CHECK_INT(channel_walk_new(k, dir, &o, &other, &e), 0);
	while (channel_walk_next(other, collect, &b, &e) > 0)
		;
	CHECK_STR(b.p, "takeout.json 1 0\nlatest.spr 2 9\n");
}

TEST(withdrawn_and_dropped)
{
	struct err e = ERR_INIT;
	struct channel_takeout *v;
	const struct channel_make_opts o = {0};
	const struct str path = STR("x.spr");
	const struct channel_kind *k = fresh();
	CHECK_INT(publish("", write_file("x.spr", recipe), write_file("x.md", "# web 1.0\n"), &e), 0);
	CHECK_INT(channel_kind_remove(k, folder, &path, 1, CHANNEL_YANK, STR("loses data"), &o, &e), 0);
	CHECK_INT(list(&v), 1);
	CHECK(str_eq(v[0].disabled, STR("loses data")));
	CHECK(fs_exists(AT_FDCWD, arena_printf(&a, "%s/x.spr", folder)));
	CHECK_INT(channel_kind_remove(k, folder, &path, 1, CHANNEL_DROP, STR_NONE, &o, &e), 0);
	CHECK_INT(list(&v), 0);
	CHECK(!fs_exists(AT_FDCWD, arena_printf(&a, "%s/x.spr", folder)));
	CHECK(!fs_exists(AT_FDCWD, arena_printf(&a, "%s/x.md", folder)));
	CHECK_INT(channel_kind_remove(k, folder, &path, 1, CHANNEL_DROP, STR_NONE, &o, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
}

static int keep_one(void *ctx, const struct channel_item *item, struct err *e)
{
	(void)ctx, (void)e;
	return str_eq(item->path, STR("x.spr"));
}

TEST(a_part_of_another)
{
	struct err e = ERR_INIT;
	struct channel_takeout *v;
	const struct channel_make_opts o = {0};
	const struct channel_walk_opts all = {0};
	const struct channel_kind *k = fresh();
	CHECK_INT(publish("", write_file("x.spr", recipe), write_file("y.spr", recipe), &e), 0);
	auto_fd from = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fresh();
	CHECK_INT(channel_kind_rewrite(k, from, &all, folder, &o, keep_one, NULL, &e), 0);
	CHECK_INT(list(&v), 1);
}

TEST(hostile_lists)
{
#define SHA "\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\""
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		"{\"takeout\":2}",
		"{\"takeout\":1,\"recipes\":{}}",
		"{\"takeout\":1,\"recipes\":[7]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\"../x.spr\",\"size\":1," SHA "}]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\"/x.spr\",\"size\":1," SHA "}]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\"takeout.json\",\"size\":1," SHA "}]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\".x.spr\",\"size\":1," SHA "}]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\"x.sh\",\"size\":1," SHA "}]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\"x.spr\",\"size\":-1," SHA "}]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\"x.spr\",\"size\":999999999999," SHA "}]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\"x.spr\",\"size\":1,\"sha256\":\"ba\"}]}",
		"{\"takeout\":1,\"recipes\":[{\"path\":\"x.spr\",\"size\":1," SHA
		",\"notes\":{\"path\":\"../x.md\",\"size\":1," SHA "}}]}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err e = ERR_INIT;
		struct channel_takeout *v;
		size_t n;
		CHECK_INT(channel_takeout_read(&a, str_c(bad[i]), "takeout.json", &v, &n, &e), -1);
	}
}
