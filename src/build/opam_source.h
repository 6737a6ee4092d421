// SPDX-License-Identifier: Apache-2.0
#pragma once
/* opam_source: archives of opam packages: the cache that several runs share, and fetching. Private to build/. */
#include "base/buf.h"
#include "base/digest.h"
#include "base/vec.h"
#include "transfer/transfer.h"

enum {
	OPAM_ARCHIVE_MAX = 1 << 30, /* bytes of an archive */
	OPAM_PIECE = 1 << 17,
};

/* -- the cache of archives (opam_cache.c) ----------------------------------------------------------------------------------
 *
 *	DIR/sha256/ab/abcd…	an archive by its strongest digest (sha512, sha256, md5); by the others relative links to that
 *	DIR/.slipway/KIND-HEX	one that is being downloaded, locked by whoever does so; what a killed one left is gone on with
 *
 * The names are those of opam's own download-cache, so that both may share it. A name appears by rename, when all digests were
 * checked and the bytes are on disk; putting it there again does no harm. Nothing that lies in a cache is believed: opam_cache_take copies the
 * bytes to where nobody else writes, and checks the copy.
 */
struct opam_cache {
	const char *path; /* NULL: there is none */
	int dir;	  /* -1: the same */
	int scratch_dir;  /* for private copies */
};
int opam_cache_open(struct opam_cache *c, const char *path, int scratch_dir, struct err *e);
void opam_cache_close(struct opam_cache *c);
/* A copy of the archive, at its beginning, that no other process has a name for, whose bytes have all of the digests: 1 and *ret_fd; 0: it is
 * not there, or damaged, and then away. */
int opam_cache_take(const struct opam_cache *c, const struct digest_value *sums, size_t n, int *ret_fd, struct err *e);
/* The same of any open file: 1; 0 with *e ERR_VERIFY and which digest does not match. */
int opam_copy_checked(const struct opam_cache *c, int fd, const struct digest_value *sums, size_t n, const char *what,
		      int *ret_fd, struct err *e);
/* Opens and locks the partial file of these digests: 1; 0 where somebody else downloads the same just now. */
int opam_cache_begin(const struct opam_cache *c, const struct digest_value *sums, size_t n, int *ret_fd, struct err *e);
/* The partial file has been checked by opam_copy_checked: it gets its names. */
int opam_cache_commit(const struct opam_cache *c, int fd, const struct digest_value *sums, size_t n, struct err *e);
/* It cannot become what it should: away with it. */
void opam_cache_discard(const struct opam_cache *c, const struct digest_value *sums, size_t n);
/* The strongest of them, which names the file; n is not 0. */
const struct digest_value *opam_best_digest(const struct digest_value *sums, size_t n);
/* "sha256/ab/abcd…" */
void opam_digest_path(const struct digest_value *d, char out[192]);

/* -- fetching (opam_fetch.c) -----------------------------------------------------------------------------------------------
 *
 * Stepped like transfer.h, by one thread. Each fetch is looked for in the cache, then at the archive mirrors by its first digest, then at its
 * own URLs, one after the other. One that another run is downloading is waited for. A file without digests comes into no cache.
 */
struct opam_fetch {
	const char *label;	/* "hello.1.0", for messages and progress */
	const struct str *urls; /* http(s)://, file:// or an absolute path: of a file, or (without digests) a folder */
	size_t n_urls;
	const struct digest_value *sums;
	size_t n_sums;
	void (*done)(struct opam_fetch *f, void *ctx); /* once, from opam_fetch_step */
	void *ctx;
	/* Out: */
	int fd;		/* the checked bytes, from their beginning; the caller closes it; -1 */
	char *from;	/* the URL it came from, as it may be shown, the caller's to free; NULL: the cache */
	bool is_folder; /* fd is a folder that is to be copied */
	struct err err; /* code ERR_NONE: good */
	/* of the fetcher: */
	VEC(char *) candidates;
	size_t at;
	int partial;
	bool waits, is_local;
	struct transfer_request request;
	struct opam_fetcher *fetcher;
};
struct opam_fetcher {
	const struct opam_cache *cache;
	const struct str *mirrors;
	size_t n_mirrors;
	/* Sources under version control ("git+https://h/x#REF"): makes the folder `dest`. NULL: they are refused. */
	int (*checkout)(void *ctx, const char *url, const char *dest, struct err *e);
	void *checkout_ctx;
	const char *scratch; /* path of the cache's scratch_dir */
	unsigned checkouts;
	struct transfer *transfer;
	VEC(struct opam_fetch *) queue; /* not begun, or waited for */
	size_t active;
	bool released;
};
int opam_fetcher_init(struct opam_fetcher *t, const struct opam_cache *cache, const struct str *mirrors,
		      size_t n_mirrors, unsigned parallel, struct progress *progress, struct err *e);
/* What has not ended is given up: its `done` is not called, its bytes so far stay for the next run. */
void opam_fetcher_release(struct opam_fetcher *t);
void opam_fetch_add(struct opam_fetcher *t, struct opam_fetch *f);
/* 1: more to do; 0: all done. */
int opam_fetch_step(struct opam_fetcher *t, int wait_ms, struct err *e);
