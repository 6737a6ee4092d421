// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * The parts of layer. Private to layer/.
 *
 *	open.c      layers_open: the choice of a backend, another boot, what killed processes left
 *	entry.c     a folder that gets a name: made, named, held, taken away
 *	layer.c     layers: found, made, held, synced
 *	about.c     the file that tells of a layer, or of a state of a cache
 *	cache.c     caches of steps
 *	house.c     lists and removal
 *	gc.c        what has been unused longest
 *	tree.c      whole trees: copied, measured
 *	merge.c     the folders of an overlay made into one
 *	inside.c    all that on files whose owners are other ids
 *	overlay.c, btrfs.c, copy.c    the backends
 *
 * An entry is a layer (layer/<id>) or a state of a cache (cache/<name>/<n>): a folder with `log`, `about`, `fs` and, for overlay, `lower`.
 * Its life: made in tmp/ with a `log`, on which its maker holds an exclusive flock; marked in unsynced/ and renamed, under a shared flock of
 * DIR/lock. Whoever uses it holds a shared flock of its `log`. Whoever removes it holds DIR/lock exclusively, so that nothing gets a name
 * meanwhile, gets the flock of `log` exclusively without waiting, and renames the folder to tmp/gone.…; the files go afterwards.
 */
#include "base/buf.h"
#include "base/vec.h"
#include "layer/layer.h"

enum {
	FOLDER_MAX = 1 << 22,
	BOOT_ID_SIZE = 37,
	PATH_IN_DIR_MAX = 400,
	LOWER_FILE_MAX = 256 << 10,
};

struct layers {
	int dir;    /* DIR */
	char *path; /* the same, absolute */
	const struct backend *ops;
	int house;		 /* DIR/lock, opened when first needed; -1 */
	pid_t house_of;		 /* the process that opened it */
	char boot[BOOT_ID_SIZE]; /* "" where the kernel does not tell: then each thing is synced when it gets its name */
	bool cleared;		 /* tmp/ was looked through */
	bool made;		 /* something got its name since the last sync */
	unsigned serial;	 /* of names in tmp/ and unsynced/ */
};

struct backend {
	enum layer_backend kind;
	const char *name;
	/* 1 it works in the empty folder at path in DIR, 0 it does not, with why. */
	int (*probe)(struct layers *l, const char *path, struct buf *why, struct err *e);
	/* Makes `fs` and what goes with it in the folder at path, of the entry at parent (NULL: empty). *ret lives in a. */
	int (*begin)(struct layers *l, const char *path, const char *parent, struct arena *a, struct sandbox_root *ret,
		     struct err *e);
	/* Nobody works in it any more: what need not stay goes. ret_bytes: what it takes beyond its parent. */
	int (*finish)(struct layers *l, const char *path, uint64_t *ret_bytes, struct err *e);
	/* The tree of a whole one, read-only. */
	int (*root)(struct layers *l, const char *path, struct arena *a, struct sandbox_root *ret, struct err *e);
	/* NULL: finish has told. Else what it takes beyond its parent, now that it is on disk. */
	int (*measure)(struct layers *l, const char *path, uint64_t *ret_bytes, struct err *e);
	/* Makes what finish left at path one tree, where it is of many pieces; -1: it is of no use any more. NULL: it always is one. */
	int (*pack)(struct layers *l, const char *path, uint64_t *bytes, struct err *e);
	/* Removes the folder at path; what is not there is fine. */
	int (*remove)(struct layers *l, const char *path, struct err *e);
};
extern unsigned overlay_fold_at; /* so many folders of layers are made one, below the next: 32; tests do so earlier */
extern const struct backend backend_overlay, backend_btrfs, backend_copy;

/* -- entry.c ----------------------------------------------------------------------------------------------------- */
/* A path in DIR. */
struct place {
	char s[PATH_IN_DIR_MAX];
};
struct place place_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
struct place place_layer(const struct layer_id *id);

/* Makes the folder tmp/<name>, or takes the place of a dead maker. Its flock in *ret_lock. ERR_BUSY: somebody makes it. */
int entry_make(struct layers *l, const struct place *tmp, int *ret_lock, struct err *e);
/* With the house held: gives it its name, of which `mark` tells in unsynced/. 1, or 0 where that name is taken. */
int entry_name(struct layers *l, const struct place *tmp, int lock, const struct place *to, const char *mark,
	       struct err *e);
/* Holds what has a name. The fd, or -1 with ERR_NOT_FOUND. */
int entry_hold(struct layers *l, const struct place *at, struct err *e);
/* Takes the name of one away, with the house held: 1; 0 where it is held or not there. The folder is at *ret then. */
int entry_unname(struct layers *l, const struct place *at, struct place *ret, struct err *e);
/* The same for any folder, of which the caller knows that nobody uses it. */
int place_take_away(struct layers *l, const struct place *at, struct place *ret, struct err *e);
/* Removes what is at tmp; failures leave it to the next command. */
void entry_discard(struct layers *l, const struct place *tmp);
/* The same for what entry_make has made. */
void entry_abandon(struct layers *l, const struct place *tmp, int lock);

/* DIR/lock. Exclusive: nothing gets a name until house_open. */
int house_hold(struct layers *l, bool exclusive, struct err *e);
void house_open(struct layers *l);
/* What dead processes left in tmp/. */
void tmp_clear(struct layers *l);

/* Marks in unsynced/: <boot>.<mark>.<pid>.<serial>. False where name is none. */
bool mark_parse(struct str name, struct str *ret_boot, struct str *ret_mark);

/* Whether an entry could be taken away now: 1 nobody holds it. */
int entry_is_free(struct layers *l, const struct place *at, struct err *e);

/* -- cache.c ----------------------------------------------------------------------------------------------------- */
/* 1, or 0 where there is none. */
int cache_read(struct layers *l, struct str name, struct arena *a, struct layer_cache_info *ret, struct err *e);
/* With the house held: 1 its folder is at *ret_gone; 0 somebody has it, or it is gone. With dry_run nothing is changed. */
int cache_take_away(struct layers *l, struct str name, bool dry_run, struct place *ret_gone, struct err *e);

/* -- about.c ----------------------------------------------------------------------------------------------------- */
int about_put(struct buf *b, const struct layer_info *info, struct err *e);
bool about_parse(struct str text, struct layer_info *ret); /* ret->about is a view of text */
int about_write(struct layers *l, const struct place *at, const struct layer_info *info, struct err *e);
/* In place of the one that is there. */
int about_replace(struct layers *l, const struct place *at, const struct layer_info *info, struct err *e);
int64_t about_used_ms(const struct timespec *changed); /* from the time of the file's change */
/* 1, or 0 where there is none. Fills in everything but id. touch: it is used now. */
int about_read(struct layers *l, const struct place *at, bool touch, struct arena *a, struct layer_info *ret,
	       struct err *e);

/* -- merge.c ----------------------------------------------------------------------------------------------------- */
/* Makes the folder `to` of what an overlay of the folders `lower` (topmost first) shows: folders are made, everything else is a further name of
 * what is there. Only for trees that nobody ever writes to again. below: the folder is to lie on others, of which it hides what they hid. All are
 * paths in dirfd. ERR_UNSUPPORTED: they hold what cannot be merged. */
int merge_folders(int dirfd, const char *const *lower, size_t n, bool below, const char *to, struct err *e);

/* -- house.c ----------------------------------------------------------------------------------------------------- */
VEC_TYPE(layer_vec, struct layer_info);
VEC_TYPE(layer_ids, struct layer_id);
/* By last use, those unused longest first; bad: whose description is missing or damaged. Both are the caller's to release. Those that are in `known` (or
 * NULL) are not read again. */
int layers_read(struct layers *l, struct arena *a, const struct layer_vec *known, struct layer_vec *ret,
		struct layer_ids *ret_bad, struct err *e);

/* -- inside.c ---------------------------------------------------------------------------------------------------- */
/* What another user's sandboxes make may belong to ids that are his only in there. These do their work in this process where that is
 * allowed, and else in a sandbox whose "/" is DIR. All take paths in DIR. */
int inside_remove(struct layers *l, const char *path, struct err *e);
int inside_bytes(struct layers *l, const char *path, bool each_name, uint64_t *ret, struct err *e);
int inside_copy(struct layers *l, const char *from, const char *to, struct err *e);
int inside_copy_meta(struct layers *l, const char *from, const char *to, struct err *e);
int inside_chown(struct layers *l, const char *path, uid_t uid, gid_t gid, struct err *e);
int inside_merge(struct layers *l, const char *const *lower, size_t n, bool below, const char *to, struct err *e);

/* -- tree.c ------------------------------------------------------------------------------------------------------ */
/* Copies the folder at `from` to `to`, which is not there yet, both in dirfd, as the same thing: owners, modes, times, extended attributes,
 * hard links, holes, devices where that is allowed. */
int tree_copy(int dirfd, const char *from, const char *to, struct err *e);
/* Owner, mode, times and extended attributes of one folder for another one. */
int tree_copy_meta(int dirfd, const char *from, const char *to, struct err *e);
/* Bytes on disk below a folder and of itself. A file with several names counts once, if all of them are there; with each_name, for each. */
int tree_bytes(int dirfd, const char *path, bool each_name, uint64_t *ret, struct err *e);
