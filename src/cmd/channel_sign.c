// SPDX-License-Identifier: Apache-2.0
/* channel sign: a channel's signed metadata, made anew. */
#include "cmd/channel_sign.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "cmd/change.h"
#include "cmd/channel_sync.h"
#include "cmd/passphrase.h"
#include "mirror/mirror.h"

enum { KEYS_MAX = 16, SOON_DAYS = 14 };
static const int64_t day_ms = (int64_t)24 * 3600 * 1000;

struct sign_args {
	bool create;
	struct cmd_list keys, words;
	const char *time, *passphrase_file;
};

/* -- keys --------------------------------------------------------------------------------------------------------------- */

struct folders {
	int fd[KEYS_MAX];
	size_t n;
	const char *first;
};

static void folders_release(struct folders *f)
{
	for (size_t i = 0; i < f->n; i++)
		cleanup_fd(&f->fd[i]);
}
#define auto_folders cleanup_with(folders_release) struct folders

static int open_one(struct folders *f, const char *path, bool make, bool must, struct err *e)
{
	if (!f->first)
		f->first = path;
	if (make && fs_mkdirs(AT_FDCWD, path, 0700, e) < 0)
		return -1;
	if (!must && !fs_exists(AT_FDCWD, path))
		return 0;
	int fd = fs_open_dir(AT_FDCWD, path, e);
	if (fd < 0)
		return err_ctx(e, "keys in '%s'", path);
	f->fd[f->n++] = fd;
	return 0;
}

/* MIRROR/content/NAME → MIRROR/keys/tuf; NULL: it is a folder of its own. */
static const char *keys_of_mirror(struct cmd_context *c, const char *folder)
{
	auto_free char *full = realpath(folder, NULL);
	struct str dir = str_c(full);
	for (int up = 0; up < 2 && dir.n; up++)
		dir = str_head(dir, str_rfind(dir, '/') < 0 ? 0 : (size_t)str_rfind(dir, '/'));
	const char *mirror = arena_strdup(&c->arena, dir);
	if (!dir.n || !fs_exists(AT_FDCWD, arena_printf(&c->arena, "%s/mirror.yaml", mirror)))
		return NULL;
	return arena_printf(&c->arena, "%s/" MIRROR_KEYS, mirror);
}

static int open_keys(struct cmd_context *c, const struct cmd_list *given, const char *folder, bool make,
		     struct folders *f, struct err *e)
{
	if (given && given->n >= KEYS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d folders of keys", KEYS_MAX);
	for (size_t i = 0; given && i < given->n; i++)
		if (open_one(f, given->v[i], make && i == 0, true, e) < 0)
			return -1;
	if (given && given->n)
		return 0;
	const char *mirror = keys_of_mirror(c, folder);
	if (mirror && open_one(f, mirror, make, false, e) < 0)
		return -1;
	if (cmd_need_root(c, e) < 0)
		return -1;
	return open_one(f, arena_printf(&c->arena, "%s/keys/tuf", c->root_path), make && !f->n, false, e);
}

/* -- telling ------------------------------------------------------------------------------------------------------------ */

static void say(struct cmd_context *c, const char *folder, const struct mirror_signed *done, int64_t now_ms)
{
	for (size_t i = 0; i < done->commit.n; i++) {
		const struct tuf_signed *s = &done->commit.v[i];
		auto_buf until = BUF_INIT(64);
		clock_put_iso(&until, s->expires_ms);
		if (s->staged)
			cmd_warn(
				c,
				"%.*s version %lld of '%s' has %lld of %lld signatures; clients that verify see the state of "
				"before until 'slipway tuf sign %s/" CHANNEL_SIGNED
				"/metadata --keys DIR' with the others, and "
				"'slipway channel sign %s' here",
				STR_ARG(s->role), (long long)s->version, folder, (long long)s->signatures,
				(long long)s->threshold, folder, folder);
		else if (c->verbose || strcmp(c->cmd->verb, "sign") == 0)
			cmd_say(c, "%.*s: version %lld, good until %s", STR_ARG(s->role), (long long)s->version,
				until.p);
	}
	for (size_t i = 0; i < done->role_n; i++) {
		const struct tuf_role_status *r = &done->role[i];
		auto_buf until = BUF_INIT(64);
		clock_put_iso(&until, r->expires_ms);
		if (r->version && r->expires_ms < now_ms + SOON_DAYS * day_ms && (int64_t)r->keys_here < r->threshold)
			cmd_warn(
				c,
				"%.*s of '%s' expires at %s, and its keys are not here: 'slipway tuf renew %s/" CHANNEL_SIGNED
				"/metadata %.*s --keys DIR' with them",
				STR_ARG(r->role), folder, until.p, folder, STR_ARG(r->role));
	}
}

static int seal(void *ctx, const char *folder, struct err *e)
{
	struct cmd_seal *s = ctx;
	auto_arena a = ARENA_INIT;
	auto_folders keys = {.n = 0};
	struct mirror_signed done;
	struct err ignored = ERR_INIT;
	auto_fd tree = fs_open_dir(AT_FDCWD, folder, &ignored);
	if (tree < 0 || !mirror_is_signed(tree))
		return 0;
	if (open_keys(s->c, s->keys, folder, false, &keys, e) < 0)
		return -1;
	struct cmd_passphrase pass;
	cmd_passphrase_init(&pass, s->passphrase_file);
	const struct mirror_sign_opts o = {
		.kind = s->kind, .keys_fd = keys.fd, .keys_n = keys.n, .passphrase = &pass.tuf};
	if (mirror_sign(folder, &o, &a, &done, e) < 0)
		return -1;
	cmd_changed(s->c);
	if (!s->folder_told)
		say(s->c, folder, &done, clock_wall_ms());
	s->folder_told = folder;
	return done.waits;
}

void cmd_seal_with(struct cmd_seal *s, struct channel_make_opts *o)
{
	o->seal = seal;
	o->seal_ctx = s;
}

int cmd_seal(struct cmd_seal *s, const char *folder, struct err *e)
{
	return seal(s, folder, e) < 0 ? -1 : 0;
}

/* -- sign --------------------------------------------------------------------------------------------------------------- */

static void put_signed(struct jw *w, const char *folder, const struct mirror_signed *done, bool dry_run)
{
	jw_kv_c(w, "operation", "sign");
	jw_kv_bool(w, "dry_run", dry_run);
	jw_kv_c(w, "folder", folder);
	jw_kv_bool(w, "waits", done->waits);
	jw_key(w, "signed");
	jw_array(w);
	for (size_t i = 0; i < done->commit.n; i++) {
		const struct tuf_signed *s = &done->commit.v[i];
		auto_buf until = BUF_INIT(64);
		clock_put_iso(&until, s->expires_ms);
		jw_object(w);
		jw_kv_str(w, "role", s->role);
		jw_kv_int(w, "version", s->version);
		jw_kv_str(w, "expires", buf_str(&until));
		jw_kv_bool(w, "staged", s->staged);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static int create(struct cmd_context *c, const char *folder, const struct mirror_sign_opts *o,
		  const struct folders *keys, struct err *e)
{
	if (mirror_sign_create(folder, o, e) < 0)
		return -1;
	cmd_say(c,
		"%s keys for root, targets, snapshot and timestamp in '%s': keep a copy of them in a safe place; clients pin "
		"'%s/" CHANNEL_SIGNED "/metadata/1.root.json'",
		c->dry_run ? "would make" : "made", keys->first, folder);
	if (!c->dry_run)
		cmd_changed(c);
	return 0;
}

static int sign(struct cmd_context *c, const struct sign_args *a, struct err *e)
{
	auto_target t = {0};
	auto_folders keys = {.n = 0};
	auto_answer answer = {0};
	struct mirror_signed done;
	struct clock_fake fake = clock_fake_at(0, 0);
	struct cmd_passphrase pass;
	cmd_passphrase_init(&pass, a->passphrase_file);
	if (a->words.n != 1)
		return err_new(e, ERR_USAGE, "sign which channel? as in: slipway channel sign ./channel");
	if (a->time && !tuf_time(str_c(a->time), &fake.wall_ms))
		return err_new(e, ERR_USAGE, "--time wants a time like 2030-01-31T12:00:00Z, not '%s'", a->time);
	if (cmd_target(c, a->words.v[0], &t, e) < 0)
		return -1;
	if (!t.folder || (t.channel && t.channel->type != MIRROR_LOCAL))
		return err_new(e, ERR_USAGE,
			       t.folder ? "'%s' follows another channel, whose keeper signs it"
					: "'%s' is a mirror: name a channel of it",
			       a->words.v[0]);
	if (open_keys(c, &a->keys, t.folder, a->create && !c->dry_run, &keys, e) < 0)
		return -1;
	const struct mirror_sign_opts o = {.kind = t.kind,
					   .keys_fd = keys.fd,
					   .keys_n = keys.n,
					   .passphrase = &pass.tuf,
					   .clock = a->time ? &fake.base : NULL,
					   .dry_run = c->dry_run};
	if (a->create && create(c, t.folder, &o, &keys, e) < 0)
		return -1;
	int rc = a->create && c->dry_run ? 1 : mirror_sign(t.folder, &o, &c->arena, &done, e);
	if (rc == 0)
		return err_new(e, ERR_USAGE, "'%s' is not signed yet; begin with: slipway channel sign --create %s",
			       t.folder, a->words.v[0]);
	if (rc < 0)
		return -1;
	if (a->create && c->dry_run)
		return CMD_OK;
	if (!c->dry_run)
		cmd_changed(c);
	say(c, t.folder, &done, a->time ? fake.wall_ms : clock_wall_ms());
	if (!done.commit.n)
		cmd_say(c, "nothing changed, and nothing expires soon");
	put_signed(cmd_answer(&answer), t.folder, &done, c->dry_run);
	return c->json ? cmd_answer_print(c, &answer) : CMD_OK;
}

int cmd_channel_sign(struct cmd_context *c, int argc, char **argv)
{
	struct sign_args a = {0};
	const struct cmd_option options[] = {
		{0, "create", CMD_FLAG, &a.create}, {0, "tuf-keys", CMD_LIST, &a.keys},
		{0, "time", CMD_TEXT, &a.time},	    {0, "passphrase-file", CMD_TEXT, &a.passphrase_file},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : sign(c, &a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a.words);
	vec_release(&a.keys);
	return code;
}
