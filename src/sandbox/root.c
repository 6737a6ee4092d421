// SPDX-License-Identifier: Apache-2.0
/*
 * What a sandbox sees as "/", built by its pid 1 in its own mount namespace:
 *
 *	1. everything from outside is opened as a detached copy (given folders, resolv.conf, devices where they cannot be made)
 *	2. the root is mounted over one of its own folders; pivot_root; the old root is let go. From here on a path, whatever links
 *	   the root holds, leads nowhere but into the root
 *	3. /dev, /sys, given folders, /etc/hosts, secrets. No /proc yet, so no magic link to one of our descriptors
 *	4. the working folder is made; all copies are closed; /proc with its masks
 *
 * With MAPPED ids all this is done as the machine's root with the file system id of the sandbox's root: what is made belongs to that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "sandbox/box.h"
#include "sandbox/kernel.h"

enum { DEVICES = 6, DEV_BYTES = 64 << 20 };

static const struct device {
	const char *name;
	unsigned major, minor;
} devices[DEVICES] = {{"null", 1, 3},	{"zero", 1, 5},	   {"full", 1, 7},
		      {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};

struct outside {
	int mount[BOX_MOUNTS_MAX];
	int device[DEVICES];
	int resolv, sys, proc;
};

int box_copy_tree(const struct box *b, int dirfd, const char *path, unsigned attr, bool deep, int *ret, struct err *e)
{
	unsigned at = *path ? 0 : K_AT_EMPTY_PATH;
	auto_fd fd = k_open_tree(dirfd, path, K_CLONE_TREE | at | (deep ? K_AT_RECURSIVE : 0));
	if (fd < 0 && errno == EINVAL && !deep) { /* a user namespace may not uncover what is mounted below */
		deep = true;
		fd = k_open_tree(dirfd, path, K_CLONE_TREE | at | K_AT_RECURSIVE);
	}
	if (fd < 0)
		return err_sys(e, "open '%s'", path);
	struct k_mount_attr a = {.set = attr};
	if (b->ids == BOX_IDS_MAPPED) {
		a.set |= K_ATTR_IDMAP;
		a.userns_fd = (uint64_t)b->userns_fd;
	}
	if (k_mount_setattr(fd, deep ? K_AT_RECURSIVE : 0, &a) < 0) {
		if (b->ids == BOX_IDS_MAPPED && (errno == EINVAL || errno == EPERM))
			return BOX_UNMAPPED;
		if (errno == ENOSYS)
			return err_new(e, ERR_UNSUPPORTED,
				       "this kernel is older than Linux 5.12, which sandboxes need");
		return err_sys(e, "prepare '%s'", path);
	}
	*ret = steal_fd(&fd);
	return 0;
}

/* Moves a detached copy to where it was opened. */
static int attach(int tree_fd, const char *path, struct err *e)
{
	return k_move_mount(tree_fd, AT_FDCWD, path) < 0 ? err_sys(e, "mount '%s'", path) : 0;
}

static int new_fs(const char *type, const char *const (*options)[2], size_t n, unsigned attr, struct err *e)
{
	auto_fd fs = k_fsopen(type);
	if (fs < 0)
		return err_sys(e, "%s", type);
	for (size_t i = 0; i < n; i++)
		if ((options[i][1] ? k_fs_string(fs, options[i][0], options[i][1]) : k_fs_flag(fs, options[i][0])) < 0)
			return err_sys(e, "%s: option '%s'", type, options[i][0]);
	if (k_fs_create(fs) < 0)
		return err_sys(e, "make a %s", type);
	int fd = k_fsmount(fs, attr);
	return fd < 0 ? err_sys(e, "make a %s", type) : fd;
}
#define NEW_FS(type, options, attr, e) new_fs(type, options, sizeof(options) / sizeof(*(options)), attr, e)

/* ---- the root ---- */

/* A detached tree of what a root says; *ret_at is one of its folders. */
static int make_root(const struct box *b, const struct sandbox_root *r, unsigned attr, int *ret, const char **ret_at,
		     struct err *e)
{
	const char *whole = r->dir			   ? r->dir
			    : r->n_lower == 0		   ? r->upper
			    : r->n_lower == 1 && !r->upper ? r->lower[0]
							   : NULL;
	*ret_at = whole ? whole : r->lower[0];
	if (r->readonly || (!r->dir && !r->upper))
		attr |= K_ATTR_READONLY;
	if (whole)
		return box_copy_tree(b, AT_FDCWD, whole, attr, false, ret, e);
	int fd = box_overlay(b, r, attr, e);
	if (fd >= 0)
		*ret = fd;
	return fd >= 0 ? 0 : fd;
}

static int pivot(int root_fd, const char *at, struct err *e)
{
	if (attach(root_fd, at, e) < 0)
		return -1;
	if (fchdir(root_fd) < 0 || k_pivot_root(".", ".") < 0)
		return err_sys(e, "change to the root '%s'", at);
	if (k_umount(".", 2 /* MNT_DETACH */) < 0 || chdir("/") < 0)
		return err_sys(e, "let go of the outer root");
	return 0;
}

/* ---- what lies in it ---- */

/* Makes what a mount is to cover, with its folders. Symbolic links are followed, inside the root. */
static int make_target(const char *path, bool is_dir, struct err *e)
{
	struct stat st;
	if (path[0] != '/')
		return err_new(e, ERR_USAGE, "'%s' is no absolute path in the sandbox", path);
	if (stat(path, &st) == 0)
		return is_dir == !!S_ISDIR(st.st_mode)
			       ? 0
			       : err_new(e, ERR_INPUT, "'%s' in the sandbox is %s folder", path, is_dir ? "no" : "a");
	if (is_dir)
		return fs_mkdirs(AT_FDCWD, path, 0755, e);
	const char *slash = strrchr(path, '/');
	char parent[4096];
	if ((size_t)(slash - path) >= sizeof(parent))
		return err_new(e, ERR_LIMIT, "path '%.80s...' is too long", path);
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	if (*parent && fs_mkdirs(AT_FDCWD, parent, 0755, e) < 0)
		return -1;
	auto_fd fd = sys_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
	return fd < 0 ? err_sys(e, "make '%s' in the sandbox", path) : 0;
}

static int put_file(int dir_fd, const char *name, struct str bytes, mode_t mode, struct err *e)
{
	auto_fd fd = sys_openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, "make '%s'", name);
	if (fs_write_all(fd, bytes.p, bytes.n, name, e) < 0)
		return -1;
	return sys_fchmod(fd, mode) < 0 ? err_sys(e, "set the mode of '%s'", name) : 0;
}

/* A file in memory, seen at target alone. */
static int mount_bytes(const struct box *b, int dev_fd, const char *target, struct str bytes, mode_t mode, bool of_step,
		       struct err *e)
{
	static const char *const name = ".slipway";
	if (make_target(target, false, e) < 0 || put_file(dev_fd, name, bytes, mode, e) < 0)
		return -1;
	if (of_step && b->ids != BOX_IDS_ONE &&
	    sys_fchownat(dev_fd, name, b->o->uid + (b->ids == BOX_IDS_MAPPED ? b->base : 0),
			 b->o->gid + (b->ids == BOX_IDS_MAPPED ? b->base : 0)) < 0)
		return err_sys(e, "give '%s' to user %u", target, b->o->uid);
	auto_fd tree = k_open_tree(dev_fd, name, K_CLONE_TREE);
	struct k_mount_attr a = {.set = K_ATTR_READONLY | K_ATTR_NOSUID | K_ATTR_NODEV | K_ATTR_NOEXEC};
	if (tree < 0 || k_mount_setattr(tree, 0, &a) < 0)
		return err_sys(e, "prepare '%s'", target);
	if (attach(tree, target, e) < 0)
		return -1;
	return sys_unlinkat(dev_fd, name, 0) < 0 ? err_sys(e, "remove the name of '%s'", target) : 0;
}

static int make_devices(const struct outside *out, int dev_fd, struct err *e)
{
	static const char *const links[][2] = {{"/proc/self/fd", "fd"},
					       {"/proc/self/fd/0", "stdin"},
					       {"/proc/self/fd/1", "stdout"},
					       {"/proc/self/fd/2", "stderr"},
					       {"pts/ptmx", "ptmx"}};
	for (int i = 0; i < DEVICES; i++) {
		const struct device *d = &devices[i];
		if (out->device[i] < 0) {
			if (mknodat(dev_fd, d->name, S_IFCHR | 0666, makedev(d->major, d->minor)) <
			    0) /* style: allow sys: in memory */
				return err_sys(e, "make '/dev/%s'", d->name);
			continue;
		}
		if (put_file(dev_fd, d->name, STR(""), 0666, e) < 0)
			return -1;
		auto_fd at = openat(dev_fd, d->name, O_PATH | O_CLOEXEC);
		if (at < 0 || k_move_mount(out->device[i], at, "") < 0)
			return err_sys(e, "mount '/dev/%s'", d->name);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		if (sys_symlinkat(links[i][0], dev_fd, links[i][1]) < 0)
			return err_sys(e, "make '/dev/%s'", links[i][1]);
	return 0;
}

/* What may be written there, and the secrets, which lie in it without a name. */
static uint64_t dev_bytes(const struct sandbox_opts *o)
{
	enum { PAGE = 64 << 10 }; /* at most */
	uint64_t n = DEV_BYTES;
	for (size_t i = 0; i < o->n_secrets; i++)
		n += (o->secrets[i].value.n / PAGE + 1) * PAGE;
	return n;
}

/* /dev, its pseudo terminals and shared memory. Returns /dev's descriptor. */
static int mount_dev(const struct box *b, const struct outside *out, struct err *e)
{
	char size[32];
	const char *const dev[][2] = {{"mode", "0755"}, {"size", size}, {"nr_inodes", "65536"}};
	static const char *const shm[][2] = {{"mode", "1777"}, {"size", "64m"}, {"nr_inodes", "65536"}};
	char tty[16];
	snprintf(tty, sizeof(tty), "%u", b->ids == BOX_IDS_MAPPED ? b->base + 5 : 5u);
	const char *const pts[][2] = {{"newinstance", NULL}, {"ptmxmode", "0666"}, {"mode", "0620"}, {"gid", tty}};
	snprintf(size, sizeof(size), "%llu", (unsigned long long)dev_bytes(b->o));
	auto_fd dev_fd = NEW_FS("tmpfs", dev, K_ATTR_NOSUID | K_ATTR_NOEXEC, e);
	if (dev_fd < 0 || make_target("/dev", true, e) < 0 || attach(dev_fd, "/dev", e) < 0)
		return -1;
	if (make_devices(out, dev_fd, e) < 0)
		return -1;
	if (sys_mkdirat(dev_fd, "pts", 0755) < 0 || sys_mkdirat(dev_fd, "shm", 0755) < 0 ||
	    sys_mkdirat(dev_fd, ".blank", 0555) < 0)
		return err_sys(e, "make folders in '/dev'");
	auto_fd pts_fd = new_fs("devpts", pts, b->ids == BOX_IDS_ONE ? 3 : 4, K_ATTR_NOSUID | K_ATTR_NOEXEC, e);
	if (pts_fd < 0 || attach(pts_fd, "/dev/pts", e) < 0)
		return -1;
	auto_fd shm_fd = NEW_FS("tmpfs", shm, K_ATTR_NOSUID | K_ATTR_NODEV, e);
	if (shm_fd < 0 || attach(shm_fd, "/dev/shm", e) < 0)
		return -1;
	return steal_fd(&dev_fd);
}

/* Covers a file with /dev/null, a folder with an empty one, or makes it read-only. What is not there needs nothing. */
enum cover { HIDE, READONLY };
/* What a sandbox around this one has mounted there has no name of its own, and nothing can be mounted on it. */
static bool is_of_outer(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0 && st.st_nlink == 0;
}

static int cover(const char *path, enum cover how, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "look at '%s'", path);
	if (S_ISDIR(st.st_mode) && is_of_outer(path))
		return 0;
	const char *source = how == READONLY ? path : S_ISDIR(st.st_mode) ? "/dev/.blank" : "/dev/null";
	auto_fd fd = k_open_tree(AT_FDCWD, source, K_CLONE_TREE);
	struct k_mount_attr a = {.set = K_ATTR_NOSUID | K_ATTR_NOEXEC |
					(how == READONLY || S_ISDIR(st.st_mode) ? K_ATTR_READONLY | K_ATTR_NODEV : 0)};
	if (fd < 0 || k_mount_setattr(fd, 0, &a) < 0)
		return err_sys(e, "cover '%s'", path);
	return attach(fd, path, e);
}

static int mount_sys(const struct outside *out, struct err *e)
{
	if (make_target("/sys", true, e) < 0 || attach(out->sys, "/sys", e) < 0)
		return -1;
	return cover("/sys/firmware", HIDE, e);
}

static int mount_proc(const struct box *b, const struct outside *out, struct err *e)
{
	static const char *const hidden[] = {"/proc/acpi",	  "/proc/asound",    "/proc/kcore",
					     "/proc/keys",	  "/proc/key-users", "/proc/latency_stats",
					     "/proc/sched_debug", "/proc/scsi",	     "/proc/timer_list",
					     "/proc/timer_stats", "/proc/kmsg",	     "/proc/kallsyms"};
	static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
					       "/proc/sysrq-trigger"};
	if (make_target("/proc", true, e) < 0 || attach(out->proc, "/proc", e) < 0)
		return -1;
	/* one inside may mount its own only where nothing of this is covered; its files' modes are against outer ids then */
	if (b->o->nested && b->ids != BOX_IDS_PLAIN)
		return 0;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden); i++)
		if (cover(hidden[i], HIDE, e) < 0)
			return -1;
	for (size_t i = 0; i < sizeof(readonly) / sizeof(*readonly); i++)
		if (cover(readonly[i], READONLY, e) < 0)
			return -1;
	return 0;
}

static int mount_given(const struct box *b, struct outside *out, struct err *e)
{
	for (size_t i = 0; i < b->o->n_mounts; i++) {
		struct stat st;
		if (fstat(out->mount[i], &st) < 0)
			return err_sys(e, "look at what '%s' is to be", b->o->mounts[i].target);
		if (make_target(b->o->mounts[i].target, S_ISDIR(st.st_mode), e) < 0 ||
		    attach(out->mount[i], b->o->mounts[i].target, e) < 0)
			return -1;
		cleanup_fd(&out->mount[i]);
	}
	return 0;
}

static int mount_files(const struct box *b, struct outside *out, int dev_fd, struct err *e)
{
	const struct sandbox_opts *o = b->o;
	const char *host = o->hostname ? o->hostname : "builder";
	struct stat st;
	/* an empty root, or a read-only one without these names, goes without them */
	bool is_etc = stat("/etc", &st) == 0 && S_ISDIR(st.st_mode);
	if (is_etc && !is_of_outer("/etc/hosts") && (!o->root.readonly || access("/etc/hosts", F_OK) == 0)) {
		char hosts[512];
		snprintf(hosts, sizeof(hosts), "127.0.0.1 localhost %s\n::1 localhost ip6-localhost ip6-loopback\n",
			 host);
		if (mount_bytes(b, dev_fd, "/etc/hosts", str_c(hosts), 0644, false, e) < 0)
			return -1;
	}
	if (is_etc && out->resolv >= 0 && (!o->root.readonly || access("/etc/resolv.conf", F_OK) == 0))
		if (make_target("/etc/resolv.conf", false, e) < 0 || attach(out->resolv, "/etc/resolv.conf", e) < 0)
			return -1;
	for (size_t i = 0; i < o->n_secrets; i++)
		if (mount_bytes(b, dev_fd, o->secrets[i].target, o->secrets[i].value, 0400, true, e) < 0)
			return err_ctx(e, "secret");
	return 0;
}

/* ---- before the root changes ---- */

/* /proc and /sys: a user namespace may mount them only where it sees the outer ones, so before the root changes. sysfs belongs to a
 * network namespace: of the host's such a one gets a copy alone, and so it does in a sandbox, where parts of the outer one are covered. */
static int open_kernel(const struct box *as_it_is, struct outside *out, bool copy_sys, struct err *e)
{
	unsigned safe = K_ATTR_NOSUID | K_ATTR_NODEV | K_ATTR_NOEXEC;
	if (!copy_sys && (out->sys = new_fs("sysfs", NULL, 0, safe | K_ATTR_READONLY, e)) < 0) {
		if (e->sys != EPERM)
			return err_ctx(e, "the sandbox's /sys");
		*e = ERR_INIT;
		copy_sys = true;
	}
	if (copy_sys && box_copy_tree(as_it_is, AT_FDCWD, "/sys", safe | K_ATTR_READONLY, true, &out->sys, e) < 0)
		return -1;
	out->proc = new_fs("proc", NULL, 0, safe, e);
	return out->proc < 0 ? err_ctx(e, "the sandbox's /proc (in a container, that has to show its whole /proc: "
					  "docker run --security-opt systempaths=unconfined)")
			     : 0;
}

static int open_outside(const struct box *b, struct outside *out, struct err *e)
{
	const struct sandbox_opts *o = b->o;
	unsigned safe = K_ATTR_NOSUID | K_ATTR_NODEV;
	for (size_t i = 0; i < o->n_mounts; i++) {
		const struct sandbox_mount *m = &o->mounts[i];
		unsigned attr = safe | (m->readonly ? K_ATTR_READONLY : 0);
		const char *at;
		int rc = m->root ? make_root(b, m->root, attr, &out->mount[i], &at, e)
				 : box_copy_tree(b, AT_FDCWD, m->source, attr, true, &out->mount[i], e);
		if (rc < 0)
			return rc;
	}
	if (b->fn)
		return 0;
	struct box as_it_is = *b;
	as_it_is.ids = BOX_IDS_PLAIN;
	bool weak = b->inner || b->ids == BOX_IDS_RANGE || b->ids == BOX_IDS_ONE;
	for (int i = 0; weak && i < DEVICES; i++) {
		char path[32];
		snprintf(path, sizeof(path), "/dev/%s", devices[i].name);
		if (box_copy_tree(&as_it_is, AT_FDCWD, path, K_ATTR_NOSUID | K_ATTR_NOEXEC, false, &out->device[i], e) <
		    0)
			return -1;
	}
	if (o->network_host && access("/etc/resolv.conf", R_OK) == 0 &&
	    box_copy_tree(&as_it_is, AT_FDCWD, "/etc/resolv.conf", safe | K_ATTR_READONLY | K_ATTR_NOEXEC, false,
			  &out->resolv, e) < 0)
		return -1;
	return open_kernel(&as_it_is, out, o->network_host && weak, e);
}

/* From here on what is made belongs to the sandbox's root; capabilities stay. */
static int take_mapped_fsid(const struct box *b, struct err *e)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];
	setfsgid(b->base);
	setfsuid(b->base);
	if (syscall(SYS_capget, &h, d) < 0)
		return err_sys(e, "read capabilities");
	d[0].effective = d[0].permitted;
	d[1].effective = d[1].permitted;
	return syscall(SYS_capset, &h, d) < 0 ? err_sys(e, "keep capabilities") : 0;
}

static int fill_root(const struct box *b, struct outside *out, struct err *e)
{
	if (b->fn)
		return mount_given(b, out, e);
	auto_fd dev_fd = mount_dev(b, out, e);
	if (dev_fd < 0 || mount_sys(out, e) < 0 || mount_given(b, out, e) < 0 || mount_files(b, out, dev_fd, e) < 0)
		return -1;
	if (b->o->cwd && b->o->cwd[0] != '/')
		return err_new(e, ERR_USAGE, "'%s' is no absolute path in the sandbox", b->o->cwd);
	struct stat st;
	if (b->o->cwd && (stat(b->o->cwd, &st) < 0 || !S_ISDIR(st.st_mode)) &&
	    fs_mkdirs(AT_FDCWD, b->o->cwd, 0755, e) < 0)
		return -1;
	if (mount_proc(b, out, e) < 0)
		return -1;
	return sys_unlinkat(dev_fd, ".blank", AT_REMOVEDIR) < 0 ? err_sys(e, "remove '/dev/.blank'") : 0;
}

/* Seen with the sandbox's ids, and without what is mounted on it. Files are left out. */
static int open_disk(const struct box *b, const char *path, bool is_new, struct box_disks *d, struct err *e)
{
	auto_fd tree = -1;
	int rc = box_copy_tree(b, AT_FDCWD, path, 0, false, &tree, e);
	if (rc < 0)
		return rc;
	d->fd[d->n] = openat(tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd[d->n] < 0)
		return errno == ENOTDIR ? 0 : err_sys(e, "open '%s'", path);
	d->is_new[d->n++] = is_new;
	return 0;
}

static int open_disk_of(const struct box *b, const struct sandbox_root *r, struct box_disks *d, struct err *e)
{
	if (r->readonly || (!r->dir && !r->upper))
		return 0;
	return open_disk(b, r->dir ? r->dir : r->upper, !r->dir, d, e);
}

static int open_disks(const struct box *b, struct box_disks *d, struct err *e)
{
	if (b->fn || b->o->limits.disk_bytes == 0)
		return 0;
	int rc = open_disk_of(b, &b->o->root, d, e);
	for (size_t i = 0; i < b->o->n_mounts && rc == 0; i++) {
		const struct sandbox_mount *m = &b->o->mounts[i];
		if (!m->readonly)
			rc = m->root ? open_disk_of(b, m->root, d, e) : open_disk(b, m->source, false, d, e);
	}
	return rc;
}

int box_root_enter(const struct box *b, struct box_disks *ret, struct err *e)
{
	struct outside out = {.resolv = -1, .sys = -1, .proc = -1};
	auto_fd root_fd = -1;
	const char *at = NULL;
	memset(out.mount, -1, sizeof(out.mount));
	memset(out.device, -1, sizeof(out.device));
	umask(0);
	if (k_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, "make mounts private");
	if (b->ids == BOX_IDS_MAPPED && take_mapped_fsid(b, e) < 0)
		return -1;
	int rc = open_outside(b, &out, e);
	if (rc == 0)
		rc = open_disks(b, ret, e);
	if (rc == 0)
		rc = make_root(b, &b->o->root, K_ATTR_NODEV, &root_fd, &at, e);
	if (rc < 0)
		return rc;
	if (pivot(root_fd, at, e) < 0 || fill_root(b, &out, e) < 0)
		return -1;
	umask(022);
	return 0;
}
