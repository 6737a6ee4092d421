// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * aims: what each package costs by criteria of opam (solve.h). What a sum is over decides whether it counts at all: over what changes, what is not
 * installed yet; over the request, what was asked for by name; over the solution, all.
 */
#include "solve/solve.h"

struct aim_weight {
	uint32_t lag; /* how many versions are newer that can be had */
	bool asked, had /* a version of it is installed */, weighed;
};
struct aim_costs {
	struct channel_needs *needs;
	struct aim_weight *of; /* by package */
};
void aim_costs_init(struct aim_costs *c, struct channel_needs *needs);
/* For the packages of one name, the first of which is told. */
void aim_costs_weigh(struct aim_costs *c, uint32_t first, bool asked);
uint32_t aim_cost(const struct aim_costs *c, struct solve_aim aim, uint32_t package);
void aim_costs_release(struct aim_costs *c);
