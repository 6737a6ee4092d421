// SPDX-License-Identifier: Apache-2.0
/* Messages that come whole, in pieces, too large, not at all. */
#include "lib/test.h"

#include <sys/socket.h>
#include <sys/wait.h>

#include "base/wire.h"

static struct err err;
static struct arena arena;

static void pair(struct wire **w, int *fd)
{
	int fds[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	*w = wire_new(fds[0]);
	*fd = fds[1];
}

TEST(a_message_in_single_bytes)
{
	auto_ptr(wire) w = NULL;
	auto_fd fd = -1;
	struct wire_message m;
	const char text[] = "\0\0\0\010\0\0\0\003{\"a\": 7}xyz\0\0\0\002\0\0\0\0{}";
	pair(&w, &fd);
	for (size_t i = 0; i < 19; i++) {
		CHECK_INT(wire_take(w, &arena, &m, &err), 0);
		CHECK(wire_is_partial(w) == (i > 0));
		CHECK(send(fd, text + i, 1, 0) == 1);
		CHECK_INT(wire_pump(w, &err), 0);
	}
	CHECK_INT(wire_take(w, &arena, &m, &err), 1);
	int64_t a = 0;
	CHECK(json_get_int(m.json, "a", &a, &err) == 0 && a == 7);
	CHECK(str_eq_c(m.bytes, "xyz"));
	CHECK(send(fd, text + 19, 10, 0) == 10);
	cleanup_fd(&fd);
	/* what came before the end is read, the end afterwards */
	CHECK_INT(wire_pump(w, &err), 0);
	CHECK_INT(wire_take(w, &arena, &m, &err), 1);
	CHECK_INT(wire_take(w, &arena, &m, &err), 0);
	CHECK_INT(wire_pump(w, &err), -1);
	CHECK_INT(err.code, ERR_NETWORK);
	arena_release(&arena);
}

TEST(what_is_none_is_refused)
{
	static const struct {
		const char *text;
		size_t n;
		enum err_code code;
	} bad[] = {
		{"\xff\xff\xff\xff\0\0\0\0", 8, ERR_LIMIT}, {"\0\0\0\2\0\020\0\1{}", 10, ERR_LIMIT},
		{"\0\0\0\2\0\0\0\0[]", 10, ERR_INPUT},	    {"\0\0\0\0\0\0\0\0", 8, ERR_INPUT},
		{"GET / HTTP/1.1\r\n\r\n", 18, ERR_LIMIT},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		auto_ptr(wire) w = NULL;
		auto_fd fd = -1;
		struct wire_message m;
		pair(&w, &fd);
		err = ERR_INIT;
		CHECK(send(fd, bad[i].text, bad[i].n, 0) == (ssize_t)bad[i].n);
		CHECK_INT(wire_pump(w, &err), 0);
		CHECK_INT(wire_take(w, &arena, &m, &err), -1);
		CHECK_INT(err.code, bad[i].code);
		CHECK_INT(wire_take(w, &arena, &m, &err), -1); /* for good */
	}
	arena_release(&arena);
}

TEST(who_takes_nothing_is_not_waited_for)
{
	auto_ptr(wire) w = NULL;
	auto_fd fd = -1;
	auto_free char *big = xcalloc(1, WIRE_BYTES_MAX);
	int n = 0;
	pair(&w, &fd);
	while (wire_put(w, STR("{}"), str_of(big, WIRE_BYTES_MAX), &err) == 0 && n < 100) {
		CHECK_INT(wire_pump(w, &err), 0);
		n++;
	}
	CHECK(n >= 3 && n < 10);
	CHECK_INT(err.code, ERR_LIMIT);
	CHECK(wire_wants(w) == (LOOP_IN | LOOP_OUT));
	CHECK_INT(wire_put(w, STR("{}"), str_of(big, WIRE_BYTES_MAX + 1), &err), -1);
}

TEST(a_call)
{
	auto_ptr(wire) w = NULL;
	auto_fd fd = -1;
	struct wire_message m;
	pair(&w, &fd);
	CHECK_INT(wire_call(w, STR("{\"q\": 1}"), STR_NONE, 30, &arena, &m, &err), -1);
	CHECK_INT(err.code, ERR_NETWORK);
	CHECK(strstr(err.msg, "no answer within 30 ms"));
	pid_t child = fork();
	if (child == 0) {
		struct wire *other = wire_new(fd);
		struct err e = ERR_INIT;
		int ok = 0;
		for (int i = 0; i < 2; i++) /* the one that nobody waited for, and the next */
			ok += wire_call(other, STR("{\"r\": 2}"), STR("bytes"), 5000, &arena, &m, &e) == 0;
		_exit(ok == 2 ? 0 : 1);
	}
	cleanup_fd(&fd);
	CHECK_MSG(wire_call(w, STR("{\"q\": 2}"), STR_NONE, 5000, &arena, &m, &err) == 0, "%s", err.msg);
	CHECK(str_eq_c(m.bytes, "bytes"));
	CHECK(waitpid(child, NULL, 0) == child);
	CHECK_INT(wire_call(w, STR("{}"), STR_NONE, 5000, &arena, &m, &err),
		  0); /* its second answer is there already */
	CHECK_INT(wire_call(w, STR("{}"), STR_NONE, 5000, &arena, &m, &err), -1);
	CHECK(strstr(err.msg, "the other side is gone"));
	arena_release(&arena);
}
