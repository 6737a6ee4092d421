// SPDX-License-Identifier: Apache-2.0
#include "channel/intern.h"

#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

void pool_init(struct pool *o)
{
	*o = (struct pool){.p = xmalloc(4096), .n = 1, .cap = 4096};
	o->p[0] = 0;
}

void pool_release(struct pool *o)
{
	free(o->p);
	*o = (struct pool){0};
}

uint32_t pool_add(struct pool *o, struct str s)
{
	if (s.n == 0)
		return 0;
	if (!pool_has_room(o, s.n))
		panic("string pool is full");
	if (o->n + s.n + 5 > o->cap) {
		while (o->n + s.n + 5 > o->cap)
			o->cap += o->cap / 2;
		o->p = xrealloc(o->p, o->cap);
	}
	uint32_t id = (uint32_t)o->n;
	size_t n = s.n;
	for (; n >= 0x80; n >>= 7)
		o->p[o->n++] = (char)(n | 0x80);
	o->p[o->n++] = (char)n;
	memcpy(o->p + o->n, s.p, s.n);
	o->n += s.n;
	return id;
}

bool pool_read(const char *p, size_t n, struct str *ret)
{
	uint64_t len = 0;
	for (size_t i = 0; i < n && i < 5; i++) {
		len |= (uint64_t)(p[i] & 0x7f) << (7 * i);
		if (p[i] & 0x80)
			continue;
		if (len > n - i - 1)
			return false;
		*ret = str_of(p + i + 1, len);
		return true;
	}
	return false;
}

void table_release(struct table *t)
{
	free(t->slot);
	*t = (struct table){0};
}

void table_grow(struct table *t)
{
	struct table big = {.n = t->n, .cap = t->cap ? t->cap * 2 : 256};
	if (big.cap == 0)
		panic("table is full");
	big.slot = xcalloc(big.cap, sizeof(*big.slot));
	for (uint32_t i = 0; i < t->cap; i++) {
		if (!t->slot[i].id1)
			continue;
		uint32_t at = table_first(&big, t->slot[i].tag);
		while (big.slot[at].id1)
			at = table_next(&big, at);
		big.slot[at] = t->slot[i];
	}
	free(t->slot);
	*t = big;
}

uint64_t intern_seed(void)
{
	uint64_t seed = 0;
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = (uint64_t)(uintptr_t)&seed ^ (uint64_t)getpid() << 32;
	return seed;
}

uint64_t intern_hash(const void *p, size_t n, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, n, seed);
}

uint32_t table_find(struct table *t, const struct pool *o, const uint32_t *strs, size_t stride, struct str s,
		    uint64_t seed, uint32_t *ret_at, uint32_t *ret_tag)
{
	table_reserve_one(t);
	uint32_t tag = (uint32_t)XXH3_64bits_withSeed(s.p, s.n, seed);
	uint32_t at = table_first(t, tag);
	for (; t->slot[at].id1; at = table_next(t, at)) {
		if (t->slot[at].tag != tag)
			continue;
		uint32_t id = t->slot[at].id1 - 1;
		struct str have = pool_get(o, stride ? strs[id * stride] : id);
		if (str_eq(have, s))
			return id;
	}
	*ret_at = at;
	*ret_tag = tag;
	return UINT32_MAX;
}

void memo_release(struct memo *m)
{
	free(m->slot);
	*m = (struct memo){0};
}

static void memo_grow(struct memo *m)
{
	struct memo big = {.n = m->n, .cap = m->cap ? m->cap * 2 : 256};
	big.slot = xcalloc(big.cap, sizeof(*big.slot));
	for (uint32_t i = 0; i < m->cap; i++) {
		if (!m->slot[i].id1)
			continue;
		uint32_t at = (uint32_t)m->slot[i].low & (big.cap - 1);
		while (big.slot[at].id1)
			at = (at + 1) & (big.cap - 1);
		big.slot[at] = m->slot[i];
	}
	free(m->slot);
	*m = big;
}

struct memo_slot *memo_put(struct memo *m, struct str text, uint64_t seed)
{
	if ((uint64_t)m->n * 4 >= (uint64_t)m->cap * 3)
		memo_grow(m);
	XXH128_hash_t h = XXH3_128bits_withSeed(text.p, text.n, seed);
	uint32_t at = (uint32_t)h.low64 & (m->cap - 1);
	while (m->slot[at].id1 && (m->slot[at].low != h.low64 || m->slot[at].high != h.high64))
		at = (at + 1) & (m->cap - 1);
	struct memo_slot *s = &m->slot[at];
	if (!s->id1) {
		s->low = h.low64;
		s->high = h.high64;
		m->n++;
	}
	return s;
}
