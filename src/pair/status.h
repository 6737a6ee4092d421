// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * status (private to pair): what both members are like, from the two as members. `there` NULL: it cannot be reached, and `why`; or there is
 * no other one (ret->pair.joined says which). ret->pair is set by the caller.
 */
#include "pair/member.h"

int status_gather(struct member *here, struct member *there, struct str why, struct arena *a, struct str env,
		  struct pair_status *ret, struct err *e);
