// SPDX-License-Identifier: Apache-2.0
/* channel trust: whose signature a channel has to have. */
#include "cmd/channel_trust.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/json.h"
#include "cmd/change.h"
#include "cmd/pinned.h"
#include "repo/repo.h"

enum { ROOT_BYTES_MAX = 512 << 10, PATIENCE_S = 60, MS_PER_S = 1000, CATALOGUE_MAX = 4 << 20, CHANNELS_MAX = 1000 };
#define FIRST_ROOT "tuf/metadata/1.root.json"

struct trust_args {
	bool first_use, forget;
	struct cmd_list words;
};

/* -- what is pinned ----------------------------------------------------------------------------------------------------- */

static const char *until(struct cmd_context *c, int64_t expires_ms)
{
	auto_buf b = BUF_INIT(64);
	clock_put_iso(&b, expires_ms);
	return arena_strdup(&c->arena, buf_str(&b));
}

static int list(struct cmd_context *c, struct err *e)
{
	static const char *const titles[] = {"Channel", "Root", "Targets", "Good until", ""};
	struct out_table t = {.titles = titles, .columns = 5, .right = 1 << 1 | 1 << 2, .whole = 1};
	auto_answer answer = {0};
	struct jw *w = cmd_answer(&answer);
	jw_key(w, "channels");
	jw_array(w);
	for (size_t i = 0; i < c->pinned_n; i++) {
		const struct cmd_pinned *p = &c->pinned[i];
		struct tuf_trusted held;
		if (cmd_pinned_held(c, p, &held, e) < 0)
			return -1;
		bool expired = held.expires_ms <= clock_wall_ms();
		jw_object(w);
		jw_kv_str(w, "url", p->url);
		jw_kv_int(w, "root", held.root);
		jw_kv_int(w, "timestamp", held.timestamp);
		jw_kv_int(w, "snapshot", held.snapshot);
		jw_kv_int(w, "targets", held.targets);
		jw_kv_c(w, "expires", until(c, held.expires_ms));
		jw_kv_bool(w, "expired", expired);
		jw_object_end(w);
		if (c->json)
			continue;
		out_table_cell(&t, "%.*s", STR_ARG(p->url));
		out_table_cell(&t, "%lld", (long long)held.root);
		out_table_cell(&t, held.targets ? "%lld" : "-", (long long)held.targets);
		out_table_cell(&t, "%s", until(c, held.expires_ms));
		out_table_cell(&t, expired ? "expired" : "");
	}
	jw_array_end(w);
	if (c->json)
		return cmd_answer_print(c, &answer);
	if (c->pinned_n)
		out_table_print(&c->out, &t);
	else
		cmd_say(c, "no channel's root is pinned; pin one with: slipway channel trust CHANNEL ROOT.json");
	return CMD_OK;
}

/* -- pinning ------------------------------------------------------------------------------------------------------------ */

static void say_pinned(struct cmd_context *c, const struct channel *ch, const struct tuf_root_info *r, struct str root)
{
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	sha256(root.p, root.n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	cmd_say(c, "%s the root of '%.*s': version %lld, sha256 %s", c->dry_run ? "would pin" : "pinned",
		STR_ARG(ch->shown), (long long)r->version, hex);
	for (size_t i = 0; i < r->key_n; i++)
		cmd_say(c, "  key %.*s", STR_ARG(r->keyid[i]));
	cmd_say(c, "  %lld of these %zu keys change it; from now on nothing of that channel is taken unsigned",
		(long long)r->threshold, r->key_n);
}

int cmd_trust_root(struct cmd_context *c, const struct channel *ch, struct str root, struct err *e)
{
	struct tuf_root_info info;
	if (tuf_root_read(root, &c->arena, &info, e) < 0)
		return -1;
	if (!c->dry_run) {
		if (cmd_pinned_set(c, ch, root, e) < 0)
			return -1;
		cmd_changed(c);
	}
	say_pinned(c, ch, &info, root);
	return 0;
}

int cmd_trust_file(struct cmd_context *c, const struct channel *ch, const char *file, struct err *e)
{
	auto_buf root = BUF_INIT(ROOT_BYTES_MAX);
	if (fs_read_any(AT_FDCWD, file, &root, e) < 0)
		return -1;
	return cmd_trust_root(c, ch, buf_str(&root), e) < 0 ? err_ctx(e, "'%s'", file) : 0;
}

int cmd_trust_first_root(struct cmd_context *c, const struct channel *ch, struct buf *ret, struct err *e)
{
	const char *url = arena_printf(&c->arena, "%.*s/" FIRST_ROOT, STR_ARG(ch->url));
	return cmd_need_transfer(c, e) < 0 ? -1
					   : repo_get_text(c->transfer, url, (int64_t)PATIENCE_S * MS_PER_S, ret, e);
}

static bool is_pinned(const struct cmd_context *c, const struct channel *ch)
{
	for (size_t i = 0; i < c->pinned_n; i++)
		if (strcmp(c->pinned[i].id, ch->id) == 0)
			return true;
	return false;
}

static void trust_one(struct cmd_context *c, struct str mirror, struct str name)
{
	auto_buf root = BUF_INIT(ROOT_BYTES_MAX);
	struct channel ch;
	struct err e = ERR_INIT;
	const struct channel_config config = {0};
	struct str url = str_c(arena_printf(&c->arena, "%.*s/%.*s", STR_ARG(mirror), STR_ARG(name)));
	if (channel_parse(&c->arena, url, &config, &ch, &e) < 0 || is_pinned(c, &ch))
		return;
	int rc = cmd_trust_first_root(c, &ch, &root, &e);
	if (rc < 0 && e.code == ERR_NOT_FOUND)
		return; /* not signed */
	if (rc < 0 || cmd_trust_root(c, &ch, buf_str(&root), &e) < 0)
		cmd_warn(c, "the root of '%.*s' is not pinned: %s; later: slipway channel trust --first-use %.*s",
			 STR_ARG(url), e.msg, STR_ARG(url));
}

void cmd_trust_mirror(struct cmd_context *c, struct str url)
{
	auto_buf b = BUF_INIT(CATALOGUE_MAX);
	struct err e = ERR_INIT;
	struct transfer_request r = {.url = arena_printf(&c->arena, "%.*s/api/catalogue", STR_ARG(url))};
	if (cmd_fetch(c, &r, &b, &e) < 0) {
		cmd_warn(c, "which channels of '%.*s' are signed is not known: %s", STR_ARG(url), e.msg);
		return;
	}
	const struct json *j = json_parse(&c->arena, arena_str(&c->arena, buf_str(&b)), "catalogue", &e);
	const struct json *list = j ? json_get(j, "catalogues") : NULL;
	for (uint32_t i = 0; list && list->type == JSON_ARRAY && i < list->n && i < CHANNELS_MAX; i++) {
		struct str name;
		if (json_get_str(&list->item[i], "channel", &name, &e) == 0 && channel_path_is_normal(name))
			trust_one(c, url, name);
	}
}

static int first_use(struct cmd_context *c, const struct channel *ch, struct err *e)
{
	auto_buf root = BUF_INIT(ROOT_BYTES_MAX);
	if (is_pinned(c, ch))
		return err_new(e, ERR_EXISTS,
			       "a root of '%.*s' is pinned already; --forget it first, if that is what is meant",
			       STR_ARG(ch->shown));
	if (cmd_trust_first_root(c, ch, &root, e) < 0)
		return e->code == ERR_NOT_FOUND ? err_ctx(e, "channel '%.*s' is not signed", STR_ARG(ch->shown)) : -1;
	cmd_warn(c,
		 "the root of '%.*s' is taken from the server that it is to be checked by: compare its sha256 and keys "
		 "with what the channel's keeper says",
		 STR_ARG(ch->shown));
	return cmd_trust_root(c, ch, buf_str(&root), e);
}

static int forget(struct cmd_context *c, const struct channel *ch, struct err *e)
{
	if (!is_pinned(c, ch) || !c->dry_run) {
		if (cmd_pinned_forget(c, ch, e) < 0)
			return -1;
		cmd_changed(c);
	}
	cmd_say(c, "%s the root of '%.*s': %s taken as the server gives it", c->dry_run ? "would forget" : "forgot",
		STR_ARG(ch->shown), c->dry_run ? "the channel would be" : "the channel is");
	return 0;
}

static int trust(struct cmd_context *c, const struct trust_args *a, struct err *e)
{
	struct channel ch;
	if (cmd_need_config(c, e) < 0 || cmd_pinned_load(c, e) < 0)
		return -1;
	if (!a->words.n && !a->first_use && !a->forget)
		return list(c, e);
	if (a->words.n < 1 || a->words.n > 2 || (a->words.n == 2) + a->first_use + a->forget != 1)
		return err_new(
			e, ERR_USAGE,
			"write: slipway channel trust CHANNEL ROOT.json, or with --first-use or --forget and no file");
	if (cmd_channel_parse(c, str_c(a->words.v[0]), &ch, e) < 0)
		return -1;
	int rc = a->forget	? forget(c, &ch, e)
		 : a->first_use ? first_use(c, &ch, e)
				: cmd_trust_file(c, &ch, a->words.v[1], e);
	return rc < 0 ? -1 : c->json ? list(c, e) : 0;
}

int cmd_channel_trust(struct cmd_context *c, int argc, char **argv)
{
	struct trust_args a = {0};
	const struct cmd_option options[] = {
		{0, "first-use", CMD_FLAG, &a.first_use},
		{0, "forget", CMD_FLAG, &a.forget},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : trust(c, &a, &e) < 0 ? cmd_fail(c, &e) : CMD_OK;
	vec_release(&a.words);
	return code;
}
