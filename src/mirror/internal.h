// SPDX-License-Identifier: Apache-2.0
#pragma once
/* internal (private to mirror): what its parts share. */
#include "mirror/db.h"
#include "mirror/mirror.h"

struct mirror {
	char *dir; /* absolute */
	int dir_fd;
	bool plain;
	char *db_path;
	struct arena arena; /* of the configuration */
	struct mirror_config config;
};
