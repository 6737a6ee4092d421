// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * arena: memory for everything that lives and dies together (a parsed file, one solve, one request).
 *
 * A parameter `struct arena *a` means: the result lives there. Nothing is freed singly; arena_release frees all.
 * Memory is aligned for any type and zeroed only by arena_zalloc/arena_array. Exhaustion panics.
 *
 *	struct arena a = ARENA_INIT;             no allocation yet
 *	struct rec *r = arena_array(&a, struct rec, n);
 *	char *s = arena_strdup(&a, view);
 *	arena_release(&a);                       or declare it `auto_arena a = ARENA_INIT;`
 */
#include "base/cleanup.h"
#include "base/str.h"

struct arena_block;
struct arena {
	struct arena_block *block; /* newest first */
	char *at, *end;		   /* free bytes of the newest block */
	size_t total_bytes;	   /* handed out so far */
};
#define ARENA_INIT ((struct arena){0})

void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);
void *arena_zalloc_n(struct arena *a, size_t n, size_t size);		 /* n*size checked for overflow */
char *arena_strdup(struct arena *a, struct str s);			 /* NUL-terminated */
struct str arena_str(struct arena *a, struct str s);			 /* a copy as a view, NUL-terminated too */
void *arena_copy(struct arena *a, const void *v, size_t n, size_t size); /* of an array; v may be NULL where n is 0 */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes over everything of `from`, which is empty afterwards: what lives there now lives as long as a. */
void arena_join(struct arena *a, struct arena *from);
void arena_release(struct arena *a);

#define arena_array(a, type, n) ((type *)arena_zalloc_n((a), (n), sizeof(type)))
#define arena_new(a, type) ((type *)arena_zalloc((a), sizeof(type)))
#define auto_arena cleanup_with(arena_release) struct arena
