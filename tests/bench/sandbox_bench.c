// SPDX-License-Identifier: Apache-2.0
/*
 * What a sandbox costs: /bin/true, or the program and words given, some hundred times in each of several ways, beside the same without a sandbox.
 *
 *	sandbox_bench ROOT [RUNS] [COMMAND...]
 *
 * ROOT is a root file system (tests/lib/rootfs.sh makes one), the lower layer; upper and work folders are made in /tmp. As root, the
 * kinds of ids of root; as another user, his. Wall and processor time are medians; processor time is the sandbox's and ours.
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

#include "base/fs.h"
#include "sandbox/box.h"

enum { RUNS_MAX = 10000, DEEP = 50 };

static const char *root, *dir;
static const char *const *command;
static int runs = 200;

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t cpu_us(int who)
{
	struct rusage u;
	getrusage(who, &u);
	return (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static int cmp_i64(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static void row(const char *what, int64_t *wall, int64_t *cpu)
{
	qsort(wall, (size_t)runs, sizeof(*wall), cmp_i64);
	qsort(cpu, (size_t)runs, sizeof(*cpu), cmp_i64);
	printf("%-44s %8.2f %8.2f %8.2f\n", what, (double)wall[0] / 1000, (double)wall[runs / 2] / 1000,
	       (double)cpu[runs / 2] / 1000);
	fflush(stdout);
}

static void bare(void)
{
	static int64_t wall[RUNS_MAX], cpu[RUNS_MAX];
	for (int i = 0; i < runs; i++) {
		int64_t start = now_us(), cpu_start = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN);
		pid_t pid = fork();
		if (pid == 0) {
			execv(command[0], (char *const *)command);
			_exit(127);
		}
		waitpid(pid, NULL, 0);
		wall[i] = now_us() - start;
		cpu[i] = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN) - cpu_start;
	}
	row("the command alone (fork, exec)", wall, cpu);
}

static void sandboxed(const char *what, enum box_ids ids, const struct sandbox_opts *o)
{
	static int64_t wall[RUNS_MAX], cpu[RUNS_MAX];
	box_ids_force(ids);
	for (int i = -2; i < runs; i++) {
		struct sandbox_result res;
		struct err e = ERR_INIT;
		int64_t start = now_us(), cpu_start = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN);
		if (sandbox_run(o, &res, &e) < 0 || res.end != SANDBOX_EXITED || res.code != 0) {
			printf("%-44s %s\n", what, *e.msg ? e.msg : "failed");
			return;
		}
		if (i < 0)
			continue; /* the user namespace is made */
		wall[i] = now_us() - start;
		cpu[i] = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN) - cpu_start;
	}
	row(what, wall, cpu);
}

static int nothing(void *ctx, struct err *e)
{
	(void)ctx, (void)e;
	return 0;
}

static void called(enum box_ids ids, const struct sandbox_opts *o)
{
	static int64_t wall[RUNS_MAX], cpu[RUNS_MAX];
	box_ids_force(ids);
	for (int i = -2; i < runs; i++) {
		struct err e = ERR_INIT;
		int64_t start = now_us(), cpu_start = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN);
		if (sandbox_call(o, NULL, 0, nothing, NULL, &e) < 0) {
			printf("  a call: %s\n", e.msg);
			return;
		}
		if (i < 0)
			continue;
		wall[i] = now_us() - start;
		cpu[i] = cpu_us(RUSAGE_SELF) + cpu_us(RUSAGE_CHILDREN) - cpu_start;
	}
	row("  sandbox_call of an empty function", wall, cpu);
}

static void filters(void)
{
	struct sock_filter p[BOX_FILTER_CAP];
	int64_t start = now_us();
	size_t n = 0;
	for (int i = 0; i < 1000; i++)
		n = box_filter_make(BOX_FILTER_SYNC, p, BOX_FILTER_CAP);
	int64_t made = now_us() - start;
	pid_t pid = fork();
	if (pid == 0) {
		enum { N = 20 };
		start = now_us();
		for (int i = 0; i < N; i++)
			if (box_filter_load(BOX_FILTER_SYNC) < 0)
				_exit(1);
		printf("filter: %zu instructions, made in %.1f us, loaded in %.1f us\n", n, (double)made / 1000,
		       (double)(now_us() - start) / N);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	static const char *const true_argv[] = {"/bin/true", NULL}, *const env[] = {"PATH=/usr/bin:/bin", NULL};
	static char tmp[] = "/tmp/slipway-bench.XXXXXX", upper[64], work[64];
	if (argc < 2) {
		fprintf(stderr, "usage: sandbox_bench ROOT [RUNS] [COMMAND...]\n");
		return 2;
	}
	uint64_t n = 200;
	struct str s = argc > 2 ? str_c(argv[2]) : STR("200");
	if (!str_take_u64(&s, &n) || n == 0 || n > RUNS_MAX)
		return 2;
	runs = (int)n;
	root = argv[1];
	command = argc > 3 ? (const char *const *)argv + 3 : true_argv;
	dir = mkdtemp(tmp);
	struct err e = ERR_INIT;
	snprintf(upper, sizeof(upper), "%s/upper", dir);
	snprintf(work, sizeof(work), "%s/work", dir);
	if (fs_mkdirs(AT_FDCWD, upper, 0755, &e) < 0 || fs_mkdirs(AT_FDCWD, work, 0755, &e) < 0)
		return 1;
	const char *lower[] = {root};
	static char deep[DEEP][80];
	const char *deep_lower[DEEP];
	for (int i = 0; i < DEEP; i++) {
		snprintf(deep[i], sizeof(deep[i]), "%s/layer%d", dir, i);
		if (fs_mkdirs(AT_FDCWD, deep[i], 0755, &e) < 0)
			return 1;
		deep_lower[i] = i == DEEP - 1 ? root : deep[i];
	}
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	o.root = (struct sandbox_root){.lower = lower, .n_lower = 1, .upper = upper, .work = work};
	o.argv = command;
	o.envp = env;
	printf("%-44s %8s %8s %8s\n", "ms", "least", "median", "proc.");
	bare();
	static const struct {
		const char *what;
		enum box_ids ids;
		bool root;
	} kinds[] = {{"ids mapped", BOX_IDS_MAPPED, true},
		     {"plain ids", BOX_IDS_PLAIN, true},
		     {"a range of ids", BOX_IDS_RANGE, false},
		     {"one id", BOX_IDS_ONE, false}};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (kinds[i].root != (geteuid() == 0))
			continue;
		struct sandbox_opts v = o;
		sandboxed(kinds[i].what, kinds[i].ids, &v);
		v.network_host = true;
		sandboxed("  the host's network", kinds[i].ids, &v);
		v = o;
		v.limits = (struct sandbox_limits){.memory_bytes = 1u << 30, .processes = 1000};
		sandboxed("  limits of memory and processes", kinds[i].ids, &v);
		v.limits = (struct sandbox_limits){.processes = 1000};
		sandboxed("  limit of processes", kinds[i].ids, &v);
		v = o;
		v.root = (struct sandbox_root){.dir = root};
		sandboxed("  a folder as root", kinds[i].ids, &v);
		v = o;
		v.root.lower = deep_lower;
		v.root.n_lower = DEEP;
		sandboxed("  50 layers", kinds[i].ids, &v);
		v = o;
		called(kinds[i].ids, &v);
	}
	filters();
	fs_remove_tree(AT_FDCWD, dir, &e);
	return 0;
}
