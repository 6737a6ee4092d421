// SPDX-License-Identifier: Apache-2.0
#pragma once
/* engine: what a build knows while it runs, and the two operations that make layers. */
#include "base/vec.h"
#include "build/build.h"
#include "build/share.h"
#include "build/source.h"
#include "build/spec.h"
#include "build/step_id.h"

struct scope { /* stages that can be copied from, the latest first */
	struct str name;
	struct layer_id id;
	bool known;
	struct spec_context context; /* that it ended in */
	const struct scope *outer;
};
struct stage {
	struct str name; /* STR_NONE: the last one */
	struct spec_context context;
	const struct scope *scope;
	struct layer_id at; /* the layer that the next step stands on */
	int hold;	    /* so that no gc removes it, and with it all below it; -1: none yet */
	bool known;	    /* false: a dry run came by a step that is not there */
	bool begun;	    /* a step of its own was looked for */
};
struct anew_pair {
	struct layer_id id, now;
};
struct engine {
	const struct build_opts *o;
	struct arena *a;
	struct str machine;
	int context_fd;
	struct step_key key;
	bool key_loaded;
	VEC(struct build_step) steps;
	VEC(int) holds; /* of the layers that stages came to */
	struct build_result *ret;
	bool made;		    /* a layer, so that there is something to sync */
	VEC(struct anew_pair) anew; /* first steps that this build runs anew */
};

/* The step fails: FAILED, with these words. Returns 1. */
int engine_failed(struct engine *g, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Finds the step's layer, or has `work` make it; then s->at is that layer. 0, 1 the build ends here (g->ret says how), -1. */
int engine_step(struct engine *g, struct stage *s, const struct spec_op *op, const struct layer_id *id,
		share_work_fn *work, void *ctx, struct err *e);
/* What a layer's `about` says of the step that made it, and of what held for it: build_config reads that. */
struct str engine_about(struct arena *a, const struct spec_op *op, const struct spec_context *c,
			const struct sandbox_result *r);
/* That the limit of processes kept a step from starting one, in words; NULL: it did not, or nobody counted. */
const char *engine_refused(const struct engine *g, const struct sandbox_result *r);
int engine_run(struct engine *g, struct stage *s, const struct spec_op *op, struct err *e);
int engine_copy(struct engine *g, struct stage *s, const struct spec_op *op, struct err *e);
/* What a copy takes out of a layer, walked over in a sandbox, so that no link in it leads out. Of o: layers and cancel_fd. */
/* What a copy takes, from wherever. */
struct source_opts engine_source(const struct spec_op *op);
int engine_walk_layer(const struct build_opts *o, const struct layer_id *id, const struct spec_op *op, struct arena *a,
		      struct source *ret, struct err *e);
