// SPDX-License-Identifier: Apache-2.0
/* Commands that want to get out, with each kind of ids: tests/lib/escape.c, and what lies in the root that they prepared. */
#include <dirent.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "lib/tiny_root.h"
#include "sandbox/box.h"

static const char *const helper = TEST_BUILD_ROOT "/tests/escape";

static void need_root(void)
{
	if (geteuid() != 0)
		SKIP("kernel: mapping ids of any range needs root");
}

/* The helper at /escape: a copy, since the checkout may be closed to others. */
static void copy_helper(const char *to, mode_t mode)
{
	static char bytes[4 << 20];
	int in = open(helper, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	CHECK_MSG(in >= 0 && out >= 0, "copy '%s' to '%s': %s", helper, to, strerror(errno));
	ssize_t n;
	while ((n = read(in, bytes, sizeof(bytes))) > 0)
		CHECK(write(out, bytes, (size_t)n) == n);
	CHECK(n == 0 && fchmod(out, mode) == 0 && close(in) == 0 && close(out) == 0);
}

static struct tiny *hostile_root(void)
{
	struct tiny *t = tiny_root();
	char path[200];
	snprintf(path, sizeof(path), "%.150s/escape", t->lower);
	copy_helper(path, 0755);
	return t;
}

static void be_hostile(struct tiny *t, const char *program)
{
	static char mark[200], name[64];
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	/* outside: a file for everybody, a listener, a process that could be killed or looked at */
	snprintf(mark, sizeof(mark), "/tmp/slipway-mark.%d", (int)getpid());
	int fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	CHECK(fd >= 0);
	snprintf(name, sizeof(name), "slipway-escape-%d", (int)getpid());
	snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(listener, (struct sockaddr *)&a,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))) == 0 &&
	      listen(listener, 5) == 0);
	pid_t victim = fork();
	if (victim == 0) {
		alarm(60);
		pause();
		_exit(0);
	}
	int leak = open("/etc/passwd", O_RDONLY); /* without close on exec */
	CHECK(leak >= 0 && dup2(leak, 700) == 700);
	t->argv[0] = program;
	t->argv[1] = mark;
	t->argv[2] = name;
	t->argv[3] = NULL;
	tiny_run(t);
	unlink(mark);
	CHECK_MSG(!strstr(t->out, "ESCAPED") && strncmp(t->out, "tried ", 6) == 0, "%s", t->out);
	CHECK_INT(t->result.code, 0);
	int status;
	CHECK_INT(waitpid(victim, &status, WNOHANG), 0); /* neither killed nor stopped */
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
}

TEST(with_mapped_ids)
{
	need_root();
	be_hostile(hostile_root(), "/escape");
}

TEST(with_mapped_ids_as_a_user)
{
	need_root();
	struct tiny *t = hostile_root();
	t->opts.uid = t->opts.gid = 1000;
	be_hostile(t, "/escape");
}

TEST(with_mapped_ids_as_a_user_and_set_user_id)
{
	need_root();
	struct tiny *t = hostile_root();
	char path[200];
	snprintf(path, sizeof(path), "%.150s/escape", t->lower);
	CHECK(chmod(path, 04755) == 0);
	t->opts.uid = t->opts.gid = 1000;
	be_hostile(t, "/escape");
}

TEST(with_plain_ids)
{
	need_root();
	box_ids_force(BOX_IDS_PLAIN);
	be_hostile(hostile_root(), "/escape");
}

TEST(with_plain_ids_and_set_user_id)
{
	need_root();
	box_ids_force(BOX_IDS_PLAIN);
	struct tiny *t = hostile_root();
	char path[200];
	snprintf(path, sizeof(path), "%.150s/escape", t->lower);
	CHECK(chmod(path, 04755) == 0);
	t->opts.uid = t->opts.gid = 1000;
	be_hostile(t, "/escape");
}

TEST(with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	be_hostile(hostile_root(), "/escape");
}

static void on_the_hosts_network(struct tiny *t)
{
	if (syscall(444, NULL, 0, 1) < 6)
		SKIP("kernel: abstract sockets are not scoped (Linux 6.12, Landlock)");
	t->opts.network_host = true;
	be_hostile(t, "/escape");
}

TEST(on_the_hosts_network_with_mapped_ids)
{
	need_root();
	on_the_hosts_network(hostile_root());
}

TEST(on_the_hosts_network_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	on_the_hosts_network(hostile_root());
}

TEST(with_the_hosts_files_as_root)
{
	need_root();
	struct tiny *t = hostile_root();
	t->opts.root = (struct sandbox_root){.dir = t->lower};
	be_hostile(t, "/escape");
}

/* ---- set-user-id: works inside, means nothing outside ---- */

TEST(set_user_id_works_inside_only)
{
	need_root();
	struct tiny *t = tiny_root();
	t->opts.uid = t->opts.gid = 1000;
	/* `id` as a set-user-id copy in the lower layer, owned by root there */
	char cmd[400];
	snprintf(cmd, sizeof(cmd), "cp /usr/bin/id '%.100s/' && chmod 4755 '%.100s/id'", t->lower, t->lower);
	CHECK(system(cmd) == 0);
	tiny_sh(t, "/id -u; grep NoNewPrivs /proc/self/status");
	CHECK_STR(tiny_run(t), "0\nNoNewPrivs:\t0\n");
	t->opts.no_new_privileges = true;
	CHECK_STR(tiny_run(t), "1000\nNoNewPrivs:\t1\n");
}

/* How many processes of the machine run "sleep WORD"; one of them. */
static int find_process(const char *word, pid_t *ret_pid, unsigned *ret_uid)
{
	DIR *d = opendir("/proc");
	struct dirent *entry;
	int n = 0;
	while (d && (entry = readdir(d))) {
		char path[300], text[300] = "", want[64];
		struct stat st;
		snprintf(path, sizeof(path), "/proc/%.200s/cmdline", entry->d_name);
		int fd = entry->d_name[0] > '0' && entry->d_name[0] <= '9' ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		if (fd < 0)
			continue;
		ssize_t got = read(fd, text, sizeof(text) - 1);
		bool known = fstat(fd, &st) == 0;
		close(fd);
		int size = snprintf(want, sizeof(want), "sleep%c%s", '\0', word);
		if (got != size + 1 || memcmp(text, want, (size_t)size) != 0 || !known)
			continue;
		n++;
		struct str s = str_c(entry->d_name);
		uint64_t pid = 0;
		CHECK(str_take_u64(&s, &pid));
		*ret_pid = (pid_t)pid;
		*ret_uid = st.st_uid;
	}
	if (d)
		closedir(d);
	return n;
}

static pid_t run_in_child(struct tiny *t, const char *script)
{
	tiny_sh(t, script);
	pid_t child = fork();
	if (child == 0) {
		int r;
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing */
		tiny_try(t, &r);
		_exit(r == 0 ? t->result.end : 100);
	}
	return child;
}

static int await_process(const char *word, int want, pid_t *ret_pid, unsigned *ret_uid)
{
	int n = -1;
	for (int i = 0; i < 200 && n != want; i++) {
		n = find_process(word, ret_pid, ret_uid);
		if (n != want)
			usleep(20000);
	}
	return n;
}

TEST(root_inside_is_nobody_outside)
{
	need_root();
	struct tiny *t = tiny_root();
	pid_t pid, child = run_in_child(t, "exec sleep 1117.3");
	unsigned uid;
	CHECK_INT(await_process("1117.3", 1, &pid, &uid), 1);
	unsigned outside = uid;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	tiny_sh(t, "true");
	tiny_run(t);
	struct err e = ERR_INIT;
	struct box b = {.o = &t->opts};
	CHECK(box_ids_get(&b, &e) == 0);
	if (b.ids == BOX_IDS_MAPPED)
		CHECK_MSG(outside == 0x70000000, "uid %u", outside);
	CHECK_INT(await_process("1117.3", 0, &pid, &uid), 0);
}

static pid_t caller_is_killed(struct tiny *t)
{
	pid_t pid, child = run_in_child(t, "(trap '' TERM; setsid sleep 1119.7) & setsid sleep 1119.7 & sleep 1119.7");
	unsigned uid;
	CHECK_INT(await_process("1119.7", 3, &pid, &uid), 3);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	CHECK_INT(await_process("1119.7", 0, &pid, &uid), 0);
	char cmd[400];
	snprintf(cmd, sizeof(cmd), "! grep -q '%.120s' /proc/self/mountinfo", t->dir);
	CHECK(system(cmd) == 0);
	/* and what is there works again */
	tiny_sh(t, "echo again");
	CHECK_STR(tiny_run(t), "again\n");
	return child;
}

TEST(caller_is_killed_mapped)
{
	need_root();
	struct tiny *t = tiny_root();
	t->opts.limits = (struct sandbox_limits){.memory_bytes = 1 << 30, .processes = 100};
	pid_t child = caller_is_killed(t);
	/* its control groups are gone, too: by the run after it */
	char cmd[200];
	snprintf(cmd, sizeof(cmd), "! find /sys/fs/cgroup -maxdepth 5 -name 'slipway-box-%d-*' 2>/dev/null | grep .",
		 (int)child);
	CHECK(system(cmd) == 0);
}

/* ---- control groups of others ---- */

enum whose { OF_A_CHILD, OF_ANOTHER_NAMESPACE };

/* In a child that lives until it is killed. */
static pid_t make_group(enum whose whose, const struct sandbox_limits *limits, struct box_cgroup *ret)
{
	struct box_cgroup *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int ready[2];
	char byte;
	CHECK(shared != MAP_FAILED && pipe(ready) == 0);
	usleep(30000); /* another start time than the parent's, which are counted in hundredths of a second */
	/* not unshare: the leak checker's process would be of that namespace, too, when it is gone */
	pid_t child = whose == OF_ANOTHER_NAMESPACE ? (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0)
						    : fork();
	CHECK(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (whose == OF_ANOTHER_NAMESPACE &&
		    (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		     mount("proc", "/proc", "proc", 0, NULL) < 0))
			_exit(1);
		box_cgroup_make(limits, shared);
		if (write(ready[1], "", 1) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	CHECK(close(ready[1]) == 0 && read(ready[0], &byte, 1) == 1 && close(ready[0]) == 0);
	*ret = *shared;
	munmap(shared, sizeof(*shared));
	return child;
}

static void sweeps(enum whose whose)
{
	need_root();
	const struct sandbox_limits limits = {.memory_bytes = 1 << 30, .processes = 100};
	struct sandbox_result res;
	struct box_cgroup own, other, third;
	box_cgroup_make(&limits, &own);
	if (!own.path[0][0])
		SKIP("kernel: no control group for memory");
	pid_t child = make_group(whose, &limits, &other);
	box_cgroup_make(&limits, &third);
	CHECK_MSG(access(other.path[0], F_OK) == 0, "'%s' was removed", other.path[0]);
	CHECK(strcmp(own.path[0], other.path[0]) != 0 && strcmp(third.path[0], other.path[0]) != 0);
	box_cgroup_remove(&third, &res);
	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	box_cgroup_make(&limits, &third);
	for (int i = 0; i < 100 && access(other.path[0], F_OK) == 0; i++)
		usleep(20000); /* somebody else's run may be at it */
	CHECK_MSG(access(other.path[0], F_OK) < 0, "'%s' was left", other.path[0]);
	CHECK_MSG(access(own.path[0], F_OK) == 0, "'%s' was removed", own.path[0]);
	box_cgroup_remove(&third, &res);
	box_cgroup_remove(&own, &res);
	CHECK(access(own.path[0], F_OK) < 0 && access(third.path[0], F_OK) < 0);
}

TEST(the_group_of_a_child_is_left_alone)
{
	sweeps(OF_A_CHILD);
}

TEST(the_group_of_another_pid_namespace_is_left_alone)
{
	sweeps(OF_ANOTHER_NAMESPACE);
}

TEST(caller_is_killed_plain)
{
	need_root();
	box_ids_force(BOX_IDS_PLAIN);
	caller_is_killed(tiny_root());
}

TEST(caller_is_killed_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	caller_is_killed(tiny_root());
}

TEST(the_first_process_is_killed)
{
	struct tiny *t = tiny_root();
	int fds[2];
	CHECK(pipe(fds) == 0);
	pid_t child = fork();
	if (child == 0) {
		int r;
		tiny_sh(t, "sleep 1123.1");
		tiny_try(t, &r);
		CHECK(write(fds[1], &r, sizeof(r)) == sizeof(r));
		_exit(0);
	}
	pid_t pid, parent = 0;
	unsigned uid;
	CHECK_INT(await_process("1123.1", 1, &pid, &uid), 1);
	char cmd[100];
	snprintf(cmd, sizeof(cmd), "awk '/^PPid/ {print $2}' /proc/%d/status", (int)pid);
	for (int up = 0; up < 2; up++) { /* sleep, sh, then pid 1 of the sandbox */
		FILE *f = popen(cmd, "r");
		CHECK(f && fscanf(f, "%d", &parent) == 1);
		pclose(f);
		snprintf(cmd, sizeof(cmd), "awk '/^PPid/ {print $2}' /proc/%d/status", (int)parent);
		if (parent == child)
			break;
		pid = parent;
	}
	CHECK(kill(pid, SIGKILL) == 0);
	int r = 0;
	CHECK(read(fds[0], &r, sizeof(r)) == sizeof(r));
	waitpid(child, NULL, 0);
	CHECK_INT(await_process("1123.1", 0, &pid, &uid), 0);
}

/* ---- sandboxes inside a sandbox, where asked ---- */

static void nested(struct tiny *t)
{
	static const char script[] =
		"mount -t tmpfs none /tmp && echo mounted\n"
		"mount -t proc none /proc && mount -t tmpfs none /dev && echo proc\n"
		"for f in sysrq-trigger sys/kernel/core_pattern sys/kernel/modprobe sys/vm/panic_on_oom irq/default_smp_affinity kcore; do\n"
		"  (: >/proc/$f) 2>/dev/null && echo wrote $f; done\n"
		"for f in kcore kmsg timer_list 1/environ; do head -c 1 /proc/$f 2>/dev/null | grep -q . && [ $f != 1/environ ] && echo read $f; done\n"
		"mount -o remount,bind,rw /usr 2>/dev/null && echo remounted\n"
		"umount /usr 2>/dev/null && echo uncovered\n"
		"mknod /tmp/d b 254 0 2>/dev/null && head -c 1 /tmp/d && echo device\n"
		"echo end";
	char path[200];
	snprintf(path, sizeof(path), "%.150s/nested", t->lower);
	int fd = open(path, O_WRONLY | O_CREAT, 0755);
	CHECK(fd >= 0 && write(fd, script, strlen(script)) == (ssize_t)strlen(script) && close(fd) == 0);
	t->opts.nested = true;
	tiny_sh(t, "unshare -Urmpf sh /nested");
	CHECK_STR(tiny_run(t), "mounted\nproc\nend\n");
	t->opts.nested = false;
	tiny_run(t);
	CHECK_MSG(t->result.code != 0 && strstr(t->out, "not permitted"), "%s", t->out);
}

TEST(nested_with_mapped_ids)
{
	need_root();
	nested(tiny_root());
}

TEST(nested_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	nested(tiny_root());
}

TEST(nested_with_plain_ids_is_refused)
{
	need_root();
	box_ids_force(BOX_IDS_PLAIN);
	struct tiny *t = tiny_root();
	int r;
	t->opts.nested = true;
	tiny_sh(t, "true");
	tiny_try(t, &r);
	CHECK(r == -1);
	CHECK_INT(t->err.code, ERR_UNSUPPORTED);
}

/* ---- what lies in the root ---- */

static void plant(struct tiny *t, const char *name, const char *text)
{
	char path[300];
	snprintf(path, sizeof(path), "%.150s/%s", t->lower, name);
	int fd = open(path, O_WRONLY | O_CREAT, 0755);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, 0755) == 0 &&
	      close(fd) == 0);
}

static void ourselves(struct tiny *t)
{
	static const char *const ways[] = {"/script", "/twice", "/link", "/thread"};
	plant(t, "script", "#!/proc/self/exe\n");
	plant(t, "twice", "#! /script x\n");
	plant(t, "thread", "#!/proc/thread-self/exe -a");
	tiny_link(t->lower, "/proc/self/exe", "link");
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		int r;
		t->argv[0] = ways[i];
		t->argv[1] = NULL;
		tiny_try(t, &r);
		CHECK_MSG(r == -1 && strstr(t->err.msg, "not permitted"), "%s: %d %s", ways[i], r, t->err.msg);
	}
}

TEST(our_own_program_is_not_run_inside)
{
	ourselves(tiny_root());
}

TEST(our_own_program_is_not_run_inside_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	ourselves(tiny_root());
}

static void links_out(struct tiny *t)
{
	char outside[200], path[300];
	struct stat st;
	snprintf(outside, sizeof(outside), "%.120s/outside", t->dir);
	CHECK(mkdir(outside, 0777) == 0);
	/* /etc, a mount's target, a secret's, the working folder: links to where the outside is, absolute and relative */
	snprintf(path, sizeof(path), "%.150s/etc", t->lower);
	CHECK(rmdir(path) == 0);
	tiny_link(t->lower, outside, "absolute");
	char relative[300];
	snprintf(relative, sizeof(relative), "../../../../../../..%.140s", outside);
	tiny_link(t->lower, relative, "relative");
	tiny_link(t->lower, "../../..", "etc");
	struct sandbox_secret s = {"/relative2/pw", STR("x")};
	snprintf(path, sizeof(path), "%.130s%.140s", t->lower, outside);
	char cmd[800];
	snprintf(cmd, sizeof(cmd), "mkdir -p '%.290s' && ln -s '%.200s' '%.150s/relative2'", path, relative, t->lower);
	CHECK(system(cmd) == 0);
	t->mounts[1] = (struct sandbox_mount){.source = t->work, .target = "/absolute/mounted"};
	t->opts.n_mounts = 2;
	t->opts.secrets = &s;
	t->opts.n_secrets = 1;
	t->opts.cwd = "/absolute/cwd";
	tiny_sh(t, "echo here; cat /hosts | head -1; pwd");
	char want[400];
	snprintf(want, sizeof(want), "here\n127.0.0.1 localhost builder\n%s/cwd\n", outside);
	CHECK_STR(tiny_run(t), want);
	snprintf(path, sizeof(path), "%s/cwd", outside);
	CHECK(stat(path, &st) < 0);
	CHECK(rmdir(outside) == 0); /* nothing was made there */
}

TEST(links_in_the_root_lead_nowhere)
{
	links_out(tiny_root());
}

TEST(links_in_the_root_lead_nowhere_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	links_out(tiny_root());
}

TEST(links_to_what_is_not_there)
{
	struct tiny *t = tiny_root();
	int r;
	tiny_link(t->lower, "/no/such/place", "dangling");
	t->mounts[1] = (struct sandbox_mount){.source = t->work, .target = "/dangling/x"};
	t->opts.n_mounts = 2;
	tiny_sh(t, "true");
	tiny_try(t, &r);
	CHECK_MSG(r == -1 && strstr(t->err.msg, "dangling"), "%s", t->err.msg);
}

TEST(a_loop_of_links)
{
	struct tiny *t = tiny_root();
	int r;
	tiny_link(t->lower, "loop", "loop");
	t->opts.cwd = "/loop";
	tiny_sh(t, "true");
	tiny_try(t, &r);
	CHECK_INT(r, -1);
}

/* ---- limits ---- */

static void limited(struct tiny *t, const char *word)
{
	t->argv[0] = "/escape";
	t->argv[1] = word;
	t->argv[2] = NULL;
	tiny_run(t);
}

static int64_t mono_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void bombs(struct tiny *t)
{
	t->opts.limits.processes = 60;
	t->opts.limits.time_ms = 20000;
	limited(t, "bomb");
	CHECK_INT(t->result.end, SANDBOX_EXITED);
	int forks = -1;
	CHECK(sscanf(t->out, "%d", &forks) == 1);
	CHECK_MSG(forks > 20 && forks <= 60, "%d forks", forks);
	t->opts.limits.time_ms = 1000;
	int64_t start = mono_ms();
	limited(t, "bomb-on");
	CHECK_INT(t->result.end, SANDBOX_TIME);
	CHECK(mono_ms() - start < 15000); /* the host answers */
}

TEST(fork_bomb)
{
	need_root();
	struct sandbox_can can;
	sandbox_probe(&can);
	struct tiny *t = hostile_root();
	bombs(t);
	if (can.cgroup_pids)
		CHECK(t->result.forks_refused > 0);
}

TEST(fork_bomb_of_a_user)
{
	tiny_as(1017);
	box_ids_force(BOX_IDS_ONE);
	bombs(hostile_root());
}

static void hogs(struct tiny *t)
{
	t->opts.limits = (struct sandbox_limits){.memory_bytes = 48 << 20, .time_ms = 30000};
	limited(t, "hogs");
	CHECK_INT(t->result.end, SANDBOX_MEMORY);
	limited(t, "hog");
	CHECK_MSG(t->result.end == SANDBOX_MEMORY || t->result.end == SANDBOX_TIME, "%d", t->result.end);
}

TEST(memory_hogs)
{
	need_root();
	struct tiny *t = hostile_root();
	hogs(t);
	CHECK_INT(t->result.end, SANDBOX_MEMORY);
	CHECK_MSG(t->result.peak_bytes > 16 << 20 && t->result.peak_bytes <= 49 << 20, "peak %" PRIu64,
		  t->result.peak_bytes);
}

TEST(memory_hogs_of_a_user)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	struct tiny *t = hostile_root();
	t->opts.limits = (struct sandbox_limits){.memory_bytes = 48 << 20, .time_ms = 30000};
	limited(t, "hogs");
	CHECK_INT(t->result.end, SANDBOX_MEMORY);
}

/* As on a machine without control groups. */
static void hide_control_groups(void)
{
	need_root();
	CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, NULL) == 0);
}

static void shared_hogs(struct tiny *t)
{
	static const char *const how[] = {"hogs",	"hog-mapped", "hog-map-only", "hog-file",
					  "hog-thread", "hog-open",   "hog-segment"};
	t->opts.limits = (struct sandbox_limits){.memory_bytes = 48 << 20, .time_ms = 30000};
	for (size_t i = 0; i < sizeof(how) / sizeof(*how); i++) {
		limited(t, how[i]);
		CHECK_MSG(t->result.end == SANDBOX_MEMORY, "%s: %d", how[i], t->result.end);
	}
	t->opts.limits.memory_bytes = 35 << 20; /* it has 32, and itself */
	limited(t, "fits");
	CHECK_INT(t->result.end, SANDBOX_EXITED);
	CHECK_INT(t->result.code, 0);
}

TEST(shared_memory_counts_once)
{
	hide_control_groups();
	shared_hogs(hostile_root());
}

TEST(shared_memory_counts_once_with_plain_ids)
{
	hide_control_groups();
	box_ids_force(BOX_IDS_PLAIN);
	struct tiny *t = hostile_root();
	t->opts.uid = t->opts.gid = 1000;
	shared_hogs(t);
}

TEST(shared_memory_counts_once_with_one_id)
{
	if (geteuid() == 0)
		hide_control_groups();
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	shared_hogs(hostile_root());
}

TEST(disk_hog)
{
	struct tiny *t = tiny_root();
	t->opts.limits = (struct sandbox_limits){.disk_bytes = 24 << 20, .time_ms = 60000};
	tiny_sh(t, "dd if=/dev/zero of=/a bs=1M count=16 2>/dev/null && echo fits");
	CHECK_STR(tiny_run(t), "fits\n");
	CHECK_INT(t->result.end, SANDBOX_EXITED);
	tiny_sh(t, "i=0; while :; do i=$((i + 1)); dd if=/dev/zero of=/f$i bs=1M count=1 2>/dev/null; done");
	tiny_run(t);
	CHECK_INT(t->result.end, SANDBOX_DISK);
	/* quick ones are seen when they end */
	tiny_sh(t, "rm -f /f*; dd if=/dev/zero of=/b bs=1M count=40 2>/dev/null; exit 0");
	tiny_run(t);
	CHECK_INT(t->result.end, SANDBOX_DISK);
}

TEST(chatterbox)
{
	struct tiny *t = tiny_root();
	t->opts.limits = (struct sandbox_limits){.output_bytes = 1 << 20, .time_ms = 60000};
	tiny_sh(t, "while :; do echo and another line of words that nobody will ever read; done");
	tiny_run(t);
	CHECK_INT(t->result.end, SANDBOX_OUTPUT);
	tiny_sh(t, "echo little");
	tiny_run(t);
	CHECK_INT(t->result.end, SANDBOX_EXITED);
}

static void private_folder(struct tiny *t)
{
	t->opts.limits = (struct sandbox_limits){.disk_bytes = 24 << 20, .time_ms = 60000};
	tiny_sh(t,
		"umask 077; mkdir -p /a/b; dd if=/dev/zero of=/a/b/c bs=1M count=12 2>/dev/null; chmod 0 /a/b /a; sleep 3.5; echo fits");
	CHECK_STR(tiny_run(t), "fits\n");
	CHECK_INT(t->result.end, SANDBOX_EXITED);
	tiny_sh(t, "mkdir /d; cd /d; dd if=/dev/zero of=x bs=1M count=26 2>/dev/null; chmod 0 .; sleep 20");
	tiny_run(t);
	CHECK_INT(t->result.end, SANDBOX_DISK);
}

TEST(what_is_closed_to_others_counts_once)
{
	private_folder(tiny_root());
}

TEST(what_is_closed_to_others_counts_once_with_a_folder)
{
	struct tiny *t = tiny_root();
	t->opts.root = (struct sandbox_root){.dir = t->lower};
	private_folder(t);
}

TEST(what_is_closed_to_others_counts_once_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	private_folder(tiny_root());
}

/* A folder of 30 MiB at path. */
static void make_large(const char *dir)
{
	char cmd[600];
	snprintf(cmd, sizeof(cmd),
		 "mkdir -p '%.150s' && cd '%.150s' && dd if=/dev/zero of=old bs=1M count=30 2>/dev/null", dir, dir);
	CHECK(system(cmd) == 0 && usleep(50000) == 0);
}

static void hogs_a_cache(struct tiny *t)
{
	tiny_sh(t, "sleep 3.5; cat /cache/old /old >/dev/null 2>&1; echo x >/cache/x; echo fits");
	CHECK_STR(tiny_run(t), "fits\n");
	CHECK_INT(t->result.end, SANDBOX_EXITED);
	tiny_sh(t,
		"dd if=/dev/zero of=/cache/new bs=1M count=12 2>/dev/null; dd if=/dev/zero of=/new bs=1M count=14 2>/dev/null; "
		"sleep 20");
	tiny_run(t);
	CHECK_INT(t->result.end, SANDBOX_DISK);
}

TEST(disk_hog_in_a_cache)
{
	struct tiny *t = tiny_root();
	static char cache[160];
	snprintf(cache, sizeof(cache), "%.120s/cache", t->dir);
	make_large(cache);
	make_large(t->lower);
	t->opts.limits = (struct sandbox_limits){.disk_bytes = 24 << 20, .time_ms = 60000};
	t->opts.root = (struct sandbox_root){.dir = t->lower};
	t->mounts[1] = (struct sandbox_mount){.source = cache, .target = "/cache"};
	t->opts.n_mounts = 2;
	hogs_a_cache(t);
}

TEST(disk_hog_in_a_cache_of_layers)
{
	tiny_needs_layers();
	struct tiny *t = tiny_root();
	static char folder[3][160];
	static const char *const names[] = {"old", "new", "work2"};
	static const char *lower[] = {folder[0]};
	for (int i = 0; i < 3; i++) {
		snprintf(folder[i], sizeof(folder[i]), "%.120s/%s", t->dir, names[i]);
		CHECK(mkdir(folder[i], 0755) == 0);
	}
	make_large(folder[0]);
	static struct sandbox_root root;
	root = (struct sandbox_root){.lower = lower, .n_lower = 1, .upper = folder[1], .work = folder[2]};
	t->opts.limits = (struct sandbox_limits){.disk_bytes = 24 << 20, .time_ms = 60000};
	t->mounts[1] = (struct sandbox_mount){.root = &root, .target = "/cache"};
	t->opts.n_mounts = 2;
	hogs_a_cache(t);
}

TEST(disk_hog_without_a_name)
{
	struct tiny *t = hostile_root();
	t->opts.limits = (struct sandbox_limits){.disk_bytes = 24 << 20, .time_ms = 60000};
	limited(t, "hidden");
	CHECK_INT(t->result.end, SANDBOX_DISK);
	limited(t, "hidden-thread");
	CHECK_INT(t->result.end, SANDBOX_DISK);
}
