// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * dl: shared libraries that are loaded at first use instead of at every start.
 *
 * A command that only solves must start in a few milliseconds; libcurl and what it pulls in cost 3 ms, libarchive 1.4 ms.
 * Their users keep a table of the functions they call and fill it here (doc/decisions/).
 *
 *	static struct { CURL *(*easy_init)(void); ... } curl;
 *	static const struct dl_symbol symbols[] = {{"curl_easy_init", &curl.easy_init}, ..., {NULL, NULL}};
 *	if (dl_load("libcurl.so.4", symbols, e) < 0) ...
 *
 * Thread-safe by the caller's pthread_once. The library stays loaded until the process ends.
 */
#include "base/err.h"

struct dl_symbol {
	const char *name;
	void *slot; /* address of a function pointer */
};
int dl_load(const char *soname, const struct dl_symbol *symbols, struct err *e);
