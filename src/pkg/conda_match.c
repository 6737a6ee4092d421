// SPDX-License-Identifier: Apache-2.0
/* A parsed MatchSpec against a record, and its canonical form (CEP 29, appendix A). */
#include <inttypes.h>
#include <stdio.h>

#include "pkg/conda_spec.h"

enum { NUMBER_CHARS = 24 };

/* -- record fields ------------------------------------------------------------------------------------------------- */
/* What a record says of a field, as text; false where it says nothing. */
static bool record_text(const struct pkg_record *r, enum spec_key key, struct str *ret)
{
	switch ((int)key) {
	case KEY_TRACK_FEATURES:
		*ret = r->track_features.p ? r->track_features : STR("");
		return true;
	case KEY_FEATURES:
		*ret = r->features.p ? r->features : STR("");
		return true;
	case KEY_URL:
		*ret = r->url;
		break;
	case KEY_FN:
		*ret = r->fn;
		break;
	case KEY_LICENSE:
		*ret = r->license;
		break;
	case KEY_LICENSE_FAMILY:
		*ret = r->license_family;
		break;
	case KEY_NOARCH:
		*ret = r->noarch;
		break;
	case KEY_SITE_PACKAGES:
		*ret = r->python_site_packages_path;
		break;
	default:
		return false;
	}
	return ret->n > 0;
}

static bool record_number(const struct pkg_record *r, enum spec_key key, uint64_t *ret)
{
	if (key == KEY_BUILD_NUMBER)
		*ret = r->build_number;
	else if (key == KEY_SIZE)
		*ret = r->size;
	else if (key == KEY_TIMESTAMP)
		*ret = r->timestamp_ms;
	else
		return false;
	return true;
}

static bool match_number(const struct spec_field *f, uint64_t n)
{
	char text[NUMBER_CHARS];
	switch ((int)f->op) {
	case VX_EQ:
		return n == f->number;
	case VX_NE:
		return n != f->number;
	case VX_LT:
		return n < f->number;
	case VX_LE:
		return n <= f->number;
	case VX_GT:
		return n > f->number;
	case VX_GE:
		return n >= f->number;
	default:
		return pattern_match(&f->pattern, str_of(text, (size_t)snprintf(text, sizeof(text), "%" PRIu64, n)));
	}
}

static bool match_digest(const struct spec_field *f, bool has, const uint8_t *digest, size_t n)
{
	char hex[2 * DIGEST_MAX + 1];
	if (!has)
		return false;
	hex_encode(digest, n, hex);
	return pattern_match(&f->pattern, str_of(hex, 2 * n));
}

/* Members that struct pkg_record does not have come from its extra_json. */
static bool match_extra(const struct spec_field *f, const struct pkg_record *r)
{
	struct str value, item;
	uint64_t n;
	if (!extra_member(r->extra_json, spec_key_names[f->key], &value))
		return false;
	if (str_to_u64(value, &n))
		return match_number(f, n);
	if (f->op != VX_TEXT)
		return false;
	while (extra_string(&value, &item))
		if (pattern_match(&f->pattern, item))
			return true;
	return false;
}

static bool take_feature(struct str *s, struct str *ret)
{
	while (s->n && (*s->p == ' ' || *s->p == ','))
		*s = str_skip(*s, 1);
	size_t n = 0;
	while (n < s->n && s->p[n] != ' ' && s->p[n] != ',')
		n++;
	*ret = str_head(*s, n);
	*s = str_skip(*s, n);
	return n > 0;
}

static bool has_feature(struct str list, struct str word)
{
	struct str w;
	while (take_feature(&list, &w))
		if (w.n == word.n && str_casecmp(w, word) == 0)
			return true;
	return false;
}

/* Two lists of features are equal as sets; a pattern is matched against the text. */
static bool match_features(const struct pattern *p, struct str text)
{
	struct str w, rest = p->text;
	if (p->kind != PATTERN_TEXT)
		return pattern_match(p, text);
	while (take_feature(&rest, &w))
		if (!has_feature(text, w))
			return false;
	while (take_feature(&text, &w))
		if (!has_feature(p->text, w))
			return false;
	return true;
}

static bool match_field(const struct spec_field *f, const struct pkg_record *r)
{
	struct str text;
	uint64_t n;
	if (record_number(r, f->key, &n))
		return match_number(f, n);
	if (f->key == KEY_MD5)
		return match_digest(f, r->has_md5, r->md5, MD5_SIZE);
	if (f->key == KEY_SHA256)
		return match_digest(f, r->has_sha256, r->sha256, SHA256_SIZE);
	if (f->key == KEY_ARCH || f->key == KEY_PLATFORM || f->key == KEY_INDEXED_TIMESTAMP || f->key == KEY_FLAGS)
		return match_extra(f, r);
	/* where a record was found may be unknown (one that is only described): that excludes nothing */
	if ((f->key == KEY_URL && !r->url.p) || (f->key == KEY_FN && !r->fn.p))
		return true;
	if (!record_text(r, f->key, &text))
		return false;
	if (f->key == KEY_TRACK_FEATURES || f->key == KEY_FEATURES)
		return match_features(&f->pattern, text);
	return pattern_match(&f->pattern, text);
}

/* A channel is named by its URL or by the end of its URL's path. */
static bool match_channel(const struct pattern *p, struct str channel)
{
	while (channel.n && channel.p[channel.n - 1] == '/')
		channel.n--;
	if (pattern_match(p, channel))
		return true;
	ptrdiff_t scheme = str_search(channel, STR("://"));
	if (scheme < 0 || (p->kind == PATTERN_TEXT && str_search(p->text, STR("://")) >= 0))
		return false;
	if (p->kind == PATTERN_TEXT && channel.n > p->text.n && channel.p[channel.n - p->text.n - 1] == '/')
		return str_casecmp(str_skip(channel, channel.n - p->text.n), p->text) == 0;
	struct str rest = str_skip(channel, (size_t)scheme + 3), part;
	return p->kind != PATTERN_TEXT && str_take_until(&rest, '/', &part) && pattern_match(p, rest);
}

/* -- matching ------------------------------------------------------------------------------------------------------ */
static bool conda_spec_match_version(const struct spec *s, const struct version *v, struct str text)
{
	return !s->version || vexpr_match(s->version, v, text);
}

static bool conda_spec_match_rest(const struct spec *s, const struct pkg_record *r)
{
	if (s->build.kind != PATTERN_ANY && !pattern_match(&s->build, r->build))
		return false;
	if (s->channel_pattern && r->channel.p && !match_channel(s->channel_pattern, r->channel))
		return false;
	if (s->subdir_pattern && r->subdir.p && !pattern_match(s->subdir_pattern, r->subdir))
		return false;
	for (const struct spec_field *f = s->fields; f; f = f->next)
		if (!match_field(f, r))
			return false;
	return true;
}

static bool conda_spec_is_version_only(const struct spec *s)
{
	return s->build.kind == PATTERN_ANY && !s->channel_pattern && !s->subdir_pattern && !s->fields;
}

bool spec_matches_name(const struct spec *s, struct str name)
{
	return pattern_match(&s->name_pattern, name);
}

static bool conda_spec_match(const struct spec *s, const struct pkg_record *r)
{
	if (!spec_matches_name(s, r->name) || !conda_spec_match_rest(s, r))
		return false;
	if (!s->version)
		return true;
	union version_key k;
	size_t at;
	return !version_read(r->version, 0, &k, &at) && vexpr_match(s->version, &k.v, r->version);
}

static bool loosely(const struct vexpr *x, const struct version *v, struct str text)
{
	bool want = x->op == VX_OR;
	switch ((int)x->op) {
	case VX_STARTS:
		return version_starts_loosely(v, x->prefix);
	case VX_COMPATIBLE:
		return version_compare(v, x->version) >= 0 && version_starts_loosely(v, x->prefix);
	case VX_AND:
	case VX_OR:
		for (const struct vexpr *c = x->first; c; c = c->next)
			if (loosely(c, v, text) == want)
				return want;
		return !want;
	default:
		return vexpr_match(x, v, text);
	}
}

bool spec_would_match_loosely(const struct spec *s, struct str version)
{
	union version_key k;
	size_t at;
	if (!s->version || version_read(version, 0, &k, &at) || vexpr_match(s->version, &k.v, version))
		return false;
	return loosely(s->version, &k.v, version);
}

/* -- canonical form ------------------------------------------------------------------------------------------------ */
struct keys {
	struct buf *b;
	bool open;
};

static bool needs_quotes(struct str v)
{
	for (size_t i = 0; i < v.n; i++)
		if ((unsigned char)v.p[i] <= ' ' || strchr(",='\"[]", v.p[i]))
			return true;
	return false;
}

/* What after a backslash would be read as more than itself; control characters are written as escapes. */
static bool begins_escape(char c)
{
	return (unsigned char)c < ' ' || (c >= '0' && c <= '7') || strchr("\\'\"abfnrtvxuU", c) != NULL;
}

/* A backslash is doubled only where it would begin an escape: so a regular expression stays readable. */
static void put_quoted(struct buf *b, struct str v)
{
	buf_put_char(b, '\'');
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i], next = i + 1 < v.n ? v.p[i + 1] : '\'';
		if (c == '\'' || (c == '\\' && begins_escape(next)))
			buf_put_char(b, '\\');
		if ((unsigned char)c < ' ')
			buf_printf(b, "\\x%02x", (unsigned)c);
		else
			buf_put_char(b, c);
	}
	buf_put_char(b, '\'');
}

static void put_text(struct buf *b, struct str v, bool lower)
{
	for (size_t i = 0; i < v.n; i++)
		buf_put_char(b, (char)(lower && v.p[i] >= 'A' && v.p[i] <= 'Z' ? v.p[i] | 0x20 : v.p[i]));
}

static void put_key(struct keys *k, const char *key)
{
	buf_put_c(k->b, k->open ? "," : "[");
	k->open = true;
	buf_put_c(k->b, key);
	buf_put_c(k->b, "=");
}

static void put_pair(struct keys *k, const char *key, struct str value, bool lower)
{
	auto_buf text = BUF_INIT(SPEC_TEXT_MAX);
	put_text(&text, value, lower && value.p[0] != '^');
	put_key(k, key);
	if (needs_quotes(buf_str(&text)))
		put_quoted(k->b, buf_str(&text));
	else
		buf_put_str(k->b, buf_str(&text));
}

static void put_list(struct keys *k, const char *key, const struct str *list, uint32_t n)
{
	put_key(k, key);
	buf_put_c(k->b, "[");
	for (uint32_t i = 0; i < n; i++) {
		buf_put_c(k->b, i ? "," : "");
		buf_put_str(k->b, list[i]);
	}
	buf_put_c(k->b, "]");
}

static void put_flags(struct keys *k, const struct spec *s)
{
	struct str list[SPEC_KEYS_MAX];
	uint32_t n = 0;
	for (const struct spec_field *f = s->fields; f && n < SPEC_KEYS_MAX; f = f->next)
		if (f->key == KEY_FLAGS)
			list[n++] = f->text;
	for (uint32_t i = 0; i < n / 2; i++) { /* they were put in front of each other */
		struct str t = list[i];
		list[i] = list[n - 1 - i];
		list[n - 1 - i] = t;
	}
	if (n)
		put_list(k, "flags", list, n);
}

static bool is_plain(const struct pattern *p)
{
	return p && p->kind == PATTERN_TEXT;
}

/* Whether a channel or subdir can stand before the name and be read back from there. */
static bool is_positional(const struct pattern *p)
{
	return is_plain(p) && !needs_quotes(p->text) && !memchr(p->text.p, '^', p->text.n) &&
	       !memchr(p->text.p, '#', p->text.n);
}

static bool is_build_string(const struct pattern *p)
{
	struct err ignored = ERR_INIT;
	return is_plain(p) && pkg_build_check(p->text, &ignored) == 0;
}

static void put_version_key(struct keys *k, const struct spec *s)
{
	if (s->version && s->version->op != VX_EQ && s->version->op != VX_STARTS)
		put_pair(k, "version", s->version_text, true);
}

static void put_fields(struct keys *k, const struct spec *s)
{
	for (int key = KEY_BUILD_NUMBER; key < KEY_EXTRAS; key++)
		for (const struct spec_field *f = s->fields; f; f = f->next)
			if ((int)f->key == key)
				put_pair(k, spec_key_names[key], f->text, key != KEY_URL && key != KEY_FN);
	if (s->extras_n)
		put_list(k, "extras", s->extras, s->extras_n);
	put_flags(k, s);
	if (s->when.n) {
		put_key(k, "when");
		put_quoted(k->b, s->when);
	}
}

static void conda_spec_format(const struct spec *s, struct buf *b)
{
	struct keys k = {.b = b};
	bool channel_first = is_positional(s->channel_pattern);
	bool subdir_first = channel_first && is_plain(s->subdir_pattern) && pkg_subdir_known(s->subdir);
	bool any_channel = !s->channel_pattern || s->channel_pattern->kind == PATTERN_ANY;
	bool exact = s->version && s->version->op == VX_EQ, fuzzy = s->version && s->version->op == VX_STARTS;
	bool has_build = s->build.kind != PATTERN_ANY, build_first = has_build && exact && is_build_string(&s->build);
	if (channel_first)
		buf_put_str(b, s->channel);
	if (subdir_first) {
		buf_put_c(b, "/");
		buf_put_str(b, s->subdir);
	}
	buf_put_c(b, channel_first ? "::" : "");
	put_text(b, s->name, false);
	if (exact || fuzzy) {
		buf_put_c(b, exact ? "==" : "=");
		put_text(b, s->version->literal, true);
	}
	if (build_first) {
		buf_put_c(b, "=");
		put_text(b, s->build_text, true);
	}
	if (!channel_first && !any_channel)
		put_pair(&k, "channel", s->channel, false);
	if (!subdir_first && s->subdir_pattern && s->subdir_pattern->kind != PATTERN_ANY)
		put_pair(&k, "subdir", s->subdir, true);
	put_version_key(&k, s);
	if (has_build && !build_first)
		put_pair(&k, "build", s->build_text, true);
	put_fields(&k, s);
	buf_put_c(b, k.open ? "]" : "");
}

/* -- what other modules ask ----------------------------------------------------------------------------------------- */
struct str spec_name(const struct spec *s)
{
	return s->name_pattern.kind == PATTERN_TEXT ? s->name : STR_NONE;
}

struct str spec_channel(const struct spec *s)
{
	return s->channel;
}

struct str spec_subdir(const struct spec *s)
{
	return s->subdir;
}

struct str spec_text(const struct spec *s)
{
	return s->text;
}

struct str spec_version_text(const struct spec *s)
{
	return s->version_text;
}

struct str spec_build_text(const struct spec *s)
{
	return s->build_text;
}

struct str spec_when(const struct spec *s)
{
	return s->when;
}

uint32_t spec_extras(const struct spec *s, const struct str **ret)
{
	*ret = s->extras;
	return s->extras_n;
}

const struct spec_condition *spec_condition(const struct spec *s)
{
	return s->condition;
}

bool spec_sha256(const struct spec *s, uint8_t ret[SHA256_SIZE])
{
	for (const struct spec_field *f = s->fields; f; f = f->next)
		if (f->key == KEY_SHA256 && f->pattern.kind == PATTERN_TEXT && str_unhex(f->text, ret, SHA256_SIZE))
			return true;
	return false;
}

const struct pkg_scheme pkg_conda = {
	.name = "conda",
	.version_parse = conda_version_parse,
	.version_cmp = version_compare,
	.spec_parse = conda_spec_parse,
	.spec_match = conda_spec_match,
	.spec_match_version = conda_spec_match_version,
	.spec_match_rest = conda_spec_match_rest,
	.spec_is_version_only = conda_spec_is_version_only,
	.spec_format = conda_spec_format,
};
