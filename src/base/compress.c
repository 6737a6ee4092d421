// SPDX-License-Identifier: Apache-2.0
#include "base/compress.h"

#include <lzma.h>
#include <stdint.h>
#include <zlib.h>
#include <zstd.h>

#include "base/dl.h"

enum { OUT_SIZE = 1 << 17, GZIP_WINDOW = 15 + 16, GZIP_MEMORY = 9 };

#define ZLIB(X) X(, deflate) X(, deflateEnd) X(, deflateInit2_)
#define LZMA(X) X(lzma_, code) X(lzma_, easy_encoder) X(lzma_, end)
#define ZSTD(X)                                                                                                        \
	X(ZSTD_, CCtx_setParameter) X(ZSTD_, compressStream2) X(ZSTD_, createCCtx) X(ZSTD_, freeCCtx) X(ZSTD_, isError)
DL_LIBRARY(zlib, "libz.so.1", ZLIB, NULL);
DL_LIBRARY(xz, "liblzma.so.5", LZMA, NULL);
DL_LIBRARY(zstd, "libzstd.so.1", ZSTD, NULL);

struct compress {
	enum compress_kind kind;
	compress_sink *sink;
	void *ctx;
	z_stream gz;
	lzma_stream xz;
	ZSTD_CCtx *zstd;
	uint8_t out[OUT_SIZE];
};

static void begin_gzip(struct compress *c, int level)
{
	dl_need(&zlib_library);
	/* the header that zlib writes has no name and no time */
	if (zlib.deflateInit2_(&c->gz, level ? level : 9, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY,
			       ZLIB_VERSION, (int)sizeof(c->gz)) != Z_OK)
		panic("out of memory");
}

static void begin_xz(struct compress *c, int level)
{
	dl_need(&xz_library);
	c->xz = (lzma_stream)LZMA_STREAM_INIT;
	if (xz.easy_encoder(&c->xz, (uint32_t)(level ? level : 6), LZMA_CHECK_CRC64) != LZMA_OK)
		panic("out of memory");
}

static void begin_zstd(struct compress *c, int level)
{
	dl_need(&zstd_library);
	c->zstd = zstd.createCCtx();
	if (!c->zstd || zstd.isError(zstd.CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, level ? level : 19)) ||
	    zstd.isError(zstd.CCtx_setParameter(c->zstd, ZSTD_c_checksumFlag, 1)))
		panic("out of memory");
}

struct compress *compress_new(enum compress_kind kind, int level, compress_sink *sink, void *ctx)
{
	struct compress *c = xcalloc(1, sizeof(*c));
	c->kind = kind;
	c->sink = sink;
	c->ctx = ctx;
	if (kind == COMPRESS_GZIP)
		begin_gzip(c, level);
	else if (kind == COMPRESS_XZ)
		begin_xz(c, level);
	else if (kind == COMPRESS_ZSTD)
		begin_zstd(c, level);
	return c;
}

void compress_free(struct compress *c)
{
	if (!c)
		return;
	if (c->kind == COMPRESS_GZIP)
		zlib.deflateEnd(&c->gz);
	else if (c->kind == COMPRESS_XZ)
		xz.end(&c->xz);
	else if (c->kind == COMPRESS_ZSTD)
		zstd.freeCCtx(c->zstd);
	free(c);
}

static int broken(const char *what, struct err *e)
{
	return err_new(e, ERR_FAILED, "compress with %s: the library refuses", what);
}

/* One step each: eats of the input, gives what came out to the sink. 1: there is more to do, 0: done. */

static int step_gzip(struct compress *c, bool end, struct err *e)
{
	c->gz.next_out = c->out;
	c->gz.avail_out = OUT_SIZE;
	int r = zlib.deflate(&c->gz, end ? Z_FINISH : Z_NO_FLUSH);
	if (r == Z_STREAM_ERROR)
		return broken("gzip", e);
	size_t n = OUT_SIZE - c->gz.avail_out;
	if (n > 0 && c->sink(c->ctx, c->out, n, e) < 0)
		return -1;
	return end ? r != Z_STREAM_END : c->gz.avail_in > 0 || c->gz.avail_out == 0;
}

static int step_xz(struct compress *c, bool end, struct err *e)
{
	c->xz.next_out = c->out;
	c->xz.avail_out = OUT_SIZE;
	lzma_ret r = xz.code(&c->xz, end ? LZMA_FINISH : LZMA_RUN);
	if (r != LZMA_OK && r != LZMA_STREAM_END && r != LZMA_BUF_ERROR)
		return broken("xz", e);
	size_t n = OUT_SIZE - c->xz.avail_out;
	if (n > 0 && c->sink(c->ctx, c->out, n, e) < 0)
		return -1;
	return end ? r != LZMA_STREAM_END : c->xz.avail_in > 0 || c->xz.avail_out == 0;
}

static int step_zstd(struct compress *c, ZSTD_inBuffer *in, bool end, struct err *e)
{
	ZSTD_outBuffer out = {c->out, OUT_SIZE, 0};
	size_t left = zstd.compressStream2(c->zstd, &out, in, end ? ZSTD_e_end : ZSTD_e_continue);
	if (zstd.isError(left))
		return broken("zstd", e);
	if (out.pos > 0 && c->sink(c->ctx, c->out, out.pos, e) < 0)
		return -1;
	return end ? left > 0 : in->pos < in->size;
}

static int run(struct compress *c, const void *p, size_t n, bool end, struct err *e)
{
	ZSTD_inBuffer in = {p, n, 0};
	int rc = 1;
	c->gz.next_in = (Bytef *)(uintptr_t)p;
	c->gz.avail_in = (uInt)n;
	c->xz.next_in = p;
	c->xz.avail_in = n;
	while (rc > 0)
		rc = c->kind == COMPRESS_GZIP ? step_gzip(c, end, e)
		     : c->kind == COMPRESS_XZ ? step_xz(c, end, e)
					      : step_zstd(c, &in, end, e);
	return rc;
}

int compress_put(struct compress *c, const void *p, size_t n, struct err *e)
{
	enum { PIECE = 1 << 30 };
	if (c->kind == COMPRESS_NONE)
		return n ? c->sink(c->ctx, p, n, e) : 0;
	for (size_t at = 0; at < n;) {
		size_t k = n - at < PIECE ? n - at : PIECE;
		if (run(c, (const char *)p + at, k, false, e) < 0)
			return -1;
		at += k;
	}
	return 0;
}

int compress_end(struct compress *c, struct err *e)
{
	return c->kind == COMPRESS_NONE ? 0 : run(c, "", 0, true, e);
}

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	struct buf *b = ctx;
	buf_put(b, p, n);
	return b->overflow ? err_new(e, ERR_LIMIT, "packed data exceed %zu bytes", b->max) : 0;
}

int compress_str(enum compress_kind kind, int level, struct str s, struct buf *ret, struct err *e)
{
	auto_ptr(compress) c = compress_new(kind, level, to_buf, ret);
	return compress_put(c, s.p, s.n, e) < 0 ? -1 : compress_end(c, e);
}

const char *compress_ending(enum compress_kind kind)
{
	static const char *const endings[] = {"", ".gz", ".xz", ".zst"};
	return endings[kind];
}
