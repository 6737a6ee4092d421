// SPDX-License-Identifier: Apache-2.0
/* This host as a member: what it is like, the steps of an operation on two roots, the role, pair.yml. */
#include "lib/host.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "pair/config.h"
#include "pair/member.h"
#include "pair/role.h"

#define ID "0123456789abcdef0123456789abcdef"

struct one {
	struct host h;
	struct member *m;
	uint32_t told; /* the member of the last event; 0: there was none */
};

static void one_close(struct one *x)
{
	member_free(steal_ptr(&x->m));
	host_close(&x->h);
}
#define auto_one cleanup_with(one_close) struct one

static void on_told(void *ctx, const struct upgrade_event *v)
{
	struct one *x = ctx;
	x->told = v->member;
}

static void make_member(struct one *x, uint32_t number)
{
	const struct pair_opts o = {.local = x->h.opts};
	host_release(&x->h);
	CHECK_INT(member_local(&o, number, &x->m, &x->h.w.err), 0);
	x->m->event = on_told;
	x->m->ctx = x;
}

/* Member `number`, generation 1 of web 1.0 committed, its service running; nothing held. */
static void member_open(struct one *x, uint32_t number)
{
	static char name[2][8] = {"one", "two"};
	x->h.w.name = name[number - 1];
	first(&x->h, "");
	make_member(x, number);
}

static struct pair_member_status look_of(struct one *x)
{
	struct pair_member_status s;
	CHECK_MSG(x->m->ops->look(x->m, &x->h.w.arena, STR("e"), &s, &x->h.w.err) == 0, "%s", x->h.w.err.msg);
	return s;
}

static void hold(struct one *x)
{
	CHECK_MSG(x->m->ops->hold(x->m, STR("e"), 0, &x->h.w.err) == 0, "%s", x->h.w.err.msg);
}

static int order(struct one *x, struct upgrade_request q)
{
	q.operation_id = ID;
	buf_clear(&x->h.log);
	x->h.w.err = ERR_INIT;
	return x->m->ops->run(x->m, &q, &x->h.w.err);
}

static void step(struct one *x, enum upgrade_verb verb)
{
	CHECK_MSG(order(x, (struct upgrade_request){.verb = verb}) == 0, "%s", x->h.w.err.msg);
}

static const char *outcome(struct one *x, bool *held)
{
	struct str s;
	CHECK_MSG(x->m->ops->outcome(x->m, &x->h.w.arena, STR("e"), STR(ID), &s, held, &x->h.w.err) == 0, "%s",
		  x->h.w.err.msg);
	return s.p;
}

static void put_file(struct one *x, const char *path, const char *text)
{
	CHECK_MSG(fs_replace(x->h.w.root_fd, path, text, strlen(text), 0, &x->h.w.err) == 0, "%s", x->h.w.err.msg);
}

TEST(what_it_is_like)
{
	auto_one x = {0};
	member_open(&x, 2);
	struct pair_member_status s = look_of(&x);
	CHECK(s.number == 2 && s.local && s.reachable && s.managed && s.healthy);
	CHECK_STR(s.state.p, "none");
	CHECK_INT(s.operation_id.n, 0);
	CHECK_STR(s.running_version.p, "web 1.0, lib 1");
	CHECK(s.agent_version.n > 0);
	CHECK(s.current == 1 && s.committed == 1 && s.timer_left_ms == -1);
	CHECK(s.total_bytes >= s.free_bytes && s.free_bytes > 0 && s.free_inodes > 0);
	CHECK(s.uptime_ms > 0 && s.wall_ms > 1600000000000);
	CHECK_INT(s.traffic.n, 0); /* no driver says */
	struct pair_member_status host;
	CHECK_INT(x.m->ops->look(x.m, &x.h.w.arena, STR_NONE, &host, &x.h.w.err), 0);
	CHECK(host.reachable && host.current == 0 && host.total_bytes == s.total_bytes);
	CHECK_INT(x.m->ops->look(x.m, &x.h.w.arena, STR("other"), &host, &x.h.w.err), 0);
	CHECK(host.current == 0 && host.healthy);
	/* A file that was changed by hand; a file of nobody is none. */
	put_file(&x, "env/e/1/share/mine", "x");
	CHECK(look_of(&x).managed);
	CHECK_INT(unlinkat(x.h.w.root_fd, "env/e/1/share/web", 0), 0);
	CHECK(!look_of(&x).managed);
}

TEST(a_service_that_should_run_and_does_not)
{
	auto_one x = {0};
	member_open(&x, 1);
	x.h.running_n = 0;
	CHECK(!look_of(&x).healthy);
	CHECK_STR(look_of(&x).unhealthy.p, "service 'web' is not running");
	member_free(steal_ptr(&x.m));
	x.h.opts.services = NULL;
	make_member(&x, 1);
	CHECK(strstr(look_of(&x).unhealthy.p, "nothing here runs services"));
}

/* As a coordinator drives two hosts: each its own root, one id, the recipe of the one laid out on the other without channel or network. */
static struct env_plan *plan_of_recipe(struct one *x, struct str recipe)
{
	struct envs *w = &x->h.w;
	struct env_spec_file *target = arena_new(&w->arena, struct env_spec_file),
			     *before = arena_new(&w->arena, struct env_spec_file);
	struct env_plan *plan = arena_new(&w->arena, struct env_plan);
	CHECK_MSG(env_file_read(&w->arena, recipe, "the recipe", target, &w->err) == 0 && target->is_lock &&
			  env_generation_lock(w->st, &w->arena, STR("e"), 0, before, &w->err) == 0 &&
			  env_plan(target, before, w->store, &w->arena, plan, &w->err) == 0 &&
			  env_prepare(w->store, NULL, plan, &w->opts, &w->arena, &w->err) == 0,
		  "%s", w->err.msg);
	for (size_t i = 0; i < plan->steps_n; i++)
		CHECK(plan->steps[i].kind != ENV_STEP_DOWNLOAD);
	return plan;
}

static void add_on_both(struct one *x, struct one *y)
{
	auto_buf recipe = BUF_INIT(BUF_MAX);
	struct env_lock_package p[] = {web(&x->h, "1.1", ""), envs_simple(&x->h.w, "lib", "1")};
	struct env_lock_package same[] = {web(&y->h, "1.1", ""), envs_simple(&y->h.w, "lib", "1")};
	(void)plan_of(&y->h, same, 2); /* what copy does: the archives are in its store */
	struct env_plan *plan = plan_of(&x->h, p, 2);
	env_file_write_spr(&plan->target, &recipe);
	CHECK_INT(x->m->ops->copy(x->m, &plan->target, x->h.w.store, &x->h.w.err), 0);
	CHECK_MSG(order(x, (struct upgrade_request){.verb = UPGRADE_ADD, .paired = true, .plan = plan}) == 0, "%s",
		  x->h.w.err.msg);
	CHECK_MSG(order(y, (struct upgrade_request){.verb = UPGRADE_ADD,
						    .paired = true,
						    .plan = plan_of_recipe(y, buf_str(&recipe))}) == 0,
		  "%s", y->h.w.err.msg);
}

TEST(an_upgrade_on_two_roots)
{
	auto_one a = {0}, s = {0};
	bool held;
	member_open(&a, 1);
	member_open(&s, 2);
	hold(&a);
	hold(&s);
	CHECK_STR(outcome(&s, &held), "unknown");
	CHECK(held);
	add_on_both(&a, &s);
	CHECK_INT(s.told, 2);
	step(&a, UPGRADE_ARM);
	step(&s, UPGRADE_ARM);
	step(&s, UPGRADE_ACTIVATE);
	CHECK_STR(s.h.log.p, "hand-over web 2;");
	step(&a, UPGRADE_STANDBY_DONE);
	CHECK_STR(look_of(&a).state.p, "standby-activated");
	CHECK(!str_eq(look_of(&a).recipe, look_of(&s).recipe));
	CHECK_STR(look_of(&a).running_version.p, "web 1.0, lib 1");
	step(&a, UPGRADE_ACTIVATE);
	CHECK_STR(look_of(&a).running_version.p, look_of(&s).running_version.p);
	CHECK_INT(look_of(&a).recipe.n, 64);
	CHECK(str_eq(look_of(&a).recipe, look_of(&s).recipe));
	CHECK(look_of(&a).timer_left_ms > 0);
	step(&s, UPGRADE_PREPARE);
	step(&a, UPGRADE_DECIDE);
	/* Whoever gave the orders is gone. */
	a.m->ops->release(a.m);
	s.m->ops->release(s.m);
	CHECK_STR(outcome(&s, &held), "prepared");
	CHECK(!held);
	hold(&a);
	hold(&s);
	CHECK_INT(s.m->ops->settle(s.m, &s.h.w.err), 0);
	CHECK_INT(a.m->ops->settle(a.m, &a.h.w.err), 0);
	step(&s, UPGRADE_COMMIT);
	step(&a, UPGRADE_COMMIT);
	CHECK_STR(outcome(&a, &held), "committed");
	CHECK_STR(outcome(&s, &held), "committed");
	CHECK(look_of(&a).committed == 2 && look_of(&s).committed == 2);
}

TEST(cut_off_in_the_middle_each_goes_back)
{
	auto_one a = {0}, s = {0};
	bool held;
	member_open(&a, 1);
	member_open(&s, 2);
	hold(&a);
	hold(&s);
	add_on_both(&a, &s);
	step(&a, UPGRADE_ARM);
	step(&s, UPGRADE_ARM);
	CHECK_INT(a.m->ops->settle(a.m, &a.h.w.err), 1);
	CHECK_INT(s.m->ops->settle(s.m, &s.h.w.err), 1);
	CHECK_STR(outcome(&a, &held), "aborted");
	CHECK_STR(outcome(&s, &held), "aborted");
	CHECK_STR(look_of(&s).running_version.p, "web 1.0, lib 1");
}

TEST(a_member_is_named_once)
{
	static const char *const once[] = {"member 2: no room", "member 2 does not answer: timed out",
					   "member 2: no room"};
	static const char *const said[] = {"no room", "member 2 does not answer: timed out", "member 2: no room"};
	for (size_t i = 0; i < 3; i++) {
		struct err e = ERR_INIT;
		err_new(&e, ERR_FAILED, "%s", said[i]);
		CHECK_INT(member_err(2, &e), -1);
		CHECK_STR(e.msg, once[i]);
	}
	auto_arena arena = ARENA_INIT;
	struct err e = ERR_INIT;
	err_new(&e, ERR_FAILED, "member 21: no room");
	CHECK_INT(member_err(2, &e), -1);
	CHECK_STR(e.msg, "member 2: member 21: no room");
	CHECK_STR(member_why(&arena, 2, &e).p, "member 21: no room");
	err_new(&e, ERR_FAILED, "member 2 ('two') at 10.0.0.2:8479: connect: refused");
	CHECK_STR(member_why(&arena, 2, &e).p, "'two' at 10.0.0.2:8479: connect: refused");
}

TEST(nothing_without_holding)
{
	auto_one x = {0};
	struct upgrade_check *c;
	size_t n;
	const struct upgrade_request q = {.verb = UPGRADE_ABORT};
	member_open(&x, 1);
	CHECK_INT(x.m->ops->run(x.m, &q, &x.h.w.err), -1);
	CHECK_STR(x.h.w.err.msg, "member 1 holds no environment");
	CHECK_INT(x.m->ops->settle(x.m, &x.h.w.err), -1);
	CHECK_INT(x.m->ops->preflight(x.m, &q, &x.h.w.arena, &c, &n, &x.h.w.err), -1);
	hold(&x);
	CHECK_INT(x.m->ops->hold(x.m, STR("e"), 0, &x.h.w.err), -1);
	CHECK_INT(env_is_held(x.h.w.st, STR("e"), &x.h.w.err), 1);
	CHECK_INT(env_is_held(x.h.w.st, STR("other"), &x.h.w.err), 0);
	CHECK_INT(x.m->ops->preflight(x.m, &q, &x.h.w.arena, &c, &n, &x.h.w.err), 0);
	CHECK(n > 2 && c[0].member == 1);
	x.m->ops->release(x.m);
	CHECK_INT(env_is_held(x.h.w.st, STR("e"), &x.h.w.err), 0);
}

/* == who carries the traffic ====================================================================================== */

TEST(the_role_is_on_disk)
{
	auto_one x = {0};
	struct pair_role r, back;
	member_open(&x, 2);
	CHECK_INT(x.m->ops->role_get(x.m, &x.h.w.arena, &r, &x.h.w.err), 0);
	CHECK(r.epoch == 0 && r.active == 1 && r.reason.n == 0);
	r = (struct pair_role){.epoch = 7,
			       .active = 2,
			       .since_ms = 1700000000000,
			       .reason = STR("install activate"),
			       .switch_overs = 3,
			       .standby_failures = 1};
	CHECK_MSG(x.m->ops->role_set(x.m, &r, &x.h.w.err) == 0, "%s", x.h.w.err.msg);
	CHECK_INT(x.m->ops->role_get(x.m, &x.h.w.arena, &back, &x.h.w.err), 0);
	CHECK(back.epoch == 7 && back.active == 2 && back.since_ms == r.since_ms && back.switch_overs == 3 &&
	      back.standby_failures == 1);
	CHECK_STR(back.reason.p, "install activate");
	/* Late news. */
	back.epoch = 6;
	CHECK_INT(x.m->ops->role_set(x.m, &back, &x.h.w.err), -1);
	CHECK_INT(x.h.w.err.code, ERR_FAILED);
	back.epoch = 7;
	back.active = 1;
	CHECK_INT(x.m->ops->role_set(x.m, &back, &x.h.w.err), -1);
	back.active = 2;
	back.standby_failures = 2;
	CHECK_INT(x.m->ops->role_set(x.m, &back, &x.h.w.err), 0);
	back.active = 3;
	back.epoch = 9;
	CHECK_INT(x.m->ops->role_set(x.m, &back, &x.h.w.err), -1);
}

/* Once it stood at the largest number there is, no switch-over could ever follow. */
TEST(an_epoch_leaves_room_for_those_to_come)
{
	static const uint64_t bad[] = {INT64_MAX, UINT64_MAX, (uint64_t)1 << 40, 8 + (1 << 20)};
	auto_one x = {0};
	struct pair_role r = {.epoch = 7, .active = 2}, back;
	struct err *e = &x.h.w.err;
	member_open(&x, 2);
	CHECK_INT(x.m->ops->role_set(x.m, &r, e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		r.epoch = bad[i];
		CHECK_INT(x.m->ops->role_set(x.m, &r, e), -1);
		CHECK_INT(e->code, ERR_INPUT);
	}
	r.epoch = 7 + (1 << 20);
	CHECK_INT(x.m->ops->role_set(x.m, &r, e), 0);
	CHECK_INT(fs_replace(x.h.w.root_fd, "pair/role", "{\"epoch\":30000000,\"active\":1}", 29, 0, e), 0);
	CHECK_MSG(x.m->ops->role_set(x.m, &r, e) == 0, "%s", e->msg); /* that cannot be, and is not kept */
	static const char damaged[] = "{\"epoch\":9223372036854775807,\"active\":1}\n";
	CHECK_INT(fs_replace(x.h.w.root_fd, "pair/role", damaged, sizeof(damaged) - 1, 0, e), 0);
	CHECK_INT(x.m->ops->role_get(x.m, &x.h.w.arena, &back, e), -1);
	CHECK_MSG(strstr(e->msg, "the other member's copy of the file mends it"), "%s", e->msg);
	r.epoch = 3;
	CHECK_MSG(x.m->ops->role_set(x.m, &r, e) == 0, "%s", e->msg); /* which is what the other member's is for */
	CHECK(x.m->ops->role_get(x.m, &x.h.w.arena, &back, e) == 0 && back.epoch == 3);
}

TEST(the_role_is_held_by_one)
{
	auto_one x = {0};
	struct pair_role r = {.epoch = 1, .active = 2};
	struct err *e = &x.h.w.err;
	member_open(&x, 1);
	CHECK_INT(x.m->ops->hold_role(x.m, 0, e), -1);
	CHECK_STR(e->msg, "member 1 holds no environment");
	hold(&x);
	CHECK_INT(x.m->ops->hold_role(x.m, 0, e), 0);
	CHECK_INT(x.m->ops->hold_role(x.m, 0, e), 0);
	CHECK_INT(role_lock(x.h.w.root_fd, 50, e), -1);
	CHECK_MSG(e->code == ERR_BUSY && strstr(e->msg, "the traffic is being moved for another environment"), "%s",
		  e->msg);
	CHECK_INT(x.m->ops->role_set(x.m, &r, e), 0);
	x.m->ops->release(x.m);
	auto_fd fd = role_lock(x.h.w.root_fd, 0, e);
	CHECK(fd >= 0);
	hold(&x);
	CHECK_INT(x.m->ops->hold_role(x.m, 0, e), -1);
}

/* Two at once write the same epoch, each for another member: one of them is told. */
TEST(of_two_that_write_one_epoch_one_is_refused)
{
	enum { EPOCHS = 40 };
	auto_fd root_fd = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct both {
		_Atomic unsigned ready[2];
		bool wrote[2][EPOCHS + 1];
	} *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t child[2];
	CHECK(root_fd >= 0 && b != MAP_FAILED && mkdirat(root_fd, "pair", 0755) == 0);
	for (uint32_t n = 0; n < 2; n++) {
		child[n] = fork();
		if (child[n])
			continue;
		for (unsigned epoch = 1; epoch <= EPOCHS; epoch++) {
			const struct pair_role r = {.epoch = epoch, .active = n + 1};
			struct err e = ERR_INIT;
			b->ready[n] = epoch;
			while (b->ready[1 - n] < epoch)
				sched_yield();
			b->wrote[n][epoch] = role_write(root_fd, &r, &e) == 0;
		}
		_exit(0);
	}
	for (uint32_t n = 0; n < 2; n++)
		CHECK(waitpid(child[n], NULL, 0) == child[n]);
	for (unsigned epoch = 1; epoch <= EPOCHS; epoch++)
		CHECK_MSG(b->wrote[0][epoch] != b->wrote[1][epoch], "epoch %u was written %s", epoch,
			  b->wrote[0][epoch] ? "for both members" : "for none");
	munmap(b, sizeof(*b));
}

TEST(a_role_that_cannot_be_read)
{
	static const char *const bad[] = {"",
					  "[]",
					  "{\"epoch\": 1}",
					  "{\"epoch\": 1, \"active\": 3}",
					  "{\"epoch\": -1, \"active\": 1}",
					  "{\"epoch\": 1, \"active\": \"1\"}"};
	auto_one x = {0};
	struct pair_role r;
	member_open(&x, 1);
	CHECK_INT(fs_mkdirs(x.h.w.root_fd, "pair", 0700, &x.h.w.err), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		put_file(&x, "pair/role", bad[i]);
		CHECK_MSG(x.m->ops->role_get(x.m, &x.h.w.arena, &r, &x.h.w.err) == -1, "%s", bad[i]);
		CHECK_MSG(strstr(x.h.w.err.msg, "pair/role") && strstr(x.h.w.err.msg, "mends it"), "%s", x.h.w.err.msg);
	}
}

/* == traffic ====================================================================================================== */

TEST(traffic_by_its_own_configuration)
{
	auto_one x = {0};
	enum traffic_step_kind undo;
	member_open(&x, 1);
	struct traffic_step s = {.kind = TRAFFIC_RUN_DRAIN, .driver = 0, .member = 2};
	CHECK_INT(x.m->ops->traffic(x.m, &s, 1000, &undo, &x.h.w.err), -1); /* there is no pair.yml */
	CHECK_MSG(strstr(x.h.w.err.msg, "the same on both members"), "%s", x.h.w.err.msg);
	put_file(&x, "pair.yml",
		 arena_printf(&x.h.w.arena,
			      "traffic:\n"
			      "- command: {activate: [/bin/true], ready: [/bin/true], state: [/bin/echo, standby],\n"
			      "            drain: [/bin/sh, -c, 'echo drained $0 > %s/log', '{member}']}\n"
			      "- keepalived: {track-file: %s/track, weights: {active: 1, standby: 0},\n"
			      "               address: 127.9.9.9, interface: lo}\n",
			      x.h.w.root, x.h.w.root));
	CHECK_MSG(x.m->ops->traffic(x.m, &s, 5000, &undo, &x.h.w.err) == 0, "%s", x.h.w.err.msg);
	CHECK_STR(envs_slurp(&x.h.w, "../log"), "drained 2\n");
	CHECK_INT(undo, TRAFFIC_RUN_READY);
	CHECK_STR(look_of(&x).traffic.p, "standby");
	/* What no configuration has, and what is another member's. */
	s.driver = 2;
	CHECK_INT(x.m->ops->traffic(x.m, &s, 1000, &undo, &x.h.w.err), -1);
	s = (struct traffic_step){.kind = TRAFFIC_WEIGHT_ACTIVE, .driver = 1, .member = 2};
	CHECK_INT(x.m->ops->traffic(x.m, &s, 1000, &undo, &x.h.w.err), -1);
	CHECK_MSG(strstr(x.h.w.err.msg, "for member 2, not for member 1"), "%s", x.h.w.err.msg);
	s.member = 1;
	CHECK_MSG(x.m->ops->traffic(x.m, &s, 1000, &undo, &x.h.w.err) == 0, "%s", x.h.w.err.msg);
	CHECK_STR(envs_slurp(&x.h.w, "../track"), "1\n");
}

TEST(pair_yml)
{
	static const struct {
		const char *text, *message;
	} bad[] = {
		{"traffic:\n- nginx: {}\n", "/pair.yml:2: there is no driver 'nginx'"},
		{"\n\ntrafic: []\n", "/pair.yml:3: unknown key 'trafic'"},
		{"- traffic\n", "/pair.yml:1: this must be a map"},
	};
	auto_envs w = {0};
	struct pair_config c;
	envs_open(&w);
	CHECK_INT(pair_config_read(w.root_fd, w.root, &w.arena, &c, &w.err), 0);
	CHECK_INT(c.traffic.n, 0);
	for (size_t i = 0; i < 3; i++) {
		CHECK_INT(fs_replace(w.root_fd, "pair.yml", bad[i].text, strlen(bad[i].text), 0, &w.err), 0);
		CHECK_INT(pair_config_read(w.root_fd, w.root, &w.arena, &c, &w.err), -1);
		CHECK_MSG(strstr(w.err.msg, bad[i].message), "%s", w.err.msg);
	}
	CHECK_INT(fs_replace(w.root_fd, "pair.yml", "traffic: ~\n", 11, 0, &w.err), 0);
	CHECK_INT(pair_config_read(w.root_fd, w.root, &w.arena, &c, &w.err), 0);
}
