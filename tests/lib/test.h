// SPDX-License-Identifier: Apache-2.0
/*
 * The unit-test harness: one program a module, TAP on stdout.
 *
 *	#include "lib/test.h"
 *
 *	TEST(take_u64_stops_at_letter)
 *	{
 *		struct str s = STR("12ab");
 *		uint64_t v;
 *		CHECK(str_take_u64(&s, &v));
 *		CHECK_INT(v, 12);
 *	}
 *
 * Include it in one file only: it holds main(). Each test runs in a child
 * process, so the first failure, a crash, a leak or a time-out (120 s) ends
 * that test alone. `./base_str word` runs the tests whose name contains word.
 * test_tmp() is a folder for the running test, removed after it.
 * test_source("tests/x") is a path in the checkout. test_shared("data/x") is
 * one of the real third-party files, and skips the test where they are missing.
 */
#pragma once

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct test_case {
	const char *name;
	void (*run)(void);
	struct test_case *next;
};

static struct test_case *test_first, **test_last = &test_first;
static char test_tmp_path[64]; /* set in the parent, made in the child on demand */
static int test_skip_fd = -1;

enum { TEST_SKIPPED = 77, TEST_TIMEOUT_S = 120 };

#define TEST(id)                                                                                                       \
	static void test_case_##id(void);                                                                              \
	__attribute__((constructor)) static void test_add_##id(void)                                                   \
	{                                                                                                              \
		static struct test_case c = {#id, test_case_##id, NULL};                                               \
		*test_last = &c;                                                                                       \
		test_last = &c.next;                                                                                   \
	}                                                                                                              \
	static void test_case_##id(void)

#define CHECK(cond) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "%s", #cond))
#define CHECK_MSG(cond, ...) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, __VA_ARGS__))
#define CHECK_INT(got, want) test_check_int(__FILE__, __LINE__, #got, (intmax_t)(got), (intmax_t)(want))
#define CHECK_STR(got, want) test_check_str(__FILE__, __LINE__, #got, (got), (want))
#define SKIP(...) test_skip(__VA_ARGS__)

__attribute__((noreturn, format(printf, 3, 4), unused)) static void test_fail(const char *file, int line,
									      const char *fmt, ...)
{
	va_list ap;
	fprintf(stderr, "# %s:%d: ", file, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	_exit(1);
}

__attribute__((unused)) static void test_check_int(const char *file, int line, const char *what, intmax_t got,
						   intmax_t want)
{
	if (got != want)
		test_fail(file, line, "%s is %jd, not %jd", what, got, want);
}

__attribute__((unused)) static void test_check_str(const char *file, int line, const char *what, const char *got,
						   const char *want)
{
	if (!got || !want ? got != want : strcmp(got, want) != 0)
		test_fail(file, line, "%s\n#    is '%s'\n#   not '%s'", what, got ? got : "(null)",
			  want ? want : "(null)");
}

__attribute__((noreturn, format(printf, 1, 2), unused)) static void test_skip(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vdprintf(test_skip_fd, fmt, ap);
	va_end(ap);
	_exit(TEST_SKIPPED);
}

__attribute__((unused)) static const char *test_tmp(void)
{
	if (mkdir(test_tmp_path, 0700) < 0 && errno != EEXIST)
		test_fail(__FILE__, __LINE__, "mkdir '%s': %s", test_tmp_path, strerror(errno));
	return test_tmp_path;
}

__attribute__((unused)) static const char *test_source(const char *path)
{
	static char out[4][PATH_MAX]; /* a few may be in use at once */
	static unsigned next;
	char *s = out[next++ % 4];
	snprintf(s, PATH_MAX, "%s/%s", TEST_SOURCE_ROOT, path);
	return s;
}

__attribute__((unused)) static const char *test_shared(const char *path)
{
	static char out[4][PATH_MAX];
	static unsigned next;
	char *s = out[next++ % 4];
	const char *root = getenv("SLIPWAY_SHARED");
	if (root)
		snprintf(s, PATH_MAX, "%s/%s", root, path);
	else
		snprintf(s, PATH_MAX, "%s/../shared/%s", TEST_SOURCE_ROOT, path);
	if (access(s, R_OK) < 0)
		test_skip("no shared data '%s' (set SLIPWAY_SHARED)", path);
	return s;
}

static int test_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int test_unlock(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	return type == FTW_D && !(st->st_mode & S_IWUSR) ? chmod(path, 0700) : 0;
}

/* Runs one test in a child; returns its wait status. A reason for a skip is left in why. */
static int test_run(const struct test_case *c, char *why, size_t why_size)
{
	static unsigned serial;
	int fds[2], status = -1;
	snprintf(test_tmp_path, sizeof(test_tmp_path), "/tmp/slipway-test.%d.%u", (int)getpid(), ++serial);
	fflush(stdout);
	if (pipe(fds) < 0)
		return -1;
	pid_t child = fork();
	if (child == 0) {
		close(fds[0]);
		test_skip_fd = fds[1];
		alarm(TEST_TIMEOUT_S);
		c->run();
		exit(0);
	}
	close(fds[1]);
	ssize_t n = read(fds[0], why, why_size - 1);
	why[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	if (child < 0 || waitpid(child, &status, 0) < 0)
		status = -1;
	nftw(test_tmp_path, test_unlock, 16, FTW_PHYS);
	nftw(test_tmp_path, test_remove, 16, FTW_PHYS | FTW_DEPTH);
	return status;
}

int main(int argc, char **argv)
{
	unsigned n = 0, failed = 0;
	for (const struct test_case *c = test_first; c; c = c->next) {
		char why[256];
		if (argc > 1 && !strstr(c->name, argv[1]))
			continue;
		int status = test_run(c, why, sizeof(why));
		n++;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			printf("ok %u %s\n", n, c->name);
		} else if (WIFEXITED(status) && WEXITSTATUS(status) == TEST_SKIPPED) {
			printf("ok %u %s # SKIP %s\n", n, c->name, why);
		} else {
			failed++;
			printf("not ok %u %s\n", n, c->name);
			if (WIFSIGNALED(status))
				fprintf(stderr, "# %s: killed by signal %d (%s)\n", c->name, WTERMSIG(status),
					strsignal(WTERMSIG(status)));
			else
				fprintf(stderr, "# %s: exit status %d\n", c->name, WEXITSTATUS(status));
		}
	}
	printf("1..%u\n", n);
	if (n == 0)
		fprintf(stderr, "no test has '%s' in its name\n", argc > 1 ? argv[1] : "");
	return failed > 0 || n == 0;
}
