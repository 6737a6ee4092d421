// SPDX-License-Identifier: Apache-2.0
/* What Slipway's own clients ask a mirror: doc/formats/mirror-api.md. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/url.h"
#include "mirror/server.h"
#include "version.h"

enum { ANSWER_MAX = 16 << 20, LIST_MAX = 1000, FILES_MAX = 1 << 20 };

static void reply_json(struct httpd_req *r, int status, const struct buf *b)
{
	const struct httpd_head head = {.status = status, .type = "application/json", .cache_control = "no-store"};
	httpd_reply_bytes(r, &head, buf_str(b));
}

static void refuse(struct httpd_req *r, int status, const char *code, const char *message)
{
	auto_buf b = BUF_INIT(ANSWER_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_c(&w, "error", code);
	jw_kv_c(&w, "message", message);
	jw_object_end(&w);
	reply_json(r, status, &b);
}

static void refuse_err(struct server *s, struct httpd_req *r, const struct err *e)
{
	if (e->code == ERR_INPUT)
		refuse(r, 400, "malformed", e->msg);
	else if (e->code == ERR_NOT_FOUND)
		refuse(r, 404, "not-found", e->msg);
	else if (e->code == ERR_LIMIT)
		refuse(r, 413, "too-large", e->msg);
	else {
		server_say(s->log, LOG_LEVEL_ERROR, "%s", e->msg);
		if (e->sys == ENOSPC || e->sys == EDQUOT)
			refuse(r, 507, "full", "the mirror's disk is full; try again when its keeper has made room");
		else
			refuse(r, 500, "failed", "the mirror's log says why");
	}
}

/* Answers itself where it is nobody. */
static bool need_client(struct server *s, struct httpd_req *r, struct arena *a, struct mirror_who *ret)
{
	struct err e = ERR_INIT;
	int rc = server_who(s, r, a, ret, &e);
	if (rc == 0)
		refuse(r, 403, "unknown", e.msg);
	if (rc < 0)
		refuse_err(s, r, &e);
	return rc > 0;
}

/* -- who is there? --------------------------------------------------------------------------------------------------- */

static void ping(struct server *s, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ANSWER_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct mirror_who who = {0};
	struct err e = ERR_INIT;
	int known = server_who(s, r, &a, &who, &e);
	jw_object(&w);
	jw_kv_str(&w, "mirror", mirror_config(s->mirror)->name);
	jw_kv_str(&w, "host", mirror_config(s->mirror)->host);
	jw_kv_c(&w, "version", SLIPWAY_VERSION);
	jw_kv_int(&w, "now_ms", s->clock->wall_ms(s->clock));
	if (known > 0)
		jw_kv_str(&w, "client", who.name);
	else
		jw_kv_c(&w, "client", NULL);
	if (known <= 0 && httpd_client(r))
		jw_kv_c(&w, "why", e.msg);
	jw_object_end(&w);
	reply_json(r, 200, &b);
}

static void put_upstream(struct jw *w, const struct mirror_upstream *u, bool in_use)
{
	auto_buf url = BUF_INIT(ANSWER_MAX);
	url_put_shown(&url, u->url);
	jw_object(w);
	jw_kv_int(w, "priority", u->priority);
	jw_kv_str(w, "id", u->id);
	jw_kv_str(w, "name", u->name);
	jw_kv_str(w, "url", buf_str(&url));
	jw_kv_bool(w, "in_use", in_use);
	jw_object_end(w);
}

/* Which addresses a channel is a copy of: recipes that were made elsewhere name those. */
static void put_followed(struct jw *w, const struct mirror_channel *c)
{
	jw_object(w);
	jw_kv_str(w, "name", c->name);
	jw_key(w, "follows");
	jw_array(w);
	for (size_t i = 0; i < c->upstreams_n; i++) {
		auto_buf url = BUF_INIT(ANSWER_MAX);
		url_put_shown(&url, c->upstreams[i].url);
		jw_str(w, buf_str(&url));
	}
	jw_array_end(w);
	jw_object_end(w);
}

static void put_all_followed(struct server *s, struct httpd_req *r, struct jw *w)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_arena a = ARENA_INIT;
	struct mirror_who who;
	struct err ignored = ERR_INIT;
	bool known = server_who(s, r, &a, &who, &ignored) > 0;
	jw_key(w, "channels");
	jw_array(w);
	for (size_t i = 0; i < config->channels_n; i++) {
		const struct mirror_channel *c = &config->channels[i];
		if (c->upstreams_n && (!c->is_private || (known && mirror_may(&who, MIRROR_GET, c->name))))
			put_followed(w, c);
	}
	jw_array_end(w);
}

static void mirrors(struct server *s, struct httpd_req *r)
{
	const struct mirror_config *config = mirror_config(s->mirror);
	auto_buf b = BUF_INIT(ANSWER_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	jw_kv_str(&w, "mirror", config->name);
	put_all_followed(s, r, &w);
	jw_key(&w, "upstreams");
	jw_array(&w);
	for (size_t i = 0; i < config->upstreams_n; i++)
		put_upstream(&w, &config->upstreams[i], false);
	jw_array_end(&w);
	jw_object_end(&w);
	reply_json(r, 200, &b);
}

/* -- enrolment ------------------------------------------------------------------------------------------------------- */

typedef int enrol_fn(struct mirror_clients *c, const struct mirror_call *call, struct arena *a,
		     struct mirror_reply *ret, struct err *e);

static void call(struct server *s, struct httpd_req *r, enrol_fn *fn, const char *what)
{
	auto_arena a = ARENA_INIT;
	struct mirror_reply reply = {0};
	struct err e = ERR_INIT;
	char retry[24];
	const struct mirror_call c = {
		.body = httpd_body(r, NULL),
		.address = httpd_peer(r),
		.certificate = httpd_client(r) ? httpd_client(r)->sha256 : NULL,
	};
	if (fn(s->clients, &c, &a, &reply, &e) < 0)
		server_say(s->log, LOG_LEVEL_ERROR, "%s of '%.*s': %s", what, STR_ARG(c.address), e.msg);
	else
		server_say(s->log, LOG_LEVEL_NOTE, "%s of '%.*s' from %.*s: %d", what, STR_ARG(reply.client),
			   STR_ARG(c.address), reply.status);
	const struct httpd_header after = {
		STR("retry-after"),
		str_of(retry, (size_t)snprintf(retry, sizeof(retry), "%lld", (long long)reply.retry_after_s))};
	const struct httpd_head head = {
		.status = reply.status,
		.type = "application/json",
		.cache_control = "no-store",
		.more = &after,
		.more_n = reply.retry_after_s > 0,
	};
	httpd_reply_bytes(r, &head, reply.body);
}

static void enroll(struct server *s, struct httpd_req *r)
{
	call(s, r, mirror_enroll, "enrolment");
}

static void renew(struct server *s, struct httpd_req *r)
{
	call(s, r, mirror_renew, "renewal");
}

static void pki_file(struct server *s, struct httpd_req *r)
{
	const struct httpd_head head = {.type = "application/x-pem-file", .cache_control = "no-cache"};
	if (httpd_reply_path(r, &head, s->mirror->dir_fd, httpd_path(r).p) == HTTPD_NO_FILE)
		httpd_reply_error(r, 404, "not found");
}

/* -- snapshots ------------------------------------------------------------------------------------------------------- */

static void put_snapshot(struct server *s, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ANSWER_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct mirror_who who;
	struct err e = ERR_INIT;
	int64_t id = 0;
	if (!need_client(s, r, &a, &who))
		return;
	pthread_mutex_lock(&s->snapshots_mutex);
	int rc =
		mirror_snapshots_put(s->snapshots, who.name, httpd_body(r, NULL), s->clock->wall_ms(s->clock), &id, &e);
	pthread_mutex_unlock(&s->snapshots_mutex);
	if (rc < 0) {
		refuse_err(s, r, &e);
		return;
	}
	jw_object(&w);
	jw_kv_int(&w, "id", id);
	jw_object_end(&w);
	reply_json(r, 200, &b);
}

static void put_info(struct jw *w, const void *ctx, size_t i)
{
	const struct mirror_snapshot_info *v = (const struct mirror_snapshot_info *)ctx + i;
	jw_kv_int(w, "id", v->id);
	jw_kv_int(w, "taken_ms", v->taken_ms);
	jw_kv_str(w, "environment", v->environment);
	jw_kv_c(w, "when", mirror_snapshot_when_name(v->when));
	jw_kv_str(w, "operation", v->operation);
	jw_kv_int(w, "packages", v->packages_n);
}

static void list_snapshots(struct server *s, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ANSWER_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct mirror_who who;
	struct mirror_snapshot_info *v = NULL;
	struct err e = ERR_INIT;
	struct str environment = STR_NONE;
	size_t n = 0;
	if (!need_client(s, r, &a, &who))
		return;
	(void)httpd_query_value(r, "environment", &environment);
	pthread_mutex_lock(&s->snapshots_mutex);
	int rc = mirror_snapshots_list(s->snapshots, who.name, environment, LIST_MAX, &a, &v, &n, &e);
	pthread_mutex_unlock(&s->snapshots_mutex);
	if (rc < 0) {
		refuse_err(s, r, &e);
		return;
	}
	jw_object(&w);
	jw_kv_objects(&w, "snapshots", n, put_info, v);
	jw_object_end(&w);
	reply_json(r, 200, &b);
}

static void get_snapshot(struct server *s, struct httpd_req *r)
{
	const struct httpd_head head = {.type = "text/plain; charset=utf-8", .cache_control = "no-store"};
	auto_arena a = ARENA_INIT;
	struct mirror_who who;
	struct str id_text = httpd_path(r), text;
	struct err e = ERR_INIT;
	int64_t id;
	str_take_str(&id_text, STR("/api/snapshots/"));
	if (!need_client(s, r, &a, &who))
		return;
	if (!str_to_i64(id_text, &id)) {
		refuse(r, 404, "not-found", "a snapshot has a number");
		return;
	}
	pthread_mutex_lock(&s->snapshots_mutex);
	int rc = mirror_snapshots_get(s->snapshots, who.name, id, &a, &text, &e);
	pthread_mutex_unlock(&s->snapshots_mutex);
	if (rc < 0)
		refuse_err(s, r, &e);
	else
		httpd_reply_bytes(r, &head, text);
}

/* -- catalogues ------------------------------------------------------------------------------------------------------ */

/* What a client can be told of a channel for its platform. Each but "good" is told to people: who does not know what there is must
 * never be told that there is nothing new. */
enum catalogue {
	CATALOGUE_GOOD,
	CATALOGUE_NONE,
	CATALOGUE_OS,
	CATALOGUE_NEVER,
	CATALOGUE_FAILED,
	CATALOGUE_STALE,
	CATALOGUE_EMPTY
};
static const char *const catalogues[] = {
	[CATALOGUE_GOOD] = "good",   [CATALOGUE_NONE] = "no-platform", [CATALOGUE_OS] = "no-os",
	[CATALOGUE_NEVER] = "never", [CATALOGUE_FAILED] = "failed",    [CATALOGUE_STALE] = "stale",
	[CATALOGUE_EMPTY] = "empty"};
enum { STALE_TIMES = 3 }; /* a catalogue is stale when it was not brought up to date for so many times its interval */

/* Is there a package in that folder? Of one's own channels the files are there; of others they are expected. */
static bool has_packages(struct mirror_reader *reader, const struct served *c, const char *subdir)
{
	struct err ignored = ERR_INIT;
	auto_fs_list list = {0};
	if (c->channel->type != MIRROR_LOCAL)
		return mirror_channel_has(reader, c->channel, str_c(subdir), &ignored) > 0;
	if (!fs_exists(c->tree_fd, subdir) || fs_list(c->tree_fd, subdir, FILES_MAX, &list, &ignored) < 0)
		return false;
	for (size_t i = 0; i < list.n; i++)
		if (str_ends(str_c(list.name[i]), STR(".conda")) || str_ends(str_c(list.name[i]), STR(".tar.bz2")))
			return true;
	return false;
}

/*
 * Platforms are folders in channels of conda packages, and in no others. A channel whose packages are for everybody has what every
 * platform needs; one that has packages for some platforms, and none for this, has nothing for it, whatever else is there.
 */
static enum catalogue judge_content(struct mirror_reader *reader, const struct served *c, struct str platform)
{
	char own[CHANNEL_PATH_MAX];
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	bool any = false;
	if (strcmp(channel_kind_name(c->channel->kind), "conda") != 0)
		return c->channel->type != MIRROR_LOCAL || channel_kind_of(c->tree_fd) ? CATALOGUE_GOOD
										       : CATALOGUE_EMPTY;
	if (fs_list(c->tree_fd, ".", FILES_MAX, &list, &ignored) < 0)
		return CATALOGUE_EMPTY;
	snprintf(own, sizeof(own), "%.*s", STR_ARG(platform));
	if (platform.n && channel_is_subdir(platform) && has_packages(reader, c, own))
		return CATALOGUE_GOOD;
	for (size_t i = 0; i < list.n && !any; i++)
		any = channel_is_subdir(str_c(list.name[i])) && strcmp(list.name[i], "noarch") != 0 &&
		      has_packages(reader, c, list.name[i]);
	if (any)
		return platform.n ? CATALOGUE_NONE : CATALOGUE_GOOD;
	return has_packages(reader, c, "noarch") ? CATALOGUE_GOOD : CATALOGUE_EMPTY;
}

static enum catalogue judge(struct server *s, struct mirror_reader *reader, const struct served *c, struct str platform,
			    const struct mirror_channel_status *st)
{
	int64_t now_ms = s->clock->wall_ms(s->clock);
	if (c->channel->type == MIRROR_LOCAL)
		return judge_content(reader, c, platform);
	if (c->channel->type == MIRROR_FOLLOW && !st->synced_ms)
		return st->tried_ms && !st->good ? CATALOGUE_FAILED : CATALOGUE_NEVER;
	if (!st->good && st->tried_ms)
		return CATALOGUE_FAILED;
	if (st->synced_ms &&
	    (now_ms - st->synced_ms > STALE_TIMES * c->channel->refresh_ms || st->synced_ms > now_ms + 86400000))
		return CATALOGUE_STALE;
	if (c->channel->type == MIRROR_FOLLOW && !st->expected)
		return CATALOGUE_EMPTY;
	/* what a proxy has never been told of it cannot count */
	return st->expected ? judge_content(reader, c, platform) : CATALOGUE_GOOD;
}

/* Counting reads a row for each package: once after each try to bring the channel up to date is enough. */
static int read_status(struct server *s, struct mirror_reader *reader, struct served *c, struct arena *a,
		       struct mirror_channel_status *ret, struct err *e)
{
	if (c->channel->type == MIRROR_LOCAL)
		return 0;
	if (mirror_channel_dates(reader, c->channel, a, ret, e) < 0)
		return -1;
	pthread_mutex_lock(&s->readers_mutex);
	bool known = c->counted && c->counted_ms == ret->tried_ms;
	ret->expected = c->expected;
	pthread_mutex_unlock(&s->readers_mutex);
	if (known)
		return 0;
	if (mirror_channel_status(reader, c->channel, a, ret, e) < 0)
		return -1;
	pthread_mutex_lock(&s->readers_mutex);
	c->expected = ret->expected;
	c->counted_ms = ret->tried_ms;
	c->counted = true;
	pthread_mutex_unlock(&s->readers_mutex);
	return 0;
}

static int put_catalogue(struct server *s, struct mirror_reader *reader, struct served *c, const struct channel_os *os,
			 struct jw *w, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct mirror_channel_status st = {0};
	struct str why = STR("");
	if (read_status(s, reader, c, &a, &st, e) < 0)
		return -1;
	enum catalogue state = judge(s, reader, c, os->subdir, &st);
	/* a client that does not say what it runs is judged by its platform alone */
	if (os->id.n && state != CATALOGUE_NONE && !channel_os_meets(os, c->channel->os, &a, &why))
		state = CATALOGUE_OS;
	jw_object(w);
	jw_kv_str(w, "channel", c->channel->name);
	jw_kv_c(w, "kind", channel_kind_name(c->channel->kind));
	jw_kv_c(w, "state", catalogues[state]);
	jw_kv_int(w, "synced_ms", st.synced_ms);
	jw_kv_int(w, "tried_ms", st.tried_ms);
	jw_kv_int(w, "packages", (int64_t)st.expected);
	jw_kv_str(w, "message", state == CATALOGUE_OS ? why : st.good ? STR_NONE : st.message);
	jw_kv_opt(w, "os", c->channel->os);
	jw_object_end(w);
	return 0;
}

/* What the client says that it is. */
static int read_os(struct httpd_req *r, struct arena *a, struct channel_os *ret, struct err *e)
{
	static const char *const names[] = {"platform", "os", "version", "codename", "virtual"};
	struct str v[5];
	for (size_t i = 0; i < 5; i++)
		if (!httpd_query_value(r, names[i], &v[i]))
			v[i] = STR("");
	if (channel_os_parse(a, v[1], v[2], v[3], v[4], ret, e) < 0)
		return -1;
	ret->subdir = v[0];
	return 0;
}

static bool may_see(struct server *s, const struct served *c, const struct mirror_who *who)
{
	(void)s;
	return !c->channel->is_private || (who && mirror_may(who, MIRROR_GET, c->channel->name));
}

static void catalogue(struct server *s, struct httpd_req *r)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ANSWER_MAX);
	struct jw w = JW_INIT(&b, 0);
	struct mirror_who who;
	struct err e = ERR_INIT;
	struct channel_os os;
	bool known = server_who(s, r, &a, &who, &e) > 0;
	e = (struct err)ERR_INIT;
	if (read_os(r, &a, &os, &e) < 0) {
		refuse_err(s, r, &e);
		return;
	}
	struct mirror_reader *reader = server_reader_take(s, &e);
	int rc = reader ? 0 : -1;
	jw_object(&w);
	jw_kv_str(&w, "platform", os.subdir);
	jw_kv_int(&w, "now_ms", s->clock->wall_ms(s->clock));
	jw_key(&w, "catalogues");
	jw_array(&w);
	for (size_t i = 0; rc == 0 && i < mirror_config(s->mirror)->channels_n; i++)
		if (may_see(s, &s->served[i], known ? &who : NULL))
			rc = put_catalogue(s, reader, &s->served[i], &os, &w, &e);
	jw_array_end(&w);
	jw_object_end(&w);
	if (reader)
		server_reader_put(s, reader);
	if (rc < 0)
		refuse_err(s, r, &e);
	else
		reply_json(r, 200, &b);
}

/* -- the table ------------------------------------------------------------------------------------------------------- */

static const struct call {
	const char *method, *path; /* a path that ends in '/' is the beginning of others */
	uint64_t body_max;	   /* 0: takes none */
	void (*answer)(struct server *s, struct httpd_req *r);
} calls[] = {
	{"GET", "/api/ping", 0, ping},
	{"GET", "/api/mirrors", 0, mirrors},
	{"GET", "/api/catalogue", 0, catalogue},
	{"POST", "/enroll", MIRROR_CALL_MAX, enroll},
	{"POST", "/renew", MIRROR_CALL_MAX, renew},
	{"GET", "/pki/ca.pem", 0, pki_file},
	{"GET", "/pki/crl.pem", 0, pki_file},
	{"POST", "/api/snapshots", MIRROR_SNAPSHOT_MAX, put_snapshot},
	{"GET", "/api/snapshots", 0, list_snapshots},
	{"GET", "/api/snapshots/", 0, get_snapshot},
};
enum { CALLS = sizeof(calls) / sizeof(*calls) };

static bool is_of(const struct call *c, struct str path)
{
	struct str own = str_c(c->path);
	return str_ends(own, STR("/")) ? str_starts(path, own) && path.n > own.n : str_eq(path, own);
}

static bool is_api(struct str path)
{
	return str_starts(path, STR("/api/")) || str_starts(path, STR("/pki/")) || str_eq(path, STR("/enroll")) ||
	       str_eq(path, STR("/renew"));
}

static const struct call *find(struct str method, struct str path, bool *ret_other)
{
	*ret_other = false;
	if (str_eq(method, STR("HEAD")))
		method = STR("GET");
	for (size_t i = 0; i < CALLS; i++) {
		if (!is_of(&calls[i], path))
			continue;
		if (str_eq_c(method, calls[i].method))
			return &calls[i];
		*ret_other = true;
	}
	return NULL;
}

bool api_answer(struct server *s, struct httpd_req *r)
{
	bool other;
	if (!is_api(httpd_path(r)))
		return false;
	const struct call *c = find(httpd_method(r), httpd_path(r), &other);
	if (c)
		c->answer(s, r);
	else
		refuse(r, other ? 405 : 404, other ? "method" : "not-found",
		       other ? "not with this method" : "no such request");
	return true;
}

int handler_on_body(struct httpd_req *r, struct httpd_body *body, void *server)
{
	bool other;
	struct server *s = server;
	const struct call *c = httpd_listener(r) < s->service_n ? find(httpd_method(r), httpd_path(r), &other) : NULL;
	if (!c || !c->body_max)
		return 413;
	/* a stranger may send no more than an enrolment takes */
	if (c->body_max > MIRROR_CALL_MAX && !httpd_client(r))
		return 403;
	body->max_bytes = c->body_max;
	return 0;
}
