// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * index_format: what stands in an index file (doc/formats/index.md has the drawing). Private to channel/.
 * Numbers have the byte order of the host: the file is a cache of this host, and the magic tells another order apart.
 */
#include <stdint.h>

#include "base/digest.h"

#define INDEX_MAGIC UINT64_C(0x78646e6979617773) /* "swayindx" */

enum {
	INDEX_VERSION = 2,
	INDEX_BLOCK = 4096,	      /* checksums are over these */
	INDEX_SUMS = INDEX_BLOCK / 8, /* checksums in a block of checksums */
	INDEX_ROOTS = 400,	      /* blocks of checksums: files up to 800 MiB */
};
#define INDEX_BYTES_MAX ((uint64_t)INDEX_ROOTS * INDEX_SUMS * INDEX_BLOCK)

enum index_section {
	IX_COLD,      /* struct ix_cold, by slot */
	IX_HOT,	      /* struct ix_hot, by package id */
	IX_NAMES,     /* struct ix_name_entry */
	IX_NAME_HASH, /* uint32_t: name id + 1, or 0; open addressing, a power of two */
	IX_VERSIONS,  /* struct ix_version_entry */
	IX_SPECS,     /* struct ix_spec_entry */
	IX_LISTS,     /* uint32_t: start in IX_WORDS; one more than there are lists */
	IX_WORDS,     /* uint32_t: spec ids */
	IX_STRINGS,   /* LEB128 length and bytes; a string's id is its offset; offset 0 is the empty string */
	IX_REMOVED,   /* uint32_t: strings */
	IX_ODD,	      /* struct ix_odd_entry, by package: file names that do not follow from name, version and build */
	IX_SECTIONS,
};

enum ix_flags {
	IX_TRACK_FEATURES = 1 << 0,
	IX_NOARCH_PYTHON = 1 << 1,
	IX_CONDA = 1 << 2,
	IX_HAS_SHA256 = 1 << 3,
	IX_HAS_MD5 = 1 << 4,
	IX_SUBDIR = 1 << 5, /* the record named the index's own subdir */
	IX_ODD_FILE = 1 << 6,
	IX_V3 = 1 << 7,
	IX_HAS_SIZE = 1 << 8,
	IX_HAS_TIMESTAMP = 1 << 9,
	IX_HAS_INDEXED = 1 << 10,
	IX_SECONDS = 1 << 11, /* the timestamp was published in seconds */
};

struct ix_hot {
	uint32_t name, version;
	uint32_t build; /* string */
	uint32_t build_number;
	uint32_t depends, constrains; /* lists */
	uint32_t extra;		      /* string: other members as JSON text, without braces */
	uint32_t slot;
	uint32_t timestamp_low;
	uint16_t timestamp_high, flags;
};
_Static_assert(sizeof(struct ix_hot) == 40, "packed by hand");

struct ix_cold {
	uint8_t sha256[SHA256_SIZE], md5[MD5_SIZE];
	uint64_t size, indexed_ms;
};
_Static_assert(sizeof(struct ix_cold) == 64, "packed by hand");

enum ix_name_flags {
	IX_WHOLE = 1 << 0,  /* its packages are all here (always, but in an index made from shards) */
	IX_NEEDED = 1 << 1, /* some package depends on it; only while an index is made from shards */
};
struct ix_name_entry {
	uint32_t str, first, count;
	uint32_t whole; /* enum ix_name_flags */
};
struct ix_version_entry {
	uint32_t str, rank; /* rank 0: not a version of the scheme */
};
struct ix_spec_entry {
	uint32_t str, name;
};
struct ix_odd_entry {
	uint32_t package, str;
};

struct ix_section {
	uint64_t at, n; /* offset in bytes, elements */
};
struct ix_header {
	uint64_t magic;
	uint32_t version, header_size;
	uint64_t sum;	/* XXH3 of the header with this field 0 */
	uint64_t bytes; /* of the file */
	uint64_t blocks, sums_at;
	uint64_t hash_seed;					      /* of IX_NAME_HASH */
	uint32_t subdir, base_url, relation_base, relation_overrides; /* strings */
	uint32_t partial, left_out, left_out_first, pad;	      /* left_out_first: a string */
	struct ix_section section[IX_SECTIONS];
	uint64_t root[INDEX_ROOTS]; /* XXH3 of each block of checksums */
};
_Static_assert(sizeof(struct ix_header) <= INDEX_BLOCK, "the header is one block");
