// SPDX-License-Identifier: Apache-2.0
/*
 * pid 1 of a sandbox. It is a copy of the caller, so it does not let what runs there look at it (dumpable), holds no capability
 * that it does not need and no descriptor but its own; it dies with the caller, and everything in its pid namespace with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "sandbox/box.h"
#include "sandbox/kernel.h"

#define CAP(name) (1ull << CAP_##name)
/* OBuilder's without MKNOD: no device can be made in any kind of sandbox, so none needs guarding. */
static const uint64_t command_caps = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FSETID) | CAP(FOWNER) | CAP(SETGID) |
				     CAP(SETUID) | CAP(SETFCAP) | CAP(SETPCAP) | CAP(SYS_CHROOT) | CAP(KILL) |
				     CAP(AUDIT_WRITE);
static const uint64_t call_caps = CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FSETID) | CAP(FOWNER) | CAP(SETFCAP) |
				  CAP(SETUID) | CAP(SETGID);

static _Noreturn void report(const struct box *b, const struct box_report *r)
{
	ssize_t n = write(b->report_fd, r, sizeof(*r)); /* style: allow sys: a pipe */
	_exit(n == sizeof(*r) ? 0 : 1);
}

static void close_others(const struct box *b)
{
	int keep[BOX_FDS_MAX + 16];
	size_t n = 0;
	keep[n++] = b->report_fd;
	keep[n++] = b->life_fd;
	if (!b->fn)
		keep[n++] = b->out_fd;
	if (b->userns_fd >= 0)
		keep[n++] = b->userns_fd;
	for (int i = 0; i < BOX_CGROUPS; i++)
		if (b->cgroup->procs_fd[i] >= 0)
			keep[n++] = b->cgroup->procs_fd[i];
	for (size_t i = 0; i < b->n_fds; i++)
		keep[n++] = b->fds[i];
	unsigned next = 3;
	for (;;) {
		unsigned least = ~0u;
		for (size_t i = 0; i < n; i++)
			if (keep[i] >= (int)next && (unsigned)keep[i] < least)
				least = (unsigned)keep[i];
		if (least > next)
			k_close_range(next, least == ~0u ? least : least - 1);
		if (least == ~0u)
			return;
		next = least + 1;
	}
}

static int loopback_up(struct err *e)
{
	auto_fd fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? err_sys(e, "bring up the loopback") : 0;
}

static int set_caps(uint64_t caps)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{.effective = (uint32_t)caps, .permitted = (uint32_t)caps},
					      {.effective = (uint32_t)(caps >> 32),
					       .permitted = (uint32_t)(caps >> 32)}};
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return (int)syscall(SYS_capset, &h, d);
}

static int bound_caps(uint64_t keep)
{
	for (int i = 0; i < 64; i++)
		if (!(keep & (1ull << i)) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
			return errno == EINVAL ? 0 : -1; /* no more of them */
	return 0;
}

/* Never more than before: who has less keeps it. */
static void lower_limit(int what, rlim_t soft, rlim_t hard)
{
	struct rlimit r;
	if (getrlimit((__rlimit_resource_t)what, &r) < 0)
		return;
	r.rlim_max = hard < r.rlim_max ? hard : r.rlim_max;
	r.rlim_cur = soft < r.rlim_max ? soft : r.rlim_max;
	setrlimit((__rlimit_resource_t)what, &r);
}

static void set_limits(const struct box *b)
{
	const struct sandbox_limits *l = &b->o->limits;
	/* no core file, and none to the host's handler either, which would be root's and keep secrets: a handler behind a pipe heeds no limit
	 * but this one (Linux, fs/coredump.c) */
	lower_limit(RLIMIT_CORE, 1, 1);
	lower_limit(RLIMIT_NOFILE, 1024, 524288);
	if (l->memory_bytes > 0 && !b->cgroup->memory)
		lower_limit(RLIMIT_DATA, l->memory_bytes, l->memory_bytes);
	if (l->processes > 0 && !b->cgroup->pids)
		lower_limit(RLIMIT_NPROC, l->processes, l->processes);
}

static void default_signals(void)
{
	sigset_t none;
	struct sigaction act = {.sa_handler = SIG_DFL};
	for (int i = 1; i < NSIG; i++)
		sigaction(i, &act, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

enum { HOME_NAME = 5 };

struct start {
	const struct box *b;
	const char *path_list; /* PATH of the command's environment */
	int errnum;	       /* 0: it runs */
	const char *what;      /* that failed */
};

/* The kernel would run a file "#!/proc/self/exe", or a link to that, as a copy of this very program, of another id in the best
 * case: what is run must not be it. Nothing else runs in the root yet that could change it meanwhile. */
static bool is_ourselves(const char *path, unsigned depth)
{
	struct stat st, self;
	char head[256];
	if (stat("/proc/self/exe", &self) < 0)
		return true;
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	if (st.st_dev == self.st_dev && st.st_ino == self.st_ino)
		return true;
	ssize_t n = read(fd, head, sizeof(head) - 1);
	if (n < 3 || head[0] != '#' || head[1] != '!' || depth == 0)
		return false;
	head[n] = '\0';
	char *name = head + 2 + strspn(head + 2, " \t");
	name[strcspn(name, " \t\r\n")] = '\0';
	return is_ourselves(name, depth - 1);
}

static int try_exec(const struct start *s, const char *path)
{
	if (is_ourselves(path, 8)) {
		errno = EPERM;
		return -1;
	}
	execve(path, (char *const *)s->b->o->argv, (char *const *)s->b->envp);
	return -1;
}

/* As execvp does, but in the PATH of the command. */
static void exec_command(struct start *s)
{
	const char *name = s->b->o->argv[0];
	s->what = "run";
	if (strchr(name, '/')) {
		try_exec(s, name);
		s->errnum = errno;
		return;
	}
	int errnum = ENOENT; /* pid 1 sees ours: nothing is set there before it has failed */
	for (const char *p = s->path_list;;) {
		char path[4096];
		size_t n = strcspn(p, ":");
		if ((size_t)snprintf(path, sizeof(path), "%.*s/%s", n > 0 ? (int)n : 1, n > 0 ? p : ".", name) <
		    sizeof(path)) {
			try_exec(s, path);
			if (errno != ENOENT && errno != ENOTDIR)
				errnum = errno;
		}
		if (!p[n])
			break;
		p += n + 1;
	}
	s->errnum = errnum;
}

/* The host's network holds its abstract sockets, too, which file systems do not close: scoped from Linux 6.12 on. */
static void scope_sockets(void)
{
	enum { CREATE_RULESET = 444, RESTRICT_SELF = 446, SCOPE_ABSTRACT_SOCKETS = 1 };
	const struct {
		uint64_t files, net, scoped;
	} attr = {.scoped = SCOPE_ABSTRACT_SOCKETS};
	int fd = (int)syscall(CREATE_RULESET, &attr, sizeof(attr), 0);
	if (fd >= 0) {
		syscall(RESTRICT_SELF, fd, 0);
		close(fd);
	}
}

#define STEP(s, words, call)                                                                                           \
	if ((call) < 0) {                                                                                              \
		(s)->what = (words);                                                                                   \
		(s)->errnum = errno;                                                                                   \
		return;                                                                                                \
	}

/* The command's own process, which shares memory with pid 1 until it runs the command: plain system calls only. */
static void start_command(struct start *s)
{
	const struct box *b = s->b;
	const struct sandbox_opts *o = b->o;
	unsigned filter = (o->fast_sync ? BOX_FILTER_SYNC : 0u) | (b->ids == BOX_IDS_ONE ? BOX_FILTER_CHOWN : 0u) |
			  (o->nested ? BOX_FILTER_NESTED : 0u);
	STEP(s, "change to the working folder", chdir(o->cwd ? o->cwd : "/"));
	int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	STEP(s, "open '/dev/null'", in);
	STEP(s, "connect the output", dup2(b->out_fd, 1) < 0 || dup2(1, 2) < 0 || dup2(in, 0) < 0 ? -1 : 0);
	STEP(s, "close what is open", k_close_range(3, ~0u));
	STEP(s, "begin a session", (int)setsid());
	set_limits(b);
	if (o->no_new_privileges || b->ids == BOX_IDS_ONE)
		STEP(s, "set no-new-privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (o->network_host)
		scope_sockets();
	STEP(s, "load the system call filter", box_filter_load(filter));
	STEP(s, "bound capabilities", bound_caps(command_caps));
	if (b->ids != BOX_IDS_ONE) {
		STEP(s, "drop groups", (int)syscall(SYS_setgroups, 0, NULL));
		STEP(s, "change the group", (int)syscall(SYS_setresgid, o->gid, o->gid, o->gid));
		STEP(s, "change the user", (int)syscall(SYS_setresuid, o->uid, o->uid, o->uid));
	}
	STEP(s, "drop capabilities", set_caps(o->uid == 0 ? command_caps : 0));
	default_signals();
	exec_command(s);
}

static const char *find_var(const char *const *envp, const char *name, const char *fallback)
{
	size_t n = strlen(name);
	for (; envp && *envp; envp++)
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return *envp + n + 1;
	return fallback;
}

static const char *find_path(const char *const *envp)
{
	return find_var(envp, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

/* "HOME=…" goes where the caller left a place for it. */
static void add_home(const struct box *b, char home[HOME_NAME + BOX_HOME_MAX])
{
	size_t n = 0;
	if (!b->o->home || find_var(b->o->envp, "HOME", NULL))
		return;
	memcpy(home, "HOME=", HOME_NAME);
	box_home(b->o->uid, home + HOME_NAME);
	while (b->envp[n])
		n++;
	b->envp[n] = home;
}

/* vfork: pid 1 waits until the command runs, and a failure before that is known. */
static pid_t spawn(const struct box *b, struct err *e)
{
	char home[HOME_NAME + BOX_HOME_MAX];
	volatile struct start s = {.b = b, .path_list = find_path(b->o->envp)};
	add_home(b, home);
	pid_t child = vfork();
	if (child == 0) {
		start_command((struct start *)&s);
		_exit(127);
	}
	if (child < 0)
		return err_sys(e, "start a process");
	if (s.errnum == 0)
		return child;
	if (strcmp(s.what, "run") == 0)
		return err_errno(e, s.errnum, "run '%s' in the sandbox", b->o->argv[0]);
	return err_errno(e, s.errnum, "sandbox: %s", s.what);
}

/* ---- watching ---- */

enum { TICK_MS = 100, IDLE_WALK_MS = 3000 };

struct watch {
	const struct box *b;
	struct box_disks disks;
	uint64_t free_at_start;
	int64_t next_walk_ms, next_idle_walk_ms;
	bool is_memory; /* watched from here */
	struct box_memory memory;
	int64_t next_memory_ms;
};

static uint64_t free_bytes(int fd)
{
	struct statvfs v;
	return fstatvfs(fd, &v) < 0 ? 0 : (uint64_t)v.f_bfree * v.f_frsize;
}

/* The exact sum costs a walk over everything. That is made where something tells that much was written: less free space than before
 * (others use and free it, too), or, at the end, what the kernel counted for the processes that ended; else every few seconds. Walks
 * take a tenth of the time at most, without a reason a fiftieth. */
static bool is_disk_over(struct watch *w, uint64_t limit, bool at_end)
{
	struct rusage u;
	int64_t now = clock_mono_ms();
	uint64_t now_free = free_bytes(w->disks.fd[0]);
	uint64_t written = at_end && getrusage(RUSAGE_CHILDREN, &u) == 0 ? (uint64_t)u.ru_oublock * 512 : 0;
	bool hint = now_free + limit / 4 < w->free_at_start || written > limit / 4;
	if (at_end ? !hint : now < (hint ? w->next_walk_ms : w->next_idle_walk_ms))
		return false;
	uint64_t used = box_disk_used(&w->disks, limit);
	if (used <= limit && !at_end)
		used += box_disk_hidden();
	int64_t took = clock_mono_ms() - now;
	w->next_walk_ms = now + took * 10;
	w->next_idle_walk_ms = now + took * 50 + IDLE_WALK_MS;
	return used > limit;
}

/* Takes a tenth of the time at most. */
static bool is_memory_over(struct watch *w, uint64_t limit)
{
	int64_t now = clock_mono_ms();
	if (now < w->next_memory_ms)
		return false;
	bool over = box_memory_is_over(&w->memory, limit);
	w->next_memory_ms = now + (clock_mono_ms() - now) * 10;
	return over;
}

static void look_at_limits(struct watch *w, bool at_end)
{
	const struct sandbox_limits *l = &w->b->o->limits;
	struct box_report r = {.kind = BOX_OVER};
	if (w->disks.n > 0 && is_disk_over(w, l->disk_bytes, at_end)) {
		r.end = SANDBOX_DISK;
		report(w->b, &r);
	}
	if (w->is_memory && !at_end && is_memory_over(w, l->memory_bytes)) {
		r.end = SANDBOX_MEMORY;
		report(w->b, &r);
	}
}

/* Until the command ends; reaps whatever else does. */
static int watch_command(struct watch *w, pid_t command, int chld_fd)
{
	bool ticks = w->disks.n > 0 || w->is_memory;
	for (;;) {
		struct pollfd fds[] = {{.fd = chld_fd, .events = POLLIN}, {.fd = w->b->life_fd, .events = POLLIN}};
		struct signalfd_siginfo info;
		int status;
		pid_t pid;
		while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
			if (pid == command) {
				look_at_limits(w, true);
				return status;
			}
		int r = poll(fds, 2, ticks ? TICK_MS : -1);
		if (fds[1].revents)
			_exit(1); /* the caller is gone */
		if (r > 0 && fds[0].revents && read(chld_fd, &info, sizeof(info)) < 0 && errno != EAGAIN)
			_exit(1);
		if (ticks)
			look_at_limits(w, false);
	}
}

/* ---- in order ---- */

static int prepare(struct box *b, struct err *e)
{
	const char *host = b->o->hostname ? b->o->hostname : "builder";
	syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (unshare(CLONE_NEWCGROUP) < 0 && errno != EINVAL)
		return err_sys(e, "make a control group namespace");
	if (sethostname(host, strlen(host)) < 0)
		return err_sys(e, "set the host name");
	if (!b->o->network_host && loopback_up(e) < 0)
		return -1;
	return 0;
}

static _Noreturn void fail(const struct box *b, struct box_report *r)
{
	r->kind = BOX_STARTED_NOT;
	report(b, r);
}

static void die_with_caller(const struct box *b)
{
	struct pollfd p = {.fd = b->life_fd, .events = POLLIN};
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 0);
	if (poll(&p, 1, 0) > 0)
		_exit(1);
}

static _Noreturn void run_call(struct box *b, struct box_report *r)
{
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (box_filter_load(b->ids == BOX_IDS_ONE ? BOX_FILTER_CHOWN : 0) < 0 || bound_caps(call_caps) < 0 ||
	    set_caps(call_caps) < 0) {
		err_sys(&r->e, "sandbox: confine a call");
		fail(b, r);
	}
	die_with_caller(b);
	if (b->fn(b->ctx, &r->e) < 0)
		fail(b, r);
	r->kind = BOX_ENDED;
	report(b, r);
}

void box_inside(struct box *b)
{
	struct box_report r = {0};
	struct watch w = {.b = b};
	sigset_t chld;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_others(b);
	setsid();
	if (box_cgroup_join(b->cgroup, &r.e) < 0 || prepare(b, &r.e) < 0)
		fail(b, &r);
	if (b->ids != BOX_IDS_MAPPED && box_ids_enter(b, &r.e) < 0)
		fail(b, &r);
	int rc = box_root_enter(b, &w.disks, &r.e);
	if (rc == BOX_UNMAPPED) {
		r.kind = BOX_NO_IDMAP;
		report(b, &r);
	}
	if (rc < 0 || (b->ids == BOX_IDS_MAPPED && box_ids_enter(b, &r.e) < 0))
		fail(b, &r);
	cleanup_fd(&b->userns_fd);
	for (int i = 0; i < BOX_CGROUPS; i++)
		cleanup_fd(&b->cgroup->procs_fd[i]);
	if (b->fn)
		run_call(b, &r);
	w.free_at_start = w.disks.n > 0 ? free_bytes(w.disks.fd[0]) : 0;
	clock_gettime(CLOCK_REALTIME_COARSE, &w.disks.since); /* as files have it */
	w.next_idle_walk_ms = clock_mono_ms() + IDLE_WALK_MS;
	w.is_memory = b->o->limits.memory_bytes > 0 && !b->cgroup->memory;
	if (w.is_memory)
		box_memory_begin(&w.memory);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	int chld_fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	die_with_caller(b);
	pid_t command = chld_fd < 0 ? err_sys(&r.e, "watch processes") : spawn(b, &r.e);
	if (command < 0)
		fail(b, &r);
	/* what is left to do needs to read what others own, no more */
	if (bound_caps(0) < 0 ||
	    set_caps(w.disks.n > 0 || w.is_memory ? CAP(DAC_READ_SEARCH) | CAP(SYS_PTRACE) : 0) < 0)
		_exit(1);
	die_with_caller(b);
	if (b->out_fd > 2)
		close(b->out_fd);
	r.status = watch_command(&w, command, chld_fd);
	r.kind = BOX_ENDED;
	report(b, &r);
}
