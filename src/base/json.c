// SPDX-License-Identifier: Apache-2.0
/*
 * The parser descends by recursion, at most DEPTH_MAX deep. Elements of open arrays and objects wait on one stack that
 * is shared by all levels; when a level ends, its elements move to the arena in one piece.
 */
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "base/vec.h"

enum { DEPTH_MAX = 128, NUMBER_MAX = 1024, JSON_VALUES_MAX = 4 << 20 };

struct parser {
	struct arena *a, *strings;
	const char *begin, *at, *end;
	const char *where;
	struct err *e;
	unsigned depth;
	bool in_place; /* the text is ours to write NULs into */
	uint32_t values;
	VEC(struct json_member) stack;
};

/* The C locale, for numbers: a decimal point is a point. */
static locale_t c_locale;

static void make_c_locale(void)
{
	c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!c_locale)
		panic("no C locale");
}

static locale_t get_c_locale(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_c_locale);
	return c_locale;
}

/* Fails at a place in the text; always false. */
static bool fail(struct parser *p, const char *at, enum err_code code, const char *what)
{
	size_t line = 1;
	for (const char *q = p->begin; q < at && (q = memchr(q, '\n', (size_t)(at - q))); q++)
		line++;
	err_new(p->e, code, "%s: offset %td: %s (line %zu)", p->where, at - p->begin, what, line);
	return false;
}

static bool fail_here(struct parser *p, const char *what)
{
	if (p->at >= p->end)
		return fail(p, p->end, ERR_INPUT, "the text ends too early");
	return fail(p, p->at, ERR_INPUT, what);
}

static inline void skip_space(struct parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
		p->at++;
}

/* Bytes of w that end a plain run of a string have their high bit set in the result: controls, '"', '\\', not ASCII. */
static inline uint64_t special_bytes(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
	return ((w - ones * 0x20) | (quote - ones) | (slash - ones) | w) & high;
}

/* At the first byte that is not a plain one, or the end. */
static inline const char *skip_plain(const char *at, const char *end)
{
	for (; end - at >= 8; at += 8) {
		uint64_t w;
		memcpy(&w, at, 8);
		uint64_t special = special_bytes(w);
		if (special) /* borrows run upwards only: the lowest byte found is right */
			return at + (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_ctzll(special) / 8 : 0);
	}
	return at;
}

static bool hex4(const char *p, unsigned *ret)
{
	uint8_t b[2];
	if (!str_unhex(str_of(p, 4), b, 2))
		return false;
	*ret = (unsigned)b[0] << 8 | b[1];
	return true;
}

/* Reads an escape at `at` (on its backslash). Returns its length, 0 where it is wrong. */
static size_t read_escape(const char *at, const char *end, uint32_t *ret)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (end - at < 2)
		return 0;
	const char *simple = memchr(from, at[1], sizeof(from) - 1);
	if (simple) {
		*ret = (unsigned char)to[simple - from];
		return 2;
	}
	unsigned high, low;
	if (at[1] != 'u' || end - at < 6 || !hex4(at + 2, &high))
		return 0;
	*ret = high;
	if (high < 0xd800 || high > 0xdfff)
		return 6;
	if (high > 0xdbff || end - at < 12 || at[6] != '\\' || at[7] != 'u' || !hex4(at + 8, &low) || low < 0xdc00 ||
	    low > 0xdfff)
		return 0; /* half a pair is no character */
	*ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
	return 12;
}

/* Resolves the escapes of a string known to be good, in place: no escape is shorter than its character. */
static size_t unescape(char *s, size_t n)
{
	char *in = memchr(s, '\\', n), *out = in, *end = s + n;
	while (in < end) {
		uint32_t c;
		in += read_escape(in, end, &c);
		out += utf8_put(out, c);
		char *next = memchr(in, '\\', (size_t)(end - in));
		size_t run = (size_t)((next ? next : end) - in);
		memmove(out, in, run);
		out += run, in += run;
	}
	*out = '\0';
	return (size_t)(out - s);
}

/* A string, p->at on its opening quote. */
static bool parse_string(struct parser *p, struct str *ret)
{
	const char *from = ++p->at;
	bool escapes = false;
	for (;;) {
		p->at = skip_plain(p->at, p->end);
		if (p->at >= p->end)
			return fail_here(p, "");
		unsigned char c = (unsigned char)*p->at;
		uint32_t cp;
		size_t n = 1;
		if (c == '"')
			break;
		if (c == '\\') {
			escapes = true;
			n = read_escape(p->at, p->end, &cp);
			if (!n)
				return fail(p, p->at, ERR_INPUT, "bad escape in a string");
		} else if (c >= 0x80) {
			n = utf8_take(str_of(p->at, (size_t)(p->end - p->at)), &cp);
			if (!n)
				return fail(p, p->at, ERR_INPUT, "bytes that are not UTF-8 in a string");
		} else if (c < 0x20) {
			return fail(p, p->at, ERR_INPUT, "control character in a string");
		}
		p->at += n;
	}
	size_t n = (size_t)(p->at++ - from);
	if (p->in_place && !escapes) {
		((char *)p->begin)[from - p->begin + (ptrdiff_t)n] = '\0'; /* where the quote stood, which was read */
		*ret = str_of(from, n);
		return true;
	}
	char *copy = arena_strdup(p->strings, str_of(from, n));
	*ret = str_of(copy, escapes ? unescape(copy, n) : n);
	return true;
}

static const char *skip_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

/* Finds the end of a number by the grammar; *ret_whole tells that it has neither fraction nor exponent. */
static const char *number_end(struct parser *p, bool *ret_whole)
{
	const char *at = p->at + (*p->at == '-'), *q = skip_digits(at, p->end);
	*ret_whole = true;
	if (q == at || (q - at > 1 && *at == '0'))
		return NULL;
	if (q < p->end && *q == '.') {
		*ret_whole = false;
		at = q + 1;
		q = skip_digits(at, p->end);
		if (q == at)
			return NULL;
	}
	if (q < p->end && (*q == 'e' || *q == 'E')) {
		*ret_whole = false;
		at = q + 1;
		if (at < p->end && (*at == '+' || *at == '-'))
			at++;
		q = skip_digits(at, p->end);
		if (q == at)
			return NULL;
	}
	return q;
}

const char *json_double(struct str text, double *ret)
{
	char z[NUMBER_MAX + 1];
	if (text.n > NUMBER_MAX)
		return "a number has more than 1024 characters";
	memcpy(z, text.p, text.n);
	z[text.n] = '\0';
	*ret = strtod_l(z, NULL, get_c_locale());
	return isinf(*ret) ? "a number is too large" : NULL;
}

static bool parse_number(struct parser *p, struct json *out)
{
	bool whole;
	const char *end = number_end(p, &whole);
	if (!end)
		return fail(p, p->at, ERR_INPUT, "malformed number");
	struct str text = str_of(p->at, (size_t)(end - p->at));
	if (whole && str_to_i64(text, &out->integer)) {
		out->type = JSON_INT;
	} else {
		const char *bad = json_double(text, &out->number);
		if (bad)
			return fail(p, p->at, ERR_INPUT, bad);
		out->type = JSON_DOUBLE;
	}
	p->at = end;
	return true;
}

static bool parse_word(struct parser *p, const char *word, struct json *out, enum json_type type)
{
	size_t n = strlen(word);
	if ((size_t)(p->end - p->at) < n || memcmp(p->at, word, n) != 0)
		return fail(p, p->at, ERR_INPUT, "expected a value");
	p->at += n;
	out->type = type;
	return true;
}

static bool parse_value(struct parser *p, struct json *out);

static bool enter(struct parser *p)
{
	if (p->depth == DEPTH_MAX)
		return fail(p, p->at, ERR_LIMIT, "nested more than 128 deep");
	p->depth++;
	p->at++;
	skip_space(p);
	return true;
}

static bool push(struct parser *p, const struct json_member *m)
{
	if (p->values++ == JSON_VALUES_MAX)
		return fail(p, p->at, ERR_LIMIT, "more values than are accepted");
	vec_push(&p->stack, *m);
	return true;
}

static bool parse_array(struct parser *p, struct json *out)
{
	size_t base = p->stack.n;
	if (!enter(p))
		return false;
	while (p->at >= p->end || *p->at != ']' || p->stack.n > base) {
		struct json_member m;
		if (!parse_value(p, &m.value) || !push(p, &m))
			return false;
		skip_space(p);
		if (p->at < p->end && *p->at == ']')
			break;
		if (p->at >= p->end || *p->at != ',')
			return fail_here(p, "expected ',' or ']'");
		p->at++;
	}
	p->at++;
	p->depth--;
	out->type = JSON_ARRAY;
	out->n = (uint32_t)(p->stack.n - base);
	struct json *item = arena_alloc(p->a, out->n * sizeof(*item));
	for (uint32_t i = 0; i < out->n; i++)
		item[i] = p->stack.v[base + i].value;
	out->item = item;
	p->stack.n = base;
	return true;
}

static bool parse_member(struct parser *p, struct json_member *m)
{
	skip_space(p);
	if (p->at >= p->end || *p->at != '"')
		return fail_here(p, "expected a string as key");
	if (!parse_string(p, &m->key))
		return false;
	skip_space(p);
	if (p->at >= p->end || *p->at != ':')
		return fail_here(p, "expected ':'");
	p->at++;
	return parse_value(p, &m->value);
}

static bool parse_object(struct parser *p, struct json *out)
{
	size_t base = p->stack.n;
	if (!enter(p))
		return false;
	while (p->at >= p->end || *p->at != '}' || p->stack.n > base) {
		struct json_member m;
		if (!parse_member(p, &m) || !push(p, &m))
			return false;
		skip_space(p);
		if (p->at < p->end && *p->at == '}')
			break;
		if (p->at >= p->end || *p->at != ',')
			return fail_here(p, "expected ',' or '}'");
		p->at++;
	}
	p->at++;
	p->depth--;
	out->type = JSON_OBJECT;
	out->n = (uint32_t)(p->stack.n - base);
	struct json_member *member = arena_alloc(p->a, out->n * sizeof(*member));
	if (out->n)
		memcpy(member, p->stack.v + base, out->n * sizeof(*member));
	out->member = member;
	p->stack.n = base;
	return true;
}

static bool parse_value(struct parser *p, struct json *out)
{
	skip_space(p);
	if (p->at >= p->end)
		return fail_here(p, "");
	*out = (struct json){.offset = (size_t)(p->at - p->begin), .where = p->where};
	switch (*p->at) {
	case '{':
		return parse_object(p, out);
	case '[':
		return parse_array(p, out);
	case '"':
		out->type = JSON_STRING;
		return parse_string(p, &out->string);
	case 't':
		out->boolean = true;
		return parse_word(p, "true", out, JSON_BOOL);
	case 'f':
		return parse_word(p, "false", out, JSON_BOOL);
	case 'n':
		return parse_word(p, "null", out, JSON_NULL);
	case '-':
	case '0' ... '9':
		return parse_number(p, out);
	default:
		return fail(p, p->at, ERR_INPUT, "expected a value");
	}
}

static const struct json *parse(struct arena *a, struct arena *strings, struct str text, bool in_place,
				const char *where, struct err *e)
{
	if (text.n > JSON_TEXT_MAX) {
		err_new(e, ERR_LIMIT, "%s: larger than 1 GiB", where);
		return NULL;
	}
	if (!text.p)
		text = STR("");
	struct parser p = {.a = a,
			   .strings = strings,
			   .begin = text.p,
			   .at = text.p,
			   .end = text.p + text.n,
			   .e = e,
			   .in_place = in_place};
	p.where = arena_strdup(a, str_c(where));
	if (str_starts(text, STR("\xef\xbb\xbf"))) /* a byte order mark, which some editors leave */
		p.at += 3;
	struct json *root = arena_new(a, struct json);
	bool good = parse_value(&p, root);
	skip_space(&p);
	if (good && p.at < p.end)
		good = fail(&p, p.at, ERR_INPUT, "text after the end of the document");
	vec_release(&p.stack);
	return good ? root : NULL;
}

const struct json *json_parse(struct arena *a, struct str text, const char *where, struct err *e)
{
	return parse(a, a, text, false, where, e);
}

const struct json *json_parse_in_place(struct arena *a, struct arena *strings, char *text, size_t n, const char *where,
				       struct err *e)
{
	return parse(a, strings, str_of(text, n), true, where, e);
}

const struct json *json_get(const struct json *j, const char *key)
{
	if (!j || j->type != JSON_OBJECT)
		return NULL;
	struct str k = str_c(key);
	for (uint32_t i = j->n; i-- > 0;)
		if (str_eq(j->member[i].key, k))
			return &j->member[i].value;
	return NULL;
}

/* 1 with the member in *ret, 0 where it is absent or null, -1 where it is of another type. */
static int get_typed(const struct json *j, const char *key, enum json_type type, const struct json **ret, struct err *e)
{
	static const char *const name[] = {
		[JSON_NULL] = "null",	     [JSON_BOOL] = "true or false", [JSON_INT] = "a whole number",
		[JSON_DOUBLE] = "a number",  [JSON_STRING] = "a string",    [JSON_ARRAY] = "an array",
		[JSON_OBJECT] = "an object",
	};
	if (j->type != JSON_OBJECT)
		return err_new(e, ERR_INPUT, "%s: offset %zu: '%s' is looked for in what is not an object", j->where,
			       j->offset, key);
	const struct json *v = json_get(j, key);
	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != type)
		return err_new(e, ERR_INPUT, "%s: offset %zu: '%s' is not %s", v->where, v->offset, key, name[type]);
	*ret = v;
	return 1;
}

static int missing(const struct json *j, const char *key, struct err *e)
{
	return err_new(e, ERR_INPUT, "%s: offset %zu: '%s' is missing", j->where, j->offset, key);
}

int json_opt_str(const struct json *j, const char *key, struct str *ret, struct err *e)
{
	const struct json *v = NULL;
	int rc = get_typed(j, key, JSON_STRING, &v, e);
	if (rc > 0)
		*ret = v->string;
	return rc;
}

int json_opt_int(const struct json *j, const char *key, int64_t *ret, struct err *e)
{
	const struct json *v = NULL;
	int rc = get_typed(j, key, JSON_INT, &v, e);
	if (rc > 0)
		*ret = v->integer;
	return rc;
}

int json_opt_bool(const struct json *j, const char *key, bool *ret, struct err *e)
{
	const struct json *v = NULL;
	int rc = get_typed(j, key, JSON_BOOL, &v, e);
	if (rc > 0)
		*ret = v->boolean;
	return rc;
}

int json_opt_array(const struct json *j, const char *key, const struct json **ret, struct err *e)
{
	const struct json *v = NULL;
	int rc = get_typed(j, key, JSON_ARRAY, &v, e);
	if (rc >= 0)
		*ret = v;
	return rc;
}

int json_opt_object(const struct json *j, const char *key, const struct json **ret, struct err *e)
{
	const struct json *v = NULL;
	int rc = get_typed(j, key, JSON_OBJECT, &v, e);
	if (rc >= 0)
		*ret = v;
	return rc;
}

int json_get_str(const struct json *j, const char *key, struct str *ret, struct err *e)
{
	int rc = json_opt_str(j, key, ret, e);
	return rc == 0 ? missing(j, key, e) : rc > 0 ? 0 : -1;
}

struct str json_text(const struct json *j, const char *key)
{
	struct str v = STR("");
	struct err ignored = ERR_INIT;
	return json_opt_str(j, key, &v, &ignored) > 0 ? v : STR("");
}

int64_t json_number(const struct json *j, const char *key)
{
	int64_t v = 0;
	struct err ignored = ERR_INIT;
	return json_opt_int(j, key, &v, &ignored) > 0 ? v : 0;
}

int json_get_int(const struct json *j, const char *key, int64_t *ret, struct err *e)
{
	int rc = json_opt_int(j, key, ret, e);
	return rc == 0 ? missing(j, key, e) : rc > 0 ? 0 : -1;
}

static void new_line(struct jw *w)
{
	if (w->indent <= 0)
		return;
	buf_put_char(w->b, '\n');
	for (unsigned i = 0; i < w->depth * (unsigned)w->indent; i++)
		buf_put_char(w->b, ' ');
}

/* What comes before a key, or before a value that has none. */
static void begin_element(struct jw *w)
{
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	if (w->need_comma)
		buf_put_char(w->b, ',');
	if (w->depth)
		new_line(w);
	w->need_comma = true;
}

static void open_level(struct jw *w, char bracket)
{
	begin_element(w);
	buf_put_char(w->b, bracket);
	w->depth++;
	w->need_comma = false;
}

static void close_level(struct jw *w, char bracket)
{
	if (w->depth == 0 || w->after_key)
		panic("json writer: '%c' does not match what was begun", bracket);
	w->depth--;
	if (w->need_comma)
		new_line(w);
	buf_put_char(w->b, bracket);
	w->need_comma = true;
}

void jw_object(struct jw *w)
{
	open_level(w, '{');
}

void jw_object_end(struct jw *w)
{
	close_level(w, '}');
}

void jw_array(struct jw *w)
{
	open_level(w, '[');
}

void jw_array_end(struct jw *w)
{
	close_level(w, ']');
}

/* One character that cannot stand for itself; returns how many bytes of s it was. */
static size_t put_special(struct buf *b, struct str s)
{
	static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
	const char *simple = memchr(from, s.p[0], sizeof(from) - 1);
	uint32_t c;
	size_t n;
	if (simple) {
		buf_put_char(b, '\\');
		buf_put_char(b, to[simple - from]);
		return 1;
	}
	if ((unsigned char)s.p[0] < 0x20) {
		buf_printf(b, "\\u%04x", (unsigned)s.p[0]);
		return 1;
	}
	n = utf8_take(s, &c);
	if (n)
		buf_put(b, s.p, n);
	else
		buf_put_c(b, "\xef\xbf\xbd");
	return n ? n : 1;
}

static void put_string(struct buf *b, struct str s)
{
	buf_put_char(b, '"');
	while (s.n) {
		const char *p = skip_plain(s.p, s.p + s.n);
		while (p < s.p + s.n && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 && *p != '"' &&
		       *p != '\\')
			p++; /* fewer than eight bytes are left */
		size_t plain = (size_t)(p - s.p);
		buf_put(b, s.p, plain);
		s = str_skip(s, plain);
		if (s.n)
			s = str_skip(s, put_special(b, s));
	}
	buf_put_char(b, '"');
}

void jw_key_str(struct jw *w, struct str key)
{
	begin_element(w);
	put_string(w->b, key);
	buf_put_c(w->b, w->indent > 0 ? ": " : ":");
	w->after_key = true;
}

void jw_key(struct jw *w, const char *key)
{
	jw_key_str(w, str_c(key));
}

void jw_str(struct jw *w, struct str s)
{
	begin_element(w);
	put_string(w->b, s);
}

void jw_c(struct jw *w, const char *s)
{
	if (s)
		jw_str(w, str_c(s));
	else
		jw_null(w);
}

void jw_raw(struct jw *w, struct str json)
{
	begin_element(w);
	buf_put_str(w->b, json);
}

void jw_int(struct jw *w, int64_t v)
{
	char z[24];
	jw_raw(w, str_of(z, (size_t)snprintf(z, sizeof(z), "%" PRId64, v)));
}

/* The shortest of 15 to 17 digits that reads back the same; always with a point or exponent, to stay a double. */
void jw_double(struct jw *w, double v)
{
	char z[40];
	if (!isfinite(v)) { /* JSON has no word for it */
		jw_null(w);
		return;
	}
	locale_t before = uselocale(get_c_locale());
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(z, sizeof(z), "%.*g", digits, v);
		if (strtod(z, NULL) == v)
			break;
	}
	uselocale(before);
	if (!strpbrk(z, ".e"))
		memcpy(z + strlen(z), ".0", 3);
	jw_raw(w, str_c(z));
}

void jw_bool(struct jw *w, bool v)
{
	jw_raw(w, v ? STR("true") : STR("false"));
}

void jw_null(struct jw *w)
{
	jw_raw(w, STR("null"));
}

void jw_value(struct jw *w, const struct json *v)
{
	switch (v->type) {
	case JSON_NULL:
		jw_null(w);
		break;
	case JSON_BOOL:
		jw_bool(w, v->boolean);
		break;
	case JSON_INT:
		jw_int(w, v->integer);
		break;
	case JSON_DOUBLE:
		jw_double(w, v->number);
		break;
	case JSON_STRING:
		jw_str(w, v->string);
		break;
	case JSON_ARRAY:
		jw_array(w);
		for (uint32_t i = 0; i < v->n; i++)
			jw_value(w, &v->item[i]);
		jw_array_end(w);
		break;
	case JSON_OBJECT:
		jw_object(w);
		for (uint32_t i = 0; i < v->n; i++) {
			jw_key_str(w, v->member[i].key);
			jw_value(w, &v->member[i].value);
		}
		jw_object_end(w);
		break;
	}
}

void jw_kv_str(struct jw *w, const char *key, struct str s)
{
	jw_key(w, key);
	jw_str(w, s);
}

void jw_kv_c(struct jw *w, const char *key, const char *s)
{
	jw_key(w, key);
	jw_c(w, s);
}

void jw_kv_int(struct jw *w, const char *key, int64_t v)
{
	jw_key(w, key);
	jw_int(w, v);
}

void jw_kv_bool(struct jw *w, const char *key, bool v)
{
	jw_key(w, key);
	jw_bool(w, v);
}

void jw_kv_opt(struct jw *w, const char *key, struct str s)
{
	if (s.n)
		jw_kv_str(w, key, s);
}

void jw_kv_list(struct jw *w, const char *key, const struct str *v, size_t n)
{
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < n; i++)
		jw_str(w, v[i]);
	jw_array_end(w);
}

void jw_kv_objects(struct jw *w, const char *key, size_t n, void (*put)(struct jw *w, const void *ctx, size_t i),
		   const void *ctx)
{
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < n; i++) {
		jw_object(w);
		put(w, ctx, i);
		jw_object_end(w);
	}
	jw_array_end(w);
}

void jw_kv_hex(struct jw *w, const char *key, const uint8_t *p, size_t n)
{
	jw_key(w, key);
	begin_element(w);
	buf_put_char(w->b, '"');
	buf_put_hex(w->b, p, n);
	buf_put_char(w->b, '"');
}
