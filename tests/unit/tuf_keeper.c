// SPDX-License-Identifier: Apache-2.0
/* The side that signs: what it makes is what a client takes. */
#include "base/digest.h"
#include "lib/test.h"
#include "lib/tuf.h"

static const struct tuf_signed *of_role(const struct tuf_commit *done, const char *role)
{
	for (size_t i = 0; i < done->n; i++)
		if (str_eq_c(done->v[i].role, role))
			return &done->v[i];
	return NULL;
}

TEST(a_new_repository_is_taken_by_a_client)
{
	struct world w = world_new();
	struct err e = ERR_INIT;
	CHECK_MSG(world_refresh(&w, &e) >= 0, "%s", e.msg);
	CHECK_INT(w.asked_n, 4);
	CHECK_STR(w.asked[0], "2.root.json");
	CHECK_STR(w.asked[1], "timestamp.json");
	CHECK_STR(w.asked[2], "1.snapshot.json");
	CHECK_STR(w.asked[3], "1.targets.json");
}

TEST(only_what_changed_is_signed_anew)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	world_list(k, "targets", "a", "content");
	struct tuf_commit done = world_commit(k, &a);
	CHECK_INT(done.n, 3);
	CHECK(!of_role(&done, "root"));
	CHECK_INT(of_role(&done, "targets")->version, 2);
	CHECK_INT(of_role(&done, "timestamp")->version, 2);
	world_list(k, "targets", "a", "content");
	CHECK_INT(world_commit(k, &a).n, 0);
	world_list(k, "targets", "a", "another");
	CHECK_INT(of_role((done = world_commit(k, &a), &done), "targets")->version, 3);
}

TEST(what_has_less_than_half_of_its_life_left_is_renewed)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	w.clock.wall_ms += (int64_t)3 * WORLD_DAY_S * 1000;
	CHECK_INT(world_commit(k, &a).n, 0);
	w.clock.wall_ms += (int64_t)1 * WORLD_DAY_S * 1000;
	struct tuf_commit done = world_commit(k, &a);
	CHECK_INT(done.n, 1);
	CHECK(of_role(&done, "timestamp"));
	CHECK_INT(of_role(&done, "timestamp")->expires_ms, w.clock.wall_ms + (int64_t)7 * WORLD_DAY_S * 1000);
	w.clock.wall_ms += (int64_t)4 * WORLD_DAY_S * 1000;
	done = world_commit(k, &a);
	CHECK_INT(done.n, 2);
	CHECK(of_role(&done, "snapshot"));
	w.clock.wall_ms += (int64_t)200 * WORLD_DAY_S * 1000;
	done = world_commit(k, &a);
	CHECK_INT(done.n, 4);
	CHECK(of_role(&done, "root"));
	struct err e = ERR_INIT;
	CHECK_MSG(world_refresh(&w, &e) >= 0, "%s", e.msg);
}

TEST(a_delegated_role_signs_for_its_paths)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct tuf_target t;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "channel", "noarch/*", false);
		world_list(k, "channel", "noarch/a", "content");
		struct tuf_commit done = world_commit(k, &a);
		CHECK_INT(of_role(&done, "channel")->version, 1);
		world_list(k, "channel", "noarch/a", "content 2");
		done = world_commit(k, &a);
		CHECK_INT(done.n, 3);
		CHECK(!of_role(&done, "targets"));
	}
	CHECK_MSG(world_look(&w, "noarch/a", &t, &e) == 0, "%s", e.msg);
	CHECK_INT(t.length, 9);
	CHECK_MSG(tuf_target_check(&t, STR("content 2"), &e) == 0, "%s", e.msg);
	CHECK_INT(world_look(&w, "linux-64/a", NULL, &e), 1);
}

/* Each key is somewhere else: what one could not sign waits for the other. */
TEST(a_root_of_two_people_is_published_by_the_second)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_fd one = world_dir("one"), other = world_dir("other");
	struct tuf_public_key key[2];
	struct err e = ERR_INIT;
	CHECK(tuf_key_make(TUF_ED25519, one, &a, &key[0], &e) == 0);
	CHECK(tuf_key_make(TUF_ECDSA_P256, other, &a, &key[1], &e) == 0);
	struct tuf_role_plan p = {key, 2, 2, 0};
	int both[2] = {w.keys_fd, one};
	struct tuf_keeper_opts o = TUF_KEEPER_OPTS_INIT;
	o.dir_fd = w.repo_fd, o.clock = &w.clock.base, o.keys_fd = both, o.keys_n = 2;
	{
		auto_ptr(tuf_keeper) k = NULL;
		CHECK(tuf_keeper_open(&o, &k, &e) == 0 && tuf_keeper_role(k, STR("root"), &p, &e) == 0);
		struct tuf_commit done = world_commit(k, &a);
		CHECK_INT(done.n, 1);
		CHECK(done.v[0].staged);
		CHECK_INT(done.v[0].signatures, 1);
	}
	CHECK(!fs_exists(w.repo_fd, "2.root.json"));
	CHECK(world_refresh(&w, &e) >= 0);
	CHECK_INT(world_trusted(&w, META_ROOT), 1);
	{
		auto_ptr(tuf_keeper) k = NULL;
		o.keys_fd = &other, o.keys_n = 1;
		CHECK(tuf_keeper_open(&o, &k, &e) == 0);
		struct tuf_commit done = world_commit(k, &a);
		CHECK_INT(done.n, 1);
		CHECK(!done.v[0].staged);
		CHECK_INT(done.v[0].signatures, 2);
	}
	CHECK(!fs_exists(w.repo_fd, ".staged/root.json"));
	CHECK_MSG(world_refresh(&w, &e) >= 0, "%s", e.msg);
	CHECK_INT(world_trusted(&w, META_ROOT), 2);
}

/* Somebody with the targets' key alone: signed, and published by who has the online keys. */
TEST(targets_signed_elsewhere_wait_for_the_online_keys)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_fd away = world_dir("away");
	struct tuf_role_plan p;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		CHECK(tuf_keeper_plan(k, STR("targets"), &p, &e) == 0);
		auto_free char *name = xasprintf("%.*s.pem", STR_ARG(p.key[0].keyid));
		CHECK(renameat(w.keys_fd, name, away, name) == 0);
	}
	{
		struct tuf_keeper_opts o = TUF_KEEPER_OPTS_INIT;
		auto_ptr(tuf_keeper) k = NULL;
		o.dir_fd = w.repo_fd, o.clock = &w.clock.base, o.keys_fd = &away, o.keys_n = 1;
		CHECK(tuf_keeper_open(&o, &k, &e) == 0);
		world_list(k, "targets", "a", "content");
		struct tuf_commit done = world_commit(k, &a);
		CHECK(of_role(&done, "targets")->staged);
		CHECK_INT(of_role(&done, "targets")->signatures, 1);
	}
	CHECK_INT(world_look(&w, "a", NULL, &e), 1);
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		struct tuf_commit done = world_commit(k, &a);
		CHECK(!of_role(&done, "targets")->staged);
	}
	CHECK_MSG(world_look(&w, "a", NULL, &e) == 0, "%s", e.msg);
}

TEST(each_role_can_get_other_keys)
{
	static const char *const roles[] = {"timestamp", "snapshot", "targets", "root"};
	struct world w = world_new();
	struct err e = ERR_INIT;
	CHECK(world_refresh(&w, &e) >= 0);
	for (size_t i = 0; i < 4; i++) {
		auto_arena a = ARENA_INIT;
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_rotate(&w, k, &a, roles[i], 3, 2);
		struct tuf_commit done = world_commit(k, &a);
		CHECK_INT(of_role(&done, "root")->version, i + 2);
		CHECK(!of_role(&done, "root")->staged);
		tuf_keeper_free(steal_ptr(&k));
		CHECK_MSG(world_refresh(&w, &e) >= 0, "%s", e.msg);
		CHECK_INT(world_trusted(&w, META_ROOT), i + 2);
	}
}

TEST(a_delegated_role_can_get_other_keys)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "channel", "*", false);
		world_list(k, "channel", "a", "content");
		world_commit(k, &a);
	}
	CHECK(world_look(&w, "a", NULL, &e) == 0);
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		struct tuf_delegation d;
		struct tuf_public_key key;
		struct str parent;
		CHECK_MSG(tuf_keeper_delegation(k, STR("channel"), &parent, &d, &e) == 0, "%s", e.msg);
		CHECK(str_eq(parent, STR("targets")));
		CHECK_INT(d.role.key_n, 1);
		CHECK(tuf_key_make(TUF_ECDSA_P256, w.keys_fd, &a, &key, &e) == 0);
		d.role.key = &key;
		CHECK_MSG(tuf_keeper_delegate(k, parent, &d, &e) == 0, "%s", e.msg);
		struct tuf_commit done = world_commit(k, &a);
		CHECK_INT(of_role(&done, "channel")->version, 2);
	}
	CHECK_MSG(world_look(&w, "a", NULL, &e) == 0, "%s", e.msg);
}

TEST(a_private_key_that_others_can_read_is_refused)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	struct tuf_role_plan p;
	struct tuf_commit done;
	struct err e = ERR_INIT;
	CHECK(tuf_keeper_plan(k, STR("targets"), &p, &e) == 0);
	auto_free char *name = xasprintf("%.*s.pem", STR_ARG(p.key[0].keyid));
	struct stat st;
	CHECK(fstatat(w.keys_fd, name, &st, 0) == 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	CHECK(fchmodat(w.keys_fd, name, 0644, 0) == 0);
	world_list(k, "targets", "a", "content");
	CHECK(tuf_keeper_commit(k, &a, &done, &e) < 0);
	CHECK_MSG(strstr(e.msg, "chmod 600"), "%s", e.msg);
}

TEST(a_key_under_the_name_of_another_is_noticed)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	struct tuf_role_plan p;
	struct tuf_public_key other;
	struct tuf_commit done;
	struct err e = ERR_INIT;
	CHECK(tuf_keeper_plan(k, STR("targets"), &p, &e) == 0 &&
	      tuf_key_make(TUF_ED25519, w.keys_fd, &a, &other, &e) == 0);
	auto_free char *name = xasprintf("%.*s.pem", STR_ARG(p.key[0].keyid));
	auto_free char *wrong = xasprintf("%.*s.pem", STR_ARG(other.keyid));
	CHECK(renameat(w.keys_fd, wrong, w.keys_fd, name) == 0);
	world_list(k, "targets", "a", "content");
	CHECK(tuf_keeper_commit(k, &a, &done, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
}

TEST(what_others_wrote_into_metadata_stays)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	world_publish(&w, "a", "content");
	world_forge(&w, META_TARGETS, "2.targets.json", "\"length\": 7",
		    "\"length\": 7, \"custom\": {\"note\": \"kept\"}", "\"version\": 2",
		    "\"x-more\": [1], \"version\": 2");
	world_forge(&w, META_SNAPSHOT, "2.snapshot.json", "\"meta\": {",
		    "\"meta\": {\"targets.json\": {\"version\": 2}}, \"x\": {");
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 2}}, \"x\": {");
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	struct tuf_file v[2] = {world_file("a", "content"), world_file("b", "more")};
	CHECK(tuf_keeper_set_targets(k, STR("targets"), v, 2, &e) == 0);
	world_commit(k, &a);
	CHECK(fs_read(w.repo_fd, "3.targets.json", &b, &e) == 0);
	CHECK_MSG(strstr(b.p, "kept") && strstr(b.p, "x-more"), "%s", b.p);
}

TEST(nothing_is_written_in_a_dry_run)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct tuf_keeper_opts o = TUF_KEEPER_OPTS_INIT;
	auto_ptr(tuf_keeper) k = NULL;
	struct err e = ERR_INIT;
	o.dir_fd = w.repo_fd, o.clock = &w.clock.base, o.keys_fd = &w.keys_fd, o.keys_n = 1, o.dry_run = true;
	CHECK(tuf_keeper_open(&o, &k, &e) == 0);
	world_list(k, "targets", "a", "content");
	CHECK_INT(world_commit(k, &a).n, 3);
	CHECK(!fs_exists(w.repo_fd, "2.targets.json"));
	tuf_keeper_free(steal_ptr(&k));
	CHECK_INT(world_look(&w, "a", NULL, &e), 1);
}

TEST(two_keepers_at_once_wait_for_each_other)
{
	struct world w = world_new();
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	struct tuf_keeper *second = NULL;
	struct tuf_keeper_opts o = TUF_KEEPER_OPTS_INIT;
	struct err e = ERR_INIT;
	o.dir_fd = w.repo_fd, o.wait_ms = 0;
	CHECK(tuf_keeper_open(&o, &second, &e) < 0);
	CHECK_INT(e.code, ERR_BUSY);
}

TEST(what_makes_no_sense_is_refused)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	struct tuf_role_plan p;
	struct err e = ERR_INIT;
	struct str path = STR("*");
	CHECK(tuf_keeper_plan(k, STR("targets"), &p, &e) == 0);
	p.threshold = 2;
	CHECK(tuf_keeper_role(k, STR("targets"), &p, &e) < 0);
	p.threshold = 0;
	CHECK(tuf_keeper_role(k, STR("targets"), &p, &e) < 0);
	p.threshold = 1;
	CHECK(tuf_keeper_role(k, STR("nobody"), &p, &e) < 0);
	static const char *const names[] = {"root", "targets", "../x", ".x", "", "a/b", "a b"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct tuf_delegation d = {str_c(names[i]), p, &path, 1, false};
		CHECK_MSG(tuf_keeper_delegate(k, STR("targets"), &d, &e) < 0, "'%s'", names[i]);
	}
	struct tuf_file twice[2] = {world_file("a", "1"), world_file("a", "2")};
	CHECK(tuf_keeper_set_targets(k, STR("targets"), twice, 2, &e) < 0);
	CHECK(tuf_keeper_set_targets(k, STR("nobody"), twice, 1, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
}
