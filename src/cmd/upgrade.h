// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * upgrade: what the commands share that lead an environment from one generation to another: who asks, what runs services here, how
 * it is shown while it goes on, and signals, which wait for a state of rest.
 *
 *	cmd_upgrade_begin(&u, c, name, hold, show);
 *	if (cmd_upgrade_settle(&u, e) < 0 || cmd_upgrade_run(&u, &q, e) < 0) return cmd_fail(c, e);
 */
#include "cmd/cmd.h"
#include "pair/pair.h"
#include "upgrade/upgrade.h"

/* What runs services on this host: the agent, which gets to know that `env` is being changed; where none runs, systemd; NULL: nothing
 * does. */
const struct upgrade_services *cmd_services(struct cmd_context *c, struct str env);
/* The same, where nothing is an error. */
int cmd_need_services(struct cmd_context *c, struct str env, const struct upgrade_services **ret, struct err *e);
/* An agent is about to begin: not where systemd runs the services of this root. */
int cmd_refuse_agent(struct cmd_context *c, struct err *e);
/* Stops what runs of an environment that is going to be removed. */
int cmd_stop_services(struct cmd_context *c, struct str env, struct err *e);
/* The user, for histories: who called sudo, else the process's own. */
const char *cmd_who(struct cmd_context *c);

struct cmd_upgrade {
	struct cmd_context *c;
	struct upgrade_opts o;
	bool show;	  /* the lines of install commands on standard output; else only notes, as remarks */
	bool show_stages; /* the same once there is a stage: where services and their state are moved */
	const char *step; /* the piece of work under way, and what each member said of it */
	struct {
		bool named, failed;
	} members[PAIR_MEMBERS + 1];
	bool settled;	 /* something was, before this command's own work: it had not come to its end */
	bool paired;	 /* this host is one of two: requests are carried out on both */
	int64_t wait_ms; /* then: for whoever holds the environment, here or there */
	uint32_t seen;	 /* then: the current generation, when it was settled */
	const struct upgrade_check *checks; /* of a dry run */
	size_t checks_n;
	sigset_t signals;
	bool signals_wait;
};
/* `hold` NULL: a dry run. The root and the state are open. */
void cmd_upgrade_begin(struct cmd_upgrade *u, struct cmd_context *c, struct str env, struct env_hold *hold, bool show);
/* 1: this host is a member of a pair; 0: it is none. */
int cmd_is_paired(struct cmd_context *c, struct err *e);
/* Of a pair nothing is held while a request is made ready: ERR_BUSY where the environment has changed since. Nothing otherwise. */
int cmd_upgrade_unchanged(const struct cmd_upgrade *u, struct err *e);
/* Behind cmd_upgrade_begin, with nothing held: 1 where this host is a member of a pair, and the upgrade is from here on one of both; 0 else. */
int cmd_upgrade_pair(struct cmd_upgrade *u, int64_t wait_ms, struct err *e);
/* What a crash or a timer that ended left is brought to rest, and told. Nothing for a dry run. */
int cmd_upgrade_settle(struct cmd_upgrade *u, struct err *e);
/* For a dry run: the checks on this host, on a pair those of both, too; told one by one; ERR_FAILED where one fails, with those in
 * it that nothing tells. */
int cmd_upgrade_checks(struct cmd_upgrade *u, const struct upgrade_request *q, struct err *e);
void cmd_put_checks(struct jw *w, const struct cmd_upgrade *u); /* nothing without them */
int cmd_upgrade_run(struct cmd_upgrade *u, const struct upgrade_request *q, struct err *e);

/* The environment that is meant: `name`, or the only one there is. ERR_USAGE lists those to choose from. */
int cmd_the_environment(struct cmd_context *c, const char *name, struct str *ret, struct err *e);
/* Every one; those whose first version is being added too. Sorted. */
int cmd_all_environments(struct cmd_context *c, struct str **ret, size_t *ret_n, struct err *e);
/* An environment that is not to be removed while an operation is under way; settled first where it is held. */
int cmd_refuse_in_progress(struct cmd_context *c, struct str env, struct env_hold *hold, struct err *e);

/* "90s", "30m", "2h", "1d": at least a second, at most 30 days. */
int cmd_parse_duration(const char *text, const char *what, int64_t *ret_ms, struct err *e);
void cmd_put_countdown(struct buf *b, int64_t ms); /* "01:43:55" */
