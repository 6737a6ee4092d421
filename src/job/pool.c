// SPDX-License-Identifier: Apache-2.0
#include "job/pool.h"

#include <stdlib.h>

#include "base/err.h"

/* -- cost -------------------------------------------------------------------------------------------------------- */

void pool_cost_add(struct pool_cost *c, bool warm, int64_t ms)
{
	int64_t *mean = warm ? &c->warm_ms : &c->cold_ms;
	uint32_t *n = warm ? &c->warm_n : &c->cold_n;
	*n += *n < UINT32_MAX;
	*mean += (ms - *mean) / (*n < POOL_MEAN_OF ? (int64_t)*n : POOL_MEAN_OF);
}

int64_t pool_estimate(const struct pool_cost *all, const struct pool_hint *h, bool warm)
{
	static const struct pool_cost nothing;
	const struct pool_cost *own = h ? &h->cost : &nothing;
	int64_t cold = own->cold_n ? own->cold_ms : all->cold_n ? all->cold_ms : POOL_UNKNOWN_MS;
	if (!warm)
		return cold;
	if (own->warm_n)
		return own->warm_ms;
	return all->warm_n && all->warm_ms < cold ? all->warm_ms : cold;
}

bool pool_is_cached(const struct pool_hint *h, struct str store)
{
	for (size_t i = 0; h && i < h->n_stores; i++)
		if (str_eq(h->stores[i], store))
			return true;
	return false;
}

/* -- clients ----------------------------------------------------------------------------------------------------- */

static int64_t at_rate(const struct pool_client *c, int64_t ms)
{
	return ms * POOL_RATE_ONE / (c->rate ? c->rate : POOL_RATE_ONE);
}

void pool_client_comes(const struct pool *p, struct pool_client *c, bool waits)
{
	if (!waits && c->served_ms < p->virtual_ms)
		c->served_ms = p->virtual_ms;
}

void pool_client_starts(struct pool *p, struct pool_client *c, int64_t charge_ms)
{
	if (p->virtual_ms < c->served_ms)
		p->virtual_ms = c->served_ms;
	c->served_ms += at_rate(c, charge_ms);
}

void pool_client_corrects(struct pool_client *c, int64_t by_ms)
{
	c->served_ms += at_rate(c, by_ms);
	if (c->served_ms < 0)
		c->served_ms = 0;
}

/* -- order ------------------------------------------------------------------------------------------------------- */

static int cmp_within_client(const void *a, const void *b)
{
	const struct pool_job *x = a, *y = b;
	if (x->client != y->client)
		return x->client < y->client ? -1 : 1;
	if (x->urgent != y->urgent)
		return x->urgent ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static int cmp_order(const void *a, const void *b)
{
	const struct pool_job *x = a, *y = b;
	if (x->urgent != y->urgent)
		return x->urgent ? -1 : 1;
	if (x->tag_ms != y->tag_ms)
		return x->tag_ms < y->tag_ms ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

void pool_order(struct pool *p)
{
	int64_t at = 0;
	if (!p->n_jobs)
		return;
	qsort(p->jobs, p->n_jobs, sizeof(*p->jobs), cmp_within_client);
	for (size_t i = 0; i < p->n_jobs; i++) {
		struct pool_job *j = &p->jobs[i];
		if (i == 0 || j->client != p->jobs[i - 1].client)
			at = j->client->served_ms;
		j->tag_ms = at;
		at += at_rate(j->client, pool_estimate(&p->cost, j->hint, j->hint && j->hint->n_stores));
	}
	qsort(p->jobs, p->n_jobs, sizeof(*p->jobs), cmp_order);
}

/* -- place ------------------------------------------------------------------------------------------------------- */

/* When each place of a worker is free, from now; a heap would be more than these few need. */
struct places {
	int64_t *free_ms;
	uint32_t n;
};

static int64_t *soonest(struct places *s)
{
	int64_t *best = NULL;
	for (uint32_t i = 0; i < s->n; i++)
		if (!best || s->free_ms[i] < *best)
			best = &s->free_ms[i];
	return best;
}

/* What runs longer than was expected is expected to take as long again as it is late. */
static int64_t left_of(const struct pool_worker *w, uint32_t i, int64_t now_ms)
{
	int64_t left = w->ends_ms[i] - now_ms;
	return left >= 0 ? left : -left;
}

static struct places places_of(const struct pool_worker *w, int64_t now_ms)
{
	struct places s = {xcalloc(w->capacity ? w->capacity : 1, sizeof(*s.free_ms)), w->capacity};
	for (uint32_t i = 0; i < w->running && i < w->capacity; i++)
		s.free_ms[i] = left_of(w, i, now_ms);
	return s;
}

/* The place, of workers that hold the job's cache, that is free first. */
static int64_t *place_for(const struct pool *p, struct places *places, const struct pool_job *j,
			  const struct pool_worker *but)
{
	int64_t *best = NULL;
	for (size_t i = 0; i < p->n_workers; i++) {
		const struct pool_worker *w = &p->workers[i];
		if (w == but || !w->active || !pool_is_cached(j->hint, w->store))
			continue;
		int64_t *at = soonest(&places[i]);
		if (at && (!best || *at < *best))
			best = at;
	}
	return best;
}

/* Whether the job is left to another worker, and until when from now. */
static bool is_left(const struct pool *p, struct places *places, struct pool_job *j, const struct pool_worker *w,
		    int64_t now_ms, int64_t *ret_ms)
{
	int64_t warm = pool_estimate(&p->cost, j->hint, true), cold = pool_estimate(&p->cost, j->hint, false);
	int64_t gain = cold - warm > POOL_LEAVE_MS ? cold - warm : POOL_LEAVE_MS;
	int64_t *at = place_for(p, places, j, w);
	if (!at || *at >= gain || (j->passed_ms && now_ms - j->passed_ms >= gain))
		return false;
	if (!j->passed_ms)
		j->passed_ms = now_ms;
	*at += warm;
	*ret_ms = j->passed_ms + gain - now_ms;
	return true;
}

struct pool_choice pool_choose(struct pool *p, const struct pool_worker *w, int64_t now_ms)
{
	struct pool_choice c = {.again_ms = -1};
	struct places *places = xcalloc(p->n_workers + 1, sizeof(*places));
	for (size_t i = 0; i < p->n_workers; i++)
		places[i] = places_of(&p->workers[i], now_ms);
	for (size_t i = 0; i < p->n_jobs && !c.job; i++) {
		struct pool_job *j = &p->jobs[i];
		int64_t until = 0;
		c.warm = pool_is_cached(j->hint, w->store);
		if (!c.warm && is_left(p, places, j, w, now_ms, &until)) {
			if (c.again_ms < 0 || until < c.again_ms)
				c.again_ms = until;
			continue;
		}
		c.job = j;
		c.estimate_ms = pool_estimate(&p->cost, j->hint, c.warm);
	}
	for (size_t i = 0; i < p->n_workers; i++)
		free(places[i].free_ms);
	free(places);
	return c;
}
