// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * why_not: from the needs that a refutation used to what is in the way, in chains from what was asked for (solve_conflict).
 *
 * Needs are gone through from what was asked for, breadth first, so that chains are short. Those that go by the same names are one
 * chain, whose links allow what any of them allows: "app 1 needs lib 1, app 2 needs lib 2" becomes app → lib. At the end of chains stand a name
 * that nothing fits, two chains that want different versions of one name, or one whose package bans what the other wants.
 */
#include "solve/solve.h"

enum { WHY_ASKED = UINT32_MAX, WHY_INVARIANT = UINT32_MAX - 1 };
struct why_edge {
	uint32_t owner; /* package; WHY_ASKED, WHY_INVARIANT */
	bool ban;
	const struct pkg_need *formula; /* NULL: it says never, or a class of which there can be one */
	const uint32_t *v;		/* packages that fit */
	size_t n;
};
/* Fills ret->conflict and ret->why; in `a`. Sorts the edges. */
void why_not(struct channel_needs *needs, struct why_edge *edge, size_t n, struct arena *a,
	     struct solve_needs_result *ret);
