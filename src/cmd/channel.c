// SPDX-License-Identifier: Apache-2.0
/* channel add, list, remove, refresh. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/url.h"
#include "cmd/catalogues.h"
#include "cmd/change.h"
#include "cmd/channel_trust.h"
#include "cmd/opam_repos.h"

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

static int kept_answer(struct cmd_context *c, const char *operation, struct str name, struct str url, bool is_opam)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	jw_kv_c(w, "operation", operation);
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_str(w, "name", name);
	jw_kv_str(w, "url", url);
	jw_kv_c(w, "kind", is_opam ? "opam" : "conda");
	return cmd_answer_print(c, &a);
}

/* A folder may be filled later; who mistyped it wants to hear now. */
static void note_missing(struct cmd_context *c, const struct channel *ch, bool is_opam)
{
	struct str path = ch->url;
	struct stat st;
	if (!str_take_str(&path, STR("file://")) || str_find(path, '%') >= 0)
		return;
	const char *at = arena_strdup(&c->arena, path);
	if (stat(at, &st) < 0)
		cmd_say(c, "note: there is no such folder yet");
	else if (is_opam && S_ISDIR(st.st_mode) && !fs_exists(AT_FDCWD, arena_printf(&c->arena, "%s/packages", at)) &&
		 !fs_exists(AT_FDCWD, arena_printf(&c->arena, "%s/index.tar.gz", at)))
		cmd_say(c, "note: it is no opam repository yet: it has neither packages/ nor index.tar.gz");
}

static int add(struct cmd_context *c, const struct channel_args *a, struct err *e)
{
	struct cmd_channel *old, *list;
	struct channel ch;
	size_t n;
	bool known = false, is_opam = a->words.n == 2 && strcmp(a->words.v[0], "opam") == 0;
	bool opam_alone = a->words.n == 1 && strcmp(a->words.v[0], "opam") == 0;
	if (a->words.n != (is_opam ? 2U : 1U))
		return err_new(e, ERR_USAGE,
			       "add which channel? as in: slipway channel add [opam] URL-or-folder [--name NAME]");
	if (cmd_channels_read(c, &old, &n, e) < 0)
		return -1;
	if ((is_opam ? cmd_opam_parse(c, str_c(a->words.v[1]), &ch, e)
		     : cmd_channel_parse(c, str_c(a->words.v[0]), &ch, e)) < 0)
		return opam_alone ? err_new(e, ERR_USAGE,
					    "add which opam repository? as in: slipway channel add opam "
					    "URL-or-folder-or-tar [--name NAME]")
				  : -1;
	struct cmd_channel new = {a->name ? str_c(a->name) : ch.name, ch.url, is_opam};
	if (check_name(new.name, e) < 0)
		return -1;
	if (is_opam && a->tuf_root)
		return err_new(e, ERR_USAGE, "--tuf-root is not for opam repositories");
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
	bool named = !str_eq(new.name, ch.shown);
	cmd_say(c, "%s%s %s '%.*s'%s%.*s", c->dry_run ? "would have " : "", known ? "changed" : "added",
		is_opam ? "opam repository" : "channel", STR_ARG(new.name), named ? ": " : "",
		STR_ARG(named ? ch.shown : STR_NONE));
	note_missing(c, &ch, is_opam);
	return c->json ? kept_answer(c, known ? "change" : "add", new.name, ch.shown, is_opam) : 0;
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
	bool was_opam = false;
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
		was_opam = list[i].is_opam;
		gone = arena_str(&c->arena, buf_str(&url));
	}
	if (k == n)
		return err_new(e, ERR_NOT_FOUND, "no channel '%s'; 'slipway channel list' shows them", wanted.p);
	if (!c->dry_run && keep(c, list, k, e) < 0)
		return -1;
	cmd_say(c, "%s channel '%s'", c->dry_run ? "would remove" : "removed", wanted.p);
	return c->json ? kept_answer(c, "remove", name, gone, was_opam) : 0;
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
	static const char *const titles[] = {"Priority", "Name", "URL", "Kind"};
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
	for (size_t i = 0; i < n; i++)
		t.columns = list[i].is_opam ? 4 : t.columns; /* where all are of one kind, nobody asks */
	jw_key(w, "channels");
	jw_array(w);
	for (size_t i = 0; i < n; i++) {
		struct channel ch;
		if (cmd_channel_parse(c, list[i].name, &ch, e) < 0)
			return -1;
		struct str first = STR_NONE;
		uint32_t left_out = list[i].is_opam ? cmd_opam_left_out(c, &ch, &first)
						    : count_left_out(c, &ch, &first);
		if (c->json) {
			jw_object(w);
			jw_kv_str(w, "name", list[i].name);
			jw_kv_str(w, "url", ch.shown);
			jw_kv_c(w, "kind", list[i].is_opam ? "opam" : "conda");
			put_left_out(w, left_out, first);
			jw_object_end(w);
		} else {
			out_table_cell(&t, "%zu", i + 1);
			out_table_cell(&t, "%.*s", STR_ARG(list[i].name));
			out_table_cell(&t, "%.*s", STR_ARG(ch.shown));
			if (t.columns == 4)
				out_table_cell(&t, "%s", list[i].is_opam ? "opam" : "conda");
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

struct refreshed {
	struct str name, url, subdir, left_out_first;
	bool found;
	uint32_t packages, names, left_out;
};
VEC_TYPE(refreshed_vec, struct refreshed);

static void put_refreshed(struct jw *w, const void *ctx, size_t i)
{
	const struct refreshed *r = (const struct refreshed *)ctx + i;
	jw_kv_str(w, "name", r->name);
	jw_kv_str(w, "url", r->url);
	jw_kv_str(w, "subdir", r->subdir);
	jw_kv_bool(w, "found", r->found);
	jw_kv_int(w, "packages", r->packages);
	jw_kv_int(w, "names", r->names);
	put_left_out(w, r->left_out, r->left_out_first);
}

static int print_refreshed(struct cmd_context *c, const struct refreshed_vec *v)
{
	static const char *const titles[] = {"Channel", "Platform", "Packages", "Names", "Left out"};
	struct out_table t = {.titles = titles, .columns = 5, .right = 1 << 2 | 1 << 3 | 1 << 4, .whole = 1};
	auto_answer a = {0};
	if (c->json) {
		jw_kv_objects(cmd_answer(&a), "channels", v->n, put_refreshed, v->v);
		return cmd_answer_print(c, &a);
	}
	vec_foreach(r, v) {
		if (!r->found)
			continue;
		out_table_cell(&t, "%.*s", STR_ARG(r->name));
		out_table_cell(&t, "%.*s", STR_ARG(r->subdir));
		out_table_cell(&t, "%u", r->packages);
		out_table_cell(&t, "%u", r->names);
		out_table_cell(&t, "%u", r->left_out);
	}
	out_table_print(&c->out, &t);
	return CMD_OK;
}

static int refresh_conda(struct cmd_context *c, const struct channel_args *a, struct cmd_list channels,
			 struct refreshed_vec *v, struct err *e)
{
	struct cmd_solve_options o = a->solve;
	auto_opened opened = {0};
	o.refresh = true;
	o.channels = channels;
	if (cmd_open_channels(c, &o, NULL, 0, NULL, 0, &opened, e) < 0)
		return -1;
	for (size_t i = 0; i < opened.indexes_n; i++) {
		const struct channel_index *ix = &opened.indexes[i];
		struct index_info info = ix->index ? index_info(ix->index) : (struct index_info){0};
		vec_push(v, ((struct refreshed){ix->channel.name, ix->channel.shown, ix->subdir,
						arena_str(&c->arena, info.left_out_first), ix->index != NULL,
						info.packages, info.names, info.left_out}));
	}
	return 0;
}

static int refresh_opam(struct cmd_context *c, const struct cmd_list *names, struct refreshed_vec *v, struct err *e)
{
	auto_opam_repos repos = {0};
	if (cmd_opam_open(c, names->v, names->n, CHANNEL_FORCE, &repos, e) < 0)
		return -1;
	for (size_t i = 0; i < repos.n; i++) {
		const struct channel *ch = &repos.channel[i];
		struct opam_index_info info = opam_index_info(repos.index[i]);
		struct str first = info.problems ? opam_index_problem(repos.index[i], 0) : STR_NONE;
		vec_push(v, ((struct refreshed){ch->name, ch->shown, STR("opam"), arena_str(&c->arena, first), true,
						info.packages, info.names, info.problems}));
	}
	return 0;
}

/* Which of them are opam's; without a word, all that are kept. */
static int refresh(struct cmd_context *c, const struct channel_args *a, struct err *e)
{
	struct refreshed_vec v = {0};
	struct cmd_list conda = {0}, opam = {0};
	struct cmd_channel *kept;
	size_t n, words = a->words.n + a->solve.channels.n;
	if (cmd_need_config(c, e) < 0 || cmd_channels_read(c, &kept, &n, e) < 0)
		return -1;
	bool other = words > 0 || c->config.channels.n > 0;
	vec_foreach(w, &a->solve.channels)
		vec_push(&conda, *w);
	for (size_t i = 0; i < n; i++) {
		bool named = words == 0;
		vec_foreach(w, &a->words)
			named |= str_eq_c(kept[i].name, *w);
		if (named && kept[i].is_opam)
			vec_push(&opam, arena_strdup(&c->arena, kept[i].name));
		other |= named && !kept[i].is_opam;
	}
	vec_foreach(w, &a->words) {
		bool is_opam = false;
		vec_foreach(name, &opam)
			is_opam |= strcmp(*w, *name) == 0;
		if (!is_opam)
			vec_push(&conda, *w);
	}
	int rc = (conda.n || (words == 0 && (other || !opam.n))) && refresh_conda(c, a, conda, &v, e) < 0 ? -1
		 : opam.n ? refresh_opam(c, &opam, &v, e)
			  : 0;
	if (rc == 0)
		rc = print_refreshed(c, &v);
	vec_release(&conda);
	vec_release(&opam);
	vec_release(&v);
	return rc;
}

int cmd_channel_refresh(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, refresh);
}
