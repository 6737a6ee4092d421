// SPDX-License-Identifier: Apache-2.0
/* The tables of channels, files and upstreams in mirror.db. */
#include "mirror/upstream.h"

/* file: what is expected of a path (told in the metadata of sync `told`, for the first time in `first`) and what is held.
 * what: enum channel_file; kind, digest: as told, kind -1 unknown; sha256: of what is held, where it was taken; gone_ms: since when no
 * metadata in use name it. pointer: validators of the metadata that came from a server, and from which one.
 * channel.first: the sync that told what was there from the beginning; walked: the last whole one; switched: the last that clients see. */
static const char *const schema[] = {
	"CREATE TABLE channel ("
	" id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_ms INTEGER NOT NULL,"
	" serial INTEGER NOT NULL DEFAULT 0, first INTEGER NOT NULL DEFAULT 0, walked INTEGER NOT NULL DEFAULT 0,"
	" switched INTEGER NOT NULL DEFAULT 0, synced_ms INTEGER NOT NULL DEFAULT 0, tried_ms INTEGER NOT NULL DEFAULT 0,"
	" good INTEGER NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '');"
	"CREATE TABLE file ("
	" channel INTEGER NOT NULL, path TEXT NOT NULL, what INTEGER NOT NULL, size INTEGER NOT NULL,"
	" kind INTEGER NOT NULL, digest BLOB, url TEXT, accept TEXT, told INTEGER NOT NULL, first INTEGER NOT NULL,"
	" time_ms INTEGER NOT NULL, gone_ms INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0,"
	" held_size INTEGER NOT NULL DEFAULT 0, sha256 BLOB, verified_ms INTEGER NOT NULL DEFAULT 0,"
	" bad TEXT NOT NULL DEFAULT '', PRIMARY KEY (channel, path)) WITHOUT ROWID;"
	"CREATE INDEX file_digest ON file (digest) WHERE held = 1;"
	"CREATE TABLE pointer ("
	" channel INTEGER NOT NULL, path TEXT NOT NULL, upstream TEXT NOT NULL, etag TEXT NOT NULL,"
	" last_modified TEXT NOT NULL, checked_ms INTEGER NOT NULL, PRIMARY KEY (channel, path)) WITHOUT ROWID;"
	"CREATE TABLE upstream ("
	" id TEXT PRIMARY KEY, url TEXT NOT NULL, failures INTEGER NOT NULL, again_ms INTEGER NOT NULL,"
	" good_ms INTEGER NOT NULL, bad_ms INTEGER NOT NULL, speed INTEGER NOT NULL, error TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE sync ("
	" id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, began_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,"
	" good INTEGER NOT NULL, message TEXT NOT NULL, fetched INTEGER NOT NULL, fetched_bytes INTEGER NOT NULL,"
	" damaged INTEGER NOT NULL);"
	"CREATE INDEX sync_channel ON sync (channel, id);",
};

int state_open(struct mirror *m, struct sql **ret, struct err *e)
{
	auto_ptr(sql) db = NULL;
	if (sql_open(m->db_path, 0, &db, e) < 0 ||
	    sql_part(db, "channels", schema, sizeof(schema) / sizeof(*schema), e) < 0)
		return -1;
	*ret = steal_ptr(&db);
	return 0;
}

int mirror_db_check(struct mirror *m, struct err *e)
{
	auto_ptr(sql) db = NULL;
	auto_ptr(sql_query) q = NULL;
	if (state_open(m, &db, e) < 0 || sql_prepare(db, "PRAGMA quick_check(1)", &q, e) < 0 || sql_step(q, e) < 0)
		return -1;
	struct str found = sql_view(q, 0);
	return str_eq(found, STR("ok"))
		       ? 0
		       : err_new(e, ERR_VERIFY,
				 "'%s' is damaged: %.*s; restore it from a backup, or move it away: what is held is looked at "
				 "anew, but who is enrolled is only there",
				 m->db_path, STR_ARG(found));
}
