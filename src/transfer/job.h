// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * job (private to transfer): one request while it is queued, under way, or waiting for its next try.
 */
#include "base/buf.h"
#include "base/vec.h"
#include "transfer/curl.h"
#include "transfer/transfer.h"

enum { SAID_MAX = 300 };
enum job_state { JOB_QUEUED, JOB_ACTIVE, JOB_WAITING };

struct job {
	struct transfer *t;
	struct transfer_request *r;
	enum job_state state;
	uint64_t serial; /* order of adding */
	unsigned tries;	 /* that failed */
	bool digest_retried, started;
	int64_t retry_at_ms, told_at_ms;
	int64_t begun_ms; /* the first try */
	/* What the caller holds: asked about by each try from the beginning. A try that breaks off may have put the
	 * validators of what it did not get to read into the request. */
	char held_etag[256], held_last_modified[64];
	/* of the current try: */
	CURL *easy;
	struct curl_slist *headers;
	struct digest *digest;
	uint64_t at;	     /* bytes in fd */
	uint64_t page_bytes; /* of an answer that is not the file */
	/* waiting for the engine's limit: since when (0: it is not), and how long so far */
	int64_t paused_at_ms, paused_ms;
	/* of the measuring of slowness */
	int64_t window_ms;
	uint64_t window_bytes;
	bool window_paused;
	bool body_checked, paused, is_conditional;
	int nearness; /* of the server before; -1: there was none (http.c) */
	long status;
	bool page_is_text, page_line_ended;
	char said[SAID_MAX + 1]; /* the first line of a page that is plain text, what can be printed of it */
	int64_t retry_after_s, range_start;
	bool by_url, distrusted; /* its trust is trust_of's; it was asked once more */
	bool own_authority; /* whoever answers is held against a file that was named, not against the system's list */
	struct err abort;   /* why a callback stopped the transfer */
	char reason[CURL_ERROR_SIZE];
};

struct tls_seen; /* tls.c */

struct transfer {
	struct transfer_opts o;
	const struct curl_api *curl; /* NULL until the first http(s) request */
	CURLM *multi;
	VEC(struct job *) jobs;
	unsigned active;
	uint64_t serial;
	/* The last byte of any server, or when there was something to do again; not by request: one that waits for a
	 * connection hears nothing either. */
	int64_t heard_ms;
	bool silence_told;
	int64_t retry_told_ms; /* until when a person knows from a retry's note that nothing comes */
	/* the common throttle: bytes that may be taken now */
	int64_t tokens, tokens_at_ms;
	uint64_t unlooked_bytes; /* written since it was looked whether they leave what is to be left */
	unsigned jitter;
	struct tls_seen *seen; /* the last certificate that was looked at */
};

/* What a try came to. */
enum job_verdict { JOB_GOOD, JOB_FAILED, JOB_TRY_AGAIN, JOB_START_OVER };

/* Prepares the easy handle of an http(s) job: request headers, resuming, callbacks. */
int job_begin(struct job *j, struct err *e);
enum job_verdict job_judge(struct job *j, CURLcode code);
void job_end_try(struct job *j);
/* A file:// request, done on the spot. */
enum job_verdict job_copy_file(struct job *j);
/* Digest and size of what is in fd against what is expected. */
enum job_verdict job_check_body(struct job *j);
/* Hashes what is in fd already, and forgets it where it cannot be resumed. */
int job_prepare_body(struct job *j, struct err *e);
int job_truncate(struct job *j, struct err *e);
int job_write(struct job *j, const void *p, size_t n, struct err *e);
/* A server said something. */
void transfer_heard(struct transfer *t);
void job_tell(struct job *j, enum progress_kind kind, const char *text);
/* Has the certificate that the server shows be noted, where libcurl speaks TLS by OpenSSL. */
void tls_watch(struct job *j);
/* What was wrong with it, in words; false where nothing is known. */
bool tls_why(struct job *j, struct err *e);
void tls_forget(struct transfer *t);
