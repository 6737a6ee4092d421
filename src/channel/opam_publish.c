// SPDX-License-Identifier: Apache-2.0
/*
 * Changing an opam repository. Its packages are what index.tar.gz says: that one file is replaced, after all archives it tells of
 * have their places.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/vec.h"
#include "channel/kind.h"
#include "channel/opam.h"
#include "channel/staging.h"
#include "pkg/pkg.h"

enum { PUBLISH_MAX = 1 << 16 };
VEC_TYPE(entry_vec, struct opam_entry);
VEC_TYPE(path_vec, const char *);

struct changing {
	struct staging stage;
	struct arena arena;
	struct opam_repo old;
	struct entry_vec entries; /* of the repository that is made */
	struct path_vec archives; /* files that were given beside opam files */
	struct map sources;	  /* by "cache/…" path → struct opam_source * */
	const struct channel_make_opts *o;
	struct progress *progress;
	size_t published;
};

static void changing_release(struct changing *x)
{
	staging_release(&x->stage);
	vec_release(&x->entries);
	vec_release(&x->archives);
	map_release(&x->sources);
	arena_release(&x->arena);
}
#define auto_changing cleanup_with(changing_release) struct changing
#define CHANGING_INIT(opts) ((struct changing){.stage = STAGING_INIT, .o = (opts)})

/* -- what is made -------------------------------------------------------------------------------------------------- */

struct str opam_repo_with_mirrors(struct arena *a, struct str repo, struct err *e)
{
	struct opam_file f;
	if (opam_file_read(a, repo, "repo", &f, e) < 0)
		return STR_NONE;
	if (f.has_mirrors)
		return repo;
	const char *head = repo.n ? "" : "opam-version: \"2.0\"\n";
	const char *end = repo.n && repo.p[repo.n - 1] != '\n' ? "\n" : "";
	char *p = arena_alloc(a, repo.n + 100);
	int n = snprintf(p, 100, "%s", head);
	if (repo.n)
		memcpy(p + n, repo.p, repo.n);
	n += (int)repo.n;
	n += snprintf(p + n, 60, "%sarchive-mirrors: \"cache\"\n", end);
	return str_of(p, (size_t)n);
}

static int put_repo(struct changing *x, struct str repo_file, struct err *e)
{
	auto_buf index = BUF_INIT(OPAM_INDEX_MAX);
	struct opam_repo r = {0};
	if (opam_repo_of(&x->arena, x->entries.v, x->entries.n, &r, e) < 0)
		return -1;
	r.repo = opam_repo_with_mirrors(&x->arena, repo_file, e);
	if (!r.repo.p || opam_repo_pack(&r, &index, e) < 0)
		return err_ctx(e, "the repository's file 'repo'");
	return staging_put_pointer(&x->stage, "repo", r.repo, e) < 0 ||
			       staging_put_pointer(&x->stage, "index.tar.gz", buf_str(&index), e) < 0
		       ? -1
		       : 0;
}

static void take_over(struct changing *x, const struct opam_package *p)
{
	for (size_t i = 0; i < p->n; i++)
		vec_push(&x->entries, p->entry[i]);
}

/* -- what is published --------------------------------------------------------------------------------------------- */

static const struct opam_package *find_package(const struct opam_repo *r, struct str folder)
{
	for (size_t i = 0; i < r->n; i++)
		if (str_eq(r->package[i].folder, folder))
			return &r->package[i];
	return NULL;
}

static struct str read_text(struct changing *x, int dir, const char *path, struct err *e)
{
	auto_buf b = BUF_INIT(OPAM_FILE_MAX);
	if (fs_read(dir, path, &b, e) < 0)
		return STR_NONE;
	return arena_str(&x->arena, buf_str(&b));
}

/* The name and version of a package: as its folder or file is called ("NAME.VERSION"), or as it says inside. */
static int name_package(struct str called, const struct opam_file *f, const char *what, struct str *name,
			struct str *version, struct err *e)
{
	*version = called;
	if (!str_take_until(version, '.', name))
		*name = called, *version = STR_NONE;
	if (f->name.n && !str_eq(called, STR("opam")) && !str_eq(f->name, *name))
		return err_new(e, ERR_INPUT, "'%s' is called '%.*s', and says that it is '%.*s'", what, STR_ARG(*name),
			       STR_ARG(f->name));
	if (f->name.n)
		*name = f->name;
	if (f->version.n && version->n && !str_eq(f->version, *version))
		return err_new(e, ERR_INPUT, "'%s' is called version '%.*s', and says that it is '%.*s'", what,
			       STR_ARG(*version), STR_ARG(f->version));
	if (f->version.n)
		*version = f->version;
	if (!pkg_opam_name_is_good(*name) || !pkg_opam_version_is_good(*version) ||
	    (str_eq(called, STR("opam")) && !f->name.n))
		return err_new(
			e, ERR_USAGE,
			"what package is '%s'? call it NAME.VERSION/opam or NAME.VERSION.opam, or give it 'name' "
			"and 'version' inside",
			what);
	return 0;
}

static void note_sources(struct changing *x, const struct opam_file *f)
{
	for (size_t i = 0; i < f->sources; i++)
		for (size_t k = 0; k < f->source[i].checksums; k++)
			*map_put(&x->sources, opam_cache_path(&x->arena, &f->source[i].checksum[k])) =
				(uint64_t)(uintptr_t)&f->source[i];
}

struct extra {
	struct changing *x;
	const char *folder; /* packages/NAME/NAME.VERSION */
};

static int add_extra(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct extra *extra = ctx;
	struct arena *a = &extra->x->arena;
	if (!S_ISREG(st->st_mode))
		return 0;
	struct str path = str_c(arena_printf(a, "%s/files/%s", extra->folder, rel));
	struct str text = read_text(extra->x, dirfd, name, e);
	if (!text.p)
		return -1;
	if (!channel_path_is_normal(path))
		return err_new(e, ERR_USAGE, "'%.*s' cannot be in a repository", STR_ARG(path));
	vec_push(&extra->x->entries, ((struct opam_entry){path, text, 0}));
	return 0;
}

/* True where the entries from `first` on are what is there of the package already. */
static bool is_same(const struct changing *x, size_t first, const struct opam_package *p)
{
	size_t n = x->entries.n - first, same = 0;
	for (size_t i = first; i < x->entries.n; i++)
		for (size_t k = 0; k < p->n; k++)
			same += str_eq(x->entries.v[i].path, p->entry[k].path) &&
				str_eq(x->entries.v[i].text, p->entry[k].text);
	return n == p->n && same == n;
}

/* dir/file is an opam file, and beside it may be files/. */
static int add_opam(struct changing *x, int dir, const char *file, struct str called, const char *what, struct err *e)
{
	struct opam_file f;
	struct str name, version, text = read_text(x, dir, file, e);
	size_t first = x->entries.n;
	if (!text.p || opam_file_read(&x->arena, text, what, &f, e) < 0 ||
	    name_package(called, &f, what, &name, &version, e) < 0)
		return -1;
	struct extra extra = {x, arena_printf(&x->arena, "packages/%.*s/%.*s.%.*s", STR_ARG(name), STR_ARG(name),
					      STR_ARG(version))};
	vec_push(&x->entries, ((struct opam_entry){str_c(arena_printf(&x->arena, "%s/opam", extra.folder)), text, 0}));
	if (str_eq_c(str_c(file), "opam") && fs_exists(dir, "files") && fs_walk(dir, "files", add_extra, &extra, e) < 0)
		return -1;
	note_sources(x, &f);
	const struct opam_package *there = find_package(&x->old, str_c(extra.folder));
	if (there && !x->o->replace && !is_same(x, first, there))
		return err_new(
			e, ERR_EXISTS,
			"'%.*s.%.*s' is in the channel already with other content; raise its version, or use --replace",
			STR_ARG(name), STR_ARG(version));
	x->published++;
	progress_send(x->progress,
		      (struct progress_event){
			      .kind = PROGRESS_DONE, .phase = "publish", .id = extra.folder, .text = x->stage.folder});
	return 0;
}

struct search {
	struct changing *x;
	const char *root;
};

static struct str last_part(struct str path)
{
	while (str_ends(path, STR("/")))
		path = str_head(path, path.n - 1);
	return str_skip(path, (size_t)(str_rfind(path, '/') + 1));
}

static int find_opam(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct search *s = ctx;
	struct str above = str_c(rel);
	if (!S_ISREG(st->st_mode) || strcmp(name, "opam") != 0 || str_search(above, STR("/files/")) >= 0)
		return 0;
	above = str_head(above, above.n > 5 ? above.n - 5 : 0);
	const char *what = arena_printf(&s->x->arena, "%s/%s", s->root, rel);
	return add_opam(s->x, dirfd, "opam", last_part(above.n ? above : str_c(s->root)), what, e);
}

static int add_given(struct changing *x, const char *path, struct err *e)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return err_sys(e, "look at '%s'", path);
	if (S_ISDIR(st.st_mode)) {
		struct search s = {x, path};
		size_t before = x->published;
		if (fs_walk(AT_FDCWD, path, find_opam, &s, e) < 0)
			return -1;
		return x->published > before ? 0 : err_new(e, ERR_USAGE, "'%s' holds no opam file", path);
	}
	struct str fn = last_part(str_c(path));
	struct str folder = str_head(str_c(path), str_c(path).n - fn.n);
	if (!str_eq(fn, STR("opam")) && !str_ends(fn, STR(".opam"))) {
		vec_push(&x->archives, path);
		return 0;
	}
	auto_fd dir = fs_open_dir(AT_FDCWD, folder.n ? arena_strdup(&x->arena, folder) : ".", e);
	if (dir < 0)
		return -1;
	struct str called = str_ends(fn, STR(".opam")) ? str_head(fn, fn.n - 5) : last_part(folder);
	/* ./opam, in a source tree: its folder is called like anything */
	if (str_eq(fn, STR("opam")) && str_find(called, '.') <= 0)
		called = STR("opam");
	return add_opam(x, dir, arena_strdup(&x->arena, fn), called, path, e);
}

/* -- archives ------------------------------------------------------------------------------------------------------ */

static int digests_of(const char *path, struct digest_value v[3], struct err *e)
{
	static const enum digest_kind kinds[] = {DIGEST_SHA256, DIGEST_SHA512, DIGEST_MD5};
	auto_ptr(digest) d0 = digest_new(kinds[0]);
	auto_ptr(digest) d1 = digest_new(kinds[1]);
	auto_ptr(digest) d2 = digest_new(kinds[2]);
	struct digest *d[] = {d0, d1, d2};
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", path);
	auto_free char *piece = xmalloc(1 << 20);
	for (ssize_t n; (n = read(fd, piece, 1 << 20)) != 0;) {
		if (n < 0)
			return err_sys(e, "read '%s'", path);
		for (size_t i = 0; i < 3; i++)
			digest_update(d[i], piece, (size_t)n);
	}
	for (size_t i = 0; i < 3; i++) {
		v[i] = (struct digest_value){.kind = kinds[i], .known = true};
		digest_final(d[i], v[i].bytes);
	}
	return 0;
}

static bool agrees(const struct opam_source *s, const struct digest_value v[3])
{
	for (size_t i = 0; i < s->checksums; i++)
		for (size_t k = 0; k < 3; k++)
			if (s->checksum[i].kind == v[k].kind &&
			    memcmp(s->checksum[i].bytes, v[k].bytes, digest_size(v[k].kind)) != 0)
				return false;
	return true;
}

/* Under each digest that opam files know it by. */
static int add_archive(struct changing *x, const char *path, struct err *e)
{
	struct digest_value v[3];
	const struct opam_source *s = NULL;
	if (digests_of(path, v, e) < 0)
		return -1;
	for (size_t i = 0; i < 3 && !s; i++) {
		const uint64_t *at = map_get(&x->sources, opam_cache_path(&x->arena, &v[i]));
		s = at ? (const struct opam_source *)(uintptr_t)*at : NULL;
	}
	if (!s)
		return err_new(e, ERR_USAGE,
			       "no opam file of the channel has a checksum of '%s'; it wants: checksum: \"%s\"", path,
			       strrchr(opam_cache_path(&x->arena, &v[0]).p, '/') + 1);
	if (!agrees(s, v))
		return err_new(e, ERR_VERIFY, "'%s' has one of the checksums of an opam file, and not the others",
			       path);
	const char *main = opam_cache_path(&x->arena, opam_best(s)).p;
	int rc = staging_put_file(&x->stage, main, path, v[0].bytes, true, e);
	for (size_t i = 0; rc >= 0 && i < s->checksums; i++) {
		const char *other = opam_cache_path(&x->arena, &s->checksum[i]).p;
		if (strcmp(other, main) != 0 && !x->o->dry_run && (rc > 0 || !fs_exists(x->stage.dir, other)) &&
		    staging_link(&x->stage, other, main, e) < 0)
			return -1;
	}
	return rc < 0 ? -1 : 0;
}

/* Archives may be of packages that were there before. */
static int add_archives(struct changing *x, struct err *e)
{
	struct err ignored = ERR_INIT;
	struct opam_file f;
	for (size_t i = 0; x->archives.n && i < x->old.n; i++)
		if (opam_file_read(&x->arena, x->old.package[i].opam->text, "opam", &f, &ignored) == 0)
			note_sources(x, &f);
	vec_foreach(path, &x->archives)
		if (add_archive(x, *path, e) < 0)
			return -1;
	return 0;
}

static int change(struct changing *x, const char *const *files, size_t n, struct err *e)
{
	if (opam_repo_load(x->stage.dir, &x->arena, &x->old, e) < 0)
		return err_ctx(e, "the channel's own index cannot be read; mend or remove it");
	for (size_t i = 0; i < n; i++)
		if (add_given(x, files[i], e) < 0)
			return -1;
	if (add_archives(x, e) < 0)
		return -1;
	/* a package that is published is whole: no file of its version of before stays */
	auto_map new = MAP_INIT;
	vec_foreach(entry, &x->entries)
		*map_put(&new, entry->path) = 1;
	for (size_t i = 0; i < x->old.n; i++)
		if (!map_get(&new, x->old.package[i].opam->path))
			take_over(x, &x->old.package[i]);
	return put_repo(x, x->old.repo, e) < 0 ? -1 : staging_commit(&x->stage, e);
}

int opam_publish(const char *folder, const char *const *files, size_t n, const struct channel_make_opts *o,
		 struct progress *p, struct err *e)
{
	auto_changing x = CHANGING_INIT(o);
	x.progress = p;
	if (n > PUBLISH_MAX)
		return err_new(e, ERR_LIMIT, "more than %d packages at once", PUBLISH_MAX);
	if (staging_open_for(&x.stage, folder, o, e) < 0 || change(&x, files, n, e) < 0)
		return err_ctx(e, "publish into '%s'", folder);
	return 0;
}

/* -- a part of another --------------------------------------------------------------------------------------------- */

/* A package is asked for by its archive; one that has none, by its opam file. */
static struct channel_item item_of(struct arena *a, const struct opam_package *p)
{
	struct opam_file f;
	struct err ignored = ERR_INIT;
	struct channel_item item;
	if (opam_file_read(a, p->opam->text, "opam", &f, &ignored) == 0)
		for (size_t i = 0; i < f.sources; i++)
			if (opam_item(a, p, &f.source[i], &item))
				return item;
	return (struct channel_item){
		.path = p->opam->path, .what = CHANNEL_FILE_NAMED, .name = p->name, .version = p->version};
}

static int keep_some(struct changing *x, const struct opam_repo *r, const struct channel_walk_opts *from,
		     channel_keep_fn *keep, void *ctx, struct err *e)
{
	for (size_t i = 0; i < r->n; i++) {
		auto_arena a = ARENA_INIT;
		if (!walk_wants_name(from, r->package[i].name))
			continue;
		struct channel_item item = item_of(&a, &r->package[i]);
		int rc = keep(ctx, &item, e);
		if (rc < 0)
			return -1;
		if (rc > 0)
			take_over(x, &r->package[i]);
	}
	return put_repo(x, r->repo, e) < 0 ? -1 : staging_commit(&x->stage, e);
}

int opam_rewrite(int from_fd, const struct channel_walk_opts *from, const char *folder,
		 const struct channel_make_opts *o, channel_keep_fn *keep, void *ctx, struct err *e)
{
	auto_changing x = CHANGING_INIT(o);
	int rc = opam_repo_load(from_fd, &x.arena, &x.old, e);
	if (rc == 0)
		return err_new(e, ERR_NOT_FOUND, "'index.tar.gz' is not there");
	if (rc < 0 || staging_open_for(&x.stage, folder, o, e) < 0 || keep_some(&x, &x.old, from, keep, ctx, e) < 0)
		return err_ctx(e, "make '%s'", folder);
	return 0;
}

/* -- taking out ---------------------------------------------------------------------------------------------------- */

/* opam's own mark: such a version is chosen only where it is asked for. */
static struct str avoid(struct arena *a, struct str text, const struct opam_file *f, struct str reason)
{
	auto_buf b = BUF_INIT(2 * OPAM_FILE_MAX);
	struct str value = f->has_flags ? str_trim(str_of(text.p + f->flags_at, f->flags_end - f->flags_at)) : STR_NONE;
	if (str_search(value, STR("avoid-version")) >= 0)
		return text;
	buf_put_str(&b, f->has_flags ? str_head(text, f->flags_at) : text);
	if (f->has_flags) {
		bool list = str_take_char(&value, '[');
		buf_put_c(&b, "[avoid-version ");
		buf_put_str(&b, str_trim(value));
		buf_put_c(&b, list ? "" : "]");
		buf_put_str(&b, str_skip(text, f->flags_end));
	} else {
		if (b.n && b.p[b.n - 1] != '\n')
			buf_put_char(&b, '\n');
		if (reason.n && str_find(reason, '\n') < 0)
			buf_printf(&b, "# %.*s\n", STR_ARG(reason));
		buf_put_c(&b, "flags: avoid-version\n");
	}
	return arena_str(a, buf_str(&b));
}

struct removal {
	struct map wanted; /* path → place + 1 in found */
	bool *found;
	enum channel_removal how;
	struct str reason;
	struct map stays, goes; /* paths of archives */
};

static bool is_wanted(struct removal *r, struct str path)
{
	const uint64_t *place = map_get(&r->wanted, path);
	if (place)
		r->found[*place - 1] = true;
	return place != NULL;
}

static bool is_meant(struct arena *a, const struct opam_package *p, const struct opam_file *f, struct removal *r)
{
	bool meant = is_wanted(r, p->opam->path);
	/* all are asked: what is found is noted */
	meant |= is_wanted(r, p->folder);
	meant |= is_wanted(r, str_skip(p->folder, (size_t)(str_rfind(p->folder, '/') + 1)));
	for (size_t s = 0; s < f->sources; s++)
		for (size_t k = 0; k < f->source[s].checksums; k++)
			meant |= is_wanted(r, opam_cache_path(a, &f->source[s].checksum[k]));
	return meant;
}

static void count_archives(struct changing *x, const struct opam_file *f, struct map *used)
{
	for (size_t s = 0; s < f->sources; s++)
		for (size_t k = 0; k < f->source[s].checksums; k++)
			*map_put(used, opam_cache_path(&x->arena, &f->source[s].checksum[k])) = 1;
}

static int take_out(struct changing *x, struct removal *r, const struct opam_package *p, struct err *e)
{
	struct opam_file f;
	struct err ignored = ERR_INIT;
	bool readable = opam_file_read(&x->arena, p->opam->text, "opam", &f, &ignored) == 0;
	if (!readable)
		f = (struct opam_file){0};
	bool meant = is_meant(&x->arena, p, &f, r);
	count_archives(x, &f, meant && r->how == CHANNEL_DROP ? &r->goes : &r->stays);
	if (!meant || r->how == CHANNEL_YANK)
		take_over(x, p);
	if (!meant || r->how == CHANNEL_DROP)
		return 0;
	if (!readable)
		return err_new(e, ERR_INPUT, "'%.*s' cannot be read: drop it", STR_ARG(p->opam->path));
	vec_push(&x->entries, ((struct opam_entry){p->opam->path, avoid(&x->arena, p->opam->text, &f, r->reason), 0}));
	return 0;
}

static int remove_some(struct changing *x, struct removal *r, const struct str *paths, size_t n, struct err *e)
{
	if (opam_repo_load(x->stage.dir, &x->arena, &x->old, e) < 0)
		return -1;
	for (size_t i = 0; i < x->old.n; i++)
		if (take_out(x, r, &x->old.package[i], e) < 0)
			return -1;
	for (size_t i = 0; i < n; i++)
		if (!r->found[*map_get(&r->wanted, paths[i]) - 1])
			return err_new(e, ERR_NOT_FOUND, "'%.*s' is not listed there", STR_ARG(paths[i]));
	for (struct map_slot *s = NULL; (s = map_next(&r->goes, s));)
		if (!map_get(&r->stays, s->key))
			staging_drop(&x->stage, s->key.p);
	return put_repo(x, x->old.repo, e) < 0 ? -1 : staging_commit(&x->stage, e);
}

int opam_remove(const char *folder, const struct str *paths, size_t n, enum channel_removal how, struct str reason,
		const struct channel_make_opts *o, struct err *e)
{
	auto_changing x = CHANGING_INIT(o);
	struct removal r = {.how = how, .reason = reason};
	r.found = arena_array(&x.arena, bool, n + 1);
	for (size_t i = 0; i < n; i++)
		*map_put(&r.wanted, paths[i]) = i + 1;
	int rc = staging_open_for(&x.stage, folder, o, e) < 0 || remove_some(&x, &r, paths, n, e) < 0 ? -1 : 0;
	map_release(&r.wanted);
	map_release(&r.stays);
	map_release(&r.goes);
	return rc < 0 ? err_ctx(e, "take packages out of '%s'", folder) : 0;
}
