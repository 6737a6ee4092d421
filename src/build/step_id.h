// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * step_id: the id of a step: a digest of everything that can change what the step makes (doc/formats/step-id.md).
 *
 * Pure: no file, no clock. What is not in the id, and why, is in doc/decisions/0072-step-ids.md.
 *
 *	struct step_run r = {.base = &base, .workdir = …, …};
 *	struct layer_id id;
 *	step_id_run(&r, &id);
 *
 * Environments are made canonical with step_env before they go in, and so the step is given them: sorted by name, of one name the first.
 */
#include "base/arena.h"
#include "base/digest.h"
#include "base/str.h"
#include "layer/layer.h"

/* What a step's surroundings mean: goes up whenever the sandbox, or the way copies are made, changes what a step can see. */
enum { STEP_MEANING = 1 };

struct step_pair {
	struct str name, value;
};
struct step_mount {
	struct str name, target;
};
struct step_secret {
	struct str target, value;
};
struct step_key {
	uint8_t bytes[32]; /* of the store: ids tell nothing of the values of secrets */
};

/* base, user and machine, which every step has. */
struct step_base {
	const struct layer_id *layer;
	uint32_t uid, gid;
	struct str machine; /* as uname says: "x86_64" */
};
struct step_run {
	struct step_base on;
	struct str workdir, command;
	const struct str *shell;
	size_t n_shell;
	const struct step_pair *env; /* of step_env */
	size_t n_env;
	bool network_host;
	const struct step_mount *caches;
	size_t n_caches;
	const struct step_secret *secrets;
	size_t n_secrets;
	const struct step_key *key; /* for secrets; NULL where there are none */
};
void step_id_run(const struct step_run *r, struct layer_id *ret);

enum step_entry_kind { STEP_ENTRY_FILE, STEP_ENTRY_EXEC, STEP_ENTRY_LINK, STEP_ENTRY_DIR };
struct step_entry {
	enum step_entry_kind kind;
	struct str path;	     /* where it goes, from `dst` on; "" is dst itself */
	struct str target;	     /* of a link */
	uint8_t sha256[SHA256_SIZE]; /* of a file */
};
struct step_copy {
	struct step_base on;
	struct str dst; /* absolute */
	bool into;	/* dst is a folder that the entries go into */
	const struct step_entry *entries;
	size_t n_entries;
};
void step_id_copy(const struct step_copy *c, struct layer_id *ret);

/* Sorted by name, of one name the first: v is changed; returns how many are left. */
size_t step_env(struct step_pair *v, size_t n);
void hmac_sha256(const void *key, size_t key_n, struct str text, uint8_t out[SHA256_SIZE]);
