// SPDX-License-Identifier: Apache-2.0
/*
 * Each attack that TUF's specification lists (its section 1.5.2), and each mistake that a client of it was really broken by: refused,
 * and what was trusted before is still there.
 */
#include "base/digest.h"
#include "lib/test.h"
#include "lib/tuf.h"

static void refused(struct world *w, enum err_code code, const char *words)
{
	struct err e = ERR_INIT;
	CHECK_MSG(world_refresh(w, &e) < 0, "it was taken");
	CHECK_MSG(e.code == code, "%s: %s", err_code_name(e.code), e.msg);
	CHECK_MSG(strstr(e.msg, words), "%s", e.msg);
}

static void taken(struct world *w)
{
	struct err e = ERR_INIT;
	CHECK_MSG(world_refresh(w, &e) >= 0, "%s", e.msg);
}

static void trusts(struct world *w, int64_t root, int64_t timestamp, int64_t snapshot, int64_t targets)
{
	CHECK_INT(world_trusted(w, META_ROOT), root);
	CHECK_INT(world_trusted(w, META_TIMESTAMP), timestamp);
	CHECK_INT(world_trusted(w, META_SNAPSHOT), snapshot);
	CHECK_INT(world_trusted(w, META_TARGETS), targets);
}

static void break_signature(struct world *w, const char *file)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	CHECK(fs_read(w->repo_fd, file, &b, &e) == 0);
	char *sig = strstr(b.p, "\"sig\": \"");
	CHECK(sig);
	sig[8] = sig[8] == '0' ? '1' : '0';
	CHECK(fs_replace(w->repo_fd, file, b.p, b.n, 0, &e) == 0);
}

/* -- the attacks of the specification --------------------------------------------------------------------------------- */

TEST(arbitrary_software_installation)
{
	struct world w = world_new();
	struct tuf_target t;
	struct err e = ERR_INIT;
	world_publish(&w, "a", "content");
	CHECK_MSG(world_look(&w, "a", &t, &e) == 0, "%s", e.msg);
	CHECK(tuf_target_check(&t, STR("content"), &e) == 0);
	CHECK(tuf_target_check(&t, STR("another"), &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	static const char *const files[] = {"timestamp.json", "3.snapshot.json", "3.targets.json"};
	for (size_t i = 0; i < 3; i++) {
		w = world_new();
		world_publish(&w, "a", "content");
		taken(&w);
		world_publish(&w, "a", "evil");
		if (i > 0) /* no digests: the signature alone */
			world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"meta\": {",
				    "\"meta\": {\"snapshot.json\": {\"version\": 3}}, \"x\": {");
		if (i > 1)
			world_forge(&w, META_SNAPSHOT, "3.snapshot.json", "\"meta\": {",
				    "\"meta\": {\"targets.json\": {\"version\": 3}}, \"x\": {");
		break_signature(&w, files[i]);
		refused(&w, ERR_VERIFY, "0 good signatures");
		CHECK_INT(world_trusted(&w, META_TARGETS), 2);
	}
}

TEST(arbitrary_root_of_an_attacker)
{
	struct world w = world_new();
	taken(&w);
	struct world other = world_new();
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&other);
		CHECK(tuf_keeper_renew(k, STR("root"), &e) == 0);
		world_commit(k, &a);
	}
	CHECK(fs_read(other.repo_fd, "2.root.json", &b, &e) == 0);
	CHECK(fs_replace(w.repo_fd, "2.root.json", b.p, b.n, 0, &e) == 0);
	refused(&w, ERR_VERIFY, "by the keys of version 1: 2.root.json: version 2 has 0 good signatures");
	CHECK_INT(world_trusted(&w, META_ROOT), 1);
}

TEST(root_that_its_own_keys_did_not_sign)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_rotate(&w, k, &a, "root", 1, 1);
		world_commit(k, &a);
	}
	break_signature(&w, "2.root.json"); /* the new key's is the first */
	refused(&w, ERR_VERIFY, "by its own keys: 2.root.json: version 2 has 0 good signatures");
	CHECK_INT(world_trusted(&w, META_ROOT), 1);
}

TEST(endless_data)
{
	static const struct {
		const char *file;
		uint64_t most;
	} all[] = {{"2.root.json", (uint64_t)512 << 10}, {"timestamp.json", 16 << 10}};
	struct world w = world_new();
	for (size_t i = 0; i < 2; i++) {
		w.endless = all[i].file;
		refused(&w, ERR_LIMIT, all[i].file);
		CHECK_INT(w.most_bytes, all[i].most);
	}
	w.endless = "1.snapshot.json";
	refused(&w, ERR_LIMIT, "1.snapshot.json");
	CHECK_MSG(w.most_bytes < 1000, "%ju", (uintmax_t)w.most_bytes); /* its length was signed */
	w.endless = "1.targets.json";
	refused(&w, ERR_LIMIT, "1.targets.json");
	CHECK(w.most_bytes < 1000);
	w.endless = NULL;
	taken(&w);
}

TEST(a_length_that_was_signed_counts_without_a_digest)
{
	struct world w = world_new();
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 1, \"length\": 5000}}, \"x\": {");
	refused(&w, ERR_VERIFY, "not the 5000 that were signed");
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 1,", "\"version\": 2,", "\"length\": 5000",
		    "\"length\": 100");
	refused(&w, ERR_LIMIT, "1.snapshot.json");
}

TEST(endless_data_of_a_target)
{
	struct world w = world_new();
	struct tuf_target t;
	struct err e = ERR_INIT;
	world_publish(&w, "a", "content");
	CHECK(world_look(&w, "a", &t, &e) == 0);
	CHECK(tuf_target_check(&t, STR("content and more"), &e) < 0);
	CHECK_MSG(strstr(e.msg, "16 bytes or more"), "%s", e.msg);
	auto_fd zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	CHECK(tuf_target_check_fd(&t, zero, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
}

/* Whoever may sign for one folder cannot bring in what others need. */
TEST(extraneous_dependencies)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "noarch", "noarch/*", false);
		struct tuf_file v[2] = {world_file("noarch/a", "a"), world_file("linux-64/libc", "evil")};
		CHECK(tuf_keeper_set_targets(k, STR("noarch"), v, 2, &e) == 0);
		world_commit(k, &a);
	}
	CHECK_MSG(world_look(&w, "noarch/a", NULL, &e) == 0, "%s", e.msg);
	CHECK_INT(world_look(&w, "linux-64/libc", NULL, &e), 1);
}

/* A stolen key drives versions up so that honest ones look old: other keys end that. */
static void fast_forward(const char *rotated[2], enum meta_kind kind, const char *file)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	world_forge(&w, kind, file, "\"version\": 1,", "\"version\": 9000000000000000000,");
	if (kind == META_SNAPSHOT) {
		world_forge_to(&w, kind, file, "9000000000000000000.snapshot.json", NULL, NULL,
			       (const char *const[]){NULL});
		world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 1,", "\"version\": 2,", "\"meta\": {",
			    "\"meta\": {\"snapshot.json\": {\"version\": 9000000000000000000}}, \"x\": {");
	}
	taken(&w);
	CHECK(world_trusted(&w, kind) > 1000);
	/* the honest state again, from the copy that its keeper has */
	world_forge(&w, kind, file, "\"version\": 9000000000000000000,", "\"version\": 1,");
	if (kind == META_SNAPSHOT)
		world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 2,", "\"version\": 3,",
			    "\"version\": 9000000000000000000", "\"version\": 1");
	refused(&w, ERR_VERIFY, "rolls it back");
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		for (size_t i = 0; i < 2 && rotated[i]; i++)
			world_rotate(&w, k, &a, rotated[i], 1, 1);
		world_commit(k, &a);
	}
	taken(&w);
	CHECK(world_trusted(&w, kind) < 1000);
}

TEST(fast_forward_of_timestamp)
{
	fast_forward((const char *[2]){"timestamp", NULL}, META_TIMESTAMP, "timestamp.json");
}

TEST(fast_forward_of_snapshot)
{
	fast_forward((const char *[2]){"snapshot", "timestamp"}, META_SNAPSHOT, "1.snapshot.json");
}

/* The kept timestamp is good, but it lists the version that the stolen key made. */
TEST(fast_forward_of_snapshot_ends_with_its_key_alone)
{
	fast_forward((const char *[2]){"snapshot", NULL}, META_SNAPSHOT, "1.snapshot.json");
}

TEST(indefinite_freeze)
{
	static const int days[] = {8, 15, 91, 366};
	static const char *const files[] = {"timestamp.json", "1.snapshot.json", "1.targets.json", "root.json"};
	for (size_t i = 0; i < 4; i++) {
		struct world w = world_new();
		auto_arena a = ARENA_INIT;
		taken(&w);
		w.clock.wall_ms += (int64_t)days[i] * WORLD_DAY_S * 1000;
		refused(&w, ERR_VERIFY, "expired at");
		trusts(&w, 1, 1, 1, 1);
		/* only that one is old */
		static const char later[] = "expires\": \"2099-01-01T00:00:00Z\", \"x\": \"";
		if (i > 0)
			world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 1,", "\"version\": 2,",
				    "expires\": \"", later, "\"meta\": {",
				    "\"meta\": {\"snapshot.json\": {\"version\": 1}}, \"y\": {");
		if (i > 1)
			world_forge(&w, META_SNAPSHOT, "1.snapshot.json", "expires\": \"", later, "\"meta\": {",
				    "\"meta\": {\"targets.json\": {\"version\": 1}}, \"y\": {");
		CHECK(unlinkat(w.trusted_fd, "snapshot.json", 0) == 0 &&
		      unlinkat(w.trusted_fd, "targets.json", 0) == 0);
		refused(&w, ERR_VERIFY, files[i]);
		CHECK_INT(world_trusted(&w, i == 1 ? META_SNAPSHOT : META_TARGETS), 0);
	}
}

/* A mirror that keeps updates back: what it does not serve is told, what was verified stays, another mirror goes on from there. */
TEST(malicious_mirror_prevents_updates)
{
	static const char *const files[] = {"timestamp.json", "2.snapshot.json", "2.targets.json"};
	struct world w = world_new();
	struct err e = ERR_INIT;
	taken(&w);
	world_publish(&w, "a", "content");
	CHECK(fs_replace(w.repo_fd, "garbage", "{}", 2, 0, &e) == 0);
	for (size_t i = 0; i < 3; i++) {
		w.serve_as = files[i], w.instead = NULL;
		refused(&w, ERR_NOT_FOUND, files[i]);
		w.instead = "garbage";
		refused(&w, i ? ERR_VERIFY : ERR_INPUT, files[i]);
		CHECK_INT(world_trusted(&w, META_TARGETS), 1);
	}
	w.serve_as = NULL;
	taken(&w);
	trusts(&w, 1, 2, 2, 2);
}

/* Files that were never published together. */
TEST(mix_and_match)
{
	struct world w = world_new();
	world_publish(&w, "a", "old");
	world_publish(&w, "a", "new");
	w.serve_as = "3.snapshot.json", w.instead = "2.snapshot.json";
	refused(&w, ERR_VERIFY, "3.snapshot.json: its SHA-256 is not the one that was signed");
	/* and where no digests are listed, by version alone */
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 3,", "\"version\": 4,", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 3}}, \"x\": {");
	refused(&w, ERR_VERIFY, "holds version 2, not 3");
	w.serve_as = "3.targets.json", w.instead = "2.targets.json";
	refused(&w, ERR_VERIFY, "3.targets.json: its SHA-256 is not the one that was signed");
	CHECK(unlinkat(w.trusted_fd, "snapshot.json", 0) == 0);
	world_forge(&w, META_SNAPSHOT, "3.snapshot.json", "\"meta\": {",
		    "\"meta\": {\"targets.json\": {\"version\": 3}}, \"x\": {");
	refused(&w, ERR_VERIFY, "holds version 2, not 3");
	w.serve_as = NULL;
	taken(&w);
}

TEST(mix_and_match_of_a_role_that_is_not_listed)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "channel", "*", false);
		world_commit(k, &a);
	}
	world_forge(&w, META_SNAPSHOT, "2.snapshot.json", "\"meta\": {",
		    "\"meta\": {\"targets.json\": {\"version\": 2}}, \"x\": {");
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 2}}, \"x\": {");
	CHECK(world_look(&w, "a", NULL, &e) < 0);
	CHECK_MSG(strstr(e.msg, "does not list 'channel.json'"), "%s", e.msg);
	CHECK_INT(w.asked_n, 4); /* not even asked for */
}

TEST(rollback_of_timestamp)
{
	struct world w = world_new();
	auto_buf old = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	CHECK(fs_read(w.repo_fd, "timestamp.json", &old, &e) == 0);
	world_publish(&w, "a", "content");
	taken(&w);
	CHECK(fs_replace(w.repo_fd, "timestamp.json", old.p, old.n, 0, &e) == 0);
	refused(&w, ERR_VERIFY, "'timestamp.json' was at version 2 and would go back to 1");
	trusts(&w, 1, 2, 2, 2);
}

TEST(rollback_of_snapshot)
{
	struct world w = world_new();
	world_publish(&w, "a", "content");
	taken(&w);
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 2,", "\"version\": 3,", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 1}}, \"x\": {");
	refused(&w, ERR_VERIFY, "'snapshot.json' was at version 2 and would go back to 1");
	trusts(&w, 1, 2, 2, 2);
}

TEST(rollback_of_targets)
{
	struct world w = world_new();
	world_publish(&w, "a", "content");
	taken(&w);
	world_forge_to(&w, META_SNAPSHOT, "2.snapshot.json", "3.snapshot.json", NULL, NULL,
		       (const char *const[]){"\"version\": 2,", "\"version\": 3,", "\"meta\": {",
					     "\"meta\": {\"targets.json\": {\"version\": 1}}, \"x\": {", NULL});
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 2,", "\"version\": 3,", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 3}}, \"x\": {");
	refused(&w, ERR_VERIFY, "'targets.json' was at version 2 and would go back to 1");
	trusts(&w, 1, 3, 2, 2);
}

TEST(rollback_by_leaving_a_role_out)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "channel", "*", false);
		world_commit(k, &a);
	}
	taken(&w);
	world_forge_to(&w, META_SNAPSHOT, "2.snapshot.json", "3.snapshot.json", NULL, NULL,
		       (const char *const[]){"\"version\": 2,", "\"version\": 3,", "\"meta\": {",
					     "\"meta\": {\"targets.json\": {\"version\": 2}}, \"x\": {", NULL});
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 2,", "\"version\": 3,", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 3}}, \"x\": {");
	refused(&w, ERR_VERIFY, "'channel.json' was listed and is not any more");
}

TEST(rollback_of_root)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		CHECK(tuf_keeper_renew(k, STR("root"), &(struct err){0}) == 0);
		world_commit(k, &a);
	}
	taken(&w);
	CHECK_INT(world_trusted(&w, META_ROOT), 2);
	w.serve_as = "3.root.json", w.instead = "1.root.json";
	refused(&w, ERR_VERIFY, "holds version 1, not 3");
	CHECK_INT(world_trusted(&w, META_ROOT), 2);
}

/* Less keys than the threshold, or those of another role, install nothing. */
TEST(key_compromise_below_the_threshold)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct tuf_role_plan p;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_rotate(&w, k, &a, "targets", 2, 2);
		world_commit(k, &a);
		CHECK(tuf_keeper_plan(k, STR("targets"), &p, &e) == 0);
		auto_free char *name = xasprintf("%.*s.pem", STR_ARG(p.key[1].keyid));
		CHECK(unlinkat(w.keys_fd, name, 0) == 0); /* the thief has all keys but this one */
	}
	taken(&w);
	world_forge_to(&w, META_TARGETS, "2.targets.json", "3.targets.json", NULL, NULL,
		       (const char *const[]){"\"version\": 2,", "\"version\": 3,", NULL});
	world_forge_to(&w, META_SNAPSHOT, "2.snapshot.json", "3.snapshot.json", NULL, NULL,
		       (const char *const[]){"\"version\": 2,", "\"version\": 3,", "\"meta\": {",
					     "\"meta\": {\"targets.json\": {\"version\": 3}}, \"x\": {", NULL});
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 2,", "\"version\": 3,", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 3}}, \"x\": {");
	refused(&w, ERR_VERIFY,
		"3.targets.json: version 3 has 1 good signature of the keys that may sign it, 2 are needed");
	CHECK_INT(world_trusted(&w, META_TARGETS), 2);
}

TEST(key_compromise_of_the_online_keys)
{
	struct world w = world_new();
	auto_buf b = BUF_INIT(1 << 20);
	auto_ptr(meta) targets = NULL;
	struct err e = ERR_INIT;
	taken(&w);
	/* targets, signed by snapshot's key */
	struct tuf_keeper thief = {.o = {.dir_fd = w.repo_fd, .keys_fd = &w.keys_fd, .keys_n = 1}};
	auto_ptr(meta) root = NULL, old = NULL;
	CHECK(keeper_read(&thief, META_ROOT, "1.root.json", &root, &e) == 0);
	CHECK(keeper_read(&thief, META_TARGETS, "1.targets.json", &old, &e) == 0);
	struct authority by = {root, &root->role[META_SNAPSHOT]};
	compose_body(&b, META_TARGETS, old, 2, old->expires_ms, NULL, 0);
	CHECK_MSG(compose(&thief, META_TARGETS, buf_str(&b), NULL, &by, 1, &targets, &e) == 0, "%s", e.msg);
	CHECK_INT(targets->sig_n, 1);
	CHECK(fs_replace(w.repo_fd, "2.targets.json", targets->bytes.p, targets->bytes.n, 0, &e) == 0);
	world_forge_to(&w, META_SNAPSHOT, "1.snapshot.json", "2.snapshot.json", NULL, NULL,
		       (const char *const[]){"\"version\": 1,", "\"version\": 2,", "\"meta\": {",
					     "\"meta\": {\"targets.json\": {\"version\": 2}}, \"x\": {", NULL});
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"version\": 1,", "\"version\": 2,", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 2}}, \"x\": {");
	refused(&w, ERR_VERIFY, "2.targets.json: version 2 has 0 good signatures");
}

/* Good software, but not what was asked for. */
TEST(wrong_software_installation)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct tuf_target t;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		struct tuf_file v[2] = {world_file("editor", "editor!"), world_file("server", "server!")};
		CHECK(tuf_keeper_set_targets(k, STR("targets"), v, 2, &e) == 0);
		world_commit(k, &a);
	}
	CHECK(world_look(&w, "editor", &t, &e) == 0);
	CHECK(tuf_target_check(&t, STR("server!"), &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK(tuf_target_check(&t, STR("editor!"), &e) == 0);
}

/* slow retrieval: tests/cli/tuf.sh, as it is the network's */

/* -- mistakes that clients were broken by -------------------------------------------------------------------------------- */

/* Trusted state that does not count as version 0 of everything but root. */
TEST(broken_client_forgets_versions_between_runs)
{
	struct world w = world_new();
	for (int i = 0; i < 3; i++)
		world_publish(&w, "a", i == 0 ? "1" : i == 1 ? "2" : "3");
	taken(&w);
	trusts(&w, 1, 4, 4, 4);
	w.serve_as = "timestamp.json", w.instead = "old";
	world_forge_to(&w, META_TIMESTAMP, "timestamp.json", "old", NULL, NULL,
		       (const char *const[]){"\"version\": 4,", "\"version\": 3,", NULL});
	refused(&w, ERR_VERIFY, "would go back");
	trusts(&w, 1, 4, 4, 4);
}

/* Saved as trusted before it was checked: each file with one thing wrong, and nothing of it is on disk after. */
TEST(broken_client_saves_before_it_checks)
{
	static const struct {
		enum meta_kind kind;
		const char *file, *from, *to;
	} wrong[] = {
		{META_TIMESTAMP, "timestamp.json", "\"version\": 2,", "\"version\": 0,"},
		{META_TIMESTAMP, "timestamp.json", "\"_type\": \"timestamp\"", "\"_type\": \"snapshot\""},
		{META_TIMESTAMP, "timestamp.json", "\"expires\": \"20", "\"expires\": \"19"},
	};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct world w = world_new();
		auto_buf before = BUF_INIT(1 << 20), after = BUF_INIT(1 << 20), text = BUF_INIT(1 << 20);
		struct err e = ERR_INIT;
		taken(&w);
		world_publish(&w, "a", "content");
		CHECK(fs_read(w.trusted_fd, wrong[i].file, &before, &e) == 0);
		if (i == 2) {
			world_forge(&w, wrong[i].kind, wrong[i].file, wrong[i].from, wrong[i].to);
		} else { /* our own keeper does not sign such a thing */
			CHECK(fs_read(w.repo_fd, wrong[i].file, &text, &e) == 0);
			char *at = strstr(text.p, wrong[i].from);
			CHECK(at);
			auto_free char *all = xasprintf("%.*s%s%s", (int)(at - text.p), text.p, wrong[i].to,
							at + strlen(wrong[i].from));
			CHECK(fs_replace(w.repo_fd, wrong[i].file, all, strlen(all), 0, &e) == 0);
		}
		CHECK(world_refresh(&w, &e) < 0);
		CHECK(fs_read(w.trusted_fd, wrong[i].file, &after, &e) == 0);
		CHECK(str_eq(buf_str(&before), buf_str(&after)));
		trusts(&w, 1, 1, 1, 1);
	}
}

/* One key under two ids is one signature. */
TEST(broken_client_counts_one_key_twice)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_ptr(meta) root = NULL;
	struct tuf_role_plan p;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		CHECK(tuf_keeper_plan(k, STR("targets"), &p, &e) == 0);
		struct tuf_public_key twice[2] = {p.key[0], {STR("0123456789abcdef"), p.key[0].json}};
		auto_free char *from = xasprintf("%.*s.pem", STR_ARG(p.key[0].keyid));
		CHECK(linkat(w.keys_fd, from, w.keys_fd, "0123456789abcdef.pem", 0) == 0);
		struct tuf_role_plan two = {twice, 2, 2, 0};
		CHECK(tuf_keeper_role(k, STR("targets"), &two, &e) == 0);
		struct tuf_commit done = world_commit(k, &a);
		CHECK(done.v[0].staged); /* the keeper does not count it twice either */
	}
	/* put in place all the same: root is signed well */
	struct tuf_keeper thief = {.o = {.dir_fd = w.repo_fd, .keys_fd = &w.keys_fd, .keys_n = 1}};
	CHECK(keeper_read(&thief, META_ROOT, ".staged/root.json", &root, &e) == 0);
	CHECK(fs_replace(w.repo_fd, "2.root.json", root->bytes.p, root->bytes.n, 0, &e) == 0);
	world_forge(&w, META_TARGETS, "1.targets.json", "\"version\": 1,", "\"version\": 1, \"x\": 1,");
	world_forge(&w, META_SNAPSHOT, "1.snapshot.json", "\"meta\": {",
		    "\"meta\": {\"targets.json\": {\"version\": 1}}, \"x\": {");
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 1}}, \"x\": {");
	auto_ptr(meta) targets = NULL;
	CHECK(keeper_read(&thief, META_TARGETS, "1.targets.json", &targets, &e) == 0);
	CHECK_INT(targets->sig_n, 2);
	refused(&w, ERR_VERIFY, "has 1 good signature of the keys that may sign it, 2 are needed");
}

static int check_file(const struct tuf_target *t, int dir_fd, const char *content, struct err *e)
{
	CHECK(fs_replace(dir_fd, "file", content, strlen(content), 0, e) == 0);
	auto_fd fd = openat(dir_fd, "file", O_RDONLY | O_CLOEXEC);
	return tuf_target_check_fd(t, fd, e);
}

TEST(a_file_is_held_against_length_and_digest)
{
	struct world w = world_new();
	struct tuf_target t;
	struct err e = ERR_INIT;
	world_publish(&w, "a", "content");
	CHECK(world_look(&w, "a", &t, &e) == 0);
	static const char *const wrong[] = {"", "conten", "another", "content!"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		e = ERR_INIT;
		CHECK_MSG(check_file(&t, w.trusted_fd, wrong[i], &e) < 0, "'%s'", wrong[i]);
		CHECK_INT(e.code, ERR_VERIFY);
		CHECK_MSG((strlen(wrong[i]) == 7) == !strstr(e.msg, "bytes"), "%s", e.msg);
	}
	CHECK_MSG(check_file(&t, w.trusted_fd, "content", &e) == 0, "%s", e.msg);
}

/* Whoever is asked first has the last word. */
TEST(broken_client_confuses_the_order_of_delegations)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct tuf_target t;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "zeta", "lib*", false);
		world_delegate(&w, k, &a, "alpha", "*", false);
		world_list(k, "zeta", "libc", "of zeta");
		world_list(k, "alpha", "libc", "of alpha");
		world_commit(k, &a);
	}
	CHECK_MSG(world_look(&w, "libc", &t, &e) == 0, "%s", e.msg);
	CHECK_MSG(tuf_target_check(&t, STR("of zeta"), &e) == 0, "%s", e.msg);
	CHECK_STR(w.asked[4], "1.zeta.json");
	CHECK_INT(w.asked_n, 5); /* alpha is not asked */
}

/* What one role may sign for another may not, though both delegate to a role of the same name: not even when it was loaded for the first. */
TEST(broken_client_keeps_a_role_without_who_delegated_to_it)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct tuf_client_opts o = world_opts(&w);
	auto_ptr(tuf_client) c = NULL;
	struct tuf_public_key key[2];
	struct str path[2] = {STR("a/*"), STR("b/*")};
	struct tuf_target t;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "one", "a/*", false);
		world_delegate(&w, k, &a, "two", "b/*", false);
		world_commit(k, &a);
		for (size_t i = 0; i < 2; i++) {
			CHECK(tuf_key_make(TUF_ED25519, w.keys_fd, &a, &key[i], &e) == 0);
			struct tuf_delegation d = {
				i ? STR("releasx") : STR("release"), {&key[i], 1, 1, 0}, &path[i], 1, false};
			CHECK_MSG(tuf_keeper_delegate(k, i ? STR("two") : STR("one"), &d, &e) == 0, "%s", e.msg);
		}
		struct tuf_file v[2] = {world_file("a/x", "good"), world_file("b/x", "evil")};
		CHECK(tuf_keeper_set_targets(k, STR("release"), v, 2, &e) == 0);
		world_commit(k, &a);
	}
	world_forge_to(&w, META_TARGETS, "2.two.json", "2.two.json", "2.targets.json", "two",
		       (const char *const[]){"releasx", "release", NULL});
	world_forge(&w, META_SNAPSHOT, "3.snapshot.json", "\"two.json\": {",
		    "\"two.json\": {\"version\": 2}, \"three.json\": {");
	world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"meta\": {",
		    "\"meta\": {\"snapshot.json\": {\"version\": 3}}, \"x\": {");
	CHECK(tuf_client_open(&o, &c, &e) == 0);
	CHECK_MSG(tuf_client_refresh(c, &e) == 0, "%s", e.msg);
	CHECK_MSG(tuf_client_target(c, STR("a/x"), &t, &e) == 1, "%s", e.msg);
	CHECK(tuf_client_target(c, STR("b/x"), &t, &e) < 0);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_MSG(strstr(e.msg, "release.json: version 1 has 0 good signatures"), "%s", e.msg);
	CHECK_MSG(tuf_client_target(c, STR("a/x"), &t, &e) == 1, "%s", e.msg);
}

TEST(a_terminating_delegation_ends_the_search)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "first", "lib*", true);
		world_delegate(&w, k, &a, "second", "*", false);
		world_list(k, "second", "libc", "evil");
		world_commit(k, &a);
	}
	CHECK_INT(world_look(&w, "libc", NULL, &e), 1);
}

/* A threshold of none, or less. */
TEST(broken_client_takes_a_threshold_of_zero)
{
	static const char *const none[] = {"\"threshold\": 0", "\"threshold\": -1"};
	for (size_t i = 0; i < 2; i++) {
		struct world w = world_new();
		auto_buf text = BUF_INIT(1 << 20);
		struct err e = ERR_INIT;
		CHECK(fs_read(w.repo_fd, "1.root.json", &text, &e) == 0);
		char *at = strstr(text.p, "\"threshold\": 1");
		CHECK(at);
		auto_free char *all = xasprintf("%.*s%s%s", (int)(at - text.p), text.p, none[i], at + 14);
		CHECK(tuf_client_init(-1, str_c(all), &e) < 0);
		CHECK_MSG(strstr(e.msg, "a threshold is 1 or more"), "%s", e.msg);
		CHECK(fs_replace(w.repo_fd, "2.root.json", all, strlen(all), 0, &e) == 0);
		refused(&w, ERR_INPUT, "a threshold is 1 or more");
	}
}

/* A timestamp kept before it is seen that its snapshot is an old one: then the honest timestamp of before would look old. */
TEST(broken_client_keeps_a_timestamp_before_the_rollback_check)
{
	struct world w = world_new();
	world_publish(&w, "a", "content");
	taken(&w);
	world_forge_to(&w, META_TIMESTAMP, "timestamp.json", "evil", NULL, NULL,
		       (const char *const[]){"\"version\": 2,", "\"version\": 99,", "\"meta\": {",
					     "\"meta\": {\"snapshot.json\": {\"version\": 1}}, \"x\": {", NULL});
	w.serve_as = "timestamp.json", w.instead = "evil";
	refused(&w, ERR_VERIFY, "'snapshot.json' was at version 2 and would go back to 1");
	CHECK_INT(world_trusted(&w, META_TIMESTAMP), 2);
	/* without a timestamp of its own, the snapshot that is kept still counts */
	CHECK(unlinkat(w.trusted_fd, "timestamp.json", 0) == 0);
	refused(&w, ERR_VERIFY, "'snapshot.json' was at version 2 and would go back to 1");
	CHECK_INT(world_trusted(&w, META_TIMESTAMP), 0);
	w.serve_as = NULL;
	taken(&w);
	trusts(&w, 1, 2, 2, 2);
}

/* "../../x" as a role: asked for and kept under a name that stays where it belongs. */
TEST(broken_client_lets_a_role_name_leave_the_folder)
{
	static const char *const names[] = {"../../escaped", "/escaped", "..", "a\\/b", "?#%"};
	static const char *const files[] = {"..%2F..%2Fescaped.json", "%2Fescaped.json", "...json", "a%2Fb.json",
					    "%3F%23%25.json"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct world w = world_new();
		auto_arena a = ARENA_INIT;
		auto_free char *quoted = xasprintf("\"name\": \"%s\"", names[i]),
			       *listed = xasprintf("\"%s.json\"", names[i]);
		auto_free char *file = xasprintf("1.%s", files[i]);
		struct err e = ERR_INIT;
		{
			auto_ptr(tuf_keeper) k = world_keeper(&w);
			world_delegate(&w, k, &a, "honest", "*", false);
			world_list(k, "honest", "a", "content");
			world_commit(k, &a);
		}
		world_forge(&w, META_TARGETS, "2.targets.json", "\"name\": \"honest\"", quoted);
		world_forge(
			&w, META_SNAPSHOT, "2.snapshot.json", "\"honest.json\"", listed, "\"targets.json\": {",
			"\"targets.json\": {\"version\": 2}, \"t\": {\"version\": 1, \"x\": 1, \"o\": {}}, \"u\": {");
		world_forge(&w, META_TIMESTAMP, "timestamp.json", "\"meta\": {",
			    "\"meta\": {\"snapshot.json\": {\"version\": 2}}, \"x\": {");
		CHECK(renameat(w.repo_fd, "1.honest.json", w.repo_fd, file) == 0);
		CHECK_MSG(world_look(&w, "a", NULL, &e) == 0, "%s: %s", names[i], e.msg);
		CHECK_STR(w.asked[4], file);
		CHECK(fs_exists(w.trusted_fd, files[i]));
		CHECK(!fs_exists(w.trusted_fd, "../escaped.json") && !fs_exists(w.trusted_fd, "../../escaped.json"));
	}
}

TEST(a_delegated_role_cannot_have_the_name_of_a_top_level_one)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		world_delegate(&w, k, &a, "honest", "*", false);
		world_commit(k, &a);
	}
	CHECK(fs_read(w.repo_fd, "2.targets.json", &text, &e) == 0);
	char *at = strstr(text.p, "\"honest\"");
	CHECK(at);
	memcpy(at, "\"root\"  ", 8);
	auto_ptr(meta) m = NULL;
	CHECK(meta_parse(META_TARGETS, buf_str(&text), "targets.json", &m, &e) < 0);
	CHECK_MSG(strstr(e.msg, "cannot be the name of a delegated role"), "%s", e.msg);
}

/* -- bounds -------------------------------------------------------------------------------------------------------------------- */

/* Whoever may sign one kind may not pass it off as another. */
TEST(one_kind_of_metadata_in_the_place_of_another)
{
	struct world w = world_new();
	auto_buf b = BUF_INIT(1 << 20);
	auto_ptr(meta) m = NULL;
	struct err e = ERR_INIT;
	CHECK(fs_read(w.repo_fd, "timestamp.json", &b, &e) == 0);
	CHECK(meta_parse(META_SNAPSHOT, buf_str(&b), "snapshot.json", &m, &e) < 0);
	CHECK_MSG(strstr(e.msg, "its type is 'timestamp', not 'snapshot'"), "%s", e.msg);
	CHECK_MSG(meta_parse(META_TIMESTAMP, buf_str(&b), "timestamp.json", &m, &e) == 0, "%s", e.msg);
}

TEST(more_roots_than_a_refresh_takes)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	auto_ptr(tuf_keeper) k = world_keeper(&w);
	struct tuf_client_opts o = world_opts(&w);
	struct err e = ERR_INIT;
	for (int i = 0; i < 4; i++) {
		CHECK(tuf_keeper_renew(k, STR("root"), &e) == 0);
		world_commit(k, &a);
	}
	o.limits.root_rotations = 3;
	auto_ptr(tuf_client) c = NULL;
	CHECK(tuf_client_open(&o, &c, &e) == 0);
	CHECK(tuf_client_refresh(c, &e) < 0);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_INT(world_trusted(&w, META_ROOT), 4);
	CHECK_MSG(tuf_client_refresh(c, &e) == 0, "%s", e.msg);
	CHECK_INT(tuf_client_trusted(c).root, 5);
}

TEST(more_delegations_than_a_search_takes)
{
	struct world w = world_new();
	auto_arena a = ARENA_INIT;
	struct tuf_client_opts o = world_opts(&w);
	struct tuf_target t;
	struct err e = ERR_INIT;
	{
		auto_ptr(tuf_keeper) k = world_keeper(&w);
		for (int i = 0; i < 5; i++) {
			auto_free char *name = xasprintf("r%d", i);
			world_delegate(&w, k, &a, name, "*", false);
		}
		world_commit(k, &a);
	}
	auto_ptr(tuf_client) c = NULL;
	o.limits.delegations = 4;
	CHECK(tuf_client_open(&o, &c, &e) == 0 && tuf_client_refresh(c, &e) == 0);
	CHECK(tuf_client_target(c, STR("x"), &t, &e) < 0);
	CHECK_INT(e.code, ERR_LIMIT);
	tuf_client_free(steal_ptr(&c));
	o.limits.delegations = 5;
	CHECK(tuf_client_open(&o, &c, &e) == 0 && tuf_client_refresh(c, &e) == 0);
	CHECK_INT(tuf_client_target(c, STR("x"), &t, &e), 0);
}

TEST(a_refresh_comes_before_a_search)
{
	struct world w = world_new();
	struct tuf_client_opts o = world_opts(&w);
	auto_ptr(tuf_client) c = NULL;
	struct tuf_target t;
	struct err e = ERR_INIT;
	CHECK(tuf_client_open(&o, &c, &e) == 0);
	CHECK(tuf_client_target(c, STR("x"), &t, &e) < 0);
}

TEST(a_damaged_file_of_the_folder_counts_as_none)
{
	static const char *const files[] = {"timestamp.json", "snapshot.json", "targets.json"};
	struct world w = world_new();
	struct err e = ERR_INIT;
	taken(&w);
	for (size_t i = 0; i < 3; i++) {
		CHECK(fs_replace(w.trusted_fd, files[i], "{\"signed\":", 10, 0, &e) == 0);
		taken(&w);
		trusts(&w, 1, 1, 1, 1);
	}
	CHECK(fs_replace(w.trusted_fd, "root.json", "{}", 2, 0, &e) == 0);
	CHECK(world_refresh(&w, &e) < 0);
	CHECK_INT(w.asked_n, 0);
}
