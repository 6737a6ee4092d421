// SPDX-License-Identifier: Apache-2.0
/* Keeping house: what is named no longer goes, what is held is read again. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/sys.h"
#include "mirror/config.h"
#include "mirror/sync.h"

enum {
	FILES_MAX = 1 << 22,
	PAGE = 500,
	PARTIAL_KEEP_S = 7 * 24 * 3600,
	TEND_MS = 200,
	TENDERS_MAX = 64,
	SIGN_MS = 3600 * 1000
};
static const int64_t SIGN_SOON_MS = (int64_t)14 * 24 * 3600 * 1000;

/* -- prune --------------------------------------------------------------------------------------------------------- */

struct pruning {
	struct place p;
	bool dry_run;
	struct mirror_prune_result *res;
};

static int remove_file(struct pruning *x, const char *path, struct err *e)
{
	struct stat st;
	if (fstatat(x->p.tree, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "look at '%s'", path);
	x->res->files++;
	x->res->bytes += (uint64_t)st.st_size;
	if (x->dry_run)
		return 0;
	return sys_unlinkat(x->p.tree, path, 0) < 0 && errno != ENOENT ? err_sys(e, "remove '%s'", path) : 0;
}

/* Of a channel that follows: the database says since when no metadata in use name a file. */
static int prune_followed(struct pruning *x, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	int64_t before = clock_wall_ms() - x->p.c->grace_ms;
	int rc;
	if (sql_prepare(x->p.db, "SELECT path, gone_ms FROM file WHERE channel = ?1 AND gone_ms > 0 AND held = 1", &q,
			e) < 0)
		return -1;
	sql_bind_int(q, 1, x->p.id);
	while ((rc = sql_step(q, e)) > 0) {
		auto_free char *path = str_dup(sql_view(q, 0));
		if (sql_int(q, 1) > before)
			x->res->waiting++;
		else if (remove_file(x, path, e) < 0)
			return -1;
	}
	if (rc < 0 || x->dry_run)
		return rc;
	return sql_run(x->p.db, e, "DELETE FROM file WHERE channel = ?1 AND gone_ms > 0 AND gone_ms <= ?2", "ii",
		       x->p.id, before);
}

struct named {
	struct arena a;
	struct map path;
	struct pruning *x;
};

static int name_it(void *ctx, const struct channel_item *it, struct err *e)
{
	struct named *n = ctx;
	(void)e;
	if (!map_get(&n->path, it->path))
		*map_put(&n->path, arena_str(&n->a, it->path)) = 1;
	return 0;
}

static int prune_one(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct named *n = ctx;
	(void)dirfd, (void)name;
	if (!S_ISREG(st->st_mode) || rel[0] == '.' || strstr(rel, "/."))
		return 0;
	if (str_starts(str_c(rel), STR(CHANNEL_SIGNED "/")) ||
	    channel_kind_file(n->x->p.c->kind, str_c(rel)) != CHANNEL_FILE_PACKAGE || map_get(&n->path, str_c(rel)))
		return 0;
	/* what is being published has no metadata yet */
	int64_t age_ms = clock_wall_ms() - (int64_t)st->st_ctim.tv_sec * 1000;
	if (age_ms < n->x->p.c->grace_ms) {
		n->x->res->waiting++;
		return 0;
	}
	return remove_file(n->x, rel, e);
}

/* Of a local channel its own metadata say which packages there are. */
static int prune_local(struct pruning *x, struct err *e)
{
	struct named n = {.x = x};
	const struct mirror_channel *c = x->p.c;
	const struct channel_walk_opts o = {.suites = c->suites.v, .suites_n = c->suites.n, .sources = true};
	auto_ptr(channel_walk) w = NULL;
	int rc = channel_walk_new(c->kind, x->p.tree, &o, &w, e);
	while (rc >= 0 && (rc = channel_walk_next(w, name_it, &n, e)) > 0)
		;
	if (rc == 0)
		rc = fs_walk(x->p.tree, ".", prune_one, &n, e);
	map_release(&n.path);
	arena_release(&n.a);
	return rc;
}

static int prune_partial(struct pruning *x, struct err *e)
{
	auto_fs_list list = {0};
	struct stat st;
	if (fs_list(x->p.work, PARTIAL, FILES_MAX, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++) {
		auto_free char *path = xasprintf(PARTIAL "/%s", list.name[i]);
		if (fstatat(x->p.work, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    (int64_t)st.st_mtim.tv_sec + PARTIAL_KEEP_S > clock_wall_ms() / 1000)
			continue;
		x->res->files++;
		x->res->bytes += (uint64_t)st.st_size;
		if (!x->dry_run && sys_unlinkat(x->p.work, path, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s'", path);
	}
	return 0;
}

int mirror_prune(struct mirror *m, const struct mirror_channel *c, bool dry_run, struct mirror_prune_result *ret,
		 struct err *e)
{
	struct pruning x = {.p = PLACE_INIT, .dry_run = dry_run, .res = ret};
	*ret = (struct mirror_prune_result){0};
	int rc = place_open(&x.p, m, c, e);
	if (rc == 0)
		rc = c->type == MIRROR_LOCAL ? prune_local(&x, e) : prune_followed(&x, e);
	if (rc == 0)
		rc = prune_partial(&x, e);
	place_release(&x.p);
	return rc < 0 ? err_ctx(e, "prune '%s'", c->name.n ? c->name.p : mirror_dir(m)) : 0;
}

/* -- scrub --------------------------------------------------------------------------------------------------------- */

struct scrubbing {
	struct place p;
	struct arena *a;
	struct mirror_scrub_result *res;
	struct damage_vec damaged;
	const atomic_bool *stop;
	int64_t before_ms;
};
struct held {
	struct str path;
	uint64_t size;
	struct digest_value digest;
};

static int digest_of(int fd, enum digest_kind kind, uint8_t got[DIGEST_MAX], struct err *e)
{
	static const size_t block = 1 << 18;
	auto_ptr(digest) d = digest_new(kind);
	auto_free char *piece = xmalloc(block);
	for (;;) {
		ssize_t n = read(fd, piece, block);
		if (n < 0)
			return err_sys(e, "read");
		if (n == 0)
			break;
		digest_update(d, piece, (size_t)n);
	}
	(void)digest_final(d, got);
	return 0;
}

static int set_aside(struct scrubbing *x, const struct held *h, const char *reason, struct err *e)
{
	char name[PARTIAL_NAME], to[sizeof(QUARANTINE) + PARTIAL_NAME + 1];
	partial_name(h->path, name);
	snprintf(to, sizeof(to), QUARANTINE "/%s", name);
	vec_push(&x->damaged, ((struct mirror_damage){arena_str(x->a, h->path), arena_str(x->a, str_c(reason))}));
	if (fs_mkdirs(x->p.work, QUARANTINE, 0700, e) < 0)
		return -1;
	if (sys_renameat(x->p.tree, h->path.p, x->p.work, to) < 0 && errno != ENOENT)
		return err_sys(e, "set '%s' aside", h->path.p);
	return sql_run(x->p.db, e, "UPDATE file SET held = 0, bad = ?3 WHERE channel = ?1 AND path = ?2", "iss",
		       x->p.id, h->path, str_c(reason));
}

static int scrub_one(struct scrubbing *x, const struct held *h, struct err *e)
{
	uint8_t got[DIGEST_MAX] = {0};
	struct stat st;
	struct err why = ERR_INIT;
	auto_fd fd = openat(x->p.tree, h->path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return set_aside(x, h, "it is missing", e);
	if (fd < 0 && (errno == ELOOP || errno == EIO))
		return set_aside(x, h, "it cannot be read", e);
	/* too many descriptors, no memory, permissions: that says nothing of the file */
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", h->path.p);
	x->res->files++;
	x->res->bytes += (uint64_t)st.st_size;
	if (!h->digest.known) {
		x->res->unknown++;
		return 0;
	}
	if (digest_of(fd, h->digest.kind, got, &why) < 0)
		return set_aside(x, h, why.msg, e);
	if (memcmp(got, h->digest.bytes, digest_size(h->digest.kind)) != 0)
		return set_aside(x, h, "its bytes are no longer what was verified", e);
	return sql_run(x->p.db, e, "UPDATE file SET verified_ms = ?3, bad = '' WHERE channel = ?1 AND path = ?2", "isi",
		       x->p.id, h->path, clock_wall_ms());
}

static int read_held(struct scrubbing *x, struct str after, struct arena *a, struct held *v, size_t *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	int rc;
	*ret = 0;
	if (sql_prepare(x->p.db,
			"SELECT path, held_size, sha256 FROM file WHERE channel = ?1 AND path > ?2 AND held = 1"
			" AND (verified_ms <= ?3 OR verified_ms > ?5) ORDER BY path LIMIT ?4",
			&q, e) < 0)
		return -1;
	sql_bind_int(q, 1, x->p.id);
	sql_bind_str(q, 2, after);
	sql_bind_int(q, 3, x->before_ms);
	sql_bind_int(q, 4, PAGE);
	sql_bind_int(q, 5, clock_wall_ms()); /* by a clock that was ahead */
	while ((rc = sql_step(q, e)) > 0) {
		struct held *h = &v[(*ret)++];
		struct str sha = sql_view(q, 2);
		*h = (struct held){.path = sql_str(q, 0, a), .size = (uint64_t)sql_int(q, 1)};
		h->digest.known = sha.n == SHA256_SIZE;
		if (h->digest.known)
			memcpy(h->digest.bytes, sha.p, sha.n);
	}
	return rc;
}

static bool stopped(const struct scrubbing *x)
{
	return x->stop && atomic_load(x->stop);
}

static int scrub_followed(struct scrubbing *x, struct err *e)
{
	char after[CHANNEL_PATH_MAX + 1] = "";
	for (;;) {
		auto_arena a = ARENA_INIT;
		struct held v[PAGE];
		size_t n;
		if (read_held(x, str_c(after), &a, v, &n, e) < 0)
			return -1;
		for (size_t i = 0; i < n && !stopped(x); i++)
			if (scrub_one(x, &v[i], e) < 0)
				return -1;
		if (n < PAGE || stopped(x))
			return 0;
		snprintf(after, sizeof(after), "%s", v[n - 1].path.p);
	}
}

static int scrub_item(void *ctx, const struct channel_item *it, struct err *e)
{
	struct scrubbing *x = ctx;
	auto_free char *path = str_dup(it->path);
	if (it->what != CHANNEL_FILE_PACKAGE || stopped(x) || !fs_exists(x->p.tree, path))
		return 0;
	const struct held h = {.path = str_c(path), .size = it->size, .digest = it->digest};
	return scrub_one(x, &h, e);
}

/* Nobody can bring back what is damaged of a local channel, but nobody gets it either. */
static int scrub_local(struct scrubbing *x, struct err *e)
{
	const struct mirror_channel *c = x->p.c;
	const struct channel_walk_opts o = {.suites = c->suites.v, .suites_n = c->suites.n, .sources = true};
	auto_ptr(channel_walk) w = NULL;
	int rc = channel_walk_new(c->kind, x->p.tree, &o, &w, e);
	while (rc >= 0 && (rc = channel_walk_next(w, scrub_item, x, e)) > 0)
		;
	return rc;
}

int mirror_scrub(struct mirror *m, const struct mirror_channel *c, int64_t older_ms, const atomic_bool *stop,
		 struct arena *a, struct mirror_scrub_result *ret, struct err *e)
{
	struct scrubbing x = {
		.p = PLACE_INIT, .a = a, .res = ret, .stop = stop, .before_ms = clock_wall_ms() - older_ms};
	*ret = (struct mirror_scrub_result){0};
	int rc = place_open(&x.p, m, c, e);
	if (rc == 0)
		rc = c->type == MIRROR_LOCAL ? scrub_local(&x, e) : scrub_followed(&x, e);
	ret->damaged = vec_copy(&x.damaged, a);
	ret->damaged_n = x.damaged.n;
	vec_release(&x.damaged);
	place_release(&x.p);
	return rc < 0 ? err_ctx(e, "scrub '%s'", c->name.n ? c->name.p : mirror_dir(m)) : 0;
}

/* -- all of it, for ever ------------------------------------------------------------------------------------------- */

struct tended {
	int64_t next_sync_ms, next_house_ms, next_sign_ms; /* monotonic */
	bool busy;
};

static void fail(struct progress *p, const char *phase, const struct mirror_channel *c, const char *text)
{
	progress_send(p,
		      (struct progress_event){.kind = PROGRESS_FAILED, .phase = phase, .id = c->name.p, .text = text});
}

/* A day, or as often as everything is to be read again where that is sooner. */
static int64_t house_ms(const struct mirror_config *k)
{
	int64_t day = INT64_C(86400000);
	return k->scrub_ms < day ? k->scrub_ms : day;
}

/* What expires soon and whose keys are here is signed again, long before; what is not here has to be told in time. */
static void sign_channel(struct mirror *m, const struct mirror_channel *c, struct progress *progress)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT, none = ERR_INIT;
	struct mirror_signed done;
	auto_fd keys = fs_open_dir(m->dir_fd, MIRROR_KEYS, &none);
	const struct mirror_sign_opts o = {.kind = c->kind, .keys_fd = &keys, .keys_n = keys >= 0};
	const char *folder = arena_printf(&a, "%s/content/%.*s", m->dir, STR_ARG(c->name));
	int rc = mirror_sign(folder, &o, &a, &done, &e);
	if (rc < 0)
		fail(progress, "sign", c, e.msg);
	for (size_t i = 0; rc > 0 && i < done.role_n; i++) {
		const struct tuf_role_status *r = &done.role[i];
		auto_buf until = BUF_INIT(64);
		clock_put_iso(&until, r->expires_ms);
		if (r->expires_ms - clock_wall_ms() < SIGN_SOON_MS && (int64_t)r->keys_here < r->threshold)
			fail(progress, "sign", c,
			     arena_printf(&a,
					  "%.*s of the signed channel expires at %s, and its keys are not here: sign it "
					  "with them ('slipway tuf renew'), or clients will refuse the channel",
					  STR_ARG(r->role), until.p));
	}
}

static void tend_one(struct mirror *m, const struct mirror_channel *c, struct tended *t, const atomic_bool *stop,
		     struct progress *progress)
{
	auto_arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	int64_t now = clock_mono_ms();
	const struct mirror_sync_opts o = {.bulk_mbit_per_s = -1, .stop = stop, .progress = progress};
	struct mirror_sync_result s;
	struct mirror_prune_result p;
	struct mirror_scrub_result r;
	if (c->type == MIRROR_FOLLOW && now >= t->next_sync_ms) {
		if (mirror_sync(m, c, &o, &a, &s, &e) < 0 && !atomic_load(stop))
			fail(progress, "sync", c, e.msg);
		else if (s.damaged_n)
			fail(progress, "sync", c, "some packages could not be had; the channel's history names them");
		t->next_sync_ms = clock_mono_ms() + c->refresh_ms;
	}
	if (c->type == MIRROR_LOCAL && now >= t->next_sign_ms) {
		t->next_sign_ms = now + SIGN_MS;
		sign_channel(m, c, progress);
	}
	if (now < t->next_house_ms || atomic_load(stop))
		return;
	t->next_house_ms = now + house_ms(&m->config);
	e = ERR_INIT;
	if (mirror_prune(m, c, false, &p, &e) < 0)
		fail(progress, "prune", c, e.msg);
	e = ERR_INIT;
	if (mirror_scrub(m, c, m->config.scrub_ms, stop, &a, &r, &e) < 0)
		fail(progress, "scrub", c, e.msg);
	for (size_t i = 0; i < r.damaged_n; i++)
		fail(progress, "scrub", c,
		     arena_printf(&a, "'%.*s' was damaged and is fetched again: %.*s", STR_ARG(r.damaged[i].path),
				  STR_ARG(r.damaged[i].reason)));
	if (r.damaged_n)
		t->next_sync_ms = 0;
}

/* Several channels at once: a large one that takes hours keeps no other from its turn. */
struct tending {
	struct mirror *m;
	const atomic_bool *stop;
	struct progress *progress;
	pthread_mutex_t mutex; /* of which one is whose */
	struct tended *v;
};

static int64_t due_ms(const struct mirror_channel *c, const struct tended *t)
{
	int64_t due = t->next_house_ms;
	if (c->type == MIRROR_FOLLOW && t->next_sync_ms < due)
		due = t->next_sync_ms;
	if (c->type == MIRROR_LOCAL && t->next_sign_ms < due)
		due = t->next_sign_ms;
	return due;
}

/* The one that is due for longest; -1: none. */
static ptrdiff_t claim(struct tending *x)
{
	const struct mirror_config *k = &x->m->config;
	int64_t now = clock_mono_ms(), longest = now + 1;
	ptrdiff_t best = -1;
	pthread_mutex_lock(&x->mutex);
	for (size_t i = 0; i < k->channels_n; i++) {
		int64_t due = due_ms(&k->channels[i], &x->v[i]);
		if (!x->v[i].busy && due < longest) {
			longest = due;
			best = (ptrdiff_t)i;
		}
	}
	if (best >= 0)
		x->v[best].busy = true;
	pthread_mutex_unlock(&x->mutex);
	return best;
}

static void *tend(void *arg)
{
	struct tending *x = arg;
	while (!atomic_load(x->stop)) {
		ptrdiff_t i = claim(x);
		if (i < 0) {
			poll(NULL, 0, TEND_MS);
			continue;
		}
		struct tended t = x->v[i]; /* nobody else writes to it while it is busy */
		tend_one(x->m, &x->m->config.channels[i], &t, x->stop, x->progress);
		t.busy = false;
		pthread_mutex_lock(&x->mutex);
		x->v[i] = t;
		pthread_mutex_unlock(&x->mutex);
	}
	return NULL;
}

int mirror_tend(struct mirror *m, const atomic_bool *stop, struct progress *progress, struct err *e)
{
	const struct mirror_config *k = &m->config;
	auto_free struct tended *v = xcalloc(k->channels_n + 1, sizeof(*v));
	struct tending x = {.m = m, .stop = stop, .progress = progress, .v = v};
	pthread_t others[TENDERS_MAX];
	size_t n = 0, want = (size_t)k->parallel_channels - 1;
	/* not everything is read again because the server was started again */
	for (size_t i = 0; i < k->channels_n; i++)
		v[i].next_house_ms = clock_mono_ms() + house_ms(k) / 24;
	(void)e;
	pthread_mutex_init(&x.mutex, NULL);
	/* where no more threads can be had, fewer do it */
	while (n < want && n + 1 < k->channels_n && n < TENDERS_MAX && !pthread_create(&others[n], NULL, tend, &x))
		n++;
	tend(&x);
	for (size_t i = 0; i < n; i++)
		pthread_join(others[i], NULL);
	pthread_mutex_destroy(&x.mutex);
	return 0;
}
