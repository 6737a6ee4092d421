// SPDX-License-Identifier: Apache-2.0
/* Pages of a project: read as HTML or JSON, written as both. What they mean is in doc/formats/pypi.md. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/map.h"
#include "base/url.h"
#include "base/vec.h"
#include "channel/pypi.h"
#include "channel/pypi_html.h"
#include "channel/staging.h"
#include "pkg/pkg.h"

enum { FILES_MAX = 1 << 20, HASHES_MAX = 16, URL_BYTES_MAX = 4000 };
VEC_TYPE(pypi_file_vec, struct pypi_file);

static void put_decoded(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c;
		if (s.p[i] == '%' && i + 2 < s.n && str_unhex(str_of(s.p + i + 1, 2), &c, 1)) {
			buf_put_char(b, (char)c);
			i += 2;
		} else {
			buf_put_char(b, s.p[i]);
		}
	}
}

static struct str decoded(struct arena *a, struct str s)
{
	auto_buf b = BUF_INIT(s.n);
	if (str_find(s, '%') < 0)
		return s;
	put_decoded(&b, s);
	return arena_str(a, buf_str(&b));
}

/* -- one file ------------------------------------------------------------------------------------------------------ */

struct reading {
	struct arena *a;
	struct str project, base;
	struct pypi_file_vec files;
	struct map seen; /* by file name: of one that comes twice the first counts, as clients take it */
	size_t left_out;
};

static bool is_hex(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= '0' && s.p[i] <= '9') || ((s.p[i] | 32) >= 'a' && (s.p[i] | 32) <= 'f')))
			return false;
	return s.n >= 8 && s.n <= 2 * DIGEST_MAX && s.n % 2 == 0;
}

static bool is_word(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || s.p[i] == '_' ||
		      s.p[i] == '-'))
			return false;
	return s.n > 0 && s.n <= 32;
}

/* "sha256=…" */
static bool read_hash(struct str s, struct pypi_hash *ret)
{
	ret->hex = s;
	return str_take_until(&ret->hex, '=', &ret->kind) && is_word(ret->kind) && is_hex(ret->hex);
}

/* Takes it, or leaves it out: what is not named like a file of the project, or has no URL, no client would look at. */
static void add_file(struct reading *r, struct pypi_file *f)
{
	struct pypi_filename name;
	struct err ignored = ERR_INIT;
	if (f->url.n == 0 || !pypi_filename_read(r->a, f->filename, r->project, &name) ||
	    map_get(&r->seen, f->filename)) {
		r->left_out++;
		return;
	}
	*map_put(&r->seen, f->filename) = 1;
	f->version = name.version;
	f->platform = name.form == PYPI_WHEEL ? name.platform : STR_NONE;
	f->order = f->version.n ? pep440_parse(r->a, f->version, &ignored) : NULL;
	vec_push(&r->files, *f);
}

/* -- HTML ---------------------------------------------------------------------------------------------------------- */

static struct str against_base(struct reading *r, struct str href)
{
	if (r->base.n == 0 || str_search(href, STR("://")) >= 0)
		return href;
	struct str folder = str_head(r->base, (size_t)(str_rfind(r->base, '/') + 1));
	if (str_search(r->base, STR("://")) >= 0)
		return channel_url_join(r->a, folder, href);
	return str_starts(href, STR("/")) ? href
					  : str_c(arena_printf(r->a, "%.*s%.*s", STR_ARG(folder), STR_ARG(href)));
}

static void split_fragment(struct reading *r, struct str fragment, struct pypi_file *f)
{
	struct pypi_hash *hash = arena_array(r->a, struct pypi_hash, HASHES_MAX);
	struct str part;
	while (fragment.n && f->hash_n < HASHES_MAX) {
		if (!str_take_until(&fragment, '&', &part)) {
			part = fragment;
			fragment = STR_NONE;
		}
		if (read_hash(part, &hash[f->hash_n]))
			f->hash_n++;
	}
	f->hash = hash;
}

static void read_anchor(struct reading *r, const struct html_tag *t)
{
	struct pypi_file f = {0};
	struct str href, value;
	if (!html_attribute(t, "href", &href))
		return;
	ptrdiff_t hash = str_find(href, '#');
	if (hash >= 0)
		split_fragment(r, str_skip(href, (size_t)hash + 1), &f);
	f.url = against_base(r, str_trim(hash < 0 ? href : str_head(href, (size_t)hash)));
	struct str path = f.url;
	ptrdiff_t query = str_find(path, '?');
	path = query < 0 ? path : str_head(path, (size_t)query);
	f.filename = decoded(r->a, str_skip(path, (size_t)(str_rfind(path, '/') + 1)));
	if (html_attribute(t, "data-requires-python", &value) && value.n)
		f.requires_python = value;
	f.yanked = html_attribute(t, "data-yanked", &f.yank_reason);
	if (html_attribute(t, "data-core-metadata", &value) || html_attribute(t, "data-dist-info-metadata", &value)) {
		f.has_metadata = !str_eq(value, STR("false"));
		if (!f.has_metadata || !read_hash(value, &f.metadata))
			f.metadata = (struct pypi_hash){0};
	}
	if (html_attribute(t, "data-gpg-sig", &value))
		f.gpg_sig = str_eq(value, STR("true")) ? PYPI_SIG_YES : PYPI_SIG_NO;
	if (!html_attribute(t, "data-provenance", &f.provenance))
		f.provenance = STR_NONE;
	add_file(r, &f);
}

/* PEP 629: another major version is not to be read. */
static int read_version(struct str s, const char *where, int64_t *minor, struct err *e)
{
	uint64_t major, n = 0;
	if (!str_take_u64(&s, &major) || (str_take_char(&s, '.') && !str_take_u64(&s, &n)) || n > 1000)
		return err_new(e, ERR_INPUT, "%s: its version is malformed", where);
	if (major != 1)
		return err_new(e, ERR_UNSUPPORTED, "%s: version %llu of the simple index is not known here", where,
			       (unsigned long long)major);
	*minor = (int64_t)n;
	return 0;
}

static int read_html(struct reading *r, struct str text, const char *where, struct pypi_page *ret, struct err *e)
{
	struct html h = {.text = text, .arena = r->a};
	struct html_tag t;
	struct str value, content;
	while (html_next(&h, &t)) {
		if (str_eq(t.name, STR("a")))
			read_anchor(r, &t);
		else if (str_eq(t.name, STR("base")) && r->base.n == 0 && html_attribute(&t, "href", &value))
			r->base = value;
		else if (str_eq(t.name, STR("meta")) && html_attribute(&t, "name", &value) &&
			 str_eq(value, STR("pypi:repository-version")) && html_attribute(&t, "content", &content) &&
			 read_version(content, where, &ret->minor, e) < 0)
			return -1;
		if (r->files.n > FILES_MAX)
			return err_new(e, ERR_LIMIT, "%s: more than %d files", where, FILES_MAX);
	}
	return 0;
}

/* -- JSON ---------------------------------------------------------------------------------------------------------- */

static void read_hashes(struct reading *r, const struct json *j, struct pypi_file *f)
{
	if (!j || j->type != JSON_OBJECT)
		return;
	struct pypi_hash *hash = arena_array(r->a, struct pypi_hash, HASHES_MAX);
	for (uint32_t i = 0; i < j->n && f->hash_n < HASHES_MAX; i++) {
		struct pypi_hash x = {.kind = j->member[i].key};
		if (j->member[i].value.type != JSON_STRING || !is_word(x.kind))
			continue;
		x.hex = j->member[i].value.string;
		if (is_hex(x.hex))
			hash[f->hash_n++] = x;
	}
	f->hash = hash;
}

static void read_metadata(struct reading *r, const struct json *file, struct pypi_file *f)
{
	static const char *const keys[] = {"core-metadata", "data-dist-info-metadata", "dist-info-metadata"};
	for (size_t i = 0; i < 3 && !f->has_metadata; i++) {
		const struct json *j = json_get(file, keys[i]);
		struct pypi_file x = {0};
		if (!j)
			continue;
		f->has_metadata = j->type == JSON_OBJECT || (j->type == JSON_BOOL && j->boolean);
		read_hashes(r, j, &x);
		for (size_t k = 0; k < x.hash_n; k++)
			if (k == 0 || str_eq(x.hash[k].kind, STR("sha256")))
				f->metadata = x.hash[k];
	}
}

static struct str text_of(const struct json *file, const char *key)
{
	const struct json *j = json_get(file, key);
	return j && j->type == JSON_STRING ? j->string : STR_NONE;
}

static void read_object(struct reading *r, const struct json *j)
{
	struct pypi_file f = {.json = j};
	if (j->type != JSON_OBJECT) {
		r->left_out++;
		return;
	}
	const struct json *yanked = json_get(j, "yanked"), *size = json_get(j, "size"), *sig = json_get(j, "gpg-sig");
	f.filename = text_of(j, "filename");
	f.url = text_of(j, "url");
	ptrdiff_t hash = str_find(f.url, '#');
	f.url = hash < 0 ? f.url : str_head(f.url, (size_t)hash);
	f.requires_python = text_of(j, "requires-python");
	f.upload_time = text_of(j, "upload-time");
	f.provenance = text_of(j, "provenance");
	read_hashes(r, json_get(j, "hashes"), &f);
	read_metadata(r, j, &f);
	if (yanked && yanked->type == JSON_STRING)
		f.yank_reason = yanked->string;
	/* "" is falsy to every client that reads JSON: not yanked */
	f.yanked = f.yank_reason.n > 0 || (yanked && yanked->type == JSON_BOOL && yanked->boolean);
	f.has_size = size && size->type == JSON_INT && size->integer >= 0;
	f.size = f.has_size ? (uint64_t)size->integer : 0;
	if (sig && sig->type == JSON_BOOL)
		f.gpg_sig = sig->boolean ? PYPI_SIG_YES : PYPI_SIG_NO;
	add_file(r, &f);
}

static int read_json_version(const struct json *top, const char *where, int64_t *minor, struct err *e)
{
	const struct json *meta = json_get(top, "meta");
	struct str version = meta ? text_of(meta, "api-version") : STR_NONE;
	return version.n ? read_version(version, where, minor, e) : 0;
}

static int read_json(struct reading *r, struct str text, const char *where, struct pypi_page *ret, struct err *e)
{
	const struct json *top = json_parse(r->a, arena_str(r->a, text), where, e), *files;
	if (!top || read_json_version(top, where, &ret->minor, e) < 0 || json_opt_array(top, "files", &files, e) < 0)
		return -1;
	if (top->type != JSON_OBJECT)
		return err_new(e, ERR_INPUT, "%s: it is no page of a simple index", where);
	if (files && files->n > FILES_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d files", where, FILES_MAX);
	ret->top = top;
	for (uint32_t i = 0; files && i < files->n; i++)
		read_object(r, &files->item[i]);
	return 0;
}

static bool is_json(struct str text)
{
	return str_starts(str_trim(text), STR("{"));
}

int pypi_page_read(struct arena *a, struct str name, struct str text, const char *where, struct pypi_page *ret,
		   struct err *e)
{
	struct reading r = {.a = a, .project = name};
	*ret = (struct pypi_page){.name = name};
	if (text.n > PYPI_PAGE_MAX)
		return err_new(e, ERR_LIMIT, "%s: more than %d MiB", where, PYPI_PAGE_MAX >> 20);
	int rc = is_json(text) ? read_json(&r, text, where, ret, e) : read_html(&r, arena_str(a, text), where, ret, e);
	vec_sort(&r.files, pypi_file_cmp);
	ret->file = vec_copy(&r.files, a);
	ret->n = r.files.n;
	ret->left_out = r.left_out;
	vec_release(&r.files);
	map_release(&r.seen);
	return rc;
}

int pypi_page_load(int dir, struct arena *a, struct str name, struct pypi_page *ret, struct err *e)
{
	static const char *const forms[] = {PYPI_JSON, PYPI_HTML};
	for (size_t i = 0; i < 2; i++) {
		auto_buf b = BUF_INIT(PYPI_PAGE_MAX);
		const char *path = arena_printf(a, "simple/%.*s/%s", STR_ARG(name), forms[i]);
		int rc = staging_read(dir, path, &b, e);
		if (rc != 0)
			return rc < 0 || pypi_page_read(a, name, buf_str(&b), path, ret, e) < 0 ? -1 : 1;
	}
	return 0;
}

/* -- writing ------------------------------------------------------------------------------------------------------- */

/* Sizes are a must from 1.1 on (PEP 700). */
static int64_t minor_of(const struct pypi_page *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (!p->file[i].has_size)
			return 0;
	return p->minor > 1 ? p->minor : 1;
}

static void put_metadata(struct jw *w, const char *key, const struct pypi_file *f)
{
	jw_key(w, key);
	if (!f->metadata.kind.n) {
		jw_bool(w, f->has_metadata);
		return;
	}
	jw_object(w);
	jw_key_str(w, f->metadata.kind);
	jw_str(w, f->metadata.hex);
	jw_object_end(w);
}

static bool is_known(struct str key, const char *const *known)
{
	for (; *known; known++)
		if (str_eq_c(key, *known))
			return true;
	return false;
}

static void put_others(struct jw *w, const struct json *j, const char *const *known)
{
	for (uint32_t i = 0; j && j->type == JSON_OBJECT && i < j->n; i++) {
		if (is_known(j->member[i].key, known))
			continue;
		jw_key_str(w, j->member[i].key);
		jw_value(w, &j->member[i].value);
	}
}

static void put_file(struct jw *w, const struct pypi_file *f)
{
	static const char *const known[] = {"core-metadata",
					    "data-dist-info-metadata",
					    "dist-info-metadata",
					    "filename",
					    "gpg-sig",
					    "hashes",
					    "provenance",
					    "requires-python",
					    "size",
					    "upload-time",
					    "url",
					    "yanked",
					    NULL};
	jw_object(w);
	put_metadata(w, "core-metadata", f);
	put_metadata(w, "data-dist-info-metadata", f);
	jw_kv_str(w, "filename", f->filename);
	if (f->gpg_sig != PYPI_SIG_UNTOLD)
		jw_kv_bool(w, "gpg-sig", f->gpg_sig == PYPI_SIG_YES);
	jw_key(w, "hashes");
	jw_object(w);
	for (size_t i = 0; i < f->hash_n; i++) {
		jw_key_str(w, f->hash[i].kind);
		jw_str(w, f->hash[i].hex);
	}
	jw_object_end(w);
	jw_kv_opt(w, "provenance", f->provenance);
	jw_key(w, "requires-python");
	if (f->requires_python.n)
		jw_str(w, f->requires_python);
	else
		jw_null(w);
	if (f->has_size)
		jw_kv_int(w, "size", (int64_t)f->size);
	jw_kv_opt(w, "upload-time", f->upload_time);
	jw_kv_str(w, "url", f->url);
	jw_key(w, "yanked");
	if (f->yanked && f->yank_reason.n)
		jw_str(w, f->yank_reason);
	else
		jw_bool(w, f->yanked);
	put_others(w, f->json, known);
	jw_object_end(w);
}

static void put_versions(struct jw *w, const struct pypi_page *p)
{
	struct str before = STR_NONE;
	jw_key(w, "versions");
	jw_array(w);
	for (size_t i = 0; i < p->n; i++) {
		auto_buf b = BUF_INIT(1 << 16);
		const struct pypi_file *f = &p->file[i];
		if (!f->order ||
		    (before.p && i && p->file[i - 1].order && pep440_cmp(p->file[i - 1].order, f->order) == 0))
			continue;
		before = f->version;
		pep440_format(f->order, &b);
		jw_str(w, buf_str(&b));
	}
	jw_array_end(w);
}

static void put_meta(struct jw *w, const struct json *top, int64_t minor)
{
	static const char *const known[] = {"api-version", NULL};
	auto_buf version = BUF_INIT(32);
	buf_printf(&version, "1.%lld", (long long)minor);
	jw_key(w, "meta");
	jw_object(w);
	jw_kv_str(w, "api-version", buf_str(&version));
	put_others(w, json_get(top, "meta"), known);
	jw_object_end(w);
}

void pypi_page_json(const struct pypi_page *p, struct buf *b)
{
	static const char *const known[] = {"files", "meta", "name", "versions", NULL};
	struct jw w = JW_INIT(b, 0);
	jw_object(&w);
	jw_key(&w, "files");
	jw_array(&w);
	for (size_t i = 0; i < p->n; i++)
		put_file(&w, &p->file[i]);
	jw_array_end(&w);
	put_meta(&w, p->top, minor_of(p));
	jw_kv_str(&w, "name", p->name);
	put_versions(&w, p);
	put_others(&w, p->top, known);
	jw_object_end(&w);
	buf_put_char(b, '\n');
}

static void put_attribute(struct buf *b, const char *name, struct str value)
{
	buf_printf(b, " %s=\"", name);
	html_put(b, value);
	buf_put_char(b, '"');
}

static void put_hash(struct buf *b, const struct pypi_file *f)
{
	const struct pypi_hash *best = f->hash_n ? &f->hash[0] : NULL;
	for (size_t i = 0; i < f->hash_n; i++)
		if (str_eq(f->hash[i].kind, STR("sha256")))
			best = &f->hash[i];
	if (best)
		buf_printf(b, "#%.*s=%.*s", STR_ARG(best->kind), STR_ARG(best->hex));
}

static void put_anchor(struct buf *b, const struct pypi_file *f)
{
	buf_put_c(b, "    <a href=\"");
	html_put(b, f->url);
	put_hash(b, f);
	buf_put_char(b, '"');
	if (f->requires_python.n)
		put_attribute(b, "data-requires-python", f->requires_python);
	if (f->has_metadata) {
		auto_buf value = BUF_INIT(1000);
		if (f->metadata.kind.n)
			buf_printf(&value, "%.*s=%.*s", STR_ARG(f->metadata.kind), STR_ARG(f->metadata.hex));
		else
			buf_put_c(&value, "true");
		put_attribute(b, "data-core-metadata", buf_str(&value));
		put_attribute(b, "data-dist-info-metadata", buf_str(&value));
	}
	if (f->gpg_sig != PYPI_SIG_UNTOLD)
		put_attribute(b, "data-gpg-sig", f->gpg_sig == PYPI_SIG_YES ? STR("true") : STR("false"));
	if (f->provenance.n)
		put_attribute(b, "data-provenance", f->provenance);
	if (f->yanked)
		put_attribute(b, "data-yanked", f->yank_reason);
	buf_put_char(b, '>');
	html_put(b, f->filename);
	buf_put_c(b, "</a><br>\n");
}

static void put_head(struct buf *b, int64_t minor, struct str title)
{
	buf_printf(b,
		   "<!DOCTYPE html>\n<html>\n  <head>\n"
		   "    <meta charset=\"utf-8\">\n"
		   "    <meta name=\"pypi:repository-version\" content=\"1.%lld\">\n    <title>",
		   (long long)minor);
	html_put(b, title);
	buf_put_c(b, "</title>\n  </head>\n  <body>\n");
}

void pypi_page_html(const struct pypi_page *p, struct buf *b)
{
	put_head(b, minor_of(p), p->name);
	for (size_t i = 0; i < p->n; i++)
		put_anchor(b, &p->file[i]);
	buf_put_c(b, "  </body>\n</html>\n");
}

/* -- places -------------------------------------------------------------------------------------------------------- */

/* The path of a reference that stands in simple/NAME/, below the root; false where it leads out of it, or to another name. */
static bool path_below(struct arena *a, struct str name, struct str filename, struct str ref, struct str *ret)
{
	auto_buf b = BUF_INIT(CHANNEL_PATH_MAX);
	struct str rest = ref, part;
	buf_printf(&b, "simple/%.*s", STR_ARG(name));
	for (bool more = true; more;) {
		more = str_take_until(&rest, '/', &part);
		if (!more)
			part = rest;
		if (str_eq(part, STR(".")) || part.n == 0)
			continue;
		if (str_eq(part, STR(".."))) {
			if (b.n == 0)
				return false;
			ptrdiff_t up = str_rfind(buf_str(&b), '/');
			buf_truncate(&b, up < 0 ? 0 : (size_t)up);
			continue;
		}
		if (b.n)
			buf_put_char(&b, '/');
		put_decoded(&b, part);
	}
	*ret = arena_str(a, buf_str(&b));
	return !b.overflow && channel_path_is_normal(*ret) && str_starts(*ret, STR("packages/")) &&
	       !str_ends(ref, STR("/")) && str_eq(str_skip(*ret, (size_t)(str_rfind(*ret, '/') + 1)), filename);
}

bool pypi_place(struct arena *a, const struct pypi_page *p, const struct pypi_file *f, struct str *ret_path,
		struct str *ret_url)
{
	ptrdiff_t colon = str_find(f->url, ':');
	bool absolute = str_search(f->url, STR("://")) >= 0;
	*ret_url = STR_NONE;
	if (f->url.n > URL_BYTES_MAX || str_starts(f->url, STR("//")))
		return false;
	for (size_t i = 0; i < f->url.n; i++)
		if ((unsigned char)f->url.p[i] <= ' ' || f->url.p[i] == 0x7f)
			return false;
	if (!absolute && colon >= 0 && (str_find(f->url, '/') < 0 || str_find(f->url, '/') > colon))
		return false; /* mailto: and the like */
	if (!absolute && !str_starts(f->url, STR("/")) && str_find(f->url, '?') < 0 &&
	    path_below(a, p->name, f->filename, f->url, ret_path))
		return true;
	*ret_path = str_c(arena_printf(a, "packages/%.*s/%.*s", STR_ARG(p->name), STR_ARG(f->filename)));
	if (!absolute && !str_starts(f->url, STR("/")))
		*ret_url = str_c(arena_printf(a, "simple/%.*s/%.*s", STR_ARG(p->name), STR_ARG(f->url)));
	else if (absolute && !str_starts(f->url, STR("https://")) && !str_starts(f->url, STR("http://")))
		return false;
	else
		*ret_url = f->url;
	return channel_path_is_normal(*ret_path);
}

/* 2026-11-21T04:41:44.123Z; 0 where it is none */
static int64_t read_time(struct str s)
{
	static const char stops[] = "--T::";
	struct clock_date d;
	int *const v[] = {&d.year, &d.month, &d.day, &d.hour, &d.minute, &d.second};
	int64_t ms;
	if (s.n < 20 || s.p[s.n - 1] != 'Z')
		return 0;
	for (size_t i = 0; i < 6; i++) {
		uint64_t n;
		if (!str_take_u64(&s, &n) || n > 9999 || (i < 5 && !str_take_char(&s, stops[i])))
			return 0;
		*v[i] = (int)n;
	}
	return d.year >= 1970 && clock_of_date(&d, &ms) ? ms : 0;
}

bool pypi_item(struct arena *a, const struct pypi_page *p, const struct pypi_file *f, struct channel_item *ret)
{
	*ret = (struct channel_item){
		.size = f->size,
		.digest = pypi_digest(f->hash, f->hash_n),
		.what = CHANNEL_FILE_PACKAGE,
		.name = p->name,
		.version = f->version,
		.platform = f->platform,
		.time_ms = read_time(f->upload_time),
		.withdrawn = !f->yanked		? STR("")
			     : f->yank_reason.n ? f->yank_reason
						: STR("yanked"),
	};
	return pypi_place(a, p, f, &ret->path, &ret->url);
}

bool pypi_metadata_item(struct arena *a, const struct pypi_file *f, const struct channel_item *file,
			struct channel_item *ret)
{
	if (!f->has_metadata)
		return false;
	*ret = (struct channel_item){.digest = pypi_digest(&f->metadata, 1), .what = CHANNEL_FILE_NAMED};
	ret->optional = !ret->digest.known;
	ret->path = str_c(arena_printf(a, "%.*s.metadata", STR_ARG(file->path)));
	if (file->url.n) {
		ptrdiff_t query = str_find(file->url, '?');
		struct str head = query < 0 ? file->url : str_head(file->url, (size_t)query);
		ret->url = str_c(
			arena_printf(a, "%.*s.metadata%.*s", STR_ARG(head), STR_ARG(str_skip(file->url, head.n))));
	}
	return channel_path_is_normal(ret->path);
}

void pypi_page_localize(struct arena *a, struct pypi_page *p)
{
	struct pypi_file *file = arena_array(a, struct pypi_file, p->n + 1);
	size_t n = 0;
	for (size_t i = 0; i < p->n; i++) {
		struct str path, url;
		if (!pypi_place(a, p, &p->file[i], &path, &url))
			continue;
		auto_buf b = BUF_INIT(4 * CHANNEL_PATH_MAX);
		buf_put_c(&b, "../../");
		url_put_path(&b, path);
		file[n] = p->file[i];
		file[n++].url = arena_str(a, buf_str(&b));
	}
	p->left_out += p->n - n;
	p->file = file;
	p->n = n;
}
