// SPDX-License-Identifier: Apache-2.0
/*
 * Health checks: one probe, once. Of an answer only the status line is read; of a command the end of its output is kept for the message.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "service/internal.h"

enum { STATUS_LINE_MAX = 1024, OUTPUT_MAX = 4096, HOST_MAX = 200 };

struct probe_run {
	struct loop *loop;
	enum service_probe_kind kind;
	char *what; /* for messages */
	char *host, *path;
	int64_t timeout_ms;
	int fd; /* the connection, or the command's output */
	pid_t pid;
	bool sent;
	struct buf got;
	struct loop_watch *watch, *gate, *end, *timer;
	int gate_fd;
	struct err failure; /* of the start, told in the next turn */
	service_done_fn *done;
	void *ctx;
};

static void probe_free(struct probe_run *p)
{
	loop_remove(p->watch);
	loop_remove(p->gate);
	loop_remove(p->timer);
	loop_remove(p->end);
	cleanup_fd(&p->fd);
	cleanup_fd(&p->gate_fd);
	if (p->pid > 0) {
		kill(-p->pid, SIGKILL);
		kill(p->pid, SIGKILL);
		while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	buf_release(&p->got);
	free(p->what);
	free(p->host);
	free(p->path);
	free(p);
}

void service_probe_cancel(struct probe_run *p)
{
	if (p)
		probe_free(p);
}

static void finish(struct probe_run *p, struct err *failure)
{
	service_done_fn *done = p->done;
	void *ctx = p->ctx;
	if (failure)
		err_ctx(failure, "health check %s", p->what);
	probe_free(p);
	done(ctx, failure);
}

static void on_timeout(void *ctx, enum loop_events events)
{
	struct probe_run *p = ctx;
	struct err e = ERR_INIT;
	(void)events;
	p->timer = NULL;
	err_new(&e, ERR_FAILED, "no answer within %lld ms", (long long)p->timeout_ms);
	finish(p, &e);
}

static void on_late_failure(void *ctx, enum loop_events events)
{
	struct probe_run *p = ctx;
	struct err e = p->failure;
	(void)events;
	p->timer = NULL;
	finish(p, &e);
}

/* == TCP and HTTP ================================================================================================= */
/* Where the connection is made, or was refused. */
static int connected(struct probe_run *p, struct err *e)
{
	int error = 0;
	socklen_t n = sizeof(error);
	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
		return err_sys(e, "connect");
	return error ? err_errno(e, error, "connect") : 0;
}

static int send_request(struct probe_run *p, struct err *e)
{
	auto_buf b = BUF_INIT(1 << 16);
	buf_printf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: slipway\r\nConnection: close\r\n\r\n", p->path,
		   p->host);
	/* into an empty socket buffer, which is larger than any request of ours */
	ssize_t n = send(p->fd, b.p, b.n, MSG_NOSIGNAL);
	if (n < 0)
		return err_sys(e, "send the request");
	return (size_t)n == b.n ? 0 : err_new(e, ERR_FAILED, "the request could not be sent at once");
}

/* 1 the answer is good, 0 more to come, -1. "HTTP/1.1 200 OK" */
static int read_answer(struct probe_run *p, struct err *e)
{
	char chunk[STATUS_LINE_MAX];
	ssize_t n = recv(p->fd, chunk, sizeof(chunk), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return err_sys(e, "read the answer");
	buf_put(&p->got, chunk, (size_t)n);
	struct str s = buf_str(&p->got), line = s, version, code = STR("");
	bool whole = str_take_until(&s, '\n', &line);
	if (!whole && n > 0 && !p->got.overflow)
		return 0;
	line = str_trim(line);
	if (!whole || !str_starts(line, STR("HTTP/1.")) || !str_take_until(&line, ' ', &version) || line.n < 3)
		return err_new(e, ERR_INPUT,
			       n == 0 && p->got.n == 0 ? "closed without an answer" : "the answer is not HTTP");
	code = str_head(line, 3);
	if (code.p[0] == '2' && (line.n == 3 || line.p[3] == ' '))
		return 1;
	auto_buf shown = BUF_INIT(128);
	for (size_t i = 0; i < line.n && i < 80; i++)
		buf_put_char(&shown, line.p[i] >= ' ' && line.p[i] <= '~' ? line.p[i] : '?');
	return err_new(e, ERR_FAILED, "answered %s", shown.p);
}

static void on_connection(void *ctx, enum loop_events events)
{
	struct probe_run *p = ctx;
	struct err e = ERR_INIT;
	(void)events;
	int r;
	if (p->sent) {
		r = read_answer(p, &e);
	} else {
		r = connected(p, &e);
		if (r == 0 && p->kind == SERVICE_PROBE_TCP)
			r = 1;
		else if (r == 0 && (r = send_request(p, &e)) == 0) {
			p->sent = true;
			loop_fd_events(p->watch, LOOP_IN);
		}
	}
	if (r != 0)
		finish(p, r < 0 ? &e : NULL);
}

/* The address that the probe means: a socket of the service by its name, or one of its own. */
static int find_address(const struct service_probe *probe, const struct service_ref *r, const char *private_path,
			struct address *ret, struct err *e)
{
	const struct service_socket *s = decl_socket(r->decl, probe->address);
	if (!s)
		return address_parse(probe->address, r->runtime_dir, ret, e);
	if (!s->is_private)
		return address_parse(s->address, r->runtime_dir, ret, e);
	if (!private_path)
		return err_new(e, ERR_FAILED, "no process has this private socket");
	return address_parse(str_c(private_path), NULL, ret, e);
}

static int start_connection(struct probe_run *p, const struct service_probe *probe, const struct service_ref *r,
			    const char *private_path, struct err *e)
{
	struct address a;
	bool pending;
	if (find_address(probe, r, private_path, &a, e) < 0)
		return -1;
	p->fd = socket_connect(&a, &pending, e);
	if (p->fd < 0)
		return -1;
	p->host = a.u.any.sa_family == AF_UNIX ? xstrdup("localhost") : str_dup(str_head(probe->address, HOST_MAX));
	p->path = probe->path.n ? str_dup(probe->path) : xstrdup("/");
	p->watch = loop_fd(p->loop, p->fd, LOOP_OUT, on_connection, p);
	return 0;
}

/* == commands ===================================================================================================== */
static void on_output(void *ctx, enum loop_events events)
{
	struct probe_run *p = ctx;
	char chunk[OUTPUT_MAX];
	(void)events;
	ssize_t n = read(p->fd, chunk, sizeof(chunk));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_remove(p->watch);
		p->watch = NULL;
		return;
	}
	/* the end of it is what tells most */
	if (p->got.n + (size_t)n > OUTPUT_MAX)
		buf_clear(&p->got);
	buf_put(&p->got, chunk, (size_t)n);
}

static void on_gate(void *ctx, enum loop_events events)
{
	struct probe_run *p = ctx;
	struct err e = ERR_INIT;
	(void)events;
	int r = spawn_result(p->gate_fd, p->path, &e);
	if (r == 0)
		return;
	loop_remove(p->gate);
	p->gate = NULL;
	if (r < 0)
		finish(p, &e);
}

static void on_command_end(void *ctx, pid_t pid, int status)
{
	struct probe_run *p = ctx;
	struct err e = ERR_INIT;
	(void)pid;
	p->end = NULL;
	p->pid = -1;
	if (p->gate && spawn_result(p->gate_fd, p->path, &e) < 0) {
		finish(p, &e);
		return;
	}
	if (p->watch)
		on_output(p, LOOP_IN);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		finish(p, NULL);
		return;
	}
	auto_buf b = BUF_INIT(1024);
	status_put(&b, status);
	struct str text = str_trim(buf_str(&p->got)), line = STR("");
	while (str_take_line(&text, &line))
		;
	line = str_head(line, 200);
	for (size_t i = 0; i < line.n; i++)
		buf_printf(&b, "%s%c", i ? "" : ": ", line.p[i] >= ' ' && line.p[i] <= '~' ? line.p[i] : '?');
	err_new(&e, ERR_FAILED, "%s", b.p);
	finish(p, &e);
}

static int start_command(struct probe_run *p, const struct service_probe *probe, const struct service_ref *r,
			 struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct program program;
	struct spawned child;
	int pipe_fds[2];
	if (program_make(&a, r, probe->argv, probe->argv_n, NULL, false, &program, e) < 0)
		return -1;
	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(e, "make a pipe");
	p->fd = pipe_fds[0];
	auto_fd out = pipe_fds[1];
	struct spawn s = {
		.argv = program.argv, .envp = program.envp, .cwd = program.cwd, .out = out, .who = &program.who};
	if (fcntl(p->fd, F_SETFL, O_NONBLOCK) < 0)
		return err_sys(e, "make a pipe");
	if (spawn_hold(&s, &child, e) < 0)
		return -1;
	cleanup_fd(&child.pidfd);
	p->pid = child.pid;
	p->gate_fd = child.gate;
	p->path = xstrdup(program.argv[0]);
	if (loop_child(p->loop, child.pid, on_command_end, p, &p->end, e) < 0)
		return -1;
	p->watch = loop_fd(p->loop, p->fd, LOOP_IN, on_output, p);
	p->gate = loop_fd(p->loop, p->gate_fd, LOOP_IN, on_gate, p);
	spawn_go(&child);
	return 0;
}

/* == all ========================================================================================================== */
static char *describe(const struct service_probe *p)
{
	switch (p->kind) {
	case SERVICE_PROBE_COMMAND:
		return xasprintf("command '%.*s'", STR_ARG(p->argv[0]));
	case SERVICE_PROBE_TCP:
		return xasprintf("tcp '%.*s'", STR_ARG(p->address));
	case SERVICE_PROBE_HTTP:
	default:
		return xasprintf("http '%.*s' '%.*s'", STR_ARG(p->address), STR_ARG(p->path));
	}
}

struct probe_run *service_probe(struct loop *l, const struct service_probe *probe, const struct service_ref *r,
				const char *private_path, int64_t timeout_ms, service_done_fn *done, void *ctx)
{
	struct probe_run *p = xcalloc(1, sizeof(*p));
	*p = (struct probe_run){.loop = l,
				.kind = probe->kind,
				.what = describe(probe),
				.timeout_ms = timeout_ms,
				.fd = -1,
				.pid = -1,
				.got = BUF_INIT(probe->kind == SERVICE_PROBE_COMMAND ? OUTPUT_MAX : STATUS_LINE_MAX),
				.gate_fd = -1,
				.done = done,
				.ctx = ctx};
	int started = probe->kind == SERVICE_PROBE_COMMAND ? start_command(p, probe, r, &p->failure)
							   : start_connection(p, probe, r, private_path, &p->failure);
	if (started < 0)
		p->timer = loop_timer(l, loop_now_ms(l), on_late_failure, p);
	else
		p->timer = loop_timer(l, loop_now_ms(l) + timeout_ms, on_timeout, p);
	return p;
}
