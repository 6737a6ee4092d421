// SPDX-License-Identifier: Apache-2.0
#include "channel/rpm_write.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/compress.h"
#include "base/fs.h"

/* as createrepo_c packs: more takes several times as long and makes files hardly smaller (doc/decisions/0064-rpm.md) */
enum { GZIP_LEVEL = 6, PIECE = 1 << 16 };

static const struct {
	const char *type, *root, *namespaces;
} files_of[RPM_FILES] = {
	[RPM_PRIMARY] =
		{"primary", "metadata",
		 " xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\""},
	[RPM_FILELISTS] = {"filelists", "filelists", " xmlns=\"http://linux.duke.edu/metadata/filelists\""},
	[RPM_OTHER] = {"other", "otherdata", " xmlns=\"http://linux.duke.edu/metadata/other\""},
};

const char *rpm_file_type(enum rpm_file f)
{
	return files_of[f].type;
}

const char *rpm_file_root(enum rpm_file f)
{
	return files_of[f].root;
}

struct rpm_writer {
	struct staging *t;
	size_t number; /* of the staged file */
	int fd;
	struct compress *z;
	struct digest *open, *packed;
	uint64_t open_n, packed_n;
	struct buf piece;
};

static int take_packed(void *ctx, const void *p, size_t n, struct err *e)
{
	struct rpm_writer *w = ctx;
	digest_update(w->packed, p, n);
	w->packed_n += n;
	return fs_write_all(w->fd, p, n, "repodata", e);
}

struct rpm_writer *rpm_writer_new(struct staging *t, bool packed, struct err *e)
{
	struct rpm_writer *w = xcalloc(1, sizeof(*w));
	w->t = t;
	w->fd = staging_begin(t, &w->number, e);
	if (w->fd < 0) {
		free(w);
		return NULL;
	}
	w->open = digest_new(DIGEST_SHA256);
	w->packed = digest_new(DIGEST_SHA256);
	w->piece = BUF_INIT(BUF_MAX);
	w->z = compress_new(packed ? COMPRESS_GZIP : COMPRESS_NONE, GZIP_LEVEL, take_packed, w);
	return w;
}

static int put_piece(struct rpm_writer *w, struct err *e)
{
	digest_update(w->open, w->piece.p, w->piece.n);
	w->open_n += w->piece.n;
	if (compress_put(w->z, w->piece.p, w->piece.n, e) < 0)
		return -1;
	buf_clear(&w->piece);
	return 0;
}

int rpm_writer_put(struct rpm_writer *w, struct str s, struct err *e)
{
	buf_put_str(&w->piece, s);
	return w->piece.n < PIECE ? 0 : put_piece(w, e);
}

static void hex_of(struct digest *d, char hex[SHA256_HEX_SIZE])
{
	uint8_t out[DIGEST_MAX];
	hex_encode(out, digest_final(d, out), hex);
}

int rpm_writer_end(struct rpm_writer *w, const char *ending, const char *path, struct rpm_written *ret, struct err *e)
{
	if (put_piece(w, e) < 0 || compress_end(w->z, e) < 0)
		return -1;
	fs_write_behind(w->fd);
	*ret = (struct rpm_written){.known = true, .size = w->packed_n, .open_size = w->open_n};
	hex_of(w->open, ret->open_sha256);
	hex_of(w->packed, ret->sha256);
	if (!path)
		snprintf(ret->path, sizeof(ret->path), "repodata/%s-%s", ret->sha256, ending);
	return staging_name(w->t, w->number, path ? path : ret->path, e);
}

void rpm_writer_free(struct rpm_writer *w)
{
	if (!w)
		return;
	compress_free(w->z);
	digest_free(w->open);
	digest_free(w->packed);
	buf_release(&w->piece);
	cleanup_fd(&w->fd);
	free(w);
}

/* -- text ---------------------------------------------------------------------------------------------------------- */

struct str rpm_head(struct arena *a, enum rpm_file f, struct str namespaces, size_t packages)
{
	return str_c(arena_printf(a, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%s%s%.*s packages=\"%zu\">\n",
				  files_of[f].root, files_of[f].namespaces, (int)namespaces.n,
				  namespaces.n ? namespaces.p : "", packages));
}

struct str rpm_tail(struct arena *a, enum rpm_file f)
{
	return str_c(arena_printf(a, "</%s>\n", files_of[f].root));
}

void rpm_data_write(struct buf *b, const char *type, const struct rpm_written *f, int64_t now_s)
{
	buf_printf(b, "  <data type=\"%s\">\n", type);
	buf_printf(b, "    <checksum type=\"sha256\">%s</checksum>\n", f->sha256);
	buf_printf(b, "    <open-checksum type=\"sha256\">%s</open-checksum>\n", f->open_sha256);
	buf_printf(b, "    <location href=\"%s\"/>\n", f->path);
	buf_printf(b, "    <timestamp>%" PRId64 "</timestamp>\n", now_s);
	buf_printf(b, "    <size>%" PRIu64 "</size>\n", f->size);
	buf_printf(b, "    <open-size>%" PRIu64 "</open-size>\n  </data>\n", f->open_size);
}

void rpm_repomd_write(struct buf *b, uint64_t revision, struct str tags, const struct rpm_written *files, int64_t now_s,
		      const struct rpm_data *const *carried, size_t n)
{
	buf_put_c(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		     "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" "
		     "xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n");
	buf_printf(b, "  <revision>%" PRIu64 "</revision>\n", revision);
	if (tags.n)
		buf_printf(b, "  %.*s\n", (int)tags.n, tags.p);
	for (int f = 0; f < RPM_FILES; f++)
		if (files[f].known)
			rpm_data_write(b, files_of[f].type, &files[f], now_s);
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "  %.*s\n", (int)carried[i]->raw.n, carried[i]->raw.p);
	buf_put_c(b, "</repomd>\n");
}
