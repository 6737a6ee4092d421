// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "base/loop.h"
#include "lib/test.h"

static struct err e;
static char seen[256]; /* what was called, a letter each */
static struct loop *the_loop;
static struct loop_watch *other;

static void note(char c)
{
	size_t n = strlen(seen);
	CHECK(n + 1 < sizeof(seen));
	seen[n] = c;
	seen[n + 1] = '\0';
}

struct item {
	char letter;
	int fd;
	struct loop_watch *w;
};

static struct loop *make(const struct clock *c)
{
	struct loop *l = NULL;
	CHECK_INT(loop_new(c, &l, &e), 0);
	the_loop = l;
	seen[0] = '\0';
	return l;
}

static void on_time(void *ctx, enum loop_events events)
{
	CHECK_INT(events, 0);
	note(((struct item *)ctx)->letter);
}

static void on_readable(void *ctx, enum loop_events events)
{
	struct item *i = ctx;
	char c;
	CHECK(events & LOOP_IN);
	note(read(i->fd, &c, 1) == 1 ? c : '$');
}

TEST(timers_in_order_of_time_then_of_making)
{
	struct clock_fake c = clock_fake_at(1000, 0);
	auto_ptr(loop) l = make(&c.base);
	struct item a = {'a', -1, NULL}, b = {'b', -1, NULL}, d = {'c', -1, NULL}, z = {'z', -1, NULL};
	loop_timer(l, 1500, on_time, &z);
	loop_timer(l, 1200, on_time, &b);
	loop_timer(l, 1200, on_time, &d);
	loop_timer(l, 1100, on_time, &a);
	CHECK_INT(loop_step(l, 0, &e), 0);
	c.now_ms = 1099;
	CHECK_INT(loop_step(l, 0, &e), 0);
	c.now_ms = 1200;
	CHECK_INT(loop_step(l, 0, &e), 3);
	CHECK_STR(seen, "abc");
	c.now_ms = 99999;
	CHECK_INT(loop_step(l, 0, &e), 1);
	CHECK_INT(loop_step(l, 0, &e), 0);
	CHECK_STR(seen, "abcz");
}

/* the heap, against sorting: some are taken out again */
static char order[1000][8];
static unsigned order_n;
static void on_number(void *ctx, enum loop_events events)
{
	(void)events;
	snprintf(order[order_n++], 8, "%d", *(int *)ctx);
}

TEST(a_thousand_timers)
{
	struct clock_fake c = clock_fake_at(0, 0);
	auto_ptr(loop) l = make(&c.base);
	static int at[1000];
	static struct loop_watch *w[1000];
	unsigned x = 7, left = 0;
	for (int i = 0; i < 1000; i++) {
		x = x * 1103515245 + 12345;
		at[i] = (int)(x >> 16) % 5000;
		w[i] = loop_timer(l, at[i], on_number, &at[i]);
	}
	for (int i = 0; i < 1000; i += 3)
		loop_remove(w[i]);
	for (int i = 0; i < 1000; i++)
		left += i % 3 != 0;
	for (c.now_ms = 0; c.now_ms < 5000; c.now_ms += 37)
		CHECK(loop_step(l, 0, &e) >= 0);
	c.now_ms = 5000;
	CHECK(loop_step(l, 0, &e) >= 0);
	CHECK_INT(order_n, left);
	for (unsigned i = 1; i < order_n; i++) {
		uint64_t before, after;
		CHECK(str_to_u64(str_c(order[i - 1]), &before) && str_to_u64(str_c(order[i]), &after));
		CHECK(before <= after);
	}
}

static void removes_other(void *ctx, enum loop_events events)
{
	(void)events;
	note(((struct item *)ctx)->letter);
	loop_remove(other);
	other = NULL;
}

TEST(a_timer_removed_by_another_of_the_same_turn)
{
	struct clock_fake c = clock_fake_at(0, 0);
	auto_ptr(loop) l = make(&c.base);
	struct item a = {'a', -1, NULL}, b = {'b', -1, NULL}, d = {'c', -1, NULL};
	loop_timer(l, 1, removes_other, &a);
	other = loop_timer(l, 2, on_time, &b);
	loop_timer(l, 3, on_time, &d);
	c.now_ms = 10;
	CHECK_INT(loop_step(l, 0, &e), 2);
	CHECK_STR(seen, "ac");
}

static void again(void *ctx, enum loop_events events)
{
	(void)events;
	note(((struct item *)ctx)->letter);
	loop_timer(the_loop, 0, again, ctx); /* long due */
}

TEST(a_timer_made_by_a_callback_waits_for_the_next_turn)
{
	struct clock_fake c = clock_fake_at(5, 0);
	auto_ptr(loop) l = make(&c.base);
	struct item a = {'a', -1, NULL}, b = {'b', -1, NULL};
	loop_timer(l, 0, again, &a);
	loop_timer(l, 5, on_time, &b);
	CHECK_INT(loop_step(l, 0, &e), 2);
	CHECK_INT(loop_step(l, -1, &e), 1); /* due: does not wait */
	CHECK_STR(seen, "aba");
}

static int64_t now_ms(void)
{
	return clock_system.mono_ms(&clock_system);
}

TEST(the_next_timer_gives_the_wait)
{
	auto_ptr(loop) l = make(&clock_system);
	struct item a = {'a', -1, NULL};
	int64_t start = now_ms();
	loop_timer(l, start + 30, on_time, &a);
	CHECK_INT(loop_step(l, 5, &e), 0);
	CHECK(now_ms() - start < 30 || seen[0]);
	while (!seen[0])
		CHECK(loop_step(l, -1, &e) >= 0);
	CHECK(now_ms() - start >= 30);
}

TEST(descriptors)
{
	auto_ptr(loop) l = make(&clock_system);
	int p[2];
	CHECK(pipe2(p, O_CLOEXEC | O_NONBLOCK) == 0);
	struct item i = {'p', p[0], NULL};
	struct loop_watch *w = loop_fd(l, p[0], LOOP_IN, on_readable, &i);
	CHECK_INT(loop_step(l, 0, &e), 0);
	CHECK(write(p[1], "xy", 2) == 2);
	CHECK_INT(loop_step(l, -1, &e), 1);
	loop_fd_events(w, 0);
	CHECK_INT(loop_step(l, 0, &e), 0);
	close(p[1]); /* a hang-up, too, is not wanted now */
	CHECK_INT(loop_step(l, 0, &e), 0);
	loop_fd_events(w, LOOP_IN);
	CHECK_INT(loop_step(l, 0, &e), 1);
	CHECK_INT(loop_step(l, 0, &e), 1);
	CHECK_STR(seen, "xy$");
	loop_remove(w);
	CHECK_INT(loop_step(l, 0, &e), 0);
	close(p[0]);
}

static void on_both(void *ctx, enum loop_events events)
{
	(void)ctx;
	note((char)('0' + (int)events));
}

TEST(readable_and_writable)
{
	auto_ptr(loop) l = make(&clock_system);
	int p[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) == 0);
	struct loop_watch *w = loop_fd(l, p[0], LOOP_OUT, on_both, NULL);
	CHECK_INT(loop_step(l, 0, &e), 1);
	CHECK(write(p[1], "x", 1) == 1);
	CHECK_INT(loop_step(l, 0, &e), 1);
	loop_fd_events(w, LOOP_IN | LOOP_OUT);
	CHECK_INT(loop_step(l, 0, &e), 1);
	loop_fd_events(w, LOOP_IN);
	CHECK_INT(loop_step(l, 0, &e), 1);
	CHECK_STR(seen, "2231");
	loop_remove(w);
	close(p[0]);
	close(p[1]);
}

/* both are ready in one turn; whichever is called first takes the other out */
static struct item pair[2];
static void takes_the_other_out(void *ctx, enum loop_events events)
{
	struct item *mine = ctx, *its = mine == &pair[0] ? &pair[1] : &pair[0];
	(void)events;
	note(mine->letter);
	loop_remove(its->w);
	close(its->fd);
	/* the number is used again at once: the new one is not called for the old one's event */
	int fd = open("/dev/null", O_RDONLY);
	CHECK_INT(fd, its->fd);
	loop_remove(mine->w);
}

TEST(removed_in_the_same_turn)
{
	auto_ptr(loop) l = make(&clock_system);
	int p[2], q[2];
	CHECK(pipe(p) == 0 && pipe(q) == 0 && write(p[1], "x", 1) == 1 && write(q[1], "x", 1) == 1);
	pair[0] = (struct item){'p', p[0], NULL};
	pair[1] = (struct item){'q', q[0], NULL};
	for (int i = 0; i < 2; i++)
		pair[i].w = loop_fd(l, pair[i].fd, LOOP_IN, takes_the_other_out, &pair[i]);
	CHECK_INT(loop_step(l, 0, &e), 1);
	CHECK_INT(strlen(seen), 1);
	CHECK_INT(loop_step(l, 0, &e), 0);
}

TEST(many_descriptors_in_several_turns)
{
	auto_ptr(loop) l = make(&clock_system);
	static int p[100][2];
	static struct item item[100];
	for (int i = 0; i < 100; i++) {
		CHECK(pipe(p[i]) == 0 && write(p[i][1], "x", 1) == 1);
		item[i] = (struct item){'x', p[i][0], NULL};
		loop_fd(l, p[i][0], LOOP_IN, on_readable, &item[i]);
	}
	CHECK_INT(loop_step(l, 0, &e) + loop_step(l, 0, &e), 100);
	CHECK_INT(loop_step(l, 0, &e), 0);
}

static pid_t child_that(int exit_code, const char *wait_for)
{
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid > 0)
		return pid;
	if (wait_for)
		for (;;)
			pause();
	_exit(exit_code);
}

static pid_t ended;
static int ended_status;
static void on_child(void *ctx, pid_t pid, int status)
{
	note(((struct item *)ctx)->letter);
	ended = pid;
	ended_status = status;
	loop_stop(the_loop);
}

TEST(a_child_is_reaped)
{
	auto_ptr(loop) l = make(&clock_system);
	struct item i = {'c', -1, NULL};
	pid_t pid = child_that(7, NULL);
	CHECK_INT(loop_child(l, pid, on_child, &i, NULL, &e), 0);
	CHECK_INT(loop_run(l, &e), 0);
	CHECK_INT(ended, pid);
	CHECK(WIFEXITED(ended_status));
	CHECK_INT(WEXITSTATUS(ended_status), 7);
	CHECK_INT(waitpid(pid, NULL, WNOHANG), -1);
	CHECK_STR(seen, "c");
}

TEST(a_child_that_is_killed)
{
	auto_ptr(loop) l = make(&clock_system);
	struct item i = {'c', -1, NULL};
	pid_t pid = child_that(0, "for ever");
	struct loop_watch *w = NULL;
	CHECK_INT(loop_child(l, pid, on_child, &i, &w, &e), 0);
	CHECK(w != NULL);
	CHECK_INT(loop_step(l, 20, &e), 0);
	kill(pid, SIGKILL);
	CHECK_INT(loop_run(l, &e), 0);
	CHECK(WIFSIGNALED(ended_status) && WTERMSIG(ended_status) == SIGKILL);
}

TEST(a_child_that_is_not_there)
{
	auto_ptr(loop) l = make(&clock_system);
	struct item i = {'c', -1, NULL};
	pid_t pid = child_that(0, NULL);
	CHECK_INT(waitpid(pid, NULL, 0), pid);
	CHECK_INT(loop_child(l, pid, on_child, &i, NULL, &e), -1);
	CHECK(strstr(e.msg, "watch child"));
}

TEST(a_process_of_another)
{
	auto_ptr(loop) l = make(&clock_system);
	struct item i = {'p', -1, NULL};
	pid_t pid = child_that(0, "for ever");
	int fd = pidfd_open(pid, 0);
	CHECK(fd >= 0);
	loop_process(l, fd, pid, on_child, &i);
	kill(pid, SIGKILL);
	CHECK_INT(loop_run(l, &e), 0);
	CHECK_INT(ended, pid);
	CHECK_INT(ended_status, -1);
	CHECK_INT(fcntl(fd, F_GETFD), -1);	     /* the loop's, closed */
	CHECK_INT(waitpid(pid, NULL, WNOHANG), pid); /* not the loop's to reap */
}

static void on_signal(void *ctx, int signo)
{
	note(((struct item *)ctx)->letter);
	CHECK(signo == SIGUSR1 || signo == SIGTERM);
}

TEST(signals)
{
	auto_ptr(loop) l = make(&clock_system);
	struct item u = {'u', -1, NULL}, t = {'t', -1, NULL};
	struct loop_watch *w = NULL;
	CHECK_INT(loop_signal(l, SIGUSR1, on_signal, &u, &w, &e), 0);
	CHECK_INT(loop_signal(l, SIGTERM, on_signal, &t, NULL, &e), 0);
	CHECK_INT(loop_signal(l, SIGTERM, on_signal, &t, NULL, &e), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	kill(getpid(), SIGUSR1);
	CHECK_INT(loop_step(l, -1, &e), 1);
	kill(getpid(), SIGTERM);
	CHECK_INT(loop_step(l, -1, &e), 1);
	CHECK_STR(seen, "ut");
	CHECK_INT(loop_step(l, 0, &e), 0);
	sigset_t now;
	kill(getpid(), SIGUSR1); /* not seen before the watch goes: must not end this process */
	loop_remove(w);
	sigprocmask(SIG_SETMASK, NULL, &now);
	CHECK(!sigismember(&now, SIGUSR1) && sigismember(&now, SIGTERM));
	CHECK_INT(loop_signal(l, 12345, on_signal, &u, NULL, &e), -1);
}

TEST(timers_come_before_descriptors)
{
	struct clock_fake c = clock_fake_at(0, 0);
	auto_ptr(loop) l = make(&c.base);
	int p[2];
	CHECK(pipe(p) == 0 && write(p[1], "x", 1) == 1);
	struct item i = {'p', p[0], NULL}, t = {'t', -1, NULL};
	loop_fd(l, p[0], LOOP_IN, on_readable, &i);
	loop_timer(l, 5, on_time, &t);
	c.now_ms = 5;
	CHECK_INT(loop_step(l, -1, &e), 2);
	CHECK_STR(seen, "tx");
}

static void steps_itself(void *ctx, enum loop_events events)
{
	struct item *i = ctx;
	char c;
	(void)events;
	CHECK(read(i->fd, &c, 1) == 1);
	note('(');
	CHECK(loop_step(the_loop, 0, &e) >= 0);
	note(')');
	loop_remove(i->w);
}

TEST(a_turn_within_a_turn)
{
	auto_ptr(loop) l = make(&clock_system);
	static struct item item[2];
	for (int i = 0; i < 2; i++) {
		int p[2];
		CHECK(pipe(p) == 0 && write(p[1], "x", 1) == 1);
		item[i] = (struct item){'p', p[0], NULL};
		item[i].w = loop_fd(l, p[0], LOOP_IN, steps_itself, &item[i]);
	}
	CHECK_INT(loop_step(l, 0, &e), 1);
	CHECK_STR(seen, "(())");
	CHECK_INT(loop_step(l, 0, &e), 0);
}

TEST(stop_before_run)
{
	auto_ptr(loop) l = make(&clock_system);
	loop_stop(l);
	CHECK_INT(loop_run(l, &e), 0);
	struct item i = {'c', -1, NULL};
	CHECK_INT(loop_child(l, child_that(0, NULL), on_child, &i, NULL, &e), 0);
	CHECK_INT(loop_run(l, &e), 0); /* the stop was used up: this one waits for the child */
	CHECK_STR(seen, "c");
}
