// SPDX-License-Identifier: Apache-2.0
#include "base/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/clock.h"

enum { READ_SIZE = 65536, MESSAGE_MAX = WIRE_HEAD + WIRE_JSON_MAX + WIRE_BYTES_MAX };

struct wire {
	int fd;
	struct buf in, out;
	size_t sent;  /* of out */
	size_t taken; /* of in: messages that were handed out */
	bool broken;  /* what came is no message */
};

struct wire *wire_new(int fd)
{
	struct wire *w = xcalloc(1, sizeof(*w));
	w->fd = fd;
	w->in = BUF_INIT(MESSAGE_MAX + READ_SIZE);
	w->out = BUF_INIT(WIRE_QUEUE_MAX);
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		panic("wire_new: descriptor %d cannot be used", fd);
	return w;
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
	return *json_n <= WIRE_JSON_MAX && *bytes_n <= WIRE_BYTES_MAX ? 1 : -1;
}

/* Whether more is to be read: not where a whole message waits, nor where none can come. */
static bool wants_more(const struct wire *w)
{
	size_t json_n, bytes_n;
	int rc = head(w, &json_n, &bytes_n);
	return rc == 0 || (rc > 0 && w->in.n - w->taken - WIRE_HEAD < json_n + bytes_n);
}

static int write_some(struct wire *w, struct err *e)
{
	while (wire_has_queue(w)) {
		ssize_t n = send(w->fd, w->out.p + w->sent, w->out.n - w->sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (n < 0) {
			err_sys(e, "the other side is gone");
			e->code = ERR_NETWORK;
			return -1;
		}
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
		ssize_t n = recv(w->fd, w->in.p + w->in.n, READ_SIZE, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (n < 0) {
			err_sys(e, "the other side is gone");
			e->code = ERR_NETWORK;
			return -1;
		}
		if (n == 0)
			return err_new(e, ERR_NETWORK, "the other side is gone%s",
				       wire_is_partial(w) ? " in the middle of a message" : "");
		w->in.n += (size_t)n;
		w->in.p[w->in.n] = '\0';
	}
	return 0;
}

int wire_pump(struct wire *w, struct err *e)
{
	struct err second = ERR_INIT;
	int rc = write_some(w, e);
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
			       json_n, bytes_n, WIRE_JSON_MAX);
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
	int64_t until = clock_system.mono_ms(&clock_system) + wait_ms;
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
		int64_t left = until - clock_system.mono_ms(&clock_system);
		if (left <= 0)
			return err_new(e, ERR_NETWORK, "no answer within %lld ms", (long long)wait_ms);
		struct pollfd p = {.fd = w->fd, .events = (short)(POLLIN | (wire_has_queue(w) ? POLLOUT : 0))};
		if (poll(&p, 1, left > 1000 ? 1000 : (int)left) < 0 && errno != EINTR)
			return err_sys(e, "wait for an answer");
	}
}
