// SPDX-License-Identifier: Apache-2.0
/*
 * An agent for tests, real environments with the example server in them, and whoever upgrades them.
 *
 *	auto_site s = {0};
 *	site_open(&s);                      a root with environment "e": web 1.0, committed; the agent runs, and again when it is killed
 *	site_start(&s);                     its service answers on s.port
 *	site_run(&s, request)               as a command would: connects, holds, upgrades
 */
#pragma once

#include "lib/envs.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/agent.h"

enum { SITE_WAIT_MS = 30000 };

struct site_shared {
	_Atomic pid_t agent; /* the one that runs now */
	_Atomic int starts;
};
struct site {
	struct envs w;
	unsigned port;
	pid_t keeper;
	struct site_shared *shared;
	upgrade_event_fn *event;
	void *ctx;
	bool no_connection; /* site_run: as where no agent is known */
};

static int64_t site_now_ms(void)
{
	return clock_system.mono_ms(&clock_system);
}

static void site_sleep(int ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

#define SITE_WAIT_FOR(what)                                                                                            \
	do {                                                                                                           \
		int64_t until_ = site_now_ms() + SITE_WAIT_MS;                                                         \
		while (!(what)) {                                                                                      \
			CHECK_MSG(site_now_ms() < until_, "waited in vain for %s", #what);                             \
			site_sleep(5);                                                                                 \
		}                                                                                                      \
	} while (0)

static void site_say(void *ctx, const char *line)
{
	(void)ctx;
	if (getenv("TEST_VERBOSE"))
		fprintf(stderr, "# agent: %s\n", line);
}

/* As systemd does: starts it again when it was killed. */
static void site_keep(struct site *s)
{
	pid_t parent = getppid();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	for (;;) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			struct err e = ERR_INIT;
			struct agent_opts o = {.root_fd = s->w.root_fd,
					       .root_path = s->w.root,
					       .version = "test",
					       .command = "slipway agent",
					       .say = site_say};
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			alarm(0);
			if (agent_run(&o, &e) < 0)
				fprintf(stderr, "# agent: %s\n", e.msg);
			_exit(e.code ? 1 : 0);
		}
		s->shared->agent = pid;
		s->shared->starts++;
		while (waitpid(pid, &status, 0) != pid)
			;
		if (WIFEXITED(status))
			_exit(WEXITSTATUS(status));
	}
}

static unsigned site_free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	auto_fd fd = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	return ntohs(a.sin_port);
}

/* The example server as a package; options as in a YAML list: ", --fail-health". */
static struct env_lock_package site_web(struct site *s, const char *version, const char *options)
{
	struct arena *a = &s->w.arena;
	const struct envs_file files[] = {
		{"bin/web", arena_printf(a, "#!/bin/sh\nexec " TEST_BUILD_ROOT "/tests/webd \"$@\"\n"), true, false},
		{"share/slipway/component/web.yml",
		 arena_printf(a,
			      "services:\n"
			      "  web:\n"
			      "    command: [bin/web, --version, '%s', --crash, '110000'%s]\n"
			      "    ready: notify\n"
			      "    sockets: {http: '127.0.0.1:%u', health: private}\n"
			      "    health:\n"
			      "      interval: 300ms\n"
			      "      failures: 2\n"
			      "      probes: [{http: {address: health, path: /health}}]\n",
			      version, options, s->port),
		 false, false},
	};
	return envs_package(&s->w, "web", version, files, 2);
}

static struct env_plan *site_plan(struct site *s, const struct env_lock_package *p)
{
	struct envs *w = &s->w;
	struct env_spec_file *target = arena_new(&w->arena, struct env_spec_file),
			     *before = arena_new(&w->arena, struct env_spec_file);
	struct env_plan *plan = arena_new(&w->arena, struct env_plan);
	struct env_info info;
	struct err gone = ERR_INIT;
	*target = (struct env_spec_file){.name = STR("e"), .packages = p, .packages_n = 1, .is_lock = true};
	bool there = env_get(w->st, &w->arena, STR("e"), &info, &gone) == 0;
	CHECK_MSG(!there || env_generation_lock(w->st, &w->arena, STR("e"), 0, before, &w->err) == 0, "%s", w->err.msg);
	CHECK_MSG(env_plan(target, there ? before : NULL, w->store, &w->arena, plan, &w->err) == 0 &&
			  env_prepare(w->store, NULL, plan, &w->opts, &w->arena, &w->err) == 0,
		  "%s", w->err.msg);
	return plan;
}

/* As a command of its own would; 0 or -1 with w.err. */
static int site_run(struct site *s, struct upgrade_request q)
{
	struct envs *w = &s->w;
	auto_ptr(agent_client) client = NULL;
	auto_ptr(env_hold) hold = NULL;
	struct upgrade_services services = {0};
	w->err = ERR_INIT;
	if (!s->no_connection &&
	    (agent_connect(w->root_fd, w->root, &client, &w->err) < 0 || agent_working(client, STR("e"), &w->err) < 0))
		return -1;
	if (client)
		services = agent_services(client);
	if (env_hold(w->st, STR("e"), SITE_WAIT_MS, &hold, &w->err) < 0)
		return -1;
	struct upgrade_opts o = {
		.state = w->st,
		.hold = hold,
		.env = STR("e"),
		.store = w->store,
		.services = client ? &services : NULL,
		.env_opts = w->opts,
		.root_fd = w->root_fd,
		.root_path = w->root,
		.reserve_bytes = 1,
		.event = s->event,
		.ctx = s->ctx,
	};
	o.env_opts.who = "ann";
	return upgrade_run(&o, &q, &w->err);
}

static void site_must(struct site *s, struct upgrade_request q)
{
	CHECK_MSG(site_run(s, q) == 0, "%s", s->w.err.msg);
}

__attribute__((unused)) static struct upgrade_request site_add(struct site *s, const struct env_lock_package *p)
{
	return (struct upgrade_request){.verb = UPGRADE_ADD, .plan = site_plan(s, p)};
}

__attribute__((unused)) static struct env_info site_info(struct site *s)
{
	struct env_info i;
	CHECK_MSG(env_get(s->w.st, &s->w.arena, STR("e"), &i, &s->w.err) == 0, "%s", s->w.err.msg);
	return i;
}

__attribute__((unused)) static struct upgrade_status site_status(struct site *s)
{
	struct upgrade_status u;
	CHECK_MSG(upgrade_status(s->w.st, &s->w.arena, STR("e"), &u, &s->w.err) == 0, "%s", s->w.err.msg);
	return u;
}

static struct agent_client *site_connect(struct site *s)
{
	struct agent_client *c = NULL;
	struct err e = ERR_INIT;
	for (int64_t until = site_now_ms() + SITE_WAIT_MS; agent_connect(s->w.root_fd, s->w.root, &c, &e) < 0;) {
		CHECK_MSG(site_now_ms() < until, "%s", e.msg);
		site_sleep(5);
	}
	return c;
}

__attribute__((unused)) static struct agent_status site_agent_status(struct site *s)
{
	auto_ptr(agent_client) c = site_connect(s);
	struct agent_status st;
	CHECK_MSG(agent_status(c, &s->w.arena, &st, &s->w.err) == 0, "%s", s->w.err.msg);
	return st;
}

/* What the server answers, first word; or a reason in brackets. */
__attribute__((unused)) static const char *site_get(struct site *s)
{
	static char answer[4096];
	const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)s->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	auto_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval tv = {.tv_sec = 10};
	size_t n = 0;
	ssize_t got;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return "(refused)";
	if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0)
		return "(reset)";
	while (n < sizeof(answer) - 1 && (got = recv(fd, answer + n, sizeof(answer) - 1 - n, 0)) > 0)
		n += (size_t)got;
	answer[n] = '\0';
	char *body = strstr(answer, "\r\n\r\n");
	if (!body)
		return "(no answer)";
	body += 4;
	body[strcspn(body, " \n")] = '\0';
	return body;
}

/* From the next moment on until site_load_end: asked all the time. */
__attribute__((unused)) static pid_t site_load(struct site *s, int seconds)
{
	const char *out = arena_printf(&s->w.arena, "%s/load", s->w.root);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		dup2(fd, 1);
		execl(TEST_BUILD_ROOT "/tests/load", "load", "-c", "8", "-d", arena_printf(&s->w.arena, "%d", seconds),
		      arena_printf(&s->w.arena, "127.0.0.1:%u", s->port), (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Its line; every request was answered. */
__attribute__((unused)) static const char *site_load_end(struct site *s, pid_t pid)
{
	auto_buf b = BUF_INIT(65536);
	int status;
	kill(pid, SIGTERM);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(fs_read(s->w.root_fd, "load", &b, &s->w.err) == 0);
	CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", b.p);
	return arena_strdup(&s->w.arena, buf_str(&b));
}

static void site_open(struct site *s)
{
	envs_open(&s->w);
	s->port = site_free_port();
	s->shared = mmap(NULL, sizeof(*s->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(s->shared != MAP_FAILED);
	struct env_lock_package p = site_web(s, "1.0", "");
	s->no_connection = true;
	site_must(s, (struct upgrade_request){.verb = UPGRADE_ADD,
					      .then_activate = true,
					      .then_commit = true,
					      .operation = "create",
					      .plan = site_plan(s, &p)});
	s->no_connection = false;
	fflush(stdout);
	s->keeper = fork();
	if (s->keeper == 0)
		site_keep(s);
	agent_client_free(site_connect(s));
}

__attribute__((unused)) static void site_start(struct site *s)
{
	auto_ptr(agent_client) c = site_connect(s);
	struct upgrade_services services = agent_services(c);
	auto_ptr(env_hold) hold = envs_hold(&s->w, "e");
	CHECK_MSG(env_set_started(hold, true, &s->w.err) == 0 &&
			  agent_start_env(s->w.st, &services, s->w.root, STR("e"), NULL, NULL, &s->w.err) == 0,
		  "%s", s->w.err.msg);
}

static void site_close(struct site *s)
{
	struct err e = ERR_INIT;
	struct agent_client *c = NULL;
	if (s->keeper > 0 && agent_connect(s->w.root_fd, s->w.root, &c, &e) == 0) {
		(void)agent_stop(c, true, &e);
		agent_client_free(c);
		waitpid(s->keeper, NULL, 0);
	}
	envs_close(&s->w);
}
#define auto_site cleanup_with(site_close) struct site
