// SPDX-License-Identifier: Apache-2.0
/* `opam var`: variables of the host, of a switch and of packages, shown and set. */
#include "cmd/opam_as.h"

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

bool opam_as_value(struct opam_as *x, const struct pkg_opam_host *h, struct str name, struct str *ret)
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
		if (!opam_as_value(x, h, all[i].variable, &value) && !is_of_root(all[i].variable, own, own_n))
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
		if (!opam_as_value(x, h, str_c(folders[i]), &value))
			continue;
		opam_as_cell(&t, "%s", folders[i]);
		opam_as_cell(&t, "%.*s", STR_ARG(value));
	}
	for (const struct pkg_opam_item *i = vars ? vars->first : NULL; i; i = i->next) {
		struct str value;
		if (!opam_as_value(x, h, i->name, &value))
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

int opam_as_open_vars(struct opam_as *x, bool need_switch, struct env_opam_vars **ret)
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
	int code = opam_as_open_vars(x, true, &vars);
	if (code != OPAM_OK)
		return code;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	for (size_t i = 0; i < OF_PACKAGES; i++) {
		struct str full = str_c(arena_printf(&x->c->arena, "%s:%s", name, of_packages[i].name)), value;
		if (!opam_as_value(x, &h, full, &value))
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
	int code = opam_as_open_vars(x, false, &vars);
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
	int code = opam_as_open_vars(x, strchr(name, ':') != NULL, &vars);
	if (code != OPAM_OK)
		return code;
	struct pkg_opam_host h = env_opam_host(vars, STR_NONE, STR_NONE, NULL, NULL, 0);
	if (opam_as_value(x, &h, str_c(name), &value)) {
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
