// SPDX-License-Identifier: Apache-2.0
/* Called as `opam`: from argv to one of its commands, and what all of them share. */
#include "cmd/opam_as.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <termios.h>

#include "base/fs.h"
#include "cmd/change.h"

enum { HEADER_WIDTH = 80, ROW_WIDTH = 68, WAIT_MS = 60000, LINE_MAX_BYTES = 1 << 20 };

/* opam help [COMMAND]: one page has them all. */
static int opam_as_help(struct opam_as *x, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return cmd_help(x->c);
}

static const struct {
	const char *name;
	int (*run)(struct opam_as *x, int argc, char **argv);
	const char *words; /* what its usage says behind the options */
} commands[] = {
	{"config", opam_as_config, " [COMMAND] [ARG]…"},
	{"env", opam_as_env, ""},
	{"exec", opam_as_exec, " COMMAND [ARG]...…"},
	{"help", opam_as_help, " [COMMAND]"},
	{"info", opam_as_show, " [PACKAGES]…"},
	{"init", opam_as_init, " [NAME] [ADDRESS]"},
	{"install", opam_as_install, " [PACKAGES]…"},
	{"list", opam_as_list, " [PATTERNS]…"},
	{"option", opam_as_option, " [FIELD[(=|+=|-=)[VALUE]]]"},
	{"pin", opam_as_pin, " [COMMAND] [ARG]…"},
	{"reinstall", opam_as_reinstall, " [PACKAGES]…"},
	{"remote", opam_as_repository, " [COMMAND] [ARG]…"},
	{"remove", opam_as_remove, " [PACKAGES]…"},
	{"repository", opam_as_repository, " [COMMAND] [ARG]…"},
	{"show", opam_as_show, " [PACKAGES]…"},
	{"switch", opam_as_switches, " [COMMAND] [ARG]…"},
	{"uninstall", opam_as_remove, " [PACKAGES]…"},
	{"unpin", opam_as_unpin, " [ARG]…"},
	{"update", opam_as_update, " [NAMES]…"},
	{"upgrade", opam_as_upgrade, " [PACKAGES]…"},
	{"var", opam_as_var, " [VAR[=[VALUE]]]"},
};
enum { COMMANDS = sizeof(commands) / sizeof(*commands) };

/* -- words ---------------------------------------------------------------------------------------------------------------- */

void opam_as_put(struct opam_as *x, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	out_tame(&b);
	if (!x->c->json)
		out_put(&x->c->out, buf_str(&b));
}

/* Lines that follow stand under the first. */
static void put_note(struct opam_as *x, const char *kind, struct str text)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	struct str line;
	buf_printf(&b, "[%s] ", kind);
	size_t indent = b.n;
	bool blank = str_ends(text, STR("\n"));
	for (bool first = true; str_take_line(&text, &line); first = false) {
		for (size_t i = 0; !first && i < indent; i++)
			buf_put_char(&b, ' ');
		buf_put_str(&b, line);
		buf_put_char(&b, '\n');
	}
	buf_put_c(&b, blank ? "\n" : "");
	out_tame(&b);
	out_flush(&x->c->out);
	out_put_remark(&x->c->out, buf_str(&b));
}

int opam_as_say(struct opam_as *x, int code, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	put_note(x, "ERROR", buf_str(&b));
	if (x->c->json && code) {
		auto_answer a = {0};
		struct jw *w = cmd_answer(&a);
		jw_kv_c(w, "error", b.p);
		jw_kv_c(w, "code", "failed");
		jw_kv_int(w, "exit", code);
		cmd_answer_print(x->c, &a);
	}
	return code;
}

void opam_as_note(struct opam_as *x, const char *kind, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	if (x->quiet || x->c->json)
		return;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	put_note(x, kind, buf_str(&b));
}

static int code_of(const struct err *e)
{
	switch (e->code) {
	case ERR_USAGE:
	case ERR_EXISTS:
		return OPAM_USAGE;
	case ERR_NOT_FOUND:
		return OPAM_NOT_FOUND;
	case ERR_BUSY:
		return OPAM_LOCKED;
	case ERR_NO_SOLUTION:
		return OPAM_NO_SOLUTION;
	case ERR_INPUT:
	case ERR_LIMIT:
	case ERR_UNSUPPORTED:
		return OPAM_FILE_ERROR;
	case ERR_NETWORK:
	case ERR_VERIFY:
		return OPAM_SYNC_ERROR;
	case ERR_NONE:
	case ERR_FAILED:
	case ERR_UNCERTAIN:
	case ERR_ROLLED_BACK:
		break;
	}
	return OPAM_INTERNAL;
}

int opam_as_fail(struct opam_as *x, const struct err *e)
{
	return opam_as_say(x, code_of(e), "%s", e->msg);
}

void opam_as_header(struct opam_as *x, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(4096);
	va_list ap;
	buf_put_c(&b, "<><> ");
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_put_char(&b, ' ');
	while (out_width(buf_str(&b)) < HEADER_WIDTH)
		buf_put_char(&b, (HEADER_WIDTH - out_width(buf_str(&b))) % 2 ? '>' : '<');
	opam_as_put(x, "\n%s\n", b.p);
}

static bool is_set(const char *name)
{
	const char *v = getenv(name);
	return v && *v && strcmp(v, "0") != 0 && strcmp(v, "false") != 0 && strcmp(v, "no") != 0;
}

bool opam_as_utf8(void)
{
	const char *asked = getenv("OPAMUTF8"), *all = getenv("LC_ALL");
	if (asked && strcmp(asked, "auto") != 0)
		return is_set("OPAMUTF8") && strcmp(asked, "never") != 0;
	struct str s = str_c(all ? all : getenv("LANG"));
	struct str end = str_skip(s, s.n > 5 ? s.n - 5 : 0);
	return s.n >= 5 && (str_casecmp(end, STR("utf-8")) == 0 || str_casecmp(str_skip(end, 1), STR("utf8")) == 0);
}

/* One key, as opam reads it: y, n, or Enter for what is usual. Keys that were pressed before the question are no answer. */
static bool read_key(bool usual)
{
	enum { INTERRUPT = 3, END = 4 };
	struct termios before, raw;
	char key = 0;
	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return usual;
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG); /* an interrupt must not leave the terminal so */
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw) < 0)
		return usual;
	while (!strchr("yYnN\n\r", key) || !key) {
		ssize_t n = read(STDIN_FILENO, &key, 1);
		if (n == 0 || (n < 0 && errno != EINTR) || key == INTERRUPT || key == END)
			break;
	}
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
	if (key == INTERRUPT)
		raise(SIGINT);
	return key == 'y' || key == 'Y' || (key != 'n' && key != 'N' && usual);
}

/* Without a terminal nobody can be asked: no. */
static bool confirm(struct opam_as *x, bool usual, enum opam_answer enough, const char *question)
{
	opam_as_put(x, "%s [%s] ", question, usual ? "Y/n" : "y/N");
	out_flush(&x->c->out);
	bool yes = x->answer >= enough;
	if (!yes && x->answer != OPAM_NO && isatty(STDIN_FILENO) && !x->safe)
		yes = read_key(usual);
	opam_as_put(x, "%s\n", yes ? "y" : "n");
	return yes;
}

bool opam_as_confirm(struct opam_as *x, bool usual, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	return confirm(x, usual, OPAM_YES, b.p);
}

bool opam_as_confirm_unsafe(struct opam_as *x, const char *question)
{
	return confirm(x, true, OPAM_UNSAFE_YES, question);
}

/* -- tables ----------------------------------------------------------------------------------------------------------------- */

void opam_as_cell(struct opam_as_table *t, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < b.n; i++)
		if ((unsigned char)b.p[i] < 0x20 || b.p[i] == 0x7f)
			b.p[i] = b.p[i] == '\n' ? ' ' : '?';
	vec_push(&t->cells, str_dup(buf_str(&b)));
}

void opam_as_table(struct opam_as *x, struct opam_as_table *t)
{
	size_t width[OUT_TABLE_COLUMNS] = {0};
	for (size_t i = 0; i < t->cells.n; i++) {
		size_t w = out_width(str_c(t->cells.v[i]));
		if (w > width[i % t->columns])
			width[i % t->columns] = w;
	}
	for (size_t i = 0; i < t->cells.n; i += t->columns) {
		auto_buf b = BUF_INIT(LINE_MAX_BYTES);
		for (size_t k = 0; k < t->columns && i + k < t->cells.n; k++) {
			struct str cell = str_c(t->cells.v[i + k]);
			buf_put_c(&b, k ? t->sep : "");
			buf_put_str(&b, cell);
			for (size_t w = out_width(cell); w < width[k]; w++)
				buf_put_char(&b, ' ');
		}
		while (b.n && b.p[b.n - 1] == ' ')
			buf_truncate(&b, b.n - 1);
		opam_as_put(x, "%s\n", b.p);
	}
	for (size_t i = 0; i < t->cells.n; i++)
		free(t->cells.v[i]);
	vec_release(&t->cells);
}

/* -- options ------------------------------------------------------------------------------------------------------------------ */

int opam_as_usage(struct opam_as *x, const char *why)
{
	auto_buf b = BUF_INIT(8192);
	const char *end = strstr(why, "; 'slipway"); /* what it says next is about another program */
	struct str text = end ? str_of(why, (size_t)(end - why)) : str_c(why);
	const char *words = "";
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, x->command) == 0)
			words = commands[i].words;
	/* opam ends only some of what it says with a full stop */
	buf_printf(
		&b,
		"opam: %.*s%s\nUsage: opam %s [OPTION]…%s\nTry 'opam %s --help' or 'opam --help' for more information.\n",
		STR_ARG(text), str_starts(text, STR("required")) || str_starts(text, STR("PACKAGES")) ? "" : ".",
		x->command, words, x->command);
	out_put_remark(&x->c->out, buf_str(&b));
	return OPAM_USAGE;
}

bool opam_as_is_cli(const struct opam_as *x, const char *version)
{
	const char *cli = x->cli ? x->cli : getenv("OPAMCLI");
	return cli && strcmp(cli, version) == 0;
}

/* --confirm-level, else OPAMCONFIRMLEVEL, else --yes or --no, OPAMYES, OPAMNO. False: there is no such level. */
static bool read_answer(struct opam_as *x)
{
	static const char *const levels[] = {"ask", "no", "yes", "unsafe-yes"};
	const char *env = opam_as_is_cli(x, "2.0") ? NULL : getenv("OPAMCONFIRMLEVEL");
	const char *level = x->confirm ? x->confirm : env && *env ? env : NULL;
	bool known = !level;
	x->answer = x->yes		? OPAM_YES
		    : x->no		? OPAM_NO
		    : is_set("OPAMYES") ? OPAM_YES
		    : is_set("OPAMNO")	? OPAM_NO
					: OPAM_ASK;
	for (size_t i = 0; level && i < sizeof(levels) / sizeof(*levels); i++)
		if (strcmp(level, levels[i]) == 0) {
			x->answer = (enum opam_answer)i;
			known = true;
		}
	if (!known && !x->confirm)
		opam_as_note(x, "WARNING", "Invalid value for environment variable OPAMCONFIRMLEVEL, ignored.");
	x->yes = x->answer >= OPAM_YES;
	return known || !x->confirm;
}

enum { OWN_MAX = 48 };

bool opam_as_parse(struct opam_as *x, const struct cmd_option *own, int argc, char **argv, struct cmd_list *words,
		   int *ret)
{
	const char *json = NULL, *solver = NULL, *criteria = NULL;
	bool verbose = false;
	const struct cmd_option all[] = {
		{0, "root", CMD_TEXT, &x->root},
		{0, "switch", CMD_TEXT, &x->sw},
		{0, "cli", CMD_TEXT, &x->cli},
		{0, "color", CMD_TEXT, &x->colour},
		{0, "confirm-level", CMD_TEXT, &x->confirm},
		{0, x->c->cmd->run ? "opam-json" : "json", CMD_TEXT, &json}, /* of `slipway opam …` it is a flag */
		{0, "solver", CMD_TEXT, &solver},
		{0, "criteria", CMD_TEXT, &criteria},
		{'y', "yes", CMD_FLAG, &x->yes},
		{0, "no", CMD_FLAG, &x->no},
		{'q', "quiet", CMD_FLAG, &x->quiet},
		{'v', "verbose", CMD_FLAG, &verbose},
		{'w', "working-dir", CMD_FLAG, &verbose},
		{0, "safe", CMD_FLAG, &x->safe},
		{0, "debug", CMD_FLAG, &x->debug},
		{0, "strict", CMD_FLAG, &x->strict},
		{0, "no-self-upgrade", CMD_FLAG, &x->no_self},
		{0, "no-auto-upgrade", CMD_FLAG, &x->no_self},
		{0, "version", CMD_FLAG, &x->version},
		{0, "help", CMD_FLAG, &x->help},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct cmd_option list[OWN_MAX + sizeof(all) / sizeof(*all)];
	size_t n = 0;
	for (; own && own->name && n < OWN_MAX; own++)
		list[n++] = *own;
	memcpy(list + n, all, sizeof(all));
	struct err e = ERR_INIT;
	*ret = OPAM_OK;
	if (cmd_parse(x->c, list, false, argc, argv, words, &e) < 0) {
		*ret = x->c->cmd->run ? cmd_fail(x->c, &e) : opam_as_usage(x, e.msg);
		return false;
	}
	x->verbosity += verbose;
	if (!read_answer(x)) {
		*ret = opam_as_usage(x, "option '--confirm-level' is one of ask, no, yes and unsafe-yes");
		return false;
	}
	x->safe = x->safe || is_set("OPAMSAFE");
	if (x->help || x->c->help) {
		*ret = cmd_help(x->c);
		return false;
	}
	return true;
}

/* -- root and switch ------------------------------------------------------------------------------------------------------------ */

const char *opam_as_root_path(struct opam_as *x)
{
	const char *said = x->root ? x->root : getenv("OPAMROOT"), *home = getenv("HOME");
	if (said && *said)
		return said;
	return arena_printf(&x->c->arena, "%s/.opam", home && *home ? home : "");
}

int opam_as_root(struct opam_as *x)
{
	struct err e = ERR_INIT;
	const char *path = opam_as_root_path(x);
	if (x->o)
		return OPAM_OK;
	if (!fs_exists(AT_FDCWD, path))
		return opam_as_say(
			x, OPAM_CONFIG_ERROR, "Opam has not been initialised, please run `%s'",
			x->by_noun
				? "slipway opam init default REPOSITORY' and `slipway opam switch create NAME --empty"
				: "opam init");
	if (env_opam_open(path, &x->o, &e) < 0)
		return e.code == ERR_NOT_FOUND
			       ? opam_as_say(
					 x, OPAM_CONFIG_ERROR,
					 "%s exists, but does not appear to be a valid opam root. Please remove it and use "
					 "`opam init', or specify a different `--root' argument",
					 path)
			       : opam_as_fail(x, &e);
	return OPAM_OK;
}

/* A folder here or above that has a switch of its own. */
static const char *local_switch(struct opam_as *x)
{
	auto_free char *at = getcwd(NULL, 0);
	while (at && *at) {
		auto_free char *meta = xasprintf("%s/_opam/.opam-switch", at);
		if (fs_exists(AT_FDCWD, meta))
			return arena_strdup(&x->c->arena, str_c(at));
		*strrchr(at, '/') = '\0';
	}
	return NULL;
}

const char *opam_as_switch_name(struct opam_as *x)
{
	struct env_opam_config c;
	struct err e = ERR_INIT;
	const char *env = getenv("OPAMSWITCH"), *local;
	x->sw_from = "--switch";
	if (x->sw)
		return x->sw;
	x->sw_from = "OPAMSWITCH";
	if (env && *env)
		return env;
	x->sw_from = "folder";
	local = local_switch(x);
	if (local)
		return local;
	x->sw_from = "root";
	if (opam_as_root(x) != OPAM_OK || env_opam_config_read(x->o, &x->c->arena, &c, &e) < 0 || !c.current.n)
		return NULL;
	return arena_strdup(&x->c->arena, c.current);
}

int opam_as_switch(struct opam_as *x)
{
	struct err e = ERR_INIT;
	int code = opam_as_root(x);
	if (code != OPAM_OK || x->s)
		return code;
	const char *name = opam_as_switch_name(x);
	if (!name)
		return opam_as_say(x, OPAM_CONFIG_ERROR,
				   "No switch is currently set. Please use '%s' to set or install a switch",
				   x->by_noun ? "slipway opam switch create NAME --empty" : "opam switch");
	if (env_opam_switch_open(x->o, name, &x->s, &e) == 0)
		return OPAM_OK;
	if (e.code != ERR_NOT_FOUND)
		return opam_as_fail(x, &e);
	bool said = strcmp(x->sw_from, "--switch") == 0, env = strcmp(x->sw_from, "OPAMSWITCH") == 0;
	return opam_as_say(
		x, said ? OPAM_USAGE : OPAM_CONFIG_ERROR, "The selected switch %s is not installed.%s", name,
		said  ? ""
		: env ? " Please fix the value of the OPAMSWITCH environment variable, or use the '--switch <name>' flag"
		      : " Please choose a different one using 'opam switch <name>', or use the '--switch <name>' flag.");
}

/* What is held by others is waited for, once that is said. */
static int hold(struct opam_as *x, int rc, bool again, struct err *e)
{
	if (rc == 0 || e->code != ERR_BUSY)
		return rc == 0 ? OPAM_OK : opam_as_fail(x, e);
	if (x->safe || again)
		return opam_as_say(x, OPAM_LOCKED, "%s", e->msg);
	const char *end = strchr(e->msg + 1, '\'');
	opam_as_put(x, "Another process has locked %.*s, waiting (CTRL+C to abort)... ",
		    end ? (int)(end - e->msg - 1) : 0, e->msg + 1);
	out_flush(&x->c->out);
	return -1;
}

int opam_as_hold(struct opam_as *x, enum env_opam_part part)
{
	struct err e = ERR_INIT;
	int code = opam_as_root(x);
	if (code != OPAM_OK)
		return code;
	code = hold(x, env_opam_lock(x->o, part, true, 0, &e), false, &e);
	if (code >= 0)
		return code;
	e = ERR_INIT;
	code = hold(x, env_opam_lock(x->o, part, true, WAIT_MS, &e), true, &e);
	if (code == OPAM_OK)
		opam_as_put(x, "lock acquired.\n");
	return code;
}

int opam_as_hold_switch(struct opam_as *x)
{
	struct err e = ERR_INIT;
	int code = opam_as_switch(x);
	if (code != OPAM_OK)
		return code;
	code = hold(x, env_opam_switch_lock(x->s, true, 0, &e), false, &e);
	if (code < 0) {
		e = ERR_INIT;
		code = hold(x, env_opam_switch_lock(x->s, true, WAIT_MS, &e), true, &e);
		if (code == OPAM_OK)
			opam_as_put(x, "lock acquired.\n");
	}
	return code == OPAM_OK && env_opam_pins_settle(x->s, &e) < 0 ? opam_as_fail(x, &e) : code;
}

bool opam_as_is_in_sync(struct opam_as *x)
{
	struct env_opam_update *v;
	struct err e = ERR_INIT;
	size_t n;
	if (!x->s || env_opam_updates_read(x->s, &x->c->arena, &v, &n, &e) < 0)
		return true;
	return env_opam_updates_hold(&x->c->arena, v, n, getenv);
}

bool opam_as_ignores_pin_depends(const struct opam_as *x)
{
	return x->ignore_pin_depends || is_set("OPAMIGNOREPINDEPENDS");
}

bool opam_as_no_notice(void)
{
	return is_set("OPAMNOENVNOTICE");
}

void opam_as_tell_eval(struct opam_as *x, const char *name)
{
	auto_buf b = BUF_INIT(8192);
	const char *env = getenv("OPAMROOT");
	struct env_opam_switch *was = x->s;
	const char *asked = x->sw;
	if (is_set("OPAMNOENVNOTICE"))
		return;
	struct err e = ERR_INIT;
	x->sw = NULL;
	const char *usual = opam_as_switch_name(x);
	x->sw = asked;
	x->s = NULL;
	if (!name || opam_as_no_notice() || env_opam_switch_open(x->o, name, &x->s, &e) < 0 || opam_as_is_in_sync(x)) {
		env_opam_switch_free(x->s);
		x->s = was;
		return;
	}
	env_opam_switch_free(x->s);
	x->s = was;
	if (x->root && (!env || strcmp(env, x->root) != 0))
		buf_printf(&b, " --root=%s", env_opam_path(x->o));
	if (!usual || strcmp(usual, name) != 0)
		buf_printf(&b, " --switch=%s", name);
	opam_as_put(x, "# Run eval $(%s env%s) to update the current shell environment\n", opam_as_called(x), b.p);
}

/* -- the program ------------------------------------------------------------------------------------------------------------------ */

bool opam_as_is_name(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL, *name = slash ? slash + 1 : argv0;
	return name && (strcmp(name, "opam") == 0 || strcmp(name, "opam-2.1") == 0);
}

const char *opam_as_called(const struct opam_as *x)
{
	return x->by_noun ? "slipway opam" : "opam";
}

bool opam_as_knows(const char *word)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, word) == 0)
			return true;
	return false;
}

void opam_as_put_names(const char *margin, struct buf *b)
{
	size_t start = b->n;
	for (size_t i = 0; i < COMMANDS; i++) {
		bool full = b->n - start + strlen(commands[i].name) > ROW_WIDTH;
		if (full) {
			buf_printf(b, "\n%s", margin);
			start = b->n - strlen(margin);
		}
		buf_printf(b, "%s%s", i && !full ? " " : "", commands[i].name);
	}
}

static int unknown(struct opam_as *x, const char *word)
{
	auto_buf b = BUF_INIT(8192);
	buf_printf(&b, "opam: unknown command '%s', must be one of ", word);
	for (size_t i = 0; i < COMMANDS; i++)
		buf_printf(&b, "%s'%s'", i == 0 ? "" : i + 1 == COMMANDS ? " or " : ", ", commands[i].name);
	buf_put_c(&b, ".\nUsage: opam [COMMAND] …\nTry 'opam --help' for more information.\n");
	out_put_remark(&x->c->out, buf_str(&b));
	return OPAM_USAGE;
}

static void overview(struct opam_as *x)
{
	auto_buf b = BUF_INIT(4096);
	opam_as_put_names("          ", &b);
	opam_as_put(x,
		    "usage: opam [--version]\n            [--help]\n            <command> [<args>]\n\nCommands: "
		    "%s\n'opam --help' tells more of them.\n",
		    b.p);
}

/* Where the command's word stands: options of every command may come before it. */
static int command_at(int argc, char **argv)
{
	static const char *const with_value[] = {"--root", "--switch", "--cli", "--color", "--confirm-level", "--json"};
	for (int i = 1; i < argc; i++) {
		bool value = false;
		if (argv[i][0] != '-')
			return i;
		for (size_t k = 0; k < sizeof(with_value) / sizeof(*with_value); k++)
			value |= strcmp(argv[i], with_value[k]) == 0;
		i += value;
	}
	return 0;
}

static int run(struct opam_as *x, int argc, char **argv)
{
	struct cmd_list none = {0};
	int at = command_at(argc, argv), code = OPAM_OK;
	char **rest = arena_array(&x->c->arena, char *, (size_t)argc + 1);
	int n = 0;
	for (int i = 1; i < argc; i++)
		if (i != at)
			rest[n++] = argv[i];
	x->command = at ? argv[at] : "";
	if (!at) {
		bool go_on = opam_as_parse(x, NULL, n, rest, &none, &code);
		vec_release(&none);
		if (!go_on)
			return code;
		if (x->version)
			opam_as_put(x, ENV_OPAM_VERSION "\n");
		else
			overview(x);
		return OPAM_OK;
	}
	if (geteuid() == 0 && !getenv("OPAMROOTISOK"))
		opam_as_note(x, "WARNING", "Running as root is not recommended");
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, x->command) == 0)
			return commands[i].run(x, n, rest);
	return unknown(x, x->command);
}

static const struct cmd self = {"opam", "as", NULL, ""};

int opam_as_end(struct opam_as *x, int code)
{
	opam_as_close_repos(x);
	env_opam_switch_free(x->s);
	env_opam_free(x->o);
	return code;
}

int opam_as_main(struct cmd_context *c, int argc, char **argv)
{
	struct opam_as x = {.c = c};
	c->cmd = &self;
	return opam_as_end(&x, run(&x, argc, argv));
}

int opam_as_by_noun(struct cmd_context *c, const char *word, int argc, char **argv)
{
	struct opam_as x = {.c = c, .command = word, .by_noun = true};
	c->cmd = &self;
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, word) == 0)
			return opam_as_end(&x, commands[i].run(&x, argc, argv));
	return opam_as_end(&x, unknown(&x, word));
}
