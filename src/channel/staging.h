// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * staging: what publishing into a channel's folder has in common, whatever its kind. Private to channel/.
 *
 *	auto_staging t = STAGING_INIT;
 *	if (staging_open(&t, folder, dry_run, e) < 0) ...		makes the folder, waits for its lock (a minute: ERR_BUSY)
 *	staging_put_file(&t, "packages/x/x-1.whl", from, sha, false, e)	stages a copy of a package
 *	staging_put_text(&t, "simple/x/index.html", text, e)		stages metadata
 *	staging_put_pointer(&t, "simple/index.html", text, e)		stages what names the metadata: in place after all of it
 *	staging_drop(&t, "packages/x/x-0.whl")			to be removed at the very end
 *	staging_commit(&t, e)
 *
 * What is staged lies in .slipway.new until the commit: that syncs once, puts the packages in place, syncs, puts the metadata
 * in place in the order they were staged in, syncs, the pointers likewise, and removes what was dropped. So who reads sees what a pointer names
 * whenever it sees the pointer, after a kill and after a power cut too. Without a commit nothing has changed but for
 * folders that are empty. In a dry run everything is checked and nothing is written.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/vec.h"
#include "channel/channel.h"

struct staged_file {
	const char *tmp, *path;
	const char *of; /* path is to be another name of this one */
};
VEC_TYPE(staged_file_vec, struct staged_file);
struct staging {
	int dir, lock;
	const char *folder;
	bool dry_run;
	const struct channel_make_opts *make; /* whose seal comes before what is dropped; or NULL */
	struct arena arena;
	struct staged_file_vec file, text, pointer, dropped, dropped_pointer;
};
#define STAGING_INIT ((struct staging){.dir = -1, .lock = -1})
int staging_open(struct staging *t, const char *folder, bool dry_run, struct err *e);
/* The same, with the caller's `seal`, which lives as long as the staging. */
int staging_open_for(struct staging *t, const char *folder, const struct channel_make_opts *o, struct err *e);
void staging_release(struct staging *t);
#define auto_staging cleanup_with(staging_release) struct staging

/* A copy of the file `from`, with its time, whose digest this is (ERR_VERIFY where it changed meanwhile). ERR_EXISTS where the path has other
 * content and `replace` is not said. 1: staged; 0: it is there already. */
int staging_put_file(struct staging *t, const char *path, const char *from, const uint8_t sha256[SHA256_SIZE],
		     bool replace, struct err *e);
/* 1: staged; 0: it is so already. A pointer's time of change is at least a second after that of the one which it replaces. */
int staging_put_text(struct staging *t, const char *path, struct str text, struct err *e);
int staging_put_pointer(struct staging *t, const char *path, struct str text, struct err *e);
/* Metadata that the caller writes, in pieces, and names when it is written, or not (its digest is its name): its descriptor,
 * which the caller closes, and its number. Not in a dry run. */
int staging_begin(struct staging *t, size_t *ret_n, struct err *e);
int staging_name(struct staging *t, size_t n, const char *path, struct err *e);
/* `path` becomes another name of the staged or present file `of` (a copy, where the file system has no hard links). */
int staging_link(struct staging *t, const char *path, const char *of, struct err *e);
/* The file goes, and folders above it that are empty then. */
void staging_drop(struct staging *t, const char *path);
/* A pointer goes before what is signed is looked at. */
void staging_drop_pointer(struct staging *t, const char *path);
int staging_commit(struct staging *t, struct err *e);

/* Whole file, appended; 1, or 0 where there is none (or no folder, -1). */
int staging_read(int dir, const char *path, struct buf *b, struct err *e);
