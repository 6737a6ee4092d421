// SPDX-License-Identifier: Apache-2.0
/* build --print, --dockerfile, --reproduce, --ids: a spec, looked at. */
#include "cmd/build_spec.h"

#include <stdlib.h>

#include "cmd/layers.h"

bool build_spec_is_asked(const struct build_spec_args *a)
{
	/* the last two alone are refused there */
	return a->print || a->dockerfile || a->buildkit || a->reproduce || a->ids || a->escape || a->image_env.n;
}

static int check_args(const struct build_spec_args *a, struct err *e)
{
	if (a->print + (a->dockerfile || a->buildkit) + a->reproduce + a->ids > 1)
		return err_new(e, ERR_USAGE,
			       "--print, --dockerfile or --buildkit, --reproduce, --ids: one of them at a time");
	if (a->escape && strcmp(a->escape, "unix") != 0 && strcmp(a->escape, "windows") != 0)
		return err_new(e, ERR_USAGE, "--escape is 'unix' or 'windows', not '%s'", a->escape);
	if (a->escape && !a->dockerfile && !a->buildkit)
		return err_new(e, ERR_USAGE, "--escape goes with --dockerfile or --buildkit");
	if (a->image_env.n && !a->ids)
		return err_new(e, ERR_USAGE,
			       "--image-env goes with --ids; in a build, environments are the images' own");
	for (size_t i = 0; i < a->image_env.n; i++)
		if (!strchr(a->image_env.v[i], '=') || a->image_env.v[i][0] == '=')
			return err_new(e, ERR_USAGE, "--image-env '%s': write it as NAME=VALUE", a->image_env.v[i]);
	return 0;
}

/* What a Dockerfile has no word for is in it as it is: a file gets that, a person's terminal does not. */
static int print_shown(struct cmd_context *c, const struct buf *text)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_shown_lines(&b, buf_str(text));
	if (b.n != text->n)
		cmd_warn(c, "control characters are shown as \\xNN here; a file or pipe gets them as they are");
	return cmd_print(c, &b);
}

static int answer_text(struct cmd_context *c, const struct buf *text)
{
	auto_answer a = {0};
	if (!c->json && c->out.out_tty)
		return print_shown(c, text);
	if (!c->json)
		return cmd_print(c, text);
	jw_kv_str(cmd_answer(&a), "text", buf_str(text));
	return cmd_answer_print(c, &a);
}

static enum build_form form_of(const struct build_spec_args *a)
{
	if (a->print)
		return BUILD_FORM_SPEC;
	if (a->reproduce)
		return BUILD_FORM_RECIPE;
	return a->buildkit ? BUILD_FORM_BUILDKIT : BUILD_FORM_DOCKERFILE;
}

static int place_of(struct cmd_context *c, const struct build_source *source, struct build_write *w, struct err *e)
{
	const struct git_commits *g = &source->commits;
	if (source->git) {
		w->url = g->url;
		w->ref = g->ref;
		w->commit = g->commit;
		w->branch = g->onto;
		w->base = g->base;
		return 0;
	}
	const char *folder = source->folder ? source->folder : ".";
	auto_free char *whole = realpath(folder, NULL);
	if (!whole)
		return err_sys(e, "folder '%s'", folder);
	w->dir = arena_str(&c->arena, str_c(whole));
	return 0;
}

static int write_form(struct cmd_context *c, const struct build_spec_args *a, const struct build_source *source,
		      const struct build_opts *o, struct err *e)
{
	auto_buf text = BUF_INIT(BUF_MAX);
	struct build_write w = {.text = o->text,
				.file = o->file,
				.form = form_of(a),
				.windows = a->escape && strcmp(a->escape, "windows") == 0};
	if ((a->reproduce && place_of(c, source, &w, e) < 0) || build_write(&w, &c->arena, &text, e) < 0)
		return -1;
	/* as OBuilder ends one */
	if (w.form == BUILD_FORM_DOCKERFILE || w.form == BUILD_FORM_BUILDKIT)
		buf_put_char(&text, '\n');
	return answer_text(c, &text);
}

/* -- ids ------------------------------------------------------------------------------------------------------------- */

static void put_id(struct jw *w, const void *ctx, size_t i)
{
	const struct build_id *id = (const struct build_id *)ctx + i;
	jw_kv_opt(w, "stage", id->stage);
	jw_kv_int(w, "line", id->line);
	jw_kv_int(w, "column", id->column);
	jw_kv_str(w, "heading", id->heading);
	jw_kv_c(w, "id", id->hex);
}

static int answer_ids(struct cmd_context *c, const struct build_id *id, size_t n)
{
	auto_answer a = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	if (c->json) {
		jw_kv_objects(cmd_answer(&a), "steps", n, put_id, id);
		return cmd_answer_print(c, &a);
	}
	struct str stage = STR("");
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(stage, id[i].stage) && stage.n)
			buf_put_char(&b, '\n');
		stage = id[i].stage;
		buf_put_str(&b, id[i].heading);
		buf_printf(&b, "\n---> \"%s\"\n", id[i].hex);
	}
	return cmd_print(c, &b);
}

static int write_ids(struct cmd_context *c, const struct build_spec_args *a, struct build_source *source,
		     const struct build_opts *o, const char *store, struct err *e)
{
	auto_ptr(layers) layers = NULL;
	struct build_id *id;
	size_t n;
	struct build_ids ids = {
		.text = o->text, .file = o->file, .src = o->context, .secrets = o->secrets, .n_secrets = o->n_secrets};
	const char *dir = cmd_build_dir(c, store, e);
	ids.apart = cmd_build_apart(c, store);
	if (!dir || build_source_checkout(c, source, dir, c->quiet ? -1 : STDERR_FILENO, &ids.src, e) < 0 ||
	    cmd_need_layers(c, store, &layers, e) < 0)
		return -1;
	ids.layers = layers;
	struct str *env = arena_array(&c->arena, struct str, a->image_env.n);
	for (size_t i = 0; i < a->image_env.n; i++)
		env[i] = str_c(a->image_env.v[i]);
	ids.env = a->image_env.n ? env : NULL;
	ids.n_env = a->image_env.n;
	int r = build_ids(&ids, &c->arena, &id, &n, e);
	/* those before the one that cannot be known are worth having, but in a JSON answer the error stands alone */
	if (r == 0 || (n && !c->json))
		answer_ids(c, id, n);
	return r;
}

int build_spec_answer(struct cmd_context *c, const struct build_spec_args *a, struct build_source *source,
		      const struct cmd_list *words, const struct build_opts *o, const char *store, struct err *e)
{
	if (check_args(a, e) < 0)
		return cmd_fail(c, e);
	/* the others want no commits: they ask no server */
	if ((a->ids || a->reproduce) && build_source_resolve(c, source, words->v, words->n, e) < 0)
		return cmd_fail(c, e);
	int r = a->ids ? write_ids(c, a, source, o, store, e) : write_form(c, a, source, o, e);
	return r < 0 ? cmd_fail(c, e) : CMD_OK;
}
