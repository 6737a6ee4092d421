// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * tuf: what the files of `slipway tuf` share: the client's verbs are in tuf.c, the keeper's in tuf_keep.c.
 */
#include "cmd/cmd.h"
#include "tuf/tuf.h"

struct tuf_args {
	const char *metadata_dir, *metadata_url, *target_base_url, *target_dir, *time;
	struct cmd_list target_names;
	bool plain_urls;
	/* the keeper's: those with a role before them are "ROLE=VALUE" */
	struct cmd_list keys, key, new_keys, threshold, expires, remove, path, under;
	const char *type, *from, *role, *parent, *passphrase_file;
	bool terminating, encrypt;
	struct cmd_list words; /* the verb and its own */
	int64_t time_ms;       /* --time; 0: the clock's */
	int64_t patience_s;
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

int tuf_key(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_create(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_publish(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_add_target(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_remove_target(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_delegate(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_rotate(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_sign(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_renew(struct cmd_context *c, struct tuf_args *a, struct err *e);
int tuf_show(struct cmd_context *c, struct tuf_args *a, struct err *e);

/* What a commit signed: as JSON, or told. */
void tuf_put_signed(struct jw *w, const struct tuf_commit *done);
void tuf_say_signed(struct cmd_context *c, const struct tuf_commit *done);
