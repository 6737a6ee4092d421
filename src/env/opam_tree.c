// SPDX-License-Identifier: Apache-2.0
/*
 * What a package put into a prefix, as a list that can be kept beside its files:
 *
 *	D share/x
 *	F 755 1234 0123abcd…	bin/x		mode, size, SHA-256
 *	L ../x	bin/y				where it leads
 *
 * with a tab before the path. A list that was kept is believed as little as its files: paths may not leave the folder, and each file is copied
 * beside its place, digested on the way, and renamed into it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "base/vec.h"
#include "env/opam.h"

enum { PIECE = 1 << 17, TARGET_MAX = 4096 };

VEC_TYPE(tree_items, struct env_opam_item);

/* -- reading a folder ----------------------------------------------------------------------------------------------------- */

static bool is_plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return s.n > 0;
}

static int read_link(int dir, const char *name, struct arena *a, struct env_opam_item *ret, struct err *e)
{
	char target[TARGET_MAX];
	ssize_t n = readlinkat(dir, name, target, sizeof(target));
	if (n < 0)
		return err_sys(e, "read link '%.*s'", STR_ARG(ret->path));
	if (n == (ssize_t)sizeof(target) || !is_plain(str_of(target, (size_t)n)))
		return err_new(e, ERR_UNSUPPORTED, "the link '%.*s' leads to what cannot be kept", STR_ARG(ret->path));
	ret->target = arena_str(a, str_of(target, (size_t)n));
	return 0;
}

static int read_item(int dir_fd, struct str path, struct arena *a, struct env_opam_item *ret, struct err *e)
{
	struct str last;
	struct stat st;
	*ret = (struct env_opam_item){.path = path};
	if (!is_plain(path)) /* a line of the list */
		return err_new(e, ERR_UNSUPPORTED, "a name with a control byte cannot be kept");
	auto_fd dir = fs_open_parent_below(dir_fd, path, false, &last, e);
	if (dir < 0)
		return -1;
	const char *name = arena_strdup(a, last);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "look at '%.*s'", STR_ARG(path));
	ret->kind = S_ISDIR(st.st_mode) ? ENV_OPAM_FOLDER : S_ISLNK(st.st_mode) ? ENV_OPAM_LINK : ENV_OPAM_FILE;
	if (S_ISDIR(st.st_mode))
		return 0;
	if (S_ISLNK(st.st_mode))
		return read_link(dir, name, a, ret, e);
	if (!S_ISREG(st.st_mode))
		return err_new(e, ERR_UNSUPPORTED, "'%.*s' is no file, folder or link", STR_ARG(path));
	auto_fd fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%.*s'", STR_ARG(path));
	ret->mode = st.st_mode & 0777;
	ret->size = (uint64_t)st.st_size;
	return sha256_fd(fd, ret->sha256, e) < 0 ? err_ctx(e, "read '%.*s'", STR_ARG(path)) : 0;
}

static int item_cmp(const void *a, const void *b)
{
	return str_cmp(((const struct env_opam_item *)a)->path, ((const struct env_opam_item *)b)->path);
}

int env_opam_tree_of(struct env_opam_switch *s, struct str name, const struct env_opam_changes *c, struct arena *a,
		     struct env_opam_tree *ret, struct err *e)
{
	struct tree_items v = {0};
	int rc = 1;
	*ret = (struct env_opam_tree){0};
	for (size_t i = 0; i < c->n && rc >= 0; i++) {
		if (c->v[i].kind !=
		    ENV_OPAM_ADDED) /* what it made of another's files cannot be told apart from those */
			rc = 0;
		if (c->v[i].kind != ENV_OPAM_REMOVED && read_item(s->fd, c->v[i].path, a, vec_add(&v), e) < 0)
			rc = -1;
	}
	for (size_t i = 0; i < 2 && rc >= 0; i++) {
		const char *path = i == 0 ? arena_printf(a, OPAM_META "/install/%.*s.install", STR_ARG(name))
					  : arena_printf(a, OPAM_META "/config/%.*s.config", STR_ARG(name));
		if (fs_exists(s->fd, path) && read_item(s->fd, str_c(path), a, vec_add(&v), e) < 0)
			rc = -1;
	}
	if (rc >= 0) {
		vec_sort(&v, item_cmp);
		*ret = (struct env_opam_tree){vec_copy(&v, a), v.n, 0};
		for (size_t i = 0; i < v.n; i++)
			ret->bytes += v.v[i].size;
	}
	vec_release(&v);
	return rc;
}

/* -- as text ---------------------------------------------------------------------------------------------------------------- */

void env_opam_tree_print(const struct env_opam_tree *t, struct buf *b)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct env_opam_item *x = &t->v[i];
		char hex[SHA256_HEX_SIZE];
		switch (x->kind) {
		case ENV_OPAM_FOLDER:
			buf_put_c(b, "D");
			break;
		case ENV_OPAM_LINK:
			buf_printf(b, "L %.*s", STR_ARG(x->target));
			break;
		case ENV_OPAM_FILE:
			hex_encode(x->sha256, SHA256_SIZE, hex);
			buf_printf(b, "F %o %llu %s", x->mode, (unsigned long long)x->size, hex);
			break;
		}
		buf_printf(b, "\t%.*s\n", STR_ARG(x->path));
	}
}

static bool take_mode(struct str *s, uint32_t *ret)
{
	struct str word;
	*ret = 0;
	if (!str_take_word(s, &word) || word.n == 0 || word.n > 3)
		return false;
	for (size_t i = 0; i < word.n; i++) {
		if (word.p[i] < '0' || word.p[i] > '7')
			return false;
		*ret = *ret * 8 + (uint32_t)(word.p[i] - '0');
	}
	return true;
}

static bool take_line(struct str line, struct env_opam_item *ret)
{
	struct str word, kind;
	*ret = (struct env_opam_item){0};
	if (!str_take_until(&line, '\t', &kind) || !fs_path_is_inside(line))
		return false;
	ret->path = line;
	if (str_eq_c(kind, "D")) {
		ret->kind = ENV_OPAM_FOLDER;
		return true;
	}
	if (str_take_str(&kind, STR("L "))) {
		ret->kind = ENV_OPAM_LINK;
		ret->target = kind;
		return is_plain(kind) && kind.n < TARGET_MAX;
	}
	ret->kind = ENV_OPAM_FILE;
	return str_take_str(&kind, STR("F ")) && take_mode(&kind, &ret->mode) && str_take_word(&kind, &word) &&
	       str_to_u64(word, &ret->size) && str_take_word(&kind, &word) && word.n == 2 * (size_t)SHA256_SIZE &&
	       str_unhex(word, ret->sha256, SHA256_SIZE) && kind.n == 0;
}

int env_opam_tree_parse(struct arena *a, struct str text, const char *where, struct env_opam_tree *ret, struct err *e)
{
	struct tree_items v = {0};
	struct str line;
	size_t n = 0;
	int rc = 0;
	*ret = (struct env_opam_tree){0};
	while (rc == 0 && str_take_line(&text, &line)) {
		n++;
		if (v.n >= ENV_OPAM_LAID_MAX)
			rc = err_new(e, ERR_LIMIT, "'%s' lists more than %d files", where, ENV_OPAM_LAID_MAX);
		else if (!take_line(line, vec_add(&v)) ||
			 (v.n > 1 && str_cmp(v.v[v.n - 2].path, v.v[v.n - 1].path) >= 0))
			rc = err_new(e, ERR_INPUT, "%s:%zu: no line of a list of files", where, n);
		else
			ret->bytes += v.v[v.n - 1].size;
	}
	ret->v = vec_copy(&v, a);
	ret->n = v.n;
	vec_release(&v);
	return rc;
}

/* -- copying ---------------------------------------------------------------------------------------------------------------- */

static int copy_digested(int from, int to, const struct env_opam_item *x, struct err *e)
{
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	auto_free char *piece = xmalloc(PIECE);
	uint8_t got[DIGEST_MAX];
	uint64_t size = 0;
	ssize_t n;
	while ((n = read(from, piece, PIECE)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%.*s'", STR_ARG(x->path));
		digest_update(d, piece, (size_t)n);
		size += (uint64_t)n;
		if (size > x->size)
			break;
		if (fs_write_all(to, piece, (size_t)n, x->path.p, e) < 0)
			return -1;
	}
	digest_final(d, got);
	if (size != x->size || memcmp(got, x->sha256, SHA256_SIZE) != 0)
		return err_new(e, ERR_VERIFY, "'%.*s' is not what the list says", STR_ARG(x->path));
	return 0;
}

static int copy_file(int from_fd, int dir, const char *name, const char *tmp, const struct env_opam_item *x,
		     struct err *e)
{
	auto_free char *path = str_dup(x->path);
	auto_fd from = fs_open_below(from_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (from < 0)
		return err_sys(e, "open '%s'", path);
	(void)sys_unlinkat(dir, tmp, 0); /* a killed process's */
	auto_fd to = sys_openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		return err_sys(e, "make '%s'", path);
	if (copy_digested(from, to, x, e) < 0)
		return -1;
	return sys_fchmod(to, x->mode) < 0 || sys_renameat(dir, tmp, dir, name) < 0
		       ? err_sys(e, "put '%s' in place", path)
		       : 0;
}

static int move_file(int from_fd, int dir, const char *name, const struct env_opam_item *x, struct err *e)
{
	struct str last;
	auto_fd from = fs_open_parent_below(from_fd, x->path, false, &last, e);
	if (from < 0)
		return -1;
	auto_free char *here = str_dup(last);
	return sys_renameat(from, here, dir, name) < 0 ? err_sys(e, "put '%.*s' in place", STR_ARG(x->path)) : 0;
}

static int lay_item(int from_fd, int to_fd, bool move, const struct env_opam_item *x, struct err *e)
{
	struct str last;
	auto_fd dir = fs_open_parent_below(to_fd, x->path, true, &last, e);
	if (dir < 0)
		return -1;
	auto_free char *name = str_dup(last);
	auto_free char *tmp = xasprintf(".%.*s.new", (int)(last.n > 200 ? 200 : last.n), last.p);
	if (x->kind == ENV_OPAM_FOLDER)
		return sys_mkdirat(dir, name, OPAM_DIRS_MODE) < 0 && errno != EEXIST
			       ? err_sys(e, "make folder '%.*s'", STR_ARG(x->path))
			       : 0;
	int rc;
	if (x->kind == ENV_OPAM_FILE) {
		rc = move ? move_file(from_fd, dir, name, x, e) : copy_file(from_fd, dir, name, tmp, x, e);
	} else {
		auto_free char *target = str_dup(x->target);
		(void)sys_unlinkat(dir, tmp, 0);
		rc = sys_symlinkat(target, dir, tmp) < 0 || sys_renameat(dir, tmp, dir, name) < 0
			     ? err_sys(e, "make link '%.*s'", STR_ARG(x->path))
			     : 0;
	}
	if (rc < 0)
		(void)sys_unlinkat(dir, tmp, 0);
	return rc;
}

static int lay_all(int from_fd, int to_fd, bool move, const struct env_opam_tree *t, struct err *e)
{
	for (size_t i = 0; i < t->n; i++)
		if (lay_item(from_fd, to_fd, move, &t->v[i], e) < 0)
			return -1;
	return 0;
}

int env_opam_tree_copy(int from_fd, int to_fd, const struct env_opam_tree *t, struct err *e)
{
	return lay_all(from_fd, to_fd, false, t, e);
}

int env_opam_tree_move(int from_fd, struct env_opam_switch *s, const struct env_opam_tree *t, struct err *e)
{
	return lay_all(from_fd, s->fd, true, t, e);
}

/* -- what was laid half ------------------------------------------------------------------------------------------------------ */

int env_opam_tree_missing(struct env_opam_switch *s, const struct env_opam_tree *t, struct arena *a,
			  struct env_opam_tree *ret, struct err *e)
{
	struct tree_items v = {0};
	int rc = 0;
	for (size_t i = 0; i < t->n && rc == 0; i++) {
		struct err why = ERR_INIT;
		struct str last;
		auto_fd dir = fs_open_parent_below(s->fd, t->v[i].path, false, &last, &why);
		if (dir < 0 && why.code != ERR_NOT_FOUND)
			rc = (*e = why, -1);
		else if (dir < 0 || !fs_exists(dir, arena_strdup(a, last)))
			vec_push(&v, t->v[i]);
	}
	*ret = (struct env_opam_tree){vec_copy(&v, a), v.n, 0};
	vec_release(&v);
	return rc;
}

static bool is_same(const struct env_opam_item *a, const struct env_opam_item *b)
{
	return a->kind == b->kind &&
	       (a->kind == ENV_OPAM_FOLDER ? true
		: a->kind == ENV_OPAM_LINK ? str_eq(a->target, b->target)
					   : a->size == b->size && memcmp(a->sha256, b->sha256, SHA256_SIZE) == 0);
}

int env_opam_tree_clear(struct env_opam_switch *s, const struct env_opam_tree *t, struct err *e)
{
	for (size_t i = t->n; i > 0; i--) { /* what lies in a folder goes before it */
		auto_arena a = ARENA_INIT;
		struct env_opam_item now;
		struct str last;
		struct err gone = ERR_INIT;
		if (read_item(s->fd, t->v[i - 1].path, &a, &now, &gone) < 0 || !is_same(&now, &t->v[i - 1]))
			continue;
		auto_fd dir = fs_open_parent_below(s->fd, now.path, false, &last, e);
		if (dir < 0)
			return -1;
		if (sys_unlinkat(dir, arena_strdup(&a, last), now.kind == ENV_OPAM_FOLDER ? AT_REMOVEDIR : 0) < 0 &&
		    errno != ENOTEMPTY && errno != EEXIST && errno != ENOENT)
			return err_sys(e, "remove '%.*s'", STR_ARG(now.path));
	}
	return 0;
}
