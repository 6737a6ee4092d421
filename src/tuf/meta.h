// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * meta: one metadata file, read and checked as far as it can be without knowing who may sign it; and whether it was signed by them.
 *
 *	struct meta *m;
 *	meta_parse(META_SNAPSHOT, bytes, "snapshot.json", &m, e)       structure, types, bounds, _type, version
 *	meta_verify(m, root->keys, root->keys_n, &root->role[META_SNAPSHOT], e)
 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "tuf/crypto.h"
#include "tuf/tuf.h"

enum meta_kind { META_ROOT, META_TIMESTAMP, META_SNAPSHOT, META_TARGETS, META_KINDS };
extern const char *const meta_kind_name[META_KINDS]; /* "root" */
bool meta_is_top_level(struct str role);

struct meta_key {
	struct str id, public;
	struct str keytype, scheme_name;
	enum tuf_scheme scheme;
	struct public_key *loaded; /* when first needed */
	bool tried;
};

/* Who may sign a role. */
struct meta_role {
	const struct str *keyid;
	uint32_t keyid_n;
	int64_t threshold;	 /* at least 1 */
	const struct json *json; /* for fields of our own */
};

struct meta_hashes {
	bool any, has_sha256, has_sha512; /* any: some are given, known or not */
	uint8_t sha256[TUF_SHA256_SIZE], sha512[TUF_SHA512_SIZE];
};

/* An entry of snapshot's or timestamp's meta. */
struct meta_file {
	struct str name;	 /* "targets.json" */
	int64_t version, length; /* length -1: not given */
	struct meta_hashes hashes;
};

struct meta_delegation {
	struct str name;
	struct meta_role role;
	bool terminating;
	const struct str *path, *hash_prefix; /* one of both lists */
	uint32_t path_n, hash_prefix_n;
};

struct meta_sig {
	struct str keyid, hex;
};

struct meta {
	struct arena arena;
	const char *where; /* for messages */
	enum meta_kind kind;
	struct str bytes, canonical; /* as it came; what is signed */
	const struct json *json, *body;
	int64_t version, expires_ms;
	struct meta_sig *sig;
	uint32_t sig_n;
	/* root: its own and the others' keys; targets: those of its delegations */
	struct meta_key *key;
	uint32_t key_n;
	struct meta_role role[META_KINDS]; /* root */
	bool consistent_snapshot;
	struct meta_file *file; /* timestamp (one), snapshot; in order of names */
	uint32_t file_n;
	const struct json *targets; /* targets: path → length, hashes */
	struct meta_delegation *delegation;
	uint32_t delegation_n;
	struct { /* TAP 15 */
		struct str prefix;
		int64_t bits; /* 0: none */
		struct meta_role role;
	} bins;
};

int meta_parse(enum meta_kind kind, struct str bytes, const char *where, struct meta **ret, struct err *e);
void meta_free(struct meta *m);
DEFINE_AUTO(struct meta *, meta, meta_free);

/* ERR_VERIFY unless `threshold` different keys of the role signed m. `by` holds the keys: a root, or a targets that delegates. */
int meta_verify(const struct meta *m, struct meta *by, const struct meta_role *role, struct err *e);
/* How many of the role's keys did, by value. */
int64_t meta_signatures(const struct meta *m, struct meta *by, const struct meta_role *role);
/* The key with that id, loaded; NULL where there is none that can verify. */
struct public_key *meta_key_loaded(struct meta *by, struct str id);
/* True where every key of `role` in `before` is one of `role` in `after`, by value. */
bool meta_keys_kept(struct meta *before, struct meta *after, enum meta_kind role);

const struct meta_file *meta_file_find(const struct meta *m, struct str name);
/* NULL where targets does not name it. */
const struct json *meta_target_find(const struct meta *m, struct str path);
int meta_hashes_read(const struct json *j, bool optional, struct meta_hashes *ret, struct err *e);
int meta_hashes_check(const struct meta_hashes *h, struct str bytes, struct err *e);

/* Shell pattern, component by component: neither '*' nor '?' nor a set takes a '/'. */
bool path_matches(struct str pattern, struct str path);
/* As a part of a URL or a file name: all but letters, digits and "_.-~" as %XX; '/' too, but where keep_slash. */
void put_quoted(struct buf *b, struct str s, bool keep_slash);
