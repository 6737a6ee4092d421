// SPDX-License-Identifier: Apache-2.0
#include "solve/ocaml.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* -- hash ----------------------------------------------------------------------------------------------------------- */

static uint32_t rotate(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static uint32_t mix(uint32_t h, uint32_t d)
{
	d = rotate(d * 0xcc9e2d51u, 15) * 0x1b873593u;
	return rotate(h ^ d, 13) * 5 + 0xe6546b64u;
}

/* An integer as a word of the runtime: shifted, with its lowest bit set. */
static uint32_t mix_int(uint32_t h, int64_t n)
{
	uint64_t d = (uint64_t)n * 2 + 1;
	return mix(h, (uint32_t)(d >> 32 ^ (uint64_t)((int64_t)d >> 63) ^ d));
}

static uint32_t mix_string(uint32_t h, struct str s)
{
	size_t n = s.n > 255 ? 255 : s.n, i = 0; /* all of it counts by its length alone */
	const unsigned char *p = (const unsigned char *)s.p;
	for (; i + 4 <= n; i += 4)
		h = mix(h,
			(uint32_t)p[i] | (uint32_t)p[i + 1] << 8 | (uint32_t)p[i + 2] << 16 | (uint32_t)p[i + 3] << 24);
	uint32_t w = 0;
	for (size_t k = n; k > i; k--)
		w = w << 8 | p[k - 1];
	if (n > i)
		h = mix(h, w);
	return h ^ (uint32_t)s.n;
}

/* The head of a block of n fields with tag 0. */
static uint32_t mix_block(uint32_t h, uint32_t n)
{
	return mix(h, n << 10);
}

static uint32_t finish(uint32_t h)
{
	h = (h ^ h >> 16) * 0x85ebca6bu;
	h = (h ^ h >> 13) * 0xc2b2ae35u;
	return (h ^ h >> 16) & 0x3fffffffu;
}

/* The number that stands for a polymorphic variant's name. */
static int64_t tag_number(const char *tag)
{
	uint64_t n = 0;
	for (; *tag; tag++)
		n = n * 223 + (unsigned char)*tag;
	n &= 0x7fffffff;
	return n > 0x3fffffff ? (int64_t)n - 0x80000000ll : (int64_t)n;
}

uint32_t ocaml_hash_pair(struct str name, uint32_t number)
{
	return finish(mix_int(mix_string(mix_block(0, 2), name), number));
}

uint32_t ocaml_hash_variant(const char *tag, uint32_t hash)
{
	return finish(mix_int(mix_int(mix_block(0, 2), tag_number(tag)), hash));
}

uint32_t ocaml_hash_change(const char *tag, const char *direction, uint32_t before, uint32_t after)
{
	uint32_t h = mix_int(mix_block(0, 2), tag_number(tag));
	h = mix_int(mix_block(h, 3), tag_number(direction));
	return finish(mix_int(mix_int(h, before), after));
}

/* -- tables --------------------------------------------------------------------------------------------------------- */

/* Within a bucket the last that was put in comes first; but those that were there when the table grew keep their order, and a
 * bucket's halves are told apart by one more bit of the hash: so the order is that of a table of the final size. */
void ocaml_table_order(const uint32_t *hash, size_t n, size_t size, uint32_t *ret)
{
	size_t buckets = 16, k = 0;
	while (buckets < size)
		buckets *= 2;
	while (n > 2 * buckets)
		buckets *= 2;
	uint32_t *head = xcalloc(buckets, sizeof(*head)), *next = xcalloc(n + 1, sizeof(*next));
	for (size_t i = 0; i < n; i++) {
		uint32_t *h = &head[hash[i] & (buckets - 1)];
		next[i] = *h;
		*h = (uint32_t)i + 1;
	}
	for (size_t b = 0; b < buckets; b++)
		for (uint32_t i = head[b]; i; i = next[i - 1])
			ret[k++] = i - 1;
	free(head);
	free(next);
}

/* -- order ---------------------------------------------------------------------------------------------------------- */

struct visiting {
	const struct ocaml_edges *out;
	uint32_t *number, count, *stack; /* number: in the order in which they are done with, from 1 */
	uint8_t *seen;
};

/* The last edge is followed first. The stack holds vertices to visit, and, marked, such to be done with. */
static void visit(struct visiting *s, uint32_t root)
{
	const uint32_t done = 1u << 31;
	size_t n = 0;
	s->stack[n++] = root;
	while (n) {
		uint32_t v = s->stack[--n];
		if (v & done) {
			s->number[v & ~done] = ++s->count;
			continue;
		}
		if (s->seen[v])
			continue;
		s->seen[v] = 1;
		s->stack[n++] = v | done;
		for (size_t i = 0; i < s->out[v].n; i++)
			s->stack[n++] = s->out[v].v[i];
	}
}

size_t ocaml_topological(const struct ocaml_edges *out, const uint32_t *walk, size_t n, struct arena *a, uint32_t *ret)
{
	size_t edges = 0, head = 0, tail = 0;
	for (size_t i = 0; i < n; i++)
		edges += out[i].n;
	struct visiting s = {.out = out};
	s.number = arena_array(a, uint32_t, n + 1);
	s.stack = arena_array(a, uint32_t, n + edges + 2);
	s.seen = arena_array(a, uint8_t, n + 1);
	uint32_t *by_number = arena_array(a, uint32_t, n + 1), *degree = arena_array(a, uint32_t, n + 1);
	memset(s.seen, 0, n + 1);
	memset(degree, 0, (n + 1) * sizeof(*degree));
	for (size_t i = 0; i < n; i++)
		visit(&s, walk[i]);
	for (size_t v = 0; v < n; v++) {
		by_number[s.number[v] - 1] = (uint32_t)v;
		for (size_t i = 0; i < out[v].n; i++)
			degree[out[v].v[i]]++;
	}
	for (size_t i = 0; i < n; i++)
		if (degree[by_number[i]] == 0)
			ret[tail++] = by_number[i];
	for (; head < tail; head++)
		for (size_t i = out[ret[head]].n; i-- > 0;)
			if (--degree[out[ret[head]].v[i]] == 0)
				ret[tail++] = out[ret[head]].v[i];
	return tail;
}
