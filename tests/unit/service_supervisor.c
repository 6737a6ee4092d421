// SPDX-License-Identifier: Apache-2.0
/* Real processes: started, asked, handed over, restarted, stopped, taken over. */
#include "lib/service.h"

#include <sys/prctl.h>

#include "base/json.h"

#define SH(script, more) "services: {sh: {command: [/bin/sh, -c, '" script "']" more "}}"

TEST(what_a_service_gets)
{
	supervise(&clock_system);
	struct service_ref r = service_of(
		7,
		"services:\n"
		"  sh:\n"
		"    command: [/bin/sh, -c, 'env >$OUT.env; ls -l /proc/$$/fd >$OUT.fd; cat /proc/self/status >$OUT.status; "
		"cut -d\" \" -f1,5,6 /proc/$$/stat >$OUT.stat; cat >$OUT.in; pwd >$OUT.pwd; echo said; echo complained >&2; "
		"touch $OUT.all; exec sleep 60']\n"
		"    environment: {OUT: %s/out, PATH: /bin}\n"
		"    sockets: {a: '127.0.0.1:%u', b: private, c: shared.sock}\n",
		root_path, free_port());
	signal(SIGUSR1, SIG_IGN);
	OK(start(&r));
	CHECK_STR(events, "starting running ");
	const char *env = file(arena_printf(&arena, "%s/out.env", root_path));
	pid_t pid = status().pid;
	CHECK(strstr(env, arena_printf(&arena, "PATH=%s/bin:/bin\n", r.prefix)));
	CHECK(strstr(env, "LISTEN_FDS=3\n"));
	CHECK(strstr(env, "LISTEN_FDNAMES=a:b:c\n"));
	CHECK(strstr(env, arena_printf(&arena, "LISTEN_PID=%d\n", (int)pid)));
	CHECK(strstr(env, arena_printf(&arena, "NOTIFY_SOCKET=%s/run/.notify\n", root_path)));
	CHECK(strstr(env, "SLIPWAY_ENV=e\n") && strstr(env, "SLIPWAY_GENERATION=7\n") &&
	      strstr(env, "SLIPWAY_SERVICE=sh\n"));
	CHECK(strstr(env, arena_printf(&arena, "SLIPWAY_RUNTIME_DIR=%s/run/e/sh\n", root_path)));
	CHECK(!strstr(env, "BUILD_ROOT")); /* not ours */
	/* 0 to 2 and three sockets; the shell may have one of its own above */
	const char *fds = file(arena_printf(&arena, "%s/out.fd", root_path));
	CHECK(strstr(fds, " 0 -> /dev/null") && strstr(fds, "1 -> ") && strstr(fds, "sh.log"));
	CHECK(strstr(fds, " 3 -> socket:") && strstr(fds, " 4 -> socket:") && strstr(fds, " 5 -> socket:"));
	CHECK(!strstr(fds, " 6 -> ") && !strstr(fds, "anon_inode"));
	const char *st = file(arena_printf(&arena, "%s/out.stat", root_path));
	CHECK_STR(st, arena_printf(&arena, "%d %d %d\n", (int)pid, (int)pid, (int)pid));
	const char *signals = file(arena_printf(&arena, "%s/out.status", root_path));
	CHECK(strstr(signals, "SigBlk:\t0000000000000000") && strstr(signals, "SigIgn:\t0000000000000000"));
	CHECK_STR(file(arena_printf(&arena, "%s/out.in", root_path)), "");
	CHECK_STR(file(arena_printf(&arena, "%s/out.pwd", root_path)), "/\n");
	const char *log = file(arena_printf(&arena, "%s/run/e/sh.log", root_path));
	CHECK(strstr(log, "said\n") && strstr(log, "complained\n"));
	CHECK(fs_exists(run_dirfd, "e/sh/shared.sock") && fs_exists(run_dirfd, "e/sh/b.1"));
	stop_service("sh");
	CHECK(!alive(pid));
	CHECK(!fs_exists(run_dirfd, "e/sh") && !fs_exists(run_dirfd, "e/sh.json"));
	CHECK_STR(events, "starting running stopping stopped ");
	end();
}

TEST(a_server_from_start_to_stop)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref r = web(1, port, "", "");
	OK(start(&r));
	CHECK_STR(get(port, "/"), "v1");
	OK(start(&r)); /* runs already */
	struct service_status s = status();
	CHECK_INT(s.generation, 1);
	CHECK_INT(s.state, SERVICE_RUNNING);
	CHECK(alive(s.pid));
	struct result checked = {0};
	service_check(sup, STR("e"), STR("web"), on_done, &checked);
	WAIT_FOR(checked.done);
	CHECK(!checked.failed);
	struct service_ref other = web(2, port, "", "");
	SAYS(start(&other), "runs as of generation 1; hand it over");
	stop_service("web");
	CHECK_STR(get(port, "/"), "(refused)");
	CHECK(!alive(s.pid));
	stop_service("web"); /* nothing to stop is fine */
	checked = (struct result){0};
	service_check(sup, STR("e"), STR("web"), on_done, &checked);
	WAIT_FOR(checked.done);
	CHECK(strstr(checked.err.msg, "does not run"));
	end();
}

TEST(starts_that_fail)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref r = service_of(1, "services: {sh: {command: [bin/nothing]}}");
	SAYS(start(&r), "service 'sh' of generation 1: run 'sh': No such file or directory");
	CHECK_INT(status().state, SERVICE_FAILED);
	r = service_of(1, SH("exit 3", ""));
	SAYS(start(&r), "ended with exit code 3 before it was ready");
	r = service_of(1, SH("kill -9 $$", ""));
	SAYS(start(&r), "was ended by signal 9 (Killed) before it was ready");
	r = service_of(1, SH("exec sleep 60", ", ready: notify, start-timeout: 300ms"));
	SAYS(start(&r), "did not say READY=1 within 300 ms");
	r = service_of(1, SH("exec sleep 60", ", working-directory: nowhere"));
	SAYS(start(&r), "change to the folder of 'sh'");
	r = service_of(1, SH("exec sleep 60", ", user: nobody-of-that-name"));
	SAYS(start(&r), "there is no user 'nobody-of-that-name' on this host");
	r = service_of(1,
		       SH("exec sleep 60",
			  ", health: {interval: 100ms, probes: [{command: [/bin/sh, -c, \"echo not well; exit 1\"]}]}, "
			  "start-timeout: 5s"));
	SAYS(start(&r),
	     "is not healthy 5000 ms after its start: health check command '/bin/sh': ended with exit code 1: not well");
	/* one that has said that it is ready is not waited for */
	r = web(1, port, ", --fail-health", "    start-timeout: 1h\n");
	SAYS(start(&r), "health check http 'health' '/health': answered 503 Service Unavailable");
	/* nothing of it is left */
	r = service_of(1, SH("exec sleep 60", ""));
	OK(start(&r));
	stop_service("sh");
	stop_service("web");
	CHECK_STR(get(port, "/"), "(refused)");
	auto_fd taken = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CHECK(bind(taken, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(taken, 1) == 0);
	r = web(1, port, "", "");
	SAYS(start(&r), "Address already in use");
	end();
}

TEST(hand_over_by_sockets)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref one = web(1, port, ", --grace, '100'", ""), two = web(2, port, "", "");
	OK(start(&one));
	pid_t first = status().pid;
	events[0] = '\0';
	OK(hand_over(&two));
	CHECK_STR(events, "handing over running ");
	CHECK_STR(get(port, "/"), "v2");
	CHECK_INT(status().generation, 2);
	CHECK(status().pid != first);
	WAIT_FOR(!alive(first));
	OK(hand_over(&two)); /* already */
	CHECK_STR(events, "handing over running ");
	stop_service("web");
	OK(hand_over(&one)); /* from nothing */
	CHECK_STR(get(port, "/"), "v1");
	stop_service("web");
	end();
}

TEST(a_hand_over_that_fails_before_the_old_one_stops)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref one = web(1, port, "", "");
	OK(start(&one));
	pid_t first = status().pid;
	struct service_ref bad[] = {
		web(2, port, ", --fail-health", ""),
		web(2, port, ", --slow-start, '20000'", "    start-timeout: 300ms\n    stop-timeout: 100ms\n"),
		web(2, port, ", --no-such-option", ""),
		service_of(2, "services: {web: {command: [bin/nothing], sockets: {http: '127.0.0.1:%u'}}}", port),
		service_of(2, "services: {web: {command: [/bin/sh, -c, 'exit 1'], sockets: {http: '127.0.0.1:%u'}}}",
			   port),
		service_of(2, "services: {web: {command: [bin/webd], sockets: {http: '127.0.0.1:%u', more: /proc/x}}}",
			   port)};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		events[0] = '\0';
		SAYS(hand_over(&bad[i]), "generation 1 runs on");
		CHECK_INT(err.code == ERR_ROLLED_BACK, 0);
		CHECK_STR(events, "handing over running ");
		CHECK_INT(status().pid, first);
		CHECK_INT(status().generation, 1);
		CHECK_STR(get(port, "/"), "v1");
	}
	struct service_ref good = web(3, port, "", "");
	OK(hand_over(&good));
	CHECK_STR(get(port, "/"), "v3");
	stop_service("web");
	end();
}

TEST(sockets_that_come_and_go)
{
	supervise(&clock_system);
	unsigned a = free_port(), b = free_port(), c = free_port();
	static const char text[] =
		"services: {web: {command: [bin/webd, --version, v%u, --crash, '60000', --grace, '100'], ready: notify, "
		"sockets: {%s: '127.0.0.1:%u', shared: '127.0.0.1:%u', u: %s.sock}, health: {probes: [{http: {address: "
		"%s}}, {tcp: u}]}}}";
	struct service_ref one = service_of(1, text, 1u, "a", a, b, "one", "a"),
			   two = service_of(2, text, 2u, "c", c, b, "two", "c");
	OK(start(&one));
	CHECK_STR(get(a, "/"), "v1");
	OK(hand_over(&two));
	CHECK_STR(get(c, "/"), "v2");
	CHECK_STR(get(b, "/"), "v2");
	WAIT_FOR(strcmp(get(a, "/"), "(refused)") == 0);
	CHECK(!fs_exists(run_dirfd, "e/web/one.sock") && fs_exists(run_dirfd, "e/web/two.sock"));
	/* one that fails leaves no socket of its own */
	two = service_of(
		3,
		"services: {web: {command: [/bin/sh, -c, 'exit 1'], sockets: {a: '127.0.0.1:%u', b: '127.0.0.1:%u'}}}",
		a, b);
	SAYS(hand_over(&two), "generation 2 runs on");
	CHECK_STR(get(a, "/"), "(refused)");
	CHECK_STR(get(b, "/"), "v2");
	stop_service("web");
	CHECK_STR(get(b, "/"), "(refused)");
	end();
}

/* A connection on which one request was answered, and that stays open. */
static int kept_connection(unsigned port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	char text[300];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0) == 18);
	CHECK(recv(fd, text, sizeof(text), 0) > 0);
	return fd;
}

TEST(versions_that_drain_are_bounded)
{
	supervise(&clock_system);
	unsigned port = free_port();
	int kept[17];
	struct service_ref r = web(1, port, ", --grace, '3600000'", "");
	OK(start(&r));
	for (uint32_t i = 0; i < 16; i++) {
		kept[i] = kept_connection(port);
		r = web(i + 2, port, ", --grace, '3600000'", "");
		OK(hand_over(&r));
	}
	kept[16] = kept_connection(port);
	r = web(20, port, "", "");
	SAYS(hand_over(&r), "16 earlier versions of service 'web' have not yet answered");
	CHECK_INT(err.code, ERR_BUSY);
	CHECK_STR(get(port, "/"), "v17");
	close(kept[3]); /* one of them has no more to do */
	turn_for(200);
	OK(hand_over(&r));
	for (int i = 0; i < 17; i++)
		if (i != 3)
			close(kept[i]);
	stop_service("web");
	end();
}

/* Without a private socket the new one can be asked only when the old one has stopped. */
TEST(a_hand_over_that_fails_afterwards)
{
	supervise(&clock_system);
	unsigned port = free_port();
	const char *text =
		"services: {web: {command: [bin/webd, --version, v%u, --crash, '60000', --grace, '100'%s], ready: notify, "
		"sockets: {http: '127.0.0.1:%u'}, health: {failures: 2, probes: [{http: {address: http, path: /health}}]}}}";
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	struct service_ref one = service_of(1, text, 1u, "", port),
			   two = service_of(2, text, 2u, ", --fail-health", port);
#pragma GCC diagnostic pop
	OK(start(&one));
	pid_t first = status().pid;
	SAYS(hand_over(&two),
	     "service 'web' of generation 2: health check http 'http' '/health': answered 503 Service Unavailable; "
	     "generation 1 was started again");
	CHECK_INT(err.code, ERR_ROLLED_BACK);
	CHECK(status().pid != first);
	CHECK_INT(status().generation, 1);
	CHECK_INT(status().state, SERVICE_RUNNING);
	for (int i = 0; i < 20; i++)
		CHECK_STR(get(port, "/"), "v1");
	stop_service("web");
	end();
}

TEST(hand_over_by_restart)
{
	supervise(&clock_system);
	unsigned port = free_port();
	const char *by_restart = "    hand-over: restart\n";
	struct service_ref one = web(1, port, ", --grace, '50'", by_restart),
			   two = web(2, port, ", --grace, '50'", by_restart),
			   bad = web(3, port, ", --fail-health", by_restart);
	OK(start(&one));
	pid_t first = status().pid;
	OK(hand_over(&two));
	CHECK(!alive(first)); /* never two at once */
	CHECK_STR(get(port, "/"), "v2");
	SAYS(hand_over(&bad), "generation 2 was started again");
	CHECK_INT(err.code, ERR_ROLLED_BACK);
	CHECK_STR(get(port, "/"), "v2");
	stop_service("web");
	end();
}

TEST(an_old_one_that_does_not_come_back)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref one = web(1, port, ", --grace, '50'", "    hand-over: restart\n"),
			   bad = web(2, port, ", --fail-health", "    hand-over: restart\n");
	OK(start(&one));
	CHECK(unlink(arena_printf(&arena, "%s/bin/webd", one.prefix)) == 0);
	SAYS(hand_over(&bad),
	     "generation 1 was started again, and did not come back: run 'web': No such file or directory");
	CHECK_INT(err.code, ERR_UNCERTAIN);
	CHECK_STR(events, "starting running handing over starting ");
	CHECK(symlink(build_path("tests/webd"), arena_printf(&arena, "%s/bin/webd", one.prefix)) == 0);
	WAIT_FOR(status().state == SERVICE_RUNNING); /* its restart rule goes on trying */
	CHECK_STR(get(port, "/"), "v1");
	stop_service("web");
	end();
}

TEST(a_service_that_is_killed_comes_back)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref r = web(1, port, "", "");
	OK(start(&r));
	pid_t first = status().pid;
	kill(first, SIGKILL);
	/* meanwhile nobody is refused: the socket is held */
	CHECK_STR(get(port, "/"), "v1");
	WAIT_FOR(status().state == SERVICE_RUNNING && status().pid != first);
	CHECK_INT(status().restarts, 1);
	CHECK_STR(events, "starting running starting running ");
	stop_service("web");

	struct service_ref never = web(1, port, "", "    restart: never\n");
	OK(start(&never));
	kill(status().pid, SIGKILL);
	WAIT_FOR(status().state == SERVICE_FAILED);
	CHECK_STR(last_why, "was ended by signal 9 (Killed)");
	CHECK_STR(get(port, "/"), "(refused)");
	OK(start(&never));
	stop_service("web");

	struct service_ref clean = service_of(1, SH("sleep 0.7; exit 0", ""));
	OK(start(&clean));
	WAIT_FOR(status().state == SERVICE_STOPPED);
	stop_service("sh");
	struct service_ref always = service_of(1, SH("sleep 0.7; exit 0", ", restart: always, restart-delay: 0s"));
	OK(start(&always));
	WAIT_FOR(status().restarts == 1);
	stop_service("sh");
	end();
}

TEST(restarts_become_rare)
{
	struct clock_fake c = clock_fake_at(1000, 0);
	supervise(&c.base);
	struct service_ref r =
		service_of(1, SH("test -e $SLIPWAY_RUNTIME_DIR/bad && exit 1; exec sleep 60", ", restart-delay: 1s"));
	struct result result = {0};
	service_start(sup, &r, on_done, &result);
	WAIT_FOR((c.now_ms += 10, result.done));
	CHECK(!result.failed);
	auto_fd bad = openat(run_dirfd, "e/sh/bad", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(bad >= 0);
	kill(status().pid, SIGKILL);
	int64_t delay = 1000;
	for (uint32_t i = 1; i <= 12; i++) {
		WAIT_FOR(status().pid == 0 && strstr(last_why, "started again in"));
		CHECK_MSG(strstr(last_why, arena_printf(&arena, "started again in %lld ms", (long long)delay)),
			  "%u: %s", i, last_why);
		CHECK_INT(status().state, i <= 3 ? SERVICE_STARTING : SERVICE_FAILED);
		last_why[0] = '\0';
		c.now_ms += delay - 1;
		turn(0);
		CHECK_INT(status().restarts, i - 1);
		c.now_ms += 1;
		WAIT_FOR(status().restarts == i);
		delay = delay * 2 < 300000 ? delay * 2 : 300000;
	}
	CHECK(unlinkat(run_dirfd, "e/sh/bad", 0) == 0);
	stop_service("sh");
	end();
}

TEST(unhealthy_and_well_again)
{
	supervise(&clock_system);
	struct service_ref r = service_of(
		1,
		SH("exec sleep 60",
		   ", health: {interval: 100ms, failures: 2, passes: 2, probes: [{command: [/bin/sh, -c, \"test ! -e $SLIPWAY_RUNTIME_DIR/bad\"]}]}"));
	OK(start(&r));
	pid_t first = status().pid;
	auto_fd bad = openat(run_dirfd, "e/sh/bad", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	WAIT_FOR(status().state == SERVICE_UNHEALTHY);
	CHECK(strstr(last_why, "health check command '/bin/sh': ended with exit code 1"));
	struct result checked = {0};
	service_check(sup, STR("e"), STR("sh"), on_done, &checked);
	WAIT_FOR(checked.done);
	CHECK(checked.failed);
	CHECK(unlinkat(run_dirfd, "e/sh/bad", 0) == 0);
	WAIT_FOR(status().state == SERVICE_RUNNING);
	CHECK_INT(status().pid, first); /* told, not restarted */
	CHECK_STR(events, "starting running unhealthy running ");
	stop_service("sh");
	end();
}

TEST(a_process_that_does_not_stop)
{
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	supervise(&clock_system);
	struct service_ref r = service_of(
		1,
		SH("trap \"\" TERM; (trap \"\" TERM; echo $$ >$SLIPWAY_RUNTIME_DIR/../child; while :; do sleep 1; done) & wait",
		   ", stop-timeout: 300ms"));
	OK(start(&r));
	pid_t pid = status().pid;
	int64_t before = real_ms();
	stop_service("sh");
	CHECK(real_ms() - before >= 300);
	CHECK(!alive(pid));
	/* the whole group: what was killed takes a moment to end, on a busy machine a long one */
	WAIT_FOR((waitpid(-1, NULL, WNOHANG), kill(-pid, 0) < 0) && errno == ESRCH);
	end();
}

TEST(stop_in_the_midst)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref slow = web(1, port, ", --slow-start, '20000'", "    stop-timeout: 100ms\n"),
			   one = web(1, port, "", "");
	struct result started = {0}, again = {0}, stopped = {0};
	service_start(sup, &slow, on_done, &started);
	turn_for(50);
	service_start(sup, &slow, on_done, &again);
	WAIT_FOR(again.done);
	CHECK_INT(again.err.code, ERR_BUSY);
	service_stop(sup, STR("e"), STR("web"), on_done, &stopped);
	WAIT_FOR(stopped.done);
	CHECK(started.done && started.failed && strstr(started.err.msg, "was stopped meanwhile"));
	CHECK(!stopped.failed);

	OK(start(&one));
	struct result handed = {0};
	slow = web(2, port, ", --slow-start, '20000'", "    stop-timeout: 100ms\n");
	service_hand_over(sup, &slow, on_done, &handed);
	turn_for(50);
	stop_service("web");
	CHECK(handed.done && handed.failed);
	CHECK_STR(get(port, "/"), "(refused)");
	end();
}

/* READY=1 counts only from the service's own processes. */
TEST(strangers_are_not_heard)
{
	supervise(&clock_system);
	struct service_ref r = service_of(1, SH("exec sleep 60", ", ready: notify, start-timeout: 600ms"));
	struct result result = {0};
	service_start(sup, &r, on_done, &result);
	turn_for(50);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s/run/.notify", root_path);
	auto_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&a, sizeof(a)) == 7);
	/* nor do descriptors that nobody asked for stay open */
	WAIT_FOR(result.done);
	CHECK(result.failed && strstr(result.err.msg, "did not say READY=1"));
	end();
}

TEST(one_supervisor_a_root)
{
	supervise(&clock_system);
	struct supervisor *other = NULL;
	const char *run = arena_printf(&arena, "%s/run", root_path);
	struct supervisor_opts o = {.loop = loop, .run_dirfd = run_dirfd, .run_path = run};
	CHECK_INT(supervisor_new(&o, &other, &err), -1);
	CHECK_MSG(strstr(err.msg, "another supervisor looks after the services of"), "%s", err.msg);
	CHECK_INT(err.code, ERR_BUSY);
	end();
}

TEST(logs_are_bounded)
{
	struct clock_fake c = clock_fake_at(1000, 0);
	supervise(&c.base);
	struct service_ref r = service_of(
		1, SH("head -c 9000000 /dev/zero | tr \"\\0\" x; echo the end; touch $SLIPWAY_RUNTIME_DIR/written; "
		      "read x <$SLIPWAY_RUNTIME_DIR/go; echo more; exec sleep 60",
		      ""));
	CHECK(fs_mkdirs(run_dirfd, "e/sh", 0755, &err) == 0);
	CHECK(mkfifoat(run_dirfd, "e/sh/go", 0600) == 0);
	struct result result = {0};
	service_start(sup, &r, on_done, &result);
	WAIT_FOR((c.now_ms += 1, result.done && fs_exists(run_dirfd, "e/sh/written")));
	CHECK(!result.failed);
	struct stat st;
	c.now_ms += 5000;
	WAIT_FOR(fs_exists(run_dirfd, "e/sh.log.1"));
	CHECK(fstatat(run_dirfd, "e/sh.log", &st, 0) == 0);
	CHECK_INT(st.st_size, 0);
	CHECK(fstatat(run_dirfd, "e/sh.log.1", &st, 0) == 0);
	CHECK_INT(st.st_size, 4 << 20); /* its end */
	const char *old = file(arena_printf(&arena, "%s/run/e/sh.log.1", root_path));
	CHECK(strstr(old + (4 << 20) - 200, "the end\n"));
	auto_fd go = openat(run_dirfd, "e/sh/go", O_WRONLY | O_CLOEXEC);
	CHECK(write(go, "go\n", 3) == 3);
	WAIT_FOR(strcmp(file(arena_printf(&arena, "%s/run/e/sh.log", root_path)), "more\n") == 0);
	stop_service("sh");
	end();
}

TEST(as_another_user)
{
	if (geteuid() != 0)
		SKIP("kernel: only root can start a service as another user");
	supervise(&clock_system);
	CHECK(chmod(root_path, 0711) == 0);
	unsigned port = free_port();
	struct service_ref r = service_of(
		1,
		"services: {web: {user: nobody, command: [/bin/sh, -c, 'id -u >$SLIPWAY_RUNTIME_DIR/uid; id -G >$SLIPWAY_RUNTIME_DIR/groups; "
		"echo $USER $LOGNAME >$SLIPWAY_RUNTIME_DIR/user; exec %s --version v1 --crash 60000'], ready: notify, "
		"sockets: {http: '127.0.0.1:%u', health: private, u: u.sock}, health: {probes: [{http: {address: health, path: /health}}]}}}",
		build_path("tests/webd"), port);
	struct stat st;
	if (access("/usr/bin/id", X_OK) < 0)
		SKIP("build: no id");
	OK(start(&r)); /* so it could say READY=1, too */
	const char *dir = arena_printf(&arena, "%s/run/e/web", root_path);
	CHECK_STR(file(arena_printf(&arena, "%s/uid", dir)), "65534\n");
	CHECK_STR(file(arena_printf(&arena, "%s/groups", dir)), "65534\n");
	CHECK_STR(file(arena_printf(&arena, "%s/user", dir)), "nobody nobody\n");
	CHECK(stat(arena_printf(&arena, "%s/health.1", dir), &st) == 0);
	CHECK_INT(st.st_uid, 65534);
	CHECK_INT(st.st_mode & 0777, 0600);
	CHECK(stat(arena_printf(&arena, "%s/u.sock", dir), &st) == 0);
	CHECK_INT(st.st_mode & 0777, 0666);
	CHECK_STR(get(port, "/"), "v1");
	stop_service("web");
	end();
}

/* == taking over ================================================================================================== */
/* A supervisor in a process of its own, which starts the services and is then killed. */
static pid_t supervisor_elsewhere(const struct service_ref *r, struct service_ref *then)
{
	int p[2];
	char c;
	CHECK(pipe(p) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		supervise(&clock_system);
		OK(start(r));
		struct result result = {0};
		if (then)
			service_hand_over(sup, then, on_done, &result);
		for (int i = 0; then && i < 30; i++)
			turn(10);
		CHECK(write(p[1], "r", 1) == 1);
		for (;;)
			turn(1000);
	}
	close(p[1]);
	CHECK(read(p[0], &c, 1) == 1);
	close(p[0]);
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
	return pid;
}

static void adopt(void)
{
	supervise(&clock_system);
	CHECK_MSG(supervisor_adopt(sup, &err) == 0, "%s", err.msg);
}

TEST(a_supervisor_that_is_killed)
{
	needs_sockets_taken();
	unsigned port = free_port();
	root_path = test_tmp();
	struct service_ref one = web(1, port, ", --grace, '100'", ""), two = web(2, port, "", "");
	supervisor_elsewhere(&one, NULL);
	adopt();
	struct service_status s = status();
	CHECK_INT(s.state, SERVICE_RUNNING);
	CHECK_INT(s.generation, 1);
	CHECK(alive(s.pid));
	CHECK_STR(get(port, "/"), "v1");
	/* the sockets were taken back: handed over, and held when it is killed */
	OK(hand_over(&two));
	WAIT_FOR(!alive(s.pid));
	CHECK_STR(get(port, "/"), "v2");
	kill(status().pid, SIGKILL);
	CHECK_STR(get(port, "/"), "v2");
	stop_service("web");
	CHECK_STR(get(port, "/"), "(refused)");
	end();
}

TEST(an_adopted_service_that_is_killed)
{
	needs_sockets_taken();
	unsigned port = free_port();
	root_path = test_tmp();
	struct service_ref one = web(1, port, "", "");
	supervisor_elsewhere(&one, NULL);
	adopt();
	pid_t pid = status().pid;
	kill(pid, SIGKILL);
	CHECK_STR(get(port, "/"), "v1"); /* waits in the socket that is held */
	WAIT_FOR(status().state == SERVICE_RUNNING && status().pid != pid);
	CHECK_INT(status().restarts, 1);
	stop_service("web");
	end();
}

/* An agent that replaces itself by exec is still the parent of what it started. */
TEST(a_supervisor_that_begins_anew)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref one = web(1, port, "", ""), two = web(2, port, "", "");
	OK(start(&one));
	pid_t pid = status().pid;
	supervisor_free(sup);
	loop_free(loop);
	cleanup_fd(&run_dirfd);
	adopt();
	CHECK_INT(status().pid, pid);
	kill(pid, SIGKILL);
	CHECK_STR(get(port, "/"), "v1");
	WAIT_FOR(status().state == SERVICE_RUNNING && status().pid != pid);
	CHECK_INT(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
	CHECK(strstr(file(arena_printf(&arena, "%s/run/e/web.log", root_path)), "was ended by signal 9"));
	OK(hand_over(&two));
	CHECK_STR(get(port, "/"), "v2");
	stop_service("web");
	end();
}

TEST(both_are_killed)
{
	unsigned port = free_port();
	root_path = test_tmp();
	struct service_ref one = web(1, port, "", "");
	supervisor_elsewhere(&one, NULL);
	auto_arena a = ARENA_INIT;
	const struct json *j =
		json_parse(&a, str_c(file(arena_printf(&arena, "%s/run/e/web.json", root_path))), "run", &err);
	int64_t pid;
	CHECK(j && json_get_int(json_get(j, "processes")->item, "pid", &pid, &err) == 0);
	kill((pid_t)pid, SIGKILL);
	for (int i = 0; i < 1000 && alive((pid_t)pid); i++) {
		struct timespec t = {0, 5000000};
		nanosleep(&t, NULL);
	}
	adopt();
	CHECK_STR(events, "starting ");
	CHECK(strstr(last_why, "had ended when this supervisor began; started again in 100 ms"));
	WAIT_FOR(status().state == SERVICE_RUNNING);
	CHECK_STR(get(port, "/"), "v1");
	stop_service("web");
	end();
}

TEST(a_supervisor_that_is_killed_during_a_hand_over)
{
	unsigned port = free_port();
	root_path = test_tmp();
	struct service_ref one = web(1, port, "", ""),
			   slow = web(2, port, ", --slow-start, '20000'", "    stop-timeout: 200ms\n"),
			   three = web(3, port, "", "");
	supervisor_elsewhere(&one, &slow);
	adopt();
	CHECK_INT(status().generation, 1);
	CHECK_INT(status().state, SERVICE_RUNNING);
	CHECK_STR(get(port, "/"), "v1");
	OK(hand_over(&three));
	CHECK_STR(get(port, "/"), "v3");
	/* the one that was coming has gone */
	turn_for(300);
	auto_arena a = ARENA_INIT;
	const struct json *j =
		json_parse(&a, str_c(file(arena_printf(&arena, "%s/run/e/web.json", root_path))), "run", &err);
	WAIT_FOR((j = json_parse(&a, str_c(file(arena_printf(&arena, "%s/run/e/web.json", root_path))), "run", &err)) &&
		 json_get(j, "processes")->n == 1);
	stop_service("web");
	end();
}

TEST(run_files_that_cannot_be)
{
	supervise(&clock_system);
	auto_fd dir = fs_open_dir_make(run_dirfd, "e", &err);
	const char *boot = file("/proc/sys/kernel/random/boot_id");
	struct {
		const char *name, *text;
	} files[] = {
		{"a.json", ""},
		{"b.json", "{"},
		{"c.json", "{\"format\": 1, \"boot\": \"another\"}"},
		{"d.json", arena_printf(&arena, "{\"format\": 2, \"boot\": \"%.36s\"}", boot)},
		{"f.json",
		 arena_printf(
			 &arena,
			 "{\"format\": 1, \"boot\": \"%.36s\", \"wanted\": true, \"restarts\": 0, \"launches\": 1, "
			 "\"version\": {\"generation\": 1, \"prefix\": \"/x\", \"component\": \"c\", \"declaration\": "
			 "{\"command\": [\"/bin/true\"], \"colour\": 1}}, \"processes\": []}",
			 boot)},
		/* this process, but not since then: it is not ours */
		{"g.json",
		 arena_printf(
			 &arena,
			 "{\"format\": 1, \"boot\": \"%.36s\", \"wanted\": false, \"restarts\": 0, \"launches\": 1, "
			 "\"version\": {\"generation\": 1, \"prefix\": \"/x\", \"component\": \"c\", \"declaration\": "
			 "{\"command\": [\"/bin/true\"]}}, \"processes\": [{\"pid\": %d, \"start\": 1, \"role\": "
			 "\"leaving\", \"generation\": 1, \"launch\": 1, \"stop_signal\": \"KILL\", \"stop_timeout_ms\": 0}]}",
			 boot, (int)getpid())}};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		CHECK(fs_replace(dir, files[i].name, files[i].text, strlen(files[i].text), 0, &err) == 0);
	CHECK_MSG(supervisor_adopt(sup, &err) == 0, "%s", err.msg);
	struct service_status *list;
	size_t n;
	CHECK(supervisor_status(sup, &arena, &list, &n, &err) == 0);
	CHECK_INT(n, 0);
	CHECK(!fs_exists(dir, "a.json") && !fs_exists(dir, "c.json") && !fs_exists(dir, "g.json"));
	CHECK(fs_exists(dir, "b.json.bad") && fs_exists(dir, "d.json.bad") && fs_exists(dir, "f.json.bad"));
	end();
}
