// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_reuse_key: the key of a built package. Private to build/.
 *
 * A key is the SHA-256 of a text that names whatever can change what building the package puts into the prefix, a line each (doc/formats/opam-built.md):
 * the fields of its opam file that build, its sources by their digests, the variables and programs that it mentions, what lies in the prefix of
 * what it stands on, near and far, and of the host the environment, the tools and the system's packages that it names. What cannot be told so has no key and
 * is always built. Too much in a key costs a build; too little would be a wrong result.
 *
 *	opam_reuse_key.c	the text
 *	opam_reuse_host.c	its lines about the host
 *	opam_content.c		what an installed package put into the prefix, as a digest
 */
#include "env/env.h"
#include "pkg/pkg.h"

struct opam_run;
struct build_opam_package;

/* The key of package i and its text, in a; `ahead`: before anything is done, where what is planned counts as installed with the contents that were
 * guessed for it (opam_reused.content). False: it has none, or not yet. With the state locked. */
bool opam_reuse_key(struct opam_run *r, size_t i, bool ahead, struct arena *a, char key[65], struct str *ret_text);
/* There is nothing to build or install: it puts nothing there, and needs no key. */
bool opam_reuse_is_empty(const struct build_opam_package *p);
/* SHA-256, in hex. */
void opam_reuse_hex(struct str text, char out[65]);

/* -- lines about the host; results of expensive reads are kept for the run ---------------------------------------------------- */

/* Variables of the environment that compilers and OCaml's tools listen to, without the prefix itself in them. */
void opam_reuse_put_environment(struct opam_run *r, struct arena *a, struct buf *b);
/* The distribution's release, and the compiler that PATH leads to. */
void opam_reuse_put_machine(struct opam_run *r, struct arena *a, struct buf *b);
/* The programs that commands begin with, outside of the prefix. */
void opam_reuse_put_commands(struct opam_run *r, struct arena *a, const struct pkg_opam_lines *l,
			     const struct pkg_opam_host *h, struct buf *b);
/* What a package stands for that lies outside of the prefix: its depexts, the programs of a conf package, the host's OCaml. */
void opam_reuse_put_outside(struct opam_run *r, struct arena *a, struct str name, const struct pkg_opam *o,
			    const struct pkg_opam_host *h, struct buf *b);

/* -- what a package put into the prefix (opam_content.c); with the state locked ------------------------------------------------ */

void opam_content_digest(const struct env_opam_tree *t, char out[65]);
/* That of an installed package; false: it cannot be told. */
bool opam_content_installed(struct opam_run *r, struct arena *a, struct str name, struct str version, char out[65]);
void opam_content_remember(struct opam_run *r, struct str name, struct str version, const struct env_opam_changes *c,
			   const char content[65]);
void opam_content_forget(struct opam_run *r, struct str name, struct str version);
