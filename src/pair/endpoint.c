// SPDX-License-Identifier: Apache-2.0
#include "pair/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "pair/pair.h"

enum { HOST_MAX = 64 };

/* Both parts as they stand; *ret_port empty where there is none. */
static bool split(struct str text, struct str *ret_host, struct str *ret_port)
{
	*ret_port = STR_NONE;
	if (str_take_char(&text, '[')) {
		if (!str_take_until(&text, ']', ret_host))
			return false;
		*ret_port = text;
		return !text.n || str_take_char(ret_port, ':');
	}
	ptrdiff_t colon = str_find(text, ':');
	*ret_host = colon < 0 ? text : str_head(text, (size_t)colon);
	if (colon >= 0)
		*ret_port = str_skip(text, (size_t)colon + 1);
	return true;
}

static bool is_of_one_host(const struct endpoint *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->sa;
	if (a->sa.ss_family == AF_INET) {
		uint32_t n = ntohl(v4->sin_addr.s_addr);
		return n >> 24 != 0 && n >> 28 < 14; /* 224/4: multicast, 240/4: nobody */
	}
	return !IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) && !IN6_IS_ADDR_MULTICAST(&v6->sin6_addr) &&
	       !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

static bool parse_host(struct str host, bool bracket, struct endpoint *ret)
{
	char text[HOST_MAX];
	struct sockaddr_in *v4 = (struct sockaddr_in *)&ret->sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&ret->sa;
	*ret = (struct endpoint){0};
	if (!host.n || host.n >= sizeof(text) || memchr(host.p, '\0', host.n))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	ret->sa.ss_family = bracket ? AF_INET6 : AF_INET;
	ret->n = bracket ? sizeof(*v6) : sizeof(*v4);
	return inet_pton(ret->sa.ss_family, text, bracket ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr) == 1;
}

int endpoint_parse(struct str text, struct endpoint *ret, struct err *e)
{
	struct str host, port;
	uint64_t number = 0;
	if (!split(text, &host, &port) || !parse_host(host, text.n && text.p[0] == '[', ret))
		return err_new(e, ERR_USAGE,
			       "'%.*s' is no address: HOST:PORT or [IPv6]:PORT, as a number, not a name: 10.0.0.1:%d",
			       STR_ARG(str_head(text, 100)), PAIR_DEFAULT_PORT);
	if (!str_to_u64(port, &number) || number < 1 || number > 65535)
		return err_new(e, ERR_USAGE, "'%.*s' has no port between 1 and 65535", STR_ARG(str_head(text, 100)));
	if (!is_of_one_host(ret))
		return err_new(e, ERR_USAGE, "'%.*s' is not the address of one host", STR_ARG(str_head(text, 100)));
	((struct sockaddr_in *)&ret->sa)->sin_port = htons((uint16_t)number); /* stands there in both */
	return 0;
}

static struct str host_text(struct arena *a, const struct endpoint *addr)
{
	char text[INET6_ADDRSTRLEN] = "";
	bool v6 = addr->sa.ss_family == AF_INET6;
	const void *p = v6 ? (const void *)&((const struct sockaddr_in6 *)&addr->sa)->sin6_addr
			   : (const void *)&((const struct sockaddr_in *)&addr->sa)->sin_addr;
	(void)!inet_ntop(addr->sa.ss_family, p, text, sizeof(text));
	return str_c(arena_printf(a, v6 ? "[%s]" : "%s", text));
}

struct str endpoint_text(struct arena *a, const struct endpoint *addr)
{
	struct str host = host_text(a, addr);
	return str_c(
		arena_printf(a, "%.*s:%u", STR_ARG(host), ntohs(((const struct sockaddr_in *)&addr->sa)->sin_port)));
}

/* The kernel's choice of an address of ours; nothing is sent. 192.0.2.1 is nobody's (RFC 5737). */
static int own_host(struct arena *a, const struct endpoint *toward, struct str *ret, struct err *e)
{
	struct endpoint there, own = {.n = sizeof(own.sa)};
	if (toward)
		there = *toward;
	else if (endpoint_parse(STR("192.0.2.1:9"), &there, e) < 0)
		return -1;
	auto_fd fd = socket(there.sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&there.sa, there.n) < 0 ||
	    getsockname(fd, (struct sockaddr *)&own.sa, &own.n) < 0 || !is_of_one_host(&own))
		return err_new(e, ERR_USAGE,
			       "which address of this host is to be the pair's? as in: --listen 10.0.0.1");
	*ret = host_text(a, &own);
	return 0;
}

int endpoint_complete(struct arena *a, struct str given, const struct endpoint *toward, struct str *ret, struct err *e)
{
	struct str host = STR_NONE, port = STR_NONE;
	struct endpoint check;
	if (!split(given, &host, &port))
		return endpoint_parse(given, &check, e);
	if (host.n)
		host = str_c(arena_printf(a, given.p[0] == '[' ? "[%.*s]" : "%.*s", STR_ARG(host)));
	else if (own_host(a, toward, &host, e) < 0)
		return -1;
	if (!port.n)
		port = str_c(arena_printf(a, "%d", PAIR_DEFAULT_PORT));
	struct str whole = str_c(arena_printf(a, "%.*s:%.*s", STR_ARG(host), STR_ARG(port)));
	if (endpoint_parse(whole, &check, e) < 0)
		return -1;
	*ret = endpoint_text(a, &check);
	return 0;
}

static int wait_connected(int fd, int64_t until_ms, struct err *e)
{
	int why = 0;
	socklen_t n = sizeof(why);
	for (;;) {
		int64_t left = until_ms - clock_mono_ms();
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		int rc = poll(&p, 1, left > 0 ? (int)left : 0);
		if (rc > 0)
			break;
		if (rc < 0 && errno != EINTR)
			return err_sys(e, "wait for an answer");
		if (left <= 0)
			return err_errno(e, ETIMEDOUT, "connect");
	}
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n) < 0)
		return err_sys(e, "connect");
	return why ? err_errno(e, why, "connect") : 0;
}

static void come_from(int fd, struct str own, sa_family_t family)
{
	struct endpoint from;
	struct err ignored = ERR_INIT;
	int one = 1;
	if (endpoint_parse(own, &from, &ignored) < 0 || from.sa.ss_family != family)
		return;
	((struct sockaddr_in *)&from.sa)->sin_port = 0;
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	(void)!bind(fd, (struct sockaddr *)&from.sa, from.n);
}

int endpoint_connect(const struct endpoint *addr, struct str own, int64_t until_ms, int *ret_fd, struct err *e)
{
	int one = 1;
	auto_fd fd = socket(addr->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	come_from(fd, own, addr->sa.ss_family);
	int rc = connect(fd, (const struct sockaddr *)&addr->sa, addr->n);
	if (rc < 0 && errno != EINPROGRESS)
		err_sys(e, "connect");
	else
		rc = rc < 0 ? wait_connected(fd, until_ms, e) : 0;
	if (rc < 0) {
		e->code = ERR_NETWORK;
		return -1;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

int pair_listen(struct str address, int *ret_fd, struct err *e)
{
	struct endpoint addr;
	int one = 1;
	if (endpoint_parse(address, &addr, e) < 0)
		return -1;
	auto_fd fd = socket(addr.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* what is accepted has it, too */
	if (bind(fd, (struct sockaddr *)&addr.sa, addr.n) < 0 || listen(fd, 64) < 0)
		return err_sys(e, "listen on '%.*s'", STR_ARG(address));
	*ret_fd = steal_fd(&fd);
	return 0;
}
