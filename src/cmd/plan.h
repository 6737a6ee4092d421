// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * plan: what an operator signed, with keys of their own, that this host is to run (doc/formats/plan.md). A mirror carries it and has no part in it:
 * ROOT/plan holds the root of keys that is trusted, and which host this one is.
 *
 *	cmd_plan_check(c, env, &target, &before, &options, e)     whoever is about to change an environment asks
 */
#include "cmd/change.h"
#include "tuf/tuf.h"

struct cmd_plan {
	struct str host, environment, url;
	struct str path;   /* "HOST/ENV.spr" */
	struct str sha256; /* hex, of the plan's text */
	struct env_spec_file lock;
	struct tuf_trusted trusted;
	int64_t made_ms; /* as the operator wrote it; 0: not told */
};

/* "plan:NAME": the signed plan of this host for that environment, as a recipe. */
bool cmd_is_plan(const char *word);
/* The newest one. Where the mirror does not answer, the one that was verified before, until it expires; a note says so.
 * ERR_NOT_FOUND: none is signed for this host and that environment, or no root is trusted. */
int cmd_plan_read(struct cmd_context *c, struct str env, struct cmd_plan *ret, struct err *e);
/* 0 where the configuration asks for no signed plan (require_signed_plan), or where `target` is exactly what is signed, and the channels say the
 * same of whatever `before` (NULL: nothing) has not. ERR_VERIFY says what differs. */
int cmd_plan_check(struct cmd_context *c, struct str env, const struct env_spec_file *target,
		   const struct env_spec_file *before, const struct cmd_change_options *options, struct err *e);
/* Makes a root what this host trusts. `host`: what it is called in plans; `url` NULL: below the mirror that updates come from. */
int plan_trust(struct cmd_context *c, const char *root_file, struct str host, const char *url, bool replace,
	       struct err *e);

/* -- plan_keep.c: the operator's side ------------------------------------------------------------------------------- */
struct plan_args {
	const char *name, *hosts_file, *host_name, *url;
	struct cmd_list keys, host;
	bool replace;
	struct cmd_list words;
};
int plan_sign(struct cmd_context *c, struct plan_args *a, struct err *e);
int plan_publish(struct cmd_context *c, struct plan_args *a, struct err *e);
