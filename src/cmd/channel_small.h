// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * channel_small: channel sync --file, also called by the name sync-channel.
 */
#include "cmd/cmd.h"

struct cmd_small_args {
	struct cmd_solve_options solve; /* channels: out of which; none: the first that is kept */
	const char *file;		/* specs, a list a line */
	const char *to; /* a folder, or a kept channel that is one; NULL: the kept one that is called mini-FROM */
	const char *pythons, *platforms; /* apart by commas; NULL: as the lines say; this machine's */
	bool prune, shards;
};
/* An exit code, or -1 with *e. */
int cmd_channel_small(struct cmd_context *c, const struct cmd_small_args *a, struct err *e);
