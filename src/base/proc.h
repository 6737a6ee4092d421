// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * proc: run a program and wait for it.
 *
 *	struct proc_opts o = {.argv = argv, .deadline_ms = 60000, .out = &b};
 *	int status = proc_run(&o, e);        exit code ≥ 0; -1 where it could not start, was killed or ran out of time
 *
 * The child gets no open file but 0, 1, 2 (standard input is /dev/null unless told) and default signal handlers, and it
 * is the leader of its own process group when a deadline is set; the group is killed when the deadline passes.
 */
#include "base/buf.h"
#include "base/err.h"

struct proc_opts {
	const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH unless it holds '/' */
	const char *const *envp; /* NULL: the caller's environment */
	const char *cwd;	 /* NULL: unchanged */
	struct str input;	 /* bytes for standard input */
	struct buf *out;	 /* standard output is collected here (bounded by its maximum); NULL: inherited */
	struct buf *errout;	 /* standard error; NULL: inherited; may be the same as out */
	int64_t deadline_ms;	 /* from now; 0: none */
};
int proc_run(const struct proc_opts *o, struct err *e);

/* From here on a write to a pipe that nobody reads any more fails with EPIPE, one beyond the limit of file sizes with EFBIG:
 * neither ends the process. Once, before any thread. */
void proc_signals_ignore(void);
/* Those of them that were not ignored before act again: before a program takes this process's place (execve). */
void proc_signals_restore(void);
