// SPDX-License-Identifier: Apache-2.0
/* The files of an opam repository: out of index.tar.gz or a folder, into the same index.tar.gz whatever their order was. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/compress.h"
#include "base/fs.h"
#include "base/vec.h"
#include "channel/opam.h"
#include "channel/package.h"
#include "channel/staging.h"
#include "pkg/pkg.h"

enum { CONTENT_MAX = 1 << 28, FILES_MAX = 1 << 21, TAR_BLOCK = 512 };
VEC_TYPE(entry_vec, struct opam_entry);
VEC_TYPE(package_vec, struct opam_package);

/* -- grouping ------------------------------------------------------------------------------------------------------ */

static int entry_cmp(const void *x, const void *y)
{
	const struct opam_entry *a = x, *b = y;
	int c = str_cmp(a->path, b->path);
	return c ? c : (a->turn > b->turn) - (a->turn < b->turn);
}

/* "packages/…/NAME.VERSION/opam" and "…/files/x": the folder, and what it is called; false: no file of a package. */
static bool split(struct str path, struct str *folder, struct str *name, struct str *version)
{
	struct str rest = path;
	if (!channel_path_is_normal(path) || !str_take_str(&rest, STR("packages/")))
		return false;
	ptrdiff_t files = str_search(rest, STR("/files/"));
	struct str inner = files >= 0 ? str_head(rest, (size_t)files) : rest;
	if (files < 0) {
		if (!str_ends(rest, STR("/opam")))
			return false;
		inner = str_head(rest, rest.n - 5);
	}
	*folder = str_head(path, path.n - rest.n + inner.n);
	*version = str_skip(inner, (size_t)(str_rfind(inner, '/') + 1));
	return str_take_until(version, '.', name) && pkg_opam_name_is_good(*name) && pkg_opam_version_is_good(*version);
}

static void add_package(struct package_vec *v, const struct opam_entry *e, size_t n)
{
	struct opam_package p = {.entry = e, .n = n};
	(void)split(e->path, &p.folder, &p.name, &p.version);
	for (size_t i = 0; i < n; i++)
		if (str_ends(e[i].path, STR("/opam")) && e[i].path.n == p.folder.n + 5)
			p.opam = &e[i];
	if (p.opam) /* files of a package that is none mean nothing */
		vec_push(v, p);
}

int opam_repo_of(struct arena *a, struct opam_entry *v, size_t n, struct opam_repo *ret, struct err *e)
{
	struct package_vec packages = {0};
	size_t k = 0, first = 0;
	struct str name, version, folder, before = STR_NONE;
	if (n > FILES_MAX)
		return err_new(e, ERR_LIMIT, "more than %d files in an opam repository", FILES_MAX);
	for (size_t i = 0; i < n; i++)
		v[i].turn = i;
	if (n)
		qsort(v, n, sizeof(*v), entry_cmp);
	for (size_t i = 0; i < n; i++) {
		if (str_eq(v[i].path, STR("repo")))
			ret->repo = v[i].text;
		if (!split(v[i].path, &folder, &name, &version))
			continue;
		if (k && str_eq(v[k - 1].path, v[i].path))
			k--;
		v[k++] = v[i];
	}
	for (size_t i = 0; i < k; i++) {
		(void)split(v[i].path, &folder, &name, &version);
		if (i > 0 && !str_eq(folder, before)) {
			add_package(&packages, &v[first], i - first);
			first = i;
		}
		before = folder;
	}
	if (k)
		add_package(&packages, &v[first], k - first);
	ret->package = vec_copy(&packages, a);
	ret->n = packages.n;
	vec_release(&packages);
	return 0;
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

struct reading {
	struct arena *a;
	struct entry_vec entries;
	size_t total;
};

static int add(struct reading *r, struct str path, struct str text, struct err *e)
{
	struct str folder, name, version;
	if (!str_eq(path, STR("repo")) && !split(path, &folder, &name, &version))
		return 0;
	r->total += text.n;
	if (r->entries.n >= FILES_MAX || r->total > CONTENT_MAX)
		return err_new(e, ERR_LIMIT, "an opam repository of more than %d files or %d MiB", FILES_MAX,
			       CONTENT_MAX >> 20);
	vec_push(&r->entries, ((struct opam_entry){arena_str(r->a, path), arena_str(r->a, text), 0}));
	return 0;
}

static int add_member(void *ctx, struct str path, struct str text, struct err *e)
{
	return add(ctx, path, text, e);
}

static int read_index(struct reading *r, int fd, struct err *e)
{
	auto_ptr(istream) in = istream_limit(istream_gz(istream_fd(fd, "index.tar.gz")), 2ULL * CONTENT_MAX);
	return package_tar_each(in, OPAM_FILE_MAX, add_member, r, e);
}

static int add_file(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct reading *r = ctx;
	auto_buf path = BUF_INIT(CHANNEL_PATH_MAX), text = BUF_INIT(OPAM_FILE_MAX);
	struct str a, b, c;
	buf_printf(&path, "packages/%s", rel);
	if (!S_ISREG(st->st_mode) || path.overflow || !split(buf_str(&path), &a, &b, &c))
		return 0;
	return fs_read(dirfd, name, &text, e) < 0 ? -1 : add(r, buf_str(&path), buf_str(&text), e);
}

static int read_folder(struct reading *r, int dir, struct err *e)
{
	auto_buf repo = BUF_INIT(OPAM_FILE_MAX);
	int rc = staging_read(dir, "repo", &repo, e);
	if (rc < 0 || (rc > 0 && add(r, STR("repo"), buf_str(&repo), e) < 0))
		return -1;
	return fs_walk(dir, "packages", add_file, r, e);
}

int opam_repo_load(int dir, struct arena *a, struct opam_repo *ret, struct err *e)
{
	struct reading r = {.a = a};
	*ret = (struct opam_repo){0};
	int fd = dir < 0 ? -1 : openat(dir, "index.tar.gz", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && dir >= 0 && errno != ENOENT)
		return err_sys(e, "open 'index.tar.gz'");
	if (fd < 0 && (dir < 0 || !fs_exists(dir, "packages")))
		return 0;
	int rc = fd >= 0 ? read_index(&r, fd, e) : read_folder(&r, dir, e);
	if (rc == 0)
		rc = opam_repo_of(a, r.entries.v, r.entries.n, ret, e);
	if (rc == 0) {
		/* the entries are pointed to from now on */
		struct opam_entry *kept = vec_copy(&r.entries, a);
		for (size_t i = 0; i < ret->n; i++) {
			struct opam_package *p = (struct opam_package *)&ret->package[i];
			p->opam = kept + (p->opam - r.entries.v);
			p->entry = kept + (p->entry - r.entries.v);
		}
	}
	vec_release(&r.entries);
	return rc < 0 ? -1 : 1;
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

struct packing {
	struct compress *out;
	struct err *e;
};

static int put(struct packing *p, const void *bytes, size_t n)
{
	static const char zero[TAR_BLOCK];
	if (compress_put(p->out, bytes, n, p->e) < 0)
		return -1;
	size_t rest = (TAR_BLOCK - n % TAR_BLOCK) % TAR_BLOCK;
	return rest ? compress_put(p->out, zero, rest, p->e) : 0;
}

static int put_head(struct packing *p, struct str name, char type, size_t size)
{
	char h[TAR_BLOCK] = {0};
	unsigned sum = 0;
	memcpy(h, name.p, name.n < 100 ? name.n : 100);
	snprintf(h + 100, 8, "%07o", 0644);
	snprintf(h + 108, 8, "%07o", 0);
	snprintf(h + 116, 8, "%07o", 0);
	snprintf(h + 124, 12, "%011llo", (unsigned long long)size);
	snprintf(h + 136, 12, "%011llo", 0ULL);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 257, "ustar  ", 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum & 0777777);
	return put(p, h, TAR_BLOCK);
}

static int put_entry(struct packing *p, struct str path, struct str text)
{
	/* GNU's way of a long name, which every tar reads */
	if (path.n >= 100) {
		auto_buf name = BUF_INIT(2 * CHANNEL_PATH_MAX);
		buf_put_str(&name, path);
		if (put_head(p, STR("././@LongLink"), 'L', path.n + 1) < 0 || put(p, name.p, name.n + 1) < 0)
			return -1;
	}
	return put_head(p, path, '0', text.n) < 0 ? -1 : put(p, text.p, text.n);
}

static int sink(void *ctx, const void *p, size_t n, struct err *e)
{
	struct buf *b = ctx;
	buf_put(b, p, n);
	return b->overflow ? err_new(e, ERR_LIMIT, "index.tar.gz would exceed %d MiB", OPAM_INDEX_MAX >> 20) : 0;
}

int opam_repo_pack(const struct opam_repo *r, struct buf *ret, struct err *e)
{
	static const char end[2 * TAR_BLOCK];
	auto_ptr(compress) out = compress_new(COMPRESS_GZIP, 0, sink, ret);
	struct packing p = {out, e};
	for (size_t i = 0; i < r->n; i++)
		for (size_t k = 0; k < r->package[i].n; k++)
			if (put_entry(&p, r->package[i].entry[k].path, r->package[i].entry[k].text) < 0)
				return -1;
	if (put_entry(&p, STR("repo"), r->repo) < 0 || put(&p, end, sizeof(end)) < 0)
		return -1;
	return compress_end(out, e);
}
