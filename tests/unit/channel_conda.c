// SPDX-License-Identifier: Apache-2.0
/* The kind of conda channels: from metadata to files, a part of a channel, packages taken out. */
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/vec.h"
#include "channel/channel.h"

static const char repodata[] =
	"{\"info\": {\"subdir\": \"noarch\"}, \"packages\": {\n"
	"\"a-1-0.tar.bz2\": {\"build\":\"0\",  \"build_number\":0,\"depends\":[],\"name\":\"a\",\"size\":7,\"timestamp\":1700000000,"
	"\"sha256\":\"00000000000000000000000000000000000000000000000000000000000000aa\",\"version\":\"1\"},\n"
	"\"../evil-1-0.tar.bz2\": {\"name\":\"evil\",\"version\":\"1\",\"size\":1},\n"
	"\"b-2-0.tar.bz2\": {\"name\":\"b\",\"version\":\"2\",\"size\":9,\"md5\":\"000000000000000000000000000000bb\"}},\n"
	"\"packages.conda\": {\"a-2-0.conda\": {\"name\":\"a\",\"version\":\"2\",\"odd\": [1, {\"x\": 1.50}]}},\n"
	"\"removed\": [\"old-1-0.conda\"], \"repodata_version\": 1, \"extra\": {\"k\": null}}";

struct told {
	VEC(char *) line;
};

static void told_forget(struct told *t)
{
	vec_foreach(x, &t->line)
		free(*x);
	vec_release(&t->line);
}

#define auto_told __attribute__((cleanup(told_forget))) struct told

static int take(void *ctx, const struct channel_item *it, struct err *e)
{
	struct told *t = ctx;
	(void)e;
	char *line = xasprintf("%d%s %.*s %.*s %.*s %llu %d %.*s %lld", (int)it->what, it->optional ? "?" : "",
			       STR_ARG(it->path), STR_ARG(it->name), STR_ARG(it->version), (unsigned long long)it->size,
			       it->digest.known ? (int)it->digest.kind : -1, STR_ARG(it->url), (long long)it->time_ms);
	vec_push(&t->line, line);
	return 0;
}

static bool has(const struct told *t, const char *line)
{
	vec_foreach(x, &t->line)
		if (strcmp(*x, line) == 0)
			return true;
	vec_foreach(x, &t->line)
		fprintf(stderr, "# %s\n", *x);
	return false;
}

static int tree_with(const char *name, const char *text, size_t n)
{
	struct err e = ERR_INIT;
	int dir = fs_open_dir_make(AT_FDCWD, test_tmp(), &e);
	auto_free char *folder = xasprintf("%s", name);
	*strrchr(folder, '/') = '\0';
	CHECK(fs_mkdirs(dir, folder, 0755, &e) == 0);
	CHECK_MSG(fs_replace(dir, name, text, n, 0, &e) == 0, "%s", e.msg);
	return dir;
}

static void walk(int dir, const struct channel_walk_opts *o, struct told *t, bool *away)
{
	struct err e = ERR_INIT;
	auto_ptr(channel_walk) w = NULL;
	int rc;
	CHECK(channel_walk_new(channel_kind(STR("conda")), dir, o, &w, &e) == 0);
	while ((rc = channel_walk_next(w, take, t, &e)) > 0)
		;
	CHECK_MSG(rc == 0, "%s", e.msg);
	if (away)
		*away = channel_walk_leads_away(w);
}

TEST(a_walk_tells_pointers_then_packages)
{
	auto_told t = {0};
	const struct channel_walk_opts o = {0};
	bool away = true;
	walk(tree_with("noarch/repodata.json", repodata, sizeof(repodata) - 1), &o, &t, &away);
	CHECK(!away);
	CHECK(has(&t, "1? noarch/repodata.json.zst   0 -1  0"));
	CHECK(has(&t, "1? linux-64/repodata_shards.msgpack.zst   0 -1  0"));
	CHECK(has(&t, "1? noarch/repodata.json   0 -1  0"));
	CHECK(has(&t, "3 noarch/a-1-0.tar.bz2 a 1 7 0  1700000000000"));
	CHECK(has(&t, "3 noarch/b-2-0.tar.bz2 b 2 9 1  0"));
	CHECK(has(&t, "3 noarch/a-2-0.conda a 2 0 -1  0"));
	vec_foreach(x, &t.line)
		CHECK(!strstr(*x, "evil"));
}

TEST(a_walk_takes_what_is_wanted)
{
	auto_told t = {0};
	const struct str names[] = {STR("b*")}, platforms[] = {STR("linux-64")};
	const struct channel_walk_opts o = {.names = names, .names_n = 1, .platforms = platforms, .platforms_n = 1};
	int dir = tree_with("noarch/repodata.json", repodata, sizeof(repodata) - 1);
	auto_ptr(channel_walk) w = NULL;
	struct err e = ERR_INIT;
	CHECK(channel_walk_new(channel_kind(STR("conda")), dir, &o, &w, &e) == 0);
	CHECK_INT(channel_walk_next(w, take, &t, &e), 1);
	CHECK_INT(t.line.n, 4);
	CHECK_INT(channel_walk_next(w, take, &t, &e), 1);
	CHECK_INT(channel_walk_next(w, take, &t, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK(strstr(e.msg, "'linux-64/repodata.json'"));
	tree_with("linux-64/repodata.json", "", 0);
	told_forget(&t);
	walk(dir, &o, &t, NULL);
	CHECK(has(&t, "3 noarch/b-2-0.tar.bz2 b 2 9 1  0"));
	vec_foreach(x, &t.line)
		CHECK(!strstr(*x, "a-1-0"));
}

TEST(a_base_url_leads_elsewhere)
{
	static const char text[] = "{\"packages\": {\"a-1-0.conda\": {\"name\": \"a\", \"version\": \"1\"}},"
				   "\"info\": {\"base_url\": \"https://files.example/x\"}, \"repodata_version\": 2}";
	auto_told t = {0};
	const struct channel_walk_opts o = {0};
	bool away = false;
	walk(tree_with("noarch/repodata.json", text, sizeof(text) - 1), &o, &t, &away);
	CHECK(away);
	CHECK(has(&t, "3 noarch/a-1-0.conda a 1 0 -1 https://files.example/x/a-1-0.conda 0"));
}

TEST(malformed_metadata_end_a_walk)
{
	static const char text[] = "{\"packages\": {\"a-1-0.conda\": {\"name\": \"a\", ";
	auto_told t = {0};
	const struct channel_walk_opts o = {0};
	int dir = tree_with("noarch/repodata.json", text, sizeof(text) - 1), rc;
	auto_ptr(channel_walk) w = NULL;
	struct err e = ERR_INIT;
	CHECK(channel_walk_new(channel_kind(STR("conda")), dir, &o, &w, &e) == 0);
	while ((rc = channel_walk_next(w, take, &t, &e)) > 0)
		;
	CHECK_INT(rc, -1);
	CHECK(strstr(e.msg, "truncated"));
}

static int keep_a(void *ctx, const struct channel_item *it, struct err *e)
{
	(void)ctx, (void)e;
	return str_eq(it->name, STR("a"));
}

static char *slurp(int dir, const char *name)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	CHECK_MSG(fs_read(dir, name, &b, &e) == 0, "%s", e.msg);
	return buf_steal(&b);
}

TEST(a_part_keeps_records_byte_for_byte)
{
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	const struct channel_walk_opts from = {0};
	const struct channel_make_opts o = {0};
	int dir = tree_with("noarch/repodata.json", repodata, sizeof(repodata) - 1);
	auto_free char *to = xasprintf("%s/part", test_tmp());
	CHECK_MSG(channel_kind_rewrite(channel_kind(STR("conda")), dir, &from, to, &o, keep_a, NULL, &e) == 0, "%s",
		  e.msg);
	auto_free char *text = slurp(dir, "part/noarch/repodata.json");
	CHECK(strstr(text, "{\"build\":\"0\",  \"build_number\":0,\"depends\""));
	CHECK(strstr(text, "\"odd\": [1, {\"x\": 1.50}]"));
	CHECK(strstr(text, "\"removed\": [\"old-1-0.conda\"]"));
	CHECK(strstr(text, "\"extra\": {\"k\": null}"));
	CHECK(!strstr(text, "b-2-0"));
	const struct json *j = json_parse(&a, str_c(text), "part", &e);
	CHECK_MSG(j, "%s", e.msg);
	CHECK_INT(json_get(j, "packages")->n, 2); /* what is no package of ours is nobody's to drop */
	CHECK(fs_exists(dir, "part/noarch/repodata.json.zst"));
}

TEST(yanked_is_named_and_dropped_is_gone)
{
	struct err e = ERR_INIT;
	const struct channel_kind *k = channel_kind(STR("conda"));
	const struct channel_make_opts o = {0};
	const struct str one[] = {STR("noarch/a-1-0.tar.bz2")}, two[] = {STR("noarch/b-2-0.tar.bz2")},
			 none[] = {STR("noarch/b-2-0.tar.bz2"), STR("noarch/c-1-0.conda")};
	int dir = tree_with("noarch/repodata.json", repodata, sizeof(repodata) - 1);
	tree_with("noarch/a-1-0.tar.bz2", "aaaaaaa", 7);
	tree_with("noarch/b-2-0.tar.bz2", "bbbbbbbbb", 9);
	CHECK_INT(channel_kind_remove(k, test_tmp(), none, 2, CHANNEL_DROP, STR(""), &o, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	auto_free char *before = slurp(dir, "noarch/repodata.json");
	CHECK(strcmp(before, repodata) == 0);
	CHECK_MSG(channel_kind_remove(k, test_tmp(), one, 1, CHANNEL_YANK, STR("wrong"), &o, &e) == 0, "%s", e.msg);
	auto_free char *yanked = slurp(dir, "noarch/repodata.json");
	CHECK(strstr(yanked, "\"removed\": [\"old-1-0.conda\", \"a-1-0.tar.bz2\"]"));
	CHECK(!strstr(yanked, "\"a-1-0.tar.bz2\": {"));
	CHECK(fs_exists(dir, "noarch/a-1-0.tar.bz2"));
	CHECK_MSG(channel_kind_remove(k, test_tmp(), two, 1, CHANNEL_DROP, STR(""), &o, &e) == 0, "%s", e.msg);
	auto_free char *dropped = slurp(dir, "noarch/repodata.json");
	CHECK(!strstr(dropped, "b-2-0.tar.bz2"));
	CHECK(!fs_exists(dir, "noarch/b-2-0.tar.bz2"));
	CHECK(strstr(dropped, "\"a-2-0.conda\": {"));
}

/* A real channel's metadata: packed, whole and in shards tell the same packages. */
TEST(shards_tell_what_repodata_tells)
{
	static const char *const names[] = {"repodata.json.zst", "repodata_shards.msgpack.zst"};
	struct told t[2] = {0};
	const struct str platforms[] = {STR("linux-64")};
	const struct channel_walk_opts o = {.platforms = platforms, .platforms_n = 1};
	struct err e = ERR_INIT;
	const char *from = test_shared("data/conda/shards/linux-64");
	for (int i = 0; i < 2; i++) {
		auto_free char *into = xasprintf("%s/%d/linux-64", test_tmp(), i);
		auto_fd sub = fs_open_dir_make(AT_FDCWD, into, &e);
		auto_free char *file = xasprintf("%s/%s", from, names[i]), *shards = xasprintf("%s/shards", from),
			       *link = xasprintf("%s/shards", into), *packed = xasprintf("%s/%s", into, names[i]);
		auto_buf b = BUF_INIT(1 << 26);
		CHECK_MSG(fs_read(AT_FDCWD, file, &b, &e) == 0, "%s", e.msg);
		CHECK(fs_replace(AT_FDCWD, packed, b.p, b.n, 0, &e) == 0);
		CHECK(i == 0 || symlink(shards, link) == 0);
		auto_fd dir = openat(sub, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		walk(dir, &o, &t[i], NULL);
		CHECK(i == 1 || fs_exists(dir, "linux-64/repodata.json"));
	}
	size_t packages = 0;
	vec_foreach(x, &t[0].line) {
		if ((*x)[0] != '3')
			continue;
		packages++;
		char *url = strstr(*x, "http");
		(void)url;
		bool found = false;
		vec_foreach(y, &t[1].line)
			found |= strncmp(*x, *y, strlen(*x) - 30) == 0;
		CHECK_MSG(found, "%s is in no shard", *x);
	}
	CHECK(packages > 10);
	told_forget(&t[0]);
	told_forget(&t[1]);
}
