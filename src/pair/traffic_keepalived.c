// SPDX-License-Identifier: Apache-2.0
/*
 * keepalived through a vrrp_track_file: it adds the file's number (times the weight of its configuration) to the priority of the
 * instance, and the member with the highest priority has the address. Whether it has, the kernel knows.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/fs.h"
#include "pair/traffic_drivers.h"

static int read_weight(const struct traffic_driver *d, int64_t *ret, struct err *e)
{
	auto_buf b = BUF_INIT(64);
	struct err why = ERR_INIT;
	if (fs_read(AT_FDCWD, d->track_file.p, &b, &why) < 0) {
		if (why.code == ERR_NOT_FOUND)
			return 0;
		*e = why;
		return err_ctx(e, "read the track file '%.*s'", STR_ARG(d->track_file));
	}
	if (!str_to_i64(str_trim(buf_str(&b)), ret))
		return err_new(e, ERR_INPUT, "the track file '%.*s' holds no number", STR_ARG(d->track_file));
	return 1;
}

int keepalived_set(const struct traffic_driver *d, bool active, bool *ret_changed, struct err *e)
{
	char text[32];
	int64_t v = 0;
	int32_t want = active ? d->weight_active : d->weight_standby;
	struct err ignored = ERR_INIT;
	*ret_changed = read_weight(d, &v, &ignored) != 1 || v != want; /* what cannot be read is written anew */
	if (!*ret_changed)
		return 0;
	int n = snprintf(text, sizeof(text), "%d\n", (int)want);
	if (fs_replace(AT_FDCWD, d->track_file.p, text, (size_t)n, 0, e) < 0)
		return err_ctx(e, "write the track file '%.*s'", STR_ARG(d->track_file));
	return 0;
}

static bool same_address(const struct sockaddr *s, struct str text)
{
	unsigned char want[16];
	if (!s)
		return false;
	if (s->sa_family == AF_INET && inet_pton(AF_INET, text.p, want) == 1) {
		struct sockaddr_in v4;
		memcpy(&v4, s, sizeof(v4));
		return memcmp(&v4.sin_addr, want, 4) == 0;
	}
	if (s->sa_family == AF_INET6 && inet_pton(AF_INET6, text.p, want) == 1) {
		struct sockaddr_in6 v6;
		memcpy(&v6, s, sizeof(v6));
		return memcmp(&v6.sin6_addr, want, 16) == 0;
	}
	return false;
}

int keepalived_has_address(const struct traffic_driver *d, struct err *e)
{
	struct ifaddrs *all;
	int found = 0;
	if (getifaddrs(&all) < 0)
		return err_sys(e, "read the addresses of this host");
	for (struct ifaddrs *i = all; i && !found; i = i->ifa_next)
		found = str_eq_c(d->interface, i->ifa_name) && same_address(i->ifa_addr, d->address);
	freeifaddrs(all);
	return found;
}
