// SPDX-License-Identifier: Apache-2.0
/* The point of it all: versions follow one another, supervisors die, and every request is answered. */
#include "lib/service.h"

#include "base/json.h"

static struct {
	pid_t pid;
	int out;
	bool ended;
} load;

static void on_load_end(void *ctx, pid_t pid, int wait_status)
{
	(void)ctx, (void)pid, (void)wait_status;
	load.ended = true;
}

/* tests/lib/load.c, until load_end: half its clients keep their connections. */
static void load_begin(unsigned port)
{
	int p[2];
	const char *program = build_path("tests/load"), *to = arena_printf(&arena, "127.0.0.1:%u", port);
	CHECK(pipe2(p, O_CLOEXEC) == 0);
	load.pid = fork();
	CHECK(load.pid >= 0);
	if (load.pid == 0) {
		dup2(p[1], 1);
		execl(program, program, "-c", "16", "-k", "8", "-d", "60", "-p", "5", to, NULL);
		_exit(127);
	}
	close(p[1]);
	load.out = p[0];
	load.ended = false;
	if (loop)
		CHECK(loop_child(loop, load.pid, on_load_end, NULL, NULL, &err) == 0);
}

struct counted {
	int64_t requests, failed, reconnects, refused;
	unsigned versions;
};

static struct counted load_end(void)
{
	struct counted c = {0};
	char text[4096];
	kill(load.pid, SIGTERM);
	WAIT_FOR(load.ended);
	ssize_t n = read(load.out, text, sizeof(text) - 1);
	CHECK(n > 0);
	text[n] = '\0';
	close(load.out);
	fprintf(stderr, "# %s", text);
	const struct json *j = json_parse(&arena, str_c(text), "load", &err), *answers = NULL, *why = NULL;
	CHECK_MSG(j != NULL, "%s", err.msg);
	CHECK(json_get_int(j, "requests", &c.requests, &err) == 0 && json_get_int(j, "failed", &c.failed, &err) == 0 &&
	      json_get_int(j, "reconnects", &c.reconnects, &err) == 0 &&
	      json_opt_object(j, "answers", &answers, &err) == 1 && json_opt_object(j, "why", &why, &err) == 1 &&
	      json_opt_int(why, "refused", &c.refused, &err) >= 0);
	c.versions = answers->n;
	CHECK(c.requests > 100);
	return c;
}

static struct counted no_failure(void)
{
	struct counted c = load_end();
	CHECK_INT(c.failed, 0);
	return c;
}

TEST(twenty_four_hand_overs)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref r = web(1, port, "", "");
	OK(start(&r));
	load_begin(port);
	turn_for(200);
	for (uint32_t generation = 2; generation <= 25; generation++) {
		r = web(generation, port, "", "");
		OK(hand_over(&r));
		CHECK_INT(status().generation, generation);
		turn_for(20);
	}
	turn_for(200);
	struct counted c = no_failure();
	CHECK(c.reconnects >= 24); /* kept connections were moved, too */
	CHECK(c.versions >= 10);
	CHECK_INT(status().restarts, 0);
	stop_service("web");
	end();
}

/* Versions that are no good: by their private probe, and by a shared one when the old one is gone already. */
TEST(hand_overs_that_fail)
{
	supervise(&clock_system);
	unsigned port = free_port();
	static const char shared_only[] =
		"services: {web: {command: [bin/webd, --version, v%u, --crash, '60000'%s], ready: notify, "
		"sockets: {http: '127.0.0.1:%u'}, health: {failures: 1, probes: [{http: {address: http, "
		"path: /health}}]}}}";
	struct service_ref one = service_of(1, shared_only, 1u, "", port);
	OK(start(&one));
	load_begin(port);
	turn_for(100);
	for (uint32_t generation = 2; generation <= 6; generation++) {
		struct service_ref bad = web(generation, port, ", --fail-health", "");
		SAYS(hand_over(&bad), "generation 1 runs on");
		bad = service_of(generation, shared_only, generation, ", --fail-health", port);
		SAYS(hand_over(&bad), "generation 1 was started again");
		CHECK_INT(err.code, ERR_ROLLED_BACK);
	}
	no_failure();
	CHECK_INT(status().generation, 1);
	stop_service("web");
	end();
}

TEST(a_supervisor_that_is_killed)
{
	needs_sockets_taken();
	unsigned port = free_port();
	int p[2];
	char c;
	root_path = test_tmp();
	struct service_ref one = web(1, port, "", "");
	CHECK(pipe(p) == 0);
	pid_t first = fork();
	if (first == 0) {
		supervise(&clock_system);
		OK(start(&one));
		CHECK(write(p[1], "r", 1) == 1);
		for (;;)
			turn(1000);
	}
	CHECK(first > 0 && read(p[0], &c, 1) == 1);
	load_begin(port);
	struct timespec t = {0, 300000000};
	nanosleep(&t, NULL);
	kill(first, SIGKILL);
	CHECK(waitpid(first, NULL, 0) == first);
	nanosleep(&t, NULL); /* nobody supervises: it serves on */
	supervise(&clock_system);
	CHECK(loop_child(loop, load.pid, on_load_end, NULL, NULL, &err) == 0);
	CHECK_MSG(supervisor_adopt(sup, &err) == 0, "%s", err.msg);
	CHECK_INT(status().state, SERVICE_RUNNING);
	for (uint32_t generation = 2; generation <= 4; generation++) {
		struct service_ref r = web(generation, port, "", "");
		OK(hand_over(&r));
	}
	turn_for(100);
	no_failure();
	stop_service("web");
	end();
}

/* What it was answering is lost, and nothing else: nobody is refused, whoever comes waits. */
TEST(a_service_that_is_killed)
{
	supervise(&clock_system);
	unsigned port = free_port();
	struct service_ref r = web(1, port, "", "");
	OK(start(&r));
	load_begin(port);
	for (int i = 0; i < 3; i++) {
		turn_for(200);
		pid_t pid = status().pid;
		kill(pid, SIGKILL);
		WAIT_FOR(status().state == SERVICE_RUNNING && status().pid != pid);
	}
	turn_for(200);
	struct counted c = load_end();
	CHECK(c.failed <= 3 * 16);
	CHECK_INT(c.refused, 0);
	CHECK_INT(status().restarts, 3);
	stop_service("web");
	end();
}
