// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * client: what client.c (the top-level roles) and search.c (delegations) share.
 */
#include "base/vec.h"
#include "tuf/meta.h"

/* A delegated role that was loaded: verified by whoever delegated to it then, and again by whoever does next. */
struct loaded {
	struct str role;
	struct meta *meta;
};

struct tuf_client {
	struct tuf_client_opts o;
	int lock_fd;
	int64_t now_ms; /* of the last refresh: one time for all of it */
	bool fresh;
	struct meta *root, *timestamp, *snapshot, *targets;
	VEC(struct loaded) delegated;
	struct arena arena; /* targets that were handed out */
};

/* Step 5.6 for any targets role: the file that `snapshot` lists, from the folder or fetched, verified by `by` and `role`, kept. */
int client_load_targets(struct tuf_client *c, struct str name, struct meta *by, const struct meta_role *role,
			struct meta **ret, struct err *e);
