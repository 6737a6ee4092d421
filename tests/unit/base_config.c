// SPDX-License-Identifier: Apache-2.0
#include "base/config.h"
#include "lib/test.h"

static char home[PATH_MAX], xdg[PATH_MAX], condarc[PATH_MAX];

static char *environment(const char *name)
{
	if (strcmp(name, "HOME") == 0)
		return home[0] ? home : NULL;
	if (strcmp(name, "XDG_CONFIG_HOME") == 0)
		return xdg[0] ? xdg : NULL;
	if (strcmp(name, "CONDARC") == 0)
		return condarc[0] ? condarc : NULL;
	return NULL;
}

static const char *path_of(const char *name)
{
	static char p[4][PATH_MAX];
	static unsigned next;
	char *s = p[next++ % 4];
	snprintf(s, PATH_MAX, "%s/%s", test_tmp(), name);
	return s;
}

static void put_file(const char *name, const char *text)
{
	char p[PATH_MAX];
	snprintf(p, sizeof(p), "%s", path_of(name));
	for (char *slash = p + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
		*slash = '\0';
		mkdir(p, 0700);
	}
	FILE *f = fopen(p, "w");
	CHECK(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static int load(struct arena *a, struct config *c, struct err *e)
{
	snprintf(home, sizeof(home), "%s", path_of("home"));
	struct config_sources s = {path_of("root"), path_of("etc"), environment};
	return config_load(a, &s, c, e);
}

static void check_list(const struct config_list *l, const char *want)
{
	char got[1000] = "";
	for (size_t i = 0; i < l->n; i++) {
		strncat(got, l->v[i].s.p, sizeof(got) - strlen(got) - 2);
		strncat(got, " ", 2);
	}
	CHECK_STR(got, want);
}

TEST(nothing_is_configured)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	CHECK_INT(load(&a, &c, &e), 0);
	CHECK(c.channels.n == 0 && c.channel_alias.s.n == 0 && c.channel_alias.file == NULL);
	CHECK(c.channel_priority == CONFIG_PRIORITY_UNSET && !c.always_copy && c.subdir.file == NULL);
	CHECK_INT(c.warnings_n, 0);
	CHECK(c.connect_timeout_s == -1 && c.read_timeout_s == -1 && c.max_retries == -1 && c.silence_s == -1);
	struct config_sources none = {NULL, NULL, environment};
	home[0] = '\0';
	CHECK_INT(config_load(&a, &none, &c, &e), 0);
}

TEST(every_key)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	put_file(
		"root/config.yml",
		"# ours\n"
		"channels: [tools, defaults, 'https://example.org/x']\n"
		"default_channels:\n  - main\n  - free\n"
		"channel_alias: https://example.org/get/\n"
		"custom_channels:\n  inhouse: /srv/conda/\n"
		"mirrors:\n  https://up.example.org/site: https://m.example.org/site/\nrequire_signed_plan: '*'\n"
		"channel_priority: flexible\n"
		"subdir: linux-aarch64\n"
		"always_copy: true\n"
		"remote_connect_timeout_secs: 9.15\nremote_read_timeout_secs: 60\n"
		"remote_max_retries: 0\nremote_silence_secs: 90\nreserve: 500 MB\nautostart: ignore\n"
		"build: {memory: 2 GiB, disk: 1000, processes: 7, time_secs: 60, fast_sync: false, store: copy, keep_free: 5 GB}\n");
	CHECK_MSG(load(&a, &c, &e) == 0, "%s", e.msg);
	check_list(&c.channels, "tools main free https://example.org/x ");
	check_list(&c.default_channels, "main free ");
	CHECK_STR(c.channel_alias.s.p, "https://example.org/get");
	CHECK_STR(c.channel_alias.file, path_of("root/config.yml"));
	CHECK_INT(c.channel_alias.line, 6);
	CHECK_INT(c.connect_timeout_s, 10);
	CHECK_INT(c.read_timeout_s, 60);
	CHECK_INT(c.max_retries, 0);
	CHECK_INT(c.silence_s, 90);
	CHECK_INT(c.custom_channels_n, 1);
	CHECK_STR(c.custom_channels[0].name.s.p, "inhouse");
	CHECK_STR(c.custom_channels[0].url.s.p, "/srv/conda");
	CHECK_STR(c.mirrors[0].name.s.p, "https://up.example.org/site");
	CHECK_STR(c.mirrors[0].url.s.p, "https://m.example.org/site");
	CHECK_STR(c.require_signed_plan.v[0].s.p, "*");
	CHECK_INT(c.channel_priority, CONFIG_FLEXIBLE);
	CHECK_STR(c.subdir.s.p, "linux-aarch64");
	CHECK(c.always_copy && c.autostart_ignored);
	CHECK_INT(c.reserve_bytes, 500000000);
	CHECK_INT(c.build.memory_bytes, INT64_C(2) << 30);
	CHECK_INT(c.build.disk_bytes, 1000);
	CHECK_INT(c.build.processes, 7);
	CHECK_INT(c.build.time_s, 60);
	CHECK(c.build.no_fast_sync);
	CHECK_INT(c.build.store, CONFIG_STORE_COPY);
	CHECK_INT(c.build.keep_free_bytes, 5000000000);
}

TEST(sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} sizes[] = {{"reserve: 0", 1},
		     {"reserve: 1000", 1000},
		     {"reserve: 2GiB", UINT64_C(2) << 30},
		     {"reserve: '3  KiB'", 3 << 10},
		     {"reserve: 1 TB", 1000000000000},
		     {"reserve: ~", 0}};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		auto_arena a = ARENA_INIT;
		struct err e = ERR_INIT;
		struct config c;
		put_file("root/config.yml", sizes[i].text);
		CHECK_MSG(load(&a, &c, &e) == 0, "%s", e.msg);
		CHECK_INT(c.reserve_bytes, sizes[i].bytes);
	}
}

TEST(the_first_file_that_has_a_key_counts)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	put_file("root/config.yml", "channel_priority: strict\nchannel_alias: ~\n");
	put_file("etc/slipway/config.yml", "channel_priority: disabled\nchannels: [site]\nalways_copy: false\n");
	put_file("home/.condarc", "channels: [mine]\nchannel_alias: https://home.example.org\n");
	put_file("etc/conda/condarc", "channel_alias: https://etc.example.org\ndefault_channels: [main]\n");
	CHECK_MSG(load(&a, &c, &e) == 0, "%s", e.msg);
	CHECK_INT(c.channel_priority, CONFIG_STRICT);
	check_list(&c.channels, "site ");
	CHECK_STR(c.channel_alias.s.p, "https://home.example.org");
	check_list(&c.default_channels, "main ");
	CHECK_INT(c.warnings_n, 0);
}

static void check_error(const char *text, const char *want, int line)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	char full[ERR_MSG_SIZE + PATH_MAX];
	put_file("root/config.yml", text);
	if (load(&a, &c, &e) == 0)
		test_fail(__FILE__, line, "'%s' was accepted", text);
	snprintf(full, sizeof(full), "%s:%s", path_of("root/config.yml"), want);
	test_check_str(__FILE__, line, "message", e.msg, full);
	test_check_int(__FILE__, line, "code", e.code, ERR_INPUT);
}
#define ERROR(text, want) check_error(text, want, __LINE__)

TEST(errors_name_file_and_line)
{
	ERROR("build: {ram: 1 GB}\n",
	      "1: 'build' has no key 'ram'; there are memory, disk, processes, time_secs, fast_sync, store, keep_free");
	ERROR("build: {store: zfs}\n", "1: 'store' must be auto, overlay, btrfs or copy");
	ERROR("build: {memory: much}\n", "1: 'memory' must be a size like 500 MB or 2 GiB");
	ERROR("build: {time_secs: 0}\n", "1: 'time_secs' must be a number from 1 to 2147483647");
	ERROR("subdir: linux-64\nchanels: [a]\n",
	      "2: unknown key 'chanels'; known are always_copy, autostart, build, channel_alias, channel_priority, channels, "
	      "custom_channels, default_channels, mirrors, pools, "
	      "remote_connect_timeout_secs, remote_max_retries, remote_read_timeout_secs, remote_silence_secs, "
	      "require_signed_plan, "
	      "reserve, services, subdir");
	ERROR("channels: {a: b}\n", "1: 'channels' must be a list");
	ERROR("channels:\n  - a\n  - [b]\n", "3: 'channels' must be text");
	ERROR("channels: ['']\n", "1: 'channels' must be one line of text");
	ERROR("channel_alias: example.org\n",
	      "1: 'channel_alias' must be a URL or an absolute folder, not 'example.org'");
	ERROR("channel_priority: sometimes\n",
	      "1: 'channel_priority' must be strict, flexible or disabled, not 'sometimes'");
	ERROR("channel_priority: true\n", "1: 'channel_priority' must be strict, flexible or disabled, not 'true'");
	ERROR("services: sometimes\n", "1: 'services' must be auto, agent, systemd or systemd-user");
	ERROR("always_copy: 'true'\n", "1: 'always_copy' must be true or false");
	ERROR("always_copy: yes\n", "1: 'always_copy' must be true or false");
	ERROR("remote_silence_secs: soon\n", "1: 'remote_silence_secs' must be a number from 1 to 86400, not 'soon'");
	ERROR("remote_max_retries: -1\n", "1: 'remote_max_retries' must be a number from 0 to 1000, not '-1'");
	ERROR("remote_read_timeout_secs: nan\n",
	      "1: 'remote_read_timeout_secs' must be a number from 1 to 86400, not 'nan'");
	ERROR("reserve: much\n", "1: 'reserve' must be a size like 500 MB or 2 GiB, at most 1024 TiB, not 'much'");
	ERROR("reserve: -1\n", "1: 'reserve' must be a size like 500 MB or 2 GiB, at most 1024 TiB, not '-1'");
	ERROR("reserve: 1025 TiB\n",
	      "1: 'reserve' must be a size like 500 MB or 2 GiB, at most 1024 TiB, not '1025 TiB'");
	ERROR("reserve: 5 mb\n", "1: 'reserve' must be a size like 500 MB or 2 GiB, at most 1024 TiB, not '5 mb'");
	ERROR("autostart: no\n", "1: 'autostart' must be check or ignore, not 'no'");
	ERROR("custom_channels: [a]\n", "1: 'custom_channels' must be a map from names to URLs");
	ERROR("custom_channels:\n  a: b\n", "2: 'a' must be a URL or an absolute folder, not 'b'");
	ERROR("mirrors: [a]\n", "1: 'mirrors' must be a map from URLs to URLs");
	ERROR("require_signed_plan: {a: b}\n", "1: 'require_signed_plan' must be a list");
	ERROR("pools: [a]\n", "1: 'pools' must be a map from names to what they are");
	ERROR("pools:\n  a: 2\n", "2: pool 'a' must be a map: capacity, auto, backend");
	ERROR("pools:\n  a: {capacity: 0}\n", "2: 'capacity' must be a number from 1 to 1024");
	ERROR("pools:\n  a: {auto: yes}\n", "2: 'auto' must be true or false");
	ERROR("pools:\n  a: {partition: x}\n",
	      "2: pool 'a': unknown key 'partition'; known are auto, backend, capacity");
	ERROR("- a\n", "1: expected lines of 'key: value'");
	ERROR("a: b: c\n", "1: mapping values are not allowed in this context");
}

TEST(pools)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	put_file("root/config.yml", "pools:\n  big: {capacity: 3, auto: true}\n"
				    "  far: {backend: slurm, partition: long}\n  any: ~\n");
	CHECK_MSG(load(&a, &c, &e) == 0, "%s", e.msg);
	CHECK_INT(c.pools_n, 3);
	CHECK_STR(c.pools[0].name.s.p, "big");
	CHECK_INT(c.pools[0].capacity, 3);
	CHECK(c.pools[0].automatic && !c.pools[0].backend.file);
	CHECK_STR(c.pools[1].backend.s.p, "slurm");
	CHECK_INT(c.pools[1].settings_n, 1);
	CHECK_STR(c.pools[1].settings[0].name.p, "partition");
	CHECK_STR(c.pools[1].settings[0].value.p, "long");
	CHECK_INT(c.pools[2].capacity, 1);
}

TEST(empty_files_are_fine)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	put_file("root/config.yml", "");
	put_file("etc/slipway/config.yml", "# nothing\n");
	put_file("home/.condarc", "\n");
	CHECK_MSG(load(&a, &c, &e) == 0, "%s", e.msg);
	CHECK_INT(c.warnings_n, 0);
}

TEST(conda_files_are_tolerated)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	put_file("home/.condarc", "channel_alias: https://example.org/get\n"
				  "channels:\n  - kits\n  - nodefaults\n"
				  "auto_activate_base: false\nssl_verify: true\nsubdir: osx-64\nalways_copy: maybe\n"
				  "channel_priority: true\n"
				  "custom_channels: 7\n");
	put_file("home/.conda/.condarc", "channels: [\n");
	CHECK_MSG(load(&a, &c, &e) == 0, "%s", e.msg);
	check_list(&c.channels, "kits ");
	CHECK_STR(c.channel_alias.s.p, "https://example.org/get");
	CHECK_INT(c.channel_priority, CONFIG_FLEXIBLE);
	CHECK(c.subdir.file == NULL && !c.always_copy);
	CHECK_INT(c.warnings_n, 2);
	CHECK(strstr(c.warnings[0], "home/.condarc:10: 'custom_channels' must be a map from names to URLs; left out"));
	CHECK(strstr(c.warnings[1], "home/.conda/.condarc:"));
}

TEST(where_conda_files_lie)
{
	static const char *const names[] = {"rc.yml",
					    "home/.condarc",
					    "home/.conda/.condarc",
					    "home/.conda/condarc",
					    "home/.conda/condarc.d/b.yaml",
					    "home/.conda/condarc.d/a.yml",
					    "xdg/conda/.condarc",
					    "etc/conda/.condarc",
					    "etc/conda/condarc",
					    "etc/conda/condarc.d/z.yml"};
	enum { N = sizeof(names) / sizeof(names[0]) };
	snprintf(condarc, sizeof(condarc), "%s", path_of("rc.yml"));
	snprintf(xdg, sizeof(xdg), "%s", path_of("xdg"));
	put_file("home/.conda/condarc.d/z.txt", "channels: [not-this]\n");
	for (size_t i = 0; i < N; i++) {
		char text[100];
		snprintf(text, sizeof(text), "channels: [from-%zu]\n", i);
		put_file(names[i], text);
	}
	for (size_t i = 0; i < N; i++) { /* each in turn is the first; then it goes away */
		auto_arena a = ARENA_INIT;
		struct err e = ERR_INIT;
		struct config c;
		char want[100];
		CHECK_MSG(load(&a, &c, &e) == 0, "%s", e.msg);
		snprintf(want, sizeof(want), "from-%zu ", i);
		check_list(&c.channels, want);
		CHECK_STR(c.channels.v[0].file, path_of(names[i]));
		CHECK_INT(c.warnings_n, 0);
		CHECK(unlink(path_of(names[i])) == 0);
	}
}

TEST(default_channels_alone_are_the_channels)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	put_file("home/.condarc", "default_channels: [https://example.org/main]\n");
	CHECK_INT(load(&a, &c, &e), 0);
	check_list(&c.channels, "https://example.org/main ");
	put_file("root/config.yml", "channels: []\n");
	CHECK_INT(load(&a, &c, &e), 0);
	CHECK_INT(c.channels.n, 0);
}

TEST(an_unreadable_file_of_ours_is_an_error)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct config c;
	put_file("root/config.yml/inside", "");
	CHECK_INT(load(&a, &c, &e), -1);
	CHECK(strstr(e.msg, "config.yml"));
}
