// SPDX-License-Identifier: Apache-2.0
#pragma once
/* channel_trust (private to cmd): pins, told to the person who makes them. */
#include "cmd/cmd.h"

/* Pins a root for the channel, and tells of it: keys, digest. */
int cmd_trust_root(struct cmd_context *c, const struct channel *ch, struct str root, struct err *e);
int cmd_trust_file(struct cmd_context *c, const struct channel *ch, const char *file, struct err *e);
/* Pins the roots of all signed channels that a mirror has for this host and of which none is pinned yet: the connection is what vouches for
 * them, and the code of the enrolment vouched for that. Tells each; what cannot be had is told, and is no failure. */
void cmd_trust_mirror(struct cmd_context *c, struct str url);
/* The root that the channel's server has, unverified; ERR_NOT_FOUND where the channel is not signed. */
int cmd_trust_first_root(struct cmd_context *c, const struct channel *ch, struct buf *ret, struct err *e);
