// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/cleanup.h"
#include "base/fs.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static struct err e;

static int tmp_dir(void)
{
	int fd = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void put(int dir, const char *path, const char *text)
{
	auto_fd fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	CHECK_INT(write(fd, text, strlen(text)), strlen(text));
}

TEST(read_does_not_wait_for_what_is_no_file)
{
	auto_fd dir = tmp_dir();
	auto_buf b = BUF_INIT(100);
	CHECK_INT(mkfifoat(dir, "pipe", 0600), 0);
	CHECK_INT(fs_read(dir, "pipe", &b, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_STR(e.msg, "'pipe' is a pipe, a socket or a device, not a file");
	CHECK_INT(fs_read(AT_FDCWD, "/dev/zero", &b, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_INT(fs_read(dir, ".", &b, &e), -1);
	CHECK_STR(e.msg, "'.' is a folder, not a file");
	/* what a person names may be a pipe */
	int p[2];
	CHECK_INT(pipe(p), 0);
	CHECK_INT(write(p[1], "abc", 3), 3);
	close(p[1]);
	auto_free char *name = xasprintf("/proc/self/fd/%d", p[0]);
	CHECK_INT(fs_read_any(AT_FDCWD, name, &b, &e), 0);
	CHECK_STR(b.p, "abc");
	close(p[0]);
}

TEST(read_is_bounded)
{
	auto_fd dir = tmp_dir();
	put(dir, "f", "0123456789");
	auto_buf b = BUF_INIT(10);
	CHECK_INT(fs_read(dir, "f", &b, &e), 0);
	CHECK_STR(b.p, "0123456789");
	CHECK_INT(b.overflow, 0);
	auto_buf small = BUF_INIT(9);
	CHECK_INT(fs_read(dir, "f", &small, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_INT(fs_read(dir, "none", &b, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
}

TEST(read_appends_and_reads_files_without_size)
{
	auto_fd dir = tmp_dir();
	put(dir, "f", "b");
	put(dir, "empty", "");
	auto_buf b = BUF_INIT(1 << 20);
	buf_put_c(&b, "a");
	CHECK_INT(fs_read(dir, "f", &b, &e), 0);
	CHECK_INT(fs_read(dir, "empty", &b, &e), 0);
	CHECK_STR(b.p, "ab");
	CHECK_INT(fs_read(AT_FDCWD, "/proc/self/status", &b, &e), 0);
	CHECK(b.n > 100);
	auto_buf small = BUF_INIT(16);
	CHECK_INT(fs_read(AT_FDCWD, "/proc/self/status", &small, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
}

static void check_content(int dir, const char *path, const char *want)
{
	auto_buf b = BUF_INIT(1000);
	CHECK_INT(fs_read(dir, path, &b, &e), 0);
	CHECK_STR(b.p, want);
}

TEST(replace_leaves_no_temporary)
{
	auto_fd dir = tmp_dir();
	struct stat st;
	CHECK_INT(fs_mkdirs(dir, "x/y", 0755, &e), 0);
	CHECK_INT(fs_replace(dir, "x/y/f", "one", 3, 0, &e), 0);
	CHECK_INT(fs_replace(dir, "x/y/f", "two", 3, FS_REPLACE_SYNC | FS_REPLACE_EXEC, &e), 0);
	check_content(dir, "x/y/f", "two");
	CHECK_INT(fstatat(dir, "x/y/f", &st, 0), 0);
	CHECK(st.st_mode & S_IXUSR);
	CHECK_INT(fs_replace(dir, "x/y/f", "three", 5, FS_REPLACE_EXCL, &e), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	check_content(dir, "x/y/f", "two");
	CHECK_INT(fs_replace(dir, "x/y/g", "new", 3, FS_REPLACE_EXCL, &e), 0);
	CHECK_INT(fs_replace(dir, "x/y", "over a folder", 3, 0, &e), -1);
	auto_fs_list l = {0};
	CHECK_INT(fs_list(dir, "x/y", 10, &l, &e), 0);
	CHECK_INT(l.n, 2);
	auto_fs_list above = {0};
	CHECK_INT(fs_list(dir, "x", 10, &above, &e), 0);
	CHECK_INT(above.n, 1);
}

#ifdef SLIPWAY_FAULT

TEST(replace_clean_takes_temporaries_of_that_name_alone)
{
	static const char *const mine[] = {"d/.f.12.0.tmp", "d/.f.4711.3.tmp"};
	static const char *const others[] = {"d/f",	      "d/.f.tmp",      "d/.f.x.0.tmp", "d/.f.1.tmp",
					     "d/.ff.1.0.tmp", "d/.f.1.0.tmpx", "d/f.1.0.tmp"};
	auto_fd dir = tmp_dir();
	CHECK_INT(fs_mkdirs(dir, "d", 0755, &e), 0);
	for (size_t i = 0; i < 2; i++)
		CHECK_INT(fs_replace(dir, mine[i], "x", 1, 0, &e), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK_INT(fs_replace(dir, others[i], "x", 1, 0, &e), 0);
	CHECK_INT(fs_replace_clean(dir, "d/f", &e), 0);
	for (size_t i = 0; i < 2; i++)
		CHECK(!fs_exists(dir, mine[i]));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK_MSG(fs_exists(dir, others[i]), "'%s' is gone", others[i]);
	CHECK_INT(fs_replace_clean(dir, "nowhere/f", &e), 0);
}

TEST(replace_clean_all_takes_temporaries_of_all_names)
{
	static const char *const gone[] = {"d/.f.12.0.tmp", "d/.a.b.4711.3.tmp", "d/.1.2.3.tmp", "d/.ff.1.0.tmp"};
	static const char *const stay[] = {"d/f",	 "d/.f.tmp",	  "d/.f.x.0.tmp", "d/.f.1.tmp",
					   "d/.1.2.tmp", "d/.f.1.0.tmpx", "d/f.1.0.tmp",  "d/.f.1.x.tmp"};
	auto_fd dir = tmp_dir();
	CHECK_INT(fs_mkdirs(dir, "d", 0755, &e), 0);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		CHECK_INT(fs_replace(dir, gone[i], "x", 1, 0, &e), 0);
	for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
		CHECK_INT(fs_replace(dir, stay[i], "x", 1, 0, &e), 0);
	CHECK_INT(fs_replace_clean_all(dir, "d", &e), 0);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		CHECK_MSG(!fs_exists(dir, gone[i]), "'%s' is there", gone[i]);
	for (size_t i = 0; i < sizeof(stay) / sizeof(stay[0]); i++)
		CHECK_MSG(fs_exists(dir, stay[i]), "'%s' is gone", stay[i]);
	CHECK_INT(fs_replace_clean_all(dir, "nowhere", &e), 0);
}

/* fs_replace in a child with a fault at its nth call; its exit status, 0 where it succeeded. */
static int replace_with_fault(int dir, const char *mode, int n, enum err_code *code)
{
	int status, p[2];
	char fault[32];
	CHECK_INT(pipe(p), 0);
	snprintf(fault, sizeof(fault), "%s:%d", mode, n);
	pid_t child = fork();
	if (child == 0) {
		setenv("FAULT", fault, 1);
		e = ERR_INIT;
		int r = fs_replace(dir, "f", "new", 3, FS_REPLACE_SYNC, &e);
		(void)!write(p[1], &e.code, sizeof(e.code));
		_exit(r < 0);
	}
	CHECK_INT(waitpid(child, &status, 0), child);
	close(p[1]);
	*code = ERR_NONE;
	(void)!read(p[0], code, sizeof(*code));
	close(p[0]);
	CHECK(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST(replace_is_old_or_new_at_every_fault)
{
	auto_fd dir = tmp_dir();
	for (int n = 1; n <= 6; n++) {
		enum err_code code;
		put(dir, "f", "old");
		int r = replace_with_fault(dir, "fail", n, &code);
		CHECK_INT(r, n < 6); /* create, write, fsync, rename, fsync of the folder */
		check_content(dir, "f", n < 5 ? "old" : "new");
		CHECK_INT(code == ERR_UNCERTAIN, n == 5);
		auto_fs_list l = {0};
		CHECK_INT(fs_list(dir, ".", 10, &l, &e), 0);
		CHECK_INT(l.n, 1);
	}
	for (int n = 1; n <= 5; n++) {
		enum err_code code;
		put(dir, "f", "old");
		CHECK_INT(replace_with_fault(dir, "stop", n, &code), 99);
		check_content(dir, "f", n < 5 ? "old" : "new");
	}
}

#endif

TEST(mkdirs)
{
	auto_fd dir = tmp_dir();
	CHECK_INT(fs_mkdirs(dir, "a/b//c/", 0755, &e), 0);
	CHECK_INT(fs_mkdirs(dir, "a/b/c", 0755, &e), 0);
	CHECK(fs_exists(dir, "a/b/c"));
	put(dir, "a/f", "");
	CHECK_INT(fs_mkdirs(dir, "a/f/x", 0755, &e), -1);
	CHECK_INT(fs_mkdirs(dir, "a/f", 0755, &e), -1);
	CHECK_INT(e.sys, ENOTDIR);
	auto_fd made = fs_open_dir_make(dir, "p/q", &e);
	CHECK(made >= 0);
	CHECK_INT(fs_sync_dir(dir, "p", &e), 0);
	CHECK_INT(fs_open_dir(dir, "a/f", &e), -1);
}

TEST(remove_tree_keeps_what_links_point_at)
{
	auto_fd dir = tmp_dir();
	CHECK_INT(fs_mkdirs(dir, "keep/d", 0755, &e), 0);
	put(dir, "keep/d/f", "kept");
	CHECK_INT(fs_mkdirs(dir, "t/a/b", 0755, &e), 0);
	put(dir, "t/a/f", "");
	CHECK_INT(symlinkat("../../keep", dir, "t/a/link"), 0);
	CHECK_INT(symlinkat("keep", dir, "top"), 0);
	CHECK_INT(mkfifoat(dir, "t/fifo", 0600), 0);
	CHECK_INT(fs_remove_tree(dir, "t", &e), 0);
	CHECK_INT(fs_remove_tree(dir, "top", &e), 0);
	CHECK_INT(fs_remove_tree(dir, "t", &e), 0);
	CHECK(!fs_exists(dir, "t"));
	CHECK(!fs_exists(dir, "top"));
	check_content(dir, "keep/d/f", "kept");
	CHECK_INT(fs_remove_tree(dir, "keep/d/f", &e), 0);
	CHECK(!fs_exists(dir, "keep/d/f"));
}

TEST(remove_tree_gives_itself_permission)
{
	auto_fd dir = tmp_dir();
	CHECK_INT(fs_mkdirs(dir, "t/a/b", 0755, &e), 0);
	put(dir, "t/a/b/f", "");
	CHECK_INT(fchmodat(dir, "t/a/b", 0000, 0), 0);
	CHECK_INT(fchmodat(dir, "t/a", 0500, 0), 0);
	/* only means something without the right to override permissions */
	if (geteuid() == 0)
		CHECK_INT(seteuid(65534), 0);
	int r = fs_remove_tree(dir, "t/a", &e);
	if (getuid() == 0) {
		/* the files are root's: refused, with a reason, and nothing else happened */
		CHECK_INT(r, -1);
		CHECK_INT(seteuid(0), 0);
		CHECK_INT(fchownat(dir, "t", 65534, 65534, 0), 0);
		CHECK_INT(fchownat(dir, "t/a", 65534, 65534, 0), 0);
		CHECK_INT(fchownat(dir, "t/a/b", 65534, 65534, 0), 0);
		CHECK_INT(fchownat(AT_FDCWD, test_tmp(), 65534, 65534, 0), 0);
		CHECK_INT(seteuid(65534), 0);
		r = fs_remove_tree(dir, "t/a", &e);
	}
	CHECK_MSG(r == 0, "%s", e.msg);
	CHECK_INT(faccessat(dir, "t/a", F_OK, AT_EACCESS), -1);
	CHECK_INT(errno, ENOENT);
	if (getuid() == 0)
		CHECK_INT(seteuid(0), 0);
	prctl(PR_SET_DUMPABLE, 1); /* the leak checker needs it, and changing the user took it */
}

TEST(remove_tree_at_any_depth)
{
	enum { DEPTH = 2000 };
	auto_fd dir = tmp_dir();
	CHECK_INT(mkdirat(dir, "deep", 0755), 0);
	int at = openat(dir, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < DEPTH; i++) {
		CHECK_INT(mkdirat(at, "d", 0755), 0);
		if (i % 100 == 0)
			put(at, "f", "x");
		if (i % 500 == 0)
			CHECK_INT(mkdirat(at, ".removed.0", 0755), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		CHECK(next >= 0);
		close(at);
		at = next;
	}
	close(at);
	put(dir, "deep/.removed.1", "in the way");
	CHECK_MSG(fs_remove_tree(dir, "deep", &e) == 0, "%s", e.msg);
	CHECK(!fs_exists(dir, "deep"));
}

TEST(remove_tree_with_many_entries)
{
	auto_fd dir = tmp_dir();
	CHECK_INT(mkdirat(dir, "t", 0755), 0);
	for (int i = 0; i < 3000; i++) {
		char name[32];
		snprintf(name, sizeof(name), "t/%d", i);
		CHECK_INT(i % 2 ? mkdirat(dir, name, 0755) : symlinkat("x", dir, name), 0);
	}
	CHECK_INT(fs_remove_tree(dir, "t", &e), 0);
	CHECK(!fs_exists(dir, "t"));
}

TEST(list_is_sorted_and_bounded)
{
	auto_fd dir = tmp_dir();
	put(dir, "b", "");
	put(dir, "B", "");
	put(dir, ".a", "");
	put(dir, "a\xc3\xa9", "");
	auto_fs_list l = {0};
	CHECK_INT(fs_list(dir, ".", 4, &l, &e), 0);
	CHECK_INT(l.n, 4);
	CHECK_STR(l.name[0], ".a");
	CHECK_STR(l.name[1], "B");
	CHECK_STR(l.name[2], "a\xc3\xa9");
	CHECK_STR(l.name[3], "b");
	auto_fs_list few = {0};
	CHECK_INT(fs_list(dir, ".", 3, &few, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_INT(fs_list(dir, "none", 3, &few, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
}

static int note_path(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *err)
{
	struct stat again;
	CHECK_INT(fstatat(dirfd, name, &again, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_INT(again.st_ino, st->st_ino);
	buf_put_c(ctx, rel);
	buf_put_c(ctx, S_ISDIR(st->st_mode) ? "/ " : " ");
	return strcmp(name, "stop") == 0 ? err_new(err, ERR_INPUT, "stopped") : 0;
}

TEST(walk_reports_folders_first_and_follows_no_link)
{
	auto_fd dir = tmp_dir();
	CHECK_INT(fs_mkdirs(dir, "t/b/c", 0755, &e), 0);
	put(dir, "t/b/c/f", "");
	put(dir, "t/a", "");
	CHECK_INT(symlinkat("b", dir, "t/z"), 0);
	auto_buf b = BUF_INIT(1000);
	CHECK_INT(fs_walk(dir, "t", note_path, &b, &e), 0);
	CHECK_STR(b.p, "a b/ b/c/ b/c/f z ");
	put(dir, "t/b/stop", "");
	buf_clear(&b);
	CHECK_INT(fs_walk(dir, "t", note_path, &b, &e), -1);
	CHECK_STR(b.p, "a b/ b/c/ b/c/f b/stop ");
	CHECK_STR(e.msg, "stopped");
}

TEST(paths_from_outside)
{
	CHECK(fs_path_is_inside(STR("a")));
	CHECK(fs_path_is_inside(STR("a/b.c/..d/e..")));
	CHECK(fs_path_is_inside(STR("caf\xc3\xa9")));
	CHECK(!fs_path_is_inside(STR("")));
	CHECK(!fs_path_is_inside(STR("/a")));
	CHECK(!fs_path_is_inside(STR("a/")));
	CHECK(!fs_path_is_inside(STR("a//b")));
	CHECK(!fs_path_is_inside(STR("a/./b")));
	CHECK(!fs_path_is_inside(STR("..")));
	CHECK(!fs_path_is_inside(STR("a/..")));
	CHECK(!fs_path_is_inside(STR("../a")));
	CHECK(!fs_path_is_inside(STR("a\nb")));
	CHECK(!fs_path_is_inside(STR("a\x7f")));
	CHECK(!fs_path_is_inside(str_of("a\0b", 3)));
	char big[4097];
	memset(big, 'a', sizeof(big));
	CHECK(fs_path_is_inside(str_of(big, 4096)));
	CHECK(!fs_path_is_inside(str_of(big, 4097)));
}

TEST(lock_excludes_and_names_the_holder)
{
	auto_fd dir = tmp_dir();
	char pid[64];
	snprintf(pid, sizeof(pid), "process %d (%.20s", (int)getpid(), program_invocation_short_name);
	put(dir, "lock", "99999999 dead-program left this long long long long long line behind\n");
	auto_fd first = fs_lock(dir, "lock", 0, &e);
	CHECK_MSG(first >= 0, "%s", e.msg);
	CHECK_INT(fs_lock(dir, "lock", 0, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	CHECK_MSG(strstr(e.msg, pid) != NULL, "%s", e.msg);
	CHECK_INT(fs_lock(dir, "lock", 30, &e), -1);
	cleanup_fd(&first);
	auto_fd second = fs_lock(dir, "lock", 0, &e);
	CHECK(second >= 0);
}

TEST(lock_waits_for_the_holder)
{
	auto_fd dir = tmp_dir();
	int p[2];
	CHECK_INT(pipe(p), 0);
	pid_t child = fork();
	if (child == 0) {
		int fd = fs_lock(dir, "lock", 0, &e);
		(void)!write(p[1], "x", 1);
		usleep(100000);
		close(fd);
		_exit(fd < 0);
	}
	char c;
	CHECK_INT(read(p[0], &c, 1), 1);
	CHECK_INT(fs_lock(dir, "lock", 0, &e), -1);
	auto_fd fd = fs_lock(dir, "lock", 20000, &e);
	CHECK_MSG(fd >= 0, "%s", e.msg);
	int status;
	CHECK_INT(waitpid(child, &status, 0), child);
	CHECK_INT(status, 0);
}

TEST(a_file_that_lost_its_name)
{
	auto_fd dir = tmp_dir();
	auto_fd fd = openat(dir, "a", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	CHECK(fs_is_still(dir, "a", fd) && fs_flock(fd, LOCK_EX | LOCK_NB) == 0);
	auto_fd other = openat(dir, "a", O_RDWR | O_CLOEXEC);
	CHECK(fs_flock(other, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
	CHECK_INT(renameat(dir, "a", dir, "b"), 0);
	CHECK(!fs_is_still(dir, "a", fd) && fs_is_still(dir, "b", fd));
	CHECK_INT(symlinkat("b", dir, "a"), 0);
	CHECK(!fs_is_still(dir, "a", fd));
}

TEST(lock_on_a_removed_file_is_not_the_lock)
{
	auto_fd dir = tmp_dir();
	auto_fd first = fs_lock(dir, "lock", 0, &e);
	CHECK(first >= 0);
	CHECK_INT(unlinkat(dir, "lock", 0), 0);
	auto_fd second = fs_lock(dir, "lock", 0, &e);
	CHECK(second >= 0);
	CHECK_INT(fs_lock(dir, "lock", 0, &e), -1);
	CHECK_INT(symlinkat("elsewhere", dir, "link"), 0);
	CHECK_INT(fs_lock(dir, "link", 0, &e), -1);
	CHECK(!fs_exists(dir, "elsewhere"));
}

TEST(below_a_folder_links_do_not_lead_out)
{
	auto_fd dir = tmp_dir();
	struct str last;
	auto_buf b = BUF_INIT(100);
	CHECK_INT(fs_mkdirs(dir, "out", 0755, &e), 0);
	CHECK_INT(fs_mkdirs(dir, "top/real", 0755, &e), 0);
	auto_fd top = fs_open_dir(dir, "top", &e);
	CHECK_INT(symlinkat("../out", top, "up"), 0);
	CHECK_INT(symlinkat("real", top, "inner"), 0);
	CHECK_INT(symlinkat("/etc/passwd", top, "absolute"), 0);
	put(dir, "out/file", "x");
	CHECK_INT(fs_replace_below(top, "up/file", "y", 1, 0, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_STR(e.msg, "folder 'up' leads out of where it has to be");
	CHECK_INT(fs_replace_below(top, "up/more/file", "y", 1, 0, &e), -1);
	CHECK_INT(fs_replace_below(top, "../out/file", "y", 1, 0, &e), -1);
	CHECK_INT(fs_open_parent_below(top, STR("up/file"), false, &last, &e), -1);
	CHECK_STR(e.msg, "folder 'up' leads out of where it has to be");
	CHECK_INT(fs_read_below(top, "up/file", &b, &e), -1);
	CHECK_STR(e.msg, "'up/file' is a link that leads out of its folder");
	CHECK_INT(fs_read_below(top, "absolute", &b, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	/* inside they are followed, and folders made */
	CHECK_INT(fs_replace_below(top, "inner/new/file", "z", 1, 0, &e), 0);
	CHECK_INT(fs_read_below(top, "real/new/file", &b, &e), 0);
	CHECK_STR(b.p, "z");
	CHECK_INT(fs_read_below(top, "inner", &b, &e), -1);
	buf_clear(&b);
	CHECK_INT(fs_read(dir, "out/file", &b, &e), 0);
	CHECK_STR(b.p, "x");
}
