// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "base/zip.h"
#include "lib/archive.h"

static struct err e;

static int find(struct str bytes, struct str pattern, struct buf *got)
{
	struct zip_range r;
	char path[256];
	snprintf(path, sizeof(path), "%s/x.zip", test_tmp());
	CHECK_INT(fs_replace(AT_FDCWD, path, bytes.p, bytes.n, 0, &e), 0);
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc = zip_find(fd, "x.zip", pattern, &r, &e);
	if (rc <= 0)
		return rc;
	auto_ptr(istream) in = istream_range(fd, r, "x.zip");
	char piece[100];
	for (ssize_t n; (n = istream_read(in, piece, sizeof(piece), &e)) != 0;) {
		if (n < 0)
			return -1;
		buf_put(got, piece, (size_t)n);
	}
	return 1;
}

static void put_many(struct zip_writer *z)
{
	for (unsigned i = 0; i < 3000; i++) {
		char name[64];
		snprintf(name, sizeof(name), "a/%u.py", i);
		zip_put(z, name, STR("pass"));
	}
	zip_put(z, "a-1.dist-info/METADATA", STR("Name: a"));
	zip_put(z, "a/x.dist-info/METADATA", STR("deeper"));
}

TEST(a_member_among_many)
{
	for (int zip64 = 0; zip64 < 2; zip64++) {
		auto_zip z = ZIP_WRITER_INIT;
		auto_buf got = BUF_INIT(BUF_MAX);
		z.zip64 = zip64;
		put_many(&z);
		zip_end(&z);
		CHECK_MSG(find(buf_str(&z.out), STR("*.dist-info/METADATA"), &got) == 1, "%s", e.msg);
		CHECK_STR(got.p, "Name: a");
		CHECK_INT(find(buf_str(&z.out), STR("*.egg-info/METADATA"), &got), 0);
		CHECK_INT(find(str_head(buf_str(&z.out), z.out.n - 1), STR("*.dist-info/METADATA"), &got), -1);
		CHECK_INT(e.code, ERR_INPUT);
	}
}

TEST(two_that_match_are_none)
{
	auto_zip z = ZIP_WRITER_INIT;
	auto_buf got = BUF_INIT(BUF_MAX);
	put_many(&z);
	zip_put(&z, "b-1.dist-info/METADATA", STR("Name: b"));
	zip_end(&z);
	CHECK_INT(find(buf_str(&z.out), STR("*.dist-info/METADATA"), &got), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK(strstr(e.msg, "twice"));
	CHECK_INT(find(buf_str(&z.out), STR("b-*.dist-info/METADATA"), &got), 1);
}
