// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pinned (private to cmd): channels whose root of trust this host knows. What comes of such a channel is what was signed, or is refused:
 * pointers as targets of its TUF repository (CHANNEL/tuf/), all else by the SHA-256 that these say.
 *
 * ROOT/trust/ID/		the folder of tuf's client, and `channel`: the channel's address
 *
 * A pin stays when the channel is removed from the list: only cmd_pinned_forget ends it. A ROOT/trust that cannot be read is an error,
 * never a host without pins.
 */
#include "cmd/cmd.h"
#include "tuf/tuf.h"

struct cmd_pinned {
	struct str url; /* shown, without a slash at its end */
	const char *id;
	/* within: */
	int dir_fd;
	struct repo *repo;
	bool is_fresh;
	struct err err; /* of the refresh, which a command makes once */
};
/* Reads ROOT/trust: c->pinned. Once a command. */
int cmd_pinned_load(struct cmd_context *c, struct err *e);
void cmd_pinned_release(struct cmd_context *c);
/* The pinned channel that the URL lies in, and the path there; NULL: none. After cmd_pinned_load. */
struct cmd_pinned *cmd_pinned_at(struct cmd_context *c, struct str url, struct str *ret_path);
/* Verifies metadata, the first time in a command, and looks for the path: 1, 0 nobody signs for it, -1. *ret_url is where it is fetched
 * from, with the credentials of `url`, which asks for it; in the context's arena. */
int cmd_pinned_find(struct cmd_context *c, struct cmd_pinned *p, struct str url, struct str path,
		    struct tuf_target *ret, const char **ret_url, struct err *e);
/* Pins `root` (bytes) in place of what was there; what is held of the channel's metadata goes. */
int cmd_pinned_set(struct cmd_context *c, const struct channel *ch, struct str root, struct err *e);
int cmd_pinned_forget(struct cmd_context *c, const struct channel *ch, struct err *e);
/* What is held of it, without asking anybody. */
int cmd_pinned_held(struct cmd_context *c, const struct cmd_pinned *p, struct tuf_trusted *ret, struct err *e);
/* Says of the signed ones among channels that are used without the network how long what is held of them is good. */
void cmd_pinned_tell_offline(struct cmd_context *c, const struct channel *v, size_t n);
/* The downloads of a command: what lies in a pinned channel has to be bound by what was signed. */
void cmd_pinned_guard(struct cmd_context *c, struct transfer_opts *o);
/* The same for channel metadata. */
void cmd_pinned_guard_metadata(struct channel_fetch *f);
/* A request for metadata of a pinned channel: 1 where it is to be made as *t and *ret_url say; 0 where g is answered. */
int cmd_pinned_ask(struct cmd_context *c, struct channel_get *g, struct cmd_pinned *p, struct str path,
		   struct tuf_target *t, const char **ret_url);
