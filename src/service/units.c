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

static void put_base(const struct service_ref *r, struct str service, struct buf *b)
{
	buf_printf(b, "slipway-%.*s-%.*s", STR_ARG(r->env), STR_ARG(service));
}

void service_unit_name(const struct service_ref *r, struct buf *b)
{
	put_base(r, r->decl->name, b);
	buf_printf(b, "@%u.service", r->generation);
}

void service_target_name(const struct service_ref *r, struct buf *b)
{
	put_base(r, r->decl->name, b);
	buf_put_c(b, ".target");
}

void service_socket_unit_name(const struct service_ref *r, uint32_t socket, struct buf *b)
{
	const struct service_socket *s = &r->decl->sockets[socket];
	put_base(r, r->decl->name, b);
	buf_printf(b, "-%.*s", STR_ARG(s->name));
	if (s->is_private)
		buf_printf(b, "@%u", r->generation);
	buf_put_c(b, ".socket");
}

char *service_private_path(const char *runtime_dir, struct str socket, uint32_t generation)
{
	return xasprintf("%s/%.*s.%u.sock", runtime_dir, STR_ARG(socket), generation);
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

static void put_sockets(struct buf *b, const struct service_ref *r, const char *key)
{
	buf_put_c(b, key);
	for (uint32_t i = 0; i < r->decl->sockets_n; i++) {
		buf_put_char(b, i ? ' ' : '=');
		service_socket_unit_name(r, i, b);
	}
	buf_put_char(b, '\n');
}

static void put_order(struct buf *b, const struct service_ref *r, struct str after)
{
	const struct service_decl *d = r->decl;
	buf_put_c(b, "After=network.target");
	for (uint32_t i = 0; i < d->after_n; i++) {
		buf_put_char(b, ' ');
		put_base(r, d->after[i], b);
		buf_put_c(b, ".target");
	}
	buf_put_str(b, after);
	for (int k = 0; k < 2; k++) {
		buf_put_c(b, k ? "\nBefore=" : "\nWants=");
		service_target_name(r, b);
	}
	buf_put_char(b, '\n');
	if (d->sockets_n == 0)
		return;
	put_sockets(b, r, "Requires");
	put_sockets(b, r, "After");
}

void service_put_unit(const struct service_ref *r, const char *root_path, bool of_user, struct str after, struct buf *b)
{
	static const char *const restarts[] = {"on-failure", "always", "no"};
	const struct service_decl *d = r->decl;
	put_head(b, r, "");
	put_order(b, r, after);
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
	buf_put_char(b, '\n');
	if (d->sockets_n)
		put_sockets(b, r, "Sockets");
	/* or each start would make them blocking again, for the version that has them already, too */
	if (d->takeover == SERVICE_HAND_OVER_SOCKETS)
		buf_put_c(b, "NonBlocking=yes\n");
	buf_printf(b, "Restart=%s\n", restarts[d->restart]);
	put_seconds(b, "RestartSec", d->restart_delay_ms);
	put_seconds(b, "TimeoutStartSec", d->start_timeout_ms);
	put_seconds(b, "TimeoutStopSec", d->stop_timeout_ms);
	buf_printf(b, "KillMode=mixed\nKillSignal=SIG%s\n\n[Install]\nWantedBy=%s.target\n",
		   signal_word(d->stop_signal), of_user ? "default" : "multi-user");
	put_mark(b, r, root_path);
}

void service_put_target(const struct service_ref *r, const char *root_path, struct buf *b)
{
	put_head(b, r, "Reached when it runs: ");
	put_mark(b, r, root_path);
}

static void put_address(struct buf *b, const struct service_ref *r, const struct service_socket *s,
			const char *root_path)
{
	auto_buf dir = BUF_INIT(1 << 16);
	buf_printf(&dir, "%s/run/%.*s/%.*s", root_path, STR_ARG(r->env), STR_ARG(r->decl->name));
	bool is_unix = str_find(s->address, '/') >= 0 || str_find(s->address, ':') < 0;
	buf_put_c(b, "ListenStream=");
	if (s->is_private) {
		auto_free char *path = service_private_path(dir.p, s->name, r->generation);
		put_plain(b, str_c(path));
		buf_put_c(b, "\nSocketMode=0600\nRemoveOnStop=yes\n");
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
}

void service_put_socket_unit(const struct service_ref *r, uint32_t socket, const char *root_path, struct buf *b)
{
	const struct service_socket *s = &r->decl->sockets[socket];
	auto_buf what = BUF_INIT(200);
	buf_printf(&what, "Socket %.*s for ", STR_ARG(s->name));
	put_head(b, r, what.p);
	buf_put_c(b, "\n[Socket]\n");
	put_address(b, r, s, root_path);
	buf_printf(b, "FileDescriptorName=%.*s\nService=", STR_ARG(s->name));
	service_unit_name(r, b);
	buf_put_c(b, "\nBacklog=4096\n");
	if (!s->is_private) /* the service brings it along */
		buf_put_c(b, "\n[Install]\nWantedBy=sockets.target\n");
	put_mark(b, r, root_path);
}
