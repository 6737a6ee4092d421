// SPDX-License-Identifier: Apache-2.0
/*
 * Called as `opam`: what the repositories in use have, through an index of each that is mapped (channel.h section 9) and kept in ROOT/.slipway.
 * What is indexed is the root's own copy, as the last update left it: repo/NAME.tar.gz, or opam's repo/NAME; where there is neither, the
 * folder that it comes from.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/stream.h"
#include "base/tar.h"
#include "cmd/opam_as.h"

enum { TAR_BYTES_MAX = 1 << 30, EXTRA_BYTES_MAX = 64 << 20 };

/* -- opening ------------------------------------------------------------------------------------------------------------ */

void opam_as_close_repos(struct opam_as *x)
{
	for (size_t i = 0; i < x->repos_n; i++)
		opam_index_free(x->repos[i].index);
	x->repos = NULL;
	x->repos_n = 0;
	x->repos_open = false;
}

int opam_as_repos_in_use(struct opam_as *x, struct pkg_opam_strs *ret, struct err *e)
{
	struct env_opam_config c;
	struct pkg_opam_doc d = {0};
	VEC(struct str) list = {0};
	if (env_opam_config_read(x->o, &x->c->arena, &c, e) < 0 ||
	    (x->s && env_opam_switch_config(x->s, &x->c->arena, &d, e) < 0))
		return -1;
	const struct pkg_opam_value *own = pkg_opam_get(&d, "repositories");
	*ret = c.repositories;
	if (!own)
		return 0;
	for (const struct pkg_opam_value *v = pkg_opam_first(own); v; v = v->next)
		if (pkg_opam_text(v).n)
			vec_push(&list, pkg_opam_text(v));
	*ret = (struct pkg_opam_strs){vec_copy(&list, &x->c->arena), list.n};
	vec_release(&list);
	return 0;
}

/* Where its packages are read from; false: it has not been fetched, and lies in no folder. */
static bool place(struct opam_as *x, struct opam_as_repo *r)
{
	struct arena *a = &x->c->arena;
	struct str url = r->url;
	const char *root = env_opam_path(x->o);
	const char *tar = arena_printf(a, "repo/%.*s.tar.gz", STR_ARG(r->name));
	const char *folder = arena_printf(a, "repo/%.*s", STR_ARG(r->name));
	if (fs_exists(env_opam_fd(x->o), tar))
		r->tar = arena_printf(a, "%s/%s", root, tar);
	else if (fs_exists(env_opam_fd(x->o), arena_printf(a, "%s/packages", folder)))
		r->dir = arena_printf(a, "%s/%s", root, folder);
	else if (str_take_str(&url, STR("file://")) || str_starts(url, STR("/")))
		r->dir = arena_strdup(a, url);
	return r->tar || r->dir;
}

static int open_one(struct opam_as *x, struct channel_cache *cache, struct opam_as_repo *r, struct err *e)
{
	struct channel_config config = {.alias = STR_NONE};
	struct channel ch;
	if (!place(x, r))
		return err_new(e, ERR_NOT_FOUND, "repository '%.*s' has not been fetched; 'opam update' does that",
			       STR_ARG(r->name));
	if (channel_parse(&x->c->arena, str_c(r->tar ? r->tar : r->dir), &config, &ch, e) < 0 ||
	    channel_opam_open(cache, &ch, 0, &r->index, e) < 0)
		return err_ctx(e, "repository '%.*s'", STR_ARG(r->name));
	return 0;
}

/* Pins to sources come before all repositories. */
static int open_pins(struct opam_as *x, struct channel_cache *cache, struct err *e)
{
	struct opam_as_repo *r = &x->repos[x->repos_n];
	struct channel_config config = {.alias = STR_NONE};
	struct channel ch;
	*r = (struct opam_as_repo){.dir = x->s ? opam_as_pins_folder(x, e) : NULL};
	if (!r->dir)
		return e->code == ERR_NONE ? 0 : -1;
	if (channel_parse(&x->c->arena, str_c(r->dir), &config, &ch, e) < 0 ||
	    channel_opam_open(cache, &ch, 0, &r->index, e) < 0)
		return err_ctx(e, "pins of the switch");
	x->repos_n++;
	return 0;
}

static const struct env_opam_repo *find_repo(const struct env_opam_repo *v, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(v[i].name, name))
			return &v[i];
	return NULL;
}

int opam_as_open_repos(struct opam_as *x, struct err *e)
{
	struct pkg_opam_strs names;
	struct env_opam_repo *all;
	struct channel_cache cache;
	size_t n;
	if (x->repos_open)
		return 0;
	if (opam_as_repos_in_use(x, &names, e) < 0 || env_opam_repos(x->o, &x->c->arena, &all, &n, e) < 0 ||
	    cmd_need_root(x->c, e) < 0 || cmd_need_cache(x->c, e) < 0)
		return -1;
	auto_fd own = fs_open_dir_make(env_opam_fd(x->o), ".slipway", e);
	if (own < 0)
		return -1;
	cache = x->c->cache;
	cache.root_fd = own;
	x->repos = arena_array(&x->c->arena, struct opam_as_repo, names.n + 1);
	x->repos_n = 0;
	x->repos_open = true;
	if (open_pins(x, &cache, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		const struct env_opam_repo *r = find_repo(all, n, names.v[i]);
		struct opam_as_repo *to = &x->repos[x->repos_n];
		*to = (struct opam_as_repo){.name = names.v[i], .url = r ? r->url : STR_NONE};
		if (!r || (!place(x, to) && !r->url.n))
			continue; /* nothing of it is there, and nothing says where it would come from */
		if (open_one(x, &cache, to, e) < 0)
			return -1;
		x->repos_n++;
	}
	return 0;
}

int opam_as_check_repos(const struct opam_as *x, struct err *e)
{
	for (size_t i = 0; i < x->repos_n; i++)
		if (opam_index_check(x->repos[i].index, e) < 0)
			return -1;
	return 0;
}

/* -- looking ------------------------------------------------------------------------------------------------------------- */

static int found_cmp(const void *a, const void *b)
{
	struct str x = ((const struct opam_as_found *)a)->version, y = ((const struct opam_as_found *)b)->version;
	int c = pkg_opam_version_cmp(x, y);
	return c ? c : str_cmp(x, y);
}

VEC_TYPE(found_vec, struct opam_as_found);

static int add_version(struct opam_as *x, const struct opam_as_repo *r, struct oi_pkg p, struct found_vec *v,
		       struct err *e)
{
	struct arena *a = &x->c->arena;
	struct opam_index_pkg about = opam_index_pkg(r->index, p);
	struct str text;
	vec_foreach(f, v) /* an earlier repository's comes first */
		if (str_eq(f->version, about.version))
			return 0;
	if (opam_index_text(r->index, p, a, &text, e) < 0)
		return -1;
	const char *where = arena_printf(a, "%.*s/%.*s/opam", STR_ARG(about.folder), STR_ARG(about.key));
	vec_push(v, ((struct opam_as_found){about.version, r->name, text, str_c(where)}));
	return 0;
}

int opam_as_versions(struct opam_as *x, struct str name, struct opam_as_found **ret, size_t *ret_n, struct err *e)
{
	struct found_vec v = {0};
	int rc = opam_as_open_repos(x, e);
	for (size_t i = 0; rc == 0 && i < x->repos_n; i++) {
		struct oi_name id;
		struct oi_pkg first = {0};
		uint32_t n = opam_index_find_name(x->repos[i].index, name, &id)
				     ? opam_index_packages(x->repos[i].index, id, &first)
				     : 0;
		for (uint32_t k = 0; k < n && rc == 0; k++)
			rc = add_version(x, &x->repos[i], (struct oi_pkg){first.n + k}, &v, e);
	}
	rc = rc == 0 ? opam_as_check_repos(x, e) : rc;
	vec_sort(&v, found_cmp);
	*ret = vec_copy(&v, &x->c->arena);
	*ret_n = v.n;
	vec_release(&v);
	return rc;
}

static int nv_cmp(const void *a, const void *b)
{
	struct str an, av, bn, bv;
	(void)env_opam_split(*(const struct str *)a, &an, &av);
	(void)env_opam_split(*(const struct str *)b, &bn, &bv);
	int c = str_casecmp(an, bn);
	c = c ? c : str_cmp(an, bn);
	c = c ? c : pkg_opam_version_cmp(bv, av);
	return c ? c : str_cmp(bv, av);
}

int opam_as_names(struct opam_as *x, struct str **ret, size_t *ret_n, struct err *e)
{
	VEC(struct str) v = {0};
	size_t kept = 0;
	struct str last = STR_NONE, name, version;
	int rc = opam_as_open_repos(x, e);
	for (size_t i = 0; rc == 0 && i < x->repos_n; i++) {
		uint32_t n = opam_index_info(x->repos[i].index).packages;
		for (uint32_t p = 0; p < n; p++) {
			struct str key = opam_index_pkg(x->repos[i].index, (struct oi_pkg){p}).key;
			if (env_opam_split(key, &name, &version))
				vec_push(&v, key);
		}
	}
	vec_sort(&v, nv_cmp);
	for (size_t i = 0; i < v.n; i++) {
		(void)env_opam_split(v.v[i], &name, &version);
		if (!str_eq(name, last))
			v.v[kept++] = v.v[i];
		last = name;
	}
	*ret = arena_copy(&x->c->arena, v.v, kept, sizeof(**ret));
	*ret_n = kept;
	vec_release(&v);
	return rc == 0 ? opam_as_check_repos(x, e) : -1;
}

bool opam_as_find(struct opam_as *x, struct str name, struct str version, const struct opam_as_repo **ret,
		  struct oi_pkg *ret_p)
{
	for (size_t i = 0; i < x->repos_n; i++)
		if (opam_index_find(x->repos[i].index, name, version, ret_p)) {
			*ret = &x->repos[i];
			return true;
		}
	return false;
}

/* -- files beside opam files ---------------------------------------------------------------------------------------------- */

/* "NAME/packages/…/PKG.VERSION/files/PATH": true. */
static bool is_extra(struct str path, struct str *ret_nv, struct str *ret_file)
{
	ptrdiff_t packages = str_search(path, STR("packages/")), at = str_search(path, STR("/files/"));
	if (packages < 0 || at < packages || (packages > 0 && path.p[packages - 1] != '/'))
		return false;
	struct str dir = str_head(path, (size_t)at);
	*ret_nv = str_skip(dir, (size_t)(str_rfind(dir, '/') + 1));
	*ret_file = str_skip(path, (size_t)at + 7);
	return fs_path_is_inside(*ret_file);
}

static int lay_extra(struct tar_reader *r, const struct tar_entry *en, int to, const char *path, struct err *e)
{
	if (en->size > EXTRA_BYTES_MAX)
		return err_new(e, ERR_LIMIT, "'%s' is too large", tar_shown(en->path).s);
	auto_free char *text = xmalloc(en->size + 1);
	size_t at = 0;
	ssize_t n;
	while (at < en->size && (n = tar_read(r, text + at, en->size - at, e)) != 0) {
		if (n < 0)
			return -1;
		at += (size_t)n;
	}
	auto_free char *folder = str_dup(str_head(str_c(path), (size_t)(strrchr(path, '/') - path)));
	return fs_mkdirs(to, folder, 0755, e) < 0
		       ? -1
		       : fs_replace(to, path, text, at, en->mode & 0100 ? FS_REPLACE_EXEC : 0, e);
}

int opam_as_extra_files(struct opam_as *x, const struct opam_as_repo *repo, const struct map *wanted, int to,
			struct err *e)
{
	struct tar_entry en;
	struct str nv, file;
	int rc = 1;
	auto_fd fd = open(repo->tar, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open '%s'", repo->tar);
	struct istream *s = istream_limit(istream_gz(istream_fd(fd, repo->tar)), TAR_BYTES_MAX);
	auto_ptr(tar_reader) r = tar_reader_new(s, repo->tar);
	while (rc > 0 && (rc = tar_next(r, &en, e)) > 0)
		if (en.kind == TAR_FILE && is_extra(en.path, &nv, &file) && map_get(wanted, nv)) {
			const char *path = arena_printf(&x->c->arena, "%.*s/%.*s", STR_ARG(nv), STR_ARG(file));
			rc = lay_extra(r, &en, to, path, e) < 0 ? -1 : 1;
		}
	istream_free(s);
	return rc;
}
