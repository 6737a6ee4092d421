// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * run (private to upgrade): one request on one host, from the table of states to what is done.
 *
 *	run.c         the verbs: what each is made of, in which order it is on disk
 *	services.c    which services of an environment a change of generation touches, and moving them
 *	checkpoint.c  the state and the configuration that belong to the software
 *	preflight.c   everything that is checked before anything changes
 *	status.c      what a person is shown
 */
#include "upgrade/machine.h"
#include "upgrade/timer.h"
#include "upgrade/upgrade.h"

struct run {
	const struct upgrade_opts *o;
	const struct upgrade_request *q;
	struct arena arena;
	struct env_info info;	 /* current and committed; no name where there is no environment yet */
	struct env_operation op; /* as it is on disk; id empty: none */
	enum op_state state;
	bool plain;		/* nothing runs and nobody can come in between: the switch's own journal is enough */
	bool begun;		/* something is on disk: what ends now has failed, else it was refused */
	bool will_commit;	/* the operation was asked to commit by itself */
	struct str transition;	/* "Added -> Activated" */
	const char *settled_by; /* in place of the user: "timer", "recovery" */
};

/* -- run.c -- */
void run_note(const struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* -- services.c -- */
/* Moves the environment's services from generation `from` to `to` (0: none): new ones are started, those whose package or whose
 * dependencies changed are handed over, those that are gone are stopped; then every one that was touched is asked for its
 * health. In the order of their declarations; stops at the first that fails. Whoever goes back calls it the other way round: what runs
 * from where it should already is left alone. */
int services_move(const struct run *r, uint32_t from, uint32_t to, struct err *e);
/* Stops those of the environment's services that run from generation `which`, last started first. */
int services_stop(const struct run *r, uint32_t which, struct err *e);
/* Whether either generation has a component. */
int components_any(const struct run *r, uint32_t from, uint32_t to, struct err *e);

/* -- checkpoint.c -- */
/* Takes checkpoints of all state that the components of generation `from` own (0: there is none), into
 * ROOT/checkpoint/<env>/<operation>. Idempotent: what was taken whole is not taken again. */
int checkpoint_take(const struct run *r, uint32_t from, struct err *e);
/* 1: the operation has a checkpoint that is to be put back: what uses that state must not run meanwhile. */
int checkpoint_wanted(const struct run *r, struct err *e);
/* Puts back what the operation's checkpoints hold, as the components declare (or not at all with keep_state). */
int checkpoint_restore(const struct run *r, struct err *e);
/* The operation is over, and with it what it could be undone by. */
int checkpoint_forget(const struct run *r, struct err *e);
/* No operation is under way: what a crash left of checkpoints goes. */
int checkpoint_sweep(const struct run *r, struct err *e);

/* -- config.c -- */
/* Configuration files of generation `to`: a missing one is made from its default; one that is the default of `from` still becomes the
 * new default; one that a person changed is kept and the new default laid beside as PATH.default. What was replaced is kept with the
 * operation, and config_restore puts it back. Deprecated parameters that are in use are told. */
int config_update(const struct run *r, uint32_t from, uint32_t to, struct err *e);
int config_restore(const struct run *r, struct err *e);
/* "/etc/web.conf: 'threads' is deprecated: use 'workers'", one line each, for those of generation `to` in use now. */
int config_deprecated(const struct run *r, uint32_t to, struct buf *ret, struct err *e);
