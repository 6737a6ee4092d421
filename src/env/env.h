// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * env: named, isolated installations in generations.
 *
 *	ROOT/env/<name>/<N>/       generation N: a whole conda prefix, made of links into the store
 *	ROOT/env/<name>/current    → N, swapped atomically
 *	ROOT/env/.<name>.lock      held while a command changes the environment; gone with it
 *	ROOT/state.db              environments, generations, operations, history (SQLite)
 *
 * A change is: open the state, take the environment's lock, decide what should be there (a lock: exact packages), plan,
 * bring blobs and trees into the store, lay out generation N+1 beside the current one, make it current. Until that last
 * step nothing that runs has changed; a crash anywhere leaves the old generation current and rubbish that the next
 * command removes. Programs run from a generation's real path, so that they keep finding their own files after a switch.
 *
 *	struct env_state *st;
 *	env_state_open(root_fd, root_path, flags, &st, e)            recovers what a crash left
 *	env_hold(st, name, wait_ms, &hold, e)
 *	env_plan(&target, current or NULL, &arena, &plan, e)         printable; nothing has changed
 *	env_prepare(store, transfer, &plan, opts, &arena, e)         download, verify, unpack; nothing has changed
 *	env_lay_out(store, hold, &plan, opts, &arena, &report, e)    generation N+1 on disk, not current
 *	env_switch(hold, report.generation, "update", opts, e)       current; history written
 *
 * Rules: CEP 32 (prefix, conda-meta, history), 34 (paths.json), 17 and 20 (noarch Python), 22 (frozen), 23 (@EXPLICIT),
 * 24 (environment.yml).
 */
#include "base/arena.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/progress.h"
#include "channel/channel.h"
#include "pkg/pkg.h"
#include "solve/solve.h"
#include "store/store.h"
#include "transfer/transfer.h"

/* == 1. locks: what an environment consists of ==================================================================== */
/* A lock is exact and portable; the .spr file is its text (doc/formats/spr.md). */
struct env_lock_package {
	struct pkg_record record;
	bool requested;
	struct str requested_spec;
};
struct env_variable {
	struct str name, value;
};
/* A component file (doc/formats/component.md) that is the recipe's own: laid out as share/slipway/component/NAME.yml. */
struct env_component {
	struct str name;
	struct str text;
	struct str
		path; /* in a recipe that a person wrote, in place of the text: whoever reads the recipe reads that file, too */
};
struct env_spec_file {		    /* what any of the readable files says */
	struct str name;	    /* environment's name, or STR_NONE */
	const struct str *channels; /* as written */
	uint32_t channels_n;
	const struct str *specs; /* what was asked for */
	uint32_t specs_n;
	const struct env_variable *variables;
	uint32_t variables_n;
	const struct env_component *components;
	uint32_t components_n;
	struct str subdir;			 /* lock: the platform it is for */
	struct str os;				 /* of a recipe: for which systems (channel_os_meets); empty: any */
	const struct env_lock_package *packages; /* lock: exact packages in link order */
	uint32_t packages_n;
	bool is_lock;	  /* packages are exact: no solving */
	bool is_url_list; /* @EXPLICIT: records know nothing but file names until env_prepare completed them */
	bool nodefaults;
	const struct str *notes; /* what a person should know about the file: parts that were passed over */
	uint32_t notes_n;
};
/* What two locks have in common that lay out the same files: packages by digest, components, variables; not their order, where they
 * came from, or what was asked for. */
void env_lock_digest(const struct env_spec_file *lock, uint8_t ret[SHA256_SIZE]);
/* Reads .spr, @EXPLICIT text (CEP 23), a plain list of specs, or environment.yml (CEP 24), told apart by content. A `pip:`
 * section is ERR_UNSUPPORTED with a clear word. Messages have file and line. */
int env_file_read(struct arena *a, struct str text, const char *where, struct env_spec_file *ret, struct err *e);
void env_file_write_spr(const struct env_spec_file *f, struct buf *b);
void env_file_write_explicit(const struct env_spec_file *f, struct buf *b);
void env_file_write_yml(const struct env_spec_file *f, bool with_builds, struct buf *b);

/* What stands against a lock that somebody may have written or merged by hand: packages of another platform than `subdir`,
 * dependencies that nothing in it (nor `virtuals`) meets, constraints that something in it breaks. One line each, all at once;
 * returns how many. */
size_t env_lock_problems(const struct env_spec_file *lock, struct str subdir, const struct pkg_record *virtuals,
			 size_t virtuals_n, struct arena *a, struct str **ret);

/* == 2. state ===================================================================================================== */
struct env_state;
enum env_state_flags { ENV_STATE_RO = 1 << 0 };
int env_state_open(int root_fd, const char *root_path, enum env_state_flags flags, struct env_state **ret,
		   struct err *e);
void env_state_free(struct env_state *st);
DEFINE_AUTO(struct env_state *, env_state, env_state_free);

int env_name_check(struct str name, struct err *e); /* [A-Za-z0-9][A-Za-z0-9._-]{0,63}, not "current" */

struct env_info {
	struct str name;
	uint32_t current;   /* generation, 0 none */
	uint32_t committed; /* the one that abort goes back to; the current one unless an upgrade is under way */
	uint32_t generations_n;
	int64_t created_ms, changed_ms;
	uint32_t packages_n;
	struct str prefix; /* real path of the current generation */
	bool started;	   /* its services are to run, now and after a boot */
};
int env_list(struct env_state *st, struct arena *a, struct env_info **ret, size_t *ret_n, struct err *e);
int env_get(struct env_state *st, struct arena *a, struct str name, struct env_info *ret,
	    struct err *e); /* ERR_NOT_FOUND */
/* 1; 0 and *ret zeroed: there is no such environment. */
int env_find(struct env_state *st, struct arena *a, struct str name, struct env_info *ret, struct err *e);

/* What a generation is to its environment: it follows from which one is current and which committed. */
enum env_generation_state {
	ENV_INACTIVE = 'I',
	ENV_UNCOMMITTED = 'U', /* activated & uncommitted */
	ENV_COMMITTED = 'C',   /* activated & committed */
	ENV_DEACTIVATED = 'D', /* deactivated & uncommitted: still what abort goes back to */
};
struct env_generation_info {
	uint32_t number;
	enum env_generation_state state;
	struct str label;   /* a person's name for it; empty: none */
	struct str version; /* what was asked for, with versions: "web 1.1" */
	int64_t made_ms;
	struct str operation; /* "create", "update", "apply", "rollback", … */
	struct str command;   /* the command line */
	bool current;
	uint32_t packages_n, added, removed, changed; /* against the generation before it */
};
int env_generations(struct env_state *st, struct arena *a, struct str name, struct env_generation_info **ret,
		    size_t *ret_n, struct err *e);
/* What a generation consists of; number 0: the current one. */
int env_generation_lock(struct env_state *st, struct arena *a, struct str name, uint32_t number,
			struct env_spec_file *ret, struct err *e);
struct env_history_entry {
	int64_t at_ms;
	struct str operation, command, result; /* "done", "failed: …", "rolled back" */
	uint32_t from, to;		       /* generations, 0 none */
	struct str who;			       /* the user who asked for it; "timer", "agent"; empty: not known */
	struct str operation_id;	       /* of the upgrade that it was a part of, or empty */
	int64_t ended_ms;		       /* 0: not known */
};
int env_history(struct env_state *st, struct arena *a, struct str name, struct env_history_entry **ret, size_t *ret_n,
		struct err *e);
/* Digests of everything that some generation still refers to, sorted, for store_gc. */
int env_digests_in_use(struct env_state *st, struct arena *a, uint8_t (**ret)[SHA256_SIZE], size_t *ret_n,
		       struct err *e);

/* Holds the environment against other commands; waits up to wait_ms, then ERR_BUSY names the holder. The environment need
 * not exist yet. Removes what a crashed command left of it. Released before its state is freed. */
struct env_hold;
int env_hold(struct env_state *st, struct str name, int64_t wait_ms, struct env_hold **ret, struct err *e);
void env_release(struct env_hold *h);
/* Whether somebody, this process included, holds it now: 1 or 0. Leaves no trace. */
int env_is_held(struct env_state *st, struct str name, struct err *e);
DEFINE_AUTO(struct env_hold *, env_hold, env_release);

/* ERR_FAILED, with the reason that is given, where the environment is marked as not to be changed (CEP 22). Whoever is about
 * to change or remove it asks first, unless the user said that it shall be overridden, for this once. */
int env_refuse_frozen(struct env_state *st, struct str name, struct err *e);

/* == 3. change ==================================================================================================== */
/* What a person asks to be changed. */
struct env_change {
	const struct str *specs; /* asked for now: each takes the place of those of before for its package */
	size_t specs_n;
	const char *const *remove; /* packages that are to go */
	size_t remove_n;
	bool all; /* nothing is held at what is installed */
};
/* What the environment is asked for from now on: specs of before that still count, then those of now. ERR_NOT_FOUND where what
 * is to go is not there. */
int env_change_specs(struct arena *a, const struct env_spec_file *before, const struct env_change *ch, struct str **ret,
		     size_t *ret_n, struct err *e);
/* What is installed stays what it is, as far as the change lets it. */
void env_change_hold(struct arena *a, const struct env_spec_file *before, const struct env_change *ch,
		     struct solve_request *q);
/* Whether what is to go has stayed away. */
int env_change_check(const struct env_change *ch, struct str env, const struct solve_result *r, struct err *e);
/* An environment made of a list of URLs remembers no specs: its packages are what was asked for. Without that an update would
 * let go of all that it does not name. */
void env_remember_requested(struct arena *a, struct env_spec_file *f);

/* BUILD: of a package of opam's (pkg_is_opam) that the store has not as it is to be; by the caller, before env_prepare. */
enum env_step_kind { ENV_STEP_DOWNLOAD, ENV_STEP_UNPACK, ENV_STEP_BUILD, ENV_STEP_LINK, ENV_STEP_REMOVE };
struct env_step {
	enum env_step_kind kind;
	uint32_t package;    /* in target.packages; REMOVE: in before.packages */
	uint64_t size_bytes; /* DOWNLOAD */
};
struct env_plan {
	struct env_spec_file before, target;
	const struct env_step *steps;
	size_t steps_n;
	uint32_t *added, *removed, *kept; /* into target, before, target */
	struct {
		uint32_t from, to;
	} * changed; /* same name, other build: before, target */
	size_t added_n, removed_n, kept_n, changed_n;
	uint64_t download_bytes;
	/* For each package of the target where to get it, as it was written: may hold credentials, so it is never shown or
	 * kept. The target's own records have none. */
	struct str *private_urls;
};
/* `before` NULL: a new environment. `store` tells what is there already; NULL: nothing is. */
int env_plan(const struct env_spec_file *target, const struct env_spec_file *before, struct store *store,
	     struct arena *a, struct env_plan *ret, struct err *e);

/* Channels, specs, requested marks and variables alike: with an empty plan there is nothing to do at all. */
bool env_same_settings(const struct env_spec_file *x, const struct env_spec_file *y);

enum env_clobber { ENV_CLOBBER_WARN, ENV_CLOBBER_REFUSE };
struct env_opts {
	struct progress *progress;
	const struct clock *clock;
	const char *command;	  /* the command line, for history */
	const char *who;	  /* for history: who asked for it; NULL: not known */
	const char *operation_id; /* for history: the upgrade that this is a part of, or NULL */
	bool uncommitted;	  /* switch: `committed` stays where it is, until env_commit or a switch back */
	/* What env_switch is going to be given after env_lay_out, with the same options: what it writes first is then written while
	 * files are linked. NULL where the caller does not know, or may not switch. */
	const char *operation;
	enum env_clobber
		clobber;    /* two packages with one path: the one linked later wins and it is reported, or refused */
	bool allow_scripts; /* post-link scripts: not run unless allowed; reported either way */
	bool no_pyc;	    /* do not compile noarch Python modules */
	bool copy;	    /* never link */
	bool sync_delete;   /* files that no package owns are left behind; otherwise the new generation has them too */
	unsigned threads;   /* 0: one a processor */
	/* Records, locks and logs hold URLs without credentials: those of these channels are put in where a package of
	 * theirs is downloaded. */
	const struct channel *channels;
	size_t channels_n;
};
/* Downloads (several at once, resuming), verifies and unpacks (in parallel with the downloads) whatever the plan needs.
 * Packages of the target that came without a SHA-256 (@EXPLICIT lists) get theirs filled in, and what else their own
 * info/index.json knows. `transfer` may be NULL where every URL is file:// or everything is in the store. */
int env_prepare(struct store *store, struct transfer *transfer, struct env_plan *plan, const struct env_opts *o,
		struct arena *a, struct err *e);
struct env_left { /* a file of nobody that the new generation has not */
	struct str path;
	const char *why;
};
/* Lays the target out as a new generation. `report` may be NULL. */
struct env_report {
	uint32_t generation;
	uint64_t files, bytes, linked, copied, patched, carried; /* carried: files of nobody, taken over from before */
	const struct str *notes; /* what a person should know: clobbered paths, scripts not run, messages */
	size_t notes_n;
	const struct env_left *left; /* folder by folder */
	size_t left_n;
};
int env_lay_out(struct store *store, struct env_hold *h, const struct env_plan *plan, const struct env_opts *o,
		struct arena *a, struct env_report *report, struct err *e);
/* Makes a generation that is laid out the current one. */
int env_switch(struct env_hold *h, uint32_t generation, const char *operation, const struct env_opts *o, struct err *e);
/* A generation that was laid out is forgotten, files and all, by whoever holds the environment next, unless it was
 * switched to or kept. */
int env_keep(struct env_hold *h, uint32_t generation, const char *operation, const struct env_opts *o, struct err *e);
/* The current generation becomes the committed one. */
int env_commit(struct env_hold *h, const struct env_opts *o, struct err *e);
/* A name to find a generation by: as env_name_check wants it, and not a number. It leaves the generation that had it; empty
 * takes the label away. */
int env_label(struct env_hold *h, uint32_t generation, struct str label, struct err *e);
/* Whether it may be one. ERR_USAGE. */
int env_label_check(struct str label, struct err *e);
/* Whether the environment's services are to run: what `slipway start` and `slipway stop` say. */
int env_set_started(struct env_hold *h, bool started, struct err *e);
/* The package that brought a file of a generation (0: the current one); *ret is empty where it is nobody's. */
int env_owner(struct env_state *st, struct arena *a, struct str env, uint32_t generation, struct str path,
	      struct str *ret, struct err *e);
/* A generation as a person writes it: its number, its label, or "committed". ERR_NOT_FOUND, ERR_USAGE. */
int env_find_generation(struct env_state *st, struct str env, struct str text, uint32_t *ret, struct err *e);
/* One change back: what the generation was made from, or where that was removed, what that one was made from. What a rollback laid out
 * anew (env_keep as "rollback") counts as what it is a copy of. ERR_NOT_FOUND. */
int env_generation_before(struct env_state *st, struct str env, uint32_t number, uint32_t *ret, struct err *e);
/* Removes a generation that is neither current nor committed (its files, its row); 0: all such but those with a label, which a person
 * means to go back to. */
int env_remove_generation(struct env_hold *h, uint32_t generation, struct err *e);
/* Removes the environment with all its generations; its history stays. */
int env_remove(struct env_hold *h, const struct env_opts *o, struct err *e);

/* -- operations: what an upgrade under way must not forget; the upgrade module says what it means ------------------ */
struct env_timer {	   /* the auto-abort timer (upgrade/timer.h) */
	int64_t length_ms; /* 0: none runs */
	int64_t left_ms;   /* when it was last noted */
	int64_t boot_deadline_ms, wall_deadline_ms;
	char boot_id[37];
	bool stopped; /* by a person */
};
struct env_operation {
	struct str id; /* 32 hex digits, the same on both members of a pair */
	struct str state;
	bool one_shot;
	uint32_t from, to; /* generations */
	struct str who, command;
	int64_t started_ms;
	struct env_timer timer;
	struct str detail; /* JSON of the upgrade module, at most 1 MiB */
};
/* 1 and the operation of an environment, or 0. Nothing need be held. */
int env_operation_get(struct env_state *st, struct arena *a, struct str env, struct env_operation *ret, struct err *e);
/* Makes it the environment's one operation; on disk when it returns. */
int env_operation_put(struct env_hold *h, const struct env_operation *op, struct err *e);
/* There is none any more. */
int env_operation_end(struct env_hold *h, struct err *e);
/* The environments with an operation, sorted. */
int env_operation_list(struct env_state *st, struct arena *a, struct str **ret, size_t *ret_n, struct err *e);
/* One line of an operation's log: what was done, on which member (0: this host), when, and how it ended. Kept with the history. */
struct env_operation_step {
	struct str name, result;
	uint32_t member;
	int64_t started_ms, ended_ms;
};
int env_operation_log(struct env_hold *h, struct str id, const struct env_operation_step *s, struct err *e);
int env_operation_steps(struct env_state *st, struct arena *a, struct str id, struct env_operation_step **ret,
			size_t *ret_n, struct err *e);
/* A line of history for something that moved no link: "label", "commit", a refused command. */
int env_history_add(struct env_hold *h, const struct env_history_entry *entry, struct err *e);

/* Compares a generation (0: the current one) with what was laid out: paths that are "missing", "changed" (content, kind or
 * mode) or "added" (no package owns them); `detail` says how a path changed ("mode 0644, was 0755"), else it is empty.
 * With `deep` every file is read and its digest compared, else only its kind, size and mode.
 * Calls found() for each, sorted by path; returns their number. Nothing need be held: a generation does not change. */
typedef void env_difference_fn(void *ctx, const char *path, const char *what, const char *detail, struct str package);
int64_t env_differences(struct env_state *st, struct str name, uint32_t generation, bool deep, env_difference_fn *found,
			void *ctx, struct err *e);

/* == 4. use ======================================================================================================= */
/* The environment block of a program that runs in the environment: PATH, CONDA_PREFIX, CONDA_DEFAULT_ENV, variables of
 * conda-meta/state and etc/conda/env_vars.d. activate.d scripts need a shell: *ret_needs_shell tells whether there are any. */
int env_environ(const char *prefix, struct str name, char *const *base, struct arena *a, char ***ret,
		bool *ret_needs_shell, struct err *e);
/* Replaces this process by argv inside the environment; returns only on failure. */
int env_exec(struct env_state *st, struct str name, char *const *argv, struct err *e);
/* Shell text that activates (posix, bash, zsh, fish) for `eval "$(slipway env activate -n NAME)"`. */
int env_activate_text(struct env_state *st, struct str name, const char *shell, bool deactivate, struct buf *b,
		      struct err *e);
/* Writes one wrapper script for each program into dir: /usr/local/bin/silx runs the environment's silx. A file that is not a
 * wrapper of ours is not overwritten (ERR_EXISTS). check_only: writes nothing, only tells what would be refused; then dirfd may
 * be -1, a folder that is not there yet. */
int env_wrap(struct env_state *st, struct str name, int dirfd, const char *const *programs, size_t n, bool check_only,
	     struct err *e);

/* == 5. opam: roots and switches ================================================================================== */
/*
 * A root of opam's (~/.opam, format 2.1) with its switches: what opam wrote is read, and what is written here opam reads and agrees with
 * (doc/formats/opam-switch.md, decision 0083). A field that is not meant stays as it stands, byte for byte. opam's own locks are taken, so
 * that it and we keep each other out; each file is replaced by one rename; what opam only keeps to be quicker (repo/state-*.cache,
 * packages/cache) is removed before what it was made from changes.
 *
 *	auto_ptr(env_opam) o = NULL;
 *	auto_ptr(env_opam_switch) s = NULL;
 *	env_opam_open("/home/x/.opam", &o, e)                        ERR_NOT_FOUND: there is none
 *	env_opam_switch_open(o, "5.3", &s, e)                        ERR_NOT_FOUND
 *	env_opam_switch_lock(s, true, wait_ms, e)                    ERR_BUSY: opam, or another of us, is at it
 *	env_opam_track_begin(s, precise, &t, e)                      before the package's install commands
 *	env_opam_install_read(&a, text, where, "dune", &inst, e)     build/dune.3.0/dune.install, where there is one
 *	env_opam_install_apply(s, &inst, build_fd, e)
 *	env_opam_track_end(t, &a, &changes, e)                       what came into the prefix
 *	env_opam_added(s, &package, e)                               now it is installed
 *
 * and removal: env_opam_revert(s, name, …), env_opam_removed(s, name, version, keep, e).
 */
enum { ENV_OPAM_FILE_MAX = 16 << 20, ENV_OPAM_LAID_MAX = 1 << 20 };
#define ENV_OPAM_VERSION "2.1.6" /* what it is the like of: variable opam-version */

struct env_opam;
int env_opam_open(const char *path, struct env_opam **ret, struct err *e);
void env_opam_free(struct env_opam *o);
DEFINE_AUTO(struct env_opam *, env_opam, env_opam_free);
const char *env_opam_path(const struct env_opam *o); /* absolute */
int env_opam_fd(const struct env_opam *o);

/* opam's locks on a root: the configuration and the list of switches, or the repositories. Held until the root is freed; to read or to
 * write, which may be asked for later. Who holds one asks for no earlier one: config, repos, then a switch's. */
enum env_opam_part { ENV_OPAM_CONFIG, ENV_OPAM_REPOS, ENV_OPAM_PARTS };
int env_opam_lock(struct env_opam *o, enum env_opam_part part, bool write, int64_t wait_ms, struct err *e);

struct env_opam_config {
	struct pkg_opam_doc doc;
	struct pkg_opam_strs repositories, switches; /* names, as listed */
	struct str current;			     /* switch; STR_NONE: none is chosen */
	struct str format;			     /* opam-root-version; "2.0" where it is not there */
};
int env_opam_config_read(struct env_opam *o, struct arena *a, struct env_opam_config *ret, struct err *e);
/* One field of the root's configuration (s NULL) or a switch's said anew; v NULL: taken out. */
struct env_opam_switch;
int env_opam_set(struct env_opam *o, struct env_opam_switch *s, const char *field, const struct pkg_opam_value *v,
		 struct err *e);

/* A variable of a switch (its section `variables`) or, s NULL, of the root (global-variables). Value STR_NONE: away with it. 1 where something changed; 0. */
int env_opam_set_variable(struct env_opam *o, struct env_opam_switch *s, struct str name, struct str value,
			  struct err *e);

/* A new root: configuration as opam's built-in, repositories listed but not fetched. `config`: an opamrc, or NULL. */
struct env_opam_repo {
	struct str name, url;
	const struct pkg_opam_value *def; /* as it was read, with what else stands there; NULL: new */
};
int env_opam_init(const char *path, const struct pkg_opam_doc *config, const struct env_opam_repo *repos,
		  size_t repos_n, struct err *e);
int env_opam_repos(struct env_opam *o, struct arena *a, struct env_opam_repo **ret, size_t *ret_n, struct err *e);
int env_opam_repos_write(struct env_opam *o, const struct env_opam_repo *v, size_t n, struct err *e);
/* Makes the root's own copy of a repository (repo/NAME.tar.gz) equal to a folder's packages: 1 where it changed, 0 where it was so
 * already. ERR_NOT_FOUND, ERR_INPUT where the folder is no repository; the copy then stays. */
int env_opam_repo_copy(struct env_opam *o, struct str name, int from_fd, struct err *e);
int env_opam_repo_remove(struct env_opam *o, struct str name, struct err *e);

/* -- a switch --------------------------------------------------------------------------------------------------------- */
/* "5.3", or a folder that has a switch _opam in it ("/home/x/project", "."). */
int env_opam_switch_create(struct env_opam *o, const char *name, bool make_current, struct err *e);
int env_opam_switch_open(struct env_opam *o, const char *name, struct env_opam_switch **ret, struct err *e);
void env_opam_switch_free(struct env_opam_switch *s);
DEFINE_AUTO(struct env_opam_switch *, env_opam_switch, env_opam_switch_free);
/* Forgets it; its files go. */
int env_opam_switch_remove(struct env_opam *o, const char *name, struct err *e);
int env_opam_switch_lock(struct env_opam_switch *s, bool write, int64_t wait_ms, struct err *e);
const char *env_opam_switch_name(const struct env_opam_switch *s);
const char *env_opam_prefix(const struct env_opam_switch *s); /* absolute */
int env_opam_prefix_fd(const struct env_opam_switch *s);
int env_opam_meta_fd(
	const struct env_opam_switch *s); /* PREFIX/.opam-switch: build/, sources/, remove/ are whoever builds' */
/* The files as read now; empty docs where they are not there. */
int env_opam_switch_config(struct env_opam_switch *s, struct arena *a, struct pkg_opam_doc *ret, struct err *e);

/* What is installed and what is pinned, each "name.version", in opam's order. */
struct env_opam_state {
	struct pkg_opam_strs installed, roots, pinned, compiler;
	struct pkg_opam_doc doc;
};
/* The text of a switch-state. ERR_INPUT with its place. */
int env_opam_state_parse(struct arena *a, struct str text, const char *where, struct env_opam_state *ret,
			 struct err *e);
int env_opam_state_read(struct env_opam_switch *s, struct arena *a, struct env_opam_state *ret, struct err *e);
/* "name.version" in its parts; false where it is none. */
bool env_opam_split(struct str nv, struct str *ret_name, struct str *ret_version);
/* The version in one of those lists, or STR_NONE. */
struct str env_opam_version_in(const struct pkg_opam_strs *list, struct str name);
/* The opam file of what is installed. ERR_NOT_FOUND. */
int env_opam_installed_file(struct env_opam_switch *s, struct arena *a, struct str nv, struct pkg_opam_doc *ret,
			    struct err *e);

/* The switch is held to write for all of these. */
struct env_opam_package {
	struct str name, version;
	struct str opam; /* text of its opam file */
	bool root;	 /* it was asked for; else what is a root stays one */
	const struct env_opam_changes *changes;
};
/* It is installed: opam file, record of changes, state, environment; files of the prefix are on disk first. Another version of it is not. */
int env_opam_added(struct env_opam_switch *s, const struct env_opam_package *p, struct err *e);
/* It is not any more. With keep_root it remains asked for (it is being installed anew). */
int env_opam_removed(struct env_opam_switch *s, struct str name, bool keep_root, struct err *e);
/* Version STR_NONE: unpinned. The definition is what the package is by its sources, with its `version`; NULL: the repositories' one. 1 where that
 * changed something, else 0; *ret_before: the version that it was pinned to. */
int env_opam_pin(struct env_opam_switch *s, struct arena *a, struct str name, struct str version,
		 const struct buf *definition, struct str *ret_before, struct err *e);
/* What a pin that was killed left half done, back to what was before or on to its end. With the switch held, before pins are changed or counted on. */
int env_opam_pins_settle(struct env_opam_switch *s, struct err *e);

/* -- files in a prefix -------------------------------------------------------------------------------------------------- */
enum env_opam_change_kind {
	ENV_OPAM_ADDED,
	ENV_OPAM_REMOVED,
	ENV_OPAM_CONTENT_CHANGED,
	ENV_OPAM_MODE_CHANGED,
	ENV_OPAM_KIND_CHANGED,
	ENV_OPAM_CHANGE_KINDS
};
struct env_opam_changed {
	struct str path, digest; /* "bin/x"; "D", "L:target", "F:S18T1700000000.5" (size and time), "F:md5" */
	enum env_opam_change_kind kind;
};
struct env_opam_changes {
	struct env_opam_changed *v; /* by path */
	size_t n;
};
struct env_opam_track;
/* `precise`: digests of contents in place of sizes and times (OPAMPRECISETRACKING). */
int env_opam_track_begin(struct env_opam_switch *s, bool precise, struct env_opam_track **ret, struct err *e);
/* What is different now; the track stays the caller's. */
int env_opam_track_end(struct env_opam_track *t, struct arena *a, struct env_opam_changes *ret, struct err *e);
/* Whatever has come since the beginning goes, where it cannot even be listed (too many files, folders too deep); what was changed stays so. */
int env_opam_track_undo(struct env_opam_track *t, struct err *e);
void env_opam_track_free(struct env_opam_track *t);
DEFINE_AUTO(struct env_opam_track *, env_opam_track, env_opam_track_free);
int env_opam_changes_parse(struct arena *a, struct str text, const char *where, struct env_opam_changes *ret,
			   struct err *e);
void env_opam_changes_print(const struct env_opam_changes *c, struct buf *b);
int env_opam_changes_read(struct env_opam_switch *s, struct arena *a, struct str name, struct env_opam_changes *ret,
			  struct err *e); /* empty where there is no record */
/* Takes away what was added, folders that are empty then too. What was changed since stays, unless `force`, and is told in *ret_kept. */
int env_opam_revert(struct env_opam_switch *s, struct arena *a, const struct env_opam_changes *c, bool force,
		    struct pkg_opam_strs *ret_kept, struct err *e);

/* What a package put into the prefix, with what its files hold: to be kept elsewhere, and laid again (build/build.h, "packages that were built
 * before"). .opam-switch/install/NAME.install and config/NAME.config are part of it. */
enum env_opam_item_kind { ENV_OPAM_FOLDER, ENV_OPAM_FILE, ENV_OPAM_LINK };
struct env_opam_item {
	struct str path, target; /* target: of a link */
	enum env_opam_item_kind kind;
	uint32_t mode; /* of a file: 0777 at most */
	uint64_t size;
	uint8_t sha256[SHA256_SIZE];
};
struct env_opam_tree {
	struct env_opam_item *v; /* by path */
	size_t n;
	uint64_t bytes;
};
/* From the record of an installation, files read now. 1; 0 where it changed what is another's too, so that it is not to be kept. ERR_UNSUPPORTED where it made
 * what is no file, folder or link. */
int env_opam_tree_of(struct env_opam_switch *s, struct str name, const struct env_opam_changes *c, struct arena *a,
		     struct env_opam_tree *ret, struct err *e);
void env_opam_tree_print(const struct env_opam_tree *t, struct buf *b);
int env_opam_tree_parse(struct arena *a, struct str text, const char *where, struct env_opam_tree *ret, struct err *e);
/* All of it from one folder to another (a prefix, or where it is kept), each file whole; ERR_VERIFY where one is not what the tree says: then some may
 * have been laid. */
int env_opam_tree_copy(int from_fd, int to_fd, const struct env_opam_tree *t, struct err *e);
/* A copy that nobody else has, on the same file system, into the prefix. */
int env_opam_tree_move(int from_fd, struct env_opam_switch *s, const struct env_opam_tree *t, struct err *e);
/* What of it the prefix has not got. */
int env_opam_tree_missing(struct env_opam_switch *s, const struct env_opam_tree *t, struct arena *a,
			  struct env_opam_tree *ret, struct err *e);
/* Out of the prefix again, what is there as the tree says; folders that are empty then. */
int env_opam_tree_clear(struct env_opam_switch *s, const struct env_opam_tree *t, struct err *e);

/* A .install file: what of a build folder goes where in the prefix. Refused are paths that leave either, or that go into .opam-switch. */
struct env_opam_laid {
	struct str from, to; /* "_build/x", "bin/x"; `misc`: absolute */
	bool optional, exec, misc;
	uint32_t at;
};
struct env_opam_install {
	struct pkg_opam_doc doc;
	struct env_opam_laid *v;
	size_t n;
};
int env_opam_install_read(struct arena *a, struct str text, const char *where, struct str package,
			  struct env_opam_install *ret, struct err *e);
/* Copies them, each put in place whole; keeps the file (install/NAME.install) and NAME.config of the build folder, if there is one. ERR_NOT_FOUND
 * names all files that are missing. Nothing is laid outside of the prefix: `misc` is ERR_UNSUPPORTED. */
int env_opam_install_apply(struct env_opam_switch *s, struct str package, const struct env_opam_install *i,
			   int build_fd, struct err *e);

/* Before a package that is not installed is: what a killed process laid of its .install file goes. */
int env_opam_install_clear(struct env_opam_switch *s, struct str package, struct err *e);

/* -- variables ------------------------------------------------------------------------------------------------------------- */
/* What a package's filters and commands see: pkg_opam_host over root, switch and what is installed. Read once. */
struct env_opam_local { /* said by the caller, before all others; value STR_NONE: it is not defined */
	struct str name, value;
};
struct env_opam_vars;
int env_opam_vars_new(struct env_opam *o, struct env_opam_switch *s, struct arena *a, struct env_opam_vars **ret,
		      struct err *e); /* s may be NULL; values live in a */
void env_opam_vars_free(struct env_opam_vars *v);
DEFINE_AUTO(struct env_opam_vars *, env_opam_vars, env_opam_vars_free);
/* For a package ("name", "version", "bin" … are its own): `file` may be NULL. */
struct pkg_opam_host env_opam_host(struct env_opam_vars *v, struct str name, struct str version,
				   const struct pkg_opam_doc *file, const struct env_opam_local *local, size_t local_n);
/* What decides which packages there are, "os=linux" each, of the root's variables alone (channel_needs_opts.variables). */
struct pkg_opam_strs env_opam_host_variables(const struct pkg_opam_host *h, struct arena *a);

/* -- what uses what, of what is installed (opam_users.c) -------------------------------------------------------------------- */
/*
 *	env_opam_members(s, vars, &state, &a, &v, e)         state.installed.n of them, all ENV_OPAM_STAYS
 *	v[i].fate = ENV_OPAM_GOES                            what is to go, or to be built anew
 *	env_opam_spread(v, n)                                and what follows from that
 */
enum env_opam_fate { ENV_OPAM_STAYS, ENV_OPAM_GOES, ENV_OPAM_ANEW };
struct env_opam_member {
	struct str name, version;
	const struct pkg_opam *opam;		  /* as it was installed; empty where that file is gone */
	const struct pkg_need *depends, *depopts; /* on this host, in this switch; NULL: none */
	const struct pkg_need *all;		  /* depends, with what is for building or for later */
	enum env_opam_fate fate;
};
/* Values live in a. ERR_INPUT, ERR_LIMIT (pkg_opam_need_of). */
int env_opam_members(struct env_opam_switch *s, struct env_opam_vars *vars, const struct env_opam_state *st,
		     struct arena *a, struct env_opam_member **ret, struct err *e);
/* What uses what goes, goes, even if another would do in its place; what was built with something that goes or is built anew, is built anew. */
void env_opam_spread(struct env_opam_member *v, size_t n);
/* Its formulas name it. */
bool env_opam_uses(const struct env_opam_member *m, struct str name);
/* Of what its formulas name (of what goes, for building and for later, too) the numbers that `at` has (+ 1), each once; v has room for max. How
 * many. */
struct map;
size_t env_opam_used(const struct env_opam_member *m, const struct map *at, size_t *v, size_t max);
/* The package of an installed "name.version", empty where its opam file is gone. */
int env_opam_installed_package(struct env_opam_switch *s, struct arena *a, struct str nv, const struct pkg_opam **ret,
			       struct err *e);

/* -- the environment of a shell --------------------------------------------------------------------------------------------- */
struct env_opam_update {
	struct str variable, value, why;
	enum pkg_opam_op op;
};
/* The lines of .opam-switch/environment: what was computed when the switch last changed. */
int env_opam_updates_read(struct env_opam_switch *s, struct arena *a, struct env_opam_update **ret, size_t *ret_n,
			  struct err *e);
int env_opam_updates_parse(struct arena *a, struct str text, const char *where, struct env_opam_update **ret,
			   size_t *ret_n, struct err *e);
void env_opam_updates_print(const struct env_opam_update *v, size_t n, struct buf *b);
/* The same from scratch: switch, packages, man pages, PATH. */
int env_opam_updates_compute(struct env_opam_switch *s, struct arena *a, struct env_opam_update **ret, size_t *ret_n,
			     struct err *e);
/* Their values over an environment (`get` as getenv), where earlier updates of another switch (`undo`) are taken back first. */
void env_opam_updates_expand(struct arena *a, const struct env_opam_update *v, size_t n,
			     const struct env_opam_update *undo, size_t undo_n, char *(*get)(const char *name),
			     struct env_variable **ret, size_t *ret_n);
/* Whether the environment has them all. */
bool env_opam_updates_hold(struct arena *a, const struct env_opam_update *v, size_t n, char *(*get)(const char *name));

/* The variables that a root's configuration adds to those that opam has: names and documentation (`why`). */
size_t env_opam_vars_of_root(struct env_opam_vars *v, struct env_opam_update **ret);
