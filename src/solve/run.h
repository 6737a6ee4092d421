// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * run: one search: some specs of a world, given to an engine of its own. A world serves many runs, one at a time.
 */
#include "solve/cdcl.h"
#include "solve/world.h"

/* A group of optional dependencies (CEP 44): true where a spec asks for it. */
struct run_extra {
	uint32_t name, var;
	struct str group;
};
struct run {
	struct world *p;
	struct cdcl *s;
	const uint32_t *want; /* specs that must hold */
	uint32_t want_n;
	uint32_t root;	       /* its variable */
	VEC(uint32_t) cand_of; /* by variable; WORLD_NONE: not a candidate */
	VEC(uint32_t) spec_of; /* by variable: the spec of a choice or ban */
	VEC(struct run_extra) extra;
	VEC(uint32_t) chosen; /* the solution: what the specs lead to, without what the host has */
};

/* 0 solved: see chosen, 1 no solution, -1 error. */
int run_solve(struct run *r, struct world *p, const uint32_t *want, uint32_t want_n, bool proof, uint64_t max_conflicts,
	      struct err *e);
void run_release(struct run *r);
/* Puts what a package needs before it; ties by name, cycles broken at python, then by name. */
void link_order(struct world *p, uint32_t *cand, uint32_t n, const bool *noarch_python);
