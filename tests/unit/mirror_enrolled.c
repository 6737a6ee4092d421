// SPDX-License-Identifier: Apache-2.0
/* Enrolment over TLS, from the host's side and the mirror's at once; and what a failure of TLS says. */
#include "lib/test.h"
#include "lib/tlsd.h"
#include "mirror/mirror.h"

#include <fcntl.h>

#include "base/fs.h"

static const int64_t day = 86400000;
static struct arena arena;
static struct clock_fake now; /* of the mirror, and of the host */
static struct str hosts[] = {{"localhost", 9}};
static const struct mirror_authority_opts authority = {{"your-mirror", 11}, hosts, 1, false, false};

struct site {
	const char *dir, *root; /* of the mirror, of the host */
	struct mirror_clients *clients;
	struct tlsd *server;
	struct mirror_here here;
	struct transfer_opts opts;
	struct str url;
	int fail_with; /* the next answers, when their work is done */
};

static struct str text_of(const char *dir, const char *name)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(1 << 20);
	auto_free char *path = xasprintf("%s/%s", dir, name);
	CHECK_MSG(fs_read(AT_FDCWD, path, &b, &e) == 0, "%s", e.msg);
	return arena_str(&arena, buf_str(&b));
}

static int answer(const struct tlsd_request *r, struct buf *b, void *ctx)
{
	struct site *s = ctx;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct mirror_reply reply;
	struct mirror_call call = {
		.body = r->body, .address = STR("127.0.0.1"), .certificate = r->certified ? r->certificate : NULL};
	if (strcmp(r->path, "/pki/ca.pem") == 0) {
		auto_buf ca = BUF_INIT(1 << 20);
		auto_free char *path = xasprintf("%s/pki/ca.pem", s->dir);
		CHECK(fs_read(AT_FDCWD, path, &ca, &e) == 0);
		buf_put_str(b, buf_str(&ca));
		return 200;
	}
	if (strcmp(r->path, "/file") == 0) {
		struct mirror_who who;
		if (mirror_who(s->clients, call.certificate, &a, &who, &e) <= 0)
			return buf_put_c(b, e.msg), 403;
		return buf_put_str(b, who.name), 200;
	}
	bool first = strcmp(r->path, "/enroll") == 0;
	CHECK(first || strcmp(r->path, "/renew") == 0);
	CHECK_MSG((first ? mirror_enroll : mirror_renew)(s->clients, &call, &a, &reply, &e) == 0, "%s", e.msg);
	if (s->fail_with)
		return s->fail_with;
	buf_put_str(b, reply.body);
	return reply.status;
}

static void serve(struct site *s)
{
	s->server = tlsd_start(text_of(s->dir, "pki/server.pem").p, text_of(s->dir, "pki/server.key").p,
			       text_of(s->dir, "pki/ca.pem").p, answer, s);
	s->url = str_c(arena_printf(&arena, "https://localhost:%u", s->server->port));
}

static struct site begin(void)
{
	struct err e = ERR_INIT;
	struct site s = {.dir = arena_printf(&arena, "%s/mirror", test_tmp()),
			 .root = arena_printf(&arena, "%s/root", test_tmp())};
	CHECK(mkdir(s.dir, 0755) == 0 && mkdir(s.root, 0755) == 0);
	now = clock_fake_at(clock_mono_ms(), clock_wall_ms()); /* libssl looks at the real one */
	CHECK_MSG(mirror_authority_make(s.dir, &authority, &now.base, &e) >= 0, "%s", e.msg);
	CHECK_MSG(mirror_clients_open(s.dir, &now.base, &s.clients, &e) == 0, "%s", e.msg);
	return s;
}

/* Here stays what points into s. */
static void connect_host(struct site *s)
{
	s->opts = TRANSFER_OPTS_INIT;
	s->opts.retries = UINT_MAX;
	s->here = (struct mirror_here){fs_open_dir(AT_FDCWD, s->root, &(struct err){0}), s->root, &now.base, &s->opts};
	CHECK(s->here.root_fd >= 0);
}

static void end(struct site *s)
{
	tlsd_stop(s->server);
	mirror_clients_free(s->clients);
	close(s->here.root_fd);
	arena_release(&arena);
}

static const char *code_for(struct site *s, const char *name)
{
	struct err e = ERR_INIT;
	struct mirror_code c;
	CHECK_MSG(mirror_code_new(s->clients, &(struct mirror_code_opts){.name = str_c(name)}, &arena, &c, &e) == 0,
		  "%s", e.msg);
	return c.text.p;
}

static int get(struct site *s, const char *url, struct buf *out, struct err *e)
{
	struct mirror_enrolled *v;
	size_t n;
	auto_ptr(transfer) t = NULL;
	auto_fd fd = open(test_tmp(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char chunk[4096];
	ssize_t got;
	CHECK_MSG(mirror_enrolled_list(s->here.root_fd, s->root, &arena, &v, &n, e) == 0, "%s", e->msg);
	const struct mirror_enrolled *m = mirror_enrolled_at(v, n, str_c(url));
	struct transfer_trust trust = {.ca_file = m ? m->ca_file : NULL,
				       .client_cert = m ? m->client_file : NULL,
				       .client_key = m ? m->client_file : NULL};
	struct transfer_request r = {.url = url, .fd = fd, .trust = m ? &trust : NULL};
	CHECK(transfer_new(&s->opts, &t, e) == 0);
	transfer_add(t, &r);
	CHECK(transfer_run(t, e) == 0);
	if (r.err.code != ERR_NONE) {
		*e = r.err;
		return -1;
	}
	for (off_t at = 0; (got = pread(fd, chunk, sizeof(chunk), at)) > 0; at += got)
		buf_put(out, chunk, (size_t)got);
	return 0;
}

static const char *file_url(struct site *s)
{
	return arena_printf(&arena, "%s/file", s->url.p);
}

TEST(a_host_enrolls)
{
	struct site s = begin();
	struct mirror_enrolled m;
	struct err e = ERR_INIT;
	struct stat st;
	auto_buf out = BUF_INIT(4096);
	connect_host(&s);
	serve(&s);
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "")), STR("app1"), &arena, &m, &e) == 0, "%s",
		  e.msg);
	CHECK(str_eq(m.name, STR("app1")) && str_eq(m.group, STR("default")));
	CHECK_STR(m.url.p, s.url.p);
	CHECK(stat(m.client_file, &st) == 0 && (st.st_mode & 07777) == 0600);
	CHECK(!strchr(m.client_file, ':'));
	auto_free char *pending = xasprintf("%s/mirror/localhost_%u/pending.key", s.root, s.server->port);
	CHECK(access(m.client_file, F_OK) == 0 && access(pending, F_OK) < 0);
	CHECK_MSG(get(&s, file_url(&s), &out, &e) == 0, "%s", e.msg);
	CHECK_STR(out.p, "app1");
	/* again, with a new code: the same record */
	struct mirror_client *v;
	size_t n;
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "")), STR_NONE, &arena, &m, &e) == 0, "%s",
		  e.msg);
	CHECK(mirror_client_list(s.clients, &arena, &v, &n, &e) == 0);
	CHECK_INT(n, 1);
	CHECK(str_eq(m.name, STR("app1")));
	/* revoked: its own words come back */
	CHECK(mirror_client_revoke(s.clients, STR("app1"), STR(""), &e) == 0);
	CHECK(get(&s, file_url(&s), &out, &e) < 0);
	CHECK(mirror_leave_here(s.here.root_fd, m.id, &e) == 0);
	CHECK(mirror_leave_here(s.here.root_fd, m.id, &e) < 0);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	end(&s);
}

TEST(a_lost_answer_is_asked_for_again)
{
	struct site s = begin();
	struct mirror_enrolled m;
	struct err e = ERR_INIT;
	auto_buf out = BUF_INIT(4096);
	connect_host(&s);
	serve(&s);
	const char *code = code_for(&s, "");
	s.fail_with = 502;
	CHECK(mirror_enroll_here(&s.here, s.url, str_c(code), STR("app1"), &arena, &m, &e) < 0);
	s.fail_with = 0;
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code), STR("app1"), &arena, &m, &e) == 0, "%s", e.msg);
	CHECK_MSG(get(&s, file_url(&s), &out, &e) == 0, "%s", e.msg);
	end(&s);
}

TEST(the_mirrors_words_are_passed_on)
{
	struct site s = begin();
	struct mirror_enrolled m;
	struct err e = ERR_INIT;
	connect_host(&s);
	serve(&s);
	const char *code = code_for(&s, "");
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code), STR("app1"), &arena, &m, &e) == 0, "%s", e.msg);
	CHECK(mirror_leave_here(s.here.root_fd, m.id, &e) == 0); /* installed anew: another key */
	CHECK(mirror_enroll_here(&s.here, s.url, str_c(code), STR("app1"), &arena, &m, &e) < 0);
	CHECK_MSG(e.code == ERR_VERIFY && strstr(e.msg, "the mirror says: this code was used already"), "%s", e.msg);
	CHECK(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "")), STR("app1"), &arena, &m, &e) < 0);
	CHECK_MSG(strstr(e.msg, "slipway mirror enroll --name app1"), "%s", e.msg);
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "app1")), STR_NONE, &arena, &m, &e) == 0, "%s",
		  e.msg);
	end(&s);
}

/* Somebody stands between, with an authority of his own that has the same name. */
TEST(another_authority_gets_nothing)
{
	struct site s = begin();
	struct mirror_enrolled m;
	struct err e = ERR_INIT;
	const char *code = code_for(&s, "");
	connect_host(&s);
	s.dir = arena_printf(&arena, "%s/evil", test_tmp());
	CHECK(mkdir(s.dir, 0755) == 0 && mirror_authority_make(s.dir, &authority, &now.base, &e) >= 0);
	serve(&s);
	CHECK(mirror_enroll_here(&s.here, s.url, str_c(code), STR("app1"), &arena, &m, &e) < 0);
	CHECK_MSG(e.code == ERR_VERIFY && strstr(e.msg, "nothing was sent"), "%s", e.msg);
	CHECK_INT(s.server->requests, 1); /* for the authority; no code */
	end(&s);
}

/* He passes the right authority on, but has no certificate of it. */
TEST(the_right_authority_on_the_wrong_server)
{
	struct site s = begin();
	struct mirror_enrolled m;
	struct err e = ERR_INIT;
	const char *code = code_for(&s, "");
	connect_host(&s);
	const char *evil = arena_printf(&arena, "%s/evil", test_tmp());
	CHECK(mkdir(evil, 0755) == 0 && mirror_authority_make(evil, &authority, &now.base, &e) >= 0);
	s.server = tlsd_start(text_of(evil, "pki/server.pem").p, text_of(evil, "pki/server.key").p, "", answer, &s);
	s.url = str_c(arena_printf(&arena, "https://localhost:%u", s.server->port));
	CHECK(mirror_enroll_here(&s.here, s.url, str_c(code), STR("app1"), &arena, &m, &e) < 0);
	CHECK_MSG(strstr(e.msg, "the certificate 'localhost' of 'your-mirror authority ") &&
			  strstr(e.msg, "shown for 'localhost'") && strstr(e.msg, "is it the right server?"),
		  "%s", e.msg);
	CHECK_INT(s.server->requests, 1);
	end(&s);
}

TEST(a_host_renews)
{
	struct site s = begin();
	struct mirror_enrolled m, *v;
	struct err e = ERR_INIT;
	size_t n;
	auto_buf out = BUF_INIT(4096);
	connect_host(&s);
	serve(&s);
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "")), STR("app1"), &arena, &m, &e) == 0, "%s",
		  e.msg);
	CHECK_INT(mirror_renew_here(&s.here, &m, false, &e), 0);
	CHECK(!mirror_enrolled_is_due(&m, now.wall_ms));
	now.wall_ms += 61 * day;
	CHECK(mirror_enrolled_is_due(&m, now.wall_ms));
	unsigned before = s.server->requests;
	s.fail_with = 503; /* it is down: this is tried once an hour, and not by each command */
	CHECK(mirror_renew_here(&s.here, &m, false, &e) < 0);
	CHECK_INT(mirror_renew_here(&s.here, &m, false, &e), 0);
	CHECK_INT(s.server->requests, before + 2); /* for authorities, and this */
	now.wall_ms += 3700000;
	s.fail_with = 0;
	CHECK_MSG(mirror_renew_here(&s.here, &m, false, &e) == 1, "%s", e.msg);
	CHECK(mirror_enrolled_list(s.here.root_fd, s.root, &arena, &v, &n, &e) == 0);
	CHECK_INT(n, 1);
	CHECK(!str_eq(v[0].serial, m.serial) && v[0].until_ms > m.until_ms);
	CHECK_INT(mirror_renew_here(&s.here, &m, false, &e), 0); /* m is old; what is there is not */
	now.wall_ms += 200 * day;
	CHECK(!mirror_enrolled_is_due(&v[0], now.wall_ms)); /* too late */
	end(&s);
}

TEST(a_new_authority_reaches_the_host)
{
	struct site s = begin();
	struct mirror_enrolled m, *v;
	struct err e = ERR_INIT;
	size_t n;
	auto_buf out = BUF_INIT(4096);
	connect_host(&s);
	serve(&s);
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "")), STR("app1"), &arena, &m, &e) == 0, "%s",
		  e.msg);
	CHECK_INT(mirror_learn_here(&s.here, &m, &e), 0);
	CHECK_INT(mirror_authority_announce(s.dir, &authority, &now.base, &e), 1);
	CHECK_MSG(mirror_authority_switch(s.dir, &authority, &now.base, &e) == 0, "%s", e.msg);
	tlsd_port = s.server->port;
	tlsd_stop(s.server);
	serve(&s); /* with its new certificate, which the host learns to explain by what the old authority announced */
	CHECK(get(&s, file_url(&s), &out, &e) < 0);
	CHECK_MSG(mirror_learn_here(&s.here, &m, &e) == 1, "%s", e.msg);
	CHECK_MSG(get(&s, file_url(&s), &out, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_renew_here(&s.here, &m, true, &e) == 1, "%s", e.msg); /* not due, but of the old authority */
	CHECK(mirror_enrolled_list(s.here.root_fd, s.root, &arena, &v, &n, &e) == 0);
	CHECK(n == 1 && !str_eq(v[0].serial, m.serial));
	CHECK_MSG(get(&s, file_url(&s), &out, &e) == 0, "%s", e.msg);
	/* an authority that nobody announced is not learnt */
	const char *evil = arena_printf(&arena, "%s/evil", test_tmp());
	CHECK(mkdir(evil, 0755) == 0 && mirror_authority_make(evil, &authority, &now.base, &e) >= 0);
	tlsd_stop(s.server);
	s.dir = evil;
	serve(&s);
	CHECK_INT(mirror_learn_here(&s.here, &m, &e), 0);
	CHECK(get(&s, file_url(&s), &out, &e) < 0);
	end(&s);
}

TEST(what_a_failure_of_tls_says)
{
	struct site s = begin();
	struct mirror_enrolled m;
	struct err e = ERR_INIT;
	auto_buf out = BUF_INIT(4096);
	connect_host(&s);
	serve(&s);
	/* nobody has enrolled: the system does not know that authority */
	CHECK(get(&s, file_url(&s), &out, &e) < 0);
	CHECK_MSG(strstr(e.msg, "the certificate 'localhost' of 'your-mirror authority ") &&
			  strstr(e.msg, "shown for 'localhost': ") && strstr(e.msg, "'slipway enroll'"),
		  "%s", e.msg);
	/* by a name that it is not for */
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "")), STR("app1"), &arena, &m, &e) == 0, "%s",
		  e.msg);
	auto_ptr(transfer) t = NULL;
	auto_fd fd = open(test_tmp(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct transfer_trust trust = {.ca_file = m.ca_file};
	struct transfer_request r = {
		.url = arena_printf(&arena, "https://127.0.0.1:%u/file", s.server->port), .fd = fd, .trust = &trust};
	CHECK(transfer_new(&s.opts, &t, &e) == 0);
	transfer_add(t, &r);
	CHECK(transfer_run(t, &e) == 0);
	CHECK_MSG(strstr(r.err.msg, "shown for '127.0.0.1': it is not for that name, but for 'localhost'"), "%s",
		  r.err.msg);
	end(&s);
}

TEST(an_expired_server_is_told_so)
{
	struct site s = begin();
	struct err e = ERR_INIT;
	auto_buf out = BUF_INIT(4096);
	struct mirror_enrolled m;
	const char *dir = arena_printf(&arena, "%s/old", test_tmp());
	connect_host(&s);
	CHECK(mkdir(dir, 0755) == 0);
	now.wall_ms -= 400 * day;
	CHECK(mirror_authority_make(dir, &authority, &now.base, &e) >= 0);
	struct mirror_clients *old;
	CHECK(mirror_clients_open(dir, &now.base, &old, &e) == 0);
	now.wall_ms += 400 * day;
	mirror_clients_free(s.clients);
	s.clients = old;
	s.dir = dir;
	serve(&s);
	CHECK(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "")), STR("app1"), &arena, &m, &e) < 0);
	CHECK_MSG(strstr(e.msg, "certificate has expired (good from ") && strstr(e.msg, "; here it is ") &&
			  strstr(e.msg, "set this host's clock"),
		  "%s", e.msg);
	end(&s);
}

/* A certificate that the server does not know is refused by an alert. */
TEST(a_refused_client_is_told_so)
{
	struct site s = begin(), other;
	struct err e = ERR_INIT;
	auto_buf out = BUF_INIT(4096);
	struct mirror_enrolled m;
	connect_host(&s);
	serve(&s);
	CHECK_MSG(mirror_enroll_here(&s.here, s.url, str_c(code_for(&s, "")), STR("app1"), &arena, &m, &e) == 0, "%s",
		  e.msg);
	other = s;
	other.server =
		tlsd_start(text_of(s.dir, "pki/server.pem").p, text_of(s.dir, "pki/server.key").p, "", answer, &other);
	const char *evil = arena_printf(&arena, "%s/evil", test_tmp());
	CHECK(mkdir(evil, 0755) == 0 && mirror_authority_make(evil, &authority, &now.base, &e) >= 0);
	tlsd_stop(other.server);
	other.server = tlsd_start(text_of(s.dir, "pki/server.pem").p, text_of(s.dir, "pki/server.key").p,
				  text_of(evil, "pki/ca.pem").p, answer, &other);
	auto_ptr(transfer) t = NULL;
	auto_fd fd = open(test_tmp(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct transfer_trust trust = {.ca_file = m.ca_file, .client_cert = m.client_file, .client_key = m.client_file};
	struct transfer_request r = {.url = arena_printf(&arena, "https://localhost:%u/file", other.server->port),
				     .fd = fd,
				     .trust = &trust};
	CHECK(transfer_new(&s.opts, &t, &e) == 0);
	transfer_add(t, &r);
	CHECK(transfer_run(t, &e) == 0);
	CHECK_MSG(strstr(r.err.msg, "the server refuses the certificate of this host"), "%s", r.err.msg);
	tlsd_stop(other.server);
	end(&s);
}

TEST(urls)
{
	static const char *const bad[] = {
		"http://a",    "a",	      "https://",     "https://a:0", "https://a:70000",
		"https://a?x", "https://a b", "https://[::1", "https://u@a", "https://a:1:2"};
	struct site s = begin();
	struct mirror_enrolled m;
	struct err e = ERR_INIT;
	connect_host(&s);
	serve(&s);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK_MSG(mirror_enroll_here(&s.here, str_c(bad[i]), str_c(code_for(&s, "")), STR_NONE, &arena, &m,
					     &e) < 0,
			  "'%s' is taken", bad[i]);
		CHECK_MSG(e.code == ERR_USAGE, "%s: %s", bad[i], e.msg);
	}
	struct mirror_enrolled v[] = {{.id = STR("m.x")}, {.id = STR("m.x:8443")}, {.id = STR("[::1]")}};
	CHECK(mirror_enrolled_at(v, 3, STR("https://M.x/channel")) == &v[0]);
	CHECK(mirror_enrolled_at(v, 3, STR("https://m.x:443/a/b?q=1")) == &v[0]);
	CHECK(mirror_enrolled_at(v, 3, STR("https://m.x:8443")) == &v[1]);
	CHECK(mirror_enrolled_at(v, 3, STR("https://[::1]/x")) == &v[2]);
	CHECK(!mirror_enrolled_at(v, 3, STR("http://m.x/")) && !mirror_enrolled_at(v, 3, STR("https://m.xx/")) &&
	      !mirror_enrolled_at(v, 3, STR("https://m.x:8444/")) && !mirror_enrolled_at(v, 3, STR("file:///x")));
	end(&s);
}
