// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * repo: a TUF repository over transfer: where metadata and targets come from, in which folder what was verified is kept, how long a server may
 * take. What is verified, and how, is tuf's (tuf/tuf.h); this adds the network and the clock, and knows nothing of what the files mean.
 *
 *	tuf_client_init(dir_fd, root_json, e)                  once: the root that is trusted from then on ("pinned")
 *
 *	struct repo_opts o = REPO_OPTS_INIT;
 *	o.transfer = t, o.dir_fd = dir_fd;
 *	o.metadata_url = "https://m/c/tuf/metadata", o.targets_url = "https://m/c/tuf/targets";
 *	auto_ptr(repo) r = NULL;
 *	repo_open(&o, &r, e)                                  reads the root; holds the folder against other processes
 *	repo_refresh(r, e)                                    root, timestamp, snapshot, targets
 *	rc = repo_read(r, STR("host/plan.spr"), &buf, e)      1: whole and as signed; 0: nobody signs for it; -1
 *	rc = repo_target(r, path, &target, e); repo_fetch(r, &target, fd, e)		the same into a file
 *
 * Both addresses are http, https or file. A metadata file that is longer than may be is cut off; one that comes slower than 1 KB a second after
 * `patience_ms` is as good as none. Who holds the server, its name and its TLS, but no key, can refuse and nothing else.
 *
 * Errors: ERR_NETWORK nobody answered, or too slowly: what was verified before stays; ERR_VERIFY refused, with
 * file, role and dates; so is a repository that lacks a file that it must have, timestamp.json first of all: what was signed and
 * is not any more is never one without signatures. All say what they are of (`label`).
 *
 * While one of these runs, nothing else may be under way in the same transfer engine.
 */
#include "transfer/transfer.h"
#include "tuf/tuf.h"

enum { REPO_PATIENCE_MS = 60000 };

/* A metadata file that came, before it is verified: for who carries them on. */
typedef void repo_came_fn(void *ctx, const char *name, struct str bytes);

struct repo_opts {
	struct transfer *transfer; /* stays the caller's; NULL: nothing is asked (ERR_NETWORK) */
	int dir_fd;		   /* the folder of tuf_client_init; stays the caller's */
	const char *metadata_url, *targets_url;
	const char *label; /* for messages: "channel 'x'"; NULL: the metadata's URL */
	const struct clock *clock;
	struct tuf_limits limits;
	int64_t patience_ms; /* 0: REPO_PATIENCE_MS */
	int64_t wait_ms;     /* for another process that holds the folder */
	bool keep_nothing, plain_urls;
	repo_came_fn *came; /* or NULL */
	void *came_ctx;
	/* In place of transfer, for who has several servers to ask: as tuf_fetch_fn. */
	tuf_fetch_fn *fetch;
	void *fetch_ctx;
};
#define REPO_OPTS_INIT ((struct repo_opts){.dir_fd = -1, .clock = &clock_system, .wait_ms = 60000})

struct repo;
int repo_open(const struct repo_opts *o, struct repo **ret, struct err *e);
void repo_free(struct repo *t);
DEFINE_AUTO(struct repo *, repo, repo_free);

int repo_refresh(struct repo *t, struct err *e);
/* Versions and the first date of expiry, of what was verified. */
struct tuf_trusted repo_state(const struct repo *t);
/* Of what the folder holds, without asking anybody, before a refresh. */
int repo_held(struct repo *t, struct tuf_trusted *ret, struct err *e);
/* After a refresh: other processes may have the folder. */
void repo_let_go(struct repo *t);
/* As tuf_client_target, after a refresh. */
int repo_target(struct repo *t, struct str path, struct tuf_target *ret, struct err *e);
/* As tuf_client_paths, after a refresh. */
void repo_paths(struct repo *t, struct arena *a, struct str **ret, size_t *ret_n);
/* The URL it is fetched from, once more behind the targets' own. The caller frees it. */
char *repo_target_url(const struct repo *t, const struct tuf_target *target);
/* Into fd, from its beginning; verified: length and digests. */
int repo_fetch(struct repo *t, const struct tuf_target *target, int fd, struct err *e);
/* Appends; a target longer than the buffer's maximum is ERR_LIMIT. 1, or 0: nobody signs for it. */
int repo_read(struct repo *t, struct str path, struct buf *ret, struct err *e);

/* One file over transfer with patience: at most max_bytes into fd, and not slower than 1 KB a second after patience_ms. 403 counts as
 * ERR_NOT_FOUND, since some servers say so of a file that is not there. */
int repo_get(struct transfer *t, const char *url, int fd, uint64_t max_bytes, int64_t patience_ms, struct err *e);
/* The same, appended. */
int repo_get_text(struct transfer *t, const char *url, int64_t patience_ms, struct buf *ret, struct err *e);
