// SPDX-License-Identifier: Apache-2.0
#pragma once
/* env_opam_internal: what env_opam.c, env_opam_make.c and env_opam_why.c share. */
#include "base/map.h"
#include "build/build.h"
#include "cmd/env_opam.h"
#include "cmd/opam_repos.h"

struct chosen {
	struct str name, version;
	const struct pkg_record *before; /* of that very version, in the environment or the lock; NULL: new */
	bool known, reached;		 /* known: a repository has it, as `id` of the needs */
	uint32_t id;
	const struct str *depends; /* "opam:ocaml (>= 4.08)" */
	size_t depends_n;
};
struct cmd_env_opam {
	struct cmd_context *c;
	struct cmd_opam_repos repos;
	struct build_workshop *workshop;
	struct channel_needs *needs; /* of a host where nothing is installed */
	VEC(struct chosen) chosen;
	struct map by_name; /* into chosen, + 1 */
	/* In the order of work: */
	struct build_made *v;
	const struct chosen **of;
	const struct channel **channel_of;
	size_t n;
};
/* Repositories and needs. */
int env_opam_begin(struct cmd_context *c, const struct cmd_solve_options *o, const struct env_spec_file *file,
		   const struct env_spec_file *before, struct cmd_env_opam **ret, struct err *e);
/* What is needed on this host, where the packages of `before` (NULL: none) are installed. The repositories outlive it. */
int env_opam_needs(struct cmd_env_opam *oe, const struct env_spec_file *before, struct channel_needs **ret,
		   struct err *e);
/* The packages, specs and channels of opam's. */
void env_opam_part(struct cmd_context *c, const struct env_spec_file *f, struct env_spec_file *ret);
/* "dune" of "opam:dune>=3". ERR_USAGE. */
int env_opam_name(struct cmd_context *c, struct str spec, struct str *ret, struct err *e);
/* ERR_NOT_FOUND where one of the specs names nothing that there is, or that this host could have. */
int env_opam_check(struct cmd_context *c, struct channel_needs *needs, const struct str *specs, size_t n,
		   struct err *e);
/* What a record says of how it was made; `file` and `key` may be NULL. ERR_INPUT where it does not. */
int env_opam_said(struct cmd_context *c, const struct pkg_record *r, uint8_t *file, uint8_t *key, struct err *e);
