// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_system: the packages of the system that a plan of opam's needs: found with the plan, shown, and installed before it, in opam's words.
 *
 *	opam_system_open(&s, x, &config, &switch_config, vars)		what options, environment and configuration say about it
 *	needs_opts.ask_system = s.depexts ? build_depexts_has : NULL	and, as opam_system_look says, the plan is made anew
 *	opam_system_find(&s, vars, packages, n)				s.v: what these want
 *	code = opam_system_first(&s, …)					asks, installs
 *	opam_system_bypass(&s, result)					what was done without
 */
#include "build/build.h"
#include "cmd/opam_as.h"
#include "cmd/opam_plan.h"

struct opam_system_package {
	struct str name;
	enum channel_system_has has;
	const size_t *of; /* packages that want it */
	size_t of_n;
};
struct opam_system {
	struct opam_as *x;
	struct build_depexts *depexts; /* NULL: nobody asks */
	bool off;		       /* by the configuration: depext is false */
	bool assume, by_hand, dry_run, only;
	const char *unsupported; /* why nobody can ask, where that is to be told */
	bool told, told_names;
	const char
		*missing; /* "  * Missing dependency: …": what earlier plans wanted that nobody offers; NULL: nothing */
	struct opam_system_package *v; /* by name */
	size_t n;
};
struct opam_system_options { /* of install and reinstall */
	bool no_depexts, assume_depexts, depext_only, dry_run;
};
/* OPAM_OK, or the exit code of what was said. */
int opam_system_open(struct opam_system *s, struct opam_as *x, const struct opam_system_options *o,
		     const struct pkg_opam_doc *config, const struct pkg_opam_doc *switch_config,
		     struct env_opam_vars *vars);
void opam_system_close(struct opam_system *s);
/* After a plan was made: 1 some of what it may want is not offered, and it is to be made anew; 0; -1. */
int opam_system_look(struct opam_system *s, struct err *e);
/* What the packages want that are to be installed: s->v. */
void opam_system_find(struct opam_system *s, struct env_opam_vars *vars, const struct build_opam_package *v, size_t n);
/* Warns of packages that are installed though their system packages are not there any more. */
int opam_system_changed(struct opam_system *s, struct env_opam_vars *vars, const struct env_opam_state *state,
			struct err *e);
/* Before a plan is made: what was asked for could be had, but for what nobody offers: OPAM_NOT_FOUND, said. */
int opam_system_check(struct opam_system *s, struct channel_needs *needs, const struct str *asked, size_t n);
/* Whether what a plan brings wants something of the system that is not there. */
bool opam_system_is_lacking(struct channel_needs *needs, const struct opam_action *v, size_t n);
/* Of a plan that cannot be carried out, after all: s->missing. */
void opam_system_note(struct opam_system *s, struct channel_needs *needs, const struct opam_action *v, size_t n);
/* Says that there is no plan because of s->missing; the exit code. */
int opam_system_no_solution(struct opam_system *s);
/* Tells what has to be installed; installs it, where that is wanted. OPAM_OK: the packages may be built now. */
int opam_system_first(struct opam_system *s);
/* What was built though its system packages are not there needs them no more in this switch. */
int opam_system_bypass(struct opam_system *s, const struct build_opam_package *packages,
		       const struct build_opam_action *done, size_t n, struct err *e);
/* Where system packages are nobody's business (depext: false): what those declare whose build failed. */
void opam_system_declared(struct opam_system *s, struct env_opam_vars *vars, const struct build_opam_failure *v,
			  size_t n);
/* `opam update --depexts` */
int opam_system_update(struct opam_as *x, struct env_opam_vars *vars);
void opam_system_json(const struct opam_system *s, const struct build_opam_package *packages, struct jw *w);
