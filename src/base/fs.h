// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * fs: files and folders, the safe way. Paths are relative to a directory fd (AT_FDCWD for the working directory).
 */
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"

/* Whole file into b (appended); ERR_LIMIT where it exceeds b's maximum, ERR_NOT_FOUND where it is not there, ERR_INPUT where it
 * is no regular file: what somebody put in its place cannot make the reader wait. */
int fs_read(int dirfd, const char *path, struct buf *b, struct err *e);
/* The same of one that is open, not to wait; `path` names it in messages. */
int fs_read_file(int fd, const char *path, struct buf *b, struct err *e);
/* What a person named: a pipe or a terminal too, waited for. */
int fs_read_any(int dirfd, const char *path, struct buf *b, struct err *e);
/* All n bytes, across short writes and EINTR. `what` names the file in messages. */
int fs_write_all(int fd, const void *p, size_t n, const char *what, struct err *e);

/* The first `size_bytes` of one open file to the same places of another, which is empty: in the kernel where that can, holes stay holes. One that has
 * become shorter is copied as far as it goes: whoever minds looks at it again afterwards. */
int fs_copy_bytes(int to, int from, uint64_t size_bytes, const char *name, struct err *e);

/* Has the kernel begin to write the file's bytes to disk, without waiting: a sync that follows has less to do. A hint. */
void fs_write_behind(int fd);

enum fs_replace_flags {
	FS_REPLACE_SYNC = 1 << 0,   /* fsync file and folder: what must survive a power cut */
	FS_REPLACE_EXEC = 1 << 1,   /* mode 0755 in place of 0644 */
	FS_REPLACE_EXCL = 1 << 2,   /* ERR_EXISTS where the path is there already */
	FS_REPLACE_SECRET = 1 << 3, /* mode 0600: for its owner only */
};
/* Puts n bytes at path: temporary file beside it, write, fsync, rename. At any moment path is old or new, whole. */
int fs_replace(int dirfd, const char *path, const void *p, size_t n, enum fs_replace_flags flags, struct err *e);
/* Removes the temporary files that killed processes left beside path. For whoever knows that nobody else replaces it now. */
int fs_replace_clean(int dirfd, const char *path, struct err *e);
/* The same for all files of a folder, which need not be there. */
int fs_replace_clean_all(int dirfd, const char *folder, struct err *e);

/* mkdir -p; existing folders are fine. */
int fs_mkdirs(int dirfd, const char *path, mode_t mode, struct err *e);
/* Opens a folder (O_DIRECTORY|O_CLOEXEC); fs_open_dir_make makes it first, parents too. */
int fs_open_dir(int dirfd, const char *path, struct err *e);
int fs_open_dir_make(int dirfd, const char *path, struct err *e);
/* Removes a file or a whole tree, without following symbolic links; what is not there is fine. Folders that lack write
 * permission are given it first. */
int fs_remove_tree(int dirfd, const char *path, struct err *e);
int fs_sync_dir(int dirfd, const char *path, struct err *e);

/* One folder's entries without . and .., sorted bytewise. Names live in the list. At most `max` entries (ERR_LIMIT). */
struct fs_list {
	char **name;
	size_t n;
};
int fs_list(int dirfd, const char *path, size_t max, struct fs_list *ret, struct err *e);
void fs_list_release(struct fs_list *l);
#define auto_fs_list cleanup_with(fs_list_release) struct fs_list

/* Walks a tree depth first, entries sorted; `rel` is relative to the start ("a/b"). Symbolic links are not followed.
 * The callback returns 0 to go on, -1 (with *e) to stop. Folders are reported before their content. */
typedef int fs_walk_fn(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e);
int fs_walk(int dirfd, const char *path, fs_walk_fn *fn, void *ctx, struct err *e);

bool fs_exists(int dirfd, const char *path); /* lstat succeeds */
/* True where a path from outside stays inside its folder: relative, no "..", no empty or "." component, no NUL, no
 * control byte, at most 4096 bytes. */
bool fs_path_is_inside(struct str path);

/*
 * Paths below a folder whose content nobody trusts (base/fs_below.c): links on the way are followed as long as they stay below it, before Linux 5.6
 * none. A path that fs_path_is_inside can still lead out by a link; these do not go there (ERR_INPUT).
 */
int fs_open_below(int dir_fd, const char *path, int flags); /* a fd, or -1 with errno; EXDEV: it leaves */
/* Opens the folder that a path lies in, made where it is missing and `make` is set, and tells the path's last part, which ends where the path does. */
int fs_open_parent_below(int dir_fd, struct str path, bool make, struct str *ret_last, struct err *e);
int fs_read_below(int dir_fd, const char *path, struct buf *b, struct err *e);
/* Parents are made. */
int fs_replace_below(int dir_fd, const char *path, const void *p, size_t n, enum fs_replace_flags flags, struct err *e);

/* ERR_FAILED with e->sys ENOSPC where the file system of fd has no more than leave_bytes free. */
int fs_check_space(int fd, uint64_t leave_bytes, struct err *e);

/* flock, through signals: 0, or -1 with errno. */
int fs_flock(int fd, int how);
/* Whether the path still is the file that is open: what was opened and locked may have been renamed or removed before the lock was there. */
bool fs_is_still(int dirfd, const char *path, int fd);
/* An exclusive lock on a file (made if needed), held until the fd is closed or the process ends. Waits up to wait_ms
 * (0: not at all); ERR_BUSY then, with the holder's pid and command in the message where the holder wrote them.
 * Returns the fd. */
int fs_lock(int dirfd, const char *path, int64_t wait_ms, struct err *e);
