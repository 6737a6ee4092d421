// SPDX-License-Identifier: Apache-2.0
/*
 * Sharded repodata (CEP 16): a shard index names one small file for each package name; only the names that can be
 * reached from what was asked for are fetched.
 *
 * The walk goes over all sources of one call together, because a package of one subdir needs names of another:
 *  1. With the held partial indexes alone: if every name reached is whole in each of them, nothing is to be done.
 *  2. Otherwise, in rounds: the shards of the names found last are brought in (from <subdir>.shards/ where they are held,
 *     each verified by its digest), added to new indexes, and the names that their packages depend on are the next
 *     round's. Names asked for earlier are walked again, so that they stay whole.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "channel/index_build.h"
#include "channel/msgpack.h"
#include "channel/refresh.h"

enum {
	INDEX_PACKED_MAX = 64 << 20,
	INDEX_UNPACKED_MAX = 128 << 20,
	SHARD_PACKED_MAX = 64 << 20,
	SHARD_UNPACKED_MAX = 128 << 20,
	FETCH_AT_ONCE = 48,
	SHARD_FILES_MAX = 1 << 20,
	SHARD_KEEP_S = 8 * 24 * 3600, /* an unused shard is kept so long: a server may go back */
};

struct shard_index {
	struct buf text;  /* what the views below point into */
	struct map names; /* name → the address of its digest */
	struct str base_url, shards_base_url, relation_base, relation_overrides;
};

void shard_index_free(struct shard_index *x)
{
	if (!x)
		return;
	map_release(&x->names);
	buf_release(&x->text);
	free(x);
}
/* -- the shard index --------------------------------------------------------------------------------------------- */

static int read_relations(struct shard_index *x, struct mp *m, struct err *e)
{
	uint32_t n;
	if (mp_map(m, &n, e) < 0)
		return -1;
	struct str key;
	int more;
	while ((more = mp_key(m, &n, &key, e)) > 0) {
		struct str *to = str_eq(key, STR("base"))	 ? &x->relation_base
				 : str_eq(key, STR("overrides")) ? &x->relation_overrides
								 : NULL;
		if ((to ? mp_str(m, to, e) : mp_skip(m, e)) < 0)
			return -1;
	}
	return more;
}

static int read_info(struct shard_index *x, struct mp *m, struct err *e)
{
	uint32_t n;
	if (mp_map(m, &n, e) < 0)
		return -1;
	struct str key;
	int more;
	while ((more = mp_key(m, &n, &key, e)) > 0) {
		int rc;
		if (str_eq(key, STR("base_url")))
			rc = mp_str(m, &x->base_url, e);
		else if (str_eq(key, STR("shards_base_url")))
			rc = mp_str(m, &x->shards_base_url, e);
		else if (str_eq(key, STR("channel_relations")))
			rc = read_relations(x, m, e);
		else
			rc = mp_skip(m, e);
		if (rc < 0)
			return -1;
	}
	return more;
}

static int read_names(struct shard_index *x, struct mp *m, struct err *e)
{
	uint32_t n;
	if (mp_map(m, &n, e) < 0)
		return -1;
	struct str name;
	int more;
	while ((more = mp_key(m, &n, &name, e)) > 0) {
		struct mp_token t;
		if (mp_read(m, &t, e) < 0)
			return -1;
		if (t.type == MP_NIL)
			continue;
		if (t.type != MP_BIN || t.bytes.n != SHA256_SIZE)
			return mp_bad(m, "expected a digest of 32 bytes", e);
		*map_put(&x->names, name) = (uint64_t)(uintptr_t)t.bytes.p;
	}
	return more;
}

static int read_shard_index(struct shard_index *x, const char *where, struct err *e)
{
	struct mp m = mp_of(buf_str(&x->text), where);
	uint32_t n;
	if (mp_map(&m, &n, e) < 0)
		return -1;
	struct str key;
	int more;
	while ((more = mp_key(&m, &n, &key, e)) > 0) {
		int rc;
		if (str_eq(key, STR("info")))
			rc = read_info(x, &m, e);
		else if (str_eq(key, STR("shards")))
			rc = read_names(x, &m, e);
		else
			rc = mp_skip(&m, e);
		if (rc < 0)
			return -1;
	}
	return more;
}

int shard_unpack(struct str packed, const char *name, struct buf *to, struct err *e)
{
	auto_ptr(istream) in = istream_zstd(istream_mem(packed, name));
	for (;;) {
		char piece[32 << 10];
		ssize_t n = istream_read(in, piece, sizeof(piece), e);
		if (n < 0)
			return -1;
		if (n == 0)
			return 0;
		buf_put(to, piece, (size_t)n);
		if (to->overflow)
			return err_new(e, ERR_LIMIT, "'%s' unpacks to more than %zu bytes", name, to->max);
	}
}

struct shard_index *shard_index_parse(struct buf *text, const char *where, struct err *e)
{
	auto_ptr(shard_index) x = xcalloc(1, sizeof(*x));
	x->text = *text;
	*text = BUF_INIT(0);
	return read_shard_index(x, where, e) < 0 ? NULL : steal_ptr(&x);
}

struct shard_index *shard_index_read(int dir_fd, const char *name, struct err *e)
{
	auto_buf packed = BUF_INIT(INDEX_PACKED_MAX), text = BUF_INIT(INDEX_UNPACKED_MAX);
	if (fs_read(dir_fd, name, &packed, e) < 0 || shard_unpack(buf_str(&packed), name, &text, e) < 0)
		return NULL;
	return shard_index_parse(&text, name, e);
}

const uint8_t *shard_index_next(const struct shard_index *x, struct map_slot **at)
{
	*at = map_next(&x->names, *at);
	return *at ? (const uint8_t *)(uintptr_t)(*at)->value : NULL;
}

struct str shard_index_base(const struct shard_index *x)
{
	return x->shards_base_url.n ? x->shards_base_url : STR("");
}

struct str shard_index_packages(const struct shard_index *x)
{
	return str_eq(x->base_url, STR("./")) ? STR("") : x->base_url;
}

/* -- a copy of an index, for a mirror ------------------------------------------------------------------------------ */

static void put_raw(struct buf *b, const char *p, size_t n)
{
	buf_put(b, p, n);
}

static void put_big_map(struct buf *b, uint32_t n)
{
	const char head[5] = {(char)0xdf, (char)(n >> 24), (char)(n >> 16), (char)(n >> 8), (char)n};
	put_raw(b, head, sizeof(head));
}

static bool is_address(struct str key)
{
	return str_eq(key, STR("base_url")) || str_eq(key, STR("shards_base_url"));
}

/* The pairs of info but addresses, as they stand, and these as they are here. */
static int copy_info(struct mp *m, struct buf *to, struct err *e)
{
	uint32_t n, others = 0;
	struct str key;
	int rc;
	auto_buf kept = BUF_INIT(INDEX_UNPACKED_MAX);
	if (mp_map(m, &n, e) < 0)
		return -1;
	for (const uint8_t *from = m->p; (rc = mp_key(m, &n, &key, e)) > 0; from = m->p) {
		if (mp_skip(m, e) < 0)
			return -1;
		if (is_address(key))
			continue;
		put_raw(&kept, (const char *)from, (size_t)(m->p - from));
		others++;
	}
	if (rc < 0)
		return -1;
	put_big_map(to, others + 2);
	buf_put_str(to, buf_str(&kept));
	buf_put_c(to, "\xa8"
		      "base_url\xa0\xaf"
		      "shards_base_url\xa9"
		      "./shards/");
	return 0;
}

int shard_index_localize(struct str text, const char *where, struct buf *to, struct err *e)
{
	struct mp m = mp_of(text, where);
	uint32_t n;
	struct str key;
	int rc;
	if (mp_map(&m, &n, e) < 0)
		return -1;
	put_big_map(to, n);
	for (const uint8_t *from = m.p; (rc = mp_key(&m, &n, &key, e)) > 0; from = m.p) {
		bool info = str_eq(key, STR("info"));
		if (info)
			put_raw(to, (const char *)from, (size_t)(m.p - from));
		if ((info ? copy_info(&m, to, e) : mp_skip(&m, e)) < 0)
			return -1;
		if (!info)
			put_raw(to, (const char *)from, (size_t)(m.p - from));
	}
	return rc;
}

static int load_shard_index(struct source *s, struct err *e)
{
	const char *name = variant_file(s, "msgpack.zst");
	struct shard_index *x = shard_index_read(s->dir_fd, name, e);
	if (!x)
		return err_ctx(e, "shard index of '%.*s/%s'", STR_ARG(s->channel->shown), s->sub);
	shard_index_free(s->shards);
	s->shards = x;
	return 0;
}

int shards_relations(struct source *s, struct str *base, struct str *overrides, struct err *e)
{
	if (!s->shards && load_shard_index(s, e) < 0)
		return -1;
	*base = s->shards->relation_base;
	*overrides = s->shards->relation_overrides;
	return 0;
}

/* -- the walk ---------------------------------------------------------------------------------------------------- */

struct walk {
	struct channel_cache *c;
	struct source *v;
	size_t n;
	struct arena a;
	struct map seen;
	VEC(struct str) queue;
	size_t at; /* queue before it is done */
};

static void walk_release(struct walk *w)
{
	map_release(&w->seen);
	vec_release(&w->queue);
	arena_release(&w->a);
}
#define auto_walk cleanup_with(walk_release) struct walk

static void walk_add(struct walk *w, struct str name)
{
	if (name.n == 0 || map_get(&w->seen, name))
		return;
	name = arena_str(&w->a, name);
	*map_put(&w->seen, name) = 1;
	vec_push(&w->queue, name);
}

static bool is_sharded(const struct source *s)
{
	return !s->missing && s->at < s->variants && s->order[s->at] == V_SHARDS;
}

/* The names that a name's packages in an index depend on. */
static void walk_index(struct walk *w, const struct index *ix, struct str name)
{
	struct ix_name n;
	struct ix_pkg first;
	struct ix_list last = {0};
	if (!index_find_name(ix, name, &n))
		return;
	uint32_t count = index_packages(ix, n, &first);
	for (uint32_t i = 0; i < count; i++) {
		struct ix_list depends = index_pkg(ix, (struct ix_pkg){first.n + i}).depends;
		if (depends.n == last.n)
			continue;
		last = depends;
		const struct ix_spec *specs;
		uint32_t specs_n = index_list(ix, depends, &specs);
		for (uint32_t k = 0; k < specs_n; k++)
			walk_add(w, index_name(ix, index_spec_name(ix, specs[k])));
	}
}

static bool is_whole(const struct index *ix, struct str name)
{
	struct ix_name n;
	return index_find_name(ix, name, &n) && index_has_name(ix, n);
}

/* True where the held indexes hold everything that is reached. */
static bool walk_held(struct walk *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (is_sharded(&w->v[i]) && (!w->v[i].index || !w->v[i].state.built))
			return false;
	for (; w->at < w->queue.n; w->at++) {
		struct str name = w->queue.v[w->at];
		for (size_t i = 0; i < w->n; i++) {
			const struct source *s = &w->v[i];
			if (!s->index)
				continue;
			if (is_sharded(s) && !is_whole(s->index, name))
				return false;
			walk_index(w, s->index, name);
		}
	}
	return true;
}

static const char *shards_folder(const struct source *s)
{
	return arena_printf(s->a, "%s.shards", s->sub);
}

/* -- bringing shards in ------------------------------------------------------------------------------------------ */

static const uint8_t *shard_digest(const struct source *s, struct str name)
{
	const uint64_t *v = map_get(&s->shards->names, name);
	return v ? (const uint8_t *)(uintptr_t)*v : NULL;
}

static const char *shard_path(struct arena *a, const struct source *s, const uint8_t *digest)
{
	char hex[SHA256_HEX_SIZE];
	hex_encode(digest, SHA256_SIZE, hex);
	return arena_printf(a, "%s.shards/%s", s->sub, hex);
}

struct want {
	struct source *s;
	struct str name;
	const uint8_t *digest;
	struct channel_get get;
};
VEC_TYPE(want_vec, struct want);

static void wants_release(struct want_vec *v)
{
	vec_foreach(x, v)
		cleanup_fd(&x->get.fd);
	vec_release(v);
}
#define auto_wants cleanup_with(wants_release) struct want_vec

static int keep_shard(struct walk *w, struct want *x, struct err *e)
{
	auto_buf b = BUF_INIT(SHARD_PACKED_MAX);
	uint8_t got[SHA256_SIZE];
	if (x->get.state == GET_MISSING)
		return err_new(e, ERR_NETWORK,
			       "the shard of '%.*s' is not there any more: the channel has changed; try again",
			       STR_ARG(x->name));
	if (x->get.state != GET_DONE) {
		*e = x->get.err;
		return err_ctx(e, "shard of '%.*s'", STR_ARG(x->name));
	}
	if (cache_slurp(x->get.fd, &b, "shard", e) < 0)
		return -1;
	sha256(b.p, b.n, got);
	if (memcmp(got, x->digest, SHA256_SIZE) != 0)
		return err_new(e, ERR_VERIFY,
			       "the shard of '%.*s' does not have the digest that the shard index promises",
			       STR_ARG(x->name));
	cleanup_fd(&x->get.fd);
	return fs_replace(x->s->dir_fd, shard_path(&w->a, x->s, x->digest), b.p, b.n, 0, e);
}

static int fetch_some(struct walk *w, struct want *v, size_t n, struct err *e)
{
	struct channel_get *gets[FETCH_AT_ONCE];
	for (size_t i = 0; i < n; i++) {
		if ((v[i].get.fd = cache_tmp(v[i].s->dir_fd, e)) < 0)
			return -1;
		gets[i] = &v[i].get;
	}
	if (cache_get(w->c, gets, n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (keep_shard(w, &v[i], e) < 0)
			return err_ctx(e, "channel '%.*s/%s'", STR_ARG(v[i].s->channel->shown), v[i].s->sub);
	return 0;
}

static void add_want(struct walk *w, struct source *s, struct str name, struct want_vec *wants)
{
	const uint8_t *digest = shard_digest(s, name);
	char hex[SHA256_HEX_SIZE];
	if (!digest || fs_exists(s->dir_fd, shard_path(&w->a, s, digest)))
		return;
	hex_encode(digest, SHA256_SIZE, hex);
	struct str folder = str_c(source_url(s, ""));
	struct str base = channel_url_join(&w->a, folder, s->shards->shards_base_url);
	const char *slash = str_ends(base, STR("/")) ? "" : "/";
	vec_push(wants, ((struct want){.s = s,
				       .name = name,
				       .digest = digest,
				       .get = {.fd = -1,
					       .sha256 = digest,
					       .max_bytes = SHARD_PACKED_MAX,
					       .url = arena_printf(&w->a, "%.*s%s%s.msgpack.zst", STR_ARG(base), slash,
								   hex)}}));
}

/* What the names from `from` on need and what is not held yet. */
static int fetch_round(struct walk *w, size_t from, struct err *e)
{
	auto_wants wants = {0};
	for (size_t q = from; q < w->queue.n; q++)
		for (size_t i = 0; i < w->n; i++)
			if (w->v[i].builder)
				add_want(w, &w->v[i], w->queue.v[q], &wants);
	for (size_t i = 0; i < wants.n; i += FETCH_AT_ONCE) {
		size_t n = wants.n - i < FETCH_AT_ONCE ? wants.n - i : FETCH_AT_ONCE;
		if (fetch_some(w, wants.v + i, n, e) < 0)
			return -1;
	}
	return 0;
}

/* A held shard that does not verify is removed, so that the next run fetches it. */
static int add_shard(struct walk *w, struct source *s, struct str name, struct err *e)
{
	const uint8_t *digest = shard_digest(s, name);
	auto_buf packed = BUF_INIT(SHARD_PACKED_MAX), text = BUF_INIT(SHARD_UNPACKED_MAX);
	uint8_t got[SHA256_SIZE];
	if (!digest)
		return build_name_whole(s->builder, name, e);
	const char *path = shard_path(&w->a, s, digest);
	if (fs_read(s->dir_fd, path, &packed, e) < 0)
		return -1;
	sha256(packed.p, packed.n, got);
	if (memcmp(got, digest, SHA256_SIZE) != 0) {
		(void)sys_unlinkat(s->dir_fd, path, 0);
		return err_new(e, ERR_VERIFY, "held shard of '%.*s' was damaged and has been removed; try again",
			       STR_ARG(name));
	}
	if (shard_unpack(buf_str(&packed), path, &text, e) < 0 ||
	    index_builder_shard(s->builder, name, buf_str(&text), e) < 0)
		return err_ctx(e, "channel '%.*s/%s'", STR_ARG(s->channel->shown), s->sub);
	return 0;
}

static void walk_builder(struct walk *w, const struct index_builder *b)
{
	for (size_t i = 0; i < b->names.n; i++)
		if (b->names.v[i].whole & IX_NEEDED)
			walk_add(w, pool_get(&b->pool, b->names.v[i].str));
}

static int walk_round(struct walk *w, struct err *e)
{
	size_t from = w->at, end = w->queue.n;
	if (fetch_round(w, from, e) < 0)
		return -1;
	for (size_t q = from; q < end; q++)
		for (size_t i = 0; i < w->n; i++) {
			struct source *s = &w->v[i];
			if (s->builder && add_shard(w, s, w->queue.v[q], e) < 0)
				return -1;
			if (!s->builder && s->index)
				walk_index(w, s->index, w->queue.v[q]);
		}
	w->at = end;
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].builder)
			walk_builder(w, w->v[i].builder);
	return 0;
}

/* -- making the partial indexes ---------------------------------------------------------------------------------- */

static int begin_source(struct walk *w, struct source *s, struct err *e)
{
	struct index_builder *b;
	auto_fd shards = -1;
	if (source_lock(s, e) < 0 || state_load(s, e) < 0 || load_shard_index(s, e) < 0)
		return -1;
	s->builder = b = index_builder_new(s->dir_fd, variant_file(s, "idx"), s->subdir, e);
	if (!b)
		return -1;
	b->partial = true;
	if ((shards = fs_open_dir_make(s->dir_fd, shards_folder(s), e)) < 0)
		return -1;
	cache_tidy(shards, STR(""));
	vec_foreach(root, &s->state.roots)
		walk_add(w, *root);
	return build_string(b, s->shards->base_url, &b->base_url, e) < 0 ||
			       build_string(b, s->shards->relation_base, &b->relation_base, e) < 0 ||
			       build_string(b, s->shards->relation_overrides, &b->relation_overrides, e) < 0
		       ? -1
		       : 0;
}

static bool has_root(const struct source *s, struct str root)
{
	vec_foreach(have, &s->state.roots)
		if (str_eq(*have, root))
			return true;
	return false;
}

static int finish_source(struct channel_cache *c, struct source *s, const struct str *roots, size_t roots_n,
			 struct err *e)
{
	if (index_builder_finish(s->builder, e) < 0)
		return -1;
	index_builder_free(s->builder);
	s->builder = NULL;
	for (size_t i = 0; i < roots_n; i++)
		if (!has_root(s, roots[i]))
			vec_push(&s->state.roots, arena_str(s->a, roots[i]));
	while (s->state.roots.n > ROOTS_MAX) {
		memmove(s->state.roots.v, s->state.roots.v + 1, (s->state.roots.n - 1) * sizeof(struct str));
		s->state.roots.n--;
	}
	s->state.built = true;
	return state_save(s, e) < 0 ? -1 : source_reopen(c, s, e);
}

static bool is_referred(const struct source *s, const char *file)
{
	uint8_t digest[SHA256_SIZE];
	if (!str_unhex(str_c(file), digest, SHA256_SIZE))
		return false;
	for (struct map_slot *m = NULL; (m = map_next(&s->shards->names, m));)
		if (memcmp((const void *)(uintptr_t)m->value, digest, SHA256_SIZE) == 0)
			return true;
	return false;
}

/* Shards that no shard index names and that came long ago go. Failure to tidy is no failure. */
static void tidy(const struct walk *w, const struct source *s)
{
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	int64_t now_s = w->c->clock->wall_ms(w->c->clock) / 1000;
	auto_fd dir = fs_open_dir(s->dir_fd, shards_folder(s), &ignored);
	if (dir < 0 || fs_list(dir, ".", SHARD_FILES_MAX, &list, &ignored) < 0)
		return;
	for (size_t i = 0; i < list.n; i++) {
		struct stat st;
		if (fstatat(dir, list.name[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    now_s - st.st_mtim.tv_sec > SHARD_KEEP_S && !is_referred(s, list.name[i]))
			(void)sys_unlinkat(dir, list.name[i], 0);
	}
}

static int source_cmp(const void *a, const void *b)
{
	const struct source *x = *(struct source *const *)a, *y = *(struct source *const *)b;
	int c = strcmp(x->channel->id, y->channel->id);
	return c ? c : strcmp(x->sub, y->sub);
}

static int begin_all(struct walk *w, struct err *e)
{
	auto_free struct source **order = xcalloc(w->n + 1, sizeof(*order));
	size_t n = 0;
	for (size_t i = 0; i < w->n; i++)
		if (is_sharded(&w->v[i]))
			order[n++] = &w->v[i];
	qsort(order, n, sizeof(*order), source_cmp); /* locks are taken in one order everywhere */
	for (size_t i = 0; i < n; i++)
		if (begin_source(w, order[i], e) < 0)
			return -1;
	return 0;
}

static int make_all(struct walk *w, const struct str *roots, size_t roots_n, struct err *e)
{
	if (begin_all(w, e) < 0)
		return -1;
	while (w->at < w->queue.n)
		if (walk_round(w, e) < 0)
			return -1;
	for (size_t i = 0; i < w->n; i++) {
		bool changed = is_sharded(&w->v[i]) && !w->v[i].state.built;
		if (w->v[i].builder && finish_source(w->c, &w->v[i], roots, roots_n, e) < 0)
			return -1;
		if (changed)
			tidy(w, &w->v[i]);
	}
	return 0;
}

int shards_close(struct channel_cache *c, struct source *v, size_t n, const struct str *roots, size_t roots_n,
		 enum channel_refresh_flags flags, struct err *e)
{
	bool any = false;
	for (size_t i = 0; i < n; i++)
		any |= is_sharded(&v[i]);
	if (!any || flags & CHANNEL_OFFLINE)
		return 0;
	auto_walk held = {.c = c, .v = v, .n = n}, fresh = {.c = c, .v = v, .n = n};
	for (size_t i = 0; i < roots_n; i++) {
		walk_add(&held, roots[i]);
		walk_add(&fresh, roots[i]);
	}
	if (walk_held(&held))
		return 0;
	return make_all(&fresh, roots, roots_n, e);
}
