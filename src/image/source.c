// SPDX-License-Identifier: Apache-2.0
/*
 * What is to be imported: a folder or a file, looked at. Archives of images are read where they are: their table of members is made once, by
 * moving from header to header.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sys.h"
#include "base/zip.h"
#include "image/internal.h"

enum { MEMBERS_MAX = 100000, MEMBER_NAME_MAX = 4096, LINKS_MAX = 8, PIECE = 1 << 17 };
static const uint64_t spool_max = (uint64_t)64 << 30;

/* == files without a name ========================================================================================== */

int spool_named(int dirfd, struct err *e)
{
	auto_free char *name = xasprintf(".spool.%ld", (long)getpid());
	if (sys_unlinkat(dirfd, name, 0) < 0 && errno != ENOENT) /* a killed process had our number */
		return err_sys(e, "remove '%s'", name);
	auto_fd named = sys_openat(dirfd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (named < 0)
		return err_sys(e, "make a temporary file");
	if (sys_unlinkat(dirfd, name, 0) < 0)
		return err_sys(e, "remove '%s'", name);
	return steal_fd(&named);
}

int spool_open(int dirfd, struct err *e)
{
	int fd = sys_openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return err_sys(e, "make a temporary file");
	return spool_named(dirfd, e);
}

static int copy_stream(struct istream *s, int to_fd, const char *what, struct err *e)
{
	auto_free char *piece = xmalloc(PIECE);
	for (;;) {
		ssize_t n = istream_read(s, piece, PIECE, e);
		if (n <= 0)
			return n < 0 ? -1 : 0;
		if (fs_write_all(to_fd, piece, (size_t)n, what, e) < 0)
			return -1;
	}
}

static int spool_copy(int from_fd, int to_fd, const char *what, struct err *e)
{
	auto_fd from = fcntl(from_fd, F_DUPFD_CLOEXEC, 3);
	if (from < 0)
		return err_sys(e, "read '%s'", what);
	auto_ptr(istream) s = istream_limit(istream_fd(steal_fd(&from), what), spool_max);
	return copy_stream(s, to_fd, what, e);
}

/* == members of an archive ========================================================================================= */

/* "./a//b" and "a/b" are one name. NONE where it is no name inside. */
static struct str clean(struct str s)
{
	while (str_take_str(&s, STR("./")))
		;
	while (s.n > 0 && s.p[s.n - 1] == '/')
		s.n--;
	return s.n <= MEMBER_NAME_MAX && fs_path_is_inside(s) ? s : STR_NONE;
}

/* Where a link of an archive leads, by its text: "x/layer.tar" → "../y/layer.tar" is "y/layer.tar". */
static struct str resolve(struct arena *a, struct str from, struct str to)
{
	auto_buf b = BUF_INIT(2 * MEMBER_NAME_MAX);
	ptrdiff_t slash = str_rfind(from, '/');
	struct str folder = str_head(from, slash < 0 ? 0 : (size_t)slash);
	while (str_take_str(&to, STR("../"))) {
		if (folder.n == 0)
			return STR_NONE;
		slash = str_rfind(folder, '/');
		folder = str_head(folder, slash < 0 ? 0 : (size_t)slash);
	}
	buf_put_str(&b, folder);
	if (folder.n)
		buf_put_char(&b, '/');
	buf_put_str(&b, to);
	return arena_str(a, clean(buf_str(&b)));
}

static int add_member(struct source *s, const struct tar_entry *en, struct err *e)
{
	struct str name = clean(en->path);
	if (en->kind == TAR_DIR || name.n == 0)
		return 0;
	if (s->member.n >= MEMBERS_MAX)
		return err_new(e, ERR_LIMIT, "'%s' is refused: it has more than %d members", s->what, MEMBERS_MAX);
	if (en->kind != TAR_FILE && en->kind != TAR_SYMLINK && en->kind != TAR_HARD_LINK)
		return 0;
	name = arena_str(&s->a, name);
	if (*map_put(&s->members, name))
		return err_new(e, ERR_INPUT, "'%s' is refused: its member '%s' comes twice", s->what,
			       tar_shown(name).s);
	struct member *m = vec_add(&s->member);
	*m = (struct member){.offset = en->offset, .size = en->size};
	if (en->kind == TAR_SYMLINK)
		m->link = resolve(&s->a, name, en->target);
	else if (en->kind == TAR_HARD_LINK)
		m->link = arena_str(&s->a, clean(en->target));
	if (en->kind != TAR_FILE && m->link.n == 0)
		return err_new(e, ERR_INPUT, "'%s' is refused: its member '%s' is a link that leads out of it", s->what,
			       tar_shown(name).s);
	*map_put(&s->members, name) = s->member.n;
	return 0;
}

static int read_members(struct source *s, struct err *e)
{
	if (lseek(s->fd, 0, SEEK_SET) < 0)
		return err_sys(e, "read '%s'", s->what);
	auto_fd fd = fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(e, "read '%s'", s->what);
	int plain = fd;
	auto_ptr(istream) in = istream_fd(steal_fd(&fd), s->what);
	auto_ptr(tar_reader) r = tar_reader_new(in, s->what);
	tar_reader_seeks(r, plain);
	struct tar_entry en;
	int rc;
	while ((rc = tar_next(r, &en, e)) > 0)
		if (add_member(s, &en, e) < 0)
			return -1;
	return rc;
}

static const struct member *find_member(struct source *s, struct str name)
{
	for (int i = 0; i < LINKS_MAX; i++) {
		const uint64_t *n = map_get(&s->members, clean(name));
		if (!n)
			return NULL;
		const struct member *m = &s->member.v[*n - 1];
		if (m->link.n == 0)
			return m;
		name = m->link;
	}
	return NULL;
}

/* == looked at ===================================================================================================== */

static bool is_digest(struct str s)
{
	return s.n == 64 && str_is_hex(s);
}

/* Does an archive that begins so hold an image, and not a root file system? */
static bool begins_an_image(struct str name)
{
	static const char *const first[] = {"blobs", "oci-layout", "index.json", "manifest.json", "repositories"};
	struct str part;
	name = clean(name);
	if (!str_take_until(&name, '/', &part))
		part = name;
	for (size_t i = 0; i < sizeof(first) / sizeof(*first); i++)
		if (str_eq_c(part, first[i]))
			return true;
	return is_digest(str_head(part, 64)) &&
	       (part.n == 64 || str_eq(str_skip(part, 64), STR(".json")) || str_eq(str_skip(part, 64), STR(".tar")));
}

/* 1 where the file is an archive of an image. */
static int look_inside(struct source *s, bool *ret_packed, struct err *e)
{
	struct stat st;
	char head[4] = {0};
	if (fstat(s->fd, &st) < 0)
		return err_sys(e, "stat '%s'", s->what);
	if (pread(s->fd, head, sizeof(head), 0) < 0)
		return err_sys(e, "read '%s'", s->what);
	*ret_packed = memcmp(head, "\x1f\x8b", 2) == 0 || memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0 ||
		      memcmp(head,
			     "\xfd"
			     "7zX",
			     4) == 0 ||
		      memcmp(head, "BZh", 3) == 0;
	struct zip_range all = {.size = (uint64_t)st.st_size};
	auto_ptr(istream) in = istream_unpack_any(istream_range(s->fd, all, s->what), e);
	if (!in)
		return -1;
	auto_ptr(tar_reader) r = tar_reader_new(in, s->what);
	struct tar_entry en;
	int rc;
	while ((rc = tar_next(r, &en, e)) > 0)
		if (clean(en.path).n)
			return begins_an_image(en.path);
	return rc;
}

static int open_archive(struct source *s, bool packed, int dirfd, struct err *e)
{
	if (packed) {
		struct stat st;
		if (fstat(s->fd, &st) < 0)
			return err_sys(e, "stat '%s'", s->what);
		auto_fd plain = spool_open(dirfd, e);
		struct zip_range all = {.size = (uint64_t)st.st_size};
		auto_ptr(istream) in = plain < 0 ? NULL : istream_unpack_any(istream_range(s->fd, all, s->what), e);
		if (!in)
			return -1;
		in = istream_limit(steal_ptr(&in), spool_max);
		if (copy_stream(in, plain, s->what, e) < 0)
			return -1;
		close(s->fd);
		s->fd = steal_fd(&plain);
	}
	if (read_members(s, e) < 0)
		return -1;
	if (find_member(s, STR("index.json")) && find_member(s, STR("oci-layout")))
		s->kind = SOURCE_OCI;
	else if (find_member(s, STR("manifest.json")))
		s->kind = SOURCE_SAVED;
	else
		return err_new(e, ERR_INPUT,
			       "'%s' looks like the archive of an image, but has neither index.json nor manifest.json; "
			       "make it again with 'skopeo copy … oci-archive:FILE'",
			       s->what);
	return 0;
}

static int open_file(struct source *s, int dirfd, struct err *e)
{
	if (lseek(s->fd, 0, SEEK_CUR) < 0) {
		auto_fd spool = spool_open(dirfd, e);
		if (spool < 0 || spool_copy(s->fd, spool, s->what, e) < 0)
			return -1;
		close(s->fd);
		s->fd = steal_fd(&spool);
	}
	bool packed = false;
	int image = look_inside(s, &packed, e);
	s->kind = SOURCE_TAR;
	return image <= 0 ? image : open_archive(s, packed, dirfd, e);
}

int source_open(struct source *s, const char *path, int dirfd, struct err *e)
{
	struct stat st;
	bool std = strcmp(path, "-") == 0;
	*s = (struct source){.fd = -1};
	s->what = arena_strdup(&s->a, str_c(std ? "standard input" : path));
	s->fd = std ? fcntl(0, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (s->fd < 0 || fstat(s->fd, &st) < 0)
		return err_sys(e, "open '%s'", s->what);
	if (std && isatty(s->fd))
		return err_new(e, ERR_USAGE, "standard input is a terminal: pipe an archive into it, or name a file");
	if (!S_ISDIR(st.st_mode))
		return open_file(s, dirfd, e);
	if (fs_exists(s->fd, "oci-layout") && fs_exists(s->fd, "index.json"))
		s->kind = SOURCE_OCI;
	else if (fs_exists(s->fd, "manifest.json") && fs_exists(s->fd, "version"))
		return err_new(e, ERR_UNSUPPORTED,
			       "'%s' is a folder of 'skopeo copy … dir:'; 'skopeo copy dir:%s oci:FOLDER' makes "
			       "a layout that can be imported",
			       path, path);
	else
		s->kind = SOURCE_FOLDER;
	return 0;
}

void source_release(struct source *s)
{
	cleanup_fd(&s->fd);
	arena_release(&s->a);
	map_release(&s->members);
	vec_release(&s->member);
}

/* == parts ========================================================================================================= */

void part_release(struct part *p)
{
	if (p->own)
		cleanup_fd(&p->fd);
	p->fd = -1;
}

static int part_of_folder(struct source *s, const char *name, struct part *ret, struct err *e)
{
	struct stat st;
	auto_fd fd = openat(s->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, "open '%s/%s'", s->what, name);
	if (!S_ISREG(st.st_mode))
		return err_new(e, ERR_INPUT, "'%s/%s' is no file", s->what, name);
	*ret = (struct part){.fd = steal_fd(&fd), .own = true, .size = (uint64_t)st.st_size};
	return 0;
}

int source_part(struct source *s, struct str name, struct part *ret, struct err *e)
{
	*ret = (struct part){.fd = -1};
	struct str inside = clean(name);
	if (inside.n == 0)
		return err_new(e, ERR_INPUT, "'%s' is refused: it names a file '%s' outside of itself", s->what,
			       tar_shown(name).s);
	if (s->member.n == 0)
		return part_of_folder(s, arena_strdup(&s->a, inside), ret, e);
	const struct member *m = find_member(s, inside);
	if (!m)
		return err_new(e, ERR_NOT_FOUND, "'%s' lacks '%s'", s->what, tar_shown(name).s);
	*ret = (struct part){.fd = s->fd, .offset = m->offset, .size = m->size};
	return 0;
}

int source_read(struct source *s, struct str name, const char *digest, struct arena *a, struct str *ret, struct err *e)
{
	auto_part p;
	uint8_t sum[SHA256_SIZE], want[SHA256_SIZE];
	if (source_part(s, name, &p, e) < 0)
		return -1;
	if (p.size > IMAGE_JSON_MAX)
		return err_new(e, ERR_LIMIT, "'%s' is refused: '%s' has %llu bytes, more than %d", s->what,
			       tar_shown(name).s, (unsigned long long)p.size, IMAGE_JSON_MAX);
	char *text = arena_alloc(a, (size_t)p.size + 1);
	auto_ptr(istream) in = istream_range(p.fd, (struct zip_range){.offset = p.offset, .size = p.size}, s->what);
	if (istream_read_all(in, text, (size_t)p.size, e) < 0)
		return err_ctx(e, "'%s'", tar_shown(name).s);
	text[p.size] = '\0';
	*ret = str_of(text, (size_t)p.size);
	if (!digest)
		return 0;
	sha256(text, (size_t)p.size, sum);
	if (!image_digest_parse(str_c(digest), want) || memcmp(sum, want, sizeof(sum)) != 0)
		return err_new(e, ERR_VERIFY,
			       "'%s' is damaged: '%s' has another SHA-256 than %.19s…; fetch or make it again", s->what,
			       tar_shown(name).s, digest);
	return 0;
}
