// SPDX-License-Identifier: Apache-2.0
/* `opam config`: report and expand; env and var by their old names. */
#include <fcntl.h>

#include "base/fs.h"
#include "cmd/opam_as.h"

static void put_fact(struct opam_as *x, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void put_fact(struct opam_as *x, const char *name, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(65536);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	opam_as_put(x, "# %-20s %s\n", name, b.p);
}

static struct str system_word(struct opam_as *x, const struct pkg_opam_host *h, const char *name)
{
	struct str s;
	return opam_as_value(x, h, str_c(name), &s) && s.n ? s : STR("unknown");
}

static int put_repositories(struct opam_as *x, struct err *e)
{
	static const char *const kinds[] = {"http", "local", "version-controlled"};
	struct env_opam_repo *v;
	size_t n, count[3] = {0};
	auto_buf b = BUF_INIT(4096);
	if (env_opam_repos(x->o, &x->c->arena, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		bool vcs = str_starts(v[i].url, STR("git")) || str_starts(v[i].url, STR("hg")) ||
			   str_starts(v[i].url, STR("darcs")) || str_ends(v[i].url, STR(".git"));
		bool http = str_starts(v[i].url, STR("http"));
		count[vcs ? 2 : http ? 0 : 1]++;
	}
	for (size_t i = 0; i < 3; i++)
		if (count[i])
			buf_printf(&b, "%s%zu (%s)", b.n ? ", " : "", count[i], kinds[i]);
	put_fact(x, "repositories", "%s", b.p);
	return 0;
}

static bool add_name(struct pkg_opam_strs *list, struct str *room, struct str name)
{
	for (size_t i = 0; i < list->n; i++)
		if (str_eq(list->v[i], name))
			return false;
	room[list->n++] = name;
	return true;
}

/* The installed packages that a formula names. */
static void add_named(const struct pkg_opam_expr *x, const struct env_opam_state *st, struct pkg_opam_strs *list,
		      struct str *room, unsigned depth)
{
	if (!x || depth > PKG_OPAM_HEIGHT_MAX)
		return;
	if (x->kind == PKG_OPAM_E_PACKAGE) {
		if (env_opam_version_in(&st->installed, x->text).n)
			(void)add_name(list, room, x->text);
		return;
	}
	add_named(x->left, st, list, room, depth + 1);
	add_named(x->right, st, list, room, depth + 1);
}

static bool is_flagged(const struct pkg_opam_doc *d)
{
	for (const struct pkg_opam_value *v = pkg_opam_first(pkg_opam_get(d, "flags")); v; v = v->next)
		if (str_eq_c(pkg_opam_text(v), "compiler"))
			return true;
	return false;
}

/* Installed compilers, and all that they need. */
static struct pkg_opam_strs compilers(struct opam_as *x, const struct env_opam_state *st)
{
	static const char *const fields[] = {"depends", "depopts"};
	struct arena *a = &x->c->arena;
	struct str *room = arena_array(a, struct str, st->installed.n + 1);
	struct pkg_opam_doc *docs = arena_array(a, struct pkg_opam_doc, st->installed.n + 1);
	struct pkg_opam_strs list = {room, 0};
	struct err ignored = ERR_INIT;
	for (size_t i = 0; i < st->installed.n; i++) {
		struct str name, version;
		if (!env_opam_split(st->installed.v[i], &name, &version) ||
		    env_opam_installed_file(x->s, a, st->installed.v[i], &docs[i], &ignored) < 0)
			continue;
		if (is_flagged(&docs[i]))
			(void)add_name(&list, room, name);
	}
	for (size_t k = 0; k < list.n; k++)
		for (size_t i = 0; i < st->installed.n; i++) {
			struct str name, version;
			if (!env_opam_split(st->installed.v[i], &name, &version) || !str_eq(name, list.v[k]))
				continue;
			for (size_t f = 0; f < 2; f++) {
				const struct pkg_opam_expr *e = NULL;
				const struct pkg_opam_value *v = pkg_opam_get(&docs[i], fields[f]);
				if (v && pkg_opam_formula_of(a, &docs[i], v, false, &e, &ignored) == 0)
					add_named(e, st, &list, room, 0);
			}
		}
	return list;
}

static void put_config_of(struct opam_as *x, struct str name)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct pkg_opam_doc d;
	struct err ignored = ERR_INIT;
	const char *path = arena_printf(&x->c->arena, "config/%.*s.config", STR_ARG(name));
	if (fs_read(env_opam_meta_fd(x->s), path, &b, &ignored) < 0 ||
	    pkg_opam_read(&x->c->arena, arena_str(&x->c->arena, buf_str(&b)), path, &d, &ignored) < 0)
		return;
	const struct pkg_opam_item *vars = pkg_opam_section(&d, "variables", NULL);
	for (const struct pkg_opam_item *v = vars ? vars->first : NULL; v; v = v->next) {
		auto_buf value = BUF_INIT(65536);
		struct str text = pkg_opam_text(v->value);
		if (text.p)
			buf_put_str(&value, text);
		else
			pkg_opam_print_value(v->value, &value);
		put_fact(x, arena_printf(&x->c->arena, "%.*s:%.*s", STR_ARG(name), STR_ARG(v->name)), "%s", value.p);
	}
}

static int put_compiler(struct opam_as *x, const struct env_opam_state *st)
{
	struct pkg_opam_strs list = compilers(x, st);
	for (size_t i = 0; i < st->installed.n; i++) { /* in the order of all */
		struct str name, version;
		if (!env_opam_split(st->installed.v[i], &name, &version))
			continue;
		for (size_t k = 0; k < list.n; k++)
			if (str_eq(list.v[k], name))
				put_config_of(x, name);
	}
	return OPAM_OK;
}

static struct str setting(struct env_opam_config *c, const char *field, const char *usual)
{
	struct str s = pkg_opam_text(pkg_opam_first(pkg_opam_get(&c->doc, field)));
	return s.n ? s : str_c(usual);
}

static int report(struct opam_as *x)
{
	auto_ptr(env_opam_vars) vars = NULL;
	struct env_opam_config c;
	struct env_opam_state st;
	struct err e = ERR_INIT;
	int code = opam_as_open_vars(x, true, &vars);
	if (code != OPAM_OK)
		return code;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	if (env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0 ||
	    env_opam_state_read(x->s, &x->c->arena, &st, &e) < 0)
		return opam_as_fail(x, &e);
	struct str solver = setting(&c, "solver", "builtin-0install");
	bool criteria = str_search(solver, STR("0install")) < 0; /* which has none */
	opam_as_put(x, "# opam config report\n");
	put_fact(x, "opam-version", "%s ", ENV_OPAM_VERSION);
	put_fact(x, "self-upgrade", "no");
	put_fact(x, "system", "arch=%.*s os=%.*s os-distribution=%.*s os-version=%.*s",
		 STR_ARG(system_word(x, &h, "arch")), STR_ARG(system_word(x, &h, "os")),
		 STR_ARG(system_word(x, &h, "os-distribution")), STR_ARG(system_word(x, &h, "os-version")));
	put_fact(x, "solver", "%.*s", STR_ARG(solver));
	put_fact(x, "install-criteria", "%.*s",
		 STR_ARG(setting(&c, "solver-criteria", criteria ? solve_aims_usual(SOLVE_NEWEST) : "")));
	put_fact(x, "upgrade-criteria", "%.*s",
		 STR_ARG(setting(&c, "solver-upgrade-criteria", criteria ? solve_aims_usual(SOLVE_UPGRADE_ALL) : "")));
	put_fact(x, "jobs", "%.*s", STR_ARG(system_word(x, &h, "jobs")));
	if (put_repositories(x, &e) < 0)
		return opam_as_fail(x, &e);
	if (st.pinned.n)
		put_fact(x, "pinned", "%zu (version)", st.pinned.n);
	else
		put_fact(x, "pinned", "0");
	put_fact(x, "current-switch", "%s", env_opam_switch_name(x->s));
	return put_compiler(x, &st);
}

static int expand(struct opam_as *x, const char *text)
{
	auto_ptr(env_opam_vars) vars = NULL;
	int code = opam_as_open_vars(x, false, &vars);
	if (code != OPAM_OK)
		return code;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	opam_as_put(x, "%.*s\n", STR_ARG(pkg_opam_expand(&x->c->arena, str_c(text), &h)));
	return OPAM_OK;
}

int opam_as_config(struct opam_as *x, int argc, char **argv)
{
	struct cmd_list words = {0};
	const char *what = argc && argv[0][0] != '-' ? argv[0] : "report";
	int code;
	if (strcmp(what, "env") == 0)
		return opam_as_env(x, argc - 1, argv + 1);
	if (strcmp(what, "var") == 0 || strcmp(what, "list") == 0)
		return opam_as_var(x, argc - 1, argv + 1);
	if (opam_as_parse(x, NULL, argc, argv, &words, &code)) {
		if (strcmp(what, "report") == 0)
			code = report(x);
		else if (strcmp(what, "expand") == 0 && words.n == 2)
			code = expand(x, words.v[1]);
		else
			code = opam_as_say(x, OPAM_USAGE,
					   "opam config knows report, env, var, list and expand, not '%s'", what);
	}
	vec_release(&words);
	return code;
}
