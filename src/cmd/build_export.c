// SPDX-License-Identifier: Apache-2.0
/* build export: what a build made, or an image, as a tar or an OCI archive. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/build.h"
#include "cmd/change.h"
#include "cmd/cmd.h"
#include "cmd/layers.h"
#include "image/image.h"

struct export_args {
	const char *output, *format, *store;
	struct cmd_list words;
};
static void args_release(struct export_args *a)
{
	vec_release(&a->words);
}
#define auto_args cleanup_with(args_release) struct export_args

/* An image of that name, else the step whose id begins so. */
static int find_tree(struct cmd_context *c, struct layers *l, const char *word, struct layer_id *ret, struct image *img,
		     bool *ret_image, struct err *e)
{
	struct err no_image = ERR_INIT;
	*ret_image = image_find(l, str_c(word), &c->arena, img, &no_image) == 0;
	*ret = img->layer;
	int got = *ret_image ? 1 : cmd_find_layer(c, l, str_c(word), ret, e);
	if (got == 0)
		*e = no_image;
	return got > 0 ? 0 : -1;
}

/* SOURCE_DATE_EPOCH: no time in the output is later. */
static int read_epoch(int64_t *ret, struct err *e)
{
	const char *text = getenv("SOURCE_DATE_EPOCH");
	*ret = -1;
	if (text && *text && (!str_to_i64(str_c(text), ret) || *ret < 0))
		return err_new(e, ERR_USAGE, "SOURCE_DATE_EPOCH='%s' is no number of seconds since 1970", text);
	return 0;
}

/* The file appears whole, or not at all. */
static int export_to_file(struct layers *l, const struct layer_id *id, const struct image_export *o, const char *path,
			  uint64_t *ret_bytes, struct err *e)
{
	struct stat st;
	auto_free char *tmp = xasprintf("%s.%ld.part", path, (long)getpid());
	auto_fd fd = sys_openat(AT_FDCWD, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_sys(e, "create '%s'", tmp);
	bool good = image_export(l, id, o, fd, e) == 0;
	if (good && fstat(fd, &st) < 0) {
		good = false;
		err_sys(e, "stat '%s'", tmp);
	}
	if (good && sys_renameat(AT_FDCWD, tmp, AT_FDCWD, path) < 0) {
		good = false;
		err_sys(e, "rename '%s' to '%s'", tmp, path);
	}
	if (!good)
		sys_unlinkat(AT_FDCWD, tmp, 0);
	else
		*ret_bytes = (uint64_t)st.st_size;
	return good ? 0 : -1;
}

static int export(struct cmd_context *c, const struct export_args *a, struct layers *l, struct err *e)
{
	struct image_export o = {.format = IMAGE_TAR, .progress = &c->progress};
	struct image img = {0};
	struct layer_id id;
	bool is_image, to_stdout = !a->output || strcmp(a->output, "-") == 0;
	uint64_t bytes = 0;
	if (a->words.n != 1)
		return a->words.n
			       ? err_new(e, ERR_USAGE, "unexpected word '%s'", a->words.v[1])
			       : err_new(e, ERR_USAGE,
					 "which one? name an image, or the id of a layer, as the log of a build has it");
	if (a->format && strcmp(a->format, "oci") == 0)
		o.format = IMAGE_OCI;
	else if (a->format && strcmp(a->format, "tar") != 0)
		return err_new(e, ERR_USAGE, "--format '%s': expected tar or oci", a->format);
	if (to_stdout && c->json)
		return err_new(e, ERR_USAGE,
			       "--json and the archive cannot both go to standard output; give a file with -o");
	if (to_stdout && isatty(1) && !c->dry_run)
		return err_new(e, ERR_USAGE,
			       "standard output is a terminal; give a file with -o, or lead it into a pipe");
	if (read_epoch(&o.epoch_s, e) < 0 || find_tree(c, l, a->words.v[0], &id, &img, &is_image, e) < 0)
		return -1;
	if (!is_image && build_config(l, &id, &c->arena, &img.config, e) < 0)
		return -1;
	o.image = &img;
	if (!c->dry_run && !to_stdout)
		cmd_if_interrupted(c, "'%s.%ld.part' may be left", a->output, (long)getpid());
	if (!c->dry_run &&
	    (to_stdout ? image_export(l, &id, &o, 1, e) : export_to_file(l, &id, &o, a->output, &bytes, e)) < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "export");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "layer", id.hex);
	jw_kv_c(w, "format", o.format == IMAGE_OCI ? "oci" : "tar");
	jw_kv_c(w, "file", a->output);
	jw_kv_int(w, "bytes", (int64_t)bytes);
	if (c->json)
		return cmd_answer_print(c, &answer);
	if (!to_stdout || c->dry_run)
		cmd_say(c, "%s %.12s… to '%s'", c->dry_run ? "would write" : "wrote", id.hex,
			to_stdout ? "standard output" : a->output);
	return CMD_OK;
}

int cmd_build_export(struct cmd_context *c, int argc, char **argv)
{
	struct err e = ERR_INIT;
	auto_args a = {0};
	auto_ptr(layers) l = NULL;
	const struct cmd_option options[] = {
		{'o', "output", CMD_TEXT, &a.output},
		{0, "format", CMD_TEXT, &a.format},
		{0, "store", CMD_TEXT, &a.store},
		{0, NULL, CMD_FLAG, NULL},
	};
	if (cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	if (cmd_need_layers(c, a.store, &l, &e) < 0)
		return cmd_fail(c, &e);
	int rc = export(c, &a, l, &e);
	return rc < 0 ? cmd_fail(c, &e) : rc;
}
