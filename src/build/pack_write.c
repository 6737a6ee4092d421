// SPDX-License-Identifier: Apache-2.0
/*
 * Writes package files: entries as tar (POSIX ustar, pax records only where a name or size does not fit), through zstd or
 * bzip2, into a file or a stored member of a ZIP. All of it is a function of the input: no times, owners or names of
 * this machine.
 */
#include <bzlib.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/dl.h"
#include "base/fs.h"
#include "base/sys.h"
#include "build/pack.h"

enum {
	OUT_SIZE = 1 << 17,
	TAR_BLOCK = 512,
	TAR_RECORD = 20 * TAR_BLOCK,
	ZSTD_LEVEL = 19,
	BZ2_LEVEL = 9,
	THREADS_FROM = 16 << 20,
	THREADS_MAX = 16
};
static const int64_t TIME_DEFAULT_S = 315532800; /* 1980-01-01, the oldest time a ZIP can say */

/* == the file ===================================================================================================== */
#define ZLIB(X) X(, crc32_z)
DL_LIBRARY(zlib, "libz.so.1", ZLIB, NULL);

struct sink {
	int fd;
	const char *what;
	uint64_t at;
	uint32_t crc; /* of the ZIP member that is being written */
};

static int sink_write(struct sink *s, const void *p, size_t n, struct err *e)
{
	if (dl_load(&zlib_library, e) < 0 || fs_write_all(s->fd, p, n, s->what, e) < 0)
		return -1;
	s->at += n;
	s->crc = (uint32_t)zlib.crc32_z(s->crc, p, n);
	return 0;
}

/* == compression ================================================================================================== */
#define ZSTD(X)                                                                                                        \
	X(ZSTD_, CCtx_setParameter)                                                                                    \
	X(ZSTD_, compressStream2)                                                                                      \
	X(ZSTD_, createCCtx)                                                                                           \
	X(ZSTD_, freeCCtx)                                                                                             \
	X(ZSTD_, getErrorName)                                                                                         \
	X(ZSTD_, isError)
#define BZ2(X)                                                                                                         \
	X(BZ2_, bzCompress)                                                                                            \
	X(BZ2_, bzCompressEnd)                                                                                         \
	X(BZ2_, bzCompressInit)
DL_LIBRARY(zstd, "libzstd.so.1", ZSTD, NULL);
DL_LIBRARY(bz2, "libbz2.so.1.0", BZ2, NULL);

struct packer {
	struct sink *sink;
	ZSTD_CCtx *zstd;
	bz_stream bz;
	bool is_bz2;
	uint64_t taken; /* bytes put in */
	char out[OUT_SIZE];
};

static void packer_free(struct packer *p)
{
	if (p->zstd)
		zstd.freeCCtx(p->zstd);
	if (p->is_bz2)
		bz2.bzCompressEnd(&p->bz);
	free(p);
}
DEFINE_AUTO(struct packer *, packer, packer_free);

/* Work for several threads is cut by size alone: how many there are does not change what comes out. */
static void use_threads(ZSTD_CCtx *ctx)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	zstd.CCtx_setParameter(ctx, ZSTD_c_nbWorkers, n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (int)n);
}

static struct packer *packer_zstd(struct sink *sink, int level, uint64_t bytes)
{
	struct packer *p = xcalloc(1, sizeof(*p));
	p->sink = sink;
	dl_need(&zstd_library);
	p->zstd = zstd.createCCtx();
	if (!p->zstd)
		panic("out of memory");
	zstd.CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, level ? level : ZSTD_LEVEL);
	zstd.CCtx_setParameter(p->zstd, ZSTD_c_checksumFlag, 1);
	if (bytes >= THREADS_FROM)
		use_threads(p->zstd);
	return p;
}

static struct packer *packer_bz2(struct sink *sink, int level)
{
	struct packer *p = xcalloc(1, sizeof(*p));
	p->sink = sink;
	dl_need(&bz2_library);
	if (bz2.bzCompressInit(&p->bz, level ? level : BZ2_LEVEL, 0, 0) != BZ_OK)
		panic("out of memory");
	p->is_bz2 = true;
	return p;
}

static int bz2_step(struct packer *p, int action, struct err *e)
{
	for (;;) {
		p->bz.next_out = p->out;
		p->bz.avail_out = OUT_SIZE;
		int rc = bz2.bzCompress(&p->bz, action);
		if (sink_write(p->sink, p->out, OUT_SIZE - p->bz.avail_out, e) < 0)
			return -1;
		if (rc == BZ_STREAM_END || (rc == BZ_RUN_OK && p->bz.avail_in == 0))
			return 0;
		if (rc != BZ_RUN_OK && rc != BZ_FINISH_OK)
			return err_new(e, ERR_FAILED, "write '%s': bzip2 error %d", p->sink->what, rc);
	}
}

static int zstd_step(struct packer *p, ZSTD_inBuffer *in, ZSTD_EndDirective action, struct err *e)
{
	for (;;) {
		ZSTD_outBuffer out = {p->out, OUT_SIZE, 0};
		size_t left = zstd.compressStream2(p->zstd, &out, in, action);
		if (zstd.isError(left))
			return err_new(e, ERR_FAILED, "write '%s': zstd: %s", p->sink->what, zstd.getErrorName(left));
		if (sink_write(p->sink, p->out, out.pos, e) < 0)
			return -1;
		if (action == ZSTD_e_end ? left == 0 : in->pos == in->size)
			return 0;
	}
}

static int packer_write(struct packer *p, const void *bytes, size_t n, struct err *e)
{
	p->taken += n;
	if (!p->is_bz2)
		return zstd_step(p, &(ZSTD_inBuffer){bytes, n, 0}, ZSTD_e_continue, e);
	for (const char *at = bytes; n > 0;) {
		unsigned k = n > 1U << 30 ? 1U << 30 : (unsigned)n;
		p->bz.next_in = (char *)(uintptr_t)at;
		p->bz.avail_in = k;
		if (bz2_step(p, BZ_RUN, e) < 0)
			return -1;
		at += k;
		n -= k;
	}
	return 0;
}

static int packer_end(struct packer *p, struct err *e)
{
	return p->is_bz2 ? bz2_step(p, BZ_FINISH, e) : zstd_step(p, &(ZSTD_inBuffer){NULL, 0, 0}, ZSTD_e_end, e);
}

/* == tar ========================================================================================================== */
static const char zero[TAR_RECORD];

static int tar_pad(struct packer *p, size_t unit, struct err *e)
{
	return packer_write(p, zero, (unit - p->taken % unit) % unit, e);
}

static bool is_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* "LENGTH key=value\n", where LENGTH counts itself. */
static void pax_put(struct buf *b, const char *key, struct str value)
{
	size_t rest = 1 + strlen(key) + 1 + value.n + 1, n = rest, digits;
	do {
		digits = (size_t)snprintf(NULL, 0, "%zu", n);
		if (n == rest + digits)
			break;
		n = rest + digits;
	} while (true);
	buf_printf(b, "%zu %s=", n, key);
	buf_put_str(b, value);
	buf_put_char(b, '\n');
}

struct header {
	struct str path, link;
	char type;
	unsigned mode;
	uint64_t size;
	int64_t time_s;
};

/* A path splits at a '/' into at most 155 and 100 bytes. False where it cannot. */
static bool path_fields(char *h, struct str path)
{
	if (path.n <= 100) {
		memcpy(h, path.p, path.n);
		return true;
	}
	for (size_t i = path.n - 101; i < path.n && i <= 155; i++) {
		if (path.p[i] != '/' || i == 0 || i + 1 == path.n)
			continue;
		memcpy(h + 345, path.p, i);
		memcpy(h, path.p + i + 1, path.n - i - 1);
		return true;
	}
	memcpy(h, path.p, 100);
	return false;
}

static bool octal(char *h, size_t width, uint64_t v)
{
	char text[32];
	bool fits = v < (uint64_t)1 << 3 * (width - 1);
	snprintf(text, sizeof(text), "%0*llo", (int)width - 1, fits ? (unsigned long long)v : 0ULL);
	memcpy(h, text, width);
	return fits;
}

/* What the plain header has no room for. */
static void pax_records(struct buf *b, const struct header *hd)
{
	char unused[TAR_BLOCK], text[32];
	if (!path_fields(unused, hd->path) || !is_ascii(hd->path))
		pax_put(b, "path", hd->path);
	if (hd->link.n > 100 || !is_ascii(hd->link))
		pax_put(b, "linkpath", hd->link);
	if (!octal(unused, 12, hd->size)) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)hd->size);
		pax_put(b, "size", str_c(text));
	}
}

static int tar_block(struct packer *p, const struct header *hd, struct err *e)
{
	char h[TAR_BLOCK] = {0};
	unsigned sum = 0;
	path_fields(h, hd->path);
	if (hd->link.n > 0)
		memcpy(h + 157, hd->link.p, hd->link.n < 100 ? hd->link.n : 100);
	octal(h + 100, 8, hd->mode);
	octal(h + 108, 8, 0);
	octal(h + 116, 8, 0);
	octal(h + 124, 12, hd->size);
	octal(h + 136, 12, (uint64_t)hd->time_s);
	h[156] = hd->type;
	memcpy(h + 257, "ustar\00000", 8);
	memset(h + 148, ' ', 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)h[i];
	octal(h + 148, 7, sum);
	return packer_write(p, h, sizeof(h), e);
}

static int tar_header(struct packer *p, const struct header *hd, struct err *e)
{
	auto_buf pax = BUF_INIT(1 << 16);
	pax_records(&pax, hd);
	if (pax.n > 0) {
		struct header x = {.path = STR("pax"), .type = 'x', .mode = 0644, .size = pax.n, .time_s = hd->time_s};
		if (tar_block(p, &x, e) < 0 || packer_write(p, pax.p, pax.n, e) < 0 || tar_pad(p, TAR_BLOCK, e) < 0)
			return -1;
	}
	return tar_block(p, hd, e);
}

static int changed(const struct staged *s, const struct staged_file *f, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s/%s' changed while it was packed; pack again", s->folder, f->path.p);
}

static int tar_content(struct packer *p, const struct staged *s, const struct staged_file *f, struct err *e)
{
	auto_fd fd = openat(s->dirfd, f->path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	auto_free char *piece = xmalloc(OUT_SIZE);
	uint8_t out[DIGEST_MAX];
	uint64_t left = f->size;
	if (fd < 0)
		return err_sys(e, "open '%s/%s'", s->folder, f->path.p);
	for (;;) {
		ssize_t n = read(fd, piece, OUT_SIZE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%s/%s'", s->folder, f->path.p);
		if (n == 0)
			break;
		if ((uint64_t)n > left)
			return changed(s, f, e);
		left -= (uint64_t)n;
		digest_update(d, piece, (size_t)n);
		if (packer_write(p, piece, (size_t)n, e) < 0)
			return -1;
	}
	digest_final(d, out);
	return left > 0 || memcmp(out, f->sha256, SHA256_SIZE) != 0 ? changed(s, f, e) : 0;
}

static int tar_entry(struct packer *p, const struct staged *s, const struct staged_file *f, int64_t time_s,
		     struct err *e)
{
	static const char types[] = {[STAGED_FILE] = '0', [STAGED_LINK] = '2', [STAGED_DIR] = '5'};
	struct header h = {
		.path = f->path,
		.link = f->target,
		.type = types[f->kind],
		.mode = f->kind == STAGED_LINK		   ? 0777
			: f->exec || f->kind == STAGED_DIR ? 0755
							   : 0644,
		.size = f->kind == STAGED_FILE ? f->size : 0,
		.time_s = time_s,
	};
	if (tar_header(p, &h, e) < 0)
		return -1;
	if (f->kind != STAGED_FILE)
		return 0;
	int rc = f->in_memory ? packer_write(p, f->text.p, f->text.n, e) : tar_content(p, s, f, e);
	return rc < 0 ? -1 : tar_pad(p, TAR_BLOCK, e);
}

static void tell(const struct package_target *t, enum progress_kind kind, uint64_t done, uint64_t total)
{
	progress_send(t->progress, (struct progress_event){
					   .kind = kind, .phase = "pack", .id = t->stem, .done = done, .total = total});
}

static int tar_list(struct packer *p, const struct staged *s, const struct staged_vec *list,
		    const struct package_target *t, struct err *e)
{
	uint64_t done = 0;
	vec_foreach(f, list) {
		if (tar_entry(p, s, f, t->time_s, e) < 0)
			return -1;
		done += f->kind == STAGED_FILE ? f->size : 0;
		if (list == &s->pkg)
			tell(t, PROGRESS_UPDATE, done, s->content_bytes);
	}
	return 0;
}

/* Two blocks of zeroes, filled up to a record as every tar does. */
static int tar_end(struct packer *p, struct err *e)
{
	if (packer_write(p, zero, 2 * (size_t)TAR_BLOCK, e) < 0 || tar_pad(p, TAR_RECORD, e) < 0)
		return -1;
	return packer_end(p, e);
}

/* == ZIP ========================================================================================================== */
/*
 * Members are stored, their sizes and digest written into their header once they are known. Numbers of 64 bits stand in
 * an extra field where they may be needed: in the header before the size is known, so by what could come out at most.
 */
enum { MEMBERS = 3, LOCAL_SIZE = 30, CENTRAL_SIZE = 46, END_SIZE = 22, END64_SIZE = 56, LOCATOR_SIZE = 20 };
static const uint64_t SMALL_MAX = 0xf0000000;

struct member {
	char name[300];
	uint64_t header, size;
	uint32_t crc;
	bool zip64;
};
struct zip {
	struct sink *sink;
	struct member m[MEMBERS];
	size_t n;
	bool zip64;
	uint16_t date, time;
};

static void u16(struct buf *b, uint64_t v)
{
	uint16_t x = htole16((uint16_t)v);
	buf_put(b, &x, sizeof(x));
}

static void u32(struct buf *b, uint64_t v)
{
	uint32_t x = htole32((uint32_t)v);
	buf_put(b, &x, sizeof(x));
}

static void u64(struct buf *b, uint64_t v)
{
	uint64_t x = htole64(v);
	buf_put(b, &x, sizeof(x));
}

/* Days and seconds as a ZIP says them, in UTC. */
static void zip_time(struct zip *z, int64_t time_s)
{
	struct tm tm;
	time_t t = (time_t)time_s;
	if (!gmtime_r(&t, &tm) || tm.tm_year < 80 || tm.tm_year > 207)
		tm = (struct tm){.tm_year = 80, .tm_mday = 1};
	z->date = (uint16_t)((tm.tm_year - 80) << 9 | (tm.tm_mon + 1) << 5 | tm.tm_mday);
	z->time = (uint16_t)(tm.tm_hour << 11 | tm.tm_min << 5 | tm.tm_sec / 2);
}

/* What the header and the directory say alike. */
static void member_fields(struct buf *b, const struct zip *z, const struct member *m)
{
	u16(b, m->zip64 ? 45 : 20); /* version needed */
	u16(b, 0);
	u16(b, 0); /* stored */
	u16(b, z->time);
	u16(b, z->date);
	u32(b, m->crc);
	u32(b, m->zip64 ? UINT32_MAX : m->size);
	u32(b, m->zip64 ? UINT32_MAX : m->size);
	u16(b, strlen(m->name));
}

static void local_header(struct buf *b, const struct zip *z, const struct member *m)
{
	u32(b, 0x04034b50);
	member_fields(b, z, m);
	u16(b, m->zip64 ? 20 : 0);
	buf_put_c(b, m->name);
	if (m->zip64) {
		u16(b, 1);
		u16(b, 16);
		u64(b, m->size);
		u64(b, m->size);
	}
}

static void central_header(struct buf *b, const struct zip *z, const struct member *m)
{
	u32(b, 0x02014b50);
	u16(b, 3 << 8 | (m->zip64 ? 45 : 20)); /* made on Unix, so that the mode below counts */
	member_fields(b, z, m);
	u16(b, m->zip64 ? 28 : 0);
	u16(b, 0);
	u16(b, 0);
	u16(b, 0);
	u32(b, 0100644UL << 16);
	u32(b, m->zip64 ? UINT32_MAX : m->header);
	buf_put_c(b, m->name);
	if (m->zip64) {
		u16(b, 1);
		u16(b, 24);
		u64(b, m->size);
		u64(b, m->size);
		u64(b, m->header);
	}
}

static int member_begin(struct zip *z, const char *prefix, const char *stem, const char *suffix, uint64_t size_max,
			struct err *e)
{
	struct member *m = &z->m[z->n++];
	auto_buf b = BUF_INIT(1 << 12);
	snprintf(m->name, sizeof(m->name), "%s%s%s", prefix, stem, suffix);
	m->header = z->sink->at;
	m->zip64 = z->zip64 || size_max > SMALL_MAX || m->header > SMALL_MAX;
	local_header(&b, z, m);
	if (sink_write(z->sink, b.p, b.n, e) < 0)
		return -1;
	z->sink->crc = 0;
	return 0;
}

static int member_end(struct zip *z, struct err *e)
{
	struct member *m = &z->m[z->n - 1];
	auto_buf b = BUF_INIT(1 << 12);
	local_header(&b, z, m);
	m->size = z->sink->at - m->header - b.n;
	m->crc = z->sink->crc;
	buf_clear(&b);
	local_header(&b, z, m);
	ssize_t n = sys_pwrite(z->sink->fd, b.p, b.n, (off_t)m->header);
	if (n < 0)
		return err_sys(e, "write '%s'", z->sink->what);
	if ((size_t)n != b.n) /* within the file: a disk that fails */
		return err_errno(e, EIO, "write '%s'", z->sink->what);
	return 0;
}

static int zip_end(struct zip *z, struct err *e)
{
	auto_buf b = BUF_INIT(1 << 14);
	uint64_t at = z->sink->at;
	bool big = z->zip64 || at > SMALL_MAX;
	for (size_t i = 0; i < z->n; i++)
		central_header(&b, z, &z->m[i]);
	uint64_t size = b.n;
	if (big) {
		u32(&b, 0x06064b50);
		u64(&b, END64_SIZE - 12);
		u16(&b, 3 << 8 | 45);
		u16(&b, 45);
		u32(&b, 0);
		u32(&b, 0);
		u64(&b, z->n);
		u64(&b, z->n);
		u64(&b, size);
		u64(&b, at);
		u32(&b, 0x07064b50);
		u32(&b, 0);
		u64(&b, at + size);
		u32(&b, 1);
	}
	u32(&b, 0x06054b50);
	u16(&b, 0);
	u16(&b, 0);
	u16(&b, z->n);
	u16(&b, z->n);
	u32(&b, size);
	u32(&b, big ? UINT32_MAX : at);
	u16(&b, 0);
	return sink_write(z->sink, b.p, b.n, e);
}

/* == both formats ================================================================================================= */
static int write_inner(struct zip *z, const struct staged *s, const struct staged_vec *list, const char *prefix,
		       const struct package_target *t, struct err *e)
{
	/* what a tar of these is at most: names and their pax records included; zstd adds next to nothing */
	uint64_t max = s->content_bytes + s->content_bytes / 128 + ((list->n + 16) << 14);
	auto_ptr(packer) p = packer_zstd(z->sink, t->level, list == &s->pkg ? s->content_bytes : 0);
	if (member_begin(z, prefix, t->stem, ".tar.zst", max, e) < 0 || tar_list(p, s, list, t, e) < 0 ||
	    tar_end(p, e) < 0)
		return -1;
	return member_end(z, e);
}

/* info comes last, so that who reads from far gets it with the directory. */
static int write_conda(struct sink *sink, const struct staged *s, const struct package_target *t, struct err *e)
{
	static const char metadata[] = "{\"conda_pkg_format_version\": 2}";
	struct zip z = {.sink = sink, .zip64 = t->zip64};
	zip_time(&z, t->time_s);
	if (member_begin(&z, "metadata.json", "", "", sizeof(metadata), e) < 0 ||
	    sink_write(sink, metadata, sizeof(metadata) - 1, e) < 0 || member_end(&z, e) < 0 ||
	    write_inner(&z, s, &s->pkg, "pkg-", t, e) < 0 || write_inner(&z, s, &s->info, "info-", t, e) < 0)
		return -1;
	return zip_end(&z, e);
}

static int write_bz2(struct sink *sink, const struct staged *s, const struct package_target *t, struct err *e)
{
	auto_ptr(packer) p = packer_bz2(sink, t->level);
	/* info first: who wants only that need not unpack the rest */
	if (tar_list(p, s, &s->info, t, e) < 0 || tar_list(p, s, &s->pkg, t, e) < 0)
		return -1;
	return tar_end(p, e);
}

int package_write(const struct staged *s, const struct package_target *target, uint64_t *ret_size,
		  uint8_t ret_sha256[SHA256_SIZE], struct err *e)
{
	struct package_target t = *target;
	struct sink sink = {.fd = t.fd, .what = t.what};
	if (t.time_s < 0)
		t.time_s = TIME_DEFAULT_S;
	tell(&t, PROGRESS_BEGIN, 0, s->content_bytes);
	if ((t.format == PACK_CONDA ? write_conda(&sink, s, &t, e) : write_bz2(&sink, s, &t, e)) < 0)
		return -1;
	tell(&t, PROGRESS_DONE, s->content_bytes, s->content_bytes);
	if (sys_fsync(t.fd) < 0)
		return err_sys(e, "write '%s'", t.what);
	*ret_size = sink.at;
	return lseek(t.fd, 0, SEEK_SET) < 0 ? err_sys(e, "read '%s'", t.what) : sha256_fd(t.fd, ret_sha256, e);
}
