// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * stream: byte streams stacked on each other with one sticky error: file → limit → digest → zstd → reader.
 *
 *	struct istream *s = istream_fd(fd, "repodata.json.zst");        takes the fd over
 *	s = istream_zstd(s, e); s = istream_limit(s, max);             takes the inner stream over
 *	ssize_t n = istream_read(s, p, size, e);                        0 at the end, -1 once and for ever on error
 *	istream_free(s);                                                frees the stack
 */
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/digest.h"
#include "base/err.h"

struct istream;
struct istream_ops {
	ssize_t (*read)(struct istream *s, void *p, size_t n, struct err *e);
	void (*free)(struct istream *s);
};
struct istream {
	const struct istream_ops *ops;
	struct istream *inner; /* NULL at the bottom; freed by istream_free */
	const char *name;      /* for messages; belongs to the caller of the bottom constructor */
	bool failed;
};

ssize_t istream_read(struct istream *s, void *p, size_t n, struct err *e);
/* Reads exactly n bytes; ERR_INPUT "truncated" otherwise. */
int istream_read_all(struct istream *s, void *p, size_t n, struct err *e);
void istream_free(struct istream *s);
DEFINE_AUTO(struct istream *, istream, istream_free);

struct istream *istream_fd(int fd, const char *name);
struct istream *istream_mem(struct str bytes, const char *name); /* bytes must outlive it */
/* All frames (streams, members); a truncated one is an error, so is what is no such data, or wants a larger window. */
enum { STREAM_WINDOW_MAX = 128 << 20 };
struct istream *istream_zstd(struct istream *inner);
struct istream *istream_bz2(struct istream *inner);
struct istream *istream_gz(struct istream *inner);
struct istream *istream_xz(struct istream *inner);
/* By the ending of the name: ".zst", ".gz", ".xz", ".bz2"; the inner stream itself where it has none of these. */
struct istream *istream_unpack(struct istream *inner, struct str name);
/* By its first bytes, in place of a name; NULL where they cannot be read. Takes the inner stream over in any case. */
struct istream *istream_unpack_any(struct istream *inner, struct err *e);
struct istream *istream_limit(struct istream *inner, uint64_t max_bytes); /* ERR_LIMIT past it */
/* Digest of what passes through; valid until the stream is freed. */
struct istream *istream_digest(struct istream *inner, enum digest_kind kind);
size_t istream_digest_final(struct istream *s, uint8_t out[DIGEST_MAX]);
