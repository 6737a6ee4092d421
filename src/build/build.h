// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * build: runs build specs step by step, and makes packages (below).
 *
 * A spec is OBuilder's (doc/formats/spec.md): a base image, then operations. Each run and copy makes a layer (layer/layer.h) whose id is a digest of
 * everything that can change it (doc/formats/step-id.md); where that layer is there already, the step is not run again.
 *
 *	struct build_opts o = BUILD_OPTS_INIT;
 *	o.layers = layers; o.text = text; o.file = "job.spec"; o.context = "."; o.log = say; o.log_ctx = ctx;
 *	struct build_result r;
 *	if (build_run(&o, &arena, &r, e) < 0) ...            it could not be tried: a bad spec, no such image, a full disk
 *	if (r.end == BUILD_DONE) ... r.id is the layer of the last step
 *
 * The log comes through `log` as it is made: headings ("/: (run (shell make))"), notes ("---> saved as …") and what the steps print, in pieces. What
 * a cached step printed is told again, but with no_replay.
 *
 * A step is run once however many processes want it at the same time; they all see its output from its beginning. Each step runs in
 * a process of its own, which goes on when who began it is cancelled and another one wants the step too, and ends when nobody does
 * (share.h). A step that fails or is killed leaves nothing.
 *
 * cancel_fd: readable or hung up, the build ends with BUILD_CANCELLED, soon. One thread a struct layers; the calling process is
 * forked from, and reaps its own children.
 *
 * Limits: specs as build/spec.h says; files of a copy as build/source.h says; secrets of 1 MiB; a step prints BUILD_OUTPUT_MAX bytes.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/progress.h"
#include "base/str.h"
#include "channel/channel.h"
#include "layer/layer.h"
#include "sandbox/sandbox.h"

#define BUILD_OUTPUT_MAX ((uint64_t)1 << 30) /* that a step may print, where its limits say nothing else */
enum build_tag { BUILD_HEADING, BUILD_NOTE, BUILD_OUTPUT };
typedef void build_log_fn(void *ctx, enum build_tag tag,
			  struct str text); /* heading and note: without the line's end */
struct build_secret {
	struct str id, value;
};
struct build_opts {
	struct layers *layers;
	struct str text;     /* the spec */
	const char *file;    /* its name, for messages */
	const char *context; /* the folder that copies take from */
	const char *const
		*apart;	 /* folders that no copy takes of it, as the one with the layers; ended by NULL; NULL: none */
	struct str name; /* that the result gets as an image, for (from NAME) of others; STR_NONE: none */
	const struct build_secret *secrets;
	size_t n_secrets;
	struct sandbox_limits limits; /* of each run */
	bool no_network;	      /* (network host) is refused */
	bool no_fast_sync;	      /* fsync of steps has an effect */
	bool nested;		      /* steps may make sandboxes of their own */
	bool no_replay;
	bool no_cache; /* every step is run, and what it makes is what builds find from now on */
	bool dry_run;  /* looks up what is cached, and runs nothing */
	int cancel_fd;
	struct progress
		*progress; /* phase "step", an item each step; its text at the end: cached, saved, failed, cancelled */
	build_log_fn *log;
	void *log_ctx;
};
#define BUILD_OPTS_INIT ((struct build_opts){.file = "spec", .cancel_fd = -1})

enum build_kind { BUILD_FROM, BUILD_RUN, BUILD_COPY };
struct build_step {
	enum build_kind kind;
	bool known;  /* id is: of a dry run, what stands on something that is not there has none yet */
	bool cached; /* else run now; with dry_run: would be run */
	struct layer_id id;
	struct str words;	      /* the operation, as a spec has it */
	struct str stage;	      /* STR_NONE: the last one */
	uint32_t line;		      /* of the spec */
	int64_t wall_ms;	      /* that it took here, to be found or made */
	struct sandbox_result result; /* of a run that was made now */
};
enum build_end { BUILD_DONE, BUILD_FAILED, BUILD_CANCELLED };
struct build_result {
	enum build_end end;
	struct layer_id id; /* DONE, and not a dry run that lacks a step */
	bool known;
	struct build_step *steps; /* begun, the failed one last */
	size_t n;
	struct str failure; /* FAILED: what to say behind "Build step failed: " */
	struct sandbox_result result;
};
/* A spec's text; "-" is standard input. */
int build_read_spec(const char *path, struct buf *b, struct err *e);
int build_run(const struct build_opts *o, struct arena *a, struct build_result *ret, struct err *e);
const char *build_kind_name(enum build_kind k); /* "from", "run", "copy" */
/* The variables, user and folder that held for the step that made a layer. 1; 0: it is no step's, or one's of whose variables there were too many. */
struct image_config;
int build_config(struct layers *l, const struct layer_id *id, struct arena *a, struct image_config *ret, struct err *e);
/* After layers_gc: forgets which steps were run anew (no_cache) where nothing of that is left. */
void build_forget(struct layers *l);

/* -- packages --------------------------------------------------------------------------------------------------------
 *
 * So far one maker: pack_conda turns a staged folder, laid out as the package is to look in a prefix (bin/, lib/, …), into
 * a .conda or .tar.bz2 file (CEPs 26, 34, 35).
 *
 *	struct pack_opts o = PACK_OPTS_INIT;
 *	o.staged = "stage"; o.out_dir = ".";
 *	o.meta.name = STR("tool"); o.meta.version = STR("1.0");
 *	struct pack_result r;
 *	if (pack_conda(&o, &arena, &r, e) < 0) ...
 *
 * What describes the package comes from, the later winning: STAGED/pack.yml (or opts.recipe), then opts.meta. Instead the
 * folder may hold its own info/index.json; then nothing may be given beside it. Files under info/ that are there are
 * checked and kept, what is missing is written: index.json, paths.json, files, about.json, hash_input.json, link.json
 * for noarch Python, and run_exports.json where there are any.
 *
 * The same folder and words give the same bytes: entries are sorted, owner is 0, modes are 0644 or 0755, every time is
 * opts.time_s. Symbolic links stay links, must not lead out of the package, and become relative where they begin with
 * meta.prefix. Devices, pipes, sockets, conda-meta/ and unknown files in info/ are refused. Of noarch Python packages
 * compiled Python files are left out: they are made where the package is installed.
 *
 * meta.prefix is the path the files were built for. Files that hold it are marked to have it replaced by the environment's own
 * path: as text, or as binary where they hold a NUL byte.
 *
 * Progress: phase "pack", one item, in bytes of content.
 *
 * Limits: PACK_FILES_MAX entries, paths of 4096 bytes, pack.yml as base/yaml.h says. Errors: ERR_USAGE for what the caller
 * said, ERR_INPUT for what the folder holds. The output appears whole (temporary file, rename) or not at all.
 */
enum { PACK_FILES_MAX = 1000000 };

struct pack_list {
	const struct str *v;
	size_t n;
};
/* Absent: STR_NONE, empty list, build_number -1. */
struct pack_meta {
	struct str name, version, build; /* build: default BUILD_NUMBER, of noarch Python "py_BUILD_NUMBER" */
	int64_t build_number;		 /* default 0 */
	struct str subdir;		 /* default: "noarch" with `noarch`, else the host's */
	struct str noarch;		 /* "python", "generic" */
	struct pack_list depends, constrains, entry_points;
	struct pack_list run_exports, run_exports_strong; /* what is built against this package depends on */
	struct str license, license_family, summary, description, home, dev_url, doc_url;
	struct str track_features, python_site_packages_path;
	struct str prefix;
};
enum pack_format { PACK_CONDA, PACK_TAR_BZ2 };
struct pack_opts {
	const char *staged, *out_dir; /* out_dir is made where it is not there */
	const char *recipe;	      /* in place of STAGED/pack.yml; NULL: that one where it is there */
	struct pack_meta meta;
	enum pack_format format;
	int level;	/* 1 to 22 (zstd, default 19), 1 to 9 (bzip2, default 9); 0 is the default */
	int64_t time_s; /* times of all entries, and the package's timestamp; -1: 1980-01-01 and no timestamp */
	bool dry_run;	/* checks and reads everything, writes nothing */
	struct progress *progress;
};
#define PACK_OPTS_INIT ((struct pack_opts){.meta = {.build_number = -1}, .time_s = -1})
struct pack_result {
	const char *path; /* OUT_DIR/NAME-VERSION-BUILD.EXT */
	struct str name, version, build, subdir;
	uint64_t size;		     /* of the file; 0 with dry_run */
	uint8_t sha256[SHA256_SIZE]; /* the same */
	size_t files;		     /* entries outside info/ */
	uint64_t content_bytes;	     /* what they hold */
	size_t prefix_files;	     /* how many hold the prefix */
};
int pack_conda(const struct pack_opts *o, struct arena *a, struct pack_result *ret, struct err *e);

/* -- the head of a job's log --------------------------------------------------------------------------------------- */

/*
 * What a job's log begins with: what is built of what, how a person has the same build without Slipway, the spec.
 *
 *	TS: New job: TITLE
 *	                              from URL#REF (COMMIT)
 *	                              on VARIANT/ARCH
 *
 *	To reproduce locally:
 *	…
 *	TS: Using cache hint "HINT"
 *	TS: Using OBuilder spec:
 *	…
 *
 * Empty parts are left out. What is shown is held to one line, and to what a terminal may see, by being quoted.
 */
struct build_head {
	int64_t now_ms;
	struct str note;	 /* a line before all others */
	struct str title;	 /* "build x.1, using y"; empty: "build NAME", of the repository or folder */
	struct str url, ref;	 /* of a git repository; url empty: a folder */
	struct str commit;	 /* 40 digits */
	struct str branch, base; /* what the commit is merged into: a branch's name, and its commit */
	struct str dir;		 /* the folder, where it is one */
	struct str variant;	 /* empty: the tag of the base image, or its name */
	struct str arch;	 /* "amd64"; empty: this machine's */
	struct str hint;
	struct str spec, spec_file; /* its text, and its name for messages */
	struct str recipe,
		recipe_file; /* the spec that is to be reproduced, where it is another one than is built; empty: the same */
};
int build_head_print(const struct build_head *h, struct arena *a, struct buf *out, struct err *e);
/* What a head says of an image that it is told no variant of: its tag, "debian-12-ocaml-5.3" of "ocaml/opam:debian-12-ocaml-5.3@sha256:…". */
struct str build_head_variant(struct str image, struct arena *a);
/* A hint by which jobs that share much find each other: "BASE-NAME-COMMIT", of what there is; of head's spec. */
int build_head_hint(const struct build_head *h, struct arena *a, struct str *ret, struct err *e);

/* -- a spec without building it (doc/formats/spec.md) ----------------------------------------------------------------- */

enum build_form {
	BUILD_FORM_SPEC,       /* as a log's head has it */
	BUILD_FORM_DOCKERFILE, /* plain */
	BUILD_FORM_BUILDKIT,   /* with caches and secrets */
	BUILD_FORM_RECIPE,     /* "To reproduce locally": shell commands with the plain Dockerfile in them */
};
struct build_write {
	struct str text; /* the spec's */
	const char *file;
	enum build_form form;
	bool windows; /* of Dockerfiles */
	/* of a recipe: what it is built of, as in struct build_head */
	struct str url, ref, commit, branch, base, dir;
};
/* Each line with its end. */
int build_write(const struct build_write *w, struct arena *a, struct buf *out, struct err *e);

struct build_id {
	struct str stage;   /* "" of the last one, which has no name */
	struct str heading; /* as in the log: "(from …)", "/: (run …)"; without what makes no id */
	uint32_t line, column;
	char hex[65];
};
struct build_ids {
	struct str text;
	const char *file;
	const char *src;	  /* the context; NULL: none, and a copy from it an error */
	const char *const *apart; /* as a build has them */
	struct layers *layers;	  /* where images are looked up; NULL: nowhere */
	const struct str *env;	  /* "NAME=value": the environment of every image, in place of what is looked up */
	size_t n_env;		  /* with env not NULL */
	const struct build_secret *secrets;
	size_t n_secrets;
};
/* OBuilder's own ids of a spec's steps. Where one cannot be known, -1, and ret holds those before it. The id of a copy from a stage follows from
 * files that building makes: it is known where `layers` has the stage. */
int build_ids(const struct build_ids *o, struct arena *a, struct build_id **ret, size_t *ret_n, struct err *e);

/* -- the job of a CI for an opam package ------------------------------------------------------------------------------- */

/*
 * What opam-repo-ci builds for a package of a repository, which is the context: the spec of the job, by nothing but these words. The image has
 * opam as /usr/bin/opam-VERSION, sudo, and a user 1000 with a root of opam's, a switch and .opamrc-sandbox in /home/opam.
 *
 *	struct build_opam_ci j = {.package = STR("fmt.0.9.0"), .base = STR("ocaml/opam:debian-12-ocaml-5.3@sha256:…"),
 *				  .distribution = STR("debian-12"), .opam = STR("2.1")};
 *	build_opam_ci_spec(&j, &arena, &spec, e)
 *
 * The steps up to the installation of the package are the same in all jobs for it, so that they are run once. `docker` gives the spec of the
 * recipe in a log's head, which differs. Every word goes into commands of a shell and is held to what opam's names may
 * hold: ERR_USAGE.
 */
struct build_opam_ci {
	struct str package;	       /* "NAME.VERSION" */
	struct str reverse_dependency; /* the same, of one that needs it and is installed then; empty: none */
	struct str base;	       /* the image, as (from …) has it */
	struct str distribution;       /* "debian-12": on which x-ci-accept-failures accepts failures */
	struct str opam;	       /* "2.1" */
	bool with_tests;	       /* of the reverse dependency where there is one, else of the package */
	bool lower_bounds;	       /* then with the oldest of everything that it needs */
	bool linux32;		       /* a 32-bit image on a 64-bit machine */
	bool docker;
};
int build_opam_ci_spec(const struct build_opam_ci *j, struct arena *a, struct buf *out, struct err *e);
/* "build fmt.0.9.0, using opam 2.1", "test USER with PACKAGE, using …" */
struct str build_opam_ci_title(const struct build_opam_ci *j, struct arena *a);
/* "BASE-PACKAGE[-REVERSE_DEPENDENCY][-COMMIT]" */
struct str build_opam_ci_hint(const struct build_opam_ci *j, struct str commit, struct arena *a);
/* "debian-12" of "debian-12-ocaml-5.3"; what has no OCaml in it is one itself. */
struct str build_opam_ci_distribution(struct str variant);

/* -- opam packages ------------------------------------------------------------------------------------------------------
 *
 * From a plan to packages that are built and installed in a switch (doc/decisions/0084-opam-building.md):
 *
 *	struct build_opam_opts o = BUILD_OPAM_OPTS_INIT;
 *	o.root = root; o.sw = sw;                             the switch is held to write (env_opam_switch_lock)
 *	o.packages = v; o.n = n; o.tell = say;
 *	if (build_opam(&o, &arena, &result, e) < 0) ...       it could not be begun
 *	if (result.n_failures) ...                            some failed; what did not need them went on
 *
 * A package is fetched at once, built when all that it needs is installed, then installed: `jobs` of them at the same time, but one is
 * installed or removed at a time, so that what it put into the prefix can be told from what others did. Archives come from the cache, from
 * archive mirrors or from where they lie, and the very bytes that are unpacked have all of their checksums.
 *
 * Commands run in a sandbox: no network, the whole machine read-only but the folder that the package is built in, its own /tmp and, to install
 * and remove, the prefix without .opam-switch.
 *
 * Folders: PREFIX/.opam-switch/build/NAME.VERSION, which stays where a package failed; .opam-switch/.slipway for what is in
 * work, emptied by the next run; logs of failed commands in ROOT/log. Killed, it leaves nothing else that is half done but a package that was just being
 * installed: opam's own does the same.
 *
 * `tell` is called from several threads, one call at a time.
 */
enum build_opam_step { BUILD_OPAM_FETCH, BUILD_OPAM_BUILD, BUILD_OPAM_INSTALL, BUILD_OPAM_REMOVE };
struct build_opam_package {
	struct str name, version;
	const struct pkg_opam *opam; /* its opam file */
	const char *files;	     /* the folder of its extra-files; NULL: there is none */
	const size_t *
		needs; /* packages that it depends on, as numbers in the same array; of what is installed already none need be there */
	size_t n_needs;
	bool install, remove; /* what is to be done: a reinstallation is both */
	bool requested;	      /* by a person: a root of the switch, whose tests are run where any are */
	bool keep_root;	      /* removed, it remains one */
};
struct build_opam_event {
	enum build_opam_step step;
	const struct build_opam_package *package;
	const char *from;    /* FETCH: where it came from; NULL: the cache */
	size_t extras;	     /* FETCH, from not NULL: that many extra sources, and nothing else; 0: see from */
	const char *failure; /* NULL: it went well; else a line for people: "The compilation of x.1 failed at "make"." */
	bool reused;	     /* INSTALL: it was not built, but copied from where built packages are kept */
};
struct build_opam_failure {
	enum build_opam_step step;
	const struct build_opam_package *package;
	const char *why;     /* NULL: a command failed, see below */
	const char *command; /* as it was run */
	const char *dir, *out_file, *env_file;
	int code;	   /* its exit status; of a signal 128 more than that */
	const char *ended; /* NULL: by itself; else why it was ended: "it took longer than 60 s" */
};
struct build_opam_action {
	enum build_opam_step step;
	const struct build_opam_package *package;
};
struct env_opam;
struct env_opam_switch;
struct build_opam_opts {
	struct env_opam *root;
	struct env_opam_switch *sw;
	const struct build_opam_package *packages;
	size_t n;
	const char *cache;   /* of archives, in opam's layout; NULL: ROOT/download-cache */
	const char *log_dir; /* NULL: ROOT/log */
	const char *kept;    /* a folder of packages that were built before, see below; NULL: none are kept or used */
	bool anew;	     /* all are built; what comes of it is what others find from now on */
	const struct str *mirrors; /* archive mirrors: URLs */
	size_t n_mirrors;
	unsigned jobs, download_jobs; /* 0: as many as processors; 3 */
	bool with_test, with_doc, keep_build_dir, precise_tracking;
	bool no_sandbox;
	struct sandbox_limits limits; /* of each command */
	int cancel_fd;		      /* readable: what runs is ended, nothing more is begun; -1: none */
	struct progress *progress;
	void (*tell)(void *ctx, const struct build_opam_event *v);
	/* Sources under version control ("git+https://h/x.git#REF"): makes the folder `dest`. NULL: they are refused. */
	int (*checkout)(void *ctx, const char *url, const char *dest, struct err *e);
	void *ctx;
};
#define BUILD_OPAM_OPTS_INIT ((struct build_opam_opts){.cancel_fd = -1})
struct build_opam_result {
	const struct build_opam_failure *failures; /* as they happened */
	size_t n_failures;
	const struct build_opam_action *done, *aborted; /* in the order of packages; aborted: for want of what failed */
	size_t n_done, n_aborted;
	size_t n_reused, n_kept; /* packages that were not built; that are kept from now on */
	const char *not_kept;	 /* NULL; else why something that was built could not be kept, which hinders nothing */
	bool unconfined; /* commands ran without a sandbox though one was wanted: none can be had in a step of a build */
	bool cancelled;
};
int build_opam(const struct build_opam_opts *o, struct arena *a, struct build_opam_result *ret, struct err *e);

/*
 * Packages that were built before (decision 0084). What a package put into a prefix is kept in the folder `kept` under a key; where a
 * package with that key is to be installed again, it is copied from there: nothing is fetched, nothing is built, no command runs. The
 * key is a digest (doc/formats/opam-built.md) of
 *
 *	its name and version, and the fields of its opam file that build (not synopsis, maintainer, x-… and the like)
 *	the checksums of all of its sources, and what its extra files hold
 *	the path of the prefix: programs hold it in their text, so that another switch finds only what was built for the same path
 *	all that it depends on, in all steps, as it is installed: name, version, what its files hold, the environment that it sets
 *	the variables that its fields name, and of this process's environment what compilers and tools of OCaml look at
 *	whether its tests or documentation were built, and whether commands ran in a sandbox
 *	the machine: /etc/os-release, the compiler and linker, the programs that its commands name, versions of the system packages that it or
 *	something that it depends on names in depexts; of `ocaml-system`, the compiler itself
 *
 * It follows that what is reused fits what lies beside it byte for byte, and that a package that is built anew and comes out the same does not
 * let anything be built again that stands on it.
 *
 * Without a key, and so built each time: sources without a checksum (folders, branches of git repositories, pins to such); `conf` packages, whose
 * commands ask the machine something; files made by `substs` of what lies in an archive, since what is put into them is not known before; what
 * changed files of another package, or made devices or pipes.
 *
 * `kept` may be used by any number of runs, switches and roots of one user at the same time. A package that one run builds is waited for by others
 * that want the same. Entries appear by rename; nothing is believed of them: files are copied to where nobody else writes, each is compared with its digest on the
 * way, and one that is damaged goes, and is built. It is no place to share between users or jobs that do not trust each other: who may write
 * there says what others run. Copies are never hard links: an edit in a prefix changes no other.
 */
struct build_opam_kept {
	struct str name, version, prefix;
	char key[65];
	uint64_t files, bytes;
	int64_t used_ms; /* last */
};
/* By name, version, time; an absent folder has none. */
int build_opam_kept_list(const char *path, struct arena *a, struct build_opam_kept **ret, size_t *ret_n, struct err *e);
/* Removes what was not used for so long, then the longest unused until no more than max_bytes are left; and what killed runs left. ERR_BUSY while
 * a run uses the folder. Returns what went (or would, with dry_run), in the arena. */
struct build_opam_kept_gc {
	int64_t now_ms, older_than_ms; /* older_than_ms < 0: whatever its age */
	uint64_t max_bytes;	       /* UINT64_MAX: any */
	bool dry_run;
};
int build_opam_kept_gc(const char *path, const struct build_opam_kept_gc *o, struct arena *a,
		       struct build_opam_kept **ret, size_t *ret_n, struct err *e);

/* -- opam packages of environments (doc/decisions/0087-opam-environments.md) -----------------------------------------------
 *
 * Packages that are built once, in a switch that is made for it and thrown away, and kept in the store, from where environments link them as they
 * link conda packages:
 *
 *	struct build_workshop *w;
 *	build_workshop_open(root_fd, root_path, &w, e)
 *	build_workshop_host(w)                        the host's variables, to decide formulas with
 *	build_workshop_keys(w, v, n, e)               what each would be made of; which are kept already, and as what
 *	build_workshop_make(w, &opts, v, n, &arena, &result, e)      the others, built and kept
 *
 *	ROOT/opam/root/           a root of opam's without switches: variables of the host
 *	ROOT/opam/work/           where packages are built, by one process at a time (ROOT/opam/.lock); emptied by whoever begins
 *	ROOT/opam/kept/KEY        the digest of the archive, in the store, of what was built of this
 *	ROOT/opam/download-cache, ROOT/opam/log
 *
 * A package's archive is a conda package (CEPs 34, 35) with what it put into the prefix, its opam file, its variables (.opam-switch/…), and what it does
 * to the environment (.opam-switch/slipway/NAME.environment). The prefix that it was built for is as long as that of any generation under
 * this root can be, so that its place can be taken by one of the same length (env/place.c).
 *
 * Killed, or where a package fails, what was built before is kept.
 */
struct build_workshop;
struct pkg_opam_doc;
struct pkg_opam_host;
struct store;
struct build_made {
	struct build_opam_package package; /* opam NULL: it is in the store, and no repository has it any more */
	uint8_t key[SHA256_SIZE];
	bool kept; /* in the store, as: */
	uint8_t sha256[SHA256_SIZE];
	uint64_t size;
};
int build_workshop_open(int root_fd, const char *root_path, struct build_workshop **ret, struct err *e);
void build_workshop_free(struct build_workshop *w);
DEFINE_AUTO(struct build_workshop *, build_workshop, build_workshop_free);
struct pkg_opam_host build_workshop_host(struct build_workshop *w);
/* Of what an opam file says about what is built, wherever that is: commands, sources with their digests, patches; not of descriptions and versions. */
void build_opam_file_digest(const struct pkg_opam_doc *file, uint8_t ret[SHA256_SIZE]);
/* In an order in which they can be built: `needs` are numbers of earlier ones. ERR_UNSUPPORTED where a package has sources without a digest. */
int build_workshop_keys(struct build_workshop *w, struct store *store, struct build_made *v, size_t n, struct err *e);
/* After store_gc: forgets what the store has no more, and takes away what a killed process left. Nothing while another one builds. */
int build_workshop_tidy(int root_fd, struct store *store, struct err *e);
/* What a key was made into, if the store has it still: 1 or 0. */
int build_workshop_kept(struct build_workshop *w, struct store *store, const uint8_t key[SHA256_SIZE],
			struct build_made *ret, struct err *e);
/* `o` as for build_opam, without root, sw, packages, cache and log_dir; wait_ms: for another process that builds. Where a package fails, that is in the
 * result, as build_opam tells it; the others are kept. */
int build_workshop_make(struct build_workshop *w, struct store *store, const struct build_opam_opts *o, int64_t wait_ms,
			struct build_made *v, size_t n, struct arena *a, struct build_opam_result *ret, struct err *e);

/* -- opam: the packages of an environment ------------------------------------------------------------------------------------ */
/*
 * Which packages of opam's an environment is to have, as its lock names them ("opam:dune"), and how they come there (doc/decisions/0087):
 *
 *	struct build_opam_set *s;
 *	build_opam_set_open(root_fd, root_path, store, &repos, &arena, &s, e)
 *	build_opam_set_needs(s, &before, &needs, e)             to solve with: what the environment has counts as installed
 *	build_opam_set_add(s, name, version, record)            each package of the solution, or of the lock
 *	build_opam_set_settle(s, names, n, e)                   opam files, keys, the order of work; what is built already
 *	build_opam_set_record(s, i, &record)                    package i of build_opam_set_made as the lock tells it
 *	build_opam_set_make(s, &opts, wait_ms, &result, e)      the others, built and kept: build_workshop_make
 *
 * A package that no repository has any more stays as it was built, as long as the store has it and it needs not be built again.
 */
struct build_opam_set;
struct build_opam_repos { /* best first; the caller's, and live as long as the set */
	const struct channel *channel;
	struct opam_index *const *index;
	size_t n;
};
struct channel_needs;
struct env_spec_file;
struct pkg_record;
/* What the set gives is in the arena. */
int build_opam_set_open(int root_fd, const char *root_path, struct store *store, const struct build_opam_repos *repos,
			struct arena *a, struct build_opam_set **ret, struct err *e);
void build_opam_set_free(struct build_opam_set *s);
DEFINE_AUTO(struct build_opam_set *, build_opam_set, build_opam_set_free);
struct pkg_opam_host build_opam_set_host(struct build_opam_set *s);
/* What is needed on this host, where the opam packages of `before` (NULL: none) are installed. The set outlives it. */
int build_opam_set_needs(struct build_opam_set *s, const struct env_spec_file *before, struct channel_needs **ret,
			 struct err *e);
/* After reads of the repositories: whether what they told is worth anything (ERR_VERIFY). */
int build_opam_set_check(const struct build_opam_set *s, struct err *e);
/* `before`: the record of that very version in the environment or the lock, which outlives the set; NULL: it is new. */
void build_opam_set_add(struct build_opam_set *s, struct str name, struct str version, const struct pkg_record *before);
/* What none of these names needs is left out; names NULL: nothing is. ERR_NOT_FOUND: a package that no repository has, and that was not built here. */
int build_opam_set_settle(struct build_opam_set *s, const struct str *names, size_t n, struct err *e);
/* In the order of work. */
const struct build_made *build_opam_set_made(const struct build_opam_set *s, size_t *ret_n);
/* sha256 and size only where it is kept. */
void build_opam_set_record(const struct build_opam_set *s, size_t i, struct pkg_record *ret);
/* Of a lock's packages: ERR_VERIFY where a repository's opam file builds something else than the one that the lock was made with. */
int build_opam_set_check_files(struct build_opam_set *s, struct err *e);
int build_opam_set_make(struct build_opam_set *s, const struct build_opam_opts *o, int64_t wait_ms,
			struct build_opam_result *ret, struct err *e);
/* What a record says of how it was made; `file` (build_opam_file_digest) and `key` may be NULL. ERR_INPUT where it does not. */
int build_opam_said(struct arena *a, const struct pkg_record *r, uint8_t *file, uint8_t *key, struct err *e);

/* -- opam: packages of the system ------------------------------------------------------------------------------------------ */
/*
 * What `depexts` of opam packages name: what is installed of it, what the package manager offers, what installs it. How each family of
 * distributions is asked stands in one table (opam_system.c): dpkg and apt, rpm and dnf or yum, zypper, apk.
 *
 *	build_depexts_open(&o, &d, e)			ERR_UNSUPPORTED: nothing is known of that family's packages
 *	needs_opts.ask_system = build_depexts_has; needs_opts.system_ctx = d;
 *	build_depexts_ask(d, e)				what is wanted is looked up; when 1, what was planned before is to be planned anew
 *	build_depexts_install(d, names, n, true, &a, &commands, &commands_n, e)
 *	build_depexts_run(&commands[0], say, ctx, &status, e)
 *
 * Nothing is started before something is asked. What is installed is read once, whole, and quickly; what is offered, which takes apt some
 * tenths of a second, only by build_depexts_ask. Where a program cannot be asked (it is not there, fails, hangs, prints without end),
 * names count as wanted, and as offered: the package manager decides, when it is to install them.
 *
 * Names that could be taken for something else than a package are offered by nobody: an option, a file, a URL, a pattern, what apt would remove.
 */
struct build_depexts;
struct build_depexts_opts {
	struct str family;	   /* the variable os-family */
	const struct str *ignored; /* these count as installed */
	size_t n_ignored;
	bool offers_nothing; /* what is not there cannot be had (depext-cannot-install) */
	int64_t query_ms;    /* how long a query may take; 0: two minutes */
};
int build_depexts_open(const struct build_depexts_opts *o, struct build_depexts **ret, struct err *e);
void build_depexts_free(struct build_depexts *d);
DEFINE_AUTO(struct build_depexts *, build_depexts, build_depexts_free);
/* `d` is a struct build_depexts; as channel_needs_opts.ask_system. */
enum channel_system_has build_depexts_has(void *d, struct str name);
/* Looks for packages of all the names that build_depexts_has called wanted since. 1: some are not offered; 0. ERR_LIMIT: too many names. */
int build_depexts_ask(struct build_depexts *d, struct err *e);
/* Forgets what is installed: somebody has installed something. */
void build_depexts_forget(struct build_depexts *d);
/* Why something could not be asked; NULL: everything could. */
const char *build_depexts_problem(const struct build_depexts *d);
/* Whether it can be the name of a package, of this family's. */
bool build_depexts_is_name(const struct build_depexts *d, struct str name);

struct build_depexts_command {
	const char *const *argv; /* argv[0]: where the program lies */
	const char *const *envp;
	const char *shown; /* "/usr/bin/sudo "apt-get" "install" …" */
	const char *words; /* "sudo apt-get install …" */
	const char *plain; /* the same without sudo */
	bool asks;	   /* it asks whether it may: a person has to be there */
};
/* Commands that install these, one behind the other; `yes`: without a question. Who is not root gets them through sudo, or su. ERR_LIMIT. */
int build_depexts_install(struct build_depexts *d, const struct str *names, size_t n, bool yes, struct arena *a,
			  struct build_depexts_command **ret, size_t *ret_n, struct err *e);
/* The command that brings the package manager's lists up to date. */
int build_depexts_update(struct build_depexts *d, struct arena *a, struct build_depexts_command *ret, struct err *e);
/* Runs it; what it prints comes in pieces. One that asks has standard input; another one of root's is ended when it says nothing for half an
 * hour. -1: it could not be started, or was killed. */
int build_depexts_run(const struct build_depexts_command *c, void (*say)(void *ctx, struct str text), void *ctx,
		      int *ret_status, struct err *e);
