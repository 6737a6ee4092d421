// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * change_show: how a change of an environment is shown, for change.c: its plan, what differs from it on disk, how it went.
 */
#include "cmd/change.h"

/* What --sync will undo: files of nobody (with --syncmode=delete), changed and missing ones. The texts are in the context's
 * arena. */
struct change_difference {
	const char *path, *what, *detail;
};
struct change_differences {
	struct cmd_context *c;
	bool leave_added; /* those of nobody stay, and are none */
	VEC(struct change_difference) found;
};
/* Finds and shows them. */
int change_find_differences(struct cmd_context *c, struct str name, bool delete, struct change_differences *d,
			    struct err *e);

void change_show_plan(struct cmd_context *c, const struct env_plan *p);
void change_show_result(struct cmd_context *c, const struct cmd_change *ch, const struct env_report *r);
/* What a program learns of a change: the plan, and how it went (r NULL: nothing was done). Returns CMD_OK. */
int change_answer(struct cmd_context *c, const struct cmd_change *ch, const struct env_plan *p,
		  const struct change_differences *d, const struct env_report *r, const struct cmd_upgrade *u);
