// SPDX-License-Identifier: Apache-2.0
/*
 * fsdown: takes the power from a mounted file system, ext4 or xfs.
 *
 *	fsdown FOLDER plain|logflush
 *
 * From here on nothing more reaches its disk, as if the power had gone (FS_IOC_SHUTDOWN, which xfs calls GOINGDOWN): plain, with
 * what the disk has; logflush, after the journal was written, so that names are there whose data never were.
 * What is left is to unmount it, mount it again, and look.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LOG_FLUSH = 1, NO_LOG_FLUSH = 2 };

int main(int argc, char **argv)
{
	if (argc != 3 || (strcmp(argv[2], "plain") != 0 && strcmp(argv[2], "logflush") != 0)) {
		fprintf(stderr, "usage: fsdown FOLDER plain|logflush\n");
		return 2;
	}
	uint32_t how = strcmp(argv[2], "plain") == 0 ? NO_LOG_FLUSH : LOG_FLUSH;
	int fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, _IOR('X', 125, uint32_t), &how) < 0) {
		fprintf(stderr, "fsdown: '%s': %s\n", argv[1], strerror(errno));
		return 1;
	}
	close(fd);
	return 0;
}
