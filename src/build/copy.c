// SPDX-License-Identifier: Apache-2.0
#include "build/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fs.h"
#include "base/sys.h"
#include "build/process.h"

static struct str last_name(struct str path)
{
	ptrdiff_t slash = str_rfind(path, '/');
	return slash < 0 ? path : str_skip(path, (size_t)slash + 1);
}

struct str copy_place(const struct source *s, const struct source_item *item, const struct source_entry *f, bool into,
		      struct arena *a)
{
	struct str root = s->entries[item->first].path;
	struct str rest = str_skip(f->path, root.n);
	struct str name = into ? last_name(root) : STR("");
	if (rest.n && rest.p[0] == '/')
		rest = str_skip(rest, 1);
	return str_c(arena_printf(a, "%.*s%s%.*s", STR_ARG(name), name.n && rest.n ? "/" : "", STR_ARG(rest)));
}

/* -- from the one process to the other: a file, or what went wrong ----------------------------------------------------- */

int copy_pair(int ret[2], struct err *e)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0 ? err_sys(e, "make a pair of sockets")
									      : 0;
}

static bool has_bytes(const struct source_entry *f)
{
	return f->kind == SOURCE_FILE && f->size > 0;
}

void copy_feed(const struct source *s, int dir_fd, int to_fd)
{
	for (size_t i = 0; i < s->n; i++) {
		struct err e = ERR_INIT;
		if (!has_bytes(&s->entries[i]))
			continue;
		auto_fd fd = source_entry_open(dir_fd, &s->entries[i], &e);
		if (fd < 0)
			(void)send(to_fd, &e, sizeof(e), MSG_NOSIGNAL);
		if (fd < 0 || fd_send(to_fd, fd) < 0)
			return;
	}
}

static int next_file(const struct copy *c, const struct source_entry *f, struct err *e)
{
	struct err theirs;
	auto_fd fd = -1;
	ssize_t n = fd_receive(c->feed_fd, &theirs, sizeof(theirs), &fd);
	if (n == (ssize_t)sizeof(theirs)) {
		theirs.msg[sizeof(theirs.msg) - 1] = '\0';
		*e = theirs;
		return -1;
	}
	if (fd < 0)
		return err_new(e, ERR_FAILED, "'%s': the process that reads the source was killed", f->path.p);
	return source_entry_check(fd, f, e) < 0 ? -1 : steal_fd(&fd);
}

/* -- folders ---------------------------------------------------------------------------------------------------------- */

static int give_to_user(const struct copy *c, int fd, const char *what, mode_t mode, struct err *e)
{
	if (sys_fchown(fd, c->uid, c->gid) < 0)
		return err_sys(e, "give '%s' to user %u", what, c->uid);
	return sys_fchmod(fd, mode) < 0 ? err_sys(e, "mode of '%s'", what) : 0;
}

static int open_folder(int at_fd, const char *name, int flags)
{
	return openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
}

/* One folder on the way to dst; links are gone through. */
static int way(const struct copy *c, int at_fd, const char *name, struct err *e)
{
	auto_fd fd = open_folder(at_fd, name, 0);
	if (fd >= 0)
		return steal_fd(&fd);
	if (errno != ENOENT)
		return err_sys(e, "'%s' of '%.*s'", name, STR_ARG(c->dst));
	if (sys_mkdirat(at_fd, name, 0755) < 0)
		return err_sys(e, "make folder '%s' of '%.*s'", name, STR_ARG(c->dst));
	fd = open_folder(at_fd, name, O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, "'%s' of '%.*s'", name, STR_ARG(c->dst));
	return give_to_user(c, fd, name, 0755, e) < 0 ? -1 : steal_fd(&fd);
}

/* The folder that dst is in, with dst's own name in last; with `into` dst itself, and last "." */
static int way_to(const struct copy *c, char last[NAME_MAX + 1], struct err *e)
{
	struct str rest = c->dst, name;
	auto_fd at = open_folder(AT_FDCWD, "/", 0);
	if (at < 0)
		return err_sys(e, "open '/'");
	last[0] = '\0';
	while (rest.n) {
		if (!str_take_until(&rest, '/', &name)) {
			name = rest;
			rest = STR_NONE;
		}
		if (!name.n || str_eq_c(name, "."))
			continue;
		if (name.n > NAME_MAX)
			return err_new(e, ERR_LIMIT, "a name of %zu bytes in '%.*s'", name.n, STR_ARG(c->dst));
		if (last[0]) {
			int next = way(c, at, last, e);
			if (next < 0)
				return -1;
			cleanup_fd(&at);
			at = next;
		}
		memcpy(last, name.p, name.n);
		last[name.n] = '\0';
	}
	if (c->into && last[0]) {
		int next = way(c, at, last, e);
		if (next < 0)
			return -1;
		cleanup_fd(&at);
		at = next;
	}
	if (c->into || !last[0])
		memcpy(last, ".", 2);
	return steal_fd(&at);
}

/* -- what has the name already goes away -------------------------------------------------------------------------------- */

static int clear_way(int at_fd, const char *name, const struct source_entry *f, struct err *e)
{
	if (sys_unlinkat(at_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_sys(e, "replace '%s'", name);
	if (sys_unlinkat(at_fd, name, AT_REMOVEDIR) == 0)
		return 0;
	if (errno == ENOTEMPTY || errno == EEXIST)
		return err_new(e, ERR_EXISTS, "'%s' is not copied over the folder of that name, which is not empty",
			       f->path.p);
	return err_sys(e, "replace '%s'", name);
}

static void times_of(const struct source_entry *f, struct timespec t[2])
{
	t[0] = t[1] = f->mtime;
}

/* -- files and links ------------------------------------------------------------------------------------------------------ */

static int put_file(const struct copy *c, const struct source_entry *f, int at_fd, const char *name, struct err *e)
{
	enum { FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC };
	struct timespec t[2];
	auto_fd from = has_bytes(f) ? next_file(c, f, e) : -1;
	if (from < 0 && has_bytes(f))
		return -1;
	auto_fd to = sys_openat(at_fd, name, FLAGS, 0600);
	if (to < 0 && errno == EEXIST) {
		if (clear_way(at_fd, name, f, e) < 0)
			return -1;
		to = sys_openat(at_fd, name, FLAGS, 0600);
	}
	if (to < 0)
		return err_sys(e, "write '%s'", f->path.p);
	times_of(f, t);
	if ((from >= 0 && (fs_copy_bytes(to, from, f->size, f->path.p, e) < 0 || source_entry_check(from, f, e) < 0)) ||
	    give_to_user(c, to, f->path.p, f->exec ? 0755 : 0644, e) < 0)
		return -1;
	return sys_futimens(to, t) < 0 ? err_sys(e, "time of '%s'", f->path.p) : 0;
}

static int put_link(const struct copy *c, const struct source_entry *f, int at_fd, const char *name, struct err *e)
{
	struct timespec t[2];
	int rc = sys_symlinkat(f->target.p, at_fd, name);
	if (rc < 0 && errno == EEXIST) {
		if (clear_way(at_fd, name, f, e) < 0)
			return -1;
		rc = sys_symlinkat(f->target.p, at_fd, name);
	}
	if (rc < 0)
		return err_sys(e, "link '%s'", f->path.p);
	times_of(f, t);
	if (sys_fchownat(at_fd, name, c->uid, c->gid) < 0)
		return err_sys(e, "give '%s' to user %u", f->path.p, c->uid);
	return sys_utimensat(at_fd, name, t, AT_SYMLINK_NOFOLLOW) < 0 ? err_sys(e, "time of '%s'", f->path.p) : 0;
}

/* -- trees ------------------------------------------------------------------------------------------------------------------ */

static int put_one(const struct copy *c, size_t *i, size_t end, int at_fd, const char *name, struct err *e);

static int put_dir(const struct copy *c, size_t *i, size_t end, int at_fd, const char *name, struct err *e)
{
	const struct source_entry *v = c->source->entries, *self = &v[*i];
	struct timespec t[2];
	if (strcmp(name, ".") != 0 && sys_mkdirat(at_fd, name, 0755) < 0) {
		if (errno != EEXIST)
			return err_sys(e, "make folder '%s'", self->path.p);
		auto_fd there = open_folder(at_fd, name, O_NOFOLLOW);
		if (there < 0 && (clear_way(at_fd, name, self, e) < 0 || sys_mkdirat(at_fd, name, 0755) < 0))
			return err_sys(e, "make folder '%s'", self->path.p);
	}
	auto_fd fd = open_folder(at_fd, name, O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, "open '%s'", self->path.p);
	for ((*i)++; *i < end && v[*i].depth > self->depth;) {
		const char *child = last_name(v[*i].path).p;
		if (put_one(c, i, end, fd, child, e) < 0)
			return -1;
	}
	times_of(self, t);
	if (give_to_user(c, fd, self->path.p, 0755, e) < 0)
		return -1;
	return sys_futimens(fd, t) < 0 ? err_sys(e, "time of '%s'", self->path.p) : 0;
}

static int put_one(const struct copy *c, size_t *i, size_t end, int at_fd, const char *name, struct err *e)
{
	const struct source_entry *f = &c->source->entries[*i];
	if (f->kind == SOURCE_DIR)
		return put_dir(c, i, end, at_fd, name, e);
	(*i)++;
	return f->kind == SOURCE_LINK ? put_link(c, f, at_fd, name, e) : put_file(c, f, at_fd, name, e);
}

int copy_write(const struct copy *c, struct err *e)
{
	char last[NAME_MAX + 1];
	auto_fd at = way_to(c, last, e);
	if (at < 0)
		return -1;
	for (size_t k = 0; k < c->source->n_items; k++) {
		const struct source_item *item = &c->source->items[k];
		size_t i = item->first;
		struct str own = last_name(c->source->entries[i].path);
		if (put_one(c, &i, i + item->n, at, c->into && own.n ? own.p : last, e) < 0)
			return -1;
	}
	return 0;
}
