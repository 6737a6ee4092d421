// SPDX-License-Identifier: Apache-2.0
/* channel create, and channel sync of what follows others. */
#include "cmd/channel_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/url.h"
#include "cmd/change.h"

enum { DAMAGED_SHOWN = 20 };

/* -- targets ------------------------------------------------------------------------------------------------------- */

static const char *without_slashes(struct cmd_context *c, const char *word)
{
	size_t n = strlen(word);
	while (n > 1 && word[n - 1] == '/')
		n--;
	return arena_strdup(&c->arena, str_of(word, n));
}

/* The folder above, and the last part; false where there is none. */
static bool split(struct cmd_context *c, const char *word, const char **dir, struct str *name)
{
	ptrdiff_t slash = str_rfind(str_c(word), '/');
	*name = slash < 0 ? str_c(word) : str_skip(str_c(word), (size_t)slash + 1);
	*dir = slash < 0 ? "." : slash == 0 ? "/" : arena_strdup(&c->arena, str_of(word, (size_t)slash));
	return name->n > 0 && !str_eq(*name, STR(".")) && !str_eq(*name, STR(".."));
}

static bool is_mirror(struct cmd_context *c, const char *dir)
{
	return fs_exists(AT_FDCWD, arena_printf(&c->arena, "%s/mirror.yaml", dir));
}

static bool follows(struct cmd_context *c, const char *dir)
{
	return fs_exists(AT_FDCWD, arena_printf(&c->arena, "%s/.slipway/channel.yaml", dir));
}

static int channel_of_mirror(struct cmd_context *c, const char *dir, struct str name, struct cmd_target *ret,
			     struct err *e)
{
	if (mirror_open(dir, &ret->m, e) < 0)
		return -1;
	ret->channel = mirror_channel(ret->m, name);
	if (!ret->channel)
		return err_new(
			e, ERR_NOT_FOUND,
			"mirror '%s' has no channel '%.*s'; make it with: slipway channel create %s/%.*s --kind KIND",
			dir, STR_ARG(name), dir, STR_ARG(name));
	ret->kind = ret->channel->kind;
	ret->folder = arena_printf(&c->arena, "%s/content/%.*s", mirror_dir(ret->m), STR_ARG(name));
	return 0;
}

static int plain_folder(const char *word, struct cmd_target *ret, struct err *e)
{
	auto_fd dir = fs_open_dir(AT_FDCWD, word, e);
	if (dir < 0)
		return err_ctx(e, "channel '%s'", word);
	ret->kind = channel_kind_of(dir);
	ret->folder = word;
	if (!ret->kind)
		return err_new(e, ERR_NOT_FOUND,
			       "'%s' is no channel that is known; make one with: slipway channel create %s --kind KIND",
			       word, word);
	return 0;
}

/* MIRROR/content/NAME of a channel that the mirror knows: the mirror and the name. */
static bool is_tree(struct cmd_context *c, const char *word, const char **dir, struct str *name)
{
	struct err ignored = ERR_INIT;
	struct str content;
	if (!split(c, word, dir, name) || !split(c, *dir, dir, &content) || !str_eq(content, STR("content")) ||
	    !is_mirror(c, *dir))
		return false;
	auto_ptr(mirror) m = NULL;
	return mirror_open(*dir, &m, &ignored) == 0 && mirror_channel(m, *name);
}

int cmd_target(struct cmd_context *c, const char *word, struct cmd_target *ret, struct err *e)
{
	struct str name;
	const char *dir;
	*ret = (struct cmd_target){0};
	word = without_slashes(c, word);
	if (is_mirror(c, word))
		return mirror_open(word, &ret->m, e);
	if (follows(c, word)) {
		if (mirror_open(word, &ret->m, e) < 0)
			return -1;
		ret->channel = mirror_channel(ret->m, STR(""));
		ret->kind = ret->channel->kind;
		ret->folder = word;
		return 0;
	}
	if ((split(c, word, &dir, &name) && is_mirror(c, dir)) || is_tree(c, word, &dir, &name))
		return channel_of_mirror(c, dir, name, ret, e);
	return plain_folder(word, ret, e);
}

int cmd_target_tree(struct cmd_context *c, const char **word, struct err *e)
{
	auto_target t = {0};
	struct str name;
	const char *dir, *plain = without_slashes(c, *word);
	if (is_mirror(c, plain))
		return err_new(e, ERR_USAGE, "'%s' is a mirror: name one of its channels, as %s/NAME", *word, plain);
	bool named = split(c, plain, &dir, &name) && is_mirror(c, dir) && !follows(c, plain);
	if (!named && !is_tree(c, plain, &dir, &name))
		return 0;
	if (channel_of_mirror(c, dir, name, &t, e) < 0)
		return -1;
	if (t.channel->type != MIRROR_LOCAL)
		return err_new(
			e, ERR_USAGE,
			"'%s' follows another channel; packages of one's own go into a local one: slipway channel "
			"create %s/NAME --kind %s --type local",
			*word, dir, channel_kind_name(t.kind));
	if (named)
		*word = arena_printf(&c->arena, "%s/content/%.*s", dir, STR_ARG(name));
	return 0;
}

void cmd_target_release(struct cmd_target *t)
{
	mirror_close(t->m);
	t->m = NULL;
}

/* -- create -------------------------------------------------------------------------------------------------------- */

struct create_args {
	const char *kind, *type, *download, *keyring, *tuf_root, *sign_key, *sign_home;
	struct cmd_list from, platforms, suites, components, names, words;
	bool sources, is_private, shards;
};

static struct mirror_list texts(struct cmd_context *c, const struct cmd_list *l)
{
	struct str *v = arena_array(&c->arena, struct str, l->n + 1);
	for (size_t i = 0; i < l->n; i++)
		v[i] = str_c(l->v[i]);
	return (struct mirror_list){v, l->n};
}

/* Folders as they are, wherever the command is run later. */
static int absolute_sources(struct cmd_context *c, struct mirror_list *from, struct err *e)
{
	struct str *v = arena_array(&c->arena, struct str, from->n + 1);
	for (size_t i = 0; i < from->n; i++) {
		v[i] = from->v[i];
		if (str_search(v[i], STR("://")) > 0)
			continue;
		auto_free char *path = realpath(v[i].p, NULL);
		if (!path)
			return err_sys(e, "--from '%.*s'", STR_ARG(v[i]));
		v[i] = arena_str(&c->arena, str_c(path));
	}
	from->v = v;
	return 0;
}

/* A file that was named here, wherever the mirror is opened later. */
static int absolute_file(struct cmd_context *c, const char *option, struct str *file, struct err *e)
{
	if (!file->n)
		return 0;
	auto_free char *path = realpath(file->p, NULL);
	if (!path)
		return err_sys(e, "%s '%s'", option, file->p);
	*file = arena_str(&c->arena, str_c(path));
	return 0;
}

static int read_type(const struct create_args *a, enum mirror_type *ret, struct err *e)
{
	static const char *const words[] = {"local", "proxy", "mirror"};
	*ret = a->from.n ? MIRROR_FOLLOW : MIRROR_LOCAL;
	for (int i = 0; a->type && i < 3; i++)
		if (strcmp(a->type, words[i]) == 0) {
			*ret = (enum mirror_type)i;
			return 0;
		}
	return a->type ? err_new(e, ERR_USAGE, "--type is local, proxy or mirror, not '%s'", a->type) : 0;
}

static int create_answer(struct cmd_context *c, const struct create_args *a, const char *type)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "create");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "channel", a->words.v[0]);
	jw_kv_c(w, "kind", a->kind);
	jw_kv_c(w, "type", type);
	return cmd_answer_print(c, &answer);
}

static int create(struct cmd_context *c, const struct create_args *a, struct err *e)
{
	static const char *const types[] = {"local", "proxy", "mirror"};
	struct mirror_create o = {.from = texts(c, &a->from),
				  .platforms = texts(c, &a->platforms),
				  .suites = texts(c, &a->suites),
				  .components = texts(c, &a->components),
				  .names = texts(c, &a->names),
				  .download = a->download ? str_c(a->download) : STR_NONE,
				  .keyring = a->keyring ? str_c(a->keyring) : STR_NONE,
				  .tuf_root = a->tuf_root ? str_c(a->tuf_root) : STR_NONE,
				  .sign_key = a->sign_key ? str_c(a->sign_key) : STR_NONE,
				  .sign_home = a->sign_home ? str_c(a->sign_home) : STR_NONE,
				  .sources = a->sources,
				  .is_private = a->is_private,
				  .shards = a->shards};
	struct str name = STR("");
	const char *dir;
	if (a->words.n != 1 || !a->kind)
		return err_new(
			e, ERR_USAGE,
			"create which channel, of which kind? as in: slipway channel create /srv/mirror/tools --kind conda "
			"--from https://…");
	o.kind = channel_kind(str_c(a->kind));
	if (!o.kind)
		return err_new(e, ERR_USAGE, "--kind is conda, deb, rpm, pypi, opam, takeout or plan, not '%s'",
			       a->kind);
	if (read_type(a, &o.type, e) < 0 || absolute_sources(c, &o.from, e) < 0 ||
	    absolute_file(c, "--keyring", &o.keyring, e) < 0 || absolute_file(c, "--tuf-root", &o.tuf_root, e) < 0 ||
	    absolute_file(c, "--sign-home", &o.sign_home, e) < 0)
		return -1;
	if (o.type != MIRROR_LOCAL && !o.from.n)
		return err_new(e, ERR_USAGE,
			       "a channel of this type follows another: name that with --from URL-or-folder");
	const char *word = without_slashes(c, a->words.v[0]);
	if (!split(c, word, &dir, &name) || !is_mirror(c, dir)) {
		dir = word;
		name = STR("");
	}
	if (!c->dry_run && mirror_create(dir, name, &o, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "%s %s channel '%s' of kind %s", c->dry_run ? "would make" : "made", types[o.type], word, a->kind);
	if (!c->dry_run && o.type != MIRROR_LOCAL)
		cmd_say(c, "bring it up to date with: slipway channel sync %s", word);
	if (!c->dry_run && name.n)
		cmd_say(c, "a server that runs serves it after: slipway mirror restart %s", dir);
	return c->json ? create_answer(c, a, types[o.type]) : CMD_OK;
}

int cmd_channel_create(struct cmd_context *c, int argc, char **argv)
{
	struct create_args a = {0};
	struct err e = ERR_INIT;
	const struct cmd_option options[] = {
		{0, "kind", CMD_TEXT, &a.kind},		{0, "type", CMD_TEXT, &a.type},
		{0, "from", CMD_LIST, &a.from},		{0, "platform", CMD_LIST, &a.platforms},
		{0, "suite", CMD_LIST, &a.suites},	{0, "component", CMD_LIST, &a.components},
		{0, "package", CMD_LIST, &a.names},	{0, "download", CMD_TEXT, &a.download},
		{0, "keyring", CMD_TEXT, &a.keyring},	{0, "tuf-root", CMD_TEXT, &a.tuf_root},
		{0, "sign-key", CMD_TEXT, &a.sign_key}, {0, "sign-home", CMD_TEXT, &a.sign_home},
		{0, "sources", CMD_FLAG, &a.sources},	{0, "private", CMD_FLAG, &a.is_private},
		{0, "shards", CMD_FLAG, &a.shards},	{0, NULL, CMD_FLAG, NULL},
	};
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : create(c, &a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a.from);
	vec_release(&a.platforms);
	vec_release(&a.suites);
	vec_release(&a.components);
	vec_release(&a.names);
	vec_release(&a.words);
	return code;
}

/* -- sync ---------------------------------------------------------------------------------------------------------- */

struct followed {
	const char *name;
	struct mirror_sync_result r;
	struct err err;
};
VEC_TYPE(followed_vec, struct followed);

static double mb(uint64_t bytes)
{
	return (double)bytes / 1e6;
}

static void say_result(struct cmd_context *c, const struct followed *f)
{
	const struct mirror_sync_result *r = &f->r;
	if (c->dry_run) {
		cmd_say(c,
			"%s: %llu packages (%.1f MB); %llu are held (%.1f MB), %llu would be fetched (%.1f MB), %llu of them "
			"historic (%.1f MB); %llu come when they are asked for (%.1f MB)",
			f->name, (unsigned long long)r->packages, mb(r->package_bytes), (unsigned long long)r->held,
			mb(r->held_bytes), (unsigned long long)r->wanted, mb(r->wanted_bytes),
			(unsigned long long)r->historic, mb(r->historic_bytes), (unsigned long long)r->on_demand,
			mb(r->on_demand_bytes));
		return;
	}
	if (f->err.code != ERR_NONE && !r->fetched && !r->linked && !r->damaged_n)
		return;
	if (r->unchanged && !r->fetched && !r->linked && !r->damaged_n && f->err.code == ERR_NONE)
		cmd_say(c, "%s: nothing new", f->name);
	else
		cmd_say(c,
			"%s: fetched %llu metadata files (%.1f MB) and %llu packages (%.1f MB), linked %llu (%.1f MB), in %.1f s",
			f->name, (unsigned long long)r->metadata_files, mb(r->metadata_bytes),
			(unsigned long long)r->fetched, mb(r->fetched_bytes), (unsigned long long)r->linked,
			mb(r->linked_bytes), (double)r->took_ms / 1000);
	for (size_t i = 0; i < r->damaged_n && i < DAMAGED_SHOWN; i++)
		cmd_warn(c, "%s: '%.*s' could not be had: %.*s", f->name, STR_ARG(r->damaged[i].path),
			 STR_ARG(r->damaged[i].reason));
	if (r->damaged_n > DAMAGED_SHOWN)
		cmd_warn(c, "%s: and %zu more; --json lists them", f->name, r->damaged_n - DAMAGED_SHOWN);
}

static void put_followed(struct jw *w, const void *ctx, size_t i)
{
	const struct followed *f = (const struct followed *)ctx + i;
	const struct mirror_sync_result *r = &f->r;
	const struct {
		const char *name;
		uint64_t value;
	} counts[] = {
		{"metadata_files", r->metadata_files},
		{"metadata_bytes", r->metadata_bytes},
		{"packages", r->packages},
		{"package_bytes", r->package_bytes},
		{"held", r->held},
		{"held_bytes", r->held_bytes},
		{"wanted", r->wanted},
		{"wanted_bytes", r->wanted_bytes},
		{"historic", r->historic},
		{"historic_bytes", r->historic_bytes},
		{"on_demand", r->on_demand},
		{"on_demand_bytes", r->on_demand_bytes},
		{"fetched", r->fetched},
		{"fetched_bytes", r->fetched_bytes},
		{"linked", r->linked},
		{"linked_bytes", r->linked_bytes},
	};
	jw_kv_c(w, "channel", f->name);
	for (size_t k = 0; k < sizeof(counts) / sizeof(*counts); k++)
		jw_kv_int(w, counts[k].name, (int64_t)counts[k].value);
	jw_kv_bool(w, "unchanged", r->unchanged);
	jw_kv_bool(w, "switched", r->switched);
	jw_key(w, "damaged");
	jw_array(w);
	for (size_t k = 0; k < r->damaged_n; k++) {
		jw_object(w);
		jw_kv_str(w, "path", r->damaged[k].path);
		jw_kv_str(w, "reason", r->damaged[k].reason);
		jw_object_end(w);
	}
	jw_array_end(w);
	if (f->err.code != ERR_NONE)
		jw_kv_c(w, "error", f->err.msg);
}

/* A channel that fails does not stop the others. */
static void follow_one(struct cmd_context *c, struct cmd_target *t, const struct mirror_channel *ch,
		       const struct mirror_sync_opts *o, struct followed_vec *v)
{
	struct followed *f = vec_add(v);
	f->name = ch->name.n ? arena_strdup(&c->arena, ch->name) : t->folder;
	cmd_progress_begin(c);
	(void)mirror_sync(t->m, ch, o, &c->arena, &f->r, &f->err);
	cmd_progress_end(c);
	say_result(c, f);
}

static int follow_target(struct cmd_context *c, const char *word, const struct mirror_sync_opts *o,
			 struct followed_vec *v, struct err *e)
{
	auto_target t = {0};
	if (cmd_target(c, word, &t, e) < 0)
		return -1;
	if (!t.m)
		return err_new(
			e, ERR_USAGE,
			"'%s' follows nothing; make one that does with: slipway channel create FOLDER --kind %s --from URL",
			word, channel_kind_name(t.kind));
	if (t.channel) {
		follow_one(c, &t, t.channel, o, v);
		return 0;
	}
	const struct mirror_config *config = mirror_config(t.m);
	for (size_t i = 0; i < config->channels_n; i++)
		if (config->channels[i].type == MIRROR_FOLLOW)
			follow_one(c, &t, &config->channels[i], o, v);
	return 0;
}

static int read_limit(const char *text, double *ret, struct err *e)
{
	char *end;
	*ret = -1;
	if (!text)
		return 0;
	errno = 0;
	*ret = strtod(text, &end);
	return *text && !*end && !errno && *ret >= 0 && *ret <= 1e6
		       ? 0
		       : err_new(e, ERR_USAGE, "--limit is a number of megabit per second, 0 for none, not '%s'", text);
}

int cmd_channel_follow(struct cmd_context *c, const struct cmd_follow_args *a, struct err *e)
{
	struct mirror_sync_opts o = {.dry_run = c->dry_run, .force = a->force, .progress = &c->progress};
	struct followed_vec v = {0};
	if (!a->targets.n)
		return err_new(
			e, ERR_USAGE,
			"sync what? as in: slipway channel sync /srv/mirror/tools, or with a list of specs: slipway channel "
			"sync --from CHANNEL --file SPECS.txt FOLDER");
	if (read_limit(a->limit, &o.bulk_mbit_per_s, e) < 0)
		return -1;
	cmd_if_interrupted(c, "clients see the state of before; the same command goes on from here");
	int rc = 0;
	for (size_t i = 0; i < a->targets.n && rc == 0; i++)
		rc = follow_target(c, a->targets.v[i], &o, &v, e);
	size_t failed = 0;
	const struct err *first = NULL;
	vec_foreach(f, &v) {
		failed += f->err.code != ERR_NONE;
		if (!first && f->err.code != ERR_NONE)
			first = &f->err;
		else if (f->err.code != ERR_NONE)
			cmd_warn(c, "%s", f->err.msg);
		if (f->r.switched)
			cmd_changed(c);
	}
	if (rc == 0 && first && !c->json) {
		*e = *first;
		rc = -1;
	}
	if (rc == 0 && c->json) {
		auto_answer answer = {0};
		struct jw *w = cmd_answer(&answer);
		jw_kv_c(w, "operation", "sync");
		jw_kv_bool(w, "dry_run", c->dry_run);
		jw_kv_objects(w, "channels", v.n, put_followed, v.v);
		rc = cmd_answer_print(c, &answer);
		if (failed)
			rc = CMD_FAILED;
	}
	vec_release(&v);
	return rc;
}
