// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * role (private to pair): who carries the traffic, as each member keeps it in ROOT/pair/role (doc/formats/pair.md).
 *
 * Missing: member 1, epoch 0: there was no switch-over yet. role_write is on disk when it returns; it refuses (ERR_FAILED) an older epoch
 * than the one that is there, and another member in the same one: the higher epoch is right, whoever comes late with a lower one.
 *
 * Role and traffic are the hosts', whatever environment is upgraded: who moves them holds role_lock from before the first step to after
 * the last one, on both members in the order of their numbers, after the environment. Who only reads, or writes once, need not.
 */
#include "pair/pair.h"

/* Members of the JSON object, here and over the link: role.drained, by member. */
extern const char *const role_drained_keys[PAIR_MEMBERS + 1];
int role_read(int root_fd, struct arena *a, struct pair_role *ret, struct err *e);
/* Too far ahead of the other one to be true, since each switch-over is one more: it is the lower one that is right. */
bool role_is_beyond(uint64_t epoch, uint64_t other);
int role_write(int root_fd, const struct pair_role *r, struct err *e);
int role_lock(int root_fd, int64_t wait_ms, struct err *e); /* a descriptor; ERR_BUSY */
