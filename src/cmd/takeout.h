// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * takeout: recipes that a mirror serves, named `to:PATH.spr` (doc/formats/takeout.md), and where the mirror is.
 *
 * ROOT/updates holds the mirror's address, one line. ROOT/takeout/ keeps what was fetched: the list, recipes, release notes, each
 * verified by its digest; without the network they are used again.
 */
#include "cmd/cmd.h"

/* 1; 0: none was set ('slipway spot --updates=URL'); -1. An address without a slash at its end. */
int cmd_updates(struct cmd_context *c, struct str *ret, struct err *e);
int cmd_need_updates(struct cmd_context *c, struct str *ret, struct err *e); /* the same where there must be one */
int cmd_updates_set(struct cmd_context *c, const char *url, struct str *ret, struct err *e);
/* The body of a request to it, at most ret's maximum; size 0, sha256 NULL: not known. */
int cmd_updates_get(struct cmd_context *c, struct str updates, const char *path, uint64_t size, const uint8_t *sha256,
		    struct buf *ret, struct err *e);

/* What the mirror says that its channels are copies of; nothing where it is no mirror of ours or says nothing. Asked once a command, kept
 * for when it does not answer. */
struct cmd_followed {
	struct str from, to; /* URLs of channels */
};
void cmd_updates_followed(struct cmd_context *c, const struct cmd_followed **ret, size_t *ret_n);

bool cmd_is_takeout(const char *word);
/* One recipe, or several ("to:A.spr,to:B.spr") as one: channels, specs, packages, components of all. What two of them say otherwise is
 * an error that names both. Bare channel names are channels of the mirror. */
int cmd_takeout_read(struct cmd_context *c, const char *words, struct env_spec_file *ret, struct err *e);

/* Release notes of what is newer than `installed` (NULL: nothing is there), as text; nothing where there are none. Of `to:` recipes alone. */
int cmd_takeout_notes(struct cmd_context *c, const char *words, const struct env_spec_file *installed,
		      const struct env_spec_file *target, struct buf *ret, struct err *e);

/* A table of what the mirror offers: path, when it was released, size, for which platform; why it is not offered. An exit code, or -1. */
int cmd_takeout_list(struct cmd_context *c, struct err *e);
