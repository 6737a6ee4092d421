// SPDX-License-Identifier: Apache-2.0
#pragma once
/* build_spec: what `slipway build` prints of a spec without building it. Options are rows of the command's own table. */
#include "build/build.h"
#include "cmd/build_source.h"
#include "cmd/cmd.h"

struct build_spec_args {
	bool print, dockerfile, buildkit, reproduce, ids;
	const char *escape;
	struct cmd_list image_env;
};
/* Whether one of them was asked for; then nothing is built. */
bool build_spec_is_asked(const struct build_spec_args *a);
/* o: text, file and secrets. source: not resolved yet; words: its folder. store: --store, where images are looked up. Returns an exit code. */
int build_spec_answer(struct cmd_context *c, const struct build_spec_args *a, struct build_source *source,
		      const struct cmd_list *words, const struct build_opts *o, const char *store, struct err *e);
