// SPDX-License-Identifier: Apache-2.0
/*
 * opam repositories: `repo` and index.tar.gz, which holds all opam files, and a cache of archives by their digests, as clients ask
 * for them where `repo` has archive-mirrors.
 */
#include <stdlib.h>

#include "base/fs.h"
#include "base/map.h"
#include "channel/needs.h"
#include "channel/opam.h"

/* -- paths --------------------------------------------------------------------------------------------------------- */

/* KIND/AB/ABCD… */
static bool read_cached(struct str path, struct digest_value *ret)
{
	static const struct {
		const char *name;
		enum digest_kind kind;
	} kinds[] = {{"md5/", DIGEST_MD5}, {"sha256/", DIGEST_SHA256}, {"sha512/", DIGEST_SHA512}};
	for (size_t i = 0; i < 3; i++) {
		struct str rest = path, two;
		if (!str_take_str(&rest, str_c(kinds[i].name)))
			continue;
		return str_take_until(&rest, '/', &two) && two.n == 2 && str_starts(rest, two) &&
		       digest_parse(kinds[i].kind, rest, ret);
	}
	return false;
}

static enum channel_file opam_file_of(struct str path)
{
	struct digest_value ignored;
	static const char *const pointers[] = {"repo", "version", "index.tar.gz", "urls.txt"};
	for (size_t i = 0; i < sizeof(pointers) / sizeof(*pointers); i++)
		if (str_eq_c(path, pointers[i]))
			return CHANNEL_FILE_POINTER;
	if (str_take_str(&path, STR("cache/")))
		return read_cached(path, &ignored) ? CHANNEL_FILE_PACKAGE : CHANNEL_FILE_NONE;
	if (str_take_str(&path, STR("archives/")))
		return str_ends(path, STR("+opam.tar.gz")) ? CHANNEL_FILE_PACKAGE : CHANNEL_FILE_NONE;
	return str_starts(path, STR("packages/")) ? CHANNEL_FILE_NAMED : CHANNEL_FILE_NONE;
}

static bool opam_path_digest(struct str path, struct digest_value *ret)
{
	return str_take_str(&path, STR("cache/")) && read_cached(path, ret);
}

static const char *opam_type(struct str path)
{
	return str_eq(path, STR("repo")) || str_ends(path, STR("/opam")) ? "text/plain; charset=utf-8" : NULL;
}

/* -- walk ---------------------------------------------------------------------------------------------------------- */

struct walk {
	struct channel_walk base;
	int dir;
	const struct channel_walk_opts *o;
	enum { W_BEGIN, W_INDEX, W_END } stage;
};

static int walk_new(int folder_fd, const struct channel_walk_opts *o, struct channel_walk **ret, struct err *e)
{
	(void)e;
	struct walk *w = xcalloc(1, sizeof(*w));
	w->dir = folder_fd;
	w->o = o;
	*ret = &w->base;
	return 0;
}

static void walk_free(struct channel_walk *base)
{
	free(base);
}

static bool is_fetched(struct str url)
{
	bool good = str_starts(url, STR("https://")) || str_starts(url, STR("http://"));
	for (size_t i = 0; good && i < url.n; i++)
		good = (unsigned char)url.p[i] > ' ' && url.p[i] != 0x7f;
	return good && url.n <= 4000;
}

bool opam_item(struct arena *a, const struct opam_package *p, const struct opam_source *s, struct channel_item *ret)
{
	const struct digest_value *best = opam_best(s);
	if (!best || !is_fetched(s->src))
		return false;
	*ret = (struct channel_item){
		.path = opam_cache_path(a, best),
		.url = s->src,
		.digest = *best,
		.what = CHANNEL_FILE_PACKAGE,
		.name = p->name,
		.version = p->version,
	};
	return true;
}

/* Clients ask by the first checksum that the opam file lists, others by the strongest: every one is a name of the archive. */
int opam_tell_source(const struct opam_package *p, const struct opam_source *s, bool in_cache, struct arena *a,
		     struct map *told, channel_item_fn *fn, void *ctx, struct err *e)
{
	struct channel_item item, copy;
	if (!opam_item(a, p, s, &item))
		return 0;
	if (in_cache) /* the upstream has it at the same place, as clients are told there */
		item.url = STR_NONE;
	if (!(*map_put(told, item.path))++ && fn(ctx, &item, e) < 0)
		return -1;
	for (size_t i = 0; i < s->checksums; i++) {
		copy = item;
		copy.path = opam_cache_path(a, &s->checksum[i]);
		copy.digest = s->checksum[i];
		copy.copy_of = item.path;
		if (!(*map_put(told, copy.path))++ && fn(ctx, &copy, e) < 0)
			return -1;
	}
	return 0;
}

/* `repo` of an index says whether there is a cache beside it. */
static int tell_all(const struct opam_repo *r, const struct channel_walk_opts *o, bool *has_cache, channel_item_fn *fn,
		    void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_map told = MAP_INIT;
	struct opam_file f;
	if (opam_file_read(&a, r->repo, "repo", &f, e) < 0)
		return -1;
	*has_cache = f.has_mirrors;
	for (size_t i = 0; i < r->n; i++) {
		const struct opam_package *p = &r->package[i];
		if (!walk_wants_name(o, p->name))
			continue;
		/* one package that nobody can read does not take the others from anybody */
		struct err ignored = ERR_INIT;
		if (opam_file_read(&a, p->opam->text, p->opam->path.p, &f, &ignored) < 0)
			continue;
		for (size_t k = 0; k < f.sources; k++)
			if (opam_tell_source(p, &f.source[k], *has_cache, &a, &told, fn, ctx, e) < 0)
				return -1;
	}
	return 0;
}

static int tell_archives(struct walk *w, channel_item_fn *fn, void *ctx, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct opam_repo r;
	bool has_cache = false;
	int rc = opam_repo_load(w->dir, &a, &r, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_NOT_FOUND, "'index.tar.gz' is not there");
	if (tell_all(&r, w->o, &has_cache, fn, ctx, e) < 0)
		return -1;
	w->base.leads_away = !has_cache;
	return 0;
}

/* -- what a proxy serves ------------------------------------------------------------------------------------------- */

/* Where clients are not told of a cache, they would go to where each archive comes from. */
static int make_index(const struct channel_came *c, struct opam_repo *r, struct arena *a, struct err *e)
{
	auto_buf out = BUF_INIT(OPAM_INDEX_MAX);
	r->repo = opam_repo_with_mirrors(a, r->repo, e);
	if (!r->repo.p || opam_repo_pack(r, &out, e) < 0)
		return -1;
	return fs_replace(c->made, "index.tar.gz", out.p, out.n, 0, e) < 0 ? -1 : 1;
}

static int make_repo(const struct channel_came *c, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(OPAM_FILE_MAX);
	if (fs_read(c->folder, "repo", &b, e) < 0)
		return -1;
	struct str repo = opam_repo_with_mirrors(&a, buf_str(&b), e);
	return !repo.p ? -1 : repo.p == b.p ? 0 : fs_replace(c->made, "repo", repo.p, repo.n, 0, e) < 0 ? -1 : 1;
}

static int opam_learn(const struct channel_came *c, struct str path, channel_item_fn *fn, void *ctx, struct err *e)
{
	static const struct channel_walk_opts all = {0};
	auto_arena a = ARENA_INIT;
	struct opam_repo r;
	bool has_cache = false;
	if (str_eq(path, STR("repo")))
		return make_repo(c, e);
	if (!str_eq(path, STR("index.tar.gz")))
		return 0;
	if (opam_repo_load(c->folder, &a, &r, e) < 0 || tell_all(&r, &all, &has_cache, fn, ctx, e) < 0)
		return -1;
	return has_cache ? 0 : make_index(c, &r, &a, e);
}

static int walk_next(struct channel_walk *base, channel_item_fn *fn, void *ctx, struct err *e)
{
	static const struct channel_item repo = {.path = {"repo", 4}, .what = CHANNEL_FILE_POINTER, .optional = true};
	static const struct channel_item index = {.path = {"index.tar.gz", 12}, .what = CHANNEL_FILE_POINTER};
	struct walk *w = (struct walk *)base;
	switch (w->stage) {
	case W_BEGIN:
		w->stage = W_INDEX;
		return fn(ctx, &repo, e) < 0 || fn(ctx, &index, e) < 0 ? -1 : 1;
	case W_INDEX:
		w->stage = W_END;
		return tell_archives(w, fn, ctx, e) < 0 ? -1 : 1;
	case W_END:
		break;
	}
	return 0;
}

const struct channel_kind kind_opam = {
	.name = "opam",
	.marks = "index.tar.gz packages/*/*/opam",
	.packages = "opam",
	.file = opam_file_of,
	.type = opam_type,
	.walk_new = walk_new,
	.walk_next = walk_next,
	.walk_free = walk_free,
	.path_digest = opam_path_digest,
	.learn = opam_learn,
	.publish = opam_publish,
	.rewrite = opam_rewrite,
	.remove = opam_remove,
	.needs = &opam_needs,
};
