// SPDX-License-Identifier: Apache-2.0
/* build: a spec, step by step. */
#include <fcntl.h>
#include <unistd.h>

#include "build/build.h"
#include "cmd/build_job.h"
#include "cmd/build_run.h"
#include "cmd/build_source.h"
#include "cmd/build_spec.h"
#include "cmd/change.h"
#include "cmd/cmd.h"
#include "cmd/layers.h"

enum { SPEC_BYTES_MAX = 16 << 20 };

struct build_args {
	const char *file;
	bool check, header, no_result;
	struct cmd_build_options build;
	struct cmd_build_job job;
	struct cmd_list words;
	struct build_source source;
	struct build_spec_args spec;
};
static void args_release(struct build_args *a)
{
	cmd_build_options_release(&a->build);
	vec_release(&a->words);
	build_source_release(&a->source);
	vec_release(&a->spec.image_env);
}
#define auto_args cleanup_with(args_release) struct build_args

static int opts_of(struct cmd_context *c, const struct build_args *a, struct build_opts *o, struct err *e)
{
	if (!a->file)
		return err_new(e, ERR_USAGE, "build what? as in: slipway build -f job.spec .");
	if (cmd_build_job_check(&a->job, e) < 0 || cmd_build_opts(c, &a->build, o, e) < 0)
		return -1;
	o->file = a->file;
	return 0;
}

/* The head of a job's log, where it is wanted, and the context: a repository's words are part of the log. */
static int bring_source(struct cmd_context *c, struct build_args *a, struct build_opts *o, struct err *e)
{
	auto_buf head = BUF_INIT(BUF_MAX);
	const char *dir = cmd_build_dir(c, a->build.store, e);
	if (!dir || build_source_resolve(c, &a->source, a->words.v, a->words.n, e) < 0)
		return -1;
	if (a->header && build_source_head(c, &a->source, o->text, a->file, STR_NONE, &head, e) < 0)
		return -1;
	cmd_build_put_log(c, buf_str(&head));
	/* -1: nowhere; what it says behind standard output's buffer is after what is in there */
	return build_source_checkout(c, &a->source, dir,
				     c->quiet  ? -1
				     : c->json ? STDERR_FILENO
					       : STDOUT_FILENO,
				     &o->context, e);
}

/* -- as a job -------------------------------------------------------------------------------------------------------------- */

static int submit(struct cmd_context *c, struct build_args *a, struct str spec, struct err *e)
{
	auto_buf header = BUF_INIT(SPEC_BYTES_MAX);
	struct cmd_list words = {0};
	struct build_source *from = &a->source;
	struct str hint = str_c(a->job.o.hint);
	int rc = build_source_resolve(c, from, a->words.v, a->words.n, e);
	if (rc == 0 && !hint.n)
		rc = build_source_hint(c, from, spec, a->file, &hint, e);
	if (rc == 0)
		rc = build_source_head(c, from, spec, a->file, hint, &header, e);
	if (rc == 0)
		rc = cmd_build_words(c, &a->build, &words, e);
	if (rc == 0 && from->git)
		build_source_words(c, from, &words);
	struct cmd_build_what what = {.spec = spec,
				      .context = from->folder,
				      .left_out = &a->build.left_out,
				      .words = words.v,
				      .n_words = words.n,
				      .header = buf_str(&header),
				      .hint = hint,
				      .title = str_c(from->title ? from->title
								 : arena_printf(&c->arena, "build -f %s", a->file))};
	rc = rc < 0 ? cmd_fail(c, e) : cmd_build_job(c, &a->job, &what);
	vec_release(&words);
	return rc;
}

static int run(struct cmd_context *c, struct build_opts *o, bool tell_id, struct err *e)
{
	struct build_result r;
	auto_answer answer = {0};
	int code = cmd_build_run(c, o, tell_id, &r, e);
	if (code < 0)
		return cmd_fail(c, e);
	if (c->json) {
		cmd_build_put_result(cmd_answer(&answer), c, &r);
		(void)cmd_answer_print(c, &answer);
	}
	return code;
}

static int build(struct cmd_context *c, struct build_args *a, struct err *e)
{
	struct build_opts o;
	auto_ptr(layers) layers = NULL;
	auto_buf text = BUF_INIT(SPEC_BYTES_MAX);
	if (opts_of(c, a, &o, e) < 0)
		return cmd_fail(c, e);
	if (build_read_spec(a->file, &text, e) < 0)
		return cmd_fail(c, e);
	o.text = buf_str(&text);
	if (build_spec_is_asked(&a->spec))
		return build_spec_answer(c, &a->spec, &a->source, &a->words, &o, a->build.store, e);
	if (a->job.o.pool)
		return submit(c, a, buf_str(&text), e);
	if (cmd_need_layers(c, a->build.store, &layers, e) < 0)
		return cmd_fail(c, e);
	cmd_build_make_room(c, layers);
	o.layers = layers;
	if (bring_source(c, a, &o, e) < 0)
		return cmd_fail(c, e);
	o.apart = cmd_build_left_out(c, &a->build, o.context);
	return run(c, &o, !a->no_result, e);
}

/* -- what can be had here ---------------------------------------------------------------------------------------------------- */

static const char *yes_no(bool yes)
{
	return yes ? "yes" : "no";
}

static int check(struct cmd_context *c)
{
	struct sandbox_can can;
	auto_answer a = {0};
	sandbox_probe(&can);
	const struct {
		const char *key, *what;
		bool yes;
	} v[] = {
		{"run", "sandboxes", can.run},
		{"overlay", "layers by overlayfs", can.overlay},
		{"user_namespace", "root of a sandbox is nobody outside", can.user_namespace},
		{"id_range", "more than one user in a sandbox", can.id_range},
		{"idmapped", "owners are kept on disk as they are inside", can.idmapped},
		{"cgroup_memory", "a limit of memory for a sandbox as a whole", can.cgroup_memory},
		{"cgroup_pids", "a limit of processes for a sandbox as a whole", can.cgroup_pids},
		{"seccomp", "a filter of system calls", can.seccomp},
	};
	struct jw *w = cmd_answer(&a);
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		jw_kv_bool(w, v[i].key, v[i].yes);
		if (!c->json)
			out_line(&c->out, "%-46s %s", v[i].what, yes_no(v[i].yes));
	}
	jw_kv_c(w, "why", can.why);
	if (c->json)
		cmd_answer_print(c, &a);
	else if (can.why[0])
		out_line(&c->out, "\n%s", can.why);
	return can.run ? CMD_OK : CMD_FAILED;
}

int cmd_build(struct cmd_context *c, int argc, char **argv)
{
	auto_args a = {.build = CMD_BUILD_OPTIONS_INIT, .source = BUILD_SOURCE_INIT};
	const struct cmd_option options[] = {
		{'f', "file", CMD_TEXT, &a.file},
		{'t', "tag", CMD_TEXT, &a.build.tag},
		CMD_BUILD_SOURCE(&a.source),
		{0, "header", CMD_FLAG, &a.header},
		CMD_BUILD_OPTIONS(&a.build),
		{0, "leave-out", CMD_LIST, &a.build.left_out},
		{0, "no-result", CMD_FLAG, &a.no_result},
		{0, "secret", CMD_LIST, &a.build.secrets},
		{0, "secret-env", CMD_LIST, &a.build.secrets_env},
		{0, "nested", CMD_FLAG, &a.build.nested},
		{0, "check", CMD_FLAG, &a.check},
		CMD_BUILD_JOB(&a.job),
		{0, "print", CMD_FLAG, &a.spec.print},
		{0, "dockerfile", CMD_FLAG, &a.spec.dockerfile},
		{0, "buildkit", CMD_FLAG, &a.spec.buildkit},
		{0, "escape", CMD_TEXT, &a.spec.escape},
		{0, "reproduce", CMD_FLAG, &a.spec.reproduce},
		{0, "ids", CMD_FLAG, &a.spec.ids},
		{0, "image-env", CMD_LIST, &a.spec.image_env},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	if (cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0)
		return cmd_fail(c, &e);
	if (c->help)
		return cmd_help(c);
	return a.check ? check(c) : build(c, &a, &e);
}
