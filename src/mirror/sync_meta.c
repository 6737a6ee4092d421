// SPDX-License-Identifier: Apache-2.0
/*
 * Metadata into the staging folder. Items come from the walk one by one and are fetched meanwhile, some at once, so that
 * memory does not grow with their number:
 *	pointers        asked for with the validators of the last sync; unchanged ones are linked from its metadata
 *	named metadata  linked from there where their digest is the same, else fetched
 *	copies          linked when what they are copies of has come
 *	packages        go into table file as what is expected
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/config.h"
#include "mirror/sync.h"

enum { AT_ONCE = 24, METADATA_AT_ONCE = 6, ROWS = 5000, STEP_MS = 500, POINTERS_MAX = 64 << 20 };
static const uint64_t metadata_max = (uint64_t)2 << 30, grows_from = (uint64_t)64 << 20;
enum { GROWS = 8 };

struct piece {
	struct get g;
	struct sync *s;
	char *path, *url, *accept;
	bool optional, pointer;
	char name[PARTIAL_NAME];
};
struct copy {
	struct str path, of;
};
struct stage {
	struct sync *s;
	struct arena a;
	VEC(struct copy) copies;
};

/* -- validators of the last sync ----------------------------------------------------------------------------------- */

static int read_pointers(struct sync *s, struct err *e)
{
	auto_buf b = BUF_INIT(POINTERS_MAX);
	if (s->upstream < 0)
		return 0;
	struct err own = ERR_INIT;
	if (fs_read(s->upstream, POINTERS, &b, &own) < 0) {
		if (own.code == ERR_NOT_FOUND)
			return 0;
		*e = own;
		return -1;
	}
	struct str text = arena_str(&s->own, buf_str(&b)), line;
	while (str_take_line(&text, &line)) {
		struct validators v;
		if (str_take_until(&line, '\t', &v.path) && str_take_until(&line, '\t', &v.upstream) &&
		    str_take_until(&line, '\t', &v.etag)) {
			v.last_modified = line;
			vec_push(&s->before, v);
		}
	}
	return 0;
}

static int write_pointers(struct sync *s, struct err *e)
{
	auto_buf b = BUF_INIT(POINTERS_MAX);
	vec_foreach(v, &s->after)
		buf_printf(&b, "%.*s\t%.*s\t%.*s\t%.*s\n", STR_ARG(v->path), STR_ARG(v->upstream), STR_ARG(v->etag),
			   STR_ARG(v->last_modified));
	return fs_replace(s->staging, POINTERS, b.p, b.n, 0, e);
}

static const struct validators *find_validators(const struct sync *s, const char *path)
{
	vec_foreach(v, &s->before)
		if (str_eq_c(v->path, path))
			return v;
	return NULL;
}

static int upstream_of(const struct sync *s, struct str id)
{
	for (size_t i = 0; i < s->up.n; i++)
		if (str_eq(s->up.v[i].id, id))
			return (int)i;
	return -1;
}

static void set_validators(struct sync *s, struct piece *p)
{
	const struct validators *v = find_validators(s, p->path);
	p->g.validators_of = -1;
	if (!v || s->o->force || !fs_exists(s->upstream, p->path))
		return;
	p->g.validators_of = upstream_of(s, v->upstream);
	snprintf(p->g.etag, sizeof(p->g.etag), "%.*s", STR_ARG(v->etag));
	snprintf(p->g.last_modified, sizeof(p->g.last_modified), "%.*s", STR_ARG(v->last_modified));
}

static void keep_validators(struct sync *s, const struct piece *p)
{
	const struct validators *old = find_validators(s, p->path);
	if (p->g.unchanged && old) {
		vec_push(&s->after, *old);
		return;
	}
	struct str id = p->g.upstream >= 0 ? s->up.v[p->g.upstream].id : STR("");
	vec_push(&s->after,
		 ((struct validators){arena_str(&s->own, str_c(p->path)), id, arena_str(&s->own, str_c(p->g.etag)),
				      arena_str(&s->own, str_c(p->g.last_modified))}));
}

/* -- pieces -------------------------------------------------------------------------------------------------------- */

static void piece_free(struct piece *p)
{
	cleanup_fd(&p->g.fd);
	free(p->path);
	free(p->url);
	free(p->accept);
	free(p);
}

static bool is_same_content(int a_dir, const char *a_path, int b_dir, const char *b_path)
{
	struct stat a, b;
	struct err ignored = ERR_INIT;
	uint8_t da[SHA256_SIZE], db[SHA256_SIZE];
	auto_fd fa = openat(a_dir, a_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	auto_fd fb = openat(b_dir, b_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fa >= 0 && fb >= 0 && fstat(fa, &a) == 0 && fstat(fb, &b) == 0 && a.st_size == b.st_size &&
	       sha256_fd(fa, da, &ignored) == 0 && sha256_fd(fb, db, &ignored) == 0 && memcmp(da, db, sizeof(da)) == 0;
}

static int take_piece(struct sync *s, struct piece *p, struct err *e)
{
	char partial[sizeof(PARTIAL) + PARTIAL_NAME + 1];
	snprintf(partial, sizeof(partial), PARTIAL "/%s", p->name);
	bool same = p->g.unchanged;
	if (!same) {
		s->res->metadata_files++;
		s->res->metadata_bytes += p->g.got_bytes;
		same = p->pointer && s->upstream >= 0 && is_same_content(s->p.work, partial, s->upstream, p->path);
	}
	if (p->pointer)
		keep_validators(s, p);
	s->confirmed += same && p->pointer;
	s->changed |= !same;
	if (same && p->g.unchanged) {
		(void)sys_unlinkat(s->p.work, partial, 0);
		return place_link(s->upstream, p->path, s->staging, p->path, e);
	}
	if (s->prefer < 0 && p->pointer)
		s->prefer = p->g.upstream; /* pointers of one server fit each other */
	return place_put(s->p.work, partial, s->staging, p->path, e);
}

static void on_piece(struct get *g, void *ctx)
{
	struct piece *p = ctx;
	struct sync *s = p->s;
	struct err e = ERR_INIT;
	int rc = 0;
	s->under_way--;
	if (g->err.code == ERR_NONE) {
		rc = take_piece(s, p, &e);
	} else {
		bool lacking = g->err.code == ERR_NOT_FOUND || g->err.code == ERR_VERIFY;
		if (g->err.code == ERR_VERIFY && p->optional && s->doubt.code == ERR_NONE)
			s->doubt = g->err;
		s->changed |= lacking && find_validators(s, p->path); /* it was there once */
		if (!lacking || !p->optional)
			rc = err_ctx(&g->err, "'%s'", p->path);
		e = g->err;
		char partial[sizeof(PARTIAL) + PARTIAL_NAME + 1];
		snprintf(partial, sizeof(partial), PARTIAL "/%s", p->name);
		if (lacking)
			(void)sys_unlinkat(s->p.work, partial, 0);
	}
	if (rc < 0 && s->failed.code == ERR_NONE)
		s->failed = e;
	piece_free(p);
}

static int step(struct sync *s, unsigned most, struct err *e)
{
	/* nobody else can write while an upstream takes its time */
	if (s->under_way > most && s->in_transaction && !s->o->dry_run) {
		s->in_transaction = false;
		if (sql_end(s->p.db, 0, e) < 0)
			return -1;
	}
	while (s->under_way > most) {
		if (sync_stopped(s)) {
			fetcher_cancel(s->meta);
			break;
		}
		if (s->failed.code != ERR_NONE)
			fetcher_cancel(s->meta);
		else
			sync_share(s, s->meta, DOWNLOAD_METADATA);
		if (s->failed.code == ERR_NONE && fetcher_step(s->meta, STEP_MS, e) < 0)
			return -1;
	}
	if (sync_stopped(s))
		return err_new(e, ERR_FAILED, "interrupted");
	if (s->failed.code == ERR_NONE)
		return 0;
	*e = s->failed;
	return -1;
}

static char *dup_or_null(struct str s)
{
	return s.n ? str_dup(s) : NULL;
}

/* Of a pointer nobody tells the size. What there was of it last time says how large it may be now; and the disk does. */
static uint64_t most_bytes(const struct sync *s, const char *path)
{
	struct stat st;
	struct statvfs v;
	uint64_t most = metadata_max, free_bytes;
	if (s->upstream >= 0 && fstatat(s->upstream, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		most = (uint64_t)st.st_size * GROWS;
		most = most < grows_from ? grows_from : most;
	}
	if (fstatvfs(s->p.work, &v) < 0)
		return most;
	free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	uint64_t reserve = s->p.m->config.reserve_bytes;
	free_bytes = free_bytes > reserve ? free_bytes - reserve : 1;
	return most < free_bytes ? most : free_bytes;
}

static int fetch_piece(struct sync *s, const struct channel_item *it, struct err *e)
{
	struct stat st;
	struct piece *p = xcalloc(1, sizeof(*p));
	p->s = s;
	p->path = str_dup(it->path);
	p->url = dup_or_null(it->url);
	p->accept = it->accept ? xstrdup(it->accept) : NULL;
	p->optional = it->optional;
	p->pointer = it->what == CHANNEL_FILE_POINTER;
	partial_name(it->path, p->name);
	p->g = (struct get){.path = str_c(p->path),
			    .url = str_c(p->url),
			    .accept = p->accept,
			    .label = p->path,
			    .fd = partial_open(s->p.work, p->name, e),
			    .size = it->size,
			    .max_bytes = most_bytes(s, p->path),
			    .digest = it->digest,
			    .prefer = s->prefer,
			    .optional = it->optional,
			    .validators_of = -1,
			    .done = on_piece,
			    .ctx = p};
	if (p->g.fd < 0) {
		piece_free(p);
		return -1;
	}
	if (p->pointer && s->upstream >= 0 && !it->digest.known)
		set_validators(s, p);
	if (it->digest.known && fstat(p->g.fd, &st) == 0)
		p->g.have = (uint64_t)st.st_size;
	s->under_way++;
	fetcher_add(s->meta, &p->g);
	return step(s, AT_ONCE, e);
}

/* 1: linked from the last sync's metadata. */
static int link_named(struct sync *s, const char *path, const struct channel_item *it, struct err *e)
{
	static const size_t block = 1 << 18;
	uint8_t got[DIGEST_MAX];
	struct stat st;
	if (s->upstream < 0 || !it->digest.known)
		return 0;
	auto_fd fd = openat(s->upstream, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (it->size && (uint64_t)st.st_size != it->size))
		return 0;
	auto_ptr(digest) d = digest_new(it->digest.kind);
	auto_free char *piece = xmalloc(block);
	for (ssize_t n; (n = read(fd, piece, block)) != 0;) {
		if (n < 0)
			return 0;
		digest_update(d, piece, (size_t)n);
	}
	size_t n = digest_final(d, got);
	if (memcmp(got, it->digest.bytes, n) != 0)
		return 0;
	return place_link(s->upstream, path, s->staging, path, e) < 0 ? -1 : 1;
}

/* A pointer of a signed channel: as it was signed, or not at all. */
static int take_signed(struct sync *s, const char *path, const struct channel_item *it, struct err *e)
{
	struct channel_item as_signed;
	const struct validators *old = find_validators(s, path);
	int rc = sync_signed_item(s, it, &as_signed, e);
	if (rc <= 0) {
		s->changed |= rc == 0 && old;
		return rc;
	}
	rc = link_named(s, path, &as_signed, e);
	if (rc <= 0)
		return rc < 0 ? -1 : fetch_piece(s, &as_signed, e);
	struct validators same = {.path = arena_str(&s->own, it->path)};
	vec_push(&s->after, old ? *old : same);
	s->confirmed++;
	return 0;
}

static int take_metadata(struct stage *g, const struct channel_item *it, struct err *e)
{
	struct sync *s = g->s;
	auto_free char *path = str_dup(it->path);
	if (!channel_path_is_normal(it->path) || it->path.p[0] == '.')
		return err_new(e, ERR_INPUT, "metadata name the file '%.*s', which no channel has", STR_ARG(it->path));
	if (fs_exists(s->staging, path))
		return 0;
	if (it->copy_of.n) {
		vec_push(&g->copies, ((struct copy){arena_str(&g->a, it->path), arena_str(&g->a, it->copy_of)}));
		return 0;
	}
	if (it->what == CHANNEL_FILE_NAMED) {
		int rc = link_named(s, path, it, e);
		if (rc != 0)
			return rc < 0 ? -1 : 0;
	}
	return it->what == CHANNEL_FILE_POINTER && s->tuf ? take_signed(s, path, it, e) : fetch_piece(s, it, e);
}

static int link_copies(struct stage *g, struct err *e)
{
	vec_foreach(c, &g->copies)
		if (fs_exists(g->s->staging, c->of.p) &&
		    place_link(g->s->staging, c->of.p, g->s->staging, c->path.p, e) < 0)
			return -1;
	return 0;
}

/* -- packages that are expected ------------------------------------------------------------------------------------ */

static const char expect_text[] =
	"INSERT INTO file (channel, path, what, size, kind, digest, url, accept, told, first, time_ms)"
	" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10)"
	" ON CONFLICT (channel, path) DO UPDATE SET"
	" held = CASE WHEN kind = excluded.kind AND digest IS NOT excluded.digest THEN 0 ELSE held END,"
	" what = excluded.what, size = excluded.size, kind = excluded.kind, digest = excluded.digest,"
	" url = excluded.url, accept = excluded.accept, told = excluded.told, time_ms = excluded.time_ms, gone_ms = 0";

static int expect_package(struct sync *s, const struct channel_item *it, struct err *e)
{
	const struct digest_value *d = &it->digest;
	if (!channel_path_is_normal(it->path) || it->path.p[0] == '.')
		return err_new(e, ERR_INPUT, "metadata name the package '%.*s', which no channel has",
			       STR_ARG(it->path));
	if (!s->in_transaction && sql_begin(s->p.db, e) < 0)
		return -1;
	s->in_transaction = true;
	sql_bind_int(s->expect, 1, s->p.id);
	sql_bind_str(s->expect, 2, it->path);
	sql_bind_int(s->expect, 3, it->what);
	sql_bind_int(s->expect, 4, (int64_t)(it->size >> 62 ? 0 : it->size));
	sql_bind_int(s->expect, 5, d->known ? (int)d->kind : -1);
	sql_bind_bytes(s->expect, 6, d->known ? d->bytes : NULL, d->known ? digest_size(d->kind) : 0);
	sql_bind_bytes(s->expect, 7, it->url.n ? it->url.p : NULL, it->url.n);
	sql_bind_bytes(s->expect, 8, it->accept, it->accept ? strlen(it->accept) : 0);
	sql_bind_int(s->expect, 9, s->serial);
	sql_bind_int(s->expect, 10, it->time_ms);
	int rc = sql_step(s->expect, e);
	sql_reset(s->expect);
	if (rc < 0)
		return -1;
	if (++s->rows % ROWS || s->o->dry_run)
		return 0;
	if (sync_stopped(s))
		return err_new(e, ERR_FAILED, "interrupted");
	s->in_transaction = false;
	return sql_end(s->p.db, 0, e);
}

static int on_item(void *ctx, const struct channel_item *it, struct err *e)
{
	struct stage *g = ctx;
	return it->what == CHANNEL_FILE_PACKAGE ? expect_package(g->s, it, e) : take_metadata(g, it, e);
}

/* -- the walk ------------------------------------------------------------------------------------------------------ */

/* Every pointer that came last time was asked for, and none has changed. */
static bool is_unchanged(const struct sync *s)
{
	return sync_signed_is_carried(s) && !s->changed && s->before.n > 0 && s->confirmed == s->before.n &&
	       !s->o->force && s->switched == s->walked && s->walked > 0;
}

static int walk(struct sync *s, struct err *e)
{
	auto_ptr(channel_walk) w = NULL;
	int rc;
	if (channel_walk_new(s->p.c->kind, s->staging, &s->walk, &w, e) < 0)
		return -1;
	do {
		struct stage g = {.s = s};
		rc = channel_walk_next(w, on_item, &g, e);
		if (rc > 0 && (step(s, 0, e) < 0 || link_copies(&g, e) < 0))
			rc = -1;
		vec_release(&g.copies);
		arena_release(&g.a);
		if (rc > 0 && is_unchanged(s)) {
			s->res->unchanged = true;
			return 0;
		}
	} while (rc > 0);
	fetcher_cancel(s->meta);
	s->leads_away = channel_walk_leads_away(w);
	if (rc < 0 && e->code == ERR_NOT_FOUND && s->doubt.code != ERR_NONE) {
		*e = s->doubt; /* it is there, but not as it should be */
		return -1;
	}
	return rc;
}

static int open_folders(struct sync *s, struct err *e)
{
	if (fs_remove_tree(s->p.work, STAGING, e) < 0)
		return -1;
	s->staging = fs_open_dir_make(s->p.work, STAGING, e);
	if (s->staging < 0)
		return -1;
	if (fs_exists(s->p.work, UPSTREAM))
		s->upstream = fs_open_dir(s->p.work, UPSTREAM, e);
	return s->upstream < 0 && fs_exists(s->p.work, UPSTREAM) ? -1 : read_pointers(s, e);
}

static int end_walk(struct sync *s, struct err *e)
{
	if (s->res->unchanged)
		return 0;
	if (!s->in_transaction && sql_begin(s->p.db, e) < 0)
		return -1;
	s->in_transaction = true;
	if (write_pointers(s, e) < 0)
		return -1;
	s->walked = s->serial;
	if (!s->first)
		s->first = s->serial;
	return sql_run(s->p.db, e, "UPDATE channel SET walked = ?2, first = ?3 WHERE id = ?1", "iii", s->p.id,
		       s->walked, s->first);
}

/* The transaction that is open stays so in a dry run. */
int sync_metadata(struct sync *s, struct err *e)
{
	if (open_folders(s, e) < 0 ||
	    fetcher_new(s->p.m, &s->up, sync_limit(s), METADATA_AT_ONCE, s->o->progress, &s->meta, e) < 0 ||
	    sql_prepare(s->p.db, expect_text, &s->expect, e) < 0)
		return -1;
	atomic_fetch_add(&s->p.m->downloading[DOWNLOAD_METADATA], 1);
	int rc = sync_signed_begin(s, e) < 0 || walk(s, e) < 0 || end_walk(s, e) < 0 ? -1 : 0;
	atomic_fetch_sub(&s->p.m->downloading[DOWNLOAD_METADATA], 1);
	sql_query_free(s->expect);
	s->expect = NULL;
	fetcher_free(s->meta);
	s->meta = NULL;
	if (!s->in_transaction || (s->o->dry_run && rc == 0))
		return rc;
	s->in_transaction = false;
	return sql_end(s->p.db, rc, e);
}
