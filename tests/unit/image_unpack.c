// SPDX-License-Identifier: Apache-2.0
/* Unpacking, without a sandbox: limits, and that nothing leads out of a folder even so. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fs.h"
#include "image/internal.h"

#include "lib/test.h"

static char folder[] = "/tmp/slipway-unpack.XXXXXX";

static int to_buf(void *ctx, const void *p, size_t n, struct err *e)
{
	(void)e;
	buf_put(ctx, p, n);
	return 0;
}

static void put(struct tar_writer *w, enum tar_kind kind, const char *path, const char *more)
{
	struct err e = ERR_INIT;
	struct tar_entry en = {.kind = kind, .path = str_c(path), .mode = kind == TAR_DIR ? 0755 : 0644, .mtime_s = 5};
	en.uid = geteuid();
	en.gid = getegid();
	if (kind == TAR_FILE)
		en.size = strlen(more);
	else
		en.target = str_c(more);
	CHECK_INT(tar_put(w, &en, &e), 0);
	CHECK_INT(tar_write(w, more, en.size, &e), 0);
}

static int unpack(const struct buf *b, const struct unpack_limits *limits, bool is_layer, struct unpack_result *ret,
		  struct err *e)
{
	struct unpack u = {.what = "x.tar", .is_layer = is_layer, .limits = *limits};
	auto_fd root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(root >= 0);
	auto_ptr(istream) s = istream_mem(buf_str(b), "x.tar");
	return unpack_stream(&u, s, root, ret, e);
}

static void begin(void)
{
	CHECK(mkdtemp(folder));
}
static void end(void)
{
	struct err e = ERR_INIT;
	CHECK_INT(fs_remove_tree(AT_FDCWD, folder, &e), 0);
}

TEST(limits)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct tar_writer w = {.sink = to_buf, .ctx = &b};
	struct unpack_limits l = UNPACK_LIMITS;
	struct unpack_result r;
	struct err e = ERR_INIT;
	put(&w, TAR_FILE, "a/b/c", "12345678");
	put(&w, TAR_FILE, "d", "12345678");
	CHECK_INT(tar_end(&w, &e), 0);
	begin();
	l.bytes = 15;
	CHECK_INT(unpack(&b, &l, false, &r, &e), -1);
	CHECK_INT(e.code, ERR_LIMIT);
	CHECK_STR(e.msg, "x.tar is refused: it holds more than 15 bytes");
	end();
	memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
	begin();
	l.bytes = 16;
	l.entries = 1;
	CHECK_INT(unpack(&b, &l, false, &r, &e), -1);
	CHECK_STR(e.msg, "x.tar is refused: it holds more than 1 entries");
	end();
	memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
	begin();
	l.entries = 2;
	l.depth = 2;
	CHECK_INT(unpack(&b, &l, false, &r, &e), -1);
	CHECK_STR(e.msg, "x.tar is refused: 'a/b/c' lies deeper than 2 folders");
	end();
	memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
	begin();
	l.depth = 3;
	l.path = 4;
	CHECK_INT(unpack(&b, &l, false, &r, &e), -1);
	CHECK_STR(e.msg, "x.tar is refused: the path of 'a/b/c' has more than 4 bytes");
	l.path = 5;
	end();
	memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
	begin();
	CHECK_INT(unpack(&b, &l, false, &r, &e), 0);
	CHECK_INT(r.entries, 2);
	CHECK_INT(r.bytes, 16);
	end();
}

/* Links lead where they would lead with the folder as "/". */
TEST(nothing_leads_out)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct tar_writer w = {.sink = to_buf, .ctx = &b};
	struct unpack_result r;
	struct err e = ERR_INIT;
	begin();
	auto_free char *out = xasprintf("%s.out", folder);
	CHECK_INT(mkdir(out, 0700), 0);
	put(&w, TAR_SYMLINK, "up", "../../../../../../tmp");
	put(&w, TAR_SYMLINK, "away", out);
	put(&w, TAR_DIR, "tmp", "");
	auto_free char *inside = xasprintf("%s", out + 1), *in_folder = xasprintf("%s/%s/file", folder, out + 1);
	put(&w, TAR_DIR, inside, "");
	put(&w, TAR_FILE, "up/file", "x");
	put(&w, TAR_FILE, "away/file", "x");
	CHECK_INT(tar_end(&w, &e), 0);
	int rc = unpack(&b, &UNPACK_LIMITS, true, &r, &e);
	CHECK_MSG(rc == 0, "%s", e.msg);
	auto_free char *tmp_file = xasprintf("%s/tmp/file", folder), *out_file = xasprintf("%s/file", out);
	CHECK(access(tmp_file, F_OK) == 0);
	CHECK(access(in_folder, F_OK) == 0);
	CHECK(access(out_file, F_OK) < 0);
	CHECK_INT(rmdir(out), 0);
	end();
}

static void put_with(struct tar_writer *w, const char *path, const struct tar_xattr *x, size_t n)
{
	struct err e = ERR_INIT;
	struct tar_entry en = {.kind = TAR_DIR, .path = str_c(path), .mode = 0755, .xattrs = x, .n_xattrs = n};
	en.uid = geteuid();
	en.gid = getegid();
	CHECK_INT(tar_put(w, &en, &e), 0);
}

/* What an upper layer says of a folder is all that holds of it. */
TEST(attributes_of_a_folder_are_those_of_the_last_layer)
{
	static const struct tar_xattr one[] = {{{"user.a", 6}, {"1", 1}}, {{"user.b", 6}, {"1", 1}}};
	static const struct tar_xattr two[] = {{{"user.b", 6}, {"2", 1}}};
	auto_buf b = BUF_INIT(1 << 20), b2 = BUF_INIT(1 << 20);
	struct tar_writer w = {.sink = to_buf, .ctx = &b}, w2 = {.sink = to_buf, .ctx = &b2};
	struct unpack_result r;
	struct err e = ERR_INIT;
	char value[8] = "";
	put_with(&w, "d/", one, 2);
	put_with(&w, "e/", one, 2);
	CHECK_INT(tar_end(&w, &e), 0);
	put_with(&w2, "d/", two, 1);
	CHECK_INT(tar_end(&w2, &e), 0);
	begin();
	CHECK_INT(unpack(&b, &UNPACK_LIMITS, true, &r, &e), 0);
	auto_free char *d = xasprintf("%s/d", folder), *untouched = xasprintf("%s/e", folder);
	if (getxattr(d, "user.a", value, sizeof(value)) < 0) {
		end();
		SKIP("file system: no attributes of users in /tmp");
	}
	CHECK_INT(setxattr(d, "user.overlay.x", "1", 1, 0), 0);
	CHECK_INT(unpack(&b2, &UNPACK_LIMITS, true, &r, &e), 0);
	CHECK(getxattr(d, "user.a", value, sizeof(value)) < 0 && errno == ENODATA);
	CHECK(getxattr(d, "user.b", value, sizeof(value)) == 1 && value[0] == '2');
	CHECK_INT(getxattr(d, "user.overlay.x", value, sizeof(value)), 1);
	CHECK_INT(getxattr(untouched, "user.a", value, sizeof(value)), 1);
	end();
}

/* A process that was killed between two calls may have had the same number. */
TEST(a_spool_that_was_left)
{
	struct err e = ERR_INIT;
	begin();
	auto_fd dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	auto_free char *left = xasprintf(".spool.%ld", (long)getpid());
	auto_fd old = openat(dir, left, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(old >= 0 && write(old, "old", 3) == 3);
	auto_fd fd = spool_named(dir, &e);
	CHECK_MSG(fd >= 0, "%s", e.msg);
	CHECK_INT(lseek(fd, 0, SEEK_END), 0);
	CHECK(!fs_exists(dir, left));
	end();
}

/* Whiteouts in the wrong order, of folders, of what the layer itself makes. */
TEST(whiteouts)
{
	auto_buf b = BUF_INIT(1 << 20), b2 = BUF_INIT(1 << 20);
	struct tar_writer w = {.sink = to_buf, .ctx = &b}, w2 = {.sink = to_buf, .ctx = &b2};
	struct unpack_result r;
	struct err e = ERR_INIT;
	put(&w, TAR_FILE, "d/old", "1");
	put(&w, TAR_FILE, "d/sub/old", "1");
	put(&w, TAR_FILE, "gone/x", "1");
	put(&w, TAR_FILE, ".wh.plain", "");
	CHECK_INT(tar_end(&w, &e), 0);
	put(&w2, TAR_FILE, "d/sub/new", "2");
	put(&w2, TAR_FILE, "d/.wh.sub", "");
	put(&w2, TAR_FILE, "d/.wh..wh..opq", "");
	put(&w2, TAR_FILE, ".wh.gone", "");
	put(&w2, TAR_FILE, ".wh..wh.plnk", "");
	CHECK_INT(tar_end(&w2, &e), 0);
	begin();
	CHECK_INT(unpack(&b, &UNPACK_LIMITS, false, &r, &e), 0);
	auto_fd root = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(fs_exists(root, ".wh.plain")); /* no layer: a name like any other */
	int rc = unpack(&b2, &UNPACK_LIMITS, true, &r, &e);
	CHECK_MSG(rc == 0, "%s", e.msg);
	CHECK(fs_exists(root, "d/sub/new"));
	CHECK(!fs_exists(root, "d/old"));
	CHECK(!fs_exists(root, "d/sub/old"));
	CHECK(!fs_exists(root, "gone"));
	CHECK(!fs_exists(root, ".wh..wh.plnk"));
	auto_buf b3 = BUF_INIT(1 << 20);
	struct tar_writer w3 = {.sink = to_buf, .ctx = &b3};
	put(&w3, TAR_FILE, "d/.wh...", "");
	CHECK_INT(unpack(&b3, &UNPACK_LIMITS, true, &r, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK(fs_exists(root, "d"));
	end();
}
