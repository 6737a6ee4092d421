// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * pool (private to job): which job a worker gets. No I/O, no clock: what is known comes in, a choice goes out.
 *
 * Order. Each client has a clock of its own: it moves on by what its jobs cost, divided by its rate. The job of the client whose clock is
 * behind all others comes first; within a client, by number. A client that comes back after a pause begins where the pool is
 * (virtual_ms), so that nobody saves up time, and nobody waits for those who came before. Urgent jobs come before all others.
 *
 * Cost is what was measured: the mean time of runs with that hint, where it was cached (warm) and where it was not (cold); of the whole
 * pool where the hint is new; POOL_UNKNOWN_MS where nothing was measured. When a job ends, its client's clock is put right.
 *
 * Place. A job whose hint is cached with another worker is left to that one as long as this is sooner: the wait for that one's next
 * free place is shorter than what the cache saves. Jobs left so count as that worker's work, so that no more of them wait for it than pays.
 * What was left once is taken by anybody when that time is over, whatever was expected.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum {
	POOL_UNKNOWN_MS = 60000, /* cost of a job of which nothing is known */
	POOL_LEAVE_MS = 1000,	 /* an idle worker that has the cache has so long at least to take a job */
	POOL_MEAN_OF = 8,	 /* runs that a mean remembers, roughly */
	POOL_RATE_ONE = 1000,	 /* rates are in thousandths */
};

struct pool_cost {
	int64_t cold_ms, warm_ms;
	uint32_t cold_n, warm_n;
};
struct pool_hint {
	struct str name;
	struct pool_cost cost;
	const struct str *stores; /* where it is cached */
	size_t n_stores;
};
struct pool_client {
	struct str name;
	uint32_t rate;	   /* thousandths */
	int64_t served_ms; /* its clock */
};
struct pool_job {
	uint64_t id;
	struct pool_client *client;
	const struct pool_hint *hint; /* NULL: none */
	bool urgent, here;
	int64_t passed_ms; /* when it was first left to another worker; 0: not yet */
	int64_t tag_ms;	   /* set by pool_order: its client's clock when it starts */
};
struct pool_worker {
	struct str name, store;
	uint32_t capacity;
	bool active;		/* takes jobs: there, not paused, not draining */
	const int64_t *ends_ms; /* of what runs there: when it is expected to end */
	uint32_t running;
};
struct pool {
	struct pool_job *jobs; /* that wait */
	size_t n_jobs;
	struct pool_worker *workers;
	size_t n_workers;
	struct pool_cost cost; /* of all hints */
	int64_t virtual_ms;
};

int64_t pool_estimate(const struct pool_cost *all, const struct pool_hint *h, bool warm);
void pool_cost_add(struct pool_cost *c, bool warm, int64_t ms);
bool pool_is_cached(const struct pool_hint *h, struct str store);

/* A job of this client was submitted; `waits`: others of it do already. */
void pool_client_comes(const struct pool *p, struct pool_client *c, bool waits);
/* It starts: the clocks move. Returns what was charged; later the difference to what it took, or all of it where it did not run after all,
 * is put right. */
void pool_client_starts(struct pool *p, struct pool_client *c, int64_t charge_ms);
void pool_client_corrects(struct pool_client *c, int64_t by_ms);

/* Puts the jobs in the order in which they would start on one worker that holds no cache. */
void pool_order(struct pool *p);

struct pool_choice {
	struct pool_job *job; /* NULL: none now */
	bool warm;
	int64_t estimate_ms;
	int64_t again_ms; /* without job: ask again so much later, whatever happens; -1: no need */
};
/* For the worker, which has room; jobs in order. Jobs left to others for the first time get passed_ms. */
struct pool_choice pool_choose(struct pool *p, const struct pool_worker *w, int64_t now_ms);
