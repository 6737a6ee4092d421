// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>

#include "base/proc.h"
#include "lib/test.h"

static struct err e;

#define SH(script) ((const char *const[]){"sh", "-c", script, NULL})

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

TEST(exit_code_and_outputs)
{
	auto_buf out = BUF_INIT(1000);
	auto_buf errout = BUF_INIT(1000);
	struct proc_opts o = {.argv = SH("echo one; echo two >&2; exit 3"), .out = &out, .errout = &errout};
	CHECK_INT(proc_run(&o, &e), 3);
	CHECK_STR(out.p, "one\n");
	CHECK_STR(errout.p, "two\n");
}

TEST(both_outputs_in_one_buffer)
{
	auto_buf out = BUF_INIT(1000);
	struct proc_opts o = {.argv = SH("echo one; echo two >&2; echo three"), .out = &out, .errout = &out};
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK_STR(out.p, "one\ntwo\nthree\n");
}

TEST(both_outputs_to_a_file)
{
	auto_fd f = memfd_create("out", MFD_CLOEXEC);
	struct proc_opts o = {.argv = SH("echo one; echo two >&2"), .both_to = f};
	CHECK_INT(proc_run(&o, &e), 0);
	char got[32] = "";
	CHECK_INT(pread(f, got, sizeof(got) - 1, 0), 8);
	CHECK_STR(got, "one\ntwo\n");
	o.both_to = 99;
	CHECK_INT(proc_run(&o, &e), -1);
}

TEST(input_environment_and_folder)
{
	auto_buf out = BUF_INIT(1000);
	const char *envp[] = {"WORD=x", "PATH=/usr/bin:/bin", NULL};
	struct proc_opts o = {.argv = SH("cat; echo; echo $WORD; pwd"),
			      .envp = envp,
			      .cwd = "/usr",
			      .input = STR("given"),
			      .out = &out};
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK_STR(out.p, "given\nx\n/usr\n");
}

TEST(standard_input_is_empty_unless_told)
{
	auto_buf out = BUF_INIT(1000);
	struct proc_opts o = {.argv = SH("cat; echo end"), .out = &out};
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK_STR(out.p, "end\n");
}

TEST(large_output_is_bounded)
{
	auto_buf out = BUF_INIT(10000);
	struct proc_opts o = {.argv = SH("head -c 3000000 /dev/zero | tr '\\0' x; echo done >&2"), .out = &out};
	auto_buf errout = BUF_INIT(100);
	o.errout = &errout;
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK_INT(out.overflow, 1);
	CHECK_INT(out.n, 10000);
	CHECK_STR(errout.p, "done\n");
}

TEST(large_output_whole)
{
	auto_buf out = BUF_INIT(BUF_MAX);
	struct proc_opts o = {.argv = SH("head -c 3000000 /dev/zero"), .out = &out};
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK_INT(out.n, 3000000);
}

TEST(not_found)
{
	const char *const argv[] = {"no-such-program-anywhere", NULL};
	struct proc_opts o = {.argv = argv};
	CHECK_INT(proc_run(&o, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_MSG(strstr(e.msg, "no-such-program-anywhere") != NULL, "%s", e.msg);
	struct proc_opts lost = {.argv = SH("true"), .cwd = "/no/such/folder"};
	CHECK_INT(proc_run(&lost, &e), -1);
	CHECK_MSG(strstr(e.msg, "/no/such/folder") != NULL, "%s", e.msg);
}

TEST(killed_by_a_signal)
{
	struct proc_opts o = {.argv = SH("kill -TERM $$")};
	CHECK_INT(proc_run(&o, &e), -1);
	CHECK_MSG(strstr(e.msg, "signal 15") != NULL, "%s", e.msg);
}

TEST(deadline_kills_the_group)
{
	char script[512];
	auto_buf out = BUF_INIT(1000);
	snprintf(script, sizeof(script), "(sleep 1; touch %s/alive) & echo begun; sleep 60", test_tmp());
	struct proc_opts o = {.argv = SH(script), .out = &out, .deadline_ms = 200};
	int64_t start = now_ms();
	CHECK_INT(proc_run(&o, &e), -1);
	CHECK(now_ms() - start < 950);
	CHECK_MSG(strstr(e.msg, "200 ms") != NULL, "%s", e.msg);
	CHECK_STR(out.p, "begun\n");
	char path[256];
	snprintf(path, sizeof(path), "%s/alive", test_tmp());
	while (now_ms() - start < 1300)
		usleep(50000);
	CHECK_INT(access(path, F_OK), -1);
}

static void count_said(void *ctx, struct str text)
{
	*(size_t *)ctx += text.n;
}

TEST(who_prints_nothing_is_ended)
{
	size_t said = 0;
	int64_t before = now_ms();
	struct proc_opts o = {.argv = SH("for i in 1 2 3 4; do echo $i; sleep 0.2; done; echo 5 >&2"),
			      .quiet_ms = 600,
			      .say = count_said,
			      .say_ctx = &said};
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK_INT((intmax_t)said, 10);
	o.argv = SH("echo 1; sleep 1000 & wait");
	CHECK_INT(proc_run(&o, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	CHECK(now_ms() - before < 10000);
}

TEST(a_background_child_does_not_hold_us)
{
	auto_buf out = BUF_INIT(1000);
	struct proc_opts o = {.argv = SH("sleep 2 & echo begun"), .out = &out};
	int64_t start = now_ms();
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK(now_ms() - start < 1900);
	CHECK_STR(out.p, "begun\n");
}

TEST(no_descriptor_leaks_into_the_child)
{
	auto_buf out = BUF_INIT(1000);
	int fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC on purpose */
	CHECK(dup2(fd, 77) == 77);
	struct proc_opts o = {.argv = SH("if [ -e /proc/self/fd/77 ]; then echo leaked; else echo clean; fi"),
			      .out = &out};
	CHECK_INT(proc_run(&o, &e), 0);
	CHECK_STR(out.p, "clean\n");
}

TEST(works_without_standard_descriptors)
{
	auto_buf out = BUF_INIT(1000);
	auto_buf errout = BUF_INIT(1000);
	int kept = fcntl(2, F_DUPFD_CLOEXEC, 50);
	close(0);
	close(1);
	close(2);
	struct proc_opts o = {.argv = SH("cat; echo two >&2"), .input = STR("given"), .out = &out, .errout = &errout};
	int r = proc_run(&o, &e);
	dup2(kept, 2);
	CHECK_INT(r, 0);
	CHECK_STR(out.p, "given");
	CHECK_STR(errout.p, "two\n");
}

TEST(signals_are_back_to_default)
{
	signal(SIGTERM, SIG_IGN);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	struct proc_opts o = {.argv = SH("kill -TERM $$; echo still here")};
	CHECK_INT(proc_run(&o, &e), -1);
	CHECK_MSG(strstr(e.msg, "signal 15") != NULL, "%s", e.msg);
}
