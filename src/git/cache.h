// SPDX-License-Identifier: Apache-2.0
#pragma once
/* cache: the folders of CACHE_DIR, a bare repository for each URL, and who uses them.
 *
 *	NAME-DIGEST        the repository
 *	NAME-DIGEST.lock   held by whoever fetches
 *	NAME-DIGEST.use    the URL; held, shared, by whoever reads objects or fetches, alone by whoever removes. Its time is that of the last use
 */
#include "git/git.h"

/* "NAME-DIGEST" */
const char *git_cache_name(struct str url, struct arena *a);
/* Until the fd is closed nobody removes the folder at path. */
int git_cache_use(const char *path, struct str url, struct err *e);
