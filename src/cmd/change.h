// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * change: what the commands that change an environment share: from specs or a lock to a plan, its display, and the way
 * through prepare, lay out and switch.
 */
#include "cmd/upgrade.h"

/* Prints the explanation of an unsolvable request; exit code 3. */
int cmd_no_solution(struct cmd_context *c, const struct solve_result *r);
/* The same where the reasons are a list, as of opam packages; returns `exit`. */
int cmd_no_solution_for(struct cmd_context *c, const struct str *why, size_t n, int exit);
/* "-" is standard input. */
int cmd_read_spec_file(struct cmd_context *c, const char *path, struct env_spec_file *ret, struct err *e);
/* The file's specs and the command line's words, one after the other. */
int cmd_gather_specs(struct cmd_context *c, const struct env_spec_file *file, const struct cmd_list *words,
		     struct str **ret, size_t *ret_n, struct err *e);
/* --help of the command in c. */
int cmd_help(struct cmd_context *c);

/* Holds the environment that must be there; *info is read under the hold. A dry run holds nothing: *ret is NULL. */
int cmd_hold(struct cmd_context *c, const char *name, int64_t wait_s, struct env_info *info, struct env_hold **ret,
	     struct err *e);

struct cmd_change_options {
	struct cmd_solve_options solve;
	bool allow_scripts, no_pyc, copy, sync, override_frozen;
	bool no_sandbox;   /* for commands of opam packages */
	int64_t jobs;	   /* of theirs, at once; 0: as many as processors */
	bool prepare_only; /* bring everything into the store, and no more */
	const char *sync_mode, *clobber;
	int64_t wait_s;
};
#define CMD_CHANGE_OPTIONS(o)                                                                                          \
	{0, "allow-scripts", CMD_FLAG, &(o)->allow_scripts}, {0, "no-pyc", CMD_FLAG, &(o)->no_pyc},                    \
		{0, "copy", CMD_FLAG, &(o)->copy}, {0, "clobber", CMD_TEXT, &(o)->clobber},                            \
		{0, "disable-sandboxing", CMD_FLAG, &(o)->no_sandbox}, {'j', "jobs", CMD_NUMBER, &(o)->jobs},          \
	{                                                                                                              \
		0, "wait", CMD_NUMBER, &(o)->wait_s                                                                    \
	}

/* Before anything is solved for: option values that are none (ERR_USAGE), a lock of another platform (ERR_UNSUPPORTED). */
int cmd_change_check(struct cmd_context *c, const struct cmd_change_options *options, struct err *e);
int cmd_check_platform(struct cmd_context *c, const struct cmd_change_options *options,
		       const struct env_spec_file *file, struct err *e);

/* A lock made of a solution: what the new generation shall be. */
void cmd_lock_of_result(struct cmd_context *c, const struct solve_result *r, const struct cmd_opened *o,
			struct env_spec_file *ret);
/* What `install add` says beyond what env update does. */
struct cmd_install {
	bool activate, issu, commit, stop_at_deprecated;
	int64_t timer_ms; /* 0: the default */
};
/* Plans, shows the plan, and unless --dry-run carries it out and tells how it went. Returns an exit code. The environment
 * is held by the caller, who has read `before` under that hold, and whose `u` has it; for a dry run there is none. */
struct cmd_change {
	struct str name;
	const char *operation;		    /* "create", "update", "apply" */
	const struct env_spec_file *before; /* NULL: a new environment */
	const struct env_spec_file *target;
	const struct cmd_change_options *options;
	bool given;			   /* the target is a lock from a file, not a solution */
	struct cmd_env_opam *opam;	   /* of opam packages in the target; NULL: there are none */
	const struct cmd_install *install; /* NULL: made current and committed in one go */
};
int cmd_carry_out(struct cmd_context *c, const struct cmd_change *ch, struct cmd_upgrade *u, struct err *e);

/* -- install add: env update's way to a new version (env_change.c) ------------------------------------------------- */
struct cmd_change_args {
	struct cmd_change_options options;
	const char *name, *file;
	bool all, opam; /* opam: words and removals are opam's */
	struct cmd_list words, remove;
};
void cmd_change_args_release(struct cmd_change_args *a);
/* Returns an exit code. */
int cmd_install_change(struct cmd_context *c, const struct cmd_change_args *a, const struct cmd_install *in);
