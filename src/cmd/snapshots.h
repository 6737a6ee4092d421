// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * snapshots: thin snapshots (doc/formats/snapshot.md) from a client's side. They go to the mirror that updates come from, where this
 * host is enrolled there; where it is not, nothing is sent and nothing said.
 */
#include "cmd/cmd.h"
#include "mirror/mirror.h"

/* A mirror that does not take it is told of as a note, and keeps nobody from an operation. operation: NULL with MIRROR_SNAPSHOT_NOW. */
void cmd_snapshot_store(struct cmd_context *c, struct str env, const struct env_spec_file *lock,
			enum mirror_snapshot_when when, const char *operation);

/* One snapshot, or a recipe made of it. An exit code. */
int cmd_snapshot_print(struct cmd_context *c, const struct mirror_snapshot *s, struct str text_of, bool recipe);
int cmd_snapshot_print_difference(struct cmd_context *c, const struct mirror_snapshot *old,
				  const struct mirror_snapshot *new);
