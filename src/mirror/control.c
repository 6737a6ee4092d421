// SPDX-License-Identifier: Apache-2.0
#include "mirror/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/sys.h"
#include "base/vec.h"

enum { CONNECTIONS = 16, QUESTION_MAX = 4096, ANSWER_WAIT_MS = 10000, GONE_TRIES = 20, GONE_PAUSE_MS = 50 };

void control_sockets_release(struct control_sockets *s)
{
	for (int i = 0; i < s->n; i++)
		cleanup_fd(&s->fd[i]);
	s->n = 0;
}

/* A folder's path may be longer than an address has room for; its descriptor's is not. */
static int address(int state_fd, struct sockaddr_un *ret, struct err *e)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	int n = snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/control", state_fd);
	return n < (int)sizeof(ret->sun_path) ? 0 : err_new(e, ERR_LIMIT, "the control socket's path is too long");
}

/* -- packets -------------------------------------------------------------------------------------------------------- */

union control_room {
	char room[CMSG_SPACE(sizeof(int) * CONTROL_SOCKETS_MAX)];
	struct cmsghdr align;
};

static int put_packet(int fd, const char *p, size_t n, const struct control_sockets *with)
{
	union control_room control = {0};
	struct iovec v = {(void *)(uintptr_t)p, n};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	if (with && with->n > 0) {
		size_t bytes = sizeof(int) * (size_t)with->n;
		m.msg_control = control.room;
		m.msg_controllen = CMSG_SPACE(bytes);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(c), with->fd, bytes);
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n ? 0 : -1;
}

/* Descriptors that came with it are taken, or closed where nobody wants them. */
static void take_descriptors(struct msghdr *m, struct control_sockets *ret)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (int i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + sizeof(int) * (size_t)i, sizeof(fd));
			if (ret && ret->n < CONTROL_SOCKETS_MAX)
				ret->fd[ret->n++] = fd;
			else
				close(fd);
		}
	}
}

/* 0 where the other side ended. */
static ssize_t get_packet(int fd, char *p, size_t room, struct control_sockets *ret)
{
	union control_room control;
	struct iovec v = {p, room};
	struct msghdr m = {
		.msg_iov = &v, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n >= 0)
		take_descriptors(&m, ret);
	if (n >= 0 && m.msg_flags & MSG_TRUNC) {
		errno = EMSGSIZE;
		return -1;
	}
	return n;
}

/* -- the server ----------------------------------------------------------------------------------------------------- */

struct control {
	int state_fd, listening, wake;
	atomic_bool ended;
	pthread_t thread;
	const struct control_handlers *h;
	void *ctx;
	VEC(int) connections;
};

static void error_answer(struct buf *b, const struct err *e)
{
	struct jw w = JW_INIT(b, 0);
	buf_clear(b);
	jw_object(&w);
	jw_kv_c(&w, "error", e->msg);
	jw_object_end(&w);
}

static void sockets_answer(struct buf *b, const struct control_sockets *s)
{
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	jw_key(&w, "names");
	jw_array(&w);
	for (int i = 0; i < s->n; i++)
		jw_c(&w, s->name[i]);
	jw_array_end(&w);
	jw_object_end(&w);
}

static int answer(struct control *c, int fd, const char *verb)
{
	auto_buf b = BUF_INIT(CONTROL_ANSWER_MAX);
	struct control_sockets sockets = {0};
	struct err e = ERR_INIT;
	int rc = 0;
	bool stop = strcmp(verb, "stop") == 0, retire = strcmp(verb, "ready") == 0;
	if (strcmp(verb, "status") == 0)
		rc = c->h->status(c->ctx, &b, &e);
	else if (strcmp(verb, "reload") == 0)
		rc = c->h->reload(c->ctx, &e);
	else if (strcmp(verb, "sockets") == 0)
		rc = c->h->sockets(c->ctx, &sockets, &e);
	else if (strncmp(verb, "succeed ", 8) == 0)
		rc = c->h->succeed(c->ctx, verb + 8, &e);
	else if (!stop && !retire)
		rc = err_new(&e, ERR_INPUT, "unknown request");
	if (b.overflow)
		rc = err_new(&e, ERR_LIMIT, "the answer has more than %d bytes; the admin port tells it",
			     CONTROL_ANSWER_MAX);
	if (rc < 0)
		error_answer(&b, &e);
	else if (sockets.n)
		sockets_answer(&b, &sockets);
	else if (!b.n)
		buf_put_c(&b, "{}");
	rc = put_packet(fd, b.p, b.n, &sockets);
	control_sockets_release(&sockets);
	if (stop)
		c->h->stop(c->ctx);
	if (retire)
		c->h->retire(c->ctx);
	return rc;
}

/* Only the server's own user, and root. */
static bool may_ask(int fd)
{
	struct ucred who;
	socklen_t n = sizeof(who);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == 0 || who.uid == geteuid());
}

static void accept_one(struct control *c)
{
	int fd = accept4(c->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (c->connections.n >= CONNECTIONS || !may_ask(fd))
		close(fd);
	else
		vec_push(&c->connections, fd);
}

static void serve_one(struct control *c, size_t i)
{
	char verb[QUESTION_MAX + 1];
	int fd = c->connections.v[i];
	ssize_t n = get_packet(fd, verb, QUESTION_MAX, NULL);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0) {
		verb[n] = '\0';
		if (answer(c, fd, verb) == 0)
			return;
	}
	close(fd);
	c->connections.v[i] = vec_pop(&c->connections);
}

static void *serve(void *arg)
{
	struct control *c = arg;
	while (!atomic_load(&c->ended)) {
		struct pollfd p[CONNECTIONS + 2] = {{.fd = c->wake, .events = POLLIN},
						    {.fd = c->listening, .events = POLLIN}};
		size_t n = c->connections.n;
		for (size_t i = 0; i < n; i++)
			p[i + 2] = (struct pollfd){.fd = c->connections.v[i], .events = POLLIN};
		if (poll(p, n + 2, -1) < 0)
			continue;
		for (size_t i = n; i-- > 0;) /* from behind: one that goes leaves its place to the last */
			if (p[i + 2].revents)
				serve_one(c, i);
		if (p[1].revents)
			accept_one(c);
	}
	return NULL;
}

static int open_socket(struct control *c, struct err *e)
{
	struct sockaddr_un at;
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->wake < 0 || c->listening < 0)
		return err_sys(e, "make the control socket");
	if (address(c->state_fd, &at, e) < 0)
		return -1;
	/* A server that this one takes the place of listens under the old name's inode, and goes on doing so for who is connected. */
	if (sys_unlinkat(c->state_fd, "control", 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove the control socket of before");
	if (bind(c->listening, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    sys_fchmodat(c->state_fd, "control", 0600) < 0 || listen(c->listening, CONNECTIONS) < 0)
		return err_sys(e, "open the control socket");
	return 0;
}

int control_listen(int state_fd, const struct control_handlers *h, void *ctx, struct control **ret, struct err *e)
{
	struct control *c = xcalloc(1, sizeof(*c));
	*c = (struct control){.state_fd = state_fd, .listening = -1, .wake = -1, .h = h, .ctx = ctx};
	int rc = open_socket(c, e);
	if (rc == 0 && (errno = pthread_create(&c->thread, NULL, serve, c)) != 0)
		rc = err_sys(e, "start a thread");
	if (rc < 0) {
		cleanup_fd(&c->listening);
		cleanup_fd(&c->wake);
		free(c);
		return -1;
	}
	*ret = c;
	return 0;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	atomic_store(&c->ended, true);
	(void)!write(c->wake, &(uint64_t){1}, sizeof(uint64_t));
	pthread_join(c->thread, NULL);
	vec_foreach(fd, &c->connections)
		close(*fd);
	vec_release(&c->connections);
	cleanup_fd(&c->listening);
	cleanup_fd(&c->wake);
	free(c);
}

/* -- a command ------------------------------------------------------------------------------------------------------ */

static int wait_for(int fd, int64_t until_ms, struct err *e)
{
	for (;;) {
		int64_t left = until_ms - clock_mono_ms();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int n = left > 0 ? poll(&p, 1, (int)(left < 60000 ? left : 60000)) : 0;
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_sys(e, "wait for the server");
		if (left <= 0)
			return err_new(e, ERR_BUSY, "the server does not answer; 'slipway mirror status' tells of it");
	}
}

static int connect_to(int state_fd, struct err *e)
{
	struct sockaddr_un at;
	if (address(state_fd, &at, e) < 0)
		return -1;
	auto_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return steal_fd(&fd);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return err_new(e, ERR_NOT_FOUND, "the mirror's server does not run; 'slipway mirror start' starts it");
	return err_sys(e, "connect to the mirror's server");
}

static bool is_gone(void)
{
	return errno == ECONNRESET || errno == EPIPE;
}

static int ask(int conn, const char *verb, int64_t wait_ms, struct buf *ret, struct control_sockets *sockets,
	       struct err *e)
{
	auto_free char *room = xmalloc(CONTROL_ANSWER_MAX);
	static const char gone[] = "the mirror's server ended, or you are not its user";
	if (put_packet(conn, verb, strlen(verb), NULL) < 0)
		return is_gone() ? err_new(e, ERR_NETWORK, gone) : err_sys(e, "ask the mirror's server");
	if (wait_for(conn, clock_mono_ms() + wait_ms, e) < 0)
		return -1;
	ssize_t n = get_packet(conn, room, CONTROL_ANSWER_MAX, sockets);
	if (n <= 0)
		return n < 0 && !is_gone() ? err_sys(e, "read the server's answer") : err_new(e, ERR_NETWORK, gone);
	buf_put(ret, room, (size_t)n);
	return 0;
}

int control_say(int conn, const char *verb, int64_t wait_ms, struct buf *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct str text;
	size_t before = ret->n;
	if (ask(conn, verb, wait_ms, ret, NULL, e) < 0)
		return -1;
	const struct json *j = json_parse(&a, str_skip(buf_str(ret), before), "the server's answer", e);
	if (!j)
		return -1;
	struct err ignored = ERR_INIT;
	if (json_get_str(j, "error", &text, &ignored) >= 0)
		return err_new(e, ERR_FAILED, "%.*s", STR_ARG(text));
	return 0;
}

int control_ask(int state_fd, const char *verb, int64_t wait_ms, struct buf *ret, int *ret_conn, struct err *e)
{
	/* one that was killed takes connections for a moment still, and answers none */
	for (int i = 0;; i++) {
		auto_fd conn = connect_to(state_fd, e);
		if (conn < 0)
			return -1;
		if (control_say(conn, verb, wait_ms, ret, e) == 0) {
			if (ret_conn)
				*ret_conn = steal_fd(&conn);
			return 0;
		}
		if (e->code != ERR_NETWORK || i == GONE_TRIES)
			return -1;
		poll(NULL, 0, GONE_PAUSE_MS);
		*e = ERR_INIT;
	}
}

int control_wait_end(int conn, int64_t wait_ms, struct err *e)
{
	int64_t until = clock_mono_ms() + wait_ms;
	char rest[QUESTION_MAX];
	for (;;) {
		if (wait_for(conn, until, e) < 0)
			return -1;
		ssize_t n = get_packet(conn, rest, sizeof(rest), NULL);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_sys(e, "wait for the server's end");
	}
}

int control_take(int state_fd, struct control_sockets *ret, int *ret_conn, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(CONTROL_ANSWER_MAX);
	const struct json *names = NULL;
	*ret = (struct control_sockets){0};
	auto_fd conn = connect_to(state_fd, e);
	if (conn < 0 || ask(conn, "sockets", ANSWER_WAIT_MS, &b, ret, e) < 0)
		return -1;
	const struct json *j = json_parse(&a, buf_str(&b), "the server's answer", e);
	bool good = j && json_opt_array(j, "names", &names, e) >= 0 && names && names->n == (uint32_t)ret->n;
	for (int i = 0; good && i < ret->n; i++) {
		good = names->item[i].type == JSON_STRING && names->item[i].string.n < CONTROL_NAME_MAX;
		if (good)
			snprintf(ret->name[i], CONTROL_NAME_MAX, "%.*s", STR_ARG(names->item[i].string));
	}
	if (!good) {
		control_sockets_release(ret);
		return err_new(e, ERR_INPUT, "the server that runs does not hand its sockets over; stop and start it");
	}
	*ret_conn = steal_fd(&conn);
	return 0;
}
