// SPDX-License-Identifier: Apache-2.0
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"

/*
 * posix_spawn rather than fork: glibc's uses CLONE_VFORK, so the cost does not grow with the caller's memory, no handler
 * of a threaded caller runs in the child, and an exec that fails comes back as its error number.
 * Standard input is an unlinked memory file: nothing to feed, no SIGPIPE.
 */

enum { DRAIN_MAX = 1 << 20, NO_PIDFD_POLL_MS = 20 };

struct child {
	const char *name;
	pid_t pid;
	int pidfd;   /* -1 where the kernel has none */
	int from[2]; /* our ends of standard output and error, -1 where done or not collected */
	struct buf *to[2];
	const struct proc_opts *o;
	int64_t heard_ms; /* when it last printed something */
	int signals;	  /* pending ones that would end us; -1 */
	sigset_t before;
};

/* Above 2, so that no dup2 in the child lands on a descriptor that is still needed. */
static int above_stdio(int fd)
{
	if (fd < 0 || fd > 2)
		return fd;
	auto_fd low = fd;
	return fcntl(low, F_DUPFD_CLOEXEC, 3);
}

static int open_input(struct str input, struct err *e)
{
	if (input.n == 0) {
		int null = above_stdio(open("/dev/null", O_RDONLY | O_CLOEXEC));
		return null < 0 ? err_sys(e, "open '/dev/null'") : null;
	}
	auto_fd fd = above_stdio(memfd_create("input", MFD_CLOEXEC));
	if (fd < 0)
		return err_sys(e, "make a memory file for standard input");
	/* private memory, not state on disk: past the fault seam on purpose */
	while (input.n > 0) {
		ssize_t n = write(fd, input.p, input.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "write standard input");
		input = str_skip(input, (size_t)n);
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "rewind standard input");
	return steal_fd(&fd);
}

static int make_pipe(int *ret_read, int *ret_write, struct err *e)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	auto_fd r = above_stdio(p[0]);
	auto_fd w = above_stdio(p[1]);
	if (r < 0 || w < 0 || fcntl(r, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(e, "make a pipe");
	*ret_read = steal_fd(&r);
	*ret_write = steal_fd(&w);
	return 0;
}

struct spawn {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
};

static void spawn_init(struct spawn *s)
{
	if (posix_spawn_file_actions_init(&s->actions) != 0 || posix_spawnattr_init(&s->attr) != 0)
		panic("out of memory");
}

static void spawn_release(struct spawn *s)
{
	posix_spawn_file_actions_destroy(&s->actions);
	posix_spawnattr_destroy(&s->attr);
}

static bool has_group(const struct proc_opts *o)
{
	return o->deadline_ms > 0 || o->quiet_ms > 0;
}

static int spawn_prepare(struct spawn *s, const struct proc_opts *o, int in, int out, int errout)
{
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
	if (has_group(o))
		flags |= POSIX_SPAWN_SETPGROUP;
	int r = posix_spawnattr_setsigdefault(&s->attr, &all);
	r = r ? r : posix_spawnattr_setsigmask(&s->attr, &none);
	r = r ? r : posix_spawnattr_setpgroup(&s->attr, 0);
	r = r ? r : posix_spawnattr_setflags(&s->attr, flags);
	r = r ? r : posix_spawn_file_actions_adddup2(&s->actions, in, 0);
	if (out >= 0)
		r = r ? r : posix_spawn_file_actions_adddup2(&s->actions, out, 1);
	if (errout >= 0)
		r = r ? r : posix_spawn_file_actions_adddup2(&s->actions, errout, 2);
	r = r ? r : posix_spawn_file_actions_addclosefrom_np(&s->actions, 3);
	if (o->cwd)
		r = r ? r : posix_spawn_file_actions_addchdir_np(&s->actions, o->cwd);
	return r;
}

static int start(const struct proc_opts *o, struct child *c, struct err *e)
{
	auto_fd in = o->keep_stdin ? above_stdio(fcntl(0, F_DUPFD_CLOEXEC, 3)) : open_input(o->input, e);
	auto_fd out = -1;
	auto_fd errout = -1;
	bool same = o->both_to > 0 || o->say || (o->out && o->out == o->errout);
	int to = o->both_to > 0 ? o->both_to : o->out_to;
	if (to > 0 && (out = above_stdio(fcntl(to, F_DUPFD_CLOEXEC, 3))) < 0)
		return err_sys(e, "hand on the output of '%s'", c->name);
	if (in < 0 && o->keep_stdin)
		return err_sys(e, "hand on the standard input of '%s'", c->name);
	if (in < 0 || ((o->out || o->say) && make_pipe(&c->from[0], &out, e) < 0) ||
	    (o->errout && !same && make_pipe(&c->from[1], &errout, e) < 0))
		return -1;
	cleanup_with(spawn_release) struct spawn s;
	spawn_init(&s);
	int r = spawn_prepare(&s, o, in, out, same ? out : errout);
	char *const *envp = (char *const *)(o->envp ? o->envp : (const char *const *)environ);
	char *const *argv = (char *const *)o->argv;
	if (r == 0)
		r = posix_spawnp(&c->pid, o->argv[0], &s.actions, &s.attr, argv, envp);
	if (r == ENOENT && o->cwd && !fs_exists(AT_FDCWD, o->cwd))
		return err_errno(e, r, "run '%s' in folder '%s'", c->name, o->cwd);
	if (r != 0)
		return err_errno(e, r, "run '%s'", c->name);
	c->pidfd = pidfd_open(c->pid, 0);
	return 0;
}

/* 1 there may be more, 0 the end; what exceeds the buffer's maximum is read and dropped, `overflow` tells. */
static int collect(struct child *c, int which, struct err *e)
{
	char chunk[65536];
	ssize_t n = read(c->from[which], chunk, sizeof(chunk));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 1;
	if (n < 0)
		return err_sys(e, "read the output of '%s'", c->name);
	if (n == 0) {
		cleanup_fd(&c->from[which]);
		return 0;
	}
	c->heard_ms = clock_mono_ms();
	if (c->o->say) {
		c->o->say(c->o->say_ctx, str_of(chunk, (size_t)n));
		return 1;
	}
	struct buf *b = c->to[which];
	size_t room = b->max - b->n, fits = (size_t)n < room ? (size_t)n : room;
	buf_put(b, chunk, fits);
	if (fits < (size_t)n)
		buf_put(b, chunk + fits, (size_t)n - fits); /* marks the overflow */
	return 1;
}

/* 1 ended (reaped, *status set), 0 not yet. */
static int reap(struct child *c, int *status, struct err *e)
{
	pid_t p;
	do
		p = waitpid(c->pid, status, WNOHANG);
	while (p < 0 && errno == EINTR);
	if (p < 0)
		return err_sys(e, "wait for '%s'", c->name);
	if (p > 0)
		c->pid = -1;
	return p > 0;
}

/* Waits for output or the end, until `until` (monotonic; 0: for ever). 1 ended, 0 something happened or time is up. */
static int wait_step(struct child *c, int64_t until, int *status, struct err *e)
{
	struct pollfd p[4] = {
		{c->from[0], POLLIN, 0}, {c->from[1], POLLIN, 0}, {c->pidfd, POLLIN, 0}, {c->signals, POLLIN, 0}};
	int64_t left = until ? until - clock_mono_ms() : -1;
	int timeout = until == 0 ? -1 : left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
	if (c->pidfd < 0 && (timeout < 0 || timeout > NO_PIDFD_POLL_MS))
		timeout = NO_PIDFD_POLL_MS;
	if (poll(p, 4, timeout) < 0 && errno != EINTR)
		return err_sys(e, "wait for '%s'", c->name);
	if (p[3].revents) /* stays pending, and acts when the mask is as it was */
		return err_new(e, ERR_FAILED, "'%s' was interrupted", c->name);
	for (int i = 0; i < 2; i++)
		if (c->from[i] >= 0 && p[i].revents && collect(c, i, e) < 0)
			return -1;
	if (c->pidfd < 0 || p[2].revents)
		return reap(c, status, e);
	return 0;
}

/* What the child left in its pipes. A grandchild that goes on writing is not waited for. */
static int drain(struct child *c, struct err *e)
{
	for (int i = 0; i < 2; i++) {
		for (size_t n = 0; c->from[i] >= 0 && n < DRAIN_MAX / 4096; n++) {
			struct pollfd p = {c->from[i], POLLIN, 0};
			if (poll(&p, 1, 0) <= 0)
				break;
			if (collect(c, i, e) < 0)
				return -1;
		}
	}
	return 0;
}

static void child_kill(struct child *c, bool group)
{
	if (c->pid <= 0)
		return;
	if (group)
		kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	c->pid = -1;
}

static void child_release(struct child *c)
{
	cleanup_fd(&c->from[0]);
	cleanup_fd(&c->from[1]);
	cleanup_fd(&c->pidfd);
	if (c->signals >= 0) {
		cleanup_fd(&c->signals);
		pthread_sigmask(SIG_SETMASK, &c->before, NULL);
	}
}

static int take_signals(struct child *c, struct err *e)
{
	static const int ending[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++) {
		struct sigaction now;
		if (sigaction(ending[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&set, ending[i]);
	}
	pthread_sigmask(SIG_BLOCK, &set, &c->before);
	c->signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (c->signals >= 0)
		return 0;
	pthread_sigmask(SIG_SETMASK, &c->before, NULL);
	return err_sys(e, "wait for signals");
}

/* The moment at which it is killed (monotonic); 0: none. */
static int64_t ends_at(const struct child *c, int64_t until)
{
	int64_t quiet = c->o->quiet_ms > 0 ? c->heard_ms + c->o->quiet_ms : 0;
	return until && (!quiet || until < quiet) ? until : quiet;
}

static int result_of(const struct child *c, int status, struct err *e)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	int sig = WTERMSIG(status);
	const char *text = sigdescr_np(sig);
	return err_new(e, ERR_FAILED, "'%s' was killed by signal %d (%s)", c->name, sig, text ? text : "unknown");
}

int proc_run(const struct proc_opts *o, struct err *e)
{
	cleanup_with(child_release) struct child c = {
		.name = o->argv[0], .pid = -1, .pidfd = -1, .from = {-1, -1}, .o = o, .signals = -1};
	c.to[0] = o->out;
	c.to[1] = o->errout;
	if ((o->signals && take_signals(&c, e) < 0) || start(o, &c, e) < 0)
		return -1;
	c.heard_ms = clock_mono_ms();
	int64_t until = o->deadline_ms > 0 ? c.heard_ms + o->deadline_ms : 0;
	int status = 0;
	for (;;) {
		int r = wait_step(&c, ends_at(&c, until), &status, e);
		if (r == 1)
			break;
		if (r < 0) {
			child_kill(&c, has_group(o));
			return -1;
		}
		int64_t end = ends_at(&c, until), now = clock_mono_ms();
		if (end && now >= end) {
			child_kill(&c, true);
			return until && now >= until
				       ? err_new(e, ERR_FAILED, "'%s' did not end within %lld ms and was killed",
						 c.name, (long long)o->deadline_ms)
				       : err_new(e, ERR_BUSY, "'%s' printed nothing for %lld ms and was killed", c.name,
						 (long long)o->quiet_ms);
		}
	}
	if (drain(&c, e) < 0)
		return -1;
	return result_of(&c, status, e);
}

static const int ignored_signals[] = {SIGPIPE, SIGXFSZ};
enum { IGNORED_N = sizeof(ignored_signals) / sizeof(ignored_signals[0]) };
static bool was_acting[IGNORED_N];

void proc_signals_ignore(void)
{
	for (size_t i = 0; i < IGNORED_N; i++) {
		struct sigaction old;
		was_acting[i] = sigaction(ignored_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN;
		signal(ignored_signals[i], SIG_IGN);
	}
}

void proc_signals_restore(void)
{
	for (size_t i = 0; i < IGNORED_N; i++)
		if (was_acting[i])
			signal(ignored_signals[i], SIG_DFL);
}
