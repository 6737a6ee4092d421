// SPDX-License-Identifier: Apache-2.0
#pragma once
/* env_opam_internal: what env_opam.c, env_opam_make.c and env_opam_why.c share. */
#include "build/build.h"
#include "cmd/env_opam.h"
#include "cmd/opam_repos.h"

struct cmd_env_opam {
	struct cmd_context *c;
	struct cmd_opam_repos repos;
	struct build_opam_set *set;
};
/* Repositories and an empty set. */
int env_opam_begin(struct cmd_context *c, const struct cmd_solve_options *o, const struct env_spec_file *file,
		   const struct env_spec_file *before, struct cmd_env_opam **ret, struct err *e);
/* The packages, specs and channels of opam's. */
void env_opam_part(struct cmd_context *c, const struct env_spec_file *f, struct env_spec_file *ret);
/* "dune" of "opam:dune>=3". ERR_USAGE. */
int env_opam_name(struct cmd_context *c, struct str spec, struct str *ret, struct err *e);
/* ERR_NOT_FOUND where one of the specs names nothing that there is, or that this host could have. */
int env_opam_check(struct cmd_context *c, struct channel_needs *needs, const struct str *specs, size_t n,
		   struct err *e);
