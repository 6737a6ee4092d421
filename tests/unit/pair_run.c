// SPDX-License-Identifier: Apache-2.0
/*
 * A request on two real members: two roots on this host, each with its own state.db and services that pretend. Orders are lost, or the
 * coordinator ends, before and after each of them; then the two are settled as their agents would.
 */
#include "lib/host.h"

#include "pair/coordinate.h"

enum fault { NO_FAULT, LOST_BEFORE, LOST_AFTER, DEAD_BEFORE, DEAD_AFTER };
struct two;
/* A member behind something that can be cut. */
struct cut {
	struct member m;
	struct member *real;
	struct two *w;
};
struct two {
	struct host h[PAIR_MEMBERS + 1];
	struct cut c[PAIR_MEMBERS + 1];
	unsigned orders, at;
	enum fault fault;
	uint32_t lost;
	bool dead;
	unsigned version; /* of web, the next to be added: 1.version */
	struct buf told;
	struct err err;
};

static void two_close(struct two *w)
{
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		member_free(w->c[n].real);
		host_close(&w->h[n]);
	}
	buf_release(&w->told);
}
#define auto_two cleanup_with(two_close) struct two

static struct member *real_of(struct member *m)
{
	return ((struct cut *)m)->real;
}

static bool is_cut(struct member *m, struct err *e)
{
	struct two *w = ((struct cut *)m)->w;
	if (w->dead)
		err_new(e, ERR_FAILED, "dead");
	else if (w->lost == m->number)
		err_new(e, ERR_NETWORK, "cut off");
	return w->dead || w->lost == m->number;
}

static int cut_look(struct member *m, struct arena *a, struct str env, struct pair_member_status *ret, struct err *e)
{
	return is_cut(m, e) ? -1 : real_of(m)->ops->look(real_of(m), a, env, ret, e);
}

static int cut_outcome(struct member *m, struct arena *a, struct str env, struct str id, struct str *ret,
		       bool *ret_held, struct err *e)
{
	return is_cut(m, e) ? -1 : real_of(m)->ops->outcome(real_of(m), a, env, id, ret, ret_held, e);
}

static int cut_preflight(struct member *m, const struct upgrade_request *q, struct arena *a, struct upgrade_check **ret,
			 size_t *ret_n, struct err *e)
{
	return is_cut(m, e) ? -1 : real_of(m)->ops->preflight(real_of(m), q, a, ret, ret_n, e);
}

/* As if it had come over a link: what is in the folder of packages. */
static struct env_plan *plan_there(struct host *h, const struct env_spec_file *lock)
{
	return plan_of(h, lock->packages, lock->packages_n);
}

static int cut_copy(struct member *m, const struct env_spec_file *lock, struct store *from, struct err *e)
{
	(void)from;
	if (is_cut(m, e))
		return -1;
	(void)plan_there(&((struct cut *)m)->w->h[m->number], lock);
	return 0;
}

static int order(struct cut *c, const struct upgrade_request *q, struct err *e)
{
	struct upgrade_request r = *q;
	c->real->event = c->m.event;
	c->real->ctx = c->m.ctx;
	if (r.verb == UPGRADE_ADD)
		r.plan = plan_there(&c->w->h[c->m.number], &q->plan->target);
	return c->real->ops->run(c->real, &r, e);
}

static int cut_run(struct member *m, const struct upgrade_request *q, struct err *e)
{
	struct cut *c = (struct cut *)m;
	struct two *w = c->w;
	bool now = w->orders++ == w->at;
	uint32_t other = m->local ? 3 - m->number : m->number;
	struct err ignored = ERR_INIT;
	if (now && (w->fault == LOST_BEFORE || w->fault == LOST_AFTER))
		w->lost = other;
	if (now && w->fault == LOST_AFTER && !m->local)
		(void)order(c, q, &ignored);
	if (now && w->fault == DEAD_AFTER)
		(void)order(c, q, &ignored);
	w->dead |= now && (w->fault == DEAD_BEFORE || w->fault == DEAD_AFTER);
	return is_cut(m, e) ? -1 : order(c, q, e);
}

static int cut_hold_role(struct member *m, int64_t wait_ms, struct err *e)
{
	return is_cut(m, e) ? -1 : real_of(m)->ops->hold_role(real_of(m), wait_ms, e);
}

static int cut_role_get(struct member *m, struct arena *a, struct pair_role *ret, struct err *e)
{
	return is_cut(m, e) ? -1 : real_of(m)->ops->role_get(real_of(m), a, ret, e);
}

static int cut_role_set(struct member *m, const struct pair_role *r, struct err *e)
{
	return is_cut(m, e) ? -1 : real_of(m)->ops->role_set(real_of(m), r, e);
}

static const struct member_ops cut_ops = {
	.look = cut_look,
	.outcome = cut_outcome,
	.preflight = cut_preflight,
	.copy = cut_copy,
	.run = cut_run,
	.hold_role = cut_hold_role,
	.role_get = cut_role_get,
	.role_set = cut_role_set,
};

static void two_open(struct two *w)
{
	static char names[][8] = {"", "one", "two"};
	*w = (struct two){.at = UINT32_MAX, .version = 1, .told = BUF_INIT(1 << 20)};
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct host *h = &w->h[n];
		h->w.name = names[n];
		first(h, "");
		host_release(h);
		const struct pair_opts o = {.local = h->opts};
		CHECK_INT(member_local(&o, n, &w->c[n].real, &w->err), 0);
		w->c[n].m = (struct member){.ops = &cut_ops, .number = n};
		w->c[n].w = w;
	}
}

/* -- requests ------------------------------------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct upgrade_event *v)
{
	struct two *w = ctx;
	if (v->kind == UPGRADE_EVENT_NOTE)
		buf_printf(&w->told, "[%u] %s\n", v->member, v->text);
}

static struct coordinator coordinator_of(struct two *w, uint32_t home, bool reaches_other)
{
	struct coordinator k = {
		.self = home, .env = STR("e"), .event = on_event, .ctx = w, .health_wait_ms = 1, .traffic_wait_ms = 1};
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		w->c[n].m.local = n == home;
		if (n != home && !reaches_other)
			continue;
		k.m[n] = &w->c[n].m;
		CHECK_MSG(w->c[n].real->ops->hold(w->c[n].real, STR("e"), 0, &w->err) == 0, "%s", w->err.msg);
	}
	k.store = w->h[home].w.store;
	w->err = ERR_INIT;
	return k;
}

static void end(struct two *w, struct coordinator *k)
{
	coordinate_release(k);
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++)
		w->c[n].real->ops->release(w->c[n].real);
}

static int ask(struct two *w, struct upgrade_request q, uint32_t home)
{
	struct coordinator k = coordinator_of(w, home, true);
	if (q.verb == UPGRADE_ADD) {
		struct host *h = &w->h[home];
		struct env_lock_package p[2] = {
			web(h, arena_printf(&h->w.arena, "1.%u", w->version), ""),
			envs_simple(&h->w, "lib", "1"),
		};
		q.plan = plan_of(h, p, 2);
		w->orders = 0;
		int rc = coordinate_run(&k, &q, &w->err);
		end(w, &k);
		return rc;
	}
	w->orders = 0;
	int rc = coordinate_run(&k, &q, &w->err);
	end(w, &k);
	return rc;
}

static int settle(struct two *w, uint32_t home, bool reaches_other)
{
	struct coordinator k = coordinator_of(w, home, reaches_other);
	struct upgrade_status s = status_of(&w->h[home]);
	int rc = coordinate_settle(&k, (struct coordinate_one_shot){s.one_shot, s.will_commit}, &w->err);
	end(w, &k);
	return rc;
}

static void must_ask(struct two *w, struct upgrade_request q, uint32_t home)
{
	CHECK_MSG(ask(w, q, home) == 0, "%s", w->err.msg);
}

/* "none web 1.1, lib 1" where both are at that, and each runs its services from its own generation. */
static const char *both(struct two *w)
{
	static char text[PAIR_MEMBERS + 1][256];
	for (uint32_t n = 1; n <= PAIR_MEMBERS; n++) {
		struct host *h = &w->h[n];
		struct upgrade_status s = status_of(h);
		struct env_info i = info_of(h);
		snprintf(text[n], sizeof(text[n]), "%.*s %.*s%s", STR_ARG(s.state), STR_ARG(s.running_version),
			 i.current == i.committed ? "" : " (uncommitted)");
		CHECK_MSG(h->running_n == 1 && h->running[0].generation == i.current,
			  "member %u runs its service from generation %u, and %u is current", n,
			  h->running_n ? h->running[0].generation : 0, i.current);
	}
	CHECK_STR(text[1], text[2]);
	return text[1];
}

static const struct upgrade_request do_add = {.verb = UPGRADE_ADD}, do_commit = {.verb = UPGRADE_COMMIT},
				    do_activate = {.verb = UPGRADE_ACTIVATE, .issu = true},
				    do_abort = {.verb = UPGRADE_ABORT, .issu = true},
				    one_shot = {.verb = UPGRADE_ADD,
						.issu = true,
						.then_activate = true,
						.then_commit = true};

TEST(three_steps_on_both)
{
	auto_two w = {0};
	two_open(&w);
	CHECK_STR(both(&w), "none web 1.0, lib 1");
	must_ask(&w, do_add, 1);
	CHECK_STR(both(&w), "added web 1.0, lib 1");
	must_ask(&w, do_activate, 2); /* from either of them */
	CHECK_STR(both(&w), "activated web 1.1, lib 1 (uncommitted)");
	CHECK_MSG(strstr(w.h[2].log.p, "timer;hand-over web 2;"), "%s", w.h[2].log.p);
	must_ask(&w, do_commit, 1);
	CHECK_STR(both(&w), "none web 1.1, lib 1");
	w.version = 2;
	must_ask(&w, one_shot, 2);
	CHECK_STR(both(&w), "none web 1.2, lib 1");
	w.version = 3;
	must_ask(&w, do_add, 1);
	must_ask(&w, do_abort, 2);
	CHECK_STR(both(&w), "none web 1.2, lib 1");
	must_ask(&w, do_add, 1);
	must_ask(&w, do_activate, 1);
	must_ask(&w, (struct upgrade_request){.verb = UPGRADE_STOP_TIMER}, 1);
	must_ask(&w, do_abort, 2);
	CHECK_STR(both(&w), "none web 1.2, lib 1");
	must_ask(&w, (struct upgrade_request){.verb = UPGRADE_REMOVE_INACTIVE}, 1);
	must_ask(&w, (struct upgrade_request){.verb = UPGRADE_CLEAR}, 1);
	CHECK_STR(both(&w), "none web 1.2, lib 1");
}

TEST(a_version_that_is_sick_on_one_is_left_on_both)
{
	for (uint32_t sick = 1; sick <= PAIR_MEMBERS; sick++) {
		auto_two w = {0};
		two_open(&w);
		w.h[sick].sick = "1.1";
		must_ask(&w, do_add, 1);
		CHECK_INT(ask(&w, do_activate, 1), -1);
		CHECK_INT(w.err.code, ERR_ROLLED_BACK);
		CHECK_MSG(strstr(w.err.msg, "undone on both members: member ") && strstr(w.err.msg, "500"), "%s",
			  w.err.msg);
		CHECK_STR(both(&w), "none web 1.0, lib 1");
	}
}

/* One shot, three steps and an abort, hit at each of their orders. */
static void sweep(const struct upgrade_request *q, const struct upgrade_request *before, size_t before_n, uint32_t home,
		  enum fault from, enum fault to)
{
	auto_two w = {0};
	unsigned orders = 0;
	two_open(&w);
	for (enum fault fault = from; fault <= to; fault++) {
		bool hit = true;
		for (unsigned at = 0; hit; at++) {
			for (size_t i = 0; i < before_n; i++)
				must_ask(&w, before[i], 3 - home);
			w.at = at;
			w.fault = fault;
			int rc = ask(&w, *q, home);
			hit = w.orders > at;
			orders += hit;
			if (rc < 0 && w.err.code == ERR_UNCERTAIN && !w.dead)
				CHECK_MSG(strstr(w.err.msg, "member 1 runs") || strstr(w.err.msg, "member 2 runs"),
					  "%s", w.err.msg);
			w.fault = NO_FAULT;
			w.dead = false;
			w.lost = 0;
			if (at & 1)
				CHECK_MSG(settle(&w, 3 - home, false) >= 0 && settle(&w, home, false) >= 0, "%s",
					  w.err.msg);
			for (uint32_t i = 0; i < PAIR_MEMBERS; i++) /* both agents, in either order */
				CHECK_MSG(settle(&w, (at >> 1 & 1) == i ? home : 3 - home, true) >= 0,
					  "fault %d at order %u: %s", fault, at, w.err.msg);
			const char *now = both(&w);
			bool kept = strstr(now, arena_printf(&w.h[1].w.arena, "web 1.%u,", w.version)) != NULL;
			if (strncmp(now, "none ", 5) != 0) { /* at rest in the middle: it goes on, or back */
				CHECK_MSG(strncmp(now, "added ", 6) == 0 || strncmp(now, "activated ", 10) == 0,
					  "fault %d at order %u: %s", fault, at, now);
				must_ask(&w, do_abort, home);
				kept = false;
			}
			CHECK_STR(both(&w), arena_printf(&w.h[1].w.arena, "none web 1.%u, lib 1",
							 kept ? w.version : w.version - 1));
			w.version += kept;
			w.at = UINT32_MAX;
		}
	}
	printf("# %u orders were hit\n", orders);
	CHECK(orders > 1);
}

TEST(one_shot_is_lost_at_each_order)
{
	sweep(&one_shot, NULL, 0, 1, LOST_AFTER, DEAD_BEFORE);
}

TEST(one_shot_is_lost_at_each_order_from_the_other_member)
{
	sweep(&one_shot, NULL, 0, 2, LOST_AFTER, LOST_AFTER);
}

TEST(commit_is_lost_at_each_order)
{
	const struct upgrade_request before[] = {do_add, do_activate};
	sweep(&do_commit, before, 2, 1, LOST_AFTER, DEAD_BEFORE);
}

TEST(abort_is_lost_at_each_order)
{
	const struct upgrade_request before[] = {do_add, do_activate};
	sweep(&do_abort, before, 2, 2, LOST_AFTER, LOST_AFTER);
}
