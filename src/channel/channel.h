// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * channel: indexed collections of packages: their addresses, their metadata in and out, and the mapped index.
 *
 * The way of the data: a channel's name, URL or folder becomes a struct channel; channel_refresh brings its metadata in
 * through a fetcher that the caller supplies (transfer's, or a test's) and makes one mapped index for each subdir;
 * index_open maps it; solve reads it in place.
 *
 * Kinds of channels are rows of a table, a file each (section 6); the mapped index is of conda alone today.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/progress.h"
#include "base/stream.h"
#include "pkg/pkg.h"

/* == 1. addresses ================================================================================================= */
/* A channel's base URL without trailing slash, subdir or credentials in what is shown (CEP 26). A folder becomes
 * file:///absolute/path. */
struct channel {
	struct str url;	  /* canonical, may hold credentials; never print it: use `shown` */
	struct str shown; /* without credentials: goes into records, logs and locks */
	struct str name;  /* short name where it has one ("conda-forge"), else as shown */
	const char *id;	  /* name of its folder in ROOT/index/ */
	bool is_folder;	  /* file:// */
};
struct channel_config {
	struct str alias; /* base URL for bare names; STR_NONE: a bare name is an error that says how to set it */
	struct str cwd;	  /* for relative folders */
	const struct str *known_subdirs; /* NULL: the built-in list */
};
/* `text` is a URL, a folder (it holds '/' or is "." or exists), or a name with optional /label/NAME. */
int channel_parse(struct arena *a, struct str text, const struct channel_config *c, struct channel *ret, struct err *e);
bool channel_is_subdir(struct str s); /* "linux-64", "noarch", … */
struct str channel_host_subdir(void); /* of the machine this runs on */
/* A reference of the channel's metadata (base_url, shards_base_url) against the URL of the folder it came from, which
 * ends in '/': absolute, "/rooted" or relative, "." and ".." resolved. */
struct str channel_url_join(struct arena *a, struct str folder, struct str ref);
/* The URL of a record (which never has credentials) as it has to be asked for: with those of the channel that it is of.
 * Not to be shown. */
struct str channel_private_url(struct arena *a, const struct channel *channels, size_t n, struct str url);
/* True where the channel part of a spec ("conda-forge", a URL) means this channel. */
bool channel_matches(const struct channel *c, struct str wanted);

/* == 2. the mapped index (doc/formats/index.md) =================================================================== */
/*
 * One file for each (channel, subdir), mapped and read in place: interned strings; packages grouped by name, each group
 * sorted best first (no track_features, version descending, build number descending, timestamp descending); dependency
 * lists and specs interned. Every offset is checked against the file when it is followed, and each 4 KiB block against
 * its checksum when it is first touched, so that a damaged file gives ERR_VERIFY (once, from index_check after the
 * reads) and is rebuilt, never trusted; readers meanwhile see empty values, never memory outside the file.
 *
 * Ids are dense from 0 within one index (but those of strings, which are offsets) and mean nothing in another.
 */
struct index;
struct ix_name {
	uint32_t n;
}; /* a package name that this index knows, as a package or only in a dependency */
struct ix_pkg {
	uint32_t n;
};
struct ix_str {
	uint32_t n;
};
struct ix_version {
	uint32_t n;
}; /* distinct version texts; NOT in order */
struct ix_spec {
	uint32_t n;
}; /* distinct (name, rest) pairs */
struct ix_list {
	uint32_t n;
}; /* distinct lists of specs; 0 is the empty list */

int index_open(int dirfd, const char *path, struct index **ret, struct err *e);
void index_free(struct index *ix);
DEFINE_AUTO(struct index *, index, index_free);
/* -1 with ERR_VERIFY where something read so far did not verify. */
int index_check(const struct index *ix, struct err *e);

struct index_info {
	struct str subdir, base_url; /* base_url: where the files are; empty: beside the metadata (CEP 15) */
	struct str relation_base, relation_overrides; /* info.channel_relations (CEP 42), as published; or empty */
	uint32_t names, packages, specs, lists, versions, removed;
	uint32_t left_out;	   /* malformed records that are not here */
	struct str left_out_first; /* the first of them and what is wrong with it, for a message */
	bool partial;		   /* made from shards: holds only what was asked for (see index_has_name) */
};
struct index_info index_info(const struct index *ix);

bool index_find_name(const struct index *ix, struct str name, struct ix_name *ret);
struct str index_name(const struct index *ix, struct ix_name n);
uint32_t index_name_count(const struct index *ix);
/* The packages of a name: ids first.n, first.n+1, … best first. Returns how many. */
uint32_t index_packages(const struct index *ix, struct ix_name n, struct ix_pkg *first);
/* For a partial index: whether the name's packages were fetched at all. */
bool index_has_name(const struct index *ix, struct ix_name n);

/* What a solve needs of a package; index_record gives the rest. */
struct index_pkg {
	struct ix_name name;
	struct ix_version version;
	struct ix_str build;
	uint32_t build_number;
	/* Order among the versions of this index: greater is newer, equal versions are equal; 0: the file does not say. */
	uint32_t version_rank;
	uint64_t timestamp_ms;
	struct ix_list depends, constrains;
	bool track_features, noarch_python;
	bool is_conda; /* .conda rather than .tar.bz2 */
	bool is_v3;    /* published under "v3" (CEP 48): its specs are to be read with SPEC_V3 */
};
struct index_pkg index_pkg(const struct index *ix, struct ix_pkg p);
struct str index_str(const struct index *ix, struct ix_str s);
struct str index_version(const struct index *ix, struct ix_version v);
/* The specs of a list, in published order. Returns how many; *ret points into the map. */
uint32_t index_list(const struct index *ix, struct ix_list l, const struct ix_spec **ret);
/* The name a spec asks for, lower case; the name "" where it asks for no single one (a pattern, a digest). */
struct ix_name index_spec_name(const struct index *ix, struct ix_spec s);
struct str index_spec_text(const struct index *ix, struct ix_spec s); /* whole: "numpy >=1.8,<2" */
uint32_t index_spec_count(const struct index *ix);
/* The full record, nothing lost; views into the arena or the map. `c` gives channel and url. */
int index_record(const struct index *ix, struct ix_pkg p, const struct channel *c, struct arena *a,
		 struct pkg_record *ret, struct err *e);
/* By file name, as @EXPLICIT and locks name them. */
bool index_find_file(const struct index *ix, struct str fn, struct ix_pkg *ret);
/* Listed in the channel's "removed": it was there once. */
bool index_is_removed(const struct index *ix, struct str fn);

/* Making one. Feed metadata in any number of pieces, then finish: the file appears under its name by rename, whole.
 *	struct index_builder *b = index_builder_new(dirfd, "linux-64.idx", subdir, e);
 *	index_builder_json(b, stream, e)      a whole repodata.json, streamed; memory does not grow with its size
 *	index_builder_shard(b, name, bytes, e) one CEP 16 shard (msgpack, already unpacked from zstd)
 *	index_builder_record(b, &record, e)   one record (virtual packages, tests, locks)
 *	index_builder_finish(b, e); index_builder_free(b)
 * Of one package published as .conda and .tar.bz2 only the .conda is kept. A record that is wrong in itself (no name, no
 * version that is one, a value of another type) is left out and counted, so that one upload does not take a channel from
 * everybody; specs that cannot be parsed are kept as text and make their package unusable only if it is reached. What
 * breaks the document (its braces, its end, a limit) is an error with the offset, and the old index stays. */
struct index_builder;
struct index_builder *index_builder_new(int dirfd, const char *path, struct str subdir, struct err *e);
int index_builder_json(struct index_builder *b, struct istream *in, struct progress *p, struct err *e);
int index_builder_shard(struct index_builder *b, struct str name, struct str msgpack, struct err *e);
int index_builder_record(struct index_builder *b, const struct pkg_record *r, struct err *e);
int index_builder_finish(struct index_builder *b, struct err *e);
void index_builder_free(struct index_builder *b);
DEFINE_AUTO(struct index_builder *, index_builder, index_builder_free);

/* == 3. metadata in =============================================================================================== */
/* The caller's way to the network. Each request is fetched into `fd` (positioned at 0, truncated first) unless its
 * validators say that nothing changed. */
struct channel_get {
	const char *url;		   /* file://, http:// or https:// */
	int fd;				   /* where the body goes */
	uint64_t max_bytes;		   /* a longer body is ERR_LIMIT */
	const uint8_t *sha256;		   /* expected, or NULL */
	char etag[256], last_modified[64]; /* in: what we have, or ""; out: what the server said */
	int64_t max_age_s;		   /* out: Cache-Control max-age, -1 where absent */
	enum {
		GET_PENDING,
		GET_DONE,
		GET_UNCHANGED,
		GET_MISSING,
		GET_FAILED
	} state;	/* MISSING: 404/410, no such file */
	struct err err; /* for GET_FAILED */
};
struct channel_fetch {
	/* Fetches all, several at once; -1 only where nothing could be tried. */
	int (*get)(struct channel_fetch *f, struct channel_get *const *gets, size_t n, struct err *e);
	/* NULL, or: true where the fetcher verifies what comes from a URL by signatures: then it is asked for a folder's files, too,
	 * and a channel that a signed one declares a relation to has to be signed as well. */
	bool (*is_signed)(struct channel_fetch *f, const char *url);
	void *ctx;
};

enum channel_refresh_flags {
	CHANNEL_OFFLINE = 1 << 0,      /* what is held, however old; ERR_NOT_FOUND where nothing is */
	CHANNEL_FORCE = 1 << 1,	       /* ask even if the metadata is still fresh by its max-age */
	CHANNEL_NO_SHARDS = 1 << 2,    /* not CEP 16 */
	CHANNEL_CURRENT_ONLY = 1 << 3, /* current_repodata.json first */
};
/* Keeps ROOT/index: refreshes one channel's subdirs and opens their indexes. */
struct channel_cache {
	int root_fd; /* ROOT */
	struct channel_fetch *fetch;
	const struct clock *clock;
	struct progress *progress;
	int64_t default_max_age_s; /* where the server gives none; folders are always looked at (mtime, size, inode) */
};
struct channel_index {
	struct channel channel;
	struct str subdir;
	struct index *index; /* NULL where the channel has no such subdir */
};
/*
 * Opens n channels × m subdirs; channel-major in the order of priority: as given, with channels that they declare relations
 * to (CEP 42: base before, overrides after) added at most 10 deep; a channel that is given twice comes once. `roots` are the
 * names asked for: with shards the walk over names begins there (CEP 16), over all sources of the call; without, they are not
 * looked at. The indexes belong to the caller.
 *
 * Of a server's subdir the shards are tried first, then repodata.json.zst, then repodata.json, and what answered is remembered;
 * of a folder repodata.json is. Nothing is asked while max-age lasts, nothing unchanged is sent or indexed again. Where the
 * network fails (ERR_NETWORK) and something is held, that is used and a PROGRESS_NOTE says so, unless CHANNEL_FORCE.
 * Malformed records are left out of the index; a PROGRESS_NOTE tells how many, once.
 * Errors: a channel that has none of the subdirs names the URLs tried (ERR_NOT_FOUND); malformed metadata names file and
 * offset, and the index of before stays; ERR_BUSY where another process makes the same index for more than 10 minutes.
 */
int channel_open_all(struct channel_cache *c, const struct channel *channels, size_t n, const struct str *subdirs,
		     size_t m, const struct str *roots, size_t roots_n, enum channel_refresh_flags flags,
		     struct arena *a, struct channel_index **ret, size_t *ret_n, struct err *e);

/* After the reads: 0 where all that was read of these indexes verified. 1: some did not; their files are removed, what was
 * concluded from them is worth nothing, and the same channel_open_all makes them anew. */
int channel_recheck(struct channel_cache *c, const struct channel_index *v, size_t n, struct err *e);

/* == 4. virtual packages (CEP 30) ================================================================================= */
/* What the host provides, as records of channel "virtual": __linux, __glibc, __unix, __archspec, __cuda, … for the subdir
 * solved for; CONDA_OVERRIDE_* in `env` (getenv-like; NULL: none) win, an empty value removes __cuda, __cuda_arch and __glibc.
 * An override that is no version is ERR_USAGE. For another machine's subdir: __glibc 2.17, __osx and __win 0, no __cuda. A GPU
 * driver is asked in a child, for 3 s at most, and only where one is to be seen. */
int channel_virtual(struct arena *a, struct str subdir, const char *(*env)(const char *), struct pkg_record **ret,
		    size_t *ret_n, struct err *e);

/*
 * Which system a host runs, and for which ones something is (a channel of a mirror, a recipe): ranges apart by ';', each a name and
 * versions as in a spec: "debian >=11,<13", "rhel 9.*", a code name ("bookworm"), a virtual package ("__glibc >=2.28"). A host is meant
 * where one of the systems is its, or none is named, and it has each virtual package. Hostile input.
 */
enum { CHANNEL_OS_RANGE = 256, CHANNEL_OS_VIRTUALS = 32 };
struct channel_os {
	struct str subdir;
	struct str id, version, codename;  /* of os-release(5): "debian", "12", "bookworm"; empty: not told */
	const struct pkg_record *virtuals; /* name and version */
	size_t virtuals_n;
};
/* This host. SLIPWAY_OS_RELEASE in `env`: another file in place of /etc/os-release. */
int channel_os_host(struct arena *a, const char *(*env)(const char *), struct channel_os *ret, struct err *e);
/* As a query of a request says it ("os=debian&version=12&…"), and back from its values. ERR_INPUT. */
void channel_os_put(const struct channel_os *os, struct buf *b);
int channel_os_parse(struct arena *a, struct str id, struct str version, struct str codename, struct str virtuals,
		     struct channel_os *ret, struct err *e);
int channel_os_check(struct str ranges, struct err *e); /* ERR_INPUT: no ranges */
/* *ret_why: "it is for debian >=12, and this host is debian 11"; empty where it is for it. */
bool channel_os_meets(const struct channel_os *os, struct str ranges, struct arena *a, struct str *ret_why);

/* == 5. publishing ================================================================================================ */
struct channel_publish_opts {
	bool dry_run;
	bool shards;  /* make shards (CEP 16) where there are none yet */
	bool replace; /* a file name that is there with other content: replace it instead of refusing */
	/* One a file, or NULL: how another channel lists that very file. It is listed here so, too, whatever its own info/index.json
	 * says: channels mend what packages say of themselves, and who solves shall find the same. */
	const struct pkg_record *records;
};
/*
 * Copies package files into folder/<subdir>/ and writes repodata.json and repodata.json.zst there, and noarch/repodata.json
 * where there is none, each by rename, packages first, under a lock for each subdir. A package's record is its info/index.json
 * (CEP 34; checked, and agreeing with the file name) with size and digests; schema_version 3 goes under "v3" (CEP 48).
 * Incremental: records of files already listed are kept as they are. The same channel gives the same bytes. Shards and
 * current_repodata.json are made anew where they are there; other metadata (.bz2), which would tell of before, are removed.
 * ERR_EXISTS: that name is there with other content. Nothing has changed after an error before the first copy; after a later
 * one, publishing again goes on.
 */
int channel_publish(const char *folder, const char *const *files, size_t n, const struct channel_publish_opts *o,
		    struct progress *p, struct err *e);

/* == 6. kinds of channels ========================================================================================= */
/*
 * What must be known of a channel to serve it and to follow it, whatever its ecosystem: a channel is a tree of files below
 * one root, which a plain web server could serve as it is. A kind is a row of a table (kind.h) with a file of its own:
 * conda, deb, rpm, pypi, opam, takeout (recipes), and plan (what hosts are to run, signed by their operator).
 *
 *	k = channel_kind(STR("deb"))				NULL: there is none of that name
 *	channel_kind_file(k, path)				what a path can be, by its name alone
 *	channel_walk_new(k, folder_fd, &opts, &w, e)		from the metadata of a tree to the list of its files
 *	while ((rc = channel_walk_next(w, item_fn, ctx, e)) > 0)
 *		... bring what was told into the folder ...
 *	channel_kind_publish(k, folder, files, n, &opts, p, e)	own packages in, metadata made and signed
 *	channel_kind_rewrite(k, from_fd, to_folder, &opts, keep, ctx, e)	metadata of some of the packages of another tree
 *
 * Paths are relative to the root, normal ("." and ".." never, no empty part), decoded, at most CHANNEL_PATH_MAX bytes.
 */
enum { CHANNEL_PATH_MAX = 1024 };
struct channel_kind;
const struct channel_kind *channel_kind(struct str name);
const char *channel_kind_name(const struct channel_kind *k);
/* By what stands in the folder (or in the metadata that it holds); NULL where it could be none or several. */
const struct channel_kind *channel_kind_of(int folder_fd);
/* By the name of a package file, "x-1-py3-none-any.whl"; NULL where it is like none's. Where it is like that of several
 * (.tar.bz2), the first of the table. */
const struct channel_kind *channel_kind_of_package(struct str fn);
bool channel_path_is_normal(struct str path);
enum channel_signing {
	CHANNEL_SIGNING_NONE,
	CHANNEL_SIGNING_OPTIONAL, /* clients can ask for a signature (rpm) */
	CHANNEL_SIGNING_EXPECTED, /* clients refuse what has none, unless told otherwise (deb) */
};
enum channel_signing channel_kind_signing(const struct channel_kind *k);

enum channel_file {
	CHANNEL_FILE_NONE,    /* no channel of this kind has such a file: nobody need be asked for it */
	CHANNEL_FILE_POINTER, /* changes in place: asked for again when it is stale, replaced after all that it names */
	CHANNEL_FILE_NAMED,   /* metadata that a pointer names with size and digest; its own name may stay the same */
	CHANNEL_FILE_PACKAGE, /* never changes under its name */
};
enum channel_file channel_kind_file(const struct channel_kind *k, struct str path);
/* Whatever its kind, a tree may hold in this folder a TUF repository that signs its pointers (doc/formats/tuf.md): metadata/timestamp.json is a
 * pointer; metadata/N.ROLE.json and targets/…/DIGEST.NAME never change. */
#define CHANNEL_SIGNED "tuf"
/* The SHA-256 that such a target's path promises; false: it is none. */
bool channel_signed_digest(struct str path, uint8_t ret[SHA256_SIZE]);
/* "application/json" and the like, for serving. */
const char *channel_kind_type(const struct channel_kind *k, struct str path);
/* The file that a request for a folder is for ("simple/Foo" → "simple/foo/index.v1_json"), by the request's Accept (STR_NONE:
 * there is none; answers then differ by it: Vary). 1, and *ret in the arena; 0: no folder of this kind is asked for, or nothing
 * of what is accepted is there (406). */
int channel_kind_index(const struct channel_kind *k, struct str folder, struct str accept, struct arena *a,
		       struct str *ret);

/* A file that metadata tell of. Views are good in the call alone. */
struct channel_item {
	struct str path;
	/* Where it lies, when that is not its path below the root (pypi's pages and files, opam's archives): absolute, or a
	 * reference against the root's URL with a '/' behind (channel_url_join); else STR_NONE. */
	struct str url;
	const char *accept;	    /* what a request for it says in Accept, where the server must be told; else NULL */
	uint64_t size;		    /* 0: not told */
	struct digest_value digest; /* the strongest that is told, or !known */
	enum channel_file what;
	bool optional; /* an upstream may lack it (another compression of the same) */
	struct str
		copy_of; /* a path told before (by-hash) of the same bytes: need not be brought from afar; else STR_NONE */
	struct str name, version, platform; /* of a package; STR_NONE where it has none */
	int64_t time_ms;		    /* wall: when it was released; 0: not told */
	struct str withdrawn; /* why it is not offered any more (a yanked wheel, a disabled recipe); empty: it is */
};
/* Returns -1 with *e to end the walk. */
typedef int channel_item_fn(void *ctx, const struct channel_item *item, struct err *e);

struct channel_walk_opts {
	/* What is wanted; n 0: everything. */
	const struct str *
		platforms; /* conda subdirs ("linux-64"; noarch always comes with them), deb and rpm architectures; pypi:
			      tags of wheels as globs ("manylinux*_x86_64"; "any" and sdists always come) */
	size_t platforms_n;
	const struct str *
		suites; /* deb: folders of dists/ ("bookworm"); must be given there, since a server does not list them */
	size_t suites_n;
	const struct str *components; /* deb */
	size_t components_n;
	const struct str *
		names; /* packages: names, or globs with * and ?; pypi: must be given where the index is too large to follow */
	size_t names_n;
	/* deb: index files beside those of packages, as globs of their paths below the suite ("main/i18n/Translation-en*",
	 * "main/Contents-amd64*"); n 0: none of them */
	const struct str *extras;
	size_t extras_n;
	bool sources;	      /* deb and rpm sources as well */
	bool expired;	      /* take pointers past their date as well (deb: Valid-Until) */
	const char *keyring;  /* OpenPGP public keys (file) that must have signed the pointers; NULL: not checked */
	uint64_t leave_bytes; /* free space that is left alone where a walk writes (conda, which unpacks); else ENOSPC */
	struct progress *progress;
};
struct channel_walk;
/* The folder and the options, with all that they point at, stay the caller's and outlive the walk. */
int channel_walk_new(const struct channel_kind *k, int folder_fd, const struct channel_walk_opts *o,
		     struct channel_walk **ret, struct err *e);
/*
 * A path may be told more than once. One stage. The first tells the pointers; each later one reads what was brought into the folder, verifies it (digest by the pointer;
 * signature by the keyring: ERR_VERIFY) and tells what it names; the last tells the packages. 1: bring what was told (packages
 * may be left for later), then call again. 0: there was nothing more to tell. An item that is not optional and could not be
 * brought makes the next stage fail with ERR_NOT_FOUND and its path.
 */
int channel_walk_next(struct channel_walk *w, channel_item_fn *fn, void *ctx, struct err *e);
/* After the last stage: the metadata, served as they are, would send clients elsewhere for packages (conda's base_url, pypi's
 * absolute links, rpm's xml:base); a copy is to be made with channel_kind_rewrite. */
bool channel_walk_leads_away(const struct channel_walk *w);
void channel_walk_free(struct channel_walk *w);
DEFINE_AUTO(struct channel_walk *, channel_walk, channel_walk_free);

/* An OpenPGP key that signs: gpg's home folder (0700), and the key in it. */
struct channel_signer {
	const char *home, *key; /* key: fingerprint */
};
enum { CHANNEL_KEY_SIZE = 65 }; /* a fingerprint in hex and its NUL */
enum channel_key_kind {
	CHANNEL_KEY_RSA,     /* of 3072 bits: what every client takes that is in use */
	CHANNEL_KEY_ED25519, /* apt of Debian 9 and on; rpm of some systems refuses it (doc/decisions/0063-openpgp.md) */
};
/* Makes the home folder (0700) and in it a key without passphrase that can only sign. ERR_EXISTS: there is one. */
int channel_key_make(const char *home, struct str owner, enum channel_key_kind kind, char ret[CHANNEL_KEY_SIZE],
		     struct err *e);
/* The one key in the home that can sign: 1, or 0 where there is none; ERR_USAGE where there are several. */
int channel_key_find(const char *home, char ret[CHANNEL_KEY_SIZE], struct err *e);
/* Appends the public key, as clients are given it: armored (.asc) or not (.gpg). */
int channel_key_export(const struct channel_signer *s, bool armored, struct buf *ret, struct err *e);

struct channel_make_opts {
	bool dry_run, replace;
	bool shards;			     /* conda: CEP 16 */
	const struct channel_signer *signer; /* deb, rpm; NULL: unsigned */
	struct str suite, component;	     /* deb: where to; "" : "stable", "main" */
	struct str origin, label;	     /* deb: in Release */
	int64_t now_ms;			     /* wall; dates in metadata; 0: the system's */
	/* Or NULL: signs the channel as a whole; called when all that clients are led to is in place, and before what they are led to no
	 * longer goes. 0: done; 1: the signature waits for somebody, so what is still signed stays; -1 with *e. */
	int (*seal)(void *ctx, const char *folder, struct err *e);
	void *seal_ctx;
	int64_t valid_ms; /* deb: the metadata are good for so long (Valid-Until); 0: for ever */
};
/*
 * Copies package files into the tree and makes its metadata, incrementally: packages first, then metadata named by digest,
 * then pointers, each by rename, fsync before, under one lock of the tree (ERR_BUSY after a minute). The same packages give the
 * same metadata but for dates and signatures. ERR_EXISTS: that name is there with other content, and `replace` is not said.
 */
int channel_kind_publish(const struct channel_kind *k, const char *folder, const char *const *files, size_t n,
			 const struct channel_make_opts *o, struct progress *p, struct err *e);
/*
 * Metadata for those packages of the tree at from_fd for which keep says 1 (0: not; -1: *e), their records byte for byte as
 * published there, into `folder`, where their files lie or will be fetched on demand; signed anew.
 */
typedef int channel_keep_fn(void *ctx, const struct channel_item *item, struct err *e);
int channel_kind_rewrite(const struct channel_kind *k, int from_fd, const struct channel_walk_opts *from,
			 const char *folder, const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx,
			 struct err *e);
/*
 * What a proxy needs to pass on a channel file by file, without a walk over the whole of it.
 *
 * How an upstream is asked for a file when that is not by its path: url and accept of *ret, in the arena (pypi's pages are answers for
 * a folder). False: by its path.
 */
bool channel_kind_address(const struct channel_kind *k, struct str path, struct arena *a, struct channel_item *ret);
/* The digest that the path itself tells (by-hash of deb, shards, opam's cache). */
bool channel_kind_path_digest(const struct channel_kind *k, struct str path, struct digest_value *ret);
/*
 * Reads one file of metadata that came, and tells what it names: packages with their digests, named metadata with theirs. Where
 * clients that read it as it is would go elsewhere, what is to be served in its place is made.
 * 1: serve `made`/path; 0: serve it as it came (also a file that names nothing). Whatever it says, it is hostile: ERR_INPUT, ERR_LIMIT.
 */
struct channel_came {
	int folder; /* holds the file under its path; a small note on one (".packages") may be left beside it for those that come later */
	int made;	     /* folder */
	const char *keyring; /* as in channel_walk_opts; deb's InRelease is held against it */
};
int channel_kind_learn(const struct channel_kind *k, const struct channel_came *c, struct str path, channel_item_fn *fn,
		       void *ctx, struct err *e);
/* Takes packages (by path, for opam also "name.version") out of the metadata. CHANNEL_YANK leaves a mark where the ecosystem has one (conda "removed", pypi's
 * data-yanked with `reason`), and the files; CHANNEL_DROP forgets them, and removes the files after the metadata. */
enum channel_removal { CHANNEL_YANK, CHANNEL_DROP };
int channel_kind_remove(const struct channel_kind *k, const char *folder, const struct str *paths, size_t n,
			enum channel_removal how, struct str reason, const struct channel_make_opts *o, struct err *e);

/* == 7. recipes (kind "takeout") ================================================================================== */
/* What takeout.json lists (doc/formats/takeout.md): hostile input. Views point into the arena. */
struct channel_takeout_file {
	struct str path;
	uint64_t size;
	uint8_t sha256[SHA256_SIZE];
};
struct channel_takeout {
	struct channel_takeout_file recipe, notes; /* notes.path empty: it has none */
	struct str platform;			   /* empty: for any */
	struct str os;				   /* ranges of systems (channel_os_meets); empty: for any */
	struct str disabled;			   /* why it is not offered any more; empty: it is */
	int64_t released_ms;
};
int channel_takeout_read(struct arena *a, struct str text, const char *where, struct channel_takeout **ret,
			 size_t *ret_n, struct err *e);

/* == 8. what packages need ======================================================================================== */
/*
 * The packages of a tree that a host of one platform can install (deb, rpm, opam), and what each of them needs, for a solver
 * (solve_needs). Packages are numbered; those of a group, of which a host has one at most, stand side by side, the one
 * that is preferred first. All of the metadata is read when it is opened; formulas are, when they are asked for.
 *
 *	channel_needs_open(k, folder_fd, &walk_opts, &opts, &n, e)
 *	channel_needs_ask(n, STR("nginx (>= 1.22)"), fn, ctx, e)	what a person asks for
 *	channel_needs_tell(n, package, fn, ctx, e)		what a package needs
 *	channel_needs_files(n, package, fn, ctx, e)		its files: one, or for opam each archive under each of its names
 */
struct channel_needs;
enum channel_system_has {
	CHANNEL_SYSTEM_INSTALLED,
	CHANNEL_SYSTEM_WANTED, /* it is not there; whether there is one, is not known */
	CHANNEL_SYSTEM_OFFERED,
	CHANNEL_SYSTEM_NOT_OFFERED
};
struct channel_needs_opts {
	struct str platform;	     /* "amd64", "x86_64"; opam: "linux-x86_64"; "": of the host that runs this */
	bool weak;		     /* what is recommended, too */
	const struct str *variables; /* opam: "os-distribution=alpine", in place of Debian 12's */
	size_t variables_n;
	/* opam, "NAME.VERSION" each: of a name that is pinned there is this version alone; what is installed is there even if the
	 * repository has it no more */
	const struct str *pinned, *installed;
	size_t pinned_n, installed_n;
	const struct str *asked; /* opam: names for which with-test and with-doc hold, where these are set */
	size_t asked_n;
	bool with_test, with_doc;
	/* opam: packages of the system that the host has; NULL: nobody asked it, and none is missed */
	const struct str *system;
	size_t system_n;
	/* In place of them, what the host has of one that `depexts` names. A package that wants what is not offered cannot be had. */
	enum channel_system_has (*ask_system)(void *ctx, struct str name);
	void *system_ctx;
};
struct channel_candidate {
	struct str name, version, platform;
	struct str key;	   /* of its item in the metadata (channel_needs_key) */
	uint32_t first, n; /* its group */
	bool avoided;	   /* its author says so: it is to be chosen only where nothing else will do (opam) */
	bool installed, pinned;
};
enum channel_need_kind {
	CHANNEL_NEED, /* one of `one` must be there */
	CHANNEL_WISH, /* the same, but where it cannot be had, it is done without */
	CHANNEL_BAN,  /* none of `one` may be there */
};
struct channel_set {
	const uint32_t *v; /* packages, best first */
	size_t n;
};
struct channel_need {
	enum channel_need_kind kind;
	struct channel_set one;
	const struct channel_set *given; /* counts only where one of each of these is there */
	size_t given_n;
	const struct pkg_need *formula; /* it is a part of; for pkg_need_format */
};
/* Sets are good in the call alone. -1 with *e ends it. */
typedef int channel_need_fn(void *ctx, const struct channel_need *need, struct err *e);
int channel_needs_open(const struct channel_kind *k, int folder_fd, const struct channel_walk_opts *from,
		       const struct channel_needs_opts *o, struct channel_needs **ret, struct err *e);
uint32_t channel_needs_count(const struct channel_needs *n);
const struct channel_candidate *channel_needs_candidate(const struct channel_needs *n, uint32_t package);
struct str channel_needs_platform(const struct channel_needs *n);
/* ERR_INPUT: the text is none of this kind; ERR_NOT_FOUND: nothing in the tree is called so. */
int channel_needs_ask(struct channel_needs *n, struct str text, channel_need_fn *fn, void *ctx, struct err *e);
/* A formula that cannot be read is told as a need that nothing meets. */
int channel_needs_tell(struct channel_needs *n, uint32_t package, channel_need_fn *fn, void *ctx, struct err *e);
int channel_needs_files(struct channel_needs *n, uint32_t package, channel_item_fn *fn, void *ctx, struct err *e);
/* Whether the host can have it at all, as far as it alone tells (opam: the field available, pins, what the system does not offer). */
bool channel_needs_is_available(struct channel_needs *n, uint32_t package);
/* Why not: appends the filter that does not hold (opam: available), and returns the version that its name is pinned to, where that is another. */
struct str channel_needs_unavailable(struct channel_needs *n, uint32_t package, struct buf *b);
/* Whether a package of the system that it needs (opam: depexts) is none of those that the host has (channel_needs_opts.system). */
bool channel_needs_lacks_system(struct channel_needs *n, uint32_t package);
/* What its author tells whoever is about to install it (opam: messages). In the arena. */
int channel_needs_messages(struct channel_needs *n, uint32_t package, struct arena *a, const struct str **ret,
			   size_t *ret_n, struct err *e);
/* The system packages that it wants on this host (opam), each once, sorted; in the arena or the needs. How many. */
size_t channel_needs_system(struct channel_needs *n, uint32_t package, struct arena *a, const struct str **ret);
/* What the host has is to be asked once more, where it is asked the next time. */
void channel_needs_system_changed(struct channel_needs *n);
/* What comes before a package in the order of work: for each name in its formulas, optional ones among them, the packages that
 * meet it, as wishes. Without what is needed some time later (post); `building`: with what is needed for building alone. */
int channel_needs_order(struct channel_needs *n, uint32_t package, bool building, channel_need_fn *fn, void *ctx,
			struct err *e);
/* Each version that a formula of this host's compares one of these names with, some of them several times (opam). */
typedef void channel_mention_fn(void *ctx, size_t name, struct str version);
int channel_needs_mentions(struct channel_needs *n, const struct str *names, size_t names_n, channel_mention_fn *fn,
			   void *ctx, struct err *e);
/* What names an item of a rewrite's: its path, or for opam "name.version". In the arena or the item. */
struct str channel_needs_key(const struct channel_kind *k, struct arena *a, const struct channel_item *item);
void channel_needs_free(struct channel_needs *n);
DEFINE_AUTO(struct channel_needs *, channel_needs, channel_needs_free);
/* What a kind calls the platform of the host that runs this; STR_NONE: it has none. */
struct str channel_needs_host(const struct channel_kind *k);

/* == 9. opam repositories (doc/formats/opam-index.md) ============================================================== */
/*
 * One mapped file for each repository, and one of its opam files' texts: names sorted bytewise; packages of a name best first by
 * opam's order of versions; formulas compiled with their filters open, since variables are given with each request.
 *
 *	channel_opam_open(&cache, &channel, 0, &ix, e)			brought up to date, or made
 *	opam_index_find(ix, STR("dune"), STR("3.0"), &p)
 *	opam_index_formula(ix, p, OI_DEPENDS, &arena, &x)		decided with pkg_opam_need_of
 *	opam_index_text(ix, p, &arena, &text, e)			the opam file, for pkg_opam_read
 *	opam_index_check(ix, e)						after the reads
 *
 * Every offset is checked when it is followed: a damaged file gives empty values and then ERR_VERIFY from opam_index_check, never memory
 * outside the file. A file that does not verify when it is opened is made anew. An opam file that cannot be read is in the index as
 * `broken`, with what is wrong with it, and has no formulas; the others are as good as without it.
 */
struct opam_index;
struct oi_name {
	uint32_t n;
};
struct oi_pkg {
	uint32_t n;
}; /* dense from 0, by name, best version first */
struct opam_index_info {
	uint32_t names, packages, broken, problems;
	struct str repo;	     /* the text of the repository's file `repo`; empty: it has none */
	uint64_t bytes, texts_bytes; /* of the two files */
};
enum oi_formula { OI_DEPENDS, OI_DEPOPTS, OI_CONFLICTS, OI_AVAILABLE, OI_FORMULAS };
enum oi_list { OI_CONFLICT_CLASS, OI_ACCEPT_FAILURES, OI_LISTS };
struct opam_index_pkg {
	struct oi_name name_id;
	struct str name, version, key; /* key: "NAME.VERSION" */
	struct str folder;	       /* of "NAME.VERSION": "packages/NAME" */
	unsigned flags;		       /* enum pkg_opam_flag */
	bool has_url, has_messages;
	bool broken; /* opam_index_problem_of says why */
};
/* The files of ROOT/index/ID that channel_opam_open keeps; `path` names the index, its texts lie beside it. */
int opam_index_open(int dirfd, const char *path, struct opam_index **ret, struct err *e);
/* One that is only in memory, of opam files that somebody has; their texts are to outlive it. ERR_LIMIT. */
struct opam_index_file {
	struct str name, version, text;
};
int opam_index_of(const struct opam_index_file *v, size_t n, struct opam_index **ret, struct err *e);
void opam_index_free(struct opam_index *ix);
DEFINE_AUTO(struct opam_index *, opam_index, opam_index_free);
int opam_index_check(const struct opam_index *ix, struct err *e);
struct opam_index_info opam_index_info(const struct opam_index *ix);
struct str opam_index_name(const struct opam_index *ix, struct oi_name n);
bool opam_index_find_name(const struct opam_index *ix, struct str name, struct oi_name *ret);
/* The packages of a name: first, first + 1, … best first. Returns how many. */
uint32_t opam_index_packages(const struct opam_index *ix, struct oi_name n, struct oi_pkg *first);
/* By the very text of the version. */
bool opam_index_find(const struct opam_index *ix, struct str name, struct str version, struct oi_pkg *ret);
struct opam_index_pkg opam_index_pkg(const struct opam_index *ix, struct oi_pkg p);
/* NULL: it says nothing (available: it is so everywhere). In the arena; names and texts point into the map. */
const struct pkg_opam_expr *opam_index_formula(const struct opam_index *ix, struct oi_pkg p, enum oi_formula which,
					       struct arena *a);
struct pkg_opam_lines opam_index_depexts(const struct opam_index *ix, struct oi_pkg p, struct arena *a);
struct pkg_opam_strs opam_index_list(const struct opam_index *ix, struct oi_pkg p, enum oi_list which, struct arena *a);
int opam_index_text(const struct opam_index *ix, struct oi_pkg p, struct arena *a, struct str *ret, struct err *e);
/* What was wrong in the repository: "packages/x/x.1/opam:3:12: a string does not end". Of broken packages, and of what was left out. */
struct str opam_index_problem(const struct opam_index *ix, uint32_t i);
struct str opam_index_problem_of(const struct opam_index *ix, struct oi_pkg p); /* empty: none */
/* archive-mirrors of the repository's file `repo`: URLs and paths as they are, others below `base`, where the repository lies. All in the arena. */
struct pkg_opam_strs opam_index_mirrors(const struct opam_index *ix, struct str base, struct arena *a);

/*
 * The repository's index, brought up to date: a folder with packages/ by the times of its files (each time); a tar (.tar, .gz, .zst, .xz, .bz2;
 * a folder or server without packages/: its index.tar.gz) by its validators, on a server not before max-age has passed. Only what changed is read
 * again. What cannot be read is told once as PROGRESS_NOTE. CHANNEL_OFFLINE: as it is held, without a look at where it comes from.
 * Errors as of channel_open_all. A git repository is for the caller to bring into a folder (ERR_UNSUPPORTED).
 */
int channel_opam_open(struct channel_cache *c, const struct channel *ch, enum channel_refresh_flags flags,
		      struct opam_index **ret, struct err *e);

/* What packages of these repositories need (section 8), best repository first: of a package that several have, the first's is taken. The indexes
 * outlive it; opam_index_check tells whether what they said is worth anything. */
int channel_needs_open_opam(struct opam_index *const *v, size_t n, const struct channel_needs_opts *o,
			    struct channel_needs **ret, struct err *e);
/* Where a package of it stands; NULL: it is installed, and in none of them any more. */
const struct opam_index *channel_needs_opam(const struct channel_needs *n, uint32_t package, struct oi_pkg *ret);
