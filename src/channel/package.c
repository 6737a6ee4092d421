// SPDX-License-Identifier: Apache-2.0
/* What a package file says of itself. Only tar's headers are read here, to find one small file; store unpacks. */
#include "channel/package.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/zip.h"

enum { TAR_BLOCK = 512, INDEX_JSON_MAX = 16 << 20, PAX_MAX = 1 << 20, NAME_MAX_BYTES = 4096 };

/* -- tar --------------------------------------------------------------------------------------------------------- */

struct tar {
	struct istream *in;
	char head[TAR_BLOCK];
	struct buf name;   /* of the entry that comes: from a long-name or pax entry before it */
	struct buf *found; /* where the name of the one that was found goes, or NULL */
	bool has_size;
	uint64_t size;
};

static void tar_release(struct tar *t)
{
	buf_release(&t->name);
}
#define auto_tar cleanup_with(tar_release) struct tar

static struct str field(const struct tar *t, size_t at, size_t n)
{
	return str_of(t->head + at, strnlen(t->head + at, n));
}

static bool octal(struct str s, uint64_t *ret)
{
	uint64_t v = 0;
	s = str_trim(s);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '7' || v >> 60)
			return false;
		v = v << 3 | (unsigned)(s.p[i] - '0');
	}
	*ret = v;
	return true;
}

/* Large sizes stand in base 256, marked by the highest bit. */
static bool entry_size(const struct tar *t, uint64_t *ret)
{
	const unsigned char *p = (const unsigned char *)t->head + 124;
	if (t->has_size) {
		*ret = t->size;
		return true;
	}
	if (!(p[0] & 0x80))
		return octal(field(t, 124, 12), ret);
	uint64_t v = p[0] & 0x7f;
	for (size_t i = 1; i < 12; i++) {
		if (v >> 55)
			return false;
		v = v << 8 | p[i];
	}
	*ret = v;
	return true;
}

static bool head_sum_good(const struct tar *t)
{
	uint64_t want, sum = 0;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : (unsigned char)t->head[i];
	return octal(field(t, 148, 8), &want) && sum == want;
}

static int tar_skip(struct tar *t, uint64_t n, struct err *e)
{
	char piece[16 << 10];
	while (n > 0) {
		size_t k = n < sizeof(piece) ? (size_t)n : sizeof(piece);
		if (istream_read_all(t->in, piece, k, e) < 0)
			return -1;
		n -= k;
	}
	return 0;
}

static uint64_t padding(uint64_t size)
{
	return (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK;
}

static int tar_content(struct tar *t, uint64_t size, struct buf *b, struct err *e)
{
	if (size > b->max)
		return err_new(e, ERR_LIMIT, "'%s': an entry of %llu bytes is too large", t->in->name,
			       (unsigned long long)size);
	buf_clear(b);
	buf_reserve(b, (size_t)size);
	if (istream_read_all(t->in, b->p, (size_t)size, e) < 0)
		return -1;
	b->n = (size_t)size;
	b->p[b->n] = '\0';
	return tar_skip(t, padding(size), e);
}

/* "LENGTH key=value\n" … */
static int read_pax(struct tar *t, uint64_t size, struct err *e)
{
	auto_buf b = BUF_INIT(PAX_MAX);
	if (tar_content(t, size, &b, e) < 0)
		return -1;
	for (struct str s = buf_str(&b); s.n > 0;) {
		struct str at = s, record;
		uint64_t n;
		if (!str_take_u64(&at, &n) || !str_take_char(&at, ' ') || n > s.n || n < s.n - at.n + 1)
			return err_new(e, ERR_INPUT, "'%s': bad pax header", t->in->name);
		record = str_of(at.p, n - (s.n - at.n) - 1);
		s = str_skip(s, n);
		if (str_take_str(&record, STR("path="))) {
			buf_clear(&t->name);
			buf_put_str(&t->name, record);
		} else if (str_take_str(&record, STR("size="))) {
			if (!str_to_u64(record, &t->size))
				return err_new(e, ERR_INPUT, "'%s': bad size in a pax header", t->in->name);
			t->has_size = true;
		}
	}
	return 0;
}

static void plain_name(struct tar *t)
{
	if (t->name.n > 0)
		return;
	struct str prefix = field(t, 345, 155);
	if (memcmp(t->head + 257, "ustar", 6) == 0 && prefix.n > 0) {
		buf_put_str(&t->name, prefix);
		buf_put_char(&t->name, '/');
	}
	buf_put_str(&t->name, field(t, 0, 100));
}

/* 1: the file was found and read; 0: another entry, passed over; 2: the end. */
static int tar_entry(struct tar *t, struct str pattern, struct buf *b, struct err *e)
{
	static const char zero[TAR_BLOCK];
	uint64_t size;
	if (istream_read_all(t->in, t->head, TAR_BLOCK, e) < 0)
		return -1;
	if (memcmp(t->head, zero, TAR_BLOCK) == 0)
		return 2;
	char type = t->head[156];
	if (!head_sum_good(t) || !entry_size(t, &size))
		return err_new(e, ERR_INPUT, "'%s': bad tar header", t->in->name);
	if (type == 'x')
		return read_pax(t, size, e);
	if (type == 'L') {
		if (size > NAME_MAX_BYTES)
			return err_new(e, ERR_LIMIT, "'%s': a name of %llu bytes", t->in->name,
				       (unsigned long long)size);
		if (tar_content(t, size, &t->name, e) < 0)
			return -1;
		buf_truncate(&t->name, strlen(t->name.p));
		return 0;
	}
	plain_name(t);
	struct str name = buf_str(&t->name);
	str_take_str(&name, STR("./"));
	bool found = (type == '0' || type == '\0') && (!pattern.p || str_glob_path(pattern, name));
	if (found && t->found) {
		buf_clear(t->found);
		buf_put_str(t->found, name);
	}
	buf_clear(&t->name);
	t->has_size = false;
	if (found)
		return tar_content(t, size, b, e) < 0 ? -1 : 1;
	/* links and folders have no content, whatever they say */
	bool empty = type >= '1' && type <= '6';
	return empty ? 0 : tar_skip(t, size + padding(size), e);
}

int package_tar_find(struct istream *in, struct str pattern, struct buf *b, struct err *e)
{
	auto_tar t = {.in = in, .name = BUF_INIT(PAX_MAX)};
	for (;;) {
		int rc = tar_entry(&t, pattern, b, e);
		if (rc != 0)
			return rc == 2 ? 0 : rc;
	}
}

int package_tar_each(struct istream *in, size_t max_bytes, package_tar_fn *fn, void *ctx, struct err *e)
{
	auto_buf name = BUF_INIT(PAX_MAX), content = BUF_INIT(max_bytes);
	auto_tar t = {.in = in, .name = BUF_INIT(PAX_MAX), .found = &name};
	for (;;) {
		int rc = tar_entry(&t, STR_NONE, &content, e);
		if (rc < 0 || rc == 2)
			return rc < 0 ? -1 : 0;
		/* other entries are passed over with 0 */
		if (rc == 1 && fn(ctx, buf_str(&name), buf_str(&content), e) < 0)
			return -1;
	}
}

/* -- packages ---------------------------------------------------------------------------------------------------- */

static int find_index_json(int fd, struct package_file *p, struct buf *b, struct err *e)
{
	struct istream *tar;
	if (p->is_conda) {
		struct zip_conda z;
		if (zip_conda_find(fd, p->path, &z, e) < 0)
			return -1;
		tar = istream_zstd(istream_range(fd, z.info, p->path));
	} else {
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (copy < 0)
			return err_sys(e, "read '%s'", p->path);
		if (lseek(copy, 0, SEEK_SET) < 0) {
			close(copy);
			return err_sys(e, "read '%s'", p->path);
		}
		tar = istream_bz2(istream_fd(copy, p->path));
	}
	auto_ptr(istream) s = tar;
	int rc = package_tar_find(s, STR("info/index.json"), b, e);
	if (rc == 0)
		return err_new(e, ERR_INPUT, "'%s' holds no info/index.json: it is not a conda package", p->path);
	return rc < 0 ? -1 : 0;
}

static int digests(int fd, struct package_file *p, struct err *e)
{
	auto_ptr(digest) sha = digest_new(DIGEST_SHA256);
	auto_ptr(digest) md5 = digest_new(DIGEST_MD5);
	char piece[64 << 10];
	p->size = 0;
	for (;;) {
		ssize_t n = pread(fd, piece, sizeof(piece), (off_t)p->size);
		if (n < 0)
			return err_sys(e, "read '%s'", p->path);
		if (n == 0)
			break;
		digest_update(sha, piece, (size_t)n);
		digest_update(md5, piece, (size_t)n);
		p->size += (uint64_t)n;
	}
	uint8_t out[DIGEST_MAX];
	digest_final(sha, out);
	memcpy(p->sha256, out, SHA256_SIZE);
	digest_final(md5, out);
	memcpy(p->md5, out, MD5_SIZE);
	return 0;
}

static int check_specs(const struct package_file *p, const char *key, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct json *list = NULL;
	enum spec_flags flags = p->is_v3 ? SPEC_DEPENDENCY | SPEC_V3 : SPEC_DEPENDENCY;
	if (json_opt_array(p->index, key, &list, e) < 0)
		return -1;
	for (uint32_t i = 0; list && i < list->n; i++) {
		if (list->item[i].type != JSON_STRING)
			return err_new(e, ERR_INPUT, "info/index.json: '%s' holds something that is not a text", key);
		if (!pkg_conda.spec_parse(&a, list->item[i].string, flags, e))
			return err_ctx(e, "info/index.json: '%s'", key);
	}
	return 0;
}

static int same(const char *what, struct str in_name, struct str in_index, struct err *e)
{
	if (str_eq(in_name, in_index))
		return 0;
	return err_new(e, ERR_INPUT, "its file name says %s '%.*s', its info/index.json '%.*s'", what, STR_ARG(in_name),
		       STR_ARG(in_index));
}

static int check_index(struct package_file *p, struct arena *a, struct err *e)
{
	struct str name, version, build;
	int64_t number, schema = 1, timestamp = 0;
	if (json_get_str(p->index, "name", &name, e) < 0 || json_get_str(p->index, "version", &version, e) < 0 ||
	    json_get_str(p->index, "build", &build, e) < 0 || json_get_int(p->index, "build_number", &number, e) < 0 ||
	    json_opt_int(p->index, "schema_version", &schema, e) < 0 ||
	    json_opt_int(p->index, "timestamp", &timestamp, e) < 0)
		return -1;
	if (same("name", p->name, name, e) < 0 || same("version", p->version, version, e) < 0 ||
	    same("build", p->build, build, e) < 0)
		return -1;
	if (number < 0 || number > UINT32_MAX)
		return err_new(e, ERR_INPUT, "info/index.json: 'build_number' is out of range");
	if (timestamp < 0 || timestamp >> 48) /* one such record, and nobody could read the channel */
		return err_new(e, ERR_INPUT, "info/index.json: 'timestamp' is out of range");
	p->is_v3 = schema >= 3;
	if (pkg_name_check(name, e) < 0 || pkg_build_check(build, e) < 0 || !pkg_conda.version_parse(a, version, e))
		return -1;
	return check_specs(p, "depends", e) < 0 ? -1 : check_specs(p, "constrains", e);
}

/* The folder that a file lies in. */
static struct str parent_name(struct str path)
{
	ptrdiff_t at = str_rfind(path, '/');
	if (at < 0)
		return STR_NONE;
	path = str_head(path, (size_t)at);
	at = str_rfind(path, '/');
	return str_skip(path, (size_t)(at + 1));
}

/* Old packages do not name their subdir, but that they are noarch; or they lie in a folder of its name. */
static int find_subdir(struct package_file *p, struct err *e)
{
	struct str subdir = STR_NONE;
	const struct json *noarch = json_get(p->index, "noarch");
	if (json_opt_str(p->index, "subdir", &subdir, e) < 0)
		return -1;
	if (subdir.n == 0 && noarch && noarch->type != JSON_NULL)
		subdir = STR("noarch");
	struct str parent = parent_name(str_c(p->path));
	if (subdir.n == 0 && channel_is_subdir(parent))
		subdir = parent;
	if (subdir.n == 0)
		return err_new(e, ERR_INPUT,
			       "info/index.json names no 'subdir'; put the file into a folder of that name, as "
			       "linux-64/%s",
			       p->fn.p);
	p->subdir = subdir;
	return pkg_subdir_check(subdir, e);
}

static int read_open(int fd, struct arena *a, struct package_file *p, struct err *e)
{
	auto_buf text = BUF_INIT(INDEX_JSON_MAX);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at it");
	if (!S_ISREG(st.st_mode))
		return err_new(e, ERR_USAGE, "it is not a file");
	if (find_index_json(fd, p, &text, e) < 0)
		return -1;
	struct str copy = arena_str(a, buf_str(&text));
	p->index = json_parse(a, copy, "info/index.json", e);
	if (!p->index || check_index(p, a, e) < 0 || find_subdir(p, e) < 0)
		return -1;
	return digests(fd, p, e);
}

int package_read(const char *path, struct arena *a, struct package_file *p, struct err *e)
{
	const char *slash = strrchr(path, '/');
	struct str ext;
	*p = (struct package_file){.path = path, .fn = arena_str(a, str_c(slash ? slash + 1 : path))};
	if (!pkg_filename_split(p->fn, &p->name, &p->version, &p->build, &ext))
		return err_new(e, ERR_USAGE, "'%s' is not named like a package: NAME-VERSION-BUILD.conda or .tar.bz2",
			       path);
	p->is_conda = str_eq(ext, STR("conda"));
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", path);
	return read_open(fd, a, p, e) < 0 ? err_ctx(e, "package '%s'", path) : 0;
}
