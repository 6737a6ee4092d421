// SPDX-License-Identifier: Apache-2.0
/*
 * Activation as text for a shell, for POSIX shells and fish. What activation sets is saved first, so that deactivation
 * gives it back; PATH is not restored but cleared of the one folder, since more may have been added meanwhile.
 */
#include <fcntl.h>

#include "base/fs.h"
#include "base/vec.h"
#include "env/activate.h"

void activation_quote_sh(struct str s, struct buf *b)
{
	buf_put_char(b, '\'');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'')
			buf_put_c(b, "'\\''");
		else
			buf_put_char(b, s.p[i]);
	}
	buf_put_char(b, '\'');
}

static void quote_fish(struct str s, struct buf *b)
{
	buf_put_char(b, '\'');
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\'' || s.p[i] == '\\')
			buf_put_char(b, '\\');
		buf_put_char(b, s.p[i]);
	}
	buf_put_char(b, '\'');
}

/* An update as words that say the variable's new value. */
static void put_update_sh(const struct env_opam_update *u, struct buf *b)
{
	bool before = u->op == PKG_OPAM_PREPEND || u->op == PKG_OPAM_PREPEND_COLON || u->op == PKG_OPAM_REPLACE;
	struct str name = u->variable;
	if (u->op != PKG_OPAM_SET && !before)
		buf_printf(b, u->op == PKG_OPAM_APPEND_COLON ? "\"${%.*s-}:\"" : "\"${%.*s:+$%.*s:}\"", STR_ARG(name),
			   STR_ARG(name));
	activation_quote_sh(u->value, b);
	if (before)
		buf_printf(b, u->op == PKG_OPAM_PREPEND_COLON ? "\":${%.*s-}\"" : "\"${%.*s:+:$%.*s}\"", STR_ARG(name),
			   STR_ARG(name));
}

struct shell {
	const char *names; /* separated by spaces */
	const char *suffix;
	void (*quote)(struct str s, struct buf *b);
	void (*activate)(const struct shell *sh, struct str prefix, const struct activation *act, struct str name,
			 struct buf *b);
	void (*deactivate)(const struct shell *sh, struct str prefix, const struct activation *act, struct buf *b);
};

static void put_sources(const struct shell *sh, struct str prefix, const struct str *path, size_t n, struct buf *b)
{
	for (size_t i = 0; i < n; i++) {
		auto_buf full = BUF_INIT(BUF_MAX);
		buf_printf(&full, "%.*s/%.*s", STR_ARG(prefix), STR_ARG(path[i]));
		buf_put_c(b, sh->quote == quote_fish ? "source " : ". ");
		sh->quote(buf_str(&full), b);
		buf_put_char(b, '\n');
	}
}

/* == POSIX ======================================================================================================== */
static void sh_set(struct str name, struct str value, struct buf *b)
{
	buf_printf(b, "_SLIPWAY_HAD_%.*s=${%.*s+y} _SLIPWAY_OLD_%.*s=${%.*s-}\n", STR_ARG(name), STR_ARG(name),
		   STR_ARG(name), STR_ARG(name));
	if (str_eq(value, ACTIVATION_UNSET)) {
		buf_printf(b, "unset %.*s\n", STR_ARG(name));
		return;
	}
	buf_printf(b, "export %.*s=", STR_ARG(name));
	activation_quote_sh(value, b);
	buf_put_char(b, '\n');
}

static void sh_update(const struct activation *act, size_t i, struct buf *b)
{
	const struct env_opam_update *u = &act->updates[i];
	struct str name = u->variable;
	if (activation_is_first(act, i))
		buf_printf(b, "_SLIPWAY_HAD_%.*s=${%.*s+y} _SLIPWAY_OLD_%.*s=${%.*s-}\n", STR_ARG(name), STR_ARG(name),
			   STR_ARG(name), STR_ARG(name));
	buf_printf(b, "export %.*s=", STR_ARG(name));
	put_update_sh(u, b);
	buf_put_char(b, '\n');
}

static void sh_restore(struct str name, struct buf *b)
{
	buf_printf(b,
		   "if [ -n \"${_SLIPWAY_HAD_%.*s-}\" ]; then export %.*s=\"$_SLIPWAY_OLD_%.*s\"; else unset %.*s; fi\n"
		   "unset _SLIPWAY_HAD_%.*s _SLIPWAY_OLD_%.*s\n",
		   STR_ARG(name), STR_ARG(name), STR_ARG(name), STR_ARG(name), STR_ARG(name), STR_ARG(name));
}

static void sh_deactivate(const struct shell *sh, struct str prefix, const struct activation *act, struct buf *b)
{
	auto_buf bin = BUF_INIT(BUF_MAX), quoted = BUF_INIT(BUF_MAX);
	buf_printf(&bin, ":%.*s/bin:", STR_ARG(prefix));
	activation_quote_sh(buf_str(&bin), &quoted);
	put_sources(sh, prefix, act->deactivate, act->deactivate_n, b);
	for (size_t i = act->updates_n; i-- > 0;)
		if (activation_is_first(act, i))
			sh_restore(act->updates[i].variable, b);
	for (size_t i = act->variables_n; i-- > 0;)
		sh_restore(act->variables[i].name, b);
	sh_restore(STR("CONDA_SHLVL"), b);
	sh_restore(STR("CONDA_DEFAULT_ENV"), b);
	sh_restore(STR("CONDA_PREFIX"), b);
	buf_printf(b,
		   "_SLIPWAY_PATH=:$PATH:\n"
		   "case $_SLIPWAY_PATH in *%s*) _SLIPWAY_PATH=${_SLIPWAY_PATH%%%%%s*}:${_SLIPWAY_PATH#*%s} ;; esac\n"
		   "_SLIPWAY_PATH=${_SLIPWAY_PATH#:}\n"
		   "PATH=${_SLIPWAY_PATH%%:}\n"
		   "unset _SLIPWAY_PATH\n"
		   "if [ -n \"${_SLIPWAY_OLD_PS1+y}\" ]; then PS1=$_SLIPWAY_OLD_PS1; unset _SLIPWAY_OLD_PS1; fi\n"
		   "unset -f slipway_deactivate 2>/dev/null || :\n"
		   "hash -r 2>/dev/null || :\n",
		   quoted.p, quoted.p, quoted.p);
}

static void sh_activate(const struct shell *sh, struct str prefix, const struct activation *act, struct str name,
			struct buf *b)
{
	auto_buf bin = BUF_INIT(BUF_MAX), prompt = BUF_INIT(BUF_MAX);
	buf_printf(&bin, "%.*s/bin:", STR_ARG(prefix));
	buf_printf(&prompt, "(%.*s) ", STR_ARG(name));
	buf_put_c(b, "if command -v slipway_deactivate >/dev/null 2>&1; then slipway_deactivate; fi\n"
		     "slipway_deactivate() {\n");
	sh_deactivate(sh, prefix, act, b);
	buf_put_c(b, "}\n");
	sh_set(STR("CONDA_PREFIX"), prefix, b);
	sh_set(STR("CONDA_DEFAULT_ENV"), name, b);
	sh_set(STR("CONDA_SHLVL"), STR("1"), b);
	buf_put_c(b, "export PATH=");
	activation_quote_sh(buf_str(&bin), b);
	buf_put_c(b, "\"$PATH\"\n");
	for (size_t i = 0; i < act->variables_n; i++)
		sh_set(act->variables[i].name, act->variables[i].value, b);
	for (size_t i = 0; i < act->updates_n; i++)
		sh_update(act, i, b);
	buf_put_c(b, "if [ -n \"${PS1-}\" ]; then _SLIPWAY_OLD_PS1=$PS1; PS1=");
	activation_quote_sh(buf_str(&prompt), b);
	buf_put_c(b, "$PS1; fi\nhash -r 2>/dev/null || :\n");
	put_sources(sh, prefix, act->activate, act->activate_n, b);
}

/* == fish ========================================================================================================= */
static void fish_set(struct str name, struct str value, struct buf *b)
{
	buf_printf(b, "if set -q %.*s; set -g _SLIPWAY_OLD_%.*s $%.*s; end\n", STR_ARG(name), STR_ARG(name),
		   STR_ARG(name));
	if (str_eq(value, ACTIVATION_UNSET)) {
		buf_printf(b, "set -e %.*s\n", STR_ARG(name));
		return;
	}
	buf_printf(b, "set -gx %.*s ", STR_ARG(name));
	quote_fish(value, b);
	buf_put_char(b, '\n');
}

/* MANPATH and its like are lists here, others texts with colons: joined, both are the same. */
static void fish_update(const struct activation *act, size_t i, struct buf *b)
{
	const struct env_opam_update *u = &act->updates[i];
	bool before = u->op == PKG_OPAM_PREPEND || u->op == PKG_OPAM_PREPEND_COLON || u->op == PKG_OPAM_REPLACE;
	struct str name = u->variable;
	if (activation_is_first(act, i))
		buf_printf(b, "if set -q %.*s; set -g _SLIPWAY_OLD_%.*s $%.*s; end\n", STR_ARG(name), STR_ARG(name),
			   STR_ARG(name));
	buf_printf(b, "set -gx %.*s (string join : --", STR_ARG(name));
	if (u->op != PKG_OPAM_SET && !before)
		buf_printf(b, " $%.*s", STR_ARG(name));
	buf_put_char(b, ' ');
	quote_fish(u->value, b);
	if (before)
		buf_printf(b, " $%.*s", STR_ARG(name));
	buf_put_c(b, ")\n");
}

static void fish_restore(struct str name, struct buf *b)
{
	buf_printf(b, "if set -q _SLIPWAY_OLD_%.*s; set -gx %.*s $_SLIPWAY_OLD_%.*s; else; set -e %.*s; end\n",
		   STR_ARG(name), STR_ARG(name), STR_ARG(name), STR_ARG(name));
	buf_printf(b, "set -e _SLIPWAY_OLD_%.*s\n", STR_ARG(name));
}

static void fish_deactivate(const struct shell *sh, struct str prefix, const struct activation *act, struct buf *b)
{
	auto_buf bin = BUF_INIT(BUF_MAX);
	buf_printf(&bin, "%.*s/bin", STR_ARG(prefix));
	put_sources(sh, prefix, act->deactivate, act->deactivate_n, b);
	for (size_t i = act->updates_n; i-- > 0;)
		if (activation_is_first(act, i))
			fish_restore(act->updates[i].variable, b);
	for (size_t i = act->variables_n; i-- > 0;)
		fish_restore(act->variables[i].name, b);
	fish_restore(STR("CONDA_SHLVL"), b);
	fish_restore(STR("CONDA_DEFAULT_ENV"), b);
	fish_restore(STR("CONDA_PREFIX"), b);
	buf_put_c(b, "set -gx PATH (string match -v -- ");
	quote_fish(buf_str(&bin), b);
	buf_put_c(b, " $PATH)\nfunctions -e slipway_deactivate\n");
}

static void fish_activate(const struct shell *sh, struct str prefix, const struct activation *act, struct str name,
			  struct buf *b)
{
	auto_buf bin = BUF_INIT(BUF_MAX);
	buf_printf(&bin, "%.*s/bin", STR_ARG(prefix));
	buf_put_c(b, "if functions -q slipway_deactivate; slipway_deactivate; end\nfunction slipway_deactivate\n");
	fish_deactivate(sh, prefix, act, b);
	buf_put_c(b, "end\n");
	fish_set(STR("CONDA_PREFIX"), prefix, b);
	fish_set(STR("CONDA_DEFAULT_ENV"), name, b);
	fish_set(STR("CONDA_SHLVL"), STR("1"), b);
	buf_put_c(b, "set -gx PATH ");
	quote_fish(buf_str(&bin), b);
	buf_put_c(b, " $PATH\n");
	for (size_t i = 0; i < act->variables_n; i++)
		fish_set(act->variables[i].name, act->variables[i].value, b);
	for (size_t i = 0; i < act->updates_n; i++)
		fish_update(act, i, b);
	put_sources(sh, prefix, act->activate, act->activate_n, b);
}

/* == the table ==================================================================================================== */
static const struct shell shells[] = {
	{"posix sh dash bash zsh ksh", ".sh", activation_quote_sh, sh_activate, sh_deactivate},
	{"fish", ".fish", quote_fish, fish_activate, fish_deactivate},
};

static const struct shell *shell_find(struct str name)
{
	for (size_t i = 0; i < sizeof(shells) / sizeof(*shells); i++) {
		struct str rest = str_c(shells[i].names), word;
		while (str_take_word(&rest, &word)) {
			if (str_eq(word, name))
				return &shells[i];
		}
	}
	return NULL;
}

int activation_text(const char *prefix, struct str name, const char *shell, bool deactivate, struct buf *b,
		    struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct activation act = {0};
	/* "/usr/bin/bash", as $SHELL has it */
	const struct shell *sh = shell_find(str_skip(str_c(shell), (size_t)(str_rfind(str_c(shell), '/') + 1)));
	if (!sh)
		return err_new(e, ERR_UNSUPPORTED, "no activation for the shell '%s': there is one for %s and %s",
			       shell, shells[0].names, shells[1].names);
	auto_fd prefix_fd = fs_open_dir(AT_FDCWD, prefix, e);
	if (prefix_fd < 0 || activation_read(prefix_fd, sh->suffix, &a, &act, e) < 0)
		return err_ctx(e, "activate '%s'", prefix);
	if (deactivate)
		sh->deactivate(sh, str_c(prefix), &act, b);
	else
		sh->activate(sh, str_c(prefix), &act, name, b);
	return 0;
}

int activation_file_text(int prefix_fd, const char *prefix, struct buf *b, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct activation act = {0};
	if (activation_read(prefix_fd, ".sh", &a, &act, e) < 0)
		return -1;
	buf_put_c(b, "# Sourced by the wrappers of 'slipway env wrap'; made with the environment.\n");
	/* scripts of packages are written for bash, whatever they say */
	if (act.activate_n > 0)
		buf_put_c(
			b,
			"if [ -z \"${BASH_VERSION-}\" ] && [ -x /bin/bash ]; then exec /bin/bash \"$0\" \"$@\"; fi\n");
	buf_put_c(b, "export CONDA_SHLVL=1 CONDA_PREFIX=");
	activation_quote_sh(str_c(prefix), b);
	buf_put_c(b, "\nexport PATH=\"$CONDA_PREFIX/bin:${PATH:-/usr/local/bin:/usr/bin:/bin}\"\n");
	for (size_t i = 0; i < act.variables_n; i++) {
		bool unset = str_eq(act.variables[i].value, ACTIVATION_UNSET);
		buf_printf(b, unset ? "unset %.*s" : "export %.*s=", STR_ARG(act.variables[i].name));
		if (!unset)
			activation_quote_sh(act.variables[i].value, b);
		buf_put_char(b, '\n');
	}
	for (size_t i = 0; i < act.updates_n; i++) {
		buf_printf(b, "export %.*s=", STR_ARG(act.updates[i].variable));
		put_update_sh(&act.updates[i], b);
		buf_put_char(b, '\n');
	}
	/* within a function, so that a script does not see the program's arguments as its own */
	if (act.activate_n > 0) {
		buf_put_c(b, "_slipway_activate() {\n");
		put_sources(&shells[0], str_c(prefix), act.activate, act.activate_n, b);
		buf_put_c(b, "}\n_slipway_activate\n");
	}
	return 0;
}
