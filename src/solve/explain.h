// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * explain: why some specs of a world cannot be had together, and what could be asked for instead.
 *
 * First the specs that are not to blame are left out, by solving without them. The refutation of the rest gives the
 * dependencies that matter; they are shown as a tree, versions with the same reasons merged. Suggestions are found by
 * solving what would be suggested. All of it is bounded by a number of conflicts.
 */
#include "solve/world.h"

/* Fills res->explanation and res->suggestions; text in `a`. `want` is known to have no solution. */
int explain(struct world *p, const uint32_t *want, uint32_t want_n, struct arena *a, struct solve_result *res,
	    struct err *e);

/* explain_suggest.c: what else could be asked for. `core` are those of `want` that are to blame. */
int explain_suggest(struct world *p, const uint32_t *want, uint32_t want_n, const uint32_t *core, uint32_t core_n,
		    struct arena *a, struct solve_result *res, struct err *e);
/* Why a spec matches nothing: as text, in `a`. */
struct str explain_no_candidate(struct world *p, uint32_t spec, struct arena *a);
