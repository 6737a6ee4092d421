// SPDX-License-Identifier: Apache-2.0
/* mirror snapshots: what all clients have stored, for the mirror's keeper. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "cmd/change.h"
#include "cmd/snapshots.h"
#include "mirror/mirror.h"

enum { SHOWN_MAX = 1000 };

struct keeper_args {
	const char *client, *environment;
	bool recipe;
	struct cmd_list words;
};
struct keeper {
	struct mirror *m;
	struct mirror_snapshots *s;
};
static void keeper_release(struct keeper *k)
{
	mirror_snapshots_free(k->s);
	mirror_close(k->m);
}
#define auto_keeper cleanup_with(keeper_release) struct keeper

static int open_keeper(const char *dir, struct keeper *ret, struct err *e)
{
	if (mirror_open(dir, &ret->m, e) < 0)
		return -1;
	if (mirror_is_plain(ret->m))
		return err_new(e, ERR_USAGE, "'%s' is a folder that follows a channel: no client stores anything there",
			       dir);
	if (mirror_snapshots_open(mirror_db_path(ret->m), &ret->s, e) < 0)
		return -1;
	mirror_snapshots_configure(ret->m, ret->s);
	return 0;
}

/* -- which one ------------------------------------------------------------------------------------------------------ */

/* A number, or CLIENT[/ENVIRONMENT][@TIME]: the newest one, or the newest by then. */
static int find(struct keeper *k, const struct keeper_args *a, const char *word, int64_t *ret, struct err *e)
{
	struct str client = str_c(word), environment = str_c(a->environment ? a->environment : ""), name;
	char when[64];
	int64_t until_ms = INT64_MAX;
	if (str_to_i64(client, ret))
		return 0;
	ptrdiff_t at = str_find(client, '@');
	if (at >= 0) {
		snprintf(when, sizeof(when), "%.*s", STR_ARG(str_skip(client, (size_t)at + 1)));
		client = str_head(client, (size_t)at);
		if (cmd_parse_time(when, &until_ms, e) < 0)
			return -1;
	}
	if (str_take_until(&client, '/', &name)) {
		environment = client;
		client = name;
	}
	if (!client.n)
		return err_new(e, ERR_USAGE,
			       "'%s': write a number, or CLIENT, CLIENT/ENVIRONMENT, CLIENT/ENVIRONMENT@TIME", word);
	return mirror_snapshots_at(k->s, client, environment, until_ms, ret, e);
}

static int get(struct cmd_context *c, struct keeper *k, const struct keeper_args *a, const char *word,
	       struct mirror_snapshot *ret, struct str *ret_text, struct err *e)
{
	int64_t id;
	return find(k, a, word, &id, e) < 0 ||
			       mirror_snapshots_get(k->s, str_c(a->client ? a->client : ""), id, &c->arena, ret_text,
						    e) < 0 ||
			       mirror_snapshot_parse(&c->arena, *ret_text,
						     arena_printf(&c->arena, "snapshot %lld", (long long)id), ret,
						     e) < 0
		       ? -1
		       : 0;
}

/* -- verbs ---------------------------------------------------------------------------------------------------------- */

static void put_info(struct jw *w, const void *ctx, size_t i)
{
	const struct mirror_snapshot_info *v = (const struct mirror_snapshot_info *)ctx + i;
	jw_kv_int(w, "id", v->id);
	jw_kv_str(w, "client", v->client);
	jw_kv_int(w, "taken_ms", v->taken_ms);
	jw_kv_str(w, "environment", v->environment);
	jw_kv_c(w, "when", mirror_snapshot_when_name(v->when));
	jw_kv_str(w, "operation", v->operation);
	jw_kv_int(w, "packages", v->packages_n);
}

static int list(struct cmd_context *c, struct keeper *k, const struct keeper_args *a, struct err *e)
{
	static const char *const titles[] = {"Number", "Stored (UTC)", "Client", "Environment", "When", "Packages"};
	struct out_table t = {.titles = titles, .columns = 6, .right = 1 | 1 << 5, .whole = 1};
	struct mirror_snapshot_info *v;
	auto_answer answer = {0};
	size_t n;
	if (mirror_snapshots_list(k->s, str_c(a->client ? a->client : ""), str_c(a->environment ? a->environment : ""),
				  SHOWN_MAX, &c->arena, &v, &n, e) < 0)
		return -1;
	if (c->json) {
		jw_kv_objects(cmd_answer(&answer), "snapshots", n, put_info, v);
		return cmd_answer_print(c, &answer);
	}
	for (size_t i = 0; i < n; i++) {
		auto_buf stored = BUF_INIT(64);
		clock_put_table(&stored, v[i].taken_ms);
		out_table_cell(&t, "%lld", (long long)v[i].id);
		out_table_cell(&t, "%s", stored.p);
		out_table_cell(&t, "%.*s", STR_ARG(v[i].client));
		out_table_cell(&t, "%.*s", STR_ARG(v[i].environment));
		out_table_cell(&t, "%s %.*s", mirror_snapshot_when_name(v[i].when), STR_ARG(v[i].operation));
		out_table_cell(&t, "%u", v[i].packages_n);
	}
	if (n)
		out_table_print(&c->out, &t);
	else
		cmd_say(c, "no snapshots%s%s%s%s", a->client ? " of client " : "", a->client ? a->client : "",
			a->environment ? " of environment " : "", a->environment ? a->environment : "");
	if (n == SHOWN_MAX)
		cmd_say(c, "these are the newest %d; --client and --name show others", SHOWN_MAX);
	return CMD_OK;
}

static int show(struct cmd_context *c, struct keeper *k, const struct keeper_args *a, const char *const *words,
		struct err *e)
{
	struct mirror_snapshot s;
	struct str text;
	return get(c, k, a, words[0], &s, &text, e) < 0 ? -1 : cmd_snapshot_print(c, &s, text, a->recipe);
}

static int diff(struct cmd_context *c, struct keeper *k, const struct keeper_args *a, const char *const *words,
		struct err *e)
{
	struct mirror_snapshot old, new;
	struct str ignored;
	return get(c, k, a, words[0], &old, &ignored, e) < 0 || get(c, k, a, words[1], &new, &ignored, e) < 0
		       ? -1
		       : cmd_snapshot_print_difference(c, &old, &new);
}

/* -- the command line ----------------------------------------------------------------------------------------------- */

enum { LIST, SHOW, DIFF, VERBS };
static const struct {
	const char *name;
	size_t words; /* behind it */
	const char *example;
} verbs[VERBS] = {{"list", 0, "slipway mirror snapshots DIR"},
		  {"show", 1, "slipway mirror snapshots DIR show 12"},
		  {"diff", 2, "slipway mirror snapshots DIR diff app1/step app2/step"}};

/* Its place among the words, 0 or 1 (the folder comes first where it is said); -1: none is there. */
static int verb_at(const struct cmd_list *words, size_t *ret_verb)
{
	for (size_t i = 0; i < words->n && i < 2; i++)
		for (*ret_verb = 0; *ret_verb < VERBS; ++*ret_verb)
			if (strcmp(words->v[i], verbs[*ret_verb].name) == 0)
				return (int)i;
	*ret_verb = LIST;
	return -1;
}

static int run(struct cmd_context *c, const struct keeper_args *a, struct err *e)
{
	auto_keeper k = {0};
	size_t verb, n = a->words.n;
	int at = verb_at(&a->words, &verb);
	const char *dir = n && at != 0 ? a->words.v[0] : ".";
	size_t behind = at < 0 ? 0 : n - (size_t)at - 1;
	if (at < 0 && n > 1)
		return err_new(e, ERR_USAGE, "'%s' is none of list, show, diff", a->words.v[1]);
	if (behind != verbs[verb].words)
		return err_new(e, ERR_USAGE, "%s; as in: %s",
			       behind < verbs[verb].words ? "which snapshot" : "there are too many words",
			       verbs[verb].example);
	if (a->recipe && verb != SHOW)
		return err_new(e, ERR_USAGE, "--recipe goes with show");
	if (open_keeper(dir, &k, e) < 0)
		return -1;
	const char *const *words = a->words.v + at + 1;
	return verb == LIST ? list(c, &k, a, e) : verb == SHOW ? show(c, &k, a, words, e) : diff(c, &k, a, words, e);
}

int cmd_mirror_snapshots(struct cmd_context *c, int argc, char **argv)
{
	struct keeper_args a = {0};
	const struct cmd_option options[] = {{0, "client", CMD_TEXT, &a.client},
					     {'n', "name", CMD_TEXT, &a.environment},
					     {0, "recipe", CMD_FLAG, &a.recipe},
					     {0, NULL, CMD_FLAG, NULL}};
	struct err e = ERR_INIT;
	int code = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	code = code < 0 ? -1 : c->help ? cmd_help(c) : run(c, &a, &e);
	vec_release(&a.words);
	return code < 0 ? cmd_fail(c, &e) : code;
}
