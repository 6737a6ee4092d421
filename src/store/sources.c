// SPDX-License-Identifier: Apache-2.0
/* Archives of sources, which are unpacked for one use and kept nowhere. */
#include <fcntl.h>

#include "store/tree.h"

int store_unpack_into(int dirfd, int fd, const struct store_limits *limits, const char *what, struct err *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return err_sys(e, "read '%s'", what);
	struct istream *tar = istream_unpack_any(istream_fd(copy, what), e);
	if (!tar)
		return err_ctx(e, "unpack '%s'", what);
	struct tree t;
	tree_init(&t, dirfd, limits ? limits : &STORE_LIMITS_DEFAULT, what);
	int rc = tree_add_tar(&t, tar, e) < 0 || tree_check_links(&t, e) < 0 ? -1 : 0;
	tree_release(&t);
	return rc;
}
