// SPDX-License-Identifier: Apache-2.0
/*
 * A service writes to its log itself, so that it can go on writing when the supervisor is gone. Its size is therefore not bounded at every moment,
 * but looked at: what has grown too long is copied, then cut. A line that is written between the copy and the cut is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "service/internal.h"

int log_open(int dirfd, const char *name, struct err *e)
{
	auto_free char *fn = xasprintf("%s.log", name);
	int fd = sys_openat(dirfd, fn, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	return fd < 0 ? err_sys(e, "open the log '%s'", fn) : fd;
}

static int copy_from(int from, off_t at, int to, const char *name, struct err *e)
{
	char chunk[65536];
	off_t most = at + 2 * (off_t)LOG_MAX_BYTES; /* a writer that is faster than we are is not followed for ever */
	for (;;) {
		ssize_t n = at < most ? pread(from, chunk, sizeof(chunk), at) : 0;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read the log '%s'", name);
		if (n == 0)
			return 0;
		if (fs_write_all(to, chunk, (size_t)n, name, e) < 0)
			return -1;
		at += n;
	}
}

int log_rotate(int dirfd, const char *name, int fd, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "stat the log of '%s'", name);
	if (st.st_size <= LOG_MAX_BYTES)
		return 0;
	auto_free char *tmp = xasprintf("%s.log.1.tmp", name);
	auto_free char *old = xasprintf("%s.log.1", name);
	auto_fd to = sys_openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (to < 0)
		return err_sys(e, "create '%s'", tmp);
	if (copy_from(fd, st.st_size - LOG_MAX_BYTES, to, tmp, e) < 0)
		return -1;
	if (sys_renameat(dirfd, tmp, dirfd, old) < 0 || sys_ftruncate(fd, 0) < 0)
		return err_sys(e, "begin the log of '%s' anew", name);
	return 0;
}

void log_say(int fd, int64_t wall_ms, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(4096);
	va_list ap;
	clock_put_iso(&b, wall_ms);
	buf_put_c(&b, " slipway: ");
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_put_char(&b, '\n');
	(void)!write(fd, b.p, b.n); /* a log that cannot be written must not end what it tells of */
}
