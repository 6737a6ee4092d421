// SPDX-License-Identifier: Apache-2.0
/* What a sandbox has on disk, seen from its pid 1, which is hostile ground: names that are links are not followed, depth is bounded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/box.h"

enum { DEPTH_MAX = 512 };

struct walk {
	uint64_t bytes, limit;
	const struct timespec *since; /* NULL: all counts */
	bool cut;		      /* there is more than could be walked */
};

/* A command cannot set the time of a file's last change. */
static bool is_since(const struct timespec *t, const struct timespec *since)
{
	return t->tv_sec > since->tv_sec || (t->tv_sec == since->tv_sec && t->tv_nsec > since->tv_nsec);
}

/* A file of several names counts its share for each. */
static void add(struct walk *w, const struct stat *st)
{
	uint64_t used = (uint64_t)st->st_blocks * 512;
	if (w->since && !is_since(&st->st_ctim, w->since))
		return;
	w->bytes += !S_ISDIR(st->st_mode) && st->st_nlink > 1 ? used / st->st_nlink : used;
}

static void walk_folder(struct walk *w, int dir_fd, unsigned depth)
{
	DIR *d = fdopendir(dir_fd);
	if (!d) {
		close(dir_fd);
		return;
	}
	struct dirent *entry;
	while (w->bytes <= w->limit && (entry = readdir(d))) {
		const char *name = entry->d_name;
		struct stat st;
		if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
			continue;
		if (fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		add(w, &st);
		if (!S_ISDIR(st.st_mode))
			continue;
		int sub = depth == 0 ? -1 : openat(dirfd(d), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub >= 0)
			walk_folder(w, sub, depth - 1);
		else if (depth == 0 || errno == EMFILE || errno == ENFILE)
			w->cut = true;
	}
	closedir(d);
}

uint64_t box_disk_used(const struct box_disks *d, uint64_t limit_bytes)
{
	struct walk w = {.limit = limit_bytes};
	for (size_t i = 0; i < d->n && w.bytes <= w.limit; i++) {
		int fd = openat(d->fd[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		w.since = d->is_new[i] ? NULL : &d->since;
		if (fd >= 0)
			walk_folder(&w, fd, DEPTH_MAX);
	}
	return w.cut ? UINT64_MAX : w.bytes;
}
