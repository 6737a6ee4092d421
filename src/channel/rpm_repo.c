// SPDX-License-Identifier: Apache-2.0
#include "channel/rpm_repo.h"

#include <fcntl.h>

#include "base/fs.h"
#include "base/vec.h"
#include "channel/openpgp.h"
#include "channel/rpm_record.h"

/* -- what elements say --------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum digest_kind kind;
} digests[] = {
	{"sha256", DIGEST_SHA256},
	{"sha512", DIGEST_SHA512},
	{"sha1", DIGEST_SHA1},
	{"sha", DIGEST_SHA1},
};

/* False where the kind is known and the digest is none. */
static bool read_digest(struct str kind, struct str hex, struct digest_value *ret, bool *ret_unknown)
{
	*ret_unknown = true;
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
		if (!str_eq_c(kind, digests[i].name))
			continue;
		*ret_unknown = false;
		return digest_parse(digests[i].kind, hex, ret);
	}
	return true;
}

enum channel_file rpm_file(struct str path)
{
	struct str rest = path;
	if (str_starts(path, STR(".")) || str_search(path, STR("/.")) >= 0)
		return CHANNEL_FILE_NONE;
	if (str_eq_c(path, RPM_REPOMD) || str_eq_c(path, RPM_SIGNATURE) || str_eq_c(path, RPM_KEY))
		return CHANNEL_FILE_POINTER;
	if (str_take_str(&rest, STR("repodata/")))
		return str_find(rest, '/') < 0 ? CHANNEL_FILE_NAMED : CHANNEL_FILE_NONE;
	return str_ends(path, STR(".rpm")) ? CHANNEL_FILE_PACKAGE : CHANNEL_FILE_NONE;
}

/* <location>: a path inside, and with xml:base the URL where it lies. */
static int read_location(const char *const *attributes, enum channel_file kind, const char *what, struct arena *a,
			 struct str *ret_path, struct str *ret_url, struct err *e)
{
	struct str href = rpm_xml_attribute(attributes, "href"), base = rpm_xml_attribute(attributes, "xml:base");
	if (!channel_path_is_normal(href))
		return err_new(e, ERR_INPUT, "%s: the location '%.*s' is no path inside the repository", what,
			       STR_ARG(href));
	if (rpm_file(href) != kind)
		return err_new(e, ERR_INPUT, "%s: the location '%.*s' is no place for %s", what, STR_ARG(href),
			       kind == CHANNEL_FILE_PACKAGE ? "a package" : "metadata");
	*ret_path = arena_str(a, href);
	*ret_url = STR_NONE;
	if (base.n == 0)
		return 0;
	if (!str_starts(base, STR("https://")) && !str_starts(base, STR("http://")))
		return err_new(e, ERR_INPUT, "%s: the base '%.*s' is no https:// or http:// URL", what, STR_ARG(base));
	bool slash = str_ends(base, STR("/"));
	*ret_url = str_c(arena_printf(a, "%.*s%s%.*s", (int)base.n, base.p, slash ? "" : "/", (int)href.n, href.p));
	return 0;
}

static uint64_t number(struct str s)
{
	uint64_t n = 0;
	struct str whole = str_trim(s);
	(void)str_take_u64(&whole, &n); /* a fraction of a second may follow */
	return n;
}

#define RPM_NAMESPACE "http://linux.duke.edu/metadata/rpm"

static int read_namespaces(const char *const *attributes, const char *what, struct buf *ret, struct err *e)
{
	for (; ret && attributes[0]; attributes += 2) {
		if (strcmp(attributes[0], "xmlns:rpm") == 0) {
			if (strcmp(attributes[1], RPM_NAMESPACE) != 0)
				return err_new(e, ERR_UNSUPPORTED, "'%s': its prefix 'rpm' is not " RPM_NAMESPACE,
					       what);
		} else if (str_starts(str_c(attributes[0]), STR("xmlns:"))) {
			buf_printf(ret, " %s=\"", attributes[0]);
			rpm_xml_put(ret, str_c(attributes[1]), true);
			buf_put_char(ret, '"');
		}
	}
	return 0;
}

/* -- repomd.xml ---------------------------------------------------------------------------------------------------- */

struct repomd_reader {
	struct arena *arena;
	struct rpm_repomd *repomd;
	VEC(struct rpm_data) data;
	struct rpm_data now;
	struct str kind; /* of the digest that comes */
	bool located;
};

static int repomd_start(void *ctx, struct rpm_xml *x, struct str name, const char *const *attributes, struct err *e)
{
	struct repomd_reader *r = ctx;
	unsigned depth = rpm_xml_depth(x);
	if (depth == 1 && !str_eq(name, STR("repomd")))
		return err_new(e, ERR_INPUT, "'" RPM_REPOMD "' is none: its root is '%.*s'", STR_ARG(name));
	if (depth == 2) {
		r->now = (struct rpm_data){.type = arena_str(r->arena, rpm_xml_attribute(attributes, "type"))};
		r->located = false;
		if (str_eq(name, STR("revision")))
			rpm_xml_want_text(x);
	}
	if (depth != 3)
		return 0;
	if (str_eq(name, STR("checksum")))
		r->kind = arena_str(r->arena, rpm_xml_attribute(attributes, "type"));
	if (str_eq(name, STR("checksum")) || str_eq(name, STR("size")) || str_eq(name, STR("timestamp")))
		rpm_xml_want_text(x);
	if (str_eq(name, STR("location"))) {
		r->located = true;
		return read_location(attributes, CHANNEL_FILE_NAMED, "'" RPM_REPOMD "'", r->arena, &r->now.path,
				     &r->now.url, e);
	}
	return 0;
}

static int data_end(struct repomd_reader *r, struct rpm_xml *x, struct err *e)
{
	if (!r->located || r->now.type.n == 0)
		return err_new(e, ERR_INPUT, "'" RPM_REPOMD "' names data without type or location");
	if (r->data.n == RPM_DATA_MAX)
		return err_new(e, ERR_LIMIT, "'" RPM_REPOMD "' names more than %d files", RPM_DATA_MAX);
	r->now.raw = arena_str(r->arena, rpm_xml_raw(x));
	vec_push(&r->data, r->now);
	return 0;
}

static int repomd_end(void *ctx, struct rpm_xml *x, struct str name, struct err *e)
{
	struct repomd_reader *r = ctx;
	struct str text = str_trim(rpm_xml_text(x));
	unsigned depth = rpm_xml_depth(x);
	if (depth == 2 && str_eq(name, STR("data")))
		return data_end(r, x, e);
	if (depth == 2 && str_eq(name, STR("revision")))
		r->repomd->revision = number(text);
	if (depth == 2 && str_eq(name, STR("tags")))
		r->repomd->tags = arena_str(r->arena, rpm_xml_raw(x));
	if (depth != 3)
		return 0;
	if (str_eq(name, STR("size")))
		r->now.size = number(text);
	if (str_eq(name, STR("timestamp")))
		r->now.time_s = (int64_t)number(text);
	if (str_eq(name, STR("checksum"))) {
		bool unknown;
		if (!read_digest(r->kind, text, &r->now.digest, &unknown))
			return err_new(e, ERR_INPUT, "'" RPM_REPOMD "': '%.*s' is no %.*s digest", STR_ARG(text),
				       STR_ARG(r->kind));
		r->now.unknown = unknown ? r->kind : STR_NONE;
	}
	return 0;
}

static int check_signature(int folder_fd, const char *keyring, struct str text, struct rpm_repomd *r, struct err *e)
{
	struct err cause = ERR_INIT;
	auto_buf signature = BUF_INIT(RPM_SIGNATURE_MAX);
	int rc = fs_read(folder_fd, RPM_SIGNATURE, &signature, &cause);
	r->is_signed = rc == 0;
	if (!keyring)
		return 0;
	if (rc < 0 && cause.code == ERR_NOT_FOUND)
		return err_new(e, ERR_VERIFY,
			       "'" RPM_REPOMD "' is not signed: there is no '" RPM_SIGNATURE "', and a keyring is set");
	if (rc < 0) {
		*e = cause;
		return -1;
	}
	return openpgp_check_detached(keyring, text, buf_str(&signature), RPM_REPOMD, e);
}

int rpm_repomd_read(int folder_fd, const char *keyring, struct arena *a, struct rpm_repomd *ret, struct err *e)
{
	struct err cause = ERR_INIT;
	auto_buf text = BUF_INIT(RPM_REPOMD_MAX);
	*ret = (struct rpm_repomd){0};
	if (fs_read(folder_fd, RPM_REPOMD, &text, &cause) < 0) {
		if (cause.code == ERR_NOT_FOUND)
			return 0;
		*e = cause;
		return -1;
	}
	/* nothing of it is read before */
	if (check_signature(folder_fd, keyring, buf_str(&text), ret, e) < 0)
		return -1;
	struct repomd_reader r = {.arena = a, .repomd = ret};
	const struct rpm_xml_handler h = {repomd_start, repomd_end, &r};
	auto_ptr(istream) in = istream_mem(buf_str(&text), RPM_REPOMD);
	int rc = rpm_xml_read(in, &h, e);
	ret->data = vec_copy(&r.data, a);
	ret->n = r.data.n;
	vec_release(&r.data);
	return rc < 0 ? -1 : 1;
}

const struct rpm_data *rpm_repomd_find(const struct rpm_repomd *r, const char *type)
{
	for (size_t i = 0; i < r->n; i++)
		if (str_eq_c(r->data[i].type, type))
			return &r->data[i];
	return NULL;
}

/* -- a file that it names ------------------------------------------------------------------------------------------ */

static int check_data(int fd, const struct rpm_data *d, struct err *e)
{
	uint8_t got[DIGEST_MAX];
	struct stat st;
	auto_free char *piece = xmalloc(1 << 20);
	auto_ptr(digest) digest = digest_new(d->digest.kind);
	ssize_t n;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at '%s'", d->path.p);
	if (!S_ISREG(st.st_mode))
		return err_new(e, ERR_INPUT, "'%s' is no file", d->path.p);
	if (d->size && (uint64_t)st.st_size != d->size)
		return err_new(e, ERR_VERIFY, "'%s' has %lld bytes, " RPM_REPOMD " tells of %llu", d->path.p,
			       (long long)st.st_size, (unsigned long long)d->size);
	off_t at = 0;
	while ((n = pread(fd, piece, 1 << 20, at)) > 0) {
		digest_update(digest, piece, (size_t)n);
		at += n;
	}
	if (n < 0)
		return err_sys(e, "read '%s'", d->path.p);
	if (memcmp(got, d->digest.bytes, digest_final(digest, got)) != 0)
		return err_new(e, ERR_VERIFY, "'%s' is not what " RPM_REPOMD " tells of: its digest is another",
			       d->path.p);
	return 0;
}

int rpm_data_open(int folder_fd, const struct rpm_data *d, struct istream **ret, struct err *e)
{
	if (!d->digest.known)
		return d->unknown.n ? err_new(e, ERR_UNSUPPORTED,
					      "'%s': its digest is of kind '%.*s'; sha256, sha512 and sha1 are known",
					      d->path.p, STR_ARG(d->unknown))
				    : err_new(e, ERR_INPUT, "'%s' has no digest in " RPM_REPOMD, d->path.p);
	auto_fd fd = openat(folder_fd, d->path.p, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", d->path.p);
	if (check_data(fd, d, e) < 0)
		return -1;
	struct istream *file = istream_fd(steal_fd(&fd), d->path.p);
	*ret = istream_limit(d->packed ? file : istream_unpack(file, d->path), RPM_OPEN_MAX);
	return 0;
}

/* -- primary ------------------------------------------------------------------------------------------------------- */

struct primary_reader {
	rpm_package_fn *fn;
	void *ctx;
	struct buf *namespaces;
	struct arena arena; /* of one package */
	struct rpm_package now;
	const char *what;
	struct str kind;
	bool is_rpm;
};

/* What stands directly in a package. */
static int package_start(struct primary_reader *r, struct rpm_xml *x, struct str name, const char *const *attributes,
			 struct err *e)
{
	struct rpm_package *p = &r->now;
	if (str_eq(name, STR("name")) || str_eq(name, STR("arch"))) {
		rpm_xml_want_text(x);
	} else if (str_eq(name, STR("checksum"))) {
		r->kind = arena_str(&r->arena, rpm_xml_attribute(attributes, "type"));
		rpm_xml_want_text(x);
	} else if (str_eq(name, STR("version"))) {
		p->epoch = arena_str(&r->arena, rpm_xml_attribute(attributes, "epoch"));
		p->version = arena_str(&r->arena, rpm_xml_attribute(attributes, "ver"));
		p->release = arena_str(&r->arena, rpm_xml_attribute(attributes, "rel"));
	} else if (str_eq(name, STR("time"))) {
		p->mtime_s = (int64_t)number(rpm_xml_attribute(attributes, "file"));
		p->built_s = (int64_t)number(rpm_xml_attribute(attributes, "build"));
	} else if (str_eq(name, STR("size"))) {
		p->size = number(rpm_xml_attribute(attributes, "package"));
	} else if (str_eq(name, STR("location"))) {
		return read_location(attributes, CHANNEL_FILE_PACKAGE, r->what, &r->arena, &p->path, &p->url, e);
	}
	return 0;
}

static int primary_start(void *ctx, struct rpm_xml *x, struct str name, const char *const *attributes, struct err *e)
{
	struct primary_reader *r = ctx;
	unsigned depth = rpm_xml_depth(x);
	if (depth == 1 && !str_eq(name, STR("metadata")))
		return err_new(e, ERR_INPUT, "'%s' is no primary metadata: its root is '%.*s'", r->what, STR_ARG(name));
	if (depth == 1)
		return read_namespaces(attributes, r->what, r->namespaces, e);
	if (depth == 2) {
		arena_release(&r->arena);
		r->now = (struct rpm_package){0};
		r->is_rpm = str_eq(name, STR("package")) && str_eq(rpm_xml_attribute(attributes, "type"), STR("rpm"));
	}
	return depth == 3 && r->is_rpm ? package_start(r, x, name, attributes, e) : 0;
}

static int package_end(struct primary_reader *r, struct rpm_xml *x, struct err *e)
{
	struct rpm_package *p = &r->now;
	if (!p->name.n || !p->arch.n || !p->version.n || !p->path.n || !p->pkgid.n)
		return err_new(e, ERR_INPUT, "%s: the package '%.*s' lacks name, arch, version, checksum or location",
			       r->what, STR_ARG(p->name));
	p->raw = rpm_xml_raw(x);
	return r->fn(r->ctx, p, e);
}

static int primary_end(void *ctx, struct rpm_xml *x, struct str name, struct err *e)
{
	struct primary_reader *r = ctx;
	unsigned depth = rpm_xml_depth(x);
	if (depth == 2 && r->is_rpm)
		return package_end(r, x, e);
	if (depth != 3 || !r->is_rpm)
		return 0;
	if (str_eq(name, STR("name")))
		r->now.name = arena_str(&r->arena, str_trim(rpm_xml_text(x)));
	if (str_eq(name, STR("arch")))
		r->now.arch = arena_str(&r->arena, str_trim(rpm_xml_text(x)));
	if (str_eq(name, STR("checksum"))) {
		bool unknown;
		r->now.pkgid = arena_str(&r->arena, str_trim(rpm_xml_text(x)));
		if (r->now.pkgid.n > 2 * DIGEST_MAX || !read_digest(r->kind, r->now.pkgid, &r->now.digest, &unknown))
			return err_new(e, ERR_INPUT, "%s: '%.*s' is no %.*s digest", r->what, STR_ARG(r->now.pkgid),
				       STR_ARG(r->kind));
	}
	return 0;
}

int rpm_primary_read(struct istream *in, struct buf *namespaces, rpm_package_fn *fn, void *ctx, struct err *e)
{
	struct primary_reader r = {.fn = fn, .ctx = ctx, .what = in->name, .namespaces = namespaces};
	const struct rpm_xml_handler h = {primary_start, primary_end, &r};
	int rc = rpm_xml_read(in, &h, e);
	arena_release(&r.arena);
	return rc;
}

/* -- filelists and other ------------------------------------------------------------------------------------------- */

struct list_reader {
	rpm_list_fn *fn;
	void *ctx;
	const char *what, *root;
	struct buf *namespaces;
	struct buf pkgid;
	bool is_package;
};

static int list_start(void *ctx, struct rpm_xml *x, struct str name, const char *const *attributes, struct err *e)
{
	struct list_reader *r = ctx;
	unsigned depth = rpm_xml_depth(x);
	if (depth == 1 && !str_eq_c(name, r->root))
		return err_new(e, ERR_INPUT, "'%s': its root is '%.*s', not '%s'", r->what, STR_ARG(name), r->root);
	if (depth == 1)
		return read_namespaces(attributes, r->what, r->namespaces, e);
	if (depth == 2) {
		buf_clear(&r->pkgid);
		buf_put_str(&r->pkgid, rpm_xml_attribute(attributes, "pkgid"));
		r->is_package = str_eq(name, STR("package"));
	}
	return 0;
}

static int list_end(void *ctx, struct rpm_xml *x, struct str name, struct err *e)
{
	struct list_reader *r = ctx;
	(void)name;
	return rpm_xml_depth(x) == 2 && r->is_package ? r->fn(r->ctx, buf_str(&r->pkgid), rpm_xml_raw(x), e) : 0;
}

int rpm_list_read(struct istream *in, const char *root, struct buf *namespaces, rpm_list_fn *fn, void *ctx,
		  struct err *e)
{
	struct list_reader r = {
		.fn = fn, .ctx = ctx, .what = in->name, .root = root, .namespaces = namespaces, .pkgid = BUF_INIT(1024)};
	const struct rpm_xml_handler h = {list_start, list_end, &r};
	int rc = rpm_xml_read(in, &h, e);
	buf_release(&r.pkgid);
	return rc;
}
