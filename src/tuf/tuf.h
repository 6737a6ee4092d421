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
 * THE KEEPER, who signs
 *
 *	struct tuf_keeper_opts o = TUF_KEEPER_OPTS_INIT;
 *	o.dir_fd = metadata;                                 the folder that is served: 1.root.json, 4.snapshot.json, timestamp.json ...
 *	o.keys_fd = &keys, o.keys_n = 1;                     private keys, KEYID.pem, 0600: those that are there sign
 *	auto_ptr(tuf_keeper) k = NULL;
 *	tuf_keeper_open(&o, &k, e)
 *	tuf_keeper_set_targets(k, STR("targets"), files, n, e)
 *	struct tuf_commit done;
 *	tuf_keeper_commit(k, &arena, &done, e)
 *
 * A commit signs a new version of what was changed, of what lists it, and of what has less than half of its life left; nothing else. Files named
 * by version come first, root after what is signed by old and new keys, timestamp.json last: a reader sees the old state or the new one,
 * whenever the process is killed. Where keys that are needed are elsewhere (a root that several people hold), what was signed so far waits in
 * .staged/, is signed there by each of them (open and commit, with their keys) and published by the one who completes it.
 * How long a role is good stands in its entry of root (or of the delegation): "x-slipway-expiry-days".
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
 * one that is not signed by its own keys. Nothing is fetched; an expired one is fine, its successors may not be. With a dir_fd
 * of -1 it is verified and no more. */
int tuf_client_init(int dir_fd, struct str root, struct err *e);

/* What a root says of itself, for a person who is to believe it; verified by its own keys. In the arena. */
struct tuf_root_info {
	int64_t version, expires_ms, threshold;
	const struct str *keyid; /* of root's own keys */
	size_t key_n;
};
int tuf_root_read(struct str root, struct arena *a, struct tuf_root_info *ret, struct err *e);

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
/* The same of what the folder holds, without asking anybody: whatever of it verifies, expired or not. Before a refresh. */
int tuf_client_held(struct tuf_client *c, struct tuf_trusted *ret, struct err *e);
/* After a refresh: the folder is free for other processes; what the client still fetches is not kept. */
void tuf_client_let_go(struct tuf_client *c);

enum { TUF_SHA256_SIZE = 32, TUF_SHA512_SIZE = 64 };
struct tuf_target {
	struct str path, role;	     /* as asked for; who signed for it */
	const char *url_path;	     /* below the targets' base: "a%20b/DIGEST.name" */
	uint64_t length;	     /* exactly */
	bool has_sha256, has_sha512; /* one of them at least */
	uint8_t sha256[TUF_SHA256_SIZE], sha512[TUF_SHA512_SIZE];
	struct str custom; /* the keeper's own, a JSON object; or empty */
};
/* The paths that targets itself lists, without those of its delegations. Needs a refresh before. */
void tuf_client_paths(struct tuf_client *c, struct arena *a, struct str **ret, size_t *ret_n);
/* Looks through targets and its delegations, depth first, in their order (5.6.7). Needs a refresh before. The target's strings
 * live as long as the client. */
int tuf_client_target(struct tuf_client *c, struct str path, struct tuf_target *ret, struct err *e);
int tuf_target_check(const struct tuf_target *t, struct str bytes, struct err *e);
int tuf_target_check_fd(const struct tuf_target *t, int fd, struct err *e); /* from its start; the offset stays */

/* "2044-08-10T10:05:04Z", nothing else: as metadata has it. */
bool tuf_time(struct str text, int64_t *ret_ms);

/* -- keys -------------------------------------------------------------------------------------------------------------------------- */

enum tuf_key_type { TUF_ED25519, TUF_ECDSA_P256 };
struct tuf_public_key {
	struct str keyid, json; /* {"keytype": …, "scheme": …, "keyval": {"public": …}} */
};
/* Makes a key and writes it to KEYID.pem (0600) in that folder. */
int tuf_key_make(enum tuf_key_type type, int dir_fd, struct arena *a, struct tuf_public_key *ret, struct err *e);
/* The same, encrypted with a passphrase of at least one byte (PKCS #8: scrypt, AES-256-CBC), which nobody can sign without. */
int tuf_key_make_encrypted(enum tuf_key_type type, struct str passphrase, int dir_fd, struct arena *a,
			   struct tuf_public_key *ret, struct err *e);
/* Where passphrases of keys come from: appended; asked when such a key is to sign, once a keeper. `key`: its file. */
struct tuf_passphrase {
	int (*ask)(void *ctx, const char *key, struct buf *ret, struct err *e);
	void *ctx;
};
/* What another keeper sent: such an object. Its keyid is made of it, whatever stands there. */
int tuf_key_parse(struct arena *a, struct str json, const char *where, struct tuf_public_key *ret, struct err *e);

/* -- the keeper -------------------------------------------------------------------------------------------------------------------- */

struct tuf_keeper;
struct tuf_keeper_opts {
	int dir_fd;	    /* metadata; stays the caller's, as the others do */
	const int *keys_fd; /* folders of private keys; the first that has one is taken */
	size_t keys_n;
	const struct clock *clock;
	int64_t wait_ms;			 /* for another keeper; then ERR_BUSY */
	bool dry_run;				 /* a commit makes and tells all, and writes nothing */
	const struct tuf_passphrase *passphrase; /* NULL: keys that have one cannot sign */
};
#define TUF_KEEPER_OPTS_INIT ((struct tuf_keeper_opts){.dir_fd = -1, .clock = &clock_system, .wait_ms = 60000})

/* Reads and verifies what is there (expired is fine: a commit renews it). A folder without a root is good for tuf_keeper_role, four times: the
 * commit makes the first version of everything. */
int tuf_keeper_open(const struct tuf_keeper_opts *o, struct tuf_keeper **ret, struct err *e);
void tuf_keeper_free(struct tuf_keeper *k);
DEFINE_AUTO(struct tuf_keeper *, tuf_keeper, tuf_keeper_free);

/* Who signs a role, how many of them, and for how long. */
struct tuf_role_plan {
	const struct tuf_public_key *key;
	size_t key_n;
	int64_t threshold;   /* 1 to key_n */
	int64_t expiry_days; /* 0: as it was; new: root 365, targets and delegated 90, snapshot 14, timestamp 7 */
};
/* root, targets, snapshot, timestamp: the next commit makes a new root. Its signers are the old keys of root and the new ones. */
int tuf_keeper_role(struct tuf_keeper *k, struct str role, const struct tuf_role_plan *p, struct err *e);
/* The keys of a role as they are now, top-level or delegated: to change a plan. Lives as long as the keeper. */
int tuf_keeper_plan(struct tuf_keeper *k, struct str role, struct tuf_role_plan *ret, struct err *e);

struct tuf_delegation {
	struct str name; /* letters, digits, "_", "-" and ".", beginning with a letter or digit */
	struct tuf_role_plan role;
	const struct str *path; /* patterns; '*' stays within a component */
	size_t path_n;
	bool terminating;
};
/* Makes or replaces what `parent` ("targets", or a delegated role) delegates to that name. */
int tuf_keeper_delegate(struct tuf_keeper *k, struct str parent, const struct tuf_delegation *d, struct err *e);

/* That delegation as it is now: to change it. Lives as long as the keeper. */
int tuf_keeper_delegation(struct tuf_keeper *k, struct str role, struct str *ret_parent, struct tuf_delegation *ret,
			  struct err *e);

struct tuf_file {
	struct str path;
	uint64_t length;
	uint8_t sha256[TUF_SHA256_SIZE];
	struct str custom; /* a JSON object of the keeper's own; empty: what stood there for the same bytes */
};
/* The role's files: exactly these. Where they are what it lists already, nothing is signed anew for it. */
int tuf_keeper_set_targets(struct tuf_keeper *k, struct str role, const struct tuf_file *v, size_t n, struct err *e);
/* What it lists now, in order of paths (those without a SHA-256 left out). */
int tuf_keeper_targets(struct tuf_keeper *k, struct str role, struct arena *a, struct tuf_file **ret, size_t *ret_n,
		       struct err *e);
/* The files of a folder, digested; without hidden ones (".name"), symbolic links and those that `want` (NULL: all) refuses. */
int tuf_files_of(int tree_fd, bool (*want)(void *ctx, const char *path), void *ctx, struct arena *a,
		 struct tuf_file **ret, size_t *ret_n, struct err *e);
/* Puts each file under "dir/DIGEST.name" into another folder of the same tree or disk, by a hard link (or a copy): where clients of TUF look for it. Those
 * of earlier versions stay, so a file of the tree has to be replaced by rename, not written to in place. */
int tuf_files_place(int tree_fd, const struct tuf_file *v, size_t n, int to_fd, struct err *e);
/* "dir/DIGEST.name", as it is placed. The caller frees it. */
char *tuf_file_name(const struct tuf_file *f);
/* Both at once, for a tree whose files are replaced by rename while this runs: what is placed is what was digested. A file that is still the one
 * that `before` lists (its hard link is there) is not read again. */
int tuf_files_take(int tree_fd, bool (*want)(void *ctx, const char *path), void *ctx, const struct tuf_file *before,
		   size_t before_n, int to_fd, struct arena *a, struct tuf_file **ret, size_t *ret_n, struct err *e);
/* Removes placed files that none of `v` is, and that have been there, under no other name, for so long. Failure to tidy is no failure. */
void tuf_files_tidy(int to_fd, const struct tuf_file *v, size_t n, int64_t older_s);
/* Has the next commit sign a new version, changed or not. */
int tuf_keeper_renew(struct tuf_keeper *k, struct str role, struct err *e);

struct tuf_signed {
	struct str role;
	int64_t version, expires_ms;
	int64_t signatures, threshold;
	bool staged; /* waits for more signatures: not published */
};
struct tuf_commit {
	struct tuf_signed *v;
	size_t n;
};
/* What cannot be published for want of keys is told as `staged`; a snapshot or timestamp is not kept until then, it is made anew by who has their
 * keys. The keeper goes on from what was published. */
int tuf_keeper_commit(struct tuf_keeper *k, struct arena *a, struct tuf_commit *ret, struct err *e);

/* For status pages. */
struct tuf_role_status {
	struct str role, parent;     /* parent "" for top-level ones */
	int64_t version, expires_ms; /* 0: not published yet */
	int64_t threshold;
	size_t keys, keys_here, targets;
	int64_t staged_version, staged_signatures; /* 0: nothing waits */
};
void tuf_keeper_status(struct tuf_keeper *k, struct arena *a, struct tuf_role_status **ret, size_t *ret_n);
