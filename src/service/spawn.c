// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "service/internal.h"

enum { ABOVE_ALL = 64, OPEN_MAX_SCANNED = 65536, PASSWD_MAX = 65536, STAT_MAX = 4096 };
#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* == who ========================================================================================================== */
static int find_user(const char *name, struct identity *ret, struct err *e)
{
	auto_free char *room = xmalloc(PASSWD_MAX);
	struct passwd entry, *p = NULL;
	uint64_t number;
	int r;
	if (str_to_u64(str_c(name), &number) && number < UINT32_MAX)
		r = getpwuid_r((uid_t)number, &entry, room, PASSWD_MAX, &p);
	else
		r = getpwnam_r(name, &entry, room, PASSWD_MAX, &p);
	if (r != 0)
		return err_errno(e, r, "look up user '%s'", name);
	if (!p)
		return err_new(e, ERR_NOT_FOUND, "there is no user '%s' on this host; make it, or change 'user'", name);
	ret->uid = p->pw_uid;
	ret->gid = p->pw_gid;
	snprintf(ret->name, sizeof(ret->name), "%s", p->pw_name);
	snprintf(ret->home, sizeof(ret->home), "%s", p->pw_dir);
	ret->groups_n = GROUPS_MAX;
	if (getgrouplist(p->pw_name, p->pw_gid, ret->groups, &ret->groups_n) < 0)
		return err_new(e, ERR_LIMIT, "user '%s' is in more than %d groups", name, GROUPS_MAX);
	return 0;
}

static int find_group(const char *name, struct identity *ret, struct err *e)
{
	auto_free char *room = xmalloc(PASSWD_MAX);
	struct group entry, *g = NULL;
	uint64_t number;
	int r;
	if (str_to_u64(str_c(name), &number) && number < UINT32_MAX)
		r = getgrgid_r((gid_t)number, &entry, room, PASSWD_MAX, &g);
	else
		r = getgrnam_r(name, &entry, room, PASSWD_MAX, &g);
	if (r != 0)
		return err_errno(e, r, "look up group '%s'", name);
	if (!g)
		return err_new(e, ERR_NOT_FOUND, "there is no group '%s' on this host; make it, or change 'user'",
			       name);
	ret->gid = g->gr_gid;
	return 0;
}

int identity_find(struct str user, struct identity *ret, struct err *e)
{
	*ret = (struct identity){0};
	if (user.n == 0)
		return 0;
	struct str group = user, name;
	bool has_group = str_take_until(&group, ':', &name);
	auto_free char *name_z = str_dup(has_group ? name : user);
	auto_free char *group_z = has_group ? str_dup(group) : NULL;
	if (find_user(name_z, ret, e) < 0 || (group_z && find_group(group_z, ret, e) < 0))
		return -1;
	if (geteuid() == 0)
		ret->change = true;
	else if (ret->uid != geteuid() || (group_z && ret->gid != getegid()))
		return err_new(e, ERR_FAILED, "to run as '%.*s', slipway itself must run as root", STR_ARG(user));
	return 0;
}

/* == the child ==================================================================================================== */
enum step { STEP_DESCRIPTORS, STEP_IDENTITY, STEP_FOLDER, STEP_EXEC };
static const char *const step_names[] = {"give descriptors to", "change the user for", "change to the folder of",
					 "run"};
struct failure {
	int32_t step, error;
};

_Noreturn static void give_up(int gate, enum step step)
{
	struct failure f = {step, errno};
	(void)!write(gate, &f, sizeof(f));
	_exit(127);
}

/* From here to execve only what is safe after fork in a process that may have threads. */
static int place_descriptors(const struct spawn *s, int *gate)
{
	int high[SPAWN_FDS_MAX], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int out = fcntl(s->out, F_DUPFD_CLOEXEC, ABOVE_ALL);
	*gate = fcntl(*gate, F_DUPFD_CLOEXEC, ABOVE_ALL);
	if (null >= 0)
		null = fcntl(null, F_DUPFD_CLOEXEC, ABOVE_ALL);
	if (null < 0 || out < 0 || *gate < 0)
		return -1;
	for (size_t i = 0; i < s->fds_n; i++)
		if ((high[i] = fcntl(s->fds[i], F_DUPFD_CLOEXEC, ABOVE_ALL)) < 0)
			return -1;
	if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		return -1;
	for (size_t i = 0; i < s->fds_n; i++)
		if (dup2(high[i], 3 + (int)i) < 0)
			return -1;
	unsigned first = 3 + (unsigned)s->fds_n;
	if (syscall(SYS_close_range, first, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		for (int fd = (int)first; fd < OPEN_MAX_SCANNED; fd++)
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* a kernel before 5.11 */
	return 0;
}

static int become(const struct identity *who)
{
	if (!who || !who->change)
		return 0;
	return setgroups((size_t)who->groups_n, who->groups) < 0 || setresgid(who->gid, who->gid, who->gid) < 0 ||
			       setresuid(who->uid, who->uid, who->uid) < 0
		       ? -1
		       : 0;
}

static void put_pid(char *to)
{
	char digits[12];
	int n = 0;
	for (unsigned pid = (unsigned)getpid(); pid > 0; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	for (int i = 0; i < n; i++)
		to[i] = digits[n - 1 - i];
	to[n] = '\0';
}

_Noreturn static void run_child(const struct spawn *s, int gate)
{
	struct sigaction usual = {.sa_handler = SIG_DFL};
	sigset_t none;
	char go;
	ssize_t n;
	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &usual, NULL);
	setsid();
	do
		n = read(gate, &go, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1) /* whoever made us has died before our pid was written down */
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (place_descriptors(s, &gate) < 0)
		give_up(gate, STEP_DESCRIPTORS);
	if (become(s->who) < 0)
		give_up(gate, STEP_IDENTITY);
	umask(022);
	if (chdir(s->cwd) < 0)
		give_up(gate, STEP_FOLDER);
	if (s->listen_pid)
		put_pid(s->listen_pid);
	execve(s->argv[0], (char *const *)s->argv, s->envp);
	give_up(gate, STEP_EXEC);
}

int spawn_hold(const struct spawn *s, struct spawned *ret, struct err *e)
{
	int pair[2];
	if (s->fds_n > SPAWN_FDS_MAX)
		return err_new(e, ERR_LIMIT, "more than %d descriptors for a service", SPAWN_FDS_MAX);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "make a pair of sockets");
	auto_fd mine = pair[0];
	auto_fd its = pair[1];
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, "make a process");
	if (pid == 0) {
		close(pair[0]);
		run_child(s, pair[1]);
	}
	cleanup_fd(&its);
	struct proc_stat st = {0};
	auto_fd pidfd = pidfd_open(pid, 0);
	if (pidfd < 0 || !proc_stat_read(pid, &st) || fcntl(mine, F_SETFL, O_NONBLOCK) < 0) {
		err_sys(e, "watch the new process %d", (int)pid);
		cleanup_fd(&mine); /* it ends */
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -1;
	}
	*ret = (struct spawned){
		.pid = pid, .pidfd = steal_fd(&pidfd), .gate = steal_fd(&mine), .start_ticks = st.start_ticks};
	return 0;
}

void spawn_go(const struct spawned *s)
{
	(void)!send(s->gate, "g", 1, MSG_NOSIGNAL);
}

int spawn_result(int gate, const char *program, struct err *e)
{
	struct failure f;
	ssize_t n = read(gate, &f, sizeof(f));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n == (ssize_t)sizeof(f) && f.step >= 0 && f.step <= STEP_EXEC)
		return err_errno(e, f.error, "%s '%s'", step_names[f.step], program);
	return 1; /* closed by exec, or with the process: its end is told elsewhere */
}

/* == /proc ======================================================================================================== */
bool proc_stat_read(pid_t pid, struct proc_stat *ret)
{
	char path[64];
	auto_buf text = BUF_INIT(STAT_MAX);
	struct err e;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fs_read(AT_FDCWD, path, &text, &e) < 0)
		return false;
	/* PID (NAME) STATE PPID PGRP SESSION ...: the name may hold anything, so from its last bracket on */
	struct str s = buf_str(&text), word;
	uint64_t v[23] = {0};
	s = str_skip(s, (size_t)(str_rfind(s, ')') + 1));
	bool ended = s.n > 1 && (s.p[1] == 'Z' || s.p[1] == 'X');
	for (int field = 3; field <= 22; field++) {
		if (!str_take_word(&s, &word))
			return false;
		if (!str_to_u64(word, &v[field]))
			v[field] = 0; /* the state; what may be negative and is of no interest */
	}
	*ret = (struct proc_stat){.ended = ended, .parent = (pid_t)v[4], .session = (pid_t)v[6], .start_ticks = v[22]};
	return true;
}

void status_put(struct buf *b, int status)
{
	if (status == -1) {
		buf_put_c(b, "has ended");
	} else if (WIFSIGNALED(status)) {
		const char *text = sigdescr_np(WTERMSIG(status));
		buf_printf(b, "was ended by signal %d (%s)", WTERMSIG(status), text ? text : "unknown");
	} else {
		buf_printf(b, "ended with exit code %d", WEXITSTATUS(status));
	}
}

/* == argv and environment ========================================================================================= */
static const char *from_prefix(struct arena *a, const char *prefix, struct str path)
{
	return path.n > 0 && path.p[0] == '/' ? arena_strdup(a, path)
					      : arena_printf(a, "%s/%.*s", prefix, STR_ARG(path));
}

struct environment {
	struct arena *a;
	char **v;
	size_t n;
};

__attribute__((format(printf, 2, 3))) static void put_variable(struct environment *env, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	va_list ap;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	env->v[env->n++] = arena_strdup(env->a, buf_str(&b));
}

static bool declares(const struct service_decl *d, const char *name, struct str *ret)
{
	bool found = false;
	for (uint32_t i = 0; i < d->environment_n; i++) {
		struct str value = d->environment[i], key;
		if (str_take_until(&value, '=', &key) && str_eq_c(key, name)) {
			*ret = value;
			found = true;
		}
	}
	return found;
}

static void put_usual(struct environment *env, const struct service_ref *r, const struct identity *who)
{
	struct str v = STR(PATH_DEFAULT);
	(void)declares(r->decl, "PATH", &v);
	put_variable(env, "PATH=%s/bin:%.*s", r->prefix, STR_ARG(v));
	static const char *const kept[] = {"HOME", "USER", "LOGNAME", "LANG"};
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const char *value = getenv(kept[i]);
		if (who->name[0] && i < 3)
			value = i == 0 ? who->home : who->name;
		if (value && !declares(r->decl, kept[i], &v))
			put_variable(env, "%s=%s", kept[i], value);
	}
	for (uint32_t i = 0; i < r->decl->environment_n; i++)
		if (!str_starts(r->decl->environment[i], STR("PATH=")))
			env->v[env->n++] = arena_strdup(env->a, r->decl->environment[i]);
}

static void put_sockets(struct environment *env, const struct service_decl *d, char **listen_pid)
{
	auto_buf names = BUF_INIT(1 << 16);
	for (uint32_t i = 0; i < d->sockets_n; i++)
		buf_printf(&names, "%s%.*s", i ? ":" : "", STR_ARG(d->sockets[i].name));
	put_variable(env, "LISTEN_FDS=%u", d->sockets_n);
	put_variable(env, "LISTEN_FDNAMES=%s", names.p);
	put_variable(env, "LISTEN_PID=%12s", "");
	*listen_pid = env->v[env->n - 1] + strlen("LISTEN_PID=");
}

int program_make(struct arena *a, const struct service_ref *r, const struct str *argv, uint32_t argv_n,
		 const char *notify_path, bool with_sockets, struct program *ret, struct err *e)
{
	const struct service_decl *d = r->decl;
	struct program p = {0};
	if (identity_find(d->user, &p.who, e) < 0)
		return -1;
	p.argv = arena_array(a, const char *, (size_t)argv_n + 1);
	p.argv[0] = from_prefix(a, r->prefix, argv[0]);
	for (uint32_t i = 1; i < argv_n; i++)
		p.argv[i] = arena_strdup(a, argv[i]);
	p.cwd = d->working_directory.n ? from_prefix(a, r->prefix, d->working_directory) : "/";
	struct environment env = {a, arena_array(a, char *, (size_t)d->environment_n + 24), 0};
	put_usual(&env, r, &p.who);
	put_variable(&env, "SLIPWAY_ENV=%.*s", STR_ARG(r->env));
	put_variable(&env, "SLIPWAY_SERVICE=%.*s", STR_ARG(d->name));
	put_variable(&env, "SLIPWAY_GENERATION=%u", r->generation);
	if (r->runtime_dir)
		put_variable(&env, "SLIPWAY_RUNTIME_DIR=%s", r->runtime_dir);
	if (notify_path)
		put_variable(&env, "NOTIFY_SOCKET=%s", notify_path);
	if (with_sockets && d->sockets_n > 0)
		put_sockets(&env, d, &p.listen_pid);
	p.envp = env.v;
	*ret = p;
	return 0;
}
