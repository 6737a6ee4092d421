// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * refresh: the inside of channel_open_all, shared by its parts. Private to channel/.
 *
 * ROOT/index/<channel id>/ holds for each subdir and variant (full, current, shards)
 *	<subdir>.<variant>.idx		the mapped index
 *	<subdir>.<variant>.json		its state: which file answered, validators, when it was looked at
 *	<subdir>.shards.msgpack.zst	the shard index, as it came
 *	<subdir>.shards/<sha256>	shards, as they came
 *	<subdir>.lock			held while one of these is made
 */
#include "base/map.h"
#include "base/vec.h"
#include "channel/channel.h"

enum variant { V_SHARDS, V_FULL, V_CURRENT, VARIANTS };
enum { ROOTS_MAX = 512, CANDIDATES_MAX = 2 };

/* What is known of a variant of a subdir. */
struct state {
	enum { STATE_UNKNOWN, STATE_HAVE, STATE_MISSING } what;
	unsigned candidate; /* which of the variant's files answered */
	char etag[256], last_modified[64];
	int64_t checked_ms, max_age_s;
	bool built;	       /* shards: the index was made from the shard index that is held */
	VEC(struct str) roots; /* shards: what was asked for, newest last; in the source's arena */
};

struct shard_index;
struct index_builder;
struct source {
	const struct channel *channel;
	struct str subdir;
	char *sub; /* the same, NUL-terminated */
	struct arena *a;
	int dir_fd, lock_fd;
	enum variant order[VARIANTS]; /* variants in the order they are tried */
	unsigned variants, at;	      /* how many, and which one is on */
	struct state state;	      /* of variant order[at] */
	struct index *index;
	struct channel_get get;
	bool asking;  /* a request has to be made */
	bool missing; /* the channel has no such subdir */
	struct shard_index *shards;
	struct index_builder *builder;
};
VEC_TYPE(source_vec, struct source);

const char *variant_file(const struct source *s, const char *suffix); /* "linux-64.full.idx" in the arena */
/* The URL of a file of the subdir, with credentials. */
char *source_url(const struct source *s, const char *file);
/* Fetches; file:// is done here, the rest by the caller's fetcher. */
int cache_get(struct channel_cache *c, struct channel_get *const *gets, size_t n, struct err *e);
/* An unnamed file in the folder; -1 with *e. */
int cache_tmp(int dir_fd, struct err *e);
/* Opens the index that was made in place of the one of before, and tells of malformed records in it. */
int source_reopen(struct channel_cache *c, struct source *s, struct err *e);
/* What a fetched file holds, at most `max` bytes. */
int cache_slurp(int fd, struct buf *b, const char *what, struct err *e);
int state_save(const struct source *s, struct err *e);
int state_load(struct source *s, struct err *e);
/* Brings the partial indexes of all sharded sources to where they hold every name that the roots reach. */
int shards_close(struct channel_cache *c, struct source *v, size_t n, const struct str *roots, size_t roots_n,
		 enum channel_refresh_flags flags, struct err *e);
/* The relations that the shard index declares, as published. */
int shards_relations(struct source *s, struct str *base, struct str *overrides, struct err *e);
/* Takes the text over; NULL with *e where it is no shard index. */
struct shard_index *shard_index_parse(struct buf *text, const char *where, struct err *e);
struct shard_index *shard_index_read(int dir_fd, const char *name, struct err *e); /* of a packed file */
/* The digests of its shards one after the other, in no order; NULL behind the last. *at begins as NULL. */
const uint8_t *shard_index_next(const struct shard_index *x, struct map_slot **at);
/* Where the shards lie, and where the packages do: as published; "": beside the index. */
struct str shard_index_base(const struct shard_index *x);
struct str shard_index_packages(const struct shard_index *x);
/* The index with packages and shards beside it, wherever the one read has them. Both unpacked. */
int shard_index_localize(struct str text, const char *where, struct buf *to, struct err *e);
/* A packed file's bytes, appended; ERR_LIMIT past the buffer's maximum. */
int shard_unpack(struct str packed, const char *name, struct buf *to, struct err *e);
void shard_index_free(struct shard_index *x);
DEFINE_AUTO(struct shard_index *, shard_index, shard_index_free);
int source_lock(struct source *s, struct err *e);
/* Removes what dead processes left half-made: temporary files whose names begin with `prefix` (after an optional dot). To
 * be called under the lock of whatever makes such files. Failure to tidy is no failure. */
void cache_tidy(int dir_fd, struct str prefix);

/* The name that an index was opened by. */
const char *index_path(const struct index *ix);

/* The channels that these declare relations to (CEP 42), in the order of priority of all of them. */
struct relation {
	struct str base, overrides; /* canonical URLs, or empty */
};
int relations_order(const struct str *urls, const struct relation *relations, size_t n, size_t user_n, size_t *order,
		    struct err *e);
