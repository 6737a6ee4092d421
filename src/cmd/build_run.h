// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * build_run: how commands run a build: the options that say so, the log, the end.
 *
 *	struct cmd_build_options o = CMD_BUILD_OPTIONS_INIT;
 *	… CMD_BUILD_OPTIONS(&o) among the options of the command
 *	struct build_opts b;
 *	if (cmd_build_opts(c, &o, &b, e) < 0) …                    limits, secrets; text, file, context, layers and apart are the caller's
 *	int code = cmd_build_run(c, &b, true, &result, e);              prints the log as it is made, and how it ended; Ctrl-C ends it
 *
 * cmd_build_words gives the options back as words, for another process that is to do the same.
 */
#include "build/build.h"
#include "cmd/cmd.h"

struct cmd_build_options {
	const char *tag, *store, *network, *memory, *disk;
	int64_t processes, time_s; /* -1: not said */
	bool fast_sync, no_fast_sync, nested, no_replay, no_cache;
	struct cmd_list secrets, secrets_env;
	struct cmd_list left_out; /* folders of the context */
};
#define CMD_BUILD_OPTIONS_INIT ((struct cmd_build_options){.processes = -1, .time_s = -1})
#define CMD_BUILD_OPTIONS(o)                                                                                           \
	{0, "store", CMD_TEXT, &(o)->store}, {0, "network", CMD_TEXT, &(o)->network},                                  \
		{0, "memory", CMD_TEXT, &(o)->memory}, {0, "processes", CMD_NUMBER, &(o)->processes},                  \
		{0, "disk", CMD_TEXT, &(o)->disk}, {0, "time", CMD_NUMBER, &(o)->time_s},                              \
		{0, "fast-sync", CMD_FLAG, &(o)->fast_sync}, {0, "no-fast-sync", CMD_FLAG, &(o)->no_fast_sync},        \
		{0, "no-replay", CMD_FLAG, &(o)->no_replay},                                                           \
	{                                                                                                              \
		0, "no-cache", CMD_FLAG, &(o)->no_cache                                                                \
	}
void cmd_build_options_release(struct cmd_build_options *o);

int cmd_build_opts(struct cmd_context *c, const struct cmd_build_options *a, struct build_opts *o, struct err *e);
/* What no copy takes: folders in which builds write, and what --leave-out says of the context. */
const char *const *cmd_build_left_out(struct cmd_context *c, const struct cmd_build_options *a, const char *context);
/* What the build is asked for, beside its spec and context: another process reads it, in another folder. */
int cmd_build_words(struct cmd_context *c, const struct cmd_build_options *a, struct cmd_list *words, struct err *e);
/* An exit code; -1: it could not be tried. tell_id: the last line is the result's. */
int cmd_build_run(struct cmd_context *c, struct build_opts *o, bool tell_id, struct build_result *r, struct err *e);
/* "end", "id", "steps", … */
void cmd_build_put_result(struct jw *w, struct cmd_context *c, const struct build_result *r);
/* Part of the log: it is the answer; beside a JSON one it is chatter, for who asks for it. */
void cmd_build_put_log(struct cmd_context *c, struct str s);
