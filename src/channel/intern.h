// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * intern: texts and lists kept once. Private to channel/.
 *
 * struct pool holds strings one behind the other (LEB128 length and bytes), a string's id is its offset, 0 is the empty
 * string. struct table finds an id by its hash; what an id means is the owner's matter. Hashes are XXH3 with a seed of
 * the process, so that a channel cannot choose colliding texts.
 */
#include "base/err.h"
#include "base/str.h"

struct pool {
	char *p;
	size_t n, cap;
};
void pool_init(struct pool *o);
void pool_release(struct pool *o);
uint32_t pool_add(struct pool *o, struct str s); /* always a new one */
/* The pool is bounded by its 32-bit ids; to be asked before much is added. */
static inline bool pool_has_room(const struct pool *o, size_t more)
{
	return o->n + more < UINT32_MAX / 2;
}
static inline struct str pool_get(const struct pool *o, uint32_t id)
{
	const unsigned char *p = (const unsigned char *)o->p + id;
	size_t n = *p & 0x7f;
	for (unsigned shift = 7; *p & 0x80; shift += 7)
		n |= (size_t)(*++p & 0x7f) << shift;
	return str_of((const char *)p + 1, n);
}
/* One string as it stands in a pool that may be damaged: false where it does not fit in n bytes. */
bool pool_read(const char *p, size_t n, struct str *ret);

struct slot {
	uint32_t id1, tag; /* id + 1, or 0 */
};
struct table {
	struct slot *slot;
	uint32_t n, cap;
};
void table_release(struct table *t);
void table_grow(struct table *t);
/* Slots to look at for a hash: for (uint32_t at = table_first(t, tag); t->slot[at].id1; at = table_next(t, at)) ... ends
 * at the free slot, where a new id goes. The table must have grown by table_reserve_one. */
static inline void table_reserve_one(struct table *t)
{
	if ((uint64_t)t->n * 4 >= (uint64_t)t->cap * 3)
		table_grow(t);
}
static inline uint32_t table_first(const struct table *t, uint32_t tag)
{
	return tag & (t->cap - 1);
}
static inline uint32_t table_next(const struct table *t, uint32_t at)
{
	return (at + 1) & (t->cap - 1);
}
static inline void table_set(struct table *t, uint32_t at, uint32_t id, uint32_t tag)
{
	t->slot[at] = (struct slot){.id1 = id + 1, .tag = tag};
	t->n++;
}
uint64_t intern_seed(void);
uint64_t intern_hash(const void *p, size_t n, uint64_t seed);

/* Finds s among entries whose string ids are strs[id * stride] (stride 0: an id is the string's id itself). Returns the
 * id, or UINT32_MAX with *at and *tag set for table_set. */
uint32_t table_find(struct table *t, const struct pool *o, const uint32_t *strs, size_t stride, struct str s,
		    uint64_t seed, uint32_t *at, uint32_t *tag);

/* 128-bit hash of a list's text → list: the text itself is not kept. */
struct memo_slot {
	uint64_t low, high;
	uint32_t id1, pad;
};
struct memo {
	struct memo_slot *slot;
	uint32_t n, cap;
};
void memo_release(struct memo *m);
/* The slot of this text; its id1 is 0 where it is new: the caller sets it. */
struct memo_slot *memo_put(struct memo *m, struct str text, uint64_t seed);
