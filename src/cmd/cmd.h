// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * cmd: the command line. One file a noun; the only code that prints and that knows exit codes.
 *
 * A command is a row of the table in table.c and a function of its noun's file:
 *
 *	int cmd_env_list(struct cmd_context *c, int argc, char **argv);
 *
 * argv holds what comes after the command's own words. The function parses it with cmd_parse and its table of options,
 * and returns an exit code: through cmd_fail for errors, so that they look alike everywhere.
 *
 * Exit codes (slipway(1)): 0 done, 1 failed and nothing changed, 2 usage, 3 no solution, 4 failed after a change that was
 * rolled back, 5 failed and needs a person.
 */
#include <signal.h>

#include "base/arena.h"
#include "base/config.h"
#include "base/err.h"
#include "base/json.h"
#include "base/out.h"
#include "base/progress.h"
#include "base/vec.h"
#include "agent/agent.h"
#include "channel/channel.h"
#include "env/env.h"
#include "pkg/pkg.h"
#include "solve/solve.h"
#include "store/store.h"
#include "transfer/transfer.h"

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2, CMD_NO_SOLUTION = 3, CMD_ROLLED_BACK = 4, CMD_NEEDS_PERSON = 5 };

struct cmd_context;
struct cmd {
	const char *noun, *verb; /* verb NULL: a command of one word */
	int (*run)(struct cmd_context *c, int argc, char **argv);
	const char *summary; /* one line for `slipway --help` */
};
int cmd_main(int argc, char **argv); /* argv as main gets it → exit code */

/* -- options ----------------------------------------------------------------------------------------------------- */
VEC_TYPE(cmd_list, const char *);
enum cmd_option_kind { CMD_FLAG, CMD_TEXT, CMD_LIST, CMD_NUMBER };
struct cmd_option {
	char letter; /* 0: none */
	const char *name;
	enum cmd_option_kind kind;
	void *value; /* bool, const char *, struct cmd_list, int64_t */
};
/* Reads options (the command's own and the common ones) and positional words, in any order; "--" ends options. `rest` gets
 * the words; with stop_at_word the first word ends options too (env run). Returns -1 with ERR_USAGE. */
int cmd_parse(struct cmd_context *c, const struct cmd_option *options, bool stop_at_word, int argc, char **argv,
	      struct cmd_list *rest, struct err *e);
/* Values of options: an age ("12h", "7d", "4w"; "0s" is now), a size ("500MB"; NULL leaves *ret as it is). */
int cmd_read_age(const char *option, const char *text, int64_t *ret_ms, struct err *e);
int cmd_read_size(const char *option, const char *text, uint64_t *ret, struct err *e);
/* 2024-05-01, 2024-05-01T12:00:00Z, or milliseconds since 1970. */
int cmd_parse_time(const char *text, int64_t *ret, struct err *e);
/* How many words an option of every command takes, with its value: 1 or 2; 0 where `word` is something else. */
int cmd_common_words(const char *word);
/* What --wait SECONDS says, within 0 and a day, for env_hold. */
enum { CMD_DEFAULT_WAIT_S = 60 };
int64_t cmd_wait_ms(int64_t wait_s);

struct cmd_asked {
	struct str spec, recipe;
};

/* -- context ----------------------------------------------------------------------------------------------------- */
/* What the common options say, and what commands share; opened when first needed. */
struct cmd_context {
	const struct cmd *cmd;
	const char *root_option;
	const char *env_asked; /* -n NAME, or the only environment there is; NULL: none yet */
	bool json, dry_run, quiet, verbose, offline, help, no_colour;
	const char *last_line_of; /* "install_add": how it ended is its last line, a signal's too; NULL: it has none */
	bool changed;		  /* something was changed, whatever becomes of the answer */
	int64_t progress_fd;	  /* -1: none */
	struct out out;
	struct config config;
	bool config_loaded;
	const char *command_line; /* for histories */
	struct arena arena;
	struct progress progress; /* what engines are given: shown between cmd_progress_begin and _end */
	char *root_path;
	int root_fd;
	struct store *store;
	struct env_state *state;
	struct transfer *transfer;
	struct agent_client *agent; /* to the end of the command: the agent settles what it leaves in the middle */
	struct systemd *systemd;    /* in its place */
	struct upgrade_services services;
	struct channel_fetch fetch;
	struct channel_cache cache;
	struct cmd_pinned *pinned; /* pinned.h */
	size_t pinned_n;
	bool pinned_loaded;
	const struct cmd_followed *followed;
	size_t followed_n;
	bool followed_asked;
	VEC(struct cmd_asked) asked;	   /* by which recipe, where several are taken as one */
	bool mirror_is_away;		   /* it took no snapshot: it is not waited for again */
	const struct cmd_takeout *takeout; /* what the mirror of updates offers, once it was asked */
	VEC(struct channel) named;	   /* every channel that was parsed: they know their credentials */
};
void cmd_context_release(struct cmd_context *c);
int cmd_need_config(struct cmd_context *c, struct err *e);
/* The same for those that must go on without: agent, abort. */
void cmd_want_config(struct cmd_context *c);
int cmd_need_root(struct cmd_context *c, struct err *e); /* root_path and root_fd; makes the folder */
int cmd_need_store(struct cmd_context *c, struct err *e);
int cmd_need_store_to_read(struct cmd_context *c, struct err *e); /* for whoever may not write to it, too */
/* True where e says that this user, or this file system, cannot be written: what changes nothing goes on without. */
bool cmd_may_not_write(const struct err *e);
int cmd_need_state(struct cmd_context *c, bool read_only, struct err *e);
/* The environment that -n names, for commands that take none by themselves. */
int cmd_need_name(const char *name, struct str *ret, struct err *e);
int cmd_need_transfer(struct cmd_context *c, struct err *e);
int cmd_need_cache(struct cmd_context *c, struct err *e);
/* One request by itself, its body into memory, up to ret's maximum: r->fd and r->max_bytes are not the caller's. Its own error is this
 * one's. --offline refuses all but files. */
int cmd_fetch(struct cmd_context *c, struct transfer_request *r, struct buf *ret, struct err *e);

/* "slipway: message" on standard error (or {"error": …} on standard output with --json), and the exit code for it. */
int cmd_fail(struct cmd_context *c, const struct err *e);
/* The same for a command with exit codes of its own. */
int cmd_fail_as(struct cmd_context *c, const struct err *e, int code);
/* The exit code that cmd_fail has for it. */
int cmd_exit_of(const struct err *e);
/* The commands in it ("slipway ..." at its beginning or behind a quotation mark) as they have to be typed here: with the --root of the
 * command line, where that has one. The functions of this section do so themselves. */
const char *cmd_typed(struct cmd_context *c, const char *text);
/* A line for the person, on standard error; silent with --quiet or --json. */
void cmd_say(struct cmd_context *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line that must be seen even then. */
void cmd_warn(struct cmd_context *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What a signal says when it ends the command from here on: "interrupted; " and the text. It begins as "nothing changed". */
void cmd_if_interrupted(struct cmd_context *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What was asked for is done, whatever becomes of the answer: for cmd_main, and for a signal. */
void cmd_changed(struct cmd_context *c);
/* Around a step that is short, and of which nobody could say in its middle whether it was done: signals wait for its end. */
void cmd_signals_wait(sigset_t *before);
void cmd_signals_go_on(const sigset_t *before);
/* Progress rendering around a long piece of work. */
void cmd_progress_begin(struct cmd_context *c);
void cmd_progress_end(struct cmd_context *c);
/* Prints the JSON or text in b to standard output. Always CMD_OK: cmd_main looks, at the end, whether all of it arrived. */
int cmd_print(struct cmd_context *c, const struct buf *b);

/* The one object that a command answers with --json:
 *
 *	auto_answer a = {0};
 *	struct jw *w = cmd_answer(&a);
 *	jw_kv_int(w, …);
 *	return cmd_answer_print(c, &a);
 */
struct cmd_answer {
	struct buf b;
	struct jw w;
};
static inline void cmd_answer_release(struct cmd_answer *a)
{
	buf_release(&a->b);
}
#define auto_answer cleanup_with(cmd_answer_release) struct cmd_answer
struct jw *cmd_answer(struct cmd_answer *a);
int cmd_answer_print(struct cmd_context *c, struct cmd_answer *a); /* CMD_OK */

/* -- channels and solving, for every command that solves ---------------------------------------------------------- */
struct cmd_solve_options {
	struct cmd_list channels;
	const char *subdir, *priority, *strategy, *exclude_newer;
	bool override_channels, refresh, no_shards, current_repodata;
};
#define CMD_SOLVE_OPTIONS(o)                                                                                           \
	{'c', "channel", CMD_LIST, &(o)->channels}, {0, "subdir", CMD_TEXT, &(o)->subdir},                             \
		{0, "platform", CMD_TEXT, &(o)->subdir}, {0, "channel-priority", CMD_TEXT, &(o)->priority},            \
		{0, "strategy", CMD_TEXT, &(o)->strategy}, {0, "exclude-newer", CMD_TEXT, &(o)->exclude_newer},        \
		{0, "override-channels", CMD_FLAG, &(o)->override_channels}, {0, "refresh", CMD_FLAG, &(o)->refresh},  \
		{0, "no-shards", CMD_FLAG, &(o)->no_shards},                                                           \
	{                                                                                                              \
		0, "current-repodata", CMD_FLAG, &(o)->current_repodata                                                \
	}

/* The configured channels (channel add), best first. */
struct cmd_channel {
	struct str name, url;
	bool is_opam; /* a repository of opam's; else a conda channel */
};
int cmd_channels_read(struct cmd_context *c, struct cmd_channel **ret, size_t *ret_n, struct err *e);
int cmd_channels_write(struct cmd_context *c, const struct cmd_channel *v, size_t n, struct err *e);
/* Of one kind, in the arena. */
int cmd_channels_of(struct cmd_context *c, bool opam, struct cmd_channel **ret, size_t *ret_n, struct err *e);
/* One channel as a person writes it: a configured name, a URL, a folder, a bare name under the channel alias. */
int cmd_channel_parse(struct cmd_context *c, struct str text, struct channel *ret, struct err *e);

/* What the configuration maps to a copy (mirrors) is asked there: URLs of channels and of packages in a file that was read. The digests in it
 * are what is verified, whoever sends the bytes. */
struct str cmd_mirrored_url(struct cmd_context *c, struct str url); /* the longest that fits; after cmd_need_config */
int cmd_mirrored_file(struct cmd_context *c, struct env_spec_file *f, struct err *e);

struct cmd_opened {
	struct channel *channels;
	size_t channels_n;
	struct channel_index *indexes;
	size_t indexes_n;
	struct str subdir;
	enum solve_priority priority;
	enum solve_strategy strategy;
	int64_t exclude_newer_ms;
};
void cmd_opened_release(struct cmd_opened *o);
#define auto_opened cleanup_with(cmd_opened_release) struct cmd_opened
/* Opens the channels of the options, else `fallback` (an environment's own), else the configured ones; channels that specs
 * name (channel::name) are added behind them, and in the spec their URL takes the place of a name or folder that only means
 * something here. No channel at all is a usage error, but where the specs are a list of none: then nothing is looked for. */
int cmd_open_channels(struct cmd_context *c, const struct cmd_solve_options *o, const struct str *fallback,
		      size_t fallback_n, struct str *specs, size_t specs_n, struct cmd_opened *ret, struct err *e);
/* What the host (or CONDA_OVERRIDE_*) provides for packages of `subdir`. */
int cmd_virtuals(struct cmd_context *c, struct str subdir, struct pkg_record **ret, size_t *ret_n, struct err *e);
/* Fills in everything of a request but what is asked for; virtual packages included. */
int cmd_request(struct cmd_context *c, const struct cmd_opened *o, struct solve_request *ret, struct err *e);
/* solve(); a held index that shows damage while it is read is removed, so that the next run makes it anew. */
int cmd_run_solve(struct cmd_context *c, const struct cmd_opened *o, const struct solve_request *q,
		  struct solve_result *ret, struct err *e);

/* -- commands ---------------------------------------------------------------------------------------------------- */
int cmd_agent(struct cmd_context *c, int argc, char **argv);
int cmd_apply(struct cmd_context *c, int argc, char **argv);
int cmd_build_export(struct cmd_context *c, int argc, char **argv);
int cmd_build_gc(struct cmd_context *c, int argc, char **argv);
int cmd_build_cache(struct cmd_context *c, int argc, char **argv);
int cmd_build(struct cmd_context *c, int argc, char **argv);
int cmd_build_list(struct cmd_context *c, int argc, char **argv);
int cmd_build_log(struct cmd_context *c, int argc, char **argv);
int cmd_channel_add(struct cmd_context *c, int argc, char **argv);
int cmd_channel_create(struct cmd_context *c, int argc, char **argv);
int cmd_channel_list(struct cmd_context *c, int argc, char **argv);
int cmd_channel_promote(struct cmd_context *c, int argc, char **argv);
int cmd_channel_prune(struct cmd_context *c, int argc, char **argv);
int cmd_channel_scrub(struct cmd_context *c, int argc, char **argv);
int cmd_channel_publish(struct cmd_context *c, int argc, char **argv);
int cmd_channel_yank(struct cmd_context *c, int argc, char **argv);
int cmd_channel_key(struct cmd_context *c, int argc, char **argv);
int cmd_channel_refresh(struct cmd_context *c, int argc, char **argv);
int cmd_channel_remove(struct cmd_context *c, int argc, char **argv);
int cmd_channel_sign(struct cmd_context *c, int argc, char **argv);
int cmd_channel_trust(struct cmd_context *c, int argc, char **argv);
int cmd_channel_sync(struct cmd_context *c, int argc, char **argv);
int cmd_enroll(struct cmd_context *c, int argc, char **argv);
int cmd_env_activate(struct cmd_context *c, int argc, char **argv);
int cmd_env_check(struct cmd_context *c, int argc, char **argv);
int cmd_env_create(struct cmd_context *c, int argc, char **argv);
int cmd_env_export(struct cmd_context *c, int argc, char **argv);
int cmd_env_history(struct cmd_context *c, int argc, char **argv);
int cmd_env_list(struct cmd_context *c, int argc, char **argv);
int cmd_env_packages(struct cmd_context *c, int argc, char **argv);
int cmd_env_remove(struct cmd_context *c, int argc, char **argv);
int cmd_env_run(struct cmd_context *c, int argc, char **argv);
int cmd_env_update(struct cmd_context *c, int argc, char **argv);
int cmd_env_wrap(struct cmd_context *c, int argc, char **argv);
int cmd_clear_install(struct cmd_context *c, int argc, char **argv);
int cmd_image_import(struct cmd_context *c, int argc, char **argv);
int cmd_image_list(struct cmd_context *c, int argc, char **argv);
int cmd_image_remove(struct cmd_context *c, int argc, char **argv);
int cmd_image_show(struct cmd_context *c, int argc, char **argv);
int cmd_install_abort(struct cmd_context *c, int argc, char **argv);
int cmd_install_activate(struct cmd_context *c, int argc, char **argv);
int cmd_install_add(struct cmd_context *c, int argc, char **argv);
int cmd_install_commit(struct cmd_context *c, int argc, char **argv);
int cmd_install_label(struct cmd_context *c, int argc, char **argv);
int cmd_install_remove(struct cmd_context *c, int argc, char **argv);
int cmd_install_rollback(struct cmd_context *c, int argc, char **argv);
int cmd_install_timer(struct cmd_context *c, int argc, char **argv);
int cmd_jobs(struct cmd_context *c, int argc, char **argv);
int cmd_job_submit(struct cmd_context *c, int argc, char **argv);
int cmd_job_log(struct cmd_context *c, int argc, char **argv);
int cmd_job_show(struct cmd_context *c, int argc, char **argv);
int cmd_job_cancel(struct cmd_context *c, int argc, char **argv);
int cmd_job_rate(struct cmd_context *c, int argc, char **argv);
int cmd_worker(struct cmd_context *c, int argc, char **argv);
int cmd_worker_list(struct cmd_context *c, int argc, char **argv);
int cmd_worker_pause(struct cmd_context *c, int argc, char **argv);
int cmd_worker_resume(struct cmd_context *c, int argc, char **argv);
int cmd_worker_drain(struct cmd_context *c, int argc, char **argv);
int cmd_worker_forget(struct cmd_context *c, int argc, char **argv);
int cmd_tuf(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_authority(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_clients(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_enroll(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_revoke(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_rights(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_init(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_install_service(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_list(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_reload(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_restart(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_serve(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_snapshots(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_start(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_status(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_stop(struct cmd_context *c, int argc, char **argv);
int cmd_mirror_upgrade(struct cmd_context *c, int argc, char **argv);
int cmd_opam_cache(struct cmd_context *c, int argc, char **argv);
int cmd_opam_ci(struct cmd_context *c, int argc, char **argv);
int cmd_opam_install(struct cmd_context *c, int argc, char **argv);
int cmd_opam_reinstall(struct cmd_context *c, int argc, char **argv);
int cmd_opam_remove(struct cmd_context *c, int argc, char **argv);
int cmd_opam_solve(struct cmd_context *c, int argc, char **argv);
int cmd_pack_conda(struct cmd_context *c, int argc, char **argv);
int cmd_pair_init(struct cmd_context *c, int argc, char **argv);
int cmd_pair_join(struct cmd_context *c, int argc, char **argv);
int cmd_pair_leave(struct cmd_context *c, int argc, char **argv);
int cmd_pair_show(struct cmd_context *c, int argc, char **argv);
int cmd_plan_publish(struct cmd_context *c, int argc, char **argv);
int cmd_plan_show(struct cmd_context *c, int argc, char **argv);
int cmd_plan_sign(struct cmd_context *c, int argc, char **argv);
int cmd_plan_trust(struct cmd_context *c, int argc, char **argv);
int cmd_plan_verify(struct cmd_context *c, int argc, char **argv);
int cmd_prepare(struct cmd_context *c, int argc, char **argv);
int cmd_search(struct cmd_context *c, int argc, char **argv);
int cmd_show_boot(struct cmd_context *c, int argc, char **argv);
int cmd_show_install(struct cmd_context *c, int argc, char **argv);
int cmd_show_issu(struct cmd_context *c, int argc, char **argv);
int cmd_show_redundancy(struct cmd_context *c, int argc, char **argv);
int cmd_show_version(struct cmd_context *c, int argc, char **argv);
int cmd_snapshot_diff(struct cmd_context *c, int argc, char **argv);
int cmd_snapshot_list(struct cmd_context *c, int argc, char **argv);
int cmd_snapshot_show(struct cmd_context *c, int argc, char **argv);
int cmd_solve(struct cmd_context *c, int argc, char **argv);
int cmd_spec_match(struct cmd_context *c, int argc, char **argv);
int cmd_spec_show(struct cmd_context *c, int argc, char **argv);
int cmd_spot(struct cmd_context *c, int argc, char **argv);
int cmd_start(struct cmd_context *c, int argc, char **argv);
int cmd_status(struct cmd_context *c, int argc, char **argv);
int cmd_stop(struct cmd_context *c, int argc, char **argv);
int cmd_store_gc(struct cmd_context *c, int argc, char **argv);
int cmd_store_size(struct cmd_context *c, int argc, char **argv);
int cmd_store_verify(struct cmd_context *c, int argc, char **argv);
int cmd_version_compare(struct cmd_context *c, int argc, char **argv);
int cmd_why(struct cmd_context *c, int argc, char **argv);
