// SPDX-License-Identifier: Apache-2.0
/* A request, as its handler sees it. */
#include <errno.h>

#include "base/fs.h"
#include "httpd/server.h"

enum { CLIENT_LEFT = 499 };

struct httpd_req *req_new(struct conn *c)
{
	struct httpd_req *r = xcalloc(1, sizeof(*r));
	r->h = c->w->h;
	r->w = c->w;
	r->conn = c;
	atomic_init(&r->holders, 1);
	r->peer = c->peer;
	r->listener = c->listener;
	r->tls = c->ssl != NULL;
	r->body = BUF_INIT(0);
	r->reply.fd = -1;
	r->reply.head = BUF_INIT(1 << 20);
	if (c->cert) {
		r->cert = c->cert;
		atomic_fetch_add(&c->cert->holders, 1);
	}
	atomic_fetch_add(&r->h->holders, 1);
	r->begin_ms = worker_now(c->w);
	r->begin_wall_ms = r->h->o.clock->wall_ms(r->h->o.clock);
	return r;
}

void req_drop(struct httpd_req *r)
{
	if (!r || atomic_fetch_sub(&r->holders, 1) != 1)
		return;
	reply_release(r);
	buf_release(&r->body);
	arena_release(&r->a);
	peer_cert_drop(r->cert);
	httpd_drop(r->h);
	free(r);
}

void req_call(struct httpd_req *r)
{
	r->in_handler = true;
	r->thread = pthread_self();
	atomic_fetch_add(&r->holders, 1); /* the handler's, gone with its reply */
	r->h->o.handler(r, r->h->o.ctx);
	r->in_handler = false;
	if (!r->replied) {
		r->deferred = true;
		COUNT(r->w, waiting, 1);
	}
}

void req_done(struct httpd_req *r, bool cut)
{
	struct worker *w = r->w;
	struct httpd *h = r->h;
	if (r->deferred) {
		r->deferred = false;
		COUNT(w, waiting, -1);
	}
	COUNT(w, requests, 1);
	if (r->head.version == 20)
		COUNT(w, http2, 1);
	/* what has no reply yet may be given one at this moment, by another thread */
	int status = r->submitted ? r->reply.status : CLIENT_LEFT;
	uint64_t sent = r->submitted ? r->reply.sent : 0;
	r->done = true;
	if (status >= 100 && status < 600)
		COUNT(w, status[status / 100], 1);
	if (cut)
		COUNT(w, cut, 1);
	COUNT(w, body_bytes, sent);
	COUNT(w, received_bytes, r->body_n);
	if (!h->o.record)
		return;
	struct str agent = STR_NONE;
	httpd_header(r, "user-agent", &agent);
	struct httpd_record rec = {
		.method = r->head.method,
		.target = r->head.target,
		.peer = httpd_peer(r),
		.client = httpd_client(r),
		.user_agent = agent,
		.status = status,
		.version = r->head.version,
		.cut = cut,
		.body_bytes = sent,
		.wall_ms = r->begin_wall_ms,
		.duration_ms = worker_now(w) - r->begin_ms,
	};
	h->o.record(&rec, h->o.ctx);
}

void req_leave(struct httpd_req *r)
{
	if (!r->done && (r->submitted || r->deferred))
		req_done(r, true);
	if (r->submitted && r->reply.stream)
		stream_leave(r->reply.stream, r);
	atomic_store(&r->gone, true);
	r->conn = NULL;
	req_drop(r);
}

/* -- its body ------------------------------------------------------------------------------------------------------------- */

int req_body_plan(struct httpd_req *r)
{
	r->want = (struct httpd_body){.max_bytes = r->h->o.body_bytes, .fd = -1};
	int status = r->h->o.body ? r->h->o.body(r, &r->want, r->h->o.ctx) : 0;
	if (status)
		return status;
	if (r->want.fd < 0 && r->want.max_bytes > HTTPD_BODY_MEMORY_MAX)
		r->want.max_bytes = HTTPD_BODY_MEMORY_MAX;
	r->body = BUF_INIT(r->want.max_bytes);
	return r->head.length > r->want.max_bytes ? 413 : 0;
}

int req_body_put(struct httpd_req *r, struct str data)
{
	struct err e = ERR_INIT;
	if (data.n > r->want.max_bytes - r->body_n)
		return 413;
	r->body_n += data.n;
	if (r->want.fd < 0)
		buf_put_str(&r->body, data);
	else if (fs_write_all(r->want.fd, data.p, data.n, "body", &e) < 0)
		return e.sys == ENOSPC || e.sys == EDQUOT ? 507 : 500;
	return 0;
}

/* -- what the handler asks -------------------------------------------------------------------------------------------------- */

struct str httpd_method(const struct httpd_req *r)
{
	return r->head.method;
}

struct str httpd_path(const struct httpd_req *r)
{
	return r->head.path;
}

struct str httpd_query(const struct httpd_req *r)
{
	return r->head.query;
}

bool httpd_query_value(struct httpd_req *r, const char *name, struct str *ret)
{
	struct str rest = r->head.query, one;
	while (rest.n) {
		if (!str_take_until(&rest, '&', &one)) {
			one = rest;
			rest = STR_NONE;
		}
		struct str value = STR(""), key = one;
		ptrdiff_t at = str_find(one, '=');
		if (at >= 0) {
			key = str_head(one, (size_t)at);
			value = str_skip(one, (size_t)at + 1);
		}
		if (str_eq_c(key, name))
			return http_unescape(value, &r->a, ret);
	}
	return false;
}

bool httpd_header(const struct httpd_req *r, const char *name, struct str *ret)
{
	struct str want = str_c(name);
	for (size_t i = 0; i < r->head.header_n; i++)
		if (str_eq(r->head.header[i].name, want)) {
			*ret = r->head.header[i].value;
			return true;
		}
	return false;
}

const struct httpd_header *httpd_headers(const struct httpd_req *r, size_t *ret_n)
{
	*ret_n = r->head.header_n;
	return r->head.header;
}

struct str httpd_host(const struct httpd_req *r)
{
	return r->head.host;
}

struct str httpd_body(const struct httpd_req *r, uint64_t *ret_n)
{
	if (ret_n)
		*ret_n = r->body_n;
	return buf_str(&r->body);
}

struct str httpd_peer(const struct httpd_req *r)
{
	return str_c(r->peer.text);
}

const struct httpd_client *httpd_client(const struct httpd_req *r)
{
	return r->cert ? &r->cert->client : NULL;
}

size_t httpd_listener(const struct httpd_req *r)
{
	return r->listener;
}

bool httpd_is_tls(const struct httpd_req *r)
{
	return r->tls;
}

bool httpd_is_gone(const struct httpd_req *r)
{
	return atomic_load(&r->gone);
}
