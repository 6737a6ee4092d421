// SPDX-License-Identifier: Apache-2.0
/* A pool out of jobs.db, and what a choice in it changes there. */
#include <stdio.h>
#include <sys/random.h>

#include "job/rows.h"

/* -- reading a pool ------------------------------------------------------------------------------------------------ */

struct loading {
	struct job_queue *q;
	struct str pool;
	struct arena *a;
	VEC(struct pool_hint *) hints;
	VEC(struct pool_client *) clients;
	VEC(struct pool_worker) workers;
	VEC(struct pool_job) jobs;
};

static void loading_release(struct loading *l)
{
	vec_release(&l->hints);
	vec_release(&l->clients);
	vec_release(&l->workers);
	vec_release(&l->jobs);
}
#define auto_loading cleanup_with(loading_release) struct loading

static int prepare_in_pool(struct loading *l, const char *text, sql_query **ret, struct err *e)
{
	if (sql_prepare(l->q->db, text, ret, e) < 0)
		return -1;
	sql_bind_str(*ret, 1, l->pool);
	return 0;
}

static int read_cost(struct loading *l, struct str hint, struct pool_cost *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (prepare_in_pool(l, "SELECT cold_ms, cold_n, warm_ms, warm_n FROM cost WHERE pool = ?1 AND hint = ?2", &q,
			    e) < 0)
		return -1;
	sql_bind_str(q, 2, hint);
	int rc = sql_step(q, e);
	*ret = (struct pool_cost){0};
	if (rc > 0)
		*ret = (struct pool_cost){.cold_ms = sql_int(q, 0),
					  .cold_n = (uint32_t)sql_int(q, 1),
					  .warm_ms = sql_int(q, 2),
					  .warm_n = (uint32_t)sql_int(q, 3)};
	return rc < 0 ? -1 : 0;
}

static int read_stores(struct loading *l, struct pool_hint *h, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	VEC(struct str) stores = {0};
	if (prepare_in_pool(l, "SELECT store FROM hint WHERE pool = ?1 AND name = ?2 ORDER BY store", &q, e) < 0)
		return -1;
	sql_bind_str(q, 2, h->name);
	int rc;
	while ((rc = sql_step(q, e)) > 0)
		vec_push(&stores, sql_str(q, 0, l->a));
	h->stores = vec_copy(&stores, l->a);
	h->n_stores = stores.n;
	vec_release(&stores);
	return rc;
}

/* Hints of those that wait are few; NULL for none. */
static int find_hint(struct loading *l, struct str name, const struct pool_hint **ret, struct err *e)
{
	*ret = NULL;
	if (!name.n)
		return 0;
	vec_foreach(h, &l->hints)
		if (str_eq((*h)->name, name)) {
			*ret = *h;
			return 0;
		}
	struct pool_hint *h = arena_new(l->a, struct pool_hint);
	h->name = name;
	if (read_cost(l, name, &h->cost, e) < 0 || read_stores(l, h, e) < 0)
		return -1;
	vec_push(&l->hints, h);
	*ret = h;
	return 0;
}

static int find_client(struct loading *l, struct str name, struct pool_client **ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	vec_foreach(c, &l->clients)
		if (str_eq((*c)->name, name)) {
			*ret = *c;
			return 0;
		}
	if (prepare_in_pool(l, "SELECT rate, served_ms FROM client WHERE pool = ?1 AND name = ?2", &q, e) < 0)
		return -1;
	sql_bind_str(q, 2, name);
	int rc = sql_step(q, e);
	struct pool_client *c = arena_new(l->a, struct pool_client);
	*c = (struct pool_client){.name = name, .rate = POOL_RATE_ONE};
	if (rc > 0) {
		c->rate = (uint32_t)sql_int(q, 0);
		c->served_ms = sql_int(q, 1);
	}
	vec_push(&l->clients, c);
	*ret = c;
	return rc < 0 ? -1 : 0;
}

static int load_jobs(struct loading *l, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (prepare_in_pool(l,
			    "SELECT id, client, hint, urgent, here, passed_ms FROM job WHERE pool = ?1 AND ended_ms = 0"
			    " AND state = 0 AND cancel = 0 ORDER BY id",
			    &q, e) < 0)
		return -1;
	int rc;
	while ((rc = sql_step(q, e)) > 0) {
		struct pool_job *j = vec_add(&l->jobs);
		*j = (struct pool_job){.id = (uint64_t)sql_int(q, 0),
				       .urgent = sql_int(q, 3),
				       .here = sql_int(q, 4),
				       .passed_ms = sql_int(q, 5)};
		if (find_client(l, sql_str(q, 1, l->a), &j->client, e) < 0 ||
		    find_hint(l, sql_str(q, 2, l->a), &j->hint, e) < 0)
			return -1;
	}
	return rc;
}

/* What runs on a worker, and when it is expected to end. */
static int load_running(struct loading *l, struct pool_worker *w, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	VEC(int64_t) ends = {0};
	if (prepare_in_pool(l,
			    "SELECT started_ms + estimate_ms FROM job WHERE pool = ?1 AND ended_ms = 0 AND state = 2"
			    " AND worker = ?2 ORDER BY id",
			    &q, e) < 0)
		return -1;
	sql_bind_str(q, 2, w->name);
	int rc;
	while ((rc = sql_step(q, e)) > 0)
		vec_push(&ends, sql_int(q, 0));
	w->ends_ms = vec_copy(&ends, l->a);
	w->running = (uint32_t)ends.n;
	vec_release(&ends);
	return rc;
}

static int load_workers(struct loading *l, const struct queue_worker *me, struct queue_view *v, struct err *e)
{
	struct job_worker *w;
	size_t n;
	if (queue_workers(l->q, l->pool, l->a, &w, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct pool_worker *p = vec_add(&l->workers);
		*p = (struct pool_worker){.name = w[i].name,
					  .store = w[i].store,
					  .capacity = w[i].capacity,
					  .active = w[i].state == JOB_WORKER_READY};
		v->n_active += p->active;
		v->n_paused += w[i].state == JOB_WORKER_PAUSED || w[i].state == JOB_WORKER_DRAINING;
		if (load_running(l, p, e) < 0)
			return -1;
	}
	if (me && me->only)
		*vec_add(&l->workers) = (struct pool_worker){.name = me->name, .store = me->store, .capacity = 1};
	return 0;
}

static int count_here(struct loading *l, uint32_t *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (prepare_in_pool(l,
			    "SELECT count(*) FROM job JOIN worker ON worker.pool = job.pool AND worker.name = job.worker"
			    " WHERE job.pool = ?1 AND job.ended_ms = 0 AND job.state = 2 AND worker.only != 0",
			    &q, e) < 0 ||
	    sql_step(q, e) < 0)
		return -1;
	*ret = (uint32_t)sql_int(q, 0);
	return 0;
}

static int load_virtual(struct loading *l, int64_t *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (prepare_in_pool(l, "SELECT virtual_ms FROM pool WHERE name = ?1", &q, e) < 0)
		return -1;
	int rc = sql_step(q, e);
	*ret = rc > 0 ? sql_int(q, 0) : 0;
	return rc < 0 ? -1 : 0;
}

int queue_load(struct job_queue *q, struct str pool, const struct queue_worker *w, struct arena *a,
	       struct queue_view *ret, struct err *e)
{
	auto_loading l = {.q = q, .pool = pool, .a = a};
	struct pool *p = &ret->pool;
	*ret = (struct queue_view){0};
	if (read_cost(&l, STR(""), &p->cost, e) < 0 || load_virtual(&l, &p->virtual_ms, e) < 0 ||
	    load_jobs(&l, e) < 0 || load_workers(&l, w, ret, e) < 0 || count_here(&l, &ret->here_running, e) < 0)
		return -1;
	p->jobs = vec_copy(&l.jobs, a);
	p->n_jobs = l.jobs.n;
	p->workers = vec_copy(&l.workers, a);
	p->n_workers = l.workers.n;
	for (size_t i = 0; w && i < p->n_workers; i++)
		if (str_eq(p->workers[i].name, w->name))
			ret->me = &p->workers[i];
	pool_order(p);
	return 0;
}

/* -- clocks and costs ---------------------------------------------------------------------------------------------- */

static int write_client(struct job_queue *q, struct str pool, const struct pool_client *c, struct err *e)
{
	return sql_run(q->db, e, "INSERT OR REPLACE INTO client (pool, name, rate, served_ms) VALUES (?1, ?2, ?3, ?4)",
		       "ssii", pool, c->name, (int64_t)c->rate, c->served_ms);
}

int queue_client_comes(struct job_queue *q, struct str pool, struct str client, struct arena *a, struct err *e)
{
	auto_loading l = {.q = q, .pool = pool, .a = a};
	auto_ptr(sql_query) query = NULL;
	struct pool p = {0};
	struct pool_client *c;
	if (load_virtual(&l, &p.virtual_ms, e) < 0 || find_client(&l, client, &c, e) < 0 ||
	    prepare_in_pool(&l, "SELECT 1 FROM job WHERE pool = ?1 AND ended_ms = 0 AND state = 0 AND client = ?2",
			    &query, e) < 0)
		return -1;
	sql_bind_str(query, 2, client);
	int rc = sql_step(query, e);
	if (rc < 0)
		return -1;
	pool_client_comes(&p, c, rc > 0);
	return write_client(q, pool, c, e);
}

static int client_starts(struct job_queue *q, struct str pool, struct pool *p, struct pool_client *c, int64_t charge_ms,
			 struct err *e)
{
	pool_client_starts(p, c, charge_ms);
	return write_client(q, pool, c, e) < 0
		       ? -1
		       : sql_run(q->db, e, "INSERT OR REPLACE INTO pool (name, virtual_ms) VALUES (?1, ?2)", "si", pool,
				 p->virtual_ms);
}

int queue_client_corrects(struct job_queue *q, struct str pool, struct str client, int64_t by_ms, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_loading l = {.q = q, .pool = pool, .a = &a};
	struct pool_client *c;
	if (find_client(&l, client, &c, e) < 0)
		return -1;
	pool_client_corrects(c, by_ms);
	return write_client(q, pool, c, e);
}

int job_client_rate(struct job_queue *q, struct str pool, struct str client, uint32_t rate, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_loading l = {.q = q, .pool = pool, .a = &a};
	struct pool_client *c;
	if (job_name_check(pool, "pool", e) < 0 || job_name_check(client, "client", e) < 0)
		return -1;
	if (rate < 1 || rate > JOB_RATE_MAX)
		return err_new(e, ERR_USAGE, "a rate is 0.001 to %d", JOB_RATE_MAX / 1000);
	if (sql_begin(q->db, e) < 0)
		return -1;
	int rc = find_client(&l, client, &c, e);
	if (rc == 0) {
		c->rate = rate;
		rc = write_client(q, pool, c, e);
	}
	return sql_end(q->db, rc, e);
}

static int add_cost(struct loading *l, struct str hint, bool warm, int64_t ms, struct err *e)
{
	struct pool_cost c;
	if (read_cost(l, hint, &c, e) < 0)
		return -1;
	pool_cost_add(&c, warm, ms);
	return sql_run(l->q->db, e,
		       "INSERT OR REPLACE INTO cost (pool, hint, cold_ms, cold_n, warm_ms, warm_n, used_ms)"
		       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		       "ssiiiii", l->pool, hint, c.cold_ms, (int64_t)c.cold_n, c.warm_ms, (int64_t)c.warm_n,
		       queue_now(l->q));
}

int queue_measured(struct job_queue *q, struct str pool, struct str hint, bool warm, int64_t ms, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_loading l = {.q = q, .pool = pool, .a = &a};
	if (add_cost(&l, STR(""), warm, ms, e) < 0 || (hint.n && add_cost(&l, hint, warm, ms, e) < 0))
		return -1;
	/* the oldest go where there are too many of them */
	return sql_run(q->db, e,
		       "DELETE FROM cost WHERE hint != '' AND (pool, hint) IN"
		       " (SELECT pool, hint FROM cost ORDER BY used_ms DESC LIMIT -1 OFFSET ?1)",
		       "i", (int64_t)QUEUE_HINTS_MAX);
}

/* -- taking -------------------------------------------------------------------------------------------------------- */

void queue_make_key(char out[QUEUE_KEY_SIZE])
{
	uint8_t bytes[(QUEUE_KEY_SIZE - 1) / 2];
	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		panic("no random numbers");
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* A submitter that runs its own job: when fewer of its kind are before it than there is room for. */
static struct pool_choice choose_own(const struct job_queue *q, const struct queue_worker *w, struct queue_view *v)
{
	struct pool_choice c = {.again_ms = -1};
	const struct job_pool_config *config = queue_pool(q, w->pool);
	uint32_t room = config && config->capacity > v->here_running ? config->capacity - v->here_running : 0;
	uint32_t before = 0;
	for (size_t i = 0; i < v->pool.n_jobs; i++) {
		struct pool_job *j = &v->pool.jobs[i];
		if (j->id == w->only && before < room) {
			c.job = j;
			c.warm = pool_is_cached(j->hint, w->store);
			c.estimate_ms = pool_estimate(&v->pool.cost, j->hint, c.warm);
			return c;
		}
		before += j->here;
	}
	return c;
}

static int write_passed(struct job_queue *q, const struct pool *p, int64_t now, struct err *e)
{
	for (size_t i = 0; i < p->n_jobs; i++)
		if (p->jobs[i].passed_ms == now &&
		    sql_run(q->db, e, "UPDATE job SET passed_ms = ?2 WHERE id = ?1 AND passed_ms = 0", "ii",
			    (int64_t)p->jobs[i].id, now) < 0)
			return -1;
	return 0;
}

static int write_taken(struct job_queue *q, const struct queue_worker *w, struct queue_view *v,
		       const struct pool_choice *c, struct queue_taken *ret, struct err *e)
{
	struct str hint = c->job->hint ? c->job->hint->name : STR("");
	int64_t now = queue_now(q);
	queue_make_key(ret->key);
	if (sql_run(q->db, e,
		    "UPDATE job SET state = 2, worker = ?2, host = ?3, run = ?4, key = ?5, warm = ?6, estimate_ms = ?7,"
		    " started_ms = ?8, front_ms = max(front_ms, 1) WHERE id = ?1",
		    "issisiii", (int64_t)c->job->id, w->name, w->host, w->run, str_c(ret->key), (int64_t)c->warm,
		    c->estimate_ms, now) < 0)
		return -1;
	if (hint.n &&
	    sql_run(q->db, e, "INSERT OR REPLACE INTO hint (pool, name, store, used_ms) VALUES (?1, ?2, ?3, ?4)",
		    "sssi", w->pool, hint, w->store, now) < 0)
		return -1;
	if (hint.n && sql_run(q->db, e,
			      "DELETE FROM hint WHERE (pool, name, store) IN"
			      " (SELECT pool, name, store FROM hint ORDER BY used_ms DESC LIMIT -1 OFFSET ?1)",
			      "i", (int64_t)QUEUE_HINTS_MAX) < 0)
		return -1;
	return client_starts(q, w->pool, &v->pool, c->job->client, c->estimate_ms, e);
}

int queue_read_command(struct job_queue *q, uint64_t id, struct arena *a, struct job_command *ret, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	if (sql_prepare(q->db, "SELECT argv, env, dir, time_ms, grace_ms, key FROM job WHERE id = ?1", &query, e) < 0)
		return -1;
	sql_bind_int(query, 1, (int64_t)id);
	if (sql_step(query, e) <= 0)
		return err_new(e, ERR_NOT_FOUND, "no job %llu", (unsigned long long)id);
	*ret = (struct job_command){
		.argv = words_read(sql_str(query, 0, a), a),
		.envp = words_read(sql_str(query, 1, a), a),
		.dir = sql_view(query, 2).n ? sql_str(query, 2, a).p : "/",
		.log = arena_printf(a, "%s/log/%llu", q->dir, (unsigned long long)id),
		.time_ms = sql_int(query, 3),
		.grace_ms = sql_int(query, 4),
		.key = sql_str(query, 5, a).p,
	};
	ret->claim = arena_printf(a, "%s/job/%llu.claim/%s", q->dir, (unsigned long long)id, ret->key);
	return 0;
}

/* In a transaction. 1: taken. */
static int take(struct job_queue *q, const struct queue_worker *w, struct arena *a, struct queue_taken *ret,
		int64_t *ret_again_ms, struct err *e)
{
	struct queue_view v;
	int64_t now = queue_now(q);
	if (queue_load(q, w->pool, w, a, &v, e) < 0)
		return -1;
	if (!v.me)
		return 0;
	struct pool_choice c = w->only ? choose_own(q, w, &v) : pool_choose(&v.pool, v.me, now);
	*ret_again_ms = c.again_ms;
	if (write_passed(q, &v.pool, now, e) < 0)
		return -1;
	if (!c.job)
		return 0;
	if (write_taken(q, w, &v, &c, ret, e) < 0 || job_get(q, c.job->id, a, &ret->info, e) < 0 ||
	    queue_read_command(q, c.job->id, a, &ret->cmd, e) < 0)
		return -1;
	return 1;
}

int queue_take(struct job_queue *q, const struct queue_worker *w, struct arena *a, struct queue_taken *ret,
	       int64_t *ret_again_ms, struct err *e)
{
	uint64_t front = 0;
	*ret_again_ms = -1;
	if (sql_begin(q->db, e) < 0)
		return -1;
	int rc = take(q, w, a, ret, ret_again_ms, e);
	if (rc > 0 && queue_front(q, w->pool, &front, e) < 0)
		rc = -1;
	if (sql_end(q->db, rc, e) < 0)
		return -1;
	if (rc == 0)
		return 0;
	queue_log_say(q, ret->info.id, true, "Got resource from pool %.*s", STR_ARG(w->pool));
	queue_log_say(q, ret->info.id, false, "Building on %.*s", STR_ARG(w->host));
	if (front)
		queue_log_say(q, front, true, "Waiting for worker…");
	queue_tell(q);
	return 1;
}

/* The first of the pool that waits, where nobody has told it yet. */
int queue_front(struct job_queue *q, struct str pool, uint64_t *ret_id, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(sql_query) query = NULL;
	struct queue_view v;
	*ret_id = 0;
	if (queue_load(q, pool, NULL, &a, &v, e) < 0)
		return -1;
	if (!v.pool.n_jobs)
		return 0;
	int64_t id = (int64_t)v.pool.jobs[0].id;
	if (sql_prepare(q->db, "UPDATE job SET front_ms = ?2 WHERE id = ?1 AND front_ms = 0", &query, e) < 0)
		return -1;
	sql_bind_int(query, 1, id);
	sql_bind_int(query, 2, queue_now(q));
	if (sql_step(query, e) < 0)
		return -1;
	*ret_id = sql_changed(q->db) ? (uint64_t)id : 0;
	return 0;
}
