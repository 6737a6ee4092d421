// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * upgrade: how an environment goes from one generation to another in service, and back: add, activate, commit, abort.
 *
 *	struct upgrade_opts o = {.state = st, .hold = hold, .store = store, .services = &drivers, .event = show, .ctx = c, …};
 *	struct upgrade_request q = {.verb = UPGRADE_ACTIVATE, .timer_ms = 7200000};
 *	if (upgrade_run(&o, &q, e) < 0) ...      ERR_FAILED: refused or failed with nothing changed; ERR_ROLLED_BACK; ERR_UNCERTAIN
 *
 * upgrade_run returns when the end state is reached, never before. What may be done when is a table of states (machine.h), which
 * upgrade_may asks without doing anything. Every state is on disk before it is acted upon. What is refused, or fails, is told
 * in the environment's history as that. Whoever comes after a crash calls upgrade_settle first: an operation that somebody was in the
 * middle of goes back (or, once a commit was decided, goes on), services and all.
 *
 * What a host is made of is handed in, so that tests turn clocks, fail health checks and cut links: services through
 * struct upgrade_services (the agent's supervisor; systemd; none), time through struct upgrade_time, the other member of a
 * pair through struct member (pair.h). Rules and words: the in-service upgrade of network devices.
 */
#include "env/env.h"
#include "service/service.h"

/* == 1. what a host is driven through ============================================================================= */
/* Each call returns when the service is where it should be, or says why not. `ctx` first; any may take as long as the declaration's
 * own limits allow. */
struct upgrade_services {
	const char *name; /* "agent", "systemd" */
	/* 1: the host starts this service when it boots, no agent is needed for that; 0: it does not, why, and what to do. NULL: what
	 * starts an agent starts its services. */
	int (*starts_at_boot)(void *ctx, struct arena *a, struct str env, struct str service, struct str *ret_finding,
			      struct str *ret_cure, struct err *e);
	int (*start)(void *ctx, const struct service_ref *r, struct err *e);
	int (*hand_over)(void *ctx, const struct service_ref *r, struct err *e);
	int (*stop)(void *ctx, struct str env, struct str service, struct err *e);
	int (*check)(void *ctx, struct str env, struct str service, struct err *e); /* healthy now? */
	int (*status)(void *ctx, struct arena *a, struct service_status **ret, size_t *ret_n, struct err *e);
	/* The auto-abort timer of an environment was armed, stopped or has been dealt with: whoever rings it looks again. */
	int (*timer_changed)(void *ctx, struct str env, struct err *e);
	void *ctx;
};

/* == 2. requests ================================================================================================== */
enum upgrade_verb {
	UPGRADE_ADD,
	UPGRADE_ACTIVATE,
	UPGRADE_COMMIT,
	UPGRADE_ABORT,
	UPGRADE_ROLLBACK, /* to `generation` */
	UPGRADE_STOP_TIMER,
	UPGRADE_REMOVE_INACTIVE,
	UPGRADE_CLEAR,
	/* Steps of a paired operation alone; each is on disk when upgrade_run returns. */
	UPGRADE_ARM,	      /* added → activating: the timer runs, nothing has changed yet */
	UPGRADE_STANDBY_DONE, /* activating → standby-activated: on the active member, the other one runs the new version */
	UPGRADE_PREPARE, /* activated → prepared: the timer is held, what follows is the other member's decision */
	UPGRADE_DECIDE,	 /* activated → committing: the decision, nothing else done */
	UPGRADE_WITHDRAW, /* prepared → activated: nothing was decided; the timer goes on, with at least UPGRADE_TIMER_LEAST_MS */
};
enum { UPGRADE_TIMER_DEFAULT_MS = 7200 * 1000, UPGRADE_TIMER_LEAST_MS = 60 * 1000 };
struct upgrade_request {
	enum upgrade_verb verb;
	bool issu;				  /* in service: hand over, and on a pair one member after the other */
	bool then_activate, then_commit;	  /* one-shot: add … activate commit in one */
	const struct env_plan *plan;		  /* ADD: not laid out yet */
	int (*prepare)(void *ctx, struct err *e); /* ADD: brings the plan into the store, when all checks have passed */
	void *prepare_ctx;			  /* NULL: that was done (env_prepare) */
	/* What history calls it where it is a change in one go of an environment that may have no component: "create", "update",
	 * "apply", "rollback". Then it costs no more than the switch. NULL: an install command. With paired: what history calls the
	 * ADD, "rollback". */
	const char *operation;
	int64_t timer_ms;	 /* ACTIVATE: 0: the default */
	uint32_t generation;	 /* ROLLBACK, REMOVE_INACTIVE: 0: to the one before; all inactive ones */
	bool keep_state;	 /* ABORT, ROLLBACK: checkpoints are not restored */
	bool stop_at_deprecated; /* ACTIVATE: stops where the configuration uses deprecated parameters */
	bool by_timer;
	bool lays_out_anew;	   /* ADD: files that were changed by hand are no hindrance (create, update, apply) */
	struct env_report *report; /* ADD: what was laid out, in report_arena; NULL: it is told as notes */
	struct arena *report_arena;
	/* ADD, ROLLBACK: one of two members does this (section 7). Then operation_id is needed. */
	bool paired;
	/* 32 lower-case hexadecimal digits. ADD, ROLLBACK: the new operation's, one that this host has never heard of. Else: where it is
	 * given, the operation that the request is for; another one under way is refused. */
	const char *operation_id;
};

/* == 3. what is told while it goes on ============================================================================= */
enum upgrade_event_kind {
	UPGRADE_EVENT_START,  /* text: "install_activate" */
	UPGRADE_EVENT_STAGE,  /* number; text: "Installing software on Standby" */
	UPGRADE_EVENT_BEGIN,  /* text: "install_remote" */
	UPGRADE_EVENT_MEMBER, /* member; text: "Add package(s)"; done tells begin from end */
	UPGRADE_EVENT_FINISH, /* text: what has come to its end */
	UPGRADE_EVENT_STATE,  /* text: the state reached, for people */
	UPGRADE_EVENT_NOTE,   /* text: what a person should know */
	UPGRADE_EVENT_TIMER,  /* number: milliseconds left */
	UPGRADE_EVENT_END,    /* text: "install_activate"; failure set where it failed */
};
struct upgrade_event {
	enum upgrade_event_kind kind;
	int64_t number;
	uint32_t member; /* 0: this host, no pair */
	bool done;
	const char *text;
	const struct err *failure;
	int64_t at_ms;
};
typedef void upgrade_event_fn(void *ctx, const struct upgrade_event *v);

/* == 4. running =================================================================================================== */
struct upgrade_opts {
	struct env_state *state;
	struct env_hold *hold;
	struct str env;
	struct store *store;
	const struct upgrade_services *services; /* NULL: nothing runs services here */
	struct env_opts env_opts;		 /* command, who, clock, … */
	int root_fd;				 /* ROOT: checkpoints are kept in checkpoint/ENV/N */
	const char *root_path;
	uint64_t reserve_bytes;	  /* free space that must be left; 0: 1 GiB */
	bool autostart_elsewhere; /* the agent is started at boot by what is not looked for */
	const char *host_root;	  /* where /etc and /run are looked for; NULL: "/" */
	upgrade_event_fn *event;  /* may be NULL */
	void *ctx;
};
/* What must be left free, with its default. */
uint64_t upgrade_reserve_bytes(const struct upgrade_opts *o);
int upgrade_run(const struct upgrade_opts *o, const struct upgrade_request *q, struct err *e);
/* 0 where the state allows the request, else the refusal that upgrade_run would give (ERR_FAILED). Asked before something long
 * is prepared for it; without a hold it leaves no trace. The answer is a person's: of a paired operation too. */
int upgrade_may(const struct upgrade_opts *o, const struct upgrade_request *q, struct err *e);
/* What a crash or a timer left is brought to rest: called before anything else is done with the environment, and by the agent when
 * it starts. 1: something was settled (told through event), 0: there was nothing to do.
 * A paired operation is only settled where what this member holds decides it: see section 7. */
int upgrade_settle(const struct upgrade_opts *o, struct err *e);
/* How the operation with that id ended: its state's name while it goes on, else "committed", "aborted" (or refused before it began), or
 * "unknown". Nothing need be held; what a member answers stays true for ever. */
int upgrade_outcome(struct env_state *st, struct arena *a, struct str env, struct str id, struct str *ret,
		    struct err *e);
/* 1 and the milliseconds until the timer of an environment ends (0: it has); 0 and -1: none runs; -1: it cannot be read. With a hold what is
 * left is noted on disk, and on a new boot put on that boot's clock. */
int upgrade_timer_left(struct env_state *st, struct env_hold *h, struct str env, int64_t *ret_ms, struct err *e);

/* == 5. checks before anything changes ============================================================================ */
#define UPGRADE_CHECK_IDLE "no other operation in progress"
#define UPGRADE_CHECK_MEDIA "booted from the valid media" /* files as they were laid out */
#define UPGRADE_CHECK_AUTOBOOT "AutoBoot mode is enabled"
struct upgrade_check {
	struct str name;    /* "space", "services", UPGRADE_CHECK_IDLE, … */
	struct str finding; /* empty: passed */
	struct str cure;
	uint32_t member;
	bool advice; /* a finding that hinders nothing here: that nothing starts at boot, on a host of its own */
};
/* All checks for a request, failing or not; nothing is changed. Returns the number that failed, advice not counted; -1 where checking
 * itself failed. */
int upgrade_preflight(const struct upgrade_opts *o, const struct upgrade_request *q, struct arena *a,
		      struct upgrade_check **ret, size_t *ret_n, struct err *e);

/* Whether something starts the environment's services when the host boots: 1; or 0, with what was found and what to do about it. Nothing
 * of it that is to run: 1. Where they are an agent's (or no environment is named), whether something starts that. What is looked for: an
 * enabled unit slipway.service or slipway-agent.service, where systemd runs the host; else a script of that name in the run levels of
 * init or of OpenRC; else "slipway" with "agent" in rc.local or behind @reboot in a table of cron. */
int upgrade_autostart(const struct upgrade_opts *o, struct arena *a, struct str *ret_finding, struct str *ret_cure,
		      struct err *e);

/* == 6. what it is like =========================================================================================== */
struct upgrade_status {
	struct str env, state, title; /* "activated", "Activated" */
	struct str id;		      /* of the operation; empty: none */
	bool paired;		      /* one of two members does it */
	bool in_progress, one_shot;
	bool will_commit;		       /* a one-shot that commits by itself */
	struct str last_operation, transition; /* "Activate location standby", "Added -> Standby activated" */
	const struct env_operation_step *steps;
	size_t steps_n;
	int64_t timer_left_ms; /* -1: inactive */
	bool timer_stopped;
	struct str running_version;
	uint32_t from, to;
	struct str next; /* the command that goes on, as it can be typed: with -n ENV */
	struct str back; /* the one that goes back, where a person may choose; else empty */
};
/* Nothing need be held. ERR_NOT_FOUND: there is no such environment, nor is one being made. */
int upgrade_status(struct env_state *st, struct arena *a, struct str env, struct upgrade_status *ret, struct err *e);
/* 1; 0 where there is none, which is at rest. */
int upgrade_find_status(struct env_state *st, struct arena *a, struct str env, struct upgrade_status *ret,
			struct err *e);

/* == 7. one of two members ======================================================================================== */
/* A paired operation goes by single steps (machine.h), which a coordinator gives to both members (pair.h). Each is refused where the
 * state, or the operation's id, is not what the coordinator thinks it is. Checks are made by each member for itself, without telling
 * them: the coordinator does. then_activate and then_commit only say that it is a one-shot.
 *
 *	ADD           none → added, with operation_id and paired
 *	ROLLBACK      none → activating, armed, to a generation that is there already; in any other state it is an abort
 *	ARM           added → activating
 *	ACTIVATE      activating | standby-activated → activated. A failure goes back by itself (ERR_ROLLED_BACK)
 *	STANDBY_DONE  activating → standby-activated
 *	PREPARE       activated → prepared
 *	DECIDE        activated → committing
 *	COMMIT        prepared | committing → none
 *	WITHDRAW      prepared → activated
 *	ABORT         any → none; committing is finished instead, which is told as a note
 *
 * ACTIVATE and COMMIT without operation_id are as on a host of its own, which this one is since it left the pair ('slipway pair leave'):
 * from added, and from activated, prepared and committing.
 *
 * upgrade_settle, when nobody holds the environment any more: adding, activating, standby-activated, aborting, and added where it is a
 * one-shot, go back at once, and so does activated when its timer has ended: nobody can have decided anything else in these states.
 * activated, whose timer runs, prepared and committing are left as they are (0): what becomes of them is the other member's to say, or is
 * decided already and wants the other one first (pair_settle). */
