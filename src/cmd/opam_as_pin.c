// SPDX-License-Identifier: Apache-2.0
/*
 * Called as `opam`: pins, to a version that a repository has, or to sources. What a package is by its sources lies where opam has it:
 * .opam-switch/overlay/NAME/opam, with the URL of the sources in it. .opam-switch/slipway-pins is a repository of these.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "cmd/opam_as.h"
#include "cmd/opam_source.h"
#include "store/store.h"

enum { NAMES_MAX = 10000, HEAD_MAX = 4096, TARGET_MAX = 4096 };
#define SCRATCH ".slipway/pin" /* in the root */
#define PINS "slipway-pins"    /* in .opam-switch */

struct pin_args {
	const char *kind;
	bool shorter, no_action, all, dev_repo, edit;
	bool no_extra; /* pin-depends is not looked at */
};

/* -- what is pinned ------------------------------------------------------------------------------------------------------- */

/* The overlay of a name: 1; 0: there is none. */
static int read_overlay(struct opam_as *x, struct str name, struct pkg_opam_doc *ret, struct err *e)
{
	auto_buf b = BUF_INIT(PKG_OPAM_FILE_MAX);
	const char *path = arena_printf(&x->c->arena, "overlay/%.*s/opam", STR_ARG(name));
	struct err mine = ERR_INIT;
	if (fs_read(env_opam_meta_fd(x->s), path, &b, &mine) < 0) {
		if (mine.code == ERR_NOT_FOUND)
			return 0;
		*e = mine;
		return -1;
	}
	const char *where = arena_printf(&x->c->arena, "%s/.opam-switch/%s", env_opam_prefix(x->s), path);
	return pkg_opam_read(&x->c->arena, arena_str(&x->c->arena, buf_str(&b)), where, ret, e) < 0 ? -1 : 1;
}

static struct str url_of(const struct pkg_opam_doc *d)
{
	const struct pkg_opam_item *url = pkg_opam_section(d, "url", NULL);
	struct str src = url ? pkg_opam_text(pkg_opam_get_in(url, "src")) : STR_NONE;
	return url && !src.n ? pkg_opam_text(pkg_opam_get_in(url, "archive")) : src;
}

struct str opam_as_pin_url(struct opam_as *x, struct str name)
{
	struct pkg_opam_doc d;
	struct err ignored = ERR_INIT;
	return read_overlay(x, name, &d, &ignored) > 0 ? url_of(&d) : STR_NONE;
}

/* opam's words for kinds of sources. */
static const char *kind_of(struct str url)
{
	struct stat st;
	struct str path = url;
	if (!url.n)
		return "version";
	if (str_starts(url, STR("git")))
		return "git";
	if (str_take_str(&path, STR("file://"))) {
		auto_free char *p = str_dup(path);
		return stat(p, &st) == 0 && S_ISREG(st.st_mode) ? "http" : "rsync";
	}
	return "http";
}

static int list_pins(struct opam_as *x, const struct pin_args *a)
{
	struct opam_as_table t = {.columns = 4, .sep = "  "};
	struct env_opam_state st;
	struct err e = ERR_INIT;
	int code = opam_as_switch(x);
	if (code != OPAM_OK)
		return code;
	if (env_opam_state_read(x->s, &x->c->arena, &st, &e) < 0)
		return opam_as_fail(x, &e);
	for (size_t i = 0; i < st.pinned.n; i++) {
		struct str name, version;
		(void)env_opam_split(st.pinned.v[i], &name, &version);
		struct str there = env_opam_version_in(&st.installed, name), url = opam_as_pin_url(x, name);
		if (a->shorter) {
			opam_as_put(x, "%.*s\n", STR_ARG(name));
			continue;
		}
		opam_as_cell(&t, "%.*s", STR_ARG(st.pinned.v[i]));
		opam_as_cell(&t, "%s", !there.n ? "(uninstalled)" : str_eq(there, version) ? "" : "(not in sync)");
		opam_as_cell(&t, "%s", kind_of(url));
		if (!url.n && there.n && !str_eq(there, version))
			opam_as_cell(&t, "%.*s (installed:%.*s)", STR_ARG(version), STR_ARG(there));
		else
			opam_as_cell(&t, "%.*s", url.n ? (int)url.n : (int)version.n, url.n ? url.p : version.p);
	}
	opam_as_table(x, &t);
	return OPAM_OK;
}

/* -- whether sources have changed -------------------------------------------------------------------------------------------- */

struct sum {
	struct digest *d;
};

/* What git and builds keep there does not count. */
static bool is_made(const char *rel)
{
	static const char *const folders[] = {".git", "_build", "_opam"};
	size_t n = strcspn(rel, "/");
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		if (strlen(folders[i]) == n && memcmp(rel, folders[i], n) == 0)
			return true;
	return false;
}

static int add_file(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct sum *s = ctx;
	uint8_t hash[SHA256_SIZE] = {0};
	char line[64];
	if (is_made(rel) || S_ISDIR(st->st_mode))
		return 0;
	if (S_ISREG(st->st_mode)) {
		auto_fd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0 || sha256_fd(fd, hash, e) < 0)
			return fd < 0 ? err_sys(e, "open '%s'", rel) : -1;
	}
	if (S_ISLNK(st->st_mode)) {
		char target[TARGET_MAX];
		ssize_t n = readlinkat(dirfd, name, target, sizeof(target));
		if (n < 0)
			return err_sys(e, "read link '%s'", rel);
		sha256(target, (size_t)n, hash);
	}
	digest_update(s->d, rel, strlen(rel) + 1);
	digest_update(s->d, line, (size_t)snprintf(line, sizeof(line), "%o", st->st_mode & (S_IFMT | 0100)));
	digest_update(s->d, hash, sizeof(hash));
	return 0;
}

/* False: there is nothing to compare. */
static bool source_sum(struct opam_as *x, struct str name, char out[SHA256_HEX_SIZE])
{
	struct str url = opam_as_pin_url(x, name), path = url;
	struct err ignored = ERR_INIT;
	uint8_t got[DIGEST_MAX];
	(void)str_take_str(&path, STR("git+"));
	ptrdiff_t ref = str_find(path, '#');
	if (ref >= 0)
		path = str_head(path, (size_t)ref);
	if (!str_take_str(&path, STR("file://")))
		return false;
	auto_fd dir = fs_open_dir(AT_FDCWD, arena_strdup(&x->c->arena, path), &ignored);
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	struct sum s = {d};
	if (dir < 0)
		return false;
	if (str_starts(url, STR("git+"))) { /* what is committed */
		auto_buf b = BUF_INIT(HEAD_MAX);
		if (opam_as_git_commit(x, url, &b, &ignored) < 0)
			return false;
		digest_update(d, b.p, b.n);
	} else if (fs_walk(dir, ".", add_file, &s, &ignored) < 0) {
		return false;
	}
	digest_final(d, got);
	hex_encode(got, SHA256_SIZE, out);
	return true;
}

#define SUMS "slipway-sources"

bool opam_as_pin_changed(struct opam_as *x, struct str name)
{
	char now[SHA256_HEX_SIZE];
	auto_buf then = BUF_INIT(HEAD_MAX);
	struct err ignored = ERR_INIT;
	const char *path = arena_printf(&x->c->arena, SUMS "/%.*s", STR_ARG(name));
	return source_sum(x, name, now) && fs_read(env_opam_meta_fd(x->s), path, &then, &ignored) == 0 &&
	       !str_eq_c(buf_str(&then), now);
}

void opam_as_pin_installed(struct opam_as *x, struct str name)
{
	char now[SHA256_HEX_SIZE];
	struct err ignored = ERR_INIT; /* then it counts as unchanged */
	int meta = env_opam_meta_fd(x->s);
	const char *path = arena_printf(&x->c->arena, SUMS "/%.*s", STR_ARG(name));
	if (source_sum(x, name, now) && fs_mkdirs(meta, SUMS, 0755, &ignored) == 0)
		fs_replace(meta, path, now, strlen(now), 0, &ignored);
	else
		(void)sys_unlinkat(meta, path, 0);
}

/* -- as a repository ------------------------------------------------------------------------------------------------------- */

static int lay_pin(struct opam_as *x, int to, struct str nv, struct err *e)
{
	auto_buf b = BUF_INIT(PKG_OPAM_FILE_MAX), old = BUF_INIT(PKG_OPAM_FILE_MAX);
	struct str name, version;
	struct err ignored = ERR_INIT;
	struct arena *a = &x->c->arena;
	(void)env_opam_split(nv, &name, &version);
	if (fs_read(env_opam_meta_fd(x->s), arena_printf(a, "overlay/%.*s/opam", STR_ARG(name)), &b, e) < 0)
		return -1;
	const char *dir = arena_printf(a, "packages/%.*s/%.*s", STR_ARG(name), STR_ARG(nv));
	const char *path = arena_printf(a, "%s/opam", dir);
	if (fs_read(to, path, &old, &ignored) == 0 && str_eq(buf_str(&old), buf_str(&b)))
		return 0;
	return fs_mkdirs(to, dir, 0755, e) < 0 ? -1 : fs_replace(to, path, b.p, b.n, 0, e);
}

/* What is there and is pinned no more. */
static int sweep(struct opam_as *x, int to, const struct pkg_opam_strs *pinned, struct err *e)
{
	auto_fs_list names = {0};
	if (fs_list(to, "packages", NAMES_MAX, &names, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		struct str version = env_opam_version_in(pinned, str_c(names.name[i]));
		auto_fs_list versions = {0};
		const char *dir = arena_printf(&x->c->arena, "packages/%s", names.name[i]);
		if (fs_list(to, dir, NAMES_MAX, &versions, e) < 0)
			return -1;
		for (size_t k = 0; k < versions.n; k++) {
			const char *nv = arena_printf(&x->c->arena, "%s.%.*s", names.name[i], STR_ARG(version));
			bool stays = version.n && strcmp(nv, versions.name[k]) == 0 &&
				     opam_as_pin_url(x, str_c(names.name[i])).n;
			if (!stays &&
			    fs_remove_tree(to, arena_printf(&x->c->arena, "%s/%s", dir, versions.name[k]), e) < 0)
				return -1;
		}
	}
	return 0;
}

const char *opam_as_pins_folder(struct opam_as *x, struct err *e)
{
	struct env_opam_state st;
	int meta = env_opam_meta_fd(x->s);
	bool any = false;
	if (env_opam_state_read(x->s, &x->c->arena, &st, e) < 0)
		return NULL;
	for (size_t i = 0; i < st.pinned.n; i++) {
		struct str name, version;
		any = any || (env_opam_split(st.pinned.v[i], &name, &version) && opam_as_pin_url(x, name).n);
	}
	if (!any) {
		fs_remove_tree(meta, PINS, e);
		return NULL;
	}
	auto_fd to = fs_open_dir_make(meta, PINS, e);
	if (to < 0 || fs_mkdirs(to, "packages", 0755, e) < 0)
		return NULL;
	for (size_t i = 0; i < st.pinned.n; i++) {
		struct str name, version;
		if (env_opam_split(st.pinned.v[i], &name, &version) && opam_as_pin_url(x, name).n &&
		    lay_pin(x, to, st.pinned.v[i], e) < 0)
			return NULL;
	}
	return sweep(x, to, &st.pinned, e) < 0
		       ? NULL
		       : arena_printf(&x->c->arena, "%s/.opam-switch/" PINS, env_opam_prefix(x->s));
}

/* -- to a version ------------------------------------------------------------------------------------------------------------- */

/* What a pin means for what is installed. */
static int install(struct opam_as *x, const struct pin_args *a, struct str nv)
{
	char *argv[] = {arena_strdup(&x->c->arena, nv), NULL};
	if (a->no_action)
		return OPAM_OK;
	opam_as_close_repos(x);
	opam_as_put(x, "\n");
	return opam_as_install(x, 1, argv);
}

static int forget_overlay(struct opam_as *x, struct str name, struct err *e)
{
	int meta = env_opam_meta_fd(x->s);
	return fs_remove_tree(meta, arena_printf(&x->c->arena, "overlay/%.*s", STR_ARG(name)), e) < 0
		       ? -1
		       : fs_remove_tree(meta, arena_printf(&x->c->arena, "sources/%.*s", STR_ARG(name)), e);
}

/* "x 1.0" and "x.1.0 1.0" are the same request. */
static int pin_version(struct opam_as *x, const struct pin_args *a, struct str name, struct str version)
{
	struct opam_as_found *v;
	struct err e = ERR_INIT;
	struct str before, n1, v1;
	size_t n, i = 0;
	const char *nv = arena_printf(&x->c->arena, "%.*s.%.*s", STR_ARG(name), STR_ARG(version));
	if (!env_opam_split(str_c(nv), &n1, &v1) || !str_eq(n1, name))
		return opam_as_say(x, OPAM_USAGE, "opam pin add -k version wants a package and a version");
	int code = opam_as_hold_switch(x);
	if (code != OPAM_OK)
		return code;
	struct str source = opam_as_pin_url(x, name);
	if (opam_as_versions(x, name, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	while (i < n && !str_eq(v[i].version, version))
		i++;
	if (i == n)
		return opam_as_say(x, OPAM_NOT_FOUND, "Package %.*s has no known version %.*s in the repositories",
				   STR_ARG(name), STR_ARG(version));
	int rc = env_opam_pin(x->s, &x->c->arena, name, version, NULL, &before, &e);
	if (rc < 0 || forget_overlay(x, name, &e) < 0)
		return opam_as_fail(x, &e);
	if (rc == 0 && !source.n)
		opam_as_note(x, "NOTE", "Pinning unchanged");
	else if (before.n)
		opam_as_note(x, "NOTE", "Package %.*s used to be pinned to %s%.*s", STR_ARG(name),
			     source.n ? "" : "version ", source.n ? (int)source.n : (int)before.n,
			     source.n ? source.p : before.p);
	opam_as_put(x, "%.*s is now pinned to version %.*s\n", STR_ARG(name), STR_ARG(version));
	return install(x, a, str_c(nv));
}

/* -- to sources ----------------------------------------------------------------------------------------------------------------- */

/* "git+file:///x": with the branch that its folder stands on, as opam writes it down. */
static struct str with_branch(struct opam_as *x, struct str url)
{
	auto_buf head = BUF_INIT(HEAD_MAX);
	struct str path = url, ref;
	struct err ignored = ERR_INIT;
	if (!str_take_str(&path, STR("git+file://")) || str_find(url, '#') >= 0 ||
	    fs_read(AT_FDCWD, arena_printf(&x->c->arena, "%.*s/.git/HEAD", STR_ARG(path)), &head, &ignored) < 0)
		return url;
	ref = str_trim(buf_str(&head));
	return str_take_str(&ref, STR("ref: refs/heads/"))
		       ? str_c(arena_printf(&x->c->arena, "%.*s#%.*s", STR_ARG(url), STR_ARG(ref)))
		       : url;
}

/* A folder with the sources of a URL. */
static int open_source(struct opam_as *x, struct str url, struct err *e)
{
	struct str path = url;
	struct stat st;
	const char *scratch = arena_printf(&x->c->arena, "%s/" SCRATCH, env_opam_path(x->o));
	if (str_take_str(&path, STR("file://"))) {
		const char *p = arena_strdup(&x->c->arena, path);
		if (stat(p, &st) < 0)
			return err_sys(e, "open '%s'", p);
		if (S_ISDIR(st.st_mode))
			return fs_open_dir(AT_FDCWD, p, e);
	}
	if (fs_remove_tree(env_opam_fd(x->o), SCRATCH, e) < 0 || fs_mkdirs(env_opam_fd(x->o), ".slipway", 0755, e) < 0)
		return -1;
	if (str_starts(url, STR("git")))
		return opam_as_checkout(x, arena_strdup(&x->c->arena, url), scratch, e) < 0
			       ? -1
			       : fs_open_dir(AT_FDCWD, scratch, e);
	auto_fd archive = opam_as_open_archive(x, url, e);
	auto_fd dir = archive < 0 ? -1 : fs_open_dir_make(AT_FDCWD, scratch, e);
	auto_fs_list names = {0};
	if (dir < 0 || store_unpack_into(dir, archive, NULL, arena_strdup(&x->c->arena, url), e) < 0 ||
	    fs_list(dir, ".", NAMES_MAX, &names, e) < 0)
		return -1;
	if (names.n == 1 && fstatat(dir, names.name[0], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return fs_open_dir(dir, names.name[0], e);
	return steal_fd(&dir);
}

/* Said by a person, the sources, or as the newest that repositories have; else "~dev". */
static int choose_version(struct opam_as *x, struct opam_definition *d, struct str said, bool *ret_new, struct err *e)
{
	struct opam_as_found *v;
	size_t n;
	if (opam_as_versions(x, d->name, &v, &n, e) < 0)
		return -1;
	*ret_new = n == 0;
	if (said.n)
		d->version = said;
	else if (!d->version.n)
		d->version = n ? v[n - 1].version : STR("~dev");
	return 0;
}

static int write_pin(struct opam_as *x, const struct opam_definition *d, struct str url, struct err *e)
{
	auto_buf b = BUF_INIT(PKG_OPAM_FILE_MAX);
	struct arena *a = &x->c->arena;
	struct pkg_opam_doc again;
	struct pkg_opam package;
	struct str before;
	opam_definition_print(a, d, url, &b);
	if (pkg_opam_read(a, arena_str(a, buf_str(&b)), d->doc.where, &again, e) < 0 ||
	    pkg_opam_package(a, &again, &package, e) < 0)
		return err_ctx(e, "package definition of '%.*s'", STR_ARG(d->name));
	struct str was = opam_as_pin_url(x, d->name);
	if (env_opam_pin(x->s, a, d->name, d->version, &b, &before, e) < 0)
		return -1;
	if (before.n && str_eq(was, url))
		opam_as_note(x, "NOTE", "Package %.*s is already pinned to %.*s (version %.*s).", STR_ARG(d->name),
			     STR_ARG(url), STR_ARG(before));
	else if (before.n && was.n)
		opam_as_note(x, "NOTE", "Package %.*s is currently pinned to %.*s (version %.*s).", STR_ARG(d->name),
			     STR_ARG(was), STR_ARG(before));
	else if (before.n)
		opam_as_note(x, "NOTE", "Package %.*s is currently pinned locally (version %.*s).", STR_ARG(d->name),
			     STR_ARG(before));
	opam_as_put(x, "%.*s is now pinned to %.*s (version %.*s)\n", STR_ARG(d->name), STR_ARG(url),
		    STR_ARG(d->version));
	return 0;
}

static int pin_source(struct opam_as *x, const struct pin_args *a, struct str name, struct str version, struct str url);

/* A definition's field pin-depends: what is not pinned like that yet. */
static int find_extra(struct opam_as *x, struct opam_definition *d, struct pkg_opam_pin **ret, size_t *ret_n,
		      struct err *e)
{
	struct pkg_opam package;
	struct env_opam_state st;
	struct arena *a = &x->c->arena;
	if (pkg_opam_package(a, &d->doc, &package, e) < 0)
		return err_ctx(e, "package definition of '%.*s'", STR_ARG(d->name));
	if (env_opam_state_read(x->s, a, &st, e) < 0)
		return -1;
	*ret = arena_array(a, struct pkg_opam_pin, package.pins + 1);
	*ret_n = 0;
	for (size_t i = 0; i < package.pins; i++) {
		struct pkg_opam_pin k = package.pin[i];
		k.url = opam_as_url(x, arena_strdup(a, k.url));
		if (!str_eq(env_opam_version_in(&st.pinned, k.name), k.version) ||
		    !str_eq(opam_as_pin_url(x, k.name), k.url))
			(*ret)[(*ret_n)++] = k;
	}
	return 0;
}

/* As in opam, what is pinned so is asked for nothing more in turn. */
static int pin_extra(struct opam_as *x, struct opam_definition *d)
{
	static const struct pin_args alone = {.no_action = true, .no_extra = true};
	struct err e = ERR_INIT;
	struct pkg_opam_pin *v;
	size_t n;
	int code = OPAM_OK;
	if (find_extra(x, d, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	if (n == 0)
		return OPAM_OK;
	opam_as_put(x, "The following additional pinnings are required by %.*s.%.*s:\n", STR_ARG(d->name),
		    STR_ARG(d->version));
	for (size_t i = 0; i < n; i++)
		opam_as_put(x, "  - %.*s.%.*s at %.*s\n", STR_ARG(v[i].name), STR_ARG(v[i].version), STR_ARG(v[i].url));
	if (!opam_as_confirm(x, true, "Pin and install them?"))
		return opam_as_confirm(x, true, "Try to install anyway, assuming `--ignore-pin-depends'?")
			       ? OPAM_OK
			       : OPAM_ABORTED;
	for (size_t i = 0; i < n && code == OPAM_OK; i++)
		code = pin_source(x, &alone, v[i].name, v[i].version, v[i].url);
	if (code != OPAM_OK)
		opam_as_note(x, "NOTE", "%.*s is not pinned; with --ignore-pin-depends it is, without them.",
			     STR_ARG(d->name));
	return code;
}

/* What would be pinned with them, whose definitions are not known before. */
static int tell_extra(struct opam_as *x, struct opam_definition *v, size_t n)
{
	size_t told = 0;
	for (size_t i = 0; i < n; i++) {
		struct err e = ERR_INIT;
		struct pkg_opam_pin *extra;
		size_t extra_n;
		if (find_extra(x, &v[i], &extra, &extra_n, &e) < 0)
			return opam_as_fail(x, &e);
		for (size_t k = 0; k < extra_n; k++)
			opam_as_put(x, "%s  - %.*s.%.*s to %.*s\n", told++ ? "" : "Would pin the following:\n",
				    STR_ARG(extra[k].name), STR_ARG(extra[k].version), STR_ARG(extra[k].url));
	}
	if (told) {
		opam_as_note(x, "NOTE",
			     "The following may not reflect the above pinnings (their package definitions are not "
			     "available at this stage)");
		opam_as_put(x, "\n");
	}
	return OPAM_OK;
}

static int pin_definitions(struct opam_as *x, const struct pin_args *a, struct opam_definitions *v, struct str said,
			   struct str url)
{
	struct err e = ERR_INIT;
	char **names = arena_array(&x->c->arena, char *, v->n + 1);
	int n = 0;
	vec_foreach(d, v) {
		bool is_new = false;
		if (choose_version(x, d, said, &is_new, &e) < 0)
			return opam_as_fail(x, &e);
		if (is_new && !opam_as_confirm(x, true, "Package %.*s does not exist, create as a NEW package?",
					       STR_ARG(d->name)))
			return OPAM_ABORTED;
		int code = a->no_extra || opam_as_ignores_pin_depends(x) ? OPAM_OK : pin_extra(x, d);
		if (code != OPAM_OK)
			return code;
		if (write_pin(x, d, url, &e) < 0)
			return opam_as_fail(x, &e);
		names[n++] = arena_strdup(&x->c->arena, d->name);
	}
	if (a->no_action)
		return OPAM_OK;
	opam_as_close_repos(x);
	opam_as_put(x, "\n");
	return opam_as_install(x, n, names);
}

static bool is_kind(const struct pin_args *a, const char *kind)
{
	return a->kind && strcmp(a->kind, kind) == 0;
}

static struct str source_url(struct opam_as *x, const struct pin_args *a, const char *said)
{
	struct str url = opam_as_url(x, said), bare = url;
	if ((is_kind(a, "path") || is_kind(a, "local") || is_kind(a, "rsync")) && str_take_str(&bare, STR("git+")))
		return bare;
	if (is_kind(a, "git") && !str_starts(url, STR("git")))
		url = str_c(arena_printf(&x->c->arena, "git+%.*s", STR_ARG(url)));
	return with_branch(x, url);
}

int opam_as_pin_all(struct opam_as *x, const char *source, bool simulate, struct opam_definitions *v)
{
	struct err e = ERR_INIT, ignored = ERR_INIT;
	const struct pin_args a = {.no_action = true, .kind = "auto"};
	struct str name = STR_NONE, said = str_c(source);
	size_t first = v->n;
	ptrdiff_t slash = str_rfind(said, '/');
	int code = opam_as_hold_switch(x);
	if (code != OPAM_OK)
		return code;
	if (str_ends(said, STR(".opam")) && slash >= 0) { /* one of a folder's */
		name = str_skip(said, (size_t)slash + 1);
		name.n -= 5;
		source = slash ? arena_strdup(&x->c->arena, str_head(said, (size_t)slash)) : "/";
	}
	struct str url = source_url(x, &a, source), path = url;
	(void)str_take_str(&path, STR("git+"));
	if (str_take_str(&path, STR("file://")) &&
	    !fs_exists(AT_FDCWD,
		       arena_strdup(&x->c->arena,
				    str_head(path, str_find(path, '#') < 0 ? path.n : (size_t)str_find(path, '#')))))
		return opam_as_usage(x,
				     arena_printf(&x->c->arena,
						  "PACKAGES… arguments: Not a valid package specification or existing\n"
						  "      file or directory: %s",
						  source));
	auto_fd dir = open_source(x, url, &e);
	int rc = dir < 0 ? -1 : opam_definitions_of(&x->c->arena, dir, name, v, &e);
	fs_remove_tree(env_opam_fd(x->o), SCRATCH, &ignored);
	if (rc < 0)
		return opam_as_fail(x, &e);
	if (v->n == first)
		opam_as_note(x, "WARNING", "No package definitions found at %.*s", STR_ARG(path));
	struct opam_definitions todo = {0};
	for (size_t i = first; i < v->n && code == OPAM_OK; i++) {
		bool is_new;
		if (choose_version(x, &v->v[i], STR_NONE, &is_new, &e) < 0)
			code = opam_as_fail(x, &e);
		else if (!simulate && !str_eq(opam_as_pin_url(x, v->v[i].name), url))
			vec_push(&todo, v->v[i]);
	}
	if (simulate && code == OPAM_OK && !opam_as_ignores_pin_depends(x))
		code = tell_extra(x, v->v + first, v->n - first);
	if (todo.n && code == OPAM_OK)
		code = pin_definitions(x, &a, &todo, STR_NONE, url);
	vec_release(&todo);
	if (!simulate)
		opam_as_close_repos(x);
	return code;
}

static int pin_source(struct opam_as *x, const struct pin_args *a, struct str name, struct str version, struct str url)
{
	struct opam_definitions v = {0};
	struct err e = ERR_INIT, ignored = ERR_INIT;
	int code = opam_as_hold_switch(x);
	if (code != OPAM_OK)
		return code;
	auto_fd dir = open_source(x, url, &e);
	int rc = dir < 0 ? -1 : opam_definitions_of(&x->c->arena, dir, name, &v, &e);
	fs_remove_tree(env_opam_fd(x->o), SCRATCH, &ignored);
	if (rc < 0)
		code = opam_as_fail(x, &e);
	else if (v.n == 0)
		code = opam_as_say(x, OPAM_NOT_FOUND,
				   name.n ? "No valid package definition found for '%.*s' in %.*s"
					  : "No package definition found%.*s in %.*s",
				   STR_ARG(name), STR_ARG(url));
	else
		code = pin_definitions(x, a, &v, version, url);
	vec_release(&v);
	return code;
}

/* -- the command ------------------------------------------------------------------------------------------------------------------ */

/* A folder, file or URL, and no version. */
static bool is_source(const struct pin_args *a, const char *s)
{
	if (a->kind)
		return !is_kind(a, "version");
	return opam_is_source(s);
}

static int from_dev_repo(struct opam_as *x, struct str name, struct str *ret)
{
	struct opam_as_found *v;
	struct pkg_opam_doc d;
	struct err e = ERR_INIT;
	size_t n;
	int code = opam_as_switch(x);
	if (code != OPAM_OK)
		return code;
	if (opam_as_versions(x, name, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	if (n == 0)
		return opam_as_say(x, OPAM_NOT_FOUND, "No package named \"%.*s\" found", STR_ARG(name));
	pkg_opam_read(&x->c->arena, v[n - 1].text, v[n - 1].where.p, &d, &e);
	*ret = pkg_opam_text(pkg_opam_get(&d, "dev-repo"));
	return ret->n ? OPAM_OK
		      : opam_as_say(
				x, OPAM_NOT_FOUND,
				"\"dev-repo\" field missing in %.*s metadata, you'll need to specify the pinning location",
				STR_ARG(name));
}

static int add_pin(struct opam_as *x, const struct pin_args *a, const char *what, const char *target)
{
	static const char *const kinds[] = {"version", "path", "local", "rsync", "git", "http", "auto", NULL};
	struct str name = str_c(what), version = STR_NONE, url;
	size_t k = 0;
	while (a->kind && kinds[k] && strcmp(kinds[k], a->kind) != 0)
		k++;
	if (a->edit)
		return opam_as_say(x, OPAM_USAGE, "no editor is called here: change the file, and pin to its folder");
	if (a->kind && !kinds[k])
		return opam_as_say(x, OPAM_USAGE, "pins are of kind version, path, git or http here, not %s", a->kind);
	if (!target && !a->dev_repo && is_source(a, what))
		return pin_source(x, a, STR_NONE, STR_NONE, source_url(x, a, what));
	(void)env_opam_split(str_c(what), &name, &version);
	if (a->dev_repo) {
		int code = from_dev_repo(x, name, &url);
		return code == OPAM_OK ? pin_source(x, a, name, version, url) : code;
	}
	if (target && is_source(a, target)) {
		if (!pkg_opam_name_is_good(name))
			return opam_as_say(x, OPAM_USAGE, "'%s' is no name of a package", what);
		return pin_source(x, a, name, version, source_url(x, a, target));
	}
	return pin_version(x, a, name, target ? str_c(target) : version);
}

static int remove_one(struct opam_as *x, struct str name)
{
	struct err e = ERR_INIT;
	struct str before, url = opam_as_pin_url(x, name);
	int rc = env_opam_pin(x->s, &x->c->arena, name, STR_NONE, NULL, &before, &e);
	if (rc < 0 || forget_overlay(x, name, &e) < 0)
		return opam_as_fail(x, &e);
	if (rc == 0)
		opam_as_note(x, "NOTE", "%.*s is not pinned.", STR_ARG(name));
	else if (url.n)
		opam_as_put(x, "Ok, %.*s is no longer pinned to %.*s (version %.*s)\n", STR_ARG(name), STR_ARG(url),
			    STR_ARG(before));
	else
		opam_as_put(x, "Ok, %.*s is no longer pinned locally (version %.*s)\n", STR_ARG(name), STR_ARG(before));
	return OPAM_OK;
}

static int remove_pins(struct opam_as *x, const struct pin_args *a, const char *const *names, size_t n)
{
	struct env_opam_state st;
	struct err e = ERR_INIT;
	int code = opam_as_hold_switch(x);
	if (code == OPAM_OK && a->all && env_opam_state_read(x->s, &x->c->arena, &st, &e) < 0)
		return opam_as_fail(x, &e);
	for (size_t i = 0; i < n && code == OPAM_OK; i++)
		code = remove_one(x, str_c(names[i]));
	for (size_t i = 0; code == OPAM_OK && a->all && i < st.pinned.n; i++) {
		struct str name, version;
		if (env_opam_split(st.pinned.v[i], &name, &version))
			code = remove_one(x, name);
	}
	return code;
}

static int pin(struct opam_as *x, const struct pin_args *a, const struct cmd_list *w)
{
	const char *verb = w->n ? w->v[0] : "list";
	if (strcmp(verb, "list") == 0)
		return list_pins(x, a);
	if (strcmp(verb, "add") == 0 && (w->n == 2 || w->n == 3))
		return add_pin(x, a, w->v[1], w->n == 3 ? w->v[2] : NULL);
	if (strcmp(verb, "remove") == 0 && (w->n >= 2 || a->all))
		return remove_pins(x, a, w->v + 1, w->n - 1);
	if (w->n <= 2)
		return add_pin(x, a, verb, w->n == 2 ? w->v[1] : NULL);
	return opam_as_say(x, OPAM_USAGE, "opam pin knows: list, add NAME VERSION, add [NAME] SOURCE, remove NAME");
}

static int parse_pin(struct opam_as *x, int argc, char **argv, bool un)
{
	struct pin_args a = {0};
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{'k', "kind", CMD_TEXT, &a.kind},
					     {'s', "short", CMD_FLAG, &a.shorter},
					     {'n', "no-action", CMD_FLAG, &a.no_action},
					     {'e', "edit", CMD_FLAG, &a.edit},
					     {0, "dev-repo", CMD_FLAG, &a.dev_repo},
					     {0, "ignore-pin-depends", CMD_FLAG, &x->ignore_pin_depends},
					     {0, "all", CMD_FLAG, &a.all},
					     {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code))
		code = un ? remove_pins(x, &a, words.v, words.n) : pin(x, &a, &words);
	vec_release(&words);
	return code;
}

int opam_as_pin(struct opam_as *x, int argc, char **argv)
{
	return parse_pin(x, argc, argv, false);
}

int opam_as_unpin(struct opam_as *x, int argc, char **argv)
{
	return parse_pin(x, argc, argv, true);
}
