// SPDX-License-Identifier: Apache-2.0
/* Environments in generations: making, switching, removing, and what a crash leaves. */
#include "lib/envs.h"

#include "env/state.h"

static struct env_info info_of(struct envs *w, const char *name)
{
	struct env_info i;
	CHECK_MSG(env_get(w->st, &w->arena, str_c(name), &i, &w->err) == 0, "%s", w->err.msg);
	return i;
}

static size_t generations(struct envs *w, const char *name, struct env_generation_info **ret)
{
	size_t n;
	CHECK_MSG(env_generations(w->st, &w->arena, str_c(name), ret, &n, &w->err) == 0, "%s", w->err.msg);
	return n;
}

static size_t history(struct envs *w, const char *name, struct env_history_entry **ret)
{
	size_t n;
	CHECK_MSG(env_history(w->st, &w->arena, str_c(name), ret, &n, &w->err) == 0, "%s", w->err.msg);
	return n;
}

static void release_now(struct env_hold **h)
{
	env_release(steal_ptr(h));
}

static bool there(struct envs *w, const char *path)
{
	return fs_exists(w->root_fd, arena_printf(&w->arena, "env/%s", path));
}

/* == the plain way ================================================================================================ */
TEST(nothing_at_first)
{
	auto_envs w = {0};
	struct env_info *list, one;
	size_t n;
	envs_open(&w);
	CHECK_INT(env_list(w.st, &w.arena, &list, &n, &w.err), 0);
	CHECK_INT(n, 0);
	CHECK_INT(env_get(w.st, &w.arena, STR("e"), &one, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
	CHECK(strstr(w.err.msg, "no environment 'e'"));
}

TEST(names_are_checked)
{
	static const char *const bad[] = {"", "current", ".x", "-x", "a/b", "..", "a b", "\xc3\xa9"};
	struct err e = ERR_INIT;
	char longest[66];
	memset(longest, 'a', sizeof(longest));
	CHECK_INT(env_name_check(str_of(longest, 64), &e), 0);
	CHECK_INT(env_name_check(STR("Py3.9_x-1"), &e), 0);
	CHECK_INT(env_name_check(str_of(longest, 65), &e), -1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK_MSG(env_name_check(str_c(bad[i]), &e) == -1, "'%s' passes", bad[i]);
		CHECK_INT(e.code, ERR_USAGE);
	}
}

TEST(create_update_and_list)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	struct env_history_entry *h;
	struct env_spec_file lock;
	struct env_info *list;
	size_t n;
	envs_open(&w);
	struct env_lock_package first[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "b", "1")};
	struct env_lock_package second[] = {envs_simple(&w, "a", "2"), envs_simple(&w, "c", "1")};
	CHECK_INT(envs_change(&w, "e", "create", first, 2), 1);
	CHECK_STR(envs_slurp(&w, "e/current/share/a"), "1");
	CHECK_INT(envs_change(&w, "e", "update", second, 2), 2);
	CHECK_STR(envs_slurp(&w, "e/current/share/a"), "2");
	CHECK(!there(&w, "e/2/share/b"));
	CHECK_STR(envs_slurp(&w, "e/1/share/b"), "1");
	CHECK_INT(envs_change(&w, "d", "create", first, 1), 1);
	envs_reopen(&w);
	CHECK_INT(env_list(w.st, &w.arena, &list, &n, &w.err), 0);
	CHECK_INT(n, 2);
	CHECK_STR(list[0].name.p, "d");
	CHECK_STR(list[1].name.p, "e");
	CHECK_INT(list[1].current, 2);
	CHECK_INT(list[1].generations_n, 2);
	CHECK_INT(list[1].packages_n, 2);
	CHECK_STR(list[1].prefix.p, arena_printf(&w.arena, "%s/env/e/2", w.root));
	CHECK_INT(generations(&w, "e", &g), 2);
	CHECK(!g[0].current && g[1].current);
	CHECK_STR(g[0].operation.p, "create");
	CHECK_STR(g[1].operation.p, "update");
	CHECK_STR(g[1].command.p, "slipway test");
	CHECK_INT(g[0].added, 2);
	CHECK(g[1].added == 1 && g[1].removed == 1 && g[1].changed == 1);
	CHECK_INT(history(&w, "e", &h), 2);
	CHECK(h[0].from == 0 && h[0].to == 1 && h[1].from == 1 && h[1].to == 2);
	CHECK_STR(h[1].result.p, "done");
	CHECK_INT(env_generation_lock(w.st, &w.arena, STR("e"), 1, &lock, &w.err), 0);
	CHECK(lock.is_lock && lock.packages_n == 2 && lock.packages[1].requested);
	CHECK_STR(lock.packages[1].record.name.p, "b");
	CHECK_INT(env_generation_lock(w.st, &w.arena, STR("e"), 9, &lock, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
}

TEST(records_of_bare_urls_are_completed)
{
	auto_envs w = {0};
	struct env_spec_file lock;
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1"), want = p;
	p.record.has_sha256 = false;
	p.record.size = 0;
	envs_change(&w, "e", "create", &p, 1);
	CHECK_INT(env_generation_lock(w.st, &w.arena, STR("e"), 0, &lock, &w.err), 0);
	const struct pkg_record *r = &lock.packages[0].record;
	CHECK(r->has_sha256 && memcmp(r->sha256, want.record.sha256, SHA256_SIZE) == 0);
	CHECK_INT(r->build_number, 7);
	CHECK_STR(r->depends[0].p, "base");
	CHECK_STR(r->license.p, "MIT");
	const char *record = envs_slurp(&w, "e/1/conda-meta/a-1-0.json");
	CHECK(record && strstr(record, "\"depends\":[\"base\"]") && strstr(record, "\"license\":\"MIT\""));
}

/* What the channel says counts, also in the environment's own records. */
TEST(what_a_channel_emptied_stays_empty)
{
	auto_envs w = {0};
	struct env_spec_file lock;
	static const struct str none[1];
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	p.record.depends = none; /* "depends": [] */
	envs_change(&w, "e", "create", &p, 1);
	CHECK_INT(env_generation_lock(w.st, &w.arena, STR("e"), 0, &lock, &w.err), 0);
	CHECK_INT(lock.packages[0].record.depends_n, 0);
	CHECK(strstr(envs_slurp(&w, "e/1/conda-meta/a-1-0.json"), "\"depends\":[]"));
}

TEST(a_record_that_contradicts_its_url_is_refused)
{
	auto_envs w = {0};
	struct env_plan plan;
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	p.record.version = STR("2");
	const struct env_spec_file target = {.packages = &p, .packages_n = 1, .is_lock = true};
	CHECK_INT(env_plan(&target, NULL, w.store, &w.arena, &plan, &w.err), 0);
	CHECK_INT(env_prepare(w.store, NULL, &plan, &w.opts, &w.arena, &w.err), -1);
	CHECK_INT(w.err.code, ERR_VERIFY);
}

TEST(a_wrong_md5_is_refused)
{
	auto_envs w = {0};
	struct env_plan plan;
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	p.record.has_sha256 = false;
	p.record.has_md5 = true;
	const struct env_spec_file target = {.packages = &p, .packages_n = 1, .is_lock = true};
	CHECK_INT(env_plan(&target, NULL, w.store, &w.arena, &plan, &w.err), 0);
	CHECK_INT(env_prepare(w.store, NULL, &plan, &w.opts, &w.arena, &w.err), -1);
	CHECK_INT(w.err.code, ERR_VERIFY);
	CHECK(strstr(w.err.msg, "a-1-0.conda") && strstr(w.err.msg, "MD5"));
}

TEST(roll_back_and_forward)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	struct env_history_entry *hist;
	envs_open(&w);
	struct env_lock_package p[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "a", "2")};
	envs_change(&w, "e", "create", &p[0], 1);
	envs_change(&w, "e", "update", &p[1], 1);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_switch(h, 1, "rollback", &w.opts, &w.err), 0);
	CHECK_STR(envs_slurp(&w, "e/current/share/a"), "1");
	CHECK_INT(info_of(&w, "e").current, 1);
	CHECK_INT(env_switch(h, 7, "rollback", &w.opts, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
	CHECK_INT(env_switch(h, 2, "rollback", &w.opts, &w.err), 0);
	CHECK_INT(info_of(&w, "e").current, 2);
	CHECK_INT(generations(&w, "e", &g), 2);
	CHECK_STR(g[1].operation.p, "update"); /* how it was made, not how it was come back to */
	CHECK_INT(history(&w, "e", &hist), 4);
	CHECK(hist[2].from == 2 && hist[2].to == 1 && hist[3].to == 2);
}

TEST(remove_generations)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	size_t n;
	uint8_t(*used)[SHA256_SIZE];
	envs_open(&w);
	struct env_lock_package p[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "a", "2"), envs_simple(&w, "a", "3")};
	for (int i = 0; i < 3; i++)
		envs_change(&w, "e", "update", &p[i], 1);
	CHECK_INT(env_digests_in_use(w.st, &w.arena, &used, &n, &w.err), 0);
	CHECK_INT(n, 3);
	CHECK(memcmp(used[0], used[1], SHA256_SIZE) < 0 && memcmp(used[1], used[2], SHA256_SIZE) < 0);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_remove_generation(h, 3, &w.err), -1);
	CHECK_INT(w.err.code, ERR_FAILED);
	CHECK_INT(env_remove_generation(h, 8, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
	CHECK_INT(env_remove_generation(h, 1, &w.err), 0);
	CHECK(!there(&w, "e/1") && there(&w, "e/2"));
	CHECK_INT(env_remove_generation(h, 0, &w.err), 0);
	CHECK_INT(generations(&w, "e", &g), 1);
	CHECK(!there(&w, "e/2") && there(&w, "e/current/share/a"));
	CHECK_INT(env_digests_in_use(w.st, &w.arena, &used, &n, &w.err), 0);
	CHECK_INT(n, 1);
}

TEST(numbers_are_never_used_twice)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package p[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "a", "2")};
	envs_change(&w, "e", "create", &p[0], 1);
	envs_change(&w, "e", "update", &p[1], 1);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_switch(h, 1, "rollback", &w.opts, &w.err), 0);
	CHECK_INT(env_remove_generation(h, 2, &w.err), 0);
	release_now(&h);
	CHECK_INT(envs_change(&w, "e", "update", &p[1], 1), 3);
	h = envs_hold(&w, "e");
	CHECK_INT(env_remove(h, &w.opts, &w.err), 0);
	release_now(&h);
	CHECK_INT(envs_change(&w, "e", "create", &p[0], 1), 4);
}

TEST(remove_an_environment)
{
	auto_envs w = {0};
	struct env_history_entry *hist;
	struct env_info one;
	uint8_t(*used)[SHA256_SIZE];
	size_t n;
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	envs_change(&w, "e", "create", &p, 1);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_remove(h, &w.opts, &w.err), 0);
	release_now(&h);
	CHECK(!there(&w, "e"));
	CHECK_INT(env_get(w.st, &w.arena, STR("e"), &one, &w.err), -1);
	CHECK_INT(env_digests_in_use(w.st, &w.arena, &used, &n, &w.err), 0);
	CHECK_INT(n, 0);
	CHECK_INT(history(&w, "e", &hist), 2);
	CHECK_STR(hist[1].operation.p, "remove");
	h = envs_hold(&w, "e");
	CHECK_INT(env_remove(h, &w.opts, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
}

/* == holding ====================================================================================================== */
TEST(a_held_environment_is_busy)
{
	auto_envs w = {0};
	struct env_hold *other = NULL;
	envs_open(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_hold(w.st, STR("e"), 0, &other, &w.err), -1);
	CHECK_INT(w.err.code, ERR_BUSY);
	CHECK_MSG(strstr(w.err.msg, arena_printf(&w.arena, "process %d", (int)getpid())), "%s", w.err.msg);
	auto_ptr(env_hold) free_one = envs_hold(&w, "f");
	release_now(&h);
	h = envs_hold(&w, "e");
}

TEST(who_finds_it_busy_leaves_it_alone)
{
	auto_envs w = {0};
	struct env_hold *other = NULL;
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_hold(w.st, STR("e"), 0, &other, &w.err), -1);
	CHECK_INT(envs_lay_out(&w, h, "e", &p, 1), 1);
	CHECK_INT(env_switch(h, 1, "create", &w.opts, &w.err), 0);
	CHECK_STR(envs_slurp(&w, "e/current/share/a"), "1");
}

TEST(a_hold_without_a_change_leaves_nothing)
{
	auto_envs w = {0};
	envs_open(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK(there(&w, "e"));
	release_now(&h);
	CHECK(!there(&w, "e"));
}

/* == what a crash leaves ========================================================================================== */
static void journal(struct envs *w, int64_t from, int64_t to)
{
	CHECK_INT(db_run(w->st, &w->err,
			 "INSERT INTO journal (env, from_gen, to_gen, operation, command, at_ms)"
			 " VALUES ('e', ?1, ?2, 'update', 'slipway crash', 1234)",
			 "ii", from, to),
		  0);
}

static void lay_second(struct envs *w)
{
	struct env_lock_package p[] = {envs_simple(w, "a", "1"), envs_simple(w, "a", "2")};
	envs_change(w, "e", "create", &p[0], 1);
	auto_ptr(env_hold) h = envs_hold(w, "e");
	CHECK_INT(envs_lay_out(w, h, "e", &p[1], 1), 2);
}

static void point_at(struct envs *w, const char *number)
{
	char link[256];
	snprintf(link, sizeof(link), "%s/env/e/current", w->root);
	unlink(link);
	CHECK_INT(symlink(number, link), 0);
}

TEST(crash_before_the_link_moved)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	struct env_history_entry *hist;
	envs_open(&w);
	lay_second(&w);
	journal(&w, 1, 2);
	CHECK_INT(symlink("2", arena_printf(&w.arena, "%s/env/e/current.new", w.root)), 0);
	CHECK_INT(info_of(&w, "e").current, 1);
	envs_reopen(&w);
	CHECK_INT(info_of(&w, "e").current, 1);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_STR(envs_slurp(&w, "e/current/share/a"), "1");
	CHECK(!there(&w, "e/2") && !there(&w, "e/current.new"));
	CHECK_INT(generations(&w, "e", &g), 1);
	CHECK_INT(history(&w, "e", &hist), 2);
	CHECK_STR(hist[1].result.p, "interrupted: nothing changed");
	CHECK_STR(hist[1].command.p, "slipway crash");
	release_now(&h);
	struct env_lock_package p = envs_simple(&w, "a", "2");
	CHECK_INT(envs_change(&w, "e", "update", &p, 1), 3);
}

TEST(crash_after_the_link_moved)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	struct env_history_entry *hist;
	envs_open(&w);
	lay_second(&w);
	journal(&w, 1, 2);
	point_at(&w, "2");
	envs_reopen(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(info_of(&w, "e").current, 2);
	CHECK_STR(envs_slurp(&w, "e/current/share/a"), "2");
	CHECK_INT(generations(&w, "e", &g), 2);
	CHECK_STR(g[1].operation.p, "update");
	CHECK(g[1].current);
	CHECK_INT(history(&w, "e", &hist), 2);
	CHECK_STR(hist[1].result.p, "done");
	CHECK_INT(hist[1].at_ms, 1234);
	release_now(&h);
	h = envs_hold(&w, "e"); /* once is enough */
	CHECK_INT(history(&w, "e", &hist), 2);
}

TEST(crash_of_the_first_switch)
{
	auto_envs w = {0};
	struct env_info *list;
	size_t n;
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	envs_lay_out(&w, h, "e", &p, 1);
	release_now(&h);
	journal(&w, 0, 1);
	point_at(&w, "1");
	envs_reopen(&w);
	CHECK_INT(env_list(w.st, &w.arena, &list, &n, &w.err), 0);
	CHECK_INT(n, 1);
	CHECK_INT(list[0].current, 1);
}

TEST(crash_while_laying_out)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	uint8_t(*used)[SHA256_SIZE];
	size_t n;
	envs_open(&w);
	lay_second(&w);				   /* laid out with its row, never switched to */
	envs_put(&w, "e/3/share/half", "x", 0644); /* laid out halfway */
	envs_reopen(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK(!there(&w, "e/2") && !there(&w, "e/3"));
	CHECK_INT(generations(&w, "e", &g), 1);
	CHECK_INT(env_digests_in_use(w.st, &w.arena, &used, &n, &w.err), 0);
	CHECK_INT(n, 1);
}

TEST(crash_while_removing)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	envs_change(&w, "e", "create", &p, 1);
	CHECK_INT(db_run(w.st, &w.err, "DELETE FROM generation", ""), 0);
	CHECK_INT(db_run(w.st, &w.err, "DELETE FROM environment", ""), 0);
	CHECK_INT(
		db_run(w.st, &w.err,
		       "INSERT INTO history (env, at_ms, operation, command, result, from_gen, to_gen) VALUES ('e', 1, 'remove', '', 'done', 1, 0)",
		       ""),
		0);
	envs_change(&w, "busy", "create", &p, 1);
	auto_ptr(env_hold) h = envs_hold(&w, "half");
	CHECK_INT(envs_lay_out(&w, h, "half", &p, 1), 1);
	auto_ptr(env_state) second = NULL; /* another command: the first one's hold needs its own */
	CHECK_MSG(env_state_open(w.root_fd, w.root, 0, &second, &w.err) == 0, "%s", w.err.msg);
	CHECK(!there(&w, "e"));
	CHECK(there(&w, "busy/1") && there(&w, "half/1")); /* not its business, nor while it is held */
}

TEST(a_failed_lay_out_leaves_nothing)
{
	auto_envs w = {0};
	struct env_plan plan;
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	const struct env_spec_file target = {.packages = &p, .packages_n = 1, .is_lock = true};
	CHECK_INT(env_plan(&target, NULL, w.store, &w.arena, &plan, &w.err), 0);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_lay_out(w.store, h, &plan, &w.opts, &w.arena, NULL, &w.err), -1); /* not in the store */
	CHECK(strstr(w.err.msg, "lay out generation 1 of 'e': "));
	CHECK(!there(&w, "e/1"));
}

static int64_t count_rows(struct envs *w, const char *table)
{
	auto_ptr(db_query) q = NULL;
	const char *sql = arena_printf(&w->arena, "SELECT count(*) FROM %s", table);
	CHECK_INT(db_prepare(w->st, sql, &q, &w->err), 0);
	CHECK_INT(db_step(q, &w->err), 1);
	return db_int(q, 0);
}

/* Its rows are written while its files are placed, so that they are there already when that fails. */
TEST(a_lay_out_that_fails_late_leaves_nothing)
{
	auto_envs w = {0};
	struct env_plan plan;
	char hex[SHA256_HEX_SIZE];
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	const struct env_spec_file target = {.packages = &p, .packages_n = 1, .is_lock = true};
	w.opts.operation = "create";
	CHECK_INT(env_plan(&target, NULL, w.store, &w.arena, &plan, &w.err), 0);
	CHECK_INT(env_prepare(w.store, NULL, &plan, &w.opts, &w.arena, &w.err), 0);
	hex_encode(p.record.sha256, SHA256_SIZE, hex);
	CHECK_INT(unlinkat(w.root_fd, arena_printf(&w.arena, "store/tree/%s/share/a", hex), 0), 0);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_lay_out(w.store, h, &plan, &w.opts, &w.arena, NULL, &w.err), -1);
	CHECK_MSG(strstr(w.err.msg, "'share/a'"), "%s", w.err.msg);
	CHECK(!there(&w, "e/1"));
	CHECK_INT(count_rows(&w, "generation") + count_rows(&w, "digest") + count_rows(&w, "journal"), 0);
	CHECK_INT(count_rows(&w, "history"), 0);
}

TEST(the_journal_is_written_with_the_generation)
{
	auto_envs w = {0};
	struct env_history_entry *hist;
	envs_open(&w);
	struct env_lock_package p[] = {envs_simple(&w, "a", "1"), envs_simple(&w, "a", "2")};
	w.opts.operation = "create";
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(envs_lay_out(&w, h, "e", &p[0], 1), 1);
	CHECK_INT(count_rows(&w, "journal"), 1);
	CHECK_INT(env_switch(h, 1, "create", &w.opts, &w.err), 0);
	CHECK_INT(count_rows(&w, "journal"), 0);
	CHECK_INT(envs_lay_out(&w, h, "e", &p[1], 1), 2);
	CHECK_INT(env_switch(h, 1, "rollback", &w.opts, &w.err), 0); /* to another one than the journal says */
	CHECK_INT(count_rows(&w, "journal"), 0);
	w.opts.operation = "update";
	CHECK_INT(envs_lay_out(&w, h, "e", &p[1], 1), 3);
	release_now(&h); /* it ends before the switch */
	h = envs_hold(&w, "e");
	CHECK(there(&w, "e/1") && !there(&w, "e/2") && !there(&w, "e/3"));
	CHECK_STR(envs_slurp(&w, "e/current/share/a"), "1");
	CHECK_INT(count_rows(&w, "journal"), 0);
	CHECK_INT(count_rows(&w, "generation"), 1);
	CHECK_INT(history(&w, "e", &hist), 3);
	CHECK_STR(hist[2].operation.p, "update");
	CHECK_STR(hist[2].result.p, "interrupted: nothing changed");
}

/* == state.db ===================================================================================================== */
TEST(a_newer_state_is_refused)
{
	auto_envs w = {0};
	struct env_state *st = NULL;
	envs_open(&w);
	CHECK_INT(db_run(w.st, &w.err, "PRAGMA user_version = 3", ""), 0);
	for (int ro = 0; ro < 2; ro++) {
		CHECK_INT(env_state_open(w.root_fd, w.root, ro ? ENV_STATE_RO : 0, &st, &w.err), -1);
		CHECK_INT(w.err.code, ERR_UNSUPPORTED);
		CHECK(strstr(w.err.msg, "newer slipway (schema 3, this one knows 2)"));
	}
}

static void write_db(struct envs *w, const char *text, size_t n)
{
	CHECK_INT(fs_replace(w->root_fd, "state.db", text, n, 0, &w->err), 0);
}

TEST(a_corrupt_state_is_refused)
{
	auto_envs w = {0};
	struct env_state *st = NULL;
	char page[8192];
	envs_open(&w);
	memset(page, 'x', sizeof(page));
	write_db(&w, page, sizeof(page));
	CHECK_INT(env_state_open(w.root_fd, w.root, 0, &st, &w.err), -1);
	CHECK_INT(w.err.code, ERR_VERIFY);
	CHECK_MSG(strstr(w.err.msg, "state.db") && strstr(w.err.msg, "restore it from a backup"), "%s", w.err.msg);
}

TEST(a_truncated_state_is_refused)
{
	auto_envs w = {0};
	struct env_info *list;
	size_t n;
	auto_buf b = BUF_INIT(1 << 20);
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	envs_change(&w, "e", "create", &p, 1);
	env_state_free(steal_ptr(&w.st));
	CHECK_INT(fs_read(w.root_fd, "state.db", &b, &w.err), 0);
	write_db(&w, b.p, b.n / 2);
	int rc = env_state_open(w.root_fd, w.root, 0, &w.st, &w.err);
	CHECK_INT(rc == 0 ? env_list(w.st, &w.arena, &list, &n, &w.err) : rc, -1);
	CHECK_INT(w.err.code, ERR_VERIFY);
}

TEST(a_state_that_was_never_written_is_empty)
{
	auto_envs w = {0};
	auto_ptr(env_state) st = NULL;
	struct env_info *list;
	size_t n;
	envs_open(&w);
	write_db(&w, "", 0); /* made, and then the power went */
	CHECK_INT(env_state_open(w.root_fd, w.root, ENV_STATE_RO, &st, &w.err), 0);
	CHECK_INT(env_list(st, &w.arena, &list, &n, &w.err), 0);
	CHECK_INT(n, 0);
	envs_reopen(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
}

TEST(reading_makes_nothing)
{
	auto_envs w = {0};
	auto_ptr(env_state) st = NULL;
	struct env_hold *h = NULL;
	struct env_info *list;
	size_t n;
	envs_open(&w);
	auto_fd empty = fs_open_dir_make(w.root_fd, "empty", &w.err);
	CHECK_INT(env_state_open(empty, "/empty", ENV_STATE_RO, &st, &w.err), 0);
	CHECK_INT(env_list(st, &w.arena, &list, &n, &w.err), 0);
	CHECK_INT(n, 0);
	CHECK_INT(env_hold(st, STR("e"), 0, &h, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
	CHECK(!fs_exists(empty, "state.db") && !fs_exists(empty, "env"));
}

TEST(another_user_may_look)
{
	auto_envs w = {0};
	struct env_info *list;
	struct env_hold *h = NULL;
	struct env_spec_file lock;
	size_t n;
	if (geteuid() != 0)
		SKIP("only root can become another user");
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	envs_change(&w, "e", "create", &p, 1);
	env_state_free(steal_ptr(&w.st));
	CHECK(chmod(test_tmp(), 0755) == 0 && setuid(65534) == 0);
	CHECK_MSG(env_state_open(w.root_fd, w.root, ENV_STATE_RO, &w.st, &w.err) == 0, "%s", w.err.msg);
	CHECK_INT(env_list(w.st, &w.arena, &list, &n, &w.err), 0);
	CHECK_INT(n, 1);
	CHECK_INT(env_generation_lock(w.st, &w.arena, STR("e"), 0, &lock, &w.err), 0);
	envs_reopen(&w);
	CHECK_INT(env_hold(w.st, STR("e"), 0, &h, &w.err), -1);
	CHECK_MSG(strstr(w.err.msg, "ermission denied"), "%s", w.err.msg);
}

TEST(an_old_state_costs_no_environment)
{
	auto_envs w = {0};
	envs_open(&w);
	struct env_lock_package p = envs_simple(&w, "a", "1");
	struct env_hold *h = NULL;
	envs_change(&w, "other", "create", &p, 1);
	envs_change(&w, "e", "create", &p, 1);
	CHECK_INT(db_run(w.st, &w.err, "DELETE FROM generation WHERE env = 'e'", ""), 0);
	CHECK_INT(db_run(w.st, &w.err, "DELETE FROM environment WHERE name = 'e'", ""), 0);
	CHECK_INT(db_run(w.st, &w.err, "DELETE FROM history WHERE env = 'e'", ""), 0);
	envs_reopen(&w);
	CHECK(there(&w, "e/1") && there(&w, "e/current"));
	CHECK_INT(env_hold(w.st, STR("e"), 0, &h, &w.err), -1);
	CHECK_INT(w.err.code, ERR_VERIFY);
	CHECK(strstr(w.err.msg, "does not know generation 1"));
	CHECK(there(&w, "e/1") && there(&w, "e/current"));
}
