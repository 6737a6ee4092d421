// SPDX-License-Identifier: Apache-2.0
/*
 * What is made of a subdir's repodata.json for other clients: shards (CEP 16) and current_repodata.json.
 *
 * The same repodata gives the same bytes, so what did not change keeps its name: a shard is written only where it is not
 * there, and goes only when nobody can have an index any more that names it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <zstd.h>

#include "base/dl.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "base/vec.h"
#include "channel/publish.h"
#include "channel/refresh.h"

enum { DERIVED_MAX = 1 << 30, SHARD_FILES_MAX = 1 << 20, SHARD_KEEP_S = 24 * 3600, ZSTD_LEVEL = 16 };

#define ZSTD(X)                                                                                                        \
	X(ZSTD_, compress)                                                                                             \
	X(ZSTD_, compressBound)                                                                                        \
	X(ZSTD_, getErrorName)                                                                                         \
	X(ZSTD_, isError)
DL_LIBRARY(zstd, "libzstd.so.1", ZSTD, NULL);

/* In *ret_p, which the caller frees. */
static int pack(struct str text, const char *name, char **ret_p, size_t *ret_n, struct err *e)
{
	if (dl_load(&zstd_library, e) < 0)
		return -1;
	size_t max = zstd.compressBound(text.n);
	auto_free char *p = xmalloc(max);
	size_t n = zstd.compress(p, max, text.p, text.n, ZSTD_LEVEL);
	if (zstd.isError(n))
		return err_new(e, ERR_FAILED, "compress '%s': %s", name, zstd.getErrorName(n));
	*ret_p = steal_ptr(&p);
	*ret_n = n;
	return 0;
}

int publish_packed(int dir, const char *name, struct str text, struct err *e)
{
	auto_free char *p = NULL;
	size_t n;
	return pack(text, name, &p, &n, e) < 0 ? -1 : fs_replace(dir, name, p, n, FS_REPLACE_SYNC, e);
}

/* -- records by name ---------------------------------------------------------------------------------------------- */

enum section { S_PACKAGES, S_CONDA, S_V3_PACKAGES, S_V3_CONDA, SECTIONS };
struct entry {
	struct str name, key;
	enum section section;
	const struct json *record;
	/* for current_repodata.json */
	struct pkg_record r;
	const struct version *version; /* NULL: it cannot be read */
	bool chosen;
};
VEC_TYPE(entry_vec, struct entry);

static void add_entries(struct entry_vec *v, const struct json *object, enum section section)
{
	for (uint32_t i = 0; object && object->type == JSON_OBJECT && i < object->n; i++) {
		const struct json *r = &object->member[i].value;
		const struct json *name = json_get(r, "name");
		if (name && name->type == JSON_STRING)
			vec_push(v, ((struct entry){.name = name->string,
						    .key = object->member[i].key,
						    .section = section,
						    .record = r}));
	}
}

static int entry_cmp(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int c = str_cmp(x->name, y->name);
	return c ? c : x->section != y->section ? (int)x->section - (int)y->section : str_cmp(x->key, y->key);
}

static void read_entries(struct entry_vec *v, const struct json *top, bool v3)
{
	const struct json *of_v3 = v3 ? json_get(top, "v3") : NULL;
	add_entries(v, json_get(top, "packages"), S_PACKAGES);
	add_entries(v, json_get(top, "packages.conda"), S_CONDA);
	if (of_v3) {
		add_entries(v, json_get(of_v3, "tar.bz2"), S_V3_PACKAGES);
		add_entries(v, json_get(of_v3, "conda"), S_V3_CONDA);
	}
	vec_sort(v, entry_cmp);
}

/* How many entries from `from` on have its name. */
static size_t group_size(const struct entry_vec *v, size_t from)
{
	size_t n = 1;
	while (from + n < v->n && str_eq(v->v[from + n].name, v->v[from].name))
		n++;
	return n;
}

/* -- msgpack ------------------------------------------------------------------------------------------------------ */

static void put_be(struct buf *b, uint64_t v, unsigned bytes)
{
	while (bytes-- > 0)
		buf_put_char(b, (char)(v >> (8 * bytes)));
}

/* The head of a text, list or map: in one byte where it is short, else a code and the length. */
static void put_head(struct buf *b, size_t n, unsigned fix, size_t fix_max, unsigned code8, unsigned code16)
{
	if (n <= fix_max) {
		put_be(b, fix | n, 1);
	} else if (code8 && n <= UINT8_MAX) {
		put_be(b, code8, 1);
		put_be(b, n, 1);
	} else {
		bool is_short = n <= UINT16_MAX;
		put_be(b, is_short ? code16 : code16 + 1, 1);
		put_be(b, n, is_short ? 2 : 4);
	}
}

static void put_map(struct buf *b, size_t n)
{
	put_head(b, n, 0x80, 15, 0, 0xde);
}

static void put_array(struct buf *b, size_t n)
{
	put_head(b, n, 0x90, 15, 0, 0xdc);
}

static void put_text(struct buf *b, struct str s)
{
	put_head(b, s.n, 0xa0, 31, 0xd9, 0xda);
	buf_put_str(b, s);
}

static void put_bytes(struct buf *b, const uint8_t *p, size_t n)
{
	put_be(b, 0xc4, 1);
	put_be(b, n, 1);
	buf_put(b, p, n);
}

static void put_int(struct buf *b, int64_t v)
{
	if (v < 0) {
		put_be(b, 0xd3, 1);
		put_be(b, (uint64_t)v, 8);
	} else if (v < 128) {
		put_be(b, (uint64_t)v, 1);
	} else {
		unsigned log = v <= UINT8_MAX ? 0 : v <= UINT16_MAX ? 1 : v <= UINT32_MAX ? 2 : 3;
		put_be(b, 0xcc + log, 1);
		put_be(b, (uint64_t)v, 1u << log);
	}
}

/* The depth is bounded by the JSON reader. */
static void put_value(struct buf *b, const struct json *v)
{
	uint64_t bits;
	switch (v->type) {
	case JSON_NULL:
		put_be(b, 0xc0, 1);
		break;
	case JSON_BOOL:
		put_be(b, v->boolean ? 0xc3 : 0xc2, 1);
		break;
	case JSON_INT:
		put_int(b, v->integer);
		break;
	case JSON_DOUBLE:
		memcpy(&bits, &v->number, sizeof(bits));
		put_be(b, 0xcb, 1);
		put_be(b, bits, 8);
		break;
	case JSON_STRING:
		put_text(b, v->string);
		break;
	case JSON_ARRAY:
		put_array(b, v->n);
		for (uint32_t i = 0; i < v->n; i++)
			put_value(b, &v->item[i]);
		break;
	case JSON_OBJECT:
		put_map(b, v->n);
		for (uint32_t i = 0; i < v->n; i++) {
			put_text(b, v->member[i].key);
			put_value(b, &v->member[i].value);
		}
		break;
	}
}

/* Digests are bytes in a shard. */
static void put_record(struct buf *b, const struct json *r)
{
	uint8_t digest[SHA256_SIZE];
	put_map(b, r->n);
	for (uint32_t i = 0; i < r->n; i++) {
		struct str key = r->member[i].key;
		const struct json *v = &r->member[i].value;
		size_t size = str_eq(key, STR("sha256")) ? SHA256_SIZE : str_eq(key, STR("md5")) ? MD5_SIZE : 0;
		put_text(b, key);
		if (size && v->type == JSON_STRING && str_unhex(v->string, digest, size))
			put_bytes(b, digest, size);
		else
			put_value(b, v);
	}
}

/* -- shards ------------------------------------------------------------------------------------------------------- */

static void put_section(struct buf *b, const char *key, const struct entry *v, size_t n, enum section section)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += v[i].section == section;
	put_text(b, str_c(key));
	put_map(b, count);
	for (size_t i = 0; i < n; i++) {
		if (v[i].section != section)
			continue;
		put_text(b, v[i].key);
		put_record(b, v[i].record);
	}
}

/* File names that are removed from the channel, by the name of their package. */
struct removed {
	struct str name, fn;
	size_t at; /* its place in the list */
};
VEC_TYPE(removed_vec, struct removed);

static int removed_cmp(const void *a, const void *b)
{
	const struct removed *x = a, *y = b;
	int c = str_cmp(x->name, y->name);
	return c ? c : (x->at > y->at) - (x->at < y->at);
}

static void read_removed(struct removed_vec *v, const struct json *list)
{
	for (uint32_t i = 0; list && list->type == JSON_ARRAY && i < list->n; i++) {
		struct str name, version, build, ext;
		const struct json *fn = &list->item[i];
		if (fn->type == JSON_STRING && pkg_filename_split(fn->string, &name, &version, &build, &ext))
			vec_push(v, ((struct removed){name, fn->string, i}));
	}
	vec_sort(v, removed_cmp);
}

/* Those of one name; *at goes on from name to name. */
static void put_removed(struct buf *b, const struct removed_vec *v, struct str name, size_t *at)
{
	size_t n = 0;
	while (*at < v->n && str_cmp(v->v[*at].name, name) < 0)
		++*at;
	while (*at + n < v->n && str_eq(v->v[*at + n].name, name))
		n++;
	put_text(b, STR("removed"));
	put_array(b, n);
	for (size_t i = 0; i < n; i++)
		put_text(b, v->v[*at + i].fn);
}

static void put_shard(struct buf *b, const struct entry *v, size_t n, const struct removed_vec *removed, size_t *at)
{
	bool v3 = v[n - 1].section >= S_V3_PACKAGES;
	put_map(b, v3 ? 4 : 3);
	put_section(b, "packages", v, n, S_PACKAGES);
	put_section(b, "packages.conda", v, n, S_CONDA);
	put_removed(b, removed, v->name, at);
	if (!v3)
		return;
	put_text(b, STR("v3"));
	put_map(b, 2);
	put_section(b, "conda", v, n, S_V3_CONDA);
	put_section(b, "tar.bz2", v, n, S_V3_PACKAGES);
}

static const char *shard_name(const uint8_t digest[SHA256_SIZE], struct arena *a)
{
	char hex[SHA256_HEX_SIZE];
	hex_encode(digest, SHA256_SIZE, hex);
	return arena_printf(a, "%s.msgpack.zst", hex);
}

struct shard_writer {
	int dir;
	struct map kept; /* names of files that the index names */
	struct arena arena;
	bool wrote; /* something that is not on disk yet */
};

static void writer_release(struct shard_writer *w)
{
	map_release(&w->kept);
	arena_release(&w->arena);
}

/* A file with the name of its digest may hold something else where the system stopped before it was synced. */
static bool is_there(int dir, const char *name, const char *p, size_t n)
{
	auto_buf held = BUF_INIT(n);
	struct err ignored = ERR_INIT;
	return fs_read(dir, name, &held, &ignored) == 0 && str_eq(buf_str(&held), str_of(p, n));
}

/* Writes one shard, unless it is there, and names it in the index. */
static int write_shard(struct shard_writer *w, struct str text, struct buf *index, struct err *e)
{
	auto_free char *p = NULL;
	size_t n;
	uint8_t digest[SHA256_SIZE];
	if (pack(text, "shard", &p, &n, e) < 0)
		return -1;
	sha256(p, n, digest);
	const char *name = shard_name(digest, &w->arena);
	*map_put(&w->kept, str_c(name)) = 1;
	put_bytes(index, digest, SHA256_SIZE);
	if (is_there(w->dir, name, p, n))
		return 0;
	w->wrote = true;
	return fs_replace(w->dir, name, p, n, 0, e);
}

static void put_info(struct buf *b, const struct json *info, struct str subdir)
{
	static const char *const ours[] = {"subdir", "base_url", "shards_base_url"};
	const struct json *base = json_get(info, "base_url");
	size_t others = 0;
	for (int pass = 0; pass < 2; pass++) {
		if (pass)
			put_map(b, others + 3);
		for (uint32_t i = 0; info && info->type == JSON_OBJECT && i < info->n; i++) {
			bool own = false;
			for (size_t k = 0; k < 3; k++)
				own |= str_eq_c(info->member[i].key, ours[k]);
			if (own)
				continue;
			others += !pass;
			if (pass) {
				put_text(b, info->member[i].key);
				put_value(b, &info->member[i].value);
			}
		}
	}
	put_text(b, STR("subdir"));
	put_text(b, subdir);
	put_text(b, STR("base_url"));
	put_text(b, base && base->type == JSON_STRING ? base->string : STR(""));
	put_text(b, STR("shards_base_url"));
	put_text(b, STR("./shards/"));
}

/* Shards that the index of before names and the next one does not: their time becomes that of their end. */
static void stamp_dropped(int dir, struct shard_writer *w)
{
	struct err ignored = ERR_INIT;
	struct map_slot *at = NULL;
	const uint8_t *digest;
	auto_ptr(shard_index) before = shard_index_read(dir, PUBLISH_SHARDS, &ignored);
	while (before && (digest = shard_index_next(before, &at))) {
		const char *name = shard_name(digest, &w->arena);
		if (!map_get(&w->kept, str_c(name)))
			(void)sys_utimensat(w->dir, name, NULL, 0);
	}
}

/* Removes shards that no index has named for a day: so long somebody may have one that does. Failure to tidy is no failure. */
static void tidy_shards(const struct shard_writer *w)
{
	auto_fs_list l = {0};
	struct err ignored = ERR_INIT;
	struct stat st;
	if (fs_list(w->dir, ".", SHARD_FILES_MAX, &l, &ignored) < 0)
		return;
	for (size_t i = 0; i < l.n; i++)
		if (str_ends(str_c(l.name[i]), STR(".msgpack.zst")) && !map_get(&w->kept, str_c(l.name[i])) &&
		    fstatat(w->dir, l.name[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtim.tv_sec + SHARD_KEEP_S < time(NULL))
			(void)sys_unlinkat(w->dir, l.name[i], 0);
}

/* Fills in the index, but for its head. */
static int write_each(struct shard_writer *w, const struct entry_vec *v, const struct removed_vec *removed,
		      struct buf *index, struct err *e)
{
	size_t at = 0;
	for (size_t i = 0, n; i < v->n; i += n) {
		auto_buf shard = BUF_INIT(DERIVED_MAX);
		n = group_size(v, i);
		put_shard(&shard, &v->v[i], n, removed, &at);
		put_text(index, v->v[i].name);
		if (shard.overflow || index->overflow)
			return err_new(e, ERR_LIMIT, "shards would exceed %d MiB", DERIVED_MAX >> 20);
		if (write_shard(w, buf_str(&shard), index, e) < 0)
			return -1;
	}
	return 0;
}

static void put_index_head(struct buf *b, const struct entry_vec *v, const struct json *info, struct str subdir)
{
	size_t names = 0;
	for (size_t i = 0; i < v->n; i += group_size(v, i))
		names++;
	put_map(b, 3);
	put_text(b, STR("version"));
	put_int(b, 1);
	put_text(b, STR("info"));
	put_info(b, info, subdir);
	put_text(b, STR("shards"));
	put_map(b, names);
}

static int write_shards(int dir, const struct entry_vec *v, const struct removed_vec *removed, const struct json *info,
			struct str subdir, struct err *e)
{
	auto_buf index = BUF_INIT(DERIVED_MAX);
	auto_fd shards = fs_open_dir_make(dir, "shards", e);
	cleanup_with(writer_release) struct shard_writer w = {.dir = shards};
	if (shards < 0)
		return -1;
	cache_tidy(shards, STR(""));
	put_index_head(&index, v, info, subdir);
	if (write_each(&w, v, removed, &index, e) < 0)
		return -1;
	/* once: of a large channel there are tens of thousands */
	if (w.wrote && sys_syncfs(shards) < 0)
		return err_sys(e, "sync 'shards'");
	stamp_dropped(dir, &w);
	if (publish_packed(dir, PUBLISH_SHARDS, buf_str(&index), e) < 0)
		return -1;
	tidy_shards(&w);
	return 0;
}

int publish_shards(int dir, const struct json *top, struct str subdir, struct err *e)
{
	struct entry_vec v = {0};
	struct removed_vec removed = {0};
	read_entries(&v, top, true);
	read_removed(&removed, json_get(top, "removed"));
	int rc = write_shards(dir, &v, &removed, json_get(top, "info"), subdir, e);
	vec_release(&removed);
	vec_release(&v);
	return rc;
}

/* -- current_repodata.json ---------------------------------------------------------------------------------------- */

/* Takes the newest version among n entries that fit the spec (NULL: any), with all its builds that do. */
static void choose_newest(struct entry *v, size_t n, const struct spec *s)
{
	const struct version *newest = NULL;
	for (size_t i = 0; i < n; i++)
		if (v[i].version && (!s || pkg_conda.spec_match(s, &v[i].r)) &&
		    (!newest || pkg_conda.version_cmp(v[i].version, newest) > 0))
			newest = v[i].version;
	for (size_t i = 0; i < n && newest; i++)
		v[i].chosen |= v[i].version && pkg_conda.version_cmp(v[i].version, newest) == 0 &&
			       (!s || pkg_conda.spec_match(s, &v[i].r));
}

/* What a dependency needs is there too, where the subdir has it at all. */
static void choose_for(struct entry_vec *v, const struct map *first, struct str dependency)
{
	auto_arena a = ARENA_INIT;
	struct err ignored = ERR_INIT;
	const struct spec *s = pkg_conda.spec_parse(&a, dependency, SPEC_DEPENDENCY, &ignored);
	const uint64_t *at = s && spec_name(s).n ? map_get(first, spec_name(s)) : NULL;
	if (!at)
		return;
	size_t from = (size_t)*at, n = group_size(v, from);
	for (size_t i = from; i < from + n; i++)
		if (v->v[i].chosen && pkg_conda.spec_match(s, &v->v[i].r))
			return;
	choose_newest(&v->v[from], n, s);
}

/* The newest of each name, and what these need, until nothing is missing. */
static void choose(struct entry_vec *v)
{
	auto_map first = MAP_INIT, seen = MAP_INIT;
	for (size_t i = 0; i < v->n; i += group_size(v, i)) {
		*map_put(&first, v->v[i].name) = i;
		choose_newest(&v->v[i], group_size(v, i), NULL);
	}
	auto_free bool *done = xcalloc(v->n + 1, 1);
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < v->n; i++) {
			if (!v->v[i].chosen || done[i])
				continue;
			more = done[i] = true;
			for (uint32_t k = 0; k < v->v[i].r.depends_n; k++) {
				uint64_t *known = map_put(&seen, v->v[i].r.depends[k]);
				if (!(*known)++)
					choose_for(v, &first, v->v[i].r.depends[k]);
			}
		}
	}
}

static void write_section(struct jw *w, const char *key, const struct entry_vec *v, enum section section)
{
	jw_key(w, key);
	jw_object(w);
	vec_foreach(x, v) {
		if (x->section != section || !x->chosen)
			continue;
		jw_key_str(w, x->key);
		jw_value(w, x->record);
	}
	jw_object_end(w);
}

static void write_current(struct buf *b, const struct entry_vec *v, const struct json *top)
{
	struct jw w = JW_INIT(b, 1);
	const struct json *version = json_get(top, "repodata_version");
	jw_object(&w);
	jw_key(&w, "info");
	jw_value(&w, json_get(top, "info"));
	write_section(&w, "packages", v, S_PACKAGES);
	write_section(&w, "packages.conda", v, S_CONDA);
	jw_key(&w, "removed");
	jw_array(&w);
	jw_array_end(&w);
	jw_kv_int(&w, "repodata_version", version && version->type == JSON_INT ? version->integer : 1);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

int publish_current(int dir, const struct json *top, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(DERIVED_MAX);
	struct entry_vec v = {0};
	read_entries(&v, top, false);
	vec_foreach(x, &v) {
		struct err ignored = ERR_INIT;
		if (pkg_record_read(&a, x->record, &x->r, &ignored) == 0)
			x->version = pkg_conda.version_parse(&a, x->r.version, &ignored);
	}
	choose(&v);
	write_current(&b, &v, top);
	vec_release(&v);
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "'" PUBLISH_CURRENT "' would exceed %d MiB", DERIVED_MAX >> 20);
	if (fs_exists(dir, PUBLISH_CURRENT ".zst") && publish_packed(dir, PUBLISH_CURRENT ".zst", buf_str(&b), e) < 0)
		return -1;
	return fs_replace(dir, PUBLISH_CURRENT, b.p, b.n, FS_REPLACE_SYNC, e);
}
