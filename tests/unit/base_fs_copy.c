// SPDX-License-Identifier: Apache-2.0
/* Bytes from one file to another, with a kernel that copies and one that does not. */
#include "lib/test.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/fs.h"

static int refusal; /* what copy_file_range fails with; 0: it does its work */
static unsigned interrupted;

/* In place of the library's. */
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t n, unsigned flags)
{
	if (interrupted > 0) {
		interrupted--;
		errno = EINTR;
		return -1;
	}
	if (!refusal) /* a piece of it, as it may be */
		return syscall(SYS_copy_file_range, from, from_at, to, to_at, n < 1000000 ? n : 1000000, flags);
	errno = refusal;
	return -1;
}

enum { MIB = 1 << 20 };

static int file(const char *name)
{
	auto_free char *path = xasprintf("%s/%s", test_tmp(), name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	return fd;
}

static void put(int fd, const char *text, off_t at)
{
	CHECK_INT(pwrite(fd, text, strlen(text), at), (ssize_t)strlen(text));
}

static void same(int a, int b)
{
	struct stat x, y;
	char p[65536], q[65536];
	CHECK(fstat(a, &x) == 0 && fstat(b, &y) == 0);
	CHECK_INT(y.st_size, x.st_size);
	for (off_t at = 0; at < x.st_size; at += (off_t)sizeof(p)) {
		ssize_t n = pread(a, p, sizeof(p), at);
		CHECK_INT(pread(b, q, sizeof(q), at), n);
		CHECK(memcmp(p, q, (size_t)n) == 0);
	}
}

static void copied(int from, uint64_t size)
{
	struct err e = ERR_INIT;
	auto_fd to = file("to");
	CHECK_MSG(fs_copy_bytes(to, from, size, "from", &e) == 0, "%s", e.msg);
	same(from, to);
}

/* Holes before, between and behind: the copy takes no more room. */
static void holes(void)
{
	struct err e = ERR_INIT;
	struct stat st, made;
	auto_fd from = file("from"), to = file("to");
	put(from, "one", 4 * MIB);
	put(from, "two", 9 * MIB - 1);
	CHECK_INT(ftruncate(from, 20 * MIB), 0);
	CHECK_MSG(fs_copy_bytes(to, from, 20 * MIB, "from", &e) == 0, "%s", e.msg);
	same(from, to);
	CHECK(fstat(from, &st) == 0 && fstat(to, &made) == 0);
	if (st.st_blocks * 512 > MIB)
		SKIP("file system keeps no holes");
	CHECK_MSG(made.st_blocks * 512 <= MIB, "%lld blocks", (long long)made.st_blocks);
	auto_fd nothing = file("nothing");
	CHECK_INT(ftruncate(nothing, 3 * MIB), 0);
	copied(nothing, 3 * MIB);
}

TEST(holes_are_kept)
{
	holes();
}

TEST(holes_are_kept_by_hand)
{
	refusal = EXDEV;
	holes();
}

TEST(small_and_large)
{
	auto_fd from = file("from");
	copied(from, 0);
	put(from, "text", 0);
	copied(from, 4);
	auto_free char *text = xmalloc(3 * MIB + 1);
	memset(text, 'x', 3 * MIB);
	text[3 * MIB] = '\0';
	put(from, text, 0);
	interrupted = 2;
	copied(from, 3 * MIB);
	static const int errnos[] = {EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, EPERM};
	for (size_t i = 0; i < sizeof(errnos) / sizeof(*errnos); i++) {
		refusal = errnos[i];
		copied(from, 3 * MIB);
	}
}

TEST(what_is_wrong_is_told)
{
	struct err e = ERR_INIT;
	auto_fd from = file("from"), to = file("to");
	CHECK_INT(ftruncate(from, 3 * MIB), 0);
	put(from, "x", 0);
	refusal = EIO;
	CHECK_INT(fs_copy_bytes(to, from, 3 * MIB, "from", &e), -1);
	CHECK(strstr(e.msg, "copy 'from': Input/output error"));
}

TEST(one_that_became_shorter)
{
	struct err e = ERR_INIT;
	struct stat st;
	for (int i = 0; i < 2; i++) {
		auto_fd from = file("from"), to = file("to");
		auto_free char *text = xmalloc(MIB + 1);
		memset(text, 'x', MIB);
		text[MIB] = '\0';
		put(from, text, 0);
		CHECK_INT(fs_copy_bytes(to, from, MIB + 500000, "from", &e), 0);
		CHECK(fstat(to, &st) == 0 && st.st_size <= MIB + 500000 && st.st_size >= MIB);
		refusal = EXDEV;
	}
}
