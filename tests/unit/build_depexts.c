// SPDX-License-Identifier: Apache-2.0
/* Packages of the system: what the programs of each family print, and programs that misbehave. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "build/opam_system.h"
#include "lib/test.h"

static struct build_depexts *open_for(const char *family, int64_t query_ms)
{
	struct err e = ERR_INIT;
	struct build_depexts *d = NULL;
	const struct str ignored[] = {STR("ignored")};
	const struct build_depexts_opts o = {
		.family = str_c(family), .ignored = ignored, .n_ignored = 1, .query_ms = query_ms};
	CHECK(build_depexts_open(&o, &d, &e) == 0);
	return d;
}

static void program(const char *dir, const char *name, const char *script)
{
	struct err e = ERR_INIT;
	auto_free char *file = xasprintf("%s/%s", dir, name);
	auto_free char *text = xasprintf("#!/bin/sh\nPATH=/usr/bin:/bin\n%s\n", script);
	auto_fd fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	CHECK(fd >= 0 && fs_write_all(fd, text, strlen(text), file, &e) == 0);
}

/* PATH is a folder that has this program alone. */
static void only(const char *name, const char *script)
{
	static int number;
	auto_free char *dir = xasprintf("%s/%d", test_tmp(), number++);
	CHECK(mkdir(dir, 0755) == 0);
	program(dir, name, script);
	setenv("PATH", dir, 1);
}

static enum channel_system_has asked(struct build_depexts *d, const char *name)
{
	return build_depexts_has(d, str_c(name));
}

TEST(what_dpkg_and_apt_print)
{
	auto_ptr(build_depexts) d = open_for("ubuntu", 0);
	only("dpkg-query",
	     "printf 'ii \\tlibx\\tamd64\\tvirt (= 1), other\\nrc \\tgone\\tall\\t\\nhi \\theld\\tall\\t\\n"
	     "garbage\\n\\n\\t\\t\\t\\niU \\thalf\\tall\\t\\n'");
	CHECK(asked(d, "libx") == CHANNEL_SYSTEM_INSTALLED);
	CHECK(asked(d, "libx:amd64") == CHANNEL_SYSTEM_INSTALLED);
	CHECK(asked(d, "virt") == CHANNEL_SYSTEM_INSTALLED && asked(d, "other") == CHANNEL_SYSTEM_INSTALLED);
	CHECK(asked(d, "held") == CHANNEL_SYSTEM_INSTALLED);
	CHECK(asked(d, "ignored") == CHANNEL_SYSTEM_INSTALLED);
	CHECK(asked(d, "gone") == CHANNEL_SYSTEM_WANTED && asked(d, "half") == CHANNEL_SYSTEM_WANTED);
	CHECK(asked(d, "g++") == CHANNEL_SYSTEM_WANTED && asked(d, "by-other") == CHANNEL_SYSTEM_WANTED);
	CHECK(!build_depexts_problem(d));
	depexts_take(
		d, DEPEXTS_OFFERED,
		STR("Package: g++\nVersion: 1\nProvides: c++-compiler, by-other (= 2)\n\nPackage: unasked\nPackage:"));
	CHECK(asked(d, "g++") == CHANNEL_SYSTEM_OFFERED && asked(d, "by-other") == CHANNEL_SYSTEM_OFFERED);
	CHECK(asked(d, "unasked") == CHANNEL_SYSTEM_WANTED);
}

/* In the order of apk's own: installed versions say so above where they come from. */
TEST(what_apk_prints)
{
	auto_ptr(build_depexts) d = open_for("alpine", 0);
	only("apk", "case $1 in info) printf 'musl\\nvim\\n' ;; esac");
	CHECK(asked(d, "vim") == CHANNEL_SYSTEM_INSTALLED && asked(d, "at") == CHANNEL_SYSTEM_WANTED);
	CHECK(asked(d, "capnproto@edge") == CHANNEL_SYSTEM_WANTED && asked(d, "hwids@edge") == CHANNEL_SYSTEM_WANTED);
	CHECK(asked(d, "hwids@none") == CHANNEL_SYSTEM_WANTED && asked(d, "nowhere") == CHANNEL_SYSTEM_WANTED);
	depexts_take(d, DEPEXTS_OFFERED,
		     STR("capnproto policy:\n  0.8.0-r1:\n    lib/apk/db/installed\n    @edge https://x/community\n"
			 "at policy:\n  3.2.1-r1:\n    https://x/community\n"
			 "hwids policy:\n  2020-r0:\n    https://x/main\n    @edge https://x/main\n"));
	CHECK(asked(d, "capnproto@edge") == CHANNEL_SYSTEM_INSTALLED);
	CHECK(asked(d, "at") == CHANNEL_SYSTEM_OFFERED && asked(d, "hwids@edge") == CHANNEL_SYSTEM_OFFERED);
	CHECK(asked(d, "hwids@none") == CHANNEL_SYSTEM_WANTED && asked(d, "nowhere") == CHANNEL_SYSTEM_WANTED);
}

TEST(what_rpm_and_zypper_print)
{
	auto_ptr(build_depexts) d = open_for("suse", 0);
	only("rpm", "printf 'gmp-devel\\npkgconfig(gmp)\\n'");
	CHECK(asked(d, "gmp-devel") == CHANNEL_SYSTEM_INSTALLED &&
	      asked(d, "pkgconfig(gmp)") == CHANNEL_SYSTEM_INSTALLED);
	CHECK(asked(d, "a") == CHANNEL_SYSTEM_WANTED && asked(d, "b") == CHANNEL_SYSTEM_WANTED &&
	      asked(d, "c") == CHANNEL_SYSTEM_WANTED);
	depexts_take(d, DEPEXTS_OFFERED,
		     STR("\nS  | Name | Summary\n---+--+--\n   | a    | A\ni+ | b    | B | x\nv  | c | C\n"));
	CHECK(asked(d, "a") == CHANNEL_SYSTEM_OFFERED && asked(d, "b") == CHANNEL_SYSTEM_INSTALLED &&
	      asked(d, "c") == CHANNEL_SYSTEM_OFFERED);
}

TEST(names_that_are_none)
{
	static const char *const bad[] = {"",	   "-o",     "--root=/", "a b",	  "a;b", "a/b",	    "/etc/x", "../x",
					  "x.deb", "x.rpm",  "x-",	 "a\nb",  "a*",	 "http:/",  "$(id)",  "'a'",
					  "a=1",   "@group", "~x",	 "x\x01", "x|y", "\xc3\xa4"};
	static const char *const good[] = {"g++", "libstdc++6", "python3.11", "a_b", "x:amd64", "7zip"};
	auto_ptr(build_depexts) d = open_for("debian", 0);
	only("dpkg-query", ":");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK(!build_depexts_is_name(d, str_c(bad[i])));
		CHECK(asked(d, bad[i]) == CHANNEL_SYSTEM_NOT_OFFERED);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		CHECK(build_depexts_is_name(d, str_c(good[i])));
	char long_name[300];
	memset(long_name, 'a', sizeof(long_name));
	CHECK(!build_depexts_is_name(d, str_of(long_name, sizeof(long_name))));
	CHECK(!build_depexts_is_name(d, str_of("a\0b", 3)));
	/* and nothing of them reaches a command */
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct build_depexts_command *v;
	size_t n;
	const struct str evil = STR("-oDir=/");
	CHECK(build_depexts_install(d, &evil, 1, true, &a, &v, &n, &e) < 0 && e.code == ERR_INPUT);
}

/* What cannot be asked is wanted, and not refused: the package manager is to decide. */
static void check_misbehaving(const char *program, const char *script, const char *why)
{
	struct err e = ERR_INIT;
	auto_ptr(build_depexts) d = open_for("debian", 400);
	only(program, script);
	CHECK(asked(d, "x") == CHANNEL_SYSTEM_WANTED);
	CHECK(build_depexts_ask(d, &e) == 0);
	CHECK(asked(d, "x") == CHANNEL_SYSTEM_WANTED);
	CHECK(build_depexts_problem(d));
	CHECK(strstr(build_depexts_problem(d), why));
}

TEST(programs_that_misbehave)
{
	check_misbehaving("dpkg-query", "exec sleep 60", "apt-cache"); /* the last problem is told: it is not there */
	check_misbehaving("none", ":", "run 'apt-cache'");
	check_misbehaving("apt-cache", "echo broken >&2; exit 7", "'apt-cache' failed with exit code 7: broken");
	check_misbehaving("apt-cache", "kill -9 $$", "killed by signal 9");
	check_misbehaving("apt-cache", "exec sleep 60", "did not end within 400 ms");
}

TEST(output_without_end)
{
	struct err e = ERR_INIT;
	auto_ptr(build_depexts) d = open_for("debian", 20000);
	only("apt-cache", "head -c 70000000 /dev/zero");
	CHECK(asked(d, "x") == CHANNEL_SYSTEM_WANTED);
	CHECK(build_depexts_ask(d, &e) == 0 && strstr(build_depexts_problem(d), "printed more than 64 MB"));
}

TEST(garbage_offers_nothing)
{
	struct err e = ERR_INIT;
	auto_ptr(build_depexts) d = open_for("debian", 20000);
	only("apt-cache", "head -c 1000000 /dev/urandom");
	CHECK(asked(d, "x") == CHANNEL_SYSTEM_WANTED);
	CHECK(build_depexts_ask(d, &e) == 1 && asked(d, "x") == CHANNEL_SYSTEM_NOT_OFFERED);
	CHECK(build_depexts_ask(d, &e) == 0);
}

TEST(many_names)
{
	struct err e = ERR_INIT;
	auto_ptr(build_depexts) d = open_for("debian", 20000);
	/* each call gets a pattern of some ten thousands of bytes, and offers all that is in it */
	only("apt-cache", "printf '%s' \"$2\" | tr -d '^$()' | tr '|' '\\n' | sed 's/^/Package: /'");
	for (int i = 0; i < 9000; i++) {
		auto_free char *name = xasprintf("package-%d", i);
		CHECK(asked(d, name) == CHANNEL_SYSTEM_WANTED);
	}
	CHECK(build_depexts_ask(d, &e) == 0);
	CHECK(asked(d, "package-0") == CHANNEL_SYSTEM_OFFERED && asked(d, "package-8999") == CHANNEL_SYSTEM_OFFERED);
	for (int i = 0; i < 10001; i++) {
		auto_free char *name = xasprintf("more-%d", i);
		CHECK(asked(d, name) == CHANNEL_SYSTEM_WANTED);
	}
	CHECK(build_depexts_ask(d, &e) < 0 && e.code == ERR_LIMIT);
}

TEST(commands_of_each_family)
{
	static const struct {
		const char *family, *program, *plain, *asking, *update;
	} v[] = {{"debian", "apt-get", "apt-get install -qq -yy b epel-release", "apt-get install b epel-release",
		  "apt-get update"},
		 {"fedora", "dnf", NULL, NULL, "dnf makecache"},
		 {"opensuse", "zypper", "zypper --non-interactive install b epel-release",
		  "zypper install b epel-release", "zypper --non-interactive refresh"},
		 {"alpine", "apk", "apk add b epel-release", "apk add -i b epel-release", "apk update"}};
	const struct str names[] = {STR("b"), STR("epel-release")};
	struct err e = ERR_INIT;
	struct build_depexts_command *c, update;
	size_t n;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		auto_arena a = ARENA_INIT;
		auto_ptr(build_depexts) d = open_for(v[i].family, 0);
		only(v[i].program, ":");
		program(getenv("PATH"), "rpm", ":");
		program(getenv("PATH"), "su", ":");
		CHECK(build_depexts_update(d, &a, &update, &e) == 0 && strcmp(update.plain, v[i].update) == 0);
		CHECK(build_depexts_install(d, names, 2, true, &a, &c, &n, &e) == 0);
		if (v[i].plain) {
			CHECK(n == 1 && strcmp(c[0].plain, v[i].plain) == 0 && !c[0].asks);
			CHECK(build_depexts_install(d, names, 2, false, &a, &c, &n, &e) == 0);
			CHECK(strcmp(c[0].plain, v[i].asking) == 0 && c[0].asks);
		} else {
			CHECK(n == 3 && strcmp(c[0].plain, "dnf install -y epel-release") == 0 &&
			      strcmp(c[1].plain, "dnf install -y b") == 0 &&
			      strcmp(c[2].plain, "rpm -q --whatprovides b epel-release") == 0);
		}
	}
}

TEST(families_that_nobody_knows)
{
	struct err e = ERR_INIT;
	struct build_depexts *d = NULL;
	const struct build_depexts_opts o = {.family = STR("plan9")};
	CHECK(build_depexts_open(&o, &d, &e) < 0 && e.code == ERR_UNSUPPORTED && strstr(e.msg, "'plan9'"));
}
