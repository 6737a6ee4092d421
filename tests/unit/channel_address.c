// SPDX-License-Identifier: Apache-2.0
#include "channel/channel.h"

#include <sys/utsname.h>

#include "lib/test.h"

static struct arena a;

static struct channel parse(const char *text, const char *alias)
{
	struct channel_config config = {.alias = str_c(alias), .cwd = STR("/home/me")};
	struct channel c;
	struct err e = ERR_INIT;
	if (channel_parse(&a, str_c(text), &config, &c, &e) < 0)
		test_fail(__FILE__, __LINE__, "'%s': %s", text, e.msg);
	return c;
}

static const char *z(struct str s)
{
	return arena_strdup(&a, s);
}

static const char *refused(const char *text, const char *alias)
{
	struct channel_config config = {.alias = str_c(alias), .cwd = STR("/home/me")};
	struct channel c;
	static struct err e;
	e = ERR_INIT;
	CHECK(channel_parse(&a, str_c(text), &config, &c, &e) < 0);
	CHECK_INT(e.code, ERR_USAGE);
	return e.msg;
}

TEST(urls_become_canonical)
{
	CHECK_STR(z(parse("HTTPS://Conda.Example.org/conda-forge//", NULL).url),
		  "https://conda.example.org/conda-forge");
	CHECK_STR(z(parse("https://h/a/./b/../c/", NULL).url), "https://h/a/c");
	CHECK_STR(z(parse("https://h/..", NULL).url), "https://h");
	CHECK_STR(z(parse("https://h:8080/Big", NULL).url), "https://h:8080/Big");
}

TEST(a_subdir_or_file_behind_the_channel_is_cut)
{
	CHECK_STR(z(parse("https://h/c/linux-64", NULL).url), "https://h/c");
	CHECK_STR(z(parse("https://h/c/noarch/repodata.json", NULL).url), "https://h/c");
	CHECK_STR(z(parse("https://h/c/noarch/repodata.json.zst", NULL).url), "https://h/c");
	CHECK_STR(z(parse("https://h/linux-tools", NULL).url), "https://h/linux-tools");
}

TEST(names_go_behind_the_alias)
{
	struct channel c = parse("conda-forge/label/rc", "https://mirror.example/conda/");
	CHECK_STR(z(c.url), "https://mirror.example/conda/conda-forge/label/rc");
	CHECK_STR(z(c.name), "conda-forge/label/rc");
	CHECK(!c.is_folder);
	CHECK(strstr(refused("conda-forge", NULL), "channel_alias"));
}

TEST(folders_become_file_urls)
{
	CHECK_STR(z(parse("./channel", NULL).url), "file:///home/me/channel");
	CHECK_STR(z(parse("../channel/", NULL).url), "file:///home/channel");
	CHECK_STR(z(parse("/srv/a b#c%", NULL).url), "file:///srv/a%20b%23c%25");
	CHECK_STR(z(parse(".", NULL).url), "file:///home/me");
	CHECK(parse("/srv/x", NULL).is_folder);
}

TEST(an_existing_folder_needs_no_dot)
{
	struct channel_config config = {.cwd = str_c(test_tmp())};
	struct channel c;
	struct err e = ERR_INIT;
	char path[256];
	snprintf(path, sizeof(path), "%s/mine", test_tmp());
	CHECK_INT(mkdir(path, 0700), 0);
	CHECK_INT(channel_parse(&a, STR("mine"), &config, &c, &e), 0);
	CHECK(c.is_folder);
	CHECK(str_ends(c.url, STR("/mine")));
}

TEST(secrets_are_not_shown)
{
	struct channel c = parse("https://me:Secret@h/t/tk-123/conda-forge", NULL);
	CHECK_STR(z(c.url), "https://me:Secret@h/t/tk-123/conda-forge");
	CHECK_STR(z(c.shown), "https://h/conda-forge");
	CHECK(!strstr(z(c.name), "Secret") && !strstr(z(c.name), "tk-123"));
	CHECK(!strstr(refused("ftp://me:Secret@h/x", NULL), "Secret"));
	CHECK(!strstr(refused("https://me:Secret@h/x y", NULL), "Secret"));
}

TEST(secrets_are_put_in_where_a_file_is_asked_for)
{
	struct channel c[] = {parse("https://h/conda", NULL), parse("https://h/t/tk-123/conda-forge", NULL)};
	CHECK_STR(z(channel_private_url(&a, c, 2, STR("https://h/conda-forge/noarch/x.conda"))),
		  "https://h/t/tk-123/conda-forge/noarch/x.conda");
	CHECK_STR(z(channel_private_url(&a, c, 2, STR("https://h/conda-forge2/x"))), "https://h/conda-forge2/x");
	CHECK_STR(z(channel_private_url(&a, c, 2, STR("https://o/conda-forge/x"))), "https://o/conda-forge/x");
	CHECK_STR(z(channel_private_url(&a, NULL, 0, STR("https://h/x"))), "https://h/x");
}

TEST(ids_tell_channels_apart)
{
	CHECK_STR(parse("https://h/a", NULL).id, parse("https://H/a/", NULL).id);
	CHECK(strcmp(parse("https://h/a", NULL).id, parse("https://h/b", NULL).id) != 0);
	CHECK(strcmp(parse("https://h/a/b", NULL).id, parse("https://h/a_b", NULL).id) != 0);
	CHECK(strcmp(parse("https://h/a%5fb", NULL).id, parse("https://h/a_b", NULL).id) != 0);
}

TEST(ids_are_names_of_folders)
{
	char url[400];
	CHECK_STR(parse("https://H:8080/conda-forge/", NULL).id, "https:__h:8080_conda-forge");
	CHECK_STR(parse("https://h/a_b%41\xc3\xa4", NULL).id, "https:__h_a%5fb%2541%c3%a4");
	for (int n = 1; n < 300; n++) { /* the longer ones are digested */
		snprintf(url, sizeof(url), "https://h/%0*d", n, 1);
		const char *id = parse(url, NULL).id;
		CHECK(strlen(id) <= 200 && !strchr(id, '/'));
		CHECK_INT(strlen(id), strlen(url) <= 200 ? strlen(url) : 64);
	}
}

TEST(ids_hold_no_secret)
{
	static const char *const urls[] = {"https://me:Secret@h/a", "https://h/t/Secret/a", "https://h/b/t/Secret-1/a"};
	for (size_t i = 0; i < 3; i++) {
		const char *id = parse(urls[i], NULL).id;
		CHECK_INT(strlen(id), 64);
		CHECK(!strstr(id, "Secret") && strcmp(id, parse("https://h/a", NULL).id) != 0);
	}
}

TEST(what_is_no_address_is_refused)
{
	refused("", "https://h");
	refused("a b", "https://h");
	refused("-x", "https://h");
	refused("a//b", "https://h");
	refused("https://", NULL);
	refused("https://h/a?b", NULL);
	refused("s3://bucket/x", NULL);
	refused("conda-forge", "s3://bucket");
	refused("file://srv/channel", NULL);
	CHECK(!strstr(refused("conda-forge", "ftp://me:Secret@h"), "Secret"));
}

TEST(the_channel_of_a_spec_matches)
{
	struct channel c = parse("conda-forge", "https://conda.example.org");
	CHECK(channel_matches(&c, STR("conda-forge")));
	CHECK(channel_matches(&c, STR("https://conda.example.org/conda-forge/")));
	CHECK(!channel_matches(&c, STR("forge")));
	CHECK(!channel_matches(&c, STR("bioconda")));
	struct channel m = parse("https://me:pw@mirror/x/conda-forge", NULL);
	CHECK(channel_matches(&m, STR("conda-forge")));
	CHECK(channel_matches(&m, STR("https://mirror/x/conda-forge")));
	m = parse("https://repodata.json", NULL);
	CHECK(str_eq(m.url, STR("https://repodata.json")));
	struct channel root = parse("/", NULL);
	CHECK(channel_matches(&root, root.url));
}

TEST(references_are_joined)
{
	struct str folder = STR("https://h/c/linux-64/");
	CHECK_STR(z(channel_url_join(&a, folder, STR("./shards/"))), "https://h/c/linux-64/shards/");
	CHECK_STR(z(channel_url_join(&a, folder, STR("../x"))), "https://h/c/x");
	CHECK_STR(z(channel_url_join(&a, folder, STR("/x/"))), "https://h/x/");
	CHECK_STR(z(channel_url_join(&a, folder, STR("https://o/y/"))), "https://o/y/");
	CHECK_STR(z(channel_url_join(&a, folder, STR(""))), "https://h/c/linux-64/");
	CHECK_STR(z(channel_url_join(&a, folder, STR("../../../../x"))), "https://h/x");
}

TEST(subdirs)
{
	CHECK(channel_is_subdir(STR("linux-64")));
	CHECK(channel_is_subdir(STR("noarch")));
	CHECK(!channel_is_subdir(STR("linux")));
	CHECK(channel_is_subdir(channel_host_subdir()));
}

TEST(an_alias_may_be_a_folder)
{
	struct channel c = parse("lab", "/srv/my channels/");
	CHECK_STR(z(c.url), "file:///srv/my%20channels/lab");
	CHECK(c.is_folder);
}
