// SPDX-License-Identifier: Apache-2.0
/*
 * A connection: bytes in and out, plain or encrypted, its deadlines, and HTTP/1. It runs as far as it can whenever something has happened (epoll is
 * edge-triggered: a connection asks the kernel until it says no), and at most TURN_BYTES at once, so that others have their turn.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include "httpd/server.h"

enum {
	DRAIN_MS = 2000,
	FIRST_MS = 1000,
	DRAIN_BYTES = 256 << 10,
	CHUNK_HEAD = 8,
	SENDFILE_BYTES = 1 << 20,
	TURN_STEPS = 64
};
static const uint32_t EVENTS_IN = EPOLLIN | EPOLLRDHUP | EPOLLET;
enum step { STEP_GO, STEP_WAIT, STEP_CLOSE, STEP_MORE /* bytes are needed */ };

/* -- bytes --------------------------------------------------------------------------------------------------------------------- */

/* What is left of the worker's buffer becomes the connection's own. */
static void keep_out(struct conn *c, const char *p, size_t n)
{
	if (c->out.max == 0)
		c->out = BUF_INIT(BUF_MAX);
	buf_put(&c->out, p, n);
}

void conn_tx(struct conn *c, const char *p, size_t n)
{
	struct worker *w = c->w;
	if (c->out.n) {
		keep_out(c, p, n);
	} else if (w->tx_n + n <= TX_BYTES) {
		memcpy(w->tx + w->tx_n, p, n);
		w->tx_n += n;
	} else {
		keep_out(c, w->tx, w->tx_n);
		w->tx_n = 0;
		keep_out(c, p, n);
	}
}

/* The kernel takes no more: epoll is to say when it does. Most connections never get here. */
static void block(struct conn *c)
{
	struct epoll_event ev = {.events = EVENTS_IN | EPOLLOUT, .data.ptr = c};
	c->write_wait = true;
	if (!c->armed && epoll_ctl(c->w->ep, EPOLL_CTL_MOD, c->fd, &ev) == 0)
		c->armed = true;
}

/* How many went; -1: broken. */
static ssize_t push(struct conn *c, const char *p, size_t n, bool more)
{
	size_t done = 0;
	while (done < n && !c->write_wait) {
		ssize_t went = send(c->fd, p + done, n - done, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
		if (went >= 0)
			done += (size_t)went;
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			block(c);
		else if (errno != EINTR)
			return -1;
	}
	if (done && c->state != CONN_H2) /* there only bodies count: answers to PING would go on for ever */
		conn_progress(c, done);
	return (ssize_t)done;
}

bool conn_flush(struct conn *c, bool more)
{
	struct worker *w = c->w;
	if (c->out.n) {
		ssize_t n = push(c, c->out.p + c->out_at, c->out.n - c->out_at, more);
		if (n < 0)
			return false;
		c->out_at += (size_t)n;
		if (c->out_at == c->out.n) {
			buf_release(&c->out);
			c->out_at = 0;
		}
	} else if (w->tx_n) {
		ssize_t n = push(c, w->tx, w->tx_n, more);
		if (n >= 0 && (size_t)n < w->tx_n)
			keep_out(c, w->tx + n, w->tx_n - (size_t)n);
		w->tx_n = 0;
		return n >= 0;
	}
	return true;
}

bool conn_put(struct conn *c, const char *p, size_t n)
{
	if (c->ssl)
		return tls_conn_write(c, p, n) == TLS_DONE;
	conn_tx(c, p, n);
	return true;
}

static ssize_t read_plain(struct conn *c, char *p, size_t n)
{
	while (!c->drained) {
		ssize_t got = recv(c->fd, p, n, 0);
		if (got >= 0) {
			c->drained = got > 0 && (size_t)got < n && !c->hung_up;
			return got;
		}
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			c->drained = true;
		else if (errno != EINTR)
			return -2;
	}
	return -1;
}

ssize_t conn_read(struct conn *c, char *p, size_t n)
{
	size_t got;
	if (!c->ssl)
		return read_plain(c, p, n);
	switch (tls_conn_read(c, p, n, &got)) {
	case TLS_DONE:
		return (ssize_t)got;
	case TLS_AGAIN:
		return -1;
	case TLS_EOF:
		return 0;
	case TLS_FAILED:
	default:
		return -2;
	}
}

/* -- time ------------------------------------------------------------------------------------------------------------------------ */

void conn_limit(struct conn *c, int64_t ms)
{
	c->deadline_ms = ms ? c->w->now_ms + ms : 0;
	c->rate_from_ms = c->w->now_ms;
	c->rate_bytes = 0;
}

void conn_progress(struct conn *c, uint64_t n)
{
	c->rate_bytes += n;
	if (c->state == CONN_DRAIN)
		c->deadline_ms = c->w->now_ms + DRAIN_MS;
	else if (c->deadline_ms && (c->state == CONN_BODY || c->state == CONN_SEND || c->state == CONN_H2))
		c->deadline_ms = c->w->now_ms + c->w->h->o.stall_ms;
}

/* The kernel takes bytes long before the client does: what it could hand on meanwhile is progress too. */
static void look_at_queue(struct conn *c)
{
	int n = 0;
	if (ioctl(c->fd, SIOCOUTQ, &n) < 0)
		return;
	if (n < c->unacknowledged)
		conn_progress(c, (uint64_t)(c->unacknowledged - n));
	c->unacknowledged = n;
}

static bool too_slow(struct conn *c)
{
	const struct httpd_opts *o = &c->w->h->o;
	int64_t ms = c->w->now_ms - c->rate_from_ms;
	if (c->state != CONN_BODY && !(c->state == CONN_SEND && c->write_wait) &&
	    !(c->state == CONN_H2 && c->write_wait))
		return false;
	if (ms < o->stall_ms)
		return false;
	bool slow = c->rate_bytes < (uint64_t)o->rate_bytes * (uint64_t)ms / 1000;
	c->rate_from_ms = c->w->now_ms;
	c->rate_bytes = 0;
	return slow;
}

void conn_time(struct conn *c)
{
	if (!c->deadline_ms)
		return;
	if (c->write_wait || c->state == CONN_DRAIN)
		look_at_queue(c);
	if (c->w->now_ms < c->deadline_ms && !too_slow(c))
		return;
	if (c->state == CONN_H2 && !c->in_idle && !h2_waits_for_client(c)) {
		conn_limit(c, c->w->h->o.stall_ms);
		return;
	}
	if (!c->in_idle && c->state != CONN_DRAIN)
		COUNT(c->w, timeouts, 1);
	conn_free(c);
}

/* -- HTTP/1: sending -------------------------------------------------------------------------------------------------------------- */

static void put_text(char *p, size_t *n, const char *text)
{
	size_t len = strlen(text);
	memcpy(p + *n, text, len);
	*n += len;
}

static bool is_chunked(const struct httpd_req *r)
{
	return r->reply.unsized && r->head.version == 11 && !r->reply.no_body;
}

/* Into p of at least HEAD_MAX bytes. */
static size_t write_head(struct conn *c, struct httpd_req *r, char *p)
{
	struct reply *re = &r->reply;
	struct worker *w = c->w;
	size_t n = 0;
	char line[] = "HTTP/1.1 000 ";
	line[9] = (char)('0' + re->status / 100 % 10);
	line[10] = (char)('0' + re->status / 10 % 10);
	line[11] = (char)('0' + re->status % 10);
	if (!r->head.keep_alive || atomic_load(&w->h->stopping) || (re->unsized && !is_chunked(r) && !re->no_body) ||
	    (w->h->o.requests && c->requests >= w->h->o.requests))
		re->close = true;
	put_text(p, &n, line);
	put_text(p, &n, http_reason(re->status));
	put_text(p, &n, "\r\nDate: ");
	put_text(p, &n, w->date);
	put_text(p, &n, "\r\n");
	memcpy(p + n, re->head.p, re->head.n);
	n += re->head.n;
	if (is_chunked(r))
		put_text(p, &n, "Transfer-Encoding: chunked\r\n");
	if (re->close)
		put_text(p, &n, "Connection: close\r\n");
	else if (r->head.version == 10)
		put_text(p, &n, "Connection: keep-alive\r\n");
	put_text(p, &n, "\r\n");
	return n;
}

/* The reply breaks off: the client must not take what it has for the whole. */
static enum step cut(struct conn *c)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	c->req->reply.failed = true;
	return STEP_CLOSE;
}

void conn_end(struct conn *c)
{
	if (c->ssl)
		tls_conn_close(c->ssl, true);
	c->drain_left = DRAIN_BYTES;
	c->state = CONN_DRAIN;
	conn_limit(c, DRAIN_MS);
}

static enum step finish(struct conn *c)
{
	struct httpd_req *r = c->req;
	bool close = r->reply.close;
	c->must_drain |= r->head.keep_alive; /* it may have sent more, not knowing */
	req_done(r, false);
	req_leave(r);
	c->req = NULL;
	c->scanned = 0;
	conn_limit(c, 0);
	if (close)
		conn_end(c);
	else
		c->state = CONN_HEAD;
	return STEP_GO;
}

/* Frames what reply_read has given at p + CHUNK_HEAD; returns where it begins. */
static char *frame(char *p, size_t *n, bool end)
{
	static const char digits[] = "0123456789abcdef";
	char *from = p;
	if (*n) {
		for (int i = 0; i < 6; i++)
			p[i] = digits[*n >> (20 - 4 * i) & 15];
		memcpy(p + 6, "\r\n", 2);
		memcpy(p + CHUNK_HEAD + *n, "\r\n", 2);
		*n += CHUNK_HEAD + 2;
	}
	if (end) {
		memcpy(p + *n, "0\r\n\r\n", 5);
		*n += 5;
	}
	return from;
}

/* STEP_GO: some went. */
static enum step send_file(struct conn *c, int fd, uint64_t at, uint64_t there, uint64_t *went)
{
	off_t from = (off_t)at;
	/* style: allow sys: to a socket */
	ssize_t n = sendfile(c->fd, fd, &from, there < SENDFILE_BYTES ? (size_t)there : SENDFILE_BYTES);
	if (n > 0) {
		reply_advance(&c->req->reply, (uint64_t)n);
		conn_progress(c, (uint64_t)n);
		*went += (uint64_t)n;
		return STEP_GO;
	}
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		block(c);
		return STEP_WAIT;
	}
	return n < 0 && errno == EINTR ? STEP_GO : cut(c);
}

/* Waits for the producer: no limit of time, and what it takes is not the client's slowness. */
static enum step wait_for_more(struct conn *c)
{
	if (!conn_flush(c, false))
		return STEP_CLOSE;
	conn_limit(c, c->write_wait ? c->w->h->o.stall_ms : 0);
	return c->hung_up ? STEP_CLOSE : STEP_WAIT;
}

/* n bytes of the head stand in the worker's buffer; what follows of the body comes behind them, and all of it goes. */
static enum step send_copy(struct conn *c, size_t n, uint64_t *went)
{
	struct httpd_req *r = c->req;
	char *p = c->w->plain;
	bool chunked = is_chunked(r);
	size_t room = ROUND_BYTES - n, extra = chunked ? CHUNK_HEAD : 0;
	ssize_t got = reply_read(r, p + n + extra, room);
	if (got == -1) {
		if (n)
			conn_put(c, p, n);
		return cut(c);
	}
	bool wait = got == -2, end = reply_at_end(&r->reply);
	size_t size = wait ? 0 : (size_t)got;
	if (chunked)
		frame(p + n, &size, end);
	if (n + size && !conn_put(c, p, n + size))
		return STEP_CLOSE;
	*went += size;
	if (wait)
		return wait_for_more(c);
	return conn_flush(c, false) ? STEP_GO : STEP_CLOSE;
}

static enum step send_round(struct conn *c, uint64_t *went)
{
	struct httpd_req *r = c->req;
	size_t n = 0;
	if (!r->reply.begun) {
		r->reply.begun = true;
		conn_limit(c, c->w->h->o.stall_ms);
		n = write_head(c, r, c->w->plain);
	}
	if (reply_at_end(&r->reply)) {
		if (n && !conn_put(c, c->w->plain, n))
			return STEP_CLOSE;
		return conn_flush(c, false) ? STEP_GO : STEP_CLOSE;
	}
	if (c->ssl || is_chunked(r))
		return send_copy(c, n, went);
	uint64_t at, there;
	bool failed;
	int fd = reply_source(r, &at, &there, &failed);
	if (failed)
		return cut(c);
	if (fd < 0)
		return send_copy(c, n, went);
	if (n && (!conn_put(c, c->w->plain, n) || !conn_flush(c, there > 0)))
		return STEP_CLOSE;
	if (there == 0)
		return wait_for_more(c);
	return c->write_wait ? STEP_WAIT : send_file(c, fd, at, there, went);
}

static enum step step_send(struct conn *c)
{
	uint64_t went = 0;
	while (!c->write_wait && (!c->req->reply.begun || !reply_at_end(&c->req->reply))) {
		if (!c->deadline_ms && c->req->reply.begun)
			conn_limit(c, c->w->h->o.stall_ms);
		enum step s = send_round(c, &went);
		if (s != STEP_GO)
			return s;
		if (went >= TURN_BYTES && !c->write_wait) {
			worker_ready(c->w, c);
			return STEP_WAIT;
		}
	}
	return c->write_wait ? STEP_WAIT : finish(c);
}

/* -- HTTP/1: receiving ---------------------------------------------------------------------------------------------------------------- */

static enum step begin_send(struct conn *c)
{
	struct httpd_req *r = c->req;
	reply_check(r);
	r->submitted = true;
	c->state = CONN_SEND;
	return STEP_GO;
}

static enum step refuse(struct conn *c, int status)
{
	reply_error(c->req, status, "");
	c->req->reply.close = true;
	c->must_drain = true;
	COUNT(c->w, malformed, status != 403);
	return begin_send(c);
}

static enum step call_handler(struct conn *c)
{
	c->state = CONN_HANDLER;
	conn_limit(c, 0);
	req_call(c->req);
	return c->req->replied ? begin_send(c) : STEP_WAIT;
}

static enum step begin_request(struct conn *c, struct str head)
{
	struct worker *w = c->w;
	worker_idle(w, c, false);
	struct httpd_req *r = c->req = req_new(c);
	c->requests++;
	char *copy = arena_strdup(&r->a, head);
	int status = http_parse_head(copy, head.n, &w->h->limits, &r->a, &r->head);
	if (status) {
		r->head.method = r->head.method.n ? r->head.method : STR("-");
		r->head.target = r->head.target.n ? r->head.target : STR("-");
		return refuse(c, status);
	}
	if (!r->head.chunked && !r->head.length)
		return call_handler(c);
	status = req_body_plan(r);
	if (status)
		return refuse(c, status);
	c->chunks = (struct http_chunks){0};
	c->body_left = r->head.length;
	c->state = CONN_BODY;
	conn_limit(c, w->h->o.stall_ms);
	if (r->head.expect_continue && c->in.n == c->in_at &&
	    (!conn_put(c, "HTTP/1.1 100 Continue\r\n\r\n", 25) || !conn_flush(c, false)))
		return STEP_CLOSE;
	return STEP_GO;
}

static void use_in(struct conn *c, size_t n)
{
	c->in_at += n;
	c->scanned = 0;
	if (c->in_at == c->in.n) {
		buf_release(&c->in);
		c->in_at = 0;
	}
}

static void keep_in(struct conn *c, struct str rest)
{
	if (c->in.max == 0)
		c->in = BUF_INIT(BUF_MAX); /* bounded by who calls: a head, and what one read gives */
	if (c->in_at) {
		memmove(c->in.p, c->in.p + c->in_at, c->in.n - c->in_at);
		buf_truncate(&c->in, c->in.n - c->in_at);
		c->in_at = 0;
	}
	if (rest.n)
		buf_put_str(&c->in, rest);
}

static bool had_enough(struct conn *c, struct str in)
{
	const struct http_limits *l = &c->w->h->limits;
	return in.n > l->head_bytes;
}

/* A head that never ends, or whose first line does not. */
static enum step refuse_long(struct conn *c, struct str in)
{
	struct httpd_req *r = c->req = req_new(c);
	worker_idle(c->w, c, false);
	r->head = (struct http_head){.method = STR("-"), .target = STR("-"), .version = 11};
	return refuse(c, memchr(in.p, '\n', in.n) ? 431 : 414);
}

static struct str skip_empty_lines(struct str in)
{
	while (in.n >= 2 && in.p[0] == '\r' && in.p[1] == '\n')
		in = str_skip(in, 2);
	return in;
}

/* Looks for a head in what is there: STEP_MORE where there is none yet, else what the request asks for. */
static enum step take_head(struct conn *c, struct str in, bool kept)
{
	struct str rest = skip_empty_lines(in);
	size_t skipped = in.n - rest.n;
	c->scanned = c->scanned > skipped ? c->scanned - skipped : 0;
	size_t n = http_head_end(rest, &c->scanned);
	if (n) {
		struct str head = str_head(rest, n);
		if (kept) {
			auto_free char *copy = str_dup(head); /* the buffer goes on */
			use_in(c, skipped + n);
			return begin_request(c, str_of(copy, n));
		}
		c->scanned = 0;
		if (rest.n > n)
			keep_in(c, str_skip(rest, n));
		return begin_request(c, head);
	}
	if (had_enough(c, rest))
		return refuse_long(c, rest);
	if (!kept && rest.n)
		keep_in(c, rest);
	else if (kept && skipped)
		use_in(c, skipped);
	return STEP_MORE;
}

static enum step wait_for_head(struct conn *c)
{
	const struct httpd_opts *o = &c->w->h->o;
	bool empty = c->in.n == c->in_at;
	if (empty && c->w->stopping && c->requests)
		return STEP_CLOSE;
	if (empty && !c->in_idle) {
		conn_limit(c, c->w->stopping ? FIRST_MS : o->idle_ms);
		worker_idle(c->w, c, true);
	} else if (!empty && c->in_idle) {
		worker_idle(c->w, c, false);
		conn_limit(c, o->header_ms);
	} else if (!c->deadline_ms) {
		conn_limit(c, o->header_ms);
	}
	return STEP_WAIT;
}

static enum step step_head(struct conn *c)
{
	if (c->write_wait)
		return STEP_WAIT;
	if (c->in.n > c->in_at && !c->scanned) { /* pipelined */
		enum step s = take_head(c, str_skip(buf_str(&c->in), c->in_at), true);
		if (s != STEP_MORE)
			return s;
	}
	for (;;) {
		ssize_t n = conn_read(c, c->w->plain, IN_BYTES);
		if (n == -1)
			return wait_for_head(c);
		if (n <= 0)
			return STEP_CLOSE;
		struct str got = str_of(c->w->plain, (size_t)n);
		bool kept = c->in.n > c->in_at;
		if (kept) {
			keep_in(c, got);
			got = buf_str(&c->in);
		}
		enum step s = take_head(c, got, kept);
		if (s != STEP_MORE)
			return s;
	}
}

/* What of `in` belongs to the body. 0: more is to come; 1: all is there; else the status to refuse with. */
static int take_body(struct conn *c, struct str *in)
{
	struct httpd_req *r = c->req;
	int status = 0;
	if (!r->head.chunked) {
		struct str data = str_head(*in, c->body_left < in->n ? (size_t)c->body_left : in->n);
		*in = str_skip(*in, data.n);
		c->body_left -= data.n;
		status = req_body_put(r, data);
		return status ? status : c->body_left == 0;
	}
	struct str data;
	int more;
	while ((more = http_chunk(&c->chunks, in, &data)) == 1)
		if ((status = req_body_put(r, data)))
			return status;
	return more < 0 ? 400 : c->chunks.at == CHUNK_DONE;
}

static enum step step_body(struct conn *c)
{
	for (uint64_t taken = 0; taken < TURN_BYTES;) {
		bool kept = c->in.n > c->in_at;
		struct str in = str_skip(buf_str(&c->in), c->in_at);
		if (!kept) {
			ssize_t n = conn_read(c, c->w->plain, IN_BYTES);
			if (n == -1)
				return STEP_WAIT;
			if (n <= 0)
				return STEP_CLOSE;
			in = str_of(c->w->plain, (size_t)n);
		}
		size_t all = in.n;
		int result = take_body(c, &in);
		conn_progress(c, all - in.n);
		taken += all;
		if (kept)
			use_in(c, all - in.n);
		else if (in.n)
			keep_in(c, in);
		if (result > 1)
			return refuse(c, result);
		if (result == 1)
			return call_handler(c);
	}
	worker_ready(c->w, c);
	return STEP_WAIT;
}

/* -- the rest of its life ----------------------------------------------------------------------------------------------------------------- */

static enum step step_handshake(struct conn *c)
{
	enum tls_result t = tls_conn_handshake(c);
	if (t != TLS_DONE && !conn_flush(c, false)) /* when it is done, a ticket goes with the first reply */
		return STEP_CLOSE;
	if (t == TLS_AGAIN)
		return STEP_WAIT;
	if (t != TLS_DONE) {
		COUNT(c->w, handshakes_failed, 1);
		c->must_drain = true; /* so that the client reads why */
		c->drain_left = DRAIN_BYTES;
		c->state = CONN_DRAIN;
		conn_limit(c, DRAIN_MS);
		return STEP_GO;
	}
	conn_limit(c, c->w->stopping ? FIRST_MS : c->w->h->o.header_ms);
	c->state = CONN_HEAD;
	if (c->is_h2) {
		c->state = CONN_H2;
		return h2_open(c) ? STEP_GO : STEP_CLOSE;
	}
	return STEP_GO;
}

/* Closing with unread bytes would reset the connection, and what was said with it. */
static enum step step_drain(struct conn *c)
{
	if (!conn_flush(c, false))
		return STEP_CLOSE;
	if (c->write_wait)
		return STEP_WAIT;
	if (c->drain_left == DRAIN_BYTES) {
		shutdown(c->fd, SHUT_WR);
		c->drain_left--;
		if (!c->must_drain)
			return STEP_CLOSE;
	}
	for (;;) {
		ssize_t n = read_plain(c, c->w->plain, IN_BYTES);
		if (n == -1)
			return STEP_WAIT;
		if (n <= 0 || (uint64_t)n >= c->drain_left)
			return STEP_CLOSE;
		c->drain_left -= (uint64_t)n;
	}
}

static enum step step(struct conn *c)
{
	switch (c->state) {
	case CONN_HANDSHAKE:
		return step_handshake(c);
	case CONN_HEAD:
		return step_head(c);
	case CONN_BODY:
		return step_body(c);
	case CONN_HANDLER:
		return c->hung_up ? STEP_CLOSE : STEP_WAIT;
	case CONN_SEND:
		return step_send(c);
	case CONN_DRAIN:
		return step_drain(c);
	case CONN_H2:
	default:
		if (!h2_run(c))
			return STEP_CLOSE;
		return c->state == CONN_DRAIN ? STEP_GO : STEP_WAIT;
	}
}

void conn_run(struct conn *c)
{
	enum step s = STEP_GO;
	if (c->write_wait == false && !conn_flush(c, false))
		s = STEP_CLOSE;
	for (int n = 0; s == STEP_GO && n < TURN_STEPS; n++)
		s = step(c);
	if (s == STEP_GO) /* a pipeline without end: others have their turn */
		worker_ready(c->w, c);
	if (s == STEP_CLOSE || !conn_flush(c, false))
		conn_free(c);
}

void conn_events(struct conn *c, uint32_t events)
{
	if (c->dead)
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->drained = false;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->hung_up = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		c->write_wait = false;
	conn_run(c);
}

void conn_new(struct worker *w, int fd, uint8_t listener, struct tls_ctx *tls, const struct peer *peer)
{
	struct conn *c = xcalloc(1, sizeof(*c));
	c->fd = fd;
	c->w = w;
	c->listener = listener;
	c->peer = *peer;
	c->in = c->out = BUF_INIT(0);
	c->tls = tls;
	c->state = tls ? CONN_HANDSHAKE : CONN_HEAD;
	c->drained = true; /* until epoll says something */
	c->next = w->conns;
	if (c->next)
		c->next->prev = c;
	w->conns = c;
	w->conn_n++;
	conn_limit(c, w->h->o.header_ms);
	worker_idle(w, c, true); /* until it asks for something */
	COUNT(w, connections, 1);
	struct epoll_event ev = {.events = EVENTS_IN, .data.ptr = c};
	if (tls) {
		COUNT(w, connections_tls, 1);
		c->ssl = tls_conn_open(c, tls);
	}
	if ((tls && !c->ssl) || epoll_ctl(w->ep, EPOLL_CTL_ADD, fd, &ev) < 0)
		conn_free(c);
}

void conn_free(struct conn *c)
{
	struct worker *w = c->w;
	if (c->dead)
		return;
	c->dead = true;
	worker_idle(w, c, false);
	if (c->h2)
		h2_close(c);
	if (c->req)
		req_leave(c->req);
	c->req = NULL;
	w->tx_n = 0; /* what it still had to say */
	*(c->prev ? &c->prev->next : &w->conns) = c->next;
	if (c->next)
		c->next->prev = c->prev;
	w->conn_n--;
	if (c->ssl)
		tls_conn_close(c->ssl, false);
	c->ssl = NULL;
	tls_ctx_drop(c->tls);
	peer_cert_drop(c->cert);
	peer_leave(w->h, &c->peer);
	buf_release(&c->in);
	buf_release(&c->out);
	cleanup_fd(&c->fd);
	if (!c->readied) {
		c->ready_next = w->gone;
		w->gone = c;
	} /* else the worker finds it dead among those that are ready */
}

void conn_stop(struct conn *c, bool now)
{
	if (now) {
		conn_free(c);
	} else if (c->in_idle && !c->requests) {
		conn_limit(c, FIRST_MS); /* its request may be on its way, and nobody sends it twice */
	} else if (c->state == CONN_H2) {
		h2_stop(c);
		conn_run(c);
	} else if (c->in_idle) {
		if (c->ssl)
			tls_conn_close(c->ssl, true);
		conn_flush(c, false);
		conn_free(c);
	}
}

void conn_replied(struct conn *c, struct httpd_req *r)
{
	if (c->state == CONN_H2) {
		h2_replied(c, r);
		conn_run(c);
	} else if (c->req == r && c->state == CONN_HANDLER) {
		begin_send(c);
		conn_run(c);
	}
}

void conn_woken(struct conn *c, struct httpd_req *r)
{
	if (c->state == CONN_H2)
		h2_woken(c, r);
	conn_run(c);
}
