// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * catalogues: how current the channels of the mirror that updates come from are, for this host's platform and operating system. Whoever
 * says that there is nothing new says this first: a list that is empty, old or for others is no "up to date".
 */
#include "cmd/cmd.h"

/* One warning for each channel that is not good, with dates; one where the mirror cannot be asked. Nothing offline, or where no mirror
 * is set. */
void cmd_catalogues_say(struct cmd_context *c);
/* The member "catalogues" of an answer, as the mirror told it, or "catalogues_error". */
void cmd_catalogues_json(struct cmd_context *c, struct jw *w);
/* What a recipe says of systems holds here. ERR_UNSUPPORTED says what it is for and what this host is. */
int cmd_check_os(struct cmd_context *c, struct str recipe, struct str ranges, struct err *e);
/* The same, as a reason for a list; empty: it holds. */
struct str cmd_why_not_os(struct cmd_context *c, struct str ranges);
