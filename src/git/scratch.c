// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "base/fs.h"
#include "base/sys.h"
#include "git/git.h"

enum { PLACES_MAX = 100000, TRIES = 10000 };

/*
 * CACHE_DIR/tmp/N.lock is held locked by whoever works in CACHE_DIR/tmp/N. A lock that can be had is nobody's: its place is removed, then the
 * lock. Between making the lock and having it another process may take it for such a leftover: who has it looks whether the name is still
 * that file.
 */

static void sweep(int dir)
{
	auto_fs_list l = {0};
	struct err ignored = ERR_INIT;
	if (fs_list(dir, ".", PLACES_MAX, &l, &ignored) < 0)
		return;
	for (size_t i = 0; i < l.n; i++) {
		struct str name = str_c(l.name[i]);
		if (!str_ends(name, STR(".lock")))
			continue;
		auto_fd lock = openat(dir, l.name[i], O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0 || !fs_is_still(dir, l.name[i], lock))
			continue;
		auto_free char *place = str_dup(str_head(name, name.n - 5));
		if (fs_remove_tree(dir, place, &ignored) == 0)
			sys_unlinkat(dir, l.name[i], 0);
	}
}

int git_scratch_open(const char *cache_dir, struct git_scratch *ret, struct err *e)
{
	auto_free char *tmp = xasprintf("%s/tmp", cache_dir);
	auto_fd dir = fs_open_dir_make(AT_FDCWD, tmp, e);
	if (dir < 0)
		return -1;
	sweep(dir);
	for (unsigned i = 0; i < TRIES; i++) {
		char name[40];
		snprintf(name, sizeof(name), "%u.lock", i);
		auto_fd lock = sys_openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (lock < 0 && errno != EEXIST)
			return err_sys(e, "make '%s/%s'", tmp, name);
		if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0 || !fs_is_still(dir, name, lock))
			continue;
		*ret = (struct git_scratch){.path = xasprintf("%s/%u", tmp, i),
					    .lock_path = xasprintf("%s/%s", tmp, name),
					    .lock = steal_fd(&lock)};
		return 0;
	}
	return err_new(e, ERR_LIMIT, "'%s' has no free place", tmp);
}

void git_scratch_release(struct git_scratch *s)
{
	struct err ignored = ERR_INIT;
	if (s->path && fs_remove_tree(AT_FDCWD, s->path, &ignored) == 0)
		sys_unlinkat(AT_FDCWD, s->lock_path, 0);
	cleanup_fd(&s->lock);
	free(s->path);
	free(s->lock_path);
	*s = GIT_SCRATCH_INIT;
}
