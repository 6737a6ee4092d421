// SPDX-License-Identifier: Apache-2.0
/* What clients may do to an agent, and what it says to them. */
#include "lib/agent.h"

#include <sys/un.h>

#include "base/wire.h"

static int raw(struct site *s)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(u.sun_path, sizeof(u.sun_path), "/proc/self/fd/%d/agent.sock", s->w.root_fd);
	CHECK_MSG(fd >= 0 && connect(fd, (struct sockaddr *)&u, sizeof(u)) == 0, "%s", strerror(errno));
	return fd;
}

/* What it answers to a message: its error, or "" for none. */
static const char *told(struct site *s, const char *json)
{
	auto_ptr(wire) w = wire_new(raw(s));
	struct wire_message m;
	struct str text = STR("");
	struct err e = ERR_INIT;
	CHECK_MSG(wire_call(w, str_c(json), STR_NONE, 10000, &s->w.arena, &m, &e) == 0, "%s", e.msg);
	CHECK(json_opt_str(m.json, "error", &text, &e) >= 0);
	return arena_strdup(&s->w.arena, text);
}

static bool answers(struct site *s)
{
	return site_agent_status(s).pid == s->shared->agent;
}

static bool is_closed(int fd)
{
	char c[256];
	struct timeval tv = {.tv_sec = 5};
	ssize_t n;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	while ((n = recv(fd, c, sizeof(c), 0)) > 0)
		;
	return n == 0 || errno == ECONNRESET;
}

TEST(a_second_agent_names_the_first)
{
	auto_site s = {0};
	struct err e = ERR_INIT;
	struct agent_opts o = {.root_fd = -1, .version = "x"};
	site_open(&s);
	o.root_fd = s.w.root_fd;
	o.root_path = s.w.root;
	CHECK_INT(agent_run(&o, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	CHECK_MSG(strstr(e.msg, arena_printf(&s.w.arena, "process %d", (int)s.shared->agent)), "%s", e.msg);
	CHECK(answers(&s));
}

TEST(nobody_there)
{
	auto_envs w = {0};
	struct agent_client *c;
	envs_open(&w);
	CHECK_INT(agent_connect(w.root_fd, w.root, &c, &w.err), -1);
	CHECK_INT(w.err.code, ERR_NOT_FOUND);
	CHECK_MSG(strstr(w.err.msg, "'slipway agent' is it"), "%s", w.err.msg);
}

TEST(words_that_are_none)
{
	auto_site s = {0};
	static const struct {
		const char *ask, *says;
	} bad[] = {
		{"{}", "'ask' is missing"},
		{"{\"ask\": 1}", "'ask' is not a string"},
		{"{\"ask\": \"dance\"}", "does not know what 'dance' is"},
		{"{\"ask\": \"start\"}", "'env' is missing"},
		{"{\"ask\": \"start\", \"env\": \"../../etc\", \"service\": \"x\", \"generation\": 1}", "../../etc"},
		{"{\"ask\": \"start\", \"env\": \"e\", \"service\": \"web\", \"generation\": 0}", "is no generation"},
		{"{\"ask\": \"start\", \"env\": \"e\", \"service\": \"web\", \"generation\": 99999999999}",
		 "is no generation"},
		{"{\"ask\": \"start\", \"env\": \"e\", \"service\": \"web\", \"generation\": 77}",
		 "generation 77 of 'e' has no service 'web'"},
		{"{\"ask\": \"start\", \"env\": \"e\", \"service\": \"../web\", \"generation\": 1}",
		 "has no service '../web'"},
		{"{\"ask\": \"check\", \"env\": \"e\", \"service\": \"none\"}", "'none' does not run"},
		{"[]", "is not an object"},
		{"{", "message"},
	};
	site_open(&s);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *text = told(&s, bad[i].ask);
		CHECK_MSG(strstr(text, bad[i].says), "%s: '%s'", bad[i].ask, text);
	}
	CHECK_STR(told(&s, "{\"ask\": \"working\", \"env\": \"nothing-there\"}"), "");
	CHECK(answers(&s));
}

TEST(bytes_that_are_none)
{
	auto_site s = {0};
	site_open(&s);
	static const char *const bad[] = {"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff\xff\xff\xff\xff\xff"};
	for (size_t i = 0; i < 2; i++) {
		auto_fd fd = raw(&s);
		CHECK(send(fd, bad[i], strlen(bad[i]), MSG_NOSIGNAL) > 0);
		CHECK(is_closed(fd));
	}
	/* asks on without having heard */
	auto_fd fd = raw(&s);
	auto_buf b = BUF_INIT(1 << 20);
	for (int i = 0; i < 1000; i++)
		buf_put(&b, "\0\0\0\020\0\0\0\0{\"ask\":\"status\"}", 24);
	(void)!send(fd, b.p, b.n, MSG_NOSIGNAL);
	CHECK(answers(&s));
	auto_fd half = raw(&s); /* a message without its end is not waited for for ever */
	CHECK(send(half, "\0\0\0\020\0\0\0\0{\"ask\"", 14, MSG_NOSIGNAL) == 14);
	CHECK(answers(&s));
	struct timeval tv = {.tv_sec = 20};
	char c;
	setsockopt(half, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	CHECK_INT(recv(half, &c, 1, 0), 0);
}

TEST(a_thousand_connections)
{
	auto_site s = {0};
	int fds[1000];
	size_t open_n = 0;
	site_open(&s);
	for (size_t i = 0; i < 1000; i++)
		fds[i] = raw(&s);
	CHECK(answers(&s));
	auto_free char *dir = xasprintf("/proc/%d/fd", (int)s.shared->agent);
	auto_fs_list list = {0};
	CHECK(fs_list(AT_FDCWD, dir, 100000, &list, &s.w.err) == 0);
	CHECK_MSG(list.n < 100, "%zu descriptors", list.n);
	for (size_t i = 0; i < 1000; i++) {
		char c;
		open_n += recv(fds[i], &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
		close(fds[i]);
	}
	CHECK_MSG(open_n <= AGENT_CONNECTIONS_MAX && open_n > 10, "%zu are open", open_n);
	CHECK(answers(&s));
}

TEST(only_its_owner_may_look)
{
	auto_site s = {0};
	struct stat st;
	site_open(&s);
	CHECK(fstatat(s.w.root_fd, "agent.sock", &st, AT_SYMLINK_NOFOLLOW) == 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	if (geteuid() != 0)
		SKIP("needs root to be somebody else");
	CHECK(fchmodat(s.w.root_fd, "agent.sock", 0666, 0) == 0);
	CHECK(chmod(s.w.root, 0755) == 0 && chmod(test_tmp(), 0755) == 0);
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		if (setresuid(65534, 65534, 65534) < 0)
			_exit(2);
		struct sockaddr_un u = {.sun_family = AF_UNIX};
		snprintf(u.sun_path, sizeof(u.sun_path), "%.90s/agent.sock", s.w.root);
		int c = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(c, (struct sockaddr *)&u, sizeof(u)) < 0)
			_exit(3);
		_exit(is_closed(c) ? 0 : 4);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_INT(WEXITSTATUS(status), 0);
}

TEST(who_comes_back_is_found_by_its_clients)
{
	auto_site s = {0};
	struct agent_status st;
	site_open(&s);
	auto_ptr(agent_client) c = site_connect(&s);
	CHECK(agent_working(c, STR("e"), &s.w.err) == 0);
	int starts = s.shared->starts;
	kill(s.shared->agent, SIGKILL);
	CHECK_MSG(agent_status(c, &s.w.arena, &st, &s.w.err) == 0, "%s", s.w.err.msg);
	CHECK(s.shared->starts > starts);
	CHECK_INT(st.pid, s.shared->agent);
}
