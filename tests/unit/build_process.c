// SPDX-License-Identifier: Apache-2.0
/* What a process that outlives who started it keeps of him. */
#include <fcntl.h>
#include <sys/wait.h>

#include "build/process.h"
#include "lib/test.h"

/* Open in a child that is alone: a bit for each of fds. */
static int kept(const int *fds, size_t n)
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		int bits = 0;
		process_alone();
		for (size_t i = 0; i < n; i++)
			bits |= (fcntl(fds[i], F_GETFD) >= 0) << i;
		_exit(bits);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(descriptors_of_who_called_us_are_closed)
{
	int fds[2];
	CHECK(pipe(fds) == 0);
	CHECK(dup2(fds[1], 100) == 100 && dup2(fds[1], 255) == 255 && dup2(fds[1], 256) == 256 &&
	      dup2(fds[1], 900) == 900);
	CHECK_INT(kept((const int[]){fds[1], 100, 255, 256, 900}, 5), 0);
}

TEST(our_own_are_kept)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && dup3(fd, 100, O_CLOEXEC) == 100 && dup3(fd, 900, O_CLOEXEC) == 900);
	CHECK(dup2(fd, 500) == 500);
	CHECK_INT(kept((const int[]){fd, 100, 900, 500, 0, 1, 2}, 7), 0x77);
}
