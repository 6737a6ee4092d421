// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * tree: a folder that is filled from an archive nobody trusts, and the listing of what it then holds.
 *
 *	struct tree t;
 *	tree_init(&t, dirfd, &limits, "x.conda");        dirfd: an empty folder of our own
 *	tree_add_archive(&t, fd, STORE_CONDA, e)         or tree_add_tar for one stream of tar blocks
 *	tree_finish(&t, e)                               checks the links, writes the listing into .slipway-tree
 *	tree_release(&t)
 *
 * Safety rests on one table of all paths made so far: a path is made only where each of its parents is a folder of the
 * table, so nothing is ever written through a link, and nothing is opened that was there before.
 *
 * The listing is one line an entry, sorted bytewise by path:
 *
 *	f MODE SIZE XXH3-128 PATH        MODE 755 or 644; hard links are files of their own here
 *	l PATH<tab>TARGET
 *	d PATH
 *
 * and .slipway-tree is "<sha256 of the listing> <files and links> <bytes>\n", then the listing. XXH3 finds damage, not
 * malice: whoever may write the tree may write its listing too.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"
#include "base/stream.h"
#include "base/vec.h"
#include "store/store.h"

#define TREE_MARKER ".slipway-tree"
enum { TREE_DEPTH_MAX = 128, TREE_LISTING_MAX = 1 << 30 };

enum tree_kind { TREE_DIR, TREE_FILE, TREE_LINK };
struct tree_entry {
	struct str path;
	enum tree_kind kind;
	bool exec;
	uint64_t size;
	uint64_t hash[2]; /* XXH3-128, high half first */
	struct str target;
};

struct tree {
	int dir;
	struct store_limits limits;
	const char *what; /* for messages */
	struct arena a;
	struct map by_path; /* path → number of the entry + 1 */
	VEC(struct tree_entry) entries;
	uint64_t bytes, files;
};

void tree_init(struct tree *t, int dirfd, const struct store_limits *limits, const char *what);
void tree_release(struct tree *t);
int tree_add_archive(struct tree *t, int fd, enum store_format format, struct err *e);
/* Takes the stream over. */
int tree_add_tar(struct tree *t, struct istream *tar, struct err *e);
/* A ZIP, by its central directory. */
int tree_add_zip(struct tree *t, int fd, struct err *e);
int tree_finish(struct tree *t, struct err *e);
/* The first half of that: no symbolic link leads out. */
int tree_check_links(struct tree *t, struct err *e);

/* The entries of an archive, as the reader meets them. */
int tree_add_dir(struct tree *t, const char *path, struct err *e);
int tree_add_link(struct tree *t, const char *path, const char *target, struct err *e);
int tree_add_hard_link(struct tree *t, const char *path, const char *target, struct err *e);

struct tree_file {
	struct tree *t;
	struct tree_entry *entry;
	int fd;
	uint64_t promised;
	void *hash;
};
int tree_file_begin(struct tree *t, const char *path, bool exec, uint64_t size, struct tree_file *f, struct err *e);
int tree_file_write(struct tree_file *f, const void *p, size_t n, struct err *e);
int tree_file_end(struct tree_file *f, int64_t mtime_s, struct err *e);
void tree_file_release(struct tree_file *f);

/* The first line of a tree's marker. */
struct tree_summary {
	uint8_t listing[SHA256_SIZE];
	uint64_t files, bytes;
};
int tree_read_summary(int treefd, struct tree_summary *ret, struct err *e);
/* What this process is short of (descriptors, memory) says nothing about what is on the disk. */
bool tree_is_shortage(int errnum);
/* Reads the whole tree and compares it with its listing: 0 the same, 1 damaged (why is filled; what cannot be read counts as
 * that), -1 could not tell, with errno. */
int tree_verify(int treefd, struct buf *why, struct err *e);
/* Compares sizes and SHA-256 of info/paths.json with the files: 0 they agree (or nothing is said), 1 the package contradicts
 * itself (why is filled with the first place), -1 could not tell. */
int tree_contradiction(int treefd, struct buf *why, struct err *e);
