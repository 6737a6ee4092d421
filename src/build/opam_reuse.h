// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_reuse: the keys by which built packages are found again (build/build.h, "packages that were built before"), and what is done with
 * them in the steps of a run. Private to build/.
 *
 * Keys are looked for twice: before anything is fetched, with what is kept of packages that come first standing for what they will put into the prefix, so
 * that what is expected to be found is not fetched; and when the package is to be built, with what lies in the prefix then, which alone counts.
 */
#include "build/opam_kept.h"

struct opam_run;
struct build_opam_package;

struct opam_reused { /* of a package of the run */
	bool looked_for;
	bool expected; /* it is not fetched: it should be found */
	bool found;    /* its files lie in `dir`, checked */
	bool keyed;    /* key, text: as what lies in the prefix has them */
	char key[65];
	struct str text;
	char content[65]; /* expected: digest of the list of its files */
	const char *dir;  /* in the scratch folder */
	struct env_opam_tree tree;
	int lock_fd; /* held while we build it */
};
struct opam_reuse {
	struct opam_kept kept;
	bool on;
	struct opam_reused *v;	 /* as the packages of the run */
	struct map *programs;	 /* path → digest */
	struct map *contents;	 /* "name.version" installed → digest of the list of its files */
	struct map *system;	 /* of system packages → version; NULL: not read yet */
	const char *system_kind; /* "apk", "dpkg"; else what stands for all of them */
	struct str release;	 /* /etc/os-release */
	size_t n_reused, n_kept;
	const char *not_kept;
};
/* Opens the folder, and tells what is expected to be found there. */
int opam_reuse_begin(struct opam_run *r, struct err *e);
void opam_reuse_end(struct opam_run *r);
/* Package i is to be built, what it depends on is installed: 1: it need not be, see found; 0: it must be, and nobody else does so now. */
int opam_reuse_find(struct opam_run *r, size_t i, struct arena *a, struct err *e);
/* What was found goes into the prefix. */
int opam_reuse_lay(struct opam_run *r, size_t i, struct err *e);
/* It is installed: its files are kept, where they have a key and were built now. Never fails. With the state locked. */
void opam_reuse_installed(struct opam_run *r, size_t i, const struct env_opam_changes *c);
/* Package i is not installed any more, or failed. */
void opam_reuse_forget(struct opam_run *r, size_t i);
