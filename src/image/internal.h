// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * The parts of image. Private to image/.
 *
 *	names.c      names: one form, their files, which is near
 *	images.c     DIR/image/: found, listed, written, removed
 *	import.c     a source, its layers one after the other, a name
 *	source.c     what a file or folder is; members of archives
 *	oci.c        index, manifest, configuration as data
 *	unpack.c     one archive into a root, inside of it
 *	debian.c     mmdebstrap and its sources
 *	pack.c       a tree as tar
 *	export.c     a layer as tar or OCI archive
 */
#include "base/digest.h"
#include "base/map.h"
#include "base/tar.h"
#include "base/vec.h"
#include "image/image.h"

/* -- names.c ----------------------------------------------------------------------------------------------------- */
struct image_ref {
	struct str name;   /* in its one form, without digest; may be "" where there is a digest */
	struct str digest; /* "sha256:…"; NONE */
};
int image_ref_parse(struct str text, struct arena *a, struct image_ref *ret, struct err *e);
/* The file of a name in DIR/image/, and back (NONE where it is none). */
struct str image_file_of(struct str name, struct arena *a);
struct str image_name_of(struct str file, struct arena *a);
/* "sha256:" and 64 digits */
bool image_digest_parse(struct str s, uint8_t ret[SHA256_SIZE]);
struct str image_digest_str(const uint8_t sha256[SHA256_SIZE], struct arena *a);

/* -- oci.c ------------------------------------------------------------------------------------------------------- */
enum oci_kind { OCI_UNKNOWN, OCI_INDEX, OCI_MANIFEST };
struct oci_descriptor {
	struct str media_type, digest; /* digest: "sha256:…" */
	uint64_t size;
	struct str ref_name;   /* org.opencontainers.image.ref.name: a tag, or a whole name */
	struct str image_name; /* io.containerd.image.name */
	struct str os, arch, variant;
	bool attestation; /* of BuildKit: no image */
};
struct oci_document {
	enum oci_kind kind;
	struct oci_descriptor *manifests; /* of an index */
	size_t n_manifests;
	struct oci_descriptor config, *layers; /* of a manifest */
	size_t n_layers;
};
struct oci_config {
	struct image_config config;
	uint8_t (*diff_ids)[SHA256_SIZE];
	size_t n_diff_ids;
};
/* manifest.json of `docker save` */
struct oci_saved {
	struct str config;
	struct str *layers, *tags;
	size_t n_layers, n_tags;
};
/* Everything lives in a. `where` names the document in messages. */
int oci_parse_document(struct str text, const char *where, struct arena *a, struct oci_document *ret, struct err *e);
int oci_parse_config(struct str text, const char *where, struct arena *a, struct oci_config *ret, struct err *e);
int oci_parse_saved(struct str text, const char *where, struct arena *a, struct oci_saved **ret, size_t *n,
		    struct err *e);
/* "linux/arm64/v8"; NONE: this machine. */
int oci_platform(struct str text, struct arena *a, struct image_config *ret, struct err *e);
/* Those of a document that can be meant by tag and platform. Where there are several, or none: a message that lists them. */
int oci_choose(const struct oci_document *d, const char *where, struct str tag, const struct image_config *platform,
	       const struct oci_descriptor **ret, struct err *e);

/* -- source.c ---------------------------------------------------------------------------------------------------- */
enum source_kind { SOURCE_TAR, SOURCE_FOLDER, SOURCE_OCI, SOURCE_SAVED };
struct source {
	enum source_kind kind;
	const char *what; /* for messages */
	int fd;		  /* a file, or a folder */
	struct arena a;
	struct map members; /* of an archive: name → number + 1 */
	VEC(struct member) member;
};
struct member {
	uint64_t offset, size;
	struct str link; /* where it leads, in its one form; NONE: a file */
};
/* Opens and looks at it. What is no seekable file, or a packed archive of an image, is copied into a file without a name in dirfd. */
int source_open(struct source *s, const char *path, int dirfd, struct err *e);
void source_release(struct source *s);
/* A file in it: *ret_fd lives until source_release where own is false. */
struct part {
	int fd;
	bool own;
	uint64_t offset, size;
};
int source_part(struct source *s, struct str name, struct part *ret, struct err *e);
void part_release(struct part *p);
#define auto_part cleanup_with(part_release) struct part
/* All of it, at most IMAGE_JSON_MAX; verified where digest is there. */
int source_read(struct source *s, struct str name, const char *digest, struct arena *a, struct str *ret, struct err *e);
/* An empty file without a name in dirfd. */
int spool_open(int dirfd, struct err *e);
/* The same on a file system that makes no files without a name: the name goes at once. */
int spool_named(int dirfd, struct err *e);

/* -- unpack.c ---------------------------------------------------------------------------------------------------- */
struct unpack_limits {
	uint64_t bytes, entries;
	uint32_t path, depth;
};
#define UNPACK_LIMITS ((struct unpack_limits){(uint64_t)64 << 30, 2000000, 4095, 128})
struct unpack {
	const char *what; /* "layer 2 of 'x.tar'" */
	struct part part;
	bool is_layer;		    /* of an OCI image: names beginning with .wh. take something away */
	const uint8_t *blob, *diff; /* SHA-256 of the part, and of what it holds unpacked; NULL: not known */
	struct unpack_limits limits;
};
struct unpack_result {
	uint64_t entries, bytes, devices; /* devices: that were left out */
};
/* Into the root, inside of it. */
int unpack_into(const struct sandbox_root *root, const struct unpack *u, struct unpack_result *ret, struct err *e);
/* The same where this process is: for its tests, and what unpack_into calls. `s` is the tar. */
int unpack_stream(const struct unpack *u, struct istream *s, int root_fd, struct unpack_result *ret, struct err *e);

/* Capabilities of programs, and what people set. Other extended attributes belong to the machine where a tree was made. */
bool image_keeps_xattr(struct str name);

/* -- pack.c ------------------------------------------------------------------------------------------------------ */
struct pack_tree {
	int64_t epoch_s; /* -1: none */
	bool one_owner;	 /* what belongs to this user is root's */
	bool one_device; /* what is mounted in it is left out */
	const char *what;
};
int pack_tree(int root_fd, const struct pack_tree *o, struct tar_writer *w, struct err *e);

/* -- debian.c ---------------------------------------------------------------------------------------------------- */
/* Runs mmdebstrap; its tar goes to fd. */
int debian_make(const struct image_import *o, int fd, struct err *e);
/* What of the machine's own apt sources is the suite's: text in apt's one-line form; "" where there is nothing. */
void debian_sources(struct str text, bool deb822, const char *suite, struct buf *ret, struct buf *ret_mirror);
