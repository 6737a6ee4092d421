// SPDX-License-Identifier: Apache-2.0
/* Health checks against servers that answer well, badly, late, endlessly or not at all. */
#include "lib/service.h"

enum answer { SAYS_TEXT, SAYS_NOTHING, CLOSES, FLOODS, HALF };

/* A server for one connection, in a process of its own; returns its port. */
static unsigned server(enum answer how, const char *text)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && listen(fd, 5) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid > 0) {
		close(fd);
		return ntohs(a.sin_port);
	}
	alarm(5);
	dup2(fd, 3); /* nothing else of the test is held open */
	closefrom(4);
	char request[4096];
	int c = accept(3, NULL, NULL);
	ssize_t got = recv(c, request, sizeof(request) - 1, 0);
	if (got > 0 && how == SAYS_TEXT) {
		request[got] = '\0';
		bool good = strncmp(request, "GET /x HTTP/1.1\r\nHost: ", 23) == 0 && strstr(request, "\r\n\r\n");
		if (!good)
			text = "HTTP/1.1 400 Bad\r\n\r\n";
		(void)!send(c, text, strlen(text), MSG_NOSIGNAL);
	}
	if (how == HALF) {
		(void)!send(c, "HTTP/1.1 20", 11, MSG_NOSIGNAL);
		struct timespec t = {0, 100000000};
		nanosleep(&t, NULL);
		(void)!send(c, "0 OK\r\n", 6, MSG_NOSIGNAL);
	}
	while (how == FLOODS && send(c, "xxxxxxxxxxxxxxxx", 16, MSG_NOSIGNAL) > 0)
		;
	if (how == SAYS_NOTHING)
		pause();
	_exit(0);
}

static struct result probe_of(const struct service_ref *r, const char *private_path)
{
	struct result result = {0};
	CHECK(service_probe(loop, &r->decl->probes[0], r, private_path, r->decl->probe_timeout_ms, on_done, &result));
	CHECK(!result.done);
	WAIT_FOR(result.done);
	return result;
}

static void begin(void)
{
	CHECK(loop_new(&clock_system, &loop, &err) == 0);
	root_path = test_tmp();
}

static struct result http(enum answer how, const char *text)
{
	struct service_ref r =
		service_of(1,
			   "services: {web: {command: [x], health: {timeout: 500ms, probes: [{http: {address: "
			   "'127.0.0.1:%u', path: /x}}]}}}",
			   server(how, text));
	return probe_of(&r, NULL);
}

static struct result command(const char *script)
{
	struct service_ref r = service_of(
		3,
		"services: {web: {command: [x], environment: {A: b}, health: {timeout: 500ms, probes: [{command: [/bin/sh, -c, '%s']}]}}}",
		script);
	return probe_of(&r, NULL);
}

TEST(http)
{
	begin();
	OK(http(SAYS_TEXT, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
	OK(http(SAYS_TEXT, "HTTP/1.0 204 No Content\r\n\r\n"));
	OK(http(SAYS_TEXT, "HTTP/1.1 200\r\n\r\n"));
	OK(http(HALF, ""));
	SAYS(http(SAYS_TEXT, "HTTP/1.1 503 Service \033[1mUnavailable\r\n\r\n"),
	     "answered 503 Service ?[1mUnavailable");
	SAYS(http(SAYS_TEXT, "HTTP/1.1 301 Moved\r\n\r\n"), "answered 301 Moved");
	SAYS(http(SAYS_TEXT, "HTTP/1.1 2000 What\r\n\r\n"), "answered 2000 What");
	SAYS(http(SAYS_TEXT, "SSH-2.0-x\r\n"), "the answer is not HTTP");
	SAYS(http(SAYS_TEXT, "HTTP/1.1 200 OK"), "the answer is not HTTP");
	SAYS(http(FLOODS, ""), "the answer is not HTTP");
	SAYS(http(CLOSES, ""), "closed without an answer");
	int64_t before = real_ms();
	SAYS(http(SAYS_NOTHING, ""), "health check http '127.0.0.1:");
	CHECK(strstr(err.msg, "no answer within 500 ms"));
	CHECK(real_ms() - before >= 500);
	loop_free(loop);
	arena_release(&arena);
}

TEST(tcp)
{
	begin();
	struct service_ref r = service_of(1,
					  "services: {web: {command: [x], health: {probes: [{tcp: '127.0.0.1:%u'}]}}}",
					  server(SAYS_NOTHING, ""));
	OK(probe_of(&r, NULL));
	r = service_of(1, "services: {web: {command: [x], health: {probes: [{tcp: '127.0.0.1:%u'}]}}}", free_port());
	SAYS(probe_of(&r, NULL), "connect: Connection refused");
	loop_free(loop);
	arena_release(&arena);
}

TEST(unix_sockets)
{
	begin();
	struct service_ref r = service_of(1, "services: {web: {command: [x], sockets: {p: private, r: r.sock}, "
					     "health: {probes: [{tcp: p}]}}}"),
			   relative = service_of(1, "services: {web: {command: [x], sockets: {p: private, r: r.sock}, "
						    "health: {probes: [{tcp: r}]}}}");
	relative.runtime_dir = root_path;
	const char *path = arena_printf(&arena, "%s/r.sock", root_path);
	SAYS(probe_of(&r, NULL), "no process has this private socket");
	SAYS(probe_of(&r, path), "No such file or directory");
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	auto_fd fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	SAYS(probe_of(&r, path), "Connection refused");
	CHECK(listen(fd, 5) == 0);
	OK(probe_of(&r, path));
	OK(probe_of(&relative, NULL));
	loop_free(loop);
	arena_release(&arena);
}

TEST(commands)
{
	begin();
	OK(command("exit 0"));
	OK(command("test $SLIPWAY_ENV$SLIPWAY_GENERATION$A = e3b && test -z \"$LISTEN_FDS\""));
	SAYS(command("echo all is; echo not \"$(printf \\\\033)\" well >&2; exit 4"),
	     "health check command '/bin/sh': ended with exit code 4: not ? well");
	SAYS(command("kill -11 $$"), "was ended by signal 11");
	SAYS(command("head -c 1000000 /dev/zero; exit 1"), "ended with exit code 1");
	SAYS(command("sleep 20"), "no answer within 500 ms");
	struct service_ref r =
		service_of(1, "services: {web: {command: [x], health: {probes: [{command: [bin/nothing]}]}}}");
	SAYS(probe_of(&r, NULL), "bin/nothing': No such file or directory");
	r = service_of(
		1,
		"services: {web: {command: [x], user: nobody-of-that-name, health: {probes: [{command: [bin/webd]}]}}}");
	SAYS(probe_of(&r, NULL), "there is no user");
	loop_free(loop);
	arena_release(&arena);
}

static void never(void *ctx, const struct err *failure)
{
	(void)ctx, (void)failure;
	CHECK(!"called");
}

TEST(cancelled)
{
	begin();
	struct service_ref c = service_of(
		1,
		"services: {web: {command: [x], health: {probes: [{command: [/bin/sh, -c, 'echo $$ >%s/pid; exec sleep 20']}]}}}",
		root_path);
	struct service_ref t =
		service_of(1, "services: {web: {command: [x], health: {probes: [{http: {address: '127.0.0.1:%u'}}]}}}",
			   server(SAYS_NOTHING, ""));
	struct probe_run *p = service_probe(loop, c.decl->probes, &c, NULL, 60000, never, NULL),
			 *q = service_probe(loop, t.decl->probes, &t, NULL, 60000, never, NULL);
	const char *pid = "";
	WAIT_FOR(*(pid = file(arena_printf(&arena, "%s/pid", root_path))));
	uint64_t n;
	CHECK(str_to_u64(str_trim(str_c(pid)), &n));
	service_probe_cancel(p);
	service_probe_cancel(q);
	service_probe_cancel(NULL);
	CHECK(!alive((pid_t)n)); /* it does not go on behind our back */
	CHECK_INT(loop_step(loop, 0, &err), 0);
	loop_free(loop);
	arena_release(&arena);
}
