// SPDX-License-Identifier: Apache-2.0
/*
 * Changing an index of Python packages: publishing into it, making it of a part of another, taking out of it. Each project's two
 * pages are made anew of what its page of before said; then the list of projects, where that changes.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/map.h"
#include "base/url.h"
#include "base/vec.h"
#include "channel/kind.h"
#include "channel/pypi.h"
#include "channel/staging.h"

enum { PUBLISH_MAX = 1 << 18 };
VEC_TYPE(entry_vec, struct pypi_file);
VEC_TYPE(name_vec, struct str);

/* -- pages --------------------------------------------------------------------------------------------------------- */

static int put_page(struct staging *t, struct pypi_page *p, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf json = BUF_INIT(PYPI_PAGE_MAX), html = BUF_INIT(PYPI_PAGE_MAX);
	pypi_page_json(p, &json);
	pypi_page_html(p, &html);
	if (json.overflow || html.overflow)
		return err_new(e, ERR_LIMIT, "the page of '%.*s' would exceed %d MiB", STR_ARG(p->name),
			       PYPI_PAGE_MAX >> 20);
	/* the JSON last: as long as it is the old one, publishing again makes both anew */
	return staging_put_pointer(t, arena_printf(&a, "simple/%.*s/" PYPI_HTML, STR_ARG(p->name)), buf_str(&html), e) <
				       0 ||
			       staging_put_pointer(t, arena_printf(&a, "simple/%.*s/" PYPI_JSON, STR_ARG(p->name)),
						   buf_str(&json), e) < 0
		       ? -1
		       : 0;
}

static int put_index(struct staging *t, const struct pypi_index *x, struct err *e)
{
	auto_buf json = BUF_INIT(PYPI_INDEX_MAX), html = BUF_INIT(PYPI_INDEX_MAX);
	pypi_index_json(x, &json);
	pypi_index_html(x, &html);
	if (json.overflow || html.overflow)
		return err_new(e, ERR_LIMIT, "the list of projects would exceed %d MiB", PYPI_INDEX_MAX >> 20);
	return staging_put_pointer(t, "simple/" PYPI_HTML, buf_str(&html), e) < 0 ||
			       staging_put_pointer(t, "simple/" PYPI_JSON, buf_str(&json), e) < 0
		       ? -1
		       : 0;
}

static int name_cmp(const void *a, const void *b)
{
	return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The list of before, with some and without others (both sorted). */
static int change_index(struct staging *t, const struct name_vec *more, const struct name_vec *gone, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pypi_index x;
	struct name_vec all = {0};
	auto_map out = MAP_INIT;
	if (pypi_index_load(t->dir, &a, &x, e) < 0)
		return -1;
	vec_foreach(n, gone)
		*map_put(&out, *n) = 1;
	for (size_t i = 0; i < x.n; i++)
		if (!map_get(&out, x.name[i]))
			vec_push(&all, x.name[i]);
	vec_foreach(n, more)
		vec_push(&all, *n);
	vec_sort(&all, name_cmp);
	size_t n = 0;
	for (size_t i = 0; i < all.n; i++)
		if (n == 0 || !str_eq(all.v[n - 1], all.v[i]))
			all.v[n++] = all.v[i];
	x = (struct pypi_index){all.v, n};
	int rc = put_index(t, &x, e);
	vec_release(&all);
	return rc;
}

/* -- publishing ---------------------------------------------------------------------------------------------------- */

struct publishing {
	struct staging stage;
	const struct channel_make_opts *o;
	struct progress *progress;
	struct arena arena;
	struct entry_vec entries; /* new ones; their projects beside them */
	struct name_vec projects;
};

static void publishing_release(struct publishing *x)
{
	vec_release(&x->entries);
	vec_release(&x->projects);
	staging_release(&x->stage);
	arena_release(&x->arena);
}

static struct pypi_hash *sha256_of(struct arena *a, const uint8_t digest[SHA256_SIZE])
{
	struct pypi_hash *h = arena_new(a, struct pypi_hash);
	char *hex = arena_alloc(a, SHA256_HEX_SIZE);
	hex_encode(digest, SHA256_SIZE, hex);
	*h = (struct pypi_hash){STR("sha256"), str_c(hex)};
	return h;
}

static struct pypi_file entry_of(struct publishing *x, const struct pypi_dist *d)
{
	struct arena *a = &x->arena;
	struct pypi_file f = {
		.filename = arena_str(a, d->filename),
		.hash = sha256_of(a, d->sha256),
		.hash_n = 1,
		.has_size = true,
		.size = d->size,
		.requires_python = d->requires_python.n ? arena_str(a, d->requires_python) : STR_NONE,
		.has_metadata = d->metadata.n > 0,
	};
	auto_buf b = BUF_INIT(4 * CHANNEL_PATH_MAX);
	buf_printf(&b, "../../packages/%.*s/", STR_ARG(d->name));
	url_put_path(&b, d->filename);
	f.url = arena_str(a, buf_str(&b));
	if (f.has_metadata) {
		uint8_t digest[SHA256_SIZE];
		sha256(d->metadata.p, d->metadata.n, digest);
		f.metadata = *sha256_of(a, digest);
	}
	buf_clear(&b);
	clock_put_iso(&b, x->o->now_ms ? x->o->now_ms : clock_wall_ms());
	f.upload_time = arena_str(a, buf_str(&b));
	return f;
}

static int take_file(struct publishing *x, const char *path, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pypi_dist d;
	if (pypi_dist_read(path, &a, &d, e) < 0)
		return -1;
	const char *to = arena_printf(&a, "packages/%.*s/%.*s", STR_ARG(d.name), STR_ARG(d.filename));
	if (staging_put_file(&x->stage, to, path, d.sha256, x->o->replace, e) < 0)
		return -1;
	if (d.metadata.n && staging_put_text(&x->stage, arena_printf(&a, "%s.metadata", to), d.metadata, e) < 0)
		return -1;
	vec_push(&x->entries, entry_of(x, &d));
	vec_push(&x->projects, arena_str(&x->arena, d.name));
	progress_send(
		x->progress,
		(struct progress_event){.kind = PROGRESS_DONE, .phase = "publish", .id = to, .text = x->stage.folder});
	return 0;
}

/* An entry of this very file stays as it is, what its keeper changed included. */
static int add_entry(struct publishing *x, struct entry_vec *all, const struct pypi_file *f, struct err *e)
{
	vec_foreach(old, all) {
		if (!str_eq(old->filename, f->filename))
			continue;
		struct digest_value there = pypi_digest(old->hash, old->hash_n);
		struct digest_value here = pypi_digest(f->hash, f->hash_n);
		if (there.known && there.kind == here.kind && memcmp(there.bytes, here.bytes, SHA256_SIZE) == 0)
			return 0;
		if (there.known && there.kind == here.kind && !x->o->replace)
			return err_new(e, ERR_EXISTS,
				       "'%.*s' is in the channel already with other content; raise its version, or "
				       "use --replace",
				       STR_ARG(f->filename));
		*old = *f;
		return 0;
	}
	vec_push(all, *f);
	return 0;
}

static int publish_project(struct publishing *x, struct str name, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pypi_page old, new;
	struct entry_vec all = {0};
	auto_buf text = BUF_INIT(PYPI_PAGE_MAX);
	int rc = pypi_page_load(x->stage.dir, &a, name, &old, e);
	if (rc < 0)
		return err_ctx(e, "the channel's own page cannot be read; mend or remove it");
	if (rc == 0)
		old = (struct pypi_page){.name = name};
	for (size_t i = 0; i < old.n; i++)
		vec_push(&all, old.file[i]);
	rc = 0;
	for (size_t i = 0; rc == 0 && i < x->entries.n; i++)
		if (str_eq(x->projects.v[i], name))
			rc = add_entry(x, &all, &x->entries.v[i], e);
	if (rc == 0) {
		/* through the same reader as every page: versions, order */
		old.file = all.v;
		old.n = all.n;
		pypi_page_json(&old, &text);
		rc = pypi_page_read(&a, name, buf_str(&text), "the new page", &new, e);
	}
	vec_release(&all);
	return rc < 0 ? -1 : put_page(&x->stage, &new, e);
}

int pypi_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		 struct progress *p, struct err *e)
{
	cleanup_with(publishing_release) struct publishing x = {.stage = STAGING_INIT, .o = o, .progress = p};
	struct name_vec none = {0};
	if (n > PUBLISH_MAX)
		return err_new(e, ERR_LIMIT, "more than %d packages at once", PUBLISH_MAX);
	if (staging_open_for(&x.stage, folder, o, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (take_file(&x, files[i], e) < 0)
			return -1;
	struct name_vec names = {0};
	auto_map seen = MAP_INIT;
	vec_foreach(name, &x.projects)
		if (!(*map_put(&seen, *name))++)
			vec_push(&names, *name);
	int rc = 0;
	vec_foreach(name, &names)
		rc = rc < 0 ? rc : publish_project(&x, *name, e);
	if (rc == 0)
		rc = change_index(&x.stage, &names, &none, e);
	vec_release(&names);
	if (rc < 0 || staging_commit(&x.stage, e) < 0)
		return err_ctx(e, "publish into '%s'", folder);
	return 0;
}

/* -- a part of another --------------------------------------------------------------------------------------------- */

/* The page with those of its files that are kept; how many they are. */
static int filter_page(struct arena *a, struct pypi_page *p, channel_keep_fn *keep, void *ctx, struct err *e)
{
	struct pypi_file *file = arena_array(a, struct pypi_file, p->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < p->n; i++) {
		struct channel_item item;
		int rc = pypi_item(a, p, &p->file[i], &item) ? keep(ctx, &item, e) : 0;
		if (rc < 0)
			return -1;
		if (rc > 0)
			file[n++] = p->file[i];
	}
	p->file = file;
	p->n = n;
	pypi_page_localize(a, p);
	return 0;
}

static int rewrite_project(struct staging *t, int from_fd, struct str name, struct name_vec *kept,
			   channel_keep_fn *keep, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pypi_page p;
	int rc = pypi_page_load(from_fd, &a, name, &p, e);
	if (rc <= 0)
		return rc;
	if (filter_page(&a, &p, keep, ctx, e) < 0)
		return -1;
	if (p.n == 0)
		return 0;
	vec_push(kept, name);
	return put_page(t, &p, e);
}

static void drop_page(struct staging *t, struct str name)
{
	auto_arena a = ARENA_INIT;
	staging_drop_pointer(t, arena_printf(&a, "simple/%.*s/" PYPI_HTML, STR_ARG(name)));
	staging_drop_pointer(t, arena_printf(&a, "simple/%.*s/" PYPI_JSON, STR_ARG(name)));
}

/* Names that are no globs need no list of projects; without one, the folders are the list. */
static int list_names(int from_fd, struct arena *a, struct pypi_index *x, struct err *e)
{
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	int rc = pypi_index_load(from_fd, a, x, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	auto_fd dir = fs_open_dir(from_fd, "simple", &ignored);
	if (dir < 0)
		return err_new(e, ERR_NOT_FOUND, "there is no folder 'simple' to take packages from");
	if (fs_list(dir, ".", (size_t)1 << 22, &list, e) < 0)
		return -1;
	struct str *name = arena_array(a, struct str, list.n + 1);
	for (size_t i = 0; i < list.n; i++)
		if (pypi_is_name(str_c(list.name[i])))
			name[x->n++] = arena_str(a, str_c(list.name[i]));
	x->name = name;
	return 0;
}

static int wanted_names(int from_fd, const struct channel_walk_opts *from, struct arena *a, struct name_vec *ret,
			struct err *e)
{
	struct pypi_index x = {0};
	struct str *pattern = arena_array(a, struct str, from->names_n + 1);
	struct channel_walk_opts o = {.names = pattern, .names_n = from->names_n};
	bool globs = from->names_n == 0;
	for (size_t i = 0; i < from->names_n; i++) {
		pattern[i] = pypi_normal(a, from->names[i]);
		globs |= str_find(pattern[i], '*') >= 0;
	}
	if (!globs)
		x = (struct pypi_index){pattern, from->names_n};
	else if (list_names(from_fd, a, &x, e) < 0)
		return -1;
	for (size_t i = 0; i < x.n; i++)
		if (pypi_is_name(x.name[i]) && walk_wants_name(&o, x.name[i]))
			vec_push(ret, x.name[i]);
	vec_sort(ret, name_cmp);
	return 0;
}

static int rewrite_all(struct staging *t, int from_fd, const struct name_vec *names, struct name_vec *kept,
		       channel_keep_fn *keep, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pypi_index old;
	auto_map stays = MAP_INIT;
	if (pypi_index_load(t->dir, &a, &old, e) < 0)
		return -1;
	for (size_t i = 0; i < names->n; i++)
		if ((i == 0 || !str_eq(names->v[i - 1], names->v[i])) &&
		    rewrite_project(t, from_fd, names->v[i], kept, keep, ctx, e) < 0)
			return -1;
	vec_foreach(name, kept)
		*map_put(&stays, *name) = 1;
	for (size_t i = 0; i < old.n; i++)
		if (!map_get(&stays, old.name[i]))
			drop_page(t, old.name[i]);
	struct pypi_index x = {kept->v, kept->n};
	return put_index(t, &x, e) < 0 ? -1 : staging_commit(t, e);
}

int pypi_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		 const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_staging t = STAGING_INIT;
	struct name_vec names = {0}, kept = {0};
	int rc = staging_open_for(&t, folder, o, e) < 0 || wanted_names(from_fd, from, &a, &names, e) < 0 ||
				 rewrite_all(&t, from_fd, &names, &kept, keep, ctx, e) < 0
			 ? -1
			 : 0;
	vec_release(&names);
	vec_release(&kept);
	return rc < 0 ? err_ctx(e, "make '%s'", folder) : 0;
}

/* -- taking out ---------------------------------------------------------------------------------------------------- */

struct removal {
	struct staging stage;
	enum channel_removal how;
	struct str reason;
	const struct str *paths;
	bool *done;
	size_t n;
};

/* The projects that a path can be of: what a file's name can be split into. */
static void candidates(struct arena *a, struct str path, struct name_vec *ret)
{
	struct str fn = str_skip(path, (size_t)(str_rfind(path, '/') + 1));
	struct pypi_filename parts;
	for (size_t i = 1; i < fn.n; i++) {
		struct str name = pypi_normal(a, str_head(fn, i));
		if (fn.p[i] == '-' && pypi_is_name(name) && pypi_filename_read(a, fn, name, &parts))
			vec_push(ret, name);
	}
}

/* 1 where something of the page changed. */
static int take_out(struct removal *r, struct arena *a, struct pypi_page *p)
{
	struct pypi_file *file = arena_array(a, struct pypi_file, p->n + 1);
	size_t n = 0;
	bool changed = false;
	for (size_t i = 0; i < p->n; i++) {
		struct channel_item item;
		bool hit = false;
		file[n] = p->file[i];
		for (size_t k = 0; pypi_item(a, p, &file[n], &item) && k < r->n; k++)
			if (str_eq(r->paths[k], item.path))
				hit = r->done[k] = true;
		changed |= hit;
		if (hit && r->how == CHANNEL_DROP) {
			staging_drop(&r->stage, arena_strdup(a, item.path));
			staging_drop(&r->stage, arena_printf(a, "%.*s.metadata", STR_ARG(item.path)));
			continue;
		}
		if (hit) {
			file[n].yanked = true;
			file[n].yank_reason = r->reason;
		}
		n++;
	}
	p->file = file;
	p->n = n;
	return changed;
}

static int remove_from(struct removal *r, struct str name, struct name_vec *gone, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pypi_page p;
	int rc = pypi_page_load(r->stage.dir, &a, name, &p, e);
	if (rc <= 0 || !take_out(r, &a, &p))
		return rc < 0 ? -1 : 0;
	if (p.n > 0)
		return put_page(&r->stage, &p, e);
	vec_push(gone, name);
	drop_page(&r->stage, name);
	return 0;
}

static int remove_all(struct removal *r, const struct name_vec *names, struct err *e)
{
	struct name_vec gone = {0}, none = {0};
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < names->n; i++)
		if (i == 0 || !str_eq(names->v[i - 1], names->v[i]))
			rc = remove_from(r, names->v[i], &gone, e);
	for (size_t i = 0; rc == 0 && i < r->n; i++)
		if (!r->done[i])
			rc = err_new(e, ERR_NOT_FOUND, "'%.*s' is not listed there", STR_ARG(r->paths[i]));
	if (rc == 0 && gone.n)
		rc = change_index(&r->stage, &none, &gone, e);
	vec_release(&gone);
	return rc < 0 ? -1 : staging_commit(&r->stage, e);
}

int pypi_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
		const struct channel_make_opts *o, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct name_vec names = {0};
	struct removal r = {.stage = STAGING_INIT, .how = how, .reason = reason, .paths = paths, .n = n};
	r.done = arena_array(&a, bool, n + 1);
	for (size_t i = 0; i < n; i++)
		candidates(&a, paths[i], &names);
	vec_sort(&names, name_cmp);
	int rc = staging_open_for(&r.stage, folder, o, e) < 0 ? -1 : remove_all(&r, &names, e);
	staging_release(&r.stage);
	vec_release(&names);
	return rc < 0 ? err_ctx(e, "take packages out of '%s'", folder) : 0;
}
