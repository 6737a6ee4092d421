// SPDX-License-Identifier: Apache-2.0
#pragma once
/* enrolled (private to cmd): the mirrors that this host is enrolled at, for whoever downloads. */
#include "cmd/cmd.h"

/* Has downloads from such a mirror believe its authority and show this host's certificate, which is renewed when it is time. */
int cmd_trust_enrolled(struct cmd_context *c, struct transfer_opts *o, struct err *e);
/* What the configuration says of downloads. */
int cmd_transfer_opts(struct cmd_context *c, struct transfer_opts *ret, struct err *e);
