// SPDX-License-Identifier: Apache-2.0
/* The folder of built packages (build/opam_kept.h). */
#include "build/opam_kept.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/vec.h"
#include "build/build.h"

enum { LIST_MAX = 256 << 20, KEY_TEXT_MAX = 16 << 20, KEPT_MAX = 1000000, KEY_DIGITS = 64 };

static bool is_key(const char *s)
{
	return strlen(s) == KEY_DIGITS && strspn(s, "0123456789abcdef") == KEY_DIGITS;
}

int opam_kept_open(struct opam_kept *k, const char *path, struct err *e)
{
	static const char *const folders[] = {"pkg", "tmp", "busy"};
	*k = (struct opam_kept){.path = path, .fd = -1, .lock_fd = -1};
	auto_fd fd = fs_open_dir_make(AT_FDCWD, path, e);
	if (fd < 0)
		return err_ctx(e, "folder of built packages '%s'", path);
	for (size_t i = 0; i < 3; i++)
		if (fs_mkdirs(fd, folders[i], 0755, e) < 0)
			return err_ctx(e, "folder of built packages '%s'", path);
	auto_fd lock = sys_openat(fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (lock < 0 || fs_flock(lock, LOCK_SH) < 0)
		return err_sys(e, "lock '%s/lock'", path);
	k->fd = steal_fd(&fd);
	k->lock_fd = steal_fd(&lock);
	return 0;
}

void opam_kept_close(struct opam_kept *k)
{
	cleanup_fd(&k->fd);
	cleanup_fd(&k->lock_fd);
}

static void entry_path(const char *key, const char *rest, char out[128])
{
	snprintf(out, 128, "pkg/%s%s", key, rest);
}

bool opam_kept_has(const struct opam_kept *k, const char *key)
{
	char path[128];
	entry_path(key, "/list", path);
	return fs_exists(k->fd, path);
}

/* == taking ============================================================================================================= */

/* Away at once, then in peace. */
static int remove_entry(int fd, const char *key, struct err *e)
{
	char path[128], aside[128];
	uint8_t random[8];
	char hex[17];
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_sys(e, "random bytes");
	hex_encode(random, sizeof(random), hex);
	entry_path(key, "", path);
	snprintf(aside, sizeof(aside), "tmp/gone-%s", hex);
	if (sys_renameat(fd, path, fd, aside) == 0)
		return fs_remove_tree(fd, aside, e);
	if (errno != EXDEV)
		return errno == ENOENT ? 0 : err_sys(e, "remove '%s'", path);
	/* a folder of a layer below, as in a step of a build, cannot be moved; without its list it is no entry */
	entry_path(key, "/list", path);
	if (sys_unlinkat(fd, path, 0) < 0 && errno != ENOENT)
		return err_sys(e, "remove '%s'", path);
	entry_path(key, "", path);
	return fs_remove_tree(fd, path, e);
}

static void sum_of(struct str text, char hex[SHA256_HEX_SIZE])
{
	uint8_t d[SHA256_SIZE];
	sha256(text.p, text.n, d);
	hex_encode(d, sizeof(d), hex);
}

int opam_kept_read(const struct opam_kept *k, const char *key, struct arena *a, struct env_opam_tree *ret,
		   struct err *e)
{
	char path[128];
	auto_buf b = BUF_INIT(LIST_MAX);
	entry_path(key, "/list", path);
	if (fs_read(k->fd, path, &b, e) < 0)
		return -1;
	struct str text = arena_str(a, buf_str(&b)), sum;
	char hex[SHA256_HEX_SIZE];
	if (!str_take_line(&text, &sum))
		return err_new(e, ERR_VERIFY, "'%s/%s' is empty", k->path, path);
	sum_of(text, hex);
	if (!str_eq_c(sum, hex))
		return err_new(e, ERR_VERIFY, "'%s/%s' is damaged", k->path, path);
	return env_opam_tree_parse(a, text, arena_printf(a, "%s/%s", k->path, path), ret, e);
}

int opam_kept_take(const struct opam_kept *k, const char *key, int to, struct arena *a, struct env_opam_tree *ret,
		   struct err *e)
{
	char path[128];
	struct err why = ERR_INIT;
	if (!opam_kept_has(k, key))
		return 0;
	entry_path(key, "/files", path);
	auto_fd files = fs_open_dir(k->fd, path, &why);
	if (files >= 0 && opam_kept_read(k, key, a, ret, &why) == 0 && env_opam_tree_copy(files, to, ret, &why) == 0) {
		entry_path(key, "/key", path);
		(void)sys_utimensat(k->fd, path, NULL, 0); /* of use to gc alone */
		return 1;
	}
	/* what the disk, not the entry, is the cause of */
	if (why.sys == ENOSPC || why.sys == EDQUOT || why.sys == EMFILE || why.sys == ENOMEM)
		return *e = why, -1;
	return remove_entry(k->fd, key, e);
}

/* == keeping ============================================================================================================= */

static int write_entry(int dir, struct str text, const struct env_opam_tree *t, int from_fd, struct err *e)
{
	auto_buf lines = BUF_INIT(LIST_MAX), list = BUF_INIT(LIST_MAX);
	char hex[SHA256_HEX_SIZE];
	env_opam_tree_print(t, &lines);
	sum_of(buf_str(&lines), hex);
	buf_printf(&list, "%s\n", hex);
	buf_put_str(&list, buf_str(&lines));
	if (list.overflow)
		return err_new(e, ERR_LIMIT, "too many files");
	auto_fd files = fs_open_dir_make(dir, "files", e);
	return files < 0 || env_opam_tree_copy(from_fd, files, t, e) < 0 ||
			       fs_replace(dir, "key", text.p, text.n, 0, e) < 0 ||
			       fs_replace(dir, "list", list.p, list.n, 0, e) < 0
		       ? -1
		       : 0;
}

int opam_kept_put(const struct opam_kept *k, const char *key, struct str text, const struct env_opam_tree *t,
		  int from_fd, bool replace, struct err *e)
{
	char tmp[128], path[128];
	int rc = -1;
	snprintf(tmp, sizeof(tmp), "tmp/%d-%.32s", (int)getpid(), key);
	entry_path(key, "", path);
	if (fs_remove_tree(k->fd, tmp, e) < 0)
		return -1;
	auto_fd dir = fs_open_dir_make(k->fd, tmp, e);
	if (dir >= 0 && write_entry(dir, text, t, from_fd, e) == 0) {
		if (replace && remove_entry(k->fd, key, e) < 0)
			rc = -1;
		else if (sys_renameat(k->fd, tmp, k->fd, path) == 0)
			return 1;
		else if (errno == ENOTEMPTY || errno == EEXIST)
			rc = 0;
		else
			err_sys(e, "make '%s/%s'", k->path, path);
	}
	struct err ignored = ERR_INIT; /* gc removes it */
	fs_remove_tree(k->fd, tmp, &ignored);
	return rc < 0 ? err_ctx(e, "keep it in '%s'", k->path) : rc;
}

int opam_kept_lock(const struct opam_kept *k, const char *key, int *ret_fd, struct err *e)
{
	char path[128];
	snprintf(path, sizeof(path), "busy/%s", key);
	auto_fd fd = sys_openat(k->fd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(e, "make '%s/%s'", k->path, path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 0 : err_sys(e, "lock '%s/%s'", k->path, path);
	*ret_fd = steal_fd(&fd);
	return 1;
}

/* == keeping house ========================================================================================================= */

VEC_TYPE(kept_vec, struct build_opam_kept);

static int read_about(struct opam_kept *k, const char *key, struct arena *a, struct build_opam_kept *ret, struct err *e)
{
	char path[128];
	auto_buf b = BUF_INIT(KEY_TEXT_MAX);
	struct env_opam_tree t;
	struct str text, line, word;
	struct stat st;
	*ret = (struct build_opam_kept){0};
	memcpy(ret->key, key, sizeof(ret->key));
	entry_path(key, "/key", path);
	if (fs_read(k->fd, path, &b, e) < 0 || fstatat(k->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    opam_kept_read(k, key, a, &t, e) < 0)
		return -1;
	text = buf_str(&b);
	if (!str_take_line(&text, &line) || !str_take_line(&text, &line) || !str_take_str(&line, STR("package ")) ||
	    !str_take_word(&line, &word))
		return err_new(e, ERR_INPUT, "'%s/%s' is no key", k->path, path);
	ret->name = arena_str(a, word);
	ret->version = arena_str(a, str_trim(line));
	if (str_take_line(&text, &line) && str_take_str(&line, STR("prefix ")))
		ret->prefix = arena_str(a, line);
	ret->files = t.n;
	ret->bytes = t.bytes;
	ret->used_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return 0;
}

static int kept_cmp(const void *a, const void *b)
{
	const struct build_opam_kept *x = a, *y = b;
	int c = str_cmp(x->name, y->name);
	c = c ? c : pkg_opam_version_cmp(x->version, y->version);
	if (c == 0 && x->used_ms != y->used_ms)
		return x->used_ms < y->used_ms ? -1 : 1;
	return c ? c : strcmp(x->key, y->key);
}

static int by_use(const void *a, const void *b)
{
	const struct build_opam_kept *x = a, *y = b;
	return x->used_ms != y->used_ms ? (x->used_ms < y->used_ms ? -1 : 1) : strcmp(x->key, y->key);
}

/* One that cannot be read has no size, and is older than all others. */
static int read_all(struct opam_kept *k, struct arena *a, struct kept_vec *v, struct err *e)
{
	auto_fs_list names = {0};
	if (fs_list(k->fd, "pkg", KEPT_MAX, &names, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		struct err why = ERR_INIT;
		struct build_opam_kept one;
		if (!is_key(names.name[i]))
			continue;
		if (read_about(k, names.name[i], a, &one, &why) < 0) {
			one = (struct build_opam_kept){.name = STR("(damaged)")};
			memcpy(one.key, names.name[i], sizeof(one.key));
		}
		vec_push(v, one);
	}
	return 0;
}

int build_opam_kept_list(const char *path, struct arena *a, struct build_opam_kept **ret, size_t *ret_n, struct err *e)
{
	struct kept_vec v = {0};
	struct opam_kept k = {.path = path, .fd = -1, .lock_fd = -1};
	*ret = NULL;
	*ret_n = 0;
	if (!fs_exists(AT_FDCWD, path))
		return 0;
	k.fd = fs_open_dir(AT_FDCWD, path, e);
	int rc = k.fd < 0 ? -1 : fs_exists(k.fd, "pkg") ? read_all(&k, a, &v, e) : 0;
	opam_kept_close(&k);
	vec_sort(&v, kept_cmp);
	*ret = vec_copy(&v, a);
	*ret_n = v.n;
	vec_release(&v);
	return rc;
}

static int clear(int fd, const char *folder, struct err *e)
{
	auto_fs_list names = {0};
	if (fs_list(fd, folder, KEPT_MAX, &names, e) < 0)
		return -1;
	for (size_t i = 0; i < names.n; i++) {
		auto_free char *path = xasprintf("%s/%s", folder, names.name[i]);
		if (fs_remove_tree(fd, path, e) < 0)
			return -1;
	}
	return 0;
}

static int collect(struct opam_kept *k, const struct build_opam_kept_gc *o, struct kept_vec *v, struct kept_vec *gone,
		   struct err *e)
{
	uint64_t left = 0;
	vec_foreach(x, v)
		left += x->bytes;
	if (!o->dry_run && (clear(k->fd, "tmp", e) < 0 || clear(k->fd, "busy", e) < 0))
		return -1;
	vec_sort(v, by_use);
	vec_foreach(x, v) {
		bool old = o->older_than_ms >= 0 && o->now_ms - x->used_ms >= o->older_than_ms;
		if (!old && left <= o->max_bytes)
			continue;
		if (!o->dry_run && remove_entry(k->fd, x->key, e) < 0)
			return -1;
		left -= x->bytes;
		vec_push(gone, *x);
	}
	return 0;
}

int build_opam_kept_gc(const char *path, const struct build_opam_kept_gc *o, struct arena *a,
		       struct build_opam_kept **ret, size_t *ret_n, struct err *e)
{
	struct kept_vec v = {0}, gone = {0};
	struct opam_kept k;
	*ret = NULL;
	*ret_n = 0;
	if (!fs_exists(AT_FDCWD, path))
		return 0;
	if (opam_kept_open(&k, path, e) < 0)
		return -1;
	int rc = 0;
	if (flock(k.lock_fd, LOCK_EX | LOCK_NB) < 0)
		rc = errno == EWOULDBLOCK
			     ? err_new(e, ERR_BUSY, "'%s' is in use; try again when nothing is being installed", path)
			     : err_sys(e, "lock '%s/lock'", path);
	rc = rc < 0 || read_all(&k, a, &v, e) < 0 ? -1 : collect(&k, o, &v, &gone, e);
	opam_kept_close(&k);
	*ret = vec_copy(&gone, a);
	*ret_n = gone.n;
	vec_release(&v);
	vec_release(&gone);
	return rc;
}
