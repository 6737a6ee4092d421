// SPDX-License-Identifier: Apache-2.0
/* What moves traffic: its configuration, its plans, and answers that nobody should believe. The real parts: tests/cli/traffic.sh. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/fs.h"
#include "lib/test.h"
#include "pair/traffic_drivers.h"

#define HAPROXY "haproxy: {socket: /run/h.sock, backend: web, servers: {1: web1, 2: web2}}"
#define KEEPALIVED                                                                                                     \
	"keepalived: {track-file: /run/vrrp, weights: {active: 100, standby: 0}, address: 10.0.0.100, interface: eth0}"
#define COMMAND                                                                                                        \
	"command: {activate: [/bin/a, '{member}'], drain: [/bin/d, x], ready: [/bin/r], state: [/bin/echo, standby]}"

static struct arena arena;
static struct err err;

static int read_config(const char *text, struct traffic_config *c)
{
	err = ERR_INIT;
	const struct yaml *y = yaml_parse(&arena, str_c(text), "pair.yml", &err);
	return y ? traffic_read(&arena, yaml_get(y, "traffic"), c, &err) : -1;
}

static struct traffic_config config(const char *text)
{
	struct traffic_config c;
	CHECK_MSG(read_config(text, &c) == 0, "%s", err.msg);
	return c;
}

static void says(const char *text, const char *message)
{
	struct traffic_config c;
	CHECK_MSG(read_config(text, &c) < 0, "accepted: %s", text);
	CHECK_MSG(strstr(err.msg, message) != NULL, "'%s' does not say '%s'", err.msg, message);
}

TEST(reads_all_drivers)
{
	struct traffic_config c = config("traffic:\n- " HAPROXY "\n- " KEEPALIVED "\n- " COMMAND "\n");
	CHECK_INT(c.n, 3);
	CHECK_INT(c.driver[0].kind, TRAFFIC_HAPROXY);
	CHECK(!c.driver[0].share_active);
	CHECK_STR(c.driver[0].server[2].p, "web2");
	CHECK_INT(c.driver[1].weight_active, 100);
	CHECK_STR(c.driver[1].address.p, "10.0.0.100");
	CHECK_STR(c.driver[2].argv[TRAFFIC_ACTIVE][1], "{member}");
	CHECK_STR(c.driver[2].argv[TRAFFIC_VERBS][0], "/bin/echo");
	CHECK_INT(config("other: 1\n").n, 0);
	CHECK(config("traffic: [{haproxy: {socket: 'ipv4@127.0.0.1:9999', backend: b, share: active, "
		     "servers: {2: y, 1: x}}}]")
		      .driver[0]
		      .share_active);
	(void)config("traffic: [{haproxy: {socket: 'ipv6@::1:9999', backend: b, servers: {2: y, 1: x}}}]");
	arena_release(&arena);
}

TEST(refuses_with_file_and_line)
{
	says("traffic:\n- haproxy: {}\n", "pair.yml:2: 'haproxy' needs its 'socket'");
	says("traffic:\n- haproxy:\n    sokcet: x\n",
	     "pair.yml:3: 'haproxy' has no 'sokcet'; known are socket, backend, servers, share");
	says("traffic:\n- nginx: {}\n", "pair.yml:2: there is no driver 'nginx'; known are");
	says("traffic: {}\n", "pair.yml:1: 'traffic' must be a list");
	says("traffic: [x]\n", "a driver is one of");
	says("traffic: [{haproxy: {socket: run/h.sock}}]", "absolute path");
	says("traffic: [{haproxy: {socket: 'ipv4@localhost:1'}}]", "ipv4@HOST:PORT");
	says("traffic: [{haproxy: {socket: 'ipv4@127.0.0.1:0'}}]", "ipv4@HOST:PORT");
	says("traffic: [{haproxy: {backend: 'web; shutdown sessions server a/b'}}]", "may hold letters");
	says("traffic: [{haproxy: {backend: \"a\\nb\"}}]", "may hold letters");
	says("traffic: [{haproxy: {servers: {1: a}}}]", "a server for each member");
	says("traffic: [{haproxy: {servers: {1: a, 3: b}}}]", "has no '3'; members are 1 and 2");
	says("traffic: [{haproxy: {servers: {1: a, 2: a}}}]", "both members have one server");
	says("traffic: [{haproxy: {share: none}}]", "not one of both, active");
	says("traffic: [{keepalived: {weights: {active: 0, standby: 0}}}]", "must be above the standby's");
	says("traffic: [{keepalived: {weights: {active: 255, standby: 0}}}]", "from -254 to 254");
	says("traffic: [{keepalived: {address: 10.0.0.1/24}}]", "may hold letters");
	says("traffic: [{keepalived: {address: vip}}]", "IPv4 or IPv6 address");
	says("traffic: [{keepalived: {track-file: vrrp}}]", "absolute path");
	says("traffic: [{keepalived: {interface: a.very.long.interface}}]", "1 to 15 bytes");
	says("traffic: [{command: {drain: [d]}}]", "must be an absolute path");
	says("traffic: [{command: {drain: []}}]", "must be a list");
	arena_release(&arena);
}

static const char *plan(const struct traffic_config *c, enum traffic_verb verb, uint32_t member)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct traffic_step *s, again;
	size_t n;
	traffic_plan(&arena, c, verb, member, &s, &n);
	for (size_t i = 0; i < n; i++) {
		buf_printf(&b, "%u %.*s\n", s[i].on, STR_ARG(s[i].text));
		CHECK(traffic_step_at(&arena, c, s[i].kind, s[i].driver, s[i].member, &again));
		CHECK(str_eq(again.text, s[i].text) && again.on == s[i].on);
	}
	return arena_strdup(&arena, buf_str(&b));
}

TEST(plans_are_lines)
{
	struct traffic_config c = config("traffic:\n- " HAPROXY "\n- " KEEPALIVED "\n- " COMMAND "\n");
	struct traffic_step s;
	CHECK_STR(plan(&c, TRAFFIC_DRAIN, 1),
		  "0 haproxy 'web': another server takes requests without 'web1'\n"
		  "0 haproxy 'web': set server web/web1 state drain\n"
		  "0 haproxy 'web': wait until nothing is in flight on 'web1'\n"
		  "2 keepalived '10.0.0.100': member 2: write 100 to /run/vrrp\n"
		  "1 keepalived '10.0.0.100': member 1: write 0 to /run/vrrp\n"
		  "2 keepalived '10.0.0.100': member 2: wait until the address is on eth0\n"
		  "1 keepalived '10.0.0.100': member 1: wait until the address is no longer on eth0\n"
		  "0 command: run /bin/d x\n");
	CHECK_STR(plan(&c, TRAFFIC_READY, 2), "0 command: run /bin/r\n"
					      "0 haproxy 'web': wait until no old connection is kept to 'web2'\n"
					      "0 haproxy 'web': set server web/web2 state ready\n"
					      "0 haproxy 'web': wait until requests go to 'web2'\n");
	c = config("traffic:\n- haproxy: {socket: /s, backend: b, servers: {1: x, 2: y}, share: active}\n- " COMMAND);
	CHECK_STR(plan(&c, TRAFFIC_ACTIVE, 2), "0 haproxy 'b': wait until no old connection is kept to 'y'\n"
					       "0 haproxy 'b': set server b/y state ready\n"
					       "0 haproxy 'b': wait until requests go to 'y'\n"
					       "0 haproxy 'b': set server b/x state drain\n"
					       "0 haproxy 'b': wait until nothing is in flight on 'x'\n"
					       "0 command: run /bin/a 2\n");
	CHECK_STR(plan(&c, TRAFFIC_READY, 1), "0 command: run /bin/r\n"
					      "0 haproxy 'b': wait until it is fit to take over: 'x'\n");
	/* what comes over the link must fit the configuration */
	CHECK(!traffic_step_at(&arena, &c, TRAFFIC_SET_DRAIN, 1, 1, &s));
	CHECK(!traffic_step_at(&arena, &c, TRAFFIC_RUN_DRAIN, 0, 1, &s));
	CHECK(!traffic_step_at(&arena, &c, TRAFFIC_SET_DRAIN, 2, 1, &s));
	CHECK(!traffic_step_at(&arena, &c, TRAFFIC_SET_DRAIN, 0, 0, &s));
	CHECK(!traffic_step_at(&arena, &c, TRAFFIC_SET_DRAIN, 0, 3, &s));
	CHECK(!traffic_step_at(&arena, &c, TRAFFIC_NOTHING, 0, 1, &s));
	CHECK(!traffic_step_at(&arena, &c, (enum traffic_step_kind)99, 0, 1, &s));
	arena_release(&arena);
}

#define HEAD "# pxname,svname,qcur,qmax,scur,smax,status,weight,\n"
static int stat_of(const char *text, struct haproxy_server *s)
{
	err = ERR_INIT;
	return haproxy_read_stat(&arena, str_c(text), STR("web"), STR("web1"), s, &err);
}

TEST(answers_of_haproxy)
{
	struct haproxy_server s = {0};
	uint64_t admin = 0;
	CHECK(stat_of(HEAD "web,web2,1,2,3,4,UP,100,\nweb,web1,0,0,7,9,DRAIN (agent),\"1\",\n\n", &s) == 0);
	CHECK_INT(s.in_flight, 7);
	CHECK(s.up && s.checked);
	CHECK(stat_of(HEAD "web,web1,,,0,,no check,1,\n", &s) == 0);
	CHECK(s.up && !s.checked);
	CHECK(stat_of(HEAD "web,web1,,,0,,DOWN 1/2,1,\n", &s) == 0);
	CHECK(!s.up);
	static const char *const bad[] = {"",
					  "\n",
					  "No such proxy.\n",
					  HEAD,
					  "# pxname,svname\nweb,web1\n",
					  HEAD "web,web1\n",
					  HEAD "web,web1,0,0,x,0,UP,1,\n",
					  HEAD "web,web1,0,0,-1,0,UP,1,\n",
					  HEAD "web,web1,0,0,99999999999999999999,0,UP,1,\n",
					  HEAD "web,web1,0,0,1,0,U\033[2J,1,\n",
					  HEAD "web,web1,0,0,1,0,,1,\n",
					  HEAD "web,web1,0,0,1,0,\"UP\n",
					  "web,web1,0,0,1,0,UP,1\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_MSG(stat_of(bad[i], &s) < 0 && err.msg[0], "accepted %s", bad[i]);
	static const char states[] = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n"
				     "3 web 1 web1 127.0.0.1 2 8\n3 web 2 web2 127.0.0.1 2 0\n";
	CHECK(haproxy_read_admin(str_c(states), STR("web"), STR("web1"), &admin, &err) == 0);
	CHECK_INT(admin, HAPROXY_DRAIN & 0x08);
	CHECK(haproxy_read_admin(str_c(states), STR("web"), STR("web3"), &admin, &err) < 0);
	CHECK(strstr(err.msg, "no server 'web/web3'"));
	static const char kept[] = "# bkname/svname bkid/svid addr port - used_cur idle_lim idle_cur idle_per_thr[2]\n"
				   "web/web1 3/1 127.0.0.1 28124 - 0 -1 7 3 4\n"
				   "web/web2 3/2 127.0.0.1 28125 - 0 -1 x 0 0\n\n";
	uint64_t kept_n = 0;
	CHECK(haproxy_read_kept(str_c(kept), STR("web"), STR("web1"), &kept_n, &err) == 0);
	CHECK_INT(kept_n, 7);
	CHECK(haproxy_read_kept(str_c(kept), STR("web"), STR("web2"), &kept_n, &err) < 0);
	CHECK(haproxy_read_kept(str_c(kept), STR("web"), STR("web3"), &kept_n, &err) < 0);
	CHECK(haproxy_read_kept(STR("Can't find backend.\n"), STR("web"), STR("web1"), &kept_n, &err) < 0);
	arena_release(&arena);
}

/* == somebody else at the socket ================================================================================== */
static struct {
	int fd;
	const char *answer;
	bool endless;
} fake;

static void *fake_main(void *ctx)
{
	(void)ctx;
	int fd = accept4(fake.fd, NULL, NULL, SOCK_CLOEXEC);
	char command[100];
	CHECK(recv(fd, command, sizeof(command), 0) > 0);
	while (fd >= 0 && send(fd, fake.answer, strlen(fake.answer), MSG_NOSIGNAL) > 0 && fake.endless)
		;
	if (fd >= 0 && !fake.answer[0]) { /* says nothing, and stays */
		char c;
		while (recv(fd, &c, 1, 0) > 0)
			;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static int ask_fake(const char *answer, bool endless, int64_t ms)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	pthread_t thread;
	struct buf b = BUF_INIT(HAPROXY_ANSWER_MAX);
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/h.sock", test_tmp());
	struct traffic_driver d = {.socket = str_of(a.sun_path, (size_t)n), .backend = STR("web")};
	unlink(a.sun_path);
	fake.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fake.answer = answer;
	fake.endless = endless;
	CHECK(bind(fake.fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fake.fd, 1) == 0);
	CHECK(pthread_create(&thread, NULL, fake_main, NULL) == 0);
	err = ERR_INIT;
	int64_t now = clock_system.mono_ms(&clock_system);
	int r = haproxy_ask(&d, "show stat", &clock_system, now + ms, &b, &err);
	CHECK(clock_system.mono_ms(&clock_system) < now + ms + 5000);
	pthread_join(thread, NULL);
	close(fake.fd);
	buf_release(&b);
	return r;
}

TEST(bounded_in_size_and_time)
{
	CHECK(ask_fake("x", false, 20000) == 0);
	CHECK(ask_fake("no end of this\n", true, 20000) < 0);
	CHECK_INT(err.code, ERR_LIMIT);
	CHECK(ask_fake("", false, 200) < 0);
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK_MSG(strstr(err.msg, "no answer in time") && strstr(err.msg, "ask 'show stat' at"), "%s", err.msg);
}

TEST(nobody_at_the_socket)
{
	struct traffic_config c = config("traffic: [{haproxy: {socket: /nowhere/h.sock, backend: web, "
					 "servers: {1: web1, 2: web2}}}]");
	struct traffic_opts o = {.config = &c, .self = 1};
	enum traffic_state s;
	int64_t until = clock_system.mono_ms(&clock_system) + 5000;
	CHECK(traffic_run(&o, TRAFFIC_DRAIN, 1, until, &err) < 0);
	CHECK_MSG(strstr(err.msg, "haproxy 'web'") && strstr(err.msg, "is HAProxy running"), "%s", err.msg);
	CHECK(err.code != ERR_UNCERTAIN);
	CHECK(traffic_state(&o, 1, until, &s, &err) < 0);
	CHECK(traffic_run(&o, TRAFFIC_DRAIN, 3, until, &err) < 0);
	CHECK_INT(err.code, ERR_USAGE);
	arena_release(&arena);
}

TEST(commands)
{
	char text[1000];
	const char *tmp = test_tmp();
	snprintf(
		text, sizeof(text),
		"traffic: [{command: {activate: [/bin/sh, -c, 'echo active $0 >>%s/log', '{member}'], drain: [/bin/sh, "
		"-c, 'echo drain >>%s/log; exec sleep 20'], ready: [/bin/sh, -c, 'echo ready >>%s/log'], state: "
		"[/bin/echo, standby]}}]",
		tmp, tmp, tmp);
	struct traffic_config c = config(text);
	struct traffic_opts o = {.config = &c, .self = 1};
	enum traffic_state s;
	int64_t until = clock_system.mono_ms(&clock_system) + 20000;
	CHECK_MSG(traffic_run(&o, TRAFFIC_ACTIVE, 2, until, &err) == 0, "%s", err.msg);
	CHECK_MSG(traffic_state(&o, 2, until, &s, &err) == 0, "%s", err.msg);
	CHECK_INT(s, TRAFFIC_IS_STANDBY);
	until = clock_system.mono_ms(&clock_system) + 1500;
	CHECK(traffic_run(&o, TRAFFIC_DRAIN, 2, until, &err) < 0); /* too slow: killed, and undone */
	auto_buf log = BUF_INIT(1000);
	char path[100];
	snprintf(path, sizeof(path), "%s/log", tmp);
	CHECK(fs_read(AT_FDCWD, path, &log, &err) == 0);
	CHECK_STR(log.p, "active 2\ndrain\nready\n");
	arena_release(&arena);
}

/* Steps for the other member go over the link; where the address does not come, both weights are taken back. */
static char asked[1000];
static int link_asked(void *ctx, const struct traffic_step *s, int64_t deadline_ms, struct err *e)
{
	(void)ctx, (void)deadline_ms;
	size_t n = strlen(asked);
	snprintf(asked + n, sizeof(asked) - n, "%.*s; ", STR_ARG(str_skip(s->text, sizeof("keepalived '' ") - 1)));
	return s->kind == TRAFFIC_WAIT_ADDRESS ? err_new(e, ERR_FAILED, "member 2: it did not come") : 0;
}

TEST(an_address_that_does_not_come)
{
	char text[1000], path[100];
	snprintf(path, sizeof(path), "%s/vrrp", test_tmp());
	snprintf(text, sizeof(text),
		 "traffic: [{keepalived: {track-file: %s, weights: {active: 50, standby: -1}, address: 192.0.2.9, "
		 "interface: lo}}]",
		 path);
	struct traffic_config c = config(text);
	struct traffic_opts o = {.config = &c, .self = 1, .on_member = link_asked};
	auto_buf b = BUF_INIT(100);
	enum traffic_state s;
	int64_t until = clock_system.mono_ms(&clock_system) + 5000;
	CHECK(fs_replace(AT_FDCWD, path, "50\n", 3, 0, &err) == 0);
	CHECK(traffic_run(&o, TRAFFIC_DRAIN, 1, until, &err) < 0);
	CHECK_MSG(strstr(err.msg, "it did not come"), "%s", err.msg);
	CHECK(err.code != ERR_UNCERTAIN);
	CHECK_MSG(strstr(asked, "write 50 to") && strstr(asked, "write -1 to") &&
			  strstr(asked, "write 50 to") < strstr(asked, "write -1 to"),
		  "%s", asked);
	CHECK(fs_read(AT_FDCWD, path, &b, &err) == 0);
	CHECK_STR(b.p, "50\n");
	CHECK(traffic_state(&o, 1, until, &s, &err) == 0);
	CHECK_INT(s, TRAFFIC_IS_STANDBY);
	CHECK(traffic_state(&o, 2, until, &s, &err) == 0);
	CHECK_INT(s, TRAFFIC_IS_UNKNOWN);
	o.on_member = NULL;
	CHECK(traffic_run(&o, TRAFFIC_DRAIN, 1, until, &err) < 0);
	CHECK_MSG(strstr(err.msg, "for member 2 alone"), "%s", err.msg);
	arena_release(&arena);
}
