// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * compress: bytes in pieces, packed, given on in pieces. The same bytes give the same packed bytes, on any machine.
 *
 *	auto_ptr(compress) c = compress_new(COMPRESS_XZ, 0, sink, ctx);
 *	compress_put(c, p, n, e); … ; compress_end(c, e)
 *
 * Memory is the format's own: xz 95 MB at its default level, the others below 10 MB.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"

enum compress_kind { COMPRESS_NONE, COMPRESS_GZIP, COMPRESS_XZ, COMPRESS_ZSTD };
typedef int compress_sink(void *ctx, const void *p, size_t n, struct err *e);
struct compress;

/* level 0: 9 for gzip, 6 for xz, 19 for zstd. */
struct compress *compress_new(enum compress_kind kind, int level, compress_sink *sink, void *ctx);
int compress_put(struct compress *c, const void *p, size_t n, struct err *e);
int compress_end(struct compress *c, struct err *e);
void compress_free(struct compress *c);
DEFINE_AUTO(struct compress *, compress, compress_free);

/* All at once, appended to ret. */
int compress_str(enum compress_kind kind, int level, struct str s, struct buf *ret, struct err *e);
/* "", ".gz", ".xz", ".zst" */
const char *compress_ending(enum compress_kind kind);
