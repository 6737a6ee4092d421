// SPDX-License-Identifier: Apache-2.0
/* What a client asks for, and what is to be told of channels. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "mirror/config.h"
#include "mirror/front.h"

enum { SIGNED_MS = 60000 };

struct mirror_reader {
	struct mirror *m;
	struct sql *db;
	sql_query *row, *fresh;
};

int mirror_reader_new(struct mirror *m, struct mirror_reader **ret, struct err *e)
{
	auto_ptr(mirror_reader) r = xcalloc(1, sizeof(*r));
	r->m = m;
	if (state_open(m, &r->db, e) < 0 ||
	    sql_prepare(r->db,
			"SELECT size, kind, digest, what FROM file"
			" WHERE channel = (SELECT id FROM channel WHERE name = ?1) AND path = ?2",
			&r->row, e) < 0 ||
	    sql_prepare(r->db,
			"SELECT (SELECT checked_ms FROM pointer WHERE channel = channel.id AND path = ?2)"
			" FROM channel WHERE name = ?1",
			&r->fresh, e) < 0)
		return -1;
	*ret = steal_ptr(&r);
	return 0;
}

void mirror_reader_free(struct mirror_reader *r)
{
	if (!r)
		return;
	sql_query_free(r->row);
	sql_query_free(r->fresh);
	sql_close(r->db);
	free(r);
}

struct mirror *reader_mirror(const struct mirror_reader *r)
{
	return r->m;
}

struct sql *reader_db(const struct mirror_reader *r)
{
	return r->db;
}

/* -- files --------------------------------------------------------------------------------------------------------- */

/* A proxy's pointer is asked for again when it is old, and so is what no pointer tells the digest of. */
static int is_stale(struct mirror_reader *r, const struct mirror_found *f, bool *ret, struct err *e)
{
	const struct mirror_channel *c = f->channel;
	*ret = false;
	if (c->type != MIRROR_PROXY || f->file == CHANNEL_FILE_PACKAGE || f->digest.known)
		return 0;
	sql_bind_str(r->fresh, 1, c->name);
	sql_bind_str(r->fresh, 2, str_c(f->path));
	int rc = sql_step(r->fresh, e);
	if (rc > 0) {
		int64_t age = clock_wall_ms() - sql_int(r->fresh, 0);
		bool is_short = str_starts(str_c(f->path), STR(CHANNEL_SIGNED "/")); /* what says what is the newest */
		int64_t most = is_short && c->refresh_ms > SIGNED_MS ? SIGNED_MS : c->refresh_ms;
		*ret = age < 0 || age > most;
	}
	sql_reset(r->fresh);
	return rc < 0 ? -1 : 0;
}

/* 1; 0: it is not in the tree. */
static int open_held(const struct mirror *m, struct mirror_found *f, struct err *e)
{
	struct stat st;
	auto_fd tree = mirror_tree(m, f->channel, e);
	if (tree < 0)
		return -1;
	auto_fd fd = openat(tree, f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : err_sys(e, "open '%s'", f->path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at '%s'", f->path);
	if (!S_ISREG(st.st_mode))
		return 0;
	f->answer = MIRROR_HELD;
	f->size = (uint64_t)st.st_size;
	f->changed_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	snprintf(f->etag, sizeof(f->etag), "\"%llx-%llx-%llx.%lx\"", (unsigned long long)st.st_ino,
		 (unsigned long long)st.st_size, (unsigned long long)st.st_mtim.tv_sec,
		 (unsigned long)st.st_mtim.tv_nsec);
	f->fd = steal_fd(&fd);
	return 1;
}

/* What metadata tell of it: 1, or 0 where they do not. Of a pointer the table knows what it was, and nobody what it is. */
static int find_expected(struct mirror_reader *r, struct mirror_found *f, struct err *e)
{
	sql_bind_str(r->row, 1, f->channel->name);
	sql_bind_str(r->row, 2, str_c(f->path));
	int rc = sql_step(r->row, e);
	if (f->file == CHANNEL_FILE_POINTER)
		rc = rc < 0 ? -1 : 0;
	if (rc > 0) {
		int64_t kind = sql_int(r->row, 1);
		struct str digest = sql_view(r->row, 2);
		rc = sql_int(r->row, 3) == CHANNEL_FILE_PACKAGE;
		f->want_size = (uint64_t)sql_int(r->row, 0);
		f->told = kind >= 0;
		if (kind >= 0 && kind < DIGEST_KINDS && digest.n == digest_size((enum digest_kind)kind)) {
			f->digest.kind = (enum digest_kind)kind;
			f->digest.known = true;
			memcpy(f->digest.bytes, digest.p, digest.n);
		}
	}
	sql_reset(r->row);
	if (!f->digest.known && rc >= 0)
		(void)channel_kind_path_digest(f->channel->kind, str_c(f->path), &f->digest);
	return rc;
}

int mirror_find(struct mirror_reader *r, struct str channel, struct str path, struct mirror_found *ret, struct err *e)
{
	struct mirror_found *f = ret;
	*f = (struct mirror_found){.answer = MIRROR_NONE, .fd = -1, .channel = mirror_channel(r->m, channel)};
	if (!f->channel || !channel_path_is_normal(path) || path.p[0] == '.' || path.n > CHANNEL_PATH_MAX ||
	    str_search(path, STR("/.")) >= 0)
		return 0;
	f->file = channel_kind_file(f->channel->kind, path);
	if (f->file == CHANNEL_FILE_NONE)
		return 0;
	snprintf(f->path, sizeof(f->path), "%.*s", STR_ARG(path));
	f->type = channel_kind_type(f->channel->kind, path);
	int held = open_held(r->m, f, e);
	if (held < 0 || f->channel->type == MIRROR_LOCAL)
		return held < 0 ? -1 : 0;
	int told = find_expected(r, f, e);
	if (told < 0 || (held > 0 && is_stale(r, f, &f->stale, e) < 0)) {
		cleanup_fd(&f->fd);
		return -1;
	}
	if (held > 0)
		return 0;
	/* of a signed channel's pointers a mirror brings those that it reads; others are asked for by their digest */
	uint8_t digest[SHA256_SIZE];
	bool is_target = f->channel->tuf_root.n && channel_signed_digest(path, digest);
	if (told > 0 || is_target || f->channel->type == MIRROR_PROXY)
		f->answer = MIRROR_WANTED;
	return 0;
}

/* -- what is to be told -------------------------------------------------------------------------------------------- */

int mirror_upstreams(struct mirror_reader *r, const struct mirror_channel *c, struct arena *a,
		     struct mirror_upstream_status **ret, size_t *ret_n, struct err *e)
{
	struct upstreams u;
	if (upstreams_init(&u, c, &clock_system, e) < 0 || upstreams_load(&u, r->db, e) < 0)
		return -1;
	struct mirror_upstream_status *v = arena_array(a, struct mirror_upstream_status, u.n + 1);
	struct upstreams ask = u; /* choosing leaves a mark */
	int next = upstreams_choose(&ask, 0, -1);
	for (size_t i = 0; i < u.n; i++)
		v[i] = (struct mirror_upstream_status){.upstream = u.v[i],
						       .health = upstreams_health(&u, (int)i),
						       .in_use = (int)i == next,
						       .again_ms = u.s[i].again_ms,
						       .good_ms = u.s[i].good_ms,
						       .bad_ms = u.s[i].bad_ms,
						       .failures = (uint64_t)u.s[i].failures,
						       .bytes_per_s = u.s[i].bytes_per_s,
						       .error = arena_str(a, str_c(u.s[i].error))};
	*ret = v;
	*ret_n = u.n;
	return 0;
}

/* The row of a channel: its id, or 0 where nothing was ever tried. */
static int read_dates(struct mirror_reader *r, const struct mirror_channel *c, struct arena *a, int64_t *ret_id,
		      struct mirror_channel_status *ret, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	*ret = (struct mirror_channel_status){.message = STR("")};
	*ret_id = 0;
	if (sql_prepare(r->db, "SELECT created_ms, synced_ms, tried_ms, good, message, id FROM channel WHERE name = ?1",
			&q, e) < 0)
		return -1;
	sql_bind_str(q, 1, c->name);
	int rc = sql_step(q, e);
	if (rc <= 0)
		return rc;
	ret->created_ms = sql_int(q, 0);
	ret->synced_ms = sql_int(q, 1);
	ret->tried_ms = sql_int(q, 2);
	ret->good = sql_int(q, 3);
	ret->message = sql_str(q, 4, a);
	*ret_id = sql_int(q, 5);
	return 0;
}

int mirror_channel_dates(struct mirror_reader *r, const struct mirror_channel *c, struct arena *a,
			 struct mirror_channel_status *ret, struct err *e)
{
	int64_t id;
	return read_dates(r, c, a, &id, ret, e);
}

int mirror_channel_status(struct mirror_reader *r, const struct mirror_channel *c, struct arena *a,
			  struct mirror_channel_status *ret, struct err *e)
{
	auto_ptr(sql_query) n = NULL;
	int64_t id;
	if (read_dates(r, c, a, &id, ret, e) < 0)
		return -1;
	if (!id)
		return 0;
	if (sql_prepare(r->db,
			"SELECT count(*), coalesce(sum(size), 0), coalesce(sum(held), 0),"
			" coalesce(sum(CASE WHEN held THEN held_size END), 0), coalesce(sum(bad <> ''), 0)"
			" FROM file WHERE channel = ?1 AND what = 3 AND gone_ms = 0",
			&n, e) < 0)
		return -1;
	sql_bind_int(n, 1, id);
	if (sql_step(n, e) < 0)
		return -1;
	ret->expected = (uint64_t)sql_int(n, 0);
	ret->expected_bytes = (uint64_t)sql_int(n, 1);
	ret->held = (uint64_t)sql_int(n, 2);
	ret->held_bytes = (uint64_t)sql_int(n, 3);
	ret->damaged = (uint64_t)sql_int(n, 4);
	return 0;
}

int mirror_channel_has(struct mirror_reader *r, const struct mirror_channel *c, struct str folder, struct err *e)
{
	auto_ptr(sql_query) q = NULL;
	char from[CHANNEL_PATH_MAX], to[CHANNEL_PATH_MAX];
	snprintf(from, sizeof(from), "%.*s/", STR_ARG(folder));
	snprintf(to, sizeof(to), "%.*s0", STR_ARG(folder)); /* '0' comes next to '/' */
	if (sql_prepare(r->db,
			"SELECT 1 FROM file WHERE channel = (SELECT id FROM channel WHERE name = ?1) AND path > ?2 AND"
			" path < ?3 AND what = 3 AND gone_ms = 0 LIMIT 1",
			&q, e) < 0)
		return -1;
	sql_bind_str(q, 1, c->name);
	sql_bind_str(q, 2, str_c(from));
	sql_bind_str(q, 3, str_c(to));
	return sql_step(q, e);
}
