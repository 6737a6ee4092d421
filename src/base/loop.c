// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/vec.h"

enum { EVENTS_A_TURN = 64 };
#define NOT_IN_HEAP SIZE_MAX
enum kind { WATCH_FD, WATCH_TIMER, WATCH_CHILD, WATCH_PROCESS, WATCH_SIGNAL };

/*
 * A watch that is removed while a turn is on stays in memory until the turn has ended: the kernel may have reported it already.
 */
struct loop_watch {
	struct loop *loop;
	struct loop_watch *prev, *next; /* of those that live, or of those to be freed */
	enum kind kind;
	bool dead;
	int fd;			 /* what epoll looks at; -1 for timers */
	bool owns_fd;		 /* a pidfd or signalfd of ours */
	bool in_epoll;		 /* hang-ups are reported for as long as it is, wanted or not */
	bool was_blocked;	 /* the signal, before us */
	enum loop_events events; /* wanted */
	int64_t at_ms;		 /* timers */
	uint64_t serial;	 /* timers of one time: in the order they were made */
	size_t slot;		 /* in the heap of timers */
	struct loop_watch *next_due;
	pid_t pid;
	int signo;
	void *ctx;
	union {
		loop_fn *event;
		loop_child_fn *child;
		loop_signal_fn *signal;
	} fn;
};

struct loop {
	const struct clock *clock;
	int epoll;
	bool stop;
	unsigned turns; /* under way: a callback may step the loop itself */
	uint64_t serial;
	struct loop_watch *live, *dead;
	VEC(struct loop_watch *) timers; /* a heap: the next one first */
};

int loop_new(const struct clock *clock, struct loop **ret, struct err *e)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "make an event loop");
	struct loop *l = xcalloc(1, sizeof(*l));
	l->clock = clock;
	l->epoll = fd;
	*ret = l;
	return 0;
}

static void free_dead(struct loop *l)
{
	while (l->dead) {
		struct loop_watch *w = l->dead;
		l->dead = w->next;
		free(w);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	while (l->live)
		loop_remove(l->live);
	free_dead(l);
	vec_release(&l->timers);
	cleanup_fd(&l->epoll);
	free(l);
}

static struct loop_watch *watch_new(struct loop *l, enum kind kind, int fd, void *ctx)
{
	struct loop_watch *w = xcalloc(1, sizeof(*w));
	w->loop = l;
	w->kind = kind;
	w->fd = fd;
	w->ctx = ctx;
	w->next = l->live;
	if (w->next)
		w->next->prev = w;
	l->live = w;
	return w;
}

/* == timers: a binary heap ======================================================================================== */
static bool timer_before(const struct loop_watch *a, const struct loop_watch *b)
{
	return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->serial < b->serial;
}

static void timer_place(struct loop *l, size_t slot, struct loop_watch *w)
{
	l->timers.v[slot] = w;
	w->slot = slot;
}

static void timer_up(struct loop *l, size_t slot, struct loop_watch *w)
{
	for (; slot > 0 && timer_before(w, l->timers.v[(slot - 1) / 2]); slot = (slot - 1) / 2)
		timer_place(l, slot, l->timers.v[(slot - 1) / 2]);
	timer_place(l, slot, w);
}

static void timer_down(struct loop *l, size_t slot, struct loop_watch *w)
{
	for (;;) {
		size_t child = 2 * slot + 1;
		if (child >= l->timers.n)
			break;
		if (child + 1 < l->timers.n && timer_before(l->timers.v[child + 1], l->timers.v[child]))
			child++;
		if (!timer_before(l->timers.v[child], w))
			break;
		timer_place(l, slot, l->timers.v[child]);
		slot = child;
	}
	timer_place(l, slot, w);
}

static void timer_take_out(struct loop *l, struct loop_watch *w)
{
	size_t slot = w->slot;
	if (slot == NOT_IN_HEAP)
		return;
	struct loop_watch *last = vec_pop(&l->timers);
	w->slot = NOT_IN_HEAP;
	if (last == w)
		return;
	if (slot > 0 && timer_before(last, l->timers.v[(slot - 1) / 2]))
		timer_up(l, slot, last);
	else
		timer_down(l, slot, last);
}

struct loop_watch *loop_timer(struct loop *l, int64_t at_mono_ms, loop_fn *fn, void *ctx)
{
	struct loop_watch *w = watch_new(l, WATCH_TIMER, -1, ctx);
	w->at_ms = at_mono_ms;
	w->serial = l->serial++;
	w->fn.event = fn;
	vec_push(&l->timers, w);
	timer_up(l, l->timers.n - 1, w);
	return w;
}

/* == descriptors ================================================================================================== */
void loop_fd_events(struct loop_watch *w, enum loop_events events)
{
	if (w->dead)
		return;
	w->events = events;
	struct epoll_event ev = {.events = (events & LOOP_IN ? EPOLLIN : 0u) | (events & LOOP_OUT ? EPOLLOUT : 0u),
				 .data.ptr = w};
	if (!events && !w->in_epoll)
		return;
	int op = !events ? EPOLL_CTL_DEL : w->in_epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(w->loop->epoll, op, w->fd, &ev) < 0 && op != EPOLL_CTL_DEL)
		panic("watch descriptor %d: %s", w->fd, strerror(errno));
	w->in_epoll = events != 0;
}

struct loop_watch *loop_fd(struct loop *l, int fd, enum loop_events events, loop_fn *fn, void *ctx)
{
	struct loop_watch *w = watch_new(l, WATCH_FD, fd, ctx);
	w->fn.event = fn;
	loop_fd_events(w, events);
	return w;
}

struct loop_watch *loop_process(struct loop *l, int pidfd, pid_t pid, loop_child_fn *fn, void *ctx)
{
	struct loop_watch *w = watch_new(l, WATCH_PROCESS, pidfd, ctx);
	w->owns_fd = true;
	w->pid = pid;
	w->fn.child = fn;
	loop_fd_events(w, LOOP_IN);
	return w;
}

int loop_child(struct loop *l, pid_t pid, loop_child_fn *fn, void *ctx, struct loop_watch **ret, struct err *e)
{
	int fd = pidfd_open(pid, 0);
	if (fd < 0)
		return err_sys(e, "watch child %d", (int)pid);
	struct loop_watch *w = loop_process(l, fd, pid, fn, ctx);
	w->kind = WATCH_CHILD;
	if (ret)
		*ret = w;
	return 0;
}

int loop_signal(struct loop *l, int signo, loop_signal_fn *fn, void *ctx, struct loop_watch **ret, struct err *e)
{
	for (const struct loop_watch *w = l->live; w; w = w->next)
		if (w->kind == WATCH_SIGNAL && w->signo == signo)
			return err_new(e, ERR_EXISTS, "signal %d is watched already", signo);
	sigset_t set, before;
	sigemptyset(&set);
	if (sigaddset(&set, signo) < 0)
		return err_sys(e, "watch signal %d", signo);
	auto_fd fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "watch signal %d", signo);
	int r = pthread_sigmask(SIG_BLOCK, &set, &before);
	if (r != 0)
		return err_errno(e, r, "block signal %d", signo);
	struct loop_watch *w = watch_new(l, WATCH_SIGNAL, steal_fd(&fd), ctx);
	w->owns_fd = true;
	w->signo = signo;
	w->was_blocked = sigismember(&before, signo) == 1;
	w->fn.signal = fn;
	loop_fd_events(w, LOOP_IN);
	if (ret)
		*ret = w;
	return 0;
}

static bool signal_take(const struct loop_watch *w)
{
	struct signalfd_siginfo info;
	return read(w->fd, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

void loop_remove(struct loop_watch *w)
{
	if (!w || w->dead)
		return;
	struct loop *l = w->loop;
	if (w->kind == WATCH_TIMER)
		timer_take_out(l, w);
	else
		loop_fd_events(w, 0);
	if (w->kind == WATCH_SIGNAL && !w->was_blocked) {
		sigset_t set;
		sigemptyset(&set);
		sigaddset(&set, w->signo);
		while (signal_take(w)) /* one that came meanwhile was meant for us */
			;
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
	if (w->owns_fd)
		cleanup_fd(&w->fd);
	w->dead = true;
	*(w->prev ? &w->prev->next : &l->live) = w->next;
	if (w->next)
		w->next->prev = w->prev;
	w->prev = NULL;
	w->next = l->dead;
	l->dead = w;
	if (l->turns == 0)
		free_dead(l);
}

/* == turning ====================================================================================================== */
const struct clock *loop_clock(const struct loop *l)
{
	return l->clock;
}

int64_t loop_now_ms(const struct loop *l)
{
	return l->clock->mono_ms(l->clock);
}

static int wait_ms(const struct loop *l, int max_ms)
{
	if (l->stop)
		return 0;
	if (l->timers.n == 0)
		return max_ms;
	int64_t left = l->timers.v[0]->at_ms - loop_now_ms(l);
	if (left <= 0)
		return 0;
	if (l->clock != &clock_system) /* no waiting makes that time pass */
		return max_ms;
	if (left > INT_MAX)
		left = INT_MAX;
	return max_ms >= 0 && max_ms < left ? max_ms : (int)left;
}

/* Those made by the callbacks of this turn wait for the next one, so that no turn goes on for ever. */
static int call_timers(struct loop *l)
{
	int calls = 0;
	int64_t now = loop_now_ms(l);
	struct loop_watch *due = NULL, **last = &due;
	while (l->timers.n > 0 && l->timers.v[0]->at_ms <= now) {
		*last = l->timers.v[0];
		timer_take_out(l, *last);
		last = &(*last)->next_due;
	}
	for (struct loop_watch *w = due; w; w = w->next_due) {
		if (w->dead)
			continue;
		loop_remove(w);
		w->fn.event(w->ctx, 0);
		calls++;
	}
	return calls;
}

static int call_child(struct loop_watch *w)
{
	int status = -1;
	if (w->kind == WATCH_CHILD) {
		pid_t r;
		do
			r = waitpid(w->pid, &status, WNOHANG);
		while (r < 0 && errno == EINTR);
		if (r == 0)
			return 0;
		if (r < 0) /* somebody else reaped it */
			status = -1;
	}
	loop_remove(w);
	w->fn.child(w->ctx, w->pid, status);
	return 1;
}

static int call_watch(struct loop_watch *w, uint32_t events)
{
	if (w->dead)
		return 0;
	if (w->kind == WATCH_CHILD || w->kind == WATCH_PROCESS)
		return call_child(w);
	if (w->kind == WATCH_SIGNAL) {
		if (!signal_take(w))
			return 0;
		w->fn.signal(w->ctx, w->signo);
		return 1;
	}
	unsigned got = 0;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		got |= LOOP_IN;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		got |= LOOP_OUT;
	got &= (unsigned)w->events;
	if (!got)
		return 0;
	w->fn.event(w->ctx, got);
	return 1;
}

int loop_step(struct loop *l, int max_ms, struct err *e)
{
	struct epoll_event ev[EVENTS_A_TURN];
	int n = epoll_wait(l->epoll, ev, EVENTS_A_TURN, wait_ms(l, max_ms));
	if (n < 0 && errno != EINTR)
		return err_sys(e, "wait for events");
	l->turns++;
	int calls = call_timers(l);
	for (int i = 0; i < n; i++)
		calls += call_watch(ev[i].data.ptr, ev[i].events);
	if (--l->turns == 0)
		free_dead(l);
	return calls;
}

int loop_run(struct loop *l, struct err *e)
{
	while (!l->stop)
		if (loop_step(l, -1, e) < 0)
			return -1;
	l->stop = false;
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}
