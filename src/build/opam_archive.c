// SPDX-License-Identifier: Apache-2.0
/* A package of the workshop's switch into the store, and out of it again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam_workshop.h"
#include "store/store.h"

enum { LINK_TARGET_MAX = 4096, PACK_LEVEL = 1 };

/* "a/b/c": the folders of it. */
static int make_parents(int dir, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	auto_free char *parent = slash ? str_dup(str_of(path, (size_t)(slash - path))) : NULL;
	return parent ? fs_mkdirs(dir, parent, 0755, e) : 0;
}

/* A link of the same target; a file as a link to it where `share` is set, else a copy. What is no file or link is passed over. */
static int take_over(int from_dir, const char *from, int to_dir, const char *to, bool share, struct err *e)
{
	struct stat st;
	if (fstatat(from_dir, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "look at '%s'", to);
	if (S_ISDIR(st.st_mode))
		return fs_mkdirs(to_dir, to, 0755, e);
	if (make_parents(to_dir, to, e) < 0)
		return -1;
	if (S_ISLNK(st.st_mode)) {
		char target[LINK_TARGET_MAX + 1];
		ssize_t n = readlinkat(from_dir, from, target, LINK_TARGET_MAX);
		if (n < 0)
			return err_sys(e, "read link '%s'", to);
		target[n] = '\0';
		(void)sys_unlinkat(to_dir, to, 0); /* another package's, which it takes the place of */
		return sys_symlinkat(target, to_dir, to) < 0 ? err_sys(e, "link '%s'", to) : 0;
	}
	if (!S_ISREG(st.st_mode))
		return 0;
	if (share && sys_linkat(from_dir, from, to_dir, to, 0) == 0)
		return 0;
	auto_fd in = openat(from_dir, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (in < 0)
		return err_sys(e, "open '%s'", to);
	(void)sys_unlinkat(to_dir, to, 0);
	auto_fd out = sys_openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0100 ? 0755 : 0644);
	if (out < 0)
		return err_sys(e, "make '%s'", to);
	return fs_copy_bytes(out, in, (uint64_t)st.st_size, to, e);
}

/* == into the store ====================================================================================================== */

static int stage_files(struct workshop_switch *s, struct str name, int stage, struct arena *a, struct err *e)
{
	struct env_opam_changes c;
	if (env_opam_changes_read(s->sw, a, name, &c, e) < 0)
		return -1;
	for (size_t i = 0; i < c.n; i++) {
		const char *path = arena_strdup(a, c.v[i].path);
		if (c.v[i].kind == ENV_OPAM_REMOVED || !fs_path_is_inside(c.v[i].path) ||
		    !fs_exists(env_opam_prefix_fd(s->sw), path))
			continue;
		if (take_over(env_opam_prefix_fd(s->sw), path, stage, path, true, e) < 0)
			return -1;
	}
	return 0;
}

/* What the switch itself knows of the package. */
static int stage_records(struct workshop_switch *s, const struct build_made *p, int stage, struct arena *a,
			 struct err *e)
{
	int n = (int)p->package.name.n;
	const char *name = p->package.name.p;
	const char *const path[] = {
		arena_printf(a, "packages/%.*s.%.*s/opam", n, name, STR_ARG(p->package.version)),
		arena_printf(a, "install/%.*s.changes", n, name),
		arena_printf(a, "install/%.*s.install", n, name),
		arena_printf(a, "config/%.*s.config", n, name),
	};
	for (size_t i = 0; i < sizeof(path) / sizeof(*path); i++)
		if (fs_exists(env_opam_meta_fd(s->sw), path[i]) &&
		    take_over(env_opam_meta_fd(s->sw), path[i], stage, arena_printf(a, ".opam-switch/%s", path[i]),
			      false, e) < 0)
			return -1;
	return 0;
}

/* Its lines of the switch's environment, and where the prefix is. */
static int stage_environment(struct workshop_switch *s, struct str name, int stage, struct arena *a, struct err *e)
{
	struct env_opam_update *v, *mine;
	size_t n, count = 0;
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct str why = str_c(arena_printf(a, "Updated by package %.*s", STR_ARG(name)));
	if (env_opam_updates_compute(s->sw, a, &v, &n, e) < 0)
		return -1;
	mine = arena_array(a, struct env_opam_update, n);
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i].variable, STR("OPAM_SWITCH_PREFIX")) || str_eq(v[i].why, why))
			mine[count++] = v[i];
	env_opam_updates_print(mine, count, &b);
	const char *path = arena_printf(a, ".opam-switch/slipway/%.*s.environment", STR_ARG(name));
	return make_parents(stage, path, e) < 0 ? -1 : fs_replace(stage, path, b.p, b.n, 0, e);
}

static int pack(struct workshop_switch *s, struct store *store, struct build_made *p, struct arena *a, struct err *e)
{
	char build[SHA256_HEX_SIZE];
	struct pack_opts o = PACK_OPTS_INIT;
	struct pack_result r;
	hex_encode(p->key, SHA256_SIZE, build);
	o.staged = arena_printf(a, "%s/work/stage", s->w->dir);
	o.out_dir = arena_printf(a, "%s/work/out", s->w->dir);
	/* no name of opam's need be one of conda's: this one is for nobody to see */
	o.meta.name = STR("opam-package");
	o.meta.version = STR("0");
	o.meta.build = str_of(build, 16);
	o.meta.prefix = str_c(s->w->prefix);
	o.level = PACK_LEVEL;
	if (pack_conda(&o, a, &r, e) < 0 || store_add_file(store, AT_FDCWD, r.path, NULL, p->sha256, e) < 0 ||
	    store_unpack(store, p->sha256, STORE_CONDA, NULL, e) < 0)
		return -1;
	p->size = r.size;
	p->kept = true;
	return sys_unlinkat(AT_FDCWD, r.path, 0) < 0 ? err_sys(e, "remove '%s'", r.path) : 0;
}

int workshop_keep(struct workshop_switch *s, struct store *store, struct build_made *p, struct err *e)
{
	auto_arena a = ARENA_INIT;
	if (fs_remove_tree(s->work_fd, "stage", e) < 0)
		return -1;
	auto_fd stage = fs_open_dir_make(s->work_fd, "stage", e);
	return stage < 0 || stage_files(s, p->package.name, stage, &a, e) < 0 ||
			       stage_records(s, p, stage, &a, e) < 0 ||
			       stage_environment(s, p->package.name, stage, &a, e) < 0
		       ? -1
		       : pack(s, store, p, &a, e);
}

/* == out of it =========================================================================================================== */

struct laying {
	int to;
};
static int lay_one(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct laying *l = ctx;
	(void)st;
	if (str_starts(str_c(rel), STR("info/")) || strcmp(rel, "info") == 0 || strcmp(rel, ".slipway-tree") == 0)
		return 0;
	return take_over(dirfd, name, l->to, rel, false, e);
}

int workshop_lay(struct workshop_switch *s, struct store *store, const struct build_made *p, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct laying l = {env_opam_prefix_fd(s->sw)};
	struct env_opam_changes changes;
	struct pkg_opam_doc file;
	const char *nv = arena_printf(&a, "%.*s.%.*s", STR_ARG(p->package.name), STR_ARG(p->package.version));
	auto_fd tree = store_tree_open(store, p->sha256, e);
	if (tree < 0 || fs_walk(tree, ".", lay_one, &l, e) < 0 ||
	    env_opam_installed_file(s->sw, &a, str_c(nv), &file, e) < 0 ||
	    env_opam_changes_read(s->sw, &a, p->package.name, &changes, e) < 0)
		return -1;
	struct env_opam_package done = {
		.name = p->package.name, .version = p->package.version, .opam = file.text, .changes = &changes};
	return env_opam_added(s->sw, &done, e);
}
