// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/compress.h"
#include "base/stream.h"

static struct err e;

static void unpack(enum compress_kind kind, struct str packed, struct buf *ret)
{
	char piece[5000];
	ssize_t n;
	auto_ptr(istream) s = istream_mem(packed, "packed");
	if (kind == COMPRESS_GZIP)
		s = istream_gz(s);
	else if (kind == COMPRESS_XZ)
		s = istream_xz(s);
	else if (kind == COMPRESS_ZSTD)
		s = istream_zstd(s);
	while ((n = istream_read(s, piece, sizeof(piece), &e)) > 0)
		buf_put(ret, piece, (size_t)n);
	CHECK_MSG(n == 0, "%s", e.msg);
}

static int sink(void *ctx, const void *p, size_t n, struct err *err)
{
	(void)err;
	buf_put(ctx, p, n);
	return 0;
}

static void there_and_back(enum compress_kind kind)
{
	auto_buf text = BUF_INIT(BUF_MAX), packed = BUF_INIT(BUF_MAX), again = BUF_INIT(BUF_MAX),
		 got = BUF_INIT(BUF_MAX);
	for (unsigned i = 0; text.n < 700000; i++)
		buf_printf(&text, "line %u %u\n", i, i * 2654435761U);
	CHECK_INT(compress_str(kind, 0, buf_str(&text), &packed, &e), 0);
	if (kind != COMPRESS_NONE)
		CHECK(packed.n < text.n / 2);
	unpack(kind, buf_str(&packed), &got);
	CHECK(str_eq(buf_str(&got), buf_str(&text)));
	/* in pieces: the same bytes */
	auto_ptr(compress) c = compress_new(kind, 0, sink, &again);
	for (size_t at = 0, step = 1; at < text.n; at += step, step = step * 2 + 1)
		CHECK_INT(compress_put(c, text.p + at, step < text.n - at ? step : text.n - at, &e), 0);
	CHECK_INT(compress_end(c, &e), 0);
	CHECK(kind == COMPRESS_GZIP || str_eq(buf_str(&again), buf_str(&packed)));
	buf_clear(&got);
	unpack(kind, buf_str(&again), &got);
	CHECK(str_eq(buf_str(&got), buf_str(&text)));
	/* nothing at all */
	buf_clear(&packed);
	buf_clear(&got);
	CHECK_INT(compress_str(kind, 0, STR(""), &packed, &e), 0);
	if (kind != COMPRESS_NONE)
		unpack(kind, buf_str(&packed), &got);
	CHECK_INT(got.n, 0);
}

TEST(none)
{
	there_and_back(COMPRESS_NONE);
}

TEST(gzip)
{
	there_and_back(COMPRESS_GZIP);
}

TEST(xz)
{
	there_and_back(COMPRESS_XZ);
}

TEST(zstd)
{
	there_and_back(COMPRESS_ZSTD);
}

TEST(what_does_not_fit_is_told)
{
	auto_buf small = BUF_INIT(10);
	CHECK_INT(compress_str(COMPRESS_GZIP, 0, STR("0123456789012345678901234567890123456789"), &small, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}
