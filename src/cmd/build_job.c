// SPDX-License-Identifier: Apache-2.0
/* build --pool. */
#include "cmd/build_job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"

/* -- a copy of the context ---------------------------------------------------------------------------------------- */

struct made_folder {
	char *rel;
	struct stat st;
};
struct copy {
	struct cmd_context *c;
	const struct cmd_list *left_out;
	int to_fd;
	VEC(struct made_folder) folders;
};

static void copy_release(struct copy *k)
{
	vec_foreach(f, &k->folders)
		free(f->rel);
	vec_release(&k->folders);
	cleanup_fd(&k->to_fd);
}
#define auto_copy cleanup_with(copy_release) struct copy

static void times_of(const struct stat *st, struct timespec ret[2])
{
	ret[0] = st->st_mtim;
	ret[1] = st->st_mtim;
}

/* `st`: what was seen of it before it was opened. */
static int check_same(int fd, const struct stat *st, struct err *e)
{
	struct stat now;
	if (fstat(fd, &now) < 0)
		return err_sys(e, "look at it");
	if (now.st_dev == st->st_dev && now.st_ino == st->st_ino && now.st_size == st->st_size &&
	    now.st_mtim.tv_sec == st->st_mtim.tv_sec && now.st_mtim.tv_nsec == st->st_mtim.tv_nsec)
		return 0;
	return err_new(e, ERR_INPUT, "it was changed while it was copied; submit again when nothing writes there");
}

static int copy_file(struct copy *k, int dir_fd, const char *name, const char *rel, const struct stat *st,
		     struct err *e)
{
	struct timespec t[2];
	auto_fd from = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (from < 0)
		return err_sys(e, "open");
	auto_fd to = sys_openat(k->to_fd, rel, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(e, "make");
	times_of(st, t);
	if ((sys_ficlone(to, from) < 0 && fs_copy_bytes(to, from, (uint64_t)st->st_size, rel, e) < 0) ||
	    check_same(from, st, e) < 0)
		return -1;
	return sys_fchmod(to, st->st_mode & 07777) < 0 || sys_futimens(to, t) < 0 ? err_sys(e, "give it its mode") : 0;
}

static int copy_link(struct copy *k, int dir_fd, const char *name, const char *rel, const struct stat *st,
		     struct err *e)
{
	char target[4097];
	struct timespec t[2];
	ssize_t n = readlinkat(dir_fd, name, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(e, "read the link");
	target[n] = '\0';
	times_of(st, t);
	return sys_symlinkat(target, k->to_fd, rel) < 0 || sys_utimensat(k->to_fd, rel, t, AT_SYMLINK_NOFOLLOW) < 0
		       ? err_sys(e, "make the link")
		       : 0;
}

static bool is_left_out(const struct copy *k, struct str rel)
{
	for (size_t i = 0; k->left_out && i < k->left_out->n; i++) {
		struct str rest = rel;
		if (str_take_str(&rest, str_c(k->left_out->v[i])) && (!rest.n || rest.p[0] == '/'))
			return true;
	}
	return false;
}

static int copy_one(void *ctx, int dir_fd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct copy *k = ctx;
	int rc = 0;
	if (is_left_out(k, str_c(rel)))
		return 0;
	if (S_ISDIR(st->st_mode)) {
		rc = sys_mkdirat(k->to_fd, rel, 0700) < 0 ? err_sys(e, "make") : 0;
		vec_push(&k->folders, ((struct made_folder){xstrdup(rel), *st}));
	} else if (S_ISREG(st->st_mode)) {
		rc = copy_file(k, dir_fd, name, rel, st, e);
	} else if (S_ISLNK(st->st_mode)) {
		rc = copy_link(k, dir_fd, name, rel, st, e);
	} else {
		cmd_warn(k->c, "'%s' is neither file, folder nor link: left out of the job's copy", rel);
	}
	return rc < 0 ? err_ctx(e, "'%s'", rel) : 0;
}

/* Last, the innermost first: what is in a folder changes its time, and may need its mode. */
static int finish_folders(struct copy *k, struct err *e)
{
	for (size_t i = k->folders.n; i-- > 0;) {
		const struct made_folder *f = &k->folders.v[i];
		struct timespec t[2];
		times_of(&f->st, t);
		if (sys_fchmodat(k->to_fd, f->rel, f->st.st_mode & 07777) < 0 ||
		    sys_utimensat(k->to_fd, f->rel, t, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, "give '%s' its mode", f->rel);
	}
	return 0;
}

/* A copy below what it is of would never end. `from` is a whole path. */
static int check_outside(struct cmd_context *c, const char *from, struct err *e)
{
	auto_free char *build = realpath(arena_printf(&c->arena, "%s/build", c->root_path), NULL);
	const char *whole = build ? build : c->root_path;
	size_t n = strlen(from);
	if (strncmp(whole, from, n) != 0 || (from[n - 1] != '/' && whole[n] && whole[n] != '/'))
		return 0;
	return err_new(
		e, ERR_USAGE,
		"the root, where the job gets its copy, is in the context '%s': '%s'; take another --root, or --in-place",
		from, whole);
}

static int copy_tree(struct cmd_context *c, const char *from, const struct cmd_list *left_out, const char *to,
		     struct err *e)
{
	auto_copy k = {.c = c, .left_out = left_out, .to_fd = fs_open_dir_make(AT_FDCWD, to, e)};
	if (k.to_fd < 0 || fs_walk(AT_FDCWD, from, copy_one, &k, e) < 0 || finish_folders(&k, e) < 0)
		return err_ctx(e, "copy the context '%s'", from);
	return 0;
}

/* -- the job -------------------------------------------------------------------------------------------------------- */

struct preparing {
	struct cmd_context *c;
	const struct cmd_build_job *j;
	const struct cmd_build_what *what;
};

static int prepare(void *ctx, uint64_t id, const char *folder, struct job_spec *s, struct err *e)
{
	const struct preparing *p = ctx;
	struct arena *a = &p->c->arena;
	const char *spec = arena_printf(a, "%s/job.spec", folder);
	const char *context = p->what->context;
	size_t n = 0;
	(void)id;
	if (fs_replace(AT_FDCWD, spec, p->what->spec.p, p->what->spec.n, 0, e) < 0)
		return -1;
	if (context && !p->j->in_place) {
		context = arena_printf(a, "%s/context", folder);
		if (copy_tree(p->c, p->what->context, p->what->left_out, context, e) < 0)
			return -1;
	}
	const char **argv = arena_array(a, const char *, p->what->n_words + 6);
	argv[n++] = s->argv[0];
	argv[n++] = "build";
	argv[n++] = "-f";
	argv[n++] = spec;
	for (size_t i = 0; i < p->what->n_words; i++)
		argv[n++] = p->what->words[i];
	if (context)
		argv[n++] = context;
	s->argv = argv;
	return 0;
}

int cmd_build_job_check(const struct cmd_build_job *j, struct err *e)
{
	if (j->o.pool || (!j->o.client && !j->o.hint && !j->o.urgent && !j->o.detach && !j->in_place))
		return 0;
	return err_new(e, ERR_USAGE, "--client, --cache-hint, --urgent, --detach and --in-place go with --pool NAME");
}

int cmd_build_job(struct cmd_context *c, const struct cmd_build_job *j, const struct cmd_build_what *what)
{
	struct err e = ERR_INIT;
	auto_free char *program = realpath("/proc/self/exe", NULL);
	auto_free char *whole = what->context ? realpath(what->context, NULL) : NULL;
	const char *const argv[] = {program ? program : "slipway", NULL};
	struct cmd_build_what w = *what;
	struct preparing p = {c, j, &w};
	struct job_spec s = {.title = what->title,
			     .hint = what->hint,
			     .header = what->header,
			     .argv = argv,
			     .prepare = prepare,
			     .ctx = &p};
	if (what->context && !whole)
		err_sys(&e, "context '%s'", what->context);
	if (e.code || cmd_need_root(c, &e) < 0 || (whole && !j->in_place && check_outside(c, whole, &e) < 0))
		return cmd_fail(c, &e);
	w.context = whole;
	return cmd_run_job(c, &j->o, &s);
}
