// SPDX-License-Identifier: Apache-2.0
/* Copies into a root: what takes the place of what, and that nothing is written through a link. The root is entered with chroot, in a user namespace
 * where we are not root. */
#include "lib/test.h"

#include <fcntl.h>
#include <sched.h>

#include "base/fs.h"
#include "build/copy.h"

static struct arena arena;
static struct err err;
static uid_t uid;
static gid_t gid;

static void put(int dir, const char *path, const char *text, mode_t mode)
{
	auto_fd fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	CHECK(fd >= 0);
	CHECK_INT(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int folder(const char *name)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", test_tmp(), name);
	CHECK(mkdir(path, 0755) == 0 || errno == EEXIST);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static void write_text(const char *path, const char *text)
{
	auto_fd fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static bool enter(const char *root)
{
	char map[64];
	if (uid != 0) {
		if (unshare(CLONE_NEWUSER) < 0)
			return false;
		write_text("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", uid);
		write_text("/proc/self/uid_map", map);
		snprintf(map, sizeof(map), "0 %u 1", gid);
		write_text("/proc/self/gid_map", map);
	}
	return chroot(root) == 0 && chdir("/") == 0;
}

/* Copies words of `src` into `root`, in a child; -1 with err where that fails. 77: no chroot to be had. */
static int copy(const char *words[], const char *dst)
{
	struct str v[8];
	size_t n = 0;
	int pair[2], back[2], status;
	struct source s;
	auto_fd src = folder("src");
	uid = geteuid();
	gid = getegid();
	for (; words[n]; n++)
		v[n] = str_c(words[n]);
	CHECK_INT(source_walk(src, &(struct source_opts){.words = v, .n_words = n, .cancel_fd = -1}, &arena, &s, &err),
		  0);
	CHECK_INT(copy_pair(pair, &err), 0);
	CHECK_INT(pipe2(back, O_CLOEXEC), 0);
	char root[128];
	auto_fd made = folder("root");
	snprintf(root, sizeof(root), "%s/root", test_tmp());
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[1]);
		if (!enter(root))
			_exit(77);
		struct copy c = {
			.source = &s, .feed_fd = pair[0], .dst = str_c(dst), .into = dst[strlen(dst) - 1] == '/'};
		int rc = copy_write(&c, &err);
		if (rc < 0)
			(void)!write(back[1], &err, sizeof(err));
		_exit(rc < 0);
	}
	close(pair[0]);
	close(back[1]);
	copy_feed(&s, src, pair[1]);
	close(pair[1]);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status));
	if (WEXITSTATUS(status) == 1)
		CHECK_INT(read(back[0], &err, sizeof(err)), (ssize_t)sizeof(err));
	close(back[0]);
	if (WEXITSTATUS(status) == 77)
		SKIP("kernel: no user namespace in which to chroot");
	return WEXITSTATUS(status) ? -1 : 0;
}
#define COPY(dst, ...) copy((const char *[]){__VA_ARGS__, NULL}, dst)

static void holds(int dir, const char *path, const char *text)
{
	auto_buf b = BUF_INIT(1 << 20);
	CHECK_INT(fs_read(dir, path, &b, &err), 0);
	CHECK_STR(b.p, text);
}

static mode_t mode_of(int dir, const char *path)
{
	struct stat st;
	CHECK_INT(fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_mode;
}

/* A file `f` with this text, and a folder `d` with a file. */
static int source(const char *text)
{
	auto_fd src = folder("src");
	put(src, "f", text, 0644);
	CHECK_INT(mkdirat(src, "d", 0755), 0);
	put(src, "d/x", "x", 0644);
	return steal_fd(&src);
}

TEST(files_folders_links)
{
	auto_fd src = folder("src");
	auto_fd root = folder("root");
	CHECK_INT(mkdirat(src, "d", 0700), 0);
	put(src, "d/run", "#!", 0710);
	put(src, "d/text", "text", 0666);
	put(src, "d/empty", "", 0600);
	CHECK_INT(symlinkat("text", src, "d/l"), 0);
	struct timespec t[2] = {{1000000000, 0}, {1000000000, 7}};
	CHECK_INT(utimensat(src, "d/text", t, 0), 0);
	CHECK_INT(utimensat(src, "d", t, 0), 0);
	CHECK_INT(COPY("/a/b/", "d", "d/text"), 0);
	CHECK_INT(mode_of(root, "a"), S_IFDIR | 0755);
	CHECK_INT(mode_of(root, "a/b/d"), S_IFDIR | 0755);
	CHECK_INT(mode_of(root, "a/b/d/run"), S_IFREG | 0755);
	CHECK_INT(mode_of(root, "a/b/d/empty"), S_IFREG | 0644);
	CHECK_INT(mode_of(root, "a/b/d/text"), S_IFREG | 0644);
	CHECK(S_ISLNK(mode_of(root, "a/b/d/l")));
	holds(root, "a/b/d/text", "text");
	holds(root, "a/b/text", "text");
	struct stat st;
	CHECK_INT(fstatat(root, "a/b/d", &st, 0), 0);
	CHECK_INT(st.st_mtime, 1000000000);
	CHECK_INT(fstatat(root, "a/b/d/text", &st, 0), 0);
	CHECK_INT(st.st_mtim.tv_nsec, 7);
}

TEST(to_a_name_of_ones_own)
{
	auto_fd src = source("f");
	auto_fd root = folder("root");
	CHECK_INT(COPY("/new/name", "f"), 0);
	holds(root, "new/name", "f");
	CHECK_INT(COPY("/app", "d"), 0);
	holds(root, "app/x", "x");
	CHECK_INT(COPY("/all/", "."), 0);
	holds(root, "all/d/x", "x");
	CHECK_INT(COPY("/", "."), 0);
	holds(root, "d/x", "x");
}

/* The image is hostile: what has a copied name may be a link to anywhere. */
TEST(nothing_is_written_through_a_link)
{
	auto_fd src = source("new");
	auto_fd root = folder("root");
	put(root, "victim", "old", 0644);
	CHECK_INT(mkdirat(root, "elsewhere", 0755), 0);
	CHECK_INT(mkdirat(root, "to", 0755), 0);
	CHECK_INT(symlinkat("/victim", root, "to/f"), 0);
	CHECK_INT(symlinkat("/elsewhere", root, "to/d"), 0);
	CHECK_INT(COPY("/to/", "f", "d"), 0);
	holds(root, "victim", "old");
	holds(root, "to/f", "new");
	holds(root, "to/d/x", "x");
	CHECK(S_ISDIR(mode_of(root, "to/d")));
	CHECK(!fs_exists(root, "elsewhere/x"));
}

/* Links on the way are the image's own, as /bin is on a merged /usr: they are gone through, within the root. */
TEST(links_on_the_way)
{
	auto_fd src = folder("src");
	auto_fd root = folder("root");
	auto_fd out = folder("out");
	put(src, "f", "f", 0644);
	CHECK_INT(mkdirat(root, "usr", 0755), 0);
	CHECK_INT(mkdirat(root, "usr/bin", 0755), 0);
	CHECK_INT(symlinkat("usr/bin", root, "bin"), 0);
	CHECK_INT(symlinkat("../../../out", root, "usr/out"), 0);
	CHECK_INT(mkdirat(root, "out", 0755), 0);
	CHECK_INT(COPY("/bin/f", "f"), 0);
	holds(root, "usr/bin/f", "f");
	CHECK_INT(COPY("/bin/", "f"), 0);
	CHECK(S_ISLNK(mode_of(root, "bin")));
	CHECK_INT(COPY("/usr/out/", "f"), 0);
	holds(root, "out/f", "f");
	CHECK(!fs_exists(out, "f"));
}

TEST(what_replaces_what)
{
	auto_fd src = source("f");
	auto_fd root = folder("root");
	CHECK_INT(symlinkat("f", src, "l"), 0);
	CHECK_INT(mkdirat(root, "f", 0755), 0); /* empty */
	put(root, "d", "a file", 0644);
	put(root, "l", "a file", 0644);
	CHECK_INT(COPY("/", "f", "d", "l"), 0);
	holds(root, "f", "f");
	holds(root, "d/x", "x");
	CHECK(S_ISLNK(mode_of(root, "l")));
	put(root, "d/mine", "mine", 0644);
	CHECK_INT(fchmodat(root, "d", 0700, 0), 0);
	CHECK_INT(COPY("/", "d"), 0); /* joined */
	holds(root, "d/mine", "mine");
	CHECK_INT(mode_of(root, "d"), S_IFDIR | 0755);
	CHECK_INT(COPY("/d", "f"), -1);
	CHECK_INT(err.code, ERR_EXISTS);
	CHECK(strstr(err.msg, "'f' is not copied over the folder of that name, which is not empty"));
	holds(root, "d/mine", "mine");
}

TEST(large_files_too)
{
	auto_fd src = folder("src");
	auto_fd root = folder("root");
	auto_free char *text = xmalloc(300001);
	memset(text, 'x', 300000);
	text[300000] = '\0';
	put(src, "f", text, 0644);
	CHECK_INT(COPY("/f", "f"), 0);
	holds(root, "f", text);
}
