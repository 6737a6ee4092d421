// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * layer: root file systems by id, each made of another one, and the caches that steps share.
 *
 *	DIR/backend                how layers are kept: overlay, btrfs or copy
 *	DIR/layer/<id>/            a layer: about, log, fs, and for overlay `lower`; whole once it has this name
 *	DIR/tmp/<id>/              the same while it is made; whatever is there and held by nobody goes away
 *	DIR/cache/<name>/          a cache: its state, as a layer's
 *	DIR/unsynced/              one empty file for each layer and state of a cache that may not be on disk yet
 *	DIR/boot, DIR/lock         the boot in which DIR was last looked over; held by gc, and while something gets its name
 *
 * (doc/formats/layer.md; why so: doc/decisions/0071-layers.md.)
 *
 *	struct layers *l;
 *	layers_open("/…/build", LAYER_AUTO, &l, e)
 *	if (layer_find(l, &id, &arena, &info, e) == 1) …                       a hit: some system calls, no lock
 *	layer_begin(l, &id, &parent, &w, e);                                    ERR_BUSY: somebody else makes it: layer_wait
 *	sandbox_run with .root = *layer_work_root(w), .out_fd = layer_work_log_fd(w)
 *	layer_work_commit(w, about, e) or layer_work_abort(w)
 *	layers_sync(l, e)                                                       once, at the end of a build
 *	layers_close(l)
 *
 * Backends. `overlay` keeps what a step changed in a folder of its own (overlayfs, mounted by the sandbox), `btrfs` makes snapshots, `copy`
 * copies the whole tree (reflinks where the file system has them). LAYER_AUTO takes the first of them that works here, by trying; the
 * choice is kept in DIR/backend. A DIR has one backend for life; asking for another one is ERR_USAGE. Nothing is ever hard-linked between
 * layers that a step could write to: who writes in place would write into the parent.
 *
 * Several processes may use one DIR at once. A layer is made by one at a time; whoever uses one holds it, and what is held or has children
 * is not removed. All locks are flock and end with their process; what a killed process left in tmp/ is cleared by the next
 * process that begins something, and nothing else was changed by it.
 *
 * Power cuts: nothing is synced while steps run. A layer that layers_sync has not covered is removed when the next boot first opens DIR.
 * The choice of layers_sync is one syncfs for everything made since, by whatever process.
 *
 * One thread a struct layers. Paths in a sandbox_root are absolute and live as long as what gave them.
 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "sandbox/sandbox.h"

enum layer_backend { LAYER_AUTO, LAYER_OVERLAY, LAYER_BTRFS, LAYER_COPY };
enum { LAYER_ID_HEX = 64, LAYER_ABOUT_MAX = 64 << 10, LAYER_DEPTH_MAX = 4000, LAYER_CACHE_NAME_MAX = 150 };

struct layers;
struct layer_work;
struct layer_id {
	char hex[LAYER_ID_HEX + 1]; /* 64 lower-case hex digits */
};
/* Makes DIR where it is not there. dir: absolute or relative to the working folder. Cheap where DIR is there: nothing is probed. A DIR of
 * another user is refused, to root, too: what belongs to root in its layers is that user's on disk. */
int layers_open(const char *dir, enum layer_backend want, struct layers **ret, struct err *e);
void layers_close(struct layers *l);
DEFINE_AUTO(struct layers *, layers, layers_close);
enum layer_backend layers_backend(const struct layers *l);
const char *layers_path(const struct layers *l); /* DIR, absolute */
int layers_dirfd(const struct layers *l);
const char *layer_backend_name(enum layer_backend b); /* "auto", "overlay", … */
bool layer_backend_parse(struct str s, enum layer_backend *ret);
bool layer_id_parse(struct str s, struct layer_id *ret);

struct layer_info {
	struct layer_id id, parent; /* parent.hex is "" where there is none */
	int64_t created_ms, used_ms;
	uint64_t bytes;	  /* what it takes on disk beyond its parent, as counted when it was made */
	uint32_t depth;	  /* parents below it */
	struct str about; /* the maker's own words */
};
/* 1 there, and marked as used; 0 not there. Does not hold it. */
int layer_find(struct layers *l, const struct layer_id *id, struct arena *a, struct layer_info *ret, struct err *e);
/* What the step printed, for reading: of a layer, or of one that is being made, which grows (the descriptor stays good when it gets its
 * name, and when it comes to nothing). ERR_NOT_FOUND. */
int layer_open_log(struct layers *l, const struct layer_id *id, struct err *e);

/* -- making one -------------------------------------------------------------------------------------------------- */
/* Begins one on top of parent (NULL: an empty folder). ERR_BUSY another process makes it; ERR_EXISTS it is there; ERR_NOT_FOUND the parent
 * is not (any more): begin with what made that; ERR_LIMIT more than LAYER_DEPTH_MAX parents. The parent is held. */
int layer_begin(struct layers *l, const struct layer_id *id, const struct layer_id *parent, struct layer_work **ret,
		struct err *e);
/* The tree to be changed. May be used in several sandboxes, one after the other. */
const struct sandbox_root *layer_work_root(const struct layer_work *w);
int layer_work_log_fd(const struct layer_work *w); /* O_APPEND; whoever follows reads it while it grows */
int layer_work_commit(struct layer_work *w, struct str about, struct err *e); /* frees w in any case */
void layer_work_abort(struct layer_work *w);				      /* leaves nothing; NULL is fine */
DEFINE_AUTO(struct layer_work *, layer_work, layer_work_abort);
/* Waits until nobody makes it: 1 nobody does (it may be there, or have come to nothing), 0 somebody still does after wait_ms. */
int layer_wait(struct layers *l, const struct layer_id *id, int64_t wait_ms, struct err *e);

/* The tree of a layer, read-only, e.g. to copy from a stage. It cannot be removed until *ret_hold_fd is closed. */
int layer_hold(struct layers *l, const struct layer_id *id, struct arena *a, struct sandbox_root *ret, int *ret_hold_fd,
	       struct err *e);
/* The same without the tree: an fd, or -1 with ERR_NOT_FOUND. */
int layer_keep(struct layers *l, const struct layer_id *id, struct err *e);
/* What was made so far, by whatever process, is on disk when this returns. */
int layers_sync(struct layers *l, struct err *e);

/* -- caches of steps --------------------------------------------------------------------------------------------- */
/* A cache is taken as a copy of its latest state, which the step may change at will, and given back after the step, whether that went well
 * or not. What is given back becomes the state, unless another one that was taken from the same state came first: then it is dropped.
 * An empty one belongs to uid:gid (of the sandbox). Names: any bytes but NUL; on disk "c-" and
 * the name, in which others than letters, digits, '.', '_' and '-' are %xx: at most LAYER_CACHE_NAME_MAX bytes in all (ERR_LIMIT). */
struct layer_cache;
int layer_cache_take(struct layers *l, struct str name, uid_t uid, gid_t gid, struct layer_cache **ret, struct err *e);
/* Fills in what is to be mounted (source or root); target is the caller's. Valid until it is given back. */
void layer_cache_mount(const struct layer_cache *c, struct sandbox_mount *ret);
/* 1 it is the state now, 0 another one came first. Frees c in any case. */
int layer_cache_give_back(struct layer_cache *c, struct err *e);
void layer_cache_drop(struct layer_cache *c); /* the state stays as it was; NULL is fine */
DEFINE_AUTO(struct layer_cache *, layer_cache, layer_cache_drop);
struct layer_cache_info {
	struct str name;
	int64_t used_ms;
	uint64_t bytes;
};
/* By name. */
int layer_caches(struct layers *l, struct arena *a, struct layer_cache_info **ret, size_t *ret_n, struct err *e);
int layer_cache_remove(struct layers *l, struct str name, struct err *e); /* ERR_NOT_FOUND; ERR_BUSY: taken just now */

/* -- keeping house ----------------------------------------------------------------------------------------------- */
/* Oldest use first. */
int layers_list(struct layers *l, struct arena *a, struct layer_info **ret, size_t *ret_n, struct err *e);
int layer_remove(struct layers *l, const struct layer_id *id, struct err *e); /* ERR_BUSY: held, or has children */

/* Removes what has been unused longest: children before parents, never what is held, is in `keep` or lies below that. What is damaged (its
 * parent is gone, its description is unreadable) goes in any case. Other processes go on meanwhile; they wait only while names are taken away,
 * not while files are removed. */
struct layer_gc_other {
	struct str name;
	int64_t used_ms;
	uint64_t bytes;
};
struct layer_gc_opts {
	int64_t now_ms;
	int64_t older_than_ms; /* what was not used for so long goes; -1: age does not count */
	uint64_t max_bytes; /* then the longest unused until there is no more than this; UINT64_MAX: size does not count */
	uint64_t keep_free_bytes; /* and until so much is free on the file system; 0: does not count */
	bool caches;		  /* caches too: they count, and go as layers do */
	bool dry_run;
	const struct layer_id *keep; /* layers that have a name elsewhere */
	size_t n_keep;
	/* What else lies here and may go, e.g. copies of git repositories: it counts, and goes as layers do. take_other is asked with ctx whether it
	 * can: 1 it is gone, 0 somebody uses it; quickly, as others wait. */
	const struct layer_gc_other *others;
	size_t n_others;
	int (*take_other)(void *ctx, struct str name, bool dry_run, struct err *e);
	/* In place of keep, asked when no name can come any more: *ret lives in a. NULL: keep */
	int (*names)(void *ctx, struct layers *l, struct arena *a, const struct layer_id **ret, size_t *ret_n,
		     struct err *e);
	void *ctx;
};
/* Until layers_go_on no layer gets or loses its place, by whatever process: one that is there can be given a name elsewhere, and gc sees either both or
 * neither. A few ms at most, with no other call that changes something in between. */
int layers_pause(struct layers *l, struct err *e);
void layers_go_on(struct layers *l);
enum layer_gc_why { LAYER_GC_AGE, LAYER_GC_SIZE, LAYER_GC_SPACE, LAYER_GC_DAMAGED };
struct layer_gc_item {
	struct layer_id id;
	struct str cache, other; /* its name; both STR_NONE: it is a layer */
	int64_t used_ms;
	uint64_t bytes;
	enum layer_gc_why why;
};
struct layer_gc {
	const struct layer_gc_item *v; /* in the order of their removal */
	size_t n;
	uint64_t freed_bytes, kept_bytes;
	size_t kept; /* of what could have gone by its kind */
};
const char *layer_gc_why_name(enum layer_gc_why why); /* "age", "size", "space", "damaged" */
int layers_gc(struct layers *l, const struct layer_gc_opts *o, struct arena *a, struct layer_gc *ret, struct err *e);
