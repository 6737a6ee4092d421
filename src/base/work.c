// SPDX-License-Identifier: Apache-2.0
#include "base/work.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>

#include "base/vec.h"

enum { THREADS_MAX = 64 };

struct job {
	work_fn *fn;
	void *ctx;
};

struct work {
	pthread_mutex_t lock;
	pthread_cond_t wake;  /* workers: there is a job, or the end */
	pthread_cond_t idle;  /* waiters: no more than `enough` jobs are queued or running */
	VEC(struct job) jobs; /* since the last wait, in order of submission */
	size_t next;	      /* the first that has not begun */
	size_t enough;
	unsigned running;
	bool failed, ending;
	size_t failed_job; /* lowest number of a job that failed; err is its error */
	struct err err;
	unsigned n_threads, max_threads;
	pthread_t thread[THREADS_MAX];
};

static unsigned count_processors(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	return n < 1 ? 1 : (unsigned)n;
}

struct work *work_new(unsigned threads)
{
	struct work *w = xcalloc(1, sizeof(*w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	pthread_cond_init(&w->idle, NULL);
	w->max_threads = threads ? threads : count_processors();
	if (w->max_threads > THREADS_MAX)
		w->max_threads = THREADS_MAX;
	return w;
}

static size_t unfinished(const struct work *w)
{
	return w->running + (w->jobs.n - w->next);
}

/* Called and returns with the lock held. Jobs begin in the order of submission, so every job before one that failed has
 * begun too and will be waited for: the lowest failed number is the same in every run. */
static void run_job(struct work *w)
{
	size_t number = w->next++;
	struct job j = w->jobs.v[number];
	struct err e = ERR_INIT;
	w->running++;
	pthread_mutex_unlock(&w->lock);
	int r = j.fn(j.ctx, &e);
	pthread_mutex_lock(&w->lock);
	w->running--;
	if (r < 0 && (!w->failed || number < w->failed_job)) {
		w->failed = true;
		w->failed_job = number;
		w->err = e;
	}
	if (w->failed)
		w->next = w->jobs.n;
	if (unfinished(w) <= w->enough)
		pthread_cond_broadcast(&w->idle);
}

static void *worker(void *ctx)
{
	struct work *w = ctx;
	pthread_mutex_lock(&w->lock);
	for (;;) {
		if (w->ending)
			break;
		if (w->next < w->jobs.n)
			run_job(w);
		else
			pthread_cond_wait(&w->wake, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Workers take no signals: those are for the thread that runs the program. */
static void add_thread(struct work *w)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&w->thread[w->n_threads], NULL, worker, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		w->n_threads++;
	else if (w->n_threads == 0)
		panic("cannot start a thread: %s", strerror(r));
}

void work_submit(struct work *w, work_fn *fn, void *ctx)
{
	pthread_mutex_lock(&w->lock);
	if (!w->failed) {
		vec_push(&w->jobs, ((struct job){fn, ctx}));
		size_t waiting = w->jobs.n - w->next;
		if (w->n_threads < w->max_threads && w->running + waiting > w->n_threads)
			add_thread(w);
		pthread_cond_signal(&w->wake);
	}
	pthread_mutex_unlock(&w->lock);
}

/* With the lock held. */
static void wait_for(struct work *w, size_t left)
{
	w->enough = left;
	while (unfinished(w) > left)
		pthread_cond_wait(&w->idle, &w->lock);
	w->enough = 0;
}

void work_wait_for(struct work *w, size_t left)
{
	pthread_mutex_lock(&w->lock);
	wait_for(w, left);
	pthread_mutex_unlock(&w->lock);
}

int work_wait(struct work *w, struct err *e)
{
	pthread_mutex_lock(&w->lock);
	wait_for(w, 0);
	int r = w->failed ? -1 : 0;
	if (r < 0)
		*e = w->err;
	vec_clear(&w->jobs);
	w->next = 0;
	w->failed = false;
	pthread_mutex_unlock(&w->lock);
	return r;
}

void work_free(struct work *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->wake);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n_threads; i++)
		pthread_join(w->thread[i], NULL);
	pthread_cond_destroy(&w->idle);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	vec_release(&w->jobs);
	free(w);
}
