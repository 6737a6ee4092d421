// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * manifest (private to env): what a generation's conda-meta/ says it consists of.
 *
 *	auto_manifest m = {0};
 *	manifest_read(generation_fd, &m, e)
 *	const struct owned *f = manifest_find(&m, path);
 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"

struct owned {
	struct str path, package;
	uint64_t size;
	uint8_t sha256[SHA256_SIZE];
	bool has_size, has_sha256, softlink, folder, seen;
};
struct manifest {
	struct arena arena;
	VEC(struct owned) files;
	struct map by_path; /* → index + 1 */
};
int manifest_read(int dir_fd, struct manifest *m, struct err *e);
struct owned *manifest_find(const struct manifest *m, struct str path); /* NULL: nobody's */
void manifest_release(struct manifest *m);
#define auto_manifest cleanup_with(manifest_release) struct manifest

/* Files that nobody laid out and nobody misses: records, and what Python writes when it runs. */
bool manifest_is_noise(struct str rel);
