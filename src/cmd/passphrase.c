// SPDX-License-Identifier: Apache-2.0
#include "cmd/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <termios.h>

#include "base/fs.h"

enum { LINE_MAX_BYTES = 1000, FILE_MAX_BYTES = 4096 };

static int of_file(const char *file, struct buf *ret, struct err *e)
{
	auto_buf b = BUF_INIT(FILE_MAX_BYTES);
	struct str line, rest;
	if (fs_read_any(AT_FDCWD, file, &b, e) < 0)
		return err_ctx(e, "--passphrase-file");
	rest = buf_str(&b);
	if (!str_take_line(&rest, &line) || !line.n)
		return err_new(e, ERR_USAGE, "the first line of '%s' is empty", file);
	buf_put_str(ret, line);
	explicit_bzero(b.p, b.n);
	return ret->overflow ? err_new(e, ERR_LIMIT, "a passphrase longer than %zu bytes", ret->max) : 0;
}

/* A line, which is not shown as it is typed. */
static int read_line(int tty, const char *prompt, char *to, size_t size, struct err *e)
{
	struct termios before, quiet;
	size_t n = 0;
	if (tcgetattr(tty, &before) < 0)
		return err_sys(e, "ask for a passphrase");
	quiet = before;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	(void)!write(tty, prompt, strlen(prompt));
	if (tcsetattr(tty, TCSAFLUSH, &quiet) < 0)
		return err_sys(e, "ask for a passphrase");
	while (n + 1 < size) {
		ssize_t got = read(tty, to + n, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0 || to[n] == '\n')
			break;
		n++;
	}
	to[n] = '\0';
	(void)tcsetattr(tty, TCSAFLUSH, &before);
	(void)!write(tty, "\n", 1);
	return n ? 0 : err_new(e, ERR_USAGE, "no passphrase was said");
}

static int of_terminal(const struct cmd_passphrase *p, const char *what, struct buf *ret, struct err *e)
{
	char first[LINE_MAX_BYTES], again[LINE_MAX_BYTES];
	auto_free char *prompt = xasprintf("passphrase of %s: ", what);
	auto_fd tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (tty < 0)
		return err_new(
			e, ERR_USAGE,
			"%s has a passphrase: say it with --passphrase-file FILE, in SLIPWAY_TUF_PASSPHRASE or at a "
			"terminal",
			what);
	int rc = read_line(tty, prompt, first, sizeof(first), e);
	if (rc == 0 && p->twice) {
		rc = read_line(tty, "once more: ", again, sizeof(again), e);
		if (rc == 0 && strcmp(first, again) != 0)
			rc = err_new(e, ERR_USAGE, "these were two different passphrases");
		explicit_bzero(again, sizeof(again));
	}
	if (rc == 0)
		buf_put_c(ret, first);
	explicit_bzero(first, sizeof(first));
	return rc;
}

int cmd_passphrase_ask(struct cmd_passphrase *p, const char *what, struct buf *ret, struct err *e)
{
	const char *environment = getenv("SLIPWAY_TUF_PASSPHRASE");
	if (p->file)
		return of_file(p->file, ret, e);
	if (!environment || !environment[0])
		return of_terminal(p, what, ret, e);
	buf_put_c(ret, environment);
	return ret->overflow ? err_new(e, ERR_LIMIT, "a passphrase longer than %zu bytes", ret->max) : 0;
}

static int ask(void *ctx, const char *key, struct buf *ret, struct err *e)
{
	auto_free char *what = xasprintf("key '%s'", key);
	return cmd_passphrase_ask(ctx, what, ret, e);
}

void cmd_passphrase_init(struct cmd_passphrase *p, const char *file)
{
	*p = (struct cmd_passphrase){.file = file, .tuf = {.ask = ask, .ctx = p}};
}
