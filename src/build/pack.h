// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pack: the parts of packing. Private to build/.
 *
 *	staged_scan     what the folder holds: sorted, hashed, checked          staged.c
 *	recipe_read     pack.yml                                                pack_recipe.c
 *	meta_*          the files of info/                                      pack_info.c
 *	package_write   tar, compression, ZIP                                   pack_write.c
 */
#include "base/json.h"
#include "base/vec.h"
#include "build/build.h"

/* -- staged files ------------------------------------------------------------------------------------------------ */
enum staged_kind { STAGED_FILE, STAGED_LINK, STAGED_DIR };
struct staged_file {
	struct str path;   /* in the package */
	struct str target; /* of a link */
	enum staged_kind kind;
	bool exec, has_prefix, binary;
	uint64_t size;
	uint8_t sha256[SHA256_SIZE];
	bool in_memory; /* written by us: `text` is its content */
	struct str text;
};
VEC_TYPE(staged_vec, struct staged_file);
struct staged {
	int dirfd;
	const char *folder; /* for messages */
	struct arena *a;
	struct staged_vec pkg, info; /* sorted by path once scanned */
	struct str prefix;
	const char *skip; /* a file at the top that is no content: pack.yml, or NULL */
	bool drop_compiled;
	size_t prefix_files;
	uint64_t content_bytes;
};
int staged_scan(struct staged *s, struct err *e);
void staged_release(struct staged *s);
struct staged_file *staged_info_find(struct staged *s, const char *path);
void staged_info_add(struct staged *s, const char *path, struct buf *text); /* takes a copy */
void staged_sort(struct staged_vec *v);
/* The content of a file under info/, at most max bytes. */
int staged_info_read(struct staged *s, const char *path, size_t max, struct str *ret, struct err *e);

/* -- metadata ---------------------------------------------------------------------------------------------------- */
int recipe_read(struct arena *a, struct str text, const char *where, struct pack_meta *m, struct err *e);
/* What `over` says takes the place of what m says. */
void meta_merge(struct pack_meta *m, const struct pack_meta *over);
bool meta_is_empty(const struct pack_meta *m);
/* Fills in defaults and checks everything. */
int meta_finish(struct arena *a, struct pack_meta *m, struct err *e);
/* From the index.json that the folder holds. */
int meta_from_index(struct arena *a, struct str text, struct pack_meta *m, struct err *e);
/* Checks what is there in info/ and adds what is missing. has_index: m was read from the folder's index.json. */
int meta_complete(struct staged *s, const struct pack_meta *m, bool has_index, int64_t time_s, struct err *e);

/* -- writing ----------------------------------------------------------------------------------------------------- */
struct package_target {
	int fd;		  /* empty, for reading and writing; stays the caller's */
	const char *what; /* its name, for messages */
	const char *stem; /* NAME-VERSION-BUILD */
	enum pack_format format;
	int level;
	int64_t time_s;
	bool zip64; /* sizes in 64 bits even where they fit 32: for tests */
	struct progress *progress;
};
int package_write(const struct staged *s, const struct package_target *t, uint64_t *ret_size,
		  uint8_t ret_sha256[SHA256_SIZE], struct err *e);
