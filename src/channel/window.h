// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * window: a large JSON document read through a window, member by member, record by record. Private to channel/.
 *
 * The window holds at least one whole record. A record that does not end in it is begun again after the rest of it has
 * been brought in. Views that a scan gave are good until the next one.
 */
#include "base/cleanup.h"
#include "base/progress.h"
#include "base/stream.h"
#include "channel/scan.h"

enum { WINDOW_MAX = 64 << 20 }; /* one record, one string, info */
struct window {
	struct istream *in;
	char *buf;
	size_t cap;
	char *p, *end;
	uint64_t base; /* offset of buf in the document */
	bool eof;
	struct progress *progress;
	uint64_t reported;
};
void window_init(struct window *w, struct istream *in, struct progress *progress);
void window_release(struct window *w);
#define auto_window cleanup_with(window_release) struct window

int window_bad_at(struct window *w, const char *p, const char *what, struct err *e);
/* Something read strictly failed: the cause gets its place. */
int window_ctx_at(struct window *w, const char *p, struct err *e);
/* Runs fn over the window until it has what it needs. */
typedef bool scan_fn(struct scan *s, void *ctx);
int window_scan(struct window *w, scan_fn *fn, void *ctx, struct err *e);
/* Skips a value of any size. */
int window_skip_value(struct window *w, struct err *e);

bool scan_open(struct scan *s, void *ctx);	/* '{' */
bool scan_one_value(struct scan *s, void *ctx); /* struct str: its text */

/* Takes the value of `key` (raw; good until the next scan), or skips it. */
typedef int window_member_fn(void *ctx, struct window *w, struct str key, struct err *e);
/* The whole document, one object, member by member; an empty file is an empty channel (CEP 36). */
int window_document(struct window *w, window_member_fn *fn, void *ctx, struct err *e);
/* The value of "v3" (CEP 48): {"conda": {stem: record, …}, "tar.bz2": {…}, …}; fn takes the two of them. */
int window_v3(struct window *w, window_member_fn *fn, void *ctx, struct err *e);

/*
 * The whole document as parts, for whoever copies or counts: records one by one, every other member of the document whole.
 * Keys and values are raw text as it stands there. Memory does not grow with the document.
 */
enum repodata_section { REPODATA_PACKAGES, REPODATA_CONDA, REPODATA_V3_PACKAGES, REPODATA_V3_CONDA, REPODATA_SECTIONS };
struct repodata_visit {
	int (*record)(void *ctx, enum repodata_section section, struct str key, struct str record, struct err *e);
	int (*member)(void *ctx, struct str key, struct str value, struct err *e); /* NULL: skipped */
	void *ctx;
};
int repodata_visit(struct istream *in, const struct repodata_visit *v, struct progress *p, struct err *e);
