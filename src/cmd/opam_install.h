// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_install: a plan on its way from words to what build_opam does. opam_install.c asks for it, by command and options; opam_install_packages.c makes
 * packages of it, opam_install_build.c carries it out, opam_install_show.c tells of it in opam's words.
 */
#include "build/build.h"
#include "cmd/opam_as.h"
#include "cmd/opam_plan.h"
#include "cmd/opam_source.h"
#include "cmd/opam_system.h"

enum { SYSTEM_TURNS = 100 };
enum act { INSTALL, REINSTALL, REMOVE, UPGRADE };
struct wanted {
	enum act act;
	struct cmd_list words;
	bool with_test, with_doc, show, dry_run, keep, no_sandbox, anew, deps_only, check, all, restore, best_effort;
	struct opam_system_options system;
	const char *kept;
	int64_t jobs, download_jobs, memory_mb, time_s;
};
VEC_TYPE(str_vec, struct str);
struct plan {
	struct opam_as *x;
	const struct wanted *w;
	struct env_opam_state state;
	struct env_opam_config config;
	struct env_opam_repo *repo;
	size_t repo_n;
	const char *files; /* PREFIX/.opam-switch/slipway-files: what lies beside opam files in tars */
	struct str_vec asked, names, mirrors;
	struct pkg_opam_strs variables;	 /* env_opam_host_variables */
	bool everything;		 /* nobody named anything */
	struct opam_definitions sources; /* folders that are asked for */
	struct opam_index *source;	 /* of these, where they are not pinned to: where nothing is to be changed */
	struct str_vec simulated;	 /* their pins, then, and those of the switch */
	bool simulate;
	bool found; /* a plan was looked for: where it is empty, that is told */
	struct channel_needs *needs;
	struct opam_action *actions;
	size_t actions_n;
	VEC(struct build_opam_package) packages;
	struct opam_system system;
	struct env_opam_vars *vars;
};

static inline struct arena *arena_of(struct plan *p)
{
	return &p->x->c->arena;
}

static inline bool is_asked(const struct plan *p, struct str name)
{
	for (size_t i = 0; i < p->names.n; i++)
		if (str_eq(p->names.v[i], name))
			return true;
	return false;
}

/* -- packages (opam_install_packages.c) -------------------------------------------------------------------------------------- */

/* p->packages of p->actions: an upgrade is the old version removed and the new one installed. */
int opam_install_packages(struct plan *p, struct err *e);
/* --deps-only: what was asked for leaves p->actions, whose order stays. */
void opam_install_leave_out_asked(struct plan *p);
/* What is installed, p->state.installed.n of it, with what becomes of it and of its users when the names are removed or built anew. */
int opam_install_members(struct plan *p, struct env_opam_member **ret, struct err *e);
/* Roots of a switch that are not installed: an upgrade that failed, or was killed, removed them to build them anew. */
struct pkg_opam_strs opam_install_lost(struct arena *a, const struct env_opam_state *s);
/* p->packages without a solver: the names, and what uses them. */
int opam_install_users(struct plan *p, struct err *e);
/* With a solver: first what is asked of it, that all names stay at their versions (oldest: the compiler too), and then, in its actions, what is to be built
 * anew besides. */
void opam_install_ask_as_installed(struct plan *p, const struct env_opam_member *v, size_t n, bool oldest,
				   struct str_vec *asked);
void opam_install_add_recompiles(struct plan *p, const struct env_opam_member *v, size_t n);

/* -- doing (opam_install_build.c) --------------------------------------------------------------------------------------------- */

/* p->packages, told as it goes; the exit code. */
int opam_install_build(struct plan *p);

/* -- telling (opam_install_show.c) -------------------------------------------------------------------------------------------- */

/* Of the names that were asked for, with the needs open: says what is missing; OPAM_FALSE: something is. */
int opam_install_check(struct plan *p);
void opam_install_show_actions(struct plan *p);
void opam_install_show_removals(struct plan *p);
/* What authors tell whoever has installed something, or failed to (post-messages). */
void opam_install_messages(struct plan *p, const struct build_opam_result *r);
/* What failed, and what was done all the same; the exit code. */
int opam_install_report(struct plan *p, const struct build_opam_result *r);
/* `slipway opam … --json`: what was planned, and what became of it (r NULL: nothing was done). */
int opam_install_answer(struct plan *p, const struct build_opam_result *r);
