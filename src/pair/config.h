// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * config (private to pair): ROOT/pair.yml, which is the same on both members (doc/formats/pair.md).
 *
 *	struct pair_config c;
 *	if (pair_config_read(root_fd, root_path, &arena, &c, e) < 0) ...      "/var/lib/slipway/pair.yml:3: 'haproxy' has no …"
 *
 * Without the file nothing is configured. At most 1 MiB; a key that is not known is ERR_INPUT.
 */
#include "pair/traffic.h"

struct pair_config {
	struct traffic_config traffic;
};
int pair_config_read(int root_fd, const char *root_path, struct arena *a, struct pair_config *ret, struct err *e);
