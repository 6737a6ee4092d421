// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_kept: the folder of built packages (build/build.h, "packages that were built before"). Private to build/.
 *
 *	KEPT/pkg/KEY/list	what it put into a prefix (env_opam_tree_print), below a line with the SHA-256 of that
 *	KEPT/pkg/KEY/key	the text whose digest is KEY: its second line names the package, the third the prefix. Its time is that of the last use
 *	KEPT/pkg/KEY/files/	those files
 *	KEPT/tmp/		what is being written
 *	KEPT/busy/KEY		locked by whoever builds it
 *	KEPT/lock		held shared by runs, exclusively by gc
 */
#include "env/env.h"

struct opam_kept {
	const char *path;
	int fd, lock_fd; /* -1: there is none */
};
int opam_kept_open(struct opam_kept *k, const char *path, struct err *e);
void opam_kept_close(struct opam_kept *k);
bool opam_kept_has(const struct opam_kept *k, const char *key);
int opam_kept_read(const struct opam_kept *k, const char *key, struct arena *a, struct env_opam_tree *ret,
		   struct err *e);
/* A copy into the folder `to`, each file checked: 1; 0: it is not there, or damaged, and then away. */
int opam_kept_take(const struct opam_kept *k, const char *key, int to, struct arena *a, struct env_opam_tree *ret,
		   struct err *e);
/* Files below from_fd. 1; 0: another run was quicker. With `replace` what was there goes. */
int opam_kept_put(const struct opam_kept *k, const char *key, struct str text, const struct env_opam_tree *t,
		  int from_fd, bool replace, struct err *e);
/* 1: it is ours to build, until the fd is closed; 0: somebody else builds it just now. */
int opam_kept_lock(const struct opam_kept *k, const char *key, int *ret_fd, struct err *e);
