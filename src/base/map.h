// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * map: one open-addressing hash table, from a byte string or a 64-bit id to a 64-bit value or pointer.
 *
 *	struct map m = MAP_INIT;
 *	*map_put(&m, str_c("python")) = 7;          the slot is made, 0 when new
 *	uint64_t *v = map_get(&m, name);            NULL when absent
 *	map_release(&m);                            or `auto_map m = MAP_INIT;`
 *
 * Keys of the string map are NOT copied: they must outlive the map (put them in an arena first). Slots move on growth.
 * Hashes are keyed per process, so hostile keys cannot be made to collide. Iteration order is unspecified: sort what
 * is shown.
 */
#include "base/cleanup.h"
#include "base/str.h"

struct map_slot {
	struct str key; /* string maps */
	uint64_t id;	/* id maps: the key; string maps: the hash */
	uint64_t value;
	bool used;
};
struct map {
	struct map_slot *slot;
	size_t n, cap; /* cap is 0 or a power of two */
};
#define MAP_INIT ((struct map){0})

uint64_t *map_put(struct map *m, struct str key);
uint64_t *map_get(const struct map *m, struct str key);
uint64_t *map_put_id(struct map *m, uint64_t id);
uint64_t *map_get_id(const struct map *m, uint64_t id);
bool map_remove(struct map *m, struct str key); /* false when absent */
void map_release(struct map *m);
/* for (struct map_slot *s = NULL; (s = map_next(&m, s));) ... */
struct map_slot *map_next(const struct map *m, struct map_slot *prev);
#define auto_map cleanup_with(map_release) struct map

/* The hash that the map uses, for tables of one's own. */
uint64_t hash_bytes(const void *p, size_t n);
