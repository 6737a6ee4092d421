// SPDX-License-Identifier: Apache-2.0
#include "pkg/pkg.h"

static bool is_known(struct str key)
{
	static const char *const known[] = {
		"name",
		"version",
		"build",
		"build_number",
		"channel",
		"subdir",
		"fn",
		"url",
		"sha256",
		"md5",
		"size",
		"depends",
		"constrains",
		"license",
		"license_family",
		"noarch",
		"track_features",
		"features",
		"python_site_packages_path",
		"timestamp",
		"v3",
	};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_eq_c(key, known[i]))
			return true;
	return false;
}

/* Written anew: a channel's text may have line ends between its tokens, and say with an escape in a key ("n\u0061me")
 * what the record says already. */
void pkg_record_put_extra(struct jw *w, struct str extra, bool (*is_said)(struct str key))
{
	auto_arena a = ARENA_INIT;
	auto_buf text = BUF_INIT(BUF_MAX);
	struct err ignored = ERR_INIT;
	if (!extra.n)
		return;
	buf_put_char(&text, '{');
	buf_put_str(&text, extra);
	buf_put_char(&text, '}');
	const struct json *j = json_parse(&a, buf_str(&text), "record", &ignored);
	for (uint32_t i = 0; j && j->type == JSON_OBJECT && i < j->n; i++) {
		if (is_said(j->member[i].key))
			continue;
		jw_key_str(w, j->member[i].key);
		jw_value(w, &j->member[i].value);
	}
}

void pkg_record_write(struct jw *w, const struct pkg_record *r)
{
	jw_kv_str(w, "name", r->name);
	jw_kv_str(w, "version", r->version);
	jw_kv_str(w, "build", r->build);
	jw_kv_int(w, "build_number", (int64_t)r->build_number);
	jw_kv_opt(w, "channel", r->channel);
	jw_kv_opt(w, "subdir", r->subdir);
	jw_kv_opt(w, "fn", r->fn);
	jw_kv_opt(w, "url", r->url);
	if (r->has_sha256)
		jw_kv_hex(w, "sha256", r->sha256, SHA256_SIZE);
	if (r->has_md5)
		jw_kv_hex(w, "md5", r->md5, MD5_SIZE);
	if (r->size)
		jw_kv_int(w, "size", (int64_t)r->size);
	jw_kv_list(w, "depends", r->depends, r->depends_n);
	jw_kv_list(w, "constrains", r->constrains, r->constrains_n);
	jw_kv_opt(w, "license", r->license);
	jw_kv_opt(w, "license_family", r->license_family);
	jw_kv_opt(w, "noarch", r->noarch);
	jw_kv_opt(w, "track_features", r->track_features);
	jw_kv_opt(w, "features", r->features);
	jw_kv_opt(w, "python_site_packages_path", r->python_site_packages_path);
	if (r->timestamp_ms)
		jw_kv_int(w, "timestamp", (int64_t)r->timestamp_ms);
	if (r->is_v3)
		jw_kv_bool(w, "v3", true);
	pkg_record_put_extra(w, r->extra_json, is_known);
}

static int bad(const struct json *j, struct err *e, const char *key, const char *want)
{
	return err_new(e, ERR_INPUT, "%s: offset %zu: '%s' is not %s", j->where, j->offset, key, want);
}

static int get_text(const struct json *j, const char *key, struct str *ret, struct err *e)
{
	const struct json *v = json_get(j, key);
	if (!v || v->type == JSON_NULL || v->type == JSON_BOOL)
		return 0;
	if (v->type != JSON_STRING)
		return bad(v, e, key, "text");
	if (v->string.n > PKG_TEXT_MAX || memchr(v->string.p, '\0', v->string.n))
		return bad(v, e, key, "text of at most 64 KiB without NUL bytes");
	*ret = v->string;
	return 1;
}

static int get_count(const struct json *j, const char *key, uint64_t *ret, struct err *e)
{
	const struct json *v = json_get(j, key);
	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type == JSON_DOUBLE && v->number >= 0 && v->number < 9e15) {
		*ret = (uint64_t)v->number;
		return 1;
	}
	if (v->type != JSON_INT || v->integer < 0)
		return bad(v, e, key, "a number that is 0 or more");
	*ret = (uint64_t)v->integer;
	return 1;
}

static int get_list(struct arena *a, const struct json *j, const char *key, const struct str **ret, uint32_t *ret_n,
		    struct err *e)
{
	const struct json *v = json_get(j, key);
	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_ARRAY || v->n > PKG_DEPENDS_MAX)
		return bad(v, e, key, "a list of specs");
	struct str *list = arena_array(a, struct str, v->n);
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->item[i].type != JSON_STRING)
			return bad(&v->item[i], e, key, "a list of text");
		list[i] = v->item[i].string;
	}
	*ret = list;
	*ret_n = v->n;
	return 0;
}

static int get_digest(const struct json *j, const char *key, uint8_t *out, size_t n, bool *has, struct err *e)
{
	struct str hex = STR_NONE;
	int rc = get_text(j, key, &hex, e);
	if (rc <= 0)
		return rc;
	if (!hex.n)
		return 0;
	if (!str_unhex(hex, out, n))
		return bad(json_get(j, key), e, key, "a hexadecimal digest of the right length");
	*has = true;
	return 0;
}

/* track_features is a list in some channels, text in others: one text here. */
static int get_words(struct arena *a, const struct json *j, const char *key, struct str *ret, struct err *e)
{
	const struct json *v = json_get(j, key);
	if (!v || v->type != JSON_ARRAY)
		return get_text(j, key, ret, e);
	auto_buf b = BUF_INIT(PKG_TEXT_MAX);
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->item[i].type != JSON_STRING)
			return bad(&v->item[i], e, key, "a list of text");
		if (i)
			buf_put_char(&b, ' ');
		buf_put_str(&b, v->item[i].string);
	}
	if (b.overflow)
		return bad(v, e, key, "at most 64 KiB");
	*ret = arena_str(a, buf_str(&b));
	return 1;
}

/* `noarch: true` of old channels means generic. */
static void get_noarch(const struct json *j, struct pkg_record *r)
{
	const struct json *v = json_get(j, "noarch");
	if (v && v->type == JSON_BOOL && v->boolean)
		r->noarch = STR("generic");
}

static void get_extra(struct arena *a, const struct json *j, struct pkg_record *r)
{
	auto_buf b = BUF_INIT(BUF_MAX);
	struct jw w = JW_INIT(&b, 0);
	jw_object(&w);
	for (uint32_t i = 0; i < j->n; i++) {
		if (is_known(j->member[i].key))
			continue;
		jw_key_str(&w, j->member[i].key);
		jw_value(&w, &j->member[i].value);
	}
	if (b.n > 1)
		r->extra_json = arena_str(a, str_skip(buf_str(&b), 1));
}

/* A record without fn takes it from its url and the other way round. */
static int complete(struct arena *a, const struct json *j, struct pkg_record *r, struct err *e)
{
	if (!r->fn.n && r->url.n)
		r->fn = str_skip(r->url, (size_t)(str_rfind(r->url, '/') + 1));
	if (!r->fn.n)
		return 0; /* info/index.json has neither */
	if (memchr(r->fn.p, '/', r->fn.n) || r->fn.p[0] == '.')
		return err_new(e, ERR_INPUT, "%s: offset %zu: 'fn' is not a file name: '%.*s'", j->where, j->offset,
			       STR_ARG(r->fn));
	if (!r->url.n && r->channel.n && r->subdir.n)
		r->url = str_c(
			arena_printf(a, "%.*s/%.*s/%.*s", STR_ARG(r->channel), STR_ARG(r->subdir), STR_ARG(r->fn)));
	return 0;
}

static int get_identity(const struct json *j, struct pkg_record *r, struct err *e)
{
	if (json_get_str(j, "name", &r->name, e) < 0 || json_get_str(j, "version", &r->version, e) < 0 ||
	    json_get_str(j, "build", &r->build, e) < 0)
		return -1;
	if (!r->version.n || r->version.n > 256 || memchr(r->version.p, '/', r->version.n))
		return err_new(e, ERR_INPUT, "%s: offset %zu: '%.*s' is not a version", j->where, j->offset,
			       STR_ARG(r->version));
	return (!pkg_is_opam(r->name, NULL) && pkg_name_check(r->name, e) < 0) || pkg_build_check(r->build, e) < 0
		       ? err_ctx(e, "%s: offset %zu", j->where, j->offset)
		       : 0;
}

static int get_texts(struct arena *a, const struct json *j, struct pkg_record *r, struct err *e)
{
	const struct {
		const char *key;
		struct str *slot;
	} texts[] = {
		{"channel", &r->channel},
		{"subdir", &r->subdir},
		{"fn", &r->fn},
		{"url", &r->url},
		{"license", &r->license},
		{"license_family", &r->license_family},
		{"noarch", &r->noarch},
		{"features", &r->features},
		{"python_site_packages_path", &r->python_site_packages_path},
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (get_text(j, texts[i].key, texts[i].slot, e) < 0)
			return -1;
	get_noarch(j, r);
	return get_words(a, j, "track_features", &r->track_features, e) < 0 ? -1 : 0;
}

int pkg_record_read(struct arena *a, const struct json *j, struct pkg_record *ret, struct err *e)
{
	struct pkg_record r = {0};
	if (j->type != JSON_OBJECT)
		return err_new(e, ERR_INPUT, "%s: offset %zu: a package is not an object", j->where, j->offset);
	if (get_identity(j, &r, e) < 0 || get_texts(a, j, &r, e) < 0 ||
	    get_count(j, "build_number", &r.build_number, e) < 0 || get_count(j, "size", &r.size, e) < 0 ||
	    get_count(j, "timestamp", &r.timestamp_ms, e) < 0 ||
	    get_list(a, j, "depends", &r.depends, &r.depends_n, e) < 0 ||
	    get_list(a, j, "constrains", &r.constrains, &r.constrains_n, e) < 0 ||
	    get_digest(j, "sha256", r.sha256, SHA256_SIZE, &r.has_sha256, e) < 0 ||
	    get_digest(j, "md5", r.md5, MD5_SIZE, &r.has_md5, e) < 0 || complete(a, j, &r, e) < 0)
		return -1;
	const struct json *v3 = json_get(j, "v3");
	r.is_v3 = v3 && v3->type == JSON_BOOL && v3->boolean;
	get_extra(a, j, &r);
	*ret = r;
	return 0;
}

bool pkg_record_same(const struct pkg_record *x, const struct pkg_record *y)
{
	if (x->has_sha256 && y->has_sha256)
		return memcmp(x->sha256, y->sha256, SHA256_SIZE) == 0;
	return str_eq(x->name, y->name) && str_eq(x->version, y->version) && str_eq(x->build, y->build) &&
	       str_eq(x->subdir, y->subdir);
}
