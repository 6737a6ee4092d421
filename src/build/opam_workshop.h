// SPDX-License-Identifier: Apache-2.0
#pragma once
/* opam_workshop: opam packages of environments. Private to build/; the public half is in build/build.h. */
#include "build/build.h"
#include "env/env.h"
#include "pkg/pkg.h"

/* The key of v[at]; those of what it needs are there, its needs sorted by name. */
int opam_key(const struct pkg_opam_host *h, const char *prefix, struct build_made *v, size_t at, struct err *e);

struct build_workshop {
	char *dir;    /* ROOT/opam */
	char *prefix; /* DIR/work/SWITCH */
	int fd;	      /* of DIR */
	struct arena arena;
	struct env_opam *root;
	struct env_opam_vars *vars;
};
/* The switch that packages are built in, while it is there. */
struct workshop_switch {
	struct build_workshop *w;
	int lock_fd, work_fd;
	struct env_opam *root;
	struct env_opam_switch *sw;
};

/* Lays a kept package into the switch, as installed. */
int workshop_lay(struct workshop_switch *s, struct store *store, const struct build_made *p, struct err *e);
/* Takes what an installed package put into the switch into the store: `kept`, `sha256` and `size`. */
int workshop_keep(struct workshop_switch *s, struct store *store, struct build_made *p, struct err *e);
