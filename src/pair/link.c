// SPDX-License-Identifier: Apache-2.0
/*
 * Messages between the members. The owner of a link sends and receives; a thread of the link's own says that it is alive where nothing
 * else was said for a while. Both touch the wire with the lock held, and neither waits with it.
 */
#include "pair/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "pair/endpoint.h"
#include "pair/handshake.h"
#include "pair/message.h"
#include "version.h"

enum { LOOK_MS = 1000, HELLO_JSON_MAX = 16 << 10 };

struct link {
	int fd;		 /* the TLS's own where there is one */
	struct tls *tls; /* NULL: plain */
	struct wire *wire;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool has_thread, ending;
	bool ended; /* the other side said its last */
	int64_t said_ms, moved_ms, heard_ms, partial_ms;
	struct arena arena;
	struct link_peer peer;
};

static int64_t later_of(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* -- bytes ------------------------------------------------------------------------------------------------------------ */

static ssize_t plain(ssize_t done, struct err *e)
{
	if (done >= 0)
		return done;
	if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
		return 0;
	err_sys(e, "the other side is gone");
	e->code = ERR_NETWORK;
	return -1;
}

static ssize_t on_send(void *ctx, const char *p, size_t n, struct err *e)
{
	struct link *l = ctx;
	ssize_t done = l->tls ? tls_send(l->tls, p, n, e) : plain(send(l->fd, p, n, MSG_NOSIGNAL), e);
	if (done > 0)
		l->moved_ms = clock_mono_ms();
	return done;
}

static ssize_t on_recv(void *ctx, char *p, size_t n, bool *ret_end, struct err *e)
{
	struct link *l = ctx;
	ssize_t done;
	if (l->tls) {
		done = tls_recv(l->tls, p, n, ret_end, e);
	} else {
		done = recv(l->fd, p, n, 0);
		*ret_end = done == 0;
		done = plain(done, e);
	}
	if (done > 0)
		l->heard_ms = clock_mono_ms();
	l->ended |= *ret_end;
	return done;
}

static const struct wire_io link_io = {on_send, on_recv};

/* -- being alive -------------------------------------------------------------------------------------------------------- */

static void say_alive(struct link *l)
{
	struct err gone = ERR_INIT; /* the owner meets it, too */
	if (!wire_has_queue(l->wire) && wire_put(l->wire, STR("{\"event\":\"alive\"}"), STR_NONE, &gone) < 0)
		return;
	(void)!wire_flush(l->wire, &gone);
}

static void *be_alive(void *ctx)
{
	struct link *l = ctx;
	pthread_mutex_lock(&l->lock);
	while (!l->ending) {
		int64_t due = l->said_ms + LINK_ALIVE_MS;
		if (clock_mono_ms() >= due) {
			say_alive(l);
			l->said_ms = clock_mono_ms();
			continue;
		}
		struct timespec at = {due / 1000, due % 1000 * 1000000};
		(void)pthread_cond_timedwait(&l->wake, &l->lock, &at);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* At the first message: a link that is made before a fork can be used after it. Signals are the owner's. */
static int begin(struct link *l, struct err *e)
{
	sigset_t all, before;
	if (l->has_thread)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	l->said_ms = clock_mono_ms();
	int rc = pthread_create(&l->thread, NULL, be_alive, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return err_errno(e, rc, "start a thread");
	l->has_thread = true;
	return 0;
}

/* -- beginning and end ---------------------------------------------------------------------------------------------------- */

static struct link *link_new(int fd, struct tls *t)
{
	struct link *l = xcalloc(1, sizeof(*l));
	pthread_condattr_t attr;
	l->fd = fd;
	l->tls = t;
	l->wire = wire_new_over(&link_io, l);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &attr);
	pthread_condattr_destroy(&attr);
	return l;
}

struct link *link_over(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		panic("link_over: descriptor %d cannot be used", fd);
	return link_new(fd, NULL);
}

void link_free(struct link *l)
{
	if (!l)
		return;
	if (l->has_thread) {
		pthread_mutex_lock(&l->lock);
		l->ending = true;
		pthread_cond_signal(&l->wake);
		pthread_mutex_unlock(&l->lock);
		pthread_join(l->thread, NULL);
	}
	if (l->tls)
		tls_free(l->tls);
	else
		cleanup_fd(&l->fd);
	wire_free(l->wire);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	arena_release(&l->arena);
	free(l);
}

const struct link_peer *link_peer(const struct link *l)
{
	return &l->peer;
}

/* -- messages ----------------------------------------------------------------------------------------------------------- */

static int wait_for(const struct link *l, short events, int64_t ms, struct err *e)
{
	struct pollfd p = {.fd = l->fd, .events = events};
	int wait = ms < 0 ? 0 : ms > LOOK_MS ? LOOK_MS : (int)ms;
	return poll(&p, 1, wait) < 0 && errno != EINTR ? err_sys(e, "wait for the other side") : 0;
}

int link_put(struct link *l, struct str json, struct str bytes, struct err *e)
{
	int64_t start = clock_mono_ms();
	if (begin(l, e) < 0)
		return -1;
	pthread_mutex_lock(&l->lock);
	int rc = wire_put(l->wire, json, bytes, e);
	while (rc == 0) {
		rc = wire_flush(l->wire, e);
		if (rc < 0 || !wire_has_queue(l->wire))
			break;
		int64_t since = later_of(start, l->moved_ms);
		pthread_mutex_unlock(&l->lock);
		rc = clock_mono_ms() - since > LINK_SILENT_MS
			     ? err_new(e, ERR_NETWORK, "the other side has taken nothing for %d s",
				       LINK_SILENT_MS / 1000)
			     : wait_for(l, POLLOUT, LOOK_MS, e);
		pthread_mutex_lock(&l->lock);
	}
	l->said_ms = clock_mono_ms();
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* 1: a message; 0: none yet; -1. *ret_end: nothing comes any more, and that was said. */
static int look(struct link *l, struct arena *a, struct wire_message *ret, bool *ret_end, short *ret_events,
		struct err *e)
{
	struct err gone = ERR_INIT;
	pthread_mutex_lock(&l->lock);
	int pumped = wire_pump(l->wire, &gone);
	int rc = wire_take(l->wire, a, ret, e);
	bool partial = wire_is_partial(l->wire);
	*ret_events = (short)((l->tls ? tls_wants(l->tls) : POLLIN) | (wire_has_queue(l->wire) ? POLLOUT : 0));
	*ret_end = l->ended && !partial;
	pthread_mutex_unlock(&l->lock);
	if (rc != 0 || !partial)
		l->partial_ms = 0;
	else if (!l->partial_ms)
		l->partial_ms = clock_mono_ms();
	if (rc == 0 && pumped < 0 && !*ret_end) {
		*e = gone;
		return -1;
	}
	return rc;
}

static int check_time(const struct link *l, int64_t start, int64_t wait_ms, struct err *e)
{
	int64_t now = clock_mono_ms();
	if (now - start >= wait_ms)
		return err_new(e, ERR_NETWORK, "no message within %lld ms", (long long)wait_ms);
	if (now - later_of(start, l->heard_ms) > LINK_SILENT_MS)
		return err_new(e, ERR_NETWORK, "nothing was heard of the other side for %d s", LINK_SILENT_MS / 1000);
	if (l->partial_ms && now - l->partial_ms > LINK_MESSAGE_MS)
		return err_new(e, ERR_NETWORK, "a message did not become whole within %d s", LINK_MESSAGE_MS / 1000);
	return 0;
}

static bool is_alive(const struct json *j)
{
	const struct json *v = json_get(j, "event");
	return v && v->type == JSON_STRING && str_eq(v->string, STR("alive"));
}

int link_take(struct link *l, int64_t wait_ms, struct arena *a, struct wire_message *ret, struct err *e)
{
	int64_t start = clock_mono_ms();
	if (begin(l, e) < 0)
		return -1;
	for (;;) {
		auto_arena own = ARENA_INIT; /* what only says that it is alive leaves nothing behind */
		struct wire_message m;
		bool end;
		short events;
		int rc = look(l, &own, &m, &end, &events, e);
		if (rc < 0)
			return -1;
		if (rc > 0 && !is_alive(m.json)) {
			arena_join(a, &own);
			*ret = m;
			return 1;
		}
		if (rc == 0 && end)
			return 0;
		if (check_time(l, start, wait_ms, e) < 0)
			return -1;
		if (rc == 0 && wait_for(l, events, start + wait_ms - clock_mono_ms(), e) < 0)
			return -1;
	}
}

/* -1: it is {"error": …, "code": …}; 0. */
static int read_failure(const struct json *j, struct err *e)
{
	struct err said;
	if (!json_get(j, "error"))
		return 0;
	if (message_read_failure(j, &said, e) == 0)
		*e = said;
	return -1;
}

int link_call(struct link *l, struct str json, struct str bytes, int64_t wait_ms, link_event_fn *event, void *ctx,
	      struct arena *a, struct wire_message *ret, struct err *e)
{
	int64_t until = clock_mono_ms() + wait_ms;
	if (link_put(l, json, bytes, e) < 0)
		return -1;
	for (;;) {
		auto_arena own = ARENA_INIT;
		struct wire_message m;
		int rc = link_take(l, until - clock_mono_ms(), &own, &m, e);
		if (rc == 0)
			return err_new(e, ERR_NETWORK, "the other side ended the connection in place of an answer");
		if (rc < 0)
			return -1;
		if (json_get(m.json, "event")) {
			if (event)
				event(ctx, m.json);
			continue;
		}
		if (read_failure(m.json, e) < 0)
			return -1;
		arena_join(a, &own);
		*ret = m;
		return 0;
	}
}

/* -- between hosts -------------------------------------------------------------------------------------------------------- */

static struct str hello(struct buf *b)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	jw_kv_int(&w, "hello", LINK_PROTOCOL_OLDEST);
	jw_kv_int(&w, "newest", LINK_PROTOCOL_NEWEST);
	jw_kv_c(&w, "version", SLIPWAY_VERSION);
	jw_kv_int(&w, "wall_ms", clock_wall_ms());
	jw_object_end(&w);
	return buf_str(b);
}

static void put_protocols(struct buf *b, struct str version, int64_t oldest, int64_t newest)
{
	buf_printf(b, "slipway %.*s speaks protocol %lld", STR_ARG(version), (long long)oldest);
	if (newest != oldest)
		buf_printf(b, " to %lld", (long long)newest);
}

/* Without "here" and "the other one": it is read on both. */
static int no_protocol(struct str version, int64_t oldest, int64_t newest, struct err *e)
{
	auto_buf b = BUF_INIT(1024);
	struct str newer = newest > LINK_PROTOCOL_NEWEST ? version : STR(SLIPWAY_VERSION);
	put_protocols(&b, version, oldest, newest);
	buf_put_c(&b, " between members, ");
	put_protocols(&b, STR(SLIPWAY_VERSION), LINK_PROTOCOL_OLDEST, LINK_PROTOCOL_NEWEST);
	return err_new(e, ERR_UNSUPPORTED, "%s: they do not understand each other; install slipway %.*s on both", b.p,
		       STR_ARG(newer));
}

/* It may be of a slipway that is older or newer than this one: what it says besides is left to later versions. */
static int read_hello(struct link *l, const struct json *j, struct err *e)
{
	int64_t oldest = 0, newest = 0;
	struct str version = STR("of another version");
	if (json_get_int(j, "hello", &oldest, e) < 0)
		return -1;
	newest = oldest;
	if (json_opt_int(j, "newest", &newest, e) < 0 ||
	    (json_get(j, "version") && message_get_text(j, "version", &version, e) < 0))
		return -1;
	version = str_head(version, 100);
	if (newest < LINK_PROTOCOL_OLDEST || oldest > LINK_PROTOCOL_NEWEST || newest < oldest)
		return no_protocol(version, oldest, newest, e);
	if (message_get_text(j, "version", &version, e) < 0 ||
	    message_get_number(j, "wall_ms", 0, INT64_MAX, &l->peer.wall_ms, e) < 0)
		return -1;
	l->peer.version = arena_str(&l->arena, str_head(version, 100));
	l->peer.protocol = newest < LINK_PROTOCOL_NEWEST ? newest : LINK_PROTOCOL_NEWEST;
	return 0;
}

int link_say_hello(struct link *l, int64_t wait_ms, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(HELLO_JSON_MAX);
	struct wire_message m;
	struct timespec t0, t1;
	clock_gettime(CLOCK_MONOTONIC, &t0);
	if (link_call(l, hello(&b), STR_NONE, wait_ms, NULL, NULL, &a, &m, e) < 0 || read_hello(l, m.json, e) < 0)
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &t1);
	l->peer.round_trip_us = (t1.tv_sec - t0.tv_sec) * 1000000 + (t1.tv_nsec - t0.tv_nsec) / 1000;
	wire_limit(l->wire, WIRE_JSON_MAX, WIRE_BYTES_MAX);
	return 0;
}

int link_refuse(struct link *l, const struct err *why)
{
	auto_buf b = BUF_INIT(HELLO_JSON_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct err ignored = ERR_INIT;
	jw_object(&w);
	message_put_failure(&w, why);
	jw_object_end(&w);
	return link_put(l, buf_str(&b), STR_NONE, &ignored);
}

int link_answer_hello(struct link *l, const struct json *said, struct err *e)
{
	auto_buf b = BUF_INIT(HELLO_JSON_MAX);
	if (read_hello(l, said, e) < 0) {
		(void)!link_refuse(l, e);
		return -1;
	}
	if (link_put(l, hello(&b), STR_NONE, e) < 0)
		return -1;
	wire_limit(l->wire, WIRE_JSON_MAX, WIRE_BYTES_MAX);
	return 0;
}

struct link *link_over_tls(struct tls *t)
{
	struct link *l = link_new(tls_fd(t), t);
	wire_limit(l->wire, HELLO_JSON_MAX, 0);
	return l;
}

struct tls *link_tls(const struct link *l)
{
	return l->tls;
}

static int pinned(int root_fd, struct arena *a, const struct pair *p, struct tls_opts *ret, uint8_t pin[SHA256_SIZE],
		  struct err *e)
{
	uint32_t other = 3 - p->self;
	if (!p->joined || !str_unhex(p->host[other].fingerprint, pin, SHA256_SIZE))
		return err_new(e, ERR_NOT_FOUND,
			       "nobody has joined this host's pair yet ('slipway pair show' says more)");
	ret->pin = pin;
	return trust_identity(root_fd, a, &ret->identity, e);
}

int link_connect(int root_fd, const struct pair *p, int64_t wait_ms, struct link **ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	uint8_t pin[SHA256_SIZE];
	struct tls_opts o = {0};
	struct endpoint addr;
	struct tls *t = NULL;
	const struct pair_host *other = &p->host[3 - p->self];
	int64_t until = clock_mono_ms() + wait_ms;
	int fd = -1;
	if (pinned(root_fd, &a, p, &o, pin, e) < 0 || endpoint_parse(other->address, &addr, e) < 0)
		return -1;
	auto_ptr(link) l = NULL;
	if (endpoint_connect(&addr, p->host[p->self].address, until, &fd, e) == 0 &&
	    tls_open(fd, &o, until, &t, e) == 0)
		l = link_over_tls(t);
	if (!l || link_say_hello(l, until - clock_mono_ms(), e) < 0)
		return err_ctx(e, "member %u ('%.*s') at %.*s", 3 - p->self, STR_ARG(other->name),
			       STR_ARG(other->address));
	*ret = steal_ptr(&l);
	return 0;
}

int link_accept(int root_fd, const struct pair *p, int fd, int64_t wait_ms, struct link **ret, struct err *e)
{
	auto_fd own = fd;
	auto_arena a = ARENA_INIT;
	uint8_t pin[SHA256_SIZE];
	struct tls_opts o = {.server = true};
	struct tls *t = NULL;
	struct wire_message m;
	int64_t until = clock_mono_ms() + wait_ms;
	if (pinned(root_fd, &a, p, &o, pin, e) < 0 || tls_open(steal_fd(&own), &o, until, &t, e) < 0)
		return -1;
	auto_ptr(link) l = link_over_tls(t);
	int rc = link_take(l, until - clock_mono_ms(), &a, &m, e);
	if (rc == 0)
		return err_new(e, ERR_NETWORK, "the other side went away again");
	if (rc < 0 || link_answer_hello(l, m.json, e) < 0)
		return -1;
	*ret = steal_ptr(&l);
	return 0;
}
