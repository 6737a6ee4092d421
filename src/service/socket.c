// SPDX-License-Identifier: Apache-2.0
/*
 * Addresses, and the listening sockets that the supervisor holds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "service/internal.h"

/* "127.0.0.1:80", "[::1]:80", "*:80", "localhost:80": names are not looked up. */
static int parse_inet(struct str text, struct address *ret, struct err *e)
{
	ptrdiff_t colon = str_rfind(text, ':');
	struct str host = str_head(text, (size_t)colon), port_text = str_skip(text, (size_t)colon + 1);
	uint64_t port;
	char z[64];
	if (!str_to_u64(port_text, &port) || port == 0 || port > 65535)
		return err_new(e, ERR_INPUT, "address '%.*s' needs a port from 1 to 65535", STR_ARG(text));
	ret->any_host = str_eq(host, STR("*"));
	bool six = ret->any_host || (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']');
	if (ret->any_host)
		host = STR("::");
	else if (six)
		host = str_of(host.p + 1, host.n - 2);
	else if (str_eq(host, STR("localhost")))
		host = STR("127.0.0.1");
	if (host.n >= sizeof(z))
		return err_new(e, ERR_INPUT, "address '%.*s' is too long", STR_ARG(str_head(text, 100)));
	memcpy(z, host.p, host.n);
	z[host.n] = '\0';
	if (six) {
		ret->u.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
		ret->n = sizeof(ret->u.v6);
		if (inet_pton(AF_INET6, z, &ret->u.v6.sin6_addr) == 1)
			return 0;
	} else {
		ret->u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
		ret->n = sizeof(ret->u.v4);
		if (inet_pton(AF_INET, z, &ret->u.v4.sin_addr) == 1)
			return 0;
	}
	return err_new(e, ERR_INPUT,
		       "address '%.*s' is no number: 127.0.0.1:80, [::1]:80, *:80 or the path of a UNIX socket",
		       STR_ARG(text));
}

static int parse_unix(struct str text, const char *dir, struct address *ret, struct err *e)
{
	bool absolute = text.n > 0 && text.p[0] == '/';
	if (!fs_path_is_inside(absolute ? str_skip(text, 1) : text))
		return err_new(e, ERR_INPUT, "the UNIX socket '%.*s' must be a path without '..' and '//'",
			       STR_ARG(str_head(text, 200)));
	auto_free char *path = absolute ? str_dup(text) : xasprintf("%s/%.*s", dir ? dir : "", STR_ARG(text));
	size_t n = strlen(path);
	if (n >= sizeof(ret->u.un.sun_path))
		return err_new(e, ERR_LIMIT, "the path of the UNIX socket '%s' has %zu bytes, more than %zu", path, n,
			       sizeof(ret->u.un.sun_path) - 1);
	ret->u.un = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret->u.un.sun_path, path, n + 1);
	ret->n = sizeof(ret->u.un);
	return 0;
}

int address_parse(struct str text, const char *dir, struct address *ret, struct err *e)
{
	*ret = (struct address){0};
	if (str_find(text, '/') >= 0 || str_find(text, ':') < 0)
		return parse_unix(text, dir, ret, e);
	return parse_inet(text, ret, e);
}

/* == listening ==================================================================================================== */
/* The file of a socket that nobody listens on is left over from a process that died. */
static int clear_unix(const struct address *a, struct err *e)
{
	const char *path = a->u.un.sun_path;
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "stat '%s'", path);
	if (!S_ISSOCK(st.st_mode))
		return err_new(e, ERR_EXISTS, "'%s' is there and is no socket; move it away", path);
	auto_fd probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return err_sys(e, "make a socket");
	if (connect(probe, &a->u.any, a->n) == 0 || errno != ECONNREFUSED)
		return err_new(e, ERR_BUSY, "another process listens on '%s'", path);
	if (sys_unlinkat(AT_FDCWD, path, 0) < 0)
		return err_sys(e, "remove '%s'", path);
	return 0;
}

static int open_socket(const struct address *a, struct err *e)
{
	const int on = 1, only = !a->any_host;
	auto_fd fd = socket(a->u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	if (a->u.any.sa_family != AF_UNIX && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return err_sys(e, "set SO_REUSEADDR");
	if (a->u.any.sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) < 0)
		return err_sys(e, "set IPV6_V6ONLY");
	if (bind(fd, &a->u.any, a->n) < 0)
		return err_sys(e, "bind");
	if (a->u.any.sa_family != AF_UNIX && listen(fd, SOMAXCONN) < 0)
		return err_sys(e, "listen");
	return steal_fd(&fd);
}

/* Those who connect must find the file's mode right: it is set before anything is accepted. */
static int finish_unix(int fd, const struct address *a, mode_t mode, const struct identity *who, struct err *e)
{
	const char *path = a->u.un.sun_path;
	if (sys_fchmodat(AT_FDCWD, path, mode) < 0)
		return err_sys(e, "set the mode of '%s'", path);
	if (who && who->change && sys_fchownat(AT_FDCWD, path, who->uid, who->gid) < 0)
		return err_sys(e, "give '%s' to user '%s'", path, who->name);
	return listen(fd, SOMAXCONN) < 0 ? err_sys(e, "listen") : 0;
}

int socket_listen(const struct address *a, const char *text, mode_t mode, const struct identity *who, struct err *e)
{
	bool is_unix = a->u.any.sa_family == AF_UNIX;
	if (is_unix && clear_unix(a, e) < 0)
		return err_ctx(e, "listen on '%s'", text);
	auto_fd fd = open_socket(a, e);
	if (fd < 0 && a->any_host && (e->sys == EAFNOSUPPORT || e->sys == EADDRNOTAVAIL)) {
		struct address four = {.n = sizeof(four.u.v4)};
		four.u.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = a->u.v6.sin6_port};
		fd = open_socket(&four, e);
	}
	if (fd < 0 || (is_unix && finish_unix(fd, a, mode, who, e) < 0))
		return err_ctx(e, "listen on '%s'", text);
	return steal_fd(&fd);
}

static bool same_address(const struct address *a, const struct address *b)
{
	if (a->u.any.sa_family != b->u.any.sa_family)
		return a->any_host && b->u.any.sa_family == AF_INET && b->u.v4.sin_addr.s_addr == INADDR_ANY &&
		       b->u.v4.sin_port == a->u.v6.sin6_port;
	switch (a->u.any.sa_family) {
	case AF_INET:
		return a->u.v4.sin_port == b->u.v4.sin_port && a->u.v4.sin_addr.s_addr == b->u.v4.sin_addr.s_addr;
	case AF_INET6:
		return a->u.v6.sin6_port == b->u.v6.sin6_port &&
		       memcmp(&a->u.v6.sin6_addr, &b->u.v6.sin6_addr, sizeof(a->u.v6.sin6_addr)) == 0;
	default:
		return strncmp(a->u.un.sun_path, b->u.un.sun_path, sizeof(a->u.un.sun_path)) == 0;
	}
}

bool socket_is(int fd, const struct address *a)
{
	struct address its = {.n = sizeof(its.u)};
	int listens = 0;
	socklen_t n = sizeof(listens);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 && listens &&
	       getsockname(fd, &its.u.any, &its.n) == 0 && same_address(a, &its);
}

/* == connecting =================================================================================================== */
int socket_connect(const struct address *a, bool *ret_pending, struct err *e)
{
	struct address to = *a;
	if (a->any_host) {
		to.n = sizeof(to.u.v4);
		to.u.v4 = (struct sockaddr_in){.sin_family = AF_INET,
					       .sin_port = a->u.v6.sin6_port,
					       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	}
	auto_fd fd = socket(to.u.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "make a socket");
	int r = connect(fd, &to.u.any, to.n);
	if (r < 0 && errno != EINPROGRESS)
		return err_sys(e, "connect");
	*ret_pending = r < 0;
	return steal_fd(&fd);
}
