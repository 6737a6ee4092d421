// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/cleanup.h"
#include "base/sys.h"

#include <fcntl.h>
#include <pthread.h>

static int tmp_dir(void)
{
	int fd = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

TEST(calls_do_what_their_names_say)
{
	auto_fd dir = tmp_dir();
	struct stat st;
	char text[8] = {0};
	CHECK_INT(sys_mkdirat(dir, "d", 0755), 0);
	auto_fd fd = sys_openat(dir, "d/f", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_INT(sys_write(fd, "hello", 5), 5);
	CHECK_INT(sys_pwrite(fd, "J", 1, 0), 1);
	CHECK_INT(sys_ftruncate(fd, 4), 0);
	CHECK_INT(pread(fd, text, sizeof(text), 0), 4);
	CHECK_STR(text, "Jell");
	CHECK_INT(sys_fsync(fd), 0);
	CHECK_INT(sys_fdatasync(fd), 0);
	CHECK_INT(sys_fchmod(fd, 0640), 0);
	CHECK_INT(fstat(fd, &st), 0);
	CHECK_INT(st.st_mode & 07777, 0640);
	CHECK_INT(sys_fchmodat(dir, "d/f", 0600), 0);
	CHECK_INT(sys_fchownat(dir, "d/f", getuid(), getgid()), 0);
	CHECK_INT(sys_fchown(fd, getuid(), getgid()), 0);
	struct timespec t[2] = {{1000, 0}, {2000, 0}};
	CHECK_INT(sys_futimens(fd, t), 0);
	CHECK_INT(sys_linkat(dir, "d/f", dir, "g", 0), 0);
	CHECK_INT(fstatat(dir, "g", &st, 0), 0);
	CHECK_INT(st.st_nlink, 2);
	CHECK_INT(st.st_mtime, 2000);
	CHECK_INT(sys_symlinkat("g", dir, "l"), 0);
	CHECK_INT(sys_utimensat(dir, "l", t, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_INT(sys_renameat(dir, "g", dir, "h"), 0);
	CHECK_INT(sys_renameat2(dir, "h", dir, "l", RENAME_NOREPLACE), -1);
	CHECK_INT(errno, EEXIST);
	auto_fd copy = sys_openat(dir, "copy", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int64_t from = 1, to = 0;
	CHECK_INT(sys_copy_file_range(fd, &from, copy, &to, 3), 3);
	CHECK_INT(from, 4);
	CHECK_INT(sys_mkfifoat(dir, "pipe", 0600), 0);
	CHECK_INT(fstatat(dir, "pipe", &st, 0), 0);
	CHECK(S_ISFIFO(st.st_mode));
	CHECK_INT(sys_unlinkat(dir, "d/f", 0), 0);
	CHECK_INT(sys_unlinkat(dir, "d", AT_REMOVEDIR), 0);
	CHECK_INT(sys_mark("nothing"), 0);
}

#ifdef SLIPWAY_FAULT

TEST(nth_call_fails_and_only_that)
{
	auto_fd dir = tmp_dir();
	setenv("FAULT", "fail:2", 1);
	CHECK_INT(sys_mkdirat(dir, "a", 0700), 0);
	CHECK_INT(sys_openat(dir, "a", O_RDONLY | O_CLOEXEC, 0) >= 0, 1); /* does not count */
	CHECK_INT(sys_mkdirat(dir, "b", 0700), -1);
	CHECK_INT(errno, ENOSPC);
	CHECK_INT(faccessat(dir, "b", F_OK, 0), -1);
	CHECK_INT(sys_mkdirat(dir, "b", 0700), 0);
}

TEST(errno_by_name)
{
	setenv("FAULT", "fail:1:EIO", 1);
	CHECK_INT(sys_mark("x"), -1);
	CHECK_INT(errno, EIO);
}

TEST(stop_vanishes)
{
	auto_fd dir = tmp_dir();
	setenv("FAULT", "stop:2", 1);
	pid_t child = fork();
	if (child == 0) {
		(void)sys_mkdirat(dir, "a", 0700);
		(void)sys_mkdirat(dir, "b", 0700);
		_exit(0);
	}
	int status;
	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK(WIFEXITED(status));
	CHECK_INT(WEXITSTATUS(status), 99);
	CHECK_INT(faccessat(dir, "a", F_OK, 0), 0);
	CHECK_INT(faccessat(dir, "b", F_OK, 0), -1);
}

TEST(torn_takes_the_name_away_first)
{
	auto_fd dir = tmp_dir();
	setenv("FAULT", "torn", 1);
	auto_fd fd = sys_openat(dir, "there", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK_INT(sys_renameat(dir, "missing", dir, "there"), -1);
	CHECK_INT(faccessat(dir, "there", F_OK, 0), -1);
}

TEST(nosync_does_not_sync)
{
	setenv("FAULT", "nosync", 1);
	CHECK_INT(sys_fsync(-1), 0);
	CHECK_INT(sys_fdatasync(-1), 0);
	CHECK_INT(sys_syncfs(-1), 0);
}

static void *mark_often(void *arg)
{
	for (int i = 0; i < 10000; i++)
		(void)sys_mark("x");
	return arg;
}

TEST(count_is_reported_at_exit_and_holds_across_threads)
{
	char env[256], line[32] = {0};
	snprintf(env, sizeof(env), "count:%s/n", test_tmp());
	setenv("FAULT", env, 1);
	pid_t child = fork();
	if (child == 0) {
		pthread_t t[4];
		for (int i = 0; i < 4; i++)
			pthread_create(&t[i], NULL, mark_often, NULL);
		for (int i = 0; i < 4; i++)
			pthread_join(t[i], NULL);
		exit(0);
	}
	CHECK_INT(waitpid(child, NULL, 0), child);
	auto_fd fd = open(env + strlen("count:"), O_RDONLY | O_CLOEXEC);
	CHECK(read(fd, line, sizeof(line) - 1) > 0);
	CHECK_STR(line, "40000\n");
}

#else

TEST(plain_build_has_no_faults)
{
	setenv("FAULT", "fail:1", 1);
	CHECK_INT(sys_mark("x"), 0);
}

#endif
