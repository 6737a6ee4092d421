// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * runner (private to job): the process that runs one job. It holds the job's log locked, writes to it what the job prints, ends the job when it is told to,
 * when its time is over or when its worker is gone, and leaves nothing of it: as the reaper of all its descendants it ends those too.
 */
#include <sys/types.h>

#include "job/queue.h"

enum { RUNNER_LOG_MAX = 64 << 20, RUNNER_ORPHAN_GRACE_MS = 2000 };

struct runner {
	uint64_t id;
	pid_t pid;
	int control_fd; /* closed: the worker is gone; see enum runner_word */
	int report_fd;	/* a struct queue_end, once */
	bool told;	/* to end */
};
enum runner_word { RUNNER_CANCEL = 'c', RUNNER_GIVE_BACK = 'g' };
struct runner_opts {
	int64_t log_max_bytes;
	const char *const *setenv;
};
int runner_start(struct job_queue *q, const struct queue_taken *t, const struct runner_opts *o, struct runner *ret,
		 struct err *e);
void runner_tell(struct runner *r, enum runner_word word);
/* Where nobody would see its end: ends it, and waits for that. What it ran is ended by the job's key (queue_end of a loss). */
void runner_kill(struct runner *r);
/* After its process has ended: how the job did. Closes the descriptors. */
struct queue_end runner_result(struct runner *r);
