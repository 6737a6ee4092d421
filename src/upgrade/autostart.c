// SPDX-License-Identifier: Apache-2.0
/* Whether something starts the agent when the host boots. What cannot be read has nothing of ours. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "upgrade/run.h"

enum { FOLDER_MAX = 10000, FILE_MAX_BYTES = 1 << 20, COMM_MAX = 64 };

struct look {
	int host_fd;
	struct arena *a;
};

static bool is_there(const struct look *l, const char *path)
{
	struct stat st;
	return fstatat(l->host_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool any_in(const struct look *l, const char *folder,
		   bool (*is_ours)(const struct look *l, const char *folder, struct str name))
{
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	if (fs_list(l->host_fd, folder, FOLDER_MAX, &list, &ignored) < 0)
		return false;
	for (size_t i = 0; i < list.n; i++)
		if (is_ours(l, folder, str_c(list.name[i])))
			return true;
	return false;
}

/* -- systemd -------------------------------------------------------------------------------------------------------- */

static bool wants_it(const struct look *l, const char *folder, struct str name)
{
	return (str_ends(name, STR(".wants")) || str_ends(name, STR(".requires"))) &&
	       (is_there(l, arena_printf(l->a, "%s/%.*s/slipway.service", folder, STR_ARG(name))) ||
		is_there(l, arena_printf(l->a, "%s/%.*s/slipway-agent.service", folder, STR_ARG(name))));
}

static bool unit_in(const struct look *l, const char *folder)
{
	return any_in(l, folder, wants_it);
}

static bool by_systemd(const struct look *l)
{
	return unit_in(l, "etc/systemd/system") || unit_in(l, "usr/lib/systemd/system") ||
	       unit_in(l, "lib/systemd/system");
}

/* -- init, OpenRC --------------------------------------------------------------------------------------------------- */

/* "S20slipway" */
static bool starts_it(const struct look *l, const char *folder, struct str name)
{
	(void)l, (void)folder;
	struct str s = name.n >= 3 && name.p[0] == 'S' ? str_skip(name, 3) : STR_NONE;
	return str_eq(s, STR("slipway")) || str_eq(s, STR("slipway-agent"));
}

static bool link_in(const struct look *l, const char *folder)
{
	return any_in(l, folder, starts_it);
}

static bool by_init(const struct look *l)
{
	return link_in(l, "etc/rc2.d") || link_in(l, "etc/rc3.d") || link_in(l, "etc/rc4.d") ||
	       link_in(l, "etc/rc5.d") || is_there(l, "etc/runlevels/default/slipway") ||
	       is_there(l, "etc/runlevels/default/slipway-agent");
}

/* -- rc.local, cron ------------------------------------------------------------------------------------------------- */

static bool names_agent(struct str line)
{
	ptrdiff_t at = str_search(line, STR("slipway"));
	return at >= 0 && str_search(str_skip(line, (size_t)at), STR("agent")) >= 0;
}

static bool line_in(const struct look *l, const char *path, struct str begins)
{
	auto_buf b = BUF_INIT(FILE_MAX_BYTES);
	struct err ignored = ERR_INIT;
	if (fs_read(l->host_fd, path, &b, &ignored) < 0)
		return false;
	struct str text = buf_str(&b), line;
	while (str_take_line(&text, &line)) {
		line = str_trim(line);
		if (line.n && line.p[0] != '#' && str_starts(line, begins) && names_agent(line))
			return true;
	}
	return false;
}

static bool reboot_in(const struct look *l, const char *folder)
{
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	if (fs_list(l->host_fd, folder, FOLDER_MAX, &list, &ignored) < 0)
		return false;
	for (size_t i = 0; i < list.n; i++)
		if (line_in(l, arena_printf(l->a, "%s/%s", folder, list.name[i]), STR("@reboot")))
			return true;
	return false;
}

static bool by_a_line(const struct look *l)
{
	return line_in(l, "etc/rc.local", STR("")) || line_in(l, "etc/rc.d/rc.local", STR("")) ||
	       line_in(l, "etc/crontab", STR("@reboot")) || reboot_in(l, "etc/cron.d") ||
	       reboot_in(l, "var/spool/cron/crontabs") || reboot_in(l, "var/spool/cron");
}

/* -- what is said --------------------------------------------------------------------------------------------------- */

static bool is_init(struct str comm)
{
	static const char *const known[] = {"init", "openrc-init", "runit", "runsvdir", "s6-svscan", "dinit"};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_eq_c(comm, known[i]))
			return true;
	return false;
}

#define SAY_SO "say 'autostart: ignore' in config.yml (an agent reads it when it starts)"

static void describe(const struct look *l, struct str *ret_finding, struct str *ret_cure)
{
	auto_buf b = BUF_INIT(COMM_MAX);
	struct err ignored = ERR_INIT;
	if (is_there(l, "run/systemd/system")) {
		*ret_finding = STR("systemd has no enabled unit slipway.service");
		*ret_cure = STR(
			"'slipway agent --print-unit' makes one, 'systemctl enable --now slipway' enables it; where "
			"something else starts the agent, " SAY_SO);
		return;
	}
	struct str comm = fs_read(l->host_fd, "proc/1/comm", &b, &ignored) < 0 ? STR("not known")
									       : str_trim(buf_str(&b));
	*ret_cure = STR("let what starts this host or container start 'slipway agent', and " SAY_SO);
	if (is_init(comm)) {
		*ret_finding = STR("nothing starts the agent when the host boots");
		*ret_cure = STR(
			"enable a script /etc/init.d/slipway that runs 'slipway agent', or have something else start "
			"it, and " SAY_SO);
	} else {
		*ret_finding = str_c(arena_printf(
			l->a, "no init runs here (process 1 is '%.*s'), and nothing starts the agent at boot",
			STR_ARG(comm)));
	}
}

/* Of what the environment runs: the first that does not start. */
static int services_start(const struct upgrade_opts *o, struct arena *a, struct str *ret_finding, struct str *ret_cure,
			  struct err *e)
{
	struct env_info info;
	struct component *c;
	const struct service_decl **v;
	size_t c_n, n;
	int rc = 1;
	if (!o->env.n)
		return 1;
	if (env_find(o->state, a, o->env, &info, e) < 0)
		return -1;
	if (!info.started || !info.current) /* its first version may not be active yet */
		return 1;
	const char *prefix = arena_printf(a, "%s/env/%.*s/%u", o->root_path, STR_ARG(o->env), info.current);
	if (component_read_all(a, prefix, &c, &c_n, e) < 0 || component_services(a, c, c_n, &v, &n, e) < 0)
		return -1;
	for (size_t i = 0; rc == 1 && i < n; i++)
		rc = o->services->starts_at_boot(o->services->ctx, a, o->env, v[i]->name, ret_finding, ret_cure, e);
	return rc;
}

int upgrade_autostart(const struct upgrade_opts *o, struct arena *a, struct str *ret_finding, struct str *ret_cure,
		      struct err *e)
{
	if (o->autostart_elsewhere)
		return 1;
	if (o->services && o->services->starts_at_boot)
		return services_start(o, a, ret_finding, ret_cure, e);
	auto_fd host = fs_open_dir(AT_FDCWD, o->host_root ? o->host_root : "/", e);
	if (host < 0)
		return -1;
	const struct look l = {host, a};
	if (by_systemd(&l) || by_init(&l) || by_a_line(&l))
		return 1;
	describe(&l, ret_finding, ret_cure);
	return 0;
}
