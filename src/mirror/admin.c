// SPDX-License-Identifier: Apache-2.0
/*
 * The admin port: /healthz for whoever watches, /metrics for Prometheus (text format 0.0.4), and pages for people (admin_pages.c). It is
 * for the machine itself and its watchers: who can reach it sees everything, and can change nothing.
 *
 * Nothing of it is made on a serving thread: there are two threads, one for what watchers ask, and one for pages, each with a queue
 * of ADMIN_QUEUE requests; where that is full the answer is 503 at once. So a page that takes seconds holds up neither clients nor watchers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/fs.h"
#include "mirror/server.h"
#include "version.h"

enum { PAGE_MAX = 64 << 20, SHOWN_DAYS_MS = 14 * 86400000, ADMIN_QUEUE = 64, COUNTS_MS = 30000, PEM_MAX = 256 << 10 };
enum { STALE_TIMES = 3, TROUBLE_BYTES = 1 << 20 };

enum { LANE_WATCH, LANE_PAGES, LANES };
struct lane {
	struct admin *admin;
	pthread_t thread;
	pthread_cond_t wake;
	struct httpd_req *queue[ADMIN_QUEUE]; /* a ring */
	size_t at, n;
	bool runs;
};
struct counts { /* of a channel, for metrics: counting reads a row for each package */
	struct mirror_channel_status st;
	int64_t at_ms; /* monotonic; 0: not yet */
};
struct admin {
	struct server *server;
	pthread_mutex_t mutex;
	struct lane lane[LANES];
	bool stop;
	struct counts *counts; /* of each channel; of the watchers' thread alone */
};

/* -- what is told --------------------------------------------------------------------------------------------------- */

int admin_channel(struct server *s, const struct mirror_channel *c, bool counts, struct arena *a,
		  struct mirror_channel_status *ret, struct err *e)
{
	struct mirror_reader *reader = server_reader_take(s, e);
	int rc = !reader  ? -1
		 : counts ? mirror_channel_status(reader, c, a, ret, e)
			  : mirror_channel_dates(reader, c, a, ret, e);
	if (reader)
		server_reader_put(s, reader);
	return rc;
}

struct space {
	uint64_t bytes, free_bytes, files, free_files; /* files 0: the file system does not count them */
};

static void look_at_space(const struct server *s, struct space *ret)
{
	struct statvfs v;
	*ret = (struct space){0};
	if (fstatvfs(s->state_fd, &v) == 0)
		*ret = (struct space){(uint64_t)v.f_blocks * v.f_frsize, (uint64_t)v.f_bavail * v.f_frsize,
				      (uint64_t)v.f_files, (uint64_t)v.f_favail};
}

uint64_t admin_free_bytes(const struct server *s, uint64_t *ret_all)
{
	struct space v;
	look_at_space(s, &v);
	*ret_all = v.bytes;
	return v.free_bytes;
}

static void put_date(struct buf *b, int64_t wall_ms)
{
	if (wall_ms)
		clock_put_table(b, wall_ms);
	else
		buf_put_c(b, "never");
}

/* Where the reserve is a twentieth away. */
static void find_space_troubles(struct server *s, struct buf *b)
{
	uint64_t reserve = mirror_config(s->mirror)->reserve_bytes;
	struct space v;
	look_at_space(s, &v);
	if (v.free_bytes < reserve)
		buf_printf(b, "space: %llu bytes are left, less than the reserve of %llu: nothing is downloaded\n",
			   (unsigned long long)v.free_bytes, (unsigned long long)reserve);
	else if (v.free_bytes - reserve < v.bytes / 20 && v.free_bytes - reserve < reserve)
		buf_printf(b,
			   "space: %llu bytes are left above the reserve of %llu; 'slipway channel prune' makes room\n",
			   (unsigned long long)(v.free_bytes - reserve), (unsigned long long)reserve);
	if (v.files && v.free_files < v.files / 50)
		buf_printf(b, "space: the file system has room for %llu more files, of %llu\n",
			   (unsigned long long)v.free_files, (unsigned long long)v.files);
}

/* The end of the server's certificate; 0: it cannot be read, and *b says so. */
static int64_t certificate_end(struct server *s, struct buf *b)
{
	struct str file = mirror_config(s->mirror)->server.certificate;
	auto_arena a = ARENA_INIT;
	auto_buf pem = BUF_INIT(PEM_MAX);
	auto_ptr(pki_cert) cert = NULL;
	struct pki_cert_info info;
	struct err e = ERR_INIT;
	int rc = file.n ? fs_read(AT_FDCWD, file.p, &pem, &e) : fs_read(s->mirror->dir_fd, "pki/server.pem", &pem, &e);
	if (rc == 0 && pki_cert_read(buf_str(&pem), "the server's certificate", &cert, &e) == 0 &&
	    pki_cert_info(cert, &a, &info, &e) == 0)
		return info.not_after_ms;
	buf_printf(b, "certificate: %s\n", e.msg);
	return 0;
}

static void find_certificate_troubles(struct server *s, int64_t now_ms, struct buf *b)
{
	auto_arena a = ARENA_INIT;
	struct mirror_authority_info authority;
	struct err e = ERR_INIT;
	int64_t end_ms = certificate_end(s, b);
	bool own = !mirror_config(s->mirror)->server.certificate.n;
	if (end_ms && end_ms < now_ms + SHOWN_DAYS_MS) {
		buf_printf(b, "certificate: the server's %s ", end_ms <= now_ms ? "is over since" : "ends at");
		put_date(b, end_ms);
		buf_put_c(b, own ? " and was not renewed: the log says why\n"
				 : "; renew it, then 'slipway mirror reload'\n");
	}
	if (own && mirror_authority_show(mirror_dir(s->mirror), &a, &authority, &e) == 0 &&
	    authority.authority.not_after_ms < now_ms + 6 * (int64_t)SHOWN_DAYS_MS) {
		buf_put_c(b, "certificate: the authority ends at ");
		put_date(b, authority.authority.not_after_ms);
		buf_put_c(b, ": 'slipway mirror authority announce' makes another one\n");
	}
}

/* What clients are told of it is in api.c; here it is what the keeper is to look after. */
static void find_channel_troubles(struct server *s, const struct mirror_channel *c, int64_t now_ms, struct buf *b)
{
	auto_arena a = ARENA_INIT;
	struct mirror_channel_status st;
	struct err e = ERR_INIT;
	if (admin_channel(s, c, false, &a, &st, &e) < 0) {
		buf_printf(b, "channel %.*s: %s\n", STR_ARG(c->name), e.msg);
		return;
	}
	int64_t since_ms = st.synced_ms ? st.synced_ms : st.created_ms ? st.created_ms : s->started_ms;
	bool failed = st.tried_ms && !st.good;
	bool stale = c->type == MIRROR_FOLLOW && now_ms - since_ms > STALE_TIMES * c->refresh_ms;
	if (!failed && !stale)
		return;
	buf_printf(b, "channel %.*s: %s; %s", STR_ARG(c->name), failed ? "the last sync failed" : "stale",
		   st.synced_ms ? "good as of " : "it was never brought up to date");
	if (st.synced_ms)
		put_date(b, st.synced_ms);
	if (failed)
		buf_printf(b, ": %.*s", STR_ARG(st.message));
	buf_put_char(b, '\n');
}

/* Lines that say what is wrong, each with the word of what it is about; none: all is well. */
static void find_troubles(struct server *s, struct buf *b)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	int64_t now_ms = s->clock->wall_ms(s->clock);
	if (atomic_load(&s->tending_ended))
		buf_put_c(b, "tending: channels are not kept up to date: the log says why\n");
	pthread_mutex_lock(&s->db_mutex);
	if (s->db_trouble[0])
		buf_printf(b, "database: %s\n", s->db_trouble);
	pthread_mutex_unlock(&s->db_mutex);
	find_space_troubles(s, b);
	find_certificate_troubles(s, now_ms, b);
	for (size_t i = 0; i < config->channels_n && b->n < TROUBLE_BYTES; i++)
		if (config->channels[i].type != MIRROR_LOCAL)
			find_channel_troubles(s, &config->channels[i], now_ms, b);
}

static void healthz(struct admin *x, struct httpd_req *r)
{
	auto_buf b = BUF_INIT(PAGE_MAX);
	find_troubles(x->server, &b);
	const struct httpd_head head = {
		.status = b.n ? 503 : 200, .type = "text/plain; charset=utf-8", .cache_control = "no-store"};
	httpd_reply_bytes(r, &head, b.n ? buf_str(&b) : STR("ok\n"));
}

/* -- metrics -------------------------------------------------------------------------------------------------------- */

static void put_head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_printf(b, "# HELP slipway_mirror_%s %s\n# TYPE slipway_mirror_%s %s\n", name, help, name, type);
}

static void put_metric(struct buf *b, const char *name, const char *type, const char *help, uint64_t value)
{
	put_head(b, name, type, help);
	buf_printf(b, "slipway_mirror_%s %llu\n", name, (unsigned long long)value);
}

static void put_label(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n')
			buf_put_c(b, "\\n");
		else if (s.p[i] == '"' || s.p[i] == '\\')
			buf_printf(b, "\\%c", s.p[i]);
		else
			buf_put_char(b, s.p[i]);
	}
}

static void put_server_metrics(struct server *s, struct buf *b)
{
	struct httpd_counts n;
	httpd_count(s->httpd, &n);
	put_metric(b, "connections_total", "counter", "Connections accepted.", n.connections);
	put_metric(b, "connections_open", "gauge", "Connections now.", n.open);
	put_metric(b, "connections_idle", "gauge", "Connections between requests now.", n.idle);
	put_metric(b, "connections_refused_total", "counter", "Connections closed at once because of a limit.",
		   n.refused);
	put_metric(b, "handshakes_total", "counter", "TLS handshakes.", n.handshakes);
	put_metric(b, "handshakes_resumed_total", "counter", "TLS handshakes that resumed a session.", n.resumed);
	put_metric(b, "handshakes_failed_total", "counter", "TLS handshakes that failed.", n.handshakes_failed);
	put_metric(b, "requests_total", "counter", "Requests.", n.requests);
	put_metric(b, "body_bytes_total", "counter", "Bytes of replies' bodies sent.", n.body_bytes);
	put_metric(b, "timeouts_total", "counter", "Connections closed for slowness.", n.timeouts);
	put_metric(b, "malformed_total", "counter", "Malformed requests.", n.malformed);
	put_metric(b, "cut_total", "counter", "Replies not sent to their end.", n.cut);
	put_metric(b, "fetches", "gauge", "Files on their way from upstreams that somebody waits for.",
		   relay_count(s->relay));
	put_metric(b, "errors_total", "counter", "Errors in the log.", server_log_errors(s->log));
	put_metric(b, "start_time_seconds", "gauge", "When the server started, since 1970.",
		   (uint64_t)(s->started_ms / 1000));
	put_head(b, "replies_total", "counter", "Replies by the first digit of their status.");
	for (int i = 1; i <= 5; i++)
		buf_printf(b, "slipway_mirror_replies_total{code=\"%dxx\"} %llu\n", i, (unsigned long long)n.status[i]);
	put_head(b, "build_info", "gauge", "1, with the version.");
	buf_put_c(b, "slipway_mirror_build_info{version=\"" SLIPWAY_VERSION "\"} 1\n");
}

static void put_host_metrics(struct server *s, struct buf *b)
{
	struct space v;
	auto_buf troubles = BUF_INIT(2 * TROUBLE_BYTES);
	auto_buf ignored = BUF_INIT(2 * TROUBLE_BYTES);
	look_at_space(s, &v);
	find_troubles(s, &troubles);
	put_metric(b, "healthy", "gauge", "1 where /healthz is 200.", !troubles.n);
	put_metric(b, "free_bytes", "gauge", "Free space where the mirror lies.", v.free_bytes);
	put_metric(b, "reserve_bytes", "gauge", "Free space that downloads leave alone.",
		   mirror_config(s->mirror)->reserve_bytes);
	put_metric(b, "certificate_expiry_timestamp_seconds", "gauge",
		   "When the server's certificate ends, since 1970; 0: it cannot be read.",
		   (uint64_t)(certificate_end(s, &ignored) / 1000));
}

static const struct {
	const char *name, *help;
	size_t at;
} channel_metrics[] = {
#define M(member, metric, help)                                                                                        \
	{                                                                                                              \
		metric, help, offsetof(struct mirror_channel_status, member)                                           \
	}
	M(expected, "channel_packages", "Packages that the channel tells of."),
	M(expected_bytes, "channel_packages_bytes", "Their bytes."),
	M(held, "channel_held_packages", "Packages that are here."),
	M(held_bytes, "channel_held_bytes", "Their bytes."),
	M(damaged, "channel_damaged_packages", "Packages that could not be had."),
#undef M
};

/* Counted again at most every half minute; dates are those of now. */
static const struct mirror_channel_status *count_channel(struct admin *x, size_t i)
{
	struct counts *k = &x->counts[i];
	struct server *s = x->server;
	auto_arena a = ARENA_INIT;
	struct mirror_channel_status st;
	struct err e = ERR_INIT;
	int64_t now = clock_mono_ms();
	bool old = !k->at_ms || now - k->at_ms > COUNTS_MS;
	if (admin_channel(s, s->served[i].channel, old, &a, &st, &e) < 0)
		return NULL;
	if (!old) {
		k->st.synced_ms = st.synced_ms;
		k->st.good = st.good;
		k->st.tried_ms = st.tried_ms;
		return &k->st;
	}
	st.message = STR_NONE; /* its text goes with the arena */
	*k = (struct counts){st, now};
	return &k->st;
}

static void put_channel_metric(struct buf *b, const char *name, const struct mirror_channel *c, uint64_t value)
{
	buf_printf(b, "slipway_mirror_%s{channel=\"", name);
	put_label(b, c->name);
	buf_printf(b, "\"} %llu\n", (unsigned long long)value);
}

static void put_channel_metrics(struct admin *x, struct buf *b)
{
	const struct mirror_config *config = mirror_config(x->server->mirror);
	auto_arena a = ARENA_INIT;
	const struct mirror_channel_status **v =
		arena_array(&a, const struct mirror_channel_status *, config->channels_n + 1);
	for (size_t i = 0; i < config->channels_n; i++)
		v[i] = config->channels[i].type == MIRROR_LOCAL ? NULL : count_channel(x, i);
	for (size_t k = 0; k < sizeof(channel_metrics) / sizeof(*channel_metrics); k++) {
		put_head(b, channel_metrics[k].name, "gauge", channel_metrics[k].help);
		for (size_t i = 0; i < config->channels_n; i++)
			if (v[i])
				put_channel_metric(b, channel_metrics[k].name, &config->channels[i],
						   *(const uint64_t *)((const char *)v[i] + channel_metrics[k].at));
	}
	put_head(b, "channel_synced_timestamp_seconds", "gauge",
		 "When it was last brought up to date, since 1970; 0: never.");
	for (size_t i = 0; i < config->channels_n; i++)
		if (v[i])
			put_channel_metric(b, "channel_synced_timestamp_seconds", &config->channels[i],
					   (uint64_t)(v[i]->synced_ms / 1000));
	put_head(b, "channel_sync_success", "gauge", "1 where the last try to bring it up to date was good.");
	for (size_t i = 0; i < config->channels_n; i++)
		if (v[i])
			put_channel_metric(b, "channel_sync_success", &config->channels[i], v[i]->good);
}

static void metrics(struct admin *x, struct httpd_req *r)
{
	const struct httpd_head head = {.type = "text/plain; version=0.0.4; charset=utf-8",
					.cache_control = "no-store"};
	auto_buf b = BUF_INIT(PAGE_MAX);
	put_server_metrics(x->server, &b);
	put_host_metrics(x->server, &b);
	put_channel_metrics(x, &b);
	httpd_reply_bytes(r, &head, buf_str(&b));
}

/* -- for commands --------------------------------------------------------------------------------------------------- */

int admin_status(struct server *s, struct buf *b, struct err *e)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	struct jw w = JW_INIT(b, 0);
	struct httpd_counts n;
	auto_buf troubles = BUF_INIT(PAGE_MAX);
	struct str rest, line;
	(void)e;
	httpd_count(s->httpd, &n);
	find_troubles(s, &troubles);
	jw_object(&w);
	jw_kv_str(&w, "name", config->name);
	jw_kv_str(&w, "host", config->host);
	jw_kv_c(&w, "version", SLIPWAY_VERSION);
	jw_kv_int(&w, "pid", getpid());
	jw_kv_int(&w, "since_ms", s->started_ms);
	jw_kv_bool(&w, "managed", getenv("NOTIFY_SOCKET") != NULL);
	jw_kv_bool(&w, "successor_failed", s->successor_failed);
	jw_kv_int(&w, "port", httpd_port(s->httpd, 0));
	jw_kv_int(&w, "admin_port", httpd_port(s->httpd, s->service_n));
	jw_kv_int(&w, "connections", (int64_t)n.open);
	jw_kv_int(&w, "requests", (int64_t)n.requests);
	jw_kv_int(&w, "fetches", (int64_t)relay_count(s->relay));
	jw_key(&w, "troubles");
	jw_array(&w);
	for (rest = buf_str(&troubles); str_take_line(&rest, &line);) {
		bool fits = b->n + 6 * line.n < CONTROL_ANSWER_MAX - 1024; /* an escape takes 6 bytes */
		jw_str(&w, fits ? line : STR("and more, which /healthz of the admin port tells"));
		if (!fits)
			break;
	}
	jw_array_end(&w);
	jw_object_end(&w);
	return 0;
}

/* -- threads -------------------------------------------------------------------------------------------------------- */

static void answer(struct admin *x, struct httpd_req *r)
{
	static const struct {
		const char *path;
		void (*answer)(struct admin *x, struct httpd_req *r);
	} calls[] = {{"/healthz", healthz}, {"/metrics", metrics}};
	if (httpd_is_gone(r)) {
		httpd_reply_error(r, 503, "too late");
		return;
	}
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (str_eq_c(httpd_path(r), calls[i].path)) {
			calls[i].answer(x, r);
			return;
		}
	if (!admin_page(x->server, r))
		httpd_reply_error(r, 404, "not found");
}

static void *run(void *arg)
{
	struct lane *l = arg;
	struct admin *x = l->admin;
	pthread_mutex_lock(&x->mutex);
	while (!x->stop) {
		if (!l->n) {
			pthread_cond_wait(&l->wake, &x->mutex);
			continue;
		}
		struct httpd_req *r = l->queue[l->at];
		l->at = (l->at + 1) % ADMIN_QUEUE;
		l->n--;
		pthread_mutex_unlock(&x->mutex);
		answer(x, r);
		pthread_mutex_lock(&x->mutex);
	}
	for (; l->n; l->n--, l->at = (l->at + 1) % ADMIN_QUEUE)
		httpd_reply_error(l->queue[l->at], 503, "the server stops");
	pthread_mutex_unlock(&x->mutex);
	return NULL;
}

/* A page that a browser has open may have its own name point here and then read what is answered ("DNS rebinding"); so whoever
 * asks names an address, or this machine. */
static bool is_asked_by_name_of_ours(struct server *s, const struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	struct str host = httpd_host(r), listen = config->server.admin;
	ptrdiff_t colon = str_rfind(host, ':'), own = str_rfind(listen, ':');
	char text[INET6_ADDRSTRLEN], name[256] = "";
	struct in6_addr ignored;
	if (colon >= 0 && str_find(host, ']') < colon)
		host = str_head(host, (size_t)colon);
	listen = str_head(listen, own < 0 ? listen.n : (size_t)own);
	if (!host.n || host.p[0] == '[' || str_casecmp(host, STR("localhost")) == 0 ||
	    str_casecmp(host, config->host) == 0 || str_casecmp(host, listen) == 0)
		return true;
	snprintf(text, sizeof(text), "%.*s", STR_ARG(str_head(host, sizeof(text) - 1)));
	(void)!gethostname(name, sizeof(name) - 1);
	return inet_pton(AF_INET, text, &ignored) == 1 || str_casecmp(host, str_c(name)) == 0;
}

void admin_answer(struct server *s, struct httpd_req *r)
{
	struct admin *x = s->admin;
	struct str path = httpd_path(r);
	if (!str_eq_c(httpd_method(r), "GET") && !str_eq_c(httpd_method(r), "HEAD")) {
		httpd_reply_error(r, 405, "this port only tells");
		return;
	}
	if (!is_asked_by_name_of_ours(s, r)) {
		httpd_reply_error(r, 403, "ask by an address, or by the name of this machine");
		return;
	}
	struct lane *l = &x->lane[str_eq_c(path, "/healthz") || str_eq_c(path, "/metrics") ? LANE_WATCH : LANE_PAGES];
	pthread_mutex_lock(&x->mutex);
	bool full = l->n == ADMIN_QUEUE || x->stop;
	if (!full) {
		l->queue[(l->at + l->n++) % ADMIN_QUEUE] = r;
		pthread_cond_signal(&l->wake);
	}
	pthread_mutex_unlock(&x->mutex);
	if (full)
		httpd_reply_error(r, 503, "too many wait for this port; try again");
}

int admin_new(struct server *s, struct admin **ret, struct err *e)
{
	auto_ptr(admin) x = xcalloc(1, sizeof(*x));
	x->server = s;
	x->counts = xcalloc(mirror_config(s->mirror)->channels_n + 1, sizeof(*x->counts));
	pthread_mutex_init(&x->mutex, NULL);
	for (int i = 0; i < LANES; i++) {
		x->lane[i].admin = x;
		pthread_cond_init(&x->lane[i].wake, NULL);
	}
	for (int i = 0; i < LANES; i++) {
		errno = pthread_create(&x->lane[i].thread, NULL, run, &x->lane[i]);
		if (errno)
			return err_sys(e, "start a thread");
		x->lane[i].runs = true;
	}
	*ret = steal_ptr(&x);
	return 0;
}

void admin_free(struct admin *x)
{
	if (!x)
		return;
	pthread_mutex_lock(&x->mutex);
	x->stop = true;
	for (int i = 0; i < LANES; i++)
		pthread_cond_signal(&x->lane[i].wake);
	pthread_mutex_unlock(&x->mutex);
	for (int i = 0; i < LANES; i++) {
		if (x->lane[i].runs)
			pthread_join(x->lane[i].thread, NULL);
		pthread_cond_destroy(&x->lane[i].wake);
	}
	pthread_mutex_destroy(&x->mutex);
	free(x->counts);
	free(x);
}
