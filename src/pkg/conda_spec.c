// SPDX-License-Identifier: Apache-2.0
/*
 * MatchSpec (CEP 29): from text to struct spec.
 *
 *	(channel(/subdir):(namespace):)name(version(build))([key=value,…])
 *
 * The text is copied into the arena first; all views point into that copy. The positional part is cut off at the '[' of the
 * keys, the channel at the last ':', the name at the first character that no name has. What is left is version and build.
 */
#include "pkg/conda_spec.h"

#include <stdio.h>

const char *const spec_key_names[KEY_COUNT] = {
	[KEY_NAME] = "name",
	[KEY_NAMESPACE] = "namespace",
	[KEY_CHANNEL] = "channel",
	[KEY_SUBDIR] = "subdir",
	[KEY_VERSION] = "version",
	[KEY_BUILD] = "build",
	[KEY_BUILD_NUMBER] = "build_number",
	[KEY_TRACK_FEATURES] = "track_features",
	[KEY_FEATURES] = "features",
	[KEY_URL] = "url",
	[KEY_MD5] = "md5",
	[KEY_SHA256] = "sha256",
	[KEY_LICENSE] = "license",
	[KEY_LICENSE_FAMILY] = "license_family",
	[KEY_FN] = "fn",
	[KEY_NOARCH] = "noarch",
	[KEY_SIZE] = "size",
	[KEY_TIMESTAMP] = "timestamp",
	[KEY_SITE_PACKAGES] = "python_site_packages_path",
	[KEY_ARCH] = "arch",
	[KEY_PLATFORM] = "platform",
	[KEY_INDEXED_TIMESTAMP] = "indexed_timestamp",
	[KEY_EXTRAS] = "extras",
	[KEY_FLAGS] = "flags",
	[KEY_WHEN] = "when",
};

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
	       c == '.' || c == '*';
}

/* `c` is one of the characters of `set`, and not NUL. */
static bool one_of(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

int spec_bad(const struct spec_reader *r, const char *at, const char *fmt, ...)
{
	char why[512], shown[128];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	bool inside = at && at >= r->text.p && at <= r->text.p + r->text.n;
	size_t column = (size_t)((inside ? at : r->value_at ? r->value_at : r->text.p) - r->text.p) + 1;
	size_t n = r->text.n < sizeof(shown) - 4 ? r->text.n : sizeof(shown) - 4;
	for (size_t i = 0; i < n; i++)
		shown[i] = r->text.p[i] >= ' ' && r->text.p[i] != 0x7f ? r->text.p[i] : '?';
	snprintf(shown + n, sizeof(shown) - n, "%s", n < r->text.n ? "..." : "");
	return err_new(r->e, ERR_INPUT, "spec '%s': column %zu: %s", shown, column, why);
}

/* -- keys in brackets --------------------------------------------------------------------------------------------- */
/* One value: a scalar, or a list of them. */
struct value {
	struct str text;
	const char *at;		/* where it stands in the spec */
	const struct str *list; /* flow sequence; else NULL */
	uint32_t list_n;
	bool quoted;
};

/* `digits` hex digits at p; -1 where they are not. */
static int64_t take_hex(const char *p, const char *end, int digits)
{
	int64_t v = 0;
	if (end - p < digits)
		return -1;
	for (int i = 0; i < digits; i++) {
		char c = p[i], l = (char)(c | 0x20);
		if (c >= '0' && c <= '9')
			v = v * 16 + (c - '0');
		else if (l >= 'a' && l <= 'f')
			v = v * 16 + (l - 'a' + 10);
		else
			return -1;
	}
	return v;
}

/* A numeric escape \xhh, \uhhhh, \Uhhhhhhhh; *p is at the letter. Bytes written, 0 where it is malformed. */
static size_t unescape_hex(const char **p, const char *end, char *out)
{
	int digits = **p == 'x' ? 2 : **p == 'u' ? 4 : 8;
	int64_t v = take_hex(*p + 1, end, digits);
	if (v <= 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0;
	*p += 1 + digits;
	return utf8_put(out, (uint32_t)v);
}

/* The escapes of a Python string literal; what is not one keeps its backslash, as there. */
static int unescape(struct spec_reader *r, struct str in, struct str *ret)
{
	static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
	char *out = arena_alloc(r->a, in.n + 1);
	size_t n = 0;
	const char *p = in.p, *end = in.p + in.n;
	while (p < end) {
		const char *f;
		if (*p != '\\' || p + 1 == end) {
			out[n++] = *p++;
			continue;
		}
		p++;
		if ((f = strchr(from, *p)) && *p) {
			out[n++] = to[f - from];
			p++;
		} else if (*p == 'x' || *p == 'u' || *p == 'U') {
			size_t k = unescape_hex(&p, end, out + n);
			if (k == 0)
				return spec_bad(r, p - 1, "malformed escape '\\%c'", *p);
			n += k;
		} else if (*p >= '0' && *p <= '7') {
			unsigned v = 0;
			for (int i = 0; i < 3 && p < end && *p >= '0' && *p <= '7'; i++)
				v = v * 8 + (unsigned)(*p++ - '0');
			if (v == 0 || v > 0x7f)
				return spec_bad(r, p - 1, "malformed escape");
			out[n++] = (char)v;
		} else {
			out[n++] = '\\';
			out[n++] = *p++;
		}
	}
	out[n] = '\0';
	*ret = str_of(out, n);
	return 0;
}

const char *spec_skip_quoted(const char *p, const char *end)
{
	char q = *p;
	size_t width = end - p >= 3 && p[1] == q && p[2] == q ? 3 : 1;
	for (p += width; p < end; p++) {
		if (*p == '\\' && p + 1 < end)
			p++;
		else if (*p == q && (width == 1 || (end - p >= 3 && p[1] == q && p[2] == q)))
			return p + width;
	}
	return NULL;
}

/* A Python string literal, with r'' and triple quotes; s is at its first character. */
static int read_quoted(struct spec_reader *r, struct scan *s, struct str *ret)
{
	bool raw = *s->p == 'r' || *s->p == 'R';
	const char *open = s->p + raw, *after = spec_skip_quoted(open, s->end);
	if (!after)
		return spec_bad(r, s->p, "quote without its end");
	size_t width = after - open >= 6 && open[1] == *open && open[2] == *open ? 3 : 1;
	s->p = after;
	*ret = str_of(open + width, (size_t)(after - open) - 2 * width);
	return !raw && memchr(ret->p, '\\', ret->n) ? unescape(r, *ret, ret) : 0;
}

static bool at_quote(const struct scan *s)
{
	char c = *s->p, d = s->p + 1 < s->end ? s->p[1] : '\0';
	return c == '\'' || c == '"' || ((c == 'r' || c == 'R') && (d == '\'' || d == '"'));
}

/* A value without quotes ends at a space, a comma or a bracket. */
static int read_bare(struct spec_reader *r, struct scan *s, const char *stops, struct str *ret)
{
	const char *from = s->p;
	while (s->p < s->end && !spec_is_space(*s->p) && !one_of(*s->p, stops)) {
		if (one_of(*s->p, "=[]'\"") && spec_strict(r))
			return spec_bad(r, s->p, "a value with '%c' must be quoted, such as version='>=1.8,<2'", *s->p);
		s->p++;
	}
	*ret = str_of(from, (size_t)(s->p - from));
	return ret->n ? 0 : spec_bad(r, from, "expected a value after '='");
}

/* "[a, 'b', c]" as YAML writes a list on one line. */
static int read_list(struct spec_reader *r, struct scan *s, struct value *v)
{
	struct str items[SPEC_KEYS_MAX];
	uint32_t n = 0;
	const char *open = s->p++;
	while (scan_peek(s) != ']') {
		if (s->p >= s->end)
			return spec_bad(r, open, "'[' without ']'");
		if (n == SPEC_KEYS_MAX)
			return spec_bad(r, s->p, "more than %d values", SPEC_KEYS_MAX);
		int rc = at_quote(s) ? read_quoted(r, s, &items[n]) : read_bare(r, s, ",]", &items[n]);
		if (rc < 0)
			return -1;
		items[n] = str_trim(items[n]);
		n++;
		if (scan_peek(s) == ',')
			s->p++;
		else if (s->p < s->end && *s->p != ']')
			return spec_bad(r, s->p, "expected ',' or ']' in the list");
	}
	s->p++;
	struct str *list = arena_array(r->a, struct str, n + 1u);
	memcpy(list, items, n * sizeof(*list));
	v->list = list;
	v->list_n = n;
	v->text = str_of(open, (size_t)(s->p - open));
	return 0;
}

static int read_value(struct spec_reader *r, struct scan *s, struct value *v)
{
	char c = scan_peek(s);
	*v = (struct value){.at = s->p};
	if (s->p >= s->end)
		return spec_bad(r, s->p, "expected a value after '='");
	if (c == '[')
		return read_list(r, s, v);
	if (at_quote(s)) {
		v->quoted = true;
		if (read_quoted(r, s, &v->text) < 0)
			return -1;
	} else if (read_bare(r, s, ",", &v->text) < 0) {
		return -1;
	}
	v->text = str_trim(v->text);
	return v->text.n ? 0 : spec_bad(r, v->at, "empty value");
}

/* -- values of keys ------------------------------------------------------------------------------------------------ */
static int read_pattern(struct spec_reader *r, struct str text, const char *at, struct pattern *ret)
{
	size_t offset;
	const char *fault = pattern_read(r->a, text, ret, &offset);
	if (!fault)
		return 0;
	bool inside = text.p >= r->text.p && text.p <= r->text.p + r->text.n;
	return spec_bad(r, inside ? text.p + offset : at, "%s '%.*s'", fault, STR_ARG(text));
}

/* ">=3" and its like for whole numbers; anything else is matched as text. */
static bool read_comparison(struct str text, struct spec_field *f)
{
	static const struct {
		struct str text;
		enum vexpr_op op;
	} operators[] = {
		{STR(">="), VX_GE}, {STR("<="), VX_LE}, {STR("=="), VX_EQ}, {STR("!="), VX_NE},
		{STR(">"), VX_GT},  {STR("<"), VX_LT},	{STR("="), VX_EQ},  {STR(""), VX_EQ},
	};
	for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++) {
		struct str rest = text;
		if (!str_take_str(&rest, operators[i].text))
			continue;
		f->op = operators[i].op;
		return str_to_u64(str_trim(rest), &f->number);
	}
	return false;
}

static bool is_number_key(enum spec_key k)
{
	return k == KEY_BUILD_NUMBER || k == KEY_SIZE || k == KEY_TIMESTAMP || k == KEY_INDEXED_TIMESTAMP;
}

static int check_digest(struct spec_reader *r, const struct value *v, size_t size, const char *what)
{
	uint8_t out[SHA256_SIZE];
	if (memchr(v->text.p, '*', v->text.n) || v->text.p[0] == '^' || str_unhex(v->text, out, size))
		return 0;
	return spec_bad(r, v->at, "%s is not %zu hex digits", what, 2 * size);
}

static int add_field(struct spec_reader *r, struct spec *s, enum spec_key key, const struct value *v, struct str text)
{
	struct spec_field *f = arena_new(r->a, struct spec_field);
	*f = (struct spec_field){.key = key, .op = VX_TEXT, .text = text, .next = s->fields};
	if (key == KEY_MD5 && check_digest(r, v, MD5_SIZE, "md5") < 0)
		return -1;
	if (key == KEY_SHA256 && check_digest(r, v, SHA256_SIZE, "sha256") < 0)
		return -1;
	if (!is_number_key(key) || !read_comparison(text, f)) {
		f->op = VX_TEXT;
		if (is_number_key(key) && spec_strict(r) && !one_of(text.p[0], "^*0123456789"))
			return spec_bad(r, v->at, "%s is neither a number nor a comparison such as '>=1'",
					spec_key_names[key]);
		if (read_pattern(r, text, v->at, &f->pattern) < 0)
			return -1;
	}
	s->fields = f;
	return 0;
}

static bool is_extra_name(struct str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') || one_of(s.p[i], "_.+-")))
			return false;
	return s.n > 0 && s.n <= 64;
}

static bool is_flag_pattern(struct str s)
{
	size_t colons = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ':' && i > 0 && i + 1 < s.n && colons == 0)
			colons++;
		else if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') ||
			   one_of(s.p[i], "_*")))
			return false;
	}
	return s.n > 0;
}

/* The value as a list, whichever way it was written. "a,b" in quotes is not two names. */
static const struct str *as_list(struct spec_reader *r, const struct value *v, uint32_t *n)
{
	if (v->list) {
		*n = v->list_n;
		return v->list;
	}
	struct str *one = arena_new(r->a, struct str);
	*one = v->text;
	*n = 1;
	return one;
}

static int set_extras(struct spec_reader *r, struct spec *s, const struct value *v)
{
	s->extras = as_list(r, v, &s->extras_n);
	for (uint32_t i = 0; i < s->extras_n; i++)
		if (!is_extra_name(s->extras[i]))
			return spec_bad(
				r, v->at,
				"'%.*s' is not the name of a group of extras (a-z, 0-9, '_', '.', '+', '-'; several: [a, b])",
				STR_ARG(s->extras[i]));
	return 0;
}

static int set_flags(struct spec_reader *r, struct spec *s, const struct value *v)
{
	uint32_t n;
	const struct str *list = as_list(r, v, &n);
	for (uint32_t i = 0; i < n; i++) {
		if (!is_flag_pattern(list[i]))
			return spec_bad(r, v->at, "'%.*s' is not a flag (a-z, 0-9, '_', one ':', '*'; several: [a, b])",
					STR_ARG(list[i]));
		if (add_field(r, s, KEY_FLAGS, v, list[i]) < 0)
			return -1;
	}
	return 0;
}

static int set_when(struct spec_reader *r, struct spec *s, const struct value *v)
{
	if (r->in_condition)
		return spec_bad(r, v->at, "'when' inside a 'when'");
	s->when = v->text;
	return spec_read_condition(r, v->text, &s->condition);
}

static int set_channel(struct spec_reader *r, struct spec *s, struct str text, const char *at)
{
	struct str subdir = STR_NONE;
	for (;;) {
		while (text.n > 1 && text.p[text.n - 1] == '/')
			text.n--;
		ptrdiff_t slash = str_rfind(text, '/');
		struct str last = str_skip(text, (size_t)(slash + 1));
		if (slash <= 0 || !pkg_subdir_known(last))
			break;
		/* all that follow each other are taken off, so that what is written reads back */
		subdir = subdir.n ? subdir : last;
		text = str_head(text, (size_t)slash);
	}
	if (subdir.n)
		s->subdir = subdir;
	s->channel = text;
	struct pattern *p = arena_new(r->a, struct pattern);
	if (read_pattern(r, text, at, p) < 0)
		return -1;
	s->channel_pattern = p;
	return 0;
}

static int set_build(struct spec_reader *r, struct spec *s, struct str text, const char *at)
{
	if (spec_strict(r) && one_of(text.p[0], "<>=!~"))
		return spec_bad(
			r, at,
			"'%.*s' stands where a build string is expected; conditions are joined with ',' (and) or '|' (or)",
			STR_ARG(text));
	const char *stops = spec_strict(r) ? "<>=!~,|()[];: \t" : "[]()";
	for (size_t i = 0; text.p[0] != '^' && i < text.n; i++)
		if (one_of(text.p[i], stops))
			return spec_bad(r, at, "'%.*s' is not a build string", STR_ARG(text));
	s->build_text = text;
	return read_pattern(r, text, at, &s->build);
}

/* -- the keys ------------------------------------------------------------------------------------------------------ */
/* Edit distance, at most 3. */
static unsigned distance(struct str a, const char *b)
{
	size_t bn = strlen(b);
	unsigned row[32];
	if (a.n > 30 || bn > 30)
		return 3;
	for (size_t j = 0; j <= bn; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= bn; j++) {
			unsigned best = diagonal + (a.p[i - 1] != b[j - 1]);
			diagonal = row[j];
			if (diagonal + 1 < best)
				best = diagonal + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[bn] < 3 ? row[bn] : 3;
}

static int unknown_key(struct spec_reader *r, struct str key)
{
	const char *near = NULL;
	unsigned best = 3;
	for (int k = 0; k < KEY_COUNT; k++)
		if (distance(key, spec_key_names[k]) < best) {
			best = distance(key, spec_key_names[k]);
			near = spec_key_names[k];
		}
	if (near)
		return spec_bad(r, key.p, "unknown key '%.*s'; did you mean '%s'", STR_ARG(key), near);
	return spec_bad(
		r, key.p,
		"unknown key '%.*s'; known are version, build, build_number, channel, subdir, md5, sha256, url, fn, "
		"license, track_features, extras, flags, when and a few more",
		STR_ARG(key));
}

/* Spaces mean nothing in a version, but in a regular expression. */
static struct str without_spaces(struct arena *a, struct str s)
{
	size_t i = 0, n = 0;
	while (i < s.n && !spec_is_space(s.p[i]))
		i++;
	if (i == s.n || memchr(s.p, '^', s.n))
		return s;
	char *out = arena_alloc(a, s.n + 1);
	for (i = 0; i < s.n; i++)
		if (!spec_is_space(s.p[i]))
			out[n++] = s.p[i];
	return str_of(out, n);
}

/* Keys that structure the spec; the rest are plain fields. What brackets say overrides what stands before them. */
static int set_key(struct spec_reader *r, struct spec *s, enum spec_key key, const struct value *v)
{
	if (v->list && key != KEY_EXTRAS && key != KEY_FLAGS)
		return spec_bad(r, v->at, "a list is no value for '%s'", spec_key_names[key]);
	switch ((int)key) {
	case KEY_NAME:
	case KEY_NAMESPACE:
		return 0;
	case KEY_VERSION:
		s->version_text = without_spaces(r->a, v->text);
		return spec_read_version(r, v->text, &s->version);
	case KEY_BUILD:
		return set_build(r, s, v->text, v->at);
	case KEY_CHANNEL:
		return set_channel(r, s, v->text, v->at);
	case KEY_SUBDIR:
		s->subdir = v->text;
		return 0;
	case KEY_EXTRAS:
		return set_extras(r, s, v);
	case KEY_FLAGS:
		return set_flags(r, s, v);
	case KEY_WHEN:
		return set_when(r, s, v);
	default:
		return add_field(r, s, key, v, v->text);
	}
}

static int read_key(struct spec_reader *r, struct scan *s, enum spec_key *ret)
{
	struct str key = str_of(s->p, 0);
	while (s->p < s->end && ((*s->p >= 'a' && *s->p <= 'z') || (*s->p >= 'A' && *s->p <= 'Z') || *s->p == '_' ||
				 (*s->p >= '0' && *s->p <= '9')))
		s->p++;
	key.n = (size_t)(s->p - key.p);
	if (key.n == 0)
		return spec_bad(r, s->p, "expected a key, such as version='>=1.8'");
	if (scan_peek(s) != '=')
		return spec_bad(r, key.p, "'%.*s' has no value; keys are written [key=value]%s", STR_ARG(key),
				", extras [extras=[a, b]]");
	s->p++;
	for (int k = 0; k < KEY_COUNT; k++)
		if (str_eq_c(key, spec_key_names[k])) {
			*ret = (enum spec_key)k;
			return 0;
		}
	return unknown_key(r, key);
}

static bool allowed_in_v3(enum spec_key k)
{
	return k == KEY_VERSION || k == KEY_BUILD || k == KEY_BUILD_NUMBER || k == KEY_WHEN || k == KEY_EXTRAS ||
	       k == KEY_FLAGS;
}

static int read_pair(struct spec_reader *r, struct scan *s, struct spec *spec, uint64_t *seen)
{
	enum spec_key key = KEY_NAME;
	struct value v;
	const char *at = s->p;
	if (read_key(r, s, &key) < 0 || read_value(r, s, &v) < 0)
		return -1;
	if ((*seen >> key & 1) && spec_strict(r))
		return spec_bad(r, at, "'%s' is given twice", spec_key_names[key]);
	if ((r->flags & SPEC_V3) && !allowed_in_v3(key))
		return spec_bad(r, at, "'%s' may not stand in a version 3 dependency", spec_key_names[key]);
	*seen |= 1ull << key;
	r->value_at = v.at;
	return set_key(r, spec, key, &v);
}

/* `text` is what stands between the brackets; *seen gets a bit for each key. */
static int read_keys(struct spec_reader *r, struct str text, struct spec *spec, uint64_t *seen)
{
	struct scan s = {text.p, text.p + text.n};
	while (scan_peek(&s), s.p < s.end) {
		if (*s.p == ',') {
			if (spec_strict(r))
				return spec_bad(r, s.p, "',' without a key before it");
			s.p++;
			continue;
		}
		if (read_pair(r, &s, spec, seen) < 0)
			return -1;
		const char *after = s.p;
		char c = scan_peek(&s);
		if (s.p >= s.end)
			break;
		if (c == ',') {
			const char *comma = s.p++;
			scan_peek(&s);
			if (s.p >= s.end && spec_strict(r))
				return spec_bad(r, comma, "',' without a key after it");
		} else if (after == s.p) {
			return spec_bad(r, s.p, "expected ',' or ']' after the value");
		}
	}
	return 0;
}

/* -- name, version, build ------------------------------------------------------------------------------------------ */
static int bad_name_end(struct spec_reader *r, const char *at)
{
	switch (*at) {
	case '(':
		return spec_bad(r, at,
				"'(…)' after a name is not supported; conditions go into brackets, such as [build=…]");
	case '@':
		return spec_bad(r, at,
				"'@' is not supported; a version follows the name as 'name=1.8' or 'name >=1.8'");
	case '/':
		return spec_bad(r, at, "a channel is written 'channel::name'");
	case ';':
		return spec_bad(r, at, "a condition is written name[when='…']");
	case ']':
		return spec_bad(r, at, "']' without '['");
	case '^':
	case '|':
	case ',':
		return spec_bad(
			r, at,
			"'%c' where a name ends; a version begins with a space or one of == != < <= > >= = ~=", *at);
	default:
		return spec_bad(r, at, "a name has only letters, digits, '-', '_' and '.'");
	}
}

static struct str lower_case(struct arena *a, struct str s)
{
	size_t i = 0;
	while (i < s.n && !(s.p[i] >= 'A' && s.p[i] <= 'Z'))
		i++;
	if (i == s.n)
		return s;
	char *out = arena_strdup(a, s);
	for (; i < s.n; i++)
		if (out[i] >= 'A' && out[i] <= 'Z')
			out[i] |= 0x20;
	return str_of(out, s.n);
}

/* Takes the name off the front of *rest. */
static int read_name(struct spec_reader *r, struct spec *s, struct str *rest)
{
	const char *p = rest->p, *end = rest->p + rest->n;
	if (rest->n == 0)
		return spec_bad(r, p, "no package name; '*' stands for any");
	if (*p == '@')
		return spec_bad(r, p, "features ('@name') are not supported; ask for a package that has it");
	if (*p == '^') {
		const char *close = memchr(p, '$', rest->n);
		if (!close)
			return spec_bad(r, p, "a name that begins with '^' is a regular expression and ends in '$'");
		p = close + 1;
	} else {
		while (p < end && is_name_char(*p))
			p++;
	}
	s->name = str_of(rest->p, (size_t)(p - rest->p));
	if (s->name.n == 0 && one_of(*p, "=<>!~ "))
		return spec_bad(r, p, "no package name before '%c'; '*' stands for any", *p);
	if (s->name.n == 0 || (p < end && !spec_is_space(*p) && !one_of(*p, "=<>!~")))
		return bad_name_end(r, p);
	*rest = str_skip(*rest, s->name.n);
	if (*s->name.p != '^')
		s->name = lower_case(r->a, s->name);
	return read_pattern(r, s->name, s->name.p, &s->name_pattern);
}

/* The end of the version: the first space that is not around an operator or between clauses. */
static size_t version_length(struct str s)
{
	bool begin = true; /* where a clause may begin, and so a regular expression */
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '^' && begin) {
			const char *close = memchr(s.p + i, '$', s.n - i);
			if (!close)
				return s.n;
			i = (size_t)(close - s.p);
			begin = false;
			continue;
		}
		if (!spec_is_space(s.p[i])) {
			begin = one_of(s.p[i], ",|(=");
			continue;
		}
		size_t j = i;
		while (j < s.n && spec_is_space(s.p[j]))
			j++;
		bool joined = i == 0 || one_of(s.p[i - 1], ",|(<>=!~") || (j < s.n && one_of(s.p[j], ",|)"));
		if (!joined)
			return i;
		i = j - 1;
	}
	return s.n;
}

/* The '=' that separates a build from the version before it; 0 where there is none. */
static size_t build_separator(struct str s)
{
	const char *last = memrchr(s.p, '$', s.n);
	size_t from = last ? (size_t)(last - s.p) : 0;
	for (size_t i = s.n; i-- > from + 1;) {
		if (one_of(s.p[i], ",|<>~()"))
			return 0;
		if (s.p[i] == '=')
			return one_of(s.p[i - 1], "=!|,<>~(") || spec_is_space(s.p[i - 1]) ? 0 : i;
	}
	return 0;
}

static bool is_single_equal(struct str s)
{
	return s.n > 1 && s.p[0] == '=' && !one_of(s.p[1], "=~!<>");
}

/* "=1.8" before "=build" is the separator, not the operator: the version is exact. */
static void drop_separator(struct str *version)
{
	if (!is_single_equal(*version))
		return;
	for (size_t i = 1; i < version->n; i++)
		if (one_of(version->p[i], "=,|<>~!"))
			return;
	*version = str_trim(str_skip(*version, 1));
}

static int split_build_by_equal(struct spec_reader *r, struct str *version, struct str *build)
{
	size_t at = build_separator(*version);
	if (at == 0)
		return 0;
	*build = str_trim(str_skip(*version, at + 1));
	if (build->n == 0)
		return spec_bad(r, version->p + at, "expected a build string after '='");
	*version = str_head(*version, at);
	if (build_separator(*version))
		return spec_bad(r, version->p + build_separator(*version), "more than name, version and build");
	drop_separator(version);
	return 0;
}

/* What follows the name. Keys that the brackets gave already win. */
static int read_version_and_build(struct spec_reader *r, struct spec *s, struct str rest, uint64_t seen)
{
	bool spaced = rest.n > 0 && spec_is_space(rest.p[0]);
	rest = str_trim(rest);
	if (rest.n == 0)
		return 0;
	if (r->flags & SPEC_V3)
		return spec_bad(r, rest.p, "a version 3 dependency has its version in brackets: name[version='…']");
	size_t n = version_length(rest);
	struct str version = str_head(rest, n), build = str_trim(str_skip(rest, n));
	if (build.n == 0) {
		if (split_build_by_equal(r, &version, &build) < 0)
			return -1;
	} else {
		for (size_t i = 0; i < build.n && build.p[0] != '^'; i++)
			if (spec_is_space(build.p[i]))
				return spec_bad(r, build.p + i + 1,
						one_of(build.p[0], "<>=!~")
							? "conditions are joined with ',' (and) or '|' (or)"
							: "more than name, version and build");
		if (!spaced && is_single_equal(version) && spec_strict(r) && build.p[0] != '<' && build.p[0] != '>')
			return spec_bad(
				r, build.p,
				"'=' and space both separate fields; write 'name=version=build' or 'name version build'");
	}
	if (!(seen >> KEY_VERSION & 1)) {
		s->version_text = without_spaces(r->a, version);
		if (spec_read_version(r, version, &s->version) < 0)
			return -1;
	}
	return build.n && !(seen >> KEY_BUILD & 1) ? set_build(r, s, build, build.p) : 0;
}

/* -- channel ------------------------------------------------------------------------------------------------------- */
/* Takes "channel:namespace:" off the front of *text. */
static int read_channel(struct spec_reader *r, struct spec *s, struct str *text, uint64_t seen)
{
	size_t limit = 0; /* a ':' in a regular expression or after the name separates nothing */
	while (limit < text->n && !spec_is_space(text->p[limit]) && text->p[limit] != '^')
		limit++;
	const char *last = memrchr(text->p, ':', limit);
	if (!last)
		return 0;
	size_t name_at = (size_t)(last - text->p) + 1;
	const char *first = memrchr(text->p, ':', name_at - 1);
	struct str rest = str_skip(*text, name_at), space = str_of(first ? first + 1 : text->p, 0);
	space.n = (size_t)(last - space.p);
	if (memchr(space.p, '/', space.n) || (!first && spec_strict(r)))
		return spec_bad(r, last, "a channel is separated from the name by '::', as in 'conda-forge::numpy'");
	if (r->flags & SPEC_V3)
		return spec_bad(r, text->p, "a version 3 dependency names no channel");
	struct str channel = str_trim(str_head(*text, first ? (size_t)(first - text->p) : 0));
	*text = str_trim(rest);
	if (channel.n == 0 || (seen >> KEY_CHANNEL & 1))
		return 0;
	struct str subdir = s->subdir;
	if (set_channel(r, s, channel, channel.p) < 0)
		return -1;
	if (seen >> KEY_SUBDIR & 1)
		s->subdir = subdir;
	return 0;
}

/* -- the whole ----------------------------------------------------------------------------------------------------- */
/* The '[' that opens the keys; NULL where there are none. Brackets of a regular expression are passed over. */
static const char *find_keys(struct str t)
{
	const char *open = memchr(t.p, '[', t.n);
	if (!open || !memchr(t.p, '^', (size_t)(open - t.p)))
		return open;
	bool begin = true;
	for (const char *p = t.p, *end = t.p + t.n; p < end; p++) {
		if (*p == '^' && begin && (open = memchr(p, '$', (size_t)(end - p))))
			p = open;
		else if (*p == '[')
			return p;
		begin = spec_is_space(*p) || one_of(*p, ":,|(=");
	}
	return NULL;
}

/* The ']' that closes the keys: the last one; a comment or nothing stands behind it. */
static const char *find_keys_end(const char *open, const char *end)
{
	int depth = 0;
	for (const char *p = open; p < end; p++) {
		if (*p == '\'' || *p == '"') {
			p = spec_skip_quoted(p, end);
			if (!p)
				return NULL;
			p--;
		} else if (*p == '[') {
			depth++;
		} else if (*p == ']' && --depth == 0) {
			return p;
		}
	}
	return NULL;
}

static int read_bracketed(struct spec_reader *r, struct spec *s, struct str *text, uint64_t *seen)
{
	const char *open = find_keys(*text), *end = text->p + text->n;
	if (!open)
		return 0;
	const char *close = find_keys_end(open, end);
	if (!close) {
		struct str inside = str_of(open + 1, (size_t)(end - open - 1));
		return read_keys(r, inside, s, seen) < 0 ? -1 : spec_bad(r, open, "'[' without ']'");
	}
	const char *p = close + 1;
	while (p < end && spec_is_space(*p))
		p++;
	if (p < end && !(*p == '#' && p > close + 1))
		return spec_bad(r, p,
				*p == '(' ? "'(…)' after the brackets is not supported" : "unexpected text after ']'");
	struct str inside = str_of(open + 1, (size_t)(close - open - 1));
	if (read_keys(r, inside, s, seen) < 0)
		return -1;
	if ((r->flags & SPEC_V3) && *seen == 0)
		return spec_bad(r, open, "empty brackets in a version 3 dependency");
	*text = str_head(*text, (size_t)(open - text->p));
	return 0;
}

static void drop_comment(struct str *text)
{
	const char *p = text->p, *end = text->p + text->n;
	while ((p = memchr(p, '#', (size_t)(end - p)))) {
		if (p > text->p && spec_is_space(p[-1])) {
			text->n = (size_t)(p - text->p);
			return;
		}
		p++;
	}
}

/* "https://host/…": no spaces, and something behind the scheme. */
static bool is_url(struct str s)
{
	ptrdiff_t at = str_search(s, STR("://"));
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || one_of(s.p[i], "[]'\"^#*,="))
			return false;
	return at > 0 && (size_t)at + 3 < s.n && s.p[s.n - 1] != '/';
}

/* The address of a package file is a spec that nothing else fits (CEP 29, appendix C). */
static bool read_file_url(struct spec_reader *r, struct spec *s, struct str text)
{
	ptrdiff_t slash = str_rfind(text, '/');
	struct str name, version, build, ext, head = str_head(text, slash > 0 ? (size_t)slash : 0);
	struct err ignored = ERR_INIT;
	union version_key k;
	size_t at;
	if ((r->flags & (SPEC_DEPENDENCY | SPEC_V3)) || !is_url(head) ||
	    !pkg_filename_split(str_skip(text, (size_t)slash + 1), &name, &version, &build, &ext) ||
	    pkg_name_check(name, &ignored) < 0 || pkg_build_check(build, &ignored) < 0 ||
	    str_trim(version).n != version.n || version_read(version, 0, &k, &at))
		return false;
	struct vexpr *x = arena_new(r->a, struct vexpr);
	*x = (struct vexpr){.op = VX_EQ, .version = version_keep(r->a, &k), .literal = version};
	s->version = x;
	s->name = name;
	s->version_text = version;
	s->build_text = build;
	s->name_pattern = (struct pattern){.kind = PATTERN_TEXT, .text = s->name};
	s->build = (struct pattern){.kind = PATTERN_TEXT, .text = build};
	return set_channel(r, s, head, text.p) == 0;
}

static int finish_subdir(struct spec_reader *r, struct spec *s)
{
	if (s->subdir.n == 0)
		return 0;
	struct pattern *p = arena_new(r->a, struct pattern);
	s->subdir_pattern = p;
	return read_pattern(r, s->subdir, s->subdir.p, p);
}

static int read_spec(struct spec_reader *r, struct spec *s)
{
	struct str text = str_trim(r->text);
	uint64_t seen = 0;
	if (text.n == 0)
		return spec_bad(r, r->text.p, "empty spec");
	if (read_file_url(r, s, text))
		return finish_subdir(r, s);
	if (read_bracketed(r, s, &text, &seen) < 0)
		return -1;
	drop_comment(&text);
	if (memchr(text.p, ':', text.n) && read_channel(r, s, &text, seen) < 0)
		return -1;
	struct str rest = text;
	if (read_name(r, s, &rest) < 0 || read_version_and_build(r, s, rest, seen) < 0)
		return -1;
	if ((r->flags & SPEC_V3) && s->name_pattern.kind != PATTERN_TEXT)
		return spec_bad(r, text.p, "a version 3 dependency names one package");
	return finish_subdir(r, s);
}

static int check_bytes(struct spec_reader *r)
{
	for (size_t i = 0; i < r->text.n; i++)
		if ((unsigned char)r->text.p[i] < ' ' && !spec_is_space(r->text.p[i]))
			return spec_bad(r, r->text.p + i, "control character");
	return 0;
}

static const struct spec *parse(struct spec_reader *r)
{
	struct spec *s = arena_new(r->a, struct spec);
	s->text = r->text;
	s->flags = r->flags;
	return check_bytes(r) < 0 || read_spec(r, s) < 0 ? NULL : s;
}

const struct spec *conda_spec_parse(struct arena *a, struct str text, enum spec_flags flags, struct err *e)
{
	struct spec_reader r = {.a = a, .text = text, .flags = flags, .e = e};
	if (text.n > SPEC_TEXT_MAX) {
		err_new(e, ERR_LIMIT, "spec '%.*s...' has %zu bytes; at most %d are read", 60, text.p, text.n,
			SPEC_TEXT_MAX);
		return NULL;
	}
	r.text = arena_str(a, text);
	return parse(&r);
}

int spec_read_at_depth(struct spec_reader *outer, struct str text, const struct spec **ret)
{
	struct spec_reader r = {.a = outer->a, .text = text, .flags = outer->flags & ~(unsigned)SPEC_V3, .e = outer->e};
	r.in_condition = true;
	*ret = parse(&r);
	return *ret ? 0 : -1;
}
