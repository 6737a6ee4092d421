// SPDX-License-Identifier: Apache-2.0
/* mirror serve, start, stop, restart, reload, status, install-service. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/un.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/sys.h"
#include "cmd/change.h"
#include "mirror/mirror.h"

enum { START_MS = 60000, STOP_MS = 60000, POLL_MS = 50, ANSWER_MAX = 1 << 20 };

struct mirror_args {
	bool take_over, systemd, sysv, cron;
	const char *to, *user;
	int64_t port;
	struct cmd_list words;
	const char *dir; /* absolute */
};

static int run(struct cmd_context *c, int argc, char **argv,
	       int (*fn)(struct cmd_context *c, struct mirror_args *a, struct err *e))
{
	struct mirror_args a = {0};
	const struct cmd_option options[] = {
		{0, "take-over", CMD_FLAG, &a.take_over},
		{0, "systemd", CMD_FLAG, &a.systemd},
		{0, "sysv", CMD_FLAG, &a.sysv},
		{0, "cron", CMD_FLAG, &a.cron},
		{0, "to", CMD_TEXT, &a.to},
		{0, "user", CMD_TEXT, &a.user},
		{0, "port", CMD_NUMBER, &a.port},
		{0, NULL, CMD_FLAG, NULL},
	};
	struct err e = ERR_INIT;
	int rc = cmd_parse(c, options, false, argc, argv, &a.words, &e);
	if (rc == 0 && !c->help && a.words.n > 1)
		rc = err_new(&e, ERR_USAGE, "unexpected word '%s'", a.words.v[1]);
	if (rc == 0 && !c->help) {
		const char *word = a.words.n ? a.words.v[0] : ".";
		auto_free char *dir = realpath(word, NULL);
		rc = dir ? 0 : err_sys(&e, "open '%s'", word);
		if (!dir && e.code == ERR_NOT_FOUND)
			err_new(&e, ERR_NOT_FOUND, "there is no folder '%s'; 'slipway mirror init' makes a mirror",
				word);
		a.dir = dir ? arena_strdup(&c->arena, str_c(dir)) : NULL;
	}
	int code = rc < 0 ? cmd_fail(c, &e) : c->help ? cmd_help(c) : fn(c, &a, &e);
	if (code < 0)
		code = cmd_fail(c, &e);
	vec_release(&a.words);
	return code;
}

/* -- serving -------------------------------------------------------------------------------------------------------- */

/* sd_notify(3): a datagram to the socket that the service manager names. */
static void notify(const char *text)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	size_t n = path ? strlen(path) : 0;
	if (n < 2 || n >= sizeof(at.sun_path))
		return;
	memcpy(at.sun_path, path, n);
	if (path[0] == '@')
		at.sun_path[0] = '\0';
	auto_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&at,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

static void serves(void *ctx, unsigned port, unsigned admin_port)
{
	struct cmd_context *c = ctx;
	auto_free char *text = xasprintf("READY=1\nMAINPID=%d", (int)getpid());
	cmd_say(c, "serves at port %u; health and metrics: http://127.0.0.1:%u/ ; Ctrl-C ends it", port, admin_port);
	cmd_if_interrupted(c, "the server ends");
	notify(text);
}

static int answer_state(struct cmd_context *c, const char *operation, const char *dir, const struct json *st);

/* What mirror.yaml says is understood. */
static int check(struct cmd_context *c, const struct mirror_args *a, struct err *e)
{
	auto_ptr(mirror) m = NULL;
	if (mirror_open(a->dir, &m, e) < 0)
		return -1;
	cmd_say(c, "'%s/mirror.yaml' is good: would serve mirror '%.*s' at %.*s", a->dir,
		STR_ARG(mirror_config(m)->name), STR_ARG(mirror_config(m)->server.listen));
	return c->json ? answer_state(c, "serve", a->dir, NULL) : CMD_OK;
}

static int serve(struct cmd_context *c, struct mirror_args *a, struct err *e)
{
	if (c->dry_run)
		return check(c, a, e);
	const struct mirror_serve_opts o = {.foreground = true, .take_over = a->take_over, .ready = serves, .ctx = c};
	return mirror_serve(a->dir, &o, e) < 0 ? -1 : CMD_OK;
}

int cmd_mirror_serve(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, serve);
}

/* -- in the background ---------------------------------------------------------------------------------------------- */

struct child {
	int pipe;
};

/* One line to the process that waits: "ready PORT ADMIN", or "failed CODE MESSAGE". */
static void child_ready(void *ctx, unsigned port, unsigned admin_port)
{
	const struct child *ch = ctx;
	dprintf(ch->pipe, "ready %u %u\n", port, admin_port); /* style: allow sys: a pipe */
}

static _Noreturn void be_child(const struct mirror_args *a, int pipe, bool take_over)
{
	struct child ch = {pipe};
	struct err e = ERR_INIT;
	const struct mirror_serve_opts o = {.take_over = take_over, .ready = child_ready, .ctx = &ch};
	setsid();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; null >= 0 && i < 3; i++)
		(void)dup2(null, i);
	if (chdir("/") < 0 || mirror_serve(a->dir, &o, &e) < 0) {
		dprintf(pipe, "failed %d %s\n", (int)e.code, e.msg); /* style: allow sys: a pipe */
		_exit(1);
	}
	_exit(0);
}

static int read_line(int fd, struct buf *b, struct err *e)
{
	int64_t until = clock_mono_ms() + START_MS;
	char c;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int64_t left = until - clock_mono_ms();
		int n = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_new(e, ERR_BUSY,
				       "the server has not begun to serve within a minute; its log says what it does");
		if (read(fd, &c, 1) != 1)
			return err_new(e, ERR_FAILED,
				       "the server ended before it served; 'slipway mirror serve' shows why");
		if (c == '\n')
			return 0;
		buf_put_char(b, c);
	}
}

static int start_child(struct cmd_context *c, struct mirror_args *a, bool take_over, struct err *e)
{
	int ends[2];
	auto_buf line = BUF_INIT(ANSWER_MAX);
	uint64_t code;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	pid_t pid = fork();
	if (pid == 0) {
		close(ends[0]);
		be_child(a, ends[1], take_over);
	}
	close(ends[1]);
	auto_fd from = ends[0];
	if (pid < 0)
		return err_sys(e, "start the server");
	if (read_line(from, &line, e) < 0)
		return -1;
	struct str rest = buf_str(&line);
	if (str_take_str(&rest, STR("failed ")) && str_take_u64(&rest, &code))
		return err_new(e, (enum err_code)code, "%.*s", STR_ARG(str_trim(rest)));
	cmd_changed(c);
	return 0;
}

/* -- what it says of itself ------------------------------------------------------------------------------------------ */

/* 1; 0: none runs. */
static int ask_status(struct cmd_context *c, const char *dir, const struct json **ret, struct err *e)
{
	auto_buf b = BUF_INIT(ANSWER_MAX);
	struct err failure = ERR_INIT;
	if (mirror_server_ask(dir, "status", &b, &failure) < 0) {
		if (failure.code == ERR_NOT_FOUND)
			return 0;
		*e = failure;
		return -1;
	}
	*ret = json_parse(&c->arena, arena_str(&c->arena, buf_str(&b)), "the server's answer", e);
	return *ret ? 1 : -1;
}

static int answer_state(struct cmd_context *c, const char *operation, const char *dir, const struct json *st)
{
	auto_answer a = {0};
	struct jw *w = cmd_answer(&a);
	if (operation) {
		jw_kv_c(w, "operation", operation);
		jw_kv_bool(w, "dry_run", c->dry_run);
	}
	jw_kv_c(w, "dir", dir);
	jw_kv_bool(w, "runs", st != NULL);
	for (uint32_t i = 0; st && i < st->n; i++) {
		jw_key_str(w, st->member[i].key);
		jw_value(w, &st->member[i].value);
	}
	return cmd_answer_print(c, &a);
}

static void say_state(struct cmd_context *c, const struct json *st)
{
	cmd_say(c, "mirror '%.*s' serves at port %lld, admin port %lld, process %lld", STR_ARG(json_text(st, "name")),
		(long long)json_number(st, "port"), (long long)json_number(st, "admin_port"),
		(long long)json_number(st, "pid"));
}

static int status(struct cmd_context *c, struct mirror_args *a, struct err *e)
{
	const struct json *st = NULL, *troubles = NULL;
	auto_ptr(mirror) m = NULL;
	struct err ignored = ERR_INIT;
	auto_buf b = BUF_INIT(ANSWER_MAX);
	if (mirror_open(a->dir, &m, e) < 0)
		return -1;
	int rc = ask_status(c, a->dir, &st, e);
	if (rc < 0)
		return -1;
	if (c->json)
		return answer_state(c, NULL, a->dir, st), rc ? CMD_OK : CMD_FAILED;
	if (!rc) {
		buf_printf(&b, "mirror '%.*s' does not run; start it with: slipway mirror start %s\n",
			   STR_ARG(mirror_config(m)->name), a->dir);
		cmd_print(c, &b);
		return CMD_FAILED;
	}
	buf_printf(&b, "mirror '%.*s' (%.*s), version %.*s\n", STR_ARG(json_text(st, "name")),
		   STR_ARG(json_text(st, "host")), STR_ARG(json_text(st, "version")));
	buf_printf(&b, "  port %lld, admin port %lld, process %lld\n", (long long)json_number(st, "port"),
		   (long long)json_number(st, "admin_port"), (long long)json_number(st, "pid"));
	buf_printf(&b, "  %lld connections, %lld requests so far, %lld files on their way from upstreams\n",
		   (long long)json_number(st, "connections"), (long long)json_number(st, "requests"),
		   (long long)json_number(st, "fetches"));
	(void)json_opt_array(st, "troubles", &troubles, &ignored);
	for (uint32_t i = 0; troubles && i < troubles->n; i++)
		buf_printf(&b, "  trouble: %.*s\n", STR_ARG(troubles->item[i].string));
	return cmd_print(c, &b);
}

int cmd_mirror_status(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, status);
}

/* -- start, stop, restart, reload ------------------------------------------------------------------------------------- */

static int started(struct cmd_context *c, const struct mirror_args *a, const char *operation, struct err *e)
{
	const struct json *st = NULL;
	int rc = ask_status(c, a->dir, &st, e);
	if (rc <= 0)
		return rc < 0 ? -1 : err_new(e, ERR_FAILED, "the server ended again; its log says why");
	say_state(c, st);
	return c->json ? answer_state(c, operation, a->dir, st) : CMD_OK;
}

static int start(struct cmd_context *c, struct mirror_args *a, struct err *e)
{
	const struct json *st = NULL;
	int rc = ask_status(c, a->dir, &st, e);
	if (rc < 0)
		return -1;
	if (rc > 0) {
		say_state(c, st);
		return c->json ? answer_state(c, "start", a->dir, st) : CMD_OK; /* what was asked for is so */
	}
	return start_child(c, a, false, e) < 0 ? -1 : started(c, a, "start", e);
}

int cmd_mirror_start(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, start);
}

static int stop(struct cmd_context *c, struct mirror_args *a, struct err *e)
{
	const struct json *st = NULL;
	int rc = ask_status(c, a->dir, &st, e);
	if (rc < 0 || (rc > 0 && mirror_server_stop(a->dir, STOP_MS, e) < 0))
		return -1;
	if (rc > 0)
		cmd_changed(c);
	cmd_say(c, rc > 0 ? "stopped" : "it does not run");
	return c->json ? answer_state(c, "stop", a->dir, NULL) : CMD_OK;
}

int cmd_mirror_stop(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, stop);
}

/* A service manager counts only what its service has started itself: the server that runs starts its successor. */
static int let_succeed(struct cmd_context *c, struct mirror_args *a, int64_t pid, struct err *e)
{
	auto_buf b = BUF_INIT(ANSWER_MAX);
	auto_free char *program = realpath("/proc/self/exe", NULL);
	int64_t until_ms = clock_mono_ms() + START_MS;
	if (!program)
		return err_sys(e, "find this program");
	if (mirror_server_ask(a->dir, arena_printf(&c->arena, "succeed %s", program), &b, e) < 0)
		return -1;
	while (clock_mono_ms() < until_ms) {
		const struct json *st = NULL;
		bool failed = false;
		struct err passing = ERR_INIT; /* one goes as the other comes */
		int rc = ask_status(c, a->dir, &st, &passing);
		if (rc > 0 && json_number(st, "pid") != pid) {
			cmd_changed(c);
			return 0;
		}
		if (rc > 0 && json_opt_bool(st, "successor_failed", &failed, &passing) >= 0 && failed)
			return err_new(
				e, ERR_FAILED,
				"the new server ended before it served; 'journalctl', or 'slipway mirror serve --dry-run', "
				"tells why");
		poll(NULL, 0, POLL_MS);
	}
	return err_new(e, ERR_BUSY, "the new server has not begun to serve within a minute; its log says what it does");
}

static int restart(struct cmd_context *c, struct mirror_args *a, struct err *e)
{
	const struct json *st = NULL;
	bool managed = false;
	int rc = ask_status(c, a->dir, &st, e);
	if (rc > 0 && json_opt_bool(st, "managed", &managed, e) >= 0 && managed)
		return let_succeed(c, a, json_number(st, "pid"), e) < 0 ? err_ctx(e, "the server of before goes on")
									: started(c, a, "restart", e);
	if (rc < 0 || start_child(c, a, rc > 0, e) < 0)
		return rc > 0 ? err_ctx(e, "the server of before goes on") : -1;
	return started(c, a, "restart", e);
}

int cmd_mirror_restart(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, restart);
}

/* -- to new software --------------------------------------------------------------------------------------------------- */

/* The environment that the mirror's own software is in, and the program in it: what runs from now on, whoever was called. */
#define MIRROR_ENV "mirror"

static int restart_with(struct cmd_context *c, const struct mirror_args *a, const char *program, struct err *e)
{
	auto_buf said = BUF_INIT(ANSWER_MAX);
	const char *argv[] = {program, "mirror", "restart", a->dir, NULL};
	const struct proc_opts o = {.argv = argv, .out = &said, .errout = &said, .deadline_ms = 2 * START_MS};
	int status = proc_run(&o, e);
	if (status != 0)
		return status < 0
			       ? err_ctx(e, "the server of before goes on")
			       : err_new(e, ERR_FAILED,
					 "the new software is installed, but its server does not serve, and the one of before goes on: %s"
					 "; 'slipway install rollback -n " MIRROR_ENV "' goes back",
					 said.p ? said.p : "");
	return started(c, a, "upgrade", e);
}

static int upgrade(struct cmd_context *c, struct mirror_args *a, struct err *e)
{
	static char name[] = "-n", env[] = MIRROR_ENV, fresh[] = "--refresh", recipe[] = "to:updates/mirror/latest.spr";
	char *words[] = {name, env, fresh, recipe};
	bool json = c->json, quiet = c->quiet;
	c->quiet |= json; /* one answer: what the server is like at the end */
	c->json = false;
	int code = cmd_apply(c, 4, words);
	c->json = json;
	c->quiet = quiet;
	if (code != CMD_OK || c->dry_run)
		return code == CMD_OK && json ? answer_state(c, "upgrade", a->dir, NULL) : code;
	const char *program = arena_printf(&c->arena, "%s/env/" MIRROR_ENV "/current/bin/slipway", c->root_path);
	if (access(program, X_OK) < 0)
		return err_new(e, ERR_NOT_FOUND,
			       "'to:updates/mirror/latest.spr' brings no bin/slipway; the server of before goes on");
	return restart_with(c, a, program, e);
}

int cmd_mirror_upgrade(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, upgrade);
}

static int reload(struct cmd_context *c, struct mirror_args *a, struct err *e)
{
	auto_buf b = BUF_INIT(ANSWER_MAX);
	if (mirror_server_ask(a->dir, "reload", &b, e) < 0)
		return -1;
	cmd_say(c, "certificates were read again, log files opened anew; for mirror.yaml: slipway mirror restart %s",
		a->dir);
	return c->json ? answer_state(c, "reload", a->dir, NULL) : CMD_OK;
}

int cmd_mirror_reload(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, reload);
}

/* -- at boot --------------------------------------------------------------------------------------------------------- */

struct boot {
	struct cmd_context *c;
	const struct mirror_args *a;
	struct str name;
	const char *program, *user;
	int64_t port;
};

static void put_unit(const struct boot *s, struct buf *b)
{
	buf_printf(b, "# Written by slipway mirror install-service.\n[Unit]\nDescription=Slipway mirror %.*s\n",
		   STR_ARG(s->name));
	buf_printf(b,
		   "Wants=network-online.target\nAfter=network-online.target\nRequires=slipway-mirror-%.*s.socket\n\n",
		   STR_ARG(s->name));
	buf_printf(
		b,
		"[Service]\nType=notify\nNotifyAccess=all\nUser=%s\nExecStart=%s mirror serve %s\nExecReload=%s mirror restart %s\n",
		s->user, s->program, s->a->dir, s->program, s->a->dir);
	buf_printf(
		b,
		"Restart=on-failure\nRestartSec=5\nTimeoutStopSec=60\nLimitNOFILE=65536\nUMask=0027\nNoNewPrivileges=yes\nProtectSystem=strict\n"
		"ReadWritePaths=%s\nPrivateTmp=yes\nPrivateDevices=yes\nProtectKernelTunables=yes\nProtectKernelModules=yes\n"
		"ProtectControlGroups=yes\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n\n[Install]\nWantedBy=multi-user.target\n",
		s->a->dir);
}

static void put_socket(const struct boot *s, struct buf *b)
{
	buf_printf(
		b,
		"# Written by slipway mirror install-service: systemd holds the port, so that the server needs no right to it, and\n"
		"# connections wait while it restarts.\n[Unit]\nDescription=Slipway mirror %.*s: port %lld\n\n[Socket]\nListenStream=%lld\n"
		"Backlog=4096\n\n[Install]\nWantedBy=sockets.target\n",
		STR_ARG(s->name), (long long)s->port, (long long)s->port);
}

/* Exit codes are those of the Linux Standard Base: status 3 is "does not run", 5 not installed, 6 not configured. */
static void put_init_script(const struct boot *s, struct buf *b)
{
	buf_printf(
		b,
		"#!/bin/sh\n### BEGIN INIT INFO\n# Provides:          slipway-mirror-%.*s\n# Required-Start:    $network $local_fs $time\n"
		"# Required-Stop:     $network $local_fs\n# Default-Start:     2 3 4 5\n# Default-Stop:      0 1 6\n"
		"# Short-Description: Slipway mirror %.*s\n### END INIT INFO\n# Written by slipway mirror install-service.\n",
		STR_ARG(s->name), STR_ARG(s->name));
	buf_printf(
		b,
		"program=%s\nfolder=%s\nuser=%s\nport=%lld\n\nmirror()\n{\n\tif [ \"$(id -un)\" = $user ]; then\n"
		"\t\t$program mirror \"$@\" $folder\n\telse\n\t\tsu -s /bin/sh -c \"exec $program mirror $* $folder\" $user\n\tfi\n}\n\n",
		s->program, s->a->dir, s->user, (long long)s->port);
	buf_put_c(
		b,
		"# Port $port is redirected to the server's own, so that it needs no root. Never let clients use both.\n"
		"redirect()\n{\n\town=$(mirror status --json | sed -n 's/.*\"port\": *\\([0-9]*\\).*/\\1/p')\n"
		"\tif [ -z \"$own\" ] || [ \"$own\" = \"$port\" ] || ! command -v iptables >/dev/null; then return; fi\n"
		"\tfor chain in PREROUTING 'OUTPUT -o lo'; do\n\t\t# shellcheck disable=SC2086\n"
		"\t\tiptables -t nat -C $chain -p tcp --dport \"$port\" -j REDIRECT --to-ports \"$own\" 2>/dev/null ||\n"
		"\t\t\tiptables -t nat -A $chain -p tcp --dport \"$port\" -j REDIRECT --to-ports \"$own\"\n\tdone\n}\n\n");
	buf_put_c(
		b,
		"case \"${1-}\" in\nstart | stop | restart | reload | status | force-reload | try-restart) ;;\n"
		"*) echo \"usage: $0 start|stop|restart|reload|force-reload|try-restart|status\" >&2; exit 2 ;;\nesac\n"
		"[ -x \"$program\" ] || { echo \"no $program\" >&2; exit 5; }\n"
		"[ -f \"$folder/mirror.yaml\" ] || { echo \"no $folder/mirror.yaml\" >&2; exit 6; }\n"
		"case $1 in\nstatus) mirror status || exit 3 ;;\n"
		"try-restart) mirror status >/dev/null 2>&1 || exit 0; mirror restart || exit 1 ;;\n"
		"force-reload | restart) mirror restart || exit 1; redirect ;;\n"
		"start) mirror start || exit 1; redirect ;;\n"
		"*) mirror \"$1\" || exit 1 ;;\nesac\nexit 0\n");
}

static int put_file(const struct boot *s, const char *folder, const char *ending, mode_t mode, struct buf *text_of,
		    struct err *e)
{
	const char *name = arena_printf(&s->c->arena, "slipway-mirror-%.*s%s", STR_ARG(s->name), ending);
	if (s->c->dry_run) {
		auto_buf b = BUF_INIT(ANSWER_MAX);
		buf_printf(&b, "# %s/%s\n%s\n", folder, name, text_of->p);
		return cmd_print(s->c, &b) == CMD_OK ? 0 : -1;
	}
	if (fs_mkdirs(AT_FDCWD, folder, 0755, e) < 0)
		return -1;
	auto_fd dir = fs_open_dir(AT_FDCWD, folder, e);
	if (dir < 0 || fs_replace(dir, name, text_of->p, text_of->n, FS_REPLACE_SYNC, e) < 0)
		return -1;
	if (mode != 0644 && sys_fchmodat(dir, name, mode) < 0)
		return err_sys(e, "make '%s/%s' a program", folder, name);
	cmd_changed(s->c);
	cmd_say(s->c, "wrote %s/%s", folder, name);
	return 0;
}

static int install_systemd(const struct boot *s, struct err *e)
{
	const char *folder = s->a->to ? s->a->to : "/etc/systemd/system";
	auto_buf unit = BUF_INIT(ANSWER_MAX), sock = BUF_INIT(ANSWER_MAX);
	put_unit(s, &unit);
	put_socket(s, &sock);
	if (put_file(s, folder, ".service", 0644, &unit, e) < 0 || put_file(s, folder, ".socket", 0644, &sock, e) < 0)
		return -1;
	cmd_say(s->c,
		"now, as root: systemctl daemon-reload && systemctl enable --now slipway-mirror-%.*s.socket slipway-mirror-%.*s.service",
		STR_ARG(s->name), STR_ARG(s->name));
	return CMD_OK;
}

static int install_sysv(const struct boot *s, struct err *e)
{
	auto_buf script = BUF_INIT(ANSWER_MAX);
	put_init_script(s, &script);
	if (put_file(s, s->a->to ? s->a->to : "/etc/init.d", "", 0755, &script, e) < 0)
		return -1;
	cmd_say(s->c,
		"now, as root: update-rc.d slipway-mirror-%.*s defaults (Debian), chkconfig --add slipway-mirror-%.*s (Red Hat)",
		STR_ARG(s->name), STR_ARG(s->name));
	return CMD_OK;
}

/* Without root: a line for the user's own crontab. */
static int show_cron(const struct boot *s)
{
	auto_buf b = BUF_INIT(ANSWER_MAX);
	buf_printf(&b, "@reboot %s mirror start %s\n", s->program, s->a->dir);
	cmd_say(s->c, "add this line with 'crontab -e', as the mirror's user:");
	return cmd_print(s->c, &b);
}

static const char *owner_of(struct cmd_context *c, const char *dir)
{
	struct stat st;
	const struct passwd *p = stat(dir, &st) == 0 ? getpwuid(st.st_uid) : NULL;
	return p ? arena_strdup(&c->arena, str_c(p->pw_name)) : "nobody";
}

static int install_service(struct cmd_context *c, struct mirror_args *a, struct err *e)
{
	static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@:,";
	auto_ptr(mirror) m = NULL;
	if (mirror_open(a->dir, &m, e) < 0)
		return -1;
	auto_free char *program = realpath("/proc/self/exe", NULL);
	struct boot s = {
		.c = c,
		.a = a,
		.name = mirror_config(m)->name,
		.program = program ? program : "slipway",
		.user = a->user ? a->user : owner_of(c, a->dir),
		.port = a->port ? a->port : 443,
	};
	if (a->systemd + a->sysv + a->cron > 1)
		return err_new(e, ERR_USAGE, "one of --systemd, --sysv and --cron");
	if (s.port < 1 || s.port > 65535)
		return err_new(e, ERR_USAGE, "--port is 1 to 65535");
	if (a->dir[strspn(a->dir, harmless)] || s.user[strspn(s.user, harmless)])
		return err_new(
			e, ERR_INPUT,
			"'%s': only letters, digits and /._-+@:, may stand in what runs at boot; move the mirror",
			a->dir[strspn(a->dir, harmless)] ? a->dir : s.user);
	if (!a->cron && strcmp(s.user, "root") == 0)
		cmd_warn(
			c,
			"note: '%s' is root's; a mirror needs no root: give the folder to a user of its own, or say --user",
			a->dir);
	bool systemd = a->systemd || (!a->sysv && !a->cron && access("/run/systemd/system", F_OK) == 0);
	int code = a->cron ? show_cron(&s) : systemd ? install_systemd(&s, e) : install_sysv(&s, e);
	return code == CMD_OK && c->json ? answer_state(c, "install-service", a->dir, NULL) : code;
}

int cmd_mirror_install_service(struct cmd_context *c, int argc, char **argv)
{
	return run(c, argc, argv, install_service);
}
