// SPDX-License-Identifier: Apache-2.0
/*
 * spot: the patch tool's own command line, with the options that its users know. Each is a command of slipway's; what is added here
 * is the words, thin snapshots before and after, and release notes.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/url.h"
#include "cmd/catalogues.h"
#include "cmd/change.h"
#include "cmd/snapshots.h"
#include "cmd/takeout.h"
#include "mirror/mirror.h"

enum { ANSWER_MAX = 1 << 20, WORDS_MAX = 24 };

struct spot_args {
	const char *updates, *snapshot, *prepare, *apply, *enroll, *code, *environment, *sync_mode;
	bool mirrors, ping, sync, start, stop, list;
	struct cmd_list words;
};

/* -- which environment ------------------------------------------------------------------------------------------------ */

/* The one that was named, or the only one there is; NULL: the recipe says, or it is an error later. */
static int choose_environment(struct cmd_context *c, struct spot_args *a, struct err *e)
{
	struct env_info *v = NULL;
	size_t n = 0;
	if (a->environment)
		return env_name_check(str_c(a->environment), e);
	if (cmd_need_state(c, true, e) < 0 || env_list(c->state, &c->arena, &v, &n, e) < 0)
		return -1;
	if (n == 1)
		a->environment = arena_strdup(&c->arena, v[0].name);
	return 0;
}

static int need_environment(struct cmd_context *c, struct spot_args *a, struct err *e)
{
	if (choose_environment(c, a, e) < 0)
		return -1;
	return a->environment
		       ? 0
		       : err_new(e, ERR_USAGE,
				 "which installation? name it with --environment=NAME; 'slipway env list' shows them");
}

static int installed(struct cmd_context *c, const char *name, struct env_spec_file *ret, struct err *e)
{
	struct env_info info;
	*ret = (struct env_spec_file){0};
	if (!name || cmd_need_state(c, true, e) < 0)
		return name ? -1 : 0;
	int there = env_find(c->state, &c->arena, str_c(name), &info, e);
	return there <= 0 ? there : env_generation_lock(c->state, &c->arena, str_c(name), 0, ret, e) < 0 ? -1 : 1;
}

/* Another command of this program, by its words. What this one has opened is its own again. */
static int call(struct cmd_context *c, int (*fn)(struct cmd_context *c, int argc, char **argv),
		const char *const *words, size_t n)
{
	char *argv[WORDS_MAX];
	for (size_t i = 0; i < n; i++)
		argv[i] = arena_strdup(&c->arena, str_c(words[i]));
	env_state_free(c->state); /* it may be open for reading alone */
	c->state = NULL;
	return fn(c, (int)n, argv);
}

/* -- the mirror ------------------------------------------------------------------------------------------------------- */

static int get_json(struct cmd_context *c, struct str updates, const char *path, const struct json **ret, struct err *e)
{
	auto_buf b = BUF_INIT(ANSWER_MAX);
	if (cmd_updates_get(c, updates, path, 0, NULL, &b, e) < 0)
		return -1;
	*ret = json_parse(&c->arena, arena_str(&c->arena, buf_str(&b)), path, e);
	return *ret ? 0 : -1;
}

static int ping(struct cmd_context *c, struct err *e)
{
	const struct json *j = NULL;
	struct str updates;
	auto_buf b = BUF_INIT(ANSWER_MAX);
	auto_answer answer = {0};
	int64_t begun = clock_mono_ms();
	if (cmd_need_updates(c, &updates, e) < 0 || get_json(c, updates, "api/ping", &j, e) < 0)
		return -1;
	long long took = (long long)(clock_mono_ms() - begun);
	struct str client = json_text(j, "client");
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_kv_str(w, "url", updates);
		jw_kv_int(w, "took_ms", took);
		for (uint32_t i = 0; j->type == JSON_OBJECT && i < j->n; i++) {
			jw_key_str(w, j->member[i].key);
			jw_value(w, &j->member[i].value);
		}
		return cmd_answer_print(c, &answer);
	}
	buf_printf(&b, "%.*s answers in %lld ms: mirror '%.*s', version %.*s\n", STR_ARG(updates), took,
		   STR_ARG(json_text(j, "mirror")), STR_ARG(json_text(j, "version")));
	if (client.n)
		buf_printf(&b, "this host is enrolled there as '%.*s'\n", STR_ARG(client));
	else if (json_text(j, "why").n)
		buf_printf(&b, "it does not know this host: %.*s\n", STR_ARG(json_text(j, "why")));
	else
		buf_put_c(&b, "this host is not enrolled there: it may have what is not private\n");
	return cmd_print(c, &b);
}

static void put_row(struct out_table *t, int64_t priority, struct str id, struct str name, struct str url, bool in_use)
{
	out_table_cell(t, "%lld", (long long)priority);
	out_table_cell(t, "%.*s", STR_ARG(id));
	out_table_cell(t, "%.*s", STR_ARG(name));
	out_table_cell(t, "%.*s", STR_ARG(url));
	out_table_cell(t, in_use ? "[X]" : "");
}

/* The mirror itself is what this host prefers to all others. */
enum { OWN_PRIORITY = 100 };

static int mirrors(struct cmd_context *c, struct err *e)
{
	static const char *const titles[] = {"Priority", "Id", "Name", "Url", ""};
	struct out_table t = {.titles = titles, .columns = 5, .whole = 1 | 1 << 1};
	const struct json *j = NULL, *list = NULL;
	struct str updates;
	auto_answer answer = {0};
	if (cmd_need_updates(c, &updates, e) < 0 || get_json(c, updates, "api/mirrors", &j, e) < 0 ||
	    json_opt_array(j, "upstreams", &list, e) < 0)
		return -1;
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_kv_str(w, "url", updates);
		jw_kv_str(w, "mirror", json_text(j, "mirror"));
		jw_key(w, "upstreams");
		if (list)
			jw_value(w, list);
		else
			jw_null(w);
		return cmd_answer_print(c, &answer);
	}
	put_row(&t, OWN_PRIORITY, STR("x"), json_text(j, "mirror"), updates, true);
	for (uint32_t i = 0; list && i < list->n; i++) {
		const struct json *u = &list->item[i];
		int64_t priority = 0;
		struct err ignored = ERR_INIT;
		(void)json_opt_int(u, "priority", &priority, &ignored);
		put_row(&t, priority, json_text(u, "id"), json_text(u, "name"), json_text(u, "url"), false);
	}
	out_table_print(&c->out, &t);
	cmd_say(c, "Please use spot --mirrors --updates={Url} to set the upstream mirror");
	return CMD_OK;
}

static int set_updates(struct cmd_context *c, const struct spot_args *a, struct err *e)
{
	struct str url;
	auto_answer answer = {0};
	if (!a->updates)
		return 0;
	if (cmd_updates_set(c, a->updates, &url, e) < 0)
		return -1;
	cmd_say(c, "%s come from %.*s", c->dry_run ? "updates would" : "updates", STR_ARG(url));
	if (!c->json || a->ping || a->mirrors)
		return 0;
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "updates");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_str(w, "url", url);
	return cmd_answer_print(c, &answer);
}

/* -- recipes ---------------------------------------------------------------------------------------------------------- */

/* What is new for this installation, before anything is done. */
static int show_notes(struct cmd_context *c, const struct spot_args *a, const char *recipe, struct err *e)
{
	struct env_spec_file have, file = {0};
	auto_buf notes = BUF_INIT(ANSWER_MAX);
	if (!cmd_is_takeout(recipe) || c->json || c->quiet)
		return 0;
	int there = installed(c, a->environment, &have, e);
	if (there < 0 || cmd_takeout_read(c, recipe, &file, e) < 0 ||
	    cmd_takeout_notes(c, recipe, there ? &have : NULL, &file, &notes, e) < 0)
		return -1;
	if (notes.n)
		out_put_remark(&c->out, buf_str(&notes));
	return 0;
}

static int change(struct cmd_context *c, struct spot_args *a, const char *recipe, bool prepare_only, struct err *e)
{
	const char *words[WORDS_MAX];
	size_t n = 0;
	int both = prepare_only || a->sync ? 0 : cmd_is_paired(c, e);
	if (both < 0 || choose_environment(c, a, e) < 0 || show_notes(c, a, recipe, e) < 0)
		return -1;
	if (a->environment) {
		words[n++] = "-n";
		words[n++] = a->environment;
	}
	if (!c->offline)
		words[n++] = "--refresh"; /* what was published a moment ago is asked for by name */
	if (a->sync)
		words[n++] = "--sync";
	if (a->sync_mode) {
		words[n++] = "--syncmode";
		words[n++] = a->sync_mode;
	}
	if (both)
		words[n++] = "-f";
	words[n++] = recipe;
	if (cmd_is_takeout(recipe))
		cmd_catalogues_say(c);
	if (both) { /* members of a pair are upgraded together, one after the other, in one go */
		words[n++] = "activate";
		words[n++] = "issu";
		words[n++] = "commit";
		return call(c, cmd_install_add, words, n);
	}
	return call(c, prepare_only ? cmd_prepare : cmd_apply, words, n);
}

static int check_recipe(const char *recipe, struct err *e)
{
	return !cmd_is_takeout(recipe) && strchr(recipe, ',') && !fs_exists(AT_FDCWD, recipe)
		       ? err_new(e, ERR_USAGE,
				 "'%s': only recipes of a mirror (to:A.spr,to:B.spr) can be taken together", recipe)
		       : 0;
}

static int snapshot(struct cmd_context *c, struct spot_args *a, struct err *e)
{
	struct env_spec_file lock;
	auto_buf b = BUF_INIT(BUF_MAX);
	auto_answer answer = {0};
	if (need_environment(c, a, e) < 0)
		return -1;
	int there = installed(c, a->environment, &lock, e);
	if (there <= 0)
		return there < 0 ? -1
				 : err_new(e, ERR_NOT_FOUND,
					   "there is no environment '%s'; 'slipway env list' shows those there are",
					   a->environment);
	env_file_write_spr(&lock, &b);
	if (!c->dry_run) {
		if (fs_replace(AT_FDCWD, a->snapshot, b.p, b.n, FS_REPLACE_SYNC, e) < 0)
			return -1;
		cmd_changed(c);
		cmd_snapshot_store(c, str_c(a->environment), &lock, MIRROR_SNAPSHOT_NOW, NULL);
	}
	cmd_say(c, "%s '%s': %u package%s of '%s'", c->dry_run ? "would write" : "wrote", a->snapshot, lock.packages_n,
		lock.packages_n == 1 ? "" : "s", a->environment);
	if (!c->json)
		return CMD_OK;
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "snapshot");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "environment", a->environment);
	jw_kv_c(w, "file", a->snapshot);
	jw_kv_int(w, "packages", lock.packages_n);
	return cmd_answer_print(c, &answer);
}

static int start_or_stop(struct cmd_context *c, struct spot_args *a, struct err *e)
{
	if (need_environment(c, a, e) < 0)
		return -1;
	return call(c, a->start ? cmd_start : cmd_stop, &a->environment, 1);
}

/* -- enrolment ---------------------------------------------------------------------------------------------------------- */

/* mirror:NAME:HOST: this folder becomes a private mirror of that name. With a code it is enrolled with the mirror that it follows. */
static int enroll(struct cmd_context *c, struct spot_args *a, struct err *e)
{
	struct str rest = str_c(a->enroll), name;
	struct str updates = STR_NONE;
	if (!str_take_str(&rest, STR("mirror:")) || !str_take_until(&rest, ':', &name) || !name.n || !rest.n)
		return err_new(
			e, ERR_USAGE,
			"'%s': write --enroll=mirror:NAME:HOST, with the name that you agreed on and the DNS name that clients use",
			a->enroll);
	const char *init[] = {".", "--name", arena_strdup(&c->arena, name), "--host", arena_strdup(&c->arena, rest)};
	int known = cmd_updates(c, &updates, e);
	if (known < 0)
		return -1;
	if (a->code && !known)
		return err_new(e, ERR_USAGE, "a code of which mirror? name it with --updates=URL");
	if (!fs_exists(AT_FDCWD, "mirror.yaml")) {
		int code = call(c, cmd_mirror_init, init, sizeof(init) / sizeof(*init));
		if (code != CMD_OK)
			return code;
	} else
		cmd_say(c, "this folder is a mirror already: mirror.yaml is there");
	if (!a->code) {
		cmd_say(c, "%s",
			known ? "to be enrolled with the mirror that it follows, ask its keeper for a code and say it with --code=CODE"
			      : "next: name the mirror that it follows with 'slipway spot --updates=URL'");
		return CMD_OK;
	}
	const char *words[] = {"--code", a->code, "--name", init[2], arena_strdup(&c->arena, updates)};
	return call(c, cmd_enroll, words, sizeof(words) / sizeof(*words));
}

/* -- the command line --------------------------------------------------------------------------------------------------- */

static int count(const struct spot_args *a)
{
	return (a->snapshot != NULL) + (a->prepare != NULL) + (a->apply != NULL) + (a->enroll != NULL) + a->start +
	       a->stop + a->list;
}

static int run(struct cmd_context *c, struct spot_args *a, struct err *e)
{
	if (a->words.n)
		return err_new(e, ERR_USAGE, "unexpected word '%s'; 'spot --help' shows the options", a->words.v[0]);
	if (count(a) > 1)
		return err_new(e, ERR_USAGE,
			       "one of --snapshot, --prepare, --apply, --start, --stop, --list and --enroll at a time");
	if ((a->sync || a->sync_mode) && !a->apply)
		return err_new(e, ERR_USAGE, "--sync and --syncmode go with --apply");
	if (count(a) == 0 && !a->mirrors && !a->ping && !a->updates)
		return err_new(e, ERR_USAGE, "nothing to do; 'spot --help' shows the options");
	const char *recipe = a->apply ? a->apply : a->prepare;
	if ((recipe && check_recipe(recipe, e) < 0) || set_updates(c, a, e) < 0)
		return -1;
	if (a->enroll)
		return enroll(c, a, e);
	if (recipe)
		return change(c, a, recipe, a->prepare != NULL, e);
	if (a->snapshot)
		return snapshot(c, a, e);
	if (a->start || a->stop)
		return start_or_stop(c, a, e);
	if (a->list) {
		cmd_catalogues_say(c);
		return cmd_takeout_list(c, e);
	}
	if (a->ping && ping(c, e) < 0)
		return -1;
	return a->mirrors ? mirrors(c, e) : CMD_OK;
}

int cmd_spot(struct cmd_context *c, int argc, char **argv)
{
	struct spot_args a = {0};
	const struct cmd_option options[] = {
		{0, "updates", CMD_TEXT, &a.updates},
		{0, "snapshot", CMD_TEXT, &a.snapshot},
		{0, "prepare", CMD_TEXT, &a.prepare},
		{0, "apply", CMD_TEXT, &a.apply},
		{0, "enroll", CMD_TEXT, &a.enroll},
		{0, "code", CMD_TEXT, &a.code},
		{'n', "environment", CMD_TEXT, &a.environment},
		{0, "syncmode", CMD_TEXT, &a.sync_mode},
		{0, "mirrors", CMD_FLAG, &a.mirrors},
		{0, "ping", CMD_FLAG, &a.ping},
		{0, "sync", CMD_FLAG, &a.sync},
		{0, "start", CMD_FLAG, &a.start},
		{0, "stop", CMD_FLAG, &a.stop},
		{0, "list", CMD_FLAG, &a.list},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int code = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	code = code < 0 ? -1 : c->help ? cmd_help(c) : run(c, &a, &e);
	vec_release(&a.words);
	return code < 0 ? cmd_fail(c, &e) : code;
}
