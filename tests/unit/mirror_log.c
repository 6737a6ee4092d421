// SPDX-License-Identifier: Apache-2.0
/* Lines that a server writes down: one an event, whatever strangers send. */
#include <fcntl.h>

#include "base/fs.h"
#include "lib/test.h"
#include "mirror/server.h"

static struct mirror *m;
static struct server_log *l;

static void open_log(void)
{
	struct err e = ERR_INIT;
	const struct mirror_init init = {.name = STR("m"), .host = STR("h")};
	CHECK_MSG(mirror_init(test_tmp(), &init, &e) == 0, "%s", e.msg);
	CHECK_MSG(mirror_open(test_tmp(), &m, &e) == 0, "%s", e.msg);
	CHECK_MSG(server_log_open(m, false, &l, &e) == 0, "%s", e.msg);
}

static void close_log(void)
{
	server_log_free(l);
	mirror_close(m);
}

static struct str lines(struct arena *a, const char *name)
{
	auto_buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	CHECK_MSG(fs_read(m->dir_fd, name, &b, &e) == 0, "%s", e.msg);
	return arena_str(a, buf_str(&b));
}

static size_t count(struct str s, char c)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

static char *many(const char *what, size_t n)
{
	size_t len = strlen(what);
	char *p = xmalloc(n * len + 1);
	for (size_t i = 0; i < n; i++)
		memcpy(p + i * len, what, len);
	p[n * len] = '\0';
	return p;
}

static struct httpd_record record_of(const char *target, const char *agent)
{
	return (struct httpd_record){.method = STR("GET"),
				     .target = str_c(target),
				     .peer = STR("192.0.2.1"),
				     .user_agent = str_c(agent),
				     .status = 404};
}

TEST(writes_a_line_for_a_request_that_is_long_and_odd)
{
	auto_arena a = ARENA_INIT;
	auto_free char *quotes = many("\"", 8000);
	struct httpd_record rec = record_of(quotes, quotes);
	open_log();
	server_log_record(l, &rec);
	rec = record_of("/next", "curl");
	server_log_record(l, &rec);
	struct str all = lines(&a, "log/access.log");
	CHECK_INT(count(all, '\n'), 2);
	CHECK_MSG(str_search(all, STR("192.0.2.1 - \"GET \\x22\\x22")) > 0, "%.*s", STR_ARG(str_head(all, 200)));
	CHECK(str_search(all, STR("404")) > 0 && str_search(all, STR("\"GET /next\" 404")) > 0);
	close_log();
}

TEST(lets_nobody_steer_a_terminal)
{
	auto_arena a = ARENA_INIT;
	/* escape, its one-byte form as Latin-1 and as UTF-8 has it, a line break, and a letter that is one */
	struct httpd_record rec = record_of("/\x1b[2J\x9b"
					    "2J\xc2\x9b"
					    "2J\n\xc3\xa4\xe2\x82\xac",
					    "x");
	open_log();
	server_log_record(l, &rec);
	struct str all = lines(&a, "log/access.log");
	CHECK_MSG(str_search(all, STR("/\\x1b[2J\\x9b2J\\xc2\\x9b2J\\x0a\xc3\xa4\xe2\x82\xac\"")) > 0, "%.*s",
		  STR_ARG(all));
	close_log();
}

TEST(says_what_is_long_as_far_as_a_line_goes)
{
	auto_arena a = ARENA_INIT;
	auto_free char *path = many("a", 100000);
	open_log();
	server_say(l, LOG_LEVEL_ERROR, "'%s' is missing", path);
	server_say(l, LOG_LEVEL_NOTE, "short");
	struct str all = lines(&a, "log/mirror.log");
	CHECK_INT(count(all, '\n'), 2);
	CHECK(str_search(all, STR("error: 'aaaaaaaa")) > 0 && str_search(all, STR("Z short\n")) > 0);
	CHECK_INT(server_log_errors(l), 1);
	close_log();
}
