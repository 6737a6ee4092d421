// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * share: one step run once, whoever wants it (doc/decisions/0072-step-ids.md).
 *
 *	struct share_opts o = {.layers = l, .id = &id, .work = fn, .ctx = …, .output = …, .cancel_fd = fd};
 *	share_step(&o, &outcome, e)
 *
 * Where the layer is there, it is found. Else the first who comes starts a runner, a process of its own that calls `work`; all who come
 * while it runs follow it: they are given what the step prints from its beginning. The runner goes on as long as anybody follows: when the last
 * one has cancelled or is gone, however it went, its cancel descriptor hangs up. Whoever comes while a step is being cancelled waits for the end of that
 * and starts it anew; so do followers of a runner that was killed.
 *
 *	DIR/run/<id>         locked by the runner for as long as anything of the step lives; holds how it ended, once it has
 *	DIR/run/<id>.users   a pipe by name: followers have it open for writing, the runner for reading
 *
 * Both are gone when the runner is. What a killed one leaves is taken away by the next who wants the step.
 */
#include "base/arena.h"
#include "base/err.h"
#include "layer/layer.h"
#include "sandbox/sandbox.h"

enum share_end {
	SHARE_NONE,	 /* nothing is known: the runner was killed */
	SHARE_FOUND,	 /* the layer was there */
	SHARE_SAVED,	 /* it was made now */
	SHARE_STOPPED,	 /* what the step runs did not end well: result */
	SHARE_CANCELLED, /* by this process's cancel_fd */
	SHARE_FAILED,	 /* something else: err */
};
struct share_outcome {
	enum share_end end;
	bool followed;		/* another process's runner made it */
	struct layer_info info; /* FOUND, SAVED */
	struct sandbox_result result;
	struct err err;
};
/* Runs in the runner. `w` is begun; commits it, or leaves it, to be aborted, and says so in ret (SAVED, STOPPED, CANCELLED). -1 with *e. */
typedef int share_work_fn(void *ctx, struct layer_work *w, int cancel_fd, struct share_outcome *ret, struct err *e);
struct share_opts {
	struct layers *layers;
	const struct layer_id *id, *parent;
	share_work_fn *work;
	void *ctx;
	void (*output)(void *ctx, struct str text); /* what the step prints */
	void (*note)(void *ctx, const char *text);  /* "Waiting for …" */
	void *log_ctx;
	int cancel_fd;	/* readable or hung up: this one follows no longer; -1: none */
	bool no_replay; /* the output of a layer that is found is left out */
};
int share_step(const struct share_opts *o, struct arena *a, struct share_outcome *ret, struct err *e);
