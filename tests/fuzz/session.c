// SPDX-License-Identifier: Apache-2.0
/*
 * Whatever the other member asks: each question has one answer, a failure has its code, and nothing is done to an environment that is not
 * held or has no name. A line of the input is a question; what stands behind a byte 1 in it are its bytes, byte 2 for the end of a line.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "pair/message.h"
#include "pair/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUESTIONS_MAX = 40, INPUT_MAX = 16384 };

static struct {
	struct member m;
	bool held;
	struct upgrade_request last;
} far;

static void must(bool good, const char *what)
{
	if (!good)
		panic("%s", what);
}

static int on_look(struct member *m, struct arena *a, struct str env, struct pair_member_status *ret, struct err *e)
{
	(void)m, (void)a;
	must(env.n == 0 || env_name_check(env, e) == 0, "a look at what is no name");
	*ret = (struct pair_member_status){.timer_left_ms = -1};
	return 0;
}

static int on_outcome(struct member *m, struct arena *a, struct str env, struct str id, struct str *ret, bool *ret_held,
		      struct err *e)
{
	(void)m, (void)a;
	must(env_name_check(env, e) == 0 && id.n == MESSAGE_ID_HEX, "an outcome of what is none");
	*ret = STR("unknown");
	*ret_held = false;
	return 0;
}

static int on_hold(struct member *m, struct str env, int64_t wait_ms, struct err *e)
{
	(void)m;
	must(!far.held && env_name_check(env, e) == 0 && wait_ms >= 0, "a hold of what is none");
	far.held = true;
	return 0;
}

static void on_release(struct member *m)
{
	(void)m;
	must(far.held, "a release of nothing");
	far.held = false;
}

static void check_request(const struct upgrade_request *q)
{
	must(far.held, "an order without a hold");
	must(q->verb >= UPGRADE_ADD && q->verb <= UPGRADE_WITHDRAW, "no order");
	must((q->verb == UPGRADE_ADD) == (q->plan != NULL), "an add without a plan");
	must(q->timer_ms >= 0 && q->timer_ms <= MESSAGE_TIMER_MAX_MS, "no timer");
	must(!q->operation_id || strlen(q->operation_id) == MESSAGE_ID_HEX, "no id");
	for (uint32_t i = 0; q->plan && i < q->plan->target.packages_n; i++)
		must(q->plan->target.packages[i].record.has_sha256, "an add of what has no digest");
}

static int on_preflight(struct member *m, const struct upgrade_request *q, struct arena *a, struct upgrade_check **ret,
			size_t *ret_n, struct err *e)
{
	(void)m, (void)e;
	check_request(q);
	*ret = arena_new(a, struct upgrade_check);
	(*ret)->name = STR("space");
	*ret_n = 1;
	return 0;
}

static int on_run(struct member *m, const struct upgrade_request *q, struct err *e)
{
	check_request(q);
	m->event(m->ctx, &(struct upgrade_event){.kind = UPGRADE_EVENT_NOTE, .text = "run", .failure = e});
	return q->issu ? 0 : err_new(e, ERR_ROLLED_BACK, "not healthy");
}

static int on_settle(struct member *m, struct err *e)
{
	(void)m, (void)e;
	must(far.held, "settled without a hold");
	return 0;
}

static int on_traffic(struct member *m, const struct traffic_step *s, int64_t wait_ms, enum traffic_step_kind *ret_undo,
		      struct err *e)
{
	(void)m, (void)e;
	must(far.held && s->kind <= TRAFFIC_RUN_ACTIVE && s->driver < TRAFFIC_DRIVERS_MAX && wait_ms >= 0, "no step");
	must(s->member >= 1 && s->member <= TRAFFIC_MEMBERS && s->on == 2, "a step of no member");
	*ret_undo = s->kind;
	return 0;
}

static int on_hold_role(struct member *m, int64_t wait_ms, struct err *e)
{
	(void)m, (void)e;
	must(far.held && wait_ms >= 0, "the role without a hold");
	return 0;
}

static int on_role_get(struct member *m, struct arena *a, struct pair_role *ret, struct err *e)
{
	(void)m, (void)a, (void)e;
	*ret = (struct pair_role){.active = 1};
	return 0;
}

static int on_role_set(struct member *m, const struct pair_role *r, struct err *e)
{
	(void)m, (void)e;
	must(far.held && r->active >= 1 && r->active <= PAIR_MEMBERS, "a role for nobody");
	return 0;
}

static int on_log(struct member *m, struct str id, const struct env_operation_step *s, struct err *e)
{
	(void)m, (void)e;
	must(far.held && id.n == MESSAGE_ID_HEX && str_starts(s->name, STR("STAGE ")) && s->ended_ms >= 0, "no stage");
	return 0;
}

static const struct member_ops ops = {
	.look = on_look,
	.outcome = on_outcome,
	.hold = on_hold,
	.release = on_release,
	.preflight = on_preflight,
	.run = on_run,
	.settle = on_settle,
	.traffic = on_traffic,
	.hold_role = on_hold_role,
	.role_get = on_role_get,
	.role_set = on_role_set,
	.log = on_log,
};

static void check_answers(struct link *l, unsigned asked)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct wire_message m;
	unsigned answered = 0;
	int rc;
	while ((rc = link_take(l, 1000, &a, &m, &e)) > 0) {
		struct str error = STR_NONE, code = STR_NONE;
		if (json_get(m.json, "event"))
			continue;
		answered++;
		if (json_opt_str(m.json, "error", &error, &e) < 0 || json_opt_str(m.json, "code", &code, &e) < 0)
			panic("an answer that is none: %s", e.msg);
		must(error.n == 0 || (code.n && !str_eq(code, STR("network"))), "a failure without a code");
	}
	if (rc < 0 || answered != asked)
		panic("%u questions, %u answers: %s", asked, answered, e.msg);
}

/* 1: sent; 0: no message can carry it. */
static int ask(struct link *l, struct str line)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	ptrdiff_t at = str_find(line, 1);
	struct str json = at < 0 ? line : str_head(line, (size_t)at);
	struct str bytes = at < 0 ? STR_NONE : str_skip(line, (size_t)at + 1);
	char *p = arena_strdup(&a, bytes);
	for (size_t i = 0; i < bytes.n; i++)
		p[i] = p[i] == 2 ? '\n' : p[i];
	const struct json *j = json_parse(&a, json, "fuzz", &e);
	if (!j || j->type != JSON_OBJECT)
		return 0;
	if (link_put(l, json, str_of(p, bytes.n), &e) < 0)
		panic("put: %s", e.msg);
	return 1;
}

static int root_fd(void)
{
	static int fd = -1;
	char path[64];
	struct err e = ERR_INIT;
	snprintf(path, sizeof(path), "/tmp/slipway-fuzz-session.%d", (int)getpid());
	if (fd < 0)
		fd = fs_open_dir_make(AT_FDCWD, path, &e);
	must(fd >= 0, "no folder");
	(void)fs_remove_tree(fd, "store", &(struct err){0});
	return fd;
}

static void remove_root(void)
{
	char path[64];
	snprintf(path, sizeof(path), "/tmp/slipway-fuzz-session.%d", (int)getpid());
	(void)fs_remove_tree(AT_FDCWD, path, &(struct err){0});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool begun;
	struct str text = str_of((const char *)data, size), line;
	struct err e = ERR_INIT;
	unsigned asked = 0;
	int fds[2];
	if (!begun)
		(void)atexit(remove_root);
	begun = true;
	if (size > INPUT_MAX || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return 0;
	auto_ptr(link) here = link_over(fds[0]);
	auto_ptr(link) there = link_over(fds[1]);
	const struct pair_opts o = {.local = {.root_fd = root_fd(), .root_path = "/tmp"}};
	far.m = (struct member){.ops = &ops, .number = 2};
	while (asked < QUESTIONS_MAX && str_take_line(&text, &line))
		asked += (unsigned)ask(here, line);
	if (shutdown(fds[0], SHUT_WR) < 0)
		panic("shutdown");
	if (session_serve(there, &far.m, &o, &e) < 0)
		panic("ended: %s", e.msg);
	must(!far.held, "still held");
	link_free(steal_ptr(&there));
	check_answers(here, asked);
	return 0;
}
