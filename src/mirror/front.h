// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * front (private to mirror): fetches that somebody waits for. Each channel has a thread and an engine of its own for them, made at the
 * first; bulk downloads have others, so that nobody waits behind those.
 */
#include <pthread.h>

#include "mirror/sync.h"

struct front;
struct mirror *reader_mirror(const struct mirror_reader *r);
struct sql *reader_db(const struct mirror_reader *r);
/* Ends the threads of a mirror; what is under way breaks off. */
void fronts_end(struct mirror *m);
