// SPDX-License-Identifier: Apache-2.0
#include "mirror/sync.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "mirror/config.h"

bool sync_stopped(const struct sync *s)
{
	return s->o->stop && atomic_load(s->o->stop);
}

static int read_channel(struct sync *s, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(s->p.db, "SELECT serial, first, walked, switched FROM channel WHERE id = ?1", &q, e) < 0)
		return -1;
	sql_bind_int(q, 1, s->p.id);
	if (sql_step(q, e) < 0)
		return -1;
	s->serial = sql_int(q, 0) + 1;
	s->first = sql_int(q, 1);
	s->walked = sql_int(q, 2);
	s->switched = sql_int(q, 3);
	return 0;
}

static void set_walk(struct sync *s)
{
	const struct mirror_channel *c = s->p.c;
	s->walk = (struct channel_walk_opts){.platforms = c->platforms.v,
					     .platforms_n = c->platforms.n,
					     .suites = c->suites.v,
					     .suites_n = c->suites.n,
					     .components = c->components.v,
					     .components_n = c->components.n,
					     .names = c->names.v,
					     .names_n = c->names.n,
					     .extras = c->extras.v,
					     .extras_n = c->extras.n,
					     .sources = c->sources,
					     .keyring = c->keyring.n ? c->keyring.p : NULL,
					     .leave_bytes = s->p.m->config.reserve_bytes,
					     .progress = s->o->progress};
}

/* What is left to be done where nothing changed upstream: clients see all of it already, or packages are missing. */
static int finish(struct sync *s, struct err *e)
{
	const struct mirror_sync_result *r = s->res;
	uint64_t damaged = r->damaged_n;
	if (damaged && (s->unanswered || s->p.c->incomplete == MIRROR_WAIT))
		return err_new(
			e, ERR_FAILED,
			"%llu of %llu packages could not be had, the first is '%.*s': %.*s; clients see the state of "
			"before, and the next sync goes on from here",
			(unsigned long long)damaged, (unsigned long long)r->wanted, STR_ARG(r->damaged[0].path),
			STR_ARG(r->damaged[0].reason));
	if (s->switched != s->walked || !r->unchanged)
		return sync_switch(s, e);
	/* the same pointers may have been signed again */
	return sync_signed_again(s, e);
}

static int run(struct sync *s, struct err *e)
{
	if (sql_run(s->p.db, e, "UPDATE channel SET serial = ?2 WHERE id = ?1", "ii", s->p.id, s->serial) < 0 ||
	    sync_check_space(s, 0, "anything new", e) < 0 || sync_metadata(s, e) < 0)
		return -1;
	int rc = sync_plan(s, e);
	if (s->in_transaction) { /* a dry run: nothing of it stays */
		struct err ignored = ERR_INIT;
		(void)sql_end(s->p.db, -1, &ignored);
	}
	if (rc < 0 || s->o->dry_run)
		return rc;
	if (s->res->wanted) {
		rc = sync_packages(s, e);
		s->res->damaged = vec_copy(&s->damaged, s->a);
		s->res->damaged_n = s->damaged.n;
	}
	if (rc < 0 || finish(s, e) < 0)
		return -1;
	struct err ignored = ERR_INIT;
	(void)fs_remove_tree(s->p.work, STAGING, &ignored); /* where nothing was switched */
	return 0;
}

/* How it went, for those who ask later. */
static void keep_history(struct sync *s, int64_t began_ms, int rc, const struct err *why)
{
	struct err ignored = ERR_INIT;
	const struct mirror_sync_result *r = s->res;
	int64_t now = s->clock->wall_ms(s->clock);
	struct str message = rc < 0 ? str_c(why->msg) : STR("");
	if (sql_begin(s->p.db, &ignored) < 0)
		return;
	int ok =
		sql_run(s->p.db, &ignored,
			"INSERT INTO sync (channel, began_ms, ended_ms, good, message, fetched, fetched_bytes, damaged)"
			" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
			"iiiisiii", s->p.id, began_ms, now, (int64_t)(rc == 0), message,
			(int64_t)(r->fetched + r->metadata_files), (int64_t)(r->fetched_bytes + r->metadata_bytes),
			(int64_t)r->damaged_n);
	if (ok == 0)
		ok = sql_run(s->p.db, &ignored,
			     "UPDATE channel SET tried_ms = ?2, good = ?3, message = ?4,"
			     " synced_ms = CASE WHEN ?3 THEN ?2 ELSE synced_ms END WHERE id = ?1",
			     "iiis", s->p.id, now, (int64_t)(rc == 0), message);
	(void)sql_end(s->p.db, ok, &ignored);
	(void)upstreams_save(&s->up, s->p.db, &ignored);
}

static void sync_release(struct sync *s)
{
	cleanup_fd(&s->staging);
	cleanup_fd(&s->upstream);
	sql_query_free(s->expect);
	fetcher_free(s->meta);
	sync_signed_end(s);
	vec_release(&s->before);
	vec_release(&s->after);
	vec_release(&s->damaged);
	arena_release(&s->own);
	place_release(&s->p);
}

int mirror_sync(struct mirror *m, const struct mirror_channel *c, const struct mirror_sync_opts *o, struct arena *a,
		struct mirror_sync_result *ret, struct err *e)
{
	cleanup_with(sync_release) struct sync s = {.p = PLACE_INIT,
						    .o = o,
						    .clock = o->clock ? o->clock : &clock_system,
						    .a = a,
						    .res = ret,
						    .staging = -1,
						    .upstream = -1,
						    .prefer = -1};
	*ret = (struct mirror_sync_result){0};
	if (c->type == MIRROR_LOCAL)
		return err_new(e, ERR_USAGE, "channel '%.*s' is local: it follows nothing", STR_ARG(c->name));
	int64_t began = s.clock->mono_ms(s.clock), began_wall = s.clock->wall_ms(s.clock);
	if (place_open(&s.p, m, c, e) < 0 || upstreams_init(&s.up, c, s.clock, e) < 0 ||
	    upstreams_load(&s.up, s.p.db, e) < 0 || read_channel(&s, e) < 0)
		return err_ctx(e, "sync '%s'", c->name.n ? c->name.p : mirror_dir(m));
	set_walk(&s);
	int rc = run(&s, e) < 0 ? mirror_cure(m, e) : 0;
	ret->took_ms = s.clock->mono_ms(s.clock) - began;
	if (!o->dry_run || rc < 0)
		keep_history(&s, began_wall, rc, e);
	return rc < 0 ? err_ctx(e, "sync '%s'", c->name.n ? c->name.p : mirror_dir(m)) : 0;
}
