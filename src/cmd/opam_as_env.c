// SPDX-License-Identifier: Apache-2.0
/* `opam env`, `opam var` and `opam config`: what a switch says. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "cmd/opam_as.h"

enum { SHELL_SH, SHELL_CSH, SHELL_FISH, SHELL_SEXP };

/* -- env -------------------------------------------------------------------------------------------------------------------- */

static int shell_of(struct str name)
{
	return str_ends(name, STR("csh")) ? SHELL_CSH : str_eq_c(name, "fish") ? SHELL_FISH : SHELL_SH;
}

/* The program that started this one, where it is a shell; else the user's. */
static int guess_shell(void)
{
	char path[64];
	auto_buf b = BUF_INIT(256);
	struct err ignored = ERR_INIT;
	snprintf(path, sizeof(path), "/proc/%ld/comm", (long)getppid());
	struct str name = fs_read(AT_FDCWD, path, &b, &ignored) == 0 ? str_trim(buf_str(&b)) : STR_NONE;
	if (str_ends(name, STR("sh")))
		return shell_of(name);
	struct str shell = str_c(getenv("SHELL"));
	return shell_of(str_skip(shell, (size_t)(str_rfind(shell, '/') + 1)));
}

static void put_quoted(struct buf *b, struct str s, bool backslash)
{
	buf_put_char(b, '\'');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'')
			buf_put_c(b, backslash ? "\\'" : "'\\''");
		else if (s.p[i] == '\\' && backslash)
			buf_put_c(b, "\\\\");
		else
			buf_put_char(b, s.p[i]);
	}
	buf_put_char(b, '\'');
}

/* fish has lists in place of ':'; old ones warn about MANPATH, so that is set by those that have argparse. */
static void put_fish(struct buf *b, const struct env_variable *v)
{
	bool man = str_eq_c(v->name, "MANPATH"), list = man || str_eq_c(v->name, "PATH") || str_eq_c(v->name, "CDPATH");
	struct str rest = v->value, part;
	bool first = true;
	if (man)
		buf_put_c(b, "builtin -n | /bin/sh -c 'grep -q \\'^argparse$\\'' 1>/dev/null 2>/dev/null; and ");
	buf_printf(b, "set -gx %.*s", STR_ARG(v->name));
	if (!list) {
		buf_put_char(b, ' ');
		put_quoted(b, v->value, true);
	}
	while (list && rest.n) {
		if (!str_take_until(&rest, ':', &part)) {
			part = rest;
			rest = STR_NONE;
		}
		if (!part.n)
			continue;
		auto_buf with = BUF_INIT(BUF_MAX);
		buf_printf(&with, "%s%.*s", man && first ? ":" : "", STR_ARG(part));
		buf_put_char(b, ' ');
		put_quoted(b, buf_str(&with), true);
		first = false;
	}
	buf_put_c(b, ";\n");
}

static void put_sexp(struct buf *b, struct str s)
{
	buf_put_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char ch = (unsigned char)s.p[i];
		if (ch == '"' || ch == '\\')
			buf_printf(b, "\\%c", ch);
		else if (ch == '\n' || ch == '\t' || ch == '\r')
			buf_put_c(b, ch == '\n' ? "\\n" : ch == '\t' ? "\\t" : "\\r");
		else if (ch < 0x20 || ch > 0x7e)
			buf_printf(b, "\\%03u", ch);
		else
			buf_put_char(b, (char)ch);
	}
	buf_put_char(b, '"');
}

static void put_variables(struct buf *b, const struct env_variable *v, size_t n, int shell)
{
	buf_put_c(b, shell == SHELL_SEXP ? "(\n" : "");
	for (size_t i = 0; i < n; i++) {
		if (shell == SHELL_FISH) {
			put_fish(b, &v[i]);
		} else if (shell == SHELL_SEXP) {
			buf_put_c(b, "  (");
			put_sexp(b, v[i].name);
			buf_put_char(b, ' ');
			put_sexp(b, v[i].value);
			buf_put_c(b, ")\n");
		} else {
			buf_printf(b, shell == SHELL_CSH ? "setenv %.*s " : "%.*s=", STR_ARG(v[i].name));
			put_quoted(b, v[i].value, false);
			if (shell == SHELL_CSH)
				buf_put_c(b, ";\n");
			else
				buf_printf(b, "; export %.*s;\n", STR_ARG(v[i].name));
		}
	}
	buf_put_c(b, shell == SHELL_SEXP ? ")\n" : "");
}

/* What the switch of this shell said, so that it can be taken back. */
static void undo_of(struct opam_as *x, struct env_opam_update **ret, size_t *ret_n)
{
	const char *prefix = getenv("OPAM_SWITCH_PREFIX");
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	struct err ignored = ERR_INIT;
	*ret_n = 0;
	if (!prefix || !*prefix)
		return;
	const char *path = arena_printf(&x->c->arena, "%s/.opam-switch/environment", prefix);
	if (fs_read(AT_FDCWD, path, &b, &ignored) < 0 ||
	    env_opam_updates_parse(&x->c->arena, arena_str(&x->c->arena, buf_str(&b)), path, ret, ret_n, &ignored) < 0)
		*ret_n = 0;
}

struct env_args {
	const char *shell;
	bool sexp, csh, fish, sh, zsh, bash, inplace, set_root, set_switch, check, revert;
};

static int environment_of(struct opam_as *x, const struct env_args *a, struct env_variable **ret, size_t *ret_n,
			  struct err *e)
{
	struct env_opam_update *v, *undo = NULL;
	size_t n, undo_n, k = 0;
	struct err mine = ERR_INIT;
	if (env_opam_updates_read(x->s, &x->c->arena, &v, &n, &mine) < 0 &&
	    (mine.code != ERR_NOT_FOUND || env_opam_updates_compute(x->s, &x->c->arena, &v, &n, e) < 0)) {
		if (mine.code != ERR_NOT_FOUND)
			*e = mine;
		return -1;
	}
	struct env_opam_update *all = arena_array(&x->c->arena, struct env_opam_update, n + 3);
	if (a->set_root)
		all[k++] =
			(struct env_opam_update){STR("OPAMROOT"), str_c(env_opam_path(x->o)), STR_NONE, PKG_OPAM_SET};
	if (a->set_switch)
		all[k++] = (struct env_opam_update){STR("OPAMSWITCH"), str_c(env_opam_switch_name(x->s)), STR_NONE,
						    PKG_OPAM_SET};
	all[k++] = (struct env_opam_update){STR("OPAM_SWITCH_PREFIX"), str_c(env_opam_prefix(x->s)), STR_NONE,
					    PKG_OPAM_SET};
	for (size_t i = 0; i < n; i++) {
		if (str_eq_c(v[i].variable, "OPAM_SWITCH_PREFIX") && v[i].op == PKG_OPAM_SET)
			continue;
		all[k] = v[i];
		if (str_eq_c(v[i].variable, "PATH") && !a->inplace && v[i].op == PKG_OPAM_REPLACE)
			all[k].op = PKG_OPAM_PREPEND;
		else if (str_eq_c(v[i].variable, "PATH") && a->inplace && v[i].op == PKG_OPAM_PREPEND)
			all[k].op = PKG_OPAM_REPLACE;
		k++;
	}
	undo_of(x, &undo, &undo_n);
	env_opam_updates_expand(&x->c->arena, all, k, undo, undo_n, getenv, ret, ret_n);
	return 0;
}

static void tell_what_is_not_set(struct opam_as *x, const struct env_args *a)
{
	const char *env = getenv("OPAMROOT"), *home = getenv("HOME");
	auto_free char *usual = xasprintf("%s/.opam", home ? home : "");
	const char *asked = x->sw;
	if (!a->set_root && x->root && strcmp(x->root, env && *env ? env : usual) != 0)
		opam_as_note(x, "NOTE",
			     "To make opam select %s as its root in the current shell, add --set-root or set OPAMROOT",
			     env_opam_path(x->o));
	x->sw = NULL;
	const char *name = asked ? opam_as_switch_name(x) : NULL;
	x->sw = asked;
	if (!a->set_switch && asked && (!name || strcmp(name, asked) != 0))
		opam_as_note(
			x, "NOTE",
			"To make opam select the switch %s in the current shell, add --set-switch or set OPAMSWITCH",
			asked);
}

static int show_env(struct opam_as *x, const struct env_args *a)
{
	struct env_variable *v;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	size_t n;
	int code = opam_as_switch(x);
	if (code != OPAM_OK)
		return code;
	if (a->check)
		return opam_as_is_in_sync(x) ? OPAM_OK : OPAM_FALSE;
	tell_what_is_not_set(x, a);
	if (environment_of(x, a, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	int shell = a->sexp			 ? SHELL_SEXP
		    : a->csh			 ? SHELL_CSH
		    : a->fish			 ? SHELL_FISH
		    : a->shell			 ? shell_of(str_c(a->shell))
		    : a->sh || a->bash || a->zsh ? SHELL_SH
						 : guess_shell();
	put_variables(&b, v, n, shell);
	out_put(&x->c->out, buf_str(&b));
	return OPAM_OK;
}

int opam_as_env(struct opam_as *x, int argc, char **argv)
{
	struct env_args a = {0};
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{0, "shell", CMD_TEXT, &a.shell},
					     {0, "sexp", CMD_FLAG, &a.sexp},
					     {'c', "csh", CMD_FLAG, &a.csh},
					     {0, "fish", CMD_FLAG, &a.fish},
					     {0, "sh", CMD_FLAG, &a.sh},
					     {0, "zsh", CMD_FLAG, &a.zsh},
					     {0, "bash", CMD_FLAG, &a.bash},
					     {0, "inplace-path", CMD_FLAG, &a.inplace},
					     {0, "set-root", CMD_FLAG, &a.set_root},
					     {0, "set-switch", CMD_FLAG, &a.set_switch},
					     {0, "check", CMD_FLAG, &a.check},
					     {0, NULL, CMD_FLAG, NULL}};
	int code;
	bool go_on = opam_as_parse(x, options, argc, argv, &words, &code);
	size_t n = words.n;
	vec_release(&words);
	return !go_on ? code : n ? opam_as_say(x, OPAM_USAGE, "opam env takes no words") : show_env(x, &a);
}

/* -- var -------------------------------------------------------------------------------------------------------------------- */

struct documented {
	const char *name, *what;
};
static const struct documented globals[] = {
	{"arch", "Inferred from system"},
	{"exe", "Suffix needed for executable filenames (Windows)"},
	{"jobs", "The number of parallel jobs set up in opam configuration"},
	{"make", "The 'make' command to use"},
	{"opam-version", "The currently running opam version"},
	{"os", "Inferred from system"},
	{"os-distribution", "Inferred from system"},
	{"os-family", "Inferred from system"},
	{"os-version", "Inferred from system"},
	{"root", "The current opam root directory"},
	{"switch", "The identifier of the current switch"},
};
static const struct documented of_packages[] = {
	{"name", "Name of the package"},
	{"version", "Version of the package"},
	{"depends", "Resolved direct dependencies of the package"},
	{"installed", "Whether the package is installed"},
	{"enable", "Takes the value \"enable\" or \"disable\" depending on whether the package is installed"},
	{"pinned", "Whether the package is pinned"},
	{"bin", "Binary directory for this package"},
	{"sbin", "System binary directory for this package"},
	{"lib", "Library directory for this package"},
	{"man", "Man directory for this package"},
	{"doc", "Doc directory for this package"},
	{"share", "Share directory for this package"},
	{"etc", "Etc directory for this package"},
	{"build", "Directory where the package was built"},
	{"hash", "Hash of the package archive"},
	{"dev", "True if this is a development package"},
	{"opamfile", "Path of the opam file of the package"},
};
enum { GLOBALS = sizeof(globals) / sizeof(*globals), OF_PACKAGES = sizeof(of_packages) / sizeof(*of_packages) };
static const char *const folders[] = {"prefix", "lib", "bin", "sbin",	  "share",
				      "doc",	"etc", "man", "toplevel", "stublibs"};

static bool value_of(struct opam_as *x, const struct pkg_opam_host *h, struct str name, struct str *ret)
{
	struct pkg_opam_result r = pkg_opam_variable(&x->c->arena, name, h);
	*ret = r.is == PKG_OPAM_IS_TRUE ? STR("true") : r.is == PKG_OPAM_IS_FALSE ? STR("false") : r.text;
	return r.is != PKG_OPAM_IS_UNDEFINED;
}

static int update_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct env_opam_update *)a)->variable, ((const struct env_opam_update *)b)->variable);
}

/* What the root's configuration names is listed also where its command failed. */
static bool is_of_root(struct str name, const struct env_opam_update *own, size_t own_n)
{
	for (size_t i = 0; i < own_n; i++)
		if (str_eq(own[i].variable, name))
			return true;
	return false;
}

static void list_globals(struct opam_as *x, struct env_opam_vars *vars, const struct pkg_opam_host *h)
{
	struct opam_as_table t = {.columns = 3, .sep = " "};
	struct env_opam_update *own;
	size_t own_n = env_opam_vars_of_root(vars, &own), n = 0;
	struct env_opam_update *all = arena_array(&x->c->arena, struct env_opam_update, GLOBALS + own_n);
	for (size_t i = 0; i < GLOBALS; i++)
		all[n++] = (struct env_opam_update){.variable = str_c(globals[i].name), .why = str_c(globals[i].what)};
	for (size_t i = 0; i < own_n; i++)
		all[n++] = own[i];
	qsort(all, n, sizeof(*all), update_cmp);
	opam_as_header(x, "Global opam variables");
	for (size_t i = 0; i < n; i++) {
		struct str value;
		if (i && str_eq(all[i].variable, all[i - 1].variable))
			continue;
		if (!value_of(x, h, all[i].variable, &value) && !is_of_root(all[i].variable, own, own_n))
			continue;
		opam_as_cell(&t, "%.*s", STR_ARG(all[i].variable));
		opam_as_cell(&t, "%.*s", STR_ARG(value));
		opam_as_cell(&t, "# %.*s", STR_ARG(all[i].why));
	}
	opam_as_table(x, &t);
}

static int list_of_switch(struct opam_as *x, const struct pkg_opam_host *h, struct err *e)
{
	struct opam_as_table t = {.columns = 2, .sep = " "};
	struct pkg_opam_doc d;
	if (env_opam_switch_config(x->s, &x->c->arena, &d, e) < 0)
		return -1;
	const struct pkg_opam_item *vars = pkg_opam_section(&d, "variables", NULL);
	opam_as_header(x, "Configuration variables from the current switch");
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		struct str value;
		if (!value_of(x, h, str_c(folders[i]), &value))
			continue;
		opam_as_cell(&t, "%s", folders[i]);
		opam_as_cell(&t, "%.*s", STR_ARG(value));
	}
	for (const struct pkg_opam_item *i = vars ? vars->first : NULL; i; i = i->next) {
		struct str value;
		if (!value_of(x, h, i->name, &value))
			continue;
		opam_as_cell(&t, "%.*s", STR_ARG(i->name));
		opam_as_cell(&t, "%.*s", STR_ARG(value));
	}
	opam_as_table(x, &t);
	return 0;
}

static void list_packages_own(struct opam_as *x)
{
	struct opam_as_table t = {.columns = 4, .sep = " "};
	opam_as_header(x, "Package variables ('opam var --package PKG' to show)");
	for (size_t i = 0; i < OF_PACKAGES; i++) {
		opam_as_cell(&t, "PKG:%s", of_packages[i].name);
		opam_as_cell(&t, "%s", "");
		opam_as_cell(&t, "#");
		opam_as_cell(&t, "%s", of_packages[i].what);
	}
	opam_as_table(x, &t);
}

static int open_vars(struct opam_as *x, bool need_switch, struct env_opam_vars **ret)
{
	struct err e = ERR_INIT;
	int code = opam_as_root(x);
	if (code == OPAM_OK && (need_switch || opam_as_switch_name(x)))
		code = opam_as_switch(x);
	if (code != OPAM_OK)
		return code;
	return env_opam_vars_new(x->o, x->s, &x->c->arena, ret, &e) < 0 ? opam_as_fail(x, &e) : OPAM_OK;
}

static int list_package(struct opam_as *x, const char *name)
{
	auto_ptr(env_opam_vars) vars = NULL;
	struct opam_as_table t = {.columns = 3, .sep = " "};
	int code = open_vars(x, true, &vars);
	if (code != OPAM_OK)
		return code;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	for (size_t i = 0; i < OF_PACKAGES; i++) {
		struct str full = str_c(arena_printf(&x->c->arena, "%s:%s", name, of_packages[i].name)), value;
		if (!value_of(x, &h, full, &value))
			continue;
		opam_as_cell(&t, "%.*s", STR_ARG(full));
		opam_as_cell(&t, "%.*s", STR_ARG(value));
		opam_as_cell(&t, "# %s", of_packages[i].what);
	}
	opam_as_table(x, &t);
	return OPAM_OK;
}

static int list_variables(struct opam_as *x)
{
	auto_ptr(env_opam_vars) vars = NULL;
	struct err e = ERR_INIT;
	int code = open_vars(x, false, &vars);
	if (code != OPAM_OK)
		return code;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	list_globals(x, vars, &h);
	if (x->s && list_of_switch(x, &h, &e) < 0)
		return opam_as_fail(x, &e);
	list_packages_own(x);
	return OPAM_OK;
}

static int show_variable(struct opam_as *x, const char *name)
{
	auto_ptr(env_opam_vars) vars = NULL;
	struct str value;
	int code = open_vars(x, strchr(name, ':') != NULL, &vars);
	if (code != OPAM_OK)
		return code;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	if (value_of(x, &h, str_c(name), &value)) {
		opam_as_put(x, "%.*s\n", STR_ARG(value));
		return OPAM_OK;
	}
	return strchr(name, ':') ? opam_as_say(x, OPAM_NOT_FOUND, "Variable %s not found in switch %s", name,
					       env_opam_switch_name(x->s))
				 : opam_as_say(x, OPAM_NOT_FOUND, "Variable %s not found in global config", name);
}

/* "NAME=VALUE" sets, "NAME=" unsets; of the root or of the switch that is named. */
static int set_variable(struct opam_as *x, bool global, struct str name, struct str value)
{
	struct err e = ERR_INIT;
	if (!global && !x->sw)
		return opam_as_say(x, OPAM_USAGE,
				   "variable setting needs a scope, use '--global' or '--switch <switch>'");
	int code = global ? opam_as_hold(x, ENV_OPAM_CONFIG) : opam_as_hold_switch(x);
	if (code != OPAM_OK)
		return code;
	auto_free char *where = global ? xstrdup("global configuration")
				       : xasprintf("switch %s", env_opam_switch_name(x->s));
	int rc = env_opam_set_variable(x->o, global ? NULL : x->s, name, value.n ? value : STR_NONE, &e);
	if (rc < 0)
		return opam_as_fail(x, &e);
	auto_buf shown = BUF_INIT(65536);
	pkg_opam_print_value(pkg_opam_make(&x->c->arena, PKG_OPAM_STRING, value), &shown);
	struct str text = str_trim(buf_str(&shown));
	if (rc == 0)
		opam_as_put(x, "No modification in %s\n", where);
	else if (!value.n)
		opam_as_put(x, "Removed variable %.*s in %s\n", STR_ARG(name), where);
	else if (global)
		opam_as_put(x, "Added '[%.*s %.*s \"Set through 'opam var'\"]' to field global-variables in %s\n",
			    STR_ARG(name), STR_ARG(text), where);
	else
		opam_as_put(x, "Added '%.*s: %.*s' to field variables in %s\n", STR_ARG(name), STR_ARG(text), where);
	return OPAM_OK;
}

/* What stands before the '='; false: it is no setting. */
static bool is_setting(const char *word, struct str *ret_name, struct str *ret_value)
{
	struct str s = str_c(word);
	if (!str_take_until(&s, '=', ret_name) || ret_name->n == 0)
		return false;
	*ret_value = s;
	bool letter = false;
	for (size_t i = 0; i < ret_name->n; i++) {
		char c = ret_name->p[i];
		bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
		letter = letter || is_letter;
		if (!is_letter && c != '-' && !(c >= '0' && c <= '9'))
			return false;
	}
	return letter;
}

int opam_as_var(struct opam_as *x, int argc, char **argv)
{
	const char *package = NULL;
	bool global = false;
	struct cmd_list words = {0};
	const struct cmd_option options[] = {
		{0, "package", CMD_TEXT, &package}, {0, "global", CMD_FLAG, &global}, {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code)) {
		struct str name, value;
		if (words.n > 1)
			code = opam_as_say(x, OPAM_USAGE, "too many arguments, don't know what to do with '%s'",
					   words.v[1]);
		else if (words.n && package)
			code = opam_as_say(x, OPAM_USAGE,
					   "--package can't be specified with a var argument, use 'pkg:var' instead.");
		else if (words.n && strstr(words.v[0], "+="))
			code = opam_as_say(x, OPAM_USAGE, "var: append operation are not permitted");
		else if (words.n && is_setting(words.v[0], &name, &value))
			code = set_variable(x, global, name, value);
		else
			code = package	 ? list_package(x, package)
			       : words.n ? show_variable(x, words.v[0])
					 : list_variables(x);
	}
	vec_release(&words);
	return code;
}

/* -- exec ------------------------------------------------------------------------------------------------------------------- */

enum { NO_SUCH_COMMAND = 127 };

static int exec_command(struct opam_as *x, const struct env_args *a, const struct cmd_list *words)
{
	struct env_variable *v;
	struct err e = ERR_INIT;
	size_t n;
	int code = opam_as_switch(x);
	if (code != OPAM_OK)
		return code;
	if (environment_of(x, a, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	for (size_t i = 0; i < n; i++)
		setenv(arena_strdup(&x->c->arena, v[i].name), arena_strdup(&x->c->arena, v[i].value), 1);
	char **argv = arena_array(&x->c->arena, char *, words->n + 1);
	for (size_t i = 0; i < words->n; i++)
		argv[i] = arena_strdup(&x->c->arena, str_c(words->v[i]));
	out_flush(&x->c->out);
	execvp(argv[0], argv);
	if (errno == ENOENT)
		return opam_as_say(x, NO_SUCH_COMMAND, "Command not found '%s'", argv[0]);
	return opam_as_say(x, OPAM_USAGE, "'%s' cannot be run: %s", argv[0], strerror(errno));
}

int opam_as_exec(struct opam_as *x, int argc, char **argv)
{
	struct cmd_list words = {0};
	struct env_args a = {0};
	const struct cmd_option options[] = {{0, "set-root", CMD_FLAG, &a.set_root},
					     {0, "set-switch", CMD_FLAG, &a.set_switch},
					     {0, "inplace-path", CMD_FLAG, &a.inplace},
					     {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code))
		code = words.n ? exec_command(x, &a, &words)
			       : opam_as_say(x, OPAM_USAGE, "required argument COMMAND [ARG]... is missing");
	vec_release(&words);
	return code;
}

/* -- config ------------------------------------------------------------------------------------------------------------------ */

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
	return value_of(x, h, str_c(name), &s) && s.n ? s : STR("unknown");
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

/* What opam takes where nothing is said, as its manual has it ("solver criteria"); 0install has none. */
#define INSTALL_CRITERIA                                                                                               \
	"-removed,-count[avoid-version,changed],-count[version-lag,request],-count[version-lag,changed],"              \
	"-count[missing-depexts,changed],-changed"
#define UPGRADE_CRITERIA                                                                                               \
	"-removed,-count[avoid-version,changed],-count[version-lag,solution],-count[missing-depexts,changed],-new"

static int report(struct opam_as *x)
{
	auto_ptr(env_opam_vars) vars = NULL;
	struct env_opam_config c;
	struct env_opam_state st;
	struct err e = ERR_INIT;
	int code = open_vars(x, true, &vars);
	if (code != OPAM_OK)
		return code;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	if (env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0 ||
	    env_opam_state_read(x->s, &x->c->arena, &st, &e) < 0)
		return opam_as_fail(x, &e);
	struct str solver = setting(&c, "solver", "builtin-0install");
	bool criteria = str_search(solver, STR("0install")) < 0;
	opam_as_put(x, "# opam config report\n");
	put_fact(x, "opam-version", "%s ", ENV_OPAM_VERSION);
	put_fact(x, "self-upgrade", "no");
	put_fact(x, "system", "arch=%.*s os=%.*s os-distribution=%.*s os-version=%.*s",
		 STR_ARG(system_word(x, &h, "arch")), STR_ARG(system_word(x, &h, "os")),
		 STR_ARG(system_word(x, &h, "os-distribution")), STR_ARG(system_word(x, &h, "os-version")));
	put_fact(x, "solver", "%.*s", STR_ARG(solver));
	put_fact(x, "install-criteria", "%.*s",
		 STR_ARG(setting(&c, "solver-criteria", criteria ? INSTALL_CRITERIA : "")));
	put_fact(x, "upgrade-criteria", "%.*s",
		 STR_ARG(setting(&c, "solver-upgrade-criteria", criteria ? UPGRADE_CRITERIA : "")));
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
	int code = open_vars(x, false, &vars);
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
