// SPDX-License-Identifier: Apache-2.0
/*
 * What a generation holds beside, or instead of, what its conda-meta/ records say, and the taking over of files that no
 * package owns (a user's own scripts, what pip installed) into the next generation.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "base/sys.h"
#include "base/vec.h"
#include "env/state.h"

enum { MAX_RECORD = 256 << 20, MAX_RECORDS = 200000, MAX_SCRIPT = 1 << 20 };

struct owned {
	struct str path, package;
	uint64_t size;
	uint8_t sha256[SHA256_SIZE];
	bool has_size, has_sha256, softlink, folder, seen;
};
struct manifest {
	struct arena arena;
	VEC(struct owned) files;
	struct map by_path; /* → index + 1 */
};

static void manifest_release(struct manifest *m)
{
	vec_release(&m->files);
	map_release(&m->by_path);
	arena_release(&m->arena);
}
#define auto_manifest cleanup_with(manifest_release) struct manifest

/* -- the records --------------------------------------------------------------------------------------------------- */

static int add_path(struct manifest *m, const struct json *j, struct str package, struct err *e)
{
	struct owned f = {.package = package};
	struct str type = STR_NONE, sha = STR_NONE;
	int64_t size = 0;
	if (json_get_str(j, "_path", &f.path, e) < 0 || json_opt_str(j, "path_type", &type, e) < 0 ||
	    json_opt_str(j, "sha256_in_prefix", &sha, e) < 0)
		return -1;
	f.softlink = str_eq(type, STR("softlink"));
	f.folder = str_eq(type, STR("directory"));
	/* Of a link, sha256 is what the package's author saw behind it, sha256_in_prefix what is behind it here. */
	if (!sha.n && !f.softlink && json_opt_str(j, "sha256", &sha, e) < 0)
		return -1;
	if (json_opt_int(j, "size_in_bytes", &size, e) > 0 && !json_get(j, "prefix_placeholder"))
		f.has_size = true;
	f.size = (uint64_t)size;
	f.has_sha256 = sha.n && str_unhex(sha, f.sha256, SHA256_SIZE);
	vec_push(&m->files, f);
	return 0;
}

static int read_record(struct manifest *m, int meta_fd, const char *name, struct err *e)
{
	auto_buf text = BUF_INIT(MAX_RECORD);
	const struct json *paths, *data;
	struct str package;
	if (fs_read(meta_fd, name, &text, e) < 0)
		return -1;
	const struct json *j = json_parse(&m->arena, arena_str(&m->arena, buf_str(&text)), name, e);
	if (!j || json_get_str(j, "name", &package, e) < 0 || json_opt_object(j, "paths_data", &data, e) < 0 ||
	    json_opt_array(data ? data : j, "paths", &paths, e) < 0)
		return -1;
	for (uint32_t i = 0; paths && i < paths->n; i++)
		if (add_path(m, &paths->item[i], package, e) < 0)
			return -1;
	return 0;
}

static int read_manifest(int dir_fd, struct manifest *m, struct err *e)
{
	auto_fs_list list = {0};
	auto_fd meta = fs_open_dir(dir_fd, "conda-meta", e);
	if (meta < 0 || fs_list(meta, ".", MAX_RECORDS, &list, e) < 0)
		return -1;
	for (size_t i = 0; i < list.n; i++)
		if (str_ends(str_c(list.name[i]), STR(".json")) && read_record(m, meta, list.name[i], e) < 0)
			return err_ctx(e, "conda-meta/%s", list.name[i]);
	/* Of a path that two packages brought the record linked later is the one in place; either owns it. */
	for (size_t i = 0; i < m->files.n; i++) {
		uint64_t *slot = map_put(&m->by_path, m->files.v[i].path);
		if (!*slot)
			*slot = i + 1;
	}
	return 0;
}

/* Files that nobody laid out and nobody misses: records, and what Python writes when it runs. */
static bool is_noise(struct str rel)
{
	return str_starts(rel, STR("conda-meta/")) || str_eq(rel, STR("conda-meta")) ||
	       (str_ends(rel, STR(".pyc")) && str_search(rel, STR("__pycache__/")) >= 0);
}

/* -- differences --------------------------------------------------------------------------------------------------- */

struct difference {
	struct str path, package;
	const char *what;
};
struct compare {
	struct manifest *m;
	bool deep;
	VEC(struct difference) found;
};

static void add_difference(struct compare *c, struct str path, struct str package, const char *what)
{
	*vec_add(&c->found) = (struct difference){arena_str(&c->m->arena, path), package, what};
}

/* Of a symbolic link: what it leads to. */
static int content_differs(int dirfd, const char *name, const struct owned *f, struct err *e)
{
	uint8_t sha[SHA256_SIZE];
	struct stat st;
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (f->softlink ? 0 : O_NOFOLLOW));
	if (fd < 0)
		return f->softlink ? 1 : err_sys(e, "open '%s'", name);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "open '%s'", name);
	if (!S_ISREG(st.st_mode))
		return 1;
	if (sha256_fd(fd, sha, e) < 0)
		return -1;
	return memcmp(sha, f->sha256, SHA256_SIZE) != 0;
}

static int entry_differs(int dirfd, const char *name, const struct owned *f, const struct stat *st, bool deep,
			 struct err *e)
{
	mode_t kind = f->softlink ? S_IFLNK : f->folder ? S_IFDIR : S_IFREG;
	if ((st->st_mode & S_IFMT) != kind)
		return 1;
	if (kind == S_IFREG && f->has_size && f->size != (uint64_t)st->st_size)
		return 1;
	return deep && kind != S_IFDIR && f->has_sha256 ? content_differs(dirfd, name, f, e) : 0;
}

static int compare_entry(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct compare *c = ctx;
	struct str path = str_c(rel);
	uint64_t *slot = map_get(&c->m->by_path, path);
	if (!slot) {
		if (!S_ISDIR(st->st_mode) && !is_noise(path))
			add_difference(c, path, STR_NONE, "added");
		return 0;
	}
	struct owned *f = &c->m->files.v[*slot - 1];
	f->seen = true;
	int differs = entry_differs(dirfd, name, f, st, c->deep, e);
	if (differs > 0)
		add_difference(c, path, f->package, "changed");
	return differs < 0 ? -1 : 0;
}

static int by_path(const void *x, const void *y)
{
	const struct difference *a = x, *b = y;
	return str_cmp(a->path, b->path);
}

int64_t env_differences(struct env_state *st, struct str name, uint32_t generation, bool deep, env_difference_fn *found,
			void *ctx, struct err *e)
{
	auto_manifest m = {0};
	struct compare c = {.m = &m, .deep = deep};
	struct env_info info;
	if (env_get(st, &m.arena, name, &info, e) < 0)
		return -1;
	unsigned number = generation ? generation : info.current;
	const char *path = arena_printf(&m.arena, "%.*s/%u", STR_ARG(name), number);
	auto_fd dir = fs_open_dir(st->env_fd, path, e);
	if (dir < 0 || read_manifest(dir, &m, e) < 0 || fs_walk(dir, ".", compare_entry, &c, e) < 0) {
		vec_release(&c.found);
		return err_ctx(e, "generation %u of '%.*s'", number, STR_ARG(name));
	}
	for (size_t i = 0; i < m.files.n; i++) {
		uint64_t first = *map_get(&m.by_path, m.files.v[i].path) - 1;
		if (first == i && !m.files.v[i].seen)
			add_difference(&c, m.files.v[i].path, m.files.v[i].package, "missing");
	}
	vec_sort(&c.found, by_path);
	vec_foreach(d, &c.found) {
		auto_free char *at = str_dup(d->path);
		if (found)
			found(ctx, at, d->what, d->package);
	}
	int64_t n = (int64_t)c.found.n;
	vec_release(&c.found);
	return n;
}

/* -- carrying over ------------------------------------------------------------------------------------------------- */

struct carry {
	struct manifest *m;
	const char *old_prefix, *new_prefix;
	int new_fd;
	uint64_t n;
};

/* Opens the folder of `rel` in the new generation, making what is missing; never through a symbolic link. -1 with errno
 * where something else stands in the way. */
static int open_parent(int root_fd, const char *rel, const char **ret_name)
{
	auto_fd fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
	struct str rest = str_c(rel), part;
	while (fd >= 0 && str_take_until(&rest, '/', &part)) {
		auto_free char *name = str_dup(part);
		if (sys_mkdirat(fd, name, 0755) < 0 && errno != EEXIST)
			return -1;
		int next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		cleanup_fd(&fd);
		fd = next;
	}
	*ret_name = rest.p;
	return steal_fd(&fd);
}

/* `text` with the old generation's path made the new one's. */
static void put_moved(const struct carry *c, struct str text, struct buf *to)
{
	struct str old = str_c(c->old_prefix);
	ptrdiff_t at;
	while ((at = str_search(text, old)) >= 0) {
		buf_put_str(to, str_head(text, (size_t)at));
		buf_put_c(to, c->new_prefix);
		text = str_skip(text, (size_t)at + old.n);
	}
	buf_put_str(to, text);
}

static int copy_link(struct carry *c, int from_dir, const char *from, int to_dir, const char *to, struct err *e)
{
	char target[4097];
	auto_buf moved = BUF_INIT(BUF_MAX);
	ssize_t n = readlinkat(from_dir, from, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(e, "read link '%s'", from);
	put_moved(c, str_of(target, (size_t)n), &moved);
	if (sys_symlinkat(moved.p, to_dir, to) < 0)
		return err_sys(e, "make link '%s'", to);
	c->n++;
	return 0;
}

static int copy_bytes(int in, int out, const struct stat *st, struct err *e)
{
	if (st->st_size > 0 && sys_ficlone(out, in) == 0)
		return 0;
	for (;;) {
		ssize_t n = sys_copy_file_range(in, NULL, out, NULL, 1 << 30);
		if (n < 0)
			return err_sys(e, "copy");
		if (n == 0)
			return 0;
	}
}

/* The first line, or the first two: a long path to Python stands in the second one of a /bin/sh script. */
static struct str head_lines(struct str text)
{
	struct str rest = text, line;
	for (int i = 0; i < 2; i++)
		(void)str_take_line(&rest, &line);
	return str_head(text, text.n - rest.n);
}

/* A script that names the old generation's interpreter: point it at the new one's. */
static int copy_script(struct carry *c, int in, int out, bool *ret_done, struct err *e)
{
	auto_buf text = BUF_INIT(MAX_SCRIPT);
	auto_buf moved = BUF_INIT(BUF_MAX);
	char name[32];
	*ret_done = false;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", in);
	if (fs_read(AT_FDCWD, name, &text, e) < 0)
		return -1;
	struct str s = buf_str(&text);
	if (!str_starts(s, STR("#!")) || str_search(head_lines(s), str_c(c->old_prefix)) < 0)
		return 0;
	put_moved(c, s, &moved);
	*ret_done = true;
	return fs_write_all(out, moved.p, moved.n, "script", e);
}

static int copy_file(struct carry *c, int from_dir, const char *from, int to_dir, const char *to, const struct stat *st,
		     struct err *e)
{
	bool done = false;
	auto_fd in = openat(from_dir, from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (in < 0)
		return err_sys(e, "open '%s'", from);
	auto_fd out = sys_openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		return errno == EEXIST ? 0 : err_sys(e, "make '%s'", to);
	if ((st->st_mode & 0111) && st->st_size < MAX_SCRIPT && copy_script(c, in, out, &done, e) < 0)
		return -1;
	if (!done && copy_bytes(in, out, st, e) < 0)
		return -1;
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	if (sys_fchmod(out, st->st_mode & 0777) < 0 || sys_futimens(out, times) < 0)
		return err_sys(e, "set mode and time of '%s'", to);
	c->n++;
	return 0;
}

static int carry_entry(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct carry *c = ctx;
	const char *to;
	if (S_ISDIR(st->st_mode) || is_noise(str_c(rel)) || map_get(&c->m->by_path, str_c(rel)))
		return 0;
	if (!S_ISREG(st->st_mode) && !S_ISLNK(st->st_mode))
		return 0; /* sockets and pipes belong to what runs in the old generation */
	auto_fd parent = open_parent(c->new_fd, rel, &to);
	if (parent < 0)
		return errno == ELOOP || errno == ENOTDIR ? 0 : err_sys(e, "make the folder of '%s'", rel);
	if (fs_exists(parent, to))
		return 0; /* a package brings this path now */
	int rc = S_ISLNK(st->st_mode) ? copy_link(c, dirfd, name, parent, to, e)
				      : copy_file(c, dirfd, name, parent, to, st, e);
	return rc < 0 ? err_ctx(e, "take over '%s'", rel) : 0;
}

int generation_carry(struct env_hold *h, uint32_t from, int new_fd, uint32_t number, uint64_t *ret, struct err *e)
{
	char name[16];
	auto_manifest m = {0};
	*ret = 0;
	if (!from)
		return 0;
	snprintf(name, sizeof(name), "%u", from);
	auto_fd old = fs_open_dir(h->dir_fd, name, e);
	if (old < 0 || read_manifest(old, &m, e) < 0)
		return -1;
	struct carry c = {
		.m = &m,
		.old_prefix = arena_printf(&m.arena, "%s/env/%s/%u/", h->st->root_path, h->name, from),
		.new_prefix = arena_printf(&m.arena, "%s/env/%s/%u/", h->st->root_path, h->name, number),
		.new_fd = new_fd,
	};
	if (fs_walk(old, ".", carry_entry, &c, e) < 0)
		return -1;
	*ret = c.n;
	return 0;
}
