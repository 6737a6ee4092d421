// SPDX-License-Identifier: Apache-2.0
/*
 * An .rpm file. Whatever is read as one, its records are XML that clients can read: one package in each of the three, of
 * the name that the header has, with the location that it was given.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "channel/rpm_make.h"
#include "channel/rpm_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HREF "Packages/a&b<c>\".rpm"
#define PKGID "0000000000000000000000000000000000000000000000000000000000000001"

struct seen {
	const struct rpm_id *id;
	unsigned n;
};

static int see_package(void *ctx, const struct rpm_package *p, struct err *e)
{
	struct seen *s = ctx;
	(void)e;
	if (!str_eq(p->name, s->id->name) || !str_eq(p->version, s->id->version) ||
	    !str_eq(p->release, s->id->release) || !str_eq_c(p->path, HREF) || !str_eq_c(p->pkgid, PKGID))
		panic("another package is read: '%.*s'", STR_ARG(p->raw));
	s->n++;
	return 0;
}

static int see_record(void *ctx, struct str pkgid, struct str raw, struct err *e)
{
	struct seen *s = ctx;
	(void)raw, (void)e;
	if (!str_eq_c(pkgid, PKGID))
		panic("another digest is read");
	s->n++;
	return 0;
}

static void read_back(enum rpm_file file, const struct buf *record, const struct rpm_id *id)
{
	struct err e = ERR_INIT;
	struct seen s = {id, 0};
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_str(&b, rpm_head(&a, file, STR_NONE, 1));
	buf_put_str(&b, buf_str(record));
	buf_put_str(&b, rpm_tail(&a, file));
	auto_ptr(istream) in = istream_mem(buf_str(&b), "record");
	int rc = file == RPM_PRIMARY ? rpm_primary_read(in, NULL, see_package, &s, &e)
				     : rpm_list_read(in, rpm_file_root(file), NULL, see_record, &s, &e);
	if (rc < 0 || s.n != 1)
		panic("%u packages, %s: '%s'", s.n, e.msg, b.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct err e = ERR_INIT;
	auto_arena a = ARENA_INIT;
	struct rpm_header h = {0};
	struct rpm_id id;
	struct rpm_texts texts = {BUF_INIT(16 << 20), BUF_INIT(16 << 20), BUF_INIT(16 << 20)};
	static const struct rpm_facts facts = {
		.sha256_hex = {PKGID, sizeof(PKGID) - 1}, .href = {HREF, sizeof(HREF) - 1}, .size = 1, .mtime_s = 1};
	if (fd < 0)
		fd = memfd_create("package", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		panic("no memory");
	int rc = rpm_header_read(fd, "x.rpm", &a, &h, &e) < 0 || rpm_id_read(&h, "x.rpm", &id, &e) < 0 ||
				 rpm_record_write(&h, &id, &facts, "x.rpm", &texts, &e) < 0
			 ? -1
			 : 0;
	if (rc < 0 && !e.msg[0])
		panic("no reason");
	if (rc == 0) {
		read_back(RPM_PRIMARY, &texts.primary, &id);
		read_back(RPM_FILELISTS, &texts.filelists, &id);
		read_back(RPM_OTHER, &texts.other, &id);
	}
	buf_release(&texts.primary);
	buf_release(&texts.filelists);
	buf_release(&texts.other);
	return 0;
}
