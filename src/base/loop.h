// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * loop: one thread that waits for many things: descriptors, points in time, children, signals.
 *
 *	struct loop *l;
 *	loop_new(&clock_system, &l, e)
 *	struct loop_watch *w = loop_fd(l, fd, LOOP_IN, on_readable, ctx);
 *	struct loop_watch *t = loop_timer(l, clock->mono_ms(clock) + 500, on_time, ctx);
 *	loop_run(l, e);                     until loop_stop
 *	loop_free(l);                       forgets what is still watched; descriptors stay their owners'
 *
 * A callback may add and remove any watch, its own included; a watch that was removed is not called again, not even in the
 * same turn. Timers and children are for once: their watch is gone when the callback is called. Timers that are due are
 * called in the order of their times, before descriptors. A loop with a fake clock does not wait for time to pass: loop_step(l, 0)
 * calls what the clock says is due; a longer wait is for descriptors only, in real time.
 *
 * A descriptor is watched once, and no longer than it is open: loop_remove comes before close. What cannot be watched (a regular
 * file, a closed descriptor) panics, as a mistake of the caller.
 *
 * Signals come through a signalfd: loop_signal blocks the signal in this thread until its watch is removed; children made with
 * proc_* have the default mask. One signal is watched once (ERR_EXISTS).
 */
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

struct loop;
struct loop_watch;
enum loop_events { LOOP_IN = 1 << 0, LOOP_OUT = 1 << 1 }; /* hang-up and error count as both */
typedef void loop_fn(void *ctx, enum loop_events events);
typedef void loop_child_fn(void *ctx, pid_t pid, int status); /* status: as of waitpid */
typedef void loop_signal_fn(void *ctx, int signo);

int loop_new(const struct clock *clock, struct loop **ret, struct err *e);
void loop_free(struct loop *l);
DEFINE_AUTO(struct loop *, loop, loop_free);

struct loop_watch *loop_fd(struct loop *l, int fd, enum loop_events events, loop_fn *fn, void *ctx);
void loop_fd_events(struct loop_watch *w, enum loop_events events); /* 0: watched, but for nothing now */
struct loop_watch *loop_timer(struct loop *l, int64_t at_mono_ms, loop_fn *fn, void *ctx);
/* A child of this process: reaped before fn is called; never reaped once its watch is removed. */
int loop_child(struct loop *l, pid_t pid, loop_child_fn *fn, void *ctx, struct loop_watch **ret, struct err *e);
/* A process that is no child of this one, through a descriptor of it (pidfd_open), which the loop takes: fn is called when it has
 * ended, with status -1. */
struct loop_watch *loop_process(struct loop *l, int pidfd, pid_t pid, loop_child_fn *fn, void *ctx);
int loop_signal(struct loop *l, int signo, loop_signal_fn *fn, void *ctx, struct loop_watch **ret, struct err *e);
void loop_remove(struct loop_watch *w); /* NULL is fine */

const struct clock *loop_clock(const struct loop *l);
int64_t loop_now_ms(const struct loop *l); /* monotonic */
/* One turn: waits up to max_ms (-1: until something happens), calls what is due. Returns the number of calls, -1 on failure. */
int loop_step(struct loop *l, int max_ms, struct err *e);
/* Turns until loop_stop, which may have come before. */
int loop_run(struct loop *l, struct err *e);
void loop_stop(struct loop *l);
