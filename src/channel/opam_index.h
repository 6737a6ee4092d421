// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_index: what stands in the index of an opam repository (doc/formats/opam-index.md has the drawing), and how one is made.
 * Private to channel/. Numbers have the byte order of the host: the file is a cache of this host.
 */
#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/stream.h"
#include "base/vec.h"
#include "channel/channel.h"

#define OPAM_INDEX_MAGIC UINT64_C(0x6d61706f79617773) /* "swayopam" */

enum {
	OPAM_INDEX_VERSION = 2,
	OPAM_TEXT_BLOCK = 64 << 10, /* texts are packed together until they are so many bytes */
	OPAM_TEXT_MAX = 4 << 20,
	OPAM_PACKAGES_MAX = 1 << 20,
	OPAM_FOLDERS_MAX = 1 << 20,
	OPAM_TEXTS_BYTES_MAX = 1 << 29, /* of all texts of a repository */
	OPAM_INDEX_BYTES_MAX = 1 << 29,
	OPAM_CODE_MAX = 1 << 20, /* of one formula */
	OPAM_FOLDER_DEPTH = 8,	 /* packages/a/b/… */
};

enum oif_section {
	OIF_NAMES,    /* struct oif_name, by name */
	OIF_PACKAGES, /* struct oif_package, by package id */
	OIF_LISTS,    /* uint32_t: how many, and that many strings; 0: an empty one */
	OIF_CODE,     /* formulas; offset 0 is none */
	OIF_STRINGS,  /* LEB128 length and bytes; a string's id is its offset; offset 0 is the empty string */
	OIF_PROBLEMS, /* struct oif_problem */
	OIF_BLOCKS,   /* struct oif_block */
	OIF_STAMPS,   /* struct oif_stamp, by package id */
	OIF_FOLDERS,  /* struct oif_folder, by path; those of a tar have no stamp */
	OIF_SECTIONS,
};

struct oif_name {
	uint32_t str, first, count;
};
enum oif_flags {
	OIF_URL = 1 << 16,    /* beside enum pkg_opam_flag */
	OIF_BROKEN = 1 << 17, /* cannot be used; a problem says why */
	OIF_MESSAGES = 1 << 18,
};
struct oif_package {
	uint32_t key;		       /* string: "NAME.VERSION" */
	uint32_t name;		       /* name id */
	uint32_t folder;	       /* in which "NAME.VERSION" lies */
	uint32_t flags;		       /* enum oif_flags, enum pkg_opam_flag */
	uint32_t formula[OI_FORMULAS]; /* offsets in CODE */
	uint32_t depexts;	       /* offset in CODE */
	uint32_t list[OI_LISTS];       /* places in LISTS */
	uint32_t block, at, size;      /* its text: bytes [at, at + size) of the unpacked block */
};
_Static_assert(sizeof(struct oif_package) == 56, "packed by hand");
/* What tells whether the file is still the same: of a folder's the first two, of a tar's the sum. */
struct oif_stamp {
	int64_t ctime_ns; /* 0: to be read again in any case */
	uint64_t ino;
	uint64_t sum[2]; /* XXH3-128 of the text, with the seed */
};
struct oif_folder {
	uint32_t path;	 /* string: "packages/NAME" */
	uint32_t parent; /* folder; its own number: it has none */
	int64_t ctime_ns;
	uint64_t ino;
};
struct oif_block {
	uint64_t at; /* in the file of texts */
	uint32_t packed, plain;
	uint64_t sum; /* XXH3 of the packed bytes, with the seed */
};
struct oif_problem {
	uint32_t package; /* UINT32_MAX: of none */
	uint32_t text;	  /* string */
};

struct oif_range {
	uint64_t at, n, sum; /* offset in bytes, elements, XXH3 with the seed */
};
struct oif_header {
	uint64_t magic;
	uint32_t version, header_size;
	uint64_t sum; /* XXH3 of the header with this field 0 */
	uint64_t bytes;
	uint64_t seed;	      /* of all sums, so that nobody can choose a text that passes for another */
	uint64_t texts_id;    /* names the file of texts, and stands at its beginning */
	uint64_t texts_bytes; /* so much of it counts */
	uint64_t texts_first; /* what it was when it was made from nothing */
	uint32_t repo;	      /* string: the text of the repository's file `repo` */
	uint32_t broken;      /* packages */
	struct oif_range section[OIF_SECTIONS];
};

/* -- the file of texts ---------------------------------------------------------------------------------------------- */

struct oif_texts_header {
	uint64_t magic, id;
};
#define OPAM_TEXTS_MAGIC UINT64_C(0x747874796177736f)

/* "opam.0123456789abcdef.texts", which goes with "opam.full.idx". */
struct oif_texts_name {
	char s[64];
};
struct oif_texts_name oif_texts_name(uint64_t id);
/* Texts into blocks, blocks to the end of a file. */
struct oif_texts {
	int fd; /* owned */
	uint64_t at, seed;
	struct buf plain, packed;
	VEC(struct oif_block) block; /* those that are done; the one in work has the next number */
};
int oif_texts_put(struct oif_texts *t, struct str text, uint32_t *block, uint32_t *at, struct err *e);
int oif_texts_end(struct oif_texts *t, struct err *e);
void oif_texts_release(struct oif_texts *t);
#define auto_oif_texts cleanup_with(oif_texts_release) struct oif_texts

/* -- the reader's inside --------------------------------------------------------------------------------------------- */

struct opam_index {
	const char *map;
	size_t bytes;
	const struct oif_header *h;
	char *path;
	struct str memory;	 /* map is this, on the heap, or mapped */
	const struct str *texts; /* of an index in memory, by package id; else NULL */
	struct str *own_texts;	 /* the same, where they are the index's */
	int texts_fd;
	uint32_t checked; /* a bit a section */
	bool damaged;
	/* the block that was unpacked last */
	uint32_t block;
	struct buf plain;
};
/* n elements of a section from number `first`; NULL where they are not there or the section is damaged. */
const void *oif_at(const struct opam_index *ix, enum oif_section s, uint64_t first, uint64_t n);
struct str oif_string(const struct opam_index *ix, uint32_t id);
void oif_damaged(const struct opam_index *ix);
/* The code at an offset; empty where there is none. */
struct str oif_code(const struct opam_index *ix, uint32_t offset);
/* Takes the image over. `texts` outlive it. */
int oif_open_memory(struct buf *image, const struct str *texts, struct opam_index **ret, struct err *e);

/* -- code ------------------------------------------------------------------------------------------------------------- */

/* Strings become ids by `string`, which says -1 with *e where there are too many. */
struct oif_coder {
	int (*string)(void *ctx, struct str s, uint32_t *ret, struct err *e);
	void *ctx;
	struct buf *to;
};
int oif_code_expr(const struct oif_coder *c, const struct pkg_opam_expr *x, struct err *e);
int oif_code_lines(const struct oif_coder *c, struct pkg_opam_lines l, struct err *e);
/* Whether a package of one of these ids is spoken of. */
bool oif_code_names(struct str code, const uint32_t *id, size_t n);
/* The ids of those keys that the index has as strings; at most max. */
size_t oif_string_ids(const struct opam_index *ix, const struct map *keys, uint32_t *ret, size_t max);
/* The same code with the ids of another index. */
int oif_code_move(const struct oif_coder *c, const struct opam_index *from, struct str code, struct err *e);

/* -- making ----------------------------------------------------------------------------------------------------------- */

/* An opam file of the new index: its text, or the package of the old one that it still is. */
struct oif_input {
	struct str name, version, text;
	uint32_t old; /* UINT32_MAX: its text counts */
	uint32_t folder;
	struct oif_stamp stamp;
};
struct oif_input_folder {
	struct str path;
	uint32_t parent;
	int64_t ctime_ns;
	uint64_t ino;
};
struct oif_inputs {
	VEC(struct oif_input) file;
	VEC(struct oif_input_folder) folder; /* by path */
	VEC(struct str) problem;	     /* what was left out */
	struct str repo;
	uint64_t seed;	    /* of the sums in the stamps; where there is an index of before, its seed; 0: any */
	struct arena arena; /* of the strings */
};
void oif_sum(struct str text, uint64_t seed, uint64_t ret[2]);
void oif_inputs_release(struct oif_inputs *in);
#define auto_oif_inputs cleanup_with(oif_inputs_release) struct oif_inputs

/*
 * Makes the index of the inputs, which are sorted here. `old` is what they were held against, or NULL. The same files give the same bytes, but for
 * where texts lie, whatever there was before. Into a folder: *.idx by rename, its texts behind those of the old one where there is room.
 */
int oif_make(struct oif_inputs *in, const struct opam_index *old, int dirfd, const char *path, struct err *e);
/* Into memory, with texts that are the inputs' (none is `old`). */
int oif_make_memory(struct oif_inputs *in, struct opam_index **ret, struct err *e);

/* -- what it is made of ----------------------------------------------------------------------------------------------- */

/*
 * The inputs of a repository as it is now, held against `old` (or NULL): 1: not as in old; 0: nothing is to be done. What has changed is in
 * the inputs with its text. A file that is gone or replaced meanwhile is what it was when it was looked at.
 *
 * Of a folder with packages/: files whose time, inode and size are the same are not read; `now_ns` is the time of the file system.
 */
int oif_scan(int dir, const struct opam_index *old, int64_t now_ns, struct oif_inputs *in, struct err *e);
/* Of a tar, unpacked or not. */
int oif_read_tar(struct istream *tar, const struct opam_index *old, struct oif_inputs *in, struct err *e);
