// SPDX-License-Identifier: Apache-2.0
/* image import, list, show, remove: what `(from NAME)` of a build names. */
#include <stdio.h>

#include "base/clock.h"
#include "cmd/change.h"
#include "cmd/cmd.h"
#include "cmd/layers.h"
#include "image/image.h"

struct image_args {
	const char *tag, *platform, *debian, *variant, *store;
	struct cmd_list include, env, words;
};
static void args_release(struct image_args *a)
{
	vec_release(&a->include);
	vec_release(&a->env);
	vec_release(&a->words);
}
#define auto_args cleanup_with(args_release) struct image_args

typedef int image_fn(struct cmd_context *c, struct image_args *a, struct layers *l, struct err *e);

/* -- what is shown ----------------------------------------------------------------------------------------------------- */

static void put_image(struct jw *w, const struct image *img)
{
	auto_buf when = BUF_INIT(64);
	clock_put_iso(&when, img->imported_ms);
	jw_kv_str(w, "name", img->name);
	jw_kv_c(w, "layer", img->layer.hex);
	jw_kv_list(w, "digests", img->digests, img->n_digests);
	jw_kv_int(w, "layers", img->layers);
	jw_kv_int(w, "bytes", (int64_t)img->bytes);
	jw_kv_str(w, "source", img->source);
	jw_kv_str(w, "imported", buf_str(&when));
	jw_kv_str(w, "os", img->config.os);
	jw_kv_str(w, "arch", img->config.arch);
	jw_kv_opt(w, "variant", img->config.variant);
	jw_kv_list(w, "env", img->config.env, img->config.n_env);
	jw_kv_str(w, "user", img->config.user);
	jw_kv_str(w, "workdir", img->config.workdir);
	jw_kv_list(w, "entrypoint", img->config.entrypoint, img->config.n_entrypoint);
	jw_kv_list(w, "cmd", img->config.cmd, img->config.n_cmd);
}

static const char *platform_of(struct cmd_context *c, const struct image *img)
{
	const struct image_config *k = &img->config;
	return k->arch.n ? arena_printf(&c->arena, "%.*s/%.*s%s%.*s", STR_ARG(k->os), STR_ARG(k->arch),
					k->variant.n ? "/" : "", STR_ARG(k->variant))
			 : "";
}

/* -- import ------------------------------------------------------------------------------------------------------------ */

/* "git,sudo" and "git" "sudo" are the same. */
static const char *const *split(struct cmd_context *c, const struct cmd_list *list)
{
	struct cmd_list out = {0};
	vec_foreach(text, list) {
		struct str rest = str_c(*text), one;
		while (str_take_until(&rest, ',', &one) || (one = rest, rest = STR_NONE, one.n > 0))
			if (one.n)
				vec_push(&out, arena_strdup(&c->arena, one));
	}
	vec_push(&out, NULL);
	const char *const *v = vec_copy(&out, &c->arena);
	vec_release(&out);
	return v;
}

static int read_import(struct cmd_context *c, struct image_args *a, struct image_import *o, struct err *e)
{
	const char *const *w = a->words.v;
	size_t want = a->debian ? 0 : 1;
	if (a->words.n < want)
		return err_new(e, ERR_USAGE,
			       "which one? name an OCI layout, an archive, a tar, a folder, or --debian SUITE");
	if (a->words.n > want + 1)
		return err_new(e, ERR_USAGE, "unexpected word '%s'", w[want + 1]);
	if (!a->debian && (a->variant || a->include.n))
		return err_new(e, ERR_USAGE, "--%s goes with --debian", a->variant ? "variant" : "include");
	if (a->debian && (a->tag || a->platform))
		return err_new(e, ERR_USAGE, "--%s does not go with --debian", a->tag ? "tag" : "platform");
	vec_push(&a->env, NULL);
	o->name = a->words.n > want ? str_c(w[0]) : STR_NONE;
	o->path = a->debian ? NULL : w[a->words.n - 1];
	o->debian_suite = a->debian;
	o->variant = a->variant;
	o->include = split(c, &a->include);
	o->tag = str_c(a->tag);
	o->platform = str_c(a->platform);
	o->env = a->env.v;
	o->dry_run = c->dry_run;
	o->quiet = c->quiet || c->json;
	o->progress = &c->progress;
	return 0;
}

static int import(struct cmd_context *c, struct image_args *a, struct layers *l, struct err *e)
{
	struct image_import o = {0};
	struct image img;
	auto_answer answer = {0};
	if (read_import(c, a, &o, e) < 0)
		return cmd_fail(c, e);
	if (!c->dry_run)
		cmd_if_interrupted(c, "nothing of the image is left; layers that were whole stay for the next time");
	cmd_progress_begin(c);
	int rc = image_import(l, &o, &c->arena, &img, e);
	cmd_progress_end(c);
	if (rc < 0)
		return cmd_fail(c, e);
	if (!c->dry_run)
		cmd_changed(c);
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "import");
	jw_kv_bool(w, "dry_run", c->dry_run);
	put_image(w, &img);
	if (c->json)
		return cmd_answer_print(c, &answer);
	auto_buf size = BUF_INIT(64);
	out_put_size(&size, img.bytes);
	if (c->dry_run)
		cmd_say(c, "would import '%.*s' of %.*s", STR_ARG(img.name), STR_ARG(img.source));
	else
		cmd_say(c, "image '%.*s' is here: %u layer%s, %s; '(from %.*s)' names it", STR_ARG(img.name),
			img.layers, img.layers == 1 ? "" : "s", size.p, STR_ARG(img.name));
	return CMD_OK;
}

/* -- list and show ----------------------------------------------------------------------------------------------------- */

static void put_one_of(struct jw *w, const void *ctx, size_t i)
{
	put_image(w, &((const struct image *)ctx)[i]);
}

static int list(struct cmd_context *c, struct image_args *a, struct layers *l, struct err *e)
{
	static const char *const titles[] = {"Name", "Platform", "Size", "Layers", "Imported (UTC)", "Digest", "From"};
	struct image *v;
	size_t n;
	auto_answer answer = {0};
	int rc = a->words.n ? err_new(e, ERR_USAGE, "unexpected word '%s'; 'slipway image show NAME' shows one",
				      a->words.v[0])
			    : images_list(l, &c->arena, &v, &n, e);
	if (rc < 0)
		return cmd_fail(c, e);
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_kv_objects(w, "images", n, put_one_of, v);
		return cmd_answer_print(c, &answer);
	}
	if (n == 0) {
		cmd_say(c,
			"no images yet; 'slipway image import' takes an OCI layout, an archive, a tar, or makes one of Debian packages");
		return CMD_OK;
	}
	struct out_table t = {
		.titles = titles, .columns = 7, .right = 1 << 2 | 1 << 3, .whole = 1 << 0, .tail = 1 << 6};
	for (size_t i = 0; i < n; i++) {
		auto_buf size = BUF_INIT(64), when = BUF_INIT(64);
		out_put_size(&size, v[i].bytes);
		clock_put_table(&when, v[i].imported_ms);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].name));
		out_table_cell(&t, "%s", platform_of(c, &v[i]));
		out_table_cell(&t, "%s", size.p);
		if (v[i].layers)
			out_table_cell(&t, "%u", v[i].layers);
		else
			out_table_cell(&t, "lost");
		out_table_cell(&t, "%s", when.p);
		out_table_cell(&t, "%.19s", v[i].n_digests ? v[i].digests[0].p : "");
		out_table_cell(&t, "%.*s", STR_ARG(v[i].source));
	}
	out_table_print(&c->out, &t);
	return CMD_OK;
}

static int one_name(const struct image_args *a, const char **ret, struct err *e)
{
	if (a->words.n != 1)
		return a->words.n ? err_new(e, ERR_USAGE, "unexpected word '%s'", a->words.v[1])
				  : err_new(e, ERR_USAGE, "which image? 'slipway image list' lists them");
	*ret = a->words.v[0];
	return 0;
}

static void put_words(struct cmd_context *c, const char *title, const struct str *v, size_t n)
{
	auto_buf b = BUF_INIT(1 << 20);
	for (size_t i = 0; i < n; i++) {
		buf_put_c(&b, i ? " " : "");
		buf_put_str(&b, v[i]);
	}
	if (n)
		out_line(&c->out, "%-11s%s", title, b.p);
}

static int show(struct cmd_context *c, struct image_args *a, struct layers *l, struct err *e)
{
	struct image img;
	const char *name = NULL;
	auto_answer answer = {0};
	auto_buf size = BUF_INIT(64), when = BUF_INIT(64);
	if (one_name(a, &name, e) < 0 || image_find(l, str_c(name), &c->arena, &img, e) < 0)
		return cmd_fail(c, e);
	if (c->json) {
		put_image(cmd_answer(&answer), &img);
		return cmd_answer_print(c, &answer);
	}
	out_put_size(&size, img.bytes);
	clock_put_table(&when, img.imported_ms);
	out_line(&c->out, "%-11s%s", "name", img.name.p);
	out_line(&c->out, "%-11s%s", "layer", img.layer.hex);
	for (size_t i = 0; i < img.n_digests; i++)
		out_line(&c->out, "%-11s%s", i ? "" : "digests", img.digests[i].p);
	out_line(&c->out, "%-11s%s", "platform", platform_of(c, &img));
	out_line(&c->out, "%-11s%s in %u layer%s", "size", size.p, img.layers, img.layers == 1 ? "" : "s");
	out_line(&c->out, "%-11s%s UTC, from %.*s", "imported", when.p, STR_ARG(img.source));
	for (size_t i = 0; i < img.config.n_env; i++)
		out_line(&c->out, "%-11s%s", i ? "" : "env", img.config.env[i].p);
	put_words(c, "user", &img.config.user, img.config.user.n > 0);
	put_words(c, "workdir", &img.config.workdir, img.config.workdir.n > 0);
	put_words(c, "entrypoint", img.config.entrypoint, img.config.n_entrypoint);
	put_words(c, "cmd", img.config.cmd, img.config.n_cmd);
	return CMD_OK;
}

/* -- remove ------------------------------------------------------------------------------------------------------------ */

static int remove_one(struct cmd_context *c, struct image_args *a, struct layers *l, struct err *e)
{
	struct image_removal r;
	const char *name = NULL;
	auto_answer answer = {0};
	if (one_name(a, &name, e) < 0)
		return cmd_fail(c, e);
	if (!c->dry_run)
		cmd_if_interrupted(c, "the image may be gone already; 'slipway build gc' frees what it leaves");
	if (image_remove(l, str_c(name), c->dry_run, &r, e) < 0)
		return cmd_fail(c, e);
	if (!c->dry_run)
		cmd_changed(c);
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_kv_c(w, "operation", "remove");
		jw_kv_bool(w, "dry_run", c->dry_run);
		jw_kv_c(w, "name", name);
		jw_kv_int(w, "layers", r.layers);
		jw_kv_int(w, "layers_stay", r.layers_stay);
		jw_kv_int(w, "bytes", (int64_t)r.bytes);
		return cmd_answer_print(c, &answer);
	}
	auto_buf size = BUF_INIT(64);
	out_put_size(&size, r.bytes);
	cmd_say(c, "%s '%s': %u layer%s, %s", c->dry_run ? "would remove" : "removed", name, r.layers,
		r.layers == 1 ? "" : "s", size.p);
	if (r.layers_stay)
		cmd_say(c,
			"%u layer%s: other images or steps of builds stand on %s; 'slipway build gc' frees them when nothing does",
			r.layers_stay, r.layers_stay == 1 ? " stays" : "s stay", r.layers_stay == 1 ? "it" : "them");
	return CMD_OK;
}

/* -- from argv --------------------------------------------------------------------------------------------------------- */

static int run(struct cmd_context *c, int argc, char **argv, const struct cmd_option *options, struct image_args *a,
	       image_fn *fn)
{
	struct err e = ERR_INIT;
	auto_ptr(layers) l = NULL;
	if (cmd_parse(c, options, false, argc, argv, &a->words, &e) < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	if (cmd_need_layers(c, a->store, &l, &e) < 0)
		return cmd_fail(c, &e);
	return fn(c, a, l, &e);
}

int cmd_image_import(struct cmd_context *c, int argc, char **argv)
{
	auto_args a = {0};
	const struct cmd_option options[] = {
		{0, "debian", CMD_TEXT, &a.debian},	{0, "include", CMD_LIST, &a.include},
		{0, "variant", CMD_TEXT, &a.variant},	{0, "tag", CMD_TEXT, &a.tag},
		{0, "platform", CMD_TEXT, &a.platform}, {'e', "env", CMD_LIST, &a.env},
		{0, "store", CMD_TEXT, &a.store},	{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, argc, argv, options, &a, import);
}

static int run_plain(struct cmd_context *c, int argc, char **argv, image_fn *fn)
{
	auto_args a = {0};
	const struct cmd_option options[] = {
		{0, "store", CMD_TEXT, &a.store},
		{0, NULL, CMD_FLAG, NULL},
	};
	return run(c, argc, argv, options, &a, fn);
}

int cmd_image_list(struct cmd_context *c, int argc, char **argv)
{
	return run_plain(c, argc, argv, list);
}

int cmd_image_show(struct cmd_context *c, int argc, char **argv)
{
	return run_plain(c, argc, argv, show);
}

int cmd_image_remove(struct cmd_context *c, int argc, char **argv)
{
	return run_plain(c, argc, argv, remove_one);
}
