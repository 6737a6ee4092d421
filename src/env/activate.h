// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * activate (private to env): what activation of a prefix means: CEP 32's env_vars.d, state and activate.d.
 */
#include "env/env.h"

struct activation {
	struct env_variable *variables; /* env_vars.d in order of the files, then state; each name once, the last value */
	size_t variables_n;
	struct str *activate; /* paths of etc/conda/activate.d/ *.sh, relative to the prefix, in order */
	size_t activate_n;
	struct str *deactivate; /* of deactivate.d, in the order in which they are run (descending) */
	size_t deactivate_n;
};
/* conda's word for a variable that is to be absent */
#define ACTIVATION_UNSET STR("***unset***")

/* `suffix`: ".sh" or ".fish". */
int activation_read(int prefix_fd, const char *suffix, struct arena *a, struct activation *ret, struct err *e);
/* s as one word of a POSIX shell. */
void activation_quote_sh(struct str s, struct buf *b);
