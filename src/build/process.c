// SPDX-License-Identifier: Apache-2.0
#include "build/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

union fd_room {
	struct cmsghdr head;
	char room[CMSG_SPACE(sizeof(int))];
};

int fd_send(int socket_fd, int fd)
{
	union fd_room u = {0};
	char byte = 0;
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof(u.room)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	ssize_t n;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	do
		n = sendmsg(socket_fd, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : -1;
}

ssize_t fd_receive(int socket_fd, void *p, size_t size, int *ret_fd)
{
	union fd_room u = {0};
	struct iovec v = {p, size};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = u.room, .msg_controllen = sizeof(u.room)};
	ssize_t n;
	*ret_fd = -1;
	do
		n = recvmsg(socket_fd, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	return n;
}

static void close_unmarked(int fd)
{
	int flags = fcntl(fd, F_GETFD);
	if (fd > 2 && flags >= 0 && !(flags & FD_CLOEXEC))
		close(fd);
}

/* Descriptors that were inherited from who called us, a shell's lock among them, are not ours to keep either: all of Slipway's own are marked
 * to be closed on exec. They are spread among them, so no range can be closed. */
static void close_foreign(void)
{
	enum { FDS_WITHOUT_PROC = 65536 };
	DIR *d = opendir("/proc/self/fd");
	struct dirent *entry;
	for (int fd = 3; !d && fd < FDS_WITHOUT_PROC; fd++)
		close_unmarked(fd);
	while (d && (entry = readdir(d))) {
		uint64_t fd;
		if (str_to_u64(str_c(entry->d_name), &fd) && fd <= INT_MAX)
			close_unmarked((int)fd);
	}
	if (d)
		closedir(d);
}

void process_alone(void)
{
	sigset_t none;
	setsid();
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3 && null_fd >= 0; fd++)
		dup2(null_fd, fd);
	close_foreign();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}
