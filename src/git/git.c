// SPDX-License-Identifier: Apache-2.0
#include "git/git.h"

#include <fcntl.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "base/sys.h"
#include "git/cache.h"
#include "git/run.h"
#include "git/words.h"

enum {
	ANSWER_MAX = 16 << 20,
	LOCK_MS = 24 * 3600 * 1000,
	PACKS_MAX = 40,
	STALE_S = 3600,
	ENTRIES_MAX = 100000,
};

/* -- which commits ------------------------------------------------------------------------------------------------- */

static int ask(const struct git_commits *c, bool ref, bool onto, struct buf *listed, struct err *e)
{
	auto_git g = {.file = git_is_file(c->url)};
	git_init(&g);
	const char *words[8] = {"ls-remote", "--", arena_strdup(&g.arena, c->url)};
	size_t n = 3;
	if (ref)
		words[n++] = c->ref.n ? arena_strdup(&g.arena, c->ref) : "HEAD";
	if (ref && c->ref.n)
		words[n++] = arena_printf(&g.arena, "%.*s^{}", STR_ARG(c->ref));
	if (onto)
		words[n++] = arena_strdup(&g.arena, c->onto);
	int rc = git_ask_afar(&g, words, c->url, listed, e);
	if (rc == 0 && listed->overflow)
		return err_new(e, ERR_LIMIT, "git URL '%.*s': the list of references is too long", STR_ARG(c->url));
	if (rc == 0 && git_lists_sha256(buf_str(listed)))
		return git_refuse_sha256(c->url, e);
	return rc == 0 ? 0 : err_ctx(e, "ask '%.*s'", STR_ARG(c->url));
}

static int take_commit(const char *text, const char *what, struct arena *a, struct str *ret, struct err *e)
{
	if (!text)
		return 0;
	char *id = arena_strdup(a, str_head(str_c(text), GIT_URL_MAX));
	for (char *p = id; *p; p++)
		if (*p >= 'A' && *p <= 'F')
			*p = (char)(*p - 'A' + 'a');
	if (git_is_sha256(str_c(id)))
		return git_refuse_sha256(arena_str(a, str_c(id)), e);
	if (!git_is_commit(str_c(id)))
		return err_new(e, ERR_USAGE, "%s '%s' is no commit of git: those have %d hexadecimal digits", what, id,
			       GIT_COMMIT_DIGITS);
	*ret = str_c(id);
	return 0;
}

static int take_source(const struct git_source *s, struct arena *a, struct git_commits *ret, struct err *e)
{
	*ret = (struct git_commits){.url = arena_str(a, str_c(s->url)),
				    .ref = STR(""),
				    .onto = STR(""),
				    .commit = STR(""),
				    .base = STR("")};
	if (git_check_url(ret->url, e) < 0 || take_commit(s->commit, "commit", a, &ret->commit, e) < 0 ||
	    take_commit(s->base, "base", a, &ret->base, e) < 0)
		return -1;
	if (s->ref && !s->commit && git_is_commit(str_c(s->ref)))
		ret->commit = arena_str(a, str_c(s->ref));
	else if (s->ref)
		ret->ref = arena_str(a, str_c(s->ref));
	if (s->onto && !s->base && git_is_commit(str_c(s->onto)))
		ret->base = arena_str(a, str_c(s->onto));
	else if (s->onto)
		ret->onto = arena_str(a, str_c(s->onto));
	if ((ret->ref.n && git_check_ref(ret->ref, e) < 0) || (ret->onto.n && git_check_ref(ret->onto, e) < 0))
		return -1;
	return 0;
}

int git_resolve(const struct git_source *s, struct arena *a, struct git_commits *ret, struct err *e)
{
	struct git_commits c;
	if (take_source(s, a, &c, e) < 0)
		return -1;
	bool ref = !c.commit.n, onto = c.onto.n && !c.base.n;
	auto_buf listed = BUF_INIT(ANSWER_MAX);
	if ((ref || onto) && ask(&c, ref, onto, &listed, e) < 0)
		return -1;
	struct str name = c.ref.n ? c.ref : STR("HEAD");
	if (ref && !git_find_ref(buf_str(&listed), name, a, &c.commit))
		return err_new(e, ERR_NOT_FOUND, "'%.*s' has no '%.*s'", STR_ARG(c.url), STR_ARG(name));
	if (onto && !git_find_ref(buf_str(&listed), c.onto, a, &c.base))
		return err_new(e, ERR_NOT_FOUND, "'%.*s' has no '%.*s'", STR_ARG(c.url), STR_ARG(c.onto));
	c.commit = arena_str(a, c.commit); /* the list goes */
	c.base = c.base.n ? arena_str(a, c.base) : STR("");
	*ret = c;
	return 0;
}

/* -- the cache ----------------------------------------------------------------------------------------------------- */

struct cache {
	const struct git_commits *c;
	const char *dir;  /* of all */
	const char *path; /* of this URL */
	const char *lock;
	int use; /* held, so that it is not removed; -1 */
	int log_fd;
	struct git git;
};

static void cache_release(struct cache *k)
{
	cleanup_fd(&k->use);
	git_release(&k->git);
}

static void cache_init(struct cache *k)
{
	struct arena *a = &k->git.arena;
	k->path = arena_printf(a, "%s/%s", k->dir, git_cache_name(k->c->url, a));
	k->lock = arena_printf(a, "%s.lock", k->path);
	k->git.dir = k->path;
	k->git.file = git_is_file(k->c->url);
	git_init(&k->git);
}

/* 1 both commits are there, 0 not. */
static int cache_has(const struct cache *k, struct err *e)
{
	if (!fs_exists(AT_FDCWD, k->path))
		return 0;
	auto_buf ids = BUF_INIT(256);
	auto_buf answer = BUF_INIT(4096);
	buf_printf(&ids, "%.*s^{commit}\n", STR_ARG(k->c->commit));
	if (k->c->base.n)
		buf_printf(&ids, "%.*s^{commit}\n", STR_ARG(k->c->base));
	int rc = git_ask(&k->git, GIT_WORDS("cat-file", "--batch-check"), buf_str(&ids), &answer, e);
	if (rc != 0)
		return rc < 0 ? -1 : err_ctx(e, "look into the copy '%s' (removing it helps)", k->path);
	struct str left = buf_str(&answer), line;
	while (str_take_line(&left, &line))
		if (str_search(line, STR(" commit ")) < 0)
			return 0;
	return 1;
}

static void say(const struct cache *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct cache *k, const char *fmt, ...)
{
	if (k->log_fd < 0)
		return;
	auto_buf b = BUF_INIT(8192);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	struct err ignored = ERR_INIT;
	fs_write_all(k->log_fd, b.p, b.n, "the log", &ignored);
}

/* Made aside, so that what has the name is whole. */
static int cache_make(struct cache *k, struct err *e)
{
	if (fs_exists(AT_FDCWD, k->path))
		return 0;
	const char *aside = arena_printf(&k->git.arena, "%s.new", k->path);
	struct git g = k->git;
	g.dir = NULL;
	int rc = fs_remove_tree(AT_FDCWD, aside, e);
	rc = rc ? rc : git_run(&g, GIT_WORDS("init", "-q", "--bare", "--template=", "--", aside), k->log_fd, e);
	if (rc != 0)
		return rc < 0 ? -1 : err_new(e, ERR_FAILED, "git cannot make '%s'; its words are above", aside);
	if (sys_renameat(AT_FDCWD, aside, AT_FDCWD, k->path) < 0)
		return err_sys(e, "rename '%s'", aside);
	return 0;
}

/* Locks and half packs of a git that was killed: nobody fetches now. What is younger than an hour may be of one that outlived who held
 * our lock. */
static int remove_stale(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)ctx;
	(void)rel;
	(void)e;
	struct str s = str_c(name);
	if (!S_ISREG(st->st_mode) || !(str_ends(s, STR(".lock")) || str_starts(s, STR("tmp_"))))
		return 0;
	if (clock_wall_ms() / 1000 - st->st_mtim.tv_sec > STALE_S)
		sys_unlinkat(dirfd, name, 0);
	return 0;
}

/* One try; what git says is shown where it must work. 0 done, 1 the server does not have it. */
static int fetch(const struct cache *k, const char *const *refspecs, bool must, struct err *e)
{
	const char *words[GIT_WORDS_MAX] = {"fetch",
					    "--progress",
					    "--no-tags",
					    "--no-recurse-submodules",
					    "--no-auto-maintenance",
					    "--force",
					    "--",
					    arena_strdup((struct arena *)&k->git.arena, k->c->url)};
	size_t n = 8;
	for (size_t i = 0; refspecs[i]; i++)
		words[n++] = refspecs[i];
	int rc = git_run_afar(&k->git, words, k->c->url, must ? k->log_fd : -1, e);
	if (rc > 0 && must)
		return err_new(e, ERR_NETWORK, "git cannot fetch from '%.*s'; its words are above", STR_ARG(k->c->url));
	return rc;
}

/* Where a reference is kept: by digest, as a name may be a folder of another one's. */
static const char *refspec_of(struct cache *k, struct str ref)
{
	uint8_t digest[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	sha256(ref.p, ref.n, digest);
	hex_encode(digest, SHA256_SIZE, hex);
	return arena_printf(&k->git.arena, "%.*s:refs/slipway/%.32s", STR_ARG(ref), hex);
}

/* What was asked for by name, then the commits themselves (not every server gives them), then all branches and tags. */
static int fetch_all(struct cache *k, struct err *e)
{
	const struct git_commits *c = k->c;
	const char *named[3] = {0};
	size_t n = 0;
	if (c->ref.n)
		named[n++] = refspec_of(k, c->ref);
	if (c->onto.n)
		named[n++] = refspec_of(k, c->onto);
	if (n > 0 && fetch(k, named, true, e) < 0)
		return -1;
	int has = cache_has(k, e);
	if (has != 0)
		return has < 0 ? -1 : 0;
	const char *commits[3] = {refspec_of(k, c->commit), c->base.n ? refspec_of(k, c->base) : NULL};
	if (fetch(k, commits, false, e) < 0 || (has = cache_has(k, e)) < 0)
		return -1;
	if (has)
		return 0;
	if (fetch(k, GIT_WORDS("refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*"), true, e) < 0 ||
	    (has = cache_has(k, e)) < 0)
		return -1;
	if (!has)
		return err_new(e, ERR_NOT_FOUND, "'%.*s' has no commit '%.*s'%s%.*s", STR_ARG(c->url),
			       STR_ARG(c->commit), c->base.n ? ", or not " : "", STR_ARG(c->base));
	return 0;
}

/* Each fetch leaves a pack, and git looks into each: many become one. What nothing names any more is kept. */
static int join_packs(struct cache *k, struct err *e)
{
	auto_fs_list packs = {0};
	if (fs_list(AT_FDCWD, arena_printf(&k->git.arena, "%s/objects/pack", k->path), ENTRIES_MAX, &packs, e) < 0)
		return -1;
	size_t n = 0;
	for (size_t i = 0; i < packs.n; i++)
		n += str_ends(str_c(packs.name[i]), STR(".pack"));
	if (n <= PACKS_MAX)
		return 0;
	int rc = git_run(&k->git, GIT_WORDS("repack", "-q", "-a", "-d", "-k"), k->log_fd, e);
	return rc < 0 ? -1 : 0;
}

static int cache_fill(struct cache *k, struct err *e)
{
	if (fs_mkdirs(AT_FDCWD, k->dir, 0755, e) < 0 || (k->use = git_cache_use(k->path, k->c->url, e)) < 0)
		return -1;
	int has = cache_has(k, e);
	if (has < 0)
		return -1;
	if (has) {
		say(k, "All commits already cached\n");
		return 0;
	}
	auto_fd lock = fs_lock(AT_FDCWD, k->lock, LOCK_MS, e);
	if (lock < 0 || cache_make(k, e) < 0)
		return -1;
	if ((has = cache_has(k, e)) != 0) { /* another one was faster */
		say(k, has > 0 ? "All commits already cached\n" : "");
		return has < 0 ? -1 : 0;
	}
	say(k, "Fetching %.*s%s%.*s\n", STR_ARG(k->c->url), k->c->ref.n ? "#" : "", STR_ARG(k->c->ref));
	if (fs_walk(AT_FDCWD, k->path, remove_stale, NULL, e) < 0 || fetch_all(k, e) < 0)
		return -1;
	return join_packs(k, e);
}

/* -- the tree ------------------------------------------------------------------------------------------------------ */

static int must(const struct git *g, const char *const *words, int log_fd, const char *what, struct err *e)
{
	int rc = git_run(g, words, log_fd, e);
	if (rc > 0)
		return err_new(e, ERR_FAILED, "%s: git's words are above (exit status %d)", what, rc);
	return rc;
}

static int remove_dot_git(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)ctx;
	(void)rel;
	(void)st;
	return str_eq_c(str_c(name), ".git") ? fs_remove_tree(dirfd, name, e) : 0;
}

static int submodules(struct git *g, struct str url, const char *dest, int log_fd, struct err *e)
{
	if (!fs_exists(AT_FDCWD, arena_printf(&g->arena, "%s/.gitmodules", dest)))
		return 0;
	int rc = git_run_afar(g, GIT_WORDS("submodule", "update", "--init", "--recursive", "--progress"), url, log_fd,
			      e);
	if (rc != 0)
		return rc > 0 ? err_new(e, ERR_FAILED, "fetch the submodules: git's words are above (exit status %d)",
					rc)
			      : err_ctx(e, "fetch the submodules");
	/* theirs are files that name folders in ours */
	if (fs_remove_tree(AT_FDCWD, arena_printf(&g->arena, "%s/.git", dest), e) < 0)
		return -1;
	return fs_walk(AT_FDCWD, dest, remove_dot_git, NULL, e);
}

/* The base first, the commit merged into it: as it would be if it was accepted now. */
static int make_tree(const struct git_commits *c, struct git *g, const char *dest, int log_fd, struct err *e)
{
	struct arena *a = &g->arena;
	const char *first = arena_strdup(a, c->base.n ? c->base : c->commit), *second = arena_strdup(a, c->commit);
	if (must(g, GIT_WORDS("init", "-q", "--template=", "--initial-branch=build"), log_fd, "make a working tree",
		 e) < 0 ||
	    must(g, GIT_WORDS("reset", "--hard", first), log_fd, "check out", e) < 0)
		return -1;
	if (c->base.n && must(g, GIT_WORDS("merge", "--no-edit", "--stat", second), log_fd,
			      arena_printf(a, "merge '%s' into '%s'", second, first), e) < 0)
		return -1;
	if (submodules(g, c->url, dest, log_fd, e) < 0)
		return -1;
	return fs_remove_tree(AT_FDCWD, arena_printf(a, "%s/.git", dest), e);
}

int git_checkout(const struct git_commits *c, const char *cache_dir, const char *dest, int log_fd, struct err *e)
{
	cleanup_with(cache_release) struct cache k = {.c = c, .dir = cache_dir, .use = -1, .log_fd = log_fd};
	cache_init(&k);
	if (cache_fill(&k, e) < 0)
		return err_ctx(e, "source '%.*s'", STR_ARG(c->url));
	auto_free char *objects = xasprintf("%s/objects", k.path);
	auto_free char *whole = realpath(objects, NULL);
	if (!whole)
		return err_sys(e, "find '%s'", objects);
	if (strpbrk(whole, "\"\\\n"))
		return err_new(e, ERR_UNSUPPORTED,
			       "git cannot borrow objects from '%s', whose name has quotation marks", whole);
	if (sys_mkdirat(AT_FDCWD, dest, 0755) < 0)
		return err_sys(e, "make folder '%s'", dest);
	auto_git g = {.dir = dest, .alternates = whole, .file = git_is_file(c->url)};
	git_init(&g);
	if (make_tree(c, &g, dest, log_fd, e) < 0) {
		struct err ignored = ERR_INIT;
		fs_remove_tree(AT_FDCWD, dest, &ignored);
		return err_ctx(e, "source '%.*s'", STR_ARG(c->url));
	}
	return 0;
}
