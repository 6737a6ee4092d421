// SPDX-License-Identifier: Apache-2.0
/* HOME of a user, as the root's own /etc/passwd has it. In pid 1, which may not allocate, on hostile ground. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "sandbox/box.h"

enum { LINES_MAX = 20000, LINE_MAX_BYTES = 1024 };

/* "name:x:UID:gid:comment:HOME:shell" of this user, with an absolute folder. */
static bool is_line_of(struct str line, uid_t uid, struct str *ret_home)
{
	struct str field, id;
	uint64_t n;
	for (int i = 0; i < 2; i++)
		if (!str_take_until(&line, ':', &field))
			return false;
	if (!str_take_until(&line, ':', &id) || !str_take_u64(&id, &n) || id.n || n != uid)
		return false;
	for (int i = 0; i < 2; i++)
		if (!str_take_until(&line, ':', &field))
			return false;
	if (!str_take_until(&line, ':', ret_home))
		*ret_home = line;
	return ret_home->n > 0 && ret_home->p[0] == '/' && ret_home->n < BOX_HOME_MAX;
}

/* The next line of fd in buf, of which *used bytes were taken and *n are there; what is too long is left out. */
static bool next_line(int fd, char buf[LINE_MAX_BYTES], size_t *used, size_t *n, struct str *ret)
{
	bool skip = false;
	for (;;) {
		struct str rest = str_of(buf + *used, *n - *used);
		bool whole = str_take_until(&rest, '\n', ret);
		if (whole)
			*used = *n - rest.n;
		if (whole && !skip)
			return true;
		skip = skip && !whole;
		if (whole)
			continue;
		if (rest.n == LINE_MAX_BYTES || skip) {
			skip = true;
			rest.n = 0;
		}
		memmove(buf, rest.p, rest.n);
		ssize_t got = read(fd, buf + rest.n, LINE_MAX_BYTES - rest.n);
		*used = 0;
		*n = rest.n + (got > 0 ? (size_t)got : 0);
		if (got <= 0) {
			*ret = str_of(buf, *n);
			*used = *n;
			return rest.n > 0;
		}
	}
}

void box_home(uid_t uid, char ret[BOX_HOME_MAX])
{
	char buf[LINE_MAX_BYTES];
	size_t used = 0, n = 0, lines = 0;
	struct str line, home;
	memcpy(ret, "/", 2);
	auto_fd fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	while (fd >= 0 && lines++ < LINES_MAX && next_line(fd, buf, &used, &n, &line)) {
		if (is_line_of(line, uid, &home)) {
			memcpy(ret, home.p, home.n);
			ret[home.n] = '\0';
			return;
		}
	}
}
