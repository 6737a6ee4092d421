// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "mirror/mirror.h"

static struct arena a;
static const char text[] = "snapshot 1\n"
			   "environment step\n"
			   "when before update\n"
			   "channel https://mirror.example.org/site\n"
			   "channel https://mirror.example.org/large\n"
			   "package python 3.9.19 h1234_0 linux-64 2\n"
			   "package tool 1.0 0 noarch 1\n";

static int parse(const char *t, struct mirror_snapshot *s, struct err *e)
{
	return mirror_snapshot_parse(&a, str_c(t), "snapshot", s, e);
}

TEST(what_is_written_is_what_was_read)
{
	struct mirror_snapshot s;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	CHECK_INT(parse(text, &s, &e), 0);
	CHECK_INT(s.packages_n, 2);
	CHECK_INT(s.when, MIRROR_SNAPSHOT_BEFORE);
	mirror_snapshot_write(&s, &b);
	CHECK_STR(b.p, text);
}

/* The wire format shows that nothing but names, versions and channels leaves a host. */
TEST(there_is_no_place_for_anything_else)
{
	static const char *const bad[] = {
		"",
		"environment step\n",
		"snapshot 2\nenvironment step\n",
		"snapshot 1\n",
		"snapshot 1\nenvironment step\nhost app1\n",
		"snapshot 1\nenvironment step\nenvironment other\n",
		"snapshot 1\nenvironment step more\n",
		"snapshot 1\nenvironment ../step\n",
		"snapshot 1\nenvironment step\n# a remark\n",
		"snapshot 1\nenvironment step\n\n",
		"snapshot 1\nenvironment step\nwhen before\n",
		"snapshot 1\nenvironment step\nwhen now update\n",
		"snapshot 1\nenvironment step\nwhen before update of customer 7\n",
		"snapshot 1\nenvironment step\nchannel mirror.example.org\n",
		"snapshot 1\nenvironment step\nchannel https://user:secret@mirror.example.org/c\n",
		"snapshot 1\nenvironment step\nchannel https://mirror.example.org/t/secret/c\n",
		"snapshot 1\nenvironment step\nchannel https://mirror.example.org/c?key=secret\n",
		"snapshot 1\nenvironment step\npackage tool 1.0 0 noarch 1\n",
		"snapshot 1\nenvironment step\nchannel https://m/c\npackage tool 1.0 0 noarch 0\n",
		"snapshot 1\nenvironment step\nchannel https://m/c\npackage tool 1.0 0 noarch 1 secret\n",
		"snapshot 1\nenvironment step\nchannel https://m/c\npackage tool 1.0 0 noarch 1\npackage tool 1.1 0 noarch 1\n",
		"snapshot 1\nenvironment step\nchannel https://m/c\npackage Tool! 1.0 0 noarch 1\n",
		"snapshot 1\nenvironment step\nchannel https://m/c\npackage tool 1.0 0 ../.. 1\n",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct mirror_snapshot s;
		struct err e = ERR_INIT;
		CHECK_INT(parse(bad[i], &s, &e), -1);
		CHECK_INT(e.code, ERR_INPUT);
	}
}

TEST(what_differs)
{
	struct mirror_snapshot old, new;
	struct err e = ERR_INIT;
	struct mirror_snapshot_difference *v;
	CHECK_INT(parse(text, &old, &e), 0);
	CHECK_INT(parse("snapshot 1\nenvironment step\nchannel https://mirror.example.org/large\n"
			"package python 3.10.1 h1_0 linux-64 1\npackage zlib 1.2 0 linux-64 1\n",
			&new, &e),
		  0);
	CHECK_INT(mirror_snapshot_compare(&old, &new, &a, &v), 3);
	CHECK(v[0].old && v[0].new &&str_eq(v[0].new->version, STR("3.10.1")));
	CHECK(v[1].old && !v[1].new &&str_eq(v[1].old->name, STR("tool")));
	CHECK(!v[2].old && v[2].new &&str_eq(v[2].new->name, STR("zlib")));
	CHECK_INT(mirror_snapshot_compare(&old, &old, &a, &v), 0);
}

TEST(a_recipe_asks_for_exactly_these)
{
	struct mirror_snapshot s;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	CHECK_INT(parse(text, &s, &e), 0);
	mirror_snapshot_recipe(&s, &b);
	CHECK_STR(b.p, "recipe 1\nname step\nsubdir linux-64\nchannel https://mirror.example.org/site\n"
		       "channel https://mirror.example.org/large\n"
		       "spec https://mirror.example.org/large/linux-64::python==3.9.19=h1234_0\n"
		       "spec https://mirror.example.org/site/noarch::tool==1.0=0\n");
}

static struct mirror_snapshots *open_store(void)
{
	struct mirror_snapshots *s = NULL;
	struct err e = ERR_INIT;
	CHECK_INT(mirror_snapshots_open(arena_printf(&a, "%s/%d.db", test_tmp(), rand()), &s, &e), 0);
	return s;
}

TEST(a_client_sees_its_own)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror_snapshots) s = open_store();
	struct mirror_snapshot_info *v;
	struct str got;
	size_t n;
	int64_t one, two, three;
	CHECK_INT(mirror_snapshots_put(s, STR("app1"), str_c(text), 1000, &one, &e), 0);
	CHECK_INT(mirror_snapshots_put(s, STR("app1"), str_c(text), 2000, &two, &e), 0);
	CHECK_INT(one, two); /* nothing new */
	CHECK_INT(mirror_snapshots_put(s, STR("app2"), str_c(text), 3000, &three, &e), 0);
	CHECK(three != one);
	CHECK_INT(mirror_snapshots_get(s, STR("app1"), one, &a, &got, &e), 0);
	CHECK(str_eq_c(got, text));
	CHECK_INT(mirror_snapshots_get(s, STR("app1"), three, &a, &got, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(mirror_snapshots_get(s, STR_NONE, three, &a, &got, &e), 0);
	CHECK_INT(mirror_snapshots_list(s, STR("app1"), STR_NONE, 10, &a, &v, &n, &e), 0);
	CHECK_INT(n, 1);
	CHECK(str_eq(v[0].operation, STR("update")));
	CHECK_INT(v[0].taken_ms, 1000);
	CHECK_INT(v[0].packages_n, 2);
	CHECK_INT(mirror_snapshots_list(s, STR_NONE, STR("step"), 10, &a, &v, &n, &e), 0);
	CHECK_INT(n, 2);
	CHECK_INT(mirror_snapshots_put(s, STR("app1"), STR("rubbish"), 1000, &one, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(the_oldest_make_room)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror_snapshots) s = open_store();
	struct mirror_snapshot_info *v;
	size_t n;
	int64_t id;
	for (int i = 0; i < MIRROR_SNAPSHOTS_KEPT + 3; i++) {
		const char *t = arena_printf(
			&a, "snapshot 1\nenvironment e\nwhen now\nchannel https://m/c\npackage p %d 0 noarch 1\n", i);
		CHECK_INT(mirror_snapshots_put(s, STR("c"), str_c(t), i, &id, &e), 0);
	}
	CHECK_INT(mirror_snapshots_list(s, STR("c"), STR("e"), 5000, &a, &v, &n, &e), 0);
	CHECK_INT(n, MIRROR_SNAPSHOTS_KEPT);
	CHECK_INT(v[n - 1].taken_ms, 3);
	for (int i = 1; i < MIRROR_SNAPSHOT_ENVIRONMENTS; i++)
		CHECK_INT(mirror_snapshots_put(s, STR("c"),
					       str_c(arena_printf(&a, "snapshot 1\nenvironment e%d\nwhen now\n", i)), i,
					       &id, &e),
			  0);
	CHECK_INT(mirror_snapshots_put(s, STR("c"), STR("snapshot 1\nenvironment more\nwhen now\n"), 1, &id, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

static int64_t store(struct mirror_snapshots *s, const char *client, const char *environment, int version,
		     int64_t now_ms)
{
	struct err e = ERR_INIT;
	int64_t id = 0;
	const char *t =
		arena_printf(&a, "snapshot 1\nenvironment %s\nwhen now\nchannel https://m/c\npackage p %d 0 noarch 1\n",
			     environment, version);
	CHECK_INT(mirror_snapshots_put(s, str_c(client), str_c(t), now_ms, &id, &e), 0);
	return id;
}

TEST(the_newest_by_then)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror_snapshots) s = open_store();
	int64_t one = store(s, "c", "e", 1, 1000), two = store(s, "c", "e", 2, 2000), id;
	CHECK_INT(mirror_snapshots_at(s, STR("c"), STR("e"), INT64_MAX, &id, &e), 0);
	CHECK_INT(id, two);
	CHECK_INT(mirror_snapshots_at(s, STR("c"), STR(""), 1999, &id, &e), 0);
	CHECK_INT(id, one);
	CHECK_INT(mirror_snapshots_at(s, STR("c"), STR("e"), 999, &id, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	store(s, "c", "f", 1, 3000);
	CHECK_INT(mirror_snapshots_at(s, STR("c"), STR(""), INT64_MAX, &id, &e), -1);
	CHECK_INT(e.code, ERR_USAGE);
}

static size_t listed(struct mirror_snapshots *s, const char *client)
{
	struct err e = ERR_INIT;
	struct mirror_snapshot_info *v;
	size_t n = 0;
	CHECK_INT(mirror_snapshots_list(s, str_c(client), STR_NONE, 5000, &a, &v, &n, &e), 0);
	return n;
}

TEST(what_is_over_goes_but_the_newest_stays)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror_snapshots) s = open_store();
	int64_t n, id;
	for (int i = 0; i < 10; i++)
		store(s, "c", "e", i, i * 1000);
	int64_t only = store(s, "c", "old", 1, 1);
	struct mirror_snapshot_limits limits = {.kept = 5};
	mirror_snapshots_limit(s, &limits);
	CHECK_INT(mirror_snapshots_prune(s, 10000, true, &n, &e), 0);
	CHECK_INT(n, 5);
	CHECK_INT(listed(s, "c"), 11);
	CHECK_INT(mirror_snapshots_prune(s, 10000, false, &n, &e), 0);
	CHECK_INT(n, 5);
	CHECK_INT(listed(s, "c"), 6);
	limits.age_ms = 1500;
	mirror_snapshots_limit(s, &limits);
	CHECK_INT(mirror_snapshots_prune(s, 10000, false, &n, &e), 0);
	CHECK_INT(listed(s, "c"), 2);
	CHECK_INT(mirror_snapshots_at(s, STR("c"), STR("old"), INT64_MAX, &id, &e), 0);
	CHECK_INT(id, only);
	CHECK_INT(mirror_snapshots_prune(s, INT64_MAX / 2, false, &n, &e), 0);
	CHECK_INT(n, 0);
	CHECK_INT(listed(s, "c"), 2);
	CHECK_INT(mirror_snapshots_forget(s, STR("c"), &n, &e), 0);
	CHECK_INT(listed(s, "c"), 0);
}

TEST(a_client_fills_no_more_than_its_room)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror_snapshots) s = open_store();
	struct mirror_snapshot_limits limits = {.kept = 1000, .client_bytes = 2000};
	int64_t id;
	mirror_snapshots_limit(s, &limits);
	int64_t only = store(s, "c", "first", 1, 1);
	store(s, "d", "e", 1, 1);
	for (int i = 0; i < 100; i++)
		store(s, "c", "e", i, i);
	CHECK(listed(s, "c") > 2 && listed(s, "c") < 40);
	CHECK_INT(mirror_snapshots_at(s, STR("c"), STR("first"), INT64_MAX, &id, &e), 0);
	CHECK_INT(id, only);
	CHECK_INT(listed(s, "d"), 1);
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(&b, "snapshot 1\nenvironment e\nwhen now\nchannel https://m/c\n");
	for (int i = 0; i < 200; i++)
		buf_printf(&b, "package p%d 1 0 noarch 1\n", i);
	CHECK_INT(mirror_snapshots_put(s, STR("c"), buf_str(&b), 200, &id, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_INT(mirror_snapshots_at(s, STR("c"), STR("first"), INT64_MAX, &id, &e), 0);
}
