// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * channel_sync: channels that are made and that follow others, in a mirror or as a plain folder.
 */
#include "cmd/cmd.h"
#include "mirror/mirror.h"

struct cmd_follow_args {
	const char *limit; /* Mbit/s; NULL: as configured */
	bool force;
	struct cmd_list targets;
};
/* channel sync without a list of specs. An exit code, or -1 with *e. */
int cmd_channel_follow(struct cmd_context *c, const struct cmd_follow_args *a, struct err *e);

/* What a person calls a channel: a mirror's folder and a name ("/srv/mirror/tools", "/srv/mirror/content/tools"), a folder that follows something, a mirror (all its
 * channels; `all`), or any folder with a channel in it (m NULL). */
struct cmd_target {
	struct mirror *m;
	const struct mirror_channel *channel; /* NULL: all of them, or no mirror */
	const char *folder;		      /* the tree; NULL where it is all of them */
	const struct channel_kind *kind;
};
int cmd_target(struct cmd_context *c, const char *word, struct cmd_target *ret, struct err *e);
void cmd_target_release(struct cmd_target *t);
/* Of MIRROR/NAME the tree, MIRROR/content/NAME; any other word stays. ERR_USAGE where the channel is none to publish to. */
int cmd_target_tree(struct cmd_context *c, const char **word, struct err *e);
#define auto_target cleanup_with(cmd_target_release) struct cmd_target
