// SPDX-License-Identifier: Apache-2.0
/*
 * A row of table file is written only where something of it is new, since metadata seldom change much. What is held and is no longer
 * what the metadata tell goes: the next who asks has it fetched again.
 */
#include "mirror/learn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sys.h"
#include "mirror/config.h"

enum { ROWS = 20000 }; /* a commit, which waits for the disk */

struct learner {
	const struct mirror_channel *channel;
	int64_t id;
	int tree, came, made; /* folders */
	struct sql *db;
	sql_query *look, *put;
	/* of a file: */
	unsigned rows;
	bool in_transaction;
	struct arena a;
	VEC(const char *) wrong; /* held, but not what is told now */
	uint64_t told;
};

static const char look_text[] =
	"SELECT what, size, kind, digest, url, accept, held, sha256, gone_ms FROM file WHERE channel = ?1 AND path = ?2";
static const char put_text[] =
	"INSERT INTO file (channel, path, what, size, kind, digest, url, accept, told, first, time_ms)"
	" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0, ?9)"
	" ON CONFLICT (channel, path) DO UPDATE SET what = excluded.what, size = excluded.size, kind = excluded.kind,"
	" digest = excluded.digest, url = excluded.url, accept = excluded.accept, time_ms = excluded.time_ms, gone_ms = 0,"
	" held = CASE WHEN ?10 THEN 0 ELSE held END";

/* What a process that was killed left there; notes stay. */
static int drop_left_over(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)ctx, (void)rel;
	if (!S_ISREG(st->st_mode) || name[0] == '.')
		return 0;
	return sys_unlinkat(dirfd, name, 0) < 0 && errno != ENOENT ? err_sys(e, "remove '%s'", name) : 0;
}

int learner_new(struct mirror *m, const struct mirror_channel *c, struct learner **ret, struct err *e)
{
	struct place p = {.m = m, .c = c};
	auto_ptr(learner) l = xcalloc(1, sizeof(*l));
	*l = (struct learner){.channel = c, .tree = -1, .came = -1, .made = -1};
	l->tree = mirror_tree(m, c, e);
	auto_fd work = l->tree < 0 ? -1 : fs_open_dir_make(l->tree, WORK_FOLDER, e);
	if (work < 0)
		return -1;
	l->came = fs_open_dir_make(work, CAME, e);
	l->made = l->came < 0 ? -1 : fs_open_dir_make(work, MADE, e);
	if (l->made < 0 || fs_walk(l->came, ".", drop_left_over, NULL, e) < 0 ||
	    fs_walk(l->made, ".", drop_left_over, NULL, e) < 0 || state_open(m, &l->db, e) < 0)
		return -1;
	p.db = l->db;
	if (place_find(&p, e) < 0 || sql_prepare(l->db, look_text, &l->look, e) < 0 ||
	    sql_prepare(l->db, put_text, &l->put, e) < 0)
		return -1;
	l->id = p.id;
	*ret = steal_ptr(&l);
	return 0;
}

void learner_free(struct learner *l)
{
	if (!l)
		return;
	sql_query_free(l->look);
	sql_query_free(l->put);
	sql_close(l->db);
	cleanup_fd(&l->tree);
	cleanup_fd(&l->came);
	cleanup_fd(&l->made);
	vec_release(&l->wrong);
	arena_release(&l->a);
	free(l);
}

/* -- what is told -------------------------------------------------------------------------------------------------- */

static bool has_digest(const struct digest_value *d, int64_t kind, struct str bytes)
{
	return d->known ? kind == (int64_t)d->kind && bytes.n == digest_size(d->kind) &&
				  memcmp(bytes.p, d->bytes, bytes.n) == 0
			: kind < 0;
}

struct known {
	bool same, wrong; /* same: the row says what is told; wrong: what is held is not what is told */
};

static int look_up(struct learner *l, const struct channel_item *it, struct known *ret, struct err *e)
{
	const struct digest_value *d = &it->digest;
	*ret = (struct known){0};
	sql_bind_int(l->look, 1, l->id);
	sql_bind_str(l->look, 2, it->path);
	int rc = sql_step(l->look, e);
	if (rc > 0) {
		struct str sha = sql_view(l->look, 7), digest = sql_view(l->look, 3);
		int64_t kind = sql_int(l->look, 2);
		bool same = has_digest(d, kind, digest);
		ret->same = same && sql_int(l->look, 0) == (int64_t)it->what &&
			    (uint64_t)sql_int(l->look, 1) == it->size && str_eq(sql_view(l->look, 4), it->url) &&
			    sql_int(l->look, 8) == 0;
		if (sql_int(l->look, 6) && d->known && d->kind == DIGEST_SHA256 && sha.n == SHA256_SIZE)
			ret->wrong = memcmp(sha.p, d->bytes, SHA256_SIZE) != 0;
		else if (sql_int(l->look, 6) && d->known && !same)
			ret->wrong = kind == (int64_t)d->kind || it->what == CHANNEL_FILE_NAMED;
	}
	sql_reset(l->look);
	return rc < 0 ? -1 : 0;
}

static int commit(struct learner *l, int rc, struct err *e)
{
	if (!l->in_transaction)
		return rc;
	l->in_transaction = false;
	return sql_end(l->db, rc, e);
}

static int put_row(struct learner *l, const struct channel_item *it, bool wrong, struct err *e)
{
	const struct digest_value *d = &it->digest;
	if (!l->in_transaction && sql_begin(l->db, e) < 0)
		return -1;
	l->in_transaction = true;
	sql_bind_int(l->put, 1, l->id);
	sql_bind_str(l->put, 2, it->path);
	sql_bind_int(l->put, 3, it->what);
	sql_bind_int(l->put, 4, (int64_t)(it->size >> 62 ? 0 : it->size));
	sql_bind_int(l->put, 5, d->known ? (int)d->kind : -1);
	sql_bind_bytes(l->put, 6, d->known ? d->bytes : NULL, d->known ? digest_size(d->kind) : 0);
	sql_bind_bytes(l->put, 7, it->url.n ? it->url.p : NULL, it->url.n);
	sql_bind_bytes(l->put, 8, it->accept, it->accept ? strlen(it->accept) : 0);
	sql_bind_int(l->put, 9, it->time_ms);
	sql_bind_int(l->put, 10, wrong);
	int rc = sql_step(l->put, e);
	sql_reset(l->put);
	return rc < 0 ? -1 : ++l->rows % ROWS ? 0 : commit(l, 0, e);
}

static int on_item(void *ctx, const struct channel_item *it, struct err *e)
{
	struct learner *l = ctx;
	struct known known;
	l->told++;
	if (!channel_path_is_normal(it->path) || it->path.p[0] == '.')
		return err_new(e, ERR_INPUT, "metadata name the file '%.*s', which no channel has", STR_ARG(it->path));
	if (look_up(l, it, &known, e) < 0)
		return -1;
	if (known.wrong)
		vec_push(&l->wrong, arena_strdup(&l->a, it->path));
	return known.same && !known.wrong ? 0 : put_row(l, it, known.wrong, e);
}

static int drop_wrong(struct learner *l, struct err *e)
{
	vec_foreach(path, &l->wrong)
		if (sys_unlinkat(l->tree, *path, 0) < 0 && errno != ENOENT)
			return err_sys(e, "remove '%s', which is no longer what the upstream has", *path);
	return 0;
}

/* -- one file ------------------------------------------------------------------------------------------------------ */

static int look_at(struct learner *l, const char *path, struct learned *ret, struct err *e)
{
	const struct str keyring = l->channel->keyring;
	const struct channel_came c = {l->came, l->made, keyring.n ? keyring.p : NULL};
	int rc = channel_kind_learn(l->channel->kind, &c, str_c(path), on_item, l, e);
	if (commit(l, rc < 0 ? -1 : 0, e) < 0 || rc < 0 || drop_wrong(l, e) < 0)
		return -1;
	struct stat st;
	ret->folder = rc > 0 ? l->made : l->came;
	ret->told = l->told;
	auto_fd fd = openat(ret->folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", path);
	if (sha256_fd(fd, ret->sha256, e) < 0)
		return -1;
	if (sys_fsync(fd) < 0)
		return err_sys(e, "sync '%s'", path);
	ret->size = (uint64_t)st.st_size;
	ret->fd = steal_fd(&fd);
	return 0;
}

int learner_take(struct learner *l, int from, const char *name, const char *path, struct learned *ret, struct err *e)
{
	*ret = (struct learned){.fd = -1, .folder = -1};
	l->rows = 0;
	l->told = 0;
	l->wrong.n = 0;
	arena_release(&l->a);
	if (place_put(from, name, l->came, path, e) < 0)
		return -1;
	if (look_at(l, path, ret, e) == 0) {
		if (ret->folder == l->made)
			(void)sys_unlinkat(l->came, path, 0);
		return 0;
	}
	(void)sys_unlinkat(l->came, path, 0);
	(void)sys_unlinkat(l->made, path, 0);
	return err_ctx(e, "'%s' of the upstream", path);
}
