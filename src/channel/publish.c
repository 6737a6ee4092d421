// SPDX-License-Identifier: Apache-2.0
/*
 * Publishing into a folder. For each subdir, under its lock: the packages are put in place, then the metadata that names
 * them, each file by rename. So whoever reads meanwhile sees the channel of before or of after, and after a crash at most
 * a package is there that no metadata names yet; publishing it again goes on from there.
 *
 * What stands in a repodata.json is kept as it is; records are written sorted by file name, so the same channel gives the
 * same bytes.
 */
#include "channel/publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "base/vec.h"
#include "channel/package.h"
#include "channel/refresh.h"

enum { REPODATA_MAX = 1 << 30, LOCK_WAIT_MS = 60000, PUBLISH_MAX = 1 << 16, RECORD_MAX = 16 << 20 };

/* Metadata that other tools made of the records of before: wrong from now on. */
static const char *const outdated[] = {"current_repodata.json.bz2", "repodata.json.bz2", "repodata_from_packages.json"};

struct record {
	struct str key; /* file name, or stem under v3 */
	const struct json *old;
	const struct package_file *file; /* in place of old */
};
VEC_TYPE(record_vec, struct record);

enum section { S_PACKAGES, S_CONDA, S_V3_PACKAGES, S_V3_CONDA, SECTIONS };
struct repodata {
	const struct json *top;
	struct record_vec section[SECTIONS];
	struct map by_key[SECTIONS]; /* → place + 1; it is the place only until the section is sorted */
};

static void repodata_release(struct repodata *r)
{
	for (int i = 0; i < SECTIONS; i++)
		vec_release(&r->section[i]);
	for (int i = 0; i < SECTIONS; i++)
		map_release(&r->by_key[i]);
}
#define auto_repodata cleanup_with(repodata_release) struct repodata

/* -- reading what is there --------------------------------------------------------------------------------------- */

/* Where a key comes twice, the first one counts. */
static void add_record(struct repodata *r, enum section section, struct record record)
{
	vec_push(&r->section[section], record);
	uint64_t *place = map_put(&r->by_key[section], record.key);
	if (!*place)
		*place = r->section[section].n;
}

static struct record *find_record(const struct repodata *r, enum section section, struct str key)
{
	const uint64_t *place = map_get(&r->by_key[section], key);
	return place ? &r->section[section].v[*place - 1] : NULL;
}

static int add_records(struct repodata *r, enum section section, const struct json *object, struct err *e)
{
	if (object && object->type != JSON_OBJECT && object->type != JSON_NULL)
		return err_new(e, ERR_INPUT, "%s: offset %zu: expected an object", object->where, object->offset);
	for (uint32_t i = 0; object && object->type == JSON_OBJECT && i < object->n; i++)
		add_record(r, section, (struct record){.key = object->member[i].key, .old = &object->member[i].value});
	return 0;
}

static int repodata_read(int dir, const char *what, struct arena *a, struct repodata *r, struct err *e)
{
	auto_buf b = BUF_INIT(REPODATA_MAX);
	struct err cause = ERR_INIT;
	if (fs_read(dir, "repodata.json", &b, &cause) < 0 && cause.code != ERR_NOT_FOUND) {
		*e = cause;
		return -1;
	}
	struct str text = str_trim(buf_str(&b));
	r->top = json_parse(a, text.n ? arena_str(a, text) : STR("{}"), what, e);
	if (!r->top)
		return err_ctx(e, "the channel's own metadata cannot be read; mend or remove it");
	if (r->top->type != JSON_OBJECT)
		return err_new(e, ERR_INPUT, "%s is no repodata", what);
	const struct json *v3 = json_get(r->top, "v3");
	return add_records(r, S_PACKAGES, json_get(r->top, "packages"), e) < 0 ||
			       add_records(r, S_CONDA, json_get(r->top, "packages.conda"), e) < 0 ||
			       add_records(r, S_V3_PACKAGES, v3 ? json_get(v3, "tar.bz2") : NULL, e) < 0 ||
			       add_records(r, S_V3_CONDA, v3 ? json_get(v3, "conda") : NULL, e) < 0
		       ? -1
		       : 0;
}

/* -- writing ----------------------------------------------------------------------------------------------------- */

/* By key; equal ones as they stood, which their places in the text tell. */
static int member_cmp(const void *a, const void *b)
{
	const struct json_member *x = *(const struct json_member *const *)a, *y = *(const struct json_member *const *)b;
	int c = str_cmp(x->key, y->key);
	return c ? c : (x > y) - (x < y);
}

/* index.json's members in order, with digests and size in their place. Of a key that stands there twice the last one is
 * meant, as every JSON reader takes it, and that is the one that was checked: the others may hold anything. Some builders
 * leave an empty `depends` out, which CEP 34 has in every record and other clients look for. */
static void write_new(struct jw *w, const struct package_file *p)
{
	char sha[SHA256_HEX_SIZE], md5[2 * MD5_SIZE + 1];
	hex_encode(p->sha256, SHA256_SIZE, sha);
	hex_encode(p->md5, MD5_SIZE, md5);
	struct json_member own[] = {
		{STR("md5"), {.type = JSON_STRING, .string = str_c(md5)}},
		{STR("sha256"), {.type = JSON_STRING, .string = str_c(sha)}},
		{STR("size"), {.type = JSON_INT, .integer = (int64_t)p->size}},
		{STR("subdir"), {.type = JSON_STRING, .string = p->subdir}},
	};
	struct json_member no_depends = {STR("depends"), {.type = JSON_ARRAY}};
	enum { OWN = sizeof(own) / sizeof(own[0]) };
	auto_free const struct json_member **m = xcalloc(p->index->n + OWN + 1, sizeof(*m));
	size_t n = 0;
	for (uint32_t i = 0; i < p->index->n; i++) {
		bool ours = false;
		for (size_t k = 0; k < OWN; k++)
			ours |= str_eq(p->index->member[i].key, own[k].key);
		if (!ours)
			m[n++] = &p->index->member[i];
	}
	for (size_t k = 0; k < OWN; k++)
		m[n++] = &own[k];
	if (!json_get(p->index, "depends"))
		m[n++] = &no_depends;
	qsort(m, n, sizeof(*m), member_cmp);
	jw_object(w);
	for (size_t i = 0; i < n; i++) {
		if (i + 1 < n && str_eq(m[i]->key, m[i + 1]->key))
			continue;
		jw_key_str(w, m[i]->key);
		jw_value(w, &m[i]->value);
	}
	jw_object_end(w);
}

static int record_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct record *)a)->key, ((const struct record *)b)->key);
}

static void write_section(struct jw *w, const char *key, struct record_vec *v)
{
	vec_sort(v, record_cmp);
	jw_key(w, key);
	jw_object(w);
	vec_foreach(r, v) {
		jw_key_str(w, r->key);
		if (r->file)
			write_new(w, r->file);
		else
			jw_value(w, r->old);
	}
	jw_object_end(w);
}

static void write_info(struct jw *w, const struct json *info, struct str subdir)
{
	jw_key(w, "info");
	jw_object(w);
	for (uint32_t i = 0; info && info->type == JSON_OBJECT && i < info->n; i++) {
		if (str_eq(info->member[i].key, STR("subdir")))
			continue;
		jw_key_str(w, info->member[i].key);
		jw_value(w, &info->member[i].value);
	}
	jw_kv_str(w, "subdir", subdir);
	jw_object_end(w);
}

static bool is_published(const struct repodata *r, struct str fn)
{
	return map_get(&r->by_key[S_PACKAGES], fn) || map_get(&r->by_key[S_CONDA], fn);
}

static void write_removed(struct jw *w, const struct repodata *r)
{
	const struct json *removed = json_get(r->top, "removed");
	jw_key(w, "removed");
	jw_array(w);
	for (uint32_t i = 0; removed && removed->type == JSON_ARRAY && i < removed->n; i++)
		if (removed->item[i].type == JSON_STRING && !is_published(r, removed->item[i].string))
			jw_str(w, removed->item[i].string);
	jw_array_end(w);
}

/* Members of the document that this program does not make. */
static void write_others(struct jw *w, const struct json *top)
{
	static const char *const ours[] = {"info", "packages", "packages.conda", "removed", "repodata_version",
					   "v3",   "conda",    "tar.bz2"};
	for (uint32_t i = 0; top && top->type == JSON_OBJECT && i < top->n; i++) {
		bool skip = false;
		for (size_t k = 0; k < sizeof(ours) / sizeof(ours[0]); k++)
			skip |= str_eq_c(top->member[i].key, ours[k]);
		if (skip)
			continue;
		jw_key_str(w, top->member[i].key);
		jw_value(w, &top->member[i].value);
	}
}

static void repodata_write(struct repodata *r, struct str subdir, struct buf *b)
{
	struct jw w = JW_INIT(b, 1);
	int64_t version = 1;
	struct err ignored = ERR_INIT;
	(void)json_opt_int(r->top, "repodata_version", &version, &ignored);
	jw_object(&w);
	write_info(&w, json_get(r->top, "info"), subdir);
	write_section(&w, "packages", &r->section[S_PACKAGES]);
	write_section(&w, "packages.conda", &r->section[S_CONDA]);
	write_removed(&w, r);
	jw_kv_int(&w, "repodata_version", version);
	if (json_get(r->top, "v3") || r->section[S_V3_PACKAGES].n + r->section[S_V3_CONDA].n > 0) {
		jw_key(&w, "v3");
		jw_object(&w);
		write_section(&w, "conda", &r->section[S_V3_CONDA]);
		write_section(&w, "tar.bz2", &r->section[S_V3_PACKAGES]);
		write_others(&w, json_get(r->top, "v3"));
		jw_object_end(&w);
	}
	write_others(&w, r->top);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

/* What other clients look for, where it is there or asked for: made of the text that repodata.json is about to have. */
static int put_more(int dir, struct str text, struct str subdir, bool shards, struct err *e)
{
	auto_arena a = ARENA_INIT;
	bool current = fs_exists(dir, PUBLISH_CURRENT);
	if (!shards && !current)
		return 0;
	const struct json *top = json_parse(&a, text, "repodata.json", e);
	if (!top || (shards && publish_shards(dir, top, subdir, e) < 0) ||
	    (current && publish_current(dir, top, e) < 0))
		return -1;
	return 0;
}

int publish_repodata(int dir, struct str text, struct str subdir, bool shards, struct progress *p, struct err *e)
{
	shards |= fs_exists(dir, PUBLISH_SHARDS);
	for (size_t i = 0; i < sizeof(outdated) / sizeof(outdated[0]); i++) {
		if (!fs_exists(dir, outdated[i]))
			continue;
		if (sys_unlinkat(dir, outdated[i], 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove outdated '%s'", outdated[i]);
		progress_send(
			p, (struct progress_event){.kind = PROGRESS_NOTE,
						   .phase = "publish",
						   .id = outdated[i],
						   .text = "removed: it would tell of the channel as it was before"});
	}
	if (put_more(dir, text, subdir, shards, e) < 0 || publish_packed(dir, "repodata.json.zst", text, e) < 0)
		return -1;
	/* last: as long as it is the old one, publishing again makes all of them anew */
	return fs_replace(dir, "repodata.json", text.p, text.n, FS_REPLACE_SYNC, e);
}

static int put_repodata(int dir, struct repodata *r, struct str subdir, bool shards, struct progress *p, struct err *e)
{
	auto_buf b = BUF_INIT(REPODATA_MAX), old = BUF_INIT(REPODATA_MAX);
	struct err ignored = ERR_INIT;
	repodata_write(r, subdir, &b);
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "repodata.json would exceed %d MiB", REPODATA_MAX >> 20);
	if (fs_read(dir, "repodata.json", &old, &ignored) == 0 && str_eq(buf_str(&old), buf_str(&b)) &&
	    fs_exists(dir, "repodata.json.zst") && (!shards || fs_exists(dir, PUBLISH_SHARDS)))
		return 0;
	return publish_repodata(dir, buf_str(&b), subdir, shards, p, e);
}

/* -- packages ---------------------------------------------------------------------------------------------------- */

static int copy_bytes(int from, int to, uint64_t size, const char *what, struct err *e)
{
	if (sys_ficlone(to, from) == 0)
		return 0;
	auto_free char *piece = xmalloc(1 << 20);
	for (uint64_t at = 0; at < size;) {
		ssize_t n = pread(from, piece, 1 << 20, (off_t)at);
		if (n <= 0)
			return n < 0 ? err_sys(e, "read '%s'", what)
				     : err_new(e, ERR_INPUT, "'%s' became shorter while it was read", what);
		if (fs_write_all(to, piece, (size_t)n, what, e) < 0)
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

/* What was checked is what is copied: the digest is taken again from the copy. */
static int copy_package(int dir, const struct package_file *p, const char *tmp, struct err *e)
{
	uint8_t got[SHA256_SIZE];
	auto_fd from = open(p->path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return err_sys(e, "open '%s'", p->path);
	auto_fd to = sys_openat(dir, tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (to < 0)
		return err_sys(e, "create '%s'", tmp);
	if (copy_bytes(from, to, p->size, p->path, e) < 0 || sha256_fd(to, got, e) < 0)
		return -1;
	if (memcmp(got, p->sha256, SHA256_SIZE) != 0)
		return err_new(e, ERR_VERIFY, "'%s' changed while it was published", p->path);
	if (sys_fsync(to) < 0)
		return err_sys(e, "sync '%s'", tmp);
	const char *fn = p->fn.p;
	return sys_renameat(dir, tmp, dir, fn) < 0 ? err_sys(e, "put '%s' in place", fn) : 0;
}

/* 1 where the folder holds this very file already. */
static int is_in_place(int dir, const struct package_file *p, bool replace, struct err *e)
{
	uint8_t got[SHA256_SIZE];
	auto_fd fd = openat(dir, p->fn.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open '%s'", p->fn.p);
	if (sha256_fd(fd, got, e) < 0)
		return -1;
	if (memcmp(got, p->sha256, SHA256_SIZE) == 0)
		return 1;
	if (replace)
		return 0;
	return err_new(e, ERR_EXISTS,
		       "'%s' is in the channel already with other content; raise its build number, or use --replace",
		       p->fn.p);
}

static int put_package(int dir, const struct package_file *p, const struct channel_publish_opts *o, struct err *e)
{
	int there = is_in_place(dir, p, o->replace, e);
	if (there != 0 || o->dry_run)
		return there < 0 ? -1 : 0;
	auto_arena a = ARENA_INIT;
	const char *tmp = arena_printf(&a, ".%s.tmp", p->fn.p);
	if (copy_package(dir, p, tmp, e) < 0) {
		(void)sys_unlinkat(dir, tmp, 0);
		return -1;
	}
	return 0;
}

static void put_record(struct repodata *r, const struct package_file *p)
{
	struct str key = p->fn;
	enum section section = p->is_conda ? S_CONDA : S_PACKAGES;
	if (p->is_v3) {
		section = p->is_conda ? S_V3_CONDA : S_V3_PACKAGES;
		key = str_head(key, key.n - (p->is_conda ? 6 : 8));
	}
	struct record *there = find_record(r, section, key);
	if (there)
		there->file = p;
	else
		add_record(r, section, (struct record){.key = key, .file = p});
}

/* True where the record that stands there is of this very file: then it stays as it is, edits of the keeper included. */
static bool is_listed(const struct repodata *r, const struct package_file *p)
{
	char sha[SHA256_HEX_SIZE];
	struct str have;
	struct err ignored = ERR_INIT;
	if (p->is_v3)
		return false;
	const struct record *there = find_record(r, p->is_conda ? S_CONDA : S_PACKAGES, p->fn);
	hex_encode(p->sha256, SHA256_SIZE, sha);
	return there && there->old && there->old->type == JSON_OBJECT &&
	       json_get_str(there->old, "sha256", &have, &ignored) == 0 && str_eq_c(have, sha);
}

/* -- a channel --------------------------------------------------------------------------------------------------- */

struct publishing {
	const char *folder;
	int dir;
	const struct package_file *files;
	size_t n;
	const struct channel_publish_opts *o;
	struct progress *progress;
};

static int publish_into(const struct publishing *x, int dir, struct str subdir, const char *what, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_repodata r = {0};
	if (repodata_read(dir, what, &a, &r, e) < 0)
		return -1;
	for (size_t i = 0; i < x->n; i++) {
		const struct package_file *p = &x->files[i];
		if (!str_eq(p->subdir, subdir))
			continue;
		if (put_package(dir, p, x->o, e) < 0)
			return -1;
		if (!is_listed(&r, p))
			put_record(&r, p);
		progress_send(x->progress,
			      (struct progress_event){
				      .kind = PROGRESS_DONE, .phase = "publish", .id = p->fn.p, .text = what});
	}
	return x->o->dry_run ? 0 : put_repodata(dir, &r, subdir, x->o->shards, x->progress, e);
}

static int publish_subdir(const struct publishing *x, struct str subdir, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *name = arena_strdup(&a, subdir);
	const char *what = arena_printf(&a, "%s/%s/repodata.json", x->folder, name);
	if (x->o->dry_run && !fs_exists(x->dir, name))
		return 0;
	auto_fd dir = fs_open_dir_make(x->dir, name, e);
	if (dir < 0)
		return -1;
	auto_fd lock = x->o->dry_run ? -1 : fs_lock(dir, ".slipway.lock", LOCK_WAIT_MS, e);
	if (lock < 0 && !x->o->dry_run)
		return -1;
	if (lock >= 0)
		cache_tidy(dir, STR(""));
	return publish_into(x, dir, subdir, what, e);
}

static bool subdir_is_first(const struct package_file *files, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (str_eq(files[k].subdir, files[i].subdir))
			return false;
	return true;
}

static int publish_all(const struct publishing *x, struct err *e)
{
	bool noarch = false;
	for (size_t i = 0; i < x->n; i++) {
		if (!subdir_is_first(x->files, i))
			continue;
		noarch |= str_eq(x->files[i].subdir, STR("noarch"));
		if (publish_subdir(x, x->files[i].subdir, e) < 0)
			return err_ctx(e, "publish into '%s'", x->folder);
	}
	/* a channel has noarch/repodata.json, if only an empty one (CEP 26) */
	if (!noarch && !fs_exists(x->dir, "noarch/repodata.json") && publish_subdir(x, STR("noarch"), e) < 0)
		return err_ctx(e, "publish into '%s'", x->folder);
	return 0;
}

/* In place of what the package says of itself, what another channel says of it. */
static int take_record(struct package_file *p, const struct pkg_record *r, struct arena *a, struct err *e)
{
	auto_buf b = BUF_INIT(RECORD_MAX);
	struct jw w = JW_INIT(&b, 1);
	struct pkg_record here = *r;
	if (r->has_sha256 && memcmp(r->sha256, p->sha256, SHA256_SIZE) != 0)
		return err_new(e, ERR_VERIFY, "'%s' is not the file that the other channel lists", p->path);
	here.channel = here.url = here.fn = STR_NONE;
	here.is_v3 = false; /* told by where it is listed */
	jw_object(&w);
	pkg_record_write(&w, &here);
	jw_object_end(&w);
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "'%s': its record is longer than %d MiB", p->path, RECORD_MAX >> 20);
	p->index = json_parse(a, arena_str(a, buf_str(&b)), p->path, e);
	p->is_v3 = r->is_v3;
	if (r->subdir.n)
		p->subdir = arena_str(a, r->subdir);
	return p->index ? 0 : -1;
}

int channel_publish(const char *folder, const char *const *files, size_t n, const struct channel_publish_opts *o,
		    struct progress *p, struct err *e)
{
	auto_arena a = ARENA_INIT;
	if (n > PUBLISH_MAX)
		return err_new(e, ERR_LIMIT, "more than %d packages at once", PUBLISH_MAX);
	struct package_file *read = arena_array(&a, struct package_file, n + 1);
	for (size_t i = 0; i < n; i++)
		if (package_read(files[i], &a, &read[i], e) < 0 ||
		    (o->records && take_record(&read[i], &o->records[i], &a, e) < 0))
			return -1;
	auto_fd dir = o->dry_run && !fs_exists(AT_FDCWD, folder) ? -1 : fs_open_dir_make(AT_FDCWD, folder, e);
	if (dir < 0)
		return o->dry_run && !fs_exists(AT_FDCWD, folder) ? 0 : err_ctx(e, "channel folder '%s'", folder);
	struct publishing x = {.folder = folder, .dir = dir, .files = read, .n = n, .o = o, .progress = p};
	return publish_all(&x, e);
}
