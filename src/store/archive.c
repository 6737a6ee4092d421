// SPDX-License-Identifier: Apache-2.0
/*
 * Reads archives with libarchive, which sees nothing but blocks of tar: decompression is base/stream.h's, the outer ZIP
 * of a .conda is zip.c's, and what may be written where is tree.c's. Sources in a ZIP it reads itself, by their central directory alone: the
 * one that says what an entry is. Loaded at first use.
 */
#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <sys/stat.h>

#include "base/dl.h"
#include "base/zip.h"
#include "store/tree.h"

enum { BLOCK_SIZE = 1 << 17, TRAILER_MAX = 1 << 20 };

#define LIBARCHIVE(X)                                                                                                  \
	X(archive_, read_new)                                                                                          \
	X(archive_, read_support_format_tar)                                                                           \
	X(archive_, read_support_format_zip_seekable)                                                                  \
	X(archive_, read_open)                                                                                         \
	X(archive_, read_open_fd)                                                                                      \
	X(archive_, read_next_header)                                                                                  \
	X(archive_, read_data_block)                                                                                   \
	X(archive_, read_free)                                                                                         \
	X(archive_, error_string)                                                                                      \
	X(archive_entry_, pathname)                                                                                    \
	X(archive_entry_, hardlink)                                                                                    \
	X(archive_entry_, symlink)                                                                                     \
	X(archive_entry_, filetype)                                                                                    \
	X(archive_entry_, perm)                                                                                        \
	X(archive_entry_, mtime)                                                                                       \
	X(archive_entry_, size)

static locale_t la_locale; /* names in pax headers are UTF-8: without it libarchive could not give them back */

static int la_prepare(struct err *e)
{
	(void)e;
	la_locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
	return 0;
}
DL_LIBRARY(la, "libarchive.so.13", LIBARCHIVE, la_prepare);

static void free_archive(struct archive **a)
{
	if (*a)
		la.read_free(*a);
}
#define auto_archive cleanup_with(free_archive) struct archive

static void leave_locale(locale_t *old)
{
	uselocale(*old);
}

struct source {
	struct istream *s; /* of a tar */
	const char *kind;  /* "tar", "ZIP" */
	struct err *e;
	bool failed; /* *e is filled */
	char block[BLOCK_SIZE];
};

static la_ssize_t source_read(struct archive *a, void *ctx, const void **ret)
{
	(void)a;
	struct source *src = ctx;
	*ret = src->block;
	size_t n = 0;
	/* whole blocks: libarchive copies what lies across two of them */
	while (n < BLOCK_SIZE) {
		ssize_t r = istream_read(src->s, src->block + n, BLOCK_SIZE - n, src->e);
		if (r < 0) {
			src->failed = true;
			return -1;
		}
		if (r == 0)
			break;
		n += (size_t)r;
	}
	return (la_ssize_t)n;
}

static int read_failed(struct tree *t, struct source *src, struct archive *a, struct err *e)
{
	if (src->failed)
		return err_ctx(e, "unpack '%s'", t->what);
	const char *text = la.error_string(a);
	return err_new(e, ERR_INPUT, "'%s' is refused: bad %s data: %s", t->what, src->kind,
		       text ? text : "no reason given");
}

static int add_file(struct tree *t, struct source *src, struct archive *a, struct archive_entry *entry,
		    const char *path, struct err *e)
{
	la_int64_t size = la.size(entry);
	cleanup_with(tree_file_release) struct tree_file f;
	if (tree_file_begin(t, path, la.perm(entry) & 0111, size < 0 ? 0 : (uint64_t)size, &f, e) < 0)
		return -1;
	for (;;) {
		const void *p;
		size_t n;
		la_int64_t at;
		int r = la.read_data_block(a, &p, &n, &at);
		if (r == ARCHIVE_EOF)
			break;
		if (r != ARCHIVE_OK)
			return read_failed(t, src, a, e);
		if (at < 0 || (uint64_t)at != f.entry->size)
			return err_new(e, ERR_INPUT, "'%s' is refused: '%s' is a sparse file", t->what,
				       f.entry->path.p);
		if (tree_file_write(&f, p, n, e) < 0)
			return -1;
	}
	return tree_file_end(&f, la.mtime(entry), e);
}

static int add_entry(struct tree *t, struct source *src, struct archive *a, struct archive_entry *entry, struct err *e)
{
	const char *path = la.pathname(entry);
	if (!path)
		return err_new(e, ERR_INPUT, "'%s' is refused: entry %zu has no readable name", t->what,
			       t->entries.n + 1);
	const char *hard = la.hardlink(entry);
	if (hard)
		return tree_add_hard_link(t, path, hard, e);
	const char *target;
	switch (la.filetype(entry)) {
	case AE_IFREG:
		return add_file(t, src, a, entry, path, e);
	case AE_IFDIR:
		return tree_add_dir(t, path, e);
	case AE_IFLNK:
		target = la.symlink(entry);
		return tree_add_link(t, path, target ? target : "", e);
	default:
		return err_new(e, ERR_INPUT, "'%s' is refused: it holds a device, pipe or socket", t->what);
	}
}

/* What follows the end of the archive is padding: read on, so that a damaged end is noticed, but not for ever. */
static int drain(struct tree *t, struct source *src, struct err *e)
{
	size_t total = 0;
	for (;;) {
		ssize_t n = istream_read(src->s, src->block, BLOCK_SIZE, e);
		if (n <= 0)
			return n < 0 ? err_ctx(e, "unpack '%s'", t->what) : 0;
		total += (size_t)n;
		if (total > TRAILER_MAX)
			return err_new(e, ERR_INPUT, "'%s' is refused: more data follow the end of its archive",
				       t->what);
	}
}

static int read_entries(struct tree *t, struct source *src, struct archive *a, struct err *e)
{
	for (;;) {
		struct archive_entry *entry;
		int r = la.read_next_header(a, &entry);
		if (r == ARCHIVE_EOF)
			return src->s ? drain(t, src, e) : 0;
		if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
			return read_failed(t, src, a, e);
		if (add_entry(t, src, a, entry, e) < 0)
			return -1;
	}
}

static int read_tar(struct tree *t, struct source *src, struct err *e)
{
	auto_archive *a = la.read_new();
	if (!a)
		panic("out of memory");
	if (la.read_support_format_tar(a) != ARCHIVE_OK || la.read_open(a, src, NULL, source_read, NULL) != ARCHIVE_OK)
		return read_failed(t, src, a, e);
	return read_entries(t, src, a, e);
}

int tree_add_zip(struct tree *t, int fd, struct err *e)
{
	if (dl_load(&la_library, e) < 0)
		return -1;
	cleanup_with(leave_locale) __attribute__((unused)) locale_t old = uselocale(la_locale);
	struct source *src = &(struct source){.kind = "ZIP", .e = e};
	auto_archive *a = la.read_new();
	if (!a)
		panic("out of memory");
	if (la.read_support_format_zip_seekable(a) != ARCHIVE_OK || la.read_open_fd(a, fd, BLOCK_SIZE) != ARCHIVE_OK)
		return read_failed(t, src, a, e);
	return read_entries(t, src, a, e);
}

/* All a tar of this size and number of entries can need, names and padding included. */
static uint64_t tar_bytes_max(const struct store_limits *l)
{
	uint64_t overhead = l->max_entries > UINT64_MAX / (1 << 14) / 2 ? UINT64_MAX / 2 : (l->max_entries + 64) << 14;
	return l->max_bytes > UINT64_MAX / 2 ? UINT64_MAX : l->max_bytes + overhead;
}

int tree_add_tar(struct tree *t, struct istream *tar, struct err *e)
{
	auto_ptr(istream) s = istream_limit(tar, tar_bytes_max(&t->limits));
	if (dl_load(&la_library, e) < 0)
		return -1;
	cleanup_with(leave_locale) __attribute__((unused)) locale_t old = uselocale(la_locale);
	auto_free struct source *src = xmalloc(sizeof(*src));
	src->s = s;
	src->kind = "tar";
	src->e = e;
	src->failed = false;
	return read_tar(t, src, e);
}

static int add_conda(struct tree *t, int fd, struct err *e)
{
	struct zip_conda z;
	if (zip_conda_find(fd, t->what, &z, e) < 0)
		return -1;
	if (tree_add_tar(t, istream_zstd(istream_range(fd, z.info, t->what)), e) < 0)
		return -1;
	return tree_add_tar(t, istream_zstd(istream_range(fd, z.pkg, t->what)), e);
}

static int add_tar_bz2(struct tree *t, int fd, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat '%s'", t->what);
	struct zip_range all = {.size = (uint64_t)st.st_size};
	return tree_add_tar(t, istream_bz2(istream_range(fd, all, t->what)), e);
}

int tree_add_archive(struct tree *t, int fd, enum store_format format, struct err *e)
{
	char magic[4] = {0};
	if (format == STORE_FORMAT_UNKNOWN) {
		if (pread(fd, magic, sizeof(magic), 0) < 0)
			return err_sys(e, "read '%s'", t->what);
		if (memcmp(magic, "PK\3\4", 4) == 0)
			format = STORE_CONDA;
		else if (memcmp(magic, "BZh", 3) == 0)
			format = STORE_TAR_BZ2;
	}
	switch (format) {
	case STORE_CONDA:
		return add_conda(t, fd, e);
	case STORE_TAR_BZ2:
		return add_tar_bz2(t, fd, e);
	case STORE_FORMAT_UNKNOWN:
		break;
	}
	return err_new(e, ERR_UNSUPPORTED, "'%s' is neither a .conda nor a .tar.bz2 package", t->what);
}
