// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * source: what a copy takes: files and folders below one folder, with the digests of what they hold.
 *
 *	struct source s;
 *	struct source_opts o = {.words = words, .n_words = n, .cancel_fd = -1};
 *	source_walk(dir_fd, &o, &arena, &s, e)
 *	for item i: s.items[i].n entries from s.items[i].first on, the item itself first, folders before what they hold, names in byte order
 *
 * A word is a path below the folder: no "..", no symbolic link but as its last name; "." and "" are the folder itself. Names equal to an
 * exclude are left out wherever they are inside a folder. Symbolic links are taken as they are. Devices, pipes and sockets are refused.
 *
 * What was seen of a file (its device, number, size and times) is kept with it, so that whoever reads it later can tell whether it is
 * still the same: source_entry_open.
 *
 * Folders that are `apart` are left out wherever they lie, under whatever name; one that is an item itself is ERR_INPUT.
 *
 * cancel_fd: once it is readable, the walk ends with ERR_BUSY; -1: none.
 *
 * Limits: SOURCE_ENTRIES_MAX entries, SOURCE_DEPTH_MAX folders in each other, paths of 4096 bytes (ERR_LIMIT). Other errors: ERR_NOT_FOUND,
 * ERR_INPUT.
 */
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

enum { SOURCE_ENTRIES_MAX = 4000000, SOURCE_DEPTH_MAX = 200 };

enum source_kind { SOURCE_FILE, SOURCE_LINK, SOURCE_DIR };
struct source_entry {
	enum source_kind kind;
	bool exec;	/* a file that anybody may execute */
	uint16_t depth; /* 0: an item itself */
	uint8_t sha256[SHA256_SIZE];
	struct str
		path; /* from the folder, without "." and doubled slashes: "dir/a.txt"; "": the folder. NUL-terminated */
	struct str target; /* of a link; NUL-terminated */
	uint64_t size;
	uint64_t dev, ino; /* both 0: not compared, as those of an overlay that is mounted again are others */
	struct timespec mtime, ctime;
};
struct source_item {
	size_t first, n;
};
struct source {
	struct source_entry *entries;
	size_t n;
	struct source_item *items; /* one for each word */
	size_t n_items;
};
struct source_opts {
	const struct str *words, *excludes;
	size_t n_words, n_excludes;
	const char *const *apart; /* paths, ended by NULL; what is not there is not met either; NULL: none */
	int cancel_fd;
};
int source_walk(int dir_fd, const struct source_opts *o, struct arena *a, struct source *ret, struct err *e);
/* Opens a file for reading; ERR_INPUT where it is not the one that was walked over, or has changed since. */
int source_entry_open(int dir_fd, const struct source_entry *f, struct err *e);
/* The same of one that is open: after it was read, whether it changed meanwhile. */
int source_entry_check(int fd, const struct source_entry *f, struct err *e);

/* A walk as bytes, to bring it from one process to another. */
void source_put(const struct source *s, struct buf *b);
int source_take(struct str bytes, struct arena *a, struct source *ret, struct err *e);
