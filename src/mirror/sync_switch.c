// SPDX-License-Identifier: Apache-2.0
/*
 * What was staged becomes what clients see:
 *  1. Where it cannot be served as it is (a part of the channel, or metadata that lead elsewhere) it is made anew in served/.
 *  2. Everything is synced. Named metadata are linked into the tree, then, after another sync, the pointers. Those of rpm (repomd.xml and its
 *     signature) and of Debian (Release, its signature, InRelease, and indexes by their plain names) are good only together: their whole
 *     folder is made anew of links, and changes place with the one there is.
 *  3. staging/ becomes upstream/; pointers that there are no more go; table file says what is there.
 * Killed in between, the tree has pointers of before or of now, and what either names; the next sync begins with 1 again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/config.h"
#include "mirror/sync.h"

#define NEXT "next"

struct metadata {
	int from; /* folder that it is linked from */
	struct str path;
	enum channel_file what;
};
struct collect {
	const struct channel_kind *kind;
	struct arena *a;
	int from;
	int made; /* folder of what was made anew, while what it lacks is collected from another; -1 */
	VEC(struct metadata) v;
};

static bool is_hidden(const char *rel)
{
	return rel[0] == '.' || strstr(rel, "/.") != NULL;
}

static int collect_file(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct collect *c = ctx;
	(void)dirfd, (void)name, (void)e;
	if (!S_ISREG(st->st_mode) || is_hidden(rel))
		return 0;
	struct str path = arena_str(c->a, str_c(rel));
	enum channel_file what = channel_kind_file(c->kind, path);
	/* of what the kind does not know by its name, the metadata told all the same */
	if (what == CHANNEL_FILE_NONE)
		what = CHANNEL_FILE_NAMED;
	/* beside metadata that were made anew stays what they name as it came (pypi's .metadata) */
	if (c->made >= 0 && (what != CHANNEL_FILE_NAMED || fs_exists(c->made, rel)))
		return 0;
	vec_push(&c->v, ((struct metadata){c->from, path, what}));
	return 0;
}

/* -- what is served ------------------------------------------------------------------------------------------------ */

static int keep_wanted(void *ctx, const struct channel_item *it, struct err *e)
{
	const struct sync *s = ctx;
	(void)e;
	for (size_t i = 0; i < s->walk.names_n; i++)
		if (str_glob(s->walk.names[i], it->name))
			return 1;
	return s->walk.names_n == 0;
}

static int make_served(struct sync *s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct mirror_channel *c = s->p.c;
	const struct channel_signer signer = {c->sign_home.n ? c->sign_home.p : NULL, c->sign_key.p};
	const struct channel_make_opts o = {.signer = c->sign_key.n ? &signer : NULL,
					    .shards = c->shards,
					    .origin = c->origin,
					    .label = c->label,
					    .now_ms = s->clock->wall_ms(s->clock)};
	const char *tree = s->p.m->plain ? mirror_dir(s->p.m)
					 : arena_printf(&a, "%s/content/%.*s", mirror_dir(s->p.m), STR_ARG(c->name));
	const char *folder = arena_printf(&a, "%s/" WORK_FOLDER "/" SERVED, tree);
	return fs_remove_tree(s->p.work, SERVED, e) < 0 || fs_mkdirs(s->p.work, SERVED, 0755, e) < 0 ||
			       channel_kind_rewrite(c->kind, s->staging, &s->walk, folder, &o, keep_wanted, s, e) < 0
		       ? -1
		       : 0;
}

/* -- the switch ---------------------------------------------------------------------------------------------------- */

VEC_TYPE(folder_vec, struct str);

static bool is_in(struct str folder, struct str path)
{
	return path.n > folder.n && str_starts(path, folder) && path.p[folder.n] == '/';
}

static bool is_in_any(const struct folder_vec *folders, struct str path)
{
	vec_foreach(f, folders)
		if (is_in(*f, path))
			return true;
	return false;
}

/* The folder that a pointer lies in; empty: at the top, or it is none. */
static struct str pointer_folder(const struct metadata *x)
{
	ptrdiff_t slash = str_rfind(x->path, '/');
	return x->what != CHANNEL_FILE_POINTER || slash <= 0 ? STR_NONE : str_head(x->path, (size_t)slash);
}

/* Folders of pointers that are good only together, the outermost ones: repodata of rpm, dists/SUITE of Debian. */
static void pointer_folders(const struct collect *c, struct folder_vec *ret)
{
	if (channel_kind_signing(c->kind) == CHANNEL_SIGNING_NONE)
		return;
	vec_foreach(x, &c->v) {
		struct str folder = pointer_folder(x);
		bool inner = folder.n == 0;
		vec_foreach(y, &c->v)
			inner = inner || (pointer_folder(y).n && is_in(pointer_folder(y), folder));
		vec_foreach(f, ret)
			inner = inner || str_eq(*f, folder);
		if (!inner)
			vec_push(ret, folder);
	}
}

struct old_links {
	int now, next;
};
static int link_old(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	const struct old_links *l = ctx;
	(void)dirfd, (void)name;
	if (S_ISDIR(st->st_mode))
		return sys_mkdirat(l->next, rel, 0755) < 0 ? err_sys(e, "make folder '%s'", rel) : 0;
	if (!S_ISREG(st->st_mode))
		return 0;
	return sys_linkat(l->now, rel, l->next, rel, 0) < 0 ? err_sys(e, "link '%s'", rel) : 0;
}

/* NEXT as the folder is to be: what is there already, since whoever has the metadata of before asks for it, and over it what came. */
static int make_next(struct sync *s, const struct collect *c, struct str folder, struct err *e)
{
	auto_free char *path = str_dup(folder);
	if (fs_remove_tree(s->p.work, NEXT, e) < 0)
		return -1;
	auto_fd next = fs_open_dir_make(s->p.work, NEXT, e);
	auto_fd now = next < 0 ? -1 : fs_open_dir_make(s->p.tree, path, e);
	if (now < 0 || fs_walk(now, ".", link_old, &(struct old_links){now, next}, e) < 0)
		return -1;
	vec_foreach(x, &c->v)
		if (is_in(folder, x->path) && place_link(x->from, x->path.p, next, x->path.p + folder.n + 1, e) < 0)
			return -1;
	return sys_syncfs(next) < 0 ? err_sys(e, "sync '%s'", path) : 0;
}

/* 1: done. 0: this file system cannot do it at once. The folder of before stays until the next one: who reads it still finds its files. */
static int swap_folder(struct sync *s, const struct collect *c, struct str folder, struct err *e)
{
	auto_free char *path = str_dup(folder);
	if (make_next(s, c, folder, e) < 0)
		return -1;
	if (sys_renameat2(s->p.work, NEXT, s->p.tree, path, RENAME_EXCHANGE) < 0)
		return errno == EINVAL || errno == ENOSYS || errno == EXDEV ? 0 : err_sys(e, "put '%s' in place", path);
	return sys_syncfs(s->p.tree) < 0 ? err_sys(e, "sync the channel's folder") : 1;
}

static int link_all(struct sync *s, const struct collect *c, const struct folder_vec *apart, bool pointers,
		    struct err *e)
{
	vec_foreach(x, &c->v)
		if ((x->what == CHANNEL_FILE_POINTER) == pointers && !is_in_any(apart, x->path) &&
		    place_link(x->from, x->path.p, s->p.tree, x->path.p, e) < 0)
			return -1;
	return sys_syncfs(s->p.tree) < 0 ? err_sys(e, "sync the channel's folder") : 0;
}

/* 1, or 0 where some folder cannot change place at once. */
static int swap_folders(struct sync *s, const struct collect *c, const struct folder_vec *apart, struct err *e)
{
	int rc = 1;
	for (size_t i = 0; i < apart->n && rc > 0; i++)
		rc = swap_folder(s, c, apart->v[i], e);
	return rc;
}

static int put_in_place(struct sync *s, const struct collect *c, struct err *e)
{
	static const struct folder_vec none = {0};
	struct folder_vec apart = {0};
	pointer_folders(c, &apart);
	int rc = link_all(s, c, &apart, false, e) < 0 ? -1 : swap_folders(s, c, &apart, e);
	if (rc == 0)
		rc = link_all(s, c, &none, false, e);
	vec_release(&apart);
	return rc < 0 ? -1 : link_all(s, c, &none, true, e);
}

static int keep_staging(struct sync *s, struct err *e)
{
	if (fs_remove_tree(s->p.work, UPSTREAM ".old", e) < 0)
		return -1;
	if (sys_renameat(s->p.work, UPSTREAM, s->p.work, UPSTREAM ".old") < 0 && errno != ENOENT)
		return err_sys(e, "put the metadata of before away");
	if (sys_renameat(s->p.work, STAGING, s->p.work, UPSTREAM) < 0)
		return err_sys(e, "keep the metadata");
	return fs_remove_tree(s->p.work, UPSTREAM ".old", e);
}

/* -- what is told of it -------------------------------------------------------------------------------------------- */

static const char metadata_text[] =
	"INSERT INTO file (channel, path, what, size, kind, digest, told, first, time_ms, held, held_size, sha256, verified_ms)"
	" VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?6, 0, 1, ?4, ?5, ?7)"
	" ON CONFLICT (channel, path) DO UPDATE SET what = ?3, size = ?4, kind = 0, digest = ?5, told = ?6, held = 1,"
	" held_size = ?4, sha256 = ?5, verified_ms = ?7, gone_ms = 0, bad = ''";

static int tell_metadata(struct sync *s, const struct collect *c, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(s->p.db, metadata_text, &q, e) < 0)
		return -1;
	vec_foreach(x, &c->v) {
		struct stat st;
		uint8_t sha[SHA256_SIZE];
		auto_fd fd = openat(s->p.tree, x->path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0 || fstat(fd, &st) < 0)
			return err_sys(e, "open '%s'", x->path.p);
		if (sha256_fd(fd, sha, e) < 0)
			return -1;
		sql_bind_int(q, 1, s->p.id);
		sql_bind_str(q, 2, x->path);
		sql_bind_int(q, 3, x->what);
		sql_bind_int(q, 4, st.st_size);
		sql_bind_bytes(q, 5, sha, sizeof(sha));
		sql_bind_int(q, 6, s->walked);
		sql_bind_int(q, 7, s->clock->wall_ms(s->clock));
		if (sql_step(q, e) < 0)
			return -1;
		sql_reset(q);
	}
	return 0;
}

/* A pointer of before that there is no more would tell of before for ever. Other files stay for their grace. */
static int drop_old_pointers(struct sync *s, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	int rc;
	if (sql_prepare(s->p.db, "SELECT path FROM file WHERE channel = ?1 AND what = 1 AND told < ?2 AND held = 1", &q,
			e) < 0)
		return -1;
	sql_bind_int(q, 1, s->p.id);
	sql_bind_int(q, 2, s->walked);
	while ((rc = sql_step(q, e)) > 0) {
		auto_free char *path = str_dup(sql_view(q, 0));
		if (sys_unlinkat(s->p.tree, path, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s'", path);
	}
	return rc < 0 ? -1
		      : sql_run(s->p.db, e, "DELETE FROM file WHERE channel = ?1 AND what = 1 AND told < ?2", "ii",
				s->p.id, s->walked);
}

static int tell(struct sync *s, const struct collect *c, struct err *e)
{
	int64_t now = s->clock->wall_ms(s->clock);
	return tell_metadata(s, c, e) < 0 || drop_old_pointers(s, e) < 0 ||
			       sql_run(s->p.db, e,
				       "UPDATE file SET gone_ms = ?3 WHERE channel = ?1 AND told < ?2 AND gone_ms = 0",
				       "iii", s->p.id, s->walked, now) < 0 ||
			       sql_run(s->p.db, e, "UPDATE channel SET switched = ?2 WHERE id = ?1", "ii", s->p.id,
				       s->walked) < 0
		       ? -1
		       : 0;
}

static int switch_to(struct sync *s, int from, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct collect c = {.kind = s->p.c->kind, .a = &a, .from = from, .made = -1};
	int rc = fs_walk(from, ".", collect_file, &c, e);
	if (rc == 0 && from != s->staging) {
		c.made = from;
		c.from = s->staging;
		rc = fs_walk(s->staging, ".", collect_file, &c, e);
	}
	if (rc == 0 && sys_syncfs(s->p.tree) < 0)
		rc = err_sys(e, "sync the channel's folder");
	if (rc == 0)
		rc = put_in_place(s, &c, e) < 0 || keep_staging(s, e) < 0 ? -1 : 0;
	if (rc == 0)
		rc = sql_begin(s->p.db, e) < 0 ? -1 : sql_end(s->p.db, tell(s, &c, e), e);
	vec_release(&c.v);
	return rc;
}

int sync_switch(struct sync *s, struct err *e)
{
	bool anew = s->walk.names_n > 0 || s->leads_away;
	if (anew && make_served(s, e) < 0)
		return -1;
	auto_fd served = anew ? fs_open_dir(s->p.work, SERVED, e) : -1;
	if (anew && served < 0)
		return -1;
	if (sync_signed_carry(s, anew, e) < 0 || switch_to(s, anew ? served : s->staging, e) < 0 ||
	    sync_signed_switch(s, anew, e) < 0)
		return -1;
	s->res->switched = true;
	struct err ignored = ERR_INIT;
	(void)fs_remove_tree(s->p.work, SERVED, &ignored);
	return 0;
}
