// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: `opam init` and `opam option`. */
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "cmd/opam_as.h"

/* -- init ------------------------------------------------------------------------------------------------------------------------ */

struct init_args {
	struct cmd_list configs;
	const char *kind, *compiler, *shell;
	bool no_setup, interactive, auto_setup, reinit, bare, no_sandbox, bypass, no_opamrc, completion, hook, empty;
};

static bool in_path(const char *name)
{
	struct str rest = str_c(getenv("PATH")), part;
	while (rest.n) {
		if (!str_take_until(&rest, ':', &part)) {
			part = rest;
			rest = STR_NONE;
		}
		auto_free char *path = xasprintf("%.*s/%s", STR_ARG(part), name);
		if (part.n && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static void put_remotes(struct opam_as *x)
{
	static const struct {
		const char *tool, *what;
	} tools[] = {{"rsync", "rsync and local"}, {"git", "git"}, {"hg", "mercurial"}, {"darcs", "darcs"}};
	auto_buf b = BUF_INIT(1024);
	bool all = true;
	for (size_t i = 0; i < 4; i++) {
		/* folders are copied by slipway itself */
		if (i == 0 || in_path(tools[i].tool))
			buf_printf(&b, "%s%s", b.n ? ", " : "", tools[i].what);
		else
			all = false;
	}
	opam_as_put(x, "Checking for available remotes: %s.%s\n", b.p, all ? " Perfect!" : "");
	for (size_t i = 1; i < 4; i++)
		if (!in_path(tools[i].tool))
			opam_as_put(
				x,
				"  - you won't be able to use %s repositories unless you install the %s command on your system.\n",
				tools[i].what, tools[i].tool);
	opam_as_put(x, "%s", all ? "" : "\n");
}

/* The files that were named, then /etc/opamrc and ~/.opamrc; of one that says a field, the first counts. NULL: none. */
static int read_config(struct opam_as *x, const struct init_args *a, struct pkg_opam_doc *ret, bool *ret_there)
{
	const char *home = getenv("HOME");
	const char *usual[] = {arena_printf(&x->c->arena, "%s/.opamrc", home ? home : ""), "/etc/opamrc"};
	auto_buf all = BUF_INIT(ENV_OPAM_FILE_MAX), names = BUF_INIT(65536);
	struct err e = ERR_INIT;
	VEC(const char *) paths = {0};
	for (size_t i = a->configs.n; i > 0; i--)
		vec_push(&paths, a->configs.v[i - 1]);
	for (size_t i = 0; i < 2 && !a->no_opamrc; i++)
		if (fs_exists(AT_FDCWD, usual[i]))
			vec_push(&paths, usual[i]);
	int rc = 0;
	for (size_t i = 0; i < paths.n && rc == 0; i++) {
		auto_buf b = BUF_INIT(PKG_OPAM_FILE_MAX);
		auto_free char *real = realpath(paths.v[i], NULL);
		struct pkg_opam_doc d;
		rc = fs_read_any(AT_FDCWD, paths.v[i], &b, &e);
		if (rc == 0)
			rc = pkg_opam_read(&x->c->arena, arena_str(&x->c->arena, buf_str(&b)), paths.v[i], &d, &e);
		buf_put_str(&all, buf_str(&b)); /* of a field that is there twice the first one is found */
		buf_put_c(&all, "\n");
		buf_printf(&names, "%s%s", i == 0 ? "" : ", then ", real ? real : paths.v[i]);
	}
	*ret_there = paths.n > 0;
	vec_release(&paths);
	if (rc < 0 || pkg_opam_read(&x->c->arena, arena_str(&x->c->arena, buf_str(&all)), "opamrc", ret, &e) < 0)
		return opam_as_fail(x, &e);
	if (*ret_there)
		opam_as_put(x, "Configuring from %s, and finally from built-in defaults.\n", names.p);
	else
		opam_as_put(x, "No configuration file found, using built-in defaults.\n");
	return OPAM_OK;
}

/* [NAME ADDRESS], else what the configuration lists, else the public one's name for whoever fetches it. */
static int wanted_repos(struct opam_as *x, const struct cmd_list *w, const struct pkg_opam_doc *config,
			struct env_opam_repo **ret, size_t *ret_n)
{
	VEC(struct env_opam_repo) list = {0};
	if (w->n) {
		const char *name = w->n == 2 ? w->v[0] : "default";
		*vec_add(&list) = (struct env_opam_repo){.name = str_c(name), .url = opam_as_url(x, w->v[w->n - 1])};
	}
	const struct pkg_opam_value *said = w->n ? NULL : pkg_opam_get(config, "repositories");
	for (const struct pkg_opam_value *v = pkg_opam_first(said); v; v = v->next)
		if (v->kind == PKG_OPAM_OPTION)
			*vec_add(&list) =
				(struct env_opam_repo){.name = pkg_opam_text(v->left), .url = pkg_opam_text(v->first)};
	*ret = vec_copy(&list, &x->c->arena);
	*ret_n = list.n;
	vec_release(&list);
	return *ret_n ? OPAM_OK
		      : opam_as_say(x, OPAM_USAGE,
				    "which repository? name it and the folder that it lies in: opam init NAME FOLDER");
}

static int fetch_all(struct opam_as *x, const struct env_opam_repo *v, size_t n, bool fresh)
{
	int code = opam_as_hold(x, ENV_OPAM_REPOS);
	for (size_t i = 0; i < n && code == OPAM_OK; i++) {
		struct err e = ERR_INIT;
		if (!v[i].url.n)
			continue;
		int rc = opam_as_fetch_repo(x, v[i].name, v[i].url, &e);
		if (rc < 0) {
			opam_as_say(x, 0, "Could not update repository \"%.*s\": %s", STR_ARG(v[i].name), e.msg);
			if (fresh)
				code = opam_as_say(x, OPAM_SYNC_ERROR, "Initial download of repository failed.");
		} else {
			opam_as_put(x, "[%.*s] Initialised\n", STR_ARG(v[i].name));
		}
	}
	return code;
}

/* A root of opam 2.0 becomes one of 2.1: a field says so; what is new in it may be absent. */
static int upgrade_format(struct opam_as *x)
{
	struct env_opam_config c;
	struct err e = ERR_INIT;
	if (env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0)
		return opam_as_fail(x, &e);
	if (pkg_opam_version_cmp(c.format, STR("2.1")) >= 0)
		return OPAM_OK;
	opam_as_put(
		x,
		"This development version of opam requires an update to the layout of %s from version %.*s to version 2.1, "
		"which can't be reverted.\nYou may want to back it up before going further.\n\n",
		env_opam_path(x->o), STR_ARG(c.format));
	if (!opam_as_confirm(x, true, "Continue?"))
		return OPAM_ABORTED;
	if (env_opam_set(x->o, NULL, "opam-root-version", pkg_opam_make(&x->c->arena, PKG_OPAM_STRING, STR("2.1")),
			 &e) < 0)
		return opam_as_fail(x, &e);
	opam_as_put(x, "Format upgrade done.\n");
	return OPAM_OK;
}

static int reinit(struct opam_as *x, const struct init_args *a, const char *path)
{
	struct env_opam_repo *v;
	struct pkg_opam_doc config;
	struct err e = ERR_INIT;
	bool there;
	size_t n;
	int code = read_config(x, a, &config, &there);
	if (code != OPAM_OK)
		return code;
	if (!a->bypass)
		put_remotes(x);
	code = opam_as_hold(x, ENV_OPAM_CONFIG);
	code = code == OPAM_OK ? upgrade_format(x) : code;
	if (code != OPAM_OK)
		return code;
	if (env_opam_init(path, there ? &config : NULL, NULL, 0, &e) < 0 ||
	    env_opam_repos(x->o, &x->c->arena, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	opam_as_header(x, "Updating repositories");
	return fetch_all(x, v, n, false);
}

/* An init that was killed may not have fetched all. */
static int go_on(struct opam_as *x)
{
	struct env_opam_repo *v;
	struct err e = ERR_INIT;
	size_t n, k = 0;
	int code = opam_as_root(x);
	if (code != OPAM_OK)
		return code;
	if (env_opam_repos(x->o, &x->c->arena, &v, &n, &e) < 0)
		return opam_as_fail(x, &e);
	for (size_t i = 0; i < n; i++) {
		const char *dir = arena_printf(&x->c->arena, "repo/%.*s", STR_ARG(v[i].name));
		if (!fs_exists(env_opam_fd(x->o), dir) &&
		    !fs_exists(env_opam_fd(x->o), arena_printf(&x->c->arena, "%s.tar.gz", dir)))
			v[k++] = v[i];
	}
	return k ? fetch_all(x, v, k, false) : OPAM_OK;
}

static int init(struct opam_as *x, const struct init_args *a, const struct cmd_list *w)
{
	const char *path = opam_as_root_path(x);
	auto_free char *config_path = xasprintf("%s/config", path);
	struct pkg_opam_doc config;
	struct env_opam_repo *v;
	struct err e = ERR_INIT;
	bool there;
	size_t n;
	if (w->n > 2)
		return opam_as_say(x, OPAM_USAGE, "opam init takes a name and an address");
	if (fs_exists(AT_FDCWD, config_path)) {
		if (a->reinit)
			return reinit(x, a, path);
		opam_as_put(x, "Opam has already been initialized.\n");
		return go_on(x);
	}
	int code = read_config(x, a, &config, &there);
	if (code == OPAM_OK && !a->bypass)
		put_remotes(x);
	code = code == OPAM_OK ? wanted_repos(x, w, &config, &v, &n) : code;
	if (code != OPAM_OK)
		return code;
	if (!a->bare && !a->empty && (a->compiler || !there))
		opam_as_note(x, "NOTE", "No switch is made: '%s switch create NAME --empty' makes one",
			     opam_as_called(x));
	if (env_opam_init(path, there ? &config : NULL, v, n, &e) < 0)
		return opam_as_fail(x, &e);
	code = opam_as_hold(x, ENV_OPAM_CONFIG);
	if (code != OPAM_OK)
		return code;
	opam_as_header(x, "Fetching repository information");
	code = fetch_all(x, v, n, true);
	if (code != OPAM_OK && fs_remove_tree(AT_FDCWD, config_path, &e) < 0) /* it is none without a repository */
		opam_as_fail(x, &e);
	return code;
}

int opam_as_init(struct opam_as *x, int argc, char **argv)
{
	struct init_args a = {0};
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{0, "config", CMD_LIST, &a.configs},
					     {'k', "kind", CMD_TEXT, &a.kind},
					     {'c', "compiler", CMD_TEXT, &a.compiler},
					     {0, "shell", CMD_TEXT, &a.shell},
					     {'n', "no-setup", CMD_FLAG, &a.no_setup},
					     {'i', "interactive", CMD_FLAG, &a.interactive},
					     {'a', "auto-setup", CMD_FLAG, &a.auto_setup},
					     {0, "reinit", CMD_FLAG, &a.reinit},
					     {0, "bare", CMD_FLAG, &a.bare},
					     {0, "empty", CMD_FLAG, &a.empty},
					     {0, "disable-sandboxing", CMD_FLAG, &a.no_sandbox},
					     {0, "bypass-checks", CMD_FLAG, &a.bypass},
					     {0, "no-opamrc", CMD_FLAG, &a.no_opamrc},
					     {0, "disable-completion", CMD_FLAG, &a.completion},
					     {0, "enable-completion", CMD_FLAG, &a.completion},
					     {0, "disable-shell-hook", CMD_FLAG, &a.hook},
					     {0, "enable-shell-hook", CMD_FLAG, &a.hook},
					     {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code))
		code = init(x, &a, &words);
	vec_release(&words);
	vec_release(&a.configs);
	return code;
}

/* -- option ---------------------------------------------------------------------------------------------------------------------- */

enum field_kind { FIELD_TEXT, FIELD_BOOL, FIELD_NUMBER, FIELD_LIST };
static const struct {
	const char *name;
	enum field_kind kind;
	bool global, of_switch;
	const char *usual; /* what it is where nothing is said; NULL: it is not in the list */
} fields[] = {
	{"archive-mirrors", FIELD_LIST, true, false, NULL},
	{"best-effort-prefix-criteria", FIELD_TEXT, true, false, "{}"},
	{"depext", FIELD_BOOL, true, false, "true"},
	{"depext-bypass", FIELD_LIST, true, true, "{}"},
	{"depext-cannot-install", FIELD_BOOL, true, false, "false"},
	{"depext-run-installs", FIELD_BOOL, true, false, "true"},
	{"download-command", FIELD_LIST, true, false, "{}"},
	{"download-jobs", FIELD_NUMBER, true, false, "1"},
	{"eval-variables", FIELD_LIST, true, false, NULL},
	{"global-variables", FIELD_LIST, true, false, NULL},
	{"jobs", FIELD_NUMBER, true, false, "{}"},
	{"post-build-commands", FIELD_LIST, true, true, "{}"},
	{"post-install-commands", FIELD_LIST, true, true, "{}"},
	{"post-remove-commands", FIELD_LIST, true, true, "{}"},
	{"post-session-commands", FIELD_LIST, true, true, "{}"},
	{"pre-build-commands", FIELD_LIST, true, true, "{}"},
	{"pre-install-commands", FIELD_LIST, true, true, "{}"},
	{"pre-remove-commands", FIELD_LIST, true, true, "{}"},
	{"pre-session-commands", FIELD_LIST, true, true, "{}"},
	{"repository-validation-command", FIELD_LIST, true, false, "{}"},
	{"setenv", FIELD_LIST, false, true, "{}"},
	{"solver", FIELD_TEXT, true, false, "{}"},
	{"solver-criteria", FIELD_TEXT, true, false, "{}"},
	{"solver-fixup-criteria", FIELD_TEXT, true, false, "{}"},
	{"solver-upgrade-criteria", FIELD_TEXT, true, false, "{}"},
	{"synopsis", FIELD_TEXT, false, true, "{}"},
	{"wrap-build-commands", FIELD_LIST, true, true, "{}"},
	{"wrap-install-commands", FIELD_LIST, true, true, "{}"},
	{"wrap-remove-commands", FIELD_LIST, true, true, "{}"},
};
enum { FIELDS = sizeof(fields) / sizeof(*fields) };

struct option_args {
	bool global;
};

static int read_doc(struct opam_as *x, bool of_switch, struct pkg_opam_doc *ret, struct err *e)
{
	struct env_opam_config c;
	if (of_switch)
		return env_opam_switch_config(x->s, &x->c->arena, ret, e);
	if (env_opam_config_read(x->o, &x->c->arena, &c, e) < 0)
		return -1;
	*ret = c.doc;
	return 0;
}

static int list_options(struct opam_as *x, bool of_switch)
{
	struct opam_as_table t = {.columns = 2, .sep = "  "};
	struct pkg_opam_doc d;
	struct err e = ERR_INIT;
	if (read_doc(x, of_switch, &d, &e) < 0)
		return opam_as_fail(x, &e);
	if (of_switch)
		opam_as_header(x, "Switch configuration (%s)", env_opam_switch_name(x->s));
	else
		opam_as_header(x, "Global configuration");
	for (size_t i = 0; i < FIELDS; i++) {
		auto_buf b = BUF_INIT(65536);
		const struct pkg_opam_value *v = pkg_opam_get(&d, fields[i].name);
		if ((of_switch ? !fields[i].of_switch : !fields[i].global) || !fields[i].usual)
			continue;
		if (v)
			pkg_opam_print_value(v, &b);
		else
			buf_put_c(&b, fields[i].usual);
		opam_as_cell(&t, "%s", fields[i].name);
		opam_as_cell(&t, "%s", b.p);
	}
	opam_as_table(x, &t);
	return OPAM_OK;
}

static int parse_value(struct opam_as *x, size_t field, const char *said, const struct pkg_opam_value **ret)
{
	struct pkg_opam_doc d;
	struct err e = ERR_INIT;
	struct str text = str_c(arena_printf(&x->c->arena, "x: %s\n", said));
	bool whole = pkg_opam_read(&x->c->arena, text, "value", &d, &e) == 0 && d.first && !d.first->next;
	const struct pkg_opam_value *v = whole ? d.first->value : NULL;
	uint64_t ignored;
	if (fields[field].kind == FIELD_BOOL && (!v || v->kind != PKG_OPAM_BOOL))
		return opam_as_say(x, OPAM_USAGE,
				   "Parse error on the value of %s '%s': expected a boolean (true or false)",
				   fields[field].name, said);
	if (fields[field].kind == FIELD_NUMBER && (!v || v->kind != PKG_OPAM_INT || !str_to_u64(str_c(said), &ignored)))
		return opam_as_say(x, OPAM_USAGE, "Parse error on the value of %s '%s': expected a positive integer",
				   fields[field].name, said);
	bool criteria = strstr(fields[field].name, "criteria") || strcmp(fields[field].name, "synopsis") == 0;
	if (fields[field].kind == FIELD_LIST && !v)
		return opam_as_say(x, OPAM_USAGE, "Parse error on the value of %s '%s': %s", fields[field].name, said,
				   e.msg);
	if (!v || (criteria && v->kind != PKG_OPAM_STRING))
		v = pkg_opam_make(&x->c->arena, PKG_OPAM_STRING, str_c(said));
	*ret = v;
	return OPAM_OK;
}

/* A list with more of the same, or without it. */
static const struct pkg_opam_value *joined(struct opam_as *x, const struct pkg_opam_value *have,
					   const struct pkg_opam_value *said, bool add)
{
	VEC(const struct pkg_opam_value *) list = {0};
	for (int k = 0; k < (add ? 2 : 1); k++)
		for (const struct pkg_opam_value *v = pkg_opam_first(k ? said : have); v; v = v->next) {
			bool out = false;
			auto_buf mine = BUF_INIT(65536);
			pkg_opam_print_value(v, &mine);
			for (const struct pkg_opam_value *w = add ? NULL : pkg_opam_first(said); w && !out;
			     w = w->next) {
				auto_buf other = BUF_INIT(65536);
				pkg_opam_print_value(w, &other);
				out = str_eq(buf_str(&mine), buf_str(&other));
			}
			struct pkg_opam_value *copy = arena_copy(&x->c->arena, v, 1, sizeof(*v));
			copy->next = NULL;
			if (!out)
				vec_push(&list, copy);
		}
	const struct pkg_opam_value *ret = list.n ? pkg_opam_make_list(&x->c->arena, PKG_OPAM_LIST, list.v, list.n)
						  : NULL;
	vec_release(&list);
	return ret;
}

static int change_option(struct opam_as *x, size_t field, bool of_switch, char op, const char *said)
{
	const struct pkg_opam_value *v = NULL;
	struct pkg_opam_doc d;
	struct err e = ERR_INIT;
	auto_buf before = BUF_INIT(ENV_OPAM_FILE_MAX), after = BUF_INIT(ENV_OPAM_FILE_MAX);
	const char *doc = of_switch ? arena_printf(&x->c->arena, "switch %s", env_opam_switch_name(x->s))
				    : "global configuration";
	if (op != '=' && fields[field].kind != FIELD_LIST)
		return opam_as_say(x, OPAM_USAGE, "Field %s can't be %s", fields[field].name,
				   op == '+' ? "appended" : "substracted");
	int code = *said ? parse_value(x, field, said, &v) : OPAM_OK;
	code = code == OPAM_OK ? opam_as_hold(x, ENV_OPAM_CONFIG) : code;
	code = code == OPAM_OK && of_switch ? opam_as_hold_switch(x) : code;
	if (code != OPAM_OK)
		return code;
	if (read_doc(x, of_switch, &d, &e) < 0)
		return opam_as_fail(x, &e);
	const struct pkg_opam_value *have = pkg_opam_get(&d, fields[field].name);
	if (op != '=')
		v = joined(x, have, v, op == '+');
	if (have)
		pkg_opam_print_value(have, &before);
	if (v)
		pkg_opam_print_value(v, &after);
	if (str_eq(buf_str(&before), buf_str(&after))) {
		opam_as_put(x, "No modification in %s\n", doc);
		return OPAM_OK;
	}
	if (env_opam_set(x->o, of_switch ? x->s : NULL, fields[field].name, v, &e) < 0)
		return opam_as_fail(x, &e);
	if (!*said)
		opam_as_put(x, "Reverted field %s in %s\n", fields[field].name, doc);
	else if (op == '=')
		opam_as_put(x, "Set to '%s' the field %s in %s\n", said, fields[field].name, doc);
	else
		opam_as_put(x, "%s '%s' %s field %s in %s\n", op == '+' ? "Added" : "Removed", said,
			    op == '+' ? "to" : "from", fields[field].name, doc);
	return OPAM_OK;
}

static int show_option(struct opam_as *x, size_t field, bool of_switch)
{
	struct pkg_opam_doc d;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	if (read_doc(x, of_switch, &d, &e) < 0)
		return opam_as_fail(x, &e);
	const struct pkg_opam_value *v = pkg_opam_get(&d, fields[field].name);
	if (v)
		pkg_opam_print_value(v, &b);
	else if (fields[field].kind == FIELD_LIST && fields[field].of_switch)
		buf_put_c(&b, "[]");
	else if (fields[field].usual && strcmp(fields[field].usual, "{}") != 0)
		buf_put_c(&b, fields[field].usual);
	opam_as_put(x, "%s%s", b.p, b.n ? "\n" : "");
	return OPAM_OK;
}

static int option(struct opam_as *x, const struct option_args *a, const struct cmd_list *w)
{
	const char *name = w->n ? opam_as_switch_name(x) : NULL;
	int code = opam_as_root(x);
	if (code != OPAM_OK)
		return code;
	if (!w->n) {
		if (!x->sw)
			code = list_options(x, false);
		if (code != OPAM_OK || a->global)
			return code;
		code = opam_as_switch(x);
		return code == OPAM_OK ? list_options(x, true) : code;
	}
	const char *equals = strchr(w->v[0], '=');
	char op = equals && equals > w->v[0] && (equals[-1] == '+' || equals[-1] == '-') ? equals[-1] : '=';
	struct str key = equals ? str_of(w->v[0], (size_t)(equals - w->v[0]) - (op != '=')) : str_c(w->v[0]);
	size_t i = 0;
	while (i < FIELDS && !str_eq_c(key, fields[i].name))
		i++;
	bool of_switch = i < FIELDS && !a->global && fields[i].of_switch && (name || !fields[i].global);
	if (i == FIELDS || (a->global && !fields[i].global) || (x->sw && !fields[i].of_switch))
		return opam_as_say(x, OPAM_USAGE,
				   "No option named '%.*s' found. Use 'opam option [--global]' to list them",
				   STR_ARG(key));
	code = of_switch ? opam_as_switch(x) : OPAM_OK;
	if (code != OPAM_OK)
		return code;
	return equals ? change_option(x, i, of_switch, op, equals + 1) : show_option(x, i, of_switch);
}

int opam_as_option(struct opam_as *x, int argc, char **argv)
{
	struct option_args a = {0};
	struct cmd_list words = {0};
	const struct cmd_option options[] = {{0, "global", CMD_FLAG, &a.global}, {0, NULL, CMD_FLAG, NULL}};
	int code;
	if (opam_as_parse(x, options, argc, argv, &words, &code))
		code = words.n > 1 ? opam_as_say(x, OPAM_USAGE, "opam option takes one option at a time")
				   : option(x, &a, &words);
	vec_release(&words);
	return code;
}
