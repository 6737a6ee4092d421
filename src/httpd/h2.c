// SPDX-License-Identifier: Apache-2.0
/* HTTP/2 (RFC 9113): framing, header compression and flow control are nghttp2's; a stream is a request like one of HTTP/1. */
#include <nghttp2/nghttp2.h>

#include "base/dl.h"
#include "httpd/server.h"

#define NGHTTP2(X)                                                                                                     \
	X(nghttp2_, option_del)                                                                                        \
	X(nghttp2_, option_new)                                                                                        \
	X(nghttp2_, option_set_max_send_header_block_length)                                                           \
	X(nghttp2_, option_set_no_rfc9113_leading_and_trailing_ws_validation)                                          \
	X(nghttp2_, session_callbacks_del)                                                                             \
	X(nghttp2_, session_callbacks_new)                                                                             \
	X(nghttp2_, session_callbacks_set_on_begin_headers_callback)                                                   \
	X(nghttp2_, session_callbacks_set_on_data_chunk_recv_callback)                                                 \
	X(nghttp2_, session_callbacks_set_on_frame_recv_callback)                                                      \
	X(nghttp2_, session_callbacks_set_on_header_callback)                                                          \
	X(nghttp2_, session_callbacks_set_on_stream_close_callback)                                                    \
	X(nghttp2_, session_del)                                                                                       \
	X(nghttp2_, session_get_last_proc_stream_id)                                                                   \
	X(nghttp2_, session_get_stream_user_data)                                                                      \
	X(nghttp2_, session_mem_recv)                                                                                  \
	X(nghttp2_, session_mem_send)                                                                                  \
	X(nghttp2_, session_resume_data)                                                                               \
	X(nghttp2_, session_server_new2)                                                                               \
	X(nghttp2_, session_set_stream_user_data)                                                                      \
	X(nghttp2_, session_want_read)                                                                                 \
	X(nghttp2_, session_want_write)                                                                                \
	X(nghttp2_, submit_goaway)                                                                                     \
	X(nghttp2_, submit_response)                                                                                   \
	X(nghttp2_, submit_rst_stream)                                                                                 \
	X(nghttp2_, submit_settings)
static int prepare(struct err *e);
DL_LIBRARY(ng, "libnghttp2.so.14", NGHTTP2, prepare);

enum { RESETS_MAX = 200, WINDOW_BYTES = 256 << 10 };

struct h2 {
	nghttp2_session *session;
	struct httpd_req *reqs; /* those whose stream is open */
	size_t n, resets, served;
	bool stopping;
};

static nghttp2_session_callbacks *callbacks;

/* -- requests ------------------------------------------------------------------------------------------------------------------- */

static void unlink_req(struct h2 *h, struct httpd_req *r)
{
	*(r->prev ? &r->prev->next : &h->reqs) = r->next;
	if (r->next)
		r->next->prev = r->prev;
	r->next = r->prev = NULL;
	h->n--;
}

static int begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *ctx)
{
	struct conn *c = ctx;
	struct h2 *h = c->h2;
	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct httpd_req *r = req_new(c);
	r->head.version = 20;
	r->head.keep_alive = true;
	r->head.host = r->head.method = r->head.target = STR("");
	r->stream_id = f->hd.stream_id;
	r->next = h->reqs;
	if (r->next)
		r->next->prev = r;
	h->reqs = r;
	h->n++;
	c->requests++;
	worker_idle(c->w, c, false);
	conn_limit(c, c->w->h->o.header_ms);
	ng.session_set_stream_user_data(s, r->stream_id, r);
	return 0;
}

static void add_header(struct httpd_req *r, struct str name, struct str value)
{
	struct http_head *h = &r->head;
	if (h->header_n >= r->h->limits.headers) {
		r->refused = 431;
		return;
	}
	if (h->header_n == r->header_cap) {
		size_t cap = r->header_cap ? r->header_cap * 2 : 16;
		struct httpd_header *more = arena_array(&r->a, struct httpd_header, cap);
		if (h->header_n)
			memcpy(more, h->header, h->header_n * sizeof(*more));
		h->header = more;
		r->header_cap = cap;
	}
	h->header[h->header_n++] = (struct httpd_header){arena_str(&r->a, name), arena_str(&r->a, value)};
}

static int one_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name_p, size_t name_n,
		      const uint8_t *value_p, size_t value_n, uint8_t flags, void *ctx)
{
	struct httpd_req *r = ng.session_get_stream_user_data(s, f->hd.stream_id);
	struct str name = str_of((const char *)name_p, name_n), value = str_of((const char *)value_p, value_n);
	(void)flags, (void)ctx;
	if (!r || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0; /* trailers are not for us */
	r->head_bytes += name.n + value.n + 32;
	if (r->head_bytes > r->h->limits.head_bytes)
		r->refused = 431;
	if (r->refused)
		return 0;
	if (str_eq(name, STR(":method")))
		r->head.method = arena_str(&r->a, value);
	else if (str_eq(name, STR(":path")))
		r->head.target = arena_str(&r->a, value);
	else if (str_eq(name, STR(":authority")))
		r->head.host = arena_str(&r->a, value);
	else if (name.n && name.p[0] != ':')
		add_header(r, name, str_trim(value));
	return 0;
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *p, size_t n, uint32_t *flags,
			 nghttp2_data_source *source, void *ctx)
{
	struct httpd_req *r = source->ptr;
	struct conn *c = ctx;
	(void)s, (void)id;
	ssize_t got = reply_read(r, (char *)p, n);
	if (got == -2)
		return NGHTTP2_ERR_DEFERRED;
	if (got < 0) {
		r->reply.failed = true;
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* resets the stream */
	}
	conn_progress(c, (uint64_t)got);
	if (reply_at_end(&r->reply))
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return got;
}

enum { LINES_MAX = 64 };

static nghttp2_nv pair(const char *name, size_t name_n, const char *value, size_t value_n)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, name_n, value_n,
			    NGHTTP2_NV_FLAG_NONE};
}

static void submit(struct conn *c, struct httpd_req *r)
{
	nghttp2_nv nv[LINES_MAX];
	size_t n = 0;
	reply_check(r);
	char status[4] = {(char)('0' + r->reply.status / 100 % 10), (char)('0' + r->reply.status / 10 % 10),
			  (char)('0' + r->reply.status % 10)};
	struct str lines = buf_str(&r->reply.head), line;
	nv[n++] = pair(":status", 7, status, 3);
	nv[n++] = pair("date", 4, c->w->date, strlen(c->w->date));
	while (n < LINES_MAX && str_take_line(&lines, &line)) {
		ptrdiff_t at = str_find(line, ':');
		char *name = (char *)(uintptr_t)line.p; /* of our own buffer */
		for (ptrdiff_t i = 0; i < at; i++)
			if (name[i] >= 'A' && name[i] <= 'Z')
				name[i] |= 0x20;
		if (at > 0)
			nv[n++] = pair(name, (size_t)at, line.p + at + 2, line.n - (size_t)at - 2);
	}
	nghttp2_data_provider body = {.source.ptr = r, .read_callback = read_body};
	r->submitted = r->sending = true;
	r->reply.begun = true;
	if (ng.submit_response(c->h2->session, r->stream_id, nv, n, reply_at_end(&r->reply) ? NULL : &body) != 0)
		ng.submit_rst_stream(c->h2->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
}

static void refuse(struct conn *c, struct httpd_req *r, int status)
{
	if (!r->head.method.n)
		r->head.method = STR("-");
	r->complete = true;
	COUNT(c->w, malformed, status != 403);
	reply_error(r, status, "");
	submit(c, r);
}

static void call_handler(struct conn *c, struct httpd_req *r)
{
	r->complete = true;
	req_call(r);
	if (r->replied)
		submit(c, r);
}

static void head_is_there(struct conn *c, struct httpd_req *r, bool end)
{
	struct str host = r->head.host;
	conn_limit(c, c->w->h->o.stall_ms);
	int status = r->refused ? r->refused : http_check_head(&r->head, &r->h->limits, &r->a);
	r->head.keep_alive = true;
	if (host.n)
		r->head.host = host;
	r->head.expect_continue = false;
	if (!status && !end)
		status = req_body_plan(r);
	if (status)
		refuse(c, r, status);
	else if (end)
		call_handler(c, r);
}

static int frame_received(nghttp2_session *s, const nghttp2_frame *f, void *ctx)
{
	struct conn *c = ctx;
	struct httpd_req *r = f->hd.stream_id ? ng.session_get_stream_user_data(s, f->hd.stream_id) : NULL;
	bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
	if (!r || r->complete)
		return 0;
	if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST)
		head_is_there(c, r, end);
	else if ((f->hd.type == NGHTTP2_DATA || f->hd.type == NGHTTP2_HEADERS) && end)
		call_handler(c, r);
	return 0;
}

static int data_received(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *ctx)
{
	struct conn *c = ctx;
	struct httpd_req *r = ng.session_get_stream_user_data(s, id);
	(void)flags;
	if (!r || r->complete)
		return 0;
	conn_progress(c, n);
	int status = req_body_put(r, str_of((const char *)p, n));
	if (status)
		refuse(c, r, status);
	return 0;
}

/* Who makes requests only to take them back, or to have us take them back by an error, is cut off: the work was done for nothing. */
static int count_end(struct h2 *h, bool whole, bool ours)
{
	h->served += whole;
	h->resets += !whole && !ours;
	return h->resets > RESETS_MAX && h->resets > h->served ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int stream_closed(nghttp2_session *s, int32_t id, uint32_t error, void *ctx)
{
	struct conn *c = ctx;
	struct httpd_req *r = ng.session_get_stream_user_data(s, id);
	if (!r)
		return 0;
	ng.session_set_stream_user_data(s, id, NULL);
	unlink_req(c->h2, r);
	bool whole = r->submitted && error == NGHTTP2_NO_ERROR && reply_at_end(&r->reply), ours = r->reply.failed;
	if (r->submitted)
		req_done(r, ours || !whole);
	req_leave(r);
	return count_end(c->h2, whole, ours);
}

/* -- the connection ---------------------------------------------------------------------------------------------------------------------- */

static int prepare(struct err *e)
{
	if (ng.session_callbacks_new(&callbacks) != 0)
		return err_new(e, ERR_FAILED, "libnghttp2 cannot be prepared");
	ng.session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
	ng.session_callbacks_set_on_header_callback(callbacks, one_header);
	ng.session_callbacks_set_on_frame_recv_callback(callbacks, frame_received);
	ng.session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_received);
	ng.session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
	return 0;
}

bool h2_is_there(void)
{
	struct err e = ERR_INIT;
	return dl_load(&ng_library, &e) == 0;
}

bool h2_open(struct conn *c)
{
	const struct httpd *h = c->w->h;
	struct h2 *s = xcalloc(1, sizeof(*s));
	nghttp2_option *o = NULL;
	if (ng.option_new(&o) == 0) {
		ng.option_set_max_send_header_block_length(o, 64 << 10);
		/* zypper's User-Agent ends in a blank, which HTTP/2 forbids and HTTP/1 does not mind */
		ng.option_set_no_rfc9113_leading_and_trailing_ws_validation(o, 1);
	}
	int failed = ng.session_server_new2(&s->session, callbacks, c, o);
	ng.option_del(o);
	if (failed) {
		free(s);
		return false;
	}
	c->h2 = s;
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h->o.streams},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)h->limits.head_bytes},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
	};
	return ng.submit_settings(s->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(*settings)) == 0;
}

void h2_close(struct conn *c)
{
	struct h2 *h = c->h2;
	while (h->reqs) {
		struct httpd_req *r = h->reqs;
		unlink_req(h, r);
		req_leave(r);
	}
	nghttp2_session *s = h->session;
	h->session = NULL;
	ng.session_del(s);
	free(h);
	c->h2 = NULL;
}

/* Frames that are ready, some together, so that each record and each send holds more than one. False: broken. */
static bool send_frames(struct conn *c, uint64_t *went)
{
	struct h2 *h = c->h2;
	char *p = c->w->plain;
	while (!c->write_wait && *went < TURN_BYTES) {
		size_t n = 0;
		const uint8_t *frame;
		ssize_t len = 0;
		while (n < ROUND_BYTES - (17 << 10) && (len = ng.session_mem_send(h->session, &frame)) > 0) {
			if ((size_t)len > ROUND_BYTES - n) { /* a large head */
				if (!conn_put(c, p, n) || !conn_put(c, (const char *)frame, (size_t)len))
					return false;
				n = 0;
				continue;
			}
			memcpy(p + n, frame, (size_t)len);
			n += (size_t)len;
		}
		if (len < 0 || (n && !conn_put(c, p, n)) || !conn_flush(c, false))
			return false;
		*went += n;
		if (n == 0)
			return true;
	}
	return true;
}

/* Whether there was any; -1: the connection ends. */
static int receive(struct conn *c, uint64_t *came)
{
	ssize_t n = conn_read(c, c->w->plain, IN_BYTES);
	if (n == -1)
		return 0;
	if (n <= 0 || ng.session_mem_recv(c->h2->session, (const uint8_t *)c->w->plain, (size_t)n) < 0)
		return -1;
	*came += (uint64_t)n;
	return 1;
}

bool h2_run(struct conn *c)
{
	struct h2 *h = c->h2;
	uint64_t went = 0, came = 0;
	int got = 1;
	while (got > 0) {
		if (!send_frames(c, &went))
			return false;
		if (went + came >= TURN_BYTES && !c->write_wait) {
			worker_ready(c->w, c);
			break;
		}
		if (c->write_wait) /* who does not take answers may not ask on */
			break;
		got = receive(c, &came);
	}
	if (got < 0)
		return false;
	if (c->w->stopping && c->requests)
		h2_stop(c);
	bool more = c->write_wait || ng.session_want_write(h->session);
	if (!more && ((h->stopping && h->n == 0) || !ng.session_want_read(h->session))) {
		c->must_drain = true; /* it still says that it took what was sent */
		conn_end(c);
		return true;
	}
	if (h->n == 0 && !c->in_idle) {
		conn_limit(c, c->w->h->o.idle_ms);
		worker_idle(c->w, c, true);
	}
	return true;
}

void h2_replied(struct conn *c, struct httpd_req *r)
{
	submit(c, r);
}

void h2_woken(struct conn *c, struct httpd_req *r)
{
	conn_limit(c, c->w->h->o.stall_ms);
	ng.session_resume_data(c->h2->session, r->stream_id);
}

void h2_stop(struct conn *c)
{
	struct h2 *h = c->h2;
	if (h->stopping)
		return;
	h->stopping = true;
	ng.submit_goaway(h->session, NGHTTP2_FLAG_NONE, ng.session_get_last_proc_stream_id(h->session),
			 NGHTTP2_NO_ERROR, NULL, 0);
}

/* Waits for nobody but the client: for its bytes, or for it to take ours. */
bool h2_waits_for_client(const struct conn *c)
{
	if (c->write_wait)
		return true;
	for (const struct httpd_req *r = c->h2->reqs; r; r = r->next)
		if (!r->complete || (r->submitted && !r->waiting))
			return true;
	return false;
}
