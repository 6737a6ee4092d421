// SPDX-License-Identifier: Apache-2.0
#pragma once
/* opam_set: what opam_set.c and opam_set_record.c share. Private to build/; the public half is in build/build.h. */
#include "base/map.h"
#include "base/vec.h"
#include "build/build.h"
#include "channel/channel.h"
#include "env/env.h"
#include "solve/solve.h"

struct opam_chosen {
	struct str name, version;
	const struct pkg_record *before; /* of that very version, in the environment or the lock; NULL: new */
	bool known, reached;		 /* known: a repository has it, as `id` of the needs */
	uint32_t id;
	const struct str *depends; /* "opam:ocaml (>= 4.08)" */
	size_t depends_n;
};
struct build_opam_set {
	struct arena *a;
	struct store *store;
	struct build_opam_repos repos;
	struct build_workshop *workshop;
	struct channel_needs *needs; /* of a host where nothing is installed */
	VEC(struct opam_chosen) chosen;
	struct map by_name; /* into chosen, + 1 */
	/* In the order of work: */
	struct build_made *v;
	const struct opam_chosen **of;
	const struct channel **channel_of;
	size_t n;
};
struct opam_chosen *opam_chosen_named(struct build_opam_set *s, struct str name); /* NULL: it is none of them */
/* "ocaml" of "opam:ocaml (>= 4.08)". */
struct str opam_name_in_depends(struct str text);
/* Opam files, keys, and what is built already, of s->of. */
int opam_set_describe(struct build_opam_set *s, struct err *e);
