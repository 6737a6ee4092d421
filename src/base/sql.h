// SPDX-License-Identifier: Apache-2.0
#pragma once
/*
 * sql: an SQLite file in which each part of a module keeps tables of its own (a mirror's mirror.db, jobs.db of the builds).
 *
 *	static const char *const schema[] = {"CREATE TABLE client (…)", "ALTER TABLE client …"};
 *	auto_ptr(sql) db = NULL;
 *	if (sql_open(path, 0, &db, e) < 0 || sql_part(db, "enroll", schema, 2, e) < 0) …
 *
 *	auto_ptr(sql_query) q = NULL;
 *	if (sql_prepare(db, "SELECT name FROM client WHERE id = ?1", &q, e) < 0) …
 *	sql_bind_int(q, 1, id);
 *	while ((rc = sql_step(q, e)) > 0) name = sql_str(q, 0, &arena);
 *
 * A connection belongs to one thread; any number of threads and processes open the file at once. Readers never wait (it is in
 * write-ahead mode); writers wait for each other for at most 15 s (ERR_BUSY): transactions are short, a long piece of work
 * commits every few thousand rows. What is committed is on disk. A commit is a fault point (base/sys.h).
 * Times are milliseconds since 1970 UTC.
 */
#include <sqlite3.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"

struct sql {
	sqlite3 *db;
	char *path;
};
enum sql_open_flags {
	SQL_RO = 1 << 0, /* ERR_NOT_FOUND where there is none yet */
};
int sql_open(const char *path, enum sql_open_flags flags, struct sql **ret, struct err *e);
void sql_close(struct sql *s);
DEFINE_AUTO(struct sql *, sql, sql_close);
/* Brings the tables of one part up to date: text i of `texts` leads from version i to i + 1. One that was ever released is never
 * edited. ERR_UNSUPPORTED where a newer program made them. */
int sql_part(struct sql *s, const char *part, const char *const *texts, int n, struct err *e);

typedef sqlite3_stmt sql_query;
void sql_query_free(sql_query *q);
DEFINE_AUTO(sql_query *, sql_query, sql_query_free);
int sql_prepare(struct sql *s, const char *text, sql_query **ret, struct err *e);
void sql_bind_str(sql_query *q, int at, struct str v);
void sql_bind_int(sql_query *q, int at, int64_t v);
void sql_bind_bytes(sql_query *q, int at, const void *p, size_t n); /* copied; NULL binds NULL */
int sql_step(sql_query *q, struct err *e);			    /* 1 a row, 0 done, -1 */
void sql_reset(sql_query *q);					    /* to be bound and stepped once more */
int64_t sql_int(sql_query *q, int column);
struct str sql_str(sql_query *q, int column, struct arena *a); /* a copy in a; "" for NULL */
/* Until the next step; STR_NONE for NULL. */
struct str sql_view(sql_query *q, int column);
int64_t sql_last_id(struct sql *s);
int64_t sql_changed(struct sql *s); /* rows of the last statement */

int sql_begin(struct sql *s, struct err *e);
/* Commits where `rc`, what became of the transaction's statements, is not negative; else takes them back. 0 or -1. */
int sql_end(struct sql *s, int rc, struct err *e);
/* One statement with a few arguments, by format: 's' struct str, 'i' int64_t. */
int sql_run(struct sql *s, struct err *e, const char *text, const char *types, ...);
