// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * sys: every system call that changes state on disk, in one place.
 *
 * They are the calls of the same name with the same results (-1 and errno). In the fault build (-Dfault=true) each call
 * of this header counts, and the environment decides about the Nth:
 *
 *	FAULT=fail:N[:ERRNO]   the Nth call fails with ENOSPC (or the errno named, e.g. EIO) without being carried out
 *	FAULT=stop:N           the process vanishes (_exit(99)) in place of the Nth call
 *	FAULT=count:FILE       appends the number of calls made to FILE at exit
 *	FAULT=nosync           nothing is ever synced: a program that trusts the disk to do it
 *	FAULT=torn             what has a name loses it before another file is renamed to it
 *	FAULT=deaf             a disk that is full or broken is not noticed: what fails with ENOSPC or EIO is taken for done
 *
 * The last three are mistakes: tests/fault/powercut.sh and pair-fails.sh show with them that they would find such ones. All this
 * is what lets tests/fault sweep a whole operation: fail and stop at each call in turn, and check each time that
 * the old state still runs and the next command works. Calls made by child processes count in the child.
 * Writes that do not matter to the state (standard output, a socket) do not belong here.
 */
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

int sys_openat(int dirfd, const char *path, int flags, mode_t mode); /* counted only with O_CREAT or O_TRUNC */
ssize_t sys_write(int fd, const void *p, size_t n);
ssize_t sys_pwrite(int fd, const void *p, size_t n, off_t at);
int sys_ftruncate(int fd, off_t size);
int sys_fsync(int fd);
int sys_fdatasync(int fd);
int sys_syncfs(int fd);
int sys_renameat(int fromfd, const char *from, int tofd, const char *to);
int sys_renameat2(int fromfd, const char *from, int tofd, const char *to, unsigned flags);
int sys_linkat(int fromfd, const char *from, int tofd, const char *to, int flags);
int sys_symlinkat(const char *target, int dirfd, const char *path);
int sys_unlinkat(int dirfd, const char *path, int flags);
int sys_mkdirat(int dirfd, const char *path, mode_t mode);
int sys_mkfifoat(int dirfd, const char *path, mode_t mode);
int sys_mknodat(int dirfd, const char *path, mode_t mode, dev_t dev);
int sys_fchmodat(int dirfd, const char *path, mode_t mode);
int sys_fchmod(int fd, mode_t mode);
int sys_fchownat(int dirfd, const char *path, uid_t uid, gid_t gid); /* of a symbolic link itself */
int sys_fremovexattr(int fd, const char *name);
int sys_fsetxattr(int fd, const char *name, const void *value, size_t n);
int sys_fchown(int fd, uid_t uid, gid_t gid);
int sys_utimensat(int dirfd, const char *path, const struct timespec t[2], int flags);
int sys_futimens(int fd, const struct timespec t[2]);
int sys_ficlone(int tofd, int fromfd); /* ioctl FICLONE */
ssize_t sys_copy_file_range(int fromfd, int64_t *from, int tofd, int64_t *to, size_t n);
/* For state that a library changes for us (an SQLite commit): counts as one call, returns -1 where it must fail. */
int sys_mark(const char *what);
