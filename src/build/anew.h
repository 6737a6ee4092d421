// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * anew: first steps of stages that were run again on purpose (--no-cache), and what builds find in their place since then.
 *
 *	DIR/anew/<id>        the id of the layer that stands for the step <id> now
 *
 * What such a step made has an id of its own, and so has all that is built on it: nothing that was there before is changed, and the new results
 * are found by whoever comes later. A record that is lost or torn costs the new results, and brings the old ones back, where they are.
 */
#include "layer/layer.h"

/* *id becomes that of the last time; it stays as it is where there was none. */
int anew_find(struct layers *l, struct layer_id *id, struct err *e);
/* *id becomes one that nothing has. */
int anew_make(struct layer_id *id, struct err *e);
/* From here on `now` stands for `id`. */
int anew_keep(struct layers *l, const struct layer_id *id, const struct layer_id *now, struct err *e);
