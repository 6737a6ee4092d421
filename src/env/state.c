// SPDX-License-Identifier: Apache-2.0
#include "env/state.h"

#include <errno.h>
#include <fcntl.h>

#include "base/dl.h"
#include "base/fs.h"
#include "base/sys.h"
#include "base/vec.h"

enum { SCHEMA_VERSION = 2, BUSY_MS = 15000, MAX_ENVIRONMENTS = 1000000 };

#define SQLITE(X)                                                                                                      \
	X(sqlite3_, bind_blob)                                                                                         \
	X(sqlite3_, bind_int64)                                                                                        \
	X(sqlite3_, bind_text64)                                                                                       \
	X(sqlite3_, busy_timeout)                                                                                      \
	X(sqlite3_, close)                                                                                             \
	X(sqlite3_, column_blob)                                                                                       \
	X(sqlite3_, column_bytes)                                                                                      \
	X(sqlite3_, column_int64)                                                                                      \
	X(sqlite3_, column_text)                                                                                       \
	X(sqlite3_, db_handle)                                                                                         \
	X(sqlite3_, errcode)                                                                                           \
	X(sqlite3_, errmsg)                                                                                            \
	X(sqlite3_, exec)                                                                                              \
	X(sqlite3_, finalize)                                                                                          \
	X(sqlite3_, open_v2)                                                                                           \
	X(sqlite3_, prepare_v2)                                                                                        \
	X(sqlite3_, reset)                                                                                             \
	X(sqlite3_, step)
DL_LIBRARY(sqlite, "libsqlite3.so.0", SQLITE, NULL);

/* Times are milliseconds since 1970 UTC. A generation's lock is the text of its .spr. The journal holds at most one switch
 * an environment: written before the `current` link moves, removed with the rows that say it moved.
 * Text N brings a database from version N to N + 1; those that were ever released are never edited. */
static const char *const schema[SCHEMA_VERSION] = {
	"CREATE TABLE IF NOT EXISTS environment ("
	" name TEXT PRIMARY KEY, current INTEGER NOT NULL DEFAULT 0,"
	" created_ms INTEGER NOT NULL, changed_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS generation ("
	" env TEXT NOT NULL, number INTEGER NOT NULL, made_ms INTEGER NOT NULL,"
	" command TEXT NOT NULL, operation TEXT NOT NULL DEFAULT '', lock TEXT NOT NULL,"
	" packages INTEGER NOT NULL, added INTEGER NOT NULL, removed INTEGER NOT NULL,"
	" changed INTEGER NOT NULL, PRIMARY KEY (env, number)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS digest ("
	" env TEXT NOT NULL, number INTEGER NOT NULL, sha256 BLOB NOT NULL,"
	" PRIMARY KEY (env, number, sha256)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS history ("
	" id INTEGER PRIMARY KEY, env TEXT NOT NULL, at_ms INTEGER NOT NULL, operation TEXT NOT NULL,"
	" command TEXT NOT NULL, result TEXT NOT NULL, from_gen INTEGER NOT NULL,"
	" to_gen INTEGER NOT NULL);"
	"CREATE INDEX IF NOT EXISTS history_env ON history (env, id);"
	"CREATE TABLE IF NOT EXISTS journal ("
	" env TEXT PRIMARY KEY, from_gen INTEGER NOT NULL, to_gen INTEGER NOT NULL,"
	" operation TEXT NOT NULL, command TEXT NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID;",

	/* upgrades: what is committed, what is under way, who did it */
	"ALTER TABLE environment ADD COLUMN committed INTEGER NOT NULL DEFAULT 0;"
	"UPDATE environment SET committed = current;"
	"ALTER TABLE environment ADD COLUMN started INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE generation ADD COLUMN label TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE generation ADD COLUMN version TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE history ADD COLUMN who TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE history ADD COLUMN operation_id TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE history ADD COLUMN ended_ms INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE journal ADD COLUMN who TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE journal ADD COLUMN operation_id TEXT NOT NULL DEFAULT '';"
	"ALTER TABLE journal ADD COLUMN uncommitted INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE operation ("
	" env TEXT PRIMARY KEY, id TEXT NOT NULL, state TEXT NOT NULL, one_shot INTEGER NOT NULL,"
	" from_gen INTEGER NOT NULL, to_gen INTEGER NOT NULL, who TEXT NOT NULL, command TEXT NOT NULL,"
	" started_ms INTEGER NOT NULL, timer_ms INTEGER NOT NULL, timer_left_ms INTEGER NOT NULL,"
	" timer_boot_ms INTEGER NOT NULL, timer_wall_ms INTEGER NOT NULL, timer_boot_id TEXT NOT NULL,"
	" timer_stopped INTEGER NOT NULL, detail TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE operation_step ("
	" id INTEGER PRIMARY KEY, operation TEXT NOT NULL, member INTEGER NOT NULL, name TEXT NOT NULL,"
	" result TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL);"
	"CREATE INDEX operation_step_operation ON operation_step (operation, id);",
};

static int db_error(struct env_state *st, struct err *e, const char *what)
{
	int rc = sqlite.errcode(st->db) & 0xff;
	enum err_code code = rc == SQLITE_BUSY				   ? ERR_BUSY
			     : rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT ? ERR_VERIFY
									   : ERR_FAILED;
	(void)err_new(
		e, code, "state.db: %s: %s%s", what, sqlite.errmsg(st->db),
		code == ERR_VERIFY
			? "; restore it from a backup, or move it and the folder 'env' away to start with no environments"
			: "");
	e->sys = rc == SQLITE_FULL ? ENOSPC : 0;
	return -1;
}

void db_query_free(db_query *q)
{
	if (q)
		sqlite.finalize(q);
}

int db_prepare(struct env_state *st, const char *sql, db_query **ret, struct err *e)
{
	return sqlite.prepare_v2(st->db, sql, -1, ret, NULL) == SQLITE_OK ? 0 : db_error(st, e, "prepare");
}

void db_bind_str(db_query *q, int at, struct str s)
{
	sqlite.bind_text64(q, at, s.p ? s.p : "", s.n, SQLITE_TRANSIENT, SQLITE_UTF8);
}

void db_bind_int(db_query *q, int at, int64_t v)
{
	sqlite.bind_int64(q, at, v);
}

void db_bind_bytes(db_query *q, int at, const void *p, int n)
{
	sqlite.bind_blob(q, at, p, n, SQLITE_STATIC);
}

int db_step(db_query *q, struct err *e)
{
	int rc = sqlite.step(q);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	struct env_state tmp = {.db = sqlite.db_handle(q)};
	return db_error(&tmp, e, rc == SQLITE_BUSY ? "another command holds it" : "step");
}

void db_reset(db_query *q)
{
	sqlite.reset(q);
}

int64_t db_int(db_query *q, int column)
{
	return sqlite.column_int64(q, column);
}

struct str db_str(db_query *q, int column, struct arena *a)
{
	const void *p = sqlite.column_text(q, column);
	return arena_str(a, str_of(p ? p : "", (size_t)sqlite.column_bytes(q, column)));
}

static int db_exec(struct env_state *st, const char *sql, struct err *e)
{
	return sqlite.exec(st->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_error(st, e, "execute");
}

int db_begin(struct env_state *st, struct err *e)
{
	return db_exec(st, "BEGIN IMMEDIATE", e);
}

int db_commit(struct env_state *st, struct err *e)
{
	if (sys_mark("state.db commit") < 0) {
		err_sys(e, "state.db: commit");
		db_rollback(st);
		return -1;
	}
	if (db_exec(st, "COMMIT", e) == 0)
		return 0;
	db_rollback(st);
	return -1;
}

void db_rollback(struct env_state *st)
{
	(void)sqlite.exec(st->db, "ROLLBACK", NULL, NULL, NULL);
}

int db_end(struct env_state *st, int rc, struct err *e)
{
	if (rc >= 0)
		return db_commit(st, e);
	db_rollback(st);
	return -1;
}

int db_run(struct env_state *st, struct err *e, const char *sql, const char *types, ...)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(st, sql, &q, e) < 0)
		return -1;
	va_list ap;
	va_start(ap, types);
	for (int i = 0; types[i]; i++) {
		if (types[i] == 's')
			db_bind_str(q, i + 1, va_arg(ap, struct str));
		else
			db_bind_int(q, i + 1, va_arg(ap, int64_t));
	}
	va_end(ap);
	return db_step(q, e) < 0 ? -1 : 0;
}

int db_history(struct env_state *st, struct str env, const struct env_history_entry *x, struct err *e)
{
	return db_run(
		st, e,
		"INSERT INTO history (env, at_ms, operation, command, result, from_gen, to_gen, who, operation_id, ended_ms)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
		"sisssiissi", env, x->at_ms, x->operation, x->command, x->result, (int64_t)x->from, (int64_t)x->to,
		x->who, x->operation_id, x->ended_ms);
}

/* -- opening ----------------------------------------------------------------------------------------------------- */

/* Environments are made after state.db. Where it is new and they are there, it was lost or cut off, and what is in their
 * folders would be taken for what a crash left, and be removed. */
static int refuse_forgotten(struct env_state *st, struct err *e)
{
	auto_fs_list list = {0};
	if (st->env_fd < 0)
		return 0;
	if (fs_list(st->env_fd, ".", MAX_ENVIRONMENTS, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		struct err ignored = ERR_INIT;
		if (env_name_check(str_c(list.name[i]), &ignored) < 0)
			continue;
		auto_fd dir = openat(st->env_fd, list.name[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir >= 0 && state_current_link(dir))
			return err_new(
				e, ERR_VERIFY,
				"state.db in '%s' is missing or empty, but 'env/%s' is there: restore it from a backup, "
				"or move the folder 'env' away to start with no environments",
				st->root_path, list.name[i]);
	}
	return 0;
}

static int schema_version(struct env_state *st, int64_t *ret, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(st, "PRAGMA user_version", &q, e) < 0 || db_step(q, e) < 0)
		return -1;
	*ret = db_int(q, 0);
	return 0;
}

/* In a transaction: another command may have come first. */
static int make_schema(struct env_state *st, struct err *e)
{
	int64_t version = 0;
	if (schema_version(st, &version, e) < 0 || (version == 0 && refuse_forgotten(st, e) < 0))
		return -1;
	for (; version < SCHEMA_VERSION; version++) {
		auto_free char *note = xasprintf("PRAGMA user_version = %d", (int)version + 1);
		if (db_exec(st, schema[version], e) < 0 || db_exec(st, note, e) < 0)
			return -1;
	}
	return 0;
}

/* 1: there is nothing in it yet, and this is not the one to change that. */
static int check_schema(struct env_state *st, struct err *e)
{
	int64_t version = 0;
	if (schema_version(st, &version, e) < 0)
		return -1;
	if (version > SCHEMA_VERSION)
		return err_new(e, ERR_UNSUPPORTED,
			       "state.db was written by a newer slipway (schema %lld, this one knows %d); use that one",
			       (long long)version, SCHEMA_VERSION);
	if (version == SCHEMA_VERSION)
		return 0;
	if (st->read_only &&
	    version == 0) /* whoever made it was killed before its one first transaction, or else it was cut off */
		return refuse_forgotten(st, e) < 0 ? -1 : 1;
	if (st->read_only)
		return err_new(
			e, ERR_UNSUPPORTED,
			"state.db was written by an older slipway (schema %lld, this one knows %d); any command that changes "
			"something brings it up to date",
			(long long)version, SCHEMA_VERSION);
	if (db_begin(st, e) < 0)
		return -1;
	return db_end(st, make_schema(st, e), e);
}

static int open_db(struct env_state *st, int flags, struct err *e)
{
	auto_free char *path = xasprintf("%s/state.db", st->root_path);
	if (dl_load(&sqlite_library, e) < 0)
		return err_ctx(e, "open '%s'", path);
	if (sqlite.open_v2(path, &st->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		db_error(st, e, "open");
		sqlite.close(st->db);
		st->db = NULL;
		return err_ctx(e, "'%s'", path);
	}
	sqlite.busy_timeout(st->db, BUSY_MS);
	/* EXTRA: a committed transaction is on disk when COMMIT returns. With FULL the removal of SQLite's journal, which is what
	 * commits, is not: after a power cut it may be there again, and undo what was told as done. */
	if (db_exec(st, "PRAGMA synchronous = EXTRA; PRAGMA trusted_schema = OFF", e) < 0)
		return -1;
	int rc = check_schema(st, e);
	if (rc > 0) {
		sqlite.close(st->db);
		st->db = NULL;
	}
	return rc < 0 ? -1 : 0;
}

int state_need(struct env_state *st, struct err *e)
{
	if (st->read_only)
		return err_new(e, ERR_NOT_FOUND, "no environments in '%s' yet", st->root_path);
	if (st->env_fd < 0) {
		st->env_fd = fs_open_dir_make(st->root_fd, "env", e);
		if (st->env_fd < 0)
			return -1;
	}
	return st->db ? 0 : open_db(st, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, e);
}

/* Whether a folder of ROOT/env is what a crash left: no environment, or one in the middle of a switch. */
static int is_left_over(struct env_state *st, struct str name, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(st,
		       "SELECT NOT EXISTS (SELECT 1 FROM environment WHERE name = ?1)"
		       " OR EXISTS (SELECT 1 FROM journal WHERE env = ?1)",
		       &q, e) < 0)
		return -1;
	db_bind_str(q, 1, name);
	return db_step(q, e) < 0 ? -1 : db_int(q, 0) != 0;
}

/* Holding is recovering. What somebody else holds is no crash's; what cannot be mended now says so when it is changed. */
static int recover_all(struct env_state *st, struct err *e)
{
	auto_fs_list list = {0};
	if (fs_list(st->env_fd, ".", MAX_ENVIRONMENTS, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		struct err ignored = ERR_INIT;
		struct str name = str_c(list.name[i]);
		auto_ptr(env_hold) h = NULL;
		if (env_name_check(name, &ignored) < 0)
			continue;
		int rc = is_left_over(st, name, e);
		if (rc < 0)
			return -1;
		if (rc)
			(void)env_hold(st, name, 0, &h, &ignored);
	}
	return 0;
}

int env_state_open(int root_fd, const char *root_path, enum env_state_flags flags, struct env_state **ret,
		   struct err *e)
{
	auto_ptr(env_state) st = xcalloc(1, sizeof(*st));
	st->root_path = xstrdup(root_path);
	st->env_fd = st->root_fd = -1;
	st->read_only = flags & ENV_STATE_RO;
	st->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
	if (st->root_fd < 0)
		return err_sys(e, "open '%s'", root_path);
	st->env_fd = openat(st->root_fd, "env", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* A reader that may write opens for writing all the same: only then can SQLite finish what a crash left. */
	bool writable = faccessat(st->root_fd, "state.db", W_OK, 0) == 0 && faccessat(st->root_fd, ".", W_OK, 0) == 0;
	if (!fs_exists(st->root_fd, "state.db")) {
		if (st->read_only ? refuse_forgotten(st, e) < 0 : state_need(st, e) < 0)
			return -1;
	} else if (open_db(st, writable ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY, e) < 0) {
		return -1;
	}
	if (!st->read_only && writable && st->env_fd >= 0 && recover_all(st, e) < 0)
		return -1;
	*ret = steal_ptr(&st);
	return 0;
}

void env_state_free(struct env_state *st)
{
	if (!st)
		return;
	if (st->db)
		sqlite.close(st->db);
	cleanup_fd(&st->root_fd);
	cleanup_fd(&st->env_fd);
	free(st->root_path);
	free(st);
}

/* -- what is there ----------------------------------------------------------------------------------------------- */

int env_name_check(struct str name, struct err *e)
{
	bool good = name.n > 0 && name.n <= 64 && !str_eq(name, STR("current"));
	for (size_t i = 0; good && i < name.n; i++) {
		char c = name.p[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		good = alnum || (i > 0 && (c == '.' || c == '_' || c == '-'));
	}
	return good ? 0
		    : err_new(e, ERR_USAGE,
			      "'%.*s' is not an environment name (letters, digits, '.', '_', '-'; at most 64; not 'current')",
			      STR_ARG(name));
}

uint32_t state_current_link(int dir_fd)
{
	char target[32];
	uint64_t n = 0;
	ssize_t len = readlinkat(dir_fd, "current", target, sizeof(target));
	return len > 0 && str_to_u64(str_of(target, (size_t)len), &n) && n < UINT32_MAX ? (uint32_t)n : 0;
}

static void read_info(struct env_state *st, db_query *q, struct arena *a, struct env_info *ret)
{
	*ret = (struct env_info){
		.name = db_str(q, 0, a),
		.current = (uint32_t)db_int(q, 1),
		.created_ms = db_int(q, 2),
		.changed_ms = db_int(q, 3),
		.generations_n = (uint32_t)db_int(q, 4),
		.packages_n = (uint32_t)db_int(q, 5),
		.committed = (uint32_t)db_int(q, 6),
		.started = db_int(q, 7) != 0,
	};
	ret->prefix = str_c(arena_printf(a, "%s/env/%.*s/%u", st->root_path, STR_ARG(ret->name), ret->current));
}

#define INFO_SQL                                                                                                       \
	"SELECT e.name, e.current, e.created_ms, e.changed_ms,"                                                        \
	" (SELECT count(*) FROM generation g WHERE g.env = e.name AND g.operation <> ''),"                             \
	" (SELECT g.packages FROM generation g WHERE g.env = e.name AND g.number = e.current), e.committed, e.started" \
	" FROM environment e WHERE e.current > 0 "

int env_list(struct env_state *st, struct arena *a, struct env_info **ret, size_t *ret_n, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	VEC(struct env_info) list = {0};
	int rc = 0;
	if (st->db && db_prepare(st, INFO_SQL "ORDER BY e.name", &q, e) < 0)
		return -1;
	while (q && (rc = db_step(q, e)) > 0)
		read_info(st, q, a, vec_add(&list));
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

int env_find(struct env_state *st, struct arena *a, struct str name, struct env_info *ret, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	*ret = (struct env_info){0};
	if (env_name_check(name, e) < 0)
		return -1;
	if (!st->db)
		return 0;
	if (db_prepare(st, INFO_SQL "AND e.name = ?1", &q, e) < 0)
		return -1;
	db_bind_str(q, 1, name);
	int rc = db_step(q, e);
	if (rc > 0)
		read_info(st, q, a, ret);
	return rc;
}

int env_get(struct env_state *st, struct arena *a, struct str name, struct env_info *ret, struct err *e)
{
	int rc = env_find(st, a, name, ret, e);
	if (rc == 0)
		return err_new(e, ERR_NOT_FOUND,
			       "no environment '%.*s' in '%s'; 'slipway env list' shows what there is", STR_ARG(name),
			       st->root_path);
	return rc < 0 ? -1 : 0;
}

static enum env_generation_state generation_state(const struct env_info *info, uint32_t number)
{
	if (number == info->current)
		return number == info->committed ? ENV_COMMITTED : ENV_UNCOMMITTED;
	return number == info->committed ? ENV_DEACTIVATED : ENV_INACTIVE;
}

int env_generations(struct env_state *st, struct arena *a, struct str name, struct env_generation_info **ret,
		    size_t *ret_n, struct err *e)
{
	struct env_info info;
	auto_ptr(db_query) q = NULL;
	VEC(struct env_generation_info) list = {0};
	struct err gone = ERR_INIT;
	int rc;
	if (env_get(st, a, name, &info, &gone) < 0)
		info = (struct env_info){0};
	if (gone.code != ERR_NONE && (gone.code != ERR_NOT_FOUND || !st->db)) {
		*e = gone;
		return -1;
	}
	if (db_prepare(st,
		       "SELECT number, made_ms, operation, command, packages, added, removed, changed, label, version"
		       " FROM generation WHERE env = ?1 AND operation <> '' ORDER BY number",
		       &q, e) < 0)
		return -1;
	db_bind_str(q, 1, name);
	while ((rc = db_step(q, e)) > 0) {
		*vec_add(&list) = (struct env_generation_info){
			.number = (uint32_t)db_int(q, 0),
			.made_ms = db_int(q, 1),
			.operation = db_str(q, 2, a),
			.command = db_str(q, 3, a),
			.current = (uint32_t)db_int(q, 0) == info.current,
			.packages_n = (uint32_t)db_int(q, 4),
			.added = (uint32_t)db_int(q, 5),
			.removed = (uint32_t)db_int(q, 6),
			.changed = (uint32_t)db_int(q, 7),
			.label = db_str(q, 8, a),
			.version = db_str(q, 9, a),
			.state = generation_state(&info, (uint32_t)db_int(q, 0)),
		};
	}
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	if (rc == 0 && !*ret_n && gone.code != ERR_NONE) { /* not even one that was added and never activated */
		*e = gone;
		return -1;
	}
	return rc;
}

int env_generation_lock(struct env_state *st, struct arena *a, struct str name, uint32_t number,
			struct env_spec_file *ret, struct err *e)
{
	struct env_info info;
	auto_ptr(db_query) q = NULL;
	if (env_get(st, a, name, &info, e) < 0)
		return -1;
	if (db_prepare(st, "SELECT lock FROM generation WHERE env = ?1 AND number = ?2", &q, e) < 0)
		return -1;
	db_bind_str(q, 1, name);
	db_bind_int(q, 2, number ? number : info.current);
	int rc = db_step(q, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_new(e, ERR_NOT_FOUND,
			       "environment '%.*s' has no generation %u; 'slipway env history -n %.*s' lists them",
			       STR_ARG(name), number, STR_ARG(name));
	auto_free char *where =
		xasprintf("state.db: environment '%.*s', generation %u", STR_ARG(name), number ? number : info.current);
	return env_file_read(a, db_str(q, 0, a), where, ret, e);
}

int env_find_generation(struct env_state *st, struct str env, struct str text, uint32_t *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_generation_info *g;
	size_t n;
	uint64_t number = 0;
	if (env_generations(st, &a, env, &g, &n, e) < 0)
		return -1;
	bool is_number = str_to_u64(text, &number), committed = str_eq(text, STR("committed"));
	for (size_t i = 0; i < n; i++) {
		bool is_committed = g[i].state == ENV_COMMITTED || g[i].state == ENV_DEACTIVATED;
		if (is_number ? g[i].number == number : committed ? is_committed : text.n && str_eq(g[i].label, text)) {
			*ret = g[i].number;
			return 0;
		}
	}
	return err_new(e, ERR_NOT_FOUND,
		       "environment '%.*s' has no generation %s%.*s'; 'slipway env history -n %.*s' lists them",
		       STR_ARG(env), is_number ? "'" : "with the label '", STR_ARG(text), STR_ARG(env));
}

int env_history(struct env_state *st, struct arena *a, struct str name, struct env_history_entry **ret, size_t *ret_n,
		struct err *e)
{
	auto_ptr(db_query) q = NULL;
	VEC(struct env_history_entry) list = {0};
	int rc = 0;
	if (env_name_check(name, e) < 0)
		return -1;
	if (st->db &&
	    db_prepare(st,
		       "SELECT at_ms, operation, command, result, from_gen, to_gen, who, operation_id, ended_ms"
		       " FROM history"
		       " WHERE env = ?1 ORDER BY id",
		       &q, e) < 0)
		return -1;
	if (q)
		db_bind_str(q, 1, name);
	while (q && (rc = db_step(q, e)) > 0) {
		*vec_add(&list) = (struct env_history_entry){
			.at_ms = db_int(q, 0),
			.operation = db_str(q, 1, a),
			.command = db_str(q, 2, a),
			.result = db_str(q, 3, a),
			.from = (uint32_t)db_int(q, 4),
			.to = (uint32_t)db_int(q, 5),
			.who = db_str(q, 6, a),
			.operation_id = db_str(q, 7, a),
			.ended_ms = db_int(q, 8),
		};
	}
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

/* From which generation a change made `of`; 0 none. Going back makes nothing. */
static uint32_t made_from(const struct env_history_entry *h, size_t n, uint32_t of)
{
	for (size_t i = n; i-- > 0;)
		if (h[i].to == of && h[i].from && h[i].from < of && str_eq(h[i].result, STR("done")) &&
		    !str_eq(h[i].operation, STR("rollback")) && !str_eq(h[i].operation, STR("abort")) &&
		    !str_eq(h[i].operation, STR("auto-abort")) && !str_eq(h[i].operation, STR("switch")))
			return h[i].from;
	return 0;
}

static int lock_digest_of(struct env_state *st, struct str env, uint32_t number, uint8_t ret[SHA256_SIZE],
			  struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_spec_file lock;
	if (env_generation_lock(st, &a, env, number, &lock, e) < 0)
		return -1;
	env_lock_digest(&lock, ret);
	return 0;
}

/* The newest before generation i that consists of the same; n: none. */
static int same_before(struct env_state *st, struct str env, const struct env_generation_info *g, size_t n, size_t i,
		       size_t *ret, struct err *e)
{
	uint8_t wanted[SHA256_SIZE], digest[SHA256_SIZE];
	if (lock_digest_of(st, env, g[i].number, wanted, e) < 0)
		return -1;
	for (*ret = n; i-- > 0;) {
		if (lock_digest_of(st, env, g[i].number, digest, e) < 0)
			return -1;
		if (memcmp(digest, wanted, SHA256_SIZE) != 0)
			continue;
		*ret = i;
		return 0;
	}
	return 0;
}

/* What going back laid out anew, as it does on a pair, stands for the one that it is a copy of; 0: that one is kept no longer. */
static int stands_for(struct env_state *st, struct str env, const struct env_generation_info *g, size_t n,
		      uint32_t number, uint32_t *ret, struct err *e)
{
	size_t i = 0;
	*ret = number;
	while (i < n && g[i].number != number)
		i++;
	while (i < n && str_eq(g[i].operation, STR("rollback"))) {
		if (same_before(st, env, g, n, i, &i, e) < 0)
			return -1;
		*ret = i < n ? g[i].number : 0;
	}
	return 0;
}

int env_generation_before(struct env_state *st, struct str env, uint32_t number, uint32_t *ret, struct err *e)
{
	auto_arena a = ARENA_INIT;
	struct env_history_entry *h;
	struct env_generation_info *g;
	size_t h_n, g_n;
	uint32_t original;
	if (env_history(st, &a, env, &h, &h_n, e) < 0 || env_generations(st, &a, env, &g, &g_n, e) < 0)
		return -1;
	if (stands_for(st, env, g, g_n, number, &original, e) < 0)
		return -1;
	for (uint32_t from = made_from(h, h_n, original); from; from = made_from(h, h_n, from))
		for (size_t i = 0; i < g_n; i++)
			if (g[i].number == from) {
				*ret = from;
				return 0;
			}
	if (g_n == 1)
		return err_new(e, ERR_NOT_FOUND,
			       "environment '%.*s' has nothing to go back to from generation %u: no other is kept",
			       STR_ARG(env), number);
	return err_new(e, ERR_NOT_FOUND,
		       "environment '%.*s' has nothing to go back to from generation %u; 'slipway env history -n %.*s' "
		       "lists what is kept, 'slipway install rollback -n %.*s to N' goes to any of it",
		       STR_ARG(env), number, STR_ARG(env), STR_ARG(env));
}

int env_digests_in_use(struct env_state *st, struct arena *a, uint8_t (**ret)[SHA256_SIZE], size_t *ret_n,
		       struct err *e)
{
	auto_ptr(db_query) q = NULL;
	VEC(struct { uint8_t b[SHA256_SIZE]; }) list = {0};
	int rc = 0;
	if (st->db && db_prepare(st, "SELECT DISTINCT sha256 FROM digest ORDER BY sha256", &q, e) < 0)
		return -1;
	while (q && (rc = db_step(q, e)) > 0)
		if (sqlite.column_bytes(q, 0) == SHA256_SIZE)
			memcpy(vec_add(&list)->b, sqlite.column_blob(q, 0), SHA256_SIZE);
	*ret = arena_copy(a, list.v, list.n, SHA256_SIZE);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}
