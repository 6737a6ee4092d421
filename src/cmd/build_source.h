// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * build_source: --git and what goes with it, and the head of a job's log (--header), for commands that build or queue a build.
 *
 *	struct build_source s = BUILD_SOURCE_INIT;          (auto_build_source)
 *	… CMD_BUILD_SOURCE(&s) among the options
 *	build_source_resolve(&s, words, n, e)               the folder is one of the words, or the commits are found out
 *	build_source_head(c, &s, spec, file, hint, &out, e) what the log begins with
 *	build_source_checkout(c, &s, dir, fd, &context, e)  the folder; git's words go to fd
 */
#include "build/build.h"
#include "cmd/cmd.h"
#include "git/git.h"

struct build_source {
	const char *git, *commit, *onto, *merge_base;
	const char *note, *title, *variant, *recipe; /* of the head */
	const char *folder;			     /* given as a word; NULL: none */
	struct git_commits commits;		     /* of a repository, once resolved */
	struct git_scratch scratch;
};
#define BUILD_SOURCE_INIT ((struct build_source){.scratch = GIT_SCRATCH_INIT})
#define CMD_BUILD_SOURCE(s)                                                                                            \
	{0, "git", CMD_TEXT, &(s)->git}, {0, "commit", CMD_TEXT, &(s)->commit}, {0, "onto", CMD_TEXT, &(s)->onto},     \
		{0, "merge-base", CMD_TEXT, &(s)->merge_base}, {0, "note", CMD_TEXT, &(s)->note},                      \
		{0, "title", CMD_TEXT, &(s)->title}, {0, "variant", CMD_TEXT, &(s)->variant},                          \
	{                                                                                                              \
		0, "recipe", CMD_TEXT, &(s)->recipe                                                                    \
	}
void build_source_release(struct build_source *s);
#define auto_build_source cleanup_with(build_source_release) struct build_source

int build_source_resolve(struct cmd_context *c, struct build_source *s, const char *const *words, size_t n,
			 struct err *e);
/* The parts of a head that tell where the context comes from; the spec is not in it yet. */
int build_source_place(struct cmd_context *c, const struct build_source *s, struct build_head *h, struct err *e);
/* hint: STR_NONE where none is used. */
int build_source_head(struct cmd_context *c, const struct build_source *s, struct str spec, const char *file,
		      struct str hint, struct buf *out, struct err *e);
/* "BASE-NAME-COMMIT" */
int build_source_hint(struct cmd_context *c, const struct build_source *s, struct str spec, const char *file,
		      struct str *ret, struct err *e);
/* dir: where builds keep their layers. *ret_context: NULL where there is neither repository nor folder. */
int build_source_checkout(struct cmd_context *c, struct build_source *s, const char *dir, int log_fd,
			  const char **ret_context, struct err *e);
/* The options by which the same is built elsewhere and later, added to argv: the commits are fixed. */
void build_source_words(struct cmd_context *c, const struct build_source *s, struct cmd_list *argv);
