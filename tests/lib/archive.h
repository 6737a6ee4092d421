// SPDX-License-Identifier: Apache-2.0
/*
 * Makes archives in memory, good and bad ones, for tests: tar blocks, zstd and bzip2 around them, and the ZIP of a
 * .conda. Failures here are bugs of the test and abort.
 *
 *	auto_buf tar = BUF_INIT(BUF_MAX);
 *	tar_file(&tar, "bin/x", 0755, "text"); tar_link(&tar, "lib", "lib64"); tar_end(&tar);
 *	conda_put(&out, "x-1-0", &info_tar, &pkg_tar);         or pack_bz2(&out, buf_str(&tar))
 */
#pragma once

#include "base/buf.h"

#include <bzlib.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct tar_member {
	const char *name, *target;
	char type; /* '0' file, '1' hard link, '2' symbolic link, '3' device, '5' folder, '6' pipe, 'x' pax header */
	unsigned mode;
	struct str data;
	uint64_t size; /* what the header says, where it is not data.n */
	long long mtime;
};

static void tar_put(struct buf *b, const struct tar_member *m)
{
	unsigned char h[512] = {0};
	unsigned sum = 8 * ' ';
	uint64_t size = m->size ? m->size : m->data.n;
	snprintf((char *)h, 101, "%s", m->name);
	snprintf((char *)h + 100, 8, "%07o", m->mode & 07777);
	snprintf((char *)h + 108, 8, "%07o", 0U);
	snprintf((char *)h + 116, 8, "%07o", 0U);
	snprintf((char *)h + 124, 12, "%011llo", (unsigned long long)size & 077777777777);
	snprintf((char *)h + 136, 12, "%011llo", (unsigned long long)m->mtime);
	h[156] = (unsigned char)m->type;
	snprintf((char *)h + 157, 101, "%s", m->target ? m->target : "");
	memcpy(h + 257, "ustar\00000", 8);
	for (size_t i = 0; i < sizeof(h); i++)
		sum += i < 148 || i >= 156 ? h[i] : 0;
	snprintf((char *)h + 148, 8, "%06o", sum & 0777777);
	h[155] = ' ';
	buf_put(b, h, sizeof(h));
	buf_put_str(b, m->data);
	static const char zero[512];
	buf_put(b, zero, (512 - m->data.n % 512) % 512);
}

__attribute__((unused)) static void tar_file(struct buf *b, const char *name, unsigned mode, const char *text)
{
	tar_put(b, &(struct tar_member){.name = name, .type = '0', .mode = mode, .data = str_c(text), .mtime = 1000});
}

__attribute__((unused)) static void tar_dir(struct buf *b, const char *name)
{
	tar_put(b, &(struct tar_member){.name = name, .type = '5', .mode = 0755});
}

__attribute__((unused)) static void tar_link(struct buf *b, const char *name, const char *target)
{
	tar_put(b, &(struct tar_member){.name = name, .type = '2', .mode = 0777, .target = target});
}

__attribute__((unused)) static void tar_hard_link(struct buf *b, const char *name, const char *target)
{
	tar_put(b, &(struct tar_member){.name = name, .type = '1', .mode = 0644, .target = target});
}

/* A pax header that gives the next member a path (any bytes, any length). */
__attribute__((unused)) static void tar_pax(struct buf *b, const char *key, struct str value)
{
	auto_buf record = BUF_INIT(BUF_MAX);
	size_t n = strlen(key) + value.n + 3, digits = 1;
	for (size_t d = n + digits; d >= 10; d /= 10)
		digits++;
	if (snprintf(NULL, 0, "%zu", n + digits) != (int)digits)
		digits++;
	buf_printf(&record, "%zu %s=", n + digits, key);
	buf_put_str(&record, value);
	buf_put_c(&record, "\n");
	tar_put(b, &(struct tar_member){.name = "pax", .type = 'x', .mode = 0644, .data = buf_str(&record)});
}

__attribute__((unused)) static void tar_end(struct buf *b)
{
	static const char zero[1024];
	buf_put(b, zero, sizeof(zero));
}

__attribute__((unused)) static void pack_zstd(struct buf *to, struct str from)
{
	size_t room = ZSTD_compressBound(from.n);
	buf_reserve(to, room);
	size_t n = ZSTD_compress(to->p + to->n, room, from.p, from.n, 3);
	if (ZSTD_isError(n))
		abort();
	to->n += n;
	to->p[to->n] = '\0';
}

__attribute__((unused)) static void pack_bz2(struct buf *to, struct str from)
{
	unsigned room = (unsigned)from.n + (unsigned)from.n / 100 + 600;
	buf_reserve(to, room);
	if (BZ2_bzBuffToBuffCompress(to->p + to->n, &room, (char *)(uintptr_t)from.p, (unsigned)from.n, 1, 0, 0) !=
	    BZ_OK)
		abort();
	to->n += room;
	to->p[to->n] = '\0';
}

/* ZIP */

struct zip_writer {
	struct buf out, central;
	unsigned n;
	bool zip64;	 /* sizes and offsets in the extra fields */
	unsigned method; /* what the headers say; the bytes are as given */
};
#define ZIP_WRITER_INIT ((struct zip_writer){BUF_INIT(BUF_MAX), BUF_INIT(BUF_MAX), 0, false, 0})

static void le(struct buf *b, uint64_t v, unsigned bytes)
{
	v = htole64(v);
	buf_put(b, &v, bytes);
}

static void zip_header(struct buf *b, const struct zip_writer *z, const char *name, uint64_t size, bool central,
		       uint64_t at)
{
	le(b, central ? 0x02014b50 : 0x04034b50, 4);
	if (central)
		le(b, 45, 2);
	le(b, 45, 2);
	le(b, 0, 2);
	le(b, z->method, 2);
	le(b, 0, 4);
	le(b, 0, 4); /* nobody reads the checksum: the whole file has a better one */
	le(b, z->zip64 ? UINT32_MAX : size, 4);
	le(b, z->zip64 ? UINT32_MAX : size, 4);
	le(b, strlen(name), 2);
	le(b, z->zip64 ? 20U + (central ? 8U : 0U) : 0, 2);
	if (central) {
		le(b, 0, 2);
		le(b, 0, 2);
		le(b, 0, 2);
		le(b, 0, 4);
		le(b, z->zip64 ? UINT32_MAX : at, 4);
	}
	buf_put_c(b, name);
	if (!z->zip64)
		return;
	le(b, 1, 2);
	le(b, central ? 24 : 16, 2);
	le(b, size, 8);
	le(b, size, 8);
	if (central)
		le(b, at, 8);
}

__attribute__((unused)) static void zip_put(struct zip_writer *z, const char *name, struct str data)
{
	uint64_t at = z->out.n;
	zip_header(&z->out, z, name, data.n, false, at);
	buf_put_str(&z->out, data);
	zip_header(&z->central, z, name, data.n, true, at);
	z->n++;
}

__attribute__((unused)) static void zip_end(struct zip_writer *z)
{
	uint64_t at = z->out.n, size = z->central.n;
	buf_put_str(&z->out, buf_str(&z->central));
	if (z->zip64) {
		uint64_t end64 = z->out.n;
		le(&z->out, 0x06064b50, 4);
		le(&z->out, 44, 8);
		le(&z->out, 45, 2);
		le(&z->out, 45, 2);
		le(&z->out, 0, 4);
		le(&z->out, 0, 4);
		le(&z->out, z->n, 8);
		le(&z->out, z->n, 8);
		le(&z->out, size, 8);
		le(&z->out, at, 8);
		le(&z->out, 0x07064b50, 4);
		le(&z->out, 0, 4);
		le(&z->out, end64, 8);
		le(&z->out, 1, 4);
	}
	le(&z->out, 0x06054b50, 4);
	le(&z->out, 0, 2);
	le(&z->out, 0, 2);
	le(&z->out, z->n, 2);
	le(&z->out, z->n, 2);
	le(&z->out, z->zip64 ? UINT32_MAX : size, 4);
	le(&z->out, z->zip64 ? UINT32_MAX : at, 4);
	le(&z->out, 0, 2);
}

__attribute__((unused)) static void zip_release(struct zip_writer *z)
{
	buf_release(&z->out);
	buf_release(&z->central);
}
#define auto_zip cleanup_with(zip_release) struct zip_writer

/* A .conda of two tars, appended to `to`. */
__attribute__((unused)) static void conda_put(struct buf *to, const char *stem, struct str info_tar, struct str pkg_tar)
{
	auto_zip z = ZIP_WRITER_INIT;
	auto_buf info = BUF_INIT(BUF_MAX);
	auto_buf pkg = BUF_INIT(BUF_MAX);
	char name[256];
	pack_zstd(&info, info_tar);
	pack_zstd(&pkg, pkg_tar);
	zip_put(&z, "metadata.json", STR("{\"conda_pkg_format_version\": 2}"));
	snprintf(name, sizeof(name), "pkg-%s.tar.zst", stem);
	zip_put(&z, name, buf_str(&pkg));
	snprintf(name, sizeof(name), "info-%s.tar.zst", stem);
	zip_put(&z, name, buf_str(&info));
	zip_end(&z);
	buf_put_str(to, buf_str(&z.out));
}
