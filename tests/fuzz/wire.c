// SPDX-License-Identifier: Apache-2.0
/* Whatever comes over a stream, in whatever pieces: whole messages or an error, and what is sent again comes back as the same. */
#include <sys/socket.h>

#include "base/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One byte of the input says how much of the rest is sent at once. */
static size_t piece(const uint8_t *data, size_t left)
{
	size_t n = (size_t)data[0] * 7 + 1;
	return n < left ? n : left;
}

static void send_back(const struct wire_message *m)
{
	auto_arena a = ARENA_INIT;
	auto_buf first = BUF_INIT(WIRE_JSON_MAX), second = BUF_INIT(WIRE_JSON_MAX);
	struct jw v = JW_INIT(&first, 0), x = JW_INIT(&second, 0);
	struct wire_message again;
	struct err e = ERR_INIT;
	int fds[2];
	jw_value(&v, m->json);
	if (first.overflow || first.n + m->bytes.n > 65536)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		panic("socketpair");
	auto_ptr(wire) out = wire_new(fds[0]);
	auto_ptr(wire) in = wire_new(fds[1]);
	if (wire_put(out, buf_str(&first), m->bytes, &e) < 0 || wire_pump(out, &e) < 0 || wire_pump(in, &e) < 0 ||
	    wire_take(in, &a, &again, &e) != 1)
		panic("'%s' does not come back: %s", first.p, e.msg);
	jw_value(&x, again.json);
	if (!str_eq(buf_str(&first), buf_str(&second)) || !str_eq(m->bytes, again.bytes))
		panic("'%s' became '%s'", first.p, second.p);
}

static int take_all(struct wire *w)
{
	auto_arena a = ARENA_INIT;
	struct wire_message m;
	struct err e = ERR_INIT;
	int rc;
	while ((rc = wire_take(w, &a, &m, &e)) > 0) {
		if (m.json->type != JSON_OBJECT || m.bytes.n > WIRE_BYTES_MAX)
			panic("what is no message was taken");
		send_back(&m);
	}
	if (rc < 0 && e.code != ERR_INPUT && e.code != ERR_LIMIT)
		panic("an error without a code: %s", e.msg);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	int fds[2];
	if (size < 1 || size > 65536 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return 0;
	auto_fd from = fds[0];
	auto_ptr(wire) w = wire_new(fds[1]);
	for (size_t at = 1; at < size;) {
		size_t n = piece(data, size - at);
		if (send(from, data + at, n, MSG_NOSIGNAL) != (ssize_t)n)
			panic("send");
		at += n;
		if (wire_pump(w, &e) < 0)
			panic("gone: %s", e.msg);
		if (take_all(w) < 0)
			return 0;
	}
	cleanup_fd(&from);
	e = ERR_INIT;
	if (wire_pump(w, &e) == 0 && !wire_is_partial(w))
		panic("the end was not seen");
	(void)take_all(w);
	return 0;
}
