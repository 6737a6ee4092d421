// SPDX-License-Identifier: Apache-2.0
/* The upgrade that an environment is in the middle of, and the log of those that were. */
#include <stdio.h>

#include "base/vec.h"
#include "env/state.h"

enum { MAX_DETAIL = 1 << 20 };

static void copy_boot_id(char to[37], struct str from)
{
	size_t n = from.n < 36 ? from.n : 36;
	memcpy(to, from.p, n);
	memset(to + n, 0, 37 - n);
}

static void read_operation(db_query *q, struct arena *a, struct env_operation *ret)
{
	*ret = (struct env_operation){
		.id = db_str(q, 0, a),
		.state = db_str(q, 1, a),
		.one_shot = db_int(q, 2) != 0,
		.from = (uint32_t)db_int(q, 3),
		.to = (uint32_t)db_int(q, 4),
		.who = db_str(q, 5, a),
		.command = db_str(q, 6, a),
		.started_ms = db_int(q, 7),
		.timer = {.length_ms = db_int(q, 8),
			  .left_ms = db_int(q, 9),
			  .boot_deadline_ms = db_int(q, 10),
			  .wall_deadline_ms = db_int(q, 11),
			  .stopped = db_int(q, 13) != 0},
		.detail = db_str(q, 14, a),
	};
	copy_boot_id(ret->timer.boot_id, db_str(q, 12, a));
}

int env_operation_get(struct env_state *st, struct arena *a, struct str env, struct env_operation *ret, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (env_name_check(env, e) < 0)
		return -1;
	if (!st->db)
		return 0;
	if (db_prepare(
		    st,
		    "SELECT id, state, one_shot, from_gen, to_gen, who, command, started_ms, timer_ms, timer_left_ms,"
		    " timer_boot_ms, timer_wall_ms, timer_boot_id, timer_stopped, detail FROM operation WHERE env = ?1",
		    &q, e) < 0)
		return -1;
	db_bind_str(q, 1, env);
	int rc = db_step(q, e);
	if (rc > 0)
		read_operation(q, a, ret);
	return rc;
}

int env_operation_put(struct env_hold *h, const struct env_operation *op, struct err *e)
{
	const struct env_timer *t = &op->timer;
	if (op->detail.n > MAX_DETAIL)
		return err_new(e, ERR_LIMIT, "the operation's detail has %zu bytes; at most %d are kept", op->detail.n,
			       MAX_DETAIL);
	if (db_begin(h->st, e) < 0)
		return -1;
	int rc = db_run(
		h->st, e,
		"INSERT OR REPLACE INTO operation (env, id, state, one_shot, from_gen, to_gen, who, command, started_ms,"
		" timer_ms, timer_left_ms, timer_boot_ms, timer_wall_ms, timer_boot_id, timer_stopped, detail)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
		"sssiiissiiiiisis", str_c(h->name), op->id, op->state, (int64_t)op->one_shot, (int64_t)op->from,
		(int64_t)op->to, op->who, op->command, op->started_ms, t->length_ms, t->left_ms, t->boot_deadline_ms,
		t->wall_deadline_ms, str_c(t->boot_id), (int64_t)t->stopped, op->detail);
	return db_end(h->st, rc, e);
}

int env_operation_end(struct env_hold *h, struct err *e)
{
	if (db_begin(h->st, e) < 0)
		return -1;
	int rc = db_run(h->st, e, "DELETE FROM operation WHERE env = ?1", "s", str_c(h->name));
	return db_end(h->st, rc, e);
}

int env_operation_list(struct env_state *st, struct arena *a, struct str **ret, size_t *ret_n, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	VEC(struct str) list = {0};
	int rc = 0;
	if (st->db && db_prepare(st, "SELECT env FROM operation ORDER BY env", &q, e) < 0)
		return -1;
	while (q && (rc = db_step(q, e)) > 0)
		vec_push(&list, db_str(q, 0, a));
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

int env_operation_log(struct env_hold *h, struct str id, const struct env_operation_step *s, struct err *e)
{
	if (db_begin(h->st, e) < 0)
		return -1;
	int rc = db_run(h->st, e,
			"INSERT INTO operation_step (operation, member, name, result, started_ms, ended_ms)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
			"sissii", id, (int64_t)s->member, s->name, s->result, s->started_ms, s->ended_ms);
	return db_end(h->st, rc, e);
}

int env_operation_steps(struct env_state *st, struct arena *a, struct str id, struct env_operation_step **ret,
			size_t *ret_n, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	VEC(struct env_operation_step) list = {0};
	int rc = 0;
	if (st->db && db_prepare(st,
				 "SELECT name, result, member, started_ms, ended_ms FROM operation_step"
				 " WHERE operation = ?1 ORDER BY id",
				 &q, e) < 0)
		return -1;
	if (q)
		db_bind_str(q, 1, id);
	while (q && (rc = db_step(q, e)) > 0)
		*vec_add(&list) = (struct env_operation_step){
			.name = db_str(q, 0, a),
			.result = db_str(q, 1, a),
			.member = (uint32_t)db_int(q, 2),
			.started_ms = db_int(q, 3),
			.ended_ms = db_int(q, 4),
		};
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

int env_history_add(struct env_hold *h, const struct env_history_entry *x, struct err *e)
{
	if (db_begin(h->st, e) < 0)
		return -1;
	return db_end(h->st, db_history(h->st, str_c(h->name), x, e), e);
}
