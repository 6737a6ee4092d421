// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * manifest (private to env): what a generation's conda-meta/ says it consists of.
 *
 *	auto_manifest m = {0};
 *	manifest_read(generation_fd, &m, e)
 *	const struct owned *f = manifest_find(&m, path);
 *	manifest_strangers(&m, &lock, found, ctx)
 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"
#include "env/env.h"

struct owned {
	struct str path, package;
	uint64_t size;
	uint8_t sha256[SHA256_SIZE];
	bool has_size, has_sha256, has_mode, exec, softlink, folder, seen; /* exec: mode 0755, else 0644 */
};
struct manifest_record {
	struct str file, package; /* "conda-meta/NAME-VERSION-BUILD.json", its name */
};
struct manifest {
	struct arena arena;
	VEC(struct manifest_record) records; /* sorted by file */
	VEC(struct owned) files;
	struct map by_path; /* → index + 1 */
};
int manifest_read(int dir_fd, struct manifest *m, struct err *e);
struct owned *manifest_find(const struct manifest *m, struct str path); /* NULL: nobody's */
/* Another program may have installed packages here, or removed some: calls found() for each record that the lock knows
 * nothing of (there), and for each package of the lock whose record is not here. */
typedef void manifest_stranger_fn(void *ctx, const struct manifest_record *r, bool there);
void manifest_strangers(struct manifest *m, const struct env_spec_file *lock, manifest_stranger_fn *found, void *ctx);
void manifest_release(struct manifest *m);
#define auto_manifest cleanup_with(manifest_release) struct manifest

/* Files that nobody laid out and nobody misses: records, and what Python writes when it runs. */
bool manifest_is_noise(struct str rel);
