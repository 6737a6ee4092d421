// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/sys.h"

enum { BLOCK = 64 << 10, RANGE_MAX = 1 << 30 };

struct copying {
	int to, from;
	const char *name;
	bool by_hand; /* the kernel does not copy between these two */
};

static int write_at(const struct copying *c, const char *p, size_t n, int64_t at, struct err *e)
{
	while (n > 0) {
		ssize_t done = sys_pwrite(c->to, p, n, at);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_sys(e, "write '%s'", c->name);
		p += done;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

/* 1: the file ends before `end`. */
static int copy_by_hand(const struct copying *c, int64_t at, int64_t end, struct err *e)
{
	auto_free char *block = xmalloc(BLOCK);
	while (at < end) {
		ssize_t n = pread(c->from, block, end - at < BLOCK ? (size_t)(end - at) : BLOCK, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%s'", c->name);
		if (n == 0)
			return 1;
		if (write_at(c, block, (size_t)n, at, e) < 0)
			return -1;
		at += n;
	}
	return 0;
}

/* Other file systems, those that cannot, files with flags that forbid it: what is wrong with a file itself, writing by hand tells. */
static bool is_by_hand(int errnum)
{
	return errnum == EXDEV || errnum == EINVAL || errnum == EOPNOTSUPP || errnum == ENOSYS || errnum == EPERM ||
	       errnum == ETXTBSY;
}

static int copy_range(struct copying *c, int64_t at, int64_t end, struct err *e)
{
	int64_t in = at, out = at;
	while (in < end && !c->by_hand) {
		ssize_t n = sys_copy_file_range(c->from, &in, c->to, &out,
						end - in < RANGE_MAX ? (size_t)(end - in) : RANGE_MAX);
		if (n == 0)
			return 1;
		if (n > 0 || errno == EINTR)
			continue;
		if (!is_by_hand(errno))
			return err_sys(e, "copy '%s'", c->name);
		c->by_hand = true;
	}
	return in < end ? copy_by_hand(c, in, end, e) : 0;
}

/* Where the next bytes that are no hole begin and end; `size` where there are none. */
static void next_data(int from, int64_t size, int64_t *at, int64_t *ret_end)
{
	off_t data = lseek(from, *at, SEEK_DATA);
	if (data >= 0)
		*at = data;
	else if (errno == ENXIO)
		*at = size;
	off_t hole = *at < size ? lseek(from, *at, SEEK_HOLE) : -1;
	*ret_end = hole > *at && hole < size ? hole : size;
}

int fs_copy_bytes(int to, int from, uint64_t size_bytes, const char *name, struct err *e)
{
	struct copying c = {.to = to, .from = from, .name = name, .by_hand = size_bytes <= BLOCK};
	int64_t size = (int64_t)size_bytes, at = 0, end = size;
	if (c.by_hand) /* no call more than needed */
		return copy_by_hand(&c, 0, size, e) < 0 ? -1 : 0;
	for (; next_data(from, size, &at, &end), at < size; at = end) {
		int rc = copy_range(&c, at, end, e);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	struct stat st; /* a hole at the end has no bytes that make the file so long */
	if (fstat(to, &st) < 0 || (st.st_size < size && sys_ftruncate(to, size) < 0))
		return err_sys(e, "copy '%s'", name);
	return 0;
}
