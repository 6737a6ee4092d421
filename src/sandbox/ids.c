// SPDX-License-Identifier: Apache-2.0
/*
 * Whose ids a sandbox has. The user namespace is made once a process: a child enters a new one and waits while its maps are
 * written, then a descriptor keeps it. Each sandbox's pid 1 joins it; an unprivileged one before its other namespaces are made (which
 * are owned by it then), root's after all mounts are made (its namespaces stay the machine's root's, and nobody inside has any
 * capability over them).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "sandbox/box.h"
#include "sandbox/kernel.h"

/* Above what systemd gives to containers, below 2^31, where old programs take ids for negative. */
enum { MAPPED_BASE = 0x70000000, MAPPED_COUNT = 0x0fff0000 };

static struct {
	pthread_mutex_t lock;
	enum box_ids forced, chosen;
	bool no_idmap, inner;
	int userns_fd;	/* of chosen */
	uid_t uid, own; /* ONE: which it maps; the user whose it is */
	gid_t gid;
	char why[256]; /* the range could not be had */
} ids = {.lock = PTHREAD_MUTEX_INITIALIZER, .userns_fd = -1};

void box_ids_force(enum box_ids want)
{
	cleanup_fd(&ids.userns_fd);
	ids.forced = want;
	ids.chosen = BOX_IDS_UNKNOWN;
	ids.no_idmap = false;
}

void box_ids_no_idmap(void)
{
	pthread_mutex_lock(&ids.lock);
	if (ids.chosen == BOX_IDS_MAPPED) {
		cleanup_fd(&ids.userns_fd);
		ids.chosen = BOX_IDS_UNKNOWN;
	}
	ids.no_idmap = true;
	pthread_mutex_unlock(&ids.lock);
}

static bool is_privileged(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	return geteuid() == 0 && syscall(SYS_capget, &h, d) == 0 && (d[0].effective & (1u << CAP_SYS_ADMIN)) &&
	       (d[0].effective & (1u << CAP_SETUID));
}

/* Of a user namespace that is not the machine's. */
static bool is_inner(void)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(4096);
	uint64_t inside, outside, count;
	if (fs_read(AT_FDCWD, "/proc/self/uid_map", &b, &e) < 0)
		return true;
	struct str s = buf_str(&b);
	for (int i = 0; i < 3; i++) {
		while (str_take_char(&s, ' '))
			;
		if (!str_take_u64(&s, i == 0 ? &inside : i == 1 ? &outside : &count))
			return true;
	}
	return inside != 0 || outside != 0 || count != 4294967295u;
}

bool box_ids_range(struct str text, const char *name, uint32_t id, uint32_t *ret_start, uint32_t *ret_count)
{
	struct str line, who, at;
	while (text.n > 0) {
		if (!str_take_until(&text, '\n', &line)) {
			line = text;
			text.n = 0;
		}
		uint64_t number, start, count;
		if (!str_take_until(&line, ':', &who) || !str_take_until(&line, ':', &at))
			continue;
		struct str digits = who;
		bool mine = (name && str_eq_c(who, name)) ||
			    (str_take_u64(&digits, &number) && digits.n == 0 && number == id);
		if (!mine || !str_take_u64(&at, &start) || at.n > 0 || !str_take_u64(&line, &count) || count == 0 ||
		    start > UINT32_MAX || count > UINT32_MAX - start)
			continue;
		*ret_start = (uint32_t)start;
		*ret_count = (uint32_t)count;
		return true;
	}
	return false;
}

/* Where a range of 65536 may begin that is behind all that were given: two users who share ids could reach each other's files. */
uint32_t box_ids_free(struct str text, uint32_t least)
{
	struct str line, who, at;
	uint64_t start, count, free = least;
	while (text.n > 0) {
		if (!str_take_until(&text, '\n', &line)) {
			line = text;
			text.n = 0;
		}
		if (str_take_until(&line, ':', &who) && str_take_until(&line, ':', &at) && str_take_u64(&at, &start) &&
		    str_take_u64(&line, &count) && start < UINT32_MAX - 65536 && count < UINT32_MAX - 65536 - start &&
		    start + count > free)
			free = start + count;
	}
	return (uint32_t)free;
}

/* The child: it only has to be there. It ends with its parent, or when the parent closes its end of the pipe. */
_Noreturn static void hold(int ready_fd)
{
	char c;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(ready_fd, &c, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static int write_map(pid_t child, const char *which, const char *text, struct err *e)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)child, which);
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);	 /* style: allow sys: the kernel's table of ids, no disk */
	if (fd < 0 || write(fd, text, strlen(text)) < 0) /* style: allow sys: as above */
		return err_sys(e, "map user ids: write '%s'", path);
	return 0;
}

static int run_idmap(const char *program, pid_t child, uint32_t own, uint32_t start, uint32_t count, struct err *e)
{
	char pid[16], self[16], first[16], n[16];
	snprintf(pid, sizeof(pid), "%d", (int)child);
	snprintf(self, sizeof(self), "%u", own);
	snprintf(first, sizeof(first), "%u", start);
	snprintf(n, sizeof(n), "%u", count);
	const char *argv[] = {program, pid, "0", self, "1", "1", first, n, NULL};
	auto_buf out = BUF_INIT(1024);
	struct proc_opts o = {.argv = argv, .out = &out, .errout = &out, .deadline_ms = 10000};
	int status = proc_run(&o, e);
	if (status < 0)
		return -1;
	return status == 0 ? 0 : err_new(e, ERR_FAILED, "%s: %.*s", program, STR_ARG(buf_str(&out)));
}

static int no_range(struct str uids, struct str gids, const char *name, struct err *e)
{
	uint32_t start = box_ids_free(gids, box_ids_free(uids, 100000));
	return err_new(e, ERR_NOT_FOUND,
		       "no range of ids for '%s' in /etc/subuid and /etc/subgid; as root: usermod --add-subuids %u-%u "
		       "--add-subgids %u-%u %s",
		       name ? name : "this user", start, start + 65535, start, start + 65535, name ? name : "USER");
}

static int map_range(pid_t child, struct err *e)
{
	auto_buf uids = BUF_INIT(1 << 20), gids = BUF_INIT(1 << 20);
	struct passwd *pw = getpwuid(getuid());
	uint32_t start[2], count[2];
	if (fs_read(AT_FDCWD, "/etc/subuid", &uids, e) < 0 || fs_read(AT_FDCWD, "/etc/subgid", &gids, e) < 0)
		return -1;
	const char *name = pw ? pw->pw_name : NULL;
	if (!box_ids_range(buf_str(&uids), name, getuid(), &start[0], &count[0]) ||
	    !box_ids_range(buf_str(&gids), name, getuid(), &start[1], &count[1]))
		return no_range(buf_str(&uids), buf_str(&gids), name, e);
	return run_idmap("newuidmap", child, getuid(), start[0], count[0], e) < 0 ||
			       run_idmap("newgidmap", child, getgid(), start[1], count[1], e) < 0
		       ? -1
		       : 0;
}

static int map_one(pid_t child, uid_t uid, gid_t gid, struct err *e)
{
	char u[64], g[64];
	snprintf(u, sizeof(u), "%u %u 1\n", uid, geteuid());
	snprintf(g, sizeof(g), "%u %u 1\n", gid, getegid());
	return write_map(child, "setgroups", "deny", e) < 0 || write_map(child, "uid_map", u, e) < 0 ||
			       write_map(child, "gid_map", g, e) < 0
		       ? -1
		       : 0;
}

static int map_high(pid_t child, struct err *e)
{
	char map[64];
	snprintf(map, sizeof(map), "0 %u %u\n", (unsigned)MAPPED_BASE, (unsigned)MAPPED_COUNT);
	return write_map(child, "uid_map", map, e) < 0 || write_map(child, "gid_map", map, e) < 0 ? -1 : 0;
}

/* ids.userns_fd */
static int make_userns(enum box_ids want, uid_t uid, gid_t gid, struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	auto_fd theirs = fds[0], ours = fds[1];
	pid_t child = k_clone(CLONE_NEWUSER, 0);
	if (child == 0) {
		close(fds[1]);
		hold(fds[0]);
	}
	if (child < 0)
		return err_sys(
			e, "make a user namespace; 'sysctl user.max_user_namespaces kernel.unprivileged_userns_clone "
			   "kernel.apparmor_restrict_unprivileged_userns' shows what forbids it");
	int r = want == BOX_IDS_MAPPED	? map_high(child, e)
		: want == BOX_IDS_RANGE ? map_range(child, e)
					: map_one(child, uid, gid, e);
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)child);
	int fd = r < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (r == 0 && fd < 0)
		r = err_sys(e, "open '%s'", path);
	kill(child, SIGKILL);
	while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR)
		;
	if (r < 0)
		return -1;
	cleanup_fd(&ids.userns_fd);
	ids.userns_fd = fd;
	ids.uid = uid;
	ids.gid = gid;
	ids.own = geteuid();
	return 0;
}

static int choose(const struct box *b, struct err *e)
{
	struct err mine = ERR_INIT;
	/* one id: the step's own is the one, and its files are its own; in a call it is root */
	uid_t uid = b->fn ? 0 : b->o->uid;
	gid_t gid = b->fn ? 0 : b->o->gid;
	if (ids.chosen != BOX_IDS_UNKNOWN && ids.own == geteuid()) {
		if (ids.chosen != BOX_IDS_ONE || (ids.uid == uid && ids.gid == gid))
			return 0;
		return make_userns(BOX_IDS_ONE, uid, gid, e);
	}
	ids.inner = is_inner();
	ids.own = geteuid();
	bool root = is_privileged();
	bool any = ids.forced == BOX_IDS_UNKNOWN;
	if (root && !ids.inner && !ids.no_idmap && (any || ids.forced == BOX_IDS_MAPPED) &&
	    make_userns(BOX_IDS_MAPPED, 0, 0, &mine) == 0) {
		ids.chosen = BOX_IDS_MAPPED;
		return 0;
	}
	if (root && (any || ids.forced == BOX_IDS_MAPPED || ids.forced == BOX_IDS_PLAIN)) {
		ids.chosen = BOX_IDS_PLAIN;
		return 0;
	}
	mine = ERR_INIT;
	if ((any || ids.forced == BOX_IDS_RANGE) && make_userns(BOX_IDS_RANGE, 0, 0, &mine) == 0) {
		ids.chosen = BOX_IDS_RANGE;
		return 0;
	}
	snprintf(ids.why, sizeof(ids.why), "%.255s", mine.msg);
	if (make_userns(BOX_IDS_ONE, uid, gid, e) < 0)
		return -1;
	ids.chosen = BOX_IDS_ONE;
	return 0;
}

int box_ids_get(struct box *b, struct err *e)
{
	pthread_mutex_lock(&ids.lock);
	int r = choose(b, e);
	b->ids = ids.chosen;
	b->inner = ids.inner;
	b->base = MAPPED_BASE;
	/* a copy: another thread may ask for another one's */
	b->userns_fd = r == 0 && ids.chosen != BOX_IDS_PLAIN ? fcntl(ids.userns_fd, F_DUPFD_CLOEXEC, 3) : -1;
	pthread_mutex_unlock(&ids.lock);
	if (r == 0 && b->ids != BOX_IDS_PLAIN && b->userns_fd < 0)
		return err_sys(e, "keep a user namespace");
	if (r < 0)
		e->code = ERR_UNSUPPORTED;
	return r;
}

void box_ids_why(char *buf, size_t n)
{
	snprintf(buf, n, "%s", ids.why);
}

int box_ids_enter(const struct box *b, struct err *e)
{
	if (b->ids == BOX_IDS_MAPPED && setns(b->userns_fd, CLONE_NEWUSER) < 0)
		return err_sys(e, "enter the user namespace");
	if (b->ids == BOX_IDS_ONE)
		return 0;
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	    syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_sys(e, "become root of the sandbox");
	return 0;
}
