// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * cleanup: resources that release themselves at the end of their scope.
 *
 *	auto_fd fd = open(...);        closed when the scope ends, whatever way it ends
 *	auto_free char *p = malloc(n); freed
 *	return steal_fd(&fd);          hands the resource to the caller; nothing is released here
 *
 * A module with a resource of its own defines `auto_x` with DEFINE_AUTO next to its `x_free`.
 * Every destructor accepts what is already released (NULL, -1).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* unused: a lock or a guard is only ever held */
#define cleanup_with(f) __attribute__((cleanup(f), unused))

static inline void cleanup_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void cleanup_free(void *p)
{
	void *q; /* read as bytes: p points to a pointer of any type */
	memcpy(&q, p, sizeof(q));
	free(q);
}

static inline int steal_fd(int *fd)
{
	int f = *fd;
	*fd = -1;
	return f;
}

#define steal_ptr(pp)                                                                                                  \
	({                                                                                                             \
		__typeof__(*(pp)) *steal_from_ = (pp), steal_value_ = *steal_from_;                                    \
		*steal_from_ = NULL;                                                                                   \
		steal_value_;                                                                                          \
	})

#define auto_fd cleanup_with(cleanup_fd) int
#define auto_free cleanup_with(cleanup_free)

/* DEFINE_AUTO(struct store *, store, store_free) gives `auto_ptr(store) s = NULL;` */
#define DEFINE_AUTO(type, name, free_fn)                                                                               \
	typedef type auto_type_##name;                                                                                 \
	static inline void auto_cleanup_##name(type *p)                                                                \
	{                                                                                                              \
		if (*p)                                                                                                \
			free_fn(*p);                                                                                   \
	}                                                                                                              \
	_Static_assert(1, "")
#define auto_ptr(name) cleanup_with(auto_cleanup_##name) auto_type_##name
