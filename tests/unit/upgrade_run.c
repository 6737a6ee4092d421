// SPDX-License-Identifier: Apache-2.0
/* Add, activate, commit, abort on one host, with services that only pretend. */
#include "lib/host.h"

#include <time.h>

TEST(three_steps)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	CHECK_STR(h.log.p, ""); /* nothing running has changed */
	CHECK(info_of(&h).current == 1);
	CHECK_STR(status_of(&h).state.p, "added");
	CHECK_STR(status_of(&h).next.p, "slipway install activate issu -n e");
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	CHECK_STR(h.log.p, "timer;hand-over web 2;");
	CHECK(info_of(&h).current == 2 && info_of(&h).committed == 1);
	struct upgrade_status s = status_of(&h);
	CHECK_STR(s.state.p, "activated");
	CHECK_STR(s.transition.p, "Added -> Activated");
	CHECK(s.timer_left_ms > 7100000 && s.timer_left_ms <= 7200000);
	CHECK_INT(s.steps_n, 2);
	CHECK_STR(s.steps[0].name.p, "Add");
	must(&h, (struct upgrade_request){.verb = UPGRADE_STOP_TIMER});
	CHECK(status_of(&h).timer_stopped && status_of(&h).timer_left_ms == -1);
	must(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT});
	CHECK(info_of(&h).committed == 2);
	CHECK(!status_of(&h).in_progress);
	CHECK_STR(status_of(&h).running_version.p, "web 1.1, lib 1");
}

TEST(abort_in_added_leaves_nothing)
{
	auto_host h = {0};
	struct env_generation_info *g;
	size_t n;
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ABORT, .issu = true});
	CHECK(!status_of(&h).in_progress);
	CHECK_INT(env_generations(h.w.st, &h.w.arena, STR("e"), &g, &n, &h.w.err), 0);
	CHECK_INT(n, 1);
	CHECK(!fs_exists(h.w.root_fd, "env/e/2"));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ABORT}); /* and nothing more to do */
}

TEST(abort_in_activated_goes_back)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	must(&h, (struct upgrade_request){.verb = UPGRADE_ABORT});
	CHECK_STR(h.log.p, "hand-over web 1;timer;");
	CHECK(info_of(&h).current == 1 && info_of(&h).committed == 1);
	CHECK(!status_of(&h).in_progress);
}

TEST(a_sick_version_goes_back_by_itself)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.2", ""), envs_simple(&h.w, "lib", "1")};
	struct upgrade_request q = add_of(&h, p, 2);
	q.then_activate = q.then_commit = true;
	h.sick = "1.2";
	CHECK_INT(run(&h, q), -1);
	CHECK_INT(h.w.err.code, ERR_ROLLED_BACK);
	CHECK_MSG(strstr(h.w.err.msg, "back on generation 1: service 'web': GET /health answers 500"), "%s",
		  h.w.err.msg);
	CHECK_STR(h.log.p, "timer;hand-over web 2;hand-over web 1;timer;");
	CHECK(info_of(&h).current == 1 && info_of(&h).committed == 1);
	CHECK(!status_of(&h).in_progress);
}

TEST(only_what_changed_is_touched)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.0", ""), envs_simple(&h.w, "lib", "2")};
	must(&h, add_of(&h, p, 2)); /* web does not need lib */
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	CHECK_STR(h.log.p, "timer;");
	must(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT});
}

TEST(a_refused_command_changes_nothing)
{
	auto_host h = {0};
	first(&h, "");
	CHECK_INT(run(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT}), -1);
	CHECK(strstr(h.w.err.msg, "install commit is not possible in state 'none'"));
	CHECK_INT(run(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE}), -1);
	CHECK(!status_of(&h).in_progress);
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	CHECK_INT(run(&h, add_of(&h, p, 2)), -1);
	CHECK(strstr(h.w.err.msg, "a version has been added already"));
	CHECK_STR(status_of(&h).state.p, "added");
}

TEST(rollback_goes_to_any_kept_generation)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	must(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT});
	must(&h, (struct upgrade_request){.verb = UPGRADE_ROLLBACK, .generation = 1});
	CHECK_STR(h.log.p, "timer;hand-over web 1;timer;");
	CHECK(info_of(&h).current == 1 && info_of(&h).committed == 1);
}

TEST(the_timer_brings_the_committed_version_back)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .timer_ms = 1});
	struct timespec ts = {.tv_nsec = 5000000};
	nanosleep(&ts, NULL);
	host_release(&h);
	envs_reopen(&h.w); /* as the agent that was started after a crash */
	host_hold(&h);
	buf_clear(&h.log);
	CHECK_INT(upgrade_settle(&h.opts, &h.w.err), 1);
	CHECK_STR(h.log.p, "hand-over web 1;timer;");
	CHECK(info_of(&h).current == 1);
	CHECK_INT(upgrade_settle(&h.opts, &h.w.err), 0);
}

/* -- state and configuration -------------------------------------------------------------------------------------- */
TEST(a_timer_runs_or_does_not_or_cannot_be_read)
{
	auto_host h = {0};
	first(&h, "");
	int64_t left_ms = 7;
	CHECK_INT(upgrade_timer_left(h.w.st, NULL, STR("e"), &left_ms, &h.w.err), 0);
	CHECK_INT(left_ms, -1);
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .timer_ms = 60000});
	CHECK_INT(upgrade_timer_left(h.w.st, h.hold, STR("e"), &left_ms, &h.w.err), 1);
	CHECK(left_ms > 30000 && left_ms <= 60000);
	must(&h, (struct upgrade_request){.verb = UPGRADE_STOP_TIMER});
	CHECK_INT(upgrade_timer_left(h.w.st, h.hold, STR("e"), &left_ms, &h.w.err), 0);
	/* state.db is no longer one */
	auto_fd fd = openat(h.w.root_fd, "state.db", O_WRONLY | O_CLOEXEC);
	static const char junk[1 << 16];
	CHECK(fd >= 0 && pwrite(fd, junk, sizeof(junk), 0) == sizeof(junk));
	CHECK_INT(upgrade_timer_left(h.w.st, NULL, STR("e"), &left_ms, &h.w.err), -1);
	CHECK(h.w.err.code != ERR_NONE);
	h.w.err = ERR_INIT;
	CHECK_INT(upgrade_settle(&h.opts, &h.w.err), -1);
}

TEST(state_is_put_back)
{
	auto_host h = {0};
	char data[160];
	auto_buf b = BUF_INIT(100);
	snprintf(data, sizeof(data), "%s/data", test_tmp());
	CHECK_INT(fs_mkdirs(AT_FDCWD, data, 0755, &h.w.err), 0);
	auto_fd dir = fs_open_dir(AT_FDCWD, data, &h.w.err);
	CHECK_INT(fs_replace(dir, "db", "old", 3, 0, &h.w.err), 0);
	auto_free char *more = xasprintf("state:\n  db: {format: '1', path: %s}\n", data);
	first(&h, more);
	struct env_lock_package p[] = {web(&h, "1.1", more), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	CHECK_INT(fs_replace(dir, "db", "new and unreadable", 18, 0, &h.w.err), 0);
	must(&h, (struct upgrade_request){.verb = UPGRADE_ABORT});
	CHECK_STR(h.log.p, "stop web;start web 1;timer;");
	auto_fd again = fs_open_dir(AT_FDCWD, data, &h.w.err);
	CHECK_INT(fs_read(again, "db", &b, &h.w.err), 0);
	CHECK_STR(b.p, "old");
}

TEST(a_format_that_cannot_be_read_is_refused)
{
	auto_host h = {0};
	const char *one = "state:\n  db: {format: '2', path: /nowhere/db}\n";
	const char *two = "state:\n  db: {format: '1', path: /nowhere/db}\n";
	first(&h, one);
	struct env_lock_package p[] = {web(&h, "0.9", two), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	CHECK_INT(run(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE}), -1);
	CHECK_MSG(strstr(h.w.err.msg, "is in format 2, which the new version cannot read"), "%s", h.w.err.msg);
	CHECK_STR(status_of(&h).state.p, "added");
}

TEST(checks_are_listed_all_at_once)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	CHECK_INT(unlinkat(h.w.root_fd, "env/e/1/share/lib", 0), 0);
	h.opts.reserve_bytes = UINT64_MAX / 2;
	CHECK_INT(run(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE}), -1);
	CHECK_MSG(strstr(h.w.err.msg, "2 checks failed, nothing changed") &&
			  strstr(h.w.err.msg, "'share/lib' (missing)") && strstr(h.w.err.msg, "MiB are needed"),
		  "%s", h.w.err.msg);
}

TEST(a_pending_operation_is_one_finding_among_others)
{
	auto_host h = {0};
	struct upgrade_check *c;
	size_t n;
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	const struct upgrade_request again = add_of(&h, p, 2);
	CHECK_INT(upgrade_preflight(&h.opts, &again, &h.w.arena, &c, &n, &h.w.err), 1);
	CHECK_STR(c[0].name.p, UPGRADE_CHECK_IDLE);
	CHECK_STR(c[0].finding.p, "install add is not possible in state 'added': a version has been added already");
	CHECK_STR(c[0].cure.p,
		  "'slipway install activate issu -n e' goes on with it, 'slipway install abort issu -n e' goes back");
	const struct upgrade_request activate = {.verb = UPGRADE_ACTIVATE};
	CHECK_INT(upgrade_preflight(&h.opts, &activate, &h.w.arena, &c, &n, &h.w.err), 0);
	CHECK_INT(run(&h, again), -1);
	CHECK_MSG(!strchr(h.w.err.msg, '\n'), "%s", h.w.err.msg);
	h.opts.reserve_bytes = UINT64_MAX / 2;
	h.w.err = (struct err)ERR_INIT;
	CHECK_INT(run(&h, again), -1);
	CHECK_MSG(str_starts(str_c(h.w.err.msg), STR("install add is not possible in state 'added'")) &&
			  strstr(h.w.err.msg, "\n  space: "),
		  "%s", h.w.err.msg);
	h.w.err = (struct err)ERR_INIT;
	CHECK_INT(upgrade_may(&h.opts, &again, &h.w.err), -1);
	CHECK_MSG(strstr(h.w.err.msg, "\n  space: "), "%s", h.w.err.msg);
}

TEST(nothing_starts_at_boot_is_advice_on_a_host_of_its_own)
{
	auto_host h = {0};
	struct upgrade_check *c = NULL, *boot = NULL;
	size_t n;
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	const struct upgrade_request q = {.verb = UPGRADE_ACTIVATE};
	h.opts.host_root = test_tmp();
	h.opts.autostart_elsewhere = false;
	CHECK_INT(upgrade_preflight(&h.opts, &q, &h.w.arena, &c, &n, &h.w.err), 0);
	for (size_t i = 0; i < n; i++)
		if (str_eq(c[i].name, STR(UPGRADE_CHECK_AUTOBOOT)))
			boot = &c[i];
	CHECK(boot && boot->advice && boot->finding.n && boot->cure.n);
	h.opts.autostart_elsewhere = true;
	CHECK_INT(upgrade_preflight(&h.opts, &q, &h.w.arena, &c, &n, &h.w.err), 0);
	for (size_t i = 0; i < n; i++)
		CHECK(!c[i].finding.n);
	h.opts.autostart_elsewhere = false;
	must(&h, q);
	CHECK_STR(status_of(&h).state.p, "activated");
}

static int says_no(void *ctx, struct arena *a, struct str env, struct str service, struct str *ret_finding,
		   struct str *ret_cure, struct err *e)
{
	(void)ctx, (void)a, (void)env, (void)service, (void)e;
	*ret_finding = STR("no unit");
	*ret_cure = STR("start it");
	return 0;
}

/* Before it is active there is nothing that should start. */
TEST(a_first_version_is_activated_where_whoever_runs_services_starts_them_at_boot)
{
	auto_host h = {0};
	struct str finding, cure;
	host_open(&h);
	h.opts.autostart_elsewhere = false;
	h.services.starts_at_boot = says_no;
	CHECK_INT(upgrade_autostart(&h.opts, &h.w.arena, &finding, &cure, &h.w.err), 1);
	struct env_lock_package p[] = {web(&h, "1.0", ""), envs_simple(&h.w, "lib", "1")};
	host_hold(&h);
	struct upgrade_request q = add_of(&h, p, 2);
	must(&h, q);
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	CHECK(info_of(&h).current == 1);
	CHECK_INT(env_set_started(h.hold, true, &h.w.err), 0);
	CHECK_INT(upgrade_autostart(&h.opts, &h.w.arena, &finding, &cure, &h.w.err), 0);
	CHECK_STR(finding.p, "no unit");
}

/* -- what is in one go is whole or not at all ---------------------------------------------------------------------- */
static const struct env_history_entry *last_of_history(struct host *h)
{
	struct env_history_entry *x;
	size_t n;
	CHECK_INT(env_history(h->w.st, &h->w.arena, STR("e"), &x, &n, &h->w.err), 0);
	CHECK(n > 0);
	return &x[n - 1];
}

TEST(a_one_shot_is_checked_behind_its_add_too)
{
	auto_host h = {0};
	first(&h, "state:\n  db: {format: '2', path: /nowhere/db}\n");
	struct env_lock_package p[] = {web(&h, "0.9", "state:\n  db: {format: '1', path: /nowhere/db}\n"),
				       envs_simple(&h.w, "lib", "1")};
	struct upgrade_request q = add_of(&h, p, 2);
	q.then_activate = q.then_commit = true;
	CHECK_INT(run(&h, q), -1);
	CHECK_MSG(strstr(h.w.err.msg, "is in format 2, which the new version cannot read"), "%s", h.w.err.msg);
	CHECK(!status_of(&h).in_progress);
	CHECK(!fs_exists(h.w.root_fd, "env/e/2"));
	CHECK(str_starts(last_of_history(&h)->result, STR("failed: 1 check failed")));
}

/* As where the process vanished behind each of its states. */
TEST(a_one_shot_that_was_cut_off_goes_back)
{
	auto_host h = {0};
	struct env_operation op;
	first(&h, "");
	for (int activated = 0; activated < 2; activated++) {
		struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
		must(&h, add_of(&h, p, 2));
		if (activated)
			must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
		CHECK_INT(env_operation_get(h.w.st, &h.w.arena, STR("e"), &op, &h.w.err), 1);
		op.one_shot = true;
		op.detail = STR("{\"transition\": \"Added\", \"will_commit\": true}");
		CHECK_INT(env_operation_put(h.hold, &op, &h.w.err), 0);
		CHECK_MSG(upgrade_settle(&h.opts, &h.w.err) == 1, "%s", h.w.err.msg);
		CHECK(!status_of(&h).in_progress);
		CHECK(info_of(&h).current == 1 && info_of(&h).committed == 1);
		CHECK_STR(last_of_history(&h)->operation.p, "abort");
		CHECK_STR(last_of_history(&h)->who.p, "recovery");
	}
}

TEST(what_is_refused_is_in_the_history_as_that)
{
	auto_host h = {0};
	first(&h, "");
	CHECK_INT(upgrade_may(&h.opts, &(struct upgrade_request){.verb = UPGRADE_COMMIT}, &h.w.err), -1);
	const struct env_history_entry *x = last_of_history(&h);
	CHECK_STR(x->operation.p, "commit");
	CHECK_STR(x->who.p, "ann");
	CHECK_MSG(str_starts(x->result, STR("refused: install commit is not possible in state 'none'")), "%s",
		  x->result.p);
}

TEST(a_stray_checkpoint_goes)
{
	auto_host h = {0};
	first(&h, "");
	CHECK_INT(fs_mkdirs(h.w.root_fd, "checkpoint/e/0123", 0700, &h.w.err), 0);
	CHECK_INT(upgrade_settle(&h.opts, &h.w.err), 0);
	CHECK(!fs_exists(h.w.root_fd, "checkpoint/e"));
}

TEST(a_rollback_needs_no_whole_files)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .then_commit = true});
	CHECK_INT(unlinkat(h.w.root_fd, "env/e/2/share/lib", 0), 0);
	must(&h, (struct upgrade_request){.verb = UPGRADE_ROLLBACK, .generation = 1, .operation = "rollback"});
	CHECK(info_of(&h).current == 1 && info_of(&h).committed == 1);
	CHECK(!status_of(&h).in_progress);
}

static void refused_step(struct host *h, struct upgrade_request q, const char *finding)
{
	CHECK_INT(run(h, q), -1);
	CHECK_INT(h->w.err.code, ERR_FAILED);
	CHECK_MSG(strstr(h->w.err.msg, finding), "%s", h->w.err.msg);
}

TEST(which_version_may_follow_which)
{
	auto_host h = {0};
	const struct upgrade_request activate = {.verb = UPGRADE_ACTIVATE}, abort = {.verb = UPGRADE_ABORT};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "2.0", "upgrades: {from: ['>=1.5,<2', 1.1], down: [1.5.*]}\n"),
				       envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	refused_step(&h, activate,
		     "version matrix: 'web' 2.0 can be reached from >=1.5,<2 or 1.1, and here is 1.0; go by");
	CHECK_STR(status_of(&h).state.p, "added"); /* nothing changed */
	must(&h, abort);
	/* By a version between the two. */
	p[0] = web(&h, "1.5", "");
	must(&h, add_of(&h, p, 2));
	must(&h, activate);
	must(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT});
	p[0] = web(&h, "2.0", "upgrades: {from: ['>=1.5,<2', 1.1], down: [1.5.*]}\n");
	must(&h, add_of(&h, p, 2));
	must(&h, activate);
	must(&h, (struct upgrade_request){.verb = UPGRADE_COMMIT});
	uint32_t newest = info_of(&h).current;
	refused_step(&h, (struct upgrade_request){.verb = UPGRADE_ROLLBACK, .generation = 1},
		     "version matrix: from 'web' 2.0 one can go down to 1.5.*, not to 1.0; go by");
	CHECK_INT(info_of(&h).current, newest);
	must(&h, (struct upgrade_request){.verb = UPGRADE_ROLLBACK, .generation = newest - 1});
	CHECK_STR(status_of(&h).running_version.p, "web 1.5, lib 1");
}

TEST(a_matrix_that_cannot_be_read)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "2.0", "upgrades: {from: ['>=']}\n"), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	CHECK_INT(run(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE}), -1);
	CHECK_MSG(strstr(h.w.err.msg, "'upgrades' of component 'web'"), "%s", h.w.err.msg);
	CHECK_STR(status_of(&h).state.p, "added");
}

TEST(an_abort_is_never_refused)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "2.0", "upgrades: {from: [1.0], down: []}\n"),
				       envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	must(&h, (struct upgrade_request){.verb = UPGRADE_ACTIVATE});
	must(&h, (struct upgrade_request){.verb = UPGRADE_ABORT});
	CHECK_STR(status_of(&h).running_version.p, "web 1.0, lib 1");
}

/* Cut off behind its configuration and before its switch. */
TEST(a_first_version_that_never_ran_leaves_no_configuration)
{
	auto_host h = {0};
	char conf[160];
	struct env_operation op;
	snprintf(conf, sizeof(conf), "%s/web.conf", test_tmp());
	auto_free char *more = xasprintf("configuration:\n  %s:\n    default: share/web\n", conf);
	host_open(&h);
	host_hold(&h);
	struct env_lock_package p[] = {web(&h, "1.0", more)};
	must(&h, add_of(&h, p, 1));
	CHECK_INT(env_operation_get(h.w.st, &h.w.arena, STR("e"), &op, &h.w.err), 1);
	op.state = STR("activating");
	op.timer.length_ms = 1000;
	CHECK_INT(env_operation_put(h.hold, &op, &h.w.err), 0);
	const char *dir = arena_printf(&h.w.arena, "checkpoint/e/%.*s", STR_ARG(op.id));
	CHECK_INT(fs_mkdirs(h.w.root_fd, dir, 0700, &h.w.err), 0);
	const char *kept = arena_printf(
		&h.w.arena, "[{\"path\": \"%s\", \"there\": false, \"before\": \"\", \"after\": \"1.0\"}]", conf);
	auto_fd fd = fs_open_dir(h.w.root_fd, dir, &h.w.err);
	CHECK_INT(fs_replace(fd, "config.json", kept, strlen(kept), 0, &h.w.err), 0);
	CHECK_INT(fs_replace(AT_FDCWD, conf, "1.0", 3, 0, &h.w.err), 0);
	CHECK_MSG(upgrade_settle(&h.opts, &h.w.err) == 1, "%s", h.w.err.msg);
	CHECK(!fs_exists(AT_FDCWD, conf) && !fs_exists(h.w.root_fd, "env/e/1"));
	CHECK(!fs_exists(h.w.root_fd, "checkpoint/e"));
}
