// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * activate (private to env): what activation of a prefix means: CEP 32's env_vars.d, state and activate.d.
 */
#include "env/env.h"

struct activation {
	struct env_variable *variables; /* env_vars.d in order of the files, then state; each name once, the last value */
	size_t variables_n;
	struct env_opam_update *updates; /* what opam packages do to variables, after those */
	size_t updates_n;
	struct str *activate; /* paths of etc/conda/activate.d/ *.sh, relative to the prefix, in order */
	size_t activate_n;
	struct str *deactivate; /* of deactivate.d, in the order in which they are run (descending) */
	size_t deactivate_n;
};
/* In a generation: opam's lines of environment, a file a package that has any (build/build.h, "opam packages of environments"). */
#define ACTIVATION_OPAM_DIR ".opam-switch/slipway"
/* Whether nothing before this update sets its variable. */
bool activation_is_first(const struct activation *act, size_t update);
/* conda's word for a variable that is to be absent */
#define ACTIVATION_UNSET STR("***unset***")

/* `suffix`: ".sh" or ".fish". */
int activation_read(int prefix_fd, const char *suffix, struct arena *a, struct activation *ret, struct err *e);
/* Shell text that activates or deactivates a prefix: shell is "posix", "sh", "bash", "zsh", "dash" or "fish". Activating
 * defines a function slipway_deactivate, which the next activation calls first. */
int activation_text(const char *prefix, struct str name, const char *shell, bool deactivate, struct buf *b,
		    struct err *e);
/* What a wrapper sources, from conda-meta/ of each generation: activation for one program, nothing to be undone. */
#define ACTIVATION_FILE "conda-meta/slipway-activate.sh"
int activation_file_text(int prefix_fd, const char *prefix, struct buf *b, struct err *e);
/* Whether all programs are in the generation `prefix`, and their places in dirfd (-1: no folder yet) free or wrappers of ours. */
int wrap_check(const char *prefix, struct str name, int dirfd, const char *const *programs, size_t n, struct err *e);
/* Writes the wrappers; `current` is the link that is followed when a wrapper runs. */
int wrap_programs(const char *current, struct str name, int dirfd, const char *const *programs, size_t n,
		  struct err *e);
/* Replaces this process by argv in the prefix. */
int activation_exec(const char *prefix, struct str name, char *const *argv, struct err *e);
/* s as one word of a POSIX shell. */
void activation_quote_sh(struct str s, struct buf *b);
