// SPDX-License-Identifier: Apache-2.0
/*
 * What the index of an opam repository is made of: a folder's files, or a tar's, held against the index of before.
 *
 * A folder of names whose time of change is as it was has the same entries, and is not listed; an opam file whose time, inode and size are as
 * they were is not read. What changed in the last two seconds before it was looked at is looked at again the next time, because a later
 * change would not show in its time.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/map.h"
#include "base/tar.h"
#include "base/work.h"
#include "channel/intern.h"
#include "channel/opam_index.h"

enum { PATH_BYTES = 2048, PROBLEMS_KEPT = 1 << 16 };
#define RACY_NS INT64_C(2000000000)

/* What tells whether it has changed. */
struct seen {
	int64_t ctime_ns;
	uint64_t ino, size;
};
/* A file of the old one, in a folder whose entries are the same. */
struct known {
	uint32_t old, folder;
	bool is_there;
	struct seen seen;
};
struct scan {
	int dir;
	const struct opam_index *old;
	const struct oif_package *old_package;
	const struct oif_stamp *old_stamp;
	const struct oif_folder *old_folder;
	uint32_t packages, folders;	   /* of the old one */
	uint32_t *in_folder, *first_in;	   /* packages by folder: in_folder[first_in[f] … first_in[f + 1]) */
	uint32_t *child, *first_child;	   /* folders by parent */
	struct map by_key, folder_by_path; /* of the old one: id + 1 */
	VEC(struct known) known;
	struct oif_inputs *in;
	int64_t now_ns;
	bool changed;
	uint64_t bytes;
};

static void scan_release(struct scan *s)
{
	free(s->in_folder);
	free(s->first_in);
	free(s->child);
	free(s->first_child);
	vec_release(&s->known);
	map_release(&s->by_key);
	map_release(&s->folder_by_path);
}
#define auto_scan cleanup_with(scan_release) struct scan

/* Numbers 0 … n - 1 by their group, each group's in a row. */
static void group(uint32_t n, uint32_t groups, uint32_t (*of)(const struct scan *s, uint32_t i), const struct scan *s,
		  uint32_t **ret, uint32_t **first)
{
	uint32_t *v = xcalloc((size_t)n + 1, sizeof(*v)), *at = xcalloc((size_t)groups + 2, sizeof(*at));
	for (uint32_t i = 0; i < n; i++)
		at[of(s, i) + 2]++;
	for (uint32_t g = 2; g <= groups; g++)
		at[g] += at[g - 1];
	for (uint32_t i = 0; i < n; i++)
		v[at[of(s, i) + 1]++] = i;
	*ret = v;
	*first = at;
}

static uint32_t folder_of(const struct scan *s, uint32_t i)
{
	return s->old_package[i].folder;
}

static uint32_t parent_of(const struct scan *s, uint32_t i)
{
	return s->old_folder[i].parent;
}

/* What is known of the old one, in the ways that it is asked for. */
static int scan_init(struct scan *s, const struct opam_index *old, struct oif_inputs *in, struct err *e)
{
	*s = (struct scan){.old = old, .in = in};
	in->seed = old ? old->h->seed : in->seed ? in->seed : intern_seed() | 1;
	if (!old)
		return 0;
	s->packages = (uint32_t)old->h->section[OIF_PACKAGES].n;
	s->folders = (uint32_t)old->h->section[OIF_FOLDERS].n;
	s->old_package = oif_at(old, OIF_PACKAGES, 0, s->packages);
	s->old_stamp = oif_at(old, OIF_STAMPS, 0, s->packages);
	s->old_folder = oif_at(old, OIF_FOLDERS, 0, s->folders);
	bool good = (s->old_package && s->old_stamp && s->old_folder) || s->packages == 0;
	if (s->packages == 0)
		s->folders = 0;
	for (uint32_t i = 0; good && i < s->packages; i++)
		good = s->old_package[i].folder < s->folders;
	for (uint32_t i = 0; good && i < s->folders; i++)
		good = s->old_folder[i].parent <= i;
	if (!good) {
		oif_damaged(old);
		return opam_index_check(old, e);
	}
	group(s->packages, s->folders, folder_of, s, &s->in_folder, &s->first_in);
	group(s->folders, s->folders, parent_of, s, &s->child, &s->first_child);
	return 0;
}

/* The old one's package of that name, or UINT32_MAX. */
static uint32_t find_old(struct scan *s, struct str key, struct str folder)
{
	if (s->packages && !s->by_key.n)
		for (uint32_t i = 0; i < s->packages; i++)
			*map_put(&s->by_key, oif_string(s->old, s->old_package[i].key)) = (uint64_t)i + 1;
	const uint64_t *found = map_get(&s->by_key, key);
	if (!found)
		return UINT32_MAX;
	uint32_t id = (uint32_t)(*found - 1);
	return str_eq(oif_string(s->old, s->old_folder[s->old_package[id].folder].path), folder) ? id : UINT32_MAX;
}

static void note(struct scan *s, const char *path, const char *why)
{
	if (s->in->problem.n < PROBLEMS_KEPT)
		vec_push(&s->in->problem, str_c(arena_printf(&s->in->arena, "%s: %s; it is left out", path, why)));
}

static bool split_key(struct str key, struct str *name, struct str *version)
{
	*version = key;
	return str_take_until(version, '.', name) && pkg_opam_name_is_good(*name) &&
	       pkg_opam_version_is_good(*version) && name->n <= 200 && version->n <= 200;
}

static int add_bytes(struct scan *s, uint64_t n, struct err *e)
{
	s->bytes += n;
	return s->bytes > OPAM_TEXTS_BYTES_MAX || s->in->file.n > OPAM_PACKAGES_MAX
		       ? err_new(e, ERR_LIMIT, "an opam repository of more than %d packages or %d MiB",
				 OPAM_PACKAGES_MAX, OPAM_TEXTS_BYTES_MAX >> 20)
		       : 0;
}

/* A text as it is now: the old one's, or one to be read. */
static void settle(struct scan *s, struct oif_input *f, struct str text)
{
	oif_sum(text, s->in->seed, f->stamp.sum);
	const struct oif_stamp *was = f->old == UINT32_MAX ? NULL : &s->old_stamp[f->old];
	if (was && was->sum[0] == f->stamp.sum[0] && was->sum[1] == f->stamp.sum[1] &&
	    s->old_package[f->old].size == text.n) {
		s->changed |= was->ctime_ns != f->stamp.ctime_ns || was->ino != f->stamp.ino;
		return;
	}
	f->old = UINT32_MAX;
	f->text = arena_str(&s->in->arena, text);
	s->changed = true;
}

/* -- folders -------------------------------------------------------------------------------------------------------- */

static struct seen seen_of(const struct stat *st)
{
	return (struct seen){(int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec, st->st_ino,
			     (uint64_t)st->st_size};
}

static int64_t time_of(const struct scan *s, struct seen seen)
{
	return seen.ctime_ns > s->now_ns - RACY_NS ? 0 : seen.ctime_ns;
}

/* 1: read; 0: it is gone, or nothing that could be an opam file. */
static int read_text(struct scan *s, const char *path, struct stat *st, struct buf *b, struct err *e)
{
	auto_fd fd = openat(s->dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (fd < 0 || fstat(fd, st) < 0)
		return err_sys(e, "open '%s'", path);
	buf_clear(b);
	if (!S_ISREG(st->st_mode))
		return 0;
	if (st->st_size > OPAM_TEXT_MAX) {
		note(s, path, "it is larger than 4 MiB");
		return 0;
	}
	buf_reserve(b, (size_t)st->st_size + 1);
	for (;;) {
		ssize_t n = read(fd, b->p + b->n, b->cap - b->n - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%s'", path);
		b->n += (size_t)n;
		if (n == 0)
			return 1;
		if (b->n > OPAM_TEXT_MAX) {
			note(s, path, "it is larger than 4 MiB");
			return 0;
		}
		buf_reserve(b, 1024);
	}
}

/* An opam file that is there. */
static int take_file(struct scan *s, const char *path, struct oif_input *f, struct seen seen, struct buf *b,
		     struct err *e)
{
	struct stat now;
	f->stamp = (struct oif_stamp){.ctime_ns = time_of(s, seen), .ino = seen.ino};
	if (f->old != UINT32_MAX) {
		const struct oif_stamp *was = &s->old_stamp[f->old];
		memcpy(f->stamp.sum, was->sum, sizeof(was->sum));
		if (was->ctime_ns && was->ctime_ns == f->stamp.ctime_ns && was->ino == f->stamp.ino &&
		    s->old_package[f->old].size == seen.size) {
			vec_push(&s->in->file, *f);
			return add_bytes(s, seen.size, e);
		}
	}
	int rc = read_text(s, path, &now, b, e);
	if (rc <= 0)
		return rc;
	f->stamp.ctime_ns = time_of(s, seen_of(&now));
	f->stamp.ino = now.st_ino;
	settle(s, f, buf_str(b));
	vec_push(&s->in->file, *f);
	return add_bytes(s, b->n, e);
}

/* Its entries are as they were: they are looked at later, together. */
static void keep_entries(struct scan *s, uint32_t old, uint32_t folder)
{
	for (uint32_t i = s->first_in[old]; i < s->first_in[old + 1]; i++)
		vec_push(&s->known, ((struct known){.old = s->in_folder[i], .folder = folder}));
}

/* "packages/NAME/NAME.VERSION/opam"; false: too long. */
static bool known_path(const struct scan *s, const struct known *k, struct str *key, char ret[PATH_BYTES])
{
	struct str folder = s->in->folder.v[k->folder].path;
	*key = oif_string(s->old, s->old_package[k->old].key);
	return snprintf(ret, PATH_BYTES, "%.*s/%.*s/opam", STR_ARG(folder), STR_ARG(*key)) < PATH_BYTES;
}

struct slice {
	const struct scan *s;
	struct known *v;
	size_t n;
};

static int look_at_slice(void *ctx, struct err *e)
{
	const struct slice *l = ctx;
	char path[PATH_BYTES];
	struct str key;
	struct stat st;
	for (struct known *k = l->v; k < l->v + l->n; k++) {
		if (!known_path(l->s, k, &key, path))
			continue;
		if (fstatat(l->s->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			k->is_there = S_ISREG(st.st_mode);
			k->seen = seen_of(&st);
		} else if (errno != ENOENT && errno != ENOTDIR) {
			return err_sys(e, "look at '%s'", path);
		}
	}
	return 0;
}

/* Nearly all of the time of an update goes into these calls: where there are many, by several threads. */
static int look_at_known(struct scan *s, struct err *e)
{
	enum { SLICE = 1000, SLICES_MAX = OPAM_PACKAGES_MAX / SLICE + 1 };
	auto_free struct slice *slice = xcalloc(SLICES_MAX, sizeof(*slice));
	size_t n = 0;
	for (size_t at = 0; at < s->known.n; at += SLICE)
		slice[n++] = (struct slice){s, &s->known.v[at], s->known.n - at < SLICE ? s->known.n - at : SLICE};
	if (n <= 2) {
		for (size_t i = 0; i < n; i++)
			if (look_at_slice(&slice[i], e) < 0)
				return -1;
		return 0;
	}
	(void)oif_string(s->old, 1); /* held against its sum before there are several */
	auto_ptr(work) w = work_new(0);
	for (size_t i = 0; i < n; i++)
		work_submit(w, look_at_slice, &slice[i]);
	return work_wait(w, e);
}

static int take_known(struct scan *s, struct buf *b, struct err *e)
{
	char path[PATH_BYTES];
	if (look_at_known(s, e) < 0)
		return -1;
	vec_foreach(k, &s->known) {
		struct oif_input f = {.old = k->old, .folder = k->folder};
		struct str key;
		if (k->is_there && known_path(s, k, &key, path) && split_key(key, &f.name, &f.version) &&
		    take_file(s, path, &f, k->seen, b, e) < 0)
			return -1;
	}
	return 0;
}

static int walk(struct scan *s, const char *path, uint32_t parent, unsigned depth, struct buf *b, struct err *e);

static bool is_folder(const struct scan *s, const char *path, unsigned char type)
{
	struct stat st;
	return type == DT_DIR ||
	       (type == DT_UNKNOWN && fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
}

/* *odd: something is left out, so that it must be looked at each time. */
static int list_entry(struct scan *s, const char *path, const char *name, uint32_t folder, unsigned depth, bool *odd,
		      struct buf *b, struct err *e)
{
	char file[PATH_BYTES];
	struct str key = str_c(name);
	struct oif_input f = {.old = UINT32_MAX, .folder = folder};
	struct stat st;
	if (snprintf(file, sizeof(file), "%s/%s/opam", path, name) >= (int)sizeof(file)) {
		*odd = true;
		note(s, path, "a name in it is too long");
		return 0;
	}
	if (fstatat(s->dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode)) {
		file[strlen(file) - 5] = '\0';
		return walk(s, file, folder, depth + 1, b, e);
	}
	if (!split_key(key, &f.name, &f.version)) {
		*odd = true;
		note(s, file, "the folder's name is no package's, as in NAME.VERSION");
		return 0;
	}
	key = arena_str(&s->in->arena, key);
	(void)split_key(key, &f.name, &f.version);
	f.old = find_old(s, key, str_c(path));
	s->changed |= f.old == UINT32_MAX;
	return take_file(s, file, &f, seen_of(&st), b, e);
}

static int list_entries(struct scan *s, const char *path, uint32_t folder, unsigned depth, struct buf *b, struct err *e)
{
	int fd = openat(s->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	bool odd = false;
	int rc = 0;
	if (!d) {
		err_sys(e, "open folder '%s'", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	for (struct dirent *en; rc == 0 && (errno = 0, en = readdir(d));) {
		char file[PATH_BYTES];
		if (en->d_name[0] == '.' ||
		    snprintf(file, sizeof(file), "%s/%s", path, en->d_name) >= (int)sizeof(file))
			continue;
		if (en->d_type == DT_LNK) {
			odd = true;
			note(s, file, "it is a symbolic link");
		}
		if (!is_folder(s, file, en->d_type))
			continue;
		rc = list_entry(s, path, en->d_name, folder, depth, &odd, b, e);
	}
	if (rc == 0 && errno)
		rc = err_sys(e, "read folder '%s'", path);
	closedir(d);
	if (odd)
		s->in->folder.v[folder].ctime_ns = 0;
	return rc;
}

static uint32_t find_old_folder(struct scan *s, struct str path)
{
	if (s->folders && !s->folder_by_path.n)
		for (uint32_t i = 0; i < s->folders; i++)
			*map_put(&s->folder_by_path, oif_string(s->old, s->old_folder[i].path)) = (uint64_t)i + 1;
	const uint64_t *found = map_get(&s->folder_by_path, path);
	return found ? (uint32_t)(*found - 1) : UINT32_MAX;
}

static int walk(struct scan *s, const char *path, uint32_t parent, unsigned depth, struct buf *b, struct err *e)
{
	struct stat st;
	if (depth > OPAM_FOLDER_DEPTH || s->in->folder.n >= OPAM_FOLDERS_MAX)
		return err_new(e, ERR_LIMIT, "'%s': too many folders, or too deep ones", path);
	if (fstatat(s->dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	uint32_t number = (uint32_t)s->in->folder.n, old = find_old_folder(s, str_c(path));
	const struct oif_folder *was = old == UINT32_MAX ? NULL : &s->old_folder[old];
	*vec_add(&s->in->folder) = (struct oif_input_folder){
		.path = was ? oif_string(s->old, was->path) : str_c(arena_strdup(&s->in->arena, str_c(path))),
		.parent = depth ? parent : number,
		.ctime_ns = time_of(s, seen_of(&st)),
		.ino = st.st_ino,
	};
	bool same = was && was->ctime_ns && was->ctime_ns == time_of(s, seen_of(&st)) && was->ino == st.st_ino;
	s->changed |= !same;
	if (!same)
		return list_entries(s, path, number, depth, b, e);
	keep_entries(s, old, number);
	for (uint32_t i = s->first_child[old]; i < s->first_child[old + 1]; i++) {
		char child[PATH_BYTES];
		struct str p = oif_string(s->old, s->old_folder[s->child[i]].path);
		if (s->child[i] == old || p.n >= sizeof(child))
			continue;
		snprintf(child, sizeof(child), "%.*s", STR_ARG(p));
		if (walk(s, child, number, depth + 1, b, e) < 0)
			return -1;
	}
	return 0;
}

static int folder_cmp(const void *x, const void *y, void *ctx)
{
	const struct oif_inputs *in = ctx;
	return str_cmp(in->folder.v[*(const uint32_t *)x].path, in->folder.v[*(const uint32_t *)y].path);
}

/* By path, so that parents come first and the same folders give the same numbers. */
static void sort_folders(struct oif_inputs *in)
{
	size_t n = in->folder.n;
	auto_free uint32_t *order = xcalloc(n + 1, sizeof(*order)), *place = xcalloc(n + 1, sizeof(*place));
	auto_free struct oif_input_folder *v = xcalloc(n + 1, sizeof(*v));
	for (uint32_t i = 0; i < n; i++)
		order[i] = i;
	qsort_r(order, n, sizeof(*order), folder_cmp, in);
	for (uint32_t i = 0; i < n; i++)
		place[order[i]] = i;
	for (uint32_t i = 0; i < n; i++) {
		v[i] = in->folder.v[order[i]];
		v[i].parent = place[v[i].parent];
	}
	if (n)
		memcpy(in->folder.v, v, n * sizeof(*v));
	vec_foreach(f, &in->file)
		f->folder = place[f->folder];
}

static int read_repo(struct scan *s, struct err *e)
{
	struct stat st;
	auto_buf b = BUF_INIT(OPAM_TEXT_MAX + 2048);
	int rc = read_text(s, "repo", &st, &b, e);
	if (rc > 0)
		s->in->repo = arena_str(&s->in->arena, buf_str(&b));
	return rc < 0 ? -1 : 0;
}

/* What is gone leaves no other trace. */
static int differs(const struct scan *s)
{
	return s->changed || !s->old || s->in->file.n != s->packages ||
	       !str_eq(s->in->repo, oif_string(s->old, s->old->h->repo));
}

int oif_scan(int dir, const struct opam_index *old, int64_t now_ns, struct oif_inputs *in, struct err *e)
{
	auto_scan s = {0};
	auto_buf b = BUF_INIT(OPAM_TEXT_MAX + 2048);
	if (scan_init(&s, old, in, e) < 0)
		return -1;
	s.dir = dir;
	s.now_ns = now_ns;
	if (read_repo(&s, e) < 0 || walk(&s, "packages", 0, 0, &b, e) < 0 || take_known(&s, &b, e) < 0)
		return -1;
	s.changed |= in->folder.n != s.folders;
	sort_folders(in);
	return differs(&s);
}

/* -- tars ----------------------------------------------------------------------------------------------------------- */

/* Archives of whole trees have a folder of their own around all. */
static struct str inner_path(struct str path)
{
	struct str first, rest = path;
	while (str_take_str(&rest, STR("./")))
		;
	if (str_starts(rest, STR("packages/")) || str_eq(rest, STR("repo")))
		return rest;
	return str_take_until(&rest, '/', &first) ? rest : path;
}

static int read_content(struct tar_reader *r, const struct tar_entry *en, struct buf *b, struct err *e)
{
	buf_clear(b);
	buf_reserve(b, (size_t)en->size + 1);
	while (b->n < en->size) {
		ssize_t n = tar_read(r, b->p + b->n, (size_t)en->size - b->n, e);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		b->n += (size_t)n;
	}
	return 0;
}

static uint32_t tar_folder(struct scan *s, struct map *folders, struct str path)
{
	uint64_t *at = map_get(folders, path);
	if (at)
		return (uint32_t)(*at - 1);
	uint32_t number = (uint32_t)s->in->folder.n;
	path = arena_str(&s->in->arena, path);
	*vec_add(&s->in->folder) = (struct oif_input_folder){.path = path, .parent = number};
	*map_put(folders, path) = (uint64_t)number + 1;
	return number;
}

struct tar_maps {
	struct map folders, seen; /* seen: by path, number of the input + 1 */
};

static void tar_maps_release(struct tar_maps *m)
{
	map_release(&m->folders);
	map_release(&m->seen);
}

static int take_member(struct scan *s, struct tar_reader *r, const struct tar_entry *en, struct tar_maps *maps,
		       struct buf *b, struct err *e)
{
	struct str path = inner_path(en->path), folder = path, key;
	if (en->kind != TAR_FILE ||
	    (!str_eq(path, STR("repo")) && (!str_starts(path, STR("packages/")) || !str_ends(path, STR("/opam")) ||
					    !channel_path_is_normal(path) || path.n < 16)))
		return 0;
	if (en->size > OPAM_TEXT_MAX) {
		note(s, tar_shown(path).s, "it is larger than 4 MiB");
		return 0;
	}
	if (read_content(r, en, b, e) < 0 || add_bytes(s, b->n, e) < 0)
		return -1;
	if (str_eq(path, STR("repo"))) {
		s->in->repo = arena_str(&s->in->arena, buf_str(b));
		return 0;
	}
	folder.n -= 5;
	key = str_skip(folder, (size_t)str_rfind(folder, '/') + 1);
	folder.n -= key.n + 1;
	struct oif_input f = {.old = UINT32_MAX};
	if (!split_key(key, &f.name, &f.version) || folder.n < 8) {
		note(s, tar_shown(path).s, "the folder's name is no package's, as in NAME.VERSION");
		return 0;
	}
	f.folder = tar_folder(s, &maps->folders, folder);
	f.old = find_old(s, key, folder);
	path = arena_str(&s->in->arena, path);
	(void)split_key(str_of(path.p + folder.n + 1, key.n), &f.name, &f.version);
	settle(s, &f, buf_str(b));
	uint64_t *seen = map_put(&maps->seen, path);
	if (*seen) { /* the last one counts */
		s->in->file.v[*seen - 1] = f;
		s->changed = true;
		return 0;
	}
	vec_push(&s->in->file, f);
	*seen = s->in->file.n;
	return 0;
}

int oif_read_tar(struct istream *tar, const struct opam_index *old, struct oif_inputs *in, struct err *e)
{
	auto_scan s = {0};
	auto_buf b = BUF_INIT(OPAM_TEXT_MAX + 2048);
	cleanup_with(tar_maps_release) struct tar_maps maps = {MAP_INIT, MAP_INIT};
	if (scan_init(&s, old, in, e) < 0)
		return -1;
	auto_ptr(tar_reader) r = tar_reader_new(tar, "the repository's archive");
	struct tar_entry en;
	int rc;
	while ((rc = tar_next(r, &en, e)) > 0)
		if (take_member(&s, r, &en, &maps, &b, e) < 0)
			return -1;
	if (rc < 0)
		return -1;
	s.changed |= in->folder.n != s.folders;
	sort_folders(in);
	return differs(&s);
}
