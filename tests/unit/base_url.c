// SPDX-License-Identifier: Apache-2.0
#include "base/url.h"

#include "lib/test.h"

static void check_path(const char *url, const char *want)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(100);
	CHECK_MSG(url_file_path(str_c(url), &b, &e) == 0, "%s: %s", url, e.msg);
	CHECK_STR(b.p, want);
}

static void check_no_path(const char *url, enum err_code code)
{
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(100);
	CHECK_MSG(url_file_path(str_c(url), &b, &e) < 0, "%s", url);
	CHECK_INT(e.code, code);
}

TEST(path_of_a_file_url)
{
	check_path("file:///a", "/a");
	check_path("file:///a%20b/%c3%A9", "/a b/\xc3\xa9");
	check_no_path("/a", ERR_USAGE);
	check_no_path("https://host/a", ERR_USAGE);
	check_no_path("file://", ERR_USAGE);
	check_no_path("file://host/a", ERR_USAGE);
	check_no_path("file:///a%00", ERR_USAGE);
	check_no_path("file:///a%2", ERR_USAGE);
	check_no_path("file:///a%zz", ERR_USAGE);
	char longer[200] = "file:///";
	memset(longer + 8, 'a', sizeof(longer) - 9);
	check_no_path(longer, ERR_LIMIT);
}

TEST(path_there_and_back)
{
	auto_buf url = BUF_INIT(URL_MAX), back = BUF_INIT(URL_MAX);
	struct err e = ERR_INIT;
	char path[257] = "/";
	for (int i = 1; i < 256; i++)
		path[i] = (char)i;
	buf_put_c(&url, "file://");
	url_put_path(&url, str_c(path));
	CHECK(url_file_path(buf_str(&url), &back, &e) == 0);
	CHECK_STR(back.p, path);
}

static void check_shown(const char *url, const char *want)
{
	auto_buf b = BUF_INIT(1000);
	url_put_shown(&b, str_c(url));
	CHECK_STR(b.p, want);
}

TEST(shown_without_credentials)
{
	check_shown("https://host/a/b", "https://host/a/b");
	check_shown("https://user:secret@host:1/a", "https://host:1/a");
	check_shown("https://user:p@ss@host", "https://host");
	check_shown("https://host/t/TOKEN/a/b", "https://host/a/b");
	check_shown("https://host/t/TOKEN", "https://host");
	check_shown("https://user@host/t/TOKEN/a", "https://host/a");
	check_shown("https://host/a@b/t/c", "https://host/a@b/t/c");
	check_shown("https://host//t/TOKEN/a", "https://host//a");
	check_shown("https://host/./t/TOKEN/a", "https://host/./a");
	check_shown("https://host/api/t/tk-123-456/a/b", "https://host/api/a/b");
	check_shown("https://host/api/repo/t/0f5c1f5e-aa", "https://host/api/repo");
	check_shown("https://host/a/t/t/tk-123-456/b", "https://host/a/t/b");
	check_shown("https://host/a/t/linux-aarch64/x.conda", "https://host/a/t/linux-aarch64/x.conda");
	check_shown("https://host/a/t/noarch/x.conda", "https://host/a/t/noarch/x.conda");
	check_shown("file:///t/x/y", "file:///t/x/y");
	check_shown("--channel=https://user:secret@host/a", "--channel=https://host/a");
	check_shown("user@host", "user@host");
	check_shown("", "");
}
