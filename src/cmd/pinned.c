// SPDX-License-Identifier: Apache-2.0
#include "cmd/pinned.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/url.h"
#include "repo/repo.h"

enum { PINS_MAX = 10000, ADDRESS_MAX = 1 << 16 };
#define TRUST "trust"

/* -- which ones there are ---------------------------------------------------------------------------------------------- */

static int load_one(struct cmd_context *c, const char *id, struct cmd_pinned *ret, struct err *e)
{
	auto_buf b = BUF_INIT(ADDRESS_MAX);
	const char *dir = arena_printf(&c->arena, TRUST "/%s", id);
	auto_fd fd = fs_open_dir(c->root_fd, dir, e);
	if (fd < 0 || fs_read(fd, "channel", &b, e) < 0)
		return err_ctx(e, "the pinned root in '%s/%s'", c->root_path, dir);
	/* where the configuration leads it to a copy, that is held to the same root */
	*ret = (struct cmd_pinned){.url = cmd_mirrored_url(c, str_trim(arena_str(&c->arena, buf_str(&b)))),
				   .id = arena_strdup(&c->arena, str_c(id)),
				   .dir_fd = steal_fd(&fd)};
	return 0;
}

int cmd_pinned_load(struct cmd_context *c, struct err *e)
{
	auto_fs_list list = {0};
	if (c->pinned_loaded)
		return 0;
	if (cmd_need_config(c, e) < 0)
		return -1;
	if (fs_exists(c->root_fd, TRUST) && fs_list(c->root_fd, TRUST, PINS_MAX, &list, e) < 0)
		return err_ctx(e, "pinned roots");
	c->pinned = arena_array(&c->arena, struct cmd_pinned, list.n + 1);
	for (size_t i = 0; i < list.n; i++) {
		/* one that a command was killed in the middle of says no address yet */
		const char *address = arena_printf(&c->arena, TRUST "/%s/channel", list.name[i]);
		if (list.name[i][0] == '.' || !fs_exists(c->root_fd, address))
			continue;
		if (load_one(c, list.name[i], &c->pinned[c->pinned_n], e) < 0)
			return -1;
		c->pinned_n++;
	}
	c->pinned_loaded = true;
	return 0;
}

void cmd_pinned_release(struct cmd_context *c)
{
	for (size_t i = 0; i < c->pinned_n; i++) {
		repo_free(c->pinned[i].repo);
		cleanup_fd(&c->pinned[i].dir_fd);
	}
	c->pinned_n = 0;
	c->pinned_loaded = false;
}

struct cmd_pinned *cmd_pinned_at(struct cmd_context *c, struct str url, struct str *ret_path)
{
	if (!c->pinned_n)
		return NULL;
	auto_buf shown = BUF_INIT(URL_MAX);
	url_put_shown(&shown, url);
	struct cmd_pinned *best = NULL;
	for (size_t i = 0; i < c->pinned_n; i++) {
		struct str rest = buf_str(&shown);
		struct cmd_pinned *p = &c->pinned[i];
		if (!str_take_str(&rest, p->url) || (rest.n && rest.p[0] != '/') || (best && best->url.n > p->url.n))
			continue;
		best = p;
		/* what is hidden stands before it */
		*ret_path = rest.n ? str_skip(url, url.n - rest.n + 1) : STR("");
	}
	return best;
}

/* -- what was signed --------------------------------------------------------------------------------------------------- */

static int open_repo(struct cmd_context *c, const struct cmd_pinned *p, struct str base, struct transfer *t,
		     struct repo **ret, struct err *e)
{
	struct repo_opts o = REPO_OPTS_INIT;
	o.transfer = t;
	o.dir_fd = p->dir_fd;
	o.metadata_url = arena_printf(&c->arena, "%.*s/tuf/metadata", STR_ARG(base));
	o.targets_url = arena_printf(&c->arena, "%.*s/tuf/targets", STR_ARG(base));
	o.label = arena_printf(&c->arena, "channel '%.*s'", STR_ARG(p->url));
	if (t && c->config.silence_s > 0)
		o.patience_ms = c->config.silence_s * 1000;
	return repo_open(&o, ret, e);
}

int cmd_pinned_held(struct cmd_context *c, const struct cmd_pinned *p, struct tuf_trusted *ret, struct err *e)
{
	auto_ptr(repo) r = NULL;
	return open_repo(c, p, p->url, NULL, &r, e) < 0 ? -1 : repo_held(r, ret, e);
}

static void put_until(struct buf *b, const struct tuf_trusted *t)
{
	auto_buf when = BUF_INIT(64);
	clock_put_iso(&when, t->expires_ms);
	bool expired = t->expires_ms <= clock_wall_ms();
	if (!t->timestamp)
		buf_put_c(b, "nothing that was signed is held");
	else
		buf_printf(b, "what is held was signed, and %s %s", expired ? "expired at" : "is good until", when.p);
}

/* What can be done, and how long what is here is good. */
static int explain(struct cmd_context *c, const struct cmd_pinned *p, struct err *e)
{
	struct err other = ERR_INIT, cause = *e;
	struct tuf_trusted held;
	auto_buf until = BUF_INIT(200);
	if (cmd_pinned_held(c, p, &held, &other) < 0)
		return -1;
	put_until(&until, &held);
	err_new(e, cause.code, "%s; %s%s", cause.msg, until.p,
		cause.code == ERR_NETWORK || !held.targets ? "" : ": --offline uses it; tell the channel's keeper");
	e->sys = cause.sys;
	return -1;
}

static int refresh(struct cmd_context *c, struct cmd_pinned *p, struct str base, struct err *e)
{
	if (cmd_need_transfer(c, e) < 0 || open_repo(c, p, base, c->transfer, &p->repo, e) < 0)
		return -1;
	if (repo_refresh(p->repo, e) < 0) {
		repo_free(p->repo); /* which holds the folder */
		p->repo = NULL;
		return explain(c, p, e);
	}
	repo_let_go(p->repo);
	return 0;
}

int cmd_pinned_find(struct cmd_context *c, struct cmd_pinned *p, struct str url, struct str path,
		    struct tuf_target *ret, const char **ret_url, struct err *e)
{
	struct str base = str_head(url, url.n - path.n - 1);
	if (!p->is_fresh && p->err.code == ERR_NONE && refresh(c, p, base, &p->err) == 0)
		p->is_fresh = true;
	if (!p->is_fresh) {
		*e = p->err;
		return -1;
	}
	int rc = repo_target(p->repo, path, ret, e);
	if (rc > 0) {
		auto_free char *from = repo_target_url(p->repo, ret);
		*ret_url = arena_strdup(&c->arena, str_c(from));
		if (!ret->has_sha256)
			return err_new(e, ERR_UNSUPPORTED,
				       "channel '%.*s': '%.*s' is signed without a SHA-256, which channels need",
				       STR_ARG(p->url), STR_ARG(path));
	}
	return rc;
}

/* -- channel metadata -------------------------------------------------------------------------------------------------- */

static void put_validator(const struct tuf_target *t, char *to, size_t size)
{
	char hex[SHA256_HEX_SIZE];
	hex_encode(t->sha256, SHA256_SIZE, hex);
	snprintf(to, size, "signed-sha256-%s", hex);
}

int cmd_pinned_ask(struct cmd_context *c, struct channel_get *g, struct cmd_pinned *p, struct str path,
		   struct tuf_target *t, const char **ret_url)
{
	char held[sizeof(g->etag)];
	g->max_age_s = p->url.n && str_starts(p->url, STR("file:")) ? 0 : -1;
	int rc = cmd_pinned_find(c, p, str_c(g->url), path, t, ret_url, &g->err);
	if (rc <= 0) {
		g->state = rc < 0 ? GET_FAILED : GET_MISSING;
		return 0;
	}
	if (t->length > g->max_bytes) {
		err_new(&g->err, ERR_LIMIT, "'%.*s' is signed with more bytes than may come", STR_ARG(path));
		g->state = GET_FAILED;
		return 0;
	}
	put_validator(t, held, sizeof(held));
	bool same = strcmp(held, g->etag) == 0;
	memcpy(g->etag, held, sizeof(held));
	g->last_modified[0] = '\0';
	if (same)
		g->state = GET_UNCHANGED;
	return !same;
}

static bool metadata_is_signed(struct channel_fetch *f, const char *url)
{
	struct str path;
	return cmd_pinned_at(f->ctx, str_c(url), &path) != NULL;
}

void cmd_pinned_guard_metadata(struct channel_fetch *f)
{
	f->is_signed = metadata_is_signed;
}

static bool is_signed(void *ctx, const char *url)
{
	struct str path;
	return cmd_pinned_at(ctx, str_c(url), &path) != NULL;
}

void cmd_pinned_guard(struct cmd_context *c, struct transfer_opts *o)
{
	o->is_signed = is_signed;
	o->is_signed_ctx = c;
}

void cmd_pinned_tell_offline(struct cmd_context *c, const struct channel *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct str path;
		struct err e = ERR_INIT;
		struct tuf_trusted held;
		auto_buf until = BUF_INIT(200);
		const struct cmd_pinned *p = cmd_pinned_at(c, v[i].url, &path);
		if (!p || cmd_pinned_held(c, p, &held, &e) < 0)
			continue;
		put_until(&until, &held);
		cmd_say(c, "channel '%.*s', offline: %s", STR_ARG(v[i].shown), until.p);
	}
}

/* -- pinning ----------------------------------------------------------------------------------------------------------- */

static int forget(struct cmd_context *c, const char *id, struct err *e)
{
	const char *pin = arena_printf(&c->arena, TRUST "/%s", id);
	const char *index = arena_printf(&c->arena, "index/%s", id);
	return fs_remove_tree(c->root_fd, index, e) < 0 || fs_remove_tree(c->root_fd, pin, e) < 0 ? -1 : 0;
}

/* The address comes last: what has none is no pin yet. */
int cmd_pinned_set(struct cmd_context *c, const struct channel *ch, struct str root, struct err *e)
{
	auto_buf b = BUF_INIT(ADDRESS_MAX);
	if (tuf_client_init(-1, root, e) < 0 || cmd_need_root(c, e) < 0)
		return -1;
	/* recipes that came without a signature are worth no more */
	if (forget(c, ch->id, e) < 0 ||
	    (str_ends(ch->shown, STR("/takeout")) && fs_remove_tree(c->root_fd, "takeout", e) < 0))
		return -1;
	auto_fd dir = fs_open_dir_make(c->root_fd, arena_printf(&c->arena, TRUST "/%s", ch->id), e);
	buf_printf(&b, "%.*s\n", STR_ARG(ch->shown));
	if (dir < 0 || tuf_client_init(dir, root, e) < 0 ||
	    fs_replace(dir, "channel", b.p, b.n, FS_REPLACE_SYNC, e) < 0 || fs_sync_dir(c->root_fd, TRUST, e) < 0)
		return -1;
	cmd_pinned_release(c);
	return cmd_pinned_load(c, e);
}

int cmd_pinned_forget(struct cmd_context *c, const struct channel *ch, struct err *e)
{
	if (cmd_pinned_load(c, e) < 0)
		return -1;
	for (size_t i = 0; i < c->pinned_n; i++) {
		if (strcmp(c->pinned[i].id, ch->id) != 0)
			continue;
		if (forget(c, ch->id, e) < 0)
			return -1;
		cmd_pinned_release(c);
		return cmd_pinned_load(c, e);
	}
	return err_new(e, ERR_NOT_FOUND, "no root is pinned of '%.*s'; 'slipway channel trust' lists those that are",
		       STR_ARG(ch->shown));
}
