// SPDX-License-Identifier: Apache-2.0
#include "base/gzip.h"

#include <zlib.h>

#include "base/dl.h"

#define ZLIB(X)                                                                                                        \
	X(, deflate)                                                                                                   \
	X(, deflateEnd)                                                                                                \
	X(, deflateInit2_)
DL_LIBRARY(zlib, "libz.so.1", ZLIB, NULL);

enum { GZIP_WINDOW = 16 + MAX_WBITS };

int gzip_pack(struct str text, int level, struct buf *b, struct err *e)
{
	z_stream z = {0};
	int rc = Z_OK;
	if (dl_load(&zlib_library, e) < 0)
		return -1;
	if (zlib.deflateInit2_(&z, level, Z_DEFLATED, GZIP_WINDOW, 9, Z_DEFAULT_STRATEGY, ZLIB_VERSION, sizeof(z)) !=
	    Z_OK)
		panic("out of memory");
	while (rc != Z_STREAM_END && !b->overflow) {
		enum { PIECE = 1 << 20 };
		uInt piece = text.n > 1U << 30 ? 1U << 30 : (uInt)text.n;
		buf_reserve(b, PIECE);
		if (b->overflow)
			break;
		z.next_in = (Bytef *)(uintptr_t)text.p;
		z.avail_in = piece;
		z.next_out = (Bytef *)b->p + b->n;
		z.avail_out = PIECE;
		rc = zlib.deflate(&z, piece == text.n ? Z_FINISH : Z_NO_FLUSH);
		text = str_skip(text, piece - z.avail_in);
		b->n += PIECE - z.avail_out;
		b->p[b->n] = '\0';
	}
	zlib.deflateEnd(&z);
	return b->overflow ? err_new(e, ERR_LIMIT, "packed, it would exceed %zu bytes", b->max) : 0;
}
