// SPDX-License-Identifier: Apache-2.0
#include "cmd/takeout.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/url.h"
#include "cmd/catalogues.h"
#include "cmd/pinned.h"

enum { ADDRESS_MAX = 4096, LIST_MAX = 64 << 20, RECIPE_MAX = 256 << 20, NOTES_MAX = 1 << 20, RECIPES_MAX = 64 };
#define KEPT "takeout"

/* -- where the mirror is -------------------------------------------------------------------------------------------- */

int cmd_updates(struct cmd_context *c, struct str *ret, struct err *e)
{
	auto_buf b = BUF_INIT(ADDRESS_MAX);
	if (cmd_need_root(c, e) < 0)
		return -1;
	if (!fs_exists(c->root_fd, "updates"))
		return 0;
	if (fs_read(c->root_fd, "updates", &b, e) < 0)
		return -1;
	*ret = arena_str(&c->arena, str_trim(buf_str(&b)));
	return ret->n > 0;
}

int cmd_need_updates(struct cmd_context *c, struct str *ret, struct err *e)
{
	int rc = cmd_updates(c, ret, e);
	return rc != 0 ? rc
		       : err_new(e, ERR_USAGE,
				 "no mirror is set to take updates from; as in: slipway spot --updates=https://mirror.example.org");
}

/* A folder is a mirror's content that was carried here. */
int cmd_updates_set(struct cmd_context *c, const char *text, struct str *ret, struct err *e)
{
	auto_buf b = BUF_INIT(ADDRESS_MAX);
	struct str url = str_trim(str_c(text));
	while (str_ends(url, STR("/")) && url.n > 1)
		url.n--;
	bool folder = url.n && url.p[0] == '/';
	if (!folder && !str_starts(url, STR("https://")) && !str_starts(url, STR("file:///")))
		return err_new(e, ERR_USAGE,
			       "'%s' is no address of a mirror: https://HOST, or the absolute path of a folder", text);
	for (size_t i = 0; i < url.n; i++)
		if ((unsigned char)url.p[i] <= ' ' || url.p[i] == 0x7f)
			return err_new(e, ERR_USAGE, "'%s' holds blanks or control characters", text);
	buf_printf(&b, "%s%.*s", folder ? "file://" : "", STR_ARG(url));
	*ret = arena_str(&c->arena, buf_str(&b));
	buf_put_char(&b, '\n');
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "the address is longer than %d bytes", ADDRESS_MAX);
	if (c->dry_run)
		return 0;
	if (cmd_need_root(c, e) < 0 || fs_replace(c->root_fd, "updates", b.p, b.n, FS_REPLACE_SYNC, e) < 0)
		return -1;
	cmd_changed(c);
	return 0;
}

/* -- fetching ------------------------------------------------------------------------------------------------------- */

int cmd_updates_get(struct cmd_context *c, struct str updates, const char *path, uint64_t size, const uint8_t *sha256,
		    struct buf *ret, struct err *e)
{
	auto_free char *url = xasprintf("%.*s/%s", STR_ARG(updates), path);
	struct transfer_request r = {.url = url, .size = size, .sha256 = sha256};
	return cmd_fetch(c, &r, ret, e);
}

static int keep(struct cmd_context *c, const char *path, const struct buf *b, struct err *e)
{
	const char *slash = strrchr(path, '/');
	const char *folder = arena_strdup(&c->arena, str_of(path, (size_t)(slash - path)));
	return fs_mkdirs(c->root_fd, folder, 0755, e) < 0 ? -1 : fs_replace(c->root_fd, path, b->p, b->n, 0, e);
}

/* -- what the mirror has copies of ----------------------------------------------------------------------------------- */

VEC_TYPE(followed_list, struct cmd_followed);

static void read_followed(struct cmd_context *c, struct str updates, const struct json *j, struct followed_list *to)
{
	const struct json *channels = NULL, *follows;
	struct err ignored = ERR_INIT;
	if (json_opt_array(j, "channels", &channels, &ignored) < 0)
		return;
	for (uint32_t i = 0; channels && i < channels->n; i++) {
		struct str name = json_text(&channels->item[i], "name");
		follows = NULL;
		if (!channel_path_is_normal(name) ||
		    json_opt_array(&channels->item[i], "follows", &follows, &ignored) < 0)
			continue;
		for (uint32_t k = 0; follows && k < follows->n; k++)
			if (follows->item[k].type == JSON_STRING && follows->item[k].string.n)
				*vec_add(to) = (struct cmd_followed){
					follows->item[k].string,
					str_c(arena_printf(&c->arena, "%.*s/%.*s", STR_ARG(updates), STR_ARG(name)))};
	}
}

void cmd_updates_followed(struct cmd_context *c, const struct cmd_followed **ret, size_t *ret_n)
{
	auto_buf b = BUF_INIT(LIST_MAX);
	struct followed_list list = {0};
	struct err ignored = ERR_INIT;
	struct str updates;
	const char *kept = KEPT "/mirrors.json";
	if (!c->followed_asked && cmd_updates(c, &updates, &ignored) > 0 && str_starts(updates, STR("https:"))) {
		bool came = cmd_updates_get(c, updates, "api/mirrors", 0, NULL, &b, &ignored) == 0;
		if (came && !c->dry_run)
			(void)keep(c, kept, &b, &ignored);
		if (!came) {
			buf_clear(&b);
			came = fs_read(c->root_fd, kept, &b, &ignored) == 0;
		}
		const struct json *j = came ? json_parse(&c->arena, arena_str(&c->arena, buf_str(&b)), kept, &ignored)
					    : NULL;
		if (j)
			read_followed(c, updates, j, &list);
	}
	if (!c->followed_asked) {
		c->followed = vec_copy(&list, &c->arena);
		c->followed_n = list.n;
	}
	c->followed_asked = true;
	vec_release(&list);
	*ret = c->followed;
	*ret_n = c->followed_n;
}

/* -- the list ---------------------------------------------------------------------------------------------------------- */

struct cmd_takeout {
	struct str updates;
	struct channel_takeout *v;
	size_t n;
};

static int fetch_list(struct cmd_context *c, struct cmd_takeout *l, struct err *e)
{
	auto_buf b = BUF_INIT(LIST_MAX);
	struct err failure = ERR_INIT;
	const char *kept = KEPT "/takeout.json";
	if (cmd_updates_get(c, l->updates, "takeout/takeout.json", 0, NULL, &b, &failure) < 0) {
		if (failure.code != ERR_NETWORK || !fs_exists(c->root_fd, kept)) {
			*e = failure;
			return failure.code == ERR_NOT_FOUND ? err_ctx(e, "the mirror offers no recipes") : -1;
		}
		cmd_say(c, "note: %s; what was fetched before is used", failure.msg);
		buf_clear(&b);
		if (fs_read(c->root_fd, kept, &b, e) < 0)
			return -1;
	} else if (keep(c, kept, &b, e) < 0)
		return -1;
	return channel_takeout_read(&c->arena, buf_str(&b), kept, &l->v, &l->n, e);
}

/* The list as it is now, without the network as it was: one and the same to the end of the command. */
static int get_list(struct cmd_context *c, const struct cmd_takeout **ret, struct err *e)
{
	struct cmd_takeout *l = arena_new(&c->arena, struct cmd_takeout);
	if (!c->takeout) {
		if (cmd_need_updates(c, &l->updates, e) < 0 || fetch_list(c, l, e) < 0)
			return -1;
		c->takeout = l;
	}
	*ret = c->takeout;
	return 0;
}

static bool is_kept(struct cmd_context *c, const char *path, const struct channel_takeout_file *f, struct buf *b)
{
	struct err ignored = ERR_INIT;
	uint8_t got[SHA256_SIZE];
	if (fs_read(c->root_fd, path, b, &ignored) == 0) {
		sha256(b->p, b->n, got);
		if (memcmp(got, f->sha256, SHA256_SIZE) == 0)
			return true;
	}
	buf_clear(b);
	return false;
}

static int get_file(struct cmd_context *c, struct str updates, const struct channel_takeout_file *f, struct buf *b,
		    struct err *e)
{
	const char *kept = arena_printf(&c->arena, KEPT "/%.*s", STR_ARG(f->path));
	const char *path = arena_printf(&c->arena, "takeout/%.*s", STR_ARG(f->path));
	if (is_kept(c, kept, f, b))
		return 0;
	return cmd_updates_get(c, updates, path, f->size, f->sha256, b, e) < 0 ? -1 : keep(c, kept, b, e);
}

static const struct channel_takeout *find(const struct cmd_takeout *l, struct str path)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i].recipe.path, path))
			return &l->v[i];
	return NULL;
}

/* -- several as one -------------------------------------------------------------------------------------------------- */

bool cmd_is_takeout(const char *word)
{
	return str_starts(str_c(word), STR("to:"));
}

struct joined {
	struct cmd_context *c;
	VEC(struct str) channels, specs;
	VEC(struct env_variable) variables;
	VEC(struct env_component) components;
	VEC(struct env_lock_package) packages;
	VEC(struct str) package_of; /* the recipe of each */
	struct env_spec_file all;
	size_t n;
};

static void joined_release(struct joined *j)
{
	vec_release(&j->channels);
	vec_release(&j->specs);
	vec_release(&j->variables);
	vec_release(&j->components);
	vec_release(&j->packages);
	vec_release(&j->package_of);
}
#define auto_joined cleanup_with(joined_release) struct joined

static int disagree(struct str recipe, const char *what, struct str name, struct err *e)
{
	return err_new(e, ERR_INPUT,
		       "'%.*s' has another %s '%.*s' than a recipe before it; take them one after the other",
		       STR_ARG(recipe), what, STR_ARG(name));
}

/* "site" is a channel of the mirror. */
static struct str channel_of(struct joined *j, struct str updates, struct str name)
{
	bool bare = str_find(name, '/') < 0 && str_find(name, ':') < 0 && !str_eq(name, STR("nodefaults"));
	return bare ? str_c(arena_printf(&j->c->arena, "%.*s/%.*s", STR_ARG(updates), STR_ARG(name))) : name;
}

/* Signed recipes are worth as much as what they name: of the same server, that has to be signed as well. */
static int check_signed(struct joined *j, struct str updates, struct str url, struct err *e)
{
	struct str path, recipes = str_c(arena_printf(&j->c->arena, "%.*s/takeout", STR_ARG(updates)));
	if (!str_starts(url, updates) || !cmd_pinned_at(j->c, recipes, &path) || cmd_pinned_at(j->c, url, &path))
		return 0;
	return err_new(
		e, ERR_VERIFY,
		"the recipes are signed, and their channel '%.*s' has no pinned root; pin it with: slipway channel "
		"trust %.*s ROOT.json",
		STR_ARG(url), STR_ARG(url));
}

static int join_channels(struct joined *j, struct str updates, const struct env_spec_file *f, struct err *e)
{
	for (uint32_t i = 0; i < f->channels_n; i++) {
		struct str url = channel_of(j, updates, f->channels[i]);
		bool known = false;
		if (check_signed(j, updates, url, e) < 0)
			return -1;
		vec_foreach(have, &j->channels)
			known |= str_eq(*have, url);
		if (!known)
			vec_push(&j->channels, url);
	}
	return 0;
}

static int join_settings(struct joined *j, struct str recipe, const struct env_spec_file *f, struct err *e)
{
	for (uint32_t i = 0; i < f->variables_n; i++) {
		vec_foreach(have, &j->variables)
			if (str_eq(have->name, f->variables[i].name))
				return disagree(recipe, "variable", have->name, e);
		vec_push(&j->variables, f->variables[i]);
	}
	for (uint32_t i = 0; i < f->components_n; i++) {
		vec_foreach(have, &j->components)
			if (str_eq(have->name, f->components[i].name))
				return disagree(recipe, "component", have->name, e);
		vec_push(&j->components, f->components[i]);
	}
	return 0;
}

static int join_packages(struct joined *j, struct str recipe, const struct env_spec_file *f, struct err *e)
{
	for (uint32_t i = 0; i < f->packages_n; i++) {
		const struct pkg_record *new = &f->packages[i].record;
		size_t at = 0;
		while (at < j->packages.n && !str_eq(j->packages.v[at].record.name, new->name))
			at++;
		if (at == j->packages.n) {
			vec_push(&j->packages, f->packages[i]);
			vec_push(&j->package_of, recipe);
			continue;
		}
		const struct pkg_record *old = &j->packages.v[at].record;
		if (!pkg_record_same(old, new))
			return err_new(
				e, ERR_INPUT,
				"'%.*s' brings %.*s %.*s, and '%.*s' %.*s %.*s; one installation has one of them: take recipes that were made for each other, or one after the other",
				STR_ARG(j->package_of.v[at]), STR_ARG(old->name), STR_ARG(old->version),
				STR_ARG(recipe), STR_ARG(new->name), STR_ARG(new->version));
	}
	return 0;
}

static int join(struct joined *j, struct str updates, struct str recipe, const struct env_spec_file *f, struct err *e)
{
	struct env_spec_file *all = &j->all;
	if (cmd_check_os(j->c, recipe, f->os, e) < 0)
		return -1;
	if (j->n > 0 && all->is_lock != f->is_lock)
		return err_new(e, ERR_INPUT, "'%.*s' has %s and the recipe before it %s; take them one after the other",
			       STR_ARG(recipe), f->is_lock ? "exact packages" : "specs",
			       all->is_lock ? "exact packages" : "specs");
	if (j->n > 0 && f->subdir.n && all->subdir.n && !str_eq(f->subdir, all->subdir))
		return disagree(recipe, "platform", f->subdir, e);
	all->is_lock = f->is_lock;
	all->name = all->name.n ? all->name : f->name;
	all->subdir = all->subdir.n ? all->subdir : f->subdir;
	if (join_channels(j, updates, f, e) < 0)
		return -1;
	for (uint32_t i = 0; i < f->specs_n; i++) {
		vec_push(&j->specs, f->specs[i]);
		*vec_add(&j->c->asked) = (struct cmd_asked){f->specs[i], recipe};
	}
	j->n++;
	return join_settings(j, recipe, f, e) < 0 ? -1 : join_packages(j, recipe, f, e);
}

static void finish(struct joined *j, struct env_spec_file *ret)
{
	struct arena *a = &j->c->arena;
	*ret = j->all;
	ret->channels = vec_copy(&j->channels, a);
	ret->channels_n = (uint32_t)j->channels.n;
	ret->specs = vec_copy(&j->specs, a);
	ret->specs_n = (uint32_t)j->specs.n;
	ret->variables = vec_copy(&j->variables, a);
	ret->variables_n = (uint32_t)j->variables.n;
	ret->components = vec_copy(&j->components, a);
	ret->components_n = (uint32_t)j->components.n;
	ret->packages = vec_copy(&j->packages, a);
	ret->packages_n = (uint32_t)j->packages.n;
}

/* -- recipes ---------------------------------------------------------------------------------------------------------- */

/* "to:A.spr,to:B.spr": each, without its "to:". */
static int split(const char *words, struct str ret[RECIPES_MAX], size_t *ret_n, struct err *e)
{
	struct str rest = str_c(words), word;
	for (*ret_n = 0; rest.n;) {
		if (!str_take_until(&rest, ',', &word)) {
			word = rest;
			rest = STR_NONE;
		}
		word = str_trim(word);
		if (!word.n)
			continue;
		if (!str_take_str(&word, STR("to:")) || !channel_path_is_normal(word))
			return err_new(e, ERR_USAGE, "'%.*s' is no recipe of a mirror: to:PATH.spr", STR_ARG(word));
		if (*ret_n == RECIPES_MAX)
			return err_new(e, ERR_LIMIT, "more than %d recipes at once", RECIPES_MAX);
		ret[(*ret_n)++] = word;
	}
	return *ret_n ? 0 : err_new(e, ERR_USAGE, "which recipe? as in: to:step/core.spr");
}

static int get_recipe(struct joined *j, struct str updates, const struct channel_takeout *t, struct err *e)
{
	auto_buf b = BUF_INIT(RECIPE_MAX);
	struct env_spec_file f = {0};
	struct arena *a = &j->c->arena;
	const char *where = arena_printf(a, "to:%.*s", STR_ARG(t->recipe.path));
	if (t->disabled.n)
		return err_new(e, ERR_UNSUPPORTED, "'%s' is not offered any more: %.*s", where, STR_ARG(t->disabled));
	if (get_file(j->c, updates, &t->recipe, &b, e) < 0 ||
	    env_file_read(a, arena_str(a, buf_str(&b)), where, &f, e) < 0)
		return -1;
	for (uint32_t i = 0; i < f.components_n; i++)
		if (f.components[i].path.n)
			return err_new(e, ERR_INPUT,
				       "'%s' names component '%.*s' by a path; a recipe of a mirror has its text in it",
				       where, STR_ARG(f.components[i].name));
	return join(j, updates, t->recipe.path, &f, e);
}

int cmd_takeout_read(struct cmd_context *c, const char *words, struct env_spec_file *ret, struct err *e)
{
	auto_joined j = {.c = c};
	struct str path[RECIPES_MAX];
	const struct cmd_takeout *list;
	size_t n;
	if (split(words, path, &n, e) < 0 || get_list(c, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct channel_takeout *t = find(list, path[i]);
		if (!t)
			return err_new(
				e, ERR_NOT_FOUND,
				"the mirror has no recipe 'to:%.*s'; 'slipway spot --list' shows those there are",
				STR_ARG(path[i]));
		if (get_recipe(&j, list->updates, t, e) < 0)
			return -1;
	}
	finish(&j, ret);
	return 0;
}

/* -- release notes ---------------------------------------------------------------------------------------------------- */

static struct str version_in(const struct env_spec_file *f, struct str name)
{
	for (uint32_t i = 0; f && i < f->packages_n; i++)
		if (str_eq(f->packages[i].record.name, name))
			return f->packages[i].record.version;
	return STR_NONE;
}

/* <, =, > 0; a version that is none counts as the same. */
static int compare(struct arena *a, struct str x, struct str y)
{
	struct err ignored = ERR_INIT;
	const struct version *v = pkg_conda.version_parse(a, x, &ignored), *w = pkg_conda.version_parse(a, y, &ignored);
	return v && w ? pkg_conda.version_cmp(v, w) : 0;
}

/* A heading "# NAME VERSION" of something that is there in that version or a newer one, or that the recipe does not bring. */
static bool is_news(struct cmd_context *c, struct str heading, const struct env_spec_file *installed,
		    const struct env_spec_file *target)
{
	struct str name, version, has, brings;
	heading = str_trim(heading);
	if (!str_take_word(&heading, &name) || !str_take_word(&heading, &version) || str_trim(heading).n)
		return true; /* of the recipe as a whole */
	has = version_in(installed, name);
	brings = version_in(target, name);
	if (has.n && compare(&c->arena, version, has) <= 0)
		return false;
	return !brings.n || compare(&c->arena, version, brings) <= 0;
}

static void put_news(struct cmd_context *c, struct str text, const struct env_spec_file *installed,
		     const struct env_spec_file *target, struct buf *ret)
{
	struct str line, heading;
	bool shown = true;
	while (str_take_line(&text, &line)) {
		heading = line;
		if (str_take_str(&heading, STR("# ")))
			shown = is_news(c, heading, installed, target);
		if (!shown)
			continue;
		buf_put_str(ret, line);
		buf_put_char(ret, '\n');
	}
}

int cmd_takeout_notes(struct cmd_context *c, const char *words, const struct env_spec_file *installed,
		      const struct env_spec_file *target, struct buf *ret, struct err *e)
{
	struct str path[RECIPES_MAX];
	const struct cmd_takeout *list;
	size_t n;
	if (split(words, path, &n, e) < 0 || get_list(c, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const struct channel_takeout *t = find(list, path[i]);
		auto_buf b = BUF_INIT(NOTES_MAX);
		if (!t || !t->notes.path.n)
			continue;
		if (get_file(c, list->updates, &t->notes, &b, e) < 0)
			return -1;
		put_news(c, buf_str(&b), installed, target, ret);
	}
	return 0;
}

/* -- what there is ------------------------------------------------------------------------------------------------------ */

static void put_entry(struct jw *w, const void *ctx, size_t i)
{
	const struct channel_takeout *t = (const struct channel_takeout *)ctx + i;
	jw_kv_str(w, "path", t->recipe.path);
	jw_kv_int(w, "size", (int64_t)t->recipe.size);
	jw_kv_str(w, "platform", t->platform);
	jw_kv_int(w, "released_ms", t->released_ms);
	jw_kv_bool(w, "notes", t->notes.path.n > 0);
	jw_kv_str(w, "disabled", t->disabled);
	jw_kv_str(w, "os", t->os);
}

int cmd_takeout_list(struct cmd_context *c, struct err *e)
{
	static const char *const titles[] = {"Recipe", "Released", "Platform", ""};
	struct out_table t = {.titles = titles, .columns = 4, .whole = 1};
	const struct cmd_takeout *list;
	auto_answer answer = {0};
	if (get_list(c, &list, e) < 0)
		return -1;
	const struct channel_takeout *v = list->v;
	size_t n = list->n;
	if (c->json) {
		struct jw *w = cmd_answer(&answer);
		jw_kv_objects(w, "recipes", n, put_entry, v);
		cmd_catalogues_json(c, w);
		return cmd_answer_print(c, &answer);
	}
	for (size_t i = 0; i < n; i++) {
		auto_buf day = BUF_INIT(64);
		if (v[i].released_ms)
			clock_put_table(&day, v[i].released_ms);
		out_table_cell(&t, "to:%.*s", STR_ARG(v[i].recipe.path));
		out_table_cell(&t, "%.10s", day.p ? day.p : "");
		out_table_cell(&t, "%.*s", STR_ARG(v[i].platform));
		struct str why = v[i].disabled.n ? STR("") : cmd_why_not_os(c, v[i].os);
		out_table_cell(&t, "%s%.*s%s%.*s", v[i].disabled.n ? "withdrawn: " : "", STR_ARG(v[i].disabled),
			       why.n ? "not for this system: " : "", STR_ARG(why));
	}
	if (n)
		out_table_print(&c->out, &t);
	else
		cmd_say(c, "the mirror offers no recipes");
	return CMD_OK;
}
