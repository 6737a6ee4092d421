// SPDX-License-Identifier: Apache-2.0
/* What starts the agent at boot, on hosts that are folders. */
#include "lib/test.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fs.h"
#include "upgrade/upgrade.h"

struct look {
	int answer;
	struct str finding, cure;
};
static struct arena arena;

static void put(const char *path, const char *text)
{
	struct err e = ERR_INIT;
	auto_free char *full = xasprintf("%s/host/%s", test_tmp(), path);
	auto_free char *dir = xstrdup(full);
	*strrchr(dir, '/') = '\0';
	CHECK_MSG(fs_mkdirs(AT_FDCWD, dir, 0755, &e) == 0 && fs_replace(AT_FDCWD, full, text, strlen(text), 0, &e) == 0,
		  "%s", e.msg);
}

/* A link that leads nowhere on this host, as `systemctl enable` makes one. */
static void put_link(const char *path)
{
	put(path, "");
	auto_free char *full = xasprintf("%s/host/%s", test_tmp(), path);
	CHECK(unlink(full) == 0 && symlink("/nowhere", full) == 0);
}

static struct look look(void)
{
	struct look l = {0};
	struct err e = ERR_INIT;
	const struct upgrade_opts o = {.host_root = arena_printf(&arena, "%s/host", test_tmp())};
	l.answer = upgrade_autostart(&o, &arena, &l.finding, &l.cure, &e);
	CHECK_MSG(l.answer >= 0, "%s", e.msg);
	return l;
}

TEST(systemd)
{
	put("run/systemd/system/x", "");
	put("etc/systemd/system/slipway.service", "[Unit]\n");			      /* there, and not enabled */
	put_link("etc/systemd/system/multi-user.target.wants/slipway-e-web.service"); /* a service of an environment */
	struct look l = look();
	CHECK_INT(l.answer, 0);
	CHECK_STR(l.finding.p, "systemd has no enabled unit slipway.service");
	CHECK(strstr(l.cure.p, "systemctl enable --now slipway"));
	put_link("etc/systemd/system/multi-user.target.wants/slipway.service");
	CHECK_INT(look().answer, 1);
}

TEST(init)
{
	put("proc/1/comm", "init\n");
	put_link("etc/rc3.d/K01slipway"); /* ended there */
	put("etc/init.d/slipway", "#!/bin/sh\n");
	struct look l = look();
	CHECK_INT(l.answer, 0);
	CHECK_STR(l.finding.p, "nothing starts the agent when the host boots");
	put_link("etc/rc2.d/S20slipway");
	CHECK_INT(look().answer, 1);
}

TEST(open_rc)
{
	put_link("etc/runlevels/default/slipway-agent");
	CHECK_INT(look().answer, 1);
}

TEST(lines)
{
	put("etc/rc.local", "#!/bin/sh\n# slipway agent\n/usr/bin/agent slipway\n");
	put("etc/crontab", "5 4 * * * root slipway agent\n");
	CHECK_INT(look().answer, 0);
	put("var/spool/cron/crontabs/ann", "# mine\n@reboot /usr/local/bin/slipway --root /srv/x agent\n");
	CHECK_INT(look().answer, 1);
}

TEST(rc_local)
{
	put("etc/rc.local", "#!/bin/sh\n/usr/local/bin/slipway agent --root /srv/slipway &\n");
	CHECK_INT(look().answer, 1);
}

TEST(a_container)
{
	put("proc/1/comm", "sleep\n");
	struct look l = look();
	CHECK_INT(l.answer, 0);
	CHECK_STR(l.finding.p, "no init runs here (process 1 is 'sleep'), and nothing starts the agent at boot");
	CHECK(strstr(l.cure.p, "'autostart: ignore' in config.yml"));
	struct err e = ERR_INIT;
	const struct upgrade_opts o = {.host_root = arena_printf(&arena, "%s/host", test_tmp()),
				       .autostart_elsewhere = true};
	CHECK_INT(upgrade_autostart(&o, &arena, &l.finding, &l.cure, &e), 1);
}
