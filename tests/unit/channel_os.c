// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "channel/channel.h"

static struct arena a;

static struct channel_os host(const char *id, const char *version, const char *codename, const char *virtuals)
{
	struct channel_os os;
	struct err e = ERR_INIT;
	CHECK_INT(channel_os_parse(&a, str_c(id), str_c(version), str_c(codename), str_c(virtuals), &os, &e), 0);
	return os;
}

static bool meets(const struct channel_os *os, const char *ranges)
{
	struct str why;
	bool met = channel_os_meets(os, str_c(ranges), &a, &why);
	CHECK(met == (why.n == 0));
	return met;
}

TEST(systems_and_versions)
{
	const struct channel_os os = host("debian", "12", "bookworm", "__glibc=2.36,__linux=6.1,__unix=0");
	CHECK(meets(&os, ""));
	CHECK(meets(&os, "debian"));
	CHECK(meets(&os, "debian 12"));
	CHECK(meets(&os, "debian >=11,<13"));
	CHECK(!meets(&os, "debian >=13"));
	CHECK(!meets(&os, "ubuntu >=12"));
	CHECK(meets(&os, "ubuntu >=22.04; debian >=12"));
	CHECK(meets(&os, "bookworm"));
	CHECK(!meets(&os, "trixie"));
}

TEST(what_a_host_must_have)
{
	const struct channel_os os = host("debian", "12", "bookworm", "__glibc=2.36");
	struct str why;
	CHECK(meets(&os, "__glibc >=2.28"));
	CHECK(!meets(&os, "__glibc >=2.38"));
	CHECK(!meets(&os, "__osx"));
	CHECK(!meets(&os, "debian; __glibc >=2.38"));
	CHECK(!meets(&os, "debian 11; __glibc >=2.28"));
	CHECK(!channel_os_meets(&os, STR("debian >=13; ubuntu 24.04"), &a, &why));
	CHECK_STR(arena_strdup(&a, why), "it is for debian >=13, ubuntu 24.04, and this host is debian 12");
	CHECK(!channel_os_meets(&os, STR("__glibc >=2.38"), &a, &why));
	CHECK_STR(arena_strdup(&a, why), "it needs __glibc >=2.38, and this host is __glibc 2.36");
}

TEST(what_is_no_range)
{
	static const char *const bad[] = {"debian >=>", "<script>", "debian;a b c d e", "*"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct err e = ERR_INIT;
		CHECK_INT(channel_os_check(str_c(bad[i]), &e), -1);
	}
}

TEST(what_nobody_is)
{
	struct channel_os os;
	struct err e = ERR_INIT;
	CHECK_INT(channel_os_parse(&a, STR("a b"), STR(""), STR(""), STR(""), &os, &e), -1);
	CHECK_INT(channel_os_parse(&a, STR("a"), STR("\n"), STR(""), STR(""), &os, &e), -1);
	CHECK_INT(channel_os_parse(&a, STR("a"), STR("1"), STR(""), STR("x"), &os, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
}

static const char *environment(const char *name)
{
	static char *path;
	if (!path)
		path = xasprintf("%s/release", test_tmp());
	return strcmp(name, "SLIPWAY_OS_RELEASE") == 0	   ? path
	       : strcmp(name, "CONDA_OVERRIDE_GLIBC") == 0 ? "2.31"
							   : NULL;
}

TEST(this_host)
{
	struct channel_os os;
	struct err e = ERR_INIT;
	auto_buf b = BUF_INIT(BUF_MAX);
	FILE *f = fopen(environment("SLIPWAY_OS_RELEASE"), "w");
	fputs("NAME=\"Ubuntu\"\nID=ubuntu\nVERSION_ID=\"22.04\"\nVERSION_CODENAME='jammy'\nEVIL=$(x)\n", f);
	fclose(f);
	CHECK_INT(channel_os_host(&a, environment, &os, &e), 0);
	CHECK(str_eq(os.id, STR("ubuntu")) && str_eq(os.version, STR("22.04")) && str_eq(os.codename, STR("jammy")));
	CHECK(!meets(&os, "__glibc >=2.34"));
	channel_os_put(&os, &b);
	CHECK(str_starts(buf_str(&b), STR("os=ubuntu&version=22.04&codename=jammy&virtual=")));
}
