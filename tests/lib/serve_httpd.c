// SPDX-License-Identifier: Apache-2.0
/*
 * A server on src/httpd, for tests/cli/httpd.sh and tests/bench/serve.
 *
 *	serve_httpd ROOT [KEY=VALUE…]
 *
 *	http=PORT  tls=PORT       where it listens on 127.0.0.1 (0: any; both may be given, tls several times with what stands before it)
 *	cert= key= ca= crl=       PEM files for the tls= that follow         client=none|optional|required
 *	resume=no  h2=no          for the tls= that follow                   threads=N  connections=N  per-peer=N
 *	header-ms=N idle-ms=N stall-ms=N rate=N body=N requests=N            limits of httpd.h
 *	pid-ok=FINGERPRINT        the one client certificate that is allowed  log=FILE  access log
 *
 * Prints "listening PORT…" and serves ROOT's files, and by path:
 *	/-/who            the certificate of the client, its address, method, path and query
 *	/-/echo           the body of the request; /-/store writes it to ROOT/stored
 *	/-/later?ms=N     answers from another thread
 *	/-/grow?n=BYTES&step=BYTES&ms=N&size=no&fail=AT     a reply that grows; every request of the same query waits on the same producer
 *	/-/counts         the counters
 * SIGHUP reads the certificates again, SIGTERM stops with grace=MS (default 5,000), SIGUSR2 hands over to a new process of itself.
 * Sockets that it inherits come in the place of http= and tls=.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/sys.h"
#include "httpd/httpd.h"

enum { PEM_MAX = 1 << 20, TLS_MAX = 8 };

struct site {
	int root;
	FILE *log;
	uint8_t only[SHA256_SIZE];
	bool has_only;
	struct httpd *h;
	struct httpd_opts o;
	struct httpd_listen listen[HTTPD_LISTEN_MAX];
	struct tls_files {
		const char *cert, *key, *ca, *crl;
		struct buf cert_pem, key_pem, ca_pem, crl_pem;
		struct httpd_tls tls;
		size_t listener;
	} tls[TLS_MAX], now;
	size_t tls_n;
	int64_t grace_ms;
	pthread_mutex_t lock;
	struct growing *growing;
	const char *const *argv;
};

static void nap(uint64_t ms)
{
	struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
	while (nanosleep(&t, &t) < 0 && errno == EINTR)
		;
}

static uint64_t number(struct httpd_req *r, const char *name, uint64_t other)
{
	struct str s;
	uint64_t n;
	return httpd_query_value(r, name, &s) && str_to_u64(s, &n) ? n : other;
}

/* -- replies from other threads -------------------------------------------------------------------------------------------- */

static void detach(void *(*fn)(void *), void *arg)
{
	pthread_t t;
	if (pthread_create(&t, NULL, fn, arg) != 0)
		panic("no thread");
	pthread_detach(t);
}

static void *reply_later(void *arg)
{
	struct httpd_req *r = arg;
	nap(number(r, "ms", 10));
	httpd_reply_bytes(r, &(struct httpd_head){.type = "text/plain"}, STR("later\n"));
	return NULL;
}

struct growing {
	struct growing *next;
	char *query;
	struct httpd_stream *stream;
	int fd;
	uint64_t n, step, ms, fail;
};

static void *grow(void *arg)
{
	struct growing *g = arg;
	char block[4096];
	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)('a' + i % 26);
	for (uint64_t at = 0; at < g->n;) {
		uint64_t to = at + g->step < g->n ? at + g->step : g->n;
		while (at < to) {
			uint64_t from = at % sizeof(block), len = sizeof(block) - from;
			if (len > to - at)
				len = to - at;
			if (write(g->fd, block + from, len) < 0)
				panic("write");
			at += len;
		}
		httpd_stream_advance(g->stream, at);
		if (g->fail && at >= g->fail)
			break;
		nap(g->ms);
	}
	httpd_stream_end(g->stream, !g->fail);
	close(g->fd);
	return NULL;
}

static void reply_growing(struct site *s, struct httpd_req *r)
{
	struct str query = httpd_query(r), no;
	pthread_mutex_lock(&s->lock);
	struct growing *g = s->growing;
	while (g && !str_eq(str_c(g->query), query))
		g = g->next;
	if (!g) {
		char path[64];
		g = xcalloc(1, sizeof(*g));
		g->query = str_dup(query);
		g->n = number(r, "n", 1 << 20);
		g->step = number(r, "step", 1 << 16);
		g->ms = number(r, "ms", 1);
		g->fail = number(r, "fail", 0);
		g->fd = openat(s->root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", g->fd);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			panic("open '%s': %s", path, strerror(errno));
		g->stream =
			httpd_stream_new(fd, httpd_query_value(r, "size", &no) ? HTTPD_SIZE_UNKNOWN : (int64_t)g->n);
		g->next = s->growing;
		s->growing = g;
		detach(grow, g);
	}
	httpd_reply_stream(r, &(struct httpd_head){.etag = "\"g\""}, g->stream);
	pthread_mutex_unlock(&s->lock);
}

/* -- the handler ----------------------------------------------------------------------------------------------------------------- */

static void put_who(struct buf *b, struct httpd_req *r)
{
	const struct httpd_client *c = httpd_client(r);
	struct str method = httpd_method(r), path = httpd_path(r), query = httpd_query(r), peer = httpd_peer(r),
		   host = httpd_host(r);
	buf_printf(b, "method %.*s\npath %.*s\nquery %.*s\npeer %.*s\nhost %.*s\ntls %d\n", STR_ARG(method),
		   STR_ARG(path), STR_ARG(query), STR_ARG(peer), STR_ARG(host), httpd_is_tls(r));
	if (!c)
		return;
	buf_printf(b, "cn %s\nserial %s\nsha256 ", c->cn, c->serial);
	buf_put_hex(b, c->sha256, SHA256_SIZE);
	buf_put_c(b, "\n");
}

static void put_counts(struct buf *b, const struct httpd *h)
{
	struct httpd_counts c;
	httpd_count(h, &c);
	buf_printf(b,
		   "open %" PRIu64 "\nidle %" PRIu64 "\nwaiting %" PRIu64 "\nconnections %" PRIu64 "\nrefused %" PRIu64
		   "\nhandshakes %" PRIu64 "\nresumed %" PRIu64 "\nfailed %" PRIu64 "\nrequests %" PRIu64
		   "\nhttp2 %" PRIu64 "\ntimeouts %" PRIu64 "\nmalformed %" PRIu64 "\ncut %" PRIu64 "\nstreams %" PRIu64
		   "\nhits %" PRIu64 "\nopens %" PRIu64 "\nbytes %" PRIu64 "\n",
		   c.open, c.idle, c.waiting, c.connections, c.refused, c.handshakes, c.resumed, c.handshakes_failed,
		   c.requests, c.http2, c.timeouts, c.malformed, c.cut, c.streams, c.file_hits, c.file_opens,
		   c.body_bytes);
}

static void handle(struct httpd_req *r, void *ctx)
{
	struct site *s = ctx;
	struct str path = httpd_path(r);
	auto_buf b = BUF_INIT(1 << 20);
	const struct httpd_head text = {.type = "text/plain"};
	if (str_eq(path, STR("/-/who"))) {
		put_who(&b, r);
		httpd_reply_bytes(r, &text, buf_str(&b));
	} else if (str_eq(path, STR("/-/counts"))) {
		put_counts(&b, s->h);
		httpd_reply_bytes(r, &text, buf_str(&b));
	} else if (str_eq(path, STR("/-/echo"))) {
		httpd_reply_bytes(r, &text, httpd_body(r, NULL));
	} else if (str_eq(path, STR("/-/store"))) {
		uint64_t n;
		httpd_body(r, &n);
		buf_printf(&b, "stored %" PRIu64 "\n", n);
		httpd_reply_bytes(r, &(struct httpd_head){.status = 201}, buf_str(&b));
	} else if (str_eq(path, STR("/-/later"))) {
		detach(reply_later, r);
	} else if (str_eq(path, STR("/-/grow"))) {
		reply_growing(s, r);
	} else if (httpd_reply_path(r, &(struct httpd_head){.cache_control = "max-age=60"}, s->root, path.p) ==
		   HTTPD_NO_FILE) {
		httpd_reply_error(r, 404, "'%.*s'", STR_ARG(path));
	}
}

static int plan_body(struct httpd_req *r, struct httpd_body *body, void *ctx)
{
	struct site *s = ctx;
	static int fd = -1;
	if (str_eq(httpd_path(r), STR("/-/store"))) {
		if (fd >= 0)
			close(fd);
		body->fd = fd = openat(s->root, "stored", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		body->max_bytes = 1 << 30;
	}
	return str_eq(httpd_path(r), STR("/-/refuse")) ? 403 : 0;
}

static void record(const struct httpd_record *rec, void *ctx)
{
	struct site *s = ctx;
	if (s->log)
		fprintf(s->log, "%.*s %.*s %.*s %d %u %" PRIu64 "%s %s\n", STR_ARG(rec->peer), STR_ARG(rec->method),
			STR_ARG(rec->target), rec->status, rec->version, rec->body_bytes, rec->cut ? " cut" : "",
			rec->client ? rec->client->cn : "-");
}

static void trouble(struct str peer, const char *what, void *ctx)
{
	struct site *s = ctx;
	if (s->log)
		fprintf(s->log, "%.*s trouble %s\n", STR_ARG(peer), what);
}

static bool allow(const struct httpd_client *c, void *ctx)
{
	const struct site *s = ctx;
	return !s->has_only || memcmp(c->sha256, s->only, SHA256_SIZE) == 0;
}

/* -- its options ------------------------------------------------------------------------------------------------------------------- */

static void read_pem(struct buf *b, const char *path, struct str *ret)
{
	struct err e = ERR_INIT;
	buf_release(b);
	*b = BUF_INIT(PEM_MAX);
	if (path && fs_read(AT_FDCWD, path, b, &e) < 0)
		panic("%s", e.msg);
	*ret = buf_str(b);
}

static void read_tls(struct site *s, struct tls_files *t)
{
	read_pem(&t->cert_pem, t->cert, &t->tls.cert_pem);
	read_pem(&t->key_pem, t->key, &t->tls.key_pem);
	read_pem(&t->ca_pem, t->ca, &t->tls.ca_pem);
	read_pem(&t->crl_pem, t->crl, &t->tls.crl_pem);
	t->tls.allow = allow;
	t->tls.allow_ctx = s;
}

static void add_listener(struct site *s, const char *port, bool tls)
{
	uint64_t n;
	if (!str_to_u64(str_c(port), &n) || s->o.listen_n == HTTPD_LISTEN_MAX)
		panic("port '%s'", port);
	struct httpd_listen *l = &s->listen[s->o.listen_n++];
	*l = (struct httpd_listen){.fd = -1, .address = "127.0.0.1", .port = (uint16_t)n};
	if (!tls)
		return;
	struct tls_files *t = &s->tls[s->tls_n++];
	*t = s->now;
	t->listener = s->o.listen_n - 1;
	read_tls(s, t);
	l->tls = &t->tls;
}

static void set_limit(struct site *s, struct str key, uint64_t n)
{
	const struct {
		const char *name;
		uint32_t *at;
	} limits[] = {
		{"threads", &s->o.threads},
		{"connections", &s->o.connections},
		{"per-peer", &s->o.connections_per_peer},
		{"header-ms", &s->o.header_ms},
		{"idle-ms", &s->o.idle_ms},
		{"stall-ms", &s->o.stall_ms},
		{"rate", &s->o.rate_bytes},
		{"requests", &s->o.requests},
	};
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
		if (str_eq_c(key, limits[i].name)) {
			*limits[i].at = (uint32_t)n;
			return;
		}
	if (str_eq(key, STR("body")))
		s->o.body_bytes = n;
	else if (str_eq(key, STR("grace")))
		s->grace_ms = (int64_t)n;
	else
		panic("option '%.*s'", STR_ARG(key));
}

static void set_option(struct site *s, const char *arg)
{
	struct str value = str_c(arg), key;
	uint64_t n;
	if (!str_take_until(&value, '=', &key))
		panic("option '%s'", arg);
	if (str_eq(key, STR("http")) || str_eq(key, STR("tls")))
		add_listener(s, value.p, str_eq(key, STR("tls")));
	else if (str_eq(key, STR("cert")))
		s->now.cert = value.p;
	else if (str_eq(key, STR("key")))
		s->now.key = value.p;
	else if (str_eq(key, STR("ca")))
		s->now.ca = value.p;
	else if (str_eq(key, STR("crl")))
		s->now.crl = value.p;
	else if (str_eq(key, STR("client")))
		s->now.tls.client = str_eq(value, STR("required"))   ? HTTPD_CLIENT_REQUIRED
				    : str_eq(value, STR("optional")) ? HTTPD_CLIENT_OPTIONAL
								     : HTTPD_CLIENT_NONE;
	else if (str_eq(key, STR("resume")))
		s->now.tls.no_resumption = str_eq(value, STR("no"));
	else if (str_eq(key, STR("h2")))
		s->now.tls.no_http2 = str_eq(value, STR("no"));
	else if (str_eq(key, STR("pid-ok")))
		s->has_only = str_unhex(value, s->only, SHA256_SIZE);
	else if (str_eq(key, STR("log")))
		s->log = fopen(value.p, "ae");
	else if (str_to_u64(value, &n))
		set_limit(s, key, n);
	else
		panic("option '%s'", arg);
	if (s->log)
		setvbuf(s->log, NULL, _IOLBF, 0);
}

static void reload(struct site *s)
{
	struct err e = ERR_INIT;
	for (size_t i = 0; i < s->tls_n; i++) {
		read_tls(s, &s->tls[i]);
		if (httpd_reload(s->h, s->tls[i].listener, &s->tls[i].tls, &e) < 0)
			fprintf(stderr, "reload: %s\n", e.msg);
	}
}

static void hand_over(struct site *s)
{
	struct err e = ERR_INIT;
	pid_t child;
	if (httpd_hand_over(s->h, s->argv, NULL, &child, &e) < 0)
		panic("%s", e.msg);
	printf("successor %d\n", (int)child);
}

int main(int argc, char **argv)
{
	static struct site s = {.grace_ms = 5000, .lock = PTHREAD_MUTEX_INITIALIZER};
	struct err e = ERR_INIT;
	sigset_t set;
	int signo = 0, fds[HTTPD_LISTEN_MAX];
	if (argc < 3)
		panic("serve_httpd ROOT KEY=VALUE…");
	s.argv = (const char *const *)(uintptr_t)argv;
	s.root = fs_open_dir(AT_FDCWD, argv[1], &e);
	if (s.root < 0)
		panic("%s", e.msg);
	proc_signals_ignore();
	s.o = (struct httpd_opts){
		.listen = s.listen, .handler = handle, .body = plan_body, .record = NULL, .trouble = trouble, .ctx = &s};
	for (int i = 2; i < argc; i++)
		set_option(&s, argv[i]);
	if (s.log)
		s.o.record = record;
	int n = httpd_inherited(fds, HTTPD_LISTEN_MAX, &e);
	for (int i = 0; i < n && (size_t)i < s.o.listen_n; i++)
		s.listen[i].fd = fds[i];
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (n < 0 || httpd_start(&s.o, &s.h, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	printf("listening");
	for (size_t i = 0; i < s.o.listen_n; i++)
		printf(" %u", httpd_port(s.h, i));
	printf("\n");
	for (; signo != SIGTERM; fflush(stdout)) {
		fflush(stdout);
		sigwait(&set, &signo);
		if (signo == SIGHUP)
			reload(&s);
		else if (signo == SIGUSR2)
			hand_over(&s);
	}
	httpd_stop(s.h, s.grace_ms);
	httpd_free(s.h);
	return 0;
}
