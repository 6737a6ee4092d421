// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * dl: shared libraries that are loaded at first use instead of at every start.
 *
 * A command that only solves must start in a millisecond, and a library costs each start its relocations whether it is
 * called or not (doc/decisions/0005-start-with-libc-alone.md). Who uses one lists the functions, prefix and name apart; their
 * types come from the library's own header:
 *
 *	#define SQLITE(X) X(sqlite3_, open_v2) X(sqlite3_, step) ...
 *	DL_LIBRARY(sql, "libsqlite3.so.0", SQLITE, NULL);
 *	...
 *	if (dl_load(&sql_library, e) < 0) ...
 *	rc = sql.step(q);
 *
 * The last argument is a function that prepares the library when it has been loaded, or NULL. dl_load may be called from
 * several threads, and often: once the library is there it costs nothing. The library stays until the process ends.
 */
#include <stdbool.h>

#include "base/err.h"

#define DL_POINTER(prefix, name) __typeof__(prefix##name) *name;
#define DL_NAME(prefix, name) #prefix #name,

struct dl_library {
	const char *soname;
	const char *const *names; /* the last is NULL */
	void *functions;	  /* a struct of as many function pointers */
	int (*prepare)(struct err *e);
	bool loaded;
};

/* For a struct `api` of DL_POINTERs that is declared elsewhere. */
#define DL_LIBRARY_OF(api, so, LIST, prepare_fn)                                                                       \
	static const char *const api##_names[] = {LIST(DL_NAME) NULL};                                                 \
	static struct dl_library api##_library = {so, api##_names, &(api), prepare_fn, false}
#define DL_LIBRARY(api, so, LIST, prepare_fn)                                                                          \
	static struct {                                                                                                \
		LIST(DL_POINTER)                                                                                       \
	} api;                                                                                                         \
	DL_LIBRARY_OF(api, so, LIST, prepare_fn)

int dl_load(struct dl_library *l, struct err *e);
/* Where no error can be returned: ends the program, as if memory had run out. */
void dl_need(struct dl_library *l);
