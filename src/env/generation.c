// SPDX-License-Identifier: Apache-2.0
/*
 * Generations on disk and in state.db, and the switch between them.
 *
 * The order that makes a crash harmless:
 *   lay out   folder N is filled, and while it is, its row and the journal (from → to) are written, in one transaction; then it
 *             is synced. A folder without a row is rubbish, and so is one whose row says that it has never been current.
 *   switch    where the journal does not say so yet, it is written; the `current` link is renamed into place; the rows say so
 *             and the journal row goes, in one transaction. Whoever holds the environment next reads the link and finishes
 *             or forgets: before the link moves, nothing that is written need be there after a crash.
 *   remove    rows first, then files.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sys.h"
#include "base/vec.h"
#include "env/link.h"
#include "env/state.h"

enum { MAX_ENTRIES = 100000, MAX_HISTORY = 16 << 20, MAX_STATE = 1 << 20 };

static struct str hold_name(const struct env_hold *h)
{
	return str_c(h->name);
}

static int64_t now_ms(const struct env_opts *o)
{
	const struct clock *c = o && o->clock ? o->clock : &clock_system;
	return c->wall_ms(c);
}

/* -- switching --------------------------------------------------------------------------------------------------- */

static int point_current_at(int dir_fd, uint32_t generation, struct err *e)
{
	char target[16];
	snprintf(target, sizeof(target), "%u", generation);
	if (sys_unlinkat(dir_fd, "current.new", 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove stale 'current.new'");
	if (sys_symlinkat(target, dir_fd, "current.new") < 0)
		return err_sys(e, "make the link to generation %u", generation);
	if (sys_renameat(dir_fd, "current.new", dir_fd, "current") < 0)
		return err_sys(e, "switch to generation %u", generation);
	return 0;
}

static int go_back(int dir_fd, uint32_t from, struct err *e)
{
	if (from)
		return point_current_at(dir_fd, from, e);
	return sys_unlinkat(dir_fd, "current", 0) < 0 && errno != ENOENT ? err_sys(e, "remove 'current'") : 0;
}

struct switch_row {
	uint32_t from, to;
	struct str operation, command, who, operation_id;
	int64_t at_ms;
	bool uncommitted;
};

static struct switch_row row_of(uint32_t from, uint32_t to, const char *operation, const struct env_opts *o)
{
	return (struct switch_row){
		.from = from,
		.to = to,
		.operation = str_c(operation),
		.command = str_c(o && o->command ? o->command : ""),
		.who = str_c(o && o->who ? o->who : ""),
		.operation_id = str_c(o && o->operation_id ? o->operation_id : ""),
		.at_ms = now_ms(o),
		.uncommitted = o && o->uncommitted,
	};
}

static int add_journal(struct env_hold *h, const struct switch_row *s, struct err *e)
{
	return db_run(
		h->st, e,
		"INSERT OR REPLACE INTO journal (env, from_gen, to_gen, operation, command, at_ms, who, operation_id, uncommitted)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
		"siississi", hold_name(h), (int64_t)s->from, (int64_t)s->to, s->operation, s->command, s->at_ms, s->who,
		s->operation_id, (int64_t)s->uncommitted);
}

static int write_journal(struct env_hold *h, const struct switch_row *s, struct err *e)
{
	if (db_begin(h->st, e) < 0)
		return -1;
	return db_end(h->st, add_journal(h, s, e), e);
}

static int add_history(struct env_hold *h, const struct switch_row *s, const char *result, struct err *e)
{
	struct env_history_entry x = {
		.at_ms = s->at_ms,
		.operation = s->operation,
		.command = s->command,
		.result = str_c(result),
		.from = s->from,
		.to = s->to,
		.who = s->who,
		.operation_id = s->operation_id,
		.ended_ms = clock_wall_ms(),
	};
	return db_history(h->st, hold_name(h), &x, e);
}

static int rows_say_switched(struct env_hold *h, const struct switch_row *s, struct err *e)
{
	struct str name = hold_name(h);
	return db_run(h->st, e,
		      "INSERT INTO environment (name, current, committed, created_ms, changed_ms) VALUES (?1, ?2, ?4, ?3, ?3)"
		      " ON CONFLICT (name) DO UPDATE SET current = ?2, changed_ms = ?3,"
		      " committed = CASE WHEN ?5 THEN committed ELSE ?4 END",
		      "siiii", name, (int64_t)s->to, s->at_ms, (int64_t)(s->uncommitted ? 0 : s->to),
		      (int64_t)s->uncommitted) < 0 ||
			       db_run(h->st, e,
				      "UPDATE generation SET operation = ?3 WHERE env = ?1 AND number = ?2 AND operation = ''",
				      "sis", name, (int64_t)s->to, s->operation) < 0 ||
			       add_history(h, s, "done", e) < 0 ||
			       db_run(h->st, e, "DELETE FROM journal WHERE env = ?1", "s", name) < 0
		       ? -1
		       : 0;
}

static int finish_switch(struct env_hold *h, const struct switch_row *s, struct err *e)
{
	if (db_begin(h->st, e) < 0)
		return -1;
	return db_end(h->st, rows_say_switched(h, s, e), e);
}

static int forget_switch(struct env_hold *h, const struct switch_row *s, const char *result, struct err *e)
{
	if (db_begin(h->st, e) < 0)
		return -1;
	int rc = add_history(h, s, result, e);
	if (rc == 0)
		rc = db_run(h->st, e, "DELETE FROM journal WHERE env = ?1", "s", hold_name(h));
	return db_end(h->st, rc, e);
}

/* The link moved but the rest failed: move it back, so that "failed" means that nothing changed. */
static int undo_switch(struct env_hold *h, const struct switch_row *s, struct err *e)
{
	struct err second = ERR_INIT;
	if (go_back(h->dir_fd, s->from, &second) < 0) {
		err_ctx(e,
			"environment '%s' may be at generation %u or %u; run 'slipway env list' to see, and the command again",
			h->name, s->from, s->to);
		e->code = ERR_UNCERTAIN;
		return -1;
	}
	(void)forget_switch(h, s, "failed: rolled back", &second); /* else the next hold does it */
	err_ctx(e, "switched back to generation %u", s->from);
	e->code = ERR_ROLLED_BACK;
	return -1;
}

/* 1: the rows say that it has switched. A transaction that ended with an error may be on disk all the same: SQLite says so of one whose journal
 * it has removed, which is what commits, when it cannot sync the folder of that. */
static int stands(struct env_hold *h, const struct switch_row *s, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(h->st,
		       "SELECT 1 FROM environment WHERE name = ?1 AND current = ?2"
		       " AND NOT EXISTS (SELECT 1 FROM journal WHERE env = ?1)",
		       &q, e) < 0)
		return -1;
	db_bind_str(q, 1, hold_name(h));
	db_bind_int(q, 2, s->to);
	return db_step(q, e);
}

/* The link is where the journal says it is to be: whatever becomes of the rows, the next hold makes them follow. */
static int finish_or_undo(struct env_hold *h, const struct switch_row *s, struct err *e)
{
	struct err why = ERR_INIT, second = ERR_INIT;
	if (finish_switch(h, s, &why) == 0)
		return 0;
	int rc = stands(h, s, &second);
	if (rc > 0)
		return 0;
	*e = why;
	if (rc == 0)
		return undo_switch(h, s, e);
	err_ctx(e, "environment '%s' is at generation %u, or goes there with the next command", h->name, s->to);
	e->code = ERR_UNCERTAIN;
	return -1;
}

static int generation_exists(struct env_hold *h, uint32_t generation, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(h->st, "SELECT 1 FROM generation WHERE env = ?1 AND number = ?2", &q, e) < 0)
		return -1;
	db_bind_str(q, 1, hold_name(h));
	db_bind_int(q, 2, generation);
	return db_step(q, e);
}

static int need_generation(struct env_hold *h, uint32_t generation, struct err *e)
{
	int there = generation_exists(h, generation, e);
	if (there != 0)
		return there < 0 ? -1 : 0;
	return err_new(e, ERR_NOT_FOUND,
		       "environment '%s' has no generation %u; 'slipway env history -n %s' lists them", h->name,
		       generation, h->name);
}

int env_switch(struct env_hold *h, uint32_t generation, const char *operation, const struct env_opts *o, struct err *e)
{
	struct switch_row s = row_of(state_current_link(h->dir_fd), generation, operation, o);
	if (need_generation(h, generation, e) < 0)
		return -1;
	bool journalled = h->journalled == generation && h->journalled_uncommitted == s.uncommitted;
	h->journalled = 0;
	if (!journalled && write_journal(h, &s, e) < 0)
		return -1;
	if (point_current_at(h->dir_fd, generation, e) < 0) {
		struct err ignored = ERR_INIT;
		(void)forget_switch(h, &s, "failed: nothing changed", &ignored); /* else the next hold does it */
		return -1;
	}
	if (sys_fsync(h->dir_fd) < 0) {
		err_sys(e, "sync '%s'", h->name);
		return undo_switch(h, &s, e);
	}
	return finish_or_undo(h, &s, e);
}

/* -- keeping ----------------------------------------------------------------------------------------------------- */

int env_keep(struct env_hold *h, uint32_t generation, const char *operation, const struct env_opts *o, struct err *e)
{
	struct switch_row s = row_of(state_current_link(h->dir_fd), generation, operation, o);
	if (need_generation(h, generation, e) < 0 || db_begin(h->st, e) < 0)
		return -1;
	h->journalled = 0;
	int rc = db_run(h->st, e, "UPDATE generation SET operation = ?3 WHERE env = ?1 AND number = ?2", "sis",
			hold_name(h), (int64_t)generation, str_c(operation));
	if (rc == 0)
		rc = db_run(h->st, e, "DELETE FROM journal WHERE env = ?1", "s", hold_name(h));
	if (rc == 0)
		rc = add_history(h, &s, "done", e);
	return db_end(h->st, rc, e);
}

int env_commit(struct env_hold *h, const struct env_opts *o, struct err *e)
{
	uint32_t current = state_current_link(h->dir_fd);
	struct switch_row s = row_of(current, current, "commit", o);
	if (need_generation(h, current, e) < 0 || db_begin(h->st, e) < 0)
		return -1;
	int rc = db_run(h->st, e, "UPDATE environment SET committed = ?2, changed_ms = ?3 WHERE name = ?1", "sii",
			hold_name(h), (int64_t)current, s.at_ms);
	if (rc == 0)
		rc = add_history(h, &s, "done", e);
	return db_end(h->st, rc, e);
}

int env_set_started(struct env_hold *h, bool started, struct err *e)
{
	if (db_begin(h->st, e) < 0)
		return -1;
	int rc = db_run(h->st, e, "UPDATE environment SET started = ?2 WHERE name = ?1", "si", hold_name(h),
			(int64_t)started);
	return db_end(h->st, rc, e);
}

static bool is_digits(struct str s)
{
	size_t n = 0;
	while (n < s.n && s.p[n] >= '0' && s.p[n] <= '9')
		n++;
	return n == s.n;
}

int env_label_check(struct str label, struct err *e)
{
	if (label.n && (env_name_check(label, e) < 0 || is_digits(label) || str_eq(label, STR("committed"))))
		return err_new(
			e, ERR_USAGE,
			"'%.*s' is not a label (letters, digits, '.', '_', '-'; at most 64; not a number, not 'committed')",
			STR_ARG(str_head(label, 200)));
	return 0;
}

int env_label(struct env_hold *h, uint32_t generation, struct str label, struct err *e)
{
	struct str name = hold_name(h);
	if (env_label_check(label, e) < 0 || need_generation(h, generation, e) < 0 || db_begin(h->st, e) < 0)
		return -1;
	int rc = db_run(h->st, e, "UPDATE generation SET label = '' WHERE env = ?1 AND label = ?2", "ss", name, label);
	if (rc == 0)
		rc = db_run(h->st, e, "UPDATE generation SET label = ?3 WHERE env = ?1 AND number = ?2", "sis", name,
			    (int64_t)generation, label);
	return db_end(h->st, rc, e);
}

/* -- holding ----------------------------------------------------------------------------------------------------- */

static int recover_switch(struct env_hold *h, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_ptr(db_query) q = NULL;
	if (db_prepare(h->st,
		       "SELECT from_gen, to_gen, operation, command, at_ms, who, operation_id, uncommitted"
		       " FROM journal WHERE env = ?1",
		       &q, e) < 0)
		return -1;
	db_bind_str(q, 1, hold_name(h));
	int rc = db_step(q, e);
	if (rc <= 0)
		return rc;
	struct switch_row s = {
		.from = (uint32_t)db_int(q, 0),
		.to = (uint32_t)db_int(q, 1),
		.operation = db_str(q, 2, &a),
		.command = db_str(q, 3, &a),
		.at_ms = db_int(q, 4),
		.who = db_str(q, 5, &a),
		.operation_id = db_str(q, 6, &a),
		.uncommitted = db_int(q, 7) != 0,
	};
	db_query_free(steal_ptr(&q));
	if (state_current_link(h->dir_fd) == s.to)
		return sys_fsync(h->dir_fd) < 0 ? err_sys(e, "sync '%s'", h->name) : finish_switch(h, &s, e);
	return forget_switch(h, &s, "interrupted: nothing changed", e);
}

/* A generation that was laid out but never switched to belongs to a command that did not come to its end. */
static int forget_unused(struct env_hold *h, struct err *e)
{
	static const char unused[] = "SELECT number FROM generation WHERE env = ?1 AND operation = ''";
	auto_ptr(db_query) q = NULL;
	if (db_prepare(h->st, unused, &q, e) < 0)
		return -1;
	db_bind_str(q, 1, hold_name(h));
	int rc = db_step(q, e);
	if (rc <= 0)
		return rc;
	db_query_free(steal_ptr(&q));
	if (db_begin(h->st, e) < 0)
		return -1;
	rc = db_run(h->st, e,
		    "DELETE FROM digest WHERE env = ?1 AND number IN"
		    " (SELECT number FROM generation WHERE env = ?1 AND operation = '')",
		    "s", hold_name(h));
	if (rc == 0)
		rc = db_run(h->st, e, "DELETE FROM generation WHERE env = ?1 AND operation = ''", "s", hold_name(h));
	return db_end(h->st, rc, e);
}

/* 1: the last thing done to the environment was to remove it, when `generation` was current. */
static int was_removed(struct env_hold *h, uint32_t generation, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(
		    h->st,
		    "SELECT operation = 'remove' AND from_gen = ?2 FROM history WHERE env = ?1 ORDER BY id DESC LIMIT 1",
		    &q, e) < 0)
		return -1;
	db_bind_str(q, 1, hold_name(h));
	db_bind_int(q, 2, generation);
	int rc = db_step(q, e);
	return rc <= 0 ? rc : db_int(q, 0) != 0;
}

/* What is in use is never rubbish: where state.db knows nothing of it, it is state.db that was lost. */
static int check_current_is_known(struct env_hold *h, struct err *e)
{
	uint32_t current = state_current_link(h->dir_fd);
	int known = current ? generation_exists(h, current, e) : 1;
	if (known == 0)
		known = was_removed(h, current, e);
	if (known != 0)
		return known < 0 ? -1 : 0;
	return err_new(
		e, ERR_VERIFY,
		"state.db does not know generation %u, which is in use (is state.db lost, or from an old backup?); "
		"put the right state.db back, or move '%s/env/%s' away",
		current, h->st->root_path, h->name);
}

/* Folders without a row: a lay-out or a removal that did not come to its end. */
static int remove_rubbish(struct env_hold *h, struct err *e)
{
	auto_fs_list list = {0};
	if (check_current_is_known(h, e) < 0 || fs_list(h->dir_fd, ".", MAX_ENTRIES, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		uint64_t n;
		if (str_to_u64(str_c(list.name[i]), &n) && n > 0 && n < UINT32_MAX) {
			int there = generation_exists(h, (uint32_t)n, e);
			if (there < 0)
				return -1;
			if (there)
				continue;
		} else if (strcmp(list.name[i], "current") == 0 && state_current_link(h->dir_fd)) {
			int there = generation_exists(h, state_current_link(h->dir_fd), e);
			if (there < 0)
				return -1;
			if (there)
				continue;
		}
		if (fs_remove_tree(h->dir_fd, list.name[i], e) < 0)
			return -1;
	}
	return 0;
}

int env_is_held(struct env_state *st, struct str name, struct err *e)
{
	char lock_name[80];
	if (env_name_check(name, e) < 0)
		return -1;
	if (st->env_fd < 0)
		return 0;
	snprintf(lock_name, sizeof(lock_name), ".%.*s.lock", STR_ARG(name));
	auto_fd fd = openat(st->env_fd, lock_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open lock '%s'", lock_name);
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? 1 : err_sys(e, "lock '%s'", lock_name);
}

int env_hold(struct env_state *st, struct str name, int64_t wait_ms, struct env_hold **ret, struct err *e)
{
	char lock_name[80];
	if (env_name_check(name, e) < 0 || state_need(st, e) < 0)
		return -1;
	auto_ptr(env_hold) h = xcalloc(1, sizeof(*h));
	*h = (struct env_hold){.st = st, .name = str_dup(name), .lock_fd = -1, .dir_fd = -1};
	snprintf(lock_name, sizeof(lock_name), ".%s.lock", h->name);
	h->lock_fd = fs_lock(st->env_fd, lock_name, wait_ms, e);
	if (h->lock_fd < 0)
		return err_ctx(e, "environment '%s'", h->name);
	h->dir_fd = fs_open_dir_make(st->env_fd, h->name, e);
	if (h->dir_fd < 0 || recover_switch(h, e) < 0 || forget_unused(h, e) < 0 || remove_rubbish(h, e) < 0)
		return err_ctx(e, "environment '%s'", h->name);
	*ret = steal_ptr(&h);
	return 0;
}

void env_release(struct env_hold *h)
{
	if (!h)
		return;
	/* An environment that was never made, or is removed, leaves no empty folder behind, and no lock: who waits for that one
	 * sees that it is gone (fs_lock). Without the lock it is another's folder. */
	if (h->lock_fd >= 0 && (sys_unlinkat(h->st->env_fd, h->name, AT_REMOVEDIR) == 0 || errno == ENOENT)) {
		char lock_name[80];
		snprintf(lock_name, sizeof(lock_name), ".%s.lock", h->name);
		(void)sys_unlinkat(h->st->env_fd, lock_name, 0);
	}
	cleanup_fd(&h->dir_fd);
	cleanup_fd(&h->lock_fd);
	free(h->name);
	free(h);
}

/* -- laying out -------------------------------------------------------------------------------------------------- */

/* Numbers are never used twice, so that a history line always means one thing. */
static int next_number(struct env_hold *h, uint32_t *ret, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(h->st,
		       "SELECT max(coalesce((SELECT max(number) FROM generation WHERE env = ?1), 0),"
		       " coalesce((SELECT max(max(to_gen, from_gen)) FROM history WHERE env = ?1), 0))",
		       &q, e) < 0)
		return -1;
	db_bind_str(q, 1, hold_name(h));
	if (db_step(q, e) < 0)
		return -1;
	int64_t n = db_int(q, 0);
	if (n >= UINT32_MAX - 1)
		return err_new(e, ERR_LIMIT, "environment '%s' has used up its generation numbers", h->name);
	*ret = (uint32_t)n + 1;
	return 0;
}

static int add_digests(struct env_hold *h, uint32_t number, const struct env_spec_file *f, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(h->st, "INSERT OR IGNORE INTO digest (env, number, sha256) VALUES (?1, ?2, ?3)", &q, e) < 0)
		return -1;
	for (uint32_t i = 0; i < f->packages_n; i++) {
		db_bind_str(q, 1, hold_name(h));
		db_bind_int(q, 2, number);
		db_bind_bytes(q, 3, f->packages[i].record.sha256, SHA256_SIZE);
		if (db_step(q, e) < 0)
			return -1;
		db_reset(q);
	}
	return 0;
}

/* "python 3.9.18, numpy 1.26.4": what was asked for, as much as a table can show. */
static void put_version(const struct env_spec_file *f, struct buf *b)
{
	enum { ENOUGH = 60 };
	for (uint32_t i = 0; i < f->packages_n; i++) {
		const struct env_lock_package *p = &f->packages[i];
		if (!p->requested)
			continue;
		if (b->n + p->record.name.n + p->record.version.n > ENOUGH) {
			buf_put_c(b, b->n ? ", ..." : "");
			return;
		}
		buf_printf(b, "%s%.*s %.*s", b->n ? ", " : "", STR_ARG(p->record.name), STR_ARG(p->record.version));
	}
}

static int add_row(struct env_hold *h, uint32_t number, const struct env_plan *plan, const struct env_opts *o,
		   struct err *e)
{
	auto_buf lock = BUF_INIT(BUF_MAX), version = BUF_INIT(4096);
	env_file_write_spr(&plan->target, &lock);
	put_version(&plan->target, &version);
	if (db_run(h->st, e,
		   "INSERT INTO generation (env, number, made_ms, command, lock, packages, added, removed, changed, version)"
		   " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
		   "siissiiiis", hold_name(h), (int64_t)number, now_ms(o), str_c(o->command ? o->command : ""),
		   buf_str(&lock), (int64_t)plan->target.packages_n, (int64_t)plan->added_n, (int64_t)plan->removed_n,
		   (int64_t)plan->changed_n, buf_str(&version)) < 0)
		return -1;
	return add_digests(h, number, &plan->target, e);
}

static int remove_rows(struct env_hold *h, const char *where, uint32_t generation, struct err *e)
{
	auto_free char *a = xasprintf("DELETE FROM generation WHERE env = ?1 AND %s", where);
	auto_free char *b = xasprintf("DELETE FROM digest WHERE env = ?1 AND %s", where);
	return db_run(h->st, e, a, "si", hold_name(h), (int64_t)generation) < 0 ||
			       db_run(h->st, e, b, "si", hold_name(h), (int64_t)generation) < 0
		       ? -1
		       : 0;
}

struct lay_out {
	struct env_hold *h;
	uint32_t number;
	const struct env_plan *plan;
	const struct env_opts *o;
	bool recorded;
};

/* The row of what is being laid out, and the journal of the switch that is to follow: on disk by the time that the files
 * are in place, which takes longer. */
static int record_generation(void *ctx, struct err *e)
{
	struct lay_out *l = ctx;
	struct env_hold *h = l->h;
	if (db_begin(h->st, e) < 0)
		return -1;
	struct switch_row s =
		row_of(state_current_link(h->dir_fd), l->number, l->o->operation ? l->o->operation : "", l->o);
	if (add_row(h, l->number, l->plan, l->o, e) < 0 || (l->o->operation && add_journal(h, &s, e) < 0)) {
		db_rollback(h->st);
		return -1;
	}
	l->recorded = true; /* or perhaps: a commit that fails may be on disk all the same */
	if (db_commit(h->st, e) < 0)
		return -1;
	h->journalled = l->o->operation ? l->number : 0;
	h->journalled_uncommitted = s.uncommitted;
	return 0;
}

/* Rows of a generation that did not come to be; those that cannot be removed now go with the next hold. */
static void forget_generation(struct env_hold *h, uint32_t number)
{
	struct err ignored = ERR_INIT;
	h->journalled = 0;
	if (db_begin(h->st, &ignored) < 0)
		return;
	if (remove_rows(h, "number = ?2", number, &ignored) < 0 ||
	    db_run(h->st, &ignored, "DELETE FROM journal WHERE env = ?1", "s", hold_name(h)) < 0)
		db_rollback(h->st);
	else
		(void)db_commit(h->st, &ignored);
}

static void note_clobbers(const struct link_report *r, struct arena *a, struct str *notes, size_t *n)
{
	for (size_t i = 0; i < r->clobbers_n; i++) {
		const struct link_clobber *c = &r->clobbers[i];
		if (c->same)
			continue; /* nobody can tell which of the two it is */
		notes[(*n)++] = str_c(arena_printf(a, "'%.*s' is in both %.*s and %.*s: the file of %.*s is used",
						   STR_ARG(c->path), STR_ARG(c->winner), STR_ARG(c->loser),
						   STR_ARG(c->winner)));
	}
}

static void fill_report(const struct link_report *r, struct arena *a, uint32_t number, const struct carry_report *carry,
			struct env_report *ret)
{
	struct str *notes = arena_array(a, struct str, r->clobbers_n + r->scripts_n + 1);
	size_t n = 0;
	note_clobbers(r, a, notes, &n);
	for (size_t i = 0; i < r->scripts_n; i++)
		notes[n++] = r->scripts[i];
	if (r->messages.n)
		notes[n++] = r->messages;
	*ret = (struct env_report){
		.generation = number,
		.files = r->files,
		.bytes = r->bytes,
		.linked = r->linked,
		.copied = r->copied,
		.patched = r->patched,
		.carried = carry->files,
		.notes = notes,
		.notes_n = n,
		.left = carry->left,
		.left_n = carry->left_n,
	};
}

/* One that cannot be read, or has grown beyond sense, is left behind: it belongs to the past. */
static struct str so_far(struct env_hold *h, const char *path, struct buf *b)
{
	struct err ignored = ERR_INIT;
	if (!state_current_link(h->dir_fd) || fs_read(h->dir_fd, path, b, &ignored) < 0)
		return STR_NONE;
	return buf_str(b);
}

static int fill_generation(struct store *store, struct lay_out *l, struct arena *a, struct env_report *report,
			   struct err *e)
{
	struct env_hold *h = l->h;
	const struct env_opts *o = l->o;
	uint32_t number = l->number;
	char name[16];
	struct link_report linked = {0};
	struct carry_report carry = {0};
	snprintf(name, sizeof(name), "%u", number);
	auto_fd fd = fs_open_dir_make(h->dir_fd, name, e);
	if (fd < 0)
		return -1;
	auto_buf history = BUF_INIT(MAX_HISTORY), state = BUF_INIT(MAX_STATE);
	struct link_job job = {
		.prefix_fd = fd,
		.prefix = arena_printf(a, "%s/env/%s/%s", h->st->root_path, h->name, name),
		.store = store,
		.target = &l->plan->target,
		.before = &l->plan->before,
		.history = so_far(h, "current/conda-meta/history", &history),
		.state = o->sync_delete ? STR_NONE : so_far(h, "current/conda-meta/state", &state),
		.requested_by = o->command ? o->command : "",
		.opts = o,
		.meanwhile = record_generation,
		.meanwhile_ctx = l,
	};
	if (link_all(&job, a, &linked, e) < 0 || frozen_hand_on(h, fd, e) < 0)
		return -1;
	if (!o->sync_delete && generation_carry(h, state_current_link(h->dir_fd), fd, number, a, &carry, e) < 0)
		return -1;
	if (store_sync(store, e) < 0)
		return -1;
	if (sys_syncfs(fd) < 0)
		return err_sys(e, "sync generation %u", number);
	if (report)
		fill_report(&linked, a, number, &carry, report);
	return 0;
}

/* What a channel may say is more than what a recipe may hold. A generation whose own lock cannot be read again could be
 * neither listed nor updated nor exported: it is refused while nothing has changed. */
static int check_lock(const struct env_plan *plan, struct err *e)
{
	auto_arena a = ARENA_INIT;
	auto_buf lock = BUF_INIT(BUF_MAX);
	struct env_spec_file again;
	env_file_write_spr(&plan->target, &lock);
	if (lock.overflow)
		return err_new(e, ERR_LIMIT, "the lock of %u packages is too large", plan->target.packages_n);
	if (env_file_read(&a, buf_str(&lock), "the new lock", &again, e) < 0)
		return err_ctx(e, "what the channel says of a package cannot be kept (tell the channel's keeper)");
	return 0;
}

int env_lay_out(struct store *store, struct env_hold *h, const struct env_plan *plan, const struct env_opts *o,
		struct arena *a, struct env_report *report, struct err *e)
{
	uint32_t number = 0;
	char name[16];
	if (check_lock(plan, e) < 0 || next_number(h, &number, e) < 0)
		return -1;
	snprintf(name, sizeof(name), "%u", number);
	struct lay_out l = {.h = h, .number = number, .plan = plan, .o = o};
	if (fill_generation(store, &l, a, report, e) == 0)
		return 0;
	struct err ignored = ERR_INIT;
	if (l.recorded)
		forget_generation(h, number);
	(void)fs_remove_tree(h->dir_fd, name, &ignored); /* else the next hold does it */
	return err_ctx(e, "lay out generation %u of '%s'", number, h->name);
}

/* -- removing ---------------------------------------------------------------------------------------------------- */

/* The rows are gone, and with them what the files were for: that cannot be undone, nor need it be. */
static int remove_files(struct env_hold *h, const char *what, struct err *e)
{
	if (remove_rubbish(h, e) == 0)
		return 0;
	err_ctx(e, "%s of '%s' removed, but files are left, which the next changing command removes", what, h->name);
	e->code = ERR_UNCERTAIN;
	return -1;
}

static int committed_generation(struct env_hold *h, uint32_t *ret, struct err *e)
{
	auto_ptr(db_query) q = NULL;
	if (db_prepare(h->st, "SELECT committed FROM environment WHERE name = ?1", &q, e) < 0)
		return -1;
	db_bind_str(q, 1, hold_name(h));
	int rc = db_step(q, e);
	if (rc > 0)
		*ret = (uint32_t)db_int(q, 0);
	return rc < 0 ? -1 : 0;
}

int env_remove_generation(struct env_hold *h, uint32_t generation, struct err *e)
{
	uint32_t current = state_current_link(h->dir_fd), committed = 0;
	if (committed_generation(h, &committed, e) < 0)
		return -1;
	if (generation && generation == current)
		return err_new(e, ERR_FAILED,
			       "generation %u of '%s' is the current one; roll back to another one first", generation,
			       h->name);
	if (generation && generation == committed)
		return err_new(
			e, ERR_FAILED,
			"generation %u of '%s' is the committed one, which 'slipway install abort -n %s' goes back to; "
			"'slipway install commit -n %s' lets go of it",
			generation, h->name, h->name, h->name);
	if (generation) {
		int there = generation_exists(h, generation, e);
		if (there < 0)
			return -1;
		if (!there)
			return err_new(e, ERR_NOT_FOUND, "environment '%s' has no generation %u", h->name, generation);
	}
	if (db_begin(h->st, e) < 0)
		return -1;
	if (remove_rows(
		    h,
		    generation
			    ? "number = ?2"
			    : "number <> ?2 AND number NOT IN (SELECT number FROM generation WHERE env = ?1 AND label <> '') AND"
			      " number <> (SELECT committed FROM environment WHERE name = ?1)",
		    generation ? generation : current, e) < 0) {
		db_rollback(h->st);
		return -1;
	}
	return db_commit(h->st, e) < 0 ? -1 : remove_files(h, "generations", e);
}

int env_remove(struct env_hold *h, const struct env_opts *o, struct err *e)
{
	struct switch_row s = row_of(state_current_link(h->dir_fd), 0, "remove", o);
	if (!s.from)
		return err_new(e, ERR_NOT_FOUND, "no environment '%s'; 'slipway env list' shows what there is",
			       h->name);
	if (db_begin(h->st, e) < 0)
		return -1;
	if (remove_rows(h, "number > ?2", 0, e) < 0 || add_history(h, &s, "done", e) < 0 ||
	    db_run(h->st, e, "DELETE FROM operation WHERE env = ?1", "s", hold_name(h)) < 0 ||
	    db_run(h->st, e, "DELETE FROM environment WHERE name = ?1", "s", hold_name(h)) < 0) {
		db_rollback(h->st);
		return -1;
	}
	if (db_commit(h->st, e) < 0)
		return -1;
	(void)sys_unlinkat(h->dir_fd, "current", 0); /* first, so that nobody meets half of it; else with the rest */
	return remove_files(h, "all generations", e);
}
