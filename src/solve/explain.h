// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * explain: why some specs of a world cannot be had together, and what could be asked for instead.
 */
#include "solve/world.h"

/* Fills res->explanation and res->suggestions; text in `a`. `want` is known to have no solution. */
int explain(struct world *p, const uint32_t *want, uint32_t want_n, struct arena *a, struct solve_result *res,
	    struct err *e);
