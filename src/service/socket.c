// SPDX-License-Identifier: Apache-2.0
/*
 * Addresses, and the listening sockets that the supervisor holds.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "base/fs.h"
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
