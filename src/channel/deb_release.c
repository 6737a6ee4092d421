// SPDX-License-Identifier: Apache-2.0
/* Release and the index files that it names. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "channel/deb.h"
#include "channel/openpgp.h"

enum { ENTRIES_MAX = 1 << 20, SIGNATURE_MAX = 1 << 20 };

const char *const deb_packings[] = {"", ".zst", ".gz", ".xz", ".bz2", NULL};

void deb_release_release(struct deb_release *r)
{
	map_release(&r->by_path);
}

const struct deb_entry *deb_release_find(const struct deb_release *r, struct str path)
{
	const uint64_t *place = map_get(&r->by_path, path);
	return place ? &r->entry[*place - 1] : NULL;
}

/* One line of a section: "DIGEST SIZE PATH". What is no path inside is passed over: nobody asks for it. */
VEC_TYPE(entry_vec, struct deb_entry);

static int add_entry(struct entry_vec *v, struct map *by_path, struct str line, enum digest_kind kind, const char *what,
		     struct err *e)
{
	struct deb_entry x = {0};
	struct str hex, size;
	if (!str_take_word(&line, &hex))
		return 0;
	x.path = STR_NONE;
	if (!str_take_word(&line, &size) || !str_to_u64(size, &x.size) || !digest_parse(kind, hex, &x.digest) ||
	    !str_take_word(&line, &x.path))
		return err_new(e, ERR_INPUT, "'%s': '%.*s %.*s' is no digest, size and path", what,
			       (int)(hex.n < 80 ? hex.n : 80), hex.p, STR_ARG(str_head(line, 80)));
	(void)str_take_str(&x.path, STR("./"));
	if (!channel_path_is_normal(x.path))
		return 0;
	if (v->n >= ENTRIES_MAX)
		return err_new(e, ERR_LIMIT, "'%s' names more than %d files", what, ENTRIES_MAX);
	uint64_t *place = map_put(by_path, x.path);
	if (!*place) {
		vec_push(v, x);
		*place = v->n;
	} else if (v->v[*place - 1].digest.kind != DIGEST_SHA512) {
		v->v[*place - 1] = x;
	}
	return 0;
}

int deb_release_parse(struct arena *a, struct str text, const char *what, struct deb_release *ret, struct err *e)
{
	struct entry_vec v = {0};
	struct deb_field f;
	struct str left = text, line;
	int rc = 0;
	*ret = (struct deb_release){.text = text};
	while (rc == 0 && deb_take_field(&left, &f)) {
		enum digest_kind kind = deb_name_eq(f.name, STR("SHA512")) ? DIGEST_SHA512 : DIGEST_SHA256;
		ret->by_hash |= deb_name_eq(f.name, STR("Acquire-By-Hash")) && str_casecmp(f.value, STR("yes")) == 0;
		if (!deb_name_eq(f.name, STR("SHA512")) && !deb_name_eq(f.name, STR("SHA256")))
			continue;
		while (rc == 0 && str_take_line(&f.value, &line))
			rc = add_entry(&v, &ret->by_path, line, kind, what, e);
	}
	ret->n = v.n;
	ret->entry = vec_copy(&v, a);
	vec_release(&v);
	return rc;
}

char *deb_by_hash(struct arena *a, const struct deb_entry *entry)
{
	char hex[2 * DIGEST_MAX + 1];
	hex_encode(entry->digest.bytes, digest_size(entry->digest.kind), hex);
	ptrdiff_t slash = str_rfind(entry->path, '/');
	struct str dir = str_head(entry->path, (size_t)(slash + 1));
	return arena_printf(a, "%.*sby-hash/%s/%s", STR_ARG(dir),
			    entry->digest.kind == DIGEST_SHA512 ? "SHA512" : "SHA256", hex);
}

/* -- reading it ----------------------------------------------------------------------------------------------------- */

/* 1 read, 0 not there. */
static int read_file(int root_fd, const char *path, size_t max, struct arena *a, struct str *ret, struct err *e)
{
	auto_buf b = BUF_INIT(max);
	struct err cause = ERR_INIT;
	if (fs_read(root_fd, path, &b, &cause) < 0) {
		if (cause.code == ERR_NOT_FOUND)
			return 0;
		*e = cause;
		return -1;
	}
	*ret = arena_str(a, buf_str(&b));
	return 1;
}

static int read_signed(int root_fd, const char *path, const char *keyring, struct arena *a, struct str *ret,
		       struct err *e)
{
	struct str text;
	auto_buf plain = BUF_INIT(DEB_RELEASE_MAX);
	int rc = read_file(root_fd, path, DEB_RELEASE_MAX, a, &text, e);
	if (rc <= 0)
		return rc;
	if (openpgp_check_clear(keyring, text, path, &plain, e) < 0)
		return -1;
	*ret = arena_str(a, buf_str(&plain));
	return 1;
}

static int read_apart(int root_fd, const char *dir, const char *path, const char *keyring, struct arena *a,
		      struct str *ret, struct err *e)
{
	struct str signature;
	int rc = read_file(root_fd, path, DEB_RELEASE_MAX, a, ret, e);
	if (rc <= 0 || !keyring)
		return rc;
	rc = read_file(root_fd, arena_printf(a, "%sRelease.gpg", dir), SIGNATURE_MAX, a, &signature, e);
	if (rc == 0)
		return err_new(e, ERR_VERIFY, "'%s' is not signed: there is neither '%sInRelease' nor '%sRelease.gpg'",
			       path, dir, dir);
	return rc < 0 || openpgp_check_detached(keyring, *ret, signature, path, e) < 0 ? -1 : 1;
}

int deb_release_read(int root_fd, const char *dir, const char *keyring, struct arena *a, struct deb_release *ret,
		     struct err *e)
{
	struct str text;
	const char *path = arena_printf(a, "%sInRelease", dir);
	int rc = read_signed(root_fd, path, keyring, a, &text, e);
	bool in_one = rc > 0;
	if (rc == 0) {
		path = arena_printf(a, "%sRelease", dir);
		rc = read_apart(root_fd, dir, path, keyring, a, &text, e);
	}
	if (rc <= 0)
		return rc;
	if (deb_release_parse(a, text, path, ret, e) < 0)
		return -1;
	ret->signed_in_one = in_one;
	return 1;
}

/* -- the files that it names ---------------------------------------------------------------------------------------- */

static int digest_of(int fd, enum digest_kind kind, uint8_t out[DIGEST_MAX], const char *what, struct err *e)
{
	enum { PIECE = 256 << 10 };
	auto_ptr(digest) d = digest_new(kind);
	auto_free char *piece = xmalloc(PIECE);
	ssize_t n;
	off_t at = 0;
	while ((n = pread(fd, piece, PIECE, at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, "read '%s'", what);
		digest_update(d, piece, (size_t)n);
		at += n;
	}
	digest_final(d, out);
	return 0;
}

/* 1 with *ret_fd where the file is there and what it should be; 0 where it is not there; 2 where it is another. */
static int open_verified(int root_fd, const char *path, const struct deb_entry *x, int *ret_fd, struct err *e)
{
	uint8_t got[DIGEST_MAX];
	struct stat st;
	auto_fd fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, "open '%s'", path);
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at '%s'", path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != x->size)
		return 2;
	if (digest_of(fd, x->digest.kind, got, path, e) < 0)
		return -1;
	if (memcmp(got, x->digest.bytes, digest_size(x->digest.kind)) != 0)
		return 2;
	*ret_fd = steal_fd(&fd);
	return 1;
}

static int open_entry(int root_fd, const char *dir, const struct deb_entry *x, struct arena *a, int *ret_fd,
		      struct err *e)
{
	int rc = open_verified(root_fd, arena_printf(a, "%s%.*s", dir, STR_ARG(x->path)), x, ret_fd, e);
	if (rc == 0 || rc == 2) {
		int by_hash = open_verified(root_fd, arena_printf(a, "%s%s", dir, deb_by_hash(a, x)), x, ret_fd, e);
		rc = by_hash == 0 ? rc : by_hash;
	}
	return rc;
}

/* An unpacked index is as large as Release says, or at most a thousand times as large as it is packed. */
static uint64_t unpacked_max(const struct deb_release *r, struct str base, const struct deb_entry *packed)
{
	const struct deb_entry *plain = deb_release_find(r, base);
	uint64_t most = packed->size < UINT64_MAX / 1024 ? packed->size * 1024 : UINT64_MAX;
	return plain && plain->size < most ? plain->size : most;
}

struct named_stream {
	struct istream base;
	char name[];
};

static ssize_t named_read(struct istream *s, void *p, size_t n, struct err *e)
{
	return istream_read(s->inner, p, n, e);
}

static void named_free(struct istream *s)
{
	(void)s;
}

/* A stream that owns the name which the streams below it are told. */
static struct istream *named(int fd, struct str name, uint64_t max)
{
	static const struct istream_ops ops = {named_read, named_free};
	struct named_stream *s = xcalloc(1, sizeof(*s) + name.n + 1);
	memcpy(s->name, name.p, name.n);
	s->base = (struct istream){.ops = &ops, .name = s->name};
	s->base.inner = istream_limit(istream_unpack(istream_fd(fd, s->name), name), max);
	return &s->base;
}

int deb_index_open(int root_fd, const char *dir, const struct deb_release *r, struct str base, struct istream **ret,
		   struct err *e)
{
	auto_arena a = ARENA_INIT;
	const char *wrong = NULL, *missing = NULL;
	for (size_t i = 0; deb_packings[i]; i++) {
		int fd = -1;
		char *path = arena_printf(&a, "%.*s%s", STR_ARG(base), deb_packings[i]);
		const struct deb_entry *x = deb_release_find(r, str_c(path));
		int rc = x ? open_entry(root_fd, dir, x, &a, &fd, e) : 0;
		if (rc < 0)
			return -1;
		if (rc == 1) {
			*ret = named(fd, str_c(path), unpacked_max(r, base, x));
			return 1;
		}
		if (x && rc == 0)
			missing = path;
		if (x && rc == 2)
			wrong = path;
	}
	if (wrong)
		return err_new(e, ERR_VERIFY, "'%s%s' is not what Release says", dir, wrong);
	if (missing)
		return err_new(e, ERR_NOT_FOUND, "'%s%s', which Release names, is not there", dir, missing);
	return 0;
}
