// SPDX-License-Identifier: Apache-2.0
#pragma once
/* traffic_drivers (private to traffic): what HAProxy and keepalived are asked, and how their answers are read. */
#include "pair/traffic.h"

/* == HAProxy's runtime socket (traffic_haproxy.c). Source: its management guide, "show stat", "show servers state", "set server". */
enum { HAPROXY_ANSWER_MAX = 1 << 20 };
enum { /* srv_admin_state: sums, forced or inherited */
       HAPROXY_MAINT = 0x01 | 0x02 | 0x04 | 0x20,
       HAPROXY_DRAIN = 0x08 | 0x10,
};
struct haproxy_server {
	uint64_t admin; /* srv_admin_state */
	uint64_t in_flight, queued, weight;
	bool up, checked; /* up: not known to be down */
	struct str status;
};
/* One command, one answer, which ends with the connection. */
int haproxy_ask(const struct traffic_driver *d, const char *command, const struct clock *c, int64_t deadline_ms,
		struct buf *answer, struct err *e);
int haproxy_set(const struct traffic_driver *d, uint32_t member, const char *state, const struct clock *c,
		int64_t deadline_ms, struct err *e);
int haproxy_look(const struct traffic_driver *d, struct arena *a, uint32_t member, const struct clock *c,
		 int64_t deadline_ms, struct haproxy_server *ret, struct err *e);
/* How many idle connections are kept to the member's server. */
int haproxy_kept(const struct traffic_driver *d, uint32_t member, const struct clock *c, int64_t deadline_ms,
		 uint64_t *ret, struct err *e);
int haproxy_read_kept(struct str text, struct str backend, struct str server, uint64_t *ret, struct err *e);
/* The two answers, of which anything may be wrong. */
int haproxy_read_stat(struct arena *a, struct str text, struct str backend, struct str server,
		      struct haproxy_server *ret, struct err *e);
int haproxy_read_admin(struct str text, struct str backend, struct str server, uint64_t *ret, struct err *e);
/* The words of a socket's address, as HAProxy has them: a path, ipv4@HOST:PORT, ipv6@HOST:PORT. */
bool haproxy_socket_ok(struct str text);

/* == addresses of this host (traffic_keepalived.c) ================================================================ */
int keepalived_set(const struct traffic_driver *d, bool active, bool *ret_changed, struct err *e);
/* 1: the address is on the interface of this host. */
int keepalived_has_address(const struct traffic_driver *d, struct err *e);
