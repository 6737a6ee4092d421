// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * What the files of this module share.
 */
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

#include "base/json.h"
#include "service/service.h"

/* == names and texts (component.c) ================================================================================ */
/* The declaration in the form of a component file, as JSON: what `component_read` reads back as the same. */
void decl_put(struct jw *w, const struct service_decl *d);
/* A copy that lives in the arena, through decl_put and component_read: what is refused in a file is refused here. */
int decl_copy(struct arena *a, const struct service_decl *d, struct service_decl *ret, struct err *e);

/* == sockets (socket.c) =========================================================================================== */
struct address {
	socklen_t n;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	} u;
	bool any_host; /* "*": both families where the host has them */
};
/* `dir`: where a relative UNIX socket lies; NULL while only the form is checked. */
int address_parse(struct str text, const char *dir, struct address *ret, struct err *e);
