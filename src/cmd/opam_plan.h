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
	uint32_t package;		  /* as the needs number them, */
	bool solved;			  /* where the solver told of it */
	struct str name, version, before; /* before: the version that is replaced */
	const char *why;		  /* "required by ", "uses " …; "" for what was asked */
	const struct str *causes;	  /* names */
	size_t causes_n;
	const size_t *after; /* actions that come before this one, as numbers */
	size_t after_n;
};
struct opam_plan_request {
	struct channel_needs *needs;
	const struct str *asked; /* as written */
	size_t asked_n;
	const struct str *names; /* the names in them, which actions are told to be for */
	size_t names_n;
	const struct str *invariant; /* formulas that the switch keeps to */
	size_t invariant_n;
	bool depth_first; /* as opam's builtin-0install chooses */
	bool oldest;	  /* the oldest of everything, and nothing is kept */
	bool keep;	  /* what is installed stays as it is, where it can */
	bool upgrade;	  /* all that is installed to its newest versions; nothing need be asked for */
	bool best_effort; /* as much of what was asked for as can be had together */
};
/* What opam says of a word that asks for what there is not ("Package p has no version 7."); of what is not to be had here, or to commands that
 * do not install, another ("p = 7 no matching version"). STR_NONE: nothing. */
struct str opam_plan_unknown(struct channel_needs *needs, struct str asked, struct str name, struct arena *a);
struct str opam_plan_unavailable(struct channel_needs *needs, struct str asked, struct str name, struct arena *a);
/* What an upgrade of something asks for that is installed in that version: nothing older, where it can be had at all; `strictly`, where there is something newer
 * to be had that is not to be avoided: that. */
struct str opam_plan_newer(struct channel_needs *needs, struct str name, struct str installed, bool strictly,
			   struct arena *a);
/* "lib >= 2", "a | b". */
void opam_plan_formula(const struct pkg_need *need, struct buf *b);
/* That nothing can be upgraded of what is installed (`names`: only of these; none: of all), or what might be and why it is not, in the words of
 * opam 2.1 (`old`) or later ones. `base`: names that belong to the invariant, which are not told. */
void opam_plan_up_to_date(struct channel_needs *needs, const struct str *names, size_t n, const struct str *base,
			  size_t base_n, bool old, bool verbose, struct buf *b);
/* In an order in which they can be done. 0; 1 there is no solution, *ret_why what is in the way, in opam's words; 2 there is none that could be
 * done, *ret_why which actions wait for each other; -1. */
int opam_plan(const struct opam_plan_request *r, struct arena *a, struct opam_action **ret, size_t *ret_n,
	      const struct str **ret_why, size_t *ret_why_n, struct err *e);
