// SPDX-License-Identifier: Apache-2.0
/* Pools that another scheduler serves. */
#include "job/rows.h"

static const struct job_backend *const backends[] = {
	&job_slurm,
};

const struct job_backend *job_backend_find(struct str name)
{
	for (size_t i = 0; i < sizeof(backends) / sizeof(*backends); i++)
		if (str_eq_c(name, backends[i]->name))
			return backends[i];
	return NULL;
}

struct str job_pool_setting(const struct job_pool_config *p, const char *name)
{
	for (size_t i = 0; i < p->n_settings; i++)
		if (str_eq_c(p->settings[i].name, name))
			return p->settings[i].value;
	return STR_NONE;
}

static int read_open(struct job_queue *q, const struct job_pool_config *p, struct arena *a, struct job_info **ret,
		     size_t *ret_n, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	VEC(struct job_info) v = {0};
	if (sql_prepare(q->db,
			"SELECT " JOB_COLUMNS " FROM job WHERE pool = ?1 AND ended_ms = 0 AND remote != '' ORDER BY id",
			&query, e) < 0)
		return -1;
	sql_bind_str(query, 1, p->name);
	int rc;
	while ((rc = sql_step(query, e)) > 0)
		vec_push(&v, row_read(q, query, a));
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	return rc;
}

static void say_lost(struct job_queue *q, const struct job_info *was)
{
	queue_log_say(q, was->id, true, "Worker %.*s went away; waiting for resource in pool %.*s once more",
		      STR_ARG(was->worker), STR_ARG(was->pool));
}

/* The first loss is handed over again. */
static int lost(struct job_queue *q, const struct job_info *was, struct job_info *j, struct err *e)
{
	if (j->losses || was->cancelling)
		return backend_ended(q, j, e);
	if (sql_run(q->db, e,
		    "UPDATE job SET losses = 1, state = 0, remote = '', key = '', worker = '', host = '', started_ms = 0"
		    " WHERE id = ?1 AND ended_ms = 0 AND cancel = 0 AND remote = ?2",
		    "is", (int64_t)j->id, was->remote) < 0)
		return -1;
	if (sql_changed(q->db) == 0)
		return 0;
	say_lost(q, was);
	return 0; /* hand_over_all does the rest */
}

static int take_over(struct job_queue *q, const struct job_info *was, struct job_info *j, struct err *e)
{
	bool runs = j->state == JOB_RUNNING;
	if (j->state == JOB_LOST)
		return lost(q, was, j, e);
	if (job_has_ended(j->state))
		return backend_ended(q, j, e);
	if (runs == (was->state == JOB_RUNNING) && j->losses == was->losses && str_eq(j->worker, was->worker))
		return 0;
	if (j->losses > was->losses)
		say_lost(q, was);
	if (runs && j->hint.n && j->worker.n &&
	    sql_run(q->db, e, "INSERT OR REPLACE INTO hint (pool, name, store, used_ms) VALUES (?1, ?2, ?3, ?4)",
		    "sssi", j->pool, j->hint, j->worker, queue_now(q)) < 0)
		return -1;
	return sql_run(q->db, e,
		       "UPDATE job SET state = ?2, worker = ?3, host = ?4, started_ms = ?5, losses = ?6"
		       " WHERE id = ?1 AND ended_ms = 0 AND remote = ?7",
		       "iissiis", (int64_t)j->id, (int64_t)(runs ? JOB_RUNNING : JOB_QUEUED), j->worker, j->host,
		       j->started_ms, (int64_t)j->losses, was->remote);
}

/* Lost ones, and those whose submitter did not come so far. */
static int hand_over_all(struct job_queue *q, const struct job_pool_config *p, struct arena *a, struct err *e)
{
	auto_ptr(sql_query) query = NULL;
	uint64_t *ids;
	size_t n;
	if (sql_prepare(q->db,
			"SELECT id FROM job WHERE pool = ?1 AND ended_ms = 0 AND state = 0 AND remote = '' ORDER BY id",
			&query, e) < 0)
		return -1;
	sql_bind_str(query, 1, p->name);
	if (ids_read(query, a, &ids, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct err refused = ERR_INIT; /* that is how the job has ended, and its log says so */
		if (backend_hand_over(q, ids[i], -1, &refused) < 0) {
			*e = refused;
			return -1;
		}
	}
	return 0;
}

int backend_refresh(struct job_queue *q, struct err *e)
{
	for (size_t i = 0; i < q->n_pools; i++) {
		auto_arena a = ARENA_INIT;
		const struct job_pool_config *p = &q->pools[i];
		struct job_info *v;
		size_t n = 0;
		if (!p->backend)
			continue;
		if (read_open(q, p, &a, &v, &n, e) < 0)
			return -1;
		struct job_info *was = arena_copy(&a, v, n, sizeof(*v));
		if (n && p->backend->poll(p, v, n, &a, e) < 0)
			return err_ctx(e, "pool '%.*s'", STR_ARG(p->name));
		for (size_t k = 0; k < n; k++)
			if (take_over(q, &was[k], &v[k], e) < 0)
				return -1;
		if (hand_over_all(q, p, &a, e) < 0)
			return err_ctx(e, "pool '%.*s'", STR_ARG(p->name));
	}
	return 0;
}
