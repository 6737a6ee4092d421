// SPDX-License-Identifier: Apache-2.0
#include "base/sql.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dl.h"
#include "base/sys.h"

enum { BUSY_MS = 15000 };

#define SQLITE(X)                                                                                                      \
	X(sqlite3_, bind_blob)                                                                                         \
	X(sqlite3_, bind_int64)                                                                                        \
	X(sqlite3_, bind_null)                                                                                         \
	X(sqlite3_, bind_text64)                                                                                       \
	X(sqlite3_, busy_timeout)                                                                                      \
	X(sqlite3_, changes)                                                                                           \
	X(sqlite3_, close)                                                                                             \
	X(sqlite3_, column_bytes)                                                                                      \
	X(sqlite3_, column_int64)                                                                                      \
	X(sqlite3_, column_text)                                                                                       \
	X(sqlite3_, column_blob)                                                                                       \
	X(sqlite3_, column_type)                                                                                       \
	X(sqlite3_, db_filename)                                                                                       \
	X(sqlite3_, db_handle)                                                                                         \
	X(sqlite3_, errcode)                                                                                           \
	X(sqlite3_, errmsg)                                                                                            \
	X(sqlite3_, exec)                                                                                              \
	X(sqlite3_, finalize)                                                                                          \
	X(sqlite3_, last_insert_rowid)                                                                                 \
	X(sqlite3_, open_v2)                                                                                           \
	X(sqlite3_, prepare_v2)                                                                                        \
	X(sqlite3_, reset)                                                                                             \
	X(sqlite3_, step)
DL_LIBRARY(sqlite, "libsqlite3.so.0", SQLITE, NULL);

/* How messages call the file: without its folder. */
static const char *name_of(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	return slash ? slash + 1 : path && *path ? path : "database";
}

static int db_error(sqlite3 *db, const char *what, struct err *e)
{
	int rc = sqlite.errcode(db) & 0xff;
	enum err_code code = rc == SQLITE_BUSY				   ? ERR_BUSY
			     : rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT ? ERR_VERIFY
									   : ERR_FAILED;
	(void)err_new(e, code, "%s: %s: %s%s", name_of(db ? sqlite.db_filename(db, "main") : NULL), what,
		      sqlite.errmsg(db),
		      code == ERR_VERIFY
			      ? "; restore it from a backup, or move it away: what is only in it is lost then"
			      : "");
	e->sys = rc == SQLITE_FULL ? ENOSPC : 0;
	return -1;
}

static int exec(struct sql *s, const char *text, struct err *e)
{
	return sqlite.exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(s->db, "execute", e);
}

/* -- opening ------------------------------------------------------------------------------------------------------- */

int sql_open(const char *path, enum sql_open_flags flags, struct sql **ret, struct err *e)
{
	auto_ptr(sql) s = xcalloc(1, sizeof(*s));
	struct stat st;
	s->path = xstrdup(path);
	if (dl_load(&sqlite_library, e) < 0)
		return err_ctx(e, "open '%s'", path);
	if (flags & SQL_RO && stat(path, &st) < 0)
		return err_sys(e, "open '%s'", path);
	/* Even a reader opens for writing where it may: only so can SQLite finish what a crash left. */
	int how = flags & SQL_RO && access(path, W_OK) < 0 ? SQLITE_OPEN_READONLY
							   : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	if (sqlite.open_v2(path, &s->db, how | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		db_error(s->db, "open", e);
		return err_ctx(e, "'%s'", path);
	}
	sqlite.busy_timeout(s->db, BUSY_MS);
	if (exec(s, "PRAGMA trusted_schema = OFF; PRAGMA synchronous = FULL", e) < 0 ||
	    (how != SQLITE_OPEN_READONLY && exec(s, "PRAGMA journal_mode = WAL", e) < 0))
		return err_ctx(e, "'%s'", path);
	*ret = steal_ptr(&s);
	return 0;
}

void sql_close(struct sql *s)
{
	if (!s)
		return;
	if (s->db)
		sqlite.close(s->db);
	free(s->path);
	free(s);
}

static int part_version(struct sql *s, const char *part, int64_t *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(s, "SELECT version FROM part WHERE name = ?1", &q, e) < 0)
		return -1;
	sql_bind_str(q, 1, str_c(part));
	int rc = sql_step(q, e);
	*ret = rc > 0 ? sql_int(q, 0) : 0;
	return rc < 0 ? -1 : 0;
}

/* In a transaction: another program may have come first. */
static int make_part(struct sql *s, const char *part, const char *const *texts, int n, struct err *e)
{
	int64_t version;
	if (part_version(s, part, &version, e) < 0)
		return -1;
	for (; version < n; version++)
		if (exec(s, texts[version], e) < 0)
			return -1;
	return sql_run(s, e, "INSERT OR REPLACE INTO part (name, version) VALUES (?1, ?2)", "si", str_c(part), version);
}

int sql_part(struct sql *s, const char *part, const char *const *texts, int n, struct err *e)
{
	int64_t version = 0;
	struct err none = ERR_INIT;
	if (part_version(s, part, &version, &none) < 0 &&
	    exec(s, "CREATE TABLE IF NOT EXISTS part (name TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
		 e) < 0)
		return -1;
	if (version > n)
		return err_new(e, ERR_UNSUPPORTED,
			       "'%s' was written by a newer slipway (%s %lld, this one knows %d); use that one",
			       s->path, part, (long long)version, n);
	if (version == n)
		return 0;
	if (sql_begin(s, e) < 0)
		return -1;
	return sql_end(s, make_part(s, part, texts, n, e), e);
}

/* -- statements ---------------------------------------------------------------------------------------------------- */

void sql_query_free(sql_query *q)
{
	if (q)
		sqlite.finalize(q);
}

int sql_prepare(struct sql *s, const char *text, sql_query **ret, struct err *e)
{
	return sqlite.prepare_v2(s->db, text, -1, ret, NULL) == SQLITE_OK ? 0 : db_error(s->db, "prepare", e);
}

void sql_bind_str(sql_query *q, int at, struct str v)
{
	sqlite.bind_text64(q, at, v.p ? v.p : "", v.n, SQLITE_TRANSIENT, SQLITE_UTF8);
}

void sql_bind_int(sql_query *q, int at, int64_t v)
{
	sqlite.bind_int64(q, at, v);
}

void sql_bind_bytes(sql_query *q, int at, const void *p, size_t n)
{
	if (p)
		sqlite.bind_blob(q, at, p, (int)n, SQLITE_TRANSIENT);
	else
		sqlite.bind_null(q, at);
}

int sql_step(sql_query *q, struct err *e)
{
	int rc = sqlite.step(q);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return db_error(sqlite.db_handle(q), rc == SQLITE_BUSY ? "another process writes to it" : "step", e);
}

void sql_reset(sql_query *q)
{
	sqlite.reset(q);
}

int64_t sql_int(sql_query *q, int column)
{
	return sqlite.column_int64(q, column);
}

struct str sql_view(sql_query *q, int column)
{
	int type = sqlite.column_type(q, column);
	const void *p = type == SQLITE_BLOB ? sqlite.column_blob(q, column)
					    : (const void *)sqlite.column_text(q, column);
	return type == SQLITE_NULL ? STR_NONE : str_of(p ? p : "", (size_t)sqlite.column_bytes(q, column));
}

struct str sql_str(sql_query *q, int column, struct arena *a)
{
	struct str v = sql_view(q, column);
	return arena_str(a, v.p ? v : STR(""));
}

int64_t sql_last_id(struct sql *s)
{
	return sqlite.last_insert_rowid(s->db);
}

int64_t sql_changed(struct sql *s)
{
	return sqlite.changes(s->db);
}

/* -- transactions -------------------------------------------------------------------------------------------------- */

int sql_begin(struct sql *s, struct err *e)
{
	return exec(s, "BEGIN IMMEDIATE", e);
}

static void take_back(struct sql *s)
{
	(void)sqlite.exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

int sql_end(struct sql *s, int rc, struct err *e)
{
	if (rc < 0) {
		take_back(s);
		return -1;
	}
	if (sys_mark("sql commit") < 0)
		err_sys(e, "%s: commit", name_of(s->path));
	else if (exec(s, "COMMIT", e) == 0)
		return 0;
	take_back(s);
	return -1;
}

int sql_run(struct sql *s, struct err *e, const char *text, const char *types, ...)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(s, text, &q, e) < 0)
		return -1;
	va_list ap;
	va_start(ap, types);
	for (int i = 0; types[i]; i++) {
		if (types[i] == 's')
			sql_bind_str(q, i + 1, va_arg(ap, struct str));
		else
			sql_bind_int(q, i + 1, va_arg(ap, int64_t));
	}
	va_end(ap);
	return sql_step(q, e) < 0 ? -1 : 0;
}
