// SPDX-License-Identifier: Apache-2.0
/*
 * What a step costs in the modules that make it, without the builder round them: medians in milliseconds of wall and of processor time.
 *
 *	build/tests/step_bench FOLDER ROOT [RUNS [BACKEND]]     ROOT: a root file system with /bin/true; layers are made in FOLDER and removed
 *
 *	command    fork, exec and wait for ROOT/bin/true (chroot where that is allowed)
 *	run        sandbox_run of it on the folder ROOT
 *	call       sandbox_call of a function that does nothing
 *	layer      layer_begin and layer_work_commit of an empty layer, on top of the last one
 *	step       begin, sandbox_run in the layer, commit
 *	find       layer_find of one that is there
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "layer/layer.h"
#include "sandbox/sandbox.h"

enum { RUNS = 50, RUNS_MAX = 10000 };

static const char *const argv_true[] = {"/bin/true", NULL}, *const no_env[] = {"PATH=/bin", NULL};
static const char *root;
static struct layers *layers;
static struct layer_id last;
static uint64_t next_id;
static bool on_base;

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "%s: %s\n", what, e->msg);
	exit(1);
}

static void command(void)
{
	pid_t child = fork();
	if (child == 0) {
		if (chroot(root) < 0)
			fputs("no chroot\n", stderr);
		execve("/bin/true", (char **)argv_true, (char **)no_env); /* style: allow process: what is measured */
		_exit(1);
	}
	waitpid(child, NULL, 0);
}

static void run_in(const struct sandbox_root *r, int out_fd)
{
	struct err e = ERR_INIT;
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	o.root = *r;
	o.argv = argv_true;
	o.envp = no_env;
	o.out_fd = out_fd;
	o.fast_sync = true;
	struct sandbox_result result;
	if (sandbox_run(&o, &result, &e) < 0)
		die("sandbox_run", &e);
	if (result.end != SANDBOX_EXITED || result.code != 0)
		exit(1);
}

static void run(void)
{
	run_in(&(struct sandbox_root){.dir = root}, 2);
}

static int nothing(void *ctx, struct err *e)
{
	(void)ctx;
	(void)e;
	return 0;
}

static void call(void)
{
	struct err e = ERR_INIT;
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	o.root.dir = root;
	if (sandbox_call(&o, NULL, 0, nothing, NULL, &e) < 0)
		die("sandbox_call", &e);
}

static void make_layer(bool with_run)
{
	struct err e = ERR_INIT;
	struct layer_work *w;
	struct layer_id id;
	snprintf(id.hex, sizeof(id.hex), "%064jx", (uintmax_t)next_id++);
	if (layer_begin(layers, &id, on_base ? &last : NULL, &w, &e) < 0)
		die("layer_begin", &e);
	if (with_run)
		run_in(layer_work_root(w), layer_work_log_fd(w));
	if (layer_work_commit(w, STR("bench"), &e) < 0)
		die("layer_work_commit", &e);
	last = id;
	on_base = true;
}

static void layer(void)
{
	make_layer(false);
}

static void step(void)
{
	make_layer(true);
}

static void find(void)
{
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct layer_info info;
	if (layer_find(layers, &last, &a, &info, &e) != 1)
		die("layer_find", &e);
}

static double wall_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double used_ms(const struct timeval *t)
{
	return (double)t->tv_sec * 1e3 + (double)t->tv_usec / 1e3;
}

static double cpu_ms(void)
{
	struct rusage own, children;
	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return used_ms(&own.ru_utime) + used_ms(&own.ru_stime) + used_ms(&children.ru_utime) +
	       used_ms(&children.ru_stime);
}

static int cmp_double(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void measure(const char *name, void (*fn)(void), size_t runs)
{
	static double wall[RUNS_MAX], cpu[RUNS_MAX];
	fn();
	for (size_t i = 0; i < runs; i++) {
		double w = wall_ms(), c = cpu_ms();
		fn();
		wall[i] = wall_ms() - w;
		cpu[i] = cpu_ms() - c;
	}
	qsort(wall, runs, sizeof(*wall), cmp_double);
	qsort(cpu, runs, sizeof(*cpu), cmp_double);
	printf("%-10s %8.3f %8.3f   best %.3f\n", name, wall[runs / 2], cpu[runs / 2], wall[0]);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: step_bench FOLDER ROOT [RUNS [BACKEND]]\n");
		return 2;
	}
	struct err e = ERR_INIT;
	root = argv[2];
	size_t runs = argc > 3 ? strtoul(argv[3], NULL, 10) : RUNS;
	enum layer_backend backend = LAYER_AUTO;
	if (runs == 0 || runs > RUNS_MAX || (argc > 4 && !layer_backend_parse(str_c(argv[4]), &backend)))
		return 2;
	char dir[4096], cmd[2 * 4096];
	snprintf(dir, sizeof(dir), "%s/step_bench.%d", argv[1], (int)getpid());
	mkdir(dir, 0700);
	if (layers_open(dir, backend, &layers, &e) < 0)
		die("layers_open", &e);
	printf("%s, %s: median ms by the wall and of processor time\n", dir,
	       layer_backend_name(layers_backend(layers)));
	measure("command", command, runs);
	measure("run", run, runs);
	measure("call", call, runs);
	make_layer(false);
	struct layer_id base = last;
	snprintf(cmd, sizeof(cmd), "cp -a '%s/.' '%s/layer/%s/fs/'", root, dir, base.hex);
	if (system(cmd) != 0) /* style: allow process: a bench */
		return 1;
	measure("layer", layer, runs);
	last = base;
	measure("step", step, runs < LAYER_DEPTH_MAX ? runs : 100);
	measure("find", find, runs);
	layers_close(layers);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd) != 0; /* style: allow process: a bench */
}
