// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/buf.h"
#include "base/stream.h"

#include <bzlib.h>
#include <fcntl.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "base/dl.h"

#define PACKERS(X) X(lzma_, easy_buffer_encode)
#define DEFLATE(X) X(, deflate) X(, deflateEnd) X(, deflateInit2_)
DL_LIBRARY(packer, "liblzma.so.5", PACKERS, NULL);
DL_LIBRARY(zpacker, "libz.so.1", DEFLATE, NULL);

static struct err e;

/* Reads to the end in pieces of `step` bytes; frees the stream. */
static int drain(struct istream *s, size_t step, struct buf *to)
{
	char piece[4096];
	ssize_t n;
	while ((n = istream_read(s, piece, step, &e)) > 0) {
		CHECK(n <= (ssize_t)step);
		buf_put(to, piece, (size_t)n);
	}
	if (n < 0) {
		struct err again = ERR_INIT;
		CHECK_INT(istream_read(s, piece, step, &again), -1); /* sticky */
	}
	istream_free(s);
	return (int)n;
}

/* Lines that compress, but not into nothing. */
static void make_text(struct buf *b, size_t n)
{
	for (unsigned i = 0; b->n < n; i++)
		buf_printf(b, "line %u %u\n", i, i * 2654435761U);
}

static void pack_zstd(struct buf *to, struct str from)
{
	size_t room = ZSTD_compressBound(from.n);
	buf_reserve(to, room);
	size_t n = ZSTD_compress(to->p + to->n, room, from.p, from.n, 3);
	CHECK(!ZSTD_isError(n));
	to->n += n;
	to->p[to->n] = '\0';
}

static void pack_bz2(struct buf *to, struct str from)
{
	unsigned room = (unsigned)from.n + (unsigned)from.n / 100 + 600;
	buf_reserve(to, room);
	CHECK_INT(BZ2_bzBuffToBuffCompress(to->p + to->n, &room, (char *)(uintptr_t)from.p, (unsigned)from.n, 1, 0, 0),
		  BZ_OK);
	to->n += room;
	to->p[to->n] = '\0';
}

static void pack_gz(struct buf *to, struct str from)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)from.p, .avail_in = (uInt)from.n};
	dl_need(&zpacker_library);
	buf_reserve(to, from.n + 1000);
	z.next_out = (Bytef *)to->p + to->n;
	z.avail_out = (uInt)from.n + 1000;
	CHECK_INT(zpacker.deflateInit2_(&z, 1, Z_DEFLATED, 31, 8, 0, ZLIB_VERSION, (int)sizeof(z)), Z_OK);
	CHECK_INT(zpacker.deflate(&z, Z_FINISH), Z_STREAM_END);
	to->n += z.total_out;
	to->p[to->n] = '\0';
	zpacker.deflateEnd(&z);
}

static void pack_xz(struct buf *to, struct str from)
{
	size_t at = 0;
	dl_need(&packer_library);
	buf_reserve(to, from.n + 10000);
	CHECK_INT(packer.easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL, (const uint8_t *)from.p, from.n,
					    (uint8_t *)to->p + to->n, &at, from.n + 10000),
		  LZMA_OK);
	to->n += at;
	to->p[to->n] = '\0';
}

typedef void pack_fn(struct buf *to, struct str from);
typedef struct istream *unpack_fn(struct istream *inner);

static void check_codec(pack_fn *pack, unpack_fn *unpack)
{
	auto_buf text = BUF_INIT(BUF_MAX);
	auto_buf packed = BUF_INIT(BUF_MAX);
	make_text(&text, 700000);
	size_t half = text.n / 2;
	pack(&packed, str_head(buf_str(&text), half));
	size_t first = packed.n;
	pack(&packed, str_skip(buf_str(&text), half)); /* a second frame */
	static const size_t steps[] = {1, 777, 4096};
	for (size_t i = 0; i < 3; i++) {
		auto_buf got = BUF_INIT(BUF_MAX);
		CHECK_MSG(drain(unpack(istream_mem(buf_str(&packed), "x")), steps[i], &got) == 0, "%s", e.msg);
		CHECK(str_eq(buf_str(&got), buf_str(&text)));
	}
	/* every kind of cut but the one between the frames is an error */
	size_t cuts[] = {0, 1, 5, first / 2, first - 1, first + 1, packed.n - 1};
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		auto_buf got = BUF_INIT(BUF_MAX);
		CHECK_INT(drain(unpack(istream_mem(str_head(buf_str(&packed), cuts[i]), "x")), 4096, &got), -1);
		CHECK_INT(e.code, ERR_INPUT);
		CHECK_MSG(strstr(e.msg, "'x'") && strstr(e.msg, "truncated"), "%s", e.msg);
	}
	auto_buf half_got = BUF_INIT(BUF_MAX);
	CHECK_INT(drain(unpack(istream_mem(str_head(buf_str(&packed), first), "x")), 4096, &half_got), 0);
	CHECK_INT(half_got.n, half);
	/* rubbish, at the start and behind a frame */
	auto_buf got = BUF_INIT(BUF_MAX);
	CHECK_INT(drain(unpack(istream_mem(STR("this is no compressed data"), "x")), 4096, &got), -1);
	CHECK_INT(e.code, ERR_INPUT);
	buf_put(&packed, "rubbish rubbish", 15);
	CHECK_INT(drain(unpack(istream_mem(buf_str(&packed), "x")), 4096, &got), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(zstd_frames_cuts_and_rubbish)
{
	check_codec(pack_zstd, istream_zstd);
}

TEST(bz2_streams_cuts_and_rubbish)
{
	check_codec(pack_bz2, istream_bz2);
}

TEST(gzip_members_cuts_and_rubbish)
{
	check_codec(pack_gz, istream_gz);
}

TEST(xz_streams_cuts_and_rubbish)
{
	check_codec(pack_xz, istream_xz);
}

TEST(what_unpacks_is_told_by_the_name)
{
	auto_buf packed = BUF_INIT(BUF_MAX), got = BUF_INIT(BUF_MAX);
	pack_gz(&packed, STR("hello"));
	CHECK_INT(drain(istream_unpack(istream_mem(buf_str(&packed), "x"), STR("a.xml.gz")), 4096, &got), 0);
	CHECK_STR(got.p, "hello");
	CHECK_INT(drain(istream_unpack(istream_mem(STR("plain"), "x"), STR("a.xml")), 4096, &got), 0);
	CHECK_STR(got.p, "helloplain");
}

TEST(xz_window_is_bounded)
{
	/* a dictionary of 1 GiB is asked for in the block's header: its size is coded in one byte */
	auto_buf packed = BUF_INIT(BUF_MAX), got = BUF_INIT(BUF_MAX);
	pack_xz(&packed, STR("x"));
	size_t end = 12 + 4 * (size_t)packed.p[12]; /* of the block's header, but for its checksum */
	CHECK_INT(packed.p[16], 0x21);		    /* LZMA2, after both sizes */
	packed.p[18] = 36;
	uint32_t crc = 0xffffffff;
	for (size_t i = 12; i < end; i++) {
		crc ^= (uint8_t)packed.p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	}
	for (size_t i = 0; i < 4; i++)
		packed.p[end + i] = (char)(~crc >> (8 * i));
	CHECK_INT(drain(istream_xz(istream_mem(buf_str(&packed), "x")), 4096, &got), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

TEST(bz2_flipped_bit_is_found)
{
	auto_buf text = BUF_INIT(BUF_MAX);
	auto_buf packed = BUF_INIT(BUF_MAX);
	auto_buf got = BUF_INIT(BUF_MAX);
	make_text(&text, 50000);
	pack_bz2(&packed, buf_str(&text));
	packed.p[packed.n / 2] ^= 4;
	CHECK_INT(drain(istream_bz2(istream_mem(buf_str(&packed), "x")), 4096, &got), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(zstd_window_is_bounded)
{
	/* a frame header that asks for a window of 256 MiB, then a raw block of one byte */
	static const char frame[] = "\x28\xb5\x2f\xfd\x00\x90\x09\x00\x00x";
	auto_buf got = BUF_INIT(BUF_MAX);
	CHECK_INT(drain(istream_zstd(istream_mem(str_of(frame, 10), "x")), 4096, &got), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	/* the same with 128 MiB is fine */
	static const char good[] = "\x28\xb5\x2f\xfd\x00\x88\x09\x00\x00x";
	CHECK_MSG(drain(istream_zstd(istream_mem(str_of(good, 10), "x")), 4096, &got) == 0, "%s", e.msg);
	CHECK_STR(got.p, "x");
}

TEST(empty_frame_gives_nothing)
{
	auto_buf packed = BUF_INIT(BUF_MAX);
	auto_buf got = BUF_INIT(BUF_MAX);
	pack_zstd(&packed, STR(""));
	CHECK_INT(drain(istream_zstd(istream_mem(buf_str(&packed), "x")), 4096, &got), 0);
	CHECK_INT(got.n, 0);
}

TEST(limit_lets_its_own_size_pass)
{
	auto_buf got = BUF_INIT(BUF_MAX);
	CHECK_INT(drain(istream_limit(istream_mem(STR("12345"), "x"), 5), 2, &got), 0);
	CHECK_STR(got.p, "12345");
	buf_clear(&got);
	CHECK_INT(drain(istream_limit(istream_mem(STR("123456"), "x"), 5), 4, &got), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_STR(got.p, "12345");
	CHECK_INT(drain(istream_limit(istream_mem(STR(""), "x"), 0), 4, &got), 0);
}

TEST(digest_of_what_passes)
{
	uint8_t want[SHA256_SIZE], out[DIGEST_MAX];
	auto_buf text = BUF_INIT(BUF_MAX);
	make_text(&text, 300000);
	sha256(text.p, text.n, want);
	auto_buf packed = BUF_INIT(BUF_MAX);
	pack_zstd(&packed, buf_str(&text));
	auto_ptr(istream) s = istream_digest(istream_zstd(istream_mem(buf_str(&packed), "x")), DIGEST_SHA256);
	auto_free char *all = xmalloc(text.n);
	CHECK_INT(istream_read_all(s, all, text.n, &e), 0);
	CHECK_INT(memcmp(all, text.p, text.n), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(istream_digest_final(s, out), SHA256_SIZE);
		CHECK_INT(memcmp(out, want, SHA256_SIZE), 0);
	}
	CHECK_INT(istream_read_all(s, all, 1, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

TEST(file_from_where_it_stands)
{
	char path[256], text[8] = {0};
	snprintf(path, sizeof(path), "%s/f", test_tmp());
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_INT(write(fd, "abcdef", 6), 6);
	CHECK_INT(lseek(fd, 2, SEEK_SET), 2);
	auto_ptr(istream) s = istream_fd(fd, "f");
	CHECK_INT(istream_read_all(s, text, 4, &e), 0);
	CHECK_STR(text, "cdef");
	CHECK_INT(istream_read(s, text, 0, &e), 0);
	CHECK_INT(istream_read(s, text, 1, &e), 0);
	auto_ptr(istream) bad = istream_fd(open("/", O_RDONLY | O_CLOEXEC), "a folder");
	CHECK_INT(istream_read(bad, text, 1, &e), -1);
	CHECK_INT(e.sys, EISDIR);
}
