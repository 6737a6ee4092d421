// SPDX-License-Identifier: Apache-2.0
/* A job's log, as it grows. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>

#include "job/rows.h"

enum { CHUNK = 64 * 1024 };

struct follower {
	struct job_queue *q;
	uint64_t id;
	const struct job_follow_opts *o;
	const struct job_backend *backend;
	struct job_info *now;
	struct arena *a;
	int log, watch;
	off_t at;
	bool soon;
	enum job_wait wait_said;
	bool said;
};

/* What is there beyond what was written already. */
static int copy(struct follower *f, struct err *e)
{
	static char chunk[CHUNK];
	for (;;) {
		ssize_t n = pread(f->log, chunk, sizeof(chunk), f->at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read the log of job %llu", (unsigned long long)f->id);
		if (n == 0)
			return 0;
		f->at += n;
		if (f->o->write(f->o->ctx, str_of(chunk, (size_t)n), e) < 0)
			return -1;
	}
}

static int look(struct follower *f, struct err *e)
{
	int rc = queue_settle(f->q, e);
	f->soon = rc > 0;
	if (rc < 0 || (f->backend && backend_refresh(f->q, e) < 0))
		return -1;
	arena_release(f->a);
	if (job_get(f->q, f->id, f->a, f->now, e) < 0)
		return -1;
	if (f->o->on_wait && (f->now->state == JOB_WAITING || f->said) && f->now->wait != f->wait_said) {
		f->wait_said = f->now->wait;
		f->said = true;
		f->o->on_wait(f->o->ctx, f->now);
	}
	return 0;
}

/* 1: something beyond the log may have changed; -1 with ERR_BUSY: told to stop. */
static int wait_for(struct follower *f, struct err *e)
{
	struct pollfd p[2] = {{.fd = f->watch, .events = POLLIN}, {.fd = f->o->cancel_fd, .events = POLLIN}};
	int64_t ms = f->watch < 0 ? QUEUE_BLIND_MS : QUEUE_LOOK_MS;
	if (f->backend && f->backend->poll_ms < ms)
		ms = f->backend->poll_ms;
	if (f->soon)
		ms = QUEUE_SOON_MS;
	int n = poll(p, 2, (int)ms);
	if (n < 0 && errno != EINTR)
		return err_sys(e, "wait for job %llu", (unsigned long long)f->id);
	if (p[1].revents)
		return err_new(e, ERR_BUSY, "interrupted");
	if (n == 0) {
		f->soon = false;
		return 1;
	}
	enum queue_watched saw = p[0].revents ? queue_watch_read(f->watch) : 0;
	f->soon |= (saw & QUEUE_SAW_CLOSE) != 0;
	return saw != 0;
}

static int follow(struct follower *f, struct err *e)
{
	int changed = 1;
	for (;;) {
		bool soon = false;
		if (changed) {
			soon = f->soon;
			if (look(f, e) < 0)
				return -1;
			f->soon |= soon;
		}
		/* the closing lines are there before the row says that it has ended */
		if (copy(f, e) < 0)
			return -1;
		if (!f->o->wait || job_has_ended(f->now->state))
			return 0;
		changed = wait_for(f, e);
		if (changed < 0)
			return -1;
	}
}

int job_follow(struct job_queue *q, uint64_t id, const struct job_follow_opts *o, struct arena *a, struct job_info *ret,
	       struct err *e)
{
	char path[40];
	auto_arena scratch = ARENA_INIT;
	struct follower f = {.q = q, .id = id, .o = o, .now = ret, .a = &scratch, .at = (off_t)o->from};
	if (job_get(q, id, &scratch, ret, e) < 0)
		return -1;
	f.backend = queue_backend(q, ret->pool);
	snprintf(path, sizeof(path), "log/%llu", (unsigned long long)id);
	auto_fd log = openat(q->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (log < 0)
		return err_sys(e, "open '%s/%s'", q->dir, path);
	auto_fd watch = o->wait ? queue_watch(q, id) : -1;
	f.log = log;
	f.watch = watch;
	if (follow(&f, e) < 0)
		return -1;
	return job_get(q, id, a, ret, e);
}
