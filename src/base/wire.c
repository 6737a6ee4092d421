// SPDX-License-Identifier: Apache-2.0
#include "base/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"

enum { READ_SIZE = 65536, MESSAGE_MAX = WIRE_HEAD + WIRE_JSON_MAX + WIRE_BYTES_MAX };

struct wire {
	int fd; /* -1: over something else */
	const struct wire_io *io;
	void *ctx;
	size_t json_max, bytes_max; /* of what comes */
	struct buf in, out;
	size_t sent;  /* of out */
	size_t taken; /* of in: messages that were handed out */
	bool broken;  /* what came is no message */
};

/* -- a socket --------------------------------------------------------------------------------------------------------- */

static int gone(struct err *e)
{
	err_sys(e, "the other side is gone");
	e->code = ERR_NETWORK;
	return -1;
}

static ssize_t socket_send(void *ctx, const char *p, size_t n, struct err *e)
{
	const struct wire *w = ctx;
	for (;;) {
		ssize_t done = send(w->fd, p, n, MSG_NOSIGNAL);
		if (done >= 0)
			return done;
		if (errno != EINTR)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : gone(e);
	}
}

static ssize_t socket_recv(void *ctx, char *p, size_t n, bool *ret_end, struct err *e)
{
	const struct wire *w = ctx;
	for (;;) {
		ssize_t done = recv(w->fd, p, n, 0);
		*ret_end = done == 0;
		if (done >= 0)
			return done;
		if (errno != EINTR)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : gone(e);
	}
}

static const struct wire_io socket_io = {socket_send, socket_recv};

/* -- messages --------------------------------------------------------------------------------------------------------- */

struct wire *wire_new_over(const struct wire_io *io, void *ctx)
{
	struct wire *w = xcalloc(1, sizeof(*w));
	*w = (struct wire){.fd = -1, .io = io, .ctx = ctx, .json_max = WIRE_JSON_MAX, .bytes_max = WIRE_BYTES_MAX};
	w->in = BUF_INIT(MESSAGE_MAX + READ_SIZE);
	w->out = BUF_INIT(WIRE_QUEUE_MAX);
	return w;
}

struct wire *wire_new(int fd)
{
	struct wire *w = wire_new_over(&socket_io, NULL);
	w->ctx = w;
	w->fd = fd;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		panic("wire_new: descriptor %d cannot be used", fd);
	return w;
}

void wire_limit(struct wire *w, size_t json_max, size_t bytes_max)
{
	w->json_max = json_max < WIRE_JSON_MAX ? json_max : WIRE_JSON_MAX;
	w->bytes_max = bytes_max < WIRE_BYTES_MAX ? bytes_max : WIRE_BYTES_MAX;
}

void wire_free(struct wire *w)
{
	if (!w)
		return;
	cleanup_fd(&w->fd);
	buf_release(&w->in);
	buf_release(&w->out);
	free(w);
}

int wire_fd(const struct wire *w)
{
	return w->fd;
}

bool wire_has_queue(const struct wire *w)
{
	return w->sent < w->out.n;
}

bool wire_is_partial(const struct wire *w)
{
	return w->in.n > w->taken;
}

enum loop_events wire_wants(const struct wire *w)
{
	return wire_has_queue(w) ? LOOP_IN | LOOP_OUT : LOOP_IN;
}

static void put_length(struct buf *b, size_t n)
{
	const uint8_t be[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
	buf_put(b, be, sizeof(be));
}

static size_t get_length(const char *p)
{
	const uint8_t *u = (const uint8_t *)p;
	return (size_t)u[0] << 24 | (size_t)u[1] << 16 | (size_t)u[2] << 8 | u[3];
}

int wire_put(struct wire *w, struct str json, struct str bytes, struct err *e)
{
	if (json.n > WIRE_JSON_MAX || bytes.n > WIRE_BYTES_MAX)
		return err_new(e, ERR_LIMIT, "a message of %zu and %zu bytes is larger than the %d that one may have",
			       json.n, bytes.n, WIRE_JSON_MAX);
	if (w->sent) {
		memmove(w->out.p, w->out.p + w->sent, w->out.n - w->sent);
		buf_truncate(&w->out, w->out.n - w->sent);
		w->sent = 0;
	}
	if (WIRE_HEAD + json.n + bytes.n > WIRE_QUEUE_MAX - w->out.n)
		return err_new(e, ERR_LIMIT, "the other side does not take what is sent to it");
	put_length(&w->out, json.n);
	put_length(&w->out, bytes.n);
	buf_put_str(&w->out, json);
	buf_put_str(&w->out, bytes);
	return 0;
}

/* What the head of the message at the front says: 1, 0 where it has not come yet, -1 where there is none. */
static int head(const struct wire *w, size_t *json_n, size_t *bytes_n)
{
	const char *p = w->in.p + w->taken;
	if (w->broken)
		return -1;
	if (w->in.n - w->taken < WIRE_HEAD)
		return 0;
	*json_n = get_length(p);
	*bytes_n = get_length(p + 4);
	return *json_n <= w->json_max && *bytes_n <= w->bytes_max ? 1 : -1;
}

/* Whether more is to be read: not where a whole message waits, nor where none can come. */
static bool wants_more(const struct wire *w)
{
	size_t json_n, bytes_n;
	int rc = head(w, &json_n, &bytes_n);
	return rc == 0 || (rc > 0 && w->in.n - w->taken - WIRE_HEAD < json_n + bytes_n);
}

int wire_flush(struct wire *w, struct err *e)
{
	while (wire_has_queue(w)) {
		ssize_t n = w->io->send(w->ctx, w->out.p + w->sent, w->out.n - w->sent, e);
		if (n <= 0)
			return (int)n;
		w->sent += (size_t)n;
	}
	return 0;
}

static int read_some(struct wire *w, struct err *e)
{
	if (w->taken) {
		memmove(w->in.p, w->in.p + w->taken, w->in.n - w->taken);
		buf_truncate(&w->in, w->in.n - w->taken);
		w->taken = 0;
	}
	while (wants_more(w)) {
		buf_reserve(&w->in, READ_SIZE);
		bool end = false;
		ssize_t n = w->io->recv(w->ctx, w->in.p + w->in.n, READ_SIZE, &end, e);
		if (end)
			return err_new(e, ERR_NETWORK, "the other side is gone%s",
				       wire_is_partial(w) ? " in the middle of a message" : "");
		if (n <= 0)
			return (int)n;
		w->in.n += (size_t)n;
		w->in.p[w->in.n] = '\0';
	}
	return 0;
}

int wire_pump(struct wire *w, struct err *e)
{
	struct err second = ERR_INIT;
	int rc = wire_flush(w, e);
	/* what it said before it went away counts, whatever became of what was said to it */
	return read_some(w, rc < 0 ? &second : e) < 0 ? -1 : rc;
}

int wire_take(struct wire *w, struct arena *a, struct wire_message *ret, struct err *e)
{
	size_t json_n = 0, bytes_n = 0;
	int rc = head(w, &json_n, &bytes_n);
	if (rc < 0 && w->broken)
		return err_new(e, ERR_INPUT, "what came before was no message");
	if (rc < 0) {
		w->broken = true;
		return err_new(e, ERR_LIMIT, "a message of %zu and %zu bytes is larger than the %d that one may have",
			       json_n, bytes_n, (int)w->json_max);
	}
	if (rc == 0)
		return 0;
	if (w->in.n - w->taken - WIRE_HEAD < json_n + bytes_n)
		return 0;
	struct str json = str_of(w->in.p + w->taken + WIRE_HEAD, json_n);
	struct wire_message m = {.json = json_parse(a, arena_str(a, json), "message", e)};
	if (!m.json || m.json->type != JSON_OBJECT) {
		w->broken = true;
		return m.json ? err_new(e, ERR_INPUT, "message: is not an object") : -1;
	}
	m.bytes = arena_str(a, str_of(json.p + json_n, bytes_n));
	w->taken += WIRE_HEAD + json_n + bytes_n;
	*ret = m;
	return 1;
}

int wire_call(struct wire *w, struct str json, struct str bytes, int64_t wait_ms, struct arena *a,
	      struct wire_message *ret, struct err *e)
{
	int64_t until = clock_mono_ms() + wait_ms;
	if (wire_put(w, json, bytes, e) < 0)
		return -1;
	for (;;) {
		struct err gone = ERR_INIT;
		int pumped = wire_pump(w, &gone);
		int rc = wire_take(w, a, ret, e);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
		if (pumped < 0) {
			*e = gone;
			return -1;
		}
		int64_t left = until - clock_mono_ms();
		if (left <= 0)
			return err_new(e, ERR_NETWORK, "no answer within %lld ms", (long long)wait_ms);
		struct pollfd p = {.fd = w->fd, .events = (short)(POLLIN | (wire_has_queue(w) ? POLLOUT : 0))};
		if (poll(&p, 1, left > 1000 ? 1000 : (int)left) < 0 && errno != EINTR)
			return err_sys(e, "wait for an answer");
	}
}
