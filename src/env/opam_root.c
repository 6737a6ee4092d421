// SPDX-License-Identifier: Apache-2.0
/* A root of opam's: its locks, its configuration, its list of repositories and the copies of them. */
#include <errno.h>
#include <fcntl.h>

#include "base/compress.h"
#include "base/sys.h"
#include "base/tar.h"
#include "base/vec.h"
#include "env/opam.h"

enum { LOCK_WAIT_MS = 10000, REPO_FILE_MAX = 64 << 20 };

/* -- open --------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *path, *const folders[2]; /* folders: where files are that are changed under this lock */
} parts[ENV_OPAM_PARTS] = {[ENV_OPAM_CONFIG] = {"config.lock", {"."}}, [ENV_OPAM_REPOS] = {"repo/lock", {"repo"}}};

void env_opam_free(struct env_opam *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < ENV_OPAM_PARTS; i++)
		cleanup_fd(&o->lock_fd[i]);
	cleanup_fd(&o->format_fd);
	cleanup_fd(&o->fd);
	free(o->path);
	free(o);
}

int env_opam_open(const char *path, struct env_opam **ret, struct err *e)
{
	auto_ptr(env_opam) o = xcalloc(1, sizeof(*o));
	bool held = false;
	o->format_fd = o->fd = -1;
	for (size_t i = 0; i < ENV_OPAM_PARTS; i++)
		o->lock_fd[i] = -1;
	o->fd = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (o->fd < 0)
		return err_sys(e, "open opam root '%s'", path);
	o->path = realpath(path, NULL);
	if (!o->path)
		return err_sys(e, "opam root '%s'", path);
	if (!fs_exists(o->fd, "config"))
		return err_new(e, ERR_NOT_FOUND, "'%s' is no opam root: it has no file 'config'; run 'opam init'",
			       path);
	/* whoever changes the format of the whole root holds this to write */
	if (opam_lock(o->fd, "lock", path, false, LOCK_WAIT_MS, &o->format_fd, &held, e) < 0)
		return -1;
	*ret = steal_ptr(&o);
	return 0;
}

const char *env_opam_path(const struct env_opam *o)
{
	return o->path;
}

int env_opam_fd(const struct env_opam *o)
{
	return o->fd;
}

int env_opam_lock(struct env_opam *o, enum env_opam_part part, bool write, int64_t wait_ms, struct err *e)
{
	auto_free char *shown = xasprintf("%s/%s", o->path, parts[part].path);
	bool had = o->lock_write[part];
	if (opam_lock(o->fd, parts[part].path, shown, write, wait_ms, &o->lock_fd[part], &o->lock_write[part], e) < 0)
		return -1;
	if (write && !had)
		opam_clean(o->fd, parts[part].folders);
	return 0;
}

/* -- configuration ------------------------------------------------------------------------------------------------------ */

int env_opam_config_read(struct env_opam *o, struct arena *a, struct env_opam_config *ret, struct err *e)
{
	*ret = (struct env_opam_config){0};
	if (opam_read_doc(a, o->fd, "config", arena_printf(a, "%s/config", o->path), &ret->doc, e) < 0)
		return -1;
	ret->repositories = opam_strings_of(a, pkg_opam_get(&ret->doc, "repositories"));
	ret->switches = opam_strings_of(a, pkg_opam_get(&ret->doc, "installed-switches"));
	ret->current = pkg_opam_text(pkg_opam_get(&ret->doc, "switch"));
	ret->format = pkg_opam_text(pkg_opam_get(&ret->doc, "opam-root-version"));
	if (!ret->format.n)
		ret->format = STR("2.0");
	return 0;
}

int env_opam_set(struct env_opam *o, struct env_opam_switch *s, const char *field, const struct pkg_opam_value *v,
		 struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pkg_opam_doc d;
	const char *path = s ? "switch-config" : "config";
	const char *shown = s ? arena_printf(&a, "%s/" OPAM_META "/%s", s->prefix, path)
			      : arena_printf(&a, "%s/%s", o->path, path);
	if (opam_read_doc(&a, s ? s->meta_fd : o->fd, path, shown, &d, e) < 0)
		return -1;
	return opam_write_edited(&a, s ? s->meta_fd : o->fd, path, &d, &(struct opam_edit){field, v}, 1, e);
}

#define SET_BY "Set through 'opam var'"

/* global-variables: [name "value" "documentation"], several of them in a list. */
static int set_global(struct env_opam *o, struct str name, struct str value, struct err *e)
{
	auto_arena a = ARENA_INIT;
	VEC(const struct pkg_opam_value *) list = {0};
	struct pkg_opam_doc d;
	bool there = false;
	if (opam_read_doc(&a, o->fd, "config", arena_printf(&a, "%s/config", o->path), &d, e) < 0)
		return -1;
	const struct pkg_opam_value *v = pkg_opam_get(&d, "global-variables");
	bool one = v && v->kind == PKG_OPAM_LIST && v->first && v->first->kind != PKG_OPAM_LIST;
	const struct pkg_opam_value *of_new[] = {pkg_opam_make(&a, PKG_OPAM_IDENT, name), opam_string(&a, value),
						 opam_string(&a, STR(SET_BY))};
	if (value.p)
		vec_push(&list, pkg_opam_make_list(&a, PKG_OPAM_LIST, of_new, 3));
	for (const struct pkg_opam_value *x = one ? v : pkg_opam_first(v); x; x = one ? NULL : x->next)
		if (str_eq(pkg_opam_text(pkg_opam_first(x)), name))
			there = true;
		else
			vec_push(&list, x);
	v = list.n == 0 ? NULL : list.n == 1 ? list.v[0] : pkg_opam_make_list(&a, PKG_OPAM_LIST, list.v, list.n);
	vec_release(&list);
	if (!value.p && !there)
		return 0;
	return opam_write_edited(&a, o->fd, "config", &d, &(struct opam_edit){"global-variables", v}, 1, e) < 0 ? -1
														: 1;
}

/* The section is laid out anew, and all else stays as it stands. */
static int set_of_switch(struct env_opam_switch *s, struct str name, struct str value, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct pkg_opam_doc d;
	struct pkg_opam_items items = {0};
	bool there = false;
	if (env_opam_switch_config(s, &a, &d, e) < 0)
		return -1;
	const struct pkg_opam_item *vars = pkg_opam_section(&d, "variables", NULL);
	if (value.p)
		pkg_opam_append(&a, &items, pkg_opam_make_field(&a, arena_strdup(&a, name), opam_string(&a, value)));
	for (const struct pkg_opam_item *i = vars ? vars->first : NULL; i; i = i->next) {
		if (str_eq(i->name, name)) {
			there = true;
			continue;
		}
		pkg_opam_append(&a, &items, i);
	}
	if (!value.p && !there)
		return 0;
	buf_put_str(&b, vars ? str_head(d.text, vars->from) : d.text);
	if (!vars && b.n && b.p[b.n - 1] != '\n')
		buf_put_char(&b, '\n');
	pkg_opam_print_normal(pkg_opam_make_section(&a, "variables", STR_NONE, items.first), &b);
	struct str rest = vars ? str_skip(d.text, vars->to) : STR_NONE;
	str_take_char(&rest, '\n');
	buf_put_str(&b, rest);
	return opam_write(s->meta_fd, "switch-config", &b, e) < 0 ? -1 : 1;
}

int env_opam_set_variable(struct env_opam *o, struct env_opam_switch *s, struct str name, struct str value,
			  struct err *e)
{
	return s ? set_of_switch(s, name, value, e) : set_global(o, name, value, e);
}

/* -- repositories ------------------------------------------------------------------------------------------------------- */

int env_opam_repos(struct env_opam *o, struct arena *a, struct env_opam_repo **ret, size_t *ret_n, struct err *e)
{
	VEC(struct env_opam_repo) list = {0};
	struct pkg_opam_doc d;
	if (opam_read_doc(a, o->fd, "repo/repos-config", arena_printf(a, "%s/repo/repos-config", o->path), &d, e) < 0)
		return -1;
	for (const struct pkg_opam_value *v = pkg_opam_first(pkg_opam_get(&d, "repositories")); v; v = v->next) {
		bool option = v->kind == PKG_OPAM_OPTION;
		struct str name = pkg_opam_text(option ? v->left : v);
		if (name.n)
			*vec_add(&list) = (struct env_opam_repo){
				.name = name, .url = option ? pkg_opam_text(v->first) : STR_NONE, .def = v};
	}
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return 0;
}

static bool is_as_read(const struct env_opam_repo *r)
{
	return r->def && str_eq(r->url, pkg_opam_text(r->def->kind == PKG_OPAM_OPTION ? r->def->first : NULL));
}

static int repo_cmp(const void *a, const void *b)
{
	return str_cmp((*(const struct env_opam_repo *const *)a)->name,
		       (*(const struct env_opam_repo *const *)b)->name);
}

/* What opam keeps of all repositories' files; made anew by its next command. */
static int forget_cache(struct env_opam *o, struct err *e)
{
	auto_fs_list l = {0};
	auto_fd fd = openat(o->fd, "repo", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open '%s/repo'", o->path);
	if (fs_list(fd, ".", OPAM_NAMES_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++)
		if (str_ends(str_c(l.name[i]), STR(".cache")) && sys_unlinkat(fd, l.name[i], 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s/repo/%s'", o->path, l.name[i]);
	return 0;
}

static const struct pkg_opam_value *repo_value(struct arena *a, const struct env_opam_repo *r)
{
	const struct pkg_opam_value *name = opam_string(a, r->name), *url = opam_string(a, r->url);
	if (!r->url.n)
		return name;
	struct pkg_opam_value *v = pkg_opam_make_list(a, PKG_OPAM_OPTION, &url, 1);
	v->left = name;
	return v;
}

int env_opam_repos_write(struct env_opam *o, const struct env_opam_repo *v, size_t n, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct pkg_opam_doc d;
	const struct env_opam_repo **by_name = arena_array(&a, const struct env_opam_repo *, n);
	const struct pkg_opam_value **list = arena_array(&a, const struct pkg_opam_value *, n);
	for (size_t i = 0; i < n; i++)
		by_name[i] = &v[i];
	if (n > 1)
		qsort(by_name, n, sizeof(*by_name), repo_cmp);
	for (size_t i = 0; i < n; i++) {
		if (is_as_read(by_name[i])) {
			struct pkg_opam_value *same = arena_copy(&a, by_name[i]->def, 1, sizeof(*same));
			same->next = NULL;
			list[i] = same;
		} else {
			list[i] = repo_value(&a, by_name[i]);
		}
	}
	if (opam_read_doc(&a, o->fd, "repo/repos-config", "repos-config", &d, e) < 0 || forget_cache(o, e) < 0 ||
	    fs_mkdirs(o->fd, "repo", OPAM_DIRS_MODE, e) < 0)
		return -1;
	const struct opam_edit edits[] = {{"opam-version", opam_string(&a, STR("2.0"))},
					  {"repositories",
					   n == 1 ? list[0] : pkg_opam_make_list(&a, PKG_OPAM_LIST, list, n)}};
	return opam_write_edited(&a, o->fd, "repo/repos-config", &d, edits, 2, e);
}

static int repo_path(struct arena *a, struct str name, const char **ret, struct err *e)
{
	const char *path = arena_printf(a, "repo/%.*s.tar.gz", STR_ARG(name));
	if (!fs_path_is_inside(name) || str_find(name, '/') >= 0 || name.n > 200)
		return err_new(e, ERR_INPUT, "'%.*s' is no name for a repository", STR_ARG(name));
	*ret = path;
	return 0;
}

int env_opam_repo_remove(struct env_opam *o, struct str name, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *path;
	if (repo_path(&a, name, &path, e) < 0 || forget_cache(o, e) < 0)
		return -1;
	if (sys_unlinkat(o->fd, path, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s/%s'", o->path, path);
	return fs_remove_tree(o->fd, arena_printf(&a, "repo/%.*s", STR_ARG(name)), e);
}

/* -- a repository's copy -------------------------------------------------------------------------------------------------- */

struct packing {
	struct tar_writer tar;
	struct compress *gz;
	const char *name;
	int fd;
};

static int to_file(void *ctx, const void *p, size_t n, struct err *e)
{
	return fs_write_all(((struct packing *)ctx)->fd, p, n, "the repository's copy", e);
}

static int to_gz(void *ctx, const void *p, size_t n, struct err *e)
{
	return compress_put(((struct packing *)ctx)->gz, p, n, e);
}

/* Times are none of ours: the same files are the same bytes. */
static int pack_one(struct packing *p, int dir_fd, const char *name, const char *path, const struct stat *st,
		    struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(REPO_FILE_MAX);
	bool dir = S_ISDIR(st->st_mode);
	struct tar_entry en = {.kind = dir ? TAR_DIR : TAR_FILE,
			       .path = str_c(arena_printf(&a, "%s/%s%s", p->name, path, dir ? "/" : "")),
			       .mode = dir || st->st_mode & 0100 ? 0755 : 0644};
	if (!dir && !S_ISREG(st->st_mode))
		return 0; /* links have no business in a repository */
	if (!dir && fs_read(dir_fd, name, &b, e) < 0)
		return -1;
	en.size = b.n;
	return tar_put(&p->tar, &en, e) < 0 || (b.n && tar_write(&p->tar, b.p, b.n, e) < 0) ? -1 : 0;
}

static int pack_below(void *ctx, int dir_fd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	auto_free char *path = xasprintf("packages/%s", rel);
	return pack_one(ctx, dir_fd, name, path, st, e);
}

static int pack(struct packing *p, int from_fd, struct err *e)
{
	struct stat st = {.st_mode = S_IFDIR | 0755};
	if (pack_one(p, from_fd, "packages", "packages", &st, e) < 0 ||
	    fs_walk(from_fd, "packages", pack_below, p, e) < 0)
		return -1;
	if (fstatat(from_fd, "repo", &st, 0) == 0 && pack_one(p, from_fd, "repo", "repo", &st, e) < 0)
		return -1;
	return tar_end(&p->tar, e) < 0 || compress_end(p->gz, e) < 0 ? -1 : 0;
}

static int write_packed(int fd, const char *name, int from_fd, struct err *e)
{
	struct packing p = {.name = name, .fd = fd};
	p.tar = (struct tar_writer){.sink = to_gz, .ctx = &p};
	p.gz = compress_new(COMPRESS_GZIP, 1, to_file, &p);
	int rc = pack(&p, from_fd, e);
	compress_free(p.gz);
	return rc;
}

/* 1: alike. */
static int same_bytes(int a, int b, struct err *e)
{
	char x[65536], y[65536];
	struct stat sa, sb;
	if (fstat(a, &sa) < 0 || fstat(b, &sb) < 0)
		return err_sys(e, "stat a repository's copy");
	if (sa.st_size != sb.st_size)
		return 0;
	for (off_t at = 0; at < sa.st_size;) {
		ssize_t n = pread(a, x, sizeof(x), at), m = pread(b, y, sizeof(y), at);
		if (n <= 0 || m < 0)
			return err_sys(e, "read a repository's copy");
		if (n != m || memcmp(x, y, (size_t)n) != 0)
			return 0;
		at += n;
	}
	return 1;
}

int env_opam_repo_copy(struct env_opam *o, struct str name, int from_fd, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *path, *tmp = arena_printf(&a, "repo/%.*s.tar.gz.new", STR_ARG(name));
	if (repo_path(&a, name, &path, e) < 0 || fs_mkdirs(o->fd, "repo", OPAM_DIRS_MODE, e) < 0)
		return -1;
	if (sys_unlinkat(o->fd, tmp, 0) < 0 && errno != ENOENT) /* repositories are held: it is a killed one's */
		return err_sys(e, "remove '%s/%s'", o->path, tmp);
	auto_fd fd = sys_openat(o->fd, tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(e, "make '%s/%s'", o->path, tmp);
	int rc = write_packed(fd, arena_strdup(&a, name), from_fd, e);
	auto_fd old = rc < 0 ? -1 : openat(o->fd, path, O_RDONLY | O_CLOEXEC);
	rc = rc == 0 && old >= 0 ? same_bytes(fd, old, e) : rc;
	if (rc != 0) {
		(void)sys_unlinkat(o->fd, tmp, 0);
		return rc < 0 ? -1 : 0;
	}
	if (sys_fsync(fd) < 0)
		return err_sys(e, "sync '%s/%s'", o->path, tmp);
	if (forget_cache(o, e) < 0)
		return -1;
	if (sys_renameat(o->fd, tmp, o->fd, path) < 0)
		return err_sys(e, "put '%s/%s' in place", o->path, path);
	if (fs_sync_dir(o->fd, "repo", e) < 0 ||
	    fs_remove_tree(o->fd, arena_printf(&a, "repo/%.*s", STR_ARG(name)), e) < 0)
		return -1;
	return 1;
}

/* -- a new root --------------------------------------------------------------------------------------------------------- */

#define OCAML_SAYS "ocamlc -config 2>/dev/null | sed -n " /* -config-var is only there from OCaml 4.08 on */

static const char built_in[] = "opam-version: \"2.0\"\n"
			       "opam-root-version: \"2.1\"\n"
			       "download-jobs: 3\n"
			       "eval-variables: [\n"
			       "  [\n"
			       "    sys-ocaml-version\n"
			       "    [\"ocamlc\" \"-vnum\"]\n"
			       "    \"OCaml version present on your system independently of opam, if any\"\n"
			       "  ]\n"
			       "  [\n"
			       "    sys-ocaml-arch\n"
			       "    [\"sh\" \"-c\" \"" OCAML_SAYS "'s/^architecture: i386$/architecture: i686/; "
			       "s/^architecture: amd64$/architecture: x86_64/; s/^architecture: //p'\"]\n"
			       "    \"Target architecture of the OCaml compiler present on your system\"\n"
			       "  ]\n"
			       "  [\n"
			       "    sys-ocaml-cc\n"
			       "    [\"sh\" \"-c\" \"" OCAML_SAYS "'s/^ccomp_type: //p'\"]\n"
			       "    \"Host C Compiler type of the OCaml compiler present on your system\"\n"
			       "  ]\n"
			       "  [\n"
			       "    sys-ocaml-libc\n"
			       "    [\"sh\" \"-c\" \"" OCAML_SAYS "'s/^os_type: .*/libc/p'\"]\n"
			       "    \"Host C Runtime Library type of the OCaml compiler present on your system\"\n"
			       "  ]\n"
			       "]\n"
			       "default-compiler: [\"ocaml-system\" \"ocaml-base-compiler\"]\n"
			       "default-invariant: [\n"
			       "  \"ocaml\" {>= \"4.05.0\"}\n"
			       "]\n"
			       "depext: true\n"
			       "depext-run-installs: true\n"
			       "depext-cannot-install: false\n";

/* What an opamrc may say about the configuration of a root. */
static const char *const settings[] = {
	"default-compiler",
	"default-invariant",
	"jobs",
	"download-command",
	"download-jobs",
	"archive-mirrors",
	"solver-criteria",
	"solver-upgrade-criteria",
	"solver-fixup-criteria",
	"solver",
	"global-variables",
	"eval-variables",
	"pre-build-commands",
	"pre-install-commands",
	"pre-remove-commands",
	"pre-session-commands",
	"wrap-build-commands",
	"wrap-install-commands",
	"wrap-remove-commands",
	"post-build-commands",
	"post-install-commands",
	"post-remove-commands",
	"post-session-commands",
};

static size_t edits_of(struct arena *a, const struct pkg_opam_doc *config, struct opam_edit *v)
{
	size_t n = 0;
	for (size_t i = 0; config && i < sizeof(settings) / sizeof(*settings); i++) {
		const struct pkg_opam_value *said = pkg_opam_get(config, settings[i]);
		if (said)
			v[n++] = (struct opam_edit){settings[i], said};
	}
	(void)a;
	return n;
}

int env_opam_init(const char *path, const struct pkg_opam_doc *config, const struct env_opam_repo *repos,
		  size_t repos_n, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct opam_edit edits[sizeof(settings) / sizeof(*settings) + 2];
	struct pkg_opam_doc d;
	size_t n = edits_of(&a, config, edits);
	struct str *names = arena_array(&a, struct str, repos_n);
	auto_fd fd = fs_open_dir_make(AT_FDCWD, path, e);
	if (fd < 0)
		return -1;
	struct env_opam o = {.path = arena_strdup(&a, str_c(path)), .fd = fd};
	for (size_t i = 0; i < repos_n; i++)
		names[i] = repos[i].name;
	int there = opam_read_doc(&a, fd, "config", arena_printf(&a, "%s/config", path), &d, e);
	if (there < 0 || (!there && pkg_opam_read(&a, str_c(built_in), "built-in configuration", &d, e) < 0))
		return -1;
	if (there)
		edits[n++] = (struct opam_edit){"opam-root-version", opam_string(&a, STR("2.1"))};
	if (repos_n)
		edits[n++] = (struct opam_edit){"repositories", opam_strings(&a, names, repos_n)};
	if (fs_mkdirs(fd, "repo", OPAM_DIRS_MODE, e) < 0 || fs_mkdirs(fd, "opam-init/hooks", OPAM_DIRS_MODE, e) < 0 ||
	    (repos_n && env_opam_repos_write(&o, repos, repos_n, e) < 0))
		return -1;
	/* the root is one from here on */
	return opam_write_edited(&a, fd, "config", &d, edits, n, e);
}
