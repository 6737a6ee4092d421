// SPDX-License-Identifier: Apache-2.0
/*
 * Sources of opam packages into the folder in which they are built. An archive is unpacked beside it (store/store.h refuses what could lead
 * out of there); where it holds nothing but one folder, that becomes the package's. What is no archive is put there as a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "build/opam.h"
#include "store/store.h"

enum { EXTRA_FILE_MAX = 64 << 20, EXTRA_FILES_MAX = 10000, COPY_DEPTH_MAX = 128 };

static bool is_archive(int fd)
{
	static const struct {
		struct str bytes;
		size_t at;
	} magic[] = {{{"\x1f\x8b", 2}, 0},
		     {{"BZh", 3}, 0},
		     {{"\xfd"
		       "7zXZ",
		       5},
		      0},
		     {{"\x28\xb5\x2f\xfd", 4}, 0},
		     {{"PK\3\4", 4}, 0},
		     {{"ustar", 5}, 257}};
	char head[262];
	ssize_t n = pread(fd, head, sizeof(head), 0);
	for (size_t i = 0; i < sizeof(magic) / sizeof(*magic); i++)
		if (n >= (ssize_t)(magic[i].at + magic[i].bytes.n) &&
		    memcmp(head + magic[i].at, magic[i].bytes.p, magic[i].bytes.n) == 0)
			return true;
	return false;
}

/* The bytes of fd become top/path, whatever was there before; what sources brought along may hold links. */
static int put_file(int top, const char *path, int fd, mode_t mode, struct err *e)
{
	struct str last;
	auto_free char *piece = xmalloc(OPAM_PIECE);
	auto_fd dir = fs_open_parent_below(top, str_c(path), true, &last, e);
	if (dir < 0)
		return -1;
	if (sys_unlinkat(dir, last.p, 0) < 0 && errno != ENOENT)
		return err_sys(e, "replace '%s'", path);
	auto_fd to = sys_openat(dir, last.p, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (to < 0)
		return err_sys(e, "make '%s'", path);
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, "read '%s'", path);
	for (;;) {
		ssize_t n = read(fd, piece, OPAM_PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%s'", path);
		if (n == 0)
			return 0;
		if (fs_write_all(to, piece, (size_t)n, path, e) < 0)
			return -1;
	}
}

/* == folders of this machine =========================================================================================== */

struct copy {
	int from, to;
	struct arena *a;
};

static int copy_entry(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct copy *c = ctx;
	char target[4096];
	/* what the package's author has built there is his, not ours; and history is of no use */
	if (strcmp(rel, ".git") == 0 || strncmp(rel, ".git/", 5) == 0 || strcmp(rel, "_opam") == 0 ||
	    strncmp(rel, "_opam/", 6) == 0)
		return 0;
	if (S_ISDIR(st->st_mode))
		return sys_mkdirat(c->to, rel, 0755) < 0 ? err_sys(e, "make folder '%s'", rel) : 0;
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);
		if (n < 0)
			return err_sys(e, "read link '%s'", rel);
		target[n] = '\0';
		return sys_symlinkat(target, c->to, rel) < 0 ? err_sys(e, "make link '%s'", rel) : 0;
	}
	if (!S_ISREG(st->st_mode))
		return 0;
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", rel);
	return put_file(c->to, rel, fd, st->st_mode & 0100 ? 0755 : 0644, e);
}

/* == archives ========================================================================================================== */

static const char *scratch_name(struct opam_run *r, const char *what, struct arena *a)
{
	pthread_mutex_lock(&r->state);
	unsigned number = r->made++;
	pthread_mutex_unlock(&r->state);
	return arena_printf(a, "%s-%u", what, number);
}

/* What of the unpacked folder is the package's: of an archive its only entry, where that is a folder; then the part that is asked for. "": all. */
static int find_top(int dir, bool is_archive, struct str subpath, struct arena *a, struct str *ret, struct err *e)
{
	struct stat st;
	auto_fs_list names = {0};
	*ret = STR("");
	if (is_archive && fs_list(dir, ".", 1000000, &names, e) < 0)
		return -1;
	if (names.n == 1 && fstatat(dir, names.name[0], &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode))
		*ret = str_c(arena_strdup(a, str_c(names.name[0])));
	if (subpath.n == 0)
		return 0;
	if (!fs_path_is_inside(subpath))
		return err_new(e, ERR_INPUT, "subpath '%s' leads out of the sources", tar_shown(subpath).s);
	*ret = str_c(arena_printf(a, "%.*s%s%.*s", STR_ARG(*ret), ret->n ? "/" : "", STR_ARG(subpath)));
	return 0;
}

/* It becomes `name` of to_fd. A link on the way to it stays inside, or it is not gone. */
static int move_top(int dir, struct str top, struct str subpath, int to_fd, const char *name, struct err *e)
{
	struct stat st;
	struct str last;
	auto_fd parent = fs_open_parent_below(dir, top, false, &last, e);
	if (parent < 0)
		return err_ctx(e, "subpath '%s'", tar_shown(subpath).s);
	if (fstatat(parent, last.p, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return err_new(e, ERR_NOT_FOUND, "the sources have no folder '%s'", tar_shown(subpath).s);
	return sys_renameat(parent, last.p, to_fd, name) < 0
		       ? err_sys(e, "move the sources of '%s' to where they are built", name)
		       : 0;
}

/* The last part of a URL, as a file's name. */
static struct str url_name(struct str url)
{
	ptrdiff_t query = str_find(url, '?');
	if (query >= 0)
		url = str_head(url, (size_t)query);
	struct str name = str_skip(url, (size_t)(str_rfind(url, '/') + 1));
	return fs_path_is_inside(name) ? name : STR("source");
}

/* Into the empty folder `dir`. *ret: whether it was an archive. */
static int unpack_into(int dir, struct opam_archive *s, const char *name, struct arena *a, bool *ret, struct err *e)
{
	*ret = false;
	if (s->fetch.is_folder) {
		struct copy c = {.from = s->fetch.fd, .to = dir, .a = a};
		return fs_walk(s->fetch.fd, ".", copy_entry, &c, e) < 0 ? err_ctx(e, "copy the sources of '%s'", name)
									: 0;
	}
	*ret = is_archive(s->fetch.fd);
	if (!*ret)
		return put_file(dir, arena_strdup(a, url_name(s->source->src)), s->fetch.fd, 0644, e);
	if (lseek(s->fetch.fd, 0, SEEK_SET) < 0)
		return err_sys(e, "read the archive of '%s'", name);
	return store_unpack_into(dir, s->fetch.fd, NULL, arena_printf(a, "sources of %s", name), e);
}

static int unpack_main(struct opam_run *r, struct opam_archive *s, int to_fd, const char *name, struct arena *a,
		       struct err *e)
{
	const char *tmp = scratch_name(r, "source", a);
	struct str top, subpath = s->source->subpath;
	bool was_archive;
	if (sys_mkdirat(r->scratch_fd, tmp, 0755) < 0)
		return err_sys(e, "make '%s/%s'", r->scratch, tmp);
	auto_fd dir = fs_open_dir(r->scratch_fd, tmp, e);
	if (dir < 0 || unpack_into(dir, s, name, a, &was_archive, e) < 0 ||
	    find_top(dir, was_archive, subpath, a, &top, e) < 0)
		return -1;
	if (top.n)
		return move_top(dir, top, subpath, to_fd, name, e) < 0 ? -1 : fs_remove_tree(r->scratch_fd, tmp, e);
	return sys_renameat(r->scratch_fd, tmp, to_fd, name) < 0
		       ? err_sys(e, "move the sources of '%s' to where they are built", name)
		       : 0;
}

/* == files beside the opam file ========================================================================================== */

static int extra_file(int build, int files, const char *path, const struct digest_value *sum, struct err *e)
{
	auto_buf b = BUF_INIT(EXTRA_FILE_MAX);
	struct stat st;
	if (!fs_path_is_inside(str_c(path)))
		return err_new(e, ERR_INPUT, "extra file '%s' leads out of its folder", tar_shown(str_c(path)).s);
	if (fs_read(files, path, &b, e) < 0)
		return err_ctx(e, "extra file");
	if (sum) {
		auto_ptr(digest) d = digest_new(sum->kind);
		uint8_t got[DIGEST_MAX];
		digest_update(d, b.p, b.n);
		if (memcmp(got, sum->bytes, digest_final(d, got)) != 0)
			return err_new(e, ERR_VERIFY, "Bad hash for extra-file %s", path);
	}
	bool exec = fstatat(files, path, &st, 0) == 0 && (st.st_mode & 0100);
	return fs_replace_below(build, path, b.p, b.n, exec ? FS_REPLACE_EXEC : 0, e);
}

struct all_files {
	int build, files;
};
static int one_of_all(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct all_files *f = ctx;
	(void)dirfd;
	(void)name;
	return S_ISREG(st->st_mode) ? extra_file(f->build, f->files, rel, NULL, e) : 0;
}

static int extra_files(const struct build_opam_package *p, int build, struct arena *a, struct err *e)
{
	const struct pkg_opam *o = p->opam;
	struct err why = ERR_INIT;
	auto_fd files = p->files ? fs_open_dir(AT_FDCWD, p->files, &why) : -1;
	if (files < 0 && p->files && why.code != ERR_NOT_FOUND)
		return *e = why, -1;
	if (o->extra_files == 0) { /* an opam file that does not name them means all */
		struct all_files f = {.build = build, .files = files};
		return files < 0 ? 0 : fs_walk(files, ".", one_of_all, &f, e);
	}
	for (size_t i = 0; i < o->extra_files; i++) {
		const char *path = arena_strdup(a, o->extra_file[i].path);
		if (files < 0)
			return err_new(e, ERR_NOT_FOUND, "Missing extra-file for %s", path);
		if (extra_file(build, files, path, &o->extra_file[i].checksum, e) < 0)
			return -1;
	}
	return 0;
}

int opam_unpack(struct opam_run *r, const struct build_opam_package *p, struct opam_archive *archives, size_t n,
		int to_fd, const char *name, struct arena *a, struct err *e)
{
	bool made = false;
	if (fs_remove_tree(to_fd, name, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!archives[i].source->file.p) {
			if (unpack_main(r, &archives[i], to_fd, name, a, e) < 0)
				return -1;
			made = true;
		}
	if (!made && sys_mkdirat(to_fd, name, 0755) < 0)
		return err_sys(e, "make the folder of '%s'", name);
	auto_fd build = fs_open_dir(to_fd, name, e);
	if (build < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct str file = archives[i].source->file;
		if (!file.p)
			continue;
		if (!fs_path_is_inside(file))
			return err_new(e, ERR_INPUT, "extra source '%s' leads out of its folder", tar_shown(file).s);
		if (put_file(build, arena_strdup(a, file), archives[i].fetch.fd, 0644, e) < 0)
			return -1;
	}
	return extra_files(p, build, a, e);
}
