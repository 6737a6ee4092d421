// SPDX-License-Identifier: Apache-2.0
/*
 * Commands of opam packages. In the sandbox "/" is the machine's, read-only and without what is mounted on it; folders of it in which something
 * is mounted are laid over it again, read-only with all that is in them. Then come a /tmp of the package's own, the root of opam, the prefix,
 * its .opam-switch, and the folder that the command works in.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/proc.h"
#include "base/sys.h"
#include "build/opam.h"

enum { OUTPUT_MAX = 512 << 20, MOUNTS_MAX = 64 };

const char *opam_words(struct arena *a, const char *const *argv)
{
	auto_buf b = BUF_INIT(1 << 20);
	for (size_t i = 0; argv[i]; i++)
		buf_printf(&b, "%s%s", i ? " " : "", argv[i]);
	return arena_strdup(a, buf_str(&b));
}

static struct str variable_of(const char *const *envp, const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; envp[i]; i++)
		if (strncmp(envp[i], name, n) == 0 && envp[i][n] == '=')
			return str_c(envp[i] + n + 1);
	return STR_NONE;
}

/* The program that a command is: NULL where there is none. */
static const char *resolve(struct arena *a, const struct opam_command *c)
{
	const char *name = c->argv[0];
	if (strchr(name, '/')) {
		const char *path = name[0] == '/' ? name : arena_printf(a, "%s/%s", c->dir, name);
		return access(path, X_OK) == 0 ? name : NULL;
	}
	struct str path = variable_of(c->envp, "PATH"), part;
	while (path.n) {
		if (!str_take_until(&path, ':', &part)) {
			part = path;
			path = STR_NONE;
		}
		struct stat st;
		const char *file = arena_printf(a, "%.*s/%s", STR_ARG(part), name);
		if (part.n && access(file, X_OK) == 0 && stat(file, &st) == 0 && S_ISREG(st.st_mode))
			return file;
	}
	return NULL;
}

/* == logs ============================================================================================================ */

struct log {
	const char *out, *env, *info;
	int fd;
};

static int write_log(const char *path, const struct buf *b, struct err *e)
{
	auto_fd fd = sys_openat(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "write '%s'", path);
	return fs_write_all(fd, b->p, b->n, path, e);
}

/* NAME-PID-DIGITS.out, .env, .info, as opam has them. */
static int open_log(struct opam_run *r, const struct opam_command *c, struct arena *a, struct log *l, struct err *e)
{
	uint8_t random[3];
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_sys(e, "random bytes");
	const char *base = arena_printf(a, "%s/%.*s-%d-%02x%02x%02x", r->log_dir, STR_ARG(c->package->name),
					(int)getpid(), random[0], random[1], random[2]);
	l->out = arena_printf(a, "%s.out", base);
	l->env = arena_printf(a, "%s.env", base);
	l->info = arena_printf(a, "%s.info", base);
	auto_buf env = BUF_INIT(64 << 20);
	for (size_t i = 0; c->envp[i]; i++)
		buf_printf(&env, "%s\n", c->envp[i]);
	if (write_log(l->env, &env, e) < 0)
		return -1;
	l->fd = sys_openat(AT_FDCWD, l->out, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	return l->fd < 0 ? err_sys(e, "make '%s'", l->out) : 0;
}

static void remove_log(const struct log *l)
{
	sys_unlinkat(AT_FDCWD, l->out, 0);
	sys_unlinkat(AT_FDCWD, l->env, 0);
}

/* == the sandbox ===================================================================================================== */

struct mounts {
	struct sandbox_mount v[MOUNTS_MAX];
	size_t n;
};

static void add_mount(struct mounts *m, const char *source, const char *target, bool readonly)
{
	if (source && m->n < MOUNTS_MAX)
		m->v[m->n++] = (struct sandbox_mount){.source = source, .target = target, .readonly = readonly};
}

static const char *private_tmp(struct opam_run *r, struct arena *a, struct err *e)
{
	pthread_mutex_lock(&r->state);
	unsigned number = r->made++;
	pthread_mutex_unlock(&r->state);
	const char *name = arena_printf(a, "tmp-%u", number);
	if (sys_mkdirat(r->scratch_fd, name, 0700) < 0 || sys_fchmodat(r->scratch_fd, name, 01777) < 0) {
		err_sys(e, "make '%s/%s'", r->scratch, name);
		return NULL;
	}
	return name;
}

static int confined(struct opam_run *r, const struct opam_command *c, int out_fd, struct arena *a,
		    struct sandbox_result *ret, struct err *e)
{
	struct mounts m = {.n = 0};
	bool writes = c->step == BUILD_OPAM_INSTALL || c->step == BUILD_OPAM_REMOVE;
	const char *tmp = private_tmp(r, a, e);
	if (!tmp)
		return -1;
	for (size_t i = 0; i < r->n_tops; i++)
		add_mount(&m, r->tops[i], r->tops[i], true);
	add_mount(&m, arena_printf(a, "%s/%s", r->scratch, tmp), "/tmp", false);
	add_mount(&m, env_opam_path(r->o->root), env_opam_path(r->o->root), true);
	add_mount(&m, r->prefix, r->prefix, !writes);
	if (writes)
		add_mount(&m, r->meta, r->meta, true);
	add_mount(&m, c->dir, c->dir, false);
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	o.root = (struct sandbox_root){.dir = "/", .readonly = true};
	o.argv = c->argv;
	o.envp = c->envp;
	o.cwd = c->dir;
	o.mounts = m.v;
	o.n_mounts = m.n;
	o.limits = r->o->limits;
	if (!o.limits.output_bytes)
		o.limits.output_bytes = OUTPUT_MAX;
	o.out_fd = out_fd;
	o.cancel_fd = r->o->cancel_fd;
	int rc = sandbox_run(&o, ret, e);
	struct err ignored = ERR_INIT; /* the next run removes what is left of it */
	fs_remove_tree(r->scratch_fd, tmp, &ignored);
	return rc;
}

static int unconfined(struct opam_run *r, const struct opam_command *c, int out_fd, struct sandbox_result *ret,
		      struct err *e)
{
	struct proc_opts o = {.argv = c->argv,
			      .envp = c->envp,
			      .cwd = c->dir,
			      .both_to = out_fd,
			      .deadline_ms = r->o->limits.time_ms};
	int status = proc_run(&o, e);
	if (status < 0)
		return -1;
	*ret = (struct sandbox_result){.end = SANDBOX_EXITED, .code = status};
	return 0;
}

/* == how it ended ==================================================================================================== */

static const char *why_ended(struct arena *a, const struct opam_run *r, const struct sandbox_result *res)
{
	const struct sandbox_limits *l = &r->o->limits;
	switch (res->end) {
	case SANDBOX_EXITED:
		return NULL;
	case SANDBOX_SIGNALLED:
		return arena_printf(a, "signal %d (%s)", res->code, strsignal(res->code));
	case SANDBOX_CANCELLED:
		return "cancelled";
	case SANDBOX_TIME:
		return arena_printf(a, "it took longer than %lld s", (long long)l->time_ms / 1000);
	case SANDBOX_MEMORY:
		return arena_printf(a, "it needed more than %llu MB of memory",
				    (unsigned long long)(l->memory_bytes / 1000000));
	case SANDBOX_DISK:
		return "it wrote more than it may";
	case SANDBOX_OUTPUT:
		return "it printed more than it may";
	}
	return NULL;
}

/* On a full disk a command may not even have been able to say so. */
static const char *full_disk(const struct opam_run *r, struct arena *a)
{
	enum { LITTLE = 64 << 10 };
	struct statvfs v;
	if (fstatvfs(r->builds_fd, &v) < 0 || (v.f_bavail * v.f_frsize >= LITTLE && (v.f_favail || !v.f_files)))
		return NULL;
	return arena_printf(a, "no space left on the file system of '%s'", r->prefix);
}

int opam_exec(struct opam_run *r, const struct opam_command *c, struct arena *a, struct build_opam_failure *ret,
	      struct err *e)
{
	struct sandbox_result res = {.end = SANDBOX_EXITED};
	struct log l = {.fd = -1};
	const char *program = resolve(a, c);
	*ret = (struct build_opam_failure){.step = c->step, .package = c->package};
	if (!program) {
		ret->why = arena_printf(a, "\"%s\": command not found.", c->argv[0]);
		return 1;
	}
	if (open_log(r, c, a, &l, e) < 0)
		return -1;
	auto_fd out = l.fd;
	int rc = r->confined ? confined(r, c, out, a, &res, e) : unconfined(r, c, out, &res, e);
	if (rc == 0 && res.end == SANDBOX_EXITED && res.code == 0) {
		remove_log(&l);
		return 0;
	}
	if (rc < 0) {
		remove_log(&l);
		return err_ctx(e, "run '%s' for '%.*s'", c->argv[0], STR_ARG(c->package->name));
	}
	ret->command = arena_printf(a, "%s%s", program, str_skip(str_c(opam_words(a, c->argv)), strlen(c->argv[0])).p);
	ret->dir = arena_strdup(a, str_c(c->dir));
	ret->out_file = l.out;
	ret->env_file = l.env;
	ret->code = res.end == SANDBOX_EXITED ? res.code : res.end == SANDBOX_SIGNALLED ? 128 + res.code : 137;
	ret->ended = why_ended(a, r, &res);
	if (!ret->ended)
		ret->ended = full_disk(r, a);
	return 1;
}
