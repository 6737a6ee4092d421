// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * optimum: the best solution by aims that come one after the other: first the least sum of what candidates cost by the first aim, of those
 * solutions the least sum by the second, and so on.
 *
 *	struct optimum o = {.s = s, .aims = n, .cost = cost, .found = found, .ctx = x};
 *	optimum_add(&o, first, n)		each group that the engine is given, also while candidates are expanded
 *	rc = cdcl_solve(s, root, …)		a first solution
 *	rc = optimum_find(&o, max_conflicts, e)	0 the engine has the best, 1 it is the best that was found in time (found was called), -1 error
 *
 * How: from below. All that costs something by this aim is supposed not to be (cdcl.h). Where that cannot be, the engine names suppositions
 * that cannot hold together, a core: every solution pays for one of them at least. That is a proof of a bound, and from there on it
 * is supposed that it is one alone that pays: for v1 … vk, that there is no i with vi and one behind it. Once all suppositions hold, the solution costs what was shown to
 * be the least, and they become facts for the aims behind. What a group costs is told in steps ("its candidate costs 3 or more"), and the
 * next step is supposed when the one before it has fallen: so a group with 200 versions has one variable mostly.
 */
#include "base/vec.h"
#include "solve/cdcl.h"

enum { OPTIMUM_AIMS_MAX = 16 };
struct optimum_group {
	uint32_t first, n;
};
/* A supposition: var is false, or the aim's sum grows by weight. */
struct optimum_soft {
	uint32_t var, weight;
	uint32_t group,
		above; /* it says that the group's candidate costs more than that; group UINT32_MAX: it is of a core */
	bool stepped;  /* the group's next step is there */
};
struct optimum {
	struct cdcl *s;
	unsigned aims;
	uint32_t (*cost)(void *ctx, unsigned aim, uint32_t candidate);
	void (*found)(void *ctx); /* the engine has a solution that is better than those before it */
	void *ctx;
	/* its own */
	VEC(struct optimum_group) group;
	VEC(struct optimum_soft) soft; /* of this aim */
	VEC(uint32_t) soft_of;	       /* by variable: 1 + place */
	uint64_t least[OPTIMUM_AIMS_MAX],
		best[OPTIMUM_AIMS_MAX]; /* what is shown for this aim; what the best solution costs by each */
	unsigned aim;
	bool running, has_best;
};
void optimum_add(struct optimum *o, uint32_t first, uint32_t n);
int optimum_find(struct optimum *o, uint64_t max_conflicts, struct err *e);
void optimum_release(struct optimum *o);
