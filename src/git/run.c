// SPDX-License-Identifier: Apache-2.0
#include "git/run.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/proc.h"
#include "git/words.h"

enum { LINE_MAX_BYTES = 4096, SAID_MAX = 1 << 16, SHOWN_WORDS = 1000 };
int64_t git_quiet_ms = 300000;

static void put_env(struct git *g, const char *binding)
{
	if (g->env_n + 1 < GIT_ENVIRONMENT_MAX)
		g->env[g->env_n++] = binding;
}

/* What it needs to reach servers, and nothing that could lead it elsewhere. */
void git_init(struct git *g)
{
	static const char *const kept[] = {"PATH",	"HOME",		 "USER",	 "LOGNAME",
					   "TMPDIR",	"SSH_AUTH_SOCK", "http_proxy",	 "https_proxy",
					   "all_proxy", "no_proxy",	 "HTTPS_PROXY",	 "ALL_PROXY",
					   "NO_PROXY",	"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO"};
	static const char *const set[] = {"LC_ALL=C.UTF-8",
					  "GIT_CONFIG_NOSYSTEM=1",
					  "GIT_CONFIG_GLOBAL=/dev/null",
					  "GIT_TERMINAL_PROMPT=0",
					  "GIT_ASKPASS=true",
					  "SSH_ASKPASS_REQUIRE=never",
					  "GIT_SSH_COMMAND=ssh -o BatchMode=yes -o ServerAliveInterval=60",
					  "GIT_ADVICE=0",
					  "GIT_MERGE_AUTOEDIT=no",
					  "GIT_AUTHOR_NAME=slipway",
					  "GIT_COMMITTER_NAME=slipway",
					  "EMAIL=slipway@localhost"};
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const char *value = getenv(kept[i]);
		if (value)
			put_env(g, arena_printf(&g->arena, "%s=%s", kept[i], value));
	}
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++)
		put_env(g, set[i]);
	put_env(g, g->file ? "GIT_ALLOW_PROTOCOL=file:git:http:https:ssh" : "GIT_ALLOW_PROTOCOL=git:http:https:ssh");
	if (g->alternates) /* in quotation marks, as ':' parts several */
		put_env(g, arena_printf(&g->arena, "GIT_ALTERNATE_OBJECT_DIRECTORIES=\"%s\"", g->alternates));
	g->env[g->env_n] = NULL;
}

void git_release(struct git *g)
{
	arena_release(&g->arena);
}

/* -- what it says -------------------------------------------------------------------------------------------------- */

struct said {
	int log_fd;
	struct buf line; /* so far */
	bool redrawn;	 /* a terminal would have drawn over what came before it */
	bool owner, ids; /* why the server cannot be read */
};

static void said_release(struct said *s)
{
	buf_release(&s->line);
}

/* Progress, and which references were fetched. */
static bool is_chatter(struct str line)
{
	static const char *const heads[] = {"From ", " * ", " + ", " - ", " = ", "   "};
	struct str text = line; /* of what the server says, blanks are the end */
	str_take_str(&text, STR("remote: "));
	if (str_ends(str_trim(text), STR(", done.")) || str_starts(text, STR("Total ")))
		return true;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		if (str_starts(line, str_c(heads[i])))
			return true;
	return false;
}

static void end_line(struct said *s)
{
	struct err ignored = ERR_INIT;
	struct str line = buf_str(&s->line);
	s->owner = s->owner || str_search(line, STR("dubious ownership")) >= 0;
	s->ids = s->ids || str_search(line, STR("mismatched algorithms")) >= 0;
	if (s->log_fd >= 0 && !is_chatter(line) && !(s->redrawn && line.n == 0)) {
		buf_put_char(&s->line, '\n');
		fs_write_all(s->log_fd, s->line.p, s->line.n, "the log", &ignored);
	}
	buf_clear(&s->line);
	s->redrawn = false;
}

static void take_said(void *ctx, struct str text)
{
	struct said *s = ctx;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '\r') {
			buf_clear(&s->line);
			s->redrawn = true;
		} else if (text.p[i] == '\n') {
			end_line(s);
		} else if (s->line.n < LINE_MAX_BYTES) {
			buf_put_char(&s->line, text.p[i]);
		}
	}
}

/* -- running ------------------------------------------------------------------------------------------------------- */

static int start(const struct git *g, const char *const *words, struct proc_opts *o, struct err *e)
{
	const char *argv[GIT_WORDS_MAX + 10] = {
		"git", "-c", "core.hooksPath=/dev/null", "-c", "fetch.unpackLimit=1", "-c", "gc.auto=0"};
	size_t n = 7;
	if (g->dir) {
		argv[n++] = "-C";
		argv[n++] = g->dir;
	}
	for (size_t i = 0; words[i]; i++) {
		if (i == GIT_WORDS_MAX)
			panic("too many words for git");
		argv[n++] = words[i];
	}
	argv[n] = NULL;
	o->argv = argv;
	o->envp = g->env;
	int rc = proc_run(o, e);
	if (rc < 0 && e->sys == ENOENT)
		return err_new(e, ERR_NOT_FOUND, "there is no git on this machine; install the package 'git'");
	return rc;
}

int git_run(const struct git *g, const char *const *words, int log_fd, struct err *e)
{
	auto_buf dropped = BUF_INIT(SAID_MAX);
	struct proc_opts o = {0};
	if (log_fd >= 0)
		o.both_to = log_fd;
	else
		o.out = o.errout = &dropped;
	return start(g, words, &o, e);
}

static int quiet(struct str url, struct err *e)
{
	return err_new(
		e, ERR_NETWORK,
		"'%.*s' has sent nothing for %lld seconds, and git was ended; see whether 'git ls-remote %.*s' answers",
		STR_ARG(url), (long long)(git_quiet_ms / 1000), STR_ARG(url));
}

static int refused_owner(struct str url, struct err *e)
{
	return err_new(
		e, ERR_USAGE,
		"'%.*s' belongs to another user, and git reads such a repository for its owner alone: run this as "
		"that user, or make it yours with 'chown -R'",
		STR_ARG(url));
}

int git_run_afar(const struct git *g, const char *const *words, struct str url, int log_fd, struct err *e)
{
	cleanup_with(said_release) struct said s = {.log_fd = log_fd, .line = BUF_INIT(LINE_MAX_BYTES + 2)};
	struct proc_opts o = {.quiet_ms = git_quiet_ms, .signals = true, .say = take_said, .say_ctx = &s};
	int rc = start(g, words, &o, e);
	if (s.line.n)
		end_line(&s);
	if (rc < 0)
		return e->code == ERR_BUSY ? quiet(url, e) : -1;
	if (rc > 0 && s.owner)
		return refused_owner(url, e);
	if (rc > 0 && s.ids)
		return git_refuse_sha256(url, e);
	return rc;
}

/* Its words are the error. */
static int asked(int rc, const struct buf *said, struct err *e)
{
	struct str why = str_trim(buf_str(said));
	if (rc > 0)
		err_new(e, ERR_NETWORK, "%.*s", STR_ARG(str_head(why, SHOWN_WORDS)));
	return rc;
}

int git_ask(const struct git *g, const char *const *words, struct str input, struct buf *ret, struct err *e)
{
	auto_buf said = BUF_INIT(SAID_MAX);
	struct proc_opts o = {.input = input, .out = ret, .errout = &said};
	return asked(start(g, words, &o, e), &said, e);
}

int git_ask_afar(const struct git *g, const char *const *words, struct str url, struct buf *ret, struct err *e)
{
	auto_buf said = BUF_INIT(SAID_MAX);
	struct proc_opts o = {.out = ret, .errout = &said, .quiet_ms = git_quiet_ms, .signals = true};
	int rc = start(g, words, &o, e);
	if (rc < 0)
		return e->code == ERR_BUSY ? quiet(url, e) : -1;
	if (rc > 0 && str_search(buf_str(&said), STR("dubious ownership")) >= 0)
		return refused_owner(url, e);
	return asked(rc, &said, e);
}
