// SPDX-License-Identifier: Apache-2.0
/*
 * Linear probing at no more than 70 % load; removal shifts the slots behind back, so that there are no tombstones.
 */
#include "base/map.h"

#define XXH_INLINE_ALL
#include <pthread.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/err.h"

enum { CAP_MIN = 16 };

static uint64_t seed; /* never 0 once made */
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	uint64_t s;
	if (getrandom(&s, sizeof(s), 0) != sizeof(s))
		panic("getrandom failed");
	__atomic_store_n(&seed, s | 1, __ATOMIC_RELEASE);
}

static uint64_t get_seed(void)
{
	uint64_t s = __atomic_load_n(&seed, __ATOMIC_ACQUIRE);
	if (__builtin_expect(s == 0, 0)) {
		pthread_once(&seed_once, make_seed);
		s = __atomic_load_n(&seed, __ATOMIC_ACQUIRE);
	}
	return s;
}

uint64_t hash_bytes(const void *p, size_t n)
{
	return XXH3_64bits_withSeed(n ? p : "", n, get_seed());
}

static uint64_t hash_slot(const struct map_slot *s)
{
	return s->key.p ? s->id : hash_bytes(&s->id, sizeof(s->id));
}

/* Where the key is, or the free slot where it belongs. String keys have a pointer, id keys have none. */
static struct map_slot *find(const struct map *m, struct str key, uint64_t id, uint64_t hash)
{
	size_t mask = m->cap - 1;
	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct map_slot *s = &m->slot[i];
		if (!s->used || (s->id == id && (!key.p || str_eq(s->key, key))))
			return s;
	}
}

static void grow(struct map *m)
{
	struct map old = *m;
	m->cap = old.cap ? old.cap * 2 : CAP_MIN;
	m->slot = xcalloc(m->cap, sizeof(*m->slot));
	for (size_t i = 0; i < old.cap; i++) {
		const struct map_slot *s = &old.slot[i];
		if (!s->used)
			continue;
		size_t to = hash_slot(s) & (m->cap - 1);
		while (m->slot[to].used)
			to = (to + 1) & (m->cap - 1);
		m->slot[to] = *s;
	}
	free(old.slot);
}

static uint64_t *put(struct map *m, struct str key, uint64_t id, uint64_t hash)
{
	struct map_slot *s = m->cap ? find(m, key, id, hash) : NULL;
	if (s && s->used)
		return &s->value;
	if (!s || (m->n + 1) * 10 > m->cap * 7) {
		grow(m);
		s = find(m, key, id, hash);
	}
	*s = (struct map_slot){.key = key, .id = id, .used = true};
	m->n++;
	return &s->value;
}

static uint64_t *get(const struct map *m, struct str key, uint64_t id, uint64_t hash)
{
	if (m->n == 0)
		return NULL;
	struct map_slot *s = find(m, key, id, hash);
	return s->used ? &s->value : NULL;
}

/* An empty view may have no pointer, which marks id keys. */
static struct str key_of(struct str key)
{
	return key.p ? key : STR("");
}

uint64_t *map_put(struct map *m, struct str key)
{
	uint64_t h = hash_bytes(key.p, key.n);
	return put(m, key_of(key), h, h);
}

uint64_t *map_get(const struct map *m, struct str key)
{
	uint64_t h = hash_bytes(key.p, key.n);
	return get(m, key_of(key), h, h);
}

uint64_t *map_put_id(struct map *m, uint64_t id)
{
	return put(m, STR_NONE, id, hash_bytes(&id, sizeof(id)));
}

uint64_t *map_get_id(const struct map *m, uint64_t id)
{
	return get(m, STR_NONE, id, hash_bytes(&id, sizeof(id)));
}

bool map_remove(struct map *m, struct str key)
{
	uint64_t h = hash_bytes(key.p, key.n);
	if (m->n == 0)
		return false;
	struct map_slot *s = find(m, key_of(key), h, h);
	if (!s->used)
		return false;
	size_t mask = m->cap - 1, hole = (size_t)(s - m->slot);
	for (size_t i = (hole + 1) & mask; m->slot[i].used; i = (i + 1) & mask) {
		size_t home = hash_slot(&m->slot[i]) & mask;
		if (((i - home) & mask) >= ((i - hole) & mask)) { /* its home is at or before the hole */
			m->slot[hole] = m->slot[i];
			hole = i;
		}
	}
	m->slot[hole] = (struct map_slot){0};
	m->n--;
	return true;
}

void map_release(struct map *m)
{
	free(m->slot);
	*m = MAP_INIT;
}

struct map_slot *map_next(const struct map *m, struct map_slot *prev)
{
	if (m->n == 0)
		return NULL;
	for (struct map_slot *s = prev ? prev + 1 : m->slot; s < m->slot + m->cap; s++)
		if (s->used)
			return s;
	return NULL;
}
