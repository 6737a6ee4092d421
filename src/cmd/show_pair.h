// SPDX-License-Identifier: Apache-2.0
#pragma once
/* show_pair: what show version adds about the hosts themselves. */
#include "cmd/cmd.h"

/* "[1] ROOT: … bytes total (… bytes free)" for this host, and for the other member of its pair. */
int cmd_show_space(struct cmd_context *c, struct jw *w, struct err *e);
/* This host's number, 1 where it is in no pair. */
uint32_t cmd_show_member(struct cmd_context *c, bool *ret_joined);
