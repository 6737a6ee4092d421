// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * tuf: The Update Framework 1.0.34 (https://theupdateframework.github.io/specification/), both sides of it: the client that trusts nothing but
 * a root of keys, and the keeper who signs. Who holds a repository's files, its name and its TLS, but no key, can refuse to serve them and nothing else.
 *
 *	root       who may sign what; changes by a chain in which each version is signed by the keys of the one before and by its own
 *	timestamp  which snapshot is the newest; expires soon: what is frozen is noticed
 *	snapshot   which version every targets metadata has: nothing of yesterday is mixed with something of today
 *	targets    length and digests of files, and who else may sign for which paths (delegations)
 *
 * The module does no network and keeps no time: the caller hands it a fetcher and a clock. What is on disk is doc/formats/tuf.md.
 *
 * THE CLIENT
 *
 *	tuf_client_init(dir_fd, root_json, e)                once: the first root, which came with the program or by hand
 *
 *	struct tuf_client_opts o = TUF_CLIENT_OPTS_INIT;
 *	o.dir_fd = dir_fd;                                   trusted metadata: root.json, timestamp.json, snapshot.json, targets.json, ROLE.json
 *	o.fetch = get, o.fetch_ctx = &mine;                  "2.root.json" → bytes
 *	auto_ptr(tuf_client) c = NULL;
 *	tuf_client_open(&o, &c, e)                           reads and verifies root.json; holds the folder for this process
 *	tuf_client_refresh(c, e)                             steps 5.3 to 5.6 of the specification, in its order
 *	struct tuf_target t;
 *	rc = tuf_client_target(c, str_c("linux-64/repodata.json"), &t, e)      1: found; 0: nobody signs for it; -1: refused
 *	... download t.url_path, at most t.length bytes, from wherever it is ...
 *	tuf_target_check_fd(&t, fd, e)                       length and every digest that is known; ERR_VERIFY
 *
 * Each metadata file takes its place in the folder when all that the specification demands of it was checked, by rename and after fsync:
 * a process killed at any call leaves a folder that the next one goes on from. Bytes are kept as they came.
 *
 * Errors: ERR_VERIFY what is signed wrongly, expired, older than what was seen (with what to do, where the reader can do something);
 * ERR_INPUT malformed; ERR_LIMIT longer, or more, than the limits; ERR_NOT_FOUND the repository lacks a file that it promised; what
 * the fetcher returned, with "timestamp.json: " before it. A failed refresh keeps what was verified before the failure.
 *
 * Stricter than the specification: an object with a key twice, a role with a keyid twice, a delegated role with the name of a
 * top-level one, and numbers that are no 64-bit integers are refused. Keys count by their value: one key under two ids is one.
 *
 * Keys: ed25519; ecdsa-sha2-nistp256 (keytype "ecdsa" or "ecdsa-sha2-nistp256", PEM or the point in hex); rsassa-pss-sha256 and
 * rsa-pkcs1v15-sha256 (2048 to 8192 bits). Other keys are carried along and never count.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

/* What a repository may send. 0 takes the default. */
struct tuf_limits {
	uint64_t root_bytes;	  /* 512 KiB */
	uint64_t timestamp_bytes; /* 16 KiB */
	uint64_t snapshot_bytes;  /* 2 MiB */
	uint64_t targets_bytes;	  /* 32 MiB, each; takes some 25 times as much memory */
	unsigned root_rotations;  /* in one refresh: 256; the next one goes on */
	unsigned delegations;	  /* roles looked at for one target: 32 */
};

/* Appends the file `name` of the metadata (safe as a part of a URL and as a file name) to ret, whose maximum is what may come: stop at
 * once when there is more (ERR_LIMIT). ERR_NOT_FOUND where the repository has none, and only then. */
typedef int tuf_fetch_fn(void *ctx, const char *name, struct buf *ret, struct err *e);

struct tuf_client_opts {
	int dir_fd; /* trusted metadata; stays the caller's, open as long as the client */
	tuf_fetch_fn *fetch;
	void *fetch_ctx;
	const struct clock *clock;
	struct tuf_limits limits;
	int64_t wait_ms;   /* for another process that holds the folder; then ERR_BUSY */
	bool keep_nothing; /* verify only: the folder stays as it is (a dry run) */
	bool plain_urls;   /* targets lie under their own names even where root says consistent_snapshot */
};
#define TUF_CLIENT_OPTS_INIT ((struct tuf_client_opts){.dir_fd = -1, .clock = &clock_system, .wait_ms = 60000})

/* Makes `root` (the bytes of a root.json that the caller trusts) what the folder trusts, in place of whatever it trusted; refuses
 * one that is not signed by its own keys. Nothing is fetched; an expired one is fine, its successors may not be. */
int tuf_client_init(int dir_fd, struct str root, struct err *e);

struct tuf_client;
int tuf_client_open(const struct tuf_client_opts *o, struct tuf_client **ret, struct err *e);
int tuf_client_refresh(struct tuf_client *c, struct err *e);
void tuf_client_free(struct tuf_client *c);
DEFINE_AUTO(struct tuf_client *, tuf_client, tuf_client_free);

/* What was verified, for messages and status pages; 0 where there is none yet. */
struct tuf_trusted {
	int64_t root, timestamp, snapshot, targets; /* versions */
	int64_t expires_ms;			    /* the first of the four to expire */
};
struct tuf_trusted tuf_client_trusted(const struct tuf_client *c);

enum { TUF_SHA256_SIZE = 32, TUF_SHA512_SIZE = 64 };
struct tuf_target {
	struct str path, role;	     /* as asked for; who signed for it */
	const char *url_path;	     /* below the targets' base: "a%20b/DIGEST.name" */
	uint64_t length;	     /* exactly */
	bool has_sha256, has_sha512; /* one of them at least */
	uint8_t sha256[TUF_SHA256_SIZE], sha512[TUF_SHA512_SIZE];
};
/* Looks through targets and its delegations, depth first, in their order (5.6.7). Needs a refresh before. The target's strings
 * live as long as the client. */
int tuf_client_target(struct tuf_client *c, struct str path, struct tuf_target *ret, struct err *e);
int tuf_target_check(const struct tuf_target *t, struct str bytes, struct err *e);
int tuf_target_check_fd(const struct tuf_target *t, int fd, struct err *e); /* from its start; the offset stays */

/* "2044-08-10T10:05:04Z", nothing else: as metadata has it. */
bool tuf_time(struct str text, int64_t *ret_ms);
