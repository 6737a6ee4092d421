// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * index_build: the builder's inside, shared by its readers (repodata.c, shard.c) and its writer (index_write.c).
 * Private to channel/.
 *
 * In memory are 40 bytes a package and everything that repeats, once. Digests and sizes (struct ix_cold, 64 bytes a
 * package) go straight to their place in the new file, through a few windows, because the second record of a twin
 * (.tar.bz2 and .conda) overwrites the first.
 */
#include "base/vec.h"
#include "channel/channel.h"
#include "channel/index_format.h"
#include "channel/intern.h"

enum {
	COLD_WINDOWS = 4,
	COLD_WINDOW_BYTES = 128 << 10,
	BUILD_PACKAGES_MAX = 8 << 20,
	BUILD_WORDS_MAX = 256 << 20,
	BUILD_FN_MAX = 255,
	BUILD_TEXT_MAX = 1 << 20, /* one spec or string */
};

struct cold_window {
	char *p;
	uint64_t number; /* which window of the section, UINT64_MAX: none */
	uint64_t used;
	bool dirty;
};
struct cold {
	struct cold_window w[COLD_WINDOWS];
	uint64_t count, clock;
};
struct odd_file {
	uint32_t stem, fn, slot;
};

struct index_builder {
	int dirfd, fd;
	char *path, *tmp;
	struct str subdir;
	uint64_t seed;
	struct pool pool;
	VEC(struct ix_hot) rec;
	VEC(struct ix_name_entry) names;
	VEC(struct ix_version_entry) versions;
	VEC(struct ix_spec_entry) specs;
	VEC(struct odd_file) odd;
	VEC(uint32_t) lists, words, removed;
	struct table name_table, version_table, spec_table, build_table, extra_table, list_table, odd_table, twins;
	struct memo memo;
	struct cold cold;
	uint32_t base_url, relation_base, relation_overrides; /* strings */
	uint32_t left_out, left_out_first; /* malformed records: how many; what the first is, a string */
	bool partial;
	bool list_is_depends; /* the list in work makes its names needed */
	uint32_t last_name;
	struct buf scratch, spec, extra; /* of the record in work */
	VEC(uint32_t) list;
};

/* One package as the readers hand it on. Texts are unescaped and outlive only the call. */
struct build_record {
	struct str fn, name, version, build; /* fn: STR_NONE where it follows from the rest and IX_CONDA */
	uint64_t build_number, timestamp;
	uint32_t flags; /* enum ix_flags */
	uint32_t depends, constrains, extra;
	struct ix_cold cold;
};
int build_commit(struct index_builder *b, const struct build_record *r, struct err *e);
/* A list as the text of a JSON array; begin, add…, end for a list in pieces. */
int build_list_json(struct index_builder *b, struct str raw, uint32_t *ret, struct err *e);
void build_list_begin(struct index_builder *b);
int build_list_add(struct index_builder *b, struct str spec, struct err *e);
int build_list_end(struct index_builder *b, uint32_t *ret, struct err *e);
/* b->extra holds "{members" without the closing brace: checks what is new. */
int build_extra(struct index_builder *b, uint32_t *ret, struct err *e);
/* A record that is wrong in itself (ERR_INPUT) is counted, and the rest goes on: 0. What else `why` says is *e and -1. */
int build_leave_out(struct index_builder *b, struct str fn, const struct err *why, struct err *e);
int build_removed(struct index_builder *b, struct str fn, struct err *e);
/* The name becomes known and its packages complete (shards). */
int build_name_whole(struct index_builder *b, struct str name, struct err *e);
int build_string(struct index_builder *b, struct str s, uint32_t *ret, struct err *e);

void cold_init(struct cold *c);
void cold_release(struct cold *c);
int cold_put(struct index_builder *b, uint32_t slot, const struct ix_cold *v, struct err *e);
int cold_flush(struct index_builder *b, struct err *e);
