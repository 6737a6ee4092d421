// SPDX-License-Identifier: Apache-2.0
/* A small channel's files and metadata: files are brought before the metadata that name them, and go after. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/small.h"
#include "mirror/sync.h"

enum { PIECE = 1 << 30 };

/* -- what is there -------------------------------------------------------------------------------------------------- */

static bool is_common(struct str platform)
{
	return !platform.n || str_eq_c(platform, "all") || str_eq_c(platform, "noarch");
}

static void add_platform(struct small *s, struct str platform)
{
	vec_foreach(p, &s->platforms)
		if (str_eq(*p, platform))
			return;
	vec_push(&s->platforms, arena_str(s->a, platform));
}

static int look(void *ctx, const struct channel_item *item, struct err *e)
{
	struct small *s = ctx;
	(void)e;
	struct str key = arena_str(s->a, channel_needs_key(s->o->kind, s->a, item));
	uint64_t *seen = map_put(&s->held, key);
	if (!*seen)
		vec_push(&s->held_all, ((struct small_held){key, arena_str(s->a, item->platform)}));
	*seen = 1;
	return 1;
}

int small_look(struct small *s, struct err *e)
{
	const struct channel_make_opts o = {.dry_run = true, .signer = s->o->make.signer};
	struct channel_walk_opts all = {.expired = true};
	if (s->to < 0 || channel_kind_of(s->to) != s->o->kind)
		return 0;
	/* as if it were made of itself: all kinds tell all their packages so */
	return channel_kind_rewrite(s->o->kind, s->to, &all, s->o->to, &o, look, s, e) < 0
		       ? err_ctx(e, "look at what '%s' has", s->o->to)
		       : 0;
}

bool small_has_file(int folder, const struct small_file *f)
{
	struct stat st;
	return folder >= 0 && fstatat(folder, f->path.p, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (!f->size || (uint64_t)st.st_size == f->size);
}

bool small_holds(const struct small *s, const struct small_package *p)
{
	if (!map_get(&s->held, p->key))
		return false;
	for (size_t i = 0; i < p->files_n; i++)
		if (!small_has_file(s->to, &p->files[i]))
			return false;
	return true;
}

/* -- bringing it in ------------------------------------------------------------------------------------------------- */

static int make_folder(const struct small *s, const char *path, struct err *e)
{
	auto_free char *folder = xstrdup(path);
	char *slash = strrchr(folder, '/');
	if (!slash)
		return 0;
	*slash = '\0';
	return fs_mkdirs(s->to, folder, 0755, e);
}

/* Under a name of its own until it is whole. */
static int copy(const struct small *s, int from, const char *path, const char *to, struct err *e)
{
	auto_free char *tmp = xasprintf("%s.part", to);
	if (make_folder(s, to, e) < 0)
		return -1;
	(void)sys_unlinkat(s->to, to, 0); /* of another size, or it would not be brought */
	if (sys_linkat(from, path, s->to, to, 0) == 0)
		return 0;
	auto_fd in = openat(from, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0)
		return err_sys(e, "open '%s/%s'", s->o->from, path);
	auto_fd out = sys_openat(s->to, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (out < 0)
		return err_sys(e, "create '%s/%s'", s->o->to, tmp);
	for (ssize_t n = 1; n > 0;) {
		n = sys_copy_file_range(in, NULL, out, NULL, PIECE);
		if (n < 0)
			return err_sys(e, "copy '%s/%s'", s->o->from, path);
	}
	if (sys_fsync(out) < 0 || sys_renameat(s->to, tmp, s->to, to) < 0)
		return err_sys(e, "put '%s/%s' in place", s->o->to, to);
	return 0;
}

/* The bytes under one of its names are enough for all of them. */
static int bring(const struct small *s, const struct small_package *p, struct err *e)
{
	for (size_t i = 0; i < p->files_n; i++) {
		const struct small_file *f = &p->files[i];
		const char *of = f->copy_of.n ? f->copy_of.p : f->path.p;
		if (small_has_file(s->to, f))
			continue;
		if (f->copy_of.n && !small_has_file(s->from, f)) {
			if (copy(s, s->to, of, f->path.p, e) < 0)
				return -1;
			continue;
		}
		if (copy(s, s->from, f->path.p, f->path.p, e) < 0)
			return -1;
	}
	return 0;
}

static int bring_all(struct small *s, struct err *e)
{
	auto_ptr(mirror_reader) r = NULL;
	if (s->o->m && mirror_reader_new(s->o->m, &r, e) < 0)
		return -1;
	if (!s->o->dry_run && small_fetch(s, r, e) < 0)
		return -1;
	vec_foreach(p, &s->package) {
		if (!p->is_new)
			continue;
		for (size_t i = 0; s->o->dry_run && i < p->files_n; i++)
			if (!small_has_file(s->from, &p->files[i]) && !p->files[i].copy_of.n)
				small_say(s, (struct mirror_small_told){MIRROR_SMALL_FETCH, STR_NONE, p->files[i].path,
									NULL, 0});
		if (!s->o->dry_run && bring(s, p, e) < 0)
			return -1;
		small_say(s, (struct mirror_small_told){MIRROR_SMALL_PUT, STR_NONE, p->key, NULL, 0});
	}
	return 0;
}

/* What the lines need, and what was there before. */
static int keep(void *ctx, const struct channel_item *item, struct err *e)
{
	struct small *s = ctx;
	auto_arena a = ARENA_INIT;
	struct str key = channel_needs_key(s->o->kind, &a, item);
	(void)e;
	return map_get(&s->by_key, key) || map_get(&s->held, key) ? 1 : 0;
}

/* Indexes of deb are a platform's each: those that the tree has already stay. */
static int rewrite(struct small *s, struct err *e)
{
	struct channel_walk_opts from = s->o->walk;
	size_t asked = s->platforms.n;
	if (strcmp(channel_kind_name(s->o->kind), "deb") == 0) {
		vec_foreach(h, &s->held_all)
			if (!is_common(h->platform) && !str_eq_c(h->platform, "source"))
				add_platform(s, h->platform);
		from.platforms = s->platforms.v;
		from.platforms_n = s->platforms.n;
	}
	int rc = channel_kind_rewrite(s->o->kind, s->from, &from, s->o->to, &s->o->make, keep, s, e);
	s->platforms.n = asked;
	return rc;
}

int small_make(struct small *s, struct err *e)
{
	if (bring_all(s, e) < 0)
		return -1;
	if (s->o->dry_run)
		return 0;
	s->res->changed |= s->added.n > 0;
	return rewrite(s, e);
}

/* -- what no line needs --------------------------------------------------------------------------------------------- */

static bool is_i686(struct str platform)
{
	return platform.n == 4 && platform.p[0] == 'i' && str_ends(platform, STR("86"));
}

static bool was_solved(const struct small *s, struct str platform)
{
	for (size_t i = 0; i < s->platforms.n; i++)
		if (str_eq(s->platforms.v[i], platform) || (is_i686(platform) && str_eq_c(s->platforms.v[i], "x86_64")))
			return true;
	return false;
}

/* Packages of platforms that were not solved for stay, and where there are such, what all platforms share. */
static void choose_removed(struct small *s, struct map *stays)
{
	bool others = false;
	vec_foreach(h, &s->held_all)
		others |= !is_common(h->platform) && !was_solved(s, h->platform);
	vec_foreach(h, &s->held_all) {
		if (map_get(&s->by_key, h->key))
			continue;
		if (is_common(h->platform) ? others : !was_solved(s, h->platform)) {
			*map_put(stays, h->key) = 1;
			continue;
		}
		vec_push(&s->removed, h->key);
		small_say(s, (struct mirror_small_told){MIRROR_SMALL_REMOVE, STR_NONE, h->key, NULL, 0});
	}
}

struct sweeping {
	struct small *s;
	const struct map *stays;
	VEC(const char *) gone;
};

static int find_file(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct sweeping *w = ctx;
	struct str path = str_c(rel);
	(void)dirfd, (void)name, (void)e;
	(void)str_take_str(&path, STR("./"));
	if (S_ISREG(st->st_mode) && channel_kind_file(w->s->o->kind, path) == CHANNEL_FILE_PACKAGE &&
	    !map_get(w->stays, path))
		vec_push(&w->gone, arena_strdup(w->s->a, path));
	return 0;
}

/* Files that nothing lists: of packages that the large tree has no more, or of a run that was cut off between metadata and files. */
static int sweep_files(struct small *s, struct map *stays, struct err *e)
{
	struct sweeping w = {.s = s, .stays = stays};
	vec_foreach(p, &s->package)
		for (size_t i = 0; i < p->files_n; i++)
			*map_put(stays, p->files[i].path) = 1;
	int rc = fs_walk(s->to, ".", find_file, &w, e);
	vec_foreach(path, &w.gone)
		if (rc == 0 && sys_unlinkat(s->to, *path, 0) < 0 && errno != ENOENT)
			rc = err_sys(e, "remove '%s/%s'", s->o->to, *path);
	s->res->changed |= w.gone.n > 0;
	vec_release(&w.gone);
	return rc;
}

/* Those that are listed still. */
static int drop(struct small *s, struct err *e)
{
	VEC(struct str) listed = {0};
	cleanup_fd(&s->to);
	s->to = fs_open_dir(AT_FDCWD, s->o->to, e);
	map_release(&s->held);
	vec_clear(&s->held_all);
	if (s->to < 0 || small_look(s, e) < 0)
		return -1;
	vec_foreach(key, &s->removed)
		if (map_get(&s->held, *key))
			vec_push(&listed, *key);
	int rc = !listed.n ? 0
			   : channel_kind_remove(s->o->kind, s->o->to, listed.v, listed.n, CHANNEL_DROP, STR_NONE,
						 &s->o->make, e);
	vec_release(&listed);
	return rc;
}

int small_prune(struct small *s, struct err *e)
{
	auto_map stays = MAP_INIT;
	if (!s->o->prune || s->res->unsolved || s->to < 0)
		return 0;
	choose_removed(s, &stays);
	if (s->o->dry_run)
		return 0;
	s->res->changed |= s->removed.n > 0;
	if (s->removed.n && drop(s, e) < 0)
		return -1;
	return sweep_files(s, &stays, e);
}
