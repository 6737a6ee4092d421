// SPDX-License-Identifier: Apache-2.0
/* How two hosts come to know each other, and everybody else does not. */
#include "lib/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "pair/endpoint.h"
#include "pair/join.h"

enum { HOSTS = 4 };

struct hosts {
	int root_fd[HOSTS], listen_fd;
	struct pair_host host[HOSTS];
	struct arena arena;
	struct err err;
};

static void hosts_release(struct hosts *h)
{
	for (int i = 0; i < HOSTS; i++)
		cleanup_fd(&h->root_fd[i]);
	cleanup_fd(&h->listen_fd);
	arena_release(&h->arena);
}
#define auto_hosts cleanup_with(hosts_release) struct hosts

/* Host 1 is listened for; the others have addresses that nobody has. */
static void hosts_open(struct hosts *h)
{
	static const char *const names[HOSTS] = {"zero", "one", "two", "three"};
	for (int i = 0; i < HOSTS; i++) {
		char path[160];
		snprintf(path, sizeof(path), "%s/%s", test_tmp(), names[i]);
		h->root_fd[i] = fs_open_dir_make(AT_FDCWD, path, &h->err);
		CHECK_MSG(h->root_fd[i] >= 0, "%s", h->err.msg);
		h->host[i] = (struct pair_host){str_c(names[i]), str_c(arena_printf(&h->arena, "127.0.0.%d:1", i + 1)),
						STR_NONE};
	}
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	h->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(h->listen_fd, (struct sockaddr *)&a, n) == 0 &&
	      getsockname(h->listen_fd, (struct sockaddr *)&a, &n) == 0);
	CHECK(listen(h->listen_fd, 8) == 0);
	h->host[1].address = str_c(arena_printf(&h->arena, "127.0.0.1:%u", ntohs(a.sin_port)));
}

static struct str init(struct hosts *h)
{
	struct pair_invitation i;
	CHECK_MSG(pair_init(h->root_fd[1], &h->host[1], &h->arena, &i, &h->err) == 0, "%s", h->err.msg);
	int64_t left = i.until_ms - clock_system.wall_ms(&clock_system);
	CHECK(left > PAIR_INVITATION_MS - 60000 && left <= PAIR_INVITATION_MS);
	return i.text;
}

/* Host 1 takes one connection: what join_accept says of it, as 0, 1, or 10 + the code of its failure. */
static pid_t serve(struct hosts *h)
{
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid > 0)
		return pid;
	struct link *l = NULL;
	struct str note = STR_NONE;
	struct err e = ERR_INIT;
	alarm(20);
	int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	int rc = join_accept(h->root_fd[1], fd, 5000, &h->arena, &l, &note, &e);
	fprintf(stderr, "# member 1: %s\n", rc < 0 ? e.msg : note.n ? note.p : "the other member");
	if (rc > 0) { /* until it goes away */
		struct wire_message m;
		(void)!link_take(l, 5000, &h->arena, &m, &e);
		link_free(l);
	}
	_exit(rc < 0 ? 10 + (int)e.code : rc);
}

static int ended(pid_t pid)
{
	int status = -1;
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Host `who` joins; what host 1 makes of it must be `served`. */
static int join(struct hosts *h, int who, struct str invitation, int served)
{
	pid_t pid = serve(h);
	h->err = ERR_INIT;
	int rc = pair_join(h->root_fd[who], &h->host[who], invitation, &h->err);
	CHECK_INT(ended(pid), served);
	return rc;
}

static bool is_nothing(struct hosts *h, int who)
{
	struct pair p;
	auto_fs_list all = {0};
	CHECK_INT(pair_read(h->root_fd[who], &h->arena, &p, &h->err), 0);
	return fs_list(h->root_fd[who], "pair", 100, &all, &h->err) < 0 ||
	       (all.n == 1 && strcmp(all.name[0], "lock") == 0);
}

static void know_each_other(struct hosts *h, int who)
{
	struct pair p, q;
	struct link *l = NULL;
	CHECK_INT(pair_read(h->root_fd[1], &h->arena, &p, &h->err), 1);
	CHECK_INT(pair_read(h->root_fd[who], &h->arena, &q, &h->err), 1);
	CHECK(p.joined && q.joined && p.self == 1 && q.self == 2);
	for (int i = 1; i <= 2; i++)
		CHECK(str_eq(p.host[i].name, q.host[i].name) && str_eq(p.host[i].address, q.host[i].address) &&
		      str_eq(p.host[i].fingerprint, q.host[i].fingerprint) && p.host[i].fingerprint.n == 64);
	CHECK(str_eq(p.host[2].name, h->host[who].name) && str_eq(p.host[1].address, h->host[1].address));
	pid_t pid = serve(h);
	CHECK_MSG(link_connect(h->root_fd[who], &q, 5000, &l, &h->err) == 0, "%s", h->err.msg);
	link_free(l);
	CHECK_INT(ended(pid), 1);
}

/* What an attacker, or a careless hand, would have. */
static struct str with_secret(struct hosts *h, struct str invitation, uint8_t change, uint8_t fingerprint)
{
	struct invitation i;
	CHECK_MSG(invitation_parse(&h->arena, invitation, &i, &h->err) == 0, "%s", h->err.msg);
	i.secret[0] ^= change;
	i.fingerprint[31] ^= fingerprint;
	return invitation_text(&h->arena, &i);
}

static struct trust_open open_of(struct hosts *h)
{
	struct trust_open o;
	CHECK_INT(trust_read_open(h->root_fd[1], &h->arena, &o, &h->err), 1);
	return o;
}

/* -- ------------------------------------------------------------------------------------------------------------------ */

TEST(two_hosts_become_a_pair)
{
	auto_hosts h = {0};
	struct str address;
	struct stat st;
	struct pair p;
	hosts_open(&h);
	CHECK_INT(pair_listen_address(h.root_fd[1], &h.arena, &address, &h.err), 0);
	struct str invitation = init(&h);
	CHECK_INT(pair_read(h.root_fd[1], &h.arena, &p, &h.err), 1);
	CHECK(p.self == 1 && !p.joined && !p.host[2].name.n);
	CHECK_INT(pair_listen_address(h.root_fd[1], &h.arena, &address, &h.err), 1);
	CHECK(str_eq(address, h.host[1].address));
	CHECK_MSG(join(&h, 2, invitation, 0) == 0, "%s", h.err.msg);
	know_each_other(&h, 2);
	CHECK_INT(pair_listen_address(h.root_fd[2], &h.arena, &address, &h.err), 1);
	CHECK(str_eq(address, h.host[2].address));
	CHECK(fstatat(h.root_fd[1], "pair/key.pem", &st, 0) == 0 && (st.st_mode & 07777) == 0600);
	/* the secret itself is nowhere */
	struct invitation i;
	CHECK(invitation_parse(&h.arena, invitation, &i, &h.err) == 0);
	char hex[INVITATION_SECRET * 2 + 1];
	hex_encode(i.secret, INVITATION_SECRET, hex);
	auto_buf b = BUF_INIT(65536);
	CHECK(fs_read(h.root_fd[1], "pair/invitation", &b, &h.err) == 0 && str_search(buf_str(&b), str_c(hex)) < 0);
}

TEST(what_a_member_refuses)
{
	auto_hosts h = {0};
	struct pair_invitation i;
	hosts_open(&h);
	struct str invitation = init(&h);
	CHECK_INT(join(&h, 2, invitation, 0), 0);
	CHECK_INT(pair_init(h.root_fd[1], &h.host[1], &h.arena, &i, &h.err), -1);
	CHECK_INT(h.err.code, ERR_EXISTS);
	CHECK_MSG(strstr(h.err.msg, "member 1 of a pair with 'two'"), "%s", h.err.msg);
	CHECK_INT(pair_init(h.root_fd[2], &h.host[2], &h.arena, &i, &h.err), -1);
	CHECK_INT(h.err.code, ERR_EXISTS);
	CHECK_INT(pair_join(h.root_fd[1], &h.host[3], invitation, &h.err), -1);
	CHECK_INT(h.err.code, ERR_EXISTS);
	CHECK_INT(pair_join(h.root_fd[2], &h.host[2], with_secret(&h, invitation, 0, 1), &h.err), -1);
	CHECK_INT(h.err.code, ERR_EXISTS); /* another pair's */
	know_each_other(&h, 2);
	/* names and addresses */
	static const struct pair_host bad[] = {{STR("a b"), STR("127.0.0.1:1"), STR_NONE},
					       {STR(""), STR("127.0.0.1:1"), STR_NONE},
					       {STR("-a"), STR("127.0.0.1:1"), STR_NONE},
					       {STR("a"), STR("host:1"), STR_NONE},
					       {STR("a"), STR("0.0.0.0:1"), STR_NONE}};
	for (size_t k = 0; k < sizeof(bad) / sizeof(*bad); k++) {
		CHECK_INT(pair_init(h.root_fd[3], &bad[k], &h.arena, &i, &h.err), -1);
		CHECK_INT(h.err.code, ERR_USAGE);
		CHECK_INT(pair_join(h.root_fd[3], &bad[k], invitation, &h.err), -1);
		CHECK_INT(h.err.code, ERR_USAGE);
	}
	CHECK_INT(pair_join(h.root_fd[3], &h.host[1], invitation, &h.err), -1); /* member 1's own address */
	CHECK_INT(h.err.code, ERR_USAGE);
	CHECK(is_nothing(&h, 3));
}

TEST(an_invitation_is_good_once)
{
	auto_hosts h = {0};
	hosts_open(&h);
	struct str invitation = init(&h);
	CHECK_INT(join(&h, 2, invitation, 0), 0);
	CHECK_INT(join(&h, 3, invitation, 10 + ERR_VERIFY), -1);
	CHECK_INT(h.err.code, ERR_VERIFY);
	CHECK_MSG(strstr(h.err.msg, "member 1 takes in nobody new"), "%s", h.err.msg);
	CHECK(is_nothing(&h, 3));
	know_each_other(&h, 2);
}

TEST(wrong_secrets_are_counted)
{
	auto_hosts h = {0};
	hosts_open(&h);
	struct str invitation = init(&h);
	for (int i = 1; i <= TRUST_TRIES; i++) {
		CHECK_INT(open_of(&h).tries_left, TRUST_TRIES - i + 1);
		CHECK_INT(join(&h, 3, with_secret(&h, invitation, (uint8_t)i, 0), 10 + ERR_VERIFY), -1);
		CHECK_INT(h.err.code, ERR_VERIFY);
		CHECK_MSG(strstr(h.err.msg, "a wrong secret"), "%s", h.err.msg);
		CHECK(is_nothing(&h, 3));
	}
	CHECK_INT(join(&h, 2, invitation, 10 + ERR_VERIFY), -1); /* the right one, too late */
	CHECK_MSG(strstr(h.err.msg, "the invitation is spent"), "%s", h.err.msg);
	/* another invitation, of the same certificate */
	struct invitation a, b;
	struct str again = init(&h);
	CHECK(invitation_parse(&h.arena, invitation, &a, &h.err) == 0 &&
	      invitation_parse(&h.arena, again, &b, &h.err) == 0);
	CHECK(memcmp(a.fingerprint, b.fingerprint, SHA256_SIZE) == 0 &&
	      memcmp(a.secret, b.secret, INVITATION_SECRET) != 0);
	CHECK_INT(join(&h, 2, invitation, 10 + ERR_VERIFY), -1); /* the one before it is void */
	CHECK_INT(join(&h, 2, again, 0), 0);
	know_each_other(&h, 2);
}

TEST(an_invitation_expires)
{
	auto_hosts h = {0};
	hosts_open(&h);
	struct str invitation = init(&h);
	struct trust_open o = open_of(&h);
	const struct trust_open good = o;
	o.until_ms = clock_system.wall_ms(&clock_system) - 1;
	CHECK_INT(trust_write_open(h.root_fd[1], &o, &h.err), 0);
	CHECK_INT(join(&h, 2, invitation, 10 + ERR_VERIFY), -1);
	CHECK_MSG(strstr(h.err.msg, "has expired"), "%s", h.err.msg);
	o.until_ms = clock_system.wall_ms(&clock_system) + 86400000; /* the clock was set back by a day */
	CHECK_INT(trust_write_open(h.root_fd[1], &o, &h.err), 0);
	CHECK_INT(join(&h, 2, invitation, 10 + ERR_VERIFY), -1);
	CHECK_MSG(strstr(h.err.msg, "has expired"), "%s", h.err.msg);
	CHECK(is_nothing(&h, 2));
	CHECK_INT(trust_write_open(h.root_fd[1], &good, &h.err), 0);
	CHECK_INT(join(&h, 2, invitation, 0), 0);
	/* who is known may come again whenever, and is answered the same */
	CHECK_INT(trust_write_open(h.root_fd[1], &o, &h.err), 0);
	h.host[2].address = STR("127.0.0.9:2");
	CHECK_MSG(join(&h, 2, invitation, 0) == 0, "%s", h.err.msg);
	know_each_other(&h, 2);
	CHECK_INT(join(&h, 2, with_secret(&h, invitation, 1, 0), 10 + ERR_VERIFY), -1);
	know_each_other(&h, 2);
}

/* Whoever stands between has no such certificate, and hears nothing but a ClientHello and an alert. */
TEST(somebody_else_answers)
{
	auto_hosts h = {0};
	hosts_open(&h);
	struct str invitation = with_secret(&h, init(&h), 0, 1);
	CHECK_INT(join(&h, 2, invitation, 10 + ERR_VERIFY), -1);
	CHECK_INT(h.err.code, ERR_VERIFY);
	CHECK_MSG(strstr(h.err.msg, "it is somebody else"), "%s", h.err.msg);
	CHECK_INT(open_of(&h).tries_left, TRUST_TRIES); /* no secret was said */
	CHECK(is_nothing(&h, 2));
	/* nobody at all */
	cleanup_fd(&h.listen_fd);
	CHECK_INT(pair_join(h.root_fd[2], &h.host[2], invitation, &h.err), -1);
	CHECK_INT(h.err.code, ERR_NETWORK);
	CHECK_MSG(strstr(h.err.msg, "'slipway agent' must run there"), "%s", h.err.msg);
	CHECK(is_nothing(&h, 2));
}

/* A listener that takes the question and dies: before member 1 has taken it in, and after. */
static void lose_the_answer(struct hosts *h, struct str invitation)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct tls_identity id;
		struct tls *t = NULL;
		struct wire_message m;
		alarm(20);
		int fd = accept4(h->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		struct tls_opts o = {.server = true, .any = true};
		CHECK(trust_identity(h->root_fd[1], &h->arena, &id, &h->err) == 0);
		o.identity = id;
		CHECK(tls_open(fd, &o, clock_system.mono_ms(&clock_system) + 5000, &t, &h->err) == 0);
		CHECK(link_take(link_over_tls(t), 5000, &h->arena, &m, &h->err) == 1 && json_get(m.json, "join"));
		_exit(0);
	}
	CHECK_INT(pair_join(h->root_fd[2], &h->host[2], invitation, &h->err), -1);
	CHECK_INT(ended(pid), 0);
	CHECK_INT(h->err.code, ERR_UNCERTAIN);
	CHECK_MSG(strstr(h->err.msg, "run the same command again"), "%s", h->err.msg);
}

TEST(a_lost_answer)
{
	auto_hosts h = {0};
	struct pair p;
	struct str address;
	struct pair_invitation none;
	hosts_open(&h);
	struct str invitation = init(&h);
	lose_the_answer(&h, invitation);
	CHECK_INT(pair_read(h.root_fd[2], &h.arena, &p, &h.err), 1);
	CHECK(p.self == 2 && !p.joined);
	struct str key = p.host[2].fingerprint;
	CHECK_INT(pair_listen_address(h.root_fd[2], &h.arena, &address, &h.err), 0);
	CHECK_INT(pair_init(h.root_fd[2], &h.host[2], &h.arena, &none, &h.err), -1);
	CHECK_MSG(h.err.code == ERR_EXISTS && strstr(h.err.msg, "the same invitation goes on"), "%s", h.err.msg);
	/* nobody there meanwhile: what was begun stays */
	pid_t pid = fork();
	if (pid == 0) {
		alarm(20);
		_exit(accept4(h.listen_fd, NULL, NULL, SOCK_CLOEXEC) < 0);
	}
	CHECK_INT(pair_join(h.root_fd[2], &h.host[2], invitation, &h.err), -1);
	CHECK_INT(h.err.code, ERR_NETWORK);
	CHECK_INT(ended(pid), 0);
	CHECK_MSG(join(&h, 2, invitation, 0) == 0, "%s", h.err.msg);
	know_each_other(&h, 2);
	CHECK_INT(pair_read(h.root_fd[2], &h.arena, &p, &h.err), 1);
	CHECK(str_eq(key, p.host[2].fingerprint));
	/* as if only the answer had been lost: member 1 has joined already */
	CHECK(unlinkat(h.root_fd[2], "pair/peer", 0) == 0);
	CHECK_MSG(join(&h, 2, invitation, 0) == 0, "%s", h.err.msg);
	know_each_other(&h, 2);
	CHECK_INT(pair_read(h.root_fd[2], &h.arena, &p, &h.err), 1);
	CHECK(str_eq(key, p.host[2].fingerprint));
}

TEST(leaving)
{
	auto_hosts h = {0};
	struct pair p;
	struct link *l = NULL;
	hosts_open(&h);
	CHECK_INT(pair_leave(h.root_fd[3], &h.err), 0);
	struct str invitation = init(&h);
	CHECK_INT(join(&h, 2, invitation, 0), 0);
	CHECK_INT(pair_leave(h.root_fd[2], &h.err), 0);
	CHECK(is_nothing(&h, 2));
	CHECK_INT(join(&h, 2, invitation, 10 + ERR_VERIFY), -1); /* a new key is a stranger's */
	CHECK(is_nothing(&h, 2));
	CHECK_INT(pair_leave(h.root_fd[1], &h.err), 0);
	CHECK(is_nothing(&h, 1));
	invitation = init(&h);
	CHECK_INT(join(&h, 2, invitation, 0), 0);
	know_each_other(&h, 2);
	/* the other one left: it no longer knows this one */
	CHECK_INT(pair_read(h.root_fd[2], &h.arena, &p, &h.err), 1);
	CHECK_INT(pair_leave(h.root_fd[1], &h.err), 0);
	init(&h);
	pid_t pid = serve(&h);
	CHECK_INT(link_connect(h.root_fd[2], &p, 5000, &l, &h.err), -1);
	CHECK_INT(h.err.code, ERR_VERIFY);
	CHECK_INT(ended(pid), 10 + ERR_VERIFY);
}

/* What was cut short or changed by hand is refused with what mends it, and can be left. */
TEST(damaged_files)
{
	static const char *const names[] = {"self", "peer"};
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"format\": 2}",
		"{\"format\": 1, \"number\": 3}",
		"{\"format\": 1, \"number\": 1, \"name\": \"\\u001b[2J\", \"address\": \"127.0.0.1:1\"}"};
	auto_hosts h = {0};
	struct pair p;
	hosts_open(&h);
	for (size_t n = 0; n < 2; n++) {
		for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
			char path[32];
			struct pair_invitation invitation;
			CHECK_INT(pair_leave(h.root_fd[1], &h.err), 0);
			init(&h);
			snprintf(path, sizeof(path), "pair/%s", names[n]);
			CHECK(fs_replace(h.root_fd[1], path, texts[i], strlen(texts[i]), 0, &h.err) == 0);
			CHECK_INT(pair_read(h.root_fd[1], &h.arena, &p, &h.err), -1);
			CHECK_MSG(strstr(h.err.msg, "'slipway pair leave'"), "%s", h.err.msg);
			CHECK_INT(pair_init(h.root_fd[1], &h.host[1], &h.arena, &invitation, &h.err), -1);
		}
	}
	CHECK_INT(pair_leave(h.root_fd[1], &h.err), 0);
	CHECK(is_nothing(&h, 1));
}

TEST(invitations_as_people_copy_them)
{
	auto_hosts h = {0};
	struct invitation i;
	hosts_open(&h);
	struct str good = init(&h);
	char *text = arena_strdup(&h.arena, good);
	CHECK_INT(good.n, strlen("pair1/") + h.host[1].address.n + 1 + 88);
	CHECK_INT(invitation_parse(&h.arena, str_c(arena_printf(&h.arena, "  %s\r\n", text)), &i, &h.err), 0);
	for (size_t k = 0; k < good.n; k++) { /* any slip is noticed */
		char before = text[k];
		text[k] = before == 'b' ? 'c' : 'b';
		CHECK_MSG(invitation_parse(&h.arena, str_c(text), &i, &h.err) < 0 && h.err.code == ERR_USAGE, "%s",
			  text);
		text[k] = before;
		CHECK_INT(invitation_parse(&h.arena, str_head(good, k), &i, &h.err), -1); /* cut */
	}
	CHECK_INT(invitation_parse(&h.arena, str_c(arena_printf(&h.arena, "%sa", text)), &i, &h.err), -1);
	for (char *c = strrchr(text, '/'); *c; c++)
		*c = (char)(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
	CHECK_INT(invitation_parse(&h.arena, str_c(text), &i, &h.err), 0);
}

TEST(a_host_of_which_nothing_is_said)
{
	auto_hosts h = {0};
	struct pair_host who = {.address = STR(":77")};
	hosts_open(&h);
	struct str invitation = init(&h);
	CHECK_MSG(pair_host_complete(&h.arena, invitation, &who, &h.err) == 0, "%s", h.err.msg);
	CHECK(str_eq_c(who.address, "127.0.0.1:77") && who.name.n);
	who = (struct pair_host){.name = STR("x"), .address = STR("10.1.1.1")};
	CHECK_INT(pair_host_complete(&h.arena, STR_NONE, &who, &h.err), 0);
	CHECK(str_eq_c(who.address, "10.1.1.1:8479"));
	CHECK_INT(pair_host_complete(&h.arena, STR("nonsense"), &who, &h.err), -1);
}
