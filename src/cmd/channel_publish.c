// SPDX-License-Identifier: Apache-2.0
/* channel publish, yank, key: packages of any kind in a channel folder, and the key that signs what is made there. */
#include <fcntl.h>

#include "base/fs.h"
#include "base/json.h"
#include "cmd/change.h"
#include "cmd/channel_part.h"
#include "cmd/channel_sign.h"
#include "cmd/channel_sync.h"

struct publish_args {
	const char *kind, *suite, *component, *key, *origin, *label, *owner, *reason, *into, *passphrase_file;
	int64_t valid_days;
	bool replace, shards, is_unsigned, ed25519, drop;
	struct cmd_list tuf_keys, words;
};

static int run(struct cmd_context *c, int argc, char **argv,
	       int (*fn)(struct cmd_context *c, const struct publish_args *a, struct err *e))
{
	struct publish_args a = {0};
	const struct cmd_option options[] = {
		{0, "replace", CMD_FLAG, &a.replace},
		{0, "shards", CMD_FLAG, &a.shards},
		{0, "kind", CMD_TEXT, &a.kind},
		{0, "suite", CMD_TEXT, &a.suite},
		{0, "component", CMD_TEXT, &a.component},
		{0, "into", CMD_TEXT, &a.into},
		{0, "origin", CMD_TEXT, &a.origin},
		{0, "label", CMD_TEXT, &a.label},
		{0, "valid-for", CMD_NUMBER, &a.valid_days},
		{0, "key", CMD_TEXT, &a.key},
		{0, "unsigned", CMD_FLAG, &a.is_unsigned},
		{0, "owner", CMD_TEXT, &a.owner},
		{0, "reason", CMD_TEXT, &a.reason},
		{0, "drop", CMD_FLAG, &a.drop},
		{0, "ed25519", CMD_FLAG, &a.ed25519},
		{0, "tuf-keys", CMD_LIST, &a.tuf_keys},
		{0, "passphrase-file", CMD_TEXT, &a.passphrase_file},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : fn(c, &a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a.words);
	vec_release(&a.tuf_keys);
	return code;
}

/* -- which kind ---------------------------------------------------------------------------------------------------- */

/* What all the files are; NULL where there are none. Beside opam files lie archives, which are named like anything. */
static int kind_of_files(const struct publish_args *a, const struct channel_kind **ret, struct err *e)
{
	const struct channel_kind *opam = channel_kind(STR("opam"));
	const char *first = NULL;
	*ret = NULL;
	for (size_t i = 1; i < a->words.n; i++)
		if (!fs_exists(AT_FDCWD, a->words.v[i]))
			return err_new(e, ERR_NOT_FOUND, "there is no file '%s'", a->words.v[i]);
	for (size_t i = 1; i < a->words.n; i++)
		if (channel_kind_of_package(str_c(a->words.v[i])) == opam)
			*ret = opam;
	for (size_t i = 1; i < a->words.n && *ret != opam; i++) {
		const struct channel_kind *k = channel_kind_of_package(str_c(a->words.v[i]));
		if (k && *ret && k != *ret)
			return err_new(e, ERR_USAGE, "'%s' is a package of a %s channel, '%s' of a %s channel", first,
				       channel_kind_name(*ret), a->words.v[i], channel_kind_name(k));
		if (!k || *ret)
			continue;
		*ret = k;
		first = a->words.v[i];
	}
	return 0;
}

/* By what is said, else by what the folder holds and the files are. */
static int choose_kind(const struct publish_args *a, const struct channel_kind **ret, struct err *e)
{
	const struct channel_kind *of_files, *of_folder = NULL;
	struct err ignored = ERR_INIT;
	if (a->kind) {
		*ret = channel_kind(str_c(a->kind));
		return *ret ? 0
			    : err_new(e, ERR_USAGE,
				      "'%s' is no kind of channel; these are: conda, deb, rpm, pypi, opam, takeout, plan",
				      a->kind);
	}
	auto_fd folder = fs_open_dir(AT_FDCWD, a->words.v[0], &ignored);
	if (folder >= 0)
		of_folder = channel_kind_of(folder);
	if (kind_of_files(a, &of_files, e) < 0)
		return -1;
	if (of_folder == channel_kind(STR("opam")) || of_folder == channel_kind(STR("plan")))
		of_files = of_folder;
	if (of_files && of_folder && of_files != of_folder)
		return err_new(e, ERR_USAGE, "'%s' is a %s channel, the packages are those of a %s channel",
			       a->words.v[0], channel_kind_name(of_folder), channel_kind_name(of_files));
	if (!of_files && !of_folder && a->words.n > 1)
		return err_new(e, ERR_USAGE, "'%s' is not named like a package; of which --kind is it?", a->words.v[1]);
	*ret = of_files ? of_files : of_folder ? of_folder : channel_kind(STR("conda"));
	return 0;
}

static int check_options(const struct publish_args *a, const struct channel_kind *k, struct err *e)
{
	const char *wrong = a->suite	    ? "--suite"
			    : a->component  ? "--component"
			    : a->origin	    ? "--origin"
			    : a->label	    ? "--label"
			    : a->valid_days ? "--valid-for"
					    : NULL;
	if (wrong && k != channel_kind(STR("deb")))
		return err_new(e, ERR_USAGE, "'%s' is for deb channels, this is a %s channel", wrong,
			       channel_kind_name(k));
	if (a->into && k != channel_kind(STR("takeout")))
		return err_new(e, ERR_USAGE, "'--into' is for recipes, this is a %s channel", channel_kind_name(k));
	if (a->valid_days < 0 || a->valid_days > 36500)
		return err_new(e, ERR_USAGE, "--valid-for wants days, 1 to 36500");
	return 0;
}

/* -- keys ---------------------------------------------------------------------------------------------------------- */

/* Outside every channel: what is served must not hold it. */
static int key_home(struct cmd_context *c, const char *given, const char **ret, struct err *e)
{
	if (!given && cmd_need_root(c, e) < 0)
		return -1;
	*ret = given ? given : arena_printf(&c->arena, "%s/keys/openpgp", c->root_path);
	return 0;
}

/* 1 with a signer, 0 without. */
int cmd_channel_signer(struct cmd_context *c, const char *given, bool is_unsigned, const struct channel_kind *k,
		       struct channel_signer *ret, struct err *e)
{
	enum channel_signing signing = channel_kind_signing(k);
	char *key = arena_alloc(&c->arena, CHANNEL_KEY_SIZE);
	if (signing == CHANNEL_SIGNING_NONE || is_unsigned)
		return 0;
	if (key_home(c, given, &ret->home, e) < 0)
		return -1;
	int rc = channel_key_find(ret->home, key, e);
	ret->key = key;
	if (rc != 0 || (signing == CHANNEL_SIGNING_OPTIONAL && !given))
		return rc;
	return err_new(e, ERR_USAGE,
		       "there is no key to sign with in '%s', and clients refuse what is not signed; make one with "
		       "'slipway channel key', or say --unsigned",
		       ret->home);
}

static int put_public(const struct channel_signer *s, int dir, const char *name, bool armored, struct err *e)
{
	auto_buf b = BUF_INIT(1 << 20);
	if (channel_key_export(s, armored, &b, e) < 0)
		return -1;
	return fs_replace(dir, name, b.p, b.n, FS_REPLACE_SYNC, e);
}

static int key_answer(struct cmd_context *c, const struct channel_signer *s, bool made)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "key", s->key);
	jw_kv_c(w, "home", s->home);
	jw_kv_bool(w, "made", made);
	return cmd_answer_print(c, &answer);
}

static int key(struct cmd_context *c, const struct publish_args *a, struct err *e)
{
	char found[CHANNEL_KEY_SIZE] = "";
	struct channel_signer s = {.key = found};
	enum channel_key_kind kind = a->ed25519 ? CHANNEL_KEY_ED25519 : CHANNEL_KEY_RSA;
	if (a->words.n > 1)
		return err_new(e, ERR_USAGE, "one folder at a time: slipway channel key FOLDER");
	if (key_home(c, a->key, &s.home, e) < 0)
		return -1;
	int rc = channel_key_find(s.home, found, e);
	if (rc < 0)
		return -1;
	if (rc == 0 && !c->dry_run) {
		if (channel_key_make(s.home, a->owner ? str_c(a->owner) : STR("Slipway channel"), kind, found, e) < 0)
			return -1;
		cmd_changed(c);
	}
	if (rc == 0)
		cmd_say(c, "%s in '%s'; keep a copy of it in a safe place",
			c->dry_run ? "would make a key" : "made a key", s.home);
	if (a->words.n == 1 && !c->dry_run) {
		auto_fd dir = fs_open_dir_make(AT_FDCWD, a->words.v[0], e);
		if (dir < 0 || put_public(&s, dir, "key.asc", true, e) < 0 ||
		    put_public(&s, dir, "key.gpg", false, e) < 0)
			return -1;
		cmd_changed(c);
		cmd_say(c, "its public half is '%s/key.asc', and 'key.gpg' without armor", a->words.v[0]);
	}
	if (c->json)
		return key_answer(c, &s, rc == 0 && !c->dry_run);
	auto_buf b = BUF_INIT(1000);
	if (found[0])
		buf_printf(&b, "%s\n", found);
	return cmd_print(c, &b);
}

int cmd_channel_key(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, key);
}

/* -- publish ------------------------------------------------------------------------------------------------------- */

static int published_answer(struct cmd_context *c, const struct publish_args *a, const struct channel_kind *k)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", "publish");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "folder", a->words.v[0]);
	jw_kv_c(w, "kind", channel_kind_name(k));
	jw_key(w, "files");
	jw_array(w);
	for (size_t i = 1; i < a->words.n; i++)
		jw_c(w, a->words.v[i]);
	jw_array_end(w);
	return cmd_answer_print(c, &answer);
}

static int publish(struct cmd_context *c, const struct publish_args *a, struct err *e)
{
	const struct channel_kind *k;
	struct channel_signer signer = {0};
	if (a->words.n < 1)
		return err_new(e, ERR_USAGE, "publish what where? as in: slipway channel publish ./channel *.conda");
	if (cmd_target_tree(c, &a->words.v[0], e) < 0 || choose_kind(a, &k, e) < 0 || check_options(a, k, e) < 0)
		return -1;
	int is_signed = cmd_channel_signer(c, a->key, a->is_unsigned, k, &signer, e);
	if (is_signed < 0)
		return -1;
	struct channel_make_opts o = {.dry_run = c->dry_run,
				      .replace = a->replace,
				      .shards = a->shards,
				      .signer = is_signed ? &signer : NULL,
				      .suite = str_c(a->into ? a->into : a->suite),
				      .component = str_c(a->component),
				      .origin = str_c(a->origin),
				      .label = str_c(a->label),
				      .valid_ms = a->valid_days * 24 * 3600 * 1000};
	struct cmd_seal seal = {.c = c, .kind = k, .keys = &a->tuf_keys, .passphrase_file = a->passphrase_file};
	cmd_seal_with(&seal, &o);
	if (!c->dry_run)
		cmd_if_interrupted(c, "what '%s' listed is listed still; the same command does the rest",
				   a->words.v[0]);
	cmd_progress_begin(c);
	int rc = channel_kind_publish(k, a->words.v[0], a->words.v + 1, a->words.n - 1, &o, &c->progress, e);
	cmd_progress_end(c);
	if (rc < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "%s%zu package file%s in '%s'", c->dry_run ? "would publish " : "published ", a->words.n - 1,
		a->words.n == 2 ? "" : "s", a->words.v[0]);
	return c->json ? published_answer(c, a, k) : 0;
}

int cmd_channel_publish(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, publish);
}

/* -- yank --------------------------------------------------------------------------------------------------------- */

static int yanked_answer(struct cmd_context *c, const struct publish_args *a, const struct channel_kind *k)
{
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_kv_c(w, "operation", a->drop ? "drop" : "yank");
	jw_kv_bool(w, "dry_run", c->dry_run);
	jw_kv_c(w, "folder", a->words.v[0]);
	jw_kv_c(w, "kind", channel_kind_name(k));
	jw_key(w, "paths");
	jw_array(w);
	for (size_t i = 1; i < a->words.n; i++)
		jw_c(w, a->words.v[i]);
	jw_array_end(w);
	return cmd_answer_print(c, &answer);
}

static int yank(struct cmd_context *c, const struct publish_args *a, struct err *e)
{
	struct channel_signer signer = {0};
	const struct channel_kind *k;
	if (a->words.n < 2)
		return err_new(e, ERR_USAGE,
			       "yank what where? as in: slipway channel yank ./channel noarch/x-1-0.conda");
	if (cmd_target_tree(c, &a->words.v[0], e) < 0)
		return -1;
	auto_fd dir = fs_open_dir(AT_FDCWD, a->words.v[0], e);
	if (dir < 0)
		return err_ctx(e, "channel folder");
	k = a->kind ? channel_kind(str_c(a->kind)) : channel_kind_of(dir);
	if (!k)
		return err_new(e, ERR_USAGE, "which kind of channel '%s' is, is not to be seen; say --kind",
			       a->words.v[0]);
	size_t n = a->words.n - 1;
	struct str *paths = arena_array(&c->arena, struct str, n);
	for (size_t i = 0; i < n; i++) {
		paths[i] = str_c(a->words.v[i + 1]);
		if (!channel_path_is_normal(paths[i]))
			return err_new(e, ERR_USAGE, "'%s' is no path below the folder, as packages/x/x-1.whl is",
				       a->words.v[i + 1]);
	}
	int is_signed = cmd_channel_signer(c, a->key, a->is_unsigned, k, &signer, e);
	if (is_signed < 0)
		return -1;
	struct channel_make_opts o = {
		.dry_run = c->dry_run, .suite = str_c(a->suite), .signer = is_signed ? &signer : NULL};
	struct cmd_seal seal = {.c = c, .kind = k, .keys = &a->tuf_keys, .passphrase_file = a->passphrase_file};
	cmd_seal_with(&seal, &o);
	if (channel_kind_remove(k, a->words.v[0], paths, n, a->drop ? CHANNEL_DROP : CHANNEL_YANK,
				a->reason ? str_c(a->reason) : STR_NONE, &o, e) < 0)
		return -1;
	if (!c->dry_run)
		cmd_changed(c);
	cmd_say(c, "%s%s %zu package file%s in '%s'", c->dry_run ? "would have " : "", a->drop ? "dropped" : "yanked",
		n, n == 1 ? "" : "s", a->words.v[0]);
	return c->json ? yanked_answer(c, a, k) : 0;
}

int cmd_channel_yank(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, yank);
}
