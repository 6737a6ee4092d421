// SPDX-License-Identifier: Apache-2.0
/*
 * From the metadata of a conda channel to its files, in three stages:
 *  1. Of each subdir: repodata.json.zst and the shard index, which a server may lack.
 *  2. Where the first came, repodata.json is unpacked from it, so that clients which know no other have it; where it did
 *     not, repodata.json is told. And the shards that the index names.
 *  3. The packages, of repodata.json, or of the shards where a server has nothing else.
 * At the end the shard index is led to what lies beside it.
 * Memory does not grow with the channel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/sys.h"
#include "channel/conda.h"
#include "channel/msgpack.h"
#include "channel/publish.h"
#include "channel/refresh.h"

enum { INDEX_MAX = 128 << 20, SHARD_PACKED_MAX = 64 << 20, SHARD_UNPACKED_MAX = 128 << 20, RECORD_MAX = 8192 };
static const uint64_t repodata_max = (uint64_t)8 << 30;

struct conda_walk {
	struct channel_walk walk;
	int dir;
	struct channel_walk_opts o;
	struct arena a;
	struct conda_subdirs subdirs;
	int stage;
};

/* -- subdirs ------------------------------------------------------------------------------------------------------- */

struct conda_subdirs conda_subdirs(struct arena *a, const struct channel_walk_opts *o)
{
	static const char *const known[] = {
		"noarch",	"linux-64",	     "linux-32",    "linux-aarch64", "linux-armv6l",
		"linux-armv7l", "linux-ppc64le",     "linux-ppc64", "linux-riscv64", "linux-s390x",
		"osx-64",	"osx-arm64",	     "win-64",	    "win-32",	     "win-arm64",
		"freebsd-64",	"emscripten-wasm32", "wasi-wasm32", "zos-z",
	};
	enum { KNOWN = sizeof(known) / sizeof(*known) };
	struct conda_subdirs s = {.named = o->platforms_n > 0};
	size_t max = s.named ? o->platforms_n + 1 : KNOWN;
	s.v = arena_array(a, struct str, max);
	if (s.named)
		s.v[s.n++] = STR("noarch");
	for (size_t i = 0; i < max - s.named; i++) {
		struct str name = s.named ? o->platforms[i] : str_c(known[i]);
		if (!(s.named && str_eq(name, STR("noarch"))))
			s.v[s.n++] = arena_str(a, name);
	}
	return s;
}

/* -- stages 1 and 2: metadata -------------------------------------------------------------------------------------- */

static int tell(struct conda_walk *w, struct str subdir, const char *file, enum channel_file what, bool optional,
		channel_item_fn *fn, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	(void)w;
	const struct channel_item item = {.path = str_c(arena_printf(&a, "%.*s/%s", STR_ARG(subdir), file)),
					  .what = what,
					  .platform = subdir,
					  .optional = optional};
	return fn(ctx, &item, e);
}

static int tell_pointers(struct conda_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	for (size_t i = 0; i < w->subdirs.n; i++)
		if (tell(w, w->subdirs.v[i], "repodata.json.zst", CHANNEL_FILE_POINTER, true, fn, ctx, e) < 0 ||
		    tell(w, w->subdirs.v[i], "repodata_shards.msgpack.zst", CHANNEL_FILE_POINTER, true, fn, ctx, e) < 0)
			return -1;
	return 1;
}

/* Made of what was verified already; put in place by rename all the same, so that no half of it stays after a kill. */
static int unpack(int dir, struct arena *a, struct str subdir, uint64_t leave_bytes, struct err *e)
{
	const char *packed = arena_printf(a, "%.*s/repodata.json.zst", STR_ARG(subdir));
	const char *plain = arena_printf(a, "%.*s/repodata.json", STR_ARG(subdir));
	const char *tmp = arena_printf(a, "%.*s/.repodata.json.tmp", STR_ARG(subdir));
	auto_free char *piece = xmalloc(1 << 18);
	int from = openat(dir, packed, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (from < 0)
		return err_sys(e, "open '%s'", packed);
	auto_ptr(istream) in = istream_limit(istream_zstd(istream_fd(from, packed)), repodata_max);
	auto_fd to = sys_openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (to < 0)
		return err_sys(e, "create '%s'", tmp);
	for (;;) {
		ssize_t n = istream_read(in, piece, 1 << 18, e);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		if ((leave_bytes && fs_check_space(to, leave_bytes, e) < 0) ||
		    fs_write_all(to, piece, (size_t)n, tmp, e) < 0)
			return err_ctx(e, "unpack '%s'", packed);
	}
	return sys_renameat(dir, tmp, dir, plain) < 0 ? err_sys(e, "put '%s' in place", plain) : 0;
}

/* Shards may lie elsewhere; here they lie beside their index. */
static int tell_shards(const struct conda_walk *w, struct str subdir, channel_item_fn *fn, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *name = arena_printf(&a, "%.*s/repodata_shards.msgpack.zst", STR_ARG(subdir));
	if (!fs_exists(w->dir, name))
		return 0;
	auto_ptr(shard_index) x = shard_index_read(w->dir, name, e);
	struct map_slot *at = NULL;
	const uint8_t *digest;
	if (!x)
		return err_ctx(e, "'%s'", name);
	struct str base = shard_index_base(x);
	while ((digest = shard_index_next(x, &at))) {
		char hex[SHA256_HEX_SIZE], path[300], url[RECORD_MAX];
		if (!walk_wants_name(&w->o, at->key))
			continue;
		hex_encode(digest, SHA256_SIZE, hex);
		snprintf(path, sizeof(path), "%.*s/shards/%s.msgpack.zst", STR_ARG(subdir), hex);
		bool rooted = str_search(base, STR("://")) > 0 || str_starts(base, STR("/"));
		snprintf(url, sizeof(url), "%.*s%s%.*s%s%s.msgpack.zst", rooted ? 0 : STR_ARG(subdir),
			 rooted ? "" : "/", STR_ARG(base), str_ends(base, STR("/")) || !base.n ? "" : "/", hex);
		struct channel_item item = {.path = str_c(path),
					    .url = str_c(url),
					    .digest = {.kind = DIGEST_SHA256, .known = true},
					    .what = CHANNEL_FILE_NAMED,
					    .name = at->key,
					    .platform = subdir};
		memcpy(item.digest.bytes, digest, SHA256_SIZE);
		if (fn(ctx, &item, e) < 0)
			return -1;
	}
	return 0;
}

static int tell_rest(struct conda_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	for (size_t i = 0; i < w->subdirs.n; i++) {
		auto_arena a = ARENA_INIT;
		struct str subdir = w->subdirs.v[i];
		bool packed = fs_exists(w->dir, arena_printf(&a, "%.*s/repodata.json.zst", STR_ARG(subdir)));
		if (packed && unpack(w->dir, &a, subdir, w->o.leave_bytes, e) < 0)
			return -1;
		/* what a server lacks though it was asked for is missed in the next stage, where shards may do */
		if ((!packed && tell(w, subdir, "repodata.json", CHANNEL_FILE_POINTER, true, fn, ctx, e) < 0) ||
		    tell_shards(w, subdir, fn, ctx, e) < 0)
			return -1;
	}
	return 1;
}

/* -- records ------------------------------------------------------------------------------------------------------- */

static struct str plain_text(struct arena *a, struct str raw)
{
	auto_buf b = BUF_INIT(RECORD_MAX);
	if (str_find(raw, '\\') < 0)
		return raw;
	return scan_unescape(raw, &b) && !b.overflow ? arena_str(a, buf_str(&b)) : STR("");
}

struct record_texts {
	struct str name, version;
	uint64_t size, timestamp;
	uint8_t sha256[SHA256_SIZE], md5[MD5_SIZE];
	bool has_sha256, has_md5;
};

static bool take_member(struct scan *s, struct str key, struct record_texts *r)
{
	struct str ignored;
	bool has;
	if (str_eq(key, STR("name")) && scan_peek(s) == '"')
		return scan_string(s, &r->name);
	if (str_eq(key, STR("version")) && scan_peek(s) == '"')
		return scan_string(s, &r->version);
	if (str_eq(key, STR("size")))
		return scan_number(s, &r->size, &has);
	if (str_eq(key, STR("timestamp")))
		return scan_number(s, &r->timestamp, &has);
	if (str_eq(key, STR("sha256")))
		return scan_hex(s, r->sha256, SHA256_SIZE, &r->has_sha256);
	if (str_eq(key, STR("md5")))
		return scan_hex(s, r->md5, MD5_SIZE, &r->has_md5);
	return scan_value(s, &ignored);
}

static bool read_record(struct str text, struct record_texts *r)
{
	struct scan s = {.p = text.p, .end = text.p + text.n};
	struct str key;
	if (!scan_char(&s, '{', ""))
		return false;
	if (scan_peek(&s) == '}')
		return true;
	do {
		if (!scan_string(&s, &key) || !scan_char(&s, ':', "") || !take_member(&s, key, r))
			return false;
	} while (scan_char(&s, ',', ""));
	return true;
}

static bool put_digest(const struct record_texts *r, struct digest_value *ret)
{
	*ret = (struct digest_value){.kind = r->has_sha256 ? DIGEST_SHA256 : DIGEST_MD5,
				     .known = r->has_sha256 || r->has_md5};
	if (ret->known)
		memcpy(ret->bytes, r->has_sha256 ? r->sha256 : r->md5, digest_size(ret->kind));
	return ret->known;
}

/* Where the file lies; STR_NONE: beside its metadata. */
static struct str url_of(struct arena *a, struct str subdir, struct str base, struct str fn)
{
	if (!base.n)
		return STR_NONE;
	bool rooted = str_search(base, STR("://")) > 0 || str_starts(base, STR("/"));
	return str_c(arena_printf(a, "%.*s%s%.*s%s%.*s", rooted ? 0 : STR_ARG(subdir), rooted ? "" : "/", STR_ARG(base),
				  str_ends(base, STR("/")) ? "" : "/", STR_ARG(fn)));
}

/* Up to here a timestamp counts seconds. */
#define SECONDS_MAX UINT64_C(253402300799)

static bool make_item(struct arena *a, struct str subdir, struct str base, struct str fn, const struct record_texts *r,
		      struct channel_item *ret)
{
	bool package = str_ends(fn, STR(".conda")) || str_ends(fn, STR(".tar.bz2"));
	struct str path = str_c(arena_printf(a, "%.*s/%.*s", STR_ARG(subdir), STR_ARG(fn)));
	if (!package || str_find(fn, '/') >= 0 || !channel_path_is_normal(path) || r->timestamp >> 48)
		return false;
	*ret = (struct channel_item){.path = path,
				     .url = url_of(a, subdir, base, fn),
				     .size = r->size,
				     .what = CHANNEL_FILE_PACKAGE,
				     .name = plain_text(a, r->name),
				     .version = plain_text(a, r->version),
				     .platform = subdir,
				     .time_ms = (int64_t)(r->timestamp <= SECONDS_MAX ? r->timestamp * 1000
										      : r->timestamp)};
	(void)put_digest(r, &ret->digest);
	return ret->name.n > 0;
}

bool conda_item(struct arena *a, struct str subdir, struct str base_url, enum repodata_section section, struct str key,
		struct str record, struct channel_item *ret)
{
	struct record_texts r = {0};
	struct str fn = plain_text(a, key);
	if (section >= REPODATA_V3_PACKAGES)
		fn = str_c(arena_printf(a, "%.*s.%s", STR_ARG(fn), section == REPODATA_V3_CONDA ? "conda" : "tar.bz2"));
	return read_record(record, &r) && make_item(a, subdir, base_url, fn, &r, ret);
}

struct str conda_base_url(struct arena *a, struct str info)
{
	struct err ignored = ERR_INIT;
	struct str base = STR("");
	const struct json *j = json_parse(a, info, "info", &ignored);
	if (j)
		(void)json_opt_str(j, "base_url", &base, &ignored);
	return str_eq(base, STR("./")) || str_eq(base, STR(".")) ? STR("") : base;
}

/* -- stage 3: packages --------------------------------------------------------------------------------------------- */

int conda_repodata(int folder_fd, struct arena *a, struct str subdir, struct istream **ret, struct err *e)
{
	const char *plain = arena_printf(a, "%.*s/repodata.json", STR_ARG(subdir));
	const char *packed = arena_printf(a, "%s.zst", plain);
	int fd = openat(folder_fd, plain, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0) {
		*ret = istream_limit(istream_fd(fd, plain), repodata_max);
		return 1;
	}
	if (errno != ENOENT)
		return err_sys(e, "open '%s'", plain);
	fd = openat(folder_fd, packed, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open '%s'", packed);
	*ret = istream_limit(istream_zstd(istream_fd(fd, packed)), repodata_max);
	return 1;
}

struct telling {
	struct conda_walk *w;
	struct str subdir, base_url;
	const char *path; /* of the file, where it is not the subdir's repodata.json */
	bool info;	  /* it was seen */
	struct arena a;	  /* base_url */
	channel_item_fn *fn;
	void *ctx;
};

static int tell_member(void *ctx, struct str key, struct str value, struct err *e)
{
	struct telling *t = ctx;
	(void)e;
	if (str_eq(key, STR("info")) && !t->info) {
		t->base_url = conda_base_url(&t->a, value);
		t->w->walk.leads_away |= t->base_url.n > 0;
		t->info = true;
	}
	return 0;
}

static int pass_record(void *ctx, enum repodata_section section, struct str key, struct str record, struct err *e)
{
	(void)ctx, (void)section, (void)key, (void)record, (void)e;
	return 0;
}

static int tell_one(struct telling *t, const struct channel_item *item, struct err *e)
{
	return walk_wants_name(&t->w->o, item->name) ? t->fn(t->ctx, item, e) : 0;
}

static int open_telling(struct telling *t, struct arena *a, struct istream **ret, struct err *e)
{
	if (!t->path)
		return conda_repodata(t->w->dir, a, t->subdir, ret, e);
	return kind_open_packed(t->w->dir, t->path, repodata_max, ret, e) < 0 ? -1 : 1;
}

/* Of a server's info, base_url is needed before the first record; it seldom stands behind. */
static int find_info(struct telling *t, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(istream) in = NULL;
	const struct repodata_visit v = {.record = pass_record, .member = tell_member, .ctx = t};
	int rc = open_telling(t, &a, &in, e);
	if (rc <= 0 || repodata_visit(in, &v, NULL, e) < 0)
		return -1;
	t->info = true;
	return 0;
}

static int tell_record(void *ctx, enum repodata_section section, struct str key, struct str record, struct err *e)
{
	struct telling *t = ctx;
	auto_arena a = ARENA_INIT;
	struct channel_item item;
	if (!t->info && find_info(t, e) < 0)
		return -1;
	return conda_item(&a, t->subdir, t->base_url, section, key, record, &item) ? tell_one(t, &item, e) : 0;
}

static int shard_record(struct telling *t, struct mp *m, struct str fn, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(1 << 20);
	struct record_texts r = {0};
	struct channel_item item;
	uint32_t n;
	struct str key;
	int rc;
	if (mp_map(m, &n, e) < 0)
		return -1;
	while ((rc = mp_key(m, &n, &key, e)) > 0) {
		struct mp_token v;
		bool sha = str_eq(key, STR("sha256")), md5 = str_eq(key, STR("md5"));
		bool leaf = sha || md5 || str_eq(key, STR("name")) || str_eq(key, STR("version")) ||
			    str_eq(key, STR("size")) || str_eq(key, STR("timestamp"));
		if ((leaf ? mp_read(m, &v, e) : mp_skip(m, e)) < 0)
			return -1;
		if (!leaf)
			continue;
		size_t want = sha ? SHA256_SIZE : MD5_SIZE;
		uint8_t *to = sha ? r.sha256 : r.md5;
		if (sha || md5) {
			bool good = v.type == MP_BIN && v.bytes.n == want;
			if (good)
				memcpy(to, v.bytes.p, want);
			else
				good = v.type == MP_STR && str_unhex(v.bytes, to, want);
			*(sha ? &r.has_sha256 : &r.has_md5) = good;
		} else if (v.type == MP_STR) {
			*(str_eq(key, STR("name")) ? &r.name : &r.version) = v.bytes;
		} else if (v.type == MP_UINT) {
			*(str_eq(key, STR("size")) ? &r.size : &r.timestamp) = v.uint;
		}
	}
	return rc < 0 ? -1 : make_item(&a, t->subdir, t->base_url, fn, &r, &item) ? tell_one(t, &item, e) : 0;
}

static int shard_section(struct telling *t, struct mp *m, struct err *e)
{
	uint32_t n;
	struct str fn;
	int rc;
	if (mp_map(m, &n, e) < 0)
		return -1;
	while ((rc = mp_key(m, &n, &fn, e)) > 0)
		if (shard_record(t, m, fn, e) < 0)
			return -1;
	return rc;
}

static int tell_shard(struct telling *t, const char *path, struct err *e)
{
	auto_buf packed = BUF_INIT(SHARD_PACKED_MAX), text = BUF_INIT(SHARD_UNPACKED_MAX);
	uint32_t n;
	struct str key;
	int rc;
	if (fs_read(t->w->dir, path, &packed, e) < 0 || shard_unpack(buf_str(&packed), path, &text, e) < 0)
		return -1;
	struct mp m = mp_of(buf_str(&text), path);
	if (mp_map(&m, &n, e) < 0)
		return -1;
	while ((rc = mp_key(&m, &n, &key, e)) > 0) {
		bool section = str_eq(key, STR("packages")) || str_eq(key, STR("packages.conda"));
		if ((section ? shard_section(t, &m, e) : mp_skip(&m, e)) < 0)
			return -1;
	}
	return rc;
}

/* 1; 0: there are none. */
static int tell_from_shards(struct telling *t, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *name = arena_printf(&a, "%.*s/repodata_shards.msgpack.zst", STR_ARG(t->subdir));
	if (!fs_exists(t->w->dir, name))
		return 0;
	auto_ptr(shard_index) x = shard_index_read(t->w->dir, name, e);
	struct map_slot *at = NULL;
	const uint8_t *digest;
	if (!x)
		return -1;
	t->base_url = shard_index_packages(x);
	while ((digest = shard_index_next(x, &at))) {
		char hex[SHA256_HEX_SIZE];
		if (!walk_wants_name(&t->w->o, at->key))
			continue;
		hex_encode(digest, SHA256_SIZE, hex);
		if (tell_shard(t, arena_printf(&a, "%.*s/shards/%s.msgpack.zst", STR_ARG(t->subdir), hex), e) < 0)
			return -1;
	}
	return 1;
}

/* 1; 0: the channel has no such subdir. */
static int tell_subdir(struct telling *t, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(istream) in = NULL;
	const struct repodata_visit v = {.record = tell_record, .member = tell_member, .ctx = t};
	int rc = open_telling(t, &a, &in, e);
	if (rc == 0)
		return tell_from_shards(t, e);
	return rc < 0 || repodata_visit(in, &v, t->w->o.progress, e) < 0 ? -1 : 1;
}

static int tell_packages(struct conda_walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	bool any = false;
	for (size_t i = 0; i < w->subdirs.n; i++) {
		struct telling t = {.w = w, .subdir = w->subdirs.v[i], .fn = fn, .ctx = ctx};
		int rc = tell_subdir(&t, e);
		arena_release(&t.a);
		if (rc < 0)
			return -1;
		any |= rc > 0;
		if (rc == 0 && w->subdirs.named && i > 0)
			return err_new(e, ERR_NOT_FOUND, "'%.*s/repodata.json': the channel has no such platform",
				       STR_ARG(t.subdir));
	}
	return any ? 1 : err_new(e, ERR_NOT_FOUND, "'noarch/repodata.json': there is no conda channel");
}

/* -- the end ------------------------------------------------------------------------------------------------------- */

/* The shard index that is handed on must lead to the shards and packages here. The shards themselves name no places. */
static int localize_index(int from, int to, struct str subdir, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf packed = BUF_INIT(INDEX_MAX), text = BUF_INIT(INDEX_MAX), local = BUF_INIT(INDEX_MAX);
	const char *name = arena_printf(&a, "%.*s/" PUBLISH_SHARDS, STR_ARG(subdir));
	if (!fs_exists(from, name))
		return 0;
	auto_ptr(shard_index) x = shard_index_read(from, name, e);
	if (!x)
		return -1;
	if (!shard_index_packages(x).n &&
	    (str_eq(shard_index_base(x), STR("./shards/")) || str_eq(shard_index_base(x), STR("shards/"))))
		return 0;
	if (fs_read(from, name, &packed, e) < 0 || shard_unpack(buf_str(&packed), name, &text, e) < 0 ||
	    shard_index_localize(buf_str(&text), name, &local, e) < 0)
		return -1;
	if (local.overflow)
		return err_new(e, ERR_LIMIT, "'%s' is too large", name);
	return publish_packed(to, name, buf_str(&local), e) < 0 ? -1 : 1;
}

static int localize(struct conda_walk *w, struct err *e)
{
	for (size_t i = 0; i < w->subdirs.n; i++)
		if (localize_index(w->dir, w->dir, w->subdirs.v[i], e) < 0)
			return -1;
	return 0;
}

/* -- file by file -------------------------------------------------------------------------------------------------- */

#define NOTE ".packages" /* beside shards that came: where the packages of their records lie, when that is elsewhere */

static int keep_and_tell(void *ctx, const struct channel_item *item, struct err *e)
{
	struct telling *t = ctx;
	return t->fn(t->ctx, item, e) < 0 ? -1 : 1;
}

/* repodata.json as it came would lead clients elsewhere. */
static int make_repodata(const struct channel_came *c, struct telling *t, const char *file, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct channel_walk_opts one = {.platforms = &t->subdir, .platforms_n = 1};
	const struct channel_make_opts o = {0};
	if (strcmp(file, "repodata.json") != 0 && strcmp(file, "repodata.json.zst") != 0)
		return err_new(e, ERR_UNSUPPORTED, "'%s' leads to packages elsewhere; 'repodata.json' can be had",
			       t->path);
	const char *folder = arena_printf(&a, "/proc/self/fd/%d", c->made);
	return conda_rewrite(c->folder, &one, folder, &o, keep_and_tell, t, e) < 0 ? -1 : 1;
}

static int learn_repodata(const struct channel_came *c, struct telling *t, const char *file, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(istream) in = NULL;
	const struct repodata_visit v = {.record = tell_record, .member = tell_member, .ctx = t};
	if (open_telling(t, &a, &in, e) < 0 || repodata_visit(in, &v, NULL, e) < 0)
		return -1;
	return t->base_url.n ? make_repodata(c, t, file, e) : 0;
}

/* Shards at their own place need not be told: each says its digest. The note is for when they come. */
static int learn_shard_index(const struct channel_came *c, struct telling *t, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(shard_index) x = shard_index_read(c->folder, t->path, e);
	if (!x)
		return -1;
	struct str base = shard_index_base(x), packages = shard_index_packages(x);
	bool beside = str_eq(base, STR("./shards/")) || str_eq(base, STR("shards/"));
	const char *note = arena_printf(&a, "%.*s/" NOTE, STR_ARG(t->subdir));
	if (fs_replace(c->folder, note, packages.p ? packages.p : "", packages.n, 0, e) < 0 ||
	    (!beside && tell_shards(t->w, t->subdir, t->fn, t->ctx, e) < 0) ||
	    fs_mkdirs(c->made, arena_strdup(&a, t->subdir), 0755, e) < 0)
		return -1;
	return localize_index(c->folder, c->made, t->subdir, e);
}

static int learn_shard(const struct channel_came *c, struct telling *t, struct err *e)
{
	auto_buf note = BUF_INIT(RECORD_MAX);
	struct err ignored = ERR_INIT;
	if (fs_read(c->folder, arena_printf(&t->a, "%.*s/" NOTE, STR_ARG(t->subdir)), &note, &ignored) == 0)
		t->base_url = arena_str(&t->a, buf_str(&note));
	return tell_shard(t, t->path, e);
}

int conda_learn(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct conda_walk w = {.dir = c->folder};
	struct telling t = {.w = &w, .fn = fn, .ctx = ctx};
	struct str rest = path;
	int rc = 0;
	if (!str_take_until(&rest, '/', &t.subdir))
		return 0;
	t.path = arena_strdup(&t.a, path);
	if (str_eq_c(rest, PUBLISH_SHARDS))
		rc = learn_shard_index(c, &t, e);
	else if (str_starts(rest, STR("shards/")))
		rc = learn_shard(c, &t, e);
	else if (str_starts(rest, STR("repodata")) || str_starts(rest, STR("current_repodata")))
		rc = learn_repodata(c, &t, t.path + path.n - rest.n, e);
	arena_release(&t.a);
	return rc;
}

int conda_walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e)
{
	(void)e;
	struct conda_walk *w = xcalloc(1, sizeof(*w));
	w->dir = folder_fd;
	w->o = *o;
	w->subdirs = conda_subdirs(&w->a, o);
	*ret = &w->walk;
	return 0;
}

int conda_walk_next(struct channel_walk *walk, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct conda_walk *w = (struct conda_walk *)walk;
	switch (w->stage++) {
	case 0:
		return tell_pointers(w, fn, ctx, e);
	case 1:
		return tell_rest(w, fn, ctx, e);
	case 2:
		return tell_packages(w, fn, ctx, e);
	case 3:
		return localize(w, e);
	default:
		return 0;
	}
}

void conda_walk_free(struct channel_walk *walk)
{
	struct conda_walk *w = (struct conda_walk *)walk;
	arena_release(&w->a);
	free(w);
}
