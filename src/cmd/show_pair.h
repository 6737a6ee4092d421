// SPDX-License-Identifier: Apache-2.0
#pragma once
/* show_pair: what show version adds about the hosts themselves. */
#include "cmd/cmd.h"

/* "[1] ROOT: … bytes total (… bytes free)" for this host, and for the other member of its pair. */
int cmd_show_space(struct cmd_context *c, struct jw *w, struct err *e);
