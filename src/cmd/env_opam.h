// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * env_opam: the opam packages of an environment (doc/decisions/0087-opam-environments.md). In specs, channels and locks they stand beside conda's as
 * "opam:dune>=3", "opam:URL" and packages "opam:dune".
 *
 *	cmd_env_apart(c, a, file, before, &conda, &opam, e)       what is asked for, by kind
 *	cmd_env_opam_solve(c, &opam, target, &oe, e)              adds to a target what the opam specs come to
 *	cmd_env_opam_exact(c, &lock, target, &oe, e)              the same for a lock: these very packages
 *	cmd_env_opam_make(c, oe, plan, &o, e)                     builds those that the store has not
 */
#include "cmd/change.h"

struct cmd_env_opam;
void cmd_env_opam_free(struct cmd_env_opam *oe);
DEFINE_AUTO(struct cmd_env_opam *, cmd_env_opam, cmd_env_opam_free);

/* The parts of a request that are of one kind. */
struct cmd_env_part {
	struct cmd_change_args args; /* words, removals and channels of that kind */
	struct env_spec_file file, before;
};
void cmd_env_part_release(struct cmd_env_part *p);
#define auto_env_part cleanup_with(cmd_env_part_release) struct cmd_env_part
void cmd_env_apart(struct cmd_context *c, const struct cmd_change_args *a, const struct env_spec_file *file,
		   const struct env_spec_file *before, struct cmd_env_part *conda, struct cmd_env_part *opam);
/* Whether anything of opam's is in it. */
bool cmd_env_has_opam(const struct cmd_env_part *opam);

/* Returns an exit code; CMD_OK: target has the packages, behind those of other kinds, their channels and specs. */
int cmd_env_opam_solve(struct cmd_context *c, const struct cmd_env_part *opam, struct env_spec_file *target,
		       struct cmd_env_opam **ret, struct err *e);
/* Of a lock that was read: its packages of opam's become what they would be here. 0: it has none; 1. */
int cmd_env_opam_exact(struct cmd_context *c, struct env_spec_file *target, struct cmd_env_opam **ret, struct err *e);
/* why -n ENV opam:NAME.VERSION. Returns an exit code. */
int cmd_env_opam_why_not(struct cmd_context *c, struct str env, const struct env_spec_file *lock, struct str spec,
			 struct err *e);
/* Nothing is asked for of opam's: what the environment has of it stays to the byte, without a look at repositories. */
void cmd_env_opam_keep(struct cmd_context *c, const struct cmd_env_part *opam, struct env_spec_file *target);
bool cmd_env_opam_is_asked(const struct cmd_env_part *opam);
int cmd_env_opam_make(struct cmd_context *c, struct cmd_env_opam *oe, struct env_plan *plan,
		      const struct cmd_change_options *o, struct err *e);
