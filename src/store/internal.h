// SPDX-License-Identifier: Apache-2.0
#pragma once
/* What the files of this folder share. */
#include "store/store.h"

enum { HEX_SIZE = 2 * SHA256_SIZE, BOOT_ID_MAX = 64, STORE_FOLDER_MAX = 1 << 24 };

/* Read-only after store_open but for gc_begun, so threads may share it. Folder fds are -1 where a store opened read-only lacks them. */
struct store {
	int dir, blob, tree, tmp, unsynced, lock;
	bool read_only;
	bool gc_begun; /* `lock` is held exclusively; by one thread, like all of gc */
	struct progress *progress;
	char boot_id[BOOT_ID_MAX]; /* and the mount's; empty where the host does not tell: everything is synced at once then */
};

struct blob_name {
	char dir[3];		 /* "ab" */
	char path[HEX_SIZE + 2]; /* "ab/cdef…" */
	char hex[HEX_SIZE + 1];	 /* "abcdef…" */
};
struct blob_name blob_name(const uint8_t sha256[SHA256_SIZE]);

/* "abcdef….suffix" for tmp/ */
struct tmp_name {
	char s[HEX_SIZE + 32];
};
struct tmp_name tmp_name(const char *hex, const char *suffix);

/* Locks a file or folder that may be removed or renamed by whoever held the lock before us. 1: it is ours and still has
 * its name; 0: try again; -1 (ERR_BUSY where somebody holds it). */
int lock_named(int dirfd, const char *name, int fd, struct err *e);

/* Removes the records of this boot that name nothing: of what got no name before its process was killed, or was collected since.
 * The caller holds the lock exclusively: nobody is about to give such a name. */
int unsynced_forget(struct store *s, struct err *e);

/* Moves a blob or tree out of the way and removes it. */
int blob_remove(struct store *s, const struct blob_name *name, struct err *e);
int tree_remove(struct store *s, const char *hex, struct err *e);
/* 0 whole, 1 damaged, -1 could not tell. */
int blob_check(struct store *s, const struct blob_name *name, struct buf *why, struct err *e);
int tree_check(struct store *s, const char *hex, struct buf *why, struct err *e);
