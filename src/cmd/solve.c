// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/json.h"
#include "cmd/change.h"
#include "cmd/cmd.h"

struct solve_args {
	struct cmd_solve_options options;
	const char *dump, *replay, *file;
	struct cmd_list words;
};

static void put_package(struct jw *w, const void *ctx, size_t i)
{
	const struct solve_result *r = ctx;
	const struct pkg_record *p = &r->packages[i].record;
	char hex[SHA256_HEX_SIZE];
	jw_kv_str(w, "name", p->name);
	jw_kv_str(w, "version", p->version);
	jw_kv_str(w, "build", p->build);
	jw_kv_int(w, "build_number", (int64_t)p->build_number);
	jw_kv_str(w, "channel", p->channel);
	jw_kv_str(w, "subdir", p->subdir);
	jw_kv_str(w, "fn", p->fn);
	jw_kv_str(w, "url", p->url);
	if (p->has_sha256)
		hex_encode(p->sha256, SHA256_SIZE, hex);
	jw_kv_c(w, "sha256", p->has_sha256 ? hex : NULL);
	if (p->has_md5)
		hex_encode(p->md5, MD5_SIZE, hex);
	jw_kv_c(w, "md5", p->has_md5 ? hex : NULL);
	jw_kv_int(w, "size", (int64_t)p->size);
	jw_kv_list(w, "depends", p->depends, p->depends_n);
	jw_kv_bool(w, "requested", r->packages[i].requested);
}

/* The object that scripts rely on: packages in link order. */
static int answer(struct cmd_context *c, const struct solve_result *r, const struct cmd_opened *o)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	if (o)
		jw_kv_str(w, "subdir", o->subdir);
	jw_kv_objects(w, "packages", r->packages_n, put_package, r);
	return cmd_answer_print(c, &a);
}

static void put_table(struct cmd_context *c, const struct solve_result *r, struct buf *b)
{
	static const char *const titles[] = {"Package", "Version", "Build", "Channel", "Size"};
	struct out_table t = {.titles = titles, .columns = 5, .right = 1 << 4, .whole = 1 | 1 << 1, .tail = 1 << 3};
	uint64_t total = 0;
	for (size_t i = 0; i < r->packages_n; i++) {
		const struct pkg_record *p = &r->packages[i].record;
		auto_buf size = BUF_INIT(64);
		out_put_size(&size, p->size);
		out_table_cell(&t, "%.*s", STR_ARG(p->name));
		out_table_cell(&t, "%.*s", STR_ARG(p->version));
		out_table_cell(&t, "%.*s", STR_ARG(p->build));
		out_table_cell(&t, "%.*s/%.*s", STR_ARG(p->channel), STR_ARG(p->subdir));
		out_table_cell(&t, "%s", size.p);
		total += p->size;
	}
	out_table_print(&c->out, &t);
	buf_printf(b, "%zu package%s, ", r->packages_n, r->packages_n == 1 ? "" : "s");
	out_put_size(b, total);
	buf_put_char(b, '\n');
}

static int show(struct cmd_context *c, const struct solve_result *r, const struct cmd_opened *o)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	if (!c->json)
		put_table(c, r, &b);
	if (c->verbose)
		cmd_say(c, "%llu names, %llu candidates, %llu clauses, %llu decisions, %llu conflicts, %llu learnt",
			(unsigned long long)r->stats.names, (unsigned long long)r->stats.candidates,
			(unsigned long long)r->stats.clauses, (unsigned long long)r->stats.decisions,
			(unsigned long long)r->stats.conflicts, (unsigned long long)r->stats.learnt);
	return c->json ? answer(c, r, o) : cmd_print(c, &b);
}

static int write_dump(const struct solve_args *args, const struct solve_request *q, const struct solve_result *r,
		      int rc, struct err *e)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	if (!args->dump)
		return 0;
	if (solve_dump(q, r, rc, &b, e) < 0)
		return -1;
	return fs_replace(AT_FDCWD, args->dump, b.p, b.n, 0, e);
}

static int replay(struct cmd_context *c, const struct solve_args *args, struct err *e)
{
	auto_buf text = BUF_INIT((size_t)256 << 20);
	auto_ptr(solve_replay) r = NULL;
	struct solve_result res;
	char dir[] = "/tmp/slipway-replay.XXXXXX";
	if (args->words.n || args->file) {
		err_new(e, ERR_USAGE, "a replay has its own specs: '%s'; name none", args->replay);
		return cmd_fail(c, e);
	}
	if (fs_read_any(AT_FDCWD, args->replay, &text, e) < 0)
		return cmd_fail(c, e);
	if (!mkdtemp(dir)) { /* style: allow sys: a scratch folder, no state */
		err_sys(e, "make a temporary folder");
		return cmd_fail(c, e);
	}
	auto_fd fd = fs_open_dir(AT_FDCWD, dir, e);
	int rc = fd < 0 ? -1 : solve_replay_load(buf_str(&text), args->replay, fd, &r, e);
	struct err ignored = ERR_INIT;
	(void)fs_remove_tree(AT_FDCWD, dir, &ignored); /* what is mapped stays mapped */
	if (rc < 0)
		return cmd_fail(c, e);
	rc = solve(solve_replay_request(r), &c->arena, &res, e);
	if (rc == 0)
		return show(c, &res, NULL);
	return rc > 0 ? cmd_no_solution(c, &res) : cmd_fail(c, e);
}

static int solve_words(struct cmd_context *c, const struct solve_args *args, struct err *e)
{
	auto_opened opened = {0};
	struct solve_request q;
	struct solve_result r;
	struct env_spec_file file = {0};
	struct str *specs = NULL;
	size_t n = 0;
	if ((args->file && cmd_read_spec_file(c, args->file, &file, e) < 0) ||
	    cmd_gather_specs(c, &file, &args->words, &specs, &n, e) < 0)
		return cmd_fail(c, e);
	if (!n) {
		err_new(e, ERR_USAGE,
			"nothing to solve for: name specs, as in: slipway solve -c CHANNEL 'python=3.9' numpy");
		return cmd_fail(c, e);
	}
	if (cmd_open_channels(c, &args->options, file.channels, file.channels_n, specs, n, &opened, e) < 0 ||
	    cmd_request(c, &opened, &q, e) < 0)
		return cmd_fail(c, e);
	q.specs = specs;
	q.specs_n = n;
	int rc = cmd_run_solve(c, &opened, &q, &r, e);
	if (rc >= 0 && write_dump(args, &q, &r, rc, e) < 0)
		return cmd_fail(c, e);
	if (rc == 0)
		return show(c, &r, &opened);
	return rc > 0 ? cmd_no_solution(c, &r) : cmd_fail(c, e);
}

int cmd_solve(struct cmd_context *c, int argc, char **argv)
{
	struct solve_args args = {0};
	const struct cmd_option options[] = {
		CMD_SOLVE_OPTIONS(&args.options),  {'f', "file", CMD_TEXT, &args.file},
		{0, "dump", CMD_TEXT, &args.dump}, {0, "replay", CMD_TEXT, &args.replay},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int code = cmd_parse(c, options, false, argc, argv, &args.words, &e) < 0 ? cmd_fail(c, &e)
		   : c->help							 ? cmd_help(c)
		   : args.replay						 ? replay(c, &args, &e)
										 : solve_words(c, &args, &e);
	vec_release(&args.words);
	vec_release(&args.options.channels);
	return code;
}
