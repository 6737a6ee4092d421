// SPDX-License-Identifier: Apache-2.0
#pragma once
/* internal (private to mirror): what its parts share. */
#include <pthread.h>

#include "base/sql.h"
#include "mirror/mirror.h"

struct front;
enum { DOWNLOAD_RELEASED, DOWNLOAD_HISTORIC, DOWNLOAD_METADATA, DOWNLOAD_CLASSES };
struct mirror {
	char *dir; /* absolute */
	int dir_fd;
	bool plain;
	char *db_path;
	struct arena arena; /* of the configuration */
	struct mirror_config config;
	pthread_mutex_t fronts_lock;
	struct front *fronts;
	/* syncs of this process that download now, of each class; and metadata: they share the limit */
	atomic_uint downloading[DOWNLOAD_CLASSES];
};
