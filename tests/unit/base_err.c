// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"
#include "base/cleanup.h"
#include "base/vec.h"
#include "lib/test.h"

TEST(new_fills_code_and_message)
{
	struct err e = ERR_INIT;
	CHECK_INT(err_new(&e, ERR_INPUT, "line %d: expected '%c'", 3, ':'), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(e.sys, 0);
	CHECK_STR(e.msg, "line 3: expected ':'");
}

TEST(sys_reads_errno_and_chooses_code)
{
	struct err e = ERR_INIT;
	errno = ENOENT;
	CHECK_INT(err_sys(&e, "open '%s'", "x"), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_INT(e.sys, ENOENT);
	CHECK_INT(errno, ENOENT);
	CHECK_STR(e.msg, "open 'x': No such file or directory");
	err_errno(&e, EEXIST, "make");
	CHECK_INT(e.code, ERR_EXISTS);
	err_errno(&e, EAGAIN, "lock");
	CHECK_INT(e.code, ERR_BUSY);
	err_errno(&e, EIO, "read");
	CHECK_INT(e.code, ERR_FAILED);
	CHECK_STR(e.msg, "read: Input/output error");
}

TEST(ctx_puts_outer_before_inner)
{
	struct err e = ERR_INIT;
	err_new(&e, ERR_VERIFY, "size differs");
	CHECK_INT(err_ctx(&e, "read '%s'", "a"), -1);
	err_ctx(&e, "fetch");
	CHECK_STR(e.msg, "fetch: read 'a': size differs");
	CHECK_INT(e.code, ERR_VERIFY);
}

TEST(arguments_may_point_into_the_message)
{
	struct err e = ERR_INIT;
	err_new(&e, ERR_INPUT, "cause");
	err_new(&e, ERR_FAILED, "again: %s", e.msg);
	CHECK_STR(e.msg, "again: cause");
	err_ctx(&e, "<%s>", e.msg);
	CHECK_STR(e.msg, "<again: cause>: again: cause");
}

TEST(long_messages_are_cut_at_their_end)
{
	char big[3 * ERR_MSG_SIZE];
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	struct err e = ERR_INIT;
	err_new(&e, ERR_INPUT, "%s", big);
	CHECK_INT(strlen(e.msg), ERR_MSG_SIZE - 1);
	err_ctx(&e, "outer");
	CHECK_INT(strlen(e.msg), ERR_MSG_SIZE - 1);
	CHECK(strncmp(e.msg, "outer: xxx", 10) == 0);
	err_ctx(&e, "%s", big);
	CHECK_INT(strlen(e.msg), ERR_MSG_SIZE - 1);
	errno = EIO;
	err_sys(&e, "%s", big);
	CHECK_INT(strlen(e.msg), ERR_MSG_SIZE - 1);
}

TEST(cut_leaves_no_half_character)
{
	char big[ERR_MSG_SIZE + 16];
	for (size_t lead = 0; lead < 4; lead++) {
		memset(big, 'x', lead);
		for (size_t i = lead; i + 4 < sizeof(big); i += 4)
			memcpy(big + i, "\xf0\x9f\x98\x80", 5);
		struct err e = ERR_INIT;
		err_new(&e, ERR_INPUT, "%s", big);
		CHECK_INT((strlen(e.msg) - lead) % 4, 0);
		CHECK(strlen(e.msg) >= ERR_MSG_SIZE - 4);
		err_new(&e, ERR_INPUT, "%s", big);
		err_ctx(&e, "o");
		CHECK_INT((strlen(e.msg) - lead - 3) % 4, 0);
	}
}

TEST(terminal_controls_are_defused)
{
	struct err e = ERR_INIT;
	err_new(&e, ERR_INPUT,
		"a\x1b[31mb\rc\x7f"
		"d\xc2\x9b"
		"31me\n\tf\xc3\xa9");
	CHECK_STR(e.msg, "a?[31mb?c?d??31me\n\tf\xc3\xa9");
}

TEST(every_code_has_a_name)
{
	for (int c = ERR_NONE; c <= ERR_UNSUPPORTED; c++)
		CHECK(err_code_name((enum err_code)c)[0]);
	CHECK_STR(err_code_name(ERR_NO_SOLUTION), "no-solution");
	CHECK_STR(err_code_name((enum err_code)99), "failed");
}

static int exit_signal(void (*f)(void))
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(2);
		f();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static volatile size_t huge = SIZE_MAX / 2 + 2;

static void overflow_calloc(void)
{
	xcalloc(huge, 2);
}

static void overflow_reallocarray(void)
{
	xreallocarray(NULL, huge, 2);
}

TEST(size_overflow_panics)
{
	CHECK_INT(exit_signal(overflow_calloc), SIGABRT);
	CHECK_INT(exit_signal(overflow_reallocarray), SIGABRT);
}

TEST(zero_sizes_give_a_pointer)
{
	auto_free void *a = xmalloc(0), *b = NULL;
	b = xcalloc(0, 8);
	CHECK(a && b);
	b = xrealloc(b, 0);
	CHECK(b);
	auto_free char *s = xasprintf("%s-%d", "a", 7);
	CHECK_STR(s, "a-7");
	char *t = steal_ptr(&s);
	CHECK(s == NULL);
	CHECK_STR(t, "a-7");
	free(t);
}

TEST(vec_grows_and_releases)
{
	VEC(int) v = {0};
	for (int i = 0; i < 1000; i++)
		vec_push(&v, i);
	*vec_add(&v) = 5;
	CHECK_INT(v.n, 1001);
	CHECK_INT(v.v[999], 999);
	CHECK_INT(*vec_last(&v), 5);
	int sum = 0;
	vec_foreach(x, &v)
		sum += *x;
	CHECK_INT(sum, 999 * 500 + 5);
	vec_release(&v);
	CHECK(v.v == NULL && v.n == 0 && v.cap == 0);
	vec_foreach(x, &v)
		CHECK(false);
}
