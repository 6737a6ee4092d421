// SPDX-License-Identifier: Apache-2.0
/* One agent a ROOT: its beginning and its end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fs.h"
#include "agent/internal.h"

enum { LOCK_WAIT_MS = 2000, LINE_MAX_BYTES = 4096 }; /* processes of one that was killed let go of the lock at once */

void agent_say(const struct agent_opts *o, const char *fmt, ...)
{
	auto_buf b = BUF_INIT(LINE_MAX_BYTES);
	va_list ap;
	if (!o->say)
		return;
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	o->say(o->ctx, b.p);
}

void agent_end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* sd_notify(3): one datagram; who does not listen misses nothing. */
static void notify(const struct agent_opts *o, const char *text)
{
	struct sockaddr_un u = {.sun_family = AF_UNIX};
	size_t n = o->notify ? strlen(o->notify) : 0;
	if (!n || n >= sizeof(u.sun_path) || (o->notify[0] != '/' && o->notify[0] != '@'))
		return;
	auto_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	memcpy(u.sun_path, o->notify, n);
	if (u.sun_path[0] == '@')
		u.sun_path[0] = '\0';
	if (fd >= 0)
		(void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&u,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

static void on_signal(void *ctx, int signo)
{
	struct agent *g = ctx;
	if (signo == SIGHUP) /* a terminal went away; that is no reason */
		return;
	agent_say(g->o, "ends (%s); services run on", signo == SIGTERM ? "SIGTERM" : "SIGINT");
	loop_stop(g->loop);
}

static void on_service(void *ctx, const struct service_status *s)
{
	const struct agent *g = ctx;
	agent_say(g->o, "%.*s/%.*s: %s%s%.*s", STR_ARG(s->env), STR_ARG(s->name), service_state_name(s->state),
		  s->why.n ? ": " : "", STR_ARG(s->why));
}

static int lock(struct agent *g, struct err *e)
{
	g->lock_fd = fs_lock(g->o->root_fd, AGENT_LOCK, LOCK_WAIT_MS, e);
	return g->lock_fd >= 0 ? 0
	       : e->code != ERR_BUSY
		       ? -1
		       : err_ctx(e, "an agent runs already for '%s' ('slipway agent stop' ends it)", g->o->root_path);
}

static int open_supervisor(struct agent *g, struct err *e)
{
	auto_free char *path = xasprintf("%s/run", g->o->root_path);
	g->run_fd = fs_open_dir_make(g->o->root_fd, "run", e);
	if (g->run_fd < 0)
		return -1;
	const struct supervisor_opts o = {
		.loop = g->loop, .run_dirfd = g->run_fd, .run_path = path, .event = on_service, .ctx = g};
	return supervisor_new(&o, &g->supervisor, e) < 0 || supervisor_adopt(g->supervisor, e) < 0 ? -1 : 0;
}

static int open_all(struct agent *g, struct err *e)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	if (lock(g, e) < 0 || loop_new(&clock_system, &g->loop, e) < 0)
		return -1;
	for (size_t i = 0; i < 3; i++)
		if (loop_signal(g->loop, signals[i], on_signal, g, &g->signals[i], e) < 0)
			return -1;
	if (open_supervisor(g, e) < 0 || serve_open(g, e) < 0)
		return -1;
	watch_open(g);
	return callers_open(g, e);
}

static void close_all(struct agent *g)
{
	callers_close(g);
	watch_close(g);
	serve_shut(g); /* with the lock: the next agent makes a socket of the same name */
	supervisor_free(g->supervisor);
	/* who waits for the end of this agent sees it when the next one may begin */
	cleanup_fd(&g->lock_fd);
	serve_close(g);
	for (size_t i = 0; i < 3; i++)
		loop_remove(g->signals[i]);
	loop_free(g->loop);
	cleanup_fd(&g->run_fd);
}

int agent_run(const struct agent_opts *o, struct err *e)
{
	struct agent g = {
		.o = o,
		.socket_fd = -1,
		.lock_fd = -1,
		.run_fd = -1,
		.since_ms = clock_wall_ms(),
	};
	int rc = open_all(&g, e);
	if (rc == 0) {
		agent_say(o, "looks after '%s'", o->root_path);
		notify(o, "READY=1");
		rc = loop_run(g.loop, e);
		notify(o, "STOPPING=1");
	}
	close_all(&g);
	return rc;
}

void agent_put_unit(const char *program, const char *root_path, struct buf *b)
{
	buf_printf(b,
		   "[Unit]\n"
		   "Description=Slipway agent of %s\n"
		   "After=network.target local-fs.target\n"
		   "StartLimitIntervalSec=0\n"
		   "\n"
		   "[Service]\n"
		   "Type=notify\n"
		   "ExecStart=%s agent --root \"%s\"\n"
		   "Restart=always\n"
		   "RestartSec=1\n"
		   "# services run on when the agent ends, and the next one takes them over\n"
		   "KillMode=process\n"
		   "Delegate=yes\n"
		   "\n"
		   "[Install]\n"
		   "WantedBy=multi-user.target\n",
		   root_path, program, root_path);
}
