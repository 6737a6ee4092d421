// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * endpoint (private to pair): HOST:PORT or [IPv6]:PORT, numbers alone: a name may mean another host tomorrow, and asking for it may block.
 */
#include <sys/socket.h>

#include "base/arena.h"
#include "base/err.h"

struct endpoint {
	struct sockaddr_storage sa;
	socklen_t n;
};
/* Of one host: no 0.0.0.0, no multicast. ERR_USAGE, told for people. */
int endpoint_parse(struct str text, struct endpoint *ret, struct err *e);
struct str endpoint_text(struct arena *a, const struct endpoint *addr);
/* What a person gives, made whole: "", ":PORT", "HOST", "[IPv6]". What is missing is this host's address towards `toward` (NULL: towards
 * anywhere) and the default port. */
int endpoint_complete(struct arena *a, struct str given, const struct endpoint *toward, struct str *ret, struct err *e);
/* ERR_NETWORK. Non-blocking when it returns. From this host's own address where that can be had: the other side keeps room for it. */
int endpoint_connect(const struct endpoint *addr, struct str own, int64_t until_ms, int *ret_fd, struct err *e);
