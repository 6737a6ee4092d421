// SPDX-License-Identifier: Apache-2.0
/*
 * Texts of systemd units: systemd.service(5), systemd.socket(5); quoting: systemd.syntax(7), systemd.unit(5) "Specifiers".
 */
#include <stdarg.h>

#include "service/internal.h"

void service_put_quoted(struct buf *b, struct str s, bool is_command)
{
	buf_put_char(b, '"');
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c == '\n')
			buf_put_c(b, "\\n");
		else if (c == '\t')
			buf_put_c(b, "\\t");
		else if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else if (c == '%' || (c == '$' && is_command))
			buf_printf(b, "%c%c", c, c);
		else
			buf_put_char(b, c);
	}
	buf_put_char(b, '"');
}

/* A path or name that stands for itself, to the end of the line. */
static void put_plain(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '%')
			buf_put_c(b, "%%");
		else
			buf_put_char(b, s.p[i]);
}

static void put_seconds(struct buf *b, const char *key, int64_t ms)
{
	buf_printf(b, "%s=%lldms\n", key, (long long)ms);
}

static void put_path(struct buf *b, const char *prefix, struct str path)
{
	if (path.n == 0 || path.p[0] != '/') {
		put_plain(b, str_c(prefix));
		buf_put_char(b, '/');
	}
	put_plain(b, path);
}

static void put_command(struct buf *b, const struct service_ref *r)
{
	const struct service_decl *d = r->decl;
	auto_buf program = BUF_INIT(1 << 16);
	if (d->argv[0].p[0] != '/')
		buf_printf(&program, "%s/", r->prefix);
	buf_put_str(&program, d->argv[0]);
	buf_put_c(b, "ExecStart=");
	service_put_quoted(b, buf_str(&program), true);
	for (uint32_t i = 1; i < d->argv_n; i++) {
		buf_put_char(b, ' ');
		service_put_quoted(b, d->argv[i], true);
	}
	buf_put_char(b, '\n');
}

__attribute__((format(printf, 2, 3))) static void put_environment(struct buf *b, const char *fmt, ...)
{
	auto_buf text = BUF_INIT(1 << 16);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	buf_put_c(b, "Environment=");
	service_put_quoted(b, buf_str(&text), false);
	buf_put_char(b, '\n');
}

static void put_user(struct buf *b, struct str user)
{
	struct str group = user, name = user;
	bool has_group = str_take_until(&group, ':', &name);
	if (name.n == 0)
		return;
	buf_put_c(b, "User=");
	put_plain(b, name);
	if (has_group) {
		buf_put_c(b, "\nGroup=");
		put_plain(b, group);
	}
	buf_put_char(b, '\n');
}

void service_unit_name(const struct service_ref *r, struct buf *b)
{
	buf_printf(b, "slipway-%.*s-%.*s", STR_ARG(r->env), STR_ARG(r->decl->name));
}

static void put_head(struct buf *b, const struct service_ref *r, const char *what)
{
	buf_printf(b, "# Written by slipway; changes here are lost. Generation %u of environment '%.*s'.\n[Unit]\n",
		   r->generation, STR_ARG(r->env));
	buf_printf(b, "Description=%s%.*s of environment %.*s\n", what, STR_ARG(r->decl->name), STR_ARG(r->env));
}

/* Sections of this kind are for others than systemd: whose unit it is. */
static void put_mark(struct buf *b, const struct service_ref *r, const char *root_path)
{
	buf_printf(b, "\n[X-Slipway]\nRoot=%s\nEnvironment=%.*s\nService=%.*s\nGeneration=%u\n", root_path,
		   STR_ARG(r->env), STR_ARG(r->decl->name), r->generation);
}

static void put_order(struct buf *b, const struct service_ref *r)
{
	const struct service_decl *d = r->decl;
	buf_put_c(b, "After=network.target");
	for (uint32_t i = 0; i < d->after_n; i++)
		buf_printf(b, " slipway-%.*s-%.*s.service", STR_ARG(r->env), STR_ARG(d->after[i]));
	buf_put_char(b, '\n');
	if (d->sockets_n == 0)
		return;
	for (int k = 0; k < 2; k++) {
		buf_put_c(b, k ? "After=" : "Requires=");
		for (uint32_t i = 0; i < d->sockets_n; i++) {
			buf_put_c(b, i ? " " : "");
			service_unit_name(r, b);
			buf_printf(b, "-%.*s.socket", STR_ARG(d->sockets[i].name));
		}
		buf_put_char(b, '\n');
	}
}

void service_put_unit(const struct service_ref *r, const char *root_path, bool of_user, struct buf *b)
{
	static const char *const restarts[] = {"on-failure", "always", "no"};
	const struct service_decl *d = r->decl;
	put_head(b, r, "");
	put_order(b, r);
	/* its restart rule goes on for good */
	buf_printf(b, "StartLimitIntervalSec=0\n\n[Service]\nType=%s\n",
		   d->ready == SERVICE_READY_NOTIFY ? "notify" : "exec");
	put_command(b, r);
	put_environment(b, "PATH=%s/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", r->prefix);
	put_environment(b, "SLIPWAY_ENV=%.*s", STR_ARG(r->env));
	put_environment(b, "SLIPWAY_SERVICE=%.*s", STR_ARG(d->name));
	put_environment(b, "SLIPWAY_GENERATION=%u", r->generation);
	put_environment(b, "SLIPWAY_RUNTIME_DIR=%s/run/%.*s/%.*s", root_path, STR_ARG(r->env), STR_ARG(d->name));
	for (uint32_t i = 0; i < d->environment_n; i++) {
		buf_put_c(b, "Environment=");
		service_put_quoted(b, d->environment[i], false);
		buf_put_char(b, '\n');
	}
	if (!of_user)
		put_user(b, d->user);
	buf_put_c(b, "WorkingDirectory=");
	put_path(b, r->prefix, d->working_directory.n ? d->working_directory : STR("/"));
	for (uint32_t i = 0; i < d->sockets_n; i++) {
		buf_put_c(b, i ? " " : "\nSockets=");
		service_unit_name(r, b);
		buf_printf(b, "-%.*s.socket", STR_ARG(d->sockets[i].name));
	}
	buf_printf(b, "\nRestart=%s\n", restarts[d->restart]);
	put_seconds(b, "RestartSec", d->restart_delay_ms);
	put_seconds(b, "TimeoutStartSec", d->start_timeout_ms);
	put_seconds(b, "TimeoutStopSec", d->stop_timeout_ms);
	buf_printf(b, "KillMode=mixed\nKillSignal=SIG%s\n\n[Install]\nWantedBy=%s.target\n",
		   signal_word(d->stop_signal), of_user ? "default" : "multi-user");
	put_mark(b, r, root_path);
}

void service_put_socket_unit(const struct service_ref *r, uint32_t socket, const char *root_path, struct buf *b)
{
	const struct service_decl *d = r->decl;
	const struct service_socket *s = &d->sockets[socket];
	auto_buf what = BUF_INIT(200);
	auto_buf dir = BUF_INIT(1 << 16);
	buf_printf(&what, "Socket %.*s for ", STR_ARG(s->name));
	buf_printf(&dir, "%s/run/%.*s/%.*s", root_path, STR_ARG(r->env), STR_ARG(d->name));
	put_head(b, r, what.p);
	buf_put_c(b, "\n[Socket]\n");
	bool is_unix = s->is_private || str_find(s->address, '/') >= 0 || str_find(s->address, ':') < 0;
	buf_put_c(b, "ListenStream=");
	if (s->is_private) {
		put_path(b, dir.p, s->name);
		buf_put_c(b, ".sock\nSocketMode=0600\n");
	} else if (is_unix) {
		put_path(b, dir.p, s->address);
		buf_put_char(b, '\n');
	} else if (str_starts(s->address, STR("*:"))) {
		buf_printf(b, "%.*s\nBindIPv6Only=both\n", STR_ARG(str_skip(s->address, 2)));
	} else if (str_starts(s->address, STR("localhost:"))) {
		buf_printf(b, "127.0.0.1%.*s\n", STR_ARG(str_skip(s->address, strlen("localhost"))));
	} else {
		buf_printf(b, "%.*s\nBindIPv6Only=ipv6-only\n", STR_ARG(s->address));
	}
	buf_printf(b, "FileDescriptorName=%.*s\nService=", STR_ARG(s->name));
	service_unit_name(r, b);
	buf_put_c(b, ".service\nBacklog=4096\n\n[Install]\nWantedBy=sockets.target\n");
	put_mark(b, r, root_path);
}
