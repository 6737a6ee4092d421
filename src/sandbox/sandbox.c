// SPDX-License-Identifier: Apache-2.0
/* The caller's side of a sandbox: what it needs is prepared, pid 1 started, watched, reaped. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "sandbox/box.h"
#include "sandbox/kernel.h"

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int check_root(const struct sandbox_root *r, struct err *e)
{
	if (!r->dir && r->n_lower == 0 && !r->upper)
		return err_new(e, ERR_USAGE, "a sandbox needs a root");
	if (!r->dir && !r->upper != !r->work)
		return err_new(e, ERR_USAGE, "layers to write to need two folders");
	return r->n_lower > BOX_LOWER_MAX ? err_new(e, ERR_LIMIT, "%zu layers: more than %d", r->n_lower, BOX_LOWER_MAX)
					  : 0;
}

static int check_opts(const struct box *b, struct err *e)
{
	const struct sandbox_opts *o = b->o;
	if (check_root(&o->root, e) < 0)
		return -1;
	if (o->n_mounts > BOX_MOUNTS_MAX || o->n_secrets > BOX_SECRETS_MAX || b->n_fds > BOX_FDS_MAX)
		return err_new(e, ERR_LIMIT, "more mounts, secrets or files than a sandbox can have");
	for (size_t i = 0; i < o->n_mounts; i++)
		if (o->mounts[i].root && check_root(o->mounts[i].root, e) < 0)
			return -1;
	for (size_t i = 0; i < o->n_secrets; i++)
		if (o->secrets[i].value.n > BOX_SECRET_MAX)
			return err_new(e, ERR_LIMIT, "secret '%s' is larger than %d bytes", o->secrets[i].target,
				       BOX_SECRET_MAX);
	if (!b->fn && (!o->argv || !o->argv[0]))
		return err_new(e, ERR_USAGE, "no command");
	return 0;
}

/* ---- starting ---- */

static uint64_t namespaces(const struct box *b)
{
	uint64_t flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
	if (!b->o->network_host)
		flags |= CLONE_NEWNET;
	return flags;
}

/* A process in between: an unprivileged one enters its user namespace, so that the others are owned by that; one of a
 * program with threads is a fork of the C library, whose locks are free. Its child is the caller's. */
static pid_t start_through(struct box *b, struct err *e)
{
	struct shared {
		pid_t pid;
		int errnum;
	} *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return err_sys(e, "start a sandbox");
	pid_t middle = fork();
	if (middle == 0) {
		if (b->ids == BOX_IDS_RANGE || b->ids == BOX_IDS_ONE)
			if (setns(b->userns_fd, CLONE_NEWUSER) < 0) {
				shared->errnum = errno;
				_exit(1);
			}
		pid_t pid = k_clone(namespaces(b) | CLONE_PARENT, 0);
		if (pid == 0)
			box_inside(b);
		shared->errnum = errno;
		shared->pid = pid;
		_exit(0);
	}
	pid_t pid = -1;
	int errnum = middle < 0 ? errno : 0;
	if (middle > 0) {
		while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
			;
		pid = shared->pid > 0 ? shared->pid : -1;
		errnum = shared->errnum;
	}
	munmap(shared, sizeof(*shared));
	return pid < 0 ? err_errno(e, errnum, "start a sandbox") : pid;
}

static pid_t start(struct box *b, struct err *e)
{
	if (b->ids == BOX_IDS_RANGE || b->ids == BOX_IDS_ONE || !__libc_single_threaded)
		return start_through(b, e);
	pid_t pid = k_clone(namespaces(b), 0);
	if (pid == 0)
		box_inside(b);
	return pid < 0 ? err_sys(e, "start a sandbox") : pid;
}

/* ---- watching ---- */

struct wait {
	struct box *b;
	pid_t pid;
	int report_fd;
	int64_t start_us;
	int printed_fd; /* what it prints; -1: not through here, or all of it was read */
	uint64_t printed;
	int print_failed; /* errno of out_fd */
	int64_t next_oom_us;
};
enum { OOM_TICK_MS = 200 };

/* Reads what pid 1 says last. False: it said nothing. */
static bool read_report(int fd, struct box_report *r)
{
	size_t n = 0;
	while (n < sizeof(*r)) {
		ssize_t got = read(fd, (char *)r + n, sizeof(*r) - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	return true;
}

/* ---- what it prints ---- */

/*
 * A file gets it through a pipe. With the file itself a step could do more than print: cut it, change its mode or owner so that nobody can
 * read it any more, take blocks of the disk that its size does not show. And "/dev/stderr", opened by name, is a file that is another's,
 * or loses what was in it. Any user of the sandbox may open this pipe so.
 */
static int make_pipe(struct wait *w, int *ret_out_fd, struct err *e)
{
	const struct sandbox_opts *o = w->b->o;
	struct stat st;
	int fds[2];
	w->b->out_fd = o->out_fd;
	if (w->b->fn || fstat(o->out_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	w->printed_fd = fds[0];
	w->b->out_fd = *ret_out_fd = fds[1];
	return fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 || fchmod(fds[1], 0222) < 0 /* style: allow sys: a pipe */
		       ? err_sys(e, "prepare a pipe")
		       : 0;
}

enum { CHUNK = 64 << 10 };

/* One piece, at most n bytes. 0: there is none now, or out_fd takes no more. */
static size_t print_some(struct wait *w, size_t n)
{
	char text[CHUNK];
	ssize_t got = w->printed_fd < 0 ? 0 : read(w->printed_fd, text, n < CHUNK ? n : CHUNK);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	struct err e = ERR_INIT;
	if (got > 0 && fs_write_all(w->b->o->out_fd, text, (size_t)got, "output", &e) < 0)
		w->print_failed = e.sys ? e.sys : EIO;
	if (got <= 0 || w->print_failed) {
		cleanup_fd(&w->printed_fd);
		return 0;
	}
	w->printed += (uint64_t)got;
	return (size_t)got;
}

static void stop_printing(struct wait *w)
{
	cleanup_fd(&w->printed_fd);
}

/* When all who print are dead. No more than there is then: something outside may have been given the pipe, and go on. */
static void print_rest(struct wait *w)
{
	int left = 0;
	if (w->printed_fd < 0 || ioctl(w->printed_fd, FIONREAD, &left) < 0)
		return;
	while (left > 0) {
		size_t n = print_some(w, (size_t)left);
		if (n == 0)
			break;
		left -= (int)n;
	}
}

/* The older control groups tell nobody: they are asked. */
static bool is_oom_now(struct wait *w)
{
	int64_t now = now_us();
	if (!w->b->cgroup->memory || w->b->cgroup->unified || now < w->next_oom_us)
		return false;
	w->next_oom_us = now + OOM_TICK_MS * 1000;
	return box_cgroup_is_oom(w->b->cgroup);
}

/* How it was ended from here, or -1: pid 1 reports or is gone. */
static int watch(struct wait *w)
{
	const struct sandbox_opts *o = w->b->o;
	w->next_oom_us = w->start_us + OOM_TICK_MS * 1000;
	int64_t deadline = o->limits.time_ms > 0 ? w->start_us + o->limits.time_ms * 1000 : 0;
	for (;;) {
		struct pollfd fds[] = {{.fd = w->report_fd, .events = POLLIN},
				       {.fd = o->cancel_fd, .events = POLLIN},
				       {.fd = w->printed_fd, .events = POLLIN}};
		int64_t left_ms = deadline ? (deadline - now_us() + 999) / 1000 : INT64_MAX;
		if (left_ms <= 0)
			return SANDBOX_TIME;
		if (w->b->cgroup->memory && !w->b->cgroup->unified && left_ms > OOM_TICK_MS)
			left_ms = OOM_TICK_MS;
		int r = poll(fds, 3, left_ms > INT32_MAX ? -1 : (int)left_ms);
		if (r > 0 && fds[0].revents)
			return -1;
		if (r > 0 && fds[1].revents)
			return SANDBOX_CANCELLED;
		if (r > 0 && fds[2].revents)
			print_some(w, CHUNK);
		if (w->print_failed)
			return SANDBOX_CANCELLED;
		if (o->limits.output_bytes && w->printed > o->limits.output_bytes)
			return SANDBOX_OUTPUT;
		if (is_oom_now(w))
			return SANDBOX_MEMORY;
	}
}

static void reap(pid_t pid, int64_t *cpu_us, uint64_t *peak_bytes)
{
	struct rusage u = {0};
	while (wait4(pid, NULL, __WALL, &u) < 0 && errno == EINTR)
		;
	*cpu_us = (int64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
	*peak_bytes = (uint64_t)u.ru_maxrss * 1024;
}

/* 1: once more, with other ids. */
static int finish(struct wait *w, int ended, struct box_report *r, bool said, struct sandbox_result *ret, struct err *e)
{
	bool oom = box_cgroup_is_oom(w->b->cgroup);
	if (ended >= 0) {
		ret->end = (enum sandbox_end)ended;
	} else if (said && r->kind == BOX_STARTED_NOT) {
		*e = r->e;
		return -1;
	} else if (said && r->kind == BOX_NO_IDMAP) {
		return 1;
	} else if (oom) {
		ret->end = SANDBOX_MEMORY;
	} else if (!said) {
		return err_new(e, ERR_FAILED, "the first process of the sandbox was killed");
	} else if (r->kind == BOX_OVER) {
		ret->end = r->end;
	} else {
		ret->end = WIFSIGNALED(r->status) ? SANDBOX_SIGNALLED : SANDBOX_EXITED;
		ret->code = WIFSIGNALED(r->status) ? WTERMSIG(r->status) : WEXITSTATUS(r->status);
	}
	return 0;
}

static int run_once(struct box *b, struct sandbox_result *ret, struct err *e)
{
	int report[2], life[2];
	if (box_ids_get(b, e) < 0)
		return err_ctx(e, "sandbox");
	auto_fd userns_fd = b->userns_fd;
	/* the machine's root could do there, in a /proc of its own, what it may: nothing is covered in it */
	if (b->o->nested && b->ids == BOX_IDS_PLAIN)
		return err_new(e, ERR_UNSUPPORTED,
			       "sandboxes inside a sandbox need ids mapped away from root's, which cannot be had here");
	if (pipe2(report, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	auto_fd report_in = report[0], report_out = report[1];
	if (pipe2(life, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	auto_fd life_in = life[0], life_out = life[1];
	struct box_cgroup cgroup;
	box_cgroup_make(&b->o->limits, &cgroup);
	b->cgroup = &cgroup;
	b->report_fd = report_out;
	b->life_fd = life_in;
	cleanup_with(
		stop_printing) struct wait w = {.b = b, .report_fd = report_in, .start_us = now_us(), .printed_fd = -1};
	auto_fd print_out = -1;
	w.pid = make_pipe(&w, &print_out, e) < 0 ? -1 : start(b, e);
	if (w.pid < 0) {
		box_cgroup_remove(&cgroup, ret);
		return -1;
	}
	cleanup_fd(&report_out);
	cleanup_fd(&life_in);
	cleanup_fd(&print_out);
	struct box_report r = {0};
	int ended = watch(&w);
	bool said = ended < 0 && read_report(report_in, &r);
	kill(w.pid, SIGKILL);
	reap(w.pid, &ret->cpu_us, &ret->peak_bytes);
	ret->wall_us = now_us() - w.start_us;
	print_rest(&w);
	int rc = finish(&w, ended, &r, said, ret, e);
	box_cgroup_remove(&cgroup, ret);
	return rc == 0 && w.print_failed ? err_errno(e, w.print_failed, "keep what the command prints") : rc;
}

static int run(struct box *b, struct sandbox_result *ret, struct err *e)
{
	if (check_opts(b, e) < 0)
		return -1;
	*ret = (struct sandbox_result){0};
	int rc = run_once(b, ret, e);
	if (rc == 1) {
		box_ids_no_idmap();
		*ret = (struct sandbox_result){0};
		rc = run_once(b, ret, e);
	}
	return rc == 1 ? err_new(e, ERR_UNSUPPORTED, "ids cannot be mapped on this file system") : rc;
}

int sandbox_run(const struct sandbox_opts *o, struct sandbox_result *ret, struct err *e)
{
	size_t n = 0;
	while (o->envp && o->envp[n])
		n++;
	auto_free const char **envp = xcalloc(n + 2, sizeof(*envp));
	for (size_t i = 0; i < n; i++)
		envp[i] = o->envp[i];
	struct box b = {.o = o, .envp = envp};
	return run(&b, ret, e);
}

int sandbox_call(const struct sandbox_opts *o, const int *fds, size_t n_fds, sandbox_fn *fn, void *ctx, struct err *e)
{
	struct sandbox_result res;
	struct sandbox_opts mine = *o;
	mine.limits = (struct sandbox_limits){.time_ms = o->limits.time_ms};
	mine.network_host = false;
	mine.out_fd = 2;
	struct box b = {.o = &mine, .fn = fn, .ctx = ctx, .fds = fds, .n_fds = n_fds};
	if (run(&b, &res, e) < 0)
		return -1;
	if (res.end == SANDBOX_CANCELLED)
		return err_new(e, ERR_FAILED, "cancelled");
	if (res.end == SANDBOX_TIME)
		return err_new(e, ERR_FAILED, "took longer than %lld s", (long long)(o->limits.time_ms / 1000));
	return 0;
}
