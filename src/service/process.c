// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fs.h"
#include "base/sys.h"
#include "service/supervisor.h"

enum { NOTIFY_MAX = 4096, NOTIFY_A_TURN = 64, FDS_LOOKED_AT = 4096 };
/* What only says that it has started must run this long before it counts. */
enum { SETTLE_MS = 500 };

struct process *process_with(struct service *s, enum role role)
{
	for (struct process *p = s->processes; p; p = p->next)
		if (p->role == role)
			return p;
	return NULL;
}

struct process *process_add(struct service *s, enum role role, pid_t pid, int pidfd, uint64_t start_ticks)
{
	struct process *p = xcalloc(1, sizeof(*p));
	*p = (struct process){.service = s,
			      .next = s->processes,
			      .arena = ARENA_INIT,
			      .role = role,
			      .pid = pid,
			      .pidfd = pidfd,
			      .gate_fd = -1,
			      .start_ticks = start_ticks,
			      .started_ms = loop_now_ms(s->sup->loop)};
	s->processes = p;
	return p;
}

void process_forget(struct process *p)
{
	struct process **at = &p->service->processes;
	while (*at && *at != p)
		at = &(*at)->next;
	if (*at)
		*at = p->next;
	loop_remove(p->end);
	loop_remove(p->gate);
	loop_remove(p->kill_timer);
	cleanup_fd(&p->pidfd);
	cleanup_fd(&p->gate_fd);
	arena_release(&p->arena);
	free(p);
}

char *process_socket_path(const struct process *p, struct str name)
{
	return xasprintf("%s/%.*s.%u", p->service->dir, STR_ARG(name), p->launch);
}

/* == its end ====================================================================================================== */
static void remove_private(const struct process *p)
{
	for (uint32_t i = 0; i < p->sockets_n; i++) {
		auto_free char *path = process_socket_path(p, p->sockets[i].name);
		if (p->sockets[i].is_private)
			(void)sys_unlinkat(AT_FDCWD, path, 0);
	}
}

void process_gone(struct process *p)
{
	remove_private(p);
	process_forget(p);
}

/* A child that has given up, or will at once because its gate is closed. */
static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void on_end(void *ctx, pid_t pid, int status)
{
	struct process *p = ctx;
	struct service *s = p->service;
	enum role role = p->role;
	struct err e = ERR_INIT;
	int64_t ran_ms = loop_now_ms(s->sup->loop) - p->started_ms;
	bool was_ready = p->ready, was_held = p->gate_fd >= 0;
	p->end = NULL;
	kill(-pid, SIGKILL); /* what it has left behind in its process group would go on answering */
	if (was_held && spawn_result(p->gate_fd, p->service->name, &e) < 0) {
		service_process_failed(s, p, &e);
		return;
	}
	auto_buf text = BUF_INIT(200);
	status_put(&text, status);
	log_say(s->log_fd, supervisor_wall_ms(s->sup), "process %d of generation %u %s", (int)pid, p->generation,
		text.p);
	if (s->asked == p)
		health_stop(s);
	process_gone(p);
	(void)run_record(s, &e);
	service_process_ended(s, role, was_ready, ran_ms, status);
}

int process_watch(struct process *p, struct err *e)
{
	struct proc_stat st;
	struct loop *l = p->service->sup->loop;
	if (proc_stat_read(p->pid, &st) && st.parent == getpid())
		return loop_child(l, p->pid, on_end, p, &p->end, e);
	int fd = fcntl(p->pidfd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(e, "watch process %d", (int)p->pid);
	p->end = loop_process(l, fd, p->pid, on_end, p);
	return 0;
}

/* == its start ==================================================================================================== */
static void on_settled(void *ctx, enum loop_events events)
{
	struct service *s = ctx;
	(void)events;
	s->settle = NULL;
	struct process *p = s->processes; /* the youngest */
	if (p && !p->ready) {
		p->ready = true;
		service_process_ready(s, p);
	}
}

static void on_gate(void *ctx, enum loop_events events)
{
	struct process *p = ctx;
	struct service *s = p->service;
	struct err e = ERR_INIT;
	(void)events;
	int r = spawn_result(p->gate_fd, s->name, &e);
	if (r == 0)
		return;
	loop_remove(p->gate);
	p->gate = NULL;
	cleanup_fd(&p->gate_fd);
	if (r < 0) {
		reap(p->pid);
		service_process_failed(s, p, &e);
		return;
	}
	const struct version *v = s->coming ? s->coming : s->version;
	if (p->role != ROLE_LEAVING && v->decl.ready == SERVICE_READY_STARTED) {
		loop_remove(s->settle);
		s->settle = loop_timer(s->sup->loop, loop_now_ms(s->sup->loop) + SETTLE_MS, on_settled, s);
	}
}

static int make_private(struct process *p, struct str name, const struct identity *who, struct err *e)
{
	struct address a;
	auto_free char *path = process_socket_path(p, name);
	if (address_parse(str_c(path), NULL, &a, e) < 0)
		return -1;
	return socket_listen(&a, path, 0600, who, e);
}

static int held_fd(const struct service *s, struct str address)
{
	for (size_t i = 0; i < s->held.n; i++)
		if (str_eq_c(address, s->held.v[i].address))
			return s->held.v[i].fd;
	return -1;
}

static void copy_sockets(struct process *p, const struct service_decl *d)
{
	p->sockets = arena_array(&p->arena, struct service_socket, d->sockets_n);
	p->sockets_n = d->sockets_n;
	for (uint32_t i = 0; i < d->sockets_n; i++)
		p->sockets[i] = (struct service_socket){.name = arena_str(&p->arena, d->sockets[i].name),
							.address = arena_str(&p->arena, d->sockets[i].address),
							.is_private = d->sockets[i].is_private};
}

struct handed { /* the descriptors for a child; private ones are closed here afterwards */
	int fd[SPAWN_FDS_MAX];
	bool mine[SPAWN_FDS_MAX];
	size_t n;
};

static void handed_release(struct handed *h)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->mine[i])
			cleanup_fd(&h->fd[i]);
}

static int gather(struct process *p, const struct identity *who, struct handed *h, struct err *e)
{
	for (uint32_t i = 0; i < p->sockets_n && i < SPAWN_FDS_MAX; i++) {
		const struct service_socket *k = &p->sockets[i];
		int fd = k->is_private ? make_private(p, k->name, who, e) : held_fd(p->service, k->address);
		if (fd < 0)
			return k->is_private ? -1
					     : err_new(e, ERR_FAILED, "socket '%.*s' is not held", STR_ARG(k->address));
		h->fd[h->n] = fd;
		h->mine[h->n++] = k->is_private;
	}
	return 0;
}

static int make_folder(struct service *s, const struct identity *who, struct err *e)
{
	auto_fd dir = fs_open_dir_make(s->env_dirfd, s->name, e);
	if (dir < 0)
		return err_ctx(e, "runtime folder");
	if (who->change && sys_fchownat(s->env_dirfd, s->name, who->uid, who->gid) < 0)
		return err_sys(e, "give '%s' to user '%s'", s->dir, who->name);
	return 0;
}

static int let_go(struct process *p, struct spawned *child, struct err *e)
{
	p->gate_fd = child->gate;
	if (process_watch(p, e) < 0 || run_record(p->service, e) < 0) {
		pid_t pid = p->pid; /* it was not let go yet, and ends when the gate closes */
		process_gone(p);
		reap(pid);
		return -1;
	}
	p->gate = loop_fd(p->service->sup->loop, p->gate_fd, LOOP_IN, on_gate, p);
	spawn_go(child);
	return 0;
}

int process_launch(struct service *s, const struct version *v, enum role role, struct err *e)
{
	auto_arena a = ARENA_INIT;
	cleanup_with(handed_release) struct handed h = {.n = 0};
	struct program program;
	struct spawned child;
	struct service_ref r = {.env = str_c(s->env),
				.generation = v->generation,
				.prefix = v->prefix,
				.decl = &v->decl,
				.runtime_dir = s->dir};
	if (program_make(&a, &r, v->decl.argv, v->decl.argv_n, s->sup->notify_path, true, &program, e) < 0 ||
	    make_folder(s, &program.who, e) < 0)
		return -1;
	struct process *p = process_add(s, role, -1, -1, 0);
	p->generation = v->generation;
	p->launch = ++s->launches;
	p->stop_signal = v->decl.stop_signal;
	p->stop_timeout_ms = v->decl.stop_timeout_ms;
	copy_sockets(p, &v->decl);
	struct spawn how = {.argv = program.argv,
			    .envp = program.envp,
			    .listen_pid = program.listen_pid,
			    .cwd = program.cwd,
			    .out = s->log_fd,
			    .fds = h.fd,
			    .who = &program.who};
	if (gather(p, &program.who, &h, e) < 0) {
		process_gone(p);
		return -1;
	}
	how.fds_n = h.n;
	if (spawn_hold(&how, &child, e) < 0) {
		process_gone(p);
		return -1;
	}
	p->pid = child.pid;
	p->pidfd = child.pidfd;
	p->start_ticks = child.start_ticks;
	return let_go(p, &child, e);
}

/* == its stop ===================================================================================================== */
void process_kill(struct process *p)
{
	kill(-p->pid, SIGKILL);
	(void)pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
}

static void on_kill_time(void *ctx, enum loop_events events)
{
	struct process *p = ctx;
	(void)events;
	p->kill_timer = NULL;
	process_kill(p);
}

void process_await_end(struct process *p)
{
	struct loop *l = p->service->sup->loop;
	loop_remove(p->kill_timer);
	p->kill_timer = loop_timer(l, loop_now_ms(l) + p->stop_timeout_ms, on_kill_time, p);
}

void process_stop(struct process *p)
{
	struct err e;
	p->role = ROLE_LEAVING;
	process_await_end(p);
	if (p->signalled)
		return;
	/* written before, so that a supervisor that comes after this one knows that it is to go; and after, so that it is not told twice */
	(void)run_record(p->service, &e);
	if (p->gate_fd >= 0 && p->gate) /* not its program yet: that one could not know the signal */
		(void)pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0);
	else
		(void)pidfd_send_signal(p->pidfd, p->stop_signal, NULL, 0);
	p->signalled = true;
	(void)run_record(p->service, &e);
}

/* True where one of its descriptors is one of the sockets that the service holds. */
static bool holds_one(const struct process *p, DIR *dir, int dirfd)
{
	const struct service *s = p->service;
	struct dirent *d;
	for (int n = 0; (d = readdir(dir)); n++) {
		struct stat its, ours;
		if (n > FDS_LOOKED_AT)
			return true;
		if (d->d_name[0] == '.' || fstatat(dirfd, d->d_name, &its, 0) < 0 || !S_ISSOCK(its.st_mode))
			continue;
		for (size_t i = 0; i < s->held.n; i++)
			if (fstat(s->held.v[i].fd, &ours) == 0 && ours.st_ino == its.st_ino &&
			    ours.st_dev == its.st_dev)
				return true;
	}
	return false;
}

bool process_let_go(const struct process *p)
{
	char path[64];
	auto_buf children = BUF_INIT(64);
	struct err e = ERR_INIT;
	/* Children of it may hold what it has closed: then only its end tells. Where the kernel does not list them, too. */
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)p->pid, (int)p->pid);
	if (fs_read(AT_FDCWD, path, &children, &e) < 0 || str_trim(buf_str(&children)).n > 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)p->pid);
	DIR *dir = opendir(path);
	if (!dir)
		return false;
	bool held = holds_one(p, dir, dirfd(dir));
	closedir(dir);
	return !held;
}

/* == what it says ================================================================================================= */
/* The process that has this pid, or whose session it is in: a program may let a helper say it. */
static struct process *sender(struct supervisor *sup, pid_t pid)
{
	struct proc_stat st = {0};
	(void)proc_stat_read(pid, &st);
	for (struct service *s = sup->services; s; s = s->next)
		for (struct process *p = s->processes; p; p = p->next)
			if (p->pid == pid || (st.session > 0 && p->pid == st.session))
				return p;
	return NULL;
}

static void take_message(struct supervisor *sup, pid_t pid, struct str text)
{
	struct process *p = sender(sup, pid);
	struct str line;
	struct err e;
	while (p && str_take_line(&text, &line)) {
		if (!str_eq(line, STR("READY=1")) || p->ready || p->role == ROLE_LEAVING)
			continue;
		struct service *s = p->service;
		const struct version *v = s->coming && p->role == ROLE_COMING ? s->coming : s->version;
		if (v->decl.ready != SERVICE_READY_NOTIFY)
			continue;
		p->ready = true;
		(void)run_record(s, &e);
		service_process_ready(s, p);
		return; /* p may be gone */
	}
}

static bool receive(struct supervisor *sup)
{
	char text[NOTIFY_MAX];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * 16)];
	} control;
	struct iovec iov = {text, sizeof(text)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(sup->notify_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EINTR;
	pid_t pid = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred who;
			memcpy(&who, CMSG_DATA(c), sizeof(who));
			pid = who.pid;
		} else if (c->cmsg_type == SCM_RIGHTS) { /* nobody asked for these */
			for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
				int fd;
				memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
				close(fd);
			}
		}
	}
	if (pid > 0 && !(m.msg_flags & MSG_TRUNC))
		take_message(sup, pid, str_of(text, (size_t)n));
	return true;
}

static void on_notify(void *ctx, enum loop_events events)
{
	(void)events;
	for (int i = 0; i < NOTIFY_A_TURN; i++)
		if (!receive(ctx))
			return;
}

int notify_open(struct supervisor *sup, struct err *e)
{
	const int on = 1;
	struct address a;
	sup->notify_path = xasprintf("%s/.notify", sup->run_path);
	if (address_parse(str_c(sup->notify_path), NULL, &a, e) < 0)
		return err_ctx(e, "use a root folder with a shorter path");
	if (sys_unlinkat(AT_FDCWD, sup->notify_path, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s'", sup->notify_path);
	sup->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sup->notify_fd < 0 || setsockopt(sup->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    bind(sup->notify_fd, &a.u.any, a.n) < 0 || sys_fchmodat(AT_FDCWD, sup->notify_path, 0666) < 0)
		return err_sys(e, "listen on '%s'", sup->notify_path);
	sup->notify = loop_fd(sup->loop, sup->notify_fd, LOOP_IN, on_notify, sup);
	return 0;
}
