// SPDX-License-Identifier: Apache-2.0
/* Running commands, with each kind of ids: as root those of root, and of another user after giving root up. */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/xattr.h>

#include "lib/tiny_root.h"
#include "sandbox/box.h"

static void check_command(struct tiny *t)
{
	tiny_sh(t, "echo hello; echo world >&2; echo kept >/kept; id -u; id -G; pwd; hostname; exit 3");
	t->opts.cwd = "/src/deep";
	CHECK_STR(tiny_run(t), "hello\nworld\n0\n0\n/src/deep\nbuilder\n");
	CHECK_INT(t->result.end, SANDBOX_EXITED);
	CHECK_INT(t->result.code, 3);
	char path[256];
	struct stat st;
	snprintf(path, sizeof(path), "%.150s/kept", t->upper);
	CHECK(stat(path, &st) == 0 && st.st_size == 5);
	CHECK_INT(st.st_uid, geteuid());
	snprintf(path, sizeof(path), "%.150s/src/deep", t->upper);
	CHECK(stat(path, &st) == 0 && st.st_uid == geteuid());
}

static enum box_ids ids_used(void)
{
	struct err e = ERR_INIT;
	struct sandbox_opts o = SANDBOX_OPTS_INIT;
	struct box b = {.o = &o};
	CHECK_MSG(box_ids_get(&b, &e) == 0, "%s", e.msg);
	return b.ids;
}

static void need_root(void)
{
	if (geteuid() != 0)
		SKIP("kernel: mapping ids of any range needs root");
}

/* Gives user 1000 a range, in a mount namespace of this process alone, whose /etc is laid over the machine's: that stays as it is. */
static void give_range(void)
{
	static const char *const files[] = {"/etc/subuid", "/etc/subgid"};
	need_root();
	if (access("/usr/bin/newuidmap", X_OK) < 0)
		SKIP("build: no newuidmap (package uidmap)");
	CHECK(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("tmpfs", "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(mkdir("/mnt/upper", 0755) == 0 && mkdir("/mnt/work", 0755) == 0);
	if (mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work") < 0)
		SKIP("kernel: no overlay on '/etc': %s", strerror(errno));
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		FILE *f = fopen(files[i], "w");
		CHECK(f && fputs("# none\nother:5:5\n1000:200000:65536\n", f) >= 0 && fclose(f) == 0);
		CHECK(chmod(files[i], 0644) == 0);
	}
	tiny_as(1000);
}

TEST(runs_with_mapped_ids)
{
	need_root();
	check_command(tiny_root());
	if (ids_used() != BOX_IDS_MAPPED)
		SKIP("kernel: no mapped ids on overlay layers (Linux 5.19)");
}

TEST(runs_with_plain_ids)
{
	need_root();
	box_ids_force(BOX_IDS_PLAIN);
	check_command(tiny_root());
	CHECK_INT(ids_used(), BOX_IDS_PLAIN);
}

TEST(runs_with_a_range_of_ids)
{
	give_range();
	struct tiny *t = tiny_root();
	check_command(t);
	CHECK_INT(ids_used(), BOX_IDS_RANGE);
	tiny_sh(t, "touch /f && chown 1000:5 /f && stat -c '%u %g' /f");
	CHECK_STR(tiny_run(t), "1000 5\n");
}

TEST(runs_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	struct tiny *t = tiny_root();
	check_command(t);
	CHECK_INT(ids_used(), BOX_IDS_ONE);
	tiny_sh(t, "touch /f && chown 1000:5 /f && stat -c '%u %g' /f");
	CHECK_STR(tiny_run(t), "0 0\n");
	t->opts.uid = t->opts.gid = 1000;
	tiny_sh(t, "id -u; stat -c '%u %g' /f");
	CHECK_STR(tiny_run(t), "1000\n1000 1000\n");
}

TEST(a_user_of_the_sandbox)
{
	need_root();
	struct tiny *t = tiny_root();
	t->opts.uid = 1000;
	t->opts.gid = 1001;
	tiny_sh(t,
		"id -u; id -g; id -G; touch /f 2>/dev/null && echo bad; touch /tmp/f || echo cannot; grep -h CapEff /proc/self/status");
	CHECK_STR(
		tiny_run(t),
		"1000\n1001\n1001\ntouch: cannot touch '/tmp/f': Permission denied\ncannot\nCapEff:\t0000000000000000\n");
}

TEST(environment_is_exact)
{
	struct tiny *t = tiny_root();
	t->argv[0] = "env";
	t->env[1] = "A=b c";
	CHECK_STR(tiny_run(t), "PATH=/usr/bin:/bin:/usr/sbin:/sbin\nA=b c\n");
}

static const char *home_of(struct tiny *t, uid_t uid, const char *passwd)
{
	char path[256];
	snprintf(path, sizeof(path), "%.150s/etc", t->upper);
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%.150s/etc/passwd", t->upper);
	FILE *f = fopen(path, "w");
	CHECK(f && fputs(passwd, f) >= 0 && fclose(f) == 0);
	tiny_sh(t, "echo $HOME");
	t->opts.home = true;
	t->opts.uid = uid;
	return tiny_run(t);
}

/* 1 is the one limit that keeps a core from the host's handler, too. */
TEST(no_core_reaches_the_host)
{
	struct tiny *t = tiny_root();
	tiny_sh(t, "while read -r line; do case $line in 'Max core'*) echo $line ;; esac; done </proc/self/limits");
	CHECK_STR(tiny_run(t), "Max core file size 1 1 bytes\n");
}
TEST(a_home)
{
	need_root();
	struct tiny *t = tiny_root();
	CHECK_STR(home_of(t, 7, "root:x:0:0:r:/root:/bin/sh\nseven:x:7:8::/home/7:/bin/sh\n"), "/home/7\n");
	CHECK_STR(home_of(t, 0, "root:x:0:0:r:/root:/bin/sh\nseven:x:7:8::/home/7:/bin/sh\n"), "/root\n");
	CHECK_STR(home_of(t, 8, "root:x:0:0:r:/root:/bin/sh\nseven:x:7:8::/home/7:/bin/sh\n"), "/\n");
	CHECK_STR(home_of(t, 7, "a:x:7b:8::/no:\nb:x:7:8::relative:\nc:x:7:8::/last"), "/last\n");
	char long_one[4000];
	memset(long_one, 'x', sizeof(long_one));
	strncpy(long_one + sizeof(long_one) - 60, ":x:7:8::/no:\nseven:x:7:8::/yes:/bin/sh\n", 60);
	CHECK_STR(home_of(t, 7, long_one), "/yes\n");
	t->env[1] = "HOME=/mine";
	CHECK_STR(tiny_run(t), "/mine\n");
}

TEST(a_command_that_is_not_there)
{
	struct tiny *t = tiny_root();
	int r;
	t->argv[0] = "no-such-program";
	tiny_try(t, &r);
	CHECK_INT(r, -1);
	CHECK_INT(t->err.code, ERR_NOT_FOUND);
	CHECK_STR(t->err.msg, "run 'no-such-program' in the sandbox: No such file or directory");
}

TEST(signals_are_told)
{
	struct tiny *t = tiny_root();
	tiny_sh(t, "kill -SEGV $$");
	tiny_run(t);
	CHECK_INT(t->result.end, SANDBOX_SIGNALLED);
	CHECK_INT(t->result.code, SIGSEGV);
}

TEST(what_is_left_running_is_killed)
{
	struct tiny *t = tiny_root();
	tiny_sh(t, "(trap '' TERM HUP; sleep 100; echo bad) & (sleep 0.1; exit 7) & setsid sleep 100 & echo done");
	CHECK_STR(tiny_run(t), "done\n");
	CHECK_INT(t->result.code, 0);
	CHECK(t->result.wall_us < 20 * 1000000);
}

TEST(orphans_are_reaped)
{
	struct tiny *t = tiny_root();
	tiny_sh(t, "for i in 1 2 3 4 5; do (true & true) & done; wait; sleep 0.2; ps -e -o stat= | grep -c Z");
	CHECK_STR(tiny_run(t), "0\n");
}

TEST(time_runs_out)
{
	struct tiny *t = tiny_root();
	tiny_sh(t, "echo begun; sleep 100");
	t->opts.limits.time_ms = 300;
	CHECK_STR(tiny_run(t), "begun\n");
	CHECK_INT(t->result.end, SANDBOX_TIME);
}

TEST(cancelled)
{
	struct tiny *t = tiny_root();
	int fds[2];
	CHECK(pipe2(fds, O_CLOEXEC) == 0 && close(fds[1]) == 0);
	tiny_sh(t, "sleep 100");
	t->opts.cancel_fd = fds[0];
	tiny_run(t);
	CHECK_INT(t->result.end, SANDBOX_CANCELLED);
}

/* ---- what it prints ---- */

static void prints(struct tiny *t, uid_t uid)
{
	struct stat st;
	char path[200];
	snprintf(path, sizeof(path), "%.150s/output", t->dir);
	t->opts.uid = t->opts.gid = uid;
	/* names of the output open nothing else, and lose nothing of it */
	tiny_sh(t, "echo one; echo two >/dev/stderr; echo three >/dev/stdout; echo four >>/proc/self/fd/1");
	CHECK_STR(tiny_run(t), "one\ntwo\nthree\nfour\n");
	tiny_sh(t,
		"echo one; (chmod 04777 /proc/self/fd/1; truncate -s 0 /proc/self/fd/1; fallocate -n -l 99M /proc/self/fd/1; "
		"chown 1 /proc/self/fd/1) 2>/dev/null; echo two");
	CHECK_STR(tiny_run(t), "one\ntwo\n");
	CHECK(stat(path, &st) == 0);
	CHECK_INT(st.st_mode & 07777, 0600);
	CHECK_INT(st.st_uid, geteuid());
	CHECK(st.st_blocks < 1000);
	/* all of it, when it ends at once */
	tiny_sh(t, "seq 1 300000");
	tiny_run(t);
	CHECK(stat(path, &st) == 0);
	CHECK_INT(st.st_size, 1988895);
}

TEST(prints_with_mapped_ids)
{
	need_root();
	prints(tiny_root(), 0);
}

TEST(prints_with_plain_ids_as_a_user)
{
	need_root();
	box_ids_force(BOX_IDS_PLAIN);
	prints(tiny_root(), 1000);
}

TEST(prints_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	prints(tiny_root(), 0);
}

TEST(prints_more_than_can_be_kept)
{
	struct tiny *t = tiny_root();
	struct rlimit little = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
	int r;
	CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR && setrlimit(RLIMIT_FSIZE, &little) == 0);
	tiny_sh(t, "seq 1 30000; sleep 60");
	tiny_try(t, &r);
	CHECK_INT(r, -1);
	CHECK_MSG(strstr(t->err.msg, "keep what the command prints: File too large"), "%s", t->err.msg);
}

TEST(a_folder_as_root)
{
	struct tiny *t = tiny_root();
	t->opts.root = (struct sandbox_root){.dir = t->lower};
	tiny_sh(t, "echo x >/file && cat /file");
	CHECK_STR(tiny_run(t), "x\n");
	t->opts.root.readonly = true;
	tiny_sh(t, "echo y >/file");
	tiny_run(t);
	CHECK(t->result.code != 0 && strstr(t->out, "Read-only"));
}

TEST(layers_without_an_upper_one)
{
	tiny_needs_layers();
	struct tiny *t = tiny_root();
	const char *two[] = {t->upper, t->lower};
	tiny_sh(t, "echo x >/file");
	tiny_run(t);
	t->opts.root = (struct sandbox_root){.lower = two, .n_lower = 2};
	tiny_sh(t, "cat /file; echo y >/file");
	tiny_run(t);
	CHECK_MSG(strncmp(t->out, "x\n", 2) == 0 && strstr(t->out, "Read-only"), "%s", t->out);
}

static void cache_over_a_cache(struct tiny *t)
{
	tiny_needs_layers();
	static char lower[160], upper[160], work[160];
	static const char *layers[1];
	tiny_mkdir(t->dir, "cache-lower");
	tiny_mkdir(t->dir, "cache-upper");
	tiny_mkdir(t->dir, "cache-work");
	snprintf(lower, sizeof(lower), "%.120s/cache-lower", t->dir);
	snprintf(upper, sizeof(upper), "%.120s/cache-upper", t->dir);
	snprintf(work, sizeof(work), "%.120s/cache-work", t->dir);
	tiny_mkdir(lower, "old");
	layers[0] = lower;
	struct sandbox_root cache = {.lower = layers, .n_lower = 1, .upper = upper, .work = work};
	t->mounts[1] = (struct sandbox_mount){.target = "/var/cache/x", .root = &cache};
	t->opts.n_mounts = 2;
	tiny_sh(t,
		"ls /var/cache/x; mkdir /var/cache/x/new; chown 0:0 /var/cache/x/new; grep ' /var/cache/x ' /proc/mounts | grep -c nosuid,nodev");
	CHECK_STR(tiny_run(t), "old\n1\n");
	char path[256];
	struct stat st;
	snprintf(path, sizeof(path), "%.150s/new", upper);
	CHECK(stat(path, &st) == 0 && st.st_uid == geteuid());
	snprintf(path, sizeof(path), "%.150s/new", lower);
	CHECK(stat(path, &st) < 0);
}

static void many_layers(struct tiny *t)
{
	tiny_needs_layers();
	enum { N = 130 };
	static char names[N][200];
	static const char *lower[N];
	for (int i = 0; i < N; i++) {
		snprintf(names[i], sizeof(names[i]), "%.100s/a layer, with: odd\\ name %d", t->dir, i);
		CHECK(mkdir(names[i], 0755) == 0);
		char file[256];
		snprintf(file, sizeof(file), "%.199s/f%d", names[i], i);
		int fd = open(file, O_CREAT | O_WRONLY, 0644);
		CHECK(fd >= 0 && close(fd) == 0);
		lower[i] = names[i];
	}
	lower[N - 1] = t->lower;
	t->opts.root.lower = lower;
	t->opts.root.n_lower = N;
	tiny_sh(t, "ls / | grep -c '^f'");
	CHECK_STR(tiny_run(t), "129\n");
}

/* As kernels before 6.7 want it, all layers in one string. */
static void old_overlays(struct tiny *t, enum box_ids ids)
{
	tiny_needs_layers();
	box_overlay_force_old(true);
	box_ids_force(ids);
	check_command(t);
	CHECK_INT(ids_used(), ids);
	cache_over_a_cache(t);
	t->opts.n_mounts = 1;
	many_layers(t);
	CHECK_INT(ids_used(), ids);
}

TEST(old_overlays_with_mapped_ids)
{
	need_root();
	old_overlays(tiny_root(), BOX_IDS_MAPPED);
}

TEST(old_overlays_with_plain_ids)
{
	need_root();
	old_overlays(tiny_root(), BOX_IDS_PLAIN);
}

TEST(old_overlays_with_one_id)
{
	tiny_as(1000);
	old_overlays(tiny_root(), BOX_IDS_ONE);
}

TEST(a_cache_over_a_cache)
{
	cache_over_a_cache(tiny_root());
}

TEST(a_cache_over_a_cache_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	cache_over_a_cache(tiny_root());
}

TEST(a_hundred_and_thirty_layers)
{
	many_layers(tiny_root());
}

TEST(a_hundred_and_thirty_layers_with_one_id)
{
	tiny_as(1000);
	box_ids_force(BOX_IDS_ONE);
	many_layers(tiny_root());
}

TEST(network)
{
	struct tiny *t = tiny_root();
	tiny_sh(t,
		"cat /proc/net/dev | grep -c :; cat /sys/class/net/lo/operstate; cat /etc/hosts | head -1; test -e /etc/resolv.conf || echo none");
	CHECK_STR(tiny_run(t), "1\nunknown\n127.0.0.1 localhost builder\nnone\n");
	char want[256], outer[200];
	CHECK(readlink("/proc/self/ns/net", outer, sizeof(outer)) > 0);
	snprintf(want, sizeof(want), "%.*s\nthere\n", (int)strcspn(outer, "]") + 1, outer);
	t->opts.network_host = true;
	tiny_sh(t, "readlink /proc/self/ns/net; test -s /etc/resolv.conf && echo there");
	if (access("/etc/resolv.conf", R_OK) < 0)
		SKIP("kernel: no /etc/resolv.conf on this machine");
	CHECK_STR(tiny_run(t), want);
}

TEST(secrets)
{
	struct tiny *t = tiny_root();
	struct sandbox_secret s[] = {{"/run/secrets/token", STR("s3cret\n")}, {"/etc/pw", STR("x")}};
	t->opts.secrets = s;
	t->opts.n_secrets = 2;
	t->opts.uid = t->opts.gid = geteuid() == 0 ? 1000 : 0;
	tiny_sh(t,
		"cat /run/secrets/token /etc/pw; echo; stat -c '%a %u' /etc/pw; (echo y >/etc/pw) 2>/dev/null || echo readonly; ls -A /dev | grep slipway");
	char want[100];
	snprintf(want, sizeof(want), "s3cret\nx\n400 %u\nreadonly\n", t->opts.uid);
	CHECK_STR(tiny_run(t), want);
	char path[256];
	struct stat st;
	snprintf(path, sizeof(path), "%.150s/run/secrets/token", t->upper);
	CHECK(lstat(path, &st) == 0 && st.st_size == 0);
}

/* As many and as large as there may be; what a step may write in /dev is no less for that. */
TEST(the_largest_secrets)
{
	enum { N = 64, SIZE = 1 << 20 };
	struct tiny *t = tiny_root();
	struct sandbox_secret s[N];
	char names[N][32], *value = xmalloc(SIZE);
	memset(value, 'x', SIZE);
	for (int i = 0; i < N; i++) {
		snprintf(names[i], sizeof(names[i]), "/secret%d", i);
		s[i] = (struct sandbox_secret){names[i], str_of(value, SIZE)};
	}
	t->opts.secrets = s;
	t->opts.n_secrets = N;
	tiny_sh(t, "cat /secret* | wc -c; head -c 60000000 /dev/zero >/dev/x && echo room");
	CHECK_STR(tiny_run(t), "67108864\nroom\n");
	free(value);
}

TEST(fast_sync_does_nothing)
{
	struct tiny *t = tiny_root();
	t->opts.fast_sync = true;
	tiny_sh(t,
		"dd if=/dev/zero of=/f bs=4096 count=1 conv=fsync,fdatasync 2>/dev/null && sync && sync /f && echo fine; "
		"sync /no-such; grep Seccomp: /proc/self/status");
	CHECK_MSG(strncmp(tiny_run(t), "fine\n", 5) == 0 && strstr(t->out, "Seccomp:\t2"), "%s", t->out);
}

static int write_files(void *ctx, struct err *e)
{
	int fd = *(int *)ctx;
	char c;
	if (read(fd, &c, 1) != 1 || c != 'x')
		return err_new(e, ERR_FAILED, "the given file is not there");
	int f = open("/made", O_CREAT | O_WRONLY, 0600);
	if (f < 0 || fchown(f, 7, 8) < 0)
		return err_sys(e, "make '/made'");
	close(f);
	for (int i = 3; i < 200; i++)
		if (i != fd && fcntl(i, F_GETFD) >= 0) {
			char path[64], to[200] = "";
			snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
			struct stat st;
			if (fstat(i, &st) == 0 && !S_ISFIFO(st.st_mode))
				return err_new(e, ERR_FAILED, "file %d is open %s", i, to);
		}
	if (open("/link/passwd", O_RDONLY) >= 0 || errno != ENOENT)
		return err_new(e, ERR_FAILED, "a link led out");
	return 0;
}

static int fail_it(void *ctx, struct err *e)
{
	(void)ctx;
	return err_new(e, ERR_VERIFY, "it is wrong");
}

TEST(calls)
{
	struct tiny *t = tiny_root();
	struct err e = ERR_INIT;
	int fds[2];
	CHECK(pipe2(fds, O_CLOEXEC) == 0 && write(fds[1], "x", 1) == 1);
	tiny_link(t->lower, "../../../../etc", "link");
	t->opts.n_mounts = 0;
	CHECK_MSG(sandbox_call(&t->opts, &fds[0], 1, write_files, &fds[0], &e) == 0, "%s", e.msg);
	char path[256];
	struct stat st;
	snprintf(path, sizeof(path), "%.150s/made", t->upper);
	CHECK(stat(path, &st) == 0);
	if (geteuid() == 0)
		CHECK(st.st_uid == 7 && st.st_gid == 8);
	CHECK_INT(sandbox_call(&t->opts, NULL, 0, fail_it, NULL, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_STR(e.msg, "it is wrong");
}

TEST(what_a_line_of_subuid_says)
{
	uint32_t start, count;
	CHECK(box_ids_range(STR("a:1:2\nbob:100:65536\n"), "bob", 7, &start, &count) && start == 100 && count == 65536);
	CHECK(box_ids_range(STR("7:5:6"), "bob", 7, &start, &count) && start == 5 && count == 6);
	CHECK(box_ids_range(STR("bob:x:6\nbob:1:0\nbob\nbob:9:1\n"), "bob", 7, &start, &count) && start == 9);
	CHECK(!box_ids_range(STR("bob:4294967295:2\nbo:1:1\n77:1:1\n:1:1"), "bob", 7, &start, &count));
	CHECK(!box_ids_range(STR(""), NULL, 0, &start, &count));
	CHECK(box_ids_free(STR("a:100000:65536\nb:7:1\nc:x:9\nd:4294967295:1"), 100000) == 165536);
	CHECK(box_ids_free(STR(""), 100000) == 100000);
}

TEST(probe_tells_what_there_is)
{
	struct sandbox_can can;
	sandbox_probe(&can);
	CHECK_MSG(can.run, "%s", can.why);
	CHECK(can.seccomp);
	CHECK(can.id_range || strstr(can.why, "one user id alone"));
	if (geteuid() == 0)
		CHECK(can.id_range && !can.overlay_needs_userxattr);
}
