// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * state (private to env): ROOT/state.db and the small SQL layer over it.
 *
 * Statements are written where they are used:
 *
 *	auto_ptr(db_query) q = NULL;
 *	if (db_prepare(st, "SELECT current FROM environment WHERE name = ?1", &q, e) < 0) ...
 *	db_bind_str(q, 1, name);
 *	while ((rc = db_step(q, e)) > 0) n = db_int(q, 0);
 *
 * Every writing transaction passes db_commit, which is also a fault point.
 */
#include <sqlite3.h>

#include "env/env.h"

struct env_state {
	sqlite3 *db; /* NULL: opened read-only and there is no state yet */
	int root_fd;
	int env_fd; /* ROOT/env; -1 where there is none yet */
	char *root_path;
	bool read_only;
};

struct env_hold {
	struct env_state *st;
	char *name;
	int lock_fd;
	int dir_fd;	     /* ROOT/env/<name> */
	uint32_t journalled; /* the generation that the journal says is switched to next; 0: none */
	bool journalled_uncommitted;
};

typedef sqlite3_stmt db_query;
void db_query_free(db_query *q);
DEFINE_AUTO(db_query *, db_query, db_query_free);

int db_prepare(struct env_state *st, const char *sql, db_query **ret, struct err *e);
void db_bind_str(db_query *q, int at, struct str s);
void db_bind_int(db_query *q, int at, int64_t v);
void db_bind_bytes(db_query *q, int at, const void *p, int n); /* p must stay until the query is freed */
int db_step(db_query *q, struct err *e);		       /* 1 a row, 0 done, -1 */
void db_reset(db_query *q);				       /* to be bound and stepped once more */
int64_t db_int(db_query *q, int column);
struct str db_str(db_query *q, int column, struct arena *a); /* a copy in a */
int db_begin(struct env_state *st, struct err *e);
int db_commit(struct env_state *st, struct err *e);
void db_rollback(struct env_state *st);
/* Commits where `rc`, what became of the transaction's statements, is not negative; else takes them back. 0 or -1. */
int db_end(struct env_state *st, int rc, struct err *e);
/* One statement with up to a few text and number arguments, by format: 's' struct str, 'i' int64_t. */
int db_run(struct env_state *st, struct err *e, const char *sql, const char *types, ...);

/* Adds a line of history, inside a transaction of the caller's. */
int db_history(struct env_state *st, struct str env, const struct env_history_entry *x, struct err *e);

/* Makes ROOT/env and state.db where they are missing; ERR_NOT_FOUND for a read-only state. */
int state_need(struct env_state *st, struct err *e);
/* Copies into new_fd (generation `number`) whatever generation `from` (0: none) holds that no package owns. What cannot be
 * taken over is listed in `a`. */
struct carry_report {
	uint64_t files;
	const struct env_left *left;
	size_t left_n;
};
int generation_carry(struct env_hold *h, uint32_t from, int new_fd, uint32_t number, struct arena *a,
		     struct carry_report *ret, struct err *e);
/* Puts the mark of a frozen environment, where it has one, and its like into its next generation. */
int frozen_hand_on(struct env_hold *h, int new_fd, struct err *e);
/* What the `current` link of an environment says; 0 none. */
uint32_t state_current_link(int dir_fd);
