// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * rpm_repo: the metadata of an RPM repository (repomd) read: repomd.xml, and the packages of the files that it names. Text is
 * in the arena, or in the call alone where a function is called.
 */
#include "channel/rpm_xml.h"

#define RPM_REPOMD "repodata/repomd.xml"
#define RPM_SIGNATURE RPM_REPOMD ".asc"
#define RPM_KEY RPM_REPOMD ".key"
enum { RPM_REPOMD_MAX = 4 << 20, RPM_SIGNATURE_MAX = 1 << 20, RPM_DATA_MAX = 256 };
#define RPM_OPEN_MAX ((uint64_t)8 << 30) /* bytes of an unpacked file of metadata */

/* What a path can be; nothing that begins with '.' is anything. */
enum channel_file rpm_file(struct str path);

/* A file that repomd.xml names. */
struct rpm_data {
	struct str type, path;
	struct str url; /* where it is when that is elsewhere (xml:base), else STR_NONE */
	struct str raw; /* its element */
	struct digest_value digest;
	struct str unknown; /* the kind of a digest that is not known here */
	uint64_t size;
	int64_t time_s;
	bool packed; /* rpm_data_open is to give its bytes as they are */
};
struct rpm_repomd {
	uint64_t revision;
	struct str tags; /* its element, or STR_NONE */
	struct rpm_data *data;
	size_t n;
	bool is_signed; /* there is a signature beside it */
};
/* Reads repomd.xml of a tree, and has its signature be by a key of the keyring (NULL: any). 1; 0: there is none. */
int rpm_repomd_read(int folder_fd, const char *keyring, struct arena *a, struct rpm_repomd *ret, struct err *e);
const struct rpm_data *rpm_repomd_find(const struct rpm_repomd *r, const char *type);

/* Opens a file that repomd.xml names, when its size and digest are the told ones: unpacked, at most RPM_OPEN_MAX bytes. The
 * data must outlive the stream. */
int rpm_data_open(int folder_fd, const struct rpm_data *d, struct istream **ret, struct err *e);

/* A package of primary. */
struct rpm_package {
	struct str name, arch, epoch, version, release;
	struct str pkgid; /* its digest as it is written */
	struct digest_value digest;
	uint64_t size;
	int64_t mtime_s, built_s;
	struct str path, url; /* as in rpm_data */
	struct str raw;
};
typedef int rpm_package_fn(void *ctx, const struct rpm_package *p, struct err *e);
/* `namespaces`, unless NULL, gets the declarations of the root (" xmlns:x=\"…\"") that its records may need, but for xmlns:rpm,
 * which all of them have. */
int rpm_primary_read(struct istream *in, struct buf *namespaces, rpm_package_fn *fn, void *ctx, struct err *e);

/* What filelists or other (`root` is their element's name) say of a package. */
typedef int rpm_list_fn(void *ctx, struct str pkgid, struct str raw, struct err *e);
int rpm_list_read(struct istream *in, const char *root, struct buf *namespaces, rpm_list_fn *fn, void *ctx,
		  struct err *e);
