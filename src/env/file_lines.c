// SPDX-License-Identifier: Apache-2.0
/*
 * Plain text, one spec a line, and @EXPLICIT lists of URLs (CEP 23): `URL#md5` or `URL#sha256:hex`, in link order.
 */
#include <stdlib.h>
#include <unistd.h>

#include "base/url.h"
#include "env/files.h"

/* An epoch's '!' often stands as %21. */
static struct str unescape(struct file_builder *b, struct str s)
{
	auto_buf to = BUF_INIT(65536);
	while (s.n) {
		uint8_t byte;
		bool escaped = s.n >= 3 && s.p[0] == '%' && str_unhex(str_of(s.p + 1, 2), &byte, 1) && byte;
		buf_put_char(&to, escaped ? (char)byte : s.p[0]);
		s = str_skip(s, escaped ? 3 : 1);
	}
	return arena_str(b->arena, buf_str(&to));
}

/* The channel and subdir are the last two folders of the URL, .../CHANNEL/SUBDIR/FILE, where they look like it. */
static int split_url(struct file_builder *b, struct str url, unsigned line, struct pkg_record *r, struct err *e)
{
	struct str ext, head, last;
	ptrdiff_t slash = str_rfind(url, '/'), upper;
	r->url = url;
	r->fn = unescape(b, str_skip(url, (size_t)slash + 1));
	r->channel = head = str_head(url, (size_t)slash);
	upper = str_rfind(head, '/');
	last = str_skip(head, (size_t)upper + 1);
	if (upper > 0 && pkg_subdir_known(last)) {
		r->subdir = last;
		r->channel = str_head(head, (size_t)upper);
	}
	if (!pkg_filename_split(r->fn, &r->name, &r->version, &r->build, &ext))
		return err_new(e, ERR_INPUT,
			       "%s:%u: '%.*s' is not a package file (NAME-VERSION-BUILD.conda or .tar.bz2)", b->where,
			       line, STR_ARG(r->fn));
	if (pkg_name_check(r->name, e) < 0 || pkg_build_check(r->build, e) < 0)
		return err_ctx(e, "%s:%u", b->where, line);
	return file_check_version(b, r->version, line, e);
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

static bool is_word(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* CEP 23: a leading ~ and variables ($X, ${X}) become their values; what is not set stays as it is. */
static void expand(struct str s, struct buf *to)
{
	const char *home = getenv("HOME");
	if (home && (str_eq(s, STR("~")) || str_starts(s, STR("~/")))) {
		buf_put_c(to, home);
		s = str_skip(s, 1);
	}
	while (s.n) {
		size_t open = s.n > 1 && s.p[0] == '$' ? 1 + (s.p[1] == '{') : 0, n = open;
		while (open && n < s.n && is_word(s.p[n]))
			n++;
		bool whole = n > open && (open == 1 || (n < s.n && s.p[n] == '}'));
		auto_free char *name = str_dup(str_of(s.p + open, whole ? n - open : 0));
		const char *value = whole ? getenv(name) : NULL;
		size_t used = value ? n + (open == 2) : 1;
		buf_put_str(to, value ? str_c(value) : str_head(s, 1));
		s = str_skip(s, used);
	}
}

/* A path becomes a file:// URL; a relative one begins at the working directory. */
static int absolute_url(struct file_builder *b, struct str s, unsigned line, struct str *ret, struct err *e)
{
	auto_buf path = BUF_INIT(16384);
	auto_buf url = BUF_INIT(URL_MAX);
	expand(s, &path);
	struct str p = buf_str(&path);
	if (str_search(p, STR("://")) > 0) {
		*ret = arena_str(b->arena, p);
		return path.overflow ? err_new(e, ERR_LIMIT, "%s:%u: too long", b->where, line) : 0;
	}
	buf_put_c(&url, "file://");
	if (!str_starts(p, STR("/"))) {
		auto_free char *here = getcwd(NULL, 0);
		if (!here)
			return err_sys(e, "find the working directory");
		while (str_take_str(&p, STR("./")))
			;
		auto_free char *all = xasprintf("%s/%.*s", here, STR_ARG(p));
		buf_clear(&path);
		buf_put_c(&path, all);
		p = buf_str(&path);
	}
	url_put_path(&url, p);
	*ret = arena_str(b->arena, buf_str(&url));
	return path.overflow || url.overflow ? err_new(e, ERR_LIMIT, "%s:%u: too long", b->where, line) : 0;
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
	if (absolute_url(b, url, n, &url, e) < 0 || split_url(b, url, n, &p.record, e) < 0)
		return -1;
	if (digest.n && take_digest(b, digest, n, &p.record, e) < 0)
		return -1;
	p.requested_spec = str_c(arena_printf(b->arena, "%.*s=%.*s=%.*s", STR_ARG(p.record.name),
					      STR_ARG(p.record.version), STR_ARG(p.record.build)));
	if (!b->file->subdir.n && p.record.subdir.n && !str_eq(p.record.subdir, STR("noarch")))
		b->file->subdir = p.record.subdir;
	return file_add_package(b, &p, n, e);
}

/* The word counts wherever it stands. */
static bool is_explicit(struct str text)
{
	struct str line;
	while (str_take_line(&text, &line))
		if (str_eq(str_trim(line), STR("@EXPLICIT")))
			return true;
	return false;
}

int file_read_lines(struct file_builder *b, struct str text, struct err *e)
{
	struct str line;
	b->file->is_lock = b->file->is_url_list = is_explicit(text);
	for (unsigned n = 1; str_take_line(&text, &line); n++) {
		line = str_trim(line);
		if (!line.n || line.p[0] == '#')
			continue;
		if (line.n > 4096 || memchr(line.p, '\0', line.n))
			return err_new(e, ERR_INPUT, "%s:%u: not a text file of specs", b->where, n);
		if (str_eq(line, STR("@EXPLICIT")))
			continue;
		if (b->file->is_lock) {
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
