// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * channel_part: a small channel of what a list of packages needs, of kinds that packages say their needs in themselves (deb, rpm,
 * opam): channel sync --file where --from is the folder of one, or a mirror's channel.
 */
#include "cmd/cmd.h"

struct cmd_part_args {
	const char *from, *file, *to; /* folders; from also MIRROR/NAME */
	const char *suite, *component, *platforms, *key, *ocaml, *variables;
	bool is_unsigned, strong, alone, prune;
};
/* Whether a part can be made of what the word names. */
bool cmd_part_is(struct cmd_context *c, const char *word);
int cmd_channel_part(struct cmd_context *c, const struct cmd_part_args *a, struct err *e);

/* The signer that publishing uses (channel_publish.c): 1, 0 where none is wanted. */
int cmd_channel_signer(struct cmd_context *c, const char *key_home, bool is_unsigned, const struct channel_kind *k,
		       struct channel_signer *ret, struct err *e);
