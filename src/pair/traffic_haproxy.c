// SPDX-License-Identifier: Apache-2.0
/*
 * HAProxy through its runtime socket: a connection for each command, as its guide has it for programs; the answer ends with the
 * connection. Whoever answers is not trusted: answers are bounded in size and time, columns are found by their names.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "pair/traffic_drivers.h"

enum { COLUMNS_MAX = 512 };

/* == its socket =================================================================================================== */
union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

static bool parse_port(struct str s, in_port_t *ret)
{
	uint64_t v;
	if (!str_to_u64(s, &v) || v == 0 || v > 65535)
		return false;
	*ret = htons((uint16_t)v);
	return true;
}

static bool parse_host(int family, struct str host, void *ret)
{
	char text[INET6_ADDRSTRLEN];
	if (host.n == 0 || host.n >= sizeof(text))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	return inet_pton(family, text, ret) == 1;
}

static bool parse_socket(struct str s, union address *ret, socklen_t *ret_n)
{
	*ret = (union address){0};
	if (str_starts(s, STR("/"))) {
		if (s.n >= sizeof(ret->un.sun_path))
			return false;
		ret->un.sun_family = AF_UNIX;
		memcpy(ret->un.sun_path, s.p, s.n);
		*ret_n = sizeof(ret->un);
		return true;
	}
	bool v6 = str_take_str(&s, STR("ipv6@"));
	if (!v6 && !str_take_str(&s, STR("ipv4@")))
		return false;
	ptrdiff_t colon = str_rfind(s, ':');
	if (colon < 0)
		return false;
	struct str host = str_head(s, (size_t)colon), port = str_skip(s, (size_t)colon + 1);
	if (v6) {
		ret->v6.sin6_family = AF_INET6;
		*ret_n = sizeof(ret->v6);
		return parse_host(AF_INET6, host, &ret->v6.sin6_addr) && parse_port(port, &ret->v6.sin6_port);
	}
	ret->v4.sin_family = AF_INET;
	*ret_n = sizeof(ret->v4);
	return parse_host(AF_INET, host, &ret->v4.sin_addr) && parse_port(port, &ret->v4.sin_port);
}

bool haproxy_socket_ok(struct str text)
{
	union address a;
	socklen_t n;
	return parse_socket(text, &a, &n);
}

/* 0: ready; -1: not in time. */
static int wait_ready(int fd, short events, const struct clock *c, int64_t deadline_ms, struct err *e)
{
	for (;;) {
		int64_t left = deadline_ms - c->mono_ms(c);
		if (left <= 0)
			return err_new(e, ERR_NETWORK, "no answer in time");
		struct pollfd p = {.fd = fd, .events = events};
		int n = poll(&p, 1, left > 1000 ? 1000 : (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return err_sys(e, "wait for it");
	}
}

static int dial(const struct traffic_driver *d, const struct clock *c, int64_t deadline_ms, struct err *e)
{
	union address a;
	socklen_t n;
	if (!parse_socket(d->socket, &a, &n))
		return err_new(e, ERR_INPUT, "'%.*s' is no address of a socket", STR_ARG(d->socket));
	auto_fd fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	/* EAGAIN: the queue of a UNIX socket is full; there is nothing to wait for but time */
	while (connect(fd, &a.any, n) < 0) {
		int error = errno;
		socklen_t size = sizeof(error);
		if (error == EINPROGRESS) {
			if (wait_ready(fd, POLLOUT, c, deadline_ms, e) < 0)
				return -1;
			(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
			if (error == 0)
				break;
		} else if ((error == EAGAIN || error == EINTR) && c->mono_ms(c) < deadline_ms) {
			(void)poll(NULL, 0, 5);
			continue;
		}
		err_errno(e, error, "connect");
		e->code = ERR_NETWORK;
		return -1;
	}
	return steal_fd(&fd);
}

static int converse(int fd, const char *command, const struct clock *c, int64_t deadline_ms, struct buf *answer,
		    struct err *e)
{
	auto_buf line = BUF_INIT(4096);
	buf_printf(&line, "%s\n", command);
	for (size_t at = 0; at < line.n;) {
		ssize_t n = send(fd, line.p + at, line.n - at, MSG_NOSIGNAL);
		if (n >= 0)
			at += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			return err_sys(e, "send");
		else if (wait_ready(fd, POLLOUT, c, deadline_ms, e) < 0)
			return -1;
	}
	for (;;) {
		char part[16384];
		ssize_t n = recv(fd, part, sizeof(part), 0);
		if (n == 0)
			return 0;
		if (n > 0) {
			buf_put(answer, part, (size_t)n);
			if (answer->overflow)
				return err_new(e, ERR_LIMIT, "its answer has more than %zu bytes", answer->max);
			if (c->mono_ms(c) >= deadline_ms)
				return err_new(e, ERR_NETWORK, "no end of the answer in time");
		} else if (errno != EAGAIN && errno != EINTR) {
			return err_sys(e, "receive");
		} else if (wait_ready(fd, POLLIN, c, deadline_ms, e) < 0) {
			return -1;
		}
	}
}

int haproxy_ask(const struct traffic_driver *d, const char *command, const struct clock *c, int64_t deadline_ms,
		struct buf *answer, struct err *e)
{
	auto_fd fd = dial(d, c, deadline_ms, e);
	if (fd < 0 || converse(fd, command, c, deadline_ms, answer, e) < 0) {
		e->code = e->code == ERR_LIMIT ? ERR_LIMIT : ERR_NETWORK;
		return err_ctx(e, "ask '%s' at '%.*s' (is HAProxy running, with 'stats socket ... level admin' there?)",
			       command, STR_ARG(d->socket));
	}
	return 0;
}

/* == its answers ================================================================================================== */
/* The next value of a line, whose quotes are taken off; fields end at `stop`. */
static bool take_field(struct str *line, char stop, struct str *ret)
{
	if (line->n > 0 && line->p[0] == '"' && stop == ',') {
		size_t i = 1;
		while (i < line->n && (line->p[i] != '"' || (i + 1 < line->n && line->p[i + 1] == '"')))
			i += line->p[i] == '"' ? 2 : 1;
		if (i >= line->n)
			return false;
		*ret = str_of(line->p + 1, i - 1);
		*line = str_skip(*line, i + 1);
		return line->n == 0 || str_take_char(line, ',');
	}
	if (str_take_until(line, stop, ret))
		return true;
	*ret = *line;
	*line = str_skip(*line, line->n);
	return true;
}

/* The line whose values in the two columns are these; values of `want` columns are put into ret. */
struct table {
	char stop;
	const char *key[2], *const *want;
	uint32_t want_n;
};

static int table_columns(const struct table *t, struct str head, uint32_t *key_at, uint32_t *want_at, struct err *e)
{
	struct str name;
	for (uint32_t i = 0; head.n > 0; i++) {
		if (i == COLUMNS_MAX)
			return err_new(e, ERR_LIMIT, "its table has more than %d columns", COLUMNS_MAX);
		if (!take_field(&head, t->stop, &name))
			return err_new(e, ERR_INPUT, "its table has no proper head");
		for (uint32_t k = 0; k < 2; k++)
			if (str_eq_c(name, t->key[k]))
				key_at[k] = i;
		for (uint32_t k = 0; k < t->want_n; k++)
			if (str_eq_c(name, t->want[k]))
				want_at[k] = i;
	}
	for (uint32_t k = 0; k < 2; k++)
		if (key_at[k] == COLUMNS_MAX)
			return err_new(e, ERR_INPUT, "its table has no column '%s'", t->key[k]);
	for (uint32_t k = 0; k < t->want_n; k++)
		if (want_at[k] == COLUMNS_MAX)
			return err_new(e, ERR_INPUT, "its table has no column '%s'", t->want[k]);
	return 0;
}

static int table_find(const struct table *t, struct str text, const struct str *key, struct str *ret, struct err *e)
{
	struct str line, value;
	uint32_t key_at[2] = {COLUMNS_MAX, COLUMNS_MAX}, want_at[8];
	bool headed = false;
	for (uint32_t k = 0; k < t->want_n; k++)
		want_at[k] = COLUMNS_MAX;
	while (str_take_line(&text, &line)) {
		if (str_take_str(&line, STR("# "))) {
			if (!headed && table_columns(t, line, key_at, want_at, e) < 0)
				return -1;
			headed = true;
			continue;
		}
		uint32_t same = 0, have = 0;
		for (uint32_t i = 0; headed && line.n > 0 && i < COLUMNS_MAX; i++) {
			if (!take_field(&line, t->stop, &value))
				return err_new(e, ERR_INPUT, "its table has a line that is cut off");
			for (uint32_t k = 0; k < 2; k++)
				same += key_at[k] == i && str_eq(value, key[k]);
			for (uint32_t k = 0; k < t->want_n; k++)
				if (want_at[k] == i) {
					ret[k] = value;
					have++;
				}
		}
		if (same == 2)
			return have == t->want_n ? 0 : err_new(e, ERR_INPUT, "its table has a line that is too short");
	}
	if (!headed) /* "No such backend.", "Permission denied", … */
		return err_new(e, ERR_FAILED, "it says '%.*s'", STR_ARG(str_head(str_trim(text), 200)));
	return err_new(e, ERR_NOT_FOUND, "it has no server '%.*s/%.*s'", STR_ARG(key[0]), STR_ARG(key[1]));
}

int haproxy_read_stat(struct arena *a, struct str text, struct str backend, struct str server,
		      struct haproxy_server *ret, struct err *e)
{
	static const char *const want[] = {"qcur", "scur", "status", "weight"};
	const struct table t = {.stop = ',', .key = {"pxname", "svname"}, .want = want, .want_n = 4};
	struct str v[4] = {STR_NONE, STR_NONE, STR_NONE, STR_NONE};
	const struct str key[2] = {backend, server};
	if (table_find(&t, text, key, v, e) < 0)
		return -1;
	if ((v[0].n > 0 && !str_to_u64(v[0], &ret->queued)) || !str_to_u64(v[1], &ret->in_flight) ||
	    !str_to_u64(v[3], &ret->weight))
		return err_new(e, ERR_INPUT, "its counts of '%.*s' are no numbers", STR_ARG(server));
	if (v[2].n == 0 || v[2].n > 64)
		return err_new(e, ERR_INPUT, "its status of '%.*s' is not understood", STR_ARG(server));
	for (size_t i = 0; i < v[2].n; i++)
		if (v[2].p[i] < ' ' || v[2].p[i] > '~')
			return err_new(e, ERR_INPUT, "its status of '%.*s' is not understood", STR_ARG(server));
	ret->status = arena_str(a, v[2]);
	ret->checked = !str_eq(v[2], STR("no check"));
	ret->up = str_starts(v[2], STR("UP")) || str_starts(v[2], STR("DRAIN")) || !ret->checked;
	return 0;
}

int haproxy_read_admin(struct str text, struct str backend, struct str server, uint64_t *ret, struct err *e)
{
	static const char *const want[] = {"srv_admin_state"};
	const struct table t = {.stop = ' ', .key = {"be_name", "srv_name"}, .want = want, .want_n = 1};
	struct str v = STR_NONE;
	const struct str key[2] = {backend, server};
	if (table_find(&t, text, key, &v, e) < 0)
		return -1;
	return str_to_u64(v, ret) ? 0 : err_new(e, ERR_INPUT, "its state of '%.*s' is no number", STR_ARG(server));
}

/* "# bkname/svname bkid/svid addr port - purge_delay … idle_cur idle_per_thr[2]": both names in one column */
int haproxy_read_kept(struct str text, struct str backend, struct str server, uint64_t *ret, struct err *e)
{
	static const char *const want[] = {"idle_cur"};
	const struct table t = {.stop = ' ', .key = {"bkname/svname", "bkname/svname"}, .want = want, .want_n = 1};
	struct str v = STR_NONE;
	auto_buf name = BUF_INIT(4096);
	buf_printf(&name, "%.*s/%.*s", STR_ARG(backend), STR_ARG(server));
	const struct str key[2] = {buf_str(&name), buf_str(&name)};
	if (table_find(&t, text, key, &v, e) < 0)
		return -1;
	return str_to_u64(v, ret) ? 0 : err_new(e, ERR_INPUT, "its count of '%.*s' is no number", STR_ARG(server));
}

/* == what it is asked ============================================================================================= */
int haproxy_set(const struct traffic_driver *d, uint32_t member, const char *state, const struct clock *c,
		int64_t deadline_ms, struct err *e)
{
	auto_buf answer = BUF_INIT(HAPROXY_ANSWER_MAX);
	auto_buf command = BUF_INIT(4096);
	buf_printf(&command, "set server %.*s/%.*s state %s", STR_ARG(d->backend), STR_ARG(d->server[member]), state);
	if (haproxy_ask(d, command.p, c, deadline_ms, &answer, e) < 0)
		return -1;
	struct str said = str_trim(buf_str(&answer));
	if (said.n == 0)
		return 0;
	for (size_t i = 0; i < said.n; i++) /* goes into a message */
		if (answer.p[said.p - answer.p + (ptrdiff_t)i] < ' ')
			answer.p[said.p - answer.p + (ptrdiff_t)i] = ' ';
	return err_new(e, ERR_FAILED, "'%s' is refused: '%.*s' (it needs 'level admin' at '%.*s')", command.p,
		       STR_ARG(str_head(said, 200)), STR_ARG(d->socket));
}

int haproxy_look(const struct traffic_driver *d, struct arena *a, uint32_t member, const struct clock *c,
		 int64_t deadline_ms, struct haproxy_server *ret, struct err *e)
{
	auto_buf answer = BUF_INIT(HAPROXY_ANSWER_MAX);
	auto_buf command = BUF_INIT(4096);
	*ret = (struct haproxy_server){0};
	buf_printf(&command, "show servers state %.*s", STR_ARG(d->backend));
	if (haproxy_ask(d, command.p, c, deadline_ms, &answer, e) < 0)
		return -1;
	if (haproxy_read_admin(buf_str(&answer), d->backend, d->server[member], &ret->admin, e) < 0)
		return err_ctx(e, "'%s'", command.p);
	buf_clear(&answer);
	buf_clear(&command);
	buf_printf(&command, "show stat %.*s 4 -1", STR_ARG(d->backend));
	if (haproxy_ask(d, command.p, c, deadline_ms, &answer, e) < 0)
		return -1;
	if (haproxy_read_stat(a, buf_str(&answer), d->backend, d->server[member], ret, e) < 0)
		return err_ctx(e, "'%s'", command.p);
	return 0;
}

int haproxy_kept(const struct traffic_driver *d, uint32_t member, const struct clock *c, int64_t deadline_ms,
		 uint64_t *ret, struct err *e)
{
	auto_buf answer = BUF_INIT(HAPROXY_ANSWER_MAX);
	auto_buf command = BUF_INIT(4096);
	buf_printf(&command, "show servers conn %.*s", STR_ARG(d->backend));
	if (haproxy_ask(d, command.p, c, deadline_ms, &answer, e) < 0)
		return -1;
	return haproxy_read_kept(buf_str(&answer), d->backend, d->server[member], ret, e) < 0
		       ? err_ctx(e, "'%s'", command.p)
		       : 0;
}
