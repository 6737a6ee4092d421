// SPDX-License-Identifier: Apache-2.0
/*
 * What a hostile command does in a sandbox. Without words each attempt that got somewhere is printed as "ESCAPED name", and "tried N" at
 * the end.
 *
 *	escape [MARK SOCKET]    MARK: a file outside; SOCKET: an abstract socket's name outside
 *	escape bomb             forks until it cannot, then tells how often it could
 *	escape bomb-on          forks and never stops
 *	escape hog              takes memory until it is killed
 *	escape hogs             in four processes
 *	escape hog-HOW          where memory is shared: mapped, map-only, file, thread, open, shm, segment (see share_memory)
 *	escape fits             much that is shared, 32 MiB in all, for a second
 *	escape fds              prints the open files but 0 to 2
 *	escape hidden           writes a file without a name until it cannot
 *	escape hidden-thread    80 MiB of it, that only one thread has open
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *mark = "/no-mark", *host_socket = "slipway-no-socket";
static unsigned tried, escaped;

static void attempt(const char *name, int got)
{
	tried++;
	if (!got)
		return;
	escaped++;
	printf("ESCAPED %s (%s)\n", name, strerror(errno));
	fflush(stdout);
}

static int can_open(const char *path, int flags)
{
	int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	close(fd);
	return 1;
}

static void mounts(void)
{
	attempt("mount tmpfs", mount("none", "/tmp", "tmpfs", 0, NULL) == 0);
	attempt("mount proc", mount("none", "/tmp", "proc", 0, NULL) == 0);
	attempt("bind mount", mount("/usr", "/tmp", NULL, MS_BIND, NULL) == 0);
	attempt("remount /usr writable", mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL) == 0);
	attempt("remount /proc/sys writable", mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL) == 0);
	attempt("unmount /proc/sys", umount2("/proc/sys", MNT_DETACH) == 0);
	attempt("unmount /proc/kcore", umount2("/proc/kcore", MNT_DETACH) == 0);
	attempt("unmount /usr", umount2("/usr", MNT_DETACH) == 0);
	attempt("shared mounts", mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0);
	attempt("open_tree", syscall(428, AT_FDCWD, "/", 1) >= 0);
	attempt("fsopen", syscall(430, "tmpfs", 0) >= 0);
	uint64_t attr[4] = {0, 1, 0, 0};
	attempt("mount_setattr", syscall(442, AT_FDCWD, "/usr", 0, attr, sizeof(attr)) == 0);
	struct stat usr, root;
	if (stat("/usr", &usr) == 0 && stat("/", &root) == 0 && usr.st_dev != root.st_dev) /* the machine's, mounted */
		attempt("write to /usr", can_open("/usr/escape-test", O_WRONLY | O_CREAT));
	attempt("write to /sys", can_open("/sys/power/state", O_WRONLY) || mkdir("/sys/fs/cgroup/escape", 0755) == 0);
	attempt("pivot_root", syscall(SYS_pivot_root, "/tmp", "/tmp") == 0);
}

static void namespaces(void)
{
	static const int flags[] = {CLONE_NEWUSER, CLONE_NEWNS,	 CLONE_NEWPID,	  CLONE_NEWNET,
				    CLONE_NEWUTS,  CLONE_NEWIPC, CLONE_NEWCGROUP, CLONE_NEWUSER | CLONE_NEWNS};
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		attempt("unshare", unshare(flags[i]) == 0);
		long pid = syscall(SYS_clone, (unsigned long)flags[i] | SIGCHLD, NULL, NULL, NULL, 0);
		if (pid == 0)
			_exit(0);
		attempt("clone", pid > 0);
		uint64_t args[8] = {(uint64_t)flags[i], 0, 0, 0, SIGCHLD, 0, 0, 0};
		pid = syscall(435, args, sizeof(args));
		if (pid == 0)
			_exit(0);
		attempt("clone3", pid > 0);
	}
	int fd = open("/proc/1/ns/mnt", O_RDONLY);
	attempt("open pid 1's namespace", fd >= 0);
	fd = open("/proc/self/ns/user", O_RDONLY);
	attempt("setns", fd >= 0 && setns(fd, CLONE_NEWUSER) == 0);
	attempt("sethostname", sethostname("escaped", 7) == 0);
}

/* A device that could be made is an escape where it can be opened, too. */
static void device(const char *what, mode_t type, unsigned major, unsigned minor)
{
	static const char *const places[] = {"/tmp/device", "/dev/device", "/dev/shm/device", "/device"};
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		unlink(places[i]);
		attempt(what,
			mknod(places[i], type | 0666, makedev(major, minor)) == 0 && can_open(places[i], O_RDONLY));
		unlink(places[i]);
	}
}

static void devices(void)
{
	device("/dev/mem", S_IFCHR, 1, 1);
	device("/dev/kmsg", S_IFCHR, 1, 11);
	device("the disk vda", S_IFBLK, 254, 0);
	device("the disk sda", S_IFBLK, 8, 0);
	device("a loop device", S_IFBLK, 7, 0);
	device("/dev/fuse", S_IFCHR, 10, 229);
	attempt("open a disk",
		can_open("/dev/vda", O_RDONLY) || can_open("/dev/sda", O_RDONLY) || can_open("/dev/mem", O_RDONLY));
	attempt("kmsg", can_open("/dev/kmsg", O_RDONLY));
}

static int reads_something(const char *path)
{
	char c;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, &c, 1) : -1;
	if (fd >= 0)
		close(fd);
	return n > 0;
}

static void proc(void)
{
	static const char *const hidden[] = {"/proc/kcore",	  "/proc/keys",	  "/proc/key-users", "/proc/timer_list",
					     "/proc/sched_debug", "/proc/kmsg",	  "/proc/kallsyms",  "/proc/1/environ",
					     "/proc/1/mem",	  "/proc/1/maps", "/proc/1/stack",   "/proc/1/auxv"};
	static const char *const readonly[] = {"/proc/sysrq-trigger",
					       "/proc/sys/kernel/core_pattern",
					       "/proc/sys/kernel/modprobe",
					       "/proc/sys/vm/panic_on_oom",
					       "/proc/sys/fs/binfmt_misc/register",
					       "/proc/irq/default_smp_affinity",
					       "/proc/1/mem"};
	for (size_t i = 0; i < sizeof(hidden) / sizeof(*hidden); i++)
		attempt(hidden[i], reads_something(hidden[i]));
	for (size_t i = 0; i < sizeof(readonly) / sizeof(*readonly); i++)
		attempt(readonly[i], can_open(readonly[i], O_WRONLY));
	char path[4096];
	attempt("readlink /proc/1/exe", readlink("/proc/1/exe", path, sizeof(path)) >= 0);
	attempt("/proc/1/exe", can_open("/proc/1/exe", O_RDONLY));
	attempt("/proc/1/fd", readlink("/proc/1/fd/0", path, sizeof(path)) >= 0);
	snprintf(path, sizeof(path), "/proc/1/root%s", mark);
	attempt("/proc/1/root", can_open(path, O_RDONLY));
	snprintf(path, sizeof(path), "/proc/1/cwd%s", mark);
	attempt("/proc/1/cwd", can_open(path, O_RDONLY));
	attempt("the mark", can_open(mark, O_RDONLY));
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	attempt("a lower oom score", fd >= 0 && write(fd, "-1000", 5) == 5);
	DIR *d = opendir("/proc");
	unsigned others = 0;
	struct dirent *e;
	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && atoi(e->d_name) != 1 && atoi(e->d_name) != getpid())
			others++;
	attempt("other processes", others > 3);
}

static void chroot_out(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open("/", O_RDONLY | O_DIRECTORY);
		char path[4096];
		mkdir("/tmp/c", 0755);
		if (chroot("/tmp/c") < 0 || fchdir(fd) < 0)
			_exit(0);
		for (int i = 0; i < 100; i++)
			if (chdir("..") < 0)
				break;
		if (chroot(".") < 0)
			_exit(0);
		snprintf(path, sizeof(path), "%s", mark);
		_exit(can_open(path, O_RDONLY) ? 1 : 0);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	attempt("chroot and out", WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void others(void)
{
	attempt("ptrace pid 1", ptrace(PTRACE_SEIZE, 1, 0, 0) == 0 || ptrace(PTRACE_ATTACH, 1, 0, 0) == 0);
	char byte;
	struct iovec mine = {&byte, 1}, theirs = {(void *)(uintptr_t)&mark, 1};
	attempt("process_vm_readv of pid 1", syscall(SYS_process_vm_readv, 1, &mine, 1, &theirs, 1, 0) == 1);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", host_socket);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	attempt("abstract socket",
		connect(fd, (struct sockaddr *)&a,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(host_socket))) == 0);
	attempt("raw socket", socket(AF_INET, SOCK_RAW, 1) >= 0);
	attempt("packet socket", socket(AF_PACKET, SOCK_RAW, 0) >= 0);
	attempt("vsock", socket(40, SOCK_STREAM, 0) >= 0);
	attempt("real-time priority", setpriority(PRIO_PROCESS, 0, -10) == 0);
	struct sched_param p = {.sched_priority = 10};
	attempt("real-time scheduling", sched_setscheduler(0, SCHED_FIFO, &p) == 0);
}

static void calls(void)
{
	attempt("add_key", syscall(SYS_add_key, "user", "escape", "x", 1, -2) >= 0);
	attempt("request_key", syscall(SYS_request_key, "user", "escape", NULL, -2) >= 0);
	attempt("keyctl", syscall(SYS_keyctl, 0, -3, 0) >= 0);
	attempt("bpf", syscall(SYS_bpf, 0, "", 0) >= 0 || errno != EPERM);
	attempt("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0) >= 0 || errno != EPERM);
	attempt("userfaultfd", syscall(SYS_userfaultfd, 1) >= 0);
	attempt("io_uring", syscall(425, 1, NULL) >= 0 || errno != EPERM);
	attempt("kexec", syscall(SYS_kexec_load, 0, 0, NULL, 0) >= 0);
	attempt("module", syscall(SYS_init_module, "", 0, "") >= 0 || errno != EPERM);
	attempt("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, 0) >= 0 || errno != EPERM);
	attempt("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL) == 0);
	attempt("swap", syscall(SYS_swapon, "/tmp", 0) == 0);
	struct timeval tv = {0};
	attempt("clock", gettimeofday(&tv, NULL) == 0 && settimeofday(&tv, NULL) == 0);
	attempt("kernel log", klogctl(3, (char[16]){0}, 16) >= 0);
	attempt("personality", syscall(SYS_personality, 0x0200000) >= 0);
	attempt("acct", syscall(SYS_acct, "/tmp/acct") == 0);
	attempt("an unknown call", syscall(1000) >= 0 || errno != ENOSYS);
#ifdef __x86_64__
	long r;
	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(21), "b"(0), "c"(0), "d"(0), "S"(0), "D"(0)
			 : "memory", "r8", "r9", "r10", "r11");
	attempt("mount by a 32-bit call", r != -EPERM);
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(310), "b"(CLONE_NEWUSER) : "memory", "r8", "r9", "r10", "r11");
	attempt("unshare by a 32-bit call", r != -EPERM);
	attempt("mount by an x32 call", syscall(0x40000000 + SYS_mount, 0, 0, 0, 0, 0) >= 0 || errno != ENOSYS);
#endif
}

static void terminal(void)
{
	int m = posix_openpt(O_RDWR | O_NOCTTY);
	int s = -1;
	if (m >= 0 && grantpt(m) == 0 && unlockpt(m) == 0)
		s = open(ptsname(m), O_RDWR | O_NOCTTY);
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		ioctl(s, TIOCSCTTY, 0);
		_exit(ioctl(s, TIOCSTI, "x") == 0 || errno != EPERM);
	}
	int status;
	waitpid(pid, &status, 0);
	attempt("TIOCSTI", s < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0);
	attempt("/dev/tty", can_open("/dev/tty", O_RDWR));
	attempt("/dev/console", can_open("/dev/console", O_RDWR));
}

static void capabilities(void)
{
	static const int none[] = {CAP_SYS_ADMIN,	CAP_SYS_MODULE,	     CAP_SYS_PTRACE,   CAP_SYS_RAWIO,
				   CAP_MKNOD,		CAP_NET_ADMIN,	     CAP_NET_RAW,      CAP_SYS_BOOT,
				   CAP_DAC_READ_SEARCH, CAP_LINUX_IMMUTABLE, CAP_SYS_RESOURCE, CAP_SYS_TIME,
				   CAP_SYSLOG,		CAP_MAC_ADMIN};
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		attempt("a capability in the bounding set", prctl(PR_CAPBSET_READ, none[i], 0, 0, 0) != 0);
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{1u << CAP_SYS_ADMIN, 1u << CAP_SYS_ADMIN, 0}, {0, 0, 0}};
	attempt("capset", syscall(SYS_capset, &h, d) == 0);
}

static void print_fds(void)
{
	for (int i = 3; i < 4096; i++) {
		struct stat st;
		if (fstat(i, &st) == 0)
			printf("%d is open\n", i);
	}
}

static void bomb(int on)
{
	unsigned n = 0;
	for (;;) {
		pid_t pid = fork();
		if (pid == 0 && !on) {
			pause();
			_exit(0);
		}
		if (pid > 0)
			n++;
		if (pid < 0 && !on) {
			printf("%u\n", n);
			return;
		}
	}
}

static void hog(int processes)
{
	for (int i = 1; i < processes; i++)
		if (fork() == 0)
			break;
	for (;;) {
		char *p = malloc(1 << 20);
		if (p)
			memset(p, 1, 1 << 20);
		else
			usleep(10000);
		usleep(500);
	}
}

enum { PIECE = 16 << 20, PIECES = 5 };

static void fill(int fd, size_t size)
{
	static char block[1 << 16];
	memset(block, 1, sizeof(block));
	while (size > 0 && write(fd, block, sizeof(block)) > 0)
		size -= sizeof(block);
}

static char *map_shared(int fd)
{
	char *p = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		exit(9);
	return p;
}

/* A thread with open files of its own, in a process whose first thread has ended. */
static int hoard(void *arg)
{
	unshare(CLONE_FILES);
	if (*(const char *)arg == 'h') { /* on disk */
		int fd = open("/hidden", O_RDWR | O_CREAT, 0600);
		unlink("/hidden");
		fill(fd, PIECE * PIECES);
	} else {
		fill(memfd_create("", 0), PIECE * PIECES);
	}
	while (pause() < 0)
		;
	return 0;
}

static void in_thread(const char *what)
{
	static char stack[65536] __attribute__((aligned(16)));
	if (fork() == 0) {
		clone(hoard, stack + sizeof(stack), CLONE_VM | CLONE_THREAD | CLONE_SIGHAND | CLONE_FILES,
		      (void *)what);
		syscall(SYS_exit, 0);
	}
	for (;;)
		pause();
}

/* 80 MiB, of which no process has more than 16 to itself. */
static void share_memory(const char *how)
{
	if (!strcmp(how, "thread"))
		in_thread(how);
	if (!strcmp(how, "file"))
		fill(open("/dev/shm/a", O_RDWR | O_CREAT, 0600), PIECE * PIECES);
	if (!strcmp(how, "open"))
		fill(memfd_create("", 0), PIECE * PIECES);
	for (int i = 0; i < PIECES; i++) {
		if (!strcmp(how, "segment"))
			memset(shmat(shmget(IPC_PRIVATE, PIECE, 0600), NULL, 0), 1, PIECE);
		if (!strcmp(how, "map-only")) {
			int fd = memfd_create("", 0);
			fill(fd, PIECE);
			memset(map_shared(fd), 2, PIECE);
			close(fd);
		}
		if (!strcmp(how, "mapped") && fork() == 0) {
			memset(map_shared(-1), 1, PIECE);
			pause();
		}
	}
	for (;;)
		pause();
}

/* Each piece of 8 MiB is seen by five processes, and one of them in three ways. */
static void fits(void)
{
	int fd = memfd_create("", 0), file = open("/dev/shm/b", O_RDWR | O_CREAT, 0600);
	char *own = mmap(NULL, PIECE / 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fill(fd, PIECE / 2);
	fill(file, PIECE / 2);
	memset(own, 1, PIECE / 2);
	char *all[] = {map_shared(-1), map_shared(fd), map_shared(fd), map_shared(file)};
	int segment = shmget(IPC_PRIVATE, PIECE / 2, 0600);
	char *attached = shmat(segment, NULL, 0);
	memset(attached, 1, PIECE / 4);
	for (int i = 0; i < PIECES - 1; i++)
		if (fork() == 0)
			break;
	volatile char sum = own[0];
	for (int i = 0; i < PIECE / 2; i += 4096) {
		if (i < PIECE / 4)
			all[0][i] = 1;
		for (int k = 1; k < 4; k++)
			sum = (char)(sum + all[k][i]);
		sum = (char)(sum + own[i] + attached[i / 2]);
	}
	usleep(1500000);
}

static void hidden(void)
{
	static char block[1 << 16];
	int fd = open("/hidden", O_RDWR | O_CREAT, 0600);
	unlink("/hidden");
	memset(block, 1, sizeof(block));
	while (write(fd, block, sizeof(block)) > 0)
		;
	pause();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "bomb") || !strcmp(what, "bomb-on"))
		return bomb(what[4] == '-'), 0;
	if (!strcmp(what, "hog") || !strcmp(what, "hogs"))
		hog(what[3] ? 4 : 1);
	if (!strncmp(what, "hog-", 4))
		share_memory(what + 4);
	if (!strcmp(what, "fits"))
		return fits(), 0;
	if (!strcmp(what, "hidden-thread"))
		in_thread(what);
	if (!strcmp(what, "fds"))
		return print_fds(), 0;
	if (!strcmp(what, "hidden"))
		hidden();
	if (argc > 2) {
		mark = argv[1];
		host_socket = argv[2];
	}
	print_fds();
	mounts();
	namespaces();
	devices();
	proc();
	chroot_out();
	others();
	calls();
	terminal();
	capabilities();
	signal(SIGTERM, SIG_IGN);
	kill(-1, SIGTERM);
	kill(-1, SIGSTOP);
	attempt("kill outer ids", kill(4000000, 0) == 0);
	printf("tried %u\n", tried);
	return escaped > 0;
}
