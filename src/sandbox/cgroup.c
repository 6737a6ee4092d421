// SPDX-License-Identifier: Apache-2.0
/*
 * Control groups: one a sandbox, with a limit of memory and one of processes, in both generations of the interface.
 *
 *	v1	our own group of each of the hierarchies memory and pids, below it slipway-box-PID-N
 *	v2	a sibling of our own group (one that holds processes cannot give controllers to its children), or a child where ours
 *		gives them already, or, for root, a child of the top
 *
 * Who made a group holds a lock on its folder: one whose lock is free is what a killed process left, and the next one removes it. A
 * lock, since a PID means something in its own namespace only, and /sys/fs/cgroup may be several's. (PID is for people.)
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "sandbox/box.h"

enum { MAGIC_V1 = 0x27e0eb, MAGIC_V2 = 0x63677270 };
#define TOP "/sys/fs/cgroup"
#define PREFIX "slipway-box-"

/* The kernel's files: written without a disk below. */
static bool put(int dir_fd, const char *name, const char *text)
{
	auto_fd fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC); /* style: allow sys: a control group's file, no disk */
	return fd >= 0 && write(fd, text, strlen(text)) >= 0;	 /* style: allow sys: as above */
}

static bool get(const char *dir, const char *name, struct buf *b)
{
	struct err e = ERR_INIT;
	char path[800];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	buf_clear(b);
	return fs_read(AT_FDCWD, path, b, &e) == 0;
}

static uint64_t get_number(const char *dir, const char *name)
{
	auto_buf b = BUF_INIT(4096);
	uint64_t n;
	struct str s = get(dir, name, &b) ? buf_str(&b) : STR_NONE;
	return str_take_u64(&s, &n) ? n : 0;
}

/* "key N" among lines. */
static uint64_t get_key(const char *dir, const char *name, const char *key)
{
	auto_buf b = BUF_INIT(65536);
	struct str s = get(dir, name, &b) ? buf_str(&b) : STR_NONE, line;
	uint64_t n;
	while (str_take_until(&s, '\n', &line))
		if (str_starts(line, str_c(key)) && line.p[strlen(key)] == ' ') {
			line = str_skip(line, strlen(key) + 1);
			return str_take_u64(&line, &n) ? n : 0;
		}
	return 0;
}

/* Removes what killed processes left. The kernel removes none that still holds a process. */
static void sweep(int parent_fd)
{
	int fd = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	while (d && (entry = readdir(d))) {
		if (!str_starts(str_c(entry->d_name), STR(PREFIX)))
			continue;
		auto_fd group_fd = openat(parent_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (group_fd >= 0 && flock(group_fd, LOCK_EX | LOCK_NB) == 0)
			/* style: allow sys: a control group, no disk */
			unlinkat(parent_fd, entry->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

/* The path of our own group in a hierarchy: of "N:LIST:PATH" lines in /proc/self/cgroup. which NULL: version 2. */
static bool own_path(struct str text, const char *which, char *ret, size_t n)
{
	struct str line, number, list, word;
	while (str_take_until(&text, '\n', &line)) {
		if (!str_take_until(&line, ':', &number) || !str_take_until(&line, ':', &list))
			continue;
		bool found = !which && list.n == 0;
		while (which && list.n > 0) {
			if (!str_take_until(&list, ',', &word)) {
				word = list;
				list.n = 0;
			}
			found |= str_eq_c(word, which);
		}
		if (found && line.n < n && !memchr(line.p, '\0', line.n)) {
			snprintf(ret, n, "%.*s", STR_ARG(line));
			return true;
		}
	}
	return false;
}

/* A locked group of this name, or -1: there is one, or a sweep saw it before it was locked, and somebody may be at it yet. */
static int make_locked(int parent_fd, const char *name)
{
	struct stat now, st;
	if (mkdirat(parent_fd, name, 0755) < 0) /* style: allow sys: a control group, no disk */
		return -1;
	auto_fd fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) < 0 || fstat(fd, &st) < 0 ||
	    fstatat(parent_fd, name, &now, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (st.st_ino == now.st_ino)
		return steal_fd(&fd);
	errno = ENOENT;
	return -1;
}

/* A group of ours below parent: its path and lock, or false. */
static bool make_below(const char *parent, struct box_cgroup *c, int i)
{
	enum { TRIES = 100 };
	static _Atomic unsigned serial;
	auto_fd fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	sweep(fd);
	for (int k = 0; k < TRIES && c->lock_fd[i] < 0; k++) {
		char name[80];
		snprintf(name, sizeof(name), PREFIX "%d-%u", (int)getpid(), serial++);
		if ((size_t)snprintf(c->path[i], sizeof(c->path[i]), "%s/%s", parent, name) >= sizeof(c->path[i]))
			break;
		c->lock_fd[i] = make_locked(fd, name);
		if (c->lock_fd[i] < 0 && errno != EEXIST && errno != EWOULDBLOCK && errno != ENOENT)
			break;
	}
	if (c->lock_fd[i] < 0)
		c->path[i][0] = '\0';
	return c->lock_fd[i] >= 0;
}

static bool limit(const char *dir, const char *name, uint64_t n)
{
	char text[32];
	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	auto_fd fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && put(fd, name, text);
}

/* cgroup namespaces show "/" where the mount is a part; what lies outside is "/../..": the mount's top then. */
static void parent_path(const char *top, const char *own, char *ret, size_t n)
{
	snprintf(ret, n, "%s%s", top, strstr(own, "/..") || !strcmp(own, "/") ? "" : own);
	if (access(ret, F_OK) < 0)
		snprintf(ret, n, "%s", top);
}

static bool make_v1(struct box_cgroup *c, int i, const char *which, struct str own, const char *file, uint64_t n)
{
	struct statfs fs;
	char top[64], mine[256], parent[400];
	snprintf(top, sizeof(top), TOP "/%s", which);
	if (statfs(top, &fs) < 0 || fs.f_type != MAGIC_V1 || !own_path(own, which, mine, sizeof(mine)))
		return false;
	parent_path(top, mine, parent, sizeof(parent));
	if (!make_below(parent, c, i))
		return false;
	return limit(c->path[i], file, n);
}

/* Whether parent's children have the controllers asked for, switched on if need be. */
static bool gives(const char *parent, const struct sandbox_limits *l)
{
	auto_fd fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_buf b = BUF_INIT(4096);
	if (fd < 0)
		return false;
	if (l->memory_bytes > 0)
		put(fd, "cgroup.subtree_control", "+memory");
	if (l->processes > 0)
		put(fd, "cgroup.subtree_control", "+pids");
	return get(parent, "cgroup.subtree_control", &b) && (l->memory_bytes == 0 || strstr(b.p, "memory")) &&
	       (l->processes == 0 || strstr(b.p, "pids"));
}

static void make_v2(struct box_cgroup *c, const struct sandbox_limits *l, struct str own)
{
	char mine[256], parent[400];
	if (!own_path(own, NULL, mine, sizeof(mine)))
		return;
	parent_path(TOP, mine, parent, sizeof(parent));
	for (;;) {
		if (gives(parent, l) && make_below(parent, c, 0))
			break;
		char *slash = strrchr(parent, '/');
		if (strlen(parent) <= strlen(TOP) || !slash)
			return;
		*slash = '\0';
	}
	c->unified = true;
	c->memory = l->memory_bytes > 0 && limit(c->path[0], "memory.max", l->memory_bytes);
	if (c->memory) {
		limit(c->path[0], "memory.swap.max", 0);
		limit(c->path[0], "memory.oom.group", 1);
	}
	c->pids = l->processes > 0 && limit(c->path[0], "pids.max", l->processes + 1ull); /* pid 1 is ours */
}

void box_cgroup_make(const struct sandbox_limits *limits, struct box_cgroup *ret)
{
	struct statfs fs;
	struct err e = ERR_INIT;
	auto_buf own = BUF_INIT(65536);
	*ret = (struct box_cgroup){.procs_fd = {-1, -1}, .lock_fd = {-1, -1}};
	if ((limits->memory_bytes == 0 && limits->processes == 0) || statfs(TOP, &fs) < 0 ||
	    fs_read(AT_FDCWD, "/proc/self/cgroup", &own, &e) < 0)
		return;
	if (fs.f_type == MAGIC_V2) {
		make_v2(ret, limits, buf_str(&own));
	} else {
		ret->memory = limits->memory_bytes > 0 &&
			      make_v1(ret, 0, "memory", buf_str(&own), "memory.limit_in_bytes", limits->memory_bytes);
		if (ret->memory)
			limit(ret->path[0], "memory.memsw.limit_in_bytes", limits->memory_bytes);
		/* one more: pid 1 of the sandbox is ours */
		ret->pids = limits->processes > 0 &&
			    make_v1(ret, 1, "pids", buf_str(&own), "pids.max", limits->processes + 1ull);
	}
	for (int i = 0; i < BOX_CGROUPS; i++) {
		char path[600];
		if (!ret->path[i][0])
			continue;
		snprintf(path, sizeof(path), "%s/cgroup.procs", ret->path[i]);
		ret->procs_fd[i] =
			open(path, O_WRONLY | O_CLOEXEC); /* style: allow sys: a control group's file, no disk */
	}
}

int box_cgroup_join(const struct box_cgroup *c, struct err *e)
{
	for (int i = 0; i < BOX_CGROUPS; i++)
		if (c->procs_fd[i] >= 0 &&
		    write(c->procs_fd[i], "0", 1) < 0) /* style: allow sys: a control group's file */
			return err_sys(e, "join control group '%s'", c->path[i]);
	return 0;
}

bool box_cgroup_is_oom(const struct box_cgroup *c)
{
	return c->memory && get_key(c->path[0], c->unified ? "memory.events" : "memory.oom_control", "oom_kill") > 0;
}

void box_cgroup_remove(struct box_cgroup *c, struct sandbox_result *ret)
{
	if (c->memory)
		ret->peak_bytes = get_number(c->path[0], c->unified ? "memory.peak" : "memory.max_usage_in_bytes");
	if (c->pids)
		ret->forks_refused = get_key(c->path[c->unified ? 0 : 1], "pids.events", "max");
	for (int i = 0; i < BOX_CGROUPS; i++) {
		cleanup_fd(&c->procs_fd[i]);
		/* the kernel lets go of the last process a little after it was reaped: the next run removes it then */
		if (c->path[i][0])
			unlinkat(AT_FDCWD, c->path[i], AT_REMOVEDIR); /* style: allow sys: a control group, no disk */
		cleanup_fd(&c->lock_fd[i]);
	}
}
