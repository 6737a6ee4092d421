// SPDX-License-Identifier: Apache-2.0
/*
 * For tests that run services: a root with a supervisor, prefixes with the example server, and waiting for what is to happen.
 * Everything that is started ends by itself after a minute, so that a test that fails leaves nothing behind.
 */
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/fs.h"
#include "lib/test.h"
#include "service/service.h"

enum { WAIT_MS = 30000 };

static struct arena arena;
static struct err err;
static struct loop *loop;
static struct supervisor *sup;
static int run_dirfd = -1;
static const char *root_path;

struct result {
	bool done, failed;
	struct err err;
};

static int64_t real_ms(void)
{
	return clock_system.mono_ms(&clock_system);
}

__attribute__((unused)) static void on_done(void *ctx, const struct err *failure)
{
	struct result *r = ctx;
	CHECK(!r->done);
	r->done = true;
	r->failed = failure != NULL;
	if (failure)
		r->err = *failure;
}

/* States as they come: "starting running " */
static char events[4096];
static struct service_status last_event;
static char last_why[1024];

static void on_event(void *ctx, const struct service_status *s)
{
	size_t n = strlen(events);
	(void)ctx;
	snprintf(events + n, sizeof(events) - n, "%s ", service_state_name(s->state));
	last_event = *s;
	snprintf(last_why, sizeof(last_why), "%.*s", STR_ARG(s->why));
}

__attribute__((unused)) static void supervise(const struct clock *clock)
{
	CHECK_MSG(loop_new(clock, &loop, &err) == 0, "%s", err.msg);
	root_path = test_tmp();
	const char *run = arena_printf(&arena, "%s/run", root_path);
	run_dirfd = fs_open_dir_make(AT_FDCWD, run, &err);
	CHECK(run_dirfd >= 0);
	struct supervisor_opts o = {.loop = loop, .run_dirfd = run_dirfd, .run_path = run, .event = on_event};
	CHECK_MSG(supervisor_new(&o, &sup, &err) == 0, "%s", err.msg);
	events[0] = '\0';
}

__attribute__((unused)) static void end(void)
{
	supervisor_free(sup);
	loop_free(loop);
	cleanup_fd(&run_dirfd);
	arena_release(&arena);
	sup = NULL;
	loop = NULL;
}

__attribute__((unused)) static void turn(int ms)
{
	CHECK_MSG(loop_step(loop, ms, &err) >= 0, "%s", err.msg);
}

__attribute__((unused)) static void turn_for(int64_t ms)
{
	for (int64_t until = real_ms() + ms; real_ms() < until;)
		turn(10);
}

#define WAIT_FOR(what)                                                                                                 \
	do {                                                                                                           \
		int64_t until_ = real_ms() + WAIT_MS;                                                                  \
		while (!(what)) {                                                                                      \
			CHECK_MSG(real_ms() < until_, "waited in vain for %s (%s: %s)", #what, events, last_why);      \
			turn(5);                                                                                       \
		}                                                                                                      \
	} while (0)

__attribute__((unused)) static const char *build_path(const char *path)
{
	return arena_printf(&arena, "%s/%s", TEST_BUILD_ROOT, path);
}

/* A prefix with bin/webd. */
__attribute__((unused)) static const char *prefix_make(uint32_t generation)
{
	const char *prefix = arena_printf(&arena, "%s/env/e/%u", root_path, generation);
	CHECK(fs_mkdirs(AT_FDCWD, arena_printf(&arena, "%s/bin", prefix), 0755, &err) == 0);
	(void)!symlink(build_path("tests/webd"), arena_printf(&arena, "%s/bin/webd", prefix));
	return prefix;
}

/* Below the ports that the kernel gives to clients, of which tests of load use many. */
__attribute__((unused)) static unsigned free_port(void)
{
	static unsigned tried;
	const int on = 1;
	for (int i = 0; i < 1000; i++) {
		unsigned port = 10000 + ((unsigned)getpid() * 7919 + ++tried * 101) % 20000;
		struct sockaddr_in a = {.sin_family = AF_INET,
					.sin_port = htons((uint16_t)port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		auto_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
		if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
			return port;
	}
	test_fail(__FILE__, __LINE__, "no port is free");
}

/* A service of a component file whose text is given; the arena keeps it. */
__attribute__((unused, format(printf, 2, 3))) static struct service_ref service_of(uint32_t generation, const char *fmt,
										   ...)
{
	auto_buf text = BUF_INIT(1 << 16);
	va_list ap;
	struct component c;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	CHECK_MSG(component_read(&arena, buf_str(&text), "web", "test", &c, &err) == 0, "%s", err.msg);
	CHECK_INT(c.services_n, 1);
	return (struct service_ref){
		.env = STR("e"), .generation = generation, .prefix = prefix_make(generation), .decl = c.services};
}

/* The example server; `options` as in a YAML list: ", --fail-health". */
__attribute__((unused)) static struct service_ref web(uint32_t generation, unsigned port, const char *options,
						      const char *more)
{
	return service_of(
		generation,
		"services:\n"
		"  web:\n"
		"    command: [bin/webd, --version, v%u, --crash, '60000'%s]\n"
		"    ready: notify\n"
		"    sockets: {http: '127.0.0.1:%u', health: private}\n"
		"    health:\n"
		"      interval: 300ms\n"
		"      failures: 2\n"
		"      probes: [{http: {address: health, path: /health}}, {http: {address: http, path: /health}}]\n"
		"%s",
		generation, options, port, more);
}

__attribute__((unused)) static struct result start(const struct service_ref *r)
{
	struct result result = {0};
	service_start(sup, r, on_done, &result);
	CHECK(!result.done);
	WAIT_FOR(result.done);
	return result;
}

__attribute__((unused)) static struct result hand_over(const struct service_ref *r)
{
	struct result result = {0};
	service_hand_over(sup, r, on_done, &result);
	CHECK(!result.done);
	WAIT_FOR(result.done);
	return result;
}

__attribute__((unused)) static void stop_service(const char *name)
{
	struct result result = {0};
	service_stop(sup, STR("e"), str_c(name), on_done, &result);
	CHECK(!result.done);
	WAIT_FOR(result.done);
	CHECK_MSG(!result.failed, "%s", result.err.msg);
}

#define OK(outcome)                                                                                                    \
	do {                                                                                                           \
		struct result r_ = (outcome);                                                                          \
		CHECK_MSG(!r_.failed, "%s", r_.err.msg);                                                               \
	} while (0)
#define SAYS(outcome, text)                                                                                            \
	do {                                                                                                           \
		struct result s_ = (outcome);                                                                          \
		CHECK_MSG(s_.failed, "succeeded");                                                                     \
		CHECK_MSG(strstr(s_.err.msg, text), "'%s' does not say '%s'", s_.err.msg, text);                       \
		err = s_.err;                                                                                          \
	} while (0)

/* The only service's status. */
__attribute__((unused)) static struct service_status status(void)
{
	struct service_status *list;
	size_t n;
	CHECK(supervisor_status(sup, &arena, &list, &n, &err) == 0);
	CHECK_INT(n, 1);
	return list[0];
}

/* One request; the loop goes on meanwhile. Returns the first line of the answer's body, or a reason in brackets. */
__attribute__((unused)) static const char *get(unsigned port, const char *path)
{
	static char answer[4096];
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	auto_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char request[200];
	size_t n = 0;
	int r = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return errno == ECONNREFUSED ? "(refused)" : "(no connection)";
	CHECK(send(fd, request, (size_t)r, MSG_NOSIGNAL) == r);
	for (int64_t until = real_ms() + WAIT_MS; real_ms() < until; turn(2)) {
		ssize_t got = recv(fd, answer + n, sizeof(answer) - 1 - n, MSG_DONTWAIT);
		if (got == 0)
			break;
		if (got < 0 && errno != EAGAIN)
			return "(reset)";
		n += got > 0 ? (size_t)got : 0;
	}
	answer[n] = '\0';
	char *body = strstr(answer, "\r\n\r\n");
	if (!body)
		return "(no answer)";
	body += 4;
	body[strcspn(body, " \n")] = '\0';
	return body;
}

__attribute__((unused)) static bool alive(pid_t pid)
{
	char path[64];
	auto_buf b = BUF_INIT(4096);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	struct err e;
	if (fs_read(AT_FDCWD, path, &b, &e) < 0)
		return false;
	char *at = strrchr(b.p, ')');
	return at && at[1] == ' ' && at[2] != 'Z' && at[2] != 'X';
}

__attribute__((unused)) static const char *file(const char *path)
{
	auto_buf b = BUF_INIT(1 << 22);
	struct err e;
	if (fs_read(AT_FDCWD, path, &b, &e) < 0)
		return "";
	return arena_strdup(&arena, buf_str(&b));
}

/* Sockets are taken out of a process that is no child of this one. */
__attribute__((unused)) static void needs_sockets_taken(void)
{
	if (geteuid() != 0 && strcmp(file("/proc/sys/kernel/yama/ptrace_scope"), "") != 0 &&
	    strcmp(file("/proc/sys/kernel/yama/ptrace_scope"), "0\n") != 0)
		SKIP("kernel: ptrace_scope keeps us from the sockets of our services");
}
