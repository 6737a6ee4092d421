// SPDX-License-Identifier: Apache-2.0
/*
 * Metadata of some of a conda channel's packages, and of all but some. Both are one pass over repodata.json: records that
 * stay are copied byte for byte, and so is every other member, but for info.base_url, which would lead elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "base/sys.h"
#include "channel/conda.h"
#include "channel/publish.h"
#include "channel/refresh.h"

enum { LOCK_WAIT_MS = 60000, PIECE = 1 << 20, REMOVED_MAX = 64 << 20 };

/* -- writing in pieces --------------------------------------------------------------------------------------------- */

struct copy {
	int to; /* an unnamed file */
	struct buf b;
	struct str subdir, base_url;
	struct arena a;
	enum repodata_section section;
	bool in_section, in_v3, any, first, had[REPODATA_SECTIONS];
	bool localize; /* the files will lie beside the metadata */
	bool had_removed, had_info, had_version;
	channel_keep_fn *keep;
	void *ctx;
	struct buf gone; /* file names for "removed", as JSON strings with commas */
};

static void copy_release(struct copy *c)
{
	cleanup_fd(&c->to);
	buf_release(&c->b);
	buf_release(&c->gone);
	arena_release(&c->a);
}

static int flush(struct copy *c, size_t least, struct err *e)
{
	if (c->b.n < least)
		return 0;
	if (fs_write_all(c->to, c->b.p, c->b.n, "repodata.json", e) < 0)
		return -1;
	buf_clear(&c->b);
	return 0;
}

static void end_section(struct copy *c)
{
	if (c->in_section)
		buf_put_c(&c->b, "\n }");
	c->in_section = false;
}

static void begin_member(struct copy *c, const char *key)
{
	end_section(c);
	if (c->in_v3)
		buf_put_char(&c->b, '}');
	c->in_v3 = false;
	buf_printf(&c->b, "%s\n \"%s\": ", c->any ? "," : "{", key);
	c->any = true;
}

/* Sections in whatever order they come; each once, as the reader of the document sees them. */
static void begin_section(struct copy *c, enum repodata_section section)
{
	static const char *const names[] = {"packages", "packages.conda", "tar.bz2", "conda"};
	bool v3 = section >= REPODATA_V3_PACKAGES;
	if (c->in_section && c->section == section)
		return;
	if (!v3) {
		begin_member(c, names[section]);
	} else if (!c->in_v3) {
		begin_member(c, "v3");
		buf_printf(&c->b, "{\"%s\": ", names[section]);
	} else {
		end_section(c);
		buf_printf(&c->b, ", \"%s\": ", names[section]);
	}
	c->in_v3 = v3;
	c->in_section = c->first = true;
	c->section = section;
	c->had[section] = true;
	buf_put_char(&c->b, '{');
}

static int copy_record(void *ctx, enum repodata_section section, struct str key, struct str record, struct err *e)
{
	struct copy *c = ctx;
	auto_arena a = ARENA_INIT;
	struct channel_item item;
	int rc = 1;
	if (conda_item(&a, c->subdir, c->base_url, section, key, record, &item))
		rc = c->keep(c->ctx, &item, e);
	if (rc < 0)
		return -1;
	begin_section(c, section);
	if (rc == 0)
		return 0;
	buf_printf(&c->b, "%s\n  \"", c->first ? "" : ",");
	c->first = false;
	buf_put_str(&c->b, key);
	buf_put_c(&c->b, "\": ");
	buf_put_str(&c->b, record);
	return flush(c, PIECE, e);
}

static int copy_info(struct copy *c, struct str value, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct json *info = json_parse(&a, value, "info", e);
	if (!info)
		return -1;
	begin_member(c, "info");
	c->had_info = true;
	if (!c->localize || !json_get(info, "base_url")) {
		buf_put_str(&c->b, value);
		return 0;
	}
	struct jw w = JW_INIT(&c->b, 0);
	jw_object(&w);
	for (uint32_t i = 0; i < info->n; i++) {
		if (str_eq(info->member[i].key, STR("base_url")))
			continue;
		jw_key_str(&w, info->member[i].key);
		jw_value(&w, &info->member[i].value);
	}
	jw_object_end(&w);
	return 0;
}

/* What is removed now stands behind what was before. */
static void put_removed(struct copy *c, struct str before)
{
	struct str inner = str_trim(str_of(before.p + 1, before.n - 2));
	begin_member(c, "removed");
	buf_put_char(&c->b, '[');
	buf_put_str(&c->b, inner);
	if (inner.n && c->gone.n)
		buf_put_c(&c->b, ", ");
	buf_put_str(&c->b, buf_str(&c->gone));
	buf_put_char(&c->b, ']');
	c->had_removed = true;
}

static int copy_member(void *ctx, struct str key, struct str value, struct err *e)
{
	struct copy *c = ctx;
	auto_arena a = ARENA_INIT;
	if (str_eq(key, STR("info")) && value.p[0] == '{')
		return copy_info(c, value, e);
	if (str_eq(key, STR("removed")) && value.p[0] == '[') {
		put_removed(c, value);
		return 0;
	}
	begin_member(c, arena_strdup(&a, key));
	/* 2 says that base_url is to be followed (CEP 15) */
	bool one = str_eq(key, STR("repodata_version")) && c->localize && str_eq(value, STR("2"));
	buf_put_str(&c->b, one ? STR("1") : value);
	c->had_version |= str_eq(key, STR("repodata_version"));
	return flush(c, PIECE, e);
}

static int copy_end(struct copy *c, struct err *e)
{
	if (!c->had[REPODATA_PACKAGES]) {
		begin_member(c, "packages");
		buf_put_c(&c->b, "{}");
	}
	if (!c->had[REPODATA_CONDA]) {
		begin_member(c, "packages.conda");
		buf_put_c(&c->b, "{}");
	}
	if (!c->had_info) {
		begin_member(c, "info");
		buf_printf(&c->b, "{\"subdir\": \"%.*s\"}", STR_ARG(c->subdir));
	}
	if (!c->had_removed)
		put_removed(c, STR("[]"));
	if (!c->had_version) {
		begin_member(c, "repodata_version");
		buf_put_char(&c->b, '1');
	}
	end_section(c);
	if (c->in_v3)
		buf_put_char(&c->b, '}');
	buf_put_c(&c->b, "\n}\n");
	return flush(c, 0, e);
}

/* -- one subdir ---------------------------------------------------------------------------------------------------- */

static int find_base(void *ctx, struct str key, struct str value, struct err *e)
{
	struct copy *c = ctx;
	(void)e;
	if (str_eq(key, STR("info")))
		c->base_url = conda_base_url(&c->a, value);
	return 0;
}

static int pass(void *ctx, enum repodata_section section, struct str key, struct str record, struct err *e)
{
	(void)ctx, (void)section, (void)key, (void)record, (void)e;
	return 0;
}

/* 1; 0: there is no such subdir. */
static int visit(struct copy *c, int from, const struct repodata_visit *v, struct progress *p, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(istream) in = NULL;
	int rc = conda_repodata(from, &a, c->subdir, &in, e);
	return rc <= 0 ? rc : repodata_visit(in, v, p, e) < 0 ? -1 : 1;
}

/* The text that was written, mapped, into its place with all that is made of it. */
static int put_in_place(struct copy *c, int dir, bool shards, struct progress *p, struct err *e)
{
	struct stat st;
	if (fstat(c->to, &st) < 0)
		return err_sys(e, "look at the new repodata.json");
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, c->to, 0);
	if (map == MAP_FAILED)
		return err_sys(e, "map the new repodata.json");
	int rc = publish_repodata(dir, str_of(map, (size_t)st.st_size), c->subdir, shards, p, e);
	munmap(map, (size_t)st.st_size);
	return rc;
}

struct rewrite {
	int from, to; /* folders of the channels */
	const struct channel_make_opts *o;
	struct progress *progress;
	channel_keep_fn *keep;
	void *ctx;
	bool localize;
};

static int rewrite_subdir(const struct rewrite *r, struct str subdir, struct str gone, struct err *e)
{
	auto_arena a = ARENA_INIT;
	cleanup_with(copy_release) struct copy c = {.to = -1,
						    .b = BUF_INIT(BUF_MAX),
						    .gone = BUF_INIT(REMOVED_MAX),
						    .subdir = subdir,
						    .localize = r->localize,
						    .keep = r->keep,
						    .ctx = r->ctx};
	const struct repodata_visit first = {.record = pass, .member = find_base, .ctx = &c};
	const struct repodata_visit second = {.record = copy_record, .member = copy_member, .ctx = &c};
	const char *name = arena_strdup(&a, subdir);
	int rc = r->localize ? visit(&c, r->from, &first, NULL, e) : 1;
	if (rc <= 0)
		return rc;
	buf_put_str(&c.gone, gone);
	auto_fd dir = fs_open_dir_make(r->to, name, e);
	auto_fd lock = dir < 0 ? -1 : fs_lock(dir, ".slipway.lock", LOCK_WAIT_MS, e);
	if (lock < 0)
		return -1;
	c.to = cache_tmp(dir, e);
	if (c.to < 0 || (rc = visit(&c, r->from, &second, r->progress, e)) < 0)
		return -1;
	if (rc == 0)
		return 0;
	bool shards = r->o->shards || fs_exists(r->from, arena_printf(&a, "%s/" PUBLISH_SHARDS, name));
	return copy_end(&c, e) < 0 || (!r->o->dry_run && put_in_place(&c, dir, shards, r->progress, e) < 0) ? -1 : 1;
}

int conda_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		  const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct conda_subdirs s = conda_subdirs(&a, from);
	auto_fd to = fs_open_dir_make(AT_FDCWD, folder, e);
	if (to < 0)
		return -1;
	const struct rewrite r = {.from = from_fd,
				  .to = to,
				  .o = o,
				  .progress = from->progress,
				  .keep = keep,
				  .ctx = ctx,
				  .localize = true};
	for (size_t i = 0; i < s.n; i++)
		if (rewrite_subdir(&r, s.v[i], STR(""), e) < 0)
			return err_ctx(e, "metadata for '%s'", folder);
	return 0;
}

/* -- taking packages out ------------------------------------------------------------------------------------------- */

struct removal {
	struct map gone; /* path → 1; 2: it was there */
};

static int keep_rest(void *ctx, const struct channel_item *item, struct err *e)
{
	struct removal *r = ctx;
	uint64_t *gone = map_get(&r->gone, item->path);
	(void)e;
	if (gone)
		*gone = 2;
	return !gone;
}

static struct str subdir_of(struct str path)
{
	struct str subdir = STR("");
	(void)str_take_until(&path, '/', &subdir);
	return subdir;
}

static bool is_first_of_subdir(const struct str *paths, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (str_eq(subdir_of(paths[k]), subdir_of(paths[i])))
			return false;
	return true;
}

/* File names as "removed" has them. */
static void put_gone(struct buf *b, const struct str *paths, size_t n, struct str subdir)
{
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(subdir_of(paths[i]), subdir))
			continue;
		if (b->n)
			buf_put_c(b, ", ");
		scan_put_string(b, str_skip(paths[i], subdir.n + 1));
	}
}

static int look_record(void *ctx, enum repodata_section section, struct str key, struct str record, struct err *e)
{
	struct copy *c = ctx;
	auto_arena a = ARENA_INIT;
	struct channel_item item;
	return conda_item(&a, c->subdir, STR(""), section, key, record, &item) && keep_rest(c->ctx, &item, e) < 0 ? -1
														  : 0;
}

/* Nothing is taken out before all of them are known to be there. */
static int look_for_all(const char *folder, int dir, const struct str *paths, size_t n, struct removal *r,
			struct err *e)
{
	for (size_t i = 0; i < n; i++)
		*map_put(&r->gone, paths[i]) = 1;
	for (size_t i = 0; i < n; i++) {
		cleanup_with(copy_release) struct copy c = {
			.to = -1, .b = BUF_INIT(1), .gone = BUF_INIT(1), .subdir = subdir_of(paths[i]), .ctx = r};
		const struct repodata_visit v = {.record = look_record, .ctx = &c};
		if (is_first_of_subdir(paths, i) && channel_is_subdir(c.subdir) && visit(&c, dir, &v, NULL, e) < 0)
			return -1;
	}
	for (size_t i = 0; i < n; i++)
		if (*map_get(&r->gone, paths[i]) != 2)
			return err_new(e, ERR_NOT_FOUND, "no package '%.*s' in '%s'", STR_ARG(paths[i]), folder);
	return 0;
}

static int remove_files(int dir, const struct str *paths, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		auto_free char *path = str_dup(paths[i]);
		if (sys_unlinkat(dir, path, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s'", path);
	}
	return 0;
}

static int remove_in(const struct rewrite *w, const char *folder, const struct str *paths, size_t n, bool mark,
		     struct err *e)
{
	struct removal *r = w->ctx;
	if (look_for_all(folder, w->from, paths, n, r, e) < 0)
		return -1;
	for (size_t i = 0; i < n && !w->o->dry_run; i++) {
		auto_buf gone = BUF_INIT(REMOVED_MAX);
		struct str subdir = subdir_of(paths[i]);
		if (!is_first_of_subdir(paths, i))
			continue;
		if (mark)
			put_gone(&gone, paths, n, subdir);
		if (rewrite_subdir(w, subdir, buf_str(&gone), e) < 0)
			return -1;
	}
	if (mark || w->o->dry_run)
		return 0;
	int waits = w->o->seal ? w->o->seal(w->o->seal_ctx, folder, e) : 0;
	return waits != 0 ? (waits < 0 ? -1 : 0) : remove_files(w->from, paths, n, e);
}

int conda_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
		 const struct channel_make_opts *o, struct err *e)
{
	struct removal r = {0};
	(void)reason; /* conda's metadata have no place for it */
	auto_fd dir = fs_open_dir(AT_FDCWD, folder, e);
	if (dir < 0)
		return err_ctx(e, "channel '%s'", folder);
	const struct rewrite w = {.from = dir, .to = dir, .o = o, .keep = keep_rest, .ctx = &r};
	int rc = remove_in(&w, folder, paths, n, how == CHANNEL_YANK, e);
	map_release(&r.gone);
	return rc < 0 ? err_ctx(e, "take packages out of '%s'", folder) : 0;
}
