// SPDX-License-Identifier: Apache-2.0
/* What every command says in the same way: errors, remarks, help, progress. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/change.h"
#include "cmd/cmd.h"
#include "cmd/help.h"

static int exit_code_of(enum err_code code)
{
	switch (code) {
	case ERR_USAGE:
		return CMD_USAGE;
	case ERR_NO_SOLUTION:
		return CMD_NO_SOLUTION;
	case ERR_ROLLED_BACK:
		return CMD_ROLLED_BACK;
	case ERR_UNCERTAIN:
		return CMD_NEEDS_PERSON;
	case ERR_NONE:
	case ERR_FAILED:
	case ERR_INPUT:
	case ERR_LIMIT:
	case ERR_NOT_FOUND:
	case ERR_EXISTS:
	case ERR_BUSY:
	case ERR_NETWORK:
	case ERR_VERIFY:
	case ERR_UNSUPPORTED:
		return CMD_FAILED;
	}
	return CMD_FAILED;
}

/* The environment that was named, where it is there: one that is being created has nothing to remove. */
static const char *env_there(const struct cmd_context *c)
{
	char path[PATH_MAX];
	if (!c->env_asked || c->root_fd < 0 ||
	    snprintf(path, sizeof(path), "env/%s/current", c->env_asked) >= (int)sizeof(path))
		return "NAME";
	return faccessat(c->root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ? c->env_asked : "NAME";
}

/* It writes to a channel or a mirror, and not to what a host has installed. */
static bool is_of_channels(const struct cmd *cmd)
{
	static const char *const verbs[] = {"publish", "yank", "create", "sync", "promote", "prune", "scrub", "sign"};
	if (!cmd)
		return false;
	for (size_t i = 0; strcmp(cmd->noun, "channel") == 0 && cmd->verb && i < sizeof(verbs) / sizeof(*verbs); i++)
		if (strcmp(cmd->verb, verbs[i]) == 0)
			return true;
	return strcmp(cmd->noun, "mirror") == 0 || strcmp(cmd->noun, "sync-channel") == 0;
}

static bool is_of_builds(const struct cmd *cmd)
{
	static const char *const nouns[] = {"build", "image", "job", "jobs", "worker"};
	for (size_t i = 0; cmd && i < sizeof(nouns) / sizeof(*nouns); i++)
		if (strcmp(cmd->noun, nouns[i]) == 0)
			return true;
	return false;
}

/* The next step where the message cannot know it: a disk that is full; a root that is another user's, who may. */
static const struct err *with_cure(const struct cmd_context *c, const struct err *e, struct err *ret)
{
	struct stat st;
	if ((e->sys == ENOSPC || e->sys == EDQUOT) && !strstr(e->msg, "make room")) {
		*ret = *e;
		if (is_of_channels(c->cmd))
			err_new(ret, e->code, "%s; 'slipway channel prune' makes room where the channel is", e->msg);
		else if (is_of_builds(c->cmd))
			err_new(ret, e->code, "%s; 'slipway build gc' makes room", e->msg);
		else
			err_new(ret, e->code,
				"%s; 'slipway install remove inactive -n %s' and 'slipway store gc' make room", e->msg,
				env_there(c));
		return ret;
	}
	if ((e->sys != EACCES && e->sys != EPERM) || c->root_fd < 0 || fstat(c->root_fd, &st) < 0 ||
	    st.st_uid == geteuid() || faccessat(c->root_fd, ".", W_OK, AT_EACCESS) == 0)
		return e;
	const struct passwd *owner = getpwuid(st.st_uid);
	*ret = *e;
	err_new(ret, e->code, "%s; '%s' belongs to user '%s': run this as that user, or name another root with --root",
		e->msg, c->root_path, owner ? owner->pw_name : "?");
	return ret;
}

/* For a shell, within double quotes where it needs them. */
static void put_word(struct buf *b, struct str word)
{
	static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+=,-";
	if (word.n && strspn(word.p, harmless) == word.n) {
		buf_put(b, word.p, word.n);
		return;
	}
	buf_put_char(b, '"');
	for (size_t i = 0; i < word.n; i++) {
		if (strchr("$`\"\\", word.p[i]))
			buf_put_char(b, '\\');
		buf_put_char(b, word.p[i]);
	}
	buf_put_char(b, '"');
}

const char *cmd_typed(struct cmd_context *c, const char *text)
{
	static const char own[] = "slipway ";
	auto_buf b = BUF_INIT(BUF_MAX);
	if (!c->root_option)
		return text;
	for (const char *p = text; *p; p++) {
		bool begins = strncmp(p, own, sizeof(own) - 1) == 0 && (p == text || p[-1] == '\'');
		if (!begins) {
			buf_put_char(&b, *p);
			continue;
		}
		buf_put_c(&b, "slipway --root ");
		put_word(&b, str_c(c->root_option));
		buf_put_char(&b, ' ');
		p += sizeof(own) - 2;
	}
	return arena_strdup(&c->arena, buf_str(&b));
}

int cmd_exit_of(const struct err *e)
{
	return exit_code_of(e->code);
}

int cmd_fail(struct cmd_context *c, const struct err *e)
{
	return cmd_fail_as(c, e, cmd_exit_of(e));
}

int cmd_fail_as(struct cmd_context *c, const struct err *failure, int code)
{
	struct err more;
	const struct err *e = with_cure(c, failure, &more);
	cmd_progress_end(c);
	cmd_warn(c, "%s", e->msg);
	if (c->json) {
		auto_answer a = {0};
		struct jw *w = cmd_answer(&a);
		jw_kv_c(w, "error", cmd_typed(c, e->msg));
		jw_kv_c(w, "code", err_code_name(e->code));
		jw_kv_int(w, "exit", code);
		cmd_answer_print(c, &a);
	}
	return code;
}

static void put_line(struct cmd_context *c, const char *start, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
static void put_line(struct cmd_context *c, const char *start, const char *fmt, va_list ap)
{
	auto_buf b = BUF_INIT(1 << 20);
	auto_buf shown = BUF_INIT(1 << 22);
	struct str rest, line;
	buf_vprintf(&b, fmt, ap);
	buf_put_c(&shown, start);
	for (rest = str_c(cmd_typed(c, b.p)); str_take_line(&rest, &line); buf_put_char(&shown, '\n'))
		out_put_cut(&shown, line, SIZE_MAX); /* controls that came from outside cannot steer the terminal */
	out_put_remark(&c->out, buf_str(&shown));
}

void cmd_say(struct cmd_context *c, const char *fmt, ...)
{
	va_list ap;
	if (c->quiet || c->json)
		return;
	va_start(ap, fmt);
	put_line(c, "", fmt, ap);
	va_end(ap);
}

void cmd_warn(struct cmd_context *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	put_line(c, "slipway: ", fmt, ap);
	va_end(ap);
}

/* -- signals -------------------------------------------------------------------------------------------------------- */

void cmd_if_interrupted(struct cmd_context *c, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(1 << 16), shown = BUF_INIT(1 << 18);
	const char *title = c->last_line_of;
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	out_put_cut(&shown, buf_str(&b), SIZE_MAX);
	out_closing_words(&c->out, arena_printf(&c->arena, "%sslipway: interrupted; %s\n%s%s%s",
						c->out.err_tty ? "\r" : "", shown.p, title ? "FAILED: " : "",
						title ? title : "", title ? " interrupted\n" : ""));
}

void cmd_changed(struct cmd_context *c)
{
	c->changed = true;
	c->last_line_of = NULL; /* it has not failed */
	cmd_if_interrupted(c, "what was asked for was done");
}

void cmd_signals_wait(sigset_t *before)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, before);
}

void cmd_signals_go_on(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* -- answers -------------------------------------------------------------------------------------------------------- */

int cmd_print(struct cmd_context *c, const struct buf *b)
{
	out_put(&c->out, buf_str(b));
	out_flush(&c->out); /* before what is said next on standard error */
	return CMD_OK;
}

struct jw *cmd_answer(struct cmd_answer *a)
{
	a->b = BUF_INIT(BUF_MAX);
	a->w = JW_INIT(&a->b, 2);
	jw_object(&a->w);
	return &a->w;
}

int cmd_answer_print(struct cmd_context *c, struct cmd_answer *a)
{
	jw_object_end(&a->w);
	buf_put_char(&a->b, '\n');
	return cmd_print(c, &a->b);
}

/* -- progress ------------------------------------------------------------------------------------------------------ */

static void pass_on(struct progress *p, const struct progress_event *ev)
{
	struct progress *shown = p->ctx;
	if (shown)
		progress_send(shown, *ev);
}

void cmd_progress_begin(struct cmd_context *c)
{
	c->out.json = c->json;
	c->out.quiet = c->quiet;
	c->out.verbose = c->verbose;
	c->progress = (struct progress){.event = pass_on, .ctx = out_progress_begin(&c->out)};
}

void cmd_progress_end(struct cmd_context *c)
{
	c->progress.ctx = NULL;
	out_progress_end(&c->out);
}

int cmd_help(struct cmd_context *c)
{
	auto_buf b = BUF_INIT(1 << 20);
	const char *text = help_text(c->cmd->noun, c->cmd->verb);
	if (text)
		buf_put_c(&b, text);
	else
		buf_printf(&b, "slipway %s%s%s: %s\n", c->cmd->noun, c->cmd->verb ? " " : "",
			   c->cmd->verb ? c->cmd->verb : "", c->cmd->summary);
	return cmd_print(c, &b);
}
