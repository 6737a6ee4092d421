// SPDX-License-Identifier: Apache-2.0
/* What a wheel (PEP 427) or an sdist says of itself: the core metadata in METADATA or PKG-INFO. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/zip.h"
#include "channel/package.h"
#include "channel/pypi.h"
#include "pkg/pkg.h"

enum { METADATA_MAX = 16 << 20, FIELD_MAX = 4096 };

/* -- headers ------------------------------------------------------------------------------------------------------- */

static bool field_is_good(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return s.n <= FIELD_MAX;
}

/* One header; lines that continue it are of no interest: what is looked for stands on one. The first of a name counts. */
static int read_field(struct str line, struct str *name, struct str *version, struct str *python, struct err *e)
{
	struct str key;
	if (!str_take_until(&line, ':', &key))
		return 0;
	struct str *to = str_casecmp(key, STR("Name")) == 0		 ? name
			 : str_casecmp(key, STR("Version")) == 0	 ? version
			 : str_casecmp(key, STR("Requires-Python")) == 0 ? python
									 : NULL;
	line = str_trim(line);
	if (!to || to->p)
		return 0;
	if (!field_is_good(line))
		return err_new(e, ERR_INPUT, "its metadata: '%.*s' is malformed", STR_ARG(key));
	*to = line;
	return 0;
}

static int check_version(struct str told, struct str metadata, struct err *e)
{
	auto_arena a = ARENA_INIT;
	const struct pep440 *m = pep440_parse(&a, metadata, e);
	struct err ignored = ERR_INIT;
	if (!m)
		return err_ctx(e, "its metadata");
	const struct pep440 *f = pep440_parse(&a, told, &ignored);
	if (f && pep440_cmp(f, m) == 0)
		return 0;
	return err_new(e, ERR_INPUT, "its file name says version '%.*s', its metadata '%.*s'", STR_ARG(told),
		       STR_ARG(metadata));
}

static int read_headers(struct arena *a, struct str text, struct pypi_dist *d, struct err *e)
{
	struct str line, name = STR_NONE, version = STR_NONE;
	while (str_take_line(&text, &line) && line.n > 0)
		if (line.p[0] != ' ' && line.p[0] != '\t' &&
		    read_field(line, &name, &version, &d->requires_python, e) < 0)
			return -1;
	if (!name.n || !version.n)
		return err_new(e, ERR_INPUT, "its metadata name no project or no version");
	d->name = pypi_normal(a, name);
	if (!pypi_is_name(d->name))
		return err_new(e, ERR_INPUT, "its metadata: '%.*s' is no name of a project", STR_ARG(name));
	/* an older sdist's name is told apart from its version by what it says inside */
	if (!pypi_filename_read(a, d->filename, d->name, &d->parts))
		return err_new(e, ERR_INPUT, "its file name is not of '%.*s', which its metadata name", STR_ARG(name));
	return check_version(d->parts.version, version, e);
}

/* -- archives ------------------------------------------------------------------------------------------------------ */

static int read_stream(struct istream *in, struct buf *b, struct err *e)
{
	for (ssize_t n; (n = istream_read(in, b->p + b->n, b->cap - b->n, e)) != 0; b->n += (size_t)n) {
		if (n < 0)
			return -1;
		if (b->n + (size_t)n == b->cap)
			return err_new(e, ERR_LIMIT, "its metadata have more than %d MiB", METADATA_MAX >> 20);
	}
	b->p[b->n] = '\0';
	return 0;
}

static int read_zip(int fd, const char *path, struct str pattern, struct buf *b, struct err *e)
{
	struct zip_range r;
	int rc = zip_find(fd, path, pattern, &r, e);
	if (rc < 0)
		return -1;
	if (rc == 0)
		return err_new(e, ERR_INPUT, "it holds no %.*s", STR_ARG(pattern));
	buf_reserve(b, METADATA_MAX);
	auto_ptr(istream) in = istream_range(fd, r, path);
	return read_stream(in, b, e);
}

static int read_tar(int fd, const struct pypi_dist *d, struct buf *b, struct err *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return err_sys(e, "read it");
	struct str packed = str_ends(d->filename, STR(".tgz")) ? STR("x.gz") : d->filename;
	auto_ptr(istream) in = istream_unpack(istream_fd(copy, d->path), packed);
	int rc = package_tar_find(in, STR("*/PKG-INFO"), b, e);
	return rc > 0 ? 0 : rc < 0 ? -1 : err_new(e, ERR_INPUT, "it holds no PKG-INFO");
}

/* "numpy-1.0-py3-none-any.whl": its metadata are in numpy-1.0.dist-info, and in no other that is there too. */
static int read_metadata(int fd, struct arena *a, struct pypi_dist *d, struct err *e)
{
	auto_buf b = BUF_INIT(METADATA_MAX);
	int rc;
	if (d->parts.form == PYPI_WHEEL)
		rc = read_zip(fd, d->path, STR("*.dist-info/METADATA"), &b, e);
	else if (str_ends(d->filename, STR(".zip")))
		rc = read_zip(fd, d->path, STR("*/PKG-INFO"), &b, e);
	else
		rc = read_tar(fd, d, &b, e);
	if (rc < 0)
		return -1;
	struct str text = arena_str(a, buf_str(&b));
	if (d->parts.form == PYPI_WHEEL)
		d->metadata = text;
	return read_headers(a, text, d, e);
}

static int read_open(int fd, struct arena *a, struct pypi_dist *d, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, "look at it");
	if (!S_ISREG(st.st_mode))
		return err_new(e, ERR_USAGE, "it is not a file");
	d->size = (uint64_t)st.st_size;
	return read_metadata(fd, a, d, e) < 0 ? -1 : sha256_fd(fd, d->sha256, e);
}

int pypi_dist_read(const char *path, struct arena *a, struct pypi_dist *ret, struct err *e)
{
	const char *slash = strrchr(path, '/');
	*ret = (struct pypi_dist){.path = path, .filename = arena_str(a, str_c(slash ? slash + 1 : path))};
	if (!pypi_filename_read(a, ret->filename, STR_NONE, &ret->parts) || ret->parts.form == PYPI_OTHER)
		return err_new(e, ERR_USAGE,
			       "'%s' is not named like a Python package: NAME-VERSION-PYTHON-ABI-PLATFORM.whl or "
			       "NAME-VERSION.tar.gz",
			       path);
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, "open '%s'", path);
	return read_open(fd, a, ret, e) < 0 ? err_ctx(e, "package '%s'", path) : 0;
}
