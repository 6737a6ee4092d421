// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * store: the host's content-addressed cache of archives and unpacked packages.
 *
 *	ROOT/store/blob/sha256/ab/cdef…     an archive as downloaded; its name is its digest, verified before it got the name
 *	ROOT/store/tree/<sha256>/           that archive unpacked; immutable once it has this name
 *	ROOT/store/tmp/                     what is being written; emptied by gc when its owner is gone
 *	ROOT/store/unsynced/                one empty file for each blob or tree that may not be on disk yet
 *	ROOT/store/lock                     held shared by whoever may add, exclusively by gc
 *
 * A tree gets its name by rename after every file is written, so a tree that is there is whole: a crash leaves rubbish in
 * tmp/ only. A tree keeps the package's paths as they are in the archive, `info/` included, file modes reduced to
 * 0755/0644 (0755 for folders), the times of files kept, and `.slipway-tree` beside `info/`, whose first line is "<sha256
 * of the listing below it> <files and links> <bytes>" (the listing: doc/formats/store.md).
 *
 * Power cuts: nothing is synced file by file. Before a blob or tree gets its name, unsynced/ records it with the ids of
 * boot and mount; store_sync, called once by whoever makes a lasting record that needs it, syncs the file system and removes the
 * records. What is recorded under an older boot's or another mount's id was perhaps not on disk when the power went
 * or the disk was pulled: the next store_open checks it against its digest or listing and removes what does not match. A killed process needs none of that, because
 * the kernel still holds what it wrote.
 *
 *	struct store *s;
 *	store_open(root_fd, 0, &s, e)
 *	store_has_tree(s, sha256)                           1: nothing to do
 *	store_partial_open(s, sha256, &fd, &have, e); ... write and digest ...; store_partial_commit(s, sha256, fd, e)
 *	store_unpack(s, sha256, STORE_CONDA, NULL, e)       blob → tree; idempotent; safe from several threads and processes
 *	store_sync(s, e)                                    before a generation that links from the trees is made current
 *	int dir = store_tree_open(s, sha256, e)             a folder fd to link from
 *	store_free(s)
 *
 * Hostile archives are refused with ERR_INPUT or ERR_LIMIT and leave nothing: paths that are absolute, hold "..", control
 * bytes or pass through a symbolic link of the same archive; hard links to what is not an earlier file of it; symbolic
 * links that leave the tree or are absolute; devices, pipes and sockets; a path twice (folders may repeat); sparse files;
 * more than limits allow; anything in or around a .conda's ZIP that two readers could read differently. Set-id bits are
 * dropped.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/progress.h"
#include "base/str.h"

struct store;
enum store_open_flags { STORE_OPEN_RO = 1 << 0 }; /* changes nothing, holds no lock; a missing store reads as empty */
int store_open(int root_fd, enum store_open_flags flags, struct store **ret, struct err *e);
/* Who is told what the store waits for. Before the threads begin. */
void store_tell(struct store *s, struct progress *p);
void store_free(struct store *s);
DEFINE_AUTO(struct store *, store, store_free);
/* What has its name in this store is on disk when it returns. One syncfs, none where nothing was added. */
int store_sync(struct store *s, struct err *e);

enum store_format { STORE_CONDA, STORE_TAR_BZ2, STORE_FORMAT_UNKNOWN };
enum store_format store_format_of(struct str file_name); /* by its ending */

struct store_limits {
	uint64_t max_bytes;   /* sum of the unpacked files */
	uint64_t max_entries; /* files, links and folders */
	uint64_t max_path;    /* bytes of one path */
};
/* 64 GiB, 2,000,000 entries, 4096 bytes. */
#define STORE_LIMITS_DEFAULT ((struct store_limits){(uint64_t)64 << 30, 2000000, 4096})

/* -- blobs ------------------------------------------------------------------------------------------------------- */
int store_has_blob(struct store *s, const uint8_t sha256[SHA256_SIZE]); /* 1 or 0 */
/* Bytes already there of a blob whose download was cut off, for resuming: opens (and locks) the partial file of this
 * digest, made if needed, positioned at its end. ERR_BUSY where another process downloads the same blob just now. */
int store_partial_open(struct store *s, const uint8_t sha256[SHA256_SIZE], int *ret_fd, uint64_t *ret_size,
		       struct err *e);
/* How many bytes of it are there, without a lock and without making it. */
uint64_t store_partial_size(struct store *s, const uint8_t sha256[SHA256_SIZE]);
/* The partial file is whole and verified by the caller while it streamed: gives it its name. The caller closes fd. */
int store_partial_commit(struct store *s, const uint8_t sha256[SHA256_SIZE], int fd, struct err *e);
/* The partial file cannot become this blob: removes it. */
void store_partial_discard(struct store *s, const uint8_t sha256[SHA256_SIZE]);
/* Brings in a file from a path (a local channel), verified against want_sha256 unless that is NULL, and computes its
 * digest into ret_sha256 (which may be NULL). A reflink where the file system has them, else a copy; never a hard link,
 * because a channel's file may be overwritten in place. */
int store_add_file(struct store *s, int dirfd, const char *path, const uint8_t *want_sha256,
		   uint8_t ret_sha256[SHA256_SIZE], struct err *e);
int store_blob_open(struct store *s, const uint8_t sha256[SHA256_SIZE], struct err *e); /* read-only fd */
/* Absolute paths, for records that other tools read. */
int store_blob_path(struct store *s, const uint8_t sha256[SHA256_SIZE], struct buf *ret, struct err *e);
int store_tree_path(struct store *s, const uint8_t sha256[SHA256_SIZE], struct buf *ret, struct err *e);

/* -- trees ------------------------------------------------------------------------------------------------------- */
int store_has_tree(struct store *s, const uint8_t sha256[SHA256_SIZE]); /* 1 or 0 */
/* Where another process unpacks the same one, it is waited for; after a second a PROGRESS_NOTE says for whom. When it dies,
 * this one goes on with the work. ERR_NOT_FOUND without the blob. `limits` NULL: STORE_LIMITS_DEFAULT. STORE_FORMAT_UNKNOWN: by the first bytes. */
int store_unpack(struct store *s, const uint8_t sha256[SHA256_SIZE], enum store_format format,
		 const struct store_limits *limits, struct err *e);
int store_tree_open(struct store *s, const uint8_t sha256[SHA256_SIZE], struct err *e);

/* What a tree held when it was unpacked, from its listing: regular files alone, sorted bytewise by path. ERR_NOT_FOUND
 * without a listing, ERR_VERIFY where it is malformed. */
struct store_tree_file {
	struct str path;
	uint64_t size;
	bool exec; /* mode 0755, else 0644 */
};
int store_tree_files(int treefd, struct arena *a, struct store_tree_file **ret, size_t *ret_n, struct err *e);

/* Reads a tree again against its listing. One that is damaged (a program wrote into a hard link of it) is moved away, so that
 * store_unpack makes it anew: 1 it was damaged, 0 it is whole or not there. */
int store_mend_tree(struct store *s, const uint8_t sha256[SHA256_SIZE], struct err *e);

/* -- sources ------------------------------------------------------------------------------------------------------ */
/* A tar archive, packed in any way or none, from where fd stands, or a ZIP that begins where the file does, into the empty folder dirfd: refused and bounded is what is above, but nothing
 * is listed, recorded or kept. On failure the folder holds a part of it. `limits` NULL: STORE_LIMITS_DEFAULT. */
int store_unpack_into(int dirfd, int fd, const struct store_limits *limits, const char *what, struct err *e);

/* -- keeping house ----------------------------------------------------------------------------------------------- */
/* Trees and blobs in `keep` stay; without keep_blobs, blobs whose tree is unpacked go all the same. What was added, or opened
 * with store_tree_open, less than min_age_s ago stays, and so does a download cut off so recently. ERR_BUSY while another
 * process has the store open for writing. */
struct store_gc_opts {
	int64_t min_age_s;
	bool keep_blobs, dry_run;
	const uint8_t (*keep)[SHA256_SIZE]; /* digests in use, sorted bytewise */
	size_t keep_n;
};
struct store_usage {
	uint64_t blobs, blob_bytes, trees, tree_bytes, tmp_bytes;
};
/* Keeps everybody else out until store_gc (or store_free). Call it before `keep` is gathered, so that no environment can be
 * made in between; store_gc alone does it too late for that. ERR_BUSY as above. */
int store_gc_begin(struct store *s, struct err *e);
int store_gc(struct store *s, const struct store_gc_opts *o, struct store_usage *ret_freed, struct err *e);
int store_size(struct store *s, struct store_usage *ret, struct err *e);
/* Reads everything again: each blob against its name, each tree against its listing and what its package says of its files.
 * Damaged ones are reported through `found` and, with repair, moved away so that they are fetched again. A package that
 * contradicts itself is reported with mendable false, and stays: fetched again it would be the same. Returns the number of
 * what was reported. */
typedef void store_damage_fn(void *ctx, const char *what, const char *why, bool mendable);
int64_t store_verify(struct store *s, bool repair, struct progress *p, store_damage_fn *found, void *ctx,
		     struct err *e);
