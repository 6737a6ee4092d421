// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * vec: typed growable arrays on the heap.
 *
 *	VEC(struct dep) deps = {0};           (name the type with VEC_TYPE(dep_vec, struct dep) to pass it around)
 *	*vec_add(&deps) = (struct dep){...};   zeroed slot at the end
 *	vec_foreach(d, &deps) use(d->name);    d is a pointer to each element
 *	ret->dep = vec_copy(&deps, a);         its elements, in an arena (base/arena.h)
 *	vec_release(&deps);
 *
 * Elements move when the vector grows: keep indexes, not pointers.
 */
#include <stdint.h>
#include <string.h>

#include "base/err.h"

#define VEC(type)                                                                                                      \
	struct {                                                                                                       \
		type *v;                                                                                               \
		size_t n, cap;                                                                                         \
	}
#define VEC_TYPE(tag, type)                                                                                            \
	struct tag {                                                                                                   \
		type *v;                                                                                               \
		size_t n, cap;                                                                                         \
	}

static inline void *vec_grow_(void *v, size_t *cap, size_t need, size_t size)
{
	size_t c = *cap ? *cap : 8;
	while (c < need)
		c = c > SIZE_MAX / 2 ? need : c * 2;
	*cap = c;
	return xreallocarray(v, c, size);
}

#define vec_reserve(x, need)                                                                                           \
	((need) > (x)->cap ? (void)((x)->v = vec_grow_((x)->v, &(x)->cap, (need), sizeof(*(x)->v))) : (void)0)
#define vec_add(x) (vec_reserve((x), (x)->n + 1), memset(&(x)->v[(x)->n], 0, sizeof(*(x)->v)), &(x)->v[(x)->n++])
#define vec_push(x, value) (vec_reserve((x), (x)->n + 1), (void)((x)->v[(x)->n++] = (value)))
#define vec_pop(x) ((x)->v[--(x)->n])
#define vec_last(x) (&(x)->v[(x)->n - 1])
#define vec_clear(x) ((void)((x)->n = 0))
#define vec_release(x) (free((x)->v), (x)->v = NULL, (x)->n = (x)->cap = 0)
#define vec_foreach(it, x) for (__typeof__((x)->v + 0) it = (x)->v; it && it < (x)->v + (x)->n; it++)
#define vec_copy(x, a) ((__typeof__((x)->v))arena_copy((a), (x)->v, (x)->n, sizeof(*(x)->v)))
#define vec_sort(x, cmp) ((x)->n > 1 ? qsort((x)->v, (x)->n, sizeof(*(x)->v), (cmp)) : (void)0)
