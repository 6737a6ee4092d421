// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * tuf: what the files of `slipway tuf` share: the client's verbs are in tuf.c.
 */
#include "cmd/cmd.h"
#include "tuf/tuf.h"

struct tuf_args {
	const char *metadata_dir, *metadata_url, *target_base_url, *target_dir, *time;
	struct cmd_list target_names;
	bool plain_urls;
	struct cmd_list words; /* the verb and its own */
	int64_t time_ms;       /* --time; 0: the clock's */
};

/* One verb: what it may be told, and what it does. */
struct tuf_verb {
	const char *name;
	int (*run)(struct cmd_context *c, struct tuf_args *a, struct err *e); /* an exit code, or -1 */
	size_t words_min, words_max;					      /* behind the verb */
	const char *usage;
};

/* The clock that engines get. */
const struct clock *tuf_clock(const struct tuf_args *a, struct clock_fake *fake);
