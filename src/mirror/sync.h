// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * sync (private to mirror): one run of mirror_sync, in three parts of a file each.
 *
 *	metadata (sync_meta.c)   upstream → .slipway/staging; what they tell of packages → table file
 *	packages (sync_bulk.c)   what is wanted and not held → .slipway/partial → the tree
 *	switch (sync_switch.c)   staging (or what is made of it in .slipway/served) → the tree; staging becomes .slipway/upstream
 *
 * .slipway/ of a tree:
 *	lock          held by a sync, prune or scrub
 *	staging/      metadata of the sync under way
 *	upstream/     metadata of the last one that ended well, as they came; `.pointers` in it: validators
 *	served/       metadata made anew, where those of the upstream cannot be served as they are
 *	partial/      downloads under way, named by a digest of their path
 *	quarantine/   what was found damaged
 */
#include "base/vec.h"
#include "mirror/fetch.h"

#define STAGING "staging"
#define UPSTREAM "upstream"
#define SERVED "served"
#define PARTIAL "partial"
#define QUARANTINE "quarantine"
#define POINTERS ".pointers"

struct validators {
	struct str path, upstream, etag, last_modified;
};
VEC_TYPE(validators_vec, struct validators);
VEC_TYPE(damage_vec, struct mirror_damage);

/* A channel that this process holds. */
struct place {
	struct mirror *m;
	const struct mirror_channel *c;
	int tree, work, lock;
	struct sql *db;
	int64_t id;
};
int place_open(struct place *p, struct mirror *m, const struct mirror_channel *c, struct err *e);
/* p->id, from p->db and p->c. */
int place_find(struct place *p, struct err *e);
void place_release(struct place *p);
#define auto_place cleanup_with(place_release) struct place
#define PLACE_INIT ((struct place){.tree = -1, .work = -1, .lock = -1})
/* A file's folder is made, and it is put there; both relative to `to`. */
int place_put(int from, const char *name, int to, const char *path, struct err *e);
/* Another name for a file, in place of what is there. */
int place_link(int from, const char *name, int to, const char *path, struct err *e);
/* What makes room on a mirror. */
#define MIRROR_CURE                                                                                                    \
	"'slipway channel prune' and fewer packages ('names', 'platforms', 'download' of a channel) make room, or lower 'reserve'"
/* -1 with *e, e->sys ENOSPC: so many bytes are needed, so many are free. */
int mirror_no_space(const struct mirror *m, const char *what, uint64_t bytes, uint64_t available, struct err *e);
/* An error that a full disk made says what can be done; -1. */
int mirror_cure(const struct mirror *m, struct err *e);
enum { PARTIAL_NAME = 2 * 16 + 1 };
void partial_name(struct str path, char ret[PARTIAL_NAME]);
int partial_open(int work, const char *name, struct err *e);

struct sync {
	struct place p;
	const struct mirror_sync_opts *o;
	const struct clock *clock;
	struct arena *a; /* of the result */
	struct arena own;
	struct mirror_sync_result *res;
	struct upstreams up;
	struct channel_walk_opts walk;
	int64_t serial, first, walked, switched; /* as in table channel */
	bool first_walk;
	/* metadata: */
	int staging, upstream; /* folders; upstream -1: none */
	struct fetcher *meta;
	unsigned under_way;
	int prefer;
	struct validators_vec before, after;
	size_t confirmed;
	bool changed, leads_away;
	struct err failed; /* the first thing that ends it */
	struct err doubt;  /* why the first optional one is not there, if it was not simply missing */
	sql_query *expect;
	unsigned rows;
	bool in_transaction;
	struct sync_signed *tuf; /* NULL: the channel's root is not pinned */
	/* packages: */
	struct damage_vec damaged;
	uint64_t unanswered;
};
bool sync_stopped(const struct sync *s);
int sync_metadata(struct sync *s, struct err *e);
int sync_packages(struct sync *s, struct err *e);
/* sync_signed.c: nothing where the channel's root is not pinned. Brings and verifies what signs it. */
int sync_signed_begin(struct sync *s, struct err *e);
void sync_signed_end(struct sync *s);
/* How a pointer is to be fetched: 1, as signed; 0: nobody signs for it, so there is none. */
int sync_signed_item(struct sync *s, const struct channel_item *it, struct channel_item *ret, struct err *e);
/* Before the pointers are put in place, and after. made_anew: those that are served are not those that were signed. */
int sync_signed_carry(struct sync *s, bool made_anew, struct err *e);
int sync_signed_switch(struct sync *s, bool made_anew, struct err *e);
/* Both, where no pointer has changed. */
int sync_signed_again(struct sync *s, struct err *e);
/* False: the tree lacks what signs it, though nothing may have changed. */
bool sync_signed_is_carried(const struct sync *s);
int sync_switch(struct sync *s, struct err *e);
/* Counts what is held and wanted, of what the last walk told. */
int sync_plan(struct sync *s, struct err *e);
uint64_t sync_limit(const struct sync *s);
/* The part of the limit that is this sync's while others of this process download as well. */
void sync_share(const struct sync *s, struct fetcher *f, int class);
/* For so many bytes beside the reserve; -1 with e->sys ENOSPC. */
int sync_check_space(const struct sync *s, uint64_t bytes, const char *what, struct err *e);
