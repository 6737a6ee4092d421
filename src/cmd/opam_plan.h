// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_plan: from what is installed and what is asked for to actions of opam, for those who carry them out.
 *
 * The solution is solve_needs_by's by opam's criteria, with what the needs know to be installed; the actions are solve_steps's,
 * in opam 2.1's order.
 */
#include "cmd/cmd.h"

enum opam_action_kind { OPAM_REMOVE, OPAM_DOWNGRADE, OPAM_RECOMPILE, OPAM_UPGRADE, OPAM_INSTALL };
struct opam_action {
	enum opam_action_kind kind;
	uint32_t package;		  /* as the needs number them */
	struct str name, version, before; /* before: the version that is replaced */
	const char *why;		  /* "required by ", "uses " …; "" for what was asked */
	const struct str *causes;	  /* names */
	size_t causes_n;
	const size_t *after; /* actions that come before this one, as numbers */
	size_t after_n;
};
struct opam_plan_request {
	struct channel_needs *needs;
	const struct str *asked, *names; /* as written; the names in them */
	size_t asked_n;
	const struct str *invariant; /* formulas that the switch keeps to */
	size_t invariant_n;
	bool depth_first; /* as opam's builtin-0install chooses */
	bool oldest;	  /* the oldest of everything, and nothing is kept */
	bool keep;	  /* what is installed stays as it is, where it can */
};
/* What opam says of a word that asks for what is not to be had ("Package p has no version 7."). STR_NONE: nothing. */
struct str opam_plan_refuses(struct channel_needs *needs, struct str asked, struct str name, struct arena *a);
/* In an order in which they can be done. 0; 1 there is no solution, *ret_why what is in the way, in opam's words; -1. */
int opam_plan(const struct opam_plan_request *r, struct arena *a, struct opam_action **ret, size_t *ret_n,
	      const struct str **ret_why, size_t *ret_why_n, struct err *e);
