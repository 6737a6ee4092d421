// SPDX-License-Identifier: Apache-2.0
#include "lib/test.h"

#include "base/work.h"

#include <pthread.h>
#include <stdatomic.h>

static struct err e;
static atomic_int ran;

struct square {
	int in, out;
};

static int square(void *ctx, struct err *err)
{
	(void)err;
	struct square *s = ctx;
	s->out = s->in * s->in;
	return 0;
}

TEST(all_jobs_are_done)
{
	enum { N = 2000 };
	static struct square job[N];
	auto_ptr(work) w = work_new(4);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++) {
			job[i] = (struct square){i, -1};
			work_submit(w, square, &job[i]);
		}
		CHECK_INT(work_wait(w, &e), 0);
		for (int i = 0; i < N; i++)
			CHECK_INT(job[i].out, i * i);
	}
}

TEST(waiting_for_nothing)
{
	auto_ptr(work) w = work_new(0);
	CHECK_INT(work_wait(w, &e), 0);
	work_free(NULL);
}

/* Fails late when its number is low, so that the later failure is there first. */
static int fail_numbered(void *ctx, struct err *err)
{
	int n = *(int *)ctx;
	usleep(n == 0 ? 50000 : 1000);
	atomic_fetch_add(&ran, 1);
	return err_new(err, ERR_INPUT, "job %d", n);
}

TEST(first_submitted_failure_wins)
{
	int n[3] = {0, 1, 2};
	auto_ptr(work) w = work_new(3);
	for (int i = 0; i < 3; i++)
		work_submit(w, fail_numbered, &n[i]);
	CHECK_INT(work_wait(w, &e), -1);
	CHECK_STR(e.msg, "job 0");
	CHECK_INT(e.code, ERR_INPUT);
}

static int count(void *ctx, struct err *err)
{
	(void)ctx, (void)err;
	atomic_fetch_add(&ran, 1);
	return 0;
}

TEST(jobs_after_a_failure_are_dropped_and_the_pool_goes_on)
{
	int n = 7;
	auto_ptr(work) w = work_new(1);
	work_submit(w, fail_numbered, &n);
	for (int i = 0; i < 100; i++)
		work_submit(w, count, NULL);
	CHECK_INT(work_wait(w, &e), -1);
	CHECK_STR(e.msg, "job 7");
	CHECK_INT(atomic_load(&ran), 1);
	work_submit(w, count, NULL);
	CHECK_INT(work_wait(w, &e), 0);
	CHECK_INT(atomic_load(&ran), 2);
}

TEST(waiting_for_some)
{
	enum { N = 40 };
	auto_ptr(work) w = work_new(2);
	atomic_store(&ran, 0);
	for (int i = 0; i < N; i++)
		work_submit(w, count, NULL);
	work_wait_for(w, N / 2);
	CHECK(atomic_load(&ran) >= N / 2);
	work_wait_for(w, N); /* already so */
	int n = 5;
	work_submit(w, fail_numbered, &n);
	work_wait_for(w, 0);
	CHECK_INT(work_wait(w, &e), -1); /* and what failed is still told */
	CHECK_STR(e.msg, "job 5");
}

static int slow(void *ctx, struct err *err)
{
	(void)ctx, (void)err;
	usleep(20000);
	atomic_fetch_add(&ran, 1);
	return 0;
}

TEST(free_waits_for_what_runs_and_drops_the_rest)
{
	struct work *w = work_new(2);
	for (int i = 0; i < 100; i++)
		work_submit(w, slow, NULL);
	usleep(5000);
	work_free(w);
	int n = atomic_load(&ran);
	CHECK(n <= 4);
	usleep(50000);
	CHECK_INT(atomic_load(&ran), n);
}

static pthread_barrier_t barrier;
static int meet(void *ctx, struct err *err)
{
	(void)ctx, (void)err;
	pthread_barrier_wait(&barrier);
	return 0;
}

TEST(jobs_run_at_the_same_time)
{
	auto_ptr(work) w = work_new(3);
	pthread_barrier_init(&barrier, NULL, 3);
	for (int i = 0; i < 9; i++)
		work_submit(w, meet, NULL);
	CHECK_INT(work_wait(w, &e), 0); /* else it hangs, and the test's alarm ends it */
}

static int submit_more(void *ctx, struct err *err)
{
	(void)err;
	work_submit(ctx, count, NULL);
	return 0;
}

TEST(jobs_may_submit_jobs)
{
	auto_ptr(work) w = work_new(2);
	for (int i = 0; i < 50; i++)
		work_submit(w, submit_more, w);
	CHECK_INT(work_wait(w, &e), 0);
	CHECK_INT(atomic_load(&ran), 50);
}
