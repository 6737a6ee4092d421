// SPDX-License-Identifier: Apache-2.0
/*
 * How an operation ended, from the history. Every way to an operation's end writes a line with its id before the operation is gone from
 * disk: "commit" where it was committed, another one where it was not.
 */
#include "upgrade/run.h"

/* 1: committed; 0: not; -2: there is no line of it. */
static int ended(struct env_state *st, struct arena *a, struct str env, struct str id, struct err *e)
{
	struct env_history_entry *h;
	size_t n;
	int rc = -2;
	if (env_history(st, a, env, &h, &n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!str_eq(h[i].operation_id, id))
			continue;
		bool committed = str_eq_c(h[i].operation, "commit") && str_eq_c(h[i].result, "done");
		rc = rc == 1 || committed;
	}
	return rc;
}

int run_is_committed(const struct run *r, struct err *e)
{
	auto_arena a = ARENA_INIT;
	int rc = ended(r->o->state, &a, r->o->env, r->op.id, e);
	return rc == -2 ? 0 : rc;
}

int upgrade_outcome(struct env_state *st, struct arena *a, struct str env, struct str id, struct str *ret,
		    struct err *e)
{
	auto_arena scratch = ARENA_INIT;
	struct env_operation op;
	enum op_state s;
	int rc = id.n ? env_operation_get(st, &scratch, env, &op, e) : 0;
	if (rc < 0)
		return -1;
	if (rc > 0 && str_eq(op.id, id)) {
		*ret = arena_str(a, op.state);
		return op_state_parse(op.state, &s, e);
	}
	rc = id.n ? ended(st, &scratch, env, id, e) : -2;
	*ret = rc == 1 ? STR("committed") : rc == 0 ? STR("aborted") : STR("unknown");
	return rc == -1 ? -1 : 0;
}
