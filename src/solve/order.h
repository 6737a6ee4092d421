// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * order: which of several builds of one version is better (the fifth criterion of solve.h).
 */
#include "solve/world.h"

/* Sorts candidates of one rank: by name of the dependencies that they share, the one that allows the higher version of it
 * comes first; then the newest. */
void order_candidates(struct world *p, uint32_t *cand, uint32_t n);
