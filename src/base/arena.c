// SPDX-License-Identifier: Apache-2.0
/*
 * Blocks double from 4 KiB to 1 MiB, so that small arenas stay small and large ones cost few calls. What is larger than
 * a quarter of the next block gets a block of its own, behind the newest, which goes on being filled.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"

struct arena_block {
	struct arena_block *next; /* older */
	size_t size;
	alignas(max_align_t) char data[];
};

enum { BLOCK_MIN = 4096, BLOCK_MAX = 1 << 20, ALIGN = alignof(max_align_t) };

static struct arena_block *new_block(size_t size)
{
	size_t bytes;
	if (__builtin_add_overflow(size, sizeof(struct arena_block), &bytes))
		panic("size overflow (arena, %zu)", size);
	struct arena_block *b = xmalloc(bytes);
	b->size = size;
	return b;
}

static void *alloc_slow(struct arena *a, size_t size)
{
	size_t next = !a->block ? BLOCK_MIN : a->block->size < BLOCK_MAX ? a->block->size * 2 : BLOCK_MAX;
	if (next > BLOCK_MAX)
		next = BLOCK_MAX;
	bool own = size > next / 4;
	struct arena_block *b = new_block(own ? size : next - sizeof(struct arena_block));
	if (own && a->block) {
		b->next = a->block->next;
		a->block->next = b;
		return b->data;
	}
	b->next = a->block;
	a->block = b;
	a->at = b->data + size;
	a->end = b->data + b->size;
	return b->data;
}

/* `align` is a power of two. The result of a size of 0 is valid and not NULL. */
static void *take(struct arena *a, size_t size, size_t align)
{
	size_t pad = (size_t) - (uintptr_t)a->at & (align - 1);
	a->total_bytes += size;
	if (!a->at || pad > (size_t)(a->end - a->at) || size > (size_t)(a->end - a->at) - pad)
		return alloc_slow(a, size);
	char *p = a->at + pad;
	a->at = p + size;
	return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
	return take(a, size, ALIGN);
}

void *arena_zalloc(struct arena *a, size_t size)
{
	return memset(take(a, size, ALIGN), 0, size);
}

static size_t product(size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes))
		panic("size overflow (arena, %zu x %zu)", n, size);
	return bytes;
}

void *arena_zalloc_n(struct arena *a, size_t n, size_t size)
{
	return arena_zalloc(a, product(n, size));
}

void *arena_copy(struct arena *a, const void *v, size_t n, size_t size)
{
	void *copy = arena_alloc(a, product(n, size));
	if (n)
		memcpy(copy, v, n * size);
	return copy;
}

char *arena_strdup(struct arena *a, struct str s)
{
	size_t size;
	if (__builtin_add_overflow(s.n, 1, &size))
		panic("size overflow (arena, %zu)", s.n);
	char *z = take(a, size, 1);
	if (s.n)
		memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return z;
}

struct str arena_str(struct arena *a, struct str s)
{
	return str_of(arena_strdup(a, s), s.n);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	if (n < 0)
		panic("bad format '%s'", fmt);
	char *z = take(a, (size_t)n + 1, 1);
	vsnprintf(z, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return z;
}

void arena_join(struct arena *a, struct arena *from)
{
	struct arena_block **tail = &from->block;
	while (*tail)
		tail = &(*tail)->next;
	a->total_bytes += from->total_bytes;
	if (!a->block) {
		*a = *from;
	} else {
		*tail = a->block->next; /* behind the newest of a, which goes on being filled */
		a->block->next = from->block;
	}
	*from = ARENA_INIT;
}

void arena_release(struct arena *a)
{
	while (a->block) {
		struct arena_block *next = a->block->next;
		free(a->block);
		a->block = next;
	}
	*a = ARENA_INIT;
}
