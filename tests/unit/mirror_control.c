// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/test.h"
#include "mirror/control.h"

static struct {
	atomic_int stopped, retired, reloaded;
	int fd;
	bool broken, talkative;
} server;

static int status(void *ctx, struct buf *b, struct err *e)
{
	(void)ctx, (void)e;
	for (int i = 0; server.talkative && i < 10000; i++)
		buf_put_c(b, "0123456789");
	buf_put_c(b, "{\"name\":\"your-mirror\"}");
	return 0;
}
static int reload(void *ctx, struct err *e)
{
	(void)ctx;
	atomic_fetch_add(&server.reloaded, 1);
	return server.broken ? err_new(e, ERR_INPUT, "mirror.yaml:3: unknown key 'hsot'") : 0;
}
static void stop(void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&server.stopped, 1);
}
static void retire(void *ctx)
{
	(void)ctx;
	atomic_fetch_add(&server.retired, 1);
}
static int sockets(void *ctx, struct control_sockets *ret, struct err *e)
{
	(void)ctx, (void)e;
	ret->fd[0] = fcntl(server.fd, F_DUPFD_CLOEXEC, 0);
	ret->fd[1] = fcntl(server.fd, F_DUPFD_CLOEXEC, 0);
	snprintf(ret->name[0], CONTROL_NAME_MAX, "service");
	snprintf(ret->name[1], CONTROL_NAME_MAX, "admin");
	ret->n = 2;
	return 0;
}
static int succeed(void *ctx, const char *program, struct err *e)
{
	(void)ctx;
	return strcmp(program, "/bin/next") == 0 ? 0 : err_new(e, ERR_INPUT, "no such program");
}

static const struct control_handlers handlers =
	{.status = status, .reload = reload, .stop = stop, .sockets = sockets, .succeed = succeed, .retire = retire};

static int open_dir(void)
{
	static int n;
	char path[256];
	snprintf(path, sizeof(path), "%s/%d", test_tmp(), n++);
	CHECK_INT(mkdir(path, 0700), 0);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

TEST(no_server)
{
	auto_buf b = BUF_INIT(1000);
	struct err e = ERR_INIT;
	auto_fd dir = open_dir();
	CHECK_INT(control_ask(dir, "status", 1000, &b, NULL, &e), -1);
	CHECK_INT(e.code, ERR_NOT_FOUND);
}

/* As after SIGKILL: the kernel takes connections until it comes to that socket. */
TEST(a_server_that_just_died_is_none)
{
	auto_buf b = BUF_INIT(1000);
	struct err e = ERR_INIT;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	auto_fd dir = open_dir();
	int listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/control", dir);
	CHECK_INT(bind(listening, (struct sockaddr *)&at, sizeof(at)), 0);
	CHECK_INT(listen(listening, 4), 0);
	pid_t pid = fork();
	if (pid == 0) {
		usleep(100000);
		_exit(0);
	}
	close(listening);
	CHECK_INT(control_ask(dir, "status", 5000, &b, NULL, &e), -1);
	CHECK_MSG(e.code == ERR_NOT_FOUND, "%s", e.msg);
	CHECK_INT(waitpid(pid, NULL, 0), pid);
}

TEST(questions_and_answers)
{
	auto_buf b = BUF_INIT(1000);
	struct err e = ERR_INIT;
	struct stat st;
	auto_fd dir = open_dir();
	auto_ptr(control) c = NULL;
	CHECK_INT(control_listen(dir, &handlers, NULL, &c, &e), 0);
	CHECK_INT(fstatat(dir, "control", &st, 0), 0);
	CHECK_INT(st.st_mode & 0777, 0600);
	CHECK_INT(control_ask(dir, "status", 5000, &b, NULL, &e), 0);
	CHECK_STR(b.p, "{\"name\":\"your-mirror\"}");
	buf_clear(&b);
	CHECK_INT(control_ask(dir, "reload", 5000, &b, NULL, &e), 0);
	CHECK_INT(server.reloaded, 1);
	server.broken = true;
	buf_clear(&b);
	CHECK_INT(control_ask(dir, "reload", 5000, &b, NULL, &e), -1);
	CHECK_STR(e.msg, "mirror.yaml:3: unknown key 'hsot'");
	CHECK_INT(control_ask(dir, "dance", 5000, &b, NULL, &e), -1);
	CHECK_STR(e.msg, "unknown request");
	server.talkative = true;
	buf_clear(&b);
	CHECK_INT(control_ask(dir, "status", 5000, &b, NULL, &e), -1);
	CHECK_MSG(strstr(e.msg, "has more than"), "%s", e.msg);
}

TEST(the_end_of_the_server_is_the_end_of_the_connection)
{
	auto_buf b = BUF_INIT(1000);
	struct err e = ERR_INIT;
	auto_fd dir = open_dir();
	auto_fd conn = -1;
	struct control *c = NULL;
	CHECK_INT(control_listen(dir, &handlers, NULL, &c, &e), 0);
	CHECK_INT(control_ask(dir, "stop", 5000, &b, &conn, &e), 0);
	while (!server.stopped)
		usleep(1000);
	CHECK_INT(control_wait_end(conn, 50, &e), -1);
	CHECK_INT(e.code, ERR_BUSY);
	control_close(c);
	CHECK_INT(control_wait_end(conn, 5000, &e), 0);
}

TEST(another_process_takes_the_sockets)
{
	auto_buf b = BUF_INIT(1000);
	struct err e = ERR_INIT;
	struct control_sockets got;
	struct stat mine, theirs;
	auto_fd dir = open_dir();
	auto_fd conn = -1;
	struct control *old = NULL, *new = NULL;
	server.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_INT(control_listen(dir, &handlers, NULL, &old, &e), 0);
	CHECK_INT(control_take(dir, &got, &conn, &e), 0);
	CHECK_INT(got.n, 2);
	CHECK_STR(got.name[0], "service");
	CHECK_STR(got.name[1], "admin");
	CHECK_INT(fstat(server.fd, &mine), 0);
	CHECK_INT(fstat(got.fd[1], &theirs), 0);
	CHECK_INT(mine.st_ino, theirs.st_ino);
	CHECK(fcntl(got.fd[0], F_GETFD) & FD_CLOEXEC);
	CHECK_INT(control_listen(dir, &handlers, NULL, &new, &e), 0);
	CHECK_INT(control_say(conn, "ready", 5000, &b, &e), 0);
	while (!server.retired)
		usleep(1000);
	control_close(old);
	CHECK_INT(control_wait_end(conn, 5000, &e), 0);
	buf_clear(&b);
	CHECK_INT(control_ask(dir, "status", 5000, &b, NULL, &e), 0);
	control_sockets_release(&got);
	control_close(new);
	close(server.fd);
}

/* Nobody can hold it up: silent ones, ones that ask for nothing, ones that ask too much. */
TEST(hostile_questions)
{
	auto_buf b = BUF_INIT(1000);
	struct err e = ERR_INIT;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	auto_fd dir = open_dir();
	auto_ptr(control) c = NULL;
	int silent[40];
	CHECK_INT(control_listen(dir, &handlers, NULL, &c, &e), 0);
	snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/control", dir);
	for (int i = 0; i < 15; i++) {
		silent[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		CHECK_INT(connect(silent[i], (struct sockaddr *)&at, sizeof(at)), 0);
	}
	auto_fd long_one = silent[14];
	static char much[100000];
	CHECK_INT(send(long_one, much, sizeof(much), MSG_NOSIGNAL), (int)sizeof(much));
	CHECK_INT(control_ask(dir, "status", 5000, &b, NULL, &e), 0);
	for (int i = 0; i < 14; i++)
		close(silent[i]);
}
