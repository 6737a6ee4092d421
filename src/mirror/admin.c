// SPDX-License-Identifier: Apache-2.0
/*
 * The admin port: /healthz for whoever watches, /metrics for Prometheus (text format 0.0.4), and pages for people. It is for the
 * machine itself and its watchers: who can reach it sees everything, and can change nothing.
 */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/url.h"
#include "mirror/server.h"
#include "version.h"

enum { PAGE_MAX = 64 << 20, SHOWN_DAYS_MS = 14 * 86400000 };

/* -- what is told --------------------------------------------------------------------------------------------------- */

static int status_of(struct server *s, const struct mirror_channel *c, struct arena *a,
		     struct mirror_channel_status *ret, struct err *e)
{
	struct mirror_reader *reader = server_reader_take(s, e);
	int rc = reader ? mirror_channel_status(reader, c, a, ret, e) : -1;
	if (reader)
		server_reader_put(s, reader);
	return rc;
}

static uint64_t free_bytes(struct server *s)
{
	struct statvfs v;
	return fstatvfs(s->state_fd, &v) == 0 ? (uint64_t)v.f_bavail * v.f_frsize : 0;
}

/* Lines that say what is wrong; none: all is well. */
static void find_troubles(struct server *s, struct buf *b)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	uint64_t left = free_bytes(s);
	auto_arena a = ARENA_INIT;
	struct mirror_authority_info authority;
	struct err e = ERR_INIT;
	int64_t now_ms = s->clock->wall_ms(s->clock);
	if (atomic_load(&s->tending_ended))
		buf_put_c(b, "channels are not kept up to date: the log says why\n");
	if (left < config->reserve_bytes)
		buf_printf(b, "space: %llu bytes are left, less than the reserve of %llu\n", (unsigned long long)left,
			   (unsigned long long)config->reserve_bytes);
	if (!config->server.certificate.n && mirror_authority_show(mirror_dir(s->mirror), &a, &authority, &e) == 0) {
		if (authority.server.not_after_ms < now_ms + SHOWN_DAYS_MS)
			buf_put_c(b, "the server's certificate ends within two weeks and was not renewed\n");
		if (authority.authority.not_after_ms < now_ms + 6 * (int64_t)SHOWN_DAYS_MS)
			buf_put_c(b, "the authority ends within twelve weeks: announce another one\n");
	}
	for (size_t i = 0; i < config->channels_n; i++) {
		struct mirror_channel_status st;
		if (config->channels[i].type == MIRROR_LOCAL)
			continue;
		if (status_of(s, &config->channels[i], &a, &st, &e) < 0)
			buf_printf(b, "channel %.*s: %s\n", STR_ARG(config->channels[i].name), e.msg);
		else if (!st.good && st.tried_ms)
			buf_printf(b, "channel %.*s: %.*s\n", STR_ARG(config->channels[i].name), STR_ARG(st.message));
	}
}

static void healthz(struct server *s, struct httpd_req *r)
{
	auto_buf b = BUF_INIT(PAGE_MAX);
	find_troubles(s, &b);
	const struct httpd_head head = {
		.status = b.n ? 503 : 200, .type = "text/plain; charset=utf-8", .cache_control = "no-store"};
	httpd_reply_bytes(r, &head, b.n ? buf_str(&b) : STR("ok\n"));
}

/* -- metrics -------------------------------------------------------------------------------------------------------- */

static void put_metric(struct buf *b, const char *name, const char *type, const char *help, uint64_t value)
{
	buf_printf(b, "# HELP slipway_mirror_%s %s\n# TYPE slipway_mirror_%s %s\nslipway_mirror_%s %llu\n", name, help,
		   name, type, name, (unsigned long long)value);
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
	put_metric(b, "free_bytes", "gauge", "Free space where the mirror lies.", free_bytes(s));
	put_metric(b, "start_time_seconds", "gauge", "When the server started, since 1970.",
		   (uint64_t)(s->started_ms / 1000));
	buf_put_c(
		b,
		"# HELP slipway_mirror_replies_total Replies by the first digit of their status.\n# TYPE slipway_mirror_replies_total counter\n");
	for (int i = 1; i <= 5; i++)
		buf_printf(b, "slipway_mirror_replies_total{code=\"%dxx\"} %llu\n", i, (unsigned long long)n.status[i]);
}

static const struct {
	const char *name, *help;
	size_t at;
} channel_metrics[] = {
#define M(name, help)                                                                                                  \
	{                                                                                                              \
#name, help, offsetof(struct mirror_channel_status, name)                                              \
	}
	M(expected, "Packages that the channel tells of."),
	M(expected_bytes, "Their bytes."),
	M(held, "Packages that are here."),
	M(held_bytes, "Their bytes."),
	M(damaged, "Packages that could not be had."),
#undef M
};

static void put_channel_metrics(struct server *s, struct buf *b)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_arena a = ARENA_INIT;
	struct mirror_channel_status *v = arena_array(&a, struct mirror_channel_status, config->channels_n + 1);
	bool *known = arena_array(&a, bool, config->channels_n + 1);
	struct err e = ERR_INIT;
	for (size_t i = 0; i < config->channels_n; i++)
		known[i] = status_of(s, &config->channels[i], &a, &v[i], &e) == 0;
	for (size_t k = 0; k < sizeof(channel_metrics) / sizeof(*channel_metrics); k++) {
		buf_printf(b, "# HELP slipway_mirror_channel_%s %s\n# TYPE slipway_mirror_channel_%s gauge\n",
			   channel_metrics[k].name, channel_metrics[k].help, channel_metrics[k].name);
		for (size_t i = 0; i < config->channels_n; i++)
			if (known[i])
				buf_printf(b, "slipway_mirror_channel_%s{channel=\"%.*s\"} %llu\n",
					   channel_metrics[k].name, STR_ARG(config->channels[i].name),
					   (unsigned long long)*(const uint64_t *)((const char *)&v[i] +
										   channel_metrics[k].at));
	}
	buf_put_c(
		b,
		"# HELP slipway_mirror_channel_synced_seconds When it was last brought up to date, since 1970; 0: never.\n"
		"# TYPE slipway_mirror_channel_synced_seconds gauge\n");
	for (size_t i = 0; i < config->channels_n; i++)
		if (known[i])
			buf_printf(b, "slipway_mirror_channel_synced_seconds{channel=\"%.*s\"} %lld\n",
				   STR_ARG(config->channels[i].name), (long long)(v[i].synced_ms / 1000));
}

static void metrics(struct server *s, struct httpd_req *r)
{
	const struct httpd_head head = {.type = "text/plain; version=0.0.4; charset=utf-8",
					.cache_control = "no-store"};
	auto_buf b = BUF_INIT(PAGE_MAX);
	put_server_metrics(s, &b);
	put_channel_metrics(s, &b);
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
	jw_kv_int(&w, "port", httpd_port(s->httpd, 0));
	jw_kv_int(&w, "admin_port", httpd_port(s->httpd, s->service_n));
	jw_kv_int(&w, "connections", (int64_t)n.open);
	jw_kv_int(&w, "requests", (int64_t)n.requests);
	jw_kv_int(&w, "fetches", (int64_t)relay_count(s->relay));
	jw_key(&w, "troubles");
	jw_array(&w);
	for (rest = buf_str(&troubles); str_take_line(&rest, &line);)
		jw_str(&w, line);
	jw_array_end(&w);
	jw_object_end(&w);
	return 0;
}

/* -- pages ---------------------------------------------------------------------------------------------------------- */

static void put_html(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '<')
			buf_put_c(b, "&lt;");
		else if (s.p[i] == '&')
			buf_put_c(b, "&amp;");
		else if (s.p[i] == '"')
			buf_put_c(b, "&quot;");
		else
			buf_put_char(b, s.p[i]);
	}
}

static void put_when(struct buf *b, int64_t wall_ms)
{
	if (wall_ms)
		clock_put_table(b, wall_ms);
	else
		buf_put_c(b, "never");
}

static void begin_page(struct server *s, struct buf *b, const char *title)
{
	buf_put_c(
		b,
		"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>");
	put_html(b, mirror_config(s->mirror)->name);
	buf_printf(
		b,
		": %s</title><style>body{font:15px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}"
		"td,th{padding:.25em .8em;text-align:left;border-bottom:1px solid #ddd}td.n{text-align:right}"
		".bad{color:#a00}nav a{margin-right:1em}</style>"
		"<nav><a href=/>Channels</a><a href=/upstreams>Upstreams</a><a href=/clients>Clients</a><a href=/healthz>Health</a>"
		"<a href=/metrics>Metrics</a></nav><h1>%s</h1>\n",
		title, title);
}

static void reply_page(struct httpd_req *r, struct buf *b)
{
	static const struct httpd_header safe[] = {{{"content-security-policy", 23},
						    {"default-src 'none'; style-src 'unsafe-inline'", 44}},
						   {{"x-content-type-options", 22}, {"nosniff", 7}}};
	const struct httpd_head head = {
		.type = "text/html; charset=utf-8", .cache_control = "no-store", .more = safe, .more_n = 2};
	buf_put_c(b, "</html>\n");
	httpd_reply_bytes(r, &head, buf_str(b));
}

static void put_channel_row(struct server *s, const struct mirror_channel *c, struct buf *b)
{
	static const char *const types[] = {
		[MIRROR_LOCAL] = "local", [MIRROR_PROXY] = "proxy", [MIRROR_FOLLOW] = "mirror"};
	auto_arena a = ARENA_INIT;
	struct mirror_channel_status st = {0};
	struct err e = ERR_INIT;
	int rc = status_of(s, c, &a, &st, &e);
	buf_put_c(b, "<tr><td>");
	put_html(b, c->name);
	buf_printf(b, "<td>%s<td>%s<td>%s<td class=n>%llu<td class=n>%llu<td class=n>%llu<td class=n>%llu<td>",
		   channel_kind_name(c->kind), types[c->type], c->is_private ? "private" : "",
		   (unsigned long long)st.expected, (unsigned long long)st.held, (unsigned long long)st.held_bytes,
		   (unsigned long long)st.damaged);
	if (c->type != MIRROR_LOCAL)
		put_when(b, st.synced_ms);
	buf_put_c(b, "<td class=bad>");
	put_html(b, rc < 0 ? str_c(e.msg) : st.good || !st.tried_ms ? STR("") : st.message);
	buf_put_char(b, '\n');
}

static void channels_page(struct server *s, struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_buf b = BUF_INIT(PAGE_MAX);
	begin_page(s, &b, "Channels");
	buf_put_c(
		&b,
		"<table><tr><th>Channel<th>Kind<th>Type<th><th>Told of<th>Held<th>Bytes held<th>Damaged<th>Up to date (UTC)<th>Trouble\n");
	for (size_t i = 0; i < config->channels_n; i++)
		put_channel_row(s, &config->channels[i], &b);
	buf_put_c(&b, "</table>\n<p>Free: ");
	buf_printf(&b, "%llu bytes; reserve: %llu. Server since ", (unsigned long long)free_bytes(s),
		   (unsigned long long)config->reserve_bytes);
	put_when(&b, s->started_ms);
	buf_printf(&b, ", version " SLIPWAY_VERSION "; %zu files on their way for somebody who waits.\n",
		   relay_count(s->relay));
	reply_page(r, &b);
}

static void put_upstreams(struct server *s, const struct mirror_channel *c, struct buf *b)
{
	static const char *const health[] = {
		[MIRROR_WELL] = "well", [MIRROR_PROBED] = "is tried again", [MIRROR_LEFT] = "left"};
	auto_arena a = ARENA_INIT;
	struct mirror_upstream_status *v = NULL;
	size_t n = 0;
	struct err e = ERR_INIT;
	struct mirror_reader *reader = server_reader_take(s, &e);
	if (reader) {
		(void)mirror_upstreams(reader, c, &a, &v, &n, &e);
		server_reader_put(s, reader);
	}
	for (size_t i = 0; i < n; i++) {
		auto_buf url = BUF_INIT(URL_MAX);
		url_put_shown(&url, v[i].upstream.url);
		buf_printf(b, "<tr><td>%.*s<td>%s<td class=n>%lld<td>", STR_ARG(c->name), v[i].in_use ? "[X]" : "",
			   (long long)v[i].upstream.priority);
		put_html(b, v[i].upstream.id);
		buf_put_c(b, "<td>");
		put_html(b, buf_str(&url));
		buf_printf(b, "<td>%s<td class=n>%.0f<td>", health[v[i].health], v[i].bytes_per_s / 1000);
		put_when(b, v[i].good_ms);
		buf_put_c(b, "<td class=bad>");
		put_html(b, v[i].error);
		buf_put_char(b, '\n');
	}
}

static void upstreams_page(struct server *s, struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_buf b = BUF_INIT(PAGE_MAX);
	begin_page(s, &b, "Upstreams");
	buf_put_c(
		&b,
		"<table><tr><th>Channel<th>In use<th>Priority<th>Id<th>Address<th>Health<th>kB/s<th>Last good (UTC)<th>Last error\n");
	for (size_t i = 0; i < config->channels_n; i++)
		if (config->channels[i].type != MIRROR_LOCAL)
			put_upstreams(s, &config->channels[i], &b);
	buf_put_c(&b, "</table>\n");
	reply_page(r, &b);
}

static void clients_page(struct server *s, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(PAGE_MAX);
	struct mirror_client *v = NULL;
	size_t n = 0;
	struct err e = ERR_INIT;
	begin_page(s, &b, "Clients");
	if (mirror_client_list(s->clients, &a, &v, &n, &e) < 0) {
		buf_put_c(&b, "<p class=bad>");
		put_html(&b, str_c(e.msg));
	}
	buf_printf(&b, "<p>%zu\n<table><tr><th>Name<th>Group<th>Enrolled (UTC)<th>Renewed<th>Good until<th>Revoked\n",
		   n);
	for (size_t i = 0; i < n; i++) {
		buf_put_c(&b, "<tr><td>");
		put_html(&b, v[i].name);
		buf_put_c(&b, "<td>");
		put_html(&b, v[i].group);
		const int64_t times[] = {v[i].enrolled_ms, v[i].renewed_ms, v[i].until_ms};
		for (size_t k = 0; k < 3; k++) {
			buf_put_c(&b, "<td>");
			put_when(&b, times[k]);
		}
		buf_put_c(&b, "<td class=bad>");
		if (v[i].revoked_ms) {
			put_when(&b, v[i].revoked_ms);
			buf_put_c(&b, ": ");
			put_html(&b, v[i].reason);
		}
		buf_put_char(&b, '\n');
	}
	buf_put_c(&b, "</table>\n");
	reply_page(r, &b);
}

void admin_answer(struct server *s, struct httpd_req *r)
{
	static const struct {
		const char *path;
		void (*answer)(struct server *s, struct httpd_req *r);
	} pages[] = {{"/", channels_page},
		     {"/upstreams", upstreams_page},
		     {"/clients", clients_page},
		     {"/healthz", healthz},
		     {"/metrics", metrics}};
	if (!str_eq_c(httpd_method(r), "GET") && !str_eq_c(httpd_method(r), "HEAD")) {
		httpd_reply_error(r, 405, "this port only tells");
		return;
	}
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		if (str_eq_c(httpd_path(r), pages[i].path)) {
			pages[i].answer(s, r);
			return;
		}
	httpd_reply_error(r, 404, "not found");
}
