// SPDX-License-Identifier: Apache-2.0
#pragma once
/* channel_sign (private to cmd): what publishing does in a channel that is signed as a whole. */
#include "cmd/cmd.h"

struct cmd_seal {
	struct cmd_context *c;
	const struct channel_kind *kind;
	const struct cmd_list *keys; /* folders, --tuf-keys; NULL or none: the mirror's, and ROOT/keys/tuf */
	const char *passphrase_file; /* or NULL */
	const char *folder_told;     /* within: that something waits is told once */
};
/* Has what is published, or taken out, with `o` signed, where the channel is signed. `s` lives as long as `o`. */
void cmd_seal_with(struct cmd_seal *s, struct channel_make_opts *o);
/* The same for who publishes without such options. */
int cmd_seal(struct cmd_seal *s, const char *folder, struct err *e);
