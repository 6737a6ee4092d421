// SPDX-License-Identifier: Apache-2.0
#pragma once
/* job (private to cmd): what the commands of the queue share, and `slipway build --pool`. */
#include "cmd/cmd.h"
#include "job/job.h"

/* The queue of ROOT/build, with the pools of the configuration. It lives to the end of the command's arena; the caller closes it. */
int cmd_open_queue(struct cmd_context *c, struct job_queue **ret, struct err *e);
/* Layers of ROOT/build that were last used before that moment are gone: jobs are no longer sent here for their sake. */
void cmd_hints_pruned(struct cmd_context *c, int64_t before_ms);
/* A number of a job as typed. */
int cmd_job_id(const char *word, uint64_t *ret, struct err *e);

/* Where a job goes, as `job submit` and `build` are asked: */
struct cmd_job_options {
	const char *pool, *client, *hint, *title;
	bool urgent, detach;
	int64_t time_s;
	struct cmd_list env; /* NAME or NAME=VALUE */
};
#define CMD_JOB_OPTIONS(o)                                                                                             \
	{0, "pool", CMD_TEXT, &(o)->pool}, {0, "client", CMD_TEXT, &(o)->client},                                      \
		{0, "cache-hint", CMD_TEXT, &(o)->hint}, {0, "urgent", CMD_FLAG, &(o)->urgent},                        \
	{                                                                                                              \
		0, "detach", CMD_FLAG, &(o)->detach                                                                    \
	}
/* Submits it and, but with --detach, follows it to its end; its exit code is this command's. s: argv, dir, header, hint, prepare are set. */
int cmd_run_job(struct cmd_context *c, const struct cmd_job_options *o, struct job_spec *s);
void cmd_put_job(struct jw *w, const struct job_info *j);
