// SPDX-License-Identifier: Apache-2.0
/* Thin snapshots of clients, in tables of DIR/state/mirror.db. */
#include <string.h>

#include "base/sql.h"
#include "base/vec.h"
#include "mirror/mirror.h"

static const char *const schema[] = {
	"CREATE TABLE snapshot (id INTEGER PRIMARY KEY AUTOINCREMENT, client TEXT NOT NULL, environment TEXT NOT NULL, "
	"moment INTEGER NOT NULL, operation TEXT NOT NULL, taken_ms INTEGER NOT NULL, packages INTEGER NOT NULL, text TEXT NOT NULL);"
	"CREATE INDEX snapshot_of ON snapshot (client, environment, id)",
};

struct mirror_snapshots {
	struct sql *db;
	struct mirror_snapshot_limits limits;
};

void mirror_snapshots_limit(struct mirror_snapshots *s, const struct mirror_snapshot_limits *limits)
{
	s->limits = *limits;
}

int mirror_snapshots_open(const char *path, struct mirror_snapshots **ret, struct err *e)
{
	auto_ptr(mirror_snapshots) s = xcalloc(1, sizeof(*s));
	s->limits = (struct mirror_snapshot_limits){.kept = MIRROR_SNAPSHOTS_KEPT};
	if (sql_open(path, 0, &s->db, e) < 0 ||
	    sql_part(s->db, "snapshot", schema, sizeof(schema) / sizeof(*schema), e) < 0)
		return -1;
	*ret = steal_ptr(&s);
	return 0;
}

void mirror_snapshots_free(struct mirror_snapshots *s)
{
	if (!s)
		return;
	sql_close(s->db);
	free(s);
}

/* -- storing -------------------------------------------------------------------------------------------------------- */

static int count(struct mirror_snapshots *s, const char *text, struct str client, struct str environment, int64_t *ret,
		 struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(s->db, text, &q, e) < 0)
		return -1;
	sql_bind_str(q, 1, client);
	sql_bind_str(q, 2, environment);
	int rc = sql_step(q, e);
	*ret = rc > 0 ? sql_int(q, 0) : 0;
	return rc < 0 ? -1 : 0;
}

/* The newest one says the same: 1, and which. */
static int is_stored(struct mirror_snapshots *s, struct str client, const struct mirror_snapshot *x, struct str text,
		     int64_t *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(s->db,
			"SELECT id, text FROM snapshot WHERE client = ?1 AND environment = ?2 ORDER BY id DESC LIMIT 1",
			&q, e) < 0)
		return -1;
	sql_bind_str(q, 1, client);
	sql_bind_str(q, 2, x->environment);
	int rc = sql_step(q, e);
	if (rc <= 0)
		return rc;
	*ret = sql_int(q, 0);
	return str_eq(sql_view(q, 1), text);
}

/* What a client may fill of the mirror's disk: its oldest ones go, but the newest of each environment stays. */
static int make_room(struct mirror_snapshots *s, struct str client, struct err *e)
{
	int64_t bytes;
	while (s->limits.client_bytes) {
		if (count(s, "SELECT coalesce(sum(length(text)), 0) FROM snapshot WHERE client = ?1 AND ?2 = ''",
			  client, STR(""), &bytes, e) < 0)
			return -1;
		if ((uint64_t)bytes <= s->limits.client_bytes)
			return 0;
		if (sql_run(s->db, e,
			    "DELETE FROM snapshot WHERE id IN (SELECT id FROM snapshot AS x WHERE client = ?1 AND id < "
			    "(SELECT max(id) FROM snapshot WHERE client = ?1 AND environment = x.environment) ORDER BY id "
			    "LIMIT 16)",
			    "s", client) < 0)
			return -1;
		if (sql_changed(s->db) == 0)
			return err_new(e, ERR_LIMIT,
				       "'%.*s' has as many bytes of snapshots as a client may have (%llu)",
				       STR_ARG(client), (unsigned long long)s->limits.client_bytes);
	}
	return 0;
}

static int put(struct mirror_snapshots *s, struct str client, const struct mirror_snapshot *x, struct str text,
	       int64_t now_ms, int64_t *ret_id, struct err *e)
{
	int64_t others;
	int stored = is_stored(s, client, x, text, ret_id, e);
	if (stored != 0)
		return stored < 0 ? -1 : 0;
	if (count(s, "SELECT count(DISTINCT environment) FROM snapshot WHERE client = ?1 AND environment <> ?2", client,
		  x->environment, &others, e) < 0)
		return -1;
	if (others >= MIRROR_SNAPSHOT_ENVIRONMENTS)
		return err_new(e, ERR_LIMIT, "'%.*s' has snapshots of %d environments already", STR_ARG(client),
			       MIRROR_SNAPSHOT_ENVIRONMENTS);
	if (sql_run(s->db, e,
		    "INSERT INTO snapshot (client, environment, moment, operation, taken_ms, packages, text) "
		    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		    "ssisiis", client, x->environment, (int64_t)x->when, x->operation.p ? x->operation : STR(""),
		    now_ms, (int64_t)x->packages_n, text) < 0)
		return -1;
	*ret_id = sql_last_id(s->db);
	return sql_run(s->db, e,
		       "DELETE FROM snapshot WHERE client = ?1 AND environment = ?2 AND id NOT IN "
		       "(SELECT id FROM snapshot WHERE client = ?1 AND environment = ?2 ORDER BY id DESC LIMIT ?3)",
		       "ssi", client, x->environment, s->limits.kept) < 0
		       ? -1
		       : make_room(s, client, e);
}

int mirror_snapshots_put(struct mirror_snapshots *s, struct str client, struct str text, int64_t now_ms,
			 int64_t *ret_id, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf canonical = BUF_INIT(MIRROR_SNAPSHOT_MAX);
	struct mirror_snapshot x;
	if (mirror_snapshot_parse(&a, text, "snapshot", &x, e) < 0)
		return -1;
	mirror_snapshot_write(&x, &canonical);
	if (sql_begin(s->db, e) < 0)
		return -1;
	return sql_end(s->db, put(s, client, &x, buf_str(&canonical), now_ms, ret_id, e), e);
}

/* -- reading -------------------------------------------------------------------------------------------------------- */

int mirror_snapshots_list(struct mirror_snapshots *s, struct str client, struct str environment, int64_t max,
			  struct arena *a, struct mirror_snapshot_info **ret, size_t *ret_n, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	VEC(struct mirror_snapshot_info) list = {0};
	int rc;
	if (sql_prepare(s->db,
			"SELECT id, taken_ms, client, environment, operation, moment, packages FROM snapshot "
			"WHERE (?1 = '' OR client = ?1) AND (?2 = '' OR environment = ?2) ORDER BY id DESC LIMIT ?3",
			&q, e) < 0)
		return -1;
	sql_bind_str(q, 1, client.p ? client : STR(""));
	sql_bind_str(q, 2, environment.p ? environment : STR(""));
	sql_bind_int(q, 3, max);
	while ((rc = sql_step(q, e)) > 0)
		*vec_add(&list) = (struct mirror_snapshot_info){
			.id = sql_int(q, 0),
			.taken_ms = sql_int(q, 1),
			.client = sql_str(q, 2, a),
			.environment = sql_str(q, 3, a),
			.operation = sql_str(q, 4, a),
			.when = (enum mirror_snapshot_when)sql_int(q, 5),
			.packages_n = (uint32_t)sql_int(q, 6),
		};
	*ret = vec_copy(&list, a);
	*ret_n = list.n;
	vec_release(&list);
	return rc;
}

int mirror_snapshots_get(struct mirror_snapshots *s, struct str client, int64_t id, struct arena *a,
			 struct str *ret_text, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(s->db, "SELECT text FROM snapshot WHERE id = ?1 AND (?2 = '' OR client = ?2)", &q, e) < 0)
		return -1;
	sql_bind_int(q, 1, id);
	sql_bind_str(q, 2, client.p ? client : STR(""));
	int rc = sql_step(q, e);
	if (rc > 0)
		*ret_text = sql_str(q, 0, a);
	return rc > 0	? 0
	       : rc < 0 ? -1
			: err_new(e, ERR_NOT_FOUND, "no snapshot %lld%s", (long long)id,
				  client.n ? " of this client" : "");
}

int mirror_snapshots_at(struct mirror_snapshots *s, struct str client, struct str environment, int64_t until_ms,
			int64_t *ret_id, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(s->db,
			"SELECT max(id), count(DISTINCT environment) FROM snapshot "
			"WHERE client = ?1 AND (?2 = '' OR environment = ?2) AND taken_ms <= ?3",
			&q, e) < 0)
		return -1;
	sql_bind_str(q, 1, client);
	sql_bind_str(q, 2, environment.p ? environment : STR(""));
	sql_bind_int(q, 3, until_ms);
	if (sql_step(q, e) < 0)
		return -1;
	if (sql_int(q, 1) > 1)
		return err_new(e, ERR_USAGE,
			       "'%.*s' has snapshots of %lld environments: write %.*s/ENVIRONMENT; 'slipway mirror "
			       "snapshots --client %.*s' lists them",
			       STR_ARG(client), (long long)sql_int(q, 1), STR_ARG(client), STR_ARG(client));
	*ret_id = sql_int(q, 0);
	return *ret_id ? 0
		       : err_new(e, ERR_NOT_FOUND,
				 "no snapshot of '%.*s'%s%.*s from then or before; 'slipway mirror snapshots' lists what there is",
				 STR_ARG(client), environment.n ? " and environment " : "", STR_ARG(environment));
}

/* -- what goes ------------------------------------------------------------------------------------------------------ */

static const char *const expired = " FROM snapshot WHERE id < (SELECT max(id) FROM snapshot AS y WHERE y.client = "
				   "snapshot.client AND y.environment = snapshot.environment) AND (taken_ms < ?1 OR "
				   "(SELECT count(*) FROM snapshot AS y WHERE y.client = snapshot.client AND "
				   "y.environment = snapshot.environment AND y.id > snapshot.id) >= ?2)";

int mirror_snapshots_prune(struct mirror_snapshots *s, int64_t now_ms, bool dry_run, int64_t *ret_n, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	auto_free char *text = xasprintf("%s%s", dry_run ? "SELECT count(*)" : "DELETE", expired);
	if (sql_prepare(s->db, text, &q, e) < 0)
		return -1;
	sql_bind_int(q, 1, s->limits.age_ms ? now_ms - s->limits.age_ms : INT64_MIN);
	sql_bind_int(q, 2, s->limits.kept);
	int rc = sql_step(q, e);
	*ret_n = rc < 0 ? 0 : dry_run ? sql_int(q, 0) : sql_changed(s->db);
	return rc < 0 ? -1 : 0;
}

int mirror_snapshots_forget(struct mirror_snapshots *s, struct str client, int64_t *ret_n, struct err *e)
{
	if (sql_run(s->db, e, "DELETE FROM snapshot WHERE client = ?1", "s", client) < 0)
		return -1;
	*ret_n = sql_changed(s->db);
	return 0;
}
