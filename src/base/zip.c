// SPDX-License-Identifier: Apache-2.0
#include "base/zip.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/dl.h"

enum {
	END_SIZE = 22,
	LOCATOR_SIZE = 20,
	END64_SIZE = 56,
	CENTRAL_SIZE = 46,
	LOCAL_SIZE = 30,
	DIRECTORY_MAX = 1 << 16, /* bytes; three members need some 300 */
	MEMBERS_MAX = 64,
	FIND_DIRECTORY_MAX = 32 << 20,
	FIND_MEMBERS_MAX = 200000,
	METHOD_STORED = 0,
	METHOD_DEFLATED = 8,
};
static const uint32_t END_MAGIC = 0x06054b50, LOCATOR_MAGIC = 0x07064b50, END64_MAGIC = 0x06064b50,
		      CENTRAL_MAGIC = 0x02014b50, LOCAL_MAGIC = 0x04034b50;

static uint16_t u16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static uint32_t u32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t u64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

struct zip {
	int fd;
	const char *what, *form; /* form: ".conda file" */
	uint64_t size;		 /* of the file */
	uint64_t central, end;	 /* the central directory lies in [central, end) */
	uint64_t entries;
};

struct member {
	struct str name;
	uint64_t header; /* offset of the local header */
	uint64_t size, packed_size;
	uint16_t flags, method;
};

static int bad(const struct zip *z, uint64_t offset, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s' is not a good %s: offset %llu: %s", z->what, z->form,
		       (unsigned long long)offset, why);
}

static int read_at(const struct zip *z, uint64_t offset, void *p, size_t n, struct err *e)
{
	char *to = p;
	if (offset > z->size || n > z->size - offset)
		return bad(z, offset, "a record lies outside the file", e);
	while (n > 0) {
		ssize_t r = pread(z->fd, to, n, (off_t)offset);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_sys(e, "read '%s'", z->what);
		if (r == 0)
			return bad(z, offset, "the file became shorter while it was read", e);
		to += r;
		offset += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

/* The zip64 form of the end record, where its locator stands right before the plain one. 1 found, 0 none. */
static int find_end64(struct zip *z, uint64_t end, struct err *e)
{
	uint8_t locator[LOCATOR_SIZE], rec[END64_SIZE];
	if (end < LOCATOR_SIZE + END64_SIZE)
		return 0;
	if (read_at(z, end - LOCATOR_SIZE, locator, sizeof(locator), e) < 0)
		return -1;
	if (u32(locator) != LOCATOR_MAGIC)
		return 0;
	uint64_t at = u64(locator + 8);
	if (u32(locator + 4) != 0 || u32(locator + 16) != 1)
		return bad(z, end - LOCATOR_SIZE, "it spans several volumes", e);
	if (read_at(z, at, rec, sizeof(rec), e) < 0)
		return -1;
	if (u32(rec) != END64_MAGIC || u64(rec + 4) < END64_SIZE - 12 || u64(rec + 4) > end ||
	    at + 12 + u64(rec + 4) != end - LOCATOR_SIZE)
		return bad(z, at, "its zip64 end record is malformed", e);
	if (u32(rec + 16) != 0 || u32(rec + 20) != 0 || u64(rec + 24) != u64(rec + 32))
		return bad(z, at, "it spans several volumes", e);
	z->entries = u64(rec + 32);
	z->central = u64(rec + 48);
	z->end = at;
	if (u64(rec + 40) > at || z->central != at - u64(rec + 40))
		return bad(z, at, "there are bytes between its directory and its end record", e);
	return 1;
}

static int find_end(struct zip *z, struct err *e)
{
	uint8_t rec[END_SIZE];
	if (z->size < END_SIZE)
		return bad(z, 0, "it is too short for a ZIP", e);
	uint64_t at = z->size - END_SIZE;
	if (read_at(z, at, rec, sizeof(rec), e) < 0)
		return -1;
	if (u32(rec) != END_MAGIC || u16(rec + 20) != 0)
		return bad(z, at, "no ZIP end record there: it is truncated, or bytes were added behind it", e);
	int r = find_end64(z, at, e);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (u16(rec + 4) != 0 || u16(rec + 6) != 0 || u16(rec + 8) != u16(rec + 10))
		return bad(z, at, "it spans several volumes", e);
	z->entries = u16(rec + 10);
	z->central = u32(rec + 16);
	z->end = at;
	if (u32(rec + 12) > at || z->central != at - u32(rec + 12))
		return bad(z, at, "there are bytes between its directory and its end record", e);
	return 0;
}

/* Fields that do not fit 32 bits stand in the zip64 extra field, in this order, only those that do not fit. */
static int read_extra64(const struct zip *z, struct member *m, struct str extra, struct err *e)
{
	bool size64 = m->size == UINT32_MAX, csize64 = m->packed_size == UINT32_MAX, header64 = m->header == UINT32_MAX;
	while (extra.n >= 4 && (size64 || csize64 || header64)) {
		const uint8_t *p = (const uint8_t *)extra.p;
		size_t n = u16(p + 2);
		if (n > extra.n - 4)
			break;
		if (u16(p) == 1) {
			size_t need = 8U * ((unsigned)size64 + (unsigned)csize64 + (unsigned)header64);
			if (n < need)
				break;
			const uint8_t *f = p + 4;
			if (size64)
				m->size = u64(f), f += 8;
			if (csize64)
				m->packed_size = u64(f), f += 8;
			if (header64)
				m->header = u64(f);
			size64 = csize64 = header64 = false;
		}
		extra = str_skip(extra, 4 + n);
	}
	if (size64 || csize64 || header64)
		return bad(z, z->central, "a zip64 field is missing in its directory", e);
	if (m->method == METHOD_STORED && m->packed_size != m->size)
		return bad(z, z->central, "a stored member has two different sizes", e);
	return 0;
}

/* Takes one record from the front of the directory. */
static int take_member(const struct zip *z, struct str *dir, struct member *m, struct err *e)
{
	const uint8_t *p = (const uint8_t *)dir->p;
	uint64_t at = z->end - dir->n;
	if (dir->n < CENTRAL_SIZE || u32(p) != CENTRAL_MAGIC)
		return bad(z, at, "its directory is malformed", e);
	size_t name_n = u16(p + 28), extra_n = u16(p + 30), comment_n = u16(p + 32);
	if (name_n + extra_n + comment_n > dir->n - CENTRAL_SIZE)
		return bad(z, at, "its directory is cut off", e);
	*m = (struct member){
		.name = str_of(dir->p + CENTRAL_SIZE, name_n),
		.header = u32(p + 42),
		.size = u32(p + 24),
		.packed_size = u32(p + 20),
		.flags = u16(p + 8),
		.method = u16(p + 10),
	};
	struct str extra = str_of(dir->p + CENTRAL_SIZE + name_n, extra_n);
	*dir = str_skip(*dir, CENTRAL_SIZE + name_n + extra_n + comment_n);
	return read_extra64(z, m, extra, e);
}

/* Where the member's bytes lie, after its local header is found to agree with the directory. */
static int locate(const struct zip *z, const struct member *m, struct zip_range *ret, struct err *e)
{
	enum { FLAG_ENCRYPTED = 1 << 0, FLAG_SIZES_LATER = 1 << 3 };
	uint8_t head[LOCAL_SIZE];
	char name[256];
	if (m->method != METHOD_STORED && m->method != METHOD_DEFLATED)
		return bad(z, m->header, "a member that is needed is neither stored nor deflated", e);
	if (m->flags & FLAG_ENCRYPTED)
		return bad(z, m->header, "a member that is needed is encrypted", e);
	if (m->name.n > sizeof(name))
		return bad(z, m->header, "the name of a member that is needed is too long", e);
	if (read_at(z, m->header, head, sizeof(head), e) < 0)
		return -1;
	uint32_t size = u32(head + 18);
	bool agrees = size == m->packed_size || size == UINT32_MAX || (u16(head + 6) & FLAG_SIZES_LATER && size == 0);
	if (u32(head) != LOCAL_MAGIC || u16(head + 8) != m->method || u16(head + 26) != m->name.n || !agrees)
		return bad(z, m->header, "a member's header contradicts the directory", e);
	if (read_at(z, m->header + LOCAL_SIZE, name, m->name.n, e) < 0)
		return -1;
	if (memcmp(name, m->name.p, m->name.n) != 0)
		return bad(z, m->header, "a member's name contradicts the directory", e);
	ret->offset = m->header + LOCAL_SIZE + m->name.n + u16(head + 28);
	ret->size = m->packed_size;
	ret->deflated = m->method == METHOD_DEFLATED;
	if (ret->offset > z->central || ret->size > z->central - ret->offset)
		return bad(z, m->header, "a member reaches into the directory", e);
	return 0;
}

static bool overlap(struct zip_range a, struct zip_range b)
{
	return a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

static int read_directory(const struct zip *z, struct str dir, struct zip_conda *ret, struct err *e)
{
	struct member m[MEMBERS_MAX];
	int info = 0, pkg = 0;
	for (uint64_t i = 0; i < z->entries; i++) {
		if (take_member(z, &dir, &m[i], e) < 0)
			return -1;
		for (uint64_t k = 0; k < i; k++)
			if (str_eq(m[k].name, m[i].name))
				return bad(z, z->central, "a name comes twice", e);
		struct str name = str_skip(m[i].name, (size_t)(str_rfind(m[i].name, '/') + 1));
		if (!str_ends(name, STR(".tar.zst")))
			continue;
		if (str_starts(name, STR("info-")) && ++info && locate(z, &m[i], &ret->info, e) < 0)
			return -1;
		if (str_starts(name, STR("pkg-")) && ++pkg && locate(z, &m[i], &ret->pkg, e) < 0)
			return -1;
	}
	if (dir.n != 0)
		return bad(z, z->end - dir.n, "its directory holds more than it says", e);
	if (info != 1 || pkg != 1)
		return bad(z, z->central, "it must hold one info-*.tar.zst and one pkg-*.tar.zst", e);
	if (overlap(ret->info, ret->pkg))
		return bad(z, ret->pkg.offset, "its members overlap", e);
	return 0;
}

int zip_conda_find(int fd, const char *what, struct zip_conda *ret, struct err *e)
{
	struct stat st;
	struct zip z = {.fd = fd, .what = what, .form = ".conda file"};
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat '%s'", what);
	z.size = (uint64_t)st.st_size;
	if (find_end(&z, e) < 0)
		return -1;
	uint64_t n = z.end - z.central;
	if (n > DIRECTORY_MAX || z.entries > MEMBERS_MAX)
		return err_new(e, ERR_LIMIT, "'%s' is not a good .conda file: it holds more than %d members", what,
			       MEMBERS_MAX);
	auto_free char *dir = xmalloc(n + 1);
	if (read_at(&z, z.central, dir, n, e) < 0)
		return -1;
	return read_directory(&z, str_of(dir, n), ret, e);
}

int zip_find(int fd, const char *what, struct str pattern, struct zip_range *ret, struct err *e)
{
	struct stat st;
	struct zip z = {.fd = fd, .what = what, .form = "ZIP"};
	struct member found = {0};
	bool any = false;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat '%s'", what);
	z.size = (uint64_t)st.st_size;
	if (find_end(&z, e) < 0)
		return -1;
	uint64_t n = z.end - z.central;
	if (n > FIND_DIRECTORY_MAX || z.entries > FIND_MEMBERS_MAX)
		return err_new(e, ERR_LIMIT, "'%s' holds more than %d members", what, FIND_MEMBERS_MAX);
	auto_free char *bytes = xmalloc(n + 1);
	if (read_at(&z, z.central, bytes, n, e) < 0)
		return -1;
	struct str dir = str_of(bytes, n);
	for (uint64_t i = 0; i < z.entries; i++) {
		struct member m;
		if (take_member(&z, &dir, &m, e) < 0)
			return -1;
		if (!str_glob_path(pattern, m.name))
			continue;
		if (any)
			return bad(&z, z.central, "what is looked for is there twice", e);
		any = true;
		found = m;
	}
	if (dir.n != 0)
		return bad(&z, z.end - dir.n, "its directory holds more than it says", e);
	return any && locate(&z, &found, ret, e) < 0 ? -1 : any;
}

struct istream_range {
	struct istream base;
	int fd;
	struct zip_range left;
};

static ssize_t range_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_range *r = (struct istream_range *)s;
	if (n > r->left.size)
		n = (size_t)r->left.size;
	if (n == 0)
		return 0;
	ssize_t got;
	do
		got = pread(r->fd, p, n, (off_t)r->left.offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_sys(e, "read '%s'", s->name);
	if (got == 0)
		return err_new(e, ERR_INPUT, "'%s' is truncated", s->name);
	r->left.offset += (uint64_t)got;
	r->left.size -= (uint64_t)got;
	return got;
}

static void range_free(struct istream *s)
{
	(void)s;
}

static struct istream *range_open(int fd, struct zip_range range, const char *name)
{
	static const struct istream_ops ops = {range_read, range_free};
	struct istream_range *r = xcalloc(1, sizeof(*r));
	r->base = (struct istream){.ops = &ops, .name = name};
	r->fd = fd;
	r->left = range;
	return &r->base;
}

#define ZLIB(X)                                                                                                        \
	X(, inflate)                                                                                                   \
	X(, inflateEnd)                                                                                                \
	X(, inflateInit2_)
DL_LIBRARY(zlib, "libz.so.1", ZLIB, NULL);

struct istream_inflate {
	struct istream base;
	z_stream z;
	bool ended;
	uint8_t buf[1 << 16];
};

static ssize_t inflate_read(struct istream *s, void *p, size_t n, struct err *e)
{
	struct istream_inflate *f = (struct istream_inflate *)s;
	uInt room = n > 1U << 30 ? 1U << 30 : (uInt)n;
	f->z.next_out = p;
	f->z.avail_out = room;
	while (!f->ended && f->z.avail_out == room) {
		if (f->z.avail_in == 0) {
			ssize_t got = istream_read(s->inner, f->buf, sizeof(f->buf), e);
			if (got <= 0)
				return got < 0 ? -1 : err_new(e, ERR_INPUT, "'%s' is truncated", s->name);
			f->z.next_in = f->buf;
			f->z.avail_in = (uInt)got;
		}
		int r = zlib.inflate(&f->z, Z_NO_FLUSH);
		if (r == Z_STREAM_END)
			f->ended = true;
		else if (r != Z_OK)
			return err_new(e, ERR_INPUT, "'%s' holds bad deflate data", s->name);
	}
	return room - f->z.avail_out;
}

static void inflate_free(struct istream *s)
{
	zlib.inflateEnd(&((struct istream_inflate *)s)->z);
}

struct istream *istream_range(int fd, struct zip_range range, const char *name)
{
	static const struct istream_ops ops = {inflate_read, inflate_free};
	struct istream *inner = range_open(fd, range, name);
	if (!range.deflated)
		return inner;
	struct istream_inflate *f = xcalloc(1, sizeof(*f));
	f->base = (struct istream){.ops = &ops, .inner = inner, .name = name};
	dl_need(&zlib_library);
	if (zlib.inflateInit2_(&f->z, -MAX_WBITS, ZLIB_VERSION, sizeof(f->z)) != Z_OK)
		panic("out of memory");
	return &f->base;
}
