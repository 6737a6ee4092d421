// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_users: which packages of a repository need one, and can be installed with it on an image: its reverse dependencies.
 *
 * The image's own opam is asked what there is in its switch and what its variables are, in a step of a build, which is kept as any other; the rest is
 * solve_users.
 */
#include "build/build.h"
#include "cmd/cmd.h"

struct cmd_opam_users {
	struct layers *layers;
	struct str base, opam; /* the image, as (from …) has it; the version of its opam */
	struct str package;    /* NAME.VERSION */
	const char *repo;      /* a folder */
	bool keep_index;       /* it stays where it is: its index is worth keeping */
};
int cmd_opam_users(struct cmd_context *c, const struct cmd_opam_users *o, struct solve_user **ret, size_t *ret_n,
		   struct err *e);
