// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "channel/channel.h"

TEST(paths_that_lead_nowhere_else)
{
	CHECK(channel_path_is_normal(STR("noarch/repodata.json")));
	CHECK(channel_path_is_normal(STR("...")));
	CHECK(!channel_path_is_normal(STR("")));
	CHECK(!channel_path_is_normal(STR("/noarch")));
	CHECK(!channel_path_is_normal(STR("noarch/")));
	CHECK(!channel_path_is_normal(STR("noarch//x")));
	CHECK(!channel_path_is_normal(STR("noarch/../x")));
	CHECK(!channel_path_is_normal(STR("./x")));
	CHECK(!channel_path_is_normal(STR("x/.")));
	CHECK(!channel_path_is_normal(STR("a\0b")));
}

TEST(files_of_a_conda_channel)
{
	const struct channel_kind *k = channel_kind(STR("conda"));
	CHECK(k);
	CHECK_INT(channel_kind_file(k, STR("linux-64/repodata.json")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("channeldata.json")), CHANNEL_FILE_POINTER);
	CHECK_INT(channel_kind_file(k, STR("noarch/shards/00ff.msgpack.zst")), CHANNEL_FILE_NAMED);
	CHECK_INT(channel_kind_file(k, STR("noarch/a-1-0.conda")), CHANNEL_FILE_PACKAGE);
	CHECK_INT(channel_kind_file(k, STR("noarch/a-1-0.tar.bz2")), CHANNEL_FILE_PACKAGE);
	CHECK_INT(channel_kind_file(k, STR("noarch/a-1-0.exe")), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("elsewhere/a-1-0.conda")), CHANNEL_FILE_NONE);
	CHECK_INT(channel_kind_file(k, STR("noarch/../a-1-0.conda")), CHANNEL_FILE_NONE);
	CHECK_STR(channel_kind_type(k, STR("noarch/repodata.json")), "application/json");
	CHECK(!channel_kind(STR("cargo")));
}

TEST(a_tree_tells_its_kind)
{
	char path[256];
	CHECK_INT(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST, 1);
	snprintf(path, sizeof(path), "%s/linux-64", test_tmp());
	CHECK_INT(mkdir(path, 0700), 0);
	auto_fd dir = open(test_tmp(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(!channel_kind_of(dir));
	snprintf(path, sizeof(path), "%s/linux-64/repodata.json", test_tmp());
	auto_fd file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(file >= 0);
	const struct channel_kind *k = channel_kind_of(dir);
	CHECK(k);
	CHECK_STR(channel_kind_name(k), "conda");
}

static const char *kind_of(const char *fn)
{
	const struct channel_kind *k = channel_kind_of_package(str_c(fn));
	return k ? channel_kind_name(k) : "none";
}

TEST(a_package_tells_its_kind)
{
	CHECK_STR(kind_of("a-1-0.conda"), "conda");
	CHECK_STR(kind_of("./b/a-1-0.tar.bz2"), "conda");
	CHECK_STR(kind_of("a_1_amd64.deb"), "deb");
	CHECK_STR(kind_of("a-1-py3-none-any.whl"), "pypi");
	CHECK_STR(kind_of("a-1.tar.gz"), "pypi");
	CHECK_STR(kind_of("a.exe"), "none");
}
