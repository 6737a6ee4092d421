// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * denials (private to mirror): what upstreams answered that they do not have, for a short time, so that a client which asks again and
 * again (for shards, say, of a channel without) does not have them asked each time. Forgotten all at once when metadata change.
 * One thread's. At most DENIALS_MAX are kept; then it begins anew.
 */
#include "base/arena.h"
#include "base/err.h"
#include "base/map.h"

enum { DENIALS_MAX = 4096, DENIED_MS = 30000, UNANSWERED_MS = 5000 };
struct denials {
	struct map by_path; /* → place in v */
	struct arena arena;
	struct denial {
		int64_t until_ms;
		enum err_code code;
		const char *msg;
	} * v;
	size_t n;
};
void denials_put(struct denials *d, struct str path, const struct err *why, int64_t until_ms);
/* True with *e where it was denied and the time is not over. */
bool denials_get(const struct denials *d, struct str path, int64_t now_ms, struct err *e);
void denials_clear(struct denials *d);
void denials_release(struct denials *d);
