// SPDX-License-Identifier: Apache-2.0
/* What an upgrade needs of an environment: a committed generation beside the current one, labels, the operation under way. */
#include "lib/envs.h"

#include "env/state.h"

static struct env_info info_of(struct envs *w, const char *name)
{
	struct env_info i;
	CHECK_MSG(env_get(w->st, &w->arena, str_c(name), &i, &w->err) == 0, "%s", w->err.msg);
	return i;
}

static size_t generations(struct envs *w, struct env_generation_info **ret)
{
	size_t n;
	CHECK_MSG(env_generations(w->st, &w->arena, STR("e"), ret, &n, &w->err) == 0, "%s", w->err.msg);
	return n;
}

/* Generations 1 (committed) and 2 (laid out and kept). */
static void two_generations(struct envs *w)
{
	struct env_plan plan;
	struct env_report report;
	struct env_spec_file before;
	envs_open(w);
	struct env_lock_package one[] = {envs_simple(w, "a", "1")}, two[] = {envs_simple(w, "a", "2")};
	CHECK_INT(envs_change(w, "e", "create", one, 1), 1);
	const struct env_spec_file target = {.packages = two, .packages_n = 1, .is_lock = true};
	CHECK_INT(env_generation_lock(w->st, &w->arena, STR("e"), 0, &before, &w->err), 0);
	CHECK_INT(env_plan(&target, &before, w->store, &w->arena, &plan, &w->err), 0);
	CHECK_MSG(env_prepare(w->store, NULL, &plan, &w->opts, &w->arena, &w->err) == 0, "%s", w->err.msg);
	auto_ptr(env_hold) h = envs_hold(w, "e");
	CHECK_MSG(env_lay_out(w->store, h, &plan, &w->opts, &w->arena, &report, &w->err) == 0, "%s", w->err.msg);
	CHECK_INT(report.generation, 2);
	CHECK_MSG(env_keep(h, 2, "add", &w->opts, &w->err) == 0, "%s", w->err.msg);
}

TEST(what_is_kept_survives_the_next_command)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	two_generations(&w);
	envs_reopen(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(generations(&w, &g), 2);
	CHECK(g[0].state == ENV_COMMITTED && g[1].state == ENV_INACTIVE);
	CHECK_STR(g[1].operation.p, "add");
	CHECK_STR(g[1].version.p, "a 2");
}

TEST(activated_then_committed)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	struct env_history_entry *x;
	size_t n;
	two_generations(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	w.opts.uncommitted = true;
	w.opts.who = "ann";
	w.opts.operation_id = "0123";
	CHECK_INT(env_switch(h, 2, "activate", &w.opts, &w.err), 0);
	CHECK(info_of(&w, "e").current == 2 && info_of(&w, "e").committed == 1);
	generations(&w, &g);
	CHECK(g[0].state == ENV_DEACTIVATED && g[1].state == ENV_UNCOMMITTED);
	CHECK_INT(env_remove_generation(h, 1, &w.err), -1);
	CHECK(strstr(w.err.msg, "is the committed one"));
	CHECK_INT(env_remove_generation(h, 0, &w.err), 0);
	CHECK_INT(generations(&w, &g), 2);
	CHECK_INT(env_commit(h, &w.opts, &w.err), 0);
	CHECK(info_of(&w, "e").current == 2 && info_of(&w, "e").committed == 2);
	generations(&w, &g);
	CHECK(g[0].state == ENV_INACTIVE && g[1].state == ENV_COMMITTED);
	CHECK_INT(env_history(w.st, &w.arena, STR("e"), &x, &n, &w.err), 0);
	CHECK_STR(x[n - 1].operation.p, "commit");
	CHECK_STR(x[n - 1].who.p, "ann");
	CHECK_STR(x[n - 1].operation_id.p, "0123");
	CHECK(x[n - 1].ended_ms > 0);
	CHECK_INT(env_remove_generation(h, 0, &w.err), 0);
	CHECK_INT(generations(&w, &g), 1);
}

TEST(activated_then_switched_back)
{
	auto_envs w = {0};
	struct env_generation_info *g;
	two_generations(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	w.opts.uncommitted = true;
	CHECK_INT(env_switch(h, 2, "activate", &w.opts, &w.err), 0);
	CHECK_INT(env_switch(h, 1, "abort", &w.opts, &w.err), 0);
	generations(&w, &g);
	CHECK(g[0].state == ENV_COMMITTED && g[1].state == ENV_INACTIVE);
}

/* A switch that was cut off behind the link is finished as the uncommitted one that it was. */
TEST(an_uncommitted_switch_is_recovered_as_one)
{
	auto_envs w = {0};
	two_generations(&w);
	CHECK_INT(db_run(w.st, &w.err,
			 "INSERT INTO journal (env, from_gen, to_gen, operation, command, at_ms, uncommitted)"
			 " VALUES ('e', 1, 2, 'activate', 'c', 5, 1)",
			 ""),
		  0);
	CHECK_INT(unlinkat(w.root_fd, "env/e/current", 0), 0);
	CHECK_INT(symlinkat("2", w.root_fd, "env/e/current"), 0);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK(info_of(&w, "e").current == 2 && info_of(&w, "e").committed == 1);
}

TEST(labels)
{
	static const char *const bad[] = {"7", "committed", "a b", ".x", "99999999999999999999999"};
	auto_envs w = {0};
	struct env_generation_info *g;
	uint32_t found = 0;
	two_generations(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_label(h, 1, STR("good"), &w.err), 0);
	CHECK_INT(env_find_generation(w.st, STR("e"), STR("good"), &found, &w.err), 0);
	CHECK_INT(found, 1);
	CHECK_INT(env_label(h, 2, STR("good"), &w.err), 0); /* it moves */
	CHECK_INT(env_find_generation(w.st, STR("e"), STR("good"), &found, &w.err), 0);
	CHECK_INT(found, 2);
	CHECK_INT(env_find_generation(w.st, STR("e"), STR("committed"), &found, &w.err), 0);
	CHECK_INT(found, 1);
	CHECK_INT(env_find_generation(w.st, STR("e"), STR("2"), &found, &w.err), 0);
	CHECK_INT(found, 2);
	CHECK_INT(env_find_generation(w.st, STR("e"), STR("3"), &found, &w.err), -1);
	CHECK_INT(env_find_generation(w.st, STR("e"), STR(""), &found, &w.err), -1);
	CHECK_INT(env_label(h, 9, STR("x"), &w.err), -1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_MSG(env_label(h, 1, str_c(bad[i]), &w.err) == -1, "'%s' passes", bad[i]);
	CHECK_INT(env_label(h, 2, STR(""), &w.err), 0);
	generations(&w, &g);
	CHECK(!g[0].label.n && !g[1].label.n);
}

TEST(operations_are_kept_and_logged)
{
	auto_envs w = {0};
	struct env_operation op;
	struct env_operation_step *steps;
	struct str *list;
	size_t n;
	two_generations(&w);
	CHECK_INT(env_operation_get(w.st, &w.arena, STR("e"), &op, &w.err), 0);
	{
		auto_ptr(env_hold) h = envs_hold(&w, "e");
		const struct env_operation put = {
			.id = STR("00ff"),
			.state = STR("activated"),
			.one_shot = true,
			.from = 1,
			.to = 2,
			.who = STR("ann"),
			.command = STR("slipway install activate"),
			.started_ms = 7,
			.timer = {.length_ms = 9,
				  .left_ms = 8,
				  .boot_deadline_ms = 10,
				  .wall_deadline_ms = 11,
				  .boot_id = "b-1",
				  .stopped = true},
			.detail = STR("{}"),
		};
		const struct env_operation_step step = {STR("Switchover"), STR("passed"), 2, 20, 30};
		CHECK_INT(env_operation_put(h, &put, &w.err), 0);
		CHECK_INT(env_operation_put(h, &put, &w.err), 0);
		CHECK_INT(env_operation_log(h, STR("00ff"), &step, &w.err), 0);
	}
	envs_reopen(&w);
	CHECK_INT(env_operation_get(w.st, &w.arena, STR("e"), &op, &w.err), 1);
	CHECK_STR(op.id.p, "00ff");
	CHECK_STR(op.state.p, "activated");
	CHECK(op.one_shot && op.from == 1 && op.to == 2 && op.started_ms == 7);
	CHECK_STR(op.timer.boot_id, "b-1");
	CHECK(op.timer.length_ms == 9 && op.timer.left_ms == 8 && op.timer.stopped);
	CHECK(op.timer.boot_deadline_ms == 10 && op.timer.wall_deadline_ms == 11);
	CHECK_INT(env_operation_list(w.st, &w.arena, &list, &n, &w.err), 0);
	CHECK_INT(n, 1);
	CHECK_STR(list[0].p, "e");
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_operation_end(h, &w.err), 0);
	CHECK_INT(env_operation_get(w.st, &w.arena, STR("e"), &op, &w.err), 0);
	CHECK_INT(env_operation_steps(w.st, &w.arena, STR("00ff"), &steps, &n, &w.err), 0);
	CHECK_INT(n, 1);
	CHECK_STR(steps[0].name.p, "Switchover");
	CHECK(steps[0].member == 2 && steps[0].started_ms == 20 && steps[0].ended_ms == 30);
}

TEST(too_much_detail_is_refused)
{
	auto_envs w = {0};
	auto_buf detail = BUF_INIT(2 << 20);
	two_generations(&w);
	buf_reserve(&detail, (1 << 20) + 1);
	memset(detail.p, ' ', (1 << 20) + 1);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	const struct env_operation put = {
		.id = STR("1"), .state = STR("added"), .detail = str_of(detail.p, (1 << 20) + 1)};
	CHECK_INT(env_operation_put(h, &put, &w.err), -1);
	CHECK_INT(w.err.code, ERR_LIMIT);
}

TEST(one_change_back_goes_to_what_a_generation_was_made_from)
{
	static const struct env_history_entry made[] = {
		{.operation = STR("update"), .result = STR("failed: no"), .from = 2, .to = 7},
		{.operation = STR("update"), .result = STR("done"), .from = 2, .to = 7},
		{.operation = STR("rollback"), .result = STR("done"), .from = 5, .to = 7}, /* makes nothing */
		{.operation = STR("update"), .result = STR("done"), .from = 7, .to = 8},   /* 7 is no longer there */
	};
	auto_envs w = {0};
	uint32_t before = 0;
	two_generations(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++)
		CHECK_INT(env_history_add(h, &made[i], &w.err), 0);
	CHECK_MSG(env_generation_before(w.st, STR("e"), 7, &before, &w.err) == 0, "%s", w.err.msg);
	CHECK_INT(before, 2);
	CHECK_INT(env_generation_before(w.st, STR("e"), 8, &before, &w.err), 0);
	CHECK_INT(before, 2);
	CHECK_INT(env_generation_before(w.st, STR("e"), 1, &before, &w.err), -1);
	CHECK_MSG(w.err.code == ERR_NOT_FOUND && strstr(w.err.msg, "nothing to go back to from generation 1"), "%s",
		  w.err.msg);
}

/* What generation `of` consists of, as a new one. */
static uint32_t lay_out_again(struct envs *w, struct env_hold *h, uint32_t of)
{
	struct env_spec_file before, target;
	struct env_plan plan;
	struct env_report report;
	CHECK_INT(env_generation_lock(w->st, &w->arena, STR("e"), 0, &before, &w->err), 0);
	CHECK_INT(env_generation_lock(w->st, &w->arena, STR("e"), of, &target, &w->err), 0);
	CHECK_INT(env_plan(&target, &before, w->store, &w->arena, &plan, &w->err), 0);
	CHECK_MSG(env_prepare(w->store, NULL, &plan, &w->opts, &w->arena, &w->err) == 0, "%s", w->err.msg);
	CHECK_MSG(env_lay_out(w->store, h, &plan, &w->opts, &w->arena, &report, &w->err) == 0, "%s", w->err.msg);
	return report.generation;
}

static uint32_t one_back(struct envs *w, uint32_t number)
{
	uint32_t before = 0;
	CHECK_MSG(env_generation_before(w->st, STR("e"), number, &before, &w->err) == 0, "%s", w->err.msg);
	return before;
}

/* On a pair going back lays out anew: the copy stands for what it was taken from, else the next one would go forward again. */
TEST(what_a_rollback_laid_out_stands_for_its_original)
{
	auto_envs w = {0};
	uint32_t before = 0;
	two_generations(&w);
	auto_ptr(env_hold) h = envs_hold(&w, "e");
	CHECK_INT(env_switch(h, 2, "activate", &w.opts, &w.err), 0);
	CHECK_INT(lay_out_again(&w, h, 1), 3);
	CHECK_INT(env_keep(h, 3, "add", &w.opts, &w.err), 0);
	CHECK_INT(env_switch(h, 3, "activate", &w.opts, &w.err), 0);
	CHECK_INT(one_back(&w, 3), 2);	       /* asked for as any other version */
	CHECK_INT(lay_out_again(&w, h, 2), 4); /* and this goes back one */
	CHECK_INT(env_keep(h, 4, "rollback", &w.opts, &w.err), 0);
	CHECK_INT(env_switch(h, 4, "activate", &w.opts, &w.err), 0);
	CHECK_INT(one_back(&w, 4), 1); /* as from 2, not to 3 again */
	CHECK_INT(lay_out_again(&w, h, 4), 5);
	CHECK_INT(env_keep(h, 5, "rollback", &w.opts, &w.err), 0);
	CHECK_INT(env_switch(h, 5, "activate", &w.opts, &w.err), 0);
	CHECK_INT(one_back(&w, 5), 1); /* a copy of a copy */
	CHECK_INT(env_remove_generation(h, 0, &w.err), 0);
	CHECK_INT(env_generation_before(w.st, STR("e"), 5, &before, &w.err), -1);
	CHECK_MSG(w.err.code == ERR_NOT_FOUND && strstr(w.err.msg, "no other is kept"), "%s", w.err.msg);
}

/* A database of the first schema: what was current is what was committed. */
TEST(an_older_state_is_brought_up_to_date)
{
	static const char *const back[] = {
		"DROP TABLE operation",
		"DROP TABLE operation_step",
		"ALTER TABLE environment DROP COLUMN committed",
		"ALTER TABLE environment DROP COLUMN started",
		"ALTER TABLE generation DROP COLUMN label",
		"ALTER TABLE generation DROP COLUMN version",
		"ALTER TABLE history DROP COLUMN who",
		"ALTER TABLE history DROP COLUMN operation_id",
		"ALTER TABLE history DROP COLUMN ended_ms",
		"ALTER TABLE journal DROP COLUMN who",
		"ALTER TABLE journal DROP COLUMN operation_id",
		"ALTER TABLE journal DROP COLUMN uncommitted",
		"PRAGMA user_version = 1",
	};
	auto_envs w = {0};
	struct env_history_entry *x;
	struct env_state *ro = NULL;
	size_t n;
	two_generations(&w);
	for (size_t i = 0; i < sizeof(back) / sizeof(*back); i++)
		CHECK_MSG(db_run(w.st, &w.err, back[i], "") == 0, "%s", w.err.msg);
	CHECK_INT(env_state_open(w.root_fd, w.root, ENV_STATE_RO, &ro, &w.err), -1);
	CHECK(strstr(w.err.msg, "older slipway (schema 1, this one knows 2)"));
	envs_reopen(&w);
	CHECK(info_of(&w, "e").current == 1 && info_of(&w, "e").committed == 1);
	CHECK_INT(env_history(w.st, &w.arena, STR("e"), &x, &n, &w.err), 0);
	CHECK_INT(n, 2);
	CHECK_STR(x[0].who.p, "");
}
