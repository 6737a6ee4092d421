// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * transfer: many downloads at once over kept connections (libcurl's multi interface, HTTP/2 where the server has it).
 *
 *	struct transfer *t;
 *	transfer_new(&opts, &t, e)
 *	transfer_add(t, &request)           as many as wanted; the request must live until its `done` was called
 *	while ((rc = transfer_step(t, wait_ms, e)) > 0) ...     1: more to do; 0: all done; -1: the engine itself failed
 *	transfer_free(t)
 *
 * or transfer_run(t, e), which steps until all are done, and cancels the rest where the engine fails. One request's failure is that request's: its `done` gets the
 * error, the others go on. http, https and file URLs, nothing else; redirects only to http(s), at most 10, and never from
 * https to http. Credentials in a URL are not sent on to another host and never appear in messages. No server leads closer to this
 * machine than it is itself: one elsewhere neither to loopback nor to a link-local address, where services answer that only this
 * machine may ask.
 *
 * Each body is written to `fd` from offset `have` on: with have > 0 a Range request resumes a partial file (guarded by
 * If-Range where a validator is known); a server that answers 200 starts the file anew. Size and digest are checked while
 * it streams: more bytes than `size` stop the transfer at once. A wrong digest truncates the file, and the download is
 * tried once more from its beginning before it fails with ERR_VERIFY.
 *
 * An engine with a limit of its own (max_bytes_per_s) takes no more in any second than that and a quarter, and over a minute
 * the limit: what the kernel would take in the meantime is kept small. Time that a request spent waiting for it is not in took_ms.
 *
 * Where nothing comes: a note after 5 s, a try ends after stall_timeout_ms, and no other is made after silence_ms without a
 * byte from any server, however many tries are left. Less than 64 bytes a second is as good as nothing, or less than
 * min_bytes_per_s over a stall timeout in which the limit held nothing up.
 *
 * Retries: connection failures, time-outs, 408, 425, 429, 500, 502, 503 and 504, up to `retries` times with exponential
 * back-off and jitter (Retry-After is followed up to a minute). 404 and 410 are ERR_NOT_FOUND at once.
 * Errors read "download 'URL': cause; what to do". A TLS connection that fails names certificate, issuer and host.
 *
 * A request with `post` sends that and keeps the answer like a file; it may be sent more than once, as all that fail may.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/progress.h"

/* Whom one request trusts and what it shows, in place of what the engine's options say. Members may be NULL: the system's. */
struct transfer_trust {
	const char *ca_file, *client_cert, *client_key;
	bool unverified; /* whoever answers: for what is verified by other means, and holds nothing that is secret */
};
struct transfer;
struct transfer_opts {
	unsigned max_parallel;	    /* 0: 8 */
	unsigned max_per_host;	    /* 0: 6 */
	unsigned retries;	    /* after the first try; 0: 4; UINT_MAX: none */
	int64_t connect_timeout_ms; /* 0: 15 s */
	int64_t stall_timeout_ms;   /* no byte for so long: 0: 30 s */
	int64_t silence_ms;	    /* in all tries: 0: 60 s, or the stall timeout if that is longer */
	uint64_t max_bytes_per_s;   /* all together; 0: no limit */
	uint64_t min_bytes_per_s;   /* of each; 0: none */
	uint64_t leave_bytes; /* of the file systems that it writes to; what would take of it fails with ENOSPC. 0: nothing */
	const char *ca_file, *client_cert, *client_key; /* NULL: the system's */
	/* For requests without a trust of their own, by URL; NULL where the three above hold. Lives as long as the engine. */
	const struct transfer_trust *(*trust_of)(void *ctx, const char *url);
	/* A server's certificate was refused that trust_of spoke of: true where it would say something else now. Asked once a
	 * request. */
	bool (*distrusted)(void *ctx, const char *url);
	void *trust_ctx; /* of both */
	/* True where what comes from a URL has to have a SHA-256 or a stronger digest, or be vouched for: without, the request fails
	 * with ERR_VERIFY before anything is asked. NULL: nothing has to. */
	bool (*is_signed)(void *ctx, const char *url);
	void *is_signed_ctx;
	const char *user_agent;
	const char *netrc; /* file with credentials; NULL: ~/.netrc if it is there */
	const struct clock *clock;
	struct progress *progress; /* events of phase "download" */
};
#define TRANSFER_OPTS_INIT ((struct transfer_opts){.clock = &clock_system})

struct transfer_request {
	const char *url;
	const char *label;		    /* for progress and messages; NULL: the last part of the URL */
	int fd;				    /* stays the caller's */
	uint64_t have;			    /* bytes already in fd, to resume from */
	uint64_t size;			    /* expected; 0 unknown */
	uint64_t max_bytes;		    /* bound where size is unknown; 0: 64 GiB */
	const uint8_t *sha256;		    /* expected; NULL none */
	const uint8_t *md5;		    /* looked at only without sha256 */
	const struct digest_value *digest;  /* of any kind; looked at only without the two; NULL none */
	const char *accept;		    /* what to say in Accept; NULL: nothing in particular */
	bool vouched;			    /* the caller verifies by other means what comes */
	int priority;			    /* greater begins earlier; equal: in order of adding */
	const struct transfer_trust *trust; /* NULL: the engine's */
	bool led;		/* the URL is some server's word: as if that one had redirected there from elsewhere */
	struct str post;	/* sent as JSON in a POST request; p NULL: GET */
	struct buf *error_body; /* what comes with a status that is an error, up to its maximum; NULL: nobody reads it */
	/* In and out: validators for a conditional request ("" none). */
	char etag[256], last_modified[64];
	/* Out: */
	long status;	     /* last HTTP status; 304 means unchanged; 0 for file:// */
	int64_t max_age_s;   /* of Cache-Control, -1 absent */
	uint64_t got_bytes;  /* in fd now */
	uint64_t came_bytes; /* over the net, in all tries */
	int64_t took_ms;     /* from the first try's beginning, without what the engine's limit made it wait */
	struct err err;	     /* code ERR_NONE: good */
	/* Called once, from transfer_step, when the request ended either way. It may add further requests. */
	void (*done)(struct transfer_request *r, void *ctx);
	void *ctx;
};

int transfer_new(const struct transfer_opts *o, struct transfer **ret, struct err *e);
void transfer_add(struct transfer *t, struct transfer_request *r);
int transfer_step(struct transfer *t, int wait_ms, struct err *e);
int transfer_run(struct transfer *t, struct err *e);
/* Stops what is under way: each `done` gets ERR_FAILED "interrupted"; bytes so far stay in fd. */
void transfer_cancel(struct transfer *t);
/* Another limit (opts.max_bytes_per_s) from the next step on; not from none to one, nor back. */
void transfer_limit(struct transfer *t, uint64_t max_bytes_per_s);
void transfer_free(struct transfer *t);
DEFINE_AUTO(struct transfer *, transfer, transfer_free);

/* The URL without user, password and token, for messages: written into out, cut to fit. */
void transfer_shown_url(const char *url, char *out, size_t size);
