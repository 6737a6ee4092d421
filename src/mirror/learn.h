// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * learn (private to mirror): what a proxy takes from the metadata that it passes on: digests, sizes and places of the files they
 * name, into table file, before a client sees the metadata. So whoever asks for a package because of them has it verified.
 *
 *	learner_new(m, channel, &l, e)
 *	learner_take(l, work, "partial/…", "linux-64/repodata.json.zst", &got, e)      moves it to .slipway/came, reads it
 *	place_put(got.folder, path, tree, path, e)                                      what is to be served
 *
 * Slow, where metadata are large: for a thread of its own. Memory does not grow with them, but for what a page of one project holds.
 */
#include "mirror/sync.h"

#define CAME "came"
#define MADE "made"

struct learned {
	int fd;	    /* of what is to be served: the caller's */
	int folder; /* that it lies in, under its path; the learner's */
	uint64_t size, told;
	uint8_t sha256[SHA256_SIZE];
};
struct learner;
int learner_new(struct mirror *m, const struct mirror_channel *c, struct learner **ret, struct err *e);
void learner_free(struct learner *l);
DEFINE_AUTO(struct learner *, learner, learner_free);
/* The file is gone from `from` in any case. ERR_INPUT, ERR_LIMIT, ERR_VERIFY: it is not to be served. */
int learner_take(struct learner *l, int from, const char *name, const char *path, struct learned *ret, struct err *e);
