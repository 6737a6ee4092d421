// SPDX-License-Identifier: Apache-2.0
/*
 * A switch: its folder, its state, and what changes them. What is installed is what switch-state lists: all else is brought to disk before
 * its rename, or is made from it afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>

#include "base/sys.h"
#include "base/vec.h"
#include "env/opam.h"

/* -- names and folders --------------------------------------------------------------------------------------------------- */

static bool is_local(const char *name)
{
	return name[0] == '.' || strchr(name, '/');
}

static int check_name(const char *name, struct err *e)
{
	if (!*name || strlen(name) > 255 || strpbrk(name, "<>!`$():\n\r\t") || strcmp(name, "repo") == 0 ||
	    strcmp(name, "opam-init") == 0 || strcmp(name, "download-cache") == 0 || name[0] == '-')
		return err_new(e, ERR_INPUT, "'%s' is no name for a switch", name);
	return 0;
}

/* "5.3" → ROOT/5.3; "/home/x/p" → /home/x/p/_opam */
static char *prefix_of(struct env_opam *o, const char *name)
{
	if (!is_local(name))
		return xasprintf("%s/%s", o->path, name);
	auto_free char *real = realpath(name, NULL);
	return xasprintf("%s/_opam", real ? real : name);
}

/* As opam lists it: a folder by its real path. */
static char *listed_as(const char *name)
{
	char *real = is_local(name) ? realpath(name, NULL) : NULL;
	return real ? real : xstrdup(name);
}

void env_opam_switch_free(struct env_opam_switch *s)
{
	if (!s)
		return;
	cleanup_fd(&s->lock_fd);
	cleanup_fd(&s->meta_fd);
	cleanup_fd(&s->fd);
	free(s->name);
	free(s->prefix);
	free(s);
}

static bool has(const struct pkg_opam_strs *l, struct str s)
{
	for (size_t i = 0; i < l->n; i++)
		if (str_eq(l->v[i], s))
			return true;
	return false;
}

int env_opam_switch_open(struct env_opam *o, const char *name, struct env_opam_switch **ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(env_opam_switch) s = xcalloc(1, sizeof(*s));
	struct env_opam_config c;
	s->root = o;
	s->fd = s->meta_fd = s->lock_fd = -1;
	s->name = listed_as(name);
	if (check_name(name, e) < 0 || env_opam_config_read(o, &a, &c, e) < 0)
		return -1;
	if (!is_local(name) && !has(&c.switches, str_c(s->name)))
		return err_new(e, ERR_NOT_FOUND, "there is no switch '%s' in '%s'", name, o->path);
	s->prefix = prefix_of(o, name);
	s->fd = fs_open_dir(AT_FDCWD, s->prefix, e);
	if (s->fd < 0)
		return err_ctx(e, "switch '%s'", name);
	s->meta_fd = fs_open_dir(s->fd, OPAM_META, e);
	if (s->meta_fd < 0)
		return err_ctx(e, "switch '%s'", name);
	*ret = steal_ptr(&s);
	return 0;
}

const char *env_opam_switch_name(const struct env_opam_switch *s)
{
	return s->name;
}

const char *env_opam_prefix(const struct env_opam_switch *s)
{
	return s->prefix;
}

int env_opam_prefix_fd(const struct env_opam_switch *s)
{
	return s->fd;
}

int env_opam_meta_fd(const struct env_opam_switch *s)
{
	return s->meta_fd;
}

int env_opam_switch_config(struct env_opam_switch *s, struct arena *a, struct pkg_opam_doc *ret, struct err *e)
{
	int there = opam_read_doc(a, s->meta_fd, "switch-config",
				  arena_printf(a, "%s/" OPAM_META "/switch-config", s->prefix), ret, e);
	return there < 0 ? -1 : 0;
}

/* -- state ---------------------------------------------------------------------------------------------------------------- */

static int nv_sort(const void *a, const void *b)
{
	return opam_nv_cmp(*(const struct str *)a, *(const struct str *)b);
}

static int take_list(struct arena *a, const struct pkg_opam_doc *d, const char *field, struct pkg_opam_strs *ret,
		     struct err *e)
{
	const struct pkg_opam_value *v = pkg_opam_get(d, field);
	struct str name, version;
	*ret = opam_strings_of(a, v);
	for (size_t i = 0; i < ret->n; i++)
		if (!env_opam_split(ret->v[i], &name, &version))
			return pkg_opam_fault(
				d, v->from, "a list of packages with their versions (\"name.version\") is expected", e);
	if (ret->n > 1)
		qsort((void *)(uintptr_t)ret->v, ret->n, sizeof(*ret->v), nv_sort);
	return 0;
}

static int take_state(struct arena *a, struct env_opam_state *ret, struct err *e)
{
	return take_list(a, &ret->doc, "installed", &ret->installed, e) < 0 ||
			       take_list(a, &ret->doc, "roots", &ret->roots, e) < 0 ||
			       take_list(a, &ret->doc, "pinned", &ret->pinned, e) < 0 ||
			       take_list(a, &ret->doc, "compiler", &ret->compiler, e) < 0
		       ? -1
		       : 0;
}

int env_opam_state_parse(struct arena *a, struct str text, const char *where, struct env_opam_state *ret, struct err *e)
{
	*ret = (struct env_opam_state){0};
	return pkg_opam_read(a, text, where, &ret->doc, e) < 0 ? -1 : take_state(a, ret, e);
}

int env_opam_state_read(struct env_opam_switch *s, struct arena *a, struct env_opam_state *ret, struct err *e)
{
	*ret = (struct env_opam_state){0};
	int there = opam_read_doc(a, s->meta_fd, "switch-state",
				  arena_printf(a, "%s/" OPAM_META "/switch-state", s->prefix), &ret->doc, e);
	return there < 0 ? -1 : take_state(a, ret, e);
}

int env_opam_installed_file(struct env_opam_switch *s, struct arena *a, struct str nv, struct pkg_opam_doc *ret,
			    struct err *e)
{
	struct str name, version;
	const char *path = arena_printf(a, "packages/%.*s/opam", STR_ARG(nv));
	if (!env_opam_split(nv, &name, &version) || !fs_path_is_inside(str_c(path)))
		return err_new(e, ERR_INPUT, "'%.*s' is no package with its version", STR_ARG(nv));
	int there = opam_read_doc(a, s->meta_fd, path, arena_printf(a, "%s/" OPAM_META "/%s", s->prefix, path), ret, e);
	return there < 0 ? -1
	       : there	 ? 0
			 : err_new(e, ERR_NOT_FOUND, "'%s/" OPAM_META "/%s' is not there", s->prefix, path);
}

/* The environment as it follows from the state. */
static int write_environment(struct env_opam_switch *s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct env_opam_update *v;
	size_t n;
	if (env_opam_updates_compute(s, &a, &v, &n, e) < 0)
		return -1;
	env_opam_updates_print(v, n, &b);
	return opam_write(s->meta_fd, "environment", &b, e);
}

static const struct pkg_opam_value *list_or_none(struct arena *a, const struct pkg_opam_strs *l)
{
	return l->n ? opam_strings(a, l->v, l->n) : NULL;
}

static int write_state(struct env_opam_switch *s, struct arena *a, const struct env_opam_state *st, struct err *e)
{
	const struct opam_edit edits[] = {{"opam-version", opam_string(a, STR("2.0"))},
					  {"compiler", list_or_none(a, &st->compiler)},
					  {"roots", list_or_none(a, &st->roots)},
					  {"installed", list_or_none(a, &st->installed)},
					  {"pinned", list_or_none(a, &st->pinned)}};
	return opam_write_edited(a, s->meta_fd, "switch-state", &st->doc, edits, 5, e) < 0 ? -1
											   : write_environment(s, e);
}

/* A process that died between the two left an environment that is older than the state. */
static int mend_environment(struct env_opam_switch *s, struct err *e)
{
	struct stat state, env;
	if (fstatat(s->meta_fd, "switch-state", &state, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	bool there = fstatat(s->meta_fd, "environment", &env, AT_SYMLINK_NOFOLLOW) == 0;
	bool older = there &&
		     (env.st_mtim.tv_sec < state.st_mtim.tv_sec ||
		      (env.st_mtim.tv_sec == state.st_mtim.tv_sec && env.st_mtim.tv_nsec < state.st_mtim.tv_nsec));
	return there && !older ? 0 : write_environment(s, e);
}

int env_opam_switch_lock(struct env_opam_switch *s, bool write, int64_t wait_ms, struct err *e)
{
	static const char *const folders[] = {".", "install", "config", "slipway-contents", "slipway-sources", NULL};
	auto_free char *shown = xasprintf("%s/" OPAM_META "/lock", s->prefix);
	bool had = s->lock_write;
	if (opam_lock(s->meta_fd, "lock", shown, write, wait_ms, &s->lock_fd, &s->lock_write, e) < 0)
		return -1;
	if (write && !had)
		opam_clean(s->meta_fd, folders);
	return write ? mend_environment(s, e) : 0;
}

/* -- changes ---------------------------------------------------------------------------------------------------------------- */

/* A list without a package's name, and with nv in it (STR_NONE: without), in order. */
static struct pkg_opam_strs with(struct arena *a, const struct pkg_opam_strs *l, struct str name, struct str nv)
{
	struct str *v = arena_array(a, struct str, l->n + 1), n, version;
	size_t k = 0;
	for (size_t i = 0; i < l->n; i++)
		if (!env_opam_split(l->v[i], &n, &version) || !str_eq(n, name))
			v[k++] = l->v[i];
	if (nv.n)
		v[k++] = nv;
	if (k > 1)
		qsort(v, k, sizeof(*v), nv_sort);
	return (struct pkg_opam_strs){v, k};
}

static int need_held(struct env_opam_switch *s, struct err *e)
{
	return s->lock_fd >= 0 && s->lock_write
		       ? 0
		       : err_new(e, ERR_FAILED, "switch '%s' is not held to be changed", s->name);
}

static int remove_file(int dir_fd, const char *path, struct err *e)
{
	return sys_unlinkat(dir_fd, path, 0) < 0 && errno != ENOENT && errno != ENOTDIR
		       ? err_sys(e, "remove '%s'", path)
		       : 0;
}

/* Packages that the switch's invariant is about are its compiler: what upgrades take care not to change. */
static bool is_named_in(const struct pkg_need *n, struct str name, unsigned depth)
{
	if (!n || depth > PKG_NEED_DEPTH_MAX)
		return false;
	if (n->op == PKG_NEED_NAME)
		return str_eq(n->name, name);
	return is_named_in(n->left, name, depth + 1) || is_named_in(n->right, name, depth + 1);
}

static bool nothing_is_defined(void *ctx, struct str name, struct str *ret)
{
	(void)ctx, (void)name, (void)ret;
	return false;
}

static int is_compiler(struct env_opam_switch *s, struct arena *a, struct str name, struct err *e)
{
	const struct pkg_opam_host none = {.variable = nothing_is_defined};
	const struct pkg_need *n = NULL;
	struct pkg_opam_doc d;
	if (env_opam_switch_config(s, a, &d, e) < 0)
		return -1;
	const struct pkg_opam_value *v = pkg_opam_get(&d, "invariant");
	const struct pkg_opam_expr *x = NULL;
	if (pkg_opam_formula_of(a, &d, v, false, &x, e) < 0 || pkg_opam_need_of(a, x, &none, &n, e) < 0)
		return err_ctx(e, "invariant of switch '%s'", s->name);
	return is_named_in(n, name, 0);
}

/* The file "reinstall": packages that wait to be installed anew, "name version" a line. */
static int not_waiting(struct env_opam_switch *s, struct arena *a, struct str name, struct err *e)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX), out = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct err mine = ERR_INIT;
	struct str line, word;
	(void)a;
	if (fs_read(s->meta_fd, "reinstall", &b, &mine) < 0) {
		*e = mine.code == ERR_NOT_FOUND ? *e : mine;
		return mine.code == ERR_NOT_FOUND ? 0 : -1;
	}
	for (struct str rest = buf_str(&b); str_take_line(&rest, &line);) {
		struct str l = line;
		if (!str_take_word(&l, &word) || str_eq(word, name))
			continue;
		buf_put_str(&out, line);
		buf_put_char(&out, '\n');
	}
	return out.n == b.n ? 0
	       : out.n	    ? opam_write(s->meta_fd, "reinstall", &out, e)
			    : remove_file(s->meta_fd, "reinstall", e);
}

/* Opam files of a package's other versions, and what a killed process left of them. */
static int clear_files(struct env_opam_switch *s, struct arena *a, struct str name, struct str keep, struct err *e)
{
	auto_fs_list l = {0};
	auto_fd fd = fs_open_dir(s->meta_fd, "packages", e);
	if (fd < 0 || fs_list(fd, ".", OPAM_NAMES_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++) {
		struct str nv = str_c(l.name[i]), n, version;
		if (env_opam_split(nv, &n, &version) && str_eq(n, name) && !str_eq(nv, keep) &&
		    fs_remove_tree(fd, arena_strdup(a, nv), e) < 0)
			return -1;
	}
	return 0;
}

static int write_package(struct env_opam_switch *s, struct arena *a, const struct env_opam_package *p, struct str nv,
			 struct err *e)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX), changes = BUF_INIT(ENV_OPAM_FILE_MAX);
	const char *dir = arena_printf(a, "packages/%.*s", STR_ARG(nv));
	buf_put_str(&b, p->opam);
	if (remove_file(s->meta_fd, "packages/cache", e) < 0 || fs_mkdirs(s->meta_fd, dir, OPAM_DIRS_MODE, e) < 0 ||
	    fs_replace_clean_all(s->meta_fd, dir, e) < 0 ||
	    opam_write(s->meta_fd, arena_printf(a, "%s/opam", dir), &b, e) < 0)
		return -1;
	if (!p->changes)
		return 0;
	env_opam_changes_print(p->changes, &changes);
	if (fs_mkdirs(s->meta_fd, "install", OPAM_DIRS_MODE, e) < 0)
		return -1;
	return opam_write(s->meta_fd, arena_printf(a, "install/%.*s.changes", STR_ARG(p->name)), &changes, e);
}

static int add(struct env_opam_switch *s, struct arena *a, const struct env_opam_package *p, struct err *e)
{
	struct str nv = str_c(arena_printf(a, "%.*s.%.*s", STR_ARG(p->name), STR_ARG(p->version))), name, version;
	struct env_opam_state st;
	if (!env_opam_split(nv, &name, &version) || !fs_path_is_inside(nv) || str_find(nv, '/') >= 0)
		return err_new(e, ERR_INPUT, "'%s' is no package with its version", nv.p);
	int compiler = need_held(s, e) < 0 ? -1 : is_compiler(s, a, name, e);
	if (compiler < 0 || env_opam_state_read(s, a, &st, e) < 0 || write_package(s, a, p, nv, e) < 0)
		return -1;
	if (sys_syncfs(s->fd) < 0)
		return err_sys(e, "bring '%s' to disk", s->prefix);
	bool root = p->root || env_opam_version_in(&st.roots, name).n;
	st.installed = with(a, &st.installed, name, nv);
	st.roots = with(a, &st.roots, name, root ? nv : STR_NONE);
	st.compiler = with(a, &st.compiler, name, compiler ? nv : STR_NONE);
	return write_state(s, a, &st, e) < 0 || not_waiting(s, a, name, e) < 0 || clear_files(s, a, name, nv, e) < 0
		       ? -1
		       : 0;
}

int env_opam_added(struct env_opam_switch *s, const struct env_opam_package *p, struct err *e)
{
	auto_arena a = ARENA_INIT;
	return add(s, &a, p, e) < 0 ? err_ctx(e, "note '%.*s' as installed", STR_ARG(p->name)) : 0;
}

static int drop(struct env_opam_switch *s, struct arena *a, struct str name, bool keep_root, struct err *e)
{
	static const char *const files[] = {"install/%.*s.install", "install/%.*s.changes", "config/%.*s.config"};
	struct env_opam_state st;
	if (!pkg_opam_name_is_good(name))
		return err_new(e, ERR_INPUT, "'%.*s' is no name of a package", STR_ARG(name));
	if (need_held(s, e) < 0 || env_opam_state_read(s, a, &st, e) < 0)
		return -1;
	st.installed = with(a, &st.installed, name, STR_NONE);
	st.compiler = with(a, &st.compiler, name, STR_NONE);
	if (!keep_root)
		st.roots = with(a, &st.roots, name, STR_NONE);
	if (remove_file(s->meta_fd, "packages/cache", e) < 0 || write_state(s, a, &st, e) < 0 ||
	    not_waiting(s, a, name, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		auto_buf b = BUF_INIT(4096);
		const char *mark = strstr(files[i], "%.*s");
		buf_put(&b, files[i], (size_t)(mark - files[i]));
		buf_put_str(&b, name);
		buf_put_c(&b, mark + 4);
		if (remove_file(s->meta_fd, b.p, e) < 0)
			return -1;
	}
	return clear_files(s, a, name, STR_NONE, e);
}

int env_opam_removed(struct env_opam_switch *s, struct str name, bool keep_root, struct err *e)
{
	auto_arena a = ARENA_INIT;
	return drop(s, &a, name, keep_root, e) < 0 ? err_ctx(e, "note '%.*s' as removed", STR_ARG(name)) : 0;
}

/*
 * Order of a pin: its definition, the state, then what is left of the definition before. Killed after the first, a definition is there that the state
 * does not speak of, or speaks of by another version: env_opam_pins_settle goes by the definition in the one case, by the state in the other.
 */
static int set_pin(struct env_opam_switch *s, struct arena *a, struct str name, struct str nv,
		   const struct buf *definition, struct env_opam_state *st, bool is_new, struct err *e)
{
	const char *overlay = arena_printf(a, "overlay/%.*s", STR_ARG(name));
	const char *file = arena_printf(a, "%s/opam", overlay);
	if (definition &&
	    (fs_mkdirs(s->meta_fd, overlay, OPAM_DIRS_MODE, e) < 0 ||
	     fs_replace_clean_all(s->meta_fd, overlay, e) < 0 || opam_write(s->meta_fd, file, definition, e) < 0))
		return -1;
	st->pinned = with(a, &st->pinned, name, nv);
	if (is_new && write_state(s, a, st, e) < 0)
		return -1;
	return fs_remove_tree(s->meta_fd, definition ? arena_printf(a, "%s/files", overlay) : overlay, e);
}

int env_opam_pin(struct env_opam_switch *s, struct arena *a, struct str name, struct str version,
		 const struct buf *definition, struct str *ret_before, struct err *e)
{
	struct env_opam_state st;
	struct str nv = version.n ? str_c(arena_printf(a, "%.*s.%.*s", STR_ARG(name), STR_ARG(version))) : STR_NONE, n,
		   v;
	if (version.n ? !env_opam_split(nv, &n, &v) || !str_eq(n, name) : !pkg_opam_name_is_good(name))
		return err_new(e, ERR_INPUT, "'%.*s' is no package to pin", STR_ARG(nv.n ? nv : name));
	if (need_held(s, e) < 0 || env_opam_state_read(s, a, &st, e) < 0)
		return -1;
	*ret_before = env_opam_version_in(&st.pinned, name);
	bool overlaid = fs_exists(s->meta_fd, arena_printf(a, "overlay/%.*s", STR_ARG(name)));
	bool is_new = !str_eq(*ret_before, version);
	if (!is_new && !overlaid && !definition)
		return 0;
	return set_pin(s, a, name, nv, definition, &st, is_new, e) < 0 ? -1 : 1;
}

/* The version that the definition of a pin says; STR_NONE: there is none, or it does not say. */
static struct str overlay_version(struct env_opam_switch *s, struct arena *a, const char *name)
{
	struct pkg_opam_doc d;
	struct err ignored = ERR_INIT; /* what cannot be read is told by whoever needs it */
	const char *path = arena_printf(a, "overlay/%s/opam", name);
	struct str version = opam_read_doc(a, s->meta_fd, path, path, &d, &ignored) > 0
				     ? pkg_opam_text(pkg_opam_get(&d, "version"))
				     : STR_NONE;
	return pkg_opam_version_is_good(version) ? version : STR_NONE;
}

int env_opam_pins_settle(struct env_opam_switch *s, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_fs_list names = {0};
	struct env_opam_state st;
	bool any = false;
	if (!fs_exists(s->meta_fd, "overlay"))
		return 0;
	if (need_held(s, e) < 0 || env_opam_state_read(s, &a, &st, e) < 0 ||
	    fs_list(s->meta_fd, "overlay", OPAM_NAMES_MAX, &names, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		struct str name = str_c(names.name[i]), pinned = env_opam_version_in(&st.pinned, name);
		if (!pkg_opam_name_is_good(name))
			continue; /* not ours to say */
		struct str version = overlay_version(s, &a, names.name[i]);
		if (!pinned.n && fs_remove_tree(s->meta_fd, arena_printf(&a, "overlay/%s", names.name[i]), e) < 0)
			return -1;
		if (!pinned.n || !version.n || str_eq(version, pinned))
			continue;
		const char *nv = arena_printf(&a, "%s.%.*s", names.name[i], STR_ARG(version));
		st.pinned = with(&a, &st.pinned, name, str_c(nv));
		any = true;
	}
	return any ? write_state(s, &a, &st, e) : 0;
}

/* -- a new one -------------------------------------------------------------------------------------------------------------- */

static int put_config(int meta_fd, struct env_opam *o, const char *name, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct passwd *pw = getpwuid(getuid());
	struct str user = str_c(pw ? arena_strdup(&a, str_c(pw->pw_name)) : "user");
	struct group *gr = getgrgid(getgid());
	struct str group = str_c(gr ? arena_strdup(&a, str_c(gr->gr_name)) : "group");
	struct pkg_opam_item *v = pkg_opam_make_field(&a, "user", opam_string(&a, user));
	struct pkg_opam_item *f = pkg_opam_make_field(&a, "opam-version", opam_string(&a, STR("2.0"))), *first = f;
	v->next = pkg_opam_make_field(&a, "group", opam_string(&a, group));
	f->next = pkg_opam_make_field(&a, "synopsis", opam_string(&a, str_c(name)));
	struct pkg_opam_item *root = pkg_opam_make_field(&a, "opam-root", opam_string(&a, str_c(o->path)));
	struct pkg_opam_item *paths = pkg_opam_make_section(&a, "paths", STR_NONE, NULL);
	((struct pkg_opam_item *)(uintptr_t)f->next)->next = root;
	root->next = paths;
	paths->next = pkg_opam_make_section(&a, "variables", STR_NONE, v);
	pkg_opam_print_normal(first, &b);
	return opam_write(meta_fd, "switch-config", &b, e);
}

static int make_folders(const char *prefix, struct env_opam *o, const char *name, struct err *e)
{
	static const char *const folders[] = {"lib/stublibs",
					      "lib/toplevel",
					      "bin",
					      "sbin",
					      "doc",
					      "man/man1",
					      "man/man1M",
					      "man/man2",
					      "man/man3",
					      "man/man4",
					      "man/man5",
					      "man/man6",
					      "man/man7",
					      "man/man9",
					      OPAM_META "/build",
					      OPAM_META "/install",
					      OPAM_META "/config",
					      OPAM_META "/packages"};
	auto_fd fd = fs_open_dir_make(AT_FDCWD, prefix, e);
	for (size_t i = 0; fd >= 0 && i < sizeof(folders) / sizeof(*folders); i++)
		if (fs_mkdirs(fd, folders[i], OPAM_DIRS_MODE, e) < 0)
			return -1;
	auto_fd meta = fd < 0 ? -1 : fs_open_dir(fd, OPAM_META, e);
	return meta < 0 || put_config(meta, o, name, e) < 0 ? -1 : fs_sync_dir(fd, OPAM_META, e);
}

/* Its environment needs a switch that is open. It lies at `tmp` still. */
static int finish(struct env_opam *o, const char *name, char *prefix, const char *tmp, struct err *e)
{
	struct env_opam_switch s = {
		.root = o, .name = (char *)(uintptr_t)name, .prefix = prefix, .fd = -1, .lock_fd = -1};
	auto_fd fd = fs_open_dir(AT_FDCWD, tmp, e);
	auto_fd meta = fd < 0 ? -1 : fs_open_dir(fd, OPAM_META, e);
	s.fd = fd;
	s.meta_fd = meta;
	return meta < 0 ? -1 : write_environment(&s, e);
}

/* Left by a process that died before the switch was listed: nothing was ever installed in it. */
static bool is_left_over(const char *prefix)
{
	auto_free char *config = xasprintf("%s/" OPAM_META "/build", prefix);
	auto_free char *state = xasprintf("%s/" OPAM_META "/switch-state", prefix);
	return fs_exists(AT_FDCWD, config) && !fs_exists(AT_FDCWD, state);
}

int env_opam_switch_create(struct env_opam *o, const char *name, bool make_current, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_opam_config c;
	auto_free char *listed = listed_as(name);
	auto_free char *prefix = prefix_of(o, name);
	if (check_name(name, e) < 0 || env_opam_config_read(o, &a, &c, e) < 0)
		return -1;
	if (has(&c.switches, str_c(listed)))
		return err_new(e, ERR_EXISTS, "there is a switch '%s' already", name);
	const char *tmp = arena_printf(&a, "%s.new", prefix);
	if (fs_exists(AT_FDCWD, prefix) && !is_left_over(prefix))
		return err_new(e, ERR_EXISTS, "'%s' is there already", prefix);
	if (fs_remove_tree(AT_FDCWD, tmp, e) < 0 || fs_remove_tree(AT_FDCWD, prefix, e) < 0 ||
	    make_folders(tmp, o, listed, e) < 0 || finish(o, listed, prefix, tmp, e) < 0)
		return -1;
	if (sys_renameat(AT_FDCWD, tmp, AT_FDCWD, prefix) < 0)
		return err_sys(e, "put '%s' in place", prefix);
	struct str *all = arena_array(&a, struct str, c.switches.n + 1);
	all[0] = str_c(listed);
	for (size_t i = 0; i < c.switches.n; i++)
		all[i + 1] = c.switches.v[i];
	const struct opam_edit edits[] = {{"installed-switches", opam_strings(&a, all, c.switches.n + 1)},
					  {"switch", opam_string(&a, str_c(listed))}};
	return opam_write_edited(&a, o->fd, "config", &c.doc, edits, make_current && !is_local(name) ? 2 : 1, e);
}

int env_opam_switch_remove(struct env_opam *o, const char *name, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_opam_config c;
	auto_free char *listed = listed_as(name);
	auto_free char *prefix = prefix_of(o, name);
	size_t n = 0;
	if (check_name(name, e) < 0 || env_opam_config_read(o, &a, &c, e) < 0)
		return -1;
	struct str *left = arena_array(&a, struct str, c.switches.n);
	for (size_t i = 0; i < c.switches.n; i++)
		if (!str_eq_c(c.switches.v[i], listed))
			left[n++] = c.switches.v[i];
	if (n == c.switches.n)
		return err_new(e, ERR_NOT_FOUND, "there is no switch '%s' in '%s'", name, o->path);
	bool current = str_eq_c(c.current, listed);
	const struct opam_edit edits[] = {{"installed-switches", n ? opam_strings(&a, left, n) : NULL},
					  {"switch", NULL}};
	if (opam_write_edited(&a, o->fd, "config", &c.doc, edits, current ? 2 : 1, e) < 0)
		return -1;
	return fs_remove_tree(AT_FDCWD, prefix, e);
}
