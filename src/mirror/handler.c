// SPDX-License-Identifier: Apache-2.0
/* Requests for files of channels: /CHANNEL/PATH, and /get/CHANNEL/PATH for clients whose channel alias says so. */
#include <stdio.h>
#include <string.h>

#include "mirror/server.h"

/* What never changes under its name may be kept for ever; everything else is asked about each time, which costs a 304. */
#define CACHE_FOREVER "public, max-age=31536000, immutable"
#define CACHE_ASK "no-cache"

static const char *cache_control(const struct served *c, enum channel_file file)
{
	if (file == CHANNEL_FILE_PACKAGE)
		return c->channel->is_private ? "private, max-age=31536000, immutable" : CACHE_FOREVER;
	return CACHE_ASK;
}

static const struct served *channel_named(const struct server *s, struct str name)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	size_t low = 0, high = config->channels_n;
	while (low < high) { /* they are sorted by name */
		size_t mid = low + (high - low) / 2;
		int c = str_cmp(s->served[mid].channel->name, name);
		if (c == 0)
			return &s->served[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

int server_who(struct server *s, const struct httpd_req *r, struct arena *a, struct mirror_who *ret, struct err *e)
{
	const struct httpd_client *client = httpd_client(r);
	if (!client)
		return err_new(e, ERR_VERIFY, "no client certificate was shown; 'slipway enroll' gets one"), 0;
	return mirror_who(s->clients, client->sha256, a, ret, e);
}

/* -- who may ------------------------------------------------------------------------------------------------------- */

/* Answers itself, and says so, where the client may not have it. */
static bool is_refused(struct server *s, const struct served *c, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	struct mirror_who who;
	struct err e = ERR_INIT;
	if (!c->channel->is_private)
		return false;
	int rc = server_who(s, r, &a, &who, &e);
	if (rc > 0 && mirror_may(&who, MIRROR_GET, c->channel->name))
		return false;
	if (rc < 0)
		server_say(s->log, LOG_LEVEL_ERROR, "%s", e.msg);
	if (rc > 0)
		httpd_reply_error(
			r, 403,
			"'%.*s' may not have the channel '%.*s'; the mirror's keeper grants it with 'slipway mirror rights'",
			STR_ARG(who.name), STR_ARG(c->channel->name));
	else
		httpd_reply_error(r, rc < 0 ? 500 : 403, "%s", rc < 0 ? "see the mirror's log" : e.msg);
	return true;
}

/* -- files --------------------------------------------------------------------------------------------------------- */

/* Whether what is held may be too old to be given out without a look at upstreams: where metadata are only passed on. */
static bool may_be_stale(const struct served *c, enum channel_file file)
{
	return c->channel->type == MIRROR_PROXY && file != CHANNEL_FILE_PACKAGE;
}

static void serve_found(struct server *s, struct mirror_reader *reader, struct mirror_found *f, struct httpd_req *r,
			struct httpd_head *head)
{
	struct err ignored = ERR_INIT;
	switch (f->answer) {
	case MIRROR_NONE:
		httpd_reply_error(r, 404, "not found");
		return;
	case MIRROR_HELD:
		if (f->stale)
			(void)mirror_fetch_begin(reader, f, NULL, NULL, NULL, &ignored);
		head->etag = f->etag;
		head->mtime_s = f->changed_ms / 1000;
		httpd_reply_file(r, head, f->fd, (int64_t)f->size);
		return;
	case MIRROR_WANTED:
		relay_request(s->relay, reader, f, r, head);
		return;
	}
}

static void look_further(struct server *s, const struct served *c, struct str path, struct httpd_req *r,
			 struct httpd_head *head)
{
	struct err e = ERR_INIT;
	struct mirror_found f = {.fd = -1};
	struct mirror_reader *reader = server_reader_take(s, &e);
	if (!reader || mirror_find(reader, c->channel->name, path, &f, &e) < 0) {
		server_say(s->log, LOG_LEVEL_ERROR, "%.*s/%.*s: %s", STR_ARG(c->channel->name), STR_ARG(path), e.msg);
		httpd_reply_error(r, 500, "see the mirror's log");
	} else {
		serve_found(s, reader, &f, r, head);
	}
	if (reader)
		server_reader_put(s, reader);
}

static void serve_file(struct server *s, const struct served *c, struct str path, bool varies, struct httpd_req *r)
{
	static const struct httpd_header vary = {{"vary", 4}, {"accept", 6}};
	enum channel_file file = channel_kind_file(c->channel->kind, path);
	struct httpd_head head = {
		.type = channel_kind_type(c->channel->kind, path),
		.cache_control = cache_control(c, file),
		.more = &vary,
		.more_n = varies,
	};
	if (file == CHANNEL_FILE_NONE) {
		httpd_reply_error(r, 404, "a %s channel has no such file", channel_kind_name(c->channel->kind));
		return;
	}
	if (!may_be_stale(c, file) && httpd_reply_path(r, &head, c->tree_fd, path.p) != HTTPD_NO_FILE)
		return;
	if (c->channel->type == MIRROR_LOCAL)
		httpd_reply_error(r, 404, "not found");
	else
		look_further(s, c, path, r, &head);
}

/* Links of a page are relative to its folder. */
static void redirect_to_folder(struct httpd_req *r)
{
	auto_buf to = BUF_INIT(2 * CHANNEL_PATH_MAX);
	buf_printf(&to, "%.*s/", STR_ARG(httpd_path(r)));
	const struct httpd_head head = {
		.status = 301, .location = to.p, .type = "text/plain", .cache_control = CACHE_ASK};
	httpd_reply_bytes(r, &head, STR("the page is a folder's\n"));
}

static void serve_channel(struct server *s, const struct served *c, struct str path, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	struct str accept = STR_NONE, page, folder = path;
	if (is_refused(s, c, r))
		return;
	if (folder.n && folder.p[folder.n - 1] == '/')
		folder.n--;
	(void)httpd_header(r, "accept", &accept);
	if (channel_kind_index(c->channel->kind, folder, accept, &a, &page) && folder.n == path.n)
		redirect_to_folder(r);
	else if (channel_kind_index(c->channel->kind, folder, accept, &a, &page))
		serve_file(s, c, arena_str(&a, page), true, r);
	else
		serve_file(s, c, path, false, r);
}

/* -- the front page -------------------------------------------------------------------------------------------------- */

static void put_channel(struct server *s, const struct served *c, struct buf *b)
{
	(void)s;
	buf_printf(b, "<tr><td><a href=\"/%.*s/\">%.*s</a><td>%s<td>%s\n", STR_ARG(c->channel->name),
		   STR_ARG(c->channel->name), channel_kind_name(c->channel->kind),
		   c->channel->is_private ? "needs a client certificate" : "");
}

static void front_page(struct server *s, struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	const struct httpd_head head = {.type = "text/html; charset=utf-8", .cache_control = CACHE_ASK};
	auto_buf b = BUF_INIT(4 << 20);
	buf_printf(&b, "<!doctype html><title>%.*s</title><h1>%.*s</h1><table><tr><th>Channel<th>Kind<th>\n",
		   STR_ARG(config->name), STR_ARG(config->name));
	for (size_t i = 0; i < config->channels_n; i++)
		put_channel(s, &s->served[i], &b);
	buf_put_c(&b, "</table>\n");
	httpd_reply_bytes(r, &head, buf_str(&b));
}

/* -- from a path to who answers it ------------------------------------------------------------------------------------ */

static bool take_channel(struct server *s, struct str *path, const struct served **ret)
{
	struct str name, rest = *path;
	if (!str_take_until(&rest, '/', &name)) {
		name = rest;
		rest = str_skip(rest, rest.n);
	}
	*ret = channel_named(s, name);
	if (*ret)
		*path = rest;
	return *ret != NULL;
}

void handler_on_request(struct httpd_req *r, void *server)
{
	struct server *s = server;
	struct str path = str_skip(httpd_path(r), 1);
	const struct served *c;
	if (httpd_listener(r) >= s->service_n)
		admin_answer(s, r);
	else if (api_answer(s, r))
		return;
	else if (!str_eq_c(httpd_method(r), "GET") && !str_eq_c(httpd_method(r), "HEAD"))
		httpd_reply_error(r, 405, "GET and HEAD");
	else if (!path.n)
		front_page(s, r);
	else if (take_channel(s, &path, &c) || (str_take_str(&path, STR("get/")) && take_channel(s, &path, &c)))
		serve_channel(s, c, path, r);
	else
		httpd_reply_error(r, 404, "no such channel; / lists them");
}
