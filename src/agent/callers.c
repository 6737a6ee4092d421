// SPDX-License-Identifier: Apache-2.0
/*
 * Where this host is a member of a pair: the address that it listens on, and a process for each connection that comes there, which does
 * everything that may wait for the network (pair_serve). They end with the agent.
 *
 * What is on disk decides, and is read again whenever a command says so, and every now and then. Where the address is not to be had (yet:
 * a boot brings addresses up late), it is tried again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "agent/internal.h"
#include "pair/pair.h"

enum { TICK_MS = 30000, AGAIN_MS = 2000, WHY_SIZE = 1024, HOST_SIZE = 56, FROM_SIZE = 64 };

/* Shared with the process while it runs. */
struct report {
	struct pair_seat seat;
	char why[WHY_SIZE];
};

struct caller {
	struct agent *agent;
	struct caller *next;
	struct loop_watch *child;
	struct report *report;
	pid_t pid;
	char from[FROM_SIZE];
	bool near;	/* from where the other member is */
	bool displaced; /* by a newer connection */
};

struct callers {
	char *address;	 /* NULL: this host is no member, or could not say */
	char *near_host; /* of the other member; NULL: there is none */
	int fd;
	int wake_fd; /* told when the other member is there */
	struct loop_watch *listening, *tick, *rest, *wake;
	struct caller *first;
	size_t n;
	bool told_full;	    /* since there was room last */
	char why[WHY_SIZE]; /* it does not listen though it should */
};

/* -- one connection ----------------------------------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct upgrade_event *v)
{
	const struct caller *c = ctx;
	if ((v->kind == UPGRADE_EVENT_NOTE || v->kind == UPGRADE_EVENT_STATE) && v->text)
		agent_say(c->agent->o, "pair: %s", v->text);
}

static int serve_caller(struct caller *c, int fd, struct err *e)
{
	const struct agent_opts *o = c->agent->o;
	auto_fd own = fd;
	auto_ptr(agent_client) client = NULL;
	auto_ptr(env_state) st = NULL;
	if (agent_connect(o->root_fd, o->root_path, &client, e) < 0 ||
	    env_state_open(o->root_fd, o->root_path, 0, &st, e) < 0)
		return -1;
	struct upgrade_services services = agent_services(client);
	const struct pair_opts p = {
		.local =
			{
				.state = st,
				.services = &services,
				.env_opts = {.command = o->command, .clock = &clock_system},
				.root_fd = o->root_fd,
				.root_path = o->root_path,
				.reserve_bytes = o->reserve_bytes,
				.autostart_elsewhere = o->autostart_elsewhere,
				.event = on_event,
				.ctx = c,
			},
		.seat = &c->report->seat,
	};
	return pair_serve(&p, steal_fd(&own), e);
}

static int by_number(const void *x, const void *y)
{
	const int *a = x, *b = y;
	return *a < *b ? -1 : *a > *b;
}

static void close_others(int keep[], size_t n)
{
	int next = 3;
	qsort(keep, n, sizeof(*keep), by_number);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] > next)
			(void)close_range((unsigned)next, (unsigned)keep[i] - 1, 0);
		next = keep[i] + 1;
	}
	(void)close_range((unsigned)next, ~0U, 0);
}

__attribute__((noreturn)) static void be_child(struct caller *c, int fd, pid_t parent)
{
	struct err e = ERR_INIT;
	sigset_t none;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	int keep[] = {c->agent->o->root_fd, c->agent->callers->wake_fd, fd};
	close_others(keep, sizeof(keep) / sizeof(*keep));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	int rc = serve_caller(c, fd, &e);
	snprintf(c->report->why, sizeof(c->report->why), "%.*s", WHY_SIZE - 1, rc < 0 ? e.msg : "");
	_exit(rc < 0);
}

static void forget(struct caller *c)
{
	struct callers *all = c->agent->callers;
	struct caller **at = &all->first;
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	all->n--;
	loop_remove(c->child);
	munmap(c->report, sizeof(*c->report));
	free(c);
}

static void on_child(void *ctx, pid_t pid, int status)
{
	struct caller *c = ctx;
	struct agent *g = c->agent;
	(void)pid;
	c->child = NULL;
	bool killed = WIFSIGNALED(status) && !c->displaced, failed = c->report->seat.failed;
	if (c->displaced)
		agent_say(g->o, "pair: from %s: closed, it was idle and another one came", c->from);
	else if (killed)
		agent_say(g->o, "pair: from %s: the process was ended by signal %d", c->from, WTERMSIG(status));
	else if (c->report->why[0])
		agent_say(g->o, "pair: from %s: %.*s", c->from, WHY_SIZE - 1, c->report->why);
	forget(c);
	(void)!callers_look(g, &(struct err){0}); /* somebody may have joined */
	/* An environment whose services or timer it touched was named over its own connection to the agent, and is looked after when that
	 * ends. Not so after each connection: settling asks the other member, whose agent would ask this one. What it was ordered and could
	 * not do is tried again at once, and then less and less often. */
	if (killed || failed)
		watch_look_all(g);
}

static int start(struct agent *g, int fd, const char *from, bool near, struct err *e)
{
	pid_t self = getpid();
	void *shared = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return err_sys(e, "start a process");
	struct caller *c = xcalloc(1, sizeof(*c));
	*c = (struct caller){.agent = g, .next = g->callers->first, .report = shared, .near = near};
	snprintf(c->from, sizeof(c->from), "%s", from);
	c->report->seat.wake_fd = g->callers->wake_fd;
	c->pid = fork();
	if (c->pid == 0)
		be_child(c, fd, self);
	g->callers->first = c;
	g->callers->n++;
	if (c->pid < 0 || loop_child(g->loop, c->pid, on_child, c, &c->child, e) < 0) {
		if (c->pid < 0)
			err_sys(e, "start a process");
		else
			agent_end_process(c->pid);
		forget(c);
		return -1;
	}
	return 0;
}

/* -- too many ----------------------------------------------------------------------------------------------------------- */

static bool is_known(const struct caller *c)
{
	return c->report->seat.state != PAIR_SEAT_NEW;
}

/* Who has been idle for the longest time; NULL: all are at work. */
static struct caller *idlest(const struct callers *all)
{
	struct caller *found = NULL;
	for (struct caller *c = all->first; c; c = c->next)
		if (c->report->seat.state == PAIR_SEAT_IDLE &&
		    (!found || c->report->seat.since_ms < found->report->seat.since_ms))
			found = c;
	return found;
}

/* A newer connection of the other member takes the place of one that it has left idle. */
static void make_room(const struct callers *all)
{
	size_t known = 0;
	for (const struct caller *c = all->first; c; c = c->next)
		known += is_known(c) && !c->displaced;
	for (struct caller *c; known > PAIR_LINKS_MAX && (c = idlest(all));) {
		if (!pair_seat_take(&c->report->seat)) /* it has just been asked something */
			continue;
		c->displaced = true;
		kill(c->pid, SIGKILL);
		known--;
	}
}

static void on_wake(void *ctx, enum loop_events events)
{
	struct agent *g = ctx;
	uint64_t ignored;
	(void)events;
	(void)!read(g->callers->wake_fd, &ignored, sizeof(ignored));
	make_room(g->callers);
}

/* -- who comes ---------------------------------------------------------------------------------------------------------- */

/* "10.0.0.2" or "[fd00::2]", and with its port. */
static void tell_from(const struct sockaddr_storage *sa, char host[HOST_SIZE], char whole[FROM_SIZE])
{
	char text[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)sa;
	bool six = sa->ss_family == AF_INET6;
	(void)!inet_ntop(sa->ss_family, six ? (const void *)&v6->sin6_addr : (const void *)&v4->sin_addr, text,
			 sizeof(text));
	snprintf(host, HOST_SIZE, six ? "[%s]" : "%s", text);
	snprintf(whole, FROM_SIZE, "%s:%u", host, ntohs(v4->sin_port));
}

/* For one more who has to say who it is. Strangers, who are few once the pair is made, leave room for the other member. */
static bool has_room(const struct callers *all, bool near)
{
	size_t unknown = 0, strangers = 0;
	for (const struct caller *c = all->first; c; c = c->next) {
		unknown += !is_known(c);
		strangers += !is_known(c) && !c->near;
	}
	return unknown < PAIR_LINKS_MAX && all->n < 2 * PAIR_LINKS_MAX &&
	       (near || !all->near_host || strangers < PAIR_LINKS_MAX / 2);
}

static void on_rest(void *ctx, enum loop_events events)
{
	struct agent *g = ctx;
	(void)events;
	g->callers->rest = NULL;
	if (g->callers->listening)
		loop_fd_events(g->callers->listening, LOOP_IN);
}

static void on_caller(void *ctx, enum loop_events events)
{
	struct agent *g = ctx;
	struct callers *all = g->callers;
	struct sockaddr_storage sa = {0};
	socklen_t n = sizeof(sa);
	struct err e = ERR_INIT;
	char host[HOST_SIZE], from[FROM_SIZE];
	(void)events;
	auto_fd fd = accept4(all->fd, (struct sockaddr *)&sa, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) { /* none there any more; or no descriptors: not at once again */
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && !all->rest) {
			agent_say(g->o, "pair: cannot take a connection: %s", strerror(errno));
			loop_fd_events(all->listening, 0);
			all->rest = loop_timer(g->loop, loop_now_ms(g->loop) + AGAIN_MS, on_rest, g);
		}
		return;
	}
	tell_from(&sa, host, from);
	bool near = all->near_host && strcmp(host, all->near_host) == 0;
	bool full = !has_room(all, near);
	if (full && !all->told_full)
		agent_say(g->o, "pair: from %s: closed, there are %zu connections already", from, all->n);
	all->told_full = full;
	if (full)
		return;
	if (start(g, fd, from, near, &e) < 0)
		agent_say(g->o, "pair: from %s: %s", from, e.msg);
}

/* -- where ---------------------------------------------------------------------------------------------------------------- */

static void shut(struct callers *all)
{
	loop_remove(all->listening);
	loop_remove(all->rest);
	all->listening = all->rest = NULL;
	cleanup_fd(&all->fd);
	free(all->address);
	all->address = NULL;
}

/* Each is forgotten when its end is seen, which also takes it out of the list of processes. */
static void end_callers(const struct callers *all)
{
	for (const struct caller *c = all->first; c; c = c->next)
		kill(c->pid, SIGKILL);
}

/* The host of the other member's address, without its port. */
static void note_near(struct callers *all, const struct pair *p)
{
	struct str a = p->host[3 - p->self].address;
	ptrdiff_t colon = str_rfind(a, ':');
	free(all->near_host);
	all->near_host = p->joined && colon > 0 ? str_dup(str_head(a, (size_t)colon)) : NULL;
}

static int listen_at(struct agent *g, struct str address, struct err *e)
{
	struct callers *all = g->callers;
	if (all->address && str_eq_c(address, all->address))
		return 0;
	shut(all);
	if (pair_listen(address, &all->fd, e) < 0)
		return -1;
	all->address = str_dup(address);
	all->listening = loop_fd(g->loop, all->fd, LOOP_IN, on_caller, g);
	agent_say(g->o, "pair: listens on %s", all->address);
	return 0;
}

static int look(struct agent *g, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct callers *all = g->callers;
	struct str address;
	struct pair p = {0};
	int rc = pair_listen_address(g->o->root_fd, &a, &address, e);
	if (rc > 0 && pair_read(g->o->root_fd, &a, &p, e) > 0)
		note_near(all, &p);
	if (rc == 0 && all->address)
		agent_say(g->o, "pair: this host is in no pair any more");
	if (rc == 0)
		end_callers(all);
	if (rc <= 0)
		shut(all);
	return rc <= 0 ? rc : listen_at(g, address, e);
}

static void on_tick(void *ctx, enum loop_events events)
{
	struct agent *g = ctx;
	(void)events;
	g->callers->tick = NULL;
	(void)!callers_look(g, &(struct err){0});
}

int callers_look(struct agent *g, struct err *e)
{
	struct callers *all = g->callers;
	struct err why = ERR_INIT;
	int rc = look(g, &why);
	if (rc < 0 && strcmp(all->why, why.msg) != 0)
		agent_say(g->o, "pair: %s; tried again every %d s", why.msg, AGAIN_MS / 1000);
	snprintf(all->why, sizeof(all->why), "%.*s", WHY_SIZE - 1, rc < 0 ? why.msg : "");
	loop_remove(all->tick);
	all->tick = loop_timer(g->loop, loop_now_ms(g->loop) + (rc < 0 ? AGAIN_MS : TICK_MS), on_tick, g);
	if (rc < 0)
		*e = why;
	return rc;
}

int callers_open(struct agent *g, struct err *e)
{
	auto_fd wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake < 0)
		return err_sys(e, "make a descriptor for events");
	g->callers = xcalloc(1, sizeof(*g->callers));
	g->callers->fd = -1;
	g->callers->wake_fd = steal_fd(&wake);
	g->callers->wake = loop_fd(g->loop, g->callers->wake_fd, LOOP_IN, on_wake, g);
	(void)!callers_look(g, &(struct err){0});
	return 0;
}

void callers_close(struct agent *g)
{
	struct callers *all = g->callers;
	if (!all)
		return;
	end_callers(all);
	while (all->first) /* the agent ends, and its children with it */
		forget(all->first);
	shut(all);
	loop_remove(all->tick);
	loop_remove(all->wake);
	cleanup_fd(&all->wake_fd);
	free(all->near_host);
	free(all);
	g->callers = NULL;
}

void callers_put_status(const struct agent *g, struct jw *w)
{
	const struct callers *all = g->callers;
	if (!all->address && !all->why[0])
		return;
	jw_key(w, "pair");
	jw_object(w);
	jw_kv_opt(w, "address", str_c(all->address));
	jw_kv_opt(w, "why", str_c(all->why));
	jw_kv_int(w, "connections", (int64_t)all->n);
	jw_object_end(w);
}
