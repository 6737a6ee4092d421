// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * build_job: `slipway build --pool`: a build as a job of the queue.
 *
 *	struct cmd_build_job j = {0};
 *	… CMD_BUILD_JOB(&j) among the options of build
 *	if (j.o.pool) return cmd_build_job(c, &j, &what);
 *
 * The spec, and the folder that is its context unless --in-place says otherwise, are copied below ROOT/build/job/N when the job is submitted:
 * what is built is what was there then. The job is this same program: `slipway build -f COPY WORDS... [CONTEXT]`.
 */
#include "cmd/job.h"

struct cmd_build_job {
	struct cmd_job_options o;
	bool in_place;
};
#define CMD_BUILD_JOB(j)                                                                                               \
	CMD_JOB_OPTIONS(&(j)->o),                                                                                      \
	{                                                                                                              \
		0, "in-place", CMD_FLAG, &(j)->in_place                                                                \
	}
struct cmd_build_what {
	struct str spec;		 /* its text */
	const char *context;		 /* NULL: none, or words name where it comes from */
	const struct cmd_list *left_out; /* folders of it that need not be copied; NULL: none */
	const char *const *words;	 /* every other option that the build has, paths absolute */
	size_t n_words;
	struct str header, hint, title; /* hint: unless --cache-hint says another one */
};
/* Whether what goes with --pool goes without it. */
int cmd_build_job_check(const struct cmd_build_job *j, struct err *e);
int cmd_build_job(struct cmd_context *c, const struct cmd_build_job *j, const struct cmd_build_what *what);
