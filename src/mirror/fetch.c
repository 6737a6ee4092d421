// SPDX-License-Identifier: Apache-2.0
#include "mirror/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "base/url.h"

struct fetcher {
	struct upstreams *u;
	struct transfer *t;
	bool cancelled;
};

void fetcher_limit(struct fetcher *f, uint64_t bytes_per_s)
{
	transfer_limit(f->t, bytes_per_s);
}

int fetcher_new(struct mirror *m, struct upstreams *u, uint64_t bytes_per_s, unsigned parallel, struct progress *p,
		struct fetcher **ret, struct err *e)
{
	const struct mirror_config *c = &m->config;
	struct transfer_opts o = TRANSFER_OPTS_INIT;
	auto_ptr(fetcher) f = xcalloc(1, sizeof(*f));
	f->u = u;
	o.max_parallel = o.max_per_host = parallel;
	/* where there is another one to ask, this one is not asked often */
	o.retries = u->n > 1 ? 1 : 3;
	o.connect_timeout_ms = c->connect_ms;
	o.stall_timeout_ms = c->stall_ms;
	o.silence_ms = c->stall_ms * 2;
	o.max_bytes_per_s = bytes_per_s;
	o.min_bytes_per_s = u->n > 1 ? (uint64_t)(c->slow_kbit_per_s * 1000 / 8) : 0;
	o.user_agent = "slipway-mirror";
	o.leave_bytes = c->reserve_bytes;
	o.clock = u->clock;
	o.progress = p;
	if (transfer_new(&o, &f->t, e) < 0)
		return -1;
	*ret = steal_ptr(&f);
	return 0;
}

void fetcher_cancel(struct fetcher *f)
{
	f->cancelled = true;
	transfer_cancel(f->t);
	f->cancelled = false;
}

void fetcher_free(struct fetcher *f)
{
	if (!f)
		return;
	if (f->t)
		fetcher_cancel(f);
	transfer_free(f->t);
	free(f);
}

/* -- addresses ----------------------------------------------------------------------------------------------------- */

static bool is_absolute(struct str url)
{
	return str_search(url, STR("://")) > 0;
}

/* The upstream whose server that is, for its certificate and authority; -1. */
static int owner_of(const struct upstreams *u, struct str url)
{
	struct str origin = url_origin(url);
	for (size_t i = 0; i < u->n && origin.n; i++)
		if (str_eq(url_origin(u->v[i].url), origin))
			return (int)i;
	return -1;
}

/* A URL below the root of an upstream is a path, which others of them have as well. */
static struct str without_root(const struct upstreams *u, struct str url)
{
	for (size_t i = 0; i < u->n; i++) {
		struct str rest = url;
		if (u->v[i].url.n && str_take_str(&rest, u->v[i].url) && str_take_char(&rest, '/') &&
		    !is_absolute(rest))
			return rest;
	}
	return url;
}

/* A folder is what its URL says. */
static void put_root(struct buf *b, struct str url)
{
	if (str_starts(url, STR("/"))) {
		buf_put_c(b, "file://");
		url_put_path(b, url);
	} else {
		buf_put_str(b, url);
	}
}

static char *address_of(const struct get *g, const struct mirror_upstream *v)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(URL_MAX);
	if (!v) {
		buf_put_str(&b, g->url);
		return buf_steal(&b);
	}
	put_root(&b, v->url);
	buf_put_char(&b, '/');
	if (g->url.n) {
		struct str joined = channel_url_join(&a, buf_str(&b), g->url);
		buf_clear(&b);
		buf_put_str(&b, joined);
	} else {
		url_put_path(&b, g->path);
	}
	return buf_steal(&b);
}

/* -- what metadata may tell ----------------------------------------------------------------------------------------- */

static bool has_scheme(struct str url, struct str scheme)
{
	return url.n >= scheme.n && str_casecmp(str_head(url, scheme.n), scheme) == 0;
}

static bool is_not_https(const struct mirror_upstream *v)
{
	return !has_scheme(v->url, STR("https://"));
}

/* An upstream on this machine, as its keeper set it up. */
static bool is_here(const struct mirror_upstream *v)
{
	return upstream_is_here(v->url);
}

static bool is_any(const struct upstreams *u, bool (*is)(const struct mirror_upstream *v))
{
	for (size_t i = 0; i < u->n; i++)
		if (is(&u->v[i]))
			return true;
	return false;
}

/* Where metadata say that a file lies is their author's word, and what is fetched from there is given to clients: it may be on a
 * server, not among files of this machine, which only this process may read; below a folder that is followed; and without TLS
 * only what a digest vouches for, or where an upstream is asked without it. */
static int check_told(const struct get *g, const struct mirror_upstream *v, struct err *e)
{
	auto_buf root = BUF_INIT(URL_MAX);
	struct str to = str_c(g->address);
	if (!g->url.n)
		return 0;
	if (v) {
		put_root(&root, v->url);
		buf_put_char(&root, '/');
		if (!has_scheme(to, STR("file:")) || str_starts(to, buf_str(&root)))
			return 0;
		return err_new(e, ERR_VERIFY, "metadata lead out of the upstream's folder, to '%s': refused",
			       g->address);
	}
	if (has_scheme(to, STR("https://")))
		return 0;
	if (has_scheme(to, STR("http://")))
		return g->digest.known || is_any(g->f->u, is_not_https)
			       ? 0
			       : err_new(e, ERR_VERIFY,
					 "metadata lead to '%s', where neither TLS nor a digest tells what it is: refused",
					 g->address);
	return err_new(e, ERR_VERIFY, "metadata lead to '%s', which is on no server: refused", g->address);
}

/* -- one after the other ------------------------------------------------------------------------------------------- */

static void finish(struct get *g)
{
	free(g->address);
	g->address = NULL;
	g->done(g, g->ctx);
}

static const char *file_or_null(struct str s)
{
	return s.n ? s.p : NULL;
}

static void take_failure(struct get *g)
{
	struct err *e = &g->r.err;
	bool missing = e->code == ERR_NOT_FOUND, wrong = e->code == ERR_VERIFY || e->code == ERR_LIMIT;
	if (!missing && !wrong)
		g->unanswered = true;
	g->wrong |= wrong;
	if (g->upstream >= 0 && !missing && !wrong)
		upstreams_bad(g->f->u, g->upstream, e->msg);
	else if (g->upstream >= 0 && missing)
		upstreams_good(g->f->u, g->upstream, 0, 0);
	/* of several reasons the one that says most: no answer, then wrong bytes, then none */
	if (g->worst.code == ERR_NONE || (!missing && (g->worst.code == ERR_NOT_FOUND || !wrong)))
		g->worst = *e;
}

static void on_done(struct transfer_request *r, void *ctx);
static void go_on(struct get *g);

/* Asks upstream i; -1: the address that the metadata tell. */
static void ask(struct get *g, int i)
{
	struct fetcher *f = g->f;
	const struct mirror_upstream *v = i >= 0 ? &f->u->v[i] : NULL;
	free(g->address);
	g->address = address_of(g, v);
	g->upstream = i;
	if (check_told(g, v, &g->r.err) < 0) {
		take_failure(g);
		go_on(g);
		return;
	}
	if (!v && owner_of(f->u, g->url) >= 0)
		v = &f->u->v[owner_of(f->u, g->url)];
	if (v)
		g->trust = (struct transfer_trust){.ca_file = file_or_null(v->ca),
						   .client_cert = file_or_null(v->certificate),
						   .client_key = file_or_null(v->key)};
	char etag[256];
	memcpy(etag, g->r.etag, sizeof(etag));
	uint64_t have = g->r.have;
	g->r = (struct transfer_request){.url = g->address,
					 .label = g->label,
					 .fd = g->fd,
					 .have = have,
					 .size = g->size,
					 .max_bytes = g->max_bytes,
					 .digest = &g->digest,
					 .trust = v ? &g->trust : NULL,
					 .led = !v && !is_any(f->u, is_here),
					 .accept = g->accept,
					 .done = on_done,
					 .ctx = g};
	if (have) { /* an ETag that is the same there means the same bytes */
		memcpy(g->r.etag, etag, sizeof(etag));
	} else if (g->validators_of >= 0 && g->validators_of == i) {
		memcpy(g->r.etag, g->held_etag, sizeof(etag));
		memcpy(g->r.last_modified, g->held_last_modified, sizeof(g->r.last_modified));
	}
	transfer_add(f->t, &g->r);
}

/* The next upstream, or the end. */
static void go_on(struct get *g)
{
	int i = -1;
	bool elsewhere = is_absolute(g->url);
	if (!elsewhere)
		i = upstreams_choose(g->f->u, g->tried, g->prefer);
	if (!elsewhere && i >= 0) {
		g->tried |= (uint64_t)1 << i;
		ask(g, i);
		return;
	}
	if (elsewhere && !g->tried) {
		g->tried = 1;
		ask(g, -1);
		return;
	}
	g->upstream = -1;
	g->err = g->worst;
	if (g->err.code == ERR_NONE)
		err_new(&g->err, ERR_NETWORK, "no upstream is there to be asked");
	else if (g->unanswered)
		g->err.code = ERR_NETWORK;
	else
		g->err.code = g->wrong ? ERR_VERIFY : ERR_NOT_FOUND;
	finish(g);
}

static bool is_local(const struct err *e)
{
	return e->sys != 0 && e->code != ERR_NETWORK && e->code != ERR_NOT_FOUND;
}

/* What can be gone on with elsewhere is kept. */
static void keep_for_next(struct get *g)
{
	bool resumable = g->digest.known || (g->r.etag[0] && g->r.etag[0] != 'W');
	if (g->r.err.code != ERR_NETWORK || !resumable || !g->r.have) {
		g->r.have = 0;
		g->r.etag[0] = '\0';
		(void)sys_ftruncate(g->fd, 0); /* a failure shows in the next write */
	}
}

static void on_done(struct transfer_request *r, void *ctx)
{
	struct get *g = ctx;
	g->came_bytes += r->came_bytes;
	g->took_ms += r->took_ms;
	if (r->err.code == ERR_NONE) {
		g->err = ERR_INIT;
		g->unchanged = r->status == 304;
		g->got_bytes = r->got_bytes;
		g->max_age_s = r->max_age_s;
		memcpy(g->etag, r->etag, sizeof(g->etag));
		memcpy(g->last_modified, r->last_modified, sizeof(g->last_modified));
		if (g->upstream >= 0)
			upstreams_good(g->f->u, g->upstream, r->came_bytes, r->took_ms);
		finish(g);
		return;
	}
	if (g->f->cancelled || is_local(&r->err)) {
		g->err = r->err;
		g->upstream = -1;
		finish(g);
		return;
	}
	take_failure(g);
	keep_for_next(g);
	if (g->optional && r->err.code == ERR_NOT_FOUND && g->upstream >= 0) {
		g->tried = UINT64_MAX;
		g->unanswered = g->wrong = false;
		g->worst = r->err;
	}
	go_on(g);
}

void fetcher_add(struct fetcher *f, struct get *g)
{
	g->f = f;
	g->url = without_root(f->u, g->url);
	g->err = g->worst = ERR_INIT;
	g->unchanged = g->unanswered = g->wrong = false;
	g->tried = g->got_bytes = g->came_bytes = 0;
	g->took_ms = 0;
	g->upstream = -1;
	g->address = NULL;
	memcpy(g->held_etag, g->etag, sizeof(g->held_etag));
	memcpy(g->held_last_modified, g->last_modified, sizeof(g->held_last_modified));
	g->r = (struct transfer_request){.have = g->digest.known ? g->have : 0};
	go_on(g);
}

int fetcher_step(struct fetcher *f, int wait_ms, struct err *e)
{
	return transfer_step(f->t, wait_ms, e);
}
