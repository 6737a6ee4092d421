// SPDX-License-Identifier: Apache-2.0
/*
 * Reading an index in place. Nothing of the file is believed: each access names a range, and index_at answers with a
 * pointer only where the range lies in its section and every block it touches agrees with its checksum. Whoever gets
 * NULL shows an empty value, and index_check tells afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "channel/channel.h"
#include "channel/index_format.h"
#include "channel/intern.h"
#include "channel/refresh.h"
#include "channel/scan.h"

struct index {
	const char *map;
	size_t bytes;
	const struct ix_header *h;
	char *path;
	uint64_t *good;	     /* a bit a block: checked */
	uint64_t *good_sums; /* a bit a block of checksums */
	bool damaged;
};

static const size_t element_size[IX_SECTIONS] = {
	[IX_COLD] = sizeof(struct ix_cold),
	[IX_HOT] = sizeof(struct ix_hot),
	[IX_NAMES] = sizeof(struct ix_name_entry),
	[IX_NAME_HASH] = sizeof(uint32_t),
	[IX_VERSIONS] = sizeof(struct ix_version_entry),
	[IX_SPECS] = sizeof(struct ix_spec_entry),
	[IX_LISTS] = sizeof(uint32_t),
	[IX_WORDS] = sizeof(uint32_t),
	[IX_STRINGS] = 1,
	[IX_REMOVED] = sizeof(uint32_t),
	[IX_ODD] = sizeof(struct ix_odd_entry),
};

/* -- checking ---------------------------------------------------------------------------------------------------- */

static void set_damaged(const struct index *ix)
{
	((struct index *)(uintptr_t)ix)->damaged = true;
}

static bool sums_good(const struct index *ix, uint64_t i)
{
	if (ix->good_sums[i / 64] >> (i % 64) & 1)
		return true;
	const char *p = ix->map + ix->h->sums_at + i * INDEX_BLOCK;
	if (XXH3_64bits(p, INDEX_BLOCK) != ix->h->root[i])
		return false;
	ix->good_sums[i / 64] |= UINT64_C(1) << (i % 64);
	return true;
}

static bool block_check(const struct index *ix, uint64_t i)
{
	if (!sums_good(ix, i / INDEX_SUMS))
		return false;
	const uint64_t *sums = (const uint64_t *)(const void *)(ix->map + ix->h->sums_at);
	if (XXH3_64bits(ix->map + (i + 1) * INDEX_BLOCK, INDEX_BLOCK) != sums[i])
		return false;
	ix->good[i / 64] |= UINT64_C(1) << (i % 64);
	return true;
}

/* [at, at + n) of the file lies inside its sections: are its blocks good? */
static bool range_good(const struct index *ix, uint64_t at, uint64_t n)
{
	uint64_t first = at / INDEX_BLOCK - 1, last = (at + (n ? n - 1 : 0)) / INDEX_BLOCK - 1;
	for (uint64_t i = first; i <= last; i++)
		if (!(ix->good[i / 64] >> (i % 64) & 1) && !block_check(ix, i)) {
			set_damaged(ix);
			return false;
		}
	return true;
}

/* n elements of a section from number `first`; NULL where they are not there whole and good. */
static const void *index_at(const struct index *ix, enum index_section s, uint64_t first, uint64_t n)
{
	const struct ix_section *sec = &ix->h->section[s];
	if (first > sec->n || n > sec->n - first) {
		set_damaged(ix);
		return NULL;
	}
	uint64_t at = sec->at + first * element_size[s];
	if (n == 0 || !range_good(ix, at, n * element_size[s]))
		return NULL;
	return ix->map + at;
}

static struct str string_at(const struct index *ix, uint32_t id)
{
	const struct ix_section *sec = &ix->h->section[IX_STRINGS];
	struct str s;
	if (id == 0)
		return STR("");
	if (id >= sec->n) {
		set_damaged(ix);
		return STR("");
	}
	/* the length first, then the bytes it promises */
	uint64_t left = sec->n - id;
	const char *p = index_at(ix, IX_STRINGS, id, left < 5 ? left : 5);
	if (!p || !pool_read(p, left, &s)) {
		set_damaged(ix);
		return STR("");
	}
	return range_good(ix, sec->at + id, (uint64_t)(s.p - p) + s.n) ? s : STR("");
}

/* -- opening ----------------------------------------------------------------------------------------------------- */

static bool sections_fit(const struct ix_header *h)
{
	for (int i = 0; i < IX_SECTIONS; i++) {
		const struct ix_section *s = &h->section[i];
		if (s->at < INDEX_BLOCK || s->at % 8 || s->at > h->sums_at || s->n > UINT32_MAX ||
		    s->n * element_size[i] > h->sums_at - s->at)
			return false;
	}
	uint64_t hash = h->section[IX_NAME_HASH].n;
	return hash > 0 && (hash & (hash - 1)) == 0 && h->section[IX_LISTS].n > 0;
}

static bool header_good(const struct ix_header *h, uint64_t bytes)
{
	struct ix_header copy = *h;
	copy.sum = 0;
	if (h->header_size != sizeof(*h) || XXH3_64bits(&copy, sizeof(copy)) != h->sum || h->bytes != bytes)
		return false;
	uint64_t roots = (h->blocks + INDEX_SUMS - 1) / INDEX_SUMS;
	return h->blocks <= bytes / INDEX_BLOCK && roots <= INDEX_ROOTS &&
	       h->sums_at == (h->blocks + 1) * INDEX_BLOCK && bytes == h->sums_at + roots * INDEX_BLOCK &&
	       sections_fit(h);
}

static int index_map(int fd, struct index *ix, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at '%s'", ix->path);
	if (!S_ISREG(st.st_mode) || st.st_size < INDEX_BLOCK || (uint64_t)st.st_size > 2 * INDEX_BYTES_MAX)
		return err_new(e, ERR_VERIFY, "'%s' is not an index", ix->path);
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, "map '%s'", ix->path);
	ix->map = p;
	ix->bytes = (size_t)st.st_size;
	ix->h = p;
	if (ix->h->magic != INDEX_MAGIC)
		return err_new(e, ERR_VERIFY, "'%s' is not an index of this host", ix->path);
	if (ix->h->version != INDEX_VERSION)
		return err_new(e, ERR_VERIFY, "'%s' has format version %u, this program reads %d", ix->path,
			       ix->h->version, INDEX_VERSION);
	if (!header_good(ix->h, ix->bytes))
		return err_new(e, ERR_VERIFY, "'%s' is damaged: its header does not verify", ix->path);
	ix->good = xcalloc(ix->h->blocks / 64 + 1, sizeof(uint64_t));
	ix->good_sums = xcalloc(INDEX_ROOTS / 64 + 1, sizeof(uint64_t));
	return 0;
}

int index_open(int dirfd, const char *path, struct index **ret, struct err *e)
{
	auto_fd fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", path);
	struct index *ix = xcalloc(1, sizeof(*ix));
	ix->path = xstrdup(path);
	if (index_map(fd, ix, e) < 0) {
		index_free(ix);
		return -1;
	}
	*ret = ix;
	return 0;
}

void index_free(struct index *ix)
{
	if (!ix)
		return;
	if (ix->map)
		munmap((void *)(uintptr_t)ix->map, ix->bytes);
	free(ix->path);
	free(ix->good);
	free(ix->good_sums);
	free(ix);
}

const char *index_path(const struct index *ix)
{
	return ix->path;
}

int index_check(const struct index *ix, struct err *e)
{
	if (!ix->damaged)
		return 0;
	return err_new(e, ERR_VERIFY, "index '%s' is damaged; remove it, and the next refresh makes it anew", ix->path);
}

/* -- what solve asks --------------------------------------------------------------------------------------------- */

struct index_info index_info(const struct index *ix)
{
	const struct ix_header *h = ix->h;
	return (struct index_info){.subdir = string_at(ix, h->subdir),
				   .base_url = string_at(ix, h->base_url),
				   .relation_base = string_at(ix, h->relation_base),
				   .relation_overrides = string_at(ix, h->relation_overrides),
				   .names = (uint32_t)h->section[IX_NAMES].n,
				   .packages = (uint32_t)h->section[IX_HOT].n,
				   .specs = (uint32_t)h->section[IX_SPECS].n,
				   .lists = (uint32_t)h->section[IX_LISTS].n - 1,
				   .versions = (uint32_t)h->section[IX_VERSIONS].n,
				   .removed = (uint32_t)h->section[IX_REMOVED].n,
				   .left_out = h->left_out,
				   .left_out_first = string_at(ix, h->left_out_first),
				   .partial = h->partial != 0};
}

uint32_t index_name_count(const struct index *ix)
{
	return (uint32_t)ix->h->section[IX_NAMES].n;
}

uint32_t index_spec_count(const struct index *ix)
{
	return (uint32_t)ix->h->section[IX_SPECS].n;
}

static struct ix_name_entry name_entry(const struct index *ix, struct ix_name n)
{
	const struct ix_name_entry *p = index_at(ix, IX_NAMES, n.n, 1);
	return p ? *p : (struct ix_name_entry){0};
}

struct str index_name(const struct index *ix, struct ix_name n)
{
	return string_at(ix, name_entry(ix, n).str);
}

bool index_find_name(const struct index *ix, struct str name, struct ix_name *ret)
{
	uint64_t cap = ix->h->section[IX_NAME_HASH].n;
	uint64_t at = XXH3_64bits_withSeed(name.p, name.n, ix->h->hash_seed) & (cap - 1);
	for (uint64_t looked = 0; looked < cap; looked++, at = (at + 1) & (cap - 1)) {
		const uint32_t *slot = index_at(ix, IX_NAME_HASH, at, 1);
		if (!slot || *slot == 0)
			return false;
		struct ix_name n = {*slot - 1};
		if (str_eq(index_name(ix, n), name)) {
			*ret = n;
			return true;
		}
	}
	return false;
}

uint32_t index_packages(const struct index *ix, struct ix_name n, struct ix_pkg *first)
{
	struct ix_name_entry entry = name_entry(ix, n);
	uint64_t packages = ix->h->section[IX_HOT].n;
	first->n = entry.first;
	if (entry.first <= packages && entry.count <= packages - entry.first)
		return entry.count;
	set_damaged(ix);
	return 0;
}

bool index_has_name(const struct index *ix, struct ix_name n)
{
	return name_entry(ix, n).whole & IX_WHOLE;
}

static struct ix_hot hot_entry(const struct index *ix, struct ix_pkg p)
{
	const struct ix_hot *h = index_at(ix, IX_HOT, p.n, 1);
	return h ? *h : (struct ix_hot){0};
}

static uint64_t hot_timestamp(const struct ix_hot *h)
{
	return (uint64_t)h->timestamp_high << 32 | h->timestamp_low;
}

struct index_pkg index_pkg(const struct index *ix, struct ix_pkg p)
{
	struct ix_hot h = hot_entry(ix, p);
	const struct ix_version_entry *v = index_at(ix, IX_VERSIONS, h.version, 1);
	return (struct index_pkg){.name = {h.name},
				  .version = {h.version},
				  .build = {h.build},
				  .build_number = h.build_number,
				  .version_rank = v ? v->rank : 0,
				  .timestamp_ms = hot_timestamp(&h),
				  .depends = {h.depends},
				  .constrains = {h.constrains},
				  .track_features = h.flags & IX_TRACK_FEATURES,
				  .noarch_python = h.flags & IX_NOARCH_PYTHON,
				  .is_conda = h.flags & IX_CONDA,
				  .is_v3 = h.flags & IX_V3};
}

struct str index_str(const struct index *ix, struct ix_str s)
{
	return string_at(ix, s.n);
}

struct str index_version(const struct index *ix, struct ix_version v)
{
	const struct ix_version_entry *entry = index_at(ix, IX_VERSIONS, v.n, 1);
	return entry ? string_at(ix, entry->str) : STR("");
}

uint32_t index_list(const struct index *ix, struct ix_list l, const struct ix_spec **ret)
{
	*ret = NULL;
	if (l.n == 0)
		return 0;
	const uint32_t *bounds = index_at(ix, IX_LISTS, l.n, 2);
	if (!bounds)
		return 0;
	if (bounds[1] < bounds[0]) {
		set_damaged(ix);
		return 0;
	}
	*ret = index_at(ix, IX_WORDS, bounds[0], bounds[1] - bounds[0]);
	return *ret ? bounds[1] - bounds[0] : 0;
}

static struct ix_spec_entry spec_entry(const struct index *ix, struct ix_spec s)
{
	const struct ix_spec_entry *p = index_at(ix, IX_SPECS, s.n, 1);
	return p ? *p : (struct ix_spec_entry){0};
}

struct ix_name index_spec_name(const struct index *ix, struct ix_spec s)
{
	return (struct ix_name){spec_entry(ix, s).name};
}

struct str index_spec_text(const struct index *ix, struct ix_spec s)
{
	return string_at(ix, spec_entry(ix, s).str);
}

/* -- records ----------------------------------------------------------------------------------------------------- */

static struct str odd_name(const struct index *ix, uint32_t package)
{
	uint64_t low = 0, high = ix->h->section[IX_ODD].n;
	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		const struct ix_odd_entry *o = index_at(ix, IX_ODD, mid, 1);
		if (!o)
			return STR_NONE;
		if (o->package == package)
			return string_at(ix, o->str);
		if (o->package < package)
			low = mid + 1;
		else
			high = mid;
	}
	return STR_NONE;
}

static struct str file_name(const struct index *ix, struct ix_pkg p, const struct ix_hot *h, struct arena *a)
{
	if (h->flags & IX_ODD_FILE)
		return odd_name(ix, p.n);
	auto_buf b = BUF_INIT(BUF_MAX);
	buf_put_str(&b, index_name(ix, (struct ix_name){h->name}));
	buf_put_char(&b, '-');
	buf_put_str(&b, index_version(ix, (struct ix_version){h->version}));
	buf_put_char(&b, '-');
	buf_put_str(&b, string_at(ix, h->build));
	buf_put_c(&b, h->flags & IX_CONDA ? ".conda" : ".tar.bz2");
	return arena_str(a, buf_str(&b));
}

/* Where the subdir's files are: base_url against the subdir's own URL (CEP 15). Without credentials: see
 * channel_private_url. */
static struct str file_url(const struct index *ix, const struct channel *c, struct str subdir, struct str fn,
			   struct arena *a)
{
	struct str base = string_at(ix, ix->h->base_url), own = string_at(ix, ix->h->subdir);
	const char *slash = str_ends(base, STR("/")) || base.n == 0 ? "" : "/";
	if (base.n == 0)
		return str_c(arena_printf(a, "%.*s/%.*s/%.*s", STR_ARG(c->shown), STR_ARG(own.n ? own : subdir),
					  STR_ARG(fn)));
	struct str folder = str_c(arena_printf(a, "%.*s/%.*s/", STR_ARG(c->shown), STR_ARG(own)));
	struct str joined = channel_url_join(a, folder, base);
	return str_c(arena_printf(a, "%.*s%s%.*s", STR_ARG(joined), slash, STR_ARG(fn)));
}

/* The words of a list of strings or a string, as conda writes track_features. */
static struct str extra_text(struct arena *a, struct str value)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct scan s = {.p = value.p, .end = value.p + value.n};
	struct str item;
	if (str_eq(value, STR("true")))
		return STR("generic"); /* noarch as it was written before there were kinds of it */
	if (value.n < 2 || (value.p[0] != '"' && value.p[0] != '['))
		return STR_NONE;
	if (value.p[0] == '[')
		s.p++;
	do {
		if (s.p >= s.end || *s.p == ']' || !scan_string(&s, &item))
			break;
		if (b.n > 0)
			buf_put_char(&b, ' ');
		if (!scan_unescape(item, &b))
			return STR_NONE;
	} while (s.p < s.end && scan_peek(&s) == ',' && (s.p++, scan_peek(&s)));
	/* what pkg_record_read would refuse in the lock */
	return b.n > PKG_TEXT_MAX || memchr(b.p, '\0', b.n) ? STR_NONE : arena_str(a, buf_str(&b));
}

struct extra_field {
	const char *key;
	struct str *to;
};

/* Sorts the members of the kept JSON text into the record's own fields and the rest. The text is copied behind a pad,
 * and was checked when the index was made; a damaged one ends the walk. */
static void read_extra(struct arena *a, struct str text, struct pkg_record *r)
{
	const struct extra_field fields[] = {
		{"noarch", &r->noarch},
		{"track_features", &r->track_features},
		{"features", &r->features},
		{"license", &r->license},
		{"license_family", &r->license_family},
		{"python_site_packages_path", &r->python_site_packages_path},
		{"subdir", &r->subdir},
	};
	auto_buf copy = BUF_INIT(BUF_MAX), rest = BUF_INIT(BUF_MAX);
	buf_put_str(&copy, text);
	scan_pad(&copy);
	struct scan s = {.p = copy.p, .end = copy.p + copy.n};
	struct str key, value;
	do {
		scan_space(&s);
		const char *from = s.p;
		if (!scan_string(&s, &key) || !scan_char(&s, ':', "") || (scan_peek(&s), false))
			break;
		const char *at = s.p;
		/* a number at the very end of the text has no byte behind it */
		if (!scan_value(&s, &value))
			value = str_of(at, (size_t)(s.end - at)), s.p = s.end;
		struct str *to = NULL;
		for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
			if (str_eq_c(key, fields[i].key))
				to = fields[i].to;
		struct str plain = to ? extra_text(a, value) : STR_NONE;
		if (plain.p) {
			if (to != &r->subdir || pkg_subdir_known(plain)) /* else that of the folder counts */
				*to = plain;
			continue;
		}
		if (rest.n > 0)
			buf_put_char(&rest, ',');
		buf_put(&rest, from, (size_t)(value.p + value.n - from));
	} while (s.p < s.end && scan_char(&s, ',', ""));
	r->extra_json = arena_str(a, buf_str(&rest));
}

static uint32_t record_list(const struct index *ix, uint32_t list, struct arena *a, const struct str **ret)
{
	const struct ix_spec *specs;
	uint32_t n = index_list(ix, (struct ix_list){list}, &specs);
	struct str *v = arena_array(a, struct str, n ? n : 1);
	for (uint32_t i = 0; i < n; i++)
		v[i] = index_spec_text(ix, specs[i]);
	*ret = v;
	return n;
}

int index_record(const struct index *ix, struct ix_pkg p, const struct channel *c, struct arena *a,
		 struct pkg_record *ret, struct err *e)
{
	struct ix_hot h = hot_entry(ix, p);
	const struct ix_cold *cold = index_at(ix, IX_COLD, h.slot, 1);
	struct pkg_record r = {.name = index_name(ix, (struct ix_name){h.name}),
			       .version = index_version(ix, (struct ix_version){h.version}),
			       .build = string_at(ix, h.build),
			       .build_number = h.build_number,
			       .channel = c->shown,
			       .subdir = string_at(ix, ix->h->subdir),
			       .timestamp_ms = hot_timestamp(&h),
			       .has_sha256 = h.flags & IX_HAS_SHA256,
			       .has_md5 = h.flags & IX_HAS_MD5,
			       .is_v3 = h.flags & IX_V3};
	if (cold) {
		r.size = cold->size;
		memcpy(r.sha256, cold->sha256, sizeof(r.sha256));
		memcpy(r.md5, cold->md5, sizeof(r.md5));
	}
	r.depends_n = record_list(ix, h.depends, a, &r.depends);
	r.constrains_n = record_list(ix, h.constrains, a, &r.constrains);
	struct str extra = string_at(ix, h.extra);
	if (extra.n > 0)
		read_extra(a, extra, &r);
	if (cold && h.flags & IX_HAS_INDEXED)
		r.extra_json = str_c(arena_printf(a, "%.*s%s\"indexed_timestamp\":%llu", (int)r.extra_json.n,
						  r.extra_json.n ? r.extra_json.p : "", r.extra_json.n ? "," : "",
						  (unsigned long long)cold->indexed_ms));
	r.fn = file_name(ix, p, &h, a);
	r.url = file_url(ix, c, r.subdir, r.fn, a);
	if (index_check(ix, e) < 0)
		return -1;
	*ret = r;
	return 0;
}

/* name-version-build.ext apart at the last two dashes. */
static bool split_fn(struct str fn, struct str *name, struct str *version, struct str *build, bool *conda)
{
	*conda = str_ends(fn, STR(".conda"));
	if (!*conda && !str_ends(fn, STR(".tar.bz2")))
		return false;
	struct str stem = str_head(fn, fn.n - (*conda ? 6 : 8));
	ptrdiff_t at = str_rfind(stem, '-');
	if (at <= 0)
		return false;
	*build = str_skip(stem, (size_t)at + 1);
	stem = str_head(stem, (size_t)at);
	at = str_rfind(stem, '-');
	if (at <= 0)
		return false;
	*version = str_skip(stem, (size_t)at + 1);
	*name = str_head(stem, (size_t)at);
	return true;
}

static bool find_by_parts(const struct index *ix, struct str name, struct str version, struct str build, bool conda,
			  struct ix_pkg *ret)
{
	struct ix_name n;
	struct ix_pkg first;
	if (!index_find_name(ix, name, &n))
		return false;
	uint32_t count = index_packages(ix, n, &first);
	for (uint32_t i = 0; i < count; i++) {
		struct ix_pkg p = {first.n + i};
		struct ix_hot h = hot_entry(ix, p);
		if (!(h.flags & IX_ODD_FILE) && !!(h.flags & IX_CONDA) == conda &&
		    str_eq(string_at(ix, h.build), build) &&
		    str_eq(index_version(ix, (struct ix_version){h.version}), version)) {
			*ret = p;
			return true;
		}
	}
	return false;
}

bool index_find_file(const struct index *ix, struct str fn, struct ix_pkg *ret)
{
	struct str name, version, build;
	bool conda;
	if (split_fn(fn, &name, &version, &build, &conda) && find_by_parts(ix, name, version, build, conda, ret))
		return true;
	for (uint64_t i = 0; i < ix->h->section[IX_ODD].n; i++) {
		const struct ix_odd_entry *o = index_at(ix, IX_ODD, i, 1);
		if (o && str_eq(string_at(ix, o->str), fn)) {
			ret->n = o->package;
			return true;
		}
	}
	return false;
}

bool index_is_removed(const struct index *ix, struct str fn)
{
	for (uint64_t i = 0; i < ix->h->section[IX_REMOVED].n; i++) {
		const uint32_t *id = index_at(ix, IX_REMOVED, i, 1);
		if (id && str_eq(string_at(ix, *id), fn))
			return true;
	}
	return false;
}
