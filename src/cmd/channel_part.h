// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * channel_part: a small channel of what a list of packages needs, of kinds that packages say their needs in themselves (deb, rpm,
 * opam): channel sync --file where --from is the folder of one, a mirror's channel, or a URL. What is at a URL is followed in
 * ROOT/large, its metadata whole, its packages as they are needed.
 */
#include "cmd/channel_sync.h"
#include "cmd/cmd.h"
#include "mirror/mirror.h"

struct cmd_part_args {
	const char *from, *file, *to; /* folders; from also MIRROR/NAME or a URL */
	const char *kind, *suite, *component, *platforms, *keyring, *key, *ocaml, *variables;
	const char *pythons;
	bool is_conda; /* something else was said that only conda has */
	bool is_unsigned, strong, alone, prune;
};
/* Whether a part can be made of what `from` names: 1, and kind and from (of a file URL) are set; 0: it is conda's. */
int cmd_part_is(struct cmd_context *c, struct cmd_part_args *a, struct err *e);
int cmd_channel_part(struct cmd_context *c, const struct cmd_part_args *a, struct err *e);

/* What it is made of, followed first where it is a URL (channel_large.c). */
int cmd_part_from(struct cmd_context *c, const struct cmd_part_args *a, struct cmd_target *ret, struct err *e);
/* "a,b" apart; NULL: none. */
int cmd_part_split(struct cmd_context *c, const char *text, const char *option, struct mirror_list *ret, struct err *e);

/* The signer that publishing uses (channel_publish.c): 1, 0 where none is wanted. */
int cmd_channel_signer(struct cmd_context *c, const char *key_home, bool is_unsigned, const struct channel_kind *k,
		       struct channel_signer *ret, struct err *e);
