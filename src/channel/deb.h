// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * deb: what a Debian archive is made of (doc/formats/deb.md). Private to channel/.
 *
 *	deb_stanza.c	stanzas of "Field: value" lines, read as a stream
 *	deb_release.c	Release: what it tells and names, and the files it names in a folder
 *	kind_deb.c	which file is what; a walk over an upstream
 */
#include "base/map.h"
#include "base/vec.h"
#include "channel/kind.h"

/* == stanzas ====================================================================================================== */
enum { DEB_STANZA_MAX = 4 << 20, DEB_RELEASE_MAX = 64 << 20 };

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
