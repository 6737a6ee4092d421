// SPDX-License-Identifier: Apache-2.0
/*
 * Metadata in, whole: which file of a subdir answers, what of it is still good, and the index made of it.
 *
 * For each (channel, subdir), a source:
 *  1. source_look, without a lock: the held index is opened; it is used where its metadata is fresh (a folder: the file
 *     is the same one; a server: max-age has not passed).
 *  2. What is left is locked, looked at again (another process may have done it), and asked for, all at once, in rounds:
 *     a file that is not there makes its source try the next one, and the answer is remembered.
 *  3. What came is made into an index; state is written after it, so that a crash between them only fetches once more.
 *  4. Sharded sources are closed over the names (shards.c), relations bring in more channels (relations.c).
 */
#include "channel/refresh.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/sys.h"

/* How long "there is no such file" is believed where a server says nothing. */
#define MISSING_AGE_S (INT64_C(24) * 3600)
#define REPODATA_BYTES_MAX (UINT64_C(16) << 30)
#define SHARD_INDEX_BYTES_MAX (UINT64_C(256) << 20)

static const char *const candidates[VARIANTS][CANDIDATES_MAX] = {
	[V_SHARDS] = {"repodata_shards.msgpack.zst", NULL},
	[V_FULL] = {"repodata.json.zst", "repodata.json"},
	[V_CURRENT] = {"current_repodata.json", NULL},
};

static enum variant source_variant(const struct source *s)
{
	return s->order[s->at];
}

static void source_release(struct source *s)
{
	index_free(s->index);
	shard_index_free(s->shards);
	index_builder_free(s->builder);
	vec_release(&s->state.roots);
	cleanup_fd(&s->get.fd);
	cleanup_fd(&s->dir_fd);
	cleanup_fd(&s->lock_fd);
	s->index = NULL;
	s->shards = NULL;
	s->builder = NULL;
}

static void sources_release(struct source_vec *v)
{
	vec_foreach(s, v)
		source_release(s);
	vec_release(v);
}
#define auto_sources cleanup_with(sources_release) struct source_vec

static void source_order(struct source *s, enum channel_refresh_flags flags)
{
	s->variants = 0;
	if (flags & CHANNEL_CURRENT_ONLY)
		s->order[s->variants++] = V_CURRENT;
	/* a folder's whole index is as near as its shards */
	if (!(flags & CHANNEL_NO_SHARDS) && !s->channel->is_folder)
		s->order[s->variants++] = V_SHARDS;
	s->order[s->variants++] = V_FULL;
	if (!(flags & CHANNEL_NO_SHARDS) && s->channel->is_folder)
		s->order[s->variants++] = V_SHARDS;
}

static bool is_signed(const struct channel_cache *c, const struct channel *channel)
{
	auto_free char *url = xasprintf("%.*s/", STR_ARG(channel->url));
	return c->fetch && c->fetch->is_signed && c->fetch->is_signed(c->fetch, url);
}

static int source_init(struct channel_cache *c, struct source *s, const struct channel *channel, struct str subdir,
		       enum channel_refresh_flags flags, struct arena *a, struct err *e)
{
	*s = (struct source){.channel = channel, .subdir = subdir, .a = a, .dir_fd = -1, .lock_fd = -1, .get.fd = -1};
	if (pkg_subdir_check(subdir, e) < 0)
		return -1;
	s->sub = arena_strdup(a, subdir);
	if (channel->is_folder && is_signed(c, channel)) { /* like a server's: through the fetcher */
		struct channel *as_server = arena_new(a, struct channel);
		*as_server = *channel;
		as_server->is_folder = false;
		s->channel = as_server;
	}
	source_order(s, flags);
	s->dir_fd = fs_open_dir_make(c->root_fd, arena_printf(a, "index/%s", channel->id), e);
	return s->dir_fd < 0 ? -1 : 0;
}

/* The held index of the variant that is on; none, or a damaged one, is as good as none. */
static void source_open(struct source *s)
{
	struct err ignored = ERR_INIT;
	index_free(s->index);
	s->index = NULL;
	if (index_open(s->dir_fd, variant_file(s, "idx"), &s->index, &ignored) < 0)
		s->index = NULL;
}

static void make_request(struct source *s, bool validators)
{
	struct state *st = &s->state;
	struct channel_get *g = &s->get;
	int fd = g->fd;
	*g = (struct channel_get){.url = source_url(s, candidates[source_variant(s)][st->candidate]),
				  .fd = fd,
				  .max_bytes = source_variant(s) == V_SHARDS ? SHARD_INDEX_BYTES_MAX
									     : REPODATA_BYTES_MAX};
	if (validators) {
		memcpy(g->etag, st->etag, sizeof(g->etag));
		memcpy(g->last_modified, st->last_modified, sizeof(g->last_modified));
	}
	s->asking = true;
}

static bool is_fresh(const struct channel_cache *c, const struct state *st, enum channel_refresh_flags flags)
{
	int64_t age_ms = c->clock->wall_ms(c->clock) - st->checked_ms;
	return !(flags & CHANNEL_FORCE) && age_ms >= 0 && age_ms / 1000 < st->max_age_s;
}

/* A folder's file is looked at each time; that costs less than to remember when to look. */
static int look_at_folder(struct channel_cache *c, struct source *s, struct err *e)
{
	struct channel_get *one = &s->get;
	unsigned first = s->state.what == STATE_HAVE ? s->state.candidate : 0;
	/* the last one first: near by, what is not packed is read faster */
	for (unsigned k = CANDIDATES_MAX; k-- > 0;) {
		if (!candidates[source_variant(s)][k])
			continue;
		bool validators = s->state.what == STATE_HAVE && s->index && k == first;
		s->state.candidate = k;
		make_request(s, validators);
		if (cache_get(c, &one, 1, e) < 0)
			return -1;
		if (s->get.state == GET_MISSING)
			continue;
		if (s->get.state == GET_UNCHANGED)
			s->asking = false;
		else
			make_request(s, validators); /* as before the look */
		return 0;
	}
	s->asking = false;
	s->at++;
	return 0;
}

/* Decides without the network, beginning at the variant that is on. */
static int source_look(struct channel_cache *c, struct source *s, enum channel_refresh_flags flags, struct err *e)
{
	s->asking = false;
	while (s->at < s->variants) {
		unsigned at = s->at;
		if (state_load(s, e) < 0)
			return -1;
		source_open(s);
		struct state *st = &s->state;
		if (s->channel->is_folder) {
			if (look_at_folder(c, s, e) < 0)
				return -1;
			if (s->at == at)
				return 0;
			continue;
		}
		enum channel_refresh_flags believe = source_variant(s) == V_SHARDS ? flags & ~CHANNEL_FORCE : flags;
		if (st->what == STATE_MISSING && is_fresh(c, st, believe)) {
			s->at++;
			continue;
		}
		if (st->what != STATE_HAVE)
			st->candidate = 0;
		if (st->what != STATE_HAVE || !s->index || !is_fresh(c, st, flags))
			make_request(s, s->index && st->what == STATE_HAVE);
		return 0;
	}
	index_free(s->index);
	s->index = NULL;
	s->missing = true;
	return 0;
}

static int source_look_offline(struct source *s, struct err *e)
{
	bool known_missing = false;
	for (s->at = 0; s->at < s->variants; s->at++) {
		if (state_load(s, e) < 0)
			return -1;
		source_open(s);
		if (s->index)
			return 0;
		known_missing = s->state.what == STATE_MISSING;
	}
	s->missing = true;
	/* a folder without this subdir leaves nothing behind that would say so */
	if (known_missing || s->channel->is_folder)
		return 0;
	return err_new(
		e, ERR_NOT_FOUND,
		"nothing is held of channel '%.*s', subdir '%s'; run 'slipway channel refresh' with a network once",
		STR_ARG(s->channel->shown), s->sub);
}

/* -- what came --------------------------------------------------------------------------------------------------- */

/* Once: where the index of before did not say the same. */
static void tell_left_out(struct channel_cache *c, const struct source *s, const struct index *before,
			  const struct index *now)
{
	struct index_info old = before ? index_info(before) : (struct index_info){0}, new = index_info(now);
	if (new.left_out == 0 || (new.left_out == old.left_out &&str_eq(new.left_out_first, old.left_out_first)))
		return;
	const char *id = arena_printf(s->a, "%.*s/%s", STR_ARG(s->channel->shown), s->sub);
	const char *text = arena_printf(
		s->a, "%u malformed record%s of '%s' %s left out; the first is %.*s; the channel's keeper can mend it",
		new.left_out, new.left_out > 1 ? "s" : "", id, new.left_out > 1 ? "were" : "was",
		STR_ARG(new.left_out_first));
	progress_send(c->progress,
		      (struct progress_event){.kind = PROGRESS_NOTE, .phase = "index", .id = id, .text = text});
}

int source_reopen(struct channel_cache *c, struct source *s, struct err *e)
{
	auto_ptr(index) before = steal_ptr(&s->index);
	if (index_open(s->dir_fd, variant_file(s, "idx"), &s->index, e) < 0)
		return -1;
	tell_left_out(c, s, before, s->index);
	return 0;
}

static int source_index(struct channel_cache *c, struct source *s, struct err *e)
{
	const char *file = candidates[source_variant(s)][s->state.candidate];
	const char *name = arena_printf(s->a, "%.*s/%s/%s", STR_ARG(s->channel->shown), s->sub, file);
	const char *path = variant_file(s, "idx");
	if (lseek(s->get.fd, 0, SEEK_SET) < 0)
		return err_sys(e, "read '%s'", name);
	auto_ptr(istream) in = istream_fd(steal_fd(&s->get.fd), name);
	if (str_ends(str_c(file), STR(".zst")))
		in = istream_zstd(in);
	in = istream_limit(in, REPODATA_BYTES_MAX);
	auto_ptr(index_builder) b = index_builder_new(s->dir_fd, path, s->subdir, e);
	if (!b)
		return -1;
	progress_send(c->progress, (struct progress_event){.kind = PROGRESS_BEGIN, .phase = "index", .id = name});
	if (index_builder_json(b, in, c->progress, e) < 0 || index_builder_finish(b, e) < 0) {
		progress_send(
			c->progress,
			(struct progress_event){.kind = PROGRESS_FAILED, .phase = "index", .id = name, .text = e->msg});
		return err_ctx(
			e,
			"make the index of '%.*s/%s' (the one of before is kept; ask the channel's keeper, or use "
			"what is held with --offline)",
			STR_ARG(s->channel->shown), s->sub);
	}
	progress_send(c->progress, (struct progress_event){.kind = PROGRESS_DONE, .phase = "index", .id = name});
	return source_reopen(c, s, e);
}

/* The shard index is kept as it came: names asked for later are looked up in it. */
static int source_keep_shards(struct source *s, struct err *e)
{
	auto_buf b = BUF_INIT(SHARD_INDEX_BYTES_MAX);
	if (cache_slurp(s->get.fd, &b, s->get.url, e) < 0)
		return -1;
	cleanup_fd(&s->get.fd);
	s->state.built = false;
	return fs_replace(s->dir_fd, variant_file(s, "msgpack.zst"), b.p, b.n, 0, e);
}

static void take_answer(struct channel_cache *c, struct source *s)
{
	struct state *st = &s->state;
	const struct channel_get *g = &s->get;
	if (g->state == GET_DONE) {
		memcpy(st->etag, g->etag, sizeof(st->etag));
		memcpy(st->last_modified, g->last_modified, sizeof(st->last_modified));
	}
	st->what = STATE_HAVE;
	st->checked_ms = c->clock->wall_ms(c->clock);
	st->max_age_s = g->max_age_s >= 0 ? g->max_age_s : c->default_max_age_s;
}

/* This file is not there: the variant's next one, or the next variant. */
static int answer_missing(struct channel_cache *c, struct source *s, enum channel_refresh_flags flags, struct err *e)
{
	struct state *st = &s->state;
	bool tried_first = st->what == STATE_HAVE && st->candidate > 0;
	const char *const *files = candidates[source_variant(s)];
	if (tried_first || (st->candidate + 1 < CANDIDATES_MAX && files[st->candidate + 1])) {
		/* what answered before answers no more: begin with the first again */
		st->candidate = tried_first ? 0 : st->candidate + 1;
		st->what = STATE_UNKNOWN;
		make_request(s, false);
		return 0;
	}
	st->what = STATE_MISSING;
	st->candidate = 0;
	st->etag[0] = st->last_modified[0] = '\0';
	st->checked_ms = c->clock->wall_ms(c->clock);
	st->max_age_s = source_variant(s) == V_FULL ? c->default_max_age_s : MISSING_AGE_S;
	if (!s->channel->is_folder && state_save(s, e) < 0)
		return -1;
	s->at++;
	return source_look(c, s, flags, e);
}

/* The network failed: what is held serves on, unless somebody asked for fresh metadata. */
static int answer_failed(struct channel_cache *c, struct source *s, enum channel_refresh_flags flags, struct err *e)
{
	if (!s->index || flags & CHANNEL_FORCE || s->get.err.code != ERR_NETWORK) {
		*e = s->get.err;
		return err_ctx(e, "channel '%.*s', subdir '%s'", STR_ARG(s->channel->shown), s->sub);
	}
	auto_buf when = BUF_INIT(64);
	clock_put_iso(&when, s->state.checked_ms);
	const char *id = arena_printf(s->a, "%.*s/%s", STR_ARG(s->channel->shown), s->sub);
	const char *text = arena_printf(s->a, "%s; going on with the metadata of %s", s->get.err.msg, when.p);
	progress_send(c->progress,
		      (struct progress_event){.kind = PROGRESS_NOTE, .phase = "fetch", .id = id, .text = text});
	return 0;
}

static int take_one(struct channel_cache *c, struct source *s, enum channel_refresh_flags flags, struct err *e)
{
	s->asking = false;
	switch (s->get.state) {
	case GET_UNCHANGED:
		take_answer(c, s);
		return state_save(s, e);
	case GET_MISSING:
		return answer_missing(c, s, flags, e);
	case GET_DONE:
		take_answer(c, s);
		if ((source_variant(s) == V_SHARDS ? source_keep_shards(s, e) : source_index(c, s, e)) < 0)
			return -1;
		return state_save(s, e);
	case GET_PENDING:
	case GET_FAILED:
		break;
	}
	return answer_failed(c, s, flags, e);
}

static int source_cmp(const void *a, const void *b)
{
	const struct source *x = *(struct source *const *)a, *y = *(struct source *const *)b;
	int c = strcmp(x->channel->id, y->channel->id);
	return c ? c : strcmp(x->sub, y->sub);
}

/* Locks in one order for every process, so that two never wait for each other; then looks again. */
static int lock_asking(struct channel_cache *c, struct source_vec *v, enum channel_refresh_flags flags, struct err *e)
{
	auto_free struct source **order = xcalloc(v->n + 1, sizeof(*order));
	size_t n = 0;
	vec_foreach(s, v)
		if (s->asking && s->lock_fd < 0)
			order[n++] = s;
	qsort(order, n, sizeof(*order), source_cmp);
	for (size_t i = 0; i < n; i++) {
		struct source *s = order[i];
		if (source_lock(s, e) < 0)
			return -1;
		s->at = 0;
		s->missing = false;
		if (source_look(c, s, flags, e) < 0)
			return -1;
	}
	return 0;
}

static int ask_rounds(struct channel_cache *c, struct source_vec *v, enum channel_refresh_flags flags, struct err *e)
{
	auto_free struct channel_get **gets = xcalloc(v->n + 1, sizeof(*gets));
	auto_free struct source **of = xcalloc(v->n + 1, sizeof(*of));
	for (;;) {
		size_t n = 0;
		vec_foreach(s, v) {
			if (!s->asking)
				continue;
			if (s->get.fd < 0 && !s->channel->is_folder && (s->get.fd = cache_tmp(s->dir_fd, e)) < 0)
				return -1;
			of[n] = s;
			gets[n++] = &s->get;
		}
		if (n == 0)
			return 0;
		if (cache_get(c, gets, n, e) < 0)
			return -1;
		for (size_t i = 0; i < n; i++)
			if (take_one(c, of[i], flags, e) < 0)
				return -1;
	}
}

static int refresh_sources(struct channel_cache *c, struct source_vec *v, size_t first,
			   enum channel_refresh_flags flags, struct err *e)
{
	for (size_t i = first; i < v->n; i++) {
		int rc = flags & CHANNEL_OFFLINE ? source_look_offline(&v->v[i], e)
						 : source_look(c, &v->v[i], flags, e);
		if (rc < 0)
			return -1;
	}
	if (flags & CHANNEL_OFFLINE)
		return 0;
	if (lock_asking(c, v, flags, e) < 0 || ask_rounds(c, v, flags, e) < 0)
		return -1;
	vec_foreach(s, v)
		cleanup_fd(&s->lock_fd); /* nobody waits for a lock while holding one out of order */
	return 0;
}

/* -- channels and their relations -------------------------------------------------------------------------------- */

enum { CHANNELS_MAX = 64, RELATION_DEPTH_MAX = 10 };

struct opened {
	struct channel channel;
	struct relation relation;
	size_t source; /* its first one; one for each subdir */
	unsigned depth;
};
VEC_TYPE(opened_vec, struct opened);

static void opened_release(struct opened_vec *o)
{
	vec_release(o);
}

static int channel_empty(struct source *s, size_t m, const struct channel *c, enum channel_refresh_flags flags,
			 struct err *e)
{
	for (size_t i = 0; i < m; i++)
		if (!s[i].missing)
			return 0;
	if (flags & CHANNEL_OFFLINE)
		return err_new(e, ERR_NOT_FOUND, "nothing is held of channel '%.*s'; use it once without --offline",
			       STR_ARG(c->shown));
	auto_buf tried = BUF_INIT(1024);
	for (size_t i = 0; i < m; i++) {
		/* it may be an address that works in a minute: not remembered */
		s[i].order[0] = V_FULL;
		s[i].at = 0;
		(void)sys_unlinkat(s[i].dir_fd, variant_file(&s[i], "json"), 0);
		for (unsigned k = 0; k < CANDIDATES_MAX; k++)
			buf_printf(&tried, "%s%.*s/%s/%s", tried.n ? ", " : "", STR_ARG(c->shown), s[i].sub,
				   candidates[V_FULL][k]);
	}
	return err_new(e, ERR_NOT_FOUND, "channel '%.*s' is not there: none of %s answers; check its address",
		       STR_ARG(c->shown), tried.p);
}

/* "../x" against the channel's own URL; only below the same host (CEP 42). */
static int relation_url(const struct channel *c, struct str ref, struct arena *a, struct str *ret, struct err *e)
{
	if (ref.n == 0)
		return 0;
	if (!str_starts(ref, STR("../")) && !str_eq(ref, STR("..")))
		return err_new(e, ERR_INPUT,
			       "channel '%.*s' names a related channel '%.*s' that does not begin with '../'",
			       STR_ARG(c->shown), STR_ARG(ref));
	struct str folder = str_c(arena_printf(a, "%.*s/", STR_ARG(c->url)));
	struct str url = channel_url_join(a, folder, ref);
	while (str_ends(url, STR("/")))
		url.n--;
	*ret = url;
	return 0;
}

/* What one source declares, as published. */
static int source_relation(struct source *s, struct str *base, struct str *overrides, struct err *e)
{
	*base = *overrides = STR_NONE;
	if (s->missing)
		return 0;
	if (source_variant(s) == V_SHARDS && (!s->index || !s->state.built))
		return shards_relations(s, base, overrides, e);
	if (s->index) {
		struct index_info info = index_info(s->index);
		*base = info.relation_base;
		*overrides = info.relation_overrides;
	}
	return 0;
}

static int read_relation(struct opened *o, struct source *s, size_t m, struct arena *a, struct err *e)
{
	struct relation *r = &o->relation;
	struct str base, overrides;
	*r = (struct relation){0};
	for (size_t i = 0; i < m; i++) {
		if (source_relation(&s[i], &base, &overrides, e) < 0)
			return -1;
		if (r->base.n == 0 && relation_url(&o->channel, base, a, &r->base, e) < 0)
			return -1;
		if (r->overrides.n == 0 && relation_url(&o->channel, overrides, a, &r->overrides, e) < 0)
			return -1;
	}
	if (r->base.n > 0 && str_eq(r->base, r->overrides))
		return err_new(e, ERR_INPUT, "channel '%.*s' declares one channel both its base and what it overrides",
			       STR_ARG(o->channel.shown));
	return 0;
}

struct opening {
	struct channel_cache *c;
	const struct str *subdirs;
	size_t m;
	enum channel_refresh_flags flags;
	struct arena *a;
	struct opened_vec channels;
	struct source_vec sources;
};

static void opening_release(struct opening *o)
{
	opened_release(&o->channels);
	sources_release(&o->sources);
}
#define auto_opening cleanup_with(opening_release) struct opening

static int add_channel(struct opening *o, const struct channel *c, unsigned depth, struct err *e)
{
	vec_foreach(have, &o->channels)
		if (strcmp(have->channel.id, c->id) == 0)
			return 0;
	if (o->channels.n == CHANNELS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d channels", CHANNELS_MAX);
	if (depth > RELATION_DEPTH_MAX)
		return err_new(e, ERR_LIMIT, "channel '%.*s': relations of channels are more than %d deep",
			       STR_ARG(c->shown), RELATION_DEPTH_MAX);
	struct channel *copy = arena_new(o->a, struct channel);
	*copy = *c;
	vec_push(&o->channels, ((struct opened){.channel = *c, .source = o->sources.n, .depth = depth}));
	for (size_t i = 0; i < o->m; i++) {
		struct source *s = vec_add(&o->sources);
		s->dir_fd = s->lock_fd = s->get.fd = -1;
		if (source_init(o->c, s, copy, o->subdirs[i], o->flags, o->a, e) < 0)
			return -1;
	}
	return 0;
}

/* What a signed channel draws in must not be what anybody could put there. */
static int add_related(struct opening *o, const struct channel *from, struct str url, unsigned depth, struct err *e)
{
	struct channel c;
	struct channel_config config = {0};
	if (url.n == 0)
		return 0;
	if (channel_parse(o->a, url, &config, &c, e) < 0)
		return -1;
	if (is_signed(o->c, from) && !is_signed(o->c, &c))
		return err_new(
			e, ERR_VERIFY,
			"channel '%.*s' is signed and draws in '%.*s', whose root is not pinned here; pin it with: "
			"slipway channel trust %.*s ROOT.json",
			STR_ARG(from->shown), STR_ARG(c.shown), STR_ARG(c.shown));
	return add_channel(o, &c, depth, e);
}

/* Opens channels until no relation names a new one. */
static int open_related(struct opening *o, struct err *e)
{
	size_t channel = 0, source = 0;
	while (channel < o->channels.n) {
		if (refresh_sources(o->c, &o->sources, source, o->flags, e) < 0)
			return -1;
		source = o->sources.n;
		for (size_t end = o->channels.n; channel < end; channel++) {
			struct source *s = &o->sources.v[o->channels.v[channel].source];
			if (channel_empty(s, o->m, &o->channels.v[channel].channel, o->flags, e) < 0 ||
			    read_relation(&o->channels.v[channel], s, o->m, o->a, e) < 0)
				return -1;
			struct relation r = o->channels.v[channel].relation;
			unsigned depth = o->channels.v[channel].depth + 1;
			struct channel from = o->channels.v[channel].channel;
			if (add_related(o, &from, r.base, depth, e) < 0 ||
			    add_related(o, &from, r.overrides, depth, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int order_channels(const struct opening *o, size_t user_n, size_t *order, struct err *e)
{
	auto_free struct str *urls = xcalloc(o->channels.n + 1, sizeof(*urls));
	auto_free struct relation *relations = xcalloc(o->channels.n + 1, sizeof(*relations));
	for (size_t i = 0; i < o->channels.n; i++) {
		urls[i] = o->channels.v[i].channel.url;
		relations[i] = o->channels.v[i].relation;
	}
	return relations_order(urls, relations, o->channels.n, user_n, order, e);
}

int channel_open_all(struct channel_cache *c, const struct channel *channels, size_t n, const struct str *subdirs,
		     size_t m, const struct str *roots, size_t roots_n, enum channel_refresh_flags flags,
		     struct arena *a, struct channel_index **ret, size_t *ret_n, struct err *e)
{
	auto_opening o = {.c = c, .subdirs = subdirs, .m = m, .flags = flags, .a = a};
	for (size_t i = 0; i < n; i++)
		if (add_channel(&o, &channels[i], 0, e) < 0)
			return -1;
	size_t user_n = o.channels.n;
	if (open_related(&o, e) < 0 || shards_close(c, o.sources.v, o.sources.n, roots, roots_n, flags, e) < 0)
		return -1;
	auto_free size_t *order = xcalloc(o.channels.n + 1, sizeof(*order));
	if (order_channels(&o, user_n, order, e) < 0)
		return -1;
	struct channel_index *out = arena_array(a, struct channel_index, o.sources.n + 1);
	size_t out_n = 0;
	for (size_t i = 0; i < o.channels.n; i++) {
		const struct opened *opened = &o.channels.v[order[i]];
		for (size_t k = 0; k < m; k++) {
			struct source *s = &o.sources.v[opened->source + k];
			out[out_n++] = (struct channel_index){
				.channel = opened->channel, .subdir = s->subdir, .index = steal_ptr(&s->index)};
		}
	}
	*ret = out;
	*ret_n = out_n;
	return 0;
}

int channel_recheck(struct channel_cache *c, const struct channel_index *v, size_t n, struct err *e)
{
	int damaged = 0;
	for (size_t i = 0; i < n; i++) {
		struct err why = ERR_INIT;
		if (!v[i].index || index_check(v[i].index, &why) == 0)
			continue;
		auto_free char *path = xasprintf("index/%s/%s", v[i].channel.id, index_path(v[i].index));
		if (sys_unlinkat(c->root_fd, path, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove the damaged index '%s'", path);
		progress_send(c->progress, (struct progress_event){.kind = PROGRESS_NOTE,
								   .phase = "index",
								   .id = path,
								   .text = "damaged, made anew"});
		damaged = 1;
	}
	return damaged;
}
