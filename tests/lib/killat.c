// SPDX-License-Identifier: Apache-2.0
/*
 * killat: kills a command and everything it started at its Nth state-changing system call, or lets that call fail.
 *
 *	killat [-vw] [-c FILE] N before|after|ERROR|full COMMAND [ARG...]
 *
 * Counted over the whole tree of processes and threads, in the order in which they come: what makes, fills, renames, removes,
 * syncs or changes the mode, owner or times of files; writes only where they go to a regular file. The Nth is not carried out
 * (before), or it is, and nothing after it (after); then every process of the tree is killed, and none is left when killat
 * ends, with 137. Where the command ends earlier its own exit code is killat's (128 + N by a signal), and what it left
 * running is killed. N 0 kills nothing. -c writes the number of calls to FILE; -v lists them; -w counts from SIGUSR1 on, which
 * the command sends to its parent when it is about to begin with what is meant.
 *
 * ERROR is ENOSPC, EIO, EDQUOT or EROFS: the Nth call is not carried out and fails with it, and everything goes on. With `full` it fails with
 * ENOSPC, and so does each later call that needs room, as on a disk that has filled up. What is written to standard input, output and error does
 * not count then: that may be a file here, and a terminal elsewhere.
 *
 * ptrace(2) with a seccomp(2) filter, so that other calls cost nothing. What the kernel has stays there: that is the death of
 * processes, not of power (tests/lib/fsdown.c, tests/lib/blocklog.c).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/ptrace.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* <sys/ptrace.h> and <linux/ptrace.h> do not go together. */
extern long ptrace(int request, ...);

enum { PIDS_MAX = 4096, KILLED = 137, MISUSED = 125 };
enum kind { ALWAYS, IF_REGULAR, IF_OPENS_2, IF_OPENS_1, IF_CLONES };

#define CALL(X, KIND)                                                                                                  \
	{                                                                                                              \
		SYS_##X, #X, KIND, false                                                                               \
	}
#define GROWS(X, KIND)                                                                                                 \
	{                                                                                                              \
		SYS_##X, #X, KIND, true                                                                                \
	}
static const struct call {
	long number;
	const char *name;
	enum kind kind;	 /* when it counts: the argument that tells */
	bool needs_room; /* fails on a full disk */
} calls[] = {
#ifdef SYS_open
	GROWS(open, IF_OPENS_1),
	GROWS(creat, ALWAYS),
	CALL(rename, ALWAYS),
	GROWS(link, ALWAYS),
	CALL(unlink, ALWAYS),
	GROWS(symlink, ALWAYS),
	GROWS(mkdir, ALWAYS),
	CALL(rmdir, ALWAYS),
	GROWS(mknod, ALWAYS),
	CALL(chmod, ALWAYS),
	CALL(chown, ALWAYS),
	CALL(lchown, ALWAYS),
	CALL(renameat, ALWAYS),
	CALL(utime, ALWAYS),
	CALL(utimes, ALWAYS),
#endif
	GROWS(openat, IF_OPENS_2),
	GROWS(write, IF_REGULAR),
	GROWS(pwrite64, IF_REGULAR),
	GROWS(writev, IF_REGULAR),
	GROWS(pwritev, IF_REGULAR),
	GROWS(sendfile, IF_REGULAR),
	GROWS(copy_file_range, ALWAYS),
	CALL(renameat2, ALWAYS),
	GROWS(linkat, ALWAYS),
	CALL(unlinkat, ALWAYS),
	GROWS(symlinkat, ALWAYS),
	GROWS(mkdirat, ALWAYS),
	GROWS(mknodat, ALWAYS),
	CALL(fchmod, ALWAYS),
	CALL(fchmodat, ALWAYS),
	CALL(fchown, ALWAYS),
	CALL(fchownat, ALWAYS),
	CALL(utimensat, ALWAYS),
	CALL(truncate, ALWAYS),
	CALL(ftruncate, ALWAYS),
	GROWS(fallocate, ALWAYS),
	CALL(fsync, ALWAYS),
	CALL(fdatasync, ALWAYS),
	CALL(syncfs, ALWAYS),
	CALL(sync, ALWAYS),
	GROWS(setxattr, ALWAYS),
	GROWS(lsetxattr, ALWAYS),
	GROWS(fsetxattr, ALWAYS),
	CALL(removexattr, ALWAYS),
	CALL(lremovexattr, ALWAYS),
	CALL(fremovexattr, ALWAYS),
	CALL(ioctl, IF_CLONES),
};
enum { CALLS_N = sizeof(calls) / sizeof(calls[0]) };

static pid_t pids[PIDS_MAX];
static size_t pids_n;
static bool lists;
static volatile sig_atomic_t counting;

static void stop(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void stop(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "killat: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(MISUSED);
}

/* -- the command ------------------------------------------------------------------------------------------------- */

/* The calls of the table stop at their tracer; all others go through. */
static void filter_calls(void)
{
	struct sock_filter code[CALLS_N + 3];
	unsigned short n = 0;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < CALLS_N; i++, n++)
		code[n] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].number,
						       (unsigned char)(CALLS_N - i), 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
	struct sock_fprog program = {n, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0)
		stop("seccomp: %s", strerror(errno));
}

static pid_t start(char **argv)
{
	int p[2];
	char c;
	if (pipe2(p, O_CLOEXEC) < 0)
		stop("pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid < 0)
		stop("fork: %s", strerror(errno));
	if (pid == 0) {
		close(p[1]);
		if (read(p[0], &c, 1) != 1)
			_exit(MISUSED);
		filter_calls();
		execvp(argv[0], argv);
		stop("run '%s': %s", argv[0], strerror(errno));
	}
	long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
		       PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
	if (ptrace(PTRACE_SEIZE, pid, 0L, options) < 0) {
		int why = errno;
		kill(pid, SIGKILL);
		stop("ptrace: %s", strerror(why));
	}
	if (write(p[1], "", 1) != 1)
		stop("start: %s", strerror(errno));
	close(p[0]);
	close(p[1]);
	return pid;
}

/* -- its calls --------------------------------------------------------------------------------------------------- */

static bool is_regular(pid_t pid, uint64_t fd)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, (int)fd);
	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool opens_new(uint64_t flags)
{
	return flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE;
}

/* The call that a thread has stopped at, where it counts. */
static const struct call *counted(pid_t pid, bool of_terminals)
{
	struct ptrace_syscall_info info;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0 || info.op != PTRACE_SYSCALL_INFO_SECCOMP)
		return NULL;
	for (size_t i = 0; i < CALLS_N; i++) {
		if (calls[i].number != (long)info.seccomp.nr)
			continue;
		const uint64_t *a =
			(const uint64_t *)(const void *)((const char *)&info +
							 offsetof(struct ptrace_syscall_info, seccomp.args));
		bool counts = calls[i].kind == ALWAYS ||
			      (calls[i].kind == IF_REGULAR && is_regular(pid, a[0]) && (of_terminals || a[0] > 2)) ||
			      (calls[i].kind == IF_OPENS_2 && opens_new(a[2])) ||
			      (calls[i].kind == IF_OPENS_1 && opens_new(a[1])) ||
			      (calls[i].kind == IF_CLONES && a[1] == FICLONE);
		return counts ? &calls[i] : NULL;
	}
	return NULL;
}

static void remember(pid_t pid)
{
	for (size_t i = 0; i < pids_n; i++)
		if (pids[i] == pid)
			return;
	if (pids_n == PIDS_MAX)
		stop("more than %d processes and threads", PIDS_MAX);
	pids[pids_n++] = pid;
}

static void forget(pid_t pid)
{
	for (size_t i = 0; i < pids_n; i++)
		if (pids[i] == pid)
			pids[i] = pids[--pids_n];
}

/* All at once, and none of them is there any more when this returns. */
static void kill_all(void)
{
	int status;
	for (size_t i = 0; i < pids_n; i++)
		kill(pids[i], SIGKILL);
	for (;;) {
		pid_t pid = waitpid(-1, &status, __WALL);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return;
		if (WIFSTOPPED(status)) /* one that was born meanwhile */
			kill(pid, SIGKILL);
	}
}

/* -- the run ----------------------------------------------------------------------------------------------------- */

struct run {
	pid_t first, at_call; /* at_call: the thread that carries the Nth out, 0: it has not come to that */
	unsigned long n, made;
	bool after, fills; /* fills: the disk is full from then on */
	int error;	   /* with which the Nth fails; 0: it is killed */
	int status;	   /* of the command, once it has ended */
	bool ended, killed;
};

static void on_signal(int sig)
{
	(void)sig;
	counting = 1;
}

/* The call that the thread has stopped at is not carried out, and gives -error. */
static void let_fail(pid_t pid, int error)
{
	struct user_regs_struct regs;
	struct iovec v = {&regs, sizeof(regs)};
	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v) < 0)
		return; /* it was killed meanwhile */
#if defined(__x86_64__)
	regs.orig_rax = (unsigned long long)-1;
	regs.rax = (unsigned long long)-error;
#elif defined(__aarch64__)
	int none = -1;
	struct iovec call = {&none, sizeof(none)};
	(void)ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &call);
	regs.regs[0] = (unsigned long long)-error;
#else
	stop("how a call fails is not known for this processor");
#endif
	(void)ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
}

static void at_call(struct run *r, pid_t pid)
{
	const struct call *c = counting ? counted(pid, !r->error) : NULL;
	if (c) {
		r->made++;
		if (lists)
			fprintf(stderr, "%lu %d %s\n", r->made, (int)pid, c->name);
	}
	bool now = c && r->n && r->made == r->n;
	if (r->error && c && (now || (r->fills && r->n && r->made > r->n && c->needs_room)))
		let_fail(pid, r->error);
	if (!now || r->error) {
		ptrace(PTRACE_CONT, pid, 0L, 0L);
	} else if (r->after) {
		r->at_call = pid;
		ptrace(PTRACE_SYSCALL, pid, 0L, 0L);
	} else {
		r->killed = true;
	}
}

static void on_stop(struct run *r, pid_t pid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	unsigned long child = 0;
	if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
		if (ptrace(PTRACE_GETEVENTMSG, pid, 0L, &child) == 0)
			remember((pid_t)child);
		ptrace(PTRACE_CONT, pid, 0L, 0L);
	} else if (r->at_call && sig == (SIGTRAP | 0x80)) {
		r->killed = true;
	} else if (r->at_call && pid != r->at_call) {
		return; /* waits for its end */
	} else if (event == PTRACE_EVENT_SECCOMP) {
		at_call(r, pid);
	} else if (event == PTRACE_EVENT_STOP) {
		bool group = sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
		ptrace(group ? PTRACE_LISTEN : PTRACE_CONT, pid, 0L, 0L);
	} else {
		ptrace(r->at_call ? PTRACE_SYSCALL : PTRACE_CONT, pid, 0L, (long)(event ? 0 : sig));
	}
}

static void run(struct run *r)
{
	while (!r->ended && !r->killed) {
		int status;
		pid_t pid = waitpid(-1, &status, __WALL);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			stop("wait: %s", strerror(errno));
		if (WIFSTOPPED(status)) {
			remember(pid);
			on_stop(r, pid, status);
			continue;
		}
		forget(pid);
		if (pid == r->first) {
			r->ended = true;
			r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		}
	}
	kill_all();
}

static bool parse_how(struct run *r, const char *word)
{
	static const struct {
		const char *name;
		int number;
	} errors[] = {{"full", ENOSPC}, {"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EDQUOT", EDQUOT}, {"EROFS", EROFS}};
	r->after = strcmp(word, "after") == 0;
	r->fills = strcmp(word, "full") == 0;
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (strcmp(word, errors[i].name) == 0)
			r->error = errors[i].number;
	return r->after || r->error || strcmp(word, "before") == 0;
}

int main(int argc, char **argv)
{
	const char *count_file = NULL;
	char *end;
	int o;
	struct run r = {0};
	counting = 1;
	while ((o = getopt(argc, argv, "+vwc:")) != -1) {
		if (o == 'v')
			lists = true;
		else if (o == 'w')
			counting = 0;
		else if (o == 'c')
			count_file = optarg;
		else
			return MISUSED;
	}
	if (argc - optind < 3)
		stop("usage: killat [-vw] [-c FILE] N before|after|ERROR|full COMMAND [ARG...]");
	r.n = strtoul(argv[optind], &end, 10);
	if (*end || !parse_how(&r, argv[optind + 1]))
		stop("'%s %s': a number, and before, after, full or an error", argv[optind], argv[optind + 1]);
	signal(SIGUSR1, on_signal);
	r.first = start(argv + optind + 2);
	remember(r.first);
	run(&r);
	if (count_file) {
		FILE *f = fopen(count_file, "w");
		if (!f || fprintf(f, "%lu\n", r.made) < 0 || fclose(f) != 0)
			stop("write '%s': %s", count_file, strerror(errno));
	}
	return r.killed ? KILLED : r.status;
}
