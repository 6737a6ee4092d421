// SPDX-License-Identifier: Apache-2.0
/*
 * Foreground fetches of a channel, by three threads: one fetches, one reads metadata that came, one keeps what came. The first never
 * waits for a disk or for the database's lock, which bulk downloads may hold for long; who asked for a package has it when its last
 * byte was verified.
 */
#include "mirror/front.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/config.h"
#include "mirror/denials.h"
#include "mirror/learn.h"

/* HOLD_BACK: so many bytes of a file whose digest is known are shown only when it was verified. */
enum { HOLD_BACK = 16 << 10, STEP_MS = 20, AT_ONCE = 32 };
static const uint64_t unknown_max = (uint64_t)16 << 30, metadata_max = (uint64_t)2 << 30;

/* A proxy's metadata are read by a thread of their own after they came, and what came is kept by another; everything else is the front's. */
enum fetch_stage {
	FETCH_QUEUED,
	FETCH_ASKED,
	FETCH_TO_LEARN,
	FETCH_LEARNING,
	FETCH_LEARNED,
	FETCH_TO_KEEP,
	FETCH_KEEPING,
	FETCH_KEPT
};

struct waiter {
	mirror_fetch_notify *notify;
	void *ctx;
};
VEC_TYPE(waiter_vec, struct waiter);
struct mirror_fetch {
	struct front *front;
	struct mirror_fetch *next; /* of the front's list */
	struct get g;
	enum channel_file file;
	char path[CHANNEL_PATH_MAX + 1];
	char *url, *accept;
	char name[PARTIAL_NAME + 2];
	unsigned refs; /* those who wait, and the front while it is under way */
	bool telling;  /* waiters are called just now, without the lock */
	enum fetch_stage stage;
	bool done, lost, told;
	bool whole;  /* all is there and right, though it is not kept yet */
	bool renews; /* metadata of before are replaced */
	struct learned learned;
	uint64_t ready;
	struct err err;
	struct waiter_vec waiters;
};
struct front {
	struct front *next;
	struct mirror *m;
	const struct mirror_channel *channel;
	pthread_t thread;
	pthread_mutex_t lock; /* of the list and of all in it */
	pthread_cond_t more, changed, to_learn, to_keep;
	struct mirror_fetch *first;
	bool stop, made;
	pthread_t learning; /* a thread, where `learns` */
	bool learns;
	pthread_t keeper; /* a thread, where `keeps` */
	bool keeps, keeper_stop;
	struct upstreams seen; /* what the keeper is to save of them, where `seen_changed` */
	bool seen_changed;
	/* of the thread: */
	struct upstreams up;
	struct fetcher *fetcher;
	struct sql *db;
	int64_t id;
	int tree, work;
	unsigned active;
	struct denials denials;
};

/* -- fetches ------------------------------------------------------------------------------------------------------- */

static void fetch_free(struct mirror_fetch *x)
{
	cleanup_fd(&x->g.fd);
	cleanup_fd(&x->learned.fd);
	vec_release(&x->waiters);
	free(x->url);
	free(x->accept);
	free(x);
}

/* With the lock. */
static void unref(struct mirror_fetch *x)
{
	if (--x->refs == 0)
		fetch_free(x);
}

/* With the lock, which is let go of meanwhile: who is told may hold a lock of its own that it also holds when it looks. Only the front's
 * thread tells, and only it takes fetches from the list. */
static void notify_all(struct mirror_fetch *x)
{
	struct front *f = x->front;
	struct waiter_vec told = {0};
	vec_foreach(w, &x->waiters)
		if (w->notify)
			vec_push(&told, *w);
	x->telling = true;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
	vec_foreach(w, &told)
		w->notify(w->ctx);
	vec_release(&told);
	pthread_mutex_lock(&f->lock);
	x->telling = false;
	pthread_cond_broadcast(&f->changed);
}

static void take_from_list(struct mirror_fetch *x)
{
	for (struct mirror_fetch **p = &x->front->first; *p; p = &(*p)->next)
		if (*p == x) {
			*p = x->next;
			return;
		}
}

/* Clients of a signed channel ask for the root after theirs. While nobody upstream says whether there is one, what is held is good
 * without it: it is signed, and expires. */
static bool is_next_root(const struct front *f, const char *path)
{
	return str_starts(str_c(path), STR(CHANNEL_SIGNED "/metadata/")) && str_ends(str_c(path), STR(".root.json")) &&
	       fs_exists(f->tree, CHANNEL_SIGNED "/metadata/timestamp.json");
}

static void end(struct mirror_fetch *x, const struct err *why)
{
	struct front *f = x->front;
	struct stat st;
	pthread_mutex_lock(&f->lock);
	x->err = *why;
	if (why->code == ERR_NETWORK && is_next_root(f, x->path))
		x->err.code = ERR_NOT_FOUND;
	x->done = true;
	if (why->code == ERR_NONE && fstat(x->g.fd, &st) == 0)
		x->ready = (uint64_t)st.st_size;
	take_from_list(x);
	notify_all(x);
	unref(x);
	pthread_mutex_unlock(&f->lock);
}

/* -- what came ----------------------------------------------------------------------------------------------------- */

static int keep_pointer(struct front *f, struct sql *db, struct mirror_fetch *x, struct err *e)
{
	struct str id = x->g.upstream >= 0 ? f->up.v[x->g.upstream].id : STR("");
	return sql_run(db, e,
		       "INSERT OR REPLACE INTO pointer (channel, path, upstream, etag, last_modified, checked_ms)"
		       " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
		       "issssi", f->id, str_c(x->path), id, str_c(x->g.etag), str_c(x->g.last_modified),
		       clock_wall_ms());
}

static int keep_held(struct front *f, struct sql *db, struct mirror_fetch *x, const uint8_t sha[SHA256_SIZE],
		     struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	if (sql_prepare(
		    db,
		    "INSERT INTO file (channel, path, what, size, kind, told, first, time_ms, held, held_size, sha256, verified_ms)"
		    " VALUES (?1, ?2, ?3, ?4, -1, 0, 0, 0, 1, ?4, ?5, ?6) ON CONFLICT (channel, path) DO UPDATE SET"
		    " held = 1, held_size = ?4, sha256 = ?5, verified_ms = ?6, bad = ''",
		    &q, e) < 0)
		return -1;
	sql_bind_int(q, 1, f->id);
	sql_bind_str(q, 2, str_c(x->path));
	sql_bind_int(q, 3, x->file);
	sql_bind_int(q, 4, (int64_t)x->g.got_bytes);
	sql_bind_bytes(q, 5, sha, SHA256_SIZE);
	sql_bind_int(q, 6, clock_wall_ms());
	return sql_step(q, e) < 0 ? -1 : 0;
}

static bool is_passed_on(const struct front *f, const struct mirror_fetch *x)
{
	return x->file != CHANNEL_FILE_PACKAGE && f->channel->type == MIRROR_PROXY;
}

/* What was learned, and is in no partial file any more. */
static int take_learned(struct front *f, struct sql *db, struct mirror_fetch *x, struct err *e)
{
	struct learned *l = &x->learned;
	struct stat before;
	x->renews = x->file == CHANNEL_FILE_POINTER && fstatat(f->tree, x->path, &before, AT_SYMLINK_NOFOLLOW) == 0;
	if (place_put(l->folder, x->path, f->tree, x->path, e) < 0)
		return -1;
	pthread_mutex_lock(&f->lock);
	cleanup_fd(&x->g.fd);
	x->g.fd = steal_fd(&l->fd);
	pthread_mutex_unlock(&f->lock);
	x->g.got_bytes = l->size;
	return keep_held(f, db, x, l->sha256, e) < 0 || keep_pointer(f, db, x, e) < 0 ? -1 : 0;
}

static int sha_of(const struct mirror_fetch *x, uint8_t sha[SHA256_SIZE], struct err *e)
{
	if (!x->g.digest.known || x->g.digest.kind != DIGEST_SHA256)
		return sha256_fd(x->g.fd, sha, e);
	memcpy(sha, x->g.digest.bytes, SHA256_SIZE); /* it was compared while it came */
	return 0;
}

static int take(struct front *f, struct sql *db, struct mirror_fetch *x, struct err *e)
{
	uint8_t sha[SHA256_SIZE];
	char partial[sizeof(PARTIAL) + sizeof(x->name) + 1];
	snprintf(partial, sizeof(partial), PARTIAL "/%s", x->name);
	if (x->g.unchanged) {
		(void)sys_unlinkat(f->work, partial, 0);
		return keep_pointer(f, db, x, e);
	}
	if (sha_of(x, sha, e) < 0)
		return -1;
	if (sys_fsync(x->g.fd) < 0)
		return err_sys(e, "sync '%s'", x->path);
	if (place_put(f->work, partial, f->tree, x->path, e) < 0)
		return -1;
	return keep_held(f, db, x, sha, e);
}

/* What is asked for again and again need not be asked of upstreams each time. */
static void remember(struct front *f, const struct mirror_fetch *x, const struct err *why)
{
	int64_t keep_ms = why->code == ERR_NOT_FOUND ? DENIED_MS : 0;
	/* of what is held a new look need not be tried at each request either */
	if (why->code == ERR_NETWORK && is_passed_on(f, x) && fs_exists(f->tree, x->path))
		keep_ms = UNANSWERED_MS;
	if (keep_ms > f->channel->refresh_ms)
		keep_ms = f->channel->refresh_ms;
	if (keep_ms > 0)
		denials_put(&f->denials, str_c(x->path), why, clock_mono_ms() + keep_ms);
}

/* After all that was to be done with it. */
static void conclude(struct front *f, struct mirror_fetch *x, const struct err *why)
{
	struct err cured = *why;
	if (why->code != ERR_NONE) {
		(void)mirror_cure(f->m, &cured);
		char partial[sizeof(PARTIAL) + sizeof(x->name) + 1];
		snprintf(partial, sizeof(partial), PARTIAL "/%s", x->name);
		if (why->code != ERR_NETWORK) /* what can be gone on with stays */
			(void)sys_unlinkat(f->work, partial, 0);
		remember(f, x, why);
	}
	if (x->renews && why->code == ERR_NONE) /* there may be now what there was not */
		denials_clear(&f->denials);
	end(x, &cured);
}

/* With the lock: the keeper is to save it. */
static void remember_upstreams(struct front *f)
{
	for (size_t i = 0; i < f->up.n; i++) /* what was not saved yet still is to be */
		f->up.s[i].changed |= f->seen_changed && f->seen.s[i].changed;
	f->seen = f->up;
	f->seen_changed = true;
	for (size_t i = 0; i < f->up.n; i++)
		f->up.s[i].changed = false;
	pthread_cond_signal(&f->to_keep);
}

static void give_to_keeper(struct front *f, struct mirror_fetch *x)
{
	pthread_mutex_lock(&f->lock);
	if (!x->g.unchanged && x->file == CHANNEL_FILE_PACKAGE && !x->lost && x->g.got_bytes) {
		x->whole = true;
		x->ready = x->g.got_bytes;
		notify_all(x);
	}
	x->stage = FETCH_TO_KEEP;
	pthread_cond_signal(&f->to_keep);
	pthread_mutex_unlock(&f->lock);
}

static int start_learning(struct front *f, struct err *e);

static void on_done(struct get *g, void *ctx)
{
	struct mirror_fetch *x = ctx;
	struct front *f = x->front;
	struct err e = ERR_INIT;
	f->active--;
	pthread_mutex_lock(&f->lock);
	remember_upstreams(f);
	pthread_mutex_unlock(&f->lock);
	if (g->err.code != ERR_NONE) {
		e = g->err;
	} else if (is_passed_on(f, x) && !g->unchanged) {
		if (start_learning(f, &e) == 0) {
			pthread_mutex_lock(&f->lock);
			x->stage = FETCH_TO_LEARN;
			pthread_cond_signal(&f->to_learn);
			pthread_mutex_unlock(&f->lock);
			return;
		}
	} else {
		give_to_keeper(f, x);
		return;
	}
	conclude(f, x, &e);
}

/* -- what metadata tell -------------------------------------------------------------------------------------------- */

/* With the lock. */
static struct mirror_fetch *at_stage(const struct front *f, enum fetch_stage stage)
{
	struct mirror_fetch *x = f->first;
	while (x && x->stage != stage)
		x = x->next;
	return x;
}

static int learn(struct front *f, struct learner **l, struct mirror_fetch *x, struct err *e)
{
	char partial[sizeof(PARTIAL) + sizeof(x->name) + 1];
	snprintf(partial, sizeof(partial), PARTIAL "/%s", x->name);
	return (!*l && learner_new(f->m, f->channel, l, e) < 0) ||
			       learner_take(*l, f->work, partial, x->path, &x->learned, e) < 0
		       ? -1
		       : 0;
}

static void *learner_main(void *ctx)
{
	struct front *f = ctx;
	auto_ptr(learner) l = NULL;
	struct mirror_fetch *x;
	pthread_mutex_lock(&f->lock);
	for (;;) {
		while (!f->stop && !(x = at_stage(f, FETCH_TO_LEARN)))
			pthread_cond_wait(&f->to_learn, &f->lock);
		if (f->stop)
			break;
		x->stage = FETCH_LEARNING;
		pthread_mutex_unlock(&f->lock);
		struct err e = ERR_INIT;
		(void)learn(f, &l, x, &e);
		pthread_mutex_lock(&f->lock);
		x->err = e;
		x->stage = FETCH_LEARNED;
		pthread_cond_signal(&f->more);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int start_learning(struct front *f, struct err *e)
{
	if (f->learns)
		return 0;
	int rc = pthread_create(&f->learning, NULL, learner_main, f);
	f->learns = rc == 0;
	return rc ? err_errno(e, rc, "start a thread") : 0;
}

static void take_all_learned(struct front *f)
{
	for (;;) {
		pthread_mutex_lock(&f->lock);
		struct mirror_fetch *x = at_stage(f, FETCH_LEARNED);
		if (x)
			x->stage = FETCH_ASKED;
		pthread_mutex_unlock(&f->lock);
		if (!x)
			return;
		struct err e = x->err;
		if (e.code == ERR_NONE)
			give_to_keeper(f, x);
		else
			conclude(f, x, &e);
	}
}

/* -- the keeper ---------------------------------------------------------------------------------------------------- */

/* With the lock: what came, and what was seen of upstreams (n 0: nothing new). False: that was all. */
static bool next_to_keep(struct front *f, struct mirror_fetch **ret, struct upstreams *ret_seen)
{
	while (!(*ret = at_stage(f, FETCH_TO_KEEP)) && !f->seen_changed && !f->keeper_stop)
		pthread_cond_wait(&f->to_keep, &f->lock);
	if (*ret)
		(*ret)->stage = FETCH_KEEPING;
	*ret_seen = f->seen;
	ret_seen->n = f->seen_changed ? f->seen.n : 0;
	f->seen_changed = false;
	return *ret || ret_seen->n || !f->keeper_stop;
}

static int keep(struct front *f, struct sql *db, struct mirror_fetch *x, struct err *e)
{
	return is_passed_on(f, x) && !x->g.unchanged ? take_learned(f, db, x, e) : take(f, db, x, e);
}

static void *keeper_main(void *ctx)
{
	struct front *f = ctx;
	auto_ptr(sql) db = NULL;
	struct upstreams seen;
	struct mirror_fetch *x;
	pthread_mutex_lock(&f->lock);
	while (next_to_keep(f, &x, &seen)) {
		struct err e = ERR_INIT, ignored = ERR_INIT;
		pthread_mutex_unlock(&f->lock);
		int rc = db ? 0 : state_open(f->m, &db, &e);
		if (rc == 0 && x)
			(void)keep(f, db, x, &e);
		if (rc == 0 && seen.n)
			(void)upstreams_save(&seen, db, &ignored);
		pthread_mutex_lock(&f->lock);
		if (x) {
			x->err = e;
			x->stage = FETCH_KEPT;
			pthread_cond_signal(&f->more);
		}
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

static int start_keeper(struct front *f, struct err *e)
{
	if (f->keeps)
		return 0;
	int rc = pthread_create(&f->keeper, NULL, keeper_main, f);
	f->keeps = rc == 0;
	return rc ? err_errno(e, rc, "start a thread") : 0;
}

/* What came whole is kept first. */
static void end_keeper(struct front *f)
{
	if (!f->keeps)
		return;
	pthread_mutex_lock(&f->lock);
	f->keeper_stop = true;
	pthread_cond_signal(&f->to_keep);
	pthread_mutex_unlock(&f->lock);
	pthread_join(f->keeper, NULL);
	f->keeps = f->keeper_stop = false;
}

static void take_all_kept(struct front *f)
{
	for (;;) {
		pthread_mutex_lock(&f->lock);
		struct mirror_fetch *x = at_stage(f, FETCH_KEPT);
		pthread_mutex_unlock(&f->lock);
		if (!x)
			return;
		const struct err e = x->err;
		conclude(f, x, &e);
	}
}

/* -- the thread ---------------------------------------------------------------------------------------------------- */

static int read_validators(struct front *f, struct mirror_fetch *x, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	x->g.validators_of = -1;
	if (!fs_exists(f->tree, x->path))
		return 0;
	if (sql_prepare(f->db, "SELECT upstream, etag, last_modified FROM pointer WHERE channel = ?1 AND path = ?2", &q,
			e) < 0)
		return -1;
	sql_bind_int(q, 1, f->id);
	sql_bind_str(q, 2, str_c(x->path));
	int rc = sql_step(q, e);
	if (rc <= 0)
		return rc;
	for (size_t i = 0; i < f->up.n; i++)
		if (str_eq(f->up.v[i].id, sql_view(q, 0)))
			x->g.validators_of = (int)i;
	snprintf(x->g.etag, sizeof(x->g.etag), "%.*s", STR_ARG(sql_view(q, 1)));
	snprintf(x->g.last_modified, sizeof(x->g.last_modified), "%.*s", STR_ARG(sql_view(q, 2)));
	return 0;
}

/* Where it lies, when that is not its path. */
static int read_address(struct front *f, struct mirror_fetch *x, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	auto_arena a = ARENA_INIT;
	struct channel_item it;
	if (channel_kind_address(f->channel->kind, str_c(x->path), &a, &it)) {
		x->url = str_dup(it.url);
		x->accept = it.accept ? xstrdup(it.accept) : NULL;
		return 0;
	}
	if (sql_prepare(f->db, "SELECT url, accept FROM file WHERE channel = ?1 AND path = ?2", &q, e) < 0)
		return -1;
	sql_bind_int(q, 1, f->id);
	sql_bind_str(q, 2, str_c(x->path));
	int rc = sql_step(q, e);
	if (rc <= 0)
		return rc;
	if (sql_view(q, 0).n)
		x->url = str_dup(sql_view(q, 0));
	if (sql_view(q, 1).n)
		x->accept = str_dup(sql_view(q, 1));
	return 0;
}

static int check_space(struct front *f, const struct mirror_fetch *x, struct err *e)
{
	struct statvfs v;
	if (fstatvfs(f->tree, &v) < 0)
		return err_sys(e, "look at the free space");
	uint64_t available = (uint64_t)v.f_bavail * v.f_frsize;
	if (available >= x->g.size && available - x->g.size >= f->m->config.reserve_bytes)
		return 0;
	return mirror_no_space(f->m, x->path, x->g.size, available, e);
}

static int begin(struct front *f, struct mirror_fetch *x, struct err *e)
{
	struct stat st;
	char name[PARTIAL_NAME];
	/* what metadata tell of is asked for, whatever was said before them */
	if (!x->told && denials_get(&f->denials, str_c(x->path), clock_mono_ms(), e))
		return -1;
	if (check_space(f, x, e) < 0)
		return -1;
	partial_name(str_c(x->path), name);
	snprintf(x->name, sizeof(x->name), "d-%s", name); /* a sync may fetch the same */
	if (read_address(f, x, e) < 0 || read_validators(f, x, e) < 0)
		return -1;
	x->g.path = str_c(x->path);
	x->g.url = str_c(x->url);
	x->g.accept = x->accept;
	x->g.label = x->path;
	x->g.max_bytes = is_passed_on(f, x) ? metadata_max : unknown_max;
	x->g.prefer = -1;
	x->g.done = on_done;
	x->g.ctx = x;
	int fd = partial_open(f->work, x->name, e);
	if (fd < 0)
		return -1;
	pthread_mutex_lock(&f->lock);
	x->g.fd = fd;
	pthread_mutex_unlock(&f->lock);
	if (x->g.digest.known && fstat(fd, &st) == 0)
		x->g.have = (uint64_t)st.st_size;
	f->active++;
	fetcher_add(f->fetcher, &x->g);
	return 0;
}

/* How much may be seen of what has come. With the lock. */
static void look(struct mirror_fetch *x)
{
	struct stat st;
	if (x->stage != FETCH_ASKED || x->done || x->g.fd < 0 || fstat(x->g.fd, &st) < 0)
		return;
	uint64_t came = (uint64_t)st.st_size;
	if (x->g.digest.known)
		came = came > HOLD_BACK ? came - HOLD_BACK : 0;
	if (came < x->ready && !x->lost &&
	    (uint64_t)st.st_size < x->ready) { /* it began anew: what was sent is of another file */
		x->lost = true;
		notify_all(x);
	}
	if (came > x->ready && x->file == CHANNEL_FILE_PACKAGE) {
		x->ready = came;
		notify_all(x);
	}
}

static void begin_queued(struct front *f)
{
	for (;;) {
		struct mirror_fetch *x;
		struct err e = ERR_INIT;
		pthread_mutex_lock(&f->lock);
		x = at_stage(f, FETCH_QUEUED);
		if (x)
			x->stage = FETCH_ASKED;
		pthread_mutex_unlock(&f->lock);
		if (!x)
			return;
		if (begin(f, x, &e) < 0)
			end(x, &e);
	}
}

static int open_front(struct front *f, struct err *e)
{
	struct place p = {.m = f->m, .c = f->channel};
	f->tree = mirror_tree(f->m, f->channel, e);
	f->work = f->tree < 0 ? -1 : fs_open_dir_make(f->tree, WORK_FOLDER, e);
	if (f->work < 0 || fs_mkdirs(f->work, PARTIAL, 0700, e) < 0 || state_open(f->m, &f->db, e) < 0)
		return -1;
	p.db = f->db;
	if (place_find(&p, e) < 0)
		return -1;
	f->id = p.id;
	return upstreams_init(&f->up, f->channel, &clock_system, e) < 0 || upstreams_load(&f->up, f->db, e) < 0 ||
			       start_keeper(f, e) < 0
		       ? -1
		       : fetcher_new(f->m, &f->up, 0, AT_ONCE, NULL, &f->fetcher, e);
}

static void fail_all(struct front *f, const struct err *why)
{
	for (;;) {
		pthread_mutex_lock(&f->lock);
		struct mirror_fetch *x = f->first;
		pthread_mutex_unlock(&f->lock);
		if (!x)
			return;
		end(x, why);
	}
}

/* False: the mirror is closed. */
static bool wait_for_work(struct front *f)
{
	pthread_mutex_lock(&f->lock);
	while (!f->stop && !f->active && !at_stage(f, FETCH_QUEUED) && !at_stage(f, FETCH_LEARNED) &&
	       !at_stage(f, FETCH_KEPT))
		pthread_cond_wait(&f->more, &f->lock);
	bool go_on = !f->stop;
	pthread_mutex_unlock(&f->lock);
	return go_on;
}

static void *front_main(void *ctx)
{
	struct front *f = ctx;
	struct err e = ERR_INIT;
	while (wait_for_work(f)) {
		if (!f->fetcher && open_front(f, &e) < 0) {
			fail_all(f, &e);
			e = ERR_INIT;
			end_keeper(f);
			sql_close(f->db);
			f->db = NULL;
			cleanup_fd(&f->tree);
			cleanup_fd(&f->work);
			continue;
		}
		begin_queued(f);
		take_all_learned(f);
		take_all_kept(f);
		if (f->active && fetcher_step(f->fetcher, STEP_MS, &e) < 0) {
			fetcher_cancel(f->fetcher);
			e = ERR_INIT;
		}
		pthread_mutex_lock(&f->lock);
		for (struct mirror_fetch *x = f->first; x; x = x->next)
			look(x);
		pthread_mutex_unlock(&f->lock);
	}
	if (f->learns) {
		pthread_mutex_lock(&f->lock);
		pthread_cond_signal(&f->to_learn);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->learning, NULL);
	}
	fetcher_free(f->fetcher);
	end_keeper(f);
	take_all_kept(f);
	(void)err_new(&e, ERR_FAILED, "interrupted");
	fail_all(f, &e);
	denials_release(&f->denials);
	sql_close(f->db);
	cleanup_fd(&f->tree);
	cleanup_fd(&f->work);
	return NULL;
}

/* -- callers ------------------------------------------------------------------------------------------------------- */

static int front_of(struct mirror *m, const struct mirror_channel *c, struct front **ret, struct err *e)
{
	struct front *f;
	int rc = 0;
	pthread_mutex_lock(&m->fronts_lock);
	for (f = m->fronts; f && f->channel != c; f = f->next)
		;
	if (!f) {
		f = xcalloc(1, sizeof(*f));
		*f = (struct front){.m = m, .channel = c, .next = m->fronts, .tree = -1, .work = -1};
		pthread_mutex_init(&f->lock, NULL);
		pthread_cond_init(&f->more, NULL);
		pthread_cond_init(&f->changed, NULL);
		pthread_cond_init(&f->to_learn, NULL);
		pthread_cond_init(&f->to_keep, NULL);
		rc = pthread_create(&f->thread, NULL, front_main, f);
		if (rc == 0) {
			m->fronts = f;
		} else {
			free(f);
			f = NULL;
		}
	}
	pthread_mutex_unlock(&m->fronts_lock);
	*ret = rc ? NULL : f;
	return rc ? err_errno(e, rc, "start a thread") : 0;
}

void fronts_end(struct mirror *m)
{
	struct front *f;
	while ((f = m->fronts)) {
		m->fronts = f->next;
		pthread_mutex_lock(&f->lock);
		f->stop = true;
		pthread_cond_signal(&f->more);
		pthread_mutex_unlock(&f->lock);
		pthread_join(f->thread, NULL);
		pthread_mutex_destroy(&f->lock);
		pthread_cond_destroy(&f->more);
		pthread_cond_destroy(&f->changed);
		pthread_cond_destroy(&f->to_learn);
		pthread_cond_destroy(&f->to_keep);
		free(f);
	}
}

/* With the lock. */
static struct mirror_fetch *find_or_queue(struct front *f, const struct mirror_found *found)
{
	for (struct mirror_fetch *x = f->first; x; x = x->next)
		if (strcmp(x->path, found->path) == 0)
			return x;
	struct mirror_fetch *x = xcalloc(1, sizeof(*x));
	*x = (struct mirror_fetch){
		.front = f, .next = f->first, .file = found->file, .refs = 1, .told = found->told, .learned.fd = -1};
	x->g = (struct get){.fd = -1, .size = found->want_size, .digest = found->digest};
	snprintf(x->path, sizeof(x->path), "%s", found->path);
	f->first = x;
	pthread_cond_signal(&f->more);
	return x;
}

int mirror_fetch_begin(struct mirror_reader *r, const struct mirror_found *found, mirror_fetch_notify *notify,
		       void *ctx, struct mirror_fetch **ret, struct err *e)
{
	struct front *f;
	if (front_of(reader_mirror(r), found->channel, &f, e) < 0)
		return -1;
	pthread_mutex_lock(&f->lock);
	struct mirror_fetch *x = find_or_queue(f, found);
	if (ret) {
		x->refs++;
		vec_push(&x->waiters, ((struct waiter){notify, ctx}));
		*ret = x;
	}
	pthread_mutex_unlock(&f->lock);
	return 0;
}

/* With the lock. */
static void view(const struct mirror_fetch *x, struct mirror_fetch_view *ret)
{
	*ret = (struct mirror_fetch_view){
		.fd = x->g.fd, .ready = x->ready, .size = x->g.size, .done = x->done || x->lost, .err = x->err};
	if (x->lost)
		err_new(&ret->err, ERR_NETWORK, "'%s' changed upstream while it was sent", x->path);
	ret->whole = x->whole || (x->done && ret->err.code == ERR_NONE);
	if (ret->whole)
		ret->size = x->ready;
}

void mirror_fetch_look(struct mirror_fetch *x, struct mirror_fetch_view *ret)
{
	pthread_mutex_lock(&x->front->lock);
	view(x, ret);
	pthread_mutex_unlock(&x->front->lock);
}

void mirror_fetch_wait(struct mirror_fetch *x, uint64_t past, struct mirror_fetch_view *ret)
{
	pthread_mutex_lock(&x->front->lock);
	while (!x->done && !x->lost && x->ready <= past)
		pthread_cond_wait(&x->front->changed, &x->front->lock);
	view(x, ret);
	pthread_mutex_unlock(&x->front->lock);
}

void mirror_fetch_leave(struct mirror_fetch *x, void *ctx)
{
	struct front *f = x->front;
	pthread_mutex_lock(&f->lock);
	while (x->telling)
		pthread_cond_wait(&f->changed, &f->lock);
	for (size_t i = 0; i < x->waiters.n; i++)
		if (x->waiters.v[i].ctx == ctx) {
			x->waiters.v[i] = *vec_last(&x->waiters);
			x->waiters.n--;
			break;
		}
	unref(x);
	pthread_mutex_unlock(&f->lock);
}

/* -- for those who wait for several files --------------------------------------------------------------------------- */

/* NULL where it is held. The place of `ret` says who waits. */
static int bring_begin(struct mirror_reader *r, struct str channel, struct str path, struct mirror_fetch **ret,
		       struct err *e)
{
	struct mirror_found found;
	*ret = NULL;
	if (mirror_find(r, channel, path, &found, e) < 0)
		return -1;
	if (found.answer == MIRROR_HELD) {
		cleanup_fd(&found.fd);
		return 0;
	}
	if (found.answer == MIRROR_NONE)
		return err_new(e, ERR_NOT_FOUND, "nobody has '%.*s'", STR_ARG(path));
	return mirror_fetch_begin(r, &found, NULL, ret, ret, e);
}

static int bring_end(struct mirror_fetch **x, struct str path, struct err *e)
{
	struct mirror_fetch_view view = {0};
	if (!*x)
		return 0;
	while (!view.done)
		mirror_fetch_wait(*x, view.ready, &view);
	mirror_fetch_leave(*x, x);
	if (view.err.code == ERR_NONE)
		return 0;
	*e = view.err;
	return err_ctx(e, "fetch '%.*s'", STR_ARG(path));
}

int mirror_bring(struct mirror_reader *r, struct str channel, const struct str *paths, size_t n, struct err *e)
{
	enum { BRING_AT_ONCE = 8 };
	struct mirror_fetch *x[BRING_AT_ONCE];
	struct err later = ERR_INIT; /* of those that were under way when one failed */
	size_t begun = 0;
	int rc = 0;
	for (size_t done = 0; done < n; done++) {
		for (; rc == 0 && begun < n && begun < done + BRING_AT_ONCE; begun += rc == 0)
			rc = bring_begin(r, channel, paths[begun], &x[begun % BRING_AT_ONCE], e);
		if (done == begun)
			break;
		if (bring_end(&x[done % BRING_AT_ONCE], paths[done], rc < 0 ? &later : e) < 0)
			rc = -1;
	}
	return rc;
}
