// SPDX-License-Identifier: Apache-2.0
#pragma once
/* show_pair: what show version adds about the hosts themselves, and what the members of a pair are like. */
#include "cmd/cmd.h"
#include "pair/pair.h"

/* "[1] ROOT: … bytes total (… bytes free)" for this host, and for the other member of its pair. */
int cmd_show_space(struct cmd_context *c, struct jw *w, struct err *e);
/* This host's number, 1 where it is in no pair. */
uint32_t cmd_show_member(struct cmd_context *c, bool *ret_joined);

/* 1 and both members, of an environment or (empty) the hosts alone; 0: this host is no member of a pair, and nobody was asked. */
int cmd_pair_members(struct cmd_context *c, struct str env, struct pair_status *ret, struct err *e);
/* Of a pair the timer that ends first is the one that counts: who was active rings later, for when the other one does not. `left_ms`:
 * what this host's has; -1: it does not run. */
int64_t cmd_first_timer(const struct pair_status *s, struct str operation_id, int64_t left_ms);
