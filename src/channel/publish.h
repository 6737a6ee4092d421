// SPDX-License-Identifier: Apache-2.0
#pragma once
/* publish: what the two halves of publishing share. Private to channel/. */
#include "base/json.h"
#include "channel/channel.h"

#define PUBLISH_CURRENT "current_repodata.json"
#define PUBLISH_SHARDS "repodata_shards.msgpack.zst"

/* `text` as a subdir's repodata.json, last, after all that is made of it: .zst, and shards and current_repodata.json where they
 * are there (shards: in any case). What others made of the one before goes. */
int publish_repodata(int dir, struct str text, struct str subdir, bool shards, struct progress *p, struct err *e);
/* `text`, packed with zstd, as file `name`. */
int publish_packed(int dir, const char *name, struct str text, struct err *e);
/* Made of a repodata.json, `top`: shards/, the index of them last; and current_repodata.json (and .zst, where it is there):
 * the newest version of each name and, among the records of the subdir, what these need. */
int publish_shards(int dir, const struct json *top, struct str subdir, struct err *e);
int publish_current(int dir, const struct json *top, struct err *e);
