// SPDX-License-Identifier: Apache-2.0
#pragma once
/* opam: what the parts of installing opam packages have in common. Private to build/; the public half is in build/build.h. */
#include <pthread.h>

#include "base/map.h"
#include "base/tar.h"
#include "build/build.h"
#include "build/opam_reuse.h"
#include "build/opam_source.h"
#include "env/env.h"
#include "pkg/pkg.h"

/* -- one run of build_opam ------------------------------------------------------------------------------------------------ */

struct opam_run {
	const struct build_opam_opts *o;
	const char *prefix, *meta, *log_dir, *scratch; /* meta: PREFIX/.opam-switch; scratch: META/.slipway */
	int scratch_fd, builds_fd;		       /* builds: META/build */
	struct opam_cache cache;
	pthread_mutex_t state; /* whoever reads or writes the switch; `made` and `arena` too */
	struct arena *arena;   /* of the caller: what the result holds */
	bool confined;
	const char *const *tops; /* folders of "/" that have something mounted in them */
	size_t n_tops;
	unsigned made; /* numbers for names in scratch */
	unsigned jobs;
	struct opam_reuse reuse;
};
int opam_run_begin(struct opam_run *r, const struct build_opam_opts *o, struct arena *a, struct err *e);
void opam_run_end(struct opam_run *r);

/* -- commands (opam_exec.c) ------------------------------------------------------------------------------------------------- */

struct opam_command {
	const struct build_opam_package *package;
	enum build_opam_step step;
	const char *const *argv, *const *envp;
	const char *dir; /* where it runs, and may write */
};
/* 0: it went well. 1: it failed, see *ret, in a; its log stays. -1: this machine could not run it. */
int opam_exec(struct opam_run *r, const struct opam_command *c, struct arena *a, struct build_opam_failure *ret,
	      struct err *e);
/* The words of a command, as opam shows them. */
const char *opam_words(struct arena *a, const char *const *argv);

/* -- steps of a package (opam_steps.c) ---------------------------------------------------------------------------------------- */

/* An archive of a package that was fetched. */
struct opam_archive {
	const struct pkg_opam_source *source;
	struct opam_fetch fetch;
};
/* What a step says where it returns 1: failure, with the line for people. */
struct opam_outcome {
	struct build_opam_failure failure;
	const char *line;
};
/* 0, 1 with *ret in a. */
int opam_step_build(struct opam_run *r, const struct build_opam_package *p, struct opam_archive *archives, size_t n,
		    struct arena *a, struct opam_outcome *ret);
/* What was found among the packages that are kept, in place of both. */
int opam_step_lay(struct opam_run *r, const struct build_opam_package *p, struct arena *a, struct opam_outcome *ret);
int opam_step_install(struct opam_run *r, const struct build_opam_package *p, struct arena *a,
		      struct opam_outcome *ret);
/* Archives: of its sources, in which its commands run; n 0: they run in an empty folder. */
int opam_step_remove(struct opam_run *r, const struct build_opam_package *p, struct opam_archive *archives, size_t n,
		     struct arena *a, struct opam_outcome *ret);

/* -- what a killed run left (opam_left.c) ------------------------------------------------------------------------------------- */

/* With the switch held, before anything is done. */
int opam_left_clear(struct opam_run *r, struct err *e);
/* Says what is about to be laid; it was, or was taken back. With the state locked. */
int opam_left_note(struct opam_run *r, const struct build_opam_package *p, const struct env_opam_tree *t,
		   struct arena *a, struct err *e);
void opam_left_nothing(struct opam_run *r);

/* -- sources (opam_unpack.c) --------------------------------------------------------------------------------------------------- */

/* Lays the sources of a package into the folder `name` of to_fd (META/build, or the scratch folder), which is made anew: archive, extra sources, extra
 * files. */
int opam_unpack(struct opam_run *r, const struct build_opam_package *p, struct opam_archive *archives, size_t n,
		int to_fd, const char *name, struct arena *a, struct err *e);
