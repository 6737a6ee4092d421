// SPDX-License-Identifier: Apache-2.0
/* snapshot list, show, diff; and what is stored before and after each operation. */
#include "cmd/snapshots.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "base/url.h"
#include "cmd/change.h"
#include "cmd/takeout.h"

enum { ANSWER_MAX = 16 << 20 };

/* -- making one ------------------------------------------------------------------------------------------------------- */

static uint32_t channel_place(struct cmd_context *c, struct str *channels, uint32_t *n, struct str url)
{
	auto_buf shown = BUF_INIT(URL_MAX);
	url_put_shown(&shown, url);
	for (uint32_t i = 0; i < *n; i++)
		if (str_eq(channels[i], buf_str(&shown)))
			return i;
	if (*n == MIRROR_SNAPSHOT_CHANNELS)
		return 0;
	channels[*n] = arena_str(&c->arena, buf_str(&shown));
	return (*n)++;
}

static void make(struct cmd_context *c, struct str env, const struct env_spec_file *lock,
		 enum mirror_snapshot_when when, const char *operation, struct mirror_snapshot *ret)
{
	struct str *channels = arena_array(&c->arena, struct str, MIRROR_SNAPSHOT_CHANNELS);
	struct mirror_snapshot_package *v =
		arena_array(&c->arena, struct mirror_snapshot_package, (size_t)lock->packages_n + 1);
	*ret = (struct mirror_snapshot){.environment = env,
					.when = when,
					.operation = str_c(operation ? operation : ""),
					.channels = channels,
					.packages = v};
	for (uint32_t i = 0; i < lock->packages_n; i++) {
		const struct pkg_record *r = &lock->packages[i].record;
		v[ret->packages_n++] = (struct mirror_snapshot_package){
			.name = r->name,
			.version = r->version,
			.build = r->build,
			.subdir = r->subdir.n ? r->subdir : STR("noarch"),
			.channel = channel_place(c, channels, &ret->channels_n, r->channel),
		};
	}
}

/* -- the mirror -------------------------------------------------------------------------------------------------------- */

/* 1; 0: this host is enrolled nowhere that updates come from. */
static int find_mirror(struct cmd_context *c, struct str *ret, struct err *e)
{
	struct mirror_enrolled *v = NULL;
	size_t n = 0;
	int rc = cmd_updates(c, ret, e);
	if (rc <= 0)
		return rc;
	if (mirror_enrolled_list(c->root_fd, c->root_path, &c->arena, &v, &n, e) < 0)
		return -1;
	return mirror_enrolled_at(v, n, *ret) != NULL;
}

static int post(struct cmd_context *c, struct str updates, struct str text, struct err *e)
{
	auto_free char *url = xasprintf("%.*s/api/snapshots", STR_ARG(updates));
	auto_buf ignored = BUF_INIT(ANSWER_MAX);
	struct transfer_request r = {.url = url, .post = text, .label = "snapshot"};
	return cmd_fetch(c, &r, &ignored, e);
}

void cmd_snapshot_store(struct cmd_context *c, struct str env, const struct env_spec_file *lock,
			enum mirror_snapshot_when when, const char *operation)
{
	auto_buf b = BUF_INIT(MIRROR_SNAPSHOT_MAX);
	struct mirror_snapshot s;
	struct str updates;
	struct err e = ERR_INIT;
	if (c->offline || c->dry_run || c->mirror_is_away)
		return;
	int rc = find_mirror(c, &updates, &e);
	if (rc == 0)
		return;
	make(c, env, lock, when, operation, &s);
	mirror_snapshot_write(&s, &b);
	if (rc > 0 && post(c, updates, buf_str(&b), &e) == 0)
		return;
	c->mirror_is_away = e.code == ERR_NETWORK;
	cmd_say(c, "note: the mirror did not take the thin snapshot: %s", e.msg);
}

static int need_mirror(struct cmd_context *c, struct str *ret, struct err *e)
{
	int rc = find_mirror(c, ret, e);
	return rc ? rc
		  : err_new(e, ERR_USAGE,
			    "this host is not enrolled with a mirror that updates come from; 'slipway enroll' and 'slipway spot --updates=URL'");
}

static int get(struct cmd_context *c, const char *id, struct mirror_snapshot *ret, struct str *ret_text, struct err *e)
{
	auto_buf b = BUF_INIT(MIRROR_SNAPSHOT_MAX);
	struct str updates;
	uint64_t number;
	if (!str_to_u64(str_c(id), &number))
		return err_new(e, ERR_USAGE, "'%s' is no snapshot's number; 'slipway snapshot list' shows them", id);
	if (need_mirror(c, &updates, e) < 0)
		return -1;
	if (cmd_updates_get(c, updates, arena_printf(&c->arena, "api/snapshots/%llu", (unsigned long long)number), 0,
			    NULL, &b, e) < 0)
		return e->code != ERR_NOT_FOUND
			       ? -1
			       : err_new(e, ERR_NOT_FOUND,
					 "the mirror has no snapshot %s of this host; 'slipway snapshot list' shows those it has",
					 id);
	*ret_text = arena_str(&c->arena, buf_str(&b));
	return mirror_snapshot_parse(&c->arena, *ret_text, arena_printf(&c->arena, "snapshot %s", id), ret, e);
}

/* -- list --------------------------------------------------------------------------------------------------------------- */

struct snapshot_args {
	const char *name;
	bool recipe;
	struct cmd_list words;
};

static int run(struct cmd_context *c, int argc, char **argv,
	       int (*fn)(struct cmd_context *c, struct snapshot_args *a, struct err *e))
{
	struct snapshot_args a = {0};
	const struct cmd_option options[] = {
		{'n', "name", CMD_TEXT, &a.name}, {0, "recipe", CMD_FLAG, &a.recipe}, {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int code = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	code = code < 0 ? -1 : c->help ? cmd_help(c) : fn(c, &a, &e);
	vec_release(&a.words);
	return code < 0 ? cmd_fail(c, &e) : code;
}

static int list(struct cmd_context *c, struct snapshot_args *a, struct err *e)
{
	static const char *const titles[] = {"Number", "Stored (UTC)", "Environment", "When", "Packages"};
	struct out_table t = {.titles = titles, .columns = 5, .right = 1 | 1 << 4, .whole = 1};
	auto_buf b = BUF_INIT(ANSWER_MAX), path = BUF_INIT(URL_MAX);
	auto_answer answer = {0};
	const struct json *v = NULL;
	struct str updates;
	if (a->name && env_name_check(str_c(a->name), e) < 0)
		return -1;
	buf_printf(&path, "api/snapshots%s%s", a->name ? "?environment=" : "", a->name ? a->name : "");
	if (need_mirror(c, &updates, e) < 0 || cmd_updates_get(c, updates, path.p, 0, NULL, &b, e) < 0)
		return -1;
	const struct json *j = json_parse(&c->arena, arena_str(&c->arena, buf_str(&b)), "the mirror's answer", e);
	if (!j || json_opt_array(j, "snapshots", &v, e) < 0)
		return -1;
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_key(w, "snapshots");
		if (v)
			jw_value(w, v);
		else
			jw_null(w);
		return cmd_answer_print(c, &answer);
	}
	for (uint32_t i = 0; v && i < v->n; i++) {
		const struct json *s = &v->item[i];
		out_table_cell(&t, "%lld", (long long)json_number(s, "id"));
		auto_buf stored = BUF_INIT(64);
		clock_put_table(&stored, json_number(s, "taken_ms"));
		out_table_cell(&t, "%s", stored.p);
		out_table_cell(&t, "%.*s", STR_ARG(json_text(s, "environment")));
		out_table_cell(&t, "%.*s %.*s", STR_ARG(json_text(s, "when")), STR_ARG(json_text(s, "operation")));
		out_table_cell(&t, "%lld", (long long)json_number(s, "packages"));
	}
	if (v && v->n)
		out_table_print(&c->out, &t);
	else
		cmd_say(c, "the mirror has no snapshots of this host");
	return CMD_OK;
}

int cmd_snapshot_list(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, list);
}

/* -- show and diff ------------------------------------------------------------------------------------------------------ */

int cmd_snapshot_print(struct cmd_context *c, const struct mirror_snapshot *s, struct str text_of, bool recipe)
{
	auto_buf b = BUF_INIT(2 * MIRROR_SNAPSHOT_MAX);
	auto_answer answer = {0};
	if (recipe)
		mirror_snapshot_recipe(s, &b);
	else
		buf_put_str(&b, text_of);
	if (!c->json)
		return cmd_print(c, &b);
	struct jw *w = cmd_answer(&answer);
	jw_kv_str(w, "environment", s->environment);
	jw_kv_int(w, "packages", s->packages_n);
	jw_kv_str(w, "text", buf_str(&b));
	return cmd_answer_print(c, &answer);
}

static int show(struct cmd_context *c, struct snapshot_args *a, struct err *e)
{
	struct mirror_snapshot s;
	struct str text_of;
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE,
			       "which snapshot? as in: slipway snapshot show 12; 'slipway snapshot list' shows them");
	if (get(c, a->words.v[0], &s, &text_of, e) < 0)
		return -1;
	return cmd_snapshot_print(c, &s, text_of, a->recipe);
}

int cmd_snapshot_show(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, show);
}

static void put_difference(struct jw *w, const void *ctx, size_t i)
{
	const struct mirror_snapshot_difference *d = (const struct mirror_snapshot_difference *)ctx + i;
	jw_kv_str(w, "name", (d->new ? d->new : d->old)->name);
	jw_kv_str(w, "old", d->old ? d->old->version : STR_NONE);
	jw_kv_str(w, "new", d->new ? d->new->version : STR_NONE);
	jw_kv_str(w, "old_build", d->old ? d->old->build : STR_NONE);
	jw_kv_str(w, "new_build", d->new ? d->new->build : STR_NONE);
}

static void put_side(struct out_table *t, const struct mirror_snapshot_package *p)
{
	out_table_cell(t, "%.*s", STR_ARG(p ? p->version : STR("")));
	out_table_cell(t, "%.*s", STR_ARG(p ? p->build : STR("")));
}

int cmd_snapshot_print_difference(struct cmd_context *c, const struct mirror_snapshot *old,
				  const struct mirror_snapshot *new)
{
	static const char *const titles[] = {"Package", "Old version", "Build", "New version", "Build"};
	struct out_table t = {.titles = titles, .columns = 5, .whole = 1};
	auto_answer answer = {0};
	struct mirror_snapshot_difference *v;
	uint32_t n = mirror_snapshot_compare(old, new, &c->arena, &v);
	if (c->json) {
		jw_kv_objects(cmd_answer(&answer), "differences", n, put_difference, v);
		return cmd_answer_print(c, &answer);
	}
	for (uint32_t i = 0; i < n; i++) {
		out_table_cell(&t, "%.*s", STR_ARG((v[i].new ? v[i].new : v[i].old)->name));
		put_side(&t, v[i].old);
		put_side(&t, v[i].new);
	}
	if (n)
		out_table_print(&c->out, &t);
	else
		cmd_say(c, "both say the same");
	return CMD_OK;
}

static int diff(struct cmd_context *c, struct snapshot_args *a, struct err *e)
{
	struct mirror_snapshot old, new;
	struct str ignored;
	if (a->words.n != 2)
		return err_new(e, ERR_USAGE, "which two snapshots? as in: slipway snapshot diff 12 13");
	if (get(c, a->words.v[0], &old, &ignored, e) < 0 || get(c, a->words.v[1], &new, &ignored, e) < 0)
		return -1;
	return cmd_snapshot_print_difference(c, &old, &new);
}

int cmd_snapshot_diff(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, diff);
}
