// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * work: a small fixed pool of threads for work bound by the processor (unpacking, hashing, making an index).
 *
 * Jobs share nothing but their queue; each gets its own error. Results are joined in the order of submission, so output
 * does not depend on timing.
 *
 *	struct work *w = work_new(0);                        0: one thread a processor
 *	work_submit(w, job_fn, ctx_i); ...                   ctx_i must live until work_wait has returned
 *	if (work_wait(w, e) < 0) ...                         the error of the first submitted job that failed
 *	work_free(w);                                        waits for running jobs, drops queued ones
 */
#include "base/cleanup.h"
#include "base/err.h"

typedef int work_fn(void *ctx, struct err *e);
struct work;
struct work *work_new(unsigned threads);
void work_submit(struct work *w, work_fn *fn, void *ctx);
/* Waits until at most `left` of the jobs submitted since the last work_wait are not done, so that the caller can do something
 * of its own meanwhile; their errors are for work_wait. */
void work_wait_for(struct work *w, size_t left);
/* Waits until all are done. After the first failure, jobs that have not begun are dropped. */
int work_wait(struct work *w, struct err *e);
void work_free(struct work *w);
DEFINE_AUTO(struct work *, work, work_free);
