// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * spec: an OBuilder build specification (doc/formats/spec.md) as data, and what can be made of it without running anything.
 *
 *	struct build_spec s;
 *	if (spec_parse(text, "job.spec", &arena, &s, e) < 0) ...             "job.spec:3:7: what to do"
 *	if (spec_check_build(&s, "job.spec", e) < 0) ...                     what a Dockerfile may hold and a build may not
 *
 *	struct spec_context c = spec_context_of(image_env, n);               what holds before the first operation
 *	for each op: spec_print_op(op, &c, &line);                           the log's heading, "/: (run (shell make))"
 *	             spec_context_step(&c, op, &arena);                      env, user, workdir and shell change the context
 *
 * Everything lives in the arena; atoms are NUL-terminated and hold no NUL. Nothing here reads a file but spec_read.
 *
 * What is printed is, byte for byte, what OBuilder prints for the same data, and reads back as the same data.
 *
 * Limits: those of base/sexp.h, SPEC_STAGE_DEPTH_MAX stages in each other, in what is built SPEC_PATH_MAX bytes of the folder to work in
 * (ERR_LIMIT). All other errors are ERR_INPUT.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum { SPEC_STAGE_DEPTH_MAX = 16, SPEC_PATH_MAX = 4095 };

struct spec_place {
	uint32_t line, column; /* 1-based, columns in characters */
};
struct spec_pair {
	struct str name, value;
};
/* A cache or a secret: where it is mounted. */
struct spec_mount {
	struct str id, target;
	const struct spec_pair *options; /* buildkit_options */
	size_t n_options;
	struct spec_place at;
};
enum spec_kind { SPEC_COMMENT, SPEC_WORKDIR, SPEC_SHELL, SPEC_ENV, SPEC_USER, SPEC_RUN, SPEC_COPY };
struct spec_user {
	uint32_t uid, gid;
	struct str name; /* of Windows' containers; then the numbers are not there. Else STR_NONE */
};
struct spec_op {
	enum spec_kind kind;
	struct spec_place at;
	struct str text;	 /* comment, workdir, run's command for the shell */
	struct spec_pair env;	 /* env */
	struct spec_user user;	 /* user */
	const struct str *words; /* shell: its words; copy: the sources */
	size_t n_words;		 /* shell: may be 0; copy: at least 1 */
	const struct spec_mount *caches, *secrets;
	size_t n_caches, n_secrets;
	const struct str *networks; /* run: in a spec that may be built each is "host" */
	size_t n_networks;
	struct spec_place networks_at;
	struct str from_stage;	    /* copy: a stage in scope, or STR_NONE for the context */
	struct str dst;		    /* copy: never empty */
	const struct str *excludes; /* copy: base names */
	size_t n_excludes;
};
struct spec_stage;
struct build_spec {
	struct str from;
	struct spec_place from_at;
	const struct spec_stage *stages; /* built before, in this order; one sees those before it and its parents' */
	size_t n_stages;
	const struct spec_op *ops;
	size_t n_ops;
};
struct spec_stage {
	struct str name;
	struct spec_place at;
	struct build_spec spec;
};

/* "FILE:LINE:COLUMN: …"; returns -1. */
int spec_error(const char *file, struct spec_place at, enum err_code code, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* The file's text into b; "-" is standard input. */
int spec_read(const char *path, struct buf *b, struct err *e);
int spec_parse(struct str text, const char *file, struct arena *a, struct build_spec *ret, struct err *e);
/* What a Dockerfile of it may hold and a build here may not: users by name, networks but the machine's own, several sources without a folder to go to,
 * sources that lead out, folders and targets that are no paths. */
int spec_check_build(const struct build_spec *s, const char *file, struct err *e);
const char *spec_kind_name(enum spec_kind kind); /* "run" */

/* -- what holds at an operation */

struct spec_context {
	struct spec_pair *env;	/* the newest first; no name twice but what the image has twice */
	size_t n_env, room_env; /* room_env: places before env that are free */
	struct spec_user user;
	struct str workdir; /* absolute */
	const struct str *shell;
	size_t n_shell;
};
/* image_env: "NAME=VALUE" in the image's order; NULL and 0: none. */
struct spec_context spec_context_of(const struct str *image_env, size_t n, struct arena *a);
/* Changes env in place: a copy of *c is good until then. */
void spec_context_step(struct spec_context *c, const struct spec_op *op, struct arena *a);
/* A path of the operation, from the folder that holds at it. */
struct str spec_context_path(const struct spec_context *c, struct str path, struct arena *a);

/* -- printing, all without a line's end after the last */

/* The log's head: one operation a line, in lines of less than 78 columns where that can be. */
void spec_print(const struct build_spec *s, struct buf *out);
/* "WORKDIR: (op …)" with its lines indented; context NULL: without "WORKDIR: ". */
void spec_print_op(const struct spec_op *op, const struct spec_context *c, struct buf *out);
/* "(from IMAGE)" and "(build "NAME" …)", the other headings of a log. */
void spec_print_from(const struct build_spec *s, struct buf *out);
void spec_print_stage(const struct spec_stage *stage, struct buf *out);

/* -- a Dockerfile of it */

enum spec_docker_flags {
	SPEC_DOCKER_BUILDKIT = 1 << 0, /* caches and secrets as --mount; else they are left out */
	SPEC_DOCKER_WINDOWS = 1 << 1,  /* lines go on after '`' */
};
/* Each line with its end. ERR_UNSUPPORTED: a cache or secret of a user that has a name and no number. */
int spec_dockerfile(const struct build_spec *s, const char *file, enum spec_docker_flags flags, struct buf *out,
		    struct err *e);

/* Where the context comes from, for a recipe that a person can follow in a shell. */
struct spec_source {
	struct str url;		 /* of a git repository; STR_NONE: a folder */
	struct str ref;		 /* "refs/pull/1/head"; STR_NONE: `commit` is on a branch */
	struct str commit;	 /* hex; of its first eight digits the recipe speaks */
	struct str merge_branch; /* the branch to merge into, and its commit; STR_NONE: nothing is merged */
	struct str merge_base;
	struct str dir; /* the folder, where it is one */
};
/* The recipe of a job's log, "cd $(mktemp -d)" to "docker build -f ../Dockerfile ." */
int spec_recipe(const struct build_spec *s, const char *file, const struct spec_source *source, struct buf *out,
		struct err *e);

/* -- ids as OBuilder gives them (the engine's own are in another place: these know nothing of modes) */

struct spec_id {
	char hex[65];
};
struct build_secret;
struct source;
struct spec_id spec_id_from(struct str image);
/* secrets: the values of those that the operation asks for; one that is missing counts as empty. */
struct spec_id spec_id_run(const struct spec_id *base, const struct spec_context *c, const struct spec_op *op,
			   const struct build_secret *secrets, size_t n_secrets);
/* s: what was walked over (source.h), an item for each word. */
struct spec_id spec_id_copy(const struct spec_id *base, const struct spec_context *c, const struct spec_op *op,
			    const struct source *s, struct arena *a);
/* An item as the id has it: (Dir(PATH((File(PATH SHA256))…))). */
void spec_put_manifest(const struct source *s, size_t item, struct buf *out);
