// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: repositories and sources from where they lie: folders, tars, servers, git, channels that slipway keeps. */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/sys.h"
#include "cmd/opam_as.h"
#include "git/git.h"
#include "store/store.h"

enum { TAR_BYTES_MAX = 512 << 20, UNPACKED_BYTES_MAX = 2000000000, ENTRIES_MAX = 1 << 20, PATH_BYTES_MAX = 4096 };
#define SCRATCH ".slipway/fetch" /* in the root, whose repositories are held */

/* A name that `slipway channel add opam` keeps; what is a path means that. */
static struct str kept_url(struct opam_as *x, const char *said)
{
	struct cmd_channel *v;
	struct err ignored = ERR_INIT; /* where nothing is kept, no name is */
	size_t n;
	if (strchr(said, '/') || fs_exists(AT_FDCWD, said) || cmd_channels_of(x->c, true, &v, &n, &ignored) < 0)
		return STR_NONE;
	for (size_t i = 0; i < n; i++)
		if (str_eq_c(v[i].name, said))
			return v[i].url;
	return STR_NONE;
}

struct str opam_as_url(struct opam_as *x, const char *said)
{
	if (strstr(said, "://") || strncmp(said, "git+", 4) == 0)
		return str_c(said);
	struct str kept = kept_url(x, said);
	if (kept.n)
		return str_c(arena_printf(&x->c->arena, "%s%.*s", kept.p[0] == '/' ? "file://" : "", STR_ARG(kept)));
	auto_free char *real = realpath(said, NULL);
	auto_free char *cwd = real ? NULL : getcwd(NULL, 0);
	auto_free char *whole = real ? NULL
				     : xasprintf("%s%s%s", said[0] == '/' ? "" : cwd, said[0] == '/' ? "" : "/", said);
	auto_free char *git = xasprintf("%s/.git", real ? real : whole);
	return str_c(arena_printf(&x->c->arena, "%sfile://%s", real && fs_exists(AT_FDCWD, git) ? "git+" : "",
				  real ? real : whole));
}

/* The commit that a URL means now. */
static int resolve(const char *url, struct arena *a, struct git_commits *ret, struct err *e)
{
	struct str text = str_c(url), where, ref;
	uint8_t id[GIT_COMMIT_DIGITS / 2];
	str_take_str(&text, STR("git+"));
	git_split_url(text, &where, &ref);
	bool is_commit = ref.n == GIT_COMMIT_DIGITS && str_unhex(ref, id, sizeof(id));
	struct git_source *g = arena_new(a, struct git_source);
	*g = (struct git_source){.url = arena_strdup(a, where),
				 .ref = ref.n && !is_commit ? arena_strdup(a, ref) : NULL,
				 .commit = is_commit ? arena_strdup(a, ref) : NULL};
	return git_resolve(g, a, ret, e);
}

int opam_as_git_commit(struct opam_as *x, struct str url, struct buf *ret, struct err *e)
{
	struct git_commits commits;
	if (resolve(arena_strdup(&x->c->arena, url), &x->c->arena, &commits, e) < 0)
		return -1;
	buf_put_str(ret, commits.commit);
	return 0;
}

int opam_as_checkout(struct opam_as *x, const char *url, const char *dest, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct git_commits commits;
	const char *cache = arena_printf(&a, "%s/.slipway/git", env_opam_path(x->o));
	auto_fd log = open("/dev/null", O_WRONLY | O_CLOEXEC);
	return resolve(url, &a, &commits, e) < 0 || fs_mkdirs(AT_FDCWD, cache, 0755, e) < 0
		       ? -1
		       : git_checkout(&commits, cache, dest, log, e);
}

/* -- bytes -------------------------------------------------------------------------------------------------------------- */

static int fetch_bytes(struct opam_as *x, const char *url, int to, struct err *e)
{
	auto_buf b = BUF_INIT(TAR_BYTES_MAX);
	struct transfer_request r = {.url = url, .label = url};
	if (cmd_need_root(x->c, e) < 0 || cmd_need_cache(x->c, e) < 0 || cmd_fetch(x->c, &r, &b, e) < 0)
		return -1;
	if (b.overflow)
		return err_new(e, ERR_LIMIT, "'%s' has more than %d bytes", url, TAR_BYTES_MAX);
	if (fs_write_all(to, b.p, b.n, url, e) < 0)
		return -1;
	return lseek(to, 0, SEEK_SET) < 0 ? err_sys(e, "rewind '%s'", url) : 0;
}

int opam_as_open_archive(struct opam_as *x, struct str url, struct err *e)
{
	struct str path = url;
	if (str_take_str(&path, STR("file://"))) {
		int fd = open(arena_strdup(&x->c->arena, path), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		return fd < 0 ? err_sys(e, "open '%.*s'", STR_ARG(path)) : fd;
	}
	auto_fd fd = sys_openat(env_opam_fd(x->o), ".slipway", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "make a file in '%s'", env_opam_path(x->o));
	return fetch_bytes(x, arena_strdup(&x->c->arena, url), fd, e) < 0 ? -1 : steal_fd(&fd);
}

/* -- repositories ------------------------------------------------------------------------------------------------------- */

static int copy_from(struct opam_as *x, struct str name, int dir, const char *shown, struct err *e)
{
	if (!fs_exists(dir, "packages"))
		return err_new(e, ERR_INPUT, "'%s' is no repository: it has no folder 'packages'", shown);
	return env_opam_repo_copy(x->o, name, dir, e);
}

/* packages/ lies at the top of a tar, or in its only folder. */
static int copy_unpacked(struct opam_as *x, struct str name, int dir, const char *shown, struct err *e)
{
	auto_fs_list names = {0};
	if (fs_exists(dir, "packages"))
		return copy_from(x, name, dir, shown, e);
	if (fs_list(dir, ".", ENTRIES_MAX, &names, e) < 0)
		return -1;
	auto_fd only = names.n == 1 ? fs_open_dir(dir, names.name[0], e) : -1;
	if (names.n == 1 && only < 0)
		return -1;
	return copy_from(x, name, only < 0 ? dir : only, shown, e);
}

static int fetch_tar(struct opam_as *x, struct str name, struct str url, int scratch, struct err *e)
{
	const struct store_limits limits = {UNPACKED_BYTES_MAX, ENTRIES_MAX, PATH_BYTES_MAX};
	const char *shown = arena_strdup(&x->c->arena, url);
	auto_fd fd = opam_as_open_archive(x, url, e);
	return fd < 0 || store_unpack_into(scratch, fd, &limits, shown, e) < 0
		       ? -1
		       : copy_unpacked(x, name, scratch, shown, e);
}

static bool is_tar(struct str url)
{
	static const char *const endings[] = {".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"};
	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++)
		if (str_ends(url, str_c(endings[i])))
			return true;
	return false;
}

/* What is fetched in pieces comes into a folder of the root first. */
static int fetch_through(struct opam_as *x, struct str name, struct str url, struct err *e)
{
	const char *path = arena_printf(&x->c->arena, "%s/" SCRATCH, env_opam_path(x->o));
	struct err ignored = ERR_INIT;
	int rc;
	if (fs_remove_tree(env_opam_fd(x->o), SCRATCH, e) < 0 || fs_mkdirs(env_opam_fd(x->o), ".slipway", 0755, e) < 0)
		return -1;
	if (str_starts(url, STR("git"))) {
		rc = opam_as_checkout(x, arena_strdup(&x->c->arena, url), path, e);
		auto_fd dir = rc < 0 ? -1 : fs_open_dir(AT_FDCWD, path, e);
		rc = dir < 0 ? -1 : copy_from(x, name, dir, arena_strdup(&x->c->arena, url), e);
	} else {
		bool folder = !is_tar(url) && !str_starts(url, STR("file://"));
		while (folder && str_ends(url, STR("/")))
			url.n--;
		if (folder)
			url = str_c(arena_printf(&x->c->arena, "%.*s/index.tar.gz", STR_ARG(url)));
		auto_fd dir = fs_open_dir_make(env_opam_fd(x->o), SCRATCH, e);
		rc = dir < 0 ? -1 : fetch_tar(x, name, url, dir, e);
	}
	fs_remove_tree(env_opam_fd(x->o), SCRATCH, &ignored);
	return rc;
}

int opam_as_fetch_repo(struct opam_as *x, struct str name, struct str url, struct err *e)
{
	struct str rest = url;
	struct stat st;
	if (str_starts(url, STR("hg+")) || str_starts(url, STR("darcs+")) || str_starts(url, STR("rsync")))
		return err_new(e, ERR_UNSUPPORTED,
			       "'%.*s': folders, tars, servers and git are fetched from; bring it into one of these",
			       STR_ARG(url));
	/* what lies in a folder of git is taken as it stands there */
	if (str_starts(url, STR("git+file://")) && str_find(url, '#') < 0)
		str_take_str(&rest, STR("git+"));
	if (!str_take_str(&rest, STR("file://")))
		return fetch_through(x, name, url, e);
	const char *path = arena_strdup(&x->c->arena, rest);
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
		return fetch_through(x, name, url, e);
	auto_fd fd = fs_open_dir(AT_FDCWD, path, e);
	if (fd >= 0 && !fs_exists(fd, "packages") && fs_exists(fd, "index.tar.gz"))
		return fetch_through(x, name, str_c(arena_printf(&x->c->arena, "%.*s/index.tar.gz", STR_ARG(url))), e);
	return fd < 0 ? -1 : copy_from(x, name, fd, path, e);
}
