// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * keeper: the state of a repository that is kept, for keeper.c (open, changes, status), compose.c (one signed file) and commit.c.
 */
#include "base/map.h"
#include "base/vec.h"
#include "tuf/meta.h"

#define STAGED_DIR ".staged"
#define EXPIRY_FIELD "x-slipway-expiry-days"
#define KEEPER_BYTES_MAX ((size_t)256 << 20)
enum { FILE_NAME_SIZE = 256, DAY_MS = 86400000 };

struct plan {
	VEC(struct tuf_public_key) key;
	int64_t threshold, days;
};

/* targets, or a delegated role */
struct kept_role {
	struct str name;
	ptrdiff_t parent;		 /* index; -1: targets itself */
	struct meta *now, *staged;	 /* published; what waits for signatures */
	struct meta *next, *waiting;	 /* of the commit under way: complete; not */
	struct str targets, delegations; /* JSON to come; p NULL: as it was */
	bool renew;
};

struct tuf_keeper {
	struct tuf_keeper_opts o;
	int lock_fd;
	int64_t now_ms;
	struct arena arena;
	struct buf passphrase; /* once it was asked for */
	struct meta *root, *root_before, *root_staged, *snapshot, *timestamp;
	struct plan plan[META_KINDS];
	bool plan_changed, renew_root, renew_snapshot, renew_timestamp;
	VEC(struct kept_role) role; /* a parent before its children */
	struct meta *root_next, *root_waiting, *snapshot_next, *timestamp_next;
};

/* Who has to sign. */
struct authority {
	struct meta *by;
	const struct meta_role *who;
};
struct member {
	const char *key;
	struct str json;
};

/* The keys of a targets role: under `root` (for targets itself), or what its parent says now, or will say. False where it does not. */
bool keeper_authority(struct tuf_keeper *k, const struct kept_role *r, struct meta *root, struct authority *ret);
int64_t keeper_days(const struct meta_role *who, int64_t otherwise);
int keeper_read(struct tuf_keeper *k, enum meta_kind kind, const char *file, struct meta **ret, struct err *e);

/* -- compose.c ------------------------------------------------------------------------------------------------------- */

/* The body of a version: `old`'s (NULL: none) with members in place of its own. */
void compose_body(struct buf *b, enum meta_kind kind, const struct meta *old, int64_t version, int64_t expires_ms,
		  const struct member *v, size_t n);
/* Signs it with every key of the authorities that is here; `before` (NULL: none) has signatures of the same body. */
int compose(struct tuf_keeper *k, enum meta_kind kind, struct str body, const struct meta *before,
	    const struct authority *v, size_t n, struct meta **ret, struct err *e);
/* 1: the private key is here; 0: not. `ret` may be NULL. */
int secret_find(struct tuf_keeper *k, struct str keyid, struct secret_key **ret, struct err *e);
/* "keys": {…} of plans or of a role that is there, and the members of one role. */
void put_plan(struct jw *w, const struct plan *p);
void put_keys(struct jw *w, const struct plan *const *v, size_t n);
