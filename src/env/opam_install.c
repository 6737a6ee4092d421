// SPDX-License-Identifier: Apache-2.0
/*
 * .install files: which files of a build folder go where. What a build leaves is not trusted: paths may leave neither the build folder nor
 * the prefix, by name or by link. Each file is copied beside its place and renamed into it, so that a program that runs keeps its own.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/sys.h"
#include "base/vec.h"
#include "env/opam.h"

enum { COPY_STEP = 1 << 30, MISSING_SHOWN = 20 };

static const struct {
	const char *field, *dir;
	bool exec, own; /* own: in a folder of the package's name */
} kinds[] = {
	{"lib", "lib", false, true},
	{"lib_root", "lib", false, false},
	{"libexec", "lib", true, true},
	{"libexec_root", "lib", true, false},
	{"bin", "bin", true, false},
	{"sbin", "sbin", true, false},
	{"toplevel", "toplevel", false, false},
	{"stublibs", "stublibs", true, false},
	{"share", "share", false, true},
	{"share_root", "share", false, false},
	{"etc", "etc", false, true},
	{"doc", "doc", false, true},
	{"man", "man", false, false},
	{"misc", NULL, false, false},
};

/* -- reading ---------------------------------------------------------------------------------------------------------- */

struct reading {
	struct arena *a;
	const struct pkg_opam_doc *d;
	struct str package;
	VEC(struct env_opam_laid) v;
};

/* "x.3", "x.3.gz" and "x.3pm" lie in man3. */
static struct str man_section(struct arena *a, struct str file)
{
	struct str base = file;
	if (str_ends(base, STR(".gz")))
		base.n -= 3;
	ptrdiff_t dot = str_rfind(base, '.');
	if (dot < 0 || (size_t)dot + 1 >= base.n || base.p[dot + 1] < '1' || base.p[dot + 1] > '8')
		return STR_NONE;
	return str_c(arena_printf(a, "man%c/%.*s", base.p[dot + 1], STR_ARG(file)));
}

static struct str last_part(struct str path)
{
	return str_skip(path, (size_t)(str_rfind(path, '/') + 1));
}

/* Where it goes, relative to the prefix, in the words of `dirs` as they usually are: apply puts the switch's own in their place. */
static int place(struct reading *r, size_t kind, struct str from, struct str said, const struct pkg_opam_value *v,
		 struct str *ret, struct err *e)
{
	struct str name = said;
	if (!name.n && strcmp(kinds[kind].field, "man") == 0) {
		name = man_section(r->a, last_part(from));
		if (!name.n)
			return pkg_opam_fault(r->d, v->from,
					      "a man page without a place needs a section in its name, as in 'x.1'", e);
	}
	if (!name.n)
		name = last_part(from);
	*ret = name;
	return 0;
}

static int take(struct reading *r, size_t kind, const struct pkg_opam_value *v, struct err *e)
{
	bool option = v->kind == PKG_OPAM_OPTION, misc = !kinds[kind].dir;
	const struct pkg_opam_value *file = option ? v->left : v;
	struct str from = file->kind == PKG_OPAM_STRING ? file->text : STR_NONE;
	struct str said = option && v->first && v->first->kind == PKG_OPAM_STRING && !v->first->next ? v->first->text
												     : STR_NONE;
	struct env_opam_laid l = {.exec = kinds[kind].exec, .misc = misc, .at = v->from};
	if (!from.n || (option && !said.n))
		return pkg_opam_fault(r->d, v->from, "a file is expected, as in \"x\" or \"x\" {\"its place\"}", e);
	l.optional = str_take_char(&from, '?');
	l.from = opam_normal_path(r->a, from);
	if (!l.from.n)
		return pkg_opam_fault(r->d, v->from, "the file is not inside of the build folder", e);
	if (misc && (!said.n || said.p[0] != '/'))
		return pkg_opam_fault(r->d, v->from, "a misc file needs an absolute place", e);
	if (misc) {
		l.to = said;
	} else {
		struct str name = STR_NONE;
		if (place(r, kind, l.from, said, v, &name, e) < 0)
			return -1;
		struct str dir = opam_dir(r->a, NULL, STR("/p"), kinds[kind].dir);
		l.to = opam_normal_path(r->a, str_c(arena_printf(r->a, "%.*s/%.*s%s%.*s", STR_ARG(dir),
								 kinds[kind].own ? (int)r->package.n : 0, r->package.p,
								 kinds[kind].own ? "/" : "", STR_ARG(name))));
		if (!l.to.n || str_eq_c(l.to, OPAM_META) || str_starts(l.to, STR(OPAM_META "/")))
			return pkg_opam_fault(r->d, v->from, "its place is not inside of the prefix", e);
	}
	if (r->v.n >= ENV_OPAM_LAID_MAX)
		return err_new(e, ERR_LIMIT, "'%s' lists more than %d files", r->d->where, ENV_OPAM_LAID_MAX);
	*vec_add(&r->v) = l;
	return 0;
}

static int take_fields(struct reading *r, struct err *e)
{
	for (const struct pkg_opam_item *i = r->d->first; i; i = i->next) {
		size_t kind = 0;
		while (kind < sizeof(kinds) / sizeof(*kinds) && !str_eq_c(i->name, kinds[kind].field))
			kind++;
		if (kind == sizeof(kinds) / sizeof(*kinds) || i->is_section)
			continue; /* opam-version, and what a later opam may know */
		for (const struct pkg_opam_value *v = pkg_opam_first(i->value); v; v = v->next)
			if (take(r, kind, v, e) < 0)
				return -1;
	}
	return 0;
}

int env_opam_install_read(struct arena *a, struct str text, const char *where, struct str package,
			  struct env_opam_install *ret, struct err *e)
{
	*ret = (struct env_opam_install){0};
	struct reading r = {.a = a, .d = &ret->doc, .package = package};
	if (!pkg_opam_name_is_good(package))
		return err_new(e, ERR_INPUT, "'%.*s' is no name of a package", STR_ARG(package));
	if (pkg_opam_read(a, text, where, &ret->doc, e) < 0)
		return -1;
	int rc = take_fields(&r, e);
	ret->v = vec_copy(&r.v, a);
	ret->n = r.v.n;
	vec_release(&r.v);
	return rc;
}

/* -- laying ----------------------------------------------------------------------------------------------------------- */

static int copy_bytes(int from, int to, const char *what, struct err *e)
{
	char p[65536];
	ssize_t n;
	if (sys_ficlone(to, from) == 0)
		return 0;
	while ((n = sys_copy_file_range(from, NULL, to, NULL, COPY_STEP)) > 0)
		;
	if (n == 0)
		return 0;
	if (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM)
		return err_sys(e, "copy '%s'", what);
	while ((n = read(from, p, sizeof(p))) > 0)
		if (fs_write_all(to, p, (size_t)n, what, e) < 0)
			return -1;
	return n < 0 ? err_sys(e, "read '%s'", what) : 0;
}

/* 1; 0: it is not there. */
static int open_source(int build_fd, const char *path, struct err *e)
{
	struct stat st;
	auto_fd fd = fs_open_below(build_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == EXDEV)
		return err_new(e, ERR_INPUT, "'%s' is a link that leads outside of the build folder", path);
	if (fd < 0)
		return err_sys(e, "open '%s'", path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat '%s'", path);
	return S_ISREG(st.st_mode) ? steal_fd(&fd) : err_new(e, ERR_INPUT, "'%s' is not a file", path);
}

static char *tmp_name(struct str last)
{
	return xasprintf(".%.*s.new", (int)(last.n > 200 ? 200 : last.n), last.p);
}

static int lay(struct env_opam_switch *s, int from, struct str to, bool exec, struct err *e)
{
	struct str last;
	auto_fd dir = fs_open_parent_below(s->fd, to, true, &last, e);
	if (dir < 0)
		return -1;
	auto_free char *name = str_dup(last);
	auto_free char *tmp = tmp_name(last);
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		return err_new(e, ERR_EXISTS, "'%.*s' is a folder already", STR_ARG(to));
	(void)sys_unlinkat(dir, tmp, 0); /* a killed process's: the switch is held, so it is nobody's now */
	auto_fd fd = sys_openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, "make '%.*s'", STR_ARG(to));
	int rc = copy_bytes(from, fd, tmp, e);
	if (rc == 0 && sys_fchmod(fd, exec ? 0755 : 0644) < 0)
		rc = err_sys(e, "make '%.*s' readable", STR_ARG(to));
	if (rc == 0 && sys_renameat(dir, tmp, dir, name) < 0)
		rc = err_sys(e, "put '%.*s' in place", STR_ARG(to));
	if (rc < 0)
		(void)sys_unlinkat(dir, tmp, 0);
	return rc;
}

/* The usual folder at the beginning of a place gives way to the switch's own. */
static int own_place(struct env_opam_switch *s, struct arena *a, const struct pkg_opam_doc *config, struct str to,
		     struct str *ret, struct err *e)
{
	static const char *const by_length[] = {"toplevel", "stublibs", "lib", "bin", "sbin",
						"share",    "doc",	"etc", "man"};
	for (size_t i = 0; i < sizeof(by_length) / sizeof(*by_length); i++) {
		struct str usual = opam_dir(a, NULL, STR("/p"), by_length[i]), rest = to;
		if (!str_take_str(&rest, usual) || !str_take_char(&rest, '/'))
			continue;
		struct str own = opam_dir(a, config, str_c(s->prefix), by_length[i]);
		if (!own.p)
			return err_new(e, ERR_UNSUPPORTED,
				       "the switch's folder '%s' is outside of its prefix: nothing is laid there",
				       by_length[i]);
		*ret = opam_normal_path(a, str_c(arena_printf(a, "%.*s/%.*s", STR_ARG(own), STR_ARG(rest))));
		return 0;
	}
	*ret = to;
	return 0;
}

static int lay_one(struct env_opam_switch *s, struct arena *a, const struct pkg_opam_doc *config,
		   const struct env_opam_laid *l, int build_fd, struct buf *missing, struct err *e)
{
	struct err mine = ERR_INIT;
	struct str to = STR_NONE;
	if (l->misc)
		return err_new(e, ERR_UNSUPPORTED, "'%.*s' would go to '%.*s', outside of the switch", STR_ARG(l->from),
			       STR_ARG(l->to));
	auto_fd fd = open_source(build_fd, l->from.p, &mine);
	if (fd < 0 && mine.code == ERR_NOT_FOUND) {
		if (!l->optional)
			buf_printf(missing, "%s%.*s", missing->n ? ", " : "", STR_ARG(l->from));
		return 0;
	}
	if (fd < 0) {
		*e = mine;
		return -1;
	}
	if (own_place(s, a, config, l->to, &to, e) < 0)
		return -1;
	return lay(s, fd, to, l->exec, e);
}

/* NAME.config of the build folder, which may be a link that leads elsewhere: 1, 0 it is not there. */
static int read_config(int build_fd, const char *name, struct arena *a, struct pkg_opam_doc *ret, struct err *e)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct err mine = ERR_INIT;
	if (fs_read_below(build_fd, name, &b, &mine) == 0)
		return pkg_opam_read(a, arena_str(a, buf_str(&b)), name, ret, e) < 0 ? -1 : 1;
	*ret = (struct pkg_opam_doc){.where = name};
	return mine.code == ERR_NOT_FOUND ? 0 : (*e = mine, -1);
}

/* install/NAME.install and config/NAME.config, as opam keeps them. */
static int keep(struct env_opam_switch *s, struct arena *a, struct str package, const struct env_opam_install *i,
		int build_fd, struct err *e)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct pkg_opam_doc config;
	const char *name = arena_printf(a, "%.*s.config", STR_ARG(package));
	int there = read_config(build_fd, name, a, &config, e);
	if (there < 0)
		return -1;
	if (i && i->n) {
		pkg_opam_print(&i->doc, &b);
		if (fs_mkdirs(s->meta_fd, "install", OPAM_DIRS_MODE, e) < 0 ||
		    opam_write(s->meta_fd, arena_printf(a, "install/%.*s.install", STR_ARG(package)), &b, e) < 0)
			return -1;
	}
	buf_clear(&b);
	pkg_opam_print(&config, &b);
	return !there ? 0
	       : fs_mkdirs(s->meta_fd, "config", OPAM_DIRS_MODE, e) < 0
		       ? -1
		       : opam_write(s->meta_fd, arena_printf(a, "config/%s", name), &b, e);
}

int env_opam_install_apply(struct env_opam_switch *s, struct str package, const struct env_opam_install *i,
			   int build_fd, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf missing = BUF_INIT(1 << 16);
	struct pkg_opam_doc config;
	if (!pkg_opam_name_is_good(package))
		return err_new(e, ERR_INPUT, "'%.*s' is no name of a package", STR_ARG(package));
	if (env_opam_switch_config(s, &a, &config, e) < 0 || keep(s, &a, package, i, build_fd, e) < 0)
		return -1;
	for (size_t k = 0; i && k < i->n; k++)
		if (lay_one(s, &a, &config, &i->v[k], build_fd, &missing, e) < 0)
			return err_ctx(e, "install '%.*s'", STR_ARG(package));
	return missing.n ? err_new(e, ERR_NOT_FOUND, "install '%.*s': '%s' lists files that are not there: %s",
				   STR_ARG(package), i->doc.where, missing.p)
			 : 0;
}

/* -- what a killed installation left ------------------------------------------------------------------------------------ */

static int clear_one(struct env_opam_switch *s, struct str to, struct err *e)
{
	struct err mine = ERR_INIT;
	struct str last;
	auto_fd dir = fs_open_parent_below(s->fd, to, false, &last, &mine);
	if (dir < 0) {
		if (mine.code == ERR_NOT_FOUND)
			return 0;
		*e = mine;
		return -1;
	}
	auto_free char *name = str_dup(last);
	auto_free char *tmp = tmp_name(last);
	(void)sys_unlinkat(dir, tmp, 0);
	return sys_unlinkat(dir, name, 0) < 0 && errno != ENOENT && errno != EISDIR
		       ? err_sys(e, "remove '%.*s'", STR_ARG(to))
		       : 0;
}

/* Folders of the package's own that are empty. */
static void clear_folders(struct env_opam_switch *s, struct arena *a, const struct pkg_opam_doc *config,
			  struct str package)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct str dir = kinds[i].own ? opam_dir(a, config, str_c(s->prefix), kinds[i].dir) : STR_NONE;
		if (dir.n)
			(void)sys_unlinkat(s->fd, arena_printf(a, "%.*s/%.*s", STR_ARG(dir), STR_ARG(package)),
					   AT_REMOVEDIR);
		if (dir.n && (strcmp(kinds[i].dir, "share") == 0 ||
			      strcmp(kinds[i].dir, "etc") == 0)) /* no switch begins with them */
			(void)sys_unlinkat(s->fd, arena_strdup(a, dir), AT_REMOVEDIR);
	}
}

int env_opam_install_clear(struct env_opam_switch *s, struct str package, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct env_opam_install i;
	struct env_opam_state st;
	struct pkg_opam_doc config;
	struct err mine = ERR_INIT;
	if (!pkg_opam_name_is_good(package))
		return err_new(e, ERR_INPUT, "'%.*s' is no name of a package", STR_ARG(package));
	const char *path = arena_printf(&a, "install/%.*s.install", STR_ARG(package));
	if (env_opam_state_read(s, &a, &st, e) < 0 || env_opam_switch_config(s, &a, &config, e) < 0)
		return -1;
	if (env_opam_version_in(&st.installed, package).n || fs_read(s->meta_fd, path, &b, &mine) < 0)
		return mine.code && mine.code != ERR_NOT_FOUND ? (*e = mine, -1) : 0;
	if (env_opam_install_read(&a, buf_str(&b), path, package, &i, e) < 0)
		return -1;
	for (size_t k = 0; k < i.n; k++) {
		struct str to = STR_NONE;
		if (!i.v[k].misc && (own_place(s, &a, &config, i.v[k].to, &to, e) < 0 || clear_one(s, to, e) < 0))
			return -1;
	}
	clear_folders(s, &a, &config, package);
	return sys_unlinkat(s->meta_fd, path, 0) < 0 && errno != ENOENT ? err_sys(e, "remove '%s'", path) : 0;
}
