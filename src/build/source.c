// SPDX-License-Identifier: Apache-2.0
/* First the names and what is told of them, then the digests of those files whose digest is not known yet. */
#include "build/source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fs.h"
#include "base/vec.h"
#include "base/work.h"

enum { PATH_MAX_BYTES = 4096, WHOLE_MAX = 1 << 20, CHUNK_BYTES = 8 << 20, CHUNK_FILES = 512, ALONE_FILES = 64 };

struct walk {
	int dir_fd;
	const struct source_opts *o;
	VEC(struct stat) apart;
	struct arena *a;
	VEC(struct source_entry) entries;
	struct buf path;
};
static void walk_release(struct walk *w)
{
	vec_release(&w->apart);
	vec_release(&w->entries);
	buf_release(&w->path);
}
#define auto_walk cleanup_with(walk_release) struct walk

static int check_cancelled(int cancel_fd, struct err *e)
{
	struct pollfd p = {.fd = cancel_fd, .events = POLLIN};
	return cancel_fd >= 0 && poll(&p, 1, 0) > 0 ? err_new(e, ERR_BUSY, "cancelled") : 0;
}

/* -- names ----------------------------------------------------------------------------------------------------------- */

static bool is_excluded(const struct walk *w, const char *name)
{
	for (size_t i = 0; i < w->o->n_excludes; i++)
		if (str_eq_c(w->o->excludes[i], name))
			return true;
	return false;
}

static bool is_apart(const struct walk *w, const struct stat *st)
{
	vec_foreach(s, &w->apart)
		if (s->st_dev == st->st_dev && s->st_ino == st->st_ino)
			return true;
	return false;
}

static struct source_entry *add(struct walk *w, const struct stat *st, unsigned depth, struct err *e)
{
	if (w->entries.n >= SOURCE_ENTRIES_MAX || w->path.overflow || depth > SOURCE_DEPTH_MAX) {
		err_new(e, ERR_LIMIT, "'%s': more than %d files, %d folders in each other, or a path of %d bytes",
			w->path.p, SOURCE_ENTRIES_MAX, SOURCE_DEPTH_MAX, PATH_MAX_BYTES);
		return NULL;
	}
	struct source_entry *f = vec_add(&w->entries);
	f->depth = (uint16_t)depth;
	f->path = arena_str(w->a, buf_str(&w->path));
	f->size = (uint64_t)st->st_size;
	f->dev = st->st_dev;
	f->ino = st->st_ino;
	f->mtime = st->st_mtim;
	f->ctime = st->st_ctim;
	f->exec = (st->st_mode & 0111) != 0;
	return f;
}

static int add_link(struct walk *w, int at_fd, const char *name, const struct stat *st, unsigned depth, struct err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(at_fd, name, target, sizeof(target));
	if (n < 0 || (size_t)n == sizeof(target))
		return err_sys(e, "read the link '%s'", w->path.p);
	struct source_entry *f = add(w, st, depth, e);
	if (!f)
		return -1;
	f->kind = SOURCE_LINK;
	f->target = arena_str(w->a, str_of(target, (size_t)n));
	return 0;
}

static int walk_dir(struct walk *w, int fd, unsigned depth, struct err *e);

static int walk_one(struct walk *w, int at_fd, const char *name, unsigned depth, struct err *e)
{
	struct stat st;
	if (check_cancelled(w->o->cancel_fd, e) < 0)
		return -1;
	if (fstatat(at_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, "source '%s'", w->path.p);
	if (S_ISLNK(st.st_mode))
		return add_link(w, at_fd, name, &st, depth, e);
	if (S_ISREG(st.st_mode)) {
		struct source_entry *f = add(w, &st, depth, e);
		return f ? 0 : -1;
	}
	if (!S_ISDIR(st.st_mode))
		return err_new(
			e, ERR_INPUT,
			"unsupported file type of '%s': only files, folders and links are copied; (exclude NAME) leaves it out",
			w->path.p);
	auto_fd fd = openat(at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open the folder '%s'", w->path.p);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "source '%s'", w->path.p);
	if (is_apart(w, &st))
		return depth ? 0
			     : err_new(e, ERR_INPUT,
				       "'%s' is the folder of Slipway itself, where this build is kept: name what is wanted of it",
				       w->path.n ? w->path.p : ".");
	struct source_entry *f = add(w, &st, depth, e);
	if (!f)
		return -1;
	f->kind = SOURCE_DIR;
	return walk_dir(w, fd, depth, e);
}

static int walk_dir(struct walk *w, int fd, unsigned depth, struct err *e)
{
	auto_fs_list names = {0};
	size_t before = w->path.n;
	if (fs_list(fd, ".", SOURCE_ENTRIES_MAX, &names, e) < 0)
		return err_ctx(e, "folder '%s'", w->path.p);
	for (size_t i = 0; i < names.n; i++) {
		if (is_excluded(w, names.name[i]))
			continue;
		if (before)
			buf_put_char(&w->path, '/');
		buf_put_c(&w->path, names.name[i]);
		if (walk_one(w, fd, names.name[i], depth + 1, e) < 0)
			return -1;
		buf_truncate(&w->path, before);
	}
	return 0;
}

/* A word to the folder that its last name is in; ret_last is "." where the word is the walk's own folder. */
static int walk_word(struct walk *w, struct str word, struct err *e)
{
	struct str rest = word, name;
	char last[NAME_MAX + 1] = ".";
	auto_fd at = -1;
	buf_clear(&w->path);
	while (rest.n) {
		if (!str_take_until(&rest, '/', &name)) {
			name = rest;
			rest = STR_NONE;
		}
		if (!name.n || str_eq_c(name, "."))
			continue;
		if (str_eq_c(name, ".."))
			return err_new(e, ERR_INPUT, "can't use .. in source paths (in \"%.*s\")", STR_ARG(word));
		if (name.n > NAME_MAX)
			return err_new(e, ERR_LIMIT, "a name of %zu bytes in \"%.*s\"", name.n, STR_ARG(word));
		if (w->path.n) { /* last is a folder on the way */
			int next =
				openat(at < 0 ? w->dir_fd : at, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (next < 0 && errno == ENOENT)
				return err_new(e, ERR_NOT_FOUND, "Source path \"%.*s\" not found", STR_ARG(word));
			if (next < 0 && (errno == ENOTDIR || errno == ELOOP))
				return err_new(e, ERR_INPUT, "Not a directory: %s (in \"%.*s\")", w->path.p,
					       STR_ARG(word));
			if (next < 0)
				return err_sys(e, "open the folder '%s'", w->path.p);
			cleanup_fd(&at);
			at = next;
			buf_put_char(&w->path, '/');
		}
		memcpy(last, name.p, name.n);
		last[name.n] = '\0';
		buf_put_str(&w->path, name);
	}
	struct stat st;
	if (fstatat(at < 0 ? w->dir_fd : at, last, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return err_new(e, ERR_NOT_FOUND, "Source path \"%.*s\" not found", STR_ARG(word));
	return walk_one(w, at < 0 ? w->dir_fd : at, last, 0, e);
}

/* -- what they hold ---------------------------------------------------------------------------------------------------- */

int source_entry_check(int fd, const struct source_entry *f, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "source '%s'", f->path.p);
	bool numbered = f->dev || f->ino;
	if ((numbered && (st.st_dev != f->dev || st.st_ino != f->ino)) || (uint64_t)st.st_size != f->size ||
	    st.st_mtim.tv_sec != f->mtime.tv_sec || st.st_mtim.tv_nsec != f->mtime.tv_nsec ||
	    st.st_ctim.tv_sec != f->ctime.tv_sec || st.st_ctim.tv_nsec != f->ctime.tv_nsec)
		return err_new(e, ERR_INPUT,
			       "'%s' was changed while it was copied; build again when nothing writes there",
			       f->path.p);
	return 0;
}

int source_entry_open(int dir_fd, const struct source_entry *f, struct err *e)
{
	auto_fd fd = openat(dir_fd, f->path.p, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, "open '%s'", f->path.p);
	return source_entry_check(fd, f, e) < 0 ? -1 : steal_fd(&fd);
}

/* Short files in one piece: that spares a digest's set-up. */
static int digest_whole(int fd, struct source_entry *f, struct err *e)
{
	auto_free char *p = xmalloc(f->size + 1);
	size_t n = 0;
	while (n <= f->size) {
		ssize_t got = read(fd, p + n, f->size + 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "read '%s'", f->path.p);
		if (got == 0)
			break;
		n += (size_t)got;
	}
	sha256(p, n, f->sha256);
	return 0;
}

static int digest_file(int dir_fd, struct source_entry *f, struct err *e)
{
	auto_fd fd = source_entry_open(dir_fd, f, e);
	if (fd < 0)
		return -1;
	int rc = f->size <= WHOLE_MAX ? digest_whole(fd, f, e) : sha256_fd(fd, f->sha256, e);
	return rc < 0 ? err_ctx(e, "'%s'", f->path.p) : source_entry_check(fd, f, e);
}

struct chunk {
	int dir_fd, cancel_fd;
	struct source_entry *v;
	size_t n;
};

static int digest_chunk(void *ctx, struct err *e)
{
	struct chunk *c = ctx;
	for (size_t i = 0; i < c->n; i++)
		if (c->v[i].kind == SOURCE_FILE &&
		    (check_cancelled(c->cancel_fd, e) < 0 || digest_file(c->dir_fd, &c->v[i], e) < 0))
			return -1;
	return 0;
}

/* By several threads where there is much to do: neighbours together, of some megabytes each. */
static int digest_all(int dir_fd, int cancel_fd, struct source_entry *v, size_t n, struct arena *a, struct err *e)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < n; i++)
		bytes += v[i].kind == SOURCE_FILE ? v[i].size : 0;
	if (n <= ALONE_FILES && bytes <= CHUNK_BYTES)
		return digest_chunk(&(struct chunk){dir_fd, cancel_fd, v, n}, e);
	auto_ptr(work) w = work_new(0);
	for (size_t i = 0; i < n;) {
		struct chunk *c = arena_new(a, struct chunk);
		*c = (struct chunk){dir_fd, cancel_fd, v + i, 0};
		for (bytes = 0; i < n && c->n < CHUNK_FILES && bytes < CHUNK_BYTES; i++, c->n++)
			bytes += v[i].kind == SOURCE_FILE ? v[i].size : 0;
		work_submit(w, digest_chunk, c);
	}
	return work_wait(w, e);
}

int source_walk(int dir_fd, const struct source_opts *o, struct arena *a, struct source *ret, struct err *e)
{
	auto_walk w = {.dir_fd = dir_fd, .o = o, .a = a, .path = BUF_INIT(PATH_MAX_BYTES)};
	struct source_item *items = arena_array(a, struct source_item, o->n_words);
	struct stat st;
	for (size_t i = 0; o->apart && o->apart[i]; i++)
		if (stat(o->apart[i], &st) == 0)
			vec_push(&w.apart, st);
	for (size_t i = 0; i < o->n_words; i++) {
		size_t first = w.entries.n;
		if (walk_word(&w, o->words[i], e) < 0)
			return -1;
		items[i] = (struct source_item){first, w.entries.n - first};
	}
	*ret = (struct source){vec_copy(&w.entries, a), w.entries.n, items, o->n_words};
	return digest_all(dir_fd, o->cancel_fd, ret->entries, ret->n, a, e);
}

/* -- from one process to another ----------------------------------------------------------------------------------------- */

void source_put(const struct source *s, struct buf *b)
{
	buf_put(b, &s->n_items, sizeof(s->n_items));
	buf_put(b, s->items, s->n_items * sizeof(*s->items));
	buf_put(b, &s->n, sizeof(s->n));
	for (size_t i = 0; i < s->n; i++) {
		const struct source_entry *f = &s->entries[i];
		buf_put(b, f, sizeof(*f)); /* its pointers mean nothing over there, its lengths do */
		buf_put_str(b, f->path);
		buf_put_str(b, f->target);
	}
}

static bool take(struct str *s, void *p, size_t n)
{
	if (s->n < n)
		return false;
	if (n)
		memcpy(p, s->p, n);
	*s = str_skip(*s, n);
	return true;
}

int source_take(struct str s, struct arena *a, struct source *ret, struct err *e)
{
	size_t n_items, n;
	if (!take(&s, &n_items, sizeof(n_items)) || n_items > s.n / sizeof(struct source_item))
		return err_new(e, ERR_INPUT, "the list of what is to be copied is cut off");
	struct source_item *items = arena_array(a, struct source_item, n_items);
	if (!take(&s, items, n_items * sizeof(*items)) || !take(&s, &n, sizeof(n)) ||
	    n > s.n / sizeof(struct source_entry))
		return err_new(e, ERR_INPUT, "the list of what is to be copied is cut off");
	struct source_entry *v = arena_array(a, struct source_entry, n);
	for (size_t i = 0; i < n; i++) {
		if (!take(&s, &v[i], sizeof(v[i])) || v[i].path.n > s.n || v[i].target.n > s.n - v[i].path.n)
			return err_new(e, ERR_INPUT, "the list of what is to be copied is cut off");
		size_t path_n = v[i].path.n, target_n = v[i].target.n;
		v[i].path = arena_str(a, str_head(s, path_n));
		s = str_skip(s, path_n);
		v[i].target = arena_str(a, str_head(s, target_n));
		s = str_skip(s, target_n);
	}
	*ret = (struct source){v, n, items, n_items};
	return 0;
}
