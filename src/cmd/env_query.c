// SPDX-License-Identifier: Apache-2.0
/* env list, history, packages, export, check, remove: what is there, and taking it away. */
#include <stdio.h>

#include "cmd/change.h"

struct query_args {
	const char *name, *format;
	int64_t generation, wait_s;
	bool explicit_list, yml, no_builds, override_frozen;
	struct cmd_list words;
};

static void put_time(struct out_table *t, int64_t ms)
{
	auto_buf b = BUF_INIT(64);
	clock_put_table(&b, ms);
	out_table_cell(t, "%s", b.p);
}

static void put_json_time(struct jw *w, const char *key, int64_t ms)
{
	auto_buf b = BUF_INIT(64);
	clock_put_iso(&b, ms);
	jw_kv_c(w, key, b.p);
}

static bool takes_name(const struct cmd_option *options)
{
	for (; options->name; options++)
		if (options->letter == 'n')
			return true;
	return false;
}

/* Parses the options of one of these commands; 0 to go on, else *code is the exit code. */
static int begin(struct cmd_context *c, const struct cmd_option *options, int argc, char **argv, struct query_args *a,
		 int *code)
{
	struct err e = ERR_INIT;
	if (cmd_parse(c, options, false, argc, argv, &a->words, &e) < 0)
		*code = cmd_fail(c, &e);
	else if (c->help)
		*code = cmd_help(c);
	else if (a->words.n) {
		err_new(&e, ERR_USAGE, "unexpected word '%s'", a->words.v[0]);
		if (takes_name(options) && !a->name)
			err_new(&e, ERR_USAGE, "unexpected word '%s'; as in: slipway %s %s -n %s", a->words.v[0],
				c->cmd->noun, c->cmd->verb, a->words.v[0]);
		*code = cmd_fail(c, &e);
	} else if (a->generation < 0 || a->generation >= UINT32_MAX) {
		err_new(&e, ERR_USAGE, "--generation is a number from 1");
		*code = cmd_fail(c, &e);
	} else {
		return 0;
	}
	vec_release(&a->words);
	return -1;
}

/* -- list --------------------------------------------------------------------------------------------------------- */

static void put_environment(struct jw *w, const void *ctx, size_t i)
{
	const struct env_info *v = ctx;
	jw_kv_str(w, "name", v[i].name);
	jw_kv_int(w, "generation", v[i].current);
	jw_kv_int(w, "generations", v[i].generations_n);
	jw_kv_int(w, "packages", v[i].packages_n);
	put_json_time(w, "created", v[i].created_ms);
	put_json_time(w, "changed", v[i].changed_ms);
	jw_kv_str(w, "prefix", v[i].prefix);
}

/* What `install add` begins is there, and is no environment before its first version is active. */
static int beginnings(struct cmd_context *c, const struct env_info *v, size_t n, struct str **ret, size_t *ret_n,
		      struct err *e)
{
	struct str *all;
	size_t all_n;
	*ret_n = 0;
	if (cmd_all_environments(c, &all, &all_n, e) < 0)
		return -1;
	*ret = arena_array(&c->arena, struct str, all_n);
	for (size_t i = 0; i < all_n; i++) {
		bool listed = false;
		for (size_t k = 0; k < n; k++)
			listed |= str_eq(v[k].name, all[i]);
		if (!listed)
			(*ret)[(*ret_n)++] = all[i];
	}
	return 0;
}

static void list_table(struct cmd_context *c, const struct env_info *v, size_t n)
{
	static const char *const titles[] = {"Name", "Generation", "Packages", "Changed", "Prefix"};
	struct out_table t = {
		.titles = titles, .columns = 5, .right = 1 << 1 | 1 << 2, .whole = 1 | 1 << 1, .tail = 1 << 4};
	for (size_t i = 0; i < n; i++) {
		out_table_cell(&t, "%.*s", STR_ARG(v[i].name));
		out_table_cell(&t, "%u", v[i].current);
		out_table_cell(&t, "%u", v[i].packages_n);
		put_time(&t, v[i].changed_ms);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].prefix));
	}
	out_table_print(&c->out, &t);
}

int cmd_env_list(struct cmd_context *c, int argc, char **argv)
{
	struct query_args a = {0};
	struct err e = ERR_INIT;
	struct env_info *v;
	struct str *begun;
	size_t n, begun_n;
	int code;
	auto_answer answer = {0};
	if (begin(c, NULL, argc, argv, &a, &code) < 0)
		return code;
	if (cmd_need_state(c, true, &e) < 0 || env_list(c->state, &c->arena, &v, &n, &e) < 0)
		return cmd_fail(c, &e);
	if (c->json) {
		jw_kv_objects(cmd_answer(&answer), "environments", n, put_environment, v);
		return cmd_answer_print(c, &answer);
	}
	if (beginnings(c, v, n, &begun, &begun_n, &e) < 0)
		return cmd_fail(c, &e);
	if (n)
		list_table(c, v, n);
	for (size_t i = 0; i < begun_n; i++)
		cmd_say(c,
			"'%.*s' is added, and has no version yet: 'slipway install activate issu -n %.*s' goes on with it, "
			"'slipway install abort -n %.*s' takes it away",
			STR_ARG(begun[i]), STR_ARG(begun[i]), STR_ARG(begun[i]));
	if (!n && !begun_n)
		cmd_say(c, "no environments in '%s' yet; make one with: slipway env create -n NAME -c CHANNEL SPEC...",
			c->root_path);
	return CMD_OK;
}

/* -- history ------------------------------------------------------------------------------------------------------ */

static void put_generation(struct jw *w, const void *ctx, size_t i)
{
	const struct env_generation_info *g = ctx;
	jw_kv_int(w, "generation", g[i].number);
	jw_kv_bool(w, "current", g[i].current);
	put_json_time(w, "made", g[i].made_ms);
	jw_kv_str(w, "operation", g[i].operation);
	jw_kv_int(w, "packages", g[i].packages_n);
	jw_kv_int(w, "added", g[i].added);
	jw_kv_int(w, "removed", g[i].removed);
	jw_kv_int(w, "changed", g[i].changed);
	jw_kv_str(w, "command", g[i].command);
}

static void put_event(struct jw *w, const void *ctx, size_t i)
{
	const struct env_history_entry *h = ctx;
	put_json_time(w, "at", h[i].at_ms);
	jw_kv_str(w, "operation", h[i].operation);
	jw_kv_int(w, "from", h[i].from);
	jw_kv_int(w, "to", h[i].to);
	jw_kv_str(w, "result", h[i].result);
	jw_kv_str(w, "command", h[i].command);
}

static void put_number(struct out_table *t, uint32_t n)
{
	if (n)
		out_table_cell(t, "%u", n);
	else
		out_table_cell(t, "-");
}

static void history_tables(struct cmd_context *c, const struct env_generation_info *g, size_t gn,
			   const struct env_history_entry *h, size_t hn)
{
	static const char *const kept[] = {"Generation", "", "Made", "Packages", "Change", "By"};
	static const char *const events[] = {"When", "Operation", "From", "To", "Result"};
	struct out_table t = {.titles = kept, .columns = 6, .right = 1 | 1 << 3, .whole = 1 | 1 << 1 | 1 << 2};
	for (size_t i = 0; i < gn; i++) {
		out_table_cell(&t, "%u", g[i].number);
		out_table_cell(&t, g[i].current ? "current" : "");
		put_time(&t, g[i].made_ms);
		out_table_cell(&t, "%u", g[i].packages_n);
		out_table_cell(&t, "+%u ~%u -%u", g[i].added, g[i].changed, g[i].removed);
		out_table_cell(&t, "%.*s", STR_ARG(g[i].command));
	}
	if (gn)
		out_table_print(&c->out, &t);
	t = (struct out_table){.titles = events, .columns = 5, .right = 1 << 2 | 1 << 3, .whole = 1 | 1 << 1};
	for (size_t i = 0; i < hn; i++) {
		put_time(&t, h[i].at_ms);
		out_table_cell(&t, "%.*s", STR_ARG(h[i].operation));
		put_number(&t, h[i].from);
		put_number(&t, h[i].to);
		out_table_cell(&t, "%.*s", STR_ARG(h[i].result));
	}
	if (gn && hn)
		out_line(&c->out, "%s", "");
	if (hn)
		out_table_print(&c->out, &t);
}

int cmd_env_history(struct cmd_context *c, int argc, char **argv)
{
	struct query_args a = {0};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT, gone = ERR_INIT;
	struct env_generation_info *g = NULL;
	struct env_history_entry *h;
	size_t gn = 0, hn;
	struct str name;
	int code;
	auto_answer answer = {0};
	if (begin(c, options, argc, argv, &a, &code) < 0)
		return code;
	if (cmd_need_name(a.name, &name, &e) < 0 || cmd_need_state(c, true, &e) < 0 ||
	    env_history(c->state, &c->arena, name, &h, &hn, &e) < 0)
		return cmd_fail(c, &e);
	/* A removed environment has a history still. */
	if (env_generations(c->state, &c->arena, name, &g, &gn, &gone) < 0 && (gone.code != ERR_NOT_FOUND || !hn))
		return cmd_fail(c, &gone);
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_kv_objects(w, "generations", gn, put_generation, g);
		jw_kv_objects(w, "history", hn, put_event, h);
		return cmd_answer_print(c, &answer);
	}
	history_tables(c, g, gn, h, hn);
	return CMD_OK;
}

/* -- packages and export ------------------------------------------------------------------------------------------- */

static int read_lock(struct cmd_context *c, const struct query_args *a, struct env_spec_file *ret, struct err *e)
{
	struct str name;
	return cmd_need_name(a->name, &name, e) < 0 || cmd_need_state(c, true, e) < 0
		       ? -1
		       : env_generation_lock(c->state, &c->arena, name, (uint32_t)a->generation, ret, e);
}

static void put_package(struct jw *w, const void *ctx, size_t i)
{
	const struct env_spec_file *f = ctx;
	pkg_record_write(w, &f->packages[i].record);
	jw_kv_bool(w, "requested", f->packages[i].requested);
}

static void packages_table(struct cmd_context *c, const struct env_spec_file *f)
{
	static const char *const titles[] = {"Package", "Version", "Build", "Channel", "Asked for"};
	struct out_table t = {.titles = titles, .columns = 5, .whole = 1 | 1 << 1, .tail = 1 << 3};
	for (uint32_t i = 0; i < f->packages_n; i++) {
		const struct env_lock_package *p = &f->packages[i];
		out_table_cell(&t, "%.*s", STR_ARG(p->record.name));
		out_table_cell(&t, "%.*s", STR_ARG(p->record.version));
		out_table_cell(&t, "%.*s", STR_ARG(p->record.build));
		if (pkg_is_opam(p->record.name, NULL)) /* built here: its channel has no folder of the platform */
			out_table_cell(&t, "%.*s", STR_ARG(p->record.channel));
		else
			out_table_cell(&t, "%.*s/%.*s", STR_ARG(p->record.channel), STR_ARG(p->record.subdir));
		out_table_cell(&t, "%.*s", STR_ARG(p->requested_spec));
	}
	out_table_print(&c->out, &t);
}

int cmd_env_packages(struct cmd_context *c, int argc, char **argv)
{
	struct query_args a = {0};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "generation", CMD_NUMBER, &a.generation},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	struct env_spec_file f;
	int code;
	auto_answer answer = {0};
	if (begin(c, options, argc, argv, &a, &code) < 0)
		return code;
	if (read_lock(c, &a, &f, &e) < 0)
		return cmd_fail(c, &e);
	if (c->json) {
		jw_kv_objects(cmd_answer(&answer), "packages", f.packages_n, put_package, &f);
		return cmd_answer_print(c, &answer);
	}
	packages_table(c, &f);
	return CMD_OK;
}

enum export_format { EXPORT_SPR, EXPORT_EXPLICIT, EXPORT_YML };
static const char *const export_formats[] = {"spr", "explicit", "yml"};

static int choose_format(const struct query_args *a, enum export_format *ret, struct err *e)
{
	static const char *const *const words = export_formats;
	*ret = a->explicit_list ? EXPORT_EXPLICIT : a->yml ? EXPORT_YML : EXPORT_SPR;
	for (size_t i = 0; a->format && i < 3; i++)
		if (strcmp(a->format, words[i]) == 0)
			*ret = (enum export_format)i;
	if (a->format && strcmp(a->format, words[*ret]) != 0)
		return err_new(e, ERR_USAGE, "--format is one of spr, explicit, yml, not '%s'", a->format);
	if (!!a->format + a->explicit_list + a->yml > 1)
		return err_new(e, ERR_USAGE, "--format, --explicit and --yml: one of them");
	if (a->no_builds && *ret != EXPORT_YML)
		return err_new(e, ERR_USAGE, "--no-builds goes with --yml");
	return 0;
}

/* Those formats are conda's. */
static int check_kinds(const struct env_spec_file *f, enum export_format format, struct err *e)
{
	for (uint32_t i = 0; i < f->packages_n; i++)
		if (format != EXPORT_SPR && pkg_is_opam(f->packages[i].record.name, NULL))
			return err_new(
				e, ERR_UNSUPPORTED,
				"the environment has opam packages ('%.*s'), which only a recipe holds: leave out the format",
				STR_ARG(f->packages[i].record.name));
	return 0;
}

int cmd_env_export(struct cmd_context *c, int argc, char **argv)
{
	struct query_args a = {0};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},   {0, "generation", CMD_NUMBER, &a.generation},
		{0, "format", CMD_TEXT, &a.format}, {0, "explicit", CMD_FLAG, &a.explicit_list},
		{0, "yml", CMD_FLAG, &a.yml},	    {0, "no-builds", CMD_FLAG, &a.no_builds},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	struct env_spec_file f;
	enum export_format format;
	int code;
	auto_answer answer = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	if (begin(c, options, argc, argv, &a, &code) < 0)
		return code;
	if (choose_format(&a, &format, &e) < 0 || read_lock(c, &a, &f, &e) < 0 || check_kinds(&f, format, &e) < 0)
		return cmd_fail(c, &e);
	switch (format) {
	case EXPORT_SPR:
		env_file_write_spr(&f, &b);
		break;
	case EXPORT_EXPLICIT:
		env_file_write_explicit(&f, &b);
		break;
	case EXPORT_YML:
		env_file_write_yml(&f, !a.no_builds, &b);
		break;
	}
	if (f.components_n && format != EXPORT_SPR)
		cmd_say(c, "note: only a .spr holds the %u component%s of this environment's recipe", f.components_n,
			f.components_n == 1 ? "" : "s");
	if (!c->json)
		return cmd_print(c, &b);
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "environment", a.name);
	jw_kv_c(w, "format", export_formats[format]);
	jw_kv_str(w, "text", buf_str(&b));
	return cmd_answer_print(c, &answer);
}

/* -- check -------------------------------------------------------------------------------------------------------- */

struct check {
	struct cmd_context *c;
	struct out_table table;
	struct jw *w; /* with --json */
};

static void on_difference(void *ctx, const char *path, const char *what, const char *detail, struct str package)
{
	struct check *k = ctx;
	if (k->w) {
		jw_object(k->w);
		jw_kv_c(k->w, "path", path);
		jw_kv_c(k->w, "what", what);
		jw_kv_str(k->w, "package", package);
		jw_kv_c(k->w, "detail", detail);
		jw_object_end(k->w);
		return;
	}
	out_table_cell(&k->table, "%s", what);
	out_table_cell(&k->table, "%s", path);
	out_table_cell(&k->table, "%.*s", STR_ARG(package));
	out_table_cell(&k->table, "%s", detail);
}

int cmd_env_check(struct cmd_context *c, int argc, char **argv)
{
	static const char *const titles[] = {"What", "Path", "Package", "How"};
	struct query_args a = {0};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "generation", CMD_NUMBER, &a.generation},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	struct str name;
	auto_answer answer = {0};
	int code;
	if (begin(c, options, argc, argv, &a, &code) < 0)
		return code;
	struct check k = {.c = c, .table = {.titles = titles, .columns = 4, .whole = 1 | 1 << 1}};
	if (cmd_need_name(a.name, &name, &e) < 0 || cmd_need_state(c, true, &e) < 0)
		return cmd_fail(c, &e);
	if (c->json) {
		k.w = cmd_answer(&answer);
		jw_key(k.w, "differences");
		jw_array(k.w);
	}
	int64_t n = env_differences(c->state, name, (uint32_t)a.generation, true, on_difference, &k, &e);
	if (n < 0) {
		out_table_release(&k.table);
		return cmd_fail(c, &e);
	}
	if (k.w) {
		jw_array_end(k.w);
		cmd_answer_print(c, &answer);
	} else if (n) {
		out_table_print(&c->out, &k.table);
	}
	cmd_say(c,
		n ? "%lld paths differ from what was laid out; 'slipway apply RECIPE -n %.*s --sync --syncmode=delete' puts them right"
		  : "%lld paths differ: '%.*s' is as it was laid out",
		(long long)n, STR_ARG(name));
	return n ? CMD_FAILED : CMD_OK;
}

/* -- remove ------------------------------------------------------------------------------------------------------- */

static int removed_answer(struct cmd_context *c, const struct env_info *info)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_str(w, "environment", info->name);
	jw_kv_c(w, "operation", "remove");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_int(w, "generations", info->generations_n);
	jw_kv_int(w, "packages", info->packages_n);
	jw_kv_str(w, "prefix", info->prefix);
	return cmd_answer_print(c, &answer);
}

static int refuse_beginning(struct cmd_context *c, const char *name, struct err *e)
{
	struct env_info info;
	struct upgrade_status s;
	if (!name || env_name_check(str_c(name), e) < 0 || cmd_need_state(c, c->dry_run, e) < 0)
		return name ? -1 : 0; /* cmd_hold asks for a name */
	int there = env_find(c->state, &c->arena, str_c(name), &info, e);
	if (there || upgrade_find_status(c->state, &c->arena, str_c(name), &s, e) < 0)
		return there < 0 || !there ? -1 : 0;
	return s.in_progress
		       ? err_new(e, ERR_FAILED,
				 "'%s' has no version yet: its first one is in state '%.*s'; 'slipway install abort -n "
				 "%s' takes it away",
				 name, STR_ARG(s.state), name)
		       : 0;
}

int cmd_env_remove(struct cmd_context *c, int argc, char **argv)
{
	struct query_args a = {.wait_s = CMD_DEFAULT_WAIT_S};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name},
		{0, "wait", CMD_NUMBER, &a.wait_s},
		{0, "override-frozen", CMD_FLAG, &a.override_frozen},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	struct env_info info;
	struct env_opts o = {.command = c->command_line, .who = cmd_who(c), .clock = &clock_system};
	auto_ptr(env_hold) hold = NULL;
	int code;
	if (begin(c, options, argc, argv, &a, &code) < 0)
		return code;
	if (refuse_beginning(c, a.name, &e) < 0 || cmd_hold(c, a.name, a.wait_s, &info, &hold, &e) < 0 ||
	    cmd_refuse_in_progress(c, info.name, hold, &e) < 0 ||
	    (!a.override_frozen && env_refuse_frozen(c->state, info.name, &e) < 0))
		return cmd_fail(c, &e);
	cmd_say(c, "'%.*s': %u generation%s, %u packages in the current one, in %.*s", STR_ARG(info.name),
		info.generations_n, info.generations_n == 1 ? "" : "s", info.packages_n, STR_ARG(info.prefix));
	int paired = cmd_is_paired(c, &e);
	if (paired < 0)
		return cmd_fail(c, &e);
	if (paired)
		cmd_say(c, "note: this removes '%.*s' on this member of the pair alone", STR_ARG(info.name));
	if (!c->dry_run)
		cmd_if_interrupted(c,
				   "'slipway env list' shows whether '%.*s' is removed; files that are left of it go "
				   "with the next change",
				   STR_ARG(info.name));
	if (!c->dry_run && (cmd_stop_services(c, info.name, &e) < 0 || env_remove(hold, &o, &e) < 0))
		return cmd_fail(c, &e);
	if (!c->dry_run)
		cmd_changed(c);
	if (!c->dry_run)
		cmd_say(c,
			"'%.*s' is removed; its history stays ('slipway env history -n %.*s'), its packages stay in the store until "
			"'slipway store gc'",
			STR_ARG(info.name), STR_ARG(info.name));
	return c->json ? removed_answer(c, &info) : CMD_OK;
}
