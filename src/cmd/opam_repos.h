// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_repos: which opam repositories a command works with, and their indexes.
 */
#include "cmd/cmd.h"

/* Best first: of a package that several have the first's counts. */
struct cmd_opam_repos {
	struct channel *channel; /* in the context's arena */
	struct opam_index **index;
	size_t n;
};
void cmd_opam_repos_release(struct cmd_opam_repos *r);
#define auto_opam_repos cleanup_with(cmd_opam_repos_release) struct cmd_opam_repos
/* A kept name, a URL, a folder, or a tar. Git repositories are refused with a word on what to do. */
int cmd_opam_parse(struct cmd_context *c, struct str text, struct channel *ret, struct err *e);
/* Those named, or, where none is, the kept ones (none at all: ERR_USAGE); brought up to date as the flags say, beside --offline. */
int cmd_opam_open(struct cmd_context *c, const char *const *names, size_t n, enum channel_refresh_flags flags,
		  struct cmd_opam_repos *ret, struct err *e);
/* The name of a package there that is most like this one, for "did you mean"; empty: none is near. */
struct str cmd_opam_similar(const struct cmd_opam_repos *r, struct str name);
/* Faults in what is held of it, and the first of them; what is not held yet has none. */
uint32_t cmd_opam_left_out(struct cmd_context *c, const struct channel *ch, struct str *first);
/* Of the root: packages that were built before (build/build.h). */
#define CMD_OPAM_KEPT "opam/built"
#define CMD_OPAM_ARCHIVES "opam/download-cache" /* of sources of what environments have */
/* Whether this user may write there. */
bool cmd_opam_may_keep(struct cmd_context *c);
