// SPDX-License-Identifier: Apache-2.0
/*
 * A member of a pair that only pretends: it keeps what it was told in a file, and does what `far` says. In a process of its own behind
 * a link (far_begin), or in this one (far_member).
 */
#pragma once

#include "lib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "pair/copy.h"
#include "pair/message.h"
#include "pair/session.h"

struct far {
	struct member m;
	const char *log;  /* a path */
	int slow_ms;	  /* what run takes */
	int busy;	  /* holds that fail first */
	struct err fails; /* what run fails with */
	struct upgrade_check *checks;
	size_t checks_n;
	struct pair_member_status status;
	struct pair_role role;
};

__attribute__((format(printf, 2, 3))) static void far_log(struct far *f, const char *fmt, ...)
{
	char line[16384];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (!f->log)
		return;
	auto_fd fd = open(f->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, line, (size_t)n) == n);
}

static int far_look(struct member *m, struct arena *a, struct str env, struct pair_member_status *ret, struct err *e)
{
	struct far *f = (struct far *)m;
	(void)a, (void)e;
	far_log(f, "look %.*s\n", STR_ARG(env));
	*ret = f->status;
	return 0;
}

static int far_outcome(struct member *m, struct arena *a, struct str env, struct str id, struct str *ret,
		       bool *ret_held, struct err *e)
{
	(void)a, (void)e;
	far_log((struct far *)m, "outcome %.*s %.*s\n", STR_ARG(env), STR_ARG(id));
	*ret = STR("committed");
	*ret_held = true;
	return 0;
}

static int far_hold(struct member *m, struct str env, int64_t wait_ms, struct err *e)
{
	struct far *f = (struct far *)m;
	if (f->busy-- > 0) {
		(void)poll(NULL, 0, (int)wait_ms);
		return err_new(e, ERR_BUSY, "held by somebody else");
	}
	far_log(f, "hold %.*s%s%s%s%s\n", STR_ARG(env), m->who ? " by " : "", m->who ? m->who : "",
		m->command ? ": " : "", m->command ? m->command : "");
	return 0;
}

static void far_release(struct member *m)
{
	far_log((struct far *)m, "release\n");
}

static int far_preflight(struct member *m, const struct upgrade_request *q, struct arena *a, struct upgrade_check **ret,
			 size_t *ret_n, struct err *e)
{
	struct far *f = (struct far *)m;
	(void)q, (void)a, (void)e;
	*ret = f->checks;
	*ret_n = f->checks_n;
	return 0;
}

static int far_run(struct member *m, const struct upgrade_request *q, struct err *e)
{
	struct far *f = (struct far *)m;
	const char *at_length[] = {"begun", "ended"};
	far_log(f, "run %d %d%d%d%d%d%d%d%d %lld %u %s %s packages %u\n", q->verb, q->issu, q->then_activate,
		q->then_commit, q->keep_state, q->stop_at_deprecated, q->by_timer, q->lays_out_anew, q->paired,
		(long long)q->timer_ms, q->generation, q->operation ? q->operation : "-",
		q->operation_id ? q->operation_id : "-", q->plan ? q->plan->target.packages_n : 0);
	if (q->prepare && q->prepare(q->prepare_ctx, e) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		if (m->event)
			m->event(m->ctx, &(struct upgrade_event){.kind = UPGRADE_EVENT_MEMBER,
								 .done = i == 1,
								 .text = at_length[i],
								 .failure = f->fails.code ? &f->fails : NULL,
								 .at_ms = 5});
		if (i == 0 && f->slow_ms)
			(void)poll(NULL, 0, f->slow_ms);
	}
	far_log(f, "ran\n");
	if (f->fails.code != ERR_NONE) {
		err_new(e, f->fails.code, "%s", f->fails.msg);
		e->sys = f->fails.sys;
		return -1;
	}
	return 0;
}

static int far_settle(struct member *m, struct err *e)
{
	(void)e;
	far_log((struct far *)m, "settle\n");
	return 1;
}

static int far_traffic(struct member *m, const struct traffic_step *s, int64_t wait_ms,
		       enum traffic_step_kind *ret_undo, struct err *e)
{
	(void)e;
	far_log((struct far *)m, "traffic %d %u %u on %u %lld\n", s->kind, s->driver, s->member, s->on,
		(long long)wait_ms);
	*ret_undo = TRAFFIC_SET_READY;
	return 0;
}

static int far_hold_role(struct member *m, int64_t wait_ms, struct err *e)
{
	(void)e;
	far_log((struct far *)m, "hold role %lld\n", (long long)wait_ms);
	return 0;
}

static int far_role_get(struct member *m, struct arena *a, struct pair_role *ret, struct err *e)
{
	(void)a, (void)e;
	*ret = ((struct far *)m)->role;
	return 0;
}

static int far_role_set(struct member *m, const struct pair_role *r, struct err *e)
{
	(void)e;
	far_log((struct far *)m, "role %llu %u %lld '%.*s' %llu %llu\n", (unsigned long long)r->epoch, r->active,
		(long long)r->since_ms, STR_ARG(r->reason), (unsigned long long)r->switch_overs,
		(unsigned long long)r->standby_failures);
	return 0;
}

static int far_stage(struct member *m, struct str id, const struct env_operation_step *s, struct err *e)
{
	(void)e;
	far_log((struct far *)m, "log %.*s %.*s: %.*s %lld %lld\n", STR_ARG(id), STR_ARG(s->name), STR_ARG(s->result),
		(long long)s->started_ms, (long long)s->ended_ms);
	return 0;
}

static void far_free(struct member *m)
{
	(void)m;
}

static void far_member(struct far *f)
{
	static const struct member_ops ops = {
		.look = far_look,
		.outcome = far_outcome,
		.hold = far_hold,
		.release = far_release,
		.preflight = far_preflight,
		.run = far_run,
		.settle = far_settle,
		.traffic = far_traffic,
		.hold_role = far_hold_role,
		.role_get = far_role_get,
		.role_set = far_role_set,
		.free = far_free,
		.log = far_stage,
	};
	f->m.ops = &ops;
	f->m.number = 2;
}

/* Serves it in a child, on the other end of *ret_link. */
__attribute__((unused)) static pid_t far_begin(struct far *f, const struct pair_opts *o, struct link **ret_link)
{
	int fds[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	far_member(f);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		struct err e = ERR_INIT;
		close(fds[0]);
		auto_ptr(link) l = link_over(fds[1]);
		int rc = session_serve(l, &f->m, o, &e);
		far_log(f, "end %d\n", rc);
		link_free(steal_ptr(&l));
		_exit(0);
	}
	close(fds[1]);
	*ret_link = link_over(fds[0]);
	return child;
}
