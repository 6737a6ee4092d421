// SPDX-License-Identifier: Apache-2.0
#pragma once
/* rpm_write: files of metadata, packed and digested while they are written, and the repomd.xml that names them. */
#include "channel/rpm_repo.h"
#include "channel/staging.h"

/* primary, filelists and other, in the order in which repomd.xml names them. */
enum rpm_file { RPM_PRIMARY, RPM_FILELISTS, RPM_OTHER, RPM_FILES };
const char *rpm_file_type(enum rpm_file f); /* "primary", as repomd.xml says */
const char *rpm_file_root(enum rpm_file f); /* "metadata", the element */

struct rpm_written {
	bool known;
	char sha256[SHA256_HEX_SIZE], open_sha256[SHA256_HEX_SIZE];
	uint64_t size, open_size;
	char path[128];
};
/* Bytes that are staged as they come: `packed`: with gzip, which every client reads. */
struct rpm_writer;
struct rpm_writer *rpm_writer_new(struct staging *t, bool packed, struct err *e);
int rpm_writer_put(struct rpm_writer *w, struct str s, struct err *e);
/* It is staged as repodata/DIGEST-ENDING, or as `path` where there is one. */
int rpm_writer_end(struct rpm_writer *w, const char *ending, const char *path, struct rpm_written *ret, struct err *e);
void rpm_writer_free(struct rpm_writer *w);
DEFINE_AUTO(struct rpm_writer *, rpm_writer, rpm_writer_free);

struct str rpm_head(struct arena *a, enum rpm_file f, struct str namespaces, size_t packages);
struct str rpm_tail(struct arena *a, enum rpm_file f);

/* The element of a file. */
void rpm_data_write(struct buf *b, const char *type, const struct rpm_written *f, int64_t now_s);
/* The whole repomd.xml: new files, and elements of others as they are (`carried`). */
void rpm_repomd_write(struct buf *b, uint64_t revision, struct str tags, const struct rpm_written *files, int64_t now_s,
		      const struct rpm_data *const *carried, size_t n);

/* Removes the folder of before. */
int rpm_swap_clean(struct staging *t, struct err *e);
/* repomd.xml and its signature in place at once, when all that they name is in place. */
int rpm_swap(struct staging *t, struct str repomd, struct str signature, struct err *e);
