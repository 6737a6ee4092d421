// SPDX-License-Identifier: Apache-2.0
/*
 * service_bench [HAND_OVERS [OPTIONS OF tests/lib/load.c...]]: what a hand-over costs those who ask meanwhile.
 *
 * The example server is handed from version to version (60 times) under load; prints what load prints, and before it
 *
 *	{"hand_overs": 60, "mean_ms": 31.0, "longest_ms": 80.1}
 *
 * with the time from the order to the new version serving, healthy and alone. Run it in the build folder: it looks for tests/webd and tests/load.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fs.h"
#include "service/service.h"

static struct arena arena;
static struct loop *loop;
static struct supervisor *sup;
static unsigned port;

struct result {
	bool done, failed;
	struct err err;
};

static void on_done(void *ctx, const struct err *failure)
{
	struct result *r = ctx;
	r->done = true;
	r->failed = failure != NULL;
	if (failure)
		r->err = *failure;
}

static int wait_for(struct result *r, struct err *e)
{
	while (!r->done)
		if (loop_step(loop, -1, e) < 0)
			return -1;
	if (r->failed)
		*e = r->err;
	return r->failed ? -1 : 0;
}

static int hand_over(const char *prefix, uint32_t generation, struct err *e)
{
	struct result r = {0};
	struct component c;
	char *text =
		arena_printf(&arena,
			     "services: {web: {command: ['%s/tests/webd', --version, v%u], ready: notify, "
			     "sockets: {http: '127.0.0.1:%u', health: private}, health: {probes: "
			     "[{http: {address: health, path: /health}}, {http: {address: http, path: /health}}]}}}",
			     prefix, generation, port);
	if (component_read(&arena, str_c(text), "web", "web.yml", &c, e) < 0)
		return -1;
	struct service_ref s = {.env = STR("bench"), .generation = generation, .prefix = prefix, .decl = c.services};
	service_hand_over(sup, &s, on_done, &r);
	return wait_for(&r, e);
}

static int choose_port(struct err *e)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	auto_fd fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return err_sys(e, "find a port");
	port = ntohs(a.sin_port);
	return 0;
}

static pid_t start_load(const char *here, char **options)
{
	const char *argv[32] = {arena_printf(&arena, "%s/tests/load", here), "-d", "3600"};
	int n = 3;
	for (; *options && n < 30; options++)
		argv[n++] = *options;
	argv[n++] = arena_printf(&arena, "127.0.0.1:%u", port);
	pid_t pid = fork();
	if (pid == 0) {
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	return pid;
}

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1000 + (double)t.tv_nsec / 1e6;
}

static void pass(double ms, struct err *e)
{
	for (double until = now_ms() + ms; now_ms() < until;)
		(void)loop_step(loop, 5, e);
}

static int bench(const char *here, const char *tmp, uint32_t n, char **options, struct err *e)
{
	char *run = arena_printf(&arena, "%s/run", tmp);
	auto_fd dir = fs_open_dir_make(AT_FDCWD, run, e);
	if (dir < 0 || choose_port(e) < 0 || loop_new(&clock_system, &loop, e) < 0)
		return -1;
	struct supervisor_opts o = {.loop = loop, .run_dirfd = dir, .run_path = run};
	struct result stopped = {0};
	double all = 0, longest = 0;
	if (supervisor_new(&o, &sup, e) < 0 || hand_over(here, 1, e) < 0)
		return -1;
	pid_t load = start_load(here, options);
	int r = 0, status = 0;
	for (uint32_t i = 0; i < n && r == 0; i++) {
		pass(100, e);
		double before = now_ms();
		r = hand_over(here, i + 2, e);
		double took = now_ms() - before;
		all += took;
		longest = took > longest ? took : longest;
	}
	pass(200, e);
	printf("{\"hand_overs\": %u, \"mean_ms\": %.1f, \"longest_ms\": %.1f}\n", n, all / n, longest);
	fflush(stdout);
	kill(load, SIGTERM);
	while (waitpid(load, &status, 0) < 0 && errno == EINTR)
		;
	service_stop(sup, STR("bench"), STR("web"), on_done, &stopped);
	if (r == 0 && wait_for(&stopped, e) < 0)
		return -1;
	return r < 0 || status != 0 ? (e->code ? -1 : err_new(e, ERR_FAILED, "requests failed")) : 0;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	char tmp[] = "/tmp/slipway-bench.XXXXXX";
	uint64_t n = 60;
	auto_free char *here = realpath(".", NULL);
	if ((argc > 1 && (!str_to_u64(str_c(argv[1]), &n) || n == 0 || n > 100000)) || !here || !mkdtemp(tmp)) {
		fprintf(stderr, "usage: service_bench [HAND_OVERS [OPTIONS OF LOAD...]]\n");
		return 2;
	}
	int r = bench(here, tmp, (uint32_t)n, argc > 1 ? argv + 2 : argv + 1, &e);
	supervisor_free(sup);
	loop_free(loop);
	arena_release(&arena);
	if (r < 0)
		fprintf(stderr, "%s\n", e.msg);
	struct err ignored;
	(void)fs_remove_tree(AT_FDCWD, tmp, &ignored);
	return r < 0;
}
