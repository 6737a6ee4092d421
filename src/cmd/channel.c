// SPDX-License-Identifier: Apache-2.0
/* channel add, list, remove, refresh. */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/url.h"
#include "cmd/catalogues.h"
#include "cmd/change.h"
#include "cmd/channel_trust.h"

struct channel_args {
	struct cmd_solve_options solve;
	const char *name, *tuf_root;
	bool first;
	struct cmd_list words;
};

static int run(struct cmd_context *c, int argc, char **argv,
	       int (*fn)(struct cmd_context *c, const struct channel_args *a, struct err *e))
{
	struct channel_args a = {0};
	const struct cmd_option options[] = {
		CMD_SOLVE_OPTIONS(&a.solve),
		{0, "name", CMD_TEXT, &a.name},
		{0, "tuf-root", CMD_TEXT, &a.tuf_root},
		{0, "first", CMD_FLAG, &a.first},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : fn(c, &a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a.words);
	vec_release(&a.solve.channels);
	return code;
}

/* -- add and remove ------------------------------------------------------------------------------------------------ */

static int check_name(struct str name, struct err *e)
{
	bool good = name.n > 0 && name.n <= 128 && name.p[0] != '-' && name.p[0] != '#';
	for (size_t i = 0; good && i < name.n; i++)
		good = name.p[i] > ' ' && name.p[i] != 0x7f;
	return good ? 0
		    : err_new(e, ERR_USAGE, "'%.*s' cannot be a channel's name (no spaces, at most 128 bytes)",
			      STR_ARG(name));
}

static int keep(struct cmd_context *c, const struct cmd_channel *v, size_t n, struct err *e)
{
	sigset_t before;
	cmd_signals_wait(&before);
	int rc = cmd_channels_write(c, v, n, e);
	if (rc == 0)
		cmd_changed(c);
	cmd_signals_go_on(&before);
	return rc;
}

static int kept_answer(struct cmd_context *c, const char *operation, struct str name, struct str url)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", operation);
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_str(w, "name", name);
	jw_kv_str(w, "url", url);
	return cmd_answer_print(c, &a);
}

static int add(struct cmd_context *c, const struct channel_args *a, struct err *e)
{
	struct cmd_channel *old, *list;
	struct channel ch;
	size_t n;
	bool known = false;
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE,
			       "add which channel? as in: slipway channel add URL-or-folder [--name NAME]");
	if (cmd_channels_read(c, &old, &n, e) < 0 || cmd_channel_parse(c, str_c(a->words.v[0]), &ch, e) < 0)
		return -1;
	struct cmd_channel new = {a->name ? str_c(a->name) : ch.name, ch.url};
	if (check_name(new.name, e) < 0)
		return -1;
	list = arena_array(&c->arena, struct cmd_channel, n + 1);
	size_t k = 0;
	if (a->first)
		list[k++] = new;
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(old[i].name, new.name)) {
			list[k++] = old[i];
			continue;
		}
		known = true;
		if (!a->first)
			list[k++] = new;
	}
	if (!known && !a->first)
		list[k++] = new;
	if (a->tuf_root && cmd_trust_file(c, &ch, a->tuf_root, e) < 0)
		return -1;
	if (!c->dry_run && keep(c, list, k, e) < 0)
		return -1;
	cmd_say(c, "%s%s channel '%.*s': %.*s", c->dry_run ? "would have " : "", known ? "changed" : "added",
		STR_ARG(new.name), STR_ARG(ch.shown));
	struct str path = ch.url;
	if (str_take_str(&path, STR("file://")) && str_find(path, '%') < 0 &&
	    !fs_exists(AT_FDCWD, arena_strdup(&c->arena, path)))
		cmd_say(c, "note: there is no such folder yet");
	return c->json ? kept_answer(c, known ? "change" : "add", new.name, ch.shown) : 0;
}

int cmd_channel_add(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, add);
}

static int remove_channel(struct cmd_context *c, const struct channel_args *a, struct err *e)
{
	struct cmd_channel *list;
	size_t n, k = 0;
	struct str name = STR_NONE, gone = STR_NONE;
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE, "remove which channel? 'slipway channel list' shows them");
	if (cmd_channels_read(c, &list, &n, e) < 0)
		return -1;
	auto_buf wanted = BUF_INIT(URL_MAX);
	url_put_shown(&wanted, str_c(a->words.v[0]));
	struct channel ch = {0};
	struct err ignored = ERR_INIT;
	(void)cmd_channel_parse(c, str_c(a->words.v[0]), &ch, &ignored); /* a folder, as 'add' took it */
	for (size_t i = 0; i < n; i++) {
		auto_buf url = BUF_INIT(URL_MAX);
		url_put_shown(&url, list[i].url);
		if (!str_eq(list[i].name, buf_str(&wanted)) && !str_eq(buf_str(&url), buf_str(&wanted)) &&
		    !(ch.shown.n && str_eq(buf_str(&url), ch.shown))) {
			list[k++] = list[i];
			continue;
		}
		name = list[i].name;
		gone = arena_str(&c->arena, buf_str(&url));
	}
	if (k == n)
		return err_new(e, ERR_NOT_FOUND, "no channel '%s'; 'slipway channel list' shows them", wanted.p);
	if (!c->dry_run && keep(c, list, k, e) < 0)
		return -1;
	cmd_say(c, "%s channel '%s'", c->dry_run ? "would remove" : "removed", wanted.p);
	return c->json ? kept_answer(c, "remove", name, gone) : 0;
}

int cmd_channel_remove(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, remove_channel);
}

/* -- list --------------------------------------------------------------------------------------------------------- */

static void put_left_out(struct jw *w, uint32_t n, struct str first)
{
	jw_kv_int(w, "left_out", n);
	if (n)
		jw_kv_str(w, "left_out_first", first);
}

/* Malformed records of what is held of a channel; what is not held yet has none. */
static uint32_t count_left_out(struct cmd_context *c, const struct channel *ch, struct str *first)
{
	const struct str subdirs[] = {channel_host_subdir(), STR("noarch")};
	struct err ignored = ERR_INIT;
	auto_opened held = {0};
	uint32_t n = 0;
	if (cmd_need_cache(c, &ignored) < 0 || !fs_exists(c->root_fd, arena_printf(&c->arena, "index/%s", ch->id)) ||
	    channel_open_all(&c->cache, ch, 1, subdirs, 2, NULL, 0, CHANNEL_OFFLINE, &c->arena, &held.indexes,
			     &held.indexes_n, &ignored) < 0)
		return 0;
	for (size_t i = 0; i < held.indexes_n; i++) {
		const struct channel_index *ix = &held.indexes[i];
		if (!ix->index || strcmp(ix->channel.id, ch->id) != 0)
			continue;
		struct index_info info = index_info(ix->index);
		if (n == 0 && info.left_out)
			*first = str_c(arena_printf(&c->arena, "%.*s/%.*s", STR_ARG(ix->subdir),
						    STR_ARG(info.left_out_first)));
		n += info.left_out;
	}
	return n;
}

static int list_channels(struct cmd_context *c, const struct channel_args *a, struct err *e)
{
	enum { FIRST_SHOWN = 600 };
	static const char *const titles[] = {"Priority", "Name", "URL"};
	struct out_table t = {.titles = titles, .columns = 3, .right = 1, .whole = 1 << 1};
	auto_answer answer = {0};
	auto_buf b = BUF_INIT(BUF_MAX);
	struct jw *w = cmd_answer(&answer);
	struct cmd_channel *list;
	size_t n;
	if (a->words.n)
		return err_new(e, ERR_USAGE, "unexpected word '%s'", a->words.v[0]);
	if (cmd_channels_read(c, &list, &n, e) < 0)
		return -1;
	jw_key(w, "channels");
	jw_array(w);
	for (size_t i = 0; i < n; i++) {
		struct channel ch;
		if (cmd_channel_parse(c, list[i].name, &ch, e) < 0)
			return -1;
		struct str first = STR_NONE;
		uint32_t left_out = count_left_out(c, &ch, &first);
		if (c->json) {
			jw_object(w);
			jw_kv_str(w, "name", list[i].name);
			jw_kv_str(w, "url", ch.shown);
			put_left_out(w, left_out, first);
			jw_object_end(w);
		} else {
			out_table_cell(&t, "%zu", i + 1);
			out_table_cell(&t, "%.*s", STR_ARG(list[i].name));
			out_table_cell(&t, "%.*s", STR_ARG(ch.shown));
			if (left_out) {
				buf_printf(&b, "%u malformed record%s of '%.*s' left out; the first is ", left_out,
					   left_out > 1 ? "s" : "", STR_ARG(list[i].name));
				out_put_cut(&b, first, FIRST_SHOWN);
				buf_put_char(&b, '\n');
			}
		}
	}
	jw_array_end(w);
	if (c->json) {
		cmd_catalogues_json(c, w);
		return cmd_answer_print(c, &answer);
	}
	cmd_catalogues_say(c);
	if (n)
		out_table_print(&c->out, &t);
	else
		cmd_say(c, "no channels are kept; add one with: slipway channel add URL-or-folder");
	return cmd_print(c, &b);
}

int cmd_channel_list(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, list_channels);
}

/* -- refresh ------------------------------------------------------------------------------------------------------ */

static void put_refreshed(struct jw *w, const void *ctx, size_t i)
{
	const struct channel_index *ix = (const struct channel_index *)ctx + i;
	struct index_info info = ix->index ? index_info(ix->index) : (struct index_info){0};
	jw_kv_str(w, "name", ix->channel.name);
	jw_kv_str(w, "url", ix->channel.shown);
	jw_kv_str(w, "subdir", ix->subdir);
	jw_kv_bool(w, "found", ix->index != NULL);
	jw_kv_int(w, "packages", info.packages);
	jw_kv_int(w, "names", info.names);
	put_left_out(w, info.left_out, info.left_out_first);
}

static int refreshed_answer(struct cmd_context *c, const struct cmd_opened *o)
{
	auto_answer a = {0};
	jw_kv_objects(cmd_answer(&a), "channels", o->indexes_n, put_refreshed, o->indexes);
	return cmd_answer_print(c, &a);
}

static void refreshed_table(struct cmd_context *c, const struct cmd_opened *o)
{
	static const char *const titles[] = {"Channel", "Platform", "Packages", "Names", "Left out"};
	struct out_table t = {.titles = titles, .columns = 5, .right = 1 << 2 | 1 << 3 | 1 << 4, .whole = 1};
	for (size_t i = 0; i < o->indexes_n; i++) {
		const struct channel_index *ix = &o->indexes[i];
		if (!ix->index)
			continue;
		struct index_info info = index_info(ix->index);
		out_table_cell(&t, "%.*s", STR_ARG(ix->channel.name));
		out_table_cell(&t, "%.*s", STR_ARG(ix->subdir));
		out_table_cell(&t, "%u", info.packages);
		out_table_cell(&t, "%u", info.names);
		out_table_cell(&t, "%u", info.left_out);
	}
	out_table_print(&c->out, &t);
}

static int refresh(struct cmd_context *c, const struct channel_args *a, struct err *e)
{
	struct cmd_solve_options o = a->solve;
	auto_opened opened = {0};
	struct cmd_list all = {0};
	o.refresh = true;
	vec_foreach(w, &a->solve.channels)
		vec_push(&all, *w);
	vec_foreach(w, &a->words)
		vec_push(&all, *w);
	o.channels = all;
	int rc = cmd_open_channels(c, &o, NULL, 0, NULL, 0, &opened, e);
	vec_release(&all);
	if (rc < 0)
		return -1;
	if (c->json)
		return refreshed_answer(c, &opened);
	refreshed_table(c, &opened);
	return CMD_OK;
}

int cmd_channel_refresh(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, refresh);
}
