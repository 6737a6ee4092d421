// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_as: the program under the name `opam` (or opam-2.1): its command lines, its words, its exit codes. A command is a row of the table in
 * opam_as.c and a function
 *
 *	int opam_as_x(struct opam_as *x, int argc, char **argv);        argv: what comes behind its name
 *
 * which parses with opam_as_parse and returns an exit code, through opam_as_fail for errors.
 */
#include "base/map.h"
#include "channel/channel.h"
#include "cmd/cmd.h"

/* As opam's manual lists them. */
enum {
	OPAM_OK = 0,
	OPAM_FALSE = 1,
	OPAM_USAGE = 2,
	OPAM_NOT_FOUND = 5,
	OPAM_ABORTED = 10,
	OPAM_LOCKED = 15,
	OPAM_NO_SOLUTION = 20,
	OPAM_FILE_ERROR = 30,
	OPAM_PACKAGE_ERROR = 31,
	OPAM_SYNC_ERROR = 40,
	OPAM_CONFIG_ERROR = 50,
	OPAM_SOLVER_ERROR = 60,
	OPAM_INTERNAL = 99
};

/* What questions are answered with, where it is not a person who is asked. Only UNSAFE_YES lets the system's package manager run. */
enum opam_answer { OPAM_ASK, OPAM_NO, OPAM_YES, OPAM_UNSAFE_YES };

struct opam_as {
	struct cmd_context *c;
	const char *command;
	const char *root, *sw, *cli, *colour, *confirm; /* options of every command */
	enum opam_answer answer;
	bool yes, no, safe, quiet, debug, strict, no_self, help, version;
	int64_t verbosity;
	const char *sw_from; /* "--switch", "OPAMSWITCH", "folder", "root": who chose the switch */
	struct env_opam *o;
	struct env_opam_switch *s;
	bool said_waiting;
	bool by_noun;		    /* as `slipway opam COMMAND` */
	bool ignore_pin_depends;    /* --ignore-pin-depends; see opam_as_ignores_pin_depends */
	struct opam_as_repo *repos; /* opam_as_open_repos */
	size_t repos_n;
	bool repos_open;
};

/* Options of the command's own and those of every command. False: said what is wrong, the exit code is in *ret. */
bool opam_as_parse(struct opam_as *x, const struct cmd_option *own, int argc, char **argv, struct cmd_list *words,
		   int *ret);
/* "[ERROR] …" on standard error; returns `code`. */
int opam_as_say(struct opam_as *x, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same for an error of the library, with the exit code that it means. */
int opam_as_fail(struct opam_as *x, const struct err *e);
void opam_as_note(struct opam_as *x, const char *kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void opam_as_put(struct opam_as *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "\n<><> Text ><><…" */
void opam_as_header(struct opam_as *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whether a person, or -y, says so; "Continue? [Y/n] y" is shown. */
bool opam_as_confirm(struct opam_as *x, bool usual, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same for what --yes does not cover. */
bool opam_as_confirm_unsafe(struct opam_as *x, const char *question);
/* Wrong words: says so, OPAM_USAGE. */
int opam_as_usage(struct opam_as *x, const char *why);
/* Whether opam is to be as that version of its command line (--cli, OPAMCLI). */
bool opam_as_is_cli(const struct opam_as *x, const char *version);
bool opam_as_utf8(void);

/* Rows of cells, aligned, with `sep` between columns. */
struct opam_as_table {
	size_t columns;
	const char *sep;
	VEC(char *) cells;
};
void opam_as_cell(struct opam_as_table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void opam_as_table(struct opam_as *x, struct opam_as_table *t); /* prints and releases */

/* The root and the switch that are in use: x->o, x->s. 0, or the exit code of what was said. */
int opam_as_root(struct opam_as *x);
int opam_as_switch(struct opam_as *x);
const char *opam_as_root_path(struct opam_as *x); /* --root, OPAMROOT, ~/.opam */
/* The name of the switch in use, or NULL. */
const char *opam_as_switch_name(struct opam_as *x);
int opam_as_hold(struct opam_as *x, enum env_opam_part part); /* to write */
int opam_as_hold_switch(struct opam_as *x);
/* "# Run eval $(opam env)…", where the shell's environment is not this switch's. */
void opam_as_tell_eval(struct opam_as *x, const char *switch_name);
bool opam_as_is_in_sync(struct opam_as *x);
bool opam_as_no_notice(void);				   /* OPAMNOENVNOTICE: nothing is to be said of that */
bool opam_as_ignores_pin_depends(const struct opam_as *x); /* by option or OPAMIGNOREPINDEPENDS */
const char *opam_as_called(const struct opam_as *x);	   /* "opam", "slipway opam" */

/* What the repositories in use have, best first (opam_as_index.c), as the root's last update left them. Texts are in the command's arena. */
struct opam_as_repo {
	struct str name, url;
	const char *dir, *tar; /* one of them: a folder with packages/, or a tar of one */
	struct opam_index *index;
};
int opam_as_open_repos(struct opam_as *x, struct err *e); /* once; opam_as_main and the like close them */
void opam_as_close_repos(struct opam_as *x);
/* After the reads: whether what they told is worth anything. */
int opam_as_check_repos(const struct opam_as *x, struct err *e);
int opam_as_repos_in_use(struct opam_as *x, struct pkg_opam_strs *ret, struct err *e);
/* opam_as_pin.c: a repository of what the switch has pinned to sources, or NULL (*e: why); the URL of a name's, or STR_NONE. */
const char *opam_as_pins_folder(struct opam_as *x, struct err *e);
struct str opam_as_pin_url(struct opam_as *x, struct str name);
/* `opam install SOURCE`: pins what it defines, but for what is pinned to it already; `simulate`: pins nothing. What it defines, with versions, is
 * appended to v (cmd/opam_source.h). An exit code. */
struct opam_definitions;
int opam_as_pin_all(struct opam_as *x, const char *source, bool simulate, struct opam_definitions *v);
/* A folder or git repository that a name is pinned to: whether it is another than when opam_as_pin_installed was last called for it. */
bool opam_as_pin_changed(struct opam_as *x, struct str name);
void opam_as_pin_installed(struct opam_as *x, struct str name);
/* The first repository that has it. */
bool opam_as_find(struct opam_as *x, struct str name, struct str version, const struct opam_as_repo **ret,
		  struct oi_pkg *ret_p);
/* Of a repository that is a tar: files beside the opam files of packages ("NAME.VERSION": anything), as to/NAME.VERSION/… */
int opam_as_extra_files(struct opam_as *x, const struct opam_as_repo *repo, const struct map *wanted, int to,
			struct err *e);
/* Versions of a name, sorted; one opam file. */
struct opam_as_found {
	struct str version, repo, text, where;
};
int opam_as_versions(struct opam_as *x, struct str name, struct opam_as_found **ret, size_t *ret_n, struct err *e);
/* All of them, best version of each name alone. */
int opam_as_names(struct opam_as *x, struct str **ret, size_t *ret_n, struct err *e);
/* Fetches a repository of that URL into the root. 1 where it changed, 0. */
int opam_as_fetch_repo(struct opam_as *x, struct str name, struct str url, struct err *e);
int opam_as_git_commit(struct opam_as *x, struct str url, struct buf *ret, struct err *e);
/* The folder `dest` of "git+https://h/x#REF". */
int opam_as_checkout(struct opam_as *x, const char *url, const char *dest, struct err *e);
/* An open file with the bytes of that URL; ROOT/.slipway is there. */
int opam_as_open_archive(struct opam_as *x, struct str url, struct err *e);
/* "/x" as opam writes URLs: "file:///x"; a name that `slipway channel add opam` keeps as its URL. */
struct str opam_as_url(struct opam_as *x, const char *said);

/* opam_as_var.c: variables as the switch in use has them, or without `need_switch` the root's where none is. An exit code; OPAM_OK: *ret is the caller's. */
int opam_as_open_vars(struct opam_as *x, bool need_switch, struct env_opam_vars **ret);
/* What a variable ("os", "pkg:version") comes to, in the command's arena. False: it is not defined. */
bool opam_as_value(struct opam_as *x, const struct pkg_opam_host *h, struct str name, struct str *ret);

/* The switch's invariant, as a formula; STR_NONE: it has none. */
int opam_as_invariant(struct opam_as *x, struct arena *a, struct str *ret, struct err *e);
/* That there is no plan, as opam says it: what is in the way (opam_plan) on standard error, that it ends on the other (but of an upgrade). OPAM_NO_SOLUTION. */
int opam_as_no_solution(struct opam_as *x, bool upgrade, const struct str *why, size_t n);
/* The same where actions wait for each other. */
int opam_as_circles(struct opam_as *x, const struct str *why, size_t n);

int opam_as_config(struct opam_as *x, int argc, char **argv);
int opam_as_env(struct opam_as *x, int argc, char **argv);
int opam_as_exec(struct opam_as *x, int argc, char **argv);
int opam_as_init(struct opam_as *x, int argc, char **argv);
int opam_as_install(struct opam_as *x, int argc, char **argv);
int opam_as_list(struct opam_as *x, int argc, char **argv);
int opam_as_reinstall(struct opam_as *x, int argc, char **argv);
int opam_as_remove(struct opam_as *x, int argc, char **argv);
int opam_as_option(struct opam_as *x, int argc, char **argv);
int opam_as_pin(struct opam_as *x, int argc, char **argv);
int opam_as_repository(struct opam_as *x, int argc, char **argv);
int opam_as_show(struct opam_as *x, int argc, char **argv);
int opam_as_switches(struct opam_as *x, int argc, char **argv);
int opam_as_unpin(struct opam_as *x, int argc, char **argv);
int opam_as_update(struct opam_as *x, int argc, char **argv);
int opam_as_upgrade(struct opam_as *x, int argc, char **argv);
int opam_as_var(struct opam_as *x, int argc, char **argv);

/* argv as main gets it, when the program goes by that name. */
bool opam_as_is_name(const char *argv0);
int opam_as_main(struct cmd_context *c, int argc, char **argv);
/* `slipway opam COMMAND`, for those of its commands that the noun has not as verbs of its own. */
bool opam_as_knows(const char *word);
int opam_as_by_noun(struct cmd_context *c, const char *word, int argc, char **argv);
void opam_as_put_names(const char *margin, struct buf *b); /* of all commands; further rows begin with the margin */
int opam_as_end(struct opam_as *x, int code);		   /* gives back what x holds; returns code */
