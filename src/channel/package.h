// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * package: what a package file says of itself, for publishing. Private to channel/.
 */
#include "base/json.h"
#include "channel/channel.h"

struct package_file {
	const char *path;
	struct str fn, name, version, build, subdir; /* in the arena */
	bool is_conda, is_v3;			     /* is_v3: schema_version 3 or newer (CEP 48) */
	uint64_t size;
	uint8_t sha256[SHA256_SIZE], md5[MD5_SIZE];
	const struct json *index; /* info/index.json */
};
/* Reads and checks a package: its name, and that info/index.json agrees with it and keeps to CEP 34. */
int package_read(const char *path, struct arena *a, struct package_file *ret, struct err *e);
/* The content of one file of a tar stream, the first whose path matches (str_glob_path), at most b's maximum: 1 found, 0 not
 * there. */
int package_tar_find(struct istream *tar, struct str pattern, struct buf *b, struct err *e);
/* Every regular file of a tar stream, at most max_bytes each. */
typedef int package_tar_fn(void *ctx, struct str path, struct str content, struct err *e);
int package_tar_each(struct istream *tar, size_t max_bytes, package_tar_fn *fn, void *ctx, struct err *e);
