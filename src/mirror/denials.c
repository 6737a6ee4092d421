// SPDX-License-Identifier: Apache-2.0
#include "mirror/denials.h"

#include <stdlib.h>

void denials_put(struct denials *d, struct str path, const struct err *why, int64_t until_ms)
{
	if (!d->v)
		d->v = xcalloc(DENIALS_MAX, sizeof(*d->v));
	const uint64_t *there = map_get(&d->by_path, path);
	if (there && d->v[*there].code == why->code) {
		d->v[*there].until_ms = until_ms;
		return;
	}
	if (d->n == DENIALS_MAX)
		denials_clear(d);
	size_t i = d->n++;
	*map_put(&d->by_path, arena_str(&d->arena, path)) = i;
	d->v[i] = (struct denial){until_ms, why->code, arena_strdup(&d->arena, str_c(why->msg))};
}

bool denials_get(const struct denials *d, struct str path, int64_t now_ms, struct err *e)
{
	const uint64_t *at = map_get(&d->by_path, path);
	if (!at || d->v[*at].until_ms <= now_ms)
		return false;
	err_new(e, d->v[*at].code, "%s", d->v[*at].msg);
	return true;
}

void denials_clear(struct denials *d)
{
	map_release(&d->by_path);
	arena_release(&d->arena);
	d->n = 0;
}

void denials_release(struct denials *d)
{
	denials_clear(d);
	free(d->v);
	d->v = NULL;
}
