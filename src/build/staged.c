// SPDX-License-Identifier: Apache-2.0
/* What a staged folder holds. Everything is looked at before anything is written. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/map.h"
#include "build/pack.h"

enum { PIECE = 1 << 18, PREFIX_MAX = 4096, LINK_MAX = 4096 };

void staged_release(struct staged *s)
{
	vec_release(&s->pkg);
	vec_release(&s->info);
	if (s->dirfd >= 0)
		close(s->dirfd);
	s->dirfd = -1;
}

static int refuse(const struct staged *s, const char *rel, const char *why, struct err *e)
{
	return err_new(e, ERR_INPUT, "'%s/%s' %s", s->folder, rel, why);
}

/* == content ====================================================================================================== */
struct look {
	char *piece;
	size_t kept; /* bytes of the piece before, so that a prefix across the border is seen */
	bool nul, found;
};

static void look_at(struct look *l, size_t n, struct str prefix)
{
	size_t all = l->kept + n;
	l->nul = l->nul || memchr(l->piece + l->kept, '\0', n);
	if (prefix.n == 0)
		return;
	l->found = l->found || memmem(l->piece, all, prefix.p, prefix.n);
	l->kept = all < prefix.n - 1 ? all : prefix.n - 1;
	memmove(l->piece, l->piece + all - l->kept, l->kept);
}

/* Digest, size, and whether the prefix is in it. */
static int read_content(struct staged *s, int dirfd, const char *name, struct staged_file *f, struct err *e)
{
	auto_fd fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s/%s'", s->folder, f->path.p);
	auto_ptr(digest) d = digest_new(DIGEST_SHA256);
	auto_free char *piece = xmalloc(PIECE + PREFIX_MAX);
	struct look l = {.piece = piece};
	f->size = 0;
	for (;;) {
		ssize_t n = read(fd, piece + l.kept, PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%s/%s'", s->folder, f->path.p);
		if (n == 0)
			break;
		digest_update(d, piece + l.kept, (size_t)n);
		f->size += (uint64_t)n;
		look_at(&l, (size_t)n, s->prefix);
	}
	digest_final(d, f->sha256);
	f->has_prefix = l.found;
	f->binary = l.nul;
	return 0;
}

/* == links ======================================================================================================== */
/* The way from the folder of `path` to `to`, both in the package. */
static struct str relative_to(struct arena *a, struct str path, struct str to)
{
	auto_buf b = BUF_INIT(LINK_MAX * 4);
	size_t same = 0;
	for (size_t i = 0; i < path.n && i < to.n && path.p[i] == to.p[i]; i++)
		if (path.p[i] == '/')
			same = i + 1;
	for (size_t i = same; i < path.n; i++)
		if (path.p[i] == '/')
			buf_put_c(&b, "../");
	buf_put_str(&b, str_skip(to, same));
	return arena_str(a, buf_str(&b));
}

/* A target that begins with the prefix becomes relative: links are not patched when a package is laid out. */
static struct str portable_target(const struct staged *s, struct str path, struct str target)
{
	struct str rest = target;
	if (s->prefix.n == 0 || !str_take_str(&rest, s->prefix) || !str_take_char(&rest, '/') || rest.n == 0)
		return target;
	return relative_to(s->a, path, rest);
}

/* Where a relative target leads, by its text alone; false where that is out of the package. */
static bool resolve(struct str path, struct str target, struct buf *at)
{
	ptrdiff_t slash = str_rfind(path, '/');
	buf_clear(at);
	buf_put_str(at, str_head(path, slash < 0 ? 0 : (size_t)slash));
	while (target.n > 0) {
		struct str part;
		if (!str_take_until(&target, '/', &part)) {
			part = target;
			target = STR("");
		}
		if (part.n == 0 || str_eq_c(part, "."))
			continue;
		if (str_eq_c(part, "..")) {
			if (at->n == 0)
				return false;
			slash = str_rfind(buf_str(at), '/');
			buf_truncate(at, slash < 0 ? 0 : (size_t)slash);
			continue;
		}
		if (at->n > 0)
			buf_put_char(at, '/');
		buf_put_str(at, part);
	}
	return true;
}

static int read_link(struct staged *s, int dirfd, const char *name, struct staged_file *f, struct err *e)
{
	char target[LINK_MAX + 1];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target));
	if (n < 0)
		return err_sys(e, "read link '%s/%s'", s->folder, f->path.p);
	if (n == 0 || n > LINK_MAX)
		return refuse(s, f->path.p, "is a link with an empty or too long target", e);
	f->target = arena_str(s->a, portable_target(s, f->path, str_of(target, (size_t)n)));
	for (size_t i = 0; i < f->target.n; i++)
		if ((unsigned char)f->target.p[i] < ' ' || f->target.p[i] == 0x7f)
			return refuse(s, f->path.p, "is a link whose target holds control bytes", e);
	auto_buf at = BUF_INIT(LINK_MAX * 4);
	if (f->target.p[0] == '/')
		return err_new(
			e, ERR_INPUT,
			"'%s/%s' is a link to '%s', which is outside of the package; make it relative, or name the "
			"prefix it was built for",
			s->folder, f->path.p, f->target.p);
	if (!resolve(f->path, f->target, &at))
		return err_new(e, ERR_INPUT, "'%s/%s' is a link to '%s', which leads out of the package", s->folder,
			       f->path.p, f->target.p);
	return 0;
}

/* CEP 34: of a link the digest and size of what it leads to; of nothing where that is not in the package. */
static void digest_links(struct staged *s)
{
	auto_map by_path = MAP_INIT;
	auto_buf at = BUF_INIT(LINK_MAX * 4);
	vec_foreach(f, &s->pkg)
		*map_put(&by_path, f->path) = (uint64_t)(f - s->pkg.v);
	vec_foreach(f, &s->pkg) {
		if (f->kind == STAGED_FILE)
			continue;
		sha256("", 0, f->sha256);
		f->size = 0;
		const struct staged_file *to = f;
		for (int hops = 0; to && to->kind == STAGED_LINK && hops < 40; hops++) {
			uint64_t *k = resolve(to->path, to->target, &at) ? map_get(&by_path, buf_str(&at)) : NULL;
			to = k ? &s->pkg.v[*k] : NULL;
		}
		if (to && to->kind == STAGED_FILE) {
			memcpy(f->sha256, to->sha256, SHA256_SIZE);
			f->size = to->size;
		}
	}
}

/* == the walk ====================================================================================================== */
static bool is_or_is_under(struct str path, const char *dir)
{
	return str_take_str(&path, str_c(dir)) && (path.n == 0 || path.p[0] == '/');
}

/* "Build tools MUST NOT allow arbitrary files in this directory" (CEP 34): what the rules and older packages name. */
static bool info_is_known(struct str name)
{
	static const char *const files[] = {
		"about.json",
		"files",
		"git",
		"has_prefix",
		"hash_input.json",
		"index.json",
		"link.json",
		"no_link",
		"paths.json",
		"run_exports.json",
		"license.txt",
		"LICENSE.txt",
		"icon.png",
		"recipe.json",
		"no_softlink",
		"run_exports.yaml",
		"post_install.json",
		"package_metadata.json",
	};
	static const char *const folders[] = {"licenses", "recipe", "test", "tests"};
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (str_eq_c(name, files[i]))
			return true;
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		if (is_or_is_under(name, folders[i]))
			return true;
	return false;
}

static int check_path(const struct staged *s, struct str rel, struct err *e)
{
	struct str inner = rel;
	if (!fs_path_is_inside(rel) || rel.n > 4096)
		return refuse(s, rel.p, "has a name that no package may hold (control bytes, or too long)", e);
	for (struct str left = rel; left.n > 0;) {
		uint32_t c;
		size_t n = utf8_take(left, &c);
		if (n == 0)
			return refuse(s, rel.p, "has a name that is not UTF-8", e);
		left = str_skip(left, n);
	}
	if (is_or_is_under(rel, "conda-meta"))
		return refuse(s, rel.p, "is in conda-meta/, which belongs to the environment; remove it", e);
	if (str_starts(rel, STR(".slipway")))
		return refuse(s, rel.p, "has a name that is reserved", e);
	if (str_take_str(&inner, STR("info/")) && !info_is_known(inner))
		return refuse(
			s, rel.p,
			"is no file that info/ may hold; texts of licenses go to info/licenses/, tests to info/test/",
			e);
	return 0;
}

static bool is_left_out(const struct staged *s, struct str rel)
{
	if ((s->skip && str_eq_c(rel, s->skip)) || str_eq_c(rel, "info") || str_eq_c(rel, "info/repodata_record.json"))
		return true;
	if (!s->drop_compiled || is_or_is_under(rel, "info"))
		return false;
	struct str name = str_skip(rel, (size_t)(str_rfind(rel, '/') + 1));
	return str_eq_c(name, "__pycache__") || str_search(rel, STR("/__pycache__/")) >= 0 ||
	       str_ends(name, STR(".pyc")) || str_ends(name, STR(".pyo"));
}

static int look_at_entry(void *ctx, int dirfd, const char *name, const char *rel, const struct stat *st, struct err *e)
{
	struct staged *s = ctx;
	struct str path = str_c(rel);
	if (is_left_out(s, path) && (S_ISDIR(st->st_mode) || !str_eq_c(path, "info")))
		return 0;
	if (!S_ISDIR(st->st_mode) && str_eq_c(path, "info"))
		return refuse(s, rel, "must be a folder", e);
	if (!S_ISDIR(st->st_mode) && !S_ISREG(st->st_mode) && is_or_is_under(path, "info"))
		return refuse(s, rel, "is neither a file nor a folder: info/ holds nothing else", e);
	if (check_path(s, path, e) < 0)
		return -1;
	if (s->pkg.n + s->info.n >= PACK_FILES_MAX)
		return err_new(e, ERR_LIMIT, "'%s' holds more than %d files", s->folder, PACK_FILES_MAX);
	bool info = str_starts(path, STR("info/"));
	struct staged_file f = {.path = arena_str(s->a, path), .exec = st->st_mode & S_IXUSR};
	if (S_ISDIR(st->st_mode)) {
		f.kind = STAGED_DIR;
	} else if (S_ISLNK(st->st_mode)) {
		f.kind = STAGED_LINK;
		if (read_link(s, dirfd, name, &f, e) < 0)
			return -1;
	} else if (S_ISREG(st->st_mode)) {
		if (read_content(s, dirfd, name, &f, e) < 0)
			return -1;
	} else {
		return refuse(s, rel, "is a device, pipe or socket; packages hold files, folders and links", e);
	}
	if (info && f.kind == STAGED_DIR)
		return 0;
	if (info)
		f.has_prefix = false;
	vec_push(info ? &s->info : &s->pkg, f);
	return 0;
}

/* Only empty folders are entries: others are there because of what they hold. */
static void drop_filled_folders(struct staged_vec *v)
{
	size_t k = 0;
	for (size_t i = 0; i < v->n; i++) {
		struct str path = v->v[i].path;
		bool filled = i + 1 < v->n && v->v[i + 1].path.n > path.n && v->v[i + 1].path.p[path.n] == '/' &&
			      str_starts(v->v[i + 1].path, path);
		if (v->v[i].kind != STAGED_DIR || !filled)
			v->v[k++] = v->v[i];
	}
	v->n = k;
}

static int by_path(const void *x, const void *y)
{
	return str_cmp(((const struct staged_file *)x)->path, ((const struct staged_file *)y)->path);
}

void staged_sort(struct staged_vec *v)
{
	vec_sort(v, by_path);
}

int staged_scan(struct staged *s, struct err *e)
{
	if (s->prefix.n >= PREFIX_MAX)
		return err_new(e, ERR_LIMIT, "a prefix of %zu bytes is too long", s->prefix.n);
	if (fs_walk(s->dirfd, ".", look_at_entry, s, e) < 0)
		return -1;
	drop_filled_folders(&s->pkg);
	staged_sort(&s->pkg);
	staged_sort(&s->info);
	digest_links(s);
	vec_foreach(f, &s->pkg) {
		s->prefix_files += f->has_prefix;
		s->content_bytes += f->kind == STAGED_FILE ? f->size : 0;
	}
	return 0;
}

/* == info/ ========================================================================================================= */
struct staged_file *staged_info_find(struct staged *s, const char *path)
{
	vec_foreach(f, &s->info)
		if (str_eq_c(f->path, path))
			return f;
	return NULL;
}

void staged_info_add(struct staged *s, const char *path, struct buf *text)
{
	struct staged_file *f = staged_info_find(s, path);
	if (!f)
		f = vec_add(&s->info);
	*f = (struct staged_file){
		.path = arena_str(s->a, str_c(path)),
		.kind = STAGED_FILE,
		.size = text->n,
		.in_memory = true,
		.text = arena_str(s->a, buf_str(text)),
	};
	sha256(text->p, text->n, f->sha256);
}

int staged_info_read(struct staged *s, const char *path, size_t max, struct str *ret, struct err *e)
{
	auto_buf b = BUF_INIT(max);
	if (fs_read(s->dirfd, path, &b, e) < 0)
		return err_ctx(e, "staged folder '%s'", s->folder);
	*ret = arena_str(s->a, buf_str(&b));
	return 0;
}
