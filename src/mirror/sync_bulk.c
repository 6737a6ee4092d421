// SPDX-License-Identifier: Apache-2.0
/*
 * Packages. Two classes, each with an engine, a limit and lanes of its own: what was released since the channel is followed, and
 * what is historic. A lane fetches one file after the other and pauses after each for as long as bulkBackoffFactor says.
 * What came is synced and put into the tree at once, since whoever asks for it from then on gets it; that it is held is written to the
 * database in batches, after the folders were synced, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/sync.h"

enum { PAGE = 500, LANES_MAX = 64, BATCH = 256, BATCH_MS = 5000, STEP_MS = 250, SHARED_STEP_MS = 10, DOWN_MAX = 10 };

enum { RELEASED, HISTORIC, CLASSES };

/* A row of table file: a package that the last walk told. */
struct wanted {
	struct str path, url, accept;
	uint64_t size;
	struct digest_value digest;
	bool held, historic;
	uint64_t held_size;
};
struct page {
	struct arena a;
	VEC(struct wanted) v;
	size_t at;
	struct str last;
	bool end;
	char last_path[CHANNEL_PATH_MAX + 1];
};

struct bulk;
struct lane {
	struct get g;
	struct bulk *b;
	struct arena a;
	struct wanted w;
	bool busy;
	int64_t ready_ms; /* monotonic: the pause is over */
	char name[PARTIAL_NAME];
};
struct bulk {
	struct sync *s;
	struct fetcher *f;
	bool historic, done, counted; /* counted: among those that share the limit */
	struct page page;
	struct lane lane[LANES_MAX];
	unsigned lanes, busy;
	struct batch *batch;
};
struct placed {
	struct str path;
	uint64_t size;
	uint8_t sha256[SHA256_SIZE];
	struct str bad; /* not held: why */
};
struct batch {
	struct arena a;
	VEC(struct placed) v;
	int64_t since_ms;
	unsigned down; /* network failures one after the other */
};

uint64_t sync_limit(const struct sync *s)
{
	double mbit = s->o->bulk_mbit_per_s < 0 ? s->p.m->config.bulk_mbit_per_s : s->o->bulk_mbit_per_s;
	return (uint64_t)(mbit * 1000000 / 8);
}

void sync_share(const struct sync *s, struct fetcher *f, int class)
{
	unsigned n = atomic_load(&s->p.m->downloading[class]);
	fetcher_limit(f, sync_limit(s) / (n ? n : 1));
}

static int64_t mono_ms(const struct sync *s)
{
	return s->clock->mono_ms(s->clock);
}

/* -- rows ---------------------------------------------------------------------------------------------------------- */

static void read_row(const struct sync *s, sql_query *q, struct arena *a, struct wanted *w)
{
	struct str digest = sql_view(q, 3);
	int64_t kind = sql_int(q, 2);
	*w = (struct wanted){.path = sql_str(q, 0, a), .size = (uint64_t)sql_int(q, 1)};
	if (kind >= 0 && kind < DIGEST_KINDS && digest.n == digest_size((enum digest_kind)kind)) {
		w->digest.kind = (enum digest_kind)kind;
		w->digest.known = true;
		memcpy(w->digest.bytes, digest.p, digest.n);
	}
	w->url = sql_str(q, 4, a);
	w->accept = sql_str(q, 5, a);
	w->held = sql_int(q, 6);
	w->held_size = (uint64_t)sql_int(q, 7);
	w->historic = sql_int(q, 8) <= s->first;
}

/* The next page of packages, by path. 1, or 0 at the end. */
static int read_page(const struct sync *s, struct page *p, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	int rc;
	p->at = p->v.n = 0;
	arena_release(&p->a);
	if (sql_prepare(s->p.db,
			"SELECT path, size, kind, digest, url, accept, held, held_size, first FROM file"
			" WHERE channel = ?1 AND path > ?2 AND what = 3 AND told = ?3 ORDER BY path LIMIT ?4",
			&q, e) < 0)
		return -1;
	sql_bind_int(q, 1, s->p.id);
	sql_bind_str(q, 2, str_c(p->last_path));
	sql_bind_int(q, 3, s->walked);
	sql_bind_int(q, 4, PAGE);
	while ((rc = sql_step(q, e)) > 0)
		read_row(s, q, &p->a, vec_add(&p->v));
	if (rc < 0)
		return -1;
	if (!p->v.n)
		return 0;
	snprintf(p->last_path, sizeof(p->last_path), "%.*s", STR_ARG(vec_last(&p->v)->path));
	return 1;
}

/* 1: *ret is the next; 0: there is none. */
static int next_row(const struct sync *s, struct page *p, struct wanted **ret, struct err *e)
{
	if (p->at == p->v.n) {
		int rc = p->end ? 0 : read_page(s, p, e);
		p->end = rc == 0;
		if (rc <= 0)
			return rc;
	}
	*ret = &p->v.v[p->at++];
	return 1;
}

static void page_release(struct page *p)
{
	vec_release(&p->v);
	arena_release(&p->a);
}

static bool is_wanted(const struct sync *s, const struct wanted *w)
{
	switch (s->p.c->download) {
	case MIRROR_HISTORIC:
		return true;
	case MIRROR_RELEASED:
		return !w->historic;
	case MIRROR_ON_DEMAND:
		break;
	}
	return false;
}

/* The file is there, as far as its size tells. */
static bool is_held(const struct sync *s, const struct wanted *w)
{
	struct stat st;
	return w->held && fstatat(s->p.tree, w->path.p, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	       (uint64_t)st.st_size == w->held_size;
}

int sync_plan(struct sync *s, struct err *e)
{
	struct mirror_sync_result *r = s->res;
	struct page p = {0};
	struct wanted *w;
	int rc;
	while ((rc = next_row(s, &p, &w, e)) > 0) {
		r->packages++;
		r->package_bytes += w->size;
		r->unsized += !w->size;
		if (is_held(s, w)) {
			r->held++;
			r->held_bytes += w->held_size;
		} else if (is_wanted(s, w)) {
			r->wanted++;
			r->wanted_bytes += w->size;
			r->historic += w->historic;
			r->historic_bytes += w->historic ? w->size : 0;
		} else {
			r->on_demand++;
			r->on_demand_bytes += w->size;
		}
	}
	page_release(&p);
	return rc;
}

/* -- what came ----------------------------------------------------------------------------------------------------- */

static int write_batch(struct sync *s, struct batch *b, struct err *e)
{
	vec_foreach(x, &b->v) {
		auto_ptr(sql_query) q = NULL;
		if (sql_prepare(s->p.db,
				"UPDATE file SET held = ?3, held_size = ?4, sha256 = ?5, verified_ms = ?6, bad = ?7"
				" WHERE channel = ?1 AND path = ?2",
				&q, e) < 0)
			return -1;
		sql_bind_int(q, 1, s->p.id);
		sql_bind_str(q, 2, x->path);
		sql_bind_int(q, 3, !x->bad.n);
		sql_bind_int(q, 4, (int64_t)x->size);
		sql_bind_bytes(q, 5, x->bad.n ? NULL : x->sha256, SHA256_SIZE);
		sql_bind_int(q, 6, s->clock->wall_ms(s->clock));
		sql_bind_str(q, 7, x->bad);
		if (sql_step(q, e) < 0)
			return -1;
	}
	return 0;
}

/* Files first, then what says that they are held. */
static int flush(struct sync *s, struct batch *b, struct err *e)
{
	b->since_ms = mono_ms(s);
	if (!b->v.n)
		return 0;
	if (sys_syncfs(s->p.tree) < 0)
		return err_sys(e, "sync the channel's folder");
	if (sql_begin(s->p.db, e) < 0 || sql_end(s->p.db, write_batch(s, b, e), e) < 0 ||
	    upstreams_save(&s->up, s->p.db, e) < 0)
		return -1;
	b->v.n = 0;
	arena_release(&b->a);
	return 0;
}

static void add_placed(struct batch *b, const struct wanted *w, uint64_t size, const uint8_t *sha, const char *bad)
{
	struct placed x = {.path = arena_str(&b->a, w->path), .size = size, .bad = arena_str(&b->a, str_c(bad))};
	if (sha)
		memcpy(x.sha256, sha, SHA256_SIZE);
	vec_push(&b->v, x);
}

static int sha_of(int fd, const struct wanted *w, uint8_t sha[SHA256_SIZE], struct err *e)
{
	if (w->digest.known && w->digest.kind == DIGEST_SHA256) {
		memcpy(sha, w->digest.bytes, SHA256_SIZE); /* it was compared while it came */
		return 0;
	}
	return sha256_fd(fd, sha, e);
}

static int place(struct lane *l, struct err *e)
{
	struct sync *s = l->b->s;
	uint8_t sha[SHA256_SIZE];
	char partial[sizeof(PARTIAL) + PARTIAL_NAME + 1];
	snprintf(partial, sizeof(partial), PARTIAL "/%s", l->name);
	if (sha_of(l->g.fd, &l->w, sha, e) < 0)
		return -1;
	/* a name that outlives a power cut has its bytes: the server looks at nothing else */
	if (sys_fsync(l->g.fd) < 0)
		return err_sys(e, "sync '%s'", l->w.path.p);
	if (place_put(s->p.work, partial, s->p.tree, l->w.path.p, e) < 0)
		return -1;
	s->res->fetched++;
	s->res->fetched_bytes += l->g.got_bytes;
	add_placed(l->b->batch, &l->w, l->g.got_bytes, sha, "");
	return 0;
}

static void add_damage(struct sync *s, struct str path, const char *reason)
{
	vec_push(&s->damaged, ((struct mirror_damage){arena_str(s->a, path), arena_str(s->a, str_c(reason))}));
}

static void take_failure(struct lane *l)
{
	struct sync *s = l->b->s;
	const struct err *e = &l->g.err;
	bool answered = e->code == ERR_NOT_FOUND || e->code == ERR_VERIFY;
	if (!answered && e->code != ERR_NETWORK) { /* a failure of our own: nothing else would do better */
		if (s->failed.code == ERR_NONE)
			s->failed = *e;
		return;
	}
	add_damage(s, l->w.path, e->msg);
	add_placed(l->b->batch, &l->w, 0, NULL, e->msg);
	if (answered)
		return;
	s->unanswered++;
	if (++l->b->batch->down >= DOWN_MAX && s->failed.code == ERR_NONE) {
		s->failed = *e;
		err_ctx(&s->failed, "%d files one after the other could not be fetched", DOWN_MAX);
	}
}

static void on_done(struct get *g, void *ctx)
{
	struct lane *l = ctx;
	struct sync *s = l->b->s;
	struct err e = ERR_INIT;
	l->busy = false;
	l->b->busy--;
	l->ready_ms = mono_ms(s) + (int64_t)(s->p.m->config.bulk_backoff * (double)g->took_ms);
	if (g->err.code != ERR_NONE) {
		if (!sync_stopped(s))
			take_failure(l);
	} else {
		l->b->batch->down = 0;
		if (place(l, &e) < 0 && s->failed.code == ERR_NONE)
			s->failed = e;
	}
	cleanup_fd(&g->fd);
}

/* -- instead of fetching ------------------------------------------------------------------------------------------- */

static bool has_digest(int fd, const struct digest_value *d, uint8_t sha[SHA256_SIZE])
{
	static const size_t block = 1 << 18;
	uint8_t got[DIGEST_MAX];
	struct err ignored = ERR_INIT;
	auto_ptr(digest) x = digest_new(d->kind);
	auto_free char *piece = xmalloc(block);
	off_t at = 0;
	for (ssize_t n; (n = pread(fd, piece, block, at)) != 0; at += n) {
		if (n < 0)
			return false;
		digest_update(x, piece, (size_t)n);
	}
	size_t n = digest_final(x, got);
	return memcmp(got, d->bytes, n) == 0 && sha256_fd(fd, sha, &ignored) == 0;
}

/* 1: that file is this one; its name is `path` below dir. */
static int is_it(int dir, const char *path, const struct wanted *w, uint8_t sha[SHA256_SIZE], uint64_t *size)
{
	struct stat st;
	auto_fd fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (w->size && (uint64_t)st.st_size != w->size))
		return 0;
	*size = (uint64_t)st.st_size;
	return has_digest(fd, &w->digest, sha);
}

static int link_from(struct sync *s, struct batch *b, int dir, const char *path, const struct wanted *w, struct err *e)
{
	uint8_t sha[SHA256_SIZE];
	uint64_t size;
	struct err own = ERR_INIT;
	if (!is_it(dir, path, w, sha, &size))
		return 0;
	if (place_link(dir, path, s->p.tree, w->path.p, &own) < 0) {
		if (own.sys == EXDEV || own.sys == EMLINK || own.sys == EPERM)
			return 0;
		*e = own;
		return -1;
	}
	s->res->linked++;
	s->res->linked_bytes += size;
	add_placed(b, w, size, sha, "");
	return 1;
}

/* Another channel may hold the same bytes. Of a private one they are not taken: who tells a digest has not thereby shown that he may
 * have what it is of. */
static int link_other(struct sync *s, struct batch *b, const struct wanted *w, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	auto_arena a = ARENA_INIT;
	int rc;
	if (sql_prepare(s->p.db,
			"SELECT channel.name, file.path FROM file JOIN channel ON channel.id = file.channel"
			" WHERE digest = ?1 AND held = 1 AND NOT (file.channel = ?2 AND path = ?3) LIMIT 4",
			&q, e) < 0)
		return -1;
	sql_bind_bytes(q, 1, w->digest.bytes, digest_size(w->digest.kind));
	sql_bind_int(q, 2, s->p.id);
	sql_bind_str(q, 3, w->path);
	while ((rc = sql_step(q, e)) > 0) {
		const struct mirror_channel *c = mirror_channel(s->p.m, sql_str(q, 0, &a));
		struct err ignored = ERR_INIT;
		auto_fd tree = c && !c->is_private ? mirror_tree(s->p.m, c, &ignored) : -1;
		if (tree >= 0 && (rc = link_from(s, b, tree, sql_str(q, 1, &a).p, w, e)) != 0)
			return rc;
	}
	return rc;
}

/* 1: it need not be fetched. */
static int have_already(struct sync *s, struct batch *b, const struct wanted *w, struct err *e)
{
	if (is_held(s, w))
		return 1;
	if (!w->digest.known)
		return 0;
	/* it is in its place, but nothing says so: the database is new, or a sync was killed */
	int rc = link_from(s, b, s->p.tree, w->path.p, w, e);
	return rc != 0 ? rc : link_other(s, b, w, e);
}

/* -- lanes --------------------------------------------------------------------------------------------------------- */

int sync_check_space(const struct sync *s, uint64_t bytes, const char *what, struct err *e)
{
	struct statvfs v;
	uint64_t reserve = s->p.m->config.reserve_bytes;
	if (fstatvfs(s->p.tree, &v) < 0)
		return err_sys(e, "look at the free space");
	uint64_t available = (uint64_t)v.f_bavail * v.f_frsize;
	if (bytes <= available && available - bytes >= reserve)
		return 0;
	return mirror_no_space(s->p.m, what, bytes, available, e);
}

static int begin(struct lane *l, const struct wanted *w, struct err *e)
{
	struct bulk *b = l->b;
	struct stat st;
	if (sync_check_space(b->s, w->size, w->path.p, e) < 0)
		return -1;
	arena_release(&l->a);
	l->w = *w;
	l->w.path = arena_str(&l->a, w->path);
	l->w.url = arena_str(&l->a, w->url);
	l->w.accept = arena_str(&l->a, w->accept);
	partial_name(w->path, l->name);
	l->g = (struct get){.path = l->w.path,
			    .url = l->w.url,
			    .accept = l->w.accept.n ? l->w.accept.p : NULL,
			    .label = l->w.path.p,
			    .fd = partial_open(b->s->p.work, l->name, e),
			    .size = w->size,
			    .digest = w->digest,
			    .prefer = -1,
			    .validators_of = -1,
			    .done = on_done,
			    .ctx = l};
	if (l->g.fd < 0)
		return -1;
	if (fstat(l->g.fd, &st) == 0)
		l->g.have = (uint64_t)st.st_size;
	l->busy = true;
	b->busy++;
	fetcher_add(b->f, &l->g);
	return 0;
}

/* 1: *ret is to be fetched; 0: nothing more in this class. */
static int next_to_fetch(struct bulk *b, struct wanted **ret, struct err *e)
{
	int rc;
	while ((rc = next_row(b->s, &b->page, ret, e)) > 0) {
		if ((*ret)->historic != b->historic || !is_wanted(b->s, *ret))
			continue;
		int have = have_already(b->s, b->batch, *ret, e);
		if (have < 0)
			return -1;
		if (have == 0)
			return 1;
		if (b->batch->v.n >= BATCH && flush(b->s, b->batch, e) < 0)
			return -1;
	}
	return rc;
}

/* Gives files to lanes whose pause is over; how long until the next one's is, in *wait_ms. */
static int fill_lanes(struct bulk *b, int64_t *wait_ms, struct err *e)
{
	int64_t now = mono_ms(b->s);
	for (unsigned i = 0; i < b->lanes && !b->done; i++) {
		struct lane *l = &b->lane[i];
		struct wanted *w;
		if (l->busy)
			continue;
		if (l->ready_ms > now) {
			if (l->ready_ms - now < *wait_ms)
				*wait_ms = l->ready_ms - now;
			continue;
		}
		int rc = next_to_fetch(b, &w, e);
		if (rc < 0 || (rc > 0 && begin(l, w, e) < 0))
			return -1;
		b->done = rc == 0;
	}
	return 0;
}

static void share(struct bulk *b, bool downloads)
{
	int class = b->historic ? DOWNLOAD_HISTORIC : DOWNLOAD_RELEASED;
	atomic_uint *n = &b->s->p.m->downloading[class];
	if (downloads != b->counted)
		atomic_fetch_add(n, downloads ? 1 : -1U);
	b->counted = downloads;
	if (downloads)
		sync_share(b->s, b->f, class);
}

static int step(struct bulk *v, struct batch *batch, struct err *e)
{
	struct sync *s = v[0].s;
	int64_t wait_ms = STEP_MS;
	unsigned busy = 0;
	for (int i = 0; i < CLASSES; i++) {
		if (fill_lanes(&v[i], &wait_ms, e) < 0)
			return -1;
		share(&v[i], v[i].busy > 0);
		busy += v[i].busy > 0;
	}
	if (!busy)
		poll(NULL, 0, (int)wait_ms);
	for (int i = 0; i < CLASSES; i++)
		if (v[i].busy && fetcher_step(v[i].f, busy > 1 ? SHARED_STEP_MS : (int)wait_ms, e) < 0)
			return -1;
	if (batch->v.n >= BATCH || mono_ms(s) - batch->since_ms > BATCH_MS)
		return flush(s, batch, e);
	return 0;
}

static bool is_done(const struct bulk *v)
{
	for (int i = 0; i < CLASSES; i++)
		if (!v[i].done || v[i].busy)
			return false;
	return true;
}

static int run(struct bulk *v, struct batch *batch, struct err *e)
{
	struct sync *s = v[0].s;
	for (int i = 0; i < CLASSES; i++)
		if (fetcher_new(s->p.m, &s->up, sync_limit(s), v[i].lanes, s->o->progress, &v[i].f, e) < 0)
			return -1;
	while (!is_done(v)) {
		if (step(v, batch, e) < 0)
			return -1;
		if (s->failed.code != ERR_NONE) {
			*e = s->failed;
			return -1;
		}
		if (sync_stopped(s))
			return err_new(e, ERR_FAILED, "interrupted");
	}
	return 0;
}

static int damage_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct mirror_damage *)a)->path, ((const struct mirror_damage *)b)->path);
}

int sync_packages(struct sync *s, struct err *e)
{
	struct batch batch = {.since_ms = mono_ms(s)};
	struct bulk *v = xcalloc(CLASSES, sizeof(*v));
	struct err late = ERR_INIT;
	for (int i = 0; i < CLASSES; i++) {
		v[i].s = s;
		v[i].historic = i == HISTORIC;
		v[i].lanes = (unsigned)s->p.m->config.bulk_parallel;
		v[i].batch = &batch;
		for (unsigned k = 0; k < LANES_MAX; k++) {
			v[i].lane[k].b = &v[i];
			v[i].lane[k].g.fd = -1;
		}
	}
	int rc = sync_check_space(s, s->res->wanted_bytes, "the packages to be fetched", e);
	if (rc == 0)
		rc = run(v, &batch, e);
	for (int i = 0; i < CLASSES; i++) {
		share(&v[i], false);
		fetcher_free(v[i].f); /* ends what is under way */
	}
	/* what came so far counts, whatever ended it */
	if (flush(s, &batch, &late) < 0 && rc == 0) {
		*e = late;
		rc = -1;
	}
	for (int i = 0; i < CLASSES; i++) {
		page_release(&v[i].page);
		for (unsigned k = 0; k < LANES_MAX; k++)
			arena_release(&v[i].lane[k].a);
	}
	vec_release(&batch.v);
	arena_release(&batch.a);
	free(v);
	vec_sort(&s->damaged, damage_cmp);
	s->res->damaged = s->damaged.v;
	s->res->damaged_n = s->damaged.n;
	return rc;
}
