// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * cdcl: the engine of the solver: clause learning over variables that know nothing of packages.
 *
 * Three kinds of variables:
 *
 *	candidate   something that can be installed. Candidates come in groups; at most one of a group is true.
 *	choice      true: one of its candidates must be true. Its list is in order of preference.
 *	ban         true: none of its candidates may be true.
 *
 * A candidate implies choices and bans (cdcl_imply). It is asked for them (ops.expand) only when it is about to be
 * installed, so what is never considered is never read.
 *
 *	struct cdcl *s = cdcl_new(&ops);
 *	uint32_t root = cdcl_add_group(s, 1);
 *	uint32_t n = cdcl_add_group(s, 3);                    candidates n, n+1, n+2
 *	uint32_t c = cdcl_add_choice(s, (uint32_t[]){n, n+1}, 2);
 *	cdcl_imply(s, root, c);
 *	int rc = cdcl_solve(s, root, max_conflicts, e);       0 solved, 1 no solution, -1 error
 *	cdcl_is_true(s, n)
 *
 * How it goes: the choices that must hold wait in the order in which they came up (so the root's come first, then what
 * they need, breadth first). The first one that is open is decided: its best candidate that is not yet excluded is made
 * true. Those of the root keep their order. Of the others, after conflicts, a later one goes first if its group had more to
 * do with conflicts and it has fewer candidates left. A conflict is resolved to the first unique implication point, the
 * clause is learnt, and the search jumps back to where it would have been of use. Because decisions are always the best
 * candidate left, a candidate that is passed over is one that cannot be had together with what was decided before it: so the
 * root's first choice gets the best there is, its second the best that goes with the first, and so on.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct cdcl;
struct cdcl_ops {
	void *ctx;
	/* Says what `var` implies, by cdcl_add_* and cdcl_imply. Called at most once for a candidate. */
	int (*expand)(void *ctx, uint32_t var, struct err *e);
	/* Candidates of a choice from some place on: how many at the front are of one rank (≥ 1), sorted now among
	 * themselves. NULL: the order given is final. */
	uint32_t (*order)(void *ctx, uint32_t *vars, uint32_t n);
	/* The choice to decide next, one that is true and open, in place of the order told above; UINT32_MAX: none is left. */
	uint32_t (*next)(void *ctx);
};

struct cdcl *cdcl_new(const struct cdcl_ops *ops);
void cdcl_free(struct cdcl *s);

uint32_t cdcl_add_group(struct cdcl *s, uint32_t n);			    /* the first of n candidates */
uint32_t cdcl_add_choice(struct cdcl *s, const uint32_t *vars, uint32_t n); /* all of one group, or of several */
uint32_t cdcl_add_ban(struct cdcl *s, const uint32_t *vars, uint32_t n);
void cdcl_imply(struct cdcl *s, uint32_t var, uint32_t gate);
/* var implies gate if all the witnesses are true as well (conditional requirements). */
void cdcl_imply_if(struct cdcl *s, uint32_t var, const uint32_t *witness, uint32_t n, uint32_t gate);
/* A variable that is true whenever one of the candidates is. */
uint32_t cdcl_add_witness(struct cdcl *s, const uint32_t *vars, uint32_t n);
void cdcl_refuse(struct cdcl *s, uint32_t var); /* var cannot be true: from within expand or before solving */

int cdcl_solve(struct cdcl *s, uint32_t root, uint64_t max_conflicts, struct err *e);
bool cdcl_is_true(const struct cdcl *s, uint32_t var);
/* Which candidate of a choice is true; UINT32_MAX: none is yet. */
uint32_t cdcl_chosen(const struct cdcl *s, uint32_t choice);

/*
 * Suppositions: variables that are false, if that can be. They are decided before anything else. What can be said, and asked, between
 * two searches (optimum.h makes of it the search for the best solution):
 *
 *	cdcl_suppose_not(s, var)		also while a candidate is expanded
 *	int rc = cdcl_again(s, max, e)		as cdcl_solve; 2: not all of what is supposed can be so: cdcl_core tells some that cannot
 */
void cdcl_suppose_not(struct cdcl *s, uint32_t var);
void cdcl_suppose_no_more(struct cdcl *s, uint32_t var);
int cdcl_again(struct cdcl *s, uint64_t max_conflicts, struct err *e);
void cdcl_back(struct cdcl *s); /* to what is decided by nothing: what is added now costs least */
/* 1: true, -1: false in every solution, as far as is known; 0: open. */
int cdcl_fixed(const struct cdcl *s, uint32_t var);
/* Suppositions that cannot be so together; until the next search. */
size_t cdcl_core(const struct cdcl *s, const uint32_t **ret);
/* Leaves out of a core what it is one without, as far as one sees without a search. */
int cdcl_narrow(struct cdcl *s, uint32_t *v, size_t *n, struct err *e);
/* Choices are again decided in the order in which they come up, whatever conflicts there were. */
void cdcl_calm(struct cdcl *s);

/* Why there is no solution: the original clauses that the refutation used. Only after cdcl_record_proof. */
void cdcl_record_proof(struct cdcl *s);
enum cdcl_why_kind { CDCL_IMPLIES, CDCL_CHOICE, CDCL_GROUP, CDCL_REFUSED, CDCL_BANS, CDCL_OTHER };
struct cdcl_why {
	enum cdcl_why_kind kind;
	uint32_t a, b; /* IMPLIES: candidate, gate. CHOICE: choice. GROUP: two candidates. BANS: ban, candidate */
};
size_t cdcl_proof(struct cdcl *s, const struct cdcl_why **ret); /* lives as long as the engine */

struct cdcl_stats {
	uint64_t decisions, conflicts, learnt, propagations, clauses, variables;
};
struct cdcl_stats cdcl_stats(const struct cdcl *s);
DEFINE_AUTO(struct cdcl *, cdcl, cdcl_free);
