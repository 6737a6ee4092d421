// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_source: packages that a folder of sources defines, for those who pin to it, install it, or ask for a plan of it.
 */
#include "base/vec.h"
#include "cmd/cmd.h"

struct opam_definition {
	struct str name, version; /* version empty: the file does not say */
	struct pkg_opam_doc doc;
};
VEC_TYPE(opam_definitions, struct opam_definition);
/* Appends to v. By name: NAME.opam of the folder or of its folder opam/, or its file opam; without one (empty) all that these define. None is no
 * error. ERR_INPUT: one cannot be read, or does not say which package it is. */
int opam_definitions_of(struct arena *a, int dir, struct str name, struct opam_definitions *v, struct err *e);
/* The opam file with the definition's name and version, and, where there is one, the URL of its sources. */
void opam_definition_print(struct arena *a, const struct opam_definition *d, struct str url, struct buf *b);
/* A folder, file or URL, and no name or version: it has a slash, or is '.' or '..'. */
bool opam_is_source(const char *word);
