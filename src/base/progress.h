// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * progress: what a long operation tells its caller while it runs. Library code calls; cmd/ renders (bars on a terminal,
 * JSON lines for programs, nothing otherwise). Events come from several threads at once: who receives them locks.
 */
#include <stdint.h>

enum progress_kind {
	PROGRESS_BEGIN,	 /* item `id` begins; total may be 0 where unknown */
	PROGRESS_UPDATE, /* done of total */
	PROGRESS_DONE,
	PROGRESS_FAILED, /* text says why */
	PROGRESS_NOTE,	 /* a line a person should see (a warning, a retry) */
};
struct progress_event {
	enum progress_kind kind;
	const char *phase;    /* "download", "unpack", "link", "index", "fetch" */
	const char *id;	      /* what: a file name or URL */
	const char *text;     /* note or reason */
	uint64_t done, total; /* bytes, or files for "link" */
};
struct progress {
	void (*event)(struct progress *p, const struct progress_event *ev);
	void *ctx;
};
/* p may be NULL. */
static inline void progress_send(struct progress *p, struct progress_event ev)
{
	if (p && p->event)
		p->event(p, &ev);
}
