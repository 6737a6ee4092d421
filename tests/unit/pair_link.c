// SPDX-License-Identifier: Apache-2.0
/* The link: who is let in, what goes over it, and every way in which it can end. */
#include "lib/test.h"

#include <poll.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "pair/endpoint.h"
#include "pair/handshake.h"
#include "pair/link.h"

#include "lib/pairs.h"

static struct err err;
static struct arena arena;

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static int64_t now_ms(void)
{
	return clock_system.mono_ms(&clock_system);
}

/* Runs in a child; its exit status is the answer. */
#define IN_CHILD(pid, what)                                                                                            \
	do {                                                                                                           \
		(pid) = fork();                                                                                        \
		CHECK((pid) >= 0);                                                                                     \
		if ((pid) == 0) {                                                                                      \
			int rc_ = (what);                                                                              \
			_exit(rc_);                                                                                    \
		}                                                                                                      \
	} while (0)

static int ended(pid_t pid)
{
	int status = -1;
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_MSG(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int accept_one(struct pairs *p, uint32_t at)
{
	int fd = accept4(p->listen_fd[at], NULL, NULL, SOCK_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

/* -- the far end ------------------------------------------------------------------------------------------------------ */

/* Member 1: answers what it is asked, until the other side ends it. Events, failures and pauses where it is told to. */
static int echo(struct link *l)
{
	struct err e = ERR_INIT;
	int rc;
	for (;;) {
		auto_arena a = ARENA_INIT;
		struct wire_message m;
		int64_t pause = 0, events = 0;
		struct str fails = STR_NONE;
		rc = link_take(l, 60000, &a, &m, &e);
		if (rc <= 0)
			break;
		(void)!json_opt_int(m.json, "pause_ms", &pause, &e);
		(void)!json_opt_int(m.json, "events", &events, &e);
		(void)!json_opt_str(m.json, "fails", &fails, &e);
		for (int i = 0; i < events; i++)
			CHECK(link_put(l, STR("{\"event\": \"note\"}"), STR_NONE, &e) == 0);
		pause_ms((int)pause);
		struct str answer = fails.n ? STR("{\"error\": \"it is so\", \"code\": \"rolled-back\"}")
					    : STR("{\"is\": \"echo\"}");
		rc = link_put(l, answer, m.bytes, &e);
		if (rc < 0)
			break;
	}
	if (rc < 0)
		fprintf(stderr, "# far end: %s\n", e.msg);
	return rc < 0 ? (int)e.code : 0;
}

static int serve(struct pairs *p)
{
	struct err e = ERR_INIT;
	struct link *l = NULL;
	if (link_accept(p->root_fd[1], &p->pair[1], accept_one(p, 1), LINK_CONNECT_MS, &l, &e) < 0) {
		fprintf(stderr, "# far end: %s\n", e.msg);
		return (int)e.code;
	}
	int rc = echo(l);
	link_free(l);
	return rc;
}

static struct link *connect_or_fail(struct pairs *p)
{
	struct link *l = NULL;
	CHECK_MSG(link_connect(p->root_fd[2], &p->pair[2], LINK_CONNECT_MS, &l, &err) == 0, "%s", err.msg);
	return l;
}

static void count(void *ctx, const struct json *event)
{
	int *n = ctx;
	(void)event;
	++*n;
}

/* -- it works --------------------------------------------------------------------------------------------------------- */

TEST(question_and_answer)
{
	auto_pairs p = {0};
	pid_t child;
	struct wire_message m;
	int events = 0;
	pairs_open(&p);
	IN_CHILD(child, serve(&p));
	auto_ptr(link) l = connect_or_fail(&p);
	CHECK(link_peer(l)->version.n && link_peer(l)->round_trip_us > 0);
	CHECK(llabs(link_peer(l)->wall_ms - clock_system.wall_ms(&clock_system)) < 60000);
	auto_free char *big = malloc(WIRE_BYTES_MAX);
	for (size_t i = 0; i < WIRE_BYTES_MAX; i++)
		big[i] = (char)(i * 7 >> 3);
	for (int i = 0; i < 20; i++)
		CHECK_MSG(link_call(l, STR("{\"ask\": 1}"), STR("bytes"), 5000, NULL, NULL, &arena, &m, &err) == 0,
			  "%s", err.msg);
	CHECK(str_eq_c(m.bytes, "bytes"));
	CHECK_MSG(link_call(l, STR("{\"events\": 3}"), str_of(big, WIRE_BYTES_MAX), 20000, count, &events, &arena, &m,
			    &err) == 0,
		  "%s", err.msg);
	CHECK(str_eq(m.bytes, str_of(big, WIRE_BYTES_MAX)));
	CHECK_INT(events, 3);
	CHECK_INT(link_call(l, STR("{\"fails\": \"x\"}"), STR_NONE, 5000, NULL, NULL, &arena, &m, &err), -1);
	CHECK_INT(err.code, ERR_ROLLED_BACK);
	CHECK_STR(err.msg, "it is so");
	CHECK_INT(link_put(l, STR("{}"), str_of(big, WIRE_BYTES_MAX + 1), &err), -1);
	CHECK_INT(err.code, ERR_LIMIT);
	link_free(steal_ptr(&l));
	CHECK_INT(ended(child), 0); /* it saw a proper end */
	arena_release(&arena);
}

TEST(who_works_long_is_known_to_be_alive)
{
	auto_pairs p = {0};
	pid_t child;
	struct wire_message m;
	int events = 0;
	pairs_open(&p);
	IN_CHILD(child, serve(&p));
	auto_ptr(link) l = connect_or_fail(&p);
	int64_t start = now_ms();
	CHECK_MSG(link_call(l, STR("{\"pause_ms\": 12000}"), STR_NONE, 60000, count, &events, &arena, &m, &err) == 0,
		  "%s", err.msg);
	CHECK(now_ms() - start >= 12000);
	CHECK_INT(events, 0); /* being alive is none */
	/* the one who asks is busy, too: the far end waits */
	pause_ms(11000);
	CHECK_MSG(link_call(l, STR("{}"), STR_NONE, 5000, NULL, NULL, &arena, &m, &err) == 0, "%s", err.msg);
	/* its limit is its limit, however alive the other side is */
	start = now_ms();
	CHECK_INT(link_call(l, STR("{\"pause_ms\": 5000}"), STR_NONE, 1000, NULL, NULL, &arena, &m, &err), -1);
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK(now_ms() - start < 1500);
	link_free(steal_ptr(&l));
	(void)ended(child);
	arena_release(&arena);
}

/* -- it ends ---------------------------------------------------------------------------------------------------------- */

TEST(a_cut_link_is_noticed)
{
	auto_pairs p = {0};
	pid_t child;
	struct wire_message m;
	pairs_open(&p);
	IN_CHILD(child, serve(&p));
	auto_ptr(link) l = connect_or_fail(&p);
	CHECK(kill(child, SIGSTOP) ==
	      0); /* as if the host were gone: nothing comes, and nothing says that nothing comes */
	int64_t start = now_ms();
	CHECK_INT(link_call(l, STR("{}"), STR_NONE, 600000, NULL, NULL, &arena, &m, &err), -1);
	int64_t took = now_ms() - start;
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK_MSG(strstr(err.msg, "nothing was heard of the other side for 10 s"), "%s", err.msg);
	CHECK_MSG(took >= LINK_SILENT_MS && took < LINK_SILENT_MS + 2000, "after %lld ms", (long long)took);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	CHECK_INT(link_call(l, STR("{}"), STR_NONE, 5000, NULL, NULL, &arena, &m, &err), -1);
	CHECK_INT(err.code, ERR_NETWORK);
	arena_release(&arena);
}

/* The other side dies: at once, no SIGPIPE, also for who only sends. */
TEST(a_killed_side_is_noticed_at_once)
{
	auto_pairs p = {0};
	pid_t child;
	struct wire_message m;
	pairs_open(&p);
	IN_CHILD(child, serve(&p));
	auto_ptr(link) l = connect_or_fail(&p);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	int64_t start = now_ms();
	int rc = link_call(l, STR("{}"), STR_NONE, 60000, NULL, NULL, &arena, &m, &err);
	CHECK_INT(rc, -1);
	CHECK_INT(err.code, ERR_NETWORK);
	for (int i = 0; i < 5; i++)
		CHECK_INT(link_put(l, STR("{}"), STR("x"), &err), -1);
	CHECK(now_ms() - start < 2000);
	arena_release(&arena);
}

/* Plain ends, so that each byte is ours. */
static void over(struct link **l, int *fd)
{
	int fds[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	*l = link_over(fds[0]);
	*fd = fds[1];
}

TEST(ends_and_cuts_differ)
{
	auto_ptr(link) l = NULL;
	auto_fd fd = -1;
	struct wire_message m;
	over(&l, &fd);
	CHECK(send(fd, "\0\0\0\2\0\0\0\0{}", 10, 0) == 10);
	cleanup_fd(&fd);
	CHECK_INT(link_take(l, 1000, &arena, &m, &err), 1);
	CHECK_INT(link_take(l, 1000, &arena, &m, &err), 0);
	link_free(steal_ptr(&l));
	over(&l, &fd);
	CHECK(send(fd, "\0\0\0\2\0\0\0\0{", 9, 0) == 9);
	cleanup_fd(&fd);
	CHECK_INT(link_take(l, 1000, &arena, &m, &err), -1);
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK_MSG(strstr(err.msg, "in the middle of a message"), "%s", err.msg);
	arena_release(&arena);
}

TEST(a_cut_in_the_middle_of_a_message_over_tls)
{
	auto_pairs p = {0};
	struct wire_message m;
	pairs_open(&p);
	int there, here = pairs_connect(&p, 1, &there);
	pid_t child = fork();
	if (child == 0) {
		struct tls_opts o = {.identity = p.identity[2], .pin = p.fingerprint[1]};
		struct tls *t = NULL;
		cleanup_fd(&there);
		/* half a message after the hello, then nothing more of this process */
		CHECK(tls_open(here, &o, now_ms() + 5000, &t, &err) == 0);
		struct link *l = link_over_tls(t);
		CHECK(link_say_hello(l, 5000, &err) == 0);
		CHECK(tls_send(t, "\0\0\0\2\0\0\0\0{", 9, &err) == 9);
		_exit(0);
	}
	close(here);
	auto_ptr(link) l = NULL;
	CHECK_MSG(link_accept(p.root_fd[1], &p.pair[1], there, 5000, &l, &err) == 0, "%s", err.msg);
	CHECK_INT(link_take(l, 5000, &arena, &m, &err), -1);
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK_MSG(strstr(err.msg, "in the middle of a message") || strstr(err.msg, "without a word"), "%s", err.msg);
	CHECK_INT(ended(child), 0);
	arena_release(&arena);
}

TEST(what_is_no_message)
{
	static const struct {
		const char *text;
		size_t n;
		enum err_code code;
	} bad[] = {
		{"\xff\xff\xff\xff\0\0\0\0", 8, ERR_LIMIT},
		{"\0\0\0\2\0\020\0\1{}", 10, ERR_LIMIT},
		{"\0\0\0\2\0\0\0\0[]", 10, ERR_INPUT},
		{"GET / HTTP/1.1\r\n\r\n", 18, ERR_LIMIT},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_ptr(link) l = NULL;
		auto_fd fd = -1;
		struct wire_message m;
		over(&l, &fd);
		err = ERR_INIT;
		CHECK(send(fd, bad[i].text, bad[i].n, 0) == (ssize_t)bad[i].n);
		CHECK_INT(link_take(l, 1000, &arena, &m, &err), -1);
		CHECK_INT(err.code, bad[i].code);
	}
	arena_release(&arena);
}

TEST(who_takes_nothing_is_given_up)
{
	auto_ptr(link) l = NULL;
	auto_fd fd = -1;
	auto_free char *big = calloc(1, WIRE_BYTES_MAX);
	over(&l, &fd);
	int64_t start = now_ms();
	int rc = 0;
	for (int i = 0; i < 20 && rc == 0; i++)
		rc = link_put(l, STR("{}"), str_of(big, WIRE_BYTES_MAX), &err);
	CHECK_INT(rc, -1);
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK(now_ms() - start < LINK_SILENT_MS + 3000);
}

/* -- who is let in ------------------------------------------------------------------------------------------------------ */

TEST(somebody_else_answers)
{
	auto_pairs p = {0};
	struct link *l = NULL;
	pid_t child;
	pairs_open(&p);
	CHECK(tls_identity_new(&arena, &p.identity[0], &err) == 0);
	pairs_put(&p, 1, "key.pem", p.identity[0].key, FS_REPLACE_SECRET);
	pairs_put(&p, 1, "cert.pem", p.identity[0].certificate, 0);
	IN_CHILD(child, serve(&p));
	CHECK_INT(link_connect(p.root_fd[2], &p.pair[2], LINK_CONNECT_MS, &l, &err), -1);
	CHECK_INT(err.code, ERR_VERIFY);
	CHECK_MSG(strstr(err.msg, "it is somebody else") && strstr(err.msg, "member 1 ('m1') at 127.0.0.1:"), "%s",
		  err.msg);
	CHECK_INT(ended(child), ERR_VERIFY);
	arena_release(&arena);
}

TEST(a_stranger_is_refused)
{
	auto_pairs p = {0};
	struct link *l = NULL;
	pid_t child;
	pairs_open(&p);
	CHECK(tls_identity_new(&arena, &p.identity[0], &err) == 0);
	pairs_put(&p, 2, "key.pem", p.identity[0].key, FS_REPLACE_SECRET);
	pairs_put(&p, 2, "cert.pem", p.identity[0].certificate, 0);
	IN_CHILD(child, serve(&p));
	CHECK_INT(link_connect(p.root_fd[2], &p.pair[2], LINK_CONNECT_MS, &l, &err), -1);
	CHECK_INT(err.code, ERR_VERIFY);
	CHECK_MSG(strstr(err.msg, "does not know this host's certificate"), "%s", err.msg);
	CHECK_INT(ended(child), ERR_VERIFY);
	arena_release(&arena);
}

TEST(a_certificate_without_its_key)
{
	auto_pairs p = {0};
	struct tls_identity mixed;
	pairs_open(&p);
	mixed = (struct tls_identity){p.identity[1].key, p.identity[2].certificate};
	CHECK_INT(tls_identity_check(&p.identity[1], &err), 0);
	CHECK_INT(tls_identity_check(&mixed, &err), -1);
	CHECK_INT(err.code, ERR_INPUT);
	mixed = (struct tls_identity){STR("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), STR_NONE};
	CHECK_INT(tls_identity_check(&mixed, &err), -1);
	pairs_put(&p, 2, "key.pem", p.identity[2].key, 0);
	struct link *l = NULL;
	CHECK_INT(link_connect(p.root_fd[2], &p.pair[2], LINK_CONNECT_MS, &l, &err), -1);
	CHECK_MSG(err.code == ERR_VERIFY && strstr(err.msg, "can be read by others"), "%s", err.msg);
}

/* What comes from no TLS at all. */
static void garbage(const void *bytes, size_t n, bool close_it, enum err_code want)
{
	auto_pairs p = {0};
	struct link *l = NULL;
	int there;
	pairs_open(&p);
	auto_fd here = pairs_connect(&p, 1, &there);
	CHECK(send(here, bytes, n, MSG_NOSIGNAL) == (ssize_t)n);
	if (close_it)
		cleanup_fd(&here);
	int64_t start = now_ms();
	err = ERR_INIT;
	CHECK_INT(link_accept(p.root_fd[1], &p.pair[1], there, 1500, &l, &err), -1);
	CHECK_MSG(err.code == want, "%d: %s", err.code, err.msg);
	CHECK(now_ms() - start < 3000);
}

TEST(garbage_in_place_of_tls)
{
	char zero[5000] = "";
	char hello[5 + 512] = {22, 3, 1, 2, 0, 1, 0, 1, (char)0xfc, 3, 3};
	garbage("GET / HTTP/1.1\r\n\r\n", 18, false, ERR_INPUT);
	garbage(zero, sizeof(zero), false, ERR_INPUT);
	garbage(hello, sizeof(hello), false, ERR_INPUT);
	garbage("\x16\x03\x01\xff\xff\x01", 6, false, ERR_INPUT);
	garbage("\x16\x03\x01", 3, true, ERR_NETWORK);
	garbage("", 0, true, ERR_NETWORK);
	garbage("\x16\x03\x01\x02\x00\x01", 6, false, ERR_NETWORK); /* and then says nothing */
}

/* One byte every now and then: the whole handshake has one limit. */
TEST(a_slow_handshake)
{
	auto_pairs p = {0};
	struct link *l = NULL;
	int there;
	pairs_open(&p);
	int here = pairs_connect(&p, 1, &there);
	pid_t child = fork();
	if (child == 0) {
		char hello[5 + 512] = {22, 3, 1, 2, 0, 1, 0, 1, (char)0xfc, 3, 3};
		cleanup_fd(&there);
		for (size_t i = 0; i < sizeof(hello) && send(here, hello + i, 1, MSG_NOSIGNAL) == 1; i++)
			pause_ms(50);
		_exit(0);
	}
	close(here);
	int64_t start = now_ms();
	CHECK_INT(link_accept(p.root_fd[1], &p.pair[1], there, 1000, &l, &err), -1);
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK_MSG(strstr(err.msg, "no handshake within"), "%s", err.msg);
	CHECK(now_ms() - start < 2500);
	CHECK_INT(ended(child), 0);
}

/* After the handshake: no hello, and one that is larger than any. */
static void after_tls(const void *bytes, size_t n, enum err_code want, const char *words)
{
	auto_pairs p = {0};
	pairs_open(&p);
	int there, here = pairs_connect(&p, 1, &there);
	pid_t child = fork();
	if (child == 0) {
		struct tls_opts o = {.identity = p.identity[2], .pin = p.fingerprint[1]};
		struct tls *t = NULL;
		cleanup_fd(&there);
		CHECK(tls_open(here, &o, now_ms() + 5000, &t, &err) == 0);
		CHECK(!n || tls_send(t, bytes, n, &err) == (ssize_t)n);
		pause_ms(2500);
		_exit(0);
	}
	close(here);
	struct link *l = NULL;
	err = ERR_INIT;
	CHECK_INT(link_accept(p.root_fd[1], &p.pair[1], there, 1500, &l, &err), -1);
	CHECK_MSG(err.code == want && strstr(err.msg, words), "%d: %s", err.code, err.msg);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	arena_release(&arena);
}

TEST(a_hello_that_is_none)
{
	after_tls("", 0, ERR_NETWORK, "no message within");
	after_tls("\0\0\x40\x01\0\0\0\0", 8, ERR_LIMIT, "larger than the 16384");
	after_tls("\0\0\0\2\0\0\0\1{}x", 11, ERR_LIMIT, "larger");
	after_tls("\0\0\0\2\0\0\0\0{}", 10, ERR_INPUT, "'hello'");
	static const char escapes[] =
		"\0\0\0\67\0\0\0\0{\"hello\":1,\"version\":\"1\\u001b[2J\",\"wall_ms\":1234567890}";
	static const char clock[] = "\0\0\0\56\0\0\0\0{\"hello\":1,\"version\":\"1\",\"wall_ms\":-123456789}";
	after_tls(escapes, sizeof(escapes) - 1, ERR_INPUT, "'version' holds a control character");
	after_tls(clock, sizeof(clock) - 1, ERR_INPUT, "'wall_ms' is -123456789");
	static const char range[] =
		"\0\0\0\73\0\0\0\0{\"hello\":2,\"newest\":7,\"version\":\"9.1\",\"wall_ms\":1234567890}";
	after_tls(range, sizeof(range) - 1, ERR_UNSUPPORTED, "slipway 9.1 speaks protocol 2 to 7 between members");
	after_tls(range, sizeof(range) - 1, ERR_UNSUPPORTED, "install slipway 9.1 on both");
	after_tls("\0\0\0\14\0\0\0\0{\"hello\":99}", 20, ERR_UNSUPPORTED,
		  "slipway of another version speaks protocol 99");
}

TEST(nobody_is_there)
{
	auto_pairs p = {0};
	struct link *l = NULL;
	pairs_open(&p);
	cleanup_fd(&p.listen_fd[1]);
	CHECK_INT(link_connect(p.root_fd[2], &p.pair[2], LINK_CONNECT_MS, &l, &err), -1);
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK_MSG(strstr(err.msg, "Connection refused"), "%s", err.msg);
	p.pair[2].joined = false;
	CHECK_INT(link_connect(p.root_fd[2], &p.pair[2], LINK_CONNECT_MS, &l, &err), -1);
	CHECK_INT(err.code, ERR_NOT_FOUND);
}

/* As where an invitation is open: a stranger comes in, is known by their certificate, and is told why they are refused. */
TEST(anybody_may_come)
{
	auto_pairs p = {0};
	struct tls *t = NULL;
	struct wire_message m;
	struct str pem;
	uint8_t again[SHA256_SIZE];
	pairs_open(&p);
	int there, here = pairs_connect(&p, 1, &there);
	pid_t child = fork();
	if (child == 0) {
		struct tls_opts o = {.identity = p.identity[2], .pin = p.fingerprint[1]};
		cleanup_fd(&there);
		CHECK(tls_open(here, &o, now_ms() + 5000, &t, &err) == 0 && tls_is_pinned(t));
		struct link *l = link_over_tls(t);
		CHECK(link_say_hello(l, 5000, &err) < 0);
		CHECK(err.code == ERR_BUSY && strcmp(err.msg, "not today") == 0);
		_exit(link_say_hello(l, 5000, &err) == 0 ? 0 : 1);
	}
	close(here);
	struct tls_opts o = {.server = true, .any = true, .identity = p.identity[1]};
	CHECK_MSG(tls_open(there, &o, now_ms() + 5000, &t, &err) == 0, "%s", err.msg);
	auto_ptr(link) l = link_over_tls(t);
	CHECK(link_tls(l) == t && !tls_is_pinned(t));
	CHECK(memcmp(tls_peer_fingerprint(t), p.fingerprint[2], SHA256_SIZE) == 0);
	CHECK(tls_peer_certificate(t, &arena, &pem, &err) == 0 && tls_fingerprint(pem, "it", again, &err) == 0);
	CHECK(memcmp(again, p.fingerprint[2], SHA256_SIZE) == 0);
	CHECK_INT(link_take(l, 5000, &arena, &m, &err), 1);
	err_new(&err, ERR_BUSY, "not today");
	CHECK_INT(link_refuse(l, &err), 0);
	CHECK_INT(link_take(l, 5000, &arena, &m, &err), 1);
	CHECK_INT(link_answer_hello(l, m.json, &err), 0);
	CHECK_INT(ended(child), 0);
	arena_release(&arena);
}

/* -- addresses ---------------------------------------------------------------------------------------------------------- */

TEST(addresses)
{
	static const char *const good[] = {"10.0.0.1:8479", "127.0.0.1:1", "[::1]:65535", "[2001:db8::1]:8479"};
	static const char *const bad[] = {
		"",
		":",
		"a:1",
		"10.0.0.1",
		"10.0.0.1:",
		"10.0.0.1:0",
		"10.0.0.1:x",
		"10.0.0.1:65536",
		"0.0.0.0:1",
		"224.0.0.1:1",
		"[::]:1",
		"[ff02::1]:1",
		"[fe80::1]:1",
		"[::1]1",
		"[::1:1",
		"::1:1",
		"10.0.0.1 :1",
		"10.0.0.1:1 ",
		"010.0.0.1:1",
		"[127.0.0.1]:1",
		"10.0.0.1:1:1",
		"255.255.255.255:1",
	};
	struct endpoint at;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		CHECK_MSG(endpoint_parse(str_c(good[i]), &at, &err) == 0, "%s", err.msg);
		CHECK(str_eq_c(endpoint_text(&arena, &at), good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		err = ERR_INIT;
		CHECK_MSG(endpoint_parse(str_c(bad[i]), &at, &err) < 0 && err.code == ERR_USAGE, "'%s'", bad[i]);
	}
	static const struct {
		const char *given, *want;
	} whole[] = {{"10.0.0.1", "10.0.0.1:8479"}, {"[::1]", "[::1]:8479"}, {"10.0.0.1:7", "10.0.0.1:7"},
		     {":7", "127.0.0.1:7"},	    {"", "127.0.0.1:8479"},  {"[::1]:7", "[::1]:7"}};
	struct endpoint toward;
	CHECK(endpoint_parse(STR("127.0.0.9:1"), &toward, &err) == 0);
	for (size_t i = 0; i < sizeof(whole) / sizeof(*whole); i++) {
		struct str got;
		CHECK_MSG(endpoint_complete(&arena, str_c(whole[i].given), &toward, &got, &err) == 0, "%s", err.msg);
		CHECK_MSG(str_eq_c(got, whole[i].want), "'%s' → '%s'", whole[i].given, got.p);
	}
	struct str got;
	CHECK_INT(endpoint_complete(&arena, STR("[::1"), &toward, &got, &err), -1);
	CHECK_INT(endpoint_complete(&arena, STR("host"), &toward, &got, &err), -1);
	arena_release(&arena);
}
