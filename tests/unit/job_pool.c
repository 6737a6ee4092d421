// SPDX-License-Identifier: Apache-2.0
/* The rules of a pool by themselves, and a thousand random histories of one. */
#include "lib/test.h"

#include "job/pool.h"

enum { JOBS = 400, WORKERS = 5, CLIENTS = 4, HINTS = 8 };

/* -- a pool in memory, with what jobs.db does around it ------------------------------------------------------------- */

enum state { WAITS, RUNS, ENDED };
struct job {
	enum state state;
	int client, hint; /* hint -1: none */
	bool urgent, warm;
	int worker, runs, losses;
	int64_t passed_ms, came_ms, started_ms, charge_ms, ends_ms;
};
struct sim {
	int64_t now_ms, virtual_ms;
	struct pool_client clients[CLIENTS];
	struct pool_hint hints[HINTS];
	struct str stores[HINTS][WORKERS];
	struct pool_cost cost;
	struct {
		bool there, paused;
		uint32_t capacity, running;
	} workers[WORKERS];
	struct job jobs[JOBS];
	int n_jobs;
	int64_t served_ms[CLIENTS]; /* what its jobs were charged */
	/* a pool as pool.c wants it */
	struct pool_job pool_jobs[JOBS];
	struct pool_worker pool_workers[WORKERS];
	int64_t ends[WORKERS][JOBS];
};
static const char *const names[] = {"w0", "w1", "w2", "w3", "w4"};

static void sim_init(struct sim *s)
{
	memset(s, 0, sizeof(*s));
	s->now_ms = 1000;
	for (int i = 0; i < CLIENTS; i++)
		s->clients[i].rate = POOL_RATE_ONE;
	for (int i = 0; i < HINTS; i++)
		s->hints[i].stores = s->stores[i];
}

static void worker_comes(struct sim *s, int w, uint32_t capacity)
{
	s->workers[w].there = true;
	s->workers[w].capacity = capacity;
}

static struct pool pool_of(struct sim *s)
{
	size_t n = 0;
	for (int i = 0; i < s->n_jobs; i++)
		if (s->jobs[i].state == WAITS)
			s->pool_jobs[n++] = (struct pool_job){
				.id = (uint64_t)i + 1,
				.client = &s->clients[s->jobs[i].client],
				.hint = s->jobs[i].hint < 0 ? NULL : &s->hints[s->jobs[i].hint],
				.urgent = s->jobs[i].urgent,
				.passed_ms = s->jobs[i].passed_ms,
			};
	for (int w = 0; w < WORKERS; w++) {
		uint32_t running = 0;
		for (int i = 0; i < s->n_jobs; i++)
			if (s->jobs[i].state == RUNS && s->jobs[i].worker == w)
				s->ends[w][running++] = s->jobs[i].started_ms + s->jobs[i].charge_ms;
		s->pool_workers[w] = (struct pool_worker){
			.name = str_c(names[w]),
			.store = str_c(names[w]),
			.capacity = s->workers[w].capacity,
			.active = s->workers[w].there && !s->workers[w].paused,
			.ends_ms = s->ends[w],
			.running = running,
		};
	}
	struct pool p = {.jobs = s->pool_jobs,
			 .n_jobs = n,
			 .workers = s->pool_workers,
			 .n_workers = WORKERS,
			 .cost = s->cost,
			 .virtual_ms = s->virtual_ms};
	pool_order(&p);
	return p;
}

static int submit(struct sim *s, int client, int hint, bool urgent)
{
	bool waits = false;
	struct pool p = {.virtual_ms = s->virtual_ms};
	for (int i = 0; i < s->n_jobs; i++)
		waits |= s->jobs[i].state == WAITS && s->jobs[i].client == client;
	pool_client_comes(&p, &s->clients[client], waits);
	CHECK(s->n_jobs < JOBS);
	s->jobs[s->n_jobs] = (struct job){.client = client, .hint = hint, .urgent = urgent, .came_ms = s->now_ms};
	return s->n_jobs++;
}

static void learn(struct sim *s, int hint, int w)
{
	struct pool_hint *h = &s->hints[hint];
	if (!pool_is_cached(h, str_c(names[w])))
		s->stores[hint][h->n_stores++] = str_c(names[w]);
}

/* What worker w takes now; -1: nothing. */
static int take(struct sim *s, int w, int64_t *ret_again)
{
	struct pool p = pool_of(s);
	CHECK(s->workers[w].running < s->workers[w].capacity);
	struct pool_choice c = pool_choose(&p, &p.workers[w], s->now_ms);
	for (size_t i = 0; i < p.n_jobs; i++)
		s->jobs[p.jobs[i].id - 1].passed_ms = p.jobs[i].passed_ms;
	if (ret_again)
		*ret_again = c.again_ms;
	if (!c.job)
		return -1;
	int i = (int)c.job->id - 1;
	struct job *j = &s->jobs[i];
	CHECK(j->state == WAITS);
	pool_client_starts(&p, &s->clients[j->client], c.estimate_ms);
	s->virtual_ms = p.virtual_ms;
	j->state = RUNS;
	j->runs++;
	j->worker = w;
	j->warm = c.warm;
	j->started_ms = s->now_ms;
	j->charge_ms = c.estimate_ms;
	s->served_ms[j->client] += c.estimate_ms;
	s->workers[w].running++;
	if (j->hint >= 0)
		learn(s, j->hint, w);
	return i;
}

static void ends(struct sim *s, int i)
{
	struct job *j = &s->jobs[i];
	int64_t took = s->now_ms - j->started_ms;
	CHECK(j->state == RUNS);
	j->state = ENDED;
	s->workers[j->worker].running--;
	pool_client_corrects(&s->clients[j->client], took - j->charge_ms);
	s->served_ms[j->client] += took - j->charge_ms;
	pool_cost_add(&s->cost, j->warm, took);
	if (j->hint >= 0)
		pool_cost_add(&s->hints[j->hint].cost, j->warm, took);
}

/* The worker is gone: its jobs wait again. */
static void worker_goes(struct sim *s, int w)
{
	s->workers[w].there = false;
	for (int i = 0; i < s->n_jobs; i++) {
		struct job *j = &s->jobs[i];
		if (j->state != RUNS || j->worker != w)
			continue;
		j->state = WAITS;
		j->losses++;
		j->passed_ms = 0;
		pool_client_corrects(&s->clients[j->client], -j->charge_ms);
		s->served_ms[j->client] -= j->charge_ms;
	}
	s->workers[w].running = 0;
}

/* A hint that takes 10 s where it is not cached, 2 s where it is. */
static void known_cost(struct sim *s, int hint)
{
	s->hints[hint].cost = (struct pool_cost){.cold_ms = 10000, .cold_n = 4, .warm_ms = 2000, .warm_n = 4};
	s->cost = s->hints[hint].cost;
}

/* Of one place each, and the first hint's cost is known. */
static void two_workers(struct sim *s)
{
	sim_init(s);
	known_cost(s, 0);
	worker_comes(s, 0, 1);
	worker_comes(s, 1, 1);
}

/* -- what ocluster's tests look at, in this pool --------------------------------------------------------------------- */

TEST(three_jobs_two_workers)
{
	static struct sim s;
	sim_init(&s);
	worker_comes(&s, 0, 1);
	worker_comes(&s, 1, 1);
	for (int i = 0; i < 3; i++)
		submit(&s, 0, -1, false);
	CHECK_INT(take(&s, 0, NULL), 0);
	CHECK_INT(take(&s, 1, NULL), 1);
	s.now_ms += 5000;
	ends(&s, 0);
	CHECK_INT(take(&s, 0, NULL), 2);
	ends(&s, 1);
	CHECK_INT(take(&s, 1, NULL), -1);
}

TEST(a_job_goes_where_its_hint_was_built)
{
	static struct sim s;
	two_workers(&s);
	submit(&s, 0, 0, false);
	submit(&s, 0, -1, false);
	CHECK_INT(take(&s, 0, NULL), 0);
	CHECK_INT(take(&s, 1, NULL), 1);
	s.now_ms += 5000;
	ends(&s, 1);
	submit(&s, 0, 0, false); /* 2 and 3: w0 is free for them in 5 and 7 s, and saves 8 */
	submit(&s, 0, 0, false);
	int other = submit(&s, 0, -1, false);
	int64_t again;
	CHECK_INT(take(&s, 1, &again), other);
	s.now_ms += 1000;
	ends(&s, other);
	CHECK_INT(take(&s, 1, &again), -1);
	CHECK(again > 0 && again <= 8000);
	s.now_ms += 4000;
	ends(&s, 0);
	CHECK_INT(take(&s, 0, NULL), 2);
	/* the other one has its turn when w0 is gone */
	worker_goes(&s, 0);
	int got = take(&s, 1, NULL);
	CHECK_INT(got, 2);
	s.now_ms += 9000;
	ends(&s, got);
	CHECK_INT(take(&s, 1, NULL), 3);
	CHECK(s.jobs[3].warm);
}

TEST(no_more_is_left_to_a_worker_than_pays)
{
	static struct sim s;
	two_workers(&s);
	submit(&s, 0, 0, false);
	CHECK_INT(take(&s, 0, NULL), 0);
	for (int i = 0; i < 7; i++)
		submit(&s, 0, 0, false);
	/* w0 is busy for 10 s: that is more than the 8 it saves */
	CHECK_INT(take(&s, 1, NULL), 1);
	s.now_ms += 10000;
	ends(&s, 0);
	ends(&s, 1);
	CHECK_INT(take(&s, 0, NULL), 2);
	CHECK_INT(take(&s, 1, NULL), 3); /* both have it now */
	CHECK(s.jobs[2].warm && s.jobs[3].warm);
}

TEST(a_busy_worker_does_not_keep_others_idle)
{
	static struct sim s;
	two_workers(&s);
	submit(&s, 0, 0, false);
	CHECK_INT(take(&s, 0, NULL), 0);
	s.now_ms += 4000; /* 6 s to go */
	for (int i = 0; i < 5; i++)
		submit(&s, 0, 0, false);
	/* one is left to w0 (6 s), the next would wait 8 s: not less than it saves */
	CHECK_INT(take(&s, 1, NULL), 2);
	CHECK(s.jobs[1].passed_ms);
	/* w0 takes far longer than was expected: what was left to it is taken by the other one, when that time is over */
	s.now_ms += 7999;
	ends(&s, 2);
	s.workers[1].paused = false;
	for (int i = 3; i < 6; i++)
		CHECK_INT(s.jobs[i].state, WAITS);
	s.now_ms += 1;
	CHECK_INT(take(&s, 1, NULL), 1);
}

TEST(an_idle_worker_with_the_cache_has_a_moment)
{
	static struct sim s;
	int64_t again;
	sim_init(&s);
	worker_comes(&s, 0, 1);
	worker_comes(&s, 1, 1);
	submit(&s, 0, 0, false);
	CHECK_INT(take(&s, 1, NULL), 0);
	s.now_ms += 10;
	ends(&s, 0);
	submit(&s, 0, 0, false);
	CHECK_INT(take(&s, 0, &again), -1);
	CHECK_INT(again, POOL_LEAVE_MS);
	s.now_ms += POOL_LEAVE_MS - 1;
	CHECK_INT(take(&s, 0, &again), -1);
	CHECK_INT(again, 1);
	s.now_ms += 1;
	CHECK_INT(take(&s, 0, &again), 1); /* stuck, or whatever: nobody waits for it longer */
}

TEST(without_workers_jobs_wait)
{
	static struct sim s;
	sim_init(&s);
	submit(&s, 0, 0, false);
	submit(&s, 0, 0, false);
	worker_comes(&s, 0, 1);
	CHECK_INT(take(&s, 0, NULL), 0);
	worker_goes(&s, 0);
	worker_comes(&s, 0, 1);
	CHECK_INT(take(&s, 0, NULL), 0); /* at its old place */
	CHECK_INT(s.jobs[0].losses, 1);
	s.now_ms += 1000;
	ends(&s, 0);
	CHECK_INT(take(&s, 0, NULL), 1);
}

TEST(urgent_ones_go_first)
{
	static struct sim s;
	sim_init(&s);
	known_cost(&s, 0);
	known_cost(&s, 1);
	submit(&s, 0, 0, false);
	int u1 = submit(&s, 0, 0, true), u2 = submit(&s, 0, 0, true);
	int b = submit(&s, 0, 1, false);
	worker_comes(&s, 0, 1);
	CHECK_INT(take(&s, 0, NULL), u1);
	s.now_ms += 9000;
	worker_comes(&s, 1, 1);
	/* u2 and 0 are better where their hint is, which is free in a second */
	CHECK_INT(take(&s, 1, NULL), b);
	/* it goes: they keep their order and urgency */
	worker_goes(&s, 0);
	s.workers[1].capacity = 9;
	int u3 = submit(&s, 0, 1, true);
	CHECK_INT(take(&s, 1, NULL), u1);
	CHECK_INT(take(&s, 1, NULL), u2);
	CHECK_INT(take(&s, 1, NULL), u3);
	CHECK_INT(take(&s, 1, NULL), 0);
}

TEST(urgent_ones_go_first_at_the_worker_that_has_their_cache)
{
	static struct sim s;
	sim_init(&s);
	known_cost(&s, 0);
	known_cost(&s, 1);
	worker_comes(&s, 0, 1);
	worker_comes(&s, 1, 2);
	submit(&s, 0, 0, true);
	CHECK_INT(take(&s, 0, NULL), 0);
	s.now_ms += 9500;
	int late = submit(&s, 0, 0, false);
	int b1 = submit(&s, 0, 1, false);
	CHECK_INT(take(&s, 1, NULL), b1);
	int u1 = submit(&s, 0, 0, true), b2 = submit(&s, 0, 1, false), u2 = submit(&s, 0, 0, true);
	CHECK_INT(take(&s, 1, NULL), b2);
	s.now_ms += 500;
	ends(&s, 0);
	s.workers[0].capacity = 3;
	CHECK_INT(take(&s, 0, NULL), u1);
	CHECK_INT(take(&s, 0, NULL), u2);
	CHECK_INT(take(&s, 0, NULL), late);
}

TEST(a_paused_worker_is_not_waited_for)
{
	static struct sim s;
	two_workers(&s);
	submit(&s, 0, 0, false);
	submit(&s, 0, 0, false);
	CHECK_INT(take(&s, 0, NULL), 0);
	s.now_ms += 5000;
	CHECK_INT(take(&s, 1, NULL), -1);
	s.workers[0].paused = true;
	CHECK_INT(take(&s, 1, NULL), 1);
}

TEST(clients_share)
{
	static struct sim s;
	sim_init(&s);
	worker_comes(&s, 0, 1);
	worker_comes(&s, 1, 1);
	int a1 = submit(&s, 0, -1, false), a2 = submit(&s, 0, -1, false), a3 = submit(&s, 0, -1, false);
	CHECK_INT(take(&s, 0, NULL), a1);
	CHECK_INT(take(&s, 1, NULL), a2);
	int b1 = submit(&s, 1, -1, false), b2 = submit(&s, 1, -1, false);
	s.workers[0].capacity = 9;
	CHECK_INT(take(&s, 0, NULL), b1); /* the second client's are not all last */
	CHECK_INT(take(&s, 0, NULL), a3);
	CHECK_INT(take(&s, 0, NULL), b2);
}

TEST(clients_share_by_their_rates)
{
	static struct sim s;
	int got[2] = {0};
	sim_init(&s);
	s.clients[0].rate = 5 * POOL_RATE_ONE;
	worker_comes(&s, 0, 36);
	for (int i = 0; i < 60; i++) {
		submit(&s, 0, -1, false);
		submit(&s, 1, -1, false);
	}
	for (int i = 0; i < 36; i++)
		got[s.jobs[take(&s, 0, NULL)].client]++;
	CHECK_INT(got[0], 30);
	CHECK_INT(got[1], 6);
}

TEST(who_comes_late_does_not_wait_for_all_who_came_before)
{
	static struct sim s;
	sim_init(&s);
	worker_comes(&s, 0, 1);
	for (int i = 0; i < 50; i++) {
		submit(&s, 0, -1, false);
		submit(&s, 1, -1, false);
	}
	for (int i = 0; i < 20; i++) {
		int j = take(&s, 0, NULL);
		s.now_ms += 60000;
		ends(&s, j);
	}
	int late = submit(&s, 2, -1, false);
	int after = 0;
	while (take(&s, 0, NULL) != late) {
		s.workers[0].running = 0;
		after++;
	}
	CHECK(after <= 2);
	/* and who was away has saved nothing up */
	int first = submit(&s, 3, -1, false), second = submit(&s, 3, -1, false);
	s.workers[0].capacity = 99;
	CHECK(take(&s, 0, NULL) == first || take(&s, 0, NULL) == first || take(&s, 0, NULL) == first);
	CHECK(take(&s, 0, NULL) != second);
}

TEST(wrong_guesses_are_put_right)
{
	static struct sim s;
	sim_init(&s);
	worker_comes(&s, 0, 1);
	/* the first client's jobs take an hour, the second's a second; all were guessed alike */
	for (int i = 0; i < 40; i++) {
		submit(&s, 0, 0, false);
		submit(&s, 1, 1, false);
	}
	int64_t time[2] = {0};
	for (int i = 0; i < 40; i++) {
		int j = take(&s, 0, NULL);
		int64_t takes = s.jobs[j].client ? 1000 : 3600000;
		s.now_ms += takes;
		time[s.jobs[j].client] += takes;
		ends(&s, j);
	}
	CHECK_INT(time[0], 3600000);
}

TEST(means)
{
	struct pool_cost c = {0}, none = {0};
	struct pool_hint h = {.cost = {0}};
	CHECK_INT(pool_estimate(&none, NULL, true), POOL_UNKNOWN_MS);
	CHECK_INT(pool_estimate(&none, &h, false), POOL_UNKNOWN_MS);
	for (int i = 0; i < 4; i++)
		pool_cost_add(&c, false, 1000 * (i + 1));
	CHECK_INT(c.cold_ms, 2500);
	pool_cost_add(&c, true, 100);
	CHECK_INT(pool_estimate(&c, &h, true), 100);
	CHECK_INT(pool_estimate(&c, &h, false), 2500);
	h.cost.cold_ms = 50;
	h.cost.cold_n = 1;
	CHECK_INT(pool_estimate(&c, &h, true), 50); /* a cache makes nothing slower */
	for (int i = 0; i < 100; i++)
		pool_cost_add(&c, false, 9000);
	CHECK(c.cold_ms > 8900 && c.cold_ms <= 9000);
}

/* -- random histories -------------------------------------------------------------------------------------------------- */

static uint64_t seed;
static int rnd(int n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (int)((seed >> 33) % (uint64_t)n);
}

static void check_capacities(const struct sim *s)
{
	uint32_t running[WORKERS] = {0};
	for (int i = 0; i < s->n_jobs; i++)
		if (s->jobs[i].state == RUNS)
			running[s->jobs[i].worker]++;
	for (int w = 0; w < WORKERS; w++) {
		CHECK(running[w] <= s->workers[w].capacity);
		CHECK_INT(running[w], s->workers[w].running);
	}
}

/* Everybody takes what is there for them; who gets nothing asks again when it was told to. */
static int64_t take_all(struct sim *s)
{
	int64_t again = INT64_MAX;
	for (int w = 0; w < WORKERS; w++) {
		if (!s->workers[w].there || s->workers[w].paused)
			continue;
		while (s->workers[w].running < s->workers[w].capacity) {
			int64_t more = -1;
			int i = take(s, w, &more);
			if (i < 0) {
				if (more >= 0 && more + 1 < again)
					again = more + 1;
				break;
			}
			int64_t takes = s->jobs[i].warm ? 50 + rnd(100) : 500 + rnd(3000);
			s->jobs[i].ends_ms = s->now_ms + takes;
		}
	}
	return again;
}

static bool step(struct sim *s, int64_t again)
{
	int next = -1;
	for (int i = 0; i < s->n_jobs; i++)
		if (s->jobs[i].state == RUNS && (next < 0 || s->jobs[i].ends_ms < s->jobs[next].ends_ms))
			next = i;
	if (next >= 0 && (again == INT64_MAX || s->jobs[next].ends_ms <= s->now_ms + again)) {
		if (s->now_ms < s->jobs[next].ends_ms)
			s->now_ms = s->jobs[next].ends_ms;
		ends(s, next);
		return true;
	}
	if (again == INT64_MAX)
		return false;
	s->now_ms += again;
	return true;
}

TEST(no_job_is_lost_and_none_runs_twice_at_once)
{
	static struct sim s;
	for (seed = 1; seed < 300; seed += 2) {
		uint64_t began = seed;
		sim_init(&s);
		worker_comes(&s, 0, 1 + (uint32_t)rnd(3));
		for (int k = 0; k < 600; k++) {
			int w = rnd(WORKERS);
			switch (rnd(12)) {
			case 0:
				if (!s.workers[w].there)
					worker_comes(&s, w, 1 + (uint32_t)rnd(3));
				break;
			case 1:
				if (rnd(4) == 0)
					worker_goes(&s, w);
				break;
			case 2:
				s.workers[w].paused = !s.workers[w].paused;
				break;
			case 3:
			case 4:
			case 5:
				if (s.n_jobs < JOBS)
					submit(&s, rnd(CLIENTS), rnd(HINTS + 1) - 1, rnd(10) == 0);
				break;
			default:
				step(&s, take_all(&s));
				break;
			}
			check_capacities(&s);
		}
		/* in the end one worker that is there gets through all of it */
		for (int w = 0; w < WORKERS; w++)
			s.workers[w].paused = false;
		if (!s.workers[0].there)
			worker_comes(&s, 0, 2);
		for (int k = 0; step(&s, take_all(&s)); k++)
			CHECK_MSG(k < 100000, "seed %llu: goes on for ever", (unsigned long long)began);
		for (int i = 0; i < s.n_jobs; i++) {
			CHECK_MSG(s.jobs[i].state == ENDED, "seed %llu: job %d is left", (unsigned long long)began, i);
			CHECK_INT(s.jobs[i].runs, s.jobs[i].losses + 1);
		}
		seed = began;
	}
}

/* Two clients that both have work waiting: what they were given differs by one job of each at most, at every moment. */
TEST(nobody_gets_far_ahead)
{
	static struct sim s;
	for (seed = 1; seed < 200; seed += 2) {
		uint64_t began = seed;
		int64_t most = 0;
		sim_init(&s);
		worker_comes(&s, 0, 1);
		s.cost = (struct pool_cost){.cold_ms = 1000, .cold_n = 1};
		for (int i = 0; i < 150; i++) {
			submit(&s, 0, -1, false);
			submit(&s, 1, -1, false);
		}
		for (int i = 0; i < 120; i++) {
			int j = take(&s, 0, NULL);
			int64_t takes = 100 + rnd(s.jobs[j].client ? 200 : 5000);
			most = takes > most ? takes : most;
			s.now_ms += takes;
			ends(&s, j);
			int64_t d = s.served_ms[0] - s.served_ms[1];
			CHECK_MSG(d <= 2 * most && d >= -2 * most, "seed %llu: %lld ms ahead",
				  (unsigned long long)began, (long long)d);
		}
		seed = began;
	}
}

/* No job waits for a cache longer than that saves. */
TEST(nobody_waits_for_a_cache_for_long)
{
	static struct sim s;
	for (seed = 1; seed < 100; seed += 2) {
		uint64_t began = seed;
		sim_init(&s);
		known_cost(&s, 0);
		worker_comes(&s, 0, 1);
		worker_comes(&s, 1, 1);
		for (int i = 0; i < 100; i++)
			submit(&s, rnd(2), rnd(3) ? 0 : -1, false);
		for (int k = 0; k < 1000; k++) {
			int64_t again = take_all(&s);
			for (int i = 0; i < s.n_jobs; i++)
				CHECK(s.jobs[i].state != WAITS || !s.jobs[i].passed_ms ||
				      s.now_ms - s.jobs[i].passed_ms <= 10000 ||
				      s.workers[0].running + s.workers[1].running == 2);
			if (!step(&s, again))
				break;
		}
		seed = began;
	}
}
