// SPDX-License-Identifier: Apache-2.0
/* Archives of sources, which are unpacked for one use and kept nowhere. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "store/tree.h"

static bool is_zip(int fd)
{
	char head[4];
	off_t at = lseek(fd, 0, SEEK_CUR);
	return at == 0 && pread(fd, head, sizeof(head), 0) == 4 && memcmp(head, "PK\3\4", 4) == 0;
}

static int add_packed_tar(struct tree *t, int fd, struct err *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return err_sys(e, "read '%s'", t->what);
	struct istream *tar = istream_unpack_any(istream_fd(copy, t->what), e);
	return tar ? tree_add_tar(t, tar, e) : err_ctx(e, "unpack '%s'", t->what);
}

int store_unpack_into(int dirfd, int fd, const struct store_limits *limits, const char *what, struct err *e)
{
	struct tree t;
	tree_init(&t, dirfd, limits ? limits : &STORE_LIMITS_DEFAULT, what);
	int rc = is_zip(fd) ? tree_add_zip(&t, fd, e) : add_packed_tar(&t, fd, e);
	rc = rc < 0 ? -1 : tree_check_links(&t, e);
	tree_release(&t);
	return rc;
}
