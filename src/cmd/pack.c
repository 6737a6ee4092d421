// SPDX-License-Identifier: Apache-2.0
/* pack conda: a staged folder becomes a package file. */
#include <stdlib.h>

#include "base/json.h"
#include "base/out.h"
#include "build/build.h"
#include "cmd/change.h"

struct pack_args {
	const char *out_dir, *recipe, *format, *name, *version, *build, *subdir, *noarch, *license, *license_family;
	const char *summary, *description, *home, *dev_url, *doc_url, *track_features, *prefix, *site_packages;
	int64_t build_number, level;
	struct cmd_list depends, constrains, entry_points, run_exports, run_exports_strong, words;
};

static void args_release(struct pack_args *a)
{
	vec_release(&a->depends);
	vec_release(&a->constrains);
	vec_release(&a->entry_points);
	vec_release(&a->run_exports);
	vec_release(&a->run_exports_strong);
	vec_release(&a->words);
}
#define auto_args cleanup_with(args_release) struct pack_args

static struct pack_list list_of(struct cmd_context *c, const struct cmd_list *l)
{
	struct str *v = arena_array(&c->arena, struct str, l->n + 1);
	for (size_t i = 0; i < l->n; i++)
		v[i] = str_c(l->v[i]);
	return (struct pack_list){v, l->n};
}

/* The time that everybody who wants the same bytes again sets. */
static int source_date(int64_t *ret, struct err *e)
{
	const char *text = getenv("SOURCE_DATE_EPOCH");
	*ret = -1;
	if (!text || !*text || (str_to_i64(str_c(text), ret) && *ret >= 0))
		return 0;
	return err_new(e, ERR_USAGE, "SOURCE_DATE_EPOCH is '%s', not a number of seconds", text);
}

static int format_of(const char *text, enum pack_format *ret, struct err *e)
{
	if (strcmp(text, "conda") == 0)
		*ret = PACK_CONDA;
	else if (strcmp(text, "tar.bz2") == 0)
		*ret = PACK_TAR_BZ2;
	else
		return err_new(e, ERR_USAGE, "unknown format '%s'; there are 'conda' and 'tar.bz2'", text);
	return 0;
}

static int opts_of(struct cmd_context *c, const struct pack_args *a, struct pack_opts *o, struct err *e)
{
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE, "pack which folder? as in: slipway pack conda STAGED_DIR [-o DIR]");
	if (a->build_number < -1)
		return err_new(e, ERR_USAGE, "--build-number wants a number from 0 on");
	if (a->level < 0 || a->level > 22)
		return err_new(e, ERR_USAGE, "--compression-level wants a number from 1 to 22 (tar.bz2: to 9)");
	if (format_of(a->format, &o->format, e) < 0 || source_date(&o->time_s, e) < 0)
		return -1;
	o->staged = a->words.v[0];
	o->out_dir = a->out_dir;
	o->recipe = a->recipe;
	o->level = (int)a->level;
	o->dry_run = c->dry_run;
	o->progress = &c->progress;
	o->meta = (struct pack_meta){
		.name = str_c(a->name),
		.version = str_c(a->version),
		.build = str_c(a->build),
		.build_number = a->build_number,
		.subdir = str_c(a->subdir),
		.noarch = str_c(a->noarch),
		.depends = list_of(c, &a->depends),
		.constrains = list_of(c, &a->constrains),
		.entry_points = list_of(c, &a->entry_points),
		.run_exports = list_of(c, &a->run_exports),
		.run_exports_strong = list_of(c, &a->run_exports_strong),
		.license = str_c(a->license),
		.license_family = str_c(a->license_family),
		.summary = str_c(a->summary),
		.description = str_c(a->description),
		.home = str_c(a->home),
		.dev_url = str_c(a->dev_url),
		.doc_url = str_c(a->doc_url),
		.track_features = str_c(a->track_features),
		.python_site_packages_path = str_c(a->site_packages),
		.prefix = str_c(a->prefix),
	};
	return 0;
}

static int answer(struct cmd_context *c, const struct pack_result *r)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "path", r->path);
	jw_kv_str(w, "name", r->name);
	jw_kv_str(w, "version", r->version);
	jw_kv_str(w, "build", r->build);
	jw_kv_str(w, "subdir", r->subdir);
	jw_kv_int(w, "files", (int64_t)r->files);
	jw_kv_int(w, "content_bytes", (int64_t)r->content_bytes);
	jw_kv_int(w, "prefix_files", (int64_t)r->prefix_files);
	if (!c->dry_run) {
		jw_kv_int(w, "size", (int64_t)r->size);
		jw_kv_hex(w, "sha256", r->sha256, SHA256_SIZE);
	}
	return cmd_answer_print(c, &a);
}

/* The path alone on standard output, for `slipway channel publish DIR "$(slipway pack conda …)"`. */
static int report(struct cmd_context *c, const struct pack_result *r)
{
	auto_buf b = BUF_INIT(BUF_MAX), size = BUF_INIT(64);
	if (c->json)
		return answer(c, r);
	out_put_size(&size, r->content_bytes);
	cmd_say(c, "%s %zu file%s, %s; with the prefix in it: %zu", c->dry_run ? "would pack" : "packed", r->files,
		r->files == 1 ? "" : "s", size.p, r->prefix_files);
	buf_printf(&b, "%s\n", r->path);
	return cmd_print(c, &b);
}

static int pack(struct cmd_context *c, const struct pack_args *a)
{
	struct pack_opts o = PACK_OPTS_INIT;
	struct pack_result r;
	struct err e = ERR_INIT;
	if (opts_of(c, a, &o, &e) < 0)
		return cmd_fail(c, &e);
	cmd_if_interrupted(c, "no package was made");
	cmd_progress_begin(c);
	int rc = pack_conda(&o, &c->arena, &r, &e);
	cmd_progress_end(c);
	if (rc == 0 && !c->dry_run)
		cmd_changed(c);
	return rc < 0 ? cmd_fail(c, &e) : report(c, &r);
}

int cmd_pack_conda(struct cmd_context *c, int argc, char **argv)
{
	auto_args a = {.out_dir = ".", .format = "conda", .build_number = -1};
	const struct cmd_option options[] = {
		{'o', "output", CMD_TEXT, &a.out_dir},
		{0, "recipe", CMD_TEXT, &a.recipe},
		{0, "format", CMD_TEXT, &a.format},
		{0, "compression-level", CMD_NUMBER, &a.level},
		{0, "name", CMD_TEXT, &a.name},
		{0, "version", CMD_TEXT, &a.version},
		{0, "build", CMD_TEXT, &a.build},
		{0, "build-number", CMD_NUMBER, &a.build_number},
		{0, "subdir", CMD_TEXT, &a.subdir},
		{0, "noarch", CMD_TEXT, &a.noarch},
		{0, "depends", CMD_LIST, &a.depends},
		{0, "constrains", CMD_LIST, &a.constrains},
		{0, "entry-point", CMD_LIST, &a.entry_points},
		{0, "run-exports", CMD_LIST, &a.run_exports},
		{0, "run-exports-strong", CMD_LIST, &a.run_exports_strong},
		{0, "license", CMD_TEXT, &a.license},
		{0, "license-family", CMD_TEXT, &a.license_family},
		{0, "summary", CMD_TEXT, &a.summary},
		{0, "description", CMD_TEXT, &a.description},
		{0, "home", CMD_TEXT, &a.home},
		{0, "dev-url", CMD_TEXT, &a.dev_url},
		{0, "doc-url", CMD_TEXT, &a.doc_url},
		{0, "track-features", CMD_TEXT, &a.track_features},
		{0, "python-site-packages-path", CMD_TEXT, &a.site_packages},
		{0, "prefix", CMD_TEXT, &a.prefix},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	if (cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0)
		return cmd_fail(c, &e);
	return c->help ? cmd_help(c) : pack(c, &a);
}
