// SPDX-License-Identifier: Apache-2.0
/* OBuilder's ids of a whole spec: stage by stage, step by step, each from the one before. */
#include <fcntl.h>

#include "base/fs.h"
#include "base/vec.h"
#include "build/build.h"
#include "build/engine.h"
#include "build/source.h"
#include "build/spec.h"
#include "image/image.h"

struct ids {
	const struct build_ids *o;
	struct arena *a;
	int src_fd;
	VEC(struct build_id) found;
	struct err *e;
};

static void ids_release(struct ids *g)
{
	vec_release(&g->found);
	if (g->src_fd >= 0)
		close(g->src_fd);
}

static void add(struct ids *g, struct str stage, struct str heading, struct spec_place at, const struct spec_id *id)
{
	struct build_id *f = vec_add(&g->found);
	*f = (struct build_id){
		.stage = stage, .heading = arena_str(g->a, heading), .line = at.line, .column = at.column};
	memcpy(f->hex, id->hex, sizeof(f->hex));
}

#define bad(g, at, ...) spec_error((g)->o->file, (at), ERR_INPUT, (g)->e, __VA_ARGS__)

static int context_of(struct ids *g, const struct build_spec *s, struct spec_context *ret)
{
	if (g->o->env) {
		*ret = spec_context_of(g->o->env, g->o->n_env, g->a);
		return 0;
	}
	struct image img;
	if (!g->o->layers)
		return bad(g, s->from_at,
			   "the environment of the image is not known, and all ids that follow have it in them");
	if (image_find(g->o->layers, s->from, g->a, &img, g->e) < 0)
		return err_ctx(g->e, "%s:%u:%u: the environment of the image is in all ids that follow", g->o->file,
			       (unsigned)s->from_at.line, (unsigned)s->from_at.column);
	*ret = spec_context_of(img.config.env, img.config.n_env, g->a);
	return 0;
}

static int run_id(struct ids *g, const struct spec_context *c, const struct spec_op *op, struct spec_id *id)
{
	for (size_t i = 0; i < op->n_secrets; i++) {
		bool known = false;
		for (size_t k = 0; k < g->o->n_secrets; k++)
			known |= str_eq(g->o->secrets[k].id, op->secrets[i].id);
		if (!known)
			return bad(g, op->secrets[i].at,
				   "the value of secret '%.*s' is in the id; say --secret %.*s=FILE",
				   STR_ARG(op->secrets[i].id), STR_ARG(op->secrets[i].id));
	}
	*id = spec_id_run(id, c, op, g->o->secrets, g->o->n_secrets);
	return 0;
}

static void say_nothing(void *ctx, enum build_tag tag, struct str text)
{
	(void)ctx, (void)tag, (void)text;
}

/* The layer of a stage, where there is one: a build is looked up that runs nothing. The latest of that name before the copy. */
static int find_stage(struct ids *g, const struct spec_op *op, struct layer_id *ret)
{
	struct build_opts o = BUILD_OPTS_INIT;
	struct build_result r;
	o.layers = g->o->layers;
	o.text = g->o->text;
	o.file = g->o->file;
	o.context = g->o->src;
	o.secrets = g->o->secrets;
	o.n_secrets = g->o->n_secrets;
	o.dry_run = true;
	o.log = say_nothing;
	if (!o.layers)
		return 0;
	if (build_run(&o, g->a, &r, g->e) < 0)
		return -1;
	size_t end = 0;
	while (end < r.n && !(r.steps[end].kind == BUILD_COPY && r.steps[end].line == op->at.line))
		end++;
	while (end-- > 0)
		if (str_eq(r.steps[end].stage, op->from_stage)) {
			*ret = r.steps[end].id;
			return r.steps[end].known && (r.steps[end].cached || r.steps[end].kind == BUILD_FROM);
		}
	return 0;
}

static int walk_stage(struct ids *g, const struct spec_op *op, struct source *ret)
{
	struct layer_id layer;
	struct build_opts o = BUILD_OPTS_INIT;
	o.layers = g->o->layers;
	int found = find_stage(g, op, &layer);
	if (found < 0)
		return err_ctx(g->e, "%s:%u:%u: stage '%.*s'", g->o->file, (unsigned)op->at.line,
			       (unsigned)op->at.column, STR_ARG(op->from_stage));
	if (!found)
		return bad(
			g, op->at,
			"the id of this copy follows from the files of stage '%.*s', which is not built here; run 'slipway build' "
			"first",
			STR_ARG(op->from_stage));
	return engine_walk_layer(&o, &layer, op, g->a, ret, g->e);
}

static int walk_context(struct ids *g, const struct spec_op *op, struct source *ret)
{
	if (!g->o->src)
		return bad(g, op->at, "the id of a copy follows from its files; name the folder that they are in");
	if (g->src_fd < 0)
		g->src_fd = fs_open_dir(AT_FDCWD, g->o->src, g->e);
	if (g->src_fd < 0)
		return -1;
	struct source_opts what = engine_source(op);
	what.apart = g->o->apart;
	if (source_walk(g->src_fd, &what, g->a, ret, g->e) < 0)
		return err_ctx(g->e, "%s:%u:%u", g->o->file, (unsigned)op->at.line, (unsigned)op->at.column);
	return 0;
}

static int copy_id(struct ids *g, const struct spec_context *c, const struct spec_op *op, struct spec_id *id)
{
	struct source s;
	if ((op->from_stage.p ? walk_stage(g, op, &s) : walk_context(g, op, &s)) < 0)
		return -1;
	*id = spec_id_copy(id, c, op, &s, g->a);
	return 0;
}

static int stage_ids(struct ids *g, const struct build_spec *s, struct str name)
{
	for (size_t i = 0; i < s->n_stages; i++)
		if (stage_ids(g, &s->stages[i].spec, s->stages[i].name) < 0)
			return -1;
	struct spec_id id = spec_id_from(s->from);
	struct spec_context c;
	bool has_context = false;
	auto_buf heading = BUF_INIT(BUF_MAX);
	spec_print_from(s, &heading);
	add(g, name, buf_str(&heading), s->from_at, &id);
	/* a spec whose image is not known has at least its first id; one without steps needs no more */
	for (size_t i = 0; i < s->n_ops; i++) {
		const struct spec_op *op = &s->ops[i];
		if (!has_context && context_of(g, s, &c) < 0)
			return -1;
		has_context = true;
		spec_context_step(&c, op, g->a);
		if (op->kind != SPEC_RUN && op->kind != SPEC_COPY)
			continue;
		if ((op->kind == SPEC_RUN ? run_id(g, &c, op, &id) : copy_id(g, &c, op, &id)) < 0)
			return -1;
		buf_clear(&heading);
		spec_print_op(op, &c, &heading);
		add(g, name, buf_str(&heading), op->at, &id);
	}
	return 0;
}

int build_ids(const struct build_ids *o, struct arena *a, struct build_id **ret, size_t *ret_n, struct err *e)
{
	cleanup_with(ids_release) struct ids g = {.o = o, .a = a, .src_fd = -1, .e = e};
	struct build_spec s;
	*ret = NULL;
	*ret_n = 0;
	if (spec_parse(o->text, o->file, a, &s, e) < 0 || spec_check_build(&s, o->file, e) < 0)
		return -1;
	int r = stage_ids(&g, &s, STR(""));
	*ret = vec_copy(&g.found, a);
	*ret_n = g.found.n;
	return r;
}
