// SPDX-License-Identifier: Apache-2.0
/* A server in this process, and raw sockets: HTTP/1 to the byte, slow and hostile clients, replies that grow, stop and hand-over. */
#include "httpd/httpd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/fs.h"
#include "base/proc.h"
#include "lib/test.h"
#include "pki/pki.h"

enum { WAIT_MS = 20000 };

/* -- the server under test --------------------------------------------------------------------------------------------------- */

static struct site {
	int root;
	struct httpd *h;
	struct httpd_stream *stream; /* what /grow sends */
	struct httpd_req *held;	     /* what /hold holds */
	pthread_mutex_t lock;
	atomic_int calls, records, cuts;
	int body_fd;
	char last[64];
} site = {.root = -1, .lock = PTHREAD_MUTEX_INITIALIZER, .body_fd = -1};

static void nap(int ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
	nanosleep(&t, NULL);
}

static void handle(struct httpd_req *r, void *ctx)
{
	struct site *s = ctx;
	struct str path = httpd_path(r);
	atomic_fetch_add(&s->calls, 1);
	if (str_eq(path, STR("/echo"))) {
		httpd_reply_bytes(r, &(struct httpd_head){.type = "text/plain"}, httpd_body(r, NULL));
	} else if (str_eq(path, STR("/grow"))) {
		httpd_reply_stream(r, &(struct httpd_head){0}, s->stream);
	} else if (str_eq(path, STR("/hold"))) {
		pthread_mutex_lock(&s->lock);
		s->held = r;
		pthread_mutex_unlock(&s->lock);
	} else if (str_eq(path, STR("/nap"))) { /* what no handler may do: so that more comes meanwhile */
		nap(300);
		httpd_reply_bytes(r, &(struct httpd_head){0}, STR("x"));
	} else if (str_eq(path, STR("/order"))) {
		httpd_reply_error(r, 201, "%d", atomic_load(&s->calls));
	} else if (str_eq(path, STR("/split"))) {
		httpd_reply_bytes(r, &(struct httpd_head){.location = "/x\r\nSet-Cookie: a=b", .status = 302},
				  STR("x"));
	} else if (str_eq(path, STR("/stored"))) {
		uint64_t n;
		struct str none = httpd_body(r, &n);
		CHECK_INT(none.n, 0);
		httpd_reply_error(r, 201, "%llu", (unsigned long long)n);
	} else if (httpd_reply_path(r, &(struct httpd_head){0}, s->root, path.p) == HTTPD_NO_FILE) {
		httpd_reply_error(r, 404, "none");
	}
}

static int plan_body(struct httpd_req *r, struct httpd_body *body, void *ctx)
{
	struct site *s = ctx;
	if (str_eq(httpd_path(r), STR("/stored"))) {
		body->fd = s->body_fd;
		body->max_bytes = 1 << 20;
	}
	return str_eq(httpd_path(r), STR("/forbidden")) ? 403 : 0;
}

static void record(const struct httpd_record *rec, void *ctx)
{
	struct site *s = ctx;
	atomic_fetch_add(&s->records, 1);
	atomic_fetch_add(&s->cuts, rec->cut);
}

static struct httpd_opts opts_of(const struct httpd_listen *l)
{
	return (struct httpd_opts){.listen = l,
				   .listen_n = 1,
				   .handler = handle,
				   .body = plan_body,
				   .record = record,
				   .ctx = &site,
				   .threads = 2};
}

static void start(const struct httpd_opts *o)
{
	struct err e = ERR_INIT;
	proc_signals_ignore();
	site.root = open(test_tmp(), O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (httpd_start(o, &site.h, &e) < 0)
		CHECK_STR(e.msg, "started");
}

static const struct httpd_listen loopback = {.fd = -1, .address = "127.0.0.1"};

static void start_plain(void)
{
	struct httpd_opts o = opts_of(&loopback);
	start(&o);
}

static void finish(void)
{
	httpd_free(site.h);
	close(site.root);
}

static struct httpd_counts counts(void)
{
	struct httpd_counts c;
	httpd_count(site.h, &c);
	return c;
}

#define UNTIL(condition)                                                                                               \
	do {                                                                                                           \
		for (int until_i = 0; until_i < WAIT_MS / 5 && !(condition); until_i++)                                \
			nap(5);                                                                                        \
		CHECK(condition);                                                                                      \
	} while (0)

/* -- clients -------------------------------------------------------------------------------------------------------------------- */

static int dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(httpd_port(site.h, 0)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval t = {.tv_sec = WAIT_MS / 1000};
	CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	return fd;
}

static void say(int fd, const char *text)
{
	size_t n = strlen(text);
	CHECK(send(fd, text, n, MSG_NOSIGNAL) == (ssize_t)n);
}

/* Until the server closes. False: it was reset. */
static bool hear_all(int fd, struct buf *b)
{
	char p[65536];
	ssize_t n;
	while ((n = recv(fd, p, sizeof(p), 0)) > 0)
		buf_put(b, p, (size_t)n);
	CHECK(n == 0 || errno == ECONNRESET);
	return n == 0;
}

/* One reply with its body, by Content-Length. */
static void hear_one(int fd, struct buf *b)
{
	buf_clear(b);
	for (;;) {
		char p[4096];
		ptrdiff_t end = str_search(buf_str(b), STR("\r\n\r\n")),
			  at = str_search(buf_str(b), STR("Content-Length: "));
		uint64_t want = 0;
		if (end >= 0) {
			struct str s = str_skip(buf_str(b), (size_t)at + 16);
			if (at >= 0 && at < end)
				CHECK(str_take_u64(&s, &want));
			if (b->n >= (size_t)end + 4 + want)
				return;
		}
		ssize_t n = recv(fd, p, 1, 0); /* no more than this one */
		CHECK(n > 0);
		buf_put(b, p, (size_t)n);
	}
}

/* The answer to one request of a connection that is closed afterwards. */
static void ask(const char *request, struct buf *b)
{
	auto_fd fd = dial();
	buf_clear(b);
	say(fd, request);
	shutdown(fd, SHUT_WR);
	hear_all(fd, b);
}

static int status_of(const struct buf *b)
{
	struct str s = buf_str(b);
	uint64_t n = 0;
	return str_take_str(&s, STR("HTTP/1.1 ")) && str_take_u64(&s, &n) ? (int)n : -1;
}

static int status(const char *request)
{
	auto_buf b = BUF_INIT(1 << 20);
	ask(request, &b);
	return status_of(&b);
}

static bool has(const struct buf *b, const char *text)
{
	return str_search(buf_str(b), str_c(text)) >= 0;
}

static void make(const char *name, const char *content)
{
	struct err e = ERR_INIT;
	CHECK(fs_replace(site.root, name, content, strlen(content), 0, &e) == 0);
}

#define CLOSE "Host: x\r\nConnection: close\r\n\r\n"

/* -- requests and replies --------------------------------------------------------------------------------------------------------- */

TEST(serves_a_file)
{
	auto_buf b = BUF_INIT(1 << 20);
	start_plain();
	make("a", "0123456789");
	ask("GET /a HTTP/1.1\r\n" CLOSE, &b);
	CHECK_INT(status_of(&b), 200);
	CHECK(has(&b, "Content-Length: 10\r\n") && has(&b, "ETag: \"") && has(&b, "Last-Modified: ") &&
	      has(&b, "Date: "));
	CHECK(has(&b, "Connection: close\r\n") && has(&b, "\r\n\r\n0123456789"));
	ask("HEAD /a HTTP/1.1\r\n" CLOSE, &b);
	CHECK(has(&b, "Content-Length: 10\r\n") && !has(&b, "0123456789"));
	CHECK_INT(status("GET /b HTTP/1.1\r\n" CLOSE), 404);
	CHECK_INT(status("GET / HTTP/1.1\r\n" CLOSE), 404);
	CHECK_INT(status("POST /a HTTP/1.1\r\n" CLOSE), 405);
	finish();
}

TEST(sees_at_once_what_was_replaced)
{
	auto_buf b = BUF_INIT(1 << 20);
	start_plain();
	make("a", "one");
	nap(80); /* old enough to be kept */
	for (int i = 0; i < 3; i++)
		ask("GET /a HTTP/1.1\r\n" CLOSE, &b);
	CHECK(has(&b, "\r\n\r\none"));
	CHECK(counts().file_hits >= 1);
	for (int i = 0; i < 50; i++) {
		char text[16];
		snprintf(text, sizeof(text), "v%02d", i);
		make("a", text);
		ask("GET /a HTTP/1.1\r\n" CLOSE, &b);
		CHECK(str_ends(buf_str(&b), str_c(text)));
	}
	CHECK(unlinkat(site.root, "a", 0) == 0);
	CHECK_INT(status("GET /a HTTP/1.1\r\n" CLOSE), 404);
	finish();
}

TEST(stays_in_its_folder)
{
	start_plain();
	make("a", "one");
	CHECK(symlinkat("/etc/passwd", site.root, "out") == 0 && symlinkat("..", site.root, "up") == 0 &&
	      symlinkat("a", site.root, "in") == 0);
	CHECK_INT(status("GET /in HTTP/1.1\r\n" CLOSE), 200);
	CHECK_INT(status("GET /out HTTP/1.1\r\n" CLOSE), 403);
	CHECK(mkdirat(site.root, "d", 0700) == 0);
	CHECK_INT(status("GET /d HTTP/1.1\r\n" CLOSE), 404);
	CHECK_INT(status("GET /d/ HTTP/1.1\r\n" CLOSE), 404);
	CHECK_INT(status("GET /a/ HTTP/1.1\r\n" CLOSE), 404);
	int before = site.calls;
	static const char *const out[] = {"/../a",
					  "/%2e%2e/a",
					  "/..%2fa",
					  "/d/..%2f..%2fetc/passwd",
					  "/d/%2e%2e/%2e%2e/etc/passwd",
					  "/%c0%ae%c0%ae/a",
					  "/a%00",
					  "/%2e%2e%2fa",
					  "/d/../a",
					  "/%zz"};
	for (size_t i = 0; i < sizeof(out) / sizeof(*out); i++) {
		char request[200];
		snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" CLOSE, out[i]);
		CHECK_INT(status(request), 400);
	}
	CHECK_INT(site.calls, before);
	finish();
}

TEST(answers_conditions_and_ranges)
{
	auto_buf b = BUF_INIT(1 << 20), tagged = BUF_INIT(1 << 20);
	char tag[80] = "", date[80] = "";
	start_plain();
	make("a", "0123456789");
	ask("GET /a HTTP/1.1\r\n" CLOSE, &b);
	sscanf(b.p + str_search(buf_str(&b), STR("ETag: ")), "ETag: %79s", tag);
	sscanf(b.p + str_search(buf_str(&b), STR("Last-Modified: ")), "Last-Modified: %79[^\r]", date);
	static const struct {
		const char *headers; /* %s: the tag, %D: the date */
		int status;
		const char *body;
	} cases[] = {
		{"If-None-Match: %s", 304, ""},
		{"If-None-Match: \"x\", W/%s", 304, ""},
		{"If-None-Match: \"x\"", 200, "0123456789"},
		{"If-None-Match: *", 304, ""},
		{"If-Modified-Since: %D", 304, ""},
		{"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 200, "0123456789"},
		{"If-None-Match: \"x\"\r\nIf-Modified-Since: %D", 200, "0123456789"},
		{"If-Match: \"x\"", 412, NULL},
		{"If-Match: %s", 200, "0123456789"},
		{"If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 412, NULL},
		{"Range: bytes=2-4", 206, "234"},
		{"Range: bytes=-2", 206, "89"},
		{"Range: bytes=8-", 206, "89"},
		{"Range: bytes=10-", 416, ""},
		{"Range: bytes=4-2", 200, "0123456789"},
		{"Range: bytes=2-4\r\nIf-Range: %s", 206, "234"},
		{"Range: bytes=2-4\r\nIf-Range: %D", 206, "234"},
		{"Range: bytes=2-4\r\nIf-Range: \"x\"", 200, "0123456789"},
		{"Range: bytes=2-4\r\nIf-None-Match: %s", 304, ""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		auto_buf request = BUF_INIT(4096);
		buf_put_c(&request, "GET /a HTTP/1.1\r\n");
		for (const char *p = cases[i].headers; *p; p++)
			if (*p == '%')
				buf_put_c(&request, *++p == 'D' ? date : tag);
			else
				buf_put(&request, p, 1);
		buf_put_c(&request, "\r\n" CLOSE);
		ask(request.p, &b);
		if (status_of(&b) != cases[i].status)
			CHECK_STR(b.p, cases[i].headers);
		if (cases[i].body)
			CHECK_STR(strstr(b.p, "\r\n\r\n") + 4, cases[i].body);
	}
	ask("GET /a HTTP/1.1\r\nRange: bytes=0-1,8-9\r\n" CLOSE, &b);
	CHECK_INT(status_of(&b), 206);
	CHECK(has(&b, "multipart/byteranges; boundary=") && has(&b, "Content-Range: bytes 0-1/10\r\n\r\n01\r\n") &&
	      has(&b, "Content-Range: bytes 8-9/10\r\n\r\n89\r\n"));
	auto_fd fd = dial(); /* its length is right: the next reply is found */
	say(fd, "GET /a HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1,8-9\r\n\r\nGET /none HTTP/1.1\r\n" CLOSE);
	hear_one(fd, &b);
	hear_one(fd, &b);
	CHECK_INT(status_of(&b), 404);
	finish();
}

TEST(keeps_connections_and_takes_pipelines)
{
	auto_buf b = BUF_INIT(1 << 20), many = BUF_INIT(1 << 20);
	start_plain();
	make("a", "0123456789");
	auto_fd fd = dial();
	for (int i = 0; i < 20; i++) {
		say(fd, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
		hear_one(fd, &b);
		CHECK(status_of(&b) == 200 && !has(&b, "Connection:"));
	}
	CHECK_INT(counts().connections, 1);
	for (int i = 0; i < 500; i++)
		buf_put_c(
			&many,
			i % 2 ? "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
			      : "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
	buf_put_c(&many, "GET /a HTTP/1.1\r\n" CLOSE);
	say(fd, many.p);
	for (int i = 0; i < 500; i++) {
		hear_one(fd, &b);
		CHECK(status_of(&b) == 200 && str_ends(buf_str(&b), STR("\r\n\r\nabc")));
	}
	buf_clear(&b);
	CHECK(hear_all(fd, &b));
	CHECK(has(&b, "Connection: close") && str_ends(buf_str(&b), STR("0123456789")));
	CHECK_INT(counts().requests, 521);
	finish();
}

TEST(lets_others_have_their_turn_beside_a_long_pipeline)
{
	enum { MANY_ASKED = 400 };
	auto_buf b = BUF_INIT(1 << 20), many = BUF_INIT(1 << 20);
	struct httpd_opts o = opts_of(&loopback);
	o.threads = 1;
	start(&o);
	auto_fd sleeper = dial(), greedy = dial(), other = dial();
	for (int i = 0; i < MANY_ASKED; i++)
		buf_put_c(&many, "GET /order HTTP/1.1\r\nHost: x\r\n\r\n");
	say(sleeper, "GET /nap HTTP/1.1\r\nHost: x\r\n\r\n");
	nap(50);
	say(greedy, many.p);
	nap(50);
	say(other, "GET /order HTTP/1.1\r\nHost: x\r\n\r\n");
	hear_one(other, &b);
	ptrdiff_t at = str_search(buf_str(&b), STR("Created: "));
	struct str place = str_skip(buf_str(&b), (size_t)at + 9);
	uint64_t n = 0;
	CHECK(at > 0 && str_take_u64(&place, &n));
	CHECK_MSG(n < MANY_ASKED / 2, "it was number %d", (int)n);
	for (int i = 0; i < MANY_ASKED; i++)
		hear_one(greedy, &b);
	finish();
}

TEST(takes_a_request_byte_by_byte)
{
	auto_buf b = BUF_INIT(1 << 20);
	const char *text =
		"\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n";
	start_plain();
	auto_fd fd = dial();
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof(one));
	for (; *text; text++) {
		CHECK(send(fd, text, 1, MSG_NOSIGNAL) == 1);
		nap(1);
	}
	hear_one(fd, &b);
	CHECK(status_of(&b) == 200 && str_ends(buf_str(&b), STR("\r\n\r\nabcde")));
	finish();
}

TEST(bounds_bodies)
{
	auto_buf b = BUF_INIT(1 << 20);
	start_plain();
	CHECK_INT(status("POST /echo HTTP/1.1\r\nContent-Length: 65537\r\n" CLOSE), 413);
	CHECK_INT(status("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" CLOSE "10001\r\n"), -1);
	auto_fd fd = dial();
	char *much = xmalloc(70000);
	memset(much, 'x', 70000);
	say(fd, "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" CLOSE "11170\r\n");
	CHECK(send(fd, much, 70000, MSG_NOSIGNAL) > 0);
	CHECK(hear_all(fd, &b));
	CHECK_INT(status_of(&b), 413);
	free(much);
	CHECK_INT(status("POST /forbidden HTTP/1.1\r\nContent-Length: 3\r\n" CLOSE "abc"), 403);
	int calls = site.calls;
	CHECK_INT(calls, 0);
	finish();
}

TEST(says_continue)
{
	auto_buf b = BUF_INIT(1 << 20);
	start_plain();
	auto_fd fd = dial();
	say(fd, "POST /echo HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n" CLOSE);
	hear_one(fd, &b);
	CHECK_STR(b.p, "HTTP/1.1 100 Continue\r\n\r\n");
	say(fd, "abc");
	hear_one(fd, &b);
	CHECK(str_ends(buf_str(&b), STR("abc")));
	/* who is refused is not asked to go on */
	CHECK_INT(status("POST /forbidden HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n" CLOSE), 403);
	finish();
}

TEST(stores_a_body_in_a_file)
{
	auto_buf b = BUF_INIT(1 << 20), got = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	start_plain();
	site.body_fd = openat(site.root, "stored", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ask("POST /stored HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" CLOSE "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", &b);
	CHECK_INT(status_of(&b), 201);
	CHECK(has(&b, ": 7"));
	CHECK(fs_read(site.root, "stored", &got, &e) == 0);
	CHECK_STR(got.p, "abcdefg");
	finish();
}

TEST(lets_no_value_begin_a_line)
{
	auto_buf b = BUF_INIT(1 << 20);
	start_plain();
	ask("GET /split HTTP/1.1\r\n" CLOSE, &b);
	CHECK_INT(status_of(&b), 302);
	CHECK(!has(&b, "Set-Cookie"));
	finish();
}

TEST(refuses_and_closes)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
		 400},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
		 400},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n", 501},
		{"GET /a HTTP/1.1\r\nHost: x\r\n Folded: y\r\n\r\n", 400},
		{"GET /a HTTP/1.1\nHost: x\n\n\r\n\r\n", 400},
		{"\x16\x03\x01\x02\r\n\r\n", 400},
	};
	start_plain();
	make("a", "SECOND");
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		auto_buf b = BUF_INIT(1 << 20);
		ask(cases[i].request, &b);
		if (status_of(&b) != cases[i].status)
			CHECK_STR(b.p, cases[i].request);
		CHECK(has(&b, "Connection: close") && !has(&b, "SECOND"));
	}
	CHECK_INT(counts().malformed, sizeof(cases) / sizeof(*cases));
	finish();
}

TEST(bounds_heads)
{
	auto_buf b = BUF_INIT(1 << 20), request = BUF_INIT(1 << 20);
	start_plain();
	buf_printf(&request, "GET /%09000d HTTP/1.1\r\n" CLOSE, 0);
	ask(request.p, &b);
	CHECK_INT(status_of(&b), 414);
	buf_clear(&request);
	buf_printf(&request, "GET / HTTP/1.1\r\nA: %020000d\r\n" CLOSE, 0);
	ask(request.p, &b);
	CHECK_INT(status_of(&b), 431);
	buf_clear(&request);
	buf_put_c(&request, "GET / HTTP/1.1\r\n");
	for (int i = 0; i < 120; i++)
		buf_printf(&request, "A%d: b\r\n", i);
	buf_put_c(&request, CLOSE);
	ask(request.p, &b);
	CHECK_INT(status_of(&b), 431);
	buf_clear(&request);
	buf_printf(&request, "GET /%040000d", 0); /* no line ever */
	ask(request.p, &b);
	CHECK_INT(status_of(&b), 414);
	finish();
}

/* -- slow and many ------------------------------------------------------------------------------------------------------------------- */

TEST(closes_who_is_slow)
{
	struct httpd_opts o = opts_of(&loopback);
	auto_buf b = BUF_INIT(1 << 20);
	o.header_ms = 300;
	o.idle_ms = 60000;
	o.stall_ms = 400;
	start(&o);
	int fd[100];
	for (size_t i = 0; i < 100; i++) {
		fd[i] = dial();
		say(fd[i], i % 2 ? "GET / HTTP/1.1\r\nHost: x\r\nX-a: b\r\n"
				 : "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
	}
	auto_fd good = dial();
	say(good, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
	hear_one(good, &b);
	CHECK_INT(status_of(&b), 404);
	for (size_t i = 0; i < 100; i += 2) { /* drop by drop does not help */
		nap(10);
		send(fd[i], "d", 1, MSG_NOSIGNAL);
	}
	for (size_t i = 0; i < 100; i++) {
		buf_clear(&b);
		hear_all(fd[i], &b);
		CHECK_INT(b.n, 0);
		close(fd[i]);
	}
	CHECK_INT(counts().timeouts, 100);
	say(good, "GET /none HTTP/1.1\r\n" CLOSE);
	hear_one(good, &b);
	CHECK_INT(status_of(&b), 404);
	finish();
}

TEST(cuts_who_takes_nothing)
{
	struct httpd_opts o = opts_of(&loopback);
	o.stall_ms = 300;
	start(&o);
	auto_fd big = openat(site.root, "big", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(ftruncate(big, 64 << 20) == 0);
	auto_fd fd = dial();
	say(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
	UNTIL(counts().timeouts == 1);
	UNTIL(counts().open == 0);
	CHECK_INT(site.cuts, 1);
	finish();
}

TEST(closes_idle_ones_for_new_ones)
{
	struct httpd_opts o = opts_of(&loopback);
	auto_buf b = BUF_INIT(1 << 20);
	int fd[30];
	o.connections = 10;
	o.threads = 1;
	start(&o);
	for (size_t i = 0; i < 30; i++) {
		fd[i] = dial();
		say(fd[i], "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
		hear_one(fd[i], &b);
		CHECK_INT(status_of(&b), 404);
		CHECK(counts().open <= 10);
	}
	for (size_t i = 0; i < 30; i++)
		close(fd[i]);
	finish();
}

/* Slow heads take every place, on each thread: who asks is served all the same. */
TEST(closes_slow_ones_for_new_ones)
{
	struct httpd_opts o = opts_of(&loopback);
	auto_buf b = BUF_INIT(1 << 20);
	int fd[60];
	o.connections = 20;
	o.threads = 3;
	start(&o);
	for (size_t i = 0; i < 60; i++) {
		fd[i] = dial();
		say(fd[i], "GET /none HTT");
	}
	for (size_t i = 0; i < 20; i++) {
		int good = dial();
		say(good, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
		hear_one(good, &b);
		CHECK_INT(status_of(&b), 404);
		close(good);
	}
	UNTIL(counts().open <= 20);
	CHECK(counts().timeouts > 0);
	for (size_t i = 0; i < 60; i++)
		close(fd[i]);
	finish();
}

TEST(limits_connections_of_one_peer)
{
	struct httpd_opts o = opts_of(&loopback);
	auto_buf b = BUF_INIT(1 << 20);
	int fd[8];
	o.connections_per_peer = 5;
	start(&o);
	for (size_t i = 0; i < 8; i++)
		fd[i] = dial();
	UNTIL(counts().refused == 3 && counts().open == 5);
	for (size_t i = 0; i < 8; i++)
		close(fd[i]);
	UNTIL(counts().open == 0);
	CHECK_INT(status("GET /none HTTP/1.1\r\n" CLOSE), 404);
	finish();
}

static uint64_t memory_kib(void)
{
	auto_buf b = BUF_INIT(1 << 16);
	struct err e = ERR_INIT;
	uint64_t pages = 0, resident = 0;
	CHECK(fs_read(AT_FDCWD, "/proc/self/statm", &b, &e) == 0);
	struct str s = buf_str(&b);
	CHECK(str_take_u64(&s, &pages) && str_take_char(&s, ' ') && str_take_u64(&s, &resident));
	return resident * 4;
}

TEST(stays_small_with_many_idle_connections)
{
	enum { MANY = 4000, ROUNDS = 3 };
	struct rlimit limit;
	auto_buf b = BUF_INIT(1 << 20);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	if (limit.rlim_max < 2 * MANY + 100)
		test_skip("kernel allows too few open files");
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	start_plain();
	make("a", "0123456789");
	static int fd[MANY];
	uint64_t kib[ROUNDS + 1] = {memory_kib()};
	for (size_t i = 0; i < MANY; i++)
		fd[i] = dial();
	for (size_t round = 1; round <= ROUNDS; round++) {
		for (size_t i = 0; i < MANY; i++) {
			say(fd[i], "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
			hear_one(fd[i], &b);
		}
		UNTIL(counts().idle == MANY);
		kib[round] = memory_kib();
	}
#ifdef __SANITIZE_ADDRESS__
	const unsigned slack = 1024; /* what is freed stays in quarantine */
#else
	const unsigned slack = 1;
#endif
	CHECK(kib[1] - kib[0] < (uint64_t)MANY * 2 * slack); /* at most 2 KiB each */
	CHECK(kib[ROUNDS] <= kib[1] + (uint64_t)512 * slack);
	for (size_t i = 0; i < MANY; i++)
		close(fd[i]);
	UNTIL(counts().open == 0);
	finish();
}

/* -- growing ---------------------------------------------------------------------------------------------------------------------------- */

static int grow_fd;

static void grow_start(int64_t size)
{
	start_plain();
	grow_fd = openat(site.root, "grow", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	site.stream = httpd_stream_new(openat(site.root, "grow", O_RDONLY | O_CLOEXEC), size);
}

static void grow_by(const char *text, uint64_t to)
{
	CHECK(write(grow_fd, text, strlen(text)) == (ssize_t)strlen(text));
	httpd_stream_advance(site.stream, to);
}

static void hear_bytes(int fd, struct buf *b, const char *end)
{
	char c;
	buf_clear(b);
	while (!str_ends(buf_str(b), str_c(end))) {
		CHECK(recv(fd, &c, 1, 0) == 1);
		buf_put(b, &c, 1);
	}
}

TEST(sends_what_grows)
{
	auto_buf b = BUF_INIT(1 << 20);
	grow_start(9);
	int fd[20];
	for (size_t i = 0; i < 20; i++) {
		fd[i] = dial();
		say(fd[i], "GET /grow HTTP/1.1\r\nHost: x\r\n\r\n");
		hear_bytes(fd[i], &b, "\r\n\r\n"); /* the head comes before any byte is there */
		CHECK(has(&b, "Content-Length: 9\r\n"));
	}
	CHECK_INT(httpd_stream_readers(site.stream), 20);
	CHECK_INT(counts().streams, 20);
	grow_by("abc", 3);
	for (size_t i = 0; i < 20; i++)
		hear_bytes(fd[i], &b, "abc");
	auto_fd ranged = dial();
	say(ranged, "GET /grow HTTP/1.1\r\nRange: bytes=2-4\r\n" CLOSE);
	hear_bytes(ranged, &b, "\r\n\r\nc");
	CHECK(has(&b, "Content-Range: bytes 2-4/9\r\n"));
	grow_by("defghi", 9);
	httpd_stream_end(site.stream, true);
	hear_bytes(ranged, &b, "de");
	for (size_t i = 0; i < 20; i++) {
		hear_bytes(fd[i], &b, "defghi");
		say(fd[i], "GET /grow HTTP/1.1\r\n" CLOSE); /* still the same connection, and after its end */
		buf_clear(&b);
		CHECK(hear_all(fd[i], &b));
		CHECK(str_ends(buf_str(&b), STR("\r\n\r\nabcdefghi")));
		close(fd[i]);
	}
	UNTIL(httpd_stream_readers(site.stream) == 0);
	httpd_stream_unref(site.stream);
	finish();
}

TEST(sends_chunks_of_unknown_size)
{
	auto_buf b = BUF_INIT(1 << 20);
	grow_start(HTTPD_SIZE_UNKNOWN);
	auto_fd fd = dial(), old = dial();
	say(fd, "GET /grow HTTP/1.1\r\nHost: x\r\n\r\n");
	say(old, "GET /grow HTTP/1.0\r\n\r\n");
	hear_bytes(fd, &b, "\r\n\r\n");
	CHECK(has(&b, "Transfer-Encoding: chunked\r\n") && !has(&b, "Content-Length"));
	hear_bytes(old, &b, "\r\n\r\n");
	CHECK(has(&b, "Connection: close\r\n") && !has(&b, "chunked"));
	grow_by("abc", 3);
	hear_bytes(fd, &b, "000003\r\nabc\r\n");
	grow_by("de", 5);
	hear_bytes(fd, &b, "000002\r\nde\r\n");
	httpd_stream_end(site.stream, true);
	hear_bytes(fd, &b, "0\r\n\r\n");
	buf_clear(&b);
	CHECK(hear_all(old, &b));
	CHECK_STR(b.p, "abcde");
	httpd_stream_unref(site.stream);
	finish();
}

static void check_cut(int64_t size, const char *version, bool end_good)
{
	auto_buf b = BUF_INIT(1 << 20);
	char request[80];
	grow_start(size);
	auto_fd fd = dial();
	snprintf(request, sizeof(request), "GET /grow HTTP/%s\r\nHost: x\r\n\r\n", version);
	say(fd, request);
	hear_bytes(fd, &b, "\r\n\r\n");
	grow_by("abc", 3);
	hear_bytes(fd, &b, strcmp(version, "1.0") == 0 || size > 0 ? "abc" : "abc\r\n");
	httpd_stream_end(site.stream, end_good);
	buf_clear(&b);
	CHECK(!hear_all(fd, &b)); /* reset */
	CHECK_INT(b.n, 0);
	UNTIL(site.cuts == 1);
	CHECK_INT(status("GET /grow HTTP/1.1\r\n" CLOSE), 502); /* told at once */
	httpd_stream_unref(site.stream);
	finish();
}

TEST(cuts_off_where_the_producer_fails)
{
	check_cut(9, "1.1", false);
}

TEST(cuts_off_chunks)
{
	check_cut(HTTPD_SIZE_UNKNOWN, "1.1", false);
}

TEST(cuts_off_an_old_client)
{
	check_cut(HTTPD_SIZE_UNKNOWN, "1.0", false);
}

TEST(takes_an_early_end_for_a_failure)
{
	check_cut(9, "1.1", true);
}

TEST(forgets_who_left_while_it_waited)
{
	auto_buf b = BUF_INIT(1 << 20);
	grow_start(9);
	int fd[10];
	for (size_t i = 0; i < 10; i++) {
		fd[i] = dial();
		say(fd[i], "GET /grow HTTP/1.1\r\nHost: x\r\n\r\n");
		hear_bytes(fd[i], &b, "\r\n\r\n");
	}
	for (size_t i = 0; i < 10; i++)
		close(fd[i]);
	UNTIL(httpd_stream_readers(site.stream) == 0);
	grow_by("abcdefghi", 9);
	httpd_stream_end(site.stream, true);
	httpd_stream_unref(site.stream);
	CHECK_INT(counts().streams, 0);
	finish();
}

/* -- deferred, stop, hand-over ------------------------------------------------------------------------------------------------------------- */

static struct httpd_req *held(void)
{
	pthread_mutex_lock(&site.lock);
	struct httpd_req *r = site.held;
	pthread_mutex_unlock(&site.lock);
	return r;
}

TEST(answers_later)
{
	auto_buf b = BUF_INIT(1 << 20);
	start_plain();
	auto_fd fd = dial();
	say(fd, "GET /hold?x=a+b%2B HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\n" CLOSE);
	UNTIL(held());
	UNTIL(counts().waiting == 1);
	struct str x;
	CHECK(httpd_query_value(site.held, "x", &x) && str_eq(x, STR("a b+")));
	CHECK(!httpd_query_value(site.held, "y", &x) && !httpd_is_gone(site.held));
	CHECK(str_eq(httpd_peer(site.held), STR("127.0.0.1")));
	httpd_reply_bytes(site.held, &(struct httpd_head){.type = "text/plain"}, STR("at last"));
	hear_one(fd, &b);
	CHECK(str_ends(buf_str(&b), STR("at last")));
	hear_one(fd, &b);
	CHECK_INT(status_of(&b), 404);
	CHECK_INT(counts().waiting, 0);
	finish();
}

TEST(answers_nobody)
{
	start_plain();
	int fd = dial();
	say(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	UNTIL(held());
	close(fd);
	UNTIL(httpd_is_gone(site.held));
	UNTIL(counts().open == 0);
	httpd_reply_bytes(site.held, &(struct httpd_head){0}, STR("nobody"));
	CHECK_INT(site.records, 1);
	finish();
}

TEST(answers_after_the_end)
{
	start_plain();
	auto_fd fd = dial();
	say(fd, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	UNTIL(held());
	httpd_stop(site.h, 50);
	CHECK(httpd_is_gone(site.held));
	httpd_free(site.h);
	httpd_reply_bytes(site.held, &(struct httpd_head){0}, STR("nobody"));
}

static void *stop(void *arg)
{
	(void)arg;
	httpd_stop(site.h, WAIT_MS);
	return NULL;
}

TEST(finishes_what_runs_before_it_stops)
{
	auto_buf b = BUF_INIT(1 << 20);
	pthread_t t;
	grow_start(6);
	auto_fd fd = dial(), waiting = dial(), idle = dial();
	say(idle, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
	hear_one(idle, &b);
	say(fd, "GET /grow HTTP/1.1\r\nHost: x\r\n\r\n");
	hear_bytes(fd, &b, "\r\n\r\n");
	say(waiting, "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
	UNTIL(held());
	CHECK(pthread_create(&t, NULL, stop, NULL) == 0);
	buf_clear(&b);
	CHECK(hear_all(idle, &b)); /* closed at once */
	CHECK_INT(b.n, 0);
	grow_by("abcdef", 6);
	httpd_stream_end(site.stream, true);
	buf_clear(&b);
	CHECK(hear_all(fd, &b));
	CHECK_STR(b.p, "abcdef");
	httpd_reply_bytes(held(), &(struct httpd_head){0}, STR("done"));
	buf_clear(&b);
	CHECK(hear_all(waiting, &b));
	CHECK(has(&b, "Connection: close\r\n") && str_ends(buf_str(&b), STR("done")));
	pthread_join(t, NULL);
	httpd_stream_unref(site.stream);
	finish();
}

TEST(takes_sockets_and_refuses_others)
{
	struct err e = ERR_INIT;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct httpd_listen l = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	CHECK(bind(l.fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(l.fd, 10) == 0);
	struct httpd_opts o = opts_of(&l);
	start(&o);
	CHECK_INT(status("GET /none HTTP/1.1\r\n" CLOSE), 404);
	finish();
	struct httpd_listen bad = {.fd = open("/dev/null", O_RDONLY | O_CLOEXEC)};
	o = opts_of(&bad);
	CHECK_INT(httpd_start(&o, &site.h, &e), -1);
	CHECK(strstr(e.msg, "no listening socket"));
	struct httpd_listen name = {.fd = -1, .address = "localhost"};
	o = opts_of(&name);
	CHECK_INT(httpd_start(&o, &site.h, &e), -1);
	CHECK(strstr(e.msg, "'localhost'"));
}

/* -- certificates ------------------------------------------------------------------------------------------------------------- */

static int64_t wall_ms(void)
{
	return clock_system.wall_ms(&clock_system);
}

struct authority {
	struct arena a;
	struct pki_key *key, *server_key;
	struct pki_cert *cert, *server;
	struct str pem, server_pem, server_key_pem, crl;
};

static struct authority new_authority(void)
{
	struct authority x = {0};
	struct err e = ERR_INIT;
	struct str host = STR("localhost");
	const struct pki_names names = {&host, 1};
	const struct pki_crl_opts crl = {.number = 1, .next_ms = wall_ms() + 86400000};
	CHECK(pki_key_new(PKI_EC_P256, &x.key, &e) == 0 && pki_key_new(PKI_EC_P256, &x.server_key, &e) == 0);
	CHECK(pki_authority_new(x.key, &(struct pki_authority_opts){.name = STR("x")}, wall_ms(), &x.cert, &e) == 0);
	CHECK(pki_sign_server(x.cert, x.key, x.server_key, &names, 0, wall_ms(), &x.server, &e) == 0);
	CHECK(pki_key_pem(x.server_key, &x.a, &x.server_key_pem, &e) == 0);
	CHECK(pki_crl_new(x.cert, x.key, &crl, wall_ms(), &x.a, &x.crl, &e) == 0);
	x.pem = pki_cert_pem(x.cert, &x.a);
	x.server_pem = pki_cert_pem(x.server, &x.a);
	return x;
}

static void free_authority(struct authority *x)
{
	pki_key_free(x->key);
	pki_key_free(x->server_key);
	pki_cert_free(x->cert);
	pki_cert_free(x->server);
	arena_release(&x->a);
}

static const char *tried(const struct httpd_tls *tls, struct err *e)
{
	const struct httpd_listen l = {.fd = -1, .address = "127.0.0.1", .tls = tls};
	struct httpd_opts o = opts_of(&l);
	struct httpd *h = NULL;
	*e = ERR_INIT;
	if (httpd_start(&o, &h, e) == 0)
		httpd_free(h);
	return e->msg;
}

TEST(takes_no_half_of_a_text)
{
	struct authority x = new_authority();
	struct err e;
	const struct httpd_tls good = {.cert_pem = x.server_pem,
				       .key_pem = x.server_key_pem,
				       .ca_pem = x.pem,
				       .crl_pem = x.crl,
				       .client = HTTPD_CLIENT_REQUIRED};
	CHECK_STR(tried(&good, &e), "");
	/* the second of two breaks off, as a copy does that ran out of space */
	struct httpd_tls t = good;
	t.cert_pem = str_c(arena_printf(&x.a, "%s%.100s", x.server_pem.p, x.pem.p));
	CHECK_MSG(strstr(tried(&t, &e), "the server's certificate"), "%s", e.msg);
	t = good;
	t.ca_pem = str_c(arena_printf(&x.a, "%s%.100s", x.pem.p, x.pem.p));
	CHECK_MSG(strstr(tried(&t, &e), "the authority of client certificates"), "%s", e.msg);
	t = good;
	t.crl_pem = str_c(arena_printf(&x.a, "%s%.100s", x.crl.p, x.crl.p));
	CHECK_MSG(strstr(tried(&t, &e), "the revocation list"), "%s", e.msg);
	/* words between them are fine */
	t = good;
	t.ca_pem = str_c(arena_printf(&x.a, "# mine\n%s# that is all\n", x.pem.p));
	CHECK_STR(tried(&t, &e), "");
	free_authority(&x);
}
