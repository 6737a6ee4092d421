// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * link (private to env): lays the trees of a lock's packages into an empty prefix, as a conda client does.
 *
 * link_all makes every file of the new generation under prefix_fd, records each package in conda-meta/, and reports
 * clobbered paths. Nothing outside prefix_fd is written. Work is spread over threads by package or by folder; what is
 * written does not depend on timing. Durability is the caller's: it syncs the file system at the end. Where there is much to
 * write, link_all has the file system begin with it early.
 *
 * `prefix` must lead to prefix_fd while this runs: link scripts and the interpreter that compiles are given it, and both
 * happen in place. After a failure the prefix holds rubbish, which the caller removes.
 *
 * Errors: ERR_INPUT and ERR_LIMIT for what a package says, naming package and path; ERR_NOT_FOUND where a tree lacks a file
 * that its package lists; ERR_EXISTS where clobbering is refused; ERR_FAILED for a link script and for system calls.
 * What is written, file by file: doc/formats/prefix.md.
 */
#include "env/env.h"

struct link_job {
	int prefix_fd;
	const char *prefix; /* absolute real path that goes into files */
	struct store *store;
	const struct env_spec_file *target; /* packages in link order; variables for conda-meta/state */
	const char *requested_by;	    /* the command line, for history */
	const struct env_spec_file *before; /* what was there, for history; NULL: nothing */
	struct str history;		    /* conda-meta/history as it was; STR_NONE: none */
	struct str state;		    /* conda-meta/state as it was; STR_NONE: none, or not to go along */
	/* Called once on the caller's thread while others place files, after all that can be refused has been. NULL: nothing. */
	int (*meanwhile)(void *ctx, struct err *e);
	void *meanwhile_ctx;
	const struct env_opts *opts;
};
struct link_clobber {			/* one path that two packages brought */
	struct str path, winner, loser; /* package file names */
	bool same; /* the same content: nobody can tell the difference, and ENV_CLOBBER_REFUSE does not mind */
};
struct link_report {
	uint64_t files, bytes, linked, copied, patched; /* linked: hard links and reflinks */
	struct link_clobber *clobbers;
	size_t clobbers_n;
	struct str *scripts; /* link scripts seen: "NAME: bin/.NAME-post-link.sh (not run: not allowed)" */
	size_t scripts_n;
	struct str messages;   /* what scripts wrote to .messages.txt */
	struct str copied_why; /* why files were copied where links were wanted; STR_NONE where they were not */
	uint64_t compiled, not_compiled; /* noarch Python modules */
};
int link_all(const struct link_job *job, struct arena *a, struct link_report *ret, struct err *e);
