// SPDX-License-Identifier: Apache-2.0
/* Keeping house: gc, size, verify. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <time.h>

#include "base/fs.h"
#include "base/sys.h"
#include "store/internal.h"
#include "store/tree.h"

/* Visits every blob (or tree) by name, sorted; what has another name is none of ours and left alone. */
typedef int visit_fn(void *ctx, const struct blob_name *n, struct err *e);

static int visit_trees(struct store *s, visit_fn *fn, void *ctx, struct err *e)
{
	auto_fs_list l = {0};
	uint8_t sha[SHA256_SIZE];
	if (s->tree < 0)
		return 0;
	if (fs_list(s->tree, ".", STORE_FOLDER_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++) {
		if (!str_unhex(str_c(l.name[i]), sha, SHA256_SIZE))
			continue;
		struct blob_name n = blob_name(sha);
		if (strcmp(n.hex, l.name[i]) == 0 && fn(ctx, &n, e) < 0)
			return -1;
	}
	return 0;
}

static int visit_blobs(struct store *s, visit_fn *fn, void *ctx, struct err *e)
{
	auto_fs_list dirs = {0};
	uint8_t sha[SHA256_SIZE];
	if (s->blob < 0)
		return 0;
	if (fs_list(s->blob, ".", STORE_FOLDER_MAX, &dirs, e) < 0)
		return -1;
	for (size_t d = 0; d < dirs.n; d++) {
		auto_fs_list l = {0};
		if (strlen(dirs.name[d]) != 2)
			continue;
		if (fs_list(s->blob, dirs.name[d], STORE_FOLDER_MAX, &l, e) < 0)
			return -1;
		for (size_t i = 0; i < l.n; i++) {
			auto_buf hex = BUF_INIT(512);
			buf_put_c(&hex, dirs.name[d]);
			buf_put_c(&hex, l.name[i]);
			if (!str_unhex(buf_str(&hex), sha, SHA256_SIZE))
				continue;
			struct blob_name n = blob_name(sha);
			if (strcmp(n.hex, hex.p) == 0 && fn(ctx, &n, e) < 0)
				return -1;
		}
	}
	return 0;
}

/* checking */

int blob_check(struct store *s, const struct blob_name *name, struct buf *why, struct err *e)
{
	uint8_t got[SHA256_SIZE];
	char hex[SHA256_HEX_SIZE];
	auto_fd fd = openat(s->blob, name->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open blob '%s'", name->hex);
	if (sha256_fd(fd, got, e) < 0)
		return err_ctx(e, "blob '%s'", name->hex);
	hex_encode(got, SHA256_SIZE, hex);
	if (strcmp(hex, name->hex) == 0)
		return 0;
	buf_printf(why, "its content has sha256 %s", hex);
	return 1;
}

int tree_check(struct store *s, const char *hex, struct buf *why, struct err *e)
{
	auto_fd fd = openat(s->tree, hex, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open unpacked package '%s'", hex);
	return tree_verify(fd, why, e);
}

/* One rename takes it away as a whole; a crash after it leaves rubbish in tmp/. */
static int move_away(struct store *s, int dirfd, const char *path, const char *tmp, struct err *e)
{
	if (fs_remove_tree(s->tmp, tmp, e) < 0)
		return -1;
	if (sys_renameat(dirfd, path, s->tmp, tmp) < 0 && errno != ENOENT)
		return err_sys(e, "move '%s' out of the store", path);
	return 0;
}

int blob_remove(struct store *s, const struct blob_name *name, struct err *e)
{
	if (sys_unlinkat(s->blob, name->path, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove blob '%s'", name->hex);
	return 0;
}

int tree_remove(struct store *s, const char *hex, struct err *e)
{
	struct tmp_name tmp = tmp_name(hex, "gone");
	if (move_away(s, s->tree, hex, tmp.s, e) < 0)
		return -1;
	return fs_remove_tree(s->tmp, tmp.s, e);
}

int store_mend_tree(struct store *s, const uint8_t sha256[SHA256_SIZE], struct err *e)
{
	struct blob_name n = blob_name(sha256);
	auto_buf why = BUF_INIT(8192);
	if (!store_has_tree(s, sha256))
		return 0;
	int damaged = tree_check(s, n.hex, &why, e);
	if (damaged <= 0)
		return damaged;
	return tree_remove(s, n.hex, e) < 0 ? -1 : 1;
}

/* sizes */

static int add_file_size(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	(void)dirfd, (void)name, (void)rel, (void)e;
	uint64_t *sum = ctx;
	if (S_ISREG(st->st_mode))
		*sum += (uint64_t)st->st_size;
	return 0;
}

/* Bytes of a file or of all files below a folder. What vanishes meanwhile counts nothing. */
static uint64_t size_of(int dirfd, const char *path)
{
	struct stat st;
	uint64_t sum = 0;
	struct err ignored;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return (uint64_t)st.st_size;
	(void)fs_walk(dirfd, path, add_file_size, &sum, &ignored);
	return sum;
}

static uint64_t tree_size(struct store *s, const char *hex)
{
	struct tree_summary sum;
	struct err ignored;
	auto_fd fd = openat(s->tree, hex, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 && tree_read_summary(fd, &sum, &ignored) == 0)
		return sum.bytes;
	return size_of(s->tree, hex);
}

struct sizing {
	struct store *s;
	struct store_usage *u;
};

static int size_blob(void *ctx, const struct blob_name *n, struct err *e)
{
	(void)e;
	struct sizing *z = ctx;
	z->u->blobs++;
	z->u->blob_bytes += size_of(z->s->blob, n->path);
	return 0;
}

static int size_tree(void *ctx, const struct blob_name *n, struct err *e)
{
	(void)e;
	struct sizing *z = ctx;
	z->u->trees++;
	z->u->tree_bytes += tree_size(z->s, n->hex);
	return 0;
}

int store_size(struct store *s, struct store_usage *ret, struct err *e)
{
	struct store_usage u = {0};
	struct sizing z = {s, &u};
	if (visit_blobs(s, size_blob, &z, e) < 0 || visit_trees(s, size_tree, &z, e) < 0)
		return -1;
	u.tmp_bytes = s->tmp < 0 ? 0 : size_of(s->tmp, ".");
	*ret = u;
	return 0;
}

/* gc */

struct gc {
	struct store *s;
	const struct store_gc_opts *o;
	struct store_usage *freed;
	int64_t now_s;
};

static int compare_sha(const void *a, const void *b)
{
	return memcmp(a, b, SHA256_SIZE);
}

static bool is_kept(const struct gc *g, const struct blob_name *n)
{
	uint8_t sha[SHA256_SIZE];
	(void)str_unhex(str_c(n->hex), sha, SHA256_SIZE);
	return g->o->keep_n > 0 && bsearch(sha, g->o->keep, g->o->keep_n, SHA256_SIZE, compare_sha) != NULL;
}

/* Without a least age nothing is: a file's time may be finer than the clock, and so be a second ahead of it. */
static bool is_young(const struct gc *g, int dirfd, const char *path)
{
	struct stat st;
	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return true;
	return g->o->min_age_s > 0 && g->now_s - st.st_mtime < g->o->min_age_s;
}

static int gc_tree(void *ctx, const struct blob_name *n, struct err *e)
{
	struct gc *g = ctx;
	if (is_kept(g, n) || is_young(g, g->s->tree, n->hex))
		return 0;
	g->freed->trees++;
	g->freed->tree_bytes += tree_size(g->s, n->hex);
	/* only renamed under the lock; the slow part follows when others may work again */
	return g->o->dry_run ? 0 : move_away(g->s, g->s->tree, n->hex, tmp_name(n->hex, "gone").s, e);
}

static int gc_blob(void *ctx, const struct blob_name *n, struct err *e)
{
	struct gc *g = ctx;
	bool unpacked = faccessat(g->s->tree, n->hex, F_OK, 0) == 0;
	bool wanted = is_kept(g, n) && (g->o->keep_blobs || !unpacked);
	if (wanted || is_young(g, g->s->blob, n->path))
		return 0;
	g->freed->blobs++;
	g->freed->blob_bytes += size_of(g->s->blob, n->path);
	return g->o->dry_run ? 0 : blob_remove(g->s, n, e);
}

/* What lies in tmp/ belongs to somebody as long as it is locked. A download that was cut off is worth keeping a while. */
static int gc_tmp(struct gc *g, struct err *e)
{
	auto_fs_list l = {0};
	if (fs_list(g->s->tmp, ".", STORE_FOLDER_MAX, &l, e) < 0)
		return -1;
	for (size_t i = 0; i < l.n; i++) {
		const char *name = l.name[i];
		struct err busy;
		auto_fd fd = openat(g->s->tmp, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (str_ends(str_c(name), STR(".part")) && is_young(g, g->s->tmp, name))
			continue;
		if (fd >= 0 && lock_named(g->s->tmp, name, fd, &busy) != 1)
			continue;
		if (!str_ends(str_c(name), STR(".gone"))) /* those were counted as trees */
			g->freed->tmp_bytes += size_of(g->s->tmp, name);
		if (!g->o->dry_run && fs_remove_tree(g->s->tmp, name, e) < 0)
			return -1;
	}
	return 0;
}

int store_gc_begin(struct store *s, struct err *e)
{
	if (s->read_only)
		return err_new(e, ERR_FAILED, "the store is open for reading only");
	if (s->gc_begun)
		return 0;
	if (flock(s->lock, LOCK_EX | LOCK_NB) < 0) {
		int busy = errno;
		flock(s->lock, LOCK_SH); /* the attempt gave the shared lock up */
		return busy == EWOULDBLOCK
			       ? err_new(e, ERR_BUSY, "another process works with the store; try again when it is done")
			       : err_errno(e, busy, "lock 'store/lock'");
	}
	s->gc_begun = true;
	return 0;
}

int store_gc(struct store *s, const struct store_gc_opts *o, struct store_usage *ret_freed, struct err *e)
{
	struct store_usage freed = {0};
	struct gc g = {s, o, &freed, (int64_t)time(NULL)};
	if (store_gc_begin(s, e) < 0)
		return -1;
	int r = visit_trees(s, gc_tree, &g, e);
	r = r < 0 ? r : visit_blobs(s, gc_blob, &g, e);
	r = r < 0 || o->dry_run ? r : unsynced_forget(s, e);
	flock(s->lock, LOCK_SH);
	s->gc_begun = false;
	r = r < 0 ? r : gc_tmp(&g, e);
	if (r < 0)
		return err_ctx(e, "collect garbage");
	*ret_freed = freed;
	return 0;
}

/* verify */

struct verify {
	struct store *s;
	bool repair;
	struct progress *p;
	store_damage_fn *found;
	void *ctx;
	int64_t damaged;
	uint64_t done, total;
};

static int report(struct verify *v, const char *kind, const struct blob_name *n, const struct buf *why, bool mendable)
{
	auto_buf what = BUF_INIT(256);
	buf_printf(&what, "%s %s", kind, n->hex);
	v->damaged++;
	if (v->found)
		v->found(v->ctx, what.p, why->p, mendable);
	return 0;
}

static void verify_progress(struct verify *v, const char *id)
{
	progress_send(
		v->p,
		(struct progress_event){
			.kind = PROGRESS_UPDATE, .phase = "verify", .id = id, .done = ++v->done, .total = v->total});
}

static int verify_blob(void *ctx, const struct blob_name *n, struct err *e)
{
	struct verify *v = ctx;
	auto_buf why = BUF_INIT(8192);
	struct err check = ERR_INIT;
	int r = blob_check(v->s, n, &why, &check);
	verify_progress(v, n->hex);
	if (r == 0 || (r < 0 && check.code == ERR_NOT_FOUND))
		return 0;
	if (r < 0)
		buf_put_c(&why, check.msg);
	report(v, "blob", n, &why, true);
	return v->repair ? blob_remove(v->s, n, e) : 0;
}

/* Of a whole tree: does it hold what its package says? */
static int verify_promise(struct verify *v, const struct blob_name *n, struct err *e)
{
	auto_buf why = BUF_INIT(8192);
	auto_fd fd = openat(v->s->tree, n->hex, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open unpacked package '%s'", n->hex);
	int r = tree_contradiction(fd, &why, e);
	if (r <= 0)
		return r;
	buf_put_c(&why, ": the package contradicts itself; tell its maker, and use another build");
	return report(v, "tree", n, &why, false);
}

static int verify_tree(void *ctx, const struct blob_name *n, struct err *e)
{
	struct verify *v = ctx;
	auto_buf why = BUF_INIT(8192);
	struct err check = ERR_INIT;
	int r = tree_check(v->s, n->hex, &why, &check);
	verify_progress(v, n->hex);
	if (r == 0)
		return verify_promise(v, n, e);
	if (r < 0 && check.code == ERR_NOT_FOUND)
		return 0;
	if (r < 0)
		buf_put_c(&why, check.msg);
	report(v, "tree", n, &why, true);
	return v->repair ? tree_remove(v->s, n->hex, e) : 0;
}

static int count_one(void *ctx, const struct blob_name *n, struct err *e)
{
	(void)n, (void)e;
	++*(uint64_t *)ctx;
	return 0;
}

int64_t store_verify(struct store *s, bool repair, struct progress *p, store_damage_fn *found, void *ctx, struct err *e)
{
	struct verify v = {.s = s, .repair = repair, .p = p, .found = found, .ctx = ctx};
	if (repair && s->read_only)
		return err_new(e, ERR_FAILED, "the store is open for reading only");
	if (visit_blobs(s, count_one, &v.total, e) < 0 || visit_trees(s, count_one, &v.total, e) < 0)
		return -1;
	if (visit_blobs(s, verify_blob, &v, e) < 0 || visit_trees(s, verify_tree, &v, e) < 0)
		return err_ctx(e, "verify the store");
	return v.damaged;
}
