// SPDX-License-Identifier: Apache-2.0
/*
 * Pages of the admin port, in HTML and, with format=json, as JSON: channels, the lists behind their counts, upstreams, what is on its way,
 * clients, storage. All text that came from outside goes through put_html; nothing is loaded from elsewhere and no script runs.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/url.h"
#include "mirror/server.h"
#include "version.h"

enum { PAGE_MAX = 64 << 20, ROWS_A_PAGE = 500, CLIENTS_A_PAGE = 1000, FLIGHTS_MAX = 1000 };

static void put_html(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '<')
			buf_put_c(b, "&lt;");
		else if (c == '>')
			buf_put_c(b, "&gt;");
		else if (c == '&')
			buf_put_c(b, "&amp;");
		else if (c == '"')
			buf_put_c(b, "&quot;");
		else if (c == '\'')
			buf_put_c(b, "&#39;");
		else if ((c < ' ' && c != '\n' && c != '\t') || c == 0x7f)
			buf_put_char(b, '?');
		else
			buf_put_char(b, s.p[i]);
	}
}

/* A value in an address, which stands in HTML. */
static void put_query(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
		    c == '_' || c == '.')
			buf_put_char(b, s.p[i]);
		else
			buf_printf(b, "%%%02X", c);
	}
}

static void put_cell(struct buf *b, struct str s)
{
	buf_put_c(b, "<td>");
	put_html(b, s);
	buf_put_c(b, "</td>");
}

static void put_bad(struct buf *b, struct str s)
{
	buf_put_c(b, "<td class=bad>");
	put_html(b, s);
	buf_put_c(b, "</td>");
}

static void put_number(struct buf *b, uint64_t n)
{
	buf_printf(b, "<td class=n>%llu</td>", (unsigned long long)n);
}

static void put_when(struct buf *b, int64_t wall_ms)
{
	buf_put_c(b, "<td>");
	if (wall_ms)
		clock_put_table(b, wall_ms);
	else
		buf_put_c(b, "never");
	buf_put_c(b, "</td>");
}

static void begin_page(struct server *s, struct buf *b, const char *title)
{
	buf_put_c(b, "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>"
		     "<meta name=viewport content='width=device-width'><title>");
	put_html(b, mirror_config(s->mirror)->name);
	buf_printf(b,
		   ": %s</title><style>body{font:15px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}"
		   "td,th{padding:.25em .8em;text-align:left;border-bottom:1px solid #ddd}td.n{text-align:right}"
		   ".bad{color:#a00}nav a{margin-right:1em}</style></head>\n"
		   "<body><nav><a href='/'>Channels</a><a href='/upstreams'>Upstreams</a><a href='/queue'>Queue</a>"
		   "<a href='/clients'>Clients</a><a href='/storage'>Storage</a><a href='/healthz'>Health</a>"
		   "<a href='/metrics'>Metrics</a></nav><h1>%s</h1>\n",
		   title, title);
}

static const struct httpd_header safe[] = {
	{STR("content-security-policy"),
	 STR("default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")},
	{STR("x-content-type-options"), STR("nosniff")},
	{STR("referrer-policy"), STR("no-referrer")}};
enum { SAFE = sizeof(safe) / sizeof(*safe) };

static void reply_page(struct httpd_req *r, struct buf *b)
{
	const struct httpd_head head = {
		.type = "text/html; charset=utf-8", .cache_control = "no-store", .more = safe, .more_n = SAFE};
	buf_put_c(b, "</body></html>\n");
	if (b->overflow)
		httpd_reply_error(r, 500, "the page is longer than may be");
	else
		httpd_reply_bytes(r, &head, buf_str(b));
}

static void reply_json(struct httpd_req *r, const struct buf *b)
{
	const struct httpd_head head = {
		.type = "application/json", .cache_control = "no-store", .more = safe, .more_n = SAFE};
	httpd_reply_bytes(r, &head, buf_str(b));
}

static bool wants_json(struct httpd_req *r)
{
	struct str format;
	return httpd_query_value(r, "format", &format) && str_eq(format, STR("json"));
}

/* -- channels ------------------------------------------------------------------------------------------------------- */

static const char *const types[] = {[MIRROR_LOCAL] = "local", [MIRROR_PROXY] = "proxy", [MIRROR_FOLLOW] = "mirror"};

struct view { /* of a channel */
	struct mirror_channel_status st;
	uint64_t gone;
	struct err err;
};

/* Counts of a channel of one's own are those of its lists. */
static void look_at(struct server *s, const struct mirror_channel *c, struct arena *a, struct view *ret)
{
	const struct mirror_rows_opts none = {.which = MIRROR_ROWS_TOLD};
	struct mirror_rows_result rows;
	struct mirror_reader *reader;
	*ret = (struct view){.err = ERR_INIT};
	if (admin_channel(s, c, true, a, &ret->st, &ret->err) < 0 || c->type != MIRROR_LOCAL)
		return;
	reader = server_reader_take(s, &ret->err);
	if (!reader)
		return;
	if (mirror_channel_rows(reader, c, &none, a, &rows, &ret->err) == 0) {
		ret->st.expected = rows.count[MIRROR_ROWS_TOLD];
		ret->st.held = rows.count[MIRROR_ROWS_HELD];
		ret->st.held_bytes = rows.bytes;
		ret->st.damaged = rows.count[MIRROR_ROWS_DAMAGED];
		if (rows.unread.n)
			(void)err_new(&ret->err, ERR_INPUT, "%.*s", STR_ARG(rows.unread));
	}
	server_reader_put(s, reader);
}

/* A count, and the way to what was counted. */
static void put_count(struct buf *b, const struct mirror_channel *c, enum mirror_rows which, struct str platform,
		      uint64_t n)
{
	buf_put_c(b, "<td class=n><a href='/list?channel=");
	put_query(b, c->name);
	buf_printf(b, "&amp;list=%s", mirror_rows_name(which));
	if (platform.n) {
		buf_put_c(b, "&amp;platform=");
		put_query(b, platform);
	}
	buf_printf(b, "'>%llu</a></td>", (unsigned long long)n);
}

static struct str trouble_of(const struct view *v)
{
	return v->err.code != ERR_NONE ? str_c(v->err.msg) : v->st.good || !v->st.tried_ms ? STR("") : v->st.message;
}

static void put_channel_row(struct server *s, const struct mirror_channel *c, struct buf *b)
{
	auto_arena a = ARENA_INIT;
	struct view v;
	look_at(s, c, &a, &v);
	buf_put_c(b, "<tr><td><a href='/channel?name=");
	put_query(b, c->name);
	buf_put_c(b, "'>");
	put_html(b, c->name);
	buf_printf(b, "</a></td><td>%s</td><td>%s</td><td>%s</td>", channel_kind_name(c->kind), types[c->type],
		   c->is_private ? "private" : "");
	put_count(b, c, MIRROR_ROWS_TOLD, STR_NONE, v.st.expected);
	put_count(b, c, MIRROR_ROWS_HELD, STR_NONE, v.st.held);
	put_number(b, v.st.held_bytes);
	put_count(b, c, MIRROR_ROWS_DAMAGED, STR_NONE, v.st.damaged);
	if (c->type == MIRROR_LOCAL)
		put_cell(b, STR(""));
	else
		put_when(b, v.st.synced_ms);
	put_bad(b, trouble_of(&v));
	put_cell(b, c->description);
	buf_put_c(b, "</tr>\n");
}

static void put_channel_json(struct server *s, const struct mirror_channel *c, struct jw *w)
{
	auto_arena a = ARENA_INIT;
	struct view v;
	look_at(s, c, &a, &v);
	jw_object(w);
	jw_kv_str(w, "channel", c->name);
	jw_kv_c(w, "kind", channel_kind_name(c->kind));
	jw_kv_c(w, "type", types[c->type]);
	jw_kv_bool(w, "private", c->is_private);
	jw_kv_str(w, "description", c->description);
	jw_kv_int(w, "told", (int64_t)v.st.expected);
	jw_kv_int(w, "held", (int64_t)v.st.held);
	jw_kv_int(w, "held_bytes", (int64_t)v.st.held_bytes);
	jw_kv_int(w, "damaged", (int64_t)v.st.damaged);
	jw_kv_int(w, "synced_ms", v.st.synced_ms);
	jw_kv_int(w, "tried_ms", v.st.tried_ms);
	jw_kv_str(w, "trouble", trouble_of(&v));
	jw_object_end(w);
}

static void channels_json(struct server *s, struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_buf b = BUF_INIT(PAGE_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_str(&w, "mirror", config->name);
	jw_key(&w, "channels");
	jw_array(&w);
	for (size_t i = 0; i < config->channels_n; i++)
		put_channel_json(s, &config->channels[i], &w);
	jw_array_end(&w);
	jw_object_end(&w);
	reply_json(r, &b);
}

static void channels_page(struct server *s, struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_buf b = BUF_INIT(PAGE_MAX);
	if (wants_json(r)) {
		channels_json(s, r);
		return;
	}
	begin_page(s, &b, "Channels");
	buf_put_c(
		&b,
		"<table><tr><th>Channel</th><th>Kind</th><th>Type</th><th></th><th>Told of</th><th>Held</th><th>Bytes "
		"held</th><th>Damaged</th><th>Up to date (UTC)</th><th>Trouble</th><th></th></tr>\n");
	for (size_t i = 0; i < config->channels_n; i++)
		put_channel_row(s, &config->channels[i], &b);
	buf_put_c(&b, "</table>\n<p>Server since ");
	clock_put_table(&b, s->started_ms);
	buf_printf(&b, " UTC, version " SLIPWAY_VERSION "; %zu files on their way for somebody who waits.</p>\n",
		   relay_count(s->relay));
	reply_page(r, &b);
}

/* -- lists ---------------------------------------------------------------------------------------------------------- */

/* The channel that is asked for; NULL, and the answer is given. */
static const struct mirror_channel *asked_channel(struct server *s, struct httpd_req *r, const char *key)
{
	struct str name;
	const struct mirror_channel *c = httpd_query_value(r, key, &name) ? mirror_channel(s->mirror, name) : NULL;
	if (!c)
		httpd_reply_error(r, 404, "no such channel; / lists them");
	return c;
}

static int read_list(struct server *s, const struct mirror_channel *c, const struct mirror_rows_opts *o,
		     struct arena *a, struct mirror_rows_result *ret, struct err *e)
{
	struct mirror_reader *reader = server_reader_take(s, e);
	int rc = reader ? mirror_channel_rows(reader, c, o, a, ret, e) : -1;
	if (reader)
		server_reader_put(s, reader);
	return rc;
}

static void put_form(struct buf *b, const char *path, const char *key, const struct mirror_channel *c, const char *list,
		     struct str platform)
{
	buf_printf(b, "<form action='%s'><p><input type=hidden name=%s value='", path, key);
	put_html(b, c->name);
	buf_put_c(b, "'>");
	if (list)
		buf_printf(b, "<input type=hidden name=list value='%s'>", list);
	buf_put_c(b, "as a client of this platform sees it: <input name=platform value='");
	put_html(b, platform);
	buf_put_c(b, "'> <button>show</button></p></form>\n");
}

static void channel_page(struct server *s, struct httpd_req *r)
{
	static const char *const titles[MIRROR_ROWS] = {
		"Told of", "Held", "Not here", "Damaged", "Here, named no longer", "Offered as newest", "Not offered"};
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(PAGE_MAX);
	struct mirror_rows_opts o = {.platform = STR("")};
	struct mirror_rows_result rows = {0};
	struct mirror_channel_status st = {0};
	struct err e = ERR_INIT;
	const struct mirror_channel *c = asked_channel(s, r, "name");
	if (!c)
		return;
	(void)httpd_query_value(r, "platform", &o.platform);
	begin_page(s, &b, "Channel");
	buf_put_c(&b, "<p><b>");
	put_html(&b, c->name);
	buf_printf(&b, "</b>, %s, %s%s. ", channel_kind_name(c->kind), types[c->type],
		   c->is_private ? ", private" : "");
	put_html(&b, c->description);
	buf_put_c(&b, "</p>\n");
	if (read_list(s, c, &o, &a, &rows, &e) < 0 || admin_channel(s, c, false, &a, &st, &e) < 0 || rows.unread.n) {
		buf_put_c(&b, "<p class=bad>");
		put_html(&b, rows.unread.n ? rows.unread : str_c(e.msg));
		buf_put_c(&b, "</p>\n");
	}
	if (c->type != MIRROR_LOCAL) {
		buf_put_c(&b, "<table><tr><th>Good as of (UTC)</th><th>Last tried</th><th>Trouble</th></tr><tr>");
		put_when(&b, st.synced_ms);
		put_when(&b, st.tried_ms);
		put_bad(&b, st.good ? STR("") : st.message);
		buf_put_c(&b, "</tr></table>\n");
	}
	put_form(&b, "/channel", "name", c, NULL, o.platform);
	buf_put_c(&b, "<table>\n");
	for (int i = 0; i < MIRROR_ROWS; i++) {
		buf_printf(&b, "<tr><th>%s</th>", titles[i]);
		put_count(&b, c, (enum mirror_rows)i, o.platform, rows.count[i]);
		buf_put_c(&b, "</tr>\n");
	}
	buf_put_c(&b, "</table>\n");
	reply_page(r, &b);
}

static void put_row_json(struct jw *w, const void *ctx, size_t i)
{
	mirror_row_json(w, (const struct mirror_row *)ctx + i);
}

static void list_json(struct httpd_req *r, const struct mirror_channel *c, const struct mirror_rows_opts *o,
		      const struct mirror_rows_result *rows)
{
	auto_buf b = BUF_INIT(PAGE_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_str(&w, "channel", c->name);
	jw_kv_c(&w, "list", mirror_rows_name(o->which));
	jw_kv_str(&w, "platform", o->platform);
	jw_kv_int(&w, "count", (int64_t)rows->count[o->which]);
	jw_kv_int(&w, "offset", (int64_t)o->offset);
	jw_kv_opt(&w, "unread", rows->unread);
	jw_kv_objects(&w, "packages", rows->n, put_row_json, rows->v);
	jw_object_end(&w);
	reply_json(r, &b);
}

static void put_step(struct buf *b, const struct mirror_channel *c, const struct mirror_rows_opts *o, uint64_t offset,
		     const char *text)
{
	buf_put_c(b, "<a href='/list?channel=");
	put_query(b, c->name);
	buf_printf(b, "&amp;list=%s&amp;platform=", mirror_rows_name(o->which));
	put_query(b, o->platform);
	buf_printf(b, "&amp;offset=%llu'>%s</a> ", (unsigned long long)offset, text);
}

static void put_list(struct buf *b, const struct mirror_channel *c, const struct mirror_rows_opts *o,
		     const struct mirror_rows_result *rows)
{
	buf_put_c(b, "<p>");
	put_html(b, c->name);
	buf_printf(b, ", list '%s': %llu packages", mirror_rows_name(o->which),
		   (unsigned long long)rows->count[o->which]);
	if (rows->n)
		buf_printf(b, ", of which %llu to %llu. ", (unsigned long long)o->offset + 1,
			   (unsigned long long)o->offset + rows->n);
	if (o->offset)
		put_step(b, c, o, o->offset > o->max ? o->offset - o->max : 0, "before");
	if (o->offset + rows->n < rows->count[o->which])
		put_step(b, c, o, o->offset + o->max, "next");
	buf_put_c(b, "</p>\n");
	put_form(b, "/list", "channel", c, mirror_rows_name(o->which), o->platform);
	buf_put_c(
		b,
		"<table><tr><th>Path</th><th>Package</th><th>Version</th><th>Platform</th><th>Bytes</th><th>Why it is not "
		"here</th><th>Why it is not offered</th></tr>\n");
	for (size_t i = 0; i < rows->n; i++) {
		const struct mirror_row *x = &rows->v[i];
		buf_put_c(b, "<tr>");
		put_cell(b, x->path);
		put_cell(b, x->name);
		put_cell(b, x->version);
		put_cell(b, x->platform);
		put_number(b, x->size);
		put_bad(b, x->why_not_here);
		put_cell(b, x->why_not_offered);
		buf_put_c(b, "</tr>\n");
	}
	buf_put_c(b, "</table>\n");
}

static void list_page(struct server *s, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(PAGE_MAX);
	struct mirror_rows_opts o = {.which = MIRROR_ROWS_TOLD, .platform = STR(""), .max = ROWS_A_PAGE};
	struct mirror_rows_result rows;
	struct err e = ERR_INIT;
	struct str text;
	const struct mirror_channel *c = asked_channel(s, r, "channel");
	if (!c)
		return;
	(void)httpd_query_value(r, "platform", &o.platform);
	if (httpd_query_value(r, "list", &text) && !mirror_rows_find(text, &o.which)) {
		httpd_reply_error(r, 404, "no such list; 'told' and others are at /channel?name=CHANNEL");
		return;
	}
	if (httpd_query_value(r, "offset", &text) && !str_to_u64(text, &o.offset)) {
		httpd_reply_error(r, 400, "'offset' is a number");
		return;
	}
	if (read_list(s, c, &o, &a, &rows, &e) < 0) {
		httpd_reply_error(r, 500, "%s", e.msg);
		return;
	}
	if (wants_json(r)) {
		list_json(r, c, &o, &rows);
		return;
	}
	begin_page(s, &b, "Packages");
	if (rows.unread.n) {
		buf_put_c(&b, "<p class=bad>");
		put_html(&b, rows.unread);
		buf_put_c(&b, "</p>\n");
	}
	put_list(&b, c, &o, &rows);
	reply_page(r, &b);
}

/* -- upstreams ------------------------------------------------------------------------------------------------------ */

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
		buf_put_c(b, "<tr>");
		put_cell(b, c->name);
		buf_printf(b, "<td>%s</td><td class=n>%lld</td>", v[i].in_use ? "[X]" : "",
			   (long long)v[i].upstream.priority);
		put_cell(b, v[i].upstream.id);
		put_cell(b, buf_str(&url));
		buf_printf(b, "<td>%s</td><td class=n>%.0f</td>", health[v[i].health], v[i].bytes_per_s / 1000);
		put_when(b, v[i].good_ms);
		put_bad(b, v[i].error);
		buf_put_c(b, "</tr>\n");
	}
}

static void upstreams_page(struct server *s, struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_buf b = BUF_INIT(PAGE_MAX);
	begin_page(s, &b, "Upstreams");
	buf_put_c(
		&b,
		"<table><tr><th>Channel</th><th>In use</th><th>Priority</th><th>Id</th><th>Address</th><th>Health</th>"
		"<th>kB/s</th><th>Last good (UTC)</th><th>Last error</th></tr>\n");
	for (size_t i = 0; i < config->channels_n; i++)
		if (config->channels[i].type != MIRROR_LOCAL)
			put_upstreams(s, &config->channels[i], &b);
	buf_put_c(&b, "</table>\n");
	reply_page(r, &b);
}

/* -- the queue ------------------------------------------------------------------------------------------------------ */

static void put_flight(void *ctx, const char *path, size_t waiting)
{
	struct buf *b = ctx;
	buf_put_c(b, "<tr>");
	put_cell(b, str_c(path));
	put_number(b, waiting);
	buf_put_c(b, "</tr>\n");
}

static void queue_page(struct server *s, struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_buf b = BUF_INIT(PAGE_MAX);
	begin_page(s, &b, "Queue");
	buf_put_c(&b, "<h2>For clients that wait</h2><table><tr><th>File</th><th>Waiting</th></tr>\n");
	relay_each(s->relay, FLIGHTS_MAX, put_flight, &b);
	buf_put_c(
		&b,
		"</table>\n<h2>Before anybody asks</h2><table><tr><th>Channel</th><th>Not here</th><th>Last tried (UTC)</th></tr>\n");
	for (size_t i = 0; i < config->channels_n; i++) {
		auto_arena a = ARENA_INIT;
		const struct mirror_channel *c = &config->channels[i];
		struct mirror_channel_status st = {0};
		struct err e = ERR_INIT;
		if (c->type == MIRROR_LOCAL || admin_channel(s, c, true, &a, &st, &e) < 0)
			continue;
		buf_put_c(&b, "<tr>");
		put_cell(&b, c->name);
		put_count(&b, c, MIRROR_ROWS_MISSING, STR_NONE, st.expected - st.held);
		put_when(&b, st.tried_ms);
		buf_put_c(&b, "</tr>\n");
	}
	buf_put_c(&b, "</table>\n");
	reply_page(r, &b);
}

/* -- clients -------------------------------------------------------------------------------------------------------- */

static void put_client(struct buf *b, const struct mirror_client *v)
{
	buf_put_c(b, "<tr>");
	put_cell(b, v->name);
	put_cell(b, v->group);
	put_when(b, v->enrolled_ms);
	put_when(b, v->renewed_ms);
	put_when(b, v->until_ms);
	buf_put_c(b, "<td class=bad>");
	if (v->revoked_ms) {
		clock_put_table(b, v->revoked_ms);
		buf_put_c(b, ": ");
		put_html(b, v->reason);
	}
	buf_put_c(b, "</td></tr>\n");
}

/* By a connection of its own: that of the serving threads is held for the time of a list. */
static int list_clients(struct server *s, struct arena *a, struct mirror_client **ret, size_t *ret_n, struct err *e)
{
	auto_ptr(mirror_clients) clients = NULL;
	return mirror_clients_open(mirror_dir(s->mirror), s->clock, &clients, e) < 0
		       ? -1
		       : mirror_client_list(clients, a, ret, ret_n, e);
}

static void clients_page(struct server *s, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(PAGE_MAX);
	struct mirror_client *v = NULL;
	size_t n = 0;
	uint64_t from = 0;
	struct str text;
	struct err e = ERR_INIT;
	if (httpd_query_value(r, "offset", &text))
		(void)str_to_u64(text, &from);
	begin_page(s, &b, "Clients");
	if (list_clients(s, &a, &v, &n, &e) < 0) {
		buf_put_c(&b, "<p class=bad>");
		put_html(&b, str_c(e.msg));
		buf_put_c(&b, "</p>\n");
	}
	buf_printf(&b, "<p>%zu enrolled. ", n);
	if (from + CLIENTS_A_PAGE < n)
		buf_printf(&b, "<a href='/clients?offset=%llu'>next</a>", (unsigned long long)from + CLIENTS_A_PAGE);
	buf_put_c(&b, "</p>\n<table><tr><th>Name</th><th>Group</th><th>Enrolled (UTC)</th><th>Renewed</th><th>Good "
		      "until</th><th>Revoked</th></tr>\n");
	for (size_t i = from < n ? (size_t)from : n; i < n && i < from + CLIENTS_A_PAGE; i++)
		put_client(&b, &v[i]);
	buf_put_c(&b, "</table>\n");
	reply_page(r, &b);
}

/* -- storage -------------------------------------------------------------------------------------------------------- */

static uint64_t size_of(int dir, const char *path)
{
	struct stat st;
	return fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

static uint64_t folder_size(int dir, const char *path, size_t *ret_n)
{
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	uint64_t bytes = 0;
	*ret_n = 0;
	if (!fs_exists(dir, path) || fs_list(dir, path, 1 << 20, &list, &ignored) < 0)
		return 0;
	for (size_t i = 0; i < list.n; i++) {
		auto_free char *name = xasprintf("%s/%s", path, list.name[i]);
		bytes += size_of(dir, name);
	}
	*ret_n = list.n;
	return bytes;
}

static void put_storage_row(struct server *s, const struct served *c, struct buf *b)
{
	auto_arena a = ARENA_INIT;
	struct view v;
	size_t partial, aside;
	uint64_t partial_bytes = folder_size(c->tree_fd, ".slipway/partial", &partial);
	uint64_t aside_bytes = folder_size(c->tree_fd, ".slipway/quarantine", &aside);
	look_at(s, c->channel, &a, &v);
	buf_put_c(b, "<tr>");
	put_cell(b, c->channel->name);
	put_count(b, c->channel, MIRROR_ROWS_HELD, STR_NONE, v.st.held);
	put_number(b, v.st.held_bytes);
	put_number(b, partial);
	put_number(b, partial_bytes);
	put_number(b, aside);
	put_number(b, aside_bytes);
	buf_put_c(b, "</tr>\n");
}

static void storage_page(struct server *s, struct httpd_req *r)
{
	auto_buf b = BUF_INIT(PAGE_MAX);
	uint64_t all, left = admin_free_bytes(s, &all);
	begin_page(s, &b, "Storage");
	buf_printf(
		&b,
		"<table><tr><th>Bytes of the file system</th><td class=n>%llu</td></tr><tr><th>Free</th><td class=n>%llu</td></tr>"
		"<tr><th>Reserve</th><td class=n>%llu</td></tr><tr><th>mirror.db</th><td class=n>%llu</td></tr></table>\n",
		(unsigned long long)all, (unsigned long long)left,
		(unsigned long long)mirror_config(s->mirror)->reserve_bytes,
		(unsigned long long)(size_of(s->state_fd, "mirror.db") + size_of(s->state_fd, "mirror.db-wal")));
	buf_put_c(
		&b,
		"<table><tr><th>Channel</th><th>Held</th><th>Bytes</th><th>Unfinished</th><th>Bytes</th><th>Set aside as "
		"damaged</th><th>Bytes</th></tr>\n");
	for (size_t i = 0; i < mirror_config(s->mirror)->channels_n; i++)
		put_storage_row(s, &s->served[i], &b);
	buf_put_c(&b, "</table>\n");
	reply_page(r, &b);
}

bool admin_page(struct server *s, struct httpd_req *r)
{
	static const struct {
		const char *path;
		void (*answer)(struct server *s, struct httpd_req *r);
	} pages[] = {{"/", channels_page},	     {"/channel", channel_page}, {"/list", list_page},
		     {"/upstreams", upstreams_page}, {"/queue", queue_page},	 {"/clients", clients_page},
		     {"/storage", storage_page}};
	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		if (str_eq_c(httpd_path(r), pages[i].path)) {
			pages[i].answer(s, r);
			return true;
		}
	return false;
}
