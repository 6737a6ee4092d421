// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * deb: what a Debian archive is made of (doc/formats/deb.md). Private to channel/.
 *
 *	deb_stanza.c	stanzas of "Field: value" lines, read as a stream
 *	deb_release.c	Release: what it tells and names, and the files it names in a folder
 *	deb_file.c	a .deb: what it says of itself
 *	deb_source.c	a .dsc and its files
 *	deb_index.c	an index and a Release, written
 *	deb_make.c	publishing, removing, a part of another archive
 *	deb_needs.c	what packages need
 *	kind_deb.c	which file is what; a walk over an upstream
 */
#include <time.h>

#include "base/map.h"
#include "base/vec.h"
#include "channel/kind.h"
#include "channel/staging.h"

struct openpgp;

/* == stanzas ====================================================================================================== */
enum { DEB_STANZA_MAX = 4 << 20, DEB_RELEASE_MAX = 64 << 20 };
#define DEB_INDEX_MAX ((uint64_t)4 << 30) /* bytes of an unpacked index of which no Release tells the size */

/* Reads one stanza after the other; memory is that of the largest. */
struct deb_reader {
	struct istream *in; /* the caller's */
	struct buf window;
	size_t at;	/* where the next stanza begins */
	size_t scanned; /* up to where no end was found */
	bool ended;
};
void deb_reader_init(struct deb_reader *r, struct istream *in);
void deb_reader_release(struct deb_reader *r);
#define auto_deb_reader cleanup_with(deb_reader_release) struct deb_reader
/* 1 with a stanza, its last line whole ("\n" at its end), good until the next call; 0 at the end. ERR_LIMIT where one is larger
 * than DEB_STANZA_MAX. */
int deb_next(struct deb_reader *r, struct str *ret, struct err *e);

struct deb_field {
	struct str name, value; /* value: trimmed, continuation lines with it */
	struct str lines;	/* all of it, with "\n" */
};
/* Fields in the order in which they stand; a line that is none is passed over. */
bool deb_take_field(struct str *stanza, struct deb_field *ret);
bool deb_name_eq(struct str a, struct str b); /* names of fields, of either case */
/* The values of n fields at once; STR_NONE where it has none. The first of several counts. */
void deb_fields(struct str stanza, const char *const *names, struct str *ret, size_t n);
struct str deb_value(struct str stanza, const char *name);
/* "Sat, 11 Jul 2026 10:16:37 UTC" */
bool deb_date_parse(struct str s, int64_t *ret_wall_ms);
void deb_date_put(struct buf *b, int64_t wall_ms);

/* == Release ====================================================================================================== */
struct deb_entry {
	struct str path; /* below the suite's folder */
	uint64_t size;
	struct digest_value digest; /* SHA-512 where it is told, else SHA-256 */
};
struct deb_release {
	struct str text; /* what was signed */
	struct deb_entry *entry;
	size_t n;
	struct map by_path;	     /* → place + 1 */
	bool by_hash, signed_in_one; /* Acquire-By-Hash; read from InRelease */
};
void deb_release_release(struct deb_release *r);
#define auto_deb_release cleanup_with(deb_release_release) struct deb_release
/* Views are into text, which must outlive it. */
int deb_release_parse(struct arena *a, struct str text, const char *what, struct deb_release *ret, struct err *e);
/* Reads DIR/InRelease, else DIR/Release with Release.gpg, and checks them by the keyring where there is one. `dir` ends in '/'
 * or is "". 1; 0 where there is neither. */
int deb_release_read(int root_fd, const char *dir, const char *keyring, struct arena *a, struct deb_release *ret,
		     struct err *e);
const struct deb_entry *deb_release_find(const struct deb_release *r, struct str path);
/* "main/binary-amd64/by-hash/SHA256/…", in the arena. */
char *deb_by_hash(struct arena *a, const struct deb_entry *entry);

/* The index of that name ("main/binary-amd64/Packages"), in whatever packing is there, under its own name or by-hash, verified,
 * as a stream of plain text. 1; 0 where Release names none. ERR_NOT_FOUND: none of those that it names is there. */
int deb_index_open(int root_fd, const char *dir, const struct deb_release *r, struct str base, struct istream **ret,
		   struct err *e);
extern const char *const deb_packings[]; /* "", ".zst", … in the order in which they are preferred; the last is NULL */

/* == a walk ======================================================================================================= */
struct deb_suite {
	struct str name;
	const char *dir; /* "dists/bookworm/" */
	struct deb_release release;
	struct str *base; /* indexes that are wanted: "main/binary-amd64/Packages" */
	size_t n;
};
struct deb_walk {
	struct channel_walk base;
	int fd;
	enum { DEB_POINTERS, DEB_INDEXES, DEB_PACKAGES, DEB_END } stage;
	struct channel_walk_opts o;
	struct arena arena;
	struct deb_suite *suite;
	size_t n;
};
int deb_walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e);
void deb_walk_free(struct channel_walk *w);
/* Reads and checks each Release, chooses and tells its indexes. */
int deb_walk_indexes(struct deb_walk *w, channel_item_fn *fn, void *ctx, struct err *e);
/* What one stanza of an index tells of. */
int deb_tell_stanza(struct deb_walk *w, const struct deb_suite *s, struct str base, struct str stanza,
		    channel_item_fn *fn, void *ctx, struct err *e);

/* == a .deb ======================================================================================================= */
struct deb_file {
	const char *path;
	struct arena arena;
	struct str name, version, platform, source;
	struct str control; /* its fields, each line whole, without those that an index adds */
	uint64_t size;
	struct timespec mtime;
	uint8_t sha256[SHA256_SIZE]; /* by deb_file_hash */
};
int deb_file_read(struct deb_file *f, struct err *e); /* path is set */
int deb_file_hash(struct deb_file *f, struct err *e);
void deb_file_release(struct deb_file *f);

/* == making ======================================================================================================= */
struct deb_addition { /* to an index */
	struct str name, version, platform, filename;
	struct str stanza; /* without the empty line behind it */
};
struct deb_made { /* a suite that is being made */
	struct staging *t;
	struct arena *a;
	const struct channel_make_opts *o;
	struct openpgp *signer;
	int64_t now_ms;
	struct str suite;
	const char *dir; /* "dists/SUITE/" */
	bool had;
	struct deb_release old;	  /* what stands there, where it had one */
	struct deb_release *from; /* whose fields the new one takes */
	VEC(struct deb_entry) entry;
	struct map by_path; /* → place + 1 */
	bool changed;
};
/* Reads what stands there; its entries are taken over, unless it is to be made anew. */
int deb_made_open(struct deb_made *m, bool anew, struct err *e);
void deb_made_release(struct deb_made *m);
/* 1: the stanza stays, 0: it goes. v: Package, Version, Architecture, Filename. */
typedef int deb_keep_fn(void *ctx, struct str stanza, const struct str v[4], struct err *e);
/* Writes an index in all its packings: what is kept of `in` (NULL: nothing), and the additions, which are sorted
 * (deb_addition_cmp) and take the place of the same version of the same package. */
int deb_made_index(struct deb_made *m, struct str base, struct istream *in, deb_keep_fn *keep, void *ctx,
		   const struct deb_addition *add, size_t n, struct err *e);
int deb_addition_cmp(const void *a, const void *b);
/* A small file that Release names. */
int deb_made_text(struct deb_made *m, const char *path, struct str text, struct err *e);
/* Stages Release and its signatures, last, and drops what no generation names that is kept. `force`: though nothing changed. */
int deb_made_finish(struct deb_made *m, bool force, struct err *e);
/* "main/binary-amd64/Packages" apart. */
bool deb_base_split(struct str path, struct str *component, struct str *platform);

/* Source packages: files are .dsc, and what they name lies beside them; into the suite's index of a component. */
int deb_publish_sources(struct deb_made *m, struct str component, const char *const *files, size_t n, struct err *e);
/* Of a stanza of Sources, the path of its .dsc in the tree; STR_NONE where it names none. */
struct str deb_source_path(struct arena *a, struct str stanza);
bool deb_is_sources(struct str base); /* "main/source/Sources" */

int deb_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		struct progress *progress, struct err *e);
int deb_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
	       const struct channel_make_opts *o, struct err *e);
int deb_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e);
