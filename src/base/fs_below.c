// SPDX-License-Identifier: Apache-2.0
/* Paths below a folder whose content nobody trusts: a symbolic link on the way may not lead out of it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"

/* Before Linux 5.6: no link on the way is followed at all. */
static int open_by_steps(int dir_fd, const char *path, int flags)
{
	auto_fd at = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *slash;
	while (at >= 0 && (slash = strchr(path, '/'))) {
		auto_free char *part = str_dup(str_of(path, (size_t)(slash - path)));
		int next = openat(at, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		cleanup_fd(&at);
		at = next;
		path = slash + 1;
	}
	return at < 0 ? -1 : openat(at, path, flags | O_CLOEXEC | O_NOFOLLOW);
}

int fs_open_below(int dir_fd, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int fd = -1;
	for (int i = 0; i < 8; i++) { /* EAGAIN: something was renamed meanwhile */
		fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd < 0 && (errno == ENOSYS || errno == EPERM) ? open_by_steps(dir_fd, path, flags) : fd;
}

static int open_failed(const char *path, struct err *e)
{
	return errno == EXDEV ? err_new(e, ERR_INPUT, "folder '%s' leads out of where it has to be", path)
			      : err_sys(e, "open folder '%s'", path);
}

static int make_and_open(int dir_fd, const char *path, struct err *e)
{
	int fd = fs_open_below(dir_fd, path, O_RDONLY | O_DIRECTORY);
	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : open_failed(path, e);
	struct str last;
	auto_fd parent = fs_open_parent_below(dir_fd, str_c(path), true, &last, e);
	if (parent < 0)
		return -1;
	auto_free char *name = str_dup(last);
	if (sys_mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "make folder '%s'", path);
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 ? fd : err_sys(e, "open folder '%s'", path);
}

/* Its recursion is one level a '/': paths are at most 4096 bytes. */
int fs_open_parent_below(int dir_fd, struct str path, bool make, struct str *ret_last, struct err *e)
{
	ptrdiff_t slash = str_rfind(path, '/');
	*ret_last = str_skip(path, (size_t)(slash + 1));
	if (!fs_path_is_inside(path))
		return err_new(e, ERR_INPUT, "'%.*s' is no path inside of a folder", STR_ARG(path));
	if (slash < 0) {
		int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return fd >= 0 ? fd : err_sys(e, "open the folder of '%.*s'", STR_ARG(path));
	}
	auto_free char *folder = str_dup(str_head(path, (size_t)slash));
	if (make)
		return make_and_open(dir_fd, folder, e);
	int fd = fs_open_below(dir_fd, folder, O_RDONLY | O_DIRECTORY);
	return fd >= 0 ? fd : open_failed(folder, e);
}

int fs_read_below(int dir_fd, const char *path, struct buf *b, struct err *e)
{
	auto_fd fd = fs_open_below(dir_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == EXDEV ? err_new(e, ERR_INPUT, "'%s' is a link that leads out of its folder", path)
				      : err_sys(e, "open '%s'", path);
	return fs_read_file(fd, path, b, e);
}

int fs_replace_below(int dir_fd, const char *path, const void *p, size_t n, enum fs_replace_flags flags, struct err *e)
{
	struct str last;
	auto_fd parent = fs_open_parent_below(dir_fd, str_c(path), true, &last, e);
	return parent < 0 ? -1 : fs_replace(parent, last.p, p, n, flags, e);
}
