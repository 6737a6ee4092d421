// SPDX-License-Identifier: Apache-2.0
/* gzip and xz, read piece by piece; zstd and bzip2 are in stream.c. */
#include <lzma.h>
#include <zlib.h>

#include "base/dl.h"
#include "base/stream.h"

enum { IN_SIZE = 1 << 17, ROOM_MAX = 1 << 30 };

/* Where the bytes stand that are read but not unpacked yet. */
struct packed {
	struct istream base;
	bool begun;  /* a member was seen: none at all is a truncated file too */
	bool inside; /* in the middle of a member */
	char buf[IN_SIZE];
};

/* More bytes: how many; 0 at the end, where that is one. */
static ssize_t refill(struct packed *p, const char *format, struct err *e)
{
	ssize_t n = istream_read(p->base.inner, p->buf, sizeof(p->buf), e);
	if (n == 0 && (p->inside || !p->begun))
		return err_new(e, ERR_INPUT, "'%s' is truncated: its %s data end too early", p->base.name, format);
	return n;
}

/* -- gzip ---------------------------------------------------------------------------------------------------------- */

#define GZ(X)                                                                                                          \
	X(, inflate)                                                                                                   \
	X(, inflateEnd)                                                                                                \
	X(, inflateInit2_)                                                                                             \
	X(, inflateReset)
DL_LIBRARY(gz, "libz.so.1", GZ, NULL);

struct istream_gz {
	struct packed packed;
	z_stream z;
};

static ssize_t gz_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_gz *g = (struct istream_gz *)s;
	uInt room = n > ROOM_MAX ? ROOM_MAX : (uInt)n;
	g->z.next_out = p;
	g->z.avail_out = room;
	while (g->z.avail_out == room) {
		if (g->z.avail_in == 0) {
			ssize_t got = refill(&g->packed, "gzip", e);
			if (got <= 0)
				return got;
			g->z.next_in = (Bytef *)g->packed.buf;
			g->z.avail_in = (uInt)got;
		}
		g->packed.begun = g->packed.inside = true;
		int rc = gz.inflate(&g->z, Z_NO_FLUSH);
		if (rc == Z_STREAM_END) {
			g->packed.inside = false;
			gz.inflateReset(&g->z);
		} else if (rc != Z_OK && rc != Z_BUF_ERROR) {
			return err_new(e, ERR_INPUT, "'%s' holds bad gzip data: %s", s->name,
				       g->z.msg ? g->z.msg : "no gzip header");
		}
	}
	return room - g->z.avail_out;
}

static void gz_free(struct istream *s)
{
	gz.inflateEnd(&((struct istream_gz *)s)->z);
}

struct istream *istream_gz(struct istream *inner)
{
	static const struct istream_ops ops = {gz_read, gz_free};
	struct istream_gz *g = xcalloc(1, sizeof(*g));
	g->packed.base = (struct istream){.ops = &ops, .inner = inner, .name = inner->name};
	dl_need(&gz_library);
	/* 16: with gzip's header and checksum, and nothing else */
	if (gz.inflateInit2_(&g->z, 16 + MAX_WBITS, ZLIB_VERSION, (int)sizeof(g->z)) != Z_OK)
		panic("out of memory");
	return &g->packed.base;
}

/* -- xz ------------------------------------------------------------------------------------------------------------ */

#define XZ(X)                                                                                                          \
	X(lzma_, code)                                                                                                 \
	X(lzma_, end)                                                                                                  \
	X(lzma_, stream_decoder)
DL_LIBRARY(xz, "liblzma.so.5", XZ, NULL);

struct istream_xz {
	struct packed packed;
	lzma_stream z;
	bool over;
};

static int xz_bad(const struct istream *s, lzma_ret rc, struct err *e)
{
	if (rc == LZMA_MEM_ERROR)
		panic("out of memory");
	if (rc == LZMA_MEMLIMIT_ERROR)
		return err_new(e, ERR_LIMIT, "'%s' wants more than %d MiB of memory to be unpacked", s->name,
			       STREAM_WINDOW_MAX >> 20);
	return err_new(e, ERR_INPUT, "'%s' holds bad xz data (%s)", s->name,
		       rc == LZMA_FORMAT_ERROR ? "no xz header" : "checksum or structure");
}

static ssize_t xz_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_xz *x = (struct istream_xz *)s;
	x->z.next_out = p;
	x->z.avail_out = n;
	lzma_action action = LZMA_RUN;
	while (x->z.avail_out == n && !x->over) {
		if (x->z.avail_in == 0 && action == LZMA_RUN) {
			ssize_t got = istream_read(s->inner, x->packed.buf, sizeof(x->packed.buf), e);
			if (got < 0)
				return got;
			x->z.next_in = (const uint8_t *)x->packed.buf;
			x->z.avail_in = (size_t)got;
			action = got ? LZMA_RUN : LZMA_FINISH;
		}
		lzma_ret rc = xz.code(&x->z, action);
		if (rc == LZMA_BUF_ERROR)
			return err_new(e, ERR_INPUT, "'%s' is truncated: its xz data end too early", s->name);
		if (rc != LZMA_OK && rc != LZMA_STREAM_END)
			return xz_bad(s, rc, e);
		x->over = rc == LZMA_STREAM_END;
	}
	return (ssize_t)(n - x->z.avail_out);
}

static void xz_free(struct istream *s)
{
	xz.end(&((struct istream_xz *)s)->z);
}

struct istream *istream_xz(struct istream *inner)
{
	static const struct istream_ops ops = {xz_read, xz_free};
	struct istream_xz *x = xcalloc(1, sizeof(*x));
	x->packed.base = (struct istream){.ops = &ops, .inner = inner, .name = inner->name};
	dl_need(&xz_library);
	/* with room for the decoder's own tables beside the window */
	if (xz.stream_decoder(&x->z, (uint64_t)STREAM_WINDOW_MAX + (1 << 20), LZMA_CONCATENATED) != LZMA_OK)
		panic("out of memory");
	return &x->packed.base;
}

/* -- by the name --------------------------------------------------------------------------------------------------- */

struct istream *istream_unpack(struct istream *inner, struct str name)
{
	return str_ends(name, STR(".zst"))   ? istream_zstd(inner)
	       : str_ends(name, STR(".gz"))  ? istream_gz(inner)
	       : str_ends(name, STR(".xz"))  ? istream_xz(inner)
	       : str_ends(name, STR(".bz2")) ? istream_bz2(inner)
					     : inner;
}

/* -- by the first bytes -------------------------------------------------------------------------------------------- */

enum { HEAD_SIZE = 6 };
struct istream_head {
	struct istream base;
	size_t n, at; /* of head */
	char head[HEAD_SIZE];
};

static ssize_t head_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_head *h = (struct istream_head *)s;
	if (h->at == h->n)
		return istream_read(s->inner, p, n, e);
	size_t some = n < h->n - h->at ? n : h->n - h->at;
	memcpy(p, h->head + h->at, some);
	h->at += some;
	return (ssize_t)some;
}

static void head_free(struct istream *s)
{
	(void)s;
}

struct istream *istream_unpack_any(struct istream *inner, struct err *e)
{
	static const struct istream_ops ops = {head_read, head_free};
	struct istream_head *h = xcalloc(1, sizeof(*h));
	h->base = (struct istream){.ops = &ops, .inner = inner, .name = inner->name};
	while (h->n < HEAD_SIZE) {
		ssize_t got = istream_read(inner, h->head + h->n, HEAD_SIZE - h->n, e);
		if (got < 0) {
			istream_free(&h->base);
			return NULL;
		}
		if (got == 0)
			break;
		h->n += (size_t)got;
	}
	struct str head = str_of(h->head, h->n);
	return str_starts(head, STR("\x28\xb5\x2f\xfd")) ? istream_zstd(&h->base)
	       : str_starts(head, STR("\x1f\x8b"))	 ? istream_gz(&h->base)
	       : str_starts(head, STR("\xfd"
				      "7zXZ"))
		       ? istream_xz(&h->base)
	       : str_starts(head, STR("BZh")) ? istream_bz2(&h->base)
					      : &h->base;
}
