// SPDX-License-Identifier: Apache-2.0
/* A serving thread: one epoll, which holds the listening sockets too, mail from other threads, and the time. */
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "httpd/server.h"

enum { EVENTS = 256, ACCEPTS = 16, LOOK_MS = 500, PAUSE_MS = 200, OVER = 64, EVICT_MANY = 64, NEW_MS = 1000 };

/* -- mail ----------------------------------------------------------------------------------------------------------------------- */

void worker_wake(struct worker *w)
{
	uint64_t one = 1;
	ssize_t n;
	do
		n = write(w->wake_fd, &one, sizeof(one)); /* full: it is awake */
	while (n < 0 && errno == EINTR);
}

void worker_mail(struct worker *w, struct httpd_req *r, enum mail what)
{
	pthread_mutex_lock(&w->mail_lock);
	bool take = !w->mail_closed && r->mail == MAIL_NONE, first = take && !w->mail_first;
	if (take) {
		r->mail = what;
		r->mail_next = NULL;
		*(first ? &w->mail_first : &w->mail_last->mail_next) = r;
		w->mail_last = r;
		if (first)
			worker_wake(w); /* under the lock: w may be gone after it */
	}
	pthread_mutex_unlock(&w->mail_lock);
	if (!take)
		req_drop(r);
}

static void open_mail(struct worker *w)
{
	pthread_mutex_lock(&w->mail_lock);
	struct httpd_req *r = w->mail_first;
	w->mail_first = w->mail_last = NULL;
	pthread_mutex_unlock(&w->mail_lock);
	while (r) {
		pthread_mutex_lock(&w->mail_lock); /* once it is open it may come again */
		struct httpd_req *next = r->mail_next;
		enum mail what = r->mail;
		r->mail = MAIL_NONE;
		pthread_mutex_unlock(&w->mail_lock);
		if (r->conn && !r->conn->dead) {
			if (what == MAIL_REPLY)
				conn_replied(r->conn, r);
			else
				conn_woken(r->conn, r);
		}
		req_drop(r);
		r = next;
	}
}

/* -- connections ------------------------------------------------------------------------------------------------------------------ */

void worker_ready(struct worker *w, struct conn *c)
{
	if (c->readied)
		return;
	c->readied = true;
	c->ready_next = w->ready;
	w->ready = c;
}

void worker_idle(struct worker *w, struct conn *c, bool idle)
{
	if (c->in_idle == idle)
		return;
	c->in_idle = idle;
	COUNT(w, idle, idle ? 1 : -1);
	if (idle) {
		c->idle_prev = w->idle_last;
		c->idle_next = NULL;
		*(w->idle_last ? &w->idle_last->idle_next : &w->idle_first) = c;
		w->idle_last = c;
	} else {
		*(c->idle_prev ? &c->idle_prev->idle_next : &w->idle_first) = c->idle_next;
		*(c->idle_next ? &c->idle_next->idle_prev : &w->idle_last) = c->idle_prev;
	}
}

/* Has not yet said what it wants: in the middle of a head or of a body. */
static bool is_beginning(const struct conn *c)
{
	return !c->in_idle && (c->state == CONN_HEAD || c->state == CONN_BODY);
}

/* Of those the oldest, some together, since looking for them takes a look at all. */
static bool evict_beginners(struct worker *w)
{
	struct conn *next;
	int64_t first = INT64_MAX;
	int n = 0;
	for (struct conn *c = w->conns; c; c = c->next)
		if (is_beginning(c) && c->deadline_ms && c->deadline_ms < first)
			first = c->deadline_ms;
	for (struct conn *c = w->conns; c && n < EVICT_MANY; c = next) {
		next = c->next;
		if (is_beginning(c) && c->deadline_ms && c->deadline_ms <= first + LOOK_MS) {
			COUNT(w, timeouts, 1);
			conn_free(c);
			n++;
		}
	}
	return n > 0;
}

/* Closes the longest idle connection; one that has only just come rather not, and never where `gently`. */
static bool evict(struct worker *w, bool gently)
{
	struct conn *c = w->idle_first;
	bool is_new = c && !c->requests && w->now_ms - c->rate_from_ms < NEW_MS;
	if ((!c || is_new) && evict_beginners(w))
		return true;
	if (!c || (is_new && gently))
		return false;
	conn_free(c);
	return true;
}

/* For a connection that is counted already. Where this thread has none to close another one has. */
static bool make_room(struct worker *w)
{
	struct httpd *h = w->h;
	uint64_t open = atomic_load(&h->open);
	if (open <= h->o.connections || evict(w, false))
		return true;
	for (unsigned i = 0; i < h->worker_n; i++)
		if (&h->worker[i] != w)
			worker_wake(&h->worker[i]);
	return h->worker_n > 1 && open <= (uint64_t)h->o.connections + OVER;
}

static void keep_limit(struct worker *w)
{
	while (atomic_load(&w->h->open) > w->h->o.connections && evict(w, true))
		;
}

static struct tls_ctx *tls_of(struct httpd *h, const struct listener *l)
{
	if (!l->is_tls)
		return NULL;
	pthread_mutex_lock(&h->tls_lock);
	struct tls_ctx *t = tls_ctx_hold(l->tls);
	pthread_mutex_unlock(&h->tls_lock);
	return t;
}

static void refuse(struct worker *w, int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
	COUNT(w, refused, 1);
}

static void accept_some(struct worker *w, size_t listener)
{
	struct httpd *h = w->h;
	const struct listener *l = &h->listen[listener];
	for (int i = 0; i < ACCEPTS && !w->stopping; i++) {
		struct peer peer = {.slot = UINT32_MAX};
		socklen_t len = sizeof(peer.addr);
		int fd = accept4(l->fd, (struct sockaddr *)&peer.addr, &len, SOCK_NONBLOCK | SOCK_CLOEXEC), one = 1;
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) &&
		    !evict(w, false))
			w->paused_until_ms = w->now_ms + PAUSE_MS; /* the level-triggered socket would spin */
		if (fd < 0)
			return;
		bool counted = peer_enter(h, &peer);
		if (!counted || !make_room(w)) {
			refuse(w, fd);
			if (counted)
				peer_leave(h, &peer);
			continue;
		}
		peer_name(&peer);
		if (l->is_ip)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		conn_new(w, fd, (uint8_t)listener, tls_of(h, l), &peer);
	}
}

static int listeners(struct worker *w, int op)
{
	for (size_t i = 0; i < w->h->listen_n; i++) {
		struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE,
					 .data.u64 = i * 2 + 1}; /* odd: no pointer */
		if (epoll_ctl(w->ep, op, w->h->listen[i].fd, &ev) < 0)
			return -1;
	}
	return 0;
}

static void set_accepts(struct worker *w, bool accepts)
{
	if (w->accepts == accepts)
		return;
	if (listeners(w, accepts ? EPOLL_CTL_ADD : EPOLL_CTL_DEL) == 0)
		w->accepts = accepts;
}

/* -- time -------------------------------------------------------------------------------------------------------------------------- */

int64_t worker_now(struct worker *w)
{
	return w->now_ms;
}

static void look_at_clock(struct worker *w)
{
	const struct clock *k = w->h->o.clock;
	w->now_ms = k->mono_ms(k);
	int64_t s = k->wall_ms(k) / 1000;
	if (s != w->date_s) {
		w->date_s = s;
		http_date(s, w->date);
	}
}

static void look_at_deadlines(struct worker *w)
{
	struct conn *next;
	if (w->now_ms - w->checked_ms < LOOK_MS)
		return;
	w->checked_ms = w->now_ms;
	for (struct conn *c = w->conns; c; c = next) {
		next = c->next;
		conn_time(c);
	}
}

static void begin_stop(struct worker *w)
{
	struct conn *next;
	w->stopping = true;
	set_accepts(w, false);
	for (struct conn *c = w->conns; c; c = next) {
		next = c->next;
		conn_stop(c, false);
	}
}

static void cut_all(struct worker *w)
{
	while (w->conns)
		conn_stop(w->conns, true);
}

/* -- the thread ------------------------------------------------------------------------------------------------------------------------ */

static void free_gone(struct worker *w)
{
	while (w->gone) {
		struct conn *c = w->gone;
		w->gone = c->ready_next;
		free(c);
	}
}

static void run_ready(struct worker *w)
{
	struct conn *c = w->ready;
	w->ready = NULL;
	while (c) {
		struct conn *next = c->ready_next;
		c->readied = false;
		if (c->dead) {
			c->ready_next = w->gone;
			w->gone = c;
		} else {
			conn_run(c);
		}
		c = next;
	}
}

static void one_event(struct worker *w, const struct epoll_event *ev)
{
	if (ev->data.u64 == 0) {
		uint64_t n;
		if (read(w->wake_fd, &n, sizeof(n)) > 0)
			open_mail(w);
	} else if (ev->data.u64 & 1) {
		accept_some(w, (size_t)(ev->data.u64 / 2));
	} else {
		conn_events(ev->data.ptr, ev->events);
	}
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct httpd *h = w->h;
	struct epoll_event ev[EVENTS];
	for (;;) {
		int n = epoll_wait(w->ep, ev, EVENTS, w->ready ? 0 : w->conns || w->paused_until_ms ? LOOK_MS : -1);
		look_at_clock(w);
		for (int i = 0; i < n; i++)
			one_event(w, &ev[i]);
		run_ready(w);
		look_at_deadlines(w);
		keep_limit(w);
		free_gone(w);
		if (w->paused_until_ms) {
			bool over = w->now_ms >= w->paused_until_ms && !w->stopping;
			set_accepts(w, over);
			w->paused_until_ms = over ? 0 : w->paused_until_ms;
		}
		if (!atomic_load(&h->stopping))
			continue;
		if (!w->stopping)
			begin_stop(w);
		if (w->conns && w->now_ms >= atomic_load(&h->stop_ms))
			cut_all(w);
		if (!w->conns)
			break;
	}
	run_ready(w); /* none of them lives */
	free_gone(w);
	return NULL;
}

void worker_init(struct worker *w, struct httpd *h)
{
	w->h = h;
	w->ep = w->wake_fd = -1;
	pthread_mutex_init(&w->mail_lock, NULL);
}

int worker_start(struct worker *w, struct err *e)
{
	w->ep = epoll_create1(EPOLL_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->tx = xmalloc(TX_BYTES);
	w->plain = xmalloc(ROUND_BYTES + 1024);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 0};
	if (w->ep < 0 || w->wake_fd < 0 || epoll_ctl(w->ep, EPOLL_CTL_ADD, w->wake_fd, &ev) < 0)
		return err_sys(e, "serving thread");
	look_at_clock(w);
	set_accepts(w, true);
	if (!w->accepts)
		return err_sys(e, "wait for connections");
	sigset_t all, was;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was); /* signals are for the threads of the caller */
	int failed = pthread_create(&w->thread, NULL, run, w);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	if (failed)
		return err_errno(e, failed, "serving thread");
	w->started = true;
	return 0;
}

void worker_release(struct worker *w)
{
	cleanup_fd(&w->ep);
	cleanup_fd(&w->wake_fd);
	pthread_mutex_destroy(&w->mail_lock);
	free(w->tx);
	free(w->plain);
}
