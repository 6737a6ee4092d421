// SPDX-License-Identifier: Apache-2.0
#include "build/share.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "build/process.h"

enum {
	TICK_FIRST_MS = 1,
	TICK_LAST_MS = 50,
	RETRY_MS = 3,
	LEAVE_MS = 3000, /* how long who cancels waits for the step's end */
	OUTCOME_MAX = 8 << 10,
	CHUNK = 1 << 16,
	BEGIN_MS = 10000,
};

/* -- how it ended, as the runner writes it down --------------------------------------------------------------------------- */

static int put_outcome(int fd, const struct share_outcome *o, struct err *e)
{
	auto_buf b = BUF_INIT(OUTCOME_MAX);
	const struct sandbox_result *r = &o->result;
	buf_printf(&b, "%d %d %d %lld %lld %llu %llu %d %d\n", (int)o->end, (int)r->end, r->code, (long long)r->wall_us,
		   (long long)r->cpu_us, (unsigned long long)r->peak_bytes, (unsigned long long)r->forks_refused,
		   (int)o->err.code, o->err.sys);
	buf_put_c(&b, o->err.msg);
	return sys_pwrite(fd, b.p, b.n, 0) == (ssize_t)b.n ? 0 : err_sys(e, "write how a step ended");
}

/* SHARE_NONE where nothing is written yet. */
static void take_outcome(int fd, struct share_outcome *ret)
{
	char text[OUTCOME_MAX + 1];
	int end, ended, code, sys, at = 0;
	long long wall, cpu;
	unsigned long long peak, refused;
	struct sandbox_result *r = &ret->result;
	ssize_t n = pread(fd, text, OUTCOME_MAX, 0);
	ret->end = SHARE_NONE;
	if (n <= 0)
		return;
	text[n] = '\0';
	if (sscanf(text, "%d %d %d %lld %lld %llu %llu %d %d%n", &end, &ended, &r->code, &wall, &cpu, &peak, &refused,
		   &code, &sys, &at) != 9 ||
	    text[at] != '\n')
		return;
	r->end = (enum sandbox_end)ended;
	r->wall_us = wall;
	r->cpu_us = cpu;
	r->peak_bytes = peak;
	r->forks_refused = refused;
	ret->end = (enum share_end)end;
	if (ret->end == SHARE_FAILED)
		err_new(&ret->err, (enum err_code)code, "%s", text + at + 1);
	ret->err.sys = sys;
}

/* -- the meeting point --------------------------------------------------------------------------------------------------------- */

struct meeting {
	int run_fd; /* DIR/run */
	char name[LAYER_ID_HEX + 1], users[LAYER_ID_HEX + 8];
	int lock_fd;  /* DIR/run/<id>; mine: locked by us */
	int read_fd;  /* mine: the runner's end of the pipe */
	int write_fd; /* held for as long as one follows */
	bool mine;
};
static void meeting_release(struct meeting *m)
{
	cleanup_fd(&m->run_fd);
	cleanup_fd(&m->lock_fd);
	cleanup_fd(&m->read_fd);
	cleanup_fd(&m->write_fd);
}
#define auto_meeting cleanup_with(meeting_release) struct meeting

static bool is_still_named(const struct meeting *m)
{
	return fs_is_still(m->run_fd, m->name, m->lock_fd);
}

/* What killed runners left of steps that nobody may ever want again. Who removes holds the lock of that name (made where it is missing), as who
 * meets there does: else it could be a new runner's pipe and lock that go. */
static void clear_stale(const struct meeting *m)
{
	enum { NAMES_MAX = 100000 };
	struct err ignored = ERR_INIT;
	auto_fs_list l = {0};
	char base[LAYER_ID_HEX + 1], users[LAYER_ID_HEX + 8];
	if (fs_list(m->run_fd, ".", NAMES_MAX, &l, &ignored) < 0)
		return;
	for (size_t i = 0; i < l.n; i++) {
		if (strlen(l.name[i]) < LAYER_ID_HEX || strncmp(l.name[i], m->name, LAYER_ID_HEX) == 0)
			continue;
		snprintf(base, sizeof(base), "%.*s", LAYER_ID_HEX, l.name[i]);
		snprintf(users, sizeof(users), "%s.users", base);
		auto_fd lock = sys_openat(m->run_fd, base, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0 || !fs_is_still(m->run_fd, base, lock))
			continue;
		sys_unlinkat(m->run_fd, users, 0);
		sys_unlinkat(m->run_fd, base, 0);
	}
}

/* The lock is ours: the pipe is made, with both ends. */
static int open_house(struct meeting *m, struct err *e)
{
	clear_stale(m);
	if (sys_unlinkat(m->run_fd, m->users, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s'", m->users);
	if (sys_mkfifoat(m->run_fd, m->users, 0600) < 0)
		return err_sys(e, "make '%s'", m->users);
	m->read_fd = openat(m->run_fd, m->users, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	m->write_fd = openat(m->run_fd, m->users, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (m->read_fd < 0 || m->write_fd < 0)
		return err_sys(e, "open '%s'", m->users);
	m->mine = true;
	return 1;
}

/* Somebody runs it: 1 we follow; 0 it is about to begin, or to end: try again. */
static int follow(struct meeting *m)
{
	m->write_fd = openat(m->run_fd, m->users, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	return m->write_fd >= 0 && is_still_named(m);
}

/* 1 where m is ours to run, or followed; 0 try again; -1. */
static int meet(struct meeting *m, struct err *e)
{
	int fd = sys_openat(m->run_fd, m->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool made = fd >= 0;
	if (!made && errno == EEXIST)
		fd = openat(m->run_fd, m->name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return err_sys(e, "open 'run/%s'", m->name);
	m->lock_fd = fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? follow(m) : err_sys(e, "lock 'run/%s'", m->name);
	if (made && is_still_named(m))
		return open_house(m, e);
	/* a killed runner's: its followers hold on to this file, so the next run has one of its own */
	if (is_still_named(m) && sys_unlinkat(m->run_fd, m->name, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove 'run/%s'", m->name);
	return 0;
}

/* -- the runner ------------------------------------------------------------------------------------------------------------------ */

/* The log goes to who started the runner at once: it is there to be read even if the step comes to nothing before we look. */
static void send_log(int to_fd, struct layers *l, const struct layer_id *id)
{
	struct err none = ERR_INIT;
	auto_fd log_fd = layer_open_log(l, id, &none);
	if (log_fd >= 0)
		fd_send(to_fd, log_fd);
}

/* Of a runner that was killed, what it had begun may take a moment to end. */
static int begin(const struct share_opts *o, struct layer_work **ret, struct err *e)
{
	for (int64_t until = clock_mono_ms() + BEGIN_MS;;) {
		if (layer_begin(o->layers, o->id, o->parent, ret, e) == 0)
			return 0;
		if (e->code != ERR_BUSY || clock_mono_ms() >= until)
			return -1;
		int rc = layer_wait(o->layers, o->id, BEGIN_MS, e);
		if (rc < 0)
			return -1;
	}
}

static int do_work(const struct share_opts *o, const struct meeting *m, int starter_fd, struct share_outcome *ret,
		   struct err *e)
{
	auto_ptr(layer_work) w = NULL;
	if (begin(o, &w, e) < 0) {
		if (e->code != ERR_EXISTS)
			return -1;
		send_log(starter_fd, o->layers, o->id); /* another one made it since we looked */
		ret->end = SHARE_SAVED;
		return 0;
	}
	send_log(starter_fd, o->layers, o->id);
	int rc = o->work(o->ctx, w, m->read_fd, ret, e);
	bool saved = rc == 0 && ret->end == SHARE_SAVED;
	if (saved)
		w = NULL; /* committed */
	if (rc < 0) {
		ret->end = SHARE_FAILED;
		ret->err = *e;
	}
	/* who comes from here on waits for the end */
	struct err unwritten = ERR_INIT;
	if (!saved)
		put_outcome(m->lock_fd, ret, &unwritten);
	return rc;
}

static void end_house(const struct meeting *m)
{
	sys_unlinkat(m->run_fd, m->users, 0);
	sys_unlinkat(m->run_fd, m->name, 0);
}

static _Noreturn void run(const struct share_opts *o, struct meeting *m, int starter_fd)
{
	struct share_outcome outcome = {0};
	struct err e = ERR_INIT;
	cleanup_fd(&m->write_fd);
	process_alone();
	if (do_work(o, m, starter_fd, &outcome, &e) < 0) {
		outcome.end = SHARE_FAILED;
		outcome.err = e;
	}
	put_outcome(m->lock_fd, &outcome, &e);
	end_house(m);
	_exit(0);
}

/* -- whoever follows --------------------------------------------------------------------------------------------------------------- */

struct view {
	const struct share_opts *o;
	int log_fd;
	off_t at;
	bool cancelled;
};

/* What was printed since; true where there was something. */
static bool show(struct view *v)
{
	bool any = false;
	char text[CHUNK];
	for (;;) {
		ssize_t n = v->log_fd < 0 ? 0 : pread(v->log_fd, text, sizeof(text), v->at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return any;
		v->o->output(v->o->log_ctx, str_of(text, (size_t)n));
		v->at += n;
		any = true;
	}
}

static void open_log(struct view *v)
{
	struct err none = ERR_INIT;
	if (v->log_fd < 0)
		v->log_fd = layer_open_log(v->o->layers, v->o->id, &none);
}

/* A maker that was about to begin may have had to begin once more, with another log. */
static void open_log_again(struct view *v)
{
	struct stat st;
	if (v->log_fd >= 0 && v->at == 0 && fstat(v->log_fd, &st) == 0 && st.st_nlink == 0)
		cleanup_fd(&v->log_fd);
	open_log(v);
}

/* The layer is there: what is shown is its log, all of it. */
static void show_whole(struct view *v)
{
	struct stat own, whole;
	struct err none = ERR_INIT;
	auto_fd fd = layer_open_log(v->o->layers, v->o->id, &none);
	if (fd < 0 || fstat(fd, &whole) < 0 ||
	    (v->log_fd >= 0 && fstat(v->log_fd, &own) == 0 && own.st_ino == whole.st_ino && own.st_dev == whole.st_dev))
		return;
	cleanup_fd(&v->log_fd);
	v->log_fd = steal_fd(&fd);
	v->at = 0;
	show(v);
}

/* Our own runner sends its log; then it ends (true). */
static bool hear(struct view *v, int end_fd)
{
	char byte;
	int fd;
	if (fd_receive(end_fd, &byte, 1, &fd) <= 0)
		return true;
	v->log_fd = fd;
	return false;
}

static bool is_over(const struct meeting *m)
{
	if (flock(m->lock_fd, LOCK_SH | LOCK_NB) < 0)
		return false;
	flock(m->lock_fd, LOCK_UN);
	return true;
}

/* Until the runner has ended (true), or we were cancelled (false). */
static bool watch(struct view *v, struct meeting *m, int end_fd)
{
	int tick_ms = TICK_FIRST_MS;
	int64_t leave_at = 0;
	for (;;) {
		struct pollfd p[2] = {{.fd = end_fd, .events = POLLIN},
				      {.fd = v->cancelled ? -1 : v->o->cancel_fd, .events = POLLIN}};
		int n = poll(p, 2, tick_ms);
		if (n > 0 && p[1].revents) {
			v->cancelled = true;
			cleanup_fd(&m->write_fd);
			leave_at = clock_mono_ms() + LEAVE_MS;
		}
		bool over = end_fd >= 0 ? n > 0 && p[0].revents && hear(v, end_fd) : is_over(m);
		if (end_fd < 0 && !over)
			open_log_again(v);
		bool any = show(v);
		if (over)
			return true;
		if (v->cancelled && (end_fd < 0 || clock_mono_ms() >= leave_at))
			return false;
		tick_ms = any ? TICK_FIRST_MS * 4 : tick_ms < TICK_LAST_MS ? tick_ms * 2 : TICK_LAST_MS;
	}
}

static void replay(const struct share_opts *o)
{
	struct view v = {.o = o, .log_fd = -1};
	if (o->no_replay)
		return;
	open_log(&v);
	show(&v);
	cleanup_fd(&v.log_fd);
}

/* What it came to. 1 done; 0 it has to be tried again. */
static int settle(const struct share_opts *o, const struct meeting *m, struct view *v, bool over, struct arena *a,
		  struct share_outcome *ret, struct err *e)
{
	int found = layer_find(o->layers, o->id, a, &ret->info, e);
	if (found < 0)
		return -1;
	take_outcome(m->lock_fd, ret);
	ret->followed = !m->mine;
	if (found) {
		show_whole(v);
		ret->end = SHARE_SAVED;
		return 1;
	}
	if (v->cancelled) {
		ret->end = SHARE_CANCELLED;
		return 1;
	}
	if (ret->end == SHARE_STOPPED || ret->end == SHARE_FAILED)
		return 1;
	if (over && ret->end == SHARE_NONE && m->mine)
		return err_new(e, ERR_FAILED, "the process that ran the step was killed; build again");
	o->note(o->log_ctx, ret->end == SHARE_CANCELLED ? "Waiting for previous build to finish cancelling"
							: "The builder of this step was killed; starting again");
	return 0;
}

static int start_and_watch(const struct share_opts *o, struct meeting *m, struct arena *a, struct share_outcome *ret,
			   struct err *e)
{
	struct view v = {.o = o, .log_fd = -1};
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "make a pair of sockets");
	auto_fd end_fd = pair[0];
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		run(o, m, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		err_sys(e, "start a process for the step");
		end_house(m);
		return -1;
	}
	cleanup_fd(&m->read_fd);
	bool over = watch(&v, m, end_fd);
	if (over)
		waitpid(pid, NULL, 0);
	int rc = settle(o, m, &v, over, a, ret, e);
	cleanup_fd(&v.log_fd);
	return rc;
}

/* It ends already, and not with a layer: what it says is not ours to follow. */
static int wait_for_end(const struct share_opts *o, const struct meeting *m)
{
	struct pollfd p = {.fd = o->cancel_fd, .events = POLLIN};
	o->note(o->log_ctx, "Waiting for previous build to finish cancelling");
	while (!is_over(m) && poll(&p, 1, RETRY_MS * 2) == 0)
		;
	return 0;
}

static int follow_and_watch(const struct share_opts *o, struct meeting *m, struct arena *a, struct share_outcome *ret,
			    struct err *e)
{
	struct view v = {.o = o, .log_fd = -1};
	take_outcome(m->lock_fd, ret);
	if (ret->end != SHARE_NONE && ret->end != SHARE_SAVED)
		return wait_for_end(o, m);
	bool over = watch(&v, m, -1);
	bool seen = v.log_fd >= 0;
	int rc = settle(o, m, &v, over, a, ret, e);
	cleanup_fd(&v.log_fd);
	return rc == 1 && !seen && ret->end == SHARE_STOPPED ? 0 : rc; /* nothing of it was shown: see for ourselves */
}

static bool is_cancelled(const struct share_opts *o)
{
	struct pollfd p = {.fd = o->cancel_fd, .events = POLLIN};
	return o->cancel_fd >= 0 && poll(&p, 1, 0) > 0;
}

/* 1 done, 0 try again, -1. */
static int attempt(const struct share_opts *o, struct arena *a, struct share_outcome *ret, struct err *e)
{
	auto_meeting m = {.run_fd = -1, .lock_fd = -1, .read_fd = -1, .write_fd = -1};
	m.run_fd = fs_open_dir_make(layers_dirfd(o->layers), "run", e);
	if (m.run_fd < 0)
		return -1;
	snprintf(m.name, sizeof(m.name), "%s", o->id->hex);
	snprintf(m.users, sizeof(m.users), "%s.users", o->id->hex);
	int rc = meet(&m, e);
	if (rc > 0)
		rc = m.mine ? start_and_watch(o, &m, a, ret, e) : follow_and_watch(o, &m, a, ret, e);
	return rc;
}

int share_step(const struct share_opts *o, struct arena *a, struct share_outcome *ret, struct err *e)
{
	for (;;) {
		*ret = (struct share_outcome){0};
		int rc = layer_find(o->layers, o->id, a, &ret->info, e);
		if (rc < 0)
			return -1;
		if (rc > 0) {
			ret->end = SHARE_FOUND;
			replay(o);
			return 0;
		}
		if (is_cancelled(o)) {
			ret->end = SHARE_CANCELLED;
			return 0;
		}
		rc = attempt(o, a, ret, e);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		struct pollfd p = {.fd = o->cancel_fd, .events = POLLIN};
		poll(&p, 1, RETRY_MS);
	}
}
