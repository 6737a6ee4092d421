// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include <fcntl.h>

#include "base/fs.h"
#include "mirror/mirror.h"

static const char *new_mirror(void)
{
	struct err e = ERR_INIT;
	const struct mirror_init o = {.name = STR("your-mirror"), .host = STR("mirror.customer.com")};
	CHECK_MSG(mirror_init(test_tmp(), &o, &e) == 0, "%s", e.msg);
	return test_tmp();
}

static void put(const char *name, const char *text)
{
	auto_free char *path = xasprintf("%s/%s", test_tmp(), name);
	struct err e = ERR_INIT;
	CHECK_MSG(fs_replace(AT_FDCWD, path, text, strlen(text), 0, &e) == 0, "%s", e.msg);
}

static void refused(const char *text, const char *why)
{
	struct err e = ERR_INIT;
	struct mirror *m = NULL;
	put("mirror.yaml", text);
	CHECK_INT(mirror_open(test_tmp(), &m, &e), -1);
	CHECK_INT(e.code, ERR_INPUT);
	CHECK_MSG(strstr(e.msg, why), "'%s' is not in '%s'", why, e.msg);
}

#define HEAD "name: m\nhost: h\n"

TEST(what_init_writes_is_read_back)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror) m = NULL;
	CHECK_MSG(mirror_open(new_mirror(), &m, &e) == 0, "%s", e.msg);
	const struct mirror_config *c = mirror_config(m);
	CHECK(str_eq(c->name, STR("your-mirror")));
	CHECK(str_eq(c->host, STR("mirror.customer.com")));
	CHECK_INT(c->download, MIRROR_RELEASED);
	CHECK(c->bulk_mbit_per_s == 10 && c->bulk_backoff == 1.5);
	CHECK_INT(c->refresh_ms, 15 * 60000);
	CHECK_INT(c->grace_ms, 7 * 86400000);
	CHECK_INT(c->reserve_bytes, 1 << 30);
	CHECK(str_eq(c->server.listen, STR("0.0.0.0:10082")));
	CHECK(str_eq(c->mail.sendmail, STR("/usr/sbin/sendmail")));
	CHECK_INT(c->channels_n, 0);
	CHECK(!mirror_is_plain(m));
	const struct mirror_init again = {.name = STR("x"), .host = STR("y")};
	CHECK_INT(mirror_init(test_tmp(), &again, &e), -1);
	CHECK_INT(e.code, ERR_EXISTS);
}

/* Each option that stands there as a comment may be said as it stands. */
TEST(comments_of_init_are_true)
{
	struct err e = ERR_INIT;
	auto_buf was = BUF_INIT(1 << 20), now = BUF_INIT(1 << 20);
	auto_ptr(mirror) m = NULL;
	new_mirror();
	auto_free char *path = xasprintf("%s/mirror.yaml", test_tmp());
	CHECK(fs_read(AT_FDCWD, path, &was, &e) == 0);
	struct str rest = buf_str(&was), line;
	int said = 0;
	while (str_take_line(&rest, &line)) {
		struct str key = str_trim(line);
		if (str_eq(line, STR("upstreams:")))
			break;
		bool option = str_take_char(&key, '#') && key.n && key.p[0] != ' ' && str_find(key, ' ') > 0;
		said += option;
		if (option && line.p[0] == ' ')
			buf_put_c(&now, "    ");
		buf_printf(&now, "%.*s\n", STR_ARG(option ? key : line));
	}
	CHECK(said > 15);
	put("mirror.yaml", now.p);
	CHECK_MSG(mirror_open(test_tmp(), &m, &e) == 0, "%s", e.msg);
	CHECK(mirror_config(m)->bulk_backoff == 1.5);
	CHECK_INT(mirror_config(m)->server.connections, 20000);
}

TEST(mistakes_are_told_with_their_line)
{
	CHECK(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST);
	refused(HEAD "bulkBackofFactor: 2\n",
		"mirror.yaml:3: unknown key 'bulkBackofFactor'; did you mean 'bulkBackoffFactor'?");
	refused(HEAD "chanels:\n", "did you mean 'channels'?");
	refused(HEAD "zzzzzzzzzzzzzz: 1\n", "known are name, host, download");
	refused(HEAD "download: SOON\n",
		"mirror.yaml:3: 'download' must be one of RELEASED HISTORIC ON_DEMAND, not 'SOON'");
	refused(HEAD "bulkDownloadSpeedInMbitPerSecond: fast\n", "must be a number from 0 to 1e+06, not 'fast'");
	refused(HEAD "bulkDownloadSpeedInMbitPerSecond: -1\n", "must be a number");
	refused(HEAD "bulkBackoffFactor: 0x10\n", "must be a number");
	refused(HEAD "bulkBackoffFactor: \"2\\0\"\n", "must be a number");
	refused(HEAD "refresh: 15\n", "must be a time like 90 s");
	refused(HEAD "server:\n  threads: 2000\n", "mirror.yaml:4: 'threads' must be a whole number from 0 to 1024");
	refused("name: m\n", "'host' must be said");
	refused(HEAD "upstreams:\n  - id: a\n", "must have a 'url'");
	refused(HEAD "upstreams:\n  - ftp://x/\n", "'url' must be an https");
	refused(HEAD "upstreams:\n  - {id: a, url: https://x}\n  - {id: a, url: https://y}\n",
		"two upstreams have the id 'a'");
	refused(HEAD "channels:\n  x:\n    kind: conda\n    type: proxy\n", "must have 'upstreams'");
	refused(HEAD "channels:\n  x:\n    kind: cargo\n", "mirror.yaml:5: 'kind' must be conda, deb");
	refused(HEAD "channels:\n  ../x:\n    kind: conda\n", "cannot be a channel's name");
	refused(HEAD "channels:\n  x:\n    kind: conda\n    private: maybe\n", "'private' must be yes or no");
}

#define CHANNEL(kind, url, more) HEAD "channels:\n  x: {kind: " kind ", suites: s, upstreams: [" url "]" more "}\n"

static void taken(const char *text)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror) m = NULL;
	put("mirror.yaml", text);
	CHECK_MSG(mirror_open(test_tmp(), &m, &e) == 0, "%s", e.msg);
}

TEST(plain_http_is_taken_only_where_what_comes_is_verified)
{
	CHECK(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST);
	refused(CHANNEL("conda", "'http://h.example/c'", ""),
		"from 'http://h.example/c', over plain HTTP; use https://, or set 'tufRoot'");
	refused(CHANNEL("conda", "'http://h.example/c'", ", keyring: k"), "plain HTTP"); /* nothing that it verifies */
	refused(CHANNEL("deb", "'http://h.example/c'", ""), "use https://, or set 'keyring'");
	refused(CHANNEL("rpm", "'http://h.example/c'", ", type: proxy, keyring: k"), "type: mirror");
	refused(CHANNEL("conda", "'http://h.example/c'", ", type: proxy, tufRoot: r"), "plain HTTP");
	refused(CHANNEL("conda", "'https://h.example/c', 'http://h.example/c'", ""), "plain HTTP");
	refused(CHANNEL("conda", "'http://127.0.0.1.example.org/c'", ""), "plain HTTP");
	refused(CHANNEL("conda", "'http://localhost.example.org'", ""), "plain HTTP");
	refused(CHANNEL("conda", "'http://localhost@h.example'", ""), "plain HTTP");
	refused(CHANNEL("conda", "'http://h.example/@127.0.0.1/'", ""), "plain HTTP");
	refused(CHANNEL("conda", "'http://[::1].example.org/'", ""), "plain HTTP");
	refused(CHANNEL("conda", "'http://u:secret@h.example/c'", ""), "from 'http://");
	refused(HEAD "upstreams: [http://h.example]\nchannels:\n  x: {kind: conda, type: proxy}\n", "plain HTTP");
	taken(CHANNEL("deb", "'http://h.example/c'", ", keyring: k"));
	taken(CHANNEL("deb", "'http://h.example/c'", ", type: proxy, keyring: k"));
	taken(CHANNEL("rpm", "'http://h.example/c'", ", keyring: k"));
	taken(CHANNEL("conda", "'http://h.example/c'", ", tufRoot: r"));
	taken(CHANNEL("conda",
		      "'http://127.0.0.1:8/c', 'http://localhost/c', 'http://[::1]:8/c', 'http://u:p@127.0.0.2/c'",
		      ""));
	taken(HEAD "upstreams: [http://h.example]\nchannels:\n  x: {kind: conda}\n");
}

TEST(upstreams_best_first_and_below_them_channels)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror) m = NULL;
	CHECK(mkdir(test_tmp(), 0700) == 0 || errno == EEXIST);
	put("mirror.yaml", HEAD "upstreams:\n"
				"  - {id: dk2, url: https://dk2.example/, priority: 10, ca: pki/up.pem}\n"
				"  - {id: x, url: https://any.example, priority: 100}\n"
				"channels:\n"
				"  tools: {kind: conda, type: mirror, path: get/tools, download: historic}\n"
				"  forge: {kind: conda, upstreams: [https://a.example/forge/, https://b.example/f]}\n"
				"  own: {kind: conda}\n");
	CHECK_MSG(mirror_open(test_tmp(), &m, &e) == 0, "%s", e.msg);
	const struct mirror_channel *c = mirror_channel(m, STR("tools"));
	CHECK(c && c->upstreams_n == 2);
	CHECK(str_eq(c->upstreams[0].url, STR("https://any.example/get/tools")));
	CHECK(str_eq(c->upstreams[1].url, STR("https://dk2.example/get/tools")));
	CHECK(str_starts(c->upstreams[1].ca, STR("/")) && str_ends(c->upstreams[1].ca, STR("/pki/up.pem")));
	CHECK_INT(c->download, MIRROR_HISTORIC);
	CHECK_INT(c->type, MIRROR_FOLLOW);
	c = mirror_channel(m, STR("forge"));
	CHECK(c && c->type == MIRROR_FOLLOW && c->upstreams_n == 2);
	CHECK(str_eq(c->upstreams[0].url, STR("https://a.example/forge")));
	CHECK(!str_eq(c->upstreams[0].id, mirror_channel(m, STR("tools"))->upstreams[0].id));
	CHECK_INT(c->download, MIRROR_RELEASED);
	CHECK_INT(mirror_channel(m, STR("own"))->type, MIRROR_LOCAL);
	CHECK(!mirror_channel(m, STR("other")));
}

TEST(channels_that_are_made_explain_themselves)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror) m = NULL;
	const struct str from[] = {STR("https://a.example/x"), STR("https://b.example/x")},
			 platforms[] = {STR("linux-64")};
	struct mirror_create o = {.type = MIRROR_FOLLOW,
				  .kind = channel_kind(STR("conda")),
				  .from = {from, 2},
				  .platforms = {platforms, 1},
				  .download = STR("HISTORIC")};
	CHECK_MSG(mirror_create(new_mirror(), STR("x"), &o, &e) == 0, "%s", e.msg);
	CHECK_INT(mirror_create(test_tmp(), STR("x"), &o, &e), -1);
	CHECK_INT(e.code, ERR_EXISTS);
	CHECK_MSG(mirror_open(test_tmp(), &m, &e) == 0, "%s", e.msg);
	const struct mirror_channel *c = mirror_channel(m, STR("x"));
	CHECK(c && c->upstreams_n == 2 && c->platforms.n == 1);
	CHECK(str_eq(c->upstreams[0].url, from[0]));
	CHECK_INT(c->download, MIRROR_HISTORIC);
	auto_fd tree = mirror_tree(m, c, &e);
	CHECK(tree >= 0 && fs_exists(tree, ".slipway"));
	/* what would be refused later is refused now, and leaves no file */
	o.download = STR("NEVER");
	CHECK_INT(mirror_create(test_tmp(), STR("y"), &o, &e), -1);
	auto_free char *y = xasprintf("%s/channels/y.yaml", test_tmp());
	CHECK(!fs_exists(AT_FDCWD, y));
}

TEST(a_plain_folder_is_a_mirror_of_one)
{
	struct err e = ERR_INIT;
	auto_ptr(mirror) m = NULL;
	const struct str from[] = {STR("/srv/x")};
	struct mirror_create o = {.type = MIRROR_FOLLOW, .kind = channel_kind(STR("conda")), .from = {from, 1}};
	CHECK_INT(mirror_open("/proc", &m, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
	CHECK_MSG(mirror_create(test_tmp(), STR(""), &o, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_open(test_tmp(), &m, &e) == 0, "%s", e.msg);
	CHECK(mirror_is_plain(m));
	const struct mirror_channel *c = mirror_channel(m, STR(""));
	CHECK(c && c->upstreams_n == 1 && c->download == MIRROR_HISTORIC);
	CHECK(mirror_config(m)->bulk_mbit_per_s == 0);
}
