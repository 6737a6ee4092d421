// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam: what following and changing an opam repository needs to know of it (doc/formats/opam.md). Private to channel/.
 *
 * Of an opam file where its archives lie and by which digests they are known, and a few fields of its top; formulas are cut out, and
 * read by pkg (pkg_opam_formula_of) where somebody solves.
 */
#include "base/arena.h"
#include "base/map.h"
#include "channel/channel.h"

/* -- opam files ---------------------------------------------------------------------------------------------------- */

enum { OPAM_INDEX_MAX = 1 << 29, OPAM_FILE_MAX = 4 << 20, OPAM_CHECKSUMS_MAX = 8, OPAM_SOURCES_MAX = 256 };
/* url { } or extra-source "FILE" { } */
struct opam_source {
	struct str src;
	struct digest_value checksum[OPAM_CHECKSUMS_MAX]; /* as listed; those that are known here: md5, sha256, sha512 */
	size_t checksums;
};
struct opam_file {
	struct str name, version; /* fields, often absent */
	const struct opam_source *source;
	size_t sources;
	bool has_flags; /* a field flags: its value is text[flags_at …flags_end) */
	size_t flags_at, flags_end;
	bool has_mirrors; /* archive-mirrors (in a file `repo`) names "cache" */
};
/* Views are of the text or the arena. ERR_INPUT with line and column; what could be read is there all the same. */
int opam_file_read(struct arena *a, struct str text, const char *where, struct opam_file *ret, struct err *e);

/* The strongest of a source's checksums; NULL: nobody can cache it. */
const struct digest_value *opam_best(const struct opam_source *s);
/* "cache/sha256/ab/abcd…" */
struct str opam_cache_path(struct arena *a, const struct digest_value *d);

/* -- repositories -------------------------------------------------------------------------------------------------- */

/* A file of a package: its opam file, or one below files/. */
struct opam_entry {
	struct str path, text; /* path: "packages/NAME/NAME.VERSION/opam" */
	size_t turn;	       /* as it came */
};
struct opam_package {
	struct str name, version;
	struct str folder;		/* "packages/NAME/NAME.VERSION" */
	const struct opam_entry *entry; /* sorted by path */
	size_t n;
	const struct opam_entry *opam;
};
struct opam_repo {
	struct str repo;		    /* the file `repo` */
	const struct opam_package *package; /* sorted by folder */
	size_t n;
};
/* By index.tar.gz, or else by what lies in packages/: 1; 0: neither is there. */
int opam_repo_load(int dir, struct arena *a, struct opam_repo *ret, struct err *e);
/* The same for entries from anywhere, in any order; of a path that comes twice the last counts. */
int opam_repo_of(struct arena *a, struct opam_entry *v, size_t n, struct opam_repo *ret, struct err *e);
/* index.tar.gz: the same entries give the same bytes. */
int opam_repo_pack(const struct opam_repo *r, struct buf *ret, struct err *e);

/* The file `repo` with archive-mirrors "cache": clients ask this repository for archives before they go to where opam files say. The
 * same text where it has them; STR_NONE with *e. */
struct str opam_repo_with_mirrors(struct arena *a, struct str repo, struct err *e);

/* Tells an archive under each of the names that it has in a cache, but what is told already. */
int opam_tell_source(const struct opam_package *p, const struct opam_source *s, bool in_cache, struct arena *a,
		     struct map *told, channel_item_fn *fn, void *ctx, struct err *e);
/* An archive as an item of a walk; false where it cannot be fetched or cached. */
bool opam_item(struct arena *a, const struct opam_package *p, const struct opam_source *s, struct channel_item *ret);

/* (kind_opam.c's rows) */
int opam_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		 struct progress *p, struct err *e);
int opam_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		 const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e);
int opam_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
		const struct channel_make_opts *o, struct err *e);
