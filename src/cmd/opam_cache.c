// SPDX-License-Identifier: Apache-2.0
/* opam cache: packages that were built before, and are kept to be used again (build/build.h). */
#include "build/build.h"
#include "cmd/change.h"
#include "cmd/opam_repos.h"

enum { DEFAULT_DAYS = 30 };

struct cache_args {
	const char *kept, *older_than, *max_size;
	bool gc;
	struct cmd_list words;
};

static const char *folder(struct cmd_context *c, const struct cache_args *a, struct err *e)
{
	const char *said = a->kept ? a->kept : getenv("SLIPWAY_OPAM_KEPT");
	if (said && *said && strcmp(said, "none") != 0)
		return said;
	return cmd_need_root(c, e) < 0 ? NULL : arena_printf(&c->arena, "%s/" CMD_OPAM_KEPT, c->root_path);
}

static void put_package(struct jw *w, const void *ctx, size_t i)
{
	const struct build_opam_kept *v = ctx;
	v += i;
	jw_kv_str(w, "name", v->name);
	jw_kv_str(w, "version", v->version);
	jw_kv_str(w, "prefix", v->prefix);
	jw_kv_c(w, "key", v->key);
	jw_kv_int(w, "files", (int64_t)v->files);
	jw_kv_int(w, "bytes", (int64_t)v->bytes);
	jw_kv_int(w, "used_ms", v->used_ms);
}

static void print_table(struct cmd_context *c, const struct build_opam_kept *v, size_t n)
{
	static const char *const titles[] = {"Package", "Version", "Used (UTC)", "Size", "Prefix"};
	struct out_table t = {.titles = titles, .columns = 5, .right = 1 << 3, .whole = 1 << 0};
	for (size_t i = 0; i < n; i++) {
		auto_buf used = BUF_INIT(64), size = BUF_INIT(64);
		clock_put_table(&used, v[i].used_ms);
		out_put_size(&size, v[i].bytes);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].name));
		out_table_cell(&t, "%.*s", STR_ARG(v[i].version));
		out_table_cell(&t, "%s", used.p);
		out_table_cell(&t, "%s", size.p);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].prefix));
	}
	if (n)
		out_table_print(&c->out, &t);
}

static int show(struct cmd_context *c, const struct cache_args *a, const char *path, const struct build_opam_kept *v,
		size_t n)
{
	uint64_t bytes = 0;
	auto_answer answer = {0};
	auto_buf size = BUF_INIT(64);
	for (size_t i = 0; i < n; i++)
		bytes += v[i].bytes;
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_kv_c(w, "operation", a->gc ? "gc" : "list");
		jw_kv_bool(w, "dry_run", c->dry_run);
		jw_kv_c(w, "folder", path);
		jw_kv_objects(w, "packages", n, put_package, v);
		jw_kv_int(w, "bytes", (int64_t)bytes);
		return cmd_answer_print(c, &answer);
	}
	print_table(c, v, n);
	out_put_size(&size, bytes);
	cmd_say(c, "%s%zu package%s, %s, in '%s'",
		!a->gc	     ? ""
		: c->dry_run ? "would free "
			     : "freed ",
		n, n == 1 ? "" : "s", size.p, path);
	return CMD_OK;
}

static int opts_of(struct cmd_context *c, const struct cache_args *a, struct build_opam_kept_gc *o, struct err *e)
{
	*o = (struct build_opam_kept_gc){.now_ms = clock_wall_ms(),
					 .older_than_ms = a->max_size ? -1 : (int64_t)DEFAULT_DAYS * 24 * 3600 * 1000,
					 .max_bytes = UINT64_MAX,
					 .dry_run = c->dry_run};
	if (a->words.n)
		return err_new(e, ERR_USAGE, "unexpected word '%s'", a->words.v[0]);
	if (!a->gc && (a->older_than || a->max_size))
		return err_new(e, ERR_USAGE, "--older-than and --max-size say what --gc removes");
	if (a->older_than && cmd_read_age("--older-than", a->older_than, &o->older_than_ms, e) < 0)
		return -1;
	return cmd_read_size("--max-size", a->max_size, &o->max_bytes, e);
}

static int run(struct cmd_context *c, const struct cache_args *a, struct err *e)
{
	struct build_opam_kept_gc o;
	struct build_opam_kept *v;
	size_t n;
	const char *path = NULL;
	if (opts_of(c, a, &o, e) < 0 || !(path = folder(c, a, e)))
		return cmd_fail(c, e);
	int rc = a->gc ? build_opam_kept_gc(path, &o, &c->arena, &v, &n, e)
		       : build_opam_kept_list(path, &c->arena, &v, &n, e);
	if (rc < 0)
		return cmd_fail(c, e);
	if (a->gc && !c->dry_run)
		cmd_changed(c);
	return show(c, a, path, v, n);
}

int cmd_opam_cache(struct cmd_context *c, int argc, char **argv)
{
	struct cache_args a = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		{0, "gc", CMD_FLAG, &a.gc},
		{0, "kept", CMD_TEXT, &a.kept},
		{0, "older-than", CMD_TEXT, &a.older_than},
		{0, "max-size", CMD_TEXT, &a.max_size},
		{0, NULL, CMD_FLAG, NULL},
	};
	int code = cmd_parse(c, options, false, argc, argv, &a.words, &e) < 0 ? cmd_fail(c, &e)
		   : c->help						      ? cmd_help(c)
									      : run(c, &a, &e);
	vec_release(&a.words);
	return code;
}
