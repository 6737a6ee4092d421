// SPDX-License-Identifier: Apache-2.0
/*
 * What a package's install commands left in a prefix: all that is there is looked at before and after, but .opam-switch. A digest is written
 * as opam writes it, so that it can take away what we laid, and we what it laid:
 *
 *	D            a folder
 *	L:target     a symbolic link
 *	F:S18T17.5   a file, by its size and time (seconds as C's %.12g, with a '.' where that shows none)
 *	F:0123…      a file, by the MD5 of its content
 *	S:dev:rdev   something else
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/sys.h"
#include "base/vec.h"
#include "env/opam.h"

enum { PATH_BYTES = 4096 };

struct item {
	struct str path, digest;
	uint32_t uid, gid, mode;
};
VEC_TYPE(items, struct item);
struct env_opam_track {
	int prefix_fd;
	bool precise;
	struct arena arena;
	struct items before;
};

/* -- one item ------------------------------------------------------------------------------------------------------- */

static int md5_of(int fd, char hex[2 * MD5_SIZE + 1], const char *path, struct err *e)
{
	auto_ptr(digest) d = digest_new(DIGEST_MD5);
	uint8_t out[DIGEST_MAX];
	char p[65536];
	ssize_t n;
	while ((n = read(fd, p, sizeof(p))) > 0)
		digest_update(d, p, (size_t)n);
	if (n < 0)
		return err_sys(e, "read '%s'", path);
	hex_encode(out, digest_final(d, out), hex);
	return 0;
}

static void put_time(struct buf *b, const struct stat *st)
{
	char text[40];
	double t = (double)st->st_mtim.tv_sec + 1e-9 * (double)st->st_mtim.tv_nsec;
	snprintf(text, sizeof(text), "%.12g", t);
	buf_put_c(b, text);
	if (!strpbrk(text, ".en"))
		buf_put_c(b, ".");
}

static int digest_of_file(int dir_fd, const char *name, const char *path, const struct stat *st, bool precise,
			  struct buf *b, struct err *e)
{
	char hex[2 * MD5_SIZE + 1];
	if (!precise) {
		buf_printf(b, "F:S%lldT", (long long)st->st_size);
		put_time(b, st);
		return 0;
	}
	auto_fd fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", path);
	if (md5_of(fd, hex, path, e) < 0)
		return -1;
	buf_printf(b, "F:%s", hex);
	return 0;
}

static int digest_of(int dir_fd, const char *name, const char *path, const struct stat *st, bool precise, struct buf *b,
		     struct err *e)
{
	char target[4096];
	if (S_ISREG(st->st_mode))
		return digest_of_file(dir_fd, name, path, st, precise, b, e);
	if (S_ISDIR(st->st_mode)) {
		buf_put_c(b, "D");
		return 0;
	}
	if (!S_ISLNK(st->st_mode)) {
		buf_printf(b, "S:%llu:%llu", (unsigned long long)st->st_dev, (unsigned long long)st->st_rdev);
		return 0;
	}
	ssize_t n = readlinkat(dir_fd, name, target, sizeof(target));
	if (n < 0)
		return err_sys(e, "read link '%s'", path);
	buf_put_c(b, "L:");
	buf_put(b, target, (size_t)n);
	return 0;
}

/* -- a prefix ------------------------------------------------------------------------------------------------------- */

struct scan {
	struct arena *arena;
	struct items *items;
	const char *top;
	bool precise;
};

static int scan_one(struct scan *s, int dir_fd, const char *name, struct str path, const struct stat *st, struct err *e)
{
	auto_buf b = BUF_INIT(8192);
	if (s->items->n >= ENV_OPAM_LAID_MAX)
		return err_new(e, ERR_LIMIT, "more than %d files", ENV_OPAM_LAID_MAX);
	char *kept = arena_strdup(s->arena, path);
	if (digest_of(dir_fd, name, kept, st, s->precise, &b, e) < 0)
		return -1;
	*vec_add(s->items) = (struct item){.path = str_c(kept),
					   .digest = arena_str(s->arena, buf_str(&b)),
					   .uid = st->st_uid,
					   .gid = st->st_gid,
					   .mode = st->st_mode & 07777};
	return 0;
}

static int scan_below(void *ctx, int dir_fd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct scan *s = ctx;
	auto_buf b = BUF_INIT(1 << 20); /* 256 folders in each other (fs_walk) */
	buf_printf(&b, "%s/%s", s->top, rel);
	return scan_one(s, dir_fd, name, buf_str(&b), st, e);
}

static int item_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct item *)a)->path, ((const struct item *)b)->path);
}

static int scan_prefix(int prefix_fd, bool precise, struct arena *a, struct items *ret, struct err *e)
{
	struct scan s = {.arena = a, .items = ret, .precise = precise};
	auto_fs_list top = {0};
	struct stat st;
	if (fs_list(prefix_fd, ".", OPAM_NAMES_MAX, &top, e) < 0)
		return -1;
	for (size_t i = 0; i < top.n; i++) {
		s.top = top.name[i];
		if (strcmp(s.top, OPAM_META) == 0)
			continue;
		if (fstatat(prefix_fd, s.top, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, "stat '%s'", s.top);
		if (scan_one(&s, prefix_fd, s.top, str_c(s.top), &st, e) < 0 ||
		    (S_ISDIR(st.st_mode) && fs_walk(prefix_fd, s.top, scan_below, &s, e) < 0))
			return -1;
	}
	vec_sort(ret, item_cmp);
	return 0;
}

void env_opam_track_free(struct env_opam_track *t)
{
	if (!t)
		return;
	vec_release(&t->before);
	arena_release(&t->arena);
	free(t);
}

int env_opam_track_begin(struct env_opam_switch *s, bool precise, struct env_opam_track **ret, struct err *e)
{
	auto_ptr(env_opam_track) t = xcalloc(1, sizeof(*t));
	t->prefix_fd = s->fd;
	t->precise = precise;
	if (scan_prefix(s->fd, precise, &t->arena, &t->before, e) < 0)
		return err_ctx(e, "look at what is in '%s'", s->prefix);
	*ret = steal_ptr(&t);
	return 0;
}

static bool is_kind_of(struct str a, struct str b)
{
	return a.n && b.n && a.p[0] == b.p[0];
}

VEC_TYPE(changed_list, struct env_opam_changed);

static void compare(struct changed_list *out, const struct item *before, const struct item *after)
{
	enum env_opam_change_kind kind = ENV_OPAM_ADDED;
	if (!after)
		kind = ENV_OPAM_REMOVED;
	else if (before && !str_eq(before->digest, after->digest))
		kind = is_kind_of(before->digest, after->digest) ? ENV_OPAM_CONTENT_CHANGED : ENV_OPAM_KIND_CHANGED;
	else if (before && (before->uid != after->uid || before->gid != after->gid || before->mode != after->mode))
		kind = ENV_OPAM_MODE_CHANGED;
	else if (before)
		return;
	*vec_add(out) = (struct env_opam_changed){
		.path = after ? after->path : before->path, .digest = after ? after->digest : STR_NONE, .kind = kind};
}

int env_opam_track_end(struct env_opam_track *t, struct arena *a, struct env_opam_changes *ret, struct err *e)
{
	struct items after = {0};
	struct changed_list out = {0};
	size_t i = 0, j = 0;
	*ret = (struct env_opam_changes){0};
	if (scan_prefix(t->prefix_fd, t->precise, a, &after, e) < 0) {
		vec_release(&after);
		return err_ctx(e, "look at what was installed");
	}
	while (i < t->before.n || j < after.n) {
		int c = i == t->before.n ? 1 : j == after.n ? -1 : str_cmp(t->before.v[i].path, after.v[j].path);
		compare(&out, c <= 0 ? &t->before.v[i] : NULL, c >= 0 ? &after.v[j] : NULL);
		i += c <= 0;
		j += c >= 0;
	}
	int rc = 0;
	for (size_t k = 0; k < out.n && rc == 0; k++) {
		out.v[k].path = arena_str(a, out.v[k].path); /* removed: its path lives in the track */
		if (out.v[k].path.n > PATH_BYTES)	     /* nobody could take it away by its record */
			rc = err_new(e, ERR_LIMIT, "what was installed has a path of more than %d bytes, in '%.*s…'",
				     PATH_BYTES, 60, out.v[k].path.p);
	}
	ret->v = vec_copy(&out, a);
	ret->n = out.n;
	vec_release(&out);
	vec_release(&after);
	return rc;
}

/* -- taking back without a record ---------------------------------------------------------------------------------------- */

static const struct item *find_before(const struct env_opam_track *t, struct str path)
{
	const struct item key = {.path = path};
	return t->before.n ? bsearch(&key, t->before.v, t->before.n, sizeof(key), item_cmp) : NULL;
}

static int undo_folder(struct env_opam_track *t, int dir_fd, const char *name, struct str path, struct err *e);

/* 1: it was not there before, and is gone; 0. */
static int undo_entry(struct env_opam_track *t, int fd, const char *name, struct str folder, struct err *e)
{
	auto_buf path = BUF_INIT(1 << 20);
	struct stat st;
	buf_printf(&path, "%.*s%s%s", STR_ARG(folder), folder.n ? "/" : "", name);
	if (str_eq_c(buf_str(&path), OPAM_META))
		return 0;
	const struct item *was = find_before(t, buf_str(&path));
	if (!was)
		return fs_remove_tree(fd, name, e) < 0 ? -1 : 1;
	bool is_folder = str_eq_c(was->digest, "D") && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			 S_ISDIR(st.st_mode);
	return is_folder ? undo_folder(t, fd, name, buf_str(&path), e) : 0;
}

/* Only folders of before are gone into, however many and deep those are that came. */
static int undo_folder(struct env_opam_track *t, int dir_fd, const char *name, struct str path, struct err *e)
{
	auto_fd fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int at = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0), rc = 0;
	DIR *d = at < 0 ? NULL : fdopendir(at);
	bool again = true;
	if (!d) {
		err_sys(e, "open folder '%s'", name);
		cleanup_fd(&at);
		return -1;
	}
	while (rc >= 0 && again) { /* what goes may hide others from this pass */
		again = false;
		for (struct dirent *x; rc >= 0 && (x = readdir(d));) {
			if (strcmp(x->d_name, ".") == 0 || strcmp(x->d_name, "..") == 0)
				continue;
			rc = undo_entry(t, fd, x->d_name, path, e);
			again = again || rc > 0;
		}
		rewinddir(d);
	}
	closedir(d);
	return rc < 0 ? -1 : 0;
}

int env_opam_track_undo(struct env_opam_track *t, struct err *e)
{
	return undo_folder(t, t->prefix_fd, ".", STR(""), e);
}

/* -- the record ------------------------------------------------------------------------------------------------------ */

static const char *const fields[ENV_OPAM_CHANGE_KINDS] = {
	[ENV_OPAM_ADDED] = "added",
	[ENV_OPAM_REMOVED] = "removed",
	[ENV_OPAM_CONTENT_CHANGED] = "contents-changed",
	[ENV_OPAM_MODE_CHANGED] = "perm-changed",
	[ENV_OPAM_KIND_CHANGED] = "kind-changed",
};

static int changed_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct env_opam_changed *)a)->path, ((const struct env_opam_changed *)b)->path);
}

/* What commands make may have any name: control bytes too, which fs_path_is_inside refuses. */
static bool stays_inside(struct str path)
{
	struct str part;
	if (path.n == 0 || path.n > PATH_BYTES || memchr(path.p, '\0', path.n))
		return false;
	for (bool more = true; more;) {
		more = str_take_until(&path, '/', &part);
		if (!more)
			part = path;
		if (part.n == 0 || str_eq_c(part, ".") || str_eq_c(part, ".."))
			return false;
	}
	return true;
}

static int take_changed(const struct pkg_opam_doc *d, const struct pkg_opam_value *v, enum env_opam_change_kind kind,
			struct changed_list *out, struct err *e)
{
	bool option = v->kind == PKG_OPAM_OPTION;
	struct str path = pkg_opam_text(option ? v->left : v);
	struct str digest = option ? pkg_opam_text(v->first) : STR_NONE;
	if (!stays_inside(path))
		return pkg_opam_fault(d, v->from, "a path inside of the prefix is expected", e);
	if (kind != ENV_OPAM_REMOVED && !digest.n)
		return pkg_opam_fault(d, v->from, "a path with its digest is expected", e);
	*vec_add(out) = (struct env_opam_changed){.path = path, .digest = digest, .kind = kind};
	return 0;
}

static int take_all(const struct pkg_opam_doc *d, struct changed_list *out, struct err *e)
{
	for (size_t kind = 0; kind < ENV_OPAM_CHANGE_KINDS; kind++)
		for (const struct pkg_opam_value *v = pkg_opam_first(pkg_opam_get(d, fields[kind])); v; v = v->next)
			if (take_changed(d, v, kind, out, e) < 0)
				return -1;
	return 0;
}

int env_opam_changes_parse(struct arena *a, struct str text, const char *where, struct env_opam_changes *ret,
			   struct err *e)
{
	struct changed_list out = {0};
	struct pkg_opam_doc d;
	*ret = (struct env_opam_changes){0};
	int rc = pkg_opam_read(a, text, where, &d, e) < 0 ? -1 : take_all(&d, &out, e);
	vec_sort(&out, changed_cmp);
	if (rc == 0) {
		ret->v = vec_copy(&out, a);
		ret->n = out.n;
	}
	vec_release(&out);
	return rc;
}

void env_opam_changes_print(const struct env_opam_changes *c, struct buf *b)
{
	auto_arena a = ARENA_INIT;
	struct pkg_opam_item *first = pkg_opam_make_field(&a, "opam-version", opam_string(&a, STR("2.0"))),
			     *last = first;
	for (size_t kind = 0; kind < ENV_OPAM_CHANGE_KINDS; kind++) {
		VEC(const struct pkg_opam_value *) list = {0};
		for (size_t i = 0; i < c->n; i++) {
			if (c->v[i].kind != (enum env_opam_change_kind)kind)
				continue;
			const struct pkg_opam_value *digest = opam_string(&a, c->v[i].digest);
			struct pkg_opam_value *v = pkg_opam_make_list(&a, PKG_OPAM_OPTION, &digest, 1);
			v->left = opam_string(&a, c->v[i].path);
			vec_push(&list, kind == ENV_OPAM_REMOVED ? v->left : v);
		}
		if (list.n) {
			struct pkg_opam_item *f = pkg_opam_make_field(
				&a, fields[kind],
				list.n == 1 ? list.v[0] : pkg_opam_make_list(&a, PKG_OPAM_LIST, list.v, list.n));
			last->next = f;
			last = f;
		}
		vec_release(&list);
	}
	pkg_opam_print_normal(first, b);
}

int env_opam_changes_read(struct env_opam_switch *s, struct arena *a, struct str name, struct env_opam_changes *ret,
			  struct err *e)
{
	auto_buf b = BUF_INIT(ENV_OPAM_FILE_MAX);
	const char *path = arena_printf(a, "install/%.*s.changes", STR_ARG(name));
	struct err mine = ERR_INIT;
	*ret = (struct env_opam_changes){0};
	if (fs_read(s->meta_fd, path, &b, &mine) < 0) {
		if (mine.code == ERR_NOT_FOUND)
			return 0;
		*e = mine;
		return -1;
	}
	return env_opam_changes_parse(a, arena_str(a, buf_str(&b)),
				      arena_printf(a, "%s/" OPAM_META "/%s", s->prefix, path), ret, e);
}

/* -- taking it away --------------------------------------------------------------------------------------------------- */

/* 1: it is as it was when it was installed; 0: it is not; 2: it is not there. */
static int is_as_laid(int dir_fd, const char *name, const struct env_opam_changed *c, struct stat *st, struct err *e)
{
	auto_buf b = BUF_INIT(8192);
	if (fstatat(dir_fd, name, st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 2 : err_sys(e, "stat '%.*s'", STR_ARG(c->path));
	if (digest_of(dir_fd, name, name, st, !str_starts(c->digest, STR("F:S")), &b, e) < 0)
		return -1;
	return str_eq(buf_str(&b), c->digest);
}

/* The folder that it lies in, and its name there. -1: that is gone, 0 in *e, or *e tells why. */
static int open_folder_of(int prefix_fd, struct str path, struct arena *a, const char **ret_name, struct err *e)
{
	ptrdiff_t slash = str_rfind(path, '/');
	const char *folder = slash < 0 ? "." : arena_strdup(a, str_head(path, (size_t)slash));
	*ret_name = arena_strdup(a, str_skip(path, (size_t)(slash + 1)));
	int fd = fs_open_below(prefix_fd, folder, O_RDONLY | O_DIRECTORY);
	if (fd < 0 && errno == EXDEV)
		return err_new(e, ERR_INPUT, "'%.*s' leads out of the prefix", STR_ARG(path));
	return fd < 0 ? err_sys(e, "open folder '%s'", folder) : fd;
}

static int revert_one(int prefix_fd, const struct env_opam_changed *c, bool force, struct arena *a, bool *ret_kept,
		      struct err *e)
{
	const char *name;
	struct stat st;
	struct err mine = ERR_INIT;
	auto_fd dir = open_folder_of(prefix_fd, c->path, a, &name, &mine);
	if (dir < 0) {
		if (mine.code == ERR_NOT_FOUND)
			return 0;
		*e = mine;
		return -1;
	}
	int as_laid = is_as_laid(dir, name, c, &st, e);
	if (as_laid < 0 || as_laid == 2)
		return as_laid < 0 ? -1 : 0;
	if (!as_laid && !force) {
		*ret_kept = true;
		return 0;
	}
	if (sys_unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0 || errno == ENOENT)
		return 0;
	return S_ISDIR(st.st_mode) && (errno == ENOTEMPTY || errno == EEXIST)
		       ? 0
		       : err_sys(e, "remove '%.*s'", STR_ARG(c->path));
}

int env_opam_revert(struct env_opam_switch *s, struct arena *a, const struct env_opam_changes *c, bool force,
		    struct pkg_opam_strs *ret_kept, struct err *e)
{
	VEC(struct str) kept = {0};
	int rc = 0;
	for (size_t i = c->n; i > 0 && rc == 0; i--) { /* what lies in a folder goes before it */
		const struct env_opam_changed *x = &c->v[i - 1];
		bool stays = false;
		if (x->kind != ENV_OPAM_ADDED && x->kind != ENV_OPAM_KIND_CHANGED)
			continue;
		rc = revert_one(s->fd, x, force, a, &stays, e);
		if (stays)
			vec_push(&kept, x->path);
	}
	*ret_kept = (struct pkg_opam_strs){vec_copy(&kept, a), kept.n};
	vec_release(&kept);
	return rc < 0 ? err_ctx(e, "prefix '%s'", s->prefix) : 0;
}
