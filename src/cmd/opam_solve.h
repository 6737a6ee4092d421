// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * opam_solve: what `slipway opam solve` consists of: the request as it is read and opened (opam_request.c), the plan (opam_solve.c), and how it is shown
 * (opam_solve_show.c).
 *
 *	cleanup_with(opam_request_release) struct opam_request r = {.args = &args};
 *	opam_request_read(c, &r, &e);      words, files and options: nothing is looked for yet
 *	opam_request_open(c, &r, &e);      repositories and sources: r.needs
 *	…                                  r.result, r.steps
 *	opam_request_check(&r, &e);        before anything is said of it
 *	opam_solve_put_plan(c, &r, &b, &e);
 *
 * Texts belong to the context's arena. Functions that return int return 0, or -1 and e, where nothing else is said.
 */
#include "base/vec.h"
#include "cmd/cmd.h"
#include "cmd/opam_repos.h"
#include "cmd/opam_source.h"

struct opam_args {
	struct cmd_list repos;
	const char *state, *criteria, *format, *platform, *distribution;
	struct cmd_list installed, pinned, variables, words, removed, system;
	const char *invariant;
	bool with_test, with_doc, upgrade, best_effort, depexts;
	bool old; /* as opam 2.1 prints */
};
VEC_TYPE(text_vec, struct str);
/* A package of the system, and one of the plan that wants it. */
struct opam_wish {
	struct str name;
	uint32_t step;
};
/* What was asked for, read and opened. */
struct opam_request {
	const struct opam_args *args;
	struct text_vec installed, pinned, names, asked, variables, removed, invariant, system, compiler;
	struct cmd_opam_repos repos;
	struct opam_definitions sources; /* folders that are asked for, or pinned to */
	struct opam_index *source;	 /* of these */
	struct opam_index **index;	 /* that, and those of the repositories */
	size_t index_n;
	struct channel_needs *needs; /* NULL until the repositories could be read */
	struct solve_needs_request solve;
	struct solve_aims aims;
	size_t left; /* of what was asked for, what is not installed already */
	bool all;    /* everything is to be upgraded */
	struct solve_needs_result result;
	struct solve_steps steps;
	VEC(struct opam_wish) wishes; /* by name, then as the plan goes */
	struct text_vec left_out;     /* with --best-effort: of what was asked for */
};

void opam_request_release(struct opam_request *r);
/* The name in a word that asks for a package. */
int opam_request_name(struct cmd_context *c, struct str word, struct str *ret, struct err *e);
int opam_request_read(struct cmd_context *c, struct opam_request *r, struct err *e);
int opam_request_open(struct cmd_context *c, struct opam_request *r, struct err *e);
/* What an index says is worth something only where all of it verified: the last thing before an answer. */
int opam_request_check(const struct opam_request *r, struct err *e);

/* The plan as opam prints it; nothing where there are no steps. */
int opam_solve_put_plan(struct cmd_context *c, const struct opam_request *r, struct buf *b, struct err *e);
/* That there is nothing to do, as opam has it: nothing more is said of what is installed already. */
void opam_solve_put_nothing(const struct cmd_context *c, const struct opam_request *r, struct buf *b);
/* With --depexts: the packages of the system that the plan wants. */
void opam_solve_put_wishes(const struct opam_request *r, struct buf *b);
/* The plan as JSON, printed; the exit code. */
int opam_solve_answer(struct cmd_context *c, const struct opam_request *r);
/* That there is no solution, and why; the exit code. */
int opam_solve_refuse(struct cmd_context *c, const struct opam_request *r);
