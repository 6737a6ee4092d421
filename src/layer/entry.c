// SPDX-License-Identifier: Apache-2.0
/* A folder that gets a name: made, named, held, taken away. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>

#include "base/fs.h"
#include "base/sys.h"
#include "layer/internal.h"

struct place place_of(const char *fmt, ...)
{
	struct place p;
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(p.s, sizeof(p.s), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(p.s))
		panic("path in a folder of layers is too long");
	return p;
}

struct place place_layer(const struct layer_id *id)
{
	return place_of("layer/%s", id->hex);
}

static struct place log_of(const struct place *at)
{
	return place_of("%s/log", at->s);
}

int house_hold(struct layers *l, bool exclusive, struct err *e)
{
	if (l->house_of != getpid()) /* of a parent: the lock is its, too */
		cleanup_fd(&l->house);
	l->house_of = getpid();
	if (l->house < 0)
		l->house = sys_openat(l->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (l->house < 0)
		return err_sys(e, "open '%s/lock'", l->path);
	if (fs_flock(l->house, exclusive ? LOCK_EX : LOCK_SH) < 0)
		return err_sys(e, "lock '%s/lock'", l->path);
	return 0;
}

void house_open(struct layers *l)
{
	if (l->house >= 0 && l->house_of == getpid())
		(void)fs_flock(l->house, LOCK_UN);
}

/* removing */

/* What it takes to remove a folder of any size at once. errno where it is -1. */
static int rename_away(struct layers *l, const struct place *at, struct place *ret)
{
	enum { TRIES = 1000 };
	for (int i = 0; i < TRIES; i++) {
		*ret = place_of("tmp/gone.%ld.%u", (long)getpid(), l->serial++);
		if (sys_renameat(l->dir, at->s, l->dir, ret->s) == 0)
			return 0;
		if (errno != EEXIST && errno != ENOTEMPTY)
			break; /* else a dead process had our number */
	}
	return -1;
}

void entry_discard(struct layers *l, const struct place *tmp)
{
	struct err ignored = ERR_INIT;
	struct place gone = *tmp;
	if (strncmp(tmp->s, "tmp/gone.", 9) == 0 || rename_away(l, tmp, &gone) == 0)
		(void)l->ops->remove(l, gone.s, &ignored);
}

void entry_abandon(struct layers *l, const struct place *tmp, int lock)
{
	struct place log = log_of(tmp);
	if (fs_is_still(l->dir, log.s, lock)) /* else it is another one's by now */
		entry_discard(l, tmp);
}

int entry_unname(struct layers *l, const struct place *at, struct place *ret, struct err *e)
{
	struct place log = log_of(at);
	auto_fd fd = openat(l->dir, log.s, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno != ENOENT)
		return err_sys(e, "open '%s/%s'", l->path, log.s);
	if (fd >= 0 && fs_flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 0 : err_sys(e, "lock '%s/%s'", l->path, log.s);
	if (rename_away(l, at, ret) == 0)
		return 1;
	return errno == ENOENT ? 0 : err_sys(e, "remove '%s/%s'", l->path, at->s);
}

int entry_is_free(struct layers *l, const struct place *at, struct err *e)
{
	struct place log = log_of(at);
	auto_fd fd = openat(l->dir, log.s, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 1 : err_sys(e, "open '%s/%s'", l->path, log.s);
	if (fs_flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 1;
	return errno == EWOULDBLOCK ? 0 : err_sys(e, "lock '%s/%s'", l->path, log.s);
}

int place_take_away(struct layers *l, const struct place *at, struct place *ret, struct err *e)
{
	return rename_away(l, at, ret) < 0 ? err_sys(e, "remove '%s/%s'", l->path, at->s) : 0;
}

/* One entry of tmp/, unless somebody is at work in it. */
static void clear_one(struct layers *l, const char *name)
{
	struct place at = place_of("tmp/%.255s", name), log = log_of(&at);
	if (strncmp(name, "gone.", 5) == 0) {
		entry_discard(l, &at);
		return;
	}
	/* one who has just made the folder has no log in it yet: it is made here, and he finds that his folder is gone */
	auto_fd fd = sys_openat(l->dir, log.s, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 && errno != ENOTDIR)
		return;
	if (fd >= 0 && (fs_flock(fd, LOCK_EX | LOCK_NB) < 0 || !fs_is_still(l->dir, log.s, fd)))
		return;
	entry_discard(l, &at);
}

void tmp_clear(struct layers *l)
{
	auto_fs_list list = {0};
	struct err ignored = ERR_INIT;
	if (l->cleared || fs_list(l->dir, "tmp", FOLDER_MAX, &list, &ignored) < 0)
		return;
	l->cleared = true;
	for (size_t i = 0; i < list.n; i++)
		clear_one(l, list.name[i]);
}

/* making */

/* 1 made and locked, 0 to be tried again, -1. */
static int try_make(struct layers *l, const struct place *tmp, int *ret_lock, struct err *e)
{
	struct place log = log_of(tmp);
	bool mine = sys_mkdirat(l->dir, tmp->s, 0755) == 0;
	if (!mine && errno != EEXIST)
		return err_sys(e, "make folder '%s/%s'", l->path, tmp->s);
	auto_fd fd = sys_openat(l->dir, log.s, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0 && errno == ENOENT)
		return 0; /* it was cleared away, or has got its name */
	if (fd < 0)
		return err_sys(e, "create '%s/%s'", l->path, log.s);
	if (fs_flock(fd, LOCK_EX | (mine ? 0 : LOCK_NB)) < 0)
		return errno == EWOULDBLOCK
			       ? err_new(e, ERR_BUSY, "'%s/%s' is made by another process", l->path, tmp->s)
			       : err_sys(e, "lock '%s/%s'", l->path, log.s);
	if (!fs_is_still(l->dir, log.s, fd))
		return 0;
	if (!mine) { /* its maker is dead */
		entry_discard(l, tmp);
		return 0;
	}
	*ret_lock = steal_fd(&fd);
	return 1;
}

int entry_make(struct layers *l, const struct place *tmp, int *ret_lock, struct err *e)
{
	enum { TRIES = 1000 };
	for (int i = 0; i < TRIES; i++) {
		int r = try_make(l, tmp, ret_lock, e);
		if (r != 0)
			return r < 0 ? -1 : 0;
	}
	return err_new(e, ERR_BUSY, "'%s/%s' is taken away whenever it is made; is another process at work there?",
		       l->path, tmp->s);
}

/* naming */

/* A further name of `log`, where the file system has such: that takes no inode. */
static int mark_make(struct layers *l, const struct place *log, const char *mark, struct place *ret, struct err *e)
{
	enum { TRIES = 1000 };
	for (int i = 0; i < TRIES; i++) {
		*ret = place_of("unsynced/%s.%s.%ld.%u", l->boot, mark, (long)getpid(), l->serial++);
		if (sys_linkat(l->dir, log->s, l->dir, ret->s, 0) == 0)
			return 0;
		auto_fd fd = sys_openat(l->dir, ret->s, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd >= 0)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return err_sys(e, "create '%s/%s'", l->path, ret->s);
}

bool mark_parse(struct str name, struct str *ret_boot, struct str *ret_mark)
{
	if (!str_take_until(&name, '.', ret_boot))
		return false;
	for (int i = 0; i < 2; i++) {
		uint64_t n;
		ptrdiff_t dot = str_rfind(name, '.');
		if (dot <= 0 || !str_to_u64(str_skip(name, (size_t)dot + 1), &n))
			return false;
		name = str_head(name, (size_t)dot);
	}
	*ret_mark = name;
	return true;
}

static int name_it(struct layers *l, const struct place *tmp, int lock, const struct place *to, struct err *e)
{
	struct place log = log_of(tmp);
	if (!fs_is_still(l->dir, log.s, lock))
		errno = ENOENT; /* somebody took it for a dead one's: never give another one's work this name */
	else if (sys_renameat(l->dir, tmp->s, l->dir, to->s) == 0)
		return 1;
	if (errno == EEXIST || errno == ENOTEMPTY)
		return 0;
	return err_sys(e, "give '%s/%s' its name '%s'", l->path, tmp->s, to->s);
}

int entry_name(struct layers *l, const struct place *tmp, int lock, const struct place *to, const char *mark,
	       struct err *e)
{
	struct place m = {""}, log = log_of(tmp);
	if (*l->boot && mark_make(l, &log, mark, &m, e) < 0)
		return -1;
	if (!*l->boot && sys_syncfs(l->dir) < 0)
		return err_sys(e, "sync '%s'", l->path);
	int r = name_it(l, tmp, lock, to, e);
	if (r > 0)
		l->made = true;
	else if (*m.s)
		(void)sys_unlinkat(l->dir, m.s, 0);
	return r;
}

int entry_hold(struct layers *l, const struct place *at, struct err *e)
{
	struct place log = log_of(at);
	for (;;) {
		auto_fd fd = openat(l->dir, log.s, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			return err_sys(e, "open '%s/%s'", l->path, log.s);
		if (fs_flock(fd, LOCK_SH) < 0)
			return err_sys(e, "lock '%s/%s'", l->path, log.s);
		if (fs_is_still(l->dir, log.s, fd))
			return steal_fd(&fd);
	}
}
