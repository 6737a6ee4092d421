// SPDX-License-Identifier: Apache-2.0
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#ifdef SLIPWAY_FAULT

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum fault_mode { FAULT_NONE, FAULT_FAIL, FAULT_STOP, FAULT_COUNT, FAULT_NOSYNC, FAULT_TORN, FAULT_DEAF };
enum { FAULT_EXIT = 99 };

static struct {
	enum fault_mode mode;
	uint64_t at;
	int errnum;
	char file[1024];
	atomic_uint_fast64_t calls;
} fault;
static pthread_once_t fault_once = PTHREAD_ONCE_INIT;

static const struct {
	const char *name;
	int errnum;
} fault_errnos[] = {
	{"EIO", EIO},	    {"ENOSPC", ENOSPC}, {"EACCES", EACCES}, {"EROFS", EROFS},	{"EDQUOT", EDQUOT},
	{"EMFILE", EMFILE}, {"ENOMEM", ENOMEM}, {"EPERM", EPERM},   {"EEXIST", EEXIST}, {"EXDEV", EXDEV},
	{"EINTR", EINTR},   {"ENOENT", ENOENT}, {"EMLINK", EMLINK}, {"ENOSYS", ENOSYS}, {"EOPNOTSUPP", EOPNOTSUPP},
};

static const struct {
	const char *name;
	enum fault_mode mode;
} fault_mistakes[] = {{"nosync", FAULT_NOSYNC}, {"torn", FAULT_TORN}, {"deaf", FAULT_DEAF}};

/* Bypasses the seam: the number is for the sweep's driver, not state of ours. */
static void fault_report(void)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "%llu\n", (unsigned long long)atomic_load(&fault.calls));
	auto_fd fd = open(fault.file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		panic("FAULT: cannot write the count to '%s'", fault.file);
}

static int fault_errno(struct str s)
{
	for (size_t i = 0; i < sizeof(fault_errnos) / sizeof(fault_errnos[0]); i++)
		if (str_eq_c(s, fault_errnos[i].name))
			return fault_errnos[i].errnum;
	uint64_t n;
	if (!str_to_u64(s, &n) || n == 0 || n > 4095)
		panic("FAULT: unknown error '%.*s'", STR_ARG(s));
	return (int)n;
}

static void fault_init(void)
{
	const char *env = getenv("FAULT");
	if (!env || !*env)
		return;
	struct str s = str_c(env);
	fault.errnum = ENOSPC;
	if (str_take_str(&s, STR("count:"))) {
		snprintf(fault.file, sizeof(fault.file), "%.*s", STR_ARG(s));
		fault.mode = FAULT_COUNT;
		atexit(fault_report);
		return;
	}
	for (size_t i = 0; i < sizeof(fault_mistakes) / sizeof(*fault_mistakes); i++)
		if (str_eq_c(s, fault_mistakes[i].name)) {
			fault.mode = fault_mistakes[i].mode;
			return;
		}
	if (str_take_str(&s, STR("stop:")))
		fault.mode = FAULT_STOP;
	else if (str_take_str(&s, STR("fail:")))
		fault.mode = FAULT_FAIL;
	bool good = fault.mode != FAULT_NONE && str_take_u64(&s, &fault.at) && fault.at > 0;
	if (good && fault.mode == FAULT_FAIL && str_take_char(&s, ':')) {
		fault.errnum = fault_errno(s);
		s.n = 0;
	}
	if (!good || s.n > 0)
		panic("FAULT='%s': expected fail:N[:ERRNO], stop:N, count:FILE, nosync, torn or deaf", env);
}

/* True where the call must fail in place of being carried out; errno is set then. */
static bool fault_hits(void)
{
	pthread_once(&fault_once, fault_init);
	uint64_t n = atomic_fetch_add(&fault.calls, 1) + 1;
	if (n != fault.at || (fault.mode != FAULT_FAIL && fault.mode != FAULT_STOP))
		return false;
	if (fault.mode == FAULT_STOP)
		_exit(FAULT_EXIT);
	errno = fault.errnum;
	return true;
}

static bool fault_skips_sync(void)
{
	return fault.mode == FAULT_NOSYNC;
}

static void fault_tears(int dirfd, const char *path)
{
	if (fault.mode == FAULT_TORN)
		(void)unlinkat(dirfd, path, 0);
}

static int fault_heard(int rc)
{
	return rc < 0 && fault.mode == FAULT_DEAF && (errno == ENOSPC || errno == EIO) ? 0 : rc;
}

#else

static inline int fault_heard(int rc)
{
	return rc;
}

static inline bool fault_hits(void)
{
	return false;
}

static inline bool fault_skips_sync(void)
{
	return false;
}

static inline void fault_tears(int dirfd, const char *path)
{
	(void)dirfd, (void)path;
}

#endif

int sys_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	if ((flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE) && fault_hits())
		return -1;
	return openat(dirfd, path, flags, mode);
}

ssize_t sys_write(int fd, const void *p, size_t n)
{
	return fault_hits() ? -1 : write(fd, p, n);
}

ssize_t sys_pwrite(int fd, const void *p, size_t n, off_t at)
{
	return fault_hits() ? -1 : pwrite(fd, p, n, at);
}

int sys_ftruncate(int fd, off_t size)
{
	return fault_hits() ? -1 : ftruncate(fd, size);
}

int sys_fsync(int fd)
{
	return fault_hits() ? -1 : fault_skips_sync() ? 0 : fault_heard(fsync(fd));
}

int sys_fdatasync(int fd)
{
	return fault_hits() ? -1 : fault_skips_sync() ? 0 : fdatasync(fd);
}

int sys_syncfs(int fd)
{
	return fault_hits() ? -1 : fault_skips_sync() ? 0 : syncfs(fd);
}

int sys_renameat(int fromfd, const char *from, int tofd, const char *to)
{
	if (fault_hits())
		return -1;
	fault_tears(tofd, to);
	return fault_heard(renameat(fromfd, from, tofd, to));
}

int sys_renameat2(int fromfd, const char *from, int tofd, const char *to, unsigned flags)
{
	return fault_hits() ? -1 : renameat2(fromfd, from, tofd, to, flags);
}

int sys_linkat(int fromfd, const char *from, int tofd, const char *to, int flags)
{
	return fault_hits() ? -1 : fault_heard(linkat(fromfd, from, tofd, to, flags));
}

int sys_symlinkat(const char *target, int dirfd, const char *path)
{
	return fault_hits() ? -1 : fault_heard(symlinkat(target, dirfd, path));
}

int sys_unlinkat(int dirfd, const char *path, int flags)
{
	return fault_hits() ? -1 : fault_heard(unlinkat(dirfd, path, flags));
}

int sys_mkdirat(int dirfd, const char *path, mode_t mode)
{
	return fault_hits() ? -1 : mkdirat(dirfd, path, mode);
}

int sys_mkfifoat(int dirfd, const char *path, mode_t mode)
{
	return fault_hits() ? -1 : mkfifoat(dirfd, path, mode);
}

int sys_mknodat(int dirfd, const char *path, mode_t mode, dev_t dev)
{
	return fault_hits() ? -1 : mknodat(dirfd, path, mode, dev);
}

int sys_fchmodat(int dirfd, const char *path, mode_t mode)
{
	return fault_hits() ? -1 : fchmodat(dirfd, path, mode, 0);
}

int sys_fchmod(int fd, mode_t mode)
{
	return fault_hits() ? -1 : fchmod(fd, mode);
}

int sys_fchownat(int dirfd, const char *path, uid_t uid, gid_t gid)
{
	return fault_hits() ? -1 : fchownat(dirfd, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}

int sys_fremovexattr(int fd, const char *name)
{
	return fault_hits() ? -1 : fremovexattr(fd, name);
}

int sys_fsetxattr(int fd, const char *name, const void *value, size_t n)
{
	return fault_hits() ? -1 : fsetxattr(fd, name, value, n, 0);
}

int sys_fchown(int fd, uid_t uid, gid_t gid)
{
	return fault_hits() ? -1 : fchown(fd, uid, gid);
}

int sys_utimensat(int dirfd, const char *path, const struct timespec t[2], int flags)
{
	return fault_hits() ? -1 : utimensat(dirfd, path, t, flags);
}

int sys_futimens(int fd, const struct timespec t[2])
{
	return fault_hits() ? -1 : futimens(fd, t);
}

int sys_ficlone(int tofd, int fromfd)
{
	return fault_hits() ? -1 : ioctl(tofd, FICLONE, fromfd);
}

ssize_t sys_copy_file_range(int fromfd, int64_t *from, int tofd, int64_t *to, size_t n)
{
	return fault_hits() ? -1 : copy_file_range(fromfd, from, tofd, to, n, 0);
}

int sys_mark(const char *what)
{
	(void)what;
	return fault_hits() ? -1 : 0;
}
