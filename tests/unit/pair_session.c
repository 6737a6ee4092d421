// SPDX-License-Identifier: Apache-2.0
/* Questions over a link: what arrives at the far end, what comes back, and what is refused there. */
#include "lib/envs.h"
#include "lib/far.h"
#include "lib/pairs.h"

#include <sys/eventfd.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "pair/status.h"

#define ID "0123456789abcdef0123456789abcdef"

/* Both sides: packages and their store here, an empty store there. */
struct sides {
	struct envs here, there;
	struct far far;
	struct pair_opts opts;
	struct member *m;
	struct link *raw; /* in place of m */
	pid_t child;
	struct buf told;
	char log[160];
};

static void told(void *ctx, const struct upgrade_event *v)
{
	struct sides *s = ctx;
	buf_printf(&s->told, "[%u] %d%s %s%s%s\n", v->member, v->kind, v->done ? " done" : "", v->text ? v->text : "",
		   v->failure ? ": " : "", v->failure ? v->failure->msg : "");
}

static void open_there(struct envs *w)
{
	w->opts = (struct env_opts){.command = "slipway test", .no_pyc = true, .threads = 2};
	snprintf(w->root, sizeof(w->root), "%s/there", test_tmp());
	w->root_fd = fs_open_dir_make(AT_FDCWD, w->root, &w->err);
	CHECK_MSG(w->root_fd >= 0 && store_open(w->root_fd, 0, &w->store, &w->err) == 0 &&
			  env_state_open(w->root_fd, w->root, 0, &w->st, &w->err) == 0,
		  "%s", w->err.msg);
}

static void sides_open(struct sides *s)
{
	envs_open(&s->here);
	open_there(&s->there);
	snprintf(s->log, sizeof(s->log), "%s/log", test_tmp());
	s->told = BUF_INIT(1 << 20);
	s->far.log = s->log;
	s->opts = (struct pair_opts){.local = {.root_fd = s->there.root_fd,
					       .root_path = s->there.root,
					       .reserve_bytes = 1,
					       .state = s->there.st,
					       .store = s->there.store,
					       .env_opts = s->there.opts}};
}

static void sides_link(struct sides *s)
{
	struct link *l;
	s->child = far_begin(&s->far, &s->opts, &l);
	s->m = member_remote(l, 2);
	s->m->event = told;
	s->m->ctx = s;
}

static void sides_raw(struct sides *s)
{
	s->child = far_begin(&s->far, &s->opts, &s->raw);
}

static void hang_up(struct sides *s)
{
	int status;
	if (s->m)
		s->m->ops->free(steal_ptr(&s->m));
	link_free(steal_ptr(&s->raw));
	if (s->child)
		CHECK(waitpid(s->child, &status, 0) == s->child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	s->child = 0;
}

static void sides_close(struct sides *s)
{
	hang_up(s);
	buf_release(&s->told);
	envs_close(&s->here);
	envs_close(&s->there);
}
#define auto_sides cleanup_with(sides_close) struct sides

/* What the far end did, so far. */
static const char *log_of(struct sides *s)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	(void)fs_read(AT_FDCWD, s->log, &b, &e);
	return arena_strdup(&s->here.arena, buf_str(&b));
}

static struct err e;

#define OK(call) CHECK_MSG((e = ERR_INIT, (call) == 0), "%s", e.msg)

/* One question as text, after which a well-behaved far end still answers. The text of its failure, "" where there is none. */
static const char *ask_raw(struct sides *s, const char *json, struct str bytes)
{
	struct wire_message m;
	struct err why = ERR_INIT;
	return link_call(s->raw, str_c(json), bytes, 5000, NULL, NULL, &s->here.arena, &m, &why) < 0
		       ? arena_printf(&s->here.arena, "%s: %s", err_code_name(why.code), why.msg)
		       : "";
}
#define ASK(json) ask_raw(&s, (json), STR_NONE)
#define REFUSES(json, words)                                                                                           \
	do {                                                                                                           \
		const char *answer_ = ASK(json);                                                                       \
		CHECK_MSG(strstr(answer_, (words)), "%s is answered '%s', not '%s'", (json), answer_, (words));        \
	} while (0)

TEST(looks_and_roles_and_outcomes_come_back_whole)
{
	auto_sides s = {0};
	sides_open(&s);
	s.far.status = (struct pair_member_status){
		.agent_version = STR("0.1"),
		.running_version = STR("web 1.1"),
		.state = STR("activated"),
		.operation_id = STR(ID),
		.current = 3,
		.committed = 2,
		.managed = true,
		.not_started = STR("systemd has no enabled unit"),
		.autostart_cure = STR("enable it"),
		.unhealthy = STR("service 'web': GET /health answers 500"),
		.leaving = 2,
		.free_bytes = 5,
		.total_bytes = (uint64_t)7 << 40,
		.free_inodes = 9,
		.wall_ms = 11,
		.uptime_ms = 13,
		.timer_left_ms = -1,
		.traffic = STR("carries"),
		.root = STR("/var/lib/slipway"),
	};
	s.far.role = (struct pair_role){4, 2, 17, STR("install activate"), 3, 1, {STR_NONE, STR_NONE, STR("site")}};
	sides_link(&s);
	struct pair_member_status got;
	struct pair_role role;
	struct str outcome;
	bool held = false;
	OK(s.m->ops->look(s.m, &s.here.arena, STR("web"), &got, &e));
	CHECK(got.number == 2 && !got.local && got.reachable && got.current == 3 && got.committed == 2);
	CHECK(str_eq(got.not_started, s.far.status.not_started) && str_eq_c(got.autostart_cure, "enable it"));
	CHECK(str_eq_c(got.root, "/var/lib/slipway"));
	CHECK(got.managed && !got.autostart && !got.healthy && got.free_bytes == 5 && got.free_inodes == 9);
	CHECK(got.total_bytes == (uint64_t)7 << 40 && got.wall_ms == 11 && got.uptime_ms == 13);
	CHECK_INT(got.timer_left_ms, -1);
	CHECK(str_eq(got.running_version, STR("web 1.1")) && str_eq(got.state, STR("activated")));
	CHECK(str_eq(got.operation_id, STR(ID)) && str_eq(got.traffic, STR("carries")));
	CHECK(str_eq(got.unhealthy, s.far.status.unhealthy) && str_eq(got.agent_version, STR("0.1")));
	CHECK_INT(got.leaving, 2);
	OK(s.m->ops->look(s.m, &s.here.arena, STR_NONE, &got, &e));
	OK(s.m->ops->role_get(s.m, &s.here.arena, &role, &e));
	CHECK(role.epoch == 4 && role.active == 2 && role.since_ms == 17 && role.switch_overs == 3);
	CHECK(str_eq(role.reason, STR("install activate")) && role.standby_failures == 1);
	CHECK(!role.drained[1].n && str_eq(role.drained[2], STR("site")));
	OK(s.m->ops->outcome(s.m, &s.here.arena, STR("web"), STR(ID), &outcome, &held, &e));
	CHECK(held && str_eq(outcome, STR("committed")));
	CHECK_STR(log_of(&s), "look web\nlook \noutcome web " ID "\n");
}

TEST(orders_arrive_whole_and_events_come_back)
{
	auto_sides s = {0};
	struct upgrade_check checks[3] = {
		{.name = STR("space")},
		{.name = STR("managed"), .finding = STR("1 file"), .cure = STR("mend")},
		{.name = STR("boot"), .finding = STR("nothing"), .cure = STR("start"), .advice = true}};
	sides_open(&s);
	s.far.checks = checks;
	s.far.checks_n = 3;
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 1000, &e));
	struct upgrade_request q = {
		.verb = UPGRADE_ARM,
		.issu = true,
		.then_commit = true,
		.stop_at_deprecated = true,
		.lays_out_anew = true,
		.timer_ms = 7200000,
		.generation = 4000000000,
		.operation = "apply",
		.operation_id = ID,
		.paired = true,
	};
	OK(s.m->ops->run(s.m, &q, &e));
	q = (struct upgrade_request){
		.verb = UPGRADE_ABORT, .then_activate = true, .keep_state = true, .by_timer = true};
	OK(s.m->ops->run(s.m, &q, &e));
	struct upgrade_check *got;
	size_t n;
	CHECK_INT(s.m->ops->preflight(s.m, &q, &s.here.arena, &got, &n, &e), 1);
	CHECK(n == 3 && str_eq(got[1].finding, STR("1 file")) && str_eq(got[1].cure, STR("mend")) &&
	      got[1].member == 2);
	CHECK(str_eq(got[0].name, STR("space")) && got[0].finding.n == 0);
	CHECK(!got[1].advice && got[2].advice && str_eq(got[2].finding, STR("nothing")));
	CHECK_INT(s.m->ops->settle(s.m, &e), 1);
	enum traffic_step_kind undo = TRAFFIC_NOTHING;
	OK(s.m->ops->traffic(s.m, &(struct traffic_step){.kind = TRAFFIC_WAIT_ADDRESS, .driver = 3, .member = 1}, 1500,
			     &undo, &e));
	CHECK_INT(undo, TRAFFIC_SET_READY);
	OK(s.m->ops->role_set(s.m, &(struct pair_role){5, 1, 19, STR("abort"), 4, 2, {STR_NONE}}, &e));
	s.m->ops->release(s.m);
	CHECK_STR(log_of(&s), arena_printf(&s.here.arena,
					   "hold web\n"
					   "run %d 10101011 7200000 4000000000 apply " ID " packages 0\nran\n"
					   "run %d 01010100 0 0 - - packages 0\nran\n"
					   "settle\ntraffic %d 3 1 on 2 1500\nrole 5 1 19 'abort' 4 2\nrelease\n",
					   UPGRADE_ARM, UPGRADE_ABORT, TRAFFIC_WAIT_ADDRESS));
	CHECK_STR(s.told.p, "[2] 3 begun\n[2] 3 done ended\n[2] 3 begun\n[2] 3 done ended\n");
}

TEST(who_asks_and_the_stages_are_told)
{
	auto_sides s = {0};
	const struct env_operation_step stage = {
		.name = STR("STAGE 2: standby reload"), .result = STR("passed"), .started_ms = 5, .ended_ms = 17};
	struct env_operation_step other = stage;
	sides_open(&s);
	sides_link(&s);
	s.m->who = "ann";
	s.m->command = "slipway install commit";
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	OK(s.m->ops->log(s.m, STR(ID), &stage, &e));
	other.name = STR("Commit"); /* a step of its own is nobody else's */
	CHECK_INT(s.m->ops->log(s.m, STR(ID), &other, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	s.m->ops->release(s.m);
	e = ERR_INIT;
	CHECK_INT(s.m->ops->log(s.m, STR(ID), &stage, &e), -1);
	s.m->who = s.m->command = NULL;
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	s.m->ops->release(s.m);
	CHECK_STR(log_of(&s), "hold web by ann (member 1): slipway install commit\n"
			      "log " ID " STAGE 2: standby reload: passed 5 17\nrelease\nhold web\nrelease\n");
}

/* On a command line there may be anything, of any length: none of it keeps an environment from being held. */
TEST(a_long_command_of_any_bytes_is_cut)
{
	enum { LONG = 6000 };
	auto_sides s = {0};
	char two[LONG], none[LONG];
	for (size_t i = 0; i < LONG; i++) {
		two[i] = i % 2 ? '\xc3' : '\xa4'; /* "ä" is cut in two at each even number */
		none[i] = '\xff';
	}
	two[0] = none[0] = 'x';
	two[LONG - 1] = none[LONG - 1] = '\0';
	sides_open(&s);
	sides_link(&s);
	s.m->command = two;
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	s.m->ops->release(s.m);
	s.m->who = s.m->command = none;
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	struct env_operation_step stage = {.name = STR("STAGE 1: copy"), .result = str_of(none, ERR_MSG_SIZE - 1)};
	OK(s.m->ops->log(s.m, STR(ID), &stage, &e));
	s.m->ops->release(s.m);
	const char *log = log_of(&s);
	CHECK(str_starts(str_c(log), STR("hold web: x\xc3\xa4")) && strstr(log, "\xc3\xa4\nrelease\n"));
	CHECK(strstr(log, "hold web by x\xef\xbf\xbd") && strstr(log, "log " ID " STAGE 1: copy: x\xef\xbf\xbd"));
}

TEST(every_verb_and_step_has_its_word)
{
	auto_arena a = ARENA_INIT;
	for (int v = UPGRADE_ADD; v <= UPGRADE_WITHDRAW; v++) {
		auto_buf b = BUF_INIT(4096);
		struct jw w = JW_INIT(&b, 0);
		struct upgrade_request got;
		jw_object(&w);
		message_put_request(&w, &(struct upgrade_request){.verb = (enum upgrade_verb)v});
		jw_object_end(&w);
		const struct json *j = json_parse(&a, arena_str(&a, buf_str(&b)), "test", &e);
		CHECK(j);
		OK(message_read_request(j, &a, &got, &e));
		CHECK_INT(got.verb, v);
	}
	for (int k = TRAFFIC_NOTHING; k <= TRAFFIC_RUN_ACTIVE; k++) {
		enum traffic_step_kind got;
		OK(message_read_step_word(str_c(message_step_word((enum traffic_step_kind)k)), &got, &e));
		CHECK_INT(got, k);
	}
}

TEST(a_failure_comes_back_with_its_code_and_its_events)
{
	auto_sides s = {0};
	sides_open(&s);
	(void)err_new(&s.far.fails, ERR_ROLLED_BACK, "service 'web' is not healthy");
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 1000, &e));
	const struct upgrade_request q = {.verb = UPGRADE_ACTIVATE};
	CHECK_INT(s.m->ops->run(s.m, &q, &e), -1);
	CHECK_INT(e.code, ERR_ROLLED_BACK);
	CHECK_STR(e.msg, "member 2: service 'web' is not healthy");
	CHECK(strstr(s.told.p, "done ended: service 'web' is not healthy\n"));
}

/* What a service prints gets into what is told of it. */
TEST(texts_come_back_without_what_a_terminal_obeys)
{
	auto_sides s = {0};
	struct pair_member_status got;
	sides_open(&s);
	(void)err_new(&s.far.fails, ERR_ROLLED_BACK, "it said \033[31mred\033[0m\ttwice\n  and more");
	s.far.status =
		(struct pair_member_status){.wall_ms = 1, .unhealthy = STR("web: \033[2J\x7f"), .timer_left_ms = -1};
	sides_link(&s);
	OK(s.m->ops->look(s.m, &s.here.arena, STR_NONE, &got, &e));
	CHECK_STR(got.unhealthy.p, "web: ?[2J?");
	OK(s.m->ops->hold(s.m, STR("web"), 1000, &e));
	CHECK_INT(s.m->ops->run(s.m, &(struct upgrade_request){.verb = UPGRADE_ACTIVATE}, &e), -1);
	CHECK_INT(e.code, ERR_ROLLED_BACK);
	CHECK_STR(e.msg, "member 2: it said ?[31mred?[0m\ttwice\n  and more");
	CHECK(strstr(s.told.p, "done ended: it said ?[31mred"));
}

TEST(a_full_disk_there_is_told_with_what_makes_room)
{
	auto_sides s = {0};
	sides_open(&s);
	(void)err_new(&s.far.fails, ERR_FAILED, "state.db: step: database or disk is full");
	s.far.fails.sys = ENOSPC;
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 1000, &e));
	CHECK_INT(s.m->ops->run(s.m, &(struct upgrade_request){.verb = UPGRADE_ABORT}, &e), -1);
	CHECK_MSG(strstr(e.msg, "disk is full; make room on member 2"), "%s", e.msg);
}

TEST(network_means_the_link_alone)
{
	auto_sides s = {0};
	sides_open(&s);
	(void)err_new(&s.far.fails, ERR_NETWORK, "channel does not answer");
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 1000, &e));
	const struct upgrade_request q = {.verb = UPGRADE_ACTIVATE};
	CHECK_INT(s.m->ops->run(s.m, &q, &e), -1);
	CHECK_INT(e.code, ERR_FAILED);
	kill(s.child, SIGKILL);
	waitpid(s.child, NULL, 0);
	s.child = 0;
	CHECK_INT(s.m->ops->run(s.m, &q, &e), -1);
	CHECK_INT(e.code, ERR_NETWORK);
}

TEST(holds_are_waited_for)
{
	auto_sides s = {0};
	sides_open(&s);
	s.far.busy = 2;
	sides_link(&s);
	CHECK_INT(s.m->ops->hold(s.m, STR("web"), 300, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	OK(s.m->ops->hold(s.m, STR("web"), 5000, &e));
	CHECK_INT(s.m->ops->hold(s.m, STR("web"), 0, &e), -1);
	CHECK(strstr(e.msg, "'web' is held already"));
}

/* The link itself says that it is alive meanwhile. */
TEST(a_step_may_take_longer_than_silence_may)
{
	auto_sides s = {0};
	sides_open(&s);
	s.far.slow_ms = LINK_SILENT_MS + 1000;
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	OK(s.m->ops->run(s.m, &(struct upgrade_request){.verb = UPGRADE_COMMIT}, &e));
}

TEST(a_step_goes_to_its_end_though_the_asker_is_gone)
{
	auto_sides s = {0};
	sides_open(&s);
	s.far.slow_ms = 800;
	sides_raw(&s);
	CHECK_STR(ASK("{\"ask\":\"hold\",\"env\":\"web\",\"wait_ms\":0}"), "");
	OK(link_put(s.raw, STR("{\"ask\":\"run\",\"verb\":\"commit\"}"), STR_NONE, &e));
	int64_t began = clock_system.mono_ms(&clock_system);
	hang_up(&s);
	CHECK(clock_system.mono_ms(&clock_system) - began < 4000);
	CHECK_STR(strchr(log_of(&s), '\n'),
		  arena_printf(&s.here.arena, "\nrun %d 00000000 0 0 - - packages 0\nran\nrelease\nend -1\n",
			       UPGRADE_COMMIT));
}

TEST(nobody_is_waited_for_who_is_gone)
{
	auto_sides s = {0};
	sides_open(&s);
	s.far.busy = 1000;
	sides_raw(&s);
	OK(link_put(s.raw, STR("{\"ask\":\"hold\",\"env\":\"web\",\"wait_ms\":3600000}"), STR_NONE, &e));
	hang_up(&s); /* the test's time-out is shorter than that */
	CHECK_STR(log_of(&s), "end -1\n");
}

TEST(who_asks_nothing_and_holds_nothing_is_hung_up_on)
{
	auto_sides s = {0};
	struct pair_member_status got;
	sides_open(&s);
	s.opts.idle_ms = 300;
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	(void)poll(NULL, 0, 900);
	OK(s.m->ops->look(s.m, &s.here.arena, STR("web"), &got, &e));
	s.m->ops->release(s.m);
	OK(s.m->ops->look(s.m, &s.here.arena, STR("web"), &got, &e));
	(void)poll(NULL, 0, 900);
	e = ERR_INIT;
	CHECK(s.m->ops->look(s.m, &s.here.arena, STR("web"), &got, &e) < 0);
	CHECK_MSG(e.code == ERR_NETWORK, "%s", e.msg);
}

static bool becomes(struct pair_seat *seat, enum pair_seat_state state)
{
	for (int i = 0; i < 500 && seat->state != (int)state; i++)
		(void)poll(NULL, 0, 10);
	return seat->state == (int)state;
}

TEST(only_who_is_idle_can_be_displaced)
{
	auto_sides s = {0};
	struct pair_member_status got;
	uint64_t told_n = 0;
	struct pair_seat *seat = mmap(NULL, sizeof(*seat), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(seat != MAP_FAILED && seat->state == PAIR_SEAT_NEW && !pair_seat_take(seat));
	sides_open(&s);
	s.opts.seat = seat;
	seat->wake_fd = eventfd(0, EFD_CLOEXEC);
	sides_link(&s);
	CHECK(read(seat->wake_fd, &told_n, sizeof(told_n)) == sizeof(told_n) && told_n == 1);
	CHECK(becomes(seat, PAIR_SEAT_IDLE) && seat->since_ms > 0);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	CHECK(becomes(seat, PAIR_SEAT_AT_WORK));
	OK(s.m->ops->look(s.m, &s.here.arena, STR("web"), &got, &e));
	CHECK(becomes(seat, PAIR_SEAT_AT_WORK));
	CHECK(!pair_seat_take(seat));
	s.m->ops->release(s.m);
	CHECK(becomes(seat, PAIR_SEAT_IDLE));
	CHECK(pair_seat_take(seat));
	e = ERR_INIT;
	CHECK(s.m->ops->hold(s.m, STR("web"), 0, &e) < 0); /* nothing is begun there any more */
	CHECK_MSG(e.code == ERR_NETWORK, "%s", e.msg);
	CHECK(!strstr(strstr(log_of(&s), "release"), "hold"));
	close(seat->wake_fd);
	munmap(seat, sizeof(*seat));
}

TEST(what_is_no_question_is_refused_and_the_next_is_answered)
{
	auto_sides s = {0};
	sides_open(&s);
	sides_raw(&s);
	REFUSES("{}", "'ask'");
	REFUSES("{\"ask\":1}", "'ask'");
	REFUSES("{\"ask\":\"reboot\"}", "unsupported: 'reboot' is nothing that slipway");
	REFUSES("{\"ask\":\"look\",\"env\":\"../web\"}", "usage: ");
	REFUSES("{\"ask\":\"look\",\"env\":\"current\"}", "'current'");
	REFUSES("{\"ask\":\"look\",\"env\":7}", "'env'");
	REFUSES("{\"ask\":\"outcome\",\"env\":\"web\",\"id\":\"" ID "0\"}", "'id' is not 32 hexadecimal digits");
	REFUSES("{\"ask\":\"outcome\",\"env\":\"web\",\"id\":\"0123456789ABCDEF0123456789abcdef\"}", "'id' is not 32");
	REFUSES("{\"ask\":\"hold\",\"env\":\"web\"}", "'wait_ms'");
	REFUSES("{\"ask\":\"hold\",\"env\":\"web\",\"wait_ms\":-1}", "'wait_ms' is -1");
	REFUSES("{\"ask\":\"hold\",\"env\":\"\",\"wait_ms\":1}", "usage: ");
	static const char *const held[] = {"preflight", "run",	  "settle", "traffic",
					   "set-role",	"recipe", "have",   "put"};
	for (size_t i = 0; i < sizeof(held) / sizeof(*held); i++)
		REFUSES(arena_printf(&s.here.arena, "{\"ask\":\"%s\",\"verb\":\"commit\"}", held[i]),
			"needs an environment that is held");
	CHECK_STR(ASK("{\"ask\":\"hold\",\"env\":\"web\",\"wait_ms\":0}"), "");
	REFUSES("{\"ask\":\"run\"}", "'verb'");
	REFUSES("{\"ask\":\"run\",\"verb\":\"format\"}", "unsupported: 'format' is no order");
	REFUSES("{\"ask\":\"run\",\"verb\":\"add\"}", "no recipe came before");
	REFUSES("{\"ask\":\"run\",\"verb\":\"rollback\",\"generation\":1}", "would change member 2 alone");
	REFUSES("{\"ask\":\"run\",\"verb\":\"arm\",\"timer_ms\":-5}", "'timer_ms' is -5");
	REFUSES("{\"ask\":\"run\",\"verb\":\"arm\",\"generation\":4294967296}", "'generation'");
	REFUSES("{\"ask\":\"run\",\"verb\":\"arm\",\"operation_id\":\"x\"}", "'operation_id'");
	REFUSES("{\"ask\":\"run\",\"verb\":\"arm\",\"operation\":\"x\\n\"}", "is no operation");
	REFUSES("{\"ask\":\"run\",\"verb\":\"arm\",\"issu\":1}", "'issu'");
	REFUSES("{\"ask\":\"traffic\",\"step\":\"explode\",\"driver\":0,\"member\":1,\"wait_ms\":1}",
		"step of traffic");
	REFUSES("{\"ask\":\"traffic\",\"step\":\"wait-up\",\"driver\":16,\"member\":1,\"wait_ms\":1}",
		"'driver' is 16");
	REFUSES("{\"ask\":\"traffic\",\"step\":\"wait-up\",\"driver\":0,\"member\":3,\"wait_ms\":1}", "'member' is 3");
	REFUSES("{\"ask\":\"set-role\",\"role\":{\"epoch\":1,\"active\":0,\"since_ms\":0}}", "'active' is 0");
	REFUSES("{\"ask\":\"set-role\"}", "'role'");
	REFUSES("{\"ask\":\"recipe\",\"at\":0,\"size\":99999999999}", "'size'");
	REFUSES("{\"ask\":\"recipe\",\"at\":5,\"size\":10}", "do not go on at 0");
	REFUSES("{\"ask\":\"recipe\",\"at\":0,\"size\":10}", "do not go on");
	CHECK(strstr(ask_raw(&s, "{\"ask\":\"recipe\",\"at\":0,\"size\":9}", STR("recipe 99")), "recipe:"));
	CHECK(strstr(ask_raw(&s, "{\"ask\":\"recipe\",\"at\":0,\"size\":18}", STR("recipe 1\nspec web\n")),
		     "not a lock"));
	CHECK(strstr(ask_raw(&s, "{\"ask\":\"have\"}", STR("short")), "no list of digests"));
	REFUSES("{\"ask\":\"put\",\"blob\":\"12\",\"at\":0,\"size\":1}", "'blob' is not a SHA-256");
	CHECK_STR(strstr(log_of(&s), "run"), NULL);
	CHECK_STR(ASK("{\"ask\":\"settle\"}"), "");
}

/* -- recipes and archives ------------------------------------------------------------------------------------------- */

static char *noise(struct arena *a, size_t n, uint32_t seed)
{
	char *p = arena_alloc(a, n + 1);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (char)('!' + (seed >> 20) % 90);
	}
	p[n] = '\0';
	return p;
}

/* A lock of `n` packages that are in the store here; the first of them is large. */
static struct env_spec_file lock_here(struct sides *s, uint32_t n)
{
	struct envs *w = &s->here;
	struct env_lock_package *p = arena_array(&w->arena, struct env_lock_package, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct envs_file f = {arena_printf(&w->arena, "share/p%u", i),
					    i ? "small" : noise(&w->arena, 6 << 20, 1), false, false};
		p[i] = envs_package(w, arena_printf(&w->arena, "p%u", i), "1", &f, 1);
	}
	const struct env_spec_file lock = {.packages = p, .packages_n = n, .is_lock = true};
	struct env_plan plan;
	CHECK_MSG(env_plan(&lock, NULL, w->store, &w->arena, &plan, &w->err) == 0 &&
			  env_prepare(w->store, NULL, &plan, &w->opts, &w->arena, &w->err) == 0,
		  "%s", w->err.msg);
	return plan.target;
}

/* From here on nothing can be had from the channel. */
static void close_channel(struct sides *s)
{
	CHECK_MSG(fs_remove_tree(s->here.root_fd, "ch", &e) == 0, "%s", e.msg);
}

static void check_there(struct sides *s, const struct env_spec_file *lock)
{
	for (uint32_t i = 0; i < lock->packages_n; i++) {
		uint8_t got[SHA256_SIZE];
		auto_fd fd = store_blob_open(s->there.store, lock->packages[i].record.sha256, &e);
		CHECK_MSG(fd >= 0 && sha256_fd(fd, got, &e) == 0, "%s", e.msg);
		CHECK(memcmp(got, lock->packages[i].record.sha256, SHA256_SIZE) == 0);
	}
}

TEST(archives_are_copied_once_and_added_without_the_channel)
{
	auto_sides s = {0};
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 40);
	close_channel(&s);
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	OK(s.m->ops->copy(s.m, &lock, s.here.store, &e));
	CHECK_MSG(strstr(s.told.p, "40 archives (") && !strstr(s.told.p, "no longer"), "%s", s.told.p);
	check_there(&s, &lock);
	buf_clear(&s.told);
	OK(s.m->ops->copy(s.m, &lock, s.here.store, &e));
	CHECK_STR(s.told.p, "");
	const struct env_plan plan = {.target = lock};
	const struct upgrade_request q = {.verb = UPGRADE_ADD, .plan = &plan, .operation_id = ID, .paired = true};
	OK(s.m->ops->run(s.m, &q, &e));
	CHECK(strstr(log_of(&s), "packages 40\nran\n"));
	for (uint32_t i = 0; i < lock.packages_n; i++)
		CHECK_INT(store_has_tree(s.there.store, lock.packages[i].record.sha256), 1);
}

static void put_partial(struct sides *s, const uint8_t sha[SHA256_SIZE], struct str bytes)
{
	uint64_t have;
	auto_fd fd = -1;
	OK(store_partial_open(s->there.store, sha, &fd, &have, &e));
	CHECK_INT(have, 0);
	CHECK_INT(write(fd, bytes.p, bytes.n), bytes.n);
}

TEST(a_copy_goes_on_where_it_was_cut_off)
{
	auto_sides s = {0};
	auto_buf whole = BUF_INIT(64 << 20), path = BUF_INIT(4096);
	struct copy_report report;
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 1);
	const uint8_t *sha = lock.packages[0].record.sha256;
	OK(store_blob_path(s.here.store, sha, &path, &e));
	OK(fs_read(AT_FDCWD, path.p, &whole, &e));
	put_partial(&s, sha, str_head(buf_str(&whole), 1000001));
	sides_raw(&s);
	CHECK_STR(ASK("{\"ask\":\"hold\",\"env\":\"web\",\"wait_ms\":0}"), "");
	OK(copy_send(s.raw, &lock, s.here.store, NULL, NULL, &report, &e));
	CHECK_INT(report.bytes, whole.n - 1000001);
	check_there(&s, &lock);
}

TEST(a_damaged_beginning_is_sent_again)
{
	auto_sides s = {0};
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 3);
	put_partial(&s, lock.packages[0].record.sha256, STR("this is not how it begins"));
	put_partial(&s, lock.packages[1].record.sha256, str_c(noise(&s.here.arena, 100000, 2))); /* longer than it is */
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	OK(s.m->ops->copy(s.m, &lock, s.here.store, &e));
	CHECK_STR(e.msg, "");
	check_there(&s, &lock);
}

TEST(what_there_is_no_room_for_is_refused_before_a_byte_is_taken)
{
	auto_sides s = {0};
	char hex[SHA256_HEX_SIZE];
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 3);
	const uint8_t *sha = lock.packages[0].record.sha256;
	hex_encode(sha, SHA256_SIZE, hex);
	sides_raw(&s);
	CHECK_STR(ASK("{\"ask\":\"hold\",\"env\":\"web\",\"wait_ms\":0}"), "");
	/* announced: this archive, and others after it */
	const char *put = arena_printf(&s.here.arena,
				       "{\"ask\":\"put\",\"blob\":\"%s\",\"at\":0,\"size\":9,"
				       "\"left\":%lld}",
				       hex, (long long)1 << 60);
	const char *answer = ask_raw(&s, put, STR("x"));
	CHECK_MSG(strstr(answer, "MiB are free in '") && strstr(answer, "where 1099511627776 MiB are needed") &&
			  strstr(answer, "make room on member 2: 'slipway store gc'"),
		  "%s", answer);
	CHECK_INT(store_partial_size(s.there.store, sha), 0);
	put = arena_printf(&s.here.arena, "{\"ask\":\"put\",\"blob\":\"%s\",\"at\":0,\"size\":9}", hex);
	CHECK_STR(ask_raw(&s, put, STR("x")), "");
	CHECK_INT(store_partial_size(s.there.store, sha), 1);
	hang_up(&s);
	/* the reserve counts, too */
	s.opts.local.reserve_bytes = (uint64_t)1 << 60;
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	CHECK_INT(s.m->ops->copy(s.m, &lock, s.here.store, &e), -1);
	CHECK_MSG(strstr(e.msg, "member 2: ") && strstr(e.msg, "1099511627776 MiB stay free"), "%s", e.msg);
	for (size_t i = 1; i < 3; i++)
		CHECK_INT(store_partial_size(s.there.store, lock.packages[i].record.sha256), 0);
}

/* As if the disk here had lied. */
TEST(an_archive_with_another_digest_is_not_taken)
{
	auto_sides s = {0};
	auto_buf path = BUF_INIT(4096);
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 3);
	OK(store_blob_path(s.here.store, lock.packages[0].record.sha256, &path, &e));
	auto_fd fd = open(path.p, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0 && pwrite(fd, "XXXX", 4, 300000) == 4);
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	CHECK_INT(s.m->ops->copy(s.m, &lock, s.here.store, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK(strstr(e.msg, "member 2: what came for archive"));
	CHECK_INT(store_has_blob(s.there.store, lock.packages[0].record.sha256), 0);
	OK(s.m->ops->settle(s.m, &e) - 1); /* and the link is in step */
}

/* The blob of an archive is a folder here: it opens, and cannot be read. */
TEST(after_an_archive_that_cannot_be_read_the_link_is_in_step)
{
	auto_sides s = {0};
	auto_buf path = BUF_INIT(4096);
	struct pair_member_status got;
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 3);
	size_t last = 0;
	for (size_t i = 1; i < 3; i++)
		if (memcmp(lock.packages[i].record.sha256, lock.packages[last].record.sha256, SHA256_SIZE) > 0)
			last = i;
	OK(store_blob_path(s.here.store, lock.packages[last].record.sha256, &path, &e));
	CHECK(unlink(path.p) == 0 && mkdir(path.p, 0700) == 0);
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	CHECK_INT(s.m->ops->copy(s.m, &lock, s.here.store, &e), -1);
	CHECK_MSG(strstr(e.msg, "Is a directory") || strstr(e.msg, "seek"), "%s", e.msg);
	OK(s.m->ops->look(s.m, &s.here.arena, STR_NONE, &got, &e));
}

TEST(what_gc_removed_here_is_fetched_there_and_told)
{
	auto_sides s = {0};
	auto_buf path = BUF_INIT(4096);
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 3);
	OK(store_blob_path(s.here.store, lock.packages[1].record.sha256, &path, &e));
	CHECK(unlink(path.p) == 0);
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	OK(s.m->ops->copy(s.m, &lock, s.here.store, &e));
	CHECK_MSG(strstr(s.told.p,
			 "1 archive of it ('p1-1-0.conda' is the first) is no longer in this host's store: member 2 "
			 "fetches"),
		  "%s", s.told.p);
	const struct env_plan plan = {.target = lock};
	const struct upgrade_request q = {.verb = UPGRADE_ADD, .plan = &plan, .operation_id = ID, .paired = true};
	struct upgrade_request alone = q;
	alone.paired = false;
	CHECK(s.m->ops->run(s.m, &alone, &e) < 0 && strstr(e.msg, "would change member 2 alone"));
	OK(s.m->ops->run(s.m, &q, &e));
	CHECK_INT(store_has_tree(s.there.store, lock.packages[1].record.sha256), 1);
}

TEST(a_recipe_that_does_not_fit_that_host_is_refused_there)
{
	auto_sides s = {0};
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 1);
	struct env_lock_package *p = (struct env_lock_package *)lock.packages;
	const struct str depends[] = {STR("__glibc >=99")}, specs[] = {STR("p0")};
	p->record.depends = depends;
	p->record.depends_n = 1;
	lock.specs = specs;
	lock.specs_n = 1;
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	const struct env_plan plan = {.target = lock};
	const struct upgrade_request q = {.verb = UPGRADE_ADD, .plan = &plan, .operation_id = ID, .paired = true};
	CHECK_INT(s.m->ops->run(s.m, &q, &e), -1);
	CHECK_MSG(strstr(e.msg, "does not fit this host") && strstr(e.msg, "__glibc >=99"), "%s", e.msg);
	CHECK_STR(log_of(&s), "hold web\n");
}

/* A lock of some thousand packages has more than one message takes. */
TEST(a_large_recipe_comes_in_pieces)
{
	auto_sides s = {0};
	sides_open(&s);
	struct env_spec_file lock = lock_here(&s, 1);
	struct env_lock_package *p = arena_array(&s.here.arena, struct env_lock_package, 9000);
	for (uint32_t i = 0; i < 9000; i++) {
		p[i] = lock.packages[0];
		p[i].record.name = str_c(arena_printf(&s.here.arena, "p%u", i));
	}
	lock.packages = p;
	lock.packages_n = 9000;
	sides_link(&s);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	const struct env_plan plan = {.target = lock};
	const struct upgrade_request q = {.verb = UPGRADE_ADD, .plan = &plan, .operation_id = ID, .paired = true};
	int rc = s.m->ops->run(s.m, &q, &e);
	CHECK_MSG(strstr(log_of(&s), "packages 9000\n"), "%d %s", rc, e.msg);
}

/* -- two real hosts ------------------------------------------------------------------------------------------------- */

static void serve_there(struct pairs *p, int fd, const struct pair_opts *o)
{
	auto_ptr(link) l = NULL;
	auto_fd own = fd;
	if (link_accept(p->root_fd[2], &p->pair[2], steal_fd(&own), 5000, &l, &e) < 0 || session_run(l, o, &e) < 0)
		test_fail(__FILE__, __LINE__, "%s", e.msg);
}

static struct pair_opts opts_of(struct pairs *p, uint32_t i, struct env_state **st)
{
	CHECK_MSG(env_state_open(p->root_fd[i], p->root[i], 0, st, &e) == 0, "%s", e.msg);
	return (struct pair_opts){.local = {.state = *st,
					    .root_fd = p->root_fd[i],
					    .root_path = p->root[i],
					    .reserve_bytes = 1,
					    .autostart_elsewhere = true}};
}

/* Member 2 in a child that takes one connection. */
static pid_t begin_member_2(struct pairs *p)
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child > 0)
		return child;
	auto_ptr(env_state) st = NULL;
	const struct pair_opts o = opts_of(p, 2, &st);
	int fd = accept4(p->listen_fd[2], NULL, NULL, SOCK_CLOEXEC);
	CHECK(fd >= 0);
	serve_there(p, fd, &o);
	_exit(0);
}

TEST(status_has_both_members_and_one_that_is_away)
{
	auto_arena a = ARENA_INIT;
	auto_pairs p = {0};
	auto_ptr(env_state) st = NULL;
	struct pair_status s;
	pairs_open(&p);
	const struct pair_opts o = opts_of(&p, 1, &st);
	pid_t child = begin_member_2(&p);
	OK(pair_status(&o, &a, STR_NONE, &s, &e));
	CHECK(s.pair.joined && s.pair.self == 1 && s.role.active == 1);
	CHECK(s.member[1].local && s.member[1].reachable && !s.member[2].local);
	CHECK_MSG(s.member[2].reachable, "%.*s", STR_ARG(s.member[2].why));
	CHECK(s.member[2].total_bytes > 0 && s.member[2].number == 2);
	CHECK_MSG(s.hot && s.cold.n == 0, "%.*s", STR_ARG(s.cold));
	CHECK(waitpid(child, NULL, 0) == child);
	cleanup_fd(&p.listen_fd[2]);
	OK(pair_status(&o, &a, STR_NONE, &s, &e));
	CHECK(s.member[1].reachable && !s.member[2].reachable && !s.hot);
	CHECK_MSG(str_search(s.member[2].why, STR("'m2' at ")) >= 0, "%.*s", STR_ARG(s.member[2].why));
	CHECK(str_eq(s.cold, s.member[2].why));
}

TEST(status_of_a_host_that_is_no_member)
{
	auto_arena a = ARENA_INIT;
	auto_sides s = {0};
	struct pair_status got;
	sides_open(&s);
	const struct pair_opts o = {.local = {.state = s.here.st, .root_fd = s.here.root_fd, .root_path = s.here.root}};
	OK(pair_status(&o, &a, STR_NONE, &got, &e));
	CHECK(!got.pair.joined && got.pair.self == 1 && got.role.active == 1 && got.member[1].reachable && !got.hot);
	CHECK(str_eq(got.cold, STR("there is no other member")));
}

/* As the agent serves it: with nothing open but the state. */
TEST(a_real_member_adds_what_it_is_sent)
{
	auto_sides s = {0};
	auto_pairs p = {0};
	struct link *l = NULL;
	struct pair_member_status got;
	sides_open(&s);
	pairs_open(&p);
	struct env_spec_file lock = lock_here(&s, 3);
	close_channel(&s);
	pid_t child = begin_member_2(&p);
	OK(link_connect(p.root_fd[1], &p.pair[1], 5000, &l, &e));
	s.m = member_remote(l, 2);
	OK(s.m->ops->hold(s.m, STR("web"), 0, &e));
	OK(s.m->ops->copy(s.m, &lock, s.here.store, &e));
	const struct env_plan plan = {.target = lock};
	const struct upgrade_request q = {.verb = UPGRADE_ADD, .plan = &plan, .operation_id = ID, .paired = true};
	OK(s.m->ops->run(s.m, &q, &e));
	OK(s.m->ops->look(s.m, &s.here.arena, STR("web"), &got, &e));
	CHECK_MSG(str_eq(got.state, STR("added")) && str_eq(got.operation_id, STR(ID)), "%.*s", STR_ARG(got.state));
	OK(s.m->ops->run(s.m, &(struct upgrade_request){.verb = UPGRADE_ABORT, .operation_id = ID}, &e));
	s.m->ops->release(s.m);
	s.m->ops->free(steal_ptr(&s.m));
	int status = -1;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static struct str cold_of(struct arena *a, struct far *one, struct far *two)
{
	struct pair_status s = {.pair = {.self = 1, .joined = true}};
	far_member(one);
	far_member(two);
	one->m.number = 1;
	OK(status_gather(&one->m, &two->m, STR_NONE, a, STR("web"), &s, &e));
	CHECK_INT(s.hot, s.cold.n == 0);
	return s.cold;
}

TEST(a_standby_is_hot_when_it_could_take_over_as_it_is)
{
	auto_arena a = ARENA_INIT;
	struct far one = {0}, two = {0};
	one.status = (struct pair_member_status){
		.running_version = STR("web 1.0"), .state = STR("none"), .healthy = true, .timer_left_ms = -1};
	two.status = one.status;
	one.role = (struct pair_role){.epoch = 3, .active = 1};
	two.role = (struct pair_role){.epoch = 4, .active = 2}; /* the later one is right */
	CHECK_INT(cold_of(&a, &one, &two).n, 0);
	one.status.healthy = false;
	one.status.unhealthy = STR("service 'web' is failed");
	CHECK(str_eq(cold_of(&a, &one, &two), STR("service 'web' is failed")));
	one.status.healthy = true;
	two.status.healthy = false; /* of who is active, not of the standby */
	CHECK_INT(cold_of(&a, &one, &two).n, 0);
	one.status.running_version = STR("web 1.1");
	CHECK(str_eq(cold_of(&a, &one, &two), STR("it runs 'web 1.1', the active member 'web 1.0'")));
	one.status.running_version = STR("web 1.0");
	two.status.state = STR("activated");
	CHECK(str_search(cold_of(&a, &one, &two), STR("state 'none'")) >= 0);
}
