// SPDX-License-Identifier: Apache-2.0
/* Logs of jobs, locks, and how processes wake each other. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/inotify.h>

#include "base/fs.h"
#include "base/sys.h"
#include "job/queue.h"

enum { LINE_MAX_BYTES = 8192 };

int queue_log_open(struct job_queue *q, uint64_t id, struct err *e)
{
	char path[40];
	snprintf(path, sizeof(path), "log/%llu", (unsigned long long)id);
	int fd = sys_openat(q->dir_fd, path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	return fd < 0 ? err_sys(e, "open '%s/%s'", q->dir, path) : fd;
}

static void log_put(struct job_queue *q, uint64_t id, struct str text)
{
	struct err ignored = ERR_INIT;
	auto_fd fd = queue_log_open(q, id, &ignored);
	if (fd >= 0)
		(void)fs_write_all(fd, text.p, text.n, "log", &ignored);
}

void queue_log_say(struct job_queue *q, uint64_t id, bool stamp, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	if (stamp) {
		clock_put_log(&b, queue_now(q));
		buf_put_c(&b, ": ");
	}
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	buf_put_char(&b, '\n');
	log_put(q, id, buf_str(&b));
}

bool queue_log_ends_with(struct job_queue *q, uint64_t id, const char *text)
{
	char end[LINE_MAX_BYTES];
	struct err ignored = ERR_INIT;
	auto_fd fd = queue_log_open(q, id, &ignored);
	off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
	off_t from = size > (off_t)sizeof(end) ? size - (off_t)sizeof(end) : 0;
	ssize_t n = fd < 0 ? 0 : pread(fd, end, sizeof(end), from);
	return n > 0 && str_ends(str_of(end, (size_t)n), str_c(text));
}

/* -- locks --------------------------------------------------------------------------------------------------------- */

/* Of an open file, so that they go with the last descriptor of it, and can be asked for without being taken. */
static struct flock whole_file(void)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

bool queue_is_locked(int dir_fd, const char *path)
{
	struct flock l = whole_file();
	/* for reading: closing what was open for writing would wake everybody */
	auto_fd fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd >= 0 && fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

int queue_lock(int fd, struct err *e)
{
	struct flock l = whole_file();
	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 1;
	return errno == EAGAIN || errno == EACCES ? 0 : err_sys(e, "lock");
}

/* -- waking -------------------------------------------------------------------------------------------------------- */

/* No state: whoever misses it looks again by himself. */
void queue_tell(struct job_queue *q)
{
	auto_fd fd = openat(q->dir_fd, "event", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && pwrite(fd, "\n", 1, 0) < 0) /* style: allow sys: a bell, no state */
		return;
}

static void watch(struct job_queue *q, int fd, const char *what, uint32_t mask)
{
	auto_free char *path = xasprintf("%s/%s", q->dir, what);
	(void)inotify_add_watch(fd, path, mask);
}

int queue_watch(struct job_queue *q, uint64_t id)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0)
		return -1;
	watch(q, fd, "event", IN_MODIFY);
	watch(q, fd, "worker", IN_CLOSE_WRITE);
	if (id) {
		char log[40];
		snprintf(log, sizeof(log), "log/%llu", (unsigned long long)id);
		watch(q, fd, log, IN_MODIFY | IN_CLOSE_WRITE);
	}
	return fd;
}

enum queue_watched queue_watch_read(int fd)
{
	enum queue_watched saw = 0;
	_Alignas(struct inotify_event) char room[4096];
	for (;;) {
		ssize_t n = read(fd, room, sizeof(room));
		if (n <= 0)
			return saw;
		for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= n;) {
			struct inotify_event ev;
			memcpy(&ev, room + at, sizeof(ev));
			at += (ssize_t)(sizeof(ev) + ev.len);
			if (ev.mask & (IN_CLOSE_WRITE | IN_Q_OVERFLOW))
				saw |= QUEUE_SAW_CLOSE;
			if (ev.wd == 1 || ev.mask & IN_Q_OVERFLOW) /* `event` is the first that is watched */
				saw |= QUEUE_SAW_EVENT;
		}
	}
}
