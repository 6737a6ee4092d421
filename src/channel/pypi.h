// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pypi: pages of a Python package index, in and out, and what file names say. Private to channel/ (doc/formats/pypi.md).
 *
 * A page is read from HTML (PEP 503, as tolerantly as pip does) or JSON (PEP 691), whichever the text is, into the same struct, and
 * written as both. Views point into the arena; `json` keeps members that are not known here.
 */
#include "base/arena.h"
#include "base/json.h"
#include "channel/channel.h"

enum { PYPI_PAGE_MAX = 64 << 20, PYPI_INDEX_MAX = 256 << 20 };
#define PYPI_JSON "index.v1_json"
#define PYPI_HTML "index.html"

struct pypi_hash {
	struct str kind, hex; /* "sha256" */
};
struct pypi_file {
	struct str filename, url; /* url: as the page has it, without fragment */
	const struct pypi_hash *hash;
	size_t hash_n;
	struct str requires_python; /* STR_NONE: not told */
	bool has_metadata, yanked;
	struct pypi_hash metadata; /* kind "": there is one, of no told digest */
	struct str yank_reason;
	bool has_size;
	uint64_t size;
	struct str upload_time;
	enum { PYPI_SIG_UNTOLD, PYPI_SIG_NO, PYPI_SIG_YES } gpg_sig;
	struct str provenance; /* a URL */
	const struct json *json;
	/* of the file name: */
	struct str version, platform;
	const struct pep440 *order; /* NULL: no version, or none of PEP 440 */
};
struct pypi_page {
	struct str name; /* normal form */
	const struct pypi_file *file;
	size_t n, left_out; /* left_out: entries that no client would look at */
	const struct json *top;
	int64_t minor; /* of the version 1.MINOR that the page says */
};

/* PEP 503: lower case, runs of "-_." one '-'. What else is in there stays. */
struct str pypi_normal(struct arena *a, struct str name);
/* True where it is a normal form that can be a folder's name. */
bool pypi_is_name(struct str name);

enum pypi_form { PYPI_WHEEL, PYPI_SDIST, PYPI_OTHER };
struct pypi_filename {
	enum pypi_form form;
	struct str project;	      /* normal form */
	struct str version, platform; /* as the name has them; STR_NONE */
};
/* `project`: normal form that it must be of; STR_NONE: as the name says, an older sdist's split at its last '-'. False where it is
 * not named like a file of an index (of that project). */
bool pypi_filename_read(struct arena *a, struct str fn, struct str project, struct pypi_filename *ret);
/* By project; then version, oldest first; then name. */
int pypi_file_cmp(const void *a, const void *b);
struct digest_value pypi_digest(const struct pypi_hash *hash, size_t n);

/* `name`: the project's, normal form; files of others are left out. `where` names the page in messages. */
int pypi_page_read(struct arena *a, struct str name, struct str text, const char *where, struct pypi_page *ret,
		   struct err *e);
void pypi_page_json(const struct pypi_page *p, struct buf *b);
void pypi_page_html(const struct pypi_page *p, struct buf *b);
/* What a tree holds of a project, by index.v1_json or else index.html: 1; 0: it has no such page. */
int pypi_page_load(int dir, struct arena *a, struct str name, struct pypi_page *ret, struct err *e);
/* Where the file goes in a tree (its path), and where it lies if that is elsewhere (see channel_item.url). False: nowhere, its
 * URL is of no use. */
bool pypi_place(struct arena *a, const struct pypi_page *p, const struct pypi_file *f, struct str *ret_path,
		struct str *ret_url);
/* The file as an item of a walk; its .metadata file. */
bool pypi_item(struct arena *a, const struct pypi_page *p, const struct pypi_file *f, struct channel_item *ret);
bool pypi_metadata_item(struct arena *a, const struct pypi_file *f, const struct channel_item *file,
			struct channel_item *ret);
/* All URLs lead to the tree's own files. */
void pypi_page_localize(struct arena *a, struct pypi_page *p);

/* The list of projects, in normal form, sorted, each once. */
struct pypi_index {
	const struct str *name;
	size_t n;
};
int pypi_index_read(struct arena *a, struct str text, const char *where, struct pypi_index *ret, struct err *e);
int pypi_index_load(int dir, struct arena *a, struct pypi_index *ret, struct err *e); /* 0: there is none */
void pypi_index_json(const struct pypi_index *x, struct buf *b);
void pypi_index_html(const struct pypi_index *x, struct buf *b);

/* What a wheel or sdist says of itself. */
struct pypi_dist {
	const char *path;
	struct str filename, name, requires_python; /* name: normal form */
	struct pypi_filename parts;
	struct str metadata; /* a wheel's METADATA, whole; else STR_NONE */
	uint8_t sha256[SHA256_SIZE];
	uint64_t size;
};
int pypi_dist_read(const char *path, struct arena *a, struct pypi_dist *ret, struct err *e);

/* (kind_pypi.c's rows) */
int pypi_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		 struct progress *p, struct err *e);
int pypi_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		 const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e);
int pypi_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
		const struct channel_make_opts *o, struct err *e);
