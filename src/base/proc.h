// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * proc: run a program and wait for it.
 *
 *	struct proc_opts o = {.argv = argv, .deadline_ms = 60000, .out = &b};
 *	int status = proc_run(&o, e);        exit code ≥ 0; -1 where it could not start, was killed or ran out of time
 *
 * The child gets no open file but 0, 1, 2 (standard input is /dev/null unless told) and default signal handlers, and it
 * is the leader of its own process group when a deadline or quiet_ms is set; the group is killed when that passes.
 */
#include "base/buf.h"
#include "base/err.h"

struct proc_opts {
	const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH unless it holds '/' */
	const char *const *envp; /* NULL: the caller's environment */
	const char *cwd;	 /* NULL: unchanged */
	struct str input;	 /* bytes for standard input */
	bool keep_stdin; /* in place of them: the caller's own. Not with a deadline: a group of its own reads no terminal */
	struct buf *out;     /* standard output is collected here (bounded by its maximum); NULL: inherited */
	struct buf *errout;  /* standard error; NULL: inherited; may be the same as out */
	int both_to;	     /* in place of both of them, standard output and error go to this open file; 0: no */
	int out_to;	     /* standard output alone goes to this open file; 0: no */
	int64_t deadline_ms; /* from now; 0: none */
	int64_t quiet_ms; /* ended (ERR_BUSY) when it has printed nothing for so long; 0: never. Of what is collected */
	bool signals; /* what interrupts this process or ends it, as a terminal does, kills the group first. For the only thread */
	/* Standard output and error as they come, in place of out, errout and both_to. */
	void (*say)(void *ctx, struct str text);
	void *say_ctx;
};
int proc_run(const struct proc_opts *o, struct err *e);

/* From here on a write to a pipe that nobody reads any more fails with EPIPE, one beyond the limit of file sizes with EFBIG:
 * neither ends the process. Once, before any thread. */
void proc_signals_ignore(void);
/* Those of them that were not ignored before act again: before a program takes this process's place (execve). */
void proc_signals_restore(void);
