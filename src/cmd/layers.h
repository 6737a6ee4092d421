// SPDX-License-Identifier: Apache-2.0
#pragma once
/* layers: the folder that builds and images share. */
#include "cmd/cmd.h"
#include "layer/layer.h"

/* --store DIR, else ROOT/build. */
const char *cmd_build_dir(struct cmd_context *c, const char *store, struct err *e);
/* Folders in which a build itself writes: no copy takes them, should the context hold them. Ended by NULL. */
const char *const *cmd_build_apart(struct cmd_context *c, const char *store);
int cmd_need_layers(struct cmd_context *c, const char *store, struct layers **ret, struct err *e);
/* Where less is free than build.keep_free of the configuration wants: what was unused longest goes. What fails is told, and no more. */
void cmd_build_make_room(struct cmd_context *c, struct layers *l);
/* The layer whose id begins so. 1; 0 none does, or it is no such beginning of CMD_LAYER_PREFIX_MIN digits and more; ERR_USAGE several do. */
enum { CMD_LAYER_PREFIX_MIN = 4 };
int cmd_find_layer(struct cmd_context *c, struct layers *l, struct str word, struct layer_id *ret, struct err *e);
