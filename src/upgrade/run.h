// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * run (private to upgrade): one request on one host, from the table of states to what is done.
 *
 *	run.c         the verbs: what each is made of, in which order it is on disk
 *	paired.c      the steps of one of two members
 *	back.c        going back
 *	settle.c      what a crash or a timer left
 *	journal.c     what is on disk: the state, the timer, the log, the history
 *	outcome.c     how an operation ended, from the history
 *	tell.c        what is told meanwhile
 *	services.c    which services of an environment a change of generation touches, and moving them
 *	checkpoint.c  the state and the configuration that belong to the software
 *	autostart.c   whether the agent starts when the host boots
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
	bool paired;		/* one of two members does it, by single steps */
	bool laid_out;		/* op.to came with this operation: of one that goes back nothing is kept */
	bool timer_held;	/* the timer runs on when nothing is decided; a person's stop is no hold */
	struct str transition;	/* "Added -> Activated" */
	const char *settled_by; /* in place of the user: "timer", "recovery" */
};

/* -- tell.c -- */
void run_tell(const struct run *r, enum upgrade_event_kind kind, int64_t number, bool done, const char *text,
	      const struct err *failure);
void run_note(const struct run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int64_t run_wall_ms(const struct run *r);

/* -- journal.c -- */
/* What is on disk now. */
int run_read(struct run *r, struct err *e);
/* A new operation, in memory; its first state puts it on disk. */
int run_begin(struct run *r, struct err *e);
int run_new_id(struct run *r, struct err *e);
/* An event: the state that it leads to is on disk, or the state is what it was. */
int run_reach(struct run *r, enum op_event v, struct err *e);
/* The same, and no timer runs from then on. */
int run_reach_untimed(struct run *r, enum op_event v, struct err *e);
int run_save(struct run *r, struct err *e);
int run_end(struct run *r, struct err *e);
/* Names a piece of work in the log that stays with the history; the work itself is between the two, `rc` what it came to. */
struct env_operation_step run_begin_step(const struct run *r, const char *name);
int run_end_step(const struct run *r, struct env_operation_step *s, int rc, struct err *e);
/* A line of history for what moves no link. */
int run_note_history(struct run *r, const char *operation, const char *result, uint32_t from, uint32_t to,
		     struct err *e);
/* What env_switch and the like write into history with theirs. */
struct env_opts run_switch_opts(struct run *r, bool uncommitted);
int run_arm_timer(struct run *r, struct err *e);
/* Of a pair: what is left does not count down while the decision is out, and goes on where there is none. */
int run_hold_timer(struct run *r, struct err *e);
int run_let_timer_go_on(struct run *r, struct err *e);
int run_timer_changed(const struct run *r, struct err *e);

/* -- outcome.c -- */
/* Whether the history has the commit of the operation; 1 or 0. */
int run_is_committed(const struct run *r, struct err *e);

/* -- run.c -- */
/* upgrade_preflight; `activating`: of a one-shot, the part behind its add. */
int run_preflight(const struct upgrade_opts *o, const struct upgrade_request *q, bool activating, struct arena *a,
		  struct upgrade_check **ret, size_t *ret_n, struct err *e);
enum op_event run_event(const struct upgrade_request *q, bool activating);
/* All findings at once. `aloud`: each check is told, as the stage of an activation where it is one. */
int run_check(const struct run *r, bool aloud, bool activating, struct err *e);
/* Checkpoint, configuration, switch, services. */
int run_carry_activate(struct run *r, struct err *e);
/* The intent is on disk: from here on it is only finished, never undone. */
int run_carry_commit(struct run *r, struct err *e);
int run_abort_operation(struct run *r, enum op_event v, struct err *e);

/* -- paired.c -- */
/* The request is for the operation that is there, and is a step that it has. */
int paired_admit(const struct run *r, struct err *e);
int paired_arm(struct run *r, enum op_event v, struct err *e); /* v: OP_DO_ARM, or OP_DO_ROLLBACK from none */
int paired_activate(struct run *r, struct err *e);
int paired_standby_done(struct run *r, struct err *e);
int paired_prepare(struct run *r, struct err *e);
int paired_decide(struct run *r, struct err *e);
int paired_withdraw(struct run *r, struct err *e);

/* -- back.c -- */
/* Carries an abort out whose state is on disk. Where it cannot be: a person must come. */
int run_carry_abort(struct run *r, const char *why, struct err *e);
/* A step failed: back to the committed version; e stays what it was, with what became of it. -1. */
int run_fail(struct run *r, enum op_event v, struct err *e);
/* What was reached could not be brought to its end: ERR_UNCERTAIN, and who does it. -1. */
int run_unsettled(const struct run *r, struct err *e);

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
