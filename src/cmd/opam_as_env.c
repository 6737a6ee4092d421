// SPDX-License-Identifier: Apache-2.0
/* `opam env` and `opam exec`: the environment that a switch gives, for a shell or a command. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "cmd/opam_as.h"

enum { SHELL_SH, SHELL_CSH, SHELL_FISH, SHELL_SEXP };

/* -- env -------------------------------------------------------------------------------------------------------------------- */

static bool is_shell(struct str name)
{
	static const char *const known[] = {"bash", "sh", "csh", "zsh", "fish"};
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (str_eq_c(name, known[i]))
			return true;
	return false;
}

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

static void put_quoted(struct buf *b, struct str s, int shell)
{
	bool backslash = shell == SHELL_FISH;
	buf_put_char(b, '\'');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n' && shell == SHELL_CSH) /* which takes the line to be over there */
			buf_put_char(b, '\\');
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
		put_quoted(b, v->value, SHELL_FISH);
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
		put_quoted(b, buf_str(&with), SHELL_FISH);
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
			put_quoted(b, v[i].value, shell);
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
	if (go_on && a.shell && !is_shell(str_c(a.shell))) { /* not to print what that one would read otherwise */
		const char *why = arena_printf(&x->c->arena,
					       "option '--shell': invalid value '%s', expected one of 'bash', 'sh', "
					       "'csh', 'zsh' or 'fish'",
					       a.shell);
		return opam_as_usage(x, why);
	}
	return !go_on ? code : n ? opam_as_say(x, OPAM_USAGE, "opam env takes no words") : show_env(x, &a);
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
