// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * tar: archives of tar, read from a stream and written to a sink. Bytes only: what may be made where is the caller's.
 *
 *	auto_ptr(tar_reader) r = tar_reader_new(s, "layer.tar");        s stays the caller's
 *	struct tar_entry en;
 *	while ((rc = tar_next(r, &en, e)) > 0)                          views in en last until the next call
 *		while ((n = tar_read(r, p, size, e)) > 0) ...           content of a file; what is left unread is skipped
 *	tar_drain(r, e)                                                 the padding behind the end, so that a digest is whole
 *
 * Read are v7, ustar, pax (path, linkpath, size, uid, gid, mtime, SCHILY.xattr.*) and GNU's long names and large numbers. Refused
 * are sparse files, several volumes, unknown kinds, names with a NUL, wrong sums, and what ends before it should. Names are
 * as they stand in the archive: absolute or with "..", if somebody wrote that.
 *
 *	struct tar_writer w = {.sink = f, .ctx = ctx};
 *	tar_put(&w, &en, e); tar_write(&w, p, n, e) …; tar_end(&w, e)
 *
 * Written is ustar, with a pax header in front of what does not fit in it; times to the second, no names of owners: the same
 * entries give the same bytes.
 */
#include <sys/types.h>

#include "base/buf.h"
#include "base/stream.h"

enum {
	TAR_BLOCK = 512,
	TAR_PAX_MAX = 1 << 20,	   /* one extended header, or long name */
	TAR_XATTRS_MAX = 256,	   /* of one entry */
	TAR_TRAILER_MAX = 1 << 20, /* padding behind the end */
};

enum tar_kind { TAR_FILE, TAR_HARD_LINK, TAR_SYMLINK, TAR_DIR, TAR_FIFO, TAR_CHAR, TAR_BLOCK_DEVICE };
struct tar_xattr {
	struct str name, value;
};
struct tar_entry {
	enum tar_kind kind;
	struct str path, target; /* NUL-terminated */
	uint32_t mode;		 /* 07777 */
	uint64_t uid, gid, size;
	int64_t mtime_s;
	uint32_t mtime_ns;
	uint32_t major, minor;
	const struct tar_xattr *xattrs;
	size_t n_xattrs;
	uint64_t offset; /* where its content begins in the stream */
	uint64_t number; /* counted from 1 */
};

struct tar_reader;
struct tar_reader *tar_reader_new(struct istream *s, const char *what);
/* The stream is the file fd and nothing between: content is skipped by moving on in it. */
void tar_reader_seeks(struct tar_reader *r, int fd);
int tar_next(struct tar_reader *r, struct tar_entry *ret, struct err *e); /* 1; 0 at the end; -1 */
ssize_t tar_read(struct tar_reader *r, void *p, size_t n, struct err *e);
int tar_drain(struct tar_reader *r, struct err *e);
void tar_reader_free(struct tar_reader *r);
DEFINE_AUTO(struct tar_reader *, tar_reader, tar_reader_free);

/* A path from an archive as a message may show it: no control bytes, at most 200 bytes. */
struct tar_shown {
	char s[208];
};
struct tar_shown tar_shown(struct str path);

struct tar_writer {
	int (*sink)(void *ctx, const void *p, size_t n, struct err *e);
	void *ctx;
	uint64_t at;   /* bytes written so far */
	uint64_t left; /* of the current file */
};
/* A file's content follows, exactly size bytes, by tar_write. Times are cut to the second. */
int tar_put(struct tar_writer *w, const struct tar_entry *en, struct err *e);
int tar_write(struct tar_writer *w, const void *p, size_t n, struct err *e);
int tar_end(struct tar_writer *w, struct err *e);
