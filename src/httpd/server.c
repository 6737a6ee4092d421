// SPDX-License-Identifier: Apache-2.0
/* A server from start to stop. */
#include "httpd/server.h"

#include <errno.h>
#include <sys/random.h>

static void set_limits(struct httpd *h)
{
	struct httpd_opts *o = &h->o;
	const struct {
		uint32_t *at, value;
	} defaults[] = {
		{&o->connections, 20000},    {&o->header_bytes, 16 << 10}, {&o->headers, 100},
		{&o->target_bytes, 8 << 10}, {&o->streams, 100},	   {&o->header_ms, 15000},
		{&o->idle_ms, 75000},	     {&o->stall_ms, 60000},	   {&o->rate_bytes, 256},
	};
	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
		if (!*defaults[i].at)
			*defaults[i].at = defaults[i].value;
	if (!o->body_bytes)
		o->body_bytes = 64 << 10;
	if (!o->clock)
		o->clock = &clock_system;
	h->limits = (struct http_limits){o->header_bytes, o->headers, o->target_bytes};
	if (o->connections_per_peer)
		h->per_peer = xcalloc(PEER_SLOTS, sizeof(*h->per_peer));
	if (getrandom(&h->peer_seed, sizeof(h->peer_seed), GRND_NONBLOCK) < 0)
		h->peer_seed = (uint64_t)(uintptr_t)h;
}

static int open_listeners(struct httpd *h, const struct httpd_opts *o, struct err *e)
{
	for (size_t i = 0; i < o->listen_n; i++)
		h->listen[i].fd = o->listen[i].fd;
	h->listen_n = o->listen_n;
	for (size_t i = 0; i < o->listen_n; i++) {
		struct listener *l = &h->listen[i];
		if (listen_open(&o->listen[i], &l->fd, e) < 0)
			return -1;
		l->is_ip = httpd_port(h, i) != 0;
		l->is_tls = o->listen[i].tls != NULL;
		if (o->listen[i].tls && tls_ctx_new(o->listen[i].tls, &l->tls, e) < 0)
			return err_ctx(e, "listener %zu", i);
	}
	return 0;
}

static unsigned thread_count(const struct httpd_opts *o)
{
	long n = o->threads ? (long)o->threads : sysconf(_SC_NPROCESSORS_ONLN);
	return n < 1 ? 1 : n > 256 ? 256 : (unsigned)n;
}

int httpd_start(const struct httpd_opts *o, struct httpd **ret, struct err *e)
{
	if (o->listen_n == 0 || o->listen_n > HTTPD_LISTEN_MAX || !o->handler)
		return err_new(e, ERR_USAGE, "a server needs a handler, and 1 to %d listeners", HTTPD_LISTEN_MAX);
	auto_ptr(httpd) h = xcalloc(1, sizeof(*h));
	atomic_init(&h->holders, 1);
	pthread_mutex_init(&h->tls_lock, NULL);
	h->o = *o;
	set_limits(h);
	h->files = files_new();
	if (open_listeners(h, o, e) < 0)
		return -1;
	h->worker_n = thread_count(o);
	h->worker = xcalloc(h->worker_n, sizeof(*h->worker));
	for (unsigned i = 0; i < h->worker_n; i++)
		worker_init(&h->worker[i], h);
	*ret = h; /* the first call of the handler may come before we return */
	for (unsigned i = 0; i < h->worker_n; i++)
		if (worker_start(&h->worker[i], e) < 0) {
			*ret = NULL;
			return -1;
		}
	steal_ptr(&h);
	return 0;
}

void httpd_stop(struct httpd *h, int64_t grace_ms)
{
	if (h->stopped)
		return;
	h->stopped = true;
	atomic_store(&h->stop_ms, h->o.clock->mono_ms(h->o.clock) + (grace_ms > 0 ? grace_ms : 0));
	atomic_store(&h->stopping, true);
	for (unsigned i = 0; i < h->worker_n; i++)
		if (h->worker[i].started)
			worker_wake(&h->worker[i]);
	for (unsigned i = 0; i < h->worker_n; i++)
		if (h->worker[i].started)
			pthread_join(h->worker[i].thread, NULL);
	for (unsigned i = 0; i < h->worker_n; i++) {
		struct worker *w = &h->worker[i];
		if (!w->started)
			continue;
		pthread_mutex_lock(&w->mail_lock);
		struct httpd_req *r = w->mail_first;
		w->mail_first = w->mail_last = NULL;
		w->mail_closed = true;
		pthread_mutex_unlock(&w->mail_lock);
		while (r) {
			struct httpd_req *next = r->mail_next;
			req_drop(r);
			r = next;
		}
	}
}

/* The last holder is the caller, or a request that was answered after httpd_free. */
void httpd_drop(struct httpd *h)
{
	if (atomic_fetch_sub(&h->holders, 1) != 1)
		return;
	for (unsigned i = 0; i < h->worker_n; i++)
		worker_release(&h->worker[i]);
	free(h->worker);
	files_free(h->files);
	free(h->per_peer);
	pthread_mutex_destroy(&h->tls_lock);
	free(h);
}

void httpd_free(struct httpd *h)
{
	if (!h)
		return;
	httpd_stop(h, 0);
	for (size_t i = 0; i < h->listen_n; i++) {
		cleanup_fd(&h->listen[i].fd);
		tls_ctx_drop(h->listen[i].tls);
	}
	httpd_drop(h);
}

int httpd_reload(struct httpd *h, size_t listener, const struct httpd_tls *tls, struct err *e)
{
	struct tls_ctx *now;
	if (listener >= h->listen_n || !h->listen[listener].is_tls)
		return err_new(e, ERR_USAGE, "listener %zu has no TLS", listener);
	if (tls_ctx_new(tls, &now, e) < 0)
		return -1;
	pthread_mutex_lock(&h->tls_lock);
	struct tls_ctx *was = h->listen[listener].tls;
	h->listen[listener].tls = now;
	pthread_mutex_unlock(&h->tls_lock);
	tls_ctx_drop(was);
	return 0;
}

void server_trouble(struct httpd *h, const struct peer *p, const char *what)
{
	if (h->o.trouble)
		h->o.trouble(str_c(p->text), what, h->o.ctx);
}

void httpd_count(const struct httpd *h, struct httpd_counts *ret)
{
	struct httpd_counts c = {0};
	for (unsigned i = 0; i < h->worker_n; i++) {
		const struct counts *w = &h->worker[i].counts;
		c.connections += w->connections;
		c.connections_tls += w->connections_tls;
		c.refused += w->refused;
		c.idle += w->idle;
		c.waiting += w->waiting;
		c.handshakes += w->handshakes;
		c.resumed += w->resumed;
		c.handshakes_failed += w->handshakes_failed;
		c.requests += w->requests;
		c.http2 += w->http2;
		for (size_t k = 0; k < 6; k++)
			c.status[k] += w->status[k];
		c.body_bytes += w->body_bytes;
		c.received_bytes += w->received_bytes;
		c.timeouts += w->timeouts;
		c.malformed += w->malformed;
		c.cut += w->cut;
	}
	c.open = h->open;
	c.streams = h->streams;
	c.file_hits = h->file_hits;
	c.file_opens = h->file_opens;
	*ret = c;
}
