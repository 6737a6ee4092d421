// SPDX-License-Identifier: Apache-2.0
/*
 * wallclock: for LD_PRELOAD. A program whose wall clock is WALLCLOCK seconds (which may be negative) from this machine's; or as many as the
 * file WALLCLOCK_FILE says just then, so that the clock of a program that runs can be set. Clocks that count from the boot
 * are turned by unshare(1) --time.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t shift(void)
{
	const char *s = getenv("WALLCLOCK"), *file = getenv("WALLCLOCK_FILE");
	char text[32] = "";
	int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		close(fd);
		s = text;
	}
	return s ? (time_t)strtoll(s, NULL, 10) : 0;
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);
	if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
		t->tv_sec += shift();
	return rc;
}

__attribute__((visibility("default"))) int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec t;
	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &t) < 0)
		return -1;
	*tv = (struct timeval){.tv_sec = t.tv_sec, .tv_usec = t.tv_nsec / 1000};
	return 0;
}

__attribute__((visibility("default"))) time_t time(time_t *ret)
{
	struct timespec t;
	if (clock_gettime(CLOCK_REALTIME, &t) < 0)
		return (time_t)-1;
	if (ret)
		*ret = t.tv_sec;
	return t.tv_sec;
}
