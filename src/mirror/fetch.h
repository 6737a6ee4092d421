// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * fetch (private to mirror): one file from whichever upstream gives it right. A layer over transfer: each request goes to one
 * upstream after the other (upstream.h). What one began another goes on with, by Range, where a digest over the whole will tell
 * or a strong ETag is the same; else it begins anew.
 *
 *	struct fetcher *f; fetcher_new(m, &upstreams, bytes_per_s, parallel, progress, &f, e)
 *	fetcher_add(f, &get)               get lives until its `done`
 *	while ((rc = fetcher_step(f, wait_ms, e)) > 0) …
 *
 * A get ends with
 *	ERR_NONE       good: whole, size and digest right; or `unchanged` (HTTP 304)
 *	ERR_NOT_FOUND  each upstream answered, and none has it
 *	ERR_VERIFY     each upstream answered, and none has it right
 *	ERR_NETWORK    some did not answer
 *	another        a failure here (disk full), or interrupted
 */
#include "mirror/upstream.h"
#include "transfer/transfer.h"

struct get {
	struct str path;    /* below the root of the channel */
	struct str url;	    /* STR_NONE, absolute, or a reference against the root */
	const char *accept; /* or NULL */
	const char *label;
	int fd;
	uint64_t have; /* bytes of an earlier try; only with a digest */
	uint64_t size; /* 0: not told */
	uint64_t max_bytes;
	struct digest_value digest;
	int prefer;    /* upstream to begin with; -1 */
	bool optional; /* the first that answers decides whether there is such a file */
	/* in: validators of what is held, and whose they are (-1: nobody's); out: what the server said */
	char etag[256], last_modified[64];
	int validators_of;
	void (*done)(struct get *g, void *ctx);
	void *ctx;
	/* out: */
	struct err err;
	bool unchanged;
	int upstream;	     /* that gave it; -1 */
	uint64_t got_bytes;  /* in fd */
	uint64_t came_bytes; /* over the net */
	int64_t took_ms, max_age_s;
	/* within: */
	struct fetcher *f;
	struct transfer_request r;
	struct transfer_trust trust;
	uint64_t tried;
	char *address;
	char held_etag[256], held_last_modified[64];
	bool unanswered, wrong;
	struct err worst;
};

struct fetcher;
int fetcher_new(struct mirror *m, struct upstreams *u, uint64_t bytes_per_s, unsigned parallel, struct progress *p,
		struct fetcher **ret, struct err *e);
/* Another limit from the next step on; not from none to one, nor back. */
void fetcher_limit(struct fetcher *f, uint64_t bytes_per_s);
void fetcher_add(struct fetcher *f, struct get *g);
/* 1: more to do; 0: nothing; -1. */
int fetcher_step(struct fetcher *f, int wait_ms, struct err *e);
/* Each `done` is called. */
void fetcher_cancel(struct fetcher *f);
void fetcher_free(struct fetcher *f);
DEFINE_AUTO(struct fetcher *, fetcher, fetcher_free);
