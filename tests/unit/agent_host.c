// SPDX-License-Identifier: Apache-2.0
/* A host with its agent, a server that is asked all the time, and everything that may die while it is upgraded. */
#include "lib/agent.h"

TEST(up_and_back_without_a_lost_request)
{
	auto_site s = {0};
	site_open(&s);
	site_start(&s);
	CHECK_STR(site_get(&s), "1.0");
	pid_t load = site_load(&s, 60);
	struct env_lock_package p = site_web(&s, "1.1", "");
	site_must(&s, site_add(&s, &p));
	CHECK_STR(site_get(&s), "1.0");
	site_must(&s, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .issu = true});
	CHECK_STR(site_get(&s), "1.1");
	struct agent_status st = site_agent_status(&s);
	CHECK(st.services_n == 1 && st.services[0].generation == 2 && st.services[0].state == SERVICE_RUNNING);
	CHECK(st.timers_n == 1 && st.timers[0].left_ms > 7100000 && st.timers[0].left_ms <= 7200000);
	CHECK_STR(st.timers[0].state.p, "activated");
	site_must(&s, (struct upgrade_request){.verb = UPGRADE_ABORT, .issu = true});
	CHECK_STR(site_get(&s), "1.0");
	CHECK_INT(site_agent_status(&s).timers_n, 0);
	struct upgrade_request q = site_add(&s, &p);
	q.then_activate = q.then_commit = true;
	site_must(&s, q);
	CHECK_STR(site_get(&s), "1.1");
	CHECK_INT(site_info(&s).committed, 3);
	/* one that is not well goes back by itself */
	struct env_lock_package sick = site_web(&s, "1.2", ", --fail-health");
	q = site_add(&s, &sick);
	q.then_activate = q.then_commit = true;
	CHECK_INT(site_run(&s, q), -1);
	CHECK_INT(s.w.err.code, ERR_ROLLED_BACK);
	CHECK_STR(site_get(&s), "1.1");
	const char *line = site_load_end(&s, load);
	CHECK_MSG(strstr(line, "\"1.0\"") && strstr(line, "\"1.1\""), "%s", line);
	fprintf(stderr, "# %s", line);
}

TEST(the_timer_rings_with_nobody_there)
{
	auto_site s = {0};
	struct env_history_entry *h;
	size_t n;
	site_open(&s);
	site_start(&s);
	pid_t load = site_load(&s, 60);
	struct env_lock_package p = site_web(&s, "1.1", "");
	site_must(&s, site_add(&s, &p));
	site_must(&s, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .timer_ms = 3000});
	int64_t armed = site_now_ms();
	CHECK_STR(site_get(&s), "1.1");
	SITE_WAIT_FOR(!site_status(&s).in_progress);
	CHECK_MSG(site_now_ms() - armed > 2000, "it rang after %lld ms", (long long)(site_now_ms() - armed));
	CHECK_STR(site_get(&s), "1.0");
	CHECK_INT(site_info(&s).current, 1);
	CHECK(env_history(s.w.st, &s.w.arena, STR("e"), &h, &n, &s.w.err) == 0 && n > 0);
	CHECK_STR(h[n - 1].who.p, "timer");
	site_load_end(&s, load);
}

TEST(a_timer_that_was_stopped_does_not_ring)
{
	auto_site s = {0};
	site_open(&s);
	site_start(&s);
	struct env_lock_package p = site_web(&s, "1.1", "");
	site_must(&s, site_add(&s, &p));
	site_must(&s, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .timer_ms = 1500});
	site_must(&s, (struct upgrade_request){.verb = UPGRADE_STOP_TIMER});
	site_sleep(2500);
	CHECK_STR(site_get(&s), "1.1");
	CHECK_STR(site_status(&s).state.p, "activated");
	site_must(&s, (struct upgrade_request){.verb = UPGRADE_COMMIT});
}

TEST(the_timer_rings_though_the_agent_was_away)
{
	auto_site s = {0};
	site_open(&s);
	site_start(&s);
	pid_t load = site_load(&s, 60);
	struct env_lock_package p = site_web(&s, "1.1", "");
	site_must(&s, site_add(&s, &p));
	site_must(&s, (struct upgrade_request){.verb = UPGRADE_ACTIVATE, .timer_ms = 1500});
	int starts = s.shared->starts;
	kill(s.shared->agent, SIGKILL);
	SITE_WAIT_FOR(s.shared->starts > starts);
	SITE_WAIT_FOR(!site_status(&s).in_progress);
	CHECK_STR(site_get(&s), "1.0");
	site_load_end(&s, load);
}

/* == who dies in the middle ======================================================================================== */
struct deaths {
	struct site *s;
	int at, n;
	bool mine;
	int after_ms; /* or so long after it began */
};

static void on_event(void *ctx, const struct upgrade_event *v)
{
	struct deaths *d = ctx;
	(void)v;
	if (++d->n != d->at)
		return;
	if (d->mine)
		raise(SIGKILL);
	kill(d->s->shared->agent, SIGKILL);
}

/* In a process of its own: add, activate, commit in one. Exit code: 0 done, 4 gone back, or the signal + 100. */
static int upgrade_elsewhere(struct site *s, const struct env_lock_package *p, struct deaths *d)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		envs_reopen(&s->w); /* not over a fork */
		s->event = on_event;
		s->ctx = d;
		struct upgrade_request q = site_add(s, p);
		q.then_activate = q.then_commit = true;
		int rc = site_run(s, q);
		if (rc < 0)
			fprintf(stderr, "# death %d: %s\n", d->at, s->w.err.msg);
		_exit(rc == 0 ? (d->n < d->at ? 42 : 0) : s->w.err.code == ERR_ROLLED_BACK ? 4 : 1);
	}
	if (d->after_ms) {
		site_sleep(d->after_ms);
		kill(d->mine ? pid : s->shared->agent, SIGKILL);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? 100 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* At rest, and one version complete, running and the one that is committed. */
static void check_whole(struct site *s, const char *was, const char *is, int death)
{
	SITE_WAIT_FOR(!site_status(s).in_progress);
	const char *got = site_get(s);
	CHECK_MSG(strcmp(got, was) == 0 || strcmp(got, is) == 0, "after death %d: %s", death, got);
	struct env_info i = site_info(s);
	CHECK_MSG(i.current == i.committed, "after death %d: current %u, committed %u", death, i.current, i.committed);
	SITE_WAIT_FOR(site_agent_status(s).services_n == 1 &&
		      site_agent_status(s).services[0].state == SERVICE_RUNNING);
	struct service_status st = site_agent_status(s).services[0];
	CHECK_MSG(st.generation == i.current, "after death %d: %u runs, %u is current", death, st.generation,
		  i.current);
}

static int sweep(struct site *s, bool mine)
{
	char was[16] = "1.0";
	int at = 1;
	for (;; at++) {
		char is[16];
		snprintf(is, sizeof(is), "2.%d", at);
		struct env_lock_package p = site_web(s, arena_strdup(&s->w.arena, str_c(is)), "");
		struct deaths d = {.s = s, .at = at, .mine = mine};
		int starts = s->shared->starts;
		int code = upgrade_elsewhere(s, &p, &d);
		CHECK_MSG(code == 42 || mine ? code == 42 || code == 100 + SIGKILL : code == 0 || code == 4,
			  "death %d: the command ended with %d", at, code);
		if (!mine && code != 42)
			SITE_WAIT_FOR(s->shared->starts > starts);
		check_whole(s, was, is, at);
		snprintf(was, sizeof(was), "%s", site_get(s));
		if (code == 42)
			return at - 1;
		CHECK(at < 100);
	}
}

TEST(the_agent_is_killed_anywhere)
{
	auto_site s = {0};
	site_open(&s);
	site_start(&s);
	pid_t load = site_load(&s, 110);
	int n = sweep(&s, false);
	const char *line = site_load_end(&s, load);
	fprintf(stderr, "# killed at %d points: %s", n, line);
	CHECK(n > 8);
}

TEST(the_command_is_killed_anywhere)
{
	auto_site s = {0};
	site_open(&s);
	site_start(&s);
	pid_t load = site_load(&s, 110);
	int n = sweep(&s, true);
	const char *line = site_load_end(&s, load);
	fprintf(stderr, "# killed at %d points: %s", n, line);
	CHECK(n > 8);
}

/* Not between steps, but in the middle of them: hand-overs take some 50 ms. */
TEST(killed_at_any_time)
{
	auto_site s = {0};
	char was[16] = "1.0";
	site_open(&s);
	site_start(&s);
	pid_t load = site_load(&s, 110);
	for (int i = 0; i < 24; i++) {
		struct env_lock_package p = site_web(&s, arena_printf(&s.w.arena, "3.%d", i), "");
		struct deaths d = {.s = &s, .at = 1000 + i, .mine = i % 4 == 3, .after_ms = 5 + i * 6};
		int code = upgrade_elsewhere(&s, &p, &d);
		/* 1: the agent died before anything had changed */
		CHECK_MSG(code == 0 || code == 1 || code == 4 || code == 42 || (d.mine && code == 100 + SIGKILL),
			  "death %d: the command ended with %d", i, code);
		check_whole(&s, was, p.record.version.p, i);
		snprintf(was, sizeof(was), "%s", site_get(&s));
	}
	const char *line = site_load_end(&s, load);
	fprintf(stderr, "# killed 24 times: %s", line);
}

TEST(services_start_with_the_agent)
{
	auto_site s = {0};
	site_open(&s);
	site_start(&s);
	auto_ptr(agent_client) c = site_connect(&s);
	CHECK_MSG(agent_stop(c, true, &s.w.err) == 0, "%s", s.w.err.msg); /* as a host that goes down */
	CHECK(waitpid(s.keeper, NULL, 0) == s.keeper);
	CHECK_STR(site_get(&s), "(refused)");
	fflush(stdout);
	s.keeper = fork();
	if (s.keeper == 0)
		site_keep(&s);
	SITE_WAIT_FOR(strcmp(site_get(&s), "1.0") == 0);
	/* and services survive an agent that ends */
	auto_ptr(agent_client) c2 = site_connect(&s);
	pid_t pid = site_agent_status(&s).services[0].pid;
	CHECK_MSG(agent_stop(c2, false, &s.w.err) == 0, "%s", s.w.err.msg);
	CHECK(waitpid(s.keeper, NULL, 0) == s.keeper);
	CHECK_STR(site_get(&s), "1.0");
	s.keeper = fork();
	if (s.keeper == 0)
		site_keep(&s);
	SITE_WAIT_FOR(site_agent_status(&s).services_n == 1);
	CHECK_INT(site_agent_status(&s).services[0].pid, pid);
}
