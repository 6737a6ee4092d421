// SPDX-License-Identifier: Apache-2.0
/*
 * Work on trees whose files may belong to other ids. Root may do everything by itself. Another user is tried first, because mostly all files
 * are his own; what the kernel forbids him is then done, or gone on with, in a sandbox, whose root may do it.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/fs.h"
#include "base/sys.h"
#include "layer/internal.h"

struct job {
	int (*run)(int dirfd, const struct job *j, uint64_t *ret, struct err *e);
	const char *path, *to;
	const char *const *lower;
	size_t n_lower;
	uid_t uid;
	gid_t gid;
	bool each_name, below;
	int answer; /* pipe, in the sandbox */
};

static int run_in_sandbox(void *ctx, struct err *e)
{
	const struct job *j = ctx;
	uint64_t n = 0;
	auto_fd root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, "open the folder of layers");
	if (j->run(root, j, &n, e) < 0)
		return -1;
	return write(j->answer, &n, sizeof(n)) == sizeof(n) ? 0 : err_sys(e, "answer"); /* style: allow sys: a pipe */
}

static int in_sandbox(struct layers *l, struct job *j, uint64_t *ret, struct err *e)
{
	int fd[2];
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	o.root = (struct sandbox_root){.dir = l->path};
	if (pipe2(fd, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	auto_fd reader = fd[0], writer = fd[1];
	j->answer = writer;
	if (sandbox_call(&o, &writer, 1, run_in_sandbox, j, e) < 0)
		return -1;
	if (ret && read(reader, ret, sizeof(*ret)) != sizeof(*ret))
		return err_sys(e, "read the answer of a sandbox");
	return 0;
}

static int do_it(struct layers *l, struct job *j, uint64_t *ret, struct err *e)
{
	uint64_t unused;
	struct err forbidden = ERR_INIT;
	if (j->run(l->dir, j, ret ? ret : &unused, &forbidden) == 0)
		return 0;
	if (geteuid() != 0 && (forbidden.sys == EACCES || forbidden.sys == EPERM))
		return in_sandbox(l, j, ret, e);
	*e = forbidden;
	return -1;
}

static int run_remove(int dirfd, const struct job *j, uint64_t *ret, struct err *e)
{
	(void)ret;
	return fs_remove_tree(dirfd, j->path, e);
}

int inside_remove(struct layers *l, const char *path, struct err *e)
{
	struct job j = {.run = run_remove, .path = path};
	return do_it(l, &j, NULL, e);
}

static int run_bytes(int dirfd, const struct job *j, uint64_t *ret, struct err *e)
{
	return tree_bytes(dirfd, j->path, j->each_name, ret, e);
}

int inside_bytes(struct layers *l, const char *path, bool each_name, uint64_t *ret, struct err *e)
{
	struct job j = {.run = run_bytes, .path = path, .each_name = each_name};
	return do_it(l, &j, ret, e);
}

/* What a try before it has left is in the way. */
static int run_copy(int dirfd, const struct job *j, uint64_t *ret, struct err *e)
{
	(void)ret;
	return fs_remove_tree(dirfd, j->to, e) < 0 ? -1 : tree_copy(dirfd, j->path, j->to, e);
}

int inside_copy(struct layers *l, const char *from, const char *to, struct err *e)
{
	struct job j = {.run = run_copy, .path = from, .to = to};
	return do_it(l, &j, NULL, e);
}

static int run_copy_meta(int dirfd, const struct job *j, uint64_t *ret, struct err *e)
{
	(void)ret;
	return tree_copy_meta(dirfd, j->path, j->to, e);
}

int inside_copy_meta(struct layers *l, const char *from, const char *to, struct err *e)
{
	struct job j = {.run = run_copy_meta, .path = from, .to = to};
	return do_it(l, &j, NULL, e);
}

static int run_merge(int dirfd, const struct job *j, uint64_t *ret, struct err *e)
{
	(void)ret;
	return fs_remove_tree(dirfd, j->to, e) < 0 ? -1
						   : merge_folders(dirfd, j->lower, j->n_lower, j->below, j->to, e);
}

int inside_merge(struct layers *l, const char *const *lower, size_t n, bool below, const char *to, struct err *e)
{
	struct job j = {.run = run_merge, .lower = lower, .n_lower = n, .below = below, .to = to};
	return do_it(l, &j, NULL, e);
}

static int run_chown(int dirfd, const struct job *j, uint64_t *ret, struct err *e)
{
	(void)ret;
	return sys_fchownat(dirfd, j->path, j->uid, j->gid) < 0 ? err_sys(e, "set the owner of '%s'", j->path) : 0;
}

/* The ids are the sandbox's: another user's are others outside. Where he has only one, the folder is that one's in there too. */
int inside_chown(struct layers *l, const char *path, uid_t uid, gid_t gid, struct err *e)
{
	struct job j = {.run = run_chown, .path = path, .uid = uid, .gid = gid};
	struct err one_id = ERR_INIT;
	if (geteuid() == 0)
		return do_it(l, &j, NULL, e);
	if ((uid == 0 && gid == 0) || in_sandbox(l, &j, NULL, &one_id) == 0 || one_id.sys == EINVAL ||
	    one_id.sys == EPERM)
		return 0;
	*e = one_id;
	return -1;
}
