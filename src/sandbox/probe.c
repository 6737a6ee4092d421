// SPDX-License-Identifier: Apache-2.0
/* What can be had here: by trying. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "sandbox/box.h"

static int touch(void *ctx, struct err *e)
{
	(void)ctx;
	auto_fd fd = sys_openat(AT_FDCWD, "/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(e, "make a file") : 0;
}

static void say(struct sandbox_can *can, const char *what, const char *why)
{
	size_t n = strlen(can->why);
	snprintf(can->why + n, sizeof(can->why) - n, "%s%s%s%s", n > 0 ? "\n" : "", what, *why ? ": " : "", why);
}

static void try_roots(struct sandbox_can *can, const char *dir)
{
	struct err e = ERR_INIT;
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	char lower[300], upper[300], work[300];
	snprintf(lower, sizeof(lower), "%s/lower", dir);
	snprintf(upper, sizeof(upper), "%s/upper", dir);
	snprintf(work, sizeof(work), "%s/work", dir);
	const char *const layers[] = {lower};
	if (fs_mkdirs(AT_FDCWD, lower, 0755, &e) < 0 || fs_mkdirs(AT_FDCWD, upper, 0755, &e) < 0 ||
	    fs_mkdirs(AT_FDCWD, work, 0755, &e) < 0) {
		say(can, "no place to try", e.msg);
		return;
	}
	o.root = (struct sandbox_root){.dir = lower};
	can->run = can->seccomp = sandbox_call(&o, NULL, 0, touch, NULL, &e) == 0; /* nothing runs without the filter */
	if (!can->run) {
		say(can, "no sandbox", e.msg);
		return;
	}
	o.root = (struct sandbox_root){.lower = layers, .n_lower = 1, .upper = upper, .work = work};
	can->overlay = sandbox_call(&o, NULL, 0, touch, NULL, &e) == 0;
	if (!can->overlay)
		say(can, "no overlay here", e.msg);
}

static void try_ids(struct sandbox_can *can)
{
	struct err e = ERR_INIT;
	char why[256];
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	struct box b = {.o = &o, .userns_fd = -1};
	if (box_ids_get(&b, &e) < 0) {
		say(can, "whose ids there are in it is not known", e.msg);
		return;
	}
	cleanup_fd(&b.userns_fd);
	can->user_namespace = b.ids != BOX_IDS_PLAIN;
	can->idmapped = b.ids == BOX_IDS_MAPPED;
	can->id_range = b.ids != BOX_IDS_ONE;
	can->overlay_needs_userxattr = b.inner || b.ids == BOX_IDS_RANGE || b.ids == BOX_IDS_ONE;
	box_ids_why(why, sizeof(why));
	if (b.ids == BOX_IDS_ONE)
		say(can, "one user id alone (chown does nothing)", why);
	if (b.ids == BOX_IDS_PLAIN)
		say(can, "root of the sandbox is root outside, with fewer capabilities: ids cannot be mapped", "");
}

void sandbox_probe(struct sandbox_can *ret)
{
	*ret = (struct sandbox_can){0};
	const char *tmp = getenv("TMPDIR");
	char dir[256];
	snprintf(dir, sizeof(dir), "%.200s/slipway-probe.XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(dir)) { /* style: allow sys: a folder of its own to try things in */
		auto_free char *why = xasprintf("'%s': %s; TMPDIR names another place", dir, strerror(errno));
		say(ret, "no temporary folder", why);
		return;
	}
	try_roots(ret, dir);
	struct err e = ERR_INIT;
	fs_remove_tree(AT_FDCWD, dir, &e);
	if (ret->run)
		try_ids(ret);
	struct box_cgroup c;
	struct sandbox_result res;
	struct sandbox_limits l = {.memory_bytes = 64 << 20, .processes = 64};
	box_cgroup_make(&l, &c);
	ret->cgroup_memory = c.memory;
	ret->cgroup_pids = c.pids;
	box_cgroup_remove(&c, &res);
	if (!c.memory || !c.pids)
		say(ret, "no control group for a limit of memory and processes, which bound single processes then",
		    "a systemd service or scope with Delegate=yes gives one");
}
