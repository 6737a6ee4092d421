// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "channel/staging.h"

static struct err e;
static char in_tmp_path[512];

static const char *in_tmp(const char *name)
{
	snprintf(in_tmp_path, sizeof(in_tmp_path), "%s/%s", test_tmp(), name);
	return in_tmp_path;
}

static void put(const char *name, const char *text, uint8_t sha[SHA256_SIZE])
{
	CHECK_INT(fs_replace(AT_FDCWD, in_tmp(name), text, strlen(text), 0, &e), 0);
	sha256(text, strlen(text), sha);
}

static char *read_back(const char *name)
{
	struct buf b = BUF_INIT(1000);
	struct err ignored = ERR_INIT;
	return fs_read(AT_FDCWD, in_tmp(name), &b, &ignored) < 0 ? NULL : buf_steal(&b);
}

TEST(nothing_is_there_before_the_commit)
{
	uint8_t sha[SHA256_SIZE];
	auto_free char *folder = xstrdup(in_tmp("c")), *from = xstrdup(in_tmp("p"));
	put("p", "package", sha);
	{
		auto_staging t = STAGING_INIT;
		CHECK_INT(staging_open(&t, folder, false, &e), 0);
		CHECK_INT(staging_put_file(&t, "packages/p", from, sha, false, &e), 1);
		CHECK_INT(staging_put_text(&t, "simple/p/index", STR("text"), &e), 1);
	}
	CHECK(!read_back("c/packages/p") && !read_back("c/simple/p/index"));
	CHECK(!fs_exists(AT_FDCWD, in_tmp("c/.slipway.new")));
	{
		auto_staging t = STAGING_INIT;
		CHECK_INT(staging_open(&t, folder, false, &e), 0);
		CHECK_INT(staging_put_file(&t, "packages/p", from, sha, false, &e), 1);
		CHECK_INT(staging_put_text(&t, "simple/p/index", STR("text"), &e), 1);
		CHECK_INT(staging_commit(&t, &e), 0);
	}
	auto_free char *p = read_back("c/packages/p"), *text = read_back("c/simple/p/index");
	CHECK_STR(p, "package");
	CHECK_STR(text, "text");
	auto_staging t = STAGING_INIT;
	CHECK_INT(staging_open(&t, folder, false, &e), 0);
	CHECK_INT(staging_put_file(&t, "packages/p", from, sha, false, &e), 0);
	CHECK_INT(staging_put_text(&t, "simple/p/index", STR("text"), &e), 0);
	staging_drop(&t, "packages/p");
	staging_drop(&t, "packages/never");
	CHECK_INT(staging_commit(&t, &e), 0);
	CHECK(!fs_exists(AT_FDCWD, in_tmp("c/packages")));
	CHECK(fs_exists(AT_FDCWD, in_tmp("c/simple/p/index")));
}

TEST(other_content_and_changed_files)
{
	uint8_t sha[SHA256_SIZE], other[SHA256_SIZE];
	auto_free char *folder = xstrdup(in_tmp("c")), *from = xstrdup(in_tmp("p")), *new = xstrdup(in_tmp("q"));
	put("p", "package", sha);
	put("q", "another", other);
	auto_staging t = STAGING_INIT;
	CHECK_INT(staging_open(&t, folder, false, &e), 0);
	CHECK_INT(staging_put_file(&t, "p", from, sha, false, &e), 1);
	CHECK_INT(staging_commit(&t, &e), 0);
	CHECK_INT(staging_put_file(&t, "p", new, other, false, &e), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK_INT(staging_put_file(&t, "r", from, other, false, &e), -1);
	CHECK_INT(e.code, ERR_VERIFY);
	CHECK_INT(staging_put_file(&t, "p", new, other, true, &e), 1);
	CHECK_INT(staging_commit(&t, &e), 0);
	auto_free char *p = read_back("c/p");
	CHECK_STR(p, "another");
}

TEST(a_dry_run_writes_nothing)
{
	uint8_t sha[SHA256_SIZE];
	auto_free char *folder = xstrdup(in_tmp("c")), *from = xstrdup(in_tmp("p"));
	put("p", "package", sha);
	auto_staging t = STAGING_INIT;
	CHECK_INT(staging_open(&t, folder, true, &e), 0);
	CHECK_INT(staging_put_file(&t, "p", from, sha, false, &e), 1);
	CHECK_INT(staging_put_text(&t, "x", STR("x"), &e), 1);
	CHECK_INT(staging_commit(&t, &e), 0);
	CHECK(!fs_exists(AT_FDCWD, folder));
}

TEST(streams_links_and_pointers)
{
	auto_free char *folder = xstrdup(in_tmp("c"));
	auto_staging t = STAGING_INIT;
	size_t n;
	CHECK_INT(staging_open(&t, folder, false, &e), 0);
	CHECK_INT(staging_put_pointer(&t, "Release", STR("pointer"), &e), 1);
	auto_fd fd = staging_begin(&t, &n, &e);
	CHECK(fd >= 0);
	CHECK_INT(write(fd, "text", 4), 4);
	CHECK_INT(staging_name(&t, n, "by-hash/abc", &e), 0);
	CHECK_INT(staging_link(&t, "a/Packages", "by-hash/abc", &e), 0);
	auto_fd unnamed = staging_begin(&t, &n, &e);
	CHECK(unnamed >= 0); /* never named: gone */
	CHECK(!read_back("c/Release"));
	CHECK_INT(staging_commit(&t, &e), 0);
	auto_free char *pointer = read_back("c/Release"), *by_hash = read_back("c/by-hash/abc"),
		       *link = read_back("c/a/Packages");
	CHECK_STR(pointer, "pointer");
	CHECK_STR(by_hash, "text");
	CHECK_STR(link, "text");
	/* once more: what is a link already stays one */
	CHECK_INT(staging_link(&t, "a/Packages", "by-hash/abc", &e), 0);
	CHECK_INT(staging_commit(&t, &e), 0);
	struct stat x, y;
	CHECK_INT(stat(in_tmp("c/by-hash/abc"), &x), 0);
	CHECK_INT(stat(in_tmp("c/a/Packages"), &y), 0);
	CHECK_INT(x.st_ino, y.st_ino);
	CHECK_INT(x.st_nlink, 2);
}
