// SPDX-License-Identifier: Apache-2.0
#include "base/stream.h"

#include <bzlib.h>
#include <errno.h>
#include <zstd.h>

#include "base/dl.h"

enum { IN_SIZE = 1 << 17, ZSTD_WINDOW_LOG_MAX = 27 };

ssize_t istream_read(struct istream *s, void *p, size_t n, struct err *e)
{
	if (s->failed)
		return err_new(e, ERR_FAILED, "read '%s': an earlier read failed", s->name);
	if (n > SSIZE_MAX)
		n = SSIZE_MAX;
	if (n == 0)
		return 0;
	ssize_t r = s->ops->read(s, p, n, e);
	if (r < 0)
		s->failed = true;
	return r;
}

int istream_read_all(struct istream *s, void *p, size_t n, struct err *e)
{
	char *at = p;
	while (n > 0) {
		ssize_t r = istream_read(s, at, n, e);
		if (r < 0)
			return -1;
		if (r == 0) {
			s->failed = true;
			return err_new(e, ERR_INPUT, "'%s' is truncated: %zu more bytes expected", s->name, n);
		}
		at += r;
		n -= (size_t)r;
	}
	return 0;
}

void istream_free(struct istream *s)
{
	while (s) {
		struct istream *inner = s->inner;
		s->ops->free(s);
		free(s);
		s = inner;
	}
}

static void free_nothing(struct istream *s)
{
	(void)s;
}

/* file */

struct istream_file {
	struct istream base;
	int fd;
};

static ssize_t file_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_file *f = (struct istream_file *)s;
	ssize_t r;
	do
		r = read(f->fd, p, n);
	while (r < 0 && errno == EINTR);
	return r < 0 ? err_sys(e, "read '%s'", s->name) : r;
}

static void file_free(struct istream *s)
{
	cleanup_fd(&((struct istream_file *)s)->fd);
}

struct istream *istream_fd(int fd, const char *name)
{
	static const struct istream_ops ops = {file_read, file_free};
	struct istream_file *f = xcalloc(1, sizeof(*f));
	f->base = (struct istream){.ops = &ops, .name = name};
	f->fd = fd;
	return &f->base;
}

/* memory */

struct istream_bytes {
	struct istream base;
	struct str left;
};

static ssize_t mem_read(struct istream *s, void *p, size_t n, struct err *e)
{
	(void)e;
	struct istream_bytes *m = (struct istream_bytes *)s;
	struct str head = str_head(m->left, n);
	if (head.n > 0)
		memcpy(p, head.p, head.n);
	m->left = str_skip(m->left, head.n);
	return (ssize_t)head.n;
}

struct istream *istream_mem(struct str bytes, const char *name)
{
	static const struct istream_ops ops = {mem_read, free_nothing};
	struct istream_bytes *m = xcalloc(1, sizeof(*m));
	m->base = (struct istream){.ops = &ops, .name = name};
	m->left = bytes;
	return &m->base;
}

/* zstd */

#define ZSTD(X)                                                                                                        \
	X(ZSTD_, DCtx_setParameter)                                                                                    \
	X(ZSTD_, createDStream)                                                                                        \
	X(ZSTD_, decompressStream)                                                                                     \
	X(ZSTD_, freeDStream)                                                                                          \
	X(ZSTD_, getErrorName)                                                                                         \
	X(ZSTD_, isError)
DL_LIBRARY(zstd, "libzstd.so.1", ZSTD, NULL);

struct istream_zstd {
	struct istream base;
	ZSTD_DStream *z;
	ZSTD_inBuffer in;
	bool begun;   /* a frame was seen: no frame at all is a truncated file too */
	bool inside;  /* in the middle of a frame */
	bool pending; /* the decoder may hold output that did not fit */
	char buf[IN_SIZE];
};

static ssize_t zstd_refill(struct istream_zstd *z, struct err *e)
{
	ssize_t n = istream_read(z->base.inner, z->buf, sizeof(z->buf), e);
	if (n > 0)
		z->in = (ZSTD_inBuffer){z->buf, (size_t)n, 0};
	if (n == 0 && (z->inside || !z->begun))
		return err_new(e, ERR_INPUT, "'%s' is truncated: its zstd data end inside a frame", z->base.name);
	return n;
}

static ssize_t zstd_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_zstd *z = (struct istream_zstd *)s;
	ZSTD_outBuffer out = {p, n, 0};
	while (out.pos == 0) {
		if (z->in.pos == z->in.size && !z->pending) {
			ssize_t got = zstd_refill(z, e);
			if (got <= 0)
				return got;
		}
		size_t r = zstd.decompressStream(z->z, &out, &z->in);
		if (zstd.isError(r)) {
			/* an oversized window has an error code of its own, but only in the unstable API */
			bool window = strstr(zstd.getErrorName(r), "too much memory") != NULL;
			return err_new(e, window ? ERR_LIMIT : ERR_INPUT, "'%s' holds bad zstd data: %s", s->name,
				       zstd.getErrorName(r));
		}
		z->begun = true;
		z->inside = r != 0;
		z->pending = r != 0 && out.pos == out.size;
	}
	return (ssize_t)out.pos;
}

static void zstd_free(struct istream *s)
{
	zstd.freeDStream(((struct istream_zstd *)s)->z);
}

struct istream *istream_zstd(struct istream *inner)
{
	static const struct istream_ops ops = {zstd_read, zstd_free};
	struct istream_zstd *z = xmalloc(sizeof(*z));
	z->base = (struct istream){.ops = &ops, .inner = inner, .name = inner->name};
	z->in = (ZSTD_inBuffer){z->buf, 0, 0};
	z->begun = z->inside = z->pending = false;
	dl_need(&zstd_library);
	z->z = zstd.createDStream();
	if (!z->z || zstd.isError(zstd.DCtx_setParameter(z->z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
		panic("out of memory");
	return &z->base;
}

/* bzip2 */

#define BZ2(X)                                                                                                         \
	X(BZ2_, bzDecompress)                                                                                          \
	X(BZ2_, bzDecompressEnd)                                                                                       \
	X(BZ2_, bzDecompressInit)
DL_LIBRARY(bz2, "libbz2.so.1.0", BZ2, NULL);

struct istream_bz2 {
	struct istream base;
	bz_stream z;
	bool open;  /* inside a stream: z holds memory */
	bool begun; /* a stream was seen */
	char buf[IN_SIZE];
};

static void bz2_close(struct istream_bz2 *z)
{
	if (z->open)
		bz2.bzDecompressEnd(&z->z);
	z->open = false;
}

static ssize_t bz2_refill(struct istream_bz2 *z, struct err *e)
{
	ssize_t n = istream_read(z->base.inner, z->buf, sizeof(z->buf), e);
	if (n > 0) {
		z->z.next_in = z->buf;
		z->z.avail_in = (unsigned)n;
	}
	if (n == 0 && (z->open || !z->begun))
		return err_new(e, ERR_INPUT, "'%s' is truncated: its bzip2 data end inside a stream", z->base.name);
	return n;
}

static void bz2_open(struct istream_bz2 *z)
{
	bz_stream next = {.next_in = z->z.next_in, .avail_in = z->z.avail_in};
	z->z = next;
	if (bz2.bzDecompressInit(&z->z, 0, 0) != BZ_OK)
		panic("out of memory");
	z->open = z->begun = true;
}

static ssize_t bz2_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_bz2 *z = (struct istream_bz2 *)s;
	unsigned room = n > 1U << 30 ? 1U << 30 : (unsigned)n;
	unsigned left = room;
	bool idle = true; /* the last call neither ate nor gave: it needs input */
	while (left == room) {
		if (z->z.avail_in == 0 && (idle || !z->open)) {
			ssize_t got = bz2_refill(z, e);
			if (got <= 0)
				return got;
		}
		if (!z->open)
			bz2_open(z);
		z->z.next_out = p;
		z->z.avail_out = room;
		unsigned before = z->z.avail_in;
		int r = bz2.bzDecompress(&z->z);
		left = z->z.avail_out;
		idle = z->z.avail_in == before;
		if (r == BZ_STREAM_END)
			bz2_close(z);
		else if (r != BZ_OK)
			return err_new(e, ERR_INPUT, "'%s' holds bad bzip2 data (%s)", s->name,
				       r == BZ_DATA_ERROR_MAGIC ? "no bzip2 header" : "checksum or structure");
	}
	return room - left;
}

static void bz2_free(struct istream *s)
{
	bz2_close((struct istream_bz2 *)s);
}

struct istream *istream_bz2(struct istream *inner)
{
	static const struct istream_ops ops = {bz2_read, bz2_free};
	struct istream_bz2 *z = xcalloc(1, sizeof(*z));
	z->base = (struct istream){.ops = &ops, .inner = inner, .name = inner->name};
	dl_need(&bz2_library); /* now: a reader may be in another root by then */
	return &z->base;
}

/* limit */

struct istream_limit {
	struct istream base;
	uint64_t max_bytes, left;
};

static ssize_t limit_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_limit *l = (struct istream_limit *)s;
	if (l->left == 0) {
		char probe;
		ssize_t r = istream_read(s->inner, &probe, 1, e);
		return r <= 0 ? r
			      : err_new(e, ERR_LIMIT, "'%s' exceeds its limit of %llu bytes", s->name,
					(unsigned long long)l->max_bytes);
	}
	ssize_t r = istream_read(s->inner, p, n > l->left ? (size_t)l->left : n, e);
	if (r > 0)
		l->left -= (uint64_t)r;
	return r;
}

struct istream *istream_limit(struct istream *inner, uint64_t max_bytes)
{
	static const struct istream_ops ops = {limit_read, free_nothing};
	struct istream_limit *l = xcalloc(1, sizeof(*l));
	l->base = (struct istream){.ops = &ops, .inner = inner, .name = inner->name};
	l->max_bytes = l->left = max_bytes;
	return &l->base;
}

/* digest */

struct istream_digest {
	struct istream base;
	struct digest *d;
	uint8_t out[DIGEST_MAX];
	size_t n; /* bytes of out, once it is final */
};

static ssize_t digest_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_digest *d = (struct istream_digest *)s;
	ssize_t r = istream_read(s->inner, p, n, e);
	if (r > 0 && d->n == 0)
		digest_update(d->d, p, (size_t)r);
	return r;
}

static void digest_stream_free(struct istream *s)
{
	digest_free(((struct istream_digest *)s)->d);
}

struct istream *istream_digest(struct istream *inner, enum digest_kind kind)
{
	static const struct istream_ops ops = {digest_read, digest_stream_free};
	struct istream_digest *d = xcalloc(1, sizeof(*d));
	d->base = (struct istream){.ops = &ops, .inner = inner, .name = inner->name};
	d->d = digest_new(kind);
	return &d->base;
}

size_t istream_digest_final(struct istream *s, uint8_t out[DIGEST_MAX])
{
	struct istream_digest *d = (struct istream_digest *)s;
	if (d->n == 0)
		d->n = digest_final(d->d, d->out);
	memcpy(out, d->out, d->n);
	return d->n;
}
