// SPDX-License-Identifier: Apache-2.0
/*
 * Plain text, one spec a line, and @EXPLICIT lists of URLs (CEP 23): `URL#md5` or `URL#sha256:hex`, in link order.
 */
#include "env/files.h"

/* The channel and subdir are the last two folders of the URL: .../CHANNEL/SUBDIR/FILE. */
static int split_url(struct file_builder *b, struct str url, unsigned line, struct pkg_record *r, struct err *e)
{
	struct str ext, head = url;
	ptrdiff_t slash = str_rfind(url, '/'), upper;
	if (slash <= 0)
		return err_new(e, ERR_INPUT, "%s:%u: '%.*s' is not a URL or path of a package", b->where, line,
			       STR_ARG(url));
	r->fn = str_skip(url, (size_t)slash + 1);
	head = str_head(url, (size_t)slash);
	upper = str_rfind(head, '/');
	if (upper > 0) {
		r->subdir = str_skip(head, (size_t)upper + 1);
		r->channel = str_head(head, (size_t)upper);
	}
	r->url = url;
	if (!pkg_filename_split(r->fn, &r->name, &r->version, &r->build, &ext))
		return err_new(e, ERR_INPUT,
			       "%s:%u: '%.*s' is not a package file (NAME-VERSION-BUILD.conda or .tar.bz2)", b->where,
			       line, STR_ARG(r->fn));
	return 0;
}

static int take_digest(struct file_builder *b, struct str text, unsigned line, struct pkg_record *r, struct err *e)
{
	if (str_take_str(&text, STR("sha256:")) || text.n == 2 * SHA256_SIZE)
		r->has_sha256 = str_unhex(text, r->sha256, SHA256_SIZE);
	else
		r->has_md5 = str_unhex(text, r->md5, MD5_SIZE);
	return r->has_sha256 || r->has_md5
		       ? 0
		       : err_new(e, ERR_INPUT, "%s:%u: '#%.*s' is neither an MD5 nor 'sha256:' and 64 digits", b->where,
				 line, STR_ARG(text));
}

static struct str absolute_url(struct file_builder *b, struct str s)
{
	if (str_search(s, STR("://")) >= 0)
		return arena_str(b->arena, s);
	return str_c(arena_printf(b->arena, "file://%.*s", STR_ARG(s)));
}

static int read_explicit(struct file_builder *b, struct str line, unsigned n, struct err *e)
{
	struct env_lock_package p = {.requested = true};
	struct str url = line, digest = STR_NONE;
	ptrdiff_t hash = str_rfind(line, '#');
	if (hash >= 0) {
		url = str_head(line, (size_t)hash);
		digest = str_skip(line, (size_t)hash + 1);
	}
	if (split_url(b, absolute_url(b, url), n, &p.record, e) < 0)
		return -1;
	if (digest.n && take_digest(b, digest, n, &p.record, e) < 0)
		return -1;
	p.requested_spec = str_c(arena_printf(b->arena, "%.*s=%.*s=%.*s", STR_ARG(p.record.name),
					      STR_ARG(p.record.version), STR_ARG(p.record.build)));
	if (!b->file->subdir.n && !str_eq(p.record.subdir, STR("noarch")))
		b->file->subdir = p.record.subdir;
	*vec_add(&b->packages) = p;
	return 0;
}

int file_read_lines(struct file_builder *b, struct str text, struct err *e)
{
	struct str line;
	for (unsigned n = 1; str_take_line(&text, &line); n++) {
		line = str_trim(line);
		if (!line.n || line.p[0] == '#')
			continue;
		if (line.n > 4096 || memchr(line.p, '\0', line.n))
			return err_new(e, ERR_INPUT, "%s:%u: not a text file of specs", b->where, n);
		if (str_eq(line, STR("@EXPLICIT"))) {
			b->file->is_lock = true;
		} else if (b->file->is_lock) {
			if (read_explicit(b, line, n, e) < 0)
				return -1;
		} else {
			vec_push(&b->specs, arena_str(b->arena, line));
		}
	}
	return 0;
}

void env_file_write_explicit(const struct env_spec_file *f, struct buf *b)
{
	char hex[SHA256_HEX_SIZE];
	buf_printf(b, "# platform: %.*s\n@EXPLICIT\n", STR_ARG(f->subdir));
	for (uint32_t i = 0; i < f->packages_n; i++) {
		const struct pkg_record *r = &f->packages[i].record;
		buf_put_str(b, r->url);
		if (r->has_sha256) {
			hex_encode(r->sha256, SHA256_SIZE, hex);
			buf_printf(b, "#sha256:%s", hex);
		} else if (r->has_md5) {
			hex_encode(r->md5, MD5_SIZE, hex);
			buf_printf(b, "#%s", hex);
		}
		buf_put_char(b, '\n');
	}
}
