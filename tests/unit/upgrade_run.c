// SPDX-License-Identifier: Apache-2.0
/* Add, activate, commit, abort on one host, with services that only pretend. */
#include "lib/envs.h"

#include <time.h>

#include "upgrade/upgrade.h"

/* What the services of the host are asked to do, as text; and which of them fails. */
struct host {
	struct envs w;
	struct buf log;
	const char *sick; /* a version whose health check fails: the text of its share/web */
	struct {
		struct str env, name;
		uint32_t generation;
	} running[4];
	size_t running_n;
	struct upgrade_services services;
	struct upgrade_opts opts;
	struct env_hold *hold;
};

static void set_running(struct host *h, struct str env, struct str name, uint32_t generation)
{
	for (size_t i = 0; i < h->running_n; i++) {
		if (str_eq(h->running[i].name, name)) {
			h->running[i].generation = generation;
			return;
		}
	}
	h->running[h->running_n].env = arena_str(&h->w.arena, env);
	h->running[h->running_n].name = arena_str(&h->w.arena, name);
	h->running[h->running_n++].generation = generation;
}

static int fake_start(void *ctx, const struct service_ref *r, struct err *e)
{
	struct host *h = ctx;
	(void)e;
	buf_printf(&h->log, "start %.*s %u;", STR_ARG(r->decl->name), r->generation);
	set_running(h, r->env, r->decl->name, r->generation);
	return 0;
}

static int fake_hand_over(void *ctx, const struct service_ref *r, struct err *e)
{
	struct host *h = ctx;
	(void)e;
	buf_printf(&h->log, "hand-over %.*s %u;", STR_ARG(r->decl->name), r->generation);
	set_running(h, r->env, r->decl->name, r->generation);
	return 0;
}

static int fake_stop(void *ctx, struct str env, struct str service, struct err *e)
{
	struct host *h = ctx;
	(void)env, (void)e;
	buf_printf(&h->log, "stop %.*s;", STR_ARG(service));
	for (size_t i = 0; i < h->running_n; i++)
		if (str_eq(h->running[i].name, service))
			h->running[i] = h->running[--h->running_n];
	return 0;
}

static int fake_check(void *ctx, struct str env, struct str service, struct err *e)
{
	struct host *h = ctx;
	for (size_t i = 0; i < h->running_n; i++) {
		if (!str_eq(h->running[i].name, service))
			continue;
		const char *path =
			arena_printf(&h->w.arena, "%.*s/%u/share/web", STR_ARG(env), h->running[i].generation);
		const char *version = envs_slurp(&h->w, path);
		if (h->sick && version && strcmp(version, h->sick) == 0)
			return err_new(e, ERR_FAILED, "GET /health answers 500");
	}
	return 0;
}

static int fake_status(void *ctx, struct arena *a, struct service_status **ret, size_t *ret_n, struct err *e)
{
	struct host *h = ctx;
	(void)e;
	*ret = arena_array(a, struct service_status, h->running_n);
	*ret_n = h->running_n;
	for (size_t i = 0; i < h->running_n; i++)
		(*ret)[i] = (struct service_status){
			.env = h->running[i].env,
			.name = h->running[i].name,
			.generation = h->running[i].generation,
			.state = SERVICE_RUNNING,
		};
	return 0;
}

static int fake_timer(void *ctx, struct str env, struct err *e)
{
	struct host *h = ctx;
	(void)env, (void)e;
	buf_put_c(&h->log, "timer;");
	return 0;
}

static void host_close(struct host *h)
{
	env_release(steal_ptr(&h->hold));
	buf_release(&h->log);
	envs_close(&h->w);
}
#define auto_host cleanup_with(host_close) struct host

/* The opts hold addresses of *h: it stays where it is. */
static void host_hold(struct host *h)
{
	h->hold = envs_hold(&h->w, "e");
	h->opts.state = h->w.st;
	h->opts.hold = h->hold;
}

static void host_release(struct host *h)
{
	env_release(steal_ptr(&h->hold));
	h->opts.hold = NULL;
}

static void host_open(struct host *h)
{
	h->log = BUF_INIT(1 << 20);
	envs_open(&h->w);
	h->services = (struct upgrade_services){"test",	    fake_start,	 fake_hand_over, fake_stop,
						fake_check, fake_status, fake_timer,	 h};
	h->opts = (struct upgrade_opts){
		.state = h->w.st,
		.env = STR("e"),
		.store = h->w.store,
		.services = &h->services,
		.env_opts = h->w.opts,
		.root_fd = h->w.root_fd,
		.root_path = h->w.root,
		.reserve_bytes = 1,
	};
	h->opts.env_opts.who = "ann";
}

static struct env_lock_package web(struct host *h, const char *version, const char *more)
{
	const struct envs_file files[] = {
		{"share/web", version, false, false},
		{"share/slipway/component/web.yml",
		 arena_printf(&h->w.arena, "services:\n  web:\n    command: [bin/web]\n%s", more), false, false},
	};
	return envs_package(&h->w, "web", version, files, 2);
}

static struct env_plan *plan_of(struct host *h, const struct env_lock_package *p, uint32_t n)
{
	struct envs *w = &h->w;
	struct env_spec_file *target = arena_new(&w->arena, struct env_spec_file),
			     *before = arena_new(&w->arena, struct env_spec_file);
	struct env_plan *plan = arena_new(&w->arena, struct env_plan);
	struct env_info info;
	struct err gone = ERR_INIT;
	*target = (struct env_spec_file){.name = STR("e"), .packages = p, .packages_n = n, .is_lock = true};
	bool there = env_get(w->st, &w->arena, STR("e"), &info, &gone) == 0;
	CHECK_MSG(!there || env_generation_lock(w->st, &w->arena, STR("e"), 0, before, &w->err) == 0, "%s", w->err.msg);
	CHECK_MSG(env_plan(target, there ? before : NULL, w->store, &w->arena, plan, &w->err) == 0 &&
			  env_prepare(w->store, NULL, plan, &w->opts, &w->arena, &w->err) == 0,
		  "%s", w->err.msg);
	return plan;
}

static int run(struct host *h, struct upgrade_request q)
{
	buf_clear(&h->log);
	h->w.err = ERR_INIT;
	return upgrade_run(&h->opts, &q, &h->w.err);
}

static void must(struct host *h, struct upgrade_request q)
{
	CHECK_MSG(run(h, q) == 0, "%s", h->w.err.msg);
}

/* Generation 1 of web 1.0 and lib 1, committed, its service running. */
static void first(struct host *h, const char *more)
{
	static struct env_lock_package p[2];
	host_open(h);
	p[0] = web(h, "1.0", more);
	p[1] = envs_simple(&h->w, "lib", "1");
	host_hold(h);
	must(h, (struct upgrade_request){.verb = UPGRADE_ADD,
					 .then_activate = true,
					 .then_commit = true,
					 .operation = "create",
					 .plan = plan_of(h, p, 2)});
	CHECK_INT(env_set_started(h->hold, true, &h->w.err), 0);
	set_running(h, STR("e"), STR("web"), 1);
}

static struct upgrade_request add_of(struct host *h, const struct env_lock_package *p, uint32_t n)
{
	return (struct upgrade_request){.verb = UPGRADE_ADD, .plan = plan_of(h, p, n)};
}

static struct env_info info_of(struct host *h)
{
	struct env_info i;
	CHECK_MSG(env_get(h->w.st, &h->w.arena, STR("e"), &i, &h->w.err) == 0, "%s", h->w.err.msg);
	return i;
}

static struct upgrade_status status_of(struct host *h)
{
	struct upgrade_status s;
	CHECK_MSG(upgrade_status(h->w.st, &h->w.arena, STR("e"), &s, &h->w.err) == 0, "%s", h->w.err.msg);
	return s;
}

TEST(three_steps)
{
	auto_host h = {0};
	first(&h, "");
	struct env_lock_package p[] = {web(&h, "1.1", ""), envs_simple(&h.w, "lib", "1")};
	must(&h, add_of(&h, p, 2));
	CHECK_STR(h.log.p, ""); /* nothing running has changed */
	CHECK(info_of(&h).current == 1);
	CHECK_STR(status_of(&h).state.p, "added");
	CHECK_STR(status_of(&h).next.p, "slipway install activate issu");
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
