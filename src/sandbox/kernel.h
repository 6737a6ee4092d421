// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * kernel: system calls of namespaces and mounts that not every C library knows, by their kernel names. Results as the kernel gives them
 * (-1 and errno). They change what this process sees, nothing on a disk.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One number on every architecture; older headers lack the later ones. */
enum {
	K_OPEN_TREE = 428,
	K_MOVE_MOUNT = 429,
	K_FSOPEN = 430,
	K_FSCONFIG = 431,
	K_FSMOUNT = 432,
	K_CLONE3 = 435,
	K_CLOSE_RANGE = 436,
	K_MOUNT_SETATTR = 442,
};

struct k_clone {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size,
		cgroup;
};

struct k_mount_attr {
	uint64_t set, clear, propagation, userns_fd;
};

enum {
	K_ATTR_READONLY = 0x1,
	K_ATTR_NOSUID = 0x2,
	K_ATTR_NODEV = 0x4,
	K_ATTR_NOEXEC = 0x8,
	K_ATTR_IDMAP = 0x100000,
	K_CLONE_TREE = 1,
	K_MOVE_FROM_FD = 0x4,
	K_MOVE_TO_FD = 0x40,
	K_AT_RECURSIVE = 0x8000,
	K_AT_EMPTY_PATH = 0x1000,
};

static inline int k_open_tree(int dirfd, const char *path, unsigned flags)
{
	return (int)syscall(K_OPEN_TREE, dirfd, path, flags | 02000000u /* O_CLOEXEC */);
}
static inline int k_move_mount(int from_fd, int to_fd, const char *to)
{
	return (int)syscall(K_MOVE_MOUNT, from_fd, "", to_fd, to, K_MOVE_FROM_FD | (*to ? 0 : K_MOVE_TO_FD));
}
static inline int k_fsopen(const char *type)
{
	return (int)syscall(K_FSOPEN, type, 1u /* close on exec */);
}
static inline int k_fs_string(int fs, const char *key, const char *value)
{
	return (int)syscall(K_FSCONFIG, fs, 1u, key, value, 0);
}
static inline int k_fs_flag(int fs, const char *key)
{
	return (int)syscall(K_FSCONFIG, fs, 0u, key, NULL, 0);
}
static inline int k_fs_fd(int fs, const char *key, int fd)
{
	return (int)syscall(K_FSCONFIG, fs, 5u, key, NULL, fd);
}
static inline int k_fs_create(int fs)
{
	return (int)syscall(K_FSCONFIG, fs, 6u, NULL, NULL, 0);
}
static inline int k_fsmount(int fs, unsigned attr)
{
	return (int)syscall(K_FSMOUNT, fs, 1u, attr);
}
static inline int k_mount_setattr(int fd, unsigned flags, const struct k_mount_attr *attr)
{
	return (int)syscall(K_MOUNT_SETATTR, fd, "", K_AT_EMPTY_PATH | flags, attr, sizeof(*attr));
}
static inline int k_mount(const char *source, const char *target, const char *type, unsigned long flags,
			  const char *data)
{
	return (int)syscall(SYS_mount, source, target, type, flags, data);
}
static inline int k_umount(const char *target, int flags)
{
	return (int)syscall(SYS_umount2, target, flags);
}
static inline int k_pivot_root(const char *new_root, const char *old)
{
	return (int)syscall(SYS_pivot_root, new_root, old);
}
/* As fork: 0 in the child, which runs on a copy of this stack. */
static inline pid_t k_clone(uint64_t flags, uint64_t exit_signal)
{
	struct k_clone c = {.flags = flags, .exit_signal = exit_signal};
	pid_t pid = (pid_t)syscall(K_CLONE3, &c, sizeof(c));
	if (pid >= 0 || errno != ENOSYS)
		return pid;
		/* in a sandbox whose filter cannot look at its flags: ours is one */
#if defined(__s390__)
	return (pid_t)syscall(SYS_clone, 0, flags | exit_signal, NULL, NULL, 0);
#else
	return (pid_t)syscall(SYS_clone, flags | exit_signal, 0, NULL, NULL, 0);
#endif
}
static inline int k_close_range(unsigned first, unsigned last)
{
	return (int)syscall(K_CLOSE_RANGE, first, last, 0u);
}
