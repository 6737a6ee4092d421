// SPDX-License-Identifier: Apache-2.0
/*
 * opam's variables. In this order, as opam's manual has it ("Variables"): what the caller says; OPAMVAR_* of the environment; variables of the
 * package's NAME.config; the switch's folders and variables; those of the root's configuration, evaluated when first asked for; the
 * system's; and what is known of a package.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "base/proc.h"
#include "base/vec.h"
#include "env/opam.h"

enum { EVAL_MAX = 65536, EVAL_WAIT_MS = 20000, ARGS_MAX = 64, NEED_DEPTH_MAX = PKG_OPAM_HEIGHT_MAX };

struct global {
	struct str name, value, documentation;
	const struct pkg_opam_value *eval; /* its command: run when it is first asked for */
	bool known;
};
struct config {
	struct str package;
	struct pkg_opam_doc doc;
};
struct env_opam_vars {
	struct env_opam *o;
	struct env_opam_switch *s;
	struct arena *arena;
	struct env_opam_config root;
	struct pkg_opam_doc switch_config;
	struct env_opam_state state;
	struct global *global;
	size_t global_n;
	VEC(struct config) configs; /* of packages, once asked for; freed with the arena's owner */
};
struct host {
	struct env_opam_vars *v;
	struct str name, version;
	const struct pkg_opam_doc *file;
	const struct env_opam_local *local;
	size_t local_n;
};

/* -- values ----------------------------------------------------------------------------------------------------------- */

static bool value_text(struct arena *a, const struct pkg_opam_value *v, struct str *ret)
{
	if (!v)
		return false;
	switch ((enum pkg_opam_kind)v->kind) {
	case PKG_OPAM_BOOL:
		*ret = v->number ? STR("true") : STR("false");
		return true;
	case PKG_OPAM_INT:
		*ret = str_c(arena_printf(a, "%lld", (long long)v->number));
		return true;
	case PKG_OPAM_STRING:
	case PKG_OPAM_IDENT:
		*ret = v->text;
		return true;
	case PKG_OPAM_LIST: {
		auto_buf b = BUF_INIT(EVAL_MAX);
		for (const struct pkg_opam_value *x = v->first; x; x = x->next)
			buf_printf(&b, "%s%.*s", b.n ? " " : "", STR_ARG(pkg_opam_text(x)));
		*ret = arena_str(a, buf_str(&b));
		return true;
	}
	case PKG_OPAM_GROUP:
	case PKG_OPAM_OPTION:
	case PKG_OPAM_RELOP:
	case PKG_OPAM_PREFIX_RELOP:
	case PKG_OPAM_LOGOP:
	case PKG_OPAM_PFXOP:
	case PKG_OPAM_BINDING:
		break;
	}
	return false;
}

static struct str truth(bool b)
{
	return b ? STR("true") : STR("false");
}

/* -- the root's -------------------------------------------------------------------------------------------------------- */

static struct str lower(struct arena *a, struct str s)
{
	char *z = arena_strdup(a, s);
	for (char *p = z; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 32;
	return str_of(z, s.n);
}

static struct str arch_word(struct arena *a, struct str machine)
{
	static const struct {
		const char *from, *to;
	} words[] = {{"x86", "x86_32"},	  {"i386", "x86_32"},	{"i486", "x86_32"},   {"i586", "x86_32"},
		     {"i686", "x86_32"},  {"amd64", "x86_64"},	{"powerpc", "ppc32"}, {"ppc", "ppc32"},
		     {"ppcle", "ppc32"},  {"ppc64le", "ppc64"}, {"aarch64", "arm64"}, {"aarch64_be", "arm64"},
		     {"armv8b", "arm32"}, {"armv8l", "arm32"}};
	struct str s = lower(a, machine);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (str_eq_c(s, words[i].from))
			return str_c(words[i].to);
	return str_starts(s, STR("armv5")) || str_starts(s, STR("armv6")) || str_starts(s, STR("armv7")) ||
			       str_starts(s, STR("earmv"))
		       ? STR("arm32")
		       : s;
}

static struct str release_field(struct arena *a, const char *field)
{
	auto_buf b = BUF_INIT(EVAL_MAX);
	struct err ignored = ERR_INIT;
	struct str line, value;
	if (fs_read(AT_FDCWD, "/etc/os-release", &b, &ignored) < 0 &&
	    fs_read(AT_FDCWD, "/usr/lib/os-release", &b, &ignored) < 0)
		return STR_NONE;
	for (struct str rest = buf_str(&b); str_take_line(&rest, &line);) {
		if (!str_take_str(&line, str_c(field)) || !str_take_char(&line, '='))
			continue;
		value = str_trim(line);
		if (value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\'') && value.p[value.n - 1] == value.p[0])
			value = str_of(value.p + 1, value.n - 2);
		return lower(a, value);
	}
	return STR_NONE;
}

/* Of the machine that this runs on. */
static bool system_variable(struct arena *a, struct str name, struct str *ret)
{
	struct utsname u;
	struct str like;
	if (uname(&u) < 0)
		return false;
	if (str_eq_c(name, "arch"))
		*ret = arch_word(a, str_c(u.machine));
	else if (str_eq_c(name, "os"))
		*ret = lower(a, str_c(u.sysname));
	else if (str_eq_c(name, "os-distribution"))
		*ret = release_field(a, "ID");
	else if (str_eq_c(name, "os-version"))
		*ret = release_field(a, "VERSION_ID");
	else if (str_eq_c(name, "os-family"))
		*ret = (like = release_field(a, "ID_LIKE")).n && str_take_word(&like, ret) ? *ret
											   : release_field(a, "ID");
	else
		return false;
	if (!ret->n)
		*ret = STR("unknown");
	return true;
}

static void run_eval(struct arena *a, struct global *g)
{
	const char *argv[ARGS_MAX + 1];
	auto_buf out = BUF_INIT(EVAL_MAX), errout = BUF_INIT(EVAL_MAX);
	struct err ignored = ERR_INIT;
	size_t n = 0;
	for (const struct pkg_opam_value *x = pkg_opam_first(g->eval); x && n < ARGS_MAX; x = x->next)
		argv[n++] = arena_strdup(a, pkg_opam_text(x));
	argv[n] = NULL;
	g->eval = NULL;
	const struct proc_opts o = {.argv = argv, .out = &out, .errout = &errout, .deadline_ms = EVAL_WAIT_MS};
	if (!n || proc_run(&o, &ignored) != 0)
		return;
	g->value = arena_str(a, str_trim(buf_str(&out)));
	g->known = true;
}

/* global-variables and eval-variables: [name value "documentation"] */
static void read_globals(struct env_opam_vars *v)
{
	VEC(struct global) list = {0};
	static const char *const fields[] = {"eval-variables", "global-variables"};
	for (size_t i = 0; i < 2; i++) {
		const struct pkg_opam_value *x = pkg_opam_get(&v->root.doc, fields[i]);
		bool one = x && x->kind == PKG_OPAM_LIST && x->first && x->first->kind != PKG_OPAM_LIST;
		for (x = one ? x : pkg_opam_first(x); x; x = one ? NULL : x->next) {
			const struct pkg_opam_value *name = pkg_opam_first(x), *value = name ? name->next : NULL;
			struct global g = {.name = pkg_opam_text(name)};
			if (!g.name.n || !value)
				continue;
			g.documentation = pkg_opam_text(value->next);
			if (i == 0)
				g.eval = value;
			else
				g.known = value_text(v->arena, value, &g.value);
			vec_push(&list, g);
		}
	}
	v->global = vec_copy(&list, v->arena);
	v->global_n = list.n;
	vec_release(&list);
}

static struct str jobs_of(struct env_opam_vars *v)
{
	const char *asked = getenv("OPAMJOBS");
	const struct pkg_opam_value *said = pkg_opam_get(&v->root.doc, "jobs");
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	struct str ret;
	if (asked && *asked)
		return str_c(asked);
	if (value_text(v->arena, said, &ret))
		return ret;
	return str_c(arena_printf(v->arena, "%ld", n > 2 ? n - 1 : 1));
}

static bool root_variable(struct env_opam_vars *v, struct str name, struct str *ret)
{
	for (size_t i = 0; i < v->global_n; i++) {
		struct global *g = &v->global[i];
		if (!str_eq(g->name, name))
			continue;
		if (g->eval)
			run_eval(v->arena, g);
		if (g->known) {
			*ret = g->value;
			return true;
		}
	}
	const char *make = getenv("OPAMMAKECMD");
	if (str_eq_c(name, "opam-version"))
		*ret = STR(ENV_OPAM_VERSION);
	else if (str_eq_c(name, "jobs"))
		*ret = jobs_of(v);
	else if (str_eq_c(name, "root"))
		*ret = str_c(v->o->path);
	else if (str_eq_c(name, "make"))
		*ret = make && *make ? str_c(make) : STR("make");
	else if (str_eq_c(name, "exe"))
		*ret = STR("");
	else if (str_eq_c(name, "switch") && v->s)
		*ret = str_c(v->s->name);
	else
		return system_variable(v->arena, name, ret);
	return true;
}

/* -- the switch's ------------------------------------------------------------------------------------------------------- */

static bool switch_variable(struct env_opam_vars *v, struct str name, struct str *ret)
{
	if (!v->s)
		return false;
	*ret = opam_dir_path(v->arena, &v->switch_config, str_c(v->s->prefix), arena_strdup(v->arena, name));
	if (ret->p)
		return true;
	const struct pkg_opam_item *vars = pkg_opam_section(&v->switch_config, "variables", NULL);
	return vars && value_text(v->arena, pkg_opam_get_in(vars, arena_strdup(v->arena, name)), ret);
}

static bool from_environment(struct env_opam_vars *v, struct str package, struct str name, struct str *ret)
{
	auto_buf b = BUF_INIT(4096);
	buf_printf(&b, "OPAMVAR_%.*s%s%.*s", STR_ARG(package), package.n ? "_" : "", STR_ARG(name));
	for (size_t i = 0; i < b.n; i++)
		if (b.p[i] == '-')
			b.p[i] = '_';
	const char *said = b.overflow ? NULL : getenv(b.p);
	if (!said)
		return false;
	*ret = strcmp(said, "1") == 0	? STR("true")
	       : strcmp(said, "0") == 0 ? STR("false")
					: arena_str(v->arena, str_c(said));
	return true;
}

/* -- a package's -------------------------------------------------------------------------------------------------------- */

/* .opam-switch/config/NAME.config; variables stand in a section, in old ones at the top. */
static bool config_variable(struct env_opam_vars *v, struct str package, struct str name, struct str *ret)
{
	const struct pkg_opam_doc *d = NULL;
	if (!v->s ||
	    !env_opam_version_in(&v->state.installed, package).n) /* what a killed process left counts for nothing */
		return false;
	vec_foreach(c, &v->configs)
		if (str_eq(c->package, package))
			d = &c->doc;
	if (!d) {
		struct err ignored = ERR_INIT;
		struct config c = {.package = package};
		const char *path = arena_printf(v->arena, "config/%.*s.config", STR_ARG(package));
		if (opam_read_doc(v->arena, v->s->meta_fd, path, path, &c.doc, &ignored) < 0)
			c.doc = (struct pkg_opam_doc){0};
		vec_push(&v->configs, c);
		d = &vec_last(&v->configs)->doc;
	}
	const char *field = arena_strdup(v->arena, name);
	const struct pkg_opam_item *vars = pkg_opam_section(d, "variables", NULL);
	const struct pkg_opam_value *x = vars				  ? pkg_opam_get_in(vars, field)
					 : str_eq_c(name, "opam-version") ? NULL
									  : pkg_opam_get(d, field);
	return value_text(v->arena, x, ret);
}

static const struct pkg_opam_item *url_section(const struct pkg_opam_doc *file)
{
	return file ? pkg_opam_section(file, "url", NULL) : NULL;
}

static bool hash_of(struct env_opam_vars *v, const struct pkg_opam_doc *file, struct str *ret)
{
	const struct pkg_opam_item *url = url_section(file);
	struct str s = url ? pkg_opam_text(pkg_opam_first(pkg_opam_get_in(url, "checksum"))) : STR_NONE;
	if (!s.n)
		return false;
	*ret = str_find(s, '=') >= 0 ? s : str_c(arena_printf(v->arena, "md5=%.*s", STR_ARG(s)));
	return true;
}

static bool is_dev(struct env_opam_vars *v, struct str package, const struct pkg_opam_doc *file)
{
	const struct pkg_opam_item *url = url_section(file);
	if (!url || pkg_opam_get_in(url, "checksum"))
		return false;
	struct str src = pkg_opam_text(pkg_opam_get_in(url, "src"));
	if (!src.n)
		src = pkg_opam_text(pkg_opam_get_in(url, "archive"));
	bool http = str_starts(src, STR("http://")) || str_starts(src, STR("https://")) ||
		    str_starts(src, STR("ftp://"));
	return !http || env_opam_version_in(&v->state.pinned, package).n;
}

/* Those of the names that are installed in a version that will do. */
static void put_needs(struct env_opam_vars *v, const struct pkg_need *n, struct buf *b, unsigned depth)
{
	if (!n || depth > NEED_DEPTH_MAX)
		return;
	if (n->op != PKG_NEED_NAME) {
		put_needs(v, n->left, b, depth + 1);
		put_needs(v, n->right, b, depth + 1);
		return;
	}
	struct str version = env_opam_version_in(&v->state.installed, n->name);
	if (version.n && pkg_range_has(n->range, version, pkg_opam_version_cmp))
		buf_printf(b, "%s%.*s.%.*s", b->n ? " " : "", STR_ARG(n->name), STR_ARG(version));
}

static bool depends_of(struct env_opam_vars *v, const struct pkg_opam_doc *file, const struct pkg_opam_host *h,
		       struct str *ret)
{
	static const char *const fields[] = {"depends", "depopts"};
	auto_buf b = BUF_INIT(EVAL_MAX);
	struct err ignored = ERR_INIT;
	for (size_t i = 0; file && i < 2; i++) {
		const struct pkg_opam_expr *x = NULL;
		const struct pkg_need *n = NULL;
		if (pkg_opam_formula_of(v->arena, file, pkg_opam_get(file, fields[i]), false, &x, &ignored) == 0 &&
		    pkg_opam_need_of(v->arena, x, h, &n, &ignored) == 0)
			put_needs(v, n, &b, 0);
	}
	*ret = arena_str(v->arena, buf_str(&b));
	return file != NULL;
}

static bool variable(void *ctx, struct str name, struct str *ret);

static bool package_dir(struct env_opam_vars *v, struct str package, struct str name, struct str *ret)
{
	static const struct {
		const char *name;
		bool own;
	} dirs[] = {{"bin", false}, {"sbin", false}, {"man", false}, {"lib", true},
		    {"doc", true},  {"share", true}, {"etc", true}};
	for (size_t i = 0; v->s && i < sizeof(dirs) / sizeof(*dirs); i++) {
		if (!str_eq_c(name, dirs[i].name))
			continue;
		struct str dir = opam_dir_path(v->arena, &v->switch_config, str_c(v->s->prefix), dirs[i].name);
		*ret = dirs[i].own ? str_c(arena_printf(v->arena, "%.*s/%.*s", STR_ARG(dir), STR_ARG(package))) : dir;
		return true;
	}
	return false;
}

static bool package_variable(struct host *h, struct str package, struct str name, struct str *ret)
{
	struct env_opam_vars *v = h->v;
	struct str there = env_opam_version_in(&v->state.installed, package);
	bool own = h->name.n && str_eq(package, h->name);
	struct str version = own && h->version.n ? h->version : there;
	struct pkg_opam_doc read = {0};
	const struct pkg_opam_doc *file = own ? h->file : NULL;
	struct err ignored = ERR_INIT;
	if (str_eq_c(name, "installed"))
		return *ret = truth(there.n), true;
	if (str_eq_c(name, "pinned"))
		return *ret = truth(env_opam_version_in(&v->state.pinned, package).n), true;
	if (str_eq_c(name, "enable"))
		return *ret = there.n ? STR("enable") : STR("disable"), true;
	if (!version.n)
		return false;
	if (str_eq_c(name, "name"))
		return *ret = package, true;
	if (str_eq_c(name, "version"))
		return *ret = version, true;
	if (package_dir(v, package, name, ret))
		return true;
	struct str nv = str_c(arena_printf(v->arena, "%.*s.%.*s", STR_ARG(package), STR_ARG(version)));
	if (v->s && str_eq_c(name, "build"))
		return *ret = str_c(arena_printf(v->arena, "%s/" OPAM_META "/build/%s", v->s->prefix, nv.p)), true;
	if (!file && v->s && there.n && env_opam_installed_file(v->s, v->arena, nv, &read, &ignored) == 0)
		file = &read;
	if (!file)
		return false;
	if (str_eq_c(name, "hash"))
		return hash_of(v, file, ret);
	if (str_eq_c(name, "dev"))
		return *ret = truth(is_dev(v, package, file)), true;
	if (str_eq_c(name, "opamfile"))
		return *ret = str_c(file->where), true;
	if (!str_eq_c(name, "depends"))
		return false;
	struct pkg_opam_host host = env_opam_host(v, package, version, file, NULL, 0);
	return depends_of(v, file, &host, ret);
}

/* -- asked ---------------------------------------------------------------------------------------------------------------- */

static bool global_variable(struct host *h, struct str name, struct str *ret)
{
	struct env_opam_vars *v = h->v;
	return switch_variable(v, name, ret) || root_variable(v, name, ret);
}

static bool variable(void *ctx, struct str name, struct str *ret)
{
	struct host *h = ctx;
	ptrdiff_t colon = str_rfind(name, ':');
	struct str package = colon < 0 ? STR_NONE : str_head(name, (size_t)colon),
		   bare = str_skip(name, (size_t)(colon + 1));
	if (str_eq_c(package, "_"))
		package = h->name;
	for (size_t i = 0; colon < 0 && i < h->local_n; i++)
		if (str_eq(h->local[i].name, name)) {
			*ret = h->local[i].value;
			return h->local[i].value.p != NULL;
		}
	if (from_environment(h->v, package, bare, ret))
		return true;
	if (colon >= 0)
		return config_variable(h->v, package, bare, ret) || package_variable(h, package, bare, ret);
	if (h->name.n && from_environment(h->v, h->name, bare, ret))
		return true;
	return global_variable(h, bare, ret) ||
	       (h->name.n && (config_variable(h->v, h->name, bare, ret) || package_variable(h, h->name, bare, ret)));
}

struct pkg_opam_host env_opam_host(struct env_opam_vars *v, struct str name, struct str version,
				   const struct pkg_opam_doc *file, const struct env_opam_local *local, size_t local_n)
{
	struct host *h = arena_new(v->arena, struct host);
	*h = (struct host){v, name, version, file, local, local_n};
	return (struct pkg_opam_host){.variable = variable, .ctx = h, .self = name};
}

void env_opam_vars_free(struct env_opam_vars *v)
{
	if (v)
		vec_release(&v->configs);
	free(v);
}

int env_opam_vars_new(struct env_opam *o, struct env_opam_switch *s, struct arena *a, struct env_opam_vars **ret,
		      struct err *e)
{
	auto_ptr(env_opam_vars) v = xcalloc(1, sizeof(*v));
	v->o = o;
	v->s = s;
	v->arena = a;
	if (env_opam_config_read(o, a, &v->root, e) < 0 ||
	    (s &&
	     (env_opam_switch_config(s, a, &v->switch_config, e) < 0 || env_opam_state_read(s, a, &v->state, e) < 0)))
		return -1;
	read_globals(v);
	*ret = steal_ptr(&v);
	return 0;
}

size_t env_opam_vars_of_root(struct env_opam_vars *v, struct env_opam_update **ret)
{
	struct env_opam_update *list = arena_array(v->arena, struct env_opam_update, v->global_n);
	for (size_t i = 0; i < v->global_n; i++)
		list[i] = (struct env_opam_update){.variable = v->global[i].name, .why = v->global[i].documentation};
	*ret = list;
	return v->global_n;
}

struct pkg_opam_strs env_opam_host_variables(const struct pkg_opam_host *h, struct arena *a)
{
	static const char *const names[] = {"arch",
					    "os",
					    "os-distribution",
					    "os-family",
					    "os-version",
					    "opam-version",
					    "sys-ocaml-version",
					    "sys-ocaml-arch",
					    "sys-ocaml-cc",
					    "sys-ocaml-libc",
					    "sys-ocaml-system"};
	enum { NAMES = sizeof(names) / sizeof(*names) };
	struct str *v = arena_array(a, struct str, NAMES);
	size_t n = 0;
	for (size_t i = 0; i < NAMES; i++) {
		struct str value;
		if (h->variable(h->ctx, str_c(names[i]), &value))
			v[n++] = str_c(arena_printf(a, "%s=%.*s", names[i], STR_ARG(value)));
	}
	return (struct pkg_opam_strs){v, n};
}
